"""The covariance loss against numpy alone: its value in loops, finite differences, and the operator by hand."""

from itertools import product

import numpy as np
import pytest
import torch
from flint import fmpq

import numeric
import theory
from hltm.base.errors import InputError
from verify.packs.covariance_loss import STATEMENT, Neuron, measure_operator
from verify.packs.covariance_measures import PACK, CovarianceInstance

# Two points with two views each, a ReLU tower of widths 2, 3, 2, and a table of symmetric weights.
POINTS = np.array([[[1.0, 0.5], [0.25, 1.0]], [[-0.5, 1.0], [1.5, 0.75]], [[0.5, -1.0], [1.0, 0.125]]])
P = np.array([0.25, 0.5, 0.25])
Q = np.array([[0.5, 0.5], [0.25, 0.75], [0.75, 0.25]])
XI = np.array([[0.5, 0.25, 0.75], [0.25, 1.0, 0.125], [0.75, 0.125, 0.5]])
WEIGHTS = [np.array([[1.0, 0.375], [-0.25, 1.0], [0.5, -0.75]]), np.array([[0.5, 1.0, -0.5], [1.0, -0.25, 0.75]])]
BETAS = (-1.5, -0.5, 0.0, 0.75)


def outputs(weights):
    return np.maximum(POINTS @ weights[0].T, 0) @ weights[1].T


def loss(weights, beta):
    """The sum over points and views, written out."""
    f, total = outputs(weights), 0.0
    for m, n in product(range(3), repeat=2):
        for a, b, c in product(range(2), repeat=3):
            near, far = f[m, a] - f[m, b], f[m, a] - f[n, c]
            chance = P[m] * P[n] * Q[m, a] * Q[m, b] * Q[n, c]
            total += chance * XI[m, n] * ((1 + beta) * near @ near - far @ far) / 2
    return total


def differences(beta, step=1e-5):
    """``-grad`` by central differences; the loss is quadratic in one entry while no gate flips."""
    result = []
    for layer in range(2):
        gradient = np.zeros_like(WEIGHTS[layer])
        for place in np.ndindex(gradient.shape):
            values = []
            for sign in (1, -1):
                moved = [w.copy() for w in WEIGHTS]
                moved[layer][place] += sign * step
                values.append(loss(moved, beta))
            gradient[place] = (values[0] - values[1]) / (2 * step)
        result.append(-gradient)
    return result


def by_hand(beta):
    """``V^xi vec W - 2 beta E[xi V_aug] vec W`` with Kronecker products of one sample at a time."""
    steps = []
    for layer in range(2):
        k = np.empty((3, 2), dtype=object)
        for m, a in product(range(3), range(2)):
            x = POINTS[m, a]
            gate = (WEIGHTS[0] @ x > 0).astype(float)
            first = np.kron(x[:, None], (WEIGHTS[1] * gate).T)
            k[m, a] = first if layer == 0 else np.kron((gate * (WEIGHTS[0] @ x))[:, None], np.eye(2))
        mean = [Q[m, 0] * k[m, 0] + Q[m, 1] * k[m, 1] for m in range(3)]
        operator = 0
        for m, n in product(range(3), repeat=2):
            gap = mean[m] - mean[n]
            spread = sum(Q[m, a] * (k[m, a] - mean[m]) @ (k[m, a] - mean[m]).T for a in range(2))
            operator = operator + P[m] * P[n] * XI[m, n] * (gap @ gap.T - 2 * beta * spread)
        column = WEIGHTS[layer].flatten(order="F")
        steps.append((operator @ column).reshape(WEIGHTS[layer].shape, order="F"))
    return steps


@pytest.fixture(scope="module")
def population():
    return numeric.FinitePopulation(POINTS, P, Q)


@pytest.mark.parametrize("beta", BETAS)
def test_value_and_step_by_numpy_alone(beta, population):
    tower = [torch.tensor(w) for w in WEIGHTS]
    f = numeric.forward(tower, population.flat_points)
    value = numeric.covariance_loss(f, population, XI, beta)
    assert float(value) == pytest.approx(loss(WEIGHTS, beta), rel=1e-13)
    steps = numeric.covariance_loss_update(tower, population, XI, beta)
    for step, hand, numbers in zip(steps, by_hand(beta), differences(beta), strict=True):
        scale = np.abs(hand).max()
        assert np.abs(step.numpy() - hand).max() <= 1e-14 * scale
        assert np.abs(hand - numbers).max() <= 1e-9 * scale


def test_the_gradient_does_not_flow_through_the_weights(population):
    leaves = [torch.tensor(w, requires_grad=True) for w in WEIGHTS]
    f = numeric.forward(leaves, population.flat_points)
    means = population.mean(f)
    xi = 1 / (1 + 0.5 * (means[:, None] - means).square().sum(-1))
    found = torch.autograd.grad(numeric.covariance_loss(f, population, xi, -0.5), leaves)
    expected = numeric.covariance_loss_update([w.detach() for w in leaves], population, xi, -0.5)
    for gradient, step in zip(found, expected, strict=True):
        assert (gradient + step).abs().max() <= 1e-14


def test_norms_never_fall_below_or_at_strength_zero(population):
    """2 <W, step> is the same for every layer, and not negative where beta <= 0."""
    tower = [torch.tensor(w) for w in WEIGHTS]
    for beta in BETAS:
        steps = numeric.covariance_loss_update(tower, population, XI, beta)
        rates = [2 * float((w * step).sum()) for w, step in zip(tower, steps, strict=True)]
        assert rates[0] == pytest.approx(rates[1], rel=1e-12)
        assert beta > 0 or rates[0] > 0
    falling = numeric.covariance_loss_update(tower, population, XI, 40.0)
    assert float((tower[0] * falling[0]).sum()) < 0


def test_a_norm_falls_with_weights_of_both_signs():
    """W = 1 on the points -1 and 1, xi = [[1, -1], [-1, 1]]: d W^2/dt = -2 (1 - (-1))^2 / 2 = -4, at any beta."""
    two = numeric.FinitePopulation([[[-1.0]], [[1.0]]])
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    (step,) = numeric.covariance_loss_update([[[1.0]]], two, signs, -0.5)
    assert 2 * float(step) == -4.0
    (step,) = numeric.covariance_loss_update([[[1.0]]], two, signs.abs(), -0.5)
    assert 2 * float(step) == 4.0
    assert {"xi(x, x') >= 0", "beta <= 0"} <= set(theory.derive("covariance-loss", part="growth").claim.assumptions)


def test_a_row_for_every_augmented_point(population):
    with pytest.raises(InputError, match=r"outputs of shape \(5, 2\): must be \(6, k\), a row per augmented point"):
        numeric.covariance_loss(torch.ones(5, 2), population, XI)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pair_weights": np.ones((2, 2))}, r"pair_weights of shape \(2, 2\): must be \(3, 3\)"),
        ({"pair_weights": np.triu(XI)}, "from their transpose: must be symmetric"),
        ({"pair_weights": XI * np.nan}, "pair_weights"),
        ({"beta": float("inf")}, "beta=inf: must be a finite number, of either sign"),
        ({"beta": float("nan")}, "beta=nan"),
    ],
)
def test_bad_input_is_one_line(arguments, words, population):
    given = {"pair_weights": XI, "beta": 0.5} | arguments
    tower = [torch.tensor(w) for w in WEIGHTS]
    with pytest.raises(InputError, match=words) as caught:
        numeric.covariance_loss_update(tower, population, **given)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=words):
        numeric.covariance_loss(numeric.forward(tower, population.flat_points), population, **given)


def test_a_temperature_that_balls_cannot_resolve_is_refused():
    one = CovarianceInstance(0.0, (((1.0,),),), -0.5, 1.0, 0.0, (((1.0,), (2.0,)),), (1.0,), ((0.5, 0.5),))
    data = one.as_json()
    with pytest.raises(InputError, match=r"tau=1e-05: must be 1/64 at least"):
        CovarianceInstance.from_json({**data, "tau": 1e-5})


def test_one_neuron_by_hand():
    """f = w x on {0, 2} and {4, 10}, xi = 1/(1 + r): rbar = 18, xi 1 and 1/19; V_aug is 1 and 9."""
    one = Neuron()
    # Pairs of two points: 2/4 of 1/19 times 6^2; within: each point has weights 1 and 1/19, of 1/4.
    assert one.formula() == fmpq(1, 2) * fmpq(36, 19) - 2 * fmpq(1, 4) * (1 + fmpq(1, 19)) * (1 + 9)
    assert one.step() == one.formula() == fmpq(-82, 19)


def batch_step(first, second, beta):
    """``-dL/dw`` of one batch of pairs of numbers under f = w x at w = 1, by the chain rule."""
    total = 0.0
    for m, n in product(range(len(first)), repeat=2):
        views = [(first[m], second[m]), (first[n], second[n])]
        far = np.mean([(a - b) ** 2 for a, b in product(*views)])
        total += XI[m, n] * (far - (1 + beta) * (first[m] - second[m]) ** 2)
    return total / len(first) ** 2


def test_at_minus_one_half_the_spread_of_the_views_leaves_a_batch():
    """The step of a batch is that of the means of the views, and 1/2 + beta times their spread."""
    mean, gap = np.array([0.5, 2.0, -1.0]), np.array([0.25, 1.0, -0.75])
    for beta in (-1.0, -0.5, 0.0, 0.5):
        wide, narrow = (batch_step(mean + size * gap, mean - size * gap, beta) for size in (1.0, 0.25))
        spread = [np.sum(XI.sum(1) * (2 * size * gap) ** 2) / 9 for size in (1.0, 0.25)]
        assert wide - narrow == pytest.approx(-(0.5 + beta) * (spread[0] - spread[1]), abs=1e-14)
    assert theory.derive("covariance-loss", part="batch").proved


def test_a_single_view_leaves_the_batch_undecided():
    one = CovarianceInstance(0.0, (((1.0,),),), 0.5, 1.0, 0.0, (((1.0,),), ((2.0,),)), (0.5, 0.5), ((1.0,), (1.0,)))
    (batch,) = [part for part in PACK.parts if part.name == "batch"]
    assert PACK.measure_part(batch, one, None, False, "cpu").status == "abstained"
    assert PACK.measure(one).status == "holds"
    assert len(STATEMENT.variants) >= 5


def test_a_gate_at_its_kink_is_left_undecided():
    weights = (((1.0, -1.0),), ((1.0,),))
    one = CovarianceInstance(0.0, weights, 0.5, 1.0, 0.0, (((1.0, 1.0),), ((2.0, 1.0),)), (0.5, 0.5), ((1.0,), (1.0,)))
    assert measure_operator(one).status == "abstained"
    assert PACK.measure(one).status == "holds"
