"""The matrix-free operator against the dense one, and as SciPy's eigensolver uses it."""

import re

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from hltm.base.errors import InputError
from numeric.towers import product
from numeric.towers.network import random_weights
from numeric.towers.operator import covariance_operator
from numeric.towers.populations import FinitePopulation
from numeric.towers.product import covariance_operator_product

EPS = torch.finfo(torch.float64).eps
SEEDS = range(3)
LOSSES = [("simple", {}), ("triplet", {"tau": 0.5}), ("infonce", {"tau": 1.0, "negatives": 3})]
NAMES = ["simple", "triplet", "infonce-3"]


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def test_parts_of_the_sample_do_not_matter(monkeypatch, make_tower, make_population):
    weights, population = make_tower(0, (3, 4, 2)), FinitePopulation(**make_population(0, 5, 3, 3))
    monkeypatch.setattr(product, "_NUMBERS", 9)
    operator = covariance_operator_product(weights, population, 1, slope=0.25)
    assert torch.equal(
        operator.product(torch.eye(12).double()), covariance_operator(weights, population, 1, slope=0.25)
    )


def test_it_is_a_linear_operator_of_scipy(make_tower, make_population):
    weights, population = make_tower(1, (3, 4, 2)), FinitePopulation(**make_population(1, 5, 3, 3))
    dense = covariance_operator(weights, population, 1).numpy()
    operator = covariance_operator_product(weights, population, 1)
    assert isinstance(operator, LinearOperator)
    assert operator.shape == (12, 12)
    assert operator.dtype == np.float64
    rng = np.random.default_rng(0)
    columns = rng.integers(-8, 9, size=(12, 3)).astype(float)
    assert np.array_equal(operator @ columns[:, 0], dense @ columns[:, 0])
    assert np.array_equal(operator @ columns, dense @ columns)
    assert np.array_equal(operator.H @ columns, dense @ columns)
    assert np.array_equal(operator.matvec(columns[:, :1]), dense @ columns[:, :1])
    # Views with other strides are taken too.
    assert np.array_equal(operator @ columns[::-1, 0], dense @ columns[::-1, 0])


@pytest.mark.parametrize(("loss", "parameters"), LOSSES, ids=NAMES)
def test_leading_eigenpairs(loss, parameters):
    generator = torch.Generator().manual_seed(0)
    weights = random_weights([6, 8, 3], generator=generator)
    population = FinitePopulation(torch.randn(20, 4, 6, generator=generator, dtype=torch.float64))
    oracle = torch.linalg.eigvalsh(covariance_operator(weights, population, 1, loss, **parameters)).numpy()
    operator = covariance_operator_product(weights, population, 1, loss, **parameters)
    values, vectors = eigsh(operator, k=5, which="LA", v0=np.ones(48))
    # ARPACK converges to machine precision relative to the largest value; Weyl bounds the rounding of the
    # operator.
    assert np.abs(values - oracle[-5:]).max() <= 48 * 16 * EPS * oracle[-1]
    assert np.abs(operator @ vectors - vectors * values).max() <= 48 * 16 * EPS * oracle[-1]


def test_kinds_of_tensors(make_tower, make_population):
    weights, population = make_tower(1, (3, 4, 2)), FinitePopulation(**make_population(1, 5, 3, 3))
    operator = covariance_operator_product([w.float() for w in weights], population.to("cpu", torch.float32), 1)
    assert operator.product(torch.ones(12)).dtype == torch.float32
    exactly = covariance_operator_product(weights, population, 1).product(torch.ones(12).double())
    assert torch.equal(operator.product(torch.ones(12).double()), exactly)
    with refused("vectors of shape (5,): must be (12,) or (12, k)"):
        operator.product(torch.ones(5))


def test_what_is_refused(make_tower, make_population):
    weights, population = make_tower(1, (3, 4, 2)), FinitePopulation(**make_population(1, 5, 3, 3))
    with refused("layer=0: must lie in 1 .. 2"):
        covariance_operator_product(weights, population, 0)
    with refused("slope=-1 of the activation: must lie in [0, 1]"):
        covariance_operator_product(weights, population, 1, slope=-1)
    with refused("x: shape (15, 3) before layer 1 of shape (4, 2): last axis 3 must equal columns 2"):
        covariance_operator_product(make_tower(1, (2, 4, 2)), population, 1)
