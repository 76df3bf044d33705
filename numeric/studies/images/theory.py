"""Statements 3 and 4 on trained networks and real images: operators of the head, general form of the whole network.

The head is a tower of bias-free dense ReLU layers; its inputs are the encoder's features. Its output is compared before
normalisation, since the operator form needs ``f_L = K_l^T vec W_l``; the whole network is compared as it was trained,
with outputs of unit length. All of it is float64. A network with batch normalisation is checked with the fixed
statistics of its training, as it is evaluated: with live ones an output is no function of one image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from numeric.studies.images.network import Head, Network
from numeric.studies.images.population import features, has_batch_norm, typical_distance
from numeric.towers.general import (
    NetworkFunction,
    exact_form_gradient,
    function_population_gradient,
    general_form,
    operator_form,
    relative,
)
from numeric.towers.losses import loss_spec
from numeric.towers.populations import FinitePopulation

FIXED = "batch norm with fixed statistics"
HOLDS = 1e-9  # relative; rounding explains about 1e-13
FAILS = 1e-2  # a statement that must fail has to be off by more


@dataclass(frozen=True)
class Check:
    """One statement on one part of a network."""

    part: str
    statement: str
    layer: str
    residual: float
    must_hold: bool

    @property
    def as_predicted(self) -> bool:
        """Whether it holds where it must, and fails clearly where it must fail."""
        return self.residual <= HOLDS if self.must_hold else self.residual >= FAILS


@dataclass(frozen=True)
class Residue:
    """The residue theta of statement 4 at one strength of the augmentation."""

    part: str
    strength: float
    spread: float
    theta: float
    gradient: float


def _tower(parameters: list[Tensor], x: Tensor) -> Tensor:
    return torch.relu(x @ parameters[0].T) @ parameters[1].T


def _normed(population: FinitePopulation, weights: Sequence[Tensor], *, frozen: bool) -> NetworkFunction:
    """A head with batch normalisation: statistics of the population, live as in a training step, or held fixed."""

    def statistics(below: Tensor) -> tuple[Tensor, Tensor]:
        mean = population.flat_weights @ below
        return mean, population.flat_weights @ (below - mean).square()

    fixed = statistics(population.flat_points @ weights[0].T)

    def function(parameters: list[Tensor], x: Tensor) -> Tensor:
        below = x @ parameters[0].T
        mean, variance = fixed if frozen else statistics(below)
        return torch.relu((below - mean) * torch.rsqrt(variance + 1e-5)) @ parameters[1].T

    return function


def head_checks(head: Head, population: FinitePopulation) -> list[Check]:
    """Statements 3 and 4 on the head, and on the same head with batch normalisation, where they must fail."""
    weights = [head.first.weight.detach().double(), head.second.weight.detach().double()]
    frozen, live = (_normed(population, weights, frozen=each) for each in (True, False))
    return [
        *_tower_checks("head", _tower, _tower, weights, population),
        *_tower_checks("head, batch norm", live, frozen, weights, population),
        *_tower_checks(f"head, {FIXED}", frozen, frozen, weights, population),
    ]


def _tower_checks(
    part: str, function: NetworkFunction, of_a_sample: NetworkFunction, weights: list[Tensor],
    population: FinitePopulation,
) -> list[Check]:  # fmt: skip
    """The operator form on one kind of head, with the connections of the second function."""
    plain = function is _tower
    infonce = loss_spec("infonce", tau=typical_distance(function(weights, population.flat_points), population))
    simple = loss_spec("simple")
    gradient = function_population_gradient(function, weights, population, simple)
    exact = exact_form_gradient(function, weights, population, infonce)
    sides = {
        "3": (gradient, operator_form(of_a_sample, weights, population, simple), plain),
        "4 exact": (exact, operator_form(of_a_sample, weights, population, infonce), plain),
    }
    if not plain and function is of_a_sample:
        sides["3 general"] = (gradient, general_form(function, weights, population, simple), True)
    return [
        # Above the batch normalisation the second layer is a plain one: there the statement is still true.
        Check(part, statement, f"W_{layer}", residual, holds or (layer == 2))
        for statement, (left, right, holds) in sides.items()
        for layer, residual in enumerate(relative(left, right), start=1)
    ]


def network_function(network: Network) -> tuple[NetworkFunction, dict[str, Tensor]]:
    """The whole network with outputs of unit length as a function of its parameters, and these by name."""
    shape = network.shape
    named = {name: value.detach() for name, value in network.named_parameters()}

    def function(parameters: list[Tensor], x: Tensor) -> Tensor:
        images = x.reshape(-1, shape.channels, shape.side, shape.side)
        outputs = functional_call(network, dict(zip(named, parameters, strict=True)), (images,))
        return functional.normalize(outputs, dim=-1)

    return function, named


def whole(network: Network) -> str:
    """Name of the part that the checks of a whole network are about."""
    return f"{network.shape.encoder}, {FIXED}" if has_batch_norm(network) else network.shape.encoder


def network_checks(network: Network, population: FinitePopulation, tau: float) -> list[Check]:
    """The general form of statements 3 and 4 on every layer of a network."""
    function, named = network_function(network)
    parameters = list(named.values())
    simple, infonce = loss_spec("simple"), loss_spec("infonce", tau=tau)
    sides = {
        "3 general": (
            function_population_gradient(function, parameters, population, simple),
            general_form(function, parameters, population, simple),
        ),
        "4 exact general": (
            exact_form_gradient(function, parameters, population, infonce),
            general_form(function, parameters, population, infonce),
        ),
    }
    return [
        Check(whole(network), statement, name, residual, must_hold=True)
        for statement, (left, right) in sides.items()
        for name, residual in zip(named, relative(left, right), strict=True)
    ]


def _norm(layers: Sequence[Tensor]) -> float:
    return float(torch.stack([layer.square().sum() for layer in layers]).sum().sqrt())


def residue(
    part: str, function: NetworkFunction, parameters: Sequence[Tensor], population: FinitePopulation,
    strength: float, tau: float,
) -> Residue:  # fmt: skip
    """Theta of InfoNCE with one negative: ``-E[grad]`` less ``E[xi (Kbar - Kbar')(fbar - fbar')]``."""
    spec = loss_spec("infonce", tau=tau)
    left = function_population_gradient(function, parameters, population, spec)
    right = general_form(function, parameters, population, spec)
    with torch.no_grad():
        outputs = function(list(parameters), population.flat_points)
    mean = population.mean(outputs).repeat_interleave(population.augmentations, dim=0)
    spread = float((population.flat_weights @ (outputs - mean).square().sum(-1)).sqrt())
    theta = _norm([a - b for a, b in zip(left, right, strict=True)])
    return Residue(part, strength, spread, theta, _norm(left))


Populations = Callable[[float], FinitePopulation]


def head_residues(network: Network, populations: Populations, strengths: Sequence[float]) -> list[Residue]:
    weights = [network.head.first.weight.detach(), network.head.second.weight.detach()]
    full = features(network, populations(1.0))
    scale = typical_distance(_tower(weights, full.flat_points), full)
    return [residue("head", _tower, weights, features(network, populations(s)), s, scale) for s in strengths]


def network_residues(
    network: Network, populations: Populations, strengths: Sequence[float], tau: float
) -> list[Residue]:
    """Residues of the whole network by strength of the augmentation, at the temperature of its training."""
    function, named = network_function(network)
    parameters, part = list(named.values()), whole(network)
    return [residue(part, function, parameters, populations(s), s, tau) for s in strengths]
