"""Evidence from the derived relation: it holds as it stands, and turns red for every false relation that has values.

The mutants of the statements are rewrites of it: no derivation proves one, and numbers refute them.
"""

import re
from dataclasses import replace

import pytest

import theory
from theory import derive
from verify.engine import rewrites, runner
from verify.engine.rewrites import Rewrite
from verify.engine.statement import Context, Variant
from verify.registry import REGISTRY
from verify.towers import relations as towers
from verify.towers.values import compared
from verify.trees import relations as trees
from verify.two_layer import relations as two_layer

CHECKS = {
    "dual-gradient": (towers, towers.pairs, "rational"),
    "contrastive-losses": (towers, towers.losses, "ball"),
    "covariance-operator": (towers, towers.simple, "rational"),
    "weighted-covariance-operator": (towers, towers.weighted, "ball"),
    "two-layer-dynamics, block": (two_layer, two_layer.block, "rational"),
    "two-layer-dynamics, decoupled": (two_layer, two_layer.decoupled, "rational"),
    "activation-covariance": (trees, trees.activations, "rational"),
    "lucky-nodes": (trees, trees.gaps, "rational"),
}
KINDS = ("exact", "float")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CHECKS)
def test_the_derived_relation_holds(name, kind):
    _, check, exact = CHECKS[name]
    for seed in (0, 1):
        found = check(exact if kind == "exact" else "float64", Context(seed=seed))
        assert (found.kind, found.source, found.status) == (kind, "claim", "holds")
        assert found.abstained in (0, *range(1, found.instances + 1))
        kept, total = (int(word) for word in found.detail.split("; ")[1].split() if word.isdigit())
        assert 0 < kept <= total


def wrong_claims(slug, roles, options):
    """What is compared of every mutant that differs there."""
    claim = derive(slug, **options).claim
    kept = compared(claim, roles)
    for change, mutant in claim.mutants().items():
        wrong = compared(mutant, roles)
        if wrong.relations != kept.relations and len(wrong.relations) == len(kept.relations):
            yield change, wrong


# The statements whose claim does not depend on the instance, with the options that the check takes.
FIXED = [
    ("dual-gradient", towers.PAIR_ROLES, {}, "dual-gradient"),
    ("contrastive-losses", towers.LOSS_ROLES, {"loss": "infonce", "negatives": 2}, "contrastive-losses"),
    ("covariance-operator", towers.SIMPLE_ROLES, {"form": "operator"}, "covariance-operator"),
    ("covariance-operator", towers.SIMPLE_ROLES, {"form": "general"}, "covariance-operator"),
    *[("weighted-covariance-operator", towers.WEIGHTED_ROLES, {"loss": loss, "negatives": 1, "form": form},
       "weighted-covariance-operator") for loss in ("triplet", "infonce") for form in ("operator", "general")],
    ("two-layer-dynamics", two_layer.ROLES, {"claim": "block"}, "two-layer-dynamics, block"),
    ("two-layer-dynamics", two_layer.ROLES, {"claim": "decoupled"}, "two-layer-dynamics, decoupled"),
    ("lucky-nodes", trees.GAP_ROLES, {"claim": "gap"}, "lucky-nodes"),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("slug", "roles", "options", "name"), FIXED)
def test_every_false_relation_that_has_values_turns_red(monkeypatch, slug, roles, options, name, kind):
    module, check, exact = CHECKS[name]
    true, changes = module.claim_of, []
    for change, wrong in wrong_claims(slug, roles, options):
        met = []

        def patched(asked, of, wrong=wrong, met=met, **given):
            whole, kept = true(asked, of, **given)
            met.append(given == options)
            return (whole, wrong) if given == options else (whole, kept)

        monkeypatch.setattr(module, "claim_of", patched)
        # The draws of a seed need not have a loss of these options.
        found = (check(exact if kind == "exact" else "float64", Context(seed=seed)) for seed in range(5))
        assert next(one for one in found if any(met)).status == "refuted", change
        changes.append(change)
    assert changes


@pytest.mark.parametrize("arithmetic", ["rational", "float64"])
def test_false_relations_of_a_tree_turn_red(monkeypatch, arithmetic):
    """Its claim is made for every tree and node: every relation times 7, and turned in sign, one at a time."""
    true, counts = trees.compared, []

    def changed(number, name):
        def patched(claim, roles):
            kept = true(claim, roles)
            wrong = kept.mutants()
            found = wrong.get(f"{name} in relation {number}", wrong.get(name, kept))
            counts.append(found is not kept)
            return found

        return patched

    for number in (1, 2, 3):
        for name in ("times 7", "sign"):
            monkeypatch.setattr(trees, "compared", changed(number, name))
            assert trees.activations(arithmetic, Context()).status == "refuted", (number, name)
    assert all(counts[:2])


def test_a_claim_without_values_is_an_error():
    with pytest.raises(ValueError, match=r"^nothing of the claim .* can be put to numbers$"):
        compared(derive(7, claim="existence").claim, ("gap",))


def test_a_derivation_that_proves_a_false_relation_too_decides_nothing(monkeypatch):
    true = derive("covariance-operator")
    assert "none proves a false relation" in runner.proof_evidence("covariance-operator", [{}]).detail
    blind = replace(true, read=lambda claim, _found=true.decision: _found)
    monkeypatch.setattr(theory, "derive", lambda *_, **__: blind, raising=False)
    found = runner.proof_evidence("covariance-operator", [{}])
    assert found.status == "abstained"
    assert found.detail == "check unsound: as stated: proves the false relation 'times 7' too"


# Mutants of the statements.

STATEMENTS = {entry.slug: entry.load() for entry in REGISTRY}
EVERY = [(slug, variant) for slug, statement in STATEMENTS.items() for variant in statement.variants]
REWRITTEN = [(slug, variant) for slug, variant in EVERY if isinstance(variant.rewrite, Rewrite)]
# What a derivation cannot refute, because it assumes more, knows less, or is about another convention.
NOT_REFUTED = {
    ("covariance-operator", "row-stacking"): "nothing is derived about Vec",
    ("covariance-operator", "dependent-augmentations"): "the derivation assumes",
    ("covariance-operator", "x1-not-augmented"): "the derivation assumes",
    ("weighted-covariance-operator", "third-order"): r"coefficients from s\^2 on are not derived",
    ("two-layer-dynamics", "decoupled-without-decoupling"): "the derivation assumes",
    ("two-layer-dynamics", "factor-two-missing"): "convention 'shared'",
    ("lucky-nodes", "normal-law"): "erfc",
}


def named(pairs):
    return [pytest.param(slug, variant, id=f"{slug}-{variant.name}") for slug, variant in pairs]


def test_every_mutant_is_a_rewrite_or_says_why_not():
    assert len(EVERY) == 65
    assert len(REWRITTEN) == 48
    assert set(NOT_REFUTED) < {(slug, variant.name) for slug, variant in REWRITTEN}
    for slug, variant in EVERY:
        assert isinstance(variant.rewrite, Rewrite) or len(variant.rewrite) > 20, (slug, variant.name)


@pytest.mark.parametrize(("slug", "variant"), named(REWRITTEN))
def test_no_derivation_proves_a_mutant(slug, variant):
    wrong, decision = variant.rewrite.decided(slug)
    derivation = derive(slug, **variant.rewrite.options())
    assert wrong != derivation.claim
    assert derivation.proved
    if decision.value is None:
        assert re.search(NOT_REFUTED[slug, variant.name], decision.detail), decision
    else:
        assert decision.value is False
        assert (slug, variant.name) not in NOT_REFUTED


def numbers_of(slug, variant):
    """The checks that put numbers to what a mutant changes, and what they compare then: module, check, options, claim."""
    options = dict(variant.rewrite.options())
    for of, roles, given, name in FIXED:
        known = given | ({"distances": "means"} if of.startswith("weighted") else {})
        if of != slug or not options.items() <= known.items():
            continue
        claim = derive(slug, **given).claim
        wrong = variant.rewrite.change(claim)
        kept = compared(wrong, roles)
        if kept.relations != compared(claim, roles).relations and len(kept.relations) == len(
            compared(claim, roles).relations
        ):
            yield name, given, kept


COMPARED = [(slug, variant) for slug, variant in REWRITTEN if any(numbers_of(slug, variant))]


def test_what_is_compared_of_the_mutants():
    assert len(COMPARED) >= 15


@pytest.mark.parametrize(("slug", "variant"), named(COMPARED))
def test_numbers_refute_a_mutant(monkeypatch, slug, variant):
    for name, given, wrong in numbers_of(slug, variant):
        module, check, exact = CHECKS[name]
        true = module.claim_of

        def patched(asked, of, given=given, wrong=wrong, true=true, **options):
            whole, kept = true(asked, of, **options)
            return (whole, wrong) if options == given else (whole, kept)

        with monkeypatch.context() as patch:
            patch.setattr(module, "claim_of", patched)
            assert any(check(exact, Context(seed=seed)).status == "refuted" for seed in range(5)), given


def test_a_derivation_that_proves_a_mutant_decides_nothing(monkeypatch):
    statement = STATEMENTS["covariance-operator"]
    true = derive("covariance-operator")
    blind = replace(true, read=lambda claim, _found=true.decision: _found)

    def rows():
        return tuple(runner.Refutation(statement, one, one.caught_by, None, None, 1) for one in statement.variants)

    found = runner.variants_summary(statement, rows())
    assert found.status == "holds"
    assert found.detail.endswith("; of 6 rewrites of a derived claim the derivation refutes 3 and proves none")
    monkeypatch.setattr(rewrites, "derivation_of", lambda *_, **__: blind)
    found = runner.variants_summary(statement, rows())
    assert (found.status, found.detail) == (
        "abstained", "check unsound: the derivation proves the mutant 'factor-two-missing'",
    )  # fmt: skip


def test_a_rewrite_that_changes_nothing_is_an_error():
    with pytest.raises(ValueError, match="changes nothing"):
        rewrites.right(lambda side: side).decided("covariance-operator")


def test_a_variant_of_a_user_needs_no_rewrite():
    assert Variant("sign", "-x", len).rewrite == ""
