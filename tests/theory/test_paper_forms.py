"""Short formulas, and those of networks with given weights, have the values of the derived matrices.

The objects that are written are evaluated on the tables of the tree, name by name: nothing is parsed, and no
closed form is asked for but the one they are compared with.
"""

import random
from fractions import Fraction

import pytest
import sympy

import hltm
import theory
from hltm.base.errors import InputError
from theory.paper import forms
from theory.paper.forms import by_rules, of_network
from theory.paper.rows import edge_names
from theory.paper.terms import (
    Diagonal,
    Difference,
    Each,
    Index,
    Kronecker,
    Matrix,
    Name,
    Polynomial,
    Power,
    Product,
    States,
    Transposed,
    Vector,
    Writer,
)
from theory.trees.symbols import is_binary_edge, is_symmetric, read_weights, tree_symbols

LINE = 345.0
TREES = {
    "complete": (hltm.complete_tree(2, 2, (-1, 1), seed=3, root_polarity=0.25), [0, 1]),
    "star": (hltm.star_tree(5, (-1, 1), seed=4, root_polarity=-0.5), [0]),
    "path": (hltm.complete_tree(6, 1, (-1, 1), seed=5, root_polarity=0.125), [0, 2, 3, 5]),
    "caterpillar": (hltm.caterpillar_tree(5, (-1, 1), seed=6), None),
    "general": (hltm.random_tree(6, seed=3, symmetric=False), None),
    "categorical": (hltm.random_tree(4, seed=3, symmetric=False, cardinality=(2, 4)), None),
    "categorical path": (hltm.random_tree(3, seed=8, symmetric=False, cardinality=(3, 3)), None),
}
CASES = [(name, node) for name, (tree, nodes) in TREES.items() for node in nodes or tree.latents]


def table(tree, above, node):
    return sympy.Matrix([[sympy.Rational(p) for p in exact(row)] for row in tree.exact_table(node)])


def exact(row):
    values = [Fraction(p) for p in row]
    return [value / sum(values) for value in values]


class Evaluator:
    """Values of terms: names by the tables of a tree, by what else is given, or by the equations of a form."""

    def __init__(self, tree, form, given):
        self.tree, self.given, self.equations = tree, given, {}
        self.parameters = theory.parameter_values(tree) | {
            k: v for k, v in given.items() if isinstance(k, sympy.Symbol)
        }
        for one in form.equations:
            for value in one.values or (None,):
                nodes = tuple(value if isinstance(node, Index) else node for node in one.left.nodes)
                index = one.left.nodes[0] if value is not None else None
                self.equations[one.left.macro, nodes, one.left.part] = (one.right, {index: value})

    def name(self, name, at):
        nodes = tuple(at.get(node, node) if isinstance(node, Index) else node for node in name.nodes)
        part = tuple(at.get(one, one) if isinstance(one, Index) else one for one in name.part)
        if (name.macro, nodes, part) in self.equations:
            right, bound = self.equations[name.macro, nodes, part]
            return self.value(right, bound)
        tree = self.tree
        prior = sympy.Matrix([sympy.Rational(p) for p in exact(tree.exact_prior())])
        match name.macro:
            case "prior":
                return prior
            case "rootpolarity":
                return prior[1] - prior[0]
            case "transitionmatrix":
                assert tree.parent(nodes[1]) == nodes[0]
                return table(tree, *nodes)
            case "polarity":
                assert tree.parent(nodes[1]) == nodes[0]
                return table(tree, *nodes)[1, 1] - table(tree, *nodes)[0, 1]
            case "identity":
                return sympy.eye(*part)
        return self.given[name.macro, nodes]

    def value(self, term, at):
        def inner(part):
            return self.value(part, at)

        match term:
            case Name():
                return self.name(term, at)
            case Polynomial(value):
                return sympy.expand(value.xreplace(self.parameters))
            case Product(factors):
                result = inner(factors[0])
                for factor in factors[1:]:
                    result = result * inner(factor)
                return result
            case Difference(left, right):
                return inner(left) - inner(right)
            case Power(base, exponent):
                return inner(base) ** exponent
            case Transposed(base):
                return inner(base).T
            case Diagonal(base):
                return sympy.diag(*inner(base))
            case Kronecker(left, right):
                return sympy.kronecker_product(inner(left), inner(right))
            case Vector(entries):
                return sympy.Matrix([inner(entry) for entry in entries])
            case Matrix(rows):
                return sympy.Matrix([[inner(entry) for entry in row] for row in rows])
            case States(node, count):
                node = at.get(node, node)
                assert count in (None, self.tree.cardinality(node))
                return sympy.Matrix(range(self.tree.cardinality(node)))
            case Each(kind, body, indices, values):
                parts = [self.value(body, at | dict(zip(indices, value, strict=True))) for value in values]
                if kind == "product":
                    return sympy.prod(parts) if not isinstance(parts[0], sympy.MatrixBase) else joined(parts)
                if kind == "sum":
                    return sum(parts[1:], parts[0])
                return {"vector": sympy.Matrix, "columns": lambda p: sympy.Matrix.hstack(*p), "rows": stacked}[kind](
                    parts
                )


def joined(parts):
    result = parts[0]
    for part in parts[1:]:
        result = result * part
    return result


def stacked(parts):
    return sympy.Matrix.vstack(*parts)


def same(left, right):
    return sympy.Matrix(left).shape == sympy.Matrix(right).shape and (
        sympy.Matrix(left) - sympy.Matrix(right)
    ).applyfunc(sympy.expand) == sympy.zeros(*sympy.Matrix(right).shape)


def free_values(tree, node):
    """Values of what a formula without weights leaves open: selectivities, means of latents, and a Jacobian."""
    rng = random.Random(str(node))
    texts = tree_symbols(tree).texts
    given = {("jacobian", (node,)): sympy.Matrix([[1, 2], [3, rng.randint(-5, 5)]])}
    for child in tree.children(node):
        if tree.children(child):
            means = [sympy.Rational(rng.randint(-9, 9), 7) for _ in range(tree.cardinality(child))]
            given["means", (child,)] = sympy.Matrix(means)
            given["selectivity", (child,)] = means[0]
            given[sympy.Symbol(f"s_{{{texts[child]}}}", real=True)] = means[0]
            for i, mean in enumerate(means):
                given[sympy.Symbol(f"e_{{{texts[child]};{i}}}", real=True)] = mean
    return given


@pytest.mark.parametrize(("name", "node"), CASES)
def test_a_short_form_has_the_value_of_the_derived_matrix(name, node):
    tree = TREES[name][0]
    symbols, given = tree_symbols(tree), free_values(tree, node)
    derived = theory.activation_covariance(tree, node)
    values = theory.parameter_values(tree) | {k: v for k, v in given.items() if isinstance(k, sympy.Symbol)}
    expected = derived.xreplace(values)
    form = by_rules(symbols, node, "activation")
    assert same(Evaluator(tree, form, given).value(form.equations[0].right, {}), expected)
    form = by_rules(symbols, node, "operator")
    jacobian = given["jacobian", (node,)]
    whole = sympy.kronecker_product(expected, jacobian.T * jacobian)
    assert same(Evaluator(tree, form, given).value(form.equations[0].right, {}), whole)


def weights_of(tree, outputs, kind, seed=0):
    """Random weights, two neurons a node; the root has some outputs; every fifth entry a symbol where asked for."""
    rng, result = random.Random(seed), {}
    for node in reversed(tree.latents):
        width = sum(len(result[child]) if child in result else 1 for child in tree.children(node))
        rows = outputs if node == tree.root else 2
        result[node] = [[Fraction(rng.randint(-6, 6), rng.randint(1, 3)) for _ in range(width)] for _ in range(rows)]
        if kind == "symbols":
            result[node][0][0] = sympy.Symbol(f"w_{len(result)}", real=True)
    return result


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize(("outputs", "slope"), [(1, 0), (2, Fraction(1, 4)), (2, 1)])
@pytest.mark.parametrize(("name", "node"), [case for case in CASES if case[0] not in ("path", "star")])
def test_the_formula_of_given_weights_has_the_value_of_the_operator(name, node, outputs, slope, short):
    tree = TREES[name][0]
    weights = weights_of(tree, outputs, "numbers")
    network, symbols = read_weights(tree, weights, slope), tree_symbols(tree)
    for what, expected in (
        ("operator", theory.covariance_operator(tree, node, weights, slope, numbers=True)),
        ("activation", theory.activation_covariance(tree, node, weights, slope=slope, numbers=True)),
    ):
        form = of_network(symbols, network, node, what, short, LINE)
        assert same(Evaluator(tree, form, {}).value(form.equations[0].right, {}), expected), what


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("name", ["complete", "general", "categorical"])
def test_symbols_as_weights_and_gates(name, short):
    tree = TREES[name][0]
    node = tree.latents[-1]
    weights = weights_of(tree, 2, "symbols")
    gates = {v: [sympy.Symbol(f"g_{i}", real=True), Fraction(1, 2)] for i, v in enumerate(tree.latents[1:])}
    for options in ({"slope": 1}, {"gates": gates}):
        expected = theory.covariance_operator(tree, node, weights, numbers=True, **options)
        form = of_network(tree_symbols(tree), read_weights(tree, weights, **options), node, "operator", short, LINE)
        assert same(Evaluator(tree, form, {}).value(form.equations[0].right, {}), expected)


def test_a_matrix_that_is_too_wide_is_written_row_by_row():
    tree = TREES["categorical path"][0]
    node = tree.latents[-1]
    network = read_weights(tree, weights_of(tree, 2, "numbers"), 0)
    expected = theory.covariance_operator(tree, node, weights_of(tree, 2, "numbers"), 0, numbers=True)
    wide = of_network(tree_symbols(tree), network, node, "operator", False, 2000.0)
    narrow = of_network(tree_symbols(tree), network, node, "operator", False, 120.0)
    assert len(narrow.equations) > len(wide.equations)
    for form in (wide, narrow):
        assert same(Evaluator(tree, form, {}).value(form.equations[0].right, {}), expected)


@pytest.mark.parametrize("name", TREES)
def test_a_name_reads_as_the_macro_of_its_symbol(name):
    tree = TREES[name][0]
    symbols = tree_symbols(tree)
    names = edge_names(symbols, tree.nodes[1:], large=True)
    writer = Writer(symbols.texts, names)
    for node in tree.nodes[1:]:
        edge = (tree.parent(node), node)
        if is_binary_edge(tree, node):
            assert names[symbols.polarity(node)] == writer.tex(Name("polarity", edge))
            if not is_symmetric(tree, node):
                assert names[symbols.offset(node)] == writer.tex(Name("offset", edge))
    if tree.cardinality(tree.root) == 2:
        assert names[symbols.root_polarity] == writer.tex(Name("rootpolarity"))


def test_a_changed_form_is_seen(monkeypatch):
    """The evaluation can fail: a sign, a factor and an exponent of a short form."""
    tree, node = TREES["complete"][0], 1
    symbols = tree_symbols(tree)
    expected = theory.activation_covariance(tree, node, numbers=True)
    for attribute, wrong in (
        ("_HALF", Polynomial(sympy.Rational(1, 3))),
        ("_root_spread", lambda: Power(Name("rootpolarity"), 2)),
        ("Power", lambda base, exponent: base),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(forms, attribute, wrong)
            form = by_rules(symbols, node, "activation")
            assert not same(Evaluator(tree, form, {}).value(form.equations[0].right, {}), expected)


def test_a_rule_for_leaves_names_the_children_it_is_for():
    """Elsewhere in the tree leaves may have more states."""
    tree = TREES["categorical"][0]
    form = by_rules(tree_symbols(tree), tree.root, "activation")
    rule = form.equations[-1]
    assert rule.values == tuple(child for child in tree.children(tree.root) if not tree.children(child))
    assert r"\covopchildren{0} \cap \covopleaves{}" in rule.where


def test_a_formula_that_is_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(forms, "TERM_LIMIT", 3)
    tree = TREES["complete"][0]
    with pytest.raises(InputError, match="must have at most 3 to be written out"):
        of_network(
            tree_symbols(tree), read_weights(tree, weights_of(tree, 1, "numbers"), 0), 1, "operator", False, LINE
        )


@pytest.mark.parametrize("symbol", [r"\rho_{1,3}", "o_1", "a_1", "J_1"])
def test_a_weight_that_reads_as_a_symbol_of_the_formula_is_refused(symbol):
    tree = hltm.complete_tree(2, 2, 0.5)
    weights = {0: [[sympy.Symbol(symbol), 1]], 1: [[1, 1]], 2: [[1, 1]]}
    with pytest.raises(InputError, match="must not read as a symbol of the formula"):
        of_network(tree_symbols(tree), read_weights(tree, weights, 1), 1, "operator", False, LINE)


@pytest.mark.parametrize(
    ("symbol", "text"),
    [("w", "w"), ("w_12", "w_{12}"), ("alpha_1", r"\alpha_{1}"), ("gain_ab", r"\mathrm{gain}_{\mathrm{ab}}")],
)
def test_a_symbol_of_the_weights_is_an_argument_of_a_macro(symbol, text):
    tree = hltm.complete_tree(2, 1, 0.5)
    network = read_weights(tree, {0: [[sympy.Symbol(symbol)]], 1: [[2]]}, 1)
    rows = of_network(tree_symbols(tree), network, 1, "operator", False, LINE).rows
    assert rows[-1].items == [(rf"\bigl(\covopweight{{{text}}}\bigr)",)]
