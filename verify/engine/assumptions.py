"""Drop the assumptions of a statement in turn.

Without an assumption the two sides of a statement are computed on instances, the smallest first. Where they differ the
assumption is necessary, with that instance as the counterexample; where they agree on every instance it is not shown
necessary. Each assumption states which of the two is expected, so that a run does not hold when a counterexample is
lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flint import arb, fmpq

from hltm.base.checks import show
from hltm.base.errors import InputError
from verify.engine import html
from verify.engine.evidence import Evidence, Measurement, Status, Verdict, counted
from verify.engine.statement import Assumption, Context

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
    """The outcome of dropping one assumption.

    `sides` is the counterexample, or the last instance on which the statement held; `derivation` is the decision of the
    derivation without the assumption, in words, where there is one.
    """

    assumption: Assumption
    finding: Finding
    sides: Sides | None
    tried: int
    undecided: int = 0
    derivation: str = ""

    @property
    def status(self) -> Status:
        """`holds` where the finding is what is expected of the assumption.

        An assumption that is not shown necessary refutes nothing: it may not be needed, or the search may be too weak.
        A counterexample where the statement was expected to hold without the assumption refutes that.
        """
        if self.finding == "necessary":
            return "holds" if self.assumption.necessary else "refuted"
        return "holds" if self.finding == "not shown necessary" and not self.assumption.necessary else "abstained"

    @property
    def in_words(self) -> str:
        """The finding, and what it says where it is not the expected one."""
        if self.finding == "necessary" and not self.assumption.necessary:
            return f"a counterexample where none was expected ({self.sides_in_words})"
        if self.finding == "not shown necessary" and self.assumption.necessary:
            return "not shown necessary (it may not be needed, or the instances do not break it)"
        return self.finding

    @property
    def sides_in_words(self) -> str:
        """The two numbers of the counterexample."""
        if self.sides is None:
            return ""
        relation = {"=": "!=", ">": "<=", ">=": "<"}[self.sides.relation]
        return f"{self.sides.quantity}: {shown(self.sides.left)} {relation} {shown(self.sides.right)}"

    def _repr_html_(self) -> str:
        sides = "" if self.sides is None else f"{self.sides.instance}: {self.sides.quantity}"
        row = (self.assumption.name, self.assumption.dropped, self.finding, self.status, self.tried, sides)
        return html.table([row], ("assumption", "in its place", "finding", "status", "instances tried", "instance"))

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
    """A number as text: a rational in full, a float or a ball to twelve digits."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value.str(12, radius=False)) if isinstance(value, arb) else str(value)


def drop(assumption: Assumption, context: Context) -> Outcome:
    """Compute both sides without the assumption, on one instance after the other, until they differ."""
    tried = undecided = 0
    last = result = None
    for sides in checked_sides(assumption, context):
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


def checked_sides(assumption: Assumption, context: Context) -> Iterator[Sides]:
    """The sides that an assumption tries; InputError where it gives something else, or sides without numbers."""
    place = f"assumption {assumption.name!r}: tries"
    rows = assumption.tries(context)
    if not isinstance(rows, Iterable):
        raise InputError(f"{place} gives {show(rows)}, must give Sides one after the other")
    for sides in rows:
        if not isinstance(sides, Sides):
            raise InputError(f"{place} gives {show(sides)}, must give Sides")
        try:
            bool(sides.status)
        except (TypeError, ValueError, AttributeError):
            both = f"{show(sides.left)} and {show(sides.right)}"
            raise InputError(f"{place} gives Sides of {both}, must be numbers of one kind") from None
        yield sides


def derived(options: tuple[str, Mapping[str, Any]] | None) -> tuple[str, bool]:
    """The decision of the derivation without the assumption in words, and whether that derivation is refuted."""
    if options is None:
        return "", True
    import theory

    slug, chosen = options
    decision = theory.derive(slug, **chosen).decision
    return f"{decision.method}: {decision.detail}", decision.value is False


def evidence(assumptions: Sequence[Assumption], context: Context) -> Evidence:
    """Drop every assumption of a statement in turn."""
    return summary([drop(assumption, context) for assumption in assumptions])


def summary(outcomes: Sequence[Outcome]) -> Evidence:
    """The evidence of outcomes: it holds if each is the expected one, else it names the first that is not."""
    tried = sum(outcome.tried for outcome in outcomes)
    failed = [outcome for status in ("refuted", "abstained") for outcome in outcomes if outcome.status == status]
    status: Status = "holds"
    if failed:
        status = failed[0].status
        detail = f"without {failed[0].assumption.name!r}: {failed[0].in_words}, {counted(tried, 'instance')} tried"
    elif outcomes:
        rows: dict[Finding, list[str]] = {"necessary": [], "not shown necessary": []}
        for outcome in outcomes:
            rows[outcome.finding].append(f"{outcome.assumption.name} ({outcome.assumption.dropped})")
        parts = [f"{finding}: {'; '.join(texts)}" for finding, texts in rows.items() if texts]
        detail = f"{'; '.join(parts)}; {tried} tried"
    else:
        status, detail = "abstained", "no assumption was dropped"
    return Evidence("assumptions", status, "instances", len(outcomes), detail=detail, outcomes=tuple(outcomes))


def of_measurement(measurement: Measurement, instance: str, quantity: str) -> Sides:
    """A measurement as sides: both where it has them, else its residual, and zero."""
    decided, apart = measurement.status != "abstained", measurement.apart
    if apart is not None and shown(apart.left) != shown(apart.right):
        place = f" at {apart.place}" if apart.place else ""
        sides = Sides(
            instance, f"{' and '.join(apart.roles)}{place}", apart.left, apart.right, measurement.tolerance,
            decided=decided,
        )  # fmt: skip
        if sides.status == "refuted":
            return sides
    return Sides(instance, quantity, measurement.residual, 0.0, measurement.tolerance, decided=decided)


def names(assumptions: Iterable[Assumption]) -> tuple[str, ...]:
    """The names of the necessary assumptions, each once."""
    return tuple(dict.fromkeys(assumption.name for assumption in assumptions if assumption.necessary))
