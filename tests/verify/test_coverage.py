"""What a run tried is said in words, and the default strategies reach what a theorist's error may hide in."""

import dataclasses
import itertools
import random
from dataclasses import dataclass
from fractions import Fraction

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import hltm
from verify import (
    JsonInstance,
    LossInstance,
    Measurement,
    PairInstance,
    PopulationInstance,
    TreeInstance,
    user_statement,
)
from verify import strategies as own
from verify.engine.cluster import merged
from verify.engine.coverage import Coverage
from verify.engine.evidence import Evidence, tally
from verify.engine.search import property_evidence, search
from verify.engine.statement import Context
from verify.instances.instance import LossInstance as OneLoss
from verify.own.statement import draw_instances

FINE = hypothesis.settings(database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))


def numbers_of(value):
    return [n for item in value for n in numbers_of(item)] if isinstance(value, tuple) else [value]


def on_grid(numbers):
    return all(8 * number % 1 == 0 for number in numbers)


def spanned(instances):
    coverage = Coverage()
    for instance in instances:
        coverage.add(instance)
    return coverage.text()


# Where an error may hide, for populations with InfoNCE.
CORNERS = {
    "three layers": lambda i: len(i.weights) >= 3,
    "four layers": lambda i: len(i.weights) == 4,
    "width 4": lambda i: max(len(w) for w in i.weights) >= 4,
    "four points": lambda i: len(i.points) >= 4,
    "four augmentations": lambda i: len(i.points[0]) >= 4,
    "leaky": lambda i: 0 < i.slope < 1,
    "three negatives": lambda i: i.negatives >= 3,
    "generic": lambda i: not any(on_grid([n]) for n in numbers_of(i.weights) if n) and any(numbers_of(i.weights)),
    "grid": lambda i: on_grid(numbers_of((i.weights, i.points, i.slope))),
    "a zero": lambda i: 0 in numbers_of((i.weights, i.points)),
    "generic, a zero": lambda i: 0 in numbers_of((i.weights, i.points)) and not on_grid(numbers_of(i.weights)),
    "whole": lambda i: all(n % 1 == 0 for n in numbers_of((i.weights, i.points))),
    "equal points": lambda i: len({row for point in i.points for row in point}) < len(i.points) * len(i.points[0]),
    "uneven": lambda i: len({*i.point_weights}) > 1 and len(i.points) > 1,
}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_default_populations_reach_every_corner_in_the_quick_profile(seed):
    """100 instances of the search and 40 drawn ones, as in a statement of a user's own."""
    strategy = own.population_instances(("infonce",))
    searched = draw_instances(strategy, 100, seed)
    drawn = draw_instances(strategy, 40, seed + 1)
    assert (len(searched), len(drawn)) == (100, 40)
    for name, corner in CORNERS.items():
        assert any(map(corner, searched)), name
    assert 30 < sum(map(CORNERS["grid"], searched)) < 75
    terms = [
        len(i.points) * len(i.points[0]) ** 2 * (len(i.points) * len(i.points[0])) ** i.negatives for i in searched
    ]
    assert max(terms) <= own.TERM_LIMIT
    assert sum(len(i.weights) <= 2 and len(i.points) <= 3 for i in searched) > 30  # most stay small


def test_an_error_in_a_corner_is_found_by_a_statement_with_default_strategies():
    name = "four points"

    def theory(i, at):
        return at.array(i.weights[0]) * (2 if CORNERS[name](i) and any(numbers_of(i.weights[0])) else 1)

    statement = user_statement(
        title="a corner", claim="w = w", theory=theory, numeric=lambda i, at: at.array(i.weights[0]),
        strategy=PopulationInstance, variants={"twice": lambda i, at: 2 * at.array(i.weights[0])},
    )  # fmt: skip
    (check,) = [check for check in statement.checks if check.kind == "property"]
    found = check.run(Context(seed=5))
    assert found.status == "refuted"
    assert CORNERS[name](found.counterexample)
    assert on_grid(numbers_of(found.counterexample.weights))
    assert np.count_nonzero(numbers_of(found.counterexample.weights)) == 1


def test_without_the_error_it_holds_and_says_what_it_saw():
    statement = user_statement(
        title="no corner", claim="w = w", theory=lambda i, at: at.array(i.weights[0]) / 3,
        numeric=lambda i, at: at.array(i.weights[0]) * (1 / 3), strategy=own.population_instances(("infonce",)),
        variants={"twice": lambda i, at: 2 * at.array(i.weights[0])},
    )  # fmt: skip
    rows = {check.kind: check.run(Context()) for check in statement.checks}
    assert {row.status for row in rows.values()} == {"holds"}
    text = rows["property"].coverage
    for part in ("100 instances: 1 to 4 layers, widths 1 to 6, 1 to 5 points, 1 to 4 augmentations", "slope 0 to 1",
                 "H 1 to 4", "numbers in [-3, 3]", "on a grid of 1/8 in", "generic floats in", "zeros in", "ties in"):  # fmt: skip
        assert part in text
    assert rows["property"].as_json()["coverage"] == text
    assert rows["float"].coverage.startswith("40 instances: ")


def test_generic_numbers_have_full_mantissas_and_shrink_to_the_grid():
    seen = []
    search(own.matrices(3, 3), lambda m: seen.append(m) or Measurement(0.0, 0.0), examples=100, seed=0, shrink=False)
    generic = [n for m in seen for n in numbers_of(m) if not on_grid([n])]
    assert 100 < len(generic) < 500
    assert len({*generic}) > 100
    assert sum(n * 2**44 % 1 != 0 for n in generic) > len(generic) / 2  # more than 44 bits behind the point
    largest = [max(map(abs, numbers_of(m))) for m in seen]
    assert max(largest) <= 24
    assert 3 <= sum(size > 3 for size in largest) < 30  # a clip at 3 is seen
    found = hypothesis.find(
        own.matrices(2, 2), lambda m: not on_grid(numbers_of(m)), settings=FINE, random=random.Random(0)
    )
    assert len([n for n in numbers_of(found) if n]) == 1
    bigger = hypothesis.find(own.numbers(0, 5), lambda x: x > 1.3, settings=FINE, random=random.Random(0))
    assert bigger == 2


@pytest.mark.parametrize(("low", "high"), [(-3, 3), (0.5, 2), (-2, -0.5)])
def test_numbers_keep_to_their_range(low, high):
    seen = draw_instances(own.numbers(low, high), 100, 3)
    assert all(low <= x <= high for x in seen)
    assert 5 < sum(map(on_grid, ([x] for x in seen))) < 80


def test_noise_keeps_zeros_order_and_in_a_third_of_cases_ties():
    value = (0.0, 1.0, 1.0, -1.0, 2.5)
    for noise in range(own.ON_GRID):
        assert own.generic(noise)(value) is value
        assert own.generic_parts(noise)((0.5, 0.5)) == (0.5, 0.5)
    for noise in range(own.ON_GRID, 2 * own.ON_GRID):
        zero, one, other, minus, most = moved = own.generic(noise)(value)
        assert moved == own.generic(noise)(value)
        assert minus < zero == 0 < max(one, other) < most
        assert all(abs(old) - 0.125 < abs(new) <= abs(old) for new, old in zip(moved, value, strict=True) if old)
        if noise % 3 == 1:
            assert one == other == -minus
        parts = own.generic_parts(noise)((0.25, 0.25, 0.5))
        assert min(parts) > 0
        assert sum(map(Fraction, parts)) == 1


@pytest.mark.parametrize("kind", [PairInstance, PopulationInstance, LossInstance, TreeInstance])
def test_generic_instances_are_allowed_and_read_back(kind):
    strategy = own.tree_instances() if kind is TreeInstance else st.from_type(kind)
    instances = draw_instances(strategy, 60, 4)
    assert (
        sum(not on_grid(numbers_of(tuple(v for v in numbers_of(plain(i)) if isinstance(v, float)))) for i in instances)
        > 5
    )
    for instance in instances:
        assert kind.from_json(instance.as_json()).as_json() == instance.as_json()


def plain(instance):
    return tuple(
        getattr(instance, f.name) for f in dataclasses.fields(instance) if f.name not in ("tree", "parameters")
    )


def test_trees_have_generic_tables_that_sum_to_one_exactly():
    seen = draw_instances(own.trees(), 60, 1)
    tables = [[*row] for tree in seen for edge in tree.edges for row in np.asarray(tree.transition(*edge), dtype=float)]
    assert all(sum(map(Fraction, row)) == 1 and min(row) >= 0 for row in tables)
    assert any(not on_grid([16 * p for p in row]) for row in tables)


def test_most_instances_of_a_search_are_drawn_independently():
    """Hypothesis repeats the sizes of an instance in the next ones from the eleventh on."""
    sizes = [len(i.points) for i in draw_instances(own.population_instances(), 100, 7)]
    repeated = sum(a == b for a, b in itertools.pairwise(sizes))
    assert repeated < 60


def test_a_search_tries_what_it_is_asked_to_and_no_instance_twice():
    seen = []
    strategy = st.integers(0, 10**6)
    result = search(strategy, lambda n: seen.append(n) or Measurement(0.0, 0.0), examples=73, seed=0, shrink=False)
    assert result.tried == len(seen) == len({*seen}) == 73
    few = search(st.sampled_from("abc"), lambda n: Measurement(0.0, 0.0), examples=50, seed=0, shrink=False)
    assert few.tried == 3
    unhashable = search(st.lists(st.integers()), lambda n: Measurement(0.0, 0.0), examples=40, seed=0, shrink=False)
    assert unhashable.tried == 40


def test_a_quarter_of_the_instances_is_small():
    """What is rare among large instances can be common among small ones."""
    seen = []
    small, large = st.integers(0, 9), st.integers(0, 10**9)
    result = search(
        large,
        lambda n: seen.append(n) or Measurement(0.0, 0.0),
        examples=100,
        seed=0,
        shrink=False,
        smaller=[small, small],
    )
    assert result.tried == len(seen) == len(set(seen)) == 100
    assert all(n < 10 for n in seen[:10])
    assert sum(n < 10 for n in seen) < 26


def test_a_rare_counterexample_of_a_late_batch_is_found_again_and_shrunk():
    rare = {n for n in range(10**6) if n % 97 == 5}
    result = property_evidence(
        {"float": lambda n: Measurement(float(n in rare), 0.0)}, [lambda: st.integers(0, 10**6)],
        examples=200, seed=3, among="integers",
    )  # fmt: skip
    assert result.status == "refuted"
    assert result.counterexample in rare
    assert result.instances > 50


# The words of coverage.


@dataclass(frozen=True)
class Mine(JsonInstance):
    count: int
    scale: float
    name: str
    flag: bool
    table: tuple[tuple[float, ...], ...]
    vector: tuple[float, ...] = ()


def test_fields_of_a_dataclass_of_ones_own():
    instances = [Mine(n, 0.5 * n, "ab"[n % 2], n > 3, ((1.0, 2.0),) * n, (0.125,)) for n in range(1, 7)]
    assert spanned(instances) == (
        "6 instances: table 1 to 6 x 2, vector of 1 entry, count 1 to 6, scale 0.5 to 3, name a and b, "
        "flag False and True, numbers in [0.125, 2] on a grid of 1/8"
    )


@pytest.mark.parametrize(
    ("instances", "words"),
    [
        ([Mine(1, 0.0, "a", True, ((1.0,),))], "numbers in [1, 1] whole, zeros in 1"),
        ([Mine(1, 1.0, "a", True, ((0.1, 0.1),))], "numbers in [0.1, 0.1] generic floats, ties in 1"),
        ([Mine(1, 2.0**-10, "a", True, ())], "numbers on a grid of 2^-20"),
        ([Mine(10**400, float("nan"), "x" * 99, True, ((float("inf"), 1.0),))], "count about 10^400"),
        ([Mine(1, 1.0, "a", True, (("no",), (None,)))], "1 instance: vector of 0 entries, count 1"),
        ([object(), 3, None, "text", {"a": 1}], "5 instances"),
        ([OneLoss("infonce", (("negatives", n), ("tau", 1.0)), 0.0, (0.5,) * n) for n in (1, 2, 3)], "H 1 to 3"),
        ([hltm.star_tree(3, polarity=0.5)], "1 instance: 4 nodes, 3 leaves, 2 states"),
        ([], ""),
    ],
)
def test_odd_instances_are_summarised_as_far_as_they_are_known(instances, words):
    text = spanned(instances)
    assert words in text if words else text == ""
    assert len(text.splitlines()) <= 1
    assert len(text) < 300


def test_only_decided_instances_count():
    instances = [Mine(n, 1.0, "a", True, ()) for n in range(10)]
    row = tally("float", "toy", instances, lambda i: Measurement(0.0, 1.0, decided=i.count < 3), at_least=1)
    assert row.coverage.startswith("3 instances: ")
    assert "count 0 to 2" in row.coverage
    assert Evidence("float", "holds").coverage == ""
    assert "coverage" not in Evidence("float", "holds").as_json()


def test_parts_of_a_search_are_merged():
    first, second = ([Mine(n, 1.0, "a", True, ((1.0 / n,),)) for n in numbers] for numbers in (range(1, 8), (8, 3)))
    rows = [tally("property", "search", part, lambda i: Measurement(0.0, 0.0), at_least=1) for part in (first, second)]
    text = merged(rows).coverage
    assert text == spanned([*first, *second])
    assert text.startswith("9 instances: ")
    assert "count 1 to 8" in text
    assert rows[0].coverage.startswith("7 instances: ")  # the parts are as they were


def test_few_instances_are_searched_to_the_end():
    seen = []
    few = st.integers(1, 50)
    search(few, lambda n: seen.append(n) or Measurement(0.0, 0.0), examples=100, seed=0, shrink=False)
    assert sorted(seen) == list(range(1, 51))
