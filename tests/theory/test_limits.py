"""Limits: the largest that is allowed goes through, the next is refused; and bad input at the edges of its range."""

import itertools
import math
import re
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest
import sympy
from sympy import Integer, Rational, Symbol, sqrt

import hltm
import theory
from hltm.base.errors import InputError
from theory.core import normal
from theory.core.normal import Normaliser, NotExactError
from theory.core.notation import negative, r_0, r_p, tau
from theory.losses import loss
from theory.losses.loss import expanded_size, loss_of
from theory.losses.parse import parse_loss
from theory.towers import network
from theory.trees import gap_law as uniform_sums
from theory.trees import lucky
from theory.trees import means as tree_leaves
from theory.trees.gap_law import exact, gap_law
from theory.trees.lucky import existence_probability, neurons_needed, selectivity_bound
from theory.trees.symbols import tree_symbols
from theory.two_layer import dynamics


def largest(n):
    return "max(" + ", ".join(f"r_{k}" for k in range(1, n + 1)) + ")"


# The largest that is allowed, its value, and the next text: what is refused, at which character, and why.
PARSED = {
    "length": ("1" + " " * 1999, 1, "1" + " " * 2000, "loss of 2001 characters: must have at most 2000"),
    "digits": ("9" * 30, 10**30 - 1, "9" * 31, "at character 1", "a number may have at most 30 digits"),
    "decimal digits": ("1." + "1" * 28, Rational(int("1" * 29), 10**28), "1." + "1" * 29, "at character 1", "30 digits"),
    "exponent": ("1e30", 10**30, "r_p + 1e31", "'1e31' at character 7", "30 digits"),
    "small exponent": ("1e-30", Rational(1, 10**30), "1e-31", "'1e-31' at character 1", "30 digits"),
    "negatives": ("r_64", negative(64), "r_65", "'r_65' at character 1", "known are r_p"),
    "first negative": ("r_1", negative(1), "r_0*r_0 - r_00", "'r_00' at character 11", "known are r_p"),
    "arguments": (largest(16), sympy.Max(*map(negative, range(1, 17))), largest(17), "'max' at character 1", "most 16"),
    "joined arguments": (f"max(r_16, {largest(15)})", sympy.Max(*map(negative, range(1, 17))),
                         f"max({largest(15)}, r_16, r_17)", "'max' at character 1", "takes at most 16 arguments"),
    "parentheses": ("(" * 40 + "1" + ")" * 40, 1, "(" * 41 + "1" + ")" * 41, "at most 40 levels of nesting"),
    "calls": ("sqrt(" * 3 + "(" * 37 + "1" + ")" * 40, 1, "sqrt(" + "(" * 40 + "1" + ")" * 41, "'sqrt' at character 1"),
    "powers": ("1^" * 40 + "1", 1, "1^" * 41 + "1", "'^' at character 3", "at most 40 levels of nesting"),
    "in sums": ("1 - (3*" + "(" * 39 + "1" + ")" * 39 + ")", -2, "1 - (3*" + "(" * 40 + "1" + ")" * 41, "40 levels"),
    "power": ("r_p^16", r_p**16, "r_p^17", "'17' at character 5", "a number of size at most 16"),
    "negative power": ("r_p^-16", r_p**-16, "r_p^-17", "'-17' at character 6", "a number of size at most 16"),
    "root": ("r_p^(1/16)", r_p ** Rational(1, 16), "r_p^(1/17)", "'1/17' at character 6", "of size at most 16"),
    "degree": ("((r_p^4)^4)^4", r_p**64, "((r_p^4)^4)^5", "'5' at character 13", "may multiply to at most 64"),
    "degree in a sum": ("(tau + (r_p^8)^2)^4", (tau + r_p**16) ** 4, "(tau + (r_p^8)^2)^5", "'5'", "at most 64"),
    "degree in a call": ("exp((r_p^8)^8)", sympy.exp(r_p**64), "exp(r_p^16)^5", "'5' at character 13", "at most 64"),
    "roots count as one": ("((r_p^16)^(1/2))^4", r_p**32, "((r_p^16)^(3/2))^3", "'3' at character 18", "at most 64"),
    "bits": ("(2^16)^16*2^10", Integer(2) ** 266, "((2^16)^16)^8", "'8' at character 13", "is too large a number"),
    "bits of a product": ("((2^16)^16)^7*(2^16)^12", Integer(2) ** 1984, "((2^16)^16)^7*(2^16)^13", "2000 bits"),
    "bits of a denominator": ("1/((2^16)^16)^7/(2^16)^12", Integer(2) ** -1984, "1/((2^16)^16)^7/(2^16)^13", "2000 bits"),
    "powers of numbers": ("((r_p*0 + 2)^3)^16", Integer(2) ** 48, "0^-1", "'0' at character 4", "division by zero"),
    "quotient": ("0/1", 0, "1/0", "'/' at character 3", "division by zero"),
    "logarithm": ("log(1)", 0, "1 + log(0)", "'log' at character 5", "the logarithm of zero is not defined"),
    "exponential": ("exp(r_p)", sympy.exp(r_p), "exp(1 + exp(r_p))", "'exp' at character 1", "an exponential in the"),
    "exponential of a logarithm": ("log(exp(1))", 1, "exp(log(2))", "'exp' at character 1", "a logarithm in the exponent"),
    "one argument": ("sqrt(4)", 2, "sqrt(4, 9)", "'sqrt' at character 1", "takes one argument"),
    "function": ("exp(0)", 1, "tau + exp", "'exp' at character 7", "'(' is needed after a function"),
    "called symbol": ("tau", tau, "tau(2)", "'tau' at character 1", "is a symbol and takes no argument"),
    "unknown function": ("r_0", r_0, "2*sin(2)", "'sin' at character 3", "known are r_p"),
    "complex maximum": ("max(1, 2)", 2, "1 + max(sqrt(-2), 1)", "'max' at character 5", "the arguments must be real"),
    "complex": ("sqrt(4)", 2, "sqrt(-4)", "at character 1", "must be a finite real expression"),
    "unfinished": ("(1)", 1, "(1", "'end of text' at character 3", "')' is needed here"),
    "operand": ("1 + 1", 2, "1 + * 1", "'*' at character 5", "a number, a symbol, a function or '(' is needed"),
    "surplus": ("1", 1, "r_p tau", "'tau' at character 5", "the expression should end here"),
    "character": ("1", 1, "1 @ 1", "'@' at character 3", "is not part of the grammar of a loss"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARSED)
def test_limits_of_the_parser(name):
    allowed, value, refused, *parts = PARSED[name]
    assert parse_loss(allowed) == value
    with pytest.raises(InputError) as caught:
        parse_loss(refused)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(("length", "shown"), [(60, "q" * 60), (61, "q" * 57 + "...")])
def test_long_losses_are_cut_where_they_are_shown(length, shown):
    text = "q" * length
    with pytest.raises(InputError) as caught:
        parse_loss(text)
    assert str(caught.value).startswith(f"{shown!r} at character 1 of loss {shown!r}: ")
    with pytest.raises(InputError, match=re.escape(f"loss={shown!r}: must be one of simple, triplet, infonce or")):
        loss_of(text)


@pytest.mark.parametrize(
    ("expression", "size"),
    [(r_p, 1), (r_p + tau + 1, 3), ((r_p + tau) ** 3, 4), ((r_p + tau + 1) ** 2, 6), ((r_p + 1) * (tau + 1), 4),
     (sympy.exp(r_p + tau), 2), ((r_p + 1) ** -2, 3), (sympy.log(r_p) * (r_p + 2), 2)],
)  # fmt: skip
def test_bound_of_the_expanded_size(expression, size):
    assert expanded_size(expression) == size


def test_sizes_of_losses(monkeypatch):
    monkeypatch.setattr(loss, "_SIZE_LIMIT", 4)
    assert loss_of((r_p - negative(1)) ** 3).expression == (r_p - negative(1)) ** 3
    with pytest.raises(InputError, match="expands to more than 4 terms"):
        loss_of((r_p - negative(1)) ** 4)


def test_numbers_of_negatives():
    assert loss_of("r_p - r_2").negatives == (negative(1), negative(2))
    assert len(loss_of("r_p - r_1", 64).negatives) == 64
    assert loss_of("infonce", 1).negatives == (negative(1),)
    assert loss_of("infonce").negatives is None
    with pytest.raises(InputError, match="65 negatives of loss 'r_p - r_1': at most 64"):
        loss_of("r_p - r_1", 65)
    for bad in (0, -1, True, 1.0, "1"):
        with pytest.raises(InputError, match="must be a positive integer or None"):
            loss_of("simple", bad)


def test_floats_in_losses_are_the_decimals_that_they_print_as():
    assert loss_of(0.1 * (r_p - negative(1))).expression == (r_p - negative(1)) / 10


# Gaps and neurons.


def test_exact_numbers():
    assert exact(Fraction(-3, 7), "x") == Rational(-3, 7)
    assert exact(5, "x") == 5
    assert exact(Rational(2, 9), "x") == Rational(2, 9)
    for bad in (True, 0.5, "1", None, sympy.Float(0.5), sqrt(2)):
        with pytest.raises(InputError, match=r"^x=.*: must be exact"):
            exact(bad, "x")


def by_inclusion(sizes, t):
    """P(2 w^T a >= t), w uniform on [-1, 1]^n: volume of a corner of the unit cube, by inclusion and exclusion."""
    n, total = len(sizes), Fraction(0)
    top = sum(sizes)
    for chosen in range(2**n):
        # u = (1 - w)/2 lies in [0, 1]: sum a_i u_i <= (sum a_i - t/2) / 2.
        place = (top - Fraction(t) / 2) / 2 - sum(size for i, size in enumerate(sizes) if chosen >> i & 1)
        if place > 0:
            total += (-1) ** chosen.bit_count() * place**n
    return total / math.factorial(n) / math.prod(sizes)


@pytest.mark.parametrize("sizes", [[1], [1, 1], [1, 2], [2, 3, 5], [1, 1, 1, 4], [3, 1, 1, 2, 2]], ids=str)
def test_survival_and_density_against_inclusion_and_exclusion(sizes):
    law, t = gap_law(sizes), Symbol("t", real=True)
    written = law.piecewise(t)
    step = Fraction(1, 10**9)
    assert law.largest == 2 * sum(sizes)
    for twelfth in range(-24 * sum(sizes) - 12, 24 * sum(sizes) + 13, 7):
        place = Fraction(twelfth, 12)
        survival = by_inclusion(sizes, place)
        assert law.survival(place) == survival
        assert written.subs(t, Rational(twelfth, 12)) == survival
        if abs(place) % 2 != 0:  # away from the corners the law is a polynomial
            slope = (by_inclusion(sizes, place - step) - by_inclusion(sizes, place + step)) / (2 * step)
            assert abs(Fraction(int(law.density(place).p), int(law.density(place).q)) - slope) < Fraction(1, 10**7)


@pytest.mark.parametrize("sizes", [[1, 2], [2, 3, 5]], ids=str)
def test_units_and_bounds_are_scales(sizes):
    """A bound that is a root, coefficients over a common denominator: g is the one of integers, times the scale."""
    whole, scale = gap_law(sizes), sqrt(Rational(3, 5)) / 6
    law = gap_law([Rational(size, 6) for size in sizes], sqrt(Rational(3, 5)))
    assert law.unit == 6 // math.gcd(6, *sizes) or law.unit == 6
    for twelfth in range(-20, 60, 9):
        place = Rational(twelfth, 12)
        assert sympy.simplify(law.survival(place * scale) - whole.survival(place)) == 0
        assert sympy.simplify(law.density(place * scale) - whole.density(place) / scale) == 0
    assert sympy.simplify(law.variance - whole.variance * scale**2) == 0
    assert sympy.simplify(law.largest - whole.largest * scale) == 0
    # The variance of a uniform number on [-1, 1] is 1/3.
    assert whole.variance == Rational(4 * sum(size**2 for size in sizes), 3)


def test_density_of_one_uniform_number_is_its_limit_from_within():
    law = gap_law([Rational(3, 2)])
    assert [law.density(t) for t in (-3, 0, 3)] == [Rational(1, 6)] * 3
    assert law.density(Rational(301, 100)) == law.density(-4) == 0


def test_no_coefficient_at_all():
    law, t = gap_law([0, 0]), Symbol("t", real=True)
    assert (law.sizes, law.largest, law.variance) == ((), 0, 0)
    assert [law.survival(place) for place in (-1, 0, 1)] == [1, 1, 0]
    assert [law.piecewise(t).subs(t, place) for place in (-1, 0, 1)] == [1, 1, 0]
    with pytest.raises(InputError, match="has no density"):
        law.density(0)


def test_limits_of_the_law(monkeypatch):
    monkeypatch.setattr(uniform_sums, "SUM_LIMIT", 8)
    assert gap_law([1, 2, 4]).survival(0) == Rational(1, 2)
    with pytest.raises(InputError, match="4 that give more than 8 signed sums"):
        gap_law([1, 2, 4, 8]).survival(0)
    monkeypatch.setattr(uniform_sums, "PIECE_LIMIT", 8)
    assert len(gap_law([1, 2, 4]).piecewise(Symbol("t", real=True)).args) == 9
    monkeypatch.setattr(uniform_sums, "PIECE_LIMIT", 7)
    with pytest.raises(InputError, match="8 pieces: must be at most 7"):
        gap_law([1, 2, 4]).piecewise(Symbol("t", real=True))


@pytest.mark.parametrize(
    "bound", [0, -1, sympy.pi, sympy.I, sqrt(1 + sqrt(2)), sympy.Float(0.5), Symbol("b"), -sqrt(2)]
)
def test_bounds_that_are_refused(bound):
    with pytest.raises(InputError, match=r"^bound=.*must be positive and exact, with a rational square"):
        gap_law([1], bound)


@pytest.mark.parametrize("place", [sympy.pi, 1 + sqrt(2), sympy.I])
def test_places_that_are_refused(place):
    with pytest.raises(InputError, match=r"of gap_law: the square of its ratio to the bound 1 must be rational"):
        gap_law([1, 2]).survival(place)


@pytest.mark.parametrize("p", [Rational(1, 2), Rational(1, 3), Rational(2, 7), Rational(9, 10)])
def test_numbers_of_neurons_at_equality_and_beside_it(p):
    for m in (1, 2, 3, 7, 40):
        failure = (1 - p) ** m
        assert neurons_needed(failure, p) == m
        assert neurons_needed(failure * (1 - Rational(1, 10**40)), p) == m + 1
        assert neurons_needed(failure * (1 + Rational(1, 10**40)), p) == m
        assert existence_probability(p, m) == 1 - failure
    assert neurons_needed(Rational(1, 10**9), 1) == 1
    assert existence_probability(0, 3) == 0
    assert existence_probability(1, 1) == 1


def test_ranges_of_probabilities():
    for bad in (-1, Rational(-1, 10**9), 1 + Rational(1, 10**9), 2):
        with pytest.raises(InputError, match="existence_probability: must lie in"):
            existence_probability(bad, 2)
        with pytest.raises(InputError, match="neurons_needed: must be above 0"):
            neurons_needed(Rational(1, 2), bad)
        with pytest.raises(InputError, match=r"delta=.*neurons_needed: must lie strictly between 0 and 1"):
            neurons_needed(bad, Rational(1, 2))
        with pytest.raises(InputError, match=r"slope=.*selectivity_bound: must lie in"):
            selectivity_bound(0, 1, 1, bad)
    for bad in (0, 1):
        with pytest.raises(InputError, match="strictly between"):
            neurons_needed(bad, Rational(1, 2))
    with pytest.raises(InputError, match="must be above 0"):
        neurons_needed(Rational(1, 2), 0)
    for bad in (0, -1, True, Rational(1, 2), 1.0):
        with pytest.raises(InputError, match="must be a whole number of at least 1"):
            existence_probability(Rational(1, 2), bad)
    with pytest.raises(InputError, match="v=-1 of selectivity_bound"):
        selectivity_bound(0, 1, -1)
    assert selectivity_bound(0, 1, 0) == Rational(1, 2)


def test_digits_of_a_probability(monkeypatch):
    monkeypatch.setattr(lucky, "DIGIT_LIMIT", 3)
    assert existence_probability(Rational(1, 10), 3) == Rational(271, 1000)
    with pytest.raises(InputError, match="m=4 of existence_probability: more than 3 digits"):
        existence_probability(Rational(1, 10), 4)


@pytest.mark.parametrize(
    ("low", "high", "spread"), [(0, 1, 1), (-1, 2, 3), (2, -1, 5), (0, 0, 4), (Rational(1, 2), 3, 0)]
)
@pytest.mark.parametrize("slope", [0, Rational(1, 4), 1])
def test_selectivity_bound_is_its_formula(low, high, spread, slope):
    relu = (max(high, 0) - (low + sqrt(low**2 + spread)) / 2) / 2
    expected = Rational(slope) / 2 * (high - low) + (1 - Rational(slope)) * relu
    assert sympy.simplify(selectivity_bound(low, high, spread, slope) - expected) == 0


# Towers.


def monomials(widths):
    """Entries of each W_l times paths through one of them times paths, twice for two towers, from the definition."""
    paths = math.prod(widths)
    return 2 * sum(a * b * (paths // (a * b)) * paths // widths[-1] for a, b in itertools.pairwise(widths))


@pytest.mark.parametrize("widths", [(1, 1), (2, 3), (3, 2, 2), (2, 2, 2, 5)], ids=str)
def test_terms_of_the_gradients(widths):
    assert network.gradient_terms(widths) == monomials(widths)


def test_sizes_of_towers(monkeypatch):
    terms = network.gradient_terms((2, 2))
    monkeypatch.setattr(network, "TERM_LIMITS", {"linear": terms, "normalized": terms - 1})
    assert network.checked_widths((2, 2)) == (2, 2)
    with pytest.raises(InputError, match="too large to be written out entry by entry for output='normalized'"):
        network.checked_widths((2, 2), "normalized")
    assert network.checked_widths(iter([1, 2])) == (1, 2)


def test_entries_of_a_hidden_layer(monkeypatch):
    monkeypatch.setattr(dynamics, "ENTRY_LIMIT", 4)
    assert theory.derive("two-layer-dynamics", widths=(1, 2, 1)).proved
    with pytest.raises(InputError, match="too large to be written out"):
        theory.derive("two-layer-dynamics", widths=(2, 2, 1))
    for widths in ((1, 2), (1, 1, 1, 1)):
        with pytest.raises(InputError, match="must have three entries, n_0, n_1 and n_2"):
            theory.derive("two-layer-dynamics", widths=widths)


# Normal forms.


def test_powers_and_products_of_normal_forms(monkeypatch):
    x, y = sympy.symbols("x y")

    def zero(expression):
        return not Normaliser([expression]).normal(expression)[0]

    monkeypatch.setattr(normal, "POWER_LIMIT", 3)
    assert zero((x + y) ** 3 - sympy.expand((x + y) ** 3))
    assert not zero((x + 1) ** -3)
    for power in (4, -4):
        with pytest.raises(NotExactError, match="too large for a normal form"):
            zero((x + y) ** power)
    monkeypatch.setattr(normal, "PRODUCT_LIMIT", 4)
    assert zero((x + 1) * (y + 1) - x * y - x - y - 1)
    with pytest.raises(NotExactError, match=r"a product of (2 and 3|3 and 2) terms"):
        zero((x + 1) * (y + x + 1))


# Trees.


def star(leaves):
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.5, 0.5])
    graph.add_edges_from((("r", leaf) for leaf in range(leaves)), polarity=0.5)
    return hltm.HLTM(graph)


def test_configurations_and_entries_of_leaf_tables(monkeypatch):
    tree = star(3)
    monkeypatch.setattr(tree_leaves, "LEAF_LIMIT", 8)
    monkeypatch.setattr(tree_leaves, "ENTRY_LIMIT", 24)
    assert tree_leaves.check_size(tree, tree.nodes, 3, "it") == 8
    assert tree_leaves.check_size(tree, [1, "r"], 5, "it") == 2
    with pytest.raises(
        InputError, match="it with 8 leaf configurations of 4 values: must have at most 24 in all, has 32"
    ):
        tree_leaves.check_size(tree, tree.nodes, 4, "it")
    with pytest.raises(InputError, match="it over 4 leaves: must have at most 8 leaf configurations, has 16"):
        tree_leaves.check_size(star(4), star(4).nodes, 1, "it")


def test_rows_of_operators_in_symbols(monkeypatch):
    symbols = tree_symbols(star(3))
    nodes = ["r", 0, 1, 2]
    # E[f | z_0] of a function of three leaves: 1, rho_i, rho_i rho_j, rho_0 rho_1 rho_2.
    assert tree_leaves.term_bound(symbols, nodes) == 8
    monkeypatch.setattr(tree_leaves, "TERM_LIMIT", 16)
    tree_leaves.check_terms(symbols, {"r": 2}, "it")
    with pytest.raises(InputError, match="it with symbolic tables: must have at most 16 monomials, may have 24"):
        tree_leaves.check_terms(symbols, {"r": 3}, "it")


@pytest.mark.parametrize("place", [0.5, "1", None, True, sympy.Float(0.5), Symbol("q"), Symbol("q", positive=True)])
def test_places_that_are_no_exact_numbers_are_refused(place):
    for function in (gap_law([1, 2]).survival, gap_law([1, 2]).density):
        with pytest.raises(InputError, match=r"^t=.*must be exact: an int, a Fraction or a SymPy Rational"):
            function(place)


def test_probabilities_and_numbers_of_neurons_may_be_symbols():
    p, m = Symbol("p"), Symbol("m", integer=True, positive=True)
    assert existence_probability(p, 2) == 1 - (1 - p) ** 2
    assert existence_probability(Rational(1, 4), m) == 1 - Rational(3, 4) ** m
    low, high, spread, slope = sympy.symbols("low high spread slope", real=True)
    found = selectivity_bound(low, high, spread, slope)
    assert found.free_symbols == {low, high, spread, slope}
    given = {low: 1, high: 3, spread: 8, slope: Rational(1, 2)}
    assert found.subs(given) == selectivity_bound(1, 3, 8, Rational(1, 2))
    for name, arguments in (("m_0", (0.5, 1, 1)), ("m_1", (0, 0.5, 1)), ("v", (0, 1, 0.5)), ("slope", (0, 1, 1, 0.5))):
        with pytest.raises(InputError, match=rf"^{name}=0.5: must be exact"):
            selectivity_bound(*arguments)


# Walsh forms at numbers.


def test_values_of_the_walsh_form():
    tree = star(2)
    operator = theory.walsh_operator(tree, "r", {"r": [[1, 2]]}, 0)
    for root_polarity in (0, Rational(1, 2), 1):
        # One linear layer on two leaves: Cov[E[x_i|z], E[x_j|z]] = (1 - rho_0^2) rho_i rho_j / 4.
        found = operator.evaluate([[1, -1], [Rational(1, 2), 0]], root_polarity)
        share = (1 - float(root_polarity) ** 2) / 4
        assert found.tolist() == [[[share, -share], [-share, share]], [[share / 4, 0], [0, 0]]]
    assert operator.evaluate([[0.5, 0.5]]).tolist() == operator.evaluate([[0.5, 0.5]], tree.root_polarity).tolist()
    assert operator.evaluate(np.zeros((0, 2))).shape[0] == 0
    third = np.array([[1 / 3, 1 / 3]], dtype=np.float32)
    assert operator.evaluate(third).dtype == np.float64
    assert operator.evaluate(third).tolist() == operator.evaluate(third.astype(np.float64)).tolist()
    for rho, root, name in (([[0, 1.5]], 0, "polarities with the value 1.5"), ([[0, -2]], 0, "polarities with the value -2.0"),
                            ([[0, 1]], -1.5, "root_polarity with the value -1.5"), ([[0, np.nan]], 0, "polarities with")):  # fmt: skip
        with pytest.raises(InputError, match=rf"^{name}.*: must lie in \[-1, 1\]"):
            operator.evaluate(rho, root)
    for rho in ([0, 1], [[0]], [[0, 1, 0]]):
        with pytest.raises(InputError, match=r"must have shape \(n, 2\), one an edge"):
            operator.evaluate(rho)


def test_trees_without_a_walsh_form_are_told_why():
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.5, 0.5])
    graph.add_edge("r", "x", transition=[[0.5, 0.5], [0.25, 0.75]])
    with pytest.raises(InputError, match=r"^walsh_operator at node 'x': must have a symmetric table"):
        theory.walsh_operator(hltm.HLTM(graph), "r", {"r": [[1]]})
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.5, 0.5])
    graph.add_node("x", cardinality=3)
    graph.add_edge("r", "x", transition=[[0.5, 0.25, 0.25]] * 2)
    with pytest.raises(InputError, match=r"^walsh_operator at node 'x': must have two states"):
        theory.walsh_operator(hltm.HLTM(graph), "r", {"r": [[1]]})
    with pytest.raises(InputError, match=r"^walsh_operator over 17 leaves: must have at most 65,536"):
        theory.walsh_operator(star(17), "r", {"r": [[1] * 17]})
