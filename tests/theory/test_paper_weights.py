"""Weights, slope and gates from files, on the command line; definitions of the symbols that a formula uses."""

import re
from fractions import Fraction

import pytest
import sympy

import hltm
import theory
from hltm.base.errors import InputError
from theory.latex.names import MACROS, used_macros
from theory.paper import weights as weights_module
from theory.paper.definitions import DEFINITIONS, symbol_list
from theory.paper.export import Style, formula, formula_rows
from theory.paper.weights import read_network
from theory.trees.symbols import read_weights, tree_symbols

TREE = hltm.complete_tree(2, 2, Fraction(1, 2), root_polarity=Fraction(1, 3))
WEIGHTS = '{"0": [["w_1", 2, "1/3", 0.1]], "1": [[1, -2], [3, 1e-3]], "2": [[1, 1], ["-5/2", 0]]}'
NUMBERS = WEIGHTS.replace('"w_1"', "4")


def written(folder, text, name="w.json"):
    (folder / name).write_text(text)
    return folder / name


def test_numbers_are_what_is_written_and_names_are_symbols(tmp_path):
    network = read_network(TREE, written(tmp_path, WEIGHTS), "1")
    assert network.matrices[0].tolist() == [
        [sympy.Symbol("w_1", real=True), 2, sympy.Rational(1, 3), sympy.Rational(1, 10)]
    ]
    assert network.matrices[1].tolist() == [[1, -2], [3, sympy.Rational(1, 1000)]]
    assert network.matrices[2].tolist() == [[1, 1], [sympy.Rational(-5, 2), 0]]
    assert network.slope == 1
    assert read_network(TREE, written(tmp_path, NUMBERS)).slope == 0
    assert read_network(TREE, written(tmp_path, NUMBERS), "1/4").slope == sympy.Rational(1, 4)
    gated = read_network(
        TREE, written(tmp_path, WEIGHTS), None, written(tmp_path, '{"1": ["g", 1], "2": [0, "1/2"]}', "g.json")
    )
    assert gated.gates == {1: [sympy.Symbol("g", real=True), 1], 2: [0, sympy.Rational(1, 2)]}


def test_nodes_are_named_as_on_the_command_line(tmp_path):
    import networkx as nx

    graph = nx.DiGraph([("r", (1, "b")), ((1, "b"), "x"), ("r", "y")])
    graph.nodes["r"]["prior"] = [0.5, 0.5]
    nx.set_edge_attributes(graph, 0.5, "polarity")
    tree = hltm.HLTM(graph)
    network = read_network(tree, written(tmp_path, '{"r": [[1, 2]], "[1, \\"b\\"]": [[3]]}'), "1")
    assert network.matrices[1, "b"].tolist() == [[3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must be a JSON object with a list for each node, got list"),
        ("{", "is no JSON"),
        ("{}", "weights without node 0: must have every node with children"),
        (NUMBERS.replace('"2"', '"7"'), "'7': not a node of the tree"),
        (NUMBERS.replace('"2"', '"3"'), r"weights[3]: must be a node with children"),
        (NUMBERS.replace('"2"', '"1"'), "key '1': must not be given twice in one JSON object"),
        (NUMBERS.replace('"2"', '" 1"'), "weights[1]: must not be given twice"),
        (NUMBERS.replace("[1, -2]", "[1, -2, 3]"), "weights[1]: must be a matrix of shape (neurons, 2)"),
        (NUMBERS.replace("[[1, -2], [3, 1e-3]]", "[1, 2]"), "weights[1]: must be a matrix of shape (neurons, 2)"),
        (NUMBERS.replace("-2", "[[1]]"), "weights[1][0][1]=[[1]]: must be a number"),
        (NUMBERS.replace("-2", "true"), "weights[1][0][1]=True: must be a number"),
        (NUMBERS.replace("-2", "null"), "weights[1][0][1]=None: must be a number"),
        (NUMBERS.replace("-2", '"w + 1"'), "weights[1][0][1]='w + 1': must be a number"),
        (NUMBERS.replace("-2", '"1/0"'), "weights[1][0][1]='1/0': must be a number"),
        (NUMBERS.replace("-2", '"__import__"'), "weights[1][0][1]='__import__': must be a number"),
        (NUMBERS.replace("-2", "NaN"), "number NaN: must be finite"),
        (NUMBERS.replace("-2", "1e999"), "number '1e999': must be finite"),
        (NUMBERS.replace("-2", "1e-99999999"), "number '1e-99999999': must be finite"),
        (NUMBERS.replace("-2", "1" * 5000), "must be finite"),
        ("[" * 100_000, "nested too deeply"),
        ('{"0": ' + "[" * 900 + "]" * 900 + "}", "must be a number"),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_wrong_is_one_line(text, message, tmp_path):
    with pytest.raises(InputError) as caught:
        read_network(TREE, written(tmp_path, text), "1")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("slope", ["2", "-1/4", "x", "", "nan", "1/0", "1e-99999"])
def test_a_slope_that_is_none(slope, tmp_path):
    with pytest.raises(InputError, match="of the activation: must be a number in"):
        read_network(TREE, written(tmp_path, NUMBERS), slope)


def test_a_file_is_read_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_module, "FILE_LIMIT", 10)
    with pytest.raises(InputError, match="must have at most 10 bytes"):
        read_network(TREE, written(tmp_path, NUMBERS))
    for name in ("absent.json", ".", "a\0b"):
        with pytest.raises(InputError, match=r"cannot be read|is no regular file"):
            read_network(TREE, tmp_path / name)


COMMAND = ("theory", "latex", "--tree", "tree.json", "--node", "1")


@pytest.fixture
def latex(in_process, tmp_path):
    hltm.save(TREE, tmp_path / "tree.json")
    written(tmp_path, NUMBERS)
    written(tmp_path, WEIGHTS, "symbols.json")
    written(tmp_path, '{"1": ["g", 1], "2": [0, 1]}', "gates.json")
    return lambda *options: in_process(*COMMAND, *options)


def test_the_command_writes_the_formula_of_the_weights(latex, tmp_path):
    tree = hltm.load(tmp_path / "tree.json")
    for options, file, slope in (
        (["--weights", "w.json"], NUMBERS, 0),
        (["--weights", "w.json", "--slope", "1/4", "--short"], NUMBERS, sympy.Rational(1, 4)),
        (["--weights", "symbols.json", "--slope", "1"], WEIGHTS, 1),
    ):
        result = latex("--what", "operator", *options)
        assert result.returncode == 0, result.stderr
        network = read_network(tree, written(tmp_path, file, "again.json"), str(slope))
        style = Style(short="--short" in options)
        assert result.stdout == formula(tree, 1, "operator", style=style, network=network)
    gated = latex("--what", "operator", "--weights", "symbols.json", "--gates", "gates.json")
    assert r"\covopweight{g}" in gated.stdout
    assert latex("--what", "operator", "--weights", "w.json", "--out", "f.tex").returncode == 0
    assert latex("--what", "operator", "--weights", "w.json", "--check", "f.tex").returncode == 0
    (tmp_path / "f.tex").write_text((tmp_path / "f.tex").read_text().replace(r"\tfrac{1}{4}", r"\tfrac{1}{3}", 1))
    assert latex("--what", "operator", "--weights", "w.json", "--check", "f.tex").returncode == 1


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--slope", "1"], "--slope='1' without --weights"),
        (["--gates", "gates.json"], "--gates='gates.json' without --weights"),
        (["--weights", "w.json", "--slope", "1", "--gates", "gates.json"], "--slope with --gates"),
        (["--weights", "absent.json"], "absent.json"),
        (["--weights", "symbols.json"], "the gates of a ReLU network depend on the numbers"),
        (["--width", "20pt"], "width='20pt'"),
        (["--label", "activation"], "label='activation'"),
        (["--label", "a", "--no-label"], "--label with --no-label"),
        (["--no-label", "--check", "w.json"], "--check with --no-label"),
        (["--what", "symbols", "--check", "w.json"], "--check with --what symbols"),
    ],
    ids=str,
)
def test_bad_usage(options, fragment, latex):
    result = latex("--what", "operator", *options)
    assert result.returncode == 2, result.stdout
    assert fragment in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_width_prefix_and_no_label_on_the_command_line(latex, tmp_path):
    tree = hltm.load(tmp_path / "tree.json")
    assert latex("--width", "246pt").stdout == latex("--width", "twocolumn").stdout
    assert latex("--label", "fig.2").stdout == formula(tree, 1, style=Style(prefix="fig.2"))
    assert latex("--no-label").stdout == formula(tree, 1, style=Style(prefix=None))
    listed = latex("--what", "symbols", "--of", "operator", "--form", "standalone")
    assert listed.stdout.startswith("\\documentclass")
    assert r"\covopjacobian" in listed.stdout
    assert r"\covopjacobian" not in latex("--what", "symbols").stdout


# Definitions of symbols.

GENERAL = hltm.random_tree(6, seed=3, symmetric=False)
_LAYOUT = {"edge", "stackededge", "way", "stackedway"}
_LETTERS = {"state", "otherstate", "output", "child", "parent"}


def test_every_macro_has_a_definition():
    assert set(DEFINITIONS) | _LAYOUT | _LETTERS == set(MACROS)
    for name, (arguments, _, words) in DEFINITIONS.items():
        assert len(re.findall(r"\{(?:[^{}]|\{[^{}]*\})*\}", arguments)) == max(1, MACROS[name][0]), name
        assert words


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("what", ["activation", "operator"])
@pytest.mark.parametrize("tree", [TREE, GENERAL, hltm.random_tree(4, seed=3, cardinality=(3, 5))])
def test_the_symbols_of_a_formula_are_listed_and_no_others(tree, what, short):
    for node in tree.latents:
        rows = formula_rows(tree, node, what, Style(short=short))
        items = [line for line in symbol_list(rows).splitlines() if line.startswith(r"\item")]
        listed = {re.match(r"\\item \$\\covop([a-z]+)", line)[1] for line in items}
        assert len(listed) == len(items)
        assert listed == used_macros(formula(tree, node, what, style=Style(short=short))) - _LAYOUT - _LETTERS


def shares(row):
    values = [Fraction(p) for p in row]
    return [value / sum(values) for value in values]


def law(tree, node):
    """Joint law of the root and a node, by a sum over all states of the path, in fractions."""
    path = tree.path(tree.root, node)
    joint = {(i, i): p for i, p in enumerate(shares(tree.exact_prior()))}
    for child in path[1:]:
        rows = tree.exact_table(child)
        step = {}
        for (start, state), p in joint.items():
            for j, q in enumerate(shares(rows[state])):
                step[start, j] = step.get((start, j), 0) + p * q
        joint = step
    return joint


def value(definition, tree, mu, nu):
    """Evaluate a definition in probabilities; the condition is on z_0 for a path, on z_mu for an edge."""

    def probability(match):
        of, state, given, at = match.groups()
        node = {"0": tree.root, r"\mu": mu, r"\nu": nu}[of]
        if given is None:
            return f"({sum(p for (_, j), p in law(tree, node).items() if j == int(state))})"
        if given == "0":
            joint = law(tree, node)
            whole = sum(p for (i, _), p in joint.items() if i == int(at))
            return f"({joint.get((int(at), int(state)), 0) / whole})"
        return f"({shares(tree.exact_table(nu)[int(at)])[int(state)]})"

    pattern = r"\\mathbb\{P\}\[z_\{([^{}]+)\} = (\d)(?: \\mid z_\{([^{}]+)\} = (\d))?\]"
    return sympy.Rational(sympy.parse_expr(re.sub(pattern, probability, definition)))


def test_definitions_have_the_values_of_the_symbols():
    symbols = tree_symbols(GENERAL)
    values = theory.parameter_values(GENERAL)
    assert value(DEFINITIONS["rootpolarity"][1], GENERAL, None, None) == values[symbols.root_polarity]
    forms = theory.activation_covariances(GENERAL)
    for mu in GENERAL.latents:
        reach = value(DEFINITIONS["reach"][1], GENERAL, mu, None) if mu != GENERAL.root else 1
        states = [value(rf"\mathbb{{P}}[z_{{\mu}} = 1 \mid z_{{0}} = {i}]", GENERAL, mu, None) for i in (0, 1)]
        prior = shares(GENERAL.exact_prior())
        mean = sum(p * s for p, s in zip(prior, states, strict=True))
        spread = 4 * sum(p * (s - mean) ** 2 for p, s in zip(prior, states, strict=True))
        assert DEFINITIONS["strength"][1] == r"4 \operatorname{Var}_{z_{0}} \mathbb{P}[z_{\mu} = 1 \mid z_{0}]"
        assert spread == forms.written_out(mu).xreplace(values)
        assert spread == reach**2 * (1 - values[symbols.root_polarity] ** 2)
        for nu in GENERAL.children(mu):
            assert value(DEFINITIONS["polarity"][1], GENERAL, mu, nu) == values[symbols.polarity(nu)]
            assert value(DEFINITIONS["offset"][1], GENERAL, mu, nu) == values[symbols.offset(nu)]


def test_the_list_of_a_network_has_its_weights():
    network = read_weights(TREE, {0: [[1, 2, 3, 4]], 1: [[sympy.Symbol("w"), 1], [1, 1]], 2: [[1, 1], [1, 1]]}, 1)
    text = symbol_list(formula_rows(TREE, 0, "operator", Style(), network))
    assert r"\item $\covopweight{w}$" in text
    assert r"\item $\covopidentity{n}$" in text
