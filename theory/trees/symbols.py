r"""Symbols of a hierarchical latent tree, named after the user's nodes, and their exact values (statement 6).

Binary root: ``\rho_{0}`` (P(z_0=1) - P(z_0=0)); other roots: ``\pi_{i}``. Edge between two binary nodes:
``\rho_{mu,nu}`` (P(1|1) - P(1|0)) and, where the table is not symmetric, ``m_{mu,nu}`` (P(1|1) + P(1|0) - 1), so
that ``E[2 z_nu - 1 | z_mu] = m + rho (2 z_mu - 1)``. Any other edge: all entries ``T_{mu,nu;ij}`` of its table;
that rows sum to one is not built in, `parameter_values` has it. Source: arXiv 2010.00578, statement 6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Integer, Mul, Rational, Symbol

from hltm.base.checks import Node, number, show, suggestion
from hltm.base.errors import InputError
from hltm.leaves import check_leaves, leaf_neurons
from hltm.tables import normalized
from hltm.tree import HLTM
from theory.latex.names import node_texts

ROW_LIMIT = 512
"""Largest number of rows of a matrix that is written out."""


@dataclass(frozen=True)
class TreeSymbols:
    """The parameters of a tree, as symbols or (``numbers``) as exact rational numbers."""

    tree: HLTM
    texts: dict[Node, str]
    numbers: bool = False

    def edge(self, node: Node) -> str:
        """The subscript ``mu,nu`` of the edge that ends in a node."""
        above = self.tree.parent(node)
        return f"{self.texts[above]},{self.texts[node]}"  # type: ignore[index]

    @property
    def root_polarity(self) -> Expr:
        """``rho_0`` of a binary root."""
        law = normalized(self.tree.exact_prior())
        return Rational(law[1] - law[0]) if self.numbers else Symbol(r"\rho_{0}", real=True)

    @property
    def prior(self) -> list[Expr]:
        """P(z_0 = i) for every state i."""
        if self.tree.cardinality(self.tree.root) == 2:
            rho = self.root_polarity
            return [(1 - rho) / 2, (1 + rho) / 2]
        law = normalized(self.tree.exact_prior())
        return [Rational(p) if self.numbers else Symbol(rf"\pi_{{{i}}}", real=True) for i, p in enumerate(law)]

    def polarity(self, node: Node) -> Expr:
        """Rho of the edge that ends in a node."""
        if self.numbers:
            return Rational(edge_values(self.tree, node)[0])
        return Symbol(rf"\rho_{{{self.edge(node)}}}", real=True)

    def offset(self, node: Node) -> Expr:
        """``m`` of the edge that ends in a node: P(1|1) + P(1|0) - 1, zero for a symmetric table."""
        if is_symmetric(self.tree, node):
            return sympy.Integer(0)
        if self.numbers:
            return Rational(edge_values(self.tree, node)[1])
        return Symbol(f"m_{{{self.edge(node)}}}", real=True)

    def table(self, node: Node) -> list[list[Expr]]:
        """P(node = j | parent = i), rows i, of the edge that ends in a node."""
        if is_binary_edge(self.tree, node):
            return binary_table(self.polarity(node), self.offset(node))
        rows = [normalized(row) for row in self.tree.exact_table(node)]
        return [[Rational(p) if self.numbers else self.entry(node, i, j) for j, p in enumerate(row)]
                for i, row in enumerate(rows)]  # fmt: skip

    @property
    def ranges(self) -> dict[Expr, tuple[Expr, Expr]]:
        """Ends between which the parameters of a tree lie, as a box inside of what its tables may be."""
        one = Integer(1)
        edges = [node for node in self.tree.nodes if node != self.tree.root]
        result: dict[Expr, tuple[Expr, Expr]] = {}
        if self.tree.cardinality(self.tree.root) == 2:
            result[self.root_polarity] = (-one, one)
        else:
            result |= dict.fromkeys(self.prior, (Integer(0), one / len(self.prior)))
        for node in edges:
            if is_binary_edge(self.tree, node):
                # |rho| + |m| is at most 1.
                end = one if self.offset(node) == 0 else one / 2
                result |= dict.fromkeys({self.polarity(node), self.offset(node)} - {Integer(0)}, (-end, end))
            else:
                for row in self.table(node):
                    result |= dict.fromkeys(row, (Integer(0), one / len(row)))
        return result

    @property
    def sums(self) -> dict[Expr, Expr]:
        """The last entry of a law as 1 less the others, for every law whose entries are symbols."""
        laws = [] if self.tree.cardinality(self.tree.root) == 2 else [self.prior]
        edges = [node for node in self.tree.nodes if node != self.tree.root]
        laws += [row for node in edges if not is_binary_edge(self.tree, node) for row in self.table(node)]
        return {last: 1 - sympy.Add(*others) for *others, last in laws}

    def entry(self, node: Node, i: int, j: int) -> Symbol:
        """The symbol of one table entry."""
        return Symbol(f"T_{{{self.edge(node)};{entry_index(i, j, max(i, j) >= 10)}}}", real=True)


def entry_index(i: int | str, j: int | str, apart: bool) -> str:
    """The index of a table entry: ``ij``, with a comma where a number has two digits."""
    return f"{i}{',' if apart else ''}{j}"


def binary_table(rho: Expr, m: Expr) -> list[list[Expr]]:
    """P(child = j | parent = i), rows i, from the polarity and the offset of an edge."""
    return [[(1 - sign * (m + state * rho)) / 2 for sign in (1, -1)] for state in (-1, 1)]


def tree_symbols(tree: HLTM, numbers: bool = False) -> TreeSymbols:
    if not isinstance(tree, HLTM):
        raise InputError(f"tree of type {type(tree).__name__}: must be an hltm.HLTM")
    return TreeSymbols(tree, node_texts(tree.nodes), numbers)


def is_binary_edge(tree: HLTM, node: Node) -> bool:
    """Whether a node and its parent have two states each."""
    return tree.cardinality(node) == 2 and tree.cardinality(tree.parent(node)) == 2  # type: ignore[arg-type]


def is_symmetric(tree: HLTM, node: Node) -> bool:
    """Whether the binary table of the edge that ends in a node stays the same when all states swap."""
    return edge_values(tree, node)[1] == 0


def edge_values(tree: HLTM, node: Node) -> tuple[Fraction, Fraction]:
    """Exact polarity and offset of a binary edge; a table's rows are divided by their sums."""
    polarity: Any = tree.graph.edges[tree.parent(node), node].get("polarity")
    if polarity is not None:
        return Fraction(polarity), Fraction(0)
    low, high = (normalized(row) for row in tree.exact_table(node))
    return high[1] - low[1], high[1] + low[1] - 1


def parameter_values(tree: HLTM) -> dict[Symbol, Rational]:
    r"""The exact value of every polarity, table and prior symbol of a tree: what ``.subs`` needs.

    Parameters
    ----------
    tree
        Any tree.

    Returns
    -------
    dict of Symbol to Rational
        A polarity is the rational number that its float is; a prior and a row of a table are divided by
        their exact sums (floats sum to one only within rounding). Symbols of weights and selectivities are
        not in it.

    Raises
    ------
    InputError
        No tree.

    Source
    ------
    Statement 6 (arXiv 2010.00578).

    Examples
    --------
    >>> import hltm
    >>> parameter_values(hltm.star_tree(1, polarity=0.5, root_polarity=0.25))
    {\rho_{0}: 1/4, \rho_{0,1}: 1/2}
    """
    symbols, exact = tree_symbols(tree), tree_symbols(tree, numbers=True)
    if tree.cardinality(tree.root) == 2:
        values = {symbols.root_polarity: exact.root_polarity}
    else:
        values = dict(zip(symbols.prior, exact.prior, strict=True))
    for node in tree.nodes[1:]:
        if is_binary_edge(tree, node):
            values[symbols.polarity(node)] = exact.polarity(node)
            if not is_symmetric(tree, node):
                values[symbols.offset(node)] = exact.offset(node)
        else:
            entries = (s for row in symbols.table(node) for s in row)
            values |= dict(zip(entries, (v for row in exact.table(node) for v in row), strict=True))
    return values


def path_below(tree: HLTM, node: Node) -> tuple[Node, ...]:
    """The nodes whose edges lead from the root to a node: the path without the root."""
    return tree.path(tree.root, node)[1:]


def strength(symbols: TreeSymbols, node: Node) -> Expr:
    """``o_mu = rho_{0mu}^2 (1 - rho_0^2)`` of a node of a binary tree, in the polarities of the edges."""
    path = path_below(symbols.tree, node)
    return Mul(*(symbols.polarity(place) ** 2 for place in path), 1 - symbols.root_polarity**2)


def below(tree: HLTM, node: Node) -> list[Node]:
    """A node and all nodes under it, parents first."""
    result = [node]
    for above in result:
        result.extend(tree.children(above))
    return result


def internal(tree: HLTM, node: Node, what: str) -> Node:
    """A node that has children; a leaf or an unknown node is an error."""
    if not tree.children(node):
        raise InputError(f"node {node!r} of {what}: must have children, is a leaf; give one of tree.latents")
    return node


def check_rows(rows: int, what: str) -> None:
    """Refuse a matrix that is too large to be written out entry by entry."""
    if rows > ROW_LIMIT:
        raise InputError(
            f"{what} with {rows:,} rows: must have at most {ROW_LIMIT} to be written out; "
            "theory.activation_covariances gives o_mu and a_mu of a binary tree, numeric.TreeNetwork on "
            "numeric.sample_leaves gives numbers by sampling"
        )


def matrix(rows: Any) -> sympy.ImmutableDenseMatrix:
    """A SymPy matrix from rows of expressions or from an object array of shape (n, m)."""
    return sympy.ImmutableDenseMatrix(*np.shape(rows), [entry for row in rows for entry in row])


def gap_variance(symbols: TreeSymbols, rows: Any) -> sympy.ImmutableDenseMatrix:
    """``(1 - rho_0^2)/4 D D^T`` for the difference D of two conditional means, products not multiplied out."""
    spread = 1 - symbols.root_polarity**2
    inner = {}
    for i, a in enumerate(rows):
        for j, b in enumerate(rows[: i + 1]):
            total = sympy.Add(*(sympy.Mul(x, y) for x, y in zip(a, b, strict=True)))
            inner[i, j] = inner[j, i] = sympy.Mul(Rational(1, 4), spread, total)
    return matrix([[inner[i, j] for j in range(len(rows))] for i in range(len(rows))])


# Weights and gates of a tree network: exact numbers or symbols.


@dataclass(frozen=True)
class TreeWeights:
    """Weights, slope and gates of a tree network."""

    tree: HLTM
    matrices: dict[Node, np.ndarray]
    slope: Rational
    gates: dict[Node, list[Expr]] | None
    leaves: str = "state"

    @property
    def linear(self) -> bool:
        """Whether the output is a linear function of the leaves, with the gates fixed."""
        return self.gates is not None or self.slope == 1

    @property
    def n_out(self) -> int:
        """n_L, the neurons of the root."""
        return self.neurons(self.tree.root)

    def neurons(self, node: Node) -> int:
        """|N_mu|; a leaf is one neuron, or one for each state."""
        return len(self.matrices[node]) if node in self.matrices else leaf_neurons(self.tree, node, self.leaves)

    def inputs(self, node: Node) -> int:
        """|N_mu^ch|."""
        return int(self.matrices[node].shape[1])

    def block(self, node: Node) -> np.ndarray:
        """The columns of the parent's matrix that read a node, shape (neurons of the parent, |N_node|)."""
        above: Any = self.tree.parent(node)
        start = 0
        for child in self.tree.children(above):
            if child == node:
                break
            start += self.neurons(child)
        return self.matrices[above][:, start : start + self.neurons(node)]

    def gate(self, node: Node) -> list[Expr]:
        """The gates of a node of a linear network; ones at the root, which has no activation."""
        if self.gates is None or node == self.tree.root:
            return [Integer(1)] * self.neurons(node)
        return self.gates[node]

    def require_numbers(self, nodes: Any) -> None:
        """Refuse symbols where gates follow from the numbers."""
        for node in nodes:
            if not all(entry.is_Rational for entry in self.matrices[node].ravel()):
                raise InputError(
                    f"weights[{show(node)}] with symbols and slope={self.slope}: the gates of a ReLU network depend on "
                    "the numbers; give numbers, gates={node: [one gate a neuron]}, or slope=1"
                )


def exact(value: Any, name: str, place: str = "") -> Expr:
    """A number as a SymPy rational (a float as the rational that it is); an expression as it stands."""
    if isinstance(value, Expr) and not value.is_number:
        if not value.is_polynomial(*value.free_symbols) or value.has(sympy.Float):
            raise InputError(f"{name}={show(value)}{place}: must be a polynomial in symbols with rational numbers")
        return value
    if isinstance(value, sympy.Rational):
        return value
    if isinstance(value, sympy.Float) and value.is_finite:
        return Rational(*value.as_integer_ratio())
    return Rational(Fraction(number(value, name, place)))


def read_weights(
    tree: HLTM, weights: object, slope: Any = 0, gates: Mapping[Node, Any] | None = None, name: str = "weights",
    leaves: str = "state",
) -> TreeWeights:  # fmt: skip
    """Check the weights of every node with children, the slope, the gates and how leaves are read."""
    latents, kind = tree.latents, check_leaves(leaves)
    values = _mapping(weights, name, latents)
    rate = exact(slope, "slope", " of the activation")
    if not rate.is_Rational or not 0 <= rate <= 1:
        raise InputError(f"slope={show(slope)} of the activation: must be a number in [0, 1]")
    matrices: dict[Node, np.ndarray] = {}
    for node in reversed(latents):
        width = sum(
            matrices[child].shape[0] if child in matrices else leaf_neurons(tree, child, kind)
            for child in tree.children(node)
        )
        matrices[node] = _matrix(values[node], f"{name}[{show(node)}]", width)
    return TreeWeights(tree, matrices, rate, None if gates is None else _gates(tree, matrices, gates), kind)


def _mapping(argument: object, name: str, nodes: tuple[Node, ...]) -> Mapping[Any, Any]:
    if not isinstance(argument, Mapping):
        kind = type(argument).__name__
        raise InputError(f"{name}={show(argument)}: must be a mapping of nodes to values, got {kind}")
    known = set(nodes)
    for node in argument:
        if node not in known:
            raise InputError(f"{name}[{show(node)}]: must be a node with children{suggestion(node, nodes)}")
    for node in nodes:
        if node not in argument:
            raise InputError(f"{name} without node {show(node)}: must have every node with children")
    return argument


def _matrix(value: Any, name: str, width: int) -> np.ndarray:
    if isinstance(value, sympy.MatrixBase):
        value = value.tolist()
    try:
        array = np.asarray(value, dtype=object)
    except (ValueError, TypeError, RuntimeError):  # ragged rows
        array = np.asarray(None)
    if array.ndim != 2 or array.shape[1] != width or not array.shape[0]:
        raise InputError(
            f"{name}: must be a matrix of shape (neurons, {width}), a column for each neuron of its children, "
            f"got shape {array.shape}"
        )
    result = np.empty(array.shape, dtype=object)
    for place, entry in np.ndenumerate(array):
        result[place] = exact(entry, f"{name}[{', '.join(map(str, place))}]")
    return result


def _gates(tree: HLTM, matrices: dict[Node, np.ndarray], gates: object) -> dict[Node, list[Expr]]:
    nodes = tuple(node for node in tree.latents if node != tree.root)
    patterns = _mapping(gates, "gates", nodes)
    result = {}
    for node in nodes:
        values = list(np.asarray(patterns[node], dtype=object).ravel())
        if len(values) != len(matrices[node]):
            raise InputError(
                f"gates[{show(node)}]: must have one entry a neuron, {len(matrices[node])}, has {len(values)}"
            )
        result[node] = [exact(value, f"gates[{show(node)}][{i}]") for i, value in enumerate(values)]
    return result
