"""What decides: points that respect assumptions, methods and details of decisions, thresholds."""

import re
from itertools import islice

import pytest
import sympy
from sympy import Function, Integer, Rational, Sum, Symbol, exp, log, sqrt

from theory.core import decide
from theory.core.decide import (
    ABSTAINED,
    ASSUMPTIONS,
    POINT,
    POLYNOMIAL,
    SIMPLIFY,
    Decision,
    combine,
    decide_positive,
    decide_zero,
    describe,
    exact_points,
)
from theory.core.notation import H, k, r, r_0, tau

x, y = sympy.symbols("x y", real=True)
t = Symbol("t", positive=True)
KINDS = {
    "real": {"real": True}, "positive": {"positive": True}, "negative": {"negative": True}, "nonnegative": {"nonnegative": True},
    "nonpositive": {"nonpositive": True}, "integer": {"integer": True}, "count": {"integer": True, "positive": True},
}  # fmt: skip
SYMBOLS = {name: Symbol(name, **kind) for name, kind in KINDS.items()}


def test_points_respect_what_is_assumed_of_the_symbols():
    points = list(exact_points(sympy.Add(*SYMBOLS.values())))
    assert len(points) == 14
    for point, value in points:
        assert set(point) == set(SYMBOLS.values())
        assert value == sum(point.values())
        for name, symbol in SYMBOLS.items():
            number = point[symbol]
            assert number.is_Rational
            for fact, wanted in KINDS[name].items():
                assert getattr(number, f"is_{fact}") is wanted, (name, number)
    ones, zeros = points[-2][0], points[-1][0]
    free = [SYMBOLS[name] for name in ("real", "nonnegative")]
    assert all(ones[symbol] == 1 for symbol in (*free, SYMBOLS["positive"]))
    assert all(zeros[symbol] == 0 for symbol in free)
    drawn = [[point[symbol] for point, _ in points[:12]] for symbol in SYMBOLS.values()]
    assert all(len(set(values)) > 1 for values in drawn)
    assert {value > 0 for value in drawn[0]} == {True, False}
    assert all(0 < abs(value) <= 9 for values in drawn[:5] for value in values)
    assert any(value.q > 1 for value in drawn[0])
    assert any(abs(value) < 1 for value in drawn[0])
    assert all(1 <= value <= 5 for value in drawn[6])


def test_points_are_the_same_in_every_run():
    expression = x * y + t
    assert list(exact_points(expression)) == list(exact_points(expression))
    assert len(list(exact_points(expression, 3))) == 5
    assert list(islice(exact_points(expression), 3)) == list(exact_points(expression, 3))[:3]


def test_sums_are_written_out_and_free_indices_are_one():
    total = Sum(r[k], (k, 1, H))
    for point, value in exact_points(total + H):
        assert 1 <= point[H] <= 3
        assert value == point[H] + sum(point[r[number]] for number in range(1, int(point[H]) + 1))
    j = Symbol("j", integer=True, positive=True)
    for point, value in exact_points(r[j] + tau):
        assert point[j] == 1
        assert value == point[r[1]] + point[tau]
        assert point[tau] > 0


def test_points_in_words():
    assert describe({}) == "every point"
    assert describe({y: Rational(3), x: Rational(-1, 2)}) == "x = -1/2, y = 3"


DECIDED = {
    "zero": (Integer(0), True, POLYNOMIAL, "0"),
    "zero matrix": (sympy.zeros(2, 2), True, POLYNOMIAL, "0"),
    "polynomial": ((x + y) ** 2 - x**2 - 2 * x * y - y**2, True, POLYNOMIAL, "0 in 2 generators"),
    "number": (Rational(1, 3), False, POLYNOMIAL, "1 terms remain; at every point the value is 1/3"),
    "three terms": (x**2 - y + 2, False, POLYNOMIAL, "3 terms remain; at x = "),
    "root": (sqrt(x**2 + 1) - x, False, POINT, "at x = "),
    "root of two": (sqrt(2) - 1, False, POINT, "at every point the value is 0.4142135624"),
    "exponentials": (exp(x) - 1, False, POINT, "at x = "),
    "simplify": (sympy.sin(x) ** 2 + sympy.cos(x) ** 2 - 1, True, SIMPLIFY, "1 parts, each proved"),
    "assumptions": (log(Symbol("one", positive=True)) * 0 + sympy.Abs(t) - t, True, POLYNOMIAL, "0"),
    "unknown": (Function("F")(x) - Function("G")(x), None, ABSTAINED, "no proof and no refuting point"),
    "float": (0.5 * x - y, None, ABSTAINED, "is not an exact number"),
    "matrix": (sympy.Matrix([[0, (x + 1) ** 2 - x**2 - 2 * x - 1]]), True, POLYNOMIAL, "0 in 1 generators"),
    "second entry": (sympy.Matrix([[(x + 1) ** 2 - x**2 - 2 * x - 1, y]]), False, POLYNOMIAL, "1 terms remain; at y = "),
}  # fmt: skip


@pytest.mark.parametrize("name", DECIDED)
def test_what_decides_that_something_is_zero(name):
    expression, value, method, detail = DECIDED[name]
    decision = decide_zero(expression)
    assert (decision.value, decision.method) == (value, method)
    assert detail in decision.detail
    if detail[:1] in "0123456789" or detail.startswith("at"):
        assert decision.detail.startswith(detail)
    assert bool(decision) is (value is True)


def test_a_statement_of_points_is_true():
    for expression in (sqrt(x**2 + 1) - x, exp(x) - y, x**2 - y + 2):
        place, value = re.search(r"at (.*) the value is (\S+)", decide_zero(expression).detail).groups()
        given = {Symbol(n, real=True): Rational(v) for n, v in re.findall(r"(\w) = (\S+?)(?:,|$)", place)}
        number = expression.subs(given)
        assert abs(sympy.N(number - sympy.sympify(value), 30)) < 1e-8 * max(1, abs(sympy.N(number)))


def test_numbers_that_are_too_long_are_shortened():
    long = Rational(2**300 + 1, 3)
    assert decide_zero(long).detail.endswith(f"the value is {long.n(10)}")
    assert decide_zero(Rational(2**256 - 1, 2)).detail.endswith(f"the value is {Rational(2**256 - 1, 2)}")
    assert decide_zero(Rational(2**256, 3)).detail.endswith(f"the value is {Rational(2**256, 3).n(10)}")


def test_small_is_not_zero_and_not_refuted():
    """Between 0 and the threshold a number decides nothing: it may be 0 rounded."""
    tiny = exp(-50)  # 2e-22
    assert decide_zero(exp(-40)).value is False
    assert decide_zero(tiny).value is not True
    assert decide_positive(-tiny).value is not True
    assert decide_positive(-exp(-40)).value is False


def test_large_expressions_are_not_simplified(monkeypatch):
    expression = sympy.sin(x) ** 2 + sympy.cos(x) ** 2 - 1
    size = sympy.count_ops(expression)
    monkeypatch.setattr(decide, "_SIMPLIFY_LIMIT", size)
    assert decide_zero(expression).method == SIMPLIFY
    monkeypatch.setattr(decide, "_SIMPLIFY_LIMIT", size - 1)
    assert decide_zero(expression) == Decision(None, ABSTAINED, "no proof and no refuting point")


SIGNS = {
    "assumptions": (1 + t, True, ASSUMPTIONS, "is_positive of the expression"),
    "coefficients": (1 - exp(-x) / (exp(-x) + exp(-y)), True, POLYNOMIAL, "coefficients of one sign in 2 positive"),
    "one negative coefficient": (t**2 - t + 1, None, ABSTAINED, "no proof of the sign and no refuting point"),
    "negative": (-1 - t, False, POINT, "the value is -"),
    "zero": (Integer(0), False, POINT, "at every point the value is 0"),
    "zero at the corner": (Symbol("n", nonnegative=True) ** 2, False, POINT, "at n = 0 the value is 0"),
    "one at the corner": (sympy.Abs(Symbol("n", nonnegative=True) - 1), False, POINT, "at n = 1 the value is 0"),
    "free sign": (x, False, POINT, "the value is -"),
    "complex": (sqrt(-1 - t) + 1, None, ABSTAINED, "no proof of the sign and no refuting point"),
    "float": (0.5 * x + x**2, None, ABSTAINED, "is not an exact number"),
    "quotient of negatives": ((-1 - t) / (-2 - t) - 1 / (4 + 2 * t), True, POLYNOMIAL, "coefficients of one sign in 1"),
    "sum": (1 - 1 / (1 + Sum(exp(-r[k] / tau), (k, 1, H))), True, POLYNOMIAL, "1 positive"),
    "sum that may be empty": (1 - 1 / (1 + Sum(exp(-r[k] / tau), (k, 2, H))), False, POINT, "at H = 1"),
    "sum of free signs": (Sum(r_0 * k, (k, 1, H)), False, POINT, "the value is -"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNS)
def test_what_decides_a_sign(name):
    expression, value, method, detail = SIGNS[name]
    decision = decide_positive(expression)
    assert (decision.value, decision.method) == (value, method), decision
    assert detail in decision.detail


def test_conjunctions_name_the_weakest_method():
    made = {method: Decision(True, method) for method in (SIMPLIFY, POLYNOMIAL, ASSUMPTIONS)}
    assert combine([]).value is True
    assert combine([made[ASSUMPTIONS], made[POLYNOMIAL]]).method == POLYNOMIAL
    assert combine([made[POLYNOMIAL], made[SIMPLIFY], made[ASSUMPTIONS]]).method == SIMPLIFY
    assert combine([made[ASSUMPTIONS]]) == Decision(True, ASSUMPTIONS, "1 parts, each proved")
    assert combine([Decision(True, "other")] * 3) == Decision(True, POLYNOMIAL, "3 parts, each proved")
    refuted, open_ = Decision(False, POINT, "first"), Decision(None, ABSTAINED, "open")
    assert combine([made[SIMPLIFY], open_, refuted, Decision(False, POINT, "second")]) is refuted
    assert combine([made[SIMPLIFY], open_, Decision(None, ABSTAINED, "other")]) is open_
