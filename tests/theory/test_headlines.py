"""The relations that a derivation claims, put to numbers where no model of another test has a place for them."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import sympy

import theory
from theory.core.claim import relations_of, together
from theory.latex.render import rows
from theory.trees.lucky import SIGN, SIZE, OverSigns

X = sympy.Symbol("x")


def test_several_relations_are_shown_one_below_the_other():
    pair = together([X > 0, sympy.Eq(X, 2, evaluate=False)])
    assert relations_of(pair) == (X > 0, sympy.Eq(X, 2, evaluate=False))
    assert rows(pair) == ["x &> 0,", "x &= 2"]
    assert together([X > 0]) == (X > 0)
    assert relations_of(X > 0) == (X > 0,)


def law(sizes, at):
    """The signed-power formula that is shown, at given sizes c_i."""
    relation, _ = theory.derive("lucky-nodes", claim="law").statement.relations
    (over,) = relation.rhs.atoms(OverSigns)
    values = {sympy.Symbol("n", integer=True, positive=True): len(sizes), sympy.Symbol("t", real=True): at}
    sizes = {SIZE[i]: size for i, size in enumerate(sizes, 1)}
    inner = over.args[0].subs(values).doit()
    total = 0
    for signs in itertools.product((-1, 1), repeat=len(sizes)):
        total += inner.subs({SIGN[i]: s for i, s in enumerate(signs, 1)}).subs(sizes)
    assert OverSigns(inner).doit().subs(sizes) == total
    return (relation.rhs.subs(over, total).subs(values).doit()).subs(sizes)


@pytest.mark.parametrize(("sizes", "at"), [((2,), 1), ((1, 2), 1), ((1, 1), 0), ((3, 1), -2)])
def test_the_law_is_that_of_a_sum_of_uniforms(sizes, at):
    """On a fine grid of midpoints of [-1, 1]^n."""
    grid = (np.arange(2000) + 0.5) / 1000 - 1
    total = sum(c * g for c, g in zip(sizes, np.meshgrid(*[grid] * len(sizes)), strict=True))
    assert float(law(sizes, at)) == pytest.approx(np.mean(total >= at), abs=2e-3)


@pytest.mark.parametrize("at", [-2, 0, 1])
def test_the_law_of_three_equal_terms_is_that_of_irwin_and_hall(at):
    assert float(law((1, 1, 1), at)) == pytest.approx(scipy.stats.irwinhall(3).sf((at + 3) / 2), rel=1e-12)


def test_the_law_is_shown_with_the_sizes_of_its_terms():
    chance, sizes = theory.derive("lucky-nodes", claim="law").statement.relations
    (shown, below) = rows(together([chance, sizes]))
    assert r"\max" in shown
    assert shown.count("{c}_{i}") == 2
    bound, entry = sorted(sizes.rhs.free_symbols, key=lambda symbol: symbol.name, reverse=True)
    assert (sizes.lhs.base, sizes.rhs.subs({bound: 3, entry: sympy.Rational(-1, 2)})) == (SIZE, 3)
    assert below.startswith("{c}_{i} &= ")


def test_the_number_of_neurons_that_is_needed():
    _, existence, needed = theory.derive("lucky-nodes", claim="existence").statement.relations
    p, m, delta = sympy.symbols("p m delta")
    bound = next(side for side in needed.args if side.lhs.name == "m")
    wanted = next(side for side in needed.args if side is not bound)
    assert {str(s) for s in existence.rhs.free_symbols} == {"P_{t}", "m"}
    assert wanted.lhs == existence.lhs
    names = {symbol: {"P_{t}": p, "m": m, r"\delta": delta}[symbol.name] for symbol in
             existence.rhs.free_symbols | bound.free_symbols}  # fmt: skip
    for chance, failure, count in itertools.product((0.1, 0.5, 0.9), (0.01, 0.3), (1, 2, 7, 50)):
        values = {p: chance, delta: failure, m: count}
        reached = existence.rhs.xreplace(names).subs(values) >= wanted.rhs.xreplace(names).subs(values)
        assert bool(reached) == (1 - (1 - chance) ** count >= 1 - failure)
        assert bool(bound.rhs.xreplace(names).subs(values) <= count) == bool(reached)


def test_what_the_flow_conserves_is_a_difference_of_squares():
    (relation,) = theory.derive("two-layer-dynamics", claim="conserved").statement.relations
    assert rows(relation) == [r"\frac{d}{dt}\left(w_{1j}^{T} w_{1j} - w_{2j}^{T} w_{2j}\right) &= 0"]
    assert relation.lhs.shape == relation.rhs.shape == (1, 1)


def test_weights_of_statement_4_are_functions_of_the_distances():
    relation = theory.derive(4, loss="infonce").statement.relations[1]
    (r, tau) = sorted(relation.rhs.free_symbols, key=str)
    assert (r.name, tau.name, relation.lhs.name) == ("r", "tau", r"\xi")
    found = float(relation.rhs.subs({r: 2, tau: 0.5}))
    assert found == pytest.approx(math.exp(-4) / (1 + math.exp(-4)))


@pytest.mark.parametrize("order", [1, 2])
def test_the_order_of_theta_is_claimed(order):
    distances = "means" if order == 2 else "points"
    found = theory.derive(4, loss="infonce", distances=distances).statement.relations[-1]
    assert found.rhs == sympy.Order(sympy.Symbol("s", positive=True) ** order)


@pytest.mark.parametrize("convention", ["shared", "one-branch"])
def test_a_statement_names_its_convention(convention):
    for number in (3, 4):
        statement = theory.derive(number, convention=convention).statement
        assert statement.convention == convention
        assert f"({convention}" in statement.text
    assert theory.derive(1).statement.convention == ""


def test_the_bound_of_statement_6_begins_with_the_strength_of_the_root():
    first = theory.derive("activation-covariance", claim="depth").steps[0].expression
    (size,) = first.free_symbols
    assert (first.lhs, first.rhs.subs(size, sympy.Rational(1, 2))) == (1, sympy.Rational(3, 4))
