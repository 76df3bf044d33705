"""Towers: forward pass, gates, vec, ensembles, and every refusal of bad weights."""

import math
import re
from itertools import product

import numpy as np
import pytest
import torch

from hltm.base.errors import InputError
from numeric.towers.checks import (
    Layers,
    check_device,
    check_layer,
    check_single,
    check_slope,
    check_weights,
    check_widths,
)
from numeric.towers.network import forward, random_weights, trace, unvec, vec

SEEDS = range(6)
SHAPES = [(1, 1), (3, 2), (2, 3, 2), (4, 3, 3, 2), (2, 5, 4, 3, 1)]


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("slope", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("widths", SHAPES, ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_forward_and_trace_equal_loops_over_fractions(seed, widths, slope, exact, make_tower, make_inputs):
    weights, x = make_tower(seed, widths), make_inputs(seed, 4, widths[0])
    output, run = forward(weights, x, slope), trace(weights, x, slope)
    for sample in range(len(x)):
        activations, top, _ = exact.tower([exact.rational(w) for w in weights], exact.rational(x[sample]), slope)
        assert exact.rational(output[sample]) == top
        assert exact.rational(run.preactivations[-1][sample]) == top
        assert [exact.rational(f[sample]) for f in run.activations] == activations


@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0])
def test_gate_at_zero_is_the_slope_in_both_towers(slope):
    weights = [torch.tensor([[1.0, -1.0], [1.0, 1.0]]).double(), torch.tensor([[3.0, 5.0]]).double()]
    x = torch.ones(1, 2).double().requires_grad_()
    assert trace(weights, x.detach(), slope).gates[0].tolist() == [[slope, 1.0]]
    (gradient,) = torch.autograd.grad(forward(weights, x, slope).sum(), x)
    assert gradient.tolist() == [[3.0 * slope + 5.0, -3.0 * slope + 5.0]]


@pytest.mark.parametrize("seed", SEEDS)
def test_members_of_an_ensemble_are_single_networks(seed, make_tower, make_inputs):
    weights = make_tower(seed, (3, 4, 2), ensemble=3)
    own, common = make_inputs(seed, 3, 5, 3), make_inputs(seed + 50, 5, 3)
    for inputs in (own, common):
        output, run = forward(weights, inputs, 0.5), trace(weights, inputs, 0.5)
        for member in range(3):
            single = [w[member] for w in weights]
            x = inputs if inputs.ndim == 2 else inputs[member]
            assert torch.equal(output[member], forward(single, x, 0.5))
            alone = trace(single, x, 0.5)
            for name in ("activations", "preactivations", "gates"):
                pairs = zip(getattr(run, name), getattr(alone, name), strict=True)
                assert all(torch.equal(many[member], one) for many, one in pairs)


def test_one_sample_without_a_batch_axis(make_tower, make_inputs):
    weights, x = make_tower(0, (3, 4, 2)), make_inputs(0, 3)
    assert torch.equal(forward(weights, x), forward(weights, x.unsqueeze(0))[0])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (4, 2)])
def test_vec_stacks_columns(rows, columns):
    matrix = torch.arange(rows * columns, dtype=torch.float64).reshape(rows, columns)
    stacked = vec(matrix)
    for b, a in product(range(rows), range(columns)):
        assert stacked[a * rows + b] == matrix[b, a]
    assert torch.equal(unvec(stacked, rows), matrix)
    batch = torch.stack([matrix, -matrix])
    assert torch.equal(vec(batch)[1], vec(-matrix))
    assert torch.equal(unvec(vec(batch), rows), batch)


def test_vec_of_a_product_is_the_kronecker_identity(make_tower):
    a, x, b = make_tower(0, (3, 2))[0], make_tower(1, (4, 3))[0], make_tower(2, (2, 4))[0]
    assert torch.equal(vec(a @ x @ b), torch.from_numpy(np.kron(b.numpy().T, a.numpy())) @ vec(x))


def test_unvec_refuses_a_length_that_does_not_fit():
    with refused("n_out=2 for a vector of 3 entries: must divide the length"):
        unvec(torch.zeros(3), 2)


def test_random_weights_come_from_the_generator():
    first, second = (random_weights([64, 50, 7], generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert [tuple(w.shape) for w in first] == [(50, 64), (7, 50)]
    # 3200 normal numbers of variance 1/64: the sample variance lies within 6 standard errors but for one seed
    # in 10^9.
    assert abs(64 * float(first[0].square().mean()) - 1) < 6 * math.sqrt(2 / 3200)
    kept = random_weights([2, 3], generator=torch.Generator().manual_seed(3), ensemble=4, dtype=torch.float32)
    assert kept[0].shape == (4, 3, 2)
    assert kept[0].dtype == torch.float32
    with refused("ensemble=0: must be a positive integer"):
        random_weights([2, 3], generator=torch.Generator(), ensemble=0)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([3, 0], "widths[1]=0: must be a positive integer"),
        ([3, -2, 1], "widths[1]=-2: must be a positive integer"),
        ([2.5, 2], "widths[0]=2.5: must be a positive integer"),
        ([2, 2.0], "widths[1]=2.0: must be a positive integer"),
        ([True, 2], "widths[0]=True: must be a positive integer"),
        (["3", 2], "widths[0]='3': must be a positive integer"),
        ([3], "widths=[3]: must list the input width and at least one layer"),
        ([], "widths=[]: must list the input width and at least one layer"),
    ],
)
def test_widths_that_are_refused(widths, message):
    with refused(message):
        check_widths(widths)
    with refused(message):
        random_weights(widths, generator=torch.Generator())


@pytest.mark.parametrize("slope", [-0.1, 1.5, math.nan, math.inf])
def test_slopes_that_are_refused(slope, make_tower, make_inputs):
    weights, x = make_tower(0, (2, 2)), make_inputs(0, 1, 2)
    for call in (
        lambda: check_slope(slope),
        lambda: forward(weights, x, slope),
        lambda: trace(weights, x, slope),
    ):
        with refused(f"slope={slope!r} of the activation: must lie in [0, 1]"):
            call()


def test_slopes_that_are_allowed():
    assert [check_slope(s) for s in (0, 0.3, 1)] == [0.0, 0.3, 1.0]


def test_widths_that_are_allowed():
    assert check_widths((np.int64(3), 2)) == (3, 2)


def test_devices():
    assert check_device("cpu") == torch.device("cpu")
    assert check_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with refused("device='tpu': must be 'auto', 'cpu' or 'cuda'"):
        check_device("tpu")


def test_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_device("auto") == torch.device("cpu")
    with refused("device='cuda': this machine has no CUDA device; use 'auto' or 'cpu'"):
        check_device("cuda")


BAD_WEIGHTS = [
    ([], "weights=[]: must hold at least one layer"),
    ([[[1.0, math.nan]]], "weights of layer 1: entry (0, 1) is nan: must be finite"),
    ([[[1.0]], [[-math.inf]]], "weights of layer 2: entry (0, 0) is -inf: must be finite"),
    (
        [[[1.0, 2.0]], [[1.0, 1.0]]],
        "weights: layer 2 of shape (1, 2) after layer 1 of shape (1, 2): columns 2 must equal rows 1",
    ),
    ([[[1.0, 2.0], [1.0]]], "weights of layer 1: must be a rectangular array of numbers"),
    ([[["a"]]], "weights of layer 1: must be a rectangular array of numbers"),
    (
        [[1.0, 2.0]],
        "weights of layer 1: shape (2,) must be (n_out, n_in) or (ensemble, n_out, n_in) with positive sizes",
    ),
    (
        [np.zeros((0, 3))],
        "weights of layer 1: shape (0, 3) must be (n_out, n_in) or (ensemble, n_out, n_in) with positive sizes",
    ),
    ([torch.ones(2, 2, dtype=torch.int64)], "weights of layer 1: dtype torch.int64 must be a floating type"),
    (
        [np.ones((2, 3, 2)), np.ones((4, 1, 3))],
        "weights: layer 2 of shape (4, 1, 3) after layer 1 of shape (2, 3, 2): all layers must have the same ensemble axis",
    ),
    (
        [np.ones((3, 2)), np.ones((1, 3), dtype=np.float32)],
        "weights: layer 2 of shape (1, 3) after layer 1 of shape (3, 2): torch.float32 on cpu after torch.float64 on cpu: "
        "all layers must share dtype and device",
    ),
]


@pytest.mark.parametrize(("weights", "message"), BAD_WEIGHTS, ids=[message[:60] for _, message in BAD_WEIGHTS])
def test_weights_that_are_refused(weights, message):
    with refused(message):
        check_weights(weights)


def test_weights_keep_their_kind():
    found = check_weights([np.ones((2, 2), dtype=np.float32), torch.ones(1, 2)], place="towers")
    assert [w.dtype for w in found] == [torch.float32, torch.float32]
    assert check_weights([[[1, 2]]])[0].dtype == torch.float64
    with refused("towers of layer 1: entry (0, 0) is nan: must be finite"):
        check_weights([[[math.nan]]], place="towers")


def test_checked_weights_are_not_checked_again(make_tower, monkeypatch):
    layers = check_weights(make_tower(0, (2, 3, 2)))
    assert isinstance(layers, Layers)
    monkeypatch.setattr("numeric.towers.checks.as_floating", None)  # any look at the layers would fail
    assert check_weights(layers) is layers
    assert check_single(layers) is layers
    with pytest.raises(TypeError):
        check_weights(list(layers))


def test_one_network_is_asked_for_where_a_population_is(make_tower):
    with refused("weights: ensemble of 3 networks: must be one network; take one member"):
        check_single(make_tower(0, (2, 2), ensemble=3))


@pytest.mark.parametrize("layer", [0, 3, -1, True])
def test_layers_that_are_refused(layer):
    with refused(f"layer={layer!r}: must lie in 1 .. 2"):
        check_layer(layer, 2)


def test_inputs_that_are_refused(make_tower):
    weights = make_tower(0, (3, 2))
    with refused("x: shape (1, 2) before layer 1 of shape (2, 3): last axis 2 must equal columns 3"):
        forward(weights, torch.ones(1, 2).double())
    with refused("x: torch.float32 on cpu before weights of torch.float64 on cpu: must share dtype and device"):
        forward(weights, torch.ones(1, 3))
    with refused(
        "x: shape (4, 1, 3) for weights of shape (2, 3): must be (batch, d), or (ensemble, batch, d) for an ensemble"
    ):
        forward(weights, torch.ones(4, 1, 3).double())
    with refused("x: entry (0, 2) is nan: must be finite"):
        trace(weights, torch.tensor([[1.0, 1.0, math.nan]]).double())
