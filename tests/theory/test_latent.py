"""Activation covariances in closed form: exact small examples, mutants, derivations."""

from fractions import Fraction

import networkx as nx
import pytest
import sympy
from sympy import Rational, Symbol, kronecker_product

import hltm
import theory
from hltm.base.errors import InputError

rho_0 = Symbol(r"\rho_{0}", real=True)


def edge_symbol(u, v):
    return Symbol(rf"\rho_{{{u},{v}}}", real=True)


def small_tree():
    """r over a, a over the leaf x: 3 nodes."""
    graph = nx.DiGraph([("r", "a"), ("a", "x")])
    graph.nodes["r"]["prior"] = [Fraction(1, 4), Fraction(3, 4)]
    graph.edges["r", "a"]["transition"] = [[Fraction(1, 2), Fraction(1, 2)], [Fraction(1, 3), Fraction(2, 3)]]
    graph.edges["a", "x"]["transition"] = [[Fraction(4, 5), Fraction(1, 5)], [Fraction(1, 5), Fraction(4, 5)]]
    return hltm.HLTM(graph)


def test_written_out_by_hand():
    tree = small_tree()
    ra, ax, s = edge_symbol("r", "a"), edge_symbol("a", "x"), Symbol("s_{a}", real=True)
    assert theory.activation_covariance(tree, "r") == sympy.Matrix([[(1 - rho_0**2) * ra**2 * s**2]])
    found = theory.activation_covariance(tree, "a")
    assert theory.decide_zero(found - sympy.Matrix([[(1 - rho_0**2) * ra**2 * ax**2 / 4]]))
    values = theory.parameter_values(tree)
    assert values[rho_0] == Rational(1, 2)
    assert values[ra] == Rational(1, 6)
    assert values[ax] == Rational(3, 5)
    assert found.xreplace(values)[0] == Rational(3, 4) * Rational(1, 36) * Rational(9, 25) / 4
    assert theory.activation_covariance(tree, "a", numbers=True)[0] == found.xreplace(values)[0]


def test_selectivities_replace_symbols():
    tree = small_tree()
    a, b = sympy.symbols("a b")
    found = theory.activation_covariance(tree, "r", selectivities={"a": [a, b]})
    assert found.shape == (2, 2)
    assert theory.decide_zero(found[0, 1] - (1 - rho_0**2) * edge_symbol("r", "a") ** 2 * a * b)
    with pytest.raises(InputError, match="latent child"):
        theory.activation_covariance(tree, "r", selectivities={"b": a})
    with pytest.raises(InputError, match="one of them"):
        theory.activation_covariance(tree, "r", weights={}, selectivities={"a": a})


def test_categorical_form_in_symbols(brute_network):
    """Weights of one ReLU neuron: its conditional means put into the symbols e give the enumerated covariance."""
    tree, _, oracle = brute_network("chain", "categorical", 0, 2)
    found = theory.activation_covariance(tree, "r")
    assert {s.name for s in found.free_symbols} >= {r"\pi_{0}", "T_{r,a;21}", "e_{a;2}"}
    inner = hltm.HLTM(_rerooted(tree))
    laws = [hltm.rational_leaf_distribution(inner, {"a": state}) for state in range(3)]
    means = [sum(p * oracle.forward(x)[0]["a"][0] for x, p in law.items()) for law in laws]
    values = {Symbol(f"e_{{a;{j}}}", real=True): Rational(*m.as_integer_ratio()) for j, m in enumerate(means)}
    exact = found.xreplace(theory.parameter_values(tree) | values)[0]
    assert Fraction(int(exact.p), int(exact.q)) == oracle.activation_covariance("r")[0][0]


def _rerooted(tree):
    """The part below a, with a uniform prior."""
    graph = nx.DiGraph()
    graph.add_edges_from((u, v, dict(tree.graph.edges[u, v])) for u, v in tree.edges[1:])
    for node in graph:
        graph.nodes[node]["cardinality"] = 3
    graph.nodes["a"]["prior"] = [Fraction(1, 3)] * 3
    return graph


def test_nodes_whose_names_look_alike_get_different_symbols():
    graph = nx.DiGraph([(1, "1"), ("1", "x"), (1, "a,b"), (1, ("a", "b"))])
    graph.nodes[1]["prior"] = [0.5, 0.5]
    nx.set_edge_attributes(graph, 0.5, "polarity")
    assert len(theory.parameter_values(hltm.HLTM(graph))) == 5


def test_parameter_values_are_exact():
    tree = hltm.random_tree(6, seed=3, symmetric=False, cardinality=(2, 4))
    values = theory.parameter_values(tree)
    assert all(value.is_Rational for value in values.values())
    tree = hltm.star_tree(1, polarity=0.1)
    assert theory.parameter_values(tree)[edge_symbol(0, 1)] == Rational(*(0.1).as_integer_ratio())


VARIANTS = {
    "rho for rho^2": lambda o, r, a: (1 - o**2) * r * a**2 / 4,
    "1 - rho_0": lambda o, r, a: (1 - o) * r**2 * a**2 / 4,
    "edge of the path missing": lambda o, r, a: (1 - o**2) * a**2 / 4,
    "s without 1/2": lambda o, r, a: (1 - o**2) * r**2 * a**2,
    "a without rho": lambda o, r, a: (1 - o**2) * r**2 / 4,
}


@pytest.mark.parametrize("name", VARIANTS)
def test_false_variants_are_refuted_on_three_nodes(name, brute_network):
    tree, _, oracle = brute_network("chain", "general", 1, 21)
    truth = oracle.covariance(lambda x: [Fraction(x[0])], lambda x: [Fraction(x[0])])[0][0]
    values = theory.parameter_values(tree)
    o, path = values[rho_0], [values[edge_symbol(*e)] for e in (("r", "a"), ("a", "b"), ("b", "x"))]
    right = (1 - o**2) * (path[0] * path[1] * path[2]) ** 2 / 4
    assert Fraction(int(right.p), int(right.q)) == truth
    wrong = VARIANTS[name](o, path[0] * path[1], path[2])
    assert Fraction(int(wrong.p), int(wrong.q)) != truth
    shown = sympy.symbols("o r a", real=True)
    assert (
        theory.decide_zero(VARIANTS[name](*shown) - (1 - shown[0] ** 2) * (shown[1] * shown[2]) ** 2 / 4).value is False
    )


def test_jacobian_on_the_wrong_side_is_refuted(brute_network):
    """J J^T in place of J^T J has another shape or other entries."""
    tree, weights, oracle = brute_network("chain", "symmetric", 1, 6)
    jacobian = sympy.Matrix([[Rational(*w.as_integer_ratio()) for w in row] for row in weights["r"]])
    activations = theory.activation_covariance(tree, "a", weights=weights, numbers=True)
    truth = sympy.Matrix([[Rational(*x.as_integer_ratio()) for x in row] for row in oracle.operator("a")])
    assert kronecker_product(activations, jacobian.T * jacobian) == truth
    assert kronecker_product(activations, jacobian * jacobian.T) != truth


def test_every_node_of_a_large_tree():
    """Symbolic forms of 16,383 nodes, each checked on a sample against the one-node function."""
    tree = hltm.complete_tree(depth=13, branching=2, polarity=0.7)
    every = theory.activation_covariances(tree)
    assert len(tree) == 16_383
    assert list(every) == list(tree.latents)
    for node in (0, 1, 2, 77, 4094, 8190):
        form, definitions = every[node].matrix(), dict(every.definitions)
        while form.free_symbols & definitions.keys():
            form = form.xreplace(definitions)
        assert theory.decide_zero(form - theory.activation_covariance(tree, node))
    with pytest.raises(InputError, match="must have children"):
        every[16_382]
    with pytest.raises(InputError, match="use activation_covariance"):
        theory.activation_covariances(hltm.random_tree(3, seed=0, symmetric=False, cardinality=3))


@pytest.mark.parametrize("names", [None, lambda v: f"Z{v}", lambda v: ("a", v), lambda v: f"_x,{v}", lambda v: f"é{v}"])
def test_products_of_the_forms_stand_in_the_order_of_sympy(names):
    """Factor, vector and definitions equal, and print as, what SymPy makes of their factors."""
    for seed in range(4):
        tree = hltm.random_tree(leaves=12, seed=seed)
        if names is not None:
            tree = hltm.HLTM(nx.relabel_nodes(tree.graph, names))
        every = theory.activation_covariances(tree)
        products = [form.factor for form in every.values()] + list(every.definitions.values())
        products += [entry for form in every.values() for entry in form.vector]
        assert len(products) > len(tree.latents)
        for product in products:
            rebuilt = product.func(*reversed(product.args)) if product.args else product
            assert rebuilt == product, seed
            assert rebuilt.args == product.args, seed


@pytest.mark.parametrize("claim", ["activation", "update", "losses", "depth"])
@pytest.mark.parametrize("shape", ["edge", "chain", "star", "caterpillar", "complete", "uneven"])
def test_derivations_are_proved(shape, claim, brute_network):
    tree, _, _ = brute_network(shape, "general", 0, 1)
    for node in tree.latents:
        derivation = theory.derive("activation-covariance", tree=tree, node=node, claim=claim)
        assert derivation.proved
        assert len(derivation.steps) >= 3
        assert all(step.decision.method != "numeric point" for step in derivation.steps)
        assert "align" in derivation.latex()
    assert theory.derive(6, claim=claim).proved


def test_derivation_of_the_categorical_form(brute_network):
    tree, _, _ = brute_network("caterpillar", "mixed", 0, 1)
    for node in tree.latents:
        assert theory.derive("activation-covariance", tree=tree, node=node).proved
    tree, _, _ = brute_network("edge", "categorical", 0, 1)
    with pytest.raises(InputError, match="two states"):
        theory.derive(6, tree=tree, node="r", claim="losses")


def test_derivation_says_when_the_block_is_all(brute_network):
    tree, _, _ = brute_network("uneven", "general", 0, 1)
    texts = {v: theory.derive(6, tree=tree, node=v, claim="update").statement.text for v in tree.latents}
    assert "is the whole update" in texts["r"]
    assert "is not the update" in texts["a"]


@pytest.mark.parametrize(
    ("shape", "node", "whole"), [("complete", "r", True), ("complete", "a", False), ("chain", "b", True)]
)
def test_block_against_update(shape, node, whole, brute_network):
    """2 OP vec W is the enumerated update exactly where the derivation says so."""
    _, weights, oracle = brute_network(shape, "general", Fraction(1, 4), 10)
    rows = len(weights[node])
    vector = [weights[node][b][a] for a in range(len(weights[node][0])) for b in range(rows)]
    block = [2 * sum(x * w for x, w in zip(row, vector, strict=True)) for row in oracle.operator(node)]
    assert ([block[b::rows] for b in range(rows)] == oracle.update(node)) is whole


def test_a_wrong_claim_is_not_proved(monkeypatch, brute_network):
    """The derivation compares two computations: a closed form without its square is refuted."""
    import theory.trees.derivations as module

    tree, _, _ = brute_network("star", "general", 0, 1)
    true = module.activation_covariance
    monkeypatch.setattr(module, "activation_covariance", lambda *args: true(*args) * rho_0)
    derivation = theory.derive(6, tree=tree, node="r")
    assert derivation.decision.value is False
    assert not derivation.proved


BAD = {
    "node": ({"tree": small_tree(), "node": "q"}, "node 'q': not a node"),
    "leaf": ({"tree": small_tree(), "node": "x"}, "must have children"),
    "no node": ({"tree": small_tree()}, "must name a node"),
    "claim": ({"claim": "loses"}, "did you mean 'losses'"),
    "tree": ({"tree": 3, "node": 1}, "hltm.HLTM"),
    "wide": ({"tree": hltm.star_tree(100, polarity=0.5), "node": 0}, "activation_covariance gives the formula"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    options, message = BAD[name]
    with pytest.raises(InputError) as caught:
        theory.derive("activation-covariance", **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("t", ["1/1000", "1/2", "1", "7"])
@pytest.mark.parametrize("d", [0, 1, 2, 5])
def test_the_steps_of_the_depth_bound_hold_where_they_are_tight(t, d):
    """Bernoulli's step is an equality at d = 0 and nearly one for small t: a larger constant on its right is false."""
    derivation = theory.derive("activation-covariance", claim="depth")
    values = {"t": sympy.Rational(t), "d": d}
    checked = 0
    for step in derivation.steps:
        symbols = {s.name for s in step.expression.free_symbols}
        if symbols and symbols <= set(values):
            numbers = {s: values[s.name] for s in step.expression.free_symbols}
            assert step.expression.subs(numbers) == sympy.true, step.expression
            checked += 1
    assert checked == 1
