"""Pack stepwise-barlow against independent numpy code, and what is special to it."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from flint import fmpq

import numeric
from hltm.base.errors import InputError
from verify.engine.assumptions import drop
from verify.engine.statement import Context
from verify.packs.part import BITS, UndecidedError
from verify.packs.stepwise_measures import StepwiseInstance, aligned, float_risen, orthogonal, passage, risen, toy
from verify.registry import entry
from verify.towers import balls

# Eigenvalues and lambda_j s_j(1)^2 of the reference script, for starts 0.02, 0.05 and 0.01.
EIGENVALUES = (1.9851509520387993, 1.3111725249213557, 0.6418388606230642)
STARTS = (0.02, 0.05, 0.01)
FILLED = (0.9998405548204621, 0.9916085971770261, 0.01078256904552196)


def test_the_flow_of_numerics_loss_reaches_the_reference_values():
    # Orthogonal mean inputs without noise: Gamma is diagonal.
    points = np.sqrt(3 * np.array(EIGENVALUES))[:, None, None] * np.eye(3)[:, None, :]
    population = numeric.FinitePopulation(points)
    weights = torch.diag(torch.tensor(STARTS, dtype=torch.float64))

    def rate(at):
        leaf = at.detach().requires_grad_()
        return -torch.autograd.grad(numeric.barlow_loss(population.flat_points @ leaf.T, population), leaf)[0]

    h = 1 / 256
    for _ in range(256):
        first = rate(weights)
        second = rate(weights + h / 2 * first)
        third = rate(weights + h / 2 * second)
        weights = weights + h / 6 * (first + 2 * second + 2 * third + rate(weights + h * third))
    filled = np.array(EIGENVALUES) * weights.diagonal().numpy() ** 2
    assert np.allclose(filled, FILLED, atol=1e-7)


def test_the_literal_loss_and_its_gradient():
    rng = np.random.default_rng(0)
    points, weights = rng.normal(size=(3, 2, 2)), rng.normal(size=(2, 2))
    p, q = np.array([0.5, 0.25, 0.25]), np.array([[0.25, 0.75]] * 3)
    mean = np.einsum("ma,mad->md", q, points)
    gamma = np.einsum("m,md,me->de", p, mean, mean)

    def literal(w):
        f = points @ w.T
        cross = sum(
            p[m] * q[m, a] * q[m, b] * 0.5 * (np.outer(f[m, a], f[m, b]) + np.outer(f[m, b], f[m, a]))
            for m in range(3)
            for a in range(2)
            for b in range(2)
        )
        return ((cross - np.eye(2)) ** 2).sum()

    population = numeric.FinitePopulation(points, p, q)
    leaf = torch.as_tensor(weights).requires_grad_()
    value = numeric.barlow_loss(population.flat_points @ leaf.T, population)
    assert float(value.detach()) == pytest.approx(literal(weights), rel=1e-12)
    value.backward()
    assert np.allclose(leaf.grad.numpy(), 4 * (weights @ gamma @ weights.T - np.eye(2)) @ weights @ gamma, atol=1e-12)
    step = np.array([[1e-6, 0.0], [0.0, 0.0]])
    assert (literal(weights + step) - literal(weights - step)) / 2e-6 == pytest.approx(float(leaf.grad[0, 0]), rel=1e-6)


def test_the_duality_on_random_matrices():
    rng = np.random.default_rng(1)
    k = rng.normal(size=(3, 5))
    k /= np.linalg.norm(k, axis=0)
    rows, columns = k @ k.T, k.T @ k

    def off(matrix):
        return (matrix**2).sum() - (np.diag(matrix) ** 2).sum()

    assert off(rows) - off(columns) == pytest.approx(5 - (np.diag(rows) ** 2).sum())


def test_a_cayley_transform_is_orthogonal_exactly():
    turned = orthogonal((0.5, -0.25, 1.0), 3)
    assert np.array_equal(turned.T @ turned, np.array([[fmpq(int(i == j)) for j in range(3)] for i in range(3)]))


def test_the_time_of_passage_is_an_enclosure_of_the_closed_form():
    for instance in toy(3, 4):
        for mode, eigenvalue in enumerate(aligned(instance).eigenvalues):
            start, end = (Fraction(row[mode]) for row in (instance.start, instance.end))
            time = passage(instance, mode, fmpq(*start.as_integer_ratio()), fmpq(*end.as_integer_ratio()))
            growth = np.exp(8 * float(eigenvalue.p) / float(eigenvalue.q) * float(time.mid()))
            level = float(eigenvalue.p) / float(eigenvalue.q)
            assert 1 / (1 / float(start) ** 2 + (growth - 1) * level) * growth == pytest.approx(
                float(end) ** 2, rel=1e-9
            )


def test_a_mode_at_the_time_of_the_rise():
    for instance in toy(4, 6):
        for mode, value in enumerate(aligned(instance).eigenvalues):
            level, start = float(value.p) / float(value.q), instance.start[mode]
            with balls.precision(BITS):
                time, height = risen(instance, mode)
            assert float(time.mid()) == pytest.approx(-np.log(level * start**2) / (8 * level), rel=1e-12)
            assert level * float(height.mid()) ** 2 == pytest.approx(1 / (2 - level * start**2), rel=1e-12)
            assert float(height.rad()) < 1e-40
            for found, exact in zip(float_risen(instance, mode, "cpu"), (time, height), strict=True):
                assert abs(found.value - float(exact.mid())) <= found.error < 1e-5


def test_a_start_above_the_fixed_point_has_no_time_of_the_rise():
    statement = entry("stepwise-barlow").load()
    names = {dropped.name: drop(dropped, Context()) for dropped in statement.drops}
    high = names["lambda_j s_j(0)^2 < 1, for the time of the rise"].sides
    assert float(high.left) == pytest.approx(-np.log(4) / 8)
    assert float(high.right) == pytest.approx(np.log(3 / 4) / 8)
    assert float(names["t >= 0, for the closed form"].sides.left) < 0


def test_no_time_leads_across_a_fixed_point():
    instance = StepwiseInstance((), (), (1.0,), (1.0,), ((0.0,),), (0.5,), (2.0,), ((1.0,),), ((1.0,),)).checked()
    with pytest.raises(UndecidedError, match="fixed point lies between"):
        passage(instance, 0, fmpq(1, 2), fmpq(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radii": (1.0, 1.0)}, "radii has 2 entries: must have 1"),
        ({"start": (0.0,)}, r"start=\(0.0,\): must be finite and positive"),
        ({"turn_out": (1.0,)}, "turn_out has 1 entries: must have 0"),
        ({"point_weights": (0.5,)}, "point_weights.*must be 1"),
        ({"start": (1.0,), "end": (1.0,)}, "start of mode 0: eigenvalue times its square must be below 1"),
        ({"end": (0.25,)}, r"end=\(0.25,\): must be at least start"),
        ({"start": ()}, "start has 0 entries: must have 1 .. 1"),
        ({"outputs": ((1.0,), (1.0, 2.0))}, "outputs: every row must have 1 entries"),
    ],
)
def test_bad_instances_are_refused(change, message):
    instance = StepwiseInstance((), (), (1.0,), (1.0,), ((0.0,),), (0.5,), (0.75,), ((1.0,),), ((1.0,),)).checked()
    with pytest.raises(InputError, match=message):
        replace(instance, **change).checked()
