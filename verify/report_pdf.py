"""report.pdf: pdflatex run on the LaTeX of a report, in a folder of its own, with a time limit and no shell.

What goes wrong is a reason in one line: a report without its PDF is still a report.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60
SHOWN = 160


@dataclass(frozen=True)
class Pdf:
    """A PDF, or the reason why there is none; `log` is what TeX said."""

    content: bytes | None
    reason: str = ""
    log: str = ""


def compiled(text: str, figures: Mapping[str, bytes], seconds: float = SECONDS) -> Pdf:
    """Run pdflatex on a document.

    Parameters
    ----------
    text : str
        LaTeX.
    figures : mapping
        Relative name to the content of each file that the document includes.
    seconds : float
        Time limit of all passes together.
    """
    program = shutil.which("pdflatex")
    if program is None:
        return Pdf(None, "pdflatex was not found")
    with tempfile.TemporaryDirectory(prefix="covop-tex-") as name:
        folder = Path(name)
        try:
            (folder / "figures").mkdir()
            for file, content in {"report.tex": text.encode(), **figures}.items():
                (folder / file).write_bytes(content)
            return _passes(program, folder, seconds)
        except OSError as error:
            return Pdf(None, f"pdflatex could not be run: {error.strerror or error}")
        except subprocess.TimeoutExpired:
            return Pdf(None, f"pdflatex took more than {seconds:g} seconds")


def _passes(program: str, folder: Path, seconds: float) -> Pdf:
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    # The date in the file, and what TeX may read and write, do not depend on who runs it.
    environment = {
        **os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "openout_any": "p", "openin_any": "p",
        "max_print_line": "1000",
    }  # fmt: skip
    # The first pass is for the table of contents, and makes no PDF.
    for options in (["-draftmode"], []):
        done = subprocess.run(  # noqa: S603
            [*command, *options, "report.tex"], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip
        if done.returncode:
            break
    log = folder / "report.log"
    said = log.read_bytes().decode(errors="replace") if log.exists() else done.stdout.decode(errors="replace")
    target = folder / "report.pdf"
    content = target.read_bytes() if target.exists() else b""
    if done.returncode or not content.startswith(b"%PDF"):
        return Pdf(None, f"pdflatex failed: {first_error(said, done.returncode)}", said)
    return Pdf(content, "", said)


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
