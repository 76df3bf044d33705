"""Inequalities with exponentials, logarithms and means: true ones proved, false ones refuted by a point."""

import pytest
import sympy
from sympy import Ge, Gt, Rational, Sum, cosh, erf, exp, log, sin, sqrt, tanh

from theory import GaussianMean, decide_relation

x, y, z, mu = sympy.symbols("x y z mu", real=True)
a, b, c, s = sympy.symbols("a b c s", positive=True)
u = sympy.Symbol("u", nonnegative=True)
n = sympy.Symbol("n", integer=True, positive=True)
k = sympy.Symbol("k", integer=True)

CLAIMS = {
    (exp(x), 1 + x): True,
    (a - 1, log(a)): True,
    (x - 1, log(x)): None,  # not real everywhere
    (a * log(a), a - 1): True,
    (log((a + b) / 2), (log(a) + log(b)) / 2): True,
    (log(1 + exp(x)), x / 2 + log(2)): True,
    (log(1 + exp(x)), x / 2 + 1): False,
    (s * log(1 + exp(x / s)), x): True,
    (exp(x) + a * log(a) - a, x * a): True,
    (a * log(a / b), a - b): True,
    (u, tanh(u)): True,
    (1, tanh(x)): True,
    (1 + u / 2, sqrt(1 + u)): True,
    (u, sin(u)): True,
    (x, sin(x)): False,
    (erf(u), u): False,
    ((exp(x) + exp(y)) / 2, exp((x + y) / 2)): True,
    (cosh(x), 1 + x**2 / 2): True,
    (exp(-a), 1 - a): True,
    (1 - a + a**2 / 3, exp(-a)): False,
    (x**4 + y**4 + z**4 + 1, 4 * x * y * z): True,
    (x**4 + y**4 + z**4 + 1, 5 * x * y * z): False,
    (x**4 * y**2 + x**2 * y**4 + 1, 3 * x**2 * y**2): True,  # Motzkin: no sum of squares
    (x**4 * y**2 + x**2 * y**4 + 1, Rational(301, 100) * x**2 * y**2): False,
    (a**3 / 3 + 2 * b ** Rational(3, 2) / 3, a * b): True,
    (a / b + b / c + c / a, 3): True,
    (2**n, n + 1): True,
    (2**n, n**2): False,
    (Sum(1 / k, (k, 1, n)), log(n + 1)): True,
    (GaussianMean(exp(x), x, mu, s), exp(mu)): True,
}


@pytest.mark.parametrize(("sides", "value"), CLAIMS.items(), ids=str)
def test_inequalities(sides, value):
    found = decide_relation(Ge(*sides, evaluate=False))
    assert found.value is value, found
    assert value is not False or "left = " in found.detail, found


@pytest.mark.parametrize(
    ("sides", "value"),
    {
        (exp(x), x): True,
        (exp(x), 1 + x): False,
        (exp(mu + s**2 / 2), exp(mu)): True,
        (1, 1 / (1 + exp(-x))): True,
        (a - log(a), 1): False,
        (a, tanh(a)): True,
        (1, tanh(x)): True,
        (1, sin(x)): None,  # equal at pi/2, which is no rational point
        (1, y * tanh(x)): False,
        (x**4 * y**2 + x**2 * y**4 + 1, 3 * x**2 * y**2): False,
        (x**4 * y**2 + x**2 * y**4 + 1, Rational(299, 100) * x**2 * y**2): True,
    }.items(),
    ids=str,
)
def test_strict_ones(sides, value):
    assert decide_relation(Gt(*sides, evaluate=False)).value is value
