"""Build a report in memory, as files by relative names.

`verify.report.folder` writes them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress
from verify.engine.processes import SEVERAL, helpers
from verify.engine.runner import Result
from verify.engine.saved import evidence_name, instance_document, instance_name, json_bytes, read_json
from verify.engine.statement import Statement
from verify.registry import PACKS, REGISTRY, Entry, entry
from verify.report.tex import SECONDS, Pdf, failing_statement, run_pdflatex
from verify.report.tex import document as latex
from verify.report.view import Attached, Request, view

if TYPE_CHECKING:
    from verify.engine.statement import Context
    from verify.figures.data import FigureData


SHOWN = 300
Row = dict[str, Any]
Figure = tuple[Row, dict[str, bytes]]
"""A figure: its row of the view, and the contents of its files by relative name."""


@dataclass(frozen=True)
class Drawn:
    """Figures: rows of the view by slug, and files by relative name."""

    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


@contextmanager
def draw_in_background(
    context: Context, entries: Sequence[Entry]
) -> Iterator[Callable[[Sequence[Statement], Progress], Drawn]]:
    """Draw figures in another process; yields a function that waits for them.

    Figures of few statements, of a user's own, or without a second processor are drawn when they are asked for.
    """
    if (
        len(entries) < SEVERAL
        or (os.cpu_count() or 1) == 1
        or not all(entry in (*REGISTRY, *PACKS) for entry in entries)
    ):
        yield partial(figures, context)
        return
    with helpers(1) as send:
        try:
            running = {entry.slug: send(draw_registered, context, entry.slug) for entry in entries}
        except (OSError, BrokenProcessPool):  # a machine that lets no further process start
            yield partial(figures, context)
        else:
            yield partial(collect, lambda statement: running[statement.slug].result())


def figures(context: Context, statements: Sequence[Statement], progress: Progress = SILENT) -> Drawn:
    """Draw the figures of statements in this process."""
    return collect(partial(draw_all, context), statements, progress)


def collect(
    draw: Callable[[Statement], list[Figure]], statements: Sequence[Statement], progress: Progress = SILENT
) -> Drawn:
    """The figures of all statements; of two with the same name the first is kept."""
    chosen = [statement for statement in statements if statement.figures is not None]
    rows: dict[str, list[Row]] = {}
    files: dict[str, bytes] = {}
    progress.start(len(chosen))
    for statement in chosen:
        progress.step(f"{statement.slug}: figures")
        result = rows[statement.slug] = []
        try:
            for row, contents in draw(statement):
                if set(files) & set(contents):
                    name = f"{row['name']}-again-{len(result)}"
                    result.append(missing_figure(name, row["title"], "there is another figure of that name"))
                    continue
                result.append(row)
                files |= contents
        except BrokenProcessPool:
            result.append(missing_figures(statement, "the process that drew them ended before it was done"))
        except Exception as error:
            result.append(missing_figures(statement, error))
    return Drawn(rows, files)


def draw_registered(context: Context, slug: str) -> list[Figure]:
    """Draw the figures of a statement of the registry, in another process."""
    return draw_all(context, entry(slug).load())


def draw_all(context: Context, statement: Statement) -> list[Figure]:
    return [draw_figure(data) for data in statement.figures(context)] if statement.figures is not None else []


def draw_figure(data: FigureData) -> Figure:
    """Draw one figure; if that fails its row says why."""
    try:
        from verify.figures.drawing import render

        files = {f"figures/{data.name}.{suffix}": content for suffix, content in sorted(render(data).items())}
    except Exception as error:
        return missing_figure(str(data.name), data.title, error, data.caption, data.command), {}
    row = {
        "name": data.name, "title": data.title, "caption": data.caption, "facts": dict(data.facts),
        "command": data.command, "alt": data.alt or f"{data.title}. {data.caption}", "files": list(files), "reason": "",
    }  # fmt: skip
    return row, files


def not_drawn(statements: Sequence[Statement], reason: str) -> Drawn:
    """Rows that say why no figure was drawn."""
    return Drawn({each.slug: [missing_figures(each, reason)] for each in statements if each.figures is not None})


def missing_figures(statement: Statement, error: Exception | str) -> Row:
    """The row in place of all figures of a statement."""
    return missing_figure(f"figures-of-{statement.slug}", "Figures", error)


def missing_figure(name: str, title: str, error: Exception | str, caption: str = "", command: str = "") -> Row:
    """The row of a figure that could not be drawn."""
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return {
        "name": name, "title": title, "caption": caption, "facts": {}, "command": command, "alt": "", "files": [],
        "reason": " ".join(reason.split())[:SHOWN],
    }  # fmt: skip


@dataclass(frozen=True)
class Report:
    """A report in memory: files, the manifest's entries about the run, TeX's log."""

    files: Mapping[str, bytes]
    about: Mapping[str, Any]
    pdf_reason: str = ""
    log: str = ""


def counterexamples(request: Request, results: Sequence[Result]) -> tuple[Attached, dict[str, bytes]]:
    """Counterexamples to statements and mutants, as files that `replay` reads."""
    rows: dict[tuple[str, int], str] = {}
    variants: dict[tuple[str, str], str] = {}
    files: dict[str, bytes] = {}

    def keep(statement: Statement, instance: Any, name: str, variant: str | None, found: dict[str, Any]) -> list[str]:
        """The name of the file, or none where the instance is no JSON: it has a NaN, say."""
        path = f"counterexamples/{instance_name(statement, name)}"
        try:
            document = instance_document(statement, instance, variant=variant, seed=request.context.seed, found=found)
            files[path] = json_bytes(document)
        except (TypeError, ValueError):
            return []
        return [path]

    for result in results:
        statement = result.statement
        for index, row in enumerate(result.evidence):
            if hasattr(row.counterexample, "as_json"):
                found: dict[str, Any] = {
                    "residual": str(row.worst_residual), "tolerance": str(row.tolerance), "detail": row.detail,
                }  # fmt: skip
                if row.apart is not None:
                    found["disagreement"] = row.apart.as_json()
                for path in keep(statement, row.counterexample, evidence_name(row), None, found):
                    rows[statement.slug, index] = path
            for refuted in row.refutations:
                if refuted.measurement is not None and hasattr(refuted.instance, "as_json"):
                    name = refuted.variant.name
                    kept = {"refuted_by": list(refuted.refuted_by), "residual": str(refuted.measurement.residual)}
                    for path in keep(statement, refuted.instance, name, name, kept):
                        variants[statement.slug, name] = path
    return Attached(rows, variants), files


def typeset(
    seen: Mapping[str, Any], included: Mapping[str, bytes], *, shrunk: bool, stop: Event, seconds: float = SECONDS
) -> tuple[str, Pdf]:
    """The LaTeX of a view and the PDF that pdflatex makes of it.

    A formula of a user's own that TeX cannot set is shown as its source: the report is worth more than the formula.
    If the log does not say which one it is, all of them are.
    """
    limit = time.monotonic() + seconds
    own = {s["slug"] for s in seen["statements"] if s["theorem"] is None}
    sources: set[str] = set()
    while True:
        text = latex(seen, shrunk=shrunk, as_source=sources)
        pdf = run_pdflatex(text, included, max(limit - time.monotonic(), 0.0), stop)
        if pdf.content is not None or sources == own or not pdf.reason.startswith("pdflatex failed"):
            return text, pdf
        slug = failing_statement(seen, text, pdf.log)
        sources = sources | {slug} if slug is not None and slug not in sources else own


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
    """Build the report of results in memory; `kept` are files that it has besides."""
    from verify.report.html import page

    drawings = drawings or Drawn()
    seen = view(request, results, replace(attached, figures=drawings.rows))
    files = {**kept, **drawings.files, name: json_bytes({**document, "report": seen})}
    if with_pdf:
        included = {file: content for file, content in drawings.files.items() if file.endswith(".pdf")}
        text, pdf = typeset(seen, included, shrunk=shrunk, stop=stop or Event())
    else:
        text, pdf = latex(seen, shrunk=shrunk), Pdf(None, "the run was interrupted")
    files["report.tex"] = text.encode()
    if pdf.content is not None:
        files["report.pdf"] = pdf.content
    svgs = {Path(file).stem: content for file, content in drawings.files.items() if file.endswith(".svg")}
    files["index.html"] = page(seen, svgs, pdf_reason=pdf.reason, shrunk=shrunk, document=name).encode()
    about = {key: seen[key] for key in ("subject", "verdict", "command", "seed", "profile", "environment")}
    return Report(files, about, pdf.reason, pdf.log)


# What an image experiment wrote (`python -m numeric experiment images --out DIR`).

_RULE = "must be the manifest.json that `python -m numeric experiment images --out DIR` wrote"


def images_section(folder: Path) -> dict[str, Any]:
    """Read the report's section on images; InputError if it has another form."""
    path = folder / "manifest.json"
    match read_json(path):
        case {
            "schema": 1,
            "section": {
                "title": str(),
                "command": str(),
                "verdict": "holds" | "refuted" | "not-run",
                "tables": [*tables],
                "notes": [*notes],
            } as section,
        } if _texts(notes) and all(map(_is_table, tables)):
            return {name: section[name] for name in ("title", "command", "verdict", "tables", "notes")}
    raise InputError(f"file {str(path)!r}: {_RULE}")


def _texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_table(table: Any) -> bool:
    match table:
        case {"caption": str(), "heads": [*heads], "rows": [*rows]}:
            return _texts(heads) and all(
                isinstance(row, list) and len(row) == len(heads) and _texts(row) for row in rows
            )
    return False
