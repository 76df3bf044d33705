"""Gradient descent against autograd on the literal loss, exact rationals, closed forms; rings; refusals."""

import itertools
import math
import re

import pytest
import torch

from hltm.base.errors import InputError
from numeric.towers.descent import descend
from numeric.towers.losses import loss_spec
from numeric.towers.network import random_weights
from numeric.towers.populations import FinitePopulation, ring_population

EPS = torch.finfo(torch.float64).eps
LOSSES = [
    ("simple", {}),
    ("triplet", {"tau": 0.5, "margin": 0.25}),
    ("infonce", {"tau": 2.0}),
    ("infonce", {"tau": 1.0, "negatives": 2}),
]


def literal_loss(weights, population, loss, slope, tau=1.0, margin=0.0, negatives=1):
    """E[L] by loops over points, augmentations and negatives: an oracle that shares no code with the package."""
    points, w, u = population.points, population.point_weights, population.augmentation_weights
    outputs = []
    for group in points:
        row = []
        for x in group:
            for matrix in weights[:-1]:
                p = matrix @ x
                x = torch.where(p > 0, p, slope * p)
            row.append(weights[-1] @ x)
        outputs.append(row)
    pool = [(n, c) for n in range(len(w)) for c in range(len(u[n]))]
    total = torch.zeros((), dtype=torch.float64)
    for m, row in enumerate(outputs):
        for (a, f), (b, g) in itertools.product(enumerate(row), enumerate(row)):
            r_pos = ((f - g) ** 2).sum() / 2
            for chosen in itertools.product(pool, repeat=negatives):
                chance = w[m] * u[m][a] * u[m][b]
                for n, c in chosen:
                    chance = chance * w[n] * u[n][c]
                r_neg = [((f - outputs[n][c]) ** 2).sum() / 2 for n, c in chosen]
                if loss == "simple":
                    value = r_pos - r_neg[0]
                elif loss == "triplet":
                    value = tau * torch.log(1 + torch.exp((r_pos - r_neg[0] + margin) / tau))
                else:
                    attraction = torch.exp(-r_pos / tau)
                    value = -tau * torch.log(attraction / (attraction + sum(torch.exp(-r / tau) for r in r_neg)))
                total = total + chance * value
    return total


@pytest.mark.parametrize(("loss", "parameters"), LOSSES, ids=str)
@pytest.mark.parametrize("widths", [(2, 2), (2, 3, 2), (2, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.25, 1.0])
def test_steps_are_those_of_autograd_on_the_literal_loss(loss, parameters, widths, slope, make_population):
    weights = random_weights(widths, generator=torch.Generator().manual_seed(3))
    population = FinitePopulation(**make_population(5, 2, 2, 2))
    lr, steps = 0.05, 3
    trace = descend(weights, population, loss, lr, steps, slope=slope, **parameters)
    assert trace.steps == (0, 1, 2, 3)
    moved = [w.clone().requires_grad_() for w in weights]
    for record in range(steps + 1):
        value = literal_loss(moved, population, loss, slope, **parameters)
        # Sums of at most 64 terms through 3 layers on numbers of order 10, a few steps apart.
        assert abs(float(value.detach() - trace.losses[record])) <= 1e5 * EPS, f"record {record}"
        for found, oracle in zip(trace.at(record), moved, strict=True):
            assert (found - oracle).abs().max() <= 1e5 * EPS, f"record {record}"
        gradient = torch.autograd.grad(value, moved)
        moved = [(w - lr * g).detach().requires_grad_() for w, g in zip(moved, gradient, strict=True)]


@pytest.mark.parametrize("convention", ["shared", "one-branch"])
def test_a_step_is_exact_on_dyadic_numbers(convention, exact, make_tower, make_population):
    weights = make_tower(1, (2, 2, 2))
    arguments = make_population(1, 2, 2, 2, weights=weights)
    population = FinitePopulation(**arguments)
    trace = descend(weights, population, "simple", 0.25, 1, convention=convention)
    oracle = {
        key: exact.rational(value)
        for key, value in zip(
            "wup", (arguments["point_weights"], arguments["augmentation_weights"], arguments["points"]), strict=True
        )
    }
    case = {"points": oracle["p"], "w": oracle["w"], "u": oracle["u"], "negatives": 1}
    table = [exact.rational(w) for w in weights]
    fixed = exact.table(table, case, 0.0)

    def loss(moved):
        outputs = exact.table(moved, case, 0.0)
        return exact.expected(outputs, outputs if convention == "shared" else fixed, case, lambda p, n: p - n[0])

    gradient = exact.differences(loss, table)
    for layer, (before, slope) in enumerate(zip(table, gradient, strict=True)):
        stepped = [[b - g / 4 for b, g in zip(*rows, strict=True)] for rows in zip(before, slope, strict=True)]
        assert exact.rational(trace.at(1)[layer]) == stepped


def test_a_linear_layer_grows_as_its_eigenvalues_say():
    """One layer, simple loss: W <- W (1 + 2 lr Cov_x[E_aug x]), in closed form."""
    population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    variance, lr = 2.25, 0.125
    trace = descend([[[1.0]]], population, "simple", lr, 8, every=4)
    assert trace.steps == (0, 4, 8)
    for step, weight in zip(trace.steps, trace.weights[0].flatten(), strict=True):
        assert math.isclose(float(weight), (1 + 2 * lr * variance) ** step, rel_tol=64 * EPS)


@pytest.mark.parametrize(
    ("steps", "every", "expected"), [(0, 1, (0,)), (5, 2, (0, 2, 4, 5)), (4, 9, (0, 4)), (4, 2, (0, 2, 4))]
)
def test_records(steps, every, expected):
    trace = descend([[[1.0]]], FinitePopulation([[[0.0]], [[1.0]]]), "simple", 0.1, steps, every=every)
    assert trace.steps == expected
    assert all(layer.shape[0] == len(expected) for layer in trace.weights)
    assert trace.losses.shape == (len(expected),)
    assert trace.diverged_at is None
    assert f"finished at step {steps}" in trace.report


def test_what_is_computed_is_float64_and_the_start_is_not_changed():
    start = [torch.tensor([[1.0, -1.0]], dtype=torch.float32), torch.tensor([[2.0]], dtype=torch.float32)]
    kept = [w.clone() for w in start]
    population = FinitePopulation(torch.randn(2, 2, 2, generator=torch.Generator().manual_seed(0)))
    trace = descend(start, population, loss_spec("infonce", tau=0.5), 0.1, 2)
    assert all(layer.dtype == torch.float64 for layer in trace.weights)
    assert all(torch.equal(a, b) for a, b in zip(start, kept, strict=True))
    assert not trace.losses.requires_grad
    with pytest.raises(AttributeError):
        trace.lr = 1.0


@pytest.mark.parametrize("every", [1, 100])
def test_divergence_names_the_step_and_the_last_good_record(every):
    trace = descend([[[1.0]], [[1.0]]], FinitePopulation([[[1.0]], [[3.0]]]), "simple", 10.0, 100, every=every)
    assert trace.diverged_at is not None
    assert trace.steps[-1] < trace.diverged_at <= 100
    assert all(bool(torch.isfinite(layer).all()) for layer in trace.weights)
    assert bool(torch.isfinite(trace.losses).all())
    assert trace.report.startswith(f"diverged at step {trace.diverged_at} with lr=10; the last finite record is step")


BAD = {
    "lr zero": ({"lr": 0.0}, "lr=0.0 of gradient descent: must be positive and finite"),
    "lr nan": ({"lr": math.nan}, "lr=nan of gradient descent: must be positive and finite"),
    "steps negative": ({"steps": -1}, "steps=-1 of gradient descent: must be an integer >= 0"),
    "every zero": ({"every": 0}, "every=0 of gradient descent: must be an integer >= 1"),
    "every boolean": ({"every": True}, "every=True of gradient descent: must be an integer >= 1"),
    "slope": ({"slope": 2.0}, "slope=2.0 of the activation: must lie in [0, 1]"),
    "convention": ({"convention": "both"}, "convention='both': must be 'shared' or 'one-branch'"),
    "loss": ({"loss": "hinge"}, "loss='hinge': must be one of 'simple', 'triplet', 'infonce'"),
    "an ensemble": ({"weights": [torch.ones(2, 1, 1).double()]}, "weights: ensemble of 2 networks: must be one network; take one member"),
    "a start beyond numbers": ({"weights": [[[1e200]]]}, "loss 'simple' of the starting weights: is -inf, must be finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    change, message = BAD[name]
    arguments = {"weights": [[[1.0]]], "loss": "simple", "lr": 0.1, "steps": 1, **change}
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        descend(population=FinitePopulation([[[0.0]], [[1.0]]]), **arguments)


@pytest.mark.parametrize("positions", [4, 5, 8])
def test_a_ring_shows_all_translations_of_both_objects(positions):
    population = ring_population(positions)
    assert population.points.shape == (2, positions, positions)
    for points, gap in zip(population.points, (1, 2), strict=True):
        pairs = {tuple(sorted(int(i) for i in x.nonzero().flatten())) for x in points}
        assert pairs == {tuple(sorted((i, (i + gap) % positions))) for i in range(positions)}
    means = population.mean(population.flat_points)
    assert torch.equal(means[0], means[1])


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ((3,), "'11' and '101' on 3 positions: are translations of each other"),
        ((2,), "pattern='101' of a ring: has 3 digits, at most 2 positions"),
        ((0,), "positions=0 of a ring: must be a positive integer"),
        ((4, []), "patterns=[] of a ring"),
        ((4, "11"), "patterns='11' of a ring: must list"),
        ((4, ["12"]), "pattern='12' of a ring: must be text of the digits 0 and 1"),
        ((4, [11]), "pattern=11 of a ring"),
    ],
)
def test_bad_rings(arguments, fragment):
    with pytest.raises(InputError, match=re.escape(fragment)):
        ring_population(*arguments)
