"""Gradients over the whole population of a tree, nothing sampled: all configurations of the leaves with their laws.

With ``f_c`` the output at configuration c and ``q_zc = P(c | z_0 = z)``: the simple loss is ``-sum_z pi_z ||fbar_z -
fbar||^2``, since the spread within z_0 is in ``E r_+`` and in ``E r_-`` alike. The other losses are sums over triples
of configurations of the softplus of ``u = (r_+ - r_- + r_0)/tau``. Above 32 configurations they come from
:func:`logistic_sums`, in time linear in the number of pairs: the distances fall into bins of width tau, and between two
bins the softplus and its derivative are expanded in Chebyshev polynomials, or are linear and constant if ``|u| > 40``.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from hltm import HLTM, leaf_population
from hltm.base.errors import InputError
from numeric.towers.losses import LossSpec
from numeric.training.loop import Gradient
from numeric.training.minibatch import Stack

DEGREE = 16
BIN_LIMIT = 2**20
_SATURATED = 40


@dataclass(frozen=True, eq=False)
class _Bins:
    """Bin of each number and its place in the bin, from -1 to 1, shape ``(rows, n)``."""

    index: Int[Tensor, "rows n"]
    place: Float[Tensor, "rows n"]
    count: int

    def moments(self, weights: Tensor) -> Float[Tensor, "rows bins degree"]:
        """``sum_i w_i T_m(place_i)`` of each bin."""
        result = self.place.new_zeros(DEGREE, len(self.index), self.count)
        for number, chebyshev in enumerate(_polynomials(self.place)):
            result[number].scatter_add_(1, self.index, chebyshev.mul_(weights))
        return result.permute(1, 2, 0).contiguous()

    def values(self, coefficients: Float[Tensor, "rows bins degree"]) -> Float[Tensor, "rows n"]:
        """``sum_m c_bm T_m(place_i)`` of each number, b its bin."""
        result = torch.zeros_like(self.place)
        for number, chebyshev in enumerate(_polynomials(self.place)):
            result += chebyshev.mul_(coefficients[..., number].gather(1, self.index))
        return result


def logistic_sums(
    numbers: Float[Tensor, "rows n"],
    left: Float[Tensor, "rows n"],
    right: Float[Tensor, " n"],
    tau: float,
    margin: float,
) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows n"]]:
    """``sum_ij w_i p_j tau log(1 + exp((d_i - d_j + margin)/tau))`` of each row of d, and its derivatives in d."""
    count = bins_of(numbers, tau)
    if count > BIN_LIMIT:
        reach = float(numbers.max())
        raise InputError(f"numbers that reach {reach:.3g} with tau={tau:g}: must be at most {BIN_LIMIT:,} tau")
    index = (numbers / tau).floor_().clamp_(0, count - 1)
    bins = _Bins(index.long(), (numbers / tau - index).mul_(2).sub_(1), count)
    both = right.expand_as(left)
    lefts, rights = bins.moments(left), bins.moments(both)
    offset = margin / tau
    # Differences of bins: below `first` the argument u is under -40 everywhere in both, from `far` on it is beyond 40.
    edges = math.floor(-_SATURATED - 1 - offset), math.ceil(_SATURATED + 1 - offset)
    first, far = (min(count, max(1 - count, edge)) for edge in edges)
    near = range(first, far)
    soft = _expanded(lambda u: np.logaddexp(0, u), offset, near).to(numbers.device)
    step = _expanded(lambda u: np.exp(-np.logaddexp(0, -u)), offset, near).to(numbers.device)
    below, above = _before(rights[..., 0], far), _after(lefts[..., 0], far)
    total = tau * (lefts * _convolved(soft, first, rights, 1)).sum((1, 2))
    total += ((_sums(bins, left * numbers) + margin * lefts[..., 0]) * below).sum(1)
    total -= (lefts[..., 0] * _before(_sums(bins, both * numbers), far)).sum(1)
    on_left, on_right = _convolved(step, first, rights, 1), _convolved(step, first, lefts, -1)
    on_left[..., 0] += below
    on_right[..., 0] += above
    return total, bins.values(on_left).mul_(left).sub_(bins.values(on_right).mul_(right))


def bins_of(numbers: Tensor, tau: float) -> int:
    """Number of bins; above the limit where numbers are not finite or too large."""
    reach = float(numbers.max()) / tau
    return max(1, math.ceil(reach)) if reach <= BIN_LIMIT else BIN_LIMIT + 1


def _sums(bins: _Bins, weights: Tensor) -> Tensor:
    """Sums of each bin, ``(rows, bins)``."""
    return weights.new_zeros(len(weights), bins.count).scatter_add_(1, bins.index, weights)


def _before(sums: Tensor, far: int) -> Tensor:
    """For every bin a the sum over the bins b with ``a - b >= far``."""
    result, total = torch.zeros_like(sums), sums.cumsum(1)
    count = sums.shape[1]
    if far >= 0:
        result[:, far:] = total[:, : count - far]
    else:
        result[:, :far] = total[:, -far:]
        result[:, far:] = total[:, -1:]
    return result


def _after(sums: Tensor, far: int) -> Tensor:
    """For every bin b the sum over the bins a with ``a - b >= far``."""
    return _before(sums.flip(1), far).flip(1)


def _polynomials(place: Tensor) -> list[Tensor]:
    """``T_0 .. T_15``, each in a tensor that may be overwritten."""
    result = [torch.ones_like(place), place.clone()]
    for _ in range(2, DEGREE):
        result.append((2 * place * result[-1]).sub_(result[-2]))
    return result


def _expanded(function: Callable[[np.ndarray], np.ndarray], offset: float, differences: Sequence[int]) -> Tensor:
    """Chebyshev coefficients ``(D, degree, degree)`` of a function of u over two bins, by difference of the bins."""
    angles = (np.arange(DEGREE) + 0.5) * np.pi / DEGREE
    nodes = (np.cos(angles) + 1) / 2
    fit = np.cos(np.outer(np.arange(DEGREE), angles)) * (2 / DEGREE)
    fit[0] /= 2
    gaps = nodes[:, None] - nodes[None, :] + offset
    blocks = [fit @ function(gaps + difference) @ fit.T for difference in differences]
    return torch.from_numpy(np.stack(blocks) if blocks else np.zeros((0, DEGREE, DEGREE)))


def _convolved(kernel: Tensor, first: int, moments: Tensor, sign: int) -> Tensor:
    """``sum_b K(a - b) m_b`` for every bin a; with sign -1 ``sum_a K(a - b)^T m_a`` for every bin b."""
    result, count = torch.zeros_like(moments), moments.shape[1]
    for number, block in enumerate(kernel):
        shift, factor = sign * (first + number), block.T if sign > 0 else block
        if shift >= 0:
            result[:, shift:] += moments[:, : count - shift] @ factor
        else:
            result[:, :shift] += moments[:, -shift:] @ factor
    return result


LEAF_LIMIT = 12
CONFIGURATION_LIMIT = 2**12
_TRIPLES = 2**15  # up to here the literal sum is faster
_AT_A_TIME = 2**20  # terms in memory at once: small enough for the cache


@dataclass(frozen=True, eq=False)
class PopulationContrast:
    """Expected losses of E members of one kind of loss, and their derivative in the outputs."""

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
            laws, prior = (part[number if len(part) > 1 else 0] for part in (self.laws, self.prior))
            loss, slopes = _member(points, laws, prior, float(self.tau[number]), float(self.margin[number]))
            losses.append(loss)
            both = slopes + slopes.mT
            pulls[number] = (both.sum(1, keepdim=True) * points - both @ points).mT
        return torch.stack(losses), pulls


def _member(points: Tensor, laws: Tensor, prior: Tensor, tau: float, margin: float) -> tuple[Tensor, Tensor]:
    """Expected loss of one member and its derivative in the distances ``r(c_1, c)``, ``(C, C)``, summed in float64.

    The loss is NaN where distances are not finite, or beyond 2^20 tau: the member has diverged.
    """
    outputs, laws, prior = points.double(), laws.double(), prior.double()
    distances = (outputs.unsqueeze(1) - outputs).square_().sum(-1).mul_(0.5)
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
    """The same as :func:`logistic_sums`, term by term."""
    weights = left.unsqueeze(-1) * right
    excess = (r.unsqueeze(-1) - r.unsqueeze(1)).add_(margin).div_(tau)
    total = tau * softplus(excess, threshold=40.0).mul_(weights).sum((1, 2))
    share = torch.sigmoid_(excess).mul_(weights)
    return total, share.sum(-1) - share.sum(1)


@dataclass(frozen=True, eq=False)
class Exact:
    """The population as a source of gradients; `groups` pairs members with their kind of loss."""

    stack: Stack
    leaves: Float[Tensor, "1 n_leaves C"]
    groups: tuple[tuple[Tensor, PopulationContrast], ...]

    def steps(self, start: int, stop: int) -> Iterator[Gradient]:
        """One function, the same at every step."""
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
        return self.stack.outputs(parameters, self.leaves)

    def keep(self, members: Tensor) -> "Exact":
        """The source of these members alone."""
        place = {number: new for new, number in enumerate(members.tolist())}
        groups = []
        for own, contrast in self.groups:
            rows = [row for row, number in enumerate(own.tolist()) if number in place]
            if rows:
                kept = torch.tensor([place[int(own[row])] for row in rows], device=own.device)
                groups.append((kept, _rows(contrast, rows)))
        return Exact(self.stack, self.leaves, tuple(groups))


def _rows(contrast: PopulationContrast, rows: list[int]) -> PopulationContrast:
    laws, prior = (part[rows] if len(part) > 1 else part for part in (contrast.laws, contrast.prior))
    return PopulationContrast(laws, prior, contrast.tau[rows], contrast.margin[rows], contrast.flat)


def exact_source(
    stack: Stack, trees: Sequence[HLTM], specs: Sequence[LossSpec], dtype: torch.dtype, device: torch.device
) -> Exact:
    """The populations of the trees of E members as a source of gradients."""
    leaves = len(trees[0].leaves)
    if leaves > LEAF_LIMIT:
        raise InputError(f"mode='exact' on {leaves} leaves: must be at most {LEAF_LIMIT}; use mode='sampled'")
    populations = [leaf_population(tree, drop_zero=False) for tree in trees]
    points = populations[0].points[0]
    for number, spec in enumerate(specs):
        _check(spec, number, len(points))

    def stacked(values: list[np.ndarray], rows: list[int]) -> Tensor:
        chosen = [values[row] for row in rows] if len(values) > 1 else values
        return torch.from_numpy(np.stack(chosen)).to(device, dtype)

    groups = []
    for flat in (True, False):
        rows = [number for number, spec in enumerate(specs) if (spec.name == "simple") is flat]
        if rows:
            contrast = PopulationContrast(
                stacked([each.augmentation_weights for each in populations], rows),
                stacked([each.point_weights for each in populations], rows),
                torch.tensor([specs[row].tau for row in rows], dtype=dtype),
                torch.tensor([specs[row].margin for row in rows], dtype=dtype),
                flat,
            )
            groups.append((torch.tensor(rows, device=device), contrast))
    inputs = torch.from_numpy(np.ascontiguousarray(points.T)).to(device, dtype)
    return Exact(stack, inputs.unsqueeze(0), tuple(groups))


def _check(spec: LossSpec, number: int, configurations: int) -> None:
    """Refuse a loss that is not a sum over triples, and too many configurations."""
    place = f"mode='exact' with loss {spec.name!r} of member {number}"
    if spec.name == "ntxent" or spec.negatives > 1:
        rule = "must be 'simple', 'triplet' or 'infonce' with one negative; use mode='sampled'"
        raise InputError(f"{place} and {spec.negatives} negatives: {rule}")
    if spec.name != "simple" and configurations > CONFIGURATION_LIMIT:
        rule = f"must be at most {CONFIGURATION_LIMIT:,}; use the simple loss, or mode='sampled'"
        raise InputError(f"{place}: {configurations:,} configurations of the leaves: {rule}")
