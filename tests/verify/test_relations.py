"""Evidence from the derived relation: it holds as it stands, and turns red for every false relation that has values."""

import pytest

from theory import derive
from verify.engine.statement import Context
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


def test_a_derivation_that_proves_a_false_relation_too_is_refuted(monkeypatch):
    from dataclasses import replace

    import theory
    from verify.engine import runner

    true = derive("covariance-operator")
    assert "none proves a false relation" in runner.proof_evidence("covariance-operator", [{}]).detail
    blind = replace(true, read=lambda claim, _found=true.decision: _found)
    monkeypatch.setattr(theory, "derive", lambda *_, **__: blind, raising=False)
    found = runner.proof_evidence("covariance-operator", [{}])
    assert found.status == "refuted"
    assert found.detail == "as stated: proves the false relation 'times 7' too"
