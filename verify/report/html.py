"""The web page of a report: one file that needs no network and no script. Rendered from `verify.report.view`."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from verify.report.mathml import ConversionError, mathml, width

TEMPLATES = Path(__file__).parent / "templates"
SYMBOLS: Mapping[str, str] = MappingProxyType({"holds": "✓", "refuted": "✗", "abstained": "?", "not-run": "–"})
NEGATED: Mapping[str, str] = MappingProxyType({"=": "≠", ">": "≤", ">=": "<"})
VARIANT_WORDS: Mapping[str, str] = MappingProxyType(
    {"refuted": "refuted", "survived": "survives", "open": "left open", "not-run": "not run"}
)
# A false variant that is refuted is as it should be.
VARIANT_CLASS: Mapping[str, str] = MappingProxyType(
    {"refuted": "holds", "survived": "refuted", "open": "abstained", "not-run": "not-run"}
)
STEP_CLASS: Mapping[str, str] = MappingProxyType({"proved": "holds", "refuted": "refuted", "not decided": "abstained"})
# Letters beside each other, of at most an em and a quarter with their spaces, that fit a window of 320 pixels.
FITS = 12
_PROLOG = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<script.*?</script>", re.DOTALL)
_ID = re.compile(r"""(\bid=["']|\bhref=["']#|url\(["']?#)""")


def page(
    view: Mapping[str, Any],
    svgs: Mapping[str, bytes],
    *,
    pdf: bool,
    pdf_reason: str = "",
    shrunk: bool = False,
    document: str = "report.json",
) -> str:
    """The page.

    Parameters
    ----------
    view : mapping
        What `verify.report.view.view` gives.
    svgs : mapping
        Name of a figure to its drawing.
    pdf, pdf_reason
        Whether there is a report.pdf, and if not why.
    shrunk : bool
        Whether the counterexamples of the false variants were shrunk.
    document : str
        The name of the JSON document.
    """
    return environment().get_template("report.html.jinja").render(
        view=view, document=document, pdf=pdf, pdf_reason=pdf_reason.rstrip("."), shrunk_note=shrunk_note(shrunk),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704
        svgs={name: Markup(inlined(svg.decode(), f"figure-{name}-")) for name, svg in svgs.items()},  # noqa: S704
    ) + "\n"  # fmt: skip


def environment() -> jinja2.Environment:
    """Templates with everything escaped that is not made here."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    made.filters |= {
        "formula": formula, "wide": wide, "inline": inline, "figure": figure, "fact": fact, "path": quote,
    }  # fmt: skip
    made.globals |= {
        "symbols": SYMBOLS, "negated": NEGATED, "variant_words": VARIANT_WORDS, "variant_class": VARIANT_CLASS,
        "step_class": STEP_CLASS, "verdict_words": verdict_words,
    }  # fmt: skip
    return made


def formula(lines: Sequence[str]) -> Markup:
    r"""A formula in MathML; where that is not possible its LaTeX source, as it stands.

    Examples
    --------
    >>> formula([r"\nonsense{<b>}"])
    Markup('<code class="source">\\nonsense{&lt;b&gt;}</code>')
    """
    try:
        return Markup(mathml(lines))  # noqa: S704
    except ConversionError:
        return Markup('<code class="source">{}</code>').format("\n".join(lines))


def wide(made: Markup) -> bool:
    r"""Whether a formula may have to be scrolled, for which it must be within reach of the keyboard.

    Examples
    --------
    >>> wide(formula(["a = b"])), wide(formula(["a + " * FITS + "a"])), wide(formula([r"\nonsense"]))
    (False, True, False)
    """
    return made.startswith("<math") and width(ET.fromstring(made)) > FITS  # noqa: S314


def inline(tex: str) -> Markup:
    r"""A symbol in a line of text, in MathML.

    Examples
    --------
    >>> inline("x < 1")
    Markup('<math display="inline"><mrow><mi>x</mi><mo>&lt;</mo><mn>1</mn></mrow></math>')
    """
    return Markup(mathml([tex], display=False))  # noqa: S704


def figure(value: float | str | None) -> str:
    """A number of the evidence table.

    Examples
    --------
    >>> figure(0.00012), figure(0.0), figure(None), figure("nan")
    ('1.2e-04', '0', 'none', 'nan')
    """
    if value is None or isinstance(value, str):
        return value or "none"
    return f"{value:.1e}" if value else "0"


def fact(value: float | int | str) -> str:
    """A number that is stated beside a drawing, with digits enough for an interval of an order.

    Examples
    --------
    >>> fact(8.326672684688674e-17), fact(1.99986), fact(3), fact("x")
    ('8.32667e-17', '1.99986', '3', 'x')
    """
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def shrunk_note(shrunk: bool) -> str:
    """What is said of the counterexamples of false variants."""
    return "Counterexamples are " + ("shrunk." if shrunk else "as found, not shrunk (--variants shrinks them).")


def verdict_words(statement: Mapping[str, Any]) -> str:
    """The verdict of a statement in words."""
    if statement["interrupted"] and statement["verdict"] != "refuted":
        return "not complete"
    return {"holds": "holds", "refuted": "refuted", "abstained": "left open"}[statement["verdict"]]


def inlined(svg: str, prefix: str) -> str:
    """A drawing as part of a page: without prolog, its identifiers apart from those of other drawings.

    Examples
    --------
    >>> inlined('<?xml version="1.0"?><svg><path id="a"/><use href="#a"/></svg>', "f-")
    '<svg><path id="f-a"/><use href="#f-a"/></svg>'
    """
    return _ID.sub(lambda found: found[1] + str(escape(prefix)), _PROLOG.sub("", svg)).strip()
