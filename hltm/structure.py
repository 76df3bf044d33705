"""The shape of a tree: its root, parents, children and levels, and a graph that cannot be changed.

Every function is linear in the number of nodes and free of recursion, so a path of thousands of nodes works.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import networkx as nx

from hltm.base.checks import Node, node_name, show, suggestion
from hltm.base.errors import InputError

_NAMES_SHOWN = 8


class ForestError(InputError):
    """A graph of several trees, one of which can be chosen."""


@dataclass(frozen=True)
class Structure:
    """The validated shape of a rooted tree."""

    root: Node
    order: tuple[Node, ...]
    levels: tuple[tuple[Node, ...], ...]
    leaves: tuple[Node, ...]
    parent: dict[Node, Node]
    children: dict[Node, tuple[Node, ...]]

    def known(self, node: Node) -> Node:
        """Return `node`; InputError if the tree has no such node."""
        try:
            if node in self.children and not isinstance(node, bool):
                return node
        except TypeError:  # unhashable
            pass
        raise self.unknown(node)

    def unknown(self, node: object) -> InputError:
        """Return the error for a node that the tree does not have."""
        return InputError(f"node {show(node)}: not a node of the tree{suggestion(node, self.order)}")

    def path(self, ancestor: Node, node: Node) -> tuple[Node, ...]:
        """Return the nodes from an ancestor down to a node, both included; InputError if it is no ancestor."""
        self.known(ancestor)
        upwards = [self.known(node)]
        while upwards[-1] != ancestor:
            if upwards[-1] == self.root:
                raise InputError(f"path from {show(ancestor)} to {show(node)}: {show(ancestor)} must be an ancestor")
            upwards.append(self.parent[upwards[-1]])
        return tuple(reversed(upwards))


def structure_of(graph: object) -> Structure:
    """Check that a graph is a rooted tree with at least one edge and return its shape."""
    checked = _directed(graph)
    children = {node_name(v): tuple(node_name(c) for c in checked.successors(v)) for v in checked}
    if not nx.is_arborescence(checked):
        _refuse(checked)
    parent = {child: above for above, below in children.items() for child in below}
    root = next(node for node in children if node not in parent)
    levels: list[tuple[Node, ...]] = [(root,)]
    while below := tuple(child for node in levels[-1] for child in children[node]):
        levels.append(below)
    return Structure(
        root=root,
        order=tuple(node for level in levels for node in level),
        levels=tuple(levels),
        leaves=_leaves(root, children),
        parent=parent,
        children=children,
    )


def _directed(graph: object) -> nx.DiGraph:
    if not isinstance(graph, nx.Graph):
        raise InputError(f"graph of type {type(graph).__name__}: must be a networkx.DiGraph")
    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
        raise InputError(
            f"graph of type {type(graph).__name__}: must be a networkx.DiGraph, edges from parent to child"
        )
    if not graph:
        raise InputError("graph with 0 nodes: a tree has at least one edge")
    if not graph.size():
        raise InputError(f"graph with {len(graph)} nodes and 0 edges: a tree has at least one edge")
    return graph


def _refuse(graph: nx.DiGraph) -> NoReturn:
    """Raise an InputError that says why a graph is not a rooted tree: a cycle, two parents or two roots."""
    if cycle := _cycle(graph):
        raise InputError(f"cycle {_names(cycle, ' -> ')}: a tree has no cycle")
    for node in graph:
        if graph.in_degree(node) > 1:
            parents = _names(list(graph.predecessors(node)))
            raise InputError(f"node {_names([node])} has parents {parents}: a node of a tree has one parent")
    roots = [node for node in graph if not graph.in_degree(node)]
    raise ForestError(f"the nodes {_names(roots)} have no parent: a tree is connected and has one root")


def _cycle(graph: nx.DiGraph) -> list[Node]:
    """Return the nodes of a cycle, the first one repeated at the end; none if there is no cycle."""
    # Nodes without parents are peeled off; the rest lies on or below a cycle. On hostile files networkx is too slow.
    missing = dict(graph.in_degree())
    ready = [node for node, degree in missing.items() if not degree]
    for node in ready:
        del missing[node]
        for child in graph.successors(node):
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    if not missing:
        return []
    # Every remaining node has a remaining parent, so going up returns to a node seen before.
    seen: dict[Node, None] = {}
    node = next(iter(missing))
    while node not in seen:
        seen[node] = None
        node = next(above for above in graph.predecessors(node) if above in missing)
    walk = list(seen)
    return [node, *reversed(walk[walk.index(node) :])]


def _leaves(root: Node, children: dict[Node, tuple[Node, ...]]) -> tuple[Node, ...]:
    leaves, stack = [], [root]
    while stack:
        node = stack.pop()
        if children[node]:
            stack.extend(reversed(children[node]))
        else:
            leaves.append(node)
    return tuple(leaves)


def _names(nodes: list[Node], joint: str = ", ") -> str:
    plain = [node_name(node) for node in nodes]  # an int, where the user's graph has NumPy's
    if len(plain) <= _NAMES_SHOWN:
        return joint.join(map(show, plain))
    return joint.join([*map(show, plain[: _NAMES_SHOWN - 1]), "...", show(plain[-1])]) + f" ({len(plain)} in all)"


class FrozenDict(dict[str, Any]):
    """A `dict` that cannot be changed; ``copy()`` and ``dict(...)`` return ordinary dictionaries."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a tree cannot be changed; change a copy: networkx.DiGraph(tree.graph)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type["FrozenDict"], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


def frozen_graph(
    shape: Structure,
    nodes: Mapping[Node, Mapping[str, Any]],
    edges: Mapping[Node, Mapping[str, Any]],
    texts: Mapping[str, str],
) -> nx.DiGraph:
    """Return a graph that cannot be changed, with nodes and edges level by level."""
    graph: Any = nx.DiGraph()
    graph.add_nodes_from(shape.order)
    graph.add_edges_from((shape.parent[node], node) for node in shape.order[1:])
    # networkx has no public way to choose the attribute dictionaries of one graph, hence the private names.
    graph.graph = FrozenDict(texts)
    for node in shape.order:
        graph._node[node] = FrozenDict(nodes.get(node, {}))
    for node, above in shape.parent.items():
        graph._succ[above][node] = graph._pred[node][above] = FrozenDict(edges[node])
    frozen: nx.DiGraph = nx.freeze(graph)
    return frozen
