"""Conditional means of activations, connections and other functions of the leaves, exactly, as polynomials.

Networks are evaluated on every leaf configuration, or symbolically for linear neurons. Leaves are summed out node
by node, from the leaves upwards: no sum over configurations of latents is taken. Binary trees work in the basis of
leaf signs 2x - 1, where an edge acts by ``sigma_child -> m + rho sigma_parent`` and symmetric tables (m = 0) keep
monomials monomials; other trees work with table entries. Source: statement 6 (arXiv 2010.00578), general trees.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from sympy import QQ, Add, Expr, ImmutableDenseMatrix, Mul, Rational
from sympy.polys.rings import PolyElement, PolyRing

from hltm.base.checks import Node, count
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.trees.symbols import TreeSymbols, TreeWeights, below, matrix, path_below

LEAF_LIMIT = 2**16
"""Largest number of leaf configurations that are listed."""
ENTRY_LIMIT = 2**24
"""Largest number of configurations times entries of a connection."""
TERM_LIMIT = 2**14
"""Largest number of monomials that are written out, all entries together: SymPy takes a few seconds for them."""


@dataclass(frozen=True)
class LeafTable:
    """Values on every leaf configuration below a node: ``numerators / denominator``."""

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


def leaf_activations(states: int, leaves: str) -> np.ndarray:
    """Activations of a leaf in each of its states, shape (states, neurons): state numbers, or indicators."""
    return (
        np.eye(states, dtype=int).astype(object) if leaves == "one-hot" else np.arange(states).astype(object)[:, None]
    )


def leaf_gaps(leaves: str) -> list[Rational]:
    """Selectivities ``(E[f | 1] - E[f | 0])/2`` of the neurons of a leaf of two states."""
    half = Rational(1, 2)
    return [-half, half] if leaves == "one-hot" else [half]


@dataclass(frozen=True)
class LeafNetwork:
    """Activations and gates of a network, each on the leaf configurations below its node."""

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
            values[node] = LeafTable(leaf_activations(tree.cardinality(node), network.leaves), 1)
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


# Linear neurons, or neurons with fixed gates: polynomials in weights, gates and polarities.


class Algebra:
    """The domain of the entries: polynomials in the symbols of some expressions, or the rationals without any."""

    def __init__(self, expressions: Iterable[Any]) -> None:
        symbols = {symbol for e in expressions for symbol in sympy.sympify(e, strict=True).free_symbols}
        ring = PolyRing(sorted(symbols, key=str), QQ)
        self._element = ring.from_expr if symbols else QQ.from_sympy
        self._number = ring.ground_new if symbols else QQ
        self._expression = PolyElement.as_expr if symbols else QQ.to_sympy

    def integers(self, table: np.ndarray) -> np.ndarray:
        return _each(lambda value: self._number(QQ(int(value))), table)

    def elements(self, rows: Any) -> np.ndarray:
        """An array of expressions, or one expression as an array without axes."""
        memo: dict[Any, Any] = {}

        def element(entry: Any) -> Any:
            if entry not in memo:
                memo[entry] = self._element(sympy.sympify(entry, strict=True))
            return memo[entry]

        return _each(element, np.asarray(rows, dtype=object))

    def expressions(self, array: np.ndarray, denominator: int = 1) -> np.ndarray:
        """Elements divided by a positive integer, as SymPy expressions."""
        return _each(lambda entry: self._expression(entry * QQ(1, denominator)), array)


def _each(function: Callable[[Any], Any], array: np.ndarray) -> np.ndarray:
    """An object array of the function's values; ``np.vectorize`` would look into what they are."""
    result = np.empty(array.shape, dtype=object)
    for place, entry in np.ndenumerate(array):
        result[place] = function(entry)
    return result


def _network_algebra(symbols: TreeSymbols, network: TreeWeights, nodes: list[Node]) -> Algebra:
    used: list[Expr] = []
    for node in nodes:
        if node in network.matrices:
            used += [*network.matrices[node].ravel(), *network.gate(node)]
        if node != symbols.tree.root:
            used += [entry for row in symbols.table(node) for entry in row]
    return Algebra(used)


def linear_input_means(symbols: TreeSymbols, network: TreeWeights, node: Node) -> np.ndarray:
    """E[f_{N_mu^ch} | z_mu], shape (states of mu, inputs), SymPy expressions."""
    tree, nodes = symbols.tree, below(symbols.tree, node)
    algebra = _network_algebra(symbols, network, nodes)
    means: dict[Node, np.ndarray] = {}
    for mu in reversed(nodes):
        if not tree.children(mu):
            means[mu] = algebra.integers(leaf_activations(tree.cardinality(mu), network.leaves))
            continue
        means[mu] = np.hstack([algebra.elements(symbols.table(c)).dot(means.pop(c)) for c in tree.children(mu)])
        if mu != node:
            means[mu] = means[mu].dot(algebra.elements(network.matrices[mu].T)) * algebra.elements(network.gate(mu))
    return algebra.expressions(means[node])


def linear_gaps(symbols: TreeSymbols, network: TreeWeights, node: Node) -> np.ndarray:
    """``a_mu``, binary nodes: rho_{mu nu} s_k of every neuron k of every child, shape (inputs,)."""
    tree, nodes = symbols.tree, below(symbols.tree, node)
    algebra = _network_algebra(symbols, network, nodes)
    gaps: dict[Node, np.ndarray] = {}
    for mu in reversed(nodes):
        if not tree.children(mu):
            gaps[mu] = algebra.elements(leaf_gaps(network.leaves))
            continue
        gaps[mu] = np.concatenate([gaps.pop(c) * algebra.elements(symbols.polarity(c)) for c in tree.children(mu)])
        if mu != node:
            gaps[mu] = algebra.elements(network.matrices[mu]).dot(gaps[mu]) * algebra.elements(network.gate(mu))
    return algebra.expressions(gaps[node])


def linear_jacobian(network: TreeWeights, node: Node) -> np.ndarray:
    """``J_mu = d f_L / d p_mu``, shape (n_L, |N_mu|), SymPy expressions."""
    path = network.tree.path(network.tree.root, node)[1:]
    algebra = Algebra(entry for v in path for entry in (*network.block(v).ravel(), *network.gate(v)))
    jacobian = algebra.integers(np.eye(network.n_out))
    for step in path:
        jacobian = jacobian.dot(algebra.elements(network.block(step))) * algebra.elements(network.gate(step))
    return algebra.expressions(jacobian)


# General networks: the values on the leaf configurations, summed out edge by edge.


def means_given(symbols: TreeSymbols, top: Node, table: LeafTable, what: str) -> np.ndarray:
    """E[g | z_top] for columns g of values on the leaf configurations below a node."""
    nodes = below(symbols.tree, top)
    if all(symbols.tree.cardinality(node) == 2 for node in nodes):
        even, odd, algebra, scale = _signs(symbols, top, table, what)
        return algebra.expressions(np.stack([even - odd, even + odd]), scale)
    check_terms(symbols, {top: table.numerators.shape[1]}, what)
    algebra = _algebra(symbols, nodes)
    result = _sum_out(symbols, nodes, algebra, algebra.integers(table.numerators), _by_states)
    return algebra.expressions(result, table.denominator)


def gap_given(symbols: TreeSymbols, top: Node, table: LeafTable, what: str) -> np.ndarray:
    """E[g | z_top = 1] - E[g | z_top = 0] below a node of a binary tree, shape (columns,)."""
    _, odd, algebra, scale = _signs(symbols, top, table, what)
    return algebra.expressions(2 * odd, scale)


def _signs(symbols: TreeSymbols, top: Node, table: LeafTable, what: str) -> tuple[np.ndarray, np.ndarray, Algebra, int]:
    """``E[g | sigma_top] = even + odd sigma_top``, times the returned denominator."""
    nodes = below(symbols.tree, top)
    check_terms(symbols, {top: table.numerators.shape[1]}, what)
    algebra = _algebra(symbols, nodes)
    walsh = algebra.integers(signed_sums(table.numerators))
    even, odd = _sum_out(symbols, nodes, algebra, walsh, _by_signs)
    return even, odd, algebra, table.denominator * len(table.numerators)


def signed_sums(table: np.ndarray) -> np.ndarray:
    """Fast Walsh-Hadamard transform of the rows: row S holds ``sum_x g(x) prod_{i in S} (2 x_i - 1)``.

    The bits of S follow the leaves, the last leaf is the lowest bit; ghat(S) is the row over the number of rows.
    """
    size, columns = table.shape
    half = 1
    while half < size:
        pairs = table.reshape(size // (2 * half), 2, half, columns)
        low, high = pairs[:, 0], pairs[:, 1]
        table = np.stack([low + high, high - low], axis=1).reshape(size, columns)
        half *= 2
    return table


def _algebra(symbols: TreeSymbols, nodes: list[Node]) -> Algebra:
    return Algebra(entry for node in nodes[1:] for row in symbols.table(node) for entry in row)


def _sum_out(symbols: TreeSymbols, nodes: list[Node], algebra: Algebra, table: np.ndarray, rule: Any) -> np.ndarray:
    """Replace the axes of a node's children by the axis of the node, children first.

    A node that is summed out later never separates the children of one node: leaves below a node are
    neighbours.
    """
    tree = symbols.tree
    known = set(nodes)
    axes = [leaf for leaf in tree.leaves if leaf in known]
    for node in reversed(nodes):
        children = tree.children(node)
        if not children:
            continue
        start = axes.index(children[0])
        sizes = [tree.cardinality(axis) for axis in axes]
        left, inner = math.prod(sizes[:start]), sizes[start : start + len(children)]
        for i, child in enumerate(children):
            shape = (left, 1 if i == 0 else tree.cardinality(node), inner[i], -1)
            table = rule(symbols, algebra, child, table.reshape(shape), i == 0)
        axes[start : start + len(children)] = [node]
    return table.reshape(tree.cardinality(nodes[0]), -1)


def _by_signs(symbols: TreeSymbols, algebra: Algebra, child: Node, table: np.ndarray, first: bool) -> np.ndarray:
    """(left, parent, child, rest) -> (left, parent, rest): 1 -> 1 and sigma_child -> m + rho sigma_parent."""
    rho, m = symbols.polarity(child), symbols.offset(child)
    plain, signed = table[:, :, 0], table[:, :, 1]
    turned = signed * algebra.elements(rho)
    moved = plain + signed * algebra.elements(m) if m != 0 else plain
    if first:
        return np.concatenate([moved, turned], axis=1)
    return np.stack([moved[:, 0] + turned[:, 1], moved[:, 1] + turned[:, 0]], axis=1)


def _by_states(symbols: TreeSymbols, algebra: Algebra, child: Node, table: np.ndarray, first: bool) -> np.ndarray:
    """(left, parent, child, rest) -> (left, parent, rest): the sum over the child's states, table as weights."""
    rows = []
    for i, law in enumerate(symbols.table(child)):
        own = table[:, 0 if first else i]
        rows.append(sum(own[:, j] * algebra.elements(p) for j, p in enumerate(law)))
    return np.stack(rows, axis=1)


def check_terms(symbols: TreeSymbols, columns: Mapping[Node, int], what: str) -> None:
    """Refuse polynomials with too many monomials: some columns each below some nodes; numbers have none."""
    if symbols.numbers:
        return
    terms = sum(number * term_bound(symbols, below(symbols.tree, top)) for top, number in columns.items())
    if terms > TERM_LIMIT:
        raise InputError(
            f"{what} with symbolic tables: must have at most {count(TERM_LIMIT)} monomials, may have {count(terms)}; "
            "numbers=True gives its value"
        )


def term_bound(symbols: TreeSymbols, nodes: list[Node]) -> int:
    """An upper bound of the number of monomials of one conditional mean."""
    tree = symbols.tree
    if any(tree.cardinality(node) != 2 for node in nodes):
        return math.prod(tree.cardinality(node) for node in nodes[1:])
    bounds: dict[Node, tuple[int, int]] = {}
    for node in reversed(nodes):
        even, odd = (1, 0) if tree.children(node) else (1, 1)
        for child in tree.children(node):
            plain, signed = bounds.pop(child)
            plain += signed if symbols.offset(child) != 0 else 0
            even, odd = even * plain + odd * signed, odd * plain + even * signed
        bounds[node] = (even, odd)
    return sum(bounds[nodes[0]])


def outer(factor: Expr, vector: list[Expr]) -> ImmutableDenseMatrix:
    """``factor * vector vector^T``, products left as they are."""
    return matrix([[Mul(factor, a, b) for b in vector] for a in vector])


def apply_table(table: list[list[Expr]], means: list[list[Expr]]) -> list[list[Expr]]:
    """Law of total expectation along one edge: ``T means``, sums left as they are."""
    return [
        [Add(*(Mul(p, row[k]) for p, row in zip(law, means, strict=True))) for k in range(len(means[0]))]
        for law in table
    ]


def path_means(symbols: TreeSymbols, node: Node, means: list[list[Expr]]) -> list[list[Expr]]:
    """``T_{0mu} F``: conditional means given z_0, shape (states of the root, neurons)."""
    for step in reversed(path_below(symbols.tree, node)):
        means = apply_table(symbols.table(step), means)
    return means


def spread(prior: list[Expr], means: list[list[Expr]]) -> ImmutableDenseMatrix:
    """``M^T (diag pi - pi pi^T) M`` for M of shape (states, n)."""
    return cross(prior, means, means)


def cross(prior: list[Expr], left: list[list[Expr]], right: list[list[Expr]]) -> ImmutableDenseMatrix:
    """``A^T (diag pi - pi pi^T) B``, that is Cov_{z_0} of two conditional means."""
    weighted = [[Mul(p, a) for a in row] for p, row in zip(prior, left, strict=True)]
    mean_left = [Add(*column) for column in zip(*weighted, strict=True)]
    mean_right = [Add(*(Mul(p, b) for p, b in zip(prior, c, strict=True))) for c in zip(*right, strict=True)]

    def entry(a: int, b: int) -> Expr:
        joint = (Mul(row[a], other[b]) for row, other in zip(weighted, right, strict=True))
        return Add(*joint, -mean_left[a] * mean_right[b])

    rows = [[entry(a, b) for b in range(len(mean_right))] for a in range(len(mean_left))]
    return matrix(rows)
