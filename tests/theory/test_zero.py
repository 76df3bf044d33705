"""Deciding zero and signs: proofs, refutations and abstentions."""

import random

import pytest
import sympy
from sympy import Function, Rational, Sum, Symbol, exp, sqrt

from theory.core.decide import ABSTAINED, POINT, POLYNOMIAL, Decision, combine, decide_positive, decide_zero
from theory.core.normal import Normaliser
from theory.core.notation import H, k, r, tau

x, y, z = sympy.symbols("x y z", real=True)
t = Symbol("t", positive=True)
norm = sqrt(x**2 + y**2)

TRUE = {
    "binomial": (x + y) ** 3 - x**3 - 3 * x**2 * y - 3 * x * y**2 - y**3,
    "common denominator": 1 / (x + y) + 1 / (x - y) - 2 * x / (x**2 - y**2),
    "norm relation": norm**3 / (x**2 + y**2) - norm,
    "norm in a denominator": x / norm - x * norm / (x**2 + y**2),
    "two norms": (norm + sqrt(1 + z**2)) ** 2 - x**2 - y**2 - 1 - z**2 - 2 * norm * sqrt(1 + z**2),
    "exponentials": exp(x - y) * exp(y / 2) ** 2 - exp(x),
    "logistic": 1 / (1 + exp(-x / t)) - exp(x / t) / (1 + exp(x / t)),
    "renamed dummy": Sum(exp(-r[k] / tau), (k, 1, H))
    - Sum(exp(-r[Symbol("i", integer=True)] / tau), (Symbol("i", integer=True), 1, H)),
    "by simplify": sympy.sin(x) ** 2 + sympy.cos(x) ** 2 - 1,
}
FALSE = {
    "symbol": x - y,
    "sign of a root": sqrt(x**2) - x,
    "quotient": 1 / (x + y) - 1 / x - 1 / y,
    "exponent": exp(x) * exp(y) - exp(x * y),
    "sum with symbolic limit": Sum(exp(-r[k] / tau), (k, 1, H)) - H,
    "matrix entry": sympy.Matrix([[0, x - x], [y, 0]]),
}
UNDECIDED = {
    "unknown functions": Function("F")(x) - Function("G")(x),
    "floating point": 0.1 * x - y / 10,
    "zero denominator": 1 / ((x + y) ** 2 - x**2 - 2 * x * y - y**2),
}


@pytest.mark.parametrize("name", TRUE)
def test_zero_is_proved(name):
    decision = decide_zero(TRUE[name])
    assert decision.value is True
    assert decision.method != POINT


@pytest.mark.parametrize("name", FALSE)
def test_nonzero_is_refuted(name):
    assert decide_zero(FALSE[name]).value is False


@pytest.mark.parametrize("name", UNDECIDED)
def test_undecidable_abstains(name):
    decision = decide_zero(UNDECIDED[name])
    assert decision.value is None
    assert decision.method == ABSTAINED
    assert not decision


def test_refuting_point_is_exact_and_refutes():
    """The point of the message, put in by hand, gives the stated value."""
    decision = decide_zero(x**2 - y)
    assert decision.method == POLYNOMIAL
    point, value = decision.detail.split("; at ")[1].split(" the value is ")
    numbers = {Symbol(n.split(" = ")[0], real=True): Rational(n.split(" = ")[1]) for n in point.split(", ")}
    assert (x**2 - y).subs(numbers) == Rational(value) != 0


def test_a_point_never_proves():
    """An expression that vanishes at every tried point but is opaque stays undecided."""
    opaque = Function("F")(x) * (x - 3) * 0 + Function("F")(x) - Function("F", real=True)(x)
    assert decide_zero(opaque).value is not True


@pytest.mark.parametrize("seed", range(20))
def test_normal_form_agrees_with_expand(seed):
    """Random polynomials: normal form against SymPy's own ``expand``; a changed coefficient is noticed."""
    rng = random.Random(seed)
    factors = [sum(rng.randint(-3, 3) * s for s in (x, y, z)) + rng.randint(-2, 2) for _ in range(4)]
    product = sympy.Mul(*factors, evaluate=False)
    expanded = sympy.expand(sympy.Mul(*factors))
    assert decide_zero(product - expanded).value is True, f"seed {seed}"
    assert decide_zero(product - expanded + x * y * z / 7).value is False, f"seed {seed}"


def test_normaliser_reduces_roots_completely():
    normaliser = Normaliser([norm**5])
    numerator, denominator = normaliser.normal(norm**5)
    assert decide_zero(
        normaliser.expression(numerator) - norm * (x**2 + y**2) ** 2 * normaliser.expression(denominator)
    )
    position = next(i for i, key in enumerate(normaliser.keys) if isinstance(key, tuple))
    assert max(monomial[position] for monomial in numerator) == 1
    generator = normaliser.ring.gens[position]
    direct = normaliser.expression(normaliser.reduced(generator**5))
    assert sympy.expand(direct - norm * (x**2 + y**2) ** 2) == 0


POSITIVE = {
    "sum of exponentials": (exp(-t) + t) / (1 + exp(-t)),
    "cancellation": 1 - exp(-x) / (exp(-x) + exp(-y)),
    "finite sum": Sum(exp(-r[k] / tau), (k, 1, H)) / (1 + Sum(exp(-r[k] / tau), (k, 1, H))),
}
NOT_POSITIVE = {
    "sign change": t - 1,
    "hinge slope": sympy.Heaviside(x - y),
    "zero on the boundary": r[k] ** 2,
}


@pytest.mark.parametrize("name", POSITIVE)
def test_positive_is_proved(name):
    assert decide_positive(POSITIVE[name]).value is True


@pytest.mark.parametrize("name", NOT_POSITIVE)
def test_not_positive_is_refuted(name):
    assert decide_positive(NOT_POSITIVE[name]).value is False


def test_sign_abstains_where_nothing_decides():
    assert decide_positive((x - y) ** 2 + exp(-((x + y) ** 2)) / 10**9).value is not False


def test_conjunction():
    yes, no, open_ = Decision(True, POLYNOMIAL), Decision(False, POINT), Decision(None, ABSTAINED)
    assert combine([yes, yes]).value is True
    assert combine([yes, open_]).value is None
    assert combine([open_, no, yes]).value is False
