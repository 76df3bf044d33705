"""Assumptions as data: each with a way of dropping it, and what became of the statement without it.

Without an assumption the two sides of a statement are computed on instances, the smallest first. Where they differ the
assumption is necessary, and the instance with its two numbers is kept; where they agree on all that was tried it is
not shown necessary. Which of the two is expected is stated, so that a counterexample that is lost turns a run red.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from flint import arb, fmpq

from verify.engine.evidence import (
    Evidence,
    Measurement,
    Status,
    Verdict,
    counted,
    table,
)
from verify.engine.statement import Assumption, Context

if TYPE_CHECKING:
    from verify.engine.evidence import Evidence, Measurement


Finding = Literal["necessary", "not shown necessary", "undecided"]


@dataclass(frozen=True)
class Sides:
    """Two sides of a statement on one instance."""

    instance: str
    quantity: str
    left: Any
    right: Any
    tolerance: float = 0.0
    relation: Literal["=", ">", ">="] = "="
    decided: bool = True

    @property
    def status(self) -> Verdict:
        """Whether the relation holds: `abstained` where a ball is too wide to tell."""
        gap = self.left - self.right
        if not self.decided or gap != gap:
            return "abstained"
        if isinstance(gap, arb):
            if self.relation == "=":
                wide = gap.contains(0) and not float(gap.rad()) <= self.tolerance
                return "abstained" if wide else "holds" if gap.contains(0) else "refuted"
            return "holds" if gap > 0 else "refuted" if gap < 0 or gap == 0 else "abstained"
        bound = fmpq(*self.tolerance.as_integer_ratio()) if isinstance(gap, fmpq) else self.tolerance
        if self.relation == "=":
            return "holds" if abs(gap) <= bound else "refuted"
        return "holds" if gap > -bound or (gap >= -bound and self.relation == ">=") else "refuted"


@dataclass(frozen=True)
class Outcome:
    """What became of a statement without one assumption.

    `sides` is the counterexample, or the last instance on which the statement held; `derivation` is what the derivation
    without the assumption found, where there is one.
    """

    assumption: Assumption
    finding: Finding
    sides: Sides | None
    tried: int
    undecided: int = 0
    derivation: str = ""

    @property
    def status(self) -> Status:
        """`holds` where the finding is what is expected of the assumption."""
        if self.finding == "undecided":
            return "abstained"
        return "holds" if (self.finding == "necessary") == self.assumption.necessary else "refuted"

    def _repr_html_(self) -> str:
        """The outcome for a notebook."""
        pass  # HOUSE

        return outcome_html(self)

    def as_json(self) -> dict[str, Any]:
        """The outcome as plain JSON data."""
        necessary = self.finding == "necessary"
        row: dict[str, Any] = {
            "assumption": self.assumption.name,
            "dropped": self.assumption.dropped,
            "finding": self.finding,
            "expected": "necessary" if self.assumption.necessary else "not shown necessary",
            "status": self.status,
            "tried": self.tried,
            "undecided": self.undecided,
            "counterexample": None,
        }
        if necessary and self.sides is not None:
            row["counterexample"] = {
                "instance": self.sides.instance, "quantity": self.sides.quantity, "relation": self.sides.relation,
                "left": shown(self.sides.left), "right": shown(self.sides.right), "tolerance": self.sides.tolerance,
            }  # fmt: skip
        if self.derivation:
            row["derivation"] = self.derivation
        return row


def shown(value: Any) -> str:
    """A number in words: a rational as it is, a float or a ball to twelve digits."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value.str(12, radius=False)) if isinstance(value, arb) else str(value)


def drop(assumption: Assumption, context: Context) -> Outcome:
    """Compute both sides without the assumption, on one instance after the other, until they differ."""
    tried = undecided = 0
    last = result = None
    for sides in assumption.tries(context):
        tried += 1
        if sides.status == "abstained":
            undecided += 1
            continue
        last = sides
        if sides.status == "refuted":
            result = sides
            break
    derivation, agrees = derived(assumption.derivation)
    if last is None or not agrees:
        return Outcome(assumption, "undecided", last, tried, undecided, derivation)
    return Outcome(assumption, "necessary" if result else "not shown necessary", last, tried, undecided, derivation)


def derived(options: tuple[str, Mapping[str, Any]] | None) -> tuple[str, bool]:
    """What the derivation without the assumption found, and whether it is refuted, as a necessary assumption needs."""
    if options is None:
        return "", True
    import theory

    slug, chosen = options
    decision = theory.derive(slug, **chosen).decision
    return f"{decision.method}: {decision.detail}", decision.value is False


def outcomes(assumptions: Sequence[Assumption], context: Context) -> list[Outcome]:
    """Every assumption dropped in turn."""
    return [drop(assumption, context) for assumption in assumptions]


def evidence(assumptions: Sequence[Assumption], context: Context) -> Evidence:
    """All assumptions of a statement: each is found to be what is expected of it, or the evidence says which is not."""
    result = outcomes(assumptions, context)
    return replace(summary(result), outcomes=tuple(result))


def summary(found: Sequence[Outcome]) -> Evidence:
    """The evidence that outcomes amount to."""
    tried = sum(outcome.tried for outcome in found)
    for status in ("refuted", "abstained"):
        for outcome in found:
            if outcome.status == status:
                detail = f"without {outcome.assumption.name!r}: {outcome.finding}, {counted(tried, 'instance')} tried"
                return Evidence("assumptions", outcome.status, "instances", len(found), detail=detail)
    if not found:
        return Evidence("assumptions", "abstained", "instances", detail="no assumption was dropped")
    rows: dict[str, list[str]] = {"necessary": [], "not shown necessary": []}
    for outcome in found:
        rows[outcome.finding].append(f"{outcome.assumption.name} ({outcome.assumption.dropped})")
    parts = [f"{finding}: {'; '.join(texts)}" for finding, texts in rows.items() if texts]
    return Evidence("assumptions", "holds", "instances", len(found), detail=f"{'; '.join(parts)}; {tried} tried")


def of_measurement(measurement: Measurement, instance: str, quantity: str) -> Sides:
    """A measurement as sides: a residual that is to be zero."""
    decided = measurement.status != "abstained"
    return Sides(instance, quantity, measurement.residual, 0.0, measurement.tolerance, decided=decided)


def names(assumptions: Iterable[Assumption]) -> tuple[str, ...]:
    """The assumptions in words, each once, without those that turned out not to be needed."""
    return tuple(dict.fromkeys(assumption.name for assumption in assumptions if assumption.necessary))


def outcome_html(found: Outcome) -> str:
    """An assumption that was dropped, what stood in its place, and what became of the statement."""
    shown = (found.assumption.name, found.assumption.dropped, found.finding, found.status, found.tried)
    sides = "" if found.sides is None else f"{found.sides.instance}: {found.sides.quantity}"
    return table([(*shown, sides)], ("assumption", "in its place", "finding", "status", "instances tried", "instance"))
