"""The training loop: records, metrics, checkpoints, and members that diverge, which leave the stack.

Nothing between two records waits for the device: losses stay there until the record is made. Draws depend on seed and
step alone, so a checkpoint holds parameters, optimiser state and step number.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hltm.base.checks import show
from hltm.base.errors import InputError
from numeric.training.checkpoint import Checkpoints, locked, run_state, same_run, writing
from numeric.training.optimizers import Descent
from numeric.trees.network import TreeNetwork

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Failure:
    """A member whose training ended early.

    Attributes
    ----------
    member : int
        Its number.
    step : int
        The first step whose loss was not finite, or, where only weights were not finite, the last step before the
        record at which that was seen.
    last_good : int
        The record whose weights it kept.

    Examples
    --------
    >>> str(Failure(member=3, step=120, last_good=100))
    'member 3 diverged at step 120; its weights are those of step 100'
    """

    member: int
    step: int
    last_good: int

    def __str__(self) -> str:
        return f"member {self.member} diverged at step {self.step}; its weights are those of step {self.last_good}"


@dataclass(frozen=True, eq=False)
class TrainingTrace:
    """A finished run of E members with R records.

    Attributes
    ----------
    steps : tuple of int
        The number of steps before each record; the first is 0.
    losses : Tensor
        ``(R - 1, E)``, float64: mean minibatch loss between a record and the next; NaN once a member has failed.
    dead : Tensor
        ``(R, E)``: whether all outputs on a batch apart from training were zero.
    measured : dict of str to Tensor
        ``(R, E, ...)`` for each name that `measure` returned.
    parameters : tuple of Tensor
        ``(R, E, nodes, n_out, n_in)`` for each block of the plan, on the CPU; ``R = 1`` and only the last record where
        networks were not kept.
    network : TreeNetwork
        The trained networks.
    failures : tuple of Failure
        Members that diverged, in the order of their failing.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> from numeric.training.train import train
    >>> network = TreeNetwork(complete_tree(depth=1, branching=2, polarity=0.9), width=2, output="normalized")
    >>> trace = train(network, steps=4, batch=8, record_every=2)
    >>> trace.steps, trace.losses.shape, [step for step, _ in trace.networks()]
    ((0, 2, 4), torch.Size([2, 1]), [0, 2, 4])
    """

    steps: tuple[int, ...]
    losses: Float[Tensor, "intervals E"]
    dead: Bool[Tensor, "R E"]
    measured: Mapping[str, Tensor]
    parameters: tuple[Tensor, ...]
    network: TreeNetwork
    failures: tuple[Failure, ...] = ()

    def networks(self) -> Iterator[tuple[int, TreeNetwork]]:
        """Step and network of every record.

        Raises
        ------
        InputError
            Networks were not kept.
        """
        if len(self.parameters[0]) != len(self.steps):
            raise InputError("networks(): the run kept only the last one; train with keep_networks=True")
        for number, step in enumerate(self.steps):
            kept = [block[number].to(self.network.device) for block in self.parameters]
            yield step, self.network.with_parameters(kept)

    def member(self, number: int) -> "TrainingTrace":
        """The run of one member, E = 1.

        Raises
        ------
        InputError
            No such member.
        """
        if not 0 <= number < self.network.ensemble:
            raise InputError(f"member={number!r}: must lie in 0 .. {self.network.ensemble - 1}")
        one = slice(number, number + 1)
        return TrainingTrace(
            self.steps,
            self.losses[:, one],
            self.dead[:, one],
            {name: values[:, one] for name, values in self.measured.items()},
            tuple(block[:, one] for block in self.parameters),
            self.network.with_parameters([block[one] for block in self.network.parameters]),
            tuple(Failure(0, each.step, each.last_good) for each in self.failures if each.member == number),
        )

    def __repr__(self) -> str:
        ends = torch.nanmean(self.losses[-1]).item() if len(self.losses) else float("nan")
        sizes = f"members={self.network.ensemble}, steps={self.steps[-1]}, records={len(self.steps)}"
        return f"TrainingTrace({sizes}, last mean loss={ends:.6g}, failures={len(self.failures)})"


class Streams:
    """Writer of `metrics.jsonl` and, where it is installed, of TensorBoard files; writes nothing without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.board: Any = None

    def __enter__(self) -> "Streams":
        if self.folder is not None:
            with writing(self.folder):
                self.board = _board(self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        if self.board is not None and self.folder is not None:
            with writing(self.folder):
                self.board.close()

    def start(self, lines: list[dict[str, Any]]) -> None:
        """Rewrite the file with the records up to the checkpoint; those after it will come again."""
        if self.folder is None:
            return
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        with writing(self.folder):
            temporary = self.folder / (METRICS + ".part")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.folder / METRICS)

    def write(self, line: dict[str, Any]) -> None:
        """Append one record."""
        if self.folder is None:
            return
        with writing(self.folder):
            with (self.folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
            if self.board is not None and line.get("loss"):
                for member, loss in enumerate(line["loss"]):
                    if loss is not None:
                        self.board.add_scalar(f"loss/{member}", loss, line["step"])


def _board(folder: Path) -> Any:
    """TensorBoard's writer; None where it is not installed or cannot be imported."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except (ImportError, AttributeError, TypeError):  # the latter two from incompatible releases
        return None
    return SummaryWriter(str(folder))


Gradient = Callable[[Sequence[Tensor]], tuple[Tensor, list[Tensor]]]


@runtime_checkable
class Source(Protocol):
    """Source of the gradients of a stack: minibatches or the whole population."""

    def steps(self, start: int, stop: int) -> Iterator[Gradient]:
        """One function for each step: parameters to losses ``(E,)`` and gradients."""

    def outputs(self, parameters: Sequence[Tensor]) -> Tensor:
        """Outputs on a batch apart from training, ``(E, n_L, samples)``."""

    def keep(self, members: Tensor) -> "Source":
        """The source of these members alone."""


@dataclass(eq=False)
class Progress:
    """The state of a run, changed in place."""

    source: Source
    optimizer: Descent
    active: list[int]
    members: int
    step: int = 0
    failures: list[Failure] = field(default_factory=list)
    kept: dict[int, list[Tensor]] = field(default_factory=dict)

    def parameters(self) -> list[Tensor]:
        """Copies of the parameters of all members."""
        result = []
        for number, block in enumerate(self.optimizer.parameters):
            full = block.new_empty(self.members, *block.shape[1:])
            full[self.active] = block
            for member, parts in self.kept.items():
                full[member] = parts[number]
            result.append(full)
        return result

    def advance(self, stop: int) -> Tensor:
        """Train until a step; members whose losses or weights are not finite return to their weights before it."""
        means = torch.full((self.members,), torch.nan, dtype=torch.float64)
        start, self.step = self.step, stop
        if not self.active or start == stop:
            return means
        before = [block.clone() for block in self.optimizer.parameters]
        losses = self._losses(start, stop).double()
        finite = torch.isfinite(losses).all(0)
        for block in self.optimizer.parameters:
            finite &= torch.isfinite(block).flatten(1).all(1)
        means[self.active] = losses.mean(0).masked_fill(~finite, torch.nan).cpu()
        if not bool(finite.all()):
            self._drop(before, losses, finite, start)
        return means

    def _losses(self, start: int, stop: int) -> Tensor:
        """Take steps; losses ``(steps, active members)``."""
        result = []
        for gradient in self.source.steps(start, stop):
            loss, gradients = gradient(self.optimizer.parameters)
            self.optimizer.step(gradients)
            result.append(loss)
        return torch.stack(result)

    def _drop(self, before: list[Tensor], losses: Tensor, finite: Tensor, start: int) -> None:
        """Remove members that diverged from the stack and keep the weights of their last record."""
        for place in torch.nonzero(~finite).flatten().tolist():
            bad = torch.nonzero(~torch.isfinite(losses[:, place])).flatten()
            step = start + (int(bad[0]) if len(bad) else len(losses) - 1)
            self.failures.append(Failure(self.active[place], step, start))
            self.kept[self.active[place]] = [block[place].clone() for block in before]
        places = torch.nonzero(finite).flatten()
        self.active = [self.active[place] for place in places.tolist()]
        self.optimizer.keep(places)
        self.source = self.source.keep(places)


_TAKEN = ("step", "loss", "dead")  # names in a line of metrics


@dataclass(eq=False)
class Records:
    """Settings of the records, and the records up to now."""

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
        """Make a record; gives its line for the file of metrics."""
        parameters = state.parameters()
        here = self.network.with_parameters(parameters)
        self.steps.append(state.step)
        dead = torch.zeros(state.members, dtype=torch.bool)
        if state.active:
            outputs = state.source.outputs(state.optimizer.parameters)
            dead[state.active] = (outputs == 0).flatten(1).all(1).cpu()
        self.dead.append(dead)
        if not self.keep_networks:
            self.kept.clear()
        self.kept.append([block.cpu().clone() for block in parameters])  # `measure` may change its arguments
        self.measured.append(self.measure_at(here, state.step))
        if losses is not None:
            self.losses.append(losses)
        return self.line(len(self.steps) - 1)

    def measure_at(self, here: TreeNetwork, step: int) -> dict[str, Tensor]:
        """Call `measure` and check names and shapes."""
        result: Any = self.measure(here, step) if self.measure else {}
        if not isinstance(result, Mapping):
            raise InputError(f"measure at step {step}: {show(result)}: must be a mapping of names to tensors")
        values = {name: _measured(name, value, step) for name, value in result.items()}
        first = _shapes((self.measured or [values])[0])
        shapes = _shapes(values)
        if shapes != first:
            raise InputError(f"measure at step {step}: {shapes}: must be the names and shapes of step 0, {first}")
        for name, shape in shapes.items():
            if shape[:1] != (here.ensemble,):
                raise InputError(f"measure at step {step}: {name} of shape {shape}: must be ({here.ensemble}, ...)")
        return values

    def line(self, number: int) -> dict[str, Any]:
        """One record as JSON data."""
        result: dict[str, Any] = {"step": self.steps[number]}
        if number:
            result["loss"] = plain(self.losses[number - 1])
        result["dead"] = self.dead[number].tolist()
        return result | {name: plain(value) for name, value in self.measured[number].items()}

    def next_stop(self) -> int:
        """The step of the next record."""
        return min(self.total, self.steps[-1] + self.every)

    def last(self) -> dict[str, Tensor]:
        result = {"dead": self.dead[-1]}
        if self.losses:
            result["loss"] = self.losses[-1]
        if self.keep_networks:
            result |= {f"kept.{number}": block for number, block in enumerate(self.kept[-1])}
        return result | {f"measured.{name}": value for name, value in self.measured[-1].items()}

    def load(self, records: list[dict[str, Tensor]], steps: list[int], names: Iterable[str]) -> None:
        """Load the records of a checkpoint, measurements in the order of their names."""
        self.steps = list(steps)
        self.losses = [record["loss"] for record in records[1:]]
        self.dead = [record["dead"] for record in records]
        self.measured = [{name: record[f"measured.{name}"] for name in names} for record in records]
        if self.keep_networks:
            blocks = range(len(self.network.parameters))
            self.kept = [[record[f"kept.{number}"] for number in blocks] for record in records]

    def trace(self, state: Progress) -> TrainingTrace:
        return TrainingTrace(
            tuple(self.steps),
            torch.stack(self.losses),
            torch.stack(self.dead),
            {name: torch.stack([values[name] for values in self.measured]) for name in self.measured[0]},
            tuple(torch.stack(blocks) for blocks in zip(*self.kept, strict=True)),
            self.network.with_parameters(state.parameters()),
            tuple(state.failures),
        )


def plain(value: Tensor) -> Any:
    """A tensor as JSON data: numbers that are not finite become null."""

    def clean(entry: Any) -> Any:
        if isinstance(entry, list):
            return [clean(each) for each in entry]
        return entry if not isinstance(entry, float) or abs(entry) < float("inf") else None

    return clean(value.tolist())


def _shapes(values: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in values.items()}


def _measured(name: Any, value: Any, step: int) -> Tensor:
    """One measurement as a copy on the CPU."""
    if not isinstance(name, str) or name in _TAKEN:
        raise InputError(f"measure at step {step}: name {show(name)}: must be a string, none of {', '.join(_TAKEN)}")
    try:
        result = torch.as_tensor(value).detach().cpu().clone(memory_format=torch.contiguous_format)
    except (TypeError, ValueError, RuntimeError):
        result = None
    if result is None or result.is_complex():
        raise InputError(f"measure at step {step}: {name}={show(value)}: must be a tensor of real numbers")
    return result


def run_to_the_end(
    records: Records, state: Progress, folder: Path | None, settings: Mapping[str, Any]
) -> TrainingTrace:
    """Train from record to record, resuming from the last checkpoint of the folder if it has one."""
    guard: AbstractContextManager[None] = nullcontext() if folder is None else locked(folder)
    with guard, Streams(folder) as streams:
        store = None if folder is None else Checkpoints(folder)
        if store is None or not _resumed(store, records, state, settings):
            streams.start([])
            _record(store, records, state, settings, streams, None)
        else:
            streams.start([records.line(number) for number in range(len(records.steps))])
        while state.step < records.total:
            try:
                losses = state.advance(records.next_stop())
            except RuntimeError as error:
                raise _lost(error, records, folder) from error
            _record(store, records, state, settings, streams, losses)
    return records.trace(state)


def _record(
    store: Checkpoints | None, records: Records, state: Progress, settings: Mapping[str, Any], streams: Streams,
    losses: Tensor | None,
) -> None:  # fmt: skip
    line = records.add(state, losses)
    if store is not None:
        tensors = {f"now.{k}": block for k, block in enumerate(state.optimizer.parameters) if len(block)}
        tensors |= {f"optimizer.{name}": value for name, value in state.optimizer.state().items()}
        for member, blocks in state.kept.items():
            tensors |= {f"failed.{member}.{k}": block for k, block in enumerate(blocks)}
        failures = [[each.member, each.step, each.last_good] for each in state.failures]
        rest = {"step": state.step, "steps": records.steps, "active": state.active, "failures": failures}
        measured = {name: list(shape) for name, shape in _shapes(records.measured[0]).items()}
        store.write(records.last(), tensors, {**rest, "measured": measured, "settings": settings})
    streams.write(line)
    if records.progress is not None:
        mean = float("nan") if losses is None else torch.nanmean(losses).item()
        records.progress(state.step, mean)


def _resumed(store: Checkpoints, records: Records, state: Progress, settings: Mapping[str, Any]) -> bool:
    """Load the last checkpoint of a folder; False where there is none."""
    checkpoint = store.read()
    if checkpoint is None:
        return False
    same_run(store.folder, checkpoint.get("settings"), json.loads(json.dumps(settings)))
    steps, active, *failures = run_state(store.folder, checkpoint, state.members, records.total)
    loaded, tensors = store.load(checkpoint)
    try:
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
        parameters = state.parameters()
        records.load(loaded, steps, list(checkpoint["measured"]))
        records.kept = records.kept or [[block.cpu().clone() for block in parameters]]
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        name = type(error).__name__
        raise InputError(f"run folder {store.folder}: {name} in its checkpoint: must be one that a run wrote") from None
    _same_measure(store.folder, checkpoint.get("measured"), records, parameters)
    return True


def _same_measure(folder: Path, shapes: Any, records: Records, parameters: list[Tensor]) -> None:
    """Refuse a `measure` that gives other names or shapes than in the checkpoint; values are not compared."""
    before, records.measured = records.measured, []
    now = records.measure_at(records.network.with_parameters(parameters), records.steps[-1])
    records.measured = before
    same_run(folder, {"measure": shapes}, {"measure": {name: list(shape) for name, shape in _shapes(now).items()}})


def _lost(error: RuntimeError, records: Records, place: Path | None) -> Exception:
    """Turn the loss of a device into one line; other errors, out of memory among them, are not changed."""
    other = "CUDA" not in str(error) or isinstance(error, torch.OutOfMemoryError)
    if records.network.device.type == "cpu" or other:
        return error
    saved = (
        f"its last checkpoint, of step {records.steps[-1]}, is in {place}" if place else "no checkpoint was asked for"
    )
    return InputError(
        f"device {records.network.device} lost after step {records.steps[-1]}: {str(error).splitlines()[0]}; {saved}"
    )
