"""Losses and gradients of a stack against autograd through `TreeNetwork.forward`, differences, and exact populations.

The losses are written here once more as their definitions read, by pairs of samples; autograd differentiates them.
"""

import itertools

import pytest
import torch

import hltm
from numeric import FinitePopulation, TreeNetwork, tree_population_gradient
from numeric.training.contrast import contrast_of, training_loss
from numeric.training.exact import exact_source
from numeric.training.minibatch import Stack
from numeric.trees.streams import TripleSampler

CPU, EPS = torch.device("cpu"), 2.0**-52
BATCH, SEEDS = 6, [11, 12, 13]
TREES = {
    "edge": hltm.star_tree(1, polarity=0.5),
    "star": hltm.star_tree(3, polarity=0.8),
    "path": hltm.complete_tree(depth=4, branching=1, polarity=0.9),
    "complete": hltm.complete_tree(3, 2, (0.5, 1.0), seed=1),
    "caterpillar": hltm.caterpillar_tree(5, polarity=0.8),
    "random": hltm.random_tree(leaves=7, seed=3),
    "categorical": hltm.random_tree(leaves=6, seed=5, cardinality=3),
}
LOSSES = {
    "simple": [training_loss("simple")] * 3,
    "triplet": [training_loss("triplet", tau=tau, margin=margin) for tau, margin in ((0.3, 0.1), (1, -0.2), (0.05, 0))],
    "infonce": [training_loss("infonce", tau=tau) for tau in (0.1, 0.3, 1.0)],
    "mixed": [training_loss("infonce", tau=0.2), training_loss("simple"), training_loss("triplet", margin=0.5)],
    "three negatives": [training_loss("infonce", tau=tau, negatives=3) for tau in (0.1, 0.3, 1.0)],
    "ntxent": [training_loss("ntxent", tau=tau) for tau in (0.1, 0.3, 1.0)],
}


def distance(f, g):
    return 0.5 * (f - g).square().sum(-1)


def literal_loss(spec, f):
    """Mean loss of one member from its outputs ``(towers, B, n_L)``, as the definitions read."""
    if spec.name == "ntxent":
        views = f.flatten(0, 1)
        table = torch.exp(-distance(views[:, None], views[None]) / spec.tau)
        number = torch.arange(len(views))
        rest = (table * (number[:, None] != number)).sum(1)
        return (-spec.tau * torch.log(table[number, (number + len(views) // 2) % len(views)] / rest)).mean()
    r_pos, r_neg = distance(f[0], f[1]), [distance(f[0], other) for other in f[2:]]
    if spec.name == "simple":
        return (r_pos - r_neg[0]).mean()
    if spec.name == "triplet":
        return (spec.tau * torch.log(1 + torch.exp((r_pos - r_neg[0] + spec.margin) / spec.tau))).mean()
    grown = torch.exp(-r_pos / spec.tau)
    return (-spec.tau * torch.log(grown / (grown + sum(torch.exp(-r / spec.tau) for r in r_neg)))).mean()


def case(tree, loss, slope, output, width=4):
    """Networks, leaves and what the step makes of them."""
    specs = LOSSES[loss]
    network = TreeNetwork(TREES[tree], width, slope, output, seed=1, ensemble=3)
    contrast = contrast_of(specs, CPU, torch.float64)
    leaves = TripleSampler([TREES[tree]], SEEDS, BATCH, contrast.negatives, CPU).leaves(0)[0]
    stack = Stack(network.plan, slope, output == "normalized")
    return network, specs, leaves, stack, contrast


def total(network, specs, parameters, leaves):
    """Losses of the members by autograd's forward pass."""
    outputs = network.with_parameters(parameters).forward(leaves.mT).unflatten(1, (-1, BATCH))
    return torch.stack([literal_loss(spec, f) for spec, f in zip(specs, outputs, strict=True)])


@pytest.mark.parametrize(
    ("slope", "output"), [(0.0, "normalized"), (0.3, "linear"), (0.3, "normalized"), (1.0, "linear")]
)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("tree", TREES)
def test_gradient_is_that_of_autograd(tree, loss, slope, output):
    network, specs, leaves, stack, contrast = case(tree, loss, slope, output)
    before = [block.clone() for block in network.parameters]
    losses, gradients = stack.gradient(network.parameters, leaves, contrast)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters, strict=True))
    held = [block.clone().requires_grad_() for block in network.parameters]
    wanted = total(network, specs, held, leaves)
    expected, wanted = torch.autograd.grad(wanted.sum(), held), wanted.detach()
    # Outputs, distances and losses are of size one, but 1/tau and the chain of some 10 products enlarge roundings.
    bound = 1000 * EPS / min(spec.tau for spec in specs)
    assert float((losses - wanted).abs().max()) <= bound
    for own, other in zip(gradients, expected, strict=True):
        assert float((own - other).abs().max()) <= bound * (1 + float(other.abs().max()))


@pytest.mark.parametrize("loss", ["mixed", "three negatives", "ntxent"])
def test_gradient_is_the_limit_of_differences(loss):
    """Along one weight after another; a slope of 1 has no kinks, and the error of a central difference is h^2."""
    network, specs, leaves, stack, contrast = case("star", loss, 1.0, "normalized", width=2)
    _, gradients = stack.gradient(network.parameters, leaves, contrast)
    h, block = 1e-5, network.parameters[0]
    for place in itertools.product(*map(range, block.shape[1:])):
        sides = []
        for sign in (1, -1):
            moved = block.clone()
            moved[(slice(None), *place)] += sign * h
            sides.append(total(network, specs, [moved], leaves))
        found = (sides[0] - sides[1]) / (2 * h)
        assert float((found - gradients[0][(slice(None), *place)]).abs().max()) <= 1e-6, place


SMALL = {
    "complete": [hltm.complete_tree(2, 2, (0.5, 1.0), seed=seed) for seed in (1, 2, 3)],
    "random": [hltm.random_tree(leaves=5, seed=3)],
    "categorical": [hltm.random_tree(leaves=3, seed=5, cardinality=3)],
    "impossible states": [hltm.star_tree(3, polarity=1.0, root_polarity=rho) for rho in (0.3, 1.0, -1.0)],
}


@pytest.mark.parametrize("output", ["linear", "normalized"])
@pytest.mark.parametrize("loss", ["simple", "triplet", "infonce", "mixed"])
@pytest.mark.parametrize("name", SMALL)
def test_exact_gradient_is_that_of_the_population(name, loss, output):
    trees, specs = SMALL[name], LOSSES[loss]
    network = TreeNetwork(trees[0], 4, 0.2, output, seed=1, ensemble=3)
    source = exact_source(Stack(network.plan, 0.2, output == "normalized"), trees, specs, torch.float64, CPU)
    for kept in ([0, 1, 2], [0, 2], [1]):
        members = torch.tensor(kept)
        here = network.with_parameters([block[members] for block in network.parameters])
        found = list((source if len(kept) == 3 else source.keep(members)).steps(0, 2))
        assert len(found) == 2
        losses, gradients = found[1](here.parameters)
        for place, member in enumerate(kept):
            own, spec = trees[member if len(trees) > 1 else 0], specs[member]
            leaves = hltm.leaf_population(own)
            population = FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)
            one = here.with_parameters([block[place : place + 1] for block in here.parameters])
            wanted = tree_population_gradient(one, population, spec)
            mine = here.with_parameters(gradients).weights
            for node, matrix in wanted.items():
                # The reference gives the update, minus the gradient.
                assert float((mine[node][place] + matrix[0]).abs().max()) <= 1000 * EPS / spec.tau, (member, node)
            assert float(losses[place] - literal_expectation(one, own, spec)) == pytest.approx(0, abs=1000 * EPS)


def literal_expectation(network, tree, spec):
    """Sum over z_0, z_0' and configurations of x_1, x_+, x_-."""
    law = hltm.leaf_population(tree, drop_zero=False)
    outputs = network.forward(torch.from_numpy(law.points[0]).to(torch.float64))[0]
    q, prior = torch.from_numpy(law.augmentation_weights), torch.from_numpy(law.point_weights)
    pairs, anywhere = torch.einsum("z,za,zb->ab", prior, q, q), prior @ q
    spread = distance(outputs[:, None], outputs[None])
    excess = spread[:, :, None] - spread[:, None, :]
    values = excess
    if spec.name != "simple":
        values = spec.tau * torch.log(1 + torch.exp((excess + spec.margin) / spec.tau))
    return float((pairs[:, :, None] * anywhere * values).sum())
