"""One task: a stack of configurations trained and measured in a worker, plain data in and plain data out.

The same code runs in a local process and in an actor of Ray. What goes wrong comes back as its kind and one line; what
kills the worker, its driver finds out.
"""

import hashlib
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numeric.sweep.stack import run_stack

REASON = 300  # characters


def work_of(task: Any, device: str, checkpoint: Path | None, memory: int | None) -> dict[str, Any]:
    """What a worker needs of a task, as plain data.

    Parameters
    ----------
    task : Task
    device : str
    checkpoint : Path, optional
        Folder of its run.
    memory : int, optional
        Bytes that it may take besides what the worker has.
    """
    members = [
        {"key": each.key.hex(), "seed": each.seed,
         **{name: json.loads(getattr(each, name)) for name in ("tree", "network", "train")}}
        for each in task.members
    ]  # fmt: skip
    files = {digest: json.loads(text) for digest, text in task.files.items()}
    folder = None if checkpoint is None else str(checkpoint)
    return {"members": members, "files": files, "device": device, "checkpoint": folder, "memory": memory}


def run_task(work: Mapping[str, Any]) -> dict[str, Any]:
    """Run a task.

    Parameters
    ----------
    work : mapping
        From :func:`work_of`.

    Returns
    -------
    dict
        ``results`` (one for each member), ``seconds``, ``device`` and ``code``; or ``error`` (``"raised"``,
        ``"memory"``) and ``reason``.
    """
    begun = time.perf_counter()
    try:
        # A driver of CUDA reserves far more addresses than memory.
        with _memory_limit(work["memory"] if work["device"] == "cpu" else None):
            results = run_stack(work["members"], work["files"], work["device"], _own_folder(work["checkpoint"]))
    except MemoryError:
        return {"error": "memory", "reason": f"out of memory: {_limit_text(work['memory'])}"}
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:REASON]
        full = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text or "bad_alloc" in text
        return {"error": "memory" if full else "raised", "reason": text}
    return {
        "results": results, "seconds": time.perf_counter() - begun, "device": device_name(work["device"]),
        "code": code_version(),
    }  # fmt: skip


def _own_folder(checkpoint: str | None) -> str | None:
    """Where this version of the code keeps its checkpoint: what another has begun, it does not go on with."""
    return None if checkpoint is None else str(Path(checkpoint) / code_version())


def _limit_text(memory: int | None) -> str:
    return "the machine has no more" if memory is None else f"the limit of a task is {memory:,} bytes"


@contextmanager
def _memory_limit(extra: int | None) -> Iterator[None]:
    """Let allocations of this process fail beyond what it has now and `extra` bytes; on Linux only."""
    if extra is None or not sys.platform.startswith("linux"):
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra
    if before[1] != resource.RLIM_INFINITY:
        limit = min(limit, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def device_name(device: str) -> str:
    """Name a device as results carry it: ``cpu``, or the name of the GPU."""
    import torch

    return "cpu" if device == "cpu" else str(torch.cuda.get_device_name(device))


@cache
def code_version() -> str:
    """Version of the package and a digest of the sources that results depend on, as they were when it was first asked.

    Examples
    --------
    >>> "+" in code_version()
    True
    """
    import hltm
    import numeric

    held = hashlib.sha256()
    for package in (hltm, numeric):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            held.update(path.name.encode() + path.read_bytes())
    try:
        found = version("covop")
    except PackageNotFoundError:
        found = "unknown"
    return f"{found}+{held.hexdigest()[:12]}"


def prepare(parent: int | None = None) -> int:
    """Make a process a worker: one thread, everything imported; it ends when its parent does. Gives its number.

    Parameters
    ----------
    parent : int, optional
        Process whose end ends this one.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if parent is not None:
        _end_with(parent)
    import torch

    for name in ("trees.metrics", "training.train", "training.contrast"):
        importlib.import_module(f"numeric.{name}")
    code_version()
    # The tensors are small: threads would wait for each other longer than they work, and sums would change with them.
    torch.set_num_threads(1)
    return os.getpid()


def _end_with(parent: int) -> None:
    """End this process soon after its parent: a worker without a driver would hold its folder and its core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which ends its workers

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.3)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
