"""Verdicts are drawn from evidence that ran; an empty comparison never passes."""

import math

import pytest

from verify.engine.evidence import Evidence, Measurement, tally, verdict


def test_nan_refutes():
    assert Measurement(math.nan, 1.0).status == "refuted"
    assert Measurement(math.nan, 1.0).severity == math.inf


def test_a_tolerance_that_is_no_bound_decides_nothing():
    for tolerance in (math.inf, math.nan, -1.0):
        assert Measurement(0.0, tolerance).status == "abstained"
        assert Measurement(math.nan, tolerance).status == "abstained"


def test_exact_zero_tolerance():
    assert Measurement(0.0, 0.0).status == "holds"
    assert Measurement(5e-324, 0.0).status == "refuted"


def test_an_empty_list_abstains():
    assert tally("exact", "toy", [], lambda _: Measurement(0, 0), at_least=1).status == "abstained"


def test_too_few_decided_instances_abstain():
    found = tally("float", "toy", range(10), lambda i: Measurement(0, 1, decided=i == 0), at_least=2)
    assert (found.status, found.instances, found.abstained) == ("abstained", 1, 9)
    assert "only 1 of at least 2" in found.detail


def test_the_first_refutation_is_kept_with_its_instance():
    found = tally("float", "toy", range(10), lambda i: Measurement(i, 3.5), at_least=1)
    assert (found.status, found.counterexample, found.worst_residual) == ("refuted", 4, 4)


def test_worst_is_the_one_nearest_its_own_tolerance():
    cases = [Measurement(1e-3, 1.0), Measurement(1e-9, 1.1e-9), Measurement(0.5, 10.0)]
    found = tally("float", "toy", cases, lambda m: m, at_least=3)
    assert (found.worst_residual, found.tolerance) == (1e-9, 1.1e-9)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "not-run"], "holds"),
        (["not-run"], "abstained"),
        ([], "abstained"),
        (["holds", "abstained"], "abstained"),
        (["abstained", "refuted", "holds"], "refuted"),
    ],
)
def test_verdict(statuses, expected):
    assert verdict([Evidence("exact", status) for status in statuses]) == expected


def test_json_has_no_nan():
    row = Evidence("float", "refuted", worst_residual=math.nan, tolerance=math.inf).as_json()
    assert (row["worst_residual"], row["tolerance"]) == ("nan", "inf")
