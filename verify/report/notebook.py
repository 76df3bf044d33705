"""Evidence, verdicts and refutations as HTML tables for notebooks. Nothing is computed here; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verify.engine.assumptions import Outcome
    from verify.engine.evidence import Evidence, Measurement
    from verify.engine.runner import Refutation, Result
    from verify.loss.check import LossReport
    from verify.loss.conformance import Conformance

_LETTERS = 400  # of one cell
COLUMNS = ("evidence", "source", "status", "n", "residual", "tolerance", "what")


def table(rows: Iterable[Sequence[object]], titles: Sequence[str] = ()) -> str:
    """Rows of any texts as a table; long cells are cut.

    Examples
    --------
    >>> table([["a<b", 1]])
    '<table><tr><td>a&lt;b</td><td>1</td></tr></table>'
    """
    head = "<tr>" + "".join(f"<th>{escape(title)}</th>" for title in titles) + "</tr>" if titles else ""
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table>{head}{body}</table>"


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:.2e}" if isinstance(value, float) else str(value)
    return escape(text if len(text) <= _LETTERS else f"{text[:_LETTERS]} ...")


def evidence_row(row: Evidence) -> tuple[object, ...]:
    """One piece of evidence in the order of `COLUMNS`."""
    return (row.kind, row.source, row.status, row.instances, row.worst_residual, row.tolerance, row.detail)


def evidence_html(row: Evidence) -> str:
    """A table of one row, and the instance that refuted, if any."""
    html = table([evidence_row(row)], COLUMNS)
    return html if row.counterexample is None else html + _instance(row.counterexample)


def measurement_html(found: Measurement) -> str:
    """One comparison."""
    return table([(found.status, found.residual, found.tolerance, found.detail)], ("status", *COLUMNS[4:]))


def result_html(result: Result) -> str:
    """A statement with its verdict and all its evidence."""
    statement = result.statement
    head = (
        f"<p><b>{escape(f'{statement.heading} [{statement.slug}] {result.verdict}')}</b>: {escape(statement.title)}</p>"
    )
    refuting = "".join(_instance(row.counterexample) for row in result.evidence if row.counterexample is not None)
    return head + table(map(evidence_row, result.evidence), COLUMNS) + refuting


def refutation_html(found: Refutation) -> str:
    """A false variant, the kinds of evidence that refuted it, and the shrunk instance."""
    outcome = {"open": "left open", "survived": "survives"}.get(
        found.status
    ) or f"refuted by {', '.join(found.refuted_by)}"
    head = table(
        [(found.statement.slug, found.variant.name, found.variant.change, outcome, found.tried)],
        ("statement", "variant", "change", "outcome", "instances tried"),
    )
    return head if found.instance is None else head + _instance(found.instance)


def outcome_html(found: Outcome) -> str:
    """An assumption that was dropped, what stood in its place, and what became of the statement."""
    shown = (found.assumption.name, found.assumption.dropped, found.finding, found.status, found.tried)
    sides = "" if found.sides is None else f"{found.sides.instance}: {found.sides.quantity}"
    return table([(*shown, sides)], ("assumption", "in its place", "finding", "status", "instances tried", "instance"))


def loss_html(report: LossReport) -> str:
    """A loss of the user's: the conditions of the family, its pair weights, and statement 4 for it."""
    words = {True: "holds", False: "fails", None: "undecided"}
    head = f"<p><b>{escape(report.verdict)}</b>: {_cell(report.text)}</p>"
    conditions = [(c.text, words[c.decision.value], c.decision.method) for c in report.conditions]
    parts = [head, table(conditions, ("condition", "status", "decided by"))]
    parts += [f"<pre>{_cell(line)}</pre>" for line in report.counterexample or ()]
    if report.weights:
        parts.append(table([(f"xi_{k}", xi) for k, xi in enumerate(report.weights, start=1)], ("pair weight", "")))
    if report.evidence:
        parts.append(table(map(evidence_row, report.evidence), COLUMNS))
    return "".join(parts) + (f"<p>{_cell(report.note)}</p>" if report.note else "")


def conformance_html(found: Conformance) -> str:
    """What a loss function was found to be, line by line."""
    return "".join(f"<div>{_cell(line)}</div>" for line in str(found).splitlines())


def _instance(instance: object) -> str:
    return f"<pre>{_cell(repr(instance))}</pre>"
