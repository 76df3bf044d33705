"""Losses of a table of outputs, trained on finite populations: trees and digits."""

import pytest
import torch

import hltm
import numeric
from hltm.base.errors import InputError

LOSSES = {"spectral": numeric.spectral_loss, "barlow": numeric.barlow_loss, "vicreg": numeric.vicreg_loss}


def tree_population():
    leaves = hltm.leaf_population(hltm.complete_tree(depth=2, branching=2, polarity=0.8))
    return numeric.FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)


POPULATIONS = {"tree": tree_population, "digits": lambda: numeric.digit_population(images=12, augmentations=3, seed=0)}


@pytest.mark.parametrize("source", POPULATIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_descent_lowers_the_loss(name, source):
    population = POPULATIONS[source]()
    weights = numeric.random_weights((population.dimension, 5, 2), generator=torch.Generator().manual_seed(1))
    trace = numeric.descend(weights, population, LOSSES[name], lr=1e-3, steps=40, every=10)
    assert trace.diverged_at is None
    assert bool((trace.losses[1:] < trace.losses[:-1]).all())


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_finite_differences(name):
    population = tree_population()
    weights = numeric.random_weights((4, 2), generator=torch.Generator().manual_seed(2))
    (update,) = numeric.population_gradient(weights, population, LOSSES[name])
    for place in ((0, 0), (1, 3)):
        values = []
        for step in (1e-6, -1e-6):
            moved = weights[0].clone()
            moved[place] += step
            values.append(float(numeric.expected_loss([moved], population, LOSSES[name])))
        assert float(update[place]) == pytest.approx((values[1] - values[0]) / 2e-6, rel=1e-6, abs=1e-8)


def test_parameters_of_the_loss_are_passed_on():
    population = tree_population()
    weights = numeric.random_weights((4, 2), generator=torch.Generator().manual_seed(2))
    plain = numeric.expected_loss(weights, population, numeric.vicreg_loss)

    def scaled(outputs, found, factor):
        return factor * numeric.vicreg_loss(outputs, found)

    assert float(numeric.expected_loss(weights, population, scaled, factor=3.0)) == pytest.approx(3 * float(plain))
    trace = numeric.descend(weights, population, scaled, lr=1e-3, steps=1, factor=3.0)
    assert float(trace.losses[0]) == pytest.approx(3 * float(plain))


def test_bad_input_is_one_line():
    population = tree_population()
    weights = numeric.random_weights((4, 2), generator=torch.Generator().manual_seed(2))
    with pytest.raises(InputError, match="convention='one-branch' with a function of the outputs: must be 'shared'"):
        numeric.expected_loss(weights, population, numeric.spectral_loss, convention="one-branch")
    with pytest.raises(InputError, match=r"^loss of the starting weights: is nan, must be finite"):
        numeric.descend(weights, population, lambda outputs, _: outputs.sum() * torch.nan, lr=0.1, steps=1)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda outputs, _: outputs, r"value of the loss function, of shape \(32, 2\): must be a scalar tensor"),
        (lambda outputs, _: 1.0, "value of the loss function, float: must be a scalar tensor"),
    ],
)
def test_the_value_of_a_loss_is_a_scalar_tensor(loss, words):
    population = tree_population()
    weights = numeric.random_weights((4, 2), generator=torch.Generator().manual_seed(2))
    for function in (numeric.expected_loss, numeric.population_gradient):
        with pytest.raises(InputError, match=words):
            function(weights, population, loss)
    with pytest.raises(InputError, match=words):
        numeric.descend(weights, population, loss, lr=0.1, steps=1)


def test_a_loss_is_differentiable_where_a_gradient_is_asked_for():
    population = tree_population()
    weights = numeric.random_weights((4, 2), generator=torch.Generator().manual_seed(2))

    def held(outputs, found):
        return numeric.spectral_loss(outputs.detach(), found)

    plain = numeric.expected_loss(weights, population, numeric.spectral_loss)
    assert float(numeric.expected_loss(weights, population, held)) == float(plain)
    with pytest.raises(InputError, match="value of the loss function: must be differentiable in the outputs"):
        numeric.population_gradient(weights, population, held)


TWO = numeric.FinitePopulation([[[1.0], [3.0]]])
TABLE = TWO.flat_points


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((TABLE[:1], TABLE), r"outputs of shape \(1, 1\): must be \(2, k\), a row per augmented point"),
        ((TABLE, TABLE[:1]), r"targets of shape \(1, 1\): must be \(2, k\), a row per augmented point"),
        ((TABLE, TABLE.repeat(1, 2)), r"outputs of shape \(2, 1\): must be \(2, 2\), that of the targets"),
        ((TABLE, TABLE, torch.eye(2)), r"predictor of shape \(2, 2\): must be \(1, 1\), from outputs to targets"),
        ((TABLE, TABLE, torch.ones(1)), r"predictor of shape \(1,\): must be \(1, 1\), from outputs to targets"),
        ((TABLE, TABLE, lambda y: y.repeat(1, 2)), r"outputs after the predictor of shape \(2, 2\): must be \(2, 1\)"),
        ((TABLE, TABLE, [[1.0]]), "predictor, a list: must be a tensor or a function"),
    ],
)
def test_byol_tables_and_predictor_fit_the_population(arguments, words):
    outputs, targets, *predictor = arguments
    with pytest.raises(InputError, match=words) as caught:
        numeric.byol_loss(outputs, targets, TWO, *predictor)
    assert "\n" not in str(caught.value)


def test_a_predictor_may_change_the_width():
    double = torch.ones(2, 1, dtype=TABLE.dtype)
    value = numeric.byol_loss(TABLE, TABLE.repeat(1, 2), TWO, double)
    assert float(value) == 2 * float(numeric.byol_loss(TABLE, TABLE, TWO))
