"""Trees as JSON documents in networkx's node-link form, with ``"edges"`` as the key of the edge list.

The smallest document::

    {"nodes": [{"id": "r", "prior": [0.5, 0.5]}, {"id": "x"}],
     "edges": [{"source": "r", "target": "x", "polarity": 0.8}]}

A rational number that is not an integer is the string ``"1/3"``; a node whose name is a tuple is a list. Reading
checks the form here and the model in `HLTM`.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import networkx as nx

from hltm.base.checks import Node, node_name, show, suggestion
from hltm.base.errors import InputError
from hltm.tables import read_number
from hltm.tree import HLTM

_KEYS = ("directed", "multigraph", "graph", "nodes", "edges")


def tree_to_json(tree: HLTM) -> dict[str, Any]:
    """Return the tree as data that `json.dumps` can write, in node-link form.

    Returns
    -------
    dict
        Fresh dictionaries, lists, numbers and strings; ``tree_from_json`` gives an equal tree, with equal
        order of children, name and description.

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> data = tree_to_json(star_tree(1, polarity=0.5))
    >>> data["nodes"], data["edges"]
    ([{'id': 0, 'prior': [0.5, 0.5]}, {'id': 1}], [{'source': 0, 'target': 1, 'polarity': 0.5}])
    """
    graph = tree.graph
    return {
        "directed": True,
        "multigraph": False,
        "graph": dict(graph.graph),
        "nodes": [{"id": _plain(node), **_plain_values(graph.nodes[node])} for node in tree.nodes],
        "edges": [
            {"source": _plain(above), "target": _plain(node), **_plain_values(graph.edges[above, node])}
            for above, node in tree.edges
        ],
    }


def tree_from_json(data: object) -> HLTM:
    """Build a tree from data in node-link form, as `tree_to_json` or networkx writes it.

    Parameters
    ----------
    data : dict
        As read by `json.loads`. ``nodes`` and ``edges`` are needed; ``directed`` must be true and
        ``multigraph`` false if given.

    Returns
    -------
    HLTM

    Raises
    ------
    InputError
        Another form, a node listed twice, an edge listed twice or to a node that is not listed, or no valid
        tree.

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> tree = star_tree(3, polarity=0.5)
    >>> tree_from_json(tree_to_json(tree)) == tree
    True
    """
    form = _checked(data, Mapping, "tree")
    _check_keys(form)
    graph: nx.DiGraph = nx.DiGraph()
    graph.graph.update(_checked(form.get("graph", {}), Mapping, "'graph' of the tree"))
    for i, entry in enumerate(_checked(form["nodes"], list, "nodes")):
        attributes = dict(_checked(entry, Mapping, f"nodes[{i}]"))
        node = _name(attributes, "id", f"nodes[{i}]")
        if node in graph:
            raise InputError(f"nodes[{i}]: the node {show(node)} must not be listed twice")
        graph.add_nodes_from([(node, _with_fractions(attributes))])
    for i, entry in enumerate(_checked(form["edges"], list, "edges")):
        attributes = dict(_checked(entry, Mapping, f"edges[{i}]"))
        ends = _name(attributes, "source", f"edges[{i}]"), _name(attributes, "target", f"edges[{i}]")
        for node in ends:
            if node not in graph:
                near = suggestion(node, graph)
                raise InputError(f"edges[{i}]: the node {show(node)} must be listed in 'nodes'{near}")
        if graph.has_edge(*ends):
            raise InputError(f"edges[{i}]: the edge {show(ends)} must not be listed twice")
        graph.add_edges_from([(*ends, _with_fractions(attributes))])
    return HLTM(graph)


def _check_keys(form: Mapping[str, Any]) -> None:
    for key in form:
        if key not in _KEYS:
            hint = "; the list of edges has the key 'edges'" if key == "links" else suggestion(key, _KEYS)
            raise InputError(f"key {show(key)} of the tree: must be one of {', '.join(_KEYS)}{hint}")
    for key in ("nodes", "edges"):
        if key not in form:
            raise InputError(f"tree without the key '{key}': node-link form needs the lists 'nodes' and 'edges'")
    for key, wanted in (("directed", True), ("multigraph", False)):
        if form.get(key, wanted) is not wanted:
            raise InputError(f"{key}={show(form[key])} of the tree: must be {str(wanted).lower()}")


def _name(attributes: dict[str, Any], key: str, place: str) -> Node:
    if key not in attributes:
        raise InputError(f"{place} without the key '{key}': must name a node")
    name = attributes.pop(key)
    try:
        return node_name(tuple(name) if isinstance(name, list) else name)
    except InputError as error:
        raise InputError(f"{place}, key '{key}': {error}") from None


def _checked(value: object, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        wanted = "a list" if kind is list else "a JSON object"
        raise InputError(f"{name}={show(value)}: must be {wanted}, got {type(value).__name__}")
    return value


def _plain(value: object) -> object:
    """Return tuples as lists and fractions as strings; other values as they are."""
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Fraction) else value


def _plain_values(attributes: Mapping[str, object]) -> dict[str, object]:
    return {name: _plain(value) for name, value in attributes.items()}


def _with_fractions(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if name == "states" else _read_fractions(value, depth=2) for name, value in attributes.items()}


def _read_fractions(value: object, depth: int) -> object:
    """Turn strings such as ``1/3`` into fractions, also in lists and tables; leave the rest to `HLTM`."""
    if depth and isinstance(value, (list, tuple)):
        return [_read_fractions(part, depth - 1) for part in value]
    number = read_number(value) if isinstance(value, str) else None
    return number if isinstance(number, Fraction) else value
