"""Pack byol-update against finite differences in numpy, and what a user of `numeric` sees of it."""

from itertools import product

import numpy as np
import pytest
import torch

import numeric
import theory
from hltm.base.errors import InputError
from verify.packs.byol import STATEMENT
from verify.packs.byol_measures import PACK, ByolInstance, float_gradient, toy

RNG = np.random.default_rng(5)
POINTS = RNG.standard_normal((3, 2, 3))
P_X = np.array([0.2, 0.3, 0.5])
Q = np.array([[0.5, 0.5], [0.25, 0.75], [0.6, 0.4]])
SHAPES = ((4, 3), (2, 4))
ONLINE = [RNG.standard_normal(shape) for shape in SHAPES]
TARGET = [RNG.standard_normal(shape) for shape in SHAPES]
PREDICTOR = RNG.standard_normal((2, 2))
SLOPE = 0.25
POPULATION = numeric.FinitePopulation(POINTS, P_X, Q)


def outputs(weights):
    """Outputs at all points and augmentations."""
    hidden = POINTS @ weights[0].T
    return np.where(hidden > 0, hidden, SLOPE * hidden) @ weights[1].T


def mean(f):
    """Expected output."""
    return np.einsum("m,ma,mak->k", P_X, Q, f)


def loss(weights, predictor, target, how="kept", held=None):
    """The literal sum over a point and two of its augmentations."""
    f, g = outputs(weights), outputs(target)
    if how != "kept":
        f, g = f - (held if how == "detached" else mean(f)), g - mean(g)
    if how == "standardised":
        f, g = (table / np.sqrt(np.einsum("m,ma,mak->k", P_X, Q, table**2)) for table in (f, g))
    total = 0.0
    for m, a, b in product(range(3), range(2), range(2)):
        gap = predictor @ f[m, a] - g[m, b]
        total += P_X[m] * Q[m, a] * Q[m, b] * 0.5 * gap @ gap
    return total


def falls(how, index=None):
    """``-grad`` by central differences, by a layer or by the predictor."""
    held, step = mean(outputs(ONLINE)), 1e-6
    start = PREDICTOR if index is None else ONLINE[index]
    result = np.zeros_like(start)
    for place in np.ndindex(*start.shape):
        values = []
        for sign in (1, -1):
            moved = start.copy()
            moved[place] += sign * step
            weights = [moved if number == index else layer for number, layer in enumerate(ONLINE)]
            values.append(loss(weights, moved if index is None else PREDICTOR, TARGET, how, held))
        result[place] = (values[1] - values[0]) / (2 * step)
    return result


@pytest.mark.parametrize("how", ["kept", "subtracted", "detached", "standardised"])
def test_the_update_is_that_of_finite_differences(how):
    layers, by_predictor = numeric.byol_gradient(ONLINE, POPULATION, PREDICTOR, TARGET, SLOPE, how)
    for index, layer in enumerate(layers):
        np.testing.assert_allclose(layer, falls(how, index), atol=2e-8)
    np.testing.assert_allclose(by_predictor, falls(how), atol=2e-8)


@pytest.mark.parametrize("how", ["kept", "subtracted"])
def test_the_operator_is_the_gradient(how):
    layers, _ = numeric.byol_gradient(ONLINE, POPULATION, PREDICTOR, TARGET, SLOPE, how)
    for left, right in zip(layers, numeric.byol_update(ONLINE, POPULATION, PREDICTOR, TARGET, SLOPE, how), strict=True):
        # 4.4e-16 and 1.0e-15 in the independent script of the notes
        assert float((left - right).norm() / left.norm()) < 1e-14


def test_a_standardised_layer_has_no_gradient_along_itself():
    """The top layer stands in front of BatchNorm: w_j . grad_{w_j} = 0 for each of its rows."""
    layers, _ = numeric.byol_gradient(ONLINE, POPULATION, PREDICTOR, TARGET, SLOPE, "standardised")
    along = (torch.as_tensor(ONLINE[-1]) * layers[-1]).sum(1)
    assert float(along.abs().max()) < 1e-14 < float(layers[-1].abs().min())


def test_zero_mean_without_a_predictor_adds_nothing_that_repels():
    def update(predictor):
        return numeric.byol_update(ONLINE, POPULATION, predictor, ONLINE, SLOPE, "subtracted")

    for c, sign in ((1.0, 0), (0.5, 1), (2.0, -1)):
        pulled = numeric.byol_update(ONLINE, POPULATION, np.eye(2), ONLINE, SLOPE)  # -E V_aug[K] vec W
        operator = [2 * v for v in numeric.predicted_update(ONLINE, POPULATION, "simple", SLOPE)]
        for layer, pull, contrast in zip(update(c * np.eye(2)), pulled, operator, strict=True):
            implicit = layer - c**2 * pull
            np.testing.assert_allclose(implicit, c * (1 - c) * contrast / 4, atol=1e-13)
            assert np.sign(round(float((implicit * contrast).sum()), 10)) == sign


def test_at_the_optimal_predictor_no_norm_moves_and_next_to_it_they_do():
    best = numeric.optimal_predictor(ONLINE, POPULATION, TARGET, SLOPE)
    layers, by_predictor = numeric.byol_gradient(ONLINE, POPULATION, best, TARGET, SLOPE)
    assert float(by_predictor.abs().max()) < 1e-14
    assert all(abs(float((torch.as_tensor(w) * g).sum())) < 1e-13 for w, g in zip(ONLINE, layers, strict=True))
    top = layers[-1] @ torch.as_tensor(ONLINE[-1]).T
    assert float(top.abs().max()) < 1e-13
    layers, _ = numeric.byol_gradient(ONLINE, POPULATION, 0.7 * best, TARGET, SLOPE)
    assert all(abs(float((torch.as_tensor(w) * g).sum())) > 1e-2 for w, g in zip(ONLINE, layers, strict=True))


def test_descent_without_predictor_collapses_and_the_optimal_one_does_not():
    bare = numeric.descend_byol(ONLINE, POPULATION, 0.02, 400, every=100, slope=SLOPE)
    norms = bare.norms
    assert bool((norms[1:] < norms[:-1]).all())
    best = numeric.descend_byol(ONLINE, POPULATION, 0.002, 400, every=100, slope=SLOPE, optimal=True)
    assert float((best.norms[-1] / best.norms[0] - 1).abs().max()) < 0.02
    assert bare.diverged_at is None
    assert bare.steps == (0, 100, 200, 300, 400)


def test_the_target_is_an_average_of_the_online_weights():
    trace = numeric.descend_byol(ONLINE, POPULATION, 0.01, 3, predictor=PREDICTOR, predictor_lr=0.01, ema=0.9)
    expected = torch.as_tensor(ONLINE[0])
    for record in range(1, 4):
        expected = 0.9 * expected + 0.1 * trace.weights[0][record]
        torch.testing.assert_close(trace.target[0][record], expected, rtol=1e-14, atol=0)
    kept = numeric.descend_byol(ONLINE, POPULATION, 0.01, 3, ema=1.0)
    assert torch.equal(kept.target[0][3], kept.target[0][0])


def test_descent_that_diverges_ends_at_its_last_finite_record():
    trace = numeric.descend_byol([[[1.0]]], numeric.FinitePopulation([[[1.0], [3.0]]]), 1e200, 5)
    assert trace.diverged_at is not None
    assert all(bool(torch.isfinite(layer).all()) for layer in trace.weights)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: numeric.byol_gradient(ONLINE, POPULATION, np.eye(3)), r"predictor has shape \(3, 3\): must be \(2, 2\)"),
        (lambda: numeric.byol_gradient(ONLINE, POPULATION, mean="half"), "mean='half': must be one of kept"),
        (lambda: numeric.byol_gradient([0 * ONLINE[0], ONLINE[1]], POPULATION, mean="standardised"), "deviation is 0"),
        (lambda: numeric.byol_update(ONLINE, POPULATION, mean="detached"), "mean='detached': must be one of kept, sub"),
        (lambda: numeric.byol_update(ONLINE, POPULATION, lambda f: f), "predictor of byol_update: must be a matrix"),
        (lambda: numeric.byol_gradient(ONLINE, POPULATION, target=[np.ones((3, 3))]), "target has 3 outputs: must have 2"),
        (lambda: numeric.byol_gradient([np.ones((2, 2))], POPULATION), r"weights\[0\] has 2 columns: must have 3"),
        (lambda: numeric.optimal_predictor([0 * ONLINE[0], ONLINE[1]], POPULATION), "has rank below 2"),
        (lambda: numeric.descend_byol(ONLINE, POPULATION, 0.1, 1, predictor=lambda f: f), "predictor of descend_byol: must"),
        (lambda: numeric.descend_byol(ONLINE, POPULATION, 0.0, 1), "lr=0.0: must be positive"),
        (lambda: numeric.descend_byol(ONLINE, POPULATION, 0.1, 1, ema=1.5), r"ema=1.5: must lie in \[0, 1\]"),
        (lambda: numeric.descend_byol(ONLINE, POPULATION, 0.1, -1), "steps=-1: must be an integer >= 0"),
        (lambda: numeric.descend_byol(ONLINE, POPULATION, 0.1, 1, predictor_lr=-1.0), "predictor_lr=-1.0: must be fin"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_wrong_factor_in_the_shown_relation_is_refuted_by_every_kind():
    derived = theory.derive("byol-update", part="implicit-contrast")
    wrong = STATEMENT.variant("contrast-doubled")
    relations = wrong.claim.change(derived.claim)
    assert derived.decides(relations).value is False
    instance = next(i for i in toy(3, 20) if PACK.measure(i, wrong.claim).status == "refuted")
    assert PACK.measure(instance, wrong.claim, floating=True).status == "refuted"
    assert PACK.measure(instance).status == "holds"


def test_rounding_is_no_refutation_where_everything_cancels():
    """A predictor that is the identity but for rounding: the probe in float32 sees nothing there."""
    tower = (((-1.5, -3.0), (-2.0, -2.0)), ((-2.0, -0.625), (-3.0, -2.0)))
    other = (((-1.5, -3.0), (-2.0, 2.0)), ((-2.0, -0.625), (-3.0, -2.0)))
    points = (((-1.75, -1.0),), ((0.0, -3.0),), ((1.75, 2.875),))
    instance = ByolInstance(
        0.0, tower, other, ((1.375, -1.0), (1.0, 2.25)), 1.0, points, (0.125, 0.375, 0.5), ((1.0,),) * 3
    )
    assert PACK.measure(instance.checked(), floating=True).status == "holds"
    by_predictor = float_gradient(instance, "optimal", "cpu")[1]
    assert all(abs(entry.value) <= entry.error < 1e-9 for entry in by_predictor.flat)


def test_what_is_no_instance_of_the_pack():
    good = next(toy(0, 1)).as_json()
    with pytest.raises(InputError, match="target_weights has shapes"):
        ByolInstance.from_json({**good, "target_weights": [[[1.0] * 9]]})
    with pytest.raises(InputError, match="predictor has shape"):
        ByolInstance.from_json({**good, "predictor": [[1.0] * 7]})
    with pytest.raises(InputError, match="scale=nan: must be finite"):
        ByolInstance.from_json({**good, "scale": float("nan")})
