"""Work shared among processes, none of which outlives the one that asked for it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

Item = TypeVar("Item")
Output = TypeVar("Output")


def map_in_processes(function: Callable[[Item], Output], items: Iterable[Item], workers: int) -> Iterator[Output]:
    """Apply a function to every item in some processes; results come in order.

    Items are taken one after the other and sent off at once: what makes the next one runs beside them. Whoever asks
    for no more results ends the processes.
    """
    with helpers(workers) as send:
        futures = [send(function, item) for item in items]
        for future in futures:
            yield future.result()


@contextmanager
def helpers(workers: int) -> Iterator[Callable[..., Future[Any]]]:
    """Some processes for as long as the block runs; gives what sends a function and its arguments to them.

    Ctrl-C reaches this process alone. Where the block is left by it, or by any other exception, the processes are
    ended at once.
    """
    others = set(multiprocessing.active_children())
    # Torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    )

    def send(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        # Any of these may start a process.
        with interrupts_blocked():
            return pool.submit(function, *arguments)

    finished = False
    try:
        yield send
        finished = True
    finally:
        if not finished:
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            # One that was ended while it wrote leaves half a result. Whoever reads it here waits for the rest as long
            # as the pipe has a writer, and this process has an end of it that it never uses.
            pool._result_queue._writer.close()  # type: ignore[attr-defined]
        pool.shutdown(cancel_futures=True)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Hold Ctrl-C back while processes start, which inherit that: one that has not yet been told to ignore it is deaf.

    Afterwards this process hears of one that came meanwhile.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # The tracker lets signals through again when it starts.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# A limit on the time of a computation that has no bound of its own, such as deciding a user's expression.


class OutOfTimeError(BaseException):
    """The time is over. Not an `Exception`: nothing on the way may take it for a failure of its own."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `OutOfTimeError` inside the block after that many seconds.

    Where the system has no interval timer, or outside of the main thread, there is no limit.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: Any) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Cutting a check short when there is nothing more to be found out, because a counterexample was found elsewhere.

LOOK = 0.25  # seconds between looks


@contextmanager
def cancel_when(over: Callable[[], bool]) -> Iterator[None]:
    """Raise `OutOfTimeError` inside the block soon after `over()` has become true.

    It is asked again and again: one that is raised where Python cannot pass it on (in a callback of C, while an object
    is finalised) is lost, and the next one is not. Where the system has no interval timer, or outside of the main
    thread, the block runs to its end.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def look(number: int, frame: Any) -> None:
        if over():
            raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK, LOOK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
