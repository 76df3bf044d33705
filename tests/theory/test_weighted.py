"""Statement 4: the derivations, and the coefficients in s of an exact population written out here."""

from itertools import product

import pytest
import sympy
from sympy import Rational, exp

import theory
from hltm.base.errors import InputError
from theory.core.decide import decide_positive, decide_zero
from theory.core.notation import negative
from theory.losses.loss import loss_of
from theory.towers.moment_steps import moment_step
from theory.towers.weighted import (
    EXAMPLE_SPREAD,
    POSITIVE,
    SLOPE,
    SLOPE_OTHER,
    XI,
    antisymmetric_example,
    first_order_example,
    law_of,
    leading,
    negative_pair,
    order_part,
    positive_pair,
    shift_of_points,
    theta_on_the_line,
)

NAMES = ["simple", "triplet", "infonce"]


@pytest.mark.parametrize("negatives", [1, None])
@pytest.mark.parametrize("distances", ["means", "points"])
@pytest.mark.parametrize("name", NAMES)
def test_statement_4_is_proved(name, distances, negatives):
    derivation = theory.derive("weighted-covariance-operator", loss=name, distances=distances, negatives=negatives)
    assert derivation.proved
    assert isinstance(derivation.residual, sympy.ZeroMatrix)
    second = distances == "means" or name == "simple"
    assert f"theta = O(s^{2 if second else 1})" in str(derivation.statement)


@pytest.mark.parametrize("form", ["operator", "general"])
@pytest.mark.parametrize("negatives", [1, 2, None])
def test_one_branch_is_proved(negatives, form):
    assert theory.derive(4, loss="infonce", negatives=negatives, convention="one-branch", form=form).proved


@pytest.mark.parametrize("name", ["triplet", "infonce"])
@pytest.mark.parametrize("negatives", [1, None])
def test_second_order_is_refuted_for_unaugmented_points(name, negatives):
    derivation = theory.derive(4, loss=name, distances="points", negatives=negatives, order=2)
    assert not derivation.proved
    assert derivation.decision.value is False
    assert not isinstance(derivation.residual, sympy.ZeroMatrix)


def test_a_users_loss_and_one_outside_the_family():
    assert theory.derive(4, loss="exp(r_p - r_1)").proved
    derivation = theory.derive(4, loss="r_p + r_1^2")
    assert not derivation.proved
    assert derivation.decision.value is False


def test_a_users_loss_with_two_negatives():
    """Weights of both negatives are expanded; for the first order no example is at hand, which is said."""
    text = "log(1 + exp(r_p - r_1) + 2*exp(r_p - r_2))"
    assert theory.derive(4, loss=text, negatives=2).proved
    points = theory.derive(4, loss=text, negatives=2, distances="points")
    assert points.decision.value is None
    assert not points.proved


# A population of three points with K and f unrelated (scalars), mean and deviation written out: f(x;a) = fbar + s phi.
POINTS = [
    (Rational(1, 2), Rational(1), Rational(-2), (Rational(1), Rational(-1)), (Rational(2), Rational(-2))),
    (Rational(1, 3), Rational(2), Rational(1), (Rational(3), Rational(-3)), (Rational(-1), Rational(1))),
    (Rational(1, 6), Rational(-1), Rational(3), (Rational(0), Rational(0)), (Rational(1), Rational(-1))),
]
SHIFTS = [Rational(1), Rational(-2), Rational(1, 2)]


def _slopes(name, plus, minus):
    """dL/dr_+ and dL/dr_- at tau = 1, r_0 = 0, by hand."""
    if name == "simple":
        return 1, -1
    weight = 1 / (1 + exp(minus - plus))
    return weight, -weight


def _update(name, s):
    """-E[grad L], shared, by enumeration of x, x' and the three augmentations."""
    total = []
    for (p, k, f, kap, phi), (q, k2, f2, kap2, phi2) in product(POINTS, repeat=2):
        for a, b, c in product(range(2), repeat=3):
            k1, kp, km = k + s * kap[a], k + s * kap[b], k2 + s * kap2[c]
            f1, fp, fm = f + s * phi[a], f + s * phi[b], f2 + s * phi2[c]
            up, down = _slopes(name, (f1 - fp) ** 2 / 2, (f1 - fm) ** 2 / 2)
            total.append(p * q / 8 * (-up * (k1 - kp) * (f1 - fp) - down * (k1 - km) * (f1 - fm)))
    return sympy.Add(*total)


def _lead(name, s, shift):
    """E[xi dKbar dfbar] with r between fbar + s shift."""
    total = []
    for (one, (p, k, f, *_)), (two, (q, k2, f2, *_)) in product(enumerate(POINTS), repeat=2):
        gap = f - f2 + s * (shift[one] - shift[two])
        total.append(p * q * _slopes(name, 0, gap**2 / 2)[0] * (k - k2) * (f - f2))
    return sympy.Add(*total)


def _order(expression, s, order):
    return sympy.diff(expression, s, order).subs(s, 0) if order else expression.subs(s, 0)


@pytest.mark.parametrize("name", NAMES)
def test_coefficients_on_a_written_out_population(name):
    s = sympy.Symbol("s", real=True)
    none = [Rational(0)] * 3
    means = _update(name, s) - _lead(name, s, none)
    assert decide_zero(_order(means, s, 0)).value is True
    assert decide_zero(_order(means, s, 1)).value is True
    points = _update(name, s) - _lead(name, s, SHIFTS)
    assert decide_zero(_order(points, s, 0)).value is True
    assert decide_zero(_order(points, s, 1)).value is (name == "simple")
    assert decide_zero(_order(means, s, 2)).value is (name == "simple")


def test_unweighted_operator_is_refuted_on_the_population():
    s = sympy.Symbol("s", real=True)
    assert decide_zero(_order(_update("infonce", s) - _lead("simple", s, [Rational(0)] * 3), s, 0)).value is False


@pytest.mark.parametrize("name", ["triplet", "infonce"])
def test_example_on_the_line(name):
    loss = loss_of(name, 1)
    means = theta_on_the_line(loss, "means")
    assert decide_zero(means.subs(EXAMPLE_SPREAD, 0)).value is True
    assert decide_zero(sympy.diff(means, EXAMPLE_SPREAD).subs(EXAMPLE_SPREAD, 0)).value is True
    assert first_order_example(loss).proved
    assert first_order_example(loss_of("simple", 1)).decision.value is False


def test_antisymmetric_part_on_other_numbers():
    """The value of the example at v = 1, by floating-point-free enumeration with similarities 1/2."""
    half = Rational(1, 2)
    total = Rational(0)
    for (x, a), (y, b), (z, c) in product([(1, Rational(1, 3)), (2, Rational(2, 3))], repeat=3):
        near, far = (1 if x == y else half), (1 if x == z else half)
        weight = near / (1 + near + far)
        total += a * b * c * weight * (x * (x - y) - Rational((x - y) ** 2, 2))
    step = antisymmetric_example()
    assert step.proved
    assert step.expression.lhs.subs(sympy.Symbol("v", positive=True), 1) == total != 0


VALUES = {
    ("Kbar", "x"): Rational(2), ("Kbar", "x_k"): Rational(-1), ("fbar", "x"): Rational(1), ("fbar", "x_k"): Rational(3),
    ("fbar", "x_j"): Rational(-2), ("kappa", "x", "1"): Rational(1, 2), ("kappa", "x", "2"): Rational(5),
    ("kappa", "x_k", "1"): Rational(3), ("phi", "x", "1"): Rational(-1, 3), ("phi", "x", "2"): Rational(2, 7),
    ("phi", "x_k", "1"): Rational(7, 2), ("phi", "x_j", "1"): Rational(4),
}  # fmt: skip


def _value(moment, scalars, draw=None):
    """The value of a moment for one draw: every letter a number, no expectation."""

    def number(item):
        if item.name in scalars:
            return scalars[item.name]
        point, copy = item.labels[0]
        return {**VALUES, **(draw or {})}[(item.name, point, copy) if copy else (item.name, point)]

    return sympy.Add(
        *(c * sympy.Mul(*(number(i) for w in (t.word, *t.scalars) for i in w)) for t, c in moment.terms.items())
    )


@pytest.mark.parametrize("convention", ["shared", "one-branch"])
@pytest.mark.parametrize("single", [True, False])
def test_graded_words_are_the_expansion_of_one_draw(convention, single):
    """Words of order 0 and 1 against the derivative in s of w_k (K_1 - K_k)(f_1 - f_k) along one draw."""
    s = sympy.Symbol("s", real=True)
    ones, twos = sympy.symbols("r_1 r_2", real=True)
    weight = exp(-ones) / (1 + exp(-ones) + (0 if single else exp(-twos)))

    def along(mean, noise, point, copy="1"):
        return VALUES[(mean, point)] + s * VALUES[(noise, point, copy)]

    f1, fk, fj = (along("fbar", "phi", point) for point in ("x", "x_k", "x_j"))
    paths = {ones: (f1 - fk) ** 2 / 2, twos: (f1 - fj) ** 2 / 2}
    rest = {name: path.subs(s, 0) for name, path in paths.items()}
    left = along("Kbar", "kappa", "x") - (along("Kbar", "kappa", "x_k") if convention == "shared" else 0)
    curve = weight.subs(paths) * left * (f1 - fk)
    scalars = {XI: weight.subs(rest), SLOPE: weight.diff(ones).subs(rest), SLOPE_OTHER: weight.diff(twos).subs(rest)}
    moment = negative_pair(convention, single)
    for order in (0, 1):
        assert decide_zero(_value(order_part(moment, order), scalars) - _order(curve, s, order)).value is True
    near = along("fbar", "phi", "x") - along("fbar", "phi", "x", "2")
    side = along("Kbar", "kappa", "x") - (along("Kbar", "kappa", "x", "2") if convention == "shared" else 0)
    for order in (0, 1):
        expected = _order(Rational(1, 3) * side * near, s, order)
        assert _value(order_part(positive_pair(convention), order), {POSITIVE: Rational(1, 3)}) == expected


def test_shift_between_means_and_points_of_one_draw():
    """Order 1 of xi at r between means minus xi at r between fbar + s b, two negatives, by differentiation."""
    s = sympy.Symbol("s", real=True)
    ones, twos = sympy.symbols("r_1 r_2", real=True)
    weight = exp(-ones) / (1 + exp(-ones) + exp(-twos))
    moved = {
        point: VALUES[("fbar", point)] + s * shift for point, shift in zip(("x", "x_k", "x_j"), SHIFTS, strict=True)
    }
    paths = {ones: (moved["x"] - moved["x_k"]) ** 2 / 2, twos: (moved["x"] - moved["x_j"]) ** 2 / 2}
    rest = {name: path.subs(s, 0) for name, path in paths.items()}
    scalars = {SLOPE: weight.diff(ones).subs(rest), SLOPE_OTHER: weight.diff(twos).subs(rest)}
    draw = {("b", point): shift for point, shift in zip(("x", "x_k", "x_j"), SHIFTS, strict=True)}
    expected = -_order(weight.subs(paths), s, 1)
    assert decide_zero(_value(shift_of_points(False), scalars, draw) - expected).value is True


FALSE = {
    "factor 2": lambda lead: lead.scaled(2),
    "sign": lambda lead: lead.scaled(-1),
    "half": lambda lead: lead.scaled(Rational(1, 2)),
}


@pytest.mark.parametrize("name", FALSE)
def test_false_leading_term_is_refuted(name):
    law = law_of(True)
    term = order_part(negative_pair("shared", True), 0)
    assert moment_step(term, leading("shared", True, "general"), law, "").decision.value is True
    assert moment_step(term, FALSE[name](leading("shared", True, "general")), law, "").decision.value is False


def test_half_of_the_shared_form_needs_a_symmetric_weight():
    """With several negatives xi_k is not symmetric: one-branch is not half of the shared form."""
    term = order_part(negative_pair("one-branch", False), 0)
    half = leading("shared", False, "general").scaled(Rational(1, 2))
    assert moment_step(term, half, law_of(False), "").decision.value is False
    assert moment_step(term, half, law_of(True), "").decision.value is True


@pytest.mark.parametrize("name", ["triplet", "infonce"])
def test_pair_weight_falls_with_the_distance(name):
    """What makes the example first order: xi' is negative."""
    xi = theory.pair_weight(name)
    assert decide_positive(-sympy.diff(xi, sympy.Symbol("r", nonnegative=True))).value is True


def test_bad_options():
    for options in ({"distances": "mean"}, {"order": 3}, {"negatives": 0}, {"form": "op"}, {"convention": True}):
        with pytest.raises(InputError, match=next(iter(options))):
            theory.derive("weighted-covariance-operator", **options)


def test_negative_symbol_is_shared():
    assert negative(1) in loss_of("infonce", 1).expression.free_symbols
