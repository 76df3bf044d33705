"""Numbers of the findings that are marked as those of seed 0 are computed anew, and are what the page says."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from verify import theorem4, theorem5, theorem7
from verify.engine.statement import Context
from verify.training import towers
from verify.training.figures import LEVEL
from verify.training.lucky import amplification, gaps, hidden, selectivities, trained_networks, training_trees

TEXT = " ".join((Path(__file__).parent.parent.parent / "docs" / "findings.md").read_text(encoding="utf-8").split())
CONTEXT = Context(seed=0)
INTERVAL = re.compile(r"(-?\d+\.\d+) \[(-?\d+\.\d+), (-?\d+\.\d+)\] at 1 - 3e-08")


def numbers(evidence):
    return [float(number) for number in INTERVAL.search(evidence.detail).groups()]


def correlations(plan):
    training = trained_networks(training_trees()["two groups"], plan)
    first, last = training.networks[0], training.networks[-1]
    nodes = hidden(first.tree)
    gap, start, end = gaps(first, nodes), selectivities(first, nodes), selectivities(last, nodes)
    return [amplification(gap, values, LEVEL) for values in (start, end, end - start)]


def test_amplification():
    before, after, growth = correlations(theorem7.plan(CONTEXT))
    assert f"it is {before.estimate:.2f} before any training and {after.estimate:.2f} after *(seed 0)*" in TEXT
    told = f"({growth.estimate:.2f}, interval of level {LEVEL:.0%}: {growth.low:.2f} to {growth.high:.2f} *(seed 0)*)"
    assert told.replace("%", " %") in TEXT
    *_, growth = correlations(replace(theorem7.plan(CONTEXT), sigma_w=1.0))
    low, high = sorted((growth.low, growth.high))
    assert f"at sigma_w = 1 ({growth.estimate:.2f}, {low:.2f} to {high:.2f}, the same networks)" in TEXT


def test_stochastic_descent():
    exponent, low, high = numbers(towers.noisy_trajectories(CONTEXT))
    told = f"the exponent is {exponent:.3f} *(seed 0)* (interval of level 1 - 3e-8: {low:.3f} to {high:.3f})"
    assert told in TEXT


def test_orders_of_the_residue():
    for source in ("toy", "digits"):
        exponent, low, high = numbers(theorem4.orders("means", 2, source, CONTEXT))
        assert f"{exponent:.4f} *(seed 0)* (interval of level 1 - 3e-8: {low:.4f} to {high:.4f}" in TEXT
    exponent, *_ = numbers(theorem4.orders("points", 1, "toy", CONTEXT))
    assert f"measured between unaugmented points under a biased augmentation it is {exponent:.4f} *(seed 0)*" in TEXT


@pytest.mark.parametrize("loss", ["simple", "triplet", "infonce"])
def test_drift_of_what_is_conserved(loss):
    told = re.search(r"fitted ([\d., ]+) for the simple loss, triplet and InfoNCE \*\(seed 0\)\*", TEXT)[1].split(", ")
    exponent, *_ = numbers(theorem5.drift(loss, CONTEXT))
    assert f"{exponent:.4f}" == told[["simple", "triplet", "infonce"].index(loss)]
