"""The web page of a report: one file without scripts that needs no network.

It is rendered from `verify.report.view`. LaTeX formulas become presentation MathML, which browsers render themselves.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from theory.latex.names import expanded

ELEMENTS = frozenset(
    {"math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "msub", "msup", "msubsup", "munder", "mover", "munderover",
     "mfrac", "msqrt", "mroot", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom"}
)  # fmt: skip
ATTRIBUTES = frozenset(
    {"display", "stretchy", "fence", "form", "minsize", "maxsize", "separator", "accent", "accentunder", "width",
     "height", "depth", "linethickness", "lspace", "rspace", "mathvariant", "displaystyle", "scriptlevel", "symmetric",
     "largeop", "movablelimits"}
)  # fmt: skip
_ENTITY = re.compile(r"&#x[0-9A-Fa-f]+;")
_PART = re.compile(r"\\(?:begin|end)(?![A-Za-z])|\\[A-Za-z]+|\\.|[&{}]", re.DOTALL)
_DISPLAY = re.compile(
    r"\\begin\{(?P<name>aligned|align\*?|gathered|gather\*?|split|equation\*?)\}(?P<body>.*)\\end\{(?P=name)\}\Z",
    re.DOTALL,
)
_OPEN = re.compile(r"\\.|[{}%]", re.DOTALL)
_BARE = re.compile(r"\$\$?(?P<dollar>.*?)\$\$?\Z|\\\[(?P<bracket>.*)\\\]\Z", re.DOTALL)


class ConversionError(ValueError):
    """A formula that cannot be written in MathML."""


def mathml(lines: Sequence[str], *, display: bool = True) -> str:
    r"""A formula of one or more lines as a ``<math>`` element."""
    rows = cells(lines)
    if not rows:
        raise ConversionError("the formula is empty")
    math = ET.Element("math", {"display": "block" if display else "inline"})
    if len(rows) == 1:
        math.append(_converted(" ".join(rows[0])))
        return _text(math)
    table = ET.SubElement(math, "mtable", {"class": "rows", "displaystyle": "true"})
    for row in rows:
        line_element = ET.SubElement(table, "mtr")
        for cell in row:
            ET.SubElement(line_element, "mtd").append(_converted(cell))
    return _text(math)


def cells(lines: Sequence[str]) -> list[list[str]]:
    r"""The rows of a display, each split at its columns; empty rows are left out."""
    rows = [
        [cell.strip() for cell in split_outside(row, "&")]
        for line in lines
        for row in split_outside(_inner(line), r"\\")
    ]
    return [row for row in rows if any(row)]


def split_outside(text: str, separator: str) -> list[str]:
    r"""Split LaTeX at a separator outside of groups and environments."""
    pieces, depth, start = [], 0, 0
    for result in _PART.finditer(text):
        word = result[0]
        depth += (word in ("{", r"\begin")) - (word in ("}", r"\end"))
        if word == separator and depth == 0:
            pieces.append(text[start : result.start()])
            start = result.end()
    return [*pieces, text[start:]]


def _inner(text: str) -> str:
    """A formula without its display environment, its macros expanded."""
    text = expanded(text).strip()
    if result := _BARE.match(text):
        text = (result["dollar"] or result["bracket"] or "").strip()
    result = _DISPLAY.match(text)
    return result["body"] if result else text


@lru_cache(maxsize=4096)
def _converted(tex: str) -> ET.Element:
    """Convert one cell; cached, since derivations repeat their cells."""
    from latex2mathml.converter import convert_to_element

    if not tex:
        return ET.Element("mrow")
    _complete(tex)
    try:
        element = convert_to_element(tex)
    except Exception as error:  # the converter has errors of many kinds for formulas that are not complete
        raise ConversionError(f"{type(error).__name__} in {tex[:60]!r}") from error
    row = element[0] if len(element) == 1 and element[0].tag == "mrow" else element
    row.tag = "mrow"
    for part in row.iter():
        _clean(part)
    return row


def _complete(tex: str) -> None:
    """Refuse unbalanced braces and comments, which the converter accepts."""
    depth = 0
    for result in _OPEN.finditer(tex):
        if result[0] == "%":
            raise ConversionError(f"a comment in {tex[:60]!r}")
        depth += {"{": 1, "}": -1}.get(result[0], 0)
        if depth < 0:
            break
    if depth:
        raise ConversionError(f"unbalanced braces in {tex[:60]!r}")


def width(math: ET.Element) -> int:
    """The width of a formula in letters, scripts included."""
    inner = [width(part) for part in math]
    if math.tag in ("mtable", "mfrac", "munder", "mover", "munderover"):
        return max(inner, default=0)
    return len((math.text or "").strip()) + sum(inner)


def _clean(part: ET.Element) -> None:
    """Reduce an element to the known parts of MathML; its text is text, never markup."""
    if part.tag not in ELEMENTS:
        raise ConversionError(f"element {part.tag!r:.40} is not known")
    for name in [name for name in part.attrib if name not in ATTRIBUTES]:
        del part.attrib[name]
    if part.text:
        part.text = _ENTITY.sub(lambda match: html.unescape(match[0]), part.text)
        if part.text.startswith("\\") or (part.tag == "mi" and part.text in ("&", "{", "}", "$")):
            raise ConversionError(f"{part.text[:40]!r} is not known")


def _text(math: ET.Element) -> str:
    return ET.tostring(math, encoding="unicode", short_empty_elements=False)


TEMPLATES = Path(__file__).parent / "templates"
SYMBOLS: Mapping[str, str] = MappingProxyType({"holds": "✓", "refuted": "✗", "abstained": "?", "not-run": "–"})
NEGATED: Mapping[str, str] = MappingProxyType({"=": "≠", ">": "≤", ">=": "<"})
VARIANT_WORDS: Mapping[str, str] = MappingProxyType(
    {"refuted": "refuted", "survived": "survives", "open": "left open", "not-run": "not run"}
)
# A mutant that is refuted is as it should be.
VARIANT_CLASS: Mapping[str, str] = MappingProxyType(
    {"refuted": "holds", "survived": "abstained", "open": "abstained", "not-run": "not-run"}
)
STEP_CLASS: Mapping[str, str] = MappingProxyType({"proved": "holds", "refuted": "refuted", "not decided": "abstained"})
# Letters beside each other, of at most an em and a quarter with their spaces, that fit a window of 320 pixels.
FITS = 12
_PROLOG = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<script.*?</script>", re.DOTALL)


def page(
    view: Mapping[str, Any],
    svgs: Mapping[str, bytes],
    *,
    pdf_reason: str = "",
    shrunk: bool = False,
    document: str = "report.json",
) -> str:
    """Render the page; `pdf_reason` says why there is no PDF."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "formula": formula, "wide": wide, "inline": inline, "figure": figure, "fact": fact, "path": quote,
    }  # fmt: skip
    environment.globals |= {
        "symbols": SYMBOLS, "negated": NEGATED, "variant_words": VARIANT_WORDS, "variant_class": VARIANT_CLASS,
        "step_class": STEP_CLASS, "verdict_words": verdict_words,
    }  # fmt: skip
    return environment.get_template("report.html.jinja").render(
        view=view, document=document, pdf_reason=pdf_reason.rstrip("."), shrunk_note=shrunk_note(shrunk),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704
        svgs={name: Markup(_PROLOG.sub("", svg.decode()).strip()) for name, svg in svgs.items()},  # noqa: S704
    ) + "\n"  # fmt: skip


def formula(lines: Sequence[str]) -> Markup:
    r"""A formula in MathML; where that is not possible its LaTeX source, as it stands."""
    try:
        return Markup(mathml(lines))  # noqa: S704
    except ConversionError:
        return Markup('<code class="source">{}</code>').format("\n".join(lines))


def wide(shown: Markup) -> bool:
    """Whether a formula may have to be scrolled, so that the keyboard must reach it."""
    return shown.startswith("<math") and width(ET.fromstring(shown)) > FITS  # noqa: S314


def inline(tex: str) -> Markup:
    """A symbol in a line of text, in MathML."""
    return Markup(mathml([tex], display=False))  # noqa: S704


def figure(value: float | str | None) -> str:
    """A number of the evidence table."""
    if value is None or isinstance(value, str):
        return value or "none"
    return f"{value:.1e}" if value else "0"


def fact(value: float | int | str) -> str:
    """A number that is stated beside a drawing."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def shrunk_note(shrunk: bool) -> str:
    """The sentence on the counterexamples of mutants."""
    return "Counterexamples are " + ("shrunk." if shrunk else "as found, not shrunk (--variants shrinks them).")


def verdict_words(statement: Mapping[str, Any]) -> str:
    if statement["interrupted"] and statement["verdict"] != "refuted":
        return "not complete"
    return {"holds": "holds", "refuted": "refuted", "abstained": "left open"}[statement["verdict"]]
