"""Sums of the logistic function over all pairs of two weighted sets of numbers, in time linear in the numbers.

For numbers ``d_i`` with weights ``w_i`` and ``p_i``: ``sum_ij w_i p_j tau log(1 + e^u_ij)`` with
``u_ij = (d_i - d_j + r_0)/tau``, and its derivatives ``w_i sum_j p_j sigma(u_ij) - p_i sum_j w_j sigma(u_ji)``.
Both functions are analytic up to a distance ``pi tau`` from the real line. Cut into bins of width tau they are
polynomials of degree 15 in each argument up to ``(2 pi + (4 pi^2 + 1)^(1/2))^-16 = 3e-18``, below rounding (Trefethen,
*Approximation Theory and Approximation Practice*, theorem 8.2), so that moments of the bins are all that is needed.
Where u is beyond 40 they are u and 1, or 0 and 0, up to ``e^-40 = 4e-18``: sums over all bins on one side.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hltm.base.errors import InputError

DEGREE = 16
BIN_LIMIT = 2**20
_SATURATED = 40


@dataclass(frozen=True, eq=False)
class _Bins:
    """Where numbers lie: the bin of each and its place there, from -1 to 1, shape ``(rows, n)``."""

    index: Int[Tensor, "rows n"]
    place: Float[Tensor, "rows n"]
    count: int

    def moments(self, weights: Tensor) -> Float[Tensor, "rows bins degree"]:
        """``sum_i w_i T_m(place_i)`` of each bin."""
        found = self.place.new_zeros(DEGREE, len(self.index), self.count)
        for number, chebyshev in enumerate(_polynomials(self.place)):
            found[number].scatter_add_(1, self.index, chebyshev.mul_(weights))
        return found.permute(1, 2, 0).contiguous()

    def values(self, coefficients: Float[Tensor, "rows bins degree"]) -> Float[Tensor, "rows n"]:
        """``sum_m c_bm T_m(place_i)`` of each number, b its bin."""
        found = torch.zeros_like(self.place)
        for number, chebyshev in enumerate(_polynomials(self.place)):
            found += chebyshev.mul_(coefficients[..., number].gather(1, self.index))
        return found


@dataclass(frozen=True, eq=False)
class _Kernel:
    """Chebyshev coefficients of a function of u over pairs of bins, ``(D, degree, degree)``, for each difference.

    Attributes
    ----------
    first : int
        The difference ``a - b`` of the first block; the others follow.
    """

    blocks: Tensor
    first: int

    def on_left(self, right: Tensor) -> Tensor:
        """``sum_b K(a - b) m_b`` for every bin a."""
        found = torch.zeros_like(right)
        for number, block in enumerate(self.blocks):
            _shifted(found, right, self.first + number, block.T)
        return found

    def on_right(self, left: Tensor) -> Tensor:
        """``sum_a K(a - b)^T m_a`` for every bin b."""
        found = torch.zeros_like(left)
        for number, block in enumerate(self.blocks):
            _shifted(found, left, -self.first - number, block)
        return found


def _shifted(found: Tensor, moments: Tensor, shift: int, block: Tensor) -> None:
    """Add ``m_{a - shift} block`` to every bin a."""
    count = moments.shape[1]
    if shift >= 0:
        found[:, shift:] += moments[:, : count - shift] @ block
    else:
        found[:, :shift] += moments[:, -shift:] @ block


def logistic_sums(
    numbers: Float[Tensor, "rows n"],
    left: Float[Tensor, "rows n"],
    right: Float[Tensor, " n"],
    tau: float,
    margin: float,
) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows n"]]:
    """The sums of each row and their derivatives in its numbers.

    Parameters
    ----------
    numbers : Tensor
        ``d``, float64, finite and not negative.
    left, right : Tensor
        Weights ``w`` of each row, and ``p`` of all rows.
    tau, margin : float
        tau positive.

    Returns
    -------
    (Tensor, Tensor)
        ``(rows,)`` and ``(rows, n)``.

    Raises
    ------
    InputError
        Numbers that reach beyond 2^20 tau.

    Source
    ------
    Statement 2, soft triplet and InfoNCE with H = 1, summed over the population of statement 6.

    Examples
    --------
    >>> d, w, p = (torch.tensor(values).double() for values in ([[0.0, 1.0]], [[1.0, 0.0]], [0.0, 1.0]))
    >>> total, slopes = logistic_sums(d, w, p, tau=1.0, margin=0.0)
    >>> abs(total.item() - math.log1p(math.exp(-1))) < 1e-15
    True
    >>> [round(slope, 12) for slope in slopes.flatten().tolist()] == [round(s / (1 + math.e), 12) for s in (1, -1)]
    True
    """
    count = bins_of(numbers, tau)
    if count > BIN_LIMIT:
        reach = float(numbers.max())
        raise InputError(f"numbers that reach {reach:.3g} with tau={tau:g}: must be at most {BIN_LIMIT:,} tau")
    index = (numbers / tau).floor_().clamp_(0, count - 1)
    bins = _Bins(index.long(), (numbers / tau - index).mul_(2).sub_(1), count)
    both = right.expand_as(left)
    lefts, rights = bins.moments(left), bins.moments(both)
    offset = margin / tau
    soft, step = (_kernel(function, count, offset, numbers) for function in (_softplus, _logistic))
    # From this difference of the bins on, u is beyond 40 everywhere in both.
    far = min(count, max(1 - count, math.ceil(_SATURATED + 1 - offset)))
    below, above = _before(rights[..., 0], far), _after(lefts[..., 0], far)
    total = tau * (lefts * soft.on_left(rights)).sum((1, 2))
    total += ((_sums(bins, left * numbers) + margin * lefts[..., 0]) * below).sum(1)
    total -= (lefts[..., 0] * _before(_sums(bins, both * numbers), far)).sum(1)
    on_left, on_right = step.on_left(rights), step.on_right(lefts)
    on_left[..., 0] += below
    on_right[..., 0] += above
    return total, bins.values(on_left).mul_(left).sub_(bins.values(on_right).mul_(right))


def bins_of(numbers: Tensor, tau: float) -> int:
    """How many bins numbers need; more than the limit where they are not finite or reach too far."""
    reach = float(numbers.max()) / tau
    return max(1, math.ceil(reach)) if reach <= BIN_LIMIT else BIN_LIMIT + 1


def _sums(bins: _Bins, weights: Tensor) -> Tensor:
    """Sums of each bin, ``(rows, bins)``."""
    return weights.new_zeros(len(weights), bins.count).scatter_add_(1, bins.index, weights)


def _before(sums: Tensor, far: int) -> Tensor:
    """For every bin a the sum over the bins b with ``a - b >= far``."""
    found, total = torch.zeros_like(sums), sums.cumsum(1)
    count = sums.shape[1]
    if far >= 0:
        found[:, far:] = total[:, : count - far]
    else:
        found[:, :far] = total[:, -far:]
        found[:, far:] = total[:, -1:]
    return found


def _after(sums: Tensor, far: int) -> Tensor:
    """For every bin b the sum over the bins a with ``a - b >= far``."""
    return _before(sums.flip(1), far).flip(1)


def _polynomials(place: Tensor) -> list[Tensor]:
    """``T_0 .. T_15``; each is a tensor of its own that may be overwritten."""
    found = [torch.ones_like(place), place.clone()]
    for _ in range(2, DEGREE):
        found.append((2 * place * found[-1]).sub_(found[-2]))
    return found


def _softplus(u: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.logaddexp(0, u)
    return found


def _logistic(u: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.exp(-np.logaddexp(0, -u))
    return found


def _kernel(function: Callable[[np.ndarray], np.ndarray], count: int, offset: float, like: Tensor) -> _Kernel:
    """Coefficients for all differences of bins where u is not beyond 40 everywhere."""
    first = max(1 - count, math.floor(-_SATURATED - 1 - offset))
    stop = min(count, math.ceil(_SATURATED + 1 - offset))
    angles = (np.arange(DEGREE) + 0.5) * np.pi / DEGREE
    nodes = (np.cos(angles) + 1) / 2
    fit = np.cos(np.outer(np.arange(DEGREE), angles)) * (2 / DEGREE)
    fit[0] /= 2
    gaps = nodes[:, None] - nodes[None, :] + offset
    blocks = [fit @ function(gaps + shift) @ fit.T for shift in range(first, stop)]
    stacked = np.stack(blocks) if blocks else np.zeros((0, DEGREE, DEGREE))
    return _Kernel(torch.from_numpy(stacked).to(like.device), first)
