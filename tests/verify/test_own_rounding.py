"""Sides of a user's statement whose rounding cannot be measured: no true statement is refuted, no false one held."""

import functools
import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from hltm.base.errors import InputError
from verify import JsonInstance
from verify.own.sides import UserSides


@dataclass(frozen=True)
class Numbers(JsonInstance):
    x: tuple[float, ...]


THIRDS = Numbers((1 / 3, -2 / 3, 0.1))


def square(i, at):
    x = at.array(i.x)
    return (x * x).sum()


def measure(theory, numeric, instance=THIRDS):
    return UserSides("s", theory, numeric, None, None).measure_float(instance)


NARROW = {
    "a tensor of Python's numbers": lambda i, at: (torch.tensor(i.x) ** 2).sum(),
    "a result in float32": lambda i, at: np.float32(square(i, at)),
    "float32 on the way, torch": lambda i, at: (at.tensor(i.x).float() ** 2).sum().double(),
    "float32 on the way, NumPy": lambda i, at: np.float64((at.array(i.x).astype(np.float32) ** 2).sum()),
}


@pytest.mark.parametrize("side", NARROW.values(), ids=NARROW)
def test_what_is_rounded_to_float32_is_refused_and_not_refuted(side):
    with pytest.raises(InputError, match=r"numeric side at .* computes in less than float64"):
        measure(square, side)


def test_masks_and_constants_in_float32_are_exact():
    assert measure(square, lambda i, at: (at.tensor(i.x) ** 2).sum() * torch.ones(())).status == "holds"
    assert measure(square, lambda i, at: 2 * (at.tensor(i.x) ** 2).sum() * torch.ones(())).status == "refuted"


def test_a_side_that_draws_without_a_seed_is_refused():
    with pytest.raises(InputError, match="gives another result when it is asked again"):
        measure(square, lambda i, at: square(i, at) + random.gauss(0, 1e-3))
    seeded = measure(square, lambda i, at: square(i, at) + random.Random(0).gauss(0, 1e-3))
    assert seeded.status == "refuted"


def test_a_refutation_says_where_no_rounding_was_measured():
    plain = measure(square, lambda i, at: 0.7)
    assert plain.status == "refuted"
    assert plain.detail == "the numeric side uses no at.array or at.tensor: rounding not measured"
    # Where rounding is unknown, a small difference is no refutation; that of Python's numbers is known.
    kept = (1 + 1e-9) * sum(v * v for v in THIRDS.x)
    assert measure(square, lambda i, at: kept).status == "abstained"
    assert measure(square, lambda i, at: (1 + 1e-9) * sum(v * v for v in i.x)).status == "refuted"
    assert measure(square, lambda i, at: sum(3 * v * v / 3 for v in i.x)).status == "holds"
    assert measure(square, lambda i, at: 1.1 * square(i, at)).detail == ""
    left_over = sum((0.1, 0.2, -0.3))  # of rounding outside of any side
    assert measure(lambda i, at: left_over, lambda i, at: 0.0).status == "abstained"
    # A whole number is what it is, however it was made.
    assert measure(lambda i, at: at.array(i.x).size, lambda i, at: 4).detail == ""


def test_rounding_that_float32_is_too_coarse_to_show():
    """The inverse of a nearly singular matrix: in float32 it is singular, and tells nothing of float64."""

    def inverse(i, at):
        x = at.array(i.x)
        return np.linalg.inv(np.outer(x, x) + 1e-12 * np.eye(x.size)) @ x

    def formula(i, at):
        x = at.array(i.x)
        return x / (x @ x + 1e-12)

    found = measure(inverse, formula, Numbers((-1.1920928955078125e-07, 1.0138648748397827, 0.5)))
    assert found.status == "abstained"
    assert "is known to" in found.detail


def test_a_kink_that_a_rounding_crosses_decides_nothing():
    """x = 0.3 lies at the step; the two sides are equal and round to either side of it."""

    def step(i, at):
        return np.where(at.array(i.x) - 0.3 > 0, 1.5, 0.5)

    def late(i, at):
        return np.where(at.array(i.x) + 1 > 1.3, 1.5, 0.5)

    near = Numbers((float(np.nextafter(0.3, 1)),))
    assert measure(step, late, near).status == "abstained"
    assert measure(step, late, Numbers((0.5, 0.1))).status == "holds"
    assert measure(step, lambda i, at: step(i, at) + 0.5, Numbers((0.5, 0.1))).status == "refuted"


def test_underflow_refutes_nothing():
    tiny = Numbers((1.1e-160, 2.3e-161))
    assert measure(lambda i, at: (3 * at.array(i.x) ** 2 / 3).sum(), square, tiny).status != "refuted"


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
    rng = random.Random(20)
    cases = [(1000.3965094942245,), *([rng.uniform(1000, 1001) for _ in range(rng.randint(1, 6))] for _ in range(200))]
    found = [measure(left, squares_about_mean, Numbers(tuple(x))).status for x in cases]
    assert set(found) <= {"holds", "abstained"}
    assert found.count("holds") >= 185


def test_what_is_wrong_by_more_than_the_cancellation_is_refuted():
    found = measure(lambda i, at: squares_less_mean(i, at) + 1e-6, squares_about_mean, Numbers((1000.25, 1000.75)))
    assert found.status == "refuted"


def test_one_side_that_is_not_finite_refutes_and_two_decide_nothing():
    def status(left, right):
        return measure(lambda i, at: np.array(left), lambda i, at: np.array(right), Numbers((1.0,))).status

    assert status((1.0, math.inf), (1.0, 2.0)) == "refuted"
    assert status((1.0, 2.0), (math.nan, 2.0)) == "refuted"
    assert status((1.0, math.nan), (1.0, math.inf)) == "abstained"


def test_whole_numbers_that_float64_does_not_hold_are_refused():
    with pytest.raises(InputError, match=r"entries beyond 2\^53"):
        measure(lambda i, at: np.array([2**53 + 1]), lambda i, at: np.array([2**53]))


def square_less_mean(values):
    return sum(v * v for v in values) / len(values) - (sum(values) / len(values)) ** 2


def filled(x):
    result = np.zeros(len(x))
    for place, value in enumerate(x):
        result[place] = value + 1000
    return result


# Ways in which the numbers of a side leave the noise; the variance of numbers near 1000 loses six digits in each.
PLAIN = {
    "Python's numbers": lambda i, at: square_less_mean([float(v) + 1000 for v in at.array(i.x)]),
    "a list": lambda i, at: square_less_mean([v + 1000 for v in at.array(i.x).tolist()]),
    "asarray": lambda i, at: square_less_mean(np.asarray(at.array(i.x)) + 1000),
    "an array of numbers": lambda i, at: square_less_mean(np.array([v + 1000 for v in at.array(i.x)])),
    "an array that is filled": lambda i, at: square_less_mean(filled(at.array(i.x))),
    "a number of a tensor": lambda i, at: square_less_mean([v.item() + 1000 for v in at.tensor(i.x)]),
}


@pytest.mark.parametrize("name", PLAIN)
def test_rounding_outside_of_noisy_arithmetic_is_seen(name):
    def variance(i, at):
        x = at.array(i.x)
        return ((x - x.mean()) ** 2).mean()

    rng = random.Random(4)
    cases = [[rng.uniform(-3, 3) for _ in range(rng.randint(2, 5))] for _ in range(8)]
    assert [measure(variance, PLAIN[name], Numbers(tuple(x))).status for x in cases] == 8 * ["holds"]
    assert measure(lambda i, at: 1.0001 * variance(i, at), PLAIN[name], THIRDS).status == "refuted"


def test_an_answer_that_is_lost_on_the_way_is_left_open():
    """(1e16 + x / 3) - 1e16 is no number that cancels to nothing: it says nothing of x / 3."""

    def lost(i, at):
        return (at.array(i.x) / 3 + 1e16) - 1e16

    assert measure(lost, lambda i, at: at.array(i.x) / 3).status == "abstained"
    assert measure(lost, lambda i, at: at.array(i.x) * 2 / 3).status == "abstained"


def test_a_module_that_is_drawn_in_float32_and_converted_is_one_of_float64():
    def network():
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1)).double()
        return module, (0.1 * torch.randn(2, 3)).double()

    def left(i, at):
        module, weights = network()
        return module(at.tensor(i.x))[0] + (weights @ at.tensor(i.x)).sum() / 3

    def right(i, at):
        module, weights = network()
        first, second = module
        hidden = first.weight.detach().numpy() @ at.array(i.x) + first.bias.detach().numpy()
        total = (weights.numpy() @ at.array(i.x) / 3).sum()
        return second.weight.detach().numpy()[0] @ hidden + second.bias.item() + total

    assert measure(left, right).status == "holds"
    assert measure(left, lambda i, at: right(i, at) * (1 + 1e-9)).status == "refuted"


def test_a_side_may_keep_what_it_was_asked():
    """`at` is part of the key of a cache: a result of another arithmetic is another one."""

    @functools.cache
    def variance(i, at):
        x = at.array(i.x) + 1000
        return (x * x).mean() - x.mean() ** 2

    x = Numbers((1 / 3, 0.7, 0.1))
    assert measure(variance, lambda i, at: at.array(i.x).var(), x).status == "holds"


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_forward_differentiation_inside_of_reverse():
    def hessian(i, at):
        return torch.func.hessian(lambda x: (x**3).sum())(at.tensor(i.x))

    assert measure(hessian, lambda i, at: np.diag(6 * at.array(i.x))).status == "holds"
    assert measure(hessian, lambda i, at: np.diag(6.001 * at.array(i.x))).status == "refuted"


def signs(right):
    return lambda i, at: np.array([1.0 if v > 0 or (right and v == 0) else -1.0 for v in i.x])


def test_a_kink_at_numbers_that_no_arithmetic_was_asked_for():
    assert measure(signs(True), signs(False), Numbers((0.0, 1.0))).status == "abstained"
    assert measure(signs(True), signs(False), Numbers((1e-9, 1.0))).status == "holds"
    assert measure(signs(True), lambda i, at: -signs(True)(i, at), Numbers((0.0, 1.0))).status == "refuted"


def direction(i, at):
    x = at.array(i.x)
    return x / np.sqrt(x**2)


def direction_in_torch(i, at):
    x = at.tensor(i.x).requires_grad_()
    return torch.autograd.grad(x[:, None].norm(dim=1).sum(), x)[0]


def naive(lib, numbers):
    return lambda i, at: lib.log(lib.exp(400 * getattr(at, numbers)(i.x)).sum())


def stable(i, at):
    return torch.logsumexp(400 * at.tensor(i.x), 0)


FINITE = {
    "a pole": (direction, direction_in_torch, (0.0, 1.0), "the theory side is finite nearby"),
    "overflow in NumPy": (naive(np, "array"), stable, (3.0, 1.0), "the theory side overflows or underflows"),
    "overflow in torch": (stable, naive(torch, "tensor"), (3.0, 1.0), "the numeric side overflows or underflows"),
    "a root of what cancels": (
        lambda i, at: at.array(i.x) * 0,
        lambda i, at: np.sqrt((at.array(i.x) / 49) * 49 - at.array(i.x)),
        (1.0, 2.0),
        "the numeric side is finite nearby",
    ),
}


@pytest.mark.parametrize("name", FINITE)
def test_a_side_that_is_not_finite_by_accident_refutes_nothing(name):
    theory, numeric, x, reason = FINITE[name]
    found = measure(theory, numeric, Numbers(x))
    assert found.status == "abstained"
    assert found.detail.startswith(reason)


def test_a_side_that_is_finite_nowhere_refutes():
    refuted = measure(lambda i, at: np.sqrt(-np.abs(at.array(i.x))), lambda i, at: at.array(i.x))
    assert refuted.status == "refuted"


def test_a_side_that_takes_plain_arrays_alone_is_measured():
    def particular(i, at):
        x = at.array(i.x)
        if type(x) is not np.ndarray:
            raise TypeError("a plain array, please")
        return (x + 1000) ** 2 - 2000 * x - 1e6

    assert measure(particular, lambda i, at: at.array(i.x) ** 2).status == "holds"
    assert measure(particular, lambda i, at: 1.00001 * at.array(i.x) ** 2).status == "refuted"


def test_a_quotient_of_numbers_that_underflow_refutes_nothing():
    def naive_shares(i, at):
        e = np.exp(at.array(i.x) - 900)
        return e / e.sum()

    found = measure(naive_shares, lambda i, at: torch.softmax(at.tensor(i.x), 0), Numbers((1.0, 2.0)))
    assert (found.status, found.detail) == ("abstained", "the theory side overflows or underflows")
