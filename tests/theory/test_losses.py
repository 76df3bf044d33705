"""Statement 2 and the pair weights: explicit H, rational points, mpmath, losses outside the family, hostile text."""

import random

import mpmath
import pytest
import sympy
from sympy import Rational, Symbol, exp, log

import theory
from hltm.base.errors import InputError
from theory.core.decide import decide_zero
from theory.core.notation import H, j, negative, pair_distance, r, r_0, r_p, tau
from theory.losses.loss import CANONICAL, FREE_NEGATIVE, derivative
from theory.losses.parse import parse_loss

NAMES = ["simple", "triplet", "infonce"]


@pytest.mark.parametrize("name", NAMES)
def test_symbolic_h_is_proved(name):
    derivation = theory.derive("contrastive-losses", loss=name)
    assert derivation.proved
    assert derivation.residual == 0
    assert H in derivation.statement.expression.free_symbols
    assert all(step.decision.method != "numeric point" for step in derivation.steps)


def _explicit(name, count):
    """The losses written out by hand for H negatives, nothing shared with the canonical expressions."""
    rs = [negative(i) for i in range(1, count + 1)]
    if name == "simple":
        return r_p - sum(rs) / count, rs
    if name == "triplet":
        return sum(tau * log(1 + exp((r_p - n + r_0) / tau)) for n in rs) / count, rs
    return r_p + tau * log(exp(-r_p / tau) + sum(exp(-n / tau) for n in rs)), rs


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_symbolic_slopes_against_written_out_losses(name, count):
    """The slope dL/dr_j of the symbolic sum, with H and j put in, is that of the loss written out by hand."""
    loss, rs = _explicit(name, count)
    free = derivative(CANONICAL[name], FREE_NEGATIVE)
    for number, distance in enumerate(rs, 1):
        put = free.xreplace({H: sympy.Integer(count), j: sympy.Integer(number)}).doit()
        put = put.xreplace({r[i]: n for i, n in enumerate(rs, 1)})
        assert decide_zero(put - sympy.diff(loss, distance)).value is True
    plus = derivative(CANONICAL[name], r_p).xreplace({H: sympy.Integer(count)}).doit()
    plus = plus.xreplace({r[i]: n for i, n in enumerate(rs, 1)})
    assert decide_zero(plus - sympy.diff(loss, r_p)).value is True
    assert theory.derive(2, loss=name, negatives=count).proved


def test_wrong_slope_is_noticed():
    """A slope with a sign or a factor changed is refuted by the decider of the steps."""
    loss, rs = _explicit("infonce", 2)
    slope = sympy.diff(loss, rs[0])
    for wrong in (-slope, 2 * slope, sympy.diff(loss, rs[1])):
        assert decide_zero(slope - wrong).value is False


WEAK = {
    "hinge": (sympy.Max(0, r_p - negative(1) + r_0), sympy.Heaviside(r_0 - pair_distance)),
    "squared hinge": (sympy.Max(0, r_p - negative(1) + r_0) ** 2, 2 * sympy.Max(0, r_0 - pair_distance)),
    "cube": ((r_p - negative(1)) ** 3, 3 * pair_distance**2),
}
OUTSIDE = {
    "r_+ + r_-^2": r_p + negative(1) ** 2,
    "positive pair only": r_p,
    "squares": r_p**2 - negative(1) ** 2,
    "wrong sign": negative(1) - r_p,
    "unbalanced": 2 * r_p - negative(1),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_losses_outside_the_family_are_refuted(name):
    membership = theory.family_membership(OUTSIDE[name])
    assert membership.decision.value is False
    assert not membership.proved
    assert "at " in membership.decision.detail
    with pytest.raises(InputError, match="outside the family"):
        theory.pair_weight(OUTSIDE[name])


@pytest.mark.parametrize("name", WEAK)
def test_a_weak_member_has_a_pair_weight(name):
    loss, weight = WEAK[name]
    assert theory.family_membership(loss).decision.value is False
    assert theory.pair_weight(loss) == weight


def test_undecided_membership_is_neither():
    loss = sympy.Function("F")(r_p - negative(1))
    membership = theory.family_membership(loss)
    assert membership.decision.value is None
    with pytest.raises(InputError, match="could not be proved"):
        theory.pair_weight(loss)


EXPECTED = {
    "simple": sympy.Integer(1),
    "triplet": 1 / (1 + exp(-(r_0 - pair_distance) / tau)),
    "infonce": exp(-pair_distance / tau) / (1 + exp(-pair_distance / tau)),
    "tau*log(1 + exp((r_p - r_1)/tau))": 1 / (1 + exp(pair_distance / tau)),
    "exp(r_p - r_1)": exp(-pair_distance),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_pair_weight(name):
    assert decide_zero(theory.pair_weight(name) - EXPECTED[name]).value is True


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["triplet", "infonce"])
def test_pair_weight_against_mpmath(name, seed):
    """mpmath's own numerical derivative of the loss at r_+ = 0; its error is far below 1e-15 at 40 digits."""
    rng = random.Random(seed)
    distance, temperature, margin = (mpmath.mpf(rng.randint(1, 40)) / 10 for _ in range(3))

    def loss(positive):
        if name == "triplet":
            return temperature * mpmath.log(1 + mpmath.exp((positive - distance + margin) / temperature))
        near, far = mpmath.exp(-positive / temperature), mpmath.exp(-distance / temperature)
        return -temperature * mpmath.log(near / (near + far))

    with mpmath.workdps(40):
        numeric = mpmath.diff(loss, 0)
        point = {pair_distance: distance, tau: temperature, r_0: margin}
        value = theory.pair_weight(name).subs({s: sympy.Float(str(v), 40) for s, v in point.items()}).evalf(40)
        assert abs(mpmath.mpf(str(value)) - numeric) < mpmath.mpf(10) ** -15, f"seed {seed}"


WRONG_WEIGHTS = {
    "wrong sign": 1 / (1 + exp(-pair_distance / tau)),
    "2r": 1 / (1 + exp(2 * pair_distance / tau)),
    "tau inverted": 1 / (1 + exp(pair_distance * tau)),
    "unweighted": sympy.Integer(1),
    "margin kept": 1 / (1 + exp((pair_distance - r_0) / tau)),
}


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_false_pair_weight_is_refuted(name):
    assert decide_zero(theory.pair_weight("infonce") - WRONG_WEIGHTS[name]).value is False


@pytest.mark.parametrize("count", [2, 3])
def test_pair_weights_of_several_negatives(count):
    rs = [negative(i) for i in range(1, count + 1)]
    total = 1 + sum(exp(-n / tau) for n in rs)
    for weight, distance in zip(theory.pair_weights("infonce", count), rs, strict=True):
        assert decide_zero(weight - exp(-distance / tau) / total).value is True


def test_text_symbols_and_expressions_agree():
    text = theory.pair_weight("tau*log(1 + exp((r_p - r_1 + r_0)/tau))")
    plain = {name: Symbol(name) for name in ("tau", "r_p", "r_1", "r_0")}
    by_hand = plain["tau"] * log(1 + exp((plain["r_p"] - plain["r_1"] + plain["r_0"]) / plain["tau"]))
    assert text == theory.pair_weight(by_hand) == theory.pair_weight("triplet")
    assert parse_loss("0.1*r_p") == r_p / 10
    assert parse_loss("-2^2 + 3**-1 - -r_p") == -4 + Rational(1, 3) + r_p
    assert parse_loss("r_p/2/2*4") == r_p
    assert theory.pair_weight(0.5 * plain["r_p"] - 0.5 * plain["r_1"]) == Rational(1, 2)


HOSTILE = {
    "trplet": "did you mean 'triplet'",
    "r_p + q": "'q' at character 7",
    "r_p +": "end of text",
    "": "is needed here",
    "__import__('os').system('true')": "not part of the grammar",
    "r_p.__class__": "not part of the grammar",
    "lambda: 0": "not part of the grammar",
    "exp(r_p": "')' is needed here",
    "r_p - r_1)": "should end here",
    "9**9**9": "exponent",
    "((((2^16)^16)^16)^16)*r_p": "too large",
    "(" * 60 + "r_p" + ")" * 60: "nesting",
    "r_p**r_1": "exponent",
    "r_p/(1-1)": "division by zero",
    "log(0)*r_p": "logarithm of zero",
    "exp(exp(exp(r_p)))": "not supported",
    "1e999*r_p": "digits",
    "exp(r_p, r_1)": "one argument",
    "r_99 - r_p": "r_64",
    "r_p" + "+r_p" * 600: "characters",
    "(r_1+r_2+r_3+r_4+r_5)^16 - r_p": "too many",
    "r_p - r_1 - r_2": "one negative",
}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_that_is_not_allowed(text):
    with pytest.raises(InputError) as caught:
        theory.pair_weight(text)
    assert HOSTILE[text] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [None, 3, [r_p], b"simple"])
def test_a_loss_of_another_type(bad):
    with pytest.raises(InputError, match="must be a name"):
        theory.family_membership(bad)


def test_unknown_symbol_and_number_of_negatives():
    with pytest.raises(InputError, match="symbol 'q'"):
        theory.family_membership(r_p - Symbol("q"))
    for bad in (0, -1, 1.5, True):
        with pytest.raises(InputError, match="negatives="):
            theory.derive("contrastive-losses", loss="infonce", negatives=bad)
