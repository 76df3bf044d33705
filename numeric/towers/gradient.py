"""Gradients by autograd: of the distance of one pair, and of expected losses over a finite population.

This is the side that the formulas of statements 1, 3 and 4 are held against. It runs the network forward,
writes the expectation as a literal finite sum and differentiates; it never uses a connection.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hltm.base.errors import InputError
from numeric.towers.checks import Real, Weights, check_finite, check_single
from numeric.towers.losses import LossSpec, loss_spec, loss_value
from numeric.towers.network import forward
from numeric.towers.populations import FinitePopulation

# Expected contrastive losses as literal finite sums over outputs, in chunks that keep memory bounded.

TERM_LIMIT = 10**9
_CHUNK = 2**17  # terms per block: small enough for the cache


def count_terms(population: FinitePopulation, spec: LossSpec) -> int:
    """Number of terms of the sum: ``M A^2 (M A)^H``; the simple loss separates into its two distances."""
    points = population.size * population.augmentations
    positives = points * population.augmentations
    tuples: int = points**spec.negatives
    terms = positives + points**2 if spec.name == "simple" else positives * tuples
    if terms > TERM_LIMIT:
        sizes = f"{population.size} points x {population.augmentations} augmentations, {spec.negatives} negatives"
        raise InputError(f"loss {spec.name!r} over {sizes}: {terms} terms: must be at most {TERM_LIMIT}")
    return terms


def check_convention(convention: str) -> str:
    """The convention of the update: gradient through all towers, or through that of ``x_1`` only."""
    if convention not in ("shared", "one-branch"):
        raise InputError(f"convention={convention!r}: must be 'shared' or 'one-branch'")
    return convention


def squared_distance(first: Float[Tensor, "*batch n"], second: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """``r = 1/2 ||first - second||^2`` along the last axis, by explicit differences."""
    return 0.5 * (first - second).square().sum(-1)


def _block(
    anchors: Tensor, others: Tensor, rows: slice, tuples: slice, population: FinitePopulation, spec: LossSpec
) -> Tensor:
    """Sum over the anchors of ``rows``, all positives, and the tuples of negatives numbered ``tuples``."""
    count, augmentations = len(others), population.augmentations
    chosen, weights = anchors[rows], population.flat_weights
    point = torch.arange(rows.start, rows.stop, device=others.device) // augmentations
    positives = others.unflatten(0, (-1, augmentations))[point]
    r_pos = squared_distance(chosen.unsqueeze(1).expand_as(positives), positives)
    r_all = squared_distance(chosen.unsqueeze(1).expand(-1, count, -1), others.unsqueeze(0).expand(len(chosen), -1, -1))
    share = population.augmentation_weights[point]
    if spec.name == "simple":
        return weights[rows] @ ((share * r_pos).sum(-1) - r_all @ weights)
    number = torch.arange(tuples.start, tuples.stop, device=others.device)
    digits = [(number // count**k) % count for k in range(spec.negatives)]
    index = torch.stack(digits, dim=-1)
    shape = (len(chosen), augmentations, len(number))
    values = loss_value(
        spec,
        r_pos.unsqueeze(-1).expand(shape),
        r_all[:, index].unsqueeze(1).expand(*shape, spec.negatives),
    )
    return weights[rows] @ ((values @ weights[index].prod(-1)) * share).sum(-1)


def _blocks(population: FinitePopulation, spec: LossSpec) -> Iterator[tuple[slice, slice]]:
    """Cut the sum into blocks of anchors and tuples of negatives of bounded size."""
    count = population.size * population.augmentations
    tuples = 1 if spec.name == "simple" else count**spec.negatives
    width = max(count, population.augmentations * tuples)
    rows, step = max(1, _CHUNK // width), max(1, min(tuples, _CHUNK // population.augmentations))
    for start in range(0, count, rows):
        for first in range(0, tuples, step):
            yield slice(start, min(start + rows, count)), slice(first, min(first + step, tuples))


class _LossSum(torch.autograd.Function):
    """The sum of all blocks; autograd differentiates each right after it was summed, so that one is held."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, others: Tensor, population: FinitePopulation, spec: LossSpec) -> Tensor:
        """Sum the blocks; keep the gradients in both tables of outputs where they will be asked for."""
        needed = ctx.needs_input_grad[:2]
        first = anchors.detach().requires_grad_(needed[0])
        second = others.detach().requires_grad_(needed[1])
        wanted = [table for table in (first, second) if table.requires_grad]
        gradients = [torch.zeros_like(table) for table in wanted]
        total = anchors.new_zeros(())
        for rows, tuples in _blocks(population, spec):
            with torch.set_grad_enabled(bool(wanted)):
                block = _block(first, second, rows, tuples, population, spec)
            if wanted:
                for kept, result in zip(gradients, torch.autograd.grad(block, wanted), strict=True):
                    kept += result
            total += block.detach()
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Hand the kept gradients on."""
        kept = iter(ctx.saved_tensors)
        first, second = (outer * next(kept) if need else None for need in ctx.needs_input_grad[:2])
        return first, second, None, None


def expected_loss_of_outputs(
    anchors: Float[Tensor, "MA n_L"],
    others: Float[Tensor, "MA n_L"],
    population: FinitePopulation,
    spec: LossSpec,
) -> Float[Tensor, ""]:
    """Expected loss of a table of outputs, differentiable, as a literal sum over all index tuples."""
    count_terms(population, spec)
    total: Tensor = _LossSum.apply(anchors, others, population, spec)
    return total


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
        layers = [
            argument if isinstance(argument, Tensor) else kept for argument, kept in zip(weights, layers, strict=True)
        ]
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
