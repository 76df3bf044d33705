"""What closed forms and derivations show, put to numbers: conditional probabilities by enumeration, gates, names."""

import re
from fractions import Fraction

import networkx as nx
import pytest
import sympy
from sympy import MatrixSymbol, Rational, kronecker_product, preorder_traversal

import hltm
import theory
from hltm.base.errors import InputError
from theory.towers.network import gradient_terms
from theory.trees.derivations import CHILD_LIMIT, PATH_LIMIT


def exact(number):
    return Fraction(int(number.p), int(number.q))


def chance(tree, node, state):
    """P(z_node = 1 | z_root = state), by the chain of the tables in fractions."""
    law = [Fraction(int(i == state)) for i in range(2)]
    for above, below in zip(path := tree.path(tree.root, node), path[1:], strict=False):
        data = tree.graph.edges[above, below]
        rows = data.get("transition")
        if rows is None:
            rho = Fraction(data["polarity"])
            rows = [[(1 + rho) / 2, (1 - rho) / 2], [(1 - rho) / 2, (1 + rho) / 2]]
        law = [sum(p * Fraction(row[j]) for p, row in zip(law, rows, strict=True)) for j in range(2)]
    return law[1]


@pytest.mark.parametrize("kind", ["symmetric", "general"])
@pytest.mark.parametrize("shape", ["chain", "caterpillar", "uneven"])
def test_steps_along_a_path_are_differences_of_conditional_probabilities(brute_network, shape, kind):
    tree, _, _ = brute_network(shape, kind, 0, 5)
    values, node = theory.parameter_values(tree), tree.latents[-1]
    found = theory.derive(6, tree=tree, node=node, claim="activation")
    seen = {}
    for step in found.steps:
        name = str(step.expression.lhs)
        if match := re.fullmatch(r"\(\\mathbb\{P\}\[z_\{(\w+)\}=1 \\mid z_\{(\w+)\}=1\] - .*=0\]\)", name):
            assert match[2] == str(tree.root)
            seen[match[1]] = exact(sympy.sympify(step.expression.rhs).xreplace(values))
    path = tree.path(tree.root, node)[1:]
    assert list(seen) == [str(place) for place in path]
    for place in path:
        assert seen[str(place)] == chance(tree, place, 1) - chance(tree, place, 0)
    for child in tree.children(node):
        (step,) = (s for s in found.steps if str(s.expression.lhs).startswith(rf"(\mathbb{{E}}[f_{{{child}}} \mid"))
        rho = values[sympy.Symbol(rf"\rho_{{{node},{child}}}", real=True)]
        assert step.expression.rhs.xreplace(values) == rho  # a leaf: 2 rho s with s = 1/2
    truth = found.steps[-1].expression.rhs.xreplace(values)
    means = [[chance(tree, child, state) for child in tree.children(node)] for state in range(2)]
    prior = [Fraction(p) for p in tree.graph.nodes[tree.root]["prior"]]
    for i, j in ((i, j) for i in range(truth.rows) for j in range(truth.cols)):
        both = sum(p * row[i] * row[j] for p, row in zip(prior, means, strict=True))
        apart = [sum(p * row[k] for p, row in zip(prior, means, strict=True)) for k in (i, j)]
        assert exact(truth[i, j]) == both - apart[0] * apart[1]


@pytest.mark.parametrize("kind", ["symmetric", "general"])
def test_forms_of_all_nodes_are_conditional_probabilities(brute_network, kind):
    tree, _, _ = brute_network("caterpillar", kind, 0, 9)
    values, every = theory.parameter_values(tree), theory.activation_covariances(tree)
    reach = {}
    for symbol, step in every.definitions.items():
        reach[symbol] = step.xreplace(values | reach)
    rho_0 = Fraction(tree.graph.nodes[tree.root]["prior"][1]) - Fraction(tree.graph.nodes[tree.root]["prior"][0])
    assert len(every) == len(tree.latents) == len(every.definitions) + 1
    for node in tree.latents:
        gap = chance(tree, node, 1) - chance(tree, node, 0)
        strength = gap**2 * (1 - rho_0**2)
        assert exact(sympy.sympify(every[node].factor).xreplace(values | reach)) == strength
        assert exact(sympy.sympify(every.written_out(node)).xreplace(values)) == strength
        assert every[node].node == node
        for child, entry in zip(tree.children(node), every[node].vector, strict=True):
            own = chance(tree, child, 1) - chance(tree, child, 0)
            selectivity = entry.xreplace(values | {sympy.Symbol(f"s_{{{child}}}", real=True): Rational(1, 2)})
            assert gap == 0 or exact(selectivity) * 2 * gap == own
    assert {str(symbol) for symbol in every.definitions} == {rf"\rho_{{r\to {v}}}" for v in tree.latents if v != "r"}
    assert all(symbol.is_real for symbol in every.definitions)


def test_refusals_name_the_function():
    tree = hltm.star_tree(2, polarity=0.5)
    every = theory.activation_covariances(tree)
    for call, name in (
        (lambda: theory.activation_covariance(tree, 1), "activation_covariance"),
        (lambda: every[1], "activation_covariances"),
        (lambda: every.written_out(1), "activation_covariances"),
        (lambda: theory.covariance_operator(tree, 1, {0: [[1, 1]]}), "covariance_operator"),
        (lambda: theory.node_update(tree, 1, {0: [[1, 1]]}), "node_update"),
        (lambda: theory.walsh_operator(tree, 1, {0: [[1, 1]]}), "walsh_operator"),
        (lambda: theory.derive(6, tree=tree, node=1), "'activation-covariance'"),
    ):
        with pytest.raises(InputError, match=rf"^node 1 of {re.escape(name)}: must have children, is a leaf"):
            call()
    with pytest.raises(InputError, match=r"^activation_covariance with 513 rows: must have at most 512"):
        theory.activation_covariance(hltm.star_tree(513, polarity=0.5), 0)
    assert theory.activation_covariance(hltm.star_tree(1, polarity=0.5), 0).shape == (1, 1)


def test_derivations_are_written_out_up_to_their_limits():
    for count, refused in ((CHILD_LIMIT, False), (CHILD_LIMIT + 1, True)):
        tree = hltm.star_tree(count, polarity=0.5)
        if refused:
            with pytest.raises(InputError, match=f"with {count} children: must have at most {CHILD_LIMIT} to be"):
                theory.derive(6, tree=tree, node=0, claim="depth")
        else:
            assert theory.derive(6, tree=tree, node=0, claim="depth").proved
    chain = hltm.complete_tree(depth=PATH_LIMIT + 2, branching=1, polarity=0.5)
    assert theory.derive(6, tree=chain, node=PATH_LIMIT, claim="depth").proved
    with pytest.raises(InputError, match=f"with {PATH_LIMIT + 1} edges from the root: must have at most {PATH_LIMIT}"):
        theory.derive(6, tree=chain, node=PATH_LIMIT + 1, claim="depth")


@pytest.mark.parametrize("kind", ["symmetric", "general", "categorical"])
def test_operators_at_given_gates_are_those_of_a_linear_network(brute_network, kind):
    """Rational gates scale the rows of the weights; the rows of the node itself carry one gate more."""
    tree, weights, _ = brute_network("caterpillar", kind, 1, 3)
    gates = {"a": [Rational(1, 3), Rational(-5, 2)], "b": [4, Rational(2, 7)]}
    scaled = dict(weights)
    for v in gates:
        pairs = zip(gates[v], weights[v], strict=True)
        scaled[v] = [[gate * Rational(*w.as_integer_ratio()) for w in row] for gate, row in pairs]
    for node in tree.latents:
        left = theory.covariance_operator(tree, node, weights, 0, gates=gates, numbers=True)
        right = theory.covariance_operator(tree, node, scaled, 1, numbers=True)
        own = kronecker_product(sympy.eye(right.rows // 2), sympy.diag(*gates.get(node, [1, 1])))
        assert left == own * right * own
        assert not left.free_symbols
        assert left != right or node == tree.root


def names_of(expression):
    return [part.name for part in preorder_traversal(expression) if isinstance(part, MatrixSymbol)]


@pytest.mark.parametrize("output", ["linear", "normalized"])
def test_connections_and_outputs_of_written_out_towers_have_their_names(output):
    """dr/dW_{1,l} = K_{1,l} (K_{1,l}^T vec W_{1,l} - K_{2,l}^T vec W_{2,l}), layer by layer; b and f where normalised."""
    found = theory.derive("dual-gradient", widths=(1, 2, 1) if output == "linear" else (2, 2), output=output)
    layers = 2 if output == "linear" else 1
    back, ahead = ("^{b}", "^{f}") if output == "normalized" else ("", "")
    shown = [names_of(step.expression) for step in found.steps]
    assert found.statement.relations[-1] == found.steps[-1].expression
    assert len(found.statement.relations) == layers
    for layer in range(1, layers + 1):
        (claim,) = [
            names for names in shown if rf"\frac{{\partial r}}{{\partial W_{{1,{layer}}}}}" in names and
            f"W_{{2,{layer}}}" in names
        ]  # fmt: skip
        assert {f"K{back}_{{1,{layer}}}", f"K{ahead}_{{1,{layer}}}", f"K{ahead}_{{2,{layer}}}"} <= set(claim)
    for tower in (1, 2):
        outputs = [names for names in shown if f"f_{{{tower},{layers}}}" in names]
        assert outputs
    extra = [text for text in found.assumptions if "not zero" in text]
    assert extra == ([] if output == "linear" else ["u_1 and u_2 are not zero"])


def test_terms_are_counted_in_whole_numbers():
    assert isinstance(gradient_terms((2, 3, 2)), int)


def test_derivations_of_all_sizes_default_to_linear_outputs():
    assert theory.derive(1).statement == theory.derive(1, output="linear").statement
    assert theory.derive(1).statement != theory.derive(1, output="normalized").statement


def test_the_tree_of_the_examples_is_small():
    found = theory.derive(6)
    assert found.steps[-1].expression.rhs.shape == (2, 2)
    assert re.search(r"z_\{(\\mu|\\mathrm\{mu\})\}", str(found.steps[0].expression))


def test_losses_need_a_binary_root_only():
    graph = nx.DiGraph()
    graph.add_node("r", prior=[Fraction(1, 3)] * 3, cardinality=3)
    graph.add_edge("r", "x", transition=[[0.5, 0.5]] * 3)
    with pytest.raises(InputError, match="claim='losses' of 'activation-covariance': needs a root with two states"):
        theory.derive(6, tree=hltm.HLTM(graph), node="r", claim="losses")


@pytest.mark.parametrize("slope", [Fraction(0), Fraction(1, 4), Fraction(1)])
@pytest.mark.parametrize("kind", ["symmetric", "categorical"])
def test_numbers_hold_no_symbols(brute_network, kind, slope):
    tree, weights, _ = brute_network("star", kind, slope, 4)
    for function in (theory.covariance_operator, theory.node_update):
        assert not function(tree, "r", weights, slope, numbers=True).free_symbols
    assert not theory.activation_covariance(tree, "r", numbers=True).free_symbols
    assert theory.activation_covariance(tree, "r").free_symbols


def test_large_operators_name_the_function():
    tree = hltm.star_tree(27, polarity=0.5)
    weights = {0: [[1] * 27] * 19}
    with pytest.raises(InputError, match=r"^covariance_operator with 513 rows: must have at most 512"):
        theory.covariance_operator(tree, 0, weights, 1)


def test_written_out_hidden_layers_have_their_shapes():
    found = theory.derive(5, widths=(1, 2, 1))
    shapes = {p.name: p.shape for step in found.steps[:2] for p in preorder_traversal(step.expression) if p.is_Matrix and
              isinstance(p, MatrixSymbol)}  # fmt: skip
    assert {shape for name, shape in shapes.items() if name.endswith("W}_{1}")} == {(2, 1)}
    assert {shape for name, shape in shapes.items() if name.endswith("W}_{2}")} == {(1, 2)}
