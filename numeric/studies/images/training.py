"""SimCLR training: two augmented views of every image, one loss, evaluation after every k epochs, resumable.

Draws depend on seed and step alone, so a checkpoint holds weights, optimiser state and step; on the CPU a resumed run
gives the same numbers as an uninterrupted one. Several processes draw the same numbers for the joint batch, and each
takes its own part. A loss, gradient, weight or output that is not finite ends a training; so does a batch too large for
the memory, and the error names a batch that fits.
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
from numeric.studies.images.noncontrastive import Byol
from numeric.studies.images.processes import (
    NotFiniteError,
    average_gradients,
    fitting_batch,
    guarded,
    mean_over_processes,
    out_of_memory,
    own_part,
    rank_and_size,
    release_memory,
    where,
)
from numeric.training.checkpoint import Checkpoints, locked, run_folder, same_run

_MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's, one number for each weight


def saved(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights, statistics of batch normalisation and optimiser state by name, on the CPU."""
    result = {f"network.{name}": value for name, value in network.state_dict().items()}
    for number, entries in optimizer.state_dict()["state"].items():
        result |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in entries.items()}
    return {name: value.detach().cpu() for name, value in result.items()}


def restore(network: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load what :func:`saved` returned."""
    moments: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, Tensor] = {}
    try:
        for name, value in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "network":
                weights[rest] = value
            else:
                number, entry = rest.split(".", 1)
                moments.setdefault(int(number), {})[entry] = value
        network.load_state_dict(weights)
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
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
    """Name and value of the first number of the state that is not finite; None where all are."""
    numbers = [
        *(("a weight", each.detach()) for each in network.parameters()),
        *(("a statistic of batch normalisation", each) for each in network.buffers()),
        *(("a moment", state[name]) for state in optimizer.state.values() for name in _MOMENTS),
    ]
    for what, tensor in numbers:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return what, float(tensor[~tensor.isfinite()][0])
    return None


# Streams of random numbers; evaluations draw from streams of their own.
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
    """A network, its optimiser and its data; a step depends neither on the number of processes nor on a resume."""

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
            # What is trained and saved: the network alone, or with the predictor and the target of BYOL.
            self.learner: nn.Module = self.network
            if settings.loss.name == "byol":
                self.learner = Byol(self.network, shape.out, settings.loss.ema).to(self.device)
            trained = [each for each in self.learner.parameters() if each.requires_grad]
            self.optimizer = torch.optim.AdamW(trained, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
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
        if isinstance(self.learner, Byol):
            seen = self._views(chosen, shape, own, generator)
            with torch.no_grad():
                targets = self._raw(self.learner.target, seen)
            return self.learner.loss(self._raw(self.network, seen), targets)
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
        """Outputs, of unit length, of two views of this process's images."""
        outputs = self._raw(self.network, self._views(chosen, shape, own, generator))
        first, second = functional.normalize(outputs, dim=-1).chunk(2)
        return first, second

    def _views(self, chosen: Tensor, shape: list[int], own: slice, generator: torch.Generator) -> Tensor:
        """Two views of this process's images; the draws are those of the joint batch."""
        pair = (draw(self.recipe, shape, generator)[own], draw(self.recipe, shape, generator)[own])
        seen = views(self.recipe, chosen, pair)
        return seen.contiguous(memory_format=torch.channels_last) if self.device.type == "cuda" else seen

    def _raw(self, network: nn.Module, seen: Tensor) -> Tensor:
        """Outputs that are not normalised, in single precision."""
        # One region for each pass: else a pass without gradients leaves its casts of the weights to the next one.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            outputs: Tensor = network(seen)
        return outputs.float()

    def take_step(self) -> float:
        """Take one step of gradient descent; gives the loss of the joint batch before it."""
        self.learner.train()
        value = self._descend()
        if value is None:  # here no exception refers to the tensors of the failed step any more
            self.optimizer.zero_grad(set_to_none=True)
            raise OneProcessError(self._too_large())
        if isinstance(self.learner, Byol):
            self.learner.follow()
        self.step += 1
        return value

    def _too_large(self) -> str:
        """Message for a batch that does not fit into memory."""
        batch = self.settings.batch
        words = f"batch={batch}: the memory of {where(self.device)} is too small at step {self.step}; "
        if rank_and_size()[1] > 1:  # the others wait for this one in the middle of the step, and cannot try with it
            return words + "a smaller one, or more processes, may fit"
        release_memory()
        fits = fitting_batch(self.trial, batch, self.settings.loss.least_batch)
        return words + ("no smaller batch fits either" if fits is None else f"batch={fits} fits")

    def _descend(self) -> float | None:
        """Take a step and give its loss; None where memory ran out."""
        try:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.step)
            loss.backward()
            average_gradients(self.learner.parameters())
            value = float(mean_over_processes(loss.detach()))
            if not math.isfinite(value):
                raise NotFiniteError("loss", value, self.step)
            gradients = [each.grad for each in self.learner.parameters() if each.grad is not None]
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
        """Take a step of fewer images, to see whether it fits into memory; the weights are unusable afterwards."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.step, batch).backward()
        self.optimizer.step()

    @torch.no_grad()
    def check(self) -> None:
        """Check state and outputs before they are evaluated or saved; finite weights may give outputs that overflow."""
        result = not_finite(self.learner, self.optimizer)
        if result is not None:
            raise NotFiniteError(*result, self.step)
        self.network.eval()
        largest = float(self.network(pixels(self.data.pool[: self.settings.batch])).abs().max())
        if not math.isfinite(largest):
            raise NotFiniteError("an output", largest, self.step)

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Load what :func:`saved` returned at a step."""
        restore(self.learner, self.optimizer, tensors)
        self.step = step


def evaluations(settings: Training) -> Iterator[int]:
    """Epochs after which the network is evaluated; the last one always."""
    yield from range(settings.every, settings.epochs, settings.every)
    yield settings.epochs


Evaluate = Callable[[Network, int], Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class ImageRun:
    """A finished training: the network, and one row for each evaluation."""

    network: Network
    history: tuple[dict[str, Any], ...]


def train_images(
    settings: Training, shape: Shape, recipe: Recipe, data: ImageData, *,
    evaluate: Evaluate | None = None, folder: str | Path | None = None, progress: Progress = SILENT,
) -> ImageRun:  # fmt: skip
    trainer = Trainer(settings, shape, recipe, data)
    path = None if folder is None else run_folder(folder)
    writes = rank_and_size()[0] == 0
    with locked(path) if path is not None and writes else nullcontext():
        store = None if path is None else Checkpoints(path)
        history = [] if store is None else _resumed(trainer, store, shape)
        for epoch in evaluations(settings):
            if epoch * trainer.per_epoch < trainer.step or (history and history[-1]["epoch"] >= epoch):
                continue
            last = f"the last checkpoint is of step {trainer.step} in {path}" if path and history else "no checkpoint"
            try:
                loss = _advance(trainer, epoch * trainer.per_epoch, progress)
                row = {"epoch": epoch, "loss": loss, "step": trainer.step}
                history.append(row | _evaluated(trainer, evaluate, epoch, last))
            except NotFiniteError as error:
                rule = f"must be finite; lr={settings.lr:g} may be too large"
                raise InputError(f"loss {settings.loss.name!r}: {error}, {last}: {rule}") from None
            if store is not None and writes:
                _save(store, trainer, history, describe(settings, shape, recipe, data))
    return ImageRun(trainer.network, tuple(history))


def _advance(trainer: Trainer, stop: int, progress: Progress) -> float | None:
    """Train until a step; gives the mean loss, None where there was no step."""
    total, start = 0.0, trainer.step
    with guarded(f"step {start} and after", trainer.device):
        while trainer.step < stop:
            total += trainer.take_step()
            progress.step(f"{trainer.settings.loss.name}, step {trainer.step} of {trainer.steps}")
    return None if stop == start else total / (stop - start)


def _evaluated(trainer: Trainer, evaluate: Evaluate | None, epoch: int, last: str) -> dict[str, Any]:
    """Check the network, then measure it: one that is not finite is neither measured nor saved."""
    with guarded(f"the evaluation after step {trainer.step}", trainer.device):
        trainer.check()
        try:
            with torch.no_grad():
                return {} if evaluate is None else dict(evaluate(trainer.network, epoch))
        except OneProcessError:
            raise
        except InputError as error:
            raise InputError(f"after step {trainer.step}, {last}: {error}") from None


def describe(settings: Training, shape: Shape, recipe: Recipe, data: ImageData) -> dict[str, Any]:
    """Settings that identify a run, as JSON data; of the loss only the parameters that it takes."""
    sizes = {"name": data.name, "pool": len(data.pool), "train": len(data.train), "test": len(data.test)}
    training = asdict(settings) | {"loss": settings.loss.taken()}
    result: dict[str, Any] = json.loads(
        json.dumps({"data": sizes, "training": training, "network": asdict(shape), "recipe": asdict(recipe)})
    )
    return result


def _flat(settings: Any, place: str = "") -> dict[str, Any]:
    """Nested settings by ``group.name``, so that a message names the setting that differs."""
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
    store.write(record, saved(trainer.learner, trainer.optimizer), state)


def _digest(history: Any) -> str:
    """SHA-256 of the rows, whose entries `evaluate` chooses."""
    return hashlib.sha256(json.dumps(history, sort_keys=True).encode()).hexdigest()


def _resumed(trainer: Trainer, store: Checkpoints, shape: Shape) -> list[dict[str, Any]]:
    """Load the checkpoint into the trainer; gives its history, empty where there is none."""
    state = store.read()
    if state is None:
        return []
    wanted = describe(trainer.settings, shape, trainer.recipe, trainer.data)
    same_run(store.folder, _flat(state.get("settings")), _flat(wanted))
    step: Any = state.get("step")
    history: Any = state.get("history")
    # The digest vouches for the rows, and the rows for the steps.
    good = bool(history) and state.get("history_sha256") == _digest(history)
    if not good or state.get("steps") != [row["step"] for row in history] or history[-1]["step"] != step:
        raise InputError(f"{store.folder}: history, step or steps of its checkpoint: must be those that a run wrote")
    trainer.restore(store.load(state)[1], step)
    result: list[dict[str, Any]] = history
    return result
