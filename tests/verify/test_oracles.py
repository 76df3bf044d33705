"""The exact sides of `verify` against reference vectors and outside libraries, so that an oracle is itself checked."""

import mpmath
import numpy as np
import pytest
import sympy

from verify.instances.instance import LossInstance, PairInstance, PopulationInstance
from verify.theorem1 import measure_exact as measure_pair
from verify.theorem1 import measure_float as measure_pair_float
from verify.towers import balls
from verify.towers.population import pair_gradient, simple_loss_gradient, to_float

EPS = 2.0**-52


def as_floats(array):
    return np.vectorize(to_float, otypes=[float])(array)


def population(row):
    keys = ("slope", "weights", "points", "point_weights", "augmentation_weights", "loss", "parameters")
    return PopulationInstance.from_json({key: row[key] for key in keys})


def pair(row):
    return PairInstance.from_json({k: row[k] for k in ("slope", "weights_1", "weights_2", "x_1", "x_2")})


def test_pair_gradients_of_the_reference_vectors(vectors):
    assert len(vectors["pairs"]) == 18
    for row in vectors["pairs"]:
        gradient, kinked = pair_gradient(pair(row))
        assert not kinked
        for exact, reference in zip(gradient, row["gradient_1"], strict=True):
            reference = np.array(reference)
            # The reference is float64 autograd of at most 4 layers of width 6: a few dozen roundings.
            assert np.abs(as_floats(exact) - reference).max() <= 200 * EPS * max(1.0, np.abs(reference).max())


def test_statement_1_holds_on_the_reference_vectors(vectors):
    for row in vectors["pairs"]:
        assert measure_pair(pair(row)).residual == 0
        assert measure_pair_float(pair(row)).status == "holds"


def test_simple_loss_gradients_of_the_reference_vectors(vectors):
    rows = [row for row in vectors["populations"] if row["loss"] == "simple"]
    assert len(rows) == 4
    for row in rows:
        gradient, kinked = simple_loss_gradient(population(row))
        assert not kinked
        for exact, reference in zip(gradient, row["minus_expected_gradient"], strict=True):
            reference = np.array(reference)
            assert np.abs(as_floats(exact) + reference).max() <= 1000 * EPS * max(1.0, np.abs(reference).max())


def test_certified_gradients_of_the_reference_vectors(vectors):
    """Every loss, H = 2 included, on the populations whose literal sum is short enough for balls."""
    rows = [row for row in vectors["populations"] if len(row["points"]) * len(row["points"][0]) <= 4]
    assert {(row["loss"], row["parameters"].get("negatives", 1)) for row in rows} == {
        ("simple", 1), ("triplet", 1), ("infonce", 1), ("infonce", 2),
    }  # fmt: skip
    for row in rows:
        gradient = balls.expected_gradient(population(row), 192)
        for enclosed, reference in zip(gradient, row["minus_expected_gradient"], strict=True):
            reference = np.array(reference)
            found = -np.vectorize(float, otypes=[float])(enclosed)
            assert np.abs(found - reference).max() <= 1000 * EPS * max(1.0, np.abs(reference).max())
            assert balls.widest(list(enclosed.ravel())) < balls.RADIUS


@pytest.mark.parametrize("name", ["simple", "triplet", "infonce"])
def test_ball_derivatives_against_mpmath(name):
    """Arb's power series against mpmath's numerical differentiation of the same loss at 60 digits."""
    parameters = {
        "simple": {},
        "triplet": {"tau": 0.25, "margin": 0.5},
        "infonce": {"tau": 0.25, "negatives": 3},
    }[name]
    r_pos, r_neg = 1.5, [1.25, 2.0, 0.75][: parameters.get("negatives", 1)]
    with balls.precision(256):
        found = balls.derivatives(balls.literal_loss(name, parameters), r_pos, r_neg)
    with mpmath.workdps(60):
        tau, margin = mpmath.mpf(parameters.get("tau", 1)), mpmath.mpf(parameters.get("margin", 0))

        def loss(*r):
            if name == "simple":
                return r[0] - r[1]
            if name == "triplet":
                return tau * mpmath.log(1 + mpmath.exp((r[0] - r[1] + margin) / tau))
            return tau * mpmath.log(mpmath.fsum([1, *(mpmath.exp((r[0] - k) / tau) for k in r[1:])]))

        point = (r_pos, *r_neg)
        for index, ball in enumerate(found):
            orders = tuple(int(index == k) for k in range(len(point)))
            expected = mpmath.diff(loss, point, orders)
            assert abs(mpmath.mpf(ball.str(50, radius=False)) - expected) < mpmath.mpf(10) ** -25


def test_central_differences_against_sympy():
    """The exact gradient of a two-layer pair against SymPy's derivative of the polynomial of its linear region."""
    instance = PairInstance(
        slope=0.25,
        weights_1=(((1.0, -2.0), (0.5, 1.0)), ((2.0, -1.0),)),
        weights_2=(((0.5, 1.0), (-1.0, 0.25)), ((1.0, 3.0),)),
        x_1=(1.0, 2.0),
        x_2=(-1.0, 0.5),
    )
    gradient, kinked = pair_gradient(instance)
    assert not kinked

    def output(w, x):
        gates = [sympy.Rational(1) if v > 0 else sympy.Rational(1, 4) for v in numeric_preactivations(w, x)]
        hidden = sympy.Matrix([g * v for g, v in zip(gates, w[0] * sympy.Matrix(x), strict=True)])
        return (w[1] * hidden)[0]

    def numeric_preactivations(w, x):
        values = dict(zip(symbols, flat, strict=True))
        return [v.subs(values) for v in (w[0] * sympy.Matrix(x))]

    rational = sympy.Rational
    symbols = sympy.symbols("a b c d e f")
    flat = [rational(v) for v in (1, -2, rational(1, 2), 1, 2, -1)]
    one = [sympy.Matrix(2, 2, symbols[:4]), sympy.Matrix(1, 2, symbols[4:])]
    two = [sympy.Matrix([[rational(1, 2), 1], [-1, rational(1, 4)]]), sympy.Matrix([[1, 3]])]
    r = (output(one, [1, 2]) - output(two, [-1, rational(1, 2)])) ** 2 / 2
    expected = [sympy.diff(r, s).subs(dict(zip(symbols, flat, strict=True))) for s in symbols]
    found = [*gradient[0].ravel(), *gradient[1].ravel()]
    assert [sympy.Rational(int(g.p), int(g.q)) for g in found] == expected


def test_a_kink_is_measured_at_its_convention():
    """At p = 0 exactly the gate is the slope (section 0), and the statement still holds exactly."""
    instance = PairInstance(
        slope=0.5,
        weights_1=(((1.0, -1.0),), ((2.0,),)),
        weights_2=(((1.0, 1.0),), ((1.0,),)),
        x_1=(1.0, 1.0),
        x_2=(1.0, 2.0),
    )
    _, kinked = pair_gradient(instance)
    assert kinked
    assert measure_pair(instance).residual == 0


def test_loss_instances_know_their_number_of_negatives():
    with pytest.raises(ValueError, match="r_neg has 1 entries: must have negatives=2"):
        LossInstance.from_json(
            {"loss": "infonce", "parameters": {"tau": 1.0, "negatives": 2}, "r_pos": 0.0, "r_neg": [1.0]}
        )
