"""What notebooks show of trees, derivations, operators and evidence: escaped, bounded, and light."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import networkx as nx
import pytest
import sympy
import torch

import hltm
import numeric
import theory
from theory.latex.names import in_unicode, node_texts
from theory.latex.render import for_browsers, words
from verify.engine.assumptions import Outcome, Sides
from verify.engine.evidence import Evidence, Measurement
from verify.engine.runner import Refutation, Result
from verify.engine.statement import Assumption
from verify.loss.check import check_loss
from verify.loss.conformance import Conformance
from verify.registry import REGISTRY
from verify.report.html import mathml

HOSTILE = ["<script>alert(1)</script>", "$x_$", "a&b\\", '"><img src=x onerror=y>', "Zürich αβ^~", "\x1b[31m\u202e"]
DERIVATIONS = [(slug, {}) for slug in theory.STATEMENTS]
DERIVATIONS += [("dual-gradient", {"widths": (2, 2, 2), "output": "normalized"}), ("two-layer-dynamics", {"claim": "ring"})]  # fmt: skip
# What MathJax 3 (Jupyter's, without extensions) and KaTeX both know; `\text` holds letters only.
COMMANDS = {
    word
    for line in (
        "begin end left right frac sqrt sum prod log exp text operatorname mathbb mathbf mathcal mathrm bar",
        "dot qquad quad top otimes odot rho tau xi psi pi sigma theta delta alpha epsilon partial leq geq lt",
        "gt neq mid lVert rVert cdot circ infty max min to forall in backslash hat sim grave widetilde tilde",
        "overline Delta Sigma lambda mu nu kappa exists bigl bigr Bigl Bigr tfrac rightarrow limits phi omega",
        "varphi vec det ldots cdots dots le ge nabla lvert rvert langle rangle mathring Leftrightarrow",
    )
    for word in line.split()
}


def hostile_tree():
    graph = nx.DiGraph()
    graph.add_node(HOSTILE[0], prior=[0.5, 0.5])
    for above, node in pairwise(HOSTILE[:5]):
        graph.add_edge(above, node, polarity=0.5)
    graph.add_edge(HOSTILE[0], HOSTILE[5], polarity=-0.5)
    return hltm.HLTM(graph)


def checked_html(html):
    """Well formed, and without anything that a page would run or fetch."""
    root = ET.fromstring(f"<all>{html}</all>")  # noqa: S314 (our own output)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not tags & {"script", "img", "a", "iframe", "style", "foreignObject", "image", "use"}
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name]
    return root


def checked_latex(latex):
    """One display in commands that browsers know, with letters only in every text."""
    assert latex.startswith("$$\n")
    assert latex.endswith("\n$$")
    body = latex[2:-2]
    assert not re.search(r"(?<!\\)\$", body)
    assert "<" not in body
    for inner in re.findall(r"\\text\{([^{}]*)\}", body):
        assert not re.search(r"[\\$_^&%#~<>|`]", inner), inner
    assert set(re.findall(r"\\([A-Za-z]+)", body)) <= COMMANDS
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    mathml([body.replace(r"\$", "")])  # a dollar sign is not known there


@pytest.mark.parametrize(("slug", "options"), DERIVATIONS)
def test_derivations_are_set_by_browsers(slug, options):
    derivation = theory.derive(slug, **options)
    latex = derivation._repr_latex_()
    checked_latex(latex)
    assert latex.count(r"\text{1. ") == 1
    assert re.search(rf"\b{len(derivation.steps)}\. ", latex)
    assert "proved" in latex
    for step in derivation.steps:
        checked_latex(step._repr_latex_())
    checked_latex(derivation.statement._repr_latex_())


def test_a_step_that_is_not_proved_says_so():
    derivation = theory.family_membership("r_p - 2*r_1")
    assert not derivation.proved
    assert "not proved" in derivation._repr_latex_()
    assert "NOT PROVED" in derivation._repr_latex_()


def test_hostile_names_in_trees_and_formulas():
    tree = hostile_tree()
    root = checked_html(tree._repr_html_())
    texts = {"".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")}
    assert any("<" in text for text in texts)
    renamed = nx.relabel_nodes(nx.DiGraph(tree.graph), {HOSTILE[5]: "plain"})
    tree = hltm.HLTM(renamed)
    checked_latex(theory.derive("activation-covariance", tree=tree, node=HOSTILE[0])._repr_latex_())
    checked_latex(theory.activation_covariances(tree)[HOSTILE[0]]._repr_latex_())


@pytest.mark.parametrize("name", [*HOSTILE[:5], "ßøÅ ł", "x-y", "\\textless{}"])
def test_the_way_back_from_tex_is_the_name(name):
    written = node_texts([name])[name]
    inner = re.fullmatch(r"\\text\{(.*)\}", written)[1]
    assert in_unicode(inner) == name


def test_words_and_macros():
    assert words("") == ""
    assert for_browsers(r"\covopstrength{1}") == "o_{1}"
    assert for_browsers("a < b") == r"a \lt  b"


def test_large_trees_are_summarised():
    tree = hltm.complete_tree(depth=12, branching=2, polarity=(0.5, 0.9), seed=0)
    html = tree._repr_html_()
    assert len(html) < 40_000
    assert "8191" in html
    checked_html(html)
    wide = hltm.star_tree(5000, polarity=0.5)
    assert len(wide._repr_html_()) < 10_000
    form = theory.activation_covariances(wide)[0]._repr_latex_()
    assert "5000 entries" in form
    checked_latex(form)


def test_operators_are_shown_or_named_by_their_size():
    tree = hltm.complete_tree(depth=2, branching=2, polarity=0.5)
    small = theory.walsh_operator(tree, 1, {0: [[1, 1]], 1: [[1, 2]], 2: [[1, 1]]})
    checked_latex(small._repr_latex_())
    assert r"\rho_{0,1}" in small._repr_latex_()
    assert repr(small) == "WalshOperator(2 x 2, leaves=4, edges=6, n_L=1)"
    ones = [[1] * 4 for _ in range(2)]
    large = theory.walsh_operator(tree, 0, {0: ones, 1: [[1, 1]] * 2, 2: [[1, 1]] * 2})
    assert "8 x 8 matrix" in large._repr_latex_()
    checked_latex(large._repr_latex_())


def test_long_derivations_are_cut_after_a_step():
    derivation = theory.derive("covariance-operator")
    many = type(derivation)(**{**vars(derivation), "steps": derivation.steps * 40})
    latex = many._repr_latex_()
    assert len(latex) < 45_000
    assert "more steps" in latex
    long = sympy.Add(*sympy.symbols("x:2000"))
    step = type(derivation.steps[0])(sympy.Eq(long, 0, evaluate=False), "a long sum", derivation.decision)
    assert len(step._repr_latex_()) < 1_000


def test_evidence_is_escaped_and_cut():
    text = "<script>" + "&" * 10_000
    statement = REGISTRY[1].load()
    evidence = Evidence("float", "refuted", text, 3, 0, float("nan"), 1e-12, text, counterexample=text)
    checked_html(evidence._repr_html_())
    checked_html(Measurement(float("inf"), 0.0, detail=text)._repr_html_())
    result = Result(statement, (evidence, Evidence("exact", "holds", "toy", 5, worst_residual=0.0)), 1.0)
    shown = checked_html(result._repr_html_())
    assert len(list(shown.iter("tr"))) == 3
    assert len(result._repr_html_()) < 20_000
    refutation = Refutation(statement, statement.variants[0], ("float",), text, None, 7)
    assert "7" in "".join(checked_html(refutation._repr_html_()).itertext())
    found = Conformance(None, None, (), (text,), None, 0.1, 0.0)
    checked_html(found._repr_html_())


@pytest.mark.parametrize("text", ["r_p - r_1", "r_p + r_1**2", "r_p - (r_1 + r_2)/2"])
def test_losses_are_shown_with_what_was_decided(text):
    report = check_loss(text)
    shown = "".join(checked_html(report._repr_html_()).itertext())
    assert shown.startswith(f"{report.verdict}: {text}")
    assert all(condition.text in shown for condition in report.conditions)
    assert all(row.detail[:100] in shown for row in report.evidence)


def test_dropped_assumptions_are_shown_escaped():
    assumption = Assumption("<b>", "a & b", lambda context: ())
    shown = checked_html(Outcome(assumption, "necessary", Sides("<i>", "x", 1, 0), 3)._repr_html_())
    assert "<b>" in "".join(shown.itertext())


@pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.slug)
def test_claims_are_set_by_browsers(entry):
    checked_latex(entry.load()._repr_latex_())


def test_networks_and_populations_give_shape_type_and_device():
    generator = torch.Generator().manual_seed(0)
    population = numeric.FinitePopulation(torch.randn(50, 20, 3, generator=generator, dtype=torch.float64))
    assert repr(population) == "FinitePopulation(points=50, augmentations=20, d=3, float64 on cpu)"
    weights = numeric.random_weights((3, 4, 2), generator=generator)
    factors = numeric.connection_factors(weights, population.flat_points)
    assert repr(factors[0]) == "ConnectionFactors(batch=(1000,), f of 3, J of 2 x 4, float64 on cpu)"
    trace = numeric.descend(weights, population, "simple", lr=0.01, steps=2)
    assert repr(trace).startswith("DescentTrace(weights=(4, 3), (2, 4), records=")
    network = numeric.TreeNetwork(hltm.complete_tree(depth=2, branching=2, polarity=0.8), width=2)
    found = numeric.correlations(network, samples=100)
    assert repr(found).startswith("Correlations(members=1, latents=3, samples=100, mean of the best=")


def loaded(code):
    script = f"{code}\nimport sys\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.parametrize("package", ["hltm", "theory", "numeric", "verify"])
def test_importing_a_package_loads_nothing_heavy(package):
    heavy = {"torch", "sympy", "matplotlib", "scipy", "sklearn", "networkx", "numpy", "hypothesis", "flint", "IPython"}
    assert not loaded(f"import {package}") & heavy


def test_showing_a_tree_loads_no_drawing_library():
    shown = loaded("import hltm; hltm.complete_tree(depth=2, branching=2, polarity=0.5)._repr_html_()")
    assert not shown & {"matplotlib", "torch", "sympy", "IPython"}


def test_showing_a_derivation_loads_no_torch():
    shown = loaded("import theory; theory.derive('contrastive-losses')._repr_latex_()")
    assert not shown & {"matplotlib", "torch", "IPython"}
