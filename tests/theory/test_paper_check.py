"""All formulas of a paper and of its files: which labels are checked, which files are read, and how much of a text."""

import time

import pytest

import hltm
from hltm.base.errors import InputError
from theory.cli import read_paper
from theory.latex.names import macros
from theory.paper import source
from theory.paper.check import check_labels, check_node, exit_code, read
from theory.paper.drift import Status
from theory.paper.export import Style, drift, formula
from theory.paper.scan import Paper
from theory.paper.source import Source
from theory.paper.tokens import Visible, words

TREE = hltm.complete_tree(2, 2, 0.5)
OURS = formula(TREE, 1)
TAG = "eq:covop:activation:1"


PLAIN = Style()


def checked(text, tree=TREE, style=PLAIN):
    rows = list(check_labels(Paper(Source().words(text)), tree, style))
    return {row.tag: row.outcome.status for row in rows}, exit_code(rows)


def written(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return read(folder / "paper.tex", read_paper)


def test_every_label_has_a_line():
    text = (
        OURS
        + formula(TREE, 0, "operator").replace("&=", "=")
        + formula(TREE, 2).replace("^{2}", "^{3}")
        + formula(TREE, 1, "operator").replace("&= ", "&= \\unknown ", 1)
        + formula(TREE, 1, "operator", style=Style(short=True)).replace(r"\bigl", r"\left").replace(r"\bigr", r"\right")
        + OURS.replace(":1", ":17")
        + "\\eqref{eq:covop:operator:2} \\ref{eq:other}"
    )
    assert checked(text) == (
        {
            TAG: Status.unchanged,
            "eq:covop:operator:0": Status.unchanged,
            "eq:covop:activation:2": Status.changed,
            "eq:covop:operator:1": Status.undecided,
            "eq:covop:operator-short:1": Status.looks,
            "eq:covop:activation:17": Status.missing,
            "eq:covop:operator:2": Status.missing,
        },
        1,
    )


def test_exit_codes():
    assert checked(OURS)[1] == 0
    assert checked(OURS + formula(TREE, 0).replace("&= ", "&= \\unknown ", 1))[1] == 3
    assert checked(OURS + OURS) == ({TAG: Status.undecided}, 3)
    assert checked(OURS + "\\eqref{eq:covop:activation:0}")[1] == 1
    assert checked(OURS + formula(TREE, 0).replace("0}", "9}"))[1] == 1


def test_labels_of_several_trees():
    other = hltm.star_tree(3, 0.5)
    text = formula(TREE, 0, style=Style(prefix="a")) + formula(other, 0, style=Style(prefix="b.2"))
    assert checked(text, TREE, Style(prefix="a")) == ({"eq:covop:a:activation:0": Status.unchanged}, 0)
    assert checked(text, other, Style(prefix="b.2"))[1] == 0
    assert checked(text, other, Style(prefix="a"))[1] == 1
    with pytest.raises(InputError, match=r"with --label a, with --label b\.2"):
        checked(text)
    with pytest.raises(InputError, match="without a label eq:covop:"):
        checked("no formula")


def test_names_that_read_alike_and_names_with_colons():
    import networkx as nx

    graph = nx.DiGraph([("r", 1), ("r", "1"), (1, "x"), ("1", "y"), ("r", "a:b"), ("a:b", "z")])
    graph.nodes["r"]["prior"] = [0.5, 0.5]
    nx.set_edge_attributes(graph, 0.5, "polarity")
    tree = hltm.HLTM(graph)
    text = "".join(formula(tree, node) for node in (1, "1", "a:b", "r"))
    statuses, code = checked(text, tree)
    assert (set(statuses.values()), len(statuses), code) == ({Status.unchanged}, 4, 0)


def test_a_formula_of_another_width_is_the_same():
    tree = hltm.random_tree(leaves=8, seed=3, symmetric=False, cardinality=(3, 5))
    for width in (120.0, 246.0, 345.0):
        text = formula(tree, tree.root, style=Style(width=width))
        assert drift(text, tree, tree.root, style=Style(width=width)) is None
    assert drift(formula(tree, tree.root, style=Style(width=246.0)), tree, tree.root) is None


@pytest.mark.parametrize("style", [Style(short=True), Style(width=120.0), Style(prefix="a", short=True)], ids=repr)
def test_every_form_of_a_formula_is_read(style):
    trees = (
        hltm.complete_tree(5, 2, 0.5),
        hltm.complete_tree(2, 4, 0.5),
        hltm.random_tree(leaves=5, seed=3, symmetric=False, cardinality=(3, 5)),
    )
    for tree in trees:
        for node in [node for node in tree.nodes if tree.children(node)][:4]:
            for what in ("activation", "operator"):
                ours = formula(tree, node, what, style=style)
                edited = ours.replace(r"\bigl", r"\left").replace(r"\bigr", r"\right").replace(r"^{\top}", "^T")
                assert set(checked(edited, tree, style)[0].values()) == {Status.looks}
                wrong = ours.replace(" - ", " + ", 1)
                assert set(checked(wrong, tree, style)[0].values()) == {Status.changed}


def test_files_are_followed_and_packages_beside_the_paper(tmp_path):
    paper, notes = written(
        tmp_path,
        {
            "paper.tex": "\\documentclass{own}\\usepackage{amsmath, notation}\\begin{document}\\input{one}\\include{parts/two}"
            "\\subfile{parts/three}\\input four \\iffalse\\input{five}\\fi\\endinput\\input{five}",
            "notation.sty": macros() + "\\newcommand{\\own@gap}[1]{\\covopgap{#1}}\\newcommand\\gap{\\own@gap}",
            "own.cls": "\\def\\bfour{\\begin{equation}}",
            "one.tex": OURS.replace("\\covopgap", "\\gap"),
            "parts/two.tex": formula(TREE, 2).replace("^{2}", "^{3}"),
            "parts/three.tex": "\\input{inner}\\endinput" + OURS,
            "parts/inner.tex": formula(TREE, 0),
            "four.tex": formula(TREE, 1, "operator").replace("\\begin{equation}", "\\bfour"),
            "five.tex": OURS,
        },
    )
    rows = list(check_labels(paper, TREE))
    assert notes == []
    assert [row.outcome.status for row in rows] == [Status.looks, Status.changed, Status.unchanged, Status.unchanged]


def test_a_file_that_is_not_read_is_one_line(tmp_path):
    (tmp_path / "latin.tex").write_bytes(b"caf\xe9")
    paper, notes = written(
        tmp_path,
        {
            "paper.tex": "\\input{absent}\\input{/etc/passwd}\\input{paper}\\input{latin}\\input{a\\b}\\import{x/}{y}\\input{}"
            + OURS,
            "x/y.tex": OURS,
        },
    )
    assert [note.partition(" ")[0] for note in notes][:3] == [
        "\\input{absent}",
        "\\input{/etc/passwd}",
        "\\input{paper}",
    ]
    assert "not UTF-8" in notes[3]
    assert any("\\import{x/}" in note for note in notes)
    assert check_node(paper, TREE, 1, "activation").outcome.status is Status.unchanged


def test_files_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "FILES", 3)
    with pytest.raises(InputError, match="must have at most 3 files"):
        written(tmp_path, {"paper.tex": "\\input{a}" * 4, "a.tex": "x"})
    monkeypatch.setattr(source, "TOTAL", 40)
    with pytest.raises(InputError, match="at most 40 characters"):
        written(tmp_path, {"paper.tex": "\\input{a}" * 3, "a.tex": "x" * 20})
    monkeypatch.setattr(source, "DEPTH", 2)
    with pytest.raises(InputError, match="2 inside of each other"):
        written(tmp_path, {"paper.tex": "\\input{a}", "a.tex": "\\input{b}", "b.tex": "x"})


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\\iffalse b\\else c\\fi d", "acd"),
        ("a\\iftrue b\\else c\\fi d", "abd"),
        ("a\\if0 b\\ifx x\\fi\\else c\\fi d", "acd"),
        ("\\newif\\ifdraft\\ifdraft a\\else b\\fi\\drafttrue\\ifdraft c\\fi\\draftfalse\\ifdraft d\\fi", "bc"),
        ("a\\ifx b\\else c\\fi", "abc"),
        ("a\\end{document}b", "adocument"),
        ("\\begin{comment}a\\end{comment}b\\begin{verbatim*}c\\end{verbatim*}\\verb|d|%e\nf\\%g", "bfg"),
        ("\\iffalse\\ifthenelse{a}{b}{c}\\fi d", "d"),
    ],
)
def test_what_is_set(text, seen):
    visible = Visible().visible
    kept = [word for word in words(text) if visible(word)]
    assert "".join(word for word in kept if word.isalpha()) == seen


HOSTILE = {
    "prose": "word $x_{1}$ \\alpha \\begin{itemize} text \\end{itemize} more\n" * 4000,
    "begins": "\\begin{a}" * 20_000,
    "displays": "\\begin{equation}" * 20_000,
    "labels": "".join(f"\\label{{eq:covop:operator:{i}}}" for i in range(10_000)),
    "labels in open displays": "".join(f"\\begin{{align}}\\label{{eq:covop:operator:{i}}}" for i in range(10_000)),
    "options": "\\begin{aligned}[" * 20_000,
    "braces": "{" * 100_000,
    "a long definition": "\\def\\x{" + "a " * 100_000 + "}",
    "definitions": "{\\def\\x{a}" * 10_000 + "}" * 10_000,
    "verbs": "\\verb|" * 50_000,
    "texts": "\\text{" * 50_000,
    "conditions": "\\ifx" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_long_text_takes_time_in_proportion(name):
    start = time.process_time()
    assert drift(HOSTILE[name] + OURS, TREE, 1) is None
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        ("\\def\\x{\\x}", "\\x"),
        ("\\def\\x{\\y\\y}\\def\\y{\\x}", "\\x"),
        ("\\def\\x{\\begin{a}\\x}\\x", "1"),
        ("".join(f"\\def\\x{a}{{\\x{b}\\x{b}}}" for a, b in zip("abcdefghijklmnopqrst", "bcdefghijklmnopqrstu", strict=True)), "\\xa"),
        ("\\newenvironment{equation}{\\begin{equation}}{}", "1"),
        ("", "{" * 2000 + "1+1" + "}" * 2000),
        ("", "(" * 2000 + "1" + ")" * 2000),
        ("", "x^{" * 30 + "1" + "}" * 30),
        ("", "\\frac{" * 500 + "1" + "}{1}" * 500),
        ("", "x + " * 40_000 + "1"),
        ("", "(1+x+y+z)^8(1+x+y+z)^8(1+x+y+z)^8(1+x+y+z)^8"),
        ("", "2^{999999999}"),
        ("", "9" * 10_000),
    ],
)  # fmt: skip
def test_what_never_ends_is_not_decided(start, piece):
    begun = time.process_time()
    line = drift(start + OURS.replace("1 - ", f"{piece} - "), TREE, 1)
    assert "not decided" in line or "has drifted" in line
    assert "\n" not in line
    assert time.process_time() - begun < 5


def test_the_command_checks_all_labels_or_one(tmp_path, monkeypatch, in_process):
    monkeypatch.chdir(tmp_path)
    hltm.save(TREE, tmp_path / "tree.json")
    (tmp_path / "one.tex").write_text(OURS.replace("{equation}", "{gather}"))
    paper = tmp_path / "paper.tex"
    paper.write_text("\\input{one}\\input{absent}" + formula(TREE, 2))
    result = in_process("theory", "latex", "--tree", "tree.json", "--check", "paper.tex")
    assert result.returncode == 0, result.stderr
    assert [line.split(": ")[1] for line in result.stdout.splitlines()] == ["look changed", "unchanged"]
    assert result.stderr.startswith("paper.tex: \\input{absent} is not read")
    result = in_process("theory", "latex", "--tree", "tree.json", "--node", "1", "--check", "paper.tex")
    assert (result.returncode, result.stdout.partition(": ")[2][:12]) == (0, "look changed")
    paper.write_text(OURS.replace("1 - ", "\\unknown - "))
    for node in ((), ("--node", "1")):
        result = in_process("theory", "latex", "--tree", "tree.json", *node, "--check", "paper.tex")
        assert (result.returncode, "\\unknown" in result.stdout) == (3, True)
    paper.write_text(OURS.replace("1 - ", "1 + "))
    for node in ((), ("--node", "1")):
        assert in_process("theory", "latex", "--tree", "tree.json", *node, "--check", "paper.tex").returncode == 1
