"""What the compiler accepts is what is meant: theorems on known axioms, identities; everything that is changed is not."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import sympy
from sympy import Symbol

from theory.core.decide import POLYNOMIAL
from theory.core.record import Derivative, Identity, Record
from theory.kernel import export as kernel
from theory.kernel import rocq
from theory.kernel.theorems import THEOREMS
from theory.registry import STATEMENTS

MUTANTS = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text(encoding="utf-8"))["mutant"]


def test_every_theorem_is_accepted_on_allowed_axioms(compiler):
    outcome = rocq.check_theorems(compiler)
    assert outcome.status == "accepted", outcome.detail
    assert set(outcome.detail.split(", ")) <= rocq.ALLOWED


def test_nothing_is_admitted():
    for name in rocq.modules():
        text = re.sub(r"\(\*.*?\*\)", "", (rocq.HERE / name).read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"\b(Admitted|admit|Axiom|Parameter|Conjecture|Abort)\b", text), name


def test_an_axiom_of_ones_own_is_not_allowed(compiler, modules, tmp_path):
    """The output of ``Print Assumptions`` on a theorem that rests on one."""
    text = "Axiom mine : False.\nTheorem all (P : Prop) : P.\nProof. destruct mine. Qed.\nPrint Assumptions all.\n"
    (tmp_path / "Mine.v").write_text(text)
    printed = rocq.compile_file(compiler, tmp_path, "Mine.v", modules)
    outcome = rocq.with_axioms(printed, 0.0)
    assert (outcome.status, outcome.detail) == ("failed", "the axiom mine is not allowed")
    (tmp_path / "Open.v").write_text(
        text.replace("Axiom mine : False.\n", "").replace("destruct mine. Qed", "Admitted")
    )
    outcome = rocq.with_axioms(rocq.compile_file(compiler, tmp_path, "Open.v", modules), 0.0)
    assert (outcome.status, outcome.detail) == ("failed", "the axiom all is not allowed")


def test_there_are_mutants_of_every_file_with_a_theorem():
    named = {theorem.file for covered in THEOREMS.values() for theorem in covered.theorems}
    assert {f"{file}.v" for file in named} <= {mutant["file"] for mutant in MUTANTS}
    assert len(MUTANTS) >= 100


# Every third of them on every submission, the others every night.
CHANGED = [
    pytest.param(one, id=f"{one['file']}: {one['why']}", marks=() if number % 3 == 0 else pytest.mark.nightly)
    for number, one in enumerate(MUTANTS)
]


@pytest.mark.parametrize("mutant", CHANGED)
def test_a_changed_statement_or_definition_is_rejected(compiler, modules, tmp_path, mutant):
    text = (rocq.HERE / mutant["file"]).read_text(encoding="utf-8")
    assert text.count(mutant["find"]) == 1
    (tmp_path / mutant["file"]).write_text(text.replace(mutant["find"], mutant["replace"]), encoding="utf-8")
    outcome = rocq.compile_file(compiler, tmp_path, mutant["file"], modules)
    assert outcome.status in ("rejected", "failed")
    # By the compiler's own verdict, and not for the grammar of the change.
    assert "Error: " in outcome.detail
    assert not re.search(r"Syntax error|physical path|memory", outcome.detail), outcome.detail


@pytest.mark.parametrize("slug", STATEMENTS)
def test_identities_are_accepted_and_not_with_another_coefficient(compiler, slug):
    for exported in kernel.exports(slug):
        outcome = rocq.check_text(compiler, exported.text)
        assert outcome.status == "accepted", outcome.detail
        if not exported.lemmas:
            continue
        lemma = exported.lemmas[-1]
        first, _, last = lemma.text.rpartition("\n  (")
        wrong = exported.text.replace(lemma.text, f"{first}\n  (A (K 1 1) ({last}".replace(") = true", ")) = true"))
        assert kernel.lemmas_of(wrong, "f") == [one.name for one in exported.lemmas]
        assert rocq.check_text(compiler, wrong).status == "rejected"


X, Y, Z = (Symbol(name, real=True) for name in "xyz")


def said(compiler, *facts):
    record = Record()
    for fact in facts:
        (record.identities if isinstance(fact, Identity) else record.derivatives)[fact] = None
    exported = kernel.written("t", record)
    assert len(exported.lemmas) == len(facts), exported.left_out
    return rocq.check_text(compiler, exported.text).status


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((X + Y) ** 3, X**3 + 3 * X**2 * Y + 3 * X * Y**2 + Y**3),
        (1 / (X - Y) - 1 / (X + Y), 2 * Y / (X**2 - Y**2)),
        (sympy.exp(X) * sympy.exp(Y - X / 2), sympy.exp(X / 2 + Y)),
        ((X**2 + 1) / sympy.sqrt(X**2 + 1), sympy.sqrt(X**2 + 1)),
    ],
    ids=str,
)
def test_true_identities_are_accepted_and_false_ones_rejected(compiler, left, right):
    assert said(compiler, Identity(left, right, True, POLYNOMIAL)) == "accepted"
    assert said(compiler, Identity(left, right + X, True, POLYNOMIAL)) == "rejected"


def test_derivatives_are_those_of_the_function(compiler):
    root = sympy.sqrt(X**2 + Y**2 + 1)
    for function in (X**3 * Y - X, X / (1 + Y**2 + X**2), root, X / root):
        value = sympy.diff(function, X)
        assert said(compiler, Derivative(function, X, value)) == "accepted"
        assert said(compiler, Derivative(function, X, 2 * value)) == "rejected"
        assert said(compiler, Derivative(function, Y, value)) == "rejected"


def test_a_sum_of_ten_thousand_terms(compiler):
    variables = sympy.symbols("v:8")
    total = sympy.Add(*variables) ** 9
    expanded = sympy.expand(total)
    assert len(expanded.args) == 11440
    assert said(compiler, Identity(total, expanded, True, POLYNOMIAL)) == "accepted"


def test_the_record_is_of_these_files(compiler):
    record = json.loads((rocq.HERE / rocq.RECORD).read_text(encoding="utf-8"))
    assert record["theorems"] == rocq.theorems_key()
