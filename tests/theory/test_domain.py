"""Where a loss is defined, number by number against mpmath; and what is said of a place where it is not."""

import re

import mpmath
import pytest
import sympy
from sympy import Function, Rational, Symbol, log, sqrt

from theory.core.decide import ABSTAINED, ASSUMPTIONS, POLYNOMIAL
from theory.core.notation import negative, r_0, r_p, tau
from theory.losses.family import family_conditions
from theory.losses.loss import FREE_NEGATIVE, at_number, derivative, indexed_form, loss_of
from theory.losses.parse import parse_loss
from theory.losses.signs import Need, _kind, continued, decide_slope, domain_decision, in_gaps, needs

x, y = sympy.symbols("x y", real=True)
FUNCTIONS = {"exp": mpmath.exp, "log": mpmath.log, "sqrt": mpmath.sqrt, "mpf": mpmath.mpf}


def value(text, place):
    """The text as mpmath reads it; our own texts only."""
    return eval(text.replace("^", "**"), {"__builtins__": {}}, FUNCTIONS | place)  # noqa: S307


NEEDS = {
    log(x): [(x, ">")], sqrt(x): [(x, ">=")], 1 / sqrt(x): [(x, ">")], x ** Rational(-2, 3): [(x, ">")],
    x ** Rational(5, 3): [(x, ">=")], 1 / x: [(x, "!=")], x**-3: [(x, "!=")], x**3: [], sympy.exp(x): [],
    log(x) + log(x) * y: [(x, ">")], log(1 + 1 / y): [(1 + 1 / y, ">"), (y, "!=")],
    sqrt(x - 1) / (y + 2): [(x - 1, ">="), (y + 2, "!=")],
}  # fmt: skip


@pytest.mark.parametrize("expression", NEEDS, ids=str)
def test_every_logarithm_root_and_quotient_needs_something(expression):
    found = [(need.argument, need.relation) for need in needs(expression)]
    assert len(found) == len(set(found))
    assert set(found) == set(NEEDS[expression])


def test_a_need_says_what_it_is_and_whether_it_is_met():
    for argument, relation, text, proved in (
        (2 * tau - 10, ">", "tau > 5", False), (10 - 2 * tau, ">", "tau < 5", False), (10 - 2 * tau, ">=", "tau <= 5", False),
        (3 * x + 1, "!=", "x != -1/3", False), (x - y, ">=", "x - y >= 0", False), (x**2 - 2, ">", "x**2 - 2 > 0", False),
        (tau, ">", "tau > 0", True), (r_p, ">", "r_p > 0", False), (r_p, ">=", "r_p >= 0", True), (x**2 + 1, "!=", "x**2 + 1 != 0", True),
        (-1 - x**2, "!=", "-x**2 - 1 != 0", True), (x**2 - x + 1, ">", "x**2 - x + 1 > 0", True), (-tau, "!=", "tau != 0", True),
        (x**2 - x + 1, "!=", "x**2 - x + 1 != 0", True), (-(x**2) + x - 1, "!=", "-x**2 + x - 1 != 0", True),
    ):  # fmt: skip
        need = Need(argument, relation)
        assert (need.text, need.proved) == (text, proved)


def test_what_is_said_of_a_domain():
    whole = "every logarithm, root and quotient is defined"
    for text, detail in (("r_p - r_1", whole), ("tau*log(1 + exp(r_p - r_1))", whole),
                         ("(r_p^2 - r_1^2)/(r_p + r_1)", f"{whole} once cancelled")):  # fmt: skip
        decision = domain_decision(parse_loss(text))
        assert (decision.value, decision.method, decision.detail) == (True, ASSUMPTIONS, detail)
    loss = parse_loss("(r_p^2 - r_1^2)/(r_p + r_1)")
    assert continued(loss)[0] == r_p - negative(1)
    plain = parse_loss("tau*log(1 + exp(r_p - r_1))")
    assert continued(plain)[0] == plain
    first, second = Function("F")(r_p), Function("G")(negative(1))
    for expression in (first - second, second - first, second * first + r_p):
        kept, decision = continued(expression)
        assert kept == expression
        assert (decision.value, decision.method) == (None, ABSTAINED)
        assert decision.detail == "F(r_p) is not known to be real and finite"


# A loss and the kind of trouble: complex, infinite at a point that is tried, or infinite between the points.
TROUBLE = {
    "r_p - r_1 + 1/(tau-7/3)": "towards", "r_p - r_1 + 1/(exp(tau)-3)": "towards", "r_p - r_1 + 1/(tau-1)": "not finite",
    "r_p - r_1 + 1/(r_0+13/7)": "towards", "r_p - r_1 + 1/(5-3*tau)^3": "towards", "r_p - r_1 - 7/(r_0^3-5)": "towards",
    "r_p - r_1 + 1e-12/(exp(tau)-3)": "towards", "r_p - r_1 + 1/(r_0 + tau - 11/3)": "towards",
    "r_p - r_1 + 1/(r_p - 8/3)": "towards", "r_p - r_1 + 1/(exp(r_0) - 1/7)": "towards", "r_p - r_1 + sqrt(tau-5)": "not real",
    "r_p - r_1 + log(r_0)": "not real", "r_p - r_1 + log(5-tau)": "not real", "r_p - r_1 + 1/r_0": "not finite",
    "r_p - r_1 + log(r_p)": "not finite", "r_p - r_1 + 1/r_1": "not finite",
}  # fmt: skip


@pytest.mark.parametrize("text", TROUBLE)
def test_a_place_of_trouble_is_one(text):
    detail = domain_decision(parse_loss(text)).detail
    words = re.fullmatch(r"only where .+; (at|towards) (.*) the loss is (not real|not finite)", detail)
    assert words, detail
    kind = TROUBLE[text]
    assert (words[1] == "towards") is (kind == "towards")
    assert words[3] == ("not finite" if kind == "towards" else kind)
    pairs = re.findall(r"(\w+) = ([-\d./e]+)", words[2])
    names = set(re.findall(r"r_p|r_0|r_1|tau", text))
    with mpmath.workdps(30):
        place = {"r_0": mpmath.mpf(0)} | {name: mpmath.mpf(Rational(v).p) / Rational(v).q for name, v in pairs}
        assert set(place) >= names - {"r_0"} if kind != "towards" else place
        assert all(place.get(name, 1) >= 0 for name in ("r_p", "r_1"))
        assert place.get("tau", 1) > 0
        exact = re.sub(r"(\d+)/(\d+)", r"(mpf(\1)/\2)", text)
        if kind == "towards":
            # The denominator is 0 there, to the six digits that are shown.
            bottom = re.search(r"/\((.*?)\)(\^3)?$", exact)[1]
            bottom += ")" * (bottom.count("(") - bottom.count(")"))
            assert abs(value(bottom, place)) < 1e-3
            return
        try:
            there = value(exact, place)
        except (ZeroDivisionError, ValueError):
            there = mpmath.inf
        assert mpmath.im(there) != 0 if kind == "not real" else not mpmath.isfinite(there)


def test_large_is_not_infinite():
    """Near the place the quotient is large, and stays so: it can be continued."""
    for factor in ("", "1e8*", "1e20*"):
        text = f"r_p - r_1 + {factor}(exp(tau - 7/3) - 1)/(tau - 7/3)"
        assert domain_decision(parse_loss(text)).detail == "not decided whether always tau != 7/3"


def test_kinds_of_values():
    for number in (sympy.oo, -sympy.oo, sympy.zoo, 1 + sympy.oo, sympy.zoo * sympy.I):
        assert _kind(number) == "not finite"
    for number in (sympy.I, 1 + sympy.I / 10**6, sqrt(-2), log(Rational(-1, 3))):
        assert _kind(number) == "not real"
    for number in (sympy.Integer(0), sqrt(2), log(3), x + 1):
        assert _kind(number) == ""


def test_conditions_hold_the_loss_and_points_where_it_is_real():
    for text in ("r_p - r_1", "(r_p^2 - r_1^2)/(r_p + r_1)", "r_p - r_1 + log(r_0)"):
        real = family_conditions(text)[-1]
        assert real.expression == parse_loss(text)


@pytest.mark.parametrize("sign", ["", "-"])
def test_points_where_a_slope_is_complex_are_passed_over(sign):
    """On one side of 0 the slope -log(+-r_0)^2 is a complex number, on the other it is negative."""
    falling = family_conditions(f"-(r_p - r_1)*log({sign}r_0)^2")[0]
    assert falling.decision.value is False
    place = dict(re.findall(r"(\w+) = ([-\d/]+)", falling.point))
    size = Rational(place["r_0"]) * (-1 if sign else 1)
    assert size > 0
    assert float(falling.value) == pytest.approx(-(float(log(size)) ** 2))


# Many negatives.

INDEXED = {
    "log(1 + SUM)": "exp(r_p - r_{})", "-tau*log(exp(-r_p/tau)/(exp(-r_p/tau) + SUM))": "exp(-r_{}/tau)",
    "sqrt(SUM) + log(SUM)": "exp(2*(r_p - r_{}))",
}  # fmt: skip


@pytest.mark.parametrize("frame", INDEXED)
def test_the_slope_of_a_free_negative_is_that_of_each(frame):
    """dL/dr_j of the indexed form, at j = 1 .. H, against mpmath's derivative of the text."""
    count = 6
    text = frame.replace("SUM", " + ".join(INDEXED[frame].format(k) for k in range(1, count + 1)))
    loss = loss_of(text)
    free = derivative(indexed_form(loss).expression, FREE_NEGATIVE)
    place = {f"r_{k}": mpmath.mpf(k * k % 7 + 1) / 4 for k in range(1, count + 1)}
    place |= {"r_p": mpmath.mpf(3) / 4, "tau": mpmath.mpf(2), "r_0": mpmath.mpf(1) / 2}
    seen = set()
    for chosen in range(1, count + 1):
        written = at_number(free, loss.negatives, FREE_NEGATIVE, chosen)
        found = written.subs({s: Rational(str(place[s.name])) for s in written.free_symbols}).evalf(20)
        name = f"r_{chosen}"
        wanted = mpmath.diff(lambda v, name=name: value(text, place | {name: v}), place[name])
        assert abs(mpmath.mpf(str(found)) - wanted) < 1e-8
        seen.add(str(found))
    assert len(seen) > 1
    assert at_number(free, loss.negatives, FREE_NEGATIVE) == at_number(free, loss.negatives, FREE_NEGATIVE, 1)


def test_few_negatives_and_symbolic_ones_stay_as_they_are():
    for count, found in ((4, False), (5, True)):
        text = "log(1 + " + " + ".join(f"exp(r_p - r_{k})" for k in range(1, count + 1)) + ")"
        loss = loss_of(text)
        indexed = indexed_form(loss)
        assert (indexed is not None) is found
        if indexed:
            assert (indexed.negatives, indexed.name) == (None, loss.name)
            assert indexed.symbolic
    assert indexed_form(loss_of("infonce")) is None


# Slopes in the gaps.

u, w = sympy.symbols("u w", real=True)
t = Symbol("t", positive=True)
SLOPES = {
    1 + u + u**2: True, 1 + 2 * u + u**2: None, u: None, 1 - 3 * sympy.exp(u) + sympy.exp(2 * u): None,
    1 - sympy.exp(u) + sympy.exp(2 * u): True, (1 + u**2) ** 3 * (3 - 2 * u + u**2): True, -(1 + u + u**2): None,
    (1 - u + u**2) / (2 + u + u**2): True, (u - 1) ** 2 * (1 + u**2): None, (-1 - u**2) / (-2 - u - u**2): True,
    (1 - u + u**2) * (1 + w + w**2): True, 1 + u * w: None, t**2 + t + 1: True, t**2 - t + 1: True, t - 1: None,
    2 - sympy.exp(-t): True, 1 - sympy.exp(t): None, 2 - sympy.Heaviside(u): True, 1 - sympy.Heaviside(u): None,
    sympy.Rational(-1, 4) + sympy.Heaviside(u): None, 1 - sympy.Heaviside(u) / 2 - sympy.Heaviside(w) / 3: True,
    2 + sympy.exp(3 * u) - sympy.exp(2 * u): True, 3 - u**2: None, sympy.exp(u) + sympy.exp(-u) - 1: True,
}  # fmt: skip


@pytest.mark.parametrize("slope", SLOPES, ids=str)
def test_slopes_that_are_positive_everywhere(slope):
    """True where it is proved; a value that is not positive is found by trying where it is not."""
    decision = decide_slope(slope)
    assert decision.value is SLOPES[slope]
    assert decision.method == POLYNOMIAL
    assert decision.detail.strip()
    grid = [Rational(k, 8) for k in range(-24, 25)]
    names = sorted(slope.free_symbols, key=str)
    values = [slope.subs(dict.fromkeys(names[:1], a) | dict.fromkeys(names[1:], b)) for a in grid for b in grid[::12]
              if not (names[0] == t and a <= 0)]  # fmt: skip
    lowest = min(sympy.N(number) for number in values)
    assert bool(lowest > 0) is (SLOPES[slope] is True)


def test_a_loss_in_its_gaps():
    gaps = [Symbol("u_0", real=True), Symbol("u_1", real=True)]
    for text, count, moved in (
        ("exp(r_p - r_1) + r_p - r_1", 1, sympy.exp(gaps[0]) + gaps[0]), ("r_p*r_1", 1, None), ("r_p - r_1^2", 1, None),
        ("log(exp(r_p) + exp(r_1)) - r_1", 1, "continued"), ("(r_p - r_1)^2 + exp(r_p - r_2)", 2, gaps[0] ** 2 + sympy.exp(gaps[1])),
    ):  # fmt: skip
        loss = loss_of(text)
        found = in_gaps(loss, gaps[:count])
        if moved is None:
            assert found is None
            continue
        assert not found.has(r_p, r_0)
        back = {gap: r_p - r for gap, r in zip(gaps, loss.negatives, strict=False)}
        place = {r_p: Rational(3, 2), negative(1): Rational(1, 3), negative(2): Rational(2)}
        difference = (found.xreplace(back) - loss.expression).xreplace(place)
        assert abs(sympy.N(difference, 30)) < 1e-25
        assert moved == "continued" or sympy.expand(found - moved) == 0
    assert in_gaps(loss_of(Function("F")(r_p - negative(1))), gaps[:1]) is None
