"""Putting a report together: counterexamples, the view, and its renderings, as files by relative names.

Nothing is written here; `verify.report.folder` and `verify.report.folder` do that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress
from verify.engine.processes import helpers
from verify.engine.runner import Result
from verify.engine.saved import evidence_name, instance_document, instance_name, json_bytes, read_json
from verify.engine.statement import Statement
from verify.registry import REGISTRY, Entry, entry
from verify.report.tex import SECONDS, Pdf, compiled, culprit
from verify.report.tex import document as latex
from verify.report.view import Attached, Request, view

if TYPE_CHECKING:
    from verify.engine.statement import Context
    from verify.figures.data import FigureData


# The figures of a report: computed and drawn beside the checks, or missing with the reason.

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
    """Compute and draw the figures of statements, in this process."""
    return gathered(statements, partial(made, context), progress)


def gathered(statements: Sequence[Statement], make: Callable[[Statement], list[Made]], progress: Progress) -> Drawn:
    """Rows and files of all figures, of each statement as it is made; of two with the same name the first is kept."""
    chosen = [statement for statement in statements if statement.figures is not None]
    rows: dict[str, list[Row]] = {}
    files: dict[str, bytes] = {}
    progress.start(len(chosen))
    for statement in chosen:
        progress.step(f"{statement.slug}: figures")
        result = rows[statement.slug] = []
        for row, drawings in make(statement):
            if set(files) & set(drawings):
                name = f"{row['name']}-again-{len(result)}"
                result.append(missing(name, row["title"], "there is another figure of that name"))
                continue
            result.append(row)
            files |= drawings
    return Drawn(rows, files)


def made_of(context: Context, slug: str) -> list[Made]:
    """The figures of a statement of the registry, as another process makes them."""
    return made(context, entry(slug).load())


def made(context: Context, statement: Statement) -> list[Made]:
    """The figures of a statement: of each the row and the files."""
    try:
        result = list(statement.figures(context)) if statement.figures is not None else []
    except Exception as error:
        return [(missing(f"figures-of-{statement.slug}", "Figures", error), {})]
    return [drawn(data) for data in result]


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
    """The row of a figure that there is not."""
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return {
        "name": name, "title": title, "caption": caption, "facts": {}, "command": command, "alt": "", "files": [],
        "reason": " ".join(reason.split())[:SHOWN],
    }  # fmt: skip


@dataclass(frozen=True)
class Report:
    """A report in memory: its files, what the manifest says of the run, and why there is no PDF, if so."""

    files: Mapping[str, bytes]
    about: Mapping[str, Any]
    pdf_reason: str = ""
    log: str = ""


def counterexamples(request: Request, results: Sequence[Result]) -> tuple[Attached, dict[str, bytes]]:
    """What refuted statements and false variants, as files that `replay` reads; the names are those of the view."""
    rows: dict[tuple[str, int], str] = {}
    variants: dict[tuple[str, str], str] = {}
    files: dict[str, bytes] = {}

    def keep(statement: Statement, instance: Any, name: str, variant: str | None, found: dict[str, Any]) -> str:
        document = instance_document(statement, instance, variant=variant, seed=request.context.seed, found=found)
        path = f"counterexamples/{instance_name(statement, name)}"
        files[path] = json_bytes(document)
        return path

    for result in results:
        statement = result.statement
        for index, row in enumerate(result.evidence):
            if hasattr(row.counterexample, "as_json"):
                found = {"residual": str(row.worst_residual), "tolerance": str(row.tolerance), "detail": row.detail}
                rows[statement.slug, index] = keep(statement, row.counterexample, evidence_name(row), None, found)
            for refuted in row.refutations:
                if refuted.measurement is not None and hasattr(refuted.instance, "as_json"):
                    name = refuted.variant.name
                    kept = {"refuted_by": list(refuted.refuted_by), "residual": str(refuted.measurement.residual)}
                    variants[statement.slug, name] = keep(statement, refuted.instance, name, name, kept)
    return Attached(rows, variants), files


def typeset(
    seen: Mapping[str, Any], included: Mapping[str, bytes], *, shrunk: bool, stop: Event, seconds: float = SECONDS
) -> tuple[str, Pdf]:
    """The LaTeX of a view and what pdflatex makes of it.

    A formula of a user's own that TeX cannot set is shown as its source: the report is worth more than the formula.
    Where the log does not say which one it is, that happens to all of them.
    """
    limit = time.monotonic() + seconds
    own = {s["slug"] for s in seen["statements"] if s["theorem"] is None}
    sources: set[str] = set()
    while True:
        text = latex(seen, shrunk=shrunk, as_source=sources)
        pdf = compiled(text, included, max(limit - time.monotonic(), 0.0), stop)
        if pdf.content is not None or sources == own or not pdf.reason.startswith("pdflatex failed"):
            return text, pdf
        result = culprit(seen, text, pdf.log)
        sources = sources | {result} if result is not None and result not in sources else own


@contextmanager
def typesetting(
    seen: Mapping[str, Any], included: Mapping[str, bytes], *, shrunk: bool, stop: Event
) -> Iterator[Future[tuple[str, Pdf]]]:
    """Let `typeset` run beside the block, which ends it where it is left by an exception."""
    with ThreadPoolExecutor(1) as thread:
        try:
            yield thread.submit(typeset, seen, included, shrunk=shrunk, stop=stop)
        except BaseException:
            stop.set()
            raise


def build(
    request: Request,
    results: Sequence[Result],
    document: Mapping[str, Any],
    attached: Attached,
    kept: Mapping[str, bytes],
    *,
    drawings: Drawn | None = None,
    shrunk: bool = False,
    with_pdf: bool = True,
    name: str = "report.json",
    stop: Event | None = None,
) -> Report:
    """The report of results."""
    from verify.report.html import page

    drawings = drawings or Drawn()
    seen = view(request, results, Attached(attached.counterexamples, attached.variants, drawings.rows))
    files = {**kept, **drawings.files}
    files[name] = json_bytes({**document, "report": seen})
    svgs = {row["name"]: drawings.files[f"figures/{row['name']}.svg"]
            for rows in drawings.rows.values() for row in rows if not row["reason"]}  # fmt: skip
    included = {file: content for file, content in drawings.files.items() if file.endswith(".pdf")}

    def html(reason: str) -> bytes:
        return page(seen, svgs, pdf=not reason, pdf_reason=reason, shrunk=shrunk, document=name).encode()

    shown = None
    if with_pdf:
        # On the assumption that pdflatex succeeds.
        with typesetting(seen, included, shrunk=shrunk, stop=stop or Event()) as running:
            shown = html("")
            text, pdf = running.result()
    else:
        text, pdf = latex(seen, shrunk=shrunk), Pdf(None, "the run was interrupted")
    files["report.tex"] = text.encode()
    if pdf.content is not None:
        files["report.pdf"] = pdf.content
    files["index.html"] = html(pdf.reason) if pdf.reason or shown is None else shown
    about = {"subject": seen["subject"], "verdict": seen["verdict"], "command": seen["command"], "seed": seen["seed"],
             "profile": seen["profile"], "environment": seen["environment"]}  # fmt: skip
    return Report(files, about, pdf.reason, pdf.log)


# The report's section on images: what an image experiment wrote (`python -m numeric experiment images --out DIR`).

SCHEMA = 1
_RULE = "must be the manifest.json that `python -m numeric experiment images --out DIR` wrote"


def images_section(folder: Path) -> dict[str, Any]:
    """The section of a report, as plain data."""
    path = folder / "manifest.json"
    document = read_json(path)
    section = document.get("section") if isinstance(document, dict) else None
    if not isinstance(section, dict) or document.get("schema") != SCHEMA or not _good(section):
        raise InputError(f"file {str(path)!r}: {_RULE}")
    return {name: section[name] for name in ("title", "command", "verdict", "tables", "notes")}


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _good(section: dict[str, Any]) -> bool:
    """Whether it has all of its parts, each of its kind."""
    tables = section.get("tables")
    return (
        isinstance(section.get("title"), str)
        and isinstance(section.get("command"), str)
        and section.get("verdict") in ("holds", "refuted", "not-run")
        and _words(section.get("notes"))
        and isinstance(tables, list)
        and all(_table(each) for each in tables)
    )


def _table(table: Any) -> bool:
    if not isinstance(table, dict) or not isinstance(table.get("caption"), str) or not _words(table.get("heads")):
        return False
    rows = table.get("rows")
    return isinstance(rows, list) and all(_words(row) and len(row) == len(table["heads"]) for row in rows)
