"""Statement 6: enumeration against the reference vectors, the formulas against it, and the four ways."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

import hltm
from hltm.errors import InputError
from verify import theorem6, tree_agreement, tree_sources, tree_ways
from verify.ensembles import to_float
from verify.instance import freeze
from verify.statement import Context
from verify.tree_claims import STATED
from verify.tree_exact import Enumeration
from verify.tree_instance import TreeInstance

EPS = 2.0**-52


def reference(row):
    tree = hltm.tree_from_json(row["tree"])
    return TreeInstance(tree, tuple(freeze(row["weights"][node]) for node in tree.latents), row["slope"])


def test_enumeration_on_the_reference_vectors(vectors):
    assert len(vectors["trees"]) == 24
    floats = np.vectorize(to_float, otypes=[float])
    for row in vectors["trees"]:
        found = Enumeration(reference(row))
        for node in found.tree.latents:
            gradient = np.array(row["minus_expected_gradient_simple"][node])
            pairs = [
                (floats(found.activation_covariance(node)), np.array(row["activation_covariance"][node])),
                (floats(found.operator(node)), np.array(row["covariance_operator"][node])),
                (floats(found.update(node)).reshape(gradient.shape[1], -1).T, gradient),
            ]
            for ours, theirs in pairs:
                # Float64 sums over at most 16 configurations of products of a dozen factors.
                assert np.abs(ours - theirs).max() <= 500 * EPS * max(1.0, np.abs(theirs).max()), row["tree"]


@pytest.mark.parametrize("kind", theorem6.KINDS)
def test_closed_forms_hold_exactly(kind):
    instances = list(tree_sources.instances(5, 9, kind=kind))
    assert len(instances) == 9
    for instance in instances:
        found = theorem6.measure_exact(instance)
        assert found.decided, f"seed 5, {instance}"
        assert found.residual == 0, f"seed 5, {found.detail}"


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_complete_trees(depth):
    rng = np.random.default_rng(depth)
    tree = tree_sources.dress(hltm.complete_tree(depth, 2, 0.5), rng, symmetric=True, states=(2, 2), extreme=False)
    for slope in (0.0, 1.0):
        assert theorem6.measure_exact(tree_sources.network(tree, rng, slope, 2)).residual == 0


def test_a_complete_tree_of_depth_four_top_node():
    """16 leaves are 65,536 configurations: the linear closed form at every node against enumeration by root state."""
    tree = hltm.complete_tree(4, 2, 0.5)
    closed = {
        node: (1 - 0.0) * tree.polarity(tree.root, node) ** 2 if node != tree.root else 1.0 for node in tree.latents
    }
    means = [hltm.marginals(tree, {tree.root: state}) for state in (0, 1)]
    for node in tree.latents:
        gap = np.array([means[1][child][1] - means[0][child][1] for child in tree.children(node)])
        if tree.children(node)[0] in tree.leaves:
            expected = closed[node] * 0.25 * 0.25 * np.ones((2, 2))
            assert np.abs(np.outer(gap, gap) / 4 - expected).max() < 8 * EPS


@pytest.mark.parametrize("root", [0.0, 0.99, -0.99])
def test_extreme_root_polarities(root):
    tree = hltm.star_tree(2, 0.5, root_polarity=root)
    instance = TreeInstance(tree, (((1.0, -2.0),),), 0.0)
    found = tree_ways.measure_torch(instance, STATED, "cpu")
    assert found.status == "holds", found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(theorem6.STAGES[-2]())
def test_instances_survive_json(instance):
    assert TreeInstance.from_json(instance.as_json()) == instance


def test_theory_against_enumeration():
    found = theorem6.derived(Context(seed=9))
    assert found.status == "holds", found


def test_torch_and_sampling_against_the_closed_forms():
    assert theorem6.floats(Context(seed=9)).status == "holds"
    assert theorem6.sampled(Context(seed=9)).status == "holds"
    assert theorem6.together(Context(seed=9)).status == "holds"


def test_the_odd_one_out_is_named(monkeypatch):
    instance = next(tree_sources.instances(2, 3, kind="symmetric"))
    true = tree_agreement.by_torch

    def broken(*arguments):
        values, tolerance = true(*arguments)
        return {key: 1.01 * value for key, value in values.items()}, tolerance

    monkeypatch.setattr(tree_agreement, "by_torch", broken)
    found = tree_agreement.four_ways(instance, seed=0, device="cpu")
    assert found.status == "refuted"
    # Sampling is too coarse to side with either, so it disagrees with nobody.
    assert "torch" in found.detail


def test_sampling_sees_a_wrong_closed_form(monkeypatch):
    """The effect that 20,000 samples must see: a factor of two on a star with strong polarities."""
    import verify.tree_claims as claims

    tree = hltm.star_tree(2, 0.75)
    instance = TreeInstance(tree, (((1.0, 1.0),),), 0.0)
    true = claims.activation
    good = tree_ways.measure_sampling(instance, seed=1, samples=20_000, comparisons=10)
    assert good.status == "holds", good
    monkeypatch.setattr(claims, "activation", lambda node: 2 * true(node))
    assert tree_ways.measure_sampling(instance, seed=1, samples=20_000, comparisons=10).status == "refuted"


def test_bad_tree_instances():
    tree = hltm.tree_to_json(hltm.star_tree(2, 0.5))
    good = {"tree": tree, "weights": {"0": [[1.0, 2.0]]}, "slope": 0.0}
    assert TreeInstance.from_json(good).size == (1, 2)
    for bad, fragment in [
        ({**good, "weights": {"0": [[1.0]]}}, "0"),
        ({**good, "weights": {"7": [[1.0, 2.0]]}}, "'7'"),
        ({**good, "weights": {}}, "missing"),
        ({**good, "weights": []}, "object"),
        ({**good, "slope": 2.0}, "slope"),
        ({**good, "colour": 1}, "colour"),
        ({"tree": tree}, "missing"),
        ([], "object"),
    ]:
        with pytest.raises(InputError, match=fragment):
            TreeInstance.from_json(bad)


def test_nothing_claimed_is_not_decided():
    instance = next(tree_sources.instances(2, 1, kind="categorical"))
    no_claim = replace(STATED, formulas=tuple(f for f in STATED.formulas if f[1].startswith("Walsh")))
    assert theorem6.measure_exact(instance, no_claim).status == "abstained"
