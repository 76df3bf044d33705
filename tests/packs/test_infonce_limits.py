"""Pack infonce-limits against sums over counts in numpy, and what a user of `numeric` sees of it."""

from itertools import product
from math import comb, exp, log

import jaxtyping
import numpy as np
import pytest
import sympy
import torch

import numeric
import theory
import theory.packs.infonce_limits as limits
from hltm.base.errors import InputError
from theory.core.claim import Claim
from theory.core.quantity import slack_symbol
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
        (lambda: numeric.batch_infonce([[1.0], [1.0]], "x"), "tau='x': must be positive and finite"),
        (lambda: numeric.batch_infonce([[1.0], [1.0]], None), "tau=None: must be positive and finite"),
        (lambda: numeric.infonce_minimum(2, "x"), "tau='x': must be positive and finite"),
        (lambda: numeric.infonce_minimum(1.5), "count=1.5: must be an integer"),
        (lambda: numeric.infonce_expectation([[0.0]], [1.0], 1.5), "negatives=1.5: must be an integer"),
        (lambda: numeric.infonce_minimum(1), "at least 2"),
        (lambda: numeric.simplex_outputs(True), "at least 2"),
    ],
)
def test_bad_input(call, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as a user calls it
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


# What the derivations decide.


def without_examples(part, relation):
    """Decided by the derivation alone, not by an instance."""
    prove = {"many-negatives": limits.prove_limit, "minimum": limits.prove_minimum}.get(part, limits.prove_information)
    return prove(relation).value


@pytest.mark.parametrize("part", limits.PARTS)
def test_the_derivation_decides_its_relations_without_examples(part):
    derived = theory.derive("infonce-limits", part=part)
    assert all(without_examples(part, relation) is True for relation in derived.claim.relations)
    for wrong in derived.claim.mutants().values():
        assert None in [True if without_examples(part, one) else None for one in wrong.relations]


def test_the_loss_at_the_simplex_is_computed():
    other = limits.MINIMUM.xreplace({limits.H: limits.H + 1})
    assert without_examples("minimum", sympy.Eq(limits.SIMPLEX_LOSS, other)) is not True
    for count in (2, 5):
        at = limits.MINIMUM.xreplace({limits.H: sympy.Integer(count - 1), limits.tau: sympy.Integer(1)})
        assert float(at) == pytest.approx(float(numeric.batch_infonce(numeric.simplex_outputs(count))), rel=1e-13)


def test_the_tangent_at_equal_similarities_has_a_rest_that_is_not_negative():
    """log Z less the tangent by numbers, where the derivation writes its slack."""
    for _ in range(50):
        w = RNG.standard_normal(3) - 1
        level = exp(-4 / (3 * 0.8))
        share = level / (1 + 3 * level)
        tangent = log(1 + 3 * level) + share * (w + 4 / (3 * 0.8)).sum()
        assert log(1 + np.exp(w).sum()) >= tangent - 1e-14


@pytest.mark.parametrize("dropped", [limits.EXCHANGE, limits.NONNEGATIVE, limits.DEFINED])
def test_a_claim_without_a_named_inference_is_not_proved(dropped):
    derived = theory.derive("infonce-limits", part="information")
    kept = tuple(text for text in derived.claim.assumptions if text != dropped)
    assert len(kept) == len(derived.claim.assumptions) - 1
    assert derived.decides(derived.claim.replace(assumptions=kept)).value is None


def test_a_claim_that_names_a_slack_is_not_read():
    wrong = sympy.Eq(limits.POSTERIOR, slack_symbol("E[g]"), evaluate=False)
    assert theory.derive("infonce-limits", part="information").read(Claim("", (wrong,))).value is None
