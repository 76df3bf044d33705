"""InfoNCE on finite laws by enumeration: many negatives, the least value on the sphere, and mutual information."""

import math
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, as_floating, as_number, check_finite, is_integer

TERM_LIMIT = 1_000_000


def infonce_expectation(scores: Any, law: Any, negatives: int) -> Float[Tensor, "m n"]:
    """Expected InfoNCE loss of every anchor and positive, over independent negatives, by enumeration.

    Entry (x, y) is ``E[-log(e^s(x, y) / (e^s(x, y) + sum_k e^s(x, y_k)))]`` with ``y_1 .. y_H`` drawn from `law`.

    Parameters
    ----------
    scores : array
        Scores of every anchor with every candidate, already divided by the temperature, ``(m, n)``.
    law : array
        Probabilities of the candidates as negatives, ``(n,)``; they are divided by their sum.
    negatives : int
        H >= 1; at most a million draws of negatives are enumerated.

    Returns
    -------
    Tensor
        ``(m, n)``, differentiable in the scores.

    Raises
    ------
    InputError
        Shapes that do not fit, probabilities that are negative, too many draws.

    Source
    ------
    arXiv 1807.03748; pack infonce-limits.

    Examples
    --------
    >>> round(float(infonce_expectation([[0.0, 0.0]], [1.0, 1.0], 3)[0, 0]), 6)  # log 4
    1.386294
    """
    table = _matrix(scores, "scores")
    weights = _probabilities(law, "law", table)
    if weights.shape != table.shape[1:]:
        raise InputError(f"law has shape {tuple(weights.shape)}: must be {tuple(table.shape[1:])}, one for each column")
    if not is_integer(negatives, 1):
        raise InputError(f"negatives={negatives!r:.60}: must be an integer of at least 1")
    if len(weights) ** negatives > TERM_LIMIT:
        raise InputError(f"negatives={negatives}: {len(weights)}^{negatives} draws are more than {TERM_LIMIT:,}")
    total = torch.zeros_like(table)
    for drawn in product(range(len(weights)), repeat=negatives):
        chosen = list(drawn)
        far = torch.logsumexp(table[:, chosen], 1, keepdim=True)
        total = total + weights[chosen].prod() * (torch.logaddexp(table, far) - table)
    return total


def infonce_limit(scores: Any, law: Any) -> Float[Tensor, "m n"]:
    """Limit of ``infonce_expectation(...) - log H`` for many negatives: ``log E_y e^s(x, y) - s(x, y+)``.

    Parameters
    ----------
    scores, law
        As in :func:`infonce_expectation`.

    Returns
    -------
    Tensor
        ``(m, n)``, differentiable in the scores.

    Source
    ------
    arXiv 2005.10242 (alignment and uniformity); pack infonce-limits.

    Examples
    --------
    >>> infonce_limit([[0.0, 0.0]], [1.0, 1.0])
    tensor([[0., 0.]], dtype=torch.float64)
    """
    table = _matrix(scores, "scores")
    weights = _probabilities(law, "law", table)
    if weights.shape != table.shape[1:]:
        raise InputError(f"law has shape {tuple(weights.shape)}: must be {tuple(table.shape[1:])}, one for each column")
    return torch.logsumexp(table + torch.log(weights), 1, keepdim=True) - table


def mutual_information(joint: Any) -> Float[Tensor, ""]:
    """Mutual information of a finite joint law, in nats.

    Parameters
    ----------
    joint : array
        Probabilities, ``(m, n)``; they are divided by their sum.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    InputError
        Probabilities that are negative, not finite, or all zero.

    Source
    ------
    arXiv 1807.03748; pack infonce-limits.

    Examples
    --------
    >>> round(float(mutual_information([[0.5, 0.0], [0.0, 0.5]])), 6)  # log 2
    0.693147
    """
    table = _matrix(joint, "joint")
    law = _probabilities(joint, "joint", table)
    outer = law.sum(1, keepdim=True) * law.sum(0)
    information: Tensor = torch.special.xlogy(law, torch.where(law > 0, law / outer, 1.0)).sum()
    return information


def batch_infonce(outputs: Any, tau: Real = 1.0) -> Float[Tensor, ""]:
    """Mean InfoNCE loss of N outputs on the unit sphere, each its own positive and a negative of every other.

    Parameters
    ----------
    outputs : array
        ``(N, d)``, N >= 2; the rows are normalised here.
    tau : float
        Temperature, positive.

    Returns
    -------
    Tensor
        A scalar, differentiable in the outputs.

    Raises
    ------
    InputError
        Fewer than two rows, a row of zeros, a temperature that is not positive.

    Source
    ------
    arXiv 2005.10242; pack infonce-limits.

    Examples
    --------
    >>> round(float(batch_infonce([[1.0], [-1.0]])), 6), round(infonce_minimum(2), 6)
    (0.126928, 0.126928)
    """
    table = _matrix(outputs, "outputs")
    _check_tau(tau)
    if len(table) < 2:
        raise InputError(f"outputs has shape {tuple(table.shape)}: must have at least 2 rows")
    norms = table.norm(dim=1, keepdim=True)
    if bool((norms == 0).any()):
        raise InputError("outputs has a row of zeros: a direction is needed")
    unit = table / norms
    similarities = unit @ unit.T / tau
    value: Tensor = (torch.logsumexp(similarities, 1) - similarities.diagonal()).mean()
    return value


def infonce_minimum(count: int, tau: Real = 1.0) -> float:
    """Least value of :func:`batch_infonce` over N unit vectors: ``log(1 + (N-1) e^(-N/((N-1) tau)))``.

    Parameters
    ----------
    count : int
        N >= 2; the value is attained in N - 1 dimensions or more.
    tau : float
        Temperature, positive.

    Returns
    -------
    float
        The value at the simplex.

    Source
    ------
    Pack infonce-limits.

    Examples
    --------
    >>> abs(float(batch_infonce(simplex_outputs(4), 0.5)) - infonce_minimum(4, 0.5)) < 1e-14
    True
    """
    _check_count(count)
    _check_tau(tau)
    return math.log1p((count - 1) * math.exp(-count / ((count - 1) * float(tau))))


def simplex_outputs(count: int) -> Float[Tensor, "N N"]:
    """N unit vectors of similarity ``-1/(N-1)``, the corners of a simplex around 0.

    Parameters
    ----------
    count : int
        N >= 2.

    Returns
    -------
    Tensor
        ``(N, N)``, of rank N - 1.

    Source
    ------
    Pack infonce-limits.

    Examples
    --------
    >>> round(float((simplex_outputs(3)[0] * simplex_outputs(3)[1]).sum()), 12)
    -0.5
    """
    _check_count(count)
    return math.sqrt(count / (count - 1)) * (torch.eye(count, dtype=torch.float64) - 1 / count)


def _matrix(value: Any, place: str) -> Tensor:
    table = as_floating(value, place)
    table = table if isinstance(value, Tensor) else table.double()
    check_finite(table, place)
    if table.ndim != 2 or not table.numel():
        raise InputError(f"{place} has shape {tuple(table.shape)}: must be a matrix that is not empty")
    return table


def _probabilities(value: Any, place: str, like: Tensor) -> Tensor:
    weights = as_floating(value, place).to(like)
    check_finite(weights, place)
    if bool((weights < 0).any()) or not bool((weights > 0).any()):
        raise InputError(f"{place}: must not be negative, and not all zero")
    return weights / weights.sum()


def _check_tau(tau: Real) -> None:
    if not as_number(tau) > 0:
        raise InputError(f"tau={tau!r:.60}: must be positive and finite")


def _check_count(count: int) -> None:
    if not is_integer(count, 2):
        raise InputError(f"count={count!r:.60}: must be an integer of at least 2")
