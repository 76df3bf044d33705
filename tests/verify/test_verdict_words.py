"""Words of verdicts: refuted needs a counterexample, a weak check says so, mutants and tolerances have their names."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import strategies as st

from hltm.base.errors import InputError
from verify import Assumption, Context, JsonInstance, Variant, Without, user_statement
from verify.commands import EXIT
from verify.engine.assumptions import Sides, drop, evidence
from verify.engine.evidence import verdict
from verify.engine.runner import refute, variants_summary
from verify.report.documents import variants_line


@dataclass(frozen=True)
class Point(JsonInstance):
    x: float


POINTS = st.builds(Point, st.integers(-40, 40).map(lambda n: n / 8))


def square(i, at):
    return at.array(i.x) ** 2


def again(i, at):
    return at.array(i.x) * at.array(i.x)


def more(i, at):
    return square(i, at) + 1


def statement(variant=more, **options):
    return user_statement(
        **{"title": "a square", "claim": "x^2", "theory": square, "numeric": again, "strategy": POINTS,
           "variants": {"r": variant}, **options},
    )  # fmt: skip


def search(own):
    """What the search for a counterexample to the only mutant says."""
    return refute(own, own.variants[0], Context(), shrink=False, examples=20)


def test_a_mutant_that_is_true_shows_a_weak_check_and_refutes_nothing():
    own = statement(lambda i, at: at.array(i.x) ** 2)
    row = search(own)
    assert (row.status, row.tried) == ("survived", 40)
    found = variants_summary(own, (row,))
    assert (found.status, found.variant) == ("abstained", "r")
    assert re.match(r"check too weak: the mutant 'r' survives float; none of \d+ instances refutes it$", found.detail)
    assert EXIT[verdict([found])] == 3
    assert variants_line([row]) == "1 mutant: 1 survives: r (check too weak)"


def test_a_mutant_that_raises_is_named():
    with pytest.raises(InputError, match=r"^statement 'a-square', variant 'r' at instance \{.*\}: ZeroDivisionError"):
        search(statement(lambda i, at: 1 / 0))


def test_a_mutant_that_draws_or_is_narrow_is_named():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"variant 'r' at instance .*: gives another result when it is asked again"):
        search(statement(lambda i, at: square(i, at) + rng.normal(size=())))


def test_a_side_that_raises_is_named():
    with pytest.raises(InputError, match=r"^statement 'a-square', theory side at instance"):
        float_evidence_of(statement(theory=lambda i, at: 1 / 0))


def float_evidence_of(own):
    (check,) = [check for check in own.checks if check.kind == "float"]
    return check.run(Context())


@pytest.mark.parametrize(
    "nothing",
    [
        lambda i, at: square(i, at) * np.nan,
        lambda i, at: {"": np.full((), np.nan)},
        lambda i, at: np.sqrt(-1 - square(i, at)),
    ],
    ids=["times nan", "a constant", "a root"],
)
def test_a_mutant_without_numbers_is_refused(nothing):
    with pytest.raises(InputError, match=r"^variant 'r' of statement 'a-square': is NaN on all 40 instances, must be"):
        search(statement(nothing))


def test_a_mutant_that_is_nan_somewhere_is_refuted_by_numbers_elsewhere():
    row = search(statement(lambda i, at: np.where(at.array(i.x) < 1, np.nan, 2 * square(i, at))))
    assert row.status == "refuted"
    assert row.instance.x >= 1
    assert row.apart.recognised.startswith("1/2")


def test_a_mutant_that_is_infinite_is_refuted():
    row = search(statement(lambda i, at: square(i, at) + np.inf))
    assert row.status == "refuted"
    assert row.apart.texts[0] == "inf"


def test_a_mutant_of_the_general_form_has_its_name_too():
    own = statement(variants=[Variant("raises", "what", lambda i, at: [][0], ("float",))])
    with pytest.raises(InputError, match="variant 'raises' at instance"):
        search(own)


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "tolerance measured"), ({"tolerance": 1e-9}, "tolerance as given"), ({"tolerance": lambda i: 1e-9}, "tolerance as given")],
    ids=["measured", "a number", "a function"],
)  # fmt: skip
def test_a_given_tolerance_is_not_measured(options, words):
    assert float_evidence_of(statement(**options)).detail.endswith(words)


def dropped(**options):
    own = statement(drops={"x": Without("any x", POINTS, **options)})
    return drop(own.drops[0], Context()), evidence(own.drops, Context())


def test_an_assumption_that_is_not_shown_necessary_refutes_nothing():
    outcome, row = dropped()
    assert (outcome.finding, outcome.status, row.status) == ("not shown necessary", "abstained", "abstained")
    assert "without 'x': not shown necessary (it may not be needed, or the instances do not break it)" in row.detail
    assert outcome.as_json()["expected"] == "necessary"
    outcome, row = dropped(necessary=False)
    assert (outcome.finding, outcome.status, row.status) == ("not shown necessary", "holds", "holds")


def test_a_counterexample_where_none_was_expected_refutes_with_its_numbers():
    own = user_statement(
        title="a root", claim="x", theory=lambda i, at: at.array(i.x), numeric=lambda i, at: np.sqrt(again(i, at)),
        strategy=st.builds(Point, st.integers(0, 40).map(float)), variants={"r": more},
        drops={"x >= 0": Without("any x", POINTS, necessary=False)},
    )  # fmt: skip
    row = evidence(own.drops, Context())
    assert row.status == "refuted"
    assert re.search(r"a counterexample where none was expected \(theory and numeric: -0\.125 != 0\.125\)", row.detail)


@pytest.mark.parametrize(
    ("tries", "fragment"),
    [
        (lambda c: None, "gives None, must give Sides one after the other"),
        (lambda c: [1], "gives 1, must give Sides"),
        (lambda c: [Sides("i", "q", "1", "2")], "must be numbers of one kind"),
        (lambda c: [Sides("i", "q", np.ones(2), np.ones(2))], "must be numbers of one kind"),
    ],
)
def test_what_an_assumption_tries_must_be_sides(tries, fragment):
    with pytest.raises(InputError, match=f"^assumption 'a': tries .*{fragment}"):
        drop(Assumption("a", "b", tries), Context())
