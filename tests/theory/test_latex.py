"""LaTeX: every derivation compiles in every form with pdflatex and amsmath."""

import shutil
import subprocess

import pytest
import sympy

import theory
from hltm.base.errors import InputError
from theory.core.notation import END, PREAMBLE, plain
from theory.towers.covariance import DROPS

CASES = {
    "widths": ("dual-gradient", {"widths": (3, 2, 2)}),
    "widths normalised": ("dual-gradient", {"widths": (2, 2, 2), "output": "normalized"}),
    "all sizes": ("dual-gradient", {}),
    "all sizes normalised": ("dual-gradient", {"output": "normalized"}),
    **{
        f"{n} H={h}": ("contrastive-losses", {"loss": n, "negatives": h})
        for n in ("simple", "triplet", "infonce")
        for h in (None, 3)
    },
    "hinge": ("contrastive-losses", {"loss": "max(0, r_p - r_1 + r_0)"}),
    **{
        f"covariance {c} {f} {d}": ("covariance-operator", {"convention": c, "form": f, "drop": d})
        for c in ("shared", "one-branch")
        for f in ("operator", "general")
        for d in (None, *DROPS)
    },
    **{
        f"weighted {n} {d} {h} {c}": (
            "weighted-covariance-operator",
            {"loss": n, "distances": d, "negatives": h, "convention": c},
        )
        for n in ("simple", "triplet", "infonce")
        for d in ("means", "points")
        for h in (1, None)
        for c in ("shared", "one-branch")
    },
}


def _compile(text, folder):
    program = shutil.which("pdflatex")
    assert program, "pdflatex is not installed: it is needed to check that the LaTeX compiles"
    (folder / "a.tex").write_text(text, encoding="utf-8")
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "a.tex"]
    run = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:]
    return run.stdout


@pytest.fixture(scope="module")
def derivations():
    return {name: theory.derive(slug, **options) for name, (slug, options) in CASES.items()}


@pytest.mark.parametrize("form", ["equation", "align"])
def test_every_derivation_compiles_in_a_minimal_document(derivations, form, tmp_path):
    body = "\n\\clearpage\n".join(d.latex(form) for d in derivations.values())
    minimal = "\\documentclass{article}\\usepackage{amsmath,amssymb}\\allowdisplaybreaks\\begin{document}\n"
    _compile(f"{minimal}{body}\n{END}", tmp_path)


def test_every_standalone_document_compiles(derivations, tmp_path):
    """The bodies of the standalone documents, each checked to have the same frame, in one run; and one as it is."""
    bodies = []
    for derivation in derivations.values():
        text = theory.to_latex(derivation, "standalone")
        assert text.startswith(PREAMBLE)
        assert text.endswith(END)
        bodies.append(text[len(PREAMBLE) : -len(END)])
    _compile(PREAMBLE + "\n\\clearpage\n".join(bodies) + END, tmp_path)
    _compile(derivations["widths"].latex("standalone"), tmp_path)


def test_expressions_and_matrices_compile(tmp_path):
    x = sympy.Symbol("x")
    long = sympy.Add(*(sympy.Symbol(f"a_{i}") * x**i for i in range(40)))
    objects = [
        x**2 / 3,
        sympy.Eq(x, long),
        long,
        sympy.Matrix(2, 12, range(24)),
        sympy.MatrixSymbol("A", 2, 2).T,
        x > 1,
    ]
    objects += [theory.pair_weight("triplet"), sympy.Ne(x, 0), sympy.Eq(x, sympy.Matrix([[1, x]]), evaluate=False)]
    texts = [theory.to_latex(item, form) for item in objects for form in ("equation", "align")]
    _compile(f"{PREAMBLE}{chr(10).join(texts)}\n{END}", tmp_path)
    _compile(theory.to_latex(long, "standalone"), tmp_path)


def test_long_lines_are_broken():
    long = sympy.Add(*(sympy.Symbol(f"a_{{{i}}}") for i in range(100)))
    lines = theory.to_latex(long, "align").splitlines()
    assert len(lines) > 4
    assert max(len(line) for line in lines) < 400


def test_steps_and_marks():
    text = theory.derive("covariance-operator").latex()
    assert "NOT PROVED" not in text
    assert text.count(r"\intertext") == len(theory.derive("covariance-operator").steps)
    assert "NOT PROVED" in theory.derive("covariance-operator", drop="independent-points").latex()
    assert "r_{+}" in theory.derive("contrastive-losses").latex()


def test_text_is_escaped(tmp_path):
    _compile(f"{PREAMBLE}{plain('a_b^c ~ 100% & # $ {x} < y > z | back' + chr(92))}\n{END}", tmp_path)


def test_bad_form_and_object():
    with pytest.raises(InputError, match=r"form='pdf'.*equation, align, standalone"):
        theory.to_latex(sympy.Symbol("x"), "pdf")
    with pytest.raises(InputError, match="object of type str"):
        theory.to_latex("x")
