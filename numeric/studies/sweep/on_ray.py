"""Lanes on a Ray cluster: one actor for each core, or each GPU, that the cluster has.

An actor that dies, with its process or its node, is made anew where there is room; nodes that join later are used.
Whoever reaches the ports of a Ray cluster can run code on it: `docs/scaling.md` says what that means.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hltm.base.errors import InputError
from numeric.studies.sweep.local import Ended
from numeric.studies.sweep.task import prepare, run_task

# Ray on loopback: connecting to it, and nodes of it on this machine for the demonstration and the tests.

HOSTS = ("localhost", "127.0.0.1", "::1")
_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_STORE_BYTES = 80_000_000
# A second node on the same loopback: `ray start` would refuse the switch, so what it decides is replaced.
_START = """
import sys
import ray._private.services as services
if not hasattr(services, "resolve_ip_for_localhost"):
    sys.exit("this release of Ray is not known to stay on loopback")
services.resolve_ip_for_localhost = lambda host: host
from ray.scripts.scripts import main
main()
"""


def stay_on_loopback(address: str) -> None:
    """Let Ray, which is not imported yet, bind to loopback if the cluster is there."""
    if address.rsplit(":", 1)[0].strip("[]") in HOSTS:
        os.environ[_SWITCH] = "0"


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@dataclass(frozen=True)
class Node:
    """A node: one `ray start --block` and everything that it has started."""

    process: "subprocess.Popen[bytes]"

    def processes(self) -> list[int]:
        """Its processes and their descendants, the first one last."""
        return [*descendants(self.process.pid), self.process.pid]

    def kill(self) -> None:
        """End all of it at once, as a machine does that loses power."""
        for number in reversed(self.processes()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.process.wait()


def descendants(root: int) -> list[int]:
    """Processes below one, the deepest first; Linux only."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    result, level = [], [root]
    while level:
        level = [child for number in level for child in children.get(number, [])]
        result += level
    return result[::-1]


@dataclass(eq=False)
class Loopback:
    """A Ray cluster on 127.0.0.1."""

    address: str
    nodes: list[Node]
    folder: str

    def add(self, cpus: int = 1) -> Node:
        """Start one more node; gives it when it is connected."""
        head = not self.nodes
        port = self.address.rsplit(":", 1)[1]
        where = [f"--address={self.address}"] if not head else ["--head", f"--port={port}", f"--temp-dir={self.folder}"]
        command = [
            sys.executable, "-c", _START, "start", *where, "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}",
            f"--object-store-memory={_STORE_BYTES}", "--disable-usage-stats", "--block",
            *(["--include-dashboard=false"] if head else []),
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_raylet_start_wait_time_s": "120"}
        environment.pop(_SWITCH, None)
        log = Path(self.folder, f"node-{len(self.nodes)}.log").open("wb")  # noqa: SIM115
        with log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)  # noqa: S603
        node = Node(process)
        self.nodes.append(node)
        self._wait(log.name, process)
        return node

    @staticmethod
    def _wait(log: str, process: "subprocess.Popen[bytes]") -> None:
        for _ in range(1200):
            text = Path(log).read_text(errors="replace")
            if "Ray runtime started" in text:
                return
            if process.poll() is not None:
                break
            time.sleep(0.1)
        raise InputError(f"ray start: {Path(log).read_text(errors='replace')[-500:]}")


@contextlib.contextmanager
def loopback_cluster(nodes: int = 2, cpus: int = 1) -> Iterator[Loopback]:
    """A Ray cluster of some nodes on loopback, ended with the block."""
    need_ray()
    # Short: sockets lie below it, and their paths have at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = Loopback(f"127.0.0.1:{free_port()}", [], folder)
        try:
            for _ in range(nodes):
                cluster.add(cpus)
            yield cluster
        finally:
            for node in reversed(cluster.nodes):
                node.kill()


def need_ray() -> None:
    """Refuse to go on without Ray."""
    if find_spec("ray") is None:
        raise InputError("Ray: must be installed; install covop[cluster]")


# The head of a Ray cluster: whether one is there, connecting to it, and whether it is there still.

KNOCK_SECONDS = 15.0  # for a head to answer
GONE_SECONDS = 20.0  # after which a head that does not answer is gone; Ray ends the process after 60
_RULE = "must be a Ray cluster, as host:port, ray://host:port or auto"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and settings, none of them
_SETTINGS = 4  # kind of the frame that every answer begins with


def connected(address: str) -> Any:
    """The module `ray`, connected to a cluster."""
    need_ray()
    if address == "auto":
        address = current_address()
    _knock(address, *place_of(address))
    stay_on_loopback(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="covop")
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(f"--ray={address!r:.80}: {type(error).__name__}: {text}: must be a Ray cluster") from None
    return ray


def current_address() -> str:
    """What ``auto`` stands for: ``RAY_ADDRESS``, or the cluster that `ray start` has begun here last.

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


def place_of(address: str) -> tuple[str, int]:
    """Host and port of an address."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 2**16:
        raise InputError(f"--ray={address!r:.80}: {_RULE}")
    return host.strip("[]"), int(port)


def _knock(address: str, host: str, port: int) -> None:
    """Refuse an address at which nobody answers, or somebody who is no Ray."""
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
        self.address, self._place, self._silent = address, place_of(address), None

    _silent: float | None

    def answers(self) -> bool:
        """Whether it can be reached at this moment."""
        try:
            socket.create_connection(self._place, timeout=2.0).close()
        except OSError:
            now = time.monotonic()
            self._silent = now if self._silent is None else self._silent
            if now - self._silent > GONE_SECONDS:
                rule = "the cluster is gone; nothing that is done is lost, run the same command again"
                raise InputError(
                    f"--ray={self.address!r:.80}: no answer for {GONE_SECONDS:g} seconds: {rule}"
                ) from None
            return False
        self._silent = None
        return True

    @property
    def gone(self) -> bool:
        """Whether it did not answer when it was asked last."""
        return self._silent is not None


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
    """Actors of a Ray cluster."""

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
        """Lanes that can be given a task."""
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
        result = []
        for number, lane in self._lanes.items():
            if not self._done(lane.task):
                continue
            try:
                result.append(Ended(number, self._ray.get(lane.task)))
                lane.task = None
            except self._exceptions.RayError as error:
                result.append(Ended(number, None, _reason(error)))
                self._lanes[number] = _Lane()
        return result

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
    r"""What went wrong in an actor, from the traceback that Ray gives as text: the line that names the error."""
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
