"""Exact moments: products along paths from the root, and the joint law of the leaves by enumeration.

The joint law is built from the leaves upwards (no sum over configurations of latents), so its cost is the
number of leaf configurations times a small factor. Larger trees need message passing (`hltm.inference`) or
sampling.
"""

import math

import numpy as np

from hltm.base.checks import Node, count, show
from hltm.base.errors import InputError
from hltm.inference import Evidence
from hltm.states import read_states
from hltm.tree import HLTM

LEAF_LIMIT = 2**22  # leaf configurations: 32 MiB of float64 for one state of the root
WORK_LIMIT = 2**24  # leaf configurations below a node times its states: 128 MiB


def root_polarities(tree: HLTM) -> dict[Node, float]:
    """Return rho_{0 mu} for every node of a binary tree: the product of the polarities from the root.

    Returns
    -------
    dict of Node to float
        In the order of ``tree.nodes``; 1.0 for the root.

    Raises
    ------
    InputError
        A node that is not binary.

    Source
    ------
    Statement 6, rho_{0 mu} in o_mu = rho_{0 mu}^2 (1 - rho_0^2).

    Examples
    --------
    >>> from hltm.build import complete_tree
    >>> root_polarities(complete_tree(depth=2, branching=1, polarity=0.5))
    {0: 1.0, 1: 0.5, 2: 0.25}
    """
    steps, rho = tree.edge_polarities(), {tree.root: 1.0}
    for above, node in tree.edges:
        rho[node] = rho[above] * steps[node]
    return rho


def root_transitions(tree: HLTM) -> dict[Node, np.ndarray]:
    """Return T_{0 mu} for every node: its law given each state of the root.

    Returns
    -------
    dict of Node to numpy.ndarray
        float64, shape (states of the root, states of the node), in the order of ``tree.nodes``.

    Source
    ------
    Statement 6, categorical form.

    Examples
    --------
    >>> from hltm.build import complete_tree
    >>> root_transitions(complete_tree(depth=2, branching=1, polarity=0.5))[2].tolist()
    [[0.625, 0.375], [0.375, 0.625]]
    """
    laws = {tree.root: np.eye(tree.cardinality(tree.root))}
    for above, node in tree.edges:
        laws[node] = laws[above] @ tree.transition(above, node)
    return laws


def leaf_distribution(tree: HLTM, evidence: Evidence | None = None) -> np.ndarray:
    """Return the joint law of all leaves, given states of some nodes.

    Parameters
    ----------
    tree : HLTM
        At most 2^22 leaf configurations.
    evidence : mapping of Node to int, optional
        Known states of any nodes. ``{tree.root: 1}`` gives the law of an augmentation of statement 6.

    Returns
    -------
    numpy.ndarray
        float64, P(leaves | evidence), one axis for each leaf in the order of ``tree.leaves``, shape (states
        of the leaves). A leaf in the evidence keeps its axis: all mass is at its known state.

    Raises
    ------
    InputError
        An unknown node or state, evidence of probability zero in double precision, a tree that is too large.

    Source
    ------
    Statement 6.

    Examples
    --------
    >>> from hltm.build import complete_tree
    >>> tree = complete_tree(depth=1, branching=2, polarity=0.5)
    >>> leaf_distribution(tree, {tree.root: 1}).tolist()
    [[0.0625, 0.1875], [0.1875, 0.5625]]
    """
    known = read_states(tree, {} if evidence is None else evidence, "evidence")
    for node, value in known.items():
        if value.ndim:
            raise InputError(f"evidence of node {show(node)}: must be one integer, got shape {value.shape}")
    states = {node: int(value) for node, value in known.items()}
    joint = tree.prior @ _leaf_table(tree, states, "leaf_distribution")
    if states:
        total = joint.sum()
        if not total:
            raise InputError(f"evidence={show(states)}: must not have probability zero (in double precision)")
        joint = joint / total
    law: np.ndarray = joint.reshape([tree.cardinality(leaf) for leaf in tree.leaves])
    return law


def leaf_table(tree: HLTM) -> np.ndarray:
    """Return the joint law of all leaves given each state of the root, also for root states of prior zero.

    Returns
    -------
    numpy.ndarray
        float64, shape (states of the root, leaf configurations); the columns follow `enumerate_leaves`.

    Raises
    ------
    InputError
        More than 2^22 leaf configurations.

    Source
    ------
    Statement 6, p_aug(. | z_0).

    Examples
    --------
    >>> from hltm.build import complete_tree
    >>> leaf_table(complete_tree(depth=1, branching=1, polarity=0.5)).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    return _leaf_table(tree, {}, "leaf_table")


def enumerate_leaves(tree: HLTM) -> np.ndarray:
    """List all configurations of the leaves.

    Returns
    -------
    numpy.ndarray
        int64, shape (configurations, leaves), columns in the order of ``tree.leaves``, the last leaf runs
        fastest: row i belongs to entry i of ``leaf_distribution(tree).ravel()``.

    Raises
    ------
    InputError
        More than 2^22 configurations.

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> enumerate_leaves(star_tree(2, polarity=0.5)).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    size = leaf_configurations(tree, "enumerate_leaves")
    shape = tuple(tree.cardinality(leaf) for leaf in tree.leaves)
    return np.stack(np.unravel_index(np.arange(size), shape), axis=1).astype(np.int64, copy=False)


def leaf_configurations(tree: HLTM, purpose: str, limit: int = LEAF_LIMIT) -> int:
    """Return the number of leaf configurations; refuse a tree that has more than `limit`."""
    digits = math.fsum(math.log10(tree.cardinality(leaf)) for leaf in tree.leaves)
    if digits < 24:
        size = math.prod(tree.cardinality(leaf) for leaf in tree.leaves)
        if size <= limit:
            return size
        written = count(size)
    else:  # the exact product is not worth its digits
        written = f"about 10^{int(digits)}"
    raise InputError(
        f"{purpose} of a tree with {len(tree.leaves):,} leaves: must have at most {count(limit)} "
        f"leaf configurations, has {written}; use hltm.sample or hltm.posterior (message passing)"
    )


def _leaf_table(tree: HLTM, known: dict[Node, int], purpose: str) -> np.ndarray:
    """Return P(leaves and known states | z_0), shape (states of the root, configurations).

    With known states the result carries an unknown positive factor: evidence at thousands of nodes would
    underflow, and the factor cancels when the law is normalised.
    """
    leaf_configurations(tree, purpose)
    tables: dict[Node, np.ndarray] = {}
    for node in reversed(tree.nodes):
        states = tree.cardinality(node)
        children = tree.children(node)
        size = states * math.prod(tables[child].shape[1] for child in children)
        if size > WORK_LIMIT:
            raise InputError(
                f"{purpose} at node {show(node)}: states times leaf configurations below must be at most "
                f"{count(WORK_LIMIT)}, is {count(size)}; use hltm.sample or hltm.posterior (message passing)"
            )
        table = np.eye(states) if not children else np.ones((states, 1))
        for child in children:
            part = tree.transition(node, child) @ tables.pop(child)
            table = (table[:, :, None] * part[:, None, :]).reshape(states, -1)
        if node in known:
            table = table * (np.arange(states) == known[node])[:, None]
        if known:
            table = np.ldexp(table, -np.frexp(table.max())[1])
        tables[node] = table
    return tables[tree.root]
