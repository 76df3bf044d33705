"""SimCLR on one batch: InfoNCE between two views, and the matrix that drives a linear layer."""

from typing import Any

import torch
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import as_floating, check_finite


def simclr_loss(outputs: Any, views: Any) -> Tensor:
    """InfoNCE of a batch with squared distances, summed over its anchors.

    ``L = sum_i d_i + log(e^(-d_i) + sum_(j != i) e^(-d_ij))`` with ``d_i = 1/2 ||f_i - f_i'||^2`` and
    ``d_ij = 1/2 ||f_i - f_j||^2``: the negatives are the first views of the other points.

    Parameters
    ----------
    outputs, views : array
        Outputs at the first and at the second views, ``(N, n)`` each, N at least 2.

    Returns
    -------
    Tensor
        A scalar, differentiable in both arguments.

    Raises
    ------
    InputError
        For tables that are not of one shape, or a batch of one.

    Source
    ------
    arXiv 2110.09348; pack linear-simclr.

    Examples
    --------
    >>> round(float(simclr_loss([[0.0], [0.0]], [[0.0], [0.0]])), 6)  # 2 log 2
    1.386294
    """
    first, second = _batch(outputs, views, "outputs")
    near = 0.5 * (first - second).square().sum(-1)
    far = 0.5 * (first[:, None] - first[None]).square().sum(-1)
    size = len(first)
    own = torch.eye(size, dtype=torch.bool, device=first.device)
    # log(1 + sum e^(d_i - d_ij)): the pull on a positive is a sum over negatives, and 1 - alpha_ii does not cancel.
    scores = torch.where(own, torch.zeros_like(far), near[:, None] - far)
    return torch.logsumexp(scores, dim=1).sum()


def simclr_matrices(weights: Any, points: Any, views: Any) -> tuple[Tensor, Tensor]:
    """Weighted covariances of data and augmentation, which drive a linear layer: ``dW = W (Sigma_0 - Sigma_1)``.

    ``Sigma_0 = sum_i sum_(j != i) alpha_ij (x_i - x_j)(x_i - x_j)^T`` and
    ``Sigma_1 = sum_i (1 - alpha_ii)(x_i - x_i')(x_i - x_i')^T``, where ``alpha_i`` are the softmax weights of InfoNCE.

    Parameters
    ----------
    weights : array
        W, ``(n_2, n_1)``; of several linear layers their product.
    points, views : array
        First and second views, ``(N, n_1)`` each.

    Returns
    -------
    tuple of Tensor
        ``Sigma_0`` and ``Sigma_1``, ``(n_1, n_1)`` each, positive semidefinite.

    Raises
    ------
    InputError
        For tables that are not of one shape, or weights with another number of columns.

    Source
    ------
    arXiv 2110.09348; pack linear-simclr.

    Examples
    --------
    >>> [m.item() for m in simclr_matrices([[0.0]], [[0.0], [2.0]], [[1.0], [2.0]])]
    [4.0, 0.5]
    """
    first, second = _batch(points, views, "points")
    matrix = as_floating(weights, "weights").to(first)
    if matrix.ndim != 2 or matrix.shape[1] != first.shape[1]:
        raise InputError(f"weights has shape {tuple(matrix.shape)}: must have {first.shape[1]} columns")
    f, other = first @ matrix.T, second @ matrix.T
    near = 0.5 * (f - other).square().sum(-1)
    far = 0.5 * (f[:, None] - f[None]).square().sum(-1)
    own = torch.eye(len(f), dtype=torch.bool, device=f.device)
    alpha = torch.softmax(torch.where(own, -near[:, None], -far), dim=1)
    apart = torch.where(own, torch.zeros_like(alpha), alpha)
    gaps, moves = first[:, None] - first[None], first - second
    spread = torch.einsum("ij,ija,ijb->ab", apart, gaps, gaps)
    return spread, torch.einsum("i,ia,ib->ab", apart.sum(1), moves, moves)


def _batch(first: Any, second: Any, place: str) -> tuple[Tensor, Tensor]:
    one, other = as_floating(first, place), as_floating(second, "views")
    if one.ndim != 2 or len(one) < 2 or not one.shape[1]:
        raise InputError(f"{place} has shape {tuple(one.shape)}: must be (N, n) with N at least 2")
    if other.shape != one.shape:
        raise InputError(f"views has shape {tuple(other.shape)}: must be {tuple(one.shape)}, that of {place}")
    for table, name in ((one, place), (other, "views")):
        check_finite(table, name)
    return one, other.to(one)
