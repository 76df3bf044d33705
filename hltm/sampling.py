"""Samples of a tree, resampling below kept nodes (the augmentation of statement 6), and finite populations."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hltm.base import checks
from hltm.base.checks import Node, count, show
from hltm.base.errors import InputError
from hltm.exact import enumerate_leaves, leaf_configurations, leaf_table, read_states
from hltm.tree import HLTM

SAMPLE_LIMIT = 2**30  # states in one call: 8 GiB of int64
POPULATION_LIMIT = 2**25  # coordinates of a population: 256 MiB of float64


def sample(tree: HLTM, n: int, seed: int = 0) -> dict[Node, np.ndarray]:
    """Draw independent samples of all nodes, each node given its parent.

    Parameters
    ----------
    tree : HLTM
        The tree.
    n : int
        Number of samples, at least 1; n times the number of nodes at most 2^30.
    seed : int
        The same seed gives the same samples.

    Returns
    -------
    dict of Node to numpy.ndarray
        int64 states, shape (n,), in the order of ``tree.nodes``.

    Raises
    ------
    InputError
        A size or seed that is not allowed.

    Source
    ------
    Statement 6, x ~ p.

    Examples
    --------
    >>> from hltm.build import complete_tree
    >>> states = sample(complete_tree(depth=1, branching=2, polarity=1.0), n=4, seed=0)
    >>> bool((states[0] == states[1]).all()), states[2].shape
    (True, (4,))
    """
    n = checks.integer(n, "n", 1)
    _limit(n, len(tree.nodes))
    rng = np.random.default_rng(checks.seed(seed))
    root = _draw(rng, tree.prior[None, :], np.zeros(n, dtype=np.int64))
    return _descend(tree, {tree.root: root}, rng)


def resample(tree: HLTM, kept: Mapping[Node, np.ndarray], seed: int = 0) -> dict[Node, np.ndarray]:
    """Draw everything below the kept nodes anew: the augmentation of statement 6.

    Parameters
    ----------
    tree : HLTM
        The tree.
    kept : mapping of Node to integer array of shape (n,)
        The states to keep. ``{tree.root: states[tree.root]}`` is "keep z_0, resample the rest". Each leaf
        must be kept or lie below a kept node, and no node that is drawn may lie between two kept ones.
    seed : int
        Use another one than for the samples themselves.

    Returns
    -------
    dict of Node to numpy.ndarray
        int64 states, shape (n,), of the kept nodes and all nodes below them, in the order of ``tree.nodes``.

    Raises
    ------
    InputError
        Nothing kept, an unknown node or state, unequal lengths, a leaf without a kept node above it, a gap.

    Source
    ------
    Statement 6, x' ~ p_aug(. | z_0).

    Examples
    --------
    >>> from hltm.build import complete_tree
    >>> tree = complete_tree(depth=2, branching=2, polarity=0.5)
    >>> states = sample(tree, n=3, seed=0)
    >>> again = resample(tree, {tree.root: states[tree.root]}, seed=1)
    >>> bool((again[0] == states[0]).all()), sorted(again) == sorted(tree.nodes)
    (True, True)
    """
    states = read_states(tree, kept, "kept")
    if not states:
        raise InputError("kept={}: must name at least one node, for instance tree.root")
    for node, value in states.items():
        if not value.ndim:
            raise InputError(f"kept of node {show(node)}: must be an array of shape (n,), got {show(int(value))}")
    _limit(len(next(iter(states.values()))), len(tree.nodes))
    covered: set[Node] = set()
    for node in tree.nodes:
        above = tree.parent(node)
        below_kept = above is not None and above in covered
        if node in states and below_kept and above not in states:
            raise InputError(
                f"kept of node {show(node)}: the node {show(above)} above it lies below a kept node and "
                "must be kept too"
            )
        if node in states or below_kept:
            covered.add(node)
    for leaf in tree.leaves:
        if leaf not in covered:
            raise InputError(f"kept={show(list(states))}: leaf {show(leaf)} must be kept or lie below a kept node")
    return _descend(tree, states, np.random.default_rng(checks.seed(seed)))


def _descend(tree: HLTM, kept: Mapping[Node, np.ndarray], rng: np.random.Generator) -> dict[Node, np.ndarray]:
    states: dict[Node, np.ndarray] = {}
    for node in tree.nodes:
        above = tree.parent(node)
        if node in kept:
            states[node] = kept[node]
        elif above is not None and above in states:
            states[node] = _draw(rng, tree.transition(above, node), states[above])
    return states


def _draw(rng: np.random.Generator, table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Draw one state from row ``rows[i]`` of the table for each i, by inversion."""
    steps = table.cumsum(axis=1)
    # Divided by the last step, rows end in exact ones: a last state of probability zero is never drawn.
    steps = steps / steps[:, -1:]
    uniform = rng.random(len(rows))
    states = np.zeros(len(rows), dtype=np.int64)
    for step in steps.T[:-1]:
        states += uniform >= step[rows]
    return states


def _limit(n: int, nodes: int) -> None:
    if n * nodes > SAMPLE_LIMIT:
        raise InputError(
            f"n={n:,} samples of {nodes:,} nodes: must be at most {count(SAMPLE_LIMIT)} states in all, "
            f"are {count(n * nodes)}; draw several times with different seeds"
        )


@dataclass(frozen=True, eq=False)
class LeafPopulation:
    """M points with A augmentations each, in d dimensions; every expectation over it is a finite sum.

    Attributes
    ----------
    points : numpy.ndarray
        float64, shape (M, A, d): ``points[m, a]`` is augmentation a of point m.
    point_weights : numpy.ndarray
        float64, shape (M,): the law of the points, sums to one.
    augmentation_weights : numpy.ndarray
        float64, shape (M, A): for each point the law of its augmentations, rows sum to one.

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> population = leaf_population(star_tree(2, polarity=0.5))
    >>> population.points.shape, population.point_weights.tolist()  # 2 states of the root, 4 states of the leaves
    ((2, 4, 2), [0.5, 0.5])
    >>> population.augmentation_weights[0].tolist()
    [0.5625, 0.1875, 0.1875, 0.0625]
    """

    points: np.ndarray
    point_weights: np.ndarray
    augmentation_weights: np.ndarray


def leaf_population(tree: HLTM, drop_zero: bool = True) -> LeafPopulation:
    """List a tree and its augmentation "keep z_0, resample the rest" as a finite population.

    Parameters
    ----------
    tree : HLTM
        At most 2^25 coordinates M * A * d.
    drop_zero : bool
        Leave out the states of the root of prior zero.

    Returns
    -------
    LeafPopulation
        M: the states of the root (those of positive prior, in order); A: all leaf configurations, in the
        order of `enumerate_leaves`, the same for every point; d: the leaves, in the order of
        ``tree.leaves``. Coordinates are state numbers. Weights are P(z_0) and P(leaves | z_0); their sums
        are one within rounding.

    Raises
    ------
    InputError
        A tree that is too large.

    Source
    ------
    Statement 6 (augmentation) and section 0 (finite population).

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> population = leaf_population(star_tree(2, polarity=0.5))
    >>> population.points.shape, population.points[0].tolist()
    ((2, 4, 2), [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> population.augmentation_weights[1].tolist()
    [0.0625, 0.1875, 0.1875, 0.5625]
    """
    prior = tree.prior
    chosen = np.flatnonzero(prior > 0) if drop_zero else np.arange(len(prior))
    size = leaf_configurations(tree, "leaf_population") * len(chosen) * len(tree.leaves)
    if size > POPULATION_LIMIT:
        raise InputError(
            f"leaf_population of a tree with {len(tree.leaves)} leaves: must have at most "
            f"{count(POPULATION_LIMIT)} coordinates, has {count(size)}; use hltm.sample and hltm.resample"
        )
    leaves = enumerate_leaves(tree).astype(np.float64)
    return LeafPopulation(
        points=np.repeat(leaves[None], len(chosen), axis=0),
        point_weights=prior[chosen],
        augmentation_weights=leaf_table(tree)[chosen],
    )
