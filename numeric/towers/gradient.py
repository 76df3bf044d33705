"""Gradients by autograd: of the distance of one pair, and of expected losses over a finite population.

This is the side that the formulas of statements 1, 3 and 4 are held against. It runs the network forward,
writes the expectation as a literal finite sum and differentiates; it never uses a connection.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.expectation import check_convention, expected_loss_of_outputs, squared_distance
from numeric.towers.checks import Real, Weights, check_finite, check_single
from numeric.towers.losses import LossSpec, loss_spec
from numeric.towers.network import forward
from numeric.towers.populations import FinitePopulation


def _output(weights: list[Tensor], x: Tensor, slope: Real, output: str) -> Tensor:
    """Output of a tower for one sample, normalised on request."""
    top = forward(weights, x.unsqueeze(0), slope).squeeze(0)
    if output == "linear":
        return top
    norm = torch.linalg.vector_norm(top)
    if bool(norm == 0):
        raise InputError("output of the sample is zero: cannot be normalised")
    direction: Tensor = top / norm
    return direction


def pair_gradient(
    weights_1: Weights,
    weights_2: Weights,
    x_1: Float[Tensor, " d"],
    x_2: Float[Tensor, " d"],
    slope: Real = 0.0,
    output: str = "linear",
) -> list[Tensor]:
    """Gradient of ``r = 1/2 ||f(x_1; W_1) - f(x_2; W_2)||^2`` in the first tower's weights, by autograd.

    Parameters
    ----------
    weights_1, weights_2 : sequence of arrays
        Two towers whose outputs have one size, shared or not.
    x_1, x_2 : Tensor
        One input each, ``(d,)``.
    slope : float
        Slope of the activation below zero, in [0, 1].
    output : str
        ``"linear"``, or ``"normalized"`` for ``f_L = u / ||u||``.

    Returns
    -------
    list of Tensor
        ``dr/dW_{1,l}``, one matrix per layer.

    Raises
    ------
    InputError
        Inputs that are not allowed, or a zero output that cannot be normalised.

    Source
    ------
    Left side of statement 1.

    Examples
    --------
    >>> one = torch.ones(1)
    >>> pair_gradient([[[2.0]]], [[[0.5]]], one.double(), one.double())
    [tensor([[1.5000]], dtype=torch.float64)]
    """
    if output not in ("linear", "normalized"):
        raise InputError(f"output={output!r}: must be 'linear' or 'normalized'")
    first = [layer.requires_grad_() for layer in check_single(weights_1, "weights_1")]
    second = check_single(weights_2, "weights_2")
    if first[-1].shape[0] != second[-1].shape[0]:
        sizes = f"{first[-1].shape[0]} and {second[-1].shape[0]}"
        raise InputError(f"outputs of weights_1 and weights_2: {sizes} entries: must have one size")
    check_finite(x_1, "x_1")
    check_finite(x_2, "x_2")
    distance = squared_distance(_output(first, x_1, slope, output), _output(second, x_2, slope, output))
    return list(torch.autograd.grad(distance, first))


def expected_loss(
    weights: Weights,
    population: FinitePopulation,
    loss: str | LossSpec,
    slope: Real = 0.0,
    *,
    convention: str = "shared",
    **loss_parameters: Any,
) -> Float[Tensor, ""]:
    """Expected loss over a finite population, a literal sum over points, augmentations and negatives.

    Parameters
    ----------
    weights : sequence of arrays
        ``W_1 .. W_L`` of one network; tensors that require gradients give a differentiable result.
    population : FinitePopulation
        Points and augmentations.
    loss : str
        ``"simple"``, ``"triplet"`` or ``"infonce"``.
    slope : float
        Slope of the activation below zero, in [0, 1].
    convention : str
        ``"shared"``: gradients flow through all towers; ``"one-branch"``: through that of ``x_1`` only. The
        value is the same.
    **loss_parameters
        ``tau``, ``margin``, ``negatives``.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    InputError
        Inputs that are not allowed, or a sum of more terms than the limit.

    Source
    ------
    Sections 0 and 2 of the notes.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> float(expected_loss([[[1.0]]], population, "simple"))
    -2.25
    """
    spec = loss_spec(loss, **loss_parameters)
    check_convention(convention)
    layers = check_single(weights)
    if torch.is_grad_enabled():
        layers = [given if isinstance(given, Tensor) else kept for given, kept in zip(weights, layers, strict=True)]
    outputs = forward(layers, population.flat_points, slope)
    others = outputs if convention == "shared" else outputs.detach()
    return expected_loss_of_outputs(outputs, others, population, spec)


def population_gradient(
    weights: Weights,
    population: FinitePopulation,
    loss: str | LossSpec,
    slope: Real = 0.0,
    *,
    convention: str = "shared",
    **loss_parameters: Any,
) -> list[Tensor]:
    """Exact ``-E[grad]`` of the loss over a finite population, by autograd of :func:`expected_loss`.

    Parameters
    ----------
    weights, population, loss, slope, convention, **loss_parameters
        As in :func:`expected_loss`.

    Returns
    -------
    list of Tensor
        One matrix per layer, shaped as the weights.

    Raises
    ------
    InputError
        As :func:`expected_loss`.

    Source
    ------
    Left side of statements 3 and 4.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> population_gradient([[[1.0]]], population, "simple")
    [tensor([[4.5000]], dtype=torch.float64)]
    """
    with torch.enable_grad():
        layers = [layer.requires_grad_() for layer in check_single(weights)]
        value = expected_loss(layers, population, loss, slope, convention=convention, **loss_parameters)
        return [-gradient for gradient in torch.autograd.grad(value, layers)]
