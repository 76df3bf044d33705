"""Linear neurons, or neurons with fixed gates, on a tree: polynomials in weights, gates and polarities.

``s_mu = D_mu W_mu a_mu`` going up from the leaves and ``J_mu = J_parent W_block D_mu`` going down (statement 6,
arXiv 2010.00578). Everything is computed in ``sympy.polys.rings``.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import sympy
from sympy import QQ, Expr
from sympy.polys.rings import PolyRing

from hltm.base.checks import Node
from theory.tree_weights import TreeWeights
from theory.trees.symbols import TreeSymbols, below


def ring_of(expressions: Iterable[Expr]) -> PolyRing:
    """The ring over the rationals with the free symbols of some expressions, in the order of their names."""
    found = {symbol for expression in expressions for symbol in sympy.sympify(expression, strict=True).free_symbols}
    return PolyRing(sorted(found, key=str), QQ)


def elements(ring: PolyRing, rows: Any) -> np.ndarray:
    """An array of expressions as an object array of ring elements."""
    array = np.asarray(rows, dtype=object)
    result = np.empty(array.shape, dtype=object)
    memo: dict[Expr, Any] = {}
    for place, entry in np.ndenumerate(array):
        if entry not in memo:
            memo[entry] = (
                ring.from_expr(sympy.sympify(entry, strict=True))
                if ring.ngens
                else ring.ground_new(QQ(int(entry.p), int(entry.q)))
            )
        result[place] = memo[entry]
    return result  # fmt: skip


def expressions(array: np.ndarray) -> np.ndarray:
    """An object array of ring elements as an object array of SymPy expressions."""
    result = np.empty(array.shape, dtype=object)
    for place, entry in np.ndenumerate(array):
        result[place] = entry.as_expr()
    return result


def _network_ring(symbols: TreeSymbols, network: TreeWeights, nodes: list[Node]) -> PolyRing:
    used: list[Expr] = []
    for node in nodes:
        if node in network.matrices:
            used += [*network.matrices[node].ravel(), *network.gate(node)]
        if node != symbols.tree.root:
            used += [entry for row in symbols.table(node) for entry in row]
    return ring_of(used)


def linear_input_means(symbols: TreeSymbols, network: TreeWeights, node: Node) -> np.ndarray:
    """E[f_{N_mu^ch} | z_mu], shape (states of mu, inputs), SymPy expressions."""
    ring = _network_ring(symbols, network, below(symbols.tree, node))
    means: dict[Node, np.ndarray] = {}
    for mu in reversed(below(symbols.tree, node)):
        children = symbols.tree.children(mu)
        if not children:
            means[mu] = elements(ring, [[sympy.Integer(j)] for j in range(symbols.tree.cardinality(mu))])
            continue
        inputs = np.hstack([elements(ring, symbols.table(c)).dot(means.pop(c)) for c in children])
        if mu == node:
            return expressions(inputs)
        weights = elements(ring, network.matrices[mu])
        means[mu] = inputs.dot(weights.T) * elements(ring, network.gate(mu))[None]
    raise AssertionError("a node comes last among those below it")


def linear_gaps(symbols: TreeSymbols, network: TreeWeights, node: Node) -> np.ndarray:
    """``a_mu``, binary nodes: rho_{mu nu} s_k of every neuron k of every child, shape (inputs,)."""
    nodes = below(symbols.tree, node)
    ring = _network_ring(symbols, network, nodes)
    gaps: dict[Node, np.ndarray] = {}
    for mu in reversed(nodes):
        children = symbols.tree.children(mu)
        if not children:
            gaps[mu] = elements(ring, [sympy.Rational(1, 2)])
            continue
        rho = {c: elements(ring, [symbols.polarity(c)])[0] for c in children}
        inputs = np.concatenate([gaps.pop(c) * _boxed(rho[c]) for c in children])
        if mu == node:
            return expressions(inputs)
        gaps[mu] = elements(ring, network.matrices[mu]).dot(inputs) * elements(ring, network.gate(mu))
    raise AssertionError("a node comes last among those below it")


def linear_jacobian(network: TreeWeights, node: Node) -> np.ndarray:
    """``J_mu = d f_L / d p_mu``, shape (n_L, |N_mu|), SymPy expressions."""
    path = network.tree.path(network.tree.root, node)
    used = [entry for v in path[1:] for entry in (*network.block(v).ravel(), *network.gate(v))]
    ring = ring_of(used)
    jacobian = elements(ring, np.array(sympy.eye(network.n_out).tolist(), dtype=object))
    for step in path[1:]:
        jacobian = jacobian.dot(elements(ring, network.block(step))) * elements(ring, network.gate(step))[None]
    return expressions(jacobian)


def _boxed(value: Any) -> np.ndarray:
    """One ring element as an array, so that NumPy does not look into it."""
    box = np.empty((), dtype=object)
    box[()] = value
    return box
