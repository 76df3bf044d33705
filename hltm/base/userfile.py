"""Run a Python file that a user names, with all rights of the process, and say in one line what is wrong in it."""

import importlib.machinery
import importlib.util
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError, is_ctrl_c

MODULE = "statements_of_the_user"
LONGEST = 1000  # characters of an exception's own text


def run_file(path: Path) -> ModuleType:
    """Run the file as a module; its folder comes last on `sys.path`, so that none of its names hides a library."""
    if not path.is_file():
        raise InputError(f"file {str(path)!r}: {'is no regular file' if path.exists() else 'does not exist'}")
    spec = importlib.util.spec_from_file_location(MODULE, path, loader=_Loader(MODULE, str(path)))
    if spec is None or spec.loader is None:
        raise InputError(f"file {str(path)!r}: cannot be run as Python")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and type hints look their module up by name.
    sys.modules[MODULE] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except OutOfTimeError:
        raise
    except BaseException as error:  # a user's file may raise anything, SystemExit included
        if isinstance(error, KeyboardInterrupt) and is_ctrl_c(error):
            raise
        raise InputError(in_one_line(error, path)) from error
    return module


class _Loader(importlib.machinery.SourceFileLoader):
    """A loader for any file ending that writes no bytecode."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write nothing."""


def in_one_line(error: BaseException, path: Path) -> str:
    """The error in one line, with the last line of the user's file in its traceback."""
    if isinstance(error, SyntaxError):
        where = "" if error.lineno is None else f", line {error.lineno}"
        return f"file {str(path)!r}{where}: is no Python: {error.msg}"
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be made)"
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    what = text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
    line = line_of(error, path)
    return f"file {str(path)!r}{f', line {line}' if line else ''}: {what}"


def line_of(error: BaseException, path: Path) -> int | None:
    target = path.resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.lineno is not None and Path(frame.filename).resolve() == target:
            return frame.lineno
    return None
