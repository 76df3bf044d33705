"""Operators against enumeration over fractions, and statements 3 and 4 where they are exact."""

import re

import pytest
import torch

from hltm.base.errors import InputError
from numeric.towers import operator as pairs
from numeric.towers.gradient import population_gradient
from numeric.towers.losses import loss_spec
from numeric.towers.network import forward, vec
from numeric.towers.operator import covariance_operator, pair_matrix, predicted_update
from numeric.towers.populations import FinitePopulation

EPS = torch.finfo(torch.float64).eps
SEEDS = range(3)
SLOPES = [0.0, 0.25, 1.0]
WIDTHS = [(2, 2), (3, 2, 2), (2, 3, 2, 1)]
LOSSES = [
    ("triplet", {"tau": 0.5, "margin": 0.25}),
    ("infonce", {"tau": 2.0}),
    ("infonce", {"tau": 1.0, "negatives": 2}),
    ("infonce", {"tau": 0.5, "negatives": 3}),
]
NAMES = ["triplet", "infonce-1", "infonce-2", "infonce-3"]


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_statement_3_holds_exactly_with_augmentation(seed, slope, make_tower, make_population):
    weights = make_tower(seed, (2, 3, 2))
    population = FinitePopulation(**make_population(seed, 4, 3, 2))
    gradients = population_gradient(weights, population, "simple", slope)
    single = population_gradient(weights, population, "simple", slope, convention="one-branch")
    predicted = predicted_update(weights, population, slope=slope)
    for gradient, half, update in zip(gradients, single, predicted, strict=True):
        assert torch.equal(gradient, update)
        assert torch.equal(2 * half, update)


def test_networks_are_relu_networks_where_no_slope_is_given(make_tower, make_population):
    weights, population = make_tower(2, (2, 3, 2)), FinitePopulation(**make_population(2, 4, 2, 2))
    zero, linear = (predicted_update(weights, population, slope=slope) for slope in (0.0, 1.0))
    assert all(torch.equal(a, b) for a, b in zip(predicted_update(weights, population), zero, strict=True))
    assert not torch.equal(zero[0], linear[0])
    relu = covariance_operator(weights, population, 1, slope=0.0)
    assert torch.equal(covariance_operator(weights, population, 1), relu)
    assert not torch.equal(covariance_operator(weights, population, 1, slope=1.0), relu)


@pytest.mark.parametrize("loss", ["simple", "infonce"])
def test_blocks_and_groups_do_not_matter(loss, monkeypatch, make_tower, make_population):
    weights, population = make_tower(4, (5, 4, 3)), FinitePopulation(**make_population(4, 6, 3, 5))
    whole = covariance_operator(weights, population, 1, loss)
    monkeypatch.setattr(pairs, "_BLOCK", 3)
    monkeypatch.setattr(pairs, "_COLUMNS", 1)
    found = covariance_operator(weights, population, 1, loss)
    assert torch.equal(found, found.T)
    # 18 columns are summed in another order; the simple operator is exact here.
    assert (found - whole).abs().max() <= (0 if loss == "simple" else 64 * EPS * whole.abs().max())


def test_chunks_of_negatives_do_not_matter(monkeypatch, make_tower, make_population):
    weights, population = make_tower(4, (2, 2)), FinitePopulation(**make_population(4, 5, 2, 2))
    whole = covariance_operator(weights, population, 1, "infonce", tau=8.0, negatives=4)
    monkeypatch.setattr(pairs, "_CHUNK", 12)
    found = covariance_operator(weights, population, 1, "infonce", tau=8.0, negatives=4)
    assert (found - whole).abs().max() <= 128 * EPS * whole.abs().max()


def test_one_negative_is_the_closed_form(make_inputs):
    outputs, w = make_inputs(0, 4, 2), torch.full((4,), 0.25).double()
    squares = 0.5 * (outputs.unsqueeze(0) - outputs.unsqueeze(1)).square().sum(-1)
    found = pair_matrix(loss_spec("infonce", tau=4.0), outputs, w)
    torch.testing.assert_close(found, torch.sigmoid(-squares / 4) / 16, rtol=64 * EPS, atol=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_distances_between_other_outputs(seed, make_tower, make_population):
    weights, arguments = make_tower(seed, (2, 3, 2)), make_population(seed, 4, 3, 2)
    population = FinitePopulation(**arguments)
    means = population.mean(forward(weights, population.flat_points))
    first = forward(weights, population.points[:, 0].contiguous())
    options = {"tau": 4.0, "negatives": 2}
    for layer in (1, 2):
        usual = covariance_operator(weights, population, layer, "infonce", **options)
        same = covariance_operator(weights, population, layer, "infonce", distances_from=means, **options)
        assert torch.equal(usual, same)
        other = covariance_operator(weights, population, layer, "infonce", distances_from=first, **options)
        assert not torch.allclose(usual, other)
    updates = predicted_update(weights, population, "infonce", distances_from=first, **options)
    for layer, update in enumerate(updates, start=1):
        operator = covariance_operator(weights, population, layer, "infonce", distances_from=first, **options)
        bound = 256 * EPS * float(operator.abs().sum()) * 3
        assert (vec(update) - operator @ vec(weights[layer - 1])).abs().max() <= bound
    with refused("distances_from of shape (3, 2): must have 4 rows, one per point"):
        predicted_update(weights, population, "infonce", distances_from=first[:3])


def test_the_triplet_loss_at_high_temperature_is_half_the_simple_loss(make_tower, make_population):
    """xi -> 1/2, and V^xi = 2 xi V for a constant xi: the ratio to the simple operator tells a lost factor 2."""
    weights, population = make_tower(0, (2, 3, 2)), FinitePopulation(**make_population(0, 4, 3, 2))
    simple = covariance_operator(weights, population, 1)
    triplet = covariance_operator(weights, population, 1, "triplet", tau=2.0**60)
    torch.testing.assert_close(triplet, simple, rtol=64 * EPS, atol=64 * EPS * float(simple.abs().max()))


@pytest.mark.parametrize("tau", [1e-4, 1e-2])
def test_small_temperatures_stay_finite(tau, make_tower, make_population):
    weights = [100 * w for w in make_tower(3, (2, 3, 2))]
    population = FinitePopulation(**make_population(3, 4, 2, 2))
    assert torch.isfinite(covariance_operator(weights, population, 1, "infonce", tau=tau, negatives=2)).all()


def test_results_carry_no_graph(make_tower, make_population):
    weights, population = make_tower(0, (2, 3, 2)), FinitePopulation(**make_population(0, 4, 2, 2))
    leaves = [w.clone().requires_grad_() for w in weights]
    assert not covariance_operator(leaves, population, 1, "infonce").requires_grad
    assert not predicted_update(leaves, population, "infonce")[0].requires_grad


def test_what_operators_refuse(make_tower, make_population):
    weights, population = make_tower(0, (2, 3, 2)), FinitePopulation(**make_population(0, 4, 2, 2))
    with refused("layer=3: must lie in 1 .. 2"):
        covariance_operator(weights, population, 3)
    with refused("tau=-1 of loss 'infonce': must be positive and finite"):
        covariance_operator(weights, population, 1, "infonce", tau=-1)
    with refused("weights: ensemble of 2 networks: must be one network; take one member"):
        predicted_update(make_tower(0, (2, 3), ensemble=2), population)
    with refused("slope=2.0 of the activation: must lie in [0, 1]"):
        predicted_update(weights, population, slope=2.0)
    with refused("negatives=9 over 32 points: 1125899906842624 terms: must be at most 1000000000"):
        pair_matrix(loss_spec("infonce", negatives=9), torch.zeros(32, 1), torch.full((32,), 1 / 32))
