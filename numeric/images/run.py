"""One run of a training with its evaluations: checkpoints, and the ends that a run can come to.

A run folder holds one complete checkpoint or none (:mod:`numeric.checkpoint`); a run that is started again with the
same settings goes on from there.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hltm.errors import InputError
from hltm.progress import SILENT, Progress
from numeric.checkpoint import Checkpoints, locked, run_folder, same_run
from numeric.images.augment import Recipe
from numeric.images.data import ImageData
from numeric.images.network import Network, Shape
from numeric.images.parallel import rank_and_size
from numeric.images.training import (
    MemoryTooSmallError,
    NotFiniteError,
    Trainer,
    Training,
    describe,
    evaluations,
    fitting_batch,
)

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
        A value that is not allowed; a loss that is not finite (step and last checkpoint are named); too little memory
        (a batch that fits is named); a run folder that is in use, damaged, or of another run.

    Examples
    --------
    >>> from numeric.images.data import load_images
    >>> from numeric.images.losses import ImageLoss
    >>> from numeric.images.augment import RECIPES
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
            if evaluate is not None:
                trainer.network.eval()
                with torch.no_grad():
                    row |= evaluate(trainer.network, epoch)
            history.append(row)
            if store is not None and writes:
                _save(store, trainer, history, describe(settings, shape, recipe, data))
    return ImageRun(settings, trainer.network, tuple(history))


def _advance(
    trainer: Trainer, stop: int, path: Path | None, history: list[dict[str, Any]], progress: Progress
) -> float | None:
    """Train until a step; the mean loss, None where there was no step."""
    total, start = 0.0, trainer.step
    try:
        while trainer.step < stop:
            total += trainer.take_step()
            progress.step(f"{trainer.settings.loss.name}, step {trainer.step} of {trainer.steps}")
    except NotFiniteError as error:
        last = (
            f"the last checkpoint is of step {history[-1]['step']} in {path}" if path and history else "no checkpoint"
        )
        raise InputError(
            f"loss {trainer.settings.loss.name!r} is {error.value} at step {error.step}, {last}: must be finite; "
            f"lr={trainer.settings.lr:g} may be too large"
        ) from None
    except MemoryTooSmallError as error:
        trainer.optimizer.zero_grad(set_to_none=True)
        fits = fitting_batch(lambda batch: trainer.loss(trainer.step, batch).backward(), error.batch)
        advice = "no smaller batch fits either" if fits is None else f"batch={fits} fits"
        raise InputError(f"batch={error.batch}: the memory of {trainer.device} is too small at step {trainer.step}; "
                         f"{advice}") from None  # fmt: skip
    return None if stop == start else total / (stop - start)


def _save(store: Checkpoints, trainer: Trainer, history: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    loss = history[-1]["loss"]
    record = {"loss": torch.tensor(float("nan") if loss is None else loss)}
    state = {
        "step": trainer.step, "steps": [row["step"] for row in history], "history": history, "settings": settings,
    }  # fmt: skip
    store.write(record, trainer.tensors(), state)


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
    same_run(store.folder, state.get("settings"), describe(trainer.settings, shape, trainer.recipe, trainer.data))
    step, steps = state.get("step"), state.get("steps")
    history: list[dict[str, Any]] = state.get("history") or []
    good = isinstance(history, list) and bool(history) and all(isinstance(row, dict) for row in history)
    if (
        not good
        or not isinstance(step, int)
        or not isinstance(steps, list)
        or steps != [row.get("step") for row in history]
        or steps[-1] != step
    ):
        raise InputError(f"{store.folder}: history, step or steps of its checkpoint: must be those that a run wrote")
    trainer.restore(store.load(state)[1], step)
    return history
