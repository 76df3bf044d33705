r"""Formulas of statement 6 as LaTeX that a paper can ``\input``, with a stable label, and the check for drift.

The symbols of a tree are written with macros of the paper's notation (`theory.macros`); a formula is one display with
the label ``eq:covop:<what>:<node>``. `drift` finds that label in a paper and compares. Source: statement 6 (arXiv
2010.00578).
"""

from hltm.base.checks import Node
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.core.notation import END, PREAMBLE
from theory.formula_rows import formula_rows
from theory.latex.names import require_tex
from theory.macros import MACROS as MACROS
from theory.macros import expanded as expanded
from theory.macros import macros as macros
from theory.paper.drift import content, definition_of, definitions, display
from theory.tex_layout import laid_out
from theory.tex_tokens import Tokens, joined, tokens
from theory.trees.symbols import internal, tree_symbols

WHAT = ("activation", "operator")
FORMS = ("equation", "align", "standalone")
# Tokens, and characters, that the report of a drift shows.
_SHOWN, _QUOTED = 12, 200


def label(what: str, node: Node, tree: HLTM | None = None) -> str:
    """The stable label of a formula: letters, digits and dots of the node's name, others as their code points.

    In a tree where another name reads the same, as the number 1 and the text "1", the type comes first.

    Examples
    --------
    >>> label("activation", "z_1")
    'eq:covop:activation:z-5f-1'
    """
    name = str(node)
    text = "".join(c if c.isascii() and (c.isalnum() or c == ".") else f"-{ord(c):x}-" for c in name)
    alike = tree is not None and sum(str(other) == name for other in tree.nodes) > 1
    return f"eq:covop:{what}:{type(node).__name__ + ':' if alike else ''}{text}"


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
        "equation", "align" (may break across pages; the first line has the number, the others none), "standalone"
        (a document that compiles).

    Returns
    -------
    str
        LaTeX for pdflatex; the first two forms need the `macros` in the preamble. Lines fit the text of the article
        class where a symbol fits it: with names of up to about 35 letters.

    Raises
    ------
    InputError
        An unknown node, a leaf, an unknown form or formula, a name that pdflatex cannot set.

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
    symbols = tree_symbols(tree)
    require_tex(symbols.texts, (*tree.path(tree.root, node), *tree.children(node)))
    lines = laid_out(formula_rows(symbols, node, what))
    tag = rf"\label{{{label(what, node, tree)}}}"
    if form == "align":
        first, *rest = lines
        body = " \\\\\n".join([first + tag, *(rf"{line} \notag" for line in rest)])
        return f"\\begin{{align}}\n{body}\n\\end{{align}}\n"
    inner = " \\\\\n".join(lines)
    body = f"\\begin{{equation}}{tag}\n\\begin{{aligned}}\n{inner}\n\\end{{aligned}}\n\\end{{equation}}\n"
    if form == "equation":
        return body
    return PREAMBLE.replace("\\begin{document}", macros() + "\\begin{document}") + body + END


def drift(paper: str, tree: HLTM, node: Node, what: str = "activation") -> str | None:
    r"""Compare the formula in a paper with the derivation: None where they agree, else one line that says how not.

    Tokens are compared: white space, comments, line breaks and the two forms of a display do not count. A macro of
    `MACROS` that the paper defines in another way is drift too. Files that the paper reads are not followed.

    Parameters
    ----------
    paper
        LaTeX.
    tree, node, what
        As in `formula`.

    Returns
    -------
    str or None
        One line, or None.

    Raises
    ------
    InputError
        The label is not in the paper, or more than once; what `formula` refuses.

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
    derived = formula(tree, node, what)
    tag, found = label(what, node, tree), tokens(paper)
    theirs, ours = content(display(found, tag)), content(display(tokens(derived), tag))
    difference = _macro_difference(found) or _difference(theirs, ours)
    return None if difference is None else f"{tag} has drifted: the paper {difference}"


def _macro_difference(paper: Tokens) -> str | None:
    """The first macro that a paper defines in another way than `macros`."""
    for theirs in definitions(paper, "\\covop"):
        name = theirs.name.removeprefix("\\covop")
        if name in MACROS and theirs != (ours := definition_of(theirs.name, *MACROS[name])):
            needed = f"{_shown(str(ours))} with {ours.count} argument{'s' * (ours.count != 1)}"
            return f"defines {theirs.name} as {_shown(str(theirs))}, it is {needed}"
    return None


def _difference(theirs: list[str], ours: list[str]) -> str | None:
    """Where two formulas start to differ."""
    if theirs == ours:
        return None
    pairs = zip(theirs, ours, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(theirs), len(ours)))
    left, right = (_shown(side[at]) if at < len(side) else "nothing" for side in (theirs, ours))
    around = joined([*ours[max(0, at - _SHOWN) : at], *ours[at : at + 1]])
    return f"has {left} where {right} is derived, at the end of {_shown(around)}"


def _shown(text: str) -> str:
    """A quotation from a paper in a message: escaped, but for the backslashes of commands, and cut."""
    return repr(text[:_QUOTED]).replace("\\\\", "\\")
