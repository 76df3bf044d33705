"""Spectral, Barlow Twins and VICReg losses as exact expectations over a finite population.

Each takes a table of outputs, one row for every augmented point of a `FinitePopulation`, and returns a scalar that is
differentiable in it. Expectations are finite sums; x_1 and x_+ are independent augmentations of a point.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, as_number
from numeric.towers.populations import FinitePopulation


def spectral_loss(outputs: Float[Tensor, "MA k"], population: FinitePopulation) -> Float[Tensor, ""]:
    """Expected spectral contrastive loss ``-2 E[f(x_1)^T f(x_+)] + E[(f(x_1)^T f(x'_1))^2]``.

    Parameters
    ----------
    outputs : Tensor
        Outputs at all augmented points, ``(M A, k)``, in the order of ``population.flat_points``.
    population : FinitePopulation
        Points and augmentations with their weights. An augmentation that several points share is listed under each.

    Returns
    -------
    Tensor
        A scalar, differentiable in ``outputs``.

    Raises
    ------
    InputError
        Another number of rows.

    Source
    ------
    HaoChen et al., arXiv 2106.04156; pack spectral-loss.

    Examples
    --------
    >>> population = FinitePopulation([[[1.0], [3.0]]])
    >>> float(spectral_loss(population.flat_points, population))
    17.0
    """
    means, second = _moments(outputs, population)
    positive = (population.point_weights * means.square().sum(-1)).sum()
    # E[(f^T f')^2] = tr(S S) with S = E[f f^T].
    return second.square().sum() - 2 * positive


def spectral_family_loss(
    outputs: Float[Tensor, "MA k"], population: FinitePopulation, beta: Real = 1.0
) -> Float[Tensor, ""]:
    """Invariance and whitening in squares: ``beta E||f(x_1) - f(x_+)||^2 + ||E[f f^T] - I||_F^2``.

    With beta = 1 this is :func:`spectral_loss` plus k; a larger beta weighs the invariance more.

    Parameters
    ----------
    outputs, population
        As in :func:`spectral_loss`.
    beta : float
        Weight of the invariance.

    Returns
    -------
    Tensor
        A scalar, differentiable in ``outputs``.

    Raises
    ------
    InputError
        Another number of rows, or a weight that is not finite.

    Source
    ------
    Cabannes et al., arXiv 2302.02774; pack spectral-loss.

    Examples
    --------
    >>> population = FinitePopulation([[[1.0], [3.0]]])
    >>> float(spectral_family_loss(population.flat_points, population))
    18.0
    """
    beta = _finite(beta, "beta")
    _, second = _moments(outputs, population)
    return beta * _invariance(outputs, population) + (second - torch.eye(len(second)).to(second)).square().sum()


def barlow_loss(
    outputs: Float[Tensor, "MA d"],
    population: FinitePopulation,
    off_diagonal: Real = 1.0,
    normalized: bool = False,
) -> Float[Tensor, ""]:
    """Barlow Twins: ``sum_i (1 - C_ii)^2 + off_diagonal sum_{i != j} C_ij^2``, with C the cross-moment of two views.

    ``C = 1/2 E[f(x_1) f(x_+)^T + f(x_+) f(x_1)^T] = E_x[fbar fbar^T]``.

    Parameters
    ----------
    outputs, population
        As in :func:`spectral_loss`.
    off_diagonal : float
        Weight of the entries off the diagonal: 1 in the theory of Simon et al., 0.005 in Barlow Twins.
    normalized : bool
        Whether every output is first brought to mean 0 and variance 1, as in Barlow Twins.

    Returns
    -------
    Tensor
        A scalar, differentiable in ``outputs``.

    Raises
    ------
    InputError
        Another number of rows, a weight that is not finite, or a constant output that is to be normalised.

    Source
    ------
    Zbontar et al., arXiv 2103.03230; Simon et al., arXiv 2303.15438; pack stepwise-barlow.

    Examples
    --------
    >>> population = FinitePopulation([[[1.0], [3.0]], [[0.0], [0.0]]])
    >>> float(barlow_loss(population.flat_points, population))
    1.0
    """
    off_diagonal = _finite(off_diagonal, "off_diagonal")
    check_rows(outputs, population)
    if normalized:
        centred = outputs - population.flat_weights @ outputs
        variance = population.flat_weights @ centred.square()
        if bool((variance <= 0).any()):
            raise InputError(f"outputs of barlow_loss: column {int(variance.argmin())} is constant, has no variance")
        outputs = centred / variance.sqrt()
    means = population.mean(outputs)
    cross = torch.einsum("m,mi,mj->ij", population.point_weights, means, means)
    diagonal = cross.diagonal()
    return (1 - diagonal).square().sum() + off_diagonal * (cross.square().sum() - diagonal.square().sum())


def vicreg_loss(
    outputs: Float[Tensor, "MA d"],
    population: FinitePopulation,
    invariance: Real = 25.0,
    variance: Real = 25.0,
    covariance: Real = 1.0,
    epsilon: Real = 1e-4,
) -> Float[Tensor, ""]:
    """VICReg: invariance, a hinge on the deviation of every output, and covariances off the diagonal.

    ``invariance E||f(x_1) - f(x_+)||^2 + 2 variance/d sum_i max(0, 1 - sqrt(C_ii + epsilon)) + 2 covariance/d
    sum_{i != j} C_ij^2`` with ``C = Cov[f]``; the factors 2 are those of two views of one law.

    Parameters
    ----------
    outputs, population
        As in :func:`spectral_loss`.
    invariance, variance, covariance : float
        Weights of the three terms.
    epsilon : float
        Added to a variance before its root is taken, positive.

    Returns
    -------
    Tensor
        A scalar, differentiable in ``outputs``.

    Raises
    ------
    InputError
        Another number of rows, a weight that is not finite, or an epsilon that is not positive.

    Source
    ------
    Bardes et al., arXiv 2105.04906; with squares in place of the hinge: :func:`spectral_family_loss`.

    Examples
    --------
    >>> population = FinitePopulation([[[1.0], [3.0]]])
    >>> float(vicreg_loss(population.flat_points, population))
    50.0
    """
    terms = ("invariance", invariance), ("variance", variance), ("covariance", covariance), ("epsilon", epsilon)
    invariance, variance, covariance, epsilon = (_finite(value, name) for name, value in terms)
    if epsilon <= 0:
        raise InputError(f"epsilon={epsilon!r}: must be positive")
    check_rows(outputs, population)
    centred = outputs - population.flat_weights @ outputs
    matrix = torch.einsum("a,ai,aj->ij", population.flat_weights, centred, centred)
    own = matrix.diagonal()
    hinge = (1 - (own + epsilon).sqrt()).clamp(min=0).mean()
    off_diagonal = (matrix.square().sum() - own.square().sum()) / len(own)
    return invariance * _invariance(outputs, population) + 2 * variance * hinge + 2 * covariance * off_diagonal


def _finite(value: Real, place: str) -> float:
    number = as_number(value)
    if not math.isfinite(number):
        raise InputError(f"{place}={value!r}: must be finite")
    return number


def check_rows(outputs: Tensor, population: FinitePopulation, place: str = "outputs") -> None:
    """Refuse a table without a row for every augmented point."""
    count = population.size * population.augmentations
    if outputs.ndim != 2 or len(outputs) != count:
        raise InputError(f"{place} of shape {tuple(outputs.shape)}: must be ({count}, k), a row per augmented point")


def _moments(outputs: Tensor, population: FinitePopulation) -> tuple[Tensor, Tensor]:
    """Means over the augmentations of each point, and ``E[f f^T]``."""
    check_rows(outputs, population)
    second = torch.einsum("a,ai,aj->ij", population.flat_weights, outputs, outputs)
    return population.mean(outputs), second


def _invariance(outputs: Tensor, population: FinitePopulation) -> Tensor:
    """``E||f(x_1) - f(x_+)||^2``: twice the variance within a point."""
    means = population.mean(outputs)
    gaps = outputs.unflatten(0, (population.size, -1)) - means[:, None]
    weights = population.point_weights[:, None] * population.augmentation_weights
    total: Tensor = 2 * (weights * gaps.square().sum(-1)).sum()
    return total
