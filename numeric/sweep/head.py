"""The head of a Ray cluster: whether one is there, connecting to it, and whether it is there still.

Ray tries for minutes to reach what does not answer, and ends the process where a head stays away. So the head is asked
before Ray is, in the first bytes of HTTP/2, in which Ray's services speak.
"""

import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from hltm.base.errors import InputError
from numeric.sweep.loopback import need_ray, stay_on_loopback

KNOCK_SECONDS = 15.0  # for a head to answer
GONE_SECONDS = 20.0  # after which a head that does not answer is gone; Ray ends the process after 60
_RULE = "must be a Ray cluster, as host:port, ray://host:port or auto"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and settings, none of them
_SETTINGS = 4  # kind of the frame that every answer begins with


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

    Raises
    ------
    InputError
        There is none.
    """
    if (given := os.environ.get("RAY_ADDRESS", "auto")) not in ("", "auto"):
        return given
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    try:
        return Path(folder, "ray", "ray_current_cluster").read_text().strip()
    except (OSError, UnicodeDecodeError):
        rule = "no Ray cluster was started on this machine; its address must be given, as host:port"
        raise InputError(f"--ray='auto': {rule}") from None


def place_of(address: str) -> tuple[str, int]:
    """Host and port of an address.

    Examples
    --------
    >>> place_of("ray://[::1]:10001")
    ('::1', 10001)

    Raises
    ------
    InputError
        It has none.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 2**16:
        raise InputError(f"--ray={address!r:.80}: {_RULE}")
    return host.strip("[]"), int(port)


def _knock(address: str, host: str, port: int) -> None:
    """Refuse an address at which nobody answers, or somebody who is no Ray.

    Raises
    ------
    InputError
    """
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
    """The head of a cluster that this process is connected to.

    Parameters
    ----------
    address : str
        Where it listens, ``host:port``, or ``ray://host:port`` of the client server.
    """

    def __init__(self, address: str) -> None:
        self.address, self._place, self._silent = address, place_of(address), None

    _silent: float | None

    def answers(self) -> bool:
        """Whether it can be reached at this moment.

        Raises
        ------
        InputError
            It could not be for a while.
        """
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
