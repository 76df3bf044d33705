"""Formulas for a paper: they compile, they read back to the derived expression, and drift is seen."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sympy
from sympy.parsing.latex import parse_latex

import hltm
import theory
import theory.cli
from hltm.base.errors import InputError
from theory.latex.names import MACROS, expanded, macros
from theory.paper.export import drift, formula, label
from theory.trees.symbols import tree_symbols

sys.path.insert(0, str(Path(__file__).parent))
from paper_trees import FAMILY, LONG, named

PREAMBLE = "\\documentclass{article}\n\\usepackage{amsmath,amssymb}\n"
SPECIAL = [
    "Zürich",
    "ζ",
    "straße Ω",
    "Łódź",
    "ê",
    "a_b#c%d&e",
    "${x}$",
    "~",
    "^",
    "\\",
    "a,b",
    "",
    " ",
    "'q'",
    "<|>",
    "--",
]


TREES = {
    "12 states, 13 children": (
        named([("r", "a"), *(("a", f"c{i}") for i in range(13))], **dict.fromkeys(["r", "a", "c0", "c1"], 12)),
        "a",
    ),
    "13 children": (named([(0, 1), *((1, i + 2) for i in range(13))]), 1),
    "long names": (named(FAMILY), LONG[1]),
    "long names, general": (named(FAMILY, symmetric=False), LONG[1]),
    "long names, categorical": (named(FAMILY, False, **{LONG[0]: 3, LONG[3]: 5}), LONG[1]),
    "long tuples": (named([((LONG[0], 1), (LONG[1], 2)), ((LONG[1], 2), 3)]), (LONG[1], 2)),
    "special children": (named([("r", name) for name in SPECIAL]), "r"),
    "special path": (named(list(zip(["r", *SPECIAL], [*SPECIAL, "x"], strict=True))), SPECIAL[-1]),
    "special, categorical": (named(list(zip(["r", *SPECIAL], [*SPECIAL, "x"], strict=True)), r=3), SPECIAL[-1]),
    "single edge": (hltm.star_tree(1, 0.5), 0),
    "two levels, top": (hltm.complete_tree(2, 2, 0.5), 0),
    "two levels, below": (hltm.complete_tree(2, 2, 0.5), 1),
    "deep": (hltm.complete_tree(6, 2, 0.5), 31),
    "wide": (hltm.star_tree(40, 0.5), 0),
    "general": (hltm.random_tree(leaves=5, seed=3, symmetric=False), 0),
    "categorical": (hltm.random_tree(leaves=4, seed=3, symmetric=False, cardinality=(3, 5)), 0),
}


def compiles(text, folder):
    if shutil.which("pdflatex") is None:
        pytest.fail("this test needs pdflatex (Debian: texlive-latex-base, texlive-latex-recommended)")
    (folder / "t.tex").write_text(text)
    result = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=folder, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-1500:]
    return [float(width) for width in re.findall(r"Overfull \\hbox \(([0-9.]+)pt", result.stdout)]


@pytest.mark.parametrize("name", TREES)
def test_every_form_compiles_within_the_text_width(name, tmp_path):
    tree, node = TREES[name]
    assert compiles(formula(tree, node, form="standalone"), tmp_path) == []
    body = "".join(formula(tree, node, what, form) for what in ("activation",) for form in ("align",))
    body += formula(tree, node, "operator", "equation")
    paper = (
        PREAMBLE
        + macros()
        + "\\begin{document}\n"
        + body
        + f"see \\eqref{{{label('operator', node)}}}\n\\end{{document}}\n"
    )
    # The plain article class has 345 pt of text; nothing may stick out by more than 10 pt.
    assert [width for width in compiles(paper, tmp_path) if width > 10] == []


def test_the_strength_reads_back_to_the_derived_expression():
    tree = hltm.complete_tree(2, 2, 0.5)
    text = expanded(formula(tree, 1))
    strength = re.search(r"o_\{1\} &= (.*), \\\\", text).group(1).replace(r"\bigl", "").replace(r"\bigr", "")
    gap = re.search(r"a_\{1\} &= \\bigl\((.*)\\bigr\)", text).group(1).split(", ")
    names = {}

    def read(piece):
        # The parser knows no comma in a subscript: each symbol is given a plain name first.
        def named(match):
            return names.setdefault(match.group(0), f"x_{{{len(names)}}}")

        plain = re.sub(
            r"\\rho_\{[^}]*\}", named, piece.replace(r"\tfrac", r"\frac").replace(") \\rho", r") \cdot \rho")
        )
        parsed = parse_latex(plain, backend="lark")
        return parsed.xreplace({sympy.Symbol(v): sympy.Symbol(k, real=True) for k, v in names.items()})

    o = read(strength)
    a = [read(piece) for piece in gap]
    derived = theory.activation_covariance(tree, 1)
    for i in range(2):
        for j in range(2):
            assert sympy.expand(o * a[i] * a[j] - derived[i, j]) == 0


def test_drift_is_seen(tmp_path):
    tree = hltm.complete_tree(2, 2, 0.5)
    paper = "text\n" + formula(tree, 0) + "more\n" + formula(tree, 1, form="align") + "end\n"
    assert drift(paper, tree, 0) is None
    assert drift(paper, tree, 1) is None
    for old, new in (("^{2}", "^{3}"), (r"\tfrac{1}{2}", r"\tfrac{1}{3}"), ("1 - ", "1 + ")):
        wrong = paper.replace(old, new)
        assert wrong != paper
        assert "has drifted" in drift(wrong, tree, 1)
    wrong = paper.replace("^{2}", "^{3}")
    assert "the paper has '3' where '2' is derived, at the end of '" in drift(wrong, tree, 1)
    with pytest.raises(InputError, match="stands 0 times"):
        drift(paper, tree, 0, "operator")
    with pytest.raises(InputError, match="stands 2 times"):
        drift(paper + formula(tree, 0), tree, 0)


def test_layout_is_not_drift():
    tree = hltm.star_tree(2, 0.5)
    loose = formula(tree, 0).replace(" &= ", "  &=\n   % a comment\n ")
    assert drift(loose, tree, 0) is None


def test_macros_are_one_command_each():
    lines = macros().splitlines()
    assert len(lines) == len(MACROS) == len({line.split("}")[0] for line in lines})
    assert all(line.startswith("\\newcommand{\\covop") for line in lines)


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "theory", *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


def test_command_line(tmp_path):
    hltm.save(hltm.complete_tree(2, 2, 0.5), tmp_path / "tree.json")
    result = run("latex", "--tree", "tree.json", "--node", "1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == formula(hltm.load(tmp_path / "tree.json"), 1)
    assert run("latex", "--tree", "tree.json", "--node", "1", "--out", "f.tex", cwd=tmp_path).returncode == 0
    assert (tmp_path / "f.tex").read_text() == result.stdout
    assert run("latex", "--tree", "tree.json", "--node", "1", "--check", "f.tex", cwd=tmp_path).returncode == 0
    (tmp_path / "f.tex").write_text(result.stdout.replace("^{2}", "^{4}"))
    drifted = run("latex", "--tree", "tree.json", "--node", "1", "--check", "f.tex", cwd=tmp_path)
    assert drifted.returncode == 1
    assert "has drifted" in drifted.stdout


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--node", "1"], "--tree"),
        (["--tree", "tree.json"], "--node"),
        (["--tree", "absent.json", "--node", "1"], "absent.json"),
        (["--tree", "tree.json", "--node", "11"], "did you mean 1?"),
        (["--tree", "tree.json", "--node", "5"], "leaf"),
        (["--tree", "tree.json", "--node", "1", "--form", "png"], "png"),
        (["--tree", "tree.json", "--node", "1", "--out", "absent/f.tex"], "absent/f.tex"),
        (["--tree", "tree.json", "--node", "1", "--check", "absent.tex"], "absent.tex"),
        (["--tree", "tree.json", "--node", "1", "--check", "/dev/zero"], "no regular file"),
        (["--tree", "tree.json", "--node", "1", "--check", "tree.json", "--out", "f.tex"], "--check with --out"),
        (["--what", "macros", "--check", "tree.json"], "--check with --what macros"),
        (["--tree", "tree.json", "--node", "1", "--check", "tree.json"], "is not in the paper"),
    ],
    ids=str,
)
def test_bad_usage(arguments, fragment, tmp_path, in_process):
    hltm.save(hltm.complete_tree(2, 2, 0.5), tmp_path / "tree.json")
    result = in_process("theory", "latex", *arguments)
    assert result.returncode == 2, result.stdout
    assert fragment in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tree.json"]


def test_no_command_is_one_line_that_names_what_there_is(tmp_path):
    result = run(cwd=tmp_path)
    assert (result.returncode, result.stderr) == (2, "error: Missing command; there are latex, kernel\n")


def test_align_has_one_number():
    lines = formula(hltm.star_tree(40, 0.5), 0, form="align").splitlines()[1:-1]
    assert len(lines) > 4
    assert [line.count(r"\notag") for line in lines] == [0, *[1] * (len(lines) - 1)]
    assert [r"\label" in line for line in lines] == [True, *[False] * (len(lines) - 1)]


@pytest.mark.parametrize("name", ["日本", "Омск", "tab\there", "line\nbreak", "a\0b", "\u2028"])
def test_a_name_that_pdflatex_cannot_set_is_refused(name):
    tree = named([("r", name), ("r", "s"), (name, "x"), ("s", "y")])
    for node in ("r", name):
        with pytest.raises(InputError, match="printable ASCII, accented Latin letters and Greek") as caught:
            formula(tree, node)
        assert "\n" not in str(caught.value)
    assert formula(tree, "s")  # the formula of another node does not have the name
    assert theory.activation_covariance(tree, name, numbers=True).shape == (1, 1)


def test_alike_names_have_their_own_symbols_macros_and_labels():
    tree = named([("r", 1), ("r", "1"), (1, "x"), ("1", "y"), ("1", "z_1")])
    assert r"\covoppolarity{r}{1}" in formula(tree, 1)
    assert r"\covoppolarity{r}{\text{'1'}}" in formula(tree, "1")
    assert r"\covoppolarity{\text{'1'}}{\mathrm{z\_1}}" in formula(tree, "1")
    assert label("activation", 1, tree) == "eq:covop:activation:int:1"
    assert label("activation", "1", tree) == "eq:covop:activation:str:1"
    assert label("activation", "r", tree) == label("activation", "r") == "eq:covop:activation:r"
    paper = formula(tree, 1) + formula(tree, "1")
    assert drift(paper, tree, 1) is None
    assert drift(paper, tree, "1") is None


def test_tuples_are_one_argument_of_a_macro():
    tree = named([((0, "a"), (1, "b")), ((1, "b"), (2, "c")), ((2, "c"), 3)])
    assert r"\covoppolarity{(0,a)}{(1,b)}^{2}" in formula(tree, (1, "b"))
    assert r"\covopselectivity{(2,c)}" in formula(tree, (1, "b"))
    assert expanded(r"\covoppolarity{(0,a)}{(1,b)}") == r"\rho_{(0,a),(1,b)}"


def test_names_that_only_look_quoted_stay_apart():
    names = [1, "1", "'1'", ("1",), (1,), "(1)", "u\u0308", "\u00fc", "a b", "ab"]
    tree = named([("r", name) for name in names])
    assert len(set(theory.trees.symbols.tree_symbols(tree).texts.values())) == len(names) + 1
    assert len({label("activation", name, tree) for name in names}) == len(names)


def test_nodes_are_found_as_in_hltm(tmp_path):
    hltm.save(named([(0, (1, "b")), ((1, "b"), "x"), (0, 7), (7, "7"), ("7", "y")]), tmp_path / "t.json")
    for text, name in (('[1, "b"]', (1, "b")), ("7", "7"), (" 7", 7), ("0", 0)):
        result = run("latex", "--tree", "t.json", "--node", text, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert result.stdout == formula(hltm.load(tmp_path / "t.json"), name)


def test_reading_a_paper_is_limited(tmp_path, monkeypatch):
    paper = tmp_path / "paper.tex"
    paper.write_text("x" * 20)
    monkeypatch.setattr(theory.cli, "PAPER_LIMIT", 20)
    assert theory.cli.read_paper(paper) == "x" * 20
    monkeypatch.setattr(theory.cli, "PAPER_LIMIT", 19)
    with pytest.raises(InputError, match="must have at most 19 bytes"):
        theory.cli.read_paper(paper)


def test_no_more_of_a_paper_is_read_than_the_limit(monkeypatch):
    """A file may hold more than its size says: that of a process has none."""
    monkeypatch.setattr(theory.cli, "PAPER_LIMIT", 3)
    with pytest.raises(InputError, match="must have at most 3 bytes"):
        theory.cli.read_paper(Path("/proc/self/maps"))


@pytest.mark.parametrize("name", ["a\0b.tex", "absent.tex", "."])
def test_a_paper_that_cannot_be_read(name, tmp_path):
    with pytest.raises(InputError, match="cannot be read") as caught:
        theory.cli.read_paper(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused(tmp_path):
    hltm.save(hltm.complete_tree(2, 2, 0.5), tmp_path / "tree.json")
    os.mkfifo(tmp_path / "pipe")
    result = run("latex", "--tree", "tree.json", "--node", "1", "--check", "pipe", cwd=tmp_path)
    assert result.returncode == 2
    assert "is no regular file" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.parametrize("what", ["activation", "operator"])
def test_what_is_exported_is_the_claim(monkeypatch, what, number):
    """A relation that is changed in the claim is changed in the export, and a paper with the true one has drifted."""
    from theory.paper import rows

    tree = named([("0", "λ"), ("λ", "μ"), ("μ", "a"), ("μ", "b")], symmetric=False)
    derived = theory.derive("activation-covariance", tree=tree, node="μ")
    relations = rows.factored(tree_symbols(tree), "μ")
    assert derived.claim.relations == relations
    paper = formula(tree, "μ", what)
    wrong = relations[number]
    right = 7 * wrong.rhs if number else sympy.MatMul(7, *wrong.rhs.args)
    changed = (*relations[:number], sympy.Eq(wrong.lhs, right, evaluate=False), *relations[number + 1 :])
    assert not derived.decides(derived.claim.replace(relations=changed)).value
    monkeypatch.setattr(rows, "factored", lambda *_: changed)
    assert formula(tree, "μ", what) != paper
    assert "has drifted" in drift(paper, tree, "μ", what)
