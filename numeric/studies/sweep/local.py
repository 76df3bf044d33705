"""Lanes on this machine: worker processes of `concurrent.futures`, one pool of one process each.

A pool breaks as a whole when one of its processes dies; of one process, it takes no other task with it.
"""

import contextlib
import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from typing import Any, Protocol, runtime_checkable

from hltm.base.errors import InputError
from numeric.studies.sweep.task import prepare, run_task

# What a driver asks of an engine: lanes that run one task at a time, and how a lane ends one.


@dataclass(frozen=True)
class Ended:
    """How a lane ended its task."""

    lane: int
    answer: Any
    reason: str = ""


@runtime_checkable
class Engine(Protocol):
    """Lanes somewhere."""

    @property
    def lanes(self) -> int:
        """How many there are, or are wanted."""

    @property
    def name(self) -> str:
        """What it is, in words."""

    def idle(self) -> list[int]:
        """Lanes that can be given a task."""

    def start(self, lane: int, work: Any) -> None:
        """Give a lane a task."""

    def wait(self, seconds: float) -> list[Ended]:
        """Wait for the end of some task, or for a new idle lane, at most that long."""

    def end(self, lane: int) -> None:
        """End the worker of a lane, whatever it does."""

    def close(self) -> None:
        """End all workers."""


START_SECONDS = 300.0  # after which a worker that has not begun counts as dead
STARTS = 5  # in a row that may fail


@dataclass(eq=False)
class _Lane:
    pool: ProcessPoolExecutor
    begun: "Future[int] | None"
    since: float = field(default_factory=time.monotonic)
    process: int | None = None
    task: "Future[dict[str, Any]] | None" = None
    ended: bool = False


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Start processes that never hear Ctrl-C: it is for the driver, which hears it afterwards if it comes meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # begun in the block, it would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class LocalEngine:
    """Worker processes."""

    def __init__(self, workers: int) -> None:
        self._failed_starts = 0
        self._lanes = [self._begin() for _ in range(workers)]

    @staticmethod
    def _begin() -> _Lane:
        # Torch's threads do not survive a fork.
        pool = ProcessPoolExecutor(1, get_context("spawn"))
        with _unheard():
            return _Lane(pool, pool.submit(prepare, os.getpid()))

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self._lanes)

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"{self.lanes} local worker{'' if self.lanes == 1 else 's'}"

    def idle(self) -> list[int]:
        """Lanes that can be given a task."""
        for number, lane in enumerate(self._lanes):
            if lane.begun is not None and lane.begun.done():
                self._begun(number, lane, lane.begun)
            elif lane.begun is not None and time.monotonic() - lane.since > START_SECONDS:
                self._again(number)
        return [number for number, lane in enumerate(self._lanes) if lane.begun is None and lane.task is None]

    def _begun(self, number: int, lane: _Lane, begun: "Future[int]") -> None:
        error = begun.exception()
        if error is None:
            lane.process, lane.begun, self._failed_starts = begun.result(), None, 0
            return
        self._failed_starts += 1
        if self._failed_starts >= STARTS:
            raise InputError(f"workers: {type(error).__name__}: {error}: a worker process must be able to start")
        self._again(number)

    def start(self, lane: int, work: Any) -> None:
        """Give a lane a task."""
        held = self._lanes[lane]
        try:
            held.task = held.pool.submit(run_task, work)
        except BrokenProcessPool as error:  # it died while it was idle
            held.task = Future()
            held.task.set_exception(error)

    def wait(self, seconds: float) -> list[Ended]:
        """Wait for the end of some task, or for a new idle lane."""
        futures: list[Future[Any]] = [each for lane in self._lanes for each in (lane.begun, lane.task) if each]
        if futures:
            wait(futures, seconds, FIRST_COMPLETED)
        else:
            time.sleep(seconds)
        result = []
        for number, lane in enumerate(self._lanes):
            if lane.task is None or not lane.task.done():
                continue
            error = lane.task.exception()
            if error is None:
                result.append(Ended(number, lane.task.result()))
                lane.task = None
            else:
                result.append(Ended(number, None, "its worker process died"))
                self._again(number)
        return result

    def end(self, lane: int) -> None:
        """End the worker of a lane."""
        self._kill(self._lanes[lane])
        self._again(lane)

    @staticmethod
    def _kill(lane: _Lane) -> None:
        if lane.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(lane.process, signal.SIGKILL)
        lane.pool.shutdown(wait=False, cancel_futures=True)

    def _again(self, number: int) -> None:
        self._lanes[number].pool.shutdown(wait=False, cancel_futures=True)
        self._lanes[number] = self._begin()

    def close(self) -> None:
        """End all workers."""
        for lane in self._lanes:
            if lane.begun is not None:  # it has not said its number yet
                with contextlib.suppress(Exception):
                    lane.process = lane.begun.result(timeout=START_SECONDS)
            self._kill(lane)
        for lane in self._lanes:
            lane.pool.shutdown(wait=True, cancel_futures=True)


# What a worker answers, checked before it is written: plain numbers and text, as many as were asked for.


@dataclass(frozen=True)
class Answer:
    """Results of a task that can be written."""

    results: tuple[str, ...]
    seconds: float
    device: str
    code: str


@dataclass(frozen=True)
class Wrong:
    """A task that went wrong."""

    reason: str


def read_answer(found: Any, members: int) -> Answer | Wrong:
    """Convert the result of `numeric.studies.sweep.task.run_task`; one that cannot be stored is a failure."""
    try:
        if "error" in found:
            return Wrong(plain(f"{found['error']}: {found['reason']}"))
        return _answer(found, members)
    except Exception as error:  # of whatever came, any part may be of any kind
        return Wrong(plain(f"raised: the answer cannot be written: {type(error).__name__}: {error}"))


def _answer(found: Mapping[str, Any], members: int) -> Answer:
    texts = tuple(json.dumps(each, allow_nan=False, separators=(",", ":")) for each in found["results"])
    if len(texts) != members:
        raise ValueError(f"{len(texts)} results for {members} members")
    taken = float(found["seconds"])
    if not math.isfinite(taken):
        raise ValueError(f"{taken} seconds")
    return Answer(texts, taken, plain(found["device"]), plain(found["code"]))


def plain(text: object) -> str:
    r"""One line of text that every file takes."""
    return " ".join(str(text).split()).encode(errors="backslashreplace").decode()[:400]
