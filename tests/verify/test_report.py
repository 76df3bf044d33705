"""What a report shows: every statement, evidence row, assumption, variant and step, escaped, complete, well-formed."""

import dataclasses
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sympy

sys.path.insert(0, str(Path(__file__).parent))
from report_pages import Page, overfull

from verify.engine.evidence import KINDS, Evidence
from verify.engine.runner import Result, interrupted, run
from verify.engine.statement import Context
from verify.own.files import load_statements
from verify.registry import REGISTRY, entry
from verify.report.build import build, counterexamples, figures, not_drawn
from verify.report.documents import results_json
from verify.report.html import page
from verify.report.tex import document, run_pdflatex, tex
from verify.report.view import Request, view

COPY = "statements/own-statements.py"
HOSTILE = r"<script>alert('x')</script> & \input{/etc/passwd} 50% $x_1 #{}~^ </title> ]]> é λ 漢 " + "long" * 60

OWN = f"""
from dataclasses import dataclass, replace
from hypothesis import strategies as st
import sympy
import theory
from verify import Evidence, JsonInstance, Without, Check, user_statement
from verify.figures.data import FigureData

HOSTILE = {HOSTILE!r}

@dataclass(frozen=True)
class Numbers(JsonInstance):
    a: float
    b: float

whole = st.integers(-50, 50).map(float)

def square(i, at):
    return (at.array(i.a) + at.array(i.b)) ** 2

def stated(i, at):
    return at.array(i.a) ** 2 + 2 * at.array(i.a) * at.array(i.b) + at.array(i.b) ** 2

def figures(context):
    good = FigureData("hostile-points", "lines", HOSTILE, HOSTILE, {{"x": (0.0, 1.0), "y": (0.0, 2.0)}}, {{"slope": 2.0}})
    bad = FigureData("hostile-kind", "no such kind", HOSTILE, HOSTILE, {{"x": (0.0, 1.0)}})
    return [good, bad]

def no_figures(context):
    raise ValueError(HOSTILE)

FIRST = replace(user_statement(
    title=HOSTILE, claim="(a+b)^2 = a^2 + 2ab + b^2", slug="square", source=HOSTILE, not_covered=[HOSTILE],
    assumptions=[HOSTILE], theory=stated, numeric=square, exact=square, strategy=st.builds(Numbers, whole, whole),
    symbolic=lambda: theory.derive("contrastive-losses"),
    variants={{"no-cross-term": lambda i, at: at.array(i.a) ** 2 + at.array(i.b) ** 2}},
    drops={{HOSTILE: Without(HOSTILE, st.builds(Numbers, whole, whole), necessary=False)}},
    checks=[Check("trained", HOSTILE, lambda c: Evidence("trained", "abstained", HOSTILE, detail=HOSTILE))],
), figures=figures)
SECOND = replace(user_statement(
    title="wrong", claim=HOSTILE, slug="wrong", theory=lambda i, at: at.array(i.a), numeric=square,
    strategy=st.builds(Numbers, whole, whole), variants={{"same": lambda i, at: square(i, at)}},
), figures=no_figures)
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Two statements of a user's own, with everything in them that could break a page, and their report."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own statements.py").write_text(OWN, encoding="utf-8")
    entries = load_statements(folder / "own statements.py")
    context = Context()
    results = list(run(entries, context))
    request = Request(context, COPY)
    attached, files = counterexamples(request, results)
    files[COPY] = OWN.encode()
    drawings = figures(Context(), [result.statement for result in results])
    report = build(request, results, results_json(context, results, {}), attached, files, drawings=drawings)
    return results, report


@pytest.fixture(scope="module")
def proofs():
    """All statements of the toolkit with their derivations, and nothing else run."""
    context = Context()
    results = []
    for one in REGISTRY:
        statement = one.load()
        rows = [check.run(context) for check in statement.checks if check.kind == "symbolic"]
        results.append(Result(statement, (*rows, Evidence("exact", "not-run", "toy", detail="not asked for")), 0.0))
    request = Request(context)
    return results, view(request, results, counterexamples(request, results)[0])


def text_of(report):
    return report.files["index.html"].decode()


def test_the_page_is_well_formed_and_loads_nothing(hostile):
    _, report = hostile
    text = text_of(report)
    root = Page(text).root
    assert text.startswith("<!DOCTYPE html>")
    assert next(root.all("html")).attributes["lang"] == "en"
    for element in root.all():
        assert element.tag not in {"script", "iframe", "object", "embed", "link", "base", "form"}
        for name, value in element.attributes.items():
            assert not name.startswith("on"), (element.tag, name)
            if name in {"src", "href", "xlink:href", "data", "action"}:
                assert not re.match(r"\s*(https?:|//|javascript:|file:)", value), (element.tag, value)
    (policy,) = (m.attributes["content"] for m in root.all("meta") if m.attributes.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "@import" not in text


def test_identifiers_are_unique_and_links_resolve(hostile):
    _, report = hostile
    root = Page(text_of(report)).root
    ids = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    links = [element.attributes["href"] for element in root.all("a")]
    assert len(links) > 10
    for link in links:
        assert link.removeprefix("#") in ids if link.startswith("#") else link in {*report.files, "manifest.json"}, link


def test_headings_tables_and_drawings_can_be_read_aloud(hostile):
    root = Page(text_of(hostile[1])).root
    levels = [int(element.tag[1]) for element in root.all() if re.fullmatch("h[1-6]", element.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(cell.attributes.get("scope") in {"row", "col"} for cell in root.all("th"))
    for figure in root.all("figure"):
        assert "svg" not in [e.tag for e in figure.all()] or next(figure.all("div")).attributes["aria-label"]
    assert next(root.all("a")).attributes["href"] == "#statements"


def test_all_that_was_found_is_shown(hostile):
    results, report = hostile
    root = Page(text_of(report)).root
    sections = list(root.all("section"))
    for result, section in zip(results, sections, strict=False):
        assert result.statement.title in next(section.all("h2")).text
        rows = list(next(section.all("table", class_="evidence")).all("tr"))[1:]
        assert len(rows) == len(result.evidence)
        for row, found in zip(rows, result.evidence, strict=True):
            assert row.text.startswith(found.kind)
            assert found.source in row.text
            assert found.detail in row.text
            assert f"python -m verify run {COPY} --only {found.kind} --seed 0" in row.text
            cells = [cell.text.strip() for cell in row.all("td")]
            assert all(cells), cells
        (table,) = section.all("table", class_="variants")
        assert [row.text for row in table.all("th", scope="row")] == [v.name for v in result.statement.variants]
        for assumption in result.statement.drops:
            assert assumption.name in next(section.all("table", class_="outcomes")).text
        for text in (*result.statement.assumptions, *result.statement.not_covered):
            assert text in section.text
    assert {"square", "wrong"} <= {e.attributes.get("id") for e in root.all("h2")}
    assert "wrong refuted" in root.text
    assert "left open" in root.text


def test_hostile_text_is_text(hostile):
    _, report = hostile
    text = text_of(report)
    assert "<script" not in text
    assert HOSTILE in Page(text).root.text
    latex = report.files["report.tex"].decode()
    assert "\\input{" not in latex
    latex.encode("ascii")
    assert report.files["report.pdf"].startswith(b"%PDF"), report.pdf_reason
    assert [points for points in overfull(report.log) if points > 10] == []


def test_a_formula_that_is_no_formula_is_shown_as_its_source(hostile):
    section = list(Page(text_of(hostile[1])).root.all("section"))[1]
    assert HOSTILE in next(section.all("code", class_="source")).text


def test_figures_are_drawn_or_say_why_not(hostile):
    _, report = hostile
    first, second = list(Page(text_of(report)).root.all("section"))[:2]
    shown = {figure.attributes["id"]: figure for figure in first.all("figure")}
    assert set(shown) == {"figure-hostile-points", "figure-hostile-kind"}
    assert list(shown["figure-hostile-points"].all("svg"))
    assert "could not be drawn: ValueError" in shown["figure-hostile-kind"].text
    assert "could not be drawn: ValueError" in next(second.all("figure")).text
    for suffix in ("svg", "pdf", "png", "csv"):
        assert report.files[f"figures/hostile-points.{suffix}"]
    assert not [name for name in report.files if "hostile-kind" in name]


def test_counterexamples_are_in_the_report_and_replay(hostile, tmp_path):
    _, report = hostile
    names = [name for name in report.files if name.startswith("counterexamples/")]
    assert "counterexamples/square--no-cross-term.json" in names
    assert any(name.startswith("counterexamples/wrong--") for name in names)
    root = Page(text_of(report)).root
    for name in names:
        assert f"python -m verify replay {name} --statements {COPY}" in root.text
    name = "counterexamples/square--no-cross-term.json"
    (tmp_path / "c.json").write_bytes(report.files[name])
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "verify", "replay", "c.json", "--statements", "own.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 1, result.stderr


def test_report_json_has_the_document_and_the_view(hostile):
    results, report = hostile
    data = json.loads(report.files["report.json"])
    seen = data.pop("report")
    assert data == json.loads(json.dumps(results_json(Context(), results, {})))
    assert [s["slug"] for s in seen["statements"]] == ["square", "wrong"]
    assert seen["statements"][0]["derivations"][0]["steps"]


def test_every_formula_of_our_own_derivations_is_mathml(proofs):
    results, seen = proofs
    root = Page(page(seen, {}, pdf_reason="none")).root
    assert list(root.all("code", class_="source")) == []
    text = root.text
    derivations = [d for r in results for row in r.evidence for d in row.derivations]
    steps = sum(len(d.steps) + 2 for d in derivations)
    chains = sum(d.residual is None for d in derivations)  # steps without one difference of two sides to show
    assert 0 < chains < len(derivations)
    maths = list(root.all("math"))
    assert len(maths) == steps - chains + len(results) + len(seen["symbols"])
    for math in maths:
        assert "\\" not in math.text, math.text
        assert math.text.strip(), math
    for result in results:
        for row in result.evidence:
            for derivation in row.derivations:
                assert derivation.statement.text in text
                assert all(step.justification in text for step in derivation.steps)
    assert len(list(root.all("details", class_="step"))) == steps - sum(
        len(s["derivations"]) for s in seen["statements"]
    )


def test_the_latex_of_our_own_derivations_fits_the_page(proofs):
    made = run_pdflatex(document(proofs[1]), {})
    assert made.content, made.reason
    assert [points for points in overfull(made.log) if points > 10] == []
    again = run_pdflatex(document(proofs[1]), {})
    assert again.content == made.content


def test_a_matrix_of_zeros_is_a_zero_with_its_shape(proofs):
    results, seen = proofs
    found = {
        (derivation.residual.shape, shown["residual"][0])
        for result, statement in zip(results, seen["statements"], strict=True)
        for derivation, shown in zip(
            [d for row in result.evidence for d in row.derivations], statement["derivations"], strict=True
        )
        if isinstance(derivation.residual, sympy.MatrixBase)
    }
    assert found
    assert all(text == rf"0_{{{rows} \times {columns}}}" for (rows, columns), text in found)


def test_evidence_that_is_missing_is_shown_as_missing(proofs):
    root = Page(page(proofs[1], {}, pdf_reason="pdflatex was not found")).root
    matrix = next(root.all("table", class_="matrix"))
    assert len(list(matrix.all("tr"))) == 8
    for row in list(matrix.all("tr"))[1:]:
        assert [cell.text.strip() for cell in row.all("td")][2:] == ["– not run"] * (len(KINDS) - 1)
    assert "There is no report.pdf: pdflatex was not found." in root.text
    for table in root.all("table", class_="variants"):
        for row in list(table.all("tr"))[1:]:
            assert "not run" in row.text
    for table in root.all("table", class_="outcomes"):
        assert "not run" in table.text


def test_an_interrupted_run_does_not_hold(proofs):
    results = [proofs[0][1], interrupted(entry("2").load(), [])]
    results[0] = dataclasses.replace(results[0], interrupted=True)
    request = Request(Context())
    drawn = not_drawn([result.statement for result in results], "the run was interrupted")
    report = build(request, results, {}, *counterexamples(request, results), drawings=drawn, with_pdf=False)
    root = Page(text_of(report)).root
    assert "not complete, the run was interrupted" in next(root.all("p", class_="verdict")).text
    assert "0 of 2 hold" in root.text
    assert "✓ holds" not in next(root.all("table", class_="matrix")).text.split("verdict")[0]
    table = list(root.all("table", class_="evidence"))[1]
    assert table.text.count("interrupted") == len(results[1].evidence) - 1  # one kind is never measured


def test_two_reports_of_one_run_are_the_same(hostile):
    results, report = hostile
    request = Request(Context(), COPY)
    attached, files = counterexamples(request, results)
    files[COPY] = OWN.encode()
    drawings = figures(Context(), [result.statement for result in results])
    again = build(request, results, results_json(Context(), results, {}), attached, files, drawings=drawings)
    assert {name for name in report.files if report.files[name] != again.files[name]} == set()


@pytest.mark.parametrize(
    "text", ["a_b^c", "100%", "{", "}", "\\", "~", "#1", "$", "&", "--", "é", "漢字", "\x00", "\u202e", "𝔼", "?`"]
)
def test_any_text_is_latex_that_compiles(text):
    assert "\x00" not in tex(text)
    made = run_pdflatex(
        rf"\documentclass{{article}}\usepackage{{amsmath,amssymb}}\begin{{document}}x {tex(text)}\end{{document}}", {}
    )
    assert made.content, made.reason
