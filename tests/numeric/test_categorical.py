"""Correlations with latents of many states, their ceilings and operator norms, against numpy on every state of a tree.

The oracles: the correlation ratio from conditional means, canonical correlations as a generalised eigenvalue problem of
the indicators of all states but one, the ceiling as the second singular value of the joint law of latent and leaves.
"""

from itertools import product

import networkx as nx
import numpy as np
import pytest
import scipy.linalg
import torch

import hltm
import numeric
from hltm.base.errors import InputError
from numeric.trees.metrics import fresh_samples

SAMPLES = 20_000
STATES = {"r": 3, "a": 2, "b": 4, "a1": 3, "a2": 2, "b1": 2, "b2": 5, "c": 3}
EDGES = [("r", "a"), ("r", "b"), ("r", "c"), ("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")]


def mixed_tree(seed=0, unseen=False):
    """Latents of two, three and four states, leaves of two, three and five; a root state of probability 0 on demand."""
    rng = np.random.default_rng(seed)
    graph = nx.DiGraph(EDGES)
    for node, states in STATES.items():
        graph.nodes[node]["cardinality"] = states
    graph.nodes["r"]["prior"] = [0.4, 0.0, 0.6] if unseen else [0.5, 0.2, 0.3]
    for above, node in EDGES:
        graph.edges[above, node]["transition"] = rng.dirichlet(np.ones(STATES[node]), STATES[above]).tolist()
    return hltm.HLTM(graph)


TREES = {"mixed": mixed_tree(), "unseen": mixed_tree(1, unseen=True), "three": hltm.random_tree(4, 2, cardinality=3)}


@pytest.fixture(params=TREES)
def tree(request):
    return TREES[request.param]


def every_state(tree):
    """All states of all nodes ``(cases, nodes)`` and their probabilities."""
    cases = np.array(list(product(*(range(tree.cardinality(node)) for node in tree.nodes))))
    column = {node: k for k, node in enumerate(tree.nodes)}
    law = tree.prior[cases[:, column[tree.root]]].copy()
    for above, node in tree.edges:
        law *= tree.transition(above, node)[cases[:, column[above]], cases[:, column[node]]]
    return cases, law, column


def ratio(law, values, latent):
    """Standard deviation of the conditional means over that of the values."""
    values = values - law @ values
    if law @ values**2 < 1e-20:
        return 0.0
    parts = [(law[latent == z].sum(), law[latent == z] @ values[latent == z]) for z in np.unique(latent)]
    return np.sqrt(sum(sums**2 / mass for mass, sums in parts if mass) / (law @ values**2))


def canonical(law, values, latent, noise):
    """All canonical correlations, decreasing; the neurons are read with noise."""
    seen = [z for z in np.unique(latent) if law[latent == z].sum() > 0]
    y = np.stack([latent == z for z in seen[1:]], axis=1).astype(float)
    x, y = values - law @ values, y - law @ y
    s = (x.T * law) @ x
    c = (x.T * law) @ y
    s = s + (noise * np.trace(s) / len(s) + (1e-13 if noise == 0 else 0)) * np.eye(len(s))
    squares = scipy.linalg.eigh(c.T @ np.linalg.solve(s, c), (y.T * law) @ y, eigvals_only=True)[::-1]
    return np.sqrt(squares.clip(0, 1))


def ceiling(tree, node, cases, law, column):
    """Second singular value of the joint law of a latent and the leaves below, in units of both laws."""
    below = [leaf for leaf in tree.leaves if node in tree.path(tree.root, leaf)]
    _, rows = np.unique(cases[:, [column[leaf] for leaf in below]], axis=0, return_inverse=True)
    joint = np.zeros((tree.cardinality(node), rows.max() + 1))
    np.add.at(joint, (cases[:, column[node]], rows.ravel()), law)
    joint = joint[joint.sum(1) > 0][:, joint.sum(0) > 0]
    return np.linalg.svd(joint / np.sqrt(np.outer(joint.sum(1), joint.sum(0))), compute_uv=False)[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_correlations_of_samples_are_those_of_numpy(tree, dtype):
    network = numeric.TreeNetwork(tree, width=3, slope=0.1, ensemble=2, dtype=dtype)
    found = numeric.correlations(network, tree, 500, seeds=[5, 9])
    (fresh,) = fresh_samples(network, [tree], [5, 9], 500, 1)
    activations, flat = network.activations(fresh.leaves.mT), np.full(500, 1 / 500)
    for place, node in enumerate(tree.latents):
        for member in range(2):
            values = activations[node][member].double().numpy()
            latent = fresh.states[member, tree.nodes.index(node)].numpy().astype(int)
            for neuron in range(3):
                assert found.neurons[node][member, neuron].item() == pytest.approx(
                    ratio(flat, values[:, neuron], latent), abs=1e-6
                )
            expected = canonical(flat, values, latent, 0.1)
            assert found.group[member, place].item() == pytest.approx(expected[0], abs=1e-6)
            if tree.cardinality(node) > 2:
                ours = found.canonical[node][member].numpy()
                assert ours[: len(expected)] == pytest.approx(expected[: len(ours)], abs=1e-5)
                assert (ours[len(expected) :] < 1e-6).all()
            assert found.best[member, place] == found.neurons[node][member].max()


@pytest.mark.parametrize("noise", [0, 0.1])
def test_exact_groups_and_ceilings_are_those_of_enumeration(tree, noise):
    network = numeric.TreeNetwork(tree, {v: 2 + k for k, v in enumerate(tree.latents)}, 0.1, ensemble=2)
    cases, law, column = every_state(tree)
    activations = network.activations(torch.from_numpy(cases[:, [column[leaf] for leaf in tree.leaves]]))
    groups, bounds = numeric.group_correlations(network, noise=noise), numeric.exact_ceilings([tree, tree])
    for place, node in enumerate(tree.latents):
        latent = cases[:, column[node]]
        top = ceiling(tree, node, cases, law, column)
        assert bounds[:, place].numpy() == pytest.approx([top, top], abs=1e-10)
        for member in range(2):
            values = activations[node][member].numpy()
            assert groups[member, place].item() == pytest.approx(canonical(law, values, latent, noise)[0], abs=1e-5)
            # Nothing that the leaves below determine exceeds the ceiling.
            assert max(ratio(law, row, latent) for row in values.T) <= groups[member, place].item() + noise + 1e-6
            assert groups[member, place].item() <= top + 1e-9


def test_samples_tend_to_the_exact_values(tree):
    network = numeric.TreeNetwork(tree, width=3, slope=0.2, ensemble=2, output="normalized")
    found = numeric.correlations(network, tree, SAMPLES)
    cases, law, column = every_state(tree)
    activations = network.activations(torch.from_numpy(cases[:, [column[leaf] for leaf in tree.leaves]]))
    # The standard error of a correlation is at most about n^(-1/2), the bias of its square (m - 1) 3 / n.
    room = 6 / SAMPLES**0.5
    assert ((found.group - numeric.group_correlations(network)).abs() <= room).all()
    assert ((numeric.ceilings(tree, SAMPLES, seeds=7) - numeric.exact_ceilings(tree)).abs() <= room).all()
    for node, member in product(tree.latents, range(2)):
        expected = [ratio(law, row, cases[:, column[node]]) for row in activations[node][member].numpy().T]
        assert found.neurons[node][member].numpy() == pytest.approx(expected, abs=room)


def test_with_two_states_they_are_the_correlations_of_before():
    rng = np.random.default_rng(5)
    latent = torch.from_numpy(rng.integers(0, 2, size=(3, 60)))
    values = torch.from_numpy(rng.normal(size=(3, 4, 60))) + latent.unsqueeze(1)
    values[0, 0] = 1.25
    states, law = numeric.indicators(latent, 2), torch.from_numpy(rng.dirichlet(np.ones(60), 3))
    assert torch.allclose(numeric.correlation_ratio(values, states), numeric.absolute_correlation(values, latent))
    for noise, own in product((0, 0.1), (None, law)):
        (ours,) = numeric.canonical_correlations(values, states, noise, own).unbind(-1)
        assert torch.allclose(ours, numeric.multiple_correlation(values, latent, noise, own), atol=1e-12)
    tree = hltm.random_tree(4, seed=6)
    leaves = torch.from_numpy(hltm.enumerate_leaves(tree).T.copy())[None]
    chance = torch.from_numpy(hltm.leaf_distribution(tree).ravel())
    found, prior = numeric.posteriors([tree], leaves)
    for node, top in zip(tree.latents, numeric.exact_ceilings(tree)[0], strict=True):
        one = prior[node][0, 1]
        share = ((found[node][0, 1] - one).square() @ chance / (one * (1 - one))).sqrt().item()
        assert numeric.maximal_correlations(found[node][0], chance).item() == pytest.approx(share, abs=1e-12)
        assert top.item() == pytest.approx(share, abs=1e-12)


def test_names_of_the_states_of_a_latent_do_not_matter():
    """Permuted states of latents, the tables with them: the law of the leaves is the same, and so is every result."""
    tree, order = mixed_tree(3), {"r": [2, 0, 1], "b": [3, 1, 0, 2]}
    graph = nx.DiGraph(EDGES)
    for node, states in STATES.items():
        graph.nodes[node]["cardinality"] = states
    graph.nodes["r"]["prior"] = tree.prior[order["r"]].tolist()
    for above, node in EDGES:
        rows, columns = (order.get(v, list(range(STATES[v]))) for v in (above, node))
        graph.edges[above, node]["transition"] = tree.transition(above, node)[np.ix_(rows, columns)].tolist()
    other = hltm.HLTM(graph)
    network = numeric.TreeNetwork(tree, width=3)
    assert torch.allclose(
        numeric.group_correlations(network), numeric.group_correlations(network, other), atol=1e-12
    )  # fmt: skip
    assert torch.allclose(numeric.exact_ceilings(tree), numeric.exact_ceilings(other), atol=1e-12)


def test_constant_neurons_and_unread_directions_have_no_correlation():
    tree = TREES["mixed"]
    network = numeric.TreeNetwork(tree, width=1)
    dead = network.with_parameters([torch.zeros_like(block) for block in network.parameters])
    found = numeric.correlations(dead, tree, 200)
    assert (found.best == 0).all()
    assert (found.group == 0).all()
    assert (found.constant == 1).all()
    # One neuron reads one direction of the three that four states have.
    assert (numeric.correlations(network, tree, 200).canonical["b"][0, 1:] == 0).all()
    broken = torch.tensor([[[1.0, torch.nan, 0.0]]])
    states = numeric.indicators(torch.tensor([[0, 1, 2]]), 3)
    assert numeric.canonical_correlations(broken, states).isnan().all()
    assert numeric.correlation_ratio(broken, states).isnan().all()


@pytest.mark.parametrize("output", ["linear", "normalized"])
@pytest.mark.parametrize("name", ["mixed", "unseen"])
def test_operator_norms_are_those_of_the_exact_operator(name, output):
    tree = TREES[name]
    network = numeric.TreeNetwork(tree, width=2, slope=0.3, output=output, ensemble=2)
    leaves = hltm.leaf_population(tree)
    population = numeric.FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)
    found = numeric.operator_norms(network, tree, 200_000)
    for place, node in enumerate(tree.latents):
        exact = numeric.tree_covariance_operator(network, population, node).flatten(1).norm(dim=1)
        assert torch.allclose(found[:, place], exact, rtol=0.1, atol=1e-3)


def test_what_cannot_be_measured_is_refused():
    tree = TREES["mixed"]
    with pytest.raises(InputError, match="must be enough to meet every state of root 'r'"):
        numeric.operator_norms(numeric.TreeNetwork(tree, width=2), tree, 8)
    with pytest.raises(InputError, match="3 states of latent 'r': must be 2: state 1 has a mean"):
        numeric.posterior_means([TREES["mixed"]], torch.zeros(1, 5, 2))
