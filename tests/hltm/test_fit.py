"""Fitting: counts where all is seen, expected counts by enumeration where some is hidden, recovery within errors."""

import itertools
import math
from collections import Counter

import networkx as nx
import numpy as np
import pytest

import hltm
from hltm.base.errors import InputError
from hltm.fit import _Problem
from hltm.records import MISSING, check_records


def transitions(tree):
    return {edge[1]: tree.transition(*edge) for edge in tree.edges}


def relative(data, node, above=None):
    """Relative frequencies by loops over rows."""
    rows = range(len(data[node]))
    states = [int(max(data[n])) + 1 for n in ((above, node) if above is not None else (node,))]
    counts = np.zeros(states)
    for row in rows:
        counts[(data[above][row], data[node][row]) if above is not None else (data[node][row],)] += 1
    return counts / counts.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("cardinality", [2, (2, 4)])
def test_what_is_all_seen_has_its_frequencies(cardinality):
    tree = hltm.random_tree(4, 3, cardinality=cardinality)
    data = hltm.sample(tree, 3000, seed=1)
    fit = hltm.fit_parameters(tree, data)
    assert np.allclose(fit.tree.prior, relative(data, tree.root), atol=1e-14)
    for above, child in tree.edges:
        assert np.allclose(fit.tree.transition(above, child), relative(data, child, above), atol=1e-14)
    assert fit.converged
    assert len(fit.starts) == 1
    assert fit.latent == ()


def enumerated(tree, tables, records):
    """Expected counts and log-likelihood from all states of all nodes."""
    number = {node: k for k, node in enumerate(tree.nodes)}
    seen = {node: records.states[:, k] for k, node in enumerate(records.nodes)}
    total = {node: np.zeros_like(table) for node, table in tables.items()}
    value = 0.0
    for row, weight in enumerate(records.counts):
        cases = []
        for states in itertools.product(*(range(tree.cardinality(node)) for node in tree.nodes)):
            agree = all(column[row] in (MISSING, states[number[node]]) for node, column in seen.items())
            law = tables[tree.root][0][states[0]] * agree
            for above, child in tree.edges:
                law *= tables[child][states[number[above]], states[number[child]]]
            cases.append((law, states))
        mass = math.fsum(law for law, _ in cases)
        value += weight * math.log(mass)
        for law, states in cases:
            share = weight * law / mass
            total[tree.root][0, states[0]] += share
            for above, child in tree.edges:
                total[child][states[number[above]], states[number[child]]] += share
    return total, value


@pytest.mark.parametrize("some", [None, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_a_step_is_that_of_enumeration(smoothing, some):
    tree = hltm.random_tree(4, 8, cardinality=(2, 3))
    data = {leaf: states for leaf, states in hltm.sample(tree, 40, seed=2).items() if leaf in tree.leaves}
    data[tree.leaves[0]] = np.where(np.arange(40) % 5 == 0, MISSING, data[tree.leaves[0]])
    data[tree.latents[-1]] = np.where(np.arange(40) % 3 == 0, 1, MISSING)
    records = check_records(tree, data)
    problem = _Problem(tree, records, smoothing)
    problem.some = some or problem.some
    tables = {tree.root: tree.prior[None]} | transitions(tree)
    expected, value = enumerated(tree, tables, records)
    counts, found = problem.expectation(tables)
    assert found == pytest.approx(value, rel=1e-13)
    for node, own in expected.items():
        assert np.allclose(counts[node], own, atol=1e-11)
    fit = hltm.fit_parameters(tree, data, smoothing=smoothing, iterations=1, starts=1)
    prior = expected[tree.root][0] + smoothing
    assert np.allclose(np.sort(fit.tree.prior), np.sort(prior / prior.sum()))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_what_is_maximised_never_decreases(smoothing):
    tree = hltm.random_tree(5, 4, cardinality=(2, 3))
    states = hltm.sample(tree, 300, seed=3)
    fit = hltm.fit_parameters(
        tree, {leaf: states[leaf] for leaf in tree.leaves}, smoothing=smoothing, starts=3, iterations=60, seed=1
    )
    steps = np.diff(fit.history)
    assert len(steps) > 5
    assert (steps >= -1e-9 * abs(fit.history[0])).all()
    assert max(fit.starts) == fit.history[-1]


def test_a_latent_tree_is_recovered_within_its_errors():
    rho = 0.8
    tree = hltm.star_tree(4, polarity=rho, root_polarity=0.2)
    n = 40_000
    states = hltm.sample(tree, n, seed=5)
    flat = hltm.star_tree(4, polarity=0.1)
    fit = hltm.fit_parameters(flat, {leaf: states[leaf] for leaf in tree.leaves}, seed=6)
    assert fit.converged
    assert fit.latent == (0,)
    # A posterior that is never certain loses some information: twice the error of counts with a seen root.
    for leaf in tree.leaves:
        for row, truth in zip(fit.tree.transition(0, leaf), tree.transition(0, leaf), strict=True):
            assert abs(row[1] - truth[1]) < 2 * 6 * math.sqrt(0.09 / (0.4 * n))
    assert fit.tree.root_polarity == pytest.approx(0.2, abs=0.05)


def test_latent_states_are_ordered_by_the_first_child():
    tree = hltm.complete_tree(2, 2, polarity=-0.7)
    states = hltm.sample(tree, 2000, seed=1)
    for seed in range(3):
        fit = hltm.fit_parameters(
            tree, {leaf: states[leaf] for leaf in tree.leaves}, seed=seed, starts=2, iterations=30
        )
        for node in tree.latents:
            assert fit.tree.polarity(node, tree.children(node)[0]) >= 0


def test_a_latent_of_three_states_keeps_its_likelihood_when_it_is_ordered():
    tree = hltm.random_tree(4, 2, cardinality=3)
    states = hltm.sample(tree, 500, seed=2)
    data = {leaf: states[leaf] for leaf in tree.leaves}
    fit = hltm.fit_parameters(tree, data, starts=2, iterations=20, seed=3)
    again = hltm.fit_parameters(fit.tree, data, starts=1, iterations=1)
    assert again.history[0] == pytest.approx(fit.log_likelihood, rel=1e-12)
    for node in tree.latents:
        means = fit.tree.transition(node, tree.children(node)[0]) @ np.arange(3)
        assert (np.diff(means) >= 0).all()


def test_tables_that_exclude_the_data_are_left(small_graph):
    tree = hltm.star_tree(2, polarity=1, root_polarity=1)
    fit = hltm.fit_parameters(tree, {1: [0, 0, 1], 2: [0, 1, 1]}, starts=1)
    assert math.isfinite(fit.log_likelihood)
    assert fit.tree.transition(0, 1).min() >= 0


def test_names_missing_values_and_numbers_are_one_and_the_same():
    graph = nx.DiGraph()
    graph.add_node("sun", prior=[0.5, 0.5], states=["no", "NA"])
    graph.add_node("rain", states=["no", "yes"])
    graph.add_node("wet", cardinality=3)
    graph.add_edge("sun", "rain", polarity=0.5)
    graph.add_edge("sun", "wet", transition=[[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]])
    tree = hltm.HLTM(graph)
    texts = {"sun": ["no", "NA", None, "1"], "rain": ["yes", "NA", "?", ""], "wet": ["2", 0, 1, "1"]}
    numbers = {"sun": [0, 1, -1, 1], "rain": [1, -1, -1, -1], "wet": [2, 0, 1, 1]}
    first, second = (check_records(tree, data) for data in (texts, numbers))
    assert (first.states == second.states).all()
    assert (first.counts == second.counts).all()


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        ({}, {}, "data={}: must be a mapping"),
        ({1: [0]}, {}, "no observation of leaf 2"),
        ({1: [0, 1], 2: [-1, -1]}, {}, "no observation of leaf 2"),
        ({1: [0, 1], 2: [0]}, {}, "must have the same length, got 2 and 1"),
        ({1: [0, 2], 2: [0, 0]}, {}, r"data of node 1: must be in 0 ... 1, or -1 where missing, got 2 in row 1"),
        ({1: [[0]], 2: [0]}, {}, r"must have shape \(n,\), got \(1, 1\)"),
        ({1: [0.5], 2: [0]}, {}, "must be integers or names of states"),
        ({1: ["maybe"], 2: ["0"]}, {}, "state 'maybe' of node 1: .*; a missing value is empty, NA or ?"),
        ({9: [0]}, {}, "node 9: not a node"),
        ({1: [], 2: []}, {}, "must be integers or names of states|at least one observation"),
        ({1: [0], 2: [0]}, {"smoothing": -1}, "smoothing=-1: must not be negative"),
        ({1: [0], 2: [0]}, {"starts": 0}, "starts=0"),
        ({1: [0], 2: [0]}, {"tolerance": float("nan")}, "tolerance=nan: must be finite"),
    ],
)
def test_wrong_input(data, settings, message):
    with pytest.raises(InputError, match=message):
        hltm.fit_parameters(hltm.star_tree(2, 0.5), data, **settings)


def test_what_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr("hltm.fit.WORK_LIMIT", 10)
    with pytest.raises(InputError, match="2 distinct rows times the states of 3 nodes: must be at most 10, are 12"):
        hltm.fit_parameters(hltm.star_tree(2, 0.5), {1: [0, 1], 2: [0, 1]})
    monkeypatch.setattr("hltm.records.ENTRY_LIMIT", 3)
    with pytest.raises(InputError, match="must have at most 3 entries, has 4"):
        hltm.fit_parameters(hltm.star_tree(2, 0.5), {1: [0, 1], 2: [0, 1]})


# Chow and Liu


def information(one, other):
    """Mutual information by loops."""
    n, result = len(one), 0.0
    for (a, b), times in Counter(zip(one, other, strict=True)).items():
        both = times / n
        result += both * math.log(both / ((list(one).count(a) / n) * (list(other).count(b) / n)))
    return result


def test_the_tree_is_the_best_of_all_trees():
    tree = hltm.random_tree(3, 5, cardinality=(2, 3))
    states = hltm.sample(tree, 400, seed=4)
    names = list(tree.nodes)[:5]
    data = {f"v{k}": states[node].tolist() for k, node in enumerate(names)}
    fit = hltm.chow_liu(data)
    found = {frozenset(edge) for edge in fit.tree.edges}
    weight = {frozenset(pair): information(*(data[v] for v in pair)) for pair in itertools.combinations(data, 2)}
    best, edges = -1.0, set()
    for chosen in itertools.combinations(weight, len(data) - 1):
        if nx.is_tree(nx.Graph([tuple(pair) for pair in chosen])) and sum(map(weight.get, chosen)) > best:
            best, edges = sum(map(weight.get, chosen)), set(chosen)
    assert found == edges
    assert fit.tree.root == "v0"
    other = hltm.chow_liu(data, root="v2")
    assert other.tree.root == "v2"
    assert other.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-12)
    entropy = -sum(n * math.log(n / 400) for v in data.values() for n in np.unique(v, return_counts=True)[1])
    assert fit.log_likelihood == pytest.approx(400 * best - entropy, rel=1e-10)


def test_a_sampled_tree_is_found_again():
    tree = hltm.complete_tree(2, 2, polarity=0.6)
    fit = hltm.chow_liu(hltm.sample(tree, 5000, seed=1), root=0)
    assert {frozenset(edge) for edge in fit.tree.edges} == {frozenset(edge) for edge in tree.edges}


def test_missing_values_of_the_search():
    tree = hltm.star_tree(2, polarity=0.8)
    states = {str(node): values.astype(object) for node, values in hltm.sample(tree, 2000, seed=3).items()}
    states["2"][::4] = None
    fit = hltm.chow_liu(states, root="0")
    assert fit.tree.edges == (("0", "1"), ("0", "2"))
    assert fit.tree.polarity("0", "2") == pytest.approx(0.8, abs=0.1)
    assert fit.tree.states("2") == ("0", "1")


@pytest.mark.parametrize(
    ("data", "root", "message"),
    [
        ({"a": [0, 1]}, None, "must be a mapping of 2 to 512 variables to their values, got 1 variables"),
        ({"a": [0, 1], "b": [0, 0]}, None, "data of variable 'b': must have two values at least, has 1; leave it out"),
        ({"a": [0, 1], "b": ["x", None]}, None, "must have two values at least"),
        ({"a": [0, 1], "b": [0, 1, 0]}, None, "must have the same length, got 2 and 3"),
        ({"a": [0, 1], "b": [0, 1]}, "c", "root='c': must be a variable of the data"),
        ({"a": [0, 1], "b": [0, 300]}, None, "must have at most 256 values, has 301"),
        ({"a": [0, 1], "b": [0.5, 1]}, None, "must be integers or names of states"),
        ({"a": [0, 1], "b": [-2, 1]}, None, "or -1 where missing, got -2"),
    ],
)
def test_wrong_input_of_the_search(data, root, message):
    with pytest.raises(InputError, match=message):
        hltm.chow_liu(data, root)


@pytest.mark.parametrize("rho", [0.8, -0.8])
def test_states_with_names_are_matched_to_those_of_the_tree(rho):
    """Data sampled from a tree give its own laws under its own names, whatever their order is."""
    graph = nx.DiGraph()
    graph.add_node("h", prior=[0.3, 0.7], states=["high", "low"])
    for leaf in "xyz":
        graph.add_edge("h", leaf, polarity=rho)
    tree = hltm.HLTM(graph)
    states = hltm.sample(tree, 5000, seed=3)
    fit = hltm.fit_parameters(tree, {leaf: states[leaf] for leaf in "xyz"}, seed=1)
    assert fit.tree.states("h") == ("high", "low")
    assert fit.tree.polarity("h", "x") == pytest.approx(rho, abs=0.1)
    assert fit.tree.prior == pytest.approx([0.3, 0.7], abs=0.05)


def test_names_that_the_tree_does_not_tell_apart_are_lost():
    graph = nx.DiGraph()
    graph.add_node("h", prior=[0.3, 0.7], states=["high", "low"])
    for leaf in "xyz":
        graph.add_edge("h", leaf, polarity=0)
    tree = hltm.HLTM(graph)
    states = hltm.sample(hltm.star_tree(3, polarity=-0.8), 2000, seed=3)
    fit = hltm.fit_parameters(tree, {leaf: states[k] for leaf, k in zip("xyz", (1, 2, 3), strict=True)}, seed=1)
    assert fit.tree.states("h") == ("0", "1")
    assert fit.tree.polarity("h", "x") >= 0
