"""How far a long computation is: what it tells, and who listens.

A computation is handed a `Progress` and tells it; what is done with that is not its business. The one here says
nothing; `shown` gives one that draws a bar on stderr, if somebody is looking. Nothing of rich is loaded before that.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, Timer

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from hltm.base.command import console


class Progress:
    """Is told how far a computation is, and says nothing."""

    def start(self, total: float | None = None, text: str = "") -> None:
        """Begin a count from 0."""

    def step(self, text: str) -> None:
        """Something begins, and what began with the last `step` is done."""

    def at(self, done: float, text: str) -> None:
        """So much of the total is done, and something goes on."""


SILENT = Progress()


def watched() -> bool:
    """Whether stderr is a terminal that can redraw a line.

    FORCE_COLOR makes rich take a file for a terminal; a bar in a file helps nobody, so the file itself is asked.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    from hltm.base.command import console

    return bool(console(stderr=True).is_interactive)


@contextmanager
def shown(quiet: bool = False) -> Iterator[Progress]:
    """Show on stderr how far the block is, if somebody is looking; afterwards nothing of it is left."""
    if quiet or not watched():
        yield SILENT
        return
    pass  # HOUSE

    bar = Bar()
    try:
        yield bar
    finally:
        bar.close()


# The bar that `hltm.base.progress` draws on stderr, with rich: what runs, how much is done, time gone and time
# left.

DELAY = 0.5
# Redrawing takes time from what is waited for.
REDRAWS = 5
BAR, NARROW_BAR, LEAST_TEXT = 24, 10, 16


class Bar(Progress):
    """One line on stderr; see `hltm.base.progress.Progress` for what it is told."""

    def __init__(self) -> None:
        # Closing waits until a line that is being drawn is done, and drawing waits for what it shows: one lock for both
        # would let each wait for the other.
        self._lock, self._life = RLock(), RLock()
        self._begin(None, "")
        self._console = console(stderr=True, highlight=False)
        # What is written to stdout goes there; the default of rich would draw it above the bar, on stderr.
        self._live = Live(
            self, console=self._console, transient=True, redirect_stdout=False, refresh_per_second=REDRAWS
        )
        self._closed = False
        self._timer = Timer(DELAY, self._open)
        self._timer.daemon = True
        self._timer.start()

    def _begin(self, total: float | None, text: str) -> None:
        self._text, self._total = printable(text) or "starting", total
        self._done = self._base = 0.0
        self._begun = self._changed = time.monotonic()
        self._told = False

    def _open(self) -> None:
        with self._life:
            if not self._closed:
                self._live.start()

    def start(self, total: float | None = None, text: str = "") -> None:
        """Begin a count from 0."""
        with self._lock:
            self._begin(total, text)

    def step(self, text: str) -> None:
        """Something begins, and what began with the last `step` is done."""
        self.at(self._done + 1 if self._told else 0, text)

    def at(self, done: float, text: str) -> None:
        """So much of the total is done, and something goes on."""
        with self._lock:
            if not self._told:
                # A run that is taken up again: what was done before tells nothing of the time that the rest takes.
                self._base, self._begun = done, time.monotonic()
            self._told, self._done, self._text = True, done, printable(text)
            self._changed = time.monotonic()

    def close(self) -> None:
        """Take the line away and show the cursor again, even if Ctrl-C comes twice."""
        with self._life:
            self._closed = True
            self._timer.cancel()
            if self._live.is_started:
                try:
                    self._live.stop()
                finally:
                    self._console.show_cursor(True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The line as it is now."""
        with self._lock:
            now = time.monotonic()
            spent = now - self._begun
            left = seconds_left(self._done - self._base, self._total, self._base, self._changed - self._begun, spent)
            tail = ending(self._done, self._total, spent, left)
            text, done, total = self._text, self._done, self._total
        spinner = "-\\|/" if options.ascii_only else "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
        head = spinner[int(now * REDRAWS) % len(spinner)] + " "
        room = options.max_width - len(head) - len(tail) - 1
        line = Text(head, style="progress.spinner")
        width = 0 if total is None else next((w for w in (BAR, NARROW_BAR) if room - w - 1 >= LEAST_TEXT), 0)
        words = Text(text)
        words.truncate(max(1, room - (width + 1 if width else 0)), overflow="ellipsis", pad=True)
        line.append_text(words)
        if width and total:
            line.append(" ")
            line.append_text(drawn(min(1.0, done / total), width, console, options))
        line.append(tail, style="progress.remaining")
        line.truncate(options.max_width, overflow="ellipsis")
        yield line


def drawn(share: float, width: int, console: Console, options: ConsoleOptions) -> Text:
    """A bar; without colours what is not done is left out."""
    full = int(share * width)
    stroke = "-" if options.ascii_only else "━"
    coloured = console.color_system is not None and not console.no_color
    bar = Text(stroke * full, style="bar.complete")
    return bar.append((stroke if coloured else " ") * (width - full), style="bar.back")


def ending(done: float, total: float | None, spent: float, left: float | None) -> str:
    """How much is done, a count or a share, and the times."""
    amount = "" if total is None else f" {done / total:.0%}" if isinstance(total, float) else f" {int(done)}/{total}"
    return f"{amount} {clock(spent)}" + ("" if left is None else f", {clock(left)} left")


def seconds_left(done: float, total: float | None, base: float, when: float, now: float) -> float | None:
    """Seconds that remain if the rest takes as long per piece as what is done; between two pieces they count down.

    Pieces differ too much for the last ones alone to tell.
    """
    if total is None or done <= 0:
        return None
    return max(0.0, when * (total - base - done) / done - (now - when))


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def printable(text: str) -> str:
    """Text without characters that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)
