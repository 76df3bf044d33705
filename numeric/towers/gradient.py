"""Gradients by autograd: of the distance of one pair, and of expected losses over a finite population.

The formulas of statements 1, 3 and 4 are compared with these. An expectation is a literal finite sum over
outputs, in chunks that keep memory bounded; no connection is used.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hltm.base.errors import InputError
from numeric.towers.checks import Layers, Real, Weights, check_finite, check_output, check_single
from numeric.towers.losses import LossSpec, loss_spec, loss_value
from numeric.towers.network import forward, slices
from numeric.towers.populations import FinitePopulation

TERM_LIMIT = 10**9
TableLoss = Callable[..., Tensor]
"""A loss of a table of outputs and its population."""
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
        spec, r_pos.unsqueeze(-1).expand(shape), r_all[:, index].unsqueeze(1).expand(*shape, spec.negatives)
    )
    return weights[rows] @ ((values @ weights[index].prod(-1)) * share).sum(-1)


def _blocks(population: FinitePopulation, spec: LossSpec) -> Iterator[tuple[slice, slice]]:
    """Cut the sum into blocks of anchors and tuples of negatives of bounded size."""
    count = population.size * population.augmentations
    tuples = 1 if spec.name == "simple" else count**spec.negatives
    width = max(count, population.augmentations * tuples)
    yield from product(slices(count, _CHUNK // width), slices(tuples, _CHUNK // population.augmentations))


class _LossSum(torch.autograd.Function):
    """Sum of all blocks; each is differentiated right after it is summed, so that memory holds one."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, others: Tensor, population: FinitePopulation, spec: LossSpec) -> Tensor:
        """Sum the blocks; save the gradients that `ctx` needs."""
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
                for gradient, change in zip(gradients, torch.autograd.grad(block, wanted), strict=True):
                    gradient += change
            total += block.detach()
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Scale the saved gradients."""
        saved = iter(ctx.saved_tensors)
        first, second = (outer * next(saved) if need else None for need in ctx.needs_input_grad[:2])
        return first, second, None, None


def expected_loss_of_outputs(
    outputs: Float[Tensor, "MA n_L"], population: FinitePopulation, spec: LossSpec, convention: str
) -> Float[Tensor, ""]:
    """Expected loss of a table of outputs, differentiable, as a literal sum over all index tuples.

    The gradient goes through all towers (``"shared"``), or through that of ``x_1`` only (``"one-branch"``).
    """
    if convention not in ("shared", "one-branch"):
        raise InputError(f"convention={convention!r}: must be 'shared' or 'one-branch'")
    count_terms(population, spec)
    others = outputs if convention == "shared" else outputs.detach()
    total: Tensor = _LossSum.apply(outputs, others, population, spec)
    return total


def _output(weights: Layers, x: Tensor, slope: Real, output: str) -> Tensor:
    """Output of a tower for one sample, linear or normalised."""
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
    check_output(output)
    first = Layers(layer.detach().requires_grad_() for layer in check_single(weights_1, "weights_1"))
    second = check_single(weights_2, "weights_2")
    if first[-1].shape[0] != second[-1].shape[0]:
        sizes = f"{first[-1].shape[0]} and {second[-1].shape[0]}"
        raise InputError(f"outputs of weights_1 and weights_2: {sizes} entries: must have one size")
    check_finite(x_1, "x_1")
    check_finite(x_2, "x_2")
    distance = squared_distance(_output(first, x_1, slope, output), _output(second, x_2, slope, output))
    return list(torch.autograd.grad(distance, first))


def _as_scalar(value: Any) -> Tensor:
    """What a function of the outputs returned: one number as a tensor."""
    if not isinstance(value, Tensor):
        raise InputError(f"value of the loss function, {type(value).__name__}: must be a scalar tensor")
    if value.shape:
        raise InputError(f"value of the loss function, of shape {tuple(value.shape)}: must be a scalar tensor")
    return value


def expected_loss(
    weights: Weights,
    population: FinitePopulation,
    loss: str | LossSpec | TableLoss,
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
    loss : str or callable
        ``"simple"``, ``"triplet"`` or ``"infonce"``; or a function of the outputs ``(M A, n_L)`` and the population,
        such as ``numeric.spectral_loss``, ``numeric.barlow_loss`` and ``numeric.vicreg_loss``.
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
        Inputs that are not allowed, a function whose value is no scalar tensor, or a sum of more terms than the limit.

    Source
    ------
    Sections 0 and 2 of the notes.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> float(expected_loss([[[1.0]]], population, "simple"))
    -2.25
    """
    outputs = forward(check_single(weights), population.flat_points, slope)
    if callable(loss):
        if convention != "shared":
            raise InputError(f"convention={convention!r} with a function of the outputs: must be 'shared'")
        return _as_scalar(loss(outputs, population, **loss_parameters))
    return expected_loss_of_outputs(outputs, population, loss_spec(loss, **loss_parameters), convention)


def population_gradient(
    weights: Weights,
    population: FinitePopulation,
    loss: str | LossSpec | TableLoss,
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
        As :func:`expected_loss`, or a function whose value is not differentiable.

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
        layers = Layers(layer.detach().requires_grad_() for layer in check_single(weights))
        value = expected_loss(layers, population, loss, slope, convention=convention, **loss_parameters)
        if not value.requires_grad:
            raise InputError("value of the loss function: must be differentiable in the outputs")
        return [-gradient for gradient in torch.autograd.grad(value, layers)]
