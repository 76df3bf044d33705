"""Worker processes, and lanes of workers that run one task at a time.

Every process of a pool ignores Ctrl-C, which is for the process that started it, and ends with that process. A lane
gets a new worker when its own dies; workers that do not start are retried, with longer and longer pauses.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from hltm.base.errors import InputError
from hltm.base.interrupts import interrupts_blocked


class ProcessPool:
    """A pool of processes that can be killed at any moment."""

    def __init__(self, workers: int) -> None:
        # Torch's threads do not survive a fork.
        self._pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin_process)

    def send(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Run a function in one of the processes."""
        with interrupts_blocked():  # any call may start a process
            return self._pool.submit(function, *arguments)

    def kill(self) -> None:
        """End all processes immediately."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        # A process that was killed while it wrote leaves half a result. The reader waits for the rest as long as the
        # pipe has a writer, and this process has an end of it that it never uses.
        self._pool._result_queue._writer.close()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Wait for what runs, and end all processes."""
        self._pool.shutdown(cancel_futures=True)


def _begin_process() -> None:
    """Ignore Ctrl-C, and end with the parent: an orphan would keep its folder and its core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


STARTS = 5  # in a row that may fail while no worker is ready
LONGEST_PAUSE = 60.0  # seconds before a worker that did not start is retried
NODE_DIED = "its node died"


@dataclass(frozen=True)
class Ended:
    """The end of a task: its answer, or None and the reason why there is none."""

    lane: int
    answer: Any
    reason: str = ""


@dataclass(eq=False)
class Lane:
    """A worker (None until it is started, not before `retry_at`), its start, and its task."""

    worker: Any = None
    starting: "Future[Any] | None" = None
    task: "Future[Any] | None" = None
    failures: int = 0
    retry_at: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether the worker has started."""
        return self.worker is not None and self.starting is None

    @property
    def due(self) -> bool:
        """Whether a worker has to be started now."""
        return self.worker is None and time.monotonic() >= self.retry_at


class Engine:
    """Lanes of workers. A subclass says how a worker is started, given a task, and killed.

    Workers are instances of a class with two methods: `prepare()`, which imports what tasks need, and `run(work)`.
    """

    def __init__(self) -> None:
        self._lanes: dict[int, Lane] = {}
        self._failed_starts = 0

    def _begin(self) -> "tuple[Any, Future[Any]]":
        """Start a worker; the future is done when it can take tasks."""
        raise NotImplementedError

    def _submit(self, worker: Any, work: Any) -> "Future[Any]":
        raise NotImplementedError

    def _kill(self, worker: Any) -> None:
        raise NotImplementedError

    def _reason(self, error: BaseException) -> str:
        """Why a worker gave no answer, in a few words."""
        raise NotImplementedError

    def _start_error(self, error: BaseException) -> str:
        """One line for workers that cannot start."""
        raise NotImplementedError

    @property
    def lanes(self) -> int:
        return len(self._lanes)

    def idle(self) -> list[int]:
        """Lanes that can be given a task."""
        for lane in self._lanes.values():
            if lane.starting is not None and lane.starting.done():
                self._started(lane, lane.starting.exception())
            if lane.due:
                lane.worker, lane.starting = self._begin()
        return [number for number, lane in self._lanes.items() if lane.ready and lane.task is None]

    def _started(self, lane: Lane, error: BaseException | None) -> None:
        lane.starting = None
        if error is None:
            lane.failures = self._failed_starts = 0
            return
        lane.worker = None
        lane.failures += 1
        lane.retry_at = time.monotonic() + min(LONGEST_PAUSE, 2.0 ** (lane.failures - 1))
        if self._reason(error) != NODE_DIED:  # that is no fault of the worker
            self._failed_starts += 1
        if self._failed_starts >= STARTS and not any(other.ready for other in self._lanes.values()):
            raise InputError(self._start_error(error))

    def start(self, lane: int, work: Any) -> None:
        """Give a lane a task."""
        self._lanes[lane].task = self._submit(self._lanes[lane].worker, work)

    def wait(self, seconds: float) -> list[Ended]:
        """Wait for the end of a task, or for a new idle lane, for so many seconds at most."""
        futures = [each for lane in self._lanes.values() for each in (lane.starting, lane.task) if each is not None]
        if futures:
            wait(futures, seconds, FIRST_COMPLETED)
        else:
            time.sleep(seconds)
        ended = []
        for number, lane in self._lanes.items():
            if lane.task is None or not lane.task.done():
                continue
            error = lane.task.exception()
            if error is None:
                ended.append(Ended(number, lane.task.result()))
                lane.task = None
            else:
                ended.append(Ended(number, None, self._reason(error)))
                self._lanes[number] = Lane()
        return ended

    def end(self, lane: int) -> None:
        """Kill the worker of a lane."""
        self._kill(self._lanes[lane].worker)
        self._lanes[lane] = Lane()

    def close(self) -> None:
        """Kill all workers."""
        for lane in self._lanes.values():
            if lane.worker is not None:
                self._kill(lane.worker)


class LocalEngine(Engine):
    """Worker processes on this machine, each in a pool of its own: a pool breaks when one of its processes dies."""

    def __init__(self, workers: int, worker: type) -> None:
        super().__init__()
        self._worker = worker()
        self._lanes = {number: Lane() for number in range(workers)}

    def _begin(self) -> "tuple[ProcessPool, Future[Any]]":
        pool = ProcessPool(1)
        return pool, pool.send(self._worker.prepare)

    def _submit(self, worker: ProcessPool, work: Any) -> "Future[Any]":
        try:
            return worker.send(self._worker.run, work)
        except BrokenProcessPool as error:  # it died while it was idle
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def _kill(self, worker: ProcessPool) -> None:
        worker.kill()

    def _reason(self, error: BaseException) -> str:
        died = isinstance(error, BrokenProcessPool)
        return "its worker process died" if died else f"{type(error).__name__}: {error}"

    def _start_error(self, error: BaseException) -> str:
        return f"workers: {type(error).__name__}: {error}: a worker process must be able to start"

    def close(self) -> None:
        """Kill all workers, and wait until they are gone."""
        super().close()
        for lane in self._lanes.values():
            if lane.worker is not None:
                lane.worker.close()
