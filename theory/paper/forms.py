r"""Formulas of statement 6 by rules, in few lines, and those of networks with given weights (arXiv 2010.00578).

Binary trees: ``OP = o a a^T kron J^T J`` where the output is linear in the leaves and at the root, else
``OP = (1 - rho_0^2)/4 DK DK^T``; other trees by ``diag pi - pi pi^T``.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import sympy
from sympy import Expr, Integer, Rational

from hltm.base.checks import Node, show
from hltm.base.errors import InputError
from theory.latex.names import expanded, upright
from theory.latex.render import plain_tex
from theory.paper.layout import Row, Ruler
from theory.paper.rows import BESIDE, edge_names, macro_names, prior_row, table_row
from theory.paper.terms import (
    Diagonal,
    Difference,
    Each,
    Equation,
    Index,
    Kronecker,
    Matrix,
    Name,
    Polynomial,
    Power,
    Product,
    States,
    Term,
    Transposed,
    Vector,
    Writer,
)
from theory.trees.activation import is_binary_at
from theory.trees.means import linear_jacobian
from theory.trees.operator import connection_means, input_gaps, input_means
from theory.trees.symbols import TreeSymbols, TreeWeights, check_rows, path_below

TERM_LIMIT = 5_000
"""Largest number of terms of a formula with weights."""
_WRITTEN = 3  # factors and entries that are written out in a short form
_CHILD, _ABOVE, _STATE, _OUTPUT = Index("child"), Index("parent"), Index("state"), Index("output")
_ONE, _HALF = Polynomial(Integer(1)), Polynomial(Rational(1, 2))


@dataclass(frozen=True)
class Form:
    """A formula as equations, the one that is asked for first, and rows of tables that they stand on."""

    equations: tuple[Equation, ...]
    tables: tuple[Row, ...]
    writer: Writer

    @property
    def rows(self) -> list[Row]:
        """The rows of its display."""
        return [*map(self.writer.row, self.equations), *self.tables]


def by_rules(symbols: TreeSymbols, node: Node, what: str) -> Form:
    """The short form of a node: products along the path, vectors and tables by a rule."""
    writer = Writer(symbols.texts, macro_names(symbols, node))
    if is_binary_at(symbols.tree, node):
        equations = [_head(what, node, _rank_one(node)), *_strength(symbols, node, short=True), *_gaps(symbols, node)]
    else:
        equations = [_head(what, node, _spread(Name("inputmeans", (node,)))), *_means(symbols, node)]
    return Form(tuple(equations), (), writer)


def of_network(symbols: TreeSymbols, network: TreeWeights, node: Node, what: str, short: bool, line: float) -> Form:
    """The formula of a network with given weights: its vectors and matrices are polynomials, written out."""
    maker = _Network(symbols, network, node, short, line)
    equations = maker.activation() if what == "activation" else maker.operator()
    values = [term.value for one in equations for term in _polynomials(one.right)]
    terms = sum(len(value.args) if value.is_Add else 1 for value in values)
    if terms > TERM_LIMIT:
        raise InputError(
            f"formula of node {show(node)} with {terms:,} terms: must have at most {TERM_LIMIT:,} to be written out; "
            "theory.covariance_operator and theory.activation_covariance have its entries"
        )
    names = edge_names(symbols, symbols.tree.nodes[1:], large=True)
    writer = Writer(symbols.texts, names)
    taken = {expanded(text) for text in (*names.values(), *(writer.tex(one.left) for one in equations))}
    weights = {symbol for value in values for symbol in value.free_symbols} - set(names)
    writer = Writer(symbols.texts, names | {symbol: _weight(symbol, taken) for symbol in sorted(weights, key=str)})
    return Form(tuple(equations), maker.tables(writer), writer)


def _weight(symbol: sympy.Symbol, taken: set[str]) -> str:
    """The macro of a symbol of the weights or the gates; one that reads as another symbol is an error."""
    match = re.fullmatch("([A-Za-z]+)(?:_([A-Za-z0-9]+))?", symbol.name)
    text = plain_tex(symbol, {})
    if match:
        base, script = (part if part is None or len(part) == 1 else upright(part) for part in match.groups())
        text = base if script is None else f"{base}_{{{script}}}"
    if text in taken:
        raise InputError(f"weights with symbol {show(symbol.name)}: must not read as a symbol of the formula, {text}")
    return rf"\covopweight{{{text}}}"


def _head(what: str, node: Node, activations: Term) -> Equation:
    """The first equation: of the operator of linear neurons with its Jacobian."""
    if what == "activation":
        return Equation(Name("activationcov", (node,)), activations)
    jacobian = Name("jacobian", (node,))
    return Equation(Name("operatorof", (node,)), Kronecker(activations, Product((Transposed(jacobian), jacobian))))


def _rank_one(node: Node) -> Product:
    gap = Name("gap", (node,))
    return Product((Name("strength", (node,)), gap, Transposed(gap)))


def _spread(means: Term) -> Product:
    prior = Name("prior")
    covariance = Difference(Diagonal(prior), Product((prior, Transposed(prior))))
    return Product((Transposed(means), covariance, means))


def _edges(symbols: TreeSymbols, node: Node) -> list[tuple[Node, Node]]:
    path = symbols.tree.path(symbols.tree.root, node)
    return list(itertools.pairwise(path))


def _along(symbols: TreeSymbols, node: Node, macro: str, way: str) -> tuple[list[Term], list[Equation]]:
    """The product of a macro along a path by a name of its own: its factors, and what defines the name."""
    edges = _edges(symbols, node)
    factors: list[Term] = [Name(macro, edge) for edge in edges]
    if len(edges) < 2:
        return factors, []
    root = symbols.tree.root
    right: Term = Product(tuple(factors))
    if len(edges) > _WRITTEN:
        where = rf"({_ABOVE.tex}, {_CHILD.tex}) \in \covoppath{{{symbols.texts[root]}}}{{{symbols.texts[node]}}}"
        right = Each("product", Name(macro, (_ABOVE, _CHILD)), (_ABOVE, _CHILD), tuple(edges), where)
    name = Name(way, (root, node))
    return [name], [Equation(name, right)]


def _strength(symbols: TreeSymbols, node: Node, short: bool) -> list[Equation]:
    """``o_mu = (1 - rho_0^2) rho_{0 -> mu}^2``, the path written out or by a name."""
    factors, defined = _along(symbols, node, "polarity", "reach")
    if not short:
        factors, defined = [Name("polarity", edge) for edge in _edges(symbols, node)], []
    squares = [Power(factor, 2) for factor in factors]
    right: Term = Product((_root_spread(), *squares)) if squares else _root_spread()
    return [Equation(Name("strength", (node,)), right), *defined]


def _root_spread() -> Difference:
    return Difference(_ONE, Power(Name("rootpolarity"), 2))


def _children(symbols: TreeSymbols, node: Node) -> str:
    return rf"{_CHILD.tex} \in \covopchildren{{{symbols.texts[node]}}}"


def _leaves(symbols: TreeSymbols, node: Node) -> str:
    """The children that are leaves: of others a rule need not be true."""
    return rf"{_children(symbols, node)} \cap \covopleaves{{}}"


def _gaps(symbols: TreeSymbols, node: Node) -> list[Equation]:
    """``a_mu`` by a rule, and the selectivity of leaves where there are both kinds of children."""
    tree = symbols.tree
    children = tree.children(node)
    leaves = tuple(child for child in children if not tree.children(child))
    left = Name("gap", (node,))
    mixed = 0 < len(leaves) < len(children)

    def entry(child: Node | Index, leaf: bool) -> Product:
        rho = Name("polarity", (node, child))
        return Product((_HALF, rho)) if leaf else Product((rho, Name("selectivity", (child,))))

    if len(children) <= _WRITTEN:
        return [Equation(left, Vector(tuple(entry(child, child in leaves) for child in children)))]
    values = tuple((child,) for child in children)
    where = _children(symbols, node)
    if len(leaves) == len(children):
        return [
            Equation(left, Product((_HALF, Each("vector", Name("polarity", (node, _CHILD)), (_CHILD,), values, where))))
        ]
    rule = Equation(left, Each("vector", entry(_CHILD, False), (_CHILD,), values, where))
    if not mixed:
        return [rule]
    return [rule, Equation(Name("selectivity", (_CHILD,)), _HALF, leaves, _leaves(symbols, node))]


def _means(symbols: TreeSymbols, node: Node) -> list[Equation]:
    """``M_mu`` of categorical nodes: tables along the path, then the children's means; leaves by a rule."""
    tree = symbols.tree
    factors, defined = _along(symbols, node, "transitionmatrix", "pathmatrix")
    children = tree.children(node)
    where = _children(symbols, node)
    body = Product((Name("transitionmatrix", (node, _CHILD)), Name("means", (_CHILD,))))
    columns = Each("columns", body, (_CHILD,), tuple((child,) for child in children), where)
    equations = [Equation(Name("inputmeans", (node,)), Product((*factors, columns))), *defined]
    leaves = tuple(child for child in children if not tree.children(child))
    counts = {tree.cardinality(leaf) for leaf in leaves}
    if leaves:
        count = counts.pop() if len(counts) == 1 else None
        equations.append(Equation(Name("means", (_CHILD,)), States(_CHILD, count), leaves, _leaves(symbols, node)))
    return equations


def _polynomials(term: Term) -> list[Polynomial]:
    """The polynomials in a term."""
    match term:
        case Polynomial():
            return [term]
        case Vector(parts) | Product(parts):
            return [one for part in parts for one in _polynomials(part)]
        case Matrix(rows):
            return [one for row in rows for part in row for one in _polynomials(part)]
        case Transposed(base):
            return _polynomials(base)
        case _:
            return []


@dataclass(frozen=True)
class _Network:
    """Equations of a node of a network with given weights."""

    symbols: TreeSymbols
    network: TreeWeights
    node: Node
    short: bool
    line: float

    @property
    def _is_linear(self) -> bool:
        return self.network.linear or self.node == self.symbols.tree.root

    def activation(self) -> list[Equation]:
        """Of the covariance of the means of what the node reads."""
        left, node = Name("activationcov", (self.node,)), self.node
        if self.symbols.tree.is_binary:
            return [Equation(left, _rank_one(node)), *self._inputs()]
        return [Equation(left, _spread(Name("inputmeans", (node,)))), *self._inputs()]

    def operator(self) -> list[Equation]:
        """Of the covariance operator of the node."""
        check_rows(self.network.neurons(self.node) * self.network.inputs(self.node), "covariance_operator")
        if not self._is_linear:
            return self._connections()
        binary, root = self.symbols.tree.is_binary, self.node == self.symbols.tree.root
        activations = _rank_one(self.node) if binary else _spread(Name("inputmeans", (self.node,)))
        head = _head("operator", self.node, activations)
        if root:
            identity = Name("identity", part=(self.network.n_out,))
            return [Equation(head.left, Kronecker(activations, identity)), *self._inputs()]
        jacobian = linear_jacobian(self.network, self.node).tolist()
        return [head, *self._inputs(), *self._by_rows(Name("jacobian", (self.node,)), jacobian)]

    def tables(self, writer: Writer) -> tuple[Row, ...]:
        """What the tables of the path are, at categorical nodes, where nothing is left to a rule."""
        if self.short or self.symbols.tree.is_binary:
            return ()
        path = path_below(self.symbols.tree, self.node) if self._is_linear else ()
        tables = (table_row(self.symbols, place, dict(writer.names), self.line) for place in path)
        return (prior_row(self.symbols, dict(writer.names)), *tables)

    def _inputs(self) -> list[Equation]:
        """Of the strength and the gaps, or of the means, of what the node reads."""
        node = self.node
        if self.symbols.tree.is_binary:
            entries = input_gaps(self.symbols, self.network, node)
            return [*_strength(self.symbols, node, self.short), self._vector(Name("gap", (node,)), entries)]
        factors, defined = _along(self.symbols, node, "transitionmatrix", "pathmatrix")
        if not self.short:
            factors, defined = [Name("transitionmatrix", edge) for edge in _edges(self.symbols, node)], []
        own = Name("childmeans", (node,))
        means = Equation(Name("inputmeans", (node,)), Product((*factors, own)))
        return [means, *defined, *self._by_rows(own, input_means(self.symbols, self.network, node))]

    def _connections(self) -> list[Equation]:
        """Of the difference of the means of the connections of a binary tree, or of these means."""
        outputs, binary = self.network.n_out, self.symbols.tree.is_binary
        own = Name("connectiongap" if binary else "connectionmeans", (self.node,))
        means = connection_means(self.symbols, self.network, self.node)
        parts = [Name(own.macro, own.nodes, (o,) if outputs > 1 else ()) for o in range(outputs)]
        running = Name(own.macro, own.nodes, (_OUTPUT,) if outputs > 1 else ())
        squared: Term = Product((running, Transposed(running))) if binary else _spread(running)
        if outputs > 1:
            where = rf"{_OUTPUT.tex} < {outputs}"
            squared = Each("sum", squared, (_OUTPUT,), tuple((o,) for o in range(outputs)), where)
        left = Name("operatorof", (self.node,))
        if binary:
            quarter = Product((Polynomial(Rational(1, 4)), _root_spread(), squared))
            columns = [means[0][o::outputs].tolist() for o in range(outputs)]
            return [
                Equation(left, quarter),
                *(self._vector(part, rows) for part, rows in zip(parts, columns, strict=True)),
            ]
        matrices = [self._by_rows(part, means[:, o::outputs].tolist()) for o, part in enumerate(parts)]
        return [Equation(left, squared), *(one for listed in matrices for one in listed)]

    def _vector(self, left: Name, entries: Sequence[Expr], transposed: bool = False) -> Equation:
        """A vector of polynomials; in a short form with their common factor in front."""
        values = [sympy.expand(entry) for entry in entries]
        common = _common(values) if self.short else Integer(1)
        if common != 1:
            values = [sympy.expand(value / common) for value in values]
        vector: Term = Vector(tuple(map(Polynomial, values)))
        vector = Transposed(vector) if transposed else vector
        return Equation(left, vector if common == 1 else Product((*_factors(common), vector)))

    def _by_rows(self, left: Name, rows: Sequence[Sequence[Expr]]) -> list[Equation]:
        """A matrix of polynomials: its entries where they fit in a line, else row by row."""
        if len(rows) == 1:
            return [self._vector(left, rows[0], transposed=True)]
        values = [[sympy.expand(entry) for entry in row] for row in rows]
        cells = [[plain_tex(entry, {}) for entry in row] for row in values]
        if len(rows) <= 16 and len(rows[0]) <= 10 and Ruler().matrix_width(cells) <= self.line - BESIDE:
            return [Equation(left, Matrix(tuple(tuple(map(Polynomial, row)) for row in values)))]
        part = Name(left.macro, left.nodes, (*left.part, _STATE))
        where = rf"{_STATE.tex} < {len(rows)}"
        stacked = Each("rows", part, (_STATE,), tuple((i,) for i in range(len(rows))), where)
        single = [Name(left.macro, left.nodes, (*left.part, i)) for i in range(len(rows))]
        return [
            Equation(left, stacked),
            *(self._vector(name, row, transposed=True) for name, row in zip(single, values, strict=True)),
        ]


def _common(values: Sequence[Expr]) -> Expr:
    """The monomial, with its number, that all terms of all entries have."""
    symbols = sorted({symbol for value in values for symbol in value.free_symbols}, key=str)
    terms = [term.as_coeff_Mul() for value in values if value != 0 for term in sympy.Add.make_args(value)]
    if len(terms) < 2:
        return Integer(1)
    number = Rational(math.gcd(*(int(c.p) for c, _ in terms)), math.lcm(*(int(c.q) for c, _ in terms)))
    powers = [dict(rest.as_powers_dict()) for _, rest in terms]
    return sympy.Mul(number, *(s ** min(p.get(s, 0) for p in powers) for s in symbols))


def _factors(common: Expr) -> list[Term]:
    coefficient, rest = common.as_coeff_Mul()
    factors = [Polynomial(factor) for factor in rest.as_ordered_factors() if factor != 1]
    return [Polynomial(coefficient), *factors] if coefficient != 1 else list(factors)
