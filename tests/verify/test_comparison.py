"""The tolerance of an entry is a statement about that entry: errors of 1e-6 are found or left open, truths never refuted."""

import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from verify import JsonInstance
from verify.own.sides import UserSides


@dataclass(frozen=True)
class Numbers(JsonInstance):
    x: tuple[float, ...]


def measure(theory, numeric, x, **options):
    return UserSides("s", theory, numeric, None, None, **options).measure_float(Numbers(tuple(map(float, x))))


def explained(theory, numeric, x):
    return UserSides("s", theory, numeric, None, None).explain(Numbers(tuple(map(float, x))))


def autograd(loss):
    def side(i, at):
        x = at.tensor(i.x).requires_grad_()
        return torch.autograd.grad(loss(x), x)[0]

    return side


def similarities(x):
    return x[:, None] * x / 0.7


def nt_xent_gradient(i, at):
    x = at.array(i.x)
    s = similarities(x)
    e = np.exp(s - s.max(axis=1, keepdims=True)) * (1 - np.eye(len(x)))
    p = e / e.sum(axis=1, keepdims=True)
    return (p + p.T) @ x / 0.7 / len(x)


def masked_by_product(x):
    return torch.logsumexp(similarities(x) - 9e15 * torch.eye(len(x), dtype=x.dtype), 1).mean()


def masked_by_fill(value):
    def loss(x):
        return torch.logsumexp(similarities(x).masked_fill(torch.eye(len(x), dtype=torch.bool), value), 1).mean()

    return loss


def cross_entropy_of_the_rest(x):
    n = len(x)
    rest = similarities(x)[~torch.eye(n, dtype=torch.bool)].reshape(n, n - 1)
    return (torch.log_softmax(rest, 1)[:, 0] - rest[:, 0]).neg().mean()


# Pairs of sides that are equal, each computed in two ways: theory in NumPy, numeric in torch or NumPy.
EQUAL = {
    "a mask of 9e15 that is added": (nt_xent_gradient, autograd(masked_by_product)),
    "a mask of 9e15 that is filled in": (nt_xent_gradient, autograd(masked_by_fill(-9e15))),
    "a mask of infinity": (nt_xent_gradient, autograd(masked_by_fill(-torch.inf))),
    "no mask": (nt_xent_gradient, autograd(cross_entropy_of_the_rest)),
    "a large sibling": (
        lambda i, at: {"norm": (at.array(i.x) + 10) ** 12, "rest": 1e-9 * at.array(i.x) ** 3},
        lambda i, at: {"norm": (at.tensor(i.x) + 10) ** 12, "rest": 1e-9 * at.tensor(i.x) * at.tensor(i.x) ** 2},
    ),
    "large and small entries of one array": (
        lambda i, at: at.array(i.x) ** 3 * 10.0 ** np.arange(-6, 12, 4)[: len(i.x)],
        lambda i, at: at.tensor(i.x) * at.tensor(i.x) ** 2 * 10.0 ** torch.arange(-6, 12, 4).double()[: len(i.x)],
    ),
    "a solved system": (
        lambda i, at: at.array(i.x) / (1 + at.array(i.x) @ at.array(i.x)),
        lambda i, at: np.linalg.solve(np.eye(len(i.x)) + np.outer(at.array(i.x), at.array(i.x)), at.array(i.x)),
    ),
    "an inverse in torch": (
        lambda i, at: at.array(i.x) / (1 + at.array(i.x) @ at.array(i.x)),
        lambda i, at: (
            torch.linalg.inv(torch.eye(len(i.x)).double() + torch.outer(at.tensor(i.x), at.tensor(i.x)))
            @ at.tensor(i.x)
        ),
    ),
    "a variance by squares": (
        lambda i, at: ((at.array(i.x) - at.array(i.x).mean()) ** 2).mean(),
        lambda i, at: (at.tensor(i.x) ** 2).mean() - at.tensor(i.x).mean() ** 2,
    ),
    "a softmax at low temperature": (
        lambda i, at: (
            np.exp(at.array(i.x) * 1e3 - (at.array(i.x) * 1e3).max())
            / np.exp(at.array(i.x) * 1e3 - (at.array(i.x) * 1e3).max()).sum()
        ),
        lambda i, at: torch.softmax(at.tensor(i.x) / 1e-3, 0),
    ),
    "a long sum": (
        lambda i, at: np.cumsum(np.tile(at.array(i.x), 300)),
        lambda i, at: torch.cumsum(at.tensor(i.x).repeat(300), 0),
    ),
    "a loop over Python's numbers": (
        lambda i, at: sum(math.exp(v) for v in map(float, at.array(i.x))),
        lambda i, at: at.tensor(i.x).exp().sum(),
    ),
    "eigenvalues": (
        lambda i, at: np.sort(np.append(np.zeros(len(i.x) - 1), at.array(i.x) @ at.array(i.x))),
        lambda i, at: torch.linalg.eigvalsh(torch.outer(at.tensor(i.x), at.tensor(i.x))),
    ),
    "a normalised gradient": (
        lambda i, at: at.array(i.x) / np.linalg.norm(at.array(i.x)),
        autograd(lambda x: torch.sqrt((x**2).sum())),
    ),
    "norms of large and small rows": (
        lambda i, at: np.linalg.norm(np.outer(10.0 ** np.arange(0, 20, 4)[: len(i.x)], at.array(i.x)), axis=1),
        lambda i, at: torch.outer(10.0 ** torch.arange(0, 20, 4).double()[: len(i.x)], at.tensor(i.x)).norm(dim=1),
    ),
    "tanh near one": (
        lambda i, at: 1 - np.tanh(5 * at.array(i.x)) ** 2,
        autograd(lambda x: torch.tanh(5 * x).sum() / 5),
    ),
}


def instances(count, seed):
    """Numbers of the grid and generic ones; no ties and no zeros, at which some of the sides have no value."""
    rng = random.Random(seed)
    for _ in range(count):
        size = rng.randint(2, 5)
        yield (
            rng.sample([n / 8 for n in range(-24, 25) if n], size)
            if rng.random() < 0.5
            else [rng.uniform(-3, 3) for _ in range(size)]
        )


@pytest.mark.parametrize("name", EQUAL)
def test_what_is_equal_is_not_refuted(name):
    theory, numeric = EQUAL[name]
    found = [measure(theory, numeric, x) for x in instances(40, 1)]
    assert {result.status for result in found} <= {"holds", "abstained"}, found
    assert sum(result.status == "holds" for result in found) >= 36


def changed(result, where, factor):
    """A side with one entry, among all of its arrays, times a factor."""
    named = dict(result) if isinstance(result, dict) else {"": result}
    for key in sorted(named):
        size = int(np.size(named[key]))
        if where < size:
            array = np.array(np.asarray(named[key]), dtype=float)
            array.ravel()[where] *= factor
            named[key] = array
            return named if isinstance(result, dict) else named[""]
        where -= size
    raise AssertionError("no such entry")


def entries(result):
    values = result.values() if isinstance(result, dict) else [result]
    return sum(int(np.size(value)) for value in values)


@pytest.mark.parametrize("name", EQUAL)
def test_a_relative_error_of_1e_6_in_any_entry_is_found_or_left_open(name):
    """Entries that cancel to less than 1e-9 of what they are made of are left out: there is nothing to be found."""
    from verify import Arithmetic

    theory, numeric = EQUAL[name]
    tried = 0
    for x in instances(3, 2):
        plain = theory(Numbers(tuple(x)), Arithmetic())
        for where in random.Random(3).sample(range(entries(plain)), min(4, entries(plain))):
            keys = sorted(plain) if isinstance(plain, dict) else [""]
            flat = np.concatenate([np.ravel(plain[key] if isinstance(plain, dict) else plain) for key in keys])
            if abs(flat[where]) <= 1e-9 * natural_scale(name, flat, x):
                continue
            tried += 1
            result = measure(lambda i, at, w=where: changed(theory(i, at), w, 1 + 1e-6), numeric, x)
            assert result.status != "holds", (x, where, flat[where])
    assert tried >= 3


def natural_scale(name, flat, x):
    """The size of what an entry is made of, where that is not its own size."""
    if name in ("eigenvalues", "a solved system", "an inverse in torch"):
        return float(np.max(np.abs(flat)))
    if name in ("a variance by squares", "tanh near one"):
        return max(1.0, float(np.max(np.square(x))))
    return 0.0 if name != "a long sum" else 3.0 * 300


def test_a_kink_and_a_tie_are_left_open_and_their_neighbours_decided():
    gate = (lambda i, at: np.where(at.array(i.x) >= 0, 1.0, 0.0), autograd(lambda x: torch.relu(x).sum()))
    hardest = (lambda i, at: np.eye(len(i.x))[int(np.argmax(at.array(i.x)))], autograd(lambda x: x.amax()))
    assert measure(*gate, [0, 1]).status == "abstained"
    assert measure(*gate, [1e-9, 1]).status == "holds"
    assert measure(*hardest, [1, 1]).status == "abstained"
    assert measure(*hardest, [1, 1 + 1e-9]).status == "holds"
    # What is false on both sides of the kink is refuted at it.
    assert measure(lambda i, at: gate[0](i, at) + 2, gate[1], [0, 1]).status == "refuted"
    assert "a move of 0 by 1e-14 moves the theory side by 1" in explained(*gate, [0, 1])


def test_a_kink_between_computed_numbers():
    def gate(i, at):
        x = at.array(i.x)
        return np.where(x[:-1] * 3 - (x[1:] + x[1:] + x[1:]) >= 0, 1.0, 0.0)

    def other(i, at):
        x = at.tensor(i.x)
        return torch.where(x[:-1] - x[1:] > 0, 1.0, 0.0).double()

    assert measure(gate, other, [0.7, 0.7]).status == "abstained"
    assert measure(gate, other, [0.7, 0.6]).status == "holds"


def test_what_rounding_hides_is_left_open_and_says_which_number_does():
    def hidden(i, at):
        large = at.array(i.x) * 1e9
        return (large + at.array(i.x) / 3) - large

    def small(i, at):
        return at.array(i.x) / 3

    assert measure(small, hidden, [1.3, 2.7]).status == "abstained"
    assert measure(lambda i, at: 2 * small(i, at), hidden, [1.3, 2.7]).status == "refuted"
    reason = explained(small, hidden, [1.3, 2.7])
    assert "is known to" in reason
    assert "numeric side, line" in reason
    assert "of numbers up to 2.7e+09" in reason


def test_an_entry_that_cancels_to_nothing_is_compared_with_what_it_is_made_of():
    def zero(i, at):
        return at.array(i.x) * 0

    def cancelled(i, at):
        x = at.array(i.x)
        return (x + 0.1) ** 2 - x**2 - 0.2 * x - 0.01

    assert measure(zero, cancelled, [1.3, 2.7]).status == "holds"
    assert measure(lambda i, at: zero(i, at) + 1e-9, cancelled, [1.3, 2.7]).status == "refuted"


INEQUALITIES = {
    "<=": (lambda i, at: 2 * at.array(i.x)[0] * at.array(i.x)[1], lambda i, at: (at.array(i.x) ** 2).sum()),
    ">=": (lambda i, at: (at.array(i.x) ** 2).sum(), lambda i, at: 2 * at.array(i.x)[0] * at.array(i.x)[1]),
}


@pytest.mark.parametrize("relation", INEQUALITIES)
def test_an_inequality(relation):
    left, right = INEQUALITIES[relation]
    assert measure(left, right, [1.1, 0.3], relation=relation).status == "holds"
    assert measure(left, right, [1 / 3, 1 / 3], relation=relation).status == "holds"
    assert (
        measure(
            left, lambda i, at: right(i, at) * (2 if relation == ">=" else 0.5), [0.4, 0.3], relation=relation
        ).status
        == "refuted"
    )
    assert measure(left, right, [1.1, 0.3]).status == "refuted"


def test_a_side_that_draws_has_standard_errors():
    def mean(i, at):
        return at.array(i.x).mean()

    def drawn(i, at):
        return np.random.default_rng(0).choice(at.array(i.x), 10_000).mean()

    def error(i, at):
        return np.asarray(np.std(i.x) / 100)

    x = [1.0, 2.0, 4.0]
    assert measure(mean, drawn, x, standard_error=error).status == "holds"
    assert measure(lambda i, at: mean(i, at) + 0.2, drawn, x, standard_error=error).status == "refuted"
    assert measure(mean, drawn, x).status == "refuted"
    with pytest.raises(Exception, match=r"standard_error side at instance .* must be positive numbers"):
        measure(mean, drawn, x, standard_error=lambda i, at: 0.0)


@pytest.mark.parametrize(("error", "status"), [(1e-12, "refuted"), (1e-14, "abstained"), (0.0, "holds")])
def test_an_error_of_a_few_dozen_roundings_is_left_open(error, status):
    def square(i, at):
        return at.array(i.x) ** 2

    assert measure(lambda i, at: square(i, at) * (1 + error), square, [1.3, 2.625]).status == status
