"""The library as it is promised to users: every name, every parameter, every order, each a test of its own.

`PROMISED` is the list of promises; each has one check in `CHECKS`, registered under its own text.
"""

import inspect
import itertools
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest
import sympy
import torch
from commands import promise_of

import hltm
import numeric
import theory

PROMISED = (
    "import hltm, theory, numeric",
    "hltm.complete_tree(depth, branching, polarity, root_polarity)",
    "hltm.complete_tree polarity: number",
    "hltm.complete_tree polarity: (low, high) with seed",
    "hltm.complete_tree polarity: callable(parent, child)",
    "hltm.random_tree(leaves, seed, symmetric, cardinality)",
    "hltm.random_tree cardinality: int",
    "hltm.random_tree cardinality: (low, high)",
    "hltm.HLTM(graph)",
    "hltm.HLTM prior",
    "hltm.HLTM transition",
    "hltm.HLTM polarity",
    "hltm.HLTM cardinality",
    "tree.graph",
    "tree.root",
    "tree.leaves",
    "tree.latents",
    "tree.levels",
    "tree.children(v)",
    "tree.parent(v)",
    "tree.cardinality(v)",
    "tree.polarity(u, v)",
    "tree.transition(u, v)",
    "hltm.load(path)",
    "hltm.save(tree, path)",
    "hltm.from_pgmpy(model), hltm.from_pyagrum(bn), hltm.to_pgmpy(tree), hltm.to_pyagrum(tree)",
    "hltm.sample(tree, n, seed)",
    "hltm.leaf_distribution(tree, {tree.root: 1})",
    "theory: never a float unless one was put in",
    "theory.activation_covariance(tree, node)",
    "theory.covariance_operator(tree, node, weights, slope)",
    "theory.parameter_values(tree)",
    "theory.derive(slug, widths)",
    "Derivation.statement",
    "Derivation.steps",
    "Derivation.residual",
    "Derivation.proved",
    "Derivation.latex()",
    "theory.pair_weight(text)",
    "theory.pair_weight refusal",
    "theory.to_latex(obj, form)",
    "theory.to_latex form: equation",
    "theory.to_latex form: align",
    "theory.to_latex form: standalone",
    "numeric.connections(weights, x, slope)",
    "numeric.FinitePopulation(points, point_weights, augmentation_weights)",
    "numeric.population_gradient(weights, population, loss, slope, **loss_parameters)",
    "numeric.covariance_operator(weights, population, layer, loss, slope, **loss_parameters)",
    "numeric.covariance_operator_product(...)",
    "numeric.TreeNetwork(tree, width, slope, output, seed, ensemble, dtype, device)",
    "numeric.TreeNetwork output: linear",
    "numeric.TreeNetwork output: normalized",
    "numeric.train(network, tree, loss, tau, lr, batch, steps, seed, checkpoint_dir)",
    "numeric.train returns a trace",
    "loss: simple",
    "loss: triplet (tau, margin)",
    "loss: infonce (tau, negatives = 1)",
    "lists over layers start at layer 1",
    "layer is the paper's l, 1 .. L",
    "population_gradient = 2 V[Kbar] vec W (simple)",
    "population_gradient = V^xi vec W + theta (others)",
    "weights[node] has shape (|N_mu|, |N_mu^ch|)",
    "columns run over tree.children(node), all neurons of one child before the next",
    "a leaf is one neuron whose activation is its state number",
    "rows and columns of an operator follow vec",
    "the top node has no activation, every other latent has",
    "public functions have type hints",
)

CHECKS = {}
promise = promise_of(CHECKS)


@pytest.mark.parametrize("name", PROMISED)
def test_promise(name, tmp_path):
    check = CHECKS[name]
    check(*([tmp_path] if inspect.signature(check).parameters else []))


def test_every_check_is_a_promise():
    assert len(set(PROMISED)) == len(PROMISED)
    assert set(CHECKS) == set(PROMISED)


def parameters(function):
    """Parameter names of a function, or of a class's constructor."""
    return list(inspect.signature(function).parameters)


def defaults(function, **expected):
    found = inspect.signature(function).parameters
    assert {name: found[name].default for name in expected} == expected


def toy():
    return hltm.complete_tree(depth=2, branching=2, polarity=0.8, root_polarity=0.0)


def wide():
    """A tree whose edges are given by a polarity and by tables, one node of three states."""
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.25, 0.75])
    graph.add_node("b", cardinality=3)
    graph.add_edge("r", "a", polarity=0.5)
    graph.add_edge("r", "b", transition=[[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]])
    graph.add_edge("a", "x", transition=[[0.75, 0.25], [0.5, 0.5]])
    return hltm.HLTM(graph)


WEIGHTS = [np.array([[1.0, -0.5], [0.25, 1.0], [0.5, 0.75]]), np.array([[1.0, -1.0, 0.5], [0.5, 1.0, -0.25]])]
POINTS = np.array([[[1.0, 0.5], [0.75, 0.25]], [[-1.0, 2.0], [-0.5, 1.5]], [[0.5, -1.0], [0.25, -0.75]]])


def population():
    return numeric.FinitePopulation(POINTS)


@promise("import hltm, theory, numeric")
def _():
    for package in (hltm, theory, numeric):
        assert package.__doc__


@promise("hltm.complete_tree(depth, branching, polarity, root_polarity)")
def _():
    tree = hltm.complete_tree(depth=2, branching=2, polarity=0.8, root_polarity=0.0)
    assert isinstance(tree, hltm.HLTM)
    assert (tree.depth, len(tree.leaves), tree.root_polarity) == (2, 4, 0.0)


@promise("hltm.complete_tree polarity: number")
def _():
    for value in (0.8, 1, Fraction(1, 3)):
        assert toy().polarity(0, 1) == 0.8
        assert hltm.complete_tree(1, 2, value).polarity(0, 1) == float(value)


@promise("hltm.complete_tree polarity: (low, high) with seed")
def _():
    tree = hltm.complete_tree(2, 2, polarity=(0.5, 0.9), seed=3)
    drawn = list(tree.edge_polarities().values())
    assert all(0.5 <= rho <= 0.9 for rho in drawn)
    assert len(set(drawn)) == len(drawn)
    assert tree == hltm.complete_tree(2, 2, polarity=(0.5, 0.9), seed=3)
    with pytest.raises(hltm.InputError, match="seed"):
        hltm.complete_tree(2, 2, polarity=(0.5, 0.9))


@promise("hltm.complete_tree polarity: callable(parent, child)")
def _():
    tree = hltm.complete_tree(2, 2, polarity=lambda parent, child: (parent + child) / 16)
    assert tree.polarity(1, 4) == 5 / 16


@promise("hltm.random_tree(leaves, seed, symmetric, cardinality)")
def _():
    tree = hltm.random_tree(leaves=8, seed=0, symmetric=False, cardinality=2)
    assert len(tree.leaves) == 8
    assert not tree.is_symmetric
    assert hltm.random_tree(leaves=8, seed=0, symmetric=True).is_symmetric
    assert tree == hltm.random_tree(leaves=8, seed=0, symmetric=False, cardinality=2) != hltm.random_tree(8, seed=1)


@promise("hltm.random_tree cardinality: int")
def _():
    tree = hltm.random_tree(5, seed=0, cardinality=3)
    assert {tree.cardinality(node) for node in tree} == {3}


@promise("hltm.random_tree cardinality: (low, high)")
def _():
    tree = hltm.random_tree(12, seed=0, cardinality=(2, 4))
    assert {tree.cardinality(node) for node in tree} == {2, 3, 4}


@promise("hltm.HLTM(graph)")
def _():
    assert wide().children("r") == ("a", "b")
    backwards = nx.DiGraph([("x", "r"), ("y", "r")])
    with pytest.raises(hltm.InputError):
        hltm.HLTM(backwards)


@promise("hltm.HLTM prior")
def _():
    assert wide().prior.tolist() == [0.25, 0.75]


@promise("hltm.HLTM transition")
def _():
    assert wide().transition("a", "x").tolist() == [[0.75, 0.25], [0.5, 0.5]]
    graph = nx.DiGraph(wide().graph)
    graph.edges["a", "x"]["transition"] = [[0.75, 0.5], [0.5, 0.5]]
    with pytest.raises(hltm.InputError, match="sum"):
        hltm.HLTM(graph)


@promise("hltm.HLTM polarity")
def _():
    assert wide().transition("r", "a").tolist() == [[0.75, 0.25], [0.25, 0.75]]


@promise("hltm.HLTM cardinality")
def _():
    tree = wide()
    assert [tree.cardinality(node) for node in ("r", "a", "b", "x")] == [2, 2, 3, 2]


@promise("tree.graph")
def _():
    given = nx.DiGraph(wide().graph)
    tree = hltm.HLTM(given)
    assert isinstance(tree.graph, nx.DiGraph)
    assert set(tree.graph.edges) == set(given.edges)
    given.remove_node("x")
    assert "x" in tree.graph


@promise("tree.root")
def _():
    assert (toy().root, wide().root) == (0, "r")


@promise("tree.leaves")
def _():
    assert toy().leaves == (3, 4, 5, 6)


@promise("tree.latents")
def _():
    assert toy().latents == (0, 1, 2)


@promise("tree.levels")
def _():
    assert toy().levels == ((0,), (1, 2), (3, 4, 5, 6))


@promise("tree.children(v)")
def _():
    assert (toy().children(1), toy().children(3)) == ((3, 4), ())


@promise("tree.parent(v)")
def _():
    assert (toy().parent(4), toy().parent(0)) == (1, None)


@promise("tree.cardinality(v)")
def _():
    assert (toy().cardinality(0), wide().cardinality("b")) == (2, 3)


@promise("tree.polarity(u, v)")
def _():
    assert toy().polarity(0, 3) == pytest.approx(0.64)
    with pytest.raises(hltm.InputError, match="binary"):
        wide().polarity("r", "b")


@promise("tree.transition(u, v)")
def _():
    tree = wide()
    along = tree.transition("r", "x")
    assert np.allclose(along, tree.transition("r", "a") @ tree.transition("a", "x"))
    assert np.allclose(along.sum(axis=1), 1)


@promise("hltm.load(path)")
def _(folder):
    for suffix in ("json", "graphml", "bif"):
        hltm.save(toy(), folder / f"tree.{suffix}")
        assert hltm.load(folder / f"tree.{suffix}").leaves == hltm.load(str(folder / f"tree.{suffix}")).leaves


@promise("hltm.save(tree, path)")
def _(folder):
    for suffix, tree in itertools.product(("json", "graphml", "bif"), (toy(), hltm.random_tree(6, 0, cardinality=3))):
        path = folder / f"tree.{suffix}"
        hltm.save(tree, path)
        again = hltm.load(path)
        assert np.array_equal(again.prior, tree.prior)
        pairs = zip(again.edges, tree.edges, strict=True)
        assert all(np.array_equal(again.transition(*found), tree.transition(*edge)) for found, edge in pairs)


@promise("hltm.from_pgmpy(model), hltm.from_pyagrum(bn), hltm.to_pgmpy(tree), hltm.to_pyagrum(tree)")
def _networks():
    for function in (hltm.from_pgmpy, hltm.from_pyagrum, hltm.to_pgmpy, hltm.to_pyagrum):
        assert len(inspect.signature(function).parameters) == 1
        with pytest.raises(hltm.InputError):  # what they do is tested where the libraries are: tests/interop
            function("a text")


@promise("hltm.sample(tree, n, seed)")
def _():
    drawn = hltm.sample(toy(), 100, seed=0)
    assert set(drawn) == set(toy().nodes)
    for values in drawn.values():
        assert values.shape == (100,)
        assert np.issubdtype(values.dtype, np.integer)
    again = hltm.sample(toy(), 100, seed=0)
    assert all(np.array_equal(drawn[node], again[node]) for node in drawn)


@promise("hltm.leaf_distribution(tree, {tree.root: 1})")
def _():
    tree = wide()
    found = hltm.leaf_distribution(tree, {tree.root: 1})
    assert found.shape == tuple(tree.cardinality(leaf) for leaf in tree.leaves)
    assert found.sum() == pytest.approx(1)
    axis = tree.leaves.index("b")
    assert np.allclose(found.sum(axis=1 - axis), tree.transition("r", "b")[1])


@promise("theory: never a float unless one was put in")
def _():
    found = theory.covariance_operator(toy(), 1, {0: [[1, 2]], 1: [[2, 1]], 2: [[1, 1]]})
    assert not found.atoms(sympy.Float)
    assert not theory.activation_covariance(toy(), 0).atoms(sympy.Float)
    assert not any(isinstance(value, float | sympy.Float) for value in theory.parameter_values(toy()).values())


@promise("theory.activation_covariance(tree, node)")
def _():
    tree = toy()
    found = theory.activation_covariance(tree, 0)
    assert found.shape == (2, 2)
    # o_mu a_mu a_mu^T: one factor for all entries, hence rank one.
    assert sympy.simplify(found.det()) == 0
    assert found == found.T


@promise("theory.covariance_operator(tree, node, weights, slope)")
def _():
    defaults(theory.covariance_operator, slope=0)
    tree = hltm.complete_tree(depth=2, branching=1, polarity=0.5)
    found = theory.covariance_operator(tree, 1, {0: [[3]], 1: [[2]]}, slope=0)
    root, upper, lower = sorted(theory.parameter_values(tree), key=lambda s: (len(s.name), s.name))
    assert found.free_symbols == {root, upper, lower}
    assert sympy.expand(found[0, 0] - 9 * (upper * lower) ** 2 * (1 - root**2) / 4) == 0


@promise("theory.parameter_values(tree)")
def _():
    for tree in (toy(), wide()):
        values = theory.parameter_values(tree)
        assert all(isinstance(symbol, sympy.Symbol) for symbol in values)
        assert all(value.is_number for value in values.values())
    found = theory.activation_covariance(wide(), "r").subs(theory.parameter_values(wide()))
    left = {symbol.name[0] for symbol in found.free_symbols}
    assert left <= {"s", "e"}, left  # selectivities and means of activations are the network's


@promise("theory.derive(slug, widths)")
def _():
    assert isinstance(theory.derive("dual-gradient", widths=(3, 2, 2)), theory.Derivation)


def derivation():
    return theory.derive("dual-gradient", widths=(3, 2, 2))


@promise("Derivation.statement")
def _():
    assert str(derivation().statement)


@promise("Derivation.steps")
def _():
    assert len(derivation().steps) > 0


@promise("Derivation.residual")
def _():
    residual = derivation().residual
    assert residual == sympy.zeros(*residual.shape)


@promise("Derivation.proved")
def _():
    assert derivation().proved is True


@promise("Derivation.latex()")
def _():
    assert "\\begin{" in derivation().latex()


@promise("theory.pair_weight(text)")
def _():
    found = theory.pair_weight("tau*log(1 + exp((r_p - r_1)/tau))")
    r, tau = sympy.symbols("r tau", positive=True)
    names = {symbol.name: symbol for symbol in found.free_symbols}
    written = 1 / (1 + sympy.exp(r / tau))
    assert sympy.simplify(found.subs({names["r"]: r, names["tau"]: tau}) - written) == 0


@promise("theory.pair_weight refusal")
def _():
    for refused in ("r_p + r_1", "r_p - 2*r_1", "__import__('os')"):
        with pytest.raises(hltm.InputError) as caught:
            theory.pair_weight(refused)
        assert "\n" not in str(caught.value)


@promise("theory.to_latex(obj, form)")
def _():
    x = sympy.Symbol("x")
    assert parameters(theory.to_latex) == ["obj", "form"]
    for thing in (x**2, sympy.Eq(x, 1), sympy.Matrix([[x, 1]]), derivation()):
        assert "\\begin{equation}" in theory.to_latex(thing)


@promise("theory.to_latex form: equation")
def _():
    assert theory.to_latex(derivation(), form="equation").startswith("\\begin{equation}")


@promise("theory.to_latex form: align")
def _():
    assert "\\begin{align}" in theory.to_latex(derivation(), form="align")


@promise("theory.to_latex form: standalone")
def _():
    text = theory.to_latex(derivation(), form="standalone")
    assert "\\documentclass" in text
    assert "\\end{document}" in text


@promise("numeric.connections(weights, x, slope)")
def _():
    defaults(numeric.connections, slope=0.0)
    found = numeric.connections(WEIGHTS, torch.as_tensor(POINTS[:, 0]))
    assert [tuple(k.shape) for k in found] == [(3, 3 * 2, 2), (3, 2 * 3, 2)]


@promise("numeric.FinitePopulation(points, point_weights, augmentation_weights)")
def _():
    defaults(numeric.FinitePopulation, point_weights=None, augmentation_weights=None)
    law = [[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]]
    found = numeric.FinitePopulation(POINTS, point_weights=[0.5, 0.25, 0.25], augmentation_weights=law)
    assert found.points.shape == (3, 2, 2)
    assert found.flat_weights.tolist() == [0.25, 0.25, 0.0625, 0.1875, 0.25, 0.0]


@promise("numeric.population_gradient(weights, population, loss, slope, **loss_parameters)")
def _():
    defaults(numeric.population_gradient, slope=0.0)
    found = numeric.population_gradient(WEIGHTS, population(), "infonce", tau=0.5, negatives=2)
    assert [tuple(matrix.shape) for matrix in found] == [(3, 2), (2, 3)]


@promise("numeric.covariance_operator(weights, population, layer, loss, slope, **loss_parameters)")
def _():
    defaults(numeric.covariance_operator, loss="simple", slope=0.0)
    for layer, size in ((1, 6), (2, 6)):
        found = numeric.covariance_operator(WEIGHTS, population(), layer, loss="triplet", tau=0.5, margin=0.1)
        assert found.shape == (size, size)
        assert torch.equal(found, found.T)


@promise("numeric.covariance_operator_product(...)")
def _():
    dense = numeric.covariance_operator(WEIGHTS, population(), 1, loss="infonce", tau=0.5)
    product = numeric.covariance_operator_product(WEIGHTS, population(), 1, loss="infonce", tau=0.5)
    assert product.shape == (6, 6)
    assert np.allclose(product @ np.eye(6), dense.numpy(), atol=1e-13)


@promise("numeric.TreeNetwork(tree, width, slope, output, seed, ensemble, dtype, device)")
def _():
    names = ["tree", "width", "slope", "output", "seed", "ensemble", "dtype", "device"]
    assert parameters(numeric.TreeNetwork)[: len(names)] == names
    defaults(numeric.TreeNetwork, width=10, slope=0.0, seed=0, ensemble=1)
    network = numeric.TreeNetwork(toy(), width=3, seed=1, ensemble=4, dtype=torch.float32, device="cpu")
    assert network.weights[0].shape == (4, 3, 6)
    assert network.weights[0].dtype == torch.float32


@promise("numeric.TreeNetwork output: linear")
def _():
    leaves = torch.tensor([[1, 0, 1, 1]])
    network = numeric.TreeNetwork(toy(), output="linear")
    assert network.forward(leaves).norm() != pytest.approx(1)


@promise("numeric.TreeNetwork output: normalized")
def _():
    leaves = torch.tensor([[1, 0, 1, 1]])
    found = numeric.TreeNetwork(toy(), output="normalized", slope=1.0).forward(leaves)
    assert found.norm().item() == pytest.approx(1)


@promise("numeric.train(network, tree, loss, tau, lr, batch, steps, seed, checkpoint_dir)")
def _(folder):
    names = ["network", "tree", "loss", "tau", "lr", "batch", "steps", "seed", "checkpoint_dir"]
    assert parameters(numeric.train)[: len(names)] == names
    defaults(numeric.train, loss="infonce", tau=0.1, lr=0.1, batch=128, seed=0, checkpoint_dir=None)
    network = numeric.TreeNetwork(toy(), width=2, output="normalized")
    numeric.train(network, toy(), batch=8, steps=4, checkpoint_dir=folder / "run")
    assert (folder / "run").is_dir()


@promise("numeric.train returns a trace")
def _():
    network = numeric.TreeNetwork(toy(), width=2, output="normalized", ensemble=2)
    trace = numeric.train(network, toy(), loss="simple", batch=8, steps=4, record_every=2)
    assert isinstance(trace, numeric.TrainingTrace)
    assert (trace.steps, tuple(trace.losses.shape)) == ((0, 2, 4), (2, 2))


@promise("loss: simple")
def _():
    assert numeric.loss_spec("simple").name == "simple"


@promise("loss: triplet (tau, margin)")
def _():
    spec = numeric.loss_spec("triplet", tau=0.5, margin=0.25)
    assert (spec.tau, spec.margin) == (0.5, 0.25)


@promise("loss: infonce (tau, negatives = 1)")
def _():
    assert numeric.loss_spec("infonce", tau=0.5).negatives == 1
    assert numeric.loss_spec("infonce", tau=0.5, negatives=3).negatives == 3


@promise("lists over layers start at layer 1")
def _():
    first = numeric.connections(WEIGHTS, torch.as_tensor(POINTS[:, 0]))[0]
    assert first.shape[1] == WEIGHTS[0].size
    assert numeric.population_gradient(WEIGHTS, population(), "simple")[0].shape == WEIGHTS[0].shape


@promise("layer is the paper's l, 1 .. L")
def _():
    for layer in (0, 3):
        with pytest.raises(hltm.InputError, match=f"layer={layer}"):
            numeric.covariance_operator(WEIGHTS, population(), layer)


@promise("population_gradient = 2 V[Kbar] vec W (simple)")
def _():
    for layer, gradient in enumerate(numeric.population_gradient(WEIGHTS, population(), "simple"), start=1):
        operator = numeric.covariance_operator(WEIGHTS, population(), layer)
        predicted = 2 * operator @ torch.as_tensor(WEIGHTS[layer - 1]).T.reshape(-1)
        assert torch.allclose(gradient.T.reshape(-1), predicted, atol=1e-12)


@promise("population_gradient = V^xi vec W + theta (others)")
def _():
    # theta vanishes with the spread of the augmentations: a single augmentation has none.
    single = numeric.FinitePopulation(POINTS[:, :1])
    for loss, options in (("triplet", {"tau": 0.5, "margin": 0.25}), ("infonce", {"tau": 0.5})):
        for layer, gradient in enumerate(numeric.population_gradient(WEIGHTS, single, loss, **options), start=1):
            operator = numeric.covariance_operator(WEIGHTS, single, layer, loss=loss, **options)
            predicted = operator @ torch.as_tensor(WEIGHTS[layer - 1]).T.reshape(-1)
            assert torch.allclose(gradient.T.reshape(-1), predicted, atol=1e-12)


@promise("weights[node] has shape (|N_mu|, |N_mu^ch|)")
def _():
    network = numeric.TreeNetwork(toy(), width={0: 2, 1: 3, 2: 5})
    assert {node: tuple(w.shape[-2:]) for node, w in network.weights.items()} == {0: (2, 8), 1: (3, 2), 2: (5, 2)}


def by_hand(network, leaves):
    """The network of one member written out node by node, from its weights and the promised orders alone."""
    tree = network.tree
    weights = {node: matrix.reshape(matrix.shape[-2:]) for node, matrix in network.weights.items()}
    states = dict(zip(tree.leaves, leaves, strict=True))

    def value(node):
        if node in states:
            return torch.tensor([float(states[node])], dtype=torch.float64)
        total = weights[node] @ torch.cat([value(child) for child in tree.children(node)])
        return total if node == tree.root else torch.relu(total)

    return value(tree.root)


@promise("columns run over tree.children(node), all neurons of one child before the next")
def _():
    network = numeric.TreeNetwork(toy(), width={0: 2, 1: 3, 2: 5}, seed=4)
    for leaves in itertools.product((0, 1), repeat=4):
        assert torch.allclose(network.forward(torch.tensor([leaves])).reshape(-1), by_hand(network, leaves))


@promise("a leaf is one neuron whose activation is its state number")
def _():
    tree = hltm.random_tree(3, seed=0, cardinality=4)
    network = numeric.TreeNetwork(tree, width=3, seed=2)
    leaves = (3, 0, 2)
    assert torch.allclose(network.forward(torch.tensor([leaves])).reshape(-1), by_hand(network, leaves))


@promise("rows and columns of an operator follow vec")
def _():
    x = torch.as_tensor(POINTS[:, 0])
    (k,) = numeric.connections([WEIGHTS[0]], x)
    n_out, n_in = WEIGHTS[0].shape
    for b, a in itertools.product(range(n_out), range(n_in)):
        # d f_b' / d W_ba of a linear layer is x_a where b' = b.
        expected = torch.zeros(len(x), n_out, dtype=torch.float64)
        expected[:, b] = x[:, a]
        assert torch.equal(k[:, a * n_out + b], expected)


@promise("the top node has no activation, every other latent has")
def _():
    network = numeric.TreeNetwork(toy(), width=6, seed=0)
    outputs = network.forward(torch.tensor(list(itertools.product((0, 1), repeat=4))))
    assert (outputs < 0).any()


@promise("public functions have type hints")
def _():
    for package in (hltm, theory, numeric):
        for name in package.__all__:
            function = getattr(package, name)
            if inspect.isfunction(function):
                hints = function.__annotations__
                assert "return" in hints, name
                assert set(inspect.signature(function).parameters) <= set(hints), name
