"""Operators and updates of tree networks against enumeration in fractions and the reference vectors; bad input."""

import json
import time
from fractions import Fraction
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import sympy
from sympy import Rational, Symbol

import hltm
import theory
from hltm.base.errors import InputError

SHAPES = ["edge", "chain", "star", "caterpillar", "complete", "uneven"]
KINDS = ["symmetric", "general", "corners", "categorical", "mixed"]
SLOPES = [Fraction(0), Fraction(1, 4), Fraction(1)]
REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "vectors.json").read_text())["trees"]
EPS = 2.0**-52


def fractions(matrix, values):
    return [[Fraction(int(e.p), int(e.q)) for e in row] for row in matrix.xreplace(values).tolist()]


def cases():
    for i, shape in enumerate(SHAPES):
        for j, kind in enumerate(KINDS):
            yield shape, kind, SLOPES[(i + j) % 3], 100 * i + j


@pytest.mark.parametrize(("shape", "kind", "slope", "seed"), list(cases()), ids=str)
def test_every_node_agrees_with_enumeration(brute_network, shape, kind, slope, seed):
    """Numbers everywhere; symbols where the monomials stay few (the refusal is tested below)."""
    tree, weights, oracle = brute_network(shape, kind, slope, seed)
    values = theory.parameter_values(tree)
    symbolic = kind not in ("categorical", "mixed") or slope == 1 or len(tree) < 5
    for node in tree.latents:
        activation, operator, update = oracle.activation_covariance(node), oracle.operator(node), oracle.update(node)
        for numbers in (False, True) if symbolic else (True,):
            found = theory.activation_covariance(tree, node, weights=weights, slope=slope, numbers=numbers)
            assert fractions(found, values) == activation, (node, seed)
            found = theory.covariance_operator(tree, node, weights, slope, numbers=numbers)
            assert fractions(found, values) == operator, (node, seed)
            found = theory.node_update(tree, node, weights, slope, numbers=numbers)
            assert fractions(found, values) == update, (node, seed)


@pytest.mark.parametrize("index", range(len(REFERENCE)))
def test_reference_vectors(index):
    case = REFERENCE[index]
    tree = hltm.tree_from_json(case["tree"])
    values, weights, slope = theory.parameter_values(tree), case["weights"], case["slope"]
    for node in weights:
        results = {
            "activation_covariance": theory.activation_covariance(tree, node, weights=weights, slope=slope),
            "covariance_operator": theory.covariance_operator(tree, node, weights, slope),
            "minus_expected_gradient_simple": theory.node_update(tree, node, weights, slope),
        }
        # Bound of the reference's float64 sums: absolute activations grow with the absolute weights on the way.
        size = np.prod([1 + np.abs(w).sum() for w in weights.values()]) ** 2
        for name, matrix in results.items():
            ours, theirs = np.array(matrix.xreplace(values).tolist(), dtype=float), np.array(case[name][node])
            assert ours.shape == theirs.shape
            assert np.abs(ours - theirs).max() <= 8 * EPS * 2 ** len(tree.leaves) * size, (node, name)


@pytest.mark.parametrize("kind", ["general", "categorical"])
def test_symbolic_weights_of_linear_neurons(brute_network, kind):
    tree, weights, oracle = brute_network("complete", kind, 1, 7)
    symbols = {v: [[Symbol(f"w_{v}{b}{a}") for a in range(len(w[0]))] for b in range(2)] for v, w in weights.items()}
    chosen = {
        symbols[v][b][a]: Rational(*x.as_integer_ratio())
        for v in weights
        for b, row in enumerate(weights[v])
        for a, x in enumerate(row)
    }
    values = theory.parameter_values(tree) | chosen
    for node in tree.latents:
        assert fractions(theory.covariance_operator(tree, node, symbols, 1), values) == oracle.operator(node)
        assert fractions(theory.node_update(tree, node, symbols, 1), values) == oracle.update(node)


def test_fixed_gates_are_a_linear_network(brute_network):
    """Symbolic gates scale the rows of the weights of a linear network."""
    tree, weights, _ = brute_network("caterpillar", "general", 1, 3)
    gates = {"a": [Symbol("d_0"), Symbol("d_1")], "b": [1, Symbol("d_2")]}
    scaled = dict(weights)
    for v in gates:
        rows = zip(gates[v], weights[v], strict=True)
        scaled[v] = [[g * Rational(*w.as_integer_ratio()) for w in row] for g, row in rows]
    for node in tree.latents:
        left = theory.node_update(tree, node, weights, 0, gates=gates)
        right = theory.node_update(tree, node, scaled, 1)
        # dL/dW = D dL/d(D W): the update of a gated row carries one more gate.
        own = sympy.diag(*gates.get(node, [1, 1]))
        assert theory.decide_zero(left - own * right)
        assert theory.decide_zero(
            theory.covariance_operator(tree, node, weights, 0, gates=gates)
            - sympy.kronecker_product(sympy.eye(len(weights[node][0])), own)
            * theory.covariance_operator(tree, node, scaled, 1)
            * sympy.kronecker_product(sympy.eye(len(weights[node][0])), own)
        )


def test_root_of_a_relu_network_takes_symbols_in_its_own_weights(brute_network):
    tree, weights, oracle = brute_network("uneven", "symmetric", 0, 5)
    symbolic = weights | {"r": [[Symbol(f"w{b}{a}") for a in range(len(weights["r"][0]))] for b in range(2)]}
    found = theory.covariance_operator(tree, "r", symbolic, 0)
    assert fractions(found, theory.parameter_values(tree)) == oracle.operator("r")


def test_operators_are_polynomials_in_the_parameters(brute_network):
    tree, weights, _ = brute_network("complete", "general", 0, 11)
    parameters = set(theory.parameter_values(tree))
    for entry in theory.covariance_operator(tree, "a", weights, 0):
        assert entry.free_symbols <= parameters
        assert entry.is_polynomial(*parameters)


TREE = hltm.complete_tree(depth=2, branching=2, polarity=0.5)
GOOD = {0: [[1, 1]], 1: [[1, 2]], 2: [[1, -1]]}
x = Symbol("x")
BAD = {
    "leaf": (lambda: theory.covariance_operator(TREE, 3, GOOD), "must have children"),
    "unknown": (lambda: theory.node_update(TREE, "1", GOOD), "did you mean"),
    "symbols and ReLU": (lambda: theory.covariance_operator(TREE, 1, GOOD | {1: [[x, 1]]}), "gates="),
    "symbols above and ReLU": (lambda: theory.covariance_operator(TREE, 1, GOOD | {0: [[x, 1]]}), "slope=1"),
    "missing": (lambda: theory.covariance_operator(TREE, 1, {0: [[1, 1]]}), "weights without node"),
    "extra": (lambda: theory.covariance_operator(TREE, 1, GOOD | {3: [[1]]}), "weights[3]"),
    "shape": (lambda: theory.covariance_operator(TREE, 1, GOOD | {1: [[1, 2, 3]]}), "(neurons, 2)"),
    "ragged": (lambda: theory.covariance_operator(TREE, 1, GOOD | {1: [[1, 2], [3]]}), "(neurons, 2)"),
    "no mapping": (lambda: theory.covariance_operator(TREE, 1, [1]), "mapping"),
    "nan": (lambda: theory.covariance_operator(TREE, 1, GOOD | {1: [[1, float("nan")]]}), "weights[1][0, 1]=nan"),
    "text": (lambda: theory.covariance_operator(TREE, 1, GOOD | {1: [[1, "x"]]}), "weights[1][0, 1]='x'"),
    "no polynomial": (lambda: theory.covariance_operator(TREE, 1, GOOD | {1: [[1, 1 / x]]}, 1), "polynomial"),
    "slope": (lambda: theory.covariance_operator(TREE, 1, GOOD, slope=2), "slope=2"),
    "gates": (lambda: theory.covariance_operator(TREE, 1, GOOD, gates={1: [1, 0], 2: [1]}), "gates[1]"),
    "gates missing": (lambda: theory.covariance_operator(TREE, 1, GOOD, gates={1: [1]}), "gates without node 2"),
    "tree": (lambda: theory.covariance_operator({}, 1, GOOD), "hltm.HLTM"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(InputError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_trees_too_large_for_enumeration_are_refused_with_another_way():
    tree = hltm.complete_tree(depth=6, branching=2, polarity=0.5)
    weights = {v: [[1, 1]] for v in tree.latents}
    with pytest.raises(InputError, match=r"32 leaves: must have at most 65,536 leaf configurations.*slope=1"):
        theory.covariance_operator(tree, 1, weights)
    assert theory.covariance_operator(tree, 1, weights, slope=1).shape == (2, 2)
    wide = hltm.star_tree(2_000, polarity=0.5)
    ones = {0: np.ones((1, 2_000), dtype=int)}
    with pytest.raises(InputError, match=r"2,000 rows: must have at most 512.*activation_covariances"):
        theory.covariance_operator(wide, 0, ones)
    assert theory.node_update(wide, 0, ones).shape == (1, 2_000)


@pytest.mark.parametrize("symmetric", [True, False])
def test_too_many_monomials_are_refused_with_another_way(symmetric):
    """A root over one latent node with 14 leaves: the gate of the latent node depends on all of them."""
    leaves = 14
    graph = nx.DiGraph([("r", "a"), *(("a", i) for i in range(leaves))])
    graph.nodes["r"]["prior"] = [0.5, 0.5]
    for edge in graph.edges:
        graph.edges[edge].update({"polarity": 0.5} if symmetric else {"transition": [[0.75, 0.25], [0.5, 0.5]]})
    tree = hltm.HLTM(graph)
    weights = {"r": [[1]], "a": [[1, -1] * (leaves // 2)]}
    with pytest.raises(InputError, match="numbers=True"):
        theory.covariance_operator(tree, "a", weights)
    found = theory.covariance_operator(tree, "a", weights, numbers=True)
    assert all(entry.is_Rational for entry in found)
    if symmetric:
        operator = theory.walsh_operator(tree, "a", weights).evaluate(np.full((1, leaves + 1), 0.5))[0]
        assert np.abs(operator - np.array(found.tolist(), dtype=float)).max() <= EPS * 2**leaves


def wide_pair(leaves, tables):
    """A root over two latents with a number of leaves each."""
    graph = nx.DiGraph([("r", "a"), ("r", "b"), *((v, f"{v}{i}") for v in "ab" for i in range(leaves))])
    graph.nodes["r"]["prior"] = [0.5, 0.5]
    nx.set_edge_attributes(graph, dict.fromkeys(graph.edges, tables))
    tree = hltm.HLTM(graph)
    draw = np.random.default_rng(3)
    return tree, {v: draw.normal(size=(1, len(tree.children(v)))) for v in tree.latents}


SYMMETRIC, GENERAL = {"polarity": 0.5}, {"transition": [[0.75, 0.25], [0.5, 0.5]]}
FORMS = (theory.covariance_operator, theory.node_update)


@pytest.mark.parametrize(("tables", "leaves"), [(SYMMETRIC, 16), (SYMMETRIC, 14), (GENERAL, 16), (GENERAL, 9)])
@pytest.mark.parametrize("function", FORMS)
def test_large_operators_in_symbols_are_refused_at_once(function, tables, leaves):
    """The bound counts all children of a node together."""
    tree, weights = wide_pair(leaves, tables)
    start = time.process_time()
    with pytest.raises(InputError, match=r"must have at most 16,384 monomials.*numbers=True"):
        function(tree, "r", weights)
    assert time.process_time() - start < 1
    assert all(entry.is_Rational for entry in function(tree, "r", weights, numbers=True))


@pytest.mark.parametrize(("tables", "leaves"), [(SYMMETRIC, 13), (GENERAL, 8)])
@pytest.mark.parametrize("function", FORMS)
def test_the_largest_operators_in_symbols_that_are_allowed(function, tables, leaves):
    tree, weights = wide_pair(leaves, tables)
    assert function(tree, "r", weights).free_symbols


def test_what_refusals_name_works_there():
    import torch

    import numeric

    tree, weights = wide_pair(20, {"polarity": 0.5})
    for call in (
        lambda: theory.covariance_operator(tree, "a", weights),
        lambda: theory.activation_covariance(tree, "r", weights=weights, slope=0),
        lambda: theory.walsh_operator(tree, "a", weights),
    ):
        with pytest.raises(InputError, match=r"slope=1 or gates=.*numeric.TreeNetwork on numeric.sample_leaves"):
            call()
    assert theory.covariance_operator(tree, "a", weights, slope=1).shape == (20, 20)
    assert theory.covariance_operator(tree, "a", weights, gates={"a": [1], "b": [0]}).shape == (20, 20)
    for large in (tree, hltm.star_tree(2_000, polarity=0.5)):
        leaves = numeric.sample_leaves(large, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        assert numeric.TreeNetwork(large, width=1).forward(leaves).shape == (1, 3, 1)
    with pytest.raises(InputError, match=r"numeric.TreeNetwork on numeric.sample_leaves"):
        theory.activation_covariance(large, 0)
    assert len(theory.activation_covariances(large)[0].vector) == 2_000
    with pytest.raises(InputError, match=r"theory\.activation_covariances gives its factors"):
        theory.derive("activation-covariance", tree=large, node=0)
