"""Noisy arithmetic: without noise it is float64; with noise a result moves by the size of what it is made of."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.own.arithmetic import noisy_torch
from verify.own.directed import NEAREST, SMALL, directions, rounded
from verify.own.noise import Noise, Noisy, NoisyFloat, noisy

LEVEL = 2.0**-36
NUMPY = {
    "products": lambda a: a * a - a[::-1] / 3,
    "where": lambda a: np.where(a > 0, a, 0.5 * a),
    "mean": lambda a: a.mean() ** 2,
    "einsum": lambda a: np.einsum("i,j->ij", a, a) @ a,
    "concatenate": lambda a: np.concatenate([a, a]).reshape(2, -1).sum(0),
    "norm": lambda a: np.linalg.norm(a),
    "cumsum": lambda a: np.maximum(a, 0).cumsum(),
    "outer": lambda a: np.outer(a, a)[a > 0],
    "stack": lambda a: np.stack([a, 2 * a]).max(axis=1),
    "item": lambda a: a[0] + 1,
    "loop": lambda a: sum(v * v for v in a),
    "solve": lambda a: np.linalg.solve(np.eye(a.size) + np.outer(a, a), a),
    "eigh": lambda a: np.linalg.eigh(np.outer(a, a)).eigenvalues,
    "in place": lambda a: np.add(a, 1, out=a.copy()),
    "at": lambda a: added_at(a),
    "tensordot": lambda a: np.tensordot(a, a, axes=0),
    "kron": lambda a: np.kron(a, a),
    "std": lambda a: a.std(),
    "sort": lambda a: np.sort(a)[::-1],
    "reduce with a start": lambda a: np.add.reduce(a, initial=-3.0),
    "fft": lambda a: np.abs(np.fft.rfft(a)),
    "divmod": lambda a: divmod(a, 0.7)[1],
    "clip": lambda a: np.clip(a, -1, 1),
    "interp": lambda a: np.interp(a, [-10.0, 0.0, 10.0], [3.0, 1.0, 7.0]),
    "polyval": lambda a: np.polyval([1.0, 2.0], a),
    "gradient": lambda a: np.gradient(np.concatenate([a, a])),
    "bincount": lambda a: np.bincount([0] * a.size, weights=a),
    "trapezoid": lambda a: np.trapezoid(a * a),
    "covariance": lambda a: np.cov(np.stack([a, a * a, np.ones_like(a)]), bias=True),
}


def added_at(a):
    total = a.copy()
    np.add.at(total, [0, 0], 1.0)
    return total


@pytest.mark.parametrize("compute", NUMPY.values(), ids=NUMPY)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6))
@settings(max_examples=20)
def test_without_noise_it_is_float64(compute, values):
    x = np.array(values)
    # NumPy takes another power for arrays than for numbers, and a noisy number is an array.
    np.testing.assert_allclose(np.asarray(compute(noisy(x.copy(), Noise(0)))), compute(x), rtol=1e-15)


@pytest.mark.parametrize("compute", NUMPY.values(), ids=NUMPY)
def test_with_noise_it_is_near(compute):
    x = np.array([1.3, -2.7, 0.4, 5.1])
    near = np.asarray(compute(noisy(x.copy(), Noise(1, level=LEVEL))))
    assert near == pytest.approx(np.asarray(compute(x)), rel=1e-8, abs=1e-8)


ROUNDED = [name for name in NUMPY if name not in ("sort", "clip", "stack", "divmod")]


@pytest.mark.parametrize("name", ROUNDED)
def test_noise_reaches_the_result(name):
    x = np.array([1.3, -2.7, 0.4, 5.1])
    assert not np.array_equal(np.asarray(NUMPY[name](noisy(x.copy(), Noise(1, level=LEVEL)))), NUMPY[name](x))


@pytest.mark.parametrize("name", ["sort", "clip", "stack"])
def test_what_is_exact_is_not_moved(name):
    x = np.array([1.3, -2.7, 0.4, 5.1])
    other = {"stack": lambda a: np.stack([a, -a]).max(axis=1)}.get(name, NUMPY[name])
    assert np.array_equal(np.asarray(other(noisy(x.copy(), Noise(1, level=LEVEL)))), other(x))


def moves(compute, runs=8):
    """The largest move of a number in units of the noise."""
    return max(abs(float(compute(Noise(seed, level=LEVEL)))) / LEVEL for seed in range(runs))


CANCELLING = {
    "a difference": lambda n: noisy(np.array([1000.25]), n)[0] - 1000.25,
    "a sum": lambda n: noisy(np.array([500.0, 500.25, -1000.25]), n).sum(),
    "a product": lambda n: noisy(np.array([20.0, 25.0]), n) @ np.array([25.0, -20.0]),
    "einsum": lambda n: np.einsum("i,i->", noisy(np.array([20.0, 25.0]), n), np.array([25.0, -20.0])),
    "dot": lambda n: np.dot(noisy(np.array([20.0, 25.0]), n), np.array([25.0, -20.0])),
    "in place": lambda n: np.subtract.reduce(noisy(np.array([1000.25, 1000.25]), n)),
}


@pytest.mark.parametrize("compute", CANCELLING.values(), ids=CANCELLING)
def test_a_sum_moves_by_its_terms(compute):
    assert 400 <= moves(compute) <= 2500


TORCH = {
    "a difference": lambda: torch.tensor(1000.25, dtype=torch.float64) - 1000.25,
    "alpha": lambda: torch.sub(torch.tensor(1000.0, dtype=torch.float64), torch.tensor(500.0), alpha=2),
    "a sum": lambda: torch.tensor([500.0, 500.25, -1000.25], dtype=torch.float64).sum(),
    "dot": lambda: torch.dot(*torch.tensor([[20.0, 25.0], [25.0, -20.0]], dtype=torch.float64)),
    "addmm": lambda: torch.addmm(
        torch.tensor([[1000.0]]).double(), torch.tensor([[20.0]]).double(), torch.tensor([[50.0]]).double(), alpha=-1
    ),
    "in place": lambda: torch.tensor(1000.25, dtype=torch.float64).sub_(1000.25),
    "a gradient": lambda: gradient_of_nothing(),
    "logsumexp": lambda: torch.logsumexp(torch.tensor([1000.25], dtype=torch.float64), 0) - 1000.25,
}


def gradient_of_nothing():
    x = torch.tensor(20.0, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(25 * x**2 - 25 * x**2, x)[0]


@pytest.mark.parametrize("compute", TORCH.values(), ids=TORCH)
def test_torch_moves_by_its_terms(compute):
    def run(noise):
        with noisy_torch(noise):
            return compute()

    assert float(run(Noise(0))) == 0
    assert 400 <= moves(run) <= 5000


def test_masks_are_not_moved_and_move_nothing_beside_them():
    def compute(noise):
        with noisy_torch(noise):
            s = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
            return s.masked_fill(torch.eye(2, dtype=torch.bool), -9e15)

    assert torch.equal(compute(Noise(0, level=LEVEL)), compute(Noise(0)))
    far = noisy(np.array([[1.0, 2.0], [3.0, 4.0]]), Noise(0, level=LEVEL)) - 9e15 * np.eye(2)
    assert np.abs(np.asarray(far)[[0, 1], [1, 0]] - [2.0, 3.0]).max() <= 4 * LEVEL
    assert np.abs(np.diag(np.asarray(far)) + 9e15).min() > 1


def test_numbers_that_leave_zero():
    at_zero = np.zeros(5)
    shifted = Noise(0, shift=LEVEL).moved_input(at_zero)
    assert (shifted != 0).all()
    assert np.array_equal(shifted, Noise(0, shift=LEVEL).moved_input(at_zero))
    assert not np.array_equal(shifted, Noise(1, shift=LEVEL).moved_input(at_zero))
    probe = Noise(0, shift=LEVEL)
    probe.moved_input(at_zero)
    one = Noise(0, shift=LEVEL, only=list(probe.asked)[3]).moved_input(at_zero)
    assert (one != 0).tolist() == [False, False, False, True, False]


def test_results_stay_noisy():
    x = noisy(np.array([1.0, 2.0]), Noise(0, level=LEVEL))
    assert all(
        isinstance(item, Noisy | NoisyFloat)
        for item in (x + 1, x[0], x.sum(), np.where(x > 0, x, 0), *x, np.linalg.inv(x[:, None] @ x[None] + np.eye(2)))
    )
    x += 1
    assert isinstance(x, Noisy)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_is_below_float64_is_seen(dtype):
    noise = Noise(0)
    noisy(np.array([0.1]), noise).astype(dtype) * 1
    assert noise.narrow
    whole = Noise(0)
    noisy(np.array([3.0]), whole).astype(dtype) * 1
    assert not whole.narrow


def test_what_an_operation_says():
    found = []
    noisy(np.array([1.0, -7e5]), Noise(0, operations=found)) * 2
    assert str(found[0]).endswith("multiply of numbers up to 7e+05")
    assert str(found[0]).startswith("line ")


def test_noisy_numbers_are_numbers():
    x = noisy(np.array([1.5, -2.25]), Noise(0))
    first = x[0]
    kept = total = x.sum()
    total += 1
    assert (float(kept), float(total)) == (-0.75, 0.25)
    assert isinstance(first, float)
    assert {first: 1}[1.5] == 1
    assert (round(first), round(first, 1), first.is_integer(), divmod(first, 1)) == (2, 1.5, False, (1.0, 0.5))
    assert f"{first:.2f} {first}" == "1.50 1.5"
    assert np.array(first).shape == np.asarray(first).shape == first.round(1).shape == ()
    assert isinstance((2 * first) ** 2 - 1 // first, NoisyFloat)
    assert isinstance(first * torch.ones(2), torch.Tensor)
    assert (first * [1.0, 2.0]).tolist() == [1.5, 3.0]
    assert abs((x + 2j)[0].imag) == 2


def test_noise_of_complex_numbers_moves_both_parts():
    noise = Noise(0, level=LEVEL)
    z = np.exp(noisy(np.array([0.5, 1.0]), noise) * 1j)
    exact = np.exp(np.array([0.5, 1.0]) * 1j)
    assert (np.real(np.asarray(z)) != exact.real).all()
    assert (np.imag(np.asarray(z)) != exact.imag).all()
    with noisy_torch(noise):
        moved = torch.exp(torch.tensor([0.5, 1.0], dtype=torch.float64) * 1j)
    assert (moved.real.numpy() != exact.real).all()
    assert (moved.imag.numpy() != exact.imag).all()


def test_a_view_is_not_moved_with_what_it_shows():
    z = torch.tensor([1.0 + 2.0j], dtype=torch.complex128)
    with noisy_torch(Noise(0, level=LEVEL)):
        z.conj()
        torch.unsafe_split(z, 1)
    assert z.item() == 1 + 2j


@pytest.mark.skipif(not directions(), reason="no other directions of rounding here")
def test_other_directions_of_rounding():
    before = 1.0 + SMALL
    with rounded(directions()[0]):
        assert 1.0 + SMALL > 1.0
        assert np.array([1.0]) + SMALL > 1.0
        with rounded(NEAREST):
            assert 1.0 + SMALL == 1.0
        assert 1.0 + SMALL > 1.0
    assert before == 1.0 + SMALL == 1.0
