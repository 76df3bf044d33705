"""report.pdf: pdflatex run on the LaTeX of a report, in a folder of its own, with a time limit and no shell.

What goes wrong is a reason in one line: a report without its PDF is still a report.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event

SECONDS = 60.0
SHOWN = 160
# How often somebody who waits for TeX is listened to.
POLL = 0.1


@dataclass(frozen=True)
class Pdf:
    """A PDF, or the reason why there is none; `log` is what TeX said."""

    content: bytes | None
    reason: str = ""
    log: str = ""


class _StoppedError(Exception):
    """Whoever waited waits no longer."""


def compiled(text: str, figures: Mapping[str, bytes], seconds: float = SECONDS, stop: Event | None = None) -> Pdf:
    """Run pdflatex on a document.

    Parameters
    ----------
    text : str
        LaTeX.
    figures : mapping
        Relative name to the content of each file that the document includes.
    seconds : float
        Time limit of all passes together.
    stop : Event, optional
        Ends pdflatex as soon as it is set, from whichever thread.
    """
    program = shutil.which("pdflatex")
    if program is None:
        return Pdf(None, "pdflatex was not found")
    stop, limit = stop or Event(), time.monotonic() + seconds
    try:
        with tempfile.TemporaryDirectory(prefix="covop-tex-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            (folder / "figures").mkdir()
            for file, content in {"report.tex": text.encode(), **figures}.items():
                (folder / file).write_bytes(content)
            return _passes(program, folder, limit, stop)
    except OSError as error:
        where = tempfile.tempdir or "a temporary folder"
        return Pdf(None, f"pdflatex could not be run in {where}: {error.strerror or error}")
    except subprocess.TimeoutExpired:
        return Pdf(None, f"pdflatex took more than {seconds:.3g} seconds")
    except _StoppedError:
        return Pdf(None, "interrupted")


def _passes(program: str, folder: Path, limit: float, stop: Event) -> Pdf:
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    # The first pass is for the table of contents, and makes no PDF.
    for options in (["-draftmode"], []):
        code = _pass([*command, *options, "report.tex"], folder, limit, stop)
        if code:
            break
    log = folder / "report.log"
    said = log.read_bytes().decode(errors="replace") if log.exists() else ""
    target = folder / "report.pdf"
    content = target.read_bytes() if target.exists() else b""
    if code or not content.startswith(b"%PDF"):
        return Pdf(None, f"pdflatex failed: {first_error(said, code)}", said)
    return Pdf(content, "", said)


def _pass(command: list[str], folder: Path, limit: float, stop: Event) -> int:
    """Run one pass; gives its exit code. Nothing that it started outlives it."""
    # The date in the file, and what TeX may read and write, do not depend on who runs it.
    environment = {
        **os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "openout_any": "p", "openin_any": "p",
        "max_print_line": "1000",
    }  # fmt: skip
    process = subprocess.Popen(  # noqa: S603
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        while True:
            if stop.is_set():
                raise _StoppedError
            left = limit - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(command, 0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(min(POLL, left))
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, which is its session: pdflatex may be a script."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def first_error(log: str, code: int) -> str:
    r"""The first error of a log, in one line.

    Examples
    --------
    >>> first_error("This is pdfTeX\n! Undefined control sequence.\nl.3 x", 1)
    'Undefined control sequence. l.3 x'
    """
    found = re.search(r"^! (.*?)$(?:.*?^(l\.\d+.*?)$)?", log, re.MULTILINE | re.DOTALL)
    if not found:
        return f"exit code {code}"
    return " ".join(f"{found[1]} {found[2] or ''}".split())[:SHOWN]


def overfull(log: str) -> list[float]:
    r"""By how many points lines are too wide, of a log.

    Examples
    --------
    >>> overfull(r"Overfull \hbox (12.5pt too wide) in paragraph at lines 1--2")
    [12.5]
    """
    return [float(found) for found in re.findall(r"Overfull \\hbox \((\d+(?:\.\d+)?)pt too wide\)", log)]
