"""The two sides of a user's statement on one instance: asked for their arrays, and compared.

In float64 the tolerance is measured (`verify.own.arithmetic`); in rationals it is zero. Whatever a side raises becomes
one line that names statement, side and instance.
"""

from __future__ import annotations

import itertools
import json
import math
import numbers
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flint import fmpq

from hltm.base.errors import InputError
from verify.engine.evidence import Measurement, joined
from verify.own.arithmetic import Arithmetic
from verify.own.magnitude import Largest, watched_torch
from verify.tolerance import rounding
from verify.towers.tower import largest

Side = Callable[[Any, Arithmetic], Any]
Arrays = dict[str, np.ndarray]

PROBES = 4
SHOWN = 300
NOT_SPOKEN_OF = Measurement(0.0, 0.0, False, "a side does not speak of this instance")


@dataclass(frozen=True)
class Sides:
    """What a user's statement compares: the slug, both sides, and a tolerance (None: it is measured)."""

    slug: str
    theory: Side
    numeric: Side
    exact: Side | None
    tolerance: float | Callable[[Any], float] | None

    @rounding.quiet
    def measure_float(self, instance: Any, claim: Side | None = None, device: str = "cpu") -> Measurement:
        """Both sides in float64; `claim` stands in place of the theory side."""
        at = Arithmetic(device=device)
        sides = [("theory", claim or self.theory), ("numeric", self.numeric)]
        found = [self.ask(name, side, instance, at) for name, side in sides]
        left, right = found
        if left is None or right is None:
            return NOT_SPOKEN_OF
        self.check_shapes(left, right, instance)
        apart = self.not_finite(left, right)
        if apart is not None:
            return apart
        bounds = self.given(left, instance) if self.tolerance is not None else least(left, right)
        notes: list[str] = []
        if self.tolerance is None and beyond(left, right, bounds):
            for (name, side), double in zip(sides, (left, right), strict=True):
                notes += self.widen(bounds, name, side, double, instance, device)
            if beyond(left, right, bounds) and not beyond(
                left, right, self.shaken(bounds, sides, found, instance, device)
            ):
                return Measurement(math.nan, math.inf, False, "a rounding of the input moves a side as far")
        if not all(math.isfinite(bound) for bound in bounds.values()):
            return Measurement(math.nan, math.inf, False, "rounding cannot be bounded")
        worst = Measurement(0.0, max(bounds.values()))
        for key in left:
            if left[key].size:
                worst = rounding.worse(worst, np.abs(left[key] - right[key]), np.asarray(bounds[key]), key)
        return replace(worst, detail=joined(worst.detail, *notes)) if worst.status == "refuted" else worst

    @staticmethod
    def not_finite(left: Arrays, right: Arrays) -> Measurement | None:
        """What follows where a side is not finite: nothing where neither is, a refutation where one is; else None."""
        pairs = [(np.isfinite(left[key]), np.isfinite(right[key])) for key in left]
        if all(a.all() and b.all() for a, b in pairs):
            return None
        if any((a != b).any() for a, b in pairs):
            return Measurement(math.nan, 0.0, detail="one side is finite where the other is not")
        return Measurement(math.nan, 0.0, False, "neither side is finite")

    def widen(
        self, bounds: dict[str, float], name: str, side: Side, double: Arrays, instance: Any, device: str
    ) -> list[str]:
        """Add to every bound what rounding of one side explains: its reaction to probes, and its largest numbers.

        What is given back is what a reader of a refutation should know of the side.
        """
        place = f"statement {self.slug!r}, {name} side at {shown(instance)}"
        again = self.ask(name, side, instance, Arithmetic(device=device)) or {}
        if any(key not in again or again[key].shape != double[key].shape for key in double) or beyond(
            double, again, bounds
        ):
            raise InputError(f"{place}: gives another result when it is asked again, must be a function of its input")
        for probe in range(PROBES):
            single = self.ask(name, side, instance, Arithmetic("single", device, probe))
            for key in double:
                bounds[key] += reaction(double[key], (single or {}).get(key))
        largest = Largest()
        try:
            with watched_torch(largest):
                self.ask(name, side, instance, Arithmetic(device=device, largest=largest))
        except InputError:
            # A side that insists on plain arrays is judged by its probes alone.
            return []
        # What is rounded to float32 must not be taken for a refutation.
        if largest.narrow:
            raise InputError(
                f"{place}: computes in less than float64, must keep to the numbers of at.array or at.tensor"
            )
        for key in double:
            bounds[key] += rounding.SAFETY * rounding.UNIT_ROUNDOFF * largest.value
        whole = all(np.array_equal(array, np.rint(array)) for array in double.values())
        return (
            [] if largest.asked or whole else [f"the {name} side uses no at.array or at.tensor: rounding not measured"]
        )

    def shaken(
        self,
        bounds: Mapping[str, float],
        sides: list[tuple[str, Side]],
        found: list[Arrays | None],
        instance: Any,
        device: str,
    ) -> dict[str, float]:
        """The bounds, and how far float64 is moved by a rounding of the inputs: at a kink, or where float32 fails.

        Differences in between are neither explained nor refuted.
        """
        wide = dict(bounds)
        for ((name, side), double), probe in itertools.product(zip(sides, found, strict=True), range(PROBES)):
            moved = self.ask(name, side, instance, Arithmetic("moved", device, probe)) or {}
            for key, array in (double or {}).items():
                same = key in moved and moved[key].shape == array.shape
                wide[key] += (
                    rounding.SAFETY * float(np.max(np.abs(array - moved[key]), initial=0.0)) if same else math.inf
                )
        return wide

    def measure_exact(self, instance: Any, claim: Side | None = None) -> Measurement:
        """Both sides in rationals: any difference refutes."""
        at = Arithmetic("exact")
        right = None if self.exact is None else self.ask("exact", self.exact, instance, at)
        left = None if right is None else self.ask("theory", claim or self.theory, instance, at)
        if left is None or right is None:
            return NOT_SPOKEN_OF
        self.check_shapes(left, right, instance)
        worst, place = 0.0, ""
        for key in left:
            gap = largest(np.atleast_1d(left[key] - right[key])) if left[key].size else 0.0
            if gap > worst:
                worst, place = gap, key
        return Measurement(worst, 0.0, detail=place)

    def ask(self, name: str, side: Side, instance: Any, at: Arithmetic) -> Arrays | None:
        """The arrays of a side; what it prints goes to stderr, what it raises is an InputError."""
        try:
            with redirect_stdout(sys.stderr):
                found = arrays(side(instance, at), at.exact, at.largest)
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            what = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            raise InputError(f"statement {self.slug!r}, {name} side at {shown(instance)}: {what}") from error
        return found

    def check_shapes(self, left: Arrays, right: Arrays, instance: Any) -> None:
        """Refuse sides that give other arrays than each other, or nothing to compare."""
        shapes = [{key: array.shape for key, array in side.items()} for side in (left, right)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"statement {self.slug!r} at {shown(instance)}: the theory side gives {described(shapes[0])}, "
                f"the other {described(shapes[1])}: must be the same arrays"
            )
        if not sum(array.size for array in left.values()):
            raise InputError(f"statement {self.slug!r} at {shown(instance)}: the sides are empty, None says nothing")

    def given(self, left: Arrays, instance: Any) -> dict[str, float]:
        """The user's own tolerance for every array."""
        value = self.tolerance(instance) if callable(self.tolerance) else self.tolerance
        if not isinstance(value, int | float) or not value >= 0:
            raise InputError(f"statement {self.slug!r}: tolerance={value!r:.40}: must be a number that is not negative")
        return dict.fromkeys(left, float(value))


def least(left: Arrays, right: Arrays) -> dict[str, float]:
    """What rounding of the results themselves explains: the measured tolerance where float32 shows no error."""
    return {key: rounding.measured_tolerance([left[key], right[key]], [left[key], right[key]]) for key in left}


def beyond(left: Arrays, right: Arrays, bounds: Mapping[str, float]) -> bool:
    """Whether the sides differ by more than a bound somewhere."""
    return any((np.abs(left[key] - right[key]) > bounds[key]).any() for key in left)


def reaction(double: np.ndarray, single: np.ndarray | None) -> float:
    """Tolerance that follows from how a result reacts to a probe; none follows from a probe of another shape."""
    if single is None or single.shape != double.shape:
        return math.inf
    return rounding.measured_tolerance([double], [single])


def arrays(value: Any, exact: bool, largest: Largest | None = None) -> Arrays | None:
    """What a side gave, as named arrays: None, one array, a list of arrays, or a mapping from names to arrays."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {str(key): one(item, exact, largest) for key, item in value.items()}
    if isinstance(value, list | tuple) and not all(isinstance(item, numbers.Number | fmpq) for item in value):
        return {f"array {index}": one(item, exact, largest) for index, item in enumerate(value, start=1)}
    return {"": one(value, exact, largest)}


def one(value: Any, exact: bool, largest: Largest | None = None) -> np.ndarray:
    """One array: a torch tensor, a NumPy array, nested lists or a number; float64, or rationals where `exact`."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    plain = np.asarray(value)
    if largest is not None:
        largest.see(plain)
    if exact:
        entries = np.empty(plain.shape, dtype=object)
        entries.ravel()[:] = [as_rational(entry) for entry in plain.ravel()]
        return entries
    if plain.dtype.kind not in "fiubO":
        raise InputError(f"an array of {plain.dtype}: must be of real numbers")
    return plain.astype(np.float64)


def as_rational(entry: Any) -> fmpq:
    """An int, Fraction, SymPy rational or fmpq as fmpq; a float is refused, since it may have been rounded."""
    if isinstance(entry, fmpq):
        return entry
    if isinstance(entry, numbers.Rational):
        return fmpq(int(entry.numerator), int(entry.denominator))
    raise InputError(f"entry {entry!r:.40} of type {type(entry).__name__}: must be rational where at.exact holds")


def shown(instance: Any) -> str:
    """An instance in one line, cut where it is long."""
    try:
        text = json.dumps(instance.as_json())
    except Exception:  # only for a message about another error
        text = repr(instance)
    return f"instance {text if len(text) <= SHOWN else text[:SHOWN] + '...'}"


def described(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Names and shapes for a message."""
    return ", ".join(f"{name or 'an array'} {shape}" for name, shape in shapes.items()) or "nothing"
