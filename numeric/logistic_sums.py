"""Sums of the logistic function over all pairs of two weighted sets of numbers, in time linear in the numbers.

For numbers ``d_i`` with weights ``w_i`` and ``p_i``: ``sum_ij w_i p_j tau log(1 + e^u_ij)`` with
``u_ij = (d_i - d_j + r_0)/tau``, and its derivatives ``w_i sum_j p_j sigma(u_ij) - p_i sum_j w_j sigma(u_ji)``.
Both functions are analytic up to a distance ``pi tau`` from the real line. Cut into bins of width tau they are
polynomials of degree 15 in each argument up to ``(2 pi + (4 pi^2 + 1)^(1/2))^-16 = 3e-18``, below rounding (Trefethen,
*Approximation Theory and Approximation Practice*, theorem 8.2), so that moments of the bins are all that is needed.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hltm.errors import InputError

DEGREE = 16
BIN_LIMIT = 256


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
        return found.permute(1, 2, 0)

    def values(self, coefficients: Float[Tensor, "rows bins degree"]) -> Float[Tensor, "rows n"]:
        """``sum_m c_bm T_m(place_i)`` of each number, b its bin."""
        found = torch.zeros_like(self.place)
        for number, chebyshev in enumerate(_polynomials(self.place)):
            found += chebyshev.mul_(coefficients[..., number].gather(1, self.index))
        return found


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
        ``d``, float64, not negative.
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
        Numbers that reach beyond 256 tau.

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
    reach = float(numbers.max())
    if not reach <= BIN_LIMIT * tau:
        rule = f"must be at most {BIN_LIMIT} tau, {BIN_LIMIT * tau:.3g}"
        raise InputError(f"distance {reach:.3g} of a population with tau={tau:g}: {rule}; use mode='sampled'")
    count = max(1, math.ceil(reach / tau))
    index = (numbers / tau).floor_().clamp_(0, count - 1)
    bins = _Bins(index.long(), (numbers / tau - index).mul_(2).sub_(1), count)
    values, slopes = (torch.from_numpy(kernel).to(numbers.device) for kernel in _kernels(count, float(margin) / tau))
    of_left, of_right = bins.moments(left).flatten(1), bins.moments(right.expand_as(left)).flatten(1)
    total = tau * torch.einsum("ra,ab,rb->r", of_left, values, of_right)
    shape = (-1, count, DEGREE)
    found = bins.values((of_right @ slopes.T).reshape(shape)).mul_(left)
    return total, found.sub_(bins.values((of_left @ slopes).reshape(shape)).mul_(right))


def _polynomials(place: Tensor) -> list[Tensor]:
    """``T_0 .. T_15``; each is a tensor of its own that may be overwritten."""
    found = [torch.ones_like(place), place.clone()]
    for _ in range(2, DEGREE):
        found.append((2 * place * found[-1]).sub_(found[-2]))
    return found


@lru_cache(maxsize=16)
def _kernels(count: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev coefficients of ``log(1 + e^u)`` and ``sigma(u)`` over pairs of bins, ``(bins * degree)^2``.

    ``u`` depends on the difference of the bins alone, so that one block is made for each difference.
    """
    angles = (np.arange(DEGREE) + 0.5) * np.pi / DEGREE
    nodes = (np.cos(angles) + 1) / 2
    fit = np.cos(np.outer(np.arange(DEGREE), angles)) * (2 / DEGREE)
    fit[0] /= 2
    found = []
    for function in (lambda u: np.logaddexp(0, u), lambda u: np.exp(-np.logaddexp(0, -u))):
        blocks = [fit @ function(nodes[:, None] - nodes[None, :] + shift + margin) @ fit.T
                  for shift in range(1 - count, count)]  # fmt: skip
        rows = [np.hstack([blocks[a - b + count - 1] for b in range(count)]) for a in range(count)]
        found.append(np.vstack(rows))
    return found[0], found[1]
