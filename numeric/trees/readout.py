"""Best linear read-out of a latent from all neurons of a group: their multiple correlation, with or without noise.

A latent of more states than two is read as the indicators of its states: canonical correlations of a group with them,
the correlation ratio of one neuron. With two states both are the (multiple) correlation with the state number.

Without noise it is the canonical correlation of the group with the latent. It is blind to scale: a direction counts as
much as any other, however little of the variance it has, so that a group with as many independent neurons as there are
functions of its leaves is at its limit at any weights. With noise a direction counts by its share of the variance.
"""

import torch
from jaxtyping import Float, Num
from torch import Tensor

from hltm.base.checks import number, show
from hltm.base.errors import InputError
from numeric.towers.checks import Real

NOISE = 0.1
"""Variance of the noise on each neuron, in units of the mean variance of the neurons of its group."""
RANK_TOLERANCE = 1e-10
"""Smallest eigenvalue of the correlation matrix of a group that counts, in units of the largest."""


def check_noise(noise: object) -> float:
    """Read a noise variance: a number from 0 on."""
    value = float(number(noise, "noise"))
    if value < 0:
        raise InputError(f"noise={show(noise)}: must not be negative")
    return value


def multiple_correlation(
    values: Num[Tensor, "*lead neurons samples"],
    latent: Num[Tensor, "*lead samples"],
    noise: Real = NOISE,
    law: Float[Tensor, "*lead samples"] | None = None,
) -> Float[Tensor, "*lead"]:
    r"""Correlation of a latent with the best linear combination of neurons.

    With covariance S of the neurons, their covariance c with the latent and their mean variance s it is
    ``(c^T (S + noise s 1)^+ c / Var z)^(1/2)``: each neuron is read with independent noise of variance ``noise * s``.

    Parameters
    ----------
    values : Tensor
        ``(..., neurons, samples)`` of any real type.
    latent : Tensor
        ``(..., samples)``.
    noise : float
        From 0 on. At 0 it is the canonical correlation. Its pseudo-inverse is that of the correlation matrix of the
        neurons that are not constant, and keeps the eigenvalues above ``1e-10`` of the largest (above
        ``(8 neurons eps)^2`` where that is more, eps of the type of `values`).
    law : Tensor, optional
        Probability of each sample, ``(..., samples)``; by default all are equal.

    Returns
    -------
    Tensor
        float64, ``(...)``, in [0, 1]; 0 where the latent or all neurons are constant, NaN where a value is not finite.
        Estimated from n independent samples its square is too large by up to about ``neurons / n``.

    Raises
    ------
    InputError
        Noise below 0, or not finite.

    Source
    ------
    Statement 7, emergence: Hotelling's canonical correlation with one variable on one side.

    Examples
    --------
    >>> latent = torch.tensor([0.0, 0.0, 1.0, 1.0])
    >>> values = torch.tensor([[0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 0.0, 1.0]])  # the latent is their difference
    >>> round(multiple_correlation(values, latent, noise=0).item(), 6)
    1.0
    >>> round(multiple_correlation(values, latent, noise=0.1).item(), 4)
    0.8837
    """
    variance = check_noise(noise)
    states, spread, known = _centred(latent.unsqueeze(-2), law, torch.finfo(torch.float64).eps)
    along, kept, shrunk, finite = _read_out(values, states, spread, law, variance)
    square = torch.where(kept, along.squeeze(-1).square() / shrunk, 0.0).sum(-1)
    return torch.where(finite & known, square.clamp(0, 1).sqrt(), torch.nan)


def indicators(latent: Num[Tensor, "*lead samples"], states: int) -> Float[Tensor, "*lead states samples"]:
    """1 where the latent is in a state, else 0; float64.

    Examples
    --------
    >>> indicators(torch.tensor([0, 2]), 3)
    tensor([[1., 0.],
            [0., 0.],
            [0., 1.]], dtype=torch.float64)
    """
    numbers = torch.arange(states, device=latent.device).unsqueeze(-1)
    return (latent.unsqueeze(-2) == numbers).double()


def canonical_correlations(
    values: Num[Tensor, "*lead neurons samples"],
    probabilities: Float[Tensor, "*lead states samples"],
    noise: Real = NOISE,
    law: Float[Tensor, "*lead samples"] | None = None,
) -> Float[Tensor, "*lead ranks"]:
    r"""Canonical correlations of a group of neurons with the indicators of the states of a latent, the largest first.

    With the covariance C of neurons and indicators, ``D = diag pi`` of the states, S and s as in
    :func:`numeric.multiple_correlation` they are the singular values of ``((S + noise s 1)^+)^(1/2) C D^(-1/2)``. The
    first is the largest correlation of a linear combination of the neurons with a number for each state; for a latent
    of two states it is the multiple correlation, and there is no other.

    Parameters
    ----------
    values : Tensor
        ``(..., neurons, samples)`` of any real type.
    probabilities : Tensor
        Probability of each state, ``(..., m, samples)``: indicators of the states of samples
        (:func:`numeric.indicators`), or their posterior given all that the values depend on.
    noise, law
        As in :func:`numeric.multiple_correlation`.

    Returns
    -------
    Tensor
        float64, ``(..., m - 1)``, decreasing, in [0, 1]; 0 where the latent or all neurons are constant, NaN where a
        value is not finite. Estimated from n independent samples the sum of their squares is too large by up to about
        ``neurons (m - 1) / n``.

    Raises
    ------
    InputError
        Noise below 0, or not finite.

    Source
    ------
    Statement 7, emergence, beyond two states: Hotelling's canonical correlations with the indicators of the states.

    Examples
    --------
    >>> latent = torch.tensor([0, 1, 2, 2])
    >>> values = torch.tensor([[0.0, 1.0, 0.0, 0.0]])  # tells state 1 from the others, and no more
    >>> canonical_correlations(values, indicators(latent, 3), noise=0)
    tensor([1., 0.], dtype=torch.float64)
    """
    variance = check_noise(noise)
    prior, centred = _deviations(probabilities, law)
    along, kept, shrunk, finite = _read_out(values, centred, prior, law, variance)
    scaled = torch.where(kept, shrunk.rsqrt(), 0.0).unsqueeze(-1) * along
    ranks = probabilities.shape[-2] - 1
    found = torch.linalg.svdvals(scaled)[..., :ranks].clamp(max=1)
    result = torch.nn.functional.pad(found, (0, ranks - found.shape[-1]))
    return torch.where(finite.unsqueeze(-1), result, torch.nan)


def correlation_ratio(
    values: Num[Tensor, "*lead neurons samples"],
    probabilities: Float[Tensor, "*lead states samples"],
    law: Float[Tensor, "*lead samples"] | None = None,
) -> Float[Tensor, "*lead neurons"]:
    """Correlation ratio ``(Var E[f | z] / Var f)^(1/2)`` of each neuron with a latent; 0 for one that is constant.

    It is the largest correlation of the neuron with a number for each state; for a latent of two states the absolute
    correlation.

    Parameters
    ----------
    values, probabilities, law
        As in :func:`numeric.canonical_correlations`.

    Returns
    -------
    Tensor
        float64, in [0, 1]; estimated from n independent samples its square is too large by up to about
        ``(m - 1) / n``.

    Source
    ------
    Statement 7, emergence, beyond two states: Pearson's correlation ratio. Two passes in double precision.

    Examples
    --------
    >>> values = torch.tensor([[0.0, 5.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0]])
    >>> correlation_ratio(values, indicators(torch.tensor([0, 1, 2, 2]), 3))
    tensor([1., 0.], dtype=torch.float64)
    """
    ratio, _ = ratio_and_constant(values, probabilities, law)
    return ratio


def ratio_and_constant(values: Tensor, probabilities: Tensor, law: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Correlation ratios, and whether each row is constant."""
    eps = torch.finfo(values.dtype if values.is_floating_point() else torch.float64).eps
    rows, own, finite = _centred(values, law, eps)
    prior, centred = _deviations(probabilities, law)
    along = _product(rows, centred, law) / _scales(own, prior, 0.0)
    ratio = torch.linalg.vector_norm(along, dim=-1).clamp(max=1.0)
    return torch.where(finite.unsqueeze(-1), ratio, torch.nan), own == 0


def _deviations(probabilities: Tensor, law: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean probability of each state, and the deviations from it."""
    prior = probabilities.mean(-1) if law is None else (probabilities * law.unsqueeze(-2)).sum(-1)
    return prior, probabilities - prior.unsqueeze(-1)


def _read_out(
    values: Tensor, targets: Tensor, spread: Tensor, law: Tensor | None, noise: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Covariances of centred targets with the principal directions of a group, scaled; which count, and by what."""
    eps = torch.finfo(values.dtype if values.is_floating_point() else torch.float64).eps
    rows, own, finite = _centred(values, law, eps, common=noise > 0)
    eigenvalues, directions = torch.linalg.eigh(_product(rows, rows, law) / _scales(own, own, noise))
    along = directions.mT @ (_product(rows, targets, law) / _scales(own, spread, noise))
    smallest = max(RANK_TOLERANCE, (8 * values.shape[-2] * eps) ** 2) * eigenvalues[..., -1:]
    kept = (eigenvalues > smallest.clamp(min=0)) | (noise > 0)
    return along, kept, torch.where(kept, eigenvalues.clamp(min=0) + noise, 1.0), finite


def _product(left: Tensor, right: Tensor, law: Tensor | None) -> Tensor:
    """Covariances of centred rows."""
    if law is None:
        return torch.matmul(left, right.mT) / left.shape[-1]
    return torch.matmul(left * law.unsqueeze(-2), right.mT)


def _scales(own: Tensor, other: Tensor, noise: float) -> Tensor:
    """Standard deviations by which covariances are divided: without noise of each neuron, else of the mean one."""
    first = own if noise == 0 else own.mean(-1, keepdim=True).expand_as(own)
    second = first if other is own else other
    product = first.unsqueeze(-1) * second.unsqueeze(-2)
    return torch.where(product > 0, product, 1.0).sqrt()


def _centred(values: Tensor, law: Tensor | None, eps: float, common: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Centred rows in units of the largest number, of each row or of all; their variances; whether all are finite.

    Constant rows are zero, and so are those that are not all finite.
    """
    largest = torch.maximum(values.amax(-1, keepdim=True), -values.amin(-1, keepdim=True)).double()
    finite = largest.isfinite().all(-2, keepdim=True)
    unit = largest.amax(-2, keepdim=True) if common else largest
    unit = torch.where(finite & (unit > 0), unit, 1.0)
    rows = values.to(torch.float64, copy=True).div_(unit)
    if not bool(finite.all()):
        rows.masked_fill_(~finite, 0.0)
    mean = rows.mean(-1, keepdim=True) if law is None else (rows * law.unsqueeze(-2)).sum(-1, keepdim=True)
    rows -= mean
    own = rows.square().mean(-1) if law is None else (rows.square() * law.unsqueeze(-2)).sum(-1)
    # Equal activations may differ in their last bits: they are sums in an order that products choose.
    constant = own <= torch.where(finite, 8 * eps * largest / unit, 0.0).squeeze(-1).square()
    rows.masked_fill_(constant.unsqueeze(-1), 0.0)
    return rows, own.masked_fill(constant, 0.0), finite.squeeze(-1).squeeze(-1)
