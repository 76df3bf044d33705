"""The states of a node by name, and the order of their numbers.

A leaf's activation is its state number, so the order of the names is part of the model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx

from hltm.base.checks import Node, show, suggestion
from hltm.base.errors import InputError
from hltm.tables import Row
from hltm.tree import HLTM


def find_state(tree: HLTM, node: Node, text: str | int) -> int:
    """Return the number of the state that a text names: a state's name, else its number.

    Parameters
    ----------
    tree : HLTM
    node : str, int or tuple
    text : str or int
        A name of ``tree.states(node)``; if it is none of them, and none of them is a number, a state number in
        decimal digits. An `int` is a state number.

    Returns
    -------
    int
        In ``range(tree.cardinality(node))``.

    Raises
    ------
    InputError
        An unknown node, or no such state; the line suggests the nearest name.

    Examples
    --------
    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("cloudy", prior=[0.5, 0.5])
    >>> graph.add_node("rain", states=["no", "yes"])
    >>> graph.add_edge("cloudy", "rain", polarity=0.5)
    >>> tree = HLTM(graph)
    >>> find_state(tree, "rain", "yes"), find_state(tree, "rain", "0"), find_state(tree, "cloudy", "1")
    (1, 0, 1)
    """
    names = tree.states(node)
    if isinstance(text, str):
        if text in names:
            return names.index(text)
        digits = text.isascii() and text.isdigit() and len(text) <= 9
        number = int(text) if digits and not has_numbers_as_names(names) else -1
    else:
        number = text if isinstance(text, int) and not isinstance(text, bool) else -1
    if 0 <= number < len(names):
        return number
    raise InputError(f"state {show(text)} of node {show(node)}: must be {_choices(names)}{suggestion(text, names)}")


def has_numbers_as_names(names: Sequence[str]) -> bool:
    """Whether a state is called by a number, which need not be its own: then texts are names alone."""
    return any(name.strip().isdecimal() for name in names)


def with_state_one(tree: HLTM, choice: Mapping[Node, str] | str) -> HLTM:
    """Return the tree with the states of binary nodes in such an order that the named states have number 1.

    Parameters
    ----------
    tree : HLTM
    choice : str or mapping of node to str
        A name: every binary node that has a state of this name gets it as state 1, other nodes stay as they
        are. A mapping: the same for its nodes alone.

    Returns
    -------
    HLTM
        The same law of the named states. A polarity changes its sign with each end that is reordered.

    Raises
    ------
    InputError
        An unknown node, a node that is not binary or has no state names, or no such state.

    Examples
    --------
    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("cloudy", prior=[0.5, 0.5])
    >>> graph.add_node("rain", states=["yes", "no"])
    >>> graph.add_edge("cloudy", "rain", polarity=0.5)
    >>> tree = with_state_one(HLTM(graph), "yes")
    >>> tree.states("rain"), tree.polarity("cloudy", "rain")
    (('no', 'yes'), -0.5)
    """
    if isinstance(choice, str):
        named = {node: tree.states(node) for node in tree if tree.cardinality(node) == 2}
        wanted = {node: choice for node, names in named.items() if choice in names}
        if not wanted:
            known = dict.fromkeys(name for names in named.values() for name in names)
            raise InputError(
                f"state {show(choice)}: no binary node has a state of this name{suggestion(choice, known)}"
            )
    else:
        wanted = dict(choice)
    return reordered(tree, {node: (1, 0) for node, name in wanted.items() if _is_first(tree, node, name)})


def _is_first(tree: HLTM, node: Node, name: str) -> bool:
    """Whether a state of a binary node is its state 0, and has to be swapped to become state 1."""
    names = tree.states(node)
    if len(names) != 2:
        raise InputError(f"state 1 of node {show(node)}: the node must be binary, has {len(names)} states")
    if name not in names:
        near = suggestion(name, names)
        raise InputError(f"state {show(name)} of node {show(node)}: must be {_choices(names)}{near}")
    if names == ("0", "1") and name == "0":
        raise InputError(f"state '0' of node {show(node)}: must be a state name; the node has none, only numbers")
    return names[0] == name


def reordered(tree: HLTM, orders: Mapping[Node, Sequence[int]]) -> HLTM:
    """Return the tree with the states of some nodes in another order: new state i is the old state ``order[i]``."""
    if not orders:
        return tree
    graph: Any = nx.DiGraph(tree.graph)
    for node, order in orders.items():
        graph.nodes[node]["states"] = tuple(tree.states(node)[i] for i in order)
    if tree.root in orders:
        prior = tree.exact_prior()
        graph.nodes[tree.root]["prior"] = tuple(prior[i] for i in orders[tree.root])
    for edge in tree.edges:
        swapped = [end in orders for end in edge]
        if not any(swapped):
            continue
        values = graph.edges[edge]
        if "polarity" in values:
            values["polarity"] *= (-1) ** sum(tuple(orders[end]) != (0, 1) for end in edge if end in orders)
        else:
            values["transition"] = _permuted(values["transition"], *(orders.get(end) for end in edge))
    return HLTM(graph)


def _permuted(rows: Sequence[Row], above: Sequence[int] | None, below: Sequence[int] | None) -> tuple[Row, ...]:
    chosen = rows if above is None else [rows[i] for i in above]
    return tuple(row if below is None else tuple(row[i] for i in below) for row in chosen)


def _choices(names: Sequence[str]) -> str:
    shown = ", ".join(map(show, names[:8])) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
    numbered = len(names) > 8 or has_numbers_as_names(names)
    return f"one of {shown}" + ("" if numbered else f", or a number below {len(names)}")
