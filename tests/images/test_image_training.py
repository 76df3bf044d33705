"""Training: determinism, resuming, and every way in which a run can end badly."""

import json
import re

import pytest
import torch

from hltm.errors import InputError
from hltm.progress import Progress
from numeric.images.losses import ImageLoss
from numeric.images.run import train_images
from numeric.images.training import Trainer, Training, fitting_batch

from .conftest import LOSSES


class Killed(BaseException):
    pass


class StopsAt(Progress):
    """Ends the process, so to speak, when a step is told."""

    def __init__(self, step):
        self.left = step

    def step(self, text):
        self.left -= 1
        if self.left == 0:
            raise Killed


def state(run):
    return {name: value.clone() for name, value in run.network.state_dict().items()}


def equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


@pytest.mark.parametrize("loss", LOSSES)
def test_a_seed_gives_the_same_numbers(loss, small, digits, recipe):
    settings, shape = small(loss, epochs=1)
    runs = []
    for junk in (1, 2):
        torch.manual_seed(junk)
        runs.append(train_images(settings, shape, recipe, digits))
    equal(state(runs[0]), state(runs[1]))
    assert runs[0].history == runs[1].history
    other = train_images(small(loss, epochs=1, seed=6)[0], shape, recipe, digits)
    assert other.history != runs[0].history


def test_training_leaves_the_global_state_alone(small, digits, recipe):
    before = torch.random.get_rng_state()
    train_images(*small(epochs=1), recipe, digits)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_a_killed_run_goes_on_with_the_same_numbers(step, small, digits, recipe, tmp_path):
    settings, shape = small()

    def evaluate(network, epoch):
        return {"mean": float(network.head.first.weight.mean()), "epoch again": epoch}

    whole = train_images(settings, shape, recipe, digits, evaluate=evaluate)
    with pytest.raises(Killed):
        train_images(settings, shape, recipe, digits, evaluate=evaluate, folder=tmp_path, progress=StopsAt(step))
    again = train_images(settings, shape, recipe, digits, evaluate=evaluate, folder=tmp_path)
    equal(state(whole), state(again))
    assert again.history == whole.history
    # A run that is complete is read, not trained.
    third = train_images(settings, shape, recipe, digits, evaluate=evaluate, folder=tmp_path, progress=StopsAt(1))
    equal(state(whole), state(third))


def test_batch_norm_goes_on_with_its_statistics(small, digits, recipe, tmp_path):
    from dataclasses import replace

    settings, shape = small()
    shape = replace(shape, norm="batch", head_norm="batch")
    whole = train_images(settings, shape, recipe, digits)
    with pytest.raises(Killed):
        train_images(settings, shape, recipe, digits, folder=tmp_path, progress=StopsAt(3))
    equal(state(whole), state(train_images(settings, shape, recipe, digits, folder=tmp_path)))


def test_the_folder_of_another_run_is_refused(small, digits, recipe, tmp_path):
    settings, shape = small(epochs=1)
    train_images(settings, shape, recipe, digits, folder=tmp_path)
    with pytest.raises(InputError, match="training"):
        train_images(small(epochs=1, lr=0.1)[0], shape, recipe, digits, folder=tmp_path)


@pytest.mark.parametrize("damage", ["tensors", "state", "history"])
def test_a_damaged_checkpoint_is_refused(damage, small, digits, recipe, tmp_path):
    settings, shape = small(epochs=1)
    train_images(settings, shape, recipe, digits, folder=tmp_path)
    path = tmp_path / "state.json"
    document = json.loads(path.read_text())
    if damage == "tensors":
        (tmp_path / document["tensors"]).write_bytes(b"junk")
    elif damage == "state":
        path.write_text("{")
    else:
        path.write_text(json.dumps(document | {"history": 3}))
    with pytest.raises(InputError, match="must be"):
        train_images(settings, shape, recipe, digits, folder=tmp_path)


def test_nan_stops_at_once_and_names_step_and_checkpoint(small, digits, recipe, tmp_path, monkeypatch):
    loss = Trainer.loss
    monkeypatch.setattr(
        Trainer, "loss", lambda self, step, batch=None: loss(self, step, batch) * (torch.nan if step == 3 else 1)
    )
    settings, shape = small()
    with pytest.raises(InputError) as caught:
        train_images(settings, shape, recipe, digits, folder=tmp_path)
    message = str(caught.value)
    assert "is nan at step 3" in message
    assert re.search(r"last checkpoint is of step 2 in .*", message)
    assert str(tmp_path) in message
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 2
    with pytest.raises(InputError, match="no checkpoint"):
        train_images(settings, shape, recipe, digits)


def test_weights_that_overflow_are_seen(small, digits, recipe):
    settings, shape = small(lr=1e38, epochs=30)
    with pytest.raises(InputError, match=r"at step .* must be finite"):
        train_images(settings, shape, recipe, digits)


def test_out_of_memory_says_what_fits(small, digits, recipe, monkeypatch):
    loss = Trainer.loss

    def limited(self, step, batch=None):
        if (batch or 48) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(self, step, batch)

    monkeypatch.setattr(Trainer, "loss", limited)
    with pytest.raises(InputError, match="batch=48: the memory of cpu is too small at step 0; batch=12 fits"):
        train_images(*small(), recipe, digits)


def test_the_cpus_way_of_saying_it(small, digits, recipe, monkeypatch):
    def limited(self, step, batch=None):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Trainer, "loss", limited)
    with pytest.raises(InputError, match="no smaller batch fits either"):
        train_images(*small(), recipe, digits)


def test_other_errors_pass():
    def attempt(batch):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        fitting_batch(attempt, 8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 1}, "batch=1: must be at least 2"),
        ({"batch": 97}, "batch=97: must be at most 96"),
        ({"lr": float("inf")}, "lr=inf"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"epochs": -1}, "epochs=-1"),
        ({"every": 0}, "every=0"),
    ],
)
def test_wrong_settings(options, words, small, digits, recipe):
    with pytest.raises(InputError, match=words):
        train_images(*small(**options), recipe, digits)


def test_no_epoch_leaves_the_network_as_it_was(small, digits, recipe):
    settings, shape = small(epochs=0)
    run = train_images(settings, shape, recipe, digits)
    assert [(row["epoch"], row["step"], row["loss"]) for row in run.history] == [(0, 0, None)]


def test_the_learning_rate_rises_and_falls(digits, recipe, small):
    trainer = Trainer(Training(ImageLoss("ntxent"), epochs=50, batch=48, lr=1.0), small()[1], recipe, digits)
    rates = [trainer.rate(step) for step in range(trainer.steps)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == 1.0
    assert rates.index(1.0) == 4
    assert 0 <= rates[-1] < 1e-3
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_every_image_is_seen_once_an_epoch(digits, recipe, small):
    trainer = Trainer(small()[0], small()[1], recipe, digits)
    epochs = [torch.cat([trainer.indices(step) for step in (first, first + 1)]) for first in (0, 2)]
    for each in epochs:
        assert sorted(each.tolist()) == list(range(96))
    assert epochs[0].tolist() != epochs[1].tolist()
