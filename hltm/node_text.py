"""Naming a node of a tree by text, as on the command line."""

import json

from hltm.base.checks import Node, show, suggestion
from hltm.base.errors import InputError
from hltm.tree import HLTM


def find_node(tree: HLTM, text: str) -> Node:
    """Return the node that a text names: its name, or JSON for a name that is no text (``7``, ``[0, "a"]``).

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
    if text in tree:
        return text
    try:
        name = json.loads(text)
    except (ValueError, RecursionError):
        name = None
    if isinstance(name, list) and all(isinstance(part, (str, int)) for part in name):
        name = tuple(name)
    if isinstance(name, (str, int, tuple)) and not isinstance(name, bool) and name in tree:
        return name
    raise InputError(f"node {show(text)}: not a node of the tree{suggestion(text, tree.nodes)}")
