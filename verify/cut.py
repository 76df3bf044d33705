"""Cutting a check short when there is nothing more to be found out, because a counterexample was found elsewhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from verify.budget import OutOfTimeError

LOOK = 0.25  # seconds between looks


@contextmanager
def cut_when(over: Callable[[], bool]) -> Iterator[None]:
    """Raise `OutOfTimeError` inside the block soon after `over()` has become true.

    It is asked again and again: one that is raised where Python cannot pass it on (in a callback of C, while an object
    is finalised) is lost, and the next one is not. Where the system has no interval timer, or outside of the main
    thread, the block runs to its end.

    Examples
    --------
    >>> with cut_when(lambda: False):
    ...     total = sum(range(10))
    >>> total
    45
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
