"""Correlations, ceilings and operator norms against numpy, brute-force enumeration and the exact operator.

The oracles enumerate all states of all nodes with the tables of the tree and take moments in plain numpy. Sampled values
are held against exact ones within six standard errors, which are themselves exact (delta method): a false alarm is rarer
than 1e-8 for each number.
"""

from itertools import product

import numpy as np
import pytest
import torch

import hltm
import numeric
from hltm.base.errors import InputError
from numeric.trees.metrics import fresh_samples

SAMPLES = 20_000
SIGMAS = 6.0


def every_state(tree):
    """All states of all nodes ``(cases, nodes)`` and their probabilities."""
    cases = np.array(list(product(*(range(tree.cardinality(node)) for node in tree.nodes))))
    column = {node: k for k, node in enumerate(tree.nodes)}
    law = tree.prior[cases[:, column[tree.root]]].copy()
    for node in tree.nodes:
        for child in tree.children(node):
            law *= tree.transition(node, child)[cases[:, column[node]], cases[:, column[child]]]
    return cases, law, column


def leaves_below(tree, node):
    stack, found = [node], []
    while stack:
        here = stack.pop()
        children = tree.children(here)
        stack.extend(children)
        found.extend([] if children else [here])
    return found


def exact_correlation(law, values, latent):
    """Absolute correlation, and the standard deviation of its influence function."""
    a, b = (v - law @ v for v in (values, latent))
    sa, sb = np.sqrt(law @ a**2), np.sqrt(law @ b**2)
    if sa < 1e-12 or sb < 1e-12:
        return 0.0, 0.0
    a, b = a / sa, b / sb
    r = law @ (a * b)
    influence = a * b - r * (a**2 + b**2) / 2
    return abs(r), np.sqrt(law @ influence**2)


@pytest.fixture(params=["complete", "uneven", "tables"])
def tree(request):
    return {
        "complete": hltm.complete_tree(2, 2, 0.7, root_polarity=0.3),
        "uneven": hltm.caterpillar_tree(4, (0.5, 0.9), seed=1),
        "tables": hltm.random_tree(5, seed=4),
    }[request.param]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_correlations_are_those_of_numpy(tree, dtype):
    network = numeric.TreeNetwork(tree, width=4, slope=0.1, ensemble=3, dtype=dtype)
    found = numeric.correlations(network, tree, 1000, seeds=[5, 9, 2])
    (fresh,) = fresh_samples(network, [tree], [5, 9, 2], 1000, 1)
    activations = network.activations(fresh.leaves.mT)
    column = {node: k for k, node in enumerate(tree.nodes)}
    for place, node in enumerate(tree.latents):
        for member, neuron in product(range(3), range(4)):
            values = activations[node][member, :, neuron].double().numpy()
            if values.std() > 1e-6:
                expected = abs(np.corrcoef(values, fresh.states[member, column[node]].numpy())[0, 1])
                assert found.neurons[node][member, neuron].item() == pytest.approx(expected, abs=1e-12)
            else:
                assert found.neurons[node][member, neuron] == 0
        assert (found.best[:, place] == found.neurons[node].amax(1)).all()


def test_correlations_are_the_exact_ones_within_their_error(tree):
    network = numeric.TreeNetwork(tree, width=3, slope=0.2, ensemble=2, output="normalized")
    cases, law, column = every_state(tree)
    found = numeric.correlations(network, tree, SAMPLES)
    leaves = torch.from_numpy(cases[:, [column[leaf] for leaf in tree.leaves]])
    activations = network.activations(leaves)
    for node in tree.latents:
        for member, neuron in product(range(2), range(3)):
            values = activations[node][member, :, neuron].numpy()
            expected, spread = exact_correlation(law, values, cases[:, column[node]].astype(float))
            assert abs(found.neurons[node][member, neuron].item() - expected) <= SIGMAS * spread / SAMPLES**0.5 + 1e-9


def test_members_are_measured_as_if_alone():
    trees = [hltm.complete_tree(2, 2, rho) for rho in (0.5, 0.7, 0.9)]
    network = numeric.TreeNetwork(trees[0], width=4, ensemble=3)
    together = numeric.correlations(network, trees, 500, seeds=[7, 8, 9])
    norms = numeric.operator_norms(network, trees, 500, seeds=[7, 8, 9])
    for k, tree in enumerate(trees):
        alone = network.with_parameters([block[k : k + 1] for block in network.parameters])
        found = numeric.correlations(alone, tree, 500, seeds=[7 + k])
        assert torch.allclose(found.best[0], together.best[k], atol=1e-12)
        assert torch.allclose(numeric.operator_norms(alone, tree, 500, seeds=[7 + k])[0], norms[k], rtol=1e-9)


def test_constant_neurons_are_counted_and_have_no_correlation():
    tree = hltm.complete_tree(2, 2, 0.9)
    network = numeric.TreeNetwork(tree, width=3, output="normalized", dtype=torch.float32)
    dead = network.with_parameters([torch.zeros_like(block) for block in network.parameters])
    found = numeric.correlations(dead, tree, 200)
    assert (found.best == 0).all()
    assert (found.constant == 3).all()
    assert (numeric.operator_norms(dead, tree, 200) == 0).all()


def test_rounding_of_a_constant_is_no_correlation():
    latent = torch.tensor([0, 1]).repeat(500)
    flat = torch.full((1, 1000), 1000.1)
    flat[0, latent == 1] += 2e-5  # less than an ulp of 1000.1: it rounds away
    assert numeric.absolute_correlation(flat, latent) == 0
    small = (1e-30 * latent).float().unsqueeze(0)  # small is not constant
    assert numeric.absolute_correlation(small, latent).item() == pytest.approx(1.0)


def test_a_constant_latent_gives_zero_not_nan():
    tree = hltm.star_tree(2, polarity=0.5, root_polarity=1)
    assert (numeric.correlations(numeric.TreeNetwork(tree, width=2), tree, 100).best == 0).all()
    assert (numeric.ceilings(tree, 100) == 0).all()
    assert numeric.share_of_ceiling(torch.zeros(1), torch.zeros(1)).item() == 0


def test_posterior_means_are_those_of_message_passing_and_of_bayes(tree):
    cases, law, column = every_state(tree)
    distinct = np.unique(cases[:, [column[leaf] for leaf in tree.leaves]], axis=0)
    found, prior = numeric.posterior_means([tree], torch.from_numpy(distinct.T.copy())[None])
    for place, node in enumerate(tree.latents):
        below = leaves_below(tree, node)
        evidence = {leaf: distinct[:, tree.leaves.index(leaf)] for leaf in below}
        assert np.allclose(found[0, place], hltm.posterior(tree, node, evidence)[:, 1], atol=1e-13)
        own = cases[:, column[node]]
        assert prior[0, place].item() == pytest.approx(law @ own, abs=1e-13)
        for row, leaves in enumerate(distinct):
            match = (cases[:, [column[leaf] for leaf in below]] == [leaves[tree.leaves.index(v)] for v in below]).all(1)
            assert found[0, place, row].item() == pytest.approx(law[match] @ own[match] / law[match].sum(), abs=1e-12)


def test_the_ceiling_is_exact_within_its_error_and_nothing_exceeds_it(tree):
    cases, law, column = every_state(tree)
    leaves = cases[:, [column[leaf] for leaf in tree.leaves]]
    means, prior = numeric.posterior_means([tree], torch.from_numpy(leaves.T.copy())[None])
    found = numeric.ceilings([tree, tree], SAMPLES, seeds=3)
    functions = numeric.TreeNetwork(tree, width=30, slope=0.3).activations(torch.from_numpy(leaves))
    for place, node in enumerate(tree.latents):
        latent, best = cases[:, column[node]].astype(float), means[0, place].numpy()
        exact, _ = exact_correlation(law, best, latent)
        pi = prior[0, place].item()
        squares = (best - pi) ** 2 / (pi * (1 - pi))
        assert law @ squares == pytest.approx(exact**2, abs=1e-12)  # sd(m) / sd(z) is the correlation of m
        error = np.sqrt(law @ (squares - exact**2) ** 2 / SAMPLES)
        assert (abs(found[:, place].numpy() ** 2 - exact**2) <= SIGMAS * error + 1e-12).all()
        for neuron in functions[node][0].T.numpy():
            assert exact_correlation(law, neuron, latent)[0] <= exact + 1e-12


def test_operator_norms_by_autograd_and_enumeration(tree):
    """DK from torch's own Jacobians at every state; squared estimates of 60 replicas are unbiased (Student's t)."""
    replicas = 60
    one = numeric.TreeNetwork(tree, width=3, slope=0.3, output="normalized")
    network = one.with_parameters([block.expand(replicas, -1, -1, -1).clone() for block in one.parameters])
    found = numeric.operator_norms(network, tree, 2000, seeds=11) ** 2
    cases, law, column = every_state(tree)
    leaves = torch.from_numpy(cases[:, [column[leaf] for leaf in tree.leaves]]).double()
    root = cases[:, column[tree.root]]
    inputs = one.activations(leaves)
    for place, node in enumerate(tree.latents):
        connection = jacobian_connection(one, leaves, node)
        below = torch.cat([inputs[child][0] for child in tree.children(node)], dim=1)
        k = torch.einsum("si,sco->sioc", below, connection).flatten(1, 2).numpy()
        gap = sum(
            (1 if z else -1) * np.tensordot(law[root == z] / law[root == z].sum(), k[root == z], 1) for z in (0, 1)
        )
        rho = tree.prior[1] - tree.prior[0]
        exact = np.linalg.norm((1 - rho**2) / 4 * gap @ gap.T) ** 2
        mean, error = found[:, place].mean().item(), found[:, place].std().item() / replicas**0.5
        assert found[:, place].min() > 0 or exact < 1e-6  # no clamping at 0, which would be a bias
        assert abs(mean - exact) <= 6 * error + 1e-12


def jacobian_connection(network, leaves, node):
    """``d f_L / d p_mu`` of every sample: the derivative in a bias that is added to ``p_mu``."""
    tree, width = network.tree, network.width(node)

    def output(bias, x):
        def value(v):
            if not tree.children(v):
                return x[tree.leaves.index(v)].unsqueeze(0)
            before = network.matrix(v)[0] @ torch.cat([value(child) for child in tree.children(v)])
            before = before + bias if v == node else before
            return before if v == tree.root else torch.nn.functional.leaky_relu(before, network.slope)

        top = value(tree.root)
        return torch.where((top == 0).all(), top * 0, top / torch.where((top == 0).all(), 1.0, top.norm()))

    zero = torch.zeros(width, dtype=leaves.dtype)
    return torch.stack([torch.autograd.functional.jacobian(lambda b, row=row: output(b, row), zero) for row in leaves])


@pytest.mark.parametrize("output", ["linear", "normalized"])
def test_operator_norms_are_those_of_the_exact_operator(output):
    tree = hltm.complete_tree(2, 2, 0.8)
    network = numeric.TreeNetwork(tree, width=4, output=output, ensemble=2)
    leaves = hltm.leaf_population(tree)
    population = numeric.FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)
    found = numeric.operator_norms(network, tree, 200_000)
    for place, node in enumerate(tree.latents):
        exact = numeric.tree_covariance_operator(network, population, node).flatten(1).norm(dim=1)
        assert torch.allclose(found[:, place], exact, rtol=0.05)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda n, t: numeric.correlations(n, [t]), "1 trees for 2 members"),
        (lambda n, t: numeric.correlations(n, t, seeds=[1]), "1 seeds for 2 members"),
        (lambda n, t: numeric.correlations(n, t, samples=1), "samples"),
        (lambda n, t: numeric.correlations(n, hltm.star_tree(3, 0.5)), "must have the nodes"),
        (lambda n, t: numeric.operator_norms(n, hltm.complete_tree(2, 2, 0.5, root_polarity=1)), "both states of root"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, words):
    tree = hltm.complete_tree(2, 2, 0.5)
    with pytest.raises(InputError, match=words):
        call(numeric.TreeNetwork(tree, width=2, ensemble=2), tree)
