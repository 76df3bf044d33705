"""The same law with another node as the root, by Bayes' rule along one path."""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import networkx as nx

from hltm.base.checks import Node, Number
from hltm.tables import Row
from hltm.tree import HLTM


def with_root(tree: HLTM, node: Node) -> HLTM:
    """Return the tree with another root and the same joint law of all nodes.

    The edges on the path from the old root to the new one are turned by Bayes' rule; all other tables stay as they are.
    Rational numbers stay exact. Given a state of probability zero, the law of the node above is not determined and
    becomes its unconditional law. A polarity stays one where both ends are uniform.

    Parameters
    ----------
    tree : HLTM
    node : str, int or tuple
        The new root. The old one becomes its descendant, and a leaf if it has one child.

    Returns
    -------
    HLTM
        On the turned edges the former parent is the last child.

    Raises
    ------
    InputError
        An unknown node.

    Examples
    --------
    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", prior=[0.5, 0.5])
    >>> graph.add_edge("a", "b", transition=[[1, 0], [0.5, 0.5]])
    >>> tree = with_root(HLTM(graph), "b")
    >>> tree.exact_prior(), [tuple(map(float, row)) for row in tree.exact_table("a")]
    ((0.75, 0.25), [(0.6666666666666666, 0.3333333333333333), (0.0, 1.0)])
    """
    path = tree.path(tree.root, node)
    if len(path) == 1:
        return tree
    law: Sequence[Number] = tree.exact_prior()
    turned: dict[Node, dict[str, Any]] = {}
    for above, below in itertools.pairwise(path):
        values = tree.graph.edges[above, below]
        if "polarity" in values and list(law) == [0.5, 0.5]:
            turned[above] = dict(values)  # the law of the node below is uniform too
            continue
        columns = list(zip(*tree.exact_table(below), strict=True))
        joint = [[_times(weight, value) for weight, value in zip(law, column, strict=True)] for column in columns]
        turned[above] = {"transition": [_normalised(row, law) for row in joint]}
        law = _normalised([_sum(row) for row in joint], law)
    on_path = set(path)
    graph: Any = nx.DiGraph(**tree.graph.graph)
    for v in tree:
        graph.add_node(v, **{name: value for name, value in tree.graph.nodes[v].items() if name != "prior"})
    graph.nodes[node]["prior"] = law
    graph.add_edges_from((u, v, tree.graph.edges[u, v]) for u, v in tree.edges if v not in on_path)
    graph.add_edges_from((below, above, turned[above]) for above, below in itertools.pairwise(path))
    return HLTM(graph)


def _times(left: Number, right: Number) -> Number:
    """Return a product; zero times anything is exact."""
    return left * right if left and right else 0


def _sum(row: Sequence[Number]) -> Number:
    return math.fsum(row) if any(isinstance(value, float) for value in row) else sum(row)


def _normalised(row: Sequence[Number], instead: Sequence[Number]) -> Row:
    total = _sum(row)
    if not total:
        return tuple(instead)
    if isinstance(total, float):
        return tuple(float(value) / total for value in row)
    return tuple(Fraction(value) / total for value in row)
