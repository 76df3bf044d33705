"""Losses against ball arithmetic, their derivatives, their pair weights, and every refusal of bad parameters."""

import math
import re

import numpy as np
import pytest
import torch

from hltm.base.errors import InputError
from numeric.towers.losses import LossSpec, loss_derivatives, loss_spec, loss_value, pair_weight

EPS = torch.finfo(torch.float64).eps
SEEDS = range(3)
SPECS = [
    loss_spec("triplet", tau=0.25, margin=0.5),
    loss_spec("triplet", tau=1e-4),
    loss_spec("infonce", tau=0.5),
    loss_spec("infonce", tau=0.125, negatives=3),
    loss_spec("infonce", tau=1e-4, negatives=2),
    loss_spec("infonce", tau=8.0, negatives=4),
]
NAMES = [f"{s.name}-{s.tau}-{s.negatives}" for s in SPECS]


def distances(seed, spec, scale):
    """Dyadic distances, so that their differences are exact; some of them equal."""
    rng = np.random.default_rng(seed)
    r_pos = torch.from_numpy(rng.integers(0, 64, size=20) * scale)
    r_neg = torch.from_numpy(rng.integers(0, 64, size=(20, spec.negatives)) * scale)
    r_neg[:5, 0] = r_pos[:5]
    return r_pos, r_neg


def nearest(ball):
    return float(ball.mid().str(30, radius=False))


@pytest.mark.parametrize("scale", [2.0**-12, 2.0**-4, 2.0**14], ids=["close", "middle", "far"])
@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_value_lies_in_its_ball(seed, spec, scale, balls):
    r_pos, r_neg = distances(seed, spec, scale)
    found = loss_value(spec, r_pos, r_neg)
    for sample in range(len(r_pos)):
        oracle = nearest(balls.loss(r_pos[sample].item(), r_neg[sample].tolist(), spec.tau, spec.margin))
        # The differences are exact. Divided by tau they carry a relative error, which exp turns into |d| of
        # loss; at most H + 8 further roundings are relative to the result.
        reach = float((r_pos[sample] - r_neg[sample] + spec.margin).abs().max())
        assert abs(found[sample].item() - oracle) <= EPS * (4 * reach + (8 + spec.negatives) * oracle)


@pytest.mark.parametrize("scale", [2.0**-12, 2.0**-4, 2.0**14], ids=["close", "middle", "far"])
@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_derivatives_lie_in_their_balls_and_are_those_of_autograd(seed, spec, scale, balls):
    r_pos, r_neg = distances(seed, spec, scale)
    closed = loss_derivatives(spec, r_pos, r_neg)
    taped = [r_pos.clone().requires_grad_(), r_neg.clone().requires_grad_()]
    traced = torch.autograd.grad(loss_value(spec, *taped).sum(), taped)
    for sample in range(len(r_pos)):
        shares = balls.shares(r_pos[sample].item(), r_neg[sample].tolist(), spec.tau, spec.margin)
        reach = float((r_pos[sample] - r_neg[sample] + spec.margin).abs().max()) / spec.tau
        for positive, negative in (closed, traced):
            for k, share in enumerate(shares):
                # exp of a number of size `reach` has a relative error of eps * reach; more than 745 underflow
                # to 0.
                bound = EPS * (4 * min(reach, 745.0) + 8 + spec.negatives)
                assert abs(negative[sample, k].item() + nearest(share)) <= bound
            assert abs(positive[sample].item() - nearest(sum(shares))) <= bound * spec.negatives


@pytest.mark.parametrize("spec", [loss_spec("simple"), *SPECS], ids=["simple", *NAMES])
def test_family_of_statement_2(spec):
    r_pos, r_neg = distances(11, spec, 2.0**-10)
    positive, negative = loss_derivatives(spec, r_pos, r_neg)
    assert (positive > 0).all()
    assert (negative <= 0).all()
    # One sum of H terms, each at most 1.
    assert (positive + negative.sum(-1)).abs().max() <= EPS * spec.negatives


def test_simple_loss_is_the_difference():
    spec = loss_spec("simple")
    r_pos, r_neg = distances(1, spec, 0.5)
    assert torch.equal(loss_value(spec, r_pos, r_neg), r_pos - r_neg[:, 0])
    positive, negative = loss_derivatives(spec, r_pos, r_neg)
    assert torch.equal(positive, torch.ones(20).double())
    assert torch.equal(negative, -torch.ones(20, 1).double())


@pytest.mark.parametrize("spec", [loss_spec("simple"), *SPECS], ids=["simple", *NAMES])
def test_pair_weight_is_the_derivative_without_a_positive_distance(spec):
    _, r_neg = distances(5, spec, 2.0**-8)
    taped = r_neg.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss_value(spec, torch.zeros(20).double(), taped).sum(), taped)
    reach = float((r_neg - spec.margin).abs().max()) / spec.tau
    assert (pair_weight(spec, r_neg) + slope).abs().max() <= EPS * (8 * min(reach, 745.0) + 16)


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_pair_weight_of_points_that_coincide(spec):
    oracle = 1 / (1 + math.exp(-spec.margin / spec.tau)) if spec.name == "triplet" else 1 / (1 + spec.negatives)
    found = pair_weight(spec, torch.zeros(1, spec.negatives).double())
    assert (found - oracle).abs().max() <= 8 * EPS


@pytest.mark.parametrize("tau", [1e-4, 1.0])
@pytest.mark.parametrize("big", [1e6, 1e150, 1.7e308])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_nothing_overflows(tau, big, dtype):
    if big > torch.finfo(dtype).max:
        big = float(torch.finfo(dtype).max)
    spec = loss_spec("infonce", tau=tau, negatives=2)
    r_pos = torch.tensor([big, 0.0, big, 0.0], dtype=dtype, requires_grad=True)
    r_neg = torch.tensor([[0.0, big], [big, big], [big, big], [0.0, 0.0]], dtype=dtype, requires_grad=True)
    value = loss_value(spec, r_pos, r_neg)
    everything = [
        value,
        *torch.autograd.grad(value.sum() if big < 1e30 else value[1:].sum(), [r_pos, r_neg]),
        *loss_derivatives(spec, r_pos.detach(), r_neg.detach()),
        pair_weight(spec, r_neg.detach()),
    ]
    assert all(torch.isfinite(found).all() for found in everything)
    assert value[0] == r_pos[0]
    assert value[1] == 0
    tie = spec.tau * math.log(3)
    assert (value[2:] - tie).abs().max() <= 4 * torch.finfo(dtype).eps * tie


def test_small_values_keep_their_digits(balls):
    spec = loss_spec("infonce", tau=1.0)
    found = loss_value(spec, torch.zeros(1).double(), torch.full((1, 1), 60.0).double()).item()
    oracle = nearest(balls.loss(0.0, [60.0], 1.0))
    assert abs(found - oracle) <= 256 * EPS * oracle


def test_defaults_and_ready_specifications():
    spec = loss_spec("infonce", tau=0.5, negatives=np.int64(2))
    assert spec == LossSpec("infonce", tau=0.5, margin=0.0, negatives=2)
    assert loss_spec(spec) is spec
    assert loss_spec("triplet") == LossSpec("triplet", tau=0.1, margin=0.0, negatives=1)


REFUSED = [
    ("infonce", {"tau": 0}, "tau=0 of loss 'infonce': must be positive and finite"),
    ("infonce", {"tau": -1.0}, "tau=-1.0 of loss 'infonce': must be positive and finite"),
    ("triplet", {"tau": math.nan}, "tau=nan of loss 'triplet': must be positive and finite"),
    ("triplet", {"tau": math.inf}, "tau=inf of loss 'triplet': must be positive and finite"),
    ("triplet", {"tau": "0.1"}, "tau='0.1' of loss 'triplet': must be positive and finite"),
    ("triplet", {"tau": None}, "tau=None of loss 'triplet': must be positive and finite"),
    ("triplet", {"margin": math.nan}, "margin=nan of loss 'triplet': must be a finite number"),
    ("infonce", {"negatives": 0}, "negatives=0 of loss 'infonce': must be an integer >= 1"),
    ("infonce", {"negatives": -2}, "negatives=-2 of loss 'infonce': must be an integer >= 1"),
    ("infonce", {"negatives": 1.5}, "negatives=1.5 of loss 'infonce': must be an integer >= 1"),
    ("infonce", {"negatives": True}, "negatives=True of loss 'infonce': must be an integer >= 1"),
    ("infonce", {"margin": 1.0}, "margin=1.0 of loss 'infonce': this loss takes only tau, negatives"),
    ("triplet", {"negatives": 2}, "negatives=2 of loss 'triplet': this loss takes only tau, margin"),
    ("simple", {"tau": 0.1}, "tau=0.1 of loss 'simple': this loss takes no parameter"),
    (
        "infonce",
        {"temperature": 0.1},
        "temperature=0.1 of loss 'infonce': this loss takes only tau, negatives",
    ),
    ("hinge", {}, "loss='hinge': must be one of 'simple', 'triplet', 'infonce'"),
    (LossSpec("simple"), {"tau": 1.0}, "tau beside a ready loss 'simple': must be part of it"),
]


@pytest.mark.parametrize(("loss", "parameters", "message"), REFUSED, ids=[case[2][:50] for case in REFUSED])
def test_parameters_that_are_refused(loss, parameters, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        loss_spec(loss, **parameters)


@pytest.mark.parametrize("function", [loss_value, loss_derivatives])
def test_number_of_negatives_must_fit(function):
    message = "r_neg with 3 negatives for loss 'infonce': must have 2"
    with pytest.raises(InputError, match=message):
        function(loss_spec("infonce", negatives=2), torch.zeros(4), torch.zeros(4, 3))
    with pytest.raises(InputError, match=message):
        pair_weight(loss_spec("infonce", negatives=2), torch.zeros(4, 3))


@pytest.mark.parametrize("spec", [loss_spec("simple"), *SPECS], ids=["simple", *NAMES])
def test_batches_of_any_shape_are_batches_of_pairs(spec):
    r_pos, r_neg = distances(2, spec, 2.0**-6)
    lead = (5, 2, 2)
    stacked = r_pos.reshape(lead), r_neg.reshape(*lead, spec.negatives)
    assert torch.equal(loss_value(spec, *stacked), loss_value(spec, r_pos, r_neg).reshape(lead))
    for found, flat in zip(loss_derivatives(spec, *stacked), loss_derivatives(spec, r_pos, r_neg), strict=True):
        assert torch.equal(found, flat.reshape(found.shape))
        assert found.shape[:3] == lead
    assert torch.equal(pair_weight(spec, stacked[1]), pair_weight(spec, r_neg).reshape(stacked[1].shape))
    # One distance alone, without a batch.
    single = loss_value(spec, r_pos[7], r_neg[7])
    assert torch.equal(single, loss_value(spec, r_pos, r_neg)[7])
