"""Asymptotic statements: exponents with intervals, and everything that must leave one open."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import strategies as st

from hltm.base.errors import InputError
from verify import Context, JsonInstance, user_statement
from verify.engine.runner import run
from verify.own.files import OwnEntry
from verify.own.orders import CLEAR, AsymptoticSides, Exponent, fit

X = (1.0, -2.0, 0.0)


@dataclass(frozen=True)
class Scaled(JsonInstance):
    s: float
    x: tuple[float, ...]
    n: int = 1


def side(function):
    """A side from a function of s and x."""
    return lambda i, at: function(at.array(i.s), at.array(i.x))


def measured(theory, numeric, order, s=0.75, exact=None, claim=None):
    sides = AsymptoticSides("x", side(theory), side(numeric), exact, None, order=order, in_="s")
    return sides.measure_float(Scaled(s, X), claim)


def nothing(s, x):
    return 0 * x


@pytest.mark.parametrize(
    ("theory", "numeric", "order"),
    [
        (lambda s, x: s * x, lambda s, x: np.sin(s * x), 3),
        (lambda s, x: 1 + s * x, lambda s, x: np.exp(s * x), 2),
        (lambda s, x: 1 - (s * x) ** 2 / 2, lambda s, x: np.cos(s * x), 4),
        (nothing, lambda s, x: np.sqrt(np.abs(s)) * x, 0.5),
        (nothing, lambda s, x: s**2 * x / (1 + 30 * s * x**2), 2),
        (nothing, lambda s, x: x / 3e5 * np.abs(s) ** 1.5, 1.5),
    ],
)
def test_an_exponent_is_found_from_both_sides(theory, numeric, order):
    for claimed, status in (
        (order, "holds"),
        (order - 0.25, "holds"),
        (order + 0.5, "refuted"),
        (order + 2, "refuted"),
    ):
        for s in (0.75, -0.5 if order == int(order) else 0.5):
            result = measured(theory, numeric, claimed, s)
            assert result.status == status, (claimed, s, result)
            assert "exponent" in result.detail
            assert f"claimed {claimed:g}" in result.detail


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda s, x: s**2 * np.log(s) * x, "do not converge"),
        (lambda s, x: s**2 * np.sin(1 / s) * x, "do not converge"),
        (lambda s, x: np.maximum(s - 1e-3, 0) * x, "do not converge"),
        (lambda s, x: s * (s > 1e-3) * x, "in another way"),
        (lambda s, x: s**9 * x, "rounding hides all but"),
    ],
)
@pytest.mark.parametrize("order", [1, 2, 12])
def test_what_has_no_exponent_in_sight_is_left_open(function, reason, order):
    one = side(lambda s, x: 1 + 0 * x)
    other = side(lambda s, x: 1 + function(s, x))
    sides = AsymptoticSides("x", one, other, None, None, order=order, in_="s")
    result = sides.measure_float(Scaled(0.75, X))
    assert result.status == "abstained", result
    assert reason in result.detail


def test_no_difference_holds_and_a_scale_too_small_does_not():
    assert measured(lambda s, x: 2 * x, lambda s, x: x + x, 3, s=1e-12).status == "holds"
    rounded = measured(lambda s, x: x / 3, lambda s, x: x * (1 / 3), 3)
    assert rounded.status == "holds", rounded
    tiny = measured(lambda s, x: 1 + s * x / 3, lambda s, x: 1 + s * x * (1 / 3) + s * x**2, 2, s=1e-13)
    assert tiny.status == "abstained", tiny
    assert measured(lambda s, x: x / 3, lambda s, x: x * (1 / 3), 3, s=0.0).status == "abstained"
    for s, status in ((0.5, "holds"), (1e-13, "abstained")):
        rounded = measured(lambda s, x: x * 0.3, lambda s, x: x * 0.1 + x * 0.2, 3, s=s)
        assert rounded.status == status, rounded


def test_a_side_that_overflows_at_small_scales_refutes_no_order():
    result = measured(lambda s, x: s * x, lambda s, x: s * x * s**-60.0 / s**-60.0, 1)
    assert (result.status, result.detail) == ("abstained", "a side is not finite")


def test_a_point_that_is_clear_by_itself_ends_no_row():
    scales = 0.5 ** np.arange(12)
    tolerances = np.where(np.arange(12) == 10, 1e-9, 1e-15)
    result = fit(scales, scales**2, tolerances)
    assert isinstance(result, Exponent)
    assert result.smallest == scales[9]
    assert isinstance(fit(scales, scales**2, np.where(np.arange(12) % 5 == 0, 1.0, 1e-15)), str)


@pytest.mark.parametrize(
    ("interval", "order", "status"),
    [
        ((1.99, 2.01), 2, "holds"), ((2.4, 2.6), 2, "holds"), ((1.94, 1.96), 2, "abstained"), ((1.4, 2.1), 2, "abstained"),
        ((1.69, 1.71), 2, "refuted"), ((1.5, 1.8), 2, "abstained"), ((1.85, 1.95), 2, "abstained"), ((0.99, 1.01), 1.5, "refuted"),
    ],
)  # fmt: skip
def test_an_interval_is_judged(interval, order, status):
    low, high = interval
    assert Exponent((low + high) / 2, low, high, 1e-3, 1.0).judge(order) == status


def test_an_entry_refutes_beside_one_without_an_exponent():
    def numeric(s, x):
        return np.stack([s * np.sin(1 / s), s])

    result = measured(lambda s, x: np.stack([0 * s, 0 * s]), numeric, 2)
    assert (result.status, result.residual > 0.9) == ("refuted", True)


def test_one_entry_of_a_lower_order_refutes():
    def numeric(s, x):
        return s**2 * np.ones(3) + np.array([0.0, 0.0, 1e-3]) * s

    result = measured(nothing, numeric, 2)
    assert result.status == "refuted"
    assert "exponent 1.0" in result.detail


def test_a_mutant_is_measured_in_the_same_way():
    result = measured(lambda s, x: 1 + s * x, lambda s, x: np.exp(s * x), 2, claim=side(lambda s, x: 1 + 1.001 * s * x))
    assert result.status == "refuted"


def test_rationals_know_no_rounding():
    sides = AsymptoticSides(
        "x", side(lambda s, x: 1 + 0 * x), side(lambda s, x: 1 + s**9 * x), side(lambda s, x: 1 + s**9 * x), None,
        order=9, in_="s",
    )  # fmt: skip
    assert sides.measure_float(Scaled(0.75, X)).status == "abstained"
    assert sides.measure_exact(Scaled(0.75, X)).status == "holds"
    assert sides.measure_exact(Scaled(0.75, X), side(lambda s, x: 1 + s**8 * x)).status == "refuted"


@pytest.mark.parametrize("true", [0.5, 1.0, 2.0, 3.0])
def test_the_interval_covers_whatever_the_next_term_is(true):
    """Random expansions with a next term of order 1/2 or more: no interval misses its exponent."""
    rng = np.random.default_rng(3)
    scales = 0.7 / 2.0 ** np.arange(21)
    settled = 0
    for _ in range(400):
        second, third = rng.choice([0.5, 1.0, 1.5, 2.0]), rng.uniform(2, 3)
        sizes = np.abs(scales**true * (1 + rng.normal() * 3 * scales**second + rng.normal() * 9 * scales**third))
        tolerances = np.full(21, 10.0 ** rng.uniform(-16, -9))
        moved = sizes + tolerances * rng.uniform(-1, 1, 21)
        result = fit(scales, np.abs(moved), tolerances)
        if isinstance(result, Exponent):
            settled += 1
            assert result.low <= true <= result.high, (second, third, result)
    assert settled > 100
    assert CLEAR >= 1e3


@pytest.mark.parametrize("exact", [False, True])
def test_an_inequality_up_to_an_order(exact):
    """theory <= numeric + O(s^2): only what is too large counts."""
    for sign, status in ((1, "refuted"), (-1, "holds")):
        one, other = side(lambda s, x: 1 + 0 * x), side(lambda s, x, sign=sign: 1 - sign * s * (x * x + 1) + s * s * x)
        sides = AsymptoticSides("x", one, other, other, None, "<=", order=2, in_="s")
        measured_ = sides.measure_exact if exact else sides.measure_float
        assert measured_(Scaled(0.75, X)).status == status


@dataclass(frozen=True)
class Bounded(JsonInstance):
    s: float
    x: tuple[float, ...]

    def __post_init__(self):
        if abs(self.s) < 0.01:
            raise ValueError("too small")


def test_an_instance_that_refuses_a_scale_is_one_line():
    sides = AsymptoticSides("mine", side(nothing), side(nothing), None, None, order=2, in_="s")
    with pytest.raises(InputError, match=r"statement 'mine', s = 0\.005") as error:
        sides.measure_float(Bounded(0.64, X))
    assert "too small" in str(error.value)


def entry(one):
    return OwnEntry(one.slug, None, one.title, "", one)


def statement(**changes):
    options = {
        "title": "exponential", "claim": "e^s = 1 + s + O(s^2)", "theory": side(lambda s, x: 1 + s * x),
        "numeric": side(lambda s, x: np.exp(s * x)), "order": 2, "in_": "s",
        "strategy": st.builds(Scaled, st.sampled_from([k / 8 for k in range(1, 9)]),
                              st.tuples(*[st.integers(1, 24).map(lambda k: k / 8)] * 2)),
        "variants": {"half": side(lambda s, x: 1 + s * x / 2), "constant": side(lambda s, x: 1 + 0 * x)},
    }  # fmt: skip
    return user_statement(**options | changes)


def test_a_statement_with_an_order_runs_and_its_false_twin_falls():
    for kind in ("float", "variants"):
        (result,) = run([entry(statement())], Context(), only=kind)
        assert result.verdict == "holds", result
    (third,) = run([entry(statement(order=3))], Context(), only="property")
    assert third.verdict == "refuted"


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"order": None}, "in_"), ({"in_": None}, "order"), ({"order": 0}, "order=0"), ({"order": "2"}, "order='2'"),
        ({"order": True}, "order=True"), ({"in_": "t"}, "in_='t'"), ({"in_": "n"}, "in_='n'"), ({"in_": 3}, "in_=3"),
        ({"order": float("nan")}, "order=nan"),
    ],
)  # fmt: skip
def test_an_order_that_is_none_is_refused(changes, fragment):
    with pytest.raises(InputError, match="statement 'exponential'") as error:
        statement(**changes)
    assert fragment in str(error.value)
    assert "\n" not in str(error.value)
