"""Asymptotic statements: the exponent of a difference as a field of the instance goes to zero.

The sides are compared along a geometric sequence of that field. Local slopes of the difference, in logarithms, come
from the smallest values at which the difference is far above rounding; nothing is extrapolated into rounding. The
interval of the exponent is what rounding and the convergence of the slopes leave open.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hltm.base.errors import InputError
from verify.engine.evidence import Measurement
from verify.own.arithmetic import Arithmetic
from verify.own.comparison import SIDES, Arrays, Comparison
from verify.own.guard import as_input_error
from verify.own.sides import NOT_APPLICABLE, Side, UserSides
from verify.tolerance import rounding

# Values of the scale: each half of the one before.
HALVINGS = 20
# The tolerance is measured at every so many of them.
STRIDE = 5
# Points of a fit: five slopes, four changes of slope.
POINTS = 6
# A difference counts where it is this many tolerances.
CLEAR = 1e3
# Changes of slope must fall at least so fast: as s^(1/2), whose changes fall by a factor 0.71 at each halving.
SHRINK = 0.75
# Slopes that agree so well have converged; those of s^2 log s differ by three times as much at the smallest scale.
SETTLED = 0.01
# An exponent this far below the claimed one refutes, if it is known so well; to hold, half an order less is excluded.
MARGIN = 0.1
HALF = 0.5

# Rounding of the logarithms themselves.
LOGARITHMS = 1e-12

Status = Literal["holds", "refuted", "abstained"]


@dataclass(frozen=True)
class Exponent:
    """An exponent with the interval that rounding and convergence leave, and the scales that it was fitted on."""

    estimate: float
    low: float
    high: float
    smallest: float
    largest: float

    def __str__(self) -> str:
        return f"exponent {self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def judge(self, order: float) -> Status:
        """Whether a difference with this exponent is O(s^order)."""
        if self.high >= order and self.low > order - HALF:
            return "holds"
        known = self.high - self.low <= 2 * MARGIN
        return "refuted" if known and self.high < order - MARGIN else "abstained"


def fit(scales: np.ndarray, sizes: np.ndarray, tolerances: np.ndarray) -> Exponent | str:
    """Exponent of ``sizes ~ c scales^p`` as the scales fall, or the reason why none can be fitted.

    The fit uses the last `POINTS` points in a row at which a size exceeds `CLEAR` tolerances. Their slopes must
    converge: they agree to `SETTLED`, or each change is at most `SHRINK` times the one before, up to rounding. In the
    latter case the slopes below sum up to at most a geometric series of changes, which is doubled. The next point must
    continue the fit within its tolerance.
    """
    clear = np.isfinite(sizes) & (sizes > CLEAR * tolerances) & (sizes > 0)
    longest = runs = 0
    last = -1
    for k, one in enumerate(clear):
        runs = runs + 1 if one else 0
        longest = max(longest, runs)
        last = k if runs >= POINTS else last
    if last < 0:
        return f"rounding hides all but {longest} values, at least {POINTS} must be {CLEAR:.0e} tolerances or more"
    used = slice(last - POINTS + 1, last + 1)
    gaps = -np.diff(np.log(scales[used]))
    slopes = -np.diff(np.log(sizes[used])) / gaps
    relative = tolerances[used] / sizes[used]
    blur = (relative[1:] + relative[:-1] + LOGARITHMS) / gaps
    changes, noise = np.abs(np.diff(slopes)), blur[1:] + blur[:-1]
    band = float(slopes.max() - slopes.min())
    if band <= SETTLED:
        half = float(blur[-1]) + 4 * band
    elif (changes[1:] <= SHRINK * changes[:-1] + noise[1:] + SHRINK * noise[:-1]).all():
        seen = changes[:-1] > noise[:-1]
        rate = float(np.clip(np.max(changes[1:][seen] / changes[:-1][seen], initial=0.5), 0.5, SHRINK))
        half = float(blur[-1] + 2 * (changes[-1] + noise[-1]) * rate / (1 - rate))
    else:
        return f"the slopes {', '.join(f'{slope:.3f}' for slope in slopes)} do not converge"
    slope = float(slopes[-1])
    if last + 1 < len(sizes):
        expected = sizes[last] * (scales[last + 1] / scales[last]) ** slope
        if not abs(sizes[last + 1] - expected) <= expected / 2 + tolerances[last + 1]:
            return f"the difference behaves in another way below {scales[last]:.3g}"
    return Exponent(slope, slope - half, slope + half, float(scales[last]), float(scales[used.start]))


def measure(
    order: float, name: str, scales: np.ndarray, sizes: np.ndarray, tolerances: np.ndarray, natural: np.ndarray
) -> Measurement:
    """Judge differences of shape (K, E) at K scales against O(scale^order); `natural` are sizes of the E entries.

    Every entry can refute; the root of the sum of squares of all entries must hold.
    """
    if not np.isfinite(sizes).all():
        return Measurement(math.nan, MARGIN, False, f"a difference is not finite for some {name}")
    total = np.sqrt((sizes**2).sum(axis=1)), np.sqrt((tolerances**2).sum(axis=1))
    for entry in range(sizes.shape[1]):
        result = fit(scales, sizes[:, entry], tolerances[:, entry])
        if isinstance(result, Exponent) and result.judge(order) == "refuted":
            return _judged(result, order, name)
    if (sizes <= tolerances).all():
        # What a difference of the next lower half order, as large as the entries at 1, would be at the first scale.
        lower = natural * min(1.0, float(scales[0])) ** max(order - HALF, 0.0)
        seen = np.isfinite(tolerances).all() and (lower > CLEAR * tolerances[0]).any()
        if not seen and (sizes > 0).any():
            reason = f"{name} = {scales[0]:.3g} is too small to tell an order from rounding"
            return Measurement(0.0, MARGIN, False, reason)
        return Measurement(0.0, MARGIN, detail=f"no difference beyond rounding for {name} <= {scales[0]:.3g}")
    result = fit(scales, *total)
    if isinstance(result, str):
        return Measurement(0.0, MARGIN, False, result)
    return _judged(result, order, name)


def _judged(result: Exponent, order: float, name: str) -> Measurement:
    spoken = f"{result} for {name} from {result.largest:.3g} to {result.smallest:.3g}, claimed {order:g} or more"
    return Measurement(max(0.0, order - result.high), MARGIN, result.judge(order) != "abstained", spoken)


@dataclass(frozen=True)
class AsymptoticSides(UserSides):
    """Sides whose difference is claimed to be O(s^order) as the field `in_` = s goes to zero, the rest fixed."""

    order: float = 1.0
    in_: str = ""

    @rounding.quiet
    def measure_float(self, instance: Any, claim: Side | None = None, device: str = "cpu") -> Measurement:
        """The exponent of the float64 difference."""

        def differences(at: Any, bounded: bool) -> tuple[Arrays, Arrays, Arrays | None] | Measurement:
            return float_differences(self, at, claim, device, bounded)

        return self._measure(instance, differences)

    def measure_exact(self, instance: Any, claim: Side | None = None) -> Measurement:
        """The exponent of the difference in rationals, without any tolerance."""

        def differences(at: Any, bounded: bool) -> tuple[Arrays, Arrays, Arrays | None] | Measurement:
            exact = Arithmetic("exact")
            right = None if self.exact is None else self.ask("exact", self.exact, at, exact)
            left = None if right is None else self.ask("theory", claim or self.theory, at, exact)
            if left is None or right is None:
                return NOT_APPLICABLE
            self.check_shapes(left, right, at)
            zeros = {key: np.zeros(values.shape) for key, values in left.items()}
            gaps = {key: self.gap((left[key] - right[key]).astype(np.float64), zeros[key]) for key in left}
            return gaps, {key: np.abs(left[key]).astype(np.float64) for key in left}, dict.fromkeys(left, np.zeros(()))

        return self._measure(instance, differences)

    def explain(self, instance: Any, claim: Side | None = None, device: str = "cpu") -> str:
        """Why an instance is undecided, in words."""
        result = self.measure_float(instance, claim, device)
        return result.detail if result.status == "abstained" else ""

    def _measure(
        self, instance: Any, differences: Callable[[Any, bool], tuple[Arrays, Arrays, Arrays | None] | Measurement]
    ) -> Measurement:
        start = float(getattr(instance, self.in_))
        if start == 0 or not math.isfinite(start):
            return Measurement(0.0, MARGIN, False, f"{self.in_} = {start:g} cannot be halved towards 0")
        scales = np.array([start / 2**k for k in range(HALVINGS + 1)])
        rows, bounds, natural = [], {}, np.zeros(0)
        for k, scale in enumerate(scales):
            with as_input_error(lambda scale=scale: f"statement {self.slug!r}, {self.in_} = {scale:g}"):  # type: ignore[misc]
                moved = replace(instance, **{self.in_: float(scale)})
            result = differences(moved, k % STRIDE == 0)
            if isinstance(result, Measurement):
                return result
            gaps, values, tolerances = result
            rows.append(np.concatenate([gaps[key].ravel() for key in gaps]))
            if k == 0:
                natural = np.concatenate([values[key].ravel() for key in gaps])
            if tolerances is not None:
                bounds[k] = np.concatenate([np.broadcast_to(tolerances[key], gaps[key].shape).ravel() for key in gaps])
            if rows[-1].shape != rows[0].shape:
                return Measurement(math.nan, MARGIN, False, f"the sides change their shape with {self.in_}")
        known = [
            np.maximum(bounds[k - k % STRIDE], bounds[min(HALVINGS, k - k % STRIDE + STRIDE)]) for k in range(len(rows))
        ]
        return measure(self.order, self.in_, np.abs(scales), np.array(rows), np.array(known), natural)


def examples(sides: UserSides, count: int) -> int:
    """How many instances to draw: an asymptotic one costs some hundred evaluations of a side, so a quarter."""
    return count // 4 if isinstance(sides, AsymptoticSides) else count


def float_differences(
    sides: UserSides, instance: Any, claim: Side | None, device: str, bounded: bool
) -> tuple[Arrays, Arrays, Arrays | None] | Measurement:
    """Differences in float64, sizes of the sides, and on request the tolerance of every entry; infinite at a kink."""
    both = sides.both(instance, claim, device)
    if both is None:
        return NOT_APPLICABLE
    left, right = (both[name] for name in SIDES)
    sides.check_shapes(left, right, instance)
    apart = sides.not_finite(left, right)
    if apart is not None:  # an overflow or a pole at one value refutes no order
        return Measurement(math.nan, MARGIN, False, "a side is not finite")
    gaps = {key: sides.gap(left[key], right[key]) for key in left}
    values = {key: np.maximum(np.abs(left[key]), np.abs(right[key])) for key in left}
    if not bounded:
        return gaps, values, None
    comparison = Comparison(both, gaps, lambda name, noise: sides.again(name, instance, claim, device, noise))
    if sides.tolerance is not None:
        return gaps, values, sides.given_bounds(comparison, instance, device)
    # One noisy run: a difference counts where it is a thousand tolerances, and the wider of two neighbours is taken.
    measured = comparison.tolerances(range(1))
    return gaps, values, {key: np.where(measured.jumps[key], math.inf, measured.bounds[key]) for key in gaps}


def sides_of_order(sides: UserSides, order: Any, in_: Any, kind: type) -> AsymptoticSides:
    """The sides as an asymptotic statement; InputError where `order` or `in_` is none."""
    place = f"of statement {sides.slug!r}"
    if in_ is None or order is None:
        given, missing = ("order", "in_") if in_ is None else ("in_", "order")
        raise InputError(f"{given} {place}: must be given together with {missing}")
    if isinstance(order, bool) or not isinstance(order, numbers.Real) or not 0 < float(order) <= 16:
        raise InputError(f"order={order!r:.40} {place}: must be a number in (0, 16]")
    hints = {field.name: field.type for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    if hints.get(in_) not in (float, "float"):
        known = ", ".join(name for name, hint in hints.items() if hint in (float, "float"))
        raise InputError(f"in_={in_!r:.40} {place}: must be a float of {kind.__name__}, known are {known or 'none'}")
    if sides.standard_error is not None:
        raise InputError(f"order {place}: must be left out with standard_error")
    options = {field.name: getattr(sides, field.name) for field in dataclasses.fields(sides)}
    return AsymptoticSides(**options, order=float(order), in_=str(in_))
