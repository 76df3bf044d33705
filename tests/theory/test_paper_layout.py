"""Formulas fit the columns of papers and slides; lines break between terms; what is tall breaks at the end of a page."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hltm
from hltm.base.errors import InputError
from theory.latex.names import MACROS, STACKED, expanded, macros, used_macros
from theory.paper.export import WHAT, Style, drift, formula, formula_rows, kind, label
from theory.paper.layout import WIDTHS, Row, Ruler, arranged, read_width
from theory.trees.symbols import read_weights

sys.path.insert(0, str(Path(__file__).parent))
from paper_trees import LONG, family, named

TREES = family()
# Where the class is not installed: its measures. Beamer sets 11 pt type and sans-serif letters.
CLASSES = {
    "article": ("\\documentclass{article}\n", "article"),
    "a column of 246 pt": (
        "\\documentclass[twocolumn]{article}\n\\setlength{\\columnsep}{12pt}\\setlength{\\textwidth}{504pt}\n",
        "twocolumn",
    ),
    "a slide": (
        "\\documentclass[11pt]{article}\n\\SetSymbolFont{operators}{normal}{OT1}{cmss}{m}{n}\n"
        "\\setlength{\\textwidth}{307.3pt}\n",
        "beamer",
    ),
}


def exports(width):
    """(name, LaTeX without a label) of every formula of the family."""
    for name, (tree, node) in TREES.items():
        for what in WHAT:
            for form in ("equation", "align"):
                for short in (False, True):
                    text = formula(tree, node, what, form, Style(read_width(width), short))
                    yield f"{name}, {what}, {form}, short={short}", re.sub(r"\\label\{[^}]*\}", "", text)


def overfull(document, folder):
    """The names that were typed out before each overfull box of a document, with its excess in pt."""
    if shutil.which("pdflatex") is None:
        pytest.fail("this test needs pdflatex (Debian: texlive-latex-base, texlive-latex-recommended)")
    (folder / "t.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert result.returncode == 0, result.stdout[-1500:]
    name, found = "", []
    for line in result.stdout.splitlines():
        name = line.removeprefix("@@") if line.startswith("@@") else name
        if line.startswith("Overfull \\hbox"):
            found.append((name, line))
    return found


@pytest.mark.parametrize("case", CLASSES)
def test_no_formula_is_wider_than_its_column(case, tmp_path):
    head, width = CLASSES[case]
    body = "".join(f"\n\\typeout{{@@{name}}}text\n{text}\\par\n" for name, text in exports(width))
    document = f"{head}\\usepackage{{amsmath,amssymb}}\n\\hbadness10000\n{macros()}\\begin{{document}}\n"
    assert overfull(f"{document}{body}\\end{{document}}\n", tmp_path) == []


def test_a_display_that_is_too_wide_is_seen(tmp_path):
    """What the test above counts: a formula for 345 pt in a column of 246 pt."""
    text = formula(*TREES["star"], style=Style(345.0))
    head = CLASSES["a column of 246 pt"][0] + "\\usepackage{amsmath,amssymb}\n" + macros()
    found = overfull(f"{head}\\begin{{document}}\n\\typeout{{@@star}}text\n{text}\\end{{document}}\n", tmp_path)
    assert [name for name, _ in found] == ["star"]


def test_widths_are_estimated_from_above_and_not_by_much(tmp_path):
    pieces = sorted(
        {
            piece
            for name in ("complete", "words", "asymmetric", "categorical", "long names")
            for row in formula_rows(*TREES[name], "operator", Style(short=False))
            for item in row.items
            for piece in (row.left, *((item,) if isinstance(item, str) else item))
            if piece.count(r"\bigl") == piece.count(r"\bigr")
        }
    )
    assert len(pieces) > 40
    lines = "".join(
        rf"\setbox0\hbox{{$\displaystyle {expanded(piece)}$}}\typeout{{@@\the\wd0}}" + "\n" for piece in pieces
    )
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{amsmath,amssymb}\\begin{document}\n" + lines + "x\\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    measured = [float(value) for value in re.findall(r"^@@([0-9.]+)pt", output, re.MULTILINE)]
    for piece, size in zip(pieces, measured, strict=True):
        assert size <= Ruler().width(piece) + 2, piece
        assert Ruler().width(piece) <= 1.35 * size + 8, piece


@pytest.mark.parametrize("width", [120.0, *WIDTHS.values(), 2000.0])
@pytest.mark.parametrize("name", TREES)
def test_no_line_ends_in_a_coefficient(name, width):
    tree, node = TREES[name]
    for what in WHAT:
        for short in (False, True):
            for line in arranged(formula_rows(tree, node, what, Style(width, short)), width).lines:
                assert not re.search(r"(\\tfrac\{\d+\}\{\d+\}|[-+=]|\\otimes)\s*$", line), line


def test_terms_stay_whole_where_a_line_has_room_for_them():
    terms = [(f"+ {c}", "x" * 10, "y" * 10) for c in "abcdefgh"]
    for width in (200.0, 345.0):
        lines = arranged([Row("s", terms)], width).lines
        assert len(lines) > 1
        assert all(line.count("x" * 10) == line.count("y" * 10) for line in lines)
    lines = arranged([Row("s", [("x" * 15, "y" * 15)])], 130.0).lines
    assert len(lines) == 2


def test_long_names_are_stacked_in_a_narrow_column_and_nowhere_else():
    tree, node = named([(LONG[0], LONG[1]), (LONG[1], "x")]), LONG[1]
    wide, narrow = (formula(tree, node, style=Style(width)) for width in (345.0, 246.0))
    assert "stacked" not in wide
    assert narrow.startswith("{\\let\\covopedge\\covopstackededge\n")
    assert narrow.endswith("\\end{equation}\n}\n")
    assert drift(narrow, tree, node) is None
    assert "stacked" not in formula(*TREES["star"], style=Style(246.0))


def test_what_is_tall_breaks_at_the_end_of_a_page(tmp_path):
    tree, node = hltm.star_tree(500, 0.5), 0
    for form in ("equation", "align", "standalone"):
        text = formula(tree, node, form=form)
        assert "\n{\\allowdisplaybreaks\n\\begin{align}\n\\covopactivationcov{0}" in f"\n{text}"
        assert text.count(r"\label") == 1
        assert text.count(r"\notag") == text.count("\\\\\n")
    assert "allowdisplaybreaks" not in formula(hltm.star_tree(40, 0.5), 0)
    assert "allowdisplaybreaks" not in formula(tree, node, style=Style(prefix=None))
    assert overfull(formula(tree, node, form="standalone"), tmp_path) == []
    assert "(3 pages" in (tmp_path / "t.log").read_text()


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("article", 345.0),
        ("twocolumn", 246.0),
        ("246pt", 246.0),
        ("252.5pt", 252.5),
        ("10cm", 284.528),
        ("5in", 361.35),
    ],
)
def test_a_width_is_a_name_or_a_length(text, width):
    assert read_width(text) == pytest.approx(width)


@pytest.mark.parametrize("text", ["", "wide", "246", "246 pt", "119pt", "2001pt", "-300pt", "1e3pt", "infpt", "9" * 99])
def test_a_width_that_is_none_is_one_line(text):
    with pytest.raises(InputError, match="must be article, twocolumn, beamer, or a length from 120pt") as caught:
        read_width(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 220


def bare(text):
    """What is left of LaTeX without macros, their arguments, commands and matrices."""
    text = re.sub(r"\\label\{[^}]*\}|\\(begin|end)\{(equation|align|aligned|pmatrix)\}", "", text)
    while (shorter := re.sub(r"(\\covop[a-z]+)((?:\{[^{}]*\})+)", "", text)) != text or (
        shorter := re.sub(r"\\(text|mathrm|operatorname)\{[^{}]*\}", "", text)
    ) != text:
        text = shorter
    return re.sub(r"\\[A-Za-z]+", "", text)


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("name", TREES)
def test_every_letter_is_a_macro(name, short):
    tree, node = TREES[name]
    for what in WHAT:
        text = formula(tree, node, what, style=Style(short=short))
        assert not re.search("[A-Za-z]", bare(text)), bare(text)
        greek = set(re.findall(r"\\[A-Za-z]+", re.sub(r"\\covop[a-z]+", "", text)))
        allowed = "begin end label bigl bigr top tfrac mathrm text operatorname otimes quad qquad notag prod sum in cap"
        assert greek <= {rf"\{word}" for word in allowed.split()} | {r"\let", r"\allowdisplaybreaks", r"\dots"}


def test_the_letters_of_weights_are_macros():
    tree = hltm.complete_tree(2, 2, 0.5)
    weights = {0: [[1, 2], [3, 4]], 1: [[1, -1]], 2: [[1, 1]]}
    for short in (False, True):
        for slope in (0, 1):
            text = formula(tree, 1, "operator", style=Style(short=short), network=read_weights(tree, weights, slope))
            assert not re.search("[A-Za-z]", bare(text)), bare(text)


def test_labels_of_several_trees_and_forms_are_distinct():
    trees = {"": hltm.star_tree(2, 0.5), "a": hltm.star_tree(3, 0.5), "b.1-x": hltm.star_tree(4, 0.5)}
    network = read_weights(trees["a"], {0: [[1, 2, 3]]})
    seen = []
    for prefix, tree in trees.items():
        for what in WHAT:
            for short in (False, True):
                seen += re.findall(r"\\label\{(.*?)\}", formula(tree, 0, what, style=Style(prefix=prefix, short=short)))
    seen += re.findall(r"\\label\{(.*?)\}", formula(trees["a"], 0, style=Style(prefix="a"), network=network))
    assert len(seen) == len(set(seen)) == 13
    assert seen[0] == "eq:covop:activation:0"
    assert "eq:covop:b.1-x:operator-short:0" in seen
    assert seen[-1] == "eq:covop:a:activation-weights:0" == label(kind("activation", Style(), network), 0, prefix="a")


@pytest.mark.parametrize("prefix", ["activation", "operator-short", "a b", "a:b", "-a", "é", "a" * 65, "a\n", "}"])
def test_a_prefix_that_would_break_a_label_is_refused(prefix):
    with pytest.raises(InputError, match="must be up to 64 letters, digits, dots and hyphens") as caught:
        Style(prefix=prefix)
    assert "\n" not in str(caught.value)


def test_two_trees_in_one_paper_are_told_apart():
    first, second = hltm.complete_tree(2, 2, 0.5), hltm.star_tree(3, 0.5)
    paper = formula(first, 0, style=Style(prefix="a")) + formula(second, 0, style=Style(prefix="b", short=True))
    assert drift(paper, first, 0, style=Style(prefix="a")) is None
    assert drift(paper, second, 0, style=Style(prefix="b", short=True)) is None
    with pytest.raises(InputError, match=r"is not in the paper|stands 0 times"):
        drift(paper, second, 0, style=Style(prefix="a", short=True))


def test_without_a_label_there_is_nothing_that_browsers_do_not_know():
    for tree, node in TREES.values():
        text = formula(tree, node, style=Style(prefix=None))
        assert not re.search(r"\\(label|allowdisplaybreaks|ensuremath)", text)
    long = formula(*TREES["12 states, 13 children"], style=Style(prefix=None))
    assert r"\covop" not in long
    assert expanded(long) == long


def test_a_stacked_macro_takes_the_arguments_of_the_one_it_stands_for():
    for name, other in STACKED.items():
        assert MACROS[name][0] == MACROS[other][0]
    assert used_macros(r"\covoppolarity{0}{1}") == {"polarity", "edge"}
    assert expanded(r"\covoppolarity{0}{1}", stacked=True) == r"\rho_{\substack{0,\\ 1}}"
