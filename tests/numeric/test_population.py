"""Finite populations: validation, means and spread against loops over fractions."""

import math
import re

import numpy as np
import pytest
import torch

from hltm.base.errors import InputError
from numeric.towers.populations import FinitePopulation, output_spread

SEEDS = range(4)
POINTS = [[[0.0, 1.0], [1.0, 1.0]], [[2.0, 0.0], [4.0, 0.0]]]


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def test_shapes_and_uniform_weights():
    population = FinitePopulation(torch.zeros(3, 4, 2).double())
    assert (population.size, population.augmentations, population.dimension) == (3, 4, 2)
    assert population.flat_points.shape == (12, 2)
    assert population.point_weights.tolist() == [1 / 3] * 3
    assert population.augmentation_weights.tolist() == [[0.25] * 4] * 3
    assert population.flat_weights.tolist() == [0.25 / 3] * 12


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor], ids=["list", "numpy", "torch"])
def test_every_kind_of_array_is_taken(kind):
    shares = [[0.5, 0.5], [0.25, 0.75]]
    population = FinitePopulation(kind(POINTS), kind([0.25, 0.75]), kind(shares))
    assert population.points.tolist() == POINTS
    assert population.point_weights.tolist() == [0.25, 0.75]
    assert population.flat_weights.tolist() == [0.125, 0.125, 0.1875, 0.5625]
    assert population.points.dtype == (torch.float32 if kind is torch.tensor else torch.float64)


@pytest.mark.parametrize("seed", SEEDS)
def test_mean_over_augmentations(seed, exact, make_population, exact_population):
    arguments = make_population(seed, 4, 3, 2)
    population, oracle = FinitePopulation(**arguments), exact_population(arguments)
    found = population.mean(population.flat_points)
    for i, (group, shares) in enumerate(zip(oracle["points"], oracle["u"], strict=True)):
        assert exact.rational(found[i]) == [sum(s * x[k] for s, x in zip(shares, group, strict=True)) for k in range(2)]
    wide = population.flat_points.reshape(12, 1, 2).expand(12, 3, 2)
    assert torch.equal(population.mean(wide), found.unsqueeze(1).expand(4, 3, 2))
    assert torch.equal(population.mean(population.flat_points[:, 0]), found[:, 0])
    with refused("values of shape (5, 2): must have 12 rows, one per augmented point"):
        population.mean(torch.zeros(5, 2).double())


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("seed", SEEDS)
def test_spread_of_the_output(seed, slope, exact, make_population, exact_population, make_tower):
    arguments, weights = make_population(seed, 4, 3, 2), make_tower(seed, (2, 3, 2))
    oracle = exact_population(arguments)
    table = exact.table([exact.rational(w) for w in weights], oracle, slope)
    square = 0
    for w, shares, group in zip(oracle["w"], oracle["u"], table, strict=True):
        mean = [sum(s * f[c] for s, f in zip(shares, group, strict=True)) for c in range(2)]
        square += w * sum(
            s * sum((a - b) ** 2 for a, b in zip(f, mean, strict=True)) for s, f in zip(shares, group, strict=True)
        )
    # All numbers are dyadic but the square root.
    assert output_spread(weights, FinitePopulation(**arguments), slope) == math.sqrt(square)


def test_spread_needs_two_augmentations():
    population = FinitePopulation([[[1.0]], [[2.0]]])
    with refused("population of 2 points with 1 augmentation each: a spread needs at least 2"):
        output_spread([[[1.0]]], population)
    assert output_spread([[[1.0]]], FinitePopulation([[[1.0], [2.0]]])) == 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_adjoint_of_the_mean_exactly(seed, make_population):
    population = FinitePopulation(**make_population(seed, 4, 3, 2))
    values, vectors = population.flat_points, population.points[:, 0]
    assert (population.mean(values) * vectors).sum() == (values * population.mean_adjoint(vectors)).sum()


def test_moving_a_population():
    population = FinitePopulation(POINTS, [0.3, 0.7], [[0.1, 0.9], [0.2, 0.8]])
    moved = population.to("cpu", torch.float32)
    assert {moved.points.dtype, moved.point_weights.dtype, moved.augmentation_weights.dtype} == {torch.float32}
    assert torch.equal(moved.point_weights, population.point_weights.float())
    assert population.to("cpu").points.dtype == torch.float64


def test_a_population_is_frozen():
    with pytest.raises(AttributeError):
        FinitePopulation(POINTS).points = torch.zeros(1, 1, 1)


REFUSED = [
    ({"points": []}, "points of the population: shape (0,): must be (M, A, d), none empty"),
    (
        {"points": np.zeros((0, 2, 2))},
        "points of the population: shape (0, 2, 2): must be (M, A, d), none empty",
    ),
    (
        {"points": np.zeros((2, 0, 2))},
        "points of the population: shape (2, 0, 2): must be (M, A, d), none empty",
    ),
    (
        {"points": np.zeros((2, 2, 0))},
        "points of the population: shape (2, 2, 0): must be (M, A, d), none empty",
    ),
    ({"points": [[1.0, 2.0]]}, "points of the population: shape (1, 2): must be (M, A, d), none empty"),
    (
        {"points": [[[1.0]], [[1.0], [2.0]]]},
        "points of the population: must be a rectangular array of numbers",
    ),
    ({"points": [[[math.nan]]]}, "points of the population: entry (0, 0, 0) is nan: must be finite"),
    ({"points": [[[1.0], [math.inf]]]}, "points of the population: entry (0, 1, 0) is inf: must be finite"),
    ({"point_weights": [0.5, 0.25]}, "point_weights: sum 0.75: must be 1"),
    ({"point_weights": [0.5, 0.5 + 1e-9]}, "point_weights: sum 1.000000001: must be 1"),
    ({"point_weights": [1.5, -0.5]}, "point_weights: entry (1,) is -0.5: must not be negative"),
    ({"point_weights": [math.nan, 1.0]}, "point_weights: entry (0,) is nan: must be finite"),
    ({"point_weights": [1.0]}, "point_weights: shape (1,): must be (2,), as the points have it"),
    (
        {"augmentation_weights": [[0.5, 0.5], [0.5, 1.0]]},
        "augmentation_weights of point 1: sum 1.5: must be 1",
    ),
    (
        {"augmentation_weights": [[0.5, 0.5], [1.25, -0.25]]},
        "augmentation_weights: entry (1, 1) is -0.25: must not be negative",
    ),
    (
        {"augmentation_weights": [0.5, 0.5]},
        "augmentation_weights: shape (2,): must be (2, 2), as the points have it",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_populations_that_are_refused(arguments, message):
    with refused(message):
        FinitePopulation(**{"points": POINTS, **arguments})


def test_rounded_weights_are_taken():
    weights = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    FinitePopulation(torch.zeros(1000, 1, 1).double(), weights / weights.sum())
    FinitePopulation(torch.zeros(1000, 1, 1), (weights / weights.sum()).float())
