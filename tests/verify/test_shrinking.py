"""The public strategies shrink structurally: ten planted bugs, each down to the smallest instance that shows it."""

import random
from functools import partial

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import hltm
import verify.strategies  # registers the types
from verify import LossInstance, Measurement, PairInstance, PopulationInstance, TreeInstance
from verify.engine.search import deepening

SETTINGS = hypothesis.settings(
    max_examples=500, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)


def edge(prior=(0.5, 0.5), **attributes):
    """An edge from r to a."""
    return {
        "nodes": [("r", 2, list(prior)), ("a", 2, None)],
        "edges": [("r", "a", attributes or {"polarity": 0.0})],
    }


CHAIN = {
    "nodes": [("r", 2, [0.5, 0.5]), ("a", 2, None), ("b", 2, None)],
    "edges": [("r", "a", {"polarity": 0.0}), ("a", "b", {"polarity": 0.0})],
}
THREE = {
    "nodes": [("r", 3, [0.25, 0.25, 0.5]), ("a", 2, None)],
    "edges": [("r", "a", {"transition": [[0.5, 0.5]] * 3})],
}
POPULATION = {
    "slope": 1.0, "weights": [[[0.0]]], "points": [[[0.0]]], "point_weights": [1.0],
    "augmentation_weights": [[1.0]], "loss": "simple", "parameters": {},
}  # fmt: skip
PAIR = {"slope": 1.0, "weights_1": [[[0.0]]], "weights_2": [[[0.0]]], "x_1": [0.0], "x_2": [0.0]}


def binary(tree, u, v):
    return tree.cardinality(u) == tree.cardinality(v) == 2


# What is wrong, of which type, when, and the smallest instance that shows it.
BUGS = {
    "a second latent": (hltm.HLTM, lambda tree: len(tree.latents) >= 2, CHAIN),
    "a negative polarity": (
        hltm.HLTM,
        lambda tree: any(binary(tree, u, v) and tree.polarity(u, v) < 0 for u, v in tree.edges),
        edge(polarity=-0.125),
    ),
    "a root polarity": (
        hltm.HLTM,
        lambda tree: tree.cardinality(tree.root) == 2 and tree.prior[0] != tree.prior[1],
        edge(prior=(0.25, 0.75)),
    ),
    "three states of the root": (hltm.HLTM, lambda tree: tree.cardinality(tree.root) == 3, THREE),
    "width two": (
        PairInstance,
        lambda i: i.size[1] >= 2,
        {**PAIR, "weights_1": [[[0.0], [0.0]]], "weights_2": [[[0.0], [0.0]]]},
    ),
    "ReLU": (PairInstance, lambda i: i.slope == 0, {**PAIR, "slope": 0.0}),
    "two points": (
        PopulationInstance,
        lambda i: len(i.points) >= 2,
        {**POPULATION, "points": [[[0.0]]] * 2, "point_weights": [0.5, 0.5], "augmentation_weights": [[1.0]] * 2},
    ),
    "two augmentations": (
        PopulationInstance,
        lambda i: len(i.points[0]) >= 2,
        {**POPULATION, "points": [[[0.0], [0.0]]], "augmentation_weights": [[0.5, 0.5]]},
    ),
    "two negatives": (
        LossInstance,
        lambda i: len(i.r_neg) >= 2,
        {"loss": "infonce", "parameters": {"negatives": 2, "tau": 1.0}, "r_pos": 0.0, "r_neg": [0.0, 0.0]},
    ),
    "a small temperature": (
        LossInstance,
        lambda i: i.options.get("tau", 1.0) <= 0.25,
        {"loss": "triplet", "parameters": {"margin": 0.0, "tau": 0.25}, "r_pos": 0.0, "r_neg": [0.0]},
    ),
}


def plain(instance):
    """An instance as data that can be compared."""
    if not isinstance(instance, hltm.HLTM):
        return instance.as_json()
    document = hltm.tree_to_json(instance)
    nodes = [(node["id"], node.get("cardinality", 2), node.get("prior")) for node in document["nodes"]]
    edges = [(e.pop("source"), e.pop("target"), e) for e in document["edges"]]
    return {"nodes": nodes, "edges": edges}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_shrink_to_the_smallest_instance(bug, seed):
    kind, wrong, smallest = BUGS[bug]
    found = hypothesis.find(st.from_type(kind), wrong, settings=SETTINGS, random=random.Random(seed))
    assert plain(found) == smallest


def forward(weights, x, slope, gated=True):
    """A tower; without gates it is linear."""
    for number, w in enumerate(weights, start=1):
        x = np.asarray(w) @ x
        if gated and number < len(weights):
            x = np.where(x > 0, x, slope * x)
    return x


def gates_ignored(i):
    """A tower that leaves its gates open."""
    x = np.array(i.x_1)
    return not np.allclose(forward(i.weights_1, x, i.slope), forward(i.weights_1, x, i.slope, gated=False))


def unweighted_mean(i):
    """Plain means over the points in place of weighted ones, seen in the spread of the first outputs."""
    means = np.array([
        np.array(q) @ np.array([forward(i.weights, np.array(x), i.slope)[0] for x in points])
        for points, q in zip(i.points, i.augmentation_weights, strict=True)
    ])  # fmt: skip
    p = np.array(i.point_weights)
    return not np.isclose(p @ means**2 - (p @ means) ** 2, np.var(means))


def first_power(tree):
    """rho in place of rho^2 in o_mu = rho_{0 mu}^2 (1 - rho_0^2), at a latent below the root."""
    rho_0 = tree.prior[1] - tree.prior[0] if tree.cardinality(tree.root) == 2 else 1.0
    below = [v for v in tree.latents if v != tree.root and tree.cardinality(v) == 2 and tree.parent(v) == tree.root]
    rho = [tree.polarity(tree.root, v) for v in below if tree.cardinality(tree.root) == 2]
    return any(abs(r * (1 - rho_0**2) - r**2 * (1 - rho_0**2)) > 1e-9 for r in rho)


def nearest_only(i):
    """InfoNCE that keeps the nearest negative alone: wrong by more than 0.05 only where a second one is near too."""
    tau = i.options.get("tau", 1.0)
    logits = [(i.r_pos - r) / tau for r in i.r_neg]
    return np.logaddexp.reduce([0.0, *logits]) - np.logaddexp(0.0, max(logits)) > 0.05


def entries(weights):
    return [value for w in weights for row in w for value in row]


PAIRS = [partial(verify.strategies.pair_instances, layers, width) for layers, width in ((1, 1), (2, 1), (2, 2), (3, 3))]
POPULATIONS = [
    partial(verify.strategies.population_instances, max_layers=1, max_width=1, max_points=2, max_augmentations=1),
    partial(verify.strategies.population_instances, max_layers=1, max_width=2, max_points=2),
    verify.strategies.population_instances,
]
TREES = [partial(verify.strategies.trees, nodes) for nodes in (2, 3, 4, 5, 6)]

# Bugs that need structure and numbers together. A single strategy shrinks the numbers of the structure that it happened
# to fail on; searched stage by stage, as statements are, what is found is as small in both as the bug allows.
COUPLED = {
    "gates ignored": (
        PAIRS,
        gates_ignored,
        # Two layers of one neuron, a closed gate, and numbers that are not zero where they are multiplied.
        lambda i: i.size == (2, 1) and all(entries(i.weights_1)) and not any(entries(i.weights_2)) and i.x_2 == (0.0,),
    ),
    "points not weighted": (
        POPULATIONS,
        unweighted_mean,
        # Two points of different probability, one augmentation, one weight; one point stays at zero.
        lambda i: np.shape(i.points) == (2, 1, 1) and i.size == (1, 1) and np.count_nonzero(i.points) == 1,
    ),
    "first power of the polarity": (
        TREES,
        first_power,
        # Root, latent, leaf; the edge to the leaf plays no part.
        lambda t: len(t.nodes) == 3 and len(t.latents) == 2 and t.polarity(*t.edges[1]) == 0,
    ),
    "the nearest negative alone": (
        [partial(verify.strategies.loss_instances, most) for most in (1, 2, 4)],
        nearest_only,
        lambda i: len(i.r_neg) == 2 and i.r_pos == 0 and set(i.r_neg) == {0.0},
    ),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("bug", COUPLED)
def test_bugs_that_couple_structure_and_numbers_shrink_in_both(bug, seed):
    stages, wrong, small = COUPLED[bug]

    def measure(instance):
        return Measurement(float(wrong(instance)), 0.0)

    found = deepening(stages, measure, examples=300, seed=seed).instance
    assert found is not None
    assert wrong(found)
    assert small(found), (seed, plain(found))


def test_a_bug_in_one_node_of_a_tree_instance_shrinks_to_that_node():
    """Cross terms between siblings are forgotten: the smallest tree has two latents below the root."""

    def forgotten(i):
        return any(
            sum(bool(i.tree.children(v)) for v in i.tree.children(u)) == 2 and np.any(i.by_node[u]) for u in i.by_node
        )

    stages = [partial(verify.strategies.tree_instances, nodes) for nodes in (3, 4, 5, 6)]
    found = deepening(stages, lambda i: Measurement(float(forgotten(i)), 0.0), examples=300, seed=2).instance
    assert (len(found.tree.nodes), len(found.tree.latents)) == (5, 3)
    assert np.count_nonzero(found.by_node[found.tree.root]) == 1
    assert not any(np.any(found.by_node[v]) for v in found.tree.latents[1:])


@pytest.mark.parametrize("kind", [hltm.HLTM, PairInstance, PopulationInstance, TreeInstance, LossInstance])
def test_every_type_is_registered_and_gives_allowed_instances(kind):
    seen = []

    @hypothesis.settings(SETTINGS, max_examples=50)
    @hypothesis.seed(0)
    @hypothesis.given(st.from_type(kind))
    def look(instance):
        seen.append(instance)
        if kind is hltm.HLTM:
            assert plain(hltm.tree_from_json(hltm.tree_to_json(instance))) == plain(instance)
        else:
            assert kind.from_json(instance.as_json()).as_json() == instance.as_json()

    look()
    assert len(seen) == 50


def test_the_trees_that_were_asked_for():
    def all_of(strategy):
        found = []
        hypothesis.seed(0)(
            hypothesis.settings(SETTINGS, max_examples=60)(hypothesis.given(strategy)(lambda tree: found.append(tree)))
        )()
        return found

    symmetric = all_of(verify.strategies.trees(symmetric=True, categorical=False))
    assert all("polarity" in tree.graph.edges[e] for tree in symmetric for e in tree.edges)
    binary_trees = all_of(verify.strategies.trees(symmetric=False, categorical=False))
    assert all("transition" in tree.graph.edges[e] for tree in binary_trees for e in tree.edges)
    assert any(
        tree.cardinality(n) == 3 for tree in all_of(verify.strategies.trees(categorical=True)) for n in tree.nodes
    )
    assert max(len(tree.nodes) for tree in all_of(verify.strategies.trees(3))) == 3
