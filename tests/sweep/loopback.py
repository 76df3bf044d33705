"""Ray clusters on 127.0.0.1, for the demonstration and the tests."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hltm.base.cluster import LOOPBACK_SWITCH, need_ray
from hltm.base.errors import InputError

_STORE_BYTES = 80_000_000
# `ray start` refuses a second node with the switch on, so the function that the switch controls is replaced.
_START = """
import sys
import ray._private.services as services
if not hasattr(services, "resolve_ip_for_localhost"):
    sys.exit("this release of Ray is not known to stay on loopback")
services.resolve_ip_for_localhost = lambda host: host
from ray.scripts.scripts import main
main()
"""


def free_port() -> int:
    """A free port of loopback."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@dataclass(frozen=True)
class Node:
    """A node: one `ray start --block` and its descendants."""

    process: "subprocess.Popen[bytes]"

    def processes(self) -> list[int]:
        """Process numbers, the root last."""
        return [*descendants(self.process.pid), self.process.pid]

    def kill(self) -> None:
        """Kill all processes at once, as a power cut would."""
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
        """Start one more node, and wait until it is connected."""
        head = not self.nodes
        port = self.address.rsplit(":", 1)[1]
        where = [f"--address={self.address}"] if not head else ["--head", f"--port={port}", f"--temp-dir={self.folder}"]
        command = [
            sys.executable, "-c", _START, "start", *where, "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}",
            f"--object-store-memory={_STORE_BYTES}", "--disable-usage-stats", "--block",
            "--include-log-monitor=false",  # sends what workers print to a driver, and no driver here reads it
            *(["--include-dashboard=false"] if head else []),
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_raylet_start_wait_time_s": "120"}
        environment.pop(LOOPBACK_SWITCH, None)
        log = Path(self.folder, f"node-{len(self.nodes)}.log").open("wb")  # noqa: SIM115
        with log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
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
    """Run a Ray cluster on loopback for the time of the block."""
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
