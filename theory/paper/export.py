r"""Formulas of statement 6 as LaTeX that a paper can ``\input``, with a stable label, and the check for drift.

The symbols of a tree are written with macros of the paper's notation (`theory.latex.names`); a formula is one display
with the label ``eq:covop:<what>:<node>``. `drift` finds that label in a paper and compares. Source: statement 6
(arXiv 2010.00578).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy

from hltm.base.checks import Node
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.core.notation import END, PREAMBLE
from theory.latex.names import MACROS, expanded, macros, require_tex
from theory.latex.render import FORMS, plain_tex
from theory.paper.drift import Tokens, argument, content, definition_of, definitions, display, joined, tokens
from theory.trees.activation import is_binary_at, selectivity
from theory.trees.derivations import factored
from theory.trees.symbols import (
    TreeSymbols,
    entry_index,
    internal,
    is_binary_edge,
    is_symmetric,
    path_below,
    tree_symbols,
)

WHAT = ("activation", "operator")
# Tokens, and characters, in the report of a drift.
_SHOWN, _QUOTED = 12, 200
# pmatrix has no more columns, unless a paper sets a counter.
_COLUMNS, _ROWS = 10, 16
# Room beside a matrix in its line, for the left sides of the display and indents.
_BESIDE = 130
LINE = 335.0
"""Width of a line in pt: the 345 pt of the plain article class, less what an estimate may be short of."""
_INDENT = 20.0
# A left side that is wider than this has a line of its own: it would push all right sides to the right.
_WIDE_LEFT = 110.0
_SCALE = (1.0, 0.78, 0.68)  # in text, subscripts, subscripts of subscripts
_CLASSES = {"il,.':;|!`": 3.0, "frtsjI()[]-/": 4.2, "mw": 8.6, "MW": 10.3, "+=<>": 14.0}
_SIZES = {c: size for letters, size in _CLASSES.items() for c in letters}
_COMMANDS = {"\\quad": 10.0, "\\otimes": 12.5, "\\mid": 8.4, "\\top": 7.8, "\\ ": 3.5} | dict.fromkeys(
    ("\\mathrm", "\\mathbb", "\\mathcal", "\\text", "\\bigl", "\\bigr", "\\operatorname", "\\ensuremath"), 0.0
)
Item = str | tuple[str, ...]
"""Part of a line: a piece that stays whole, or factors that may be parted where one line is too short."""


@dataclass(frozen=True)
class Row:
    """An equation of a display."""

    left: str
    items: Sequence[Item]


def formula(tree: HLTM, node: Node, what: str = "activation", form: str = "equation") -> str:
    r"""A formula of statement 6 in the user's node names."""
    for name, value, allowed in (("what", what, WHAT), ("form", form, FORMS)):
        if value not in allowed:
            raise InputError(f"{name}={value!r} of formula: must be one of {', '.join(allowed)}")
    internal(tree, node, "formula")
    symbols = tree_symbols(tree)
    require_tex(symbols.texts, (*tree.path(tree.root, node), *tree.children(node)))
    lines = layout(formula_rows(symbols, node, what))
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


def label(what: str, node: Node, tree: HLTM | None = None) -> str:
    """The stable label of a formula: letters, digits and dots of the node's name, others as their code points.

    In a tree where another name reads the same, as the number 1 and the text "1", the type comes first.
    """
    name = str(node)
    text = "".join(c if c.isascii() and (c.isalnum() or c == ".") else f"-{ord(c):x}-" for c in name)
    alike = tree is not None and sum(str(other) == name for other in tree.nodes) > 1
    return f"eq:covop:{what}:{type(node).__name__ + ':' if alike else ''}{text}"


def drift(paper: str, tree: HLTM, node: Node, what: str = "activation") -> str | None:
    r"""Compare the formula in a paper with the derivation: None where they agree, else one line that says how not.

    Tokens are compared: white space, comments, line breaks and the two forms of a display do not count. A macro of
    `MACROS` that the paper defines in another way is drift too. Files that the paper reads are not followed.
    """
    derived = formula(tree, node, what)
    tag, result = label(what, node, tree), tokens(paper)
    theirs, ours = content(display(result, tag)), content(display(tokens(derived), tag))
    difference = _macro_difference(result) or _difference(theirs, ours)
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


# The equations of a formula, in the macros of the paper's notation.


def formula_rows(symbols: TreeSymbols, node: Node, what: str) -> list[Row]:
    """The equations of the display of a node with children; what: "activation" or "operator"."""
    rows = _binary(symbols, node, what) if is_binary_at(symbols.tree, node) else _matrices(symbols, node, what)
    return [Row(row.left, _ended(row.items, "," if row is not rows[-1] else "")) for row in rows]


def _ended(items: Sequence[Item], end: str) -> list[Item]:
    """Items with a text appended to the last one."""
    last = items[-1]
    return [*items[:-1], last + end if isinstance(last, str) else (*last[:-1], last[-1] + end)]


def _listed(start: str, items: Sequence[Item], end: str) -> list[Item]:
    """Items with commas between them and brackets around them."""
    first, *rest = [_ended([item], "," if i < len(items) - 1 else end)[0] for i, item in enumerate(items)]
    return [start + first if isinstance(first, str) else (start + first[0], *first[1:]), *rest]


def _head(what: str, name: str, factors: Sequence[str]) -> Row:
    """The first row: of the operator of linear neurons with its Jacobian."""
    if what == "activation":
        return Row(rf"\covopactivationcov{{{name}}}", factors)
    jacobians = [rf"\otimes \covopjacobian{{{name}}}^{{\top}}", rf"\covopjacobian{{{name}}}"]
    return Row(rf"\covopoperatorof{{{name}}}", [*factors, *jacobians])


def _binary(symbols: TreeSymbols, node: Node, what: str) -> list[Row]:
    """The relations of the claim, the polarity of the path written out."""
    name, names = symbols.texts[node], _macro_names(symbols, node)
    product, strength, *reach, vector = factored(symbols, node)
    macro = {strength.lhs: rf"\covopstrength{{{name}}}", vector.lhs: rf"\covopgap{{{name}}}"}
    order = [symbols.root_polarity, *(symbols.polarity(child) for child in path_below(symbols.tree, node))]
    o = strength.rhs.xreplace({one.lhs: one.rhs for one in reach})
    factors = sorted(sympy.Mul.make_args(o), key=lambda factor: min(map(order.index, factor.free_symbols), default=-1))
    shown = [plain_tex(factor, names) for factor in factors]
    if len(factors) > 1:
        shown = [rf"\bigl({text}\bigr)" if factor.is_Add else text for factor, text in zip(factors, shown, strict=True)]
    return [
        _head(what, name, [_of(part, macro) for part in product.rhs.args]),
        Row(macro[strength.lhs], shown),
        Row(macro[vector.lhs], _listed(r"\bigl(", [_factors(entry, names) for entry in vector.rhs], r"\bigr)^{\top}")),
    ]


def _of(part: sympy.Basic, macro: Mapping[sympy.Basic, str]) -> str:
    """A factor of a product of symbols that have macros."""
    if isinstance(part, sympy.Transpose):
        return rf"{_of(part.arg, macro)}^{{\top}}"
    return macro[part] if part in macro else plain_tex(part, {})


def _factors(expression: sympy.Expr, names: dict[sympy.Symbol, str]) -> tuple[str, ...]:
    """A product, factor by factor; a fraction stays with what it stands before."""
    coefficient, rest = expression.as_coeff_Mul()
    first, *others = [plain_tex(factor, names) for factor in rest.as_ordered_factors()]
    if coefficient != 1:
        first = rf"\tfrac{{{coefficient.p}}}{{{coefficient.q}}} {first}"
    return (first, *others)


def _macro_names(symbols: TreeSymbols, node: Node) -> dict[sympy.Symbol, str]:
    """The macro of every symbol that the formula of a node can have."""
    tree, texts = symbols.tree, symbols.texts
    if tree.cardinality(tree.root) == 2:
        names = {symbols.root_polarity: r"\covoprootpolarity{}"}
    else:
        names = {symbol: rf"\covoprootprior{{{i}}}" for i, symbol in enumerate(symbols.prior)}
    for child in (*path_below(tree, node), *tree.children(node)):
        ends = f"{{{texts[tree.parent(child)]}}}{{{texts[child]}}}"  # type: ignore[index]
        if is_binary_edge(tree, child):
            names[symbols.polarity(child)] = rf"\covoppolarity{ends}"
            if not is_symmetric(tree, child):
                names[symbols.offset(child)] = rf"\covopoffset{ends}"
        elif _is_small(tree, child):
            for i, row in enumerate(symbols.table(child)):
                for j, symbol in enumerate(row):
                    index = entry_index(i, j, max(i, j) >= 10)
                    names[symbol] = rf"\covoptransition{{{symbols.edge(child)}}}{{{index}}}"
        if tree.children(child):
            names[selectivity(symbols, child)] = rf"\covopselectivity{{{texts[child]}}}"
    return names


def _matrices(symbols: TreeSymbols, node: Node, what: str) -> list[Row]:
    """The categorical form: matrices of the path, then of each child, written out one by one."""
    tree, texts = symbols.tree, symbols.texts
    path, children = path_below(tree, node), tree.children(node)
    names = _macro_names(symbols, node)

    def edge(child: Node) -> str:
        return rf"\covoptransitionmatrix{{{texts[tree.parent(child)]}}}{{{texts[child]}}}"  # type: ignore[index]

    means: list[Item] = [(edge(child), rf"\covopmeans{{{texts[child]}}}") for child in children]
    spread = r"\bigl(\operatorname{diag} \pi - \pi \pi^{\top}\bigr)"
    prior = [plain_tex(p, names) for p in symbols.prior]
    rows = [
        _head(what, texts[node], [r"M^{\top}", spread, "M"]),
        Row(r"\pi", _listed(r"\bigl(", prior, r"\bigr)^{\top}")),
        Row("M", [*map(edge, path), *_listed(r"\bigl[", means, r"\bigr]")]),
        *(Row(edge(child), _table(symbols, child, names)) for child in (*path, *children)),
    ]
    for child in children:
        states = range(tree.cardinality(child))
        entries = [str(i) if not tree.children(child) else rf"\covoplatentmean{{{texts[child]};{i}}}" for i in states]
        rows.append(Row(rf"\covopmeans{{{texts[child]}}}", _listed(r"\bigl(", entries, r"\bigr)^{\top}")))
    return rows


def _table(symbols: TreeSymbols, child: Node, names: dict[sympy.Symbol, str]) -> list[Item]:
    """The table of an edge: its entries where they fit in a line, else what says the same in less width."""
    if _is_small(symbols.tree, child):
        cells = [[plain_tex(entry, names) for entry in row] for row in symbols.table(child)]
        if matrix_width(cells) <= LINE - _BESIDE:
            body = r" \\ ".join(map(" & ".join, cells))
            return [rf"\begin{{pmatrix}} {body} \end{{pmatrix}}"]
    if is_binary_edge(symbols.tree, child):
        parts: list[tuple[tuple[str, ...], str]] = [
            ((), r"1 & 1 \\ 1 & 1"),
            ((names[symbols.polarity(child)],), r"1 & -1 \\ -1 & 1"),
        ]
        if not is_symmetric(symbols.tree, child):
            parts.append(((names[symbols.offset(child)],), r"-1 & 1 \\ -1 & 1"))
        items = [(r"\tfrac{1}{2}", *factor, rf"\begin{{pmatrix}} {body} \end{{pmatrix}}") for factor, body in parts]
        return [items[0], *((f"+ {first}", *rest) for first, *rest in items[1:])]
    states, above = symbols.tree.cardinality(child), symbols.tree.cardinality(symbols.tree.parent(child))  # type: ignore[arg-type]
    index = entry_index("i", "j", max(states, above) > 10)
    return [
        rf"\bigl(\covoptransition{{{symbols.edge(child)}}}{{{index}}}\bigr)"
        rf"_{{i < {above},\, j < {states}}}"
    ]


def _is_small(tree: HLTM, child: Node) -> bool:
    """Whether a matrix environment takes the table of an edge."""
    return tree.cardinality(child) <= _COLUMNS and tree.cardinality(tree.parent(child)) <= _ROWS  # type: ignore[arg-type]


# Lines that fit the text of a page, by an estimate of the width of what LaTeX sets.


def width(text: str) -> float:
    r"""Estimated width of a formula in pt, macros written out."""
    return _width(tokens(expanded(text)), 0)


def _width(words: Sequence[str], level: int) -> float:
    total, at = 0.0, 0
    scale = _SCALE[min(level, 2)]
    while at < len(words):
        word = words[at]
        at += 1
        if word in "_^":
            script, at = argument(words, at)
            total += _width(script, level + 1)
        elif word in ("\\tfrac", "\\frac"):
            upper, at = argument(words, at)
            lower, at = argument(words, at)
            inner = level + (word == "\\tfrac")
            total += 3 + max(_width(upper, inner), _width(lower, inner))
        elif word not in "{}":
            total += scale * _size(word)
    return total


def _size(token: str) -> float:
    if token in _COMMANDS:
        return _COMMANDS[token]
    if len(token) > 1:
        return 6.5 if token[1].isalpha() else 5.5
    return _SIZES.get(token, 8.0 if token.isupper() else 5.6)


def matrix_width(rows: Sequence[Sequence[str]]) -> float:
    """Estimated width of a matrix with brackets, in pt."""
    return 12 + sum(10 + max(map(width, column)) for column in zip(*rows, strict=True))


def layout(rows: Sequence[Row]) -> list[str]:
    r"""Lines of an ``aligned`` display, one ``&`` each."""
    lefts = [width(row.left) for row in rows]
    column = max((left for left in lefts if left <= _WIDE_LEFT), default=0.0)
    lines = []
    for row, left in zip(rows, lefts, strict=True):
        parts = pack(row.items, LINE - column - _INDENT - 10)
        if left <= _WIDE_LEFT:
            lines += [f"{row.left} &= {parts[0]}", *(rf"&\quad {part}" for part in parts[1:])]
        else:
            lines += [f"&{row.left}", rf"&\quad = {parts[0]}", *(rf"&\qquad {part}" for part in parts[1:])]
    return lines


def pack(items: Sequence[Item], limit: float) -> list[str]:
    """Items in as few lines as fit; factors are parted only where they do not fit in a line together."""
    lines: list[list[str]] = [[]]
    room = limit
    for item in items:
        factors = (item,) if isinstance(item, str) else item
        whole = (" ".join(factors),)
        for piece in whole if width(whole[0]) <= limit else factors:
            size = width(piece) + 2
            if size > room and lines[-1]:
                lines.append([])
                room = limit
            lines[-1].append(piece)
            room -= size
    return [" ".join(line) for line in lines]
