"""Exact laws: marginals and posteriors by message passing, the joint law of the leaves by enumeration.

Message passing is linear in the number of nodes. The joint law is built from the leaves upwards, without a sum over
configurations of latents, in floating point or in rational arithmetic; its cost is the number of leaf configurations
times a small factor. Larger trees need message passing or sampling.
"""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from hltm.base.checks import Node, count, show
from hltm.base.errors import InputError
from hltm.tables import normalized
from hltm.tree import HLTM

Evidence: TypeAlias = Mapping[Node, ArrayLike]

LEAF_LIMIT = 2**22  # leaf configurations: 32 MiB of float64 for one state of the root
WORK_LIMIT = 2**24  # leaf configurations below a node times its states: 128 MiB
RATIONAL_LIMIT = 2**16  # the same in rational arithmetic: some seconds


def read_states(tree: HLTM, states: object, name: str) -> dict[Node, np.ndarray]:
    """Validate states of nodes: evidence for exact inference, kept latents for resampling."""
    if not isinstance(states, Mapping):
        raise InputError(f"{name}={show(states)}: must be a mapping of nodes to states, got {type(states).__name__}")
    arrays = {node: _states(tree, node, value, name) for node, value in states.items()}
    lengths = {node: len(value) for node, value in arrays.items() if value.ndim}
    if len(set(lengths.values())) > 1:
        first = next(iter(lengths))
        other = next(node for node in lengths if lengths[node] != lengths[first])
        raise InputError(
            f"{name} of nodes {show(first)} and {show(other)}: must have the same length, "
            f"got {lengths[first]} and {lengths[other]}"
        )
    return arrays


def _states(tree: HLTM, node: Node, value: ArrayLike, name: str) -> np.ndarray:
    highest = tree.cardinality(node) - 1
    where = f"{name} of node {show(node)}"
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # ragged lists, tensors on another device
        array = np.asarray(None)
    if array.dtype.kind not in "iu" or array.ndim > 1 or not array.size:
        raise InputError(f"{where}: must be an integer or an integer array of shape (n,), got {show(value)}")
    bad = (array < 0) | (array > highest)
    if bad.any():
        raise InputError(f"{where}: states must lie in 0 ... {highest}, got {array[bad].flat[0]}")
    return array.astype(np.int64)


# Message passing


def marginals(tree: HLTM, evidence: Evidence | None = None) -> dict[Node, np.ndarray]:
    """Return the law of every node given states of some nodes.

    Parameters
    ----------
    tree : HLTM
        The tree.
    evidence : mapping of Node to int or integer array of shape (n,), optional
        Known states of any nodes, for one case or for n cases at once.

    Returns
    -------
    dict of Node to numpy.ndarray
        float64, for each node P(state | evidence), shape (states,), or (n, states) if an array was given; in
        the order of ``tree.nodes``.

    Raises
    ------
    InputError
        An unknown node or state, or evidence of probability zero in double precision.

    Source
    ------
    Statement 6 (the tree); sum-product algorithm, rescaled at each step.

    Examples
    --------
    >>> from hltm.build import complete_tree
    >>> tree = complete_tree(depth=1, branching=2, polarity=0.5)
    >>> marginals(tree, {1: 1})[2].tolist()
    [0.375, 0.625]
    """
    return _run(tree, evidence, tree.nodes, tree.latents)


def posterior(tree: HLTM, node: Node, evidence: Evidence) -> np.ndarray:
    """Return the law of one node given states of some nodes, usually of leaves.

    Parameters
    ----------
    tree : HLTM
        The tree.
    node : Node
        Usually a latent.
    evidence : mapping of Node to int or integer array of shape (n,)
        Known states; other nodes are summed out. ``{leaf: samples[leaf] for leaf in tree.leaves}`` gives
        the posterior for each of n samples.

    Returns
    -------
    numpy.ndarray
        float64, P(node | evidence), shape (states,), or (n, states) if an array was given.

    Raises
    ------
    InputError
        An unknown node or state, or evidence of probability zero in double precision.

    Source
    ------
    Statement 7, the ceiling E[z_mu | leaves].

    Examples
    --------
    >>> from hltm.build import complete_tree
    >>> tree = complete_tree(depth=1, branching=2, polarity=0.5)
    >>> posterior(tree, 0, {1: [1, 1], 2: [0, 1]}).round(3).tolist()
    [[0.5, 0.5], [0.1, 0.9]]
    """
    path = tree.path(tree.root, node)
    return _run(tree, evidence, (node,), path[:-1])[node]


def _run(
    tree: HLTM, evidence: Evidence | None, wanted: Collection[Node], expanded: Collection[Node]
) -> dict[Node, np.ndarray]:
    """Pass messages up everywhere, then down through the `expanded` nodes; return the `wanted` laws."""
    states = read_states(tree, {} if evidence is None else evidence, "evidence")
    lengths = [len(value) for value in states.values() if value.ndim]
    known = {node: _indicator(value, tree.cardinality(node), lengths) for node, value in states.items()}
    wanted, expanded = set(wanted), set(expanded)
    below, messages = _upward(tree, known, wanted, expanded)
    prior = np.tile(tree.prior, (lengths[0] if lengths else 1, 1))
    above = {tree.root: prior}
    laws: dict[Node, np.ndarray] = {}
    for node in tree.nodes:
        if node not in above:
            continue
        from_above = above.pop(node)
        if node in wanted:
            law = from_above
            if known:
                law = _product([law, *below.get(node, [])])
                law = law / law.sum(axis=1, keepdims=True)
            laws[node] = law if lengths else law[0]
        if node in expanded:
            children = tree.children(node)
            contexts = [from_above] * len(children)
            if known:
                local = _product([from_above, known[node]] if node in known else [from_above])
                contexts = _contexts(local, [messages.get(child) for child in children])
            for child, context in zip(children, contexts, strict=True):
                if child in wanted or child in expanded:
                    above[child] = context @ tree.transition(node, child)
    return laws


def _upward(
    tree: HLTM, known: Mapping[Node, np.ndarray], wanted: Collection[Node], expanded: Collection[Node]
) -> tuple[dict[Node, list[np.ndarray]], dict[Node, np.ndarray]]:
    """Collect evidence from the leaves to the root.

    Returns, for each wanted node, its likelihood given the evidence at and below it (a list of no or one
    array (n, states)), and for each child of an expanded node its message (n, states of the parent). A part
    of the tree without evidence has no message, which stands for a message of ones.
    """
    below: dict[Node, list[np.ndarray]] = {}
    messages: dict[Node, np.ndarray] = {}
    for node in reversed(tree.nodes):
        children = tree.children(node)
        factors = [messages[child] for child in children if child in messages]
        if node in known:
            factors.append(known[node])
        if node not in expanded:
            for child in children:
                messages.pop(child, None)
        if not factors:
            continue
        likelihood = _product(factors)
        if node in wanted:
            below[node] = [likelihood]
        above = tree.parent(node)
        if above is not None:
            messages[node] = likelihood @ tree.transition(above, node).T
    return below, messages


def _contexts(local: np.ndarray, messages: list[np.ndarray | None]) -> list[np.ndarray]:
    """For each child, multiply `local` with the messages of all other children, without a division."""
    after = [local]
    for message in reversed(messages[1:]):
        after.append(after[-1] if message is None else _product([after[-1], message]))
    contexts, before = [], None
    for message, rest in zip(messages, reversed(after), strict=True):
        contexts.append(rest if before is None else _product([before, rest]))
        if message is not None:
            before = message if before is None else _product([before, message])
    return contexts


def _product(factors: list[np.ndarray]) -> np.ndarray:
    """Multiply arrays (n, states), up to a factor for each row: rescaled at each step against underflow."""
    result = _scaled(factors[0])
    for factor in factors[1:]:
        result = _scaled(result * factor)
    return result


def _scaled(rows: np.ndarray) -> np.ndarray:
    """Scale each row by a power of two, which rounds nothing, to a maximum in [1/2, 1)."""
    largest = rows.max(axis=1, keepdims=True)
    bad = np.flatnonzero(largest == 0)
    if bad.size:
        case = f" of case {bad[0]}" if len(rows) > 1 else ""
        raise InputError(f"evidence{case}: must not have probability zero (in double precision)")
    scaled: np.ndarray = np.ldexp(rows, -np.frexp(largest)[1])
    return scaled


def _indicator(states: np.ndarray, count: int, lengths: list[int]) -> np.ndarray:
    """Return an array (n, states) with a one at the known state of each case."""
    repeated = np.broadcast_to(states, (lengths[0] if lengths else 1,))
    indicator: np.ndarray = (repeated[:, None] == np.arange(count)).astype(np.float64)
    return indicator


# Products along paths from the root


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


# The joint law of the leaves


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
    law = _joint_law(tree, evidence, "leaf_distribution")
    return law.reshape([tree.cardinality(leaf) for leaf in tree.leaves])


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
    # Powers of the few cardinalities: a product leaf by leaf would be quadratic.
    leaves = Counter(tree.cardinality(leaf) for leaf in tree.leaves)
    size: int = math.prod(states**power for states, power in leaves.items())
    if size > limit:
        raise InputError(
            f"{purpose} of a tree with {len(tree.leaves):,} leaves: must have at most {count(limit)} "
            f"leaf configurations, has {count(size)}; use hltm.sample or hltm.posterior (message passing)"
        )
    return size


def rational_leaf_distribution(
    tree: HLTM, evidence: Mapping[Node, int] | None = None
) -> dict[tuple[int, ...], Fraction]:
    """Return the joint law of all leaves, given states of some nodes, as fractions that sum to one exactly.

    Parameters
    ----------
    tree : HLTM
        At most 2^16 leaf configurations times states of the node above.
    evidence : mapping of Node to int, optional
        Known states of any nodes.

    Returns
    -------
    dict of tuple of int to Fraction
        Configuration, in the order of ``tree.leaves``, to P(leaves | evidence); in the order of
        `enumerate_leaves`.

    Raises
    ------
    InputError
        An unknown node or state, evidence of probability zero, a tree that is too large.

    Source
    ------
    Statement 6.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from hltm.build import complete_tree
    >>> tree = complete_tree(depth=1, branching=1, polarity=Fraction(1, 3), root_polarity=Fraction(1, 2))
    >>> rational_leaf_distribution(tree)
    {(0,): Fraction(5, 12), (1,): Fraction(7, 12)}
    """
    law = _joint_law(tree, evidence, "rational_leaf_distribution", exact=True)
    configurations = itertools.product(*(range(tree.cardinality(leaf)) for leaf in tree.leaves))
    return dict(zip(configurations, law, strict=True))


def _joint_law(tree: HLTM, evidence: Evidence | None, purpose: str, exact: bool = False) -> np.ndarray:
    """Return P(leaves | evidence), shape (configurations,): float64, or `Fraction` objects if `exact`."""
    states = read_states(tree, {} if evidence is None else evidence, "evidence")
    for node, value in states.items():
        if value.ndim:
            raise InputError(f"evidence of node {show(node)}: must be one integer, got shape {value.shape}")
    known = {node: int(value) for node, value in states.items()}
    prior = np.array(normalized(tree.exact_prior())) if exact else tree.prior
    joint: np.ndarray = prior @ _leaf_table(tree, known, purpose, exact)
    if not known:
        return joint
    total = joint.sum()
    if not total:
        precision = "" if exact else " (in double precision)"
        raise InputError(f"evidence={show(known)}: must not have probability zero{precision}")
    joint /= total
    return joint


def _leaf_table(tree: HLTM, known: Mapping[Node, int], purpose: str, exact: bool = False) -> np.ndarray:
    """Return P(leaves and known states | z_0), shape (states of the root, configurations).

    With known states a float64 result carries an unknown positive factor: evidence at thousands of nodes would
    underflow, and the factor cancels when the law is normalised.
    """
    leaf_configurations(tree, purpose, RATIONAL_LIMIT if exact else LEAF_LIMIT)
    limit, kind = (RATIONAL_LIMIT, object) if exact else (WORK_LIMIT, np.float64)
    tables: dict[Node, np.ndarray] = {}
    for node in reversed(tree.nodes):
        states = tree.cardinality(node)
        children = tree.children(node)
        size = states * math.prod(tables[child].shape[1] for child in children)
        if size > limit:
            raise InputError(
                f"{purpose} at node {show(node)}: states times leaf configurations below must be at most "
                f"{count(limit)}, is {count(size)}; use hltm.sample or hltm.posterior (message passing)"
            )
        table: np.ndarray = np.ones((states, 1), kind) if children else np.eye(states, dtype=kind)
        for child in children:
            rows = [normalized(row) for row in tree.exact_table(child)] if exact else tree.transition(node, child)
            part = np.array(rows) @ tables.pop(child)
            table = (table[:, :, None] * part[:, None, :]).reshape(states, -1)
        if node in known:
            table = table * (np.arange(states) == known[node])[:, None]
        if known and not exact:
            table = np.ldexp(table, -np.frexp(table.max())[1])
        tables[node] = table
    return tables[tree.root]
