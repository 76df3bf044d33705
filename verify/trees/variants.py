"""False variants of statement 6, one line changed in each: the same measurements must refute them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from flint import fmpq

from verify.engine.statement import Variant
from verify.towers.tower import Array
from verify.trees.claims import Claim, Formula, Node, block_update, o, outer, walsh_difference


def only_where(condition: Callable[[Node], bool], formula: Formula) -> Formula:
    """The formula where a condition holds, no claim elsewhere."""
    return lambda node: formula(node) if condition(node) else None


def binary(node: Node) -> bool:
    """Whether the tree is binary."""
    return bool(node.tree.is_binary)


def false_walsh(odd_sets: bool, odd_edges: bool) -> Formula:
    """The Walsh form with even sets kept, or with the edges of even count."""

    def formula(node: Node) -> Array | None:
        difference = walsh_difference(node, odd_sets, odd_edges)
        return None if difference is None else (difference @ difference.T) * ((1 - node.rho_0**2) / 4)

    return formula


def false_activation(factor: Callable[[Node], Any], vector: Callable[[Node], Array]) -> Claim:
    """A claim on the activation covariance of binary trees: another factor, or another vector."""
    formula = only_where(binary, lambda node: outer(vector(node)) * factor(node))
    return Claim((("activation", "variant", formula),))


def transposed(node: Node) -> Array | None:
    """J J^T in place of J^T J; the shapes agree only where all widths are equal."""
    if not (node.linear and node.tree.is_binary):
        return None
    jacobian = node.jacobian()
    if jacobian.shape[0] != jacobian.shape[1]:
        return None
    return np.kron(outer(node.a()) * o(node), jacobian @ jacobian.T)


def half(node: Node) -> Array:
    """a with s twice as large: its 1/2 left out."""
    return node.a(scale=2)


VARIANTS = (
    Variant(
        "rho-not-squared",
        "rho_{0mu} in place of rho_{0mu}^2",
        false_activation(lambda n: n.path_polarity() * (1 - n.rho_0**2), Node.a),
    ),
    Variant(
        "root-not-squared",
        "1 - rho_0 in place of 1 - rho_0^2",
        false_activation(lambda n: n.path_polarity() ** 2 * (1 - n.rho_0), Node.a),
    ),
    Variant(
        "edge-left-out",
        "the first edge of the path left out",
        false_activation(lambda n: n.path_polarity(skip=1) ** 2 * (1 - n.rho_0**2), Node.a),
    ),
    Variant("s-without-half", "s_k without its 1/2", false_activation(o, half)),
    Variant("a-without-rho", "a_mu = [s_k] without rho_{mu nu}", false_activation(o, lambda n: n.a(with_rho=False))),
    Variant("jacobian-transposed", "J J^T in place of J^T J", Claim((("operator", "variant", transposed),))),
    Variant("walsh-even-sets", "even |S| kept", Claim((("operator", "variant", false_walsh(False, True)),))),
    Variant("walsh-even-edges", "edges with even counts", Claim((("operator", "variant", false_walsh(True, False)),))),
    Variant("block-is-all", "2 OP_mu vec W_mu below the top node", Claim((("update", "variant", block_update),))),
    Variant(
        "one-branch-for-shared",
        "OP vec W at the top node for the shared update",
        Claim((("update", "variant", only_where(lambda n: n.top, lambda n: block_update(n) / fmpq(2))),)),
    ),
)  # fmt: skip
