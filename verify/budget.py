"""A limit on the time of a computation that has no bound of its own, such as deciding a user's expression."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class OutOfTimeError(BaseException):
    """The time is over. Not an `Exception`: nothing on the way may take it for a failure of its own."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `OutOfTimeError` inside the block after that many seconds.

    Where the system has no interval timer, or outside of the main thread, there is no limit.

    Examples
    --------
    >>> with limited(60):
    ...     total = sum(range(10))
    >>> total
    45
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
