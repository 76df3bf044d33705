"""One task: a stack of configurations trained and measured in a worker, plain data in and plain data out.

The same code runs in a local process and in a Ray actor. An error comes back as its kind and one line; the death of a
worker is its driver's to notice.
"""

import hashlib
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from hltm.base.errors import InputError

if TYPE_CHECKING:
    from hltm import HLTM
    from numeric.trees.network import TreeNetwork


LOCK_SECONDS = 20.0  # for which the worker of a dead driver may still lock its checkpoint
REASON = 300  # characters


def stream_seed(key: str) -> int:
    """Seed of a member's draws: of its key, so that they are the same in every stack."""
    return int(key[:14], 16)


def tree_of(part: Mapping[str, Any], seed: int, files: Mapping[str, Any]) -> "HLTM":
    """The tree of a configuration; polarities of a range are drawn from its seed."""
    import numpy as np

    import hltm
    from hltm.nodelink import tree_from_json

    if part["kind"] == "file":
        return tree_from_json(files[part["sha256"]])
    polarity: Any = part["polarity"]
    if isinstance(polarity, Mapping):
        low, high, signs = polarity["low"], polarity["high"], polarity["signs"]
        rng = np.random.default_rng(seed)

        def polarity(_above: int, _child: int) -> float:
            size, sign = rng.uniform(), 1 if not signs or rng.integers(2) else -1
            return float(sign * (low + (high - low) * size))

    if part["kind"] == "complete":
        return hltm.complete_tree(part["depth"], part["branching"], polarity, part["root_polarity"])
    build = hltm.star_tree if part["kind"] == "star" else hltm.caterpillar_tree
    return build(part["leaves"], polarity, part["root_polarity"])


def run_stack(
    members: Sequence[Mapping[str, Any]], files: Mapping[str, Any], device: str, folder: str | None
) -> list[dict[str, Any]]:
    """Train and measure the configurations of a stack; one result for each."""
    from numeric.training.contrast import training_loss
    from numeric.training.train import train
    from numeric.trees.metrics import correlations

    built: dict[tuple[str, int], HLTM] = {}
    trees = [_cached_tree(built, each, files) for each in members]
    network = _network(members, trees, device)
    options, streams = members[0]["train"], [stream_seed(each["key"]) for each in members]
    specs = [
        training_loss(own["loss"], **{k: own[k] for k in ("tau", "margin", "negatives") if own[k] is not None})
        for own in (each["train"] for each in members)
    ]
    samples = options["samples"]

    def levels(network: "TreeNetwork") -> list[Any]:
        if samples < 2:
            return [None] * len(members)
        return [_finite(own) for own in correlations(network, trees, samples, streams).by_level.tolist()]

    def run(folder: str | None) -> Any:
        return train(
            network, trees, specs, lr=[each["train"]["lr"] for each in members], batch=options["batch"] or 1,
            steps=options["steps"], seed=streams, checkpoint_dir=folder, mode=options["mode"],
            optimizer=options["optimizer"], optimizer_options=options["optimizer_options"],
            record_every=-(-options["steps"] // options["records"]), keep_networks=False,
        )  # fmt: skip

    before = levels(network)
    trace = _checkpointed(run, folder)
    after = levels(trace.network)
    diverged = {each.member: each.step for each in trace.failures}
    losses = trace.losses.T.tolist()
    return [
        {
            "steps": list(trace.steps[1:]), "loss": _finite(losses[number]),
            "dead": bool(trace.dead[-1, number]), "diverged": diverged.get(number),
            "before": before[number], "after": after[number],
        }
        for number in range(len(members))
    ]  # fmt: skip


def _finite(values: list[float]) -> list[float | None]:
    """Replace numbers that are not finite by null."""
    return [value if abs(value) < float("inf") else None for value in values]


def _cached_tree(cache: dict[tuple[str, int], "HLTM"], member: Mapping[str, Any], files: Mapping[str, Any]) -> "HLTM":
    part = member["tree"]
    # Only a range of polarities depends on the seed.
    drawn = member["seed"] if isinstance(part.get("polarity"), Mapping) else 0
    key = (json.dumps(part, sort_keys=True), drawn)
    if key not in cache:
        cache[key] = tree_of(part, drawn, files)
    return cache[key]


def _network(members: Sequence[Mapping[str, Any]], trees: Sequence["HLTM"], device: str) -> "TreeNetwork":
    """The networks of all members, each of its own seed."""
    import torch

    from numeric.trees.network import TreeNetwork

    options, built = members[0]["network"], {}
    for each in members:
        if each["seed"] not in built:
            built[each["seed"]] = TreeNetwork(
                trees[0], options["width"], options["slope"], options["output"], each["seed"],
                dtype=getattr(torch, options["dtype"]), device=device, sigma_w=options["sigma_w"],
                leaves=options.get("leaves", "state"),
            )  # fmt: skip
    parts = zip(*(built[each["seed"]].parameters for each in members), strict=True)
    return built[members[0]["seed"]].with_parameters([torch.cat(some) for some in parts])


def _checkpointed(run: Any, folder: str | None) -> Any:
    """Run with checkpoints, or without where their folder cannot be used: a full disk must not cost a result."""
    if folder is None:
        return run(None)
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        # The worker of a driver that was killed ends within a second or so, and locks its folder until then.
        with FileLock(place / "lock").acquire(timeout=LOCK_SECONDS):
            pass
    except (OSError, Timeout):
        return run(None)
    try:
        return run(folder)
    except InputError as error:
        if str(place) not in str(error):
            raise
        return run(None)


def work_of(task: Any, device: str, checkpoint: Path | None, memory: int | None) -> dict[str, Any]:
    """A task as plain data for a worker."""
    members = [
        {"key": each.key.hex(), "seed": each.seed, "tree": each.tree, "network": each.network, "train": each.train}
        for each in task.members
    ]
    folder = None if checkpoint is None else str(checkpoint)
    return {"members": members, "files": task.files, "device": device, "checkpoint": folder, "memory": memory}


def run_task(work: Mapping[str, Any]) -> dict[str, Any]:
    begun, memory = time.perf_counter(), work["memory"]
    # Another version of the code must not resume the checkpoint of this one.
    folder = None if work["checkpoint"] is None else str(Path(work["checkpoint"]) / code_version())
    try:
        # A driver of CUDA reserves far more addresses than memory.
        with _memory_limit(memory if work["device"] == "cpu" else None):
            results = run_stack(work["members"], work["files"], work["device"], folder)
    except MemoryError:
        limit = "the machine has no more" if memory is None else f"the limit of a task is {memory:,} bytes"
        return {"error": "memory", "reason": f"out of memory: {limit}"}
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:REASON]
        full = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text or "bad_alloc" in text
        return {"error": "memory" if full else "raised", "reason": text}
    return {
        "results": results, "seconds": time.perf_counter() - begun, "device": _device_name(work["device"]),
        "code": code_version(),
    }  # fmt: skip


@contextmanager
def _memory_limit(extra: int | None) -> Iterator[None]:
    """Let allocations beyond the present ones and `extra` bytes fail; on Linux only."""
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


def _device_name(device: str) -> str:
    import torch

    return "cpu" if device == "cpu" else str(torch.cuda.get_device_name(device))


@cache
def code_version() -> str:
    """Version of the package and digest of the sources that results depend on."""
    import hltm
    import numeric

    digest = hashlib.sha256()
    for package in (hltm, numeric):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    try:
        release = version("covop")
    except PackageNotFoundError:
        release = "unknown"
    return f"{release}+{digest.hexdigest()[:12]}"


class Worker:
    """Runs tasks in a process of its own."""

    def prepare(self) -> None:
        """Import what tasks need, and use one thread."""
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        import torch

        for name in ("trees.metrics", "training.train", "training.contrast"):
            importlib.import_module(f"numeric.{name}")
        code_version()
        # The tensors are small: threads would wait for each other, and sums would depend on their number.
        torch.set_num_threads(1)

    def run(self, work: Mapping[str, Any]) -> dict[str, Any]:
        return run_task(work)


@dataclass(frozen=True)
class Answer:
    """Results of a task that can be written."""

    results: tuple[str, ...]
    seconds: float
    device: str
    code: str


class TaskError(Exception):
    """A task that went wrong, with its reason on one line."""


def read_answer(answer: Any, members: int) -> Answer:
    """Convert the result of `run_task`, of whatever kind it is; one that cannot be stored is a `TaskError`."""
    try:
        if "error" not in answer:
            return _answer(answer, members)
        reason = f"{answer['error']}: {answer['reason']}"
    except Exception as error:
        reason = f"raised: the answer cannot be written: {type(error).__name__}: {error}"
    raise TaskError(one_line(reason))


def _answer(answer: Mapping[str, Any], members: int) -> Answer:
    texts = tuple(json.dumps(each, allow_nan=False, separators=(",", ":")) for each in answer["results"])
    if len(texts) != members:
        raise ValueError(f"{len(texts)} results for {members} members")
    taken = float(answer["seconds"])
    if not math.isfinite(taken):
        raise ValueError(f"{taken} seconds")
    return Answer(texts, taken, one_line(answer["device"]), one_line(answer["code"]))


def one_line(text: object) -> str:
    """Text on one line, of characters that every file takes."""
    return " ".join(str(text).split()).encode(errors="backslashreplace").decode()[:400]
