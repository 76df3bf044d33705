"""Connections: against Kronecker products in loops over fractions, against torch.func, and in every form."""

import re

import pytest
import torch
from torch.func import jacrev, vmap

from hltm.base.errors import InputError
from numeric.towers.connection import ConnectionFactors, connection_factors, connections, normalized_connections
from numeric.towers.gradient import pair_gradient
from numeric.towers.network import forward, unvec, vec

SEEDS = range(5)
SHAPES = [(1, 1), (3, 2), (2, 3, 2), (4, 3, 3, 2), (3, 5, 1), (2, 3, 4, 3, 2)]
SLOPES = [0.0, 0.25, 1.0]


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("widths", SHAPES, ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_connections_equal_loops_over_fractions(seed, widths, slope, exact, make_tower, make_inputs):
    weights, x = make_tower(seed, widths), make_inputs(seed, 3, widths[0])
    table = [exact.rational(w) for w in weights]
    for layer, found in enumerate(connections(weights, x, slope), start=1):
        assert found.shape == (3, widths[layer] * widths[layer - 1], widths[-1])
        for sample in range(3):
            oracle = exact.connection(table, exact.rational(x[sample]), slope, layer)
            assert exact.rational(found[sample]) == oracle


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("widths", SHAPES, ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_connections_equal_the_jacobians_of_torch_func(seed, widths, slope, make_tower, make_inputs):
    weights, x = make_tower(seed, widths), make_inputs(seed, 4, widths[0])
    jacobians = vmap(jacrev(lambda w, sample: forward(w, sample, slope)), in_dims=(None, 0))(weights, x)
    for found, jacobian in zip(connections(weights, x, slope), jacobians, strict=True):
        assert torch.equal(found, vec(jacobian).mT)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_key_identity(seed, slope, make_tower, make_inputs):
    weights, x = make_tower(seed, (3, 4, 3, 2)), make_inputs(seed, 4, 3)
    output = forward(weights, x, slope)
    for matrix, factors in zip(weights, connection_factors(weights, x, slope), strict=True):
        assert torch.equal(factors.adjoint_apply(matrix), output)
        assert torch.equal(torch.einsum("bpc,p->bc", factors.dense(), vec(matrix)), output)


@pytest.mark.parametrize("seed", SEEDS)
def test_factored_products_are_products_with_the_dense_form(seed, make_tower, make_inputs):
    weights, x = make_tower(seed, (3, 4, 2)), make_inputs(seed, 5, 3)
    vectors, scales = make_inputs(seed + 20, 5, 2), make_inputs(seed + 40, 5)
    for number, factors in enumerate(connection_factors(weights, x, 0.25)):
        dense, other = factors.dense(), make_tower(seed + 7, (3, 4, 2))[number]
        assert torch.equal(factors.adjoint_apply(other), torch.einsum("bpc,p->bc", dense, vec(other)))
        total = torch.einsum("bpc,bc,b->p", dense, vectors, scales)
        assert torch.equal(factors.apply(vectors, scales), unvec(total, len(other)))
        assert torch.equal(factors.apply(vectors), unvec(torch.einsum("bpc,bc->p", dense, vectors), len(other)))


def test_connections_are_written_to_given_memory(make_tower, make_inputs):
    weights, x = make_tower(1, (3, 4, 3, 2)), make_inputs(1, 5, 3)
    for factors in connection_factors(weights, x, 0.25):
        expected = factors.dense()
        out = torch.full_like(expected, torch.nan)
        found = factors.dense(out)
        assert found.data_ptr() == out.data_ptr()
        assert found.shape == expected.shape
        assert torch.equal(out, expected)


@pytest.mark.parametrize("common", [False, True], ids=["own-inputs", "common-inputs"])
@pytest.mark.parametrize("seed", SEEDS)
def test_members_of_an_ensemble_are_single_networks(seed, common, make_tower, make_inputs):
    weights = make_tower(seed, (3, 4, 3, 2), ensemble=3)
    x = make_inputs(seed, 5, 3) if common else make_inputs(seed, 3, 5, 3)
    vectors = make_inputs(seed, 3, 5, 2)
    many = connection_factors(weights, x, 0.25)
    for member in range(3):
        single = [w[member] for w in weights]
        alone = connection_factors(single, x if common else x[member], 0.25)
        for matrix, factors, one in zip(weights, many, alone, strict=True):
            assert torch.equal(factors.dense()[member], one.dense())
            assert torch.equal(factors.adjoint_apply(matrix)[member], one.adjoint_apply(matrix[member]))
            assert torch.equal(factors.apply(vectors)[member], one.apply(vectors[member]))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_dual_gradient_holds_exactly(seed, slope, make_tower, make_inputs):
    first, second = make_tower(seed, (3, 4, 2)), make_tower(seed + 9, (3, 3, 2))
    x = make_inputs(seed, 2, 3)
    gradient = pair_gradient(first, second, x[0], x[1], slope)
    pairs = zip(connection_factors(first, x[:1], slope), first, gradient, strict=True)
    other = connection_factors(second, x[1:], slope)[0].adjoint_apply(second[0])
    for factors, matrix, found in pairs:
        assert torch.equal(factors.apply(factors.adjoint_apply(matrix) - other), found)


@pytest.mark.parametrize("seed", SEEDS)
def test_normalised_connections_give_the_gradient_of_the_normalised_distance(seed, make_tower, make_inputs):
    first, second = make_tower(seed, (3, 4, 2)), make_tower(seed + 9, (3, 3, 2))
    x = make_inputs(seed, 2, 3)
    gradient = pair_gradient(first, second, x[0], x[1], 0.25, output="normalized")
    other = normalized_connections(second, x[1:], 0.25)[0][0].adjoint_apply(second[0])
    norm = float(forward(first, x[:1], 0.25).norm())
    pairs = zip(normalized_connections(first, x[:1], 0.25), first, gradient, strict=True)
    for (ahead, back), matrix, found in pairs:
        # Unit vectors: their difference is at most 2; u is exact and a norm, a division and P cost a few
        # roundings each.
        size = 2 * float(back.activation.abs().max() * ahead.jacobian.abs().sum())
        bound = 32 * torch.finfo(torch.float64).eps * max(size, float(matrix.abs().sum()) / norm)
        assert (back.apply(ahead.adjoint_apply(matrix) - other) - found).abs().max() <= bound


def test_normalised_forward_connections_reproduce_the_output(make_tower, make_inputs):
    weights, x = make_tower(3, (3, 4, 2)), make_inputs(3, 5, 3)
    unit = torch.nn.functional.normalize(forward(weights, x, 0.5), dim=-1)
    for (ahead, back), matrix in zip(normalized_connections(weights, x, 0.5), weights, strict=True):
        torch.testing.assert_close(ahead.adjoint_apply(matrix), unit, rtol=0, atol=16 * torch.finfo(torch.float64).eps)
        # The backward one annihilates the direction of the output: P f = 0.
        along = torch.einsum("bc,bcn->bn", unit, back.jacobian)
        assert along.abs().max() <= 16 * torch.finfo(torch.float64).eps * ahead.jacobian.abs().sum()


def test_zero_output_cannot_be_normalised():
    weights, x = [torch.ones(2, 1).double()], torch.tensor([[1.0], [0.0]]).double()
    with pytest.raises(InputError, match=re.escape("output of sample 1 is zero: cannot be normalised")):
        normalized_connections(weights, x)
    with pytest.raises(InputError, match=re.escape("output of sample (1, 0) is zero: cannot be normalised")):
        normalized_connections([torch.tensor([[[1.0]], [[0.0]]])], torch.ones(1, 1))


def test_single_precision_stays_single(make_tower, make_inputs):
    weights, x = [w.float() for w in make_tower(0, (3, 4, 2))], make_inputs(0, 4, 3).float()
    exactly = connections([w.double() for w in weights], x.double(), 0.25)
    for found, oracle in zip(connections(weights, x, 0.25), exactly, strict=True):
        assert found.dtype == torch.float32
        assert torch.equal(found.double(), oracle)


def test_factors_are_frozen():
    factors = ConnectionFactors(torch.ones(1, 2), torch.ones(1, 1, 1))
    with pytest.raises(AttributeError):
        factors.activation = torch.zeros(1, 2)
