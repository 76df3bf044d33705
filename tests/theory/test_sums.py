"""Sums and products up to a symbolic bound: each list has true, false and undecidable claims."""

import pytest
import sympy
from sympy import Ge, Gt, Le, Limit, Lt, Product, Rational, Sum, factorial, oo

from theory import decide_relation

j, k = sympy.symbols("j k", integer=True)
n = sympy.Symbol("n", integer=True, positive=True)
m = sympy.Symbol("m", integer=True, nonnegative=True)
any_n = sympy.Symbol("n")
r = sympy.Symbol("r", real=True)

EQUAL = {
    (Sum(k, (k, 1, n)), n * (n + 1) / 2): True,
    (Sum(k, (k, 1, n)), n * (n - 1) / 2): False,
    (Sum(k**3, (k, 1, n)), Sum(k, (k, 1, n)) ** 2): True,
    (Sum(r**k, (k, 0, n)), (1 - r ** (n + 1)) / (1 - r)): True,
    (Sum(r**k, (k, 0, n)), (1 - r**n) / (1 - r)): False,
    (Sum(k * r**k, (k, 0, m)), r * (1 - (m + 1) * r**m + m * r ** (m + 1)) / (1 - r) ** 2): True,
    (Sum(1 / (k * (k + 1)), (k, 1, n)), n / (n + 1)): True,
    (Sum(1 / (k * (k + 1)), (k, 1, oo)), 1): True,
    (Sum(1 / (k * (k + 1)), (k, 1, oo)), 2): False,
    (Sum(k * factorial(k), (k, 1, n)), factorial(n + 1) - 1): True,
    (Sum(k, (k, 1, 2 * n)), n * (2 * n + 1)): True,
    (Sum(j, (j, 1, k), (k, 1, n)), n * (n + 1) * (n + 2) / 6): True,
    (Sum(k**2, (k, 1, n)), n * (n + 1) * (2 * n + 1) / 6 + Rational(1, 10**9)): False,
    (Sum(k, (k, 1, any_n)), any_n * (any_n + 1) / 2): None,  # nothing says that n is a number of terms
    (Limit(Sum(k, (k, 1, n)) / n**2, n, oo), Rational(1, 2)): True,
    (Product(1 + 1 / k, (k, 1, n)), n + 1): True,
    (Product(1 + 1 / k, (k, 1, n)), n): False,
    # Above n = 5 it has no terms: 0, where SymPy has a sum with a sign.
    (Sum(k, (k, 2 * n, n + 5)), (n + 5) * (n + 6) / 2 - (2 * n - 1) * n): None,
    (Sum(k, (k, n, 2)), n): False,
}
ORDERED = {
    Le(Sum(1 / k**2, (k, 1, n)), 2 - 1 / n, evaluate=False): True,
    Lt(Sum(1 / k**2, (k, 1, n)), 2 - 1 / n, evaluate=False): False,
    Gt(Sum(k**2, (k, 1, n)), n**3 / 3, evaluate=False): True,
    Gt(Sum(k**2, (k, 1, n)), n**3 / 2, evaluate=False): False,
    Ge(Sum(k**2, (k, 1, n)), n, evaluate=False): True,
    Ge(Sum(k, (k, n, 2)), 0, evaluate=False): None,
}


@pytest.mark.parametrize(("sides", "value"), EQUAL.items(), ids=str)
def test_equations(sides, value):
    found = decide_relation(sympy.Eq(*sides, evaluate=False))
    assert found.value is value, found
    assert value is not False or "left" in found.detail, found


@pytest.mark.parametrize(("claim", "value"), ORDERED.items(), ids=str)
def test_inequalities(claim, value):
    assert decide_relation(claim).value is value


def test_a_closed_form_that_fails_its_difference_is_not_used(monkeypatch):
    from theory.core import sums

    monkeypatch.setattr(sums, "_candidates", lambda *_: [sympy.Integer(1)])
    found = decide_relation(sympy.Eq(Sum(1 / (k * (k + 1)), (k, 1, oo)), 1, evaluate=False))
    assert found.value is None
    assert "no closed form" in found.detail
