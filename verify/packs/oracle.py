"""Gradients of literal losses: power series over rationals or balls, and automatic differentiation with a bound.

Nothing here knows a formula. A loss is a function of arrays: of exact entries (``flint.fmpq`` or ``flint.arb``, or power
series over them), or of tensors, for which `numeric` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb_series, fmpq_series

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
    """The derivative of a scalar by every entry of an array of fractions or balls: the coefficient of t at ``at + t``."""
    series = arb_series if arithmetic == "ball" else fmpq_series
    result = np.empty(at.shape, dtype=object)
    with balls.precision(BITS):
        for place in np.ndindex(*at.shape):
            moved = at.copy()
            moved[place] = series([at[place], 1])
            value = loss(moved)
            result[place] = value[1] if isinstance(value, series) else at[place] * 0
    return result


def float_gradients(loss: Callable[[Sequence[Tensor]], Tensor], at: Sequence[Any], device: str = "cpu") -> list[Array]:
    """Automatic differentiation in float64 by every array; each entry carries a bound of its error.

    The bound is that of `verify.tolerance.rounding.measured_tolerance`: the difference to the same in float32, scaled.
    """
    import torch

    def gradients(dtype: torch.dtype) -> list[Array]:
        leaves = [leaf.requires_grad_() for leaf in tensors(at, device, dtype)]
        value = loss(leaves)
        found = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
        return [each.detach().cpu().numpy().astype(np.float64) for each in found]

    double, single = gradients(torch.float64), gradients(torch.float32)
    if not all(np.isfinite(side).all() for side in (*double, *single)):
        raise UndecidedError("a gradient is not finite in float32 or float64")
    error = rounding.measured_tolerance(double, single)
    with_error = np.frompyfunc(lambda value: Bounded(float(value), error), 1, 1)
    return [with_error(side) for side in double]
