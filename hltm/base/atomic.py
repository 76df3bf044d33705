"""Atomic files, and paths whose suffix chooses a format."""

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from hltm.base.checks import show
from hltm.base.errors import InputError


@contextlib.contextmanager
def replacing(target: Path, name: str = "path") -> Iterator[Path]:
    """Give the place of a file that replaces `target` at the end of the block; InputError if it cannot be written.

    The file appears complete or not at all. A link is followed. A pipe or a device is written to, never replaced.
    """
    try:
        target = Path(os.path.realpath(target))
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise InputError(f"{name}={show(str(target))}: cannot be written: {reason(error)}") from None
    temporary = target.with_name(f".covop-{secrets.token_hex(8)}.tmp")  # as short for every name
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            yield target
            return
        try:
            yield temporary
            temporary.replace(target)
        except BaseException:  # an interrupt too leaves nothing behind
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise InputError(f"{name}={show(str(target))}: cannot be written: {reason(error)}") from None


def write(target: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all: see `replacing`."""
    with replacing(target) as place:
        place.write_bytes(content)


def reason(error: Exception) -> str:
    """Return why the system refused a file, without the name of the file."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def path_with_suffix(path: object, allowed: Iterable[str], owner: str = "") -> Path:
    """Return a path of one of the allowed suffixes; InputError for any other."""
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"path={show(path)}: must be a path, got {type(path).__name__}")
    target = Path(path)
    if target.suffix.lower() not in allowed:
        raise InputError(f"path={show(str(target))}: the suffix{owner} must be one of {', '.join(allowed)}")
    return target
