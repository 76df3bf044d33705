"""The key identity on toys, latent trees and digits; it fails where a bias is added, and with another connection."""

import pytest

from verify.instances import samples
from verify.instances.instance import PairInstance
from verify.towers import autograd
from verify.towers.tower import exact_tower

PAIRS = [
    *samples.toy_pairs(5, 60),
    *samples.pairs_of(samples.tree_populations(5, 2), 5, 5),
    *samples.pairs_of(samples.digit_populations(5, 2), 5, 5),
]


def test_it_holds_in_rationals():
    assert {autograd.measure_exact(pair).residual for pair in PAIRS[:60]} == {0.0}


def test_it_holds_in_float64_within_rounding():
    found = [autograd.measure_float(pair) for pair in PAIRS]
    assert {one.status for one in found} <= {"holds", "abstained"}
    assert sum(one.status == "holds" for one in found) >= 60
    # The bound is one of rounding, not one that everything passes.
    assert max(one.tolerance for one in found if one.status == "holds") < 1e-6


@pytest.mark.parametrize("measure", [autograd.measure_exact, autograd.measure_float])
def test_a_bias_refutes_it(measure, monkeypatch):
    true = autograd.difference
    monkeypatch.setattr(autograd, "difference", lambda one, layer: true(one, layer) + one.output[:1] * 0 + 1)
    assert measure(PAIRS[0]).status == "refuted"


@pytest.mark.parametrize("measure", [autograd.measure_exact, autograd.measure_float])
def test_the_connection_of_another_layer_refutes_it(measure, monkeypatch):
    """Half of the connection in place of all of it, on a network whose output is not 0."""
    true = autograd.connection
    monkeypatch.setattr(autograd, "connection", lambda one, layer: true(one, layer) / 2)
    pair = next(p for p in PAIRS if any(v != 0 for v in exact_tower(p.weights_1, p.x_1, p.slope).output))
    assert measure(pair).status == "refuted"


def test_a_gate_near_its_kink_decides_nothing():
    """0.1 + 0.2 - 0.3 is 0 within rounding, and not 0."""
    weights = (((0.1, 0.2, -0.3),), ((1.0,),))
    pair = PairInstance(0.0, weights, weights, (1.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    assert autograd.measure_float(pair).status == "abstained"
    assert autograd.measure_exact(pair).status == "holds"
