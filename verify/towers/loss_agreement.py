"""Where `theory` and `numeric` state the same loss: value, derivatives and pair weights have to agree.

The expressions of `theory` are evaluated by mpmath with 50 digits, the functions of `numeric` in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numeric
from verify.engine.evidence import Measurement
from verify.instances.instance import LossInstance
from verify.tolerance.rounding import UNIT_ROUNDOFF

DIGITS = 50


@lru_cache(maxsize=32)
def derived_functions(loss: str, negatives: int) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Value, derivatives and pair weights of `theory`, as mpmath functions of r_+, r_1 .. r_H, tau and r_0."""
    import sympy

    from theory import pair_weights
    from theory.core.notation import negative, r_0, r_p, tau
    from theory.losses.loss import derivative, loss_of

    expression = loss_of(loss, negatives).expression
    distances = [r_p, *(negative(index) for index in range(1, negatives + 1))]
    arguments = [*distances, tau, r_0]
    value = sympy.lambdify(arguments, expression, "mpmath")
    slopes = sympy.lambdify(arguments, [derivative(expression, distance) for distance in distances], "mpmath")
    weights = sympy.lambdify(arguments, list(pair_weights(loss, negatives)), "mpmath")
    return value, slopes, weights


def measure_losses(instance: LossInstance, tolerance: float, device: str = "cpu") -> Measurement:
    """Value, dL/dr and xi of `theory` against those of `numeric`."""
    import mpmath
    import torch

    options, count = instance.options, len(instance.r_neg)
    spec = numeric.loss_spec(instance.loss, **options)
    r_pos = torch.tensor(instance.r_pos, dtype=torch.float64, device=device)
    r_neg = torch.tensor(instance.r_neg, dtype=torch.float64, device=device)
    tau, margin = options.get("tau", 0.1), options.get("margin", 0.0)
    value, slopes, weights = derived_functions(instance.loss, count)
    with mpmath.workdps(DIGITS):
        arguments = [mpmath.mpf(v) for v in (instance.r_pos, *instance.r_neg, tau, margin)]
        derived_value = value(*arguments)
        derived = [*slopes(*arguments), *weights(*arguments)]
    pull, push = numeric.loss_derivatives(spec, r_pos, r_neg)
    result = [float(pull), *push.tolist(), *numeric.pair_weight(spec, r_neg).tolist()]
    ours = float(numeric.loss_value(spec, r_pos, r_neg))
    scale = instance.r_pos + max(instance.r_neg) + abs(margin) + tau + abs(ours)
    value_bound = 16 * (count + 2) * UNIT_ROUNDOFF * scale
    gap = float(abs(derived_value - ours))
    if gap > value_bound:
        return Measurement(gap, value_bound, detail="value of the loss")
    return Measurement(largest_gap(derived, result), tolerance, detail="derivatives and pair weights")


def largest_gap(exact: Sequence[Any], found: Sequence[float]) -> float:
    """Largest absolute difference, taken at full precision."""
    return max(float(abs(a - b)) for a, b in zip(exact, found, strict=True))
