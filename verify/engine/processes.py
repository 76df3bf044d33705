"""Work shared among processes, none of which outlives the one that started it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from hltm.base.workers import ProcessPool

SEVERAL = 4
"""Statements for which another process is started: it needs longer to start than fewer ones take."""
Item = TypeVar("Item")
Output = TypeVar("Output")


def map_in_processes(function: Callable[[Item], Output], items: Iterable[Item], workers: int) -> Iterator[Output]:
    """Apply a function to every item in some processes, in order; closing the iterator ends the processes.

    Items are taken one after the other and sent off at once: the next one is made while the last one is worked on.
    """
    with helpers(workers) as send:
        futures = [send(function, item) for item in items]
        for future in futures:
            yield future.result()


@contextmanager
def helpers(workers: int) -> Iterator[Callable[..., Future[Any]]]:
    """Some processes for the time of the block; gives the function that sends a function and its arguments to them.

    Ctrl-C reaches this process alone. Where it, or any other exception, leaves the block, the processes are killed.
    """
    pool = ProcessPool(workers)
    try:
        yield pool.send
    except BaseException:
        pool.kill()
        raise
    finally:
        pool.close()
