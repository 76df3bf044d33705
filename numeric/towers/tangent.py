"""The tangent kernel of a tower, and the flow of its outputs under the simple loss.

``Theta(z, x) = sum_l K_l(z)^T K_l(x)`` over all layers; ``df(z)/dt = 2 Cov_x[Thetabar(z, x), fbar(x)]`` (shared).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Layers, Real, Weights, as_floating, check_finite, check_single
from numeric.towers.connection import connections
from numeric.towers.network import forward
from numeric.towers.populations import FinitePopulation


def tangent_kernel(weights: Weights, z: Any, x: Any, slope: Real = 0.0) -> Float[Tensor, "Z X n_L n_L"]:
    """Tangent kernel of two lists of inputs, summed over all layers.

    Parameters
    ----------
    weights : sequence of arrays
        One tower, ``(n_l, n_{l-1})`` each.
    z, x : array
        Inputs, one a row, ``(Z, d)`` and ``(X, d)``.
    slope : float
        Slope of the activation below zero.

    Returns
    -------
    Tensor
        ``Theta[i, j] = (df(z_i)/dW)(df(x_j)/dW)^T``.

    Raises
    ------
    InputError
        For inputs of another width than the tower takes, or not finite.

    Source
    ------
    Pack function-space.

    Examples
    --------
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> tangent_kernel([[[2.0]], [[3.0]]], one, 2 * one).tolist()
    [[[[26.0]]]]
    """
    tower = check_single(weights)
    left, right = (_checked(tower, name, inputs) for name, inputs in (("z", z), ("x", x)))
    first, second = (connections(tower, inputs, slope) for inputs in (left, right))
    return torch.stack([torch.einsum("zpi,xpj->zxij", a, b) for a, b in zip(first, second, strict=True)]).sum(0)


def output_flow(weights: Weights, population: FinitePopulation, z: Any, slope: Real = 0.0) -> Float[Tensor, "Z n_L"]:
    """Rate of the outputs at some inputs under the gradient flow of the simple loss, by the tangent kernel.

    Parameters
    ----------
    weights, z, slope
        As in :func:`tangent_kernel`.
    population : FinitePopulation
        Points and augmentations with their weights.

    Returns
    -------
    Tensor
        ``df(z_i)/dt = 2 Cov_x[Thetabar(z_i, x), fbar(x)]``, shared convention.

    Raises
    ------
    InputError
        As :func:`tangent_kernel`.

    Source
    ------
    Pack function-space.

    Examples
    --------
    >>> population = FinitePopulation([[[0.0], [2.0]], [[4.0], [4.0]]])
    >>> output_flow([[[1.0]]], population, torch.tensor([[1.0], [-2.0]], dtype=torch.float64)).flatten().tolist()
    [4.5, -9.0]
    """
    tower, points = check_single(weights), population.flat_points
    _checked(tower, "points of the population", points)
    kernel = tangent_kernel(tower, z, points, slope).transpose(0, 1)
    means = population.mean(kernel.flatten(1)).unflatten(1, kernel.shape[1:])
    outputs = population.mean(forward(tower, points.to(tower[0]), slope))
    centred = outputs - population.point_weights @ outputs
    return 2 * torch.einsum("m,mzij,mj->zi", population.point_weights, means, centred)


def _checked(tower: Layers, name: str, inputs: Any) -> Tensor:
    """Inputs as a tensor like the weights, one a row."""
    found = as_floating(inputs, name)
    if found.ndim != 2 or found.shape[1] != tower[0].shape[-1]:
        raise InputError(f"{name} of shape {tuple(found.shape)}: must have rows of {tower[0].shape[-1]} entries")
    check_finite(found, name)
    return found.to(tower[0])
