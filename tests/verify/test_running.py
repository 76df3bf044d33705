"""Float64 numbers with a bound of their error, against rationals and balls that share no code with it."""

import math
from fractions import Fraction

import pytest
from flint import arb, ctx, fmpq
from hypothesis import given
from hypothesis import strategies as st
from sympy import Eq, Ge, Gt, Rational, Symbol, exp

from theory import Claim
from verify.tolerance.running import Bounded, bounded
from verify.towers.values import differences, in_float64, measure_floats, measure_rationals

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-6)
STEPS = st.lists(st.tuples(st.sampled_from("+-*/m"), NUMBERS), min_size=1, max_size=12)


def step(name, left, right):
    if name == "/":
        return left / right if right != 0 else left
    return {"+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right}.get(
        name, lambda: left.max(right) if isinstance(left, Bounded) else max(left, right)
    )()


@given(NUMBERS, STEPS)
def test_the_bound_holds_the_exact_value(first, steps):
    inexact = Bounded.rounded(first / 3)
    exact = Fraction(first) / 3
    for name, number in steps:
        if name == "/" and number == 0:
            continue
        inexact, exact = step(name, inexact, bounded(number)), step(name, exact, Fraction(number))
    if math.isfinite(inexact.error):
        assert abs(Fraction(inexact.value) - exact) <= Fraction(inexact.error)
        assert inexact.error < 1e-9 * (1 + abs(inexact.value)) or len(steps) > 2


@given(st.floats(0.01, 50), st.floats(0.01, 5))
def test_exponentials_logarithms_and_roots(x, tau):
    found = [(-(Bounded(x) / tau)).exp(), (1 + Bounded(x)).log() * tau, Bounded(x * x).sqrt(), Bounded(x) ** -3]
    before, ctx.prec = ctx.prec, 200
    try:
        exact = [(-arb(x) / arb(tau)).exp(), (1 + arb(x)).log() * arb(tau), arb(x * x).sqrt(), arb(x) ** -3]
        for one, true in zip(found, exact, strict=True):
            assert abs(arb(one.value) - true) <= arb(one.error)
            assert one.error <= 1e-12 * (1 + abs(one.value))
    finally:
        ctx.prec = before


def test_cancellation_is_seen():
    large = Bounded.rounded(1e16) + 1.0
    left = large - 1e16
    assert left.error >= 1.0


@pytest.mark.parametrize(
    "number",
    [Bounded(1.0) / Bounded(0.1, 0.2), Bounded(0.1, 0.2).log(), Bounded(0.1, 0.2).sqrt(), Bounded(800.0).exp(),
     Bounded(1e308) * 1e10, 1 / Bounded(0.0)],
)  # fmt: skip
def test_without_a_bound_it_is_infinite(number):
    assert math.isinf(number.error)


X, Y = (Symbol(name, real=True) for name in "xy")


def measured(relation, **values):
    """The float check of one relation at values of its symbols."""
    named = {symbol: values[symbol.name] for symbol in relation.free_symbols}
    return measure_floats(differences(Claim("c", (relation,)), {}, named, arithmetic="float64"))


@pytest.mark.parametrize("x", [318047, Fraction(1, 3), 7, 1e5])
def test_constants_are_rounded_numbers_too(x):
    """True relations with constants that float64 does not have."""
    x = fmpq(Fraction(x).numerator, Fraction(x).denominator)
    ratio = fmpq(1700, 1608)
    relation = Eq(Y, Rational(1700, 1608) * X, evaluate=False)
    assert measured(relation, x=x, y=ratio * x).status == "holds"
    assert measured(relation, x=x, y=ratio * x * fmpq(1000001, 1000000)).status == "refuted"


def test_integers_beyond_float64_are_not_exact():
    assert measured(Eq(X, Y, evaluate=False), x=2**53 + 1, y=2**53).status != "refuted"
    assert measured(Eq(X, Y, evaluate=False), x=2**53 + 1, y=2**53).tolerance > 0


def test_what_has_no_value_is_neither_true_nor_false():
    exponential = exp(X) / (1 + exp(X))
    found = measured(Gt(exponential, 0, evaluate=False), x=800.0)
    assert found.status == "abstained"
    assert measured(Gt(exponential, 0, evaluate=False), x=8.0).status == "holds"
    assert measured(Gt(-exponential, 0, evaluate=False), x=8.0).status == "refuted"


def test_a_bound_that_is_not_small_decides_nothing():
    relation = Eq(Y * (X - Rational(1, 3)), 10**12, evaluate=False)
    assert measured(relation, x=fmpq(1, 3), y=fmpq(10) ** 30).status == "abstained"


def test_inequalities_that_are_not_strict_hold_at_equality():
    assert measure_rationals(
        differences(Claim("c", (Ge(X, Y, evaluate=False),)), {}, {X: fmpq(1, 3), Y: fmpq(1, 3)})
    ).status == "holds"  # fmt: skip
    assert measure_rationals(
        differences(Claim("c", (Gt(X, Y, evaluate=False),)), {}, {X: fmpq(1, 3), Y: fmpq(1, 3)})
    ).status == "refuted"  # fmt: skip


@given(st.floats(-1080, 690), st.floats(0, 900))
def test_exponentials_that_underflow(value, error):
    number = Bounded(value, error)
    found = number.exp()
    if math.isfinite(found.error):
        before, ctx.prec = ctx.prec, 200
        try:
            for end in (value - error, value + error, value):
                assert abs(arb(found.value) - arb(end).exp()) <= arb(found.error)
        finally:
            ctx.prec = before


@given(st.floats(1e-170, 1e-150), st.floats(1e-170, 1e-150), st.floats(-1, 1))
def test_products_and_quotients_that_underflow(x, y, z):
    found = Bounded(x) * Bounded(y) * Bounded(z)
    assert abs(Fraction(found.value) - Fraction(x) * Fraction(y) * Fraction(z)) <= Fraction(found.error)
    found = Bounded(x) * Bounded(y) / Bounded(1e9)
    assert abs(Fraction(found.value) - Fraction(x) * Fraction(y) / Fraction(1e9)) <= Fraction(found.error)


def test_powers_of_a_number_and_plain_floats():
    assert abs((2 ** Bounded(3.0)).value - 8) <= (2 ** Bounded(3.0)).error
    assert in_float64([1.5, 2]).tolist() == [Bounded(1.5), Bounded(2.0)]
    assert in_float64(fmpq(1, 3)).error > 0 == in_float64(fmpq(1, 4)).error
