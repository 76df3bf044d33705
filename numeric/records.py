"""The records of a training run: made, streamed to JSONL and TensorBoard, put into checkpoints with the run's state."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hltm.errors import InputError
from numeric.checkpoint import locked, read_checkpoint, run_state, same_run, write_checkpoint
from numeric.training_loop import Progress
from numeric.training_trace import Failure, TrainingTrace
from numeric.tree_network import TreeNetwork

METRICS = "metrics.jsonl"


@dataclass(eq=False)
class Records:
    """What to record, and what has been recorded.

    Attributes
    ----------
    network : TreeNetwork
        As it was before training.
    total, every : int
        Steps of the run, and between records.
    keep_networks : bool
    measure, progress : callable or None
        As in :func:`numeric.train`.
    steps, losses, dead, measured, kept
        One entry a record (`losses`: one an interval).
    """

    network: TreeNetwork
    total: int
    every: int
    keep_networks: bool
    measure: Callable[[TreeNetwork, int], Mapping[str, Tensor]] | None
    progress: Callable[[int, float], None] | None
    steps: list[int] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    dead: list[Tensor] = field(default_factory=list)
    measured: list[dict[str, Tensor]] = field(default_factory=list)
    kept: list[list[Tensor]] = field(default_factory=list)

    def add(self, state: Progress, losses: Tensor | None) -> dict[str, Any]:
        """Record where the run is now; gives the line for the file of metrics."""
        parameters = state.parameters()
        here = self.network.with_parameters(parameters)
        self.steps.append(state.step)
        dead = torch.zeros(state.members, dtype=torch.bool)
        if state.active:
            outputs = state.source.outputs(state.optimizer.parameters)
            dead[state.active] = (outputs == 0).flatten(1).all(1).cpu()
        self.dead.append(dead)
        self.measured.append(self._measure(here, state.step))
        if not self.keep_networks:
            self.kept.clear()
        self.kept.append([block.cpu() for block in parameters])
        if losses is not None:
            self.losses.append(losses)
        return self.line(len(self.steps) - 1)

    def _measure(self, here: TreeNetwork, step: int) -> dict[str, Tensor]:
        found = self.measure(here, step) if self.measure else {}
        values = {name: torch.as_tensor(value).detach().cpu() for name, value in found.items()}
        first = {name: tuple(value.shape) for name, value in (self.measured or [values])[0].items()}
        shapes = {name: tuple(value.shape) for name, value in values.items()}
        if shapes != first:
            raise InputError(f"measure at step {step}: {shapes}: must be the names and shapes of step 0, {first}")
        for name, shape in shapes.items():
            if shape[:1] != (here.ensemble,):
                raise InputError(f"measure at step {step}: {name} of shape {shape}: must be ({here.ensemble}, ...)")
        return values

    def line(self, number: int) -> dict[str, Any]:
        """One record as plain data: numbers that are not finite become null."""
        found: dict[str, Any] = {"step": self.steps[number]}
        if number:
            found["loss"] = _plain(self.losses[number - 1])
        found["dead"] = self.dead[number].tolist()
        return found | {name: _plain(value) for name, value in self.measured[number].items()}

    def next_stop(self) -> int:
        """The step of the next record."""
        return min(self.total, self.steps[-1] + self.every)

    def tensors(self) -> dict[str, Tensor]:
        """All records as tensors."""
        found = {"dead": torch.stack(self.dead)}
        if self.losses:
            found["losses"] = torch.stack(self.losses)
        for number, blocks in enumerate(zip(*self.kept, strict=True)):
            found[f"kept.{number}"] = torch.stack(blocks)
        for name in self.measured[0]:
            found[f"measured.{name}"] = torch.stack([values[name] for values in self.measured])
        return found

    def load(self, tensors: Mapping[str, Tensor], steps: list[int]) -> None:
        """Take the records of a checkpoint up."""
        self.steps = list(steps)
        self.losses = list(tensors["losses"]) if "losses" in tensors else []
        self.dead = list(tensors["dead"])
        names = [key for key in tensors if key.startswith("measured.")]
        self.measured = [
            {key.removeprefix("measured."): tensors[key][row] for key in names} for row in range(len(steps))
        ]
        blocks = [tensors[f"kept.{number}"] for number in range(len(self.network.parameters))]
        self.kept = [[block[row] for block in blocks] for row in range(len(blocks[0]))]

    def trace(self, state: Progress) -> TrainingTrace:
        """The finished run."""
        return TrainingTrace(
            tuple(self.steps),
            torch.stack(self.losses),
            torch.stack(self.dead),
            {name: torch.stack([values[name] for values in self.measured]) for name in self.measured[0]},
            tuple(torch.stack(blocks) for blocks in zip(*self.kept, strict=True)),
            self.network.with_parameters(state.parameters()),
            tuple(state.failures),
        )


def _plain(value: Tensor) -> Any:
    def clean(entry: Any) -> Any:
        if isinstance(entry, list):
            return [clean(each) for each in entry]
        return entry if not isinstance(entry, float) or abs(entry) < float("inf") else None

    return clean(value.tolist())


def run_to_the_end(
    records: Records, state: Progress, folder: str | Path | None, settings: Mapping[str, Any]
) -> TrainingTrace:
    """Train from record to record, from the last checkpoint of the folder on if it has one.

    Raises
    ------
    InputError
        As :func:`numeric.train`.
    """
    place = None if folder is None else Path(folder)
    guard: AbstractContextManager[None] = nullcontext() if place is None else locked(place)
    with guard, _Streams(place) as streams:
        if place is None or not _resumed(place, records, state, settings):
            streams.start([])
            _record(place, records, state, settings, streams, None)
        else:
            streams.start([records.line(number) for number in range(len(records.steps))])
        while state.step < records.total:
            try:
                losses = state.advance(records.next_stop())
            except RuntimeError as error:
                raise _lost(error, records, place) from error
            _record(place, records, state, settings, streams, losses)
    return records.trace(state)


def _record(
    place: Path | None,
    records: Records,
    state: Progress,
    settings: Mapping[str, Any],
    streams: "_Streams",
    losses: Tensor | None,
) -> None:
    line = records.add(state, losses)
    if place is not None:
        tensors = records.tensors()
        tensors |= {f"now.{k}": block for k, block in enumerate(state.optimizer.parameters) if len(block)}
        tensors |= {f"optimizer.{name}": value for name, value in state.optimizer.state().items()}
        for member, blocks in state.kept.items():
            tensors |= {f"failed.{member}.{k}": block for k, block in enumerate(blocks)}
        failures = [[each.member, each.step, each.last_good] for each in state.failures]
        rest = {"step": state.step, "steps": records.steps, "active": state.active, "failures": failures}
        write_checkpoint(place, tensors, {**rest, "settings": settings})
    streams.write(line)
    if records.progress is not None:
        mean = float("nan") if losses is None else torch.nanmean(losses).item()
        records.progress(state.step, mean)


def _resumed(place: Path, records: Records, state: Progress, settings: Mapping[str, Any]) -> bool:
    """Take up the last checkpoint of a folder; False where there is none."""
    found = read_checkpoint(place)
    if found is None:
        return False
    tensors, held = found
    same_run(place, held.get("settings"), json.loads(json.dumps(settings)))
    steps, active, *failures = run_state(place, held, state.members, records.total)
    try:
        records.load(tensors, steps)
        state.step, state.active = steps[-1], list(active)
        state.failures = [Failure(*each) for each in failures]
        blocks = range(len(records.network.parameters))
        device = records.network.device
        state.kept = {each.member: [tensors[f"failed.{each.member}.{k}"].to(device) for k in blocks]
                      for each in state.failures}  # fmt: skip
        if len(state.active) < state.members:
            places = torch.tensor(state.active, dtype=torch.int64, device=device)
            state.optimizer.keep(places)
            if state.active:
                state.source = state.source.keep(places)
        for k, block in enumerate(state.optimizer.parameters):
            if len(block):
                block.copy_(tensors[f"now.{k}"])
        mark = "optimizer."
        state.optimizer.load({key.removeprefix(mark): v for key, v in tensors.items() if key.startswith(mark)})
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        found_bad = f"run folder {place}: {type(error).__name__} in its checkpoint"
        raise InputError(f"{found_bad}: must be one that a run wrote") from None
    return True


def _lost(error: RuntimeError, records: Records, place: Path | None) -> Exception:
    """A device that is gone becomes one line; other errors, too little memory among them, stay what they are."""
    other = "CUDA" not in str(error) or isinstance(error, torch.OutOfMemoryError)
    if records.network.device.type == "cpu" or other:
        return error
    saved = (
        f"its last checkpoint, of step {records.steps[-1]}, is in {place}" if place else "no checkpoint was asked for"
    )
    return InputError(
        f"device {records.network.device} lost after step {records.steps[-1]}: {str(error).splitlines()[0]}; {saved}"
    )


class _Streams:
    """The file of metrics and, where it is installed, TensorBoard; nothing without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.board: Any = None

    def __enter__(self) -> "_Streams":
        if self.folder is not None and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        if self.board is not None:
            self.board.close()

    def start(self, lines: list[dict[str, Any]]) -> None:
        """Write the file anew with the records so far: what followed the last checkpoint will come again."""
        if self.folder is not None:
            text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
            temporary = self.folder / (METRICS + ".part")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.folder / METRICS)

    def write(self, line: dict[str, Any]) -> None:
        """Add one record."""
        if self.folder is None:
            return
        with (self.folder / METRICS).open("a", encoding="utf-8") as held:
            held.write(json.dumps(line, allow_nan=False) + "\n")
        if self.board is not None and line.get("loss"):
            for member, loss in enumerate(line["loss"]):
                if loss is not None:
                    self.board.add_scalar(f"loss/{member}", loss, line["step"])
