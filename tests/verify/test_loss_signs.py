"""Signs of the slopes of random losses, with every function of the grammar, against numerical derivatives by mpmath."""

import random
import re

import mpmath
import pytest
import sympy

from theory.core.cases import Constraint
from theory.core.decide import ABSTAINED, Decision
from theory.losses.bounds import (
    Located,
    canonical,
    cases,
    decide_on,
    decide_zero_on,
    settled,
    sign_on,
    value_off_kinks,
)
from theory.losses.family import family_conditions, membership_decision, weak_conditions
from theory.losses.loss import loss_of
from theory.losses.parameters import read_parameters
from theory.losses.signs import _by_gaps

FUNCTIONS = {
    "exp": mpmath.exp, "log": mpmath.log, "log1p": mpmath.log1p, "sqrt": mpmath.sqrt, "abs": abs, "min": min, "max": max,
    "relu": lambda x: max(x, mpmath.mpf(0)), "tanh": mpmath.tanh, "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)), "__builtins__": {},
}  # fmt: skip
TOP = {"sphere": 2.0, "euclidean": 6.0}
EDGE = mpmath.mpf(10) ** -6


class RandomLoss:
    """A random text; half of them depend on the gaps only, so that the slopes add up to 0."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.domain = self.rng.choice(["euclidean", "sphere"])
        self.similar = self.domain == "sphere" and self.rng.random() < 0.5
        self.count = self.rng.choice([1, 1, 1, 2])
        self.parameters = ("m=0..1", "beta=positive", "c=0.5")
        self.text = self.gaps() if self.rng.random() < 0.6 else self.any()

    def distance(self, label):
        return f"(1 - s_{label})" if self.similar else f"r_{label}"

    def gap(self):
        label = self.rng.randint(1, self.count)
        gap = f"{self.distance('p')} - {self.distance(label)}"
        return gap + self.rng.choice(["", "", " + m", " - c", " + r_0", " + 1"])

    def shape(self, inside):
        rng = self.rng
        one = rng.choice(
            ["relu({})", "relu({})^2", "softplus({})", "softplus(({})/tau)", "tanh({})", "exp({})", "({})", "abs({})", "max({}, -1)",
             "sigmoid(beta*({}))", "({})^3", "({})^2", "min({}, 2)", "log1p(exp({}))", "relu({} - 1)*2", "sqrt(1 + ({})^2)", "abs({})^3"]
        )  # fmt: skip
        return one.format(inside)

    def gaps(self):
        parts = [self.shape(self.gap()) for _ in range(self.rng.randint(1, 2))]
        if self.count == 2:
            parts.append(f"softplus({self.distance('p')} - {self.distance(2)})")
        weights = [self.rng.choice(["", "", "2*", "m*", "beta*", "-"]) for _ in parts]
        return " + ".join(w + p for w, p in zip(weights, parts, strict=True))

    def any(self):
        rng, p, n = self.rng, self.distance("p"), self.distance(self.count)
        near = self.shape(rng.choice([p, f"{p} - m", f"2*{p}"]))
        far = self.shape(rng.choice([n, f"m - {n}", f"-{n}", f"1 - {n}", f"2 - {n}", f"3 - {n}"]))
        return f"{near} {rng.choice(['+', '-'])} {rng.choice(['', 'beta*', '3*'])}{far}"

    def point(self, rng):
        """A point of the domain by name."""
        top = TOP[self.domain]
        labels = ["p", *map(str, range(1, self.count + 1))]
        values = {
            f"r_{label}": mpmath.mpf(rng.choice([rng.uniform(0.001, top - 0.001), rng.uniform(0.001, 0.3)]))
            for label in labels
        }
        values |= {
            "tau": mpmath.mpf(rng.uniform(0.1, 3)),
            "r_0": mpmath.mpf(rng.uniform(-3, 3)),
            "m": mpmath.mpf(rng.random()),
        }
        return values | {
            "beta": mpmath.mpf(rng.choice([rng.uniform(0.01, 1), rng.uniform(1, 20)])),
            "c": mpmath.mpf(0.5),
        }


def value(text, at):
    """The text as mpmath reads it; our own texts only."""
    at = at | {"s" + name[1:]: 1 - v for name, v in at.items() if re.fullmatch(r"r_(p|[1-9])", name)}
    return eval(text.replace("^", "**"), FUNCTIONS, at)  # noqa: S307


def slope(text, at, name, step=EDGE):
    """The slope by both one-sided differences of second order; None at a kink."""
    with mpmath.workdps(50):
        here, sides = value(text, at), []
        for turn in (1, -1):
            one, two = (value(text, at | {name: at[name] + turn * k * step}) for k in (1, 2))
            sides.append(turn * (4 * one - two - 3 * here) / (2 * step))
    scale = 1 + abs(sides[0])
    return sides[0] if abs(sides[0] - sides[1]) < mpmath.mpf(10) ** -7 * scale else None


def measured(text, quantity, at):
    """The quantity of a condition at a point, from the text of the loss alone."""
    names = ["r_p", *(f"r_{k}" for k in range(1, 5) if f"r_{k}" in at)]
    if "+ " in quantity:
        values = [slope(text, at, name) for name in names]
        return None if None in values else sum(values)
    return slope(text, at, "r_p" if quantity == "dL/dr_+" else quantity.removeprefix("dL/d"))


def violates(text, quantity, number):
    """Whether a value violates a condition, by more than the differences are off."""
    tiny = mpmath.mpf(10) ** -6
    if text.endswith("= 0") and ">" not in text and "<" not in text:
        return abs(number) > tiny
    return (number if ">" in text else -number) < -tiny


def refutes(text, number):
    """Whether a value, however small, violates a condition."""
    if ">" in text or "<" in text:
        number = number if ">" in text else -number
        return number < 0 or (number == 0 and "=" not in text)
    return number != 0


def check(seed):
    """No proved condition fails at a point, and every refuted one fails at its own point; the number decided."""
    drawn, rng = RandomLoss(seed), random.Random(seed + 1)
    names = [p for p in drawn.parameters if re.search(rf"\b{p.partition('=')[0]}\b", drawn.text)]
    loss = loss_of(drawn.text, drawn.count, read_parameters(names), domain=drawn.domain)
    strict = family_conditions(loss)
    points = [drawn.point(rng) for _ in range(60)]
    decided = 0
    for condition in (*strict, *weak_conditions(loss, strict)):
        if condition.quantity == "L" or "everywhere" in condition.text:
            continue
        found = condition.decision.value
        decided += found is not None
        if found is True:
            for at in points:
                number = measured(drawn.text, condition.quantity, at)
                assert number is None or not violates(condition.text, condition.quantity, number), (
                    seed,
                    drawn.text,
                    condition,
                    at,
                )
        if found is False and condition.point not in (None, "every point"):
            at = points[0] | {
                n: mpmath.mpf(sympy.Rational(v).p) / sympy.Rational(v).q
                for n, v in (x.split(" = ") for x in condition.point.split(", "))
            }
            number = measured(drawn.text, condition.quantity, at)
            inside = all(
                0 <= at[n] <= (2 if drawn.domain == "sphere" else 10**9)
                for n in at
                if n.startswith("r_") and n != "r_0"
            )
            inside = inside and 0 <= at["m"] <= 1 and at["beta"] > 0 and at["tau"] > 0
            assert inside, (seed, drawn.text, condition)
            shown = mpmath.mpf(
                condition.value if "/" not in condition.value else float(sympy.Rational(condition.value))
            )
            assert refutes(condition.text, shown), (seed, drawn.text, condition)
            assert number is None or abs(number - shown) < mpmath.mpf(10) ** -6 * (1 + abs(shown)), (
                seed,
                condition,
                number,
            )
    return decided


@pytest.mark.parametrize("seed", range(24))
def test_random_losses_against_mpmath(seed):
    check(seed)


def test_most_random_losses_are_decided():
    decided = [check(seed) for seed in range(100, 112)]
    assert sum(decided) > 30


def sides(text, **options):
    """Whether the strict and the weak conditions hold."""
    loss = loss_of(text, **options)
    strict = family_conditions(loss)
    return membership_decision(strict).value, membership_decision(weak_conditions(loss, strict)).value


KNOWN = {
    "relu(r_p - r_1 + r_0)": (False, True), "relu(r_p - r_1)^2": (False, True), "abs(r_p - r_1) + r_p - r_1": (False, True),
    "2*(r_p - r_1) + abs(r_p - r_1)": (True, True), "(r_p - r_1)^3": (False, True), "r_p - r_2": (False, True),
    "-relu(r_p - r_1)": (False, False), "3": (False, False), "relu(r_1 - r_p)": (False, False), "abs(r_p - r_1)": (False, False),
    "min(r_p - r_1, 1)": (False, True), "tanh(r_p - r_1)": (True, True), "tanh(r_p) - tanh(r_1)": (False, False),
    "softplus(r_p - r_1) + relu(r_p - r_2)": (False, True), "r_p + relu(1 - r_1)": (False, False),
}  # fmt: skip


@pytest.mark.parametrize("text", KNOWN)
def test_known_members(text):
    assert sides(text) == KNOWN[text]


@pytest.mark.parametrize(
    ("text", "plane", "sphere"),
    [
        ("relu(3 - r_1) + r_p", False, True), ("relu(2 - r_1) + r_p", False, True), ("relu(1 - r_1) + r_p", False, False),
        ("(r_p - r_1)*(3 + r_p - r_1)^2", False, False), ("4*(r_p - r_1) + (r_p - r_1)^2/2", False, True),
        ("(r_p - r_1) + (r_p - r_1)^2/2", False, False), ("20*(r_p - r_1) + (r_p - r_1)^3 - exp(r_p - r_1)", False, True),
    ],
)  # fmt: skip
def test_a_domain_decides(text, plane, sphere):
    """``4 + u > 0`` for u in [-2, 2] but not for every real u, and so on."""
    assert sides(text, domain="euclidean")[0] is plane
    assert sides(text, domain="sphere")[0] is sphere


def test_a_slope_that_is_infinite_somewhere_has_no_strict_sign():
    for domain in ("euclidean", "sphere"):
        loss = loss_of("sqrt(r_p) - r_1", domain=domain)
        strict = family_conditions(loss)
        assert [c.decision.value for c in strict[:2]] == [None, True]


def test_a_range_of_a_parameter_decides():
    assert sides("lam*(r_p - r_1)", parameters=["lam=0.5..1"]) == (True, True)
    assert sides("lam*(r_p - r_1)", parameters=["lam=0..1"]) == (False, True)
    assert sides("lam*(r_p - r_1)", parameters=["lam=-1..1"]) == (False, False)
    assert sides("(tau - 1)*(r_p - r_1)", parameters=["tau=2..3"])[0] is True
    assert sides("(lam - 1)*(r_p - r_1)", parameters=["lam=3"])[0] is True


x, y, t = (*sympy.symbols("x y", real=True), sympy.Symbol("t", positive=True))
UNIT = {x: (sympy.Integer(0), sympy.Integer(1)), y: (sympy.Integer(0), sympy.Integer(1))}


@pytest.mark.parametrize(
    ("expression", "strict", "weak"),
    [
        (x, False, True), (1 - x, False, True), (x * (1 - x), False, True), (2 - x - y, False, True), (3 - x - y, True, True),
        (x - y, False, False), (x**2 - x + sympy.Rational(1, 4), False, True), (x**2 - x + sympy.Rational(26, 100), True, True),
        (x * y - x - y + 1, False, True), (x * y - x - y + sympy.Rational(101, 100), True, True), (sympy.exp(-x) - sympy.Rational(36, 100), True, True),
        (sympy.exp(-x) - sympy.Rational(37, 100), False, False), (sympy.exp(x / t) - 1, False, True), (2 - sympy.exp(-x / t), True, True),
        (sympy.log(1 + x) - x / 2, False, None), (1 / (1 + x) - sympy.Rational(1, 2), False, True), (sympy.Max(x, y) - sympy.Min(x, y), False, True),
        (sympy.Heaviside(x - 2) + 1, True, True), (sympy.Heaviside(2 - x) - 1, False, True), (sympy.Abs(x - y) + 1 - x, False, True),
    ],
)  # fmt: skip
def test_signs_on_the_unit_square(expression, strict, weak):
    assert decide_on(expression, True, UNIT).decision.value in (strict, None)
    assert decide_on(expression, False, UNIT).decision.value in (weak, None)
    assert (
        (strict is None)
        or decide_on(expression, strict is True, UNIT).decision.value is not False
        or weak is False
        or not strict
    )
    if strict:
        assert decide_on(expression, True, UNIT).decision.value is True
    if weak is False:
        assert decide_on(expression, False, UNIT).decision.value is False


def test_a_bernstein_form_proves_only_what_is_true():
    """Random polynomials: what is proved holds on a grid, and most that hold are proved."""
    rng, proved, true = random.Random(0), 0, 0
    grid = [(sympy.Rational(i, 12), sympy.Rational(k, 12)) for i in range(13) for k in range(13)]
    for _ in range(30):
        poly = sum(rng.randint(-3, 4) * x**i * y**k for i in range(3) for k in range(3))
        terms = sympy.Poly(poly, x, y).terms()
        values = [sum(c * a**i * b**k for (i, k), c in terms) for a, b in grid]
        found = decide_on(sympy.sympify(poly), True, UNIT).decision.value
        if found is True:
            assert min(values) > 0, poly
        proved, true = proved + int(found is True), true + int(bool(min(values) > 0))
    assert proved >= true * 2 // 3 > 2


def test_kinks_are_left_out_and_nothing_else():
    step = sympy.Heaviside(x - y)
    assert decide_zero_on(step + sympy.Heaviside(y - x) - 1, UNIT).decision.value is True
    assert decide_zero_on(step * (1 - step), UNIT).decision.value is True  # 1/4 on the kink alone
    assert decide_zero_on(step - sympy.Heaviside(x - y + 1), UNIT).decision.value is False
    same = sympy.Max((x + y) ** 2, x**2 + 2 * x * y + y**2)  # a tie everywhere
    assert len(list(cases(same, UNIT))) >= 1
    assert decide_zero_on(same, UNIT).decision.value is not True


def test_a_maximum_with_one_side_on_the_domain_is_settled():
    assert settled(sympy.Max(0, 3 - x), UNIT) == 3 - x
    assert settled(sympy.Max(0, 1 - x), UNIT) == 1 - x
    assert settled(sympy.Max(0, sympy.Rational(1, 2) - x), UNIT).has(sympy.Max)
    assert settled(sympy.Min(x, 2) + sympy.Max(y, -1), UNIT) == x + y
    assert settled(sympy.Max(0, 3 - t), {}).has(sympy.Max)


def test_steps_are_merged_where_that_changes_no_value():
    gap = x - y
    assert canonical(sympy.Heaviside(gap) * sympy.Max(0, gap)) == sympy.Max(0, gap)
    assert canonical(sympy.Heaviside(2 * gap) * sympy.Max(0, gap)) == sympy.Max(0, gap)
    assert canonical(sympy.Heaviside(-gap) * sympy.Max(0, gap)).has(sympy.Heaviside)
    both = canonical(sympy.Heaviside(gap) - 2 * sympy.Heaviside(-2 * gap))
    assert len(both.atoms(sympy.Heaviside)) == 1
    for a, b in ((1, 2), (2, 1), (1, 1)):
        at = {x: sympy.Integer(a), y: sympy.Integer(b)}
        assert both.xreplace(at) == (sympy.Heaviside(gap) - 2 * sympy.Heaviside(-2 * gap)).xreplace(at)


@pytest.mark.parametrize(
    ("expression", "up", "down", "nonzero"),
    [
        (x * y, True, False, False), ((1 + x) * (2 - y), True, False, True), (1 + x - y, True, False, False), (x - 2, False, True, True),
        (x * y - x - y + 1, True, False, False), (2 * x - x * y + 2 * y - x**2 * y, True, False, False), (sympy.exp(x * y) - 1, True, False, False),
        ((4 * x**2 - 4 * x + 1) * (1 + y), True, False, False), (-(4 * x**2 - 4 * x + 1) * t, False, True, False),
        (1 - sympy.exp(-x / t), True, False, False), (sympy.exp(x / t) + sympy.exp(-y / t) - 1, True, False, True), (t - x, False, False, False),
        ((2 * x - 1) ** 3 * (2 * x - 1), True, False, False), ((2 * x - 1) ** 3, False, False, False),
    ],
)  # fmt: skip
def test_what_is_proved_of_a_sign(expression, up, down, nonzero):
    found, _ = sign_on(sympy.expand(expression), UNIT)
    assert (found.up, found.down) == (up, down)
    assert found.nonzero is nonzero or not (up or down)


def test_a_step_has_no_value_on_its_kink():
    step = sympy.Heaviside(x - y)
    at = {x: sympy.Rational(1, 3), y: sympy.Rational(1, 3)}
    assert value_off_kinks(2 * step - 2, at) is None
    assert value_off_kinks(sympy.Max(x - y, 0), at) == 0  # continuous: it has one there
    assert value_off_kinks(2 * step - 3, at | {x: sympy.Integer(1)}) == -1
    assert value_off_kinks(sympy.log(x - y), at) is None
    assert value_off_kinks(sympy.sqrt(x - 1), at) is None


def test_a_constraint_that_may_be_an_equality_proves_no_strict_sign():
    for kind, nonzero in ((">=", False), (">", True)):
        found, _ = sign_on(x - y, UNIT, (Constraint(x - y, kind),))
        assert (found.up, found.nonzero) == (True, nonzero)


def test_gaps_on_the_sphere_lie_between_minus_2_and_2():
    open_ = [Located(Decision(None, ABSTAINED))]
    for text, proved in (("3/2*(r_p - r_1) + (r_p - r_1)^2/2", None), ("5/2*(r_p - r_1) + (r_p - r_1)^2/2", True)):
        (found,) = _by_gaps(loss_of(text, domain="sphere"), open_, strict=True)
        assert found.decision.value is proved
