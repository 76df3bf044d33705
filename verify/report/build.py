"""Putting a report together: counterexamples, the view, and its renderings, as files by relative names.

Nothing is written here; `verify.report.folder` and `verify.report.bundle` do that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

from verify.engine.runner import Result
from verify.engine.saved import evidence_name, instance_document, instance_name, json_bytes
from verify.engine.statement import Statement
from verify.report.figures import Drawn
from verify.report.pdf import SECONDS, Pdf, compiled
from verify.report.tex import culprit
from verify.report.tex import document as latex
from verify.report.view import Attached, Request, view


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

    Parameters
    ----------
    seconds : float
        Time limit of all that TeX does.
    """
    limit = time.monotonic() + seconds
    own = {s["slug"] for s in seen["statements"] if s["theorem"] is None}
    sources: set[str] = set()
    while True:
        text = latex(seen, shrunk=shrunk, as_source=sources)
        pdf = compiled(text, included, max(limit - time.monotonic(), 0.0), stop)
        if pdf.content is not None or sources == own or not pdf.reason.startswith("pdflatex failed"):
            return text, pdf
        found = culprit(seen, text, pdf.log)
        sources = sources | {found} if found is not None and found not in sources else own


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
    """The report of results.

    Parameters
    ----------
    document : mapping
        The JSON document of the run; the view is added to it under `report`.
    attached, kept
        What `counterexamples` gives.
    drawings : Drawn, optional
        The figures.
    shrunk : bool
        Whether the counterexamples of false variants are shrunk.
    with_pdf : bool
        Whether to run pdflatex.
    name : str
        The file of the JSON document.
    stop : Event, optional
        Set by whoever does not want to wait for pdflatex any longer; the rest of the report is as it is without.
    """
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
