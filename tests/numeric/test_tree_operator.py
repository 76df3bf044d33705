"""Connections, operators and updates of tree networks: reference trees, autograd, loops over fractions."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import hltm
from hltm.base.errors import InputError
from numeric import (
    FinitePopulation,
    TreeNetwork,
    tree_activation_covariance,
    tree_connections,
    tree_covariance_operator,
    tree_factors,
    tree_population_gradient,
    tree_update,
    vec,
)
from numeric.towers.operator import predicted_update

EPS = 2.0**-52
CASES = range(24)
REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "vectors.json").read_text())["trees"]
DYADIC = {
    "edge": hltm.star_tree(1, polarity=0.5, root_polarity=0.5),
    "star": hltm.star_tree(3, polarity=-0.5),
    "path": hltm.complete_tree(depth=3, branching=1, polarity=0.5),
    "complete": hltm.complete_tree(depth=2, branching=2, polarity=0.5, root_polarity=-0.5),
    "caterpillar": hltm.caterpillar_tree(4, polarity=0.5),
}
GENERAL = {
    "random-1": hltm.random_tree(leaves=5, seed=1),
    "random-2": hltm.random_tree(leaves=4, seed=2, cardinality=(2, 3)),
    "random-3": hltm.random_tree(leaves=6, seed=3, symmetric=True),
    "caterpillar": hltm.caterpillar_tree(5, polarity=0.7, root_polarity=0.3),
    "zeros and ones": hltm.complete_tree(depth=2, branching=2, polarity=lambda _, child: [1, -1, 0][child % 3]),
}


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def population_of(tree):
    leaves = hltm.leaf_population(tree)
    return FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)


def dyadic_weights(tree, seed, lead=()):
    """Multiples of 1/2, widths 1 to 3."""
    rng = np.random.default_rng(seed)
    width = {node: int(rng.integers(1, 4)) for node in tree.latents}
    return {
        node: rng.integers(-3, 4, size=(*lead, width[node], sum(width.get(c, 1) for c in tree.children(node)))) / 2.0
        for node in tree.latents
    }


def envelope(network):
    """The network of absolute weights, linear: what bounds every intermediate sum of absolute terms."""
    weights = {node: matrix.abs() for node, matrix in network.weights.items()}
    return TreeNetwork.from_weights(network.tree, weights, 1)


def sizes(network):
    """Connections and output of the envelope with every leaf at its largest state."""
    top = torch.tensor([[network.tree.cardinality(leaf) - 1 for leaf in network.tree.leaves]])
    bound = envelope(network)
    return {node: k[:, 0] for node, k in tree_connections(bound, top).items()}, bound.forward(top)[:, 0]


def operations(network, population):
    """Operations on the longest way from an input to a result: tables, levels both ways, sums over samples."""
    widest = max(matrix.shape[-1] + matrix.shape[-2] for matrix in network.weights.values())
    return 8 * (population.augmentations + population.size + (widest + 4) * len(network.tree))


@pytest.mark.parametrize("case", CASES)
def test_reference_trees(case):
    reference = REFERENCE[case]
    assert len(REFERENCE) == len(CASES)
    tree = hltm.tree_from_json(reference["tree"])
    network = TreeNetwork.from_weights(tree, reference["weights"], reference["slope"])
    population = population_of(tree)
    rounding = operations(network, population) * EPS
    bounds, output = sizes(network)
    update, gradient = tree_update(network, population), tree_population_gradient(network, population)
    assert set(update) == set(gradient) == set(tree.latents) == set(reference["covariance_operator"])
    for node in tree.latents:
        k = bounds[node]
        expected = torch.tensor(reference["covariance_operator"][node], dtype=torch.float64)
        found = tree_covariance_operator(network, population, node)
        assert found.shape == (1, *expected.shape)
        assert bool(((found[0] - expected).abs() <= rounding * (k @ k.mT)[0]).all()), node
        assert torch.equal(found, found.mT)

        below = tree_factors(envelope(network), torch.ones(1, len(tree.leaves), dtype=torch.float64))[node].activation
        expected = torch.tensor(reference["activation_covariance"][node], dtype=torch.float64)
        found = tree_activation_covariance(network, population, node)
        assert bool(((found[0] - expected).abs() <= rounding * (below.mT @ below)[0]).all()), node

        expected = torch.tensor(reference["minus_expected_gradient_simple"][node], dtype=torch.float64)
        limit = 2 * rounding * (k[0] @ output[0])
        for found in (update[node], gradient[node]):
            assert found.shape == (1, *expected.shape)
            assert bool((vec(found[0] - expected).abs() <= limit).all()), node


@pytest.mark.parametrize("slope", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("name", DYADIC)
@pytest.mark.parametrize("seed", range(2))
def test_connections_are_derivatives_in_the_weights_exactly(seed, name, slope):
    tree = DYADIC[name]
    network = TreeNetwork.from_weights(tree, dyadic_weights(tree, seed, lead=(2,)), slope)
    leaves = torch.from_numpy(hltm.enumerate_leaves(tree))
    own = torch.stack([leaves, leaves + 1])
    for x in (leaves, own):
        found = tree_connections(network, x)
        derivatives = torch.autograd.functional.jacobian(
            lambda *parameters, x=x: network.with_parameters(parameters).forward(x), network.parameters
        )
        for node in tree.latents:
            block, index = network.plan.slot[node]
            derivative = derivatives[block][..., index, :, :]  # (E, batch, n_L, E, n_out, n_in)
            for member in range(2):
                expected = vec(derivative[member, :, :, member]).mT
                assert torch.equal(found[node][member], expected), (node, member)


def test_connections_of_normalised_outputs():
    tree = GENERAL["random-1"]
    network = TreeNetwork(tree, width=3, slope=0.25, output="normalized", seed=3, ensemble=2)
    leaves = torch.from_numpy(hltm.enumerate_leaves(tree))
    assert leaves[0].sum() == 0
    found = tree_connections(network, leaves)
    derivatives = torch.autograd.functional.jacobian(
        lambda *parameters: network.with_parameters(parameters).forward(leaves), network.parameters
    )
    linear = TreeNetwork.from_weights(tree, network.weights, 0.25)
    norm = torch.linalg.vector_norm(linear.forward(leaves), dim=-1)
    least = float(norm[norm > 0].min())
    for node in tree.latents:
        block, index = network.plan.slot[node]
        bound = sizes(network)[0][node].sum(-1, keepdim=True) / least
        # P = I - f f^T with f = u / |u|: the error of u is that of its sum of absolute terms, relative to |u|.
        roundings = operations(network, population_of(tree)) * EPS * (1 + float(sizes(network)[1].max()) / least)
        for member in range(2):
            expected = vec(derivatives[block][member, :, :, member, index]).mT
            assert bool(((found[node][member] - expected).abs() <= roundings * bound[member]).all()), node
        assert found[node][:, 0].abs().max() == 0


def test_levels_are_cuts_exactly():
    """f_L = sum_mu K_mu^T vec W_mu over the nodes of a level."""
    tree = hltm.complete_tree(depth=4, branching=2, polarity=0.5)
    network = TreeNetwork.from_weights(tree, dyadic_weights(tree, 4), 0.5)
    leaves = torch.from_numpy(np.random.default_rng(0).integers(0, 2, size=(40, 16)))
    factors, weights = tree_factors(network, leaves), network.weights
    for nodes in tree.levels[:-1]:
        assert torch.equal(sum(factors[v].adjoint_apply(weights[v]) for v in nodes), network.forward(leaves))


@pytest.mark.parametrize("output", ["linear", "normalized"])
@pytest.mark.parametrize("slope", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("name", GENERAL)
def test_update_is_the_gradient_of_the_simple_loss(name, slope, output):
    tree = GENERAL[name]
    network = TreeNetwork(tree, width=3, slope=slope, output=output, seed=8, ensemble=2)
    population = population_of(tree)
    found, expected = tree_update(network, population), tree_population_gradient(network, population)
    halves = tree_population_gradient(network, population, convention="one-branch")
    bounds, largest = sizes(network)
    rounding = operations(network, population) * EPS
    for node in tree.latents:
        size = bounds[node].sum(-1) * largest.sum(-1, keepdim=True)
        if output == "normalized":
            u = TreeNetwork.from_weights(tree, network.weights, slope).forward(population.flat_points).norm(dim=-1)
            least = float(u[u > 0].min())
            size = bounds[node].sum(-1) / least * (1 + largest.sum(-1, keepdim=True) / least)
        assert bool((vec(found[node] - expected[node]).abs() <= 2 * rounding * size).all()), node
        assert bool((vec(2 * halves[node] - expected[node]).abs() <= 2 * rounding * size).all()), node


@pytest.mark.parametrize(
    ("loss", "parameters"), [("triplet", {"tau": 0.5, "margin": 0.25}), ("infonce", {"tau": 1.0, "negatives": 2})]
)
def test_weighted_update_is_the_gradient_without_augmentation(loss, parameters):
    """theta of statement 4 vanishes where each point has one augmentation."""
    tree = GENERAL["random-1"]
    network = TreeNetwork(tree, width=2, slope=0.25, seed=2, ensemble=2)
    points = torch.rand(4, 1, len(tree.leaves), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    population = FinitePopulation(points, [0.1, 0.2, 0.3, 0.4])
    found = tree_update(network, population, loss, **parameters)
    expected = tree_population_gradient(network, population, loss, **parameters)
    operator = tree_covariance_operator(network, population, tree.root, loss, **parameters)
    bounds, largest = sizes(network)
    for node in tree.latents:
        # The weights xi lie in [0, 1] and change by 1/(4 tau) times the change of r, at most |f|^2 eps.
        size = (bounds[node].sum(-1) * largest.sum(-1, keepdim=True)) * (1 + largest.sum() ** 2 / parameters["tau"])
        rounding = 8 * operations(network, population) * EPS
        assert bool((vec(found[node] - expected[node]).abs() <= rounding * size).all()), node
    top = torch.matmul(operator, vec(network.matrix(tree.root)).unsqueeze(-1)).squeeze(-1)
    size = (bounds[tree.root].sum(-1) * largest.sum(-1, keepdim=True)) * (1 + largest.sum() ** 2 / parameters["tau"])
    assert bool(((top - vec(found[tree.root])).abs() <= rounding * size).all())


def test_update_of_a_path_is_that_of_a_dense_tower():
    tree = DYADIC["path"]
    weights = dyadic_weights(tree, seed=21)
    found = tree_update(TreeNetwork.from_weights(tree, weights, 0.5), population_of(tree))
    # The nodes of a path from the root down are the layers from the top down.
    layers = [weights[node] for node in reversed(tree.latents)]
    for node, expected in zip(
        reversed(tree.latents), predicted_update(layers, population_of(tree), slope=0.5), strict=True
    ):
        assert torch.equal(found[node][0], expected)


def test_diagonal_block_is_the_update_at_the_top_only():
    tree = DYADIC["complete"]
    weights = {0: [[1.0, -2.0]], 1: [[1.0, 0.5]], 2: [[1.5, 1.0]]}
    network, population = TreeNetwork.from_weights(tree, weights, 0.5), population_of(tree)
    updates = tree_update(network, population)
    same = {}
    for node in tree.latents:
        operator = tree_covariance_operator(network, population, node)[0]
        same[node] = torch.equal(2 * operator @ vec(network.matrix(node)[0]), vec(updates[node][0]))
    assert same == {0: True, 1: False, 2: False}


@pytest.mark.parametrize("slope", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_closed_form_of_statement_6(seed, slope):
    """o_mu a_mu a_mu^T with s from the law of the leaves given each child's state."""
    tree = hltm.random_tree(leaves=6, seed=seed)
    network, population = TreeNetwork(tree, width=2, slope=slope, seed=seed), population_of(tree)
    f = network.activations(torch.from_numpy(hltm.enumerate_leaves(tree)))
    for node in tree.latents:
        parts = []
        for child in tree.children(node):
            laws = [torch.from_numpy(hltm.leaf_distribution(tree, {child: z}).ravel()) for z in (0, 1)]
            parts.append(tree.polarity(node, child) * (laws[1] - laws[0]) @ f[child][0] / 2)
        a = torch.cat(parts)
        strength = tree.polarity(tree.root, node) ** 2 * (1 - tree.root_polarity**2)
        top = torch.tensor([[1] * len(tree.leaves)])
        below = tree_factors(envelope(network), top)[node].activation[0]
        bound = operations(network, population) * EPS * below.mT @ below
        # The law given a child's state is divided by its probability.
        least = min(float(p) for child in tree.nodes for p in tree.prior @ tree.transition(tree.root, child))
        difference = tree_activation_covariance(network, population, node)[0] - strength * torch.outer(a, a)
        assert bool((difference.abs() <= bound / least).all()), (seed, node)


def test_input_is_checked():
    tree = DYADIC["complete"]
    network, population = TreeNetwork(tree, width=2), population_of(tree)
    with refused("node 3: must be a latent; it is a leaf, which has no weights"):
        tree_covariance_operator(network, population, 3)
    with refused("node 9: not a node of the tree"):
        tree_activation_covariance(network, population, 9)
    with refused("population of dimension 1: must be 4, one for each leaf"):
        tree_update(network, FinitePopulation([[[1.0]]]))
    kinds = "torch.float32 on cpu before weights of torch.float64 on cpu"
    with refused(f"population: {kinds}: must share dtype and device; use population.to"):
        tree_population_gradient(network, population.to("cpu", torch.float32))
    with refused("leaves: entry (0, 2, 0) is nan: must be finite"):
        tree_connections(network, torch.tensor([[0.0, 0.0, torch.nan, 0.0]], dtype=torch.float64))
    with refused("convention='both': must be 'shared' or 'one-branch'"):
        tree_population_gradient(network, population, convention="both")
