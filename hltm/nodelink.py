"""Trees as JSON documents in networkx's node-link form, with ``"edges"`` as the key of the edge list.

The smallest document::

    {"nodes": [{"id": "r", "prior": [0.5, 0.5]}, {"id": "x"}],
     "edges": [{"source": "r", "target": "x", "polarity": 0.8}]}

A rational number that is not an integer is the string ``"1/3"``; a node whose name is a tuple is a list. Read are also
``"links"`` as the key of the edge list, which networkx wrote up to 3.5, undirected trees, and documents with attributes
of other programs. Reading checks the form here and the model in `HLTM`; all formats end in `tree_from_form`.
"""

import itertools
import warnings
from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from typing import Any

import networkx as nx

from hltm.base.checks import Node, node_name, show, suggestion
from hltm.base.errors import InputError, TreeWarning
from hltm.reading import Reading
from hltm.rooting import with_root
from hltm.structure import ForestError
from hltm.tables import EDGE_ATTRIBUTES, GRAPH_ATTRIBUTES, NODE_ATTRIBUTES, read_number
from hltm.tree import HLTM, named

_OF_NODES, _OF_EDGES = set(NODE_ATTRIBUTES), set(EDGE_ATTRIBUTES)
_KEYS = ("directed", "multigraph", "graph", "nodes", "edges", "links")


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


def tree_from_json(data: object, *, foreign: bool = True) -> HLTM:
    """Build a tree from data in node-link form, as `tree_to_json` or networkx writes it.

    Parameters
    ----------
    data : dict
        As read by `json.loads`. ``nodes`` and ``edges`` (or ``links``) are needed; ``multigraph`` must be false
        if given. An undirected tree (``"directed": false``) is rooted at the node with the prior. Attributes
        of other programs are ignored with a `TreeWarning`.
    foreign : bool
        Whether attributes of other programs may stand in the data at all.

    Returns
    -------
    HLTM

    Raises
    ------
    InputError
        Another form, a misspelled attribute, a node listed twice, an edge listed twice or to a node that is not
        listed, or no valid tree.

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> tree = star_tree(3, polarity=0.5)
    >>> tree_from_json(tree_to_json(tree)) == tree
    True
    """
    reading = Reading(closed=not foreign)
    tree = tree_from_form(data, reading)
    for line in reading.lines():
        warnings.warn(line, TreeWarning, stacklevel=2)
    return tree


def tree_from_form(data: object, reading: Reading) -> HLTM:
    """Build a tree from data in node-link form and note what is ignored or rounded; every format ends here."""
    form = reading.own(_checked(data, Mapping, "tree"), _KEYS, "file", "the tree")
    _check_keys(form)
    graph, order = _graph(form, reading)
    undirected = form.get("directed", True) is False
    root = _chosen(graph, reading.root) if undirected or reading.root is not None else None
    if root is not None:
        graph = _restricted(graph, _component(graph, root))
    if undirected:
        graph = _directed(graph, order, reading)
    try:
        tree = HLTM(graph)
    except ForestError as error:
        raise InputError(f"{error}; root='NAME' (--root NAME) reads one of the trees") from None
    return tree if reading.root is None else with_root(tree, root)  # type: ignore[arg-type]


def _graph(form: Mapping[str, Any], reading: Reading) -> tuple[nx.DiGraph, list[tuple[Node, Node]]]:
    """Return the graph of a form with the attributes of a tree alone, and its edges in their order."""
    graph: nx.DiGraph = nx.DiGraph()
    order: list[tuple[Node, Node]] = []
    texts = _checked(form.get("graph", {}), Mapping, "'graph' of the tree")
    graph.graph.update(reading.own(texts, GRAPH_ATTRIBUTES, "graph", "the graph"))
    for i, entry in enumerate(_checked(form["nodes"], list, "nodes")):
        attributes = dict(_checked(entry, Mapping, f"nodes[{i}]"))
        node = _name(attributes, "id", f"nodes[{i}]")
        if node in graph:
            raise InputError(f"nodes[{i}]: the node {show(node)} must not be listed twice")
        graph.add_node(node)
        if attributes:
            graph.nodes[node].update(_node_values(node, attributes, reading))
    name = "edges" if "edges" in form else "links"
    for i, entry in enumerate(_checked(form[name], list, name)):
        attributes = dict(_checked(entry, Mapping, f"{name}[{i}]"))
        ends = _name(attributes, "source", f"{name}[{i}]"), _name(attributes, "target", f"{name}[{i}]")
        for node in ends:
            if node not in graph:
                near = suggestion(node, graph)
                raise InputError(f"{name}[{i}]: the node {show(node)} must be listed in 'nodes'{near}")
        if graph.has_edge(*ends):
            raise InputError(f"{name}[{i}]: the edge {show(ends)} must not be listed twice")
        graph.add_edge(*ends)
        graph.edges[ends].update(_edge_values(ends, attributes, reading))
        order.append(ends)
    return graph, order


def _node_values(node: Node, attributes: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    if not attributes.keys() <= _OF_NODES:
        attributes = reading.own(attributes, NODE_ATTRIBUTES, "nodes", f"node {show(node)}")
    values = _with_fractions(attributes)
    if reading.printed and "prior" in values:
        whole = f"prior={show(values['prior'])} of root {show(node)}"
        values["prior"] = reading.divided(values["prior"], whole, partial(reading.line_of, node))
    return values


def _edge_values(edge: tuple[Node, Node], attributes: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    if not attributes.keys() <= _OF_EDGES:
        attributes = reading.own(attributes, EDGE_ATTRIBUTES, "edges", f"edge {show(edge)}")
    values = _with_fractions(attributes)
    if reading.printed and isinstance(rows := values.get("transition"), list):
        place = f"transition on edge {show(edge)}"
        values["transition"] = [
            reading.divided(row, f"row {i} of {place}", partial(reading.line_of, edge[1])) for i, row in enumerate(rows)
        ]
    return values


def _check_keys(form: Mapping[str, Any]) -> None:
    if "edges" in form and "links" in form:
        raise InputError("tree with the keys 'edges' and 'links': must have one list of edges")
    for key in ("nodes", "edges"):
        if key not in form and (key == "nodes" or "links" not in form):
            raise InputError(f"tree without the key '{key}': node-link form needs the lists 'nodes' and 'edges'")
    if form.get("multigraph", False) is not False:
        raise InputError(f"multigraph={show(form['multigraph'])} of the tree: must be false")
    if form.get("directed", True) not in (True, False):
        raise InputError(f"directed={show(form['directed'])} of the tree: must be true or false")


def _chosen(graph: nx.DiGraph, root: object) -> Node:
    """Return the node of a graph that is chosen as root, by name or as JSON; by default the one with a prior."""
    if root is not None:
        return named(root, graph)
    nodes = [node for node, values in graph.nodes(data=True) if "prior" in values]
    if len(nodes) != 1:
        having = f"{len(nodes)} nodes have" if nodes else "no node has"
        raise InputError(f"the tree is undirected and {having} a prior: one node needs it, the root")
    return nodes[0]  # type: ignore[no-any-return]


def _component(graph: nx.DiGraph, node: Node) -> set[Node]:
    """Return the nodes that edges connect with a node, whatever their direction."""
    seen = {node}
    waiting = [node]
    for here in waiting:
        for near in itertools.chain(graph.successors(here), graph.predecessors(here)):
            if near not in seen:
                seen.add(near)
                waiting.append(near)
    return seen


def _restricted(graph: nx.DiGraph, nodes: set[Node]) -> nx.DiGraph:
    """Return a part of a graph in the order of the graph; a view of networkx may have another order."""
    part: nx.DiGraph = nx.DiGraph(**graph.graph)
    part.add_nodes_from((node, values) for node, values in graph.nodes(data=True) if node in nodes)
    part.add_edges_from(edge for edge in graph.edges(data=True) if edge[0] in nodes)
    return part


def _directed(part: nx.DiGraph, order: list[tuple[Node, Node]], reading: Reading) -> nx.DiGraph:
    """Direct the edges of an undirected tree away from the node with the prior."""
    if part.size() != len(part) - 1:
        raise InputError(f"undirected graph of {len(part):,} nodes and {part.size():,} edges: a tree has no cycle")
    directed: nx.DiGraph = nx.DiGraph(**part.graph)
    directed.add_nodes_from(part.nodes(data=True))
    near: dict[Node, list[tuple[Node, dict[str, Any]]]] = {node: [] for node in part}
    for above, below in order:
        if above in part:
            near[above].append((below, part.edges[above, below]))
            near[below].append((above, part.edges[above, below]))
    waiting = [_chosen(part, None)]
    seen = set(waiting)
    for above in waiting:
        for below, values in near[above]:
            if below in seen:
                continue
            rows = values.get("transition")
            if not part.has_edge(above, below) and isinstance(rows, list) and rows and len(rows) == _width(rows[0]):
                raise InputError(
                    f"edge {show((below, above))} of an undirected tree: {show(above)} is nearer to the root, so list "
                    f"the edge as {show((above, below))}, with a row of 'transition' for each state of {show(above)}"
                )
            directed.add_edge(above, below)
            directed.edges[above, below].update(values)
            seen.add(below)
            waiting.append(below)
    if reading.root is None:
        reading.notes.append(f"the tree is undirected; its root is {show(waiting[0])}, the node with the prior")
    return directed


def _width(row: object) -> int:
    return len(row) if isinstance(row, list) else -1


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
