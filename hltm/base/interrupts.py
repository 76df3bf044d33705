"""Ctrl-C and time limits: defer, block or ignore an interrupt; cancel a block by the clock.

Signals reach the main thread alone. In another thread, and for time limits where the system has no interval timer, the
block runs without them.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import make_dataclass
from multiprocessing import resource_tracker
from types import FrameType

LOOK_SECONDS = 0.25  # between two calls of the condition of `cancel_when`
SHORTEST = 0.002  # seconds: an alarm must not come before the block is entered, where nothing would stop the timer


class OutOfTimeError(BaseException):
    """The time is over. Not an `Exception`: a handler on the way must not take it for a failure of its own."""


def ignore_interrupts() -> None:
    """Ignore Ctrl-C from here on: only the exit code is left, and another press would print a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Making a dataclass executes a string. CPython remembers that Ctrl-C left such a string (while a library was
    # loaded, say) and would end by the signal, whatever the exit code, until another one has run to its end.
    make_dataclass("Ended", [])


@contextmanager
def recorded_interrupt() -> Iterator[threading.Event]:
    """Set an event at the first Ctrl-C inside the block; a second one interrupts immediately.

    A handler that somebody else installed is left alone.
    """
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or not _in_main_thread():
        yield pressed
        return

    def press(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Defer the first Ctrl-C to the end of the block; a second one interrupts immediately.

    Torch, while it is loaded, drops what a broken import of NumPy raises, KeyboardInterrupt as well, and goes on with
    half of NumPy; or its C++ takes the exception for a defect and aborts the process. mpmath drops it too.
    """
    pressed = None
    try:
        with recorded_interrupt() as pressed:
            yield
    finally:
        if pressed is not None and pressed.is_set():
            raise KeyboardInterrupt


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C while processes start: they inherit the mask, and this process gets the signal afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # The tracker unblocks signals when it starts.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def limited(seconds: float) -> AbstractContextManager[None]:
    """Raise `OutOfTimeError` inside the block after that many seconds, again and again: one may be lost, as below."""
    return _alarm(lambda: True, seconds, LOOK_SECONDS)


def cancel_when(over: Callable[[], bool]) -> AbstractContextManager[None]:
    """Raise `OutOfTimeError` inside the block soon after `over()` has become true.

    It is raised again and again: where Python cannot pass an exception on (in a callback of C, while an object is
    finalised), one is lost.
    """
    return _alarm(over, LOOK_SECONDS, LOOK_SECONDS)


@contextmanager
def _alarm(over: Callable[[], bool], delay: float, interval: float) -> Iterator[None]:
    if not hasattr(signal, "setitimer") or not _in_main_thread():
        yield
        return

    inside, begun = True, time.monotonic()

    def look(number: int, frame: FrameType | None) -> None:
        if inside and over():
            raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, look)
    left, period = signal.setitimer(signal.ITIMER_REAL, max(delay, SHORTEST), interval)
    try:
        try:
            yield
        finally:
            inside = False  # an alarm before this line still finds the timer stopped by the next block
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # of a block around this one
            rest = left - (time.monotonic() - begun)
            signal.setitimer(signal.ITIMER_REAL, max(rest, SHORTEST), period)
            if rest <= 0:
                signal.raise_signal(signal.SIGALRM)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
