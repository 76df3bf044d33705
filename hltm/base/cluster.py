"""Workers on a Ray cluster: connect to it, watch its head, and keep one actor for each of its cores or GPUs.

An actor that dies, with its process or its node, is started again where there is room; nodes that join later are used.
Anyone who reaches the ports of a Ray cluster can run code on it: `docs/scaling.md` says what that means.
"""

import os
import re
import socket
import tempfile
import time
from concurrent.futures import Future
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from hltm.base.errors import InputError
from hltm.base.workers import NODE_DIED, Ended, Engine, Lane

HOSTS = ("localhost", "127.0.0.1", "::1")
LOOPBACK_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
KNOCK_SECONDS = 15.0  # for a head to answer
GONE_SECONDS = 20.0  # after which a head that does not answer is gone; Ray ends the process after 60
LOOK_SECONDS = 1.0  # between looks at the head and at what the cluster has
MOST_LANES = 4096
REASON = 200  # characters
_RULE = "must be a Ray cluster, as host:port, ray://host:port or auto"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and settings, none of them
_SETTINGS = 4  # kind of the frame that every answer begins with


def need_ray() -> None:
    """Raise an `InputError` where Ray is not installed."""
    if find_spec("ray") is None:
        raise InputError("Ray: must be installed; install covop[cluster]")


def connected(address: str) -> Any:
    """Connect to a cluster; gives the module `ray`."""
    need_ray()
    if address == "auto":
        address = current_address()
    _knock(address, *host_and_port(address))
    stay_on_loopback(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="covop")
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(f"--ray={address!r:.80}: {type(error).__name__}: {text}: must be a Ray cluster") from None
    return ray


def stay_on_loopback(address: str) -> None:
    """Let Ray, which reads this when it is imported, bind to loopback if the cluster is there."""
    if address.rsplit(":", 1)[0].strip("[]") in HOSTS:
        os.environ[LOOPBACK_SWITCH] = "0"


def current_address() -> str:
    """Address that ``auto`` stands for: ``RAY_ADDRESS``, or the cluster that `ray start` has begun here last.

    Looked up here as Ray does: when Ray is loaded, it must be known already whether it has to stay on loopback.
    """
    if (argument := os.environ.get("RAY_ADDRESS", "auto")) not in ("", "auto"):
        return argument
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    try:
        return Path(folder, "ray", "ray_current_cluster").read_text().strip()
    except (OSError, UnicodeDecodeError):
        rule = "no Ray cluster was started on this machine; its address must be given, as host:port"
        raise InputError(f"--ray='auto': {rule}") from None


def host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 2**16:
        raise InputError(f"--ray={address!r:.80}: {_RULE}")
    return host.strip("[]"), int(port)


def _knock(address: str, host: str, port: int) -> None:
    """Refuse an address at which nothing answers, or something that does not speak HTTP/2."""
    try:
        with socket.create_connection((host, port), timeout=KNOCK_SECONDS) as line:
            if os.environ.get("RAY_USE_TLS", "0") == "1":
                return
            line.sendall(_PREFACE)
            answer = b""
            while len(answer) < 4 and (more := line.recv(9)):
                answer += more
    except OSError as error:
        text = f"no answer in {KNOCK_SECONDS:g} seconds" if isinstance(error, TimeoutError) else error.strerror or error
        raise InputError(f"--ray={address!r:.80}: {text}: {_RULE}") from None
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise InputError(f"--ray={address!r:.80}: what answers is no Ray: {_RULE}")


class Head:
    """The head of a cluster that this process is connected to."""

    def __init__(self, address: str) -> None:
        self.address, self._place = address, host_and_port(address)
        self._silent_since: float | None = None

    def answers(self) -> bool:
        """Whether it can be reached now; an `InputError` after `GONE_SECONDS` without an answer."""
        try:
            socket.create_connection(self._place, timeout=2.0).close()
        except OSError:
            now = time.monotonic()
            self._silent_since = now if self._silent_since is None else self._silent_since
            if now - self._silent_since > GONE_SECONDS:
                rule = "the cluster is gone; nothing that is done is lost, run the same command again"
                raise InputError(
                    f"--ray={self.address!r:.80}: no answer for {GONE_SECONDS:g} seconds: {rule}"
                ) from None
            return False
        self._silent_since = None
        return True

    @property
    def gone(self) -> bool:
        """Whether it did not answer at the last look."""
        return self._silent_since is not None


class RayEngine(Engine):
    """Actors of a Ray cluster."""

    def __init__(self, address: str, worker: type, gpus: int = 0) -> None:
        super().__init__()
        self._ray, self._gpus, self._address = connected(address), gpus, address
        client = address.startswith("ray://")
        self._head = Head(address if client else self._ray.get_runtime_context().gcs_address)
        self._kind = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0)(worker)
        self._numbers = count()
        self._look()
        if not self._lanes:
            self._ray.shutdown()
            raise InputError(f"--ray={address!r:.80}: must have at least one {'GPU' if gpus else 'core'}")

    def _look(self) -> None:
        """Have as many lanes as the cluster has room for; those that find none wait for it."""
        self._looked = time.monotonic()
        resources = self._ray.cluster_resources()
        room = resources.get("CPU", 0.0)
        if self._gpus:
            room = min(room, resources.get("GPU", 0.0) / self._gpus)
        while self.lanes < min(int(room), MOST_LANES):
            self._lanes[next(self._numbers)] = Lane()
        for number, lane in list(self._lanes.items()):
            starting = lane.worker is None or (lane.starting is not None and not lane.starting.done())
            if starting and self.lanes > max(int(room), 1):
                if lane.worker is not None:
                    self._kill(lane.worker)
                del self._lanes[number]

    def idle(self) -> list[int]:
        """Lanes that can be given a task; none while the head does not answer.

        Without its head, Ray would wait in the middle of a call, to start an actor for example, and then end the
        process.
        """
        look = time.monotonic() - self._looked > LOOK_SECONDS
        if (look or self._head.gone or any(lane.due for lane in self._lanes.values())) and not self._head.answers():
            return []
        if look:
            self._look()
        return super().idle()

    def wait(self, seconds: float) -> list[Ended]:
        """Wait for the end of a task, or for a new idle lane."""
        if self._head.gone:
            time.sleep(seconds)
            return []
        return super().wait(seconds)

    def close(self) -> None:
        """Kill all actors and leave the cluster."""
        if not self._head.gone:
            super().close()
        self._ray.shutdown()

    def _begin(self) -> tuple[Any, Future[Any]]:
        actor = self._kind.remote()
        return actor, actor.prepare.remote().future()

    def _submit(self, worker: Any, work: Any) -> Future[Any]:
        future: Future[Any] = worker.run.remote(work).future()
        return future

    def _kill(self, worker: Any) -> None:
        self._ray.kill(worker)

    def _start_error(self, error: BaseException) -> str:
        return f"--ray={self._address!r:.80}: {first_line(error)}: an actor must be able to start on its nodes"

    def _reason(self, error: BaseException) -> str:
        text = str(error)
        if hasattr(error, "as_instanceof_cause"):  # it raised, or its answer could not be sent
            return first_line(error)
        if "OOM" in text or "memory pressure" in text or "out of memory" in text.lower():
            return "its machine ran out of memory, and Ray ended it"
        # What the actor raised may speak of nodes too: this is what Ray says of them.
        if re.search(r"node (has |was |is )?(died|dead|terminated)", text) and "worker process" not in text:
            return NODE_DIED
        return "its worker process died"


def first_line(error: BaseException) -> str:
    r"""The line that names the error in the traceback of an actor, which Ray gives as text."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    return (named or lines)[-1 if named else 0][:REASON]
