"""Exponents, intervals, bounds and decisions, against laws whose order is known and against values made another way."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from verify.tolerance.statistics import (
    POWER,
    RUN_FALSE_ALARM,
    SHARES,
    Interval,
    allowed,
    detected,
    dkw_bound,
    dkw_detected,
    fewest_rises,
    judge_order,
    judge_signs,
    local_exponent,
    mean_interval,
    order_effect,
    proportion_interval,
    sign_effect,
    standard_errors,
)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_exponent_of_a_law_with_its_next_order(order):
    spread = np.geomspace(0.01, 0.0001, 9)
    size = 0.3 * spread**order * (1 + 0.7 * spread)
    # log(1 + b s) differs from its linear term by (b s)^2 / 2, which moves the slope by less than that over a decade.
    assert abs(local_exponent(spread, size) - order) < (0.7 * 0.01) ** 2


def test_coverage_of_the_interval():
    """A 90 % interval holds the true mean in 90 % of 2,000 samples, within five binomial standard errors."""
    rng = np.random.default_rng(7)
    runs, level = 2000, 0.9
    hits = 0
    for _ in range(runs):
        found = mean_interval(list(rng.normal(2.0, 0.3, size=8)), level)
        hits += found.low <= 2.0 <= found.high
    # False-alarm rate of five standard errors: 6e-7.
    assert abs(hits / runs - level) < 5 * np.sqrt(level * (1 - level) / runs), "seed 7"


def test_neighbouring_orders_are_told_apart():
    tight = Interval(2.0, 1.99, 2.01, 0.99)
    assert [judge_order(tight, order, 0.1) for order in (1, 2, 3)] == ["refuted", "holds", "refuted"]


def test_a_wide_interval_abstains():
    assert judge_order(Interval(2.0, 1.0, 3.0, 0.99), 2, 0.1) == "abstained"


def test_too_little_data_is_an_error():
    with pytest.raises(ValueError, match="at least three"):
        mean_interval([1.0, 2.0], 0.9)
    with pytest.raises(ValueError, match="four positive"):
        local_exponent(np.array([0.1, 0.01]), np.array([1.0, 0.1]))
    with pytest.raises(ValueError, match="four positive"):
        local_exponent(np.geomspace(0.1, 0.01, 5), np.zeros(5))


# Oracles: mpmath's incomplete beta function and quadrature, sums of binomial terms, and values from printed tables.


def student_tail(q, freedom):
    """P(|T| > q) of Student's law, by the incomplete beta function of mpmath."""
    x = mpmath.mpf(freedom) / (freedom + mpmath.mpf(q) ** 2)
    return mpmath.betainc(mpmath.mpf(freedom) / 2, mpmath.mpf(1) / 2, 0, x, regularized=True)


def noncentral_tail(q, freedom, effect):
    """P(T > q) of the noncentral law: the normal tail averaged over the estimated scale, by quadrature."""

    def integrand(v):
        density = v ** (freedom / mpmath.mpf(2) - 1) * mpmath.exp(-v / 2)
        return density * mpmath.ncdf(effect - q * mpmath.sqrt(v / freedom))

    norm = mpmath.mpf(2) ** (freedom / mpmath.mpf(2)) * mpmath.gamma(freedom / mpmath.mpf(2))
    return mpmath.quad(integrand, [0, freedom / 2, freedom, 2 * freedom, 6 * freedom + 60]) / norm


def binomial(trials, hits, p):
    """P(X >= hits), term by term."""
    p = mpmath.mpf(p)
    return sum(mpmath.binomial(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(hits, trials + 1))


@pytest.mark.parametrize(("rate", "freedom"), [(1e-6, 7), (1e-3, 20), (0.05, 99)])
def test_standard_errors_are_quantiles(rate, freedom):
    assert abs(student_tail(standard_errors(rate, freedom), freedom) / rate - 1) < 1e-9


@pytest.mark.parametrize(
    ("tolerance", "freedom", "power"), [(5.0, 40, 0.999), (3.0, 8, 0.9), (0.5, 99, 0.6), (30.0, 99, 0.999)]
)
def test_what_is_detected_is_detected_that_often(tolerance, freedom, power):
    effect = detected(tolerance, freedom, power)
    assert abs(noncentral_tail(tolerance, freedom, effect) - power) < 1e-8
    assert detected(tolerance, freedom) >= effect
    assert abs(noncentral_tail(tolerance, freedom, detected(tolerance, freedom)) - 0.999) < 1e-8


def test_the_interval_of_a_mean_is_that_of_the_tables():
    """t_{0.975, 2} = 4.302653, t_{0.95, 4} = 2.131847."""
    found = mean_interval([1.0, 2.0, 3.0], 0.95)
    np.testing.assert_allclose([found.low, found.high], [2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5], rtol=2e-6)
    found = mean_interval([0.0, 1.0, 2.0, 3.0, 5.0], 0.90)
    half = 2.131847 * np.std([0, 1, 2, 3, 5], ddof=1) / 5**0.5
    np.testing.assert_allclose([found.estimate, found.low, found.high], [2.2, 2.2 - half, 2.2 + half], rtol=5e-6)
    assert found.level == 0.90
    assert mean_interval([1.0, 2.0, 4.0], 0.9).estimate == pytest.approx(7 / 3)


def test_means_of_single_precision_are_taken_in_double():
    values = np.array([1.0, 1e-9, 1e-9, 1e-9], dtype=np.float32)
    assert mean_interval(values, 0.9) == mean_interval(values.astype(np.float64), 0.9)


@pytest.mark.parametrize(("hits", "trials", "level"), [(3, 10, 0.95), (1, 40, 0.999), (39, 40, 0.9), (20, 25, 0.5)])
def test_the_interval_of_a_probability_leaves_equal_tails(hits, trials, level):
    found, tail = proportion_interval(hits, trials, level), (1 - level) / 2
    assert abs(binomial(trials, hits, found.low) - tail) < 1e-10
    assert abs(1 - binomial(trials, hits + 1, found.high) - tail) < 1e-10
    assert found.estimate == hits / trials
    assert found.level == level


def test_the_interval_of_a_probability_at_its_ends():
    none, all_of_them = proportion_interval(0, 12, 0.9), proportion_interval(12, 12, 0.9)
    assert (none.low, all_of_them.high) == (0.0, 1.0)
    assert abs((1 - mpmath.mpf(none.high)) ** 12 - 0.05) < 1e-12
    assert abs(mpmath.mpf(all_of_them.low) ** 12 - 0.05) < 1e-12
    assert abs(mpmath.mpf(proportion_interval(1, 1, 0.9).low) - 0.05) < 1e-12
    for hits, trials in ((-1, 3), (4, 3), (0, 0)):
        with pytest.raises(ValueError, match="between 0 of the trials and all of them"):
            proportion_interval(hits, trials, 0.9)


@pytest.mark.parametrize(("samples", "rate"), [(100, 1e-3), (10_000, 1e-9), (1, 0.5)])
def test_distances_of_distribution_functions(samples, rate):
    bound = dkw_bound(samples, rate)
    assert 2 * mpmath.exp(-2 * samples * mpmath.mpf(bound) ** 2) == pytest.approx(rate, rel=1e-12)
    beyond = dkw_detected(samples, rate, 0.9) - bound
    assert mpmath.exp(-2 * samples * mpmath.mpf(beyond) ** 2) == pytest.approx(0.1, rel=1e-10)
    assert dkw_detected(samples, rate) - bound == pytest.approx((np.log(1000) / (2 * samples)) ** 0.5, rel=1e-10)


@pytest.mark.parametrize(("samples", "rate"), [(0, 0.1), (5, 0.0), (5, 1.0)])
def test_distances_need_samples_and_a_rate(samples, rate):
    with pytest.raises(ValueError, match="at least one sample and a rate strictly between 0 and 1"):
        dkw_bound(samples, rate)


def test_the_smallest_error_of_an_order_that_is_refuted():
    """An estimate that many of its standard errors beyond the margin is refuted with the stated power."""
    level, count, error = 1 - 1e-4, 16, 0.02
    half = error * standard_errors(1 - level, count - 1)
    effect = order_effect(Interval(2.0, 2.0 - half, 2.0 + half, level), 0.1, count)
    shift = (effect - 0.1) / error
    assert abs(noncentral_tail(standard_errors(1 - level, count - 1), count - 1, shift) - POWER) < 1e-7


@pytest.mark.parametrize("rate", [1e-2, 1e-6, 2e-8])
@pytest.mark.parametrize("trials", [1, 5, 24, 64])
def test_the_sign_test_is_the_binomial_sum(trials, rate):
    """Against sums of integers over a power of two; a law of 1/2 is decided as rarely as the rate allows."""
    tails = [sum(math.comb(trials, k) for k in range(n, trials + 1)) for n in range(trials + 2)]
    holds = [n for n in range(trials + 1) if Fraction(tails[n], 2**trials) <= Fraction(rate)]
    assert fewest_rises(trials, rate) == (holds[0] if holds else trials + 1)
    for rises in range(trials + 1):
        expected = "holds" if rises in holds else "refuted" if trials - rises in holds else "abstained"
        assert judge_signs(rises, trials, rate) == expected
    share = sign_effect(trials, rate, 0.9)
    if not holds:
        assert share == 0
    else:
        refuted = sum(
            math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(trials - holds[0] + 1)
        )
        assert refuted == pytest.approx(0.9, rel=1e-9)


@pytest.mark.parametrize(("rises", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_rises_are_among_the_trials(rises, trials):
    with pytest.raises(ValueError, match="must be between 0 of the trials and all of them"):
        judge_signs(rises, trials, 0.1)


def test_rates_of_checks_add_up():
    assert RUN_FALSE_ALARM == 1e-6
    assert all(share > 0 for share in SHARES.values())
    assert sum(SHARES.values(), Fraction(0)) < 1
    assert sum(allowed(check) for check in SHARES) < RUN_FALSE_ALARM
    for check, share in SHARES.items():
        assert allowed(check) == pytest.approx(1e-6 * share.numerator / share.denominator, rel=1e-15)
        assert sum(allowed(check, 7) for _ in range(7)) == pytest.approx(allowed(check), rel=1e-12)
    for comparisons in (0, -1):
        with pytest.raises(ValueError, match=f"comparisons={comparisons}: must be at least 1"):
            allowed("drift", comparisons)
    with pytest.raises(KeyError):
        allowed("nothing of that name")


@pytest.mark.parametrize(
    ("level", "text"),
    [(0.95, "2.0000 [1.5000, 2.2500] at 95%"), (0.99995, "2.0000 [1.5000, 2.2500] at 1 - 5e-05"),
     (0.9999, "2.0000 [1.5000, 2.2500] at 1 - 1e-04"), (0.9985, "2.0000 [1.5000, 2.2500] at 99.8500%"), (1 - 1e-6, "2.0000 [1.5000, 2.2500] at 1 - 1e-06")],
)  # fmt: skip
def test_an_interval_in_words(level, text):
    assert str(Interval(2.0, 1.5, 2.25, level)) == text


def test_orders_at_the_edge_of_the_margin():
    """The whole interval within the margin holds, entirely outside refutes, its ends included or not."""
    assert judge_order(Interval(2.0, 1.875, 2.125, 0.9), 2, 0.125) == "holds"
    assert judge_order(Interval(2.0, 1.8749, 2.125, 0.9), 2, 0.125) == "abstained"
    assert judge_order(Interval(2.0, 1.875, 2.1251, 0.9), 2, 0.125) == "abstained"
    assert judge_order(Interval(2.5, 2.125, 2.75, 0.9), 2, 0.125) == "abstained"
    assert judge_order(Interval(2.5, 2.1251, 2.75, 0.9), 2, 0.125) == "refuted"
    assert judge_order(Interval(1.5, 1.25, 1.875, 0.9), 2, 0.125) == "abstained"
    assert judge_order(Interval(1.5, 1.25, 1.8749, 0.9), 2, 0.125) == "refuted"


def test_exponents_of_four_points_and_of_nothing_else():
    spread = np.array([0.1, 0.2, 0.3, 0.4])
    assert local_exponent(spread, 5 * spread**1.5) == pytest.approx(1.5, abs=1e-10)
    with pytest.raises(ValueError, match="four positive"):
        local_exponent(spread[:3], spread[:3])
    with pytest.raises(ValueError, match="four positive"):
        local_exponent(np.array([0.0, 0.2, 0.3, 0.4]), spread)
