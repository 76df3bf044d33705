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
    with pytest.raises(InputError, match="loss 'of outputs' of the starting weights: is nan, must be finite"):
        numeric.descend(weights, population, lambda outputs, _: outputs.sum() * torch.nan, lr=0.1, steps=1)
