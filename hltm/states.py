"""Reading states of nodes: evidence for exact inference, kept latents for resampling."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from hltm.base.checks import Node, show
from hltm.base.errors import InputError
from hltm.tree import HLTM


def read_states(tree: HLTM, given: object, name: str) -> dict[Node, np.ndarray]:
    """Check a mapping of nodes to states.

    Parameters
    ----------
    tree : HLTM
        The tree whose nodes are named.
    given : mapping of Node to int or integer array of shape (n,)
        States 0 ... cardinality - 1; all arrays must have the same length, at least 1.
    name : str
        What the mapping is called in messages.

    Returns
    -------
    dict of Node to numpy.ndarray
        int64, each of shape () or (n,).

    Raises
    ------
    InputError
        No mapping, an unknown node, a state that is no integer or not a state of its node, unequal lengths.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"{name}={show(given)}: must be a mapping of nodes to states, got {type(given).__name__}")
    states = {node: _states(tree, node, value, name) for node, value in given.items()}
    lengths = {node: len(value) for node, value in states.items() if value.ndim}
    if len(set(lengths.values())) > 1:
        first = next(iter(lengths))
        other = next(node for node in lengths if lengths[node] != lengths[first])
        raise InputError(
            f"{name} of nodes {show(first)} and {show(other)}: must have the same length, "
            f"got {lengths[first]} and {lengths[other]}"
        )
    return states


def _states(tree: HLTM, node: Node, value: ArrayLike, name: str) -> np.ndarray:
    count = tree.cardinality(node)
    where = f"{name} of node {show(node)}"
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # ragged lists, tensors on another device
        array = np.asarray(None)
    if array.dtype.kind not in "iu" or array.ndim > 1 or not array.size:
        raise InputError(f"{where}: must be an integer or an integer array of shape (n,), got {show(value)}")
    bad = (array < 0) | (array >= count)
    if bad.any():
        raise InputError(f"{where}: states must lie in 0 ... {count - 1}, got {array[bad].flat[0]}")
    return array.astype(np.int64)
