"""False variants: each is refuted, by every kind that it names, on a pinned counterexample of at most 2 layers and width 3."""

import json

import pytest

from verify.files import read_instance
from verify.registry import covered
from verify.runner import refute, variants_evidence
from verify.statement import Context, Variant

STATEMENTS = [entry.load() for entry in covered()]
CASES = [(statement, variant) for statement in STATEMENTS for variant in statement.variants]
IDS = [f"{statement.theorem}-{variant.name}" for statement, variant in CASES]


def test_every_statement_has_at_least_four_variants():
    assert [statement.theorem for statement in STATEMENTS] == list(range(1, 8))
    assert all(len(statement.variants) >= 4 for statement in STATEMENTS)
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize(("statement", "variant"), CASES, ids=IDS)
def test_the_pinned_counterexample_refutes(statement, variant, counterexamples):
    path = counterexamples / f"{statement.slug}--{variant.name}.json"
    found, name, instance = read_instance(path)
    assert (found.slug, name) == (statement.slug, variant.name)
    assert variant.caught_by
    for kind in variant.caught_by:
        assert statement.measures[kind](instance, variant.claim).status == "refuted", kind
    # The true statement survives the instance on which the false one falls.
    assert all(measure(instance, None).status != "refuted" for measure in statement.measures.values())
    layers, width = instance.size
    assert layers <= 2
    assert width <= 3


def test_no_pinned_file_is_left_over(counterexamples):
    names = {path.stem for path in counterexamples.glob("*.json")}
    assert names == {f"{statement.slug}--{variant.name}" for statement, variant in CASES}


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: s.slug)
def test_a_true_statement_given_as_a_variant_survives(statement):
    """The search cannot refute what is true: the stated claim survives, and the evidence says so."""
    truth = Variant("truth", "the statement itself", None)
    found = refute(statement, truth, Context(seed=1), shrink=False, examples=30)
    assert found.survived
    assert found.refuted_by == ()
    assert found.tried >= 90


def test_a_survivor_turns_the_evidence_red():
    from dataclasses import replace

    statement = replace(STATEMENTS[1], variants=(Variant("truth", "the statement itself", None),))
    evidence = variants_evidence(statement, Context(seed=1))
    assert evidence.status == "refuted"
    assert evidence.variant == "truth"
    assert "survives exact, float" in evidence.detail


def test_counterexamples_are_plain_data(counterexamples):
    for path in counterexamples.glob("*.json"):
        document = json.loads(path.read_text())
        assert set(document) == {"schema", "statement", "variant", "seed", "found", "instance"}
