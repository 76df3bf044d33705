"""Search and shrinking: planted bugs are found, and what is found is small."""

import pytest

from verify import theorem1, theorem3
from verify.engine.evidence import Measurement
from verify.engine.search import deepening, property_evidence, search

PLANTED = {
    "the second layer is wrong": lambda i: len(i.weights_1) >= 2,
    "a leaky slope is wrong": lambda i: 0 < i.slope < 1,
    "width three is wrong": lambda i: i.size[1] >= 3,
    "a negative weight is wrong": lambda i: any(v < 0 for w in i.weights_1 for row in w for v in row),
    "the second input is wrong": lambda i: any(v != 0 for v in i.x_2),
}


@pytest.mark.parametrize("bug", PLANTED, ids=PLANTED.keys())
def test_planted_bugs_shrink(bug):
    wrong = PLANTED[bug]
    found = deepening(
        theorem1.STAGES, lambda i: Measurement(float(wrong(i)), 0.0), examples=300, seed=4, shrink=True
    ).instance
    assert found is not None, "seed 4"
    assert wrong(found)
    values = [v for w in (*found.weights_1, *found.weights_2) for row in w for v in row] + [
        *found.x_1,
        *found.x_2,
    ]
    # At most one number that is not zero, and no more structure than the bug needs.
    assert sum(v != 0 for v in values) <= 1
    assert found.size[0] <= 2
    assert found.size[1] <= (3 if "three" in bug else 2)


def test_search_is_a_function_of_its_seed():
    seen = []

    def record(instance):
        seen[-1].append(instance)
        return Measurement(0.0, 0.0)

    for seed in (1, 1, 2):
        seen.append([])
        search(theorem3.STAGES[-1](), record, examples=30, seed=seed)
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]
    assert len(seen[0]) == 30


def test_a_broken_formula_gives_a_shrunk_counterexample():
    broken = {
        "exact": lambda i: theorem1.measure_exact(i, theorem1.half_missing),
        "float": lambda i: theorem1.measure_float(i, theorem1.half_missing),
    }
    evidence = property_evidence(broken, theorem1.STAGES, examples=100, seed=0, among="pairs of towers")
    assert evidence.status == "refuted"
    assert evidence.counterexample.size == (1, 1)


def test_undecided_instances_do_not_count():
    evidence = property_evidence(
        {"exact": lambda i: Measurement(0.0, 0.0, decided=False)},
        theorem1.STAGES,
        examples=50,
        seed=0,
        among="towers",
    )
    assert evidence.status == "abstained"
    assert evidence.instances == 0
    assert evidence.abstained == 50
