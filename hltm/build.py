"""Builders of complete, star and caterpillar trees (symmetric binary) and of random ones (any tables).

Nodes are the integers 0, 1, ... level by level, so the root is 0, as z_0 in statement 6.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import networkx as nx
import numpy as np

from hltm.base import checks
from hltm.base.checks import Number, count, halves, integer, show
from hltm.base.errors import InputError
from hltm.tree import HLTM

NODE_LIMIT = 2**20  # a node with its edge takes about 2.5 kB: this is 2.6 GB
_MOST_CHILDREN = 4  # of a latent in a random tree

Polarity: TypeAlias = Number | tuple[Number, Number] | list[Number] | Callable[[int, int], Number]
_Edge: TypeAlias = tuple[int, int]


def complete_tree(
    depth: int, branching: int, polarity: Polarity, root_polarity: Number = 0.0, seed: int | None = None
) -> HLTM:
    """Build the symmetric binary tree in which every latent has the same number of children.

    Parameters
    ----------
    depth : int
        Edges from the root to each leaf, at least 1.
    branching : int
        Children of each latent, at least 1 (1 gives a path).
    polarity : number, (low, high) or callable
        rho of each edge in [-1, 1]: the same for all, drawn uniformly from a range (needs `seed`; drawn in
        the order of the nodes), or ``polarity(parent, child)``.
    root_polarity : number
        rho_0 = P(z_0=1) - P(z_0=0) in [-1, 1].
    seed : int, optional
        Needed for a range of polarities only.

    Returns
    -------
    HLTM
        ``branching**depth`` leaves; the children of node n begin with ``n * branching + 1``.

    Raises
    ------
    InputError
        A size below 1 or a tree of more than 2^20 nodes, a polarity outside [-1, 1], a range without seed.

    Source
    ------
    Statement 6, symmetric binary trees.

    Examples
    --------
    >>> tree = complete_tree(depth=2, branching=2, polarity=0.8)
    >>> tree.leaves, tree.children(0), tree.prior.tolist()
    ((3, 4, 5, 6), (1, 2), [0.5, 0.5])
    """
    depth, branching = integer(depth, "depth", 1), integer(branching, "branching", 1)
    nodes = complete_size(depth, branching)
    edges = (((child - 1) // branching, child) for child in range(1, nodes))
    return _symmetric_tree(edges, polarity, root_polarity, seed)


def star_tree(leaves: int, polarity: Polarity, root_polarity: Number = 0.0, seed: int | None = None) -> HLTM:
    """Build the symmetric binary tree whose root has all leaves as children.

    Parameters are those of `complete_tree`, with `leaves` (at least 1) in place of depth and branching.

    Examples
    --------
    >>> star_tree(3, polarity=0.5).leaves
    (1, 2, 3)
    """
    leaves = integer(leaves, "leaves", 1)
    _limit(leaves + 1, f"leaves={leaves}")
    return _symmetric_tree(((0, child) for child in range(1, leaves + 1)), polarity, root_polarity, seed)


def caterpillar_tree(leaves: int, polarity: Polarity, root_polarity: Number = 0.0, seed: int | None = None) -> HLTM:
    """Build the symmetric binary tree with a spine of latents, one leaf on each and a second one on the last.

    Parameters are those of `complete_tree`, with `leaves` (at least 2) in place of depth and branching. Each
    latent but the last has two children: the next latent, then its leaf. The depth is ``leaves - 1``.

    Examples
    --------
    >>> tree = caterpillar_tree(3, polarity=0.5)
    >>> tree.children(0), tree.children(1)
    ((1, 2), (3, 4))
    """
    leaves = integer(leaves, "leaves", 2)
    _limit(2 * leaves - 1, f"leaves={leaves}")
    # Level k > 0 holds the nodes 2k - 1 (the spine) and 2k (a leaf); both hang on the spine node above.
    edges = ((max(child - 3 + child % 2, 0), child) for child in range(1, 2 * leaves - 1))
    return _symmetric_tree(edges, polarity, root_polarity, seed)


def random_tree(leaves: int, seed: int, symmetric: bool = False, cardinality: int | tuple[int, int] = 2) -> HLTM:
    """Build a tree of random shape with random tables.

    The leaves below a latent are split into 2 to 4 parts at random places until one leaf is left; one leaf in
    all gives a single edge. Every latent has at least two children then.

    Parameters
    ----------
    leaves : int
        Number of leaves, at least 1.
    seed : int
        The same seed gives the same tree.
    symmetric : bool
        True: symmetric binary tables with polarities uniform on [-1, 1] and rho_0 uniform on [-1, 1].
        False: each row of each table and the prior uniform on the simplex of their length.
    cardinality : int or (low, high)
        States of each node, at least 2: the same for all, or uniform on low, ..., high.

    Returns
    -------
    HLTM

    Raises
    ------
    InputError
        A size that is not allowed, a symmetric tree that is not binary.

    Examples
    --------
    >>> random_tree(leaves=8, seed=0, symmetric=False, cardinality=(2, 4))
    HLTM(root=0, nodes=13, leaves=8, depth=3, categorical)
    """
    leaves = integer(leaves, "leaves", 1)
    _limit(2 * leaves, f"leaves={leaves}")
    low, high = _range(cardinality, "cardinality", lambda value, name: integer(value, name, 2))
    if symmetric and (low, high) != (2, 2):
        raise InputError(f"cardinality={show(cardinality)} of a symmetric tree: must be 2")
    rng = np.random.default_rng(checks.seed(seed))
    edges = _random_shape(leaves, rng)
    if symmetric:
        return _symmetric_tree(edges, (-1.0, 1.0), float(rng.uniform(-1, 1)), int(rng.integers(2**32)))
    states = rng.integers(low, high + 1, size=len(edges) + 1).tolist()
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_node(0, prior=rng.dirichlet(np.ones(states[0])), cardinality=states[0])
    for above, child in edges:
        graph.add_node(child, cardinality=states[child])
        table = rng.dirichlet(np.ones(states[child]), size=states[above])
        graph.add_edge(above, child, transition=table)
    return HLTM(graph)


def _symmetric_tree(edges: Iterable[_Edge], rho: Polarity, root_polarity: Number, seed: int | None) -> HLTM:
    low, high = halves(checks.polarity(root_polarity, "root_polarity"))
    value = _polarity_rule(rho, seed)
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_node(0, prior=(low, high))
    graph.add_edges_from((above, child, {"polarity": value(above, child)}) for above, child in edges)
    return HLTM(graph)


def _polarity_rule(rho: Polarity, seed: int | None) -> Callable[[int, int], Number]:
    """Return the polarity as a function of parent and child."""
    if callable(rho):
        return rho
    low, high = _range(rho, "polarity", checks.polarity)
    if not isinstance(rho, (tuple, list)):
        return lambda _above, _child: low
    if seed is None:
        raise InputError(f"seed=None with polarity={show(rho)}: a range of polarities needs a seed")
    rng = np.random.default_rng(checks.seed(seed))
    return lambda _above, _child: float(rng.uniform(float(low), float(high)))


def _random_shape(leaves: int, rng: np.random.Generator) -> list[_Edge]:
    """Split the leaves level by level; return the edges, nodes numbered in the order of their creation."""
    edges: list[_Edge] = []
    level = [(0, leaves)]
    while level:
        below: list[tuple[int, int]] = []
        for node, size in level:
            for part in _parts(size, rng):
                child = len(edges) + 1
                edges.append((node, child))
                if part > 1:
                    below.append((child, part))
        level = below
    return edges


def _parts(size: int, rng: np.random.Generator) -> list[int]:
    """Cut `size` leaves into 2 to 4 parts, none empty; a single leaf stays whole."""
    if size == 1:
        return [1]
    wanted = int(rng.integers(2, min(size, _MOST_CHILDREN) + 1))
    cuts: set[int] = set()
    while len(cuts) < wanted - 1:
        cuts.add(int(rng.integers(1, size)))
    ends = [0, *sorted(cuts), size]
    return [end - start for start, end in itertools.pairwise(ends)]


def _range(value: object, name: str, check: Callable[[object, str], Any]) -> tuple[Any, Any]:
    """Return the checked ends of a range (low, high); a single number is both ends."""
    if not isinstance(value, (tuple, list)):
        return (check(value, name),) * 2
    if len(value) != 2:
        raise InputError(f"{name}={show(value)}: a range must be (low, high), got {len(value)} values")
    low, high = (check(end, f"{name}[{i}]") for i, end in enumerate(value))
    if low > high:
        raise InputError(f"{name}={show(value)}: low must not be above high")
    return low, high


def complete_size(depth: int, branching: int) -> int:
    """Return the number of nodes of a complete tree; refuse too many."""
    nodes, width = 1, 1
    if branching == 1:
        nodes = depth + 1
    else:
        for _ in range(depth):
            width *= branching
            nodes += width
            if width > 2**256:  # far above the limit
                break
    _limit(nodes, f"depth={depth}, branching={branching}")
    return nodes


def _limit(nodes: int, name: str) -> None:
    if nodes > NODE_LIMIT:
        raise InputError(f"{name}: must give at most {count(NODE_LIMIT)} nodes, gives {count(nodes)} or more")
