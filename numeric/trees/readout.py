"""Best linear read-out of a latent from all neurons of a group: their multiple correlation, with or without noise.

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
    eps = torch.finfo(values.dtype if values.is_floating_point() else torch.float64).eps
    rows, own, finite = _centred(values, law, eps, common=variance > 0)
    states, spread, known = _centred(latent.unsqueeze(-2), law, torch.finfo(torch.float64).eps)
    eigenvalues, directions = torch.linalg.eigh(_product(rows, rows, law) / _scales(own, own, variance))
    along = (directions.mT @ (_product(rows, states, law) / _scales(own, spread, variance))).squeeze(-1)
    smallest = max(RANK_TOLERANCE, (8 * values.shape[-2] * eps) ** 2) * eigenvalues[..., -1:]
    kept = (eigenvalues > smallest.clamp(min=0)) | (variance > 0)
    shrunk = torch.where(kept, eigenvalues.clamp(min=0) + variance, 1.0)
    square = torch.where(kept, along.square() / shrunk, 0.0).sum(-1)
    return torch.where(finite & known, square.clamp(0, 1).sqrt(), torch.nan)


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
