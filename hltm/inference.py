"""Message passing: exact marginals of single nodes given states of others, linear in the number of nodes.

The ceiling of statement 7 is one use: the posterior of a latent given all leaves, for many samples at once.
"""

from collections.abc import Collection, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from hltm.base.checks import Node
from hltm.base.errors import InputError
from hltm.states import read_states
from hltm.tree import HLTM

Evidence: TypeAlias = Mapping[Node, ArrayLike]


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
        The node in question, usually a latent.
    evidence : mapping of Node to int or integer array of shape (n,)
        Known states; what is missing is summed out. ``{leaf: samples[leaf] for leaf in tree.leaves}`` gives
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
    of the tree without evidence sends no message, which stands for a message of ones.
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
