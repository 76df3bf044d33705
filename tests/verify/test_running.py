"""Float64 numbers with a bound of their error, against rationals and balls that share no code with it."""

import math
from fractions import Fraction

import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

from verify.tolerance.running import Bounded, bounded

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
