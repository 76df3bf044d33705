"""What an image experiment leaves behind: tables for the terminal and in Markdown, CSV, figures, a manifest."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hltm.base.atomic import write
from hltm.base.errors import InputError
from numeric.images.findings import Findings
from numeric.images.tables import (
    OPERATOR_HEADS,
    THEORY_HEADS,
    cells,
    history_rows,
    operator_cells,
    operator_rows,
    residue_lines,
    summary,
    theory_cells,
    theory_rows,
    what_is_tested,
)
from numeric.studies.images.study import ImageResults
from numeric.studies.paper.report import csv_text, environment

if TYPE_CHECKING:
    from rich.table import Table

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
    found = Table(title=title, caption=f"{what_is_tested(results)}.")
    for head in heads:
        found.add_column(head, justify="left" if head == "loss" else "right")
    for line in body:
        found.add_row(*line)
    return found


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
    return contents | figures(results, findings)


def write_accuracies(folder: Path, results: ImageResults) -> None:
    """Write what the training found, before the theory is begun: no manifest, so the folder is not complete.

    Raises
    ------
    InputError
        A place that cannot be written.
    """
    try:
        # That of an earlier experiment would vouch for files that are no longer its own.
        (folder / "manifest.json").unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder / 'manifest.json'}: {error.strerror}: must be a file that can be replaced") from None
    for name, content in _contents(results, None).items():
        write(folder / name, content)


def write_results(folder: Path, results: ImageResults, findings: Findings | None) -> list[str]:
    """Write all files; each appears complete or not at all, the manifest last.

    Raises
    ------
    InputError
        A place that cannot be written.
    """
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
