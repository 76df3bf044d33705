"""The covariance loss on a finite population: its value as a literal sum, and the operator form of its descent.

``L = E[xi ((1 + beta) r_+ - r_-)]`` with symmetric pair weights ``xi(x, x')`` held fixed while differentiating: the
expected step is ``V^xi[Kbar - Kbar'] vec W - 2 beta E[xi (K - Kbar)(K - Kbar)^T] vec W``, with no residue.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, Weights, as_floating, as_number, check_finite, check_single
from numeric.towers.connection import connections
from numeric.towers.network import unvec, vec
from numeric.towers.populations import FinitePopulation
from numeric.towers.spectral import check_rows


def covariance_loss(
    outputs: Float[Tensor, "MA n_L"], population: FinitePopulation, pair_weights: Any, beta: Real = 0.0
) -> Float[Tensor, ""]:
    """Expected covariance loss of a table of outputs, as the literal sum over points and augmentations.

    Parameters
    ----------
    outputs : Tensor
        Outputs at all augmented points, ``(M A, n_L)``; differentiable through every tower (shared convention).
    population : FinitePopulation
        Points and augmentations with their weights.
    pair_weights : array
        ``xi(x, x')``, symmetric, ``(M, M)``; detached here.
    beta : float
        Strength of the within-pair term, of either sign: below 0 it pushes the views of a point apart.

    Returns
    -------
    Tensor
        A scalar, differentiable in ``outputs``.

    Raises
    ------
    InputError
        For another number of rows, weights of another shape, not finite or not symmetric, or a strength that is not
        finite.

    Source
    ------
    arXiv 2010.00578, Theorem 4; pack covariance-loss.

    Examples
    --------
    >>> population = FinitePopulation([[[0.0], [2.0]], [[4.0], [4.0]]])
    >>> float(covariance_loss(population.flat_points, population, torch.ones(2, 2)))
    -2.25
    """
    check_rows(outputs, population)
    xi, strength = _checked(population, pair_weights, beta, outputs)
    table = outputs.reshape(population.size, population.augmentations, -1)
    distances = 0.5 * (table[:, :, None, None] - table).square().sum(-1)
    p, inner = population.point_weights, population.augmentation_weights
    near = torch.einsum("mamb->mab", distances)
    pull = torch.einsum("m,n,mn,ma,mb,mab->", p, p, xi, inner, inner, near)
    push = torch.einsum("m,n,mn,ma,nb,manb->", p, p, xi, inner, inner, distances)
    return (1 + strength) * pull - push


def covariance_loss_update(
    weights: Weights, population: FinitePopulation, pair_weights: Any, beta: Real = 0.0, slope: Real = 0.0
) -> list[Tensor]:
    """Operator form of the expected step of :func:`covariance_loss`, by dense connections.

    Parameters
    ----------
    weights : sequence of arrays
        One tower, ``(n_l, n_{l-1})`` each.
    population, pair_weights, beta
        As in :func:`covariance_loss`.
    slope : float
        Slope of the activation below zero.

    Returns
    -------
    list of Tensor
        One matrix for each layer, shaped as the weights.

    Raises
    ------
    InputError
        As :func:`covariance_loss`, or for inputs that do not fit the tower.

    Source
    ------
    arXiv 2010.00578, Theorem 4; pack covariance-loss.

    Examples
    --------
    >>> population = FinitePopulation([[[0.0], [2.0]], [[4.0], [4.0]]])
    >>> float(covariance_loss_update([[[1.0]]], population, torch.ones(2, 2))[0])
    4.5
    >>> float(covariance_loss_update([[[1.0]]], population, torch.ones(2, 2), beta=-0.5)[0])
    5.0
    """
    tower = check_single(weights)
    if tower[0].shape[-1] != population.dimension:
        raise InputError(f"weights[0] has {tower[0].shape[-1]} columns: must have {population.dimension}")
    xi, strength = _checked(population, pair_weights, beta, tower[0])
    pairs = population.point_weights[:, None] * xi * population.point_weights
    update = []
    for layer, matrix in zip(connections(tower, population.flat_points, slope), tower, strict=True):
        average, column = population.mean(layer), vec(matrix)
        apart = average[:, None] - average
        # Deviations are formed before they are squared.
        deviation = layer.unflatten(0, (population.size, -1)) - average[:, None]
        between = torch.einsum("mn,mnpc,mnqc,q->p", pairs, apart, apart, column)
        shares = pairs.sum(1)[:, None] * population.augmentation_weights
        within = torch.einsum("ma,mapc,maqc,q->p", shares, deviation, deviation, column)
        update.append(unvec(between - 2 * strength * within, matrix.shape[-2]))
    return update


def _checked(population: FinitePopulation, pair_weights: Any, beta: Real, like: Tensor) -> tuple[Tensor, float]:
    """The pair weights, detached, and the strength as a number."""
    xi = as_floating(pair_weights, "pair_weights").detach().to(like)
    shape = (population.size, population.size)
    if tuple(xi.shape) != shape:
        raise InputError(f"pair_weights of shape {tuple(xi.shape)}: must be {shape}, one entry for each two points")
    check_finite(xi, "pair_weights")
    gap = float((xi - xi.T).abs().max())
    if gap > 64 * torch.finfo(xi.dtype).eps * float(xi.abs().max()):
        raise InputError(f"pair_weights: differ by {gap:.3g} from their transpose: must be symmetric")
    strength = as_number(beta)
    if math.isnan(strength):
        raise InputError(f"beta={beta!r}: must be a finite number, of either sign")
    return xi, strength
