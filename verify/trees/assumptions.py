"""Assumptions of statement 6, dropped: loops, other latents kept, more states, other leaves, other neurons.

A loop is no tree, so small Bayesian networks are enumerated here by hand, in rationals; what is about the network on
the leaves is enumerated by `verify.trees.enumeration`.
"""

from __future__ import annotations

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
from verify.instances.samples import generator
from verify.towers.tower import Array
from verify.trees import samples as tree_sources
from verify.trees.claims import STATED, Claim, Node, block_update, categorical, o, outer, walsh_difference
from verify.trees.instance import TreeInstance
from verify.trees.samples import tree_of
from verify.trees.ways import enumerated, enumeration, measure_claim

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
    """A joint law, as a list of states and probabilities.

    Examples
    --------
    >>> coin = Law.of([Variable("z", (), {(): (QUARTER, 1 - QUARTER)})])
    >>> coin.mean(lambda s: Fraction(s["z"]))
    Fraction(3, 4)
    """

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
            given = dict(zip(kept, at, strict=True))
            p = sum((p for s, p in self.rows if all(s[n] == v for n, v in given.items())), Fraction(0))
            mean = self.mean(value, **given)
            total, square = total + p * mean, square + p * mean**2
        return square - total**2

    def polarity(self, above: str, below: str) -> Fraction:
        """P(below = 1 | above = 1) - P(below = 1 | above = 0)."""
        return self.mean(lambda s: Fraction(s[below] == 1), **{above: 1}) - self.mean(
            lambda s: Fraction(s[below] == 1), **{above: 0}
        )

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
    """The leaf x."""
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
        s = (law.mean(value, a=1) - law.mean(value, a=0)) / 2
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


def uneven_tables(context: Context) -> Iterator[Sides]:
    """The Walsh form below a table that is not symmetric: f_a = max(x - y, 0)."""
    tree = tree_of({"a": ("r", (0.25, 0.75)), "x": ("a", (0.5, 1.0)), "y": ("a", (0.5, 1.0))})
    instance = TreeInstance(tree, (((1.0,),), ((1.0, -1.0),)), 0.0)
    node = Node(enumeration(instance), "r")
    difference = walsh_difference(node, any_table=True)
    assert difference is not None  # noqa: S101 (four leaves at most)
    value = (difference @ difference.T) * ((1 - node.rho_0**2) / 4)
    yield entry("OP_r by enumeration, Walsh form", value, enumerated(instance)["operator", "r"],
                "r -> a -> x, y, P(1|0) = 1/2, P(1|1) = 1, f_a = max(x - y, 0)")  # fmt: skip


def kinked(context: Context) -> Iterator[Sides]:
    """o a a^T kron J^T J for ReLU neurons, J where the gate is on."""
    tree = tree_of({"a": ("r", (0.25, 0.75)), "x": ("a", (0.25, 0.75)), "y": ("a", (0.25, 0.75))})
    instance = TreeInstance(tree, (((1.0,),), ((1.0, -1.0),)), 0.0)
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
    """A claim on random trees of a kind."""
    for instance in tree_sources.instances(context.seed + 31, context.pick(quick=4, thorough=60), kind=kind):
        yield of_measurement(measure_claim(instance, claim), f"{kind} tree, {len(instance.tree.leaves)} leaves",
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
