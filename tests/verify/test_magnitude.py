"""The largest number on the way to a result: what a sum may lose though its own size, and float32, do not show it."""

import math
import random
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from verify import Arithmetic, JsonInstance
from verify.own.sides import Largest, UserSides, Watched, watched, watched_torch
from verify.tolerance.rounding import SAFETY, UNIT_ROUNDOFF

SEED = 20


@dataclass(frozen=True)
class Numbers(JsonInstance):
    x: tuple[float, ...]


def squares_less_mean(i, at):
    x = at.array(i.x)
    return (x**2).sum() - x.size * x.mean() ** 2


def squares_about_mean(i, at):
    x = at.array(i.x)
    return ((x - x.mean()) ** 2).sum()


def torch_squares_less_mean(i, at):
    x = at.tensor(i.x)
    return (x**2).sum() - len(i.x) * x.mean() ** 2


@pytest.mark.parametrize("left", [squares_less_mean, torch_squares_less_mean])
def test_cancellation_is_never_taken_for_a_refutation(left):
    """Numbers near 1000 whose squares cancel to nothing: the two sides are equal, float64 is off by 1e-9."""
    rng, sides = random.Random(SEED), UserSides("koenig", left, squares_about_mean, None, None)
    cases = [(1000.3965094942245,), *([rng.uniform(1000, 1001) for _ in range(rng.randint(1, 6))] for _ in range(400))]
    for x in cases:
        found = sides.measure_float(Numbers(tuple(x)))
        assert found.status == "holds", (SEED, x, found)
        exact = [Fraction(v) for v in x]
        truth = sum(v * v for v in exact) - sum(exact) ** 2 / len(exact)
        off = abs(Fraction(float(left(Numbers(tuple(x)), Arithmetic()))) - truth)
        assert off <= Fraction(SAFETY * UNIT_ROUNDOFF) * sum(v * v for v in exact)


def test_what_is_wrong_by_more_than_the_cancellation_is_refuted():
    wrong = UserSides("koenig", lambda i, at: squares_less_mean(i, at) + 1e-6, squares_about_mean, None, None)
    assert wrong.measure_float(Numbers((1000.25, 1000.75))).status == "refuted"


def test_one_side_that_is_not_finite_refutes_and_two_decide_nothing():
    def side(*values):
        return lambda i, at: np.array(values)

    def status(left, right):
        found = UserSides("s", side(*left), side(*right), None, None).measure_float(Numbers((1.0,)))
        return found.status if found.decided else "abstained"

    assert status((1.0, math.inf), (1.0, 2.0)) == "refuted"
    assert status((1.0, 2.0), (math.nan, 2.0)) == "refuted"
    assert status((1.0, math.nan), (1.0, math.inf)) == "abstained"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6))
def test_watched_arrays_compute_what_plain_ones_do(values):
    x = np.array(values)
    seen = Largest()
    w = watched(x, seen)
    for compute in (
        lambda a: a * a - a[::-1] / 3, lambda a: np.where(a > 0, a, 0.5 * a), lambda a: a.mean() ** 2,
        lambda a: np.einsum("i,j->ij", a, a) @ a, lambda a: np.concatenate([a, a]).reshape(2, -1).sum(0),
        lambda a: np.linalg.norm(a), lambda a: np.maximum(a, 0).cumsum(), lambda a: np.outer(a, a)[a > 0],
        lambda a: np.stack([a, 2 * a]).max(axis=1), lambda a: a[0] + 1,
    ):  # fmt: skip
        plain, found = np.asarray(compute(x)), np.asarray(compute(w))
        assert np.array_equal(plain, found)
        assert seen.value >= np.max(np.abs(plain), initial=0.0)


def test_in_place_results_and_hidden_products_are_seen():
    seen = Largest()
    w = watched(np.array([3.0, -3.0]), seen)
    w += 1000
    assert isinstance(w, Watched)
    assert seen.value == 1003
    assert float(np.einsum("i,i->", w - 1000, np.array([1e5, 1e5]))) == 0
    assert seen.value >= 3e5
    torch_seen = Largest()
    with watched_torch(torch_seen):
        assert float(torch.dot(torch.tensor([3.0, -3.0]), torch.tensor([1e5, 1e5]))) == 0
    assert torch_seen.value >= 3e5


def test_gradients_of_torch_are_seen():
    seen = Largest()
    x = torch.tensor(2.0, requires_grad=True)
    with watched_torch(seen):
        (1e4 * x**3 - 1e4 * x**3).backward()
    assert seen.value >= 1.2e5
