"""Pack alpha-trace against finite differences in numpy, and what a user of `numeric` sees of it."""

import jaxtyping
import numpy as np
import pytest
import sympy
import torch

import numeric
import theory
from hltm.base.errors import InputError
from verify.engine.statement import Context
from verify.packs.alpha_measures import AlphaInstance, toy
from verify.packs.alpha_trace import ROUNDING, STATEMENT, ascent, closeness, measure_ascent

RNG = np.random.default_rng(7)
TAU, MARGIN = 0.6, 0.2
INPUTS = RNG.standard_normal((5, 3))
SECOND = INPUTS + 0.4 * RNG.standard_normal((5, 3))
WEIGHTS = RNG.standard_normal((2, 3))
OTHERS = ~np.eye(5, dtype=bool)


def distances(w):
    """d_i and d_ij."""
    f, g = INPUTS @ w.T, SECOND @ w.T
    return 0.5 * ((f - g) ** 2).sum(1), 0.5 * ((f[:, None] - f) ** 2).sum(2)


FUNCTIONS = {
    "infonce": (lambda x: TAU * np.log(1 + x), lambda u: np.exp(u / TAU)),
    "infonce-decoupled": (lambda x: TAU * np.log(x), lambda u: np.exp(u / TAU)),
    "triplet": (lambda x: x, lambda u: TAU * np.log1p(np.exp((u + MARGIN) / TAU))),
    "square": (lambda x: x**2, np.exp),
    "log-square": (lambda x: np.log(x) ** 2, np.exp),
}


def loss(w, name):
    """The sums as they are written."""
    phi, psi = FUNCTIONS[name]
    near, far = distances(w)
    return sum(phi(sum(psi(near[i] - far[i, j]) for j in range(5) if j != i)) for i in range(5))


def by_differences(function, at):
    """Central differences, good to about eight digits."""
    result = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        step = np.zeros_like(at)
        step[place] = 1e-6
        result[place] = (function(at + step) - function(at - step)) / 2e-6
    return result


def sides(w):
    """Outputs of both views as tensors."""
    return torch.tensor(INPUTS) @ w.T, torch.tensor(SECOND) @ w.T


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradient_of_the_loss_is_that_of_the_trace_with_held_weights(name):
    w = torch.tensor(WEIGHTS, requires_grad=True)
    f, g = sides(w)
    alpha = numeric.alpha_weights(f, g, name, TAU, MARGIN)
    value = float(numeric.alpha_loss(f, g, name, TAU, MARGIN).detach())
    assert value == pytest.approx(loss(WEIGHTS, name), rel=1e-13)
    trace = numeric.alpha_trace(f, g, alpha)
    (slope,) = torch.autograd.grad(trace, w)
    found = by_differences(lambda at: loss(at, name), WEIGHTS)
    np.testing.assert_allclose(-0.5 * slope.numpy(), found, rtol=1e-6, atol=1e-6 * np.abs(found).max())
    near, far = distances(WEIGHTS)
    assert float(trace.detach()) == pytest.approx(2 * (alpha.numpy() * (far - near[:, None])).sum(), rel=1e-12)


def test_a_gradient_through_the_weights_is_another_one():
    w = torch.tensor(WEIGHTS, requires_grad=True)
    f, g = sides(w)
    held, moving = (
        torch.autograd.grad(numeric.alpha_trace(f, g, numeric.alpha_weights(f, g, tau=TAU, held=held)), w,
                            retain_graph=True)[0]
        for held in (True, False)
    )  # fmt: skip
    # at least 0.16 of the larger side in the independent script of the notes
    assert float((held - moving).abs().max() / held.abs().max()) > 0.05


def test_no_feasible_weights_lie_below_the_loss_of_a_batch():
    """3,000 random rows of the simplex, as in the independent script of the notes."""
    near, far = distances(WEIGHTS)
    costs = (far - near[:, None])[OTHERS].reshape(5, 4)

    def player(a):
        return (a * costs + TAU * a * np.log(a)).sum(axis=(-1, -2))

    f, g = sides(torch.tensor(WEIGHTS))
    alpha = numeric.alpha_weights(f, g, "infonce-decoupled", TAU).numpy()[OTHERS].reshape(5, 4)
    assert player(alpha) == pytest.approx(-loss(WEIGHTS, "infonce-decoupled"), abs=1e-12)
    assert player(RNG.dirichlet(np.ones(4), size=(3000, 5))).min() >= player(alpha)
    slack = np.exp(-costs / TAU)
    slack /= 1 + slack.sum(1, keepdims=True)
    own = numeric.alpha_weights(f, g, "infonce", TAU).numpy()[OTHERS].reshape(5, 4)
    np.testing.assert_allclose(own, slack, rtol=1e-12)
    rest = 1 - slack.sum(1)
    assert player(slack) + TAU * (rest * np.log(rest)).sum() == pytest.approx(-loss(WEIGHTS, "infonce"), abs=1e-12)


def test_functions_of_a_user():
    f, g = sides(torch.tensor(WEIGHTS))
    named = numeric.alpha_loss(f, g, "square")
    assert torch.equal(numeric.alpha_loss(f, g, (torch.square, torch.exp)), named)


def test_ascent_ends_at_the_largest_eigenvalue_in_rank_one():
    """From 6 starts, as in the independent script of the notes, which ends 7e-15 away."""
    root = RNG.standard_normal((5, 5))
    cover = root @ root.T - 1.2 * np.eye(5)
    for _ in range(6):
        start = [RNG.standard_normal(shape) for shape in ((4, 5), (3, 4), (3, 3))]
        layers, value = numeric.ascend_trace(cover, start, 1500, 0.05)
        assert float(value) == pytest.approx(np.linalg.eigvalsh(cover)[-1] / 2, abs=1e-8)
        assert max(float(torch.linalg.svdvals(layer)[1]) for layer in layers) < 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_ascent_measures_as_many_batches_as_it_says(seed):
    found = ascent(Context(seed=seed))
    assert (found.status, found.instances) == ("holds", 6)
    assert found.tolerance < 2e-4


def test_the_tolerance_of_ascent_is_that_of_the_slowest_direction():
    assert closeness(1.0, 0.0) == pytest.approx(ROUNDING)
    assert closeness(1.0, 0.9) == pytest.approx((1.45 / 1.5) ** 150, rel=1e-9)
    assert closeness(0.125, -0.2) == pytest.approx((1 / 1.0625) ** 150, rel=1e-9)


@pytest.mark.parametrize("part", ["minimum", "slack"])
def test_the_sum_of_the_weights_is_derived_from_their_softmax(part):
    derived = theory.derive("alpha-trace", part=part)
    total = derived.claim.relations[2]
    for wrong in (sympy.Eq(2 * total.lhs, 1), sympy.Eq(total.lhs, sympy.Rational(1, 2))):
        assert derived.decides(derived.claim.replace(relations=(wrong,))).value is False
    assert derived.decides(derived.claim.replace(relations=(total,))).value is True


def test_an_eigenvalue_that_is_not_apart_is_left_open():
    instance = next(toy(0, 1))
    still = AlphaInstance(
        **{**instance.__dict__, "points": tuple(((0.0,) * len(row[0]),) * 2 for row in instance.points)}
    )
    assert measure_ascent(still).status == "abstained"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: numeric.alpha_loss(f[:1], f[:1]), "N >= 2"),
        (lambda f: numeric.alpha_loss(f, f[:, :1]), "that of outputs"),
        (lambda f: numeric.alpha_loss(f, f, "nce"), "infonce"),
        (lambda f: numeric.alpha_loss(f, f, tau=0.0), "positive and finite"),
        (lambda f: numeric.alpha_loss(f, f, "triplet", margin=float("nan")), "margin=nan"),
        (lambda f: numeric.alpha_loss(f, f, (torch.exp,)), "phi and psi"),
        (lambda f: numeric.alpha_loss(f / 0, f), "must be finite"),
        (lambda f: numeric.alpha_trace(f, f, torch.zeros(2, 3)), "alpha has shape"),
        (lambda f: numeric.alpha_trace(f, f, torch.ones(2, 2)), "diagonal"),
        (lambda _: numeric.ascend_trace([[1.0, 2.0], [0.0, 1.0]], []), "symmetric"),
        (lambda _: numeric.ascend_trace([[1.0]], [[[1.0, 2.0]]]), "must have 1 columns"),
        (lambda _: numeric.ascend_trace([[1.0]], [[[0.0]]]), "must not be zero"),
        (lambda _: numeric.ascend_trace([[1.0]], []), "must hold at least one layer"),
        (lambda _: numeric.ascend_trace([[1.0]], 3), "weights=3: must be a sequence of layers"),
        (lambda _: numeric.ascend_trace([[1.0]], [[[1.0]]], steps=1.5), "steps=1.5: must be an integer"),
        (lambda _: numeric.ascend_trace([[1.0]], [[[1.0]]], steps=True), "steps=True: must be an integer"),
        (lambda _: numeric.ascend_trace([[1.0]], [[[1.0]]], rate="x"), "rate='x': must be positive"),
        (lambda _: numeric.alpha_functions(tau="x"), "tau='x': must be positive and finite"),
        (lambda _: numeric.alpha_functions(tau=True), "tau=True: must be positive and finite"),
        (lambda _: numeric.alpha_functions("triplet", margin="x"), "margin='x': must be a finite number"),
        (lambda _: numeric.alpha_functions(3), "loss=3: must be a name"),
    ],
)
def test_bad_input(call, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as a user calls it
    with pytest.raises(InputError, match=message):
        call(torch.tensor([[0.5, 1.0], [2.0, 0.25]]))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("loss", "nce", "must be one of"),
        ("points", [[[1.0], [2.0]]], "at least 2"),
        ("feasible", [[0.5, 0.25], [0.5, 0.5]], "sum to 1"),
        ("pair_weights", [[1.0, 2.0], [3.0, 1.0]], "symmetric"),
    ],
)
def test_a_bad_instance_is_refused(key, value, message):
    good = {
        "slope": 1.0, "weights": [[[1.0]]], "points": [[[1.0], [2.0]], [[0.0], [1.0]]], "point_weights": [0.5, 0.5],
        "augmentation_weights": [[0.5, 0.5], [0.5, 0.5]], "loss": "infonce", "tau": 1.0, "margin": 0.0,
        "feasible": [[0.5, 0.5], [0.25, 0.75]], "pair_weights": [[1.0, 2.0], [2.0, 1.0]],
    }  # fmt: skip
    assert STATEMENT.instance_type.from_json(good).size == (1, 1)
    changed = {**good, key: value}
    if key == "points":
        changed |= {"point_weights": [1.0], "augmentation_weights": [[0.5, 0.5]]}
    with pytest.raises(InputError, match=message):
        AlphaInstance.from_json(changed)
