"""Networks outside the operator form, on which the general form of statements 3 and 4 still has to hold.

Biases, smooth activations and normalised outputs break ``f_L = K_l^T vec W_l``, and with it the operator form. The
general form ``2 Cov_x[Kbar, fbar]`` needs only that the network is differentiable. Each network here must refute the
first and satisfy the second; that the operator form fails is part of the check, or it would show nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hltm.base.command import heard
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.statement import Context
from verify.instances import samples
from verify.instances.in_torch import arrays_of, population_of, weights_of
from verify.instances.instance import PopulationInstance
from verify.tolerance import rounding
from verify.towers.residue import Sides, fitted_order

if TYPE_CHECKING:
    from torch import Tensor


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
    found = []
    for w in weights_of(instance, device):
        found += [w, 0.75 * w[:, 0] + 0.25]
    return found


def both_sides(
    network: GeneralNetwork, instance: PopulationInstance, device: str
) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """-E[grad L_simp] by automatic differentiation, 2 Cov_x[Kbar, fbar], and what rounding can explain."""
    import numeric

    parameters, population = parameters_of(instance, device), population_of(instance, device)
    left = arrays_of(numeric.function_population_gradient(network.function, parameters, population, "simple"))
    right = arrays_of(numeric.general_update(network.function, parameters, population))
    single = [p.float() for p in parameters]
    coarse = population.to(device, single[0].dtype)
    left_32 = arrays_of(numeric.function_population_gradient(network.function, single, coarse, "simple"))
    right_32 = arrays_of(numeric.general_update(network.function, single, coarse))
    bound = rounding.measured_tolerance(left, left_32) + rounding.measured_tolerance(right, right_32)
    return left, right, bound


def measure_general(case: tuple[GeneralNetwork, PopulationInstance], device: str) -> Measurement:
    """Automatic differentiation of the literal sum against 2 Cov_x[Kbar, fbar], on every weight and bias."""
    network, instance = case
    left, right, bound = both_sides(network, instance, device)
    worst = Measurement(0.0, bound)
    for index, (a, b) in enumerate(zip(left, right, strict=True)):
        worst = rounding.worse(worst, np.abs(a - b), np.array(bound), f"{network.name}, parameter {index}")
    return worst


def operator_form_gap(network: GeneralNetwork, instance: PopulationInstance, device: str) -> float:
    """Largest difference of 2 V_x[Kbar] vec W from -E[grad], in units of what rounding can explain."""
    from numeric.towers.general import output_jacobians

    parameters, population = parameters_of(instance, device), population_of(instance, device)
    left, _, bound = both_sides(network, instance, device)
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
    with heard():
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


def general_sides(network: GeneralNetwork) -> Sides:
    """Both sides of statement 4's general form and the spread of the outputs, for the fit of the order."""

    def sides(instance: PopulationInstance, distances: str, device: str) -> tuple[list[Tensor], list[Tensor], float]:
        import numeric

        parameters, population = parameters_of(instance, device), population_of(instance, device)
        options = instance.options
        base = network.function(parameters, population.points[:, 0, :]) if distances == "points" else None
        left = numeric.function_population_gradient(network.function, parameters, population, instance.loss, **options)
        right = numeric.general_update(
            network.function, parameters, population, instance.loss, distances_from=base, **options
        )
        outputs = network.function(parameters, population.flat_points)
        return left, right, output_spread(outputs, population)

    return sides


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
        sides=general_sides(network), label=f"E[xi (Kbar - Kbar')(fbar - fbar')], {network.name}",
    )  # fmt: skip
