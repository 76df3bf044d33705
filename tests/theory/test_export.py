"""Formulas for a paper: they compile, they read back to the derived expression, and drift is seen."""

import re
import shutil
import subprocess
import sys

import pytest
import sympy
from sympy.parsing.latex import parse_latex

import hltm
import theory
from hltm.errors import InputError
from theory.export import MACROS, drift, expanded, formula, label, macros

PREAMBLE = "\\documentclass{article}\n\\usepackage{amsmath,amssymb}\n"
TREES = {
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
        (["--tree", "tree.json", "--node", "11"], "did you mean '1'"),
        (["--tree", "tree.json", "--node", "5"], "leaf"),
        (["--tree", "tree.json", "--node", "1", "--form", "png"], "png"),
        (["--tree", "tree.json", "--node", "1", "--out", "absent/f.tex"], "absent/f.tex"),
        (["--tree", "tree.json", "--node", "1", "--check", "absent.tex"], "absent.tex"),
        (["--tree", "tree.json", "--node", "1", "--check", "/dev/zero"], "no regular file"),
    ],
    ids=str,
)
def test_bad_usage(arguments, fragment, tmp_path):
    hltm.save(hltm.complete_tree(2, 2, 0.5), tmp_path / "tree.json")
    result = run("latex", *arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stdout
    assert fragment in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tree.json"]
