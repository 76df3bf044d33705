"""Pack residue-order-two: values against formulas re-derived here, finite differences, and bad input."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
import torch
from flint import arb

import numeric
import theory
from hltm.base.errors import InputError
from verify.engine.statement import Context
from verify.packs import residue
from verify.packs.residue_measures import PACK, ResidueInstance, coefficient, float_coefficient, letters, toy
from verify.towers import balls
from verify.towers.assumptions import triples, update

WEIGHTS = {
    "infonce": lambda r, tau, margin: 1 / (1 + math.exp(r / tau)),
    "triplet": lambda r, tau, margin: 1 / (1 + math.exp((r - margin) / tau)),
}


def tower(weights, x):
    """Output of a ReLU tower without biases, and its gradient in the weights by the chain rule."""
    values, gates = [x], []
    for number, w in enumerate(weights):
        p = w @ values[-1]
        gates.append((p > 0).astype(float) if number + 1 < len(weights) else np.ones_like(p))
        values.append(gates[-1] * p)
    jacobian, connections = np.eye(len(values[-1])), []
    for number in reversed(range(len(weights))):
        connections.append(np.einsum("ib,a->iba", jacobian * gates[number], values[number]))
        jacobian = (jacobian * gates[number]) @ weights[number]
    return values[-1], connections[::-1]


def second_order(weights, points, p, q, loss, tau, margin=0.0):
    """theta_2 in the form of two covariances (S and M), with derivatives of xi by differences."""
    outputs = [[tower(weights, x) for x in row] for row in points]
    xi = lambda r: WEIGHTS[loss](r, tau, margin)  # noqa: E731
    step = 1e-4
    f = np.array([[one[0] for one in row] for row in outputs])
    mean = np.einsum("ma,mai->mi", q, f)
    phi = f - mean[:, None]
    sigma = np.einsum("ma,mai,maj->mij", q, phi, phi)
    result = []
    for layer in range(len(weights)):
        k = np.array([[one[1][layer] for one in row] for row in outputs])
        mean_k = np.einsum("ma,maibc->mibc", q, k)
        cross = np.einsum("ma,maibc,maj->mijbc", q, k - mean_k[:, None], phi)
        total = np.zeros_like(weights[layer])
        for m, n in itertools.product(range(len(p)), repeat=2):
            gap, gap_k, s = mean[m] - mean[n], mean_k[m] - mean_k[n], sigma[m] + sigma[n]
            rho = gap @ gap / 2
            slope = (xi(rho + step) - xi(rho - step)) / (2 * step)
            curvature = (xi(rho + step) - 2 * xi(rho) + xi(rho - step)) / step**2
            linear = np.einsum("ijbc,i,j->bc", cross[m] + cross[n], gap, gap) + np.einsum("ibc,i->bc", gap_k, s @ gap)
            square = gap @ s @ gap * np.einsum("ibc,i->bc", gap_k, gap)
            total += p[m] * p[n] * (slope * linear + curvature / 2 * square)
        result.append(total)
    return result


def population(seed):
    """A tower, and a family of populations of three points with three augmentations, no gate near its kink."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(5, 4)) / 2, rng.normal(size=(3, 5)) / 2]
    while True:
        base, noise = rng.normal(size=(3, 1, 4)), rng.normal(size=(3, 3, 4))
        if np.abs(base[:, 0] @ weights[0].T).min() > 0.15:
            break
    p, q = rng.uniform(0.2, 1, 3), rng.uniform(0.2, 1, (3, 3))
    p, q = p / p.sum(), q / q.sum(1, keepdims=True)
    return weights, p, q, lambda spread: base + spread * noise


@pytest.mark.parametrize(("loss", "margin"), [("infonce", 0.0), ("triplet", 0.4)])
def test_numeric_agrees_with_the_form_by_covariances(loss, margin):
    weights, p, q, points = population(3)
    parameters = {"tau": 0.7} | ({"margin": margin} if loss == "triplet" else {})
    found = numeric.leading_residue(weights, numeric.FinitePopulation(points(0.02), p, q), loss, **parameters)
    for one, other in zip(found, second_order(weights, points(0.02), p, q, loss, 0.7, margin), strict=True):
        assert one.numpy() == pytest.approx(other, rel=1e-4, abs=1e-9)


def test_the_remainder_is_of_third_order():
    """Relative to theta the reference has 6e-3, 1.5e-3, 3.9e-4 at spreads 3e-2, 1e-2, 3e-3: it falls with the spread."""
    weights, p, q, points = population(5)
    rest = []
    for spread in (3e-2, 1e-2, 3e-3):
        law = numeric.FinitePopulation(points(spread), p, q)
        left = numeric.population_gradient(weights, law, "infonce", tau=1.0)
        lead = numeric.predicted_update(weights, law, "infonce", tau=1.0)
        more = numeric.leading_residue(weights, law, "infonce", tau=1.0)
        theta = [a - b for a, b in zip(left, lead, strict=True)]
        size = sum(float(t.square().sum()) for t in theta) ** 0.5
        rest.append(sum(float((t - m).square().sum()) for t, m in zip(theta, more, strict=True)) ** 0.5 / size)
    assert rest[0] < 0.1
    assert rest[1] == pytest.approx(rest[0] / 3, rel=0.3)
    assert rest[2] == pytest.approx(rest[1] * 0.3, rel=0.3)


def test_the_simple_loss_has_no_residue():
    weights, p, q, points = population(7)
    assert not any(
        m.any() for m in numeric.leading_residue(weights, numeric.FinitePopulation(points(0.2), p, q), "simple")
    )


def expected_loss(instance, s, w):
    """The literal expected loss in floats, with outputs ``fbar + s phi + (Kbar + s kappa)^T w``."""
    p, q = np.array(instance.point_weights), np.array(instance.augmentation_weights)
    phi, kappa = np.array(instance.outputs), np.array(instance.connections)
    phi = phi - np.einsum("ma,mai->mi", q, phi)[:, None]
    kappa = kappa - np.einsum("ma,mapi->mpi", q, kappa)[:, None]
    k = np.array(instance.mean_connections)[:, None] + s * kappa
    f = np.array(instance.mean_outputs)[:, None] + s * phi + np.einsum("mapi,p->mai", k, w)
    total = 0.0
    margin = instance.margin if instance.loss == "triplet" else 0.0
    for m, n in itertools.product(range(len(p)), repeat=2):
        for a, b, c in itertools.product(range(q.shape[1]), repeat=3):
            near, far = (((f[m, a] - other) ** 2).sum() / 2 for other in (f[m, b], f[n, c]))
            value = instance.tau * np.log1p(np.exp((near - far + margin) / instance.tau))
            total += p[m] * p[n] * q[m, a] * q[m, b] * q[n, c] * value
    return total


def test_the_oracles_are_differences_of_the_expected_loss():
    """Exact, float and finite differences of a loss written out here, at the same instances."""
    for instance in toy(1, 4):
        size = instance.size[1]
        exact = [float(v.mid()) for v in coefficient(instance, "both", "ball", "cpu")]
        autograd = [-v.value for v in float_coefficient(instance, "both", "cpu")]
        h, t = 1e-3, 1e-4
        for row in range(size):
            unit = np.eye(size)[row] * t
            slope = {
                s: (expected_loss(instance, s, unit) - expected_loss(instance, s, -unit)) / (2 * t) for s in (-h, 0, h)
            }
            found = -(slope[h] - 2 * slope[0] + slope[-h]) / (2 * h * h)
            assert exact[row] == pytest.approx(found, rel=1e-3, abs=1e-4)
            assert autograd[row] == pytest.approx(exact[row], rel=1e-10, abs=1e-12)


def test_where_the_assumptions_hold_the_counterexamples_agree():
    """The two sides that differ without an assumption are equal with it."""
    with balls.precision(256, 3):
        found = arb(update(list(triples(residue.moving())), residue.weight)[2])
        assert (found - residue.by_hand()).contains(0)
        assert float((found - residue.by_hand()).rad()) < 1e-60


def test_the_covariances_do_not_cancel_in_one_pair():
    """The two coefficients of a pair: their sum has no covariance, each of them has."""
    instance = next(iter(toy(2, 1)))
    parts = [coefficient(instance, what, "ball", "cpu") for what in ("positive", "negative", "both")]
    assert all((a + b - c).contains(0) for a, b, c in zip(*parts, strict=True))
    assert any(not a.contains(0) for a in parts[0])


def test_many_negatives_against_counts():
    """Distances to the limit at H = 20, 40, 80 halve, as in the reference (0.128, 0.0655, 0.0331)."""
    a, e, law = Fraction(1), (Fraction(1), Fraction(1, 4)), (Fraction(1, 4), Fraction(3, 4))
    mean = sum(w * x for w, x in zip(law, e, strict=True))
    off = []
    for h in (20, 40, 80):
        total = Fraction(0)
        for k in range(h):
            chance = math.comb(h - 1, k) * law[0] ** k * law[1] ** (h - 1 - k)
            total += chance * h * a / (1 + a + k * e[0] + (h - 1 - k) * e[1])
        off.append(abs(total - a / mean))
    assert off[0] / off[1] == pytest.approx(2, abs=0.15)
    assert off[1] / off[2] == pytest.approx(2, abs=0.08)


def test_the_bound_holds_and_is_not_idle():
    """On letters of size 1 the bound is above the residue, by less than a factor of a thousand somewhere."""
    ratios = []
    for instance in toy(3, 6):
        assert residue.measure_bound(instance).status == "holds"
        with balls.precision(256):
            theta = coefficient(instance, "whole", "ball", "cpu") - residue.leading(instance, letters(instance))
            ratios.append(float(residue.size(theta).mid()) / float(residue.bound(instance).mid()))
    assert max(ratios) > 1e-3


def test_a_wrong_factor_of_numeric_is_refuted(monkeypatch):
    """The check on towers is red with twice theta_2 in `numeric`."""
    right = numeric.leading_residue
    doubled = lambda *args, **options: [2 * m for m in right(*args, **options)]  # noqa: E731
    monkeypatch.setattr(residue.numeric, "leading_residue", doubled, raising=False)
    assert residue.orders(Context(0)).status == "refuted"


def test_statement_4_compares_the_coefficient(monkeypatch):
    from verify import theorem4
    from verify.towers import weighted

    assert theorem4.certified_orders(Context(0)).status == "holds"
    right = weighted.second_order
    monkeypatch.setattr(weighted, "second_order", lambda *args: right(*args) * 2)
    assert theorem4.certified_orders(Context(0)).status == "refuted"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"loss": "simple"}, "loss='simple'"),
        ({"tau": 0.0}, "tau=0.0"),
        ({"negatives": 0}, "negatives=0"),
        ({"mean_outputs": ((0.0,),)}, "mean_outputs has shape (1, 1)"),
        ({"biases": ((math.nan,), (0.0,))}, "biases: must be finite"),
    ],
)
def test_a_bad_instance_is_one_line(change, text):
    good = ResidueInstance(
        "infonce", 1.0, 0.0, 2, (((1.0,),), ((2.0,),)), ((0.0,), (1.0,)), ((((1.0,),),), (((0.0,),),)),
        (((1.0,),), ((2.0,),)), ((0.0,), (0.0,)), (0.5, 0.5), ((1.0,), (1.0,)),
    )  # fmt: skip
    assert ResidueInstance.from_json(good.as_json()) == good
    with pytest.raises(InputError) as caught:
        replace(good, **change).checked()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_negatives_are_refused():
    law = numeric.FinitePopulation([[[0.0], [1.0]], [[2.0], [2.0]]])
    with pytest.raises(InputError, match="negatives=2 of loss 'infonce': must be 1"):
        numeric.leading_residue([[[1.0]]], law, "infonce", negatives=2)


def test_a_loss_may_be_given_by_its_name():
    r = torch.tensor([0.0, 0.5])
    found = numeric.pair_weight_derivatives("infonce", r)
    for one, other in zip(found, numeric.pair_weight_derivatives(numeric.loss_spec("infonce"), r), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(InputError, match="loss='nce': must be one of"):
        numeric.pair_weight_derivatives("nce", r)


@pytest.mark.parametrize("negatives", [2, 3, 6])
def test_the_variance_of_the_normaliser_is_that_of_each_negative(negatives):
    """E (D - M)^2 = (H - 1) v, and Q below its bound, by enumeration of H - 1 similarities of two values."""
    e, p, a = (Fraction(1), Fraction(1, 3)), (Fraction(1, 4), Fraction(3, 4)), Fraction(1, 2)
    mean = sum(w * x for w, x in zip(p, e, strict=True))
    variance = sum(w * (x - mean) ** 2 for w, x in zip(p, e, strict=True))
    centre, square, noise = 1 + a + (negatives - 1) * mean, Fraction(0), Fraction(0)
    for chosen in product(range(2), repeat=negatives - 1):
        chance, d = prod(p[k] for k in chosen), 1 + a + sum(e[k] for k in chosen)
        square, noise = square + chance * (d - centre) ** 2, noise + chance * (d - centre) ** 2 / d
    assert square == (negatives - 1) * variance
    assert noise <= (negatives - 1) * variance / (1 + a + (negatives - 1) * min(e))
    words = " ".join(step.justification for step in theory.derive("residue-order-two", part="many-negatives").steps)
    assert "ordered pairs" in words


def test_without_augmentation_there_is_no_residue():
    """One augmentation: theta_2 is 0 on both sides, and every part holds."""
    one = ResidueInstance(
        "triplet", 1.0, 0.5, 2, (((1.0,),), ((2.0,),)), ((0.0,), (1.0,)), ((((1.0,),),), (((0.0,),),)),
        (((1.0,),), ((2.0,),)), ((0.0,), (0.0,)), (0.5, 0.5), ((1.0,), (1.0,)),
    )  # fmt: skip
    assert all(v.contains(0) for v in coefficient(one, "both", "ball", "cpu"))
    assert PACK.measure(one).status == "holds"


def test_the_definitions_of_the_differences_are_part_of_the_claim():
    derived = theory.derive("residue-order-two", part="coefficient")
    wrong = derived.claim.mutants()["sign in relation 2"]
    assert derived.proved
    assert derived.decides(wrong).value is False
