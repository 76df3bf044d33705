"""Fast sums of the logistic function against the literal double sum, in float64 and in rational balls."""

import math

import pytest
import torch
from flint import arb, ctx

import hltm
import numeric
from hltm.base.errors import InputError
from numeric.training.contrast import training_loss
from numeric.training.exact import exact_source, logistic_sums
from numeric.training.minibatch import Stack

CASES = [
    (0.1, 2.0, 0.0), (0.01, 2.0, 0.05), (0.5, 30.0, 0.3), (1.0, 0.0, 0.0), (2.0, 0.001, -1.0), (0.1, 25.6, 0.0),
    (1e-3, 2.0, 0.0), (1e-4, 2.0, 0.01), (0.01, 2.0, 1.5), (0.01, 2.0, -1.5), (0.01, 2.0, 5.0),
]  # fmt: skip


def drawn(seed, rows, size, reach):
    generator = torch.Generator().manual_seed(seed)
    numbers, left, right = (
        torch.rand(shape, generator=generator, dtype=torch.float64) for shape in ((rows, size), (rows, size), (size,))
    )
    return numbers * reach, left / left.sum(), right / right.sum()


@pytest.mark.parametrize(("tau", "reach", "margin"), CASES)
def test_against_the_literal_double_sum(tau, reach, margin):
    seed = 7
    numbers, left, right = drawn(seed, 5, 200, reach)
    total, slopes = logistic_sums(numbers, left, right, tau, margin)
    excess = (numbers[:, :, None] - numbers[:, None, :] + margin) / tau
    share = torch.sigmoid(excess)
    expected = tau * torch.einsum("rij,ri,j->r", torch.logaddexp(excess, torch.zeros_like(excess)), left, right)
    derivative = left * (share @ right) - right * torch.einsum("rij,ri->rj", share, left)
    # Sums of 200 terms with weights of either set, arguments with an error of reach/tau roundings.
    rounding = 200 * 2**-53 * (8 + reach / tau)
    torch.testing.assert_close(total, expected, rtol=rounding, atol=0, msg=f"seed {seed}")
    size = float((left.sum(1, keepdim=True) * right + left).max())
    torch.testing.assert_close(slopes, derivative, rtol=0, atol=rounding * size, msg=f"seed {seed}")


def test_against_balls():
    """40 digits, five numbers."""
    numbers, left, right = drawn(1, 1, 5, 1.0)
    total, slopes = logistic_sums(numbers, left, right, 0.125, 0.25)
    before, ctx.prec = ctx.prec, 160
    try:
        d, w, p = ([arb(x) for x in values.flatten().tolist()] for values in (numbers, left, right))
        exact, gradient = arb(0), [arb(0)] * 5
        for i in range(5):
            for j in range(5):
                u = (d[i] - d[j] + arb(0.25)) * 8
                exact += w[i] * p[j] * (1 + u.exp()).log() / 8
                slope = w[i] * p[j] / (1 + (-u).exp())
                gradient[i] += slope
                gradient[j] -= slope
        assert abs(arb(total.item()) - exact) < 1e-15
        assert all(abs(arb(s) - g) < 1e-15 for s, g in zip(slopes.flatten().tolist(), gradient, strict=True))
    finally:
        ctx.prec = before


def test_numbers_that_reach_too_far_are_refused():
    for reach in (3.0, math.inf, math.nan):
        with pytest.raises(
            InputError, match=rf"numbers that reach {reach:g} with tau=1e-06: must be at most 1,048,576 tau"
        ):
            logistic_sums(torch.tensor([[0.0, reach]]).double(), *drawn(0, 1, 2, 1.0)[1:], 1e-6, 0.0)


@pytest.mark.parametrize("loss", ["triplet", "infonce"])
def test_a_member_that_diverges_leaves_the_others_alone(loss):
    """64 configurations of the leaves: above what is summed term by term."""
    tree = hltm.random_tree(leaves=6, seed=4)
    network = numeric.TreeNetwork(tree, 3, ensemble=3, seed=1)
    trace = numeric.train(network, tree, loss, lr=[0.1, 1e200, 0.1], steps=4, record_every=2, mode="exact")
    assert [failure.member for failure in trace.failures] == [1]
    alone = numeric.TreeNetwork(tree, 3, ensemble=3, seed=1)
    kept = alone.with_parameters([block[[0, 2]] for block in alone.parameters])
    calm = numeric.train(kept, tree, loss, lr=0.1, steps=4, record_every=2, mode="exact")
    assert torch.isfinite(calm.losses).all()
    torch.testing.assert_close(trace.losses[:, [0, 2]], calm.losses, rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", ["triplet", "infonce"])
@pytest.mark.parametrize("output", ["linear", "normalized"])
def test_the_population_of_six_leaves_against_the_literal_sum(loss, output):
    """64 configurations: the fast sum; autograd of the literal sum over all triples is the oracle."""
    seed = 2
    tree = hltm.random_tree(leaves=6, seed=seed, symmetric=False)
    leaves = hltm.leaf_population(tree)
    population = numeric.FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)
    network = numeric.TreeNetwork(tree, 3, 0.2, output, seed, ensemble=2)
    options = {"tau": 0.2, "margin": 0.1} if loss == "triplet" else {"tau": 0.2}
    stack = Stack(network.plan, 0.2, output == "normalized")
    source = exact_source(stack, [tree], [training_loss(loss, **options)] * 2, torch.float64, torch.device("cpu"))
    _, gradients = next(iter(source.steps(0, 1)))(network.parameters)
    expected = numeric.tree_population_gradient(network, population, loss, **options)
    for node, value in network.with_parameters(gradients).weights.items():
        torch.testing.assert_close(value, -expected[node], rtol=0, atol=1e-13, msg=f"seed {seed}, node {node}")
        assert float(expected[node].abs().max()) > 1e-6


def test_twelve_leaves_take_one_step():
    tree = hltm.random_tree(leaves=12, seed=1)
    network = numeric.TreeNetwork(tree, 2, output="normalized")
    trace = numeric.train(network, tree, "infonce", tau=0.5, lr=0.1, steps=1, mode="exact")
    population = 4096
    assert len(hltm.enumerate_leaves(tree)) == population
    sampled = numeric.train(network, tree, "infonce", tau=0.5, lr=0.1, steps=1, batch=400_000, keep_networks=False)
    # Standard error of a mean of 400,000 losses in [0, tau log(1 + e^(2/tau))]: at most 2/1265.
    assert abs(float(trace.losses[0, 0]) - float(sampled.losses[0, 0])) < 6 * 2.1 / 400_000**0.5
