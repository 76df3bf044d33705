"""Finite populations for torch at one node of a large tree: the law of every branch, the branches coupled.

Means given the root of a sum over branches, and of what reads one branch only, do not depend on how the branches are
coupled. A coupling by ranks has as many points as the branches together; independent branches have the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import hltm
import numeric
from hltm.base.checks import count, show
from verify.instances.instance import TreeInstance
from verify.trees.enumeration import Enumeration
from verify.trees.moments import TooLargeError, branch_of, configurations

if TYPE_CHECKING:
    from hltm import HLTM
    from numeric import FinitePopulation

# The same scale as in `verify.trees.agreement`: a pre-activation below it is within rounding of zero.
NEAR = 2.0**-36


def check_branches(tree: HLTM, nodes: Sequence[Any], limit: int) -> None:
    """TooLargeError where a branch has more leaf configurations than the limit."""
    for node in nodes:
        size = configurations(tree, node)
        if size > limit:
            raise TooLargeError(f"{count(size)} leaf configurations below {show(node)}, torch takes at most {limit:,}")


def coupled_population(tree: HLTM, nodes: Sequence[Any], limit: int) -> FinitePopulation:
    """The law of the leaves below each node given every state of the root, coupled by ranks; other leaves are 0."""
    check_branches(tree, nodes, limit)
    prior = tree.prior
    states = np.flatnonzero(prior > 0)
    column = {leaf: number for number, leaf in enumerate(tree.leaves)}
    branches = []
    for node in nodes:
        branch = branch_of(tree, node)
        laws = [hltm.leaf_distribution(branch, {tree.root: int(state)}).ravel() for state in states]
        branches.append(([column[leaf] for leaf in branch.leaves], hltm.enumerate_leaves(branch), laws))
    rows = [coupled([laws[z] for _, _, laws in branches]) for z in range(len(states))]
    length = max(len(weights) for weights, _ in rows)
    points = np.zeros((len(states), length, len(column)))
    shares = np.zeros((len(states), length))
    for z, (weights, places) in enumerate(rows):
        shares[z, : len(weights)] = weights / weights.sum()
        for (columns, leaves, _), place in zip(branches, places, strict=True):
            points[z, : len(weights), columns] = leaves[place].T
    return numeric.FinitePopulation(points, prior[states], shares)


def coupled(laws: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The coupling by ranks of some laws: its weights, and the place in each law."""
    steps = [np.cumsum(law) for law in laws]
    edges = np.unique(np.concatenate(steps))
    starts = np.concatenate([[0.0], edges[:-1]])
    kept = edges > starts
    middles = ((edges + starts) / 2)[kept]
    places = [np.minimum(np.searchsorted(step, middles), len(step) - 1) for step in steps]
    return (edges - starts)[kept], places


def mean_population(tree: HLTM) -> FinitePopulation:
    """The mean of the leaves given every state of the root, all that linear neurons depend on."""
    states = np.flatnonzero(tree.prior > 0)
    means = {tree.root: np.eye(len(tree.prior))}
    for above, child in tree.edges:
        means[child] = means[above] @ tree.transition(above, child)
    points = np.stack([means[leaf] @ np.arange(tree.cardinality(leaf)) for leaf in tree.leaves], axis=1)
    return numeric.FinitePopulation(points[states][:, None, :], tree.prior[states], np.ones((len(states), 1)))


def gates_differ(instance: TreeInstance, population: FinitePopulation, nodes: Sequence[Any]) -> bool:
    """Whether some pre-activation of these nodes is within rounding of zero at a point of the population."""
    tree = instance.tree
    points = population.points.reshape(-1, len(tree.leaves)).cpu().numpy()
    values = {leaf: points[:, [number]] for number, leaf in enumerate(tree.leaves)}
    wanted = set(nodes)
    for node in reversed(tree.latents):
        if node == tree.root:
            continue
        inputs = np.concatenate([values[child] for child in tree.children(node)], axis=1)
        matrix = np.array(instance.by_node[node])
        p, scale = inputs @ matrix.T, np.abs(inputs) @ np.abs(matrix).T
        if node in wanted and bool(((np.abs(p) <= NEAR * scale) & (scale > 0)).any()):
            return True
        values[node] = np.where(p > 0, p, instance.slope * p)
    return False


def same_gates(branch: Enumeration, nodes: Sequence[Any]) -> bool:
    """Whether float64 and rationals agree on every gate of these nodes, on all leaf configurations of a branch."""
    instance, tree = branch.instance, branch.tree
    known = list({c: None for law in branch.laws[tree.root] for c in law})
    number = {leaf: place for place, leaf in enumerate(branch.below(tree.root))}
    points = np.array(known, dtype=float)
    values = {leaf: points[:, [number[leaf]]] for leaf in tree.leaves}
    wanted = set(nodes)
    for node in reversed(tree.latents):
        inputs = np.concatenate([values[child] for child in tree.children(node)], axis=1)
        p = inputs @ np.array(instance.by_node[node]).T
        if node != tree.root and node in wanted:
            # f > 0 exactly where p > 0, whatever the slope.
            exact = np.array([[f > 0 for f in branch.run(c).activations[node]] for c in known])
            if not bool(((p > 0) == exact).all()):
                return False
        values[node] = np.where(p > 0, p, instance.slope * p)
    return True
