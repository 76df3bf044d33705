"""Assumptions dropped in turn: each is found to be what is expected of it, and a lost counterexample turns a run red."""

import dataclasses
from fractions import Fraction

import pytest
from flint import arb, fmpq

from verify.engine.assumptions import Assumption, Sides, drop, evidence, names, shown
from verify.engine.statement import Context
from verify.registry import REGISTRY
from verify.towers import assumptions

STATEMENTS = [entry.load() for entry in REGISTRY]
CASES = [(statement, assumption) for statement in STATEMENTS for assumption in statement.drops]
IDS = [f"{statement.theorem}-{assumption.name}-{assumption.dropped}" for statement, assumption in CASES]


@pytest.mark.parametrize(("statement", "assumption"), CASES, ids=IDS)
def test_what_is_expected_of_an_assumption(statement, assumption):
    found = drop(assumption, Context(seed=3))
    assert found.status == "holds", (found.finding, found.sides, found.derivation)
    assert found.tried >= 1
    row = found.as_json()
    assert (row["counterexample"] is not None) == assumption.necessary
    if assumption.necessary:
        kept = row["counterexample"]
        # Two numbers, and they can be told apart as they are printed, save where a strict sign is claimed.
        assert kept["left"] != kept["right"] or kept["relation"] == ">"
        assert kept["instance"]
    else:
        assert found.tried - found.undecided >= 4


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: s.slug)
def test_every_statement_lists_its_assumptions_with_a_way_of_dropping_each(statement):
    dropped = {assumption.name for assumption in statement.drops}
    assert set(names(statement.drops)) <= set(statement.assumptions) <= dropped
    assert len(statement.drops) >= 5
    assert len({(a.name, a.dropped) for a in statement.drops}) == len(statement.drops)
    assert evidence(statement.drops, Context()).status == "holds"


def test_the_assumptions_that_were_asked_for_are_there():
    asked = {
        1: ("no biases", "homogeneous activation"),
        3: ("independent augmentations", "x_1 augmented", "infinite batch", "homogeneous"),
        4: ("loss of the family", "gate flips", "augmentation means", "small augmentation"),
        5: ("A_jk = 0", "homogeneous neurons"),
        6: ("a tree", "root kept", "binary", "symmetric"),
        7: ("uniform", "independent", "no biases"),
    }
    for statement in STATEMENTS:
        texts = " | ".join(assumption.name for assumption in statement.drops)
        assert all(word in texts for word in asked.get(statement.theorem, ())), texts


def test_with_nothing_dropped_the_small_populations_hold():
    """The engine that shows counterexamples finds none where nothing is dropped."""
    for points in (assumptions.PLAIN, assumptions.THREE):
        assert assumptions.update(list(assumptions.triples(points)), assumptions.simple) == assumptions.operator(
            points, assumptions.simple
        )
        assert sum(p for p, *_ in assumptions.triples(points)) == 1
    for m, n in assumptions.SPREADS:
        with assumptions.balls.precision(assumptions.BITS, 3):
            points = assumptions.linear(
                [assumptions.series(0), assumptions.series(0, m)], [assumptions.series(1), assumptions.series(1, n)]
            )
            found = assumptions.theta(points)
            assert [assumptions.coefficient("", found, k).status for k in range(3)] == ["holds", "holds", "refuted"]


def always(*sides, necessary=True):
    return Assumption("a", "b", lambda _: list(sides), necessary)


EQUAL = Sides("i", "q", Fraction(1), Fraction(1))
APART = Sides("i", "q", Fraction(1), Fraction(2))
OPEN = Sides("i", "q", 1.0, 2.0, decided=False)


@pytest.mark.parametrize(
    ("assumption", "finding", "status"),
    [
        (always(EQUAL, APART), "necessary", "holds"),
        (always(EQUAL), "not shown necessary", "abstained"),
        (always(EQUAL, necessary=False), "not shown necessary", "holds"),
        (always(APART, necessary=False), "necessary", "refuted"),
        (always(OPEN), "undecided", "abstained"),
        (always(), "undecided", "abstained"),
        (dataclasses.replace(always(APART), derivation=("covariance-operator", {})), "undecided", "abstained"),
    ],
    ids=["refuted", "lost", "not needed", "found after all", "open", "nothing tried", "derivation disagrees"],
)
def test_findings(assumption, finding, status):
    found = drop(assumption, Context())
    assert (found.finding, found.status) == (finding, status)
    assert evidence([assumption], Context()).status == status


def test_no_assumption_is_no_evidence():
    assert evidence([], Context()).status == "abstained"


def test_sides_in_every_arithmetic():
    ball = arb("0 +/- 1e-40")
    assert Sides("", "", ball, 0, 1e-30).status == "holds"
    assert Sides("", "", arb("0 +/- 1e-3"), 0, 1e-30).status == "abstained"
    assert Sides("", "", arb("1 +/- 1e-3"), 0, 1e-30).status == "refuted"
    assert Sides("", "", arb("1 +/- 1e-3"), 0, relation=">").status == "holds"
    assert Sides("", "", arb("0 +/- 1e-3"), 0, relation=">").status == "abstained"
    assert Sides("", "", fmpq(1, 3), fmpq(1, 3)).status == "holds"
    assert Sides("", "", 1.0, 1.0 + 1e-9, 1e-8).status == "holds"
    assert Sides("", "", float("nan"), 0.0).status == "abstained"
    assert Sides("", "", fmpq(0), fmpq(0), relation=">=").status == "holds"
    assert shown(fmpq(3, 8)) == "3/8"
