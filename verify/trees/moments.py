"""Exact moments of a large tree at some of its nodes, branch by branch, in rationals.

A mean given the root depends on the leaves below one child only, so that each branch is enumerated by itself. Where
neurons are linear, means alone suffice: they are passed from the leaves upwards, at any size. A branch of ReLU neurons
with too many leaf configurations is refused with `TooLargeError`. No closed form is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
from flint import fmpq

import hltm
from hltm.base.checks import count, show
from verify.instances.instance import TreeInstance, freeze
from verify.towers.tower import Array, array, rational
from verify.trees.enumeration import Enumeration, covariance_over, exact

if TYPE_CHECKING:
    from hltm import HLTM

QUANTITIES = ("activation", "operator", "update")


class TooLargeError(Exception):
    """A way that is too expensive at a node; the text is the limit."""


def nodes_below(tree: HLTM, node: Any) -> list[Any]:
    """A node and everything below it, parents first."""
    result, waiting = [], [node]
    while waiting:
        result.append(waiting.pop())
        waiting += reversed(tree.children(result[-1]))
    return result


def configurations(tree: HLTM, node: Any) -> int:
    """Number of configurations of the leaves below a node."""
    return math.prod(tree.cardinality(v) for v in nodes_below(tree, node) if not tree.children(v))


def rational_tree(tree: HLTM) -> HLTM:
    """The tree with every number a short rational, rows that sum to one exactly.

    A float stands for the decimal that is written for it, which is within one rounding of it; the largest entry of a
    row takes up what is missing from one. Closed forms and sums of table entries are then equal as rationals.
    """
    graph = tree.graph.copy()
    graph.nodes[tree.root]["prior"] = rational_row(tree.exact_prior())
    for edge in tree.edges:
        row = graph.edges[edge]
        if "polarity" in row:
            row["polarity"] = short(row["polarity"])
        else:
            row["transition"] = [rational_row(entries) for entries in tree.exact_table(edge[1])]
    return hltm.HLTM(graph)


def short(value: Any) -> Fraction:
    """A number as the rational that is written for it."""
    return Fraction(repr(float(value))) if isinstance(value, float) else Fraction(value)


def rational_row(row: Any) -> list[Fraction]:
    """A row of rationals that sums to one."""
    values = [short(entry) for entry in row]
    largest = max(range(len(values)), key=values.__getitem__)
    values[largest] = 1 - sum(values[:largest], Fraction(0)) - sum(values[largest + 1 :], Fraction(0))
    return values


def branch_of(tree: HLTM, node: Any) -> HLTM:
    """The path from the root to a node and everything below it, as a tree."""
    graph: nx.DiGraph[Any] = nx.DiGraph()
    path = list(tree.path(tree.root, node))
    inside = nodes_below(tree, node)
    for one in (*path, *inside[1:]):
        graph.add_node(one, **tree.graph.nodes[one])
    edges = [*pairwise(path), *((v, child) for v in inside for child in tree.children(v))]
    for edge in edges:
        graph.add_edge(*edge, **tree.graph.edges[edge])
    return hltm.HLTM(graph)


def columns_of(instance: TreeInstance, node: Any, child: Any) -> slice:
    """Columns of a node's weights that read one child."""
    start = 0
    for other in instance.tree.children(node):
        width = len(instance.by_node[other]) if other in instance.by_node else 1
        if other == child:
            return slice(start, start + width)
        start += width
    raise KeyError(child)


def branch_instance(instance: TreeInstance, node: Any) -> TreeInstance:
    """A branch of an instance, with the weights that read what is left."""
    tree = instance.tree
    path, branch = list(tree.path(tree.root, node)), branch_of(tree, node)
    onward = dict(pairwise(path))
    weights = []
    for latent in branch.latents:
        matrix = instance.by_node[latent]
        if latent in onward:
            kept = columns_of(instance, latent, onward[latent])
            matrix = tuple(row[kept] for row in matrix)
        weights.append(matrix)
    return TreeInstance(branch, tuple(weights), instance.slope)


class BranchMoments:
    """Moments of an instance at any node, from branches of at most `limit` leaf configurations."""

    def __init__(self, instance: TreeInstance, limit: int) -> None:
        self.instance, self.tree, self.limit = instance, instance.tree, limit
        self.linear = instance.slope == 1.0
        self.prior = [exact(p) for p in self.tree.exact_prior()]
        self.branches: dict[Any, Enumeration] = {}
        self.passed: set[Any] = set()

    def branch(self, node: Any) -> Enumeration:
        """The enumeration of one branch; TooLargeError beyond the limit."""
        if node not in self.branches:
            size = configurations(self.tree, node)
            if size > self.limit:
                raise TooLargeError(
                    f"{count(size)} leaf configurations below {show(node)}, enumeration takes at most {self.limit:,}"
                )
            self.branches[node] = Enumeration(branch_instance(self.instance, node))
        return self.branches[node]

    def either(self, node: Any, listed: Callable[[Enumeration], Any], passed: Callable[[], Any]) -> Any:
        """A moment by enumeration of a branch, or by passing means where that is too large and neurons are linear."""
        try:
            return listed(self.branch(node))
        except TooLargeError:
            if not self.linear:
                raise
            self.passed.add(node)
            return passed()

    def given_node(self, node: Any) -> list[Array]:
        """E[f of the node's neurons | state of the node]."""
        result: list[Array] = self.either(node, lambda one: one.given_node(node), lambda: self.linear_means[node])
        return result

    def means(self, node: Any) -> list[Array]:
        """E[f of the node's neurons | state of the root]."""
        result: list[Array] = self.either(
            node,
            lambda one: one.given_root(lambda done: done.activations[node]),
            lambda: self.from_root(node, self.linear_means[node]),
        )
        return result

    def input_means(self, node: Any) -> list[Array]:
        """E[f of the children's neurons | state of the root]."""
        parts = [self.means(child) for child in self.tree.children(node)]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def mean_connections(self, node: Any) -> list[Array]:
        """E[K of the node | state of the root], each of shape (p, n_L)."""
        if node == self.tree.root:
            return [kron_columns(f, np.eye(len(self.instance.weights[0]), dtype=object) * fmpq(1))
                    for f in self.input_means(node)]  # fmt: skip
        top = self.tree.path(self.tree.root, node)[1]
        result: list[Array] = self.either(
            top,
            lambda one: one.mean_connections(node),
            lambda: [kron_columns(f, self.jacobian(node)) for f in self.input_means(node)],
        )
        return result

    def mean_outputs(self) -> list[Array]:
        """E[f_L | state of the root], each a column."""
        top = array(self.instance.by_node[self.tree.root], rational)
        return [(top @ f)[:, None] for f in self.input_means(self.tree.root)]

    def value(self, quantity: str, node: Any) -> Array:
        """One quantity at one node."""
        if quantity == "activation":
            means = [f[:, None] for f in self.input_means(node)]
            return covariance_over(self.prior, means, means)
        if quantity == "operator":
            connections = self.mean_connections(node)
            return covariance_over(self.prior, connections, connections)
        outputs = [f.T for f in self.mean_outputs()]
        return covariance_over(self.prior, self.mean_connections(node), outputs).reshape(-1) * 2

    # Linear neurons.

    @cached_property
    def tables(self) -> dict[Any, Array]:
        return {
            child: np.array([[exact(p) for p in row] for row in self.tree.exact_table(child)], dtype=object)
            for _, child in self.tree.edges
        }

    @cached_property
    def linear_means(self) -> dict[Any, list[Array]]:
        """E[f | state of the node] of every node, by one pass from the leaves."""
        result: dict[Any, list[Array]] = {}
        for node in reversed(self.tree.nodes):
            children, states = self.tree.children(node), range(self.tree.cardinality(node))
            if not children:
                result[node] = [np.array([fmpq(state)], dtype=object) for state in states]
                continue
            matrix = array(self.instance.by_node[node], rational)
            moved = [self.tables[child] @ np.array(result[child], dtype=object) for child in children]
            result[node] = [matrix @ np.concatenate([part[state] for part in moved]) for state in states]
        return result

    def from_root(self, node: Any, means: list[Array]) -> list[Array]:
        """Means given a node as means given the root."""
        moved = np.array(means, dtype=object)
        for one in reversed(self.tree.path(self.tree.root, node)[1:]):
            moved = self.tables[one] @ moved
        return list(moved)

    def jacobian(self, node: Any) -> Array:
        """J of a node of linear neurons."""
        result = np.eye(len(self.instance.weights[0]), dtype=object) * fmpq(1)
        path = list(self.tree.path(self.tree.root, node))
        for above, child in pairwise(path):
            matrix = array(self.instance.by_node[above], rational)
            result = result @ matrix[:, columns_of(self.instance, above, child)]
        return result


def kron_columns(inputs: Array, jacobian: Array) -> Array:
    """f kron J^T, shape (p, n_L)."""
    return (inputs[:, None, None] * jacobian.T).reshape(-1, len(jacobian))


def random_instance(tree: HLTM, rng: np.random.Generator, slope: float, width: int = 2) -> TreeInstance:
    """Random weights: multiples of 2^-12, rows scaled by a power of two so that activations keep their size.

    The grid is fine, so that no pre-activation cancels by chance. Rows have positive sums: inputs are not negative, so
    that few ReLU neurons are dead.
    """
    sizes = {node: int(rng.integers(1, width, endpoint=True)) for node in tree.latents}
    weights = []
    for node in tree.latents:
        columns = sum(sizes.get(child, 1) for child in tree.children(node))
        scale = 2.0 ** -(math.ceil(math.log2(columns)) // 2)
        odd = 2 * rng.integers(2**9, 2**12, size=(sizes[node], columns)) + 1
        rows = odd * rng.choice([-1, 1], size=odd.shape)
        rows = np.where(rows.sum(axis=1, keepdims=True) < 0, -rows, rows)
        weights.append(freeze(rows * scale / 2**12))
    return TreeInstance(tree, tuple(weights), slope)
