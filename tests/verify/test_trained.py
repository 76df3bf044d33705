"""Evidence on trained networks can fail: each formula, broken on purpose, is refuted along training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import hltm
import numeric
from verify import theorem1
from verify.engine.evidence import Measurement
from verify.engine.statement import Context
from verify.towers import autograd
from verify.training import towers
from verify.training import trees as training_trees
from verify.trees.agreement import tree_population_of

SEED = 3
CONTEXT = Context(SEED)


@pytest.fixture(scope="module")
def runs():
    chosen = towers.towers(SEED, 3, towers.LOSSES, augmented=True)
    found = [run for run in towers.runs(chosen, "cpu") if run.finished]
    assert len(found) >= 3, f"seed {SEED}"
    return found


@pytest.fixture(scope="module")
def trees():
    tree = hltm.complete_tree(2, 2, (0.6, 0.95), root_polarity=0.3, seed=SEED)
    options = {"seed": SEED, "device": "cpu", "steps": 40, "mode": "exact", "tau": 0.5, "lr": 0.5}
    return list(training_trees.trained(tree, "infonce", **options))


def test_weights_really_move(runs, trees):
    for run in runs:
        first, last = run.points[0].weights, run.points[-1].weights
        moved = max(np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(first, last, strict=True))
        assert moved > 0.01
        assert len(run.points) >= 21
    start, end = trees[0].network.parameters[0], trees[-1].network.parameters[0]
    assert float((start - end).abs().max()) > 0.01
    assert len(trees) == 21


@pytest.mark.parametrize(
    "broken",
    [
        lambda update: [layer * (1 + 1e-8) for layer in update],
        lambda update: [layer / 2 for layer in update],
        lambda update: [-layer for layer in update],
        lambda update: [update[0], *(0 * layer for layer in update[1:])],
        lambda update: [layer * np.nan for layer in update],
    ],
)
def test_a_wrong_update_is_refuted_along_training(runs, broken):
    judged = 0
    for run in runs:
        true = towers.measure_run(run, towers.in_pairs, "cpu")
        if not true.decided or len(run.start.weights) == 1 or run.start.loss == "simple":
            continue
        judged += 1
        assert true.status == "holds", (SEED, true)
        wrong = towers.measure_run(run, lambda i, d: broken(autograd.update(i, d)), "cpu")
        assert wrong.status == "refuted", (SEED, wrong)
    assert judged


def test_theta_left_out_is_refuted_along_training(runs):
    """With augmentation the operator alone is not the update of triplet and InfoNCE."""
    statuses = {towers.measure_run(run, towers.predicted, "cpu").status for run in runs if run.start.loss != "simple"}
    assert "refuted" in statuses


def test_a_run_that_diverged_or_is_too_short_decides_nothing(runs):
    short = replace(runs[0], points=runs[0].points[:10], steps=runs[0].steps[:10])
    assert towers.measure_run(short, towers.in_pairs, "cpu").status == "abstained"
    diverged = replace(runs[0], finished=False)
    assert towers.measure_run(diverged, towers.in_pairs, "cpu").status == "abstained"


def test_a_wrong_gradient_of_a_pair_is_refuted_along_training(monkeypatch):
    def wrong(pair, device):
        return theorem1.measure_float(pair, theorem1.with_second(factor=0), device)

    monkeypatch.setattr(towers, "LOSSES", ("infonce",))
    assert towers.pairs_along(CONTEXT, wrong).status == "refuted"
    nothing = towers.pairs_along(CONTEXT, lambda pair, device: Measurement(0.0, 1.0, False))
    assert nothing.status == "abstained"


def without_half(network, node):
    return 4 * training_trees.closed_form(network, node)


def without_root(network, node):
    return training_trees.closed_form(network, node) / (1 - network.tree.root_polarity**2)


def root_not_squared(network, node):
    rho = network.tree.root_polarity
    return training_trees.closed_form(network, node) * (1 - rho) / (1 - rho**2)


@pytest.mark.parametrize("wrong", [without_half, without_root, root_not_squared])
def test_a_wrong_closed_form_is_refuted_at_trained_weights(trees, wrong, monkeypatch):
    assert all(training_trees.measure_enumerated(one).status == "holds" for one in trees)
    values = {(id(one), node): wrong(one.network, node) for one in trees for node in one.network.tree.latents}
    for one in trees:
        with monkeypatch.context() as patch:
            patch.setattr(training_trees, "closed_form", lambda _, node, one=one: values[id(one), node])
            assert training_trees.measure_enumerated(one).status == "refuted", (SEED, one.step)


def test_operators_and_updates_can_be_refuted_at_trained_weights(trees, monkeypatch):
    assert all(training_trees.measure_operator(one).status == "holds" for one in trees)
    true = training_trees.connection_gap

    def halved(network, population):
        gaps, top = true(network, population)
        return gaps, top / 2

    monkeypatch.setattr(training_trees, "connection_gap", halved)
    assert all(training_trees.measure_operator(one).status == "refuted" for one in trees[1:])


def test_the_diagonal_block_alone_is_not_the_update_at_trained_weights(trees):
    """Cross terms between siblings: 2 OP_mu vec W is the update at the top only."""
    network = trees[-1].network
    population = tree_population_of(network)
    gradient = numeric.tree_population_gradient(network, population)
    for node in network.tree.latents:
        block = numeric.tree_covariance_operator(network, population, node)
        alone = 2 * (block @ network.matrix(node).mT.flatten(1).unsqueeze(-1)).squeeze(-1)
        whole = gradient[node].mT.flatten(1)
        apart = float((alone - whole).abs().max() / whole.abs().max())
        assert (apart < 1e-10) == (node == network.tree.root), (SEED, node, apart)


def test_sampling_on_32_leaves_refutes_a_closed_form_wrong_by_a_fifth(monkeypatch):
    tree = hltm.complete_tree(5, 2, (0.9, 1.0), seed=SEED)
    options = {"seed": SEED, "device": "cpu", "steps": 40, "width": 3, "output": "normalized", "lr": 0.1, "batch": 64}
    one = list(training_trees.trained(tree, "infonce", **options))[-1]
    assert training_trees.measure_sampled(one, context=CONTEXT, comparisons=1).status == "holds"
    right = training_trees.closed_form(one.network, tree.root)
    monkeypatch.setattr(training_trees, "closed_form", lambda network, node: 1.2 * right)
    assert training_trees.measure_sampled(one, context=CONTEXT, comparisons=1).status == "refuted"


def test_selectivities_below_a_node_are_those_of_the_whole_tree():
    """The subtree and its network against conditional means over all leaves."""
    tree = hltm.random_tree(leaves=6, seed=SEED, symmetric=False)
    network = numeric.TreeNetwork(tree, 3, 0.25, seed=SEED, ensemble=2)
    population = hltm.enumerate_leaves(tree)
    values = network.activations(torch.from_numpy(population))
    for node in tree.latents[1:]:
        laws = [hltm.leaf_distribution(tree, {node: state}).ravel() for state in (0, 1)]
        means = [np.einsum("c,ecn->en", law, values[node].numpy()) for law in laws]
        found = training_trees.selectivities(network, node)
        np.testing.assert_allclose(found, (means[1] - means[0]) / 2, rtol=0, atol=1e-14)


def test_rates_can_be_refuted():
    slow = [-0.25 + 0.01 * (-1) ** n for n in range(40)]
    assert towers.judged("tree", "error", slow, -0.5).status == "refuted"
    assert towers.judged("tree", "error", [-0.5 + 0.3 * (-1) ** n for n in range(8)], -0.5).status == "abstained"


def test_the_sampled_operator_is_the_exact_one_within_its_error():
    """`operator_update` against the exact update of a small tree; a factor of 2 is far outside."""
    tree = hltm.complete_tree(2, 2, 0.8, root_polarity=0.2)
    network = numeric.TreeNetwork(tree, 2, 0.0, seed=SEED)
    exact = numeric.tree_update(network, tree_population_of(network))
    repeats = []
    for seed in range(20):
        found = towers.operator_update(network, 2 * towers.CHUNK, torch.Generator().manual_seed(seed))
        repeats.append(torch.cat([block.flatten() for block in network.with_parameters(found).weights.values()]))
    sample = torch.stack(repeats)
    truth = torch.cat([value.flatten() for value in exact.values()])
    error = sample.std(0) / len(repeats) ** 0.5
    # Student's law with 19 degrees of freedom: beyond 9 with probability 3e-8 for each of 12 entries.
    assert bool(((sample.mean(0) - truth).abs() <= 9 * error + 1e-12).all())
    assert bool(((2 * sample.mean(0) - truth).abs() > 9 * 2 * error).any())
