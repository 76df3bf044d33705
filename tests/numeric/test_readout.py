"""Correlations of whole groups against least squares in numpy on every state of the tree, and against their limits."""

from itertools import product

import numpy as np
import pytest
import torch

import hltm
import numeric
from hltm.base.errors import InputError

TREES = {
    "complete": hltm.complete_tree(2, 2, 0.7, root_polarity=0.3),
    "uneven": hltm.caterpillar_tree(4, (0.5, 0.9), seed=1),
    "tables": hltm.random_tree(5, seed=4),
    "deterministic edge": hltm.complete_tree(2, 2, lambda _, child: 1.0 if child == 1 else 0.6),
}


@pytest.fixture(params=TREES)
def tree(request):
    return TREES[request.param]


def every_state(tree):
    """All states of all nodes ``(cases, nodes)`` and their probabilities."""
    cases = np.array(list(product((0, 1), repeat=len(tree.nodes))))
    column = {node: k for k, node in enumerate(tree.nodes)}
    law = tree.prior[cases[:, column[tree.root]]].copy()
    for node in tree.nodes:
        for child in tree.children(node):
            law *= tree.transition(node, child)[cases[:, column[node]], cases[:, column[child]]]
    return cases, law, column


def by_least_squares(values, latent, law, noise=0.0):
    """Multiple correlation as the share of variance that regression explains; noise is a penalty on raw weights."""
    root = np.sqrt(law)[:, None]
    x, z = values - law @ values, latent - law @ latent
    design, target = root * x, root[:, 0] * z
    if noise:
        mean = float((design**2).sum(0).mean())
        design = np.vstack([design, np.sqrt(noise * mean) * np.eye(values.shape[1])])
        target = np.concatenate([target, np.zeros(values.shape[1])])
    # The least residual of the penalised problem is Var z (1 - R^2).
    weights, *_ = np.linalg.lstsq(design, target, rcond=1e-9)
    residual = ((target - design @ weights) ** 2).sum()
    return float(np.sqrt(max(0.0, 1 - residual / (law @ z**2))))


@pytest.mark.parametrize("output", ["linear", "normalized"])
@pytest.mark.parametrize("noise", [0, 0.1, 1.0])
def test_exact_groups_are_those_of_least_squares_on_every_state(tree, output, noise):
    network = numeric.TreeNetwork(tree, {v: 2 + k for k, v in enumerate(tree.latents)}, 0.1, ensemble=3, output=output)
    cases, law, column = every_state(tree)
    found = numeric.group_correlations(network, noise=noise)
    activations = network.activations(torch.from_numpy(cases[:, [column[leaf] for leaf in tree.leaves]]))
    for (place, node), member in product(enumerate(tree.latents), range(3)):
        latent = cases[:, column[node]].astype(float)
        expected = by_least_squares(activations[node][member].numpy(), latent, law, noise)
        assert found[member, place].item() == pytest.approx(expected, abs=1e-8)


def test_groups_of_samples_are_those_of_least_squares_and_tend_to_the_exact_ones(tree):
    network = numeric.TreeNetwork(tree, width=3, slope=0.2, ensemble=2)
    samples = 40_000
    found = numeric.correlations(network, tree, samples)
    exact = numeric.group_correlations(network)
    # Standard error of a correlation at most n^(-1/2), bias of its square about 3 / n: six of the former.
    assert ((found.group - exact).abs() <= 6 / samples**0.5).all()
    assert torch.equal(found.group_by_level, numeric.level_means(found.group, found.heights))
    rng = np.random.default_rng(3)
    values, latent = rng.normal(size=(4, 50)), rng.integers(0, 2, size=50)
    for noise in (0.0, 0.1):
        ours = numeric.multiple_correlation(torch.from_numpy(values), torch.from_numpy(latent), noise).item()
        assert ours == pytest.approx(by_least_squares(values.T, latent, np.full(50, 1 / 50), noise), abs=1e-12)


def test_the_group_lies_between_its_best_neuron_and_the_ceiling(tree):
    """Without noise; with noise it falls, and at no width does it exceed the correlation of the posterior mean."""
    cases, _, column = every_state(tree)
    leaves = torch.from_numpy(np.unique(cases[:, [column[leaf] for leaf in tree.leaves]], axis=0).T.copy())
    means, prior = numeric.posterior_means([tree], leaves[None])
    weights = torch.from_numpy(hltm.leaf_distribution(tree).ravel())
    known = torch.where(weights > 0, (means[0] - prior[0][:, None]) ** 2, 0.0) @ weights
    ceiling = (known / (prior[0] * (1 - prior[0]))).sqrt()
    network = numeric.TreeNetwork(tree, width=40, slope=0.3, ensemble=2)
    whole, less, least = (numeric.group_correlations(network, noise=noise) for noise in (0, 0.1, 1))
    assert (least < less).all()
    assert (less < whole).all()
    assert (whole <= ceiling + 1e-9).all()
    best = numeric.correlations(network, samples=20_000).best
    assert (best <= whole + 6 / 20_000**0.5).all()


def test_the_canonical_correlation_knows_no_scale_and_no_basis():
    rng = np.random.default_rng(5)
    values = torch.from_numpy(rng.normal(size=(2, 5, 300)))
    latent = (values[:, 0] + values[:, 1] + torch.from_numpy(rng.normal(size=(2, 300))) > 0).long()
    own = numeric.multiple_correlation(values, latent, 0.0)
    mixed = torch.from_numpy(rng.normal(size=(5, 5))) @ values
    scales = torch.tensor([1e-9, 1e200, 1.0, 1e3, -1e-200], dtype=torch.float64)[:, None]
    for other in (mixed, scales * values, values + 7, torch.cat([values, values[:, :2] - values[:, 1:3]], dim=1)):
        assert torch.allclose(numeric.multiple_correlation(other, latent, 0.0), own, atol=1e-9)
    # With noise a common factor is all that it does not see.
    noisy = numeric.multiple_correlation(values, latent, 0.1)
    assert torch.allclose(numeric.multiple_correlation(1e-200 * values, latent, 0.1), noisy, atol=1e-12)
    assert not torch.allclose(numeric.multiple_correlation(mixed, latent, 0.1), noisy, atol=1e-3)


def test_a_direction_within_rounding_is_no_neuron():
    """Two equal neurons that differ in their last bits have one direction: their difference is not read."""
    latent = torch.tensor([0, 1]).repeat(100)
    first = torch.linspace(1, 2, 200, dtype=torch.float64)
    single = numeric.multiple_correlation(first.unsqueeze(0), latent, 0.0)
    for kind, size in ((torch.float64, 4e-16), (torch.float32, 1e-7)):
        twin = torch.stack([first, first * (1 + size * latent)]).to(kind)
        assert numeric.multiple_correlation(twin, latent, 0.0).item() == pytest.approx(single.item(), abs=1e-5)
    apart = torch.stack([first, first * (1 + 1e-3 * latent)])
    assert numeric.multiple_correlation(apart, latent, 0.0).item() > 0.9


def test_constants_give_zero_and_what_is_not_finite_nan():
    latent = torch.tensor([0, 1]).repeat(50)
    flat = torch.full((2, 100), 1000.1, dtype=torch.float64)
    for noise in (0.0, 0.1):
        assert numeric.multiple_correlation(flat, latent, noise) == 0
        assert numeric.multiple_correlation(latent.unsqueeze(0), torch.ones(100), noise) == 0
        stacked = torch.stack([flat, torch.where(torch.arange(100) == 3, torch.inf, flat), latent.expand(2, -1) * 1.0])
        found = numeric.multiple_correlation(stacked, latent.expand(3, -1), noise)
        assert found.isnan().tolist() == [False, True, False]
        assert found[2] > 0.95
    constant = hltm.star_tree(2, polarity=0.5, root_polarity=1)
    assert (numeric.group_correlations(numeric.TreeNetwork(constant, width=2)) == 0).all()


def test_members_have_trees_of_their_own():
    trees = [hltm.complete_tree(2, 2, rho) for rho in (0.5, 0.7, 0.9)]
    network = numeric.TreeNetwork(trees[0], width=4, ensemble=3)
    found = numeric.group_correlations(network, trees)
    for k, tree in enumerate(trees):
        alone = network.with_parameters([block[k : k + 1] for block in network.parameters])
        assert torch.allclose(numeric.group_correlations(alone, tree)[0], found[k], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda n: numeric.group_correlations(n, noise=-0.1), "noise=-0.1: must not be negative"),
        (lambda n: numeric.group_correlations(n, noise=float("inf")), "noise=inf: must be finite"),
        (lambda n: numeric.group_correlations(n, [n.tree]), "1 trees for 2 members"),
        (
            lambda _: numeric.group_correlations(numeric.TreeNetwork(hltm.star_tree(17, 0.5), width=1)),
            "group_correlations of a tree with 17 leaves",
        ),
    ],
)
def test_groups_that_cannot_be_measured_are_refused(call, words):
    with pytest.raises(InputError, match=words):
        call(numeric.TreeNetwork(hltm.complete_tree(2, 2, 0.5), width=2, ensemble=2))
