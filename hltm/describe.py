"""A tree as tables on the terminal: one line a node, or one line a level of a larger tree, or one node in full."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hltm.base.checks import Node, Number
from hltm.tree import HLTM

if TYPE_CHECKING:
    from rich.table import Table

LEVEL = "level (root 0)"  # training counts from the leaves
NODES_LISTED = 127  # of a tree with more nodes the levels are listed
_ENTRIES_SHOWN = 16


def overview(tree: HLTM) -> list["Table | str"]:
    """Return what describes a tree: a headline, the prior, a table of nodes or of levels."""
    kind = "symmetric binary" if tree.is_symmetric else "binary" if tree.is_binary else "categorical"
    lines: list[Table | str] = [printable(text) for text in tree.graph.graph.values()]
    lines.append(f"{kind} tree: {len(tree):,} nodes, {len(tree.leaves):,} leaves, depth {tree.depth:,}")
    root = f"root {label(tree.root)}: prior {numbers(tree.exact_prior())}"
    lines.append(root + (f", polarity {tree.root_polarity:.6g}" if tree.cardinality(tree.root) == 2 else ""))
    lines.append(_node_table(tree) if len(tree) <= NODES_LISTED else _level_table(tree))
    return lines


def node_overview(tree: HLTM, node: Node) -> list["Table | str"]:
    """Return what describes one node: its place, its table, its relation to the root."""
    above = tree.parent(node)
    children = tree.children(node)
    shown = ", ".join(map(label, children[:_ENTRIES_SHOWN])) + (", ..." if len(children) > _ENTRIES_SHOWN else "")
    lines: list[Table | str] = [
        f"node {label(node)}: {tree.cardinality(node)} states, "
        f"level {len(tree.path(tree.root, node)) - 1} (the root is level 0)",
        f"parent: {'none, it is the root' if above is None else label(above)}",
        f"children: {shown or 'none, it is a leaf'}",
    ]
    if above is None:
        return [*lines, f"prior: {numbers(tree.exact_prior())}"]
    for state, row in enumerate(tree.exact_table(node)[:_ENTRIES_SHOWN]):
        lines.append(f"given state {state} of {label(above)}: {numbers(row)}")
    if all(tree.cardinality(step) == 2 for step in tree.path(tree.root, node)):
        lines.append(f"polarity: {tree.polarity(above, node):.6g}, from the root {tree.polarity(tree.root, node):.6g}")
    return lines


def label(node: Node) -> str:
    """Write a node's name so that no terminal and no reader mistakes it: plain names as they are."""
    return printable(node) if isinstance(node, str) and node.isprintable() and node else printable(repr(node))


def numbers(row: Sequence[Number]) -> str:
    """Write a row of numbers, rational ones as they are."""
    shown = ", ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row[:_ENTRIES_SHOWN])
    return shown + (f", ... ({len(row)} in all)" if len(row) > _ENTRIES_SHOWN else "")


def printable(text: str) -> str:
    """Replace what the terminal cannot show or would obey."""
    encoding = sys.stdout.encoding or "utf-8"
    kept = "".join(letter if letter.isprintable() else " " for letter in text)
    return kept.encode(encoding, "backslashreplace").decode(encoding)


def _table(titles: Sequence[str], left: int) -> "Table":
    from rich.table import Table

    table = Table()
    for i, title in enumerate(titles):
        table.add_column(title, justify="left" if i < left else "right", overflow="fold")
    return table


def _node_table(tree: HLTM) -> "Table":
    from rich.text import Text

    table = _table(("node", "parent", LEVEL, "states", "children", "polarity", "from root"), 2)
    for level, nodes in enumerate(tree.levels):
        for node in nodes:
            above = tree.parent(node)
            path = tree.path(tree.root, node)
            own = "" if above is None else rho(tree, above, node)
            whole = "" if any(tree.cardinality(step) != 2 for step in path) else f"{tree.polarity(tree.root, node):.6g}"
            cells = [str(level), str(tree.cardinality(node)), str(len(tree.children(node)) or "leaf"), own, whole]
            table.add_row(Text(label(node)), Text("" if above is None else label(above)), *cells)
    return table


def _level_table(tree: HLTM) -> "Table":
    table = _table((LEVEL, "nodes", "leaves", "states", "children", "polarity"), 0)
    shown = list(enumerate(tree.levels))
    if len(shown) > NODES_LISTED:  # the first and the last levels of a long path
        shown = [*shown[: NODES_LISTED // 2], *shown[-(NODES_LISTED // 2) :]]
    before = -1
    for level, nodes in shown:
        if level != before + 1:
            table.add_row(*["..."] * 6)
        before = level
        leaves = sum(not tree.children(node) for node in nodes)
        states = _range([tree.cardinality(node) for node in nodes])
        children = _range([len(tree.children(node)) for node in nodes if tree.children(node)])
        table.add_row(str(level), f"{len(nodes):,}", f"{leaves:,}", states, children, _polarities(tree, nodes))
    return table


def _polarities(tree: HLTM, nodes: Sequence[Node]) -> str:
    edges = [(above, node) for node in nodes for above in (tree.parent(node),) if above is not None]
    return _range([tree.polarity(*edge) for edge in edges if all(tree.cardinality(end) == 2 for end in edge)])


def _range(values: Sequence[float]) -> str:
    """Write the smallest and the largest value, once if they are equal."""
    if not values:
        return ""
    low, high = f"{min(values):.6g}", f"{max(values):.6g}"
    return low if low == high else f"{low} ... {high}"


def rho(tree: HLTM, above: Node, node: Node) -> str:
    """Write the polarity of an edge as it was given; for tables that are not binary, their shape."""
    states = tree.cardinality(above), tree.cardinality(node)
    if states != (2, 2):
        return f"{states[0]} x {states[1]} table"
    given = tree.graph.edges[above, node].get("polarity")
    return str(given) if given is not None and not isinstance(given, float) else f"{tree.polarity(above, node):.6g}"
