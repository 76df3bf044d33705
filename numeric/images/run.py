"""One run of a training with its evaluations: checkpoints, and the ends that a run can come to.

A run folder holds one complete checkpoint or none (:mod:`numeric.training.checkpoint`); a run that is started again with the
same settings goes on from there.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hltm.base.errors import InputError, OneProcessError
from hltm.base.progress import SILENT, Progress
from numeric.images.failures import (
    MemoryTooSmallError,
    NotFiniteError,
    fitting_batch,
    guarded,
    let_go,
    where,
)
from numeric.studies.images.augment import Recipe
from numeric.studies.images.data import ImageData
from numeric.studies.images.network import Network, Shape
from numeric.studies.images.processes import rank_and_size
from numeric.studies.images.training import Trainer, Training, evaluations
from numeric.training.checkpoint import Checkpoints, locked, run_folder, same_run

Evaluate = Callable[[Network, int], Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class ImageRun:
    """What a run left behind.

    Attributes
    ----------
    settings : Training
    network : Network
        After the last step.
    history : tuple of dict
        One row for each evaluation: epoch, step, mean loss since the one before, and what was measured.
    """

    settings: Training
    network: Network
    history: tuple[dict[str, Any], ...]


def train_images(
    settings: Training, shape: Shape, recipe: Recipe, data: ImageData, *,
    evaluate: Evaluate | None = None, folder: str | Path | None = None, progress: Progress = SILENT,
) -> ImageRun:  # fmt: skip
    """Train a network by SimCLR.

    Parameters
    ----------
    settings, shape, recipe, data
        What is trained, and on what; the data lie on the device.
    evaluate : callable, optional
        Called after every ``settings.every`` epochs with the network and the epoch; gives JSON data by name.
    folder : path, optional
        Checkpoints; a run that was cut short goes on from there, on the CPU with the same numbers.
    progress : Progress
        Told of every step.

    Returns
    -------
    ImageRun

    Raises
    ------
    InputError
        A value that is not allowed; numbers that are not finite (step and last checkpoint are named); too little memory
        (a batch that fits is named, unless there are several processes); a run folder that is in use, damaged, or of
        another run.

    Examples
    --------
    >>> from numeric.studies.images.data import load_images
    >>> from numeric.studies.images.losses import ImageLoss
    >>> from numeric.studies.images.augment import RECIPES
    >>> settings = Training(ImageLoss("ntxent"), epochs=1, batch=32)
    >>> run = train_images(settings, Shape(width=4), RECIPES["digits"], load_images("digits", subset=64))
    >>> [(row["epoch"], row["step"]) for row in run.history]
    [(1, 2)]
    """
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
    let_go()
    fits = fitting_batch(trainer.trial, batch, trainer.settings.loss.least_batch)
    return words + ("no smaller batch fits either" if fits is None else f"batch={fits} fits")


def describe(settings: Training, shape: Shape, recipe: Recipe, data: ImageData) -> dict[str, Any]:
    """What makes a run the same run, as JSON data; of the loss what it looks at."""
    sizes = {"name": data.name, "pool": len(data.pool), "train": len(data.train), "test": len(data.test)}
    training = asdict(settings) | {"loss": settings.loss.taken()}
    found: dict[str, Any] = json.loads(
        json.dumps({"data": sizes, "training": training, "network": asdict(shape), "recipe": asdict(recipe)})
    )
    return found


def _flat(settings: Any, place: str = "") -> dict[str, Any]:
    """Settings of groups by ``group.name``, so that what differs has the name of its option."""
    if not isinstance(settings, dict):
        return {place: settings} if place else {}
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{place}.{name}" if place else name)
    return found


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
    """History of the checkpoint, whose state the trainer takes up; empty where there is none.

    Raises
    ------
    InputError
        It is damaged, or of another run.
    """
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
