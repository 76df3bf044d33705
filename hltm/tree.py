"""The hierarchical latent tree model of statement 6, a frozen wrapper of a `networkx.DiGraph`.

A tree has a root z_0, latent nodes and observed leaves. Each node has finitely many states 0, 1, ...; each edge holds
the law of the child given the parent. All orders follow from the order of the edges in the user's graph.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np

from hltm.base.checks import Node, show, suggestion
from hltm.base.errors import InputError
from hltm.structure import Structure, frozen_graph, structure_of
from hltm.tables import EdgeTable, Names, Row, cardinalities_of, edge_table, graph_texts, numbered, prior_of


@dataclass(frozen=True, eq=False, repr=False)
class HLTM:
    """A hierarchical latent tree model.

    Parameters
    ----------
    graph : networkx.DiGraph
        A rooted tree with at least one edge, edges from parent to child. Node names are `str`, `int` or
        tuples of these. The root carries ``prior`` (list of probabilities); a node may carry ``cardinality``
        (default 2) and ``states``, distinct names in the order of the state numbers; an edge carries
        ``transition`` (rows: parent state, each sums to one) or ``polarity`` (rho of a symmetric binary
        table). The graph may carry ``name`` and ``description``. It is copied: changing it later changes
        nothing here.

    Attributes
    ----------
    graph : networkx.DiGraph
        A copy that cannot be changed, nodes level by level; ``networkx.DiGraph(tree.graph)`` can be changed.
        Tables and prior are tuples; numbers are `int`, `float` or `fractions.Fraction`, as in the input.

    Raises
    ------
    InputError
        Any other graph: one line that names value, place and rule.

    Notes
    -----
    A row of floats must sum to one within 1e-12, a row of rational numbers exactly. Rows are not normalised.
    Two trees are equal if shape, order of children, cardinalities, state names, prior and edge attributes are equal (a
    ``polarity`` differs from the ``transition`` that spells it out); name and description do not count. State
    names ``"0"``, ``"1"``, ... are those of a node without names.

    Source
    ------
    Statement 6 (arXiv 2010.00578, section on the hierarchical latent tree model).

    Examples
    --------
    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("r", prior=[0.25, 0.75])
    >>> graph.add_edge("r", "a", polarity=0.5)
    >>> graph.add_edge("a", "x", transition=[[0.75, 0.25], [0.5, 0.5]])
    >>> tree = HLTM(graph)
    >>> tree
    HLTM(root='r', nodes=3, leaves=1, depth=2, binary)
    >>> tree.polarity("r", "x"), tree.root_polarity
    (0.125, 0.5)
    >>> tree.transition("a", "x").tolist()
    [[0.75, 0.25], [0.5, 0.5]]
    """

    graph: nx.DiGraph
    _shape: Structure = field(init=False)
    _states: dict[Node, int] = field(init=False)
    _names: dict[Node, Names] = field(init=False)
    _prior: Row = field(init=False)
    _tables: dict[Node, EdgeTable] = field(init=False)

    def __post_init__(self) -> None:
        graph = self.graph
        shape = structure_of(graph)
        texts = graph_texts(graph.graph)
        states, names = cardinalities_of(shape, graph.nodes)
        prior = prior_of(shape.root, graph.nodes[shape.root], states[shape.root])
        edges = [(shape.parent[node], node) for node in shape.order[1:]]
        tables = {edge[1]: edge_table(edge, graph.edges[edge], (states[edge[0]], states[edge[1]])) for edge in edges}
        nodes: dict[Node, dict[str, Any]] = {v: {"cardinality": m} for v, m in states.items() if m != 2}
        nodes[shape.root] = {"prior": prior} | nodes.get(shape.root, {})
        for node, given in names.items():
            nodes[node] = nodes.get(node, {}) | {"states": given}
        attributes = {node: table.attribute() for node, table in tables.items()}
        derived = {
            "graph": frozen_graph(shape, nodes, attributes, texts),
            "_shape": shape,
            "_states": states,
            "_names": names,
            "_prior": prior,
            "_tables": tables,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def root(self) -> Node:
        """The node z_0 without a parent."""
        return self._shape.root

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, level by level from the root, children in the order of their edges."""
        return self._shape.order

    @property
    def edges(self) -> tuple[tuple[Node, Node], ...]:
        """All edges (parent, child), in the order of `nodes` by their child."""
        return tuple((self._shape.parent[node], node) for node in self._shape.order[1:])

    @property
    def levels(self) -> tuple[tuple[Node, ...], ...]:
        """The nodes by distance from the root: ``levels[0]`` is ``(root,)``."""
        return self._shape.levels

    @property
    def depth(self) -> int:
        """The number of edges from the root to the farthest leaf, at least 1."""
        return len(self._shape.levels) - 1

    @property
    def leaves(self) -> tuple[Node, ...]:
        """The nodes without children, depth first from left to right: leaves below a node are neighbours."""
        return self._shape.leaves

    @property
    def latents(self) -> tuple[Node, ...]:
        """The nodes with children, the root first, in the order of `nodes`."""
        return tuple(node for node in self._shape.order if self._shape.children[node])

    @property
    def prior(self) -> np.ndarray:
        """The law of the root, float64, shape (states of the root,); a fresh copy."""
        return np.array(self._prior, dtype=np.float64)

    @property
    def root_polarity(self) -> float:
        """rho_0 = P(z_0=1) - P(z_0=0) of a binary root (statement 6)."""
        if len(self._prior) != 2:
            raise InputError(f"root_polarity of root {show(self.root)}: must be binary, has {len(self._prior)} states")
        return float(self._prior[1] - self._prior[0])

    @cached_property
    def is_binary(self) -> bool:
        """Whether every node has two states."""
        return all(states == 2 for states in self._states.values())

    @cached_property
    def is_symmetric(self) -> bool:
        """Whether the tree is binary and swapping both states changes no table; the prior is free."""
        return self.is_binary and all(table.is_symmetric() for table in self._tables.values())

    def children(self, node: Node) -> tuple[Node, ...]:
        """Return the children of a node in the order in which their edges were added; none for a leaf."""
        try:
            if not isinstance(node, bool):  # True == 1 would find the node 1
                return self._shape.children[node]
        except (KeyError, TypeError):
            pass
        raise self._shape.unknown(node)

    def parent(self, node: Node) -> Node | None:
        """Return the parent of a node, `None` for the root."""
        try:
            if not isinstance(node, bool):
                return self._shape.parent[node]
        except (KeyError, TypeError):
            pass
        self._shape.known(node)
        return None

    def cardinality(self, node: Node) -> int:
        """Return the number of states of a node, at least 2."""
        try:
            if not isinstance(node, bool):
                return self._states[node]
        except (KeyError, TypeError):
            pass
        raise self._shape.unknown(node)

    def states(self, node: Node) -> tuple[str, ...]:
        """Return the names of the states of a node, in the order of their numbers; ``"0"``, ``"1"``, ... by default."""
        count = self.cardinality(node)
        return self._names[node] if node in self._names else numbered(count)

    @property
    def has_state_names(self) -> bool:
        """Whether some node has state names other than ``"0"``, ``"1"``, ..."""
        return bool(self._names)

    def path(self, ancestor: Node, node: Node) -> tuple[Node, ...]:
        """Return the nodes from an ancestor down to a node, both included.

        Raises
        ------
        InputError
            An unknown node, or `ancestor` is not above `node` (a node counts as its own ancestor).

        Examples
        --------
        >>> from hltm.build import complete_tree
        >>> complete_tree(depth=2, branching=2, polarity=0.8).path(0, 4)
        (0, 1, 4)
        """
        return self._shape.path(ancestor, node)

    def polarity(self, ancestor: Node, node: Node) -> float:
        """Return rho between an ancestor and a node: the product of the polarities along the path.

        It equals P(node=1 | ancestor=1) - P(node=1 | ancestor=0); 1.0 from a node to itself.

        Raises
        ------
        InputError
            A node on the path is not binary, an unknown node, or `ancestor` is not above `node`.

        Source
        ------
        Statement 6, rho_{mu nu}.
        """
        path = self.path(ancestor, node)
        for step in path:
            if self._states[step] != 2:
                raise InputError(
                    f"polarity from {show(ancestor)} to {show(node)}: node {show(step)} must be binary, "
                    f"has {self._states[step]} states; use transition"
                )
        rho = 1.0
        for step in path[1:]:
            rho *= self._tables[step].polarity()
        return rho

    def edge_polarities(self) -> dict[Node, float]:
        """Return rho of the edge that ends in each node but the root, in the order of `nodes`.

        Raises
        ------
        InputError
            A node is not binary.
        """
        if not self.is_binary:
            wide = next(node for node, states in self._states.items() if states != 2)
            self.polarity(wide, wide)  # raises, with the line for a node that is not binary
        return {node: table.polarity() for node, table in self._tables.items()}

    def transition(self, ancestor: Node, node: Node) -> np.ndarray:
        """Return the law of a node given each state of an ancestor: the product of the tables along the path.

        Returns
        -------
        numpy.ndarray
            float64, shape (states of the ancestor, states of the node), rows sum to one; the identity from a
            node to itself. A fresh copy.

        Raises
        ------
        InputError
            An unknown node, or `ancestor` is not above `node`.

        Source
        ------
        Statement 6, T_{mu nu} of the categorical form.
        """
        path = self.path(ancestor, node)
        if len(path) == 1:
            return np.eye(self._states[node])
        table = self._tables[path[1]].array()
        for step in path[2:]:
            table = table @ self._tables[step].array()
        return table

    def exact_prior(self) -> Row:
        """Return the prior without rounding: `int`, `float` or `Fraction` entries."""
        return self._prior

    def exact_table(self, node: Node) -> tuple[Row, ...]:
        """Return the table of the edge that ends in `node` without rounding; a polarity is expanded to its table."""
        if self._shape.known(node) == self.root:
            raise InputError(f"exact_table of {show(node)}: the root has no table; use exact_prior")
        return self._tables[node].exact_rows()

    @cached_property
    def _content(self) -> tuple[Any, ...]:
        shape = self._shape
        counts = tuple(len(shape.children[node]) for node in shape.order)
        tables = tuple((self._tables[node].rho, self._tables[node].rows) for node in shape.order[1:])
        states = tuple(self._states[node] for node in shape.order)
        names = tuple((node, self._names[node]) for node in shape.order if node in self._names)
        return (shape.order, counts, states, names, self._prior, tables)

    def __eq__(self, other: object) -> bool:
        return self._content == other._content if isinstance(other, HLTM) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._content)

    def __contains__(self, node: object) -> bool:
        return node in self._shape.children

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        kind = "symmetric binary" if self.is_symmetric else "binary" if self.is_binary else "categorical"
        sizes = f"nodes={len(self)}, leaves={len(self.leaves)}, depth={self.depth}"
        return f"HLTM(root={show(self.root)}, {sizes}, {kind})"

    def _repr_html_(self) -> str:
        """Return a drawing of the tree for notebooks, with at most 63 items."""
        from hltm.drawing import tree_html

        return tree_html(self)

    def __reduce__(self) -> tuple[type["HLTM"], tuple[nx.DiGraph]]:
        return HLTM, (nx.DiGraph(self.graph),)


def find_node(tree: HLTM, text: str) -> Node:
    """Return the node that a text names: its name, or JSON for a name that is not text (``7``, ``[0, "a"]``).

    Raises
    ------
    InputError
        No such node; the line suggests the nearest name.

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> find_node(star_tree(2, polarity=0.5), "1")
    1
    """
    return named(text, tree)


def named(text: object, nodes: Collection[Any]) -> Node:
    """Return the one of some nodes that a text or a node names."""
    with suppress(TypeError):  # unhashable
        if text in nodes and not isinstance(text, bool):
            return text  # type: ignore[return-value]
    try:
        name = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        name = None
    if isinstance(name, list) and all(isinstance(part, (str, int)) for part in name):
        name = tuple(name)
    if isinstance(name, (str, int, tuple)) and not isinstance(name, bool) and name in nodes:
        return name
    raise InputError(f"node {show(text)}: not a node of the tree{suggestion(text, nodes)}")
