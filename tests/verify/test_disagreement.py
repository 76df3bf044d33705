"""What a refutation says of two sides: both numbers, the ratio and its names, the pattern of agreement."""

import json
import math
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from flint import fmpq

from verify import JsonInstance
from verify.engine.disagreement import disagreement, numbers, with_names
from verify.engine.recognition import numbers_of, recognised


@dataclass(frozen=True)
class Pair(JsonInstance):
    x: tuple[float, ...] = (1.5, 2.25, 3.125, 5.0, 7.75)
    W: tuple[tuple[float, ...], ...] = ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    tau: float = 0.5625
    on: bool = True
    options: tuple[tuple[str, float], ...] = (("alpha", 0.3),)


A = np.random.default_rng(0).normal(size=(3, 3))
B = np.random.default_rng(1).normal(size=(2, 3))
EYE = np.eye(3, dtype=bool)


def of(left, right, instance=None, **options):
    """The disagreement of two arrays, or mappings of arrays, whose differing entries are refuted."""
    left, right = (side if isinstance(side, dict) else {"": side} for side in (left, right))
    return disagreement(left, right, {key: ~(left[key] == right[key]) for key in left}, instance, **options)


def test_the_line_that_is_promised():
    left, right = np.full((2, 2), 0.066), np.full((2, 2), 0.066)
    right[0, 1] = 0.13191
    found = of({"layer 1": left, "layer 2": left}, {"layer 1": left, "layer 2": right})
    assert found.line == "theory 0.0660, numeric 0.1319, ratio 1.999, layer 2, entry (0, 1)"
    assert "1 of 2 arrays agrees: layer 1" in found.pattern
    assert (found.refuted, found.entries) == (1, 8)


@pytest.mark.parametrize(
    ("factor", "name"),
    [
        (2, "2 or len(W)"), (0.5, "1/2 or 1/len(W)"), (-2, "-2 or -len(W)"), (-1, "-1"), (-0.25, "-1/4"), (0.5625, "tau"), (1 / 0.5625, "1/tau"), (0.3, "alpha"),
        (5, "5 or len(x)"), (0.2, "1/5 or 1/len(x)"), (0.8, "4/5 or (len(x) - 1)/len(x)"), (0.5625**2, "tau^2"),
        (2 * 0.5625, "9/8 or 2 tau"), (math.pi, "pi"), (7.75, "x[4]"), (0, "0"), (1.3721, ""), (1 + 1e-6, ""),
    ],
)  # fmt: skip
def test_ratios_have_names(factor, name):
    found = of(A, factor * A, Pair())
    assert found.recognised == name
    assert found.common == pytest.approx(factor)
    assert found.refuted == 9


def test_the_ratio_must_be_that_of_every_refuted_entry():
    right = 2 * A
    right[2, 2] = 3 * A[2, 2]
    found = of(A, right, Pair())
    assert found.common is None
    assert found.recognised == ""


def test_a_ratio_of_entries_that_agree_does_not_count():
    found = of(A, A * np.where(EYE, 1, -1))
    assert (found.recognised, found.refuted) == ("-1", 6)
    assert found.pattern == "agrees on the diagonal only: 3 of 9 entries agree"
    assert found.grid == (". x x", "x . x", "x x .")


def test_one_entry_alone_is_no_reason_for_an_expression():
    assert of(np.array(2.0), np.array(2.5), Pair()).recognised == ""
    assert of(np.array(2.0), np.array(4.0), Pair()).recognised == "2 or len(W)"


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        (A, A.T, "transposed"), (A, -A.T, "transposed, times -1"), (A, 2 * A.T, "transposed, times 2"),
        (B.ravel(), B.ravel()[::-1], "in reverse order"), (B.ravel(), B.T.ravel(), "stacked by rows in place of columns"),
        (B, B[:, ::-1], "with its entries in another order"), (A, A + A.T, ""),
    ],
)  # fmt: skip
def test_reordered_entries(left, right, words):
    assert of(left, right).recognised == words


def test_an_offset_is_named():
    found = of(B, B + np.array([[0], [1]]))
    assert "numeric - theory = 1 at all 3 refuted entries" in found.remarks
    assert found.pattern == "differs in row 1 only: 3 of 6 entries agree"


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (~EYE, "agrees on the diagonal only"), (EYE, "agrees off the diagonal"),
        (np.triu(~EYE), "agrees below the diagonal and on it"), (np.tril(np.ones((3, 3), bool)), "agrees above the diagonal only"),
        (np.array([[0, 1, 0]] * 3, bool), "differs in column 1 only"), (np.array([1, 1, 0, 1], bool), "agrees in entry 2 only"),
        (np.ones(4, bool), "none of 4 entries agrees"), (np.array([[0, 1, 0], [1, 1, 1]], bool), "2 of 6 entries agree"),
    ],
)  # fmt: skip
def test_patterns(mask, words):
    side = np.arange(1.0, mask.size + 1).reshape(mask.shape)
    assert of(side, np.where(mask, -3 * side - 1, side)).pattern.startswith(words)


def test_rationals_are_compared_and_shown_exactly():
    left = np.array([fmpq(1, 3), fmpq(2, 7)])
    found = of(left, left * fmpq(5, 4))
    assert found.line == "theory 1/3, numeric 5/12, ratio 1.250, entry 0"
    assert found.recognised == "5/4"
    assert of(np.array([fmpq(10) ** 400]), np.array([-(fmpq(10) ** 400)])).ratio is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite(value):
    right = A.copy()
    right[1, 1] = value
    found = of(A, right, Pair())
    assert found.index == (1, 1)
    assert found.ratio is None
    json.dumps(found.as_json(), allow_nan=False)


def test_a_side_that_is_zero_has_no_ratio():
    assert of(0 * A, A).line.startswith("theory 0, numeric ")
    assert ", ratio infinite, " in of(0 * A, A).line


def test_numbers_are_told_apart():
    assert numbers(1.0, 1.0 + 2**-52) == ("1", "1.0000000000000002")
    assert numbers(0.066, 0.1319) == ("0.0660", "0.1319")
    found = of(A, A * (1 + 1e-6))
    assert found.texts[0] != found.texts[1]
    assert ", ratio 1.000001" in found.line


def test_a_tolerance_widens_what_is_recognised():
    """With a tolerance of 1e-3, as of a sampled side, a ratio of 2.0002 is 2."""
    right = A * 2.0002
    assert of(A, right).recognised == ""
    assert of(A, right, bounds={"": np.full(A.shape, 1e-3)}).recognised == "2"


def test_no_entry_is_marked():
    found = disagreement({"": A}, {"": A + 1}, {"": np.zeros((3, 3), bool)}, None)
    assert found.refuted == 9
    assert disagreement({"": A}, {"": A}, {"": np.zeros((3, 3), bool)}, None).ratio == 1


def test_names_are_found_later():
    found = of(A, 0.5625 * A)
    assert with_names(found, Pair()).recognised == "tau"
    assert with_names(None, Pair()) is None
    assert with_names(of(A, A.T), Pair()).recognised == "transposed"


def test_an_instance_that_has_no_json():
    class Broken:
        def as_json(self):
            raise RuntimeError

    assert numbers_of(Broken()) == ([], [], [])
    assert recognised(3.0, Broken()) == "3"
    assert recognised(3.0, None) == "3"


def test_json_and_pickle():
    found = of({"a": A, "b": B}, {"a": A, "b": 2 * B}, Pair())
    data = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (data["array"], data["recognised"], data["refuted_entries"], data["entries"]) == ("b", "2 or len(W)", 6, 15)
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301


@pytest.mark.parametrize("seed", range(3))
def test_random_numbers_have_no_names(seed):
    """A ratio without a reason gets a name in less than one of 200 cases."""
    rng = np.random.default_rng(seed)
    assert sum(bool(recognised(float(r), Pair())) for r in rng.uniform(-3, 3, 400)) < 2
