"""Pack jepa-mae against independent numpy code, and what is special to it."""

from dataclasses import replace

import numpy as np
import pytest

import numeric
from hltm.base.errors import InputError
from verify.packs.jepa_mae import VARIANTS
from verify.packs.jepa_mae_measures import PACK, JepaInstance, toy

LAM, S = np.array([1.0, 0.6]), np.array([1.2, 0.5])


def gradient(layers, decoder, kind):
    """``-grad`` of ``1/2 tr(V E Sxx E^T V^T) - tr(V E Sxy E'^T)`` by the product rule; E' is E held, or I."""
    encoder = np.linalg.multi_dot([np.eye(2), *layers[::-1], np.eye(2)])
    held = encoder if kind == "jepa" else np.eye(2)
    force = held @ np.diag(LAM) - decoder @ encoder @ np.diag(S)
    result = []
    for number in range(len(layers)):
        above = np.linalg.multi_dot([np.eye(2), *layers[:number:-1], np.eye(2)])
        below = np.linalg.multi_dot([np.eye(2), *layers[:number][::-1], np.eye(2)])
        result.append(above.T @ decoder.T @ force @ below.T)
    return [*result, force @ encoder.T]


@pytest.mark.parametrize("kind", ["jepa", "mae"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_matrix_flow_is_the_reduced_flow(kind, depth):
    # frontier.py, F1: start (0.5, 0.6), to t = 3.
    w = np.array([0.5, 0.6])
    stack = [np.diag(w) for _ in range(depth + 1)]
    for _ in range(3000):
        middle = [m + 0.0005 * g for m, g in zip(stack, gradient(stack[:-1], stack[-1], kind), strict=True)]
        moved = gradient(middle[:-1], middle[-1], kind)
        stack = [m + 0.001 * g for m, g in zip(stack, moved, strict=True)]
        half = w + 0.0005 * numeric.predictive_rates(w, LAM, S, depth, kind).numpy()
        w = w + 0.001 * numeric.predictive_rates(half, LAM, S, depth, kind).numpy()
    assert np.allclose(np.diag(stack[0]), w, atol=1e-12)
    encoder = np.linalg.multi_dot([np.eye(2), *stack[:-1], np.eye(2)])
    assert np.allclose(np.diag(encoder), w**depth, atol=1e-12)


def test_the_reduced_flow_in_the_encoder():
    for kind, power in (("jepa", 3), ("mae", 2)):
        for depth in (1, 2, 3):
            e = np.array([0.4, 0.7])
            rate = (
                depth * e ** (1 - 1 / depth) * numeric.predictive_rates(e ** (1 / depth), LAM, S, depth, kind).numpy()
            )
            assert np.allclose(rate, depth * (LAM * e ** (power - 1 / depth) - S * e**3), atol=1e-14)


def test_fixed_points():
    for kind in ("jepa", "mae"):
        for depth in (1, 2, 3):
            end = [numeric.predictive_fixed_point(r, depth, kind) for r in LAM / S]
            rest = numeric.predictive_rates(np.array(end) ** (1 / depth), LAM, S, depth, kind)
            assert np.allclose(rest.numpy(), 0.0, atol=1e-14)
    assert numeric.predictive_fixed_point(0.5, 3) == 0.125


def test_time_of_two_layers_against_euler():
    lam, rho, start, end = 0.5, 0.8, 0.3, 0.6
    w, t = start, 0.0
    while w < end:
        w, t = w + 1e-5 * w**4 * lam * (1 - w / rho), t + 1e-5
    terms = sum((start**-n - end**-n) / (n * rho ** (3 - n)) for n in (1, 2, 3))
    wanted = (terms + np.log(end * (rho - start) / (start * (rho - end))) / rho**3) / lam
    assert t == pytest.approx(wanted, abs=2e-2)


def test_literal_loss():
    rng = np.random.default_rng(0)
    x, y, first, decoder = rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), *rng.normal(size=(2, 2, 2))
    wanted = 0.5 * ((x @ first.T @ decoder.T - y @ first.T) ** 2).sum(1).mean()
    assert float(numeric.predictive_loss([first], decoder, x, y)) == pytest.approx(wanted, abs=1e-13)
    wanted = 0.5 * ((x @ first.T @ decoder.T - y) ** 2).sum(1).mean()
    assert float(numeric.predictive_loss([first], decoder, x, y, "mae")) == pytest.approx(wanted, abs=1e-13)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"layers": ()}, "layers"),
        ({"layers": ((1.0,),)}, "2"),
        ({"decoder": (0.0, 1.0)}, "decoder"),
        ({"share": 1.0}, "share"),
    ],
)
def test_bad_instances_are_refused(change, place):
    one = JepaInstance(((0.5, 1.0),), (1.0, 1.0), (1.0, 2.0), (1.0, 1.0), 0.5)
    with pytest.raises(InputError, match=place):
        replace(one, **change).checked()


def test_bad_arguments_are_refused():
    one = [[1.0]]
    with pytest.raises(InputError, match="kind='mse'"):
        numeric.predictive_loss([one], one, one, one, "mse")
    with pytest.raises(InputError, match=r"layers\[0\]"):
        numeric.predictive_loss([[[1.0, 2.0]]], one, one, one)
    with pytest.raises(InputError, match="depth=0"):
        numeric.predictive_rates([1.0], [1.0], [1.0], 0)
    with pytest.raises(InputError, match=r"covariance has shape \(3,\): must be \(2,\), that of layer"):
        numeric.predictive_rates([1.0, 1.0], [1.0] * 3, [1.0, 1.0], 1)
    with pytest.raises(InputError, match=r"layer has shape \(\): must be \(n,\)"):
        numeric.predictive_rates(1.0, [1.0], [1.0], 1)
    with pytest.raises(InputError, match=r"variance: entry \(0,\) is inf: must be finite"):
        numeric.predictive_rates([1.0], [1.0], [np.inf], 1)
    with pytest.raises(InputError, match="quotient"):
        numeric.predictive_fixed_point(-1.0, 1)


def test_every_formula_has_three_mutants():
    counts = {part.name: sum(variant.claim.part == part.name for variant in VARIANTS) for part in PACK.parts}
    assert min(counts.values()) >= 3
    assert all(one.checked() for one in toy(0, 5))
