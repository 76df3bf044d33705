"""A tree for a notebook: an inline drawing, made of text alone, so that showing a tree loads no drawing library.

The layout, and what is left out of large trees, are those of `hltm.drawing`.
"""

from html import escape

from hltm.drawing import Item, edge_text, layout, short_name, summary
from hltm.tree import HLTM

_CELL, _LEVEL, _LETTER, _SIZE = 46, 62, 6.2, 10  # pixels: least width of a column, height of a level, letter, font
_COLOURS = {"tab:blue": "#1f77b4", "tab:red": "#d62728", "0.6": "#999", "0.45": "#737373"}


def tree_html(tree: HLTM) -> str:
    """Return a tree as HTML: a drawing in SVG with the tree's one line below it.

    Parameters
    ----------
    tree : HLTM
        Any size: at most 63 items are drawn, a triangle stands for the rest.

    Returns
    -------
    str
        HTML without scripts, styles or links; names are escaped.

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> text = tree_html(star_tree(2, polarity=0.5))
    >>> text.count("<rect"), text.count("<line")
    (3, 2)
    """
    return f'<div style="overflow-x:auto">{tree_svg(tree)}</div><div>{escape(repr(tree))}</div>'


def tree_svg(tree: HLTM) -> str:
    """Return the drawing of a tree as an SVG element."""
    items = layout(tree)
    places = {item.node: item for item in items if item.node is not None}
    letters = max(len(short_name(node)) for node in places)
    cell = max(_CELL, _LETTER * letters + 14, 84 if any(item.hidden for item in items) else 0)
    width = cell * (1 + max(item.x for item in items))
    height = _LEVEL * (0.4 + 1 + max(item.level for item in items))
    lines = [_edge(tree, places[item.above], item, cell) for item in items if item.above is not None]
    nodes = [_node(tree, item, cell) for item in items]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="{_SIZE}" text-anchor="middle" '
        f'style="background:white;max-width:max(100%,1000px);height:auto">{"".join(lines + nodes)}</svg>'
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
