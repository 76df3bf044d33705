"""The driver of a sweep, and the cost model by which it sizes its tasks.

The driver claims tasks from the store, gives them to lanes, and writes their results. A task that raises or exceeds its
memory or its time limit is split in two, until the member to blame is alone and fails with its reason; a task whose
worker died is tried again. The store is consistent whenever the driver dies.
"""

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hltm.base.workers import Ended, Engine
from numeric.studies.sweep.expansion import leaf_states, tree_sizes
from numeric.studies.sweep.leases import Leases, Member, Task
from numeric.studies.sweep.store import USUAL_LEAVES, Store
from numeric.studies.sweep.task import TaskError, one_line, read_answer, work_of

# The cost model: seconds and bytes of a task. `docs/scaling.md` has its formula, its fit and its errors.
WORDS_AT_A_TIME = 2**19
MEASURED_AT_A_TIME = 2**22
TILE_BYTES = 2**22  # of activations that training holds at a time
BEFORE = 0.4
CACHE_BYTES = 2**20  # of distances, that stay near


@dataclass(frozen=True)
class Sizes:
    """Sizes of one step of one member."""

    nodes: int
    leaves: int
    neurons: int
    parameters: int
    blocks: int
    samples: int
    words: int
    steps: int
    records: int
    measured: int
    itemsize: int
    pairs: int = 0
    adaptive: bool = False
    predicted: bool = True

    @property
    def numbers(self) -> int:
        """Activations of a step."""
        return self.samples * self.neurons

    @property
    def state_bytes(self) -> int:
        """Bytes of activations and of weights with their gradients."""
        return self.itemsize * (self.numbers + 4 * self.parameters)

    @property
    def products(self) -> float:
        """Multiplications of a step: outputs, derivatives in the weights and in the activations below."""
        return 3.0 * self.samples * self.parameters


@dataclass(frozen=True)
class Coefficients:
    """Seconds, and bytes, for a unit of each kind of work."""

    fixed: float = 0.000179
    per_block: float = 0.0
    per_word: float = 1.06e-08
    per_number: float = 1.51e-09
    per_product: float = 3.30e-11
    per_pair: float = 7.21e-09
    per_far_pair: float = 9.88e-09
    per_adaptive_block: float = 6.46e-05
    per_adaptive_parameter: float = 5.06e-09
    per_measured_number: float = 7.13e-09
    task: float = 0.0398
    per_node: float = 0.0
    bytes_task: float = 2240000.0
    bytes_per_number: float = 0.806
    bytes_per_word: float = 29.5
    bytes_per_pair: float = 34.5
    bytes_per_measured_number: float = 15.9


CPU = Coefficients()


def sizes(
    tree: Mapping[str, Any], network: Mapping[str, Any], train: Mapping[str, Any], files: Mapping[str, Any]
) -> Sizes:
    """Compute the sizes of a configuration from its parts."""
    width = network["width"]
    nodes, leaves = tree_sizes(tree, files)
    latents = nodes - leaves
    depths = {"complete": tree.get("depth", 1), "star": 1, "caterpillar": max(1, leaves - 1)}
    blocks = depths.get(tree["kind"], 2 * max(1, latents.bit_length()))  # a guess for a tree from a file
    read = leaves if network.get("leaves", USUAL_LEAVES) == USUAL_LEAVES else leaf_states(tree, files)
    neurons = latents * width + read
    parameters = width * (read + (latents - 1) * width)
    exact, whole = train["mode"] == "exact", train["loss"] == "ntxent"
    towers = 2 if whole else 2 + (train["negatives"] or 1)
    samples = 2**leaves if exact else train["batch"] * towers
    words = 0 if exact else (towers - 1) * train["batch"] + (nodes - 1) * samples
    return Sizes(
        nodes, leaves, neurons, parameters, blocks, samples, words, train["steps"],
        min(train["steps"], train["records"]), train["samples"], 4 if network["dtype"] == "float32" else 8,
        pairs=samples**2 if whole else 0, predicted=not exact,
        adaptive=train.get("optimizer", "sgd") != "sgd" or bool(train.get("optimizer_options")),
    )  # fmt: skip


def seconds(size: Sizes, members: int, rates: Coefficients = CPU) -> float:
    """Predict the seconds of a task on one core; infinite in exact mode, which is not predicted."""
    if not size.predicted:
        return math.inf
    launch = rates.fixed + rates.per_block * size.blocks
    each = rates.per_word * size.words + rates.per_number * size.numbers + rates.per_product * size.products
    each += rates.per_pair * size.pairs + rates.per_far_pair * far_pairs(size, members)
    if size.adaptive:
        launch += rates.per_adaptive_block * size.blocks
        each += rates.per_adaptive_parameter * size.parameters
    measured = 2 * size.measured * size.neurons * rates.per_measured_number
    return (
        rates.task
        + members * (rates.per_node * size.nodes + measured)
        + (size.steps + size.records) * (launch + members * each)
    )


def memory(size: Sizes, members: int, rates: Coefficients = CPU) -> float:
    """Predict the bytes of a task beyond those of an idle worker: of training or of measuring, the larger."""
    training = (
        rates.bytes_per_word * words_in_memory(size, members) + rates.bytes_per_number * members * size.state_bytes
    )
    training += rates.bytes_per_pair * pair_bytes(size, members)
    return rates.bytes_task + max(training, rates.bytes_per_measured_number * numbers_measured(size, members))


def words_in_memory(size: Sizes, members: int) -> int:
    """Random words drawn at a time: for several steps, but not beyond the next record."""
    one = members * size.words
    return min(one * -(-size.steps // size.records), max(one, WORDS_AT_A_TIME))


def pair_bytes(size: Sizes, members: int) -> float:
    """Bytes of the distances of one tile of members; training takes tiles one after the other."""
    tiles = -(-members // max(1, TILE_BYTES // (size.itemsize * size.numbers)))
    return float(-(-members // tiles) * size.pairs * size.itemsize)


def far_pairs(size: Sizes, members: int) -> float:
    """Pairs of one member whose distances lie beyond the cache."""
    tile = pair_bytes(size, members)
    return size.pairs * max(0.0, 1 - CACHE_BYTES / tile) if tile else 0.0


def numbers_measured(size: Sizes, members: int) -> float:
    """Activations in memory for correlations: of some members, and part of those before them."""
    one = size.measured * size.neurons
    some = min(members * one, max(one, MEASURED_AT_A_TIME // 3))
    return some + BEFORE * min(members * one - some, some)


def most_members(size: Sizes, limit: int, most_seconds: float, most_bytes: float) -> int:
    """The largest stack that stays within a number of members, seconds and bytes; at least 1."""
    low, high = 1, max(1, limit)
    while low < high:
        middle = (low + high + 1) // 2
        if seconds(size, middle) <= most_seconds and memory(size, middle) <= most_bytes:
            low = middle
        else:
            high = middle - 1
    return low


BEAT = 5.0  # seconds between heartbeats
GPU_CORES = 50  # whose work one GPU is assumed to do; no GPU was measured
POLL = 0.5  # seconds between looks for idle lanes and overdue tasks


@dataclass(frozen=True)
class Options:
    """How a sweep is run; nothing of it changes a result."""

    device: str = "cpu"
    stack: int = 64
    time_limit: float = 3600.0
    memory_limit: int | None = None
    retries: int = 3
    checkpoints: Path | None = None
    checkpoint_after: float = 20.0
    task_seconds: float = 300.0


@dataclass(frozen=True)
class Running:
    """A task in a lane, and the end of its time."""

    task: Task
    deadline: float
    checkpoint: Path | None


@dataclass(eq=False)
class Driver:
    """One driver of a store: gives tasks to lanes until every configuration is done or has failed."""

    store: Store
    engine: Engine
    options: Options
    progress: Callable[[dict[str, int]], None] = lambda _: None
    note: Callable[[str], None] = lambda _: None
    running: dict[int, Running] = field(default_factory=dict)

    def run(self) -> dict[str, int]:
        """Work until nothing is left; gives the number of configurations with each status."""
        with Leases(self.store, work_folder(self.store)) as leases:
            beaten = reported = -BEAT
            while True:
                now = time.monotonic()
                if now - beaten >= BEAT:
                    beaten = now
                    for name in leases.beat():
                        self.note(f"driver {name} is gone; its tasks are free")
                exhausted = self._fill(leases)
                if exhausted and not self.running and self._finished():
                    break
                for ended in self.engine.wait(POLL):
                    self._settle(leases, self.running.pop(ended.lane), ended)
                self._overdue(leases)
                if now - reported >= 1.0:
                    reported = now
                    self.progress(self.store.counts())
        tidy(self.store)
        result = self.store.counts()
        self.progress(result)
        return result

    def _fill(self, leases: Leases) -> bool:
        """Give tasks to idle lanes; True if an idle lane found none."""
        for lane in self.engine.idle():
            task = leases.claim(self._most, self.engine.lanes)
            if task is None:
                return True
            checkpoint = self._checkpoint(task)
            self.running[lane] = Running(task, time.monotonic() + self.options.time_limit, checkpoint)
            self.engine.start(lane, work_of(task, self.options.device, checkpoint, self.options.memory_limit))
        return False

    def _finished(self) -> bool:
        """Whether nothing is left for any driver: the tasks of another one may come back."""
        counts = self.store.counts()
        return counts["pending"] == counts["running"] == 0

    def _most(self, member: Member, files: dict[str, Any]) -> int:
        # Half of the limits: the model leaves a margin for what it does not know.
        most_bytes = (self.options.memory_limit or 4 * 2**30) / 2
        most_seconds = min(self.options.task_seconds, self.options.time_limit / 2)
        if self.options.device != "cpu":
            most_seconds *= GPU_CORES
        size = sizes(member.tree, member.network, member.train, files)
        return most_members(size, self.options.stack, most_seconds, most_bytes)

    def _checkpoint(self, task: Task) -> Path | None:
        if self.options.checkpoints is None:
            return None
        first = task.members[0]
        size = sizes(first.tree, first.network, first.train, task.files)
        if seconds(size, len(task.members)) < self.options.checkpoint_after:
            return None
        return self.options.checkpoints / task.name

    def _settle(self, leases: Leases, run: Running, ended: Ended) -> None:
        """Write how a task ended."""
        task = run.task
        if ended.answer is None:
            reason = one_line(ended.reason)
            if task.lost < self.options.retries:
                self.note(f"task {task.number}: {reason}; it is tried again")
                self._written(leases.retry(task))
            else:
                self._split(leases, run, f"lost: {reason}, {task.lost + 1} times")
            return
        try:
            answer = read_answer(ended.answer, len(task.members))
        except TaskError as error:
            self._split(leases, run, str(error))
            return
        self._written(leases.finish(task, answer), run.checkpoint)

    def _split(self, leases: Leases, run: Running, reason: str) -> None:
        """Halve a task that went wrong, or let its only member fail."""
        task = run.task
        if len(task.members) == 1:
            self.note(f"configuration {task.members[0].key.hex()[:12]}: {reason}")
            self._written(leases.fail(task, reason), run.checkpoint)
        else:
            self.note(f"task {task.number} of {len(task.members)} members: {reason}; it is split")
            self._written(leases.split(task), run.checkpoint)

    def _written(self, ours: bool, checkpoint: Path | None = None) -> None:
        """Remove the checkpoint of a task that is over, unless another driver took the task over."""
        if not ours:
            self.note("the end of a task that another driver took over is not written")
        elif checkpoint is not None:
            shutil.rmtree(checkpoint, ignore_errors=True)

    def _overdue(self, leases: Leases) -> None:
        """Kill the workers of tasks that exceed their time limit."""
        for lane, run in list(self.running.items()):
            if time.monotonic() > run.deadline:
                del self.running[lane]
                self.engine.end(lane)
                self._split(leases, run, f"time: more than the {self.options.time_limit:g} seconds of a task")


def work_folder(store: Store) -> Path:
    """Folder beside a store for locks and checkpoints; the same for a link to the store."""
    place = store.path.resolve()
    return place.with_name(place.name + ".work")


def tidy(store: Store) -> None:
    """Remove the work folder of a finished store.

    A driver that dies between the end of a task and the removal of its checkpoint leaves one behind.
    """
    folder = work_folder(store)
    if not folder.is_dir():
        return
    with store.writing():  # no driver can claim a task meanwhile
        counts = store.counts()
        if counts["pending"] == counts["running"] == 0:
            for place in folder.iterdir():
                if place.is_dir():
                    shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):  # another driver may still have its lock there
        folder.rmdir()
