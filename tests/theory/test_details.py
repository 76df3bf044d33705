"""Boundaries, places and words that decide something: of the parser, of slopes, of normal forms, of what is shown."""

import re

import numpy as np
import pytest
import sympy
from lark.exceptions import UnexpectedEOF
from sympy import Function, Rational, Symbol, exp, sin, sqrt

import theory
from hltm.base.errors import InputError
from theory.core import normal
from theory.core.decide import decide_zero
from theory.core.expectation import CONSTANT, GIVEN, Letter, Moment, expect, letter
from theory.core.normal import Normaliser
from theory.core.notation import Vec, matrix, negative, plain, r_0, r_p, tau
from theory.latex import render
from theory.losses import signs as slopes
from theory.losses.family import pair_weights, weight_at
from theory.losses.grammar import KNOWN, check_syntax, unexpected
from theory.losses.loss import derivative, loss_of
from theory.losses.parse import parse_loss
from theory.losses.signs import decide_slope, sign_decisions
from theory.registry import PACKS, STATEMENTS
from theory.towers.covariance import derive_covariance, law_without
from theory.towers.dual_gradient import derive_all_sizes
from theory.towers.moment_steps import with_homogeneity
from theory.trees import walsh
from theory.two_layer.dynamics import population

x, y, u = sympy.symbols("x y u", real=True)


@pytest.mark.parametrize("text", ["r_p - r_64", "max(exp(tau), log(r_0), sqrt(2))", "1.5e3*r_1^2/(tau + 1)", "--r_p"])
def test_the_grammar_accepts_every_known_name(text):
    assert check_syntax(text) is None


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [("r_65 - r_p", "r_65", 1), ("r_p - Tau", "Tau", 7), ("sin(r_p)", "sin", 1), ("r_p + r_00", "r_00", 7), ("r_p*(tau_ + 1)", "tau_", 6)],
)  # fmt: skip
def test_the_grammar_names_the_first_unknown_name(text, what, place):
    known = KNOWN
    for reader in (check_syntax, parse_loss):
        with pytest.raises(InputError, match=re.escape(f"'{what}' at character {place} of loss {text!r}: {known}")):
            reader(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [(") - r_p", "')' at character 1 of loss ') - r_p': a number, a symbol, a function or '(' is needed here"),
     ("r_p) - 1", "')' at character 4 of loss 'r_p) - 1': the expression should end here"),
     ("(r_p", "'end of text' at character 5 of loss '(r_p': ')' is needed here"),
     ("r_p -", "'end of text' at character 6 of loss 'r_p -': a number, a symbol, a function or '(' is needed here"),
     ("$", "'$' at character 1 of loss '$': is not part of the grammar of a loss"),
     ("r_p $", "'$' at character 5 of loss 'r_p $': is not part of the grammar of a loss"),
     ("r_p r_1", "'r_1' at character 5 of loss 'r_p r_1': the expression should end here"),
     ("(r_p r_1)", "'r_1' at character 6 of loss '(r_p r_1)': ')' is needed here")],
)  # fmt: skip
def test_a_place_out_of_the_grammar(text, message):
    for reader in (check_syntax, parse_loss):
        with pytest.raises(InputError) as caught:
            reader(text)
        assert str(caught.value) == message


def test_a_text_that_ends_too_early():
    found = unexpected("r_p -", UnexpectedEOF(["NUMBER"]))
    assert str(found) == "'end of text' at character 6 of loss 'r_p -': the expression is not complete"


@pytest.mark.parametrize(
    ("text", "what", "place", "rule"),
    [("1 + " + "(" * 41 + "r_p" + ")" * 41, "(", 6, "at most 40 levels of nesting are allowed"),
     (f"r_p^{2**98}", "exponent", 5, "an exponent must be a number of size at most 16"),
     (f"r_p^{2**98 - 1}", str(2**98 - 1), 5, "an exponent must be a number of size at most 16"),
     ("r_p^(1e30*1e30)", "exponent", 5, "an exponent must be a number of size at most 16"),
     ("r_p^r_1", "r_1", 5, "an exponent must be a number of size at most 16"),
     ("r_p^(1/17)", "1/17", 5, "an exponent must be a number of size at most 16"),
     ("(r_1 - r_1)^-1", "0", 13, "division by zero"), ("r_p/0", "/", 5, "division by zero"),
     ("((r_p^16)^2)^3", "3", 14, "nested exponents may multiply to at most 64"),
     ("exp(r_p, r_1)", "exp", 1, "takes one argument"), ("1 + log(1 - 1)", "log", 5, "the logarithm of zero is not defined"),
     ("tau(2)", "tau", 1, "is a symbol and takes no argument"), ("exp + 1", "exp", 1, "'(' is needed after a function"),
     ("exp(exp(r_p))", "exp", 1, "an exponential in the exponent is not supported"),
     ("exp(log(r_p))", "exp", 1, "a logarithm in the exponent is not supported"),
     ("1e31*r_p", "1e31", 1, "a number may have at most 30 digits"), ("max(sqrt(-2), r_p)", "max", 1, "the arguments must be real"),
     ("sqrt(-1 - tau)", "sqrt(-1 - tau)", 1, "must be a finite real expression"), ("log(-1 - tau)", "log(-1 - tau)", 1, "must be a finite real expression")],
)  # fmt: skip
def test_what_is_beyond_the_limits_of_the_parser(text, what, place, rule):
    with pytest.raises(InputError) as caught:
        parse_loss(text)
    message = str(caught.value)
    found = re.fullmatch(r"'(.*?)' at character (\d+) of loss '.*': (.*)", message)
    assert found, message
    assert found[3] == rule
    assert found[1] == what
    if what not in ("(", "exponent", "1/17", "0", str(2**98), str(2**98 - 1), "3"):
        assert int(found[2]) == place
    assert 1 <= int(found[2]) <= len(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0^(1/2) + r_p", r_p), ("0^2 + tau", tau), ("((2^2 + r_p)^16)^4", (4 + r_p) ** 64), ("r_p^16", r_p**16), ("r_p^(1/16)", r_p ** Rational(1, 16)),
     ("max(r_p, r_0)", sympy.Max(r_p, r_0)), ("r_p/r_1/2", r_p / negative(1) / 2)],
)  # fmt: skip
def test_what_is_within_the_limits(text, value):
    assert parse_loss(text) == value


@pytest.mark.parametrize("text", ["r_p", "r_1", "tau", "r_0"])
def test_a_single_symbol_is_an_expression_and_no_name(text):
    assert loss_of(text).expression == parse_loss(text)


@pytest.mark.parametrize(
    "text", ["log(r_p) - r_1 - r_2", "r_p^2*log(r_p) - r_1 - r_2", "sqrt(r_p) - r_1 + r_2*log(r_p)"]
)
def test_weights_that_do_not_exist_where_a_pair_coincides(text):
    """A slope that is infinite there, one that is 0 times infinite, one of a negative."""
    with pytest.raises(InputError, match=re.escape(f"loss {text!r}: its derivative does not exist at r_+ = 0")):
        _weights(text)


def _weights(text):
    described = loss_of(text)
    return [weight_at(described, derivative(described.expression, d)) for d in (r_p, *described.negatives)]


def test_weights_of_a_loss_are_named_after_it():
    text = "r_p - r_1*(1 + log(r_p)) - r_2"
    with pytest.raises(InputError, match=re.escape(f"loss {text!r}: its derivative does not exist")):
        pair_weights(text, 2)
    assert pair_weights("r_p - r_1/3 - 2*r_2/3", 2) == (Rational(1, 3), Rational(2, 3))


# Normal forms.


def test_exponentials_follow_the_sign_that_occurs():
    for follow, wanted in ((True, exp(-x)), (False, exp(x))):
        found = Normaliser([exp(-x) + 1], follow_signs=follow)
        assert [found.value_of(key) for key in found.keys] == [wanted]
    both = Normaliser([exp(-x) + exp(x)])
    assert [both.value_of(key) for key in both.keys] == [exp(x)]


@pytest.mark.parametrize("function", [sin, Function("F"), sympy.Abs])
def test_a_float_inside_a_function_is_not_exact(function):
    decision = decide_zero(function(sympy.Float("0.5") * x + 1) - function(x / 2 + 1))
    assert decision.value is None
    assert "not exact" in decision.detail or "is not an exact number" in decision.detail


def test_common_divisors_are_taken_up_to_a_limit(monkeypatch):
    """(x + 1)(x + 2)/((x + 1)(x + 3)) multiplied out: 1 generator, 3 and 3 terms."""
    expression = (x**2 + 3 * x + 2) / (x**2 + 4 * x + 3)
    for limit, top in ((6, x + 2), (5, x**2 + 3 * x + 2)):
        monkeypatch.setattr(normal, "GCD_LIMIT", limit)
        found = Normaliser([expression])
        assert sympy.expand(found.expression(found.cancelled(expression)[0]) - top) == 0


# Slopes.


def test_slopes_in_a_function_without_a_known_range_are_not_decided():
    assert decide_slope(2 + 3 * sin(u)).value is None
    assert decide_slope(5 + 3 * sin(u) + 0 * u).value is None
    assert decide_slope(2 + 3 * exp(u)).value is True


def test_slopes_that_are_not_exact_say_so():
    decision = decide_slope(sympy.Float("0.5") * u + u**2)
    assert decision.value is None
    assert decision.detail == "0.500000000000000 is not an exact number"


def test_slopes_of_many_terms_are_left_alone(monkeypatch):
    monkeypatch.setattr(slopes, "_TERMS", 3)
    assert decide_slope(1 + u + u**2).value is True
    monkeypatch.setattr(slopes, "_TERMS", 2)
    assert decide_slope(1 + u + u**2).value is None


# What is shown and said.


def test_options_that_are_left_out():
    assert derive_all_sizes() == derive_all_sizes("linear")
    assert derive_all_sizes() != derive_all_sizes("normalized")
    assert derive_all_sizes().statement.text.endswith("linear output")


@pytest.mark.parametrize("form", ["operator", "general"])
@pytest.mark.parametrize("convention", ["shared", "one-branch"])
def test_reasons_of_statement_3_are_those_of_the_convention_and_the_form(convention, form):
    steps = derive_covariance(convention, form).steps
    ends = {"operator": "definition of the variance V_x", "general": "definition of the covariance Cov_x"}
    assert steps[-1].justification == ends[form]
    (expanded,) = (s.justification for s in steps if s.justification.startswith("statement 1"))
    assert expanded.startswith("statement 1 through x_1 only" if convention == "one-branch" else "statement 1 for r_-")


def test_homogeneity_puts_the_transposed_connection_in():
    w = Moment.of(Letter(CONSTANT))
    for output, connection, copy in (
        ("f", "K", "1"),
        ("fbar", "Kbar", GIVEN),
        ("f0", "K0", GIVEN),
        ("phi", "kappa", "2"),
    ):
        found = with_homogeneity(letter(output, "x", copy))
        assert found == letter(connection, "x", copy).transposed() * w
        turned = with_homogeneity(letter(output, "x", copy).transposed())
        assert turned == w.transposed() * letter(connection, "x", copy)
        for moment in (found, turned):
            assert all(item.transposed in (True, False) for term in moment.terms for item in term.word)


def test_a_dependent_point_alone_is_like_any_other():
    law = law_without("independent-points")
    one, other = (letter("K", point, "1") * letter("f", point, "1") for point in ("x", "x'"))
    assert expect(one, law) == expect(other, law)
    pair = letter("K", "x", "1") * letter("f", "x'", "1")
    assert expect(pair, law) != expect(letter("K", "x", "1") * letter("f", "y", "1"), law)


def test_names_of_a_written_out_population():
    net = population((1, 1, 1), points=3, copies=2)
    assert [str(p) for p in net.p] == ["p_{1}", "p_{2}", "-p_{1} - p_{2} + 1"]
    assert [str(q[0]) for q in net.q] == ["q^{1}_{1}", "q^{2}_{1}", "q^{3}_{1}"]
    assert all(sympy.expand(sum(law) - 1) == 0 for law in (net.p, *net.q))
    assert {s.name for row in net.inputs for column in row for s in column} == {
        f"x_{{{m}{a},1}}" for m in (1, 2, 3) for a in (1, 2)
    }


def test_roots_of_distances_are_no_members():
    found = theory.family_membership("sqrt(r_p) - sqrt(r_1)")
    assert found.decision.value is False
    assert sqrt(r_p) in found.statement.expression.atoms(sympy.Pow)


def test_symbols_of_a_normal_form():
    t = Symbol("t", positive=True)
    assert Normaliser([t + x * y]).free
    assert not Normaliser([exp(t) + x]).free


PLAIN = {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}", "<": r"\ensuremath{<}", ">": r"\ensuremath{>}", "|": r"\ensuremath{|}",
         "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "a": "a", "+": "+"}  # fmt: skip


@pytest.mark.parametrize("character", PLAIN)
def test_text_that_latex_sets_as_it_stands(character):
    assert plain(character) == PLAIN[character]
    assert plain(f"x {character}{character} y") == f"x {PLAIN[character] * 2} y"


def test_stacked_columns_are_written_with_their_matrix():
    shown = sympy.latex(Vec(matrix("W_{1}", 2, 3) * matrix("x", 3, 1)))
    assert shown == r"\operatorname{vec}\left(W_{1} x\right)"
    assert Vec(matrix("W", 2, 3)).as_explicit() == sympy.Matrix(
        [matrix("W", 2, 3)[i, j] for j in range(3) for i in range(2)]
    )


def test_a_name_that_is_like_no_other_gets_no_hint():
    known = ", ".join([*STATEMENTS, *PACKS])
    for slug, hint in (("qqqq", ""), ("dual-gradent", "; did you mean 'dual-gradient'?")):
        with pytest.raises(InputError) as caught:
            theory.derive(slug)
        assert str(caught.value) == f"slug={slug!r} of derive: must be one of {known}{hint}"
    with pytest.raises(InputError) as caught:
        theory.derive(1, zzzz=3)
    assert str(caught.value) == "option 'zzzz' of 'dual-gradient': must be one of widths, output"
    with pytest.raises(InputError) as caught:
        theory.derive(1, output="linaer")
    assert str(caught.value) == (
        "output='linaer' of 'dual-gradient': must be one of 'linear', 'normalized'; did you mean 'linear'?"
    )


def test_the_sign_of_the_first_slope_may_follow_from_the_others():
    """Sum of slopes zero and every other one negative, where nothing else shows the sign."""
    given = loss_of("exp(2*r_p - 2*r_1) - exp(r_p - r_1) + r_p - r_1")
    found = [derivative(given.expression, d) for d in (r_p, *given.negatives)]
    decisions = sign_decisions(given, found, decide_zero(sum(found)))
    assert [d.value for d in decisions] == [True, True]
    assert decisions[0].detail == "minus the sum of the other slopes, each negative"
    assert decisions[1].detail == "factors without a real root, in r_p - r_k"
    steps = theory.family_membership(given.expression).steps
    assert [s.justification for s in steps[1:4:2]] == [d.detail for d in decisions]
    two = loss_of("exp(2*r_p - 2*r_1) - exp(r_p - r_1) + exp(r_p - r_2) + r_p - r_1")
    slopes_of = [derivative(two.expression, d) for d in (r_p, *two.negatives)]
    assert [d.value for d in sign_decisions(two, slopes_of, decide_zero(sum(slopes_of)))] == [True, True, True]
    # Without a zero sum nothing is concluded from the others.
    alone = sign_decisions(given, found, decide_zero(found[0]))
    assert alone[0].detail == "signs of factors"


def test_a_loss_that_is_not_defined_everywhere_says_so_first():
    steps = theory.family_membership("r_p - r_1 + log(r_0)").steps
    assert isinstance(steps[0].expression, sympy.Lt)
    assert (str(steps[0].expression.lhs), steps[0].expression.rhs) == ("Abs(L)", sympy.oo)
    assert steps[0].justification == "real and finite"
    assert steps[0].decision.value is None
    assert steps[1].justification == "differentiation"
    symbolic = theory.derive(2, loss="infonce").steps
    how = [s.justification for s in symbolic if isinstance(s.expression, sympy.Eq)]
    assert how[0] == "differentiation"
    assert how[1] == "differentiation of a finite sum: only the term k = j depends on r_j"
    signs = [s.justification for s in symbolic if not isinstance(s.expression, sympy.Eq)]
    assert all(text.startswith("positive coefficients in positive quantities") for text in signs)
    refuted = theory.family_membership("r_p + r_1^2")
    assert refuted.residual == 2 * negative(1) + 1
    assert theory.derive(2, loss="infonce").residual == 0


def test_what_a_notebook_shows_is_the_statement_the_chain_and_the_operator(monkeypatch, brute_network):
    found = theory.derive("covariance-operator")
    assert found.statement._repr_latex_() == render.formula_latex(found.claim.expression)
    assert found._repr_latex_() == render.derivation_latex(found)
    assert found.steps[0]._repr_latex_() == render.step_latex(found.steps[0])
    tree, weights, _ = brute_network("star", "symmetric", 0, 5)
    operator = theory.walsh_operator(tree, "r", weights)
    whole = operator.matrix()
    size, terms = whole.rows, int(np.count_nonzero(operator.sums.numerators))
    assert size > 1
    assert terms > 1
    matrix_shown, shape_shown = (render.operator_latex(r"\mathrm{OP}", size, part) for part in (whole, None))
    assert matrix_shown != shape_shown
    for sizes, counts, wanted in (
        (size, terms, matrix_shown),
        (size - 1, terms, shape_shown),
        (size, terms - 1, shape_shown),
    ):
        monkeypatch.setattr(walsh, "SIZE_SHOWN", sizes)
        monkeypatch.setattr(walsh, "TERMS_SHOWN", counts)
        assert operator._repr_latex_() == wanted
