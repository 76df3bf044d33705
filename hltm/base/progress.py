"""How far a long computation is: what it tells, and who listens.

A computation is handed a `Progress` and tells it; what is done with that is not its business. The one here says
nothing; `shown` gives one that draws a bar on stderr, if somebody is looking. Nothing of rich is loaded before that.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Is told how far a computation is, and says nothing.

    Examples
    --------
    >>> SILENT.start(2)
    >>> SILENT.step("the first of two")
    >>> SILENT.at(1, "the second, by its number")
    """

    def start(self, total: float | None = None, text: str = "") -> None:
        """Begin a count from 0.

        Parameters
        ----------
        total : int, float or None
            A whole number is a count of things and shown as such; of a float the share that is done is shown; None:
            nobody knows how much there is.
        text : str
            What begins.
        """

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
    """Show on stderr how far the block is, if somebody is looking; afterwards nothing of it is left.

    Parameters
    ----------
    quiet : bool
        Show nothing.

    Examples
    --------
    >>> with shown(quiet=True) as progress:
    ...     progress.step("nobody sees this")
    """
    if quiet or not watched():
        yield SILENT
        return
    from hltm.progress_bar import Bar

    bar = Bar()
    try:
        yield bar
    finally:
        bar.close()
