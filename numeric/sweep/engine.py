"""What a driver asks of an engine: lanes that run one task at a time, and how a lane ends one.

A lane is one worker process. It begins by importing what tasks need; only then it is idle, so that the time of a task
is its own. A lane whose worker died or was ended begins anew.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Ended:
    """How a lane ended its task.

    Attributes
    ----------
    lane : int
    answer : object
        What the worker returned, of whatever kind; None where it died.
    reason : str
        Why it died.
    """

    lane: int
    answer: Any
    reason: str = ""


@runtime_checkable
class Engine(Protocol):
    """Lanes somewhere."""

    @property
    def lanes(self) -> int:
        """How many there are, or are wanted."""

    @property
    def name(self) -> str:
        """What it is, in words."""

    def idle(self) -> list[int]:
        """Lanes that can be given a task."""

    def start(self, lane: int, work: Any) -> None:
        """Give a lane a task."""

    def wait(self, seconds: float) -> list[Ended]:
        """Wait for the end of some task, or for a new idle lane, at most that long."""

    def end(self, lane: int) -> None:
        """End the worker of a lane, whatever it does."""

    def close(self) -> None:
        """End all workers."""
