"""Where the numbers of a refutation are shown: terminal, replay, JSON documents, saved files, page and LaTeX."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import strategies as st
from rich.console import Console

from verify.engine.disagreement import disagreement
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.runner import Refutation, Result
from verify.engine.search import property_evidence
from verify.engine.statement import Context
from verify.instances.samples import toy_populations
from verify.registry import entry
from verify.report.build import build, counterexamples
from verify.report.documents import (
    print_results,
    print_variants,
    replay_json,
    replay_lines,
    results_json,
    variants_json,
)
from verify.report.view import Request

STATEMENT = entry("4").load()
INSTANCE = replace(next(iter(toy_populations(0, 1, losses=("infonce",)))))
TAU = INSTANCE.options["tau"]
LEFT = np.array([[0.066, 0.5], [0.25, 1.0]])
RIGHT = LEFT * [[1, TAU], [TAU, 1]]
LINE = f"theory 0.5000, numeric {0.5 * TAU:.4f}, ratio {TAU:.3f}, layer 2, entry (0, 1)"


def measured(_=None):
    wrong = {"layer 2": LEFT != RIGHT}
    apart = disagreement({"layer 2": LEFT}, {"layer 2": RIGHT}, wrong, None)
    return Measurement(1.0, 1e-12, detail="layer 2", apart=apart)


@pytest.fixture(scope="module")
def result():
    row = tally("float", "toy", [INSTANCE], measured, at_least=1, detail="what is compared")
    variant = replace(STATEMENT.variants[0], rewrite="")
    found = Refutation(STATEMENT, variant, variant.caught_by, INSTANCE, measured(), 1)
    mutants = Evidence("variants", "holds", "search", 1, detail="1 mutant refuted", refutations=(found,))
    return Result(STATEMENT, (row, mutants), 0.0)


def printed(show):
    console = Console(file=io.StringIO(), width=200)
    show(console)
    return console.file.getvalue()


def test_evidence_names_the_ratio_by_the_instance(result):
    row = result.evidence[0]
    assert row.apart.line == LINE
    assert "tau" in row.apart.recognised
    assert row.as_json()["disagreement"]["recognised"] == row.apart.recognised


def test_a_search_carries_both_sides():
    row = property_evidence({"float": measured}, [lambda: st.just(INSTANCE)], examples=5, seed=0, among="anything")
    assert row.as_json()["disagreement"]["text"].startswith(LINE)


@pytest.mark.parametrize("quiet", [False, True])
def test_the_terminal(result, quiet):
    text = printed(lambda console: print_results(console, [result], {}, quiet))
    assert LINE in text
    assert "tau" in text
    assert "agrees on the diagonal only: 2 of 4 entries agree" in text
    assert "    . x\n    x .\n" in text
    assert "weights[0]" in text


def test_a_replay():
    lines = replay_lines({"float": measured()}, INSTANCE)
    assert f"  {LINE}" in lines
    assert any("weights[0]" in line for line in lines)
    assert any(
        line.startswith("  mutant 0.5000, numeric") for line in replay_lines({"float": measured()}, INSTANCE, True)
    )
    document = replay_json(Context(), "x", None, {"float": measured()}, "refuted", INSTANCE)
    (row,) = document["replay"]["evidence"]
    assert row["disagreement"]["text"].startswith(LINE)


def test_a_measurement_that_has_no_sides_stays_as_it_was():
    document = replay_json(Context(), "x", None, {"float": Measurement(1.0, 0.0)}, "refuted", INSTANCE)
    assert "disagreement" not in document["replay"]["evidence"][0]
    assert "disagreement" not in Evidence("float", "refuted").as_json()


def test_the_documents(result):
    (row,) = results_json(Context(), [result], {})["statements"]
    assert row["evidence"][0]["disagreement"]["text"].startswith(LINE)
    assert "disagreement" not in row["evidence"][1]
    (variant,) = variants_json(Context(), result.evidence[1].refutations, {})["variants"]
    assert variant["disagreement"]["text"].startswith("mutant 0.5000")
    text = printed(lambda console: print_variants(console, result.evidence[1].refutations, "folder", False))
    assert f"ratio {TAU:.3f}" in " ".join(text.split())


def test_the_report(result):
    request = Request(Context())
    attached, files = counterexamples(request, [result])
    saved = [json.loads(content) for content in files.values()]
    assert [row["found"]["disagreement"]["text"][: len(LINE)] for row in saved if row["variant"] is None] == [LINE]
    report = build(request, [result], results_json(Context(), [result], {}), attached, files, with_pdf=False)
    page = report.files["index.html"].decode()
    assert f"<strong>{LINE}" in page
    assert "<pre>. x\nx .</pre>" in page
    assert "weights[0]" in page
    assert "mutant 0.5000" in page
    text = report.files["report.tex"].decode()
    assert LINE in text
