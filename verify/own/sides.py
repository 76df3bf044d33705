"""The two sides of a user's statement, and what they give on one instance.

In float64 the tolerance of every entry is measured (`verify.own.comparison`), in rationals it is zero. An exception of
a side becomes one line with statement, side and instance.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

import numpy as np
from flint import fmpq

from hltm.base.checks import show
from hltm.base.errors import InputError, printable
from verify.engine.disagreement import disagreement
from verify.engine.evidence import NO_NUMBER, Measurement, joined
from verify.own.arithmetic import Arithmetic, noisy_torch
from verify.own.comparison import KINK_RUNS, SHIFTS, SIDES, Arrays, Comparison, Judged
from verify.own.directed import rounded
from verify.own.guard import as_text as as_text
from verify.own.guard import called, recorded, unchanged
from verify.own.mutants import MutantSide
from verify.own.noise import Noise, plain
from verify.tolerance import rounding
from verify.towers.tower import largest

Side = Callable[[Any, Arithmetic], Any]
Relation = Literal["==", "<=", ">="]
RELATIONS: tuple[Relation, ...] = ("==", "<=", ">=")

STANDARD_ERRORS = 7.2
"""Standard errors beyond which an entry of a side that draws refutes: a normal law gets there once in 1.6e12 draws, so
that a million entries give a false alarm in one run of a million."""
NARROW = "computes in less than float64, must keep to the numbers of at.array or at.tensor"
ANOTHER = "gives another result when it is asked again, must be a function of its input"
UNMEASURED = "the {} side uses no at.array or at.tensor: rounding not measured"
NOT_APPLICABLE = Measurement(0.0, 0.0, False, "a side does not apply to this instance")


@dataclass(frozen=True)
class UserSides:
    """The slug and the sides of a user's statement, their relation, and the tolerance (None: it is measured).

    `standard_error` gives the standard errors of the numeric side's entries where that side draws.
    """

    slug: str
    theory: Side
    numeric: Side
    exact: Side | None
    tolerance: float | Callable[[Any], float] | None
    relation: Relation = "=="
    standard_error: Side | None = None

    def __post_init__(self) -> None:
        """Refuse a relation that is not known."""
        if self.relation not in RELATIONS:
            rule = f"must be one of {', '.join(RELATIONS)}"
            raise InputError(f"relation={show(self.relation)} of statement {self.slug!r}: {rule}")

    @rounding.quiet
    def measure_float(self, instance: Any, claim: Side | None = None, device: str = "cpu") -> Measurement:
        """Both sides in float64; `claim` replaces the theory side."""
        found = self.compared(instance, claim, device)
        if isinstance(found, Measurement):
            return found
        comparison, judged = found
        if judged.refuted:
            unmeasured = [name for name in SIDES if comparison.unmeasured(name)]
            note = joined(*(UNMEASURED.format(name) for name in unmeasured))
            gaps = {key: np.where(judged.wrong[key], gap, 0.0) for key, gap in comparison.gaps.items()}
            return self.worst(gaps, judged.bounds, comparison.sides, instance, note)
        if judged.open:
            key, place = judged.worst_vague(comparison.gaps)
            gap, bound = float(comparison.gaps[key][place]), float(judged.bounds[key][place])
            return Measurement(gap, bound, False, comparison.reason(judged))
        return self.worst(comparison.gaps, judged.bounds)

    @rounding.quiet
    def explain(self, instance: Any, claim: Side | None = None, device: str = "cpu") -> str:
        """Which number keeps an instance from being decided, in words; empty where that is not known."""
        found = self.compared(instance, claim, device)
        if isinstance(found, Measurement) or found[1].refuted or not found[1].open:
            return ""
        return found[0].culprit(found[1])

    def compared(self, instance: Any, claim: Side | None, device: str) -> Measurement | tuple[Comparison, Judged]:
        """Every entry judged, or the measurement where there is nothing to judge."""
        sides = self.both(instance, claim, device)
        if sides is None:
            return NOT_APPLICABLE
        left, right = (sides[name] for name in SIDES)
        self.check_shapes(left, right, instance)
        if claim is not None and all(np.isnan(values).all() for values in left.values()):
            return Measurement(math.nan, 0.0, False, NO_NUMBER)
        apart = self.not_finite(left, right, instance)
        if apart is not None:
            why = self.finite_nearby(sides, instance, claim, device) if apart.decided else ""
            return Measurement(math.nan, 0.0, False, why) if why else apart
        gaps = {key: self.gap(left[key], right[key]) for key in left}
        comparison = Comparison(sides, gaps, lambda name, noise: self.again(name, instance, claim, device, noise))
        if self.tolerance is not None or self.standard_error is not None:
            return comparison, comparison.by(self.given_bounds(comparison, instance, device))
        if comparison.agree:
            return comparison, comparison.by(comparison.last_digits)
        judged = comparison.judged()
        for name in SIDES:
            self.check_repeatable(name, comparison, judged, instance, claim, device)
            if any(noise.narrow for noise in comparison.seen[name]):
                raise InputError(f"{self.place(name, instance, claim)}: {NARROW}")
        return comparison, judged

    def both(self, instance: Any, claim: Side | None, device: str) -> dict[str, Arrays] | None:
        """Both sides in float64; None where one does not apply."""
        at = Arithmetic(device=device)
        sides = {name: self.ask(name, self.side(name, claim), instance, at) for name in SIDES}
        return None if any(arrays is None for arrays in sides.values()) else sides  # type: ignore[return-value]

    def side(self, name: str, claim: Side | None) -> Side:
        return self.numeric if name == "numeric" else claim or self.theory

    def again(self, name: str, instance: Any, claim: Side | None, device: str, noise: Noise) -> Arrays | None:
        """A side in noisy arithmetic, or of an instance that is moved where it fails there; None where it fails too."""
        side = self.side(name, claim)
        at = Arithmetic(device=device, noise=None if noise.direction else noise)

        over: Any = {"over": "call", "under": "call", "call": noise.overflowed} if noise.watch else {}

        def directed(instance: Any, at: Arithmetic) -> Any:
            with rounded(noise.direction), np.errstate(**over):
                return side(instance, at)

        try:
            with noisy_torch(noise):
                result = self.ask(name, directed if noise.direction or noise.watch else side, instance, at)
                moved = None if noise.asked else moved_instance(instance, noise)
                return result if moved is None else self.ask(name, side, moved, at)
        except InputError:  # it takes plain arrays alone
            moved = moved_instance(instance, noise)
        try:
            return None if moved is None else self.ask(name, side, moved, Arithmetic(device=device))
        except InputError:
            return None

    def finite_nearby(self, sides: Mapping[str, Arrays], instance: Any, claim: Side | None, device: str) -> str:
        """Why a side that is not finite here is no counterexample: overflow; a pole or kink that tiny moves leave."""
        for name, arrays in sides.items():
            finite = {key: np.isfinite(values) for key, values in arrays.items()}
            if all(mask.all() for mask in finite.values()):
                continue
            watching = Noise(0, watch=True)
            self.again(name, instance, claim, device, watching)
            if watching.overflow:
                return f"the {name} side overflows or underflows"
            for seed in range(KINK_RUNS):
                moved = self.again(name, instance, claim, device, Noise(seed, level=SHIFTS[0], shift=SHIFTS[0])) or {}
                same = all(key in moved and moved[key].shape == mask.shape for key, mask in finite.items())
                if same and any((np.isfinite(moved[key]) & ~mask).any() for key, mask in finite.items()):
                    return f"the {name} side is finite nearby, as at a pole or a kink"
        return ""

    def gap(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """By how much the relation fails at each entry."""
        difference = right - left if self.relation == ">=" else left - right
        return np.abs(difference) if self.relation == "==" else np.maximum(difference, 0.0)

    def worst(
        self,
        gaps: Arrays,
        bounds: Arrays,
        sides: Mapping[str, Arrays] | None = None,
        instance: Any = None,
        note: str = "",
    ) -> Measurement:
        """The measurement at the worst entry; where it refutes, with both sides there."""
        worst = Measurement(0.0, max(float(bound.max(initial=0.0)) for bound in bounds.values()))
        for key, gap in gaps.items():
            if gap.size:
                worst = rounding.worse(worst, gap, bounds[key], key)
        if worst.status != "refuted" or sides is None:
            return replace(worst, detail="")
        wrong = {key: gap > bounds[key] for key, gap in gaps.items()}
        apart = disagreement(sides["theory"], sides["numeric"], wrong, instance)
        return replace(worst, detail=joined(worst.detail, note), apart=apart)

    @staticmethod
    def not_finite(left: Arrays, right: Arrays, instance: Any = None) -> Measurement | None:
        """The measurement where a side is not finite: refuted if the other one is, abstained if not; else None."""
        finite = {key: (np.isfinite(left[key]), np.isfinite(right[key])) for key in left}
        if all(a.all() and b.all() for a, b in finite.values()):
            return None
        wrong = {key: a != b for key, (a, b) in finite.items()}
        if any(mask.any() for mask in wrong.values()):
            apart = disagreement(left, right, wrong, instance)
            return Measurement(math.nan, 0.0, detail="one side is finite where the other is not", apart=apart)
        return Measurement(math.nan, 0.0, False, "neither side is finite")

    def check_repeatable(
        self, name: str, comparison: Comparison, judged: Judged, instance: Any, claim: Side | None, device: str
    ) -> None:
        """Refuse a side that gives another result when it is asked again, by more than rounding."""
        again = self.ask(name, self.side(name, claim), instance, Arithmetic(device=device)) or {}
        for key, values in comparison.sides[name].items():
            same = key in again and again[key].shape == values.shape
            # Sums may be taken in another order, at another place in memory.
            rounded = np.minimum(judged.bounds[key], 1e-12 * min(comparison.largest, 1.0))
            if not same or not (np.abs(again[key] - values) <= 1e-12 * np.abs(values) + rounded).all():
                raise InputError(f"{self.place(name, instance, claim)}: {ANOTHER}")

    def place(self, name: str, instance: Any, side: Side | None = None) -> str:
        """Statement, side or mutant, and instance, as messages name them."""
        role = f"variant {side.name!r}" if name == "theory" and isinstance(side, MutantSide) else f"{name} side"
        return f"statement {self.slug!r}, {role} at instance {as_text(instance)}"

    def given_bounds(self, comparison: Comparison, instance: Any, device: str) -> Arrays:
        """The tolerance of every entry where the user gave it, or the standard errors of a side that draws."""
        if self.standard_error is None:
            value = self.tolerance
            if callable(value):
                value = called(lambda: f"statement {self.slug!r}, tolerance", value, instance)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                rule = "must be a number that is not negative"
                raise InputError(f"statement {self.slug!r}: tolerance={value!r:.40}: {rule}")
            return {key: np.full(gap.shape, float(value)) for key, gap in comparison.gaps.items()}
        errors = self.ask("standard_error", self.standard_error, instance, Arithmetic(device=device)) or {}
        self.check_shapes(errors, comparison.sides["numeric"], instance)
        for key, values in errors.items():
            if not (np.isfinite(values) & (values > 0)).all():
                place = self.place("standard_error", instance)
                raise InputError(f"{place}: must be positive numbers, {key or 'an entry'} is not")
        return {key: STANDARD_ERRORS * values + comparison.last_digits[key] for key, values in errors.items()}

    def measure_exact(self, instance: Any, claim: Side | None = None) -> Measurement:
        """Both sides in rationals: any difference refutes."""
        at = Arithmetic("exact")
        right = None if self.exact is None else self.ask("exact", self.exact, instance, at)
        left = None if right is None else self.ask("theory", claim or self.theory, instance, at)
        if left is None or right is None:
            return NOT_APPLICABLE
        self.check_shapes(left, right, instance)
        worst, place, wrong = 0.0, "", {}
        for key in left:
            difference = np.atleast_1d(right[key] - left[key] if self.relation == ">=" else left[key] - right[key])
            if self.relation != "==":
                difference = np.array([max(entry, fmpq(0)) for entry in difference.ravel()], dtype=object)
            gap = largest(difference) if left[key].size else 0.0
            wrong[key] = (difference != 0).astype(bool).reshape(left[key].shape)
            if gap > worst:
                worst, place = gap, key
        apart = disagreement(left, right, wrong, instance, roles=("theory", "exact")) if worst > 0 else None
        return Measurement(worst, 0.0, detail=place, apart=apart)

    def ask(self, name: str, side: Side, instance: Any, at: Arithmetic) -> Arrays | None:
        """The arrays of a side; its output goes to stderr, its exceptions become InputError."""

        def asked() -> Arrays | None:
            before = recorded(instance)
            result = arrays(side(instance, at), at.exact)
            unchanged(instance, before)
            return result

        return called(lambda: self.place(name, instance, side), asked)

    def check_shapes(self, left: Arrays, right: Arrays, instance: Any) -> None:
        """Refuse sides whose arrays differ in name or shape, or are empty."""
        place = f"statement {self.slug!r} at instance {as_text(instance)}"
        shapes = [{key: array.shape for key, array in side.items()} for side in (left, right)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{place}: the theory side gives {described(shapes[0])}, the other {described(shapes[1])}: "
                "must be the same arrays"
            )
        if not sum(array.size for array in left.values()):
            rule = "must have entries, or be None where they do not apply"
            raise InputError(f"{place}: the sides are empty, {rule}")


def moved_instance(instance: Any, noise: Noise) -> Any:
    """The instance with every float moved, for a side that asks no arithmetic for them; None where there is none."""
    if not (noise.shift or noise.inputs) or noise.only or not is_dataclass(instance) or isinstance(instance, type):
        return None
    apart = Noise(noise.seed, inputs=noise.inputs, shift=noise.shift)

    def moved(value: Any) -> Any:
        if isinstance(value, float):
            return float(apart.moved_input(np.array(value)))
        if isinstance(value, np.ndarray):
            return apart.moved_input(value) if value.dtype == np.float64 else value
        if type(value) is not tuple:
            return value
        numbers = all(isinstance(item, float) for item in value)
        return tuple(apart.moved_input(np.array(value)).tolist()) if numbers else tuple(map(moved, value))

    try:
        return replace(instance, **{item.name: moved(getattr(instance, item.name)) for item in fields(instance)})
    except Exception:  # its own checks refuse other numbers
        return None


def arrays(value: Any, exact: bool) -> Arrays | None:
    """The result of a side as named arrays: None, one array, a list of arrays, or a mapping from names to arrays."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {printable(str(key)): one(item, exact) for key, item in value.items()}
    if isinstance(value, list | tuple) and not all(isinstance(item, numbers.Number | fmpq) for item in value):
        return {f"array {index}": one(item, exact) for index, item in enumerate(value, start=1)}
    return {"": one(value, exact)}


def one(value: Any, exact: bool) -> np.ndarray:
    """One array: a torch tensor, a NumPy array, nested lists or a number; float64, or rationals where `exact`."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if np.ma.isMaskedArray(value):
        raise InputError("an array with a mask: must be an array without")
    found = plain(np.asarray(value))
    if exact:
        entries = np.empty(found.shape, dtype=object)
        entries.ravel()[:] = [as_rational(entry) for entry in found.ravel()]
        return entries
    if found.dtype.kind in "iu" and found.size and max(abs(int(found.min())), abs(int(found.max()))) > 2**53:
        raise InputError(f"an array of {found.dtype} with entries beyond 2^53: float64 does not hold them, exact= does")
    if found.dtype.kind not in "fiubO":
        raise InputError(f"an array of {found.dtype}: must be of real numbers")
    result = found.astype(np.float64)
    if (
        found.dtype.kind == "f"
        and found.dtype.itemsize < 8
        and not np.array_equal(result, np.rint(result), equal_nan=True)
    ):
        raise InputError(f"an array of {found.dtype}: {NARROW}")
    return result


def as_rational(entry: Any) -> fmpq:
    """An int, Fraction, SymPy rational or fmpq as fmpq; a float is refused, since it may have been rounded."""
    if isinstance(entry, fmpq):
        return entry
    if isinstance(entry, numbers.Rational):
        return fmpq(int(entry.numerator), int(entry.denominator))
    raise InputError(f"entry {entry!r:.40} of type {type(entry).__name__}: must be rational where at.exact holds")


def described(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name or 'an array'} {shape}" for name, shape in shapes.items()) or "nothing"
