"""Gradients over the whole population of a tree, nothing sampled: all configurations of the leaves with their laws.

With ``f_c`` the output at configuration c and ``q_zc = P(c | z_0 = z)``: the simple loss is ``-sum_z pi_z ||fbar_z -
fbar||^2``, since the spread within z_0 is in ``E r_+`` and in ``E r_-`` alike. The other losses are sums over triples
of configurations of a function of ``r_+ - r_-``, for which :mod:`numeric.logistic_sums` needs pairs only.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from hltm import HLTM, leaf_population
from hltm.base.errors import InputError
from numeric.logistic_sums import BIN_LIMIT, DEGREE, bins_of, logistic_sums
from numeric.step import Stack
from numeric.towers.losses import LossSpec
from numeric.training.loop import Gradient

LEAF_LIMIT = 12
CONFIGURATION_LIMIT = 2**12
_TRIPLES = 2**15  # up to here the literal sum is faster
_AT_A_TIME = 2**20  # terms held at once: small enough for the cache


@dataclass(frozen=True, eq=False)
class PopulationContrast:
    """Expected losses of E members of one kind of loss, and their derivative in the outputs.

    Attributes
    ----------
    laws : Tensor
        ``q``, ``(E or 1, Z, C)``.
    prior : Tensor
        ``pi``, ``(E or 1, Z)``.
    tau, margin : Tensor
        ``(E,)``.
    flat : bool
        Whether the loss is the simple one.
    """

    laws: Float[Tensor, "#E Z C"]
    prior: Float[Tensor, "#E Z"]
    tau: Float[Tensor, " E"]
    margin: Float[Tensor, " E"]
    flat: bool

    def __call__(self, outputs: Float[Tensor, "E n_L C"]) -> tuple[Tensor, Tensor]:
        """Expected loss ``(E,)`` and its derivative, shaped as the outputs."""
        return self._spread(outputs) if self.flat else self._triples(outputs)

    def _spread(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        means = outputs @ self.laws.mT
        prior = self.prior.unsqueeze(1)
        centred = means - (means * prior).sum(-1, keepdim=True)
        weighted = centred * prior
        return -(centred * weighted).sum((1, 2)), weighted.mul_(-2.0) @ self.laws

    def _triples(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Sum over (x_1, x_+, x_-) of configurations; distances are explicit differences."""
        losses, pulls = [], torch.empty_like(outputs)
        for number, points in enumerate(outputs.mT):
            laws, prior = (held[number if len(held) > 1 else 0] for held in (self.laws, self.prior))
            loss, slopes = _member(points, laws, prior, float(self.tau[number]), float(self.margin[number]))
            losses.append(loss)
            both = slopes + slopes.mT
            pulls[number] = (both.sum(1, keepdim=True) * points - both @ points).mT
        return torch.stack(losses), pulls


def _member(points: Tensor, laws: Tensor, prior: Tensor, tau: float, margin: float) -> tuple[Tensor, Tensor]:
    """Expected loss of one member and its derivative in the distances ``r(c_1, c)``, ``(C, C)``, summed in float64.

    The loss is NaN where distances are not finite, or beyond 2^20 tau: the member has diverged.
    """
    held, laws, prior = points.double(), laws.double(), prior.double()
    distances = (held.unsqueeze(1) - held).square_().sum(-1).mul_(0.5)
    bins, count = bins_of(distances, tau), len(points)
    if bins > BIN_LIMIT:
        return points.new_full((), torch.nan), torch.zeros_like(distances, dtype=points.dtype)
    anywhere = prior @ laws
    positive = torch.einsum("z,za,zb->ab", prior, laws, laws)  # P(x_1 = a, x_+ = b)
    literal = count**3 <= _TRIPLES
    some = max(1, _AT_A_TIME // (count**2 if literal else max(count, DEGREE * bins)))
    sums = _triples if literal else logistic_sums
    parts = [
        sums(distances[first : first + some], positive[first : first + some], anywhere, tau, margin)
        for first in range(0, count, some)
    ]
    total = torch.cat([part for part, _ in parts]).sum()
    return total.to(points.dtype), torch.cat([part for _, part in parts]).to(points.dtype)


def _triples(r: Tensor, left: Tensor, right: Tensor, tau: float, margin: float) -> tuple[Tensor, Tensor]:
    """What :func:`numeric.logistic_sums.logistic_sums` gives, term by term."""
    weights = left.unsqueeze(-1) * right
    excess = (r.unsqueeze(-1) - r.unsqueeze(1)).add_(margin).div_(tau)
    total = tau * softplus(excess, threshold=40.0).mul_(weights).sum((1, 2))
    share = torch.sigmoid_(excess).mul_(weights)
    return total, share.sum(-1) - share.sum(1)


@dataclass(frozen=True, eq=False)
class Exact:
    """The population as a source of gradients; `groups` lists members and their contrast, kind by kind."""

    stack: Stack
    leaves: Float[Tensor, "1 n_leaves C"]
    groups: tuple[tuple[Tensor, PopulationContrast], ...]

    def steps(self, start: int, stop: int) -> Iterator[Gradient]:
        """The same function at every step."""
        step = partial(self.stack.gradient, leaves=self.leaves, contrast=self._contrast)
        yield from itertools.repeat(step, stop - start)

    def _contrast(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        if len(self.groups) == 1:
            return self.groups[0][1](outputs)
        losses, pulls = outputs.new_empty(len(outputs)), torch.empty_like(outputs)
        for members, contrast in self.groups:
            losses[members], pulls[members] = contrast(outputs[members])
        return losses, pulls

    def outputs(self, parameters: Sequence[Tensor]) -> Tensor:
        """Outputs at all configurations."""
        return self.stack.outputs(parameters, self.leaves)

    def keep(self, members: Tensor) -> "Exact":
        """The same without the other members."""
        place = {number: new for new, number in enumerate(members.tolist())}
        groups = []
        for own, contrast in self.groups:
            rows = [row for row, number in enumerate(own.tolist()) if number in place]
            if rows:
                kept = torch.tensor([place[int(own[row])] for row in rows], device=own.device)
                groups.append((kept, _rows(contrast, rows)))
        return Exact(self.stack, self.leaves, tuple(groups))


def _rows(contrast: PopulationContrast, rows: list[int]) -> PopulationContrast:
    laws, prior = (held[rows] if len(held) > 1 else held for held in (contrast.laws, contrast.prior))
    return PopulationContrast(laws, prior, contrast.tau[rows], contrast.margin[rows], contrast.flat)


def exact_source(
    stack: Stack, trees: Sequence[HLTM], specs: Sequence[LossSpec], dtype: torch.dtype, device: torch.device
) -> Exact:
    """The populations of the trees of E members as a source of gradients.

    Raises
    ------
    InputError
        More than 12 leaves, several negatives, a loss of a whole batch, or too many triples.
    """
    leaves = len(trees[0].leaves)
    if leaves > LEAF_LIMIT:
        raise InputError(f"mode='exact' on {leaves} leaves: must be at most {LEAF_LIMIT}; use mode='sampled'")
    populations = [leaf_population(tree, drop_zero=False) for tree in trees]
    points = populations[0].points[0]
    for number, spec in enumerate(specs):
        _check(spec, number, len(points))

    def held(values: list[np.ndarray], rows: list[int]) -> Tensor:
        chosen = [values[row] for row in rows] if len(values) > 1 else values
        return torch.from_numpy(np.stack(chosen)).to(device, dtype)

    groups = []
    for flat in (True, False):
        rows = [number for number, spec in enumerate(specs) if (spec.name == "simple") is flat]
        if rows:
            contrast = PopulationContrast(
                held([each.augmentation_weights for each in populations], rows),
                held([each.point_weights for each in populations], rows),
                torch.tensor([specs[row].tau for row in rows], dtype=dtype),
                torch.tensor([specs[row].margin for row in rows], dtype=dtype),
                flat,
            )
            groups.append((torch.tensor(rows, device=device), contrast))
    inputs = torch.from_numpy(np.ascontiguousarray(points.T)).to(device, dtype)
    return Exact(stack, inputs.unsqueeze(0), tuple(groups))


def _check(spec: LossSpec, number: int, configurations: int) -> None:
    """Refuse a loss that is no sum over triples, or over too many."""
    place = f"mode='exact' with loss {spec.name!r} of member {number}"
    if spec.name == "ntxent" or spec.negatives > 1:
        rule = "must be 'simple', 'triplet' or 'infonce' with one negative; use mode='sampled'"
        raise InputError(f"{place} and {spec.negatives} negatives: {rule}")
    if spec.name != "simple" and configurations > CONFIGURATION_LIMIT:
        rule = f"must be at most {CONFIGURATION_LIMIT:,}; use the simple loss, or mode='sampled'"
        raise InputError(f"{place}: {configurations:,} configurations of the leaves: {rule}")
