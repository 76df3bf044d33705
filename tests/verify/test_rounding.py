"""Tolerances: above what rounding does, far below what an error does."""

from dataclasses import replace

import numpy as np
import pytest

from verify import theorem1, theorem3, theorem4
from verify.instances import samples
from verify.tolerance import rounding


def test_gamma():
    assert rounding.gamma(10) > 10 * 2.0**-53
    assert rounding.gamma(10) < 10.0000001 * 2.0**-53


def test_magnitudes_bound_the_tower():
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal((4, 3)), rng.standard_normal((2, 4))]
    points = rng.standard_normal((20, 3))
    bound = rounding.magnitudes(weights, points, 0.1)
    p = points @ weights[0].T
    output = np.where(p > 0, p, 0.1 * p) @ weights[1].T
    assert (np.abs(output) <= bound.output).all()
    jacobian = weights[1][None] * np.where(p > 0, 1.0, 0.1)[:, None, :]
    assert (np.abs(jacobian) <= bound.jacobians[0] * (1 + 1e-12)).all()
    dense = np.stack([np.kron(f[:, None], j.T) for f, j in zip(bound.activations[0], bound.jacobians[0], strict=True)])
    u = rng.random((20, 2))
    contracted = np.einsum("nqi,ni->q", dense, u)
    assert np.allclose(contracted, bound.contract(1, u).T.reshape(-1), rtol=1e-13, atol=0)


def test_a_gate_within_rounding_of_zero_is_seen():
    weights = [np.array([[0.1, 0.2, -0.3]]), np.array([[1.0]])]
    near = rounding.magnitudes(weights, np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]), 0.0).near_kink
    # 0.1 + 0.2 - 0.3 is 5.6e-17 in float64 and 0 in the reals; a zero input is zero term by term in any order.
    assert near.tolist() == [True, False, False]


@pytest.mark.parametrize("relative", [1e-6, -1e-6])
def test_an_error_of_one_in_a_million_is_refuted(relative):
    """The float checks of statements 1, 3 and 4 see a relative error of 1e-6 on most random instances."""
    cases = {
        "1": (theorem1, samples.toy_pairs(11, 12), lambda i: lambda a, b, layer: theorem1.stated(a, b, layer) * (1 + relative)),
        "3": (theorem3, samples.toy_populations(11, 12), lambda i: theorem3.Claim(lambda e, layer: theorem3.stated(e, layer) * (1 + relative))),
        "4": (theorem4, samples.toy_populations(11, 12, theorem4.LOSSES, augmentations=1), lambda i: theorem4.Claim(factor=1 + relative)),
    }  # fmt: skip
    for name, (module, instances, claim) in cases.items():
        found = [module.measure_float(i, claim(i)).status for i in instances]
        assert found.count("refuted") >= 6, f"statement {name}, seed 11: {found}"


def test_true_statements_stay_far_below_the_tolerance():
    """No residual of 60 random instances reaches a tenth of its tolerance: the bounds are bounds, not fits."""
    pairs = [theorem1.measure_float(i) for i in samples.toy_pairs(5, 30)]
    populations = [theorem3.measure_float(i) for i in samples.toy_populations(5, 30)]
    decided = [m for m in pairs + populations if m.decided]
    assert len(decided) > 40
    assert max(m.severity for m in decided) < 0.1, "seed 5"


def test_measured_tolerance_scales_with_single_precision():
    double = [np.array([1.0, 2.0])]
    single = [np.array([1.0 + 1e-6, 2.0])]
    assert rounding.measured_tolerance(double, single) == pytest.approx(64 * 1e-6 * 2.0**-29)
    assert rounding.measured_tolerance(double, double) == 64 * 2.0**-53 * 2.0


def test_worse_prefers_nan_and_excess():
    start = rounding.Measurement(0.0, 1.0)
    found = rounding.worse(start, np.array([0.5, np.nan]), np.array([1.0, 1.0]), "here")
    assert found.status == "refuted"
    assert rounding.worse(start, np.array([0.5, 3.0, 2.0]), np.array([1.0, 1.0, 1.0]), "here").residual == 3.0


def test_an_instance_near_a_kink_is_left_open():
    base = next(iter(samples.toy_pairs(1, 1)))
    instance = replace(
        base, slope=0.0, weights_1=(((0.1, 0.2, -0.3),), ((1.0,),)), weights_2=(((1.0, 1.0, 1.0),), ((1.0,),)),
        x_1=(1.0, 1.0, 1.0), x_2=(1.0, 2.0, 3.0),
    )  # fmt: skip
    assert theorem1.measure_float(instance).status == "abstained"
    assert theorem1.measure_exact(instance).status == "holds"
