"""One-hot leaves: theory, torch and an enumeration of every state agree, and labels of states do not matter.

The enumeration knows nothing of plans and messages: it goes through all states of all nodes, evaluates a network node by
node with indicators of the leaves, and takes moments in plain numpy.
"""

import json
from itertools import product

import networkx as nx
import numpy as np
import pytest
import torch

import hltm
import numeric
import theory
from hltm.base.errors import InputError
from numeric.training.saved import load_run

STATES = {"r": 3, "a": 2, "a1": 3, "a2": 2, "b": 4}
EDGES = [("r", "a"), ("r", "b"), ("a", "a1"), ("a", "a2")]
ORDER = {"a1": [2, 0, 1], "a2": [1, 0], "b": [3, 1, 0, 2]}


def tree_of(states, seed=0, order=None):
    """A tree with random tables; `order` lists the states of a leaf anew."""
    rng, graph = np.random.default_rng(seed), nx.DiGraph(EDGES)
    for node, count in states.items():
        graph.nodes[node]["cardinality"] = count
    graph.nodes["r"]["prior"] = rng.dirichlet(np.ones(states["r"])).tolist()
    for above, node in EDGES:
        table = rng.dirichlet(np.ones(states[node]), states[above])
        graph.edges[above, node]["transition"] = table[:, (order or {}).get(node, range(states[node]))].tolist()
    return hltm.HLTM(graph)


TREES = {
    "mixed": tree_of(STATES),
    "binary": tree_of(dict.fromkeys(STATES, 2), 1),
    "symmetric": hltm.complete_tree(2, 2, 0.7, root_polarity=0.25),
}


def eighths(network):
    """The network with weights that are multiples of 1/8, as rational as those of the theory."""
    return network.with_parameters([(8 * block).round() / 8 for block in network.parameters])


def one_hot(tree, **options):
    return eighths(numeric.TreeNetwork(tree, width=2, leaves="one-hot", **options))


def population_of(tree):
    leaves = hltm.leaf_population(tree)
    return numeric.FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)


class Enumeration:
    """Means given z_0 of what the neurons of a node read, of its connection and of the output, over all states."""

    def __init__(self, tree, weights, slope, node):
        column = {v: k for k, v in enumerate(tree.nodes)}
        self.prior = tree.prior
        read, connection, output = (0.0, 0.0, 0.0)
        for states in product(*(range(tree.cardinality(v)) for v in tree.nodes)):
            chance = np.prod([tree.transition(*e)[states[column[e[0]]], states[column[e[1]]]] for e in tree.edges])
            f = {v: np.eye(tree.cardinality(v))[states[column[v]]] for v in tree.leaves}
            gate = {}
            for v in reversed(tree.latents):
                f[v] = weights[v] @ np.concatenate([f[child] for child in tree.children(v)])
                gate[v] = np.ones(len(f[v])) if v == tree.root else np.where(f[v] > 0, 1.0, slope)
                f[v] = f[v] * gate[v]
            jacobian = np.eye(len(f[tree.root]))
            for above, v in zip(path := tree.path(tree.root, node), path[1:], strict=False):
                widths = [len(f[child]) for child in tree.children(above)]
                start = sum(widths[: tree.children(above).index(v)])
                jacobian = jacobian @ weights[above][:, start : start + len(f[v])] * gate[v]
            inputs = np.concatenate([f[child] for child in tree.children(node)])
            own = chance * np.eye(len(self.prior))[states[column[tree.root]]]
            read += np.multiply.outer(own, inputs)
            connection += np.multiply.outer(own, np.kron(inputs[:, None], jacobian.T))
            output += np.multiply.outer(own, f[tree.root])
        self.read, self.connection, self.output = read, connection, output

    def covariance(self, left, right):
        """``Cov_z0``, contracted over the last axis."""
        a, b = (m - np.tensordot(self.prior, m, 1) for m in (left, right))
        return np.einsum("z,zi...o,zj...o->ij", self.prior, a, b)


@pytest.mark.parametrize("slope", [0.25, 1])
@pytest.mark.parametrize("name", TREES)
def test_theory_and_torch_agree_with_every_state(name, slope):
    tree = TREES[name]
    network, population = one_hot(tree, slope=slope, seed=4), population_of(tree)
    weights = {node: matrix[0].numpy() for node, matrix in network.weights.items()}
    exact = {node: matrix.tolist() for node, matrix in weights.items()}
    updates = numeric.tree_update(network, population)
    for node in (tree.root, tree.latents[-1]):
        oracle = Enumeration(tree, weights, slope, node)
        read = oracle.covariance(oracle.read[..., None], oracle.read[..., None])
        operator = oracle.covariance(oracle.connection, oracle.connection)
        update = 2 * oracle.covariance(oracle.connection, oracle.output[:, None])[:, 0]
        update = update.reshape(-1, network.width(node)).T  # vec runs down the columns
        options = {"slope": slope, "numbers": True, "leaves": "one-hot"}
        for found, expected in [
            (numeric.tree_activation_covariance(network, population, node)[0], read),
            (theory.activation_covariance(tree, node, exact, **options), read),
            (numeric.tree_covariance_operator(network, population, node)[0], operator),
            (theory.covariance_operator(tree, node, exact, **options), operator),
            (updates[node][0], update),
            (theory.node_update(tree, node, exact, **options), update),
        ]:
            assert np.allclose(np.array(found.tolist(), dtype=float), expected, atol=1e-12)
            assert np.abs(expected).max() > 1e-4
    if name == "symmetric":
        walsh = theory.walsh_operator(tree, node, exact, slope, leaves="one-hot")
        rho = [[tree.polarity(*edge) for edge in tree.edges]]
        assert np.allclose(walsh.evaluate(rho)[0], operator, atol=1e-12)


@pytest.mark.parametrize("name", TREES)
def test_forms_without_weights_are_those_of_every_state(name):
    """Above leaves only no selectivity is unknown: rows are the indicators of each leaf in turn."""
    tree = TREES[name]
    node = tree.latents[-1]
    weights = {v: matrix[0].numpy() for v, matrix in one_hot(tree).weights.items()}
    oracle = Enumeration(tree, weights, 1, node)
    expected = oracle.covariance(oracle.read[..., None], oracle.read[..., None])
    for numbers in (True, False):
        found = theory.activation_covariance(tree, node, numbers=numbers, leaves="one-hot")
        values = np.array(found.xreplace(theory.parameter_values(tree)), dtype=float)
        assert np.allclose(values, expected, atol=1e-12)
    # The indicators of a leaf sum to one: its rows sum to zero.
    first = tree.cardinality(tree.children(node)[0])
    assert np.allclose(expected[:first].sum(0), 0, atol=1e-12)
    if tree.is_binary:
        form = theory.activation_covariances(tree, leaves="one-hot")[node]
        assert len(form.vector) == 2 * len(tree.children(node))
        ratio = np.array([v.xreplace(theory.parameter_values(tree)) for v in form.vector], dtype=float)
        assert np.allclose(np.outer(ratio, ratio) * expected[1, 1] / ratio[1] ** 2, expected, atol=1e-12)


def relabelled(network, tree):
    """The network on a tree with states listed anew, its columns with them."""
    weights = {}
    for node, matrix in network.weights.items():
        columns, start = [], 0
        for child in network.tree.children(node):
            own = list(range(network.width(child)))
            columns += [start + k for k in (ORDER.get(child, own) if network.leaves == "one-hot" else own)]
            start += len(own)
        weights[node] = matrix[..., columns]
    return numeric.TreeNetwork.from_weights(tree, weights, network.slope, network.output, leaves=network.leaves)


@pytest.mark.parametrize("leaves", ["one-hot", "state"])
def test_labels_of_states_matter_for_numbers_alone(leaves):
    """Losses along training, correlations and spectra on a tree and on the same tree with leaf states permuted."""
    tree, other = TREES["mixed"], tree_of(STATES, order=ORDER)
    network = numeric.TreeNetwork(tree, 3, 0.2, "normalized", ensemble=2, leaves=leaves)
    results = []
    for own, source in ((network, tree), (relabelled(network, other), other)):
        trace = numeric.train(own, source, ["infonce", "simple"], mode="exact", steps=5)
        population = population_of(source)
        operator = numeric.tree_covariance_operator(trace.network, population, "a")
        results.append([
            trace.losses, numeric.group_correlations(trace.network), torch.linalg.eigvalsh(operator),
            torch.linalg.eigvalsh(numeric.tree_activation_covariance(trace.network, population, "r")),
        ])  # fmt: skip
    for before, after in zip(*results, strict=True):
        assert torch.allclose(before, after, atol=1e-12) == (leaves == "one-hot")


@pytest.mark.parametrize("name", TREES)
def test_a_step_of_training_is_the_gradient(name):
    tree = TREES[name]
    network, population = one_hot(tree, slope=0.3, output="normalized"), population_of(tree)
    trace = numeric.train(network, tree, "simple", mode="exact", lr=1.0, steps=1)
    for node, step in numeric.tree_population_gradient(network, population).items():
        assert torch.allclose(trace.network.matrix(node) - network.matrix(node), step, atol=1e-12)
    sampled = numeric.train(network, tree, "infonce", steps=3, batch=8)
    assert torch.isfinite(sampled.losses).all()


def test_samples_and_bounds_read_indicators():
    tree = TREES["mixed"]
    network, generator = one_hot(tree, slope=0.1, ensemble=2), torch.Generator().manual_seed(3)
    estimate, error = numeric.estimate_activation_covariance(network, tree, "a", 20_000, generator)
    exact = numeric.tree_activation_covariance(network, population_of(tree), "a")
    assert ((estimate - exact).abs() <= 7 * error + 1e-9).all()
    low, high = numeric.activation_bounds(network, "r")
    everywhere = network.activations(torch.from_numpy(hltm.enumerate_leaves(tree)))
    below = torch.cat([everywhere[child] for child in tree.children("r")], -1)
    assert (below.amin(1) >= low - 1e-12).all()
    assert (below.amax(1) <= high + 1e-12).all()
    assert everywhere["b"][0].sum(-1).eq(1).all()
    assert (network.width("b"), network.width("a"), network.matrix("r").shape[-1]) == (4, 2, 6)
    assert numeric.operator_norms(network, tree, 2000).isfinite().all()


def test_runs_are_resumed_as_they_were_and_never_mixed(tmp_path):
    tree = TREES["mixed"]
    network = numeric.TreeNetwork(tree, width=2)
    first = numeric.train(network, tree, steps=4, checkpoint_dir=tmp_path / "old")
    state = json.loads((tmp_path / "old" / "state.json").read_text())
    assert state["settings"].pop("leaves") == "state"  # a run from before there was a choice
    (tmp_path / "old" / "state.json").write_text(json.dumps(state))
    assert torch.equal(numeric.train(network, tree, steps=4, checkpoint_dir=tmp_path / "old").losses, first.losses)
    assert load_run(tmp_path / "old", tree).network.leaves == "state"
    with pytest.raises(InputError, match="of its checkpoint: must be"):
        numeric.train(one_hot(tree), tree, steps=4, checkpoint_dir=tmp_path / "old")
    trace = numeric.train(one_hot(tree), tree, steps=4, checkpoint_dir=tmp_path / "new")
    again = load_run(tmp_path / "new", tree).network
    assert again.leaves == "one-hot"
    assert torch.equal(again.matrix("a"), trace.network.matrix("a"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: numeric.TreeNetwork(t, leaves="onehot"), "leaves='onehot': must be 'state' or 'one-hot'"),
        (lambda t: theory.activation_covariance(t, "a", leaves=1), "leaves=1: must be"),
        (
            lambda t: one_hot(t).forward(torch.tensor([[0, 2, 0]])),
            "leaves: 2: must be a state, 0 .. 1, of one-hot leaf",
        ),
        (lambda t: one_hot(t).forward(torch.tensor([[0, 0.5, 0]]).double()), "leaves: 0.5: must be a state"),
        (lambda t: one_hot(t).forward(torch.tensor([[0, torch.nan, 0]]).double()), "leaves: nan: must be a state"),
        (
            lambda t: numeric.TreeNetwork.from_weights(t, {"r": [[1, 1]], "a": [[1, 1]]}, leaves="one-hot"),
            "must have 5",
        ),
        (lambda t: theory.covariance_operator(t, "a", {"r": [[1, 1]], "a": [[1, 1]]}, leaves="one-hot"), "5\\)"),
    ],
)
def test_what_is_no_state_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call(TREES["mixed"])
