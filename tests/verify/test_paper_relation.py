"""Each statement says how it relates to the paper, and every display says the same."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from verify.engine.evidence import Evidence
from verify.engine.runner import Result
from verify.engine.statement import Confidence, Context, PaperRelation, Relation
from verify.registry import REGISTRY
from verify.report.build import counterexamples
from verify.report.documents import results_json
from verify.report.html import page
from verify.report.tex import document, tex
from verify.report.view import PAPER_NOTE, Request, view

ROOT = Path(__file__).parent.parent.parent
RESULTS = [Result(e.load(), (Evidence("exact", "not-run", "toy", detail="not asked for"),), 0.0) for e in REGISTRY]


def shown(results):
    request = Request(Context())
    return view(request, results, counterexamples(request, results)[0])


@pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.slug)
def test_every_statement_has_a_relation_with_its_source(entry):
    row = entry.load().relation_to_paper
    assert row.relation in get_args(Relation)
    assert row.confidence in get_args(Confidence)
    assert row.difference
    assert row.source


def test_nothing_is_called_certain_that_only_notes_say():
    for entry in REGISTRY:
        row = entry.load().relation_to_paper
        if "notes" in row.source:
            assert row.confidence != "high", entry.slug
        if row.relation in ("as printed", "corrected"):
            assert row.confidence == "low" or "public" in row.source, entry.slug


def test_values_that_are_not_listed_are_refused():
    with pytest.raises(ValueError, match="relation='close'"):
        PaperRelation("close", "nothing", "notes", "low")
    with pytest.raises(ValueError, match="confidence='sure'"):
        PaperRelation("own form", "nothing", "notes", "sure")


def test_the_json_document_has_the_rows():
    rows = json.loads(json.dumps(results_json(Context(), RESULTS, {})))["statements"]
    assert [row["relation_to_paper"] for row in rows] == [e.load().relation_to_paper.as_json() for e in REGISTRY]


def test_the_report_has_the_table_on_the_page_and_in_latex():
    data = shown(RESULTS)
    text = html.unescape(page(data, {}))
    latex = document(data)
    assert PAPER_NOTE in text
    table = re.search(r'<table class="relations">.*?</table>', text, re.DOTALL)[0]
    for entry in REGISTRY:
        row = entry.load().relation_to_paper
        cells = re.search(rf'<a href="#{entry.slug}">{entry.heading}</a>(.*?)</tr>', table)[1]
        assert re.findall(r"<td[^>]*>(.*?)</td>", cells) == list(row.as_json().values())
        assert f"{entry.heading} & {row.relation} & {tex(row.difference)} & {tex(row.source)}" in latex


def test_a_report_on_other_statements_has_no_such_table():
    bare = [replace(r, statement=replace(r.statement, theorem=None, relation_to_paper=None)) for r in RESULTS[:1]]
    data = shown(bare)
    assert 'id="what-the-paper-says"' not in page(data, {})
    assert "What the paper says" not in document(data)


def test_only_the_papers_numbers_are_called_theorems():
    assert [entry.heading for entry in REGISTRY] == [
        "Theorem 1", "Theorem 2", "Theorem 3", "Theorem 4", "Statement 5", "Statement 6", "Statement 7",
    ]  # fmt: skip
    assert [entry.load().heading for entry in REGISTRY] == [entry.heading for entry in REGISTRY]


def test_no_page_and_no_module_calls_a_later_statement_a_theorem():
    name = re.compile(r"\b[Tt]heorems?[ ~-]+(?:[567]\b|(?:\d (?:to|and|or) )[567]\b)")
    folders = ("hltm", "theory", "numeric", "verify", "docs", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if "_build" not in path.parts]
    files += [*ROOT.glob("*.md"), ROOT / "CITATION.cff", ROOT / "pyproject.toml"]
    checked = [p for p in files if p.suffix in {".py", ".pyi", ".md", ".jinja", ".ipynb", ".cff", ".toml", ".json"}]
    assert len(checked) > 200
    assert [str(path) for path in checked if name.search(path.read_text(encoding="utf-8"))] == []
