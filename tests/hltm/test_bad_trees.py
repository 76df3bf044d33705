"""Every tree that is not allowed is refused with one line that names value, place and rule."""

import networkx as nx
import numpy as np
import pytest

import hltm


def tree_graph(edges=(("r", "a"), ("a", "x"), ("a", "y")), prior=(0.5, 0.5)):
    graph = nx.DiGraph()
    graph.add_node("r", prior=prior)
    graph.add_edges_from(edges, polarity=0.5)
    return graph


def with_edge(**attributes):
    graph = tree_graph((("a", "x"),))
    graph.remove_node("r")
    graph.add_node("r", prior=[0.5, 0.5])
    graph.add_edge("r", "a", **attributes)
    return graph


def with_node(name, **attributes):
    graph = tree_graph()
    graph.nodes[name].update(attributes)
    return graph


def with_prior(prior):
    return tree_graph(prior=prior)


def without_prior():
    graph = tree_graph()
    del graph.nodes["r"]["prior"]
    return graph


def with_graph(**attributes):
    graph = tree_graph()
    graph.graph.update(attributes)
    return graph


def single_node():
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.5, 0.5])
    return graph


def lone_node():
    graph = tree_graph()
    graph.add_node("w")
    return graph


def named(name):
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.5, 0.5])
    graph.add_edge("r", name, polarity=0.5)
    return graph


def long_cycle():
    return tree_graph([*((i, i + 1) for i in range(5000)), (5000, 0)])


NAN, INF = float("nan"), float("inf")
BAD = {
    "undirected": (lambda: nx.Graph([("r", "a")]), ["graph of type Graph", "networkx.DiGraph"]),
    "multigraph": (lambda: nx.MultiDiGraph([("r", "a")]), ["MultiDiGraph", "networkx.DiGraph"]),
    "no-graph": (lambda: {"r": ["a"]}, ["graph of type dict", "networkx.DiGraph"]),
    "empty": (nx.DiGraph, ["0 nodes", "at least one edge"]),
    "single-node": (single_node, ["1 nodes and 0 edges", "at least one edge"]),
    "self-loop": (lambda: tree_graph([("r", "r")]), ["cycle 'r' -> 'r'", "no cycle"]),
    "cycle": (lambda: tree_graph([("r", "a"), ("a", "b"), ("b", "a")]), ["cycle", "'a' -> 'b'", "no cycle"]),
    "pure-cycle": (lambda: tree_graph([("r", "a"), ("a", "b"), ("b", "r")]), ["cycle", "no cycle"]),
    "long-cycle": (long_cycle, ["cycle", "(5002 in all)", "no cycle"]),
    "two-parents": (
        lambda: tree_graph([("r", "a"), ("r", "b"), ("b", "x"), ("a", "x")]),
        ["node 'x' has parents 'b', 'a'", "one parent"],
    ),
    "two-roots": (lambda: tree_graph([("r", "a"), ("s", "b")]), ["'r', 's' have no parent", "one root"]),
    "lone-node": (lone_node, ["'r', 'w' have no parent", "connected"]),
    "row-sum": (
        lambda: with_edge(transition=[[0.5, 0.5], [0.5, 0.25]]),
        ["row 1 of transition on edge ('r', 'a')", "must sum to one", "0.75"],
    ),
    "row-sum-huge": (lambda: with_edge(transition=[[1e308, 1e308], [0.5, 0.5]]), ["row 0", "sums to inf"]),
    "row-sum-exact": (lambda: with_edge(transition=[[0, 1], [1, 1]]), ["row 1", "sums to 2"]),
    "negative": (
        lambda: with_edge(transition=[[1.5, -0.5], [0.5, 0.5]]),
        ["transition[0][1]=-0.5 on edge ('r', 'a')", "must not be negative"],
    ),
    "polarity-above": (
        lambda: with_edge(polarity=1.3),
        ["polarity=1.3 on edge ('r', 'a'): must lie in [-1, 1]"],
    ),
    "polarity-below": (lambda: with_edge(polarity=-2), ["polarity=-2 on edge ('r', 'a')", "[-1, 1]"]),
    "polarity-nan": (lambda: with_edge(polarity=NAN), ["polarity=nan on edge ('r', 'a')", "finite"]),
    "polarity-text": (lambda: with_edge(polarity="0.5"), ["polarity='0.5' on edge", "number", "got str"]),
    "polarity-bool": (lambda: with_edge(polarity=True), ["polarity=True on edge", "number", "got bool"]),
    "polarity-complex": (lambda: with_edge(polarity=0.5j), ["polarity=0.5j", "number", "got complex"]),
    "polarity-huge": (lambda: with_edge(polarity=10**400), ["on edge ('r', 'a')", "finite"]),
    "polarity-too-long": (lambda: with_edge(polarity=10**5000), ["on edge ('r', 'a')", "finite"]),
    "entry-nan": (
        lambda: with_edge(transition=[[0.5, 0.5], [NAN, 0.5]]),
        ["transition[1][0]=nan on edge ('r', 'a')", "finite"],
    ),
    "entry-inf": (lambda: with_edge(transition=[[0.5, 0.5], [0.5, INF]]), ["transition[1][1]=inf", "finite"]),
    "entry-text": (
        lambda: with_edge(transition=[["a", 0.5], [0.5, 0.5]]),
        ["transition[0][0]='a'", "number"],
    ),
    "shape": (
        lambda: with_edge(transition=[[0.5, 0.25, 0.25], [0, 0, 1]]),
        ["transition on edge ('r', 'a')", "shape (2, 2)", "cardinalities", "got (2, 3)"],
    ),
    "shape-rows": (lambda: with_edge(transition=np.ones((3, 2)) / 2), ["shape (2, 2)", "got (3, 2)"]),
    "shape-ragged": (lambda: with_edge(transition=[[1], [0.5, 0.5]]), ["shape (2, 2)", "lengths [1, 2]"]),
    "shape-empty": (lambda: with_edge(transition=[]), ["shape (2, 2)", "got (0, 0)"]),
    "shape-3d": (lambda: with_edge(transition=np.ones((2, 2, 2)) / 2), ["transition[0][0]=", "number"]),
    "table-flat": (lambda: with_edge(transition=[0.5, 0.5]), ["row of transition on edge", "list of rows"]),
    "table-number": (
        lambda: with_edge(transition=0.5),
        ["transition on edge ('r', 'a')=0.5", "list of rows"],
    ),
    "both": (
        lambda: with_edge(polarity=0.5, transition=[[0.5, 0.5]] * 2),
        ["edge ('r', 'a') has both", "exactly one"],
    ),
    "neither": (with_edge, ["edge ('r', 'a') has neither", "exactly one"]),
    "polarity-not-binary": (
        lambda: with_node("a", cardinality=3),
        ["polarity=0.5 on edge ('r', 'a')", "binary", "2 and 3", "'transition'"],
    ),
    "prior-on-inner-node": (
        lambda: with_node("a", prior=[0.5, 0.5]),
        ["prior=[0.5, 0.5] on node 'a'", "only the root 'r'"],
    ),
    "prior-missing": (without_prior, ["root 'r' has no attribute 'prior'"]),
    "prior-length": (
        lambda: with_prior([0.2, 0.3, 0.5]),
        ["prior=[0.2, 0.3, 0.5] of root 'r'", "2 entries", "got 3"],
    ),
    "prior-sum": (lambda: with_prior([0.5, 0.25]), ["prior=[0.5, 0.25] of root 'r'", "sum to one", "0.75"]),
    "prior-negative": (lambda: with_prior([-0.5, 1.5]), ["prior[0]=-0.5 of root 'r'", "negative"]),
    "prior-nan": (lambda: with_prior([NAN, 0.5]), ["prior[0]=nan of root 'r'", "finite"]),
    "prior-number": (lambda: with_prior(0.5), ["prior of root 'r'=0.5", "list"]),
    "cardinality-1": (lambda: with_node("x", cardinality=1), ["cardinality=1 of node 'x'", "at least 2"]),
    "cardinality-float": (
        lambda: with_node("x", cardinality=2.0),
        ["cardinality=2.0 of node 'x'", "integer"],
    ),
    "cardinality-bool": (
        lambda: with_node("x", cardinality=True),
        ["cardinality=True of node 'x'", "integer"],
    ),
    "cardinality-none": (
        lambda: with_node("x", cardinality=None),
        ["cardinality=None of node 'x'", "integer"],
    ),
    "node-attribute": (
        lambda: with_node("x", cardinalty=3),
        ["attribute 'cardinalty' of node 'x'", "prior, cardinality", "did you mean 'cardinality'?"],
    ),
    "edge-attribute": (
        lambda: with_edge(polarty=0.5),
        ["attribute 'polarty' of edge ('r', 'a')", "did you mean 'polarity'?"],
    ),
    "edge-weight": (
        lambda: with_edge(polarity=0.5, weight=1),
        ["attribute 'weight' of edge", "polarity, transition"],
    ),
    "graph-attribute": (
        lambda: with_graph(descripton="toy"),
        ["attribute 'descripton' of the graph", "did you mean 'description'?"],
    ),
    "graph-name": (lambda: with_graph(name=3), ["name=3 of the graph", "str", "got int"]),
    "name-float": (lambda: named(0.5), ["node 0.5", "str, an int or a tuple"]),
    "name-bool": (lambda: named(True), ["node True", "str, an int or a tuple"]),
    "name-frozenset": (lambda: named(frozenset("ab")), ["frozenset", "str, an int or a tuple"]),
    "name-empty-tuple": (lambda: named(()), ["node ()", "str, an int or a tuple"]),
    "name-nested": (lambda: named((1, (2, 3))), ["node (1, (2, 3))", "str, an int or a tuple"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tree(case):
    build, parts = BAD[case]
    with pytest.raises(hltm.InputError) as caught:
        hltm.HLTM(build())
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400, message
    for part in parts:
        assert part in message, message


def test_graph_with_name_and_description_is_allowed():
    tree = hltm.HLTM(with_graph(name="toy", description="a toy"))
    assert tree.graph.graph == {"name": "toy", "description": "a toy"}


@pytest.mark.parametrize("slack", [0.0, 4e-13, -4e-13])
def test_rows_may_miss_one_by_rounding(slack):
    hltm.HLTM(with_edge(transition=[[0.1, 0.9 + slack], [0.3, 0.7]]))


@pytest.mark.parametrize(
    "call",
    [
        lambda tree: tree.children("lef"),
        lambda tree: tree.parent("lef"),
        lambda tree: tree.cardinality("lef"),
        lambda tree: tree.path("lef", "r"),
        lambda tree: tree.path("r", "lef"),
        lambda tree: tree.polarity("r", "lef"),
        lambda tree: tree.transition("lef", "lef"),
        lambda tree: tree.exact_table("lef"),
        lambda tree: hltm.leaf_distribution(tree, {"lef": 0}),
        lambda tree: hltm.marginals(tree, {"lef": 0}),
        lambda tree: hltm.posterior(tree, "lef", {}),
        lambda tree: hltm.resample(tree, {"lef": [0]}),
        lambda tree: hltm.rational_leaf_distribution(tree, {"lef": 0}),
    ],
)
def test_unknown_node_names_the_nearest(call):
    with pytest.raises(hltm.InputError, match=r"node 'lef': not a node of the tree; did you mean 'leaf'\?"):
        call(hltm.HLTM(named("leaf")))


@pytest.mark.parametrize("node", [["leaf"], {}, None, True, 10**5000], ids=["list", "dict", "none", "bool", "huge"])
def test_any_object_as_a_node_is_an_input_error(node):
    tree = hltm.star_tree(2, 0.5)
    for look_up in (tree.children, tree.parent, tree.cardinality):
        with pytest.raises(hltm.InputError, match="not a node of the tree"):
            look_up(node)


def test_path_must_lead_down():
    tree = hltm.HLTM(tree_graph())
    for call in (tree.path, tree.polarity, tree.transition):
        with pytest.raises(hltm.InputError, match="from 'x' to 'y': 'x' must be an ancestor"):
            call("x", "y")


def test_polarity_of_categorical_nodes_is_refused(small_graph):
    tree = hltm.HLTM(small_graph)
    with pytest.raises(hltm.InputError, match="from 'r' to 'x': node 'r' must be binary, has 3 states"):
        tree.polarity("r", "x")
    with pytest.raises(hltm.InputError, match="must be binary"):
        hltm.root_polarities(tree)
    with pytest.raises(hltm.InputError, match="root_polarity of root 'r': must be binary, has 3 states"):
        _ = tree.root_polarity
