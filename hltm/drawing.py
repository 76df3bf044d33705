"""Drawings of trees for files and notebooks, and tables of them for terminals.

A drawing goes level by level, with polarities on the edges. Leaves stand side by side in the order of ``tree.leaves``,
a latent stands above the middle of its children. An edge is blue for a positive and red for a negative polarity, and
wider for a larger one. An edge whose table is not binary shows the shape of the table instead.

A tree of more than 63 nodes is summarised: nodes are opened level by level from the root as long as at most 63 items
are on the page, at most 7 children of a node are drawn, and a grey triangle stands for the rest, with the number of its
nodes and leaves and the range of their polarities. Terminals list nodes, levels of a larger tree, or one node in full.
"""

import io
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx

from hltm.base.atomic import path_with_suffix, write
from hltm.base.checks import Node, Number
from hltm.base.errors import InputError
from hltm.tables import Row, numbered
from hltm.tree import HLTM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table


ITEMS_DRAWN = 63  # nodes and triangles on one page
CHILDREN_DRAWN = 7  # of one node, when the tree is summarised
SUFFIXES = (".png", ".svg", ".pdf")

_NAME_LENGTH = 12
_INCHES_PER_LEVEL = 1.0
_INCHES_PER_LETTER = 0.085
_INCHES_PER_ITEM = 0.55
_LARGEST = 200.0  # inches: a longer side would not fit into a picture
_FONT = 8
_LABEL_SHARE = 0.6  # of an edge, from its parent, where its label stands: siblings' edges are far apart near the child


@dataclass(frozen=True)
class Item:
    """An item of a drawing: a node, or a triangle for the `hidden` nodes below `above`."""

    node: Node | None
    above: Node | None
    x: float
    level: int
    hidden: tuple[Node, ...] = ()


def draw(tree: HLTM, path: str | os.PathLike[str] | None = None) -> "Figure":
    """Draw a tree, and write the drawing to a file if one is given.

    Parameters
    ----------
    tree : HLTM
        Any size; above 63 nodes a summary is drawn.
    path : path, optional
        A file ``.png``, ``.svg`` or ``.pdf``; it appears complete or not at all.

    Returns
    -------
    matplotlib.figure.Figure
        Made without pyplot: no window, no global state. The root's prior stands above the root.

    Raises
    ------
    InputError
        No tree, another suffix, or a place that cannot be written.

    Examples
    --------
    >>> from hltm.build import complete_tree
    >>> figure = draw(complete_tree(depth=1, branching=2, polarity=0.5))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0', 'prior 0.5, 0.5', '1', '0.5', '2', '0.5']
    """
    if not isinstance(tree, HLTM):
        raise InputError(f"tree of type {type(tree).__name__}: must be an HLTM")
    target = None if path is None else check_drawing(path)
    figure = _figure(tree, layout(tree))
    if target is not None:
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            # A letter that the font lacks is drawn as a box.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(buffer, format=target.suffix.lower()[1:], dpi=150)
        write(target, buffer.getvalue())
    return figure


def check_drawing(path: str | os.PathLike[str]) -> Path:
    """Return the path of a drawing; refuse another suffix, before any work is done."""
    return path_with_suffix(path, SUFFIXES, " of a drawing")


def layout(tree: HLTM) -> list[Item]:
    """Place the items of a drawing: x in columns from the left, levels from the top."""
    opened = _opened(tree)
    page = nx.DiGraph((node, child) for node, (drawn, _) in opened.items() for child in drawn)
    levels = nx.single_source_shortest_path_length(page, tree.root)
    columns: dict[Node, float] = {}
    items: list[Item] = []
    free = 0.0
    for node in nx.dfs_postorder_nodes(page, tree.root):
        drawn, hidden = opened.get(node, ((), tree.children(node)))
        below = [columns[child] for child in drawn]
        if hidden:
            items.append(Item(None, node, free, levels[node] + 1, hidden))
        if hidden or not drawn:
            below.append(free)
            free += 1
        columns[node] = (below[0] + below[-1]) / 2
        items.append(Item(node, tree.parent(node), columns[node], levels[node]))
    return items


def _opened(tree: HLTM) -> dict[Node, tuple[tuple[Node, ...], tuple[Node, ...]]]:
    """Return for every opened node its children that are drawn and those that are not."""
    if len(tree) <= ITEMS_DRAWN:
        return {node: (tree.children(node), ()) for node in tree.latents}
    opened: dict[Node, tuple[tuple[Node, ...], tuple[Node, ...]]] = {}
    items = 2  # the root, and the triangle below it
    queue = [tree.root]
    for node in queue:
        children = tree.children(node)
        drawn = children if len(children) <= CHILDREN_DRAWN else children[: CHILDREN_DRAWN - 1]
        latents = [child for child in drawn if tree.children(child)]
        more = len(drawn) + len(latents) - (len(drawn) == len(children))  # its own triangle may go
        if items + more <= ITEMS_DRAWN:
            items += more
            opened[node] = drawn, children[len(drawn) :]
            queue.extend(latents)
    return opened


def _figure(tree: HLTM, items: list[Item]) -> "Figure":
    from matplotlib.figure import Figure

    names = {item.node: short_name(item.node) for item in items if item.node is not None}
    # The labels of two edges stand closer than their ends, see _draw_edge.
    edges = [
        len(edge_text(tree, item.above, item.node)[0])
        for item in items
        if item.node is not None and item.above is not None
    ]
    letters = max(2 + max(map(len, names.values())), max(edges) / _LABEL_SHARE)
    cell = max(_INCHES_PER_ITEM, _INCHES_PER_LETTER * letters)
    if any(item.hidden for item in items):
        cell = max(cell, 1.1)  # the text in a triangle
    columns = 1 + max(item.x for item in items)
    levels = 1 + max(item.level for item in items)
    width, height = min(_LARGEST, max(2.5, cell * columns)), min(_LARGEST, _INCHES_PER_LEVEL * (levels + 0.2))
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    middle, half = (columns - 1) / 2, max(columns, 2.5 / cell) / 2
    axes.set_xlim(middle - half, middle + half)
    axes.set_ylim(-levels + 0.4, 0.6)
    places = {item.node: item for item in items if item.node is not None}
    for item in sorted(items, key=lambda item: (item.level, item.x)):
        _draw_item(axes, tree, item, names)
        if item.above is not None:
            _draw_edge(axes, tree, places[item.above], item)
    return figure


def _draw_item(axes: "Axes", tree: HLTM, item: Item, names: dict[Node, str]) -> None:
    if item.node is None:
        x, y = item.x, -item.level
        axes.fill((x, x - 0.45, x + 0.45), (y + 0.25, y - 0.3, y - 0.3), color="0.88", zorder=2)
        _write(axes, x, y - 0.12, summary(tree, item.hidden), size=_FONT - 2)
        return
    colour = "white" if tree.children(item.node) else "0.92"
    frame = {"boxstyle": "round,pad=0.3", "facecolor": colour, "edgecolor": "0.3", "linewidth": 0.8}
    _write(axes, item.x, -item.level, names[item.node], frame)
    if item.node == tree.root:
        prior = tree.exact_prior()
        text = f"prior {', '.join(map(_brief, prior))}" if len(prior) <= 4 else f"prior over {len(prior)} states"
        _write(axes, item.x, 0.4, text)


def _draw_edge(axes: "Axes", tree: HLTM, above: Item, item: Item) -> None:
    ends = (above.x, item.x), (-above.level, -item.level + (0.25 if item.node is None else 0))
    if item.node is None or above.node is None:
        axes.plot(*ends, color="0.6", linestyle=":", linewidth=1, zorder=1)
        return
    text, colour, wide = edge_text(tree, above.node, item.node)
    axes.plot(*ends, color=colour, linewidth=wide, zorder=1)
    frame = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"}
    _write(axes, above.x + _LABEL_SHARE * (item.x - above.x), -above.level - _LABEL_SHARE, text, frame, _FONT - 1)


def edge_text(tree: HLTM, above: Node, node: Node) -> tuple[str, str, float]:
    """Return the label, the colour and the width of an edge."""
    states = tree.cardinality(above), tree.cardinality(node)
    if states != (2, 2):
        return f"{states[0]}×{states[1]}", "0.45", 1.0
    value = tree.polarity(above, node)
    text = _brief(tree.graph.edges[above, node].get("polarity", value))
    colour = "tab:blue" if value > 0 else "tab:red" if value < 0 else "0.6"
    return text, colour, 0.5 + 2 * abs(value)


def _brief(value: Number) -> str:
    """Return a number in full or with two digits; 0.9999 is ``≈1``, never ``1``."""
    text = repr(value) if isinstance(value, float) else str(value)
    if len(text) <= 5:
        return text
    text = f"{float(value):.2g}"
    return f"≈{text}" if abs(float(text)) == 1 else text


def summary(tree: HLTM, hidden: tuple[Node, ...]) -> str:
    """Count the nodes and leaves at and below some siblings, and give the range of their polarities."""
    nodes = list(hidden)
    for node in nodes:
        nodes.extend(tree.children(node))
    leaves = sum(not tree.children(node) for node in nodes)
    values = _range(_polarities(tree, nodes), ".2g", " … ")
    return f"{len(nodes):,} nodes\n{leaves:,} leaves" + (f"\n{values}" if values else "")


def short_name(node: Node) -> str:
    """Cut a long name in the middle; a name that cannot be printed is quoted."""
    text = node if isinstance(node, str) and node.isprintable() and node.strip() else repr(node)
    return text if len(text) <= _NAME_LENGTH else f"{text[: _NAME_LENGTH - 5]}…{text[-4:]}"


def _write(
    axes: "Axes", x: float, y: float, text: str, frame: Mapping[str, Any] | None = None, size: float = _FONT
) -> None:
    """Write text without reading dollar signs as formulas."""
    axes.text(x, y, text, bbox=frame, fontsize=size, ha="center", va="center", zorder=3, parse_math=False)


# Drawings for notebooks: SVG made of text alone, so that showing a tree loads no drawing library.

_CELL, _LEVEL, _LETTER, _SIZE = 46, 62, 6.2, 10  # pixels: least width of a column, height of a level, letter, font
_COLOURS = {"tab:blue": "#1f77b4", "tab:red": "#d62728", "0.6": "#999", "0.45": "#737373"}


def tree_html(tree: HLTM) -> str:
    """Return a tree as HTML: a drawing in SVG above the tree's `repr`."""
    items = layout(tree)
    places = {item.node: item for item in items if item.node is not None}
    letters = max(len(short_name(node)) for node in places)
    cell = max(_CELL, _LETTER * letters + 14, 84 if any(item.hidden for item in items) else 0)
    width = cell * (1 + max(item.x for item in items))
    height = _LEVEL * (0.4 + 1 + max(item.level for item in items))
    lines = [_edge(tree, places[item.above], item, cell) for item in items if item.above is not None]
    nodes = [_node(tree, item, cell) for item in items]
    return (
        f'<div style="overflow-x:auto"><svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="{_SIZE}" text-anchor="middle" '
        f'style="background:white;max-width:max(100%,1000px);height:auto">{"".join(lines + nodes)}</svg></div>'
        f"<div>{escape(repr(tree))}</div>"
    )


def _place(item: Item, cell: float) -> tuple[float, float]:
    return cell * (item.x + 0.5), _LEVEL * (item.level + 0.6)


def _edge(tree: HLTM, above: Item, item: Item, cell: float) -> str:
    (x_1, y_1), (x_2, y_2) = _place(above, cell), _place(item, cell)
    ends = f'x1="{x_1:.1f}" y1="{y_1:.1f}" x2="{x_2:.1f}" y2="{y_2:.1f}"'
    if item.node is None or above.node is None:
        return f'<line {ends} stroke="#999" stroke-dasharray="2 3"/>'
    text, colour, wide = edge_text(tree, above.node, item.node)
    line = f'<line {ends} stroke="{_COLOURS[colour]}" stroke-width="{wide:.2f}"/>'
    return line + _text(x_1 + 0.6 * (x_2 - x_1), y_1 + 0.6 * (y_2 - y_1), text, halo=True)


def _node(tree: HLTM, item: Item, cell: float) -> str:
    x, y = _place(item, cell)
    if item.node is None:
        corners = f"{x:.1f},{y - 16:.1f} {x - 40:.1f},{y + 20:.1f} {x + 40:.1f},{y + 20:.1f}"
        rows = summary(tree, item.hidden).split("\n")
        words = "".join(_text(x, y + 1 + 9 * i, row, size=8) for i, row in enumerate(rows))
        return f'<polygon points="{corners}" fill="#e0e0e0"/>{words}'
    name = short_name(item.node)
    wide = _LETTER * len(name) + 10
    fill = "white" if tree.children(item.node) else "#ebebeb"
    frame = f'x="{x - wide / 2:.1f}" y="{y - 9:.1f}" width="{wide:.1f}" height="18" rx="4"'
    return f'<rect {frame} fill="{fill}" stroke="#4d4d4d"/>{_text(x, y, name)}'


def _text(x: float, y: float, text: str, *, size: int = _SIZE, halo: bool = False) -> str:
    around = ' stroke="white" stroke-width="5" paint-order="stroke"' if halo else ""
    return f'<text x="{x:.1f}" y="{y + size / 3:.1f}" font-size="{size}"{around}>{escape(text)}</text>'


# Tables for the terminal

LEVEL = "level (root 0)"  # training counts from the leaves
NODES_LISTED = 127  # of a tree with more nodes the levels are listed
_ENTRIES_SHOWN = 16
_STATES_WIDTH = 40  # characters of the names of a node's states in a table


def overview(tree: HLTM) -> list["Table | str"]:
    """Return the description of a tree: a headline, the prior, a table of nodes or of levels."""
    kind = "symmetric binary" if tree.is_symmetric else "binary" if tree.is_binary else "categorical"
    lines: list[Table | str] = [printable(text) for text in tree.graph.graph.values()]
    lines.append(f"{kind} tree: {len(tree):,} nodes, {len(tree.leaves):,} leaves, depth {tree.depth:,}")
    root = f"root {label(tree.root)}: prior {law(tree, tree.root, tree.exact_prior())}"
    lines.append(root + (f", polarity {tree.root_polarity:.6g}" if tree.cardinality(tree.root) == 2 else ""))
    if tree.has_state_names:
        lines.append(
            "states are numbered 0, 1, ... in this order; a leaf's activation is the number (--state-one NAME)"
        )
    lines.append(_node_table(tree) if len(tree) <= NODES_LISTED else _level_table(tree))
    return lines


def node_overview(tree: HLTM, node: Node) -> list["Table | str"]:
    """Return the description of one node: its place, its table, its relation to the root."""
    above = tree.parent(node)
    children = tree.children(node)
    shown = ", ".join(map(label, children[:_ENTRIES_SHOWN])) + (", ..." if len(children) > _ENTRIES_SHOWN else "")
    lines: list[Table | str] = [
        f"node {label(node)}: {states(tree, node)}, level {len(tree.path(tree.root, node)) - 1} (the root is level 0)",
        f"parent: {'none, it is the root' if above is None else label(above)}",
        f"children: {shown or 'none, it is a leaf'}",
    ]
    if above is None:
        return [*lines, f"prior: {law(tree, node, tree.exact_prior())}"]
    for name, row in zip(tree.states(above), tree.exact_table(node)[:_ENTRIES_SHOWN], strict=False):
        lines.append(f"given state {printable(name)} of {label(above)}: {law(tree, node, row)}")
    if all(tree.cardinality(step) == 2 for step in tree.path(tree.root, node)):
        lines.append(f"polarity: {tree.polarity(above, node):.6g}, from the root {tree.polarity(tree.root, node):.6g}")
    return lines


def label(node: Node) -> str:
    """Return the name of a node as printable text: plain names unchanged, others as `repr`."""
    return printable(node) if isinstance(node, str) and node.isprintable() and node else printable(repr(node))


def states(tree: HLTM, node: Node) -> str:
    """Return the number of states of a node, and their names in the order of their numbers."""
    names = tree.states(node)
    if names == numbered(len(names)):
        return f"{len(names)} states"
    shown = ", ".join(f"{i} {printable(name)}" for i, name in enumerate(names[:_ENTRIES_SHOWN]))
    return f"{len(names)} states ({shown}{', ...' if len(names) > _ENTRIES_SHOWN else ''})"


def state_list(tree: HLTM, node: Node) -> str:
    """Return the names of a few states of a node for a table, else their number."""
    names = tree.states(node)
    if names == numbered(len(names)):
        return str(len(names))
    text = printable(", ".join(names[:_ENTRIES_SHOWN]))
    return text if len(text) <= _STATES_WIDTH else f"{len(names)}: {text[:_STATES_WIDTH].rstrip()} ..."


def law(tree: HLTM, node: Node, row: Row) -> str:
    """Return a law of a node as text, each number behind the name of its state if the states have names."""
    names = tree.states(node)
    if names == numbered(len(names)):
        return numbers(row)
    entries = zip(names[:_ENTRIES_SHOWN], row, strict=False)
    shown = ", ".join(f"{printable(name)} {numbers((value,))}" for name, value in entries)
    return shown + (f", ... ({len(row)} in all)" if len(row) > _ENTRIES_SHOWN else "")


def numbers(row: Sequence[Number]) -> str:
    """Return a row of numbers as text; rational numbers stay fractions."""
    shown = ", ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row[:_ENTRIES_SHOWN])
    return shown + (f", ... ({len(row)} in all)" if len(row) > _ENTRIES_SHOWN else "")


def printable(text: str) -> str:
    """Replace characters that the terminal cannot show, or would obey."""
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
            cells = [str(level), state_list(tree, node), str(len(tree.children(node)) or "leaf"), own, whole]
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
        polarities = _range(_polarities(tree, nodes))
        table.add_row(str(level), f"{len(nodes):,}", f"{leaves:,}", states, children, polarities)
    return table


def _polarities(tree: HLTM, nodes: Sequence[Node]) -> list[float]:
    """Return the polarities of the binary edges that end in some nodes."""
    edges = [(above, node) for node in nodes for above in (tree.parent(node),) if above is not None]
    return [tree.polarity(*edge) for edge in edges if all(tree.cardinality(end) == 2 for end in edge)]


def _range(values: Sequence[float], form: str = ".6g", between: str = " ... ") -> str:
    """Return the smallest and the largest value as text, once if they are equal."""
    ends = [format(value, form) for value in (min(values), max(values))] if values else []
    return between.join(dict.fromkeys(ends))


def rho(tree: HLTM, above: Node, node: Node) -> str:
    """Return the polarity of an edge as text, or the shape of a table that is not binary."""
    states = tree.cardinality(above), tree.cardinality(node)
    if states != (2, 2):
        return f"{states[0]} x {states[1]} table"
    value = tree.graph.edges[above, node].get("polarity", tree.polarity(above, node))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
