"""Statement 7 in symbols: the law of a weighted sum of uniforms, numbers of neurons, the bound, the derivations."""

from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import irwinhall
from sympy import Integer, Rational, Symbol, sqrt

import theory
from hltm.base.errors import InputError
from theory.trees import lucky
from theory.trees.lucky import CLAIMS, derive_lucky

T = Symbol("t", real=True)
COEFFICIENTS = st.lists(st.integers(-6, 6).map(lambda n: Rational(n, 4)), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(COEFFICIENTS, st.integers(1, 3))
def test_the_law_is_a_law(coefficients, bound):
    """Monotone from 1 to 0, symmetric, with the variance of a sum of independent uniforms, by integration."""
    law = theory.gap_law(coefficients, bound)
    nonzero = [abs(a) for a in coefficients if a]
    assert law.largest == 2 * bound * sum(nonzero)
    if not nonzero:
        assert (law.survival(0), law.survival(Rational(1, 9)), law.variance) == (1, 0, 0)
        return
    grid = [law.largest * Rational(k, 7) for k in range(-8, 9)]
    values = [law.survival(t) for t in grid]
    assert values[0] == 1
    assert values[-1] == 0
    assert values == sorted(values, reverse=True)
    assert all(a + b == 1 for a, b in zip(values, reversed(values), strict=True))
    pieces = law.piecewise(T).args
    assert [piece[0].subs(T, t) for t in grid for piece in pieces if piece[1].subs(T, t) == True][:1] == values[:1]  # noqa: E712
    moment, low = Integer(0), -law.largest
    for expression, condition in pieces[1:-1]:
        high = condition.rhs
        moment += sympy.integrate(-sympy.diff(expression, T) * T**2, (T, low, high))
        low = high
    # Var(2 w_i a_i) = 4 a_i^2 b^2 / 3 each.
    assert moment == law.variance == 4 * Rational(bound) ** 2 / 3 * sum(a**2 for a in nonzero)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(COEFFICIENTS, st.integers(-20, 20))
def test_the_piecewise_form_agrees(coefficients, place):
    law, t = theory.gap_law(coefficients), Rational(place, 3)
    assert law.piecewise(T).subs(T, t) == law.survival(t)
    if law.sizes and len(law.sizes) > 1:
        h = Rational(1, 10**6)
        slope = (law.survival(t - h) - law.survival(t + h)) / (2 * h)
        assert abs(slope - law.density(t)) < Rational(1, 10**4)
        assert law.density(t) == law.density(-t)


@pytest.mark.parametrize("n", [1, 2, 5, 12, 40])
def test_equal_coefficients_are_irwin_hall(n):
    """2 b a sum u_i with u on [-1, 1] is 4 b a (Irwin-Hall - n/2); SciPy has its own formula."""
    law = theory.gap_law([Rational(1, 4)] * n, 1)
    for place in (-0.4, -0.1, 0.0, 0.05, 0.3):
        t = Fraction(place).limit_denominator(100) * n
        # SciPy's alternating sum in float64 loses its digits as n grows.
        assert float(law.survival(t)) == pytest.approx(irwinhall(n).sf(float(t) + n / 2), abs=1e-12)


def test_an_irrational_bound():
    bound = sqrt(Rational(3, 5)) * Rational(3, 2)
    law, plain = theory.gap_law([1, Rational(1, 2), 2], bound), theory.gap_law([1, Rational(1, 2), 2])
    for k in range(-8, 9):
        assert law.survival(bound * k) == plain.survival(k)
        assert sympy.simplify(law.density(bound * k) * bound - plain.density(k)) == 0
        value = law.survival(k)
        nearby = plain.survival(Fraction(float(k / bound)))
        assert abs(float(value) - float(nearby)) < 1e-14
    assert law.variance == 4 * Rational(27, 20) / 3 * (1 + Rational(1, 4) + 4)


def test_the_law_against_draws():
    """DKW at a false-alarm rate of 1e-9 and 200,000 draws, seed 3."""
    a = [Rational(3, 8), Rational(-1, 2), Rational(1, 16), 0, Rational(7, 8)]
    n, samples = len(a), 200_000
    law = theory.gap_law(a, sqrt(Rational(3, n)))
    w = np.random.default_rng(3).uniform(-1, 1, (samples, n)) * np.sqrt(3 / n)
    gaps = 2 * w @ np.array([float(x) for x in a])
    limit = np.sqrt(np.log(2e9) / (2 * samples))
    for k in range(-9, 10):
        t = Rational(k, 4)
        assert abs(np.mean(gaps >= float(t)) - float(law.survival(t))) < limit


def test_many_coefficients():
    distinct = theory.gap_law([Rational(2 * k + 1, 64) for k in range(20)], sqrt(Rational(3, 20)))
    assert 0 < float(distinct.survival(Rational(1, 2))) < Rational(1, 2)
    grouped = theory.gap_law([Rational(1 + k % 3, 8) for k in range(60)], sqrt(Rational(1, 20)))
    # Sixty terms: near a normal law; Berry-Esseen with sum E|X|^3 <= largest term * variance.
    sigma = float(sqrt(grouped.variance))
    largest = 2 * float(grouped.bound) * 3 / 8
    from scipy.stats import norm

    assert abs(float(grouped.survival(1)) - norm.sf(1 / sigma)) < 0.5600 * largest / sigma


def test_too_many_sums_are_refused():
    law = theory.gap_law([Rational(1, 2**k) for k in range(24)])
    with pytest.raises(InputError, match=r"24 that give more than 1,048,576 signed sums"):
        law.survival(1)
    with pytest.raises(InputError, match="must be at most 128; use survival"):
        theory.gap_law([Rational(1, 2**k) for k in range(9)]).piecewise(T)


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (lambda: theory.gap_law([1, 0.5]), r"coefficients\[1\]=0.5"),
        (lambda: theory.gap_law([True]), r"coefficients\[0\]=True"),
        (lambda: theory.gap_law([1], 0), "bound=0"),
        (lambda: theory.gap_law([1], -sqrt(2)), "bound=-sqrt"),
        (lambda: theory.gap_law([1], sympy.pi), "bound=pi"),
        (lambda: theory.gap_law([1], Symbol("b")), "bound=b"),
        (lambda: theory.gap_law([1], 0.5), "bound=0.5"),
        (lambda: theory.gap_law([1]).survival(0.1), "t=0.1"),
        (lambda: theory.gap_law([1]).survival(sympy.pi), "t=pi"),
        (lambda: theory.gap_law([1]).survival(sqrt(2) + 1), "rational"),
        (lambda: theory.gap_law([0]).density(0), "no density"),
        (lambda: theory.existence_probability(Rational(3, 2), 2), "P_t=3/2"),
        (lambda: theory.existence_probability(0.5, 2), "P_t=0.5"),
        (lambda: theory.existence_probability(Rational(1, 2), 0), "m=0"),
        (lambda: theory.existence_probability(Rational(1, 2), 1.5), "m=1.5"),
        (lambda: theory.existence_probability(Rational(1, 3), 10**8), "more than 1,000,000 digits"),
        (lambda: theory.neurons_needed(0, Rational(1, 2)), "delta=0"),
        (lambda: theory.neurons_needed(1, Rational(1, 2)), "delta=1"),
        (lambda: theory.neurons_needed(0.1, Rational(1, 2)), "delta=0.1"),
        (lambda: theory.neurons_needed(Rational(1, 2), 0), "no number suffices"),
        (lambda: theory.neurons_needed(Rational(1, 2), 2), "P_t=2"),
        (lambda: theory.selectivity_bound(0, 1, -1), "v=-1"),
        (lambda: theory.selectivity_bound(0, 1, 1, 2), "slope=2"),
        (lambda: theory.selectivity_bound(0.0, 1, 1), "m_0=0.0"),
        (lambda: theory.derive("lucky-nodes", claim="emergence"), "claim='emergence'"),
    ],
)
def test_bad_values_are_refused_in_one_line(call, fragment):
    with pytest.raises(InputError, match=fragment) as caught:
        call()
    assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.fractions(Fraction(1, 500), Fraction(499, 500)), st.fractions(Fraction(1, 100), 1))
def test_neurons_needed_is_the_smallest_number(delta, p):
    m = theory.neurons_needed(delta, p)
    assert (1 - p) ** m <= delta
    assert m == 1 or (1 - p) ** (m - 1) > delta


def test_neurons_needed_where_logarithms_tie():
    for p in (Fraction(1, 2), Fraction(1, 3), Fraction(2, 7), Fraction(1, 1000)):
        for m in (1, 2, 3, 10, 47):
            exact = (1 - p) ** m
            tiny = Fraction(1, 10**400)
            assert theory.neurons_needed(exact, p) == m
            assert theory.neurons_needed(exact - tiny, p) == m + 1
            assert theory.neurons_needed(exact + tiny, p) == m
    assert theory.neurons_needed(Fraction(1, 2), Fraction(1, 10**30)) > 10**29


def test_existence_counts_what_is_needed():
    p, delta = Rational(1, 7), Rational(1, 50)
    m = theory.neurons_needed(delta, p)
    assert theory.existence_probability(p, m) >= 1 - delta > theory.existence_probability(p, m - 1)
    assert theory.existence_probability(p, Symbol("m")).subs(Symbol("m"), 3) == theory.existence_probability(p, 3)


def test_the_bound_where_it_is_attained():
    """A pre-activation without spread: m_1 = 1, m_0 = -1 gives s = 1/2, the bound; leaky: s = (1 + a)/2."""
    a = Rational(1, 4)
    assert theory.selectivity_bound(-1, 1, 0) == Rational(1, 2)
    assert theory.selectivity_bound(-1, 1, 0, a) == (1 + a) / 2
    # Even two-point law at +-1 given z = 0 has E|p| = sqrt(E p^2): attained again, s = (2 - 1/2)/2.
    assert theory.selectivity_bound(0, 2, 1) == Rational(3, 4)
    m, v = sympy.symbols("m v", positive=True)
    assert theory.selectivity_bound(m, 1, v, 1) == (1 - m) / 2


@pytest.mark.parametrize("claim", CLAIMS)
def test_derivations(claim):
    found = theory.derive("lucky-nodes", claim=claim)
    assert found.proved
    assert found.residual in (None, 0)
    assert len(found.steps) >= 2
    assert found.latex("standalone").startswith("\\documentclass")
    assert theory.derive(7, claim=claim).statement.text == found.statement.text


def test_a_false_step_is_seen(monkeypatch):
    """Wrong identities put under the derivations: no derivation that uses one is proved."""
    true = lucky.zero_step
    monkeypatch.setattr(lucky, "zero_step", lambda a, b, why: true(a, 2 * b, why))
    assert not any(derive_lucky(claim).proved for claim in CLAIMS)
    monkeypatch.setattr(lucky, "zero_step", true)
    monkeypatch.setattr(lucky, "decide_nonnegative", lambda e, f=lucky.decide_nonnegative: f(-e))
    assert [claim for claim in CLAIMS if derive_lucky(claim).proved] == ["gap", "law"]
