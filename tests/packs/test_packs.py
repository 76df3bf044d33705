"""Every statement of another paper: proved as it is shown, measured, its mutants refuted, its assumptions dropped."""

import json
import re
from itertools import islice

import pytest

import theory
from hltm.base.errors import InputError
from theory.registry import PACKS as DERIVED
from theory.registry import entry_of
from verify.engine.assumptions import drop
from verify.engine.rewrites import Rewrite
from verify.engine.runner import all_checks, refute
from verify.engine.statement import Context
from verify.packs.part import Mutant
from verify.registry import PACKS, REGISTRY, entry

STATEMENTS = {known.slug: known.load() for known in PACKS}
PARTS = [(slug, part) for slug in DERIVED for part in entry_of(slug).options["part"]]
DROPPED = [(slug, dropped) for slug, statement in STATEMENTS.items() for dropped in statement.drops]
MUTANTS = [(slug, variant) for slug, statement in STATEMENTS.items() for variant in statement.variants]


def test_every_pack_is_registered_on_both_sides():
    assert [known.slug for known in PACKS] == list(DERIVED) == list(STATEMENTS)
    assert all(statement.slug == slug for slug, statement in STATEMENTS.items())
    assert not {known.slug for known in PACKS} & {known.slug for known in REGISTRY}


@pytest.mark.parametrize("slug", STATEMENTS)
def test_a_pack_is_no_theorem_of_the_paper(slug):
    statement = STATEMENTS[slug]
    assert statement.theorem is None
    assert statement.heading == "Statement"
    assert not re.search(r"theorem \d", statement.title.lower())
    assert statement.relation_to_paper is not None
    assert statement.source
    assert statement.not_covered
    assert statement.assumptions
    assert entry(slug).title == statement.title


@pytest.mark.parametrize(("slug", "part"), PARTS)
def test_a_formula_is_proved_and_its_false_neighbours_are_refuted(slug, part):
    derived = theory.derive(slug, part=part)
    assert derived.slug == slug
    assert derived.proved, derived.decision
    assert derived.steps
    assert all(step.proved for step in derived.steps)
    decisions = {name: derived.decides(wrong).value for name, wrong in derived.claim.mutants().items()}
    assert set(decisions.values()) == {False}, decisions
    assert derived.claim.latex()
    assert derived.latex()


@pytest.mark.parametrize(("slug", "part"), PARTS)
def test_numbers_refute_every_relation_that_is_changed(slug, part):
    """A relation whose two sides are the same numbers by construction, or always 0, would not notice."""
    checks = STATEMENTS[slug].checks
    drawn = next(check.run for check in checks if (check.kind, check.source) == ("exact", "toy")).args[1]
    pack = STATEMENTS[slug].measures["exact"].__self__
    (chosen,) = [one for one in pack.parts if one.name == part]
    instances = list(drawn(5, 12))
    mutants = theory.derive(slug, part=part).claim.mutants()
    assert mutants
    for name, wrong in mutants.items():
        changed = Mutant(part, lambda _, wrong=wrong: wrong)
        for floating in (False, True):
            found = (pack.measure_part(chosen, one, changed, floating, "cpu") for one in instances)
            assert any(one.status == "refuted" for one in found), (name, floating)


@pytest.mark.parametrize("slug", DERIVED)
def test_without_a_part_the_first_one_is_derived(slug):
    assert theory.derive(slug).claim == theory.derive(slug, part=entry_of(slug).options["part"][0]).claim
    with pytest.raises(InputError, match=r"part='nothing' of"):
        theory.derive(slug, part="nothing")


@pytest.mark.parametrize("slug", STATEMENTS)
def test_a_mutant_needs_a_name_and_two_kinds_of_evidence(slug):
    variants = STATEMENTS[slug].variants
    assert len(variants) >= 3
    assert len({variant.name for variant in variants}) == len(variants)
    for variant in variants:
        assert len(variant.caught_by) >= 2 or variant.one_kind, variant.name


@pytest.mark.parametrize(("slug", "variant"), [pytest.param(*case, id=f"{case[0]}-{case[1].name}") for case in MUTANTS])
def test_a_derivation_proves_no_mutant(slug, variant):
    assert isinstance(variant.rewrite, Rewrite) or variant.rewrite
    if isinstance(variant.rewrite, Rewrite):
        assert variant.rewrite.decided(slug)[1].value is not True


@pytest.mark.parametrize(("slug", "variant"), [pytest.param(*case, id=f"{case[0]}-{case[1].name}") for case in MUTANTS])
def test_a_mutant_falls_to_each_kind_that_it_names(slug, variant):
    found = refute(STATEMENTS[slug], variant, Context(seed=1), shrink=False)
    assert found.status == "refuted", (found.refuted_by, found.tried, found.undecided)
    for kind in variant.caught_by:
        assert STATEMENTS[slug].measures[kind](found.instance, variant.claim).status == "refuted"
        assert STATEMENTS[slug].measures[kind](found.instance, None).status != "refuted"


@pytest.mark.parametrize(("slug", "dropped"), [pytest.param(s, d, id=f"{s}-{d.name}") for s, d in DROPPED])
def test_an_assumption_is_needed_where_a_pack_says_so(slug, dropped):
    outcome = drop(dropped, Context())
    assert outcome.status == "holds", outcome


@pytest.mark.parametrize("slug", STATEMENTS)
def test_an_instance_survives_json(slug):
    statement = STATEMENTS[slug]
    for instance in islice(instances_of(statement), 3):
        document = json.loads(json.dumps(instance.as_json()))
        assert statement.instance_type.from_json(document) == instance
        with pytest.raises(InputError):
            statement.instance_type.from_json({**document, "nothing": 1})
        with pytest.raises(InputError):
            statement.instance_type.from_json({})


def instances_of(statement):
    """Counterexamples of mutants: instances that a run writes to files."""
    for variant in statement.variants[:3]:
        yield refute(statement, variant, Context(seed=2), shrink=False).instance


@pytest.mark.parametrize("slug", STATEMENTS)
def test_the_evidence_of_a_pack_holds(slug):
    statement = STATEMENTS[slug]
    # Mutants are refuted one by one above.
    rows = [check.run(Context(seed=3)) for check in all_checks(statement) if check.kind != "variants"]
    assert {row.status for row in rows} <= {"holds", "not-run"}, [row for row in rows if row.status != "holds"]
    assert {"symbolic", "exact", "float", "property", "assumptions"} <= {
        row.kind for row in rows if row.status == "holds"
    }
    assert all(row.kind == "kernel" for row in rows if row.status == "not-run")


@pytest.mark.parametrize("slug", STATEMENTS)
def test_a_pack_is_a_command(slug, in_process):
    done = in_process("verify", slug, "--only", "assumptions", "--json", "-")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["statements"]
    assert (found["slug"], found["theorem"], found["verdict"]) == (slug, None, "holds")


def test_statements_are_chosen_by_slug_or_number(in_process):
    done = in_process("verify", "verify", "byol-update", "2", "--only", "assumptions", "--json", "-")
    assert [one["slug"] for one in json.loads(done.stdout)["statements"]] == ["byol-update", "contrastive-losses"]
    done = in_process("verify", "verify", "byol")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: statement='byol': must be one of dual-gradient")


def test_a_report_of_packs_names_commands_that_run_them(in_process, tmp_path):
    done = in_process("verify", "byol-update", "--only", "assumptions", "--report", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["statements"][0]["slug"] == "byol-update"
    page = (tmp_path / "out" / "index.html").read_text()
    assert "python -m verify byol-update --only assumptions" in page
    assert "Statements of other papers" in page
