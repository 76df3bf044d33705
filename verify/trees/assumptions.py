"""Assumptions of statements 6 and 7, dropped one at a time.

A loop is no tree, so small Bayesian networks are enumerated here by hand, in rationals; what is about the network on
the leaves is enumerated by `verify.trees.enumeration`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from flint import fmpq

from verify.engine.assumptions import Sides, of_measurement
from verify.engine.statement import Assumption, Context
from verify.instances.instance import TreeInstance
from verify.instances.samples import generator
from verify.tolerance.rounding import gamma
from verify.towers.tower import Array
from verify.trees import samples
from verify.trees.agreement import enumerated, enumeration, measure_exact
from verify.trees.claims import STATED, Claim, Node, block_update, categorical, from_gap, o, outer, walsh_difference
from verify.trees.lucky import (
    Moments,
    averaged_survival,
    neurons,
    shortfall,
    stated_bound,
    stated_existence,
    stated_survival,
    summary,
)
from verify.trees.samples import tree_of

State = Mapping[str, int]
Value = Callable[[State], Fraction]
QUARTER = Fraction(1, 4)


@dataclass(frozen=True)
class Variable:
    """A variable of a Bayesian network: its parents, and the law of its states for every choice of theirs."""

    name: str
    parents: tuple[str, ...]
    table: Mapping[Any, Sequence[Fraction]]


@dataclass(frozen=True)
class Law:
    """A joint law, as a list of states and probabilities."""

    rows: tuple[tuple[State, Fraction], ...]

    @classmethod
    def of(cls, network: Sequence[Variable]) -> Law:
        """By enumeration; every variable comes after its parents."""
        rows: list[tuple[dict[str, int], Fraction]] = [({}, Fraction(1))]
        for variable in network:
            rows = [
                ({**state, variable.name: index}, p * q)
                for state, p in rows
                for index, q in enumerate(variable.table[tuple(state[name] for name in variable.parents)])
                if q
            ]
        return cls(tuple(rows))

    def mean(self, value: Value, **given: int) -> Fraction:
        """E[value | given]."""
        kept = [(s, p) for s, p in self.rows if all(s[name] == at for name, at in given.items())]
        return sum((p * value(s) for s, p in kept), Fraction(0)) / sum((p for _, p in kept), Fraction(0))

    def variance(self, value: Value, *kept: str) -> Fraction:
        """V over the kept variables of E[value | kept]."""
        total, square = Fraction(0), Fraction(0)
        for at in {tuple(s[name] for name in kept) for s, _ in self.rows}:
            argument = dict(zip(kept, at, strict=True))
            p = sum((p for s, p in self.rows if all(s[n] == v for n, v in argument.items())), Fraction(0))
            mean = self.mean(value, **argument)
            total, square = total + p * mean, square + p * mean**2
        return square - total**2

    def gap(self, value: Value, above: str) -> Fraction:
        """E[value | above = 1] - E[value | above = 0]."""
        return self.mean(value, **{above: 1}) - self.mean(value, **{above: 0})

    def polarity(self, above: str, below: str) -> Fraction:
        """P(below = 1 | above = 1) - P(below = 1 | above = 0)."""
        return self.gap(lambda s: Fraction(s[below] == 1), above)

    def closed(self, root: str, node: str, leaf: str, s: Fraction = Fraction(1, 2)) -> Fraction:
        """rho_{0 mu}^2 (1 - rho_0^2) (rho_{mu nu} s)^2: the statement for one leaf read at `node`."""
        rho_0 = self.mean(lambda state: Fraction((-1, 1)[state[root]] if state[root] < 2 else 0))
        return self.polarity(root, node) ** 2 * (1 - rho_0**2) * (self.polarity(node, leaf) * s) ** 2


def prior(one: Fraction = Fraction(1, 2)) -> Variable:
    """The root z, with P(z = 1)."""
    return Variable("z", (), {(): (1 - one, one)})


def child(name: str, above: str, low: Fraction, high: Fraction) -> Variable:
    """A binary child with P(1 | 0) and P(1 | 1)."""
    return Variable(name, (above,), {(0,): (1 - low, low), (1,): (1 - high, high)})


def chain() -> Law:
    """z -> a -> x, P(1|0) = 1/4 and P(1|1) = 3/4 at either edge."""
    return Law.of([prior(), child("a", "z", QUARTER, 1 - QUARTER), child("x", "a", QUARTER, 1 - QUARTER)])


CHAIN_TEXT = "z -> a -> x, symmetric, both polarities 1/2"
QUANTITY = "V[E[x | kept]], o_a (rho_ax s)^2"


def leaf(state: State) -> Fraction:
    return Fraction(state["x"])


def loop(context: Context) -> Iterator[Sides]:
    """z -> a, z -> b, and x = a and b."""
    both = Variable(
        "x", ("a", "b"), {(a, b): (Fraction(1 - a * b), Fraction(a * b)) for a, b in product((0, 1), repeat=2)}
    )
    law = Law.of([prior(), *(child(name, "z", QUARTER, 1 - QUARTER) for name in "ab"), both])
    text = "z -> a, z -> b, both symmetric of polarity 1/2, x = a and b"
    yield Sides(text, "V[E[x | z]], o_a (rho_ax s)^2", law.variance(leaf, "z"), law.closed("z", "a", "x"))


def keeping(kept: tuple[str, ...], context: Context) -> Iterator[Sides]:
    """Other variables kept in place of the root."""
    law = chain()
    yield Sides(f"{CHAIN_TEXT}, kept: {', '.join(kept) or 'nothing'}", QUANTITY, law.variance(leaf, *kept),
                law.closed("z", "a", "x"))  # fmt: skip


def three_states(place: str, context: Context) -> Iterator[Sides]:
    """A latent or a root of three states where the binary form, which reads the states 0 and 1, is used."""
    half, third = Fraction(1, 2), Fraction(1, 3)
    if place == "root":
        rows = {(0,): (1 - QUARTER, QUARTER), (1,): (QUARTER, 1 - QUARTER), (2,): (Fraction(0), Fraction(1))}
        network = [
            Variable("z", (), {(): (third,) * 3}),
            Variable("a", ("z",), rows),
            child("x", "a", QUARTER, 1 - QUARTER),
        ]
    else:
        law_a = {(0,): (half, QUARTER, QUARTER), (1,): (QUARTER, QUARTER, half)}
        reads = {(0,): (Fraction(1), Fraction(0)), (1,): (half, half), (2,): (Fraction(0), Fraction(1))}
        network = [prior(), Variable("a", ("z",), law_a), Variable("x", ("a",), reads)]
    law = Law.of(network)
    yield Sides(f"z -> a -> x, {place} of three states", QUANTITY, law.variance(leaf, "z"), law.closed("z", "a", "x"))


def signed_leaves(context: Context) -> Iterator[Sides]:
    """Leaves -1 and 1, s = 1/2."""
    law = chain()
    yield Sides(f"{CHAIN_TEXT}, x in {{-1, 1}}", QUANTITY, law.variance(lambda s: Fraction(2 * s["x"] - 1), "z"),
                law.closed("z", "a", "x"))  # fmt: skip


def any_function(context: Context) -> Iterator[Sides]:
    """f = g(x, y) of two leaves below a, any function in place of a neuron: V = o_a s^2 with its own selectivity."""
    rng = generator(context.seed, "functions of leaves")
    for _ in range(context.pick(quick=20, thorough=500)):
        p = [Fraction(int(n), 16) for n in rng.integers(0, 16, size=7, endpoint=True)]
        g = {at: Fraction(int(n)) for at, n in zip(product((0, 1), repeat=2), rng.integers(-9, 9, size=4), strict=True)}
        root = prior(Fraction(int(rng.integers(1, 15, endpoint=True)), 16))
        # A latent that is certain has no selectivity.
        edge = child("a", "z", (p[0] + 1) / 3, (p[1] + 1) / 3)
        law = Law.of([root, edge, child("x", "a", p[2], p[3]), child("y", "a", p[4], p[5])])
        value: Value = partial(lambda table, s: table[s["x"], s["y"]], g)
        s = law.gap(value, "a") / 2
        rho_0 = law.mean(lambda state: Fraction(2 * state["z"] - 1))
        closed = law.polarity("z", "a") ** 2 * (1 - rho_0**2) * s**2
        yield Sides(
            "z -> a -> x, y and a random function g(x, y)", "V[E[g | z]], o_a s^2", law.variance(value, "z"), closed
        )


def entry(quantity: str, value: Array, truth: Array, text: str) -> Sides:
    """The entry in which a formula is furthest from enumeration."""
    gap = np.abs((value - truth) * fmpq(1))
    place = max(np.ndindex(*gap.shape), key=lambda at: gap[at])
    return Sides(text, quantity, truth[place], value[place])


def difference_neuron(row: tuple[float, float]) -> TreeInstance:
    """r -> a -> x, y with f_a = max(x - y, 0), and P(1|0), P(1|1) of both leaves."""
    tree = tree_of({"a": ("r", (0.25, 0.75)), "x": ("a", row), "y": ("a", row)})
    return TreeInstance(tree, (((1.0,),), ((1.0, -1.0),)), 0.0)


def uneven_tables(context: Context) -> Iterator[Sides]:
    """The Walsh form below a table that is not symmetric: f_a = max(x - y, 0)."""
    instance = difference_neuron((0.5, 1.0))
    node = Node(enumeration(instance), "r")
    difference = walsh_difference(node, any_table=True)
    assert difference is not None  # noqa: S101 (four leaves at most)
    yield entry("OP_r by enumeration, Walsh form", from_gap(node, difference), enumerated(instance)["operator", "r"],
                "r -> a -> x, y, P(1|0) = 1/2, P(1|1) = 1, f_a = max(x - y, 0)")  # fmt: skip


def kinked(context: Context) -> Iterator[Sides]:
    """o a a^T kron J^T J for ReLU neurons, J where the gate is on."""
    instance = difference_neuron((0.25, 0.75))
    moments = enumeration(instance)
    node, jacobian = Node(moments, "a"), moments.run((1, 0)).jacobians["a"]
    value = np.kron(outer(node.a()) * o(node), jacobian.T @ jacobian)
    text = "r -> a -> x, y, f_a = max(x - y, 0), J at x = 1, y = 0"
    yield entry("OP_a by enumeration, o a a^T kron J^T J", value, enumerated(instance)["operator", "a"], text)


def siblings(context: Context) -> Iterator[Sides]:
    """The diagonal block as the whole update of a node with a sibling."""
    edge = (0.25, 0.75)
    tree = tree_of({"a": ("r", edge), "b": ("r", edge), "x": ("a", edge), "y": ("b", edge)})
    instance = TreeInstance(tree, (((1.0, 1.0),), ((1.0,),), ((1.0,),)), 1.0)
    node = Node(enumeration(instance), "a")
    yield entry("update of W_a by enumeration, 2 OP_a vec W_a", block_update(node), enumerated(instance)["update", "a"],
                "r -> a -> x, r -> b -> y, linear neurons, weights and edges alike")  # fmt: skip


CATEGORICAL = Claim((("activation", "categorical form", categorical),))


def on_trees(kind: str, claim: Claim, context: Context) -> Iterator[Sides]:
    for instance in samples.instances(context.seed + 31, context.pick(quick=4, thorough=60), kind=kind):
        yield of_measurement(measure_exact(instance, claim), f"{kind} tree, {len(instance.tree.leaves)} leaves",
                             "largest residual, zero")  # fmt: skip


ASSUMPTIONS = (
    Assumption("a tree", "two latents with a common child", loop),
    Assumption("the root kept", "another latent kept", partial(keeping, ("a",))),
    Assumption("the root kept", "the root resampled too", partial(keeping, ())),
    Assumption("everything below the root resampled", "leaves kept", partial(keeping, ("z", "x"))),
    Assumption("binary latents for the binary form", "a latent of three states", partial(three_states, "latent")),
    Assumption("a binary root for the binary form", "a root of three states", partial(three_states, "root")),
    Assumption(
        "binary latents", "2 to 5 states, the categorical form", partial(on_trees, "categorical", CATEGORICAL), False
    ),
    Assumption("0/1 leaves where s = 1/2", "leaves -1 and 1", signed_leaves),
    Assumption("symmetric tables for the Walsh form", "P(1|0) = 1/2, P(1|1) = 1", uneven_tables),
    Assumption("symmetric tables", "any tables, the other forms", partial(on_trees, "general", STATED), False),
    Assumption("linear neurons for o a a^T kron J^T J", "ReLU", kinked),
    Assumption("the top node, for a block that is the whole update", "a node with a sibling", siblings),
    Assumption("neurons, for o a a^T", "any function of the leaves below", any_function, False),
)  # fmt: skip


# Assumptions of statement 7, dropped: other laws of the weights, neurons that depend on each other, other neurons.

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


def three_state_leaf(context: Context) -> Iterator[Sides]:
    """A leaf of states 0, 1, 2 where rho and s = 1/2 are those of the states 0 and 1."""
    reads = {(0,): (HALF, HALF, Fraction(0)), (1,): (QUARTER, QUARTER, HALF)}
    law = Law.of([prior(), Variable("x", ("z",), reads)])
    yield Sides(
        "one leaf of states 0, 1, 2, w = 1", "gap, 2 w a", law.gap(leaf, "z"), 2 * law.polarity("z", "x") * HALF
    )


def not_screened(context: Context) -> Iterator[Sides]:
    """A leaf that depends on its parent and on z, read by a neuron of its parent."""
    rows = {(a, z): (1 - Fraction(a + 2 * z, 4), Fraction(a + 2 * z, 4)) for a, z in product((0, 1), repeat=2)}
    law = Law.of([prior(), child("a", "z", QUARTER, 1 - QUARTER), Variable("x", ("a", "z"), rows)])
    yield Sides("z -> a -> x and z -> x, P(x = 1) = (a + 2z)/4, w = 1", "gap at z, 2 w rho_za s_a",
                law.gap(leaf, "z"), law.polarity("z", "a") * law.gap(leaf, "a"))  # fmt: skip


def without_variance(context: Context) -> Iterator[Sides]:
    """v = 0 below Var(p | z = 0): p = x - y, both leaves 1 at z = 1, even at z = 0."""
    neuron = next(neurons(enumeration(difference_neuron((0.5, 1.0))), "a"))
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
        yield Sides(f"one leaf of polarity {high - QUARTER}, w = 3, b = {bias}", "gap, 2 w a", law.gap(value, "z"),
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


LUCKY_ASSUMPTIONS = (
    Assumption("weights uniform, for the law", "-b or b", two_points),
    Assumption("weights uniform on [-b, b], for the law", "on [-2b, 2b]", other_range),
    Assumption("weights of a neuron independent, for the law", "equal", one_weight),
    Assumption("neurons independent, for existence", "two neurons of equal weights", copies),
    Assumption("the groups below given, for existence", "drawn too", drawn_below),
    Assumption("children binary, for the gap", "a leaf of three states", three_state_leaf),
    Assumption("children that screen off the leaves, for the gap", "a leaf that depends on z as well", not_screened),
    Assumption("no biases, for the gap", "a bias", biased_gap, False),
    Assumption("v >= Var(p | z = 0), for the bound", "v = 0", without_variance),
    Assumption("ReLU or leaky, for the bound", "tanh", saturated),
    Assumption("slope at most 1, for the bound", "slope 3", steep),
    Assumption("moments of the whole pre-activation, for the bound", "a bias left out of them", biased_selectivity),
    Assumption("no biases, for the bound", "a bias that the moments include", partial(any_law, True), False),
    Assumption("weights iid and children binary, for the bound", "any law of p", partial(any_law, False), False),
)
