"""Lanes on a Ray cluster: one actor for each core, or each GPU, that the cluster has.

An actor that dies, with its process or its node, is made anew where there is room; nodes that join later are used.
Whoever reaches the ports of a Ray cluster can run code on it: `docs/scaling.md` says what that means.
"""

import re
import time
from dataclasses import dataclass
from typing import Any

from hltm.base.errors import InputError
from numeric.studies.sweep.task import prepare, run_task
from numeric.sweep.engine import Ended
from numeric.sweep.head import Head, connected

LOOK = 5.0  # seconds between looks at what the cluster has
ASK = 1.0  # seconds between questions to its head
MOST_LANES = 4096
STARTS = 5  # of actors that may fail in a row while no other is there
LONGEST = 60.0  # seconds before an actor that did not start is tried again
REASON = 200  # characters


@dataclass(eq=False)
class _Lane:
    """A lane: its actor (None until the moment `after`), what tells that it has begun, its task."""

    actor: Any = None
    begun: Any = None
    task: Any = None
    failed: int = 0
    after: float = 0.0

    @property
    def ready(self) -> bool:
        return self.actor is not None and self.begun is None


class Worker:
    """What runs in an actor."""

    def prepare(self) -> int:
        """Import what tasks need."""
        return prepare()

    def run(self, work: dict[str, Any]) -> dict[str, Any]:
        """Run one task."""
        return run_task(work)


class RayEngine:
    """Actors of a Ray cluster.

    Parameters
    ----------
    address : str
        As in :func:`connected`.
    gpus : int
        Of each actor.
    worker : type
        What runs in an actor: ``prepare()``, and ``run(work)`` that gives a dict.
    """

    def __init__(self, address: str, gpus: int = 0, worker: type = Worker) -> None:
        self._ray, self._gpus, self._address = connected(address), gpus, address
        self._exceptions = self._ray.exceptions
        client = address.startswith("ray://")
        self._head = Head(address if client else self._ray.get_runtime_context().gcs_address)
        kind = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0)
        self._kind = kind(worker)
        self._lanes: dict[int, _Lane] = {}
        self._made = self._failed_starts = 0
        self._asked = 0.0
        self._look()
        if not self._lanes:
            raise InputError(f"--ray={address!r:.80}: must have at least one {'GPU' if gpus else 'core'}")

    def _look(self) -> None:
        """Have as many lanes as the cluster has room for; those that find none wait for it."""
        self._looked = time.monotonic()
        resources = self._ray.cluster_resources()
        room = resources.get("CPU", 0.0)
        if self._gpus:
            room = min(room, resources.get("GPU", 0.0) / self._gpus)
        while len(self._lanes) < min(int(room), MOST_LANES):
            self._lanes[self._made] = _Lane()
            self._made += 1
        for number, lane in list(self._lanes.items()):
            if len(self._lanes) > max(int(room), 1) and not lane.ready and not self._done(lane.begun):
                self._kill(lane)
                del self._lanes[number]

    def _done(self, reference: Any) -> bool:
        return reference is not None and bool(self._ray.wait([reference], timeout=0)[0])

    def _kill(self, lane: _Lane) -> None:
        if lane.actor is not None:
            self._ray.kill(lane.actor)

    def _there(self) -> bool:
        """Whether the head answers: Ray would wait for it in the middle of a call, and then end the process."""
        if self._head.gone or time.monotonic() - self._asked > ASK:
            self._asked = time.monotonic()
            return self._head.answers()
        return True

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self._lanes)

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"{self.lanes} actors of the Ray cluster {self._address}"

    def idle(self) -> list[int]:
        """Lanes that can be given a task.

        Raises
        ------
        InputError
            The cluster is gone, or no actor can start.
        """
        if not self._there():
            return []
        if time.monotonic() - self._looked > LOOK and self._head.answers():
            self._look()
        for lane in self._lanes.values():
            if self._done(lane.begun):
                self._begun(lane)
            # Asked once more: of an actor whose head has died, Ray knows before the next question is due.
            if lane.actor is None and time.monotonic() >= lane.after and self._head.answers():
                lane.actor = self._kind.remote()
                lane.begun = lane.actor.prepare.remote()
        return [number for number, lane in self._lanes.items() if lane.ready and lane.task is None]

    def _begun(self, lane: _Lane) -> None:
        """Take note of an actor that has started, or has not: then it is tried again, each time later."""
        try:
            self._ray.get(lane.begun)
            lane.begun, lane.failed, self._failed_starts = None, 0, 0
            return
        except self._exceptions.RayError as error:
            reason, cause = _reason(error), first_line(error)
        lane.actor = lane.begun = None
        lane.failed += 1
        lane.after = time.monotonic() + min(LONGEST, 2.0 ** (lane.failed - 1))
        if reason != NODE_DIED:  # that is no fault of the actor
            self._failed_starts += 1
        if self._failed_starts >= STARTS and not any(other.ready for other in self._lanes.values()):
            raise InputError(f"--ray={self._address!r:.80}: {cause}: an actor must be able to start on its nodes")

    def start(self, lane: int, work: Any) -> None:
        """Give a lane a task."""
        held = self._lanes[lane]
        held.task = held.actor.run.remote(work)

    def wait(self, seconds: float) -> list[Ended]:
        """Wait for the end of some task, or for a new idle lane."""
        waiting = [each for lane in self._lanes.values() for each in (lane.begun, lane.task) if each is not None]
        if not waiting or not self._there():
            time.sleep(seconds)
            return []
        self._ray.wait(waiting, timeout=seconds)
        found = []
        for number, lane in self._lanes.items():
            if not self._done(lane.task):
                continue
            try:
                found.append(Ended(number, self._ray.get(lane.task)))
                lane.task = None
            except self._exceptions.RayError as error:
                found.append(Ended(number, None, _reason(error)))
                self._lanes[number] = _Lane()
        return found

    def end(self, lane: int) -> None:
        """End the worker of a lane."""
        self._kill(self._lanes[lane])
        self._lanes[lane] = _Lane()

    def close(self) -> None:
        """End all actors and leave the cluster."""
        if not self._head.gone:
            for lane in self._lanes.values():
                self._kill(lane)
        self._ray.shutdown()


def first_line(error: Exception) -> str:
    r"""What went wrong in an actor, from the traceback that Ray gives as text: the line that names the error.

    Examples
    --------
    >>> first_line(RuntimeError("died: Traceback\n  File x\nModuleNotFoundError: No module named 'numeric'\nmore"))
    "ModuleNotFoundError: No module named 'numeric'"
    """
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    return (named or lines)[-1 if named else 0][:REASON]


NODE_DIED = "its node died"


def _reason(error: Exception) -> str:
    """Why an actor gave no answer, in a few words."""
    text = str(error)
    if hasattr(error, "as_instanceof_cause"):  # it raised, or its answer could not be sent
        return first_line(error)
    if "OOM" in text or "memory pressure" in text or "out of memory" in text.lower():
        return "its machine ran out of memory, and Ray ended it"
    # What the actor raised may speak of nodes too: this is what Ray says of them.
    if re.search(r"node (has |was |is )?(died|dead|terminated)", text) and "worker process" not in text:
        return NODE_DIED
    return "its worker process died"
