"""Run folders: checkpoints as safetensors and JSON, each file written to a temporary name and renamed.

Every record has a file of its own, written once; another file holds the tensors that the run resumes from.
``state.json`` lists all of them with their hashes and is written last: whenever a process dies, the folder holds one
complete checkpoint, or none. A lock keeps two processes out of one folder.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
from filelock import FileLock, Timeout
from safetensors.torch import load, save
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import show
from hltm.base.errors import InputError
from hltm.nodelink import tree_to_json

VERSION = 2
STATE = "state.json"
EARLIER = {"leaves": "state"}  # settings of runs from before there was a choice
SIZE_LIMIT = 2**26  # bytes of state.json
_OWN = re.compile(r"(step|record)-\d{10,}\.safetensors(\.part)?|(state\.json|metrics\.jsonl)\.part")


def run_folder(value: Any) -> Path:
    """Return a path that the file system accepts."""
    try:
        path = Path(value)
        good = b"\0" not in os.fsencode(path)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise InputError(f"checkpoint_dir={show(value)}: must be a path, without NUL or lone surrogates")
    return path


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a failed write (disk full, read-only, a folder in place of a file) into one line."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"run folder {folder}: {error.strerror or error}: must be a folder that can be written"
        ) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make and lock a run folder; the system releases the lock when the process ends."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"run folder {folder}: in use by another process; must be free") from None
    try:
        yield
    finally:
        lock.release()


@dataclass(eq=False)
class Checkpoints:
    """The checkpoint of a run folder."""

    folder: Path
    hashes: list[str] = field(default_factory=list)
    last: str = ""

    def write(self, record: Mapping[str, Tensor], tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a record, and the tensors that the run resumes from in place of the last ones."""
        name = f"step-{state['step']:010d}.safetensors"
        with writing(self.folder):
            hashes = [*self.hashes, _saved(self.folder / _record(state["step"]), record)]
            document = {"version": VERSION, "tensors": name, "sha256": _saved(self.folder / name, tensors), **state}
            text = json.dumps(document | {"records": hashes}, allow_nan=False)
            _atomic(self.folder / STATE, text.encode())
            before, self.last, self.hashes = self.last, name, hashes
            if before:
                (self.folder / before).unlink(missing_ok=True)
            else:
                self._tidy(state["steps"])

    def read(self) -> dict[str, Any] | None:
        """State of the last complete checkpoint; None where there is none."""
        path = self.folder / STATE
        if not path.exists():
            return None
        state = _state(path)
        if state.get("version") != VERSION:
            raise InputError(f"{path}: version {state.get('version')!r}: must be {VERSION}")
        name = state.get("tensors")
        if not isinstance(name, str) or Path(name).name != name:
            raise InputError(f"{path}: tensors={name!r}: must be the name of a file in the same folder")
        self.last = name
        return state

    def load(self, state: Mapping[str, Any]) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Tensors of every record, and those that the run resumes from; the steps of the state must be in order."""
        hashes = state.get("records")
        if not isinstance(hashes, list) or len(hashes) != len(state["steps"]):
            raise InputError(f"{self.folder / STATE}: records: must be one hash for each of the steps")
        self.hashes = hashes
        names = zip(map(_record, state["steps"]), hashes, strict=True)
        records = [_loaded(self.folder / name, digest) for name, digest in names]
        tensors = self.tensors(state)
        with writing(self.folder):
            self._tidy(state["steps"])
        return records, tensors

    def tensors(self, state: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors that the run resumes from; nothing in the folder is changed."""
        return _loaded(self.folder / self.last, state.get("sha256"))

    def _tidy(self, steps: list[int]) -> None:
        """Remove files that a killed process left beside the checkpoint."""
        listed = {self.last, *map(_record, steps)}
        for path in self.folder.iterdir():
            if path.name not in listed and _OWN.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)


def tree_digest(trees: Sequence[HLTM]) -> str:
    """Digest of the trees of a run, which its settings hold."""
    return hashlib.sha256(json.dumps([tree_to_json(each) for each in trees], sort_keys=True).encode()).hexdigest()


def _record(step: int) -> str:
    return f"record-{step:010d}.safetensors"


def _saved(path: Path, tensors: Mapping[str, Tensor]) -> str:
    # Not `save_file`: it writes to a name of its own choice, which would stay behind if the process were killed.
    data = save({key: value.contiguous() for key, value in tensors.items()})
    _atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def _loaded(path: Path, digest: Any) -> dict[str, Tensor]:
    rule = "must be the file that a run wrote"
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise InputError(f"{path}: sha256 is not that of {STATE}: {rule}")
        return load(data)
    except (OSError, safetensors.SafetensorError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"{path}: {reason}: {rule}") from None


def _atomic(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(data)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _state(path: Path) -> dict[str, Any]:
    rule = "must be the JSON object that a run wrote"
    try:
        with path.open("rb") as file:
            text = file.read(SIZE_LIMIT + 1)
        if len(text) > SIZE_LIMIT:
            raise InputError(f"{path}: more than {SIZE_LIMIT:,} bytes: {rule}")
        result = json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}: {rule}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {type(error).__name__}: {rule}") from None
    if not isinstance(result, dict):
        raise InputError(f"{path}: {type(result).__name__}: {rule}")
    return result


def run_state(folder: Path, state: Mapping[str, Any], members: int, total: int) -> tuple[list[int], ...]:
    """Steps of the records, active members, and each failure (member, step, last good step)."""
    step: Any = state.get("step")
    steps: Any = state.get("steps")
    active: Any = state.get("active")
    failures: Any = state.get("failures")
    numbers = [steps, active, *(failures if isinstance(failures, list) else [None])]
    good = all(isinstance(each, list) and all(type(value) is int for value in each) for each in numbers)
    if good:
        failed = [each[0] for each in failures if len(each) == 3]
        good = steps == sorted(set(steps)) and steps[:1] == [0] and steps[-1] == step <= total
        good = good and active == sorted(active) and sorted([*active, *failed]) == list(range(members))
        good = good and len(failed) == len(failures)
    if not good:
        rule = f"must be those of a run of {members} members and {total} steps"
        raise InputError(f"{folder / STATE}: steps, active or failures: {rule}")
    return steps, active, *failures


def same_run(folder: Path, saved: Any, wanted: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another run, naming the first setting that differs."""
    before = saved if isinstance(saved, dict) else {}
    before = {name: EARLIER[name] for name in EARLIER if name in wanted} | before
    for name in dict.fromkeys((*wanted, *before)):
        old, new = before.get(name), wanted.get(name)
        if old != new:
            raise InputError(f"run folder {folder}: {name} {_short(old)} of its checkpoint: must be {_short(new)}, "
                             "as asked for now; use another folder")  # fmt: skip


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
