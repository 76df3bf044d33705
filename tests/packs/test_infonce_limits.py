"""Pack infonce-limits against sums over counts in numpy, and what a user of `numeric` sees of it."""

from itertools import product
from math import comb, exp, log

import numpy as np
import pytest
import torch

import numeric
from hltm.base.errors import InputError
from verify.packs.infonce_measures import InfonceInstance

RNG = np.random.default_rng(11)
SCORES = RNG.standard_normal((3, 2))
LAW = np.array([0.3, 0.7])
JOINT = np.array([[0.2, 0.1], [0.05, 0.25], [0.1, 0.3]])


def by_counts(scores, law, negatives):
    """The expected loss over how many of the negatives are of the second of two kinds."""
    e = np.exp(scores)
    total = np.zeros_like(scores)
    for k in range(negatives + 1):
        chance = comb(negatives, k) * law[1] ** k * law[0] ** (negatives - k)
        total += chance * np.log((e + (negatives - k) * e[:, :1] + k * e[:, 1:]) / e)
    return total


@pytest.mark.parametrize("negatives", [1, 2, 5])
def test_the_loss_is_that_of_counts(negatives):
    found = numeric.infonce_expectation(SCORES, LAW, negatives).numpy()
    np.testing.assert_allclose(found, by_counts(SCORES, LAW, negatives), rtol=1e-13)


def test_the_limit_is_reached_at_rate_one_over_the_number_of_negatives():
    limit = np.log(np.exp(SCORES) @ LAW)[:, None] - SCORES
    np.testing.assert_allclose(numeric.infonce_limit(SCORES, LAW).numpy(), limit, rtol=1e-12)
    errors = [np.abs(by_counts(SCORES, LAW, m) - log(m) - limit).sum() for m in (32, 64, 128, 256)]
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    # 1.92 from 4 to 8 negatives in the independent script of the notes, and growing towards 2
    assert ratios.min() > 1.9
    assert ratios.max() < 2.1


def test_the_minimum_is_that_of_the_notes():
    """N = 4, tau = 1/2; an optimiser ends there in the independent script of the notes."""
    assert numeric.infonce_minimum(4, 0.5) == pytest.approx(0.18933883936464216, abs=1e-15)
    assert float(numeric.batch_infonce(numeric.simplex_outputs(4), 0.5)) == pytest.approx(
        0.18933883936464216, abs=1e-14
    )


@pytest.mark.parametrize("count", [2, 3, 5])
def test_no_batch_lies_below_the_minimum(count):
    for _ in range(200):
        outputs = RNG.standard_normal((count, 4))
        unit = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
        similarity = unit @ unit.T / 0.7
        loss = (np.log(np.exp(similarity).sum(1)) - np.diag(similarity)).mean()
        assert float(numeric.batch_infonce(outputs, 0.7)) == pytest.approx(loss, rel=1e-12)
        level = exp(-count / ((count - 1) * 0.7))
        tangent = level / (1 + (count - 1) * level) * (unit.sum(0) ** 2).sum() / (count * 0.7)
        assert loss >= numeric.infonce_minimum(count, 0.7) + tangent - 1e-12


def test_information_is_never_exceeded_and_exceeds_by_two_divergences():
    first, second = JOINT.sum(1), JOINT.sum(0)
    ratio = JOINT / np.outer(first, second)
    information = (JOINT * np.log(ratio)).sum()
    assert float(numeric.mutual_information(JOINT)) == pytest.approx(information, rel=1e-12)
    for critic in (np.log(ratio), np.zeros_like(ratio), *RNG.standard_normal((50, 3, 2))):
        loss = float((torch.tensor(JOINT) * numeric.infonce_expectation(critic, second, 2)).sum())
        mixture = posterior = 0.0
        for x, y, a, b in product(range(3), range(2), range(2), range(2)):
            chance = JOINT[x, y] * second[a] * second[b]
            candidates = [y, a, b]
            mixture += chance * log(ratio[x, candidates].mean())
            share = ratio[x, y] / ratio[x, candidates].sum()
            posterior += chance * log(share * np.exp(critic[x, candidates]).sum() / exp(critic[x, y]))
        assert information - (log(3) - loss) == pytest.approx(mixture + posterior, abs=1e-12)
        assert mixture > 0
        assert posterior > -1e-15


def test_information_of_a_law_with_zeros():
    assert float(numeric.mutual_information([[1, 0, 0], [0, 1, 0]])) == pytest.approx(log(2), rel=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: numeric.infonce_expectation([[0.0]], [1.0, 1.0], 1), "one for each column"),
        (lambda: numeric.infonce_expectation([[0.0]], [1.0], 0), "at least 1"),
        (lambda: numeric.infonce_expectation([[0.0, 1.0]], [1.0, 1.0], 20), "draws are more than"),
        (lambda: numeric.infonce_expectation([0.0], [1.0], 1), "must be a matrix"),
        (lambda: numeric.infonce_limit([[0.0, 0.0]], [1.0, -1.0]), "must not be negative"),
        (lambda: numeric.infonce_limit([[0.0, 0.0]], [1.0]), "one for each column"),
        (lambda: numeric.mutual_information([[0.0]]), "not all zero"),
        (lambda: numeric.batch_infonce([[1.0]]), "at least 2 rows"),
        (lambda: numeric.batch_infonce([[1.0], [0.0]]), "row of zeros"),
        (lambda: numeric.batch_infonce([[1.0], [1.0]], -1.0), "tau=-1.0"),
        (lambda: numeric.infonce_minimum(1), "at least 2"),
        (lambda: numeric.simplex_outputs(True), "at least 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("joint", [[0.5, 0.25]], "sum to 1"),
        ("critic", [[0.0]], "that of joint"),
        ("negatives", 0, "at least 1"),
        ("outputs", [[0.0], [1.0]], "row of zeros"),
        ("tau", 0.0, "must be positive"),
    ],
)
def test_a_bad_instance_is_refused(key, value, message):
    good = {"joint": [[0.5, 0.5]], "critic": [[0.0, 1.0]], "tau": 1.0, "negatives": 2, "outputs": [[1.0], [-1.0]]}
    assert InfonceInstance.from_json(good).size == (2, 2)
    with pytest.raises(InputError, match=message):
        InfonceInstance.from_json({**good, key: value})
