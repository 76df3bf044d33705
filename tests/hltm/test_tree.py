"""`HLTM`: orders, tables along paths, freezing, equality, large trees."""

import copy
import math
import pickle
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest

import hltm


@pytest.fixture
def tree(small_graph):
    return hltm.HLTM(small_graph)


def test_orders_follow_the_order_of_edges(tree):
    assert tree.root == "r"
    assert tree.nodes == ("r", "a", "z", "x", "y")
    assert tree.levels == (("r",), ("a", "z"), ("x", "y"))
    assert tree.leaves == ("x", "y", "z"), "leaves are listed depth first"
    assert tree.latents == ("r", "a")
    assert tree.edges == (("r", "a"), ("r", "z"), ("a", "x"), ("a", "y"))
    assert tree.children("r") == ("a", "z")
    assert tree.children("x") == ()
    assert tree.parent("r") is None
    assert tree.parent("y") == "a"
    assert tree.depth == 2
    assert len(tree) == 5
    assert "x" in tree
    assert "w" not in tree
    assert list(tree) == list(tree.nodes)


def test_node_order_of_the_users_graph_does_not_matter(small_graph):
    other = nx.DiGraph()
    other.add_nodes_from((v, small_graph.nodes[v]) for v in ("y", "z", "x", "r", "a"))
    other.add_edges_from(small_graph.edges(data=True))
    assert hltm.HLTM(other) == hltm.HLTM(small_graph)


def test_tables(tree):
    assert tree.cardinality("r") == 3
    assert tree.cardinality("a") == 2
    assert tree.prior.tolist() == [0.5, 0.25, 0.25]
    assert tree.transition("a", "x").tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert tree.transition("a", "a").tolist() == [[1, 0], [0, 1]]
    by_hand = [[0.5, 0.5], [0.375, 0.625], [0.75, 0.25]]
    assert tree.transition("r", "x").tolist() == by_hand
    assert tree.polarity("a", "x") == 0.5
    assert tree.polarity("a", "y") == -0.25
    assert tree.polarity("a", "a") == 1.0
    assert not tree.is_binary
    assert not tree.is_symmetric


def test_polarity_is_the_difference_of_the_path_table():
    tree = hltm.random_tree(leaves=6, seed=1)
    for node in tree.nodes:
        table = tree.transition(tree.root, node)
        # Each step rounds a handful of numbers of at most 1.
        assert abs(tree.polarity(tree.root, node) - (table[1, 1] - table[0, 1])) <= 16 * 2**-52 * len(tree)


def test_root_polarity_is_one_minus_zero():
    tree = hltm.complete_tree(1, 1, polarity=0.5, root_polarity=0.25)
    assert tree.prior.tolist() == [0.375, 0.625]
    assert tree.root_polarity == 0.25


@pytest.mark.parametrize(
    ("tables", "symmetric"),
    [
        ({"polarity": 0.3}, True),
        ({"transition": [[0.25, 0.75], [0.75, 0.25]]}, True),
        ({"transition": [[0.25, 0.75], [0.25, 0.75]]}, False),
    ],
)
def test_is_symmetric(tables, symmetric):
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.1, 0.9])
    graph.add_edge("r", "x", **tables)
    tree = hltm.HLTM(graph)
    assert tree.is_binary
    assert tree.is_symmetric is symmetric


def test_rational_numbers_stay_rational():
    tree = hltm.complete_tree(1, 1, polarity=Fraction(1, 3), root_polarity=Fraction(1, 7))
    assert tree.exact_prior() == (Fraction(3, 7), Fraction(4, 7))
    assert tree.exact_table(1) == ((Fraction(2, 3), Fraction(1, 3)), (Fraction(1, 3), Fraction(2, 3)))
    assert tree.graph.edges[0, 1]["polarity"] == Fraction(1, 3)
    assert hltm.complete_tree(1, 1, polarity=1, root_polarity=-1).exact_prior() == (1, 0)


def test_numpy_values_become_plain_ones():
    graph = nx.DiGraph()
    graph.add_node(np.int64(0), prior=np.array([0.5, 0.5]), cardinality=np.int64(2))
    graph.add_node((1, "x"), cardinality=np.int32(3))
    graph.add_edge(np.int64(0), (1, "x"), transition=np.array([[0.5, 0.25, 0.25], [0, 0, 1]]))
    tree = hltm.HLTM(graph)
    assert type(tree.root) is int
    assert tree.leaves == ((1, "x"),)
    assert type(tree.cardinality((1, "x"))) is int
    assert type(tree.graph.nodes[0]["prior"][0]) is float


def test_later_changes_of_the_users_graph_change_nothing(small_graph):
    table = small_graph.edges["r", "a"]["transition"]
    prior = small_graph.nodes["r"]["prior"]
    tree, twin = hltm.HLTM(small_graph), hltm.HLTM(small_graph)
    table[0][0], prior[0] = 99, 99
    small_graph.edges["a", "x"]["polarity"] = -1
    small_graph.add_edge("y", "w")
    small_graph.remove_node("z")
    assert tree == twin
    assert tree.transition("r", "a")[0, 0] == 0.5
    assert tree.graph.nodes["r"]["prior"][0] == 0.5
    assert tree.graph.edges["a", "x"]["polarity"] == 0.5


def test_the_tree_cannot_be_changed(tree):
    with pytest.raises(nx.NetworkXError, match=r"[Ff]rozen"):
        tree.graph.add_edge("x", "w")
    with pytest.raises(TypeError, match="cannot be changed"):
        tree.graph.edges["a", "x"]["polarity"] = 0.1
    with pytest.raises(TypeError, match="cannot be changed"):
        tree.graph.nodes["r"].update(prior=[1, 0, 0])
    with pytest.raises(TypeError, match="cannot be changed"):
        tree.graph.graph["name"] = "other"
    with pytest.raises(AttributeError):
        tree.graph = nx.DiGraph()
    tree.prior[0] = 5
    tree.transition("r", "a")[0, 0] = 5
    assert tree.prior[0] == tree.transition("r", "a")[0, 0] == 0.5
    changed = nx.DiGraph(tree.graph)
    changed.edges["a", "x"]["polarity"] = 0.1
    assert hltm.HLTM(changed).polarity("a", "x") == 0.1


def test_equality_and_hash(small_graph):
    tree = hltm.HLTM(small_graph)
    assert hltm.HLTM(tree.graph) == tree
    assert hash(hltm.HLTM(tree.graph)) == hash(tree)
    assert pickle.loads(pickle.dumps(tree)) == tree  # noqa: S301
    assert copy.deepcopy(tree) == tree
    assert tree != small_graph
    small_graph.graph["name"] = "a name is no content"
    assert hltm.HLTM(small_graph) == tree
    small_graph.nodes["x"]["cardinality"] = 2
    assert hltm.HLTM(small_graph) == tree, "2 is the default"


def _prior(graph):
    graph.nodes["r"]["prior"] = [0.25, 0.5, 0.25]


def _polarity(graph):
    graph.edges["a", "x"]["polarity"] = math.nextafter(0.5, 1)


def _entry(graph):
    graph.edges["a", "y"]["transition"] = [[0.25, 0.75], [0.25, 0.75]]


def _spelt_out(graph):
    del graph.edges["a", "x"]["polarity"]
    graph.edges["a", "x"]["transition"] = [[0.75, 0.25], [0.25, 0.75]]


def _order(graph):
    graph.remove_edge("a", "x")
    graph.add_edge("a", "x", polarity=0.5)


def _moved(graph):
    graph.remove_edge("a", "x")
    graph.add_edge("y", "x", polarity=0.5)


@pytest.mark.parametrize("change", [_prior, _polarity, _entry, _spelt_out, _order, _moved])
def test_any_change_of_content_makes_trees_unequal(small_graph, change):
    tree = hltm.HLTM(small_graph)
    change(small_graph)
    assert hltm.HLTM(small_graph) != tree


def test_repr_is_short():
    assert repr(hltm.complete_tree(2, 2, 0.5)) == "HLTM(root=0, nodes=7, leaves=4, depth=2, symmetric binary)"
    assert len(repr(hltm.complete_tree(12, 2, 0.5))) < 100


def test_smallest_tree_is_one_edge():
    tree = hltm.complete_tree(1, 1, polarity=1)
    assert (tree.nodes, tree.leaves, tree.latents) == ((0, 1), (1,), (0,))


def test_a_path_of_5000_edges():
    tree = hltm.complete_tree(5000, 1, polarity=0.999)
    assert tree.depth == 5000
    # A product of n rounded factors has a relative error of at most n units in the last place.
    assert tree.polarity(0, 5000) == pytest.approx(0.999**5000, rel=5000 * 2**-52)
    assert len(tree.path(0, 5000)) == 5001
    assert pickle.loads(pickle.dumps(tree)) == tree  # noqa: S301


def test_thousands_of_known_states_do_not_underflow():
    tree = hltm.complete_tree(5000, 1, polarity=0.5)
    known = dict.fromkeys(range(5000), 0)  # of probability 0.75^4999 / 2, below the smallest float
    assert hltm.leaf_distribution(tree, known).tolist() == [0.75, 0.25]
    assert hltm.marginals(tree, known)[5000].tolist() == [0.75, 0.25]


def test_a_complete_tree_of_depth_12():
    tree = hltm.complete_tree(12, 2, polarity=0.9)
    assert len(tree.leaves) == 4096
    assert [len(level) for level in tree.levels] == [2**k for k in range(13)]
    states = hltm.sample(tree, 50, seed=0)
    law = hltm.posterior(tree, 0, {leaf: states[leaf] for leaf in tree.leaves})
    assert np.abs(law.sum(axis=1) - 1).max() <= 4 * 2**-52
    assert hltm.tree_from_json(hltm.tree_to_json(tree)) == tree
