"""Checkpoints of a training run: safetensors beside JSON, each written to a temporary name and renamed.

``state.json`` names the file of tensors that belongs to it, so that whatever moment a process dies at, the folder holds
one complete checkpoint, or none. A lock keeps two processes out of one folder; the system lets it go when they end.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save
from torch import Tensor

from hltm.errors import InputError

VERSION = 1
STATE = "state.json"
SIZE_LIMIT = 2**26  # bytes of state.json


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder, made if it is not there.

    Raises
    ------
    InputError
        Another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"run folder {folder}: in use by another process; must be free") from None
    except OSError as error:
        raise InputError(
            f"run folder {folder}: {error.strerror or error}: must be a folder that can be written"
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_checkpoint(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint and remove the one before.

    Raises
    ------
    InputError
        The folder cannot be written (full, read-only): the last complete checkpoint stays.
    """
    name = f"step-{state['step']:010d}.safetensors"
    try:
        # Not `save_file`: it writes to a name of its own choice, which would stay behind if the process were killed.
        data = save({key: value.contiguous() for key, value in tensors.items()})
        _atomic(folder / name, lambda path: path.write_bytes(data))
        document = {"version": VERSION, "tensors": name, "sha256": hashlib.sha256(data).hexdigest(), **state}
        text = json.dumps(document, allow_nan=False)
        _atomic(folder / STATE, lambda path: path.write_text(text, encoding="utf-8"))
        for old in folder.glob("step-*.safetensors"):
            if old.name != name:
                old.unlink()
    except OSError as error:
        raise InputError(
            f"run folder {folder}: {error.strerror or error}: must be a folder that can be written"
        ) from None


def _atomic(path: Path, write: Any) -> None:
    temporary = path.with_name(path.name + ".part")
    try:
        write(temporary)
        with temporary.open("rb") as held:
            os.fsync(held.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and state of the last complete checkpoint; None where there is none.

    Raises
    ------
    InputError
        Files that are damaged, truncated, or of another version.
    """
    path = folder / STATE
    if not path.exists():
        return None
    state = _state(path)
    if state.get("version") != VERSION:
        raise InputError(f"{path}: version {state.get('version')!r}: must be {VERSION}")
    name = state.get("tensors")
    if not isinstance(name, str) or Path(name).name != name:
        raise InputError(f"{path}: tensors={name!r}: must be the name of a file in the same folder")
    try:
        with (folder / name).open("rb") as held:
            found = hashlib.file_digest(held, "sha256").hexdigest()
        if found != state.get("sha256"):
            raise InputError(f"{folder / name}: sha256 is not that of {STATE}: must be the file that a run wrote")
        return load_file(folder / name), state
    except (OSError, safetensors.SafetensorError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"{folder / name}: {reason}: must be the file that a run wrote") from None


def _state(path: Path) -> dict[str, Any]:
    rule = "must be the JSON object that a run wrote"
    try:
        with path.open("rb") as held:
            text = held.read(SIZE_LIMIT + 1)
        if len(text) > SIZE_LIMIT:
            raise InputError(f"{path}: more than {SIZE_LIMIT:,} bytes: {rule}")
        found = json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}: {rule}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {type(error).__name__}: {rule}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: {type(found).__name__}: {rule}")
    return found


def run_state(folder: Path, state: Mapping[str, Any], members: int, total: int) -> tuple[list[int], ...]:
    """Steps of the records, members that go on, and each failure (member, step, last good step).

    Raises
    ------
    InputError
        They are not what a run of so many members and steps leaves behind.
    """
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


def same_run(folder: Path, found: Any, wanted: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another run, naming the first setting that differs.

    Raises
    ------
    InputError
        A setting differs.
    """
    held = found if isinstance(found, dict) else {}
    for name in dict.fromkeys((*wanted, *held)):
        old, new = held.get(name), wanted.get(name)
        if old != new:
            raise InputError(f"run folder {folder}: {name} {_short(old)} of its checkpoint: must be {_short(new)}, "
                             "as asked for now; use another folder")  # fmt: skip


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
