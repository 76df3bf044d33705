"""Statements 3 and 4 on trained networks and real images: operators of the head, general form of the whole convnet.

Populations are finite: some images with a list of augmentations each, so nothing here has a sampling error. The head
is a tower of bias-free dense ReLU layers; its inputs are the encoder's features. Its output is compared before it is
brought to unit length, since the operator form needs ``f_L = K_l^T vec W_l``; the whole network is compared as it was
trained, with outputs of unit length. All of it is float64.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from numeric.general import NetworkFunction, function_population_gradient, general_update, output_jacobians
from numeric.images.augment import Recipe, apply, draw
from numeric.images.data import ImageData, pixels
from numeric.images.network import BatchNorm, Head, Network
from numeric.images.training import THEORY, stream
from numeric.losses import LossSpec, loss_spec, pair_weight
from numeric.operator import covariance_operator
from numeric.population import FinitePopulation

HOLDS = 1e-9  # relative; rounding explains about 1e-13
FAILS = 1e-2  # a statement that must fail has to be off by more


@dataclass(frozen=True)
class Check:
    """One statement on one part of a network.

    Attributes
    ----------
    part : str
        What network.
    statement : str
        ``"3"``, ``"3 general"``, ``"4 exact"``, ``"4 exact general"``.
    layer : str
    residual : float
        Largest difference of both sides, relative to the largest entry of ``-E[grad]`` of the layer.
    must_hold : bool
        Whether the theory says that it holds, or that it fails.
    """

    part: str
    statement: str
    layer: str
    residual: float
    must_hold: bool

    @property
    def as_told(self) -> bool:
        """Whether it is as the theory says."""
        return self.residual <= HOLDS if self.must_hold else self.residual >= FAILS


@dataclass(frozen=True)
class Residue:
    """The residue theta of statement 4 at one strength of the augmentation.

    Attributes
    ----------
    part : str
    strength : float
        Factor of every magnitude of the augmentation.
    spread : float
        ``sigma = (E tr V_aug[f_L])^(1/2)``.
    theta, gradient : float
        Norms over all layers of ``theta`` and of ``E[grad]`` of InfoNCE.
    """

    part: str
    strength: float
    spread: float
    theta: float
    gradient: float


@dataclass(frozen=True)
class OperatorSize:
    """The covariance operator ``V_x[Kbar_l]`` of a layer of the head: trace, largest eigenvalue, effective rank."""

    layer: int
    trace: float
    top: float
    rank: float


def image_population(
    data: ImageData, recipe: Recipe, images: int, augmentations: int, *, seed: int = 0, strength: float = 1.0
) -> FinitePopulation:
    """The first test images with a list of augmentations each, float64, flat: ``d = C H W``.

    Parameters
    ----------
    data : ImageData
    recipe : Recipe
    images, augmentations : int
    seed : int
        Of the draws, which are the same for every strength.
    strength : float
        Factor of every magnitude; at 0 all augmentations of an image are the image.

    Examples
    --------
    >>> from numeric.images.augment import RECIPES
    >>> from numeric.images.data import load_images
    >>> image_population(load_images("digits", subset=5), RECIPES["digits"], 3, 2)
    FinitePopulation(points=3, augmentations=2, d=64, float64 on cpu)
    """
    chosen = pixels(data.test[:images]).double().repeat_interleave(augmentations, 0)
    # Drawn by the recipe at full strength, applied at this one: a path from the image to its augmentation.
    draws = draw(recipe, chosen.shape, stream(seed, THEORY), torch.float64)
    moved = apply(recipe.scaled(strength), chosen, draws) if strength > 0 else chosen
    return FinitePopulation(moved.reshape(len(chosen) // augmentations, augmentations, -1))


def in_double(network: Network) -> Network:
    """A copy in float64 that is in evaluation mode and asks for no gradients."""
    found: Network = deepcopy(network).double().eval().requires_grad_(False)
    return found


def features(network: Network, population: FinitePopulation) -> FinitePopulation:
    """The same population as the head sees it: features of the encoder."""
    shape = network.shape
    with torch.no_grad():
        seen = network.encoder(population.flat_points.reshape(-1, shape.channels, shape.side, shape.side))
    return FinitePopulation(seen.unflatten(0, (population.size, -1)))


def typical_distance(outputs: Tensor, population: FinitePopulation) -> float:
    """Mean of ``r`` between augmentation means: as temperature it gives pair weights of order one."""
    means = population.mean(outputs)
    centred = means - population.point_weights @ means
    return float(population.point_weights @ centred.square().sum(-1))


def exact_form_gradient(
    function: NetworkFunction, parameters: Sequence[Tensor], population: FinitePopulation, spec: LossSpec
) -> list[Tensor]:
    """``-grad E[xi (r_+ - r_-)]`` with pair weights held fixed, by autograd of the literal sum.

    ``xi`` depends on the two points only, through the distance of their augmentation means. This is what the loss
    ``covariance`` does to a batch; the theorem says that it is ``V^xi vec W`` with no residue.

    Parameters
    ----------
    function, parameters
        As in :func:`numeric.general.output_jacobians`.
    population : FinitePopulation
    spec : LossSpec
        With one negative.

    Returns
    -------
    list of Tensor

    Source
    ------
    Statement 4.
    """
    with torch.enable_grad():
        held = [parameter.detach().requires_grad_() for parameter in parameters]
        outputs = function(held, population.flat_points)
        means = population.mean(outputs).detach()
        between = 0.5 * (means.unsqueeze(1) - means).square().sum(-1)
        xi = pair_weight(spec, between.unsqueeze(-1)).squeeze(-1)
        xi = xi * population.point_weights.unsqueeze(1) * population.point_weights
        apart = 0.5 * (outputs.unsqueeze(1) - outputs).square().sum(-1)
        size, count = population.size, population.augmentations
        blocks = apart.reshape(size, count, size, count)
        u = population.augmentation_weights
        means_of_r = torch.einsum("xa,yb,xayb->xy", u, u, blocks)
        value = (xi * (means_of_r.diagonal().unsqueeze(1) - means_of_r)).sum()
        return [-gradient for gradient in torch.autograd.grad(value, held, materialize_grads=True)]


def relative(left: Sequence[Tensor], right: Sequence[Tensor]) -> list[float]:
    """Largest difference of each layer, relative to the largest entry of the first side."""
    return [
        float((a - b).abs().max() / a.abs().max().clamp(min=torch.finfo(a.dtype).tiny))
        for a, b in zip(left, right, strict=True)
    ]


def operator_form(
    function: NetworkFunction, parameters: Sequence[Tensor], population: FinitePopulation, spec: LossSpec
) -> list[Tensor]:
    """``2 V_x[Kbar_l] vec W_l`` or ``V^xi vec W_l`` of every matrix, by Jacobians: for any function of a sample."""
    from numeric.pairs import coupling

    outputs = function(list(parameters), population.flat_points)
    acting = coupling(population, spec, outputs, None)
    found = []
    for parameter, jacobian in zip(
        parameters, output_jacobians(function, parameters, population.flat_points), strict=True
    ):
        kbar = population.mean(jacobian.flatten(2))
        seen = acting.apply(acting.centred(kbar @ parameter.flatten()))
        update = torch.einsum("mi,mip->p", seen, kbar).view_as(parameter)
        found.append(2 * update if acting.laplacian is None else update)
    return found


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
    """Statements 3 and 4 on the head, and on the same head with batch normalisation, where they must fail.

    Parameters
    ----------
    head : Head
        Its two matrices are used, in float64; its own batch normalisation, if it has one, is left out.
    population : FinitePopulation
        Of features.

    Returns
    -------
    list of Check
        For each layer: the operator form without batch normalisation; with it, live (as SGD has it) and with fixed
        statistics, where the general form must still hold.
    """
    weights = [head.first.weight.detach().double(), head.second.weight.detach().double()]
    found: list[Check] = []
    frozen, live = (_normed(population, weights, frozen=each) for each in (True, False))
    cases: list[tuple[str, NetworkFunction, NetworkFunction, bool]] = [
        ("head", _tower, _tower, True),
        ("head, batch norm", live, frozen, False),
        ("head, batch norm with fixed statistics", frozen, frozen, False),
    ]
    for part, function, of_a_sample, must in cases:
        outputs = function(weights, population.flat_points)
        infonce = loss_spec("infonce", tau=typical_distance(outputs, population))
        simple = loss_spec("simple")
        sides = {
            ("3", must): (
                function_population_gradient(function, weights, population, simple),
                operator_form(of_a_sample, weights, population, simple),
            ),
            ("4 exact", must): (
                exact_form_gradient(function, weights, population, infonce),
                operator_form(of_a_sample, weights, population, infonce),
            ),
        }
        if function is frozen:
            sides["3 general", True] = (
                sides["3", must][0], general_update(function, weights, population, simple)
            )  # fmt: skip
        for (statement, holds), (left, right) in sides.items():
            # Above the batch normalisation the second layer is a plain one: there the statement is still true.
            found += [
                Check(part, statement, f"W_{layer}", residual, holds or (layer == 2))
                for layer, residual in enumerate(relative(left, right), start=1)
            ]
    return found


def network_function(network: Network) -> tuple[NetworkFunction, dict[str, Tensor]]:
    """The whole network with outputs of unit length as a function of its parameters, and these by name."""
    shape = network.shape
    held = {name: value.detach() for name, value in network.named_parameters()}
    names = list(held)

    def function(parameters: list[Tensor], x: Tensor) -> Tensor:
        images = x.reshape(-1, shape.channels, shape.side, shape.side)
        outputs = functional_call(network, dict(zip(names, parameters, strict=True)), (images,))
        return functional.normalize(outputs, dim=-1)

    return function, held


def network_checks(network: Network, population: FinitePopulation, tau: float) -> list[Check]:
    """The general form of statements 3 and 4 on every layer of a convnet without batch normalisation.

    Parameters
    ----------
    network : Network
        In float64.
    population : FinitePopulation
        Of images.
    tau : float
        Temperature of the training.
    """
    function, held = network_function(network)
    parameters = list(held.values())
    simple, infonce = loss_spec("simple"), loss_spec("infonce", tau=tau)
    sides = {
        "3 general": (
            function_population_gradient(function, parameters, population, simple),
            general_update(function, parameters, population, simple),
        ),
        "4 exact general": (
            exact_form_gradient(function, parameters, population, infonce),
            general_update(function, parameters, population, infonce),
        ),
    }
    return [
        Check("convnet", statement, name, residual, must_hold=True)
        for statement, (left, right) in sides.items()
        for name, residual in zip(held, relative(left, right), strict=True)
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
    right = general_update(function, parameters, population, spec)
    outputs = function(list(parameters), population.flat_points)
    mean = population.mean(outputs).repeat_interleave(population.augmentations, dim=0)
    spread = float((population.flat_weights @ (outputs - mean).square().sum(-1)).sqrt())
    theta = _norm([a - b for a, b in zip(left, right, strict=True)])
    return Residue(part, strength, spread, theta, _norm(left))


def residues(
    network: Network, populations: Callable[[float], FinitePopulation], strengths: Sequence[float], tau: float
) -> list[Residue]:
    """The residue against the strength of the augmentation, on the head and on the whole network.

    Parameters
    ----------
    network : Network
        In float64, without batch normalisation.
    populations : callable
        Images with augmentations of a strength.
    strengths : sequence of float
    tau : float
        Temperature of the training; the head, whose outputs are not normalised, is given the mean distance of its
        outputs at full strength.
    """
    function, held = network_function(network)
    weights = [network.head.first.weight.detach(), network.head.second.weight.detach()]
    whole = features(network, populations(1.0))
    scale = typical_distance(_tower(weights, whole.flat_points), whole)
    found = []
    for strength in strengths:
        images = populations(strength)
        found.append(residue("head", _tower, weights, features(network, images), strength, scale))
        found.append(residue("convnet", function, list(held.values()), images, strength, tau))
    return found


def operator_sizes(network: Network, population: Float[Tensor, "M A d"] | FinitePopulation) -> list[OperatorSize]:
    """Size of ``V_x[Kbar_l]`` of both layers of the head, dense, on a population of features.

    The effective rank is ``tr(OP)^2 / ||OP||_F^2``.
    """
    held = population if isinstance(population, FinitePopulation) else FinitePopulation(population)
    weights = [network.head.first.weight.detach().double(), network.head.second.weight.detach().double()]
    found = []
    for layer in (1, 2):
        operator = covariance_operator(weights, held, layer)
        trace = float(operator.trace())
        top = float(torch.linalg.eigvalsh(operator)[-1])
        found.append(OperatorSize(layer, trace, top, trace**2 / float(operator.square().sum())))
    return found


def has_batch_norm(network: Network) -> bool:
    """Whether any part of it normalises by the batch."""
    return any(isinstance(module, BatchNorm) for module in network.modules())
