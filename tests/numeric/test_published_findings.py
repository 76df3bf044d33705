"""Each defect that was found in the paper's published code, shown by one of our checks.

Numbers as in the list of findings. 7 (the speed of its sampling) is a row of the benchmarks. 6, second part: saved models
here are safetensors (the tests of checkpoints).
"""

import math

import networkx as nx
import numpy as np
import pytest
import torch

import hltm
import numeric
from hltm.base.errors import InputError


def one_pass(values, latent):
    """Correlation from single-precision sums of squares, clamped to [-1, 1]."""
    values, latent = values.float(), latent.float()
    variance = (values.square().mean() - values.mean().square()).clamp(min=1e-12)
    own = latent.square().mean() - latent.mean().square()
    return ((values * latent).mean() - values.mean() * latent.mean()).div((variance * own).sqrt()).clamp(-1, 1).item()


def population_of(tree):
    leaves = hltm.leaf_population(tree)
    return numeric.FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)


def chain(polarity=0.8):
    """A root with one child, which has three leaves: every level but the leaves' has one node."""
    graph = nx.DiGraph()
    graph.add_node(0, prior=(0.5, 0.5))
    graph.add_edges_from([(0, 1), (1, 2), (1, 3), (1, 4)], polarity=polarity)
    return hltm.HLTM(graph)


def vec(matrix):
    return matrix.mT.reshape(len(matrix), -1, 1)


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def test_1_one_pass_variance_clamps_a_nearly_constant_neuron_to_one():
    rng = np.random.default_rng(0)
    latent = torch.from_numpy(rng.integers(0, 2, 12_800))
    noise = torch.from_numpy(rng.normal(size=12_800))
    values = (100 + 1e-4 * (0.165 * (2 * latent - 1) + math.sqrt(1 - 0.165**2) * noise)).float()
    assert abs(one_pass(values, latent)) == 1
    found = numeric.absolute_correlation(values.unsqueeze(0), latent).item()
    assert found == pytest.approx(abs(np.corrcoef(values.double(), latent)[0, 1]), abs=1e-12)
    assert abs(found - 0.165) < 6 / math.sqrt(12_800)


def operator_with(factors, transpose):
    """``V_z0[E f kron J]`` of two equally likely states of the root: n_out and n_L change roles if not transposed."""
    below, above, shares = factors
    k = torch.einsum("zsi,zsco->zsioc" if transpose else "zsi,zsco->zsico", below, above)
    mean = torch.einsum("zs,zsabc->zabc", shares, k).flatten(1, 2)
    gap = (mean[0] - mean[1]) / 2
    return gap @ gap.T


def factors_at(network, population, node):
    points = [numeric.tree_factors(network, leaves)[node] for leaves in population.points]
    below = torch.stack([each.activation[0] for each in points])
    above = torch.stack([each.jacobian[0] for each in points])
    return below, above, population.augmentation_weights


def test_2_the_operator_with_the_wrong_index_is_refuted_below_the_root():
    tree = chain()
    population = population_of(tree)
    residuals = []
    for seed in range(10):
        network = numeric.TreeNetwork(tree, width=4, slope=0.1, seed=seed)
        gradient = numeric.tree_population_gradient(network, population, "simple")
        for node in tree.latents:
            factors, weights = factors_at(network, population, node), vec(network.weights[node])[0]
            update = vec(gradient[node])[0] / 2
            assert relative(operator_with(factors, True) @ weights, update) < 1e-12
            wrong = relative(operator_with(factors, False) @ weights, update)
            if node == tree.root:
                assert wrong < 1e-12  # J = I is its own transpose
            else:
                residuals.append(wrong)
    assert min(residuals) > 0.1


def test_3_without_the_terms_between_siblings_the_update_is_wrong():
    tree = hltm.complete_tree(2, 2, 0.8)
    population, network = population_of(tree), numeric.TreeNetwork(tree, width=4, seed=2)
    gradient = numeric.tree_population_gradient(network, population, "simple")
    whole = numeric.tree_update(network, population)
    for node in tree.latents:
        block = numeric.tree_covariance_operator(network, population, node) @ vec(network.weights[node])
        assert relative(whole[node], gradient[node]) < 1e-12
        alone = relative(2 * block, vec(gradient[node]))
        assert (alone < 1e-12) if node == tree.root else (alone > 0.1)


def test_4_a_normalised_output_or_biases_break_the_identity_of_connections():
    tree, leaves = hltm.complete_tree(2, 2, 0.8), torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]])
    linear = numeric.TreeNetwork(tree, width=4, seed=3)
    normalised = numeric.TreeNetwork(tree, width=4, seed=3, output="normalized")
    connection = numeric.tree_connections(linear, leaves)[tree.root]
    product = torch.einsum("espc,epx->esc", connection, vec(linear.weights[tree.root]))
    assert relative(product, linear.forward(leaves)) < 1e-14
    assert relative(product, normalised.forward(leaves)) > 0.1
    biased = numeric.published_network(tree, 4, [3])
    levels = biased.levels(leaves.T.float().unsqueeze(0))
    without = biased.parameters[0][:, 0] @ levels[1].flatten(1, 2)
    assert relative(without, levels[0][:, 0]) > 0.1
    assert relative(without + biased.parameters[1][:, 0], levels[0][:, 0]) < 1e-6


@pytest.mark.parametrize("width", [2, 5, 20])
def test_5_the_mean_over_dimensions_changes_temperature_and_rate_with_the_width(width):
    outputs = torch.randn(3, width, 3 * 8, generator=torch.Generator().manual_seed(width), dtype=torch.float64)
    first, positive, negative = outputs.unflatten(-1, (3, 8)).unbind(2)
    apart = [((first - other).square().sum(1) / 2).mean(1) for other in (positive, negative)]
    gap = apart[0] - apart[1]  # of half squared distances, as the paper has them
    tau = 0.1
    assert torch.allclose(numeric.published_loss(outputs, "subtract", tau), gap * 2 / width)
    assert torch.allclose(numeric.published_loss(outputs, "nce", tau), -torch.sigmoid(-gap / (tau * width / 2)))


def test_6_a_state_of_the_root_that_is_absent_is_refused_and_gives_no_nan():
    tree = hltm.complete_tree(2, 2, 0.8, root_polarity=0.99)
    network = numeric.TreeNetwork(tree, width=3)
    with pytest.raises(InputError, match="both states of root"):
        numeric.operator_norms(network, tree, samples=20)
    assert torch.isfinite(numeric.operator_norms(network, tree, samples=40_000)).all()


def test_8_the_softmax_of_batch_means_is_not_the_mean_loss_of_samples():
    outputs = torch.randn(
        1, 4, 3 * 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).requires_grad_()
    first, positive, negative = outputs.unflatten(-1, (3, 64)).unbind(2)
    tau = 0.5
    each = [(first - other).square().mean(1) for other in (positive, negative)]
    softmax_of_samples = -torch.sigmoid(-(each[0] - each[1]) / tau).mean()
    published = numeric.published_loss(outputs, "nce", tau)[0]
    assert abs(published - softmax_of_samples).item() > 0.01
    # All samples of a batch get one weight, where InfoNCE weighs each by how hard it is.
    (pulled,) = torch.autograd.grad(published, outputs)
    pull = pulled.unflatten(-1, (3, 64))[:, :, 1] / (positive - first)
    assert torch.allclose(pull, pull.flatten()[0].expand_as(pull))
    infonce = (tau * torch.nn.functional.softplus((each[0] - each[1]) / tau)).mean()
    (pulled,) = torch.autograd.grad(infonce, outputs)
    weights = (pulled.unflatten(-1, (3, 64))[:, :, 1] / (positive - first)).mean(1).flatten()
    assert weights.std() > 0.1 * weights.mean()


def test_9_signs_are_random_and_sizes_lie_where_asked():
    rho = [
        tree.polarity(a, b)
        for seed in range(5)
        for tree in [numeric.study_tree(4, 2, 0.7, seed)]
        for a, b in tree.edges
    ]
    sizes = np.abs(rho)
    assert sizes.min() >= 0.7
    assert sizes.max() <= 1
    positive = int((np.array(rho) > 0).sum())
    assert abs(positive - len(rho) / 2) < 5 * math.sqrt(len(rho)) / 2  # false alarm 6e-7


def test_10_the_final_network_is_the_one_evaluated_and_the_start_is_its_baseline():
    study = numeric.Study(2, 2, (4,), (0.9,), ("simple",), seeds=2, steps=30, samples=500, device="cpu")
    result = numeric.run_study(study)[0]
    assert result.steps[0] == 0
    assert result.steps[-1] == 30
    assert (result.before != result.after).any()
    row = numeric.summary([result])[0]
    assert {"before", "after", "ceiling", "share"} <= set(row)
