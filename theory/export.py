r"""Formulas of statement 6 as LaTeX that a paper can ``\input``, with a stable label, and the check for drift.

The symbols of a tree are written with macros of the paper's notation, one ``\newcommand`` each (`macros`); a formula
is one display with the label ``eq:covop:<what>:<node>``. `drift` finds that label in a paper and compares. Source:
statement 6 (arXiv 2010.00578).
"""

import re
from collections.abc import Sequence

import sympy

from hltm.checks import Node
from hltm.errors import InputError
from hltm.tree import HLTM
from theory.latent import gap_vector, is_binary_at
from theory.latex import broken
from theory.notation import END, PREAMBLE
from theory.tree_symbols import internal, path_below, tree_symbols

WHAT = ("activation", "operator")
FORMS = ("equation", "align", "standalone")
# Entries of a vector or factors of a product in one line; with the macros expanded, 18 cm hold about twice as many.
_ENTRIES = 5

MACROS = {
    "rootpolarity": (0, r"\rho_{0}"),
    "polarity": (2, r"\rho_{#1,#2}"),
    "selectivity": (1, r"s_{#1}"),
    "latentmean": (1, r"e_{#1}"),
    "transition": (2, r"T_{#1;#2}"),
    "rootprior": (1, r"\pi_{#1}"),
    "offset": (2, r"m_{#1,#2}"),
    "strength": (1, r"o_{#1}"),
    "gap": (1, r"a_{#1}"),
    "activationcov": (1, r"\mathbb{V}_{z_0}\bigl[\mathbb{E}[f_{\mathcal{N}^{\mathrm{ch}}_{#1}} \mid z_0]\bigr]"),
    "operatorof": (1, r"\mathrm{OP}_{#1}"),
    "jacobian": (1, r"J_{#1}"),
    "transitionmatrix": (2, r"T_{#1,#2}"),
    "means": (1, r"v_{#1}"),
}
"""Name, number of arguments and meaning of every macro; each is used with the prefix ``covop``."""

_SUBSCRIPT = r"((?:[^{}]|\{[^{}]*\})*?)"
_TO_MACROS = [
    (re.compile(r"\\rho_\{0\}"), r"\\covoprootpolarity{}"),
    (re.compile(rf"\\rho_\{{{_SUBSCRIPT},{_SUBSCRIPT}\}}"), r"\\covoppolarity{\1}{\2}"),
    (re.compile(rf"(?<![A-Za-z])m_\{{{_SUBSCRIPT},{_SUBSCRIPT}\}}"), r"\\covopoffset{\1}{\2}"),
    (re.compile(rf"(?<![A-Za-z])T_\{{{_SUBSCRIPT};{_SUBSCRIPT}\}}"), r"\\covoptransition{\1}{\2}"),
    (re.compile(rf"(?<![A-Za-z])s_\{{{_SUBSCRIPT}\}}"), r"\\covopselectivity{\1}"),
    (re.compile(rf"(?<![A-Za-z])e_\{{{_SUBSCRIPT}\}}"), r"\\covoplatentmean{\1}"),
    (re.compile(rf"\\pi_\{{{_SUBSCRIPT}\}}"), r"\\covoprootprior{\1}"),
]


def macros() -> str:
    r"""The preamble that a paper needs: one ``\newcommand`` for each macro, and nothing else.

    Examples
    --------
    >>> print(macros().splitlines()[1])
    \newcommand{\covoppolarity}[2]{\rho_{#1,#2}}
    """
    lines = []
    for name, (count, meaning) in MACROS.items():
        arguments = f"[{count}]" if count else ""
        lines.append(rf"\newcommand{{\covop{name}}}{arguments}{{{meaning}}}")
    return "\n".join(lines) + "\n"


def expanded(text: str) -> str:
    r"""The text with every macro of `MACROS` written out, for a reader (or a parser) that does not have them.

    Examples
    --------
    >>> expanded(r"\covoppolarity{a}{b}^{2} \covoprootpolarity{}")
    '\\rho_{a,b}^{2} \\rho_{0}'
    """
    for name, (count, meaning) in MACROS.items():
        pattern = rf"\\covop{name}" + (rf"\{{{_SUBSCRIPT}\}}" * count if count else r"\{\}")

        def written(match: re.Match[str], meaning: str = meaning) -> str:
            for index, value in enumerate(match.groups(), start=1):
                meaning = meaning.replace(f"#{index}", value)
            return meaning

        text = re.sub(pattern, written, text)
    return text


def tex(expression: sympy.Expr) -> list[str]:
    """LaTeX lines of an expression, with macros; broken at the terms of a sum where it is long."""
    lines = broken(expression)
    for pattern, macro in _TO_MACROS:
        lines = [pattern.sub(macro, line) for line in lines]
    return lines


def label(what: str, node: Node) -> str:
    """The stable label of a formula: letters, digits and dots of the node's name, others as their code points.

    Examples
    --------
    >>> label("activation", "z_1")
    'eq:covop:activation:z-5f-1'
    """
    text = "".join(c if c.isascii() and (c.isalnum() or c == ".") else f"-{ord(c):x}-" for c in str(node))
    return f"eq:covop:{what}:{text}"


def formula(tree: HLTM, node: Node, what: str = "activation", form: str = "equation") -> str:
    r"""A formula of statement 6 in the user's node names.

    Parameters
    ----------
    tree
        Any tree.
    node
        A node with children.
    what
        "activation": ``V_{z_0}[E[f | z_0]] = o a a^T`` with o and a written out; where a node is not binary,
        ``M^T (diag pi - pi pi^T) M`` with the tables along the path written out. "operator": of linear neurons,
        ``OP = o a a^T kron J^T J``.
    form
        "equation", "align" (each line numbered apart), "standalone" (a document that compiles).

    Returns
    -------
    str
        LaTeX; the first two forms need the `macros` in the preamble.

    Raises
    ------
    InputError
        An unknown node, a leaf, an unknown form or formula.

    Source
    ------
    Statement 6 (arXiv 2010.00578).

    Examples
    --------
    >>> import hltm
    >>> print(formula(hltm.star_tree(2, polarity=0.5), 0), end="")
    \begin{equation}\label{eq:covop:activation:0}
    \begin{aligned}
    \covopactivationcov{0} &= \covopstrength{0} \covopgap{0} \covopgap{0}^{\top}, \\
    \covopstrength{0} &= 1 - \covoprootpolarity{}^{2}, \\
    \covopgap{0} &= \bigl(\tfrac{1}{2} \covoppolarity{0}{1}, \tfrac{1}{2} \covoppolarity{0}{2}\bigr)^{\top}
    \end{aligned}
    \end{equation}
    """
    for name, value, allowed in (("what", what, WHAT), ("form", form, FORMS)):
        if value not in allowed:
            raise InputError(f"{name}={value!r} of formula: must be one of {', '.join(allowed)}")
    internal(tree, node, "formula")
    lines = _binary(tree, node, what) if is_binary_at(tree, node) else _matrices(tree, node, what)
    tag = rf"\label{{{label(what, node)}}}"
    if form == "align":
        return f"\\begin{{align}}\n{_joined(lines, tag)}\n\\end{{align}}\n"
    body = f"\\begin{{equation}}{tag}\n\\begin{{aligned}}\n{_joined(lines)}\n\\end{{aligned}}\n\\end{{equation}}\n"
    if form == "equation":
        return body
    return PREAMBLE.replace("\\begin{document}", macros() + "\\begin{document}") + body + END


def _joined(lines: Sequence[str], tag: str = "") -> str:
    """Lines of a display; those that a line break starts have no number of their own."""
    if not tag:
        return " \\\\\n".join(lines)
    first, rest = lines[0], lines[1:]
    return " \\\\\n".join([first + tag, *(f"{line} \\notag" for line in rest)])


def _head(what: str, name: str, right: str) -> str:
    if what == "activation":
        return rf"\covopactivationcov{{{name}}} &= {right}"
    return rf"\covopoperatorof{{{name}}} &= {right} \otimes \covopjacobian{{{name}}}^{{\top}} \covopjacobian{{{name}}}"


def _binary(tree: HLTM, node: Node, what: str) -> list[str]:
    symbols = tree_symbols(tree)
    name = symbols.texts[node]
    square = rf"\covopstrength{{{name}}} \covopgap{{{name}}} \covopgap{{{name}}}^{{\top}}"
    polarities = [rf"{tex(symbols.polarity(child))[0]}^{{2}}" for child in path_below(tree, node)]
    root = tex(1 - symbols.root_polarity**2)[0]
    factors = [rf"\bigl({root}\bigr)" if polarities else root, *polarities]
    vector = [_entry(entry) for entry in gap_vector(symbols, node, None)]
    return [
        _head(what, name, square) + ",",
        *_list(rf"\covopstrength{{{name}}} &= ", factors, " ", ","),
        *_list(rf"\covopgap{{{name}}} &= \bigl(", vector, ", ", r"\bigr)^{\top}"),
    ]


def _entry(expression: sympy.Expr) -> str:
    coefficient, rest = expression.as_coeff_Mul()
    if coefficient.is_Rational and not coefficient.is_Integer:
        return rf"\tfrac{{{coefficient.p}}}{{{coefficient.q}}} {' '.join(tex(rest))}"
    return " ".join(tex(expression))


def _list(start: str, items: Sequence[str], separator: str, end: str) -> list[str]:
    """Items in lines of at most `_ENTRIES`."""
    chunks = [separator.join(items[i : i + _ENTRIES]) for i in range(0, len(items), _ENTRIES)]
    stop = separator.rstrip()
    lines = [chunk + (stop if index < len(chunks) - 1 else end) for index, chunk in enumerate(chunks)]
    return [start + lines[0], *(rf"&\quad {line}" for line in lines[1:])]


def _matrices(tree: HLTM, node: Node, what: str) -> list[str]:
    """The categorical form: matrices of the path, then of each child, written out one by one."""
    symbols = tree_symbols(tree)
    name = symbols.texts[node]
    path, children = path_below(tree, node), tree.children(node)

    def edge(child: Node) -> str:
        above = tree.parent(child)
        return rf"\covoptransitionmatrix{{{symbols.texts[above]}}}{{{symbols.texts[child]}}}"  # type: ignore[index]

    means = [rf"{edge(child)} \covopmeans{{{symbols.texts[child]}}}" for child in children]
    product = " ".join(edge(child) for child in path)
    spread = r"\bigl(\operatorname{diag} \pi - \pi \pi^{\top}\bigr)"
    lines = [
        _head(what, name, rf"M^{{\top}} {spread} M") + ",",
        *_list(r"\pi &= \bigl(", [" ".join(tex(p)) for p in symbols.prior], ", ", r"\bigr)^{\top},"),
        *_list(rf"M &= {product} \bigl[", means, ", ", r"\bigr],"),
    ]
    for child in (*path, *children):
        rows = r" \\ ".join(" & ".join(" ".join(tex(entry)) for entry in row) for row in symbols.table(child))
        lines.append(rf"{edge(child)} &= \begin{{pmatrix}} {rows} \end{{pmatrix}},")
    for child in children:
        mean = rf"\covopmeans{{{symbols.texts[child]}}} &= \bigl("
        states = range(tree.cardinality(child))
        entries = [
            str(i) if not tree.children(child) else rf"\covoplatentmean{{{symbols.texts[child]};{i}}}" for i in states
        ]
        lines += _list(mean, entries, ", ", r"\bigr)^{\top},")
    lines[-1] = lines[-1].rstrip(",")
    return lines


def drift(paper: str, tree: HLTM, node: Node, what: str = "activation") -> str | None:
    """Compare the formula in a paper with the derivation: None where they agree, else one line that says how not.

    White space and the two forms of a display do not count.

    Raises
    ------
    InputError
        The label is not in the paper, or more than once.

    Source
    ------
    Statement 6 (arXiv 2010.00578).

    Examples
    --------
    >>> import hltm
    >>> tree = hltm.star_tree(2, polarity=0.5)
    >>> drift(formula(tree, 0), tree, 0) is None
    True
    >>> "has drifted" in drift(formula(tree, 0).replace("1 -", "1 +"), tree, 0)
    True
    """
    tag = label(what, node)
    pattern = (
        r"\\begin\{(equation|align)\}(?:(?!\\begin\{(?:equation|align)\}).)*?\\label\{"
        + re.escape(tag)
        + r"\}.*?\\end\{\1\}"
    )
    found = [match.group(0) for match in re.finditer(pattern, paper, re.DOTALL)]
    if len(found) != 1:
        raise InputError(
            f"label {tag!r} of the paper: must stand once in an equation or align, stands {len(found)} times"
        )
    theirs, ours = _clauses(found[0]), _clauses(formula(tree, node, what))
    for left, right in zip(theirs, ours, strict=False):
        if left != right:
            return f"{tag} has drifted: the paper has {left!r}, derived is {right!r}"
    if len(theirs) != len(ours):
        return f"{tag} has drifted: the paper has {len(theirs)} clauses, derived are {len(ours)}"
    return None


def _clauses(display: str) -> list[str]:
    """Right and left sides of a display, one by one, without layout."""
    text = re.sub(
        r"\\(begin|end)\{(equation|align|aligned)\}|\\label\{[^}]*\}|\\notag|\\\\|\\quad|(?<!\\)%.*", " ", display
    )
    return [" ".join(part.split()).rstrip(",") for part in re.split(r"&=|&", text) if part.strip()]
