"""Conditional means of any function of the leaves given an ancestor's state, exactly, as polynomials.

Leaves are summed out node by node, from the leaves upwards, so that no sum over configurations of latents is
taken. Binary trees work in the basis of leaf signs 2x - 1, where an edge acts by ``sigma_child -> m + rho
sigma_parent`` and symmetric tables (m = 0) keep monomials monomials; other trees work with table entries.
Source: statement 6 (arXiv 2010.00578), general trees.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from sympy import QQ, Add, Expr, ImmutableDenseMatrix, Mul
from sympy.polys.rings import PolyRing

from hltm.base.checks import Node, count
from hltm.base.errors import InputError
from theory.tree_leaves import LeafTable
from theory.tree_linear import ring_of
from theory.trees.symbols import TreeSymbols, below, matrix, path_below

TERM_LIMIT = 2**14
"""Largest number of monomials that are written out, all entries together: SymPy takes a few seconds for them."""


@dataclass(frozen=True)
class Algebra:
    """Where entries live: a polynomial ring, or the rational numbers where there is no symbol."""

    ring: PolyRing

    def number(self, value: int) -> Any:
        """An integer."""
        return self.ring.ground_new(QQ(value)) if self.ring.ngens else QQ(value)

    def element(self, expr: Expr) -> np.ndarray:
        """An expression, boxed so that NumPy takes it as one object."""
        box = np.empty((), dtype=object)
        box[()] = self.ring.from_expr(expr) if self.ring.ngens else QQ.from_sympy(sympy.sympify(expr, strict=True))
        return box

    def lifted(self, table: np.ndarray) -> np.ndarray:
        """An array of integers."""
        result = np.empty(table.shape, dtype=object)
        for place, entry in np.ndenumerate(table):
            result[place] = self.number(int(entry))
        return result

    def expressions(self, array: np.ndarray, denominator: int) -> np.ndarray:
        """Elements divided by a positive integer, as SymPy expressions."""
        result = np.empty(array.shape, dtype=object)
        for place, entry in np.ndenumerate(array):
            value = entry * QQ(1, denominator) if self.ring.ngens else entry / QQ(denominator)
            result[place] = value.as_expr() if self.ring.ngens else QQ.to_sympy(value)
        return result


def means_given(symbols: TreeSymbols, top: Node, table: LeafTable, what: str) -> np.ndarray:
    """E[g | z_top] for columns g of values on the leaf configurations below a node.

    Returns
    -------
    numpy.ndarray
        Object array of SymPy expressions, shape (states of top, columns): polynomials in the parameters.
    """
    nodes = below(symbols.tree, top)
    if all(symbols.tree.cardinality(node) == 2 for node in nodes):
        even, odd, algebra, scale = _signs(symbols, top, table, what)
        return algebra.expressions(np.stack([even - odd, even + odd]), scale)
    check_terms(symbols, {top: table.numerators.shape[1]}, what)
    algebra = _algebra(symbols, nodes)
    result = _sum_out(symbols, nodes, algebra, algebra.lifted(table.numerators), _by_states)
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
    walsh = algebra.lifted(signed_sums(table.numerators))
    even, odd = _sum_out(symbols, nodes, algebra, walsh, _by_signs)
    return even, odd, algebra, table.denominator * len(table.numerators)


def signed_sums(table: np.ndarray) -> np.ndarray:
    """Fast Walsh-Hadamard transform of the rows: row S holds ``sum_x g(x) prod_{i in S} (2 x_i - 1)``.

    The bits of S follow the leaves, the last leaf is the lowest bit; ghat(S) is the row over the number of rows.

    Examples
    --------
    >>> signed_sums(np.array([[1], [2], [3], [6]], dtype=object)).ravel().tolist()
    [12, 4, 6, 2]
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
    return Algebra(ring_of(entry for node in nodes[1:] for row in symbols.table(node) for entry in row))


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
    turned = signed * algebra.element(rho)
    moved = plain + signed * algebra.element(m) if m != 0 else plain
    if first:
        return np.concatenate([moved, turned], axis=1)
    return np.stack([moved[:, 0] + turned[:, 1], moved[:, 1] + turned[:, 0]], axis=1)


def _by_states(symbols: TreeSymbols, algebra: Algebra, child: Node, table: np.ndarray, first: bool) -> np.ndarray:
    """(left, parent, child, rest) -> (left, parent, rest): the sum over the child's states, table as weights."""
    rows = []
    for i, law in enumerate(symbols.table(child)):
        own = table[:, 0 if first else i]
        rows.append(sum(own[:, j] * algebra.element(p) for j, p in enumerate(law)))
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
