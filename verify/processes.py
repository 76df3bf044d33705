"""Work shared among processes, none of which outlives the one that asked for it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker
from typing import TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")


def spread(function: Callable[[Given], Found], items: Iterable[Given], workers: int) -> Iterator[Found]:
    """Apply a function to every item in some processes; results come in order.

    Items are taken one after the other and sent off at once: what makes the next one runs beside them.

    Ctrl-C reaches this process alone, and ends the others at once, as does whoever asks for no more results.

    Parameters
    ----------
    function : callable
        One that can be sent to another process.
    items : iterable
    workers : int
        Number of processes.

    Examples
    --------
    >>> list(spread(abs, [-1, 2, -3], workers=1))
    [1, 2, 3]
    """
    others = set(multiprocessing.active_children())
    # Torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    )
    finished = False
    try:
        futures: list[Future[Found]] = []
        for item in items:
            # The first one starts the processes.
            with nullcontext() if futures else held_back():
                futures.append(pool.submit(function, item))
        for future in futures:
            yield future.result()
        finished = True
    finally:
        if not finished:
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
        pool.shutdown(cancel_futures=True)


@contextmanager
def held_back() -> Iterator[None]:
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
