"""The driver: takes tasks from the store, gives them to lanes, and writes what came of them.

A task that raises or exceeds its memory or its time is split in two, until the member that is to blame is alone and
fails with its reason; one whose worker died is tried again. Whatever moment the driver dies at, the store knows what is
done.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from numeric.studies.sweep.store import Store
from numeric.studies.sweep.task import work_of
from numeric.sweep.answers import Wrong, plain, read_answer
from numeric.sweep.cost import Sizes, most_members, seconds, sizes
from numeric.sweep.engine import Ended, Engine
from numeric.sweep.leases import EXPIRY, Leases, Member, Task

BEAT = 5.0  # seconds between heartbeats
GPU_CORES = 50  # whose work one GPU is assumed to do; no GPU was measured
POLL = 0.5  # seconds that the end of a task is waited for at a time
_LOST = "lost"


@dataclass(frozen=True)
class Options:
    """How a sweep is run; nothing of it changes a result.

    Attributes
    ----------
    device : str
    stack : int
        Most members of a task.
    time_limit : float
        Seconds of a task.
    memory_limit : int, optional
        Bytes of a task.
    retries : int
        How often a task is tried again whose worker died.
    checkpoints : Path, optional
        Folder that all workers reach.
    checkpoint_after : float
        Tasks that are predicted to take longer than so many seconds write checkpoints.
    task_seconds : float
        No stack is made larger than so many predicted seconds, nor than half of the time limit; a GPU is taken for
        `GPU_CORES` cores.
    expiry : float
        As in :class:`numeric.sweep.leases.Leases`.
    """

    device: str = "cpu"
    stack: int = 64
    time_limit: float = 3600.0
    memory_limit: int | None = None
    retries: int = 3
    checkpoints: Path | None = None
    checkpoint_after: float = 20.0
    task_seconds: float = 300.0
    expiry: float = EXPIRY


@dataclass(frozen=True)
class Running:
    """A task in a lane, and until when it may run."""

    task: Task
    deadline: float
    checkpoint: Path | None


Tell = Callable[[dict[str, int]], None]


@dataclass(eq=False)
class Driver:
    """One driver of a store.

    Parameters
    ----------
    store : Store
    engine : Engine
    options : Options
    tell : callable
        Told how many configurations have each status.
    note : callable
        Told in a line what went wrong.
    """

    store: Store
    engine: Engine
    options: Options
    tell: Tell = lambda _: None
    note: Callable[[str], None] = lambda _: None
    running: dict[int, Running] = field(default_factory=dict)

    def run(self) -> dict[str, int]:
        """Work until every configuration is done or has failed; gives how many are which."""
        folder = work_folder(self.store)
        with Leases(self.store, folder, self.options.expiry) as leases:
            beaten = told = -BEAT
            while True:
                now = time.monotonic()
                if now - beaten >= BEAT:
                    beaten = now
                    for name in leases.beat():
                        self.note(f"driver {name} is gone; its tasks are free")
                free = self._fill(leases)
                if not self.running and free and self._finished(leases):
                    break
                for ended in self.engine.wait(POLL if self.running or not free else 0.2):
                    self._settle(leases, self.running.pop(ended.lane), ended)
                self._overdue(leases)
                if now - told >= 1.0:
                    told = now
                    self.tell(self.store.counts())
        tidy(self.store)
        found = self.store.counts()
        self.tell(found)
        return found

    def _fill(self, leases: Leases) -> bool:
        """Give tasks to idle lanes; True if there was none left for some lane."""
        for lane in self.engine.idle():
            task = leases.claim(self._most, self.engine.lanes)
            if task is None:
                return True
            checkpoint = self._checkpoint(task)
            self.running[lane] = Running(task, time.monotonic() + self.options.time_limit, checkpoint)
            self.engine.start(lane, work_of(task, self.options.device, checkpoint, self.options.memory_limit))
        return False

    def _finished(self, leases: Leases) -> bool:
        """Whether nobody has anything to do; what others run may come back, and is waited for."""
        counts = self.store.counts()
        if counts["pending"] == 0 and counts["running"] and not leases.running_elsewhere():
            leases.give_back()  # rows that are ours and in no lane: the end of a task could not be written
            return False
        return counts["pending"] == 0 and counts["running"] == 0

    def _most(self, member: Member, files: dict[str, str]) -> int:
        # A limit is far above what is measured; half of it leaves room for what the model does not know.
        most_bytes = (self.options.memory_limit or 4 * 2**30) / 2
        most_seconds = min(self.options.task_seconds, self.options.time_limit / 2)
        if self.options.device != "cpu":
            most_seconds *= GPU_CORES
        return most_members(_sizes(member, files), self.options.stack, most_seconds, most_bytes)

    def _checkpoint(self, task: Task) -> Path | None:
        if self.options.checkpoints is None:
            return None
        size = _sizes(task.members[0], task.files)
        if seconds(size, len(task.members)) < self.options.checkpoint_after:
            return None
        return self.options.checkpoints / task.name

    def _settle(self, leases: Leases, run: Running, ended: Ended) -> None:
        """Write how a task ended."""
        if ended.answer is None:
            self._lost(leases, run, plain(ended.reason))
            return
        answer = read_answer(ended.answer, len(run.task.members))
        if isinstance(answer, Wrong):
            self._split(leases, run, answer.reason)
            return
        self._write(partial(leases.finish, run.task, answer), run)

    def _lost(self, leases: Leases, run: Running, reason: str) -> None:
        task = run.task
        if task.lost < self.options.retries:
            self.note(f"task {task.number}: {reason}; it is tried again")
            self._write(partial(leases.again, task, 1, task.lost + 1))
            return
        self._split(leases, run, f"{_LOST}: {reason}, {task.lost + 1} times")

    def _split(self, leases: Leases, run: Running, reason: str) -> None:
        """Halve a task that went wrong, or let its only member fail."""
        task = run.task
        if len(task.members) == 1:
            self.note(f"configuration {task.members[0].key.hex()[:12]}: {reason}")
            self._write(partial(leases.fail, task, reason), run)
        else:
            self.note(f"task {task.number} of {len(task.members)} members: {reason}; it is split")
            self._write(partial(leases.again, task, 2, 0), run)

    def _write(self, change: Callable[[], bool], over: Running | None = None) -> None:
        """Write how a task ended, and remove the checkpoint of one that is over; another driver's has its own."""
        if not change():
            self.note("the end of a task that another driver took over is not written")
        elif over is not None and over.checkpoint is not None:
            shutil.rmtree(over.checkpoint, ignore_errors=True)

    def _overdue(self, leases: Leases) -> None:
        """End the workers of tasks whose time is over."""
        for lane, run in list(self.running.items()):
            if time.monotonic() > run.deadline:
                del self.running[lane]
                self.engine.end(lane)
                self._split(leases, run, f"time: more than the {self.options.time_limit:g} seconds of a task")


def _sizes(member: Member, files: dict[str, str]) -> Sizes:
    parts = [json.loads(each) for each in (member.tree, member.network, member.train)]
    return sizes(parts[0], parts[1], parts[2], {digest: json.loads(text) for digest, text in files.items()})


def work_folder(store: Store) -> Path:
    """Folder beside a store for locks and checkpoints; the same under whatever name the store was opened."""
    place = store.path.resolve()
    return place.with_name(place.name + ".work")


def tidy(store: Store) -> None:
    """Remove the work folder where it serves nobody.

    A driver that dies between the end of a task and the removal of its checkpoint leaves one behind.
    """
    folder = work_folder(store)
    if not folder.is_dir():
        return
    with store.writing():  # nobody can claim anything meanwhile
        counts = store.counts()
        if counts["pending"] == counts["running"] == 0:
            for place in folder.iterdir():
                if place.is_dir():
                    shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):  # locks of other drivers may be there still
        folder.rmdir()
