"""Lanes on a Ray cluster: one actor for each core, or each GPU, that the cluster has.

An actor that dies, with its process or its node, is made anew where there is room; nodes that join later are used.
Whoever reaches the ports of a Ray cluster can run code on it: `docs/scaling.md` says what that means.
"""

import os
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from hltm.errors import InputError
from numeric.sweep.engine import Ended
from numeric.sweep.loopback import need_ray, stay_on_loopback
from numeric.sweep.task import prepare, run_task

LOOK = 5.0  # seconds between looks at what the cluster has
MOST_LANES = 4096


@dataclass(eq=False)
class _Lane:
    actor: Any
    begun: Any
    task: Any = None
    since: float = field(default_factory=time.monotonic)


class Worker:
    """What runs in an actor."""

    def prepare(self) -> int:
        """Import what tasks need."""
        return prepare()

    def run(self, work: dict[str, Any]) -> dict[str, Any]:
        """Run one task."""
        return run_task(work)


def connected(address: str) -> Any:
    """The module `ray`, connected to a cluster.

    Parameters
    ----------
    address : str
        ``host:port`` of its head, ``auto``, or ``ray://host:port`` of its client server.

    Raises
    ------
    InputError
        Ray is not there, or no cluster answers.
    """
    need_ray()
    _knock(address)
    stay_on_loopback(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="covop")
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(f"--ray={address!r:.80}: {type(error).__name__}: {text}: must be a Ray cluster") from None
    return ray


def _knock(address: str) -> None:
    """Refuse an address that nobody answers at: Ray would go on trying for minutes.

    Raises
    ------
    InputError
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    rule = "must be a Ray cluster, as host:port, ray://host:port or auto"
    if not host or not port.isdigit() or int(port) >= 2**16:
        raise InputError(f"--ray={address!r:.80}: {rule}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise InputError(f"--ray={address!r:.80}: {error.strerror or error}: {rule}") from None


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
        self._ray, self._gpus, self._looked = connected(address), gpus, 0.0
        self._address = address
        kind = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0)
        self._kind = kind(worker)
        self._lanes: dict[int, _Lane] = {}
        self._made = 0
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
            self._lanes[self._made] = self._begin()
            self._made += 1
        for number, lane in list(self._lanes.items()):
            if len(self._lanes) > max(int(room), 1) and lane.begun is not None and not self._done(lane.begun):
                self._ray.kill(lane.actor)
                del self._lanes[number]

    def _begin(self) -> _Lane:
        actor = self._kind.remote()
        return _Lane(actor, actor.prepare.remote())

    def _done(self, reference: Any) -> bool:
        return bool(self._ray.wait([reference], timeout=0)[0])

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self._lanes)

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"{self.lanes} actors of the Ray cluster {self._address}"

    def idle(self) -> list[int]:
        """Lanes that can be given a task."""
        if time.monotonic() - self._looked > LOOK:
            self._look()
        for number, lane in list(self._lanes.items()):
            if lane.begun is not None and self._done(lane.begun):
                try:
                    self._ray.get(lane.begun)
                    lane.begun = None
                except self._ray.exceptions.RayError:
                    self._replace(number)
        return [number for number, lane in self._lanes.items() if lane.begun is None and lane.task is None]

    def _replace(self, number: int) -> None:
        """A new actor for a lane whose own is gone; not at once where it cannot even begin."""
        lane = self._lanes[number]
        if lane.begun is not None and time.monotonic() - lane.since < 1.0:
            time.sleep(1.0)
        self._lanes[number] = self._begin()

    def start(self, lane: int, work: Any) -> None:
        """Give a lane a task."""
        held = self._lanes[lane]
        held.task = held.actor.run.remote(work)

    def wait(self, seconds: float) -> list[Ended]:
        """Wait for the end of some task, or for a new idle lane."""
        waiting = [each for lane in self._lanes.values() for each in (lane.begun, lane.task) if each is not None]
        if not waiting:
            time.sleep(seconds)
            return []
        self._ray.wait(waiting, timeout=seconds)
        found = []
        for number, lane in list(self._lanes.items()):
            if lane.task is None or not self._done(lane.task):
                continue
            try:
                found.append(Ended(number, self._ray.get(lane.task)))
                lane.task = None
            except self._ray.exceptions.RayError as error:
                found.append(Ended(number, None, _reason(error)))
                self._replace(number)
        return found

    def end(self, lane: int) -> None:
        """End the worker of a lane."""
        self._ray.kill(self._lanes[lane].actor)
        self._lanes[lane] = self._begin()

    def close(self) -> None:
        """End all actors and leave the cluster."""
        for lane in self._lanes.values():
            self._ray.kill(lane.actor)
        self._ray.shutdown()


def _reason(error: Exception) -> str:
    """Why an actor died, in a few words."""
    text = str(error)
    if "OOM" in text or "memory pressure" in text or "out of memory" in text.lower():
        return "its machine ran out of memory, and Ray ended it"
    if "node" in text and ("died" in text or "dead" in text or "terminated" in text) and "worker process" not in text:
        return "its node died"
    return "its worker process died"
