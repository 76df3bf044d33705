"""What an image experiment leaves behind: tables for the terminal and in Markdown, CSV, figures, a manifest."""

import hashlib
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hltm.base.atomic import write
from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress
from numeric.studies.images.evaluate import SETTINGS
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
from numeric.studies.paper.report import csv_text, environment
from numeric.towers.populations import FinitePopulation

if TYPE_CHECKING:
    from rich.table import Table


# The theory on the networks of an experiment: which checks are run on them, and what was found.

STRENGTHS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_FITTED = (0.01, 0.2)  # range of the strengths that an exponent is fitted to
_HEAD = (12, 4)  # images and augmentations
_WHOLE = (8, 3)
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Findings:
    """What the theory says and the networks do."""

    checks: tuple[tuple[str, Check], ...]
    residues: tuple[tuple[str, Residue], ...]
    left_out: tuple[str, ...]

    @property
    def as_told(self) -> bool:
        """Whether every statement holds where it must and fails where it must."""
        return all(check.as_told for _, check in self.checks)


@dataclass(frozen=True)
class _Draft:
    """Findings while they are gathered."""

    checks: list[tuple[str, Check]] = field(default_factory=list)
    residues: list[tuple[str, Residue]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def within_memory(self, what: str, compute: Callable[[], Sequence[_Row]]) -> Sequence[_Row]:
        """What is computed; nothing, and a line on what is left out, where memory does not suffice."""
        try:
            return compute()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        # Outside of the handler, whose exception holds all that was computed.
        release_memory()
        self.left_out.append(f"{what}: the memory of the device is too small")
        return []


def examined(results: ImageResults) -> list[str]:
    """The untrained network, and two trained ones: by NT-Xent and by the exact covariance form where they are there."""
    losses = results.study.losses
    chosen = [loss for loss in losses if loss in ("ntxent", "covariance")]
    return ["untrained", *(chosen or losses[:1])]


def find(results: ImageResults, progress: Progress = SILENT) -> Findings:
    """Run all checks on the networks of the first seed."""
    result, names = _Draft(), examined(results)
    progress.start(4 * len(names), "the theory on the networks")
    for name in names:
        network = in_double(results.networks[name])
        _examine(result, name, network, results, progress)
        result.left_out.extend(f"{name}: {text}" for text in _no_functions(network))
    result.left_out.extend(_not_measured(results))
    return Findings(tuple(result.checks), tuple(result.residues), tuple(result.left_out))


def _examine(found: _Draft, name: str, network: Network, results: ImageResults, progress: Progress) -> None:
    """All checks and residues of one network."""
    study = results.study

    def population(strength: float = 1.0, sizes: tuple[int, int] = _WHOLE) -> FinitePopulation:
        return image_population(results.data, study.recipe, *sizes, strength=strength)

    def on_head() -> list[Check]:
        return head_checks(network.head, features(network, population(sizes=_HEAD)))

    checks: dict[str, Callable[[], list[Check]]] = {
        "statements 3 and 4 on the head": on_head,
        f"statements 3 and 4 on {whole(network)}": lambda: network_checks(network, population(), study.tau),
    }
    residues: dict[str, Callable[[], list[Residue]]] = {
        "residue of the head": lambda: head_residues(network, population, STRENGTHS),
        f"residue of {whole(network)}": lambda: network_residues(network, population, STRENGTHS, study.tau),
    }
    for what, compute in checks.items():
        progress.step(f"{name}: {what}")
        found.checks.extend((name, each) for each in found.within_memory(f"{name}: {what}", compute))
    for what, measure in residues.items():
        progress.step(f"{name}: {what}")
        found.residues.extend((name, each) for each in found.within_memory(f"{name}: {what}", measure))


def _no_functions(network: Network) -> list[str]:
    """Parts of which the theory does not speak, and why."""
    if not has_batch_norm(network):
        return []
    said = [f"{network.shape.encoder} with the live statistics of its training: an output is then no function of one "
            "image and K has no meaning; --norm none --head-norm none trains without"]  # fmt: skip
    if network.shape.head_norm == "batch":
        said.append("the head's own statistics: its operators, its residue and part 'head' take its two matrices alone")
    return said


def _not_measured(results: ImageResults) -> list[str]:
    """Networks along whose training an operator was not measured."""
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


# The tables of an image experiment as rows and as words: losses, the theory, operators along training.

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


def columns(results: ImageResults) -> list[str]:
    """The settings of the evaluation, the headline first, then its nearest neighbours."""
    return [*settings_of(results), f"{results.study.headline} knn"]


def settings_of(results: ImageResults) -> list[str]:
    """The settings of the evaluation, the headline first."""
    headline = results.study.headline
    return [headline, *(name for name in SETTINGS if name != headline)]


def summary(results: ImageResults) -> list[dict[str, Any]]:
    """One row for each loss, the untrained network first: mean and spread over seeds, in points.

    ``"gain <setting>"`` is what is gained on the untrained network of the same seed, in every setting.
    """
    study, rows = results.study, []
    groups = {"untrained": [m.before for m in results.members if m.loss == study.losses[0]]}
    groups |= {loss: [m.after for m in results.members if m.loss == loss] for loss in study.losses}
    for loss, result in groups.items():
        row: dict[str, Any] = {"loss": loss, "seeds": len(result)}
        for name in columns(results):
            row[name], row[f"{name} sd"] = mean_and_spread([100 * each[name]["value"] for each in result])
        row["low"], row["high"] = (
            100 * mean_and_spread([each[study.headline][end] for each in result])[0] for end in ("low", "high")
        )
        for name in settings_of(results):
            pairs = zip(result, groups["untrained"], strict=True)
            gains = [100 * (after[name]["value"] - before[name]["value"]) for after, before in pairs]
            row[f"gain {name}"], row[f"gain {name} sd"] = mean_and_spread(gains)
        rows.append(row)
    return rows


def _number(row: dict[str, Any], name: str, sign: str = "") -> str:
    spread = row[f"{name} sd"]
    return f"{row[name]:{sign}.1f}" + ("" if math.isnan(spread) else f" ± {spread:.1f}")


def cells(results: ImageResults) -> tuple[list[str], list[list[str]]]:
    """Heads and entries of the table of losses."""
    names, settings = columns(results), settings_of(results)
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
    """What the settings test, above all ``moved``, and what a step costs more; without the last full stop."""
    said = "; ".join(_TESTED[name] for name in settings_of(results))
    weighted = any(ImageLoss(loss).weighted for loss in results.study.losses)
    return f"A gain is over the untrained network of the same seed: {said}" + (f". {_COSTS}" if weighted else "")


def theory_rows(findings: Findings) -> list[dict[str, Any]]:
    """One row for each network, part and statement: the worst layer of those that must hold, or the least wrong."""
    groups: dict[tuple[str, str, str, bool], list[Any]] = {}
    for network, check in findings.checks:
        groups.setdefault((network, check.part, check.statement, check.must_hold), []).append(check)
    return [
        {
            "network": network, "part": part, "statement": statement,
            "layers": ", ".join(check.layer for check in held) if len(held) < 3 else f"all {len(held)}",
            "residual": (max if must else min)(check.residual for check in held),
            "must": "hold" if must else "fail", "does": _does(held),
        }
        for (network, part, statement, must), held in groups.items()
    ]  # fmt: skip


def _does(held: Sequence[Any]) -> str:
    if not all(check.as_told for check in held):
        return "NOT AS TOLD"
    return "holds" if held[0].must_hold else "fails"


def residue_lines(findings: Findings) -> list[str]:
    """The residue of statement 4 in words, one line for each network and part."""
    result = []
    keys = dict.fromkeys((network, each.part) for network, each in findings.residues)
    for network, part in keys:
        rows = [each for name, each in findings.residues if (name, each.part) == (network, part)]
        strong = rows[-1]
        result.append(
            f"{network}, {part}: theta falls as sigma^{exponent(rows):.2f}; at full strength sigma = "
            f"{strong.spread:.3f} and theta is {strong.theta / strong.gradient:.0%} of the gradient, "
            f"without augmentation {rows[0].theta / rows[0].gradient:.1e}."
        )
    return result


THEORY_HEADS = ["network", "part", "statement", "layers", "residual", "must", "does"]


def theory_cells(findings: Findings) -> list[list[str]]:
    """Entries of the table of checks."""
    return [
        [f"{value:.1e}" if isinstance(value, float) else str(value) for value in row.values()]
        for row in theory_rows(findings)
    ]


def operator_cells(results: ImageResults) -> list[list[str]]:
    """Entries of the table of operators, for the losses that are looked at most closely."""
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


SCHEMA = 1
BEGIN, END = "<!-- images:begin -->", "<!-- images:end -->"


def table(results: ImageResults) -> "Table":
    """The table of losses for the terminal."""
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

    result = Table(
        "network", "part", "statement", "layers", "residual", "must", "does", title="the theory on real images"
    )
    for row in theory_rows(findings):
        result.add_row(*(f"{value:.1e}" if isinstance(value, float) else value for value in row.values()))
    return result


def _markdown(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(line) + " |" for line in body)])


def command_of(results: ImageResults) -> str:
    """The command that runs the experiment again."""
    study, argument = results.study, ""
    for name, value in asdict(study).items():
        if name in ("losses", "device") or value == getattr(type(study)(study.dataset), name):
            continue
        argument += f" --{ {'out': 'outputs'}.get(name, name).replace('_', '-') } {value}"
    if study.losses != type(study)(study.dataset).losses:
        argument += f" --loss {','.join(study.losses)}"
    data = "" if study.dataset == "digits" else " --data DIR"
    return f"python -m numeric experiment images --dataset {study.dataset}{data}{argument}"


def section(results: ImageResults, findings: Findings | None) -> dict[str, Any]:
    """What the report of `python -m verify --images DIR` shows: tables of words."""
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
        "verdict": "not-run" if findings is None else "holds" if findings.as_told else "refuted",
    }  # fmt: skip


def markdown(results: ImageResults, findings: Findings | None) -> str:
    """The section of the documentation: the table of losses, and the theory on the networks that came of it."""
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
    pass  # HOUSE

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
    """Write what the training found, before the theory is begun: no manifest, so the folder is not complete."""
    try:
        # That of an earlier experiment would vouch for files that are no longer its own.
        (folder / "manifest.json").unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder / 'manifest.json'}: {error.strerror}: must be a file that can be replaced") from None
    for name, content in _contents(results, None).items():
        write(folder / name, content)


def write_results(folder: Path, results: ImageResults, findings: Findings | None) -> list[str]:
    """Write all files; each appears complete or not at all, the manifest last."""
    contents = _contents(results, findings)
    for name, content in contents.items():
        write(folder / name, content)
    document = {
        "schema": SCHEMA, "study": asdict(results.study), "environment": environment(),
        "table": [_plain(row) for row in summary(results)],
        "theory": [] if findings is None else [_plain(row) for row in theory_rows(findings)],
        "residue": [] if findings is None else residue_lines(findings),
        "left_out": [] if findings is None else list(findings.left_out),
        "section": section(results, findings),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())},
    }  # fmt: skip
    write(folder / "manifest.json", (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    return [*contents, "manifest.json"]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """The same without NaN, which JSON does not have."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def around_section(path: Path) -> tuple[str, str]:
    """What stands before and after the section between the two marks of a Markdown file."""
    try:
        held = path.read_text()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}: must be a Markdown file") from None
    if held.count(BEGIN) != 1 or held.count(END) != 1 or held.index(BEGIN) > held.index(END):
        raise InputError(f"{path}: must hold the lines {BEGIN} and {END}, once each, in this order")
    return held.split(BEGIN)[0], held.split(END)[1]


def replace_section(path: Path, text: str) -> None:
    """Put a text between the two marks of a Markdown file."""
    before, after = around_section(path)
    write(path, f"{before}{BEGIN}\n\n{text}\n{END}{after}".encode())


# Figures of an image experiment: accuracy and operators along training, the residue against the augmentation.


def figures(results: ImageResults, findings: Findings | None) -> dict[str, bytes]:
    """All figures, as the contents of PNG files by name."""
    drawn = {"accuracy": _accuracy(results)}
    if any(row.get("operators") for member in results.members for row in member.history):
        drawn["operators"] = _operators(results)
    if findings is not None and findings.residues:
        drawn["residue"] = _residue(findings)
    result = {}
    for name, figure in drawn.items():
        held = io.BytesIO()
        figure.savefig(held, format="png", dpi=150)
        result[f"{name}.png"] = held.getvalue()
    return result


def _panels(columns: int) -> tuple[Any, Sequence[Any]]:
    """A figure drawn by Agg, without pyplot and its state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.0 + 4.0 * columns, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _accuracy(results: ImageResults) -> Any:
    figure, (axis,) = _panels(1)
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
    figure, axes = _panels(2)
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
    keys = list(dict.fromkeys((network, each.part) for network, each in findings.residues))
    figure, (axis,) = _panels(1)
    for number, (network, part) in enumerate(keys):
        rows = [r for name, r in findings.residues if (name, r.part) == (network, part) and r.strength > 0]
        style = "o-" if part == "head" else "s--"
        axis.loglog(
            [r.spread for r in rows], [r.theta / r.gradient for r in rows], style, color=f"C{number // 2}",
            label=f"{network}, {part}", markersize=3,
        )  # fmt: skip
    axis.set_xlabel("spread of the output under augmentation, sigma")
    axis.set_ylabel("||theta|| / ||E grad||")
    axis.legend(fontsize=7)
    return figure
