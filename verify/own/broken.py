"""Statements of a user's file that could not be built: they are kept, so that their neighbours still run."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec

from hltm.base.errors import InputError, printable
from hltm.base.interrupts import OutOfTimeError
from hltm.base.userfile import MODULE
from verify.engine.statement import Statement
from verify.own.guard import as_input_error

Arguments = ParamSpec("Arguments")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST = 60  # characters of a name

_running: ContextVar[bool] = ContextVar("whether a statements file is running", default=False)


@dataclass(frozen=True)
class BrokenStatement(Statement):
    """The place of a statement that is refused, with the reason in one line."""

    error: str = ""


@contextmanager
def building() -> Iterator[None]:
    """Inside the block, statements that are refused become `BrokenStatement`."""
    token = _running.set(True)
    try:
        yield
    finally:
        _running.reset(token)


def kept_if_broken(build: Callable[Arguments, Statement]) -> Callable[Arguments, Statement]:
    """Return a `BrokenStatement` where a statement is refused while a statements file runs."""

    @functools.wraps(build)
    def built(*arguments: Arguments.args, **options: Arguments.kwargs) -> Statement:
        if not _running.get():
            return build(*arguments, **options)
        name = called_by(options)
        try:
            with as_input_error(lambda: f"statement {name!r}" if name else "statement"):
                return build(*arguments, **options)
        except (InputError, OutOfTimeError) as error:
            text = str(error)
            return broken(name, text if re.search(r", line \d+\)$", text) else f"{text}{caller()}")

    return built


def caller() -> str:
    """The line of the statements file that is running."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == MODULE:
            return f" ({Path(frame.f_code.co_filename).name}, line {frame.f_lineno})"
        frame = frame.f_back
    return ""


def broken(name: str, error: str) -> BrokenStatement:
    return BrokenStatement(
        slug=name, theorem=None, title=name, stated="", assumptions=(), not_covered=(), source="", checks=(), stages=(),
        measures={}, instance_type=object, error=error,
    )  # fmt: skip


def called_by(options: Any) -> str:
    """A name for a statement by its slug or its title, whatever they are."""
    for key in ("slug", "title"):
        if isinstance(options.get(key), str) and options[key].strip():
            return slug_of(options[key]) if key == "title" else printable(str(options[key])[:LONGEST])
    return ""


def slug_of(title: str) -> str:
    """The canonical name that a title gives."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:LONGEST].strip("-")


def checked_name(name: Any, place: str) -> None:
    """Refuse a name that cannot be part of a file name."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST:
        raise InputError(f"{place}={name!r:.80}: must be lower-case words with hyphens, at most {LONGEST} characters")
