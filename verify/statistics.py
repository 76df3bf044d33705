"""Statistics of the checks: fitted exponents with confidence intervals, and the decision drawn from them.

SciPy is imported late; it takes longer to load than many checks take to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided confidence interval of the stated level."""

    estimate: float
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}] at {self.level:.4%}".replace(".0000%", "%")


def local_exponent(spread: np.ndarray, size: np.ndarray) -> float:
    """Exponent of ``size ~ c spread^k (1 + b spread)`` as spread goes to zero, by least squares in logarithms.

    The linear correction term keeps the next order of the expansion from biasing k.

    Parameters
    ----------
    spread, size : arrays (n,), positive, n >= 4

    Examples
    --------
    >>> s = np.geomspace(0.1, 0.003, 8)
    >>> round(local_exponent(s, 3 * s**2 * np.exp(0.5 * s)), 6)
    2.0
    """
    if len(spread) < 4 or np.any(spread <= 0) or np.any(size <= 0):
        raise ValueError("an exponent needs at least four positive pairs of spread and size")
    design = np.column_stack([np.ones_like(spread), np.log(spread), spread])
    solution, *_ = np.linalg.lstsq(design, np.log(size), rcond=None)
    return float(solution[1])


def mean_interval(values: Sequence[float], level: float) -> Interval:
    """Student interval for the mean of independent values.

    Examples
    --------
    >>> found = mean_interval([1.9, 2.0, 2.1], level=0.95)
    >>> found.low < 2.0 < found.high
    True
    """
    from scipy.stats import t

    data = np.asarray(values, dtype=np.float64)
    if len(data) < 3:
        raise ValueError(f"an interval needs at least three values, got {len(data)}")
    centre, error = float(data.mean()), float(data.std(ddof=1) / np.sqrt(len(data)))
    half = float(t.ppf(0.5 + level / 2, len(data) - 1)) * error
    return Interval(centre, centre - half, centre + half, level)


def judge_order(found: Interval, claimed: float, margin: float) -> Literal["holds", "refuted", "abstained"]:
    """Equivalence decision: the whole interval within `claimed` +- `margin` holds, entirely outside refutes.

    Examples
    --------
    >>> judge_order(Interval(2.01, 1.99, 2.03, 0.99), 2, 0.1), judge_order(Interval(1.0, 0.9, 1.1, 0.99), 2, 0.1)
    ('holds', 'refuted')
    """
    low, high = claimed - margin, claimed + margin
    if low <= found.low and found.high <= high:
        return "holds"
    if found.high < low or found.low > high:
        return "refuted"
    return "abstained"


def dkw_bound(samples: int, false_alarm: float) -> float:
    """Largest distance of an empirical distribution function from the true one, up to the false-alarm rate.

    Dvoretzky, Kiefer and Wolfowitz with Massart's constant: ``P(sup |F_n - F| > e) <= 2 exp(-2 n e^2)`` for every n and
    every law, continuous or not.

    Examples
    --------
    >>> round(dkw_bound(10_000, 1e-9), 4)
    0.0327
    """
    if samples < 1 or not 0 < false_alarm < 1:
        raise ValueError("the distance needs at least one sample and a rate strictly between 0 and 1")
    return float(np.sqrt(np.log(2 / false_alarm) / (2 * samples)))


def proportion_interval(hits: int, trials: int, level: float) -> Interval:
    """Clopper-Pearson interval of a probability: exact, so that it covers with at least the stated level.

    Examples
    --------
    >>> found = proportion_interval(0, 10, 0.95)
    >>> found.low, round(found.high, 4)
    (0.0, 0.3085)
    """
    from scipy.stats import beta

    if not 0 <= hits <= trials or trials < 1:
        raise ValueError(f"{hits} of {trials}: must be between 0 of the trials and all of them, at least one")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits == trials else float(beta.isf(tail, hits + 1, trials - hits))
    return Interval(hits / trials, low, high, level)
