"""A dictionary and a graph that refuse to be changed.

`networkx.freeze` stops nodes and edges from being added or removed, but leaves the attributes open; a tree
whose graph shows one polarity while its table holds another would be worse than no freezing at all.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

import networkx as nx

from hltm.base.checks import Node
from hltm.structure import Structure


class FrozenDict(dict[str, Any]):
    """A `dict` that cannot be changed; ``copy()`` and ``dict(...)`` give ordinary dictionaries."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        """Raise a TypeError that says how to get a copy that can be changed."""
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
    """Build a graph that cannot be changed, nodes and edges level by level.

    Parameters
    ----------
    shape : Structure
        The tree's shape.
    nodes : mapping of Node to attributes
        May lack nodes without attributes.
    edges : mapping of Node to attributes
        The attributes of the edge that ends in the node.
    texts : mapping
        Attributes of the whole graph.
    """
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
