"""Statement 6: enumeration against the reference vectors, the formulas against it, and the four ways."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings

import hltm
import theory
from hltm.base.errors import InputError
from verify import theorem6
from verify.engine.statement import Context
from verify.instances.instance import TreeInstance, freeze
from verify.towers.population import to_float
from verify.trees import agreement, samples
from verify.trees.claims import STATED
from verify.trees.enumeration import Enumeration

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
    instances = list(samples.instances(5, 9, kind=kind))
    assert len(instances) == 9
    for instance in instances:
        found = theorem6.measure_exact(instance)
        assert found.decided, f"seed 5, {instance}"
        assert found.residual == 0, f"seed 5, {found.detail}"


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_complete_trees(depth):
    rng = np.random.default_rng(depth)
    tree = samples.dress(hltm.complete_tree(depth, 2, 0.5), rng, symmetric=True, states=(2, 2), extreme=False)
    for slope in (0.0, 1.0):
        assert theorem6.measure_exact(samples.network(tree, rng, slope, 2)).residual == 0


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
    found = agreement.measure_float(instance, STATED)
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
    instance = next(samples.instances(2, 3, kind="symmetric"))
    true = agreement.by_torch

    def broken(*arguments):
        values, tolerance = true(*arguments)
        return {key: 1.01 * value for key, value in values.items()}, tolerance

    monkeypatch.setattr(agreement, "by_torch", broken)
    found = agreement.four_ways(instance, seed=0, device="cpu")
    assert found.status == "refuted"
    # Sampling is too coarse to side with either, so it disagrees with nobody.
    assert "torch" in found.detail


def wrong_matrix(true):
    return lambda *arguments, **options: 2 * true(*arguments, **options)


def wrong_without_weights(true):
    return lambda *arguments, **options: true(*arguments, **options) * (1 if "weights" in options else 2)


def wrong_with_weights(true):
    return lambda *arguments, **options: true(*arguments, **options) * (2 if "weights" in options else 1)


def wrong_walsh(true):
    """The gap without its factor 2: a quarter of the operator."""
    return lambda *arguments: SimpleNamespace(matrix=lambda: true(*arguments).matrix() / 4)


class Shared(dict):
    def __init__(self, definitions, forms):
        super().__init__(forms)
        self.definitions = definitions


def wrong_shared(true):
    def forms(tree):
        every = true(tree)
        wrong = {node: SimpleNamespace(matrix=lambda form=every[node]: 2 * form.matrix()) for node in every}
        return Shared(every.definitions, wrong)

    return forms


WRONG = {
    "activation, with weights": ("activation_covariance", wrong_with_weights, "activation at"),
    "activation, without weights": ("activation_covariance", wrong_without_weights, "selectivities put in"),
    "activation, shared products": ("activation_covariances", wrong_shared, "shared products"),
    "operator": ("covariance_operator", wrong_matrix, "operator at"),
    "update": ("node_update", wrong_matrix, "update at"),
    "Walsh form": ("walsh_operator", wrong_walsh, "Walsh form"),
}


def deep_instance():
    """A ReLU network on a symmetric tree of depth 2, no moment zero, no pre-activation at its kink."""
    tree = hltm.complete_tree(2, 2, 0.75, root_polarity=0.25)
    return TreeInstance(tree, (((1.0, 0.5, 0.75),), ((1.0, -0.625), (0.5, 0.25)), ((0.75, 1.0),)), 0.0)


def categorical_instance():
    rng = np.random.default_rng(3)
    shape = hltm.complete_tree(2, 2, 0.5)
    tree = samples.dress(shape, rng, symmetric=False, states=(3, 3), extreme=False)
    return TreeInstance(tree, deep_instance().weights, 0.25)


def assert_closed_form_is_named(instance, place):
    found = agreement.measure_theory(instance)
    assert found.status == "refuted", found
    assert place in found.detail
    found = agreement.four_ways(instance, seed=0, device="cpu")
    assert found.status == "refuted", found
    assert found.detail == "the odd one out is closed form"


@pytest.mark.parametrize("instance", [deep_instance(), categorical_instance()], ids=["symmetric", "categorical"])
def test_the_true_closed_forms_pass(instance):
    assert agreement.measure_theory(instance).status == "holds"
    assert agreement.four_ways(instance, seed=0, device="cpu").status == "holds"


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_closed_form_of_theory_is_the_odd_one_out(monkeypatch, name):
    function, wrong, place = WRONG[name]
    monkeypatch.setattr(theory, function, wrong(getattr(theory, function)))
    assert_closed_form_is_named(deep_instance(), place)


@pytest.mark.parametrize("wrong", [wrong_with_weights, wrong_without_weights])
def test_a_wrong_categorical_form_of_theory_is_the_odd_one_out(monkeypatch, wrong):
    monkeypatch.setattr(theory, "activation_covariance", wrong(theory.activation_covariance))
    assert_closed_form_is_named(categorical_instance(), "activation at")


def test_every_form_of_theory_is_compared():
    def forms(instance):
        return {(form.quantity, form.name) for form in agreement.derived(Enumeration(instance))}

    found = forms(deep_instance())
    assert found == {
        ("activation", "theory, with weights"),
        ("activation", "theory, selectivities put in"),
        ("activation", "theory, shared products"),
        ("operator", "theory"),
        ("operator", "theory, Walsh form"),
        ("update", "theory"),
    }
    # No polarities, no shared products and no Walsh form.
    binary_only = {("activation", "theory, shared products"), ("operator", "theory, Walsh form")}
    assert forms(categorical_instance()) == found - binary_only


def test_first_and_last_neurons_of_the_children_are_compared():
    instance = deep_instance()
    places = [places for places, _ in agreement.selections(Enumeration(instance), instance.tree.root)]
    assert places == [(0, 2), (1, 2)]


def test_sampling_sees_a_wrong_closed_form(monkeypatch):
    """The effect that 20,000 samples must see: a factor of two on a star with strong polarities."""
    tree = hltm.star_tree(2, 0.75)
    instance = TreeInstance(tree, (((1.0, 1.0),),), 0.0)
    good = agreement.measure_sampling(instance, seed=1, samples=20_000, comparisons=10)
    assert good.status == "holds", good
    monkeypatch.setattr(theory, "activation_covariance", wrong_matrix(theory.activation_covariance))
    assert agreement.measure_sampling(instance, seed=1, samples=20_000, comparisons=10).status == "refuted"


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
    instance = next(samples.instances(2, 1, kind="categorical"))
    no_claim = replace(STATED, formulas=tuple(f for f in STATED.formulas if f[1].startswith("Walsh")))
    assert theorem6.measure_exact(instance, no_claim).status == "abstained"
