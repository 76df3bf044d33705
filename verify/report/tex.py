r"""The LaTeX of a report, for pdflatex with packages that every TeX has. Rendered from `verify.report.view`.

No text may break a run of TeX or leave its line: what LaTeX reads as a command is escaped, characters that its fonts
lack are named by their code, long words may be parted, and formulas that are wider than a line are shrunk to it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import jinja2

from theory.core.notation import plain
from verify.report.html import NEGATED, TEMPLATES, VARIANT_WORDS, fact, figure, shrunk_note, verdict_words
from verify.report.mathml import ConversionError, cells, mathml

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
# Longer pieces without a space may be parted anywhere.
_LONG = 18
_GAP = r"\hspace{0pt}"


def tex(text: object) -> str:
    r"""Any text as LaTeX that sets it: nothing in it is a command, and no word is wider than a line.

    Examples
    --------
    >>> print(tex("50% of $x_1$ & \\foo é λ 漢"))
    50\% of \$x\_1\$ \& \textbackslash{}foo \'{e} \ensuremath{\lambda} [U+6F22]
    """
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
        return plain(c)
    base, *marks = list(unicodedata.normalize("NFD", c))
    if len(marks) == 1 and marks[0] in _ACCENTS and base.isascii() and base.isalpha():
        return rf"\{_ACCENTS[marks[0]]}{{{base}}}"
    return f"[U+{ord(c):04X}]"


def code(text: object) -> str:
    r"""A text in typewriter letters, which may be parted at every sign.

    Examples
    --------
    >>> print(code("a --b"))
    \texttt{a -\hspace{0pt}-\hspace{0pt}b}
    """
    parts = [_character(c) + ("" if c.isalnum() or c == " " else _GAP) for c in str(text)]
    long = any(len(word) > 2 * _LONG for word in re.findall(r"\w+", str(text)))
    inner = _GAP.join(map(_character, str(text))) if long else "".join(parts)
    return rf"\texttt{{{inner}}}"


def formula(lines: Sequence[str]) -> str:
    r"""A formula, line by line; each is shrunk where it is wider than the page.

    Examples
    --------
    >>> print(formula(["a &= b"]))
    \formulaline{a = b}
    """
    return "\n".join(rf"\formulaline{{{' '.join(cell for cell in row if cell)}}}" for row in cells(lines))


def source(lines: Sequence[str]) -> str:
    """A formula as its LaTeX source."""
    return r"\par ".join(code(line) for line in lines)


def claim(statement: Mapping[str, Any], *, as_source: Collection[str] = ()) -> str:
    """The formula of a statement; one of a user's own that cannot be set is shown as its source."""
    lines = statement["claim"]
    try:
        mathml(lines)
    except ConversionError:
        return source(lines)
    return source(lines) if statement["slug"] in as_source else formula(lines)


def culprit(view: Mapping[str, Any], text: str, log: str) -> str | None:
    """The slug of the user's own statement in whose section TeX met its first error, by the line that the log names."""
    found = re.search(r"^l\.(\d+)", log, re.MULTILINE)
    if found is None:
        return None
    before = text.split("\n")[: int(found[1])]
    number = sum(line.startswith("\\section{") for line in before) - 1
    if not 0 <= number < len(view["statements"]) or view["statements"][number]["theorem"] is not None:
        return None
    return str(view["statements"][number]["slug"])


def document(view: Mapping[str, Any], *, shrunk: bool = False, as_source: Collection[str] = ()) -> str:
    """The document.

    Parameters
    ----------
    view : mapping
        What `verify.report.view.view` gives.
    shrunk : bool
        Whether the counterexamples of the false variants were shrunk.
    as_source : collection of str
        Slugs of statements whose formula is shown as its source, since TeX cannot set it.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, autoescape=False,  # noqa: S701
        block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>",
        comment_start_string="<#", comment_end_string="#>",
    )  # fmt: skip
    made.filters |= {"tex": tex, "code": code, "formula": formula, "figure": figure, "fact": fact}
    made.filters["claim"] = partial(claim, as_source=as_source)
    made.globals |= {"negated": NEGATED, "variant_words": VARIANT_WORDS, "verdict_words": verdict_words}
    text = made.get_template("report.tex.jinja").render(view=view, shrunk_note=shrunk_note(shrunk))
    return text + "\n"
