"""The figures of a report: computed, drawn in processes of their own, or missing with the reason.

A figure that cannot be made stops nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hltm.progress import SILENT, Progress

if TYPE_CHECKING:
    from verify.figure_data import FigureData
    from verify.statement import Context, Statement

# Drawing takes about as long as a process needs to start: figures of fewer statements are drawn in this one.
SEVERAL = 4
WORKERS = 2
SHOWN = 300
Row = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """Figures of the statements: rows of the view by slug, and their files by relative name."""

    rows: Mapping[str, Sequence[Row]] = field(default_factory=lambda: MappingProxyType({}))
    files: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))


def figures(context: Context, statements: Sequence[Statement], progress: Progress = SILENT) -> Drawn:
    """Compute and draw the figures of statements.

    Parameters
    ----------
    context : Context
    statements : sequence of Statement
    progress : Progress
        Told which statement's figures are computed.
    """
    rows: dict[str, list[Row]] = {}
    computed: list[tuple[str, FigureData]] = []
    chosen = [statement for statement in statements if statement.figures is not None]

    def data_of_all() -> Iterator[FigureData]:
        for statement in chosen:
            progress.step(f"{statement.slug}: figures")
            rows[statement.slug] = []
            try:
                found = list(statement.figures(context)) if statement.figures is not None else []
            except Exception as error:
                rows[statement.slug].append(missing(f"figures-of-{statement.slug}", "Figures", error))
                continue
            computed.extend((statement.slug, data) for data in found)
            yield from found

    progress.start(len(chosen))
    files: dict[str, bytes] = {}
    # Everything is computed before the first result comes: drawing goes on beside it, in other processes.
    for number, (row, drawings) in enumerate(all_drawn(data_of_all(), len(chosen))):
        slug, data = computed[number]
        if set(files) & set(drawings):
            row = missing(f"{data.name}-again-{len(rows[slug])}", data.title, "there is another figure of that name")
            drawings = {}
        rows[slug].append(row)
        files |= drawings
    return Drawn(rows, files)


def all_drawn(found: Iterable[FigureData], statements: int) -> Iterator[tuple[Row, dict[str, bytes]]]:
    """Draw figures, those of several statements in processes of their own."""
    workers = min(WORKERS, os.cpu_count() or 1)
    if statements < SEVERAL or workers == 1:
        return map(drawn, found)
    from verify.processes import spread

    return spread(drawn, found, workers)


def drawn(data: FigureData) -> tuple[Row, dict[str, bytes]]:
    """One figure: its row of the view, and its files."""
    try:
        from verify.figures import render

        files = {f"figures/{data.name}.{suffix}": content for suffix, content in sorted(render(data).items())}
    except Exception as error:
        return missing(str(data.name), data.title, error, data.caption, data.command), {}
    row = {
        "name": data.name, "title": data.title, "caption": data.caption, "facts": dict(data.facts),
        "command": data.command, "alt": data.alt or f"{data.title}. {data.caption}", "files": list(files), "reason": "",
    }  # fmt: skip
    return row, files


def not_drawn(statements: Sequence[Statement], reason: str) -> Drawn:
    """Figures that were not computed, with the reason."""
    rows = {
        statement.slug: [missing(f"figures-of-{statement.slug}", "Figures", reason)]
        for statement in statements
        if statement.figures is not None
    }
    return Drawn(rows)


def missing(name: str, title: str, error: Exception | str, caption: str = "", command: str = "") -> Row:
    """The row of a figure that there is not.

    Examples
    --------
    >>> missing("a", "A", ValueError("no number"))["reason"]
    'ValueError: no number'
    """
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return {
        "name": name, "title": title, "caption": caption, "facts": {}, "command": command, "alt": "", "files": [],
        "reason": " ".join(reason.split())[:SHOWN],
    }  # fmt: skip
