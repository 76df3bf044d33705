"""The Walsh form against enumeration in fractions, its mutants, its speed and its limits."""

import subprocess
import sys
from fractions import Fraction
from itertools import product

import networkx as nx
import numpy as np
import pytest
import sympy
from sympy import Rational

import hltm
import theory
from hltm.base.errors import InputError

SHAPES = ["edge", "chain", "star", "caterpillar", "complete", "uneven"]
EPS = 2.0**-52


def fractions(matrix, values):
    return [[Fraction(int(e.p), int(e.q)) for e in row] for row in matrix.xreplace(values).tolist()]


def random_weights(tree, seed, width=2):
    """Quarters in [-2, 2], `width` neurons at every latent node."""
    rng = np.random.default_rng(seed)
    width_of = {v: width if tree.children(v) else 1 for v in tree.nodes}
    shapes = {v: (width, sum(width_of[c] for c in tree.children(v))) for v in tree.latents}
    return {v: rng.integers(-8, 9, shape) / 4 for v, shape in shapes.items()}


@pytest.mark.parametrize("seed", range(4))
def test_any_function_of_the_leaves(brute_network, seed):
    """E[g|1] - E[g|0] for a connection, entry by entry, from coefficients summed by their definition."""
    tree, weights, oracle = brute_network("complete", "symmetric", Fraction(0), seed)
    operator = theory.walsh_operator(tree, "a", weights)
    values = theory.parameter_values(tree)
    low, high = oracle.mean(oracle.connection("a"))
    found = [Rational(entry.as_expr().xreplace(values)) for row in operator.gap() for entry in row]
    assert [Fraction(int(x.p), int(x.q)) for x in found] == [b - a for a, b in zip(low, high, strict=True)]
    n = len(tree.leaves)
    connection = oracle.connection("a")
    for s, signs in enumerate(product((0, 1), repeat=n)):
        total = [Fraction(0)] * len(low)
        for x in product((0, 1), repeat=n):
            chi = (-1) ** sum(bit and not state for bit, state in zip(signs, x, strict=True))
            total = [t + chi * g for t, g in zip(total, connection(x), strict=True)]
        own = operator.sums.numerators[s]
        assert [Fraction(int(v), operator.sums.denominator) for v in own] == total, (s, seed)


def walsh_gap(tree, function, even_sets=False, even_edges=False, factor=2):
    """The Walsh sum written out over subsets of leaves, with a mistake if one is asked for."""
    leaves = list(tree.leaves)
    below = {v: {leaf for leaf in leaves if v in tree.path(tree.root, leaf)} for v in tree.nodes}
    total = Fraction(0)
    for chosen in product((0, 1), repeat=len(leaves)):
        subset = {leaf for leaf, bit in zip(leaves, chosen, strict=True) if bit}
        if len(subset) % 2 == (1 if even_sets else 0):
            continue
        coefficient = Fraction(0)
        for x in product((0, 1), repeat=len(leaves)):
            sign = (-1) ** sum(leaf in subset and not state for leaf, state in zip(leaves, x, strict=True))
            coefficient += sign * function(x) / 2 ** len(leaves)
        term = factor * coefficient
        for u, v in tree.edges:
            if len(below[v] & subset) % 2 == (0 if even_edges else 1):
                term *= Fraction(tree.graph.edges[u, v]["polarity"])
        total += term
    return total


@pytest.mark.parametrize(
    "mistake", [{"even_sets": True}, {"even_edges": True}, {"factor": 1}], ids=["even |S|", "even edges", "no factor 2"]
)
def test_false_variants_are_refuted_on_four_nodes(mistake):
    """Three leaves that are independent given the root, so that the truth is written by hand."""
    rho = [Fraction(1, 2), Fraction(1, 3), Fraction(1, 5)]
    graph = nx.DiGraph([("r", "x"), ("r", "y"), ("r", "z")])
    graph.nodes["r"]["prior"] = [0.5, 0.5]
    for edge, value in zip(graph.edges, rho, strict=True):
        graph.edges[edge]["polarity"] = value
    means = []
    for sign in (-1, 1):
        x, y, z = ((1 + sign * value) / 2 for value in rho)
        means.append(x * y + 2 * z)

    def function(x):
        return Fraction(x[0] * x[1] + 2 * x[2])

    tree = hltm.HLTM(graph)
    assert walsh_gap(tree, function) == means[1] - means[0]
    assert walsh_gap(tree, function, **mistake) != means[1] - means[0]


def test_entries_are_polynomials_of_the_linear_form_for_slope_one():
    tree = hltm.complete_tree(depth=2, branching=2, polarity=0.5, root_polarity=0.25)
    weights = random_weights(tree, 5)
    for node in tree.latents:
        closed = theory.covariance_operator(tree, node, weights, slope=1)
        assert theory.decide_zero(theory.walsh_operator(tree, node, weights, slope=1).matrix() - closed)
        relu = theory.covariance_operator(tree, node, weights)
        assert theory.decide_zero(theory.walsh_operator(tree, node, weights).matrix() - relu)


def test_eight_leaves_in_symbols():
    tree = hltm.complete_tree(depth=3, branching=2, polarity=0.5)
    weights = random_weights(tree, 1)
    for node in (0, 1, 3):
        matrix = theory.walsh_operator(tree, node, weights).matrix()
        other = theory.covariance_operator(tree, node, weights)
        values = theory.parameter_values(tree)
        assert matrix.xreplace(values) == other.xreplace(values)


# ru_maxrss would count the process that started this one, up to exec.
MEMORY = r"""
import re
from pathlib import Path
import numpy as np
import hltm, theory

tree = hltm.complete_tree(depth=4, branching=2, polarity=0.5)
weights = {v: np.full((2, 2 if v > 6 else 4), 0.25) * (-1) ** v for v in tree.latents}
rho = np.random.default_rng(3).uniform(-1, 1, (1000, len(tree.edges)))
assert theory.walsh_operator(tree, 1, weights).evaluate(rho, root_polarity=0.25).shape == (1000, 8, 8)
print(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_sixteen_leaves_need_less_than_two_gigabytes():
    """In a process of its own: the peak of this one is that of every test before."""
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 2_000_000  # KiB


def test_sixteen_leaves_at_a_thousand_polarity_vectors():
    tree = hltm.complete_tree(depth=4, branching=2, polarity=0.5)
    weights = random_weights(tree, 2)
    rho = np.random.default_rng(3).uniform(-1, 1, (1000, len(tree.edges)))
    operator = theory.walsh_operator(tree, 1, weights)
    found = operator.evaluate(rho, root_polarity=0.25)
    assert found.shape == (1000, 8, 8)
    # The same network summed over all 65,536 configurations, gates decided in float64 (quarters are exact there).
    graph = nx.DiGraph(tree.graph)
    for edge, value in zip(tree.edges, rho[7], strict=True):
        graph.edges[edge]["polarity"] = float(value)
    graph.nodes[0]["prior"] = [0.375, 0.625]
    truth, bound = float_operator(hltm.HLTM(graph), weights)
    assert np.abs(found[7] - truth).max() <= 64 * EPS * 2**8 * bound


def float_operator(tree, weights):
    """OP of node 1 by enumeration in float64, and a bound of the size of the terms."""
    points, laws = hltm.enumerate_leaves(tree).astype(float), hltm.exact.leaf_table(tree)
    value, gate = {leaf: points[:, [i]] for i, leaf in enumerate(tree.leaves)}, {}
    for node in reversed(tree.latents):
        before = np.hstack([value[c] for c in tree.children(node)]) @ weights[node].T
        gate[node] = before > 0
        value[node] = before if node == 0 else before * gate[node]
    inputs = np.hstack([value[c] for c in tree.children(1)])
    jacobian = weights[0][None, :, :2] * gate[1][:, None, :]
    means = [np.einsum("x,xa,xob->abo", law, inputs, jacobian).reshape(8, 2) for law in laws]
    gap = means[1] - means[0]
    bound = np.abs(inputs).max() ** 2 * np.abs(weights[0]).max() ** 2 * 8
    return (1 - tree.root_polarity**2) / 4 * gap @ gap.T, bound


def test_gates_at_exactly_zero_are_decided_exactly():
    """0.1 + 0.2 - 0.3 is not 0 in floats, 1/10 + 2/10 - 3/10 is: the gate must be the slope."""
    tree = hltm.HLTM(_star_below_root())
    exact = {"r": [[1]], "a": [[Fraction(1, 10), Fraction(2, 10), Fraction(-3, 10)]]}
    oracle_gap = theory.walsh_operator(tree, "a", exact).sums.numerators
    assert oracle_gap.shape == (8, 3)
    # The configuration 111 has pre-activation 0: its connection is 0 for slope 0, so that
    # the entries sum to those of the other open configurations only.
    opened = [x for x in product((0, 1), repeat=3) if x[0] + 2 * x[1] - 3 * x[2] > 0]
    assert [int(v) for v in oracle_gap[0]] == [sum(x[i] for x in opened) for i in range(3)]


def _star_below_root():
    graph = nx.DiGraph([("r", "a"), ("a", "x"), ("a", "y"), ("a", "z")])
    graph.nodes["r"]["prior"] = [0.5, 0.5]
    nx.set_edge_attributes(graph, 0.5, "polarity")
    return graph


TREE = hltm.star_tree(2, polarity=0.5)
BAD = {
    "general table": (
        lambda: theory.walsh_operator(hltm.random_tree(3, seed=0, symmetric=False), 0, {}),
        "symmetric table; use covariance_operator",
    ),
    "symbols": (lambda: theory.walsh_operator(TREE, 0, {0: [[sympy.Symbol("x"), 1]]}), "give numbers"),
    "columns": (lambda: theory.walsh_operator(TREE, 0, {0: [[1, 1]]}).evaluate([[0.5]]), "shape (n, 2)"),
    "range": (lambda: theory.walsh_operator(TREE, 0, {0: [[1, 1]]}).evaluate([[0.5, 1.5]]), "1.5"),
    "nan": (lambda: theory.walsh_operator(TREE, 0, {0: [[1, 1]]}).evaluate([[0.5, float("nan")]]), "nan"),
    "too many leaves": (
        lambda: theory.walsh_operator(hltm.star_tree(17, polarity=0.5), 0, {0: [[1] * 17]}),
        "has 131,072",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(InputError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_monomials_are_refused_and_evaluated():
    graph = nx.DiGraph([("r", "a"), *(("a", i) for i in range(16))])
    graph.nodes["r"]["prior"] = [0.5, 0.5]
    nx.set_edge_attributes(graph, 0.5, "polarity")
    tree = hltm.HLTM(graph)
    operator = theory.walsh_operator(tree, "a", random_weights(tree, 4))
    with pytest.raises(InputError, match="use evaluate"):
        operator.matrix()
    assert np.isfinite(operator.evaluate(np.ones((2, 17)))).all()
    assert operator.evaluate(np.ones((0, 17))).shape[0] == 0
