"""Linear BYOL with a predictor, weight decay and an EMA target: the flow, its modes, and where it collapses.

One linear layer W, a linear predictor P and a linear target W_a (arXiv 2102.06810); ``alpha`` is the learning rate of
the predictor relative to that of W, ``beta`` the rate of the moving average, ``eta`` the weight decay.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, as_floating, as_number, check_finite
from numeric.towers.populations import FinitePopulation

State = list[Tensor]


def linear_byol_rates(
    weights: Any,
    predictor: Any,
    target: Any,
    population: FinitePopulation,
    alpha: Real = 1.0,
    beta: Real = 0.0,
    eta: Real = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rates of change of W, P and W_a under the gradient flow of linear BYOL.

    ``dW = P^T (W_a X - P W (X + X')) - eta W``, ``dP = alpha (W_a X - P W (X + X')) W^T - eta P`` and
    ``dW_a = beta (W - W_a)``, where X is the second moment of the means over augmentations and X' the covariance of an
    augmentation about its mean.

    Parameters
    ----------
    weights, target : array
        W and W_a, shape ``(n_2, n_1)``.
    predictor : array
        P, shape ``(n_2, n_2)``.
    population : FinitePopulation
        Points and augmentations with their weights.
    alpha, beta, eta : float
        Rate of the predictor (positive), of the moving average and of the decay (not negative).

    Returns
    -------
    tuple of Tensor
        Rates of W, P and W_a, shaped as they are.

    Raises
    ------
    InputError
        For matrices whose shapes do not fit, and rates out of range.

    Source
    ------
    arXiv 2102.06810; pack linear-byol.

    Examples
    --------
    >>> population = FinitePopulation([[[1.0], [3.0]]])
    >>> [rate.item() for rate in linear_byol_rates([[1.0]], [[0.5]], [[1.0]], population, eta=0.25)]
    [0.5, 1.375, 0.0]
    """
    matrices = [as_floating(m, name) for m, name in zip((weights, predictor, target), _NAMES, strict=True)]
    rows, columns = matrices[0].shape if matrices[0].ndim == 2 else (0, 0)
    for matrix, name, shape in zip(matrices, _NAMES, ((rows, columns), (rows, rows), (rows, columns)), strict=True):
        if tuple(matrix.shape) != shape or 0 in shape:
            fits = f"must be {shape}, as weights have it" if rows else "must be a matrix (n_2, n_1)"
            raise InputError(f"{name} has shape {tuple(matrix.shape)}: {fits}")
        check_finite(matrix, name)
    if columns != population.dimension:
        raise InputError(f"weights has {columns} columns: must have {population.dimension}")
    _check_rates(alpha, beta, eta)
    w, p, wa = (matrix.to(population.points) for matrix in matrices)
    points, law = population.points, population.point_weights
    mean = torch.einsum("ma,mad->md", population.augmentation_weights, points)
    gaps = points - mean[:, None]
    seconds = torch.einsum("m,md,me->de", law, mean, mean)
    spread = torch.einsum("m,ma,mad,mae->de", law, population.augmentation_weights, gaps, gaps)
    error = wa @ seconds - p @ w @ (seconds + spread)
    return p.T @ error - eta * w, alpha * error @ w.T - eta * p, beta * (w - wa)


_NAMES = ("weights", "predictor", "target")


def linear_byol_modes(
    s: Any,
    p: Any,
    tau: Any,
    variance: Real,
    alpha: Real = 1.0,
    beta: Real = 0.0,
    eta: Real = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rates of the modes s, p and tau of an aligned flow on isotropic data.

    ``ds = 2 p s (tau - (1 + variance) p) - 2 eta s``, ``dp = alpha s (tau - (1 + variance) p) - eta p`` and
    ``dtau = beta (1 - tau) - tau ds / (2 s)``.

    Parameters
    ----------
    s, p, tau : array
        Eigenvalues of ``W W^T`` (positive) and of P, and the ratio of target to weights, ``(k,)`` each.
    variance : float
        sigma^2, the variance of an augmentation in every direction.
    alpha, beta, eta : float
        As in :func:`linear_byol_rates`.

    Returns
    -------
    tuple of Tensor
        Rates of s, p and tau.

    Raises
    ------
    InputError
        For modes of unequal shapes, a mode s that is not positive, and a variance or rates out of range.

    Source
    ------
    arXiv 2102.06810; pack linear-byol.

    Examples
    --------
    >>> one = torch.ones(1)
    >>> [rate.item() for rate in linear_byol_modes(one, 0.5 * one, one, 0.0, eta=0.125)]
    [0.25, 0.4375, -0.125]
    """
    s, p, tau = (as_floating(value, name) for value, name in ((s, "s"), (p, "p"), (tau, "tau")))
    for value, name in ((s, "s"), (p, "p"), (tau, "tau")):
        if value.ndim != 1 or value.shape != s.shape:
            fits = "must be (k,)" if s.ndim != 1 else f"must be {tuple(s.shape)}, that of s"
            raise InputError(f"{name} has shape {tuple(value.shape)}: {fits}")
        check_finite(value, name)
    if bool((s <= 0).any()):
        raise InputError(f"s has the entry {s.min().item()!r}: must be positive")
    _check_variance(variance)
    _check_rates(alpha, beta, eta)
    pull = tau - (1 + variance) * p
    growth = 2 * p * pull - 2 * eta
    return growth * s, alpha * s * pull - eta * p, beta * (1 - tau) - tau * growth / 2


def collapse_threshold(variance: Real, eta: Real) -> tuple[float, float] | None:
    """Unstable and stable fixed point of a balanced mode, or None where every start collapses.

    With ``alpha = tau = 1`` and ``s = p^2`` a mode obeys ``dp = p^2 (1 - a p) - eta p``, ``a = 1 + variance``. It
    vanishes from a start below ``p_- = (1 - sqrt(1 - 4 a eta))/(2a)``, goes to ``p_+ = (1 + sqrt(1 - 4 a eta))/(2a)``
    from above it, and always vanishes if ``eta > 1/(4a)``.

    Parameters
    ----------
    variance : float
        Variance of an augmentation in every direction, not negative.
    eta : float
        Weight decay, not negative.

    Returns
    -------
    tuple of float, or None
        ``(p_-, p_+)``.

    Raises
    ------
    InputError
        For a negative variance or decay.

    Source
    ------
    arXiv 2102.06810; pack linear-byol.

    Examples
    --------
    >>> collapse_threshold(0.0, 0.1875), collapse_threshold(0.0, 0.26)
    ((0.25, 0.75), None)
    """
    _check_variance(variance)
    _check_rates(1.0, 0.0, eta)
    a = 1 + float(variance)
    inside = 1 - 4 * a * float(eta)
    if inside < 0:
        return None
    high = (1 + math.sqrt(inside)) / (2 * a)
    return float(eta) / (a * high), high  # the product of both is eta / a: no cancellation


def runge_kutta(rates: Callable[[State], Sequence[Tensor]], start: Sequence[Tensor], step: float, steps: int) -> State:
    """Integrate an autonomous flow by the classical Runge-Kutta method of order 4.

    Parameters
    ----------
    rates : callable
        Maps a list of tensors to their rates of change.
    start : sequence of Tensor
        Values at time 0.
    step : float
        Length of one step.
    steps : int
        Number of steps.

    Returns
    -------
    list of Tensor
        Values at time ``step * steps``.

    Examples
    --------
    >>> (end,) = runge_kutta(lambda y: [-y[0]], [torch.ones(1, dtype=torch.float64)], 0.01, 100)
    >>> round(end.item(), 8)
    0.36787944
    """
    here = list(start)
    for _ in range(steps):
        first = rates(here)
        second = rates([y + step / 2 * k for y, k in zip(here, first, strict=True)])
        third = rates([y + step / 2 * k for y, k in zip(here, second, strict=True)])
        fourth = rates([y + step * k for y, k in zip(here, third, strict=True)])
        slopes = zip(here, first, second, third, fourth, strict=True)
        here = [y + step / 6 * (a + 2 * b + 2 * c + d) for y, a, b, c, d in slopes]
    return here


def _check_variance(variance: Real) -> None:
    if not as_number(variance) >= 0:
        raise InputError(f"variance={variance!r}: must be a finite number that is not negative")


def _check_rates(alpha: Real, beta: Real, eta: Real) -> None:
    if not as_number(alpha) > 0:
        raise InputError(f"alpha={alpha!r}: must be a finite positive number")
    for name, value in (("beta", beta), ("eta", eta)):
        if not as_number(value) >= 0:
            raise InputError(f"{name}={value!r}: must be a finite number that is not negative")
