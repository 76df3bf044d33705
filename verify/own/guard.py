"""Call the code of a user's file: a side, a strategy, a claim, a check.

Whatever it raises becomes an `InputError` of one line; what runs longer than the time limit is cut (`OutOfTimeError`).
The settings of the process that later code depends on are restored, and what the code prints goes to stderr. Memory is
not limited, and a single call into C is cut only once it returns.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hltm.base.errors import InputError, printable
from hltm.base.interrupts import OutOfTimeError, is_ctrl_c, limited

SECONDS = 60.0
VARIABLE = "COVOP_TIME_LIMIT"
LONGEST = 400  # characters of an exception's own text
TOOLKIT = ("hltm", "theory", "numeric", "verify")

Result = TypeVar("Result")


def time_limit() -> float:
    """Seconds that one call of a user's code may take: 60, or what `COVOP_TIME_LIMIT` says."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"{VARIABLE}={text!r:.40}: must be a positive number of seconds")
    return seconds


def called(
    place: Callable[[], str], code: Callable[..., Result], *arguments: Any, times: int = 1, of_file: bool = False
) -> Result:
    """The result of code of a user's; `place` names it in messages, and is asked for only then.

    It may take the time limit, or several `times` as long. A whole file chooses the precision of its sides.
    """
    seconds = time_limit() * times
    with as_input_error(place):
        try:
            with streams(), unchanged_settings(of_file), limited(seconds, lambda: _end(place, seconds)):
                return code(*arguments)
        except OutOfTimeError as error:
            if error.args:  # of a call inside of this one
                raise
            raise OutOfTimeError(f"{place()}: not finished within {seconds:g} s ({VARIABLE})") from None


@contextmanager
def as_input_error(place: Callable[[], str], besides: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Turn what a user's code raises, whatever it is, into an InputError; Ctrl-C, time limits and `besides` pass."""
    try:
        yield
    except OutOfTimeError:
        raise
    except besides:
        raise
    except InputError as error:
        text, where = str(error), place()
        named = where in f"{text}:" or text.startswith("statement ")
        raise InputError(text if named else f"{where}: {text}") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and is_ctrl_c(error):
            raise
        raise InputError(f"{place()}: {described(error)}") from error


def _end(place: Callable[[], str], seconds: float) -> None:
    """End the process: the code catches every exception, and nothing else stops it."""
    with suppress(Exception):
        os.write(2, f"error: {printable(place())}: not finished within {seconds:g} s, and not to be stopped\n".encode())
    os._exit(2)


def described(error: BaseException) -> str:
    """An exception in words: its type, its text, and the last line of the user's code in its traceback."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be made)"
    text = f"{type(error).__name__}: {text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'}".removesuffix(": ")
    place = place_of(error)
    return f"{text} ({place})" if place else text


def place_of(error: BaseException) -> str:
    """File and line of an exception: the innermost frame that is no library's, else the innermost one."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.lineno is not None]
    libraries = tuple(_libraries())
    own = [f for f in frames if not f.filename.startswith(libraries)]
    if not frames:
        return ""
    last = (own or frames)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"


def _libraries() -> Iterator[str]:
    yield "<frozen"
    for name in TOOLKIT:
        yield str(Path(__file__).resolve().parents[2] / name) + os.sep
    for key in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield sysconfig.get_path(key) + os.sep


@contextmanager
def streams() -> Iterator[None]:
    """Send stdout to stderr inside the block, and keep the code from closing either."""
    before = sys.stdout, sys.stderr
    stderr = sys.stderr if isinstance(sys.stderr, Open) or sys.stderr is None else Open(sys.stderr)
    sys.stdout = sys.stderr = stderr
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class Open:
    """A stream that `close` leaves open."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def close(self) -> None:
        """Write what is buffered."""
        self._stream.flush()

    def detach(self) -> Any:
        """The stream below, left open too."""
        return self.buffer

    @property
    def buffer(self) -> Any:
        """The stream of bytes, left open too."""
        return Open(self._stream.buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._stream)

    def __enter__(self) -> Open:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def unchanged_settings(of_file: bool = False) -> Iterator[None]:
    """Restore what code may change for the whole process; of a whole file, the precision that it chose stays."""
    with ExitStack() as after:
        after.enter_context(np.errstate())
        after.callback(_restore_warnings, list(warnings.filters))
        if not of_file:
            after.callback(_restore_torch, _torch_settings())
            after.callback(_restore_precision, _precision())
        after.callback(_restore_path, list(sys.path))
        after.callback(sys.argv.__setitem__, slice(None), list(sys.argv))
        after.callback(_restore_folder, _folder())
        after.callback(_restore_recursion, sys.getrecursionlimit())
        if threading.current_thread() is threading.main_thread():
            after.callback(_restore_ctrl_c, signal.getsignal(signal.SIGINT))
        yield


def _restore_warnings(before: list[Any]) -> None:
    """Warnings that were made errors would be raised by other code."""
    if warnings.filters != before:
        warnings.filters[:] = [row for row in warnings.filters if row[0] != "error" or row in before]  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]


def _torch_settings() -> Any:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_device"):  # not loaded, or not yet complete
        return None
    return torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_default_device()


def _restore_torch(before: Any) -> None:
    now = _torch_settings()
    if now is None or now == before:
        return
    import torch

    dtype, grad, device = before or (torch.float32, True, torch.device("cpu"))
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(grad)
    if now[2] != device:
        torch.set_default_device(None if device.type == "cpu" else device)


def _precision() -> Any:
    """Digits of the libraries that are loaded, and whether SymPy evaluates."""
    flint, mpmath = sys.modules.get("flint"), sys.modules.get("mpmath")
    sympy = sys.modules.get("sympy.core.parameters")
    return (
        getattr(getattr(flint, "ctx", None), "prec", None), getattr(getattr(mpmath, "mp", None), "prec", None),
        dict(vars(sympy.global_parameters)) if sympy is not None and hasattr(sympy, "global_parameters") else {},
    )  # fmt: skip


def _restore_precision(before: Any) -> None:
    if _precision() == before:
        return
    for (name, attribute), digits in zip((("flint", "ctx"), ("mpmath", "mp")), before[:2], strict=True):
        if digits is not None:
            getattr(sys.modules[name], attribute).prec = digits
    for key, value in before[2].items():
        setattr(sys.modules["sympy.core.parameters"].global_parameters, key, value)


def _restore_path(before: list[str]) -> None:
    """Folders that were searched come first again; those that were added stay behind them."""
    if sys.path != before:
        sys.path[:] = [*before, *(folder for folder in sys.path if folder not in before)]


def _folder() -> str | None:
    with suppress(OSError):
        return os.getcwd()  # noqa: PTH109
    return None


def _restore_folder(before: str | None) -> None:
    if before is not None and _folder() != before:
        with suppress(OSError):
            os.chdir(before)


def _restore_recursion(before: int) -> None:
    if sys.getrecursionlimit() != before:
        with suppress(RecursionError):
            sys.setrecursionlimit(before)


def _restore_ctrl_c(before: Any) -> None:
    if before is not None and signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)


def as_text(instance: Any, longest: int = 300) -> str:
    """An instance in one line: its JSON, cut where it is long; its type where there is none."""
    try:
        with limited(1.0):
            text = json.dumps(instance.as_json())
    except BaseException as error:  # only for a message about another error
        if isinstance(error, KeyboardInterrupt) and is_ctrl_c(error):
            raise
        text = f"of type {type(instance).__name__}"
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def recorded(instance: Any) -> str:
    """An instance as text, to be compared with `unchanged`."""
    return json.dumps(instance.as_json(), default=repr) if hasattr(type(instance), "as_json") else ""


def unchanged(instance: Any, before: str) -> None:
    """Refuse an instance that code overwrote."""
    if recorded(instance) != before:
        raise InputError("changes the instance that it is given; must leave it as it is")
