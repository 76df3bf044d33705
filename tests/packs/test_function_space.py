"""The flow of the outputs against numpy alone: small steps along a gradient by differences, and kernels by differences."""

from itertools import product

import numpy as np
import pytest
import torch

import numeric
from hltm.base.errors import InputError
from verify.packs.function_space import PACK, FlowInstance, measure_kernel

POINTS = np.array([[[1.0, 0.5], [0.25, 1.0]], [[-0.5, 1.0], [1.5, 0.75]], [[0.5, -1.0], [1.0, 0.125]]])
P = np.array([0.25, 0.5, 0.25])
Q = np.array([[0.5, 0.5], [0.25, 0.75], [0.75, 0.25]])
WEIGHTS = [np.array([[1.0, 0.375], [-0.25, 1.0], [0.5, -0.75]]), np.array([[0.5, 1.0, -0.5], [1.0, -0.25, 0.75]])]
DEEP = [*WEIGHTS, np.array([[0.75, -0.5], [0.25, 1.0]])]
Z = np.array([[0.75, 0.25], [1.0, -1.5]])


def outputs(weights, x):
    for w in weights[:-1]:
        x = np.maximum(x @ w.T, 0)
    return x @ weights[-1].T


def simple_loss(weights):
    """E[r_+ - r_-], the literal sum."""
    f, total = outputs(weights, POINTS), 0.0
    for m, n in product(range(3), repeat=2):
        for a, b, c in product(range(2), repeat=3):
            chance = P[m] * P[n] * Q[m, a] * Q[m, b] * Q[n, c]
            total += chance * (np.sum((f[m, a] - f[m, b]) ** 2) - np.sum((f[m, a] - f[n, c]) ** 2)) / 2
    return total


def moved(weights, layer, place, step):
    changed = [w.copy() for w in weights]
    changed[layer][place] += step
    return changed


def slopes(weights, value, step=1e-5):
    """Central differences of a function of the weights, by every entry of every layer."""
    rows = []
    for layer, w in enumerate(weights):
        for place in np.ndindex(w.shape):
            ends = [value(moved(weights, layer, place, sign * step)) for sign in (1, -1)]
            rows.append((ends[0] - ends[1]) / (2 * step))
    return np.array(rows)


def unflatten(flat, weights):
    cuts = np.cumsum([w.size for w in weights])[:-1]
    return [part.reshape(w.shape) for part, w in zip(np.split(flat, cuts), weights, strict=True)]


@pytest.fixture(scope="module")
def population():
    return numeric.FinitePopulation(POINTS, P, Q)


@pytest.mark.parametrize("weights", [WEIGHTS, DEEP], ids=["two layers", "three layers"])
def test_outputs_along_the_gradient(weights, population):
    gradient = slopes(weights, simple_loss)
    step = 1e-6
    ends = [
        outputs([w - sign * step * g for w, g in zip(weights, unflatten(gradient, weights), strict=True)], Z)
        for sign in (1, -1)
    ]
    rate = (ends[0] - ends[1]) / (2 * step)
    found = numeric.output_flow(weights, population, torch.tensor(Z)).numpy()
    assert np.abs(found - rate).max() <= 1e-7 * np.abs(rate).max()


@pytest.mark.parametrize("weights", [WEIGHTS, DEEP], ids=["two layers", "three layers"])
def test_kernels_by_differences(weights, population):
    z, x = Z[0], POINTS[1, 1]
    by_z, by_x = (slopes(weights, lambda w, at=at: outputs(w, at)) for at in (z, x))
    kernel = numeric.tangent_kernel(weights, torch.tensor(Z), population.flat_points).numpy()
    assert np.abs(kernel[0, 3] - by_z.T @ by_x).max() <= 1e-8
    back = numeric.tangent_kernel(weights, population.flat_points, torch.tensor(Z)).numpy()
    assert np.abs(back[3, 0] - kernel[0, 3].T).max() <= 1e-14


def test_one_hidden_layer_has_symmetric_kernels_and_two_have_not(population):
    for weights, symmetric in ((WEIGHTS, True), (DEEP, False)):
        kernel = numeric.tangent_kernel(weights, torch.tensor(Z), population.flat_points)
        gap = float((kernel - kernel.transpose(2, 3)).abs().max())
        assert (gap <= 1e-14) == symmetric


def test_the_loss_falls_by_four_times_the_squared_covariance(population):
    """||grad||^2 by differences, and the covariance of connection and output by hand."""
    tower = [torch.tensor(w) for w in WEIGHTS]
    gradient = slopes(WEIGHTS, simple_loss)
    covariance = 0.0
    for k in numeric.connections(tower, population.flat_points):
        mean, f = population.mean(k).numpy(), population.mean(numeric.forward(tower, population.flat_points)).numpy()
        column = np.einsum("m,mpi,mi->p", P, mean, f) - (P @ mean.reshape(3, -1)).reshape(mean.shape[1:]) @ (P @ f)
        covariance += column @ column
    assert gradient @ gradient == pytest.approx(4 * covariance, rel=1e-8)


def test_a_common_shift_of_the_outputs_changes_nothing(population):
    """Only the covariance with the outputs enters: a linear layer on points with a constant coordinate."""
    points = np.concatenate([POINTS, np.ones((3, 2, 1))], -1)
    shifted = numeric.FinitePopulation(points, P, Q)
    z = torch.tensor([[0.5, 0.25, 1.0]], dtype=torch.float64)
    flows = [
        numeric.output_flow([torch.tensor([[1.0, 0.5, shift]], dtype=torch.float64)], shifted, z)
        for shift in (0.0, 4.0)
    ]
    assert (flows[0] - flows[1]).abs().max() <= 1e-13


@pytest.mark.parametrize(
    ("z", "words"),
    [
        (torch.ones(1, 3), r"z of shape \(1, 3\): must have rows of 2 entries"),
        (torch.ones(2), r"z of shape"),
        (torch.tensor([[float("nan"), 1.0]]), "z"),
    ],
)
def test_bad_input_is_one_line(z, words, population):
    with pytest.raises(InputError, match=words) as caught:
        numeric.output_flow(WEIGHTS, population, z)
    assert "\n" not in str(caught.value)


def test_an_instance_needs_an_input_of_the_right_length():
    one = FlowInstance(0.0, (((1.0,),),), 0.5, 1.0, 0.0, (((1.0,), (2.0,)),), (1.0,), ((0.5, 0.5),), (3.0,))
    assert PACK.measure(one).status == "holds"
    with pytest.raises(InputError, match=r"z=\(3.0, 1.0\): must be 1 finite numbers"):
        FlowInstance.from_json({**one.as_json(), "z": [3.0, 1.0]})


def test_a_gate_at_its_kink_is_left_undecided():
    weights = (((1.0, -1.0),), ((1.0,),))
    one = FlowInstance(
        0.0, weights, 0.5, 1.0, 0.0, (((1.0, 1.0),), ((2.0, 1.0),)), (0.5, 0.5), ((1.0,), (1.0,)), (1.0, 1.0)
    )
    assert measure_kernel(one).status == "abstained"
    assert PACK.measure(one).status == "holds"
