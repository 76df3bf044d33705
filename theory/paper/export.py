r"""Formulas of statement 6 as LaTeX that a paper can ``\input``, with a stable label, and the check for drift.

The symbols of a tree are written with macros of the paper's notation (`theory.latex.names`); a formula is one display
with the label ``eq:covop:<what>:<node>``. `drift` finds that label in a paper and compares. Source: statement 6
(arXiv 2010.00578).
"""

import re
from dataclasses import dataclass, replace

from hltm.base.checks import Node
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.core.notation import END, PREAMBLE
from theory.latex.names import expanded, macros, require_tex
from theory.latex.render import FORMS, browser_texts
from theory.paper.drift import Outcome, Status, compare
from theory.paper.forms import by_rules, of_network
from theory.paper.layout import WIDTHS, Layout, Row, arranged
from theory.paper.rows import separated, written_out
from theory.paper.scan import Paper
from theory.paper.source import Source
from theory.trees.symbols import TreeWeights, internal, tree_symbols

WHAT = ("activation", "operator")
KINDS = tuple(what + end for what in WHAT for end in ("", "-short", "-weights", "-weights-short"))
"""What stands in labels for the formulas that there are."""
# MathJax replaces no macro in front of more than 5,120 letters.
_BUFFER = 4_000
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")


@dataclass(frozen=True)
class Style:
    """How a formula is set: the width of a line in pt, by rules in short, the prefix of its label, None without one."""

    width: float = WIDTHS["article"]
    short: bool = False
    prefix: str | None = ""

    def __post_init__(self) -> None:
        if self.prefix and (not _PREFIX.fullmatch(self.prefix) or self.prefix in KINDS):
            raise InputError(
                f"label={self.prefix[:80]!r} of a formula: must be up to 64 letters, digits, dots and hyphens, the "
                f"first a letter or a digit, and not one of {', '.join(KINDS)}"
            )


def formula(
    tree: HLTM,
    node: Node,
    what: str = "activation",
    form: str = "equation",
    style: Style = Style(),
    network: TreeWeights | None = None,
) -> str:
    r"""A formula of statement 6 in the user's node names, of a network with given weights where there is one."""
    for name, value, allowed in (("what", what, WHAT), ("form", form, FORMS)):
        if value not in allowed:
            raise InputError(f"{name}={value!r} of formula: must be one of {', '.join(allowed)}")
    layout = arranged(formula_rows(tree, node, what, style, network), style.width)
    tag = "" if style.prefix is None else rf"\label{{{label(kind(what, style, network), node, tree, style.prefix)}}}"
    body = _display(layout, form, tag, browsers=style.prefix is None)
    if style.prefix is None:
        body = browser_texts(body if len(body) <= _BUFFER else expanded(body))
    if form != "standalone":
        return body
    return PREAMBLE.replace("\\begin{document}", macros() + "\\begin{document}") + body + END


def formula_rows(
    tree: HLTM, node: Node, what: str, style: Style = Style(), network: TreeWeights | None = None
) -> list[Row]:
    """The equations of the display of a node with children; what: "activation" or "operator"."""
    internal(tree, node, "formula")
    symbols = tree_symbols(tree)
    require_tex(symbols.texts, tree.nodes[1:] if network else (*tree.path(tree.root, node), *tree.children(node)))
    if network is not None:
        rows = of_network(symbols, network, node, what, style.short, style.width).rows
    else:
        rows = by_rules(symbols, node, what).rows if style.short else written_out(symbols, node, what, style.width)
    return separated(rows)


def _display(layout: Layout, form: str, tag: str, browsers: bool) -> str:
    """Lines as a display that breaks at the end of a page where it is tall; browsers have no pages."""
    breaks = layout.is_tall and not browsers
    if form == "align" or breaks:
        first, *rest = [line for block in layout.lines for line in block.split(" \\\\\n")]
        body = " \\\\\n".join([first + tag, *(rf"{line} \notag" for line in rest)])
        body = f"\\begin{{align}}\n{body}\n\\end{{align}}\n"
    else:
        inner = " \\\\\n".join(layout.lines)
        body = f"\\begin{{equation}}{tag}\n\\begin{{aligned}}\n{inner}\n\\end{{aligned}}\n\\end{{equation}}\n"
    declarations = layout.declarations + (r"\allowdisplaybreaks" if breaks else "")
    return f"{{{declarations}\n{body.rstrip()}\n}}\n" if declarations else body


def kind(what: str, style: Style, network: object | None = None) -> str:
    """What stands in a label for a formula: ``activation`` or ``operator``, then ``-weights`` and ``-short``."""
    return what + ("-weights" if network is not None else "") + ("-short" if style.short else "")


def label(what: str, node: Node, tree: HLTM | None = None, prefix: str = "") -> str:
    """The stable label of a formula: letters, digits and dots of the node's name, others as their code points.

    In a tree where another name reads the same, as the number 1 and the text "1", the type comes first. A prefix,
    for papers with several trees, stands before what the formula is of.
    """
    name = str(node)
    text = "".join(c if c.isascii() and (c.isalnum() or c == ".") else f"-{ord(c):x}-" for c in name)
    alike = tree is not None and sum(str(other) == name for other in tree.nodes) > 1
    first = f"{prefix}:" if prefix else ""
    return f"eq:covop:{first}{what}:{type(node).__name__ + ':' if alike else ''}{text}"


def drift(
    paper: str,
    tree: HLTM,
    node: Node,
    what: str = "activation",
    style: Style = Style(),
    network: TreeWeights | None = None,
) -> str | None:
    r"""Compare the formula in a paper with the derivation: None where they mean the same, else one line on how not.

    What changes the looks does not count. A macro of `MACROS` that the paper gives another meaning does. What cannot
    be read is said not to be decided. Files that the paper takes in are not followed.
    """
    tag = label(kind(what, style, network), node, tree, style.prefix or "")
    outcome = compared(Paper(Source().words(paper)), tag, tree, node, what, style, network)
    return None if outcome.status in (Status.unchanged, Status.looks) else outcome.line(tag)


def compared(
    paper: Paper, tag: str, tree: HLTM, node: Node, what: str, style: Style, network: TreeWeights | None
) -> Outcome:
    """What has become of a formula in a paper; a width for which it has other equations may be that of the paper."""
    seen: dict[str, Outcome] = {}
    for width in dict.fromkeys((style.width, *WIDTHS.values())):
        there = replace(style, width=width, prefix=style.prefix or "")
        equations = repr(formula_rows(tree, node, what, there, network))
        if equations not in seen:
            seen[equations] = compare(paper, tag, formula(tree, node, what, style=there, network=network))
        if seen[equations].status in (Status.unchanged, Status.looks):
            return seen[equations]
    return next(iter(seen.values()))
