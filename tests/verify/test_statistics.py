"""Fitted exponents and the decision drawn from them, against laws whose order is known."""

import numpy as np
import pytest

from verify.statistics import Interval, judge_order, local_exponent, mean_interval


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
