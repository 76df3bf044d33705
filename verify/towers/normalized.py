"""The reversible extension of statement 1, l2-normalised outputs: forward connection J/||u||, backward P J/||u||."""

from __future__ import annotations

from typing import Any

import numpy as np

from verify.engine.evidence import Measurement
from verify.instances.instance import PairInstance
from verify.tolerance import rounding
from verify.towers.tower import Array, exact_tower, vec


def normalized_sides(instance: PairInstance, device: str, dtype: Any) -> tuple[list[Array], list[Array]]:
    """Autograd and formula for l2-normalised outputs, in the given precision."""
    import torch

    import numeric

    first, second = (
        [torch.as_tensor(np.asarray(w), dtype=dtype, device=device) for w in weights]
        for weights in (instance.weights_1, instance.weights_2)
    )
    x_1, x_2 = (torch.tensor([x], dtype=dtype, device=device) for x in (instance.x_1, instance.x_2))
    gradient = numeric.pair_gradient(first, second, x_1[0], x_2[0], instance.slope, output="normalized")
    factors_1 = numeric.normalized_connections(first, x_1, instance.slope)
    factors_2 = numeric.normalized_connections(second, x_2, instance.slope)
    right = []
    for w_1, w_2, (forward_1, backward_1), (forward_2, _) in zip(first, second, factors_1, factors_2, strict=True):
        k_f1, k_f2, k_b1 = (k.dense()[0] for k in (forward_1, forward_2, backward_1))
        right.append(k_b1 @ (k_f1.T @ numeric.vec(w_1) - k_f2.T @ numeric.vec(w_2)))
    return [vec(g.cpu().numpy()) for g in gradient], [side.cpu().numpy() for side in right]


def measure_normalized(instance: PairInstance, device: str = "cpu") -> Measurement:
    """The reversible extension: l2-normalised outputs, forward and backward connections."""
    import torch

    towers = (
        exact_tower(instance.weights_1, instance.x_1, instance.slope),
        exact_tower(instance.weights_2, instance.x_2, instance.slope),
    )
    if not all(any(entry != 0 for entry in tower.output) for tower in towers):
        return Measurement(0.0, 0.0, False, "an output is zero and has no direction")
    left, right = normalized_sides(instance, device, torch.float64)
    left_32, right_32 = normalized_sides(instance, device, torch.float32)
    bound = rounding.measured_tolerance(left, left_32) + rounding.measured_tolerance(right, right_32)
    worst = Measurement(0.0, bound)
    for layer, (a, b) in enumerate(zip(left, right, strict=True), start=1):
        worst = rounding.worse(worst, np.abs(a - b), np.array(bound), f"layer {layer}, normalised output")
    return worst
