"""Tree networks on every leaf configuration, in exact integers over a common denominator (statement 6).

A gate at exactly 0 is the slope, so that rounding must not decide it: activations, gates and Jacobians are
integers here, whatever the weights' denominators. Configurations follow ``hltm.enumerate_leaves``: leaves
depth first, the last one running fastest. Source: arXiv 2010.00578, statement 6.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hltm.base.checks import Node, count
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.tree_weights import TreeWeights
from theory.trees.symbols import below

LEAF_LIMIT = 2**16
"""Largest number of leaf configurations that are listed."""
ENTRY_LIMIT = 2**24
"""Largest number of configurations times entries of a connection."""


@dataclass(frozen=True)
class LeafTable:
    """Values on every leaf configuration below a node: ``numerators / denominator``.

    Attributes
    ----------
    numerators
        Object array of Python integers, shape (configurations, columns).
    denominator
        A positive integer.
    """

    numerators: np.ndarray
    denominator: int


def check_size(tree: HLTM, nodes: Iterable[Node], columns: int, what: str) -> int:
    """The number of configurations of the leaves among some nodes; a table of them that is too large is an error."""
    leaves = [node for node in nodes if not tree.children(node)]
    size = math.prod(tree.cardinality(leaf) for leaf in leaves)
    hint = (
        "linear neurons (theory.covariance_operator with slope=1 or gates=) and sampling (numeric.TreeNetwork on "
        "numeric.sample_leaves) work at any size"
    )
    if size > LEAF_LIMIT:
        raise InputError(
            f"{what} over {len(leaves):,} leaves: must have at most {count(LEAF_LIMIT)} leaf configurations, "
            f"has {count(size)}; {hint}"
        )
    if size * columns > ENTRY_LIMIT:
        raise InputError(
            f"{what} with {count(size)} leaf configurations of {count(columns)} values: must have at most "
            f"{count(ENTRY_LIMIT)} in all, has {count(size * columns)}; give narrower weights; {hint}"
        )
    return size


def integers(array: np.ndarray) -> tuple[np.ndarray, int]:
    """An object array of SymPy rationals as integers over one denominator."""
    scale = math.lcm(*(int(entry.q) for entry in array.ravel()))
    whole = np.empty(array.shape, dtype=object)
    for place, entry in np.ndenumerate(array):
        whole[place] = int(entry.p) * (scale // int(entry.q))
    return whole, scale


@dataclass(frozen=True)
class LeafNetwork:
    """Activations and gates of a network, each on the leaf configurations below its node.

    Attributes
    ----------
    network
        Weights that are numbers, at all nodes that were evaluated.
    values
        Node to activations.
    gates
        Node to gates, (configurations below, neurons): integers over the denominator of the slope.
    """

    network: TreeWeights
    values: dict[Node, LeafTable]
    gates: dict[Node, np.ndarray]


def evaluate(network: TreeWeights, nodes: list[Node]) -> LeafNetwork:
    """Activations of some nodes (parents first, closed under children) on the configurations below each."""
    tree = network.tree
    network.require_numbers(node for node in nodes if tree.children(node))
    values: dict[Node, LeafTable] = {}
    gates: dict[Node, np.ndarray] = {}
    low, one = int(network.slope.p), int(network.slope.q)
    for node in reversed(nodes):
        if not tree.children(node):
            values[node] = LeafTable(np.arange(tree.cardinality(node)).astype(object)[:, None], 1)
            continue
        inputs = input_table(tree, node, values)
        weights, scale = integers(network.matrices[node])
        before, denominator = inputs.numerators.dot(weights.T), inputs.denominator * scale
        if node != tree.root:
            gates[node] = np.where(before > 0, one, low).astype(object)
            before, denominator = before * gates[node], denominator * one
        values[node] = LeafTable(before, denominator)
    return LeafNetwork(network, values, gates)


def input_table(tree: HLTM, node: Node, values: dict[Node, LeafTable]) -> LeafTable:
    """The activations of a node's children on the configurations below the node, (configurations, inputs)."""
    children = tree.children(node)
    sizes = [len(values[child].numerators) for child in children]
    scale = math.lcm(*(values[child].denominator for child in children))
    parts = []
    for i, child in enumerate(children):
        own = values[child].numerators * (scale // values[child].denominator)
        parts.append(stretched(own, math.prod(sizes[:i]), math.prod(sizes[i + 1 :])))
    return LeafTable(np.hstack(parts), scale)


def stretched(rows: np.ndarray, left: int, right: int) -> np.ndarray:
    """Rows of some leaves as rows of more leaves: `left`, `right` configurations on either side."""
    return np.tile(np.repeat(rows, right, axis=0), (left, 1))


def connection_table(leaf_network: LeafNetwork, node: Node, top: Node) -> LeafTable:
    """``K_mu = f_{N_mu^ch} kron J_mu^T`` on the configurations below `top`, shape (configurations, p * n_L).

    `top` is the root or the child of the root above mu: gates outside do not matter. Column
    ``(a * |N_mu| + b) * n_L + o`` holds the input a times the derivative of output o by neuron b.
    """
    network, tree = leaf_network.network, leaf_network.network.tree
    leaves = [leaf for leaf in below(tree, top) if not tree.children(leaf)]
    order = sorted(leaves, key={leaf: i for i, leaf in enumerate(tree.leaves)}.__getitem__)
    inputs = input_table(tree, node, leaf_network.values)
    jacobian = np.eye(network.n_out, dtype=int).astype(object)[None]
    denominator = inputs.denominator
    for step in tree.path(tree.root, node)[1:]:
        weights, scale = integers(network.block(step))
        gates = stretched(leaf_network.gates[step], *_sides(tree, step, order))
        jacobian = (jacobian @ weights) * gates[:, None, :]
        denominator *= scale * int(network.slope.q)
    rows = stretched(inputs.numerators, *_sides(tree, node, order))
    table = rows[:, :, None, None] * np.swapaxes(jacobian, 1, 2)[:, None]
    return LeafTable(table.reshape(len(rows), -1), denominator)


def _sides(tree: HLTM, node: Node, order: list[Node]) -> tuple[int, int]:
    """The numbers of configurations of the leaves to the left and to the right of those below a node."""
    own = {leaf for leaf in below(tree, node) if not tree.children(leaf)}
    places = [i for i, leaf in enumerate(order) if leaf in own]
    sizes = [tree.cardinality(leaf) for leaf in order]
    return math.prod(sizes[: places[0]]), math.prod(sizes[places[-1] + 1 :])
