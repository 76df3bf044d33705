"""Gradients of literal losses: power series over rationals or balls, and automatic differentiation with a bound.

Nothing here knows a formula. A loss is a function of arrays: of exact entries (``flint.fmpq`` or ``flint.arb``, or
power series over them), or of tensors, for which `numeric` has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb_series, fmpq_series

from verify.engine.evidence import Measurement
from verify.packs.part import BITS, UndecidedError
from verify.tolerance import rounding
from verify.tolerance.running import Bounded
from verify.towers import balls
from verify.towers.tower import Array, array, rational, tensors

if TYPE_CHECKING:
    from torch import Tensor


def entries(value: Any, arithmetic: str) -> Array:
    """Nested tuples of floats as an array of fractions, of balls, or of float64."""
    number: Any = {"rational": rational, "ball": balls.to_ball, "float64": float}[arithmetic]
    return array(value, number)


def exact_gradient(loss: Callable[[Array], Any], at: Array, arithmetic: str) -> Array:
    """Derivative of a scalar by every entry of an array of fractions or balls: the coefficient of t at ``at + t``."""
    series: Any = arb_series if arithmetic == "ball" else fmpq_series
    result = np.empty(at.shape, dtype=object)
    with balls.precision(BITS):
        for place in np.ndindex(*at.shape):
            moved = at.copy()
            moved[place] = series([at[place], 1])
            value = loss(moved)
            result[place] = value[1] if isinstance(value, series) else at[place] * 0
    return result


LARGEST_EXPONENT = 16.0
"""In units of the temperature: e^-16 is above the unit roundoff of float32, so that the probe sees it beside 1."""
NUDGES = (0.0, 2.0**-7, -(2.0**-6))
"""Changes of the arguments at which rounding is probed, relative where an argument is not 0."""


def float_gradients(loss: Callable[[Sequence[Tensor]], Tensor], at: Sequence[Any], device: str = "cpu") -> list[Array]:
    """Automatic differentiation in float64 by every array; each entry carries an estimate of its error.

    The estimate is that of `verify.tolerance.rounding.measured_tolerance`, the scaled difference to the same in
    float32: the largest at the arguments and at two neighbours, for at the arguments all may cancel exactly. It is
    worth nothing where exponents are beyond `LARGEST_EXPONENT`.
    """
    import torch

    def gradients(leaves: list[Tensor]) -> list[Array]:
        for leaf in leaves:
            leaf.requires_grad_()
        found = torch.autograd.grad(loss(leaves), leaves, allow_unused=True, materialize_grads=True)
        return [each.detach().cpu().numpy().astype(np.float64) for each in found]

    return _with_error(gradients, at, device)


def float_value(value: Callable[[Sequence[Tensor]], Tensor], at: Sequence[Any], device: str = "cpu") -> Bounded:
    """A scalar in float64 with an estimate of its error, as in `float_gradients`."""
    found: Bounded = float_values(lambda leaves: value(leaves)[None], at, device)[0]
    return found


def float_values(table: Callable[[Sequence[Tensor]], Tensor], at: Sequence[Any], device: str = "cpu") -> Array:
    """A table of values in float64 with an estimate of their error, as in `float_gradients`."""

    def alone(leaves: list[Tensor]) -> list[Array]:
        return [table(leaves).detach().cpu().numpy().astype(np.float64)]

    return _with_error(alone, at, device)[0]


def worse_than_side(worst: Measurement, gradient: Array, side: Array, place: str) -> Measurement:
    """The worse of a measurement and a gradient, whose entries have errors, against ``-side`` with errors as large."""
    value = np.vectorize(lambda entry: entry.value, otypes=[float])(gradient)
    bound = np.vectorize(lambda entry: 2 * entry.error, otypes=[float])(gradient)
    return rounding.worse_of(worst, side, -value, bound, place)


def abstaining(measure: Callable[..., Measurement]) -> Callable[..., Measurement]:
    """A measure that abstains where it raises `UndecidedError`."""

    @wraps(measure)
    def measured(*arguments: Any, **options: Any) -> Measurement:
        try:
            return measure(*arguments, **options)
        except UndecidedError as reason:
            return Measurement(0.0, math.inf, False, str(reason))

    return measured


def _with_error(compute: Callable[[list[Tensor]], list[Array]], at: Sequence[Any], device: str) -> list[Array]:
    """Arrays that are computed of arguments, entries with the largest of the measured errors."""
    import torch

    results, errors = [], []
    for nudge in NUDGES:
        moved = [np.asarray(array, dtype=np.float64) for array in at]
        # An argument that is 0 is moved too: a derivative along a direction is taken there.
        moved = [
            np.where(array == 0, nudge, array * (1 + nudge * np.cos(np.arange(array.size)).reshape(array.shape)))
            for array in moved
        ]
        double, single = (compute(tensors(moved, device, dtype)) for dtype in (torch.float64, torch.float32))
        if not all(np.isfinite(side).all() for side in (*double, *single)):
            raise UndecidedError("a gradient is not finite in float32 or float64")
        results.append(double)
        errors.append(rounding.measured_tolerance(double, single))
    with_error = np.frompyfunc(lambda value: Bounded(float(value), max(errors)), 1, 1)
    return [np.asarray(with_error(side), dtype=object) for side in results[0]]
