"""Results of an image experiment: the theory on its networks, tables, figures and files."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hltm.base.atomic import write
from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress
from numeric.studies.images.losses import ImageLoss
from numeric.studies.images.network import Network
from numeric.studies.images.population import features, has_batch_norm, image_population, in_double
from numeric.studies.images.processes import out_of_memory, release_memory
from numeric.studies.images.study import ImageResults, mean_and_spread
from numeric.studies.images.theory import (
    Check,
    Residue,
    head_checks,
    head_residues,
    network_checks,
    network_residues,
    whole,
)
from numeric.studies.results import MANIFEST, csv_text, environment, image, panels, write_files
from numeric.towers.populations import FinitePopulation

if TYPE_CHECKING:
    from rich.table import Table

STRENGTHS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_FITTED = (0.01, 0.2)  # range of the strengths that an exponent is fitted to
_HEAD = (12, 4)  # images and augmentations
_WHOLE = (8, 3)


@dataclass(frozen=True)
class Findings:
    """Checks and residues with the name of their network, and a line for each part that was not checked."""

    checks: tuple[tuple[str, Check], ...]
    residues: tuple[tuple[str, Residue], ...]
    left_out: tuple[str, ...]

    @property
    def as_predicted(self) -> bool:
        """Whether every statement holds where it must and fails where it must."""
        return all(check.as_predicted for _, check in self.checks)


def examined(results: ImageResults) -> list[str]:
    """The untrained network, and those trained by NT-Xent and the exact covariance form, else by the first loss."""
    losses = results.study.losses
    chosen = [loss for loss in losses if loss in ("ntxent", "covariance")]
    return ["untrained", *(chosen or losses[:1])]


def find(results: ImageResults, progress: Progress = SILENT) -> Findings:
    """Run all checks on the networks of the first seed; one that does not fit into memory is left out."""
    rows: list[tuple[str, Check | Residue]] = []
    left_out, names = [], examined(results)
    progress.start(4 * len(names), "the theory on the networks")
    for name in names:
        network = in_double(results.networks[name])
        for what, compute in _computations(network, results).items():
            progress.step(f"{name}: {what}")
            try:
                rows += [(name, each) for each in compute()]
                continue
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            # Outside of the handler, whose exception refers to all that was computed.
            release_memory()
            left_out.append(f"{name}: {what}: the memory of the device is too small")
        left_out += [f"{name}: {text}" for text in _outside_the_theory(network)]
    return Findings(
        tuple((name, each) for name, each in rows if isinstance(each, Check)),
        tuple((name, each) for name, each in rows if isinstance(each, Residue)),
        (*left_out, *_not_measured(results)),
    )


def _computations(network: Network, results: ImageResults) -> dict[str, Callable[[], Sequence[Check | Residue]]]:
    """Checks and residues of one network by their names."""
    study = results.study

    def population(strength: float = 1.0, sizes: tuple[int, int] = _WHOLE) -> FinitePopulation:
        return image_population(results.data, study.recipe, *sizes, strength=strength)

    return {
        "statements 3 and 4 on the head": lambda: head_checks(network.head, features(network, population(sizes=_HEAD))),
        f"statements 3 and 4 on {whole(network)}": lambda: network_checks(network, population(), study.tau),
        "residue of the head": lambda: head_residues(network, population, STRENGTHS),
        f"residue of {whole(network)}": lambda: network_residues(network, population, STRENGTHS, study.tau),
    }


def _outside_the_theory(network: Network) -> list[str]:
    """Parts of a network to which the theory does not apply, and why."""
    if not has_batch_norm(network):
        return []
    parts = [f"{network.shape.encoder} with the live statistics of its training: an output is then no function of one "
             "image and K has no meaning; --norm none --head-norm none trains without"]  # fmt: skip
    if network.shape.head_norm == "batch":
        parts.append(
            "the head's own statistics: its operators, its residue and part 'head' take its two matrices alone"
        )
    return parts


def _not_measured(results: ImageResults) -> list[str]:
    """Evaluations at which an operator did not fit into memory."""
    counts = {
        member.loss: sum("operators" not in row for row in member.history)
        for member in results.members
        if member.seed == results.study.seed
    }
    return [
        f"{loss}: covariance operators of the head at {count} evaluations: the memory of the device was too small"
        for loss, count in counts.items()
        if count
    ]


def exponent(rows: Sequence[Residue]) -> float:
    """Slope of ``log ||theta||`` over ``log sigma`` for small augmentations; NaN where theta vanishes."""
    low, high = _FITTED
    kept = [row for row in rows if low <= row.strength <= high and row.theta > 0 and row.spread > 0]
    if len(kept) < 2:
        return math.nan
    return float(np.polyfit(np.log([row.spread for row in kept]), np.log([row.theta for row in kept]), 1)[0])


NAMES = {
    "ntxent": "NT-Xent, whole batch",
    "infonce": "InfoNCE, H negatives",
    "simple": "simple (quadratic)",
    "triplet": "soft triplet",
    "covariance": "exact covariance form",
    "within": "covariance + within-pair",
}
_TESTED = {
    "moved": "moved augments every training and test image once as the training does, so its gain is what invariance "
    "to these very augmentations is worth",
    "plain": "plain takes images as they come",
    "few": "few takes them as they come with ten labels of each class",
}
_COSTS = (
    "Steps and images are equal for all losses, computing is not: the covariance forms pass two further views of every "
    "image forward in each step, for their weights"
)


def summary(results: ImageResults) -> list[dict[str, Any]]:
    """One row for each loss, the untrained network first: mean and spread over seeds, in points.

    ``"gain <setting>"`` is the gain over the untrained network of the same seed.
    """
    study, rows = results.study, []
    groups = {"untrained": [m.before for m in results.members if m.loss == study.losses[0]]}
    groups |= {loss: [m.after for m in results.members if m.loss == loss] for loss in study.losses}
    for loss, result in groups.items():
        row: dict[str, Any] = {"loss": loss, "seeds": len(result)}
        for name in study.columns:
            row[name], row[f"{name} sd"] = mean_and_spread([100 * each[name]["value"] for each in result])
        row["low"], row["high"] = (
            100 * mean_and_spread([each[study.headline][end] for each in result])[0] for end in ("low", "high")
        )
        for name in study.settings:
            pairs = zip(result, groups["untrained"], strict=True)
            gains = [100 * (after[name]["value"] - before[name]["value"]) for after, before in pairs]
            row[f"gain {name}"], row[f"gain {name} sd"] = mean_and_spread(gains)
        rows.append(row)
    return rows


def _number(row: dict[str, Any], name: str, sign: str = "") -> str:
    spread = row[f"{name} sd"]
    return f"{row[name]:{sign}.1f}" + ("" if math.isnan(spread) else f" ± {spread:.1f}")


def cells(results: ImageResults) -> tuple[list[str], list[list[str]]]:
    """Column heads and rows of the table of losses."""
    names, settings = results.study.columns, results.study.settings
    heads = ["loss", *(f"{name} (95 % interval)" if number == 0 else name for number, name in enumerate(names))]
    heads += [f"gain {name}" for name in settings]
    body = []
    for row in summary(results):
        first = f"{_number(row, names[0])} ({row['low']:.1f} to {row['high']:.1f})"
        untrained = row["loss"] == "untrained"
        gains = ["" if untrained else _number(row, f"gain {name}", "+") for name in settings]
        body.append([NAMES.get(row["loss"], row["loss"]), first, *(_number(row, name) for name in names[1:]), *gains])
    return heads, body


def what_is_tested(results: ImageResults) -> str:
    """What each setting of the evaluation tests, and which losses cost more; without the last full stop."""
    tested = "; ".join(_TESTED[name] for name in results.study.settings)
    weighted = any(ImageLoss(loss).weighted for loss in results.study.losses)
    return f"A gain is over the untrained network of the same seed: {tested}" + (f". {_COSTS}" if weighted else "")


def theory_rows(findings: Findings) -> list[dict[str, Any]]:
    """One row for each network, part and statement, with the worst residual of its layers."""
    groups: dict[tuple[str, str, str, bool], list[Check]] = {}
    for network, check in findings.checks:
        groups.setdefault((network, check.part, check.statement, check.must_hold), []).append(check)
    return [
        {
            "network": network, "part": part, "statement": statement,
            "layers": ", ".join(check.layer for check in checks) if len(checks) < 3 else f"all {len(checks)}",
            "residual": (max if must else min)(check.residual for check in checks),
            "must": "hold" if must else "fail",
            "does": ("holds" if must else "fails") if all(each.as_predicted for each in checks) else "NOT AS PREDICTED",
        }
        for (network, part, statement, must), checks in groups.items()
    ]  # fmt: skip


def residue_lines(findings: Findings) -> list[str]:
    """The residue of statement 4 in words, one line for each network and part."""
    result = []
    for (network, part), rows in _by_part(findings).items():
        strong = rows[-1]
        result.append(
            f"{network}, {part}: theta falls as sigma^{exponent(rows):.2f}; at full strength sigma = "
            f"{strong.spread:.3f} and theta is {strong.theta / strong.gradient:.0%} of the gradient, "
            f"without augmentation {rows[0].theta / rows[0].gradient:.1e}."
        )
    return result


def _by_part(findings: Findings) -> dict[tuple[str, str], list[Residue]]:
    """Residues of each network and part, by strength of the augmentation."""
    result: dict[tuple[str, str], list[Residue]] = {}
    for network, residue in findings.residues:
        result.setdefault((network, residue.part), []).append(residue)
    return result


THEORY_HEADS = ["network", "part", "statement", "layers", "residual", "must", "does"]


def theory_cells(findings: Findings) -> list[list[str]]:
    """Rows of the table of checks."""
    return [
        [f"{value:.1e}" if isinstance(value, float) else str(value) for value in row.values()]
        for row in theory_rows(findings)
    ]


def operator_cells(results: ImageResults) -> list[list[str]]:
    """Rows of the table of operators, for NT-Xent and the covariance form, or all of at most two losses."""
    return [
        [row["loss"], str(row["epoch"]), str(row["layer"]),
         f"{row['trace']:.3g}", f"{row['top']:.3g}", f"{row['rank']:.1f}"]
        for row in operator_rows(results)
        if row["loss"] in ("ntxent", "covariance") or len(results.study.losses) < 3
    ]  # fmt: skip


OPERATOR_HEADS = ["loss", "epoch", "layer", "trace", "largest eigenvalue", "effective rank"]


def operator_rows(results: ImageResults) -> list[dict[str, Any]]:
    """One row for each loss, evaluation and layer of the head."""
    return [
        {"loss": member.loss, "seed": member.seed, "epoch": row["epoch"], **each}
        for member in results.members
        for row in member.history
        for each in row.get("operators", ())
    ]


def history_rows(results: ImageResults) -> list[dict[str, Any]]:
    """One row for each network and evaluation: the mean loss, linear accuracy with its interval, neighbours."""
    main = results.study.headline
    return [
        {"loss": member.loss, "seed": member.seed, "epoch": row["epoch"], "step": row["step"],
         "mean_loss": "" if row["loss"] is None else row["loss"], "linear": row[main]["value"],
         "low": row[main]["low"], "high": row[main]["high"], "knn": row[f"{main} knn"]["value"]}
        for member in results.members
        for row in member.history
    ]  # fmt: skip


BEGIN, END = "<!-- images:begin -->", "<!-- images:end -->"


def table(results: ImageResults) -> "Table":
    from rich.table import Table

    study = results.study
    title = (
        f"{study.dataset}: linear evaluation, top-1 in %, {study.epochs} epochs, mean ± spread, seeds: {study.seeds}"
    )
    heads, body = cells(results)
    result = Table(title=title, caption=f"{what_is_tested(results)}.")
    for head in heads:
        result.add_column(head, justify="left" if head == "loss" else "right")
    for line in body:
        result.add_row(*line)
    return result


def theory_table(findings: Findings) -> "Table":
    """The checks of statements 3 and 4 for the terminal."""
    from rich.table import Table

    result = Table(*THEORY_HEADS, title="the theory on real images")
    for line in theory_cells(findings):
        result.add_row(*line)
    return result


def _markdown(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(line) + " |" for line in body)])


def command_of(results: ImageResults) -> str:
    """Command that repeats the experiment."""
    study, default, options = results.study, type(results.study)(results.study.dataset), ""
    for name, value in asdict(study).items():
        if name not in ("losses", "device") and value != getattr(default, name):
            options += f" --{ {'out': 'outputs'}.get(name, name).replace('_', '-') } {value}"
    if study.losses != default.losses:
        options += f" --loss {','.join(study.losses)}"
    data = "" if study.dataset == "digits" else " --data DIR"
    return f"python -m numeric experiment images --dataset {study.dataset}{data}{options}"


def section(results: ImageResults, findings: Findings | None) -> dict[str, Any]:
    """Section of the report of `python -m verify --images DIR`: tables and notes as text."""
    study = results.study
    heads, body = cells(results)
    caption = (
        f"Linear evaluation, top-1 in %, {study.epochs} epochs, mean ± spread over seeds ({study.seeds}). "
        + what_is_tested(results)
    )
    tables = [{"caption": caption, "heads": heads, "rows": body}]
    notes: list[str] = []
    if findings is not None:
        caption = (
            "Statements 3 and 4 on these networks: what must hold, and what must fail because of batch normalisation"
        )
        tables.append({"caption": caption, "heads": THEORY_HEADS, "rows": theory_cells(findings)})
        notes = [f"Residue of statement 4: {line}" for line in residue_lines(findings)]
        notes += [f"Not checked: {text}." for text in findings.left_out]
    return {
        "title": f"SimCLR on {study.dataset}", "command": command_of(results), "tables": tables, "notes": notes,
        "verdict": "not-run" if findings is None else "holds" if findings.as_predicted else "refuted",
    }  # fmt: skip


def markdown(results: ImageResults, findings: Findings | None) -> str:
    """Section of the documentation: the table of losses, the theory on the networks, their operators."""
    study = results.study
    settings = (
        f"Made by `{command_of(results)}`: {study.epochs} epochs, "
        f"batch {study.batch}, tau {study.tau:g}, H = {study.negatives}, beta = {study.beta:g}, seeds {study.seed} to "
        f"{study.seed + study.seeds - 1}. Top-1 in %; mean ± standard deviation over seeds. "
        f"{what_is_tested(results)}."
    )
    parts = [settings, _markdown(*cells(results))]
    if findings is not None:
        parts += ["Statements 3 and 4 on these networks:", _markdown(THEORY_HEADS, theory_cells(findings))]
        if findings.residues:
            parts += ["The residue of statement 4 against the strength of the augmentation:"]
            parts += ["\n".join(f"* {line}" for line in residue_lines(findings))]
        parts += [f"Not checked: {text}." for text in findings.left_out]
    if operator_rows(results):
        parts += ["Size of the covariance operators of the head along training (first seed):"]
        parts += [_markdown(OPERATOR_HEADS, operator_cells(results))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _contents(results: ImageResults, findings: Findings | None) -> dict[str, bytes]:
    """All files but the manifest, by name."""
    contents: dict[str, bytes] = {
        "table.csv": csv_text(summary(results)).encode(),
        "history.csv": csv_text(history_rows(results)).encode(),
        "report.md": ("# SimCLR on images\n\n" + markdown(results, findings)).encode(),
    }
    if operator_rows(results):
        contents["operators.csv"] = csv_text(operator_rows(results)).encode()
    if findings is not None:
        contents["theory.csv"] = csv_text([{"network": n, **asdict(check)} for n, check in findings.checks]).encode()
        if findings.residues:
            contents["residues.csv"] = csv_text([{"network": n, **asdict(r)} for n, r in findings.residues]).encode()
    return contents | figures(results, findings)


def write_accuracies(folder: Path, results: ImageResults) -> None:
    """Write the results of the training before the checks begin; without a manifest the folder is not complete."""
    try:
        # That of an earlier experiment would vouch for files that are no longer its own.
        (folder / MANIFEST).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder / MANIFEST}: {error.strerror}: must be a file that can be replaced") from None
    for name, content in _contents(results, None).items():
        write(folder / name, content)


def write_results(folder: Path, results: ImageResults, findings: Findings | None) -> list[str]:
    """Write all files, the manifest last; gives their names."""
    contents = _contents(results, findings)
    document = {
        "study": asdict(results.study), "environment": environment(),
        "table": [_plain(row) for row in summary(results)],
        "theory": [] if findings is None else [_plain(row) for row in theory_rows(findings)],
        "residue": [] if findings is None else residue_lines(findings),
        "left_out": [] if findings is None else list(findings.left_out),
        "section": section(results, findings),
    }  # fmt: skip
    return [*write_files(folder, contents, document), MANIFEST]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN, which JSON does not have, by None."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def around_section(path: Path) -> tuple[str, str]:
    """Text of a Markdown file before and after its two marks."""
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}: must be a Markdown file") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"{path}: must hold the lines {BEGIN} and {END}, once each, in this order")
    return text.split(BEGIN)[0], text.split(END)[1]


def replace_section(path: Path, text: str) -> None:
    """Put a text between the two marks of a Markdown file."""
    before, after = around_section(path)
    write(path, f"{before}{BEGIN}\n\n{text}\n{END}{after}".encode())


def figures(results: ImageResults, findings: Findings | None) -> dict[str, bytes]:
    """All figures as PNG files by name."""
    drawn = {"accuracy": _accuracy(results)}
    if any(row.get("operators") for member in results.members for row in member.history):
        drawn["operators"] = _operators(results)
    if findings is not None and findings.residues:
        drawn["residue"] = _residue(findings)
    return {f"{name}.png": image(figure, "png") for name, figure in drawn.items()}


def _accuracy(results: ImageResults) -> Any:
    figure, ((axis,),) = panels(1, 1, (5.0, 3.4))
    main = results.study.headline
    for number, loss in enumerate(results.study.losses):
        members = [member for member in results.members if member.loss == loss]
        epochs = [row["epoch"] for row in members[0].history]
        by_epoch = [
            mean_and_spread([100 * member.history[place][main]["value"] for member in members])
            for place in range(len(epochs))
        ]
        means, spreads = zip(*by_epoch, strict=True)
        bars = None if len(members) == 1 else spreads
        axis.errorbar(epochs, means, bars, label=loss, color=f"C{number}", capsize=2)
    axis.set_xlabel("epoch")
    axis.set_ylabel(f"linear evaluation ({main}), top-1 in %")
    axis.legend(fontsize=7)
    return figure


def _operators(results: ImageResults) -> Any:
    figure, (axes,) = panels(1, 2, (9.0, 3.4))
    for number, member in enumerate(m for m in results.members if any(row.get("operators") for row in m.history)):
        rows = [row for row in member.history if row.get("operators")]
        for layer, axis in enumerate(axes):
            values = [row["operators"][layer]["trace"] for row in rows]
            axis.plot([row["epoch"] for row in rows], values, "o-", color=f"C{number}", label=member.loss, markersize=3)
    for layer, axis in enumerate(axes, start=1):
        axis.set_title(f"head, layer {layer}", fontsize=9)
        axis.set_xlabel("epoch")
        axis.set_ylabel("trace of the covariance operator")
    axes[0].legend(fontsize=7)
    return figure


def _residue(findings: Findings) -> Any:
    figure, ((axis,),) = panels(1, 1, (5.0, 3.4))
    for number, ((network, part), every) in enumerate(_by_part(findings).items()):
        rows = [residue for residue in every if residue.strength > 0]
        style = "o-" if part == "head" else "s--"
        axis.loglog(
            [r.spread for r in rows], [r.theta / r.gradient for r in rows], style, color=f"C{number // 2}",
            label=f"{network}, {part}", markersize=3,
        )  # fmt: skip
    axis.set_xlabel("spread of the output under augmentation, sigma")
    axis.set_ylabel("||theta|| / ||E grad||")
    axis.legend(fontsize=7)
    return figure
