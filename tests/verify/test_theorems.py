"""The statements as a whole: what each consists of, and that breaking a formula in either package turns a run red."""

from dataclasses import replace

import pytest
import torch

import numeric
import theory
from verify import theorem1, theorem2, theorem3, theorem4
from verify.engine import runner
from verify.engine.evidence import verdict
from verify.engine.runner import run
from verify.engine.statement import Context
from verify.instances import samples
from verify.instances.instance import LossInstance
from verify.registry import REGISTRY, entry
from verify.towers import assumptions, autograd, residue
from verify.towers.residue import NETWORKS, operator_form_gap

STATEMENTS = [e.load() for e in REGISTRY]


def test_registry_lists_all_seven():
    assert [e.theorem for e in REGISTRY] == list(range(1, 8))
    for e in REGISTRY:
        statement = e.load()
        assert (statement.slug, statement.theorem) == (e.slug, e.theorem)
        assert entry(e.slug) is entry(str(e.theorem)) is entry(f"theorem{e.theorem}")


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: s.slug)
def test_statements_say_what_they_assume_and_leave_out(statement):
    assert statement.assumptions
    assert statement.not_covered
    assert "2010.00578" in statement.source
    assert {"symbolic", "exact", "float", "property"} <= {check.kind for check in statement.checks}
    assert {"exact", "float"} <= set(statement.measures) <= {"exact", "float", "trained"}


NIGHTLY = [("dual-gradient", 1), ("dual-gradient", 2), ("contrastive-losses", 2), ("contrastive-losses", 3)]


@pytest.mark.parametrize(
    ("slug", "seed"),
    [("contrastive-losses", 1), *(pytest.param(*case, marks=pytest.mark.nightly) for case in NIGHTLY)],
)
def test_statements_hold_at_other_seeds(slug, seed):
    (result,) = run([entry(slug)], Context(seed=seed))
    assert result.verdict == "holds", [e for e in result.evidence if e.status != "holds"]


@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(3, 31), marks=pytest.mark.nightly)])
def test_the_order_of_theta_is_certified_at_every_seed(seeds):
    """The coefficients are enclosed, so that no seed can be unlucky: theta may cross zero or be tiny at any spread."""
    for seed in seeds:
        result = theorem4.certified_orders(Context(seed=seed))
        assert result.status == "holds", f"seed {seed}: {result.detail}"


@pytest.mark.nightly
def test_the_order_of_theta_is_certified_in_the_thorough_profile():
    assert theorem4.certified_orders(Context(seed=0, profile="thorough")).status == "holds"


def test_theta_between_unaugmented_points_has_a_first_order():
    claim = theorem4.Claim(distances="points")
    cases = list(samples.toy_populations(3, 12, theorem4.LOSSES, augmentations=2, layers=2, points=2))
    found = [theorem4.measure_exact(case, claim) for case in cases]
    refuted = [m for m in found if m.status == "refuted"]
    assert len(refuted) >= 8
    assert all("s^1" in m.detail for m in refuted)


def test_tolerances_that_overflow_decide_nothing():
    base = next(iter(samples.toy_pairs(1, 1)))
    for huge in (1e150, 1e300):
        case = replace(base, weights_1=(((huge, huge),), ((huge,),)), weights_2=(((1.0, 1.0),), ((1.0,),)),
                       x_1=(1.0, 2.0), x_2=(1.0, 1.0))  # fmt: skip
        assert theorem1.measure_float(case).status != "refuted"
        assert theorem1.measure_exact(case).status == "holds"


@pytest.mark.parametrize("margin", [-5.0, -0.5, 0.0, 2.0])
@pytest.mark.parametrize("tau", [1e-300, 1e-4, 0.1, 10.0])
def test_statement_2_at_the_edges(margin, tau):
    case = LossInstance("triplet", (("margin", margin), ("tau", tau)), 1.0, (1.0,))
    assert theorem2.measure_exact(case).status != "refuted"
    assert theorem2.measure_float(case).status != "refuted"


def test_many_negatives_are_left_to_floating_point():
    base = next(iter(samples.toy_populations(1, 1, ("infonce",), augmentations=1)))
    case = replace(base, parameters=(("negatives", 30), ("tau", 1.0)))
    found = theorem4.measure_exact(case)
    assert found.status == "abstained"
    assert "terms" in found.detail


def test_theory_and_numeric_meet_on_the_losses(monkeypatch):
    import numeric.towers.losses

    assert theorem2.meeting(Context(seed=5)).status == "holds"
    true = numeric.towers.losses.pair_weight
    monkeypatch.setattr(numeric, "pair_weight", lambda *a: 1.000001 * true(*a), raising=False)
    assert theorem2.meeting(Context(seed=5)).status == "refuted"


@pytest.mark.parametrize("source", ["toy", "tree", "digits"])
def test_statements_3_and_4_on_every_source(source):
    for module in (theorem3, theorem4):
        found = module.floats(source, Context(seed=11))
        assert found.status == "holds", found
        assert found.instances > 0
    assert theorem4.augmented(source, Context(seed=11)).status == "holds"


@pytest.mark.parametrize(("distances", "order"), [("means", 2), ("points", 1)])
def test_orders_of_the_residue(distances, order):
    assert theorem4.orders(distances, order, "toy", Context(seed=3)).status == "holds"
    assert theorem4.orders(distances, 3 - order, "toy", Context(seed=3)).status == "refuted"


def test_order_fits_abstain_without_enough_populations():
    found = residue.fitted_order([], "means", 2, source="toy", wanted=3, device="cpu")
    assert found.status == "abstained"


def test_a_flipping_gate_is_not_fitted():
    base = next(iter(samples.smooth_populations(0, 1, ("infonce",))))
    flipping = replace(
        base, slope=0.0, weights=(((1.0, 0.0, 0.0, 0.0),), ((1.0,),)),
        points=(((1e-6, 0.0, 0.0, 0.0), (-1.0, 0.0, 0.0, 0.0)), ((1.0, 0.0, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0))),
    )  # fmt: skip
    assert residue.residues(flipping, "means", "cpu", residue.operator_sides) is None


def test_the_pair_form_refuses_what_does_not_fit():
    digits = next(iter(samples.digit_populations(0, 1, ("infonce",), images=2, augmentations=2)))
    big = replace(digits, points=tuple((digits.points[0][0],) * 1500 for _ in range(2)))
    with pytest.raises(ValueError, match="triples"):
        autograd.measure(big)


def test_theorem_1_fails_where_it_must():
    instances = assumptions.pairs(4, 4)
    for network in assumptions.SOUND:
        assert all(assumptions.measure(network, i, "cpu").status == "holds" for i in instances), network.name
    for network in assumptions.BROKEN:
        assert max(assumptions.measure(network, i, "cpu").severity for i in instances) > 1e6, network.name


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.name)
def test_general_networks_refute_the_operator_form(network):
    populations = list(samples.smooth_populations(2, 3, ("simple",)))
    assert max(operator_form_gap(network, i, "cpu") for i in populations) > 1e6


def broken_kron(factors_of):
    """Connections whose Jacobian is transposed in the square case, scaled otherwise: a bug in `numeric`."""

    def broken(*args, **kwargs):
        return [replace(f, jacobian=f.jacobian * 1.001) for f in factors_of(*args, **kwargs)]

    return broken


def test_a_bug_in_the_connections_turns_the_run_red(monkeypatch):
    import numeric.towers.connection

    monkeypatch.setattr(
        numeric, "connection_factors", broken_kron(numeric.towers.connection.connection_factors), raising=False
    )
    autograd.pair_sides.cache_clear()
    try:
        found = theorem1.floats("toy", Context())
    finally:
        autograd.pair_sides.cache_clear()
    assert found.status == "refuted"
    assert found.counterexample is not None


def test_a_bug_in_the_operator_turns_the_run_red(monkeypatch):
    import numeric.towers.operator

    true = numeric.towers.operator.predicted_update
    monkeypatch.setattr(numeric, "predicted_update", lambda *a, **k: [1.0001 * u for u in true(*a, **k)], raising=False)
    assert theorem3.floats("toy", Context()).status == "refuted"
    assert theorem3.floats("digits", Context()).status == "refuted"
    assert theorem4.floats("toy", Context()).status == "refuted"
    assert theorem4.orders("means", 2, "toy", Context()).status == "refuted"


def test_a_derivation_that_is_not_proved_does_not_hold(monkeypatch):
    true = theory.derive("covariance-operator")
    for value, expected in ((False, "refuted"), (None, "abstained")):
        decision = replace(true.decision, value=value, method="numeric point")
        false = replace(true, read=lambda claim, _found=decision: _found)
        assert not false.proved
        monkeypatch.setattr(theory, "derive", lambda *a, _d=false, **k: _d, raising=False)
        found = runner.proof_evidence("covariance-operator", [{}])
        assert found.status == expected
        assert verdict([found]) == expected


def test_worst_case_temperatures_have_no_nan():
    """tau down to 1e-4, distances of digits: finite updates on both sides."""
    digits = next(iter(samples.digit_populations(0, 1, ("infonce",), images=6, augmentations=2)))
    for loss in ("infonce", "triplet"):
        case = replace(digits, loss=loss, parameters=(("tau", 1e-4),))
        weights, population = residue.weights_of(case), residue.population_of(case)
        for update in (
            numeric.population_gradient(weights, population, loss, case.slope, tau=1e-4),
            numeric.predicted_update(weights, population, loss, case.slope, tau=1e-4),
        ):
            assert all(bool(torch.isfinite(u).all()) for u in update)
        assert autograd.measure(case).status == "holds"
