"""Pack linear-byol against independent numpy code, and what is special to it."""

from dataclasses import replace

import numpy as np
import pytest

import numeric
import theory
from hltm.base.errors import InputError
from verify.packs.linear_byol import STATEMENT, VARIANTS
from verify.packs.linear_byol_measures import PACK, isotropic, toy

POINTS = np.array([[[1.0, 0.5], [0.25, -1.0]], [[-0.5, 2.0], [1.5, 0.75]]])
P_X = np.array([0.25, 0.75])
Q = np.array([[0.5, 0.5], [0.25, 0.75]])
W = np.array([[1.0, -0.5], [0.25, 0.75]])
P = np.array([[0.5, 1.0], [-0.25, 0.75]])
W_A = np.array([[0.75, 0.5], [1.0, -1.0]])
ALPHA, BETA, ETA = 0.7, 0.4, 0.2


def loss(w, p, target):
    """The literal sum over a point and two of its augmentations."""
    total = 0.0
    for m in range(2):
        for a in range(2):
            for b in range(2):
                gap = p @ w @ POINTS[m, a] - target @ POINTS[m, b]
                total += P_X[m] * Q[m, a] * Q[m, b] * 0.5 * gap @ gap
    return total


def differences(function, at, step=1e-6):
    """Central differences by every entry."""
    result = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        result[place] = (function(up) - function(down)) / (2 * step)
    return result


def test_rates_are_those_of_the_literal_loss():
    population = numeric.FinitePopulation(POINTS, P_X, Q)
    rates = numeric.linear_byol_rates(W, P, W_A, population, ALPHA, BETA, ETA)
    by_weight = -differences(lambda w: loss(w, P, W_A), W) - ETA * W
    by_predictor = -ALPHA * differences(lambda p: loss(W, p, W_A), P) - ETA * P
    for rate, wanted in zip(rates, (by_weight, by_predictor, BETA * (W - W_A)), strict=True):
        assert np.allclose(rate.numpy(), wanted, atol=1e-8)
    balance = W @ W.T - P.T @ P / ALPHA
    dw, dp = rates[0].numpy(), rates[1].numpy()
    moved = dw @ W.T + W @ dw.T - (dp.T @ P + P.T @ dp) / ALPHA
    assert np.allclose(moved, -2 * ETA * balance, atol=1e-12)


def test_without_stop_gradient_the_flow_is_linear():
    mean = np.einsum("ma,mad->md", Q, POINTS)
    x = np.einsum("m,md,me->de", P_X, mean, mean)
    spread = np.einsum("m,ma,mad,mae->de", P_X, Q, POINTS, POINTS) - x
    gap = P - np.eye(2)
    h = np.kron(spread, P.T @ P + np.eye(2)) + np.kron(x, gap.T @ gap)
    slope = differences(lambda w: loss(w, P, w), W)
    assert np.allclose(slope.T.reshape(-1), h @ W.T.reshape(-1), atol=1e-8)
    assert np.linalg.eigvalsh(h).min() > 0


def test_isotropic_population_is_isotropic():
    for size in (1, 2, 3):
        one = isotropic(size, 0.375)
        points, law = np.array(one.points), np.array(one.augmentation_weights)
        mean = np.einsum("ma,mad->md", law, points)
        x = np.einsum("m,md,me->de", np.array(one.point_weights), mean, mean)
        second = np.einsum("m,ma,mad,mae->de", np.array(one.point_weights), law, points, points)
        assert np.array_equal(x, np.eye(size))
        assert np.allclose(second - x, 0.375**2 * np.eye(size), atol=1e-15)


def test_threshold_is_that_of_the_reference_script():
    # pack_linear_byol.py: sigma^2 = 0.3, eta = 0.12; starts 2 % above and below end at p_+ and at 4.6e-41.
    low, high = numeric.collapse_threshold(0.3, 0.12)
    assert (low, high) == pytest.approx((0.148774, 0.620457), abs=1e-6)
    p = np.array([low * 1.02, low * 0.98])
    for _ in range(60000):
        p = p + 0.01 * (p * p * (1 - 1.3 * p) - 0.12 * p)
    assert p[0] == pytest.approx(high, abs=1e-9)
    assert p[1] < 1e-20
    assert numeric.collapse_threshold(0.3, 0.26 / 1.3) is None


def test_closed_time_against_euler():
    a, start, end, p, t = 1.3, 0.2, 0.6, 0.2, 0.0
    while p < end:
        p, t = p + 1e-5 * p * p * (1 - a * p), t + 1e-5
    wanted = 1 / start - 1 / end + a * np.log(end * (1 - a * start) / (start * (1 - a * end)))
    assert t == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"predictor": ((1.0, 0.0),)}, "predictor has shape"),
        ({"target_weights": ((1.0,), (1.0,), (1.0,))}, "target has shape"),
        ({"rates": (0.0, 0.5, 0.5)}, "alpha=0.0"),
        ({"rates": (1.0, -0.5, 0.5)}, "beta=-0.5"),
        ({"root": 1.0}, "root=1.0"),
        ({"modes": ((0.0, 1.0, 1.0),)}, "w of modes=0.0"),
        ({"modes": ()}, "modes"),
    ],
)
def test_bad_instances_are_refused(change, place):
    instance = next(iter(toy(0, 1)))
    with pytest.raises(InputError, match=place):
        replace(instance, **change).checked()


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="columns"):
        numeric.linear_byol_rates([[1.0]], [[1.0]], [[1.0]], numeric.FinitePopulation(POINTS))
    with pytest.raises(InputError, match="s has the entry"):
        numeric.linear_byol_modes([0.0], [1.0], [1.0], 0.0)
    with pytest.raises(InputError, match="variance=nan: must be a finite number that is not negative"):
        numeric.linear_byol_modes([1.0], [1.0], [1.0], np.nan)
    with pytest.raises(InputError, match=r"tau has shape \(2,\): must be \(1,\), that of s"):
        numeric.linear_byol_modes([1.0], [1.0], [1.0, 1.0], 0.0)
    with pytest.raises(InputError, match=r"p: entry \(0,\) is nan: must be finite"):
        numeric.linear_byol_modes([1.0], [np.nan], [1.0], 0.0)
    with pytest.raises(InputError, match="variance"):
        numeric.collapse_threshold(-1.0, 0.1)


def test_every_formula_has_mutants():
    counts = {part.name: sum(variant.claim.part == part.name for variant in VARIANTS) for part in PACK.parts}
    assert min(counts.values()) >= 3
    assert STATEMENT.slug == "linear-byol"


def test_a_wrong_sign_in_the_derivation_is_refuted():
    derived = theory.derive("linear-byol", part="commutator")
    wrong = derived.claim.mutants()["sign"]
    assert derived.decides(wrong).value is False


def test_the_action_on_a_vector_is_linear_and_needs_rules():
    import sympy

    from theory.packs.action import acted

    n = sympy.Symbol("n", integer=True, positive=True)
    a, b, u, v = (sympy.MatrixSymbol(name, n, size) for name, size in (("A", n), ("B", n), ("u", 1), ("v", 1)))
    rules = {(a, u): (sympy.Integer(2), v), (a, v): (sympy.Integer(3), u)}
    assert acted(a * a + 5 * sympy.Identity(n), u, rules) == (11, u)
    for unknown in (b, a + sympy.Identity(n)):
        with pytest.raises(KeyError):
            acted(unknown, u, rules)


def test_the_modes_are_proved_for_every_size():
    steps = theory.derive("linear-byol", part="modes").steps
    assert sum("multiple of u" in step.justification for step in steps) == 2
