"""Ctrl-C and time limits: defer, block or ignore an interrupt; cancel a block by the clock.

Signals reach the main thread alone. In another thread, and for time limits where the system has no interval timer, the
block runs without them.
"""

import contextlib
import dis
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import make_dataclass
from multiprocessing import resource_tracker
from types import FrameType, TracebackType
from typing import Any

LOOK_SECONDS = 0.25  # between two calls of the condition of `cancel_when`
SHORTEST = 0.002  # seconds: an alarm must not come before the block is entered, where nothing would stop the timer
# Seconds between two alarms once one was swallowed, and how many are swallowed before the process must end.
AGAIN_SECONDS = 0.02
PATIENCE = 500


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


def limited(seconds: float, swallowed: Callable[[], None] | None = None) -> AbstractContextManager[None]:
    """Raise `OutOfTimeError` inside the block after that many seconds, again and again: one may be lost, as below.

    `swallowed` is called once code has caught `PATIENCE` of them and goes on; it must end the process.
    """
    return _alarm(lambda: True, seconds, LOOK_SECONDS, swallowed)


def is_ctrl_c(error: BaseException) -> bool:
    """Whether a KeyboardInterrupt comes from the signal, and not from a `raise` in the code that ran."""
    while isinstance(error.__context__, KeyboardInterrupt):
        error = error.__context__
    last: TracebackType | None = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return True
    code = last.tb_frame.f_code
    ours = code.co_filename == __file__  # `press`
    return ours or code.co_code[last.tb_lasti] != dis.opmap["RAISE_VARARGS"]


def cancel_when(over: Callable[[], bool]) -> AbstractContextManager[None]:
    """Raise `OutOfTimeError` inside the block soon after `over()` has become true.

    It is raised again and again: where Python cannot pass an exception on (in a callback of C, while an object is
    finalised), one is lost.
    """
    return _alarm(over, LOOK_SECONDS, LOOK_SECONDS)


@contextmanager
def _alarm(
    over: Callable[[], bool], delay: float, interval: float, swallowed: Callable[[], None] | None = None
) -> Iterator[None]:
    if not hasattr(signal, "setitimer") or not _in_main_thread():
        yield
        return

    inside, begun, fired = True, time.monotonic(), 0
    outer, tracing, profiling = sys._getframe(2), sys.gettrace(), sys.getprofile()

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal fired
        if not (inside and over()):
            return
        fired += 1
        if fired > 1:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
            _insist(frame, outer, fired % 16, lambda: inside)
        if fired > PATIENCE and swallowed is not None:
            swallowed()
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
        if fired > 1:
            sys.setprofile(profiling)
            sys.settrace(tracing)
        signal.signal(signal.SIGALRM, before)
        if left:  # of a block around this one
            rest = left - (time.monotonic() - begun)
            signal.setitimer(signal.ITIMER_REAL, max(rest, SHORTEST), period)
            if rest <= 0:
                signal.raise_signal(signal.SIGALRM)


def _insist(frame: FrameType | None, outer: FrameType, lines: int, inside: Callable[[], bool]) -> None:
    """Raise `OutOfTimeError` again some lines later, and in every frame that the exception then reaches.

    The next line may be in the handler that swallows it. Python drops a trace function that raises: a profile function,
    which is called whenever a frame ends, installs it again.
    """
    left = lines

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename in (__file__, contextlib.__file__):
            return None
        if event == "line" and inside():
            left -= 1
            if left < 0:
                raise OutOfTimeError
        return trace

    def install(frame: FrameType | None) -> None:
        while frame is not None and frame is not outer:
            frame.f_trace = trace
            frame = frame.f_back
        sys.settrace(trace)

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if event == "return" and inside():
            left = lines // 8
            install(frame.f_back)

    install(frame)
    sys.setprofile(profile)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
