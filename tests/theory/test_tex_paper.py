"""What a formula in a paper is compared by: its tokens and the paper's macros, nothing else."""

import pytest

import hltm
from hltm.base.errors import InputError
from theory.latex.names import macros
from theory.paper.export import drift, formula, label
from theory.paper.tokens import tokens

TREE = hltm.complete_tree(2, 2, 0.5)
OURS = formula(TREE, 1)
TAG = label("activation", 1)
MIXED = hltm.random_tree(leaves=4, seed=3, symmetric=False, cardinality=(3, 5))


def changed(text, *pairs):
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


HARMLESS = {
    "comment behind a line break": changed(OURS, ("\\\\\n", "\\\\% comment\n")),
    "comment with the label": OURS + "% \\label{eq:covop:activation:1}\n",
    "no spaces": changed(OURS, (" - ", "-"), (" &= ", "&=")),
    "more spaces": changed(OURS, ("&=", " & = "), ("{1}", " { 1 } ")),
    "one line": OURS.replace("\n", " "),
    "empty lines of comments": OURS.replace("\n", "%\n  % x = y \\\\\n"),
    "line breaks with a gap": changed(OURS, ("\\\\\n", "\\\\[2pt]\n")),
    "other breaks": changed(OURS, (", \\tfrac", ", \\\\ &\\quad \\tfrac")),
    "align": formula(TREE, 1, form="align"),
    "split": changed(OURS, ("{aligned}", "{split}")),
    "positioned": changed(OURS, ("begin{aligned}", "begin{aligned}[t]")),
    "full stop": changed(OURS, (")^{\\top}\n", ")^{\\top}.\n")),
    "thin spaces": changed(OURS, (" \\covopgap", "\\,\\covopgap")),
    "braces": changed(OURS, ("^{2}", "^2")),
    "our macros": macros() + OURS,
    "our macros, otherwise": changed(macros(), ("\\newcommand{\\covopgap}[1]{a_{#1}}", "\\def\\covopgap#1{a_{#1} }"))
    + OURS,
    "redefined in a comment": "% \\renewcommand{\\covopgap}[1]{b_{#1}}\n" + OURS,
    "other macros": "\\newcommand{\\covopmine}{x}\\def\\a{b}\n" + OURS,
    "per cent before": "100\\% of\n" + OURS,
    "verbatim copy": "\\begin{verbatim}\n" + OURS + "\\end{verbatim}\n" + OURS,
    "hidden copy": "\\iffalse\n\\ifx a b\\fi" + OURS + "\\fi\n" + OURS,
    "copy behind the end": "\\begin{document}" + OURS + "\\end{document}\n" + OURS,
    "commented copy": "".join(f"%{line}\n" for line in OURS.splitlines()) + OURS,
    "another letter": "\\renewcommand{\\covopgap}[1]{b_{#1}}" + OURS,
    "another meaning, behind the formula": OURS + "\\renewcommand{\\covopgap}[1]{2 b_{#1}}",
    "another meaning, in a group": "{\\renewcommand{\\covopgap}[1]{2 b_{#1}}}" + OURS,
    "another letter, by def": "\\def\\covopgap#1{b_{#1}}" + OURS,
    "another letter, by a document command": "\\NewDocumentCommand{\\covopgap}{m}{b_{#1}}" + OURS,
    "unfinished": OURS + "\\begin{equation} { \\newcommand{\\other",
}
DRIFTED = {
    "no equals signs": (OURS.replace("&=", "&"), "has drifted"),
    "no equals signs, no alignment": (OURS.replace("&=", ""), "has drifted"),
    "not equal": (changed(OURS, ("&=", "&\\neq")), "neq"),
    "sign": (changed(OURS, ("1 -", "1 +")), "has '+' where '-' is derived"),
    "commented term": (changed(OURS, ("1 - ", "1 - %")), "has drifted"),
    "factor less": (changed(OURS, ("\\covoppolarity{0}{1}^{2}", "")), "has drifted"),
    "row less": (OURS[: OURS.rindex(" \\\\")] + "\n\\end{aligned}\n\\end{equation}\n", "has drifted"),
    "row more": (changed(OURS, ("\n\\end{aligned}", "\\\\ x&=y\n\\end{aligned}")), "has 'x' where nothing is derived"),
    "space in a command": (changed(OURS, ("\\tfrac", "\\t frac")), "has drifted"),
    "renewed with a power": ("\\renewcommand{\\covopgap}[1]{b_{#1}^{2}}" + OURS, "\\covopgap"),
    "renewed without an index": ("\\renewcommand*\\covopgap[1]{b}" + OURS, "\\covopgap"),
    "renewed to another index": ("\\def\\covopgap#1{b_{#1+1}}" + OURS, "\\covopgap"),
    "renewed to another symbol": ("\\NewDocumentCommand{\\covopgap}{m}{o_{#1}}" + OURS, "\\covopgap"),
    "other arguments": ("\\newcommand{\\covopgap}[2]{a_{#1}}" + OURS, "\\covopgap"),
    "swapped arguments": ("\\newcommand{\\covoppolarity}[2]{\\rho_{#2,#1}}" + OURS, "\\covoppolarity"),
    "default argument": ("\\newcommand{\\covopgap}[1][0]{a_{#1}}" + OURS, "\\covopgap"),
    "let": ("\\let\\covopgap=\\relax" + OURS, "\\covopgap"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_layout_is_not_drift(name):
    assert drift(HARMLESS[name], TREE, 1) is None


@pytest.mark.parametrize("name", DRIFTED)
def test_drift_names_what_differs(name):
    paper, fragment = DRIFTED[name]
    found = drift(paper, TREE, 1)
    assert found is not None
    assert "has drifted" in found
    assert fragment in found
    assert "\n" not in found


def test_entries_of_a_matrix_keep_their_places():
    ours = formula(MIXED, MIXED.root)
    assert "pmatrix" in ours
    assert drift(ours, MIXED, MIXED.root) is None
    place = ours.index("pmatrix")
    for separator in (" & ", " \\\\ "):
        assert "has drifted" in drift(ours[:place] + ours[place:].replace(separator, " ", 1), MIXED, MIXED.root)


@pytest.mark.parametrize(
    ("paper", "message"),
    [
        ("", "is not in the paper"),
        ("".join(f"% {line}\n" for line in OURS.splitlines()), "is not in the paper"),
        ("\\begin{comment}\n" + OURS + "\\end{comment}", "is not in the paper"),
        ("\\iffalse" + OURS + "\\fi", "is not in the paper"),
        ("\\begin{document}\\end{document}" + OURS, "is not in the paper"),
        (OURS + OURS, "stands 2 times"),
        (OURS + f"\\label{{{TAG}}}", "stands 2 times"),
        (OURS.replace("equation", "itemize"), "stands in 'itemize'"),
        (f"\\label{{{TAG}}}", "stands in ''"),
    ],
)
def test_a_label_that_is_not_there_once(paper, message):
    with pytest.raises(InputError, match=message):
        drift(paper, TREE, 1)


def test_spaces_in_a_name_count():
    import networkx as nx

    graph = nx.DiGraph([("r", "a b"), ("a b", "x")])
    graph.nodes["r"]["prior"] = [0.5, 0.5]
    nx.set_edge_attributes(graph, 0.5, "polarity")
    tree = hltm.HLTM(graph)
    ours = formula(tree, "a b")
    assert drift(ours, tree, "a b") is None
    assert "has drifted" in drift(ours.replace("a\\ b", "ab"), tree, "a b")


def test_a_large_paper_takes_seconds_at_most():
    paper = "word $x_{1}$ \\alpha \\begin{itemize} % text\n" * 20_000 + OURS
    assert drift(paper, TREE, 1) is None


def test_tokens_of_an_unfinished_text():
    assert tokens("a\\") == ["a", "\\"]
