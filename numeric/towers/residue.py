"""Statement 4 beyond the operator: the residue theta at second order in the spread of the augmentation."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, Weights, check_single
from numeric.towers.losses import LossSpec, loss_spec, pair_weight
from numeric.towers.network import forward
from numeric.towers.populations import FinitePopulation


def pair_weight_derivatives(spec: str | LossSpec, distances: Float[Tensor, "*batch"]) -> tuple[Tensor, Tensor, Tensor]:
    """``xi``, ``xi'`` and ``xi''`` of a loss with one negative.

    Parameters
    ----------
    spec : str or LossSpec
        The loss, with one negative; a name stands for the loss at its default parameters.
    distances : Tensor
        ``r``, any shape.

    Returns
    -------
    (Tensor, Tensor, Tensor)
        Shapes of ``distances``: ``xi``, ``-xi (1 - xi)/tau`` and ``xi (1 - xi)(1 - 2 xi)/tau^2``; 1, 0, 0 of the simple
        loss.

    Raises
    ------
    InputError
        An unknown loss, or one with several negatives.

    Source
    ------
    Pack residue-order-two.

    Examples
    --------
    >>> pair_weight_derivatives(loss_spec("triplet", tau=0.5, margin=1.0), torch.ones(1))[:2]
    (tensor([0.5000]), tensor([-0.5000]))
    """
    spec = loss_spec(spec)
    if spec.negatives != 1:
        raise InputError(f"negatives={spec.negatives} of loss {spec.name!r}: must be 1 for the second order of theta")
    weight = pair_weight(spec, distances.unsqueeze(-1)).squeeze(-1)
    if spec.name == "simple":
        return weight, torch.zeros_like(weight), torch.zeros_like(weight)
    slope = -weight * (1 - weight) / spec.tau
    return weight, slope, slope * (2 * weight - 1) / spec.tau


def leading_residue(
    weights: Weights,
    population: FinitePopulation,
    loss: str | LossSpec = "infonce",
    slope: Real = 0.0,
    **loss_parameters: Any,
) -> list[Tensor]:
    """Second-order part of ``theta = -E[grad] - V^xi vec W`` of every layer (shared convention, one negative).

    ``E[2 xi' <phi, Delta> (kappa Delta + dK phi) + xi'' <phi, Delta>^2 dK Delta]`` with ``phi = f - fbar``,
    ``kappa = K - Kbar``, ``Delta = fbar(x) - fbar(x')``, ``dK = Kbar(x) - Kbar(x')`` and r between augmentation means.

    Parameters
    ----------
    weights : sequence of arrays
        ``W_1 .. W_L`` of one network.
    population : FinitePopulation
        Points and augmentations.
    loss : str
        ``"simple"``, ``"triplet"`` or ``"infonce"``.
    slope : float
        Slope of the activation below zero, in [0, 1].
    **loss_parameters
        ``tau``, ``margin``.

    Returns
    -------
    list of Tensor
        One matrix per layer, shaped as the weights; zero for the simple loss.

    Raises
    ------
    InputError
        Inputs that are not allowed, or several negatives.

    Source
    ------
    Pack residue-order-two; completes statement 4.

    Examples
    --------
    >>> population = FinitePopulation([[[-0.1], [0.1]], [[1.0], [1.0]]])
    >>> leading_residue([[[1.0]]], population, "infonce", 1.0, tau=1.0)
    [tensor([[-0.0022]], dtype=torch.float64)]
    """
    spec = loss_spec(loss, **loss_parameters)
    leaves = [layer.detach().requires_grad_() for layer in check_single(weights)]
    outputs = forward(leaves, population.flat_points, slope)
    shape = (population.size, population.augmentations, -1)
    return list(torch.autograd.grad((outputs.reshape(shape) * _pushes(outputs, population, spec)).sum(), leaves))


@torch.no_grad()
def _pushes(outputs: Tensor, population: FinitePopulation, spec: LossSpec) -> Tensor:
    """Vectors u with ``theta_2 = sum_{x,a} K(x;a) u(x;a)``, ``(M, A, n_L)``."""
    p, q = population.point_weights, population.augmentation_weights
    mean = population.mean(outputs)
    phi = outputs.reshape(population.size, population.augmentations, -1) - mean[:, None]
    gap = mean[:, None] - mean[None]
    _, first, second = pair_weight_derivatives(spec, 0.5 * gap.square().sum(-1))
    along = torch.einsum("mai,mni->mna", phi, gap)
    joint = (p[:, None] * p)[..., None] * q[:, None, :]
    # phi has mean 0, so that kappa = K - Kbar may be replaced by K in its term.
    linear, square = 2 * joint * first[..., None] * along, joint * second[..., None] * along.square()
    direct = torch.einsum("mna,mni->mai", linear, gap)
    pair = torch.einsum("mna,mai->mni", linear, phi) + square.sum(-1, keepdim=True) * gap
    return direct + q[..., None] * (pair.sum(1) - pair.sum(0))[:, None]
