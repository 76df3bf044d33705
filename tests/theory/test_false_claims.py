"""What a derivation does with a claim that is false, or that nothing decides: the step says so, and what is left is shown."""

import re

import numpy as np
import pytest
import sympy
from sympy import Function, Rational, Symbol, exp

import hltm
import theory
from theory.core import equality
from theory.core.decide import ABSTAINED, ASSUMPTIONS, POINT, POLYNOMIAL, SIMPLIFY, decide_positive, decide_zero
from theory.core.derivation import zero_step
from theory.core.equality import check_identity
from theory.core.notation import H, Vec, dimension, k, matrix, negative, r, r_p, tau
from theory.losses.loss import loss_of
from theory.towers import dual_gradient
from theory.towers.weighted import _linear_in, _nonzero, first_order_example
from theory.trees import derivations
from theory.trees.derivations import decide_nonnegative
from theory.trees.operator import covariance_operator
from theory.two_layer import ring

n, m = dimension("n"), dimension("m")
A, B = matrix("A", n, m), matrix("B", n, m)
u, v = Symbol("u", nonnegative=True), Symbol("v", positive=True)
x = Symbol("x", real=True)


def test_a_term_too_many_on_either_side_is_refuted():
    for left, right in ((A + B, A), (A, A + B), (A - B, A), (B, A)):
        decision = check_identity(left, right)
        assert (decision.value, decision.method) == (False, POINT)
        assert decision.detail.startswith("at ")


def test_an_instance_and_the_normal_form_have_to_agree(monkeypatch):
    """Equal forms that an instance refutes prove nothing; forms that differ where no instance refutes neither."""
    monkeypatch.setattr(equality, "refuting_instance", lambda *_: ("at n = 2", 1))
    found = check_identity(A + B, B + A)
    assert (found.value, found.method, found.detail) == (
        None,
        ABSTAINED,
        "a proof (index notation, 2 monomials) and an instance disagree: at n = 2",
    )
    assert check_identity(A + B, A).value is False
    monkeypatch.setattr(equality, "refuting_instance", lambda *_: (None, 4))
    assert check_identity(A + B, B + A).value is True
    open_ = check_identity(A + B, A)
    assert (open_.value, open_.method) == (None, ABSTAINED)
    assert open_.detail.strip()


@pytest.mark.parametrize("output", ["linear", "normalized"])
def test_a_false_claim_of_statement_1_leaves_its_residual(monkeypatch, output):
    plain = dual_gradient._claim

    def doubled(*args):
        grad, right, given = plain(*args)
        return grad, 2 * right, given

    first, second = dual_gradient.side("1"), dual_gradient.side("2")
    grad, right, _ = plain(first, second, output)
    monkeypatch.setattr(dual_gradient, "_claim", doubled)
    found = dual_gradient.derive_all_sizes(output)
    assert found.decision.value is False
    assert not found.proved
    assert found.residual == Vec(grad) - 2 * right


def test_a_ring_pattern_with_another_mean_is_seen(monkeypatch):
    for patterns in (((0,), (0, 2)), ((0, 1), (0,))):
        monkeypatch.setattr(ring, "PATTERNS", patterns)
        steps = [s for s in ring.ring_steps() if "every position" in s.justification]
        assert len(steps) == 5
        assert all(step.decision.value is False for step in steps)


def test_without_coinciding_means_the_operator_is_left():
    found = theory.derive("two-layer-dynamics", drop="coinciding-means")
    assert found.decision.value is False
    share = 1 / (1 + Symbol("o", positive=True))
    size = dimension("0")
    gap = matrix(r"\bar{x}", size, 1) - matrix(r"\bar{x}'", size, 1)
    assert found.residual == share * (1 - share) * gap * gap.T
    assert found.residual.shape == (size, size)


def test_minors_with_rows_below_the_first_are_looked_at(monkeypatch):
    """A claim of rank two is no claim of rank one."""
    tree = hltm.star_tree(3, polarity=0.5)
    a, b = sympy.symbols("a b", real=True)
    for claim in (sympy.diag(a, b, 0), sympy.diag(a, 0, b), sympy.Matrix([[a, a, a], [a, a, a], [a, b, a]])):
        monkeypatch.setattr(derivations, "activation_covariance", lambda *_, c=claim: sympy.ImmutableDenseMatrix(c))
        steps = theory.derive(6, tree=tree, node=0).steps
        (rank,) = (step for step in steps if step.justification.startswith("rank one at most"))
        assert rank.decision.value is False
    monkeypatch.undo()
    assert all(step.proved for step in theory.derive(6, tree=tree, node=0).steps)


def names(expression):
    return {str(s) for s in expression.atoms(sympy.MatrixSymbol)}


def test_siblings_add_a_term_to_the_update():
    chain = hltm.complete_tree(depth=3, branching=1, polarity=0.5)
    fork = hltm.complete_tree(depth=2, branching=2, polarity=0.5)
    for tree, node, whole in ((chain, 0, True), (chain, 2, True), (fork, 0, True), (fork, 1, False)):
        found = theory.derive(6, tree=tree, node=node, claim="update")
        assert found.proved
        assert ("every leaf is below this node" in found.statement.text) is whole
        claimed = names(found.statement.expression)
        cut = {name for name in claimed if name.startswith("W_")}
        assert sum("Cov" in name for name in claimed) == 1 + len(cut)
        assert len(cut) == (1 if whole else 2)
        assert (r"W_{\nu}" in cut) is not whole


def test_the_categorical_form_says_what_it_claims(brute_network):
    tree, _, _ = brute_network("caterpillar", "categorical", 0, 3)
    found = theory.derive(6, tree=tree, node=tree.latents[-1], claim="activation")
    assert found.proved
    assert found.statement.text.endswith("T_{0mu} F, of rank at most m_0 - 1")
    assert found.assumptions[-1] == "finitely many states"


@pytest.mark.parametrize(
    ("value", "decided", "words"),
    [(v, True, "positive"), (-v, True, "negative"), (1 + u, True, "positive"), (sympy.Integer(0), False, None),
     (v - 1, None, None), (x**2 - x + 1, None, None)],
)  # fmt: skip
def test_a_value_is_not_zero_by_its_sign(value, decided, words):
    step = _nonzero(value, "the example")
    assert step.decision.value is decided
    assert isinstance(step.expression, sympy.Ne)
    assert (step.expression.lhs, step.expression.rhs) == (value, 0)
    if decided:
        assert step.justification == f"the example: {words}, so it does not vanish"
    else:
        assert step.justification.startswith("the example")
        assert step.decision.method == (POLYNOMIAL if decided is False else ABSTAINED)
        assert step.decision.detail == ("the value is 0" if decided is False else "the sign was not decided")


def test_examples_of_first_order():
    """A loss of a user with one negative has one; several negatives of a loss that is no known one have none."""
    own = first_order_example(loss_of("exp(r_p - r_1)"))
    assert own.proved
    assert own.expression.lhs.is_number
    assert own.justification.startswith("d theta/ds at s = 0 in an exact example: f = K = x")
    known = first_order_example(loss_of("infonce", 3))
    assert known.expression == first_order_example(loss_of("infonce", 1)).expression
    several = first_order_example(loss_of("exp(r_p - r_1) + exp(r_p - r_2)"))
    assert (several.decision.value, several.decision.method) == (None, ABSTAINED)
    assert "several negatives" in several.decision.detail
    assert isinstance(several.expression, sympy.Ne)
    assert several.expression.rhs == 0
    assert str(several.expression.lhs) == r"\frac{d\theta}{ds}"


def test_what_is_linear_in_the_slopes():
    a, b, q = sympy.symbols("a b q", real=True)
    assert _linear_in(a * exp(x) + 2 * b, {a, b}, q).value is True
    assert _linear_in(a * b, {a, b}, q).value is False
    assert _linear_in(a + 1, {a, b}, q).value is False
    assert _linear_in(a * x, {a, b}, q).value is True
    entered = _linear_in(a * q, {a, b}, q)
    assert (entered.value, entered.method, entered.detail) == (None, ABSTAINED, "q enters")


def test_a_loss_in_r_k_is_written_out_for_the_number_that_is_given():
    terms = tau * sympy.log(1 + sympy.Sum(exp((r_p - r[k]) / tau), (k, 1, H)))
    for count in (1, 3):
        found = loss_of(terms, count)
        assert found.negatives == tuple(negative(number) for number in range(1, count + 1))
        written = tau * sympy.log(1 + sum(exp((r_p - s) / tau) for s in found.negatives))
        assert decide_zero(found.expression - written).value is True
        assert not found.symbolic
    assert loss_of(terms).symbolic
    assert loss_of(terms).expression == terms


def test_decisions_by_assumptions_say_so():
    known = Function("F", nonzero=True, real=True)(x)
    decision = decide_zero(known)
    assert (decision.value, decision.method, decision.detail) == (False, ASSUMPTIONS, "is_zero of the expression")
    vanishing = Function("F", zero=True)(x)
    decision = decide_zero(vanishing)
    assert decision.value is True
    assert decision.method in (POLYNOMIAL, ASSUMPTIONS)
    assert decide_zero(sympy.sin(x) ** 2 + sympy.cos(x) ** 2 - 1).method == SIMPLIFY


def test_signs_of_double_sums_are_not_taken_for_those_of_single_ones():
    j = Symbol("j", integer=True, positive=True)
    twice = sympy.Sum(exp(-r[k]), (k, 1, H), (j, 1, H))
    assert decide_positive(1 / (1 + sympy.Sum(exp(-r[k]), (k, 1, H)))).value is True
    assert decide_positive(twice).value is not False


def test_polynomials_of_free_sign_are_not_called_nonnegative():
    assert decide_nonnegative(u * v + u**2).value is True
    assert decide_nonnegative(u - v).value is None
    assert decide_nonnegative((u - v) ** 2).value is None
    assert zero_step(u, 2 * u, "why").decision.value is False


@pytest.mark.parametrize("gate", [Rational(1, 3), Rational(-5, 2)])
def test_gates_of_linear_operators_multiply(brute_network, gate):
    """A linear tree below the root with gates g at a node is one whose weights there are multiplied by g."""
    tree, weights, _ = brute_network("caterpillar", "categorical", 1, 6)
    scaled = {key: [list(row) for row in rows] for key, rows in weights.items()}
    scaled["b"] = [[gate * Rational(*w.as_integer_ratio()) for w in row] for row in weights["b"]]
    gates = {"a": [1, 1], "b": [gate, gate]}
    for node in ("r", "a"):
        left = covariance_operator(tree, node, weights, 0, gates=gates, numbers=True)
        right = covariance_operator(tree, node, scaled, 1, numbers=True)
        assert left == right
        assert any(entry != 0 for entry in left)


def test_numbers_and_symbols_of_an_operator(brute_network):
    """Without `numbers` the polarities stay symbols, and the values put in give the numbers."""
    tree, weights, _ = brute_network("star", "general", 0, 2)
    shown = theory.covariance_operator(tree, "r", weights)
    numbers = theory.covariance_operator(tree, "r", weights, numbers=True)
    assert shown.free_symbols
    assert not numbers.free_symbols
    assert shown.xreplace(theory.parameter_values(tree)) == numbers
    # Without a slope the units are those of ReLU.
    assert numbers == theory.covariance_operator(tree, "r", weights, 0, numbers=True)
    deep, weights, _ = brute_network("caterpillar", "general", 0, 2)
    found = [theory.covariance_operator(deep, "a", weights, *slope, numbers=True) for slope in ((), (0,), (1,))]
    assert found[0] == found[1] != found[2]


def test_text_of_sizes_that_are_refused(monkeypatch, brute_network):
    tree, weights, _ = brute_network("caterpillar", "general", 0, 2)
    monkeypatch.setattr("theory.trees.means.ENTRY_LIMIT", 1)
    for node in ("r", "a", "b"):
        with pytest.raises(hltm.InputError) as caught:
            theory.covariance_operator(tree, node, weights)
        assert re.search("covariance_operator|conditional means", str(caught.value))
        assert "None" not in str(caught.value)
        assert np.isfinite(len(str(caught.value)))
