"""BYOL on a finite population: the exact expected gradient by autograd, and its operator form.

``L = E 1/2 ||P f(x_1; W) - sg f(x_+; W')||^2`` over independent augmentations of a point, with a linear predictor P and a
target network that no gradient reaches. With zero mean each tower's expected output is subtracted first.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, Weights, as_floating, check_finite, check_single
from numeric.towers.connection import connections
from numeric.towers.network import forward, unvec, vec
from numeric.towers.populations import FinitePopulation

MEANS = ("kept", "subtracted", "detached")
Predictor = Callable[[Tensor], Tensor]


def byol_loss(
    outputs: Float[Tensor, "MA n_L"],
    targets: Float[Tensor, "MA n_L"],
    population: FinitePopulation,
    predictor: "Float[Tensor, 'n_L n_L'] | Predictor | None" = None,
    mean: str = "kept",
) -> Float[Tensor, ""]:
    """Expected BYOL loss of two tables of outputs, as the literal sum over both augmentations.

    Parameters
    ----------
    outputs, targets : Tensor
        Outputs of the online and of the target network at all augmented points, ``(M A, n_L)``; the targets are
        detached here.
    population : FinitePopulation
        Points and augmentations with their weights.
    predictor : Tensor or callable, optional
        Matrix, or a function of a batch of outputs; the identity by default.
    mean : str
        "kept"; "subtracted": minus the expected output of each tower; "detached": no gradient through that mean.

    Returns
    -------
    Tensor
        A scalar, differentiable in ``outputs`` and in what the predictor is made of.

    Source
    ------
    arXiv 2010.00578 versions 1 to 3; pack byol-update.

    Examples
    --------
    >>> population = FinitePopulation([[[1.0], [3.0]]])
    >>> float(byol_loss(population.flat_points, population.flat_points, population))
    1.0
    """
    if mean not in MEANS:
        raise InputError(f"mean={mean!r}: must be one of {', '.join(MEANS)}")
    targets = targets.detach()
    if mean != "kept":
        centre = population.flat_weights @ outputs
        outputs = outputs - (centre.detach() if mean == "detached" else centre)
        targets = targets - population.flat_weights @ targets
    if predictor is not None:
        outputs = outputs @ predictor.T if isinstance(predictor, Tensor) else predictor(outputs)
    shape = (population.size, population.augmentations, -1)
    online, other = outputs.reshape(shape), targets.reshape(shape)
    distances = 0.5 * (online[:, :, None] - other[:, None, :]).square().sum(-1)
    inner = population.augmentation_weights
    return torch.einsum("m,ma,mb,mab->", population.point_weights, inner, inner, distances)


def byol_gradient(
    weights: Weights,
    population: FinitePopulation,
    predictor: Any = None,
    target: Weights | None = None,
    slope: Real = 0.0,
    mean: str = "kept",
) -> tuple[list[Tensor], Tensor | None]:
    """``-E[grad L]`` of every layer and of a predictor matrix, by autograd.

    Parameters
    ----------
    weights : sequence of arrays
        Online tower, ``(n_l, n_{l-1})`` each.
    population : FinitePopulation
        Points and augmentations with their weights.
    predictor : array or callable, optional
        Matrix ``(n_L, n_L)`` or a function; the identity by default.
    target : sequence of arrays, optional
        Weights of the target tower; those of the online tower by default.
    slope : float
        Slope of the activation below zero.
    mean : str
        As in :func:`byol_loss`.

    Returns
    -------
    list of Tensor, Tensor or None
        One matrix for each layer, shaped as the weights; that of a predictor matrix.

    Raises
    ------
    InputError
        For towers whose outputs differ in size, or a predictor of another shape.

    Source
    ------
    arXiv 2010.00578 versions 1 to 3; pack byol-update.

    Examples
    --------
    >>> layers, by_predictor = byol_gradient([[[1.0]]], FinitePopulation([[[1.0], [3.0]]]), [[0.5]])
    >>> layers[0].tolist(), by_predictor.tolist()
    ([[0.75]], [[1.5]])
    """
    online, other, matrix = _checked(weights, target, predictor, population)
    leaves = [layer.detach().requires_grad_() for layer in online]
    given: Any = predictor if matrix is None else matrix.detach().requires_grad_()
    points = population.flat_points
    value = byol_loss(forward(leaves, points, slope), forward(other, points, slope), population, given, mean)
    wanted = leaves if matrix is None else [*leaves, given]
    found = torch.autograd.grad(value, wanted, allow_unused=True, materialize_grads=True)
    descent = [-gradient for gradient in found]
    return descent[: len(leaves)], (None if matrix is None else descent[-1])


def byol_update(
    weights: Weights,
    population: FinitePopulation,
    predictor: Any = None,
    target: Weights | None = None,
    slope: Real = 0.0,
    mean: str = "kept",
) -> list[Tensor]:
    """Operator form of the expected BYOL update, by dense connections.

    ``-E_x V_aug[K P^T] vec W - E_x[Kbar P^T P Kbar^T] vec W + E_x[Kbar P^T Kbar'^T] vec W'``; with the mean subtracted the
    two second moments over x become (co)variances.

    Parameters
    ----------
    weights, population, predictor, target, slope
        As in :func:`byol_gradient`; the predictor is a matrix.
    mean : str
        "kept" or "subtracted".

    Returns
    -------
    list of Tensor
        One matrix for each layer, shaped as the weights.

    Source
    ------
    arXiv 2010.00578 versions 1 to 3; pack byol-update.

    Examples
    --------
    >>> population = FinitePopulation([[[1.0], [3.0]], [[0.0], [2.0]]])
    >>> update = byol_update([[[1.0]]], population, [[0.5]])
    >>> torch.equal(update[0], byol_gradient([[[1.0]]], population, [[0.5]])[0][0])
    True
    """
    if mean not in MEANS[:2]:
        raise InputError(f"mean={mean!r}: must be one of {', '.join(MEANS[:2])}")
    online, other, matrix = _checked(weights, target, predictor, population)
    if matrix is None:
        if predictor is not None:
            raise InputError("predictor of byol_update: must be a matrix; the operator form is linear")
        matrix = torch.eye(online[-1].shape[-2], dtype=online[-1].dtype, device=online[-1].device)
    points, p = population.flat_points, population.point_weights
    update = []
    for mine, theirs, layer, beside in zip(
        connections(online, points, slope), connections(other, points, slope), online, other, strict=True
    ):
        through = mine @ matrix.T
        average, other_average = population.mean(through), population.mean(theirs)
        column, other_column = vec(layer), vec(beside)
        # Deviations are formed before they are squared.
        deviation = through.unflatten(0, (population.size, -1)) - average[:, None]
        inside = torch.einsum("mapn,maqn,ma,m,q->p", deviation, deviation, population.augmentation_weights, p, column)
        if mean == "subtracted":
            average = average - torch.tensordot(p, average, dims=1)
            other_average = other_average - torch.tensordot(p, other_average, dims=1)
        pull = torch.einsum("mpn,mqn,m,q->p", average, other_average, p, other_column)
        push = torch.einsum("mpn,mqn,m,q->p", average, average, p, column)
        update.append(unvec(pull - push - inside, layer.shape[-2]))
    return update


def _checked(
    weights: Weights, target: Weights | None, predictor: Any, population: FinitePopulation
) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
    """Both towers, and the predictor where it is a matrix."""
    online = list(check_single(weights))
    other = online if target is None else list(check_single(target, place="target"))
    size = online[-1].shape[-2]
    for place, tower in (("weights", online), ("target", other)):
        if tower[0].shape[-1] != population.dimension:
            raise InputError(f"{place}[0] has {tower[0].shape[-1]} columns: must have {population.dimension}")
    if other[-1].shape[-2] != size:
        raise InputError(f"target has {other[-1].shape[-2]} outputs: must have {size}, those of weights")
    if predictor is None or callable(predictor):
        return online, other, None
    matrix = as_floating(predictor, "predictor").to(online[0])
    check_finite(matrix, "predictor")
    if tuple(matrix.shape) != (size, size):
        raise InputError(f"predictor has shape {tuple(matrix.shape)}: must be {(size, size)}")
    return online, other, matrix
