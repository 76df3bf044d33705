"""Losses without negatives on images: against their published formulas, and BYOL's target and checkpoints."""

import numpy as np
import pytest
import torch

from hltm.base.errors import InputError
from numeric.studies.images.augment import RECIPES
from numeric.studies.images.data import load_images
from numeric.studies.images.losses import ImageLoss
from numeric.studies.images.network import Shape, make_network
from numeric.studies.images.noncontrastive import Byol, redundancy_loss
from numeric.studies.images.training import Trainer, Training, saved, train_images

SHAPE = Shape(width=2, hidden=6, out=4)
RNG = np.random.default_rng(3)
VIEWS = [(lambda f: f / np.linalg.norm(f, axis=1, keepdims=True))(RNG.standard_normal((7, 4))) for _ in range(2)]


def trainer(**options):
    data = load_images("digits", subset=64)
    return Trainer(Training(ImageLoss("byol", **options), epochs=2, batch=16), SHAPE, RECIPES["digits"], data)


def test_losses_are_the_published_formulas():
    one, two = VIEWS
    torch_views = [torch.as_tensor(f) for f in VIEWS]
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    spectral = -2 * np.mean([a @ b for a, b in zip(one, two, strict=True)])
    spectral += np.mean([(one[i] @ two[j]) ** 2 for i, j in pairs])
    assert float(redundancy_loss("spectral", *torch_views)) == pytest.approx(spectral, rel=1e-12)

    standard = [(f - f.mean(0)) / np.sqrt(f.var(0) + 1e-8) for f in VIEWS]
    correlation = np.array([[np.mean(standard[0][:, i] * standard[1][:, j]) for j in range(4)] for i in range(4)])
    barlow = sum((1 - correlation[i, i]) ** 2 for i in range(4))
    barlow += 0.005 * sum(correlation[i, j] ** 2 for i in range(4) for j in range(4) if i != j)
    assert float(redundancy_loss("barlow", *torch_views)) == pytest.approx(barlow, rel=1e-12)

    scaled = [2 * f for f in VIEWS]  # the root of four outputs
    vicreg = 25 * np.mean((scaled[0] - scaled[1]) ** 2)
    for f in scaled:
        vicreg += 25 * np.mean(np.maximum(0, 1 - np.sqrt(f.var(0) + 1e-4))) / 2
        covariance = np.cov(f.T)
        vicreg += sum(covariance[i, j] ** 2 for i in range(4) for j in range(4) if i != j) / 4
    assert float(redundancy_loss("vicreg", *torch_views)) == pytest.approx(vicreg, rel=1e-12)


def test_byol_loss_by_hand():
    learner = Byol(torch.nn.Identity(), 4, 0.9).double()
    matrix = RNG.standard_normal((4, 4))
    with torch.no_grad():
        learner.predictor.weight.copy_(torch.as_tensor(matrix))
    outputs, targets = (torch.as_tensor(np.concatenate(f)) for f in (VIEWS, [3 * f for f in VIEWS[::-1]]))
    total = []
    for first, second in ((0, 0), (1, 1)):  # the targets are the views exchanged, and tripled
        for a, b in zip(VIEWS[first], VIEWS[second], strict=True):
            q = matrix @ a
            total.append(0.5 * np.sum((q / np.linalg.norm(q) - b) ** 2))
    assert learner.loss(outputs, targets).item() == pytest.approx(np.mean(total), rel=1e-12)


def test_no_gradient_reaches_the_target_and_it_follows():
    run = trainer(ema=0.75)
    start = {name: value.clone() for name, value in run.learner.target.state_dict().items()}
    run.take_step()
    assert all(each.grad is None for each in run.learner.target.parameters())
    assert run.learner.predictor.weight.grad.abs().max() > 0
    for name, value in run.learner.target.state_dict().items():
        expected = 0.75 * start[name] + 0.25 * run.network.state_dict()[name]
        torch.testing.assert_close(value, expected)


def test_a_step_is_the_gradient_through_the_online_network_only():
    run = trainer()
    loss = run.loss(0)
    loss.backward()
    found = [each.grad.clone() for each in run.network.parameters()]
    again = trainer()
    with torch.no_grad():
        for each in again.learner.target.parameters():
            each.add_(0.1)
    again.loss(0).backward()
    others = [each.grad for each in again.network.parameters()]
    assert any((a - b).abs().max() > 1e-6 for a, b in zip(found, others, strict=True))


def test_a_resumed_run_ends_with_the_same_numbers(tmp_path):
    data = load_images("digits", subset=64)
    settings = Training(ImageLoss("byol", ema=0.9), epochs=2, batch=16, every=1)
    whole = train_images(settings, SHAPE, RECIPES["digits"], data)
    kept = train_images(settings, SHAPE, RECIPES["digits"], data, folder=tmp_path / "run")
    again = train_images(settings, SHAPE, RECIPES["digits"], data, folder=tmp_path / "run")
    assert all(torch.equal(a, b) for a, b in zip(kept.network.parameters(), again.network.parameters(), strict=True))
    half = Trainer(settings, SHAPE, RECIPES["digits"], data)
    for _ in range(half.per_epoch):
        half.take_step()
    tensors = saved(half.learner, half.optimizer)
    rest = Trainer(settings, SHAPE, RECIPES["digits"], data)
    rest.restore(tensors, half.step)
    for _ in range(rest.per_epoch):
        rest.take_step()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, rest.network.state_dict()[name]), name


def test_bad_input_is_one_line():
    with pytest.raises(InputError, match=r"ema=1.5: must lie in \[0, 1\]"):
        ImageLoss("byol", ema=1.5)
    with pytest.raises(InputError, match=r"must be one of ntxent, .*, byol"):
        ImageLoss("moco")


def test_the_first_predictor_is_the_identity():
    learner = Byol(make_network(SHAPE, 0), 4, 0.9)
    assert torch.equal(learner.predictor.weight, torch.eye(4))
