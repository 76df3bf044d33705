"""The residue of statement 4: theta = -E[grad] - V^xi vec W, as the augmentation spread goes to zero.

The augmentations of a point are pulled towards its unaugmented form, ``x + sigma (x_a - x)``, where the first of the
list stands for the unaugmented point. The spread that the claim speaks of is that of the outputs,
``(E tr V_aug[f_L])^{1/2}``, and the residue is measured with r between augmentation means or between unaugmented
points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import numeric
from hltm.base.interrupts import deferred_interrupt
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.statement import Context
from verify.instances import samples
from verify.instances.in_torch import arrays_of, population_of, weights_of
from verify.instances.instance import PopulationInstance
from verify.tolerance import rounding
from verify.tolerance.rounding import magnitudes
from verify.tolerance.statistics import allowed, local_exponent, order_evidence

if TYPE_CHECKING:
    import torch
    from torch import Tensor


# Small enough that the next order of the expansion is a correction, large enough that theta is far above rounding.
SPREADS = tuple(np.geomspace(0.01, 0.0001, 9))
# Five fits of statement 4 and one of its general form.
LEVEL = 1 - allowed("order of theta", 6)
MARGIN = 0.1
# A norm of theta below this is rounding, and has no order.
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

    Statement 4 does not need this, a fit does: on a finite population a flip happens at some of the fitted spreads and
    not at others, so that theta is no power of the spread over their range.
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
        result = sides(shrunk(instance, float(factor)), distances, device)
        if result is None:
            return None
        left, right, spread = result
        spreads.append(spread)
        sizes.append(float(sum((a - b).square().sum() for a, b in zip(left, right, strict=True)) ** 0.5))
    return (np.array(spreads), np.array(sizes)) if np.isfinite([spreads, sizes]).all() else None


def exponent(instance: PopulationInstance, distances: str, order: int, device: str) -> Measurement:
    """The shortfall of the fitted exponent of theta on one population below a claimed order.

    One population has no interval, so this is for false orders, which are off by one; `fitted_order` judges the true
    one. Not decided where there is no augmentation, a gate flips, or theta vanishes or overflows.
    """
    result = residues(instance, distances, device, operator_sides) if len(instance.points[0]) > 1 else None
    if result is None or result[0].min() <= 0 or result[1].min() < VANISHING:
        return Measurement(0.0, MARGIN, False, "no exponent can be fitted")
    fitted = local_exponent(*result)
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
    """Fit the exponent on several populations and judge the interval of its mean against the claimed order."""
    exponents: list[float] = []
    ratios: list[float] = []
    skipped = 0
    for instance in instances:
        if len(exponents) == wanted:
            break
        result = residues(instance, distances, device, sides)
        if result is None or result[1].min() < VANISHING:
            skipped += 1
            continue
        exponents.append(local_exponent(*result))
        scaled = result[1] / result[0] ** claimed
        ratios.append(float(scaled.max() / scaled.min()))
    place = "augmentation means" if distances == "means" else "unaugmented points"
    what = f"order of theta beside {label}, r between {place}"
    if len(exponents) < wanted:
        detail = f"{what}: only {len(exponents)} of {wanted} populations could be fitted"
        return Evidence("float", "abstained", source, len(exponents), skipped, detail=detail)
    note = f"; theta/spread^{claimed} varies by a factor of at most {max(ratios):.2f}"
    return order_evidence("float", source, f"{what}:", exponents, claimed, LEVEL, skipped, note=note)


# The general form of statements 3 and 4, on networks outside the operator form.


@dataclass(frozen=True)
class GeneralNetwork:
    """A network with biases, an activation by name, and an optional l2 normalisation of the output."""

    name: str
    activation: str
    normalized: bool = False

    def function(self, parameters: list[Tensor], x: Tensor) -> Tensor:
        """Outputs (batch, n_L) for parameters W_1, b_1, W_2, b_2, ..."""
        import torch

        act = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu}[self.activation]
        value = x
        for index in range(0, len(parameters), 2):
            value = value @ parameters[index].T + parameters[index + 1]
            if index + 2 < len(parameters):
                value = act(value)
        return torch.nn.functional.normalize(value, dim=-1) if self.normalized else value


NETWORKS = (
    GeneralNetwork("ReLU with biases", "relu"),
    GeneralNetwork("tanh with biases", "tanh"),
    GeneralNetwork("GELU with biases", "gelu"),
    GeneralNetwork("tanh with biases, normalised output", "tanh", normalized=True),
)


def parameters_of(instance: PopulationInstance, device: str) -> list[Tensor]:
    """W_1, b_1, W_2, b_2, ...; the biases are three quarters of the first columns, which nothing depends on."""
    result = []
    for w in weights_of(instance, device):
        result += [w, 0.75 * w[:, 0] + 0.25]
    return result


def both_sides(
    network: GeneralNetwork, instance: PopulationInstance, device: str, dtype: torch.dtype
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """-E[grad L_simp] by automatic differentiation, and 2 Cov_x[Kbar, fbar]."""
    parameters = [p.to(dtype) for p in parameters_of(instance, device)]
    population = population_of(instance, device).to(device, dtype)
    left = numeric.function_population_gradient(network.function, parameters, population, "simple")
    return arrays_of(left), arrays_of(numeric.general_update(network.function, parameters, population))


def measure_general(case: tuple[GeneralNetwork, PopulationInstance], device: str) -> Measurement:
    """Automatic differentiation of the literal sum against 2 Cov_x[Kbar, fbar], on every weight and bias."""
    import torch

    network, instance = case
    double, single = (both_sides(network, instance, device, dtype) for dtype in (torch.float64, torch.float32))
    return rounding.measure_precisions(double, single, f"{network.name}, parameter")


def operator_form_gap(network: GeneralNetwork, instance: PopulationInstance, device: str) -> float:
    """Largest difference of 2 V_x[Kbar] vec W from -E[grad], in units of what rounding can explain."""
    import torch

    from numeric.towers.general import output_jacobians

    parameters, population = parameters_of(instance, device), population_of(instance, device)
    bound = measure_general((network, instance), device).tolerance
    left, _ = both_sides(network, instance, device, torch.float64)
    jacobians = output_jacobians(network.function, parameters, population.flat_points)
    gap = 0.0
    p = population.point_weights.cpu().numpy()
    for index in range(0, len(parameters), 2):
        mean = population.mean(jacobians[index].flatten(2)).cpu().numpy()
        w = parameters[index].flatten().cpu().numpy()
        centred = mean - np.einsum("m,mip->ip", p, mean)
        update = 2 * np.einsum("m,mip,mi->p", p, centred, centred @ w)
        gap = max(gap, float(np.max(np.abs(update - left[index].reshape(-1)))))
    return gap / bound


def load_dynamo() -> None:
    """Load what the first Jacobian by `vmap` loads, which takes seconds and drops Ctrl-C as loading torch does."""
    with deferred_interrupt():
        import torch._dynamo  # noqa: F401


def general_evidence(context: Context) -> Evidence:
    """The general form on networks that refute the operator form."""
    load_dynamo()
    count = context.pick(quick=4, thorough=40)
    populations = list(samples.smooth_populations(context.seed + 7, count, ("simple",)))
    cases = [(network, instance) for network in NETWORKS for instance in populations]
    for network in NETWORKS:
        if not any(operator_form_gap(network, i, context.device) > 1 for n, i in cases if n is network):
            return Evidence(
                "float", "abstained", "toy, general", len(cases),
                detail=f"{network.name}: the operator form was not refuted, so nothing is told apart",
            )  # fmt: skip
    return tally(
        "float", "toy, general", cases, lambda case: measure_general(case, context.device),
        at_least=len(cases) // 2,
        detail="2 Cov_x[Kbar, fbar] = autograd where 2 V_x[Kbar] vec W fails: " + ", ".join(n.name for n in NETWORKS),
    )  # fmt: skip


def general_sides(
    network: GeneralNetwork, instance: PopulationInstance, distances: str, device: str
) -> tuple[list[Tensor], list[Tensor], float]:
    """Both sides of statement 4's general form and the spread of the outputs, for the fit of the order."""
    parameters, population = parameters_of(instance, device), population_of(instance, device)
    loss, options = instance.loss, instance.options
    base = network.function(parameters, population.points[:, 0, :]) if distances == "points" else None
    left = numeric.function_population_gradient(network.function, parameters, population, loss, **options)
    right = numeric.general_update(network.function, parameters, population, loss, distances_from=base, **options)
    return left, right, output_spread(network.function(parameters, population.flat_points), population)


def output_spread(outputs: Tensor, population: Any) -> float:
    """(E tr V_aug[f_L])^{1/2} from the outputs (M A, n_L)."""
    mean = population.mean(outputs).repeat_interleave(population.augmentations, dim=0)
    return float((population.flat_weights * (outputs - mean).square().sum(1)).sum().sqrt())


def weighted_general_evidence(context: Context) -> Evidence:
    """The order of theta in the general form, on a smooth network with biases and a normalised output."""
    load_dynamo()
    wanted = context.pick(quick=12, thorough=40)
    network = NETWORKS[3]
    instances = samples.smooth_populations(context.seed + 9, 20 * wanted, ("triplet", "infonce"), normalized=True)
    return fitted_order(
        instances, "means", 2, source="toy, general", wanted=wanted, device=context.device,
        sides=partial(general_sides, network), label=f"E[xi (Kbar - Kbar')(fbar - fbar')], {network.name}",
    )  # fmt: skip
