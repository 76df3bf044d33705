"""Expected contrastive losses as literal finite sums over outputs, in chunks that keep memory bounded.

Section 0 of the notes: ``x_1`` and ``x_+`` are independent augmentations of one point, the negatives are
independent draws from the whole population. The sum runs over all index tuples; distances are explicit
differences, because the expanded form ``||a||^2 + ||b||^2 - 2 a.b`` cancels. Nothing here knows of
connections: this is the oracle's side.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hltm.base.errors import InputError
from numeric.towers.losses import LossSpec, loss_value
from numeric.towers.populations import FinitePopulation

TERM_LIMIT = 10**9
_CHUNK = 2**17  # terms per block: small enough for the cache


def count_terms(population: FinitePopulation, spec: LossSpec) -> int:
    """Number of terms of the sum: ``M A^2 (M A)^H``; the simple loss separates into its two distances.

    Raises
    ------
    InputError
        More than :data:`TERM_LIMIT`.
    """
    points = population.size * population.augmentations
    positives = points * population.augmentations
    tuples: int = points**spec.negatives
    terms = positives + points**2 if spec.name == "simple" else positives * tuples
    if terms > TERM_LIMIT:
        sizes = f"{population.size} points x {population.augmentations} augmentations, {spec.negatives} negatives"
        raise InputError(f"loss {spec.name!r} over {sizes}: {terms} terms: must be at most {TERM_LIMIT}")
    return terms


def check_convention(convention: str) -> str:
    """The convention of the update: gradient through all towers, or through that of ``x_1`` only.

    Raises
    ------
    InputError
        Another word.
    """
    if convention not in ("shared", "one-branch"):
        raise InputError(f"convention={convention!r}: must be 'shared' or 'one-branch'")
    return convention


def squared_distance(first: Float[Tensor, "*batch n"], second: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """``r = 1/2 ||first - second||^2`` along the last axis, by explicit differences.

    Examples
    --------
    >>> squared_distance(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
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
                for kept, found in zip(gradients, torch.autograd.grad(block, wanted), strict=True):
                    kept += found
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
    """Expected loss of a table of outputs, differentiable, as a literal sum over all index tuples.

    Parameters
    ----------
    anchors : Tensor
        Outputs as the tower of ``x_1`` sees them, one per augmented point.
    others : Tensor
        Outputs as the other towers see them: the same tensor (shared) or a detached one (one-branch).
    population : FinitePopulation
        Where the weights come from.
    spec : LossSpec
        The loss.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    InputError
        More terms than :data:`TERM_LIMIT`.

    Source
    ------
    Sections 0 and 2 of the notes.
    """
    count_terms(population, spec)
    total: Tensor = _LossSum.apply(anchors, others, population, spec)
    return total
