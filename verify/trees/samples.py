"""Seeded trees with networks on them for statements 6 and 7.

Probabilities and weights are multiples of 1/8 or 1/16, exact in float64, so that a residual in rationals can be zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import networkx as nx
import numpy as np

import hltm
from hltm import HLTM
from verify.instances.instance import TreeInstance, freeze
from verify.instances.samples import generator

Row = tuple[float, float]

SLOPES = (0.0, 1.0, 0.25)


def table(rng: np.random.Generator, rows: int, columns: int, extreme: bool) -> list[list[float]]:
    """Rows of parts of 16 that sum to one exactly; `extreme` allows zeros and ones."""
    result = []
    for _ in range(rows):
        low = 0 if extreme else 1
        cuts = np.sort(rng.integers(low, 16 - low, size=columns - 1, endpoint=True))
        parts = np.diff([0, *cuts, 16]) / 16
        if not extreme and (parts == 0).any():
            parts = np.full(columns, 1 / 16)
            parts[int(rng.integers(columns))] += 1 - columns / 16
        result.append(parts.tolist())
    return result


def dress(shape: HLTM, rng: np.random.Generator, *, symmetric: bool, states: tuple[int, int], extreme: bool) -> HLTM:
    """The same shape with new tables: exact multiples of 1/16."""
    graph: nx.DiGraph[Any] = nx.DiGraph()
    cardinality = {node: int(rng.integers(states[0], states[1], endpoint=True)) for node in shape.nodes}
    for node in shape.nodes:
        graph.add_node(node, cardinality=cardinality[node])
    graph.nodes[shape.root]["prior"] = table(rng, 1, cardinality[shape.root], extreme)[0]
    for parent, child in shape.edges:
        if symmetric:
            edge = 8 if extreme else 7
            graph.add_edge(parent, child, polarity=float(rng.integers(-edge, edge, endpoint=True) / 8))
        else:
            rows = table(rng, cardinality[parent], cardinality[child], extreme)
            graph.add_edge(parent, child, transition=rows)
    return hltm.HLTM(graph)


def network(tree: HLTM, rng: np.random.Generator, slope: float, width: int) -> TreeInstance:
    """Random weights of up to `width` neurons a node."""
    sizes = {node: int(rng.integers(1, width, endpoint=True)) for node in tree.latents}
    weights = []
    for node in tree.latents:
        columns = sum(sizes.get(child, 1) for child in tree.children(node))
        weights.append(freeze(rng.integers(-16, 16, size=(sizes[node], columns), endpoint=True) / 8))
    return TreeInstance(tree, tuple(weights), slope)


def shapes() -> list[HLTM]:
    """The shapes that every run covers: a single edge, a star, a caterpillar, complete trees of depth 1 to 3."""
    stars = [hltm.star_tree(1, 0.5), hltm.star_tree(5, 0.5), hltm.caterpillar_tree(5, 0.5)]
    return stars + [hltm.complete_tree(depth, branching, 0.5) for depth, branching in ((1, 3), (2, 2), (3, 2))]


def instances(seed: int, count: int, *, kind: str) -> Iterator[TreeInstance]:
    """Instances of one kind.

    Kinds: `symmetric` and `general` binary tables, `categorical` with 2 to 5 states, `extreme` with zeros, ones and
    root polarities up to one.
    """
    rng = generator(seed, f"trees {kind}")
    known = shapes()
    for index in range(count):
        if index < len(known) and kind != "categorical":
            shape = known[index]
        else:
            most = 3 if kind == "categorical" else 6
            leaves = int(rng.integers(1, most, endpoint=True))
            shape = hltm.random_tree(leaves=leaves, seed=int(rng.integers(2**31)), symmetric=True)
        tree = dress(
            shape,
            rng,
            symmetric=kind == "symmetric",
            states=(2, 5) if kind == "categorical" else (2, 2),
            extreme=kind == "extreme",
        )
        yield network(tree, rng, SLOPES[index % 3], 2)


def of_kinds(seed: int, each: int, kinds: Sequence[str]) -> Iterator[TreeInstance]:
    """As many instances of each kind, kind by kind."""
    for kind in kinds:
        yield from instances(seed, each, kind=kind)


def large(seed: int) -> Iterator[TreeInstance]:
    """Complete trees of depth 4; stars, caterpillars, random trees of 12 leaves; root polarities 0 and +-0.99."""
    rng = generator(seed, "large trees")
    polarity = (-0.95, 0.95)
    trees = [
        hltm.complete_tree(4, 2, polarity, root_polarity=0.99, seed=seed),
        hltm.star_tree(12, polarity, root_polarity=0.0, seed=seed),
        hltm.caterpillar_tree(12, polarity, root_polarity=-0.99, seed=seed),
        hltm.random_tree(leaves=12, seed=seed, symmetric=True),
        hltm.random_tree(leaves=12, seed=seed, symmetric=False),
        hltm.random_tree(leaves=6, seed=seed, symmetric=False, cardinality=(2, 4)),
    ]
    for index, tree in enumerate(trees):
        yield network(tree, rng, SLOPES[index % 2], 2)


def tree_of(edges: dict[str, tuple[str, Row]]) -> HLTM:
    """A binary tree of root `r` with even prior: child to its parent and (P(1|0), P(1|1))."""
    graph: nx.DiGraph[Any] = nx.DiGraph()
    graph.add_node("r", prior=[0.5, 0.5])
    for child, (parent, (low, high)) in edges.items():
        graph.add_edge(parent, child, transition=[[1 - low, low], [1 - high, high]])
    return hltm.HLTM(graph)
