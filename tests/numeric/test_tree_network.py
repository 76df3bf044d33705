"""Tree networks against loops over nodes, samples and neurons in NumPy, on numbers where nothing is rounded."""

import math
import re
from itertools import product

import numpy as np
import pytest
import torch

import hltm
from hltm.base.errors import InputError
from numeric import TreeNetwork
from numeric.trees.plan import make_plan

SLOPES = [0.0, 0.25, 1.0]
TREES = {
    "edge": hltm.star_tree(1, polarity=0.5),
    "star": hltm.star_tree(4, polarity=0.5),
    "path": hltm.complete_tree(depth=4, branching=1, polarity=0.5),
    "complete": hltm.complete_tree(depth=3, branching=2, polarity=0.5),
    "caterpillar": hltm.caterpillar_tree(5, polarity=0.5),
    "random-0": hltm.random_tree(leaves=8, seed=0),
    "random-7": hltm.random_tree(leaves=9, seed=7, cardinality=(2, 4)),
}


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def dyadic_weights(tree, seed, lead=(), widths=(1, 3)):
    """Multiples of 1/2, widths that differ between nodes."""
    rng = np.random.default_rng(seed)
    width = {node: int(rng.integers(widths[0], widths[1] + 1)) for node in tree.latents}
    return {
        node: rng.integers(-3, 4, size=(*lead, width[node], sum(width.get(c, 1) for c in tree.children(node)))) / 2.0
        for node in tree.latents
    }


def loops(tree, weights, x, slope):
    """All activations of one sample, one neuron at a time."""
    value = {leaf: [float(x[i])] for i, leaf in enumerate(tree.leaves)}
    for node in reversed(tree.nodes):
        if tree.children(node):
            below = [f for child in tree.children(node) for f in value[child]]
            before = [sum(w * f for w, f in zip(row, below, strict=True)) for row in weights[node].tolist()]
            value[node] = before if node == tree.root else [p if p > 0 else slope * p for p in before]
    return value


def states(tree, n, seed):
    drawn = hltm.sample(tree, n, seed)
    return torch.from_numpy(np.stack([drawn[leaf] for leaf in tree.leaves], axis=1))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("seed", range(3))
def test_activations_equal_loops_exactly(seed, name, slope):
    tree, weights = TREES[name], dyadic_weights(TREES[name], seed)
    network, leaves = TreeNetwork.from_weights(tree, weights, slope), states(tree, 20, seed)
    found = network.activations(leaves)
    assert list(found) == list(tree.nodes)
    assert torch.equal(network.forward(leaves), found[tree.root])
    for number, x in enumerate(leaves.tolist()):
        for node, expected in loops(tree, weights, x, slope).items():
            assert found[node][0, number].tolist() == expected, (node, number)


@pytest.mark.parametrize("name", TREES)
def test_members_of_an_ensemble_are_networks(name):
    tree, weights = TREES[name], dyadic_weights(TREES[name], seed=5, lead=(3,))
    network, leaves = TreeNetwork.from_weights(tree, weights, 0.25), states(tree, 15, 5)
    own = torch.stack([leaves, 1 - leaves, leaves + 2])
    assert network.ensemble == 3
    for member in range(3):
        alone = TreeNetwork.from_weights(tree, {node: w[member] for node, w in weights.items()}, 0.25)
        assert torch.equal(network.forward(leaves)[member], alone.forward(leaves)[0])
        assert torch.equal(network.forward(own)[member], alone.forward(own[member])[0])
        for node, f in network.activations(leaves).items():
            assert torch.equal(f[member], alone.activations(leaves)[node][0])


def test_weights_are_kept_by_node():
    tree, weights = TREES["random-0"], dyadic_weights(TREES["random-0"], seed=1)
    network = TreeNetwork.from_weights(tree, weights)
    assert tuple(network.weights) == tree.latents
    for node, matrix in network.weights.items():
        assert matrix[0].tolist() == weights[node].tolist()
        assert network.width(node) == len(weights[node])


def test_normalised_output():
    tree, weights = TREES["complete"], dyadic_weights(TREES["complete"], seed=3, widths=(3, 3))
    leaves = states(tree, 30, 3)
    leaves[0] = 0
    linear = TreeNetwork.from_weights(tree, weights, 0.25).forward(leaves)[0]
    found = TreeNetwork.from_weights(tree, weights, 0.25, output="normalized").forward(leaves)[0]
    assert bool((linear != 0).any(1).sum() > 10)
    for u, f in zip(linear.tolist(), found.tolist(), strict=True):
        norm = math.hypot(*u)
        # One rounding each for squares, sum, root and quotient.
        expected = [v / norm for v in u] if norm else [0.0] * len(u)
        assert all(abs(a - b) <= 8 * 2.0**-52 * abs(b) for a, b in zip(f, expected, strict=True))


def test_zero_output_has_zero_gradient():
    tree = TREES["star"]
    network = TreeNetwork(tree, width=3, output="normalized")
    held = [p.clone().requires_grad_() for p in network.parameters]
    network.with_parameters(held).forward(torch.zeros(2, 4, dtype=torch.float64)).sum().backward()
    assert held[0].grad.abs().max() == 0


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_gate_at_exactly_zero_is_the_slope(slope):
    tree = TREES["path"]
    weights = {node: np.ones((1, 1)) for node in tree.latents}
    network = TreeNetwork.from_weights(tree, weights, slope)
    x = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    network.forward(x).sum().backward()
    assert x.grad.item() == slope**3


def test_initial_weights_are_uniform_with_the_scale_of_statement_7():
    tree = TREES["complete"]
    network = TreeNetwork(tree, width=20, seed=4, ensemble=50, sigma_w=2.0)
    for matrix in network.weights.values():
        bound = 2.0 * math.sqrt(3 / matrix.shape[-1])
        values = (matrix / bound).flatten().double()
        assert values.abs().max() <= 1
        # Kolmogorov-Smirnov: sqrt(n) D > 2.7 has probability 2 exp(-2 * 2.7^2) < 1e-6 (Massart); seven nodes.
        ordered = (values.sort().values + 1) / 2
        grid = torch.arange(1, len(values) + 1, dtype=torch.float64) / len(values)
        distance = torch.maximum((grid - ordered).abs(), (grid - 1 / len(values) - ordered).abs()).max()
        assert math.sqrt(len(values)) * float(distance) <= 2.7


def test_seed_means_the_same_numbers_in_every_precision():
    tree = TREES["random-0"]
    double, single = TreeNetwork(tree, seed=9), TreeNetwork(tree, seed=9, dtype=torch.float32)
    other = TreeNetwork(tree, seed=10)
    for a, b, c in zip(double.parameters, single.parameters, other.parameters, strict=True):
        assert torch.equal(a.float(), b)
        assert not torch.equal(a, c)


def test_nodes_of_one_level_and_fan_in_are_one_product():
    tree = hltm.complete_tree(depth=12, branching=2, polarity=0.9)
    network = TreeNetwork(tree, width=4, dtype=torch.float32, ensemble=2)
    assert len(network.parameters) == 12
    assert [len(block.nodes) for block in network.plan.blocks] == [2**d for d in range(12)]
    # A complete tree needs no index at all: children are neighbours.
    assert all(block.reads is None and block.writes is None for block in network.plan.blocks)
    assert network.forward(torch.ones(3, 4096, dtype=torch.uint8)).shape == (2, 3, 4)


@pytest.mark.parametrize("seed", range(2))
def test_blocks_are_the_shapes_of_a_level(seed):
    tree = hltm.random_tree(leaves=600, seed=seed)
    assert len(tree) > 800
    network = TreeNetwork(tree, width=3)
    shapes = {
        (level, sum(3 if tree.children(c) else 1 for c in tree.children(node)))
        for level, nodes in enumerate(tree.levels)
        for node in nodes
        if tree.children(node)
    }
    assert len(network.parameters) == len(shapes)
    weights = {node: matrix[0].numpy() for node, matrix in network.weights.items()}
    x = states(tree, 1, seed)
    expected = loops(tree, weights, x[0].tolist(), 0.0)
    sizes = loops(tree, {node: np.abs(w) for node, w in weights.items()}, x[0].tolist(), 1.0)
    for node, f in network.activations(x).items():
        # Every level sums at most 12 terms, so relative to the sum of absolute terms 12 roundings a level and order.
        bound = 2 * 12 * (tree.depth + 1) * 2.0**-53 * np.array(sizes[node])
        assert (np.abs(f[0, 0].numpy() - expected[node]) <= bound).all(), node


def test_depth_is_no_recursion():
    tree = hltm.complete_tree(depth=3000, branching=1, polarity=0.5)
    network = TreeNetwork.from_weights(tree, {node: [[1.0]] for node in tree.latents})
    held = [p.clone().requires_grad_() for p in network.parameters]
    out = network.with_parameters(held).forward(torch.ones(1, 1, dtype=torch.float64))
    out.sum().backward()
    assert out.item() == 1
    assert all(p.grad.item() == 1 for p in held)


def test_plan_places_every_neuron_once():
    tree = TREES["random-7"]
    widths = {node: 1 + i % 3 for i, node in enumerate(tree.latents)}
    plan = make_plan(tree, widths, torch.device("cpu"))
    for depth, nodes in enumerate(tree.levels):
        rows = [row for node in nodes for row in range(*plan.place[node][1:])]
        assert rows == list(range(plan.levels[depth].rows))
    assert plan.neurons == sum(widths.get(node, 1) for node in tree.nodes)


STAR = hltm.star_tree(2, polarity=0.5)
TWO = hltm.complete_tree(depth=2, branching=2, polarity=0.5)
GOOD = {0: np.ones((2, 6)), 1: np.ones((3, 2)), 2: np.ones((3, 2))}
BAD_WEIGHTS = [
    ({0: np.ones((2, 5))}, "weights of node 1: missing; every latent of the tree needs one"),
    (
        GOOD | {0: np.ones((2, 5))},
        "weights of node 0: shape (2, 5): must have 6 columns, the neurons of its children 1 (3), 2 (3)",
    ),
    (
        GOOD | {2: np.ones((4, 2))},
        "weights of node 0: shape (2, 6): must have 7 columns, the neurons of its children 1 (3), 2 (4)",
    ),
    (GOOD | {3: np.ones((1, 1))}, "weights of node 3: it is a leaf; only latents have neurons to choose"),
    (GOOD | {7: np.ones((1, 1))}, "weights of node 7: not a node of the tree"),
    (GOOD | {1: [[1.0, math.nan]]}, "weights of node 1: entry (0, 1) is nan: must be finite"),
    (GOOD | {1: "no"}, "weights of node 1: must be a rectangular array of numbers"),
    (
        GOOD | {1: np.ones(2)},
        "weights of node 1: shape (2,): must be (n_out, n_in) or (ensemble, n_out, n_in) with positive sizes",
    ),
    (
        GOOD | {1: np.ones((5, 3, 2))},
        "weights of node 1: shape (5, 3, 2): must have the ensemble axis of node 0: (2, 6)",
    ),
    (
        GOOD | {1: np.ones((3, 2), dtype=np.float32)},
        "weights of node 1: shape (3, 2): torch.float32 on cpu beside torch.float64 on cpu of node 0: "
        "all weights must share dtype and device",
    ),
]


@pytest.mark.parametrize(("weights", "message"), BAD_WEIGHTS, ids=range(len(BAD_WEIGHTS)))
def test_weights_that_do_not_fit_are_refused(weights, message):
    with refused(message):
        TreeNetwork.from_weights(TWO, weights)


BAD_ARGUMENTS = [
    ({"width": 0}, "width=0: must be at least 1"),
    ({"width": {0: 2}}, None),
    ({"width": 2**24 + 1}, "width: 16,777,217 neurons in all latents together, must be at most 16,777,216"),
    ({"width": {0: 0}}, "width=0 of node 0: must be at least 1"),
    ({"slope": 1.5}, "slope=1.5 of the activation: must lie in [0, 1]"),
    ({"output": "l2"}, "output='l2': must be 'linear' or 'normalized'"),
    ({"seed": -1}, "seed=-1: must be at least 0"),
    ({"ensemble": 0}, "ensemble=0: must be at least 1"),
    ({"dtype": torch.int64}, "dtype=torch.int64: must be a floating type"),
    ({"device": "tpu"}, "device='tpu': must be 'auto', 'cpu' or 'cuda'"),
    ({"sigma_w": 0}, "sigma_w=0 of the weights: must be positive and finite"),
    ({"sigma_w": math.nan}, "sigma_w=nan of the weights: must be positive and finite"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS, ids=str)
def test_arguments_are_checked(arguments, message):
    if message is None:
        assert TreeNetwork(STAR, **arguments).width(0) == 2
        return
    with refused(message):
        TreeNetwork(STAR, **arguments)


BAD_LEAVES = [
    (torch.ones(2, 3), "leaves: shape (2, 3): must be (batch, 2) or (4, batch, 2), one column per leaf of the tree"),
    (
        torch.ones(3, 1, 2),
        "leaves: shape (3, 1, 2): must be (batch, 2) or (4, batch, 2), one column per leaf of the tree",
    ),
    (
        torch.ones(3, 2),
        "leaves: torch.float32 on cpu before weights of torch.float64 on cpu: must share dtype and device",
    ),
]


@pytest.mark.parametrize(("leaves", "message"), BAD_LEAVES, ids=range(len(BAD_LEAVES)))
def test_leaves_are_checked(leaves, message):
    with refused(message):
        TreeNetwork(STAR, ensemble=4).forward(leaves)


def test_other_parameters_must_have_the_shapes():
    network = TreeNetwork(STAR, width=2)
    message = "parameters of shapes [(1, 3, 2)]: must be (E, ...) with [(1, 2, 2)], as the tree has them"
    with refused(message):
        network.with_parameters([torch.ones(1, 1, 3, 2)])


def test_leaves_have_no_weights():
    with refused("node 1: must be a latent; it is a leaf, which has no weights"):
        TreeNetwork(STAR).matrix(1)


def test_every_pair_of_orders_is_told_apart():
    """Columns run over the children in the order of the edges, which need not be the order of the names."""
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.5, 0.5])
    for child, below in (("b", "zy"), ("a", "xw")):
        graph.add_edge("r", child, polarity=0.5)
        for leaf in below:
            graph.add_edge(child, leaf, polarity=0.5)
    tree = hltm.HLTM(graph)
    weights = {"r": [[1.0, 10.0]], "b": [[1.0, 2.0]], "a": [[3.0, 4.0]]}
    network = TreeNetwork.from_weights(tree, weights)
    assert tree.leaves == ("z", "y", "x", "w")
    for z, y, x, w in product((0, 1), repeat=4):
        assert network.forward(torch.tensor([[z, y, x, w]])).item() == z + 2 * y + 10 * (3 * x + 4 * w)
