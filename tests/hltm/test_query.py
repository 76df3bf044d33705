"""Laws of nodes in rationals, against enumeration of all nodes; sizes that are refused before any work."""

from fractions import Fraction

import networkx as nx
import pytest

import hltm
from hltm import query
from hltm.base.errors import InputError


def tree_of(seed):
    graph = nx.DiGraph(hltm.random_tree(4, seed, cardinality=(2, 3)).graph)
    root = next(node for node in graph if not graph.in_degree(node))
    graph.nodes[root]["prior"] = rounded(graph.nodes[root]["prior"])
    for _, _, data in graph.edges(data=True):
        data["transition"] = [rounded(row) for row in data["transition"]] if "transition" in data else None
        if data["transition"] is None:
            del data["transition"]
    return hltm.HLTM(graph)


def rounded(row):
    """Fractions of small denominators that sum to one; the first state of some rows is impossible."""
    parts = [round(20 * float(value)) for value in row]
    return [Fraction(part, sum(parts)) for part in parts]


@pytest.mark.parametrize("seed", range(6))
def test_laws_are_those_of_enumeration(seed, brute_force):
    tree = tree_of(seed)
    oracle = brute_force(tree.graph)
    leaves = tree.leaves
    for known in (
        {},
        {leaves[0]: 1},
        {leaves[0]: 0, leaves[-1]: 1},
        {tree.latents[-1]: 1, leaves[1]: 0},
        {tree.root: 0},
    ):
        expected = {node: oracle.law([node], known) for node in tree.nodes}
        if expected[tree.root] is None:
            with pytest.raises(InputError, match="must not have probability zero"):
                hltm.rational_marginals(tree, known)
            continue
        laws = hltm.rational_marginals(tree, known)
        for node, law in laws.items():
            assert {(state,): value for state, value in enumerate(law)} == expected[node]
            assert hltm.rational_marginals(tree, known, [node]) == {node: law}


def test_floats_are_the_rationals_that_they_are():
    graph = nx.DiGraph()
    graph.add_node(0, prior=[0.5, 0.5])
    graph.add_edge(0, 1, transition=[[0.9, 0.1], [0.3, 0.7]])
    low, high = Fraction(0.3), Fraction(0.7)
    assert hltm.rational_marginals(hltm.HLTM(graph), {0: 1}, [1])[1] == (low / (low + high), high / (low + high))


def test_a_deep_tree_is_exact_and_a_huge_one_refused(monkeypatch):
    tree = hltm.caterpillar_tree(200, Fraction(1, 2))
    known = dict.fromkeys(tree.leaves, 1)
    law = hltm.rational_marginals(tree, known, [tree.root])[tree.root]
    assert sum(law) == 1
    assert abs(float(law[1]) - hltm.posterior(tree, tree.root, known)[1]) < 1e-12
    monkeypatch.setattr(query, "BIT_LIMIT", 1000)
    monkeypatch.setattr(query, "_upwards", lambda *_: pytest.fail("worked first"))
    with pytest.raises(InputError, match=r"exact laws of 1 nodes .* must take at most 1,000 bits, take about"):
        hltm.rational_marginals(tree, known, [0])


@pytest.mark.parametrize(
    ("evidence", "message"),
    [({9: 0}, "node 9: not a node"), ({1: 2}, "states must lie in 0 ... 1"), ({1: [0, 1]}, "must be one integer")],
)
def test_wrong_evidence(evidence, message):
    with pytest.raises(InputError, match=message):
        hltm.rational_marginals(hltm.star_tree(2, 0.5), evidence)
