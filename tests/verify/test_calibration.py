"""Calibration: how often checks that draw refute what is true, and how often they miss what is wrong by 5 %.

The checks run at a family-wise rate of 1e-2 in place of 1e-6, so that there is something to count in 1,000 seeds.
"""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from flint import fmpq

import hltm
import verify
from verify.instances.instance import TreeInstance
from verify.tolerance import statistics
from verify.tolerance.statistics import (
    POWER,
    SHARES,
    allowed,
    detected,
    dkw_detected,
    judge_order,
    mean_interval,
    order_effect,
    proportion_interval,
    standard_errors,
)
from verify.trees import agreement, lucky_floats
from verify.trees.lucky import STATED

SEEDS = range(1000)
WEAK = 1e-2
# Of this test itself: what is counted must be possible at the stated rate, up to this.
OURS = 1e-6
# One leaf below one linear neuron; symmetric, polarity 9/10.
ONE = TreeInstance(hltm.star_tree(1, 0.9), (((1.0,),),), 1.0)


@pytest.fixture
def weak(monkeypatch):
    """One check at the rate `WEAK`: the run's rate is raised until its share of it is that."""
    return lambda check: monkeypatch.setattr(statistics, "RUN_FALSE_ALARM", WEAK / float(SHARES[check]))


def at_most(count, rate):
    """Whether so many of 1,000 are possible where the rate is `rate` or less."""
    return proportion_interval(count, len(SEEDS), 1 - OURS).low <= rate


def test_every_share_is_used_and_no_check_draws_without_one():
    """Each name stands in exactly one call of `allowed` in `verify`, and no module keeps a rate of its own."""
    from pathlib import Path

    sources = {
        p: p.read_text()
        for p in Path(verify.__file__).parent.rglob("*.py")
        # What a figure shows decides nothing.
        if p.name not in ("statistics.py", "figures.py") and p.parent.name != "figures"
    }
    for check in SHARES:
        assert any(f'allowed("{check}"' in text for text in sources.values()), check
    for name, text in sources.items():
        assert "FALSE_ALARM = " not in text, name
        for word in ("mean_interval(", "dkw_bound(", "proportion_interval(", "standard_errors("):
            assert word not in text or "allowed(" in text, (name, word)


# The hard cases: V = 0, where an estimate is a square; a root, and a leaf, that are nearly certain; three root states.
TRUE = {
    "one leaf": ONE,
    "no signal": TreeInstance(hltm.star_tree(1, 0.0), (((1.0,),),), 1.0),
    "nearly certain leaf": TreeInstance(hltm.star_tree(1, 0.998), (((1.0,),),), 1.0),
    "nearly certain root": TreeInstance(hltm.star_tree(1, 0.3, root_polarity=0.99), (((1.0,),),), 1.0),
    "rarely on": TreeInstance(hltm.complete_tree(2, 2, 0.25), (((1.0, -1.0),), ((1.0, -1.0),), ((-1.0, 1.0),)), 0.0),
    "categorical": TreeInstance(
        hltm.random_tree(leaves=2, seed=5, symmetric=False, cardinality=3), (((1.0, -1.0),),), 1.0
    ),
}


CHEAP = "nearly certain root"


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case == CHEAP else pytest.mark.nightly) for case in TRUE]
)
def test_sampled_covariance_of_a_true_statement(case, weak, monkeypatch):
    """False alarms at a rate of 1 %: the bound holds for every law, also where the estimate is far from normal."""
    weak("sampled covariance")
    forms = list(agreement.activation_forms(agreement.enumeration(TRUE[case])))
    assert forms
    monkeypatch.setattr(agreement, "activation_forms", lambda _: forms)
    found = [agreement.measure_sampling(TRUE[case], seed=seed, samples=300, comparisons=1) for seed in SEEDS]
    alarms = sum(one.status == "refuted" for one in found)
    assert at_most(alarms, WEAK), alarms


def test_students_law_would_refute_what_is_true(weak):
    """Why no standard errors are counted: at V = 0 the t statistic of 100 batches is far beyond its law."""
    import torch

    import numeric

    rate, instance, alarms = 1e-3, TRUE["no signal"], 0
    network = numeric.TreeNetwork.from_weights(instance.tree, instance.by_node, slope=1.0)
    limit = standard_errors(rate, 99)
    for seed in range(3000):
        generator = torch.Generator().manual_seed(seed)
        estimate, error = numeric.estimate_activation_covariance(network, instance.tree, 0, 1000, generator)
        alarms += abs(float(estimate)) > limit * float(error)
    assert proportion_interval(alarms, 3000, 1 - OURS).low > rate, alarms


def test_sampled_covariance_of_a_statement_wrong_by_five_percent(weak, monkeypatch):
    """Misses, where 5 % are what the check is said to detect: twice its bound."""
    weak("sampled covariance")
    samples = 22_000
    bound = agreement.measure_sampling(ONE, seed=0, samples=samples, comparisons=1).tolerance
    forms = list(agreement.activation_forms(agreement.enumeration(ONE)))
    assert len(forms) == 3
    assert 2 * bound <= 0.05 * min(float(form.value.max()) for form in forms)
    wrong = [dataclasses.replace(form, value=form.value * fmpq(21, 20)) for form in forms]
    monkeypatch.setattr(agreement, "activation_forms", lambda _: wrong)
    found = [agreement.measure_sampling(ONE, seed=seed, samples=samples, comparisons=1) for seed in SEEDS]
    misses = sum(one.status != "refuted" for one in found)
    assert at_most(misses, 1 - POWER), misses


def test_the_bernstein_bound_covers_means_of_rare_values():
    """Values 1 with probability 1/1000, else 0, and ten draws of +-1: the laws on which a normal interval fails."""
    from verify.tolerance.statistics import bernstein_bound

    rng = np.random.default_rng(13)
    for draws, mean, span in (
        ((rng.random((1000, 500)) < 1e-3).astype(float), 1e-3, 1.0),
        (rng.choice([-1.0, 1.0], size=(1000, 10)), 0.0, 2.0),
    ):
        bound = bernstein_bound(draws.var(axis=1, ddof=1), np.array(span), draws.shape[1], WEAK)
        assert at_most(int((np.abs(draws.mean(axis=1) - mean) > bound).sum()), WEAK)
        assert bound.max() < 40 * span / np.sqrt(draws.shape[1])
    with pytest.raises(ValueError, match="at least two samples"):
        bernstein_bound(np.array(0.0), np.array(1.0), 1, 0.5)


MEMBERS = 9200


def test_drawn_weights_of_a_true_statement(weak):
    weak("drawn weights")
    alarms = sum(lucky_floats.law_measure(ONE, STATED, seed, "cpu", MEMBERS).status == "refuted" for seed in SEEDS)
    assert at_most(alarms, WEAK), alarms


def test_drawn_weights_of_a_law_wrong_by_five_percent(weak):
    """Probabilities that are five percentage points too large, which is what so many members are said to detect."""
    weak("drawn weights")
    rate = allowed("drawn weights", lucky_floats.COMPARISONS)
    assert dkw_detected(MEMBERS, rate) <= 0.05
    wrong = dataclasses.replace(STATED, survival=lambda sizes, x: STATED.survival(sizes, x) + Fraction(1, 20))
    misses = sum(lucky_floats.law_measure(ONE, wrong, seed, "cpu", MEMBERS).status != "refuted" for seed in SEEDS)
    assert at_most(misses, 1 - POWER), misses


def test_frequencies_of_a_true_probability_and_of_one_wrong_by_five_percent():
    """Clopper-Pearson, as for existence: at most 1 % alarms; misses where the bound says that they are rare."""
    rng = np.random.default_rng(11)
    trials, p = 10_000, 0.4
    hits = rng.binomial(trials, p, size=len(SEEDS))
    intervals = [proportion_interval(int(h), trials, 1 - WEAK) for h in hits]
    assert at_most(sum(not one.low <= p <= one.high for one in intervals), WEAK)
    wrong = p + 0.05
    assert dkw_detected(trials, WEAK) <= 0.05
    assert at_most(sum(one.low <= wrong <= one.high for one in intervals), 1 - POWER)


def test_orders_that_are_true_and_orders_that_are_off_by_what_is_said_to_be_refuted():
    rng = np.random.default_rng(12)
    count, margin, deviation, level = 8, 0.1, 0.02, 1 - WEAK
    alarms, misses = 0, 0
    for _ in SEEDS:
        noise = rng.normal(0.0, deviation, size=count)
        alarms += judge_order(mean_interval(list(2.0 + margin + noise), level), 2.0, margin) == "refuted"
        error = deviation / np.sqrt(count)
        off = margin + error * detected(standard_errors(WEAK, count - 1), count - 1)
        misses += judge_order(mean_interval(list(2.0 + off + noise), level), 2.0, margin) != "refuted"
    # At the very edge of the margin an interval is above it in half of the alarms of its level.
    assert at_most(alarms, WEAK)
    assert at_most(misses, 1 - POWER)
    found = mean_interval([1.98, 2.0, 2.02, 2.01, 1.99], level)
    assert margin < order_effect(found, margin, 5) < 1
