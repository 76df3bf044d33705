"""Statement 6 by sampling: the left side with a bound of its error that holds for every law.

The covariance is a square of sampled contrasts. Where it vanishes the t statistic of an estimate has a tail that is far
heavier than Student's, so that no number of standard errors keeps a false-alarm rate of 1e-6. The contrasts are means
of bounded draws: the empirical Bernstein bound holds for them, and what it allows for a product follows by arithmetic.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from verify.engine.evidence import Evidence
from verify.tolerance import rounding
from verify.tolerance.statistics import bernstein_bound
from verify.towers.tower import Array

if TYPE_CHECKING:
    from numeric import RootContrasts


def bounded(contrasts: RootContrasts, false_alarm: float) -> tuple[Array, Array]:
    """Estimate of ``sum_z pi_z c_z c_z^T`` and the largest error of every entry, for all entries together.

    With ``|c_z - mean| <= e_z``, each entry is off by at most ``sum_z pi_z (|m_i| e_j + |m_j| e_i + e_i e_j)``.

    Parameters
    ----------
    contrasts : numeric.RootContrasts
    false_alarm : float
        Probability that some entry of some network is off by more.

    Returns
    -------
    (array, array)
        ``(E, n_in, n_in)`` each.
    """
    means, prior = contrasts.means.cpu().numpy(), contrasts.prior.cpu().numpy()
    each = false_alarm / means.size
    error = bernstein_bound(contrasts.variances.cpu().numpy(), contrasts.spans.cpu().numpy(), contrasts.samples, each)
    # Sums of float64 numbers of at most that size.
    error = error + 64 * rounding.UNIT_ROUNDOFF * (np.abs(means) + contrasts.spans.cpu().numpy())
    cross = np.einsum("zei,zej,z->eij", np.abs(means), error, prior)
    allowed = cross + cross.swapaxes(-1, -2) + np.einsum("zei,zej,z->eij", error, error, prior)
    estimate = contrasts.covariance.cpu().numpy()
    return estimate, allowed + 64 * rounding.UNIT_ROUNDOFF * np.abs(estimate)


def with_effect(found: Evidence) -> Evidence:
    """The evidence with the smallest effect that is detected: a claim that is off by more than twice the bound.

    The estimate is within the bound of the truth, so that the claim is then further from it than the bound.
    """
    if found.tolerance is None:
        return found
    effect = f"an entry of the covariance that is {2 * found.tolerance:.2g} off"
    note = f"tolerance {found.tolerance:.2g}, for every law; refutes {effect}"
    return replace(found, detail=f"{found.detail}; {note}", effect=effect)
