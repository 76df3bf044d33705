"""Pack spectral-loss against independent numpy code, and what is special to it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import numeric
import theory
from hltm.base.errors import InputError
from theory.packs.spectral import INDEPENDENT
from verify.packs.part import UndecidedError
from verify.packs.spectral import STATEMENT
from verify.packs.spectral_measures import (
    PACK,
    SpectralInstance,
    adjacency,
    eigenvalues,
    eigenvectors,
    float_eigenvalues,
    toy,
)
from verify.registry import entry

P = np.array([0.25, 0.75])
A = np.array([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5]])
F = np.array([[1.0, -0.5], [0.25, 2.0], [-1.5, 0.75]])
POPULATION = numeric.FinitePopulation(np.zeros((2, 3, 1)), P, A)


def literal(f, beta=None):
    """The sums over points and nodes."""
    total, second = 0.0, np.zeros((f.shape[1], f.shape[1]))
    nodes = range(len(f))
    for x in range(2):
        for a in nodes:
            second += P[x] * A[x, a] * np.outer(f[a], f[a])
            for b in nodes:
                pair = P[x] * A[x, a] * A[x, b]
                total += pair * (-2 * f[a] @ f[b] if beta is None else beta * ((f[a] - f[b]) ** 2).sum())
    if beta is not None:
        return total + ((second - np.eye(len(second))) ** 2).sum()
    for x in range(2):
        for y in range(2):
            for a in nodes:
                for b in nodes:
                    total += P[x] * A[x, a] * P[y] * A[y, b] * (f[a] @ f[b]) ** 2
    return total


def rows(f):
    return torch.as_tensor(f).repeat(2, 1)


def graph():
    w = (A * P[:, None]).T @ A
    return w, w / np.sqrt(np.outer(w.sum(1), w.sum(1)))


def test_losses_are_the_literal_sums_and_the_factorisation():
    assert float(numeric.spectral_loss(rows(F), POPULATION)) == pytest.approx(literal(F), abs=1e-12)
    for beta in (1.0, 0.3):
        found = float(numeric.spectral_family_loss(rows(F), POPULATION, beta))
        assert found == pytest.approx(literal(F, beta), abs=1e-12)
    w, abar = graph()
    scaled = np.sqrt(w.sum(1))[:, None] * F
    distance = ((abar - scaled @ scaled.T) ** 2).sum() - (abar**2).sum()
    assert distance == pytest.approx(literal(F), abs=1e-12)


def test_one_reference_graph():
    generator = torch.Generator().manual_seed(2)
    options = {"generator": generator, "dtype": torch.float64}
    p = torch.rand(6, **options) + 0.2
    table = torch.rand(6, 8, **options) ** 3
    p, table = p / p.sum(), table / table.sum(1, keepdim=True)
    f = torch.randn(8, 3, **options)
    population = numeric.FinitePopulation(torch.zeros(6, 8, 1, dtype=torch.float64), p, table)
    assert float(numeric.spectral_loss(f.repeat(6, 1), population)) == pytest.approx(0.43927513830138576, abs=1e-12)
    leaf = f.clone().requires_grad_()
    descent = torch.optim.LBFGS([leaf], max_iter=1000, tolerance_grad=1e-13, line_search_fn="strong_wolfe")

    def closure():
        descent.zero_grad()
        value = numeric.spectral_loss(leaf.repeat(6, 1), population)
        value.backward()
        return value

    descent.step(closure)
    # -sum of the three largest squared eigenvalues, of the reference script.
    assert float(closure().detach()) == pytest.approx(-1.2198905298175295, abs=1e-9)


def test_the_update_of_a_layer_by_central_differences():
    weights = np.array([[1.0, -0.5], [0.25, 0.75]])
    inputs = np.array([[1.0, 0.5], [-0.25, 1.5], [0.75, -1.0]])
    update = np.zeros_like(weights)
    for place in np.ndindex(2, 2):
        step = np.zeros_like(weights)
        step[place] = 1e-5
        update[place] = -(literal(inputs @ (weights + step).T) - literal(inputs @ (weights - step).T)) / 2e-5
    w = (A * P[:, None]).T @ A
    moment = inputs.T @ w @ inputs
    outputs = inputs @ weights.T
    second = outputs.T @ np.diag(w.sum(1)) @ outputs
    # One linear layer: K = x kron I, so that 4 (W E[xbar xbar^T] - S W E[x x^T]).
    total = inputs.T @ np.diag(w.sum(1)) @ inputs
    assert np.allclose(update, 4 * (weights @ moment - second @ weights @ total), atol=1e-6)


def test_vicreg_and_barlow_from_their_definitions():
    q = np.array([[0.25, 0.75], [0.5, 0.5]])
    x = np.array([[[1.0, 2.0], [0.5, -1.0]], [[0.0, 1.0], [-2.0, 0.25]]])
    population = numeric.FinitePopulation(x, P, q)
    table = population.flat_points
    mean, cross = np.zeros(2), np.zeros((2, 2))
    joint = (P[:, None] * q).ravel()
    flat = x.reshape(4, 2)
    mean = joint @ flat
    covariance = (flat - mean).T @ np.diag(joint) @ (flat - mean)
    invariance = 0.0
    for m in range(2):
        for a in range(2):
            for b in range(2):
                weight = P[m] * q[m, a] * q[m, b]
                invariance += weight * ((x[m, a] - x[m, b]) ** 2).sum()
                cross += weight * 0.5 * (np.outer(x[m, a], x[m, b]) + np.outer(x[m, b], x[m, a]))
    hinge = np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean()
    wanted = 25 * invariance + 2 * 25 * hinge + 2 * (2 * covariance[0, 1] ** 2) / 2
    assert float(numeric.vicreg_loss(table, population)) == pytest.approx(wanted, rel=1e-12)
    barlow = ((1 - np.diag(cross)) ** 2).sum() + 0.5 * 2 * cross[0, 1] ** 2
    assert float(numeric.barlow_loss(table, population, 0.5)) == pytest.approx(barlow, rel=1e-12)
    scale = 1 / np.sqrt(np.diag(covariance))
    normal = (cross - np.outer(mean, mean)) * np.outer(scale, scale)
    barlow = ((1 - np.diag(normal)) ** 2).sum() + 2 * normal[0, 1] ** 2
    assert float(numeric.barlow_loss(table, population, normalized=True)) == pytest.approx(barlow, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: numeric.spectral_loss(rows(F)[:5], POPULATION), r"outputs of shape \(5, 2\): must be \(6, k\)"),
        (lambda: numeric.barlow_loss(rows(F)[:4], POPULATION), r"outputs of shape \(4, 2\)"),
        (lambda: numeric.vicreg_loss(rows(F), POPULATION, float("nan")), "invariance=nan: must be finite"),
        (lambda: numeric.vicreg_loss(rows(F), POPULATION, epsilon=0), "epsilon=0.0: must be positive"),
        (lambda: numeric.spectral_family_loss(rows(F), POPULATION, float("inf")), "beta=inf: must be finite"),
        (lambda: numeric.barlow_loss(rows(0 * F), POPULATION, normalized=True), "column 0 is constant"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_node_needs_a_probability():
    instance = next(iter(toy(0, 1)))
    assert SpectralInstance.from_json(instance.as_json()) == instance
    absent = replace(instance, augmentation_weights=tuple((1.0, *(0.0,) * (len(row) - 1)) for row in
                                                          instance.augmentation_weights))  # fmt: skip
    with pytest.raises(InputError, match="node 1 of augmentation_weights: must have a positive probability"):
        absent.checked()


def test_equal_eigenvalues_leave_the_minimiser_undecided():
    alike = SpectralInstance(1.0, (((1.0,),),), ((1.0,), (2.0,), (3.0,)), (1.0,), ((0.25, 0.25, 0.5),), 1.0).checked()
    with pytest.raises(UndecidedError, match="not certified"):
        eigenvectors(alike)
    assert PACK.measure(alike).status == "holds"


@pytest.mark.parametrize("part", ["factorisation", "gradient", "minimum", "minimiser", "network", "any-network"])
def test_what_is_about_the_loss_assumes_an_independent_node(part):
    assert INDEPENDENT in theory.derive("spectral-loss", part=part).claim.assumptions


def test_eigenvalues_in_float64_lie_within_their_bound():
    for instance in toy(5, 6):
        exact = eigenvalues(adjacency(instance), 2)
        for found, value in zip(float_eigenvalues(adjacency(instance, "float64"), 2), exact, strict=True):
            assert abs(found.value - float(value.mid())) <= found.error < 1e-11


def test_registered():
    assert entry("spectral-loss").title == STATEMENT.title
