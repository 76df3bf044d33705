"""Abstaining is not passing: what could not be decided changes the exit code of the command line."""

import dataclasses
import json

import pytest

from verify import cli
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.statement import Assumption, Check, Variant
from verify.registry import Entry, entry

PLAIN = dataclasses.replace(entry("2").load(), checks=(), variants=(), drops=())
FALSE = Variant("sign", "dL/dr_+ < 0", None)


def check(status):
    return Check("exact", "toy", lambda context: Evidence("exact", status, "toy", 1))


def near_a_kink(context):
    """A check all of whose instances are too near to call."""
    return tally("float", "toy", range(5), lambda i: Measurement(0.0, 1.0, decided=False), at_least=1)


@dataclasses.dataclass(frozen=True)
class Given(Entry):
    """An entry with its statement at hand."""

    statement: object = None

    def load(self):
        return self.statement


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run `python -m verify` over one statement; gives the exit code and what was printed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, **changed):
        statement = dataclasses.replace(PLAIN, **changed)
        given = Given(statement.slug, statement.theorem, statement.title, "verify.theorem2", statement)
        monkeypatch.setattr(cli, "REGISTRY", (given,))
        monkeypatch.setattr("sys.argv", ["verify", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, capsys.readouterr().out

    return call


REFUTED = Measurement(1.0, 0.0)
MEASURES = {"exact": lambda i, c: REFUTED, "float": lambda i, c: REFUTED}


@pytest.mark.parametrize(
    ("checks", "code", "word"),
    [
        ((check("holds"),), 0, "holds"),
        ((check("holds"), check("abstained")), 3, "abstained"),
        ((check("holds"), Check("float", "toy", near_a_kink)), 3, "only 0 of at least 1"),
        ((check("abstained"), check("refuted")), 1, "refuted"),
        ((), 0, "holds"),
    ],
    ids=["holds", "abstains", "every instance undecided", "refuted", "variants alone"],
)
def test_the_exit_code_of_a_run(run, checks, code, word):
    # Every instance refutes the mutant, so that the variants themselves decide nothing here.
    found, printed = run(checks=checks, variants=(FALSE,), measures=MEASURES)
    assert found == code, printed
    assert word in printed


def test_a_statement_without_false_variants_abstains(run):
    found, printed = run(checks=(check("holds"),))
    assert found == 3
    assert "there is no mutant" in printed


def test_variants_of_a_statement_that_has_none_abstain(run):
    found, printed = run("--variants", checks=())
    assert found == 3
    assert "there is no mutant to refute" in printed


def test_the_document_says_that_it_abstained(run):
    found, printed = run("--json", "-", checks=(check("abstained"),), variants=(FALSE,), measures=MEASURES)
    assert found == 3
    (statement,) = json.loads(printed)["statements"]
    assert statement["verdict"] == "abstained"


def test_a_surviving_variant_is_exit_code_3(run):
    """The check is too weak: nothing refutes the statement."""
    held = {"exact": lambda i, c: REFUTED, "float": lambda i, c: Measurement(0.0, 0.0)}
    found, printed = run("--variants", variants=(FALSE,), measures=held)
    assert found == 3
    assert "1 survives: sign (check too weak)" in printed
    found, printed = run(checks=(check("holds"),), variants=(FALSE,), measures=held)
    assert found == 3
    assert "check too weak: the mutant 'sign' survives float; none of " in " ".join(printed.split())
    found, printed = run("--variants", variants=(FALSE,), measures=MEASURES)
    assert found == 0, printed


def dropped(*sides, necessary=True):
    return (Assumption("a tree", "a loop", lambda _: sides, necessary),)


@pytest.mark.parametrize(
    ("drops", "code", "word"),
    [
        (dropped(Sides("two points", "left, right", 2, 3)), 0, "2 != 3"),
        (dropped(Sides("two points", "left, right", 2, 2)), 3, "not shown necessary"),
        (dropped(Sides("two points", "left, right", 2, 2), necessary=False), 0, "1 tried"),
        (dropped(Sides("two points", "left, right", 2, 3), necessary=False), 1, "2 != 3"),
        (dropped(Sides("two points", "left, right", 2, 3, decided=False)), 3, "undecided"),
        ((), 3, "0 assumptions"),
    ],
    ids=["necessary", "lost", "not needed", "needed after all", "undecided", "none"],
)
def test_the_exit_code_of_dropped_assumptions(run, drops, code, word):
    found, printed = run("--assumptions", drops=drops)
    assert found == code, printed
    assert word in " ".join(printed.split())


def test_the_document_of_dropped_assumptions(run):
    _, printed = run("--assumptions", "--json", "-", drops=dropped(Sides("two points", "left, right", 2, 3)))
    (row,) = json.loads(printed)["assumptions"]
    assert (row["assumption"], row["finding"], row["tried"]) == ("a tree", "necessary", 1)
    assert (row["counterexample"]["left"], row["counterexample"]["right"]) == ("2", "3")


def test_variants_and_assumptions_exclude_each_other(run):
    assert run("--variants", "--assumptions")[0] == 2


OVERFLOWED = Measurement(0.0, float("inf"))


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({"float": OVERFLOWED}, 3),
        ({"exact": Measurement(0.0, 0.0), "float": OVERFLOWED}, 0),
        ({"exact": Measurement(0.0, 0.0, decided=False), "float": REFUTED}, 1),
    ],
    ids=["a bound that overflowed", "beside a decided kind", "refuted"],
)
def test_a_replay_counts_what_is_decided(found, code, counterexamples, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("verify.engine.runner.replay", lambda *arguments: found)
    monkeypatch.setattr("sys.argv", ["verify", "replay", str(counterexamples / "dual-gradient--half-missing.json")])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == code, capsys.readouterr()
