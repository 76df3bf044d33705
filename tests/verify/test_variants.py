"""Mutants: each is refuted, by every kind that it names, on a pinned counterexample of at most 2 layers and width 3."""

import json

import pytest

from verify.engine.runner import refutations, refute, variants_evidence
from verify.engine.saved import read_instance
from verify.engine.statement import Context, Variant
from verify.instances import samples
from verify.registry import REGISTRY
from verify.towers.autograd import compare_scheme
from verify.towers.population import simple_loss_gradient
from verify.towers.residue import exponent
from verify.trees.agreement import floats
from verify.trees.lucky import TRAINED_VARIANTS

STATEMENTS = [entry.load() for entry in REGISTRY]
CASES = [(statement, variant) for statement in STATEMENTS for variant in statement.variants]
IDS = [f"{statement.theorem}-{variant.name}" for statement, variant in CASES]


def test_every_statement_has_at_least_four_variants():
    assert [statement.theorem for statement in STATEMENTS] == list(range(1, 8))
    assert all(len(statement.variants) >= 4 for statement in STATEMENTS)
    assert len(set(IDS)) == len(IDS)


def test_there_are_at_least_sixty():
    assert len(CASES) >= 60


@pytest.mark.parametrize(("statement", "variant"), CASES, ids=IDS)
def test_two_independent_kinds_refute_or_it_is_said_why_one_must_do(statement, variant):
    assert set(variant.caught_by) <= set(statement.measures)
    assert len(set(variant.caught_by)) == len(variant.caught_by)
    assert len(variant.caught_by) >= 2 or variant.one_kind
    assert not (variant.one_kind and len(variant.caught_by) >= 2)


def test_a_variant_outside_the_search_says_why_one_kind_must_do():
    assert all(len(v.caught_by) >= 2 or v.one_kind for v in TRAINED_VARIANTS)


# The list of statements that must be rejected, section 8 of the mathematics, and where each of them is.
REQUIRED = {
    "Kronecker order swapped": ("1-kronecker-order", "3-kronecker-order"),
    "row-stacking vec": ("1-row-stacking", "3-row-stacking"),
    "sign of the second tower": ("1-second-tower-sign",),
    "K_2 dropped": ("1-second-tower-dropped",),
    "Jacobian taken after the gate": ("1-jacobian-after-gate",),
    "gate on the top layer": ("1-gate-on-top",),
    "factor 2 missing": (
        "3-factor-two-missing",
        "4-half-for-shared",
        "5-factor-two-missing",
        "6-one-branch-for-shared",
    ),
    "factor 2 doubled": ("3-factor-two-doubled", "4-doubled"),
    "1/2 missing in r": ("1-half-missing",),
    "V[K] for V[Kbar]": ("3-not-averaged", "5-not-averaged"),
    "second moment in place of covariance": ("3-second-moment", "5-second-moment"),
    "unweighted V for V^xi": ("4-unweighted",),
    "xi with the wrong sign": ("4-xi-wrong-sign",),
    "xi with 2r": ("4-xi-of-two-r",),
    "tau inverted": ("4-tau-inverted",),
    "rho for rho^2": ("6-rho-not-squared",),
    "1 - rho_0 for 1 - rho_0^2": ("6-root-not-squared",),
    "one edge of the path left out": ("6-edge-left-out",),
    "s without its 1/2": ("6-s-without-half",),
    "a_mu without rho": ("6-a-without-rho",),
    "J J^T for J^T J": ("6-jacobian-transposed",),
    "even |S| kept in the Walsh form": ("6-walsh-even-sets",),
    "T(S) with even edges": ("6-walsh-even-edges",),
    "first order claimed as second for unaugmented r": ("4-second-order-between-points",),
    "decoupled form without decoupling": ("5-decoupled-without-decoupling",),
    "conservation law with a plus": ("5-conserved-with-plus",),
}


@pytest.mark.parametrize("required", REQUIRED)
def test_what_must_be_rejected_is_among_the_variants(required):
    assert set(REQUIRED[required]) <= set(IDS)


def test_orders_of_theta_on_the_pinned_populations(counterexamples):
    """The float kind that refutes false orders agrees with the true ones on the same populations."""
    for name in ("second-order-between-points", "third-order"):
        _, _, instance = read_instance(counterexamples / f"weighted-covariance-operator--{name}.json")
        assert exponent(instance, "means", 2, "cpu").status == "holds"
        assert exponent(instance, "points", 1, "cpu").status == "holds"


@pytest.mark.parametrize("scheme", ["dependent-augmentations", "x1-not-augmented"])
def test_schemes_by_automatic_differentiation_are_those_of_the_rationals(scheme):
    for instance in samples.toy_populations(5, 6, ("simple",), layers=2):
        exact, _ = simple_loss_gradient(instance, scheme)
        side = [-floats(gradient) for gradient in exact]
        assert compare_scheme(instance, scheme, side, "cpu").status == "holds"


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


def cheap(statement):
    """Statements whose search takes seconds; those of the others runs nightly."""
    return statement.slug in ("contrastive-losses", "two-layer-dynamics")


@pytest.mark.parametrize(
    "statement",
    [pytest.param(s, marks=[] if cheap(s) else pytest.mark.nightly) for s in STATEMENTS],
    ids=[s.slug for s in STATEMENTS],
)
def test_a_true_statement_given_as_a_variant_survives(statement):
    """The search cannot refute what is true: the stated claim survives, and the evidence says so."""
    truth = Variant("truth", "the statement itself", None)
    found = refute(statement, truth, Context(seed=1), shrink=False, examples=30)
    assert found.survived
    assert found.refuted_by == ()
    assert found.tried >= 90


def test_a_survivor_leaves_the_evidence_open():
    from dataclasses import replace

    statement = replace(STATEMENTS[1], variants=(Variant("truth", "the statement itself", None),))
    evidence = variants_evidence(statement, Context(seed=1))
    assert evidence.status == "abstained"
    assert evidence.variant == "truth"
    assert evidence.detail.startswith("check too weak: the mutant 'truth' survives exact, float")


def test_what_is_found_does_not_depend_on_the_number_of_processes():
    entries = [entry for entry in REGISTRY if entry.theorem == 2]
    alone, shared = (list(refutations(entries, Context(seed=2), workers=workers)) for workers in (1, 2))
    assert [row.variant.name for row in alone] == [variant.name for variant in STATEMENTS[1].variants]
    assert shared == alone
    assert not any(row.survived for row in shared)


def test_counterexamples_are_plain_data(counterexamples):
    for path in counterexamples.glob("*.json"):
        document = json.loads(path.read_text())
        assert set(document) == {"schema", "statement", "variant", "seed", "found", "instance"}
