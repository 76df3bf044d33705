"""The residue of statement 4: theta = -E[grad] - V^xi vec W, as the augmentation spread goes to zero.

The augmentations of a point are pulled towards its unaugmented form, ``x + sigma (x_a - x)``, where the first of the
list stands for the unaugmented point. The spread that the claim speaks of is that of the outputs,
``(E tr V_aug[f_L])^{1/2}``, and the residue is measured with r between augmentation means or between unaugmented
points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from verify.engine.evidence import Evidence, Measurement
from verify.instances.in_torch import population_of, weights_of
from verify.instances.instance import PopulationInstance
from verify.tolerance.rounding import magnitudes
from verify.tolerance.statistics import allowed, judge_order, local_exponent, mean_interval, order_effect

if TYPE_CHECKING:
    from torch import Tensor

# Small enough that the next order of the expansion is a correction, large enough that theta is far above rounding.
SPREADS = tuple(np.geomspace(0.01, 0.0001, 9))
# Five fits of statement 4 and one of its general form.
LEVEL = 1 - allowed("order of theta", 6)
MARGIN = 0.1
# A norm of theta below this is rounding, and says nothing about an order.
VANISHING = 1e-13


def shrunk(instance: PopulationInstance, factor: float) -> PopulationInstance:
    """The same population with every augmentation pulled towards the first of its point."""
    points = tuple(
        tuple(tuple(b + factor * (a - b) for a, b in zip(x, point[0], strict=True)) for x in point)
        for point in instance.points
    )
    return replace(instance, points=points)


def gates_agree(instance: PopulationInstance) -> bool:
    """Whether all augmentations of each point share their gates, none of them within rounding of its kink.

    The expansion of statement 4 takes K as a smooth function of the augmentation; where a gate flips between two
    augmentations, K jumps.
    """
    points = np.asarray(instance.points)
    flat = points.reshape(-1, points.shape[-1])
    bound = magnitudes([np.asarray(w) for w in instance.weights], flat, instance.slope)
    gates = [d.reshape(*points.shape[:2], -1) for d in bound.gates]
    return not bound.near_kink.any() and all(bool((d == d[:, :1]).all()) for d in gates)


Sides = Callable[[PopulationInstance, str, str], "tuple[list[Tensor], list[Tensor], float] | None"]


def operator_sides(
    instance: PopulationInstance, distances: str, device: str
) -> tuple[list[Tensor], list[Tensor], float] | None:
    """-E[grad], V^xi vec W and the spread of the outputs; None where a gate flips."""
    import numeric

    if not gates_agree(instance):
        return None
    weights, population = weights_of(instance, device), population_of(instance, device)
    base = numeric.forward(weights, population.points[:, 0, :], instance.slope) if distances == "points" else None
    options = instance.options
    left = numeric.population_gradient(weights, population, instance.loss, instance.slope, **options)
    right = numeric.predicted_update(weights, population, instance.loss, instance.slope, distances_from=base, **options)
    return left, right, float(numeric.output_spread(weights, population, instance.slope))


def residues(
    instance: PopulationInstance, distances: str, device: str, sides: Sides
) -> tuple[np.ndarray, np.ndarray] | None:
    """Spreads of the outputs and norms of theta over the factors of `SPREADS`; None at a flip or an overflow."""
    spreads, sizes = [], []
    for factor in SPREADS:
        found = sides(shrunk(instance, float(factor)), distances, device)
        if found is None:
            return None
        left, right, spread = found
        spreads.append(spread)
        sizes.append(float(sum((a - b).square().sum() for a, b in zip(left, right, strict=True)) ** 0.5))
    return (np.array(spreads), np.array(sizes)) if np.isfinite([spreads, sizes]).all() else None


def exponent(instance: PopulationInstance, distances: str, order: int, device: str) -> Measurement:
    """How far the fitted exponent of theta on one population falls short of an order that is claimed of it.

    One population has no interval, so this is for false orders, which are off by one; `fitted_order` holds the true
    one. Not decided where there is no augmentation, a gate flips, or theta vanishes or overflows.
    """
    found = residues(instance, distances, device, operator_sides) if len(instance.points[0]) > 1 else None
    if found is None or found[0].min() <= 0 or found[1].min() < VANISHING:
        return Measurement(0.0, MARGIN, False, "no exponent can be fitted")
    fitted = local_exponent(*found)
    return Measurement(max(order - fitted, 0.0), MARGIN, detail=f"theta of order {fitted:.3f} in the spread")


def fitted_order(
    instances: Iterable[PopulationInstance],
    distances: str,
    claimed: int,
    *,
    source: str,
    wanted: int,
    device: str,
    sides: Sides = operator_sides,
    label: str = "V^xi vec W",
) -> Evidence:
    """Fit the exponent on several populations and judge the interval of its mean against the claimed order.

    Parameters
    ----------
    instances : iterable
        Candidates; those where a gate flips or theta vanishes are passed over and counted.
    wanted : int
        How many populations to fit; fewer than that abstains.
    sides : callable
        Gives -E[grad], the leading term, and the spread.
    label : str
        The leading term in words.
    """
    exponents: list[float] = []
    ratios: list[float] = []
    passed = 0
    for instance in instances:
        if len(exponents) == wanted:
            break
        found = residues(instance, distances, device, sides)
        if found is None or found[1].min() < VANISHING:
            passed += 1
            continue
        exponents.append(local_exponent(*found))
        scaled = found[1] / found[0] ** claimed
        ratios.append(float(scaled.max() / scaled.min()))
    place = "augmentation means" if distances == "means" else "unaugmented points"
    what = f"order of theta beside {label}, r between {place}"
    if len(exponents) < wanted:
        detail = f"{what}: only {len(exponents)} of {wanted} populations could be fitted"
        return Evidence("float", "abstained", source, len(exponents), passed, detail=detail)
    interval = mean_interval(exponents, LEVEL)
    effect = f"an order that is {order_effect(interval, MARGIN, wanted):.3f} off {claimed:g}"
    return Evidence(
        "float", judge_order(interval, claimed, MARGIN), source, wanted, passed,
        worst_residual=max(abs(interval.low - claimed), abs(interval.high - claimed)), tolerance=MARGIN,
        detail=f"{what}: {interval}, claimed {claimed} +- {MARGIN}; "
        f"refutes {effect}; theta/spread^{claimed} varies by a factor of at most {max(ratios):.2f}", effect=effect,
    )  # fmt: skip
