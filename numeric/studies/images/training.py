"""SimCLR training: two augmented views of every image, one loss, evaluation after every k epochs, resumable.

What a step draws depends on the seed and the number of the step alone, so weights, optimiser state and step are all
that a run goes on from: on the CPU it gives the same numbers as one that was never cut short. Several processes draw
the same numbers for the joint batch, and each takes its own part.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hltm.base.checks import integer
from hltm.base.checks import seed as check_seed
from hltm.base.errors import InputError, OneProcessError
from hltm.base.progress import SILENT, Progress
from numeric.studies.images.augment import Draws, Recipe, apply, draw
from numeric.studies.images.data import ImageData, pixels
from numeric.studies.images.losses import ImageLoss, batch_loss
from numeric.studies.images.network import Network, Shape, make_network, statistics_kept
from numeric.studies.images.processes import (
    MemoryTooSmallError,
    NotFiniteError,
    average_gradients,
    fitting_batch,
    guarded,
    out_of_memory,
    own_part,
    rank_and_size,
    release_memory,
    where,
)
from numeric.training.checkpoint import Checkpoints, locked, run_folder, same_run

# State of a training as tensors by name: weights, statistics of batch normalisation, moments of the optimiser.

_MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's, one number for each weight


def saved(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What a training goes on from, on the CPU."""
    result = {f"network.{name}": value for name, value in network.state_dict().items()}
    for number, held in optimizer.state_dict()["state"].items():
        result |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in held.items()}
    return {name: value.detach().cpu() for name, value in result.items()}


def restore(network: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Go on from what :func:`saved` gave."""
    held: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, Tensor] = {}
    try:
        for name, value in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "network":
                weights[rest] = value
            else:
                number, entry = rest.split(".", 1)
                held.setdefault(int(number), {})[entry] = value
        network.load_state_dict(weights)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": held, "param_groups": groups})
        # Files hold rows; a fused kernel goes through weights and moments as they lie in memory, and on a GPU refuses
        # layouts that differ, such as those of convolutions whose channels are last.
        for parameter, state in optimizer.state.items():
            for name in _MOMENTS:
                if state[name].shape != parameter.shape:
                    raise ValueError(f"{name} of shape {tuple(state[name].shape)} for {tuple(parameter.shape)}")
                state[name] = torch.empty_like(parameter, requires_grad=False).copy_(state[name])
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"checkpoint: {error}: must be that of such a network") from None


def not_finite(network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[str, float] | None:
    """The first kind of number in the state that is not finite, with its value; None where all are."""
    for what, tensor in _numbers(network, optimizer):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return what, float(tensor[~tensor.isfinite()][0])
    return None


def _numbers(network: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    yield from (("a weight", each.detach()) for each in network.parameters())
    yield from (("a statistic of batch normalisation", each) for each in network.buffers())
    yield from (("a moment", state[name]) for state in optimizer.state.values() for name in _MOMENTS)


# Streams of random numbers; what is evaluated draws from streams of its own.
_ORDER, VIEWS, EVALUATION, THEORY, _FURTHER = range(5)
_WARMUP = 0.05  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Training:
    """Settings of one training; a value that is not allowed is an `InputError`."""

    loss: ImageLoss
    epochs: int = 120
    batch: int = 256
    lr: float = 3e-3
    weight_decay: float = 1e-4
    every: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        integer(self.batch, "batch", 2)
        if self.batch < self.loss.least_batch:
            raise InputError(f"negatives={self.loss.negatives} in a batch of {self.batch} images: must be less than it")
        integer(self.epochs, "epochs", 0)
        integer(self.every, "every", 1)
        check_seed(self.seed)
        for name in ("lr", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name}={getattr(self, name)!r}: must be a finite number, not negative")

    def steps_per_epoch(self, images: int) -> int:
        """Whole batches of an epoch."""
        if self.batch > images:
            raise InputError(f"batch={self.batch}: must be at most {images}, the number of training images")
        own_part(self.batch)
        return images // self.batch


def stream(seed: int, kind: int, number: int = 0) -> torch.Generator:
    """A generator on the CPU for one purpose, independent of all others."""
    state = int(np.random.SeedSequence([seed, kind, number]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state % 2**63)


def views(recipe: Recipe, images: Tensor, draws: tuple[Draws, Draws]) -> Tensor:
    """Both augmented views of a batch, the first ones before the second, ``(2 B, C, H, W)``."""
    joined = Draws(
        torch.cat([each.uniform for each in draws]),
        None if draws[0].normal is None else torch.cat([each.normal for each in draws if each.normal is not None]),
    )
    return apply(recipe, images.repeat(2, 1, 1, 1), joined)


class Trainer:
    """A network, its optimiser and its data; every step is the same in whatever process and after whatever break."""

    def __init__(self, settings: Training, shape: Shape, recipe: Recipe, data: ImageData) -> None:
        self.settings, self.recipe, self.data = settings, recipe, data
        self.device = data.train.device
        self.per_epoch = settings.steps_per_epoch(len(data.pool))
        self.step = 0
        self.mixed = self.device.type == "cuda"  # the network computes in bfloat16
        with guarded(f"network of width={shape.width}", self.device):
            self.network: Network = make_network(shape, settings.seed).to(self.device)
            if self.device.type == "cuda":
                self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.optimizer = torch.optim.AdamW(
                self.network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
            )
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.per_epoch * self.settings.epochs

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rise = max(1, round(_WARMUP * self.steps))
        if step < rise:
            return self.settings.lr * (step + 1) / rise
        share = (step - rise) / max(1, self.steps - rise)
        return self.settings.lr * 0.5 * (1 + math.cos(math.pi * share))

    def indices(self, step: int) -> Tensor:
        """Numbers of the images of a step, over all processes."""
        epoch, place = divmod(step, self.per_epoch)
        if self._order[0] != epoch:
            order = torch.randperm(len(self.data.pool), generator=stream(self.settings.seed, _ORDER, epoch))
            self._order = (epoch, order)
        return self._order[1][place * self.settings.batch : (place + 1) * self.settings.batch]

    def loss(self, step: int, batch: int | None = None) -> Tensor:
        """Loss of this process's part of a step, differentiable; of fewer images on request."""
        index = self.indices(step)[:batch]
        own = own_part(len(index))
        chosen = pixels(self.data.pool[index[own].to(self.device)])
        shape = [len(index), *self.data.pool.shape[1:]]
        further = self._further(step, chosen, shape, own) if self.settings.loss.weighted else None
        generator = stream(self.settings.seed, VIEWS, step)
        first, second = self._outputs(chosen, shape, own, generator)
        return batch_loss(self.settings.loss, first, second, generator, further)

    @torch.no_grad()
    def _further(self, step: int, chosen: Tensor, shape: list[int], own: slice) -> tuple[Tensor, Tensor]:
        """Outputs of two more views of each image, by draws of their own; for pair weights that are held fixed.

        Batch normalisation takes the statistics of these views, and its running ones see only those of the gradient.
        """
        with statistics_kept(self.network):
            return self._outputs(chosen, shape, own, stream(self.settings.seed, _FURTHER, step))

    def _outputs(
        self, chosen: Tensor, shape: list[int], own: slice, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Outputs, of unit length, of two views of this process's images; the draws are those of the joint batch."""
        pair = (draw(self.recipe, shape, generator)[own], draw(self.recipe, shape, generator)[own])
        seen = views(self.recipe, chosen, pair)
        if self.device.type == "cuda":
            seen = seen.contiguous(memory_format=torch.channels_last)
        # One region for each pass: casts of the weights that one without gradients made are not taken up by the next.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            outputs = self.network(seen)
        first, second = functional.normalize(outputs.float(), dim=-1).chunk(2)
        return first, second

    def take_step(self) -> float:
        """One step of gradient descent; the loss of the joint batch before it."""
        self.network.train()
        value = self._descended()
        if value is None:  # only here, where no exception holds what the failed step held
            self.optimizer.zero_grad(set_to_none=True)
            raise MemoryTooSmallError(self.settings.batch)
        self.step += 1
        return value

    def _descended(self) -> float | None:
        """Loss of a step that was taken; None where memory ran out."""
        try:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.step)
            loss.backward()
            average_gradients(self.network.parameters())
            value = joint_mean(loss)
            if not math.isfinite(value):
                raise NotFiniteError("loss", value, self.step)
            gradients = [each.grad for each in self.network.parameters() if each.grad is not None]
            largest = float(torch.nn.utils.get_total_norm(gradients, math.inf))
            if not math.isfinite(largest):
                raise NotFiniteError("largest gradient", largest, self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(self.step)
            self.optimizer.step()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return None
        return value

    def trial(self, batch: int) -> None:
        """A step of fewer images, to see whether memory holds it; what it makes of the weights is not to be used."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.step, batch).backward()
        self.optimizer.step()

    @torch.no_grad()
    def check(self) -> None:
        """Look at what the steps so far have made, before it is evaluated or saved.

        Weights may be finite and yet too large for an output, so that of the first images of a batch is looked at too.
        """
        result = not_finite(self.network, self.optimizer)
        if result is not None:
            raise NotFiniteError(*result, self.step)
        self.network.eval()
        largest = float(self.network(pixels(self.data.pool[: self.settings.batch])).abs().max())
        if not math.isfinite(largest):
            raise NotFiniteError("an output", largest, self.step)

    def tensors(self) -> dict[str, Tensor]:
        """What the training goes on from, by name."""
        return saved(self.network, self.optimizer)

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Go on from what :meth:`tensors` gave."""
        restore(self.network, self.optimizer, tensors)
        self.step = step


def joint_mean(loss: Tensor) -> float:
    """Mean of a loss over the processes."""
    value = loss.detach().clone()
    if rank_and_size()[1] > 1:
        torch.distributed.all_reduce(value)
        value /= rank_and_size()[1]
    return float(value)


def evaluations(settings: Training) -> Iterator[int]:
    """Epochs after which the network is evaluated; the last one always."""
    yield from range(settings.every, settings.epochs, settings.every)
    yield settings.epochs


# One run of a training with its evaluations: checkpoints, and the ends that a run can come to.

Evaluate = Callable[[Network, int], Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class ImageRun:
    """What a run left behind."""

    settings: Training
    network: Network
    history: tuple[dict[str, Any], ...]


def train_images(
    settings: Training, shape: Shape, recipe: Recipe, data: ImageData, *,
    evaluate: Evaluate | None = None, folder: str | Path | None = None, progress: Progress = SILENT,
) -> ImageRun:  # fmt: skip
    """Train a network by SimCLR."""
    trainer = Trainer(settings, shape, recipe, data)
    path = None if folder is None else run_folder(folder)
    writes = rank_and_size()[0] == 0
    with locked(path) if path is not None and writes else nullcontext():
        history = [] if path is None else _resumed(trainer, Checkpoints(path), shape)
        store = None if path is None else Checkpoints(path)
        if store is not None and (state := store.read()) is not None:
            store.load(state)
        for epoch in evaluations(settings):
            if epoch * trainer.per_epoch < trainer.step or (history and history[-1]["epoch"] >= epoch):
                continue
            row = {"epoch": epoch, "loss": _advance(trainer, epoch * trainer.per_epoch, path, history, progress)}
            row["step"] = trainer.step
            row |= _evaluated(trainer, evaluate, epoch, path, history)
            history.append(row)
            if store is not None and writes:
                _save(store, trainer, history, describe(settings, shape, recipe, data))
    return ImageRun(settings, trainer.network, tuple(history))


def _advance(
    trainer: Trainer, stop: int, path: Path | None, history: list[dict[str, Any]], progress: Progress
) -> float | None:
    """Train until a step; the mean loss, None where there was no step."""
    total, start = 0.0, trainer.step
    too_large = 0
    with guarded(f"step {start} and after", trainer.device):
        try:
            while trainer.step < stop:
                total += trainer.take_step()
                progress.step(f"{trainer.settings.loss.name}, step {trainer.step} of {trainer.steps}")
        except NotFiniteError as error:
            raise _stopped(trainer, error, path, history) from None
        except MemoryTooSmallError as error:
            too_large = error.batch
    if too_large:
        raise OneProcessError(_smaller(trainer, too_large))
    return None if stop == start else total / (stop - start)


def _evaluated(
    trainer: Trainer, evaluate: Evaluate | None, epoch: int, path: Path | None, history: list[dict[str, Any]]
) -> dict[str, Any]:
    """What is measured on the network, which is looked at first: what is not finite is neither measured nor saved."""
    with guarded(f"the evaluation after step {trainer.step}", trainer.device):
        try:
            trainer.check()
            if evaluate is None:
                return {}
            with torch.no_grad():
                return dict(evaluate(trainer.network, epoch))
        except NotFiniteError as error:
            raise _stopped(trainer, error, path, history) from None
        except OneProcessError:
            raise
        except InputError as error:
            raise InputError(f"after step {trainer.step}, {_last(path, history)}: {error}") from None


def _last(path: Path | None, history: list[dict[str, Any]]) -> str:
    return f"the last checkpoint is of step {history[-1]['step']} in {path}" if path and history else "no checkpoint"


def _stopped(
    trainer: Trainer, error: NotFiniteError, path: Path | None, history: list[dict[str, Any]]
) -> InputError:  # fmt: skip
    settings = trainer.settings
    return InputError(
        f"loss {settings.loss.name!r}: {error}, {_last(path, history)}: must be finite; "
        f"lr={settings.lr:g} may be too large"
    )


def _smaller(trainer: Trainer, batch: int) -> str:
    """What to say of a batch that memory does not hold; called when nothing holds the failed step any more."""
    words = f"batch={batch}: the memory of {where(trainer.device)} is too small at step {trainer.step}; "
    if rank_and_size()[1] > 1:  # the others wait for this one in the middle of the step, and cannot try with it
        return words + "a smaller one, or more processes, may fit"
    release_memory()
    fits = fitting_batch(trainer.trial, batch, trainer.settings.loss.least_batch)
    return words + ("no smaller batch fits either" if fits is None else f"batch={fits} fits")


def describe(settings: Training, shape: Shape, recipe: Recipe, data: ImageData) -> dict[str, Any]:
    """What makes a run the same run, as JSON data; of the loss what it looks at."""
    sizes = {"name": data.name, "pool": len(data.pool), "train": len(data.train), "test": len(data.test)}
    training = asdict(settings) | {"loss": settings.loss.taken()}
    result: dict[str, Any] = json.loads(
        json.dumps({"data": sizes, "training": training, "network": asdict(shape), "recipe": asdict(recipe)})
    )
    return result


def _flat(settings: Any, place: str = "") -> dict[str, Any]:
    """Settings of groups by ``group.name``, so that what differs has the name of its option."""
    if not isinstance(settings, dict):
        return {place: settings} if place else {}
    result: dict[str, Any] = {}
    for name, value in settings.items():
        result |= _flat(value, f"{place}.{name}" if place else name)
    return result


def _save(store: Checkpoints, trainer: Trainer, history: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    loss = history[-1]["loss"]
    record = {"loss": torch.tensor(float("nan") if loss is None else loss)}
    state = {
        "step": trainer.step, "steps": [row["step"] for row in history], "history": history,
        "history_sha256": _digest(history), "settings": settings,
    }  # fmt: skip
    store.write(record, trainer.tensors(), state)


def _digest(history: Any) -> str:
    """SHA-256 of the rows, of which this module knows only some of the entries."""
    return hashlib.sha256(json.dumps(history, sort_keys=True).encode()).hexdigest()


def _resumed(trainer: Trainer, store: Checkpoints, shape: Shape) -> list[dict[str, Any]]:
    """History of the checkpoint, whose state the trainer takes up; empty where there is none."""
    state = store.read()
    if state is None:
        return []
    wanted = describe(trainer.settings, shape, trainer.recipe, trainer.data)
    same_run(store.folder, _flat(state.get("settings")), _flat(wanted))
    step, steps = state.get("step"), state.get("steps")
    history: list[dict[str, Any]] = state.get("history") or []
    good = isinstance(history, list) and bool(history) and all(isinstance(row, dict) for row in history)
    if (
        not good
        or state.get("history_sha256") != _digest(history)
        or not isinstance(step, int)
        or not isinstance(steps, list)
        or steps != [row.get("step") for row in history]
        or steps[-1] != step
    ):
        raise InputError(f"{store.folder}: history, step or steps of its checkpoint: must be those that a run wrote")
    trainer.restore(store.load(state)[1], step)
    return history
