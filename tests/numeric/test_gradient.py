"""Gradients by autograd against exact differences of enumerated losses, and against the shared vectors."""

import json
import math
import re
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from hltm.base.errors import InputError
from numeric.towers import gradient as expectation
from numeric.towers.gradient import expected_loss, pair_gradient, population_gradient
from numeric.towers.losses import LossSpec
from numeric.towers.populations import FinitePopulation

EPS = torch.finfo(torch.float64).eps
VECTORS = json.loads((Path(__file__).parents[1] / "data" / "vectors.json").read_text())
SEEDS = range(4)
SLOPES = [0.0, 0.25, 1.0]
LOSSES = [
    ("triplet", {"tau": 0.5, "margin": 0.25}),
    ("infonce", {"tau": 2.0}),
    ("infonce", {"tau": 1.0, "negatives": 2}),
]
CONVENTIONS = ["shared", "one-branch"]


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def double(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("number", range(len(VECTORS["pairs"])))
def test_pairs_of_the_shared_vectors(number):
    case = VECTORS["pairs"][number]
    found = pair_gradient(case["weights_1"], case["weights_2"], double(case["x_1"]), double(case["x_2"]), case["slope"])
    for gradient, oracle in zip(found, case["gradient_1"], strict=True):
        # Sums of at most 6 terms a layer, through at most 4 layers, both sides rounded.
        assert (gradient - double(oracle)).abs().max() <= 2 * 24 * EPS * max(1.0, double(oracle).abs().max())


@pytest.mark.parametrize("number", range(len(VECTORS["populations"])))
def test_populations_of_the_shared_vectors(number):
    case = VECTORS["populations"][number]
    population = FinitePopulation(case["points"], case["point_weights"], case["augmentation_weights"])
    arguments = (case["weights"], population, case["loss"], case["slope"])
    terms = expectation.count_terms(population, LossSpec("x", negatives=case["parameters"].get("negatives", 1)))
    # The weights of the terms sum to one, so a sum of n terms of size s is off by n * eps * s on either side.
    bound = 2 * terms * EPS
    assert abs(float(expected_loss(*arguments, **case["parameters"])) - case["expected_loss"]) <= bound
    for found, oracle in zip(
        population_gradient(*arguments, **case["parameters"]), case["minus_expected_gradient"], strict=True
    ):
        assert found.shape == double(oracle).shape
        assert (found - double(oracle)).abs().max() <= bound * max(1.0, double(oracle).abs().max())


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("widths", [(2, 2), (3, 4, 2), (2, 3, 3, 2)], ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_pair_gradient_equals_exact_differences(seed, widths, slope, exact, make_tower, make_inputs):
    first, second, x = make_tower(seed, widths), make_tower(seed + 9, widths), make_inputs(seed, 2, widths[0])
    inputs = [exact.rational(v) for v in x]
    other = exact.output([exact.rational(w) for w in second], inputs[1], slope)

    def distance(moved):
        return exact.distance(exact.output(moved, inputs[0], slope), other)

    oracle = exact.differences(distance, [exact.rational(w) for w in first])
    assert [exact.rational(g) for g in pair_gradient(first, second, x[0], x[1], slope)] == oracle


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_simple_loss_equals_exact_differences(
    seed, slope, convention, exact, make_tower, make_population, exact_population
):
    weights = make_tower(seed, (2, 3, 2))
    arguments = make_population(seed, 3, 2, 2, weights=weights, slope=slope)
    population, oracle = FinitePopulation(**arguments), exact_population(arguments)
    table = [exact.rational(w) for w in weights]
    fixed = exact.table(table, oracle, slope)

    def loss(moved):
        outputs = exact.table(moved, oracle, slope)
        others = outputs if convention == "shared" else fixed
        return exact.expected(outputs, others, oracle, lambda r_pos, r_neg: r_pos - r_neg[0])

    assert Fraction(float(expected_loss(weights, population, "simple", slope, convention=convention))) == loss(table)
    found = population_gradient(weights, population, "simple", slope, convention=convention)
    oracle_gradient = exact.differences(loss, table)
    assert [exact.rational(-g) for g in found] == oracle_gradient


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_shared_is_twice_one_branch_for_the_simple_loss(seed, slope, make_tower, make_population):
    weights, population = make_tower(seed, (3, 3, 2)), FinitePopulation(**make_population(seed, 4, 3, 3))
    shared = population_gradient(weights, population, "simple", slope)
    single = population_gradient(weights, population, "simple", slope, convention="one-branch")
    assert all(torch.equal(a, 2 * b) for a, b in zip(shared, single, strict=True))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("loss", "parameters"), LOSSES, ids=["triplet", "infonce-1", "infonce-2"])
@pytest.mark.parametrize("seed", range(2))
def test_other_losses_equal_differences_in_ball_arithmetic(
    seed, loss, parameters, convention, exact, balls, make_tower, make_population, exact_population
):
    negatives, tau, margin = parameters.get("negatives", 1), parameters["tau"], parameters.get("margin", 0.0)
    size = 2 if negatives > 1 else 3
    weights = [w / 4 for w in make_tower(seed, (2, 2, 2))]
    arguments = make_population(seed, size, 2, 2, weights=weights, slope=0.25)
    population, oracle = FinitePopulation(**arguments), exact_population(arguments, negatives)
    table = [exact.rational(w) for w in weights]
    fixed = exact.table(table, oracle, 0.25)

    def value(r_pos, r_neg):
        return balls.loss(r_pos, r_neg, tau, margin)

    def total(moved):
        outputs = exact.table(moved, oracle, 0.25)
        summed = exact.expected(
            outputs,
            outputs if convention == "shared" else fixed,
            oracle,
            lambda p, n: Weighted(value(p, n), balls),
        )
        return summed.ball

    bound = rounding_bound(fixed, population, tau, negatives)
    found = expected_loss(weights, population, loss, 0.25, convention=convention, **parameters)
    assert abs(float(found) - float(total(table).mid().str(30, radius=False))) <= bound
    gradients = population_gradient(weights, population, loss, 0.25, convention=convention, **parameters)
    # A step of 2^-40 leaves an error of 2^-80 times a third derivative.
    step = Fraction(1, 2**40)
    for layer, gradient in enumerate(gradients):
        for b in range(gradient.shape[0]):
            for a in range(gradient.shape[1]):
                sides = []
                for sign in (1, -1):
                    moved = [[list(row) for row in matrix] for matrix in table]
                    moved[layer][b][a] += sign * step
                    sides.append(total(moved))
                difference = (sides[0] - sides[1]) * 2**39
                assert abs(-gradient[b, a].item() - float(difference.mid().str(30, radius=False))) <= bound


class Weighted:
    """A ball that can be multiplied by a fraction and added to 0, as the enumeration does."""

    def __init__(self, ball, balls):
        self.ball, self.balls = ball, balls

    def __mul__(self, weight):
        return Weighted(self.ball * self.balls.number(weight), self.balls)

    def __radd__(self, other):
        return self if other == 0 else Weighted(self.ball + other.ball, self.balls)

    def __add__(self, other):
        return Weighted(self.ball + other.ball, self.balls)


def rounding_bound(table, population, tau, negatives):
    """n * eps * (largest term): distances are exact, a share loses |d|/tau roundings, the weights of the terms sum to 1."""
    outputs = [[float(v) for v in f] for group in table for f in group]
    reach = max(math.dist(f, g) for f in outputs for g in outputs)
    points = population.size * population.augmentations
    terms = points * population.augmentations * points**negatives
    # |dr/dW| <= |f - f'| (|J| |x| + |J'| |x'|); weights, inputs and so activations are below 4 here.
    return EPS * (terms + reach**2 / tau + 16) * (1 + negatives) * max(1.0, reach) * 64


@pytest.mark.parametrize(
    ("loss", "parameters"), [("simple", {}), *LOSSES], ids=["simple", "triplet", "infonce-1", "infonce-2"]
)
def test_size_of_the_blocks_does_not_matter(loss, parameters, monkeypatch, make_tower, make_population):
    weights, population = make_tower(1, (2, 3, 2)), FinitePopulation(**make_population(1, 3, 2, 2))
    whole = expected_loss(weights, population, loss, 0.25, **parameters)
    gradients = population_gradient(weights, population, loss, 0.25, **parameters)
    for size in (1, 7, 40):
        monkeypatch.setattr(expectation, "_CHUNK", size)
        bound = 432 * EPS
        assert abs(expected_loss(weights, population, loss, 0.25, **parameters) - whole) <= bound * abs(whole)
        for found, oracle in zip(
            population_gradient(weights, population, loss, 0.25, **parameters), gradients, strict=True
        ):
            assert (found - oracle).abs().max() <= bound * oracle.abs().max()


def test_expected_loss_is_differentiable(make_tower, make_population):
    weights, population = make_tower(2, (2, 3, 2)), FinitePopulation(**make_population(2, 3, 2, 2))
    leaves = [w.clone().requires_grad_() for w in weights]
    (3 * expected_loss(leaves, population, "infonce", tau=1.0)).backward()
    for leaf, oracle in zip(leaves, population_gradient(weights, population, "infonce", tau=1.0), strict=True):
        # The factor 3 is multiplied in before the sum over 6 points instead of after it.
        assert (leaf.grad + 3 * oracle).abs().max() <= 64 * EPS * oracle.abs().max()
    assert not expected_loss(weights, population, "infonce").requires_grad
    with torch.no_grad():
        assert not expected_loss(leaves, population, "infonce").requires_grad
        assert population_gradient(leaves, population, "infonce")[0].shape == (3, 2)


def test_weights_of_the_caller_are_left_alone(make_tower, make_population):
    weights, population = make_tower(2, (2, 3, 2)), FinitePopulation(**make_population(2, 3, 2, 2))
    population_gradient(weights, population, "simple")
    pair_gradient(weights, weights, population.flat_points[0], population.flat_points[1])
    assert not any(w.requires_grad for w in weights)


@pytest.mark.parametrize("tau", [1e-4, 1e-2])
def test_small_temperatures_stay_finite(tau, make_tower, make_population):
    weights = [100 * w for w in make_tower(3, (2, 3, 2))]
    population = FinitePopulation(**make_population(3, 3, 2, 2))
    for found in population_gradient(weights, population, "infonce", tau=tau, negatives=2):
        assert torch.isfinite(found).all()


def test_too_many_terms_are_refused():
    population = FinitePopulation(torch.zeros(50, 8, 1).double())
    message = (
        "loss 'infonce' over 50 points x 8 augmentations, 3 negatives: 204800000000 terms: must be at most 1000000000"
    )
    with refused(message):
        expected_loss([[[1.0]]], population, "infonce", negatives=3)
    with refused(message):
        population_gradient([[[1.0]]], population, "infonce", negatives=3)


def test_what_gradients_refuse(make_tower, make_inputs):
    weights, x = make_tower(0, (3, 2)), make_inputs(0, 2, 3)
    population = FinitePopulation(x.unsqueeze(0))
    with refused("convention='both': must be 'shared' or 'one-branch'"):
        population_gradient(weights, population, "simple", convention="both")
    with refused("weights: ensemble of 2 networks: must be one network; take one member"):
        population_gradient(make_tower(0, (3, 2), ensemble=2), population, "simple")
    with refused("output='unit': must be 'linear' or 'normalized'"):
        pair_gradient(weights, weights, x[0], x[1], output="unit")
    with refused("outputs of weights_1 and weights_2: 2 and 4 entries: must have one size"):
        pair_gradient(weights, make_tower(0, (3, 4)), x[0], x[1])
    with refused("x_2: entry (0,) is nan: must be finite"):
        pair_gradient(weights, weights, x[0], torch.full((3,), math.nan).double())
    with refused("weights_2 of layer 1: entry (0, 0) is nan: must be finite"):
        pair_gradient(weights, [[[math.nan]]], x[0], x[1])
    with refused("output of the sample is zero: cannot be normalised"):
        pair_gradient([0 * w for w in weights], weights, x[0], x[1], output="normalized")
    with refused("weights of layer 1: entry (0, 0) is inf: must be finite"):
        population_gradient([[[math.inf, 1.0, 1.0]]], population, "simple")
    with refused("x: shape (2, 3) before layer 1 of shape (1, 1): last axis 3 must equal columns 1"):
        population_gradient([[[1.0]]], population, "simple")
