"""Sampled contrasts of the root states against enumeration, and the intervals that hold every draw."""

import itertools

import numpy as np
import pytest
import torch

import hltm
from hltm.base.errors import InputError
from numeric import TreeNetwork, activation_bounds, sample_root_contrasts
from numeric.trees import sampling
from numeric.trees.operator import inputs_of, run
from numeric.trees.sampling import TreeSampler

TREES = {
    "binary": hltm.complete_tree(2, 2, 0.7, root_polarity=0.4),
    "general": hltm.random_tree(leaves=5, seed=3, symmetric=False),
    "three states": hltm.random_tree(leaves=4, seed=4, symmetric=False, cardinality=3),
}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def every_leaf(tree):
    states = itertools.product(*(range(tree.cardinality(leaf)) for leaf in tree.leaves))
    return torch.tensor(list(states), dtype=torch.float64)


def children_of(network, leaves, node):
    """Activations of the children of a node: ``(E, n_in, samples)``."""
    return inputs_of(network, run(network, network.inputs(leaves)), node).expand(network.ensemble, -1, -1)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", TREES)
def test_every_activation_lies_within_its_bounds(name, slope):
    tree = TREES[name]
    network = TreeNetwork(tree, width=3, slope=slope, seed=2, ensemble=4)
    for node in tree.latents:
        low, high = activation_bounds(network, node)
        found = children_of(network, every_leaf(tree), node)
        rounding = 1e-12 * (1 + high - low)
        assert bool((found >= (low - rounding).unsqueeze(-1)).all())
        assert bool((found <= (high + rounding).unsqueeze(-1)).all())
        if all(not tree.children(child) or not tree.children(tree.children(child)[0]) for child in tree.children(node)):
            # One layer above the leaves each bound is taken at some configuration.
            assert torch.allclose(found.amin(-1), low, rtol=0, atol=1e-12)
            assert torch.allclose(found.amax(-1), high, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", TREES)
def test_contrasts_against_enumeration(name):
    """Means within seven standard errors of the exact ones: the variance is that of the draws themselves."""
    tree, samples = TREES[name], 20_000
    network = TreeNetwork(tree, width=2, seed=1, ensemble=2)
    leaves = every_leaf(tree)
    for seed, node in enumerate(tree.latents):
        values = children_of(network, leaves, node).numpy()
        laws = [hltm.leaf_distribution(tree, {tree.root: z}).ravel() for z in range(tree.cardinality(tree.root))]
        means = np.stack([values @ law for law in laws])
        squares = np.stack([values**2 @ law for law in laws])
        prior = np.asarray(tree.prior)
        contrasts = means - np.tensordot(prior, means, 1)
        share = np.eye(len(prior)) - prior[None, :]
        variances = np.tensordot(share**2, squares - means**2, 1)
        found = sample_root_contrasts(network, tree, node, samples, generator(seed))
        assert found.samples == samples
        error = np.sqrt(variances / samples)
        assert np.all(np.abs(found.means.numpy() - contrasts) <= 7 * error + 1e-12), (name, seed)
        # A sample variance of bounded values: kurtosis is at most span^2 over variance.
        spread = found.spans.numpy() * np.sqrt(variances / samples)
        assert np.all(np.abs(found.variances.numpy() - variances) <= 7 * spread + 1e-12), (name, seed)
        exact = np.einsum("z,zei,zej->eij", prior, contrasts, contrasts)
        assert np.abs(found.covariance.numpy() - exact).max() <= 20 * error.max() * np.abs(contrasts).max() + 1e-6


def test_pieces_are_put_together_as_one(monkeypatch):
    """Mean and variance of all draws, from pieces of seven, against NumPy on the same draws."""
    tree = TREES["general"]
    network = TreeNetwork(tree, width=2, seed=1, ensemble=2)
    kept, original = [], TreeSampler.draw

    def draw(self, n, *rest):
        kept.append(original(self, n, *rest))
        return kept[-1]

    monkeypatch.setattr(TreeSampler, "draw", draw)
    monkeypatch.setattr(sampling, "_NUMBERS", 7 * 2 * 2 * network.plan.neurons)
    found = sample_root_contrasts(network, tree, tree.root, 52, generator(0))
    assert [len(leaves) for leaves in kept] == [7, 7] * 7 + [3, 3]
    draws = [children_of(network, torch.cat(kept[state::2]), tree.root).numpy() for state in (0, 1)]
    common = sum(p * d for p, d in zip(tree.prior, draws, strict=True))
    for state in (0, 1):
        contrast = draws[state] - common
        assert np.allclose(found.means[state].numpy(), contrast.mean(-1), rtol=0, atol=1e-13)
        assert np.allclose(found.variances[state].numpy(), contrast.var(-1, ddof=1), rtol=1e-12, atol=1e-14)


def test_a_root_that_is_certain_has_no_contrast():
    tree = hltm.star_tree(2, 0.5, root_polarity=1.0)
    found = sample_root_contrasts(TreeNetwork(tree, width=1), tree, 0, 100, generator(0))
    assert found.means.shape == (1, 1, 2)
    assert found.spans.abs().max() == 0
    assert found.covariance.abs().max() == 0


def test_bad_input_is_refused():
    tree = TREES["binary"]
    network = TreeNetwork(tree, width=1)
    with pytest.raises(InputError, match="samples=1: must be at least 2"):
        sample_root_contrasts(network, tree, 0, 1, generator(0))
    with pytest.raises(InputError, match="must have the nodes and edges of the network's tree"):
        sample_root_contrasts(network, hltm.star_tree(2, 0.5), 0, 10, generator(0))
    with pytest.raises(InputError, match="it is a leaf"):
        sample_root_contrasts(network, tree, tree.leaves[0], 10, generator(0))


def test_bounds_of_a_tree_that_is_deeper_than_the_stack():
    tree = hltm.complete_tree(1500, 1, 0.9)
    network = TreeNetwork(tree, width=1, seed=1)
    low, high = activation_bounds(network, tree.root)
    assert bool((low <= high).all())
