"""The Hessian at collapse against numpy alone: second differences of the loss in loops, and consequences."""

from itertools import product

import numpy as np
import pytest
import torch
from sympy import MatMul, Transpose

import numeric
import theory
from hltm.base.errors import InputError
from theory.core.notation import Expect
from verify.packs.collapse import PACK, CollapseInstance

POINTS = np.array([[[1.0, 0.5], [0.25, 1.0]], [[-0.5, 1.0], [1.5, 0.75]], [[0.5, -1.0], [1.0, 0.125]]])
P = np.array([0.25, 0.5, 0.25])
Q = np.array([[0.5, 0.5], [0.25, 0.75], [0.75, 0.25]])
TAU, MARGIN = 0.7, 0.3
PARAMETERS = {"simple": {}, "triplet": {"tau": TAU, "margin": MARGIN}, "infonce": {"tau": TAU, "negatives": 2}}


def of_distances(name, near, far):
    if name == "simple":
        return near - far[0]
    if name == "triplet":
        return TAU * np.log1p(np.exp((near - far[0] + MARGIN) / TAU))
    return near + TAU * np.log(np.exp(-near / TAU) + sum(np.exp(-r / TAU) for r in far))


def loss(name, weight, beta):
    """The sum over points, views and negatives, written out."""
    f, total = POINTS @ weight.T, 0.0
    every = [(n, c) for n in range(3) for c in range(2)]
    for m, a, b in product(range(3), range(2), range(2)):
        near = np.sum((f[m, a] - f[m, b]) ** 2) / 2
        for chosen in product(every, repeat=2 if name == "infonce" else 1):
            chance = P[m] * Q[m, a] * Q[m, b] * np.prod([P[n] * Q[n, c] for n, c in chosen])
            far = [np.sum((f[m, a] - f[n, c]) ** 2) / 2 for n, c in chosen]
            total += chance * (of_distances(name, near, far) + beta * near)
    return total


def second_differences(name, beta, step=1e-3):
    """The Hessian by vec W, columns stacked; by symmetry the error is of order step squared."""
    units = np.eye(4).reshape(4, 2, 2).transpose(0, 2, 1) * step
    start = loss(name, np.zeros((2, 2)), beta)
    single = [loss(name, u, beta) - start for u in units]
    result = np.empty((4, 4))
    for i, j in product(range(4), repeat=2):
        mixed = loss(name, units[i] + units[j], beta) - start - single[i] - single[j]
        result[i, j] = (2 * single[i] if i == j else mixed) / step**2
    return result


@pytest.fixture(scope="module")
def population():
    return numeric.FinitePopulation(POINTS, P, Q)


def covariances():
    """V_x[xbar] and E V_aug[x] by hand."""
    means = np.einsum("ma,mai->mi", Q, POINTS)
    centred = means - P @ means
    deviations = POINTS - means[:, None]
    return (centred.T * P) @ centred, np.einsum("m,ma,mai,maj->ij", P, Q, deviations, deviations)


@pytest.mark.parametrize("beta", [-0.5, 0.0, 0.3])
@pytest.mark.parametrize(("name", "xi"), [("simple", 1.0), ("triplet", 1 / (1 + np.exp(-3 / 7))), ("infonce", 2 / 3)])
def test_second_differences_of_the_loss(name, xi, beta, population):
    found = numeric.collapse_hessian(population, 2, name, beta, **PARAMETERS[name]).numpy()
    variance, spread = covariances()
    assert np.abs(found - np.kron(2 * beta * spread - 2 * xi * variance, np.eye(2))).max() <= 1e-15
    assert np.abs(found - second_differences(name, beta)).max() <= 2e-5
    weight = torch.randn(2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 4
    value = numeric.collapse_loss(weight, population, name, beta, **PARAMETERS[name])
    assert float(value) == pytest.approx(loss(name, weight.numpy(), beta), rel=1e-12)


def test_collapse_is_left_below_a_threshold_of_the_strength(population):
    """The threshold is xi(0) times the largest generalised eigenvalue of the two covariances."""
    variance, spread = covariances()
    threshold = np.linalg.eigvals(np.linalg.solve(spread, variance)).real.max() / 2
    options = {"tau": 0.3}
    for factor, stable in ((0.99, False), (1.01, True)):
        hessian = numeric.collapse_hessian(population, 1, "infonce", factor * threshold, **options)
        assert (torch.linalg.eigvalsh(hessian).min() > 0) == stable
    for beta in (-1.0, 0.0):
        assert torch.linalg.eigvalsh(numeric.collapse_hessian(population, 1, "infonce", beta, **options)).max() <= 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"outputs": 0}, "outputs=0: must be an integer >= 1"),
        ({"beta": float("nan")}, "beta=nan: must be a finite number, of either sign"),
        ({"loss": "hinge"}, "loss='hinge'"),
        ({"loss": "infonce", "tau": 0.0}, "tau=0.0"),
    ],
)
def test_bad_input_is_one_line(arguments, words, population):
    given = {"outputs": 1, "loss": "simple", "beta": 0.5} | arguments
    with pytest.raises(InputError, match=words) as caught:
        numeric.collapse_hessian(population, **given)
    assert "\n" not in str(caught.value)


def test_a_weight_of_another_width_is_refused(population):
    with pytest.raises(InputError, match=r"weight of shape \(1, 3\): must have 2 columns"):
        numeric.collapse_loss(torch.zeros(1, 3), population, "simple")


def test_instances_that_are_not_allowed_are_refused():
    one = CollapseInstance("infonce", 0.5, 0.0, 1, 0.25, 1, (((1.0,), (2.0,)),), (1.0,), ((0.5, 0.5),))
    for change, words in (({"negatives": 5}, "negatives=5"), ({"loss": "hinge"}, "loss='hinge'")):
        with pytest.raises(InputError, match=words):
            CollapseInstance.from_json({**one.as_json(), **change})


def test_the_temperature_of_infonce_does_not_enter():
    (*_, relation) = theory.derive("collapse-hessian", part="weights-at-zero").claim.relations
    assert {str(symbol) for symbol in relation.rhs.free_symbols} == {"H"}


def test_a_number_beside_a_kronecker_product_is_not_read():
    """``E[x^T x x x^T] kron I`` is no moment of K, since ``K^T K`` is no number."""
    import theory.packs.collapse as letters

    derived = theory.derive("collapse-hessian")
    x = letters.symbol("x", "x", "1")
    number = MatMul(Transpose(x), x)
    wrong = letters.by_outputs(Expect(MatMul(number, x, Transpose(x))))
    (relation,) = derived.claim.relations
    claim = derived.claim.replace(relations=(letters.equation(relation.lhs, letters.XI * wrong),))
    assert derived.decides(claim).value is None


def test_one_point_without_augmentation_has_no_curvature():
    one = CollapseInstance("simple", 1.0, 0.0, 1, 1.0, 1, (((1.0,),),), (1.0,), ((1.0,),))
    assert PACK.measure(one).status == PACK.measure(one, floating=True).status == "holds"
