"""Training: determinism, resuming, and every way in which a run can end badly."""

import gc
import json
import re
import weakref
from dataclasses import replace

import pytest
import torch

from hltm.base.errors import InputError
from hltm.base.progress import Progress
from numeric.studies.images import training
from numeric.studies.images.augment import Draws
from numeric.studies.images.losses import ImageLoss
from numeric.studies.images.network import make_network
from numeric.studies.images.processes import NotFiniteError, fitting_batch, guarded, out_of_memory
from numeric.studies.images.study import ImageStudy
from numeric.studies.images.training import Trainer, Training, train_images

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


@pytest.mark.parametrize(("loss", "step"), [("ntxent", 1), ("ntxent", 3), ("ntxent", 4), ("ntxent", 6), ("within", 3)])
def test_a_killed_run_goes_on_with_the_same_numbers(loss, step, small, digits, recipe, tmp_path):
    settings, shape = small(loss)

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


@pytest.mark.parametrize("loss", ["ntxent", "covariance"])
def test_batch_norm_goes_on_with_its_statistics(loss, small, digits, recipe, tmp_path):
    settings, shape = small(loss)
    shape = replace(shape, norm="batch", head_norm="batch")
    whole = train_images(settings, shape, recipe, digits)
    with pytest.raises(Killed):
        train_images(settings, shape, recipe, digits, folder=tmp_path, progress=StopsAt(3))
    equal(state(whole), state(train_images(settings, shape, recipe, digits, folder=tmp_path)))


def test_weights_come_from_views_of_their_own(small, digits, recipe, monkeypatch):
    """Four different views of every image; those of the gradient are those that every other loss sees."""
    seen = {}
    apply = training.apply

    def looked(recipe, images, draws: Draws):
        seen.setdefault(name, []).extend(draws.uniform.chunk(2))
        return apply(recipe, images, draws)

    monkeypatch.setattr(training, "apply", looked)
    for name in ("ntxent", "covariance", "within"):
        Trainer(*small(name), recipe, digits).loss(3)
    for name in ("covariance", "within"):
        further, gradient = seen[name][:2], seen[name][2:]
        assert all(torch.equal(a, b) for a, b in zip(gradient, seen["ntxent"], strict=True))
        rows = torch.cat([*further, *gradient])
        assert len(torch.unique(rows, dim=0)) == len(rows)


def test_running_statistics_see_each_step_once(small, digits, recipe):
    found = []
    for loss in ("ntxent", "covariance"):
        settings, shape = small(loss)
        trainer = Trainer(settings, replace(shape, norm="batch", head_norm="batch"), recipe, digits)
        trainer.network.train()
        trainer.loss(0)
        found.append(dict(trainer.network.named_buffers()))
    assert {int(value) for name, value in found[1].items() if name.endswith("tracked")} == {1}
    equal(*found)


def test_bfloat16_reaches_all_weights(small, digits, recipe):
    """A pass without gradients comes first: what it cast must not stand in for the weights afterwards."""
    exact, mixed = (Trainer(*small("covariance"), recipe, digits) for _ in range(2))
    mixed.mixed = True
    for trainer in (exact, mixed):
        trainer.loss(0).backward()
    for a, b in zip(exact.network.parameters(), mixed.network.parameters(), strict=True):
        assert (a.grad - b.grad).norm() <= 0.25 * a.grad.norm()


@pytest.mark.parametrize("encoder", ["convnet", "resnet18"])
def test_moments_lie_in_memory_as_their_weights_do(encoder, small, digits, recipe, tmp_path, monkeypatch):
    """As on a GPU, channels last: a run that goes on makes the same steps with the fused kernel."""
    monkeypatch.setattr(
        training, "make_network", lambda shape, seed: make_network(shape, seed).to(memory_format=torch.channels_last)
    )
    settings, shape = small(epochs=2)
    shape = replace(shape, encoder=encoder)
    whole = train_images(settings, shape, recipe, digits)
    with pytest.raises(Killed):
        train_images(settings, shape, recipe, digits, folder=tmp_path, progress=StopsAt(3))
    held = []
    restore = Trainer.restore

    def looked(self, tensors, step):
        restore(self, tensors, step)
        held.append(self)

    monkeypatch.setattr(Trainer, "restore", looked)
    again = train_images(settings, shape, recipe, digits, folder=tmp_path)
    for weight, moments in held[0].optimizer.state.items():
        assert {moments[name].stride() for name in ("exp_avg", "exp_avg_sq")} == {weight.stride()}
    assert any(weight.ndim == 4 and not weight.is_contiguous() for weight in held[0].network.parameters())
    equal(state(whole), state(again))


def test_the_folder_of_another_run_is_refused(small, digits, recipe, tmp_path):
    settings, shape = small(epochs=1)
    train_images(settings, shape, recipe, digits, folder=tmp_path)
    others = [
        (replace(settings, lr=0.1), shape, r"training\.lr 0.003 of its checkpoint: must be 0.1,"),
        (replace(settings, loss=ImageLoss("ntxent", tau=0.4)), shape, r"training\.loss\.tau 0.5 .* must be 0.4,"),
        (replace(settings, loss=ImageLoss("simple")), shape, r'training\.loss\.name "ntxent" .* must be "simple",'),
        (settings, replace(shape, width=5), r"network\.width 4 .* must be 5,"),
    ]
    for asked, other, words in others:
        with pytest.raises(InputError, match=words):
            train_images(asked, other, recipe, digits, folder=tmp_path)
    with pytest.raises(InputError, match=r"recipe\.area .* must be"):
        train_images(settings, shape, recipe.scaled(0.5), digits, folder=tmp_path)
    # What the loss does not look at makes no other run.
    train_images(
        replace(settings, loss=ImageLoss("ntxent", beta=3.0, negatives=7)), shape, recipe, digits, folder=tmp_path
    )


ROWS = {
    "no epoch": lambda row: row.pop("epoch"),
    "no accuracy": lambda row: row.pop("moved"),
    "words": lambda row: row.update(moved="x"),
    "another number": lambda row: row["moved"].update(value=0.5),
}


@pytest.mark.parametrize("damage", ROWS)
def test_damaged_rows_are_refused(damage, small, digits, recipe, tmp_path):
    settings, shape = small(epochs=1)

    def evaluate(network, epoch):
        return {"moved": {"value": 1 / 3}}

    train_images(settings, shape, recipe, digits, evaluate=evaluate, folder=tmp_path)
    path = tmp_path / "state.json"
    document = json.loads(path.read_text())
    ROWS[damage](document["history"][-1])
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="history, step or steps of its checkpoint: must be those that a run wrote"):
        train_images(settings, shape, recipe, digits, evaluate=evaluate, folder=tmp_path)


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
    assert "loss is nan at step 3" in message
    assert re.search(r"last checkpoint is of step 2 in .*", message)
    assert str(tmp_path) in message
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 2
    with pytest.raises(InputError, match="no checkpoint"):
        train_images(settings, shape, recipe, digits)


def test_a_gradient_that_is_not_finite_changes_nothing(small, digits, recipe, monkeypatch):
    """A loss may be finite where its gradient is not."""
    loss = Trainer.loss

    def kinked(self, step, batch=None):
        value = loss(self, step, batch)
        return value + (value * 0).abs().sqrt() if step == 1 else value

    monkeypatch.setattr(Trainer, "loss", kinked)
    trainer = Trainer(*small(), recipe, digits)
    trainer.take_step()
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    with pytest.raises(NotFiniteError, match="largest gradient is nan at step 1"):
        trainer.take_step()
    equal(before, trainer.network.state_dict())


@pytest.mark.parametrize("epochs", [1, 30])
@pytest.mark.parametrize("evaluated", [True, False])
def test_weights_that_overflow_are_seen(epochs, evaluated, small, digits, recipe, tmp_path):
    """Also those of the last step before an evaluation; what is not finite is no checkpoint."""
    settings, shape = small(lr=1e38, epochs=epochs, loss="simple")
    evaluate = None
    if evaluated:

        def evaluate(network, epoch):
            raise AssertionError("not to be evaluated")

    with pytest.raises(
        InputError, match=r"'simple': .* is (inf|nan) at step \d+, no checkpoint: must be finite; lr=1e\+38"
    ):
        train_images(settings, shape, recipe, digits, evaluate=evaluate, folder=tmp_path)
    assert not (tmp_path / "state.json").exists()


def test_a_network_that_is_not_finite_is_not_saved(small, digits, recipe, tmp_path, monkeypatch):
    step = Trainer.take_step

    def broken(self):
        value = step(self)
        if self.step == 4:
            with torch.no_grad():
                self.network.head.second.weight[0, 0] = torch.nan
        return value

    monkeypatch.setattr(Trainer, "take_step", broken)
    with pytest.raises(InputError, match=r"a weight is nan at step 4, the last checkpoint is of step 2 in"):
        train_images(*small(), recipe, digits, folder=tmp_path)
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 2


def test_what_an_evaluation_refuses_names_step_and_checkpoint(small, digits, recipe, tmp_path):
    def evaluate(network, epoch):
        if epoch == 2:
            raise InputError("features of the linear evaluation: must be finite")
        return {}

    words = "after step 4, the last checkpoint is of step 2 in .*: features of the linear evaluation: must be finite"
    with pytest.raises(InputError, match=words):
        train_images(*small(), recipe, digits, evaluate=evaluate, folder=tmp_path)


def test_the_failed_step_is_let_go_of_before_another_is_tried(small, digits, recipe, monkeypatch):
    """Else its activations take the memory that a smaller batch would have had."""
    held, alive = [], []

    def limited(loss, first, second, generator, further=None):
        if not held:
            held.append(weakref.ref(first))
        else:
            gc.collect()
            alive.append(held[0]() is not None)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "batch_loss", limited)
    with pytest.raises(InputError, match=r"batch=48: .* at step 0; no smaller batch fits either"):
        train_images(*small(), recipe, digits)
    assert alive == [False] * 4


def test_out_of_memory_says_what_fits(small, digits, recipe, monkeypatch):
    loss = Trainer.loss

    def limited(self, step, batch=None):
        if (batch or 48) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(self, step, batch)

    monkeypatch.setattr(Trainer, "loss", limited)
    with pytest.raises(InputError, match="batch=48: the memory of cpu is too small at step 0; batch=12 fits"):
        train_images(*small(), recipe, digits)


def test_a_batch_that_fits_has_room_for_the_negatives(small, digits, recipe, monkeypatch):
    """InfoNCE with 4 negatives takes no batch of 4: none fits, whatever memory a smaller one needs."""
    loss, tried = Trainer.loss, []

    def limited(self, step, batch=None):
        tried.append(batch)
        if (batch or 48) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(self, step, batch)

    monkeypatch.setattr(Trainer, "loss", limited)
    with pytest.raises(InputError, match="batch=48: the memory of cpu is too small at step 0; no smaller batch fits"):
        train_images(*small("infonce"), recipe, digits)
    assert tried == [None, 24, 12, 6]


def test_the_cpus_way_of_saying_it(small, digits, recipe, monkeypatch):
    def limited(self, step, batch=None):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Trainer, "loss", limited)
    with pytest.raises(InputError, match="no smaller batch fits either"):
        train_images(*small(), recipe, digits)


def test_the_first_moments_may_be_too_much(small, digits, recipe, monkeypatch):
    def limited(self, closure=None):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "step", limited)
    with pytest.raises(InputError, match=r"batch=48: .*; no smaller batch fits either"):
        train_images(*small(), recipe, digits)


def test_an_evaluation_may_be_too_much(small, digits, recipe):
    def evaluate(network, epoch):
        raise RuntimeError("could not create a primitive")

    with pytest.raises(InputError, match="the evaluation after step 2: the memory of cpu is too small"):
        train_images(*small(), recipe, digits, evaluate=evaluate)


def test_a_network_may_be_too_much(small, digits, recipe):
    settings, shape = small()
    with pytest.raises(InputError, match=r"network of width=20000000.*: the memory of cpu is too small"):
        train_images(settings, replace(shape, width=20_000_000), recipe, digits)


@pytest.mark.parametrize(
    ("error", "yes"),
    [
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("sizes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_ran_out(error, yes):
    assert out_of_memory(error) is yes
    wanted = InputError if yes else type(error)
    with pytest.raises(wanted), guarded("x", torch.device("cpu")):
        raise error


def test_a_process_that_has_gone_is_one_line():
    with pytest.raises(InputError, match="another process of the run has ended"), guarded("x", torch.device("cpu")):
        raise RuntimeError("[pair.cc:534] Connection closed by peer [127.0.0.1]:1234")


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


def test_a_batch_without_room_for_the_negatives_is_refused_before_any_training():
    with pytest.raises(InputError, match="negatives=16 in a batch of 16 images: must be less than it"):
        ImageStudy(batch=16)
    assert ImageStudy(batch=17).batch == 17
    assert ImageStudy(batch=2, losses=("ntxent", "covariance")).batch == 2


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
