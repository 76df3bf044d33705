"""Sampling of trees on a device, and statement 6 by sampling with error bars.

Every comparison with chance in it says its false-alarm rate: 1e-6 for each test, shared among its comparisons. Seeds are
fixed, so a test passes always or never; the rate is the chance that a right sampler had been refused at the start.
"""

import math
import re

import numpy as np
import pytest
import torch
from scipy.special import chdtri, stdtrit

import hltm
from hltm.base.errors import InputError
from numeric import (
    FinitePopulation,
    TreeNetwork,
    TreeSampler,
    estimate_activation_covariance,
    sample_leaves,
    tree_activation_covariance,
)
from numeric.trees import sampling

FALSE_ALARM = 1e-6
TREES = {
    "edge": hltm.star_tree(1, polarity=0.3, root_polarity=0.2),
    "complete": hltm.complete_tree(depth=2, branching=2, polarity=0.8, root_polarity=-0.4),
    "caterpillar": hltm.caterpillar_tree(4, polarity=-0.6),
    "random-1": hltm.random_tree(leaves=5, seed=1),
    "random-2": hltm.random_tree(leaves=4, seed=2, cardinality=(2, 4)),
}


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def generator(seed):
    return torch.Generator().manual_seed(seed)


def counts_of(tree, leaves):
    shape = tuple(tree.cardinality(leaf) for leaf in tree.leaves)
    return np.bincount(np.ravel_multi_index(tuple(leaves.numpy().T), shape), minlength=math.prod(shape))


def chi_square(counts, law):
    """Pearson's statistic and its degrees of freedom; cells of fewer than 20 expected samples are joined."""
    expected = counts.sum() * law
    assert counts[law == 0].sum() == 0
    large = expected >= 20
    cells = [*zip(counts[large], expected[large], strict=True), (counts[~large].sum(), expected[~large].sum())]
    cells = [(c, e) for c, e in cells if e >= 1]
    return sum((c - e) ** 2 / e for c, e in cells), len(cells) - 1


@pytest.mark.parametrize("name", TREES)
def test_leaves_follow_the_law_of_the_tree(name):
    tree, n = TREES[name], 100_000
    laws = {None: hltm.leaf_distribution(tree).ravel()}
    laws |= dict(enumerate(hltm.leaf_table(tree)))
    for seed, (state, law) in enumerate(laws.items()):
        leaves = sample_leaves(tree, n, generator=generator(seed), device="cpu", root_states=state)
        assert leaves.shape == (n, len(tree.leaves))
        statistic, freedom = chi_square(counts_of(tree, leaves), law)
        assert freedom >= 1
        assert statistic <= chdtri(freedom, FALSE_ALARM / len(laws)), (name, state, seed)


def test_a_wrong_law_is_refused():
    """The same comparison against the law of another polarity, of another order of the leaves."""
    tree, n = TREES["caterpillar"], 100_000
    counts = counts_of(tree, sample_leaves(tree, n, generator=generator(0)))
    near = hltm.leaf_distribution(hltm.caterpillar_tree(4, polarity=-0.58)).ravel()
    swapped = hltm.leaf_distribution(tree).transpose(3, 0, 1, 2).ravel()
    for law in (near, swapped):
        statistic, freedom = chi_square(counts, law)
        assert statistic > chdtri(freedom, FALSE_ALARM)


def test_root_states_of_each_sample_are_kept():
    tree = hltm.complete_tree(depth=5, branching=2, polarity=lambda _, child: 1 if child % 2 else -1)
    kept = torch.tensor([0, 1, 1, 0, 1])
    leaves = sample_leaves(tree, 5, generator=generator(0), root_states=kept)
    for column, leaf in enumerate(tree.leaves):
        expected = kept if tree.polarity(tree.root, leaf) == 1 else 1 - kept
        assert torch.equal(leaves[:, column], expected)


def test_samples_are_independent_of_each_other():
    """The number of pairs of neighbours that agree, at the root of a single edge: binomial, mean n/2."""
    n = 200_000
    leaves = sample_leaves(hltm.star_tree(1, polarity=0.9), n, generator=generator(3))[:, 0]
    agree = int((leaves[1:] == leaves[:-1]).sum())
    assert abs(agree - (n - 1) / 2) <= math.sqrt((n - 1) / 4 * chdtri(1, FALSE_ALARM))


def test_states_of_probability_zero_are_never_drawn():
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_node("r", prior=[0, 0.5, 0.5, 0], cardinality=4)
    graph.add_node("x", cardinality=3)
    graph.add_edge("r", "x", transition=[[1, 0, 0], [0, 1, 0], [0, 0.1, 0.9], [1, 0, 0]])
    leaves = sample_leaves(hltm.HLTM(graph), 50_000, generator=generator(0))
    assert leaves.unique().tolist() == [1, 2]


def test_a_seed_gives_its_samples():
    tree = TREES["random-1"]
    first, again = (sample_leaves(tree, 50, generator=generator(7)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, sample_leaves(tree, 50, generator=generator(8)))
    small = sample_leaves(tree, 50, generator=generator(7), dtype=torch.uint8)
    assert small.dtype == torch.uint8
    assert torch.equal(small.long(), first)


@pytest.mark.parametrize("n", [1, 1000])
def test_a_level_is_drawn_at_once(n, monkeypatch):
    """One call of the generator per level and pair of cardinalities, whatever the number of samples."""
    calls, true = [], torch.rand
    monkeypatch.setattr(torch, "rand", lambda *a, **k: calls.append(a[0]) or true(*a, **k))
    tree = hltm.complete_tree(depth=7, branching=2, polarity=0.5)
    sample_leaves(tree, n, generator=generator(0))
    assert calls == [(2**d, n) for d in range(8)]


def exact(network, node):
    leaves = hltm.leaf_population(network.tree)
    population = FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)
    return tree_activation_covariance(network, population, node)


ESTIMATED = TREES | {
    "independent": hltm.complete_tree(depth=2, branching=2, polarity=0.0),
    "one edge cut": hltm.complete_tree(depth=2, branching=2, polarity=lambda _, child: 0.7 * (child != 1)),
    "nearly certain root": hltm.complete_tree(depth=2, branching=2, polarity=0.9, root_polarity=0.99),
}


@pytest.mark.parametrize("slope", [0.0, 1.0])
@pytest.mark.parametrize("name", ESTIMATED)
def test_statement_6_by_sampling(name, slope):
    """Entries within t standard errors; Student's t of B - 1 degrees, its tail shared among all entries."""
    tree, batches = ESTIMATED[name], 200
    network = TreeNetwork(tree, width=2, slope=slope, seed=1, ensemble=2)
    entries = 2 * sum(matrix.shape[-1] ** 2 for matrix in network.weights.values())
    limit = stdtrit(batches - 1, 1 - FALSE_ALARM / (2 * entries))
    for seed, node in enumerate(tree.latents):
        estimate, error = estimate_activation_covariance(network, tree, node, 40_000, generator(seed), batches=batches)
        truth = exact(network, node)
        assert estimate.shape == error.shape == truth.shape
        silent = error == 0
        assert bool((error[~silent] > 0).all())
        # An activation that is constant (a dead neuron) is estimated without error.
        assert bool((estimate[silent].abs() == 0).all())
        assert bool((truth[silent].abs() <= 1e-30).all())
        assert bool(((estimate - truth).abs()[~silent] <= limit * error[~silent]).all()), (name, seed, node)


def test_sampling_sees_a_wrong_power_of_the_polarity():
    """rho in place of rho^2, at a node below an edge of polarity 0.8."""
    tree = hltm.complete_tree(depth=2, branching=2, polarity=0.8)
    network = TreeNetwork(tree, width=1)
    estimate, error = estimate_activation_covariance(network, tree, 1, 40_000, generator(0))
    truth = exact(network, 1)
    assert bool(((estimate - truth).abs() < 4 * error).all())
    assert bool(((estimate - truth / 0.8).abs() > 10 * error).all())


@pytest.mark.parametrize("polarity", [0.0, 0.05, 0.6])
def test_standard_errors_are_calibrated(polarity):
    """Over 300 repetitions error / standard error has mean 0 and variance 1, with V = 0, small and large."""
    tree, repetitions, batches = hltm.star_tree(1, polarity=polarity, root_polarity=0.2), 300, 50
    network = TreeNetwork(tree, width=1)
    truth = float(exact(network, 0))
    scores = []
    for seed in range(repetitions):
        estimate, error = estimate_activation_covariance(network, tree, 0, 1000, generator(seed), batches=batches)
        scores.append((float(estimate) - truth) / float(error))
    # A t variable of 49 degrees has variance 49/47; skewness of V_b (at most that of a squared normal, 8^(1/2))
    # shifts the mean of the ratio by at most 8^(1/2) / (2 * 50^(1/2)) = 0.2.
    freedom = batches - 1
    spread = math.sqrt(freedom / (freedom - 2) / repetitions)
    quantile = math.sqrt(chdtri(1, FALSE_ALARM))
    assert abs(np.mean(scores)) <= 0.2 + quantile * spread
    ratio = np.var(scores, ddof=1) / (freedom / (freedom - 2))
    # Variance of a sample variance: (kurtosis - 1) / n, kurtosis at most 5 here; skewness adds at most 0.5 to the ratio.
    assert abs(ratio - 1) <= 0.5 + quantile * math.sqrt(4 / repetitions)


def test_estimate_has_no_bias_where_the_covariance_is_zero():
    """The plug-in estimate would be (1 - rho_0^2)/4 * 2 * (1/4) / n > 0 for each batch of n."""
    tree = hltm.star_tree(1, polarity=0.0)
    network = TreeNetwork(tree, width=1)
    estimate, error = estimate_activation_covariance(network, tree, 0, 4_000_000, generator(0), batches=400_000)
    plug_in = 0.25 * 2 * 0.25 / 10
    assert abs(float(estimate)) <= math.sqrt(chdtri(1, FALSE_ALARM)) * float(error)
    assert plug_in > 100 * float(error)


def test_error_falls_with_the_root_of_the_samples():
    """One leaf of polarity 0.6: V_b = (D^2 - E[d^2]) / 4, D = 0.6 + d, Var d = 0.32 / n for batches of n."""
    tree, batches = hltm.star_tree(1, polarity=0.6), 2000
    network = TreeNetwork(tree, width=1)
    errors = [
        float(estimate_activation_covariance(network, tree, 0, n * batches, generator(0), batches=batches)[1])
        for n in (10, 160)
    ]
    # First order (4 D^2 Var d)^(1/2) / 4, second order (2 Var d^2)^(1/2) / 4.
    expected = [math.sqrt((4 * 0.36 * 0.32 / n + 2 * (0.32 / n) ** 2) / 16 / batches) for n in (10, 160)]
    # A standard deviation of B values of kurtosis at most 4 has a relative error of (3 / 4 B)^(1/2); ratios have twice that.
    bound = 2 * math.sqrt(chdtri(1, FALSE_ALARM / 3) * 3 / (4 * batches))
    assert abs(errors[0] / errors[1] / 4 - 1) <= bound + 0.02  # the second order at n = 10: 2 %
    for found, predicted in zip(errors, expected, strict=True):
        assert abs(found / predicted - 1) <= bound


def test_pieces_and_the_whole_are_the_same_samples(monkeypatch):
    """Batches drawn one by one follow the same law; with certain tables they give the same numbers."""
    tree = hltm.complete_tree(depth=2, branching=2, polarity=1.0, root_polarity=0.5)
    network = TreeNetwork.from_weights(tree, {0: [[1.0, 2.0]], 1: [[1.0, 1.0]], 2: [[0.5, 1.0]]})
    for numbers in (2**24, 1):
        monkeypatch.setattr(sampling, "_NUMBERS", numbers)
        estimate, error = estimate_activation_covariance(network, tree, 0, 40, generator(0), batches=4)
        assert torch.equal(estimate, exact(network, 0))
        assert error.abs().max() == 0


def test_input_is_checked():
    tree = TREES["complete"]
    network = TreeNetwork(tree, width=2)
    with refused("n=0: must be at least 1"):
        sample_leaves(tree, 0, generator=generator(0))
    with refused("n=1,000,000,000 of 4 leaves: must be at most 2,147,483,648 states"):
        sample_leaves(tree, 10**9, generator=generator(0))
    with refused("root_states: 2: must lie in 0 .. 1, the states of root 0"):
        sample_leaves(tree, 3, generator=generator(0), root_states=[0, 2, 1])
    with refused("root_states: torch.int64 of shape (2,): must be one integer or integers of shape (3,)"):
        sample_leaves(tree, 3, generator=generator(0), root_states=[0, 1])
    with refused("root_states: torch.float32 of shape (): must be one integer or integers of shape (3,)"):
        sample_leaves(tree, 3, generator=generator(0), root_states=0.5)
    with refused("dtype=torch.bool of samples: must hold the states 0 .. 1"):
        sample_leaves(tree, 3, generator=generator(0), dtype=torch.bool)
    with refused("device='tpu': must be 'auto', 'cpu' or 'cuda'"):
        TreeSampler(tree, "tpu")
    with refused("samples=199: must be at least 200"):
        estimate_activation_covariance(network, tree, 0, 199, generator(0))
    with refused("batches=1: must be at least 2"):
        estimate_activation_covariance(network, tree, 0, 199, generator(0), batches=1)
    with refused("node 3: must be a latent; it is a leaf, which has no weights"):
        estimate_activation_covariance(network, tree, 3, 200, generator(0))
    other = hltm.complete_tree(depth=1, branching=2, polarity=0.8)
    with refused(f"tree {other!r}: must have the nodes and edges of the network's tree {tree!r}"):
        estimate_activation_covariance(network, other, 0, 200, generator(0))


def test_another_tree_of_the_same_shape_may_be_sampled():
    tree = hltm.complete_tree(depth=2, branching=2, polarity=0.0)
    network = TreeNetwork(TREES["complete"], width=1)
    estimate, error = estimate_activation_covariance(network, tree, 0, 20_000, generator(0))
    assert bool((estimate.abs() <= 6 * error).all())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device():
    tree = TREES["random-2"]
    device = torch.device("cuda")
    leaves = sample_leaves(tree, 100_000, generator=torch.Generator(device).manual_seed(0), device="cuda")
    assert leaves.is_cuda
    statistic, freedom = chi_square(counts_of(tree, leaves.cpu()), hltm.leaf_distribution(tree).ravel())
    assert statistic <= chdtri(freedom, FALSE_ALARM)
    network = TreeNetwork(tree, width=2, ensemble=3, device="cuda")
    held = TreeNetwork(tree, width=2, ensemble=3)
    difference = (network.forward(leaves[:100]).cpu() - held.forward(leaves[:100].cpu())).abs().max()
    # Both sums of absolute terms pass through the network of absolute weights; roundings: neurons times levels.
    sizes = TreeNetwork.from_weights(tree, {node: matrix.abs() for node, matrix in held.weights.items()}, 1)
    bound = float(sizes.forward(leaves[:100].cpu()).max()) * 2.0**-52 * 2 * held.plan.neurons * (tree.depth + 1)
    assert float(difference) <= bound
