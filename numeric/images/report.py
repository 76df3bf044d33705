"""What an image experiment leaves behind: the table of losses, the checks of the theory, CSV, figures, a manifest."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hltm.errors import InputError
from hltm.files import write
from numeric.experiment_report import csv_text, environment
from numeric.images.evaluate import SETTINGS
from numeric.images.findings import Findings, exponent
from numeric.images.study import ImageResults, mean_and_spread

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = 1
BEGIN, END = "<!-- images:begin -->", "<!-- images:end -->"
NAMES = {
    "ntxent": "NT-Xent, whole batch",
    "infonce": "InfoNCE, H negatives",
    "simple": "simple (quadratic)",
    "triplet": "soft triplet",
    "covariance": "exact covariance form",
    "within": "covariance + within-pair",
}


def columns(results: ImageResults) -> list[str]:
    """The settings of the evaluation, the headline first, then its nearest neighbours."""
    headline = results.study.headline
    return [headline, *(name for name in SETTINGS if name != headline), f"{headline} knn"]


def summary(results: ImageResults) -> list[dict[str, Any]]:
    """One row for each loss, the untrained network first: mean and spread over seeds, and the gain, in points."""
    study, rows = results.study, []
    groups = {"untrained": [m.before for m in results.members if m.loss == study.losses[0]]}
    groups |= {loss: [m.after for m in results.members if m.loss == loss] for loss in study.losses}
    for loss, found in groups.items():
        row: dict[str, Any] = {"loss": loss, "seeds": len(found)}
        for name in columns(results):
            row[name], row[f"{name} sd"] = mean_and_spread([100 * each[name]["value"] for each in found])
        main = study.headline
        row["low"], row["high"] = (
            100 * mean_and_spread([each[main][end] for each in found])[0] for end in ("low", "high")
        )
        gains = [100 * (a[main]["value"] - b[main]["value"]) for a, b in zip(found, groups["untrained"], strict=True)]
        row["gain"], row["gain sd"] = mean_and_spread(gains)
        rows.append(row)
    return rows


def _number(row: dict[str, Any], name: str, sign: str = "") -> str:
    spread = row[f"{name} sd"]
    return f"{row[name]:{sign}.1f}" + ("" if math.isnan(spread) else f" ± {spread:.1f}")


def cells(results: ImageResults) -> tuple[list[str], list[list[str]]]:
    """Heads and entries of the table of losses."""
    names = columns(results)
    heads = ["loss", *(f"{name} (95 % interval)" if number == 0 else name for number, name in enumerate(names)), "gain"]
    body = []
    for row in summary(results):
        first = f"{_number(row, names[0])} ({row['low']:.1f} to {row['high']:.1f})"
        gain = "" if row["loss"] == "untrained" else _number(row, "gain", "+")
        body.append([NAMES.get(row["loss"], row["loss"]), first, *(_number(row, name) for name in names[1:]), gain])
    return heads, body


def table(results: ImageResults) -> "Table":
    """The table of losses for the terminal."""
    from rich.table import Table

    study = results.study
    title = (
        f"{study.dataset}: linear evaluation, top-1 in %, {study.epochs} epochs, mean ± spread, seeds: {study.seeds}"
    )
    heads, body = cells(results)
    found = Table(title=title)
    for head in heads:
        found.add_column(head, justify="left" if head == "loss" else "right")
    for line in body:
        found.add_row(*line)
    return found


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


def theory_table(findings: Findings) -> "Table":
    """The checks of statements 3 and 4 for the terminal."""
    from rich.table import Table

    found = Table(
        "network", "part", "statement", "layers", "residual", "must", "does", title="the theory on real images"
    )
    for row in theory_rows(findings):
        found.add_row(*(f"{value:.1e}" if isinstance(value, float) else value for value in row.values()))
    return found


def _markdown(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(line) + " |" for line in body)])


def residue_lines(findings: Findings) -> list[str]:
    """The residue of statement 4 in words, one line for each network and part."""
    found = []
    keys = dict.fromkeys((network, each.part) for network, each in findings.residues)
    for network, part in keys:
        rows = [each for name, each in findings.residues if (name, each.part) == (network, part)]
        strong = rows[-1]
        found.append(
            f"{network}, {part}: theta falls as sigma^{exponent(rows):.2f}; at full strength sigma = "
            f"{strong.spread:.3f} and theta is {strong.theta / strong.gradient:.0%} of the gradient, "
            f"without augmentation {rows[0].theta / rows[0].gradient:.1e}."
        )
    return found


THEORY_HEADS = ["network", "part", "statement", "layers", "residual", "must", "does"]


def theory_cells(findings: Findings) -> list[list[str]]:
    """Entries of the table of checks."""
    return [
        [f"{value:.1e}" if isinstance(value, float) else str(value) for value in row.values()]
        for row in theory_rows(findings)
    ]


def command_of(results: ImageResults) -> str:
    """The command that runs the experiment again."""
    study, given = results.study, ""
    for name, value in asdict(study).items():
        if name in ("losses", "device") or value == getattr(type(study)(study.dataset), name):
            continue
        given += f" --{ {'out': 'outputs'}.get(name, name).replace('_', '-') } {value}"
    if study.losses != type(study)(study.dataset).losses:
        given += f" --loss {','.join(study.losses)}"
    data = "" if study.dataset == "digits" else " --data DIR"
    return f"python -m numeric experiment images --dataset {study.dataset}{data}{given}"


def section(results: ImageResults, findings: Findings | None) -> dict[str, Any]:
    """What the report of `python -m verify --images DIR` shows: tables of words."""
    study = results.study
    heads, body = cells(results)
    caption = f"Linear evaluation, top-1 in %, {study.epochs} epochs, mean ± spread over seeds ({study.seeds})"
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
        "verdict": "holds" if findings is None or findings.as_told else "refuted",
    }  # fmt: skip


def markdown(results: ImageResults, findings: Findings | None) -> str:
    """The section of the documentation: the table of losses, and the theory on the networks that came of it."""
    study = results.study
    settings = (
        f"Made by `{command_of(results)}`: {study.epochs} epochs, "
        f"batch {study.batch}, tau {study.tau:g}, H = {study.negatives}, beta = {study.beta:g}, seeds {study.seed} to "
        f"{study.seed + study.seeds - 1}. Top-1 in %; mean ± standard deviation over seeds."
    )
    parts = [settings, _markdown(*cells(results))]
    if findings is not None:
        parts += ["Statements 3 and 4 on these networks:", _markdown(THEORY_HEADS, theory_cells(findings))]
        if findings.residues:
            parts += ["The residue of statement 4 against the strength of the augmentation:"]
            parts += ["\n".join(f"* {line}" for line in residue_lines(findings))]
        parts += [f"Not checked: {text}." for text in findings.left_out]
        parts += ["Size of the covariance operators of the head along training (first seed):", _operators(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def operator_rows(results: ImageResults) -> list[dict[str, Any]]:
    """One row for each loss, evaluation and layer of the head."""
    return [
        {"loss": member.loss, "seed": member.seed, "epoch": row["epoch"], **each}
        for member in results.members
        for row in member.history
        for each in row.get("operators", ())
    ]


def _operators(results: ImageResults) -> str:
    rows = operator_rows(results)
    if not rows:
        return "Not measured: the head is too wide for a dense operator."
    body = [
        [
            row["loss"],
            str(row["epoch"]),
            str(row["layer"]),
            f"{row['trace']:.3g}",
            f"{row['top']:.3g}",
            f"{row['rank']:.1f}",
        ]
        for row in rows
        if row["loss"] in ("ntxent", "covariance") or len(results.study.losses) < 3
    ]
    return _markdown(["loss", "epoch", "layer", "trace", "largest eigenvalue", "effective rank"], body)


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


def write_results(folder: Path, results: ImageResults, findings: Findings | None) -> list[str]:
    """Write all files; each appears complete or not at all, the manifest last.

    Raises
    ------
    InputError
        A place that cannot be written.
    """
    from numeric.images.figures import figures

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
    contents |= figures(results, findings)
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
    """What stands before and after the section between the two marks of a Markdown file.

    Raises
    ------
    InputError
        It cannot be read, or has no such marks.
    """
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
