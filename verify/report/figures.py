"""The figures of a report: computed and drawn beside the checks, or missing with the reason.

A figure that cannot be made stops nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from hltm.base.progress import SILENT, Progress
from verify.engine.processes import helpers
from verify.registry import REGISTRY, Entry, entry

if TYPE_CHECKING:
    from verify.engine.statement import Context, Statement
    from verify.figures.data import FigureData

# A process needs longer to start than the figures of fewer statements take.
SEVERAL = 4
SHOWN = 300
Row = dict[str, Any]
Made = tuple[Row, dict[str, bytes]]


@dataclass(frozen=True)
class Drawn:
    """Figures of the statements: rows of the view by slug, and their files by relative name."""

    rows: Mapping[str, Sequence[Row]] = field(default_factory=lambda: MappingProxyType({}))
    files: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))


class Figures(Protocol):
    """Gives the figures of statements; `figures` and `beside` say how."""

    def __call__(self, statements: Sequence[Statement], progress: Progress = SILENT) -> Drawn:
        """The figures of statements, once they are made."""


@contextmanager
def beside(context: Context, entries: Sequence[Entry]) -> Iterator[Figures]:
    """Let another process make the figures while this one runs the checks; gives what waits for them.

    Figures of few statements, of a user's own, and where there is no second processor, are made here when asked for.

    Parameters
    ----------
    context : Context
    entries : sequence of Entry
    """
    if len(entries) < SEVERAL or (os.cpu_count() or 1) == 1 or not all(entry in REGISTRY for entry in entries):
        yield partial(figures, context)
        return
    with helpers(1) as send:
        try:
            running = {entry.slug: send(made_of, context, entry.slug) for entry in entries}
        except (OSError, BrokenProcessPool):  # a machine that lets no further process start
            running = {}

        def wait(statements: Sequence[Statement], progress: Progress = SILENT) -> Drawn:
            return gathered(statements, lambda statement: _arrived(running[statement.slug], statement), progress)

        yield wait if running else partial(figures, context)


def figures(context: Context, statements: Sequence[Statement], progress: Progress = SILENT) -> Drawn:
    """Compute and draw the figures of statements, in this process.

    Parameters
    ----------
    context : Context
    statements : sequence of Statement
    progress : Progress
        Told which statement's figures are made.
    """
    return gathered(statements, partial(made, context), progress)


def gathered(statements: Sequence[Statement], make: Callable[[Statement], list[Made]], progress: Progress) -> Drawn:
    """Rows and files of all figures, of each statement as it is made; of two with the same name the first is kept."""
    chosen = [statement for statement in statements if statement.figures is not None]
    rows: dict[str, list[Row]] = {}
    files: dict[str, bytes] = {}
    progress.start(len(chosen))
    for statement in chosen:
        progress.step(f"{statement.slug}: figures")
        found = rows[statement.slug] = []
        for row, drawings in make(statement):
            if set(files) & set(drawings):
                name = f"{row['name']}-again-{len(found)}"
                found.append(missing(name, row["title"], "there is another figure of that name"))
                continue
            found.append(row)
            files |= drawings
    return Drawn(rows, files)


def made_of(context: Context, slug: str) -> list[Made]:
    """The figures of a statement of the registry, as another process makes them."""
    return made(context, entry(slug).load())


def made(context: Context, statement: Statement) -> list[Made]:
    """The figures of a statement: of each the row and the files."""
    try:
        found = list(statement.figures(context)) if statement.figures is not None else []
    except Exception as error:
        return [(missing(f"figures-of-{statement.slug}", "Figures", error), {})]
    return [drawn(data) for data in found]


def _arrived(running: Future[list[Made]], statement: Statement) -> list[Made]:
    reason: Exception | str
    try:
        return running.result()
    except BrokenProcessPool:
        reason = "the process that drew them ended before it was done"
    except Exception as error:
        reason = error
    return [(missing(f"figures-of-{statement.slug}", "Figures", reason), {})]


def drawn(data: FigureData) -> Made:
    """One figure: its row of the view, and its files."""
    try:
        from verify.figures.drawing import render

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
