"""Formulas as MathML, converted at build time: every browser sets it, without a script and without a network."""

from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from verify.report.html import ConversionError, mathml

LOGGER = logging.getLogger(__name__)


def converted(node: nodes.Element, display: bool) -> str:
    """The formula as a ``<math>`` element; one that cannot be converted is a warning, and so fails the build."""
    try:
        return mathml([node.astext()], display=display)
    except ConversionError as error:
        LOGGER.warning("formula %r: %s", node.astext()[:80], error, location=node)
        return f"<code>{escape(node.astext())}</code>"


def inline(translator: Any, node: nodes.math) -> None:
    """A formula in a line of text."""
    translator.body.append(converted(node, display=False))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """A display, with an anchor where it has a label."""
    anchors = "".join(f'<span id="{escape(name)}"></span>' for name in node.get("ids", ()))
    translator.body.append(f'<div class="math">{anchors}{converted(node, display=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
