"""Claims that a reading must not prove, and decisions that must not be wrong: found by attack, each of one kind."""

import networkx as nx
import pytest
import sympy
from sympy import (
    Abs,
    Eq,
    Equivalent,
    Expr,
    Ge,
    Gt,
    I,
    Integer,
    MatMul,
    Matrix,
    Max,
    Ne,
    Sum,
    Symbol,
    Transpose,
    ZeroMatrix,
)

import hltm
import theory
from hltm.base.errors import InputError
from theory.core.claim import equation
from theory.core.notation import Expect, Rate, SumOver
from theory.core.quantity import MatrixQuantity, quantity, slack_symbol
from theory.towers.weighted import RESIDUE, SPREAD
from theory.two_layer.relations import A_JK, GATED, N2, OTHER_OUT, OTHER_OWN, OUT, OWN, OWN_RATE

x = Symbol("x", real=True)


def read(derived, *relations):
    return derived.decides(derived.claim.replace(relations=relations)).value


def test_of_the_residue_only_the_update_is_derived():
    derived = theory.derive(4)
    update, weight, order = derived.claim.relations
    assert read(derived, update, weight, order) is True
    assert read(derived, update, weight, order, equation(RESIDUE, ZeroMatrix(*RESIDUE.shape))) is not True
    smaller = Eq(update.lhs, update.rhs.xreplace({RESIDUE: SPREAD * RESIDUE}), evaluate=False)
    assert read(derived, smaller, weight, order) is not True
    for number, relation in enumerate((update, weight, order)):
        parts = [update, weight, order]
        parts[number] = Ne(relation.lhs, relation.rhs, evaluate=False)
        assert read(derived, *parts) is not True
    assert read(derived, update, Gt(weight.lhs, weight.rhs, evaluate=False), order) is not True
    assert read(derived, update, Ge(weight.lhs, weight.rhs / 2, evaluate=False), order) is not False
    for power in (1 / SPREAD, sympy.sqrt(SPREAD)):
        assert read(derived, update, weight, Eq(order.lhs, sympy.Order(power), evaluate=False)) is not True


def test_a_symbol_is_defined_once_and_not_by_itself():
    derived = theory.derive(6)
    product, strength, gaps = derived.claim.relations
    first, second = sorted(strength.rhs.free_symbols, key=str)[:2]
    assert read(derived, product, equation(strength.lhs, 7 * strength.rhs), strength, gaps) is not True
    assert read(derived, product, strength, gaps, equation(first, second), equation(second, first)) is not True
    scaled = equation(strength.lhs, strength.rhs.xreplace({first: first / 7}))
    assert read(derived, product, scaled, gaps, equation(first, 7 * first)) is not True
    # The strength has a meaning of its own; another symbol has none that the claim does not give it.
    assert read(derived, product, gaps) is True
    other = product.xreplace({strength.lhs: quantity("strength", "z")})
    assert read(derived, other, gaps) is None
    z = quantity("strength", "z")
    assert read(derived, other, equation(z, z), gaps) is None


def test_the_sum_over_k_stands_once_and_on_one_side():
    derived = theory.derive(5)
    term = A_JK * OTHER_OWN * (Transpose(OUT) * OTHER_OUT)
    rest = derived.claim.relations[1:]
    for wrong in (
        equation(OWN_RATE, SumOver(SumOver(term))),
        equation(2 * OWN_RATE, OWN_RATE + term),
        equation(SumOver(OWN_RATE), SumOver(term)),
        equation(SumOver(term), SumOver(term)),
    ):
        assert read(derived, wrong, *rest) is None
    assert read(derived, equation(2 * OWN_RATE, MatMul(2, SumOver(term))), *rest) is True


def test_an_inner_mean_and_a_side_without_one_are_not_averaged():
    derived = theory.derive(3)
    (step,) = (s for s in derived.steps if s.justification.startswith("identically distributed: x_1, x_+ and x_- have one law")
               and "x_{+}" in str(s.expression))  # fmt: skip
    here, there = (side.args[0] for side in step.expression.args)
    connection, output = here.args
    assert read(derived, equation(Expect(MatMul(Expect(connection), output)), Expect(here))) is None
    assert read(derived, equation(here, there)) is None
    assert read(derived, step.expression) is True


def test_the_rate_of_one_input_is_not_that_of_their_sum():
    derived = theory.derive(5, claim="conserved")
    part = -GATED * (OUT.T * sympy.MatrixSymbol("u", N2, 1))
    assert read(derived, equation(Rate(OWN), part)) is None


def test_bounds_without_a_meaning_are_not_proved():
    derived = theory.derive(7, claim="existence")
    both = derived.claim.relations[2]
    (m,) = (part.lhs for part in both.args if part.lhs.is_integer)
    (lucky,) = (part.lhs for part in both.args if part.lhs != m)
    p = derived.claim.relations[0].lhs
    wrong = Equivalent(
        Ge(lucky, 2, evaluate=False), Ge(m, sympy.log(-1) / sympy.log(1 - p), evaluate=False), evaluate=False
    )
    assert read(derived, *derived.claim.relations[:2], wrong) is not True


def test_a_claim_needs_its_convention_and_its_assumptions():
    derived = theory.derive(3)
    assert derived.decides(derived.claim.replace(convention="one-branch")).value is None
    assert derived.decides(derived.claim.replace(assumptions=())).value is None
    assert derived.decides(derived.claim.replace(assumptions=(*derived.assumptions, "one more"))).value is True


def test_the_limit_is_compared_as_a_number():
    derived = theory.derive(6, claim="depth")
    bound, limit = derived.claim.relations
    zero = (1 + sympy.sqrt(2)) ** 2 - 3 - 2 * sympy.sqrt(2)
    assert read(derived, bound, equation(limit.lhs, zero)) is True


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize(
    "odd",
    [sympy.true, Ne(x, 1), theory.PositiveSemidefinite(Matrix([[-1]])), Symbol("b"), Ge(x, x + 1, evaluate=False)],
)
def test_relations_of_any_kind_end_in_a_decision(number, odd):
    derived = theory.derive(number)
    assert (
        derived.decides(derived.claim.replace(relations=(*derived.claim.relations, odd))).value is not True
        or odd == sympy.true
    )


def test_swapped_connections_end_in_a_decision():
    derived = theory.derive(1, output="normalized")
    roles = {s.role: s for s in derived.claim.quantities if isinstance(s, MatrixQuantity) and ("tower", "1") in s.place}
    swap = {roles["connection"]: roles["backward connection"], roles["backward connection"]: roles["connection"]}
    parts = tuple(r.func(*(side.xreplace(swap) for side in r.args), evaluate=False) for r in derived.claim.relations)
    assert read(derived, *parts) is not True


HIDDEN_ZERO = Abs((x + 1) ** 2 - x**2 - 2 * x - 1)


def test_a_piece_of_zero_leaves_no_case_out():
    assert theory.decide_order(Ge(10**6 - x**2 + HIDDEN_ZERO, 0)).value is not True
    assert theory.decide_equal(Max(x, 1000) + HIDDEN_ZERO, Integer(1000)).value is not True
    both = Max((x + 1) ** 2, x**2 + 2 * x + 1) - (x + 1) ** 2
    assert theory.decide_order(Ge(1000 - x + both, 0)).value is not True
    assert theory.decide_equal(Abs(x) + HIDDEN_ZERO, Abs(x)).value is not False


@pytest.mark.parametrize("entries", [[[1, I], [I, 1]], [[1, I * x], [I * x, 1]], [[1, Symbol("z")], [Symbol("z"), 1]]])
def test_semidefiniteness_is_of_real_matrices(entries):
    assert theory.decide_order(theory.PositiveSemidefinite(Matrix(entries))).value is None


def test_bound_indices_are_not_captured():
    i, captured, n = Symbol("i"), Symbol("k_", integer=True), Symbol("n", integer=True, positive=True)
    left = Sum(1 + Sum(i * captured, (captured, 1, n)), (i, 1, n))
    right = Sum(1 + Sum(captured**2, (captured, 1, n)), (i, 1, n))
    assert theory.decide_equal(left, right).value is not True
    j, half = Symbol("j"), sympy.Rational(1, 2)
    first, second = (Sum(sympy.sin(c * sympy.pi * j), (j, half, 5 * half)) for c in (1, 2))
    assert theory.decide_equal(first, second).value is not True


def test_assumptions_may_leave_one_value():
    assert theory.decide_equal(Symbol("p", even=True, prime=True), Integer(2)).value is not False


def test_what_is_no_expression_is_refused_in_one_line():
    for value in ("x", None, [1]):
        with pytest.raises(InputError, match=r"^side=.*: must be a SymPy expression or matrix$"):
            theory.decide_equal(value, Integer(1))
    matrix = sympy.MatrixSymbol("A", 2, 2)
    for odd in (
        matrix[0:1, 0:1],
        matrix.applyfunc(sympy.sin),
        sympy.FunctionMatrix(2, 2, sympy.Lambda((x, Symbol("y")), x)),
    ):
        assert isinstance(odd, Expr)
        assert theory.decide_equal(odd, 2 * odd).value is not True


def test_nothing_is_proved_of_trees_by_symbols_of_other_trees():
    one = theory.derive(6, tree=hltm.complete_tree(2, 2, polarity=0.5), node=1)
    other = theory.derive(6, tree=hltm.complete_tree(3, 2, polarity=0.5), node=3)
    assert read(one, *other.claim.relations) is not True


# Claims altered from outside: another place, a symbol of the same print, definitions in a ring.


def altered(derivation, *relations):
    return derivation.decides(derivation.claim.replace(relations=relations))


def role(relation, name):
    found = [s for s in relation.atoms(sympy.Symbol, sympy.MatrixSymbol) if getattr(s, "role", "") == name]
    return sorted(found, key=sympy.default_sort_key)


@pytest.mark.parametrize("options", [{}, {"form": "general"}, {"distances": "points"}, {"negatives": 2}], ids=str)
@pytest.mark.parametrize("place", [{"layer": "m"}, {"tower": "2"}], ids=str)
def test_the_mean_connection_of_another_layer_is_not_that_of_the_claim(options, place):
    derived = theory.derive(4, **options)
    first, *others = derived.claim.relations
    for count in (1, 2):
        moved = {
            s: quantity(s.role, s.name, *s.shape, where={**dict(s.place), **place})
            for s in role(first, "mean connection")[:count]
        }
        wrong = first.func(*(side.xreplace(moved) for side in first.args), evaluate=False)
        assert wrong != first
        assert altered(derived, wrong, *others).value is None


@pytest.mark.parametrize(("claim", "name"), [("strength", "u_{1}"), ("strength", "u_{0}"), ("leaky", "u_{1}")])
def test_what_a_derivation_puts_in_cannot_be_named(claim, name):
    derived = theory.derive(7, claim=claim)
    (bound,) = derived.claim.relations
    for named in (Symbol(name, nonnegative=True), slack_symbol(name)):
        more = sympy.Ge(bound.lhs, bound.rhs + named / 2, evaluate=False)
        assert not altered(derived, more)


def test_the_share_of_the_depth_cannot_be_named():
    tree = hltm.complete_tree(2, 2, polarity=0.5)
    derived = theory.derive(6, claim="depth", tree=tree, node=1)
    bound, limit = derived.claim.relations
    (c,) = (s for s in bound.free_symbols if s.name == "c")
    for named in (Symbol("v", nonnegative=True), slack_symbol("v")):
        assert not altered(derived, sympy.Ge(c**2 / (1 + named), bound.rhs, evaluate=False), limit)


def path_of_two():
    graph = nx.DiGraph([("0", "λ"), ("λ", "μ"), ("μ", "a"), ("μ", "b")])
    graph.nodes["0"]["prior"] = [0.5, 0.5]
    for edge in graph.edges:
        graph.edges[edge]["transition"] = [[0.75, 0.25], [0.5, 0.5]]
    return hltm.HLTM(graph)


def test_definitions_are_no_ring_and_no_strength_but_its_own():
    derived = theory.derive(6, tree=path_of_two(), node="μ")
    first, strength, reach, gap = derived.claim.relations
    v, o, a = first.lhs, strength.lhs, gap.lhs
    z, w = quantity("z", "z"), quantity("w", "w")
    full = Eq(v, MatMul(strength.rhs, a, a.T), evaluate=False)
    assert altered(derived, full, reach, gap)
    assert altered(derived, Eq(v, MatMul(z, a, a.T), evaluate=False), Eq(z, o), strength, reach, gap)
    for wrong in (
        (full, Eq(o, 7 * z), Eq(z, o)),
        (full, Eq(o, 7 * strength.rhs), Eq(z, o * w), Eq(w, z / o)),
        (Eq(v, MatMul(-1, o, a, a.T), evaluate=False), Eq(o, -strength.rhs)),
        (Eq(v, MatMul(7, o, a, a.T), evaluate=False), Eq(o, strength.rhs / 7)),
        (Eq(v, MatMul(z, a, a.T), evaluate=False), Eq(z, 7 * o), strength),
    ):
        assert not altered(derived, *wrong, reach, gap)


def test_a_witness_lies_where_the_symbols_do():
    tree = hltm.complete_tree(2, 2, polarity=0.5)
    for options in ({"claim": "operator", "tree": tree, "node": 1}, {"claim": "walsh"}, {"claim": "losses"}):
        derived = theory.derive(6, **options)
        (relation, *_) = derived.claim.relations
        polarities = [s for s in relation.free_symbols if s.name.startswith((r"\rho", r"\xi"))]
        assert polarities
        for symbol in polarities:
            inside = sympy.Ge(1 - symbol**2, 0, evaluate=False)
            assert altered(derived, *derived.claim.relations, inside).value is not False
            outside = sympy.Ge(symbol**2 - 1, 0, evaluate=False)
            assert altered(derived, outside).value is False
    decoupled = theory.derive(5, claim="decoupled")
    (block,) = role(decoupled.claim.relations[0], "gated covariance")
    for true in (Eq(block, block.T, evaluate=False), theory.PositiveSemidefinite(block)):
        assert altered(decoupled, *decoupled.claim.relations, true).value is not False
    existence = theory.derive(7, claim="existence")
    tail, lucky, number = existence.claim.relations
    (m,) = (s for s in lucky.rhs.free_symbols if s.name == "m")
    for right in (1 - sympy.Abs(1 - tail.lhs) ** m, 1 - sympy.Max(1 - tail.lhs, 0) ** m):
        assert altered(existence, tail, Eq(lucky.lhs, right, evaluate=False), number).value is not False
    assert altered(existence, tail, Eq(lucky.lhs, lucky.rhs.xreplace({tail.lhs: tail.rhs}), evaluate=False), number)


def test_the_entries_of_a_law_sum_to_one():
    graph = nx.DiGraph([("0", "μ"), ("μ", "a"), ("μ", "b")])
    for node in graph:
        graph.nodes[node]["cardinality"] = 3
    graph.nodes["0"]["prior"] = [0.5, 0.25, 0.25]
    for edge in graph.edges:
        graph.edges[edge]["transition"] = [[0.5, 0.25, 0.25]] * 3
    derived = theory.derive(6, tree=hltm.HLTM(graph), node="μ")
    assert derived.proved
    first, rank = derived.claim.relations
    (kernel,), (path,) = role(first, "kernel"), role(first, "path table")
    ones = sympy.ones(3, 1)
    assert altered(derived, first, rank, Eq(kernel * ones, sympy.zeros(3, 1), evaluate=False))
    assert altered(derived, first, rank, Eq(path * ones, ones, evaluate=False))
    assert altered(derived, first, rank, Eq(path * ones, 2 * ones, evaluate=False)).value is False


def test_a_false_step_refutes_no_other_claim():
    derived = theory.derive(5, drop="homogeneity")
    assert derived.decision.value is False
    found = altered(derived, Eq(sympy.S.Zero, sympy.S.Zero, evaluate=False))
    assert (found.value, found.method) == (None, "abstained")
