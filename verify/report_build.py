"""Putting a report together: counterexamples, the view, and its renderings, as files by relative names.

Nothing is written here; `verify.report_folder` and `verify.report_bundle` do that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from verify.files import evidence_name, instance_document, instance_name, json_bytes
from verify.report_figures import Drawn
from verify.report_pdf import Pdf, compiled
from verify.report_view import Attached, Request, view
from verify.runner import Result
from verify.statement import Statement


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
    """
    from verify.report_html import page
    from verify.report_tex import document as latex

    drawings = drawings or Drawn()
    seen = view(request, results, Attached(attached.counterexamples, attached.variants, drawings.rows))
    files = {**kept, **drawings.files}
    files[name] = json_bytes({**document, "report": seen})
    svgs = {row["name"]: drawings.files[f"figures/{row['name']}.svg"]
            for rows in drawings.rows.values() for row in rows if not row["reason"]}  # fmt: skip
    included = {file: content for file, content in drawings.files.items() if file.endswith(".pdf")}

    def html(reason: str) -> bytes:
        return page(seen, svgs, pdf=not reason, pdf_reason=reason, shrunk=shrunk, document=name).encode()

    text, pdf = latex(seen, shrunk=shrunk), Pdf(None, "the run was interrupted")
    shown = None
    if with_pdf:
        # The page is made while pdflatex runs, on the assumption that it succeeds.
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(compiled, text, included)
            shown = html("")
            pdf = running.result()
    if pdf.content is None and request.own is not None and pdf.reason.startswith("pdflatex failed"):
        # A formula of a user's own may be one that TeX cannot set: the report is worth more than the formula.
        text = latex(seen, shrunk=shrunk, own_as_source=True)
        pdf = compiled(text, included)
    files["report.tex"] = text.encode()
    if pdf.content is not None:
        files["report.pdf"] = pdf.content
    files["index.html"] = html(pdf.reason) if pdf.reason or shown is None else shown
    about = {"subject": seen["subject"], "verdict": seen["verdict"], "command": seen["command"], "seed": seen["seed"],
             "profile": seen["profile"], "environment": seen["environment"]}  # fmt: skip
    return Report(files, about, pdf.reason, pdf.log)
