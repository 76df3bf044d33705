"""The general form of statements 3 and 4 on networks with biases, smooth activations, normalised outputs, convolutions."""

import math
import re

import pytest
import torch
from torch.nn import functional

from hltm.base.errors import InputError
from numeric.towers.connection import connections
from numeric.towers.general import function_population_gradient, general_update, output_jacobians
from numeric.towers.gradient import population_gradient
from numeric.towers.network import forward, vec
from numeric.towers.operator import predicted_update
from numeric.towers.populations import FinitePopulation

EPS = torch.finfo(torch.float64).eps
SEEDS = range(3)


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def smooth(parameters, x):
    """Biases, tanh, normalised output."""
    hidden = torch.tanh(x @ parameters[0].T + parameters[1])
    return functional.normalize(hidden @ parameters[2].T + parameters[3], dim=-1)


def convolution(parameters, x):
    """Convolution, GELU, mean pooling."""
    image = x.reshape(-1, 1, 3, 3)
    return functional.gelu(functional.conv2d(image, parameters[0], parameters[1])).mean((-2, -1)) @ parameters[2]


def parameters_of(kind, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        smooth: [(5, 9), (5,), (3, 5), (3,)],
        convolution: [(4, 1, 2, 2), (4,), (4, 3)],
    }[kind]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.fixture
def population(make_population):
    def make(seed, spread=True):
        return FinitePopulation(**make_population(seed, 4, 3, 9, spread=spread))

    return make


@pytest.mark.parametrize("kind", [smooth, convolution])
@pytest.mark.parametrize("seed", SEEDS)
def test_statement_3_holds_for_every_differentiable_network(seed, kind, population):
    parameters, points = parameters_of(kind, seed), population(seed)
    gradients = function_population_gradient(kind, parameters, points, "simple")
    half = function_population_gradient(kind, parameters, points, "simple", convention="one-branch")
    for gradient, single, update in zip(gradients, half, general_update(kind, parameters, points), strict=True):
        # 4 * 3 * 3 + 12^2 = 180 terms of the loss, and layers of at most 9 inputs.
        bound = 180 * 9 * EPS * max(1.0, float(gradient.abs().max()))
        assert (gradient - update).abs().max() <= bound
        assert (2 * single - update).abs().max() <= bound
        assert update.abs().max() > 1e6 * bound


@pytest.mark.parametrize(
    ("loss", "parameters_of_loss"),
    [
        ("triplet", {"tau": 0.5, "margin": 0.25}),
        ("infonce", {"tau": 2.0}),
        ("infonce", {"tau": 1.0, "negatives": 2}),
    ],
    ids=["triplet", "infonce-1", "infonce-2"],
)
@pytest.mark.parametrize("kind", [smooth, convolution])
@pytest.mark.parametrize("seed", SEEDS)
def test_statement_4_holds_without_spread(seed, kind, loss, parameters_of_loss, population):
    parameters, points = parameters_of(kind, seed), population(seed, spread=False)
    gradients = function_population_gradient(kind, parameters, points, loss, **parameters_of_loss)
    updates = general_update(kind, parameters, points, loss, **parameters_of_loss)
    for gradient, update in zip(gradients, updates, strict=True):
        bound = 36 * 144 * 4 * EPS * max(1.0, float(gradient.abs().max()))
        assert (gradient - update).abs().max() <= bound
        assert update.abs().max() > 1e3 * bound


@pytest.mark.parametrize("seed", SEEDS)
def test_dense_towers_are_a_special_case(seed, make_tower, make_population):
    weights, population = make_tower(seed, (2, 3, 2)), FinitePopulation(**make_population(seed, 4, 2, 2))

    def tower(parameters, x):
        return forward(parameters, x, 0.25)

    assert all(
        torch.equal(k, vec(j).mT)
        for k, j in zip(
            connections(weights, population.flat_points, 0.25),
            output_jacobians(tower, weights, population.flat_points),
            strict=True,
        )
    )
    points = forward(weights, population.points[:, 0].contiguous(), 0.25)
    for loss, options in (
        ("simple", {}),
        ("triplet", {"tau": 0.5, "margin": 0.25}),
        ("infonce", {"tau": 2.0}),
        ("infonce", {"tau": 1.0, "negatives": 2}),
        ("infonce", {"tau": 4.0, "negatives": 2}),
        ("infonce", {"tau": 0.5, "negatives": 3}),
    ):
        for distances in (None, points):
            general = general_update(tower, weights, population, loss, distances_from=distances, **options)
            predicted = predicted_update(weights, population, loss, 0.25, distances_from=distances, **options)
            for found, oracle in zip(general, predicted, strict=True):
                # Dyadic numbers: only the pair weights are rounded.
                assert (found - oracle).abs().max() <= (0 if loss == "simple" else 64 * EPS * oracle.abs().max())
        for found, oracle in zip(
            function_population_gradient(tower, weights, population, loss, **options),
            population_gradient(weights, population, loss, 0.25, **options),
            strict=True,
        ):
            assert torch.equal(found, oracle)


def test_chunks_do_not_matter(monkeypatch, population):
    parameters, points = parameters_of(smooth, 0), population(0)
    whole = general_update(smooth, parameters, points)
    monkeypatch.setattr("numeric.towers.general._NUMBERS", 500)
    for found, oracle in zip(general_update(smooth, parameters, points), whole, strict=True):
        assert (found - oracle).abs().max() <= 64 * EPS * oracle.abs().max()


def test_a_parameter_that_is_not_used_does_not_move(population):
    points = population(1)
    parameters = [torch.ones(2, 9).double(), torch.ones(3).double()]
    for found in (
        function_population_gradient(lambda p, x: x @ p[0].T, parameters, points, "simple"),
        general_update(lambda p, x: x @ p[0].T, parameters, points),
    ):
        assert found[1].tolist() == [0.0, 0.0, 0.0]


def test_what_is_refused(population):
    points = population(0)
    with refused("parameters=[]: must hold at least one tensor"):
        general_update(smooth, [], points)
    with refused("parameters[1]: entry (0,) is nan: must be finite"):
        function_population_gradient(smooth, [torch.ones(1), torch.tensor([math.nan])], points, "simple")
    with refused("parameters[0]: dtype torch.int64 must be a floating type"):
        general_update(smooth, [torch.ones(1, dtype=torch.int64)], points)
    with refused("output of the function: shape (12,): must be (12, n_L)"):
        general_update(lambda p, x: (x * p[0]).sum(-1), [torch.ones(9).double()], points)
    with refused("convention='none': must be 'shared' or 'one-branch'"):
        function_population_gradient(smooth, parameters_of(smooth, 0), points, "simple", convention="none")
