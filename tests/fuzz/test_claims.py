"""Random orders, limits, sums, expectations and inequalities, true or false by construction: no wrong decision.

What makes a claim true shares no code with `theory`: Taylor coefficients by mpmath, telescoping, derivatives of the
moment generating function, tangents of convex functions, weights of means. FUZZ_EXAMPLES sets how many of each kind.
"""

import os
from fractions import Fraction
from functools import reduce
from random import Random

import mpmath
import pytest
import sympy
from sympy import Eq, Ge, Gt, Limit, Rational, Sum, exp, log

from theory import GaussianMean, OrderClaim, decide_relation

EXAMPLES = max(12, int(os.environ.get("FUZZ_EXAMPLES", "120")) // 10)
x, t = sympy.symbols("x t", real=True)
s = sympy.Symbol("s", positive=True)
k = sympy.Symbol("k", integer=True)
n = sympy.Symbol("n", integer=True, positive=True)


def rational(rng, low=-4, high=4):
    return Rational(rng.choice([v for v in range(low, high + 1) if v]), rng.choice((1, 1, 2, 3)))


# Orders: a function minus its Taylor polynomial, whose coefficients are rational.

SMOOTH = {
    "exp": (sympy.exp, mpmath.exp), "sin": (sympy.sin, mpmath.sin), "cos": (sympy.cos, mpmath.cos),
    "tanh": (sympy.tanh, mpmath.tanh), "log": (lambda v: log(1 + v), mpmath.log1p),
    "inverse": (lambda v: 1 / (1 + v), lambda v: 1 / (1 + v)), "root": (lambda v: sympy.sqrt(1 + v), lambda v: mpmath.sqrt(1 + v)),
}  # fmt: skip


def smooth_function(rng):
    """The same function for SymPy and for mpmath."""
    parts = []
    for _ in range(rng.randint(1, 3)):
        symbolic, numeric = SMOOTH[rng.choice(sorted(SMOOTH))]
        scale, power = rational(rng), rng.choice((1, 1, 2))
        parts.append((symbolic, numeric, scale, power))
    product = rng.random() < 0.5
    combine = (lambda a, b: a * b) if product else (lambda a, b: a + b)

    def value(v):
        terms = (f(mpmath.mpf(int(c.p)) / int(c.q) * v**p) for _, f, c, p in parts)
        return reduce(combine, terms)

    return reduce(combine, (f(c * x**p) for f, _, c, p in parts)), value


def order(rng, true):
    symbolic, value = smooth_function(rng)
    mpmath.mp.dps = 60
    found = [Fraction(str(mpmath.nstr(c, 50))).limit_denominator(10**6) for c in mpmath.taylor(value, 0, 6)]
    wanted = rng.randint(1, 5)
    coefficients = [Rational(c.numerator, c.denominator) for c in found[:wanted]]
    if not true:
        coefficients[rng.randrange(wanted)] += Rational(1, rng.choice((7, 1000)))
    gap = symbolic - sum((c * x**p for p, c in enumerate(coefficients)), start=sympy.Integer(0))
    return OrderClaim(gap, x, wanted)


def limit(rng, true):
    value = rational(rng)
    grows = rng.choice([x**2 + 1, exp(x) + x, x**3 - x, exp(2 * x) - exp(x), x * (1 + exp(-x))])
    small = rng.choice([x / 3, 1 + exp(-x), -x, sympy.Integer(2)])
    inside = sympy.expand(value * grows + small)
    if grows == x * (1 + exp(-x)) and small in (x / 3, -x):
        inside = sympy.expand(value * grows) + 1
    return Eq(
        Limit(inside / grows, x, sympy.oo), value if true else value + Rational(1, rng.choice((1, 50))), evaluate=False
    )


def total(rng, true):
    def closed(v):
        ratio = rng.choice((2, 3, Rational(1, 2)))
        return rng.choice([
            lambda v: v**2, lambda v: v**3 + v, lambda v: ratio**v, lambda v: v * ratio**v, lambda v: 1 / (v + 1),
            lambda v: (-1) ** v * v, lambda v: sympy.factorial(v + 1),
        ])  # fmt: skip

    parts = [(rational(rng), closed(None)) for _ in range(rng.randint(1, 2))]

    def whole(v):
        return sum((c * f(v) for c, f in parts), start=sympy.Integer(0))

    summand, right = whole(k) - whole(k - 1), whole(n) - whole(sympy.Integer(0))
    if not true:
        right += rng.choice([Rational(1, 1000), n / 50, 1 / n - 1])
    return Eq(Sum(summand, (k, 1, n)), right, evaluate=False)


def mean(rng, true):
    mu, terms, value = rational(rng), [], sympy.Integer(0)
    generating = exp(mu * t + s**2 * t**2 / 2)
    for _ in range(rng.randint(1, 3)):
        c, power, rate = rational(rng), rng.randint(0, 3), rng.choice((0, 1, Rational(-1, 2)))
        terms.append(c * x**power * exp(rate * x))
        value += c * sympy.diff(generating, t, power).subs(t, rate)
    if rng.random() < 0.5:  # half moments of a centred variable
        c, power = rational(rng), rng.randint(1, 4)
        half = s**power * sympy.sqrt(2) ** power * sympy.gamma(Rational(power + 1, 2)) / (2 * sympy.sqrt(sympy.pi))
        left = GaussianMean(c * sympy.Max(x, 0) ** power, x, 0, s) + GaussianMean(sum(terms), x, mu, s)
        value += c * half
    else:
        left = GaussianMean(sum(terms), x, mu, s)
    if not true:
        value += rng.choice([Rational(1, 1000), s / 100, value / 50 + Rational(1, 9)])
    return Eq(left, value, evaluate=False)


def tangent(rng, true):
    """A convex function above its tangent; below it where the tangent is lifted."""
    parts = [
        rng.choice([exp(x), exp(-2 * x), x**2, x**4, log(1 + exp(x)), sympy.cosh(x)]) * abs(rational(rng))
        for _ in range(rng.randint(1, 2))
    ]
    function, at = sum(parts), rng.choice((0, 1, -1))
    line = function.subs(x, at) + sympy.diff(function, x).subs(x, at) * (x - at)
    return Ge(function, line if true else line + Rational(1, rng.choice((10, 100))), evaluate=False)


def means(rng, true):
    """Weights of a mean: sum w_i m_i >= prod m_i^w_i."""
    names = sympy.symbols("a b c", positive=True)[: rng.randint(2, 3)]
    common = rng.choice((3, 4, 5, 6))
    cuts = sorted(rng.sample(range(1, common), len(names) - 1))
    weights = [b - a for a, b in zip([0, *cuts], [*cuts, common], strict=True)]
    high = sum(Rational(w, common) * v**common for w, v in zip(weights, names, strict=True))
    low = sympy.Mul(*(v**w for w, v in zip(weights, names, strict=True)))
    return Ge(high, low if true else low * Rational(51, 50), evaluate=False)


def strict(rng, true):
    """Strictly above where a constant is left over, not where the tangent touches."""
    claim = tangent(rng, True)
    return Gt(claim.lhs + (Rational(1, 10) if true else 0), claim.rhs, evaluate=False)


KINDS = {make.__name__: make for make in (order, limit, total, mean, tangent, means, strict)}
OPEN = {"order": 0.1, "limit": 0.1, "total": 0.3, "mean": 0.1, "tangent": 0.5, "means": 0.1, "strict": 0.6}
"""The part of the true claims that may stay open."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_wrong_decision(kind):
    wrong, left_open, number = [], 0, 0
    for seed in range(EXAMPLES):
        rng = Random(f"{kind} {seed}")
        true = rng.random() < 0.5
        claim = KINDS[kind](rng, true)
        found = decide_relation(claim)
        if found.value is (not true) or "disagree" in found.detail:
            wrong.append(f"seed {seed}, {'true' if true else 'false'}: {claim}: {found}")
        number += true
        left_open += true and found.value is None
    print(f"{kind}: {number} true, {left_open} open")
    assert not wrong, "\n".join(wrong[:5])
    assert left_open <= OPEN[kind] * number + 1


def test_an_unsound_method_would_be_seen(monkeypatch):
    from theory.core import asymptotics, decide

    monkeypatch.setattr(
        asymptotics, "_compared", lambda *_: decide.Decision(True, "expansion with a remainder", "unsound")
    )
    with pytest.raises(AssertionError, match="false"):
        test_no_wrong_decision("order")
