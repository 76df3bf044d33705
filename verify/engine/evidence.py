"""Measurements, evidence and verdicts: what a check found, and what follows from it.

A `Measurement` is one comparison of two sides on one instance. An `Evidence` is the summary of many, of one
kind and one source. A verdict is drawn from all evidence of a statement: one refutation refutes it, an
abstention leaves it open, and evidence that did not run counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, Literal

_LETTERS = 400  # of one cell
COLUMNS = ("evidence", "source", "status", "n", "residual", "tolerance", "what")

Kind = Literal["symbolic", "exact", "float", "property", "trained", "variants", "assumptions"]
Status = Literal["holds", "refuted", "abstained", "not-run"]
Verdict = Literal["holds", "refuted", "abstained"]

KINDS: tuple[Kind, ...] = ("symbolic", "exact", "float", "property", "trained", "variants", "assumptions")


@dataclass(frozen=True)
class Measurement:
    """One comparison of two sides on one instance.

    Parameters
    ----------
    residual : float
        Largest absolute difference of the two sides (0 means identical in exact arithmetic).
    tolerance : float
        What rounding can explain on this instance; 0 in exact arithmetic.
    decided : bool
        False where the comparison cannot tell (a gate within rounding of its kink, a ball that holds 0 but is
        too wide): such an instance counts neither for nor against.
    detail : str
        What was compared where the difference is largest.

    Examples
    --------
    >>> Measurement(1e-16, 1e-14).status
    'holds'
    >>> Measurement(float("nan"), 1e-14).status
    'refuted'
    >>> Measurement(float("nan"), float("inf")).status
    'abstained'
    """

    residual: float
    tolerance: float
    decided: bool = True
    detail: str = ""

    @property
    def status(self) -> Verdict:
        """`holds`, `refuted` or `abstained`.

        A residual that is not a number refutes; a tolerance that is none (an overflow in the bound) decides nothing.
        """
        if not self.decided or not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            return "abstained"
        return "holds" if self.residual <= self.tolerance else "refuted"

    def _repr_html_(self) -> str:
        """The comparison for a notebook."""
        pass  # HOUSE

        return measurement_html(self)

    @property
    def severity(self) -> float:
        """Residual in units of the tolerance, for choosing the worst of many."""
        if math.isnan(self.residual):
            return math.inf
        if self.tolerance > 0:
            return self.residual / self.tolerance
        return math.inf if self.residual > 0 else 0.0


@dataclass(frozen=True)
class Evidence:
    """What one kind of check found on one source of instances.

    `kind` and `status` are the contract's words; `source` says where the instances came from (`proof`,
    `toy`, `tree`, `digits`, `search`). `counterexample` holds the instance that refuted, if any; `effect` is the
    smallest that a check that draws detects, in words. What the summary stands on is kept for the report:
    `derivations` of `theory`, `outcomes` of dropped assumptions, `refutations` of false variants.

    Examples
    --------
    >>> row = Evidence("float", "holds", "toy", instances=60, worst_residual=1e-16, tolerance=1e-12)
    >>> row.as_json()["worst_residual"]
    1e-16
    """

    kind: Kind
    status: Status
    source: str = ""
    instances: int = 0
    abstained: int = 0
    worst_residual: float | None = None
    tolerance: float | None = None
    detail: str = ""
    seconds: float = 0.0
    counterexample: Any = field(default=None, compare=False)
    variant: str | None = None
    effect: str = ""
    derivations: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    outcomes: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    refutations: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    def _repr_html_(self) -> str:
        """The evidence for a notebook."""
        pass  # HOUSE

        return evidence_html(self)

    def as_json(self) -> dict[str, Any]:
        """The evidence as plain JSON data (no NaN: a residual that is not a number is written as a string)."""
        row: dict[str, Any] = {
            "kind": self.kind,
            "status": self.status,
            "source": self.source,
            "instances": self.instances,
            "abstained_instances": self.abstained,
            "worst_residual": finite_or_text(self.worst_residual),
            "tolerance": finite_or_text(self.tolerance),
            "seconds": round(self.seconds, 3),
            "detail": self.detail,
        }
        if self.variant is not None:
            row["variant"] = self.variant
        return row


def finite_or_text(value: float | None) -> float | str | None:
    """A finite number as it is, anything else as text, since JSON has no NaN and no infinity."""
    return value if value is None or math.isfinite(value) else str(value)


def tally(
    kind: Kind,
    source: str,
    instances: Iterable[Any],
    measure: Callable[[Any], Measurement],
    *,
    at_least: int,
    detail: str = "",
) -> Evidence:
    """Measure every instance and summarise; stop at the first refutation.

    An empty list, or too few decided instances, abstains: a check that compared nothing has not passed.

    Parameters
    ----------
    kind, source
        As in `Evidence`.
    instances : iterable
        What to measure, in order.
    measure : callable
        Instance to `Measurement`.
    at_least : int
        Number of decided instances below which the evidence abstains.
    detail : str
        What the two sides are.

    Examples
    --------
    >>> tally("float", "toy", [], lambda i: Measurement(0.0, 0.0), at_least=1).status
    'abstained'
    """
    worst: Measurement | None = None
    decided = abstained = 0
    for instance in instances:
        result = measure(instance)
        if result.status == "abstained":
            abstained += 1
            continue
        decided += 1
        if worst is None or result.severity > worst.severity:
            worst = result
        if result.status == "refuted":
            return Evidence(
                kind, "refuted", source, decided, abstained, result.residual, result.tolerance,
                detail=joined(detail, result.detail), counterexample=instance,
            )  # fmt: skip
    enough = decided >= at_least
    note = "" if enough else f"only {decided} of at least {counted(at_least, 'instance')} could be decided"
    return Evidence(
        kind, "holds" if enough else "abstained", source, decided, abstained,
        worst.residual if worst else None, worst.tolerance if worst else None, detail=joined(detail, note),
    )  # fmt: skip


def joined(*parts: str) -> str:
    """Parts of a sentence with semicolons between them; those that are empty are left out."""
    return "; ".join(part for part in parts if part)


def counted(count: int, noun: str) -> str:
    """A number of things, in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def verdict(evidence: Sequence[Evidence]) -> Verdict:
    """Draw the verdict: refuted before abstained before holds; nothing run at all abstains."""
    ran = {row.status for row in evidence} - {"not-run"}
    if "refuted" in ran:
        return "refuted"
    if "abstained" in ran or not ran:
        return "abstained"
    return "holds"


def timed(evidence: Evidence, seconds: float) -> Evidence:
    """The same evidence with the time that it took, in seconds."""
    return replace(evidence, seconds=seconds)


def table(rows: Iterable[Sequence[object]], titles: Sequence[str] = ()) -> str:
    """Rows of any texts as a table; long cells are cut."""
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


def _instance(instance: object) -> str:
    return f"<pre>{_cell(repr(instance))}</pre>"
