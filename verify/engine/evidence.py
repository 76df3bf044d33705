"""Measurements, evidence and verdicts.

A `Measurement` compares two sides on one instance. An `Evidence` summarises many, of one kind and one source. The
verdict on a statement follows from all of its evidence: one refutation refutes it, an abstention leaves it open, and
evidence that did not run counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from verify.engine import html
from verify.engine.coverage import Coverage

if TYPE_CHECKING:
    from verify.engine.disagreement import Disagreement

Kind = Literal["symbolic", "kernel", "exact", "float", "property", "trained", "variants", "assumptions"]
Status = Literal["holds", "refuted", "abstained", "not-run"]
Verdict = Literal["holds", "refuted", "abstained"]

KINDS: tuple[Kind, ...] = ("symbolic", "kernel", "exact", "float", "property", "trained", "variants", "assumptions")
# The detail of a measurement that a mutant without numbers (all NaN) leaves undecided.
NO_NUMBER = "the mutant gives no number"
COLUMNS = ("evidence", "source", "status", "n", "residual", "tolerance", "what")


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
    apart : Disagreement, optional
        Both sides of a comparison that refutes (`verify.engine.disagreement.disagreement`).

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
    apart: Disagreement | None = field(default=None, compare=False, repr=False)

    @property
    def status(self) -> Verdict:
        """`holds`, `refuted` or `abstained`.

        A NaN residual refutes; a tolerance that is not finite (the bound overflowed) or negative abstains.
        """
        if not self.decided or not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            return "abstained"
        return "holds" if self.residual <= self.tolerance else "refuted"

    def _repr_html_(self) -> str:
        row = (self.status, self.residual, self.tolerance, self.detail)
        apart = "" if self.apart is None else f"<p>{html.escaped(self.apart)}</p>"
        return html.table([row], ("status", *COLUMNS[4:])) + apart

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
    """Evidence of one kind from one source of instances.

    `source` says where the instances came from (`proof`, `toy`, `tree`, `digits`, `search`). `counterexample` is the
    instance that refuted, if any, and `apart` both sides on it; `effect` is the smallest effect that a sampling check
    detects, in words; `coverage` is what the decided instances span, in words. For the report there are the
    `derivations` of `theory`, the `outcomes` of dropped assumptions and the `refutations` of false variants behind the
    summary.

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
    spans: Coverage | None = field(default=None, compare=False, repr=False)
    apart: Disagreement | None = field(default=None, compare=False, repr=False)
    derivations: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    outcomes: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    refutations: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    @property
    def coverage(self) -> str:
        """What the decided instances span, in words; empty where it was not recorded."""
        return self.spans.text() if self.spans is not None else ""

    def _repr_html_(self) -> str:
        apart = "" if self.apart is None else f"<p>{html.escaped(self.apart)}</p>"
        return evidence_table([self]) + apart + html.instance(self.counterexample)

    def as_json(self) -> dict[str, Any]:
        """The evidence as plain JSON data; numbers that are not finite are written as strings."""
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
        if self.coverage:
            row["coverage"] = self.coverage
        if self.apart is not None:
            row["disagreement"] = self.apart.as_json()
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

    Too few decided instances abstain: a check that compared nothing has not passed.

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
    spans = Coverage()
    for instance in instances:
        result = measure(instance)
        if result.status == "abstained":
            abstained += 1
            continue
        decided += 1
        spans.add(instance)
        if worst is None or result.severity > worst.severity:
            worst = result
        if result.status == "refuted":
            return Evidence(
                kind, "refuted", source, decided, abstained, result.residual, result.tolerance,
                detail=joined(detail, result.detail), counterexample=instance, apart=named(result, instance),
                spans=spans,
            )  # fmt: skip
    enough = decided >= at_least
    note = "" if enough else f"only {decided} of at least {counted(at_least, 'instance')} could be decided"
    return Evidence(
        kind, "holds" if enough else "abstained", source, decided, abstained,
        worst.residual if worst else None, worst.tolerance if worst else None, detail=joined(detail, note),
        spans=spans,
    )  # fmt: skip


def named(refuted: Measurement, instance: Any) -> Disagreement | None:
    """Both sides of a refutation, with the names that the instance gives their ratio."""
    if refuted.apart is None:
        return None
    from verify.engine.disagreement import with_names

    return with_names(refuted.apart, instance)


def joined(*parts: str) -> str:
    """The parts that are not empty, joined by semicolons."""
    return "; ".join(part for part in parts if part)


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural where it is not one."""
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


def evidence_table(rows: Iterable[Evidence]) -> str:
    cells = ((e.kind, e.source, e.status, e.instances, e.worst_residual, e.tolerance, e.detail) for e in rows)
    return html.table(cells, COLUMNS)
