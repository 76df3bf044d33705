"""Steps, verdicts and what a check says: both sides as they were given, the method, the instance that refutes."""

import re

import pytest
import sympy
from sympy import Eq, Gt, Matrix, MatrixSymbol, Symbol, ZeroMatrix, preorder_traversal

from theory.core.claim import Claim
from theory.core.decide import ABSTAINED, ASSUMPTIONS, POINT, POLYNOMIAL, Decision
from theory.core.derivation import Derivation, Step, equation, positive_step, zero_step
from theory.core.equality import check_identity
from theory.core.expectation import CONSTANT, GIVEN, Law, Letter, Moment, decide_moment, expect, letter
from theory.core.instances import refuting_instance
from theory.core.notation import dimension, matrix
from theory.towers.moment_steps import SHAPES, WEIGHT, factored, shown

x, y = sympy.symbols("x y", real=True)
t = Symbol("t", positive=True)


def test_equations_stay_as_they_are_written():
    for left, right in ((x, x), (x + x, 2 * x), (sympy.Integer(1), sympy.Integer(2))):
        found = equation(left, right)
        assert isinstance(found, Eq)
        assert (found.lhs, found.rhs) == (left, right)
    step = zero_step((x + y) ** 2, x**2 + 2 * x * y + y**2, "the binomial")
    assert (step.expression.lhs, step.expression.rhs) == ((x + y) ** 2, x**2 + 2 * x * y + y**2)
    assert step.proved
    assert step.justification == "the binomial"
    wrong = zero_step(x, 2 * x, "nothing")
    assert wrong.decision.value is False
    assert not wrong.proved


def test_signs_are_shown_of_a_symbol_and_decided_on_its_value():
    """Shown of a symbol whose sign SymPy knows, so that an evaluated relation would be true and nothing else."""
    name = Symbol("s", positive=True)
    step = positive_step(1 + t, name, "why")
    assert isinstance(step.expression, Gt)
    assert (step.expression.lhs, step.expression.rhs) == (name, 0)
    assert (step.decision.value, step.decision.method, step.justification) == (True, ASSUMPTIONS, "why")
    assert positive_step(-(1 + t), name, "why").decision.value is False


def test_a_claim_is_decided_as_it_is_read_unless_a_step_fails():
    yes, other = Decision(True, POLYNOMIAL, "own"), Decision(True, ASSUMPTIONS, "of a step")
    no, open_ = Decision(False, POINT, "refuted"), Decision(None, ABSTAINED, "open")

    def steps(*decisions):
        return [Step(equation(x, x), "why", decision) for decision in decisions]

    def verdict(steps, found):
        return Derivation("a", Claim("b", (equation(x, x),)), tuple(steps), None, lambda claim: found).decision

    assert verdict(steps(other, other), yes) is yes
    assert verdict([], yes) is yes
    assert verdict(steps(other, open_), yes) is open_
    assert verdict(steps(other, open_, no), yes) is no
    assert verdict(steps(no), open_) is no
    assert verdict(steps(other), open_) is open_
    assert verdict(steps(other), no) is no


# Letters: name, point, copy, and how they are shown.
PLACES = {
    ("K", "x", "1"): "K_{l}(x_{1})", ("f", "x", "2"): "f_{L}(x_{+})", ("Kbar", "x", GIVEN): r"\bar{K}_{l}(x)",
    ("fbar", "y", GIVEN): r"\bar{f}_{L}(y)", ("K", "x'", "1"): "K_{l}(x_{-})", ("fbar", "x'", GIVEN): r"\bar{f}_{L}(x')",
    ("f", "x_k", "1"): "f_{L}(x_{k-})", ("f", "x_j", "1"): "f_{L}(x_{j-})", ("fbar", "x_k", GIVEN): r"\bar{f}_{L}(x'_{k})",
    ("fbar", "x_j", GIVEN): r"\bar{f}_{L}(x'_{j})", ("kappa", "x", "1"): r"\kappa_{l}(x_{1})", ("phi", "x", "2"): r"\varphi(x_{+})",
    ("b", "x", GIVEN): "b(x)", ("K0", "x", GIVEN): "K_{l}(x)", ("f0", "x", GIVEN): "f_{L}(x)", ("K", "p0", "a0"): "K_{l}(x_{1})",
    ("K", "p1", "a1"): "K_{l}(x'_{2})", ("K", "p2", GIVEN): "K_{l}(x'')", ("K", "p3", GIVEN): "K_{l}(x''')",
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_how_letters_are_shown(place):
    found = shown(letter(*place))
    assert [part.name for part in preorder_traversal(found) if isinstance(part, MatrixSymbol)] == [PLACES[place]]
    size = (dimension("l") * dimension("l-1"), dimension("L"))
    wide = place[0] in ("K", "Kbar", "K0", "kappa")
    assert found.shape == (size if wide else (size[1], 1))
    turned = shown(letter(*place).transposed())
    assert turned.shape == found.shape[::-1]
    assert SHAPES[place[0]] == ((2, 2) if wide else (2, 1))


def names(expression):
    return {part.name for part in preorder_traversal(expression) if isinstance(part, MatrixSymbol | Symbol)}


def test_how_products_and_scalars_are_shown():
    inner = (letter("fbar", "x").transposed() * letter("phi", "x_k", "1")).as_scalar()
    found = shown(inner * letter("Kbar", "x") * letter("f", "x", "1"))
    assert r"\langle \bar{f}_{L}(x), \varphi(x_{k-}) \rangle" in names(found)
    assert {r"\bar{K}_{l}(x)", "f_{L}(x_{1})"} <= names(found)
    weight = Moment.of(Letter(r"\xi", (("x", GIVEN), ("x_k", GIVEN)))).as_scalar()
    (symbol,) = (part for part in shown(weight * letter("fbar", "x")).atoms(Symbol) if "xi" in part.name)
    assert symbol.name == r"\xi(x, x'_{k})"
    assert symbol.is_real
    nothing = shown(letter("K", "x", "1") - letter("K", "x", "1"))
    assert nothing == ZeroMatrix(*nothing.shape)
    both = shown(letter("f", "x", "1") - letter("f", "x", "2").scaled(3))
    assert names(both) >= {"f_{L}(x_{1})", "f_{L}(x_{+})"}
    assert both.has(sympy.Integer(-3))
    apart = factored(sympy.Rational(1, 2), letter("Kbar", "x") - letter("Kbar", "x'"), letter("fbar", "x"))
    assert apart.has(sympy.Rational(1, 2))
    assert names(apart) >= {r"\bar{K}_{l}(x)", r"\bar{K}_{l}(x')", r"\bar{f}_{L}(x)"}
    assert WEIGHT.args[0].name == "W_{l}"
    assert CONSTANT in SHAPES


# Checks of identities.

n, m = dimension("n"), dimension("m")
A, B, C = matrix("A", n, m), matrix("B", m, n), matrix("C", n, n)


def test_what_a_check_of_an_identity_says():
    proved = check_identity((A * B).T, B.T * A.T)
    assert (proved.value, proved.method) == (True, POLYNOMIAL)
    assert proved.detail.startswith("index notation, 1 monomials; agrees at ")
    refuted = check_identity(C * C.T, C.T * C)
    assert (refuted.value, refuted.method) == (False, POINT)
    assert refuted.detail == refuting_instance(C * C.T, C.T * C)[0]
    assert refuted.detail == "at n_{n} = 2, C = [[0, 0], [1, 0]]: left = [[0, 0], [0, 1]], right = [[1, 0], [0, 0]]"


def test_instances_of_several_sizes_are_named():
    found, _ = refuting_instance(A * B * A, 2 * A * B * A)
    assert re.match(r"at n_\{m\} = \d, n_\{n\} = \d, A = ", found)
    assert refuting_instance(A * B, A * B)[0] is None
    assert refuting_instance(sympy.MatMul(3, A), sympy.MatMul(2, A))[0] is not None


def test_sides_of_different_shapes_are_refuted_by_sizes():
    """At equal sizes a transposed rectangle would go unnoticed."""
    found = check_identity(A, matrix("B", m, n))
    assert (found.value, found.method) == (False, POINT)
    assert found.detail == "at n_{m} = 2, n_{n} = 3: left is 3 x 2, right is 2 x 3"


# Moments.

LAW = Law(means={"K": "Kbar", "f": "fbar"})


def test_what_a_check_of_a_moment_says():
    same = letter("K", "x", "1") * letter("f", "x", "2") - letter("Kbar", "x") * letter("fbar", "x")
    proved = decide_moment(same, expect(same, LAW), LAW, SHAPES)
    assert (proved.value, proved.method) == (True, POLYNOMIAL)
    other = letter("K", "x", "1") * letter("f", "x", "1") - letter("Kbar", "x") * letter("fbar", "x")
    refuted = decide_moment(other, expect(other, LAW), LAW, SHAPES)
    assert (refuted.value, refuted.method) == (False, POINT)
    assert re.search(
        r"population of \d points and \d augmentations each \(seed \d\): left - right = \(.+\)", refuted.detail
    )
    # A normal form that claims more, or less, than the instances bear out decides nothing.
    left = decide_moment(same, expect(other, LAW), LAW, SHAPES)
    assert (left.value, left.method) == (None, ABSTAINED)
    assert left.detail == f"{len(expect(other, LAW).terms)} moments remain and no instance refutes"
    against = decide_moment(other, expect(same, LAW), LAW, SHAPES)
    assert (against.value, against.method) == (None, ABSTAINED)
    assert against.detail.startswith("the moment algebra and an instance disagree: population of")
    halves = same.scaled(sympy.Rational(1, 2))
    assert decide_moment(halves, expect(halves, LAW), LAW, SHAPES).value is True
    assert decide_moment(other.scaled(sympy.Rational(1, 2)), expect(other, LAW), LAW, SHAPES).value is False


def test_values_of_coefficients_in_populations():
    """A third of a difference that is not zero is a third of its value."""

    def value(moment):
        detail = decide_moment(moment, expect(moment, LAW), LAW, SHAPES).detail
        return Matrix([sympy.Rational(part) for part in re.search(r"\((-?[\d/]+.*)\)$", detail)[1].split(", ")])

    whole = letter("K", "x", "1") * letter("f", "x", "1") - letter("Kbar", "x") * letter("fbar", "x")
    assert value(whole.scaled(sympy.Rational(1, 3))) * 3 == value(whole)
