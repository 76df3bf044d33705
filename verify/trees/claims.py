"""The closed forms of statement 6 at a latent node, in polarities and selectivities, and mutants of them.

A formula takes a `Node` and returns a matrix, or None where it makes no claim: the binary forms do not apply to a
categorical tree, the Walsh form does not apply to tables that are not symmetric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache, partial
from itertools import product
from typing import Any

import networkx as nx
import numpy as np
from flint import fmpq

from hltm import HLTM, complete_tree
from verify.engine.rewrites import Rewrite, right, times
from verify.engine.statement import Variant
from verify.towers.tower import Array, vec
from verify.trees.enumeration import Enumeration

WALSH_LEAVES = 4


@dataclass(frozen=True, eq=False)
class Node:
    """One latent node of an enumerated tree, with what the closed forms need."""

    moments: Enumeration
    name: Any

    @property
    def tree(self) -> Any:
        return self.moments.tree

    @property
    def top(self) -> bool:
        return bool(self.name == self.tree.root)

    @property
    def linear(self) -> bool:
        return self.moments.instance.slope == 1.0

    @cached_property
    def rho_0(self) -> fmpq:
        """P(z_0 = 1) - P(z_0 = 0)."""
        return self.moments.prior[1] - self.moments.prior[0]

    def edge_polarity(self, child: Any) -> fmpq:
        """P(child = 1 | parent = 1) - P(child = 1 | parent = 0)."""
        table = self.moments.tables[child]
        return table[1][1] - table[0][1]

    def path_polarity(self, skip: int = 0) -> fmpq:
        """Product of the polarities from the root to this node, the first `skip` edges left out."""
        result = fmpq(1)
        for child in list(self.tree.path(self.tree.root, self.name))[1 + skip :]:
            result *= self.edge_polarity(child)
        return result

    def selectivities(self, child: Any) -> Array:
        """s_k = 1/2 (E[f_k | z_nu = 1] - E[f_k | z_nu = 0]) of the child's neurons."""
        argument = self.moments.given_node(child)
        return (argument[1] - argument[0]) / fmpq(2)

    def a(self, with_rho: bool = True, scale: int = 1) -> Array:
        """a_mu = [rho_{mu nu} s_k] over the neurons of the children."""
        children = self.tree.children(self.name)
        factors = [self.edge_polarity(child) * scale if with_rho else fmpq(scale) for child in children]
        return np.concatenate([self.selectivities(c) * factor for c, factor in zip(children, factors, strict=True)])

    def jacobian(self) -> Array:
        """J_mu of a linear network, the same for every input."""
        return next(iter(self.moments.run(c) for c in self.moments.laws[self.tree.root][0])).jacobians[self.name]

    def difference(self) -> Array:
        """DK = E[K_mu | z_0 = 1] - E[K_mu | z_0 = 0]."""
        means = self.moments.mean_connections(self.name)
        return means[1] - means[0]


Formula = Callable[[Node], Array | None]


def outer(vector: Array) -> Array:
    """v v^T."""
    return vector[:, None] @ vector[None, :]


def o(node: Node) -> fmpq:
    """o_mu = rho_{0 mu}^2 (1 - rho_0^2)."""
    return node.path_polarity() ** 2 * (1 - node.rho_0**2)


def activation(node: Node) -> Array | None:
    """V_{z_0}[E[f_ch | z_0]]: o_mu a_mu a_mu^T for binary trees, F^T T^T (diag pi - pi pi^T) T F for all."""
    if node.tree.is_binary:
        return outer(node.a()) * o(node)
    return categorical(node)


def categorical(node: Node) -> Array:
    """F^T T_{0 mu}^T (diag pi - pi pi^T) T_{0 mu} F, with F the means of the children's neurons given z_mu."""
    moments = node.moments
    path = list(node.tree.path(node.tree.root, node.name))[1:]
    transition = np.eye(len(moments.prior), dtype=object) * fmpq(1)
    for child in path:
        transition = transition @ np.array(moments.tables[child], dtype=object)
    rows = []
    for child in node.tree.children(node.name):
        argument = np.array(moments.given_node(child), dtype=object)
        rows.append(np.array(moments.tables[child], dtype=object) @ argument)
    means = transition @ np.concatenate(rows, axis=1)
    pi = np.array(moments.prior, dtype=object)
    spread = -outer(pi)
    for index, p in enumerate(pi):
        spread[index, index] += p
    return means.T @ spread @ means


def operator(node: Node) -> Array | None:
    """OP_mu = (1 - rho_0^2)/4 DK DK^T for a binary root."""
    return from_gap(node, node.difference()) if len(node.moments.prior) == 2 else None


def from_gap(node: Node, difference: Array) -> Array:
    """(1 - rho_0^2)/4 DK DK^T."""
    return (difference @ difference.T) * ((1 - node.rho_0**2) / 4)


def linear_operator(node: Node) -> Array | None:
    """OP_mu = o_mu a_mu a_mu^T kron J_mu^T J_mu for linear neurons on a binary tree."""
    if not (node.linear and node.tree.is_binary):
        return None
    jacobian = node.jacobian()
    return np.kron(outer(node.a()) * o(node), jacobian.T @ jacobian)


def top_operator(node: Node) -> Array | None:
    """OP_0 = (1 - rho_0^2) a_0 a_0^T kron I at the top of a binary tree, for ReLU too."""
    if not (node.top and node.tree.is_binary):
        return None
    return np.kron(outer(node.a()) * o(node), node.jacobian() * fmpq(1))


def walsh_difference(
    node: Node, odd_sets: bool = True, odd_edges: bool = True, any_table: bool = False
) -> Array | None:
    """DK = 2 sum over |S| odd of the Walsh coefficient of K times the polarities of the edges with odd S below them.

    It is claimed of symmetric tables; `any_table` gives its value for others too.
    """
    tree, moments = node.tree, node.moments
    leaves = moments.below(tree.root)
    if not (tree.is_binary and (tree.is_symmetric or any_table)) or len(leaves) > WALSH_LEAVES:
        return None
    configurations = list(product((0, 1), repeat=len(leaves)))
    values = [moments.run(c).connection(node.name) for c in configurations]
    total = values[0] * fmpq(0)
    for chosen in configurations:
        if odd_sets and sum(chosen) % 2 == 0:
            continue
        coefficient = values[0] * fmpq(0)
        for c, value in zip(configurations, values, strict=True):
            sign = 1
            for x, member in zip(c, chosen, strict=True):
                sign *= (2 * x - 1) if member else 1
            coefficient = coefficient + value * fmpq(sign, len(configurations))
        weight = fmpq(2)
        members = {leaf for leaf, member in zip(leaves, chosen, strict=True) if member}
        for child in tree.nodes:
            if child != tree.root and (len(members & set(moments.below(child))) % 2 == 1) == odd_edges:
                weight *= node.edge_polarity(child)
        total = total + coefficient * weight
    return total


def walsh_operator(node: Node, odd_sets: bool = True, odd_edges: bool = True) -> Array | None:
    """(1 - rho_0^2)/4 DK DK^T with DK by the Walsh form, on symmetric binary trees."""
    difference = walsh_difference(node, odd_sets, odd_edges)
    return None if difference is None else from_gap(node, difference)


def block_update(node: Node) -> Array:
    """2 OP_mu vec W_mu: the whole update at the top node, only the diagonal block elsewhere."""
    return node.moments.operator(node.name) @ vec(node.moments.weights[node.name]) * 2


def top_update(node: Node) -> Array | None:
    """At the top node the diagonal block is the whole update."""
    return block_update(node) if node.top else None


def level_update(node: Node) -> Array | None:
    """2 sum over the nodes mu' of a cut of Cov[Kbar_mu, Kbar_mu'] vec W_mu'; the cut is the node's level.

    Leaves above the level are cut as they are: they add no weights, so a level is a cut only where no leaf is above it.
    """
    moments, tree = node.moments, node.tree
    level = next(level for level in tree.levels if node.name in level)
    nodes = [other for other in level if other not in moments.order]
    if len(nodes) != len(level) or any(leaf in earlier for leaf in tree.leaves for earlier in above(tree, level)):
        return None
    own = moments.mean_connections(node.name)
    total = np.zeros(len(own[0]), dtype=object) * fmpq(1)
    for other in nodes:
        cross = moments.covariance(own, moments.mean_connections(other))
        total = total + cross @ vec(moments.weights[other])
    return total * 2


def above(tree: Any, level: Any) -> list[Any]:
    """Levels nearer to the root than the given one."""
    levels = list(tree.levels)
    return levels[: levels.index(level)]


@dataclass(frozen=True)
class Claim:
    """Formulas for the measured quantities `activation`, `operator` and `update`; a variant replaces them by one."""

    formulas: tuple[tuple[str, str, Formula], ...]


STATED = Claim(
    (
        ("activation", "V = o a a^T, or its categorical form", activation),
        ("activation", "categorical form", categorical),
        ("operator", "(1 - rho_0^2)/4 DK DK^T", operator),
        ("operator", "o a a^T kron J^T J (linear)", linear_operator),
        ("operator", "top node: (1 - rho_0^2) a a^T kron I", top_operator),
        ("operator", "Walsh form", walsh_operator),
        ("update", "top node: 2 OP vec W", top_update),
        ("update", "2 sum over siblings Cov[Kbar, Kbar'] vec W'", level_update),
    )
)


# Mutants of statement 6, one line changed in each: the same measurements must refute them.


def only(quantity: str, formula: Formula) -> Claim:
    return Claim(((quantity, "variant", formula),))


def false_activation(factor: Callable[[Node], Any], vector: Callable[[Node], Array] = Node.a) -> Claim:
    """A claim on the activation covariance of binary trees: another factor, or another vector."""
    return only("activation", lambda node: outer(vector(node)) * factor(node) if node.tree.is_binary else None)


def transposed(node: Node) -> Array | None:
    """J J^T in place of J^T J; the shapes agree only where all widths are equal."""
    if not (node.linear and node.tree.is_binary):
        return None
    jacobian = node.jacobian()
    if jacobian.shape[0] != jacobian.shape[1]:
        return None
    return np.kron(outer(node.a()) * o(node), jacobian @ jacobian.T)


def half_top_update(node: Node) -> Array | None:
    return block_update(node) / fmpq(2) if node.top else None


# Mutants as rewrites of the claim.


@lru_cache
def named_node() -> dict[str, Any]:
    """A node of two latent children, two edges below the root, any tables: every symbol of the claim is in its form."""
    graph = nx.DiGraph([("0", "λ"), ("λ", "μ"), ("μ", "ν"), ("μ", "κ"), ("ν", "a"), ("κ", "b")])
    graph.nodes["0"]["prior"] = [0.5, 0.5]
    for edge in graph.edges:
        graph.edges[edge]["transition"] = [[0.75, 0.25], [0.5, 0.5]]
    return {"tree": HLTM(graph), "node": "μ"}


@lru_cache
def below_the_top() -> dict[str, Any]:
    """The update of a node that has a sibling."""
    tree = complete_tree(depth=2, branching=2, polarity=0.5)
    return {"claim": "update", "tree": tree, "node": tree.children(tree.root)[0]}


def first_term(total: Any) -> Any:
    """The diagonal block alone."""
    return total.args[0]


def at_node(rewrite: Rewrite) -> Rewrite:
    """A rewrite of the claim of that node."""
    return Rewrite(rewrite.change, named_node)


def squared(strength: Any, *, path: int, root: int) -> Any:
    """``rho_{0mu}^path (1 - rho_0^root)``."""
    from sympy import Pow

    powers = sorted(strength.atoms(Pow), key=lambda power: power in strength.args)
    return strength.xreplace({power: power.base**n for power, n in zip(powers, (root, path), strict=True)})


def without_polarities(vector: Any) -> Any:
    """The entries of a_mu without their polarities."""
    from sympy import Integer

    from theory.trees.symbols import tree_symbols

    tree, node = named_node().values()
    symbols = tree_symbols(tree)
    return vector.xreplace({symbols.polarity(child): Integer(1) for child in tree.children(node)})


def jacobian_transposed(operator: Any) -> Any:
    """``J J^T`` for ``J^T J``."""
    from sympy import MatMul, Transpose

    def is_gram(part: Any) -> bool:
        return isinstance(part, MatMul) and part.args[0] == Transpose(part.args[-1])

    return operator.replace(is_gram, lambda part: MatMul(part.args[-1], part.args[0]))


def even_edges(total: Any) -> Any:
    """The edges with an even number of leaves below for those with an odd one."""
    from sympy import Mul

    edges = {s for s in total.free_symbols if getattr(s, "role", "") != "Walsh coefficient"}
    kept = [(term, term.free_symbols & edges) for term in total.args]
    return total.func(*(term / Mul(*odd) * Mul(*(edges - odd)) for term, odd in kept))


VARIANTS = (
    Variant("rho-not-squared", "rho_{0mu} in place of rho_{0mu}^2",
            false_activation(lambda n: n.path_polarity() * (1 - n.rho_0**2)),
            rewrite=at_node(right(lambda o: squared(o, path=1, root=2), 2))),
    Variant("root-not-squared", "1 - rho_0 in place of 1 - rho_0^2",
            false_activation(lambda n: n.path_polarity() ** 2 * (1 - n.rho_0)),
            rewrite=at_node(right(lambda o: squared(o, path=2, root=1), 2))),
    Variant("edge-left-out", "the first edge of the path left out",
            false_activation(lambda n: n.path_polarity(skip=1) ** 2 * (1 - n.rho_0**2)),
            rewrite=at_node(right(lambda path: path.args[-1], 3))),
    Variant("s-without-half", "s_k without its 1/2", false_activation(o, partial(Node.a, scale=2)),
            rewrite=at_node(times(2, 4))),
    Variant("a-without-rho", "a_mu = [s_k] without rho_{mu nu}", false_activation(o, partial(Node.a, with_rho=False)),
            rewrite=at_node(right(without_polarities, 4))),
    Variant("jacobian-transposed", "J J^T in place of J^T J", only("operator", transposed),
            rewrite=right(jacobian_transposed).of(claim="operator")),
    Variant("walsh-even-sets", "even |S| kept", only("operator", partial(walsh_operator, odd_sets=False)),
            rewrite="coefficients of sets of even size are no symbols of the claim"),
    Variant("walsh-even-edges", "edges with even counts", only("operator", partial(walsh_operator, odd_edges=False)),
            rewrite=right(even_edges).of(claim="walsh")),
    Variant("block-is-all", "2 OP_mu vec W_mu below the top node", only("update", block_update),
            rewrite=Rewrite(right(first_term).change, below_the_top)),
    Variant("one-branch-for-shared", "OP vec W at the top node for the shared update", only("update", half_top_update),
            rewrite=times(Fraction(1, 2)).of(claim="update")),
)  # fmt: skip
