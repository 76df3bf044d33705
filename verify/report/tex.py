r"""The LaTeX of a report, rendered from `verify.report.view`, and its PDF.

No text may break TeX or leave its line: what LaTeX reads as a command is escaped, characters that its fonts lack are
named by their code, long words may be broken, and formulas that are wider than a line are shrunk to it.
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
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import Any

import jinja2

from verify.report.html import (
    NEGATED,
    TEMPLATES,
    VARIANT_WORDS,
    ConversionError,
    cells,
    fact,
    figure,
    mathml,
    shrunk_note,
    verdict_words,
)

_ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0308\u0304\u0307\u030a\u0327\u030c", "`'^~\"=.rcv", strict=True))
_SYMBOLS = {
    "×": r"\times", "·": r"\cdot", "±": r"\pm", "≤": r"\leq", "≥": r"\geq", "≠": r"\neq", "≈": r"\approx",
    "∞": r"\infty", "→": r"\to", "⇒": r"\Rightarrow", "∈": r"\in", "∑": r"\sum", "∏": r"\prod", "√": r"\surd",
    "∂": r"\partial", "∇": r"\nabla", "⊗": r"\otimes", "−": "-", "∘": r"\circ", "°": r"^{\circ}", "²": "^{2}",
    "³": "^{3}", "¹": "^{1}", "⊤": r"\top", "ᵀ": r"^{\top}", "‖": r"\|", "ℝ": r"\mathbb{R}", "½": r"\tfrac12",
    "µ": r"\mu", "ϕ": r"\phi", "Γ": r"\Gamma", "Δ": r"\Delta", "Θ": r"\Theta", "Λ": r"\Lambda", "Ξ": r"\Xi",
    "Π": r"\Pi", "Σ": r"\Sigma", "Φ": r"\Phi", "Ψ": r"\Psi", "Ω": r"\Omega", "α": r"\alpha", "β": r"\beta",
    "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "ζ": r"\zeta", "η": r"\eta", "θ": r"\theta", "ι": r"\iota",
    "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "ξ": r"\xi", "ο": "o", "π": r"\pi", "ρ": r"\rho",
    "ς": r"\varsigma", "σ": r"\sigma", "τ": r"\tau", "υ": r"\upsilon", "φ": r"\varphi", "χ": r"\chi", "ψ": r"\psi",
    "ω": r"\omega",
}  # fmt: skip
_TEXT = {
    "–": "--", "—": "---", "…": r"\ldots{}", "‘": "`", "’": "'", "“": "``", "”": "''", "„": ",,", "ß": r"\ss{}",
    "ø": r"\o{}", "Ø": r"\O{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "ł": r"\l{}", "Ł": r"\L{}",
    "ı": r"\i{}", "\xa0": "~", "§": r"\S{}", "✓": "yes", "✗": "no",
}  # fmt: skip
NAMED: Mapping[str, str] = MappingProxyType({**{c: rf"\ensuremath{{{tex}}}" for c, tex in _SYMBOLS.items()}, **_TEXT})
# Longer words may be broken anywhere.
_LONG = 18
_GAP = r"\hspace{0pt}"


def tex(text: object) -> str:
    r"""Escape any text for LaTeX; long words may be broken."""
    return "".join(_word(piece) for piece in re.split(r"(\s+)", str(text)))


def _word(piece: str) -> str:
    if not piece or piece.isspace():
        return " " if piece else ""
    if len(piece) > _LONG:
        return _GAP.join(map(_character, piece))
    return "".join(map(_character, piece)).replace("--", "-{}-")


def _character(c: str) -> str:
    if c in NAMED:
        return NAMED[c]
    if " " <= c <= "~":
        from theory.core.notation import plain  # loads SymPy, which a run without a report does not need

        return plain(c)
    base, *marks = list(unicodedata.normalize("NFD", c))
    if len(marks) == 1 and marks[0] in _ACCENTS and base.isascii() and base.isalpha():
        return rf"\{_ACCENTS[marks[0]]}{{{base}}}"
    return f"[U+{ord(c):04X}]"


def code(text: object) -> str:
    r"""Text in typewriter letters, which may be broken at every sign."""
    parts = [_character(c) + ("" if c.isalnum() or c == " " else _GAP) for c in str(text)]
    long = any(len(word) > 2 * _LONG for word in re.findall(r"\w+", str(text)))
    inner = _GAP.join(map(_character, str(text))) if long else "".join(parts)
    return rf"\texttt{{{inner}}}"


def formula(lines: Sequence[str]) -> str:
    r"""A formula, line by line; each is shrunk where it is wider than the page."""
    return "\n".join(rf"\formulaline{{{' '.join(cell for cell in row if cell)}}}" for row in cells(lines))


def source(lines: Sequence[str]) -> str:
    return r"\par ".join(code(line) for line in lines)


def claim(statement: Mapping[str, Any], *, as_source: Collection[str] = ()) -> str:
    """The formula of a statement, or its source where TeX cannot set it."""
    lines = statement["claim"]
    try:
        mathml(lines)
    except ConversionError:
        return source(lines)
    return source(lines) if statement["slug"] in as_source else formula(lines)


def failing_statement(view: Mapping[str, Any], text: str, log: str) -> str | None:
    """The slug of the user's own statement in whose section TeX met its first error."""
    line = re.search(r"^l\.(\d+)", log, re.MULTILINE)
    if line is None:
        return None
    before = text.split("\n")[: int(line[1])]
    number = sum(each.startswith("\\section{") for each in before) - 1
    if not 0 <= number < len(view["statements"]) or view["statements"][number]["theorem"] is not None:
        return None
    return str(view["statements"][number]["slug"])


def document(view: Mapping[str, Any], *, shrunk: bool = False, as_source: Collection[str] = ()) -> str:
    """Render the document; statements in `as_source` show their formula as LaTeX source."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, autoescape=False,  # noqa: S701
        block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>",
        comment_start_string="<#", comment_end_string="#>",
    )  # fmt: skip
    environment.filters |= {"tex": tex, "code": code, "formula": formula, "figure": figure, "fact": fact}
    environment.filters["claim"] = partial(claim, as_source=as_source)
    environment.globals |= {"negated": NEGATED, "variant_words": VARIANT_WORDS, "verdict_words": verdict_words}
    text = environment.get_template("report.tex.jinja").render(view=view, shrunk_note=shrunk_note(shrunk))
    return text + "\n"


# pdflatex, in a folder of its own, with a time limit and without a shell.

SECONDS = 60.0
SHOWN = 160
# Seconds between looks at the event that stops pdflatex.
POLL = 0.1


@dataclass(frozen=True)
class Pdf:
    """A PDF, or the reason why there is none, and TeX's log."""

    content: bytes | None
    reason: str = ""
    log: str = ""


class _StoppedError(Exception):
    """The event was set."""


def run_pdflatex(text: str, figures: Mapping[str, bytes], seconds: float = SECONDS, stop: Event | None = None) -> Pdf:
    program = shutil.which("pdflatex")
    if program is None:
        return Pdf(None, "pdflatex was not found")
    stop, limit = stop or Event(), time.monotonic() + seconds
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "report.tex"]
    try:
        with tempfile.TemporaryDirectory(prefix="covop-tex-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            (folder / "figures").mkdir()
            for file, content in {"report.tex": text.encode(), **figures}.items():
                (folder / file).write_bytes(content)
            # The first pass is for the table of contents, and makes no PDF.
            exit_code = _pass([*command[:-1], "-draftmode", command[-1]], folder, limit, stop)
            exit_code = exit_code or _pass(command, folder, limit, stop)
            written = {path.suffix: path.read_bytes() for path in folder.glob("report.*")}
    except OSError as error:
        where = tempfile.tempdir or "a temporary folder"
        return Pdf(None, f"pdflatex could not be run in {where}: {error.strerror or error}")
    except subprocess.TimeoutExpired:
        return Pdf(None, f"pdflatex took more than {seconds:.3g} seconds")
    except _StoppedError:
        return Pdf(None, "interrupted")
    log = written.get(".log", b"").decode(errors="replace")
    if exit_code or not written.get(".pdf", b"").startswith(b"%PDF"):
        return Pdf(None, f"pdflatex failed: {first_error(log, exit_code)}", log)
    return Pdf(written[".pdf"], "", log)


def _pass(command: list[str], folder: Path, limit: float, stop: Event) -> int:
    """Run one pass and return its exit code; no process that it started outlives it."""
    # The date in the file, and what TeX may read and write, do not depend on the user's settings.
    environment = {
        **os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "openout_any": "p", "openin_any": "p",
        "max_print_line": "1000",
    }  # fmt: skip
    process = subprocess.Popen(  # noqa: S603
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        while not stop.is_set():
            left = limit - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(command, 0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(min(POLL, left))
        raise _StoppedError
    finally:
        # pdflatex may be a script: its whole session is ended.
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def first_error(log: str, code: int) -> str:
    """The first error of a log, in one line."""
    error = re.search(r"^! (.*?)$(?:.*?^(l\.\d+.*?)$)?", log, re.MULTILINE | re.DOTALL)
    if not error:
        return f"exit code {code}"
    return " ".join(f"{error[1]} {error[2] or ''}".split())[:SHOWN]
