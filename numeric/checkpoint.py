"""Checkpoints of a training run: safetensors beside JSON, each written to a temporary name and renamed.

``state.json`` names the file of tensors that belongs to it, so that whatever moment a process dies at, the folder holds
one complete checkpoint, or none. A lock keeps two processes out of one folder; the system lets it go when they end.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file
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
        _atomic(folder / name, lambda path: save_file({k: v.contiguous() for k, v in tensors.items()}, path))
        document = {"version": VERSION, "tensors": name, **state}
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
        return load_file(folder / name), state
    except (OSError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{folder / name}: {reason}: must be a complete safetensors file") from None


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
