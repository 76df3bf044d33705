"""Drawings: what is on the page, that it can be read, and how large trees are summarised."""

import itertools
import subprocess
import sys

import matplotlib
import networkx as nx
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

import hltm
from hltm.drawing import ITEMS_DRAWN, layout


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def overlaps(figure):
    """Pairs of texts, with their frames, that cover each other, and texts that leave the page."""
    FigureCanvasAgg(figure).draw()
    boxes = {}
    for i, text in enumerate(figure.axes[0].texts):
        patch = text.get_bbox_patch()
        boxes[i, text.get_text()] = (text if patch is None else patch).get_window_extent()
    page = figure.bbox
    outside = [
        key for key, box in boxes.items() if box.x0 < 0 or box.y0 < 0 or box.x1 > page.width or box.y1 > page.height
    ]
    pairs = itertools.combinations(boxes.items(), 2)
    return [(one, other) for (one, a), (other, b) in pairs if a.overlaps(b)], outside


READABLE = {
    "edge": lambda: hltm.complete_tree(1, 1, 0.5),
    "63-nodes": lambda: hltm.complete_tree(5, 2, (-1, 1), seed=3),
    "63-nodes-equal": lambda: hltm.complete_tree(5, 2, -0.123456),
    "star": lambda: hltm.star_tree(62, (-1, 1), seed=0),
    "caterpillar": lambda: hltm.caterpillar_tree(32, (-1, 1), seed=0),
    "random": lambda: hltm.random_tree(35, seed=5, symmetric=True),
    "categorical": lambda: hltm.random_tree(30, seed=1, cardinality=(2, 5)),
    "many-states": lambda: hltm.random_tree(4, seed=1, cardinality=12),
    "four-states": lambda: hltm.random_tree(1, seed=1, cardinality=4),
    "large": lambda: hltm.complete_tree(9, 2, (-1, 1), seed=0),
    "wide": lambda: hltm.star_tree(5000, (-1, 1), seed=0),
    "deep": lambda: hltm.complete_tree(3000, 1, 0.5),
    "large-caterpillar": lambda: hltm.caterpillar_tree(1000, (-1, 1), seed=0),
    "large-random": lambda: hltm.random_tree(3000, seed=0, cardinality=(2, 4)),
}


@pytest.mark.parametrize("case", READABLE)
def test_no_text_covers_another_or_leaves_the_page(case):
    covered, outside = overlaps(hltm.draw(READABLE[case]()))
    assert not covered
    assert not outside


@pytest.mark.parametrize("case", ["63-nodes", "star", "caterpillar", "random"])
def test_every_node_and_every_polarity_is_drawn(case):
    tree = READABLE[case]()
    assert len(tree) <= ITEMS_DRAWN or case == "random"
    found = texts(hltm.draw(tree))
    for node in tree.nodes[: ITEMS_DRAWN // 2]:
        assert str(node) in found
    written = [float(text.strip("≈")) for text in found if text.strip("≈-").replace(".", "").isdigit() and "." in text]
    if len(tree) <= ITEMS_DRAWN:
        for edge in tree.edges:
            assert any(abs(value - tree.polarity(*edge)) <= 0.005 for value in [*written, 1, -1, 0]), edge


def test_levels_stand_below_each_other_and_parents_above_their_children():
    tree = hltm.random_tree(20, seed=2)
    items = {item.node: item for item in layout(tree)}
    for level, nodes in enumerate(tree.levels):
        for node in nodes:
            assert items[node].level == level
            children = [items[child].x for child in tree.children(node)]
            assert children == sorted(children)
            if children:
                assert items[node].x == (children[0] + children[-1]) / 2
    assert [items[leaf].x for leaf in tree.leaves] == list(range(20))


@pytest.mark.parametrize("case", ["large", "wide", "deep", "large-caterpillar", "large-random"])
def test_a_summary_counts_everything_once(case):
    tree = READABLE[case]()
    items = layout(tree)
    assert len(items) <= ITEMS_DRAWN
    drawn = [item.node for item in items if item.node is not None]
    hidden = [node for item in items for node in item.hidden]
    for node in hidden:
        hidden.extend(tree.children(node))
    assert sorted(drawn + hidden) == sorted(tree.nodes)
    assert len(drawn) > 5
    assert any("nodes" in text and "leaves" in text for text in texts(hltm.draw(tree)))


def test_small_trees_are_not_summarised():
    for tree in (hltm.complete_tree(5, 2, 0.5), hltm.star_tree(62, 0.5), hltm.complete_tree(62, 1, 0.5)):
        assert [item for item in layout(tree) if item.hidden] == []
        assert len(layout(tree)) == len(tree) == 63


def edge_lines(figure):
    return [(to_hex(line.get_color()), line.get_linewidth()) for line in figure.axes[0].lines]


def test_colour_and_width_tell_sign_and_size():
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.5, 0.5])
    for name, rho in (("a", 1), ("b", -0.5), ("c", 0)):
        graph.add_edge("r", name, polarity=rho)
    lines = edge_lines(hltm.draw(hltm.HLTM(graph)))
    assert [width for _, width in lines] == [2.5, 1.5, 0.5]
    assert [colour for colour, _ in lines][:2] == [to_hex("tab:blue"), to_hex("tab:red")]


def test_categorical_edges_show_cardinalities_and_no_polarity(small_graph):
    found = texts(hltm.draw(hltm.HLTM(small_graph)))
    assert "3×2" in found
    assert "3×3" in found
    assert "0.5" in found, "the edge between binary nodes keeps its polarity"
    assert "-0.25" in found, "so does one that is given by a table"


@pytest.mark.parametrize("name", ["$\\frac{$", "\\alpha", "x" * 500, "木", "", " ", "\x00", "\n"], ids=range(8))
@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_any_name_can_be_drawn(tmp_path, name, suffix):
    graph = nx.DiGraph()
    graph.add_node(name, prior=[0.5, 0.5])
    graph.add_edge(name, "leaf", polarity=0.5)
    figure = hltm.draw(hltm.HLTM(graph), tmp_path / f"tree.{suffix}")
    assert len(texts(figure)[0]) <= 12
    assert (tmp_path / f"tree.{suffix}").stat().st_size > 1000


def test_numbers_are_brief_and_one_means_one():
    tree = hltm.star_tree(1, 0.9999)
    assert "≈1" in texts(hltm.draw(tree))
    assert "1" in texts(hltm.draw(hltm.star_tree(1, 1)))
    assert "0.12" in texts(hltm.draw(hltm.star_tree(1, 0.123456)))


def test_bad_calls(tmp_path):
    tree = hltm.star_tree(2, 0.5)
    with pytest.raises(hltm.InputError, match=r"the suffix of a drawing must be one of \.png, \.svg, \.pdf"):
        hltm.draw(tree, tmp_path / "tree.jpg")
    with pytest.raises(hltm.InputError, match="path=3: must be a path"):
        hltm.draw(tree, 3)
    with pytest.raises(hltm.InputError, match="tree of type DiGraph: must be an HLTM"):
        hltm.draw(nx.DiGraph())
    with pytest.raises(hltm.InputError, match="cannot be written"):
        hltm.draw(tree, tmp_path / "nowhere" / "tree.png")
    assert not list(tmp_path.iterdir())


def test_nothing_global_is_touched(tmp_path):
    before = dict(matplotlib.rcParams)
    hltm.draw(hltm.star_tree(2, 0.5), tmp_path / "tree.svg")
    assert dict(matplotlib.rcParams) == before
    code = (
        "import sys, hltm; assert 'matplotlib' not in sys.modules; hltm.draw(hltm.star_tree(2, 0.5));"
        "import hltm.drawing; hltm.draw(hltm.star_tree(2, 0.5)); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
