"""Files that appear complete or not at all."""

import contextlib
import os
import secrets
from pathlib import Path

from hltm.base.checks import show
from hltm.base.errors import InputError


def write(target: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all; a place that cannot be written is an `InputError`.

    A link is followed; what is no regular file (a pipe, a device) is written to, never replaced.
    """
    try:
        target = Path(os.path.realpath(target))
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(content)
            return
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(content)
            temporary.replace(target)
        except BaseException:  # also an interruption leaves nothing behind
            with contextlib.suppress(OSError, ValueError):
                temporary.unlink()
            raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise InputError(f"path={show(str(target))}: cannot be written: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
