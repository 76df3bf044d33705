"""The tree over observed variables that explains data best (Chow and Liu 1968), as a latent tree without latents."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np
from scipy.special import rel_entr

from hltm.base.checks import Node, count, node_name, show, suggestion
from hltm.base.errors import InputError
from hltm.fit import Fit, fit_parameters
from hltm.records import ENTRY_LIMIT, MISSING, MISSING_TEXTS
from hltm.tree import HLTM

NODE_LIMIT = 512
STATE_LIMIT = 256


def chow_liu(
    data: Mapping[Any, Any], root: Node | None = None, *, smoothing: float = 0.0, iterations: int = 1000
) -> Fit:
    """Fit the tree over observed variables with the largest likelihood: a maximum spanning tree of mutual information.

    Parameters
    ----------
    data : mapping of Node to sequence of length n
        For each of 2 to 512 variables its values: integers from 0 on, -1 where missing, or names of states (``""``,
        ``"NA"``, ``"?"`` and None where missing). Names are ordered as numbers if all are integers, else as texts.
    root : Node, optional
        By default the first variable. The likelihood does not depend on it.
    smoothing, iterations
        Of the parameters, as in :func:`hltm.fit_parameters`; without missing values they are relative frequencies.

    Returns
    -------
    Fit
        Its tree has every variable as a node. Inner nodes are observed too: where the notes have latents, this tree has
        variables of the data.

    Raises
    ------
    InputError
        Fewer than two variables, a variable with one value alone, columns of several lengths, an unknown root.

    Source
    ------
    Chow and Liu (1968). Mutual information of two variables is that of the rows in which neither is missing.

    Examples
    --------
    >>> fit = chow_liu({"a": [0, 0, 0, 1], "b": ["no", "no", "yes", "yes"], "c": [0, 1, 1, 1]}, root="b")
    >>> fit.tree.edges, fit.tree.states("b")
    ((('b', 'a'), ('b', 'c')), ('no', 'yes'))
    """
    columns = _columns(data)
    first = next(iter(columns)) if root is None else root
    if first not in columns:
        raise InputError(f"root={show(root)}: must be a variable of the data{suggestion(root, columns)}")
    tree = _tree(columns, first)
    return fit_parameters(tree, {node: own for node, (own, _) in columns.items()}, smoothing=smoothing,
                          starts=1, iterations=iterations)  # fmt: skip


def _columns(data: object) -> dict[Node, tuple[np.ndarray, Sequence[str]]]:
    """States of each variable and their names (none for integers)."""
    if not isinstance(data, Mapping) or not 2 <= len(data) <= NODE_LIMIT:
        size = f"{len(data):,} variables" if isinstance(data, Mapping) else f"a {type(data).__name__}"
        raise InputError(f"data: must be a mapping of 2 to {NODE_LIMIT} variables to their values, got {size}")
    columns = {node_name(node): _column(node, values) for node, values in data.items()}
    lengths = {node: len(own) for node, (own, _) in columns.items()}
    first = next(iter(lengths))
    for node, length in lengths.items():
        if length != lengths[first]:
            raise InputError(f"data of variables {show(first)} and {show(node)}: must have the same length, "
                             f"got {lengths[first]:,} and {length:,}")  # fmt: skip
    if (entries := len(columns) * lengths[first]) > ENTRY_LIMIT:
        raise InputError(f"data: must have at most {count(ENTRY_LIMIT)} entries, has {count(entries)}")
    return columns


def _column(node: Node, values: Any) -> tuple[np.ndarray, Sequence[str]]:
    where = f"data of variable {show(node)}"
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{where}: must have shape (n,), got {array.shape}")
    if array.dtype.kind in "iu":
        states = int(array.max(initial=0)) + 1
        _check_states(where, states)
        if (array < MISSING).any():
            raise InputError(f"{where}: must be integers from 0 on, or -1 where missing, got {array.min()}")
        return array.astype(np.int64), ()
    if array.dtype.kind not in "OUS":
        raise InputError(f"{where}: must be integers or names of states, got {array.dtype}")
    texts = [None if value in (None, *MISSING_TEXTS) else str(value) for value in array.tolist()]
    names = sorted({text for text in texts if text is not None})
    if all(name.isascii() and name.isdigit() for name in names):
        names.sort(key=int)
    _check_states(where, len(names))
    number: dict[str | None, int] = {name: k for k, name in enumerate(names)} | {None: MISSING}
    return np.array([number[text] for text in texts], dtype=np.int64), names


def _check_states(where: str, states: int) -> None:
    if states < 2:
        raise InputError(f"{where}: must have two values at least, has {states}; leave it out")
    if states > STATE_LIMIT:
        raise InputError(f"{where}: must have at most {STATE_LIMIT} values, has {states:,}")


def _tree(columns: Mapping[Node, tuple[np.ndarray, Sequence[str]]], root: Node) -> HLTM:
    """The maximum spanning tree with uniform tables."""
    graph: nx.Graph = nx.Graph()
    graph.add_nodes_from(columns)
    for one, other in combinations(columns, 2):
        graph.add_edge(one, other, weight=_information(columns[one][0], columns[other][0]))
    spanning = nx.maximum_spanning_tree(graph)
    result: nx.DiGraph = nx.DiGraph()
    states = {node: int(own.max()) + 1 for node, (own, _) in columns.items()}
    for node, (_, names) in columns.items():
        result.add_node(node, cardinality=states[node], **({"states": tuple(names)} if names else {}))
    result.nodes[root]["prior"] = [1 / states[root]] * states[root]
    # Children in the order of the data, whatever order the spanning tree has.
    place = {node: number for number, node in enumerate(columns)}
    for above, child in nx.bfs_edges(spanning, root, sort_neighbors=lambda each: sorted(each, key=place.__getitem__)):
        result.add_edge(above, child, transition=np.full((states[above], states[child]), 1 / states[child]).tolist())
    return HLTM(result)


def _information(one: np.ndarray, other: np.ndarray) -> float:
    """Mutual information of two variables, in nats, from the rows in which neither is missing."""
    known = (one != MISSING) & (other != MISSING)
    width = int(other.max()) + 1
    table = np.bincount(one[known] * width + other[known], minlength=(int(one.max()) + 1) * width)
    joint = table.reshape(-1, width) / max(1, known.sum())
    return float(rel_entr(joint, np.outer(joint.sum(axis=1), joint.sum(axis=0))).sum())
