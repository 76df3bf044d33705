"""-E[grad] of a population by automatic differentiation, with what rounding can explain of it.

The left side of statements 3 and 4 in floating point, and the comparison of any candidate for the right side with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from verify.engine.evidence import Measurement
from verify.instances.in_torch import arrays_of, population_of, weights_of
from verify.instances.instance import PopulationInstance
from verify.tolerance import rounding
from verify.towers.tower import Array


@lru_cache(maxsize=512)
def autograd_update(instance: PopulationInstance, device: str) -> tuple[list[Array], list[Array], bool]:
    """-E[grad] per layer, entrywise bounds of the rounding error, and whether a gate is near its kink."""
    import numeric

    population, options = population_of(instance, device), instance.options
    update = numeric.population_gradient(
        weights_of(instance, device), population, instance.loss, instance.slope, **options
    )
    negatives = instance.negatives
    bounds, near = rounding.population_bounds(
        [np.asarray(w) for w in instance.weights],
        np.asarray(instance.points),
        population.point_weights.cpu().numpy(),
        population.augmentation_weights.cpu().numpy(),
        instance.slope,
        lipschitz=0.0 if instance.loss == "simple" else negatives / options.get("tau", 0.1),
    )
    # Each of H negatives adds a pair of its own to the sum.
    return arrays_of(update), [bound * negatives for bound in bounds], near


def compare(instance: PopulationInstance, sides: Mapping[str, Sequence[Array]], device: str) -> Measurement:
    """Automatic differentiation against candidates for -E[grad], each a list of matrices, one for each layer."""
    update, bounds, near = autograd_update(instance, device)
    worst = Measurement(0.0, float(max(b.max() for b in bounds)))
    for name, side in sides.items():
        for layer, (left, right, bound) in enumerate(zip(update, side, bounds, strict=True), start=1):
            worst = rounding.worse(worst, np.abs(left - right), bound, f"layer {layer}, {name}")
    return worst if not near else Measurement(worst.residual, worst.tolerance, False, "a gate is near its kink")


def scheme_update(instance: PopulationInstance, scheme: str, device: str, dtype: Any) -> list[Array]:
    """-E[grad] of the simple loss by automatic differentiation, under a sampling scheme that statement 3 excludes.

    Schemes: `dependent-augmentations` (x_+ = x_1), `x1-not-augmented` (x_1 is the first augmentation of the list).
    """
    import torch

    import numeric

    weights = [w.to(dtype).requires_grad_() for w in weights_of(instance, device)]
    population = population_of(instance, device).to(device, dtype)
    spread, q = population.augmentations, population.augmentation_weights
    first = torch.zeros_like(q)
    first[:, 0] = 1
    first = first if scheme == "x1-not-augmented" else q
    f = numeric.forward(weights, population.flat_points, instance.slope)
    r = 0.5 * (f[:, None] - f[None]).square().sum(-1)
    far = ((population.point_weights[:, None] * first).reshape(-1) @ r) @ population.flat_weights
    near = torch.zeros_like(far)
    if scheme == "x1-not-augmented":
        blocks = torch.stack([r[m : m + spread, m : m + spread] for m in range(0, len(r), spread)])
        near = torch.einsum("m,ma,mb,mab->", population.point_weights, first, q, blocks)
    gradient = torch.autograd.grad(far - near, weights)
    return arrays_of(gradient)


def compare_scheme(instance: PopulationInstance, scheme: str, side: Sequence[Array], device: str) -> Measurement:
    """Automatic differentiation under a sampling scheme against a candidate for -E[grad]."""
    import torch

    double, single = (scheme_update(instance, scheme, device, dtype) for dtype in (torch.float64, torch.float32))
    # The candidate is made of the same outputs and Jacobians, so both sides may be off by as much.
    tolerance = 2 * rounding.measured_tolerance(double, single) + rounding.measured_tolerance(side, side)
    worst = Measurement(0.0, tolerance)
    for layer, (left, right) in enumerate(zip(double, side, strict=True), start=1):
        worst = rounding.worse(worst, np.abs(left - right), np.array(tolerance), f"layer {layer}, {scheme}")
    return worst


def matrices(instance: PopulationInstance, columns: Sequence[Array]) -> list[Array]:
    """Column-stacked vectors of all layers as matrices shaped as the weights."""
    shapes = [np.asarray(w).shape for w in instance.weights]
    return [c.reshape(shape[1], shape[0]).T for c, shape in zip(columns, shapes, strict=True)]
