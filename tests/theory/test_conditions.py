"""The conditions of the family one by one, against numerical derivatives by mpmath of the same text."""

import re
from itertools import combinations

import mpmath
import pytest
import sympy

from theory.core.decide import Decision
from theory.losses.family import family_conditions, family_membership, membership_decision, symmetric
from theory.losses.loss import at_number, indexed_form, loss_of
from theory.losses.parse import parse_loss

FUNCTIONS = {"exp": mpmath.exp, "log": mpmath.log, "sqrt": mpmath.sqrt}


def value(text, place):
    """The text as mpmath reads it; our own texts only."""
    return eval(text.replace("^", "**"), {"__builtins__": {}}, FUNCTIONS | place)  # noqa: S307


def slope(text, place, name):
    return mpmath.diff(lambda v: value(text, place | {name: v}), place[name])


def measured(text, quantity, names, place):
    """The quantity of a condition at a point, from the text of the loss alone."""
    slopes = {name: slope(text, place, name) for name in names}
    if "+ " in quantity:
        return sum(slopes.values())
    return slopes["r_p" if quantity == "dL/dr_+" else quantity.removeprefix("dL/d")]


# Text, number of negatives, and the conditions that fail (None: none of them is decided).
LOSSES = {
    "r_p - r_1": (1, ()),
    "tau*log(1 + exp((r_p - r_1 + r_0)/tau))": (1, ()),
    "tau*log(1 + exp((r_p - r_1)/tau) + exp((r_p - r_2)/tau))": (2, ()),
    "r_p + r_1": (1, ("dL/dr_1", "dL/dr_+ + dL/dr_1")),
    "-(r_p - r_1)": (1, ("dL/dr_+", "dL/dr_1")),
    "r_p^2 - r_1^2": (1, ("dL/dr_+", "dL/dr_1", "dL/dr_+ + dL/dr_1")),
    "(r_p - r_1)^2": (1, ("dL/dr_+", "dL/dr_1")),
    "exp(r_p) - exp(r_1)": (1, ("dL/dr_+ + dL/dr_1",)),
    "r_p - r_1 - 2*r_2": (2, ("dL/dr_+ + sum_k dL/dr_k",)),
    "r_p - r_1/2 - r_2/4 - r_3/4": (3, ()),
    "r_p - r_1/3 - 2*r_2/3": (2, ()),
    "exp(r_p - r_1) + exp(2*(r_p - r_2))": (2, ()),
    "(r_p - r_1)/sqrt(1 + (r_p - r_1)^2)": (1, ()),
    "(r_p - r_1)*(1 - exp(-tau))": (1, ()),
    "exp(2*r_p - 2*r_1) - exp(r_p - r_1) + r_p - r_1": (1, ()),
    "exp(2*r_p - 2*r_1) - 3*exp(r_p - r_1) + r_p - r_1": (1, ("dL/dr_+", "dL/dr_1")),
    "r_p - r_1 - r_2 + r_1*r_2": (2, ("dL/dr_1", "dL/dr_2", "dL/dr_+ + sum_k dL/dr_k")),
    "log(1 + exp(r_p - r_1) + 2*exp(r_p - r_2))": (2, ()),
}


@pytest.mark.parametrize("text", LOSSES)
def test_each_condition_and_where_it_fails(text):
    count, failing = LOSSES[text]
    negatives = [f"r_{k}" for k in range(1, count + 1)]
    names = ["r_p", *negatives]
    total = "dL/dr_+ + dL/dr_1" if count == 1 else "dL/dr_+ + sum_k dL/dr_k"
    expected = ["dL/dr_+ > 0", *(f"dL/d{name} < 0" for name in negatives), f"{total} = 0"]
    *found, real = family_conditions(text)
    assert (real.text, real.quantity, real.decision.value) == ("L is real and finite", "L", True)
    assert [condition.text for condition in found] == expected
    assert [condition.quantity for condition in found] == [text.rsplit(" ", 2)[0] for text in expected]
    assert tuple(condition.quantity for condition in found if condition.decision.value is False) == failing
    assert membership_decision((*found, real)).value is not bool(failing)
    assert family_membership(text).decision.value is not bool(failing)
    usual = {name: mpmath.mpf(3 + place) / 4 for place, name in enumerate([*names, "r_0"])} | {"tau": mpmath.mpf(1)}
    for condition in found:
        # The expression is the quantity, at a point of ours ...
        given = {symbol: sympy.Rational(str(usual[symbol.name])) for symbol in condition.expression.free_symbols}
        number = mpmath.mpf(str(condition.expression.subs(given).evalf(30)))
        assert abs(number - measured(text, condition.quantity, names, usual)) < 1e-6
        if condition.quantity not in failing:
            assert condition.decision.value is True
            assert (condition.point, condition.value) == (None, None)
            continue
        # ... and at the point that is given the condition fails.
        pairs = re.findall(r"(\w+) = (-?\d+(?:/\d+)?)", condition.point)
        place = usual | {name: mpmath.mpf(sympy.Rational(v).p) / sympy.Rational(v).q for name, v in pairs}
        assert pairs or condition.point == "every point"
        shown = mpmath.mpf(sympy.Rational(condition.value).p) / sympy.Rational(condition.value).q
        assert abs(shown - measured(text, condition.quantity, names, place)) < 1e-6 * max(1, abs(shown))
        relation = condition.text[len(condition.quantity) :].split()[0]
        assert shown != 0 if relation == "=" else shown <= 0 if relation == ">" else shown >= 0
        assert condition.counterexample == (
            f"at {condition.point}:",
            f"{condition.quantity} = {condition.value}, but the family needs {condition.text}",
        )


def test_values_at_points_have_ten_digits_where_they_are_not_short():
    (found,) = (c for c in family_conditions("exp(r_p) - exp(r_1)") if c.decision.value is False)
    assert re.fullmatch(r"-?\d+\.\d+", found.value)
    assert len(found.value.replace("-", "").replace(".", "")) == 10


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", ["infonce", "triplet", "simple"])
def test_canonical_losses_meet_every_condition(name, count):
    if name != "infonce" and count > 1:
        count = 1
    found = family_conditions(name, count)
    assert len(found) == 1 + count + 1 + 1
    assert membership_decision(found).value is True


def test_what_is_not_decided_is_no_member():
    found = family_conditions("sqrt(r_p) - sqrt(r_1)")
    assert [condition.decision.value for condition in found] == [None, None, False, True]
    assert membership_decision(found).value is False
    assert membership_decision(found[:2]).value is None
    where, what = found[0].counterexample
    assert where == f"in general ({found[0].decision.detail}):"
    assert what == f"dL/dr_+ = {found[0].expression}, but the family needs dL/dr_+ > 0"


def test_one_refutation_outweighs_what_is_not_decided():
    parts = [Decision(value, "method") for value in (True, None, False)]
    conditions = family_conditions("r_p - r_1")
    from dataclasses import replace

    for chosen in combinations(range(3), 2):
        given = tuple(replace(conditions[0], decision=parts[index]) for index in chosen)
        wanted = False if 2 in chosen else None if 1 in chosen else True
        assert membership_decision(given).value is wanted


# A place where mpmath finds the loss complex or infinite; the domain where it is neither.
UNDEFINED = {
    "r_p - r_1 + 1/(tau-1)": ({"tau": 1}, "tau != 1"),
    "r_p - r_1 + 1/(tau-7/3)": ({"tau": mpmath.mpf(7) / 3}, "tau != 7/3"),
    "r_p - r_1 + 1/(exp(tau)-3)": ({"tau": mpmath.log(3)}, "exp(tau) - 3 != 0"),
    "r_p - r_1 + sqrt(tau-5)": ({"tau": 2}, "tau >= 5"),
    "r_p - r_1 + log(tau-5)": ({"tau": 2}, "tau > 5"),
    "r_p - r_1 + log(5-tau)": ({"tau": 7}, "tau < 5"),
    "r_p - r_1 + log(r_0)": ({"r_0": -1}, "r_0 > 0"),
    "r_p - r_1 + sqrt(r_0)": ({"r_0": -1}, "r_0 >= 0"),
    "r_p - r_1 + 1/r_0": ({"r_0": 0}, "r_0 != 0"),
    "r_p - r_1 + log(r_0 + tau)": ({"r_0": -7}, "r_0 + tau > 0"),
}


@pytest.mark.parametrize("text", UNDEFINED)
def test_a_loss_that_is_not_defined_everywhere_is_no_member(text):
    change, words = UNDEFINED[text]
    usual = {"r_p": mpmath.mpf(1), "r_1": mpmath.mpf(2), "r_0": mpmath.mpf(1), "tau": mpmath.mpf(6)} | change
    with mpmath.workdps(15):
        try:
            there = value(text.replace("7/3", "mpf(7)/3"), usual | {"mpf": mpmath.mpf})
        except ZeroDivisionError:
            there = mpmath.inf
    assert mpmath.im(there) != 0 or abs(there) > 1e12
    *others, real = family_conditions(text)
    assert all(condition.decision.value for condition in others)
    assert real.decision.value is None
    assert real.decision.detail.startswith(f"only where {words}; ")
    assert membership_decision((*others, real)).value is None
    found = family_membership(text)
    assert found.decision.value is None
    assert not found.proved


@pytest.mark.parametrize(
    "text",
    [
        "(r_p^2 - r_1^2)/(r_p + r_1)", "(tau^2 - 1)*(r_p - r_1)/((tau - 1)*(tau + 1))", "r_p - r_1 + log(tau)", "r_p - r_1 + 1/(1 + r_0^2)",
        "r_p - r_1 + sqrt(tau^3)", "r_p - r_1 + log(1 + exp(r_0/tau))", "r_p - r_1 + sqrt(r_0^2)", "r_p - r_1 + 1/(r_0^2 - r_0 + 1)",
    ],
)  # fmt: skip
def test_a_loss_that_is_defined_or_can_be_continued_is_a_member(text):
    assert membership_decision(family_conditions(text)).value is True


def test_what_can_be_continued_by_a_limit_only_is_not_called_infinite():
    real = family_conditions("(r_p - r_1)*(exp(tau - 1) - 1)/(tau - 1)")[-1]
    assert real.decision.value is None
    assert real.decision.detail == "not decided whether always tau != 1"


def test_symmetry_is_found_and_not_asked_for():
    for text, expected in (
        ("r_p - r_1/3 - 2*r_2/3", False),
        ("exp(r_p - r_1) + exp(r_p - r_2)", True),
        ("r_p - r_1", True),
    ):
        assert symmetric(loss_of(text)).value is expected


MANY = {
    "log(1 + SUM)": "exp(r_p - r_{})",
    "-tau*log(exp(-r_p/tau)/(exp(-r_p/tau) + SUM))": "exp(-r_{}/tau)",
    "(SUM)/N": "tau*log(1 + exp((r_p - r_{} + r_0)/tau))",
    "sqrt(SUM) + log(SUM)": "exp(2*(r_p - r_{}))",
    "SUM": "(r_p - r_{})",
}


def many(frame, count):
    terms = " + ".join(MANY[frame].format(number) for number in range(1, count + 1))
    return frame.replace("SUM", terms).replace("N", str(count))


@pytest.mark.parametrize("frame", MANY)
def test_many_negatives_are_decided_like_few(frame):
    """Symbolic H gives for 24 negatives what writing out gives for 3; and one condition speaks for all of them."""
    few, written = (family_conditions(many(frame, count)) for count in (3, 24))
    assert len(few) == 6
    assert membership_decision(few).value is membership_decision(written).value is True
    assert family_membership(many(frame, 24)).proved
    if "sqrt" not in frame and frame != "SUM":  # those two are decided written out
        assert [c.text for c in written][1] == "dL/dr_k for each k = 1..24 < 0"


@pytest.mark.parametrize("count", [5, 11])
@pytest.mark.parametrize("frame", [frame for frame in MANY if frame != "SUM"])
def test_the_indexed_form_is_the_loss(frame, count):
    """Written out again, at random points, against mpmath's reading of the text."""
    text = many(frame, count)
    loss = loss_of(text)
    written = at_number(indexed_form(loss).expression, loss.negatives)
    place = {f"r_{k}": mpmath.mpf(k * k % 7 + 1) / 4 for k in range(1, count + 1)}
    place |= {"r_p": mpmath.mpf(3) / 4, "tau": mpmath.mpf(2), "r_0": mpmath.mpf(1) / 2}
    exact = written.subs({s: sympy.Rational(str(place[s.name])) for s in written.free_symbols})
    assert abs(mpmath.mpf(str(exact.evalf(20))) - value(text, place)) < 1e-12


@pytest.mark.parametrize(
    "text",
    [
        "log(1 + " + " + ".join(f"exp(r_p - r_{k})" for k in range(1, 8)) + " + 2*exp(r_p - r_8))",  # one weighs more
        "log(1 + " + " + ".join(f"exp(r_p - r_{k})" for k in (1, 2, 3, 4, 6)) + ")",  # one is missing
        " + ".join(f"exp(r_p - r_{k}) + r_{k}*r_{k % 6 + 1}" for k in range(1, 7)),  # products of two
        "*".join(f"log(2 + exp(r_p - r_{k}))" for k in range(1, 6)),
    ],
)
def test_what_is_no_sum_of_like_terms_has_no_indexed_form(text):
    assert indexed_form(loss_of(text)) is None


def test_one_that_weighs_more_is_refuted_or_proved_by_itself():
    terms = " + ".join(f"exp(r_p - r_{k})" for k in range(1, 7))
    assert membership_decision(family_conditions(f"log(1 + {terms} + 2*exp(r_p - r_7))")).value is True
    refuted = membership_decision(family_conditions(f"log(1 + {terms} + exp(r_7 - r_p))"))
    assert refuted.value is False


def test_a_maximum_is_decided_on_either_side_of_its_kink():
    assert membership_decision(family_conditions("max(r_p - r_1, 0) + r_p - r_1")).value is True
    assert membership_decision(family_conditions("max(r_p - r_1, 0) - (r_p - r_1)/2")).value is False
    assert membership_decision(family_conditions("max(r_p - r_1, 0)")).value is False


def test_parsed_text_and_expression_agree():
    text = "r_p - r_1/3 - 2*r_2/3"
    assert family_conditions(text) == family_conditions(parse_loss(text))
