"""Exact laws against enumeration of all nodes in rational arithmetic, on random trees with zeros."""

from fractions import Fraction

import hypothesis.strategies as st
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings

import hltm
from hltm import exact as listing

EPS = 2.0**-52
SEARCH = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@st.composite
def laws(draw, states):
    weights = draw(st.lists(st.integers(0, 4), min_size=states, max_size=states).filter(any))
    return [Fraction(weight, sum(weights)) for weight in weights]


@st.composite
def rational_graphs(draw):
    """Trees of 2 to 6 nodes, 2 or 3 states each, rational entries, zeros among them, some polarities."""
    size = draw(st.integers(2, 6))
    states = draw(st.lists(st.integers(2, 3), min_size=size, max_size=size))
    graph = nx.DiGraph()
    graph.add_node(0, prior=draw(laws(states[0])), cardinality=states[0])
    for child in range(1, size):
        parent = draw(st.integers(0, child - 1))
        graph.add_node(child, cardinality=states[child])
        if states[parent] == states[child] == 2 and draw(st.booleans()):
            graph.add_edge(parent, child, polarity=Fraction(draw(st.integers(-4, 4)), 4))
        else:
            graph.add_edge(parent, child, transition=[draw(laws(states[child])) for _ in range(states[parent])])
    return graph


@st.composite
def graphs_with_evidence(draw):
    graph = draw(rational_graphs())
    nodes = draw(st.sets(st.sampled_from(sorted(graph))))
    return graph, {v: draw(st.integers(0, graph.nodes[v]["cardinality"] - 1)) for v in sorted(nodes)}


def close(value, exact, nodes):
    """Sums of products of positive numbers: each operation adds at most one unit of relative error."""
    return abs(Fraction(float(value)) - exact) <= Fraction(32 * nodes * EPS) * exact


def assert_law(array, law, nodes):
    array = np.asarray(array)
    assert array.size == len(law)
    for states, exact in law.items():
        assert close(array[states], exact, nodes), (states, array[states], exact)


@SEARCH
@given(case=graphs_with_evidence())
def test_joint_law_of_the_leaves(brute_force, case):
    graph, evidence = case
    tree, oracle = hltm.HLTM(graph), brute_force(graph)
    assert list(tree.leaves) == oracle.leaves
    law = oracle.law(oracle.leaves, evidence)
    if law is None:
        for function in (hltm.leaf_distribution, hltm.rational_leaf_distribution, hltm.marginals):
            with pytest.raises(hltm.InputError, match="probability zero"):
                function(tree, evidence)
        with pytest.raises(hltm.InputError, match="probability zero"):
            hltm.posterior(tree, tree.leaves[0], evidence)
        return
    assert hltm.rational_leaf_distribution(tree, evidence) == law
    joint = hltm.leaf_distribution(tree, evidence)
    assert joint.shape == tuple(tree.cardinality(leaf) for leaf in tree.leaves)
    assert_law(joint, law, len(tree))
    assert [tuple(row) for row in hltm.enumerate_leaves(tree).tolist()] == list(law)


@SEARCH
@given(case=graphs_with_evidence())
def test_law_of_each_node(brute_force, case):
    graph, evidence = case
    tree, oracle = hltm.HLTM(graph), brute_force(graph)
    if oracle.law([], evidence) is None:
        return  # refused: asserted by the test of the joint law, whose search meets the same cases
    laws = hltm.marginals(tree, evidence)
    assert list(laws) == list(tree.nodes)
    for node in tree.nodes:
        exact = oracle.law([node], evidence)
        assert_law(laws[node], exact, len(tree))
        assert_law(hltm.posterior(tree, node, evidence), exact, len(tree))


@SEARCH
@given(graph=rational_graphs())
def test_tables_from_the_root(brute_force, graph):
    tree, oracle = hltm.HLTM(graph), brute_force(graph)
    tables, leaf_table = hltm.root_transitions(tree), hltm.leaf_table(tree)
    for state, weight in enumerate(graph.nodes[0]["prior"]):
        if weight:
            for node in tree.nodes:
                exact = oracle.law([node], {0: state})
                assert_law(tables[node][state], exact, len(tree))
                assert_law(tree.transition(0, node)[state], exact, len(tree))
            joint = hltm.leaf_distribution(tree, {0: state})
            assert_law(joint, oracle.law(oracle.leaves, {0: state}), len(tree))
            assert np.abs(leaf_table[state] - joint.ravel()).max() <= 32 * len(tree) * EPS
        assert abs(leaf_table[state].sum() - 1) <= 32 * leaf_table.shape[1] * EPS


@SEARCH
@given(graph=rational_graphs(), drop_zero=st.booleans())
def test_leaf_population(brute_force, graph, drop_zero):
    tree, oracle = hltm.HLTM(graph), brute_force(graph)
    prior = graph.nodes[0]["prior"]
    states = [state for state, weight in enumerate(prior) if weight or not drop_zero]
    population = hltm.leaf_population(tree, drop_zero=drop_zero)
    count = int(np.prod([tree.cardinality(leaf) for leaf in tree.leaves]))
    assert population.points.shape == (len(states), count, len(tree.leaves))
    assert population.point_weights.shape == (len(states),)
    assert population.augmentation_weights.shape == (len(states), count)
    assert {a.dtype for a in vars(population).values()} == {np.dtype(np.float64)}
    for m, state in enumerate(states):
        assert close(population.point_weights[m], prior[state], 1)
        law = oracle.law(oracle.leaves, {0: state})
        for point, weight in zip(population.points[m], population.augmentation_weights[m], strict=True):
            if law is not None:
                assert close(weight, law[tuple(point)], len(tree))


@SEARCH
@given(case=graphs_with_evidence(), seed=st.integers(0, 2**32 - 1))
def test_many_cases_at_once(case, seed):
    tree = hltm.HLTM(case[0])
    states = hltm.sample(tree, 5, seed=seed)
    evidence = {node: states[node] for node in case[1]}
    together = hltm.marginals(tree, evidence)
    for i in range(5):
        single = hltm.marginals(tree, {node: int(value[i]) for node, value in evidence.items()})
        for node in tree.nodes:
            batched = together[node][i] if evidence else together[node]
            assert np.abs(batched - single[node]).max() <= 32 * len(tree) * EPS, f"seed {seed}"


@pytest.mark.parametrize("seed", range(5))
def test_root_polarities_are_differences_of_conditional_means(brute_force, seed):
    tree = hltm.random_tree(4, seed=seed)
    oracle, rho = brute_force(tree.graph), hltm.root_polarities(tree)
    assert list(rho) == list(tree.nodes)
    for node in tree.nodes:
        exact = oracle.law([node], {tree.root: 1})[(1,)] - oracle.law([node], {tree.root: 0})[(1,)]
        # Differences of entries of at most 1: absolute, one unit for each operation on the path.
        assert abs(Fraction(rho[node]) - exact) <= Fraction(16 * len(tree) * EPS), f"seed {seed}, node {node}"
        assert rho[node] == tree.polarity(tree.root, node)


def test_rational_law_of_float_rows_sums_to_one_exactly():
    tree = hltm.random_tree(4, seed=0, cardinality=(2, 3))
    law = hltm.rational_leaf_distribution(tree)
    assert sum(law.values()) == 1
    joint = hltm.leaf_distribution(tree)
    assert all(close(joint[states], weight, len(tree)) for states, weight in law.items())


def test_star_with_thousands_of_leaves_does_not_underflow():
    tree = hltm.star_tree(4096, polarity=0.5)
    half = {leaf: leaf % 2 for leaf in tree.leaves}
    assert hltm.posterior(tree, 0, half) == pytest.approx([0.5, 0.5], rel=4096 * 4 * EPS)
    laws = hltm.marginals(tree, half | {1: 0})  # now two more zeros than ones: odds 9 to 1
    assert laws[0] == pytest.approx([0.9, 0.1], rel=4096 * 4 * EPS)
    assert laws[1].tolist() == [1.0, 0.0]


def test_too_large_to_list():
    tree = hltm.complete_tree(5, 2, 0.5)
    for function in (hltm.leaf_distribution, hltm.leaf_table, hltm.enumerate_leaves, hltm.leaf_population):
        with pytest.raises(hltm.InputError) as caught:
            function(tree)
        for part in ("32 leaves", "at most 4,194,304 leaf", "has 4,294,967,296", "sample", "message passing"):
            assert part in str(caught.value)
        assert str(caught.value).startswith(f"{function.__name__} of a tree with 32 leaves")
    with pytest.raises(hltm.InputError, match=r"has about 10\^1233"):
        hltm.leaf_distribution(hltm.complete_tree(12, 2, 0.5))
    with pytest.raises(hltm.InputError, match="at most 65,536 leaf configurations, has 131,072"):
        hltm.rational_leaf_distribution(hltm.star_tree(17, 0.5))
    with pytest.raises(hltm.InputError, match="at most 33,554,432 coordinates, has 41,943,040"):
        hltm.leaf_population(hltm.star_tree(20, 0.5))


def test_a_node_with_many_states_is_counted():
    graph = nx.DiGraph()
    graph.add_node("r", prior=[1 / 64] * 64, cardinality=64)
    for leaf in range(20):
        graph.add_edge("r", leaf, transition=[[0.5, 0.5]] * 64)
    with pytest.raises(hltm.InputError, match=r"at node 'r': .* at most 16,777,216, is 67,108,864"):
        hltm.leaf_distribution(hltm.HLTM(graph))


def test_limits_are_the_largest_that_is_allowed(monkeypatch):
    """A star of 3 binary leaves: 8 configurations, 16 with the states of the root."""
    tree = hltm.star_tree(3, 0.5)
    assert listing.leaf_configurations(tree, "test", limit=8) == 8
    with pytest.raises(hltm.InputError, match="at most 7 leaf configurations, has 8"):
        listing.leaf_configurations(tree, "test", limit=7)
    monkeypatch.setattr(listing, "WORK_LIMIT", 16)
    assert hltm.leaf_table(tree).shape == (2, 8)
    monkeypatch.setattr(listing, "WORK_LIMIT", 15)
    with pytest.raises(hltm.InputError, match="at most 15, is 16"):
        hltm.leaf_table(tree)


@pytest.mark.parametrize(("leaves", "written"), [(23, "100,000,000,000,000,000,000,000"), (24, r"about 10\^24")])
def test_numbers_of_configurations_are_written_out_below_24_digits(leaves, written):
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.5, 0.5])
    for leaf in range(leaves):
        graph.add_node(leaf, cardinality=10)
        graph.add_edge("r", leaf, transition=[[0.1] * 10] * 2)
    with pytest.raises(hltm.InputError, match=f"has {written};"):
        listing.leaf_configurations(hltm.HLTM(graph), "test")


def test_evidence_along_a_long_chain_does_not_underflow():
    """1,500 known nodes of probability 1/4 each: only the last of them matters to the leaf."""
    graph = nx.DiGraph()
    graph.add_node(0, prior=[0.5, 0.5])
    graph.add_edges_from(((node, node + 1) for node in range(1500)), polarity=0.5)
    law = hltm.leaf_distribution(hltm.HLTM(graph), {node: node % 2 for node in range(1500)})
    assert law.tolist() == [0.25, 0.75]


BAD_EVIDENCE = {
    "state-above": ({1: 2}, "evidence of node 1: states must lie in 0 ... 1, got 2"),
    "state-below": ({1: -1}, "evidence of node 1: states must lie in 0 ... 1, got -1"),
    "float": ({1: 1.0}, "evidence of node 1: must be an integer or an integer array"),
    "bool": ({1: True}, "evidence of node 1: must be an integer"),
    "text": ({1: "1"}, "evidence of node 1: must be an integer"),
    "none": ({1: None}, "evidence of node 1: must be an integer"),
    "ragged": ({1: [[0], [0, 1]]}, "evidence of node 1: must be an integer"),
    "matrix": ({1: [[0, 1]]}, "evidence of node 1: must be an integer"),
    "list": ([1], "evidence=[1]: must be a mapping of nodes to states, got list"),
}


@pytest.mark.parametrize("case", BAD_EVIDENCE)
@pytest.mark.parametrize("function", [hltm.leaf_distribution, hltm.marginals, hltm.rational_leaf_distribution])
def test_bad_evidence(function, case):
    evidence, message = BAD_EVIDENCE[case]
    with pytest.raises(hltm.InputError) as caught:
        function(hltm.star_tree(2, 0.5), evidence)
    assert message in str(caught.value)


def test_bad_evidence_in_batches():
    tree = hltm.star_tree(2, 1.0)
    with pytest.raises(hltm.InputError, match="nodes 1 and 2: must have the same length, got 2 and 3"):
        hltm.marginals(tree, {1: [0, 1], 2: [0, 0, 0]})
    with pytest.raises(hltm.InputError, match="evidence of case 1: must not have probability zero"):
        hltm.marginals(tree, {1: [0, 1], 2: [0, 0]})
    for function in (hltm.leaf_distribution, hltm.rational_leaf_distribution):
        with pytest.raises(hltm.InputError, match=r"node 1: must be one integer, got shape \(2,\)"):
            function(tree, {1: [0, 1]})
