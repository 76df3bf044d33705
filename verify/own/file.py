"""Load a user's own statements from a Python file.

The file runs with all rights of the process. No file runs but the one that the user names.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hltm.base.errors import InputError
from verify.registry import Entry, entry

if TYPE_CHECKING:
    from verify.engine.statement import Statement

MODULE = "statements_of_the_user"


@dataclass(frozen=True)
class OwnEntry(Entry):
    """An entry of a loaded statement."""

    statement: Statement

    def load(self) -> Statement:
        return self.statement


def load_statements(path: Path) -> tuple[OwnEntry, ...]:
    """Run a file and return the statements that it defines, in order."""
    from verify.engine.statement import Statement
    from verify.own.statement import checked_name

    module = _run(path)
    result: list[Statement] = []
    for value in vars(module).values():
        if isinstance(value, Statement) and not any(value is other for other in result):
            result.append(value)
    if not result:
        raise InputError(f"file {str(path)!r}: defines no statement, must have one at its top level")
    for index, statement in enumerate(result):
        checked_name(statement.slug, f"slug in {str(path)!r}")
        if statement.slug in [other.slug for other in result[:index]]:
            raise InputError(f"slug={statement.slug!r} in {str(path)!r}: is there twice, slugs must differ")
        if _is_ours(statement.slug):
            raise InputError(f"slug={statement.slug!r} in {str(path)!r}: is a name of the toolkit's own statements")
    return tuple(OwnEntry(s.slug, s.theorem, s.title, "", s) for s in result)


def _is_ours(slug: str) -> bool:
    try:
        entry(slug)
    except InputError:
        return False
    return True


def _run(path: Path) -> ModuleType:
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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's file may raise anything, SystemExit included
        raise InputError(_one_line(error, path)) from error
    return module


class _Loader(importlib.machinery.SourceFileLoader):
    """A loader for any file ending that writes no bytecode."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write nothing."""


def _one_line(error: BaseException, path: Path) -> str:
    """The error in one line, with the last line of the user's file in its traceback."""
    if isinstance(error, SyntaxError):
        where = "" if error.lineno is None else f", line {error.lineno}"
        return f"file {str(path)!r}{where}: is no Python: {error.msg}"
    what = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    line = _line(error, path)
    return f"file {str(path)!r}{f', line {line}' if line else ''}: {what}"


def _line(error: BaseException, path: Path) -> int | None:
    target = path.resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.lineno is not None and Path(frame.filename).resolve() == target:
            return frame.lineno
    return None


@contextmanager
def attribute_errors_to(path: Path) -> Iterator[None]:
    """Turn exceptions of the user's code (a strategy, a check) into InputErrors of one line."""
    from hypothesis.errors import HypothesisException

    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, HypothesisException) or _line(error, path) is not None:
            raise InputError(_one_line(error, path)) from error
        raise
