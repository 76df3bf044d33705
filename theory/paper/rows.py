r"""The equations of a formula of statement 6, written out in the macros of the paper's notation (arXiv 2010.00578)."""

from collections.abc import Iterable, Mapping, Sequence

import sympy

from hltm.base.checks import Node
from hltm.tree import HLTM
from theory.latex.render import plain_tex
from theory.paper.layout import Item, Row, Ruler
from theory.trees.activation import is_binary_at, selectivity
from theory.trees.derivations import factored
from theory.trees.symbols import TreeSymbols, entry_index, is_binary_edge, is_symmetric, path_below

# pmatrix has no more columns, unless a paper sets a counter.
_COLUMNS, _ROWS = 10, 16
BESIDE = 130
"""Room beside a matrix in its line, for the left sides of the display and indents."""
SPREAD = r"\bigl(\operatorname{diag} \covopprior{} - \covopprior{} \covopprior{}^{\top}\bigr)"
"""The covariance of the indicators of the root's states."""


def written_out(symbols: TreeSymbols, node: Node, what: str, line: float) -> list[Row]:
    """The equations of the display of a node with children; what: "activation" or "operator"."""
    if is_binary_at(symbols.tree, node):
        return _binary(symbols, node, what)
    return _matrices(symbols, node, what, line)


def separated(rows: Sequence[Row]) -> list[Row]:
    """Rows with commas between them."""
    return [Row(row.left, _ended(row.items, "," if row is not rows[-1] else "")) for row in rows]


def _ended(items: Sequence[Item], end: str) -> list[Item]:
    """Items with a text appended to the last one."""
    last = items[-1]
    return [*items[:-1], last + end if isinstance(last, str) else (*last[:-1], last[-1] + end)]


def listed(start: str, items: Sequence[Item], end: str) -> list[Item]:
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
    name, names = symbols.texts[node], macro_names(symbols, node)
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
        Row(
            macro[vector.lhs],
            listed(r"\bigl(", [split_factors(entry, names) for entry in vector.rhs], r"\bigr)^{\top}"),
        ),
    ]


def _of(part: sympy.Basic, macro: Mapping[sympy.Basic, str]) -> str:
    """A factor of a product of symbols that have macros."""
    if isinstance(part, sympy.Transpose):
        return rf"{_of(part.arg, macro)}^{{\top}}"
    return macro[part] if part in macro else plain_tex(part, {})


def split_factors(expression: sympy.Expr, names: dict[sympy.Symbol, str]) -> tuple[str, ...]:
    """A product, factor by factor; a fraction stays with what it stands before."""
    coefficient, rest = expression.as_coeff_Mul()
    first, *others = [plain_tex(factor, names) for factor in rest.as_ordered_factors()]
    if coefficient != 1:
        first = rf"{number(coefficient)} {first}"
    return (first, *others)


def number(value: sympy.Rational) -> str:
    """A rational number in front of a factor."""
    fraction = rf"\tfrac{{{abs(value.p)}}}{{{value.q}}}" if value.q != 1 else str(abs(value.p))
    return f"-{fraction}" if value < 0 else fraction


def macro_names(symbols: TreeSymbols, node: Node) -> dict[sympy.Symbol, str]:
    """The macro of every symbol that the formula of a node can have."""
    return edge_names(symbols, (*path_below(symbols.tree, node), *symbols.tree.children(node)))


def edge_names(symbols: TreeSymbols, ends: Iterable[Node], large: bool = False) -> dict[sympy.Symbol, str]:
    """The macro of every symbol of the root and of the edges that end in some nodes, ``large`` tables included."""
    tree, texts = symbols.tree, symbols.texts
    if tree.cardinality(tree.root) == 2:
        names = {symbols.root_polarity: r"\covoprootpolarity{}"}
    else:
        names = {symbol: rf"\covoprootprior{{{i}}}" for i, symbol in enumerate(symbols.prior)}
    for child in ends:
        both = f"{{{texts[tree.parent(child)]}}}{{{texts[child]}}}"  # type: ignore[index]
        if is_binary_edge(tree, child):
            names[symbols.polarity(child)] = rf"\covoppolarity{both}"
            if not is_symmetric(tree, child):
                names[symbols.offset(child)] = rf"\covopoffset{both}"
        elif large or _is_small(tree, child):
            for i, row in enumerate(symbols.table(child)):
                for j, symbol in enumerate(row):
                    index = entry_index(i, j, max(i, j) >= 10)
                    names[symbol] = rf"\covoptransition{{{edge(symbols, child)}}}{{{index}}}"
        if tree.children(child):
            names[selectivity(symbols, child)] = rf"\covopselectivity{{{texts[child]}}}"
    return names


def _matrices(symbols: TreeSymbols, node: Node, what: str, line: float) -> list[Row]:
    """The categorical form: matrices of the path, then of each child, written out one by one."""
    tree, texts = symbols.tree, symbols.texts
    path, children = path_below(tree, node), tree.children(node)
    names = macro_names(symbols, node)

    means: list[Item] = [(_table(symbols, child), rf"\covopmeans{{{texts[child]}}}") for child in children]
    through = rf"\covopinputmeans{{{texts[node]}}}"
    rows = [
        _head(what, texts[node], [rf"{through}^{{\top}}", SPREAD, through]),
        prior_row(symbols, names),
        Row(through, [*(_table(symbols, child) for child in path), *listed(r"\bigl[", means, r"\bigr]")]),
        *(table_row(symbols, child, names, line) for child in (*path, *children)),
    ]
    for child in children:
        states = range(tree.cardinality(child))
        entries = [str(i) if not tree.children(child) else rf"\covoplatentmean{{{texts[child]};{i}}}" for i in states]
        rows.append(Row(rf"\covopmeans{{{texts[child]}}}", listed(r"\bigl(", entries, r"\bigr)^{\top}")))
    return rows


def prior_row(symbols: TreeSymbols, names: dict[sympy.Symbol, str]) -> Row:
    """The law of the root."""
    prior = [plain_tex(p, names) for p in symbols.prior]
    return Row(r"\covopprior{}", listed(r"\bigl(", prior, r"\bigr)^{\top}"))


def table_row(symbols: TreeSymbols, child: Node, names: dict[sympy.Symbol, str], line: float) -> Row:
    """The table of the edge that ends in a node."""
    return Row(_table(symbols, child), _table_items(symbols, child, names, line))


def _table(symbols: TreeSymbols, child: Node) -> str:
    texts = symbols.texts
    return rf"\covoptransitionmatrix{{{texts[symbols.tree.parent(child)]}}}{{{texts[child]}}}"  # type: ignore[index]


def _table_items(symbols: TreeSymbols, child: Node, names: dict[sympy.Symbol, str], line: float) -> list[Item]:
    """The table of an edge: its entries where they fit in a line, else what says the same in less width."""
    if _is_small(symbols.tree, child):
        cells = [[plain_tex(entry, names) for entry in row] for row in symbols.table(child)]
        if Ruler().matrix_width(cells) <= line - BESIDE:
            body = r" \\ ".join(map(" & ".join, cells))
            return [rf"\begin{{pmatrix}} {body} \end{{pmatrix}}"]
    if is_binary_edge(symbols.tree, child):
        terms = [("", r"1 & 1 \\ 1 & 1"), (names[symbols.polarity(child)], r"1 & -1 \\ -1 & 1")]
        if not is_symmetric(symbols.tree, child):
            terms.append((names[symbols.offset(child)], r"-1 & 1 \\ -1 & 1"))
        matrices = [(factor, rf"\begin{{pmatrix}} {body} \end{{pmatrix}}") for factor, body in terms]
        (_, ones), *rest = matrices
        return [rf"\tfrac{{1}}{{2}} {ones}", *((rf"+ \tfrac{{1}}{{2}} {factor}", matrix) for factor, matrix in rest)]
    states, above = symbols.tree.cardinality(child), symbols.tree.cardinality(symbols.tree.parent(child))  # type: ignore[arg-type]
    index = entry_index(r"\covopstate{}", r"\covopotherstate{}", max(states, above) > 10)
    return [
        rf"\bigl(\covoptransition{{{edge(symbols, child)}}}{{{index}}}\bigr)"
        rf"_{{\covopstate{{}} < {above},\, \covopotherstate{{}} < {states}}}"
    ]


def edge(symbols: TreeSymbols, child: Node) -> str:
    """The subscript of an edge, as an argument of a macro."""
    texts = symbols.texts
    return rf"\covopedge{{{texts[symbols.tree.parent(child)]}}}{{{texts[child]}}}"  # type: ignore[index]


def _is_small(tree: HLTM, child: Node) -> bool:
    """Whether a matrix environment takes the table of an edge."""
    return tree.cardinality(child) <= _COLUMNS and tree.cardinality(tree.parent(child)) <= _ROWS  # type: ignore[arg-type]
