"""The data of every figure against computations that share no code with it."""

import itertools
import json
import math
import re

import numpy as np
import pytest
import torch
from scipy import stats

import hltm
from verify import theorem7
from verify.engine.statement import Context
from verify.figures.drawing import DRAWINGS, render
from verify.registry import REGISTRY
from verify.towers.tower import array, rational
from verify.training import figures as trees
from verify.training import lucky as lucky_sources
from verify.training.trees import connection_gap
from verify.trees.agreement import tree_population_of
from verify.trees.enumeration import Enumeration
from verify.two_layer import samples as two_layer_sources
from verify.two_layer.measures import mean_gap

CONTEXT = Context(seed=3)


def computed():
    return {entry.theorem: entry.load().figures(CONTEXT) for entry in REGISTRY}


@pytest.fixture(scope="module")
def figures():
    return {data.name: data for several in computed().values() for data in several}


def rows(data, *names):
    return list(zip(*(data.columns[name] for name in names), strict=True))


def test_every_statement_has_figures_of_its_own(figures):
    assert len(figures) == 9
    assert set(DRAWINGS) - {"lines"} == {data.kind for data in figures.values()}
    for data in figures.values():
        assert re.search(r"\d", data.caption), data.name
        assert f"--seed {CONTEXT.seed}" in data.command
        assert data.title
        assert data.alt


def test_the_same_seed_gives_the_same_data(figures):
    again = [data for several in computed().values() for data in several]
    assert {data.name: data for data in again} == figures


def test_another_seed_gives_other_data(figures):
    statement = next(entry for entry in REGISTRY if entry.theorem == 3).load()
    (other,) = statement.figures(Context(seed=4))
    assert other.columns != figures[other.name].columns


def test_all_files_are_small(figures):
    sizes = [len(content) for data in figures.values() for content in render(data).values()]
    assert sum(sizes) < 3_000_000


def fitted(series):
    """Slope of log y on log x beside a term linear in x: by Frisch, Waugh and Lovell with single regressions."""
    x, y = np.array(series).T

    def without(values):
        line = stats.linregress(x, values)
        return values - line.intercept - line.slope * x

    return stats.linregress(without(np.log(x)), without(np.log(y))).slope


def by_member(data, name, x, y):
    found = {}
    for series, member, *point in rows(data, "series", "member", x, y):
        if series == name:
            found.setdefault(member, []).append(point)
    return list(found.values())


def student(values, level):
    return stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))


@pytest.mark.parametrize(("name", "order"), [("r between augmentation means", 2), ("r between unaugmented points", 1)])
def test_orders_of_the_residue_are_those_of_its_columns(figures, name, order):
    data = figures["residue-orders"]
    slopes = [fitted(points) for points in by_member(data, name, "spread", "theta")]
    assert len(slopes) == data.facts["populations"] == 9
    assert np.mean(slopes) == pytest.approx(data.facts[f"order, {name}"], abs=1e-9)
    low, high = student(slopes, data.facts["level"])
    assert (low, high) == pytest.approx(
        (data.facts[f"order, {name}, low"], data.facts[f"order, {name}, high"]), abs=1e-9
    )
    assert data.facts[f"order, {name}, stated"] == order
    assert abs(np.mean(slopes) - order) < 0.001


@pytest.mark.parametrize("name", ["initial weights", "trained weights"])
def test_the_slope_of_minibatch_errors_is_that_of_one_regression_over_all(figures, name):
    data = figures["minibatch-error"]
    members = by_member(data, name, "batch", "error")
    assert len(members) == data.facts["minibatches at each B"]
    b, error = np.log(np.array(members).reshape(-1, 2)).T
    assert stats.linregress(b, error).slope == pytest.approx(data.facts[f"order, {name}"], abs=1e-12)
    slopes = [stats.linregress(*np.log(points).T).slope for points in members]
    low, high = student(slopes, data.facts["level"])
    assert (low, high) == pytest.approx(
        (data.facts[f"order, {name}, low"], data.facts[f"order, {name}, high"]), abs=1e-12
    )
    assert abs(np.mean(slopes) + 0.5) < 0.1


def test_operator_and_spectrum_are_those_of_the_enumeration(figures):
    data = figures["operator"]
    instance = trees.operator_instance(CONTEXT.seed)
    node = next(node for node in instance.tree.latents if str(node) == data.facts["node"])
    exact = Enumeration(instance).operator(node)
    oracle = np.array([[int(e.p) / int(e.q) for e in row] for row in exact])
    allowed = data.facts["rounding explains"]
    for side, bound in (("derived", np.finfo(float).eps * np.abs(oracle).max()), ("measured", allowed)):
        entries = {
            (r, c): v
            for s, q, r, c, v in rows(data, "side", "quantity", "row", "column", "value")
            if (s, q) == (side, "entry")
        }
        assert len(entries) == oracle.size
        assert max(abs(value - oracle[place]) for place, value in entries.items()) <= bound
        values = [v for s, q, v in rows(data, "side", "quantity", "value") if (s, q) == (side, "eigenvalue")]
        assert sorted(values) == pytest.approx(np.linalg.eigvalsh(oracle).tolist(), abs=allowed)
        assert np.linalg.matrix_rank(oracle, tol=allowed) <= data.facts["rank at most"]


def test_rings_begin_where_rationals_say_and_linear_ones_are_never_apart(figures):
    data = figures["ring"]
    runs = data.facts["networks for each loss"]
    cases = list(two_layer_sources.rings(CONTEXT.seed + 6, (data.facts["positions"],) * runs, 0.0))
    starts = {
        (loss, run): d
        for loss, kind, run, time, d in rows(data, "loss", "neurons", "run", "time", "distance")
        if kind == "ReLU" and time == 0
    }
    assert len(starts) == 2 * runs
    for (_, run), distance in starts.items():
        gap = mean_gap(cases[run], [array(w, rational) for w in cases[run].weights])
        assert distance == pytest.approx(math.sqrt(int(gap.p) / int(gap.q)), rel=1e-12)
    linear = [d for kind, d in rows(data, "neurons", "distance") if kind == "linear"]
    assert (
        0 <= max(linear) == data.facts["largest distance of linear neurons"] < data.facts["rounding explains"] < 1e-12
    )
    grown = 0
    for key in starts:
        path = [
            d
            for loss, kind, run, d in rows(data, "loss", "neurons", "run", "distance")
            if ((loss, run), kind) == (key, "ReLU")
        ]
        grown += path[-1] > 10 * path[0]
    assert grown == data.facts["ReLU runs that grow tenfold"] == data.facts["ReLU runs"]


def test_pair_weights_are_those_of_the_paper(figures):
    tau, margin = 0.5, 1.0
    closed = {
        "simple": lambda r: 1.0,
        "soft": lambda r: 1 / (1 + math.exp(-(margin - r) / tau)),
        "InfoNCE": lambda r: math.exp(-r / tau) / (1 + math.exp(-r / tau)),
    }
    data = figures["pair-weights"]
    for loss, r, value in rows(data, "loss", "r", "value"):
        assert value == pytest.approx(closed[loss.replace(",", "").split()[0]](r), rel=1e-13)
    assert set(data.columns["quantity"]) == {"xi", "dL/dr_+", "-dL/dr_-"}


def test_false_variants_stand_apart_from_the_statement(figures):
    data = figures["dual-gradient-separation"]
    ratios = {}
    for claim, residual, tolerance, ratio in rows(data, "claim", "residual", "tolerance", "ratio"):
        assert ratio == residual / tolerance
        ratios.setdefault(claim, []).append(ratio)
    stated = ratios.pop("the statement")
    assert max(stated) == data.facts["largest ratio of the statement"] < 1
    assert len(ratios) == 8
    assert all(max(found) > 1e6 for found in ratios.values())


def test_rank_correlations_of_lucky_neurons_are_spearmans(figures):
    data = figures["lucky-neurons"]
    table = np.array(rows(data, "network", "gap", "start", "end"), dtype=float)
    members = [table[table[:, 0] == member][:, 1:] for member in range(data.facts["networks"])]
    for name, of in (("final selectivity", lambda t: t[:, 2]), ("growth", lambda t: t[:, 2] - t[:, 1])):
        found = [stats.spearmanr(t[:, 0], of(t)).statistic for t in members]
        assert np.mean(found) == pytest.approx(data.facts[f"rank correlation, {name}"], abs=1e-9)
        low, high = student(found, data.facts["level"])
        assert (low, high) == pytest.approx(
            [data.facts[f"rank correlation, {name}, {end}"] for end in ("low", "high")], abs=1e-9
        )


def test_initial_gaps_are_twice_the_weights_times_a(figures):
    """Both groups read two leaves, for which s = 1/2: g_j = w_j^T rho."""
    data = figures["lucky-neurons"]
    tree = lucky_sources.training_trees()["two groups"]
    start = lucky_sources.trained_networks(tree, theorem7.plan(CONTEXT)).networks[0]
    expected = np.concatenate(
        [
            start.matrix(node).numpy() @ [tree.polarity(node, leaf) for leaf in tree.children(node)]
            for node in ("a", "b")
        ],
        axis=1,
    )
    assert np.array(data.columns["gap"]) == pytest.approx(expected.ravel(), abs=1e-13)


@pytest.fixture(scope="module")
def trace():
    return trees.trained(CONTEXT)


def weighted_correlation(values, states, law):
    covariance = np.cov(np.stack([values, states]), aweights=law, bias=True)
    spread = covariance[0, 0] * covariance[1, 1]
    return abs(covariance[0, 1]) / math.sqrt(spread) if covariance[0, 0] > 1e-20 else 0.0


def joint(tree, node, rows_of_leaves):
    """States of a node and probabilities, over all configurations of the leaves twice."""
    share = hltm.marginals(tree)[node]
    laws = [hltm.leaf_distribution(tree, {node: state}).ravel() for state in (0, 1)]
    states = np.repeat([0.0, 1.0], len(rows_of_leaves))
    return states, np.concatenate([p * law for p, law in zip(share, laws, strict=True)])


def test_correlations_of_the_tree_are_those_over_all_leaves(figures, trace):
    data, tree = figures["tree-correlation"], trace.network.tree
    leaves = hltm.enumerate_leaves(tree)
    points = torch.as_tensor(leaves, dtype=torch.float64)
    last = trace.network
    drawn = {repr(node): node for node in tree.nodes}
    for name, after, ceiling in rows(data, "node", "after", "ceiling"):
        node = drawn[name]
        if after is None:
            assert not tree.children(node)
            continue
        outputs = last.forward(points) if node == tree.root else last.activations(points)[node]
        states, law = joint(tree, node, leaves)
        best = [
            max(weighted_correlation(np.tile(column, 2), states, law) for column in one.T) for one in outputs.numpy()
        ]
        assert np.mean(best) == pytest.approx(after, abs=1e-12)
        assert max(best) <= ceiling + 1e-12
    edges = {(parent, name): polarity for name, parent, polarity in rows(data, "node", "parent", "polarity") if parent}
    assert edges == {(repr(a), repr(b)): tree.polarity(a, b) for a, b in tree.edges}


def test_norms_along_training_are_those_of_the_connections(figures, trace):
    data, tree = figures["training-by-level"], trace.network.tree
    population = tree_population_of(trace.network)
    depth = {node: len(tree.path(tree.root, node)) - 1 for node in tree.latents}
    for step, network in itertools.islice(trace.networks(), 0, None, 10):
        gap, _ = connection_gap(network, population)
        share = (1 - tree.root_polarity**2) / 4
        norms = {node: np.array([np.linalg.norm(share * one @ one.T) for one in gap[node]]) for node in tree.latents}
        for quantity, level, at, *shown in rows(data, "quantity", "level", "step", "median", "lower", "upper"):
            if (quantity, at) != ("norm", step):
                continue
            means = np.mean([norms[node] for node in tree.latents if depth[node] == 3 - level], axis=0)
            assert shown == pytest.approx(np.percentile(means, (50, 25, 75)).tolist(), rel=1e-9)


def test_facts_are_plain_json(figures):
    for data in figures.values():
        assert json.loads(json.dumps(dict(data.facts))) == data.facts
