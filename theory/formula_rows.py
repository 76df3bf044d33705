r"""The equations of an exported formula of statement 6, in the macros of the paper's notation.

Binary nodes: ``o a a^T`` with o and a written out. Others: ``M^T (diag pi - pi pi^T) M`` with every table; a table too
large for a line is given by its general entry, a binary one as a sum of three matrices. Source: arXiv 2010.00578.
"""

from collections.abc import Sequence

import sympy

from hltm.base.checks import Node
from hltm.tree import HLTM
from theory.latex.render import plain_tex
from theory.tex_layout import LINE, Item, Row, matrix_width
from theory.trees.activation import gap_vector, is_binary_at, selectivity
from theory.trees.symbols import TreeSymbols, entry_index, is_binary_edge, is_symmetric, path_below

# pmatrix has no more columns, unless a paper sets a counter.
_COLUMNS, _ROWS = 10, 16
# What stands beside a matrix in its line: the left sides of the display, indents.
_BESIDE = 130


def formula_rows(symbols: TreeSymbols, node: Node, what: str) -> list[Row]:
    """The equations of the display of a node with children; what: "activation" or "operator"."""
    rows = _binary(symbols, node, what) if is_binary_at(symbols.tree, node) else _matrices(symbols, node, what)
    return [Row(row.left, _ended(row.items, "," if row is not rows[-1] else "")) for row in rows]


def _ended(items: Sequence[Item], end: str) -> list[Item]:
    """Items with something behind the last."""
    last = items[-1]
    return [*items[:-1], last + end if isinstance(last, str) else (*last[:-1], last[-1] + end)]


def _listed(start: str, items: Sequence[Item], end: str) -> list[Item]:
    """Items with commas between them and brackets around them."""
    first, *rest = [_ended([item], "," if i < len(items) - 1 else end)[0] for i, item in enumerate(items)]
    return [start + first if isinstance(first, str) else (start + first[0], *first[1:]), *rest]


def _head(what: str, name: str, factors: Sequence[str]) -> Row:
    if what == "activation":
        return Row(rf"\covopactivationcov{{{name}}}", factors)
    jacobians = [rf"\otimes \covopjacobian{{{name}}}^{{\top}}", rf"\covopjacobian{{{name}}}"]
    return Row(rf"\covopoperatorof{{{name}}}", [*factors, *jacobians])


def _binary(symbols: TreeSymbols, node: Node, what: str) -> list[Row]:
    """``o a a^T`` with o and a written out."""
    tree, name = symbols.tree, symbols.texts[node]
    names = _macro_names(symbols, node)
    square = [rf"\covopstrength{{{name}}}", rf"\covopgap{{{name}}}", rf"\covopgap{{{name}}}^{{\top}}"]
    polarities = [rf"{names[symbols.polarity(child)]}^{{2}}" for child in path_below(tree, node)]
    root = plain_tex(1 - symbols.root_polarity**2, names)
    factors = [rf"\bigl({root}\bigr)" if polarities else root, *polarities]
    vector = [_factors(entry, names) for entry in gap_vector(symbols, node, None)]
    return [
        _head(what, name, square),
        Row(rf"\covopstrength{{{name}}}", factors),
        Row(rf"\covopgap{{{name}}}", _listed(r"\bigl(", vector, r"\bigr)^{\top}")),
    ]


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
