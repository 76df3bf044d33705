"""Progress reporting for long computations.

A computation calls the methods of the `Progress` that it was passed. The base class ignores them; `shown` yields one
that draws a line on stderr where that is a terminal.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import NamedTuple

from rich.console import RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from hltm.base.command import console


class Progress:
    """Receive reports of progress and ignore them."""

    def start(self, total: float | None = None, text: str = "") -> None:
        """Start a count at 0; a `float` total is shown as a percentage, an `int` total as a count."""

    def step(self, text: str) -> None:
        """Report that the next step begins, which completes the previous one."""

    def at(self, done: float, text: str) -> None:
        """Report how much of the total is done and what runs now."""


SILENT = Progress()


@contextmanager
def shown(quiet: bool = False) -> Iterator[Progress]:
    """Show the progress of the block on stderr if that is a terminal; the line is erased at the end."""
    # With FORCE_COLOR rich takes a file for a terminal, hence `isatty`; with TERM=dumb a terminal redraws no line.
    if quiet or sys.stderr is None or not sys.stderr.isatty() or not console(stderr=True).is_interactive:
        yield SILENT
        return
    bar = Bar()
    try:
        yield bar
    finally:
        bar.close()


DELAY = 0.5  # seconds without a line, so that quick commands show none
REDRAWS = 5  # a second; redrawing takes time from the computation
BAR_WIDTH = 24
WIDE = 72  # columns of a terminal that has room for the bar


class _State(NamedTuple):
    """The last report, with times in seconds of `time.monotonic`."""

    text: str
    total: float | None
    begun: float
    done: float = 0.0
    base: float | None = None  # done at the first report: more than 0 in a resumed run
    changed: float = 0.0


class Bar(Progress):
    """A line on stderr: what runs, how much is done, the time spent and the time left.

    Rich draws in a thread that holds a lock of its own. The state is replaced as a whole, so that no second lock is
    needed, and closing the bar cannot deadlock with drawing it.
    """

    def __init__(self) -> None:
        self._console = console(stderr=True, highlight=False)
        self._spinner = Spinner("line" if self._console.options.ascii_only else "dots", style="progress.spinner")
        self.start()
        self.live = Live(
            console=self._console,
            get_renderable=self.line,
            refresh_per_second=REDRAWS,
            transient=True,
            redirect_stdout=False,  # to stderr, where the bar is
        )
        self._timer = Timer(DELAY, self.live.start)
        self._timer.daemon = True
        self._timer.start()

    def start(self, total: float | None = None, text: str = "") -> None:
        """Start a count at 0."""
        self._state = _State(printable(text) or "starting", total, begun=time.monotonic())

    def step(self, text: str) -> None:
        """Report that the next step begins, which completes the previous one."""
        self.at(0 if self._state.base is None else self._state.done + 1, text)

    def at(self, done: float, text: str) -> None:
        """Report how much of the total is done and what runs now."""
        state, now = self._state, time.monotonic()
        if state.base is None:  # a resumed run: the time left is estimated from what is done from now on
            state = state._replace(base=done, begun=now)
        self._state = state._replace(done=done, text=printable(text), changed=now)

    def close(self) -> None:
        """Erase the line and show the cursor again, even if Ctrl-C is pressed twice."""
        self._timer.cancel()
        try:
            self._timer.join()  # it may be starting the display just now
        finally:
            if self.live.is_started:
                try:
                    self.live.stop()
                finally:
                    self._console.show_cursor(True)

    def line(self) -> RenderableType:
        """Return the line as it is now."""
        state, now = self._state, time.monotonic()
        base, spent = state.base or 0.0, now - state.begun
        left = seconds_left(state.done - base, state.total, base, state.changed - state.begun, spent)
        cells: list[RenderableType] = [self._spinner, Text(state.text)]
        if state.total and self._console.width >= WIDE:
            cells.append(ProgressBar(state.total, state.done, width=BAR_WIDTH))
        cells.append(Text(ending(state.done, state.total, spent, left)))
        # The text takes the room that is left and is cut where it needs more.
        columns = [Column(no_wrap=True, overflow="ellipsis", ratio=1 if cell is cells[1] else None) for cell in cells]
        table = Table.grid(*columns, padding=(0, 1), expand=True)
        table.add_row(*cells)
        return table


def ending(done: float, total: float | None, spent: float, left: float | None) -> str:
    """Return what is done, as a count or a percentage, with the time spent and the time left."""
    amount = "" if not total else f"{done / total:.0%} " if isinstance(total, float) else f"{int(done)}/{total} "
    return f"{amount}{clock(spent)}" + ("" if left is None else f", {clock(left)} left")


def seconds_left(done: float, total: float | None, base: float, when: float, now: float) -> float | None:
    """Estimate the remaining seconds from the average so far; the estimate counts down between two reports.

    Steps differ too much for an estimate from the last ones alone.
    """
    if total is None or done <= 0:
        return None
    return max(0.0, when * (total - base - done) / done - (now - when))


def clock(seconds: float) -> str:
    """Return seconds as ``h:mm:ss``, or ``m:ss`` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def printable(text: str) -> str:
    """Replace control characters, which a terminal would obey, by question marks."""
    return "".join(character if character.isprintable() else "?" for character in text)
