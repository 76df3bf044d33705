r"""LaTeX formulas as presentation MathML, which a browser sets without help and without a script.

latex2mathml converts; here displays are split into rows and columns (it knows no ``aligned``), and the result is
reduced to elements and attributes of MathML, whatever a formula of a user's says. What cannot be converted is an
error: a formula is never shown with a command left in it.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import lru_cache

from theory.macros import expanded

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
    r"""A formula of one or more lines as a ``<math>`` element.

    Parameters
    ----------
    lines : sequence of str
        Rows of a display, columns parted by ``&`` (`theory.latex.render.rows`), or the whole formula as one text.
    display : bool
        A display, or part of a line of text.

    Errors
    ------
    ConversionError
        Where a command or an environment is not known, or the formula is not complete.

    Examples
    --------
    >>> mathml(["x < 1"], display=False)
    '<math display="inline"><mrow><mi>x</mi><mo>&lt;</mo><mn>1</mn></mrow></math>'
    >>> mathml([r"\nonsense"])
    Traceback (most recent call last):
    verify.report.mathml.ConversionError: '\\nonsense' is not known
    """
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
    r"""The rows of a display, each parted at its columns; empty rows are left out.

    Examples
    --------
    >>> cells([r"\begin{aligned}a &= b \\\\ &\quad + c\end{aligned}"])
    [['a', '= b'], ['', '\\quad + c']]
    """
    rows = [[cell.strip() for cell in parted(row, "&")] for line in lines for row in parted(_inner(line), r"\\")]
    return [row for row in rows if any(row)]


def parted(text: str, separator: str) -> list[str]:
    r"""A LaTeX text parted at a separator that stands in no group and in no environment.

    Examples
    --------
    >>> parted(r"a &= \begin{matrix}1 & 2\end{matrix}", "&")
    ['a ', '= \\begin{matrix}1 & 2\\end{matrix}']
    """
    pieces, depth, start = [], 0, 0
    for found in _PART.finditer(text):
        word = found[0]
        depth += (word in ("{", r"\begin")) - (word in ("}", r"\end"))
        if word == separator and depth == 0:
            pieces.append(text[start : found.start()])
            start = found.end()
    return [*pieces, text[start:]]


def _inner(text: str) -> str:
    """A formula without what makes it a display, its macros written out."""
    text = expanded(text).strip()
    if found := _BARE.match(text):
        text = (found["dollar"] or found["bracket"] or "").strip()
    found = _DISPLAY.match(text)
    return found["body"] if found else text


@lru_cache(maxsize=4096)
def _converted(tex: str) -> ET.Element:
    """One cell; derivations have the same one again and again, and nobody changes what is found here."""
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
    """Refuse what the converter reads and TeX does not: braces without partners, and comments, which hide some."""
    depth = 0
    for found in _OPEN.finditer(tex):
        if found[0] == "%":
            raise ConversionError(f"a comment in {tex[:60]!r}")
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth < 0:
            break
    if depth:
        raise ConversionError(f"unbalanced braces in {tex[:60]!r}")


def width(math: ET.Element) -> int:
    r"""How many letters stand beside each other in a formula, at most; those of scripts count as much.

    Examples
    --------
    >>> width(ET.fromstring(mathml([r"\frac{a + b}{c}", "= 1"])))
    3
    """
    inner = [width(part) for part in math]
    if math.tag in ("mtable", "mfrac", "munder", "mover", "munderover"):
        return max(inner, default=0)
    return len((math.text or "").strip()) + sum(inner)


def _clean(part: ET.Element) -> None:
    """Reduce an element to what MathML has; its text is text, never markup."""
    if part.tag not in ELEMENTS:
        raise ConversionError(f"element {part.tag!r:.40} is not known")
    for name in [name for name in part.attrib if name not in ATTRIBUTES]:
        del part.attrib[name]
    if part.text:
        part.text = _ENTITY.sub(lambda found: html.unescape(found[0]), part.text)
        if part.text.startswith("\\") or (part.tag == "mi" and part.text in ("&", "{", "}", "$")):
            raise ConversionError(f"{part.text[:40]!r} is not known")


def _text(math: ET.Element) -> str:
    return ET.tostring(math, encoding="unicode", short_empty_elements=False)
