"""Statement 6 beyond the paper: the operator of a ReLU tree network as a polynomial in the polarities.

Symmetric binary tree, any function g of the leaves with Walsh coefficients ghat over the signs 2x - 1:
``E[g|z_0=1] - E[g|z_0=0] = 2 sum_{|S| odd} ghat(S) prod_{e in T(S)} rho_e``, T(S) the edges with an odd number
of leaves of S below. With g the entries of a connection, ``OP_mu = (1 - rho_0^2)/4 DK DK^T``. Source:
arXiv 2010.00578, statement 6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sympy import QQ, ImmutableDenseMatrix
from sympy.polys.rings import PolyElement, PolyRing

from hltm.base.checks import Node, count, show
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.trees.means import TERM_LIMIT, LeafTable, check_size, connection_table, evaluate, signed_sums
from theory.trees.symbols import TreeSymbols, below, gap_variance, internal, is_symmetric, read_weights, tree_symbols

SIZE_SHOWN, TERMS_SHOWN = 6, 200  # of the matrix and of its gap, in a notebook
_BLOCK = 2**22  # polarity vectors times Walsh coefficients held at once: 32 MiB of float64


@dataclass(frozen=True, eq=False)
class WalshOperator:
    """``OP_mu`` of a ReLU or leaky tree network on a symmetric binary tree, as a function of its polarities.

    Attributes
    ----------
    symbols
        The symbols of the tree.
    edges
        The node at the lower end of each edge: the order of the columns of `evaluate`, that of ``tree.edges``.
    sums
        ``2^n ghat(S)`` times a denominator, shape (2^n, p * n_L): exact integers. The bits of S follow
        ``tree.leaves``, the last leaf is the lowest bit.
    n_out
        n_L, the neurons of the root.

    Examples
    --------
    >>> import hltm
    >>> tree = hltm.complete_tree(depth=2, branching=1, polarity=0.5)
    >>> walsh_operator(tree, 1, {0: [[3]], 1: [[2]]})
    WalshOperator(1 x 1, leaves=1, edges=2, n_L=1)
    """

    symbols: TreeSymbols
    edges: tuple[Node, ...]
    sums: LeafTable
    n_out: int

    def __repr__(self) -> str:
        size = self.sums.numerators.shape[1] // self.n_out
        leaves = len(self.symbols.tree.leaves)
        return f"WalshOperator({size} x {size}, leaves={leaves}, edges={len(self.edges)}, n_L={self.n_out})"

    def _repr_latex_(self) -> str:
        """The operator for a notebook: its polynomials where they can be read, else its shape."""
        from theory.latex.render import operator_latex

        size = self.sums.numerators.shape[1] // self.n_out
        shown = size <= SIZE_SHOWN and np.count_nonzero(self.sums.numerators) <= TERMS_SHOWN
        return operator_latex(r"\mathrm{OP}", size, self.matrix() if shown else None)

    @cached_property
    def odd_sets(self) -> np.ndarray:
        """The S with an odd number of leaves, as integers in increasing order."""
        return np.flatnonzero(_parity(np.arange(len(self.sums.numerators))))

    def edge_sets(self, sets: np.ndarray) -> np.ndarray:
        """Whether an edge lies in T(S), boolean, shape (sets, edges)."""
        tree = self.symbols.tree
        place = {leaf: 1 << (len(tree.leaves) - 1 - i) for i, leaf in enumerate(tree.leaves)}
        masks: dict[Node, int] = {}
        for node in reversed(tree.nodes):
            masks[node] = place.get(node, 0) | sum(masks[child] for child in tree.children(node))
        return np.stack([_parity(sets & masks[node]) for node in self.edges], axis=1).astype(bool)

    def gap(self) -> list[list[PolyElement]]:
        """``DK = E[K_mu|z_0=1] - E[K_mu|z_0=0]`` in SymPy's polynomial ring, shape (p, n_L)."""
        ring = PolyRing([self.symbols.polarity(node) for node in self.edges], QQ)
        table = self.sums.numerators[self.odd_sets]
        used = np.flatnonzero((table != 0).any(axis=1))
        terms = int(np.count_nonzero(table))
        if terms > TERM_LIMIT:
            raise InputError(
                f"symbolic operator with {count(terms)} monomials: must have at most {count(TERM_LIMIT)}; "
                "use evaluate(polarities), or the linear closed form (slope=1)"
            )
        monomials = [tuple(map(int, row)) for row in self.edge_sets(self.odd_sets[used])]
        scale = self.sums.denominator * len(self.sums.numerators)
        entries = []
        for column in table[used].T:
            pairs = {s: QQ(2 * int(v), scale) for s, v in zip(monomials, column, strict=True) if v}
            entries.append(ring.from_dict(pairs))
        return [entries[i : i + self.n_out] for i in range(0, len(entries), self.n_out)]

    def matrix(self) -> ImmutableDenseMatrix:
        """``(1 - rho_0^2)/4 DK DK^T``, shape (p, p), products not multiplied out."""
        return gap_variance(self.symbols, [[entry.as_expr() for entry in row] for row in self.gap()])

    def evaluate(self, polarities: Any, root_polarity: Any = None) -> np.ndarray:
        """The operator at many polarity vectors, in double precision.

        Parameters
        ----------
        polarities
            Shape (n, edges), the columns in the order of ``tree.edges``; entries in [-1, 1].
        root_polarity
            rho_0, a number or shape (n,); that of the tree if it is not given.

        Returns
        -------
        numpy.ndarray
            float64, shape (n, p, p).

        Raises
        ------
        InputError
            A wrong shape, a value outside [-1, 1].
        """
        rho = np.asarray(polarities, dtype=np.float64)
        if rho.ndim != 2 or rho.shape[1] != len(self.edges):
            raise InputError(f"polarities of shape {rho.shape}: must have shape (n, {len(self.edges)}), one an edge")
        own = self.symbols.tree.root_polarity if root_polarity is None else root_polarity
        root = np.broadcast_to(np.asarray(own, dtype=np.float64), (len(rho),))
        for name, values in (("polarities", rho), ("root_polarity", root)):
            if not (np.abs(values) <= 1).all():
                raise InputError(f"{name} with the value {values[~(np.abs(values) <= 1)].flat[0]}: must lie in [-1, 1]")
        weights = self._coefficients
        step = max(1, _BLOCK // len(self.sums.numerators))
        parts = [self._monomials(rho[i : i + step])[:, self.odd_sets] @ weights for i in range(0, len(rho), step)]
        gaps = np.concatenate(parts).reshape(len(rho), -1, self.n_out) if parts else np.zeros((0, 1, self.n_out))
        result: np.ndarray = (1 - root[:, None, None] ** 2) / 4 * (gaps @ np.swapaxes(gaps, 1, 2))
        return result

    @cached_property
    def _coefficients(self) -> np.ndarray:
        scale = self.sums.denominator * len(self.sums.numerators)
        table = self.sums.numerators[self.odd_sets].astype(object)
        return np.asarray(2 * table / scale, dtype=np.float64)

    def _monomials(self, rho: np.ndarray) -> np.ndarray:
        """``prod_{e in T(S)} rho_e`` for every S, shape (n, 2^n leaves), by outer products going up the tree."""
        tree = self.symbols.tree
        column = {node: i for i, node in enumerate(self.edges)}
        tables: dict[Node, np.ndarray] = {}
        for node in reversed(tree.nodes):
            table = np.ones((len(rho), 1 if tree.children(node) else 2))
            for child in tree.children(node):
                below_child = tables.pop(child)
                table = (table[:, :, None] * below_child[:, None, :]).reshape(len(rho), -1)
            if node != tree.root:
                odd = _parity(np.arange(table.shape[1])).astype(bool)
                table = np.where(odd, table * rho[:, [column[node]]], table)
            tables[node] = table
        return tables[tree.root]


def walsh_operator(
    tree: HLTM, node: Node, weights: Mapping[Node, Any], slope: Any = 0, leaves: str = "state"
) -> WalshOperator:
    r"""The covariance operator of a node as a function of the polarities of a symmetric binary tree.

    Parameters
    ----------
    tree
        A binary tree whose tables are all symmetric, at most 16 leaves.
    node
        A node with children.
    weights
        Node to matrix of numbers, every node with children.
    slope
        Of the activation, in [0, 1].
    leaves
        As in `covariance_operator`.

    Returns
    -------
    WalshOperator
        ``.matrix()`` in symbols, ``.evaluate(polarities)`` in double precision, ``.gap()`` in a polynomial ring.

    Raises
    ------
    InputError
        A table that is not symmetric, symbols in the weights, a tree that is too large.

    Source
    ------
    Statement 6 (beyond arXiv 2010.00578).

    Examples
    --------
    >>> import hltm
    >>> tree = hltm.star_tree(1, polarity=0.5, root_polarity=0.5)
    >>> operator = walsh_operator(tree, 0, {0: [[1]]})
    >>> operator.matrix(), operator.evaluate([[0.5]]).tolist()
    (Matrix([[\rho_{0,1}**2*(1 - \rho_{0}**2)/4]]), [[[0.046875]]])
    """
    symbols = tree_symbols(tree)
    internal(tree, node, "walsh_operator")
    for other in tree.nodes:
        wide = tree.cardinality(other) != 2
        if wide or (other != tree.root and not is_symmetric(tree, other)):
            rule = "must have two states" if wide else "must have a symmetric table"
            raise InputError(f"walsh_operator at node {show(other)}: {rule}; use covariance_operator")
    network = read_weights(tree, weights, slope, leaves=leaves)
    network.require_numbers(tree.latents)
    columns = network.neurons(node) * network.inputs(node) * network.n_out
    check_size(tree, tree.leaves, columns, "walsh_operator")
    table = connection_table(evaluate(network, below(tree, tree.root)[1:]), node, tree.root)
    sums = signed_sums(_compact(table.numerators))
    return WalshOperator(symbols, tree.nodes[1:], LeafTable(sums, table.denominator), network.n_out)


def _compact(table: np.ndarray) -> np.ndarray:
    """Machine integers where the sums of all rows fit into them, for speed; the result is exact either way."""
    largest = max(abs(int(table.max())), abs(int(table.min())))
    return table.astype(np.int64) if largest * len(table) < 2**62 else table


def _parity(values: np.ndarray) -> np.ndarray:
    """1 where an odd number of bits is set, else 0."""
    values = values.copy()
    for shift in (32, 16, 8, 4, 2, 1):
        values ^= values >> shift
    return values & 1
