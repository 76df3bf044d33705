"""Orders and limits: decided by expansions; each list has true, false and undecidable claims."""

import pytest
import sympy
from sympy import Abs, Limit, MatrixSymbol, Order, Rational, Trace, cos, exp, log, oo, sin, sqrt, tanh

import theory
from hltm.base.errors import InputError
from theory import OrderClaim, decide_relation

x = sympy.Symbol("x", real=True)
a, b = sympy.symbols("a b", positive=True)
n = sympy.Symbol("n", integer=True, positive=True)
A, B = MatrixSymbol("A", n, n), MatrixSymbol("B", n, n)
UNIT = sympy.Identity(n)


def equal(left, right):
    return sympy.Eq(left, right, evaluate=False)


LIMITS = {
    (Limit(sin(x) / x, x, 0, "+-"), 1): True,
    (Limit((1 + a / n) ** n, n, oo), exp(a)): True,
    (Limit((1 + a / n) ** n, n, oo), a): False,
    (Limit(1 / x, x, 0, "+-"), oo): None,
    (Limit(1 / x, x, 0, "-"), -oo): True,
    (Limit(1 / x, x, 0, "+"), -oo): False,
    (Limit(Abs(x) / x, x, 0, "-"), -1): True,
    (Limit(log(1 + exp(x)) - x, x, oo), 0): True,
    (Limit((x**2 - 1) / (x - 1), x, 1, "+-"), 2): True,
    (Limit((a * x**2 + 1) / (b * x**2 + x), x, oo), a / b): True,
    (Limit((a * x**2 + 1) / (b * x**2 + x), x, oo), b / a): False,
    (Limit(cos(x), x, oo), 0): None,
    (Limit(x * log(x), x, 0), 0): True,
    (Limit(sqrt(x) * log(x), x, 0), 0): True,
    (Limit(exp(x) / (1 + exp(x)), x, -oo), 0): True,
    (Limit((a - 1) / (x * (a - 1)), x, oo), 0): True,
    (Limit(exp((a - b) * x), x, oo), 0): None,
}
ORDERS = {
    OrderClaim(sin(x) - x, x, 3): True,
    OrderClaim(sin(x) - x, "x", 4): False,
    OrderClaim(sin(x) - x, x, 3, exactly=True): True,
    OrderClaim(sin(x) - x, x, 2, exactly=True): False,
    OrderClaim(1 - cos(a * x) - b * x**2, x, 4): False,
    OrderClaim(a * log(a), a, 1): False,
    OrderClaim(a * log(a), a, Rational(1, 2)): True,
    OrderClaim(1 / (n + a), n, -1, at=oo): True,
    OrderClaim(1 / (n + a), n, -2, at=oo): False,
    OrderClaim(exp(-n) * n**5, n, -9, at=oo): True,
    OrderClaim(exp(n), n, 9, at=oo): False,
    OrderClaim(a ** Rational(3, 2), a, Rational(3, 2)): True,
    OrderClaim(a ** Rational(3, 2), a, 2): False,
    OrderClaim(sin(1 / x), x, 0): None,
    equal(exp(x), 1 + x + Order(x**2)): True,
    equal(exp(x), 1 + x + Order(x**3)): False,
    OrderClaim((UNIT + x * A) ** 2 - UNIT - 2 * x * A, x, 2): True,
    OrderClaim((UNIT + x * A) ** 2 - UNIT - 2 * x * A, x, 3): False,
    OrderClaim((A + x * B).I - A.I + x * A.I * B * A.I, x, 2): True,
    OrderClaim((A + x * B).I - A.I - x * A.I * B * A.I, x, 2): False,
    OrderClaim(x * (A + x * B).I, x, 1): None,  # A may be singular
    OrderClaim(Trace((UNIT + x * A) * (UNIT + x * B)) - n - x * Trace(A + B), x, 2): True,
}


@pytest.mark.parametrize(("sides", "value"), LIMITS.items(), ids=str)
def test_limits(sides, value):
    assert decide_relation(equal(*sides)).value is value


@pytest.mark.parametrize(("claim", "value"), ORDERS.items(), ids=str)
def test_orders(claim, value):
    found = decide_relation(claim)
    assert found.value is value, found
    assert (value is not False) or any(word in found.detail for word in (" is ", " = ", "grows")), found


def test_points_that_do_not_approach_an_expansion_leave_it_undecided(monkeypatch):
    from theory.core import asymptotics

    monkeypatch.setattr(asymptotics, "_limit", lambda expr, s: sympy.Integer(2))
    found = decide_relation(equal(Limit(sin(x) / x, x, 0), 2))
    assert found.value is None
    assert "do not approach" in found.detail


z = sympy.Symbol("z")  # complex
LOGS = (exp(a * log(a)) - 1 - a * log(a) - a**2 * log(a) ** 2 / 2 - a**3 * log(a) ** 3 / 6) / a
ALIKE = exp((b**2 + b) / a) / ((exp(1 / a) + a) ** (b * (b + 1)) - exp((b**2 + b) / a))


@pytest.mark.parametrize(
    "claim",
    [
        OrderClaim(Abs(1 + a * z) - 1 - a * z, a, 5),
        OrderClaim(log(exp(sympy.I / a)) - sympy.I / a, a, 0),
        OrderClaim(sqrt(exp(sympy.I / a)) - exp(sympy.I / (2 * a)), a, 0),
        OrderClaim(LOGS * A, a, 3),
        OrderClaim(ALIKE, a, 0),
        equal(Limit(ALIKE, a, 0), -1),
    ],
    ids=str,
)
def test_false_claims_of_complex_numbers_hidden_logarithms_and_equal_exponentials_are_not_proved(claim):
    assert decide_relation(claim).value is not True


def test_inequalities_of_limits():
    assert decide_relation(sympy.Ge(Limit(tanh(a * x), x, oo), 1, evaluate=False)).value is True
    assert decide_relation(sympy.Gt(Limit(tanh(a * x), x, oo), 1, evaluate=False)).value is False


def test_wrong_input():
    with pytest.raises(InputError, match="name of one symbol"):
        OrderClaim(sin(x), "y", 1)
    with pytest.raises(InputError, match="rational number"):
        OrderClaim(sin(x), x, a)
    for at in (sympy.zoo, sympy.I, sympy.nan):
        with pytest.raises(InputError, match="must be a real number"):
            OrderClaim(sin(x), x, 1, at=at)


def test_how_it_prints():
    assert theory.to_latex(OrderClaim(sin(x), x, 2)).count("O\\left(x^{2}\\right)") == 1
