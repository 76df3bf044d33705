"""Statistics of the checks: fitted exponents with confidence intervals, and the decision drawn from them.

Every check that draws has a share of one false-alarm rate, that of a whole run; what a share allows, and the smallest
effect that the check would detect, follow from it. SciPy is imported late; it takes longer to load than many checks
take to run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

import numpy as np

from verify.engine.evidence import Evidence, Kind

RUN_FALSE_ALARM = 1e-6
"""False-alarm rate of a run: of all checks that draw, taken together."""
SHARES: Mapping[str, Fraction] = MappingProxyType(
    {
        "order of theta": Fraction(6, 32),  # statement 4: the five fits of its own, and that of the general form
        "drift": Fraction(3, 32),  # statement 5: one fit for each loss
        "rates": Fraction(3, 32),  # statement 3: minibatches, and two kinds of trajectories
        "sampled covariance": Fraction(4, 32),  # statement 6, trees
        "four ways": Fraction(4, 32),  # statement 6, sampling beside the three exact ways
        "sampled covariance, trained": Fraction(4, 32),  # statement 6 on 32 and 64 leaves
        "drawn weights": Fraction(3, 32),  # statement 7 on trees, those of the property search included
        "initialisation": Fraction(2, 32),  # statement 7 on new networks
        "amplification": Fraction(1, 32),  # statement 7: two intervals
        "emergence": Fraction(1, 32),  # statement 7: a sign test for each width and level
    }
)
"""Parts of the false-alarm rate of a run, by check; they add up to less than one."""
POWER = 0.999
"""Probability with which a check detects the smallest effect that it claims to detect."""


def allowed(check: str, comparisons: int = 1) -> float:
    """False-alarm rate of one of so many comparisons of a check."""
    if comparisons < 1:
        raise ValueError(f"comparisons={comparisons}: must be at least 1")
    return RUN_FALSE_ALARM * float(SHARES[check]) / comparisons


def standard_errors(false_alarm: float, freedom: int) -> float:
    """Standard errors that Student's t exceeds, on either side, with that probability.

    A standard error is itself estimated: far out, the normal law would allow too little.
    """
    from scipy.stats import t

    return float(t.isf(false_alarm / 2, freedom))


def detected(tolerance: float, freedom: int, power: float = POWER) -> float:
    """Smallest effect, in standard errors, that is beyond a tolerance in standard errors with that probability.

    The score of an effect d follows the noncentral t.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct

    # Normal deviates and their estimated scale: a few times the tolerance is beyond any power that is asked for.
    return float(brentq(lambda d: nct.sf(tolerance, freedom, d) - power, 0.0, 4 * tolerance + 20))


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided confidence interval of the stated level."""

    estimate: float
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        level = f"{self.level:.4%}".replace(".0000%", "%") if self.level < 0.9999 else f"1 - {1 - self.level:.0e}"
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}] at {level}"


def local_exponent(spread: np.ndarray, size: np.ndarray) -> float:
    """Exponent of ``size ~ c spread^k (1 + b spread)`` as spread goes to zero, by least squares in logarithms.

    The linear correction term keeps the next order of the expansion from biasing k.
    """
    if len(spread) < 4 or np.any(spread <= 0) or np.any(size <= 0):
        raise ValueError("an exponent needs at least four positive pairs of spread and size")
    design = np.column_stack([np.ones_like(spread), np.log(spread), spread])
    solution, *_ = np.linalg.lstsq(design, np.log(size), rcond=None)
    return float(solution[1])


def mean_interval(values: Sequence[float], level: float) -> Interval:
    """Student interval for the mean of independent values."""
    from scipy.stats import t

    data = np.asarray(values, dtype=np.float64)
    if len(data) < 3:
        raise ValueError(f"an interval needs at least three values, got {len(data)}")
    centre, error = float(data.mean()), float(data.std(ddof=1) / np.sqrt(len(data)))
    half = float(t.ppf(0.5 + level / 2, len(data) - 1)) * error
    return Interval(centre, centre - half, centre + half, level)


def judge_order(found: Interval, claimed: float, margin: float) -> Literal["holds", "refuted", "abstained"]:
    """Equivalence decision: the whole interval within `claimed` +- `margin` holds, entirely outside refutes."""
    low, high = claimed - margin, claimed + margin
    if low <= found.low and found.high <= high:
        return "holds"
    if found.high < low or found.low > high:
        return "refuted"
    return "abstained"


def order_evidence(
    kind: Kind, source: str, what: str, exponents: Sequence[float], claimed: float, level: float, skipped: int = 0,
    *, margin: float = 0.1, noun: str = "an order", note: str = "",
) -> Evidence:  # fmt: skip
    """Judge the Student interval of the mean exponent against the claimed order."""
    interval = mean_interval(exponents, level)
    effect = f"{noun} that is {order_effect(interval, margin, len(exponents)):.3f} off {claimed:g}"
    return Evidence(
        kind, judge_order(interval, claimed, margin), source, len(exponents), skipped,
        worst_residual=max(abs(interval.low - claimed), abs(interval.high - claimed)), tolerance=margin,
        detail=f"{what} {interval}, claimed {claimed} +- {margin}; refutes {effect}{note}", effect=effect,
    )  # fmt: skip


def judge_signs(rises: int, trials: int, false_alarm: float) -> Literal["holds", "refuted", "abstained"]:
    """Sign test of whether a rise is more likely than not.

    With probability 1/2 or less so many rises, or more, are rarer than the false-alarm rate where it holds; with 1/2 or
    more so few, or fewer, are rarer where it is refuted. What does not change is no rise.
    """
    from scipy.stats import binom

    if not 0 <= rises <= trials or trials < 1:
        raise ValueError(f"{rises} of {trials}: must be between 0 of the trials and all of them, at least one")
    if binom.sf(rises - 1, trials, 0.5) <= false_alarm:
        return "holds"
    return "refuted" if binom.cdf(rises, trials, 0.5) <= false_alarm else "abstained"


def fewest_rises(trials: int, false_alarm: float) -> int:
    """Smallest number of rises with which `judge_signs` holds; one more than the trials where none is enough."""
    from scipy.stats import binom

    return int(binom.isf(false_alarm, trials, 0.5)) + 1


def sign_effect(trials: int, false_alarm: float, power: float = POWER) -> float:
    """Largest probability of a rise that `judge_signs` refutes with that probability; 0 where it refutes nothing."""
    from scipy.stats import beta

    most = trials - fewest_rises(trials, false_alarm)
    # P(Bin(n, p) <= k) falls with p; it is a beta distribution function.
    return float(beta.isf(power, most + 1, trials - most)) if most >= 0 else 0.0


def dkw_detected(samples: int, false_alarm: float, power: float = POWER) -> float:
    """Smallest distance between two distribution functions that `dkw_bound` is exceeded by with that probability.

    Where a distance is D, the empirical one is within ``e`` of it, so that it exceeds the bound if ``D - e`` does. At
    the place of the largest distance the empirical frequency is one mean of n values between 0 and 1, and Hoeffding's
    inequality gives e, one-sided.
    """
    return dkw_bound(samples, false_alarm) + float(np.sqrt(np.log(1 / (1 - power)) / (2 * samples)))


def order_effect(found: Interval, margin: float, count: int) -> float:
    """Smallest error of a claimed order that `judge_order` refutes, with probability `POWER`."""
    limit = standard_errors(1 - found.level, count - 1)
    error = (found.high - found.low) / 2 / limit
    return margin + error * detected(limit, count - 1)


def dkw_bound(samples: int, false_alarm: float) -> float:
    """Largest distance of an empirical distribution function from the true one, up to the false-alarm rate.

    Dvoretzky, Kiefer and Wolfowitz with Massart's constant: ``P(sup |F_n - F| > e) <= 2 exp(-2 n e^2)`` for every n and
    every law, continuous or not.
    """
    if samples < 1 or not 0 < false_alarm < 1:
        raise ValueError("the distance needs at least one sample and a rate strictly between 0 and 1")
    return float(np.sqrt(np.log(2 / false_alarm) / (2 * samples)))


def bernstein_bound(variance: np.ndarray, span: np.ndarray, samples: int, false_alarm: float) -> np.ndarray:
    """Largest distance of a mean of bounded independent values from its expectation, up to the false-alarm rate.

    The empirical Bernstein bound of Maurer and Pontil (arXiv 0907.3740, Theorem 4), on both sides:
    ``sqrt(2 V ln(4/a) / n) + 7 R ln(4/a) / (3 (n - 1))``. It holds for every law, near-constant ones included, where
    Student's t does not.
    """
    if samples < 2 or not 0 < false_alarm < 1:
        raise ValueError("the distance needs at least two samples and a rate strictly between 0 and 1")
    log = np.log(4 / false_alarm)
    return np.sqrt(2 * np.asarray(variance) * log / samples) + 7 * np.asarray(span) * log / (3 * (samples - 1))


def proportion_interval(hits: int, trials: int, level: float) -> Interval:
    """Clopper-Pearson interval of a probability: exact, so that it covers with at least the stated level."""
    from scipy.stats import beta

    if not 0 <= hits <= trials or trials < 1:
        raise ValueError(f"{hits} of {trials}: must be between 0 of the trials and all of them, at least one")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits == trials else float(beta.isf(tail, hits + 1, trials - hits))
    return Interval(hits / trials, low, high, level)
