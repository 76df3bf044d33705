"""The residue of statement 4: theta = -E[grad] - V^xi vec W, as the augmentation spread goes to zero.

The augmentations of a point are pulled towards its unaugmented form, ``x + sigma (x_a - x)``, where the first of the
list stands for the unaugmented point. The spread that the claim speaks of is that of the outputs,
``(E tr V_aug[f_L])^{1/2}``, and the residue is measured with r between augmentation means or between unaugmented
points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from verify import balls
from verify.differences import same
from verify.ensembles import exact_ensemble
from verify.evidence import Evidence, Measurement
from verify.instance import PopulationInstance
from verify.rounding import magnitudes
from verify.statistics import judge_order, local_exponent, mean_interval
from verify.tensors import population_of, weights_of
from verify.towers import Array

if TYPE_CHECKING:
    from torch import Tensor

# Small enough that the next order of the expansion is a correction, large enough that theta is far above rounding.
SPREADS = tuple(np.geomspace(0.01, 0.0001, 9))
# Certified local order: between these two factors, far enough down that the next order of the expansion is negligible.
SMALL = (2.0**-20, 2.0**-21)
BITS = 320
LEVEL = 1 - 1e-6
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
    """Whether all augmentations of each point share their gates, none of them on a kink.

    The expansion of statement 4 takes K as a smooth function of the augmentation; where a gate flips between two
    augmentations, K jumps.
    """
    for row in exact_ensemble(instance).towers:
        for tower in row:
            if not same(list(tower.gates[:-1]), list(row[0].gates[:-1])):
                return False
            if any((w @ f == 0).any() for w, f in zip(tower.weights[:-1], tower.activations[:-1], strict=True)):
                return False
    return True


def float_gates_agree(instance: PopulationInstance) -> bool:
    """`gates_agree` in floating point: no gate within rounding of its kink, none that flips."""
    points = np.asarray(instance.points)
    flat = points.reshape(-1, points.shape[-1])
    bound = magnitudes([np.asarray(w) for w in instance.weights], flat, instance.slope)
    gates = [d.reshape(*points.shape[:2], -1) for d in bound.gates]
    return not bound.near_kink.any() and all(bool((d == d[:, :1]).all()) for d in gates)


def certified_order(instance: PopulationInstance, right: object, distances: str) -> tuple[float, float] | None:
    """Enclosure of log2(||theta(s)|| / ||theta(s/2)||) at a tiny s, or None where theta may vanish.

    Parameters
    ----------
    right : callable
        ``(instance, layer, distances) -> balls`` of V^xi vec W.
    distances : {"means", "points"}
        Between what r is measured.
    """
    norms = []
    for factor in SMALL:
        scaled = shrunk(instance, factor)
        if not gates_agree(scaled):
            return None
        gradient = balls.expected_gradient(scaled, BITS)
        with balls.precision(BITS):
            total = balls.to_ball(0.0)
            for layer, left in enumerate(gradient, start=1):
                theta = -left.T.reshape(-1) - right(scaled, layer, distances)  # type: ignore[operator]
                total += sum((entry * entry for entry in theta), balls.to_ball(0.0))
            norms.append(total)
    if any(norm.contains(0) for norm in norms):
        return None
    with balls.precision(BITS):
        order = (norms[0] / norms[1]).log() / (2 * balls.to_ball(2.0).log())
        return float(order.lower()), float(order.upper())


def judge_certified(found: tuple[float, float] | None, claimed: int) -> Measurement:
    """At least the claimed order, half an order being the watershed; theta that may vanish leaves it open."""
    if found is None:
        return Measurement(0.0, 0.0, False, "the residue vanishes, or a gate flips")
    low, high = found
    threshold = claimed - 0.5
    if low > threshold:
        return Measurement(0.0, 0.5, detail=f"order in [{low:.6f}, {high:.6f}]")
    detail = f"local order in [{low:.6f}, {high:.6f}], claimed {claimed}"
    return Measurement(claimed - high, 0.5, high < threshold or low > threshold, detail)


Sides = Callable[[PopulationInstance, str, str], "tuple[list[Tensor], list[Tensor], float] | None"]


def operator_sides(
    instance: PopulationInstance, distances: str, device: str
) -> tuple[list[Tensor], list[Tensor], float] | None:
    """-E[grad], V^xi vec W and the spread of the outputs; None where a gate flips."""
    import numeric

    if not float_gates_agree(instance):
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
    """Spreads of the outputs and norms of theta over the factors of `SPREADS`, or None where a gate flips."""
    spreads, sizes = [], []
    for factor in SPREADS:
        found = sides(shrunk(instance, float(factor)), distances, device)
        if found is None:
            return None
        left, right, spread = found
        spreads.append(spread)
        sizes.append(float(sum((a - b).square().sum() for a, b in zip(left, right, strict=True)) ** 0.5))
    return np.array(spreads), np.array(sizes)


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
    return Evidence(
        "float", judge_order(interval, claimed, MARGIN), source, wanted, passed,
        worst_residual=max(abs(interval.low - claimed), abs(interval.high - claimed)), tolerance=MARGIN,
        detail=f"{what}: {interval}, claimed {claimed} +- {MARGIN}; "
        f"theta/spread^{claimed} varies by a factor of at most {max(ratios):.2f}",
    )  # fmt: skip


def exact_distances(instance: PopulationInstance, distances: str) -> Sequence[Array]:
    """The outputs between which r is measured, in exact rationals."""
    ensemble = exact_ensemble(instance)
    if distances == "points":
        return [row[0].output for row in ensemble.towers]
    return ensemble.mean_outputs
