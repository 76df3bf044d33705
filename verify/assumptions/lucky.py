"""Assumptions of statement 7, dropped: other laws of the weights, neurons that depend on each other, other neurons."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from itertools import product

import numpy as np
from flint import fmpq

from verify.engine.assumptions import Sides
from verify.engine.statement import Assumption, Context
from verify.instances.samples import generator
from verify.lucky.exact import averaged_survival, neurons, shortfall, summary
from verify.tolerance.rounding import gamma
from verify.trees.assumptions import QUARTER, Law, Variable, child, prior
from verify.trees.instance import TreeInstance
from verify.trees.lucky import Moments, stated_bound, stated_existence, stated_survival
from verify.trees.samples import tree_of
from verify.trees.ways import enumeration

HALF = Fraction(1, 2)
ONE_LEAF = (Fraction(1),)
TWO_LEAVES = (HALF, HALF)


def two_points(context: Context) -> Iterator[Sides]:
    """Weights -b or b: a gap that is half of its largest value or more has probability 1/2."""
    signs = (-1, 1)
    left = Fraction(sum(2 * sign >= 1 for sign in signs), len(signs))
    yield Sides("one child, a = 1, weights -b or b", "P(g >= b), claimed law of a uniform weight", left,
                stated_survival(ONE_LEAF, Fraction(1)))  # fmt: skip


def one_weight(context: Context) -> Iterator[Sides]:
    """All weights of a neuron equal: the gap of two children is that of one."""
    x = Fraction(3, 2)
    yield Sides("two children, a = (1/2, 1/2), w_2 = w_1", "P(g >= 3b/2), claimed law", averaged_survival(ONE_LEAF, x),
                stated_survival(TWO_LEAVES, x))  # fmt: skip


def copies(context: Context) -> Iterator[Sides]:
    """Two neurons of the same weights: the second is lucky when the first is."""
    p = stated_survival(ONE_LEAF, Fraction(1))
    yield Sides("two neurons of equal weights, P = 1/4", "P(some g >= t), 1 - (1 - P)^2", p, stated_existence(p, 2))


def drawn_below(context: Context) -> Iterator[Sides]:
    """One child of one ReLU neuron whose weight is drawn too: dead for a negative weight, and no gap is above 0 then.

    P is 0 or 1/2, each with probability 1/2.
    """
    p = [Fraction(0), HALF]
    left = sum((stated_existence(q, 2) * HALF for q in p), Fraction(0))
    yield Sides("two neurons over one ReLU neuron of a drawn weight", "P(some g > 0), 1 - (1 - E[P])^2", left,
                stated_existence(sum(p, Fraction(0)) / 2, 2))  # fmt: skip


def three_states(context: Context) -> Iterator[Sides]:
    """A leaf of states 0, 1, 2 where rho and s = 1/2 are those of the states 0 and 1."""
    reads = {(0,): (HALF, HALF, Fraction(0)), (1,): (QUARTER, QUARTER, HALF)}
    law = Law.of([prior(), Variable("x", ("z",), reads)])
    gap = law.mean(lambda s: Fraction(s["x"]), z=1) - law.mean(lambda s: Fraction(s["x"]), z=0)
    yield Sides("one leaf of states 0, 1, 2, w = 1", "gap, 2 w a", gap, 2 * law.polarity("z", "x") * HALF)


def not_screened(context: Context) -> Iterator[Sides]:
    """A leaf that depends on its parent and on z, read by a neuron of its parent."""
    rows = {(a, z): (1 - Fraction(a + 2 * z, 4), Fraction(a + 2 * z, 4)) for a, z in product((0, 1), repeat=2)}
    law = Law.of([prior(), child("a", "z", QUARTER, 1 - QUARTER), Variable("x", ("a", "z"), rows)])
    gap, s = ((law.mean(lambda state: Fraction(state["x"]), **{at: 1})
               - law.mean(lambda state: Fraction(state["x"]), **{at: 0})) for at in ("z", "a"))  # fmt: skip
    yield Sides("z -> a -> x and z -> x, P(x = 1) = (a + 2z)/4, w = 1", "gap at z, 2 w rho_za s_a", gap,
                law.polarity("z", "a") * s)  # fmt: skip


def without_variance(context: Context) -> Iterator[Sides]:
    """v = 0 below Var(p | z = 0): p = x - y, both leaves 1 at z = 1, even at z = 0."""
    tree = tree_of({"a": ("r", (0.25, 0.75)), "x": ("a", (0.5, 1.0)), "y": ("a", (0.5, 1.0))})
    instance = TreeInstance(tree, (((1.0,),), ((1.0, -1.0),)), 0.0)
    neuron = next(neurons(enumeration(instance), "a"))
    m = neuron.moments
    line, factor, _ = stated_bound(Moments(m.m_0, m.m_1, fmpq(0), m.v_1, m.slope))
    # The radicand is the square of m_0 now.
    yield Sides(f"p = x - y, P(1|0) = 1/2, P(1|1) = 1, v = 0 where Var(p|0) = {m.v_0}", "selectivity, bound",
                neuron.selectivity, line - factor * abs(m.m_0), relation=">=")  # fmt: skip


def saturated(context: Context) -> Iterator[Sides]:
    """tanh: p = 0 at z = 0 and p = 4 at z = 1."""
    line, factor, radicand = stated_bound(Moments(0.0, 4.0, 0.0, 0.0, 0.0))
    yield Sides("f = tanh(p), p = 4 z", "selectivity, bound", math.tanh(4.0) / 2, line - factor * math.sqrt(radicand),
                8 * gamma(8), relation=">=")  # fmt: skip


def any_law(biased: bool, context: Context) -> Iterator[Sides]:
    """The bound for a pre-activation of any law, four values in either state of z, with a bias on request."""
    rng = generator(context.seed, f"laws of a pre-activation, biased {biased}")
    for _ in range(context.pick(quick=30, thorough=1000)):
        slope = fmpq(int(rng.integers(0, 4)), 4)
        bias = fmpq(int(rng.integers(-8, 8, endpoint=True)), 4) if biased else fmpq(0)
        rows = []
        for _state in range(2):
            cuts = np.diff([0, *np.sort(rng.integers(0, 16, size=3, endpoint=True)), 16])
            values = rng.integers(-16, 16, size=4, endpoint=True)
            rows.append([(fmpq(int(p), 16), fmpq(int(v), 4) + bias) for p, v in zip(cuts, values, strict=True)])
        (m_0, v_0, s_0), (m_1, v_1, s_1) = (summary(row, slope) for row in rows)
        bound = stated_bound(Moments(m_0, m_1, v_0, v_1, slope))
        yield Sides(f"p of four values in either state, slope {slope}, bias {bias}", "shortfall below the bound, zero",
                    shortfall((s_1 - s_0) / 2, bound), 0.0)  # fmt: skip


def biased_gap(context: Context) -> Iterator[Sides]:
    """The gap of p = w x + b."""
    for bias, high in product((1, -2, 5), (Fraction(3, 4), Fraction(1), Fraction(1, 8))):
        law = Law.of([prior(), child("x", "z", QUARTER, high)])
        value = partial(lambda shift, s: Fraction(3 * s["x"] + shift), bias)
        gap = law.mean(value, z=1) - law.mean(value, z=0)
        yield Sides(f"one leaf of polarity {high - QUARTER}, w = 3, b = {bias}", "gap, 2 w a", gap,
                    2 * 3 * law.polarity("z", "x") * HALF)  # fmt: skip


def biased_selectivity(context: Context) -> Iterator[Sides]:
    """The bound by the moments of w x, for a neuron max(w x - 1, 0) that a bias turns off."""
    laws = [[(fmpq(1), fmpq(0))], [(fmpq(1), fmpq(1))]]
    plain = [summary(rows, fmpq(0)) for rows in laws]
    moved = [summary([(p, value - 1) for p, value in rows], fmpq(0)) for rows in laws]
    # p is 0 at z = 0, always: the radicand vanishes.
    line, _, _ = stated_bound(Moments(plain[0][0], plain[1][0], plain[0][1], plain[1][1], fmpq(0)))
    yield Sides("f = max(x - 1, 0), x = z, moments of w x", "selectivity, bound", (moved[1][2] - moved[0][2]) / 2,
                line, relation=">=")  # fmt: skip


def other_range(context: Context) -> Iterator[Sides]:
    """Weights uniform on [-2b, 2b] where the law is that of [-b, b]."""
    yield Sides("one child, a = 1, weights uniform on [-2b, 2b]", "P(g >= b), claimed law",
                averaged_survival((Fraction(2),), Fraction(1)), stated_survival(ONE_LEAF, Fraction(1)))  # fmt: skip


def steep(context: Context) -> Iterator[Sides]:
    """A slope above one, where the bound's (1 - a) is negative."""
    rows = [[(fmpq(1), fmpq(0))], [(fmpq(1, 2), fmpq(-2)), (fmpq(1, 2), fmpq(2))]]
    (m_0, v_0, s_0), (m_1, v_1, s_1) = (summary(row, fmpq(3)) for row in rows)
    # p is 0 at z = 0, always: the radicand vanishes.
    line, _, _ = stated_bound(Moments(m_0, m_1, v_0, v_1, fmpq(3)))
    yield Sides("slope 3, p = 0 at z = 0, p = -2 or 2 at z = 1", "selectivity, bound", (s_1 - s_0) / 2,
                line, relation=">=")  # fmt: skip


ASSUMPTIONS = (
    Assumption("weights uniform, for the law", "-b or b", two_points),
    Assumption("weights uniform on [-b, b], for the law", "on [-2b, 2b]", other_range),
    Assumption("weights of a neuron independent, for the law", "equal", one_weight),
    Assumption("neurons independent, for existence", "two neurons of equal weights", copies),
    Assumption("the groups below given, for existence", "drawn too", drawn_below),
    Assumption("children binary, for the gap", "a leaf of three states", three_states),
    Assumption("children that screen off the leaves, for the gap", "a leaf that depends on z as well", not_screened),
    Assumption("no biases, for the gap", "a bias", biased_gap, False),
    Assumption("v >= Var(p | z = 0), for the bound", "v = 0", without_variance),
    Assumption("ReLU or leaky, for the bound", "tanh", saturated),
    Assumption("slope at most 1, for the bound", "slope 3", steep),
    Assumption("moments of the whole pre-activation, for the bound", "a bias left out of them", biased_selectivity),
    Assumption("no biases, for the bound", "a bias that the moments include", partial(any_law, True), False),
    Assumption("weights iid and children binary, for the bound", "any law of p", partial(any_law, False), False),
)
