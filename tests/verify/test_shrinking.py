"""The public strategies shrink structurally: ten planted bugs, each down to the smallest instance that shows it."""

import random

import hypothesis
import pytest
from hypothesis import strategies as st

import hltm
import verify.strategies  # registers the types
from verify import LossInstance, PairInstance, PopulationInstance, TreeInstance

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
