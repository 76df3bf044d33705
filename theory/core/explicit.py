"""Equality of matrix expressions whose sizes are given, entry by entry in one polynomial ring.

The entries of the symbols are the generators of the ring. A matrix is a matrix of polynomials over one common
denominator, so that inverses stay exact; two sides are equal as rational functions of the entries. Too much work
raises `UndecidedError`.
"""

from collections.abc import Callable
from functools import reduce
from typing import TypeAlias

import sympy
from sympy import Expr, MatrixBase, MatrixExpr, MatrixSymbol
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.polys.rings import PolyElement, PolyRing

from theory.core.networks import UndecidedError
from theory.core.notation import Vec

UNKNOWN_LIMIT = 24
ENTRY_LIMIT = 81
SIZE_LIMIT = 4  # rows of an inverse or a determinant
POWER_LIMIT = 6
WORK_LIMIT = 200_000  # products of terms
Rows = list[list[PolyElement]]
Value = tuple[Rows, PolyElement]
Side: TypeAlias = Expr | MatrixBase


def entries_agree(left: Side, right: Side) -> int | None:
    """The number of entries if both sides agree in each, None if they do not."""
    symbols = sorted(left.atoms(MatrixSymbol) | right.atoms(MatrixSymbol), key=str)
    if any(not d.is_Integer for symbol in symbols for d in symbol.shape):
        raise UndecidedError("the sizes are not given")
    if sum(int(s.shape[0]) * int(s.shape[1]) for s in symbols) > UNKNOWN_LIMIT:
        raise UndecidedError(f"more than {UNKNOWN_LIMIT} entries")
    ring = EntryRing(symbols, {s for s in left.free_symbols | right.free_symbols if s.is_Symbol})
    (first, above), (second, below) = ring.value(left), ring.value(right)
    if (len(first), len(first[0])) != (len(second), len(second[0])):
        return None
    pairs = [(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True)]
    return len(pairs) if all(ring.times(a, below) == ring.times(b, above) for a, b in pairs) else None


class EntryRing:
    """The ring of the entries of given symbols and of the scalars beside them."""

    def __init__(self, symbols: list[MatrixSymbol], scalars: set[Expr]) -> None:
        keys = [(s, i, j) for s in symbols for i in range(int(s.shape[0])) for j in range(int(s.shape[1]))]
        self._scalars = sorted(scalars, key=str)
        names = [f"g{n}" for n in range(len(keys) + len(self._scalars))] or ["unit"]
        self._ring = PolyRing(names, sympy.QQ, sympy.polys.orderings.lex)
        self._entries = dict(zip(keys, self._ring.gens, strict=False))
        self._named = dict(zip(self._scalars, self._ring.gens[len(keys) :], strict=False))
        self._work = 0

    def times(self, a: PolyElement, b: PolyElement) -> PolyElement:
        """A product; `UndecidedError` beyond the limit of work."""
        self._work += len(a) * len(b)
        if self._work > WORK_LIMIT:
            raise UndecidedError("entries that are too long")
        return a * b

    def value(self, expr: Side) -> Value:
        """Numerators and the common denominator of an expression; a scalar is a matrix of one entry."""
        if isinstance(expr, MatrixBase):
            parts = [[self._scalar(x) for x in row] for row in expr.tolist()]
            return self._common(parts)
        if isinstance(expr, MatrixExpr):
            return self._matrix(expr)
        top, bottom = self._scalar(expr)
        return [[top]], bottom

    def _common(self, parts: list[list[tuple[PolyElement, PolyElement]]]) -> Value:
        bottom = reduce(self.times, dict.fromkeys(d for row in parts for _, d in row), self._ring.one)
        return [[self.times(n, bottom.exquo(d)) for n, d in row] for row in parts], bottom

    def _scalar(self, expr: Expr) -> tuple[PolyElement, PolyElement]:
        one = self._ring.one
        if expr.is_Rational:
            return one * sympy.QQ(int(expr.p), int(expr.q)), one
        if expr in self._named:
            return self._named[expr], one
        if isinstance(expr, sympy.Trace):
            rows, bottom = self._matrix(expr.arg)
            return sum((rows[i][i] for i in range(len(rows))), self._ring.zero), bottom
        if isinstance(expr, sympy.Determinant):
            rows, bottom = self._matrix(expr.arg)
            return self._determinant(rows), self._power_of(bottom, len(rows))
        if isinstance(expr, MatrixElement) and expr.i.is_Integer and expr.j.is_Integer:
            rows, bottom = self._matrix(expr.parent)
            return rows[int(expr.i)][int(expr.j)], bottom
        if isinstance(expr, sympy.Mul):
            tops, bottoms = zip(*(self._scalar(part) for part in expr.args), strict=True)
            return reduce(self.times, tops), reduce(self.times, bottoms)
        if isinstance(expr, sympy.Add):
            rows, bottom = self._common([[self._scalar(part) for part in expr.args]])
            return sum(rows[0], self._ring.zero), bottom
        if isinstance(expr, sympy.Pow) and expr.exp.is_Integer and abs(expr.exp) <= POWER_LIMIT:
            top, bottom = self._scalar(expr.base)
            if expr.exp < 0:
                top, bottom = bottom, self._nonzero(top)
            return self._power_of(top, abs(int(expr.exp))), self._power_of(bottom, abs(int(expr.exp)))
        raise UndecidedError(f"{type(expr).__name__} in the entries of a matrix")

    def _nonzero(self, poly: PolyElement) -> PolyElement:
        if not poly:
            raise UndecidedError("a division by zero")
        return poly

    def _power_of(self, poly: PolyElement, exponent: int) -> PolyElement:
        return reduce(self.times, [poly] * exponent, self._ring.one)

    def _matrix(self, expr: MatrixExpr | MatrixBase) -> Value:
        if isinstance(expr, MatrixBase):
            return self.value(expr)
        if any(not d.is_Integer for d in expr.shape):
            raise UndecidedError("the sizes are not given")
        if int(expr.shape[0]) * int(expr.shape[1]) > ENTRY_LIMIT:
            raise UndecidedError(f"a matrix of more than {ENTRY_LIMIT} entries")
        height, width = map(int, expr.shape)
        if isinstance(expr, MatrixSymbol):
            return [[self._entries[expr, i, j] for j in range(width)] for i in range(height)], self._ring.one
        if isinstance(expr, sympy.Identity | sympy.ZeroMatrix | sympy.OneMatrix):
            return self.value(expr.as_explicit())
        if isinstance(expr, sympy.MatPow | sympy.Inverse | sympy.HadamardPower):
            return self._power(expr)
        if isinstance(expr, sympy.MatMul):
            coefficient, factors = expr.as_coeff_matrices()
            scale, below = self._scalar(sympy.sympify(coefficient, strict=True))
            rows, bottom = reduce(self._product, map(self._matrix, factors))
            return [[self.times(scale, x) for x in row] for row in rows], self.times(below, bottom)
        parts = [self._matrix(part) for part in expr.args]
        if isinstance(expr, sympy.MatAdd):
            return reduce(self._sum, parts)
        if isinstance(expr, sympy.HadamardProduct):
            return reduce(self._hadamard, parts)
        if isinstance(expr, sympy.KroneckerProduct):
            return reduce(self._kronecker, parts)
        rows, bottom = parts[0]
        if isinstance(expr, sympy.Transpose):
            return [list(column) for column in zip(*rows, strict=True)], bottom
        if isinstance(expr, Vec):
            return [[x] for column in zip(*rows, strict=True) for x in column], bottom
        raise UndecidedError(f"{type(expr).__name__} is not written out")

    def _product(self, left: Value, right: Value) -> Value:
        columns = list(zip(*right[0], strict=True))
        rows = [[self._dot(row, column) for column in columns] for row in left[0]]
        return rows, self.times(left[1], right[1])

    def _dot(self, row: list[PolyElement], column: tuple[PolyElement, ...]) -> PolyElement:
        return sum((self.times(a, b) for a, b in zip(row, column, strict=True)), self._ring.zero)

    def _sum(self, left: Value, right: Value) -> Value:
        if left[1] == right[1]:
            return _entrywise(lambda a, b: a + b, left[0], right[0]), left[1]
        rows = _entrywise(lambda a, b: self.times(a, right[1]) + self.times(b, left[1]), left[0], right[0])
        return rows, self.times(left[1], right[1])

    def _hadamard(self, left: Value, right: Value) -> Value:
        return _entrywise(self.times, left[0], right[0]), self.times(left[1], right[1])

    def _kronecker(self, left: Value, right: Value) -> Value:
        rows = [[self.times(a, b) for a in row for b in inner] for row in left[0] for inner in right[0]]
        return rows, self.times(left[1], right[1])

    def _power(self, expr: MatrixExpr) -> Value:
        exponent = sympy.Integer(-1) if isinstance(expr, sympy.Inverse) else expr.exp
        rows, bottom = self._matrix(expr.arg if isinstance(expr, sympy.Inverse) else expr.base)
        if not exponent.is_Integer or abs(exponent) > POWER_LIMIT:
            raise UndecidedError(f"the power {exponent} of a matrix")
        if isinstance(expr, sympy.HadamardPower):
            if exponent < 0:
                raise UndecidedError("an entrywise inverse")
            power = self._power_of(bottom, int(exponent))
            return [[self._power_of(x, int(exponent)) for x in row] for row in rows], power
        if exponent < 0:
            adjugate, value = self._adjugate(rows), self._nonzero(self._determinant(rows))
            rows, bottom = [[self.times(bottom, x) for x in row] for row in adjugate], value
        unit = [[self._ring.one * int(i == j) for j in range(len(rows))] for i in range(len(rows))]
        return reduce(self._product, [(rows, bottom)] * abs(int(exponent)), (unit, self._ring.one))

    def _determinant(self, rows: Rows) -> PolyElement:
        if len(rows) > SIZE_LIMIT:
            raise UndecidedError(f"a determinant or inverse of more than {SIZE_LIMIT} rows")
        if not rows:
            return self._ring.one
        parts = (self.times(x, self._determinant(_minor(rows, 0, j))) * (-1) ** j for j, x in enumerate(rows[0]))
        return sum(parts, self._ring.zero)

    def _adjugate(self, rows: Rows) -> Rows:
        size = range(len(rows))
        return [[self._determinant(_minor(rows, j, i)) * (-1) ** (i + j) for j in size] for i in size]


def _entrywise(combine: Callable[[PolyElement, PolyElement], PolyElement], left: Rows, right: Rows) -> Rows:
    return [[combine(a, b) for a, b in zip(x, y, strict=True)] for x, y in zip(left, right, strict=True)]


def _minor(rows: Rows, i: int, j: int) -> Rows:
    return [row[:j] + row[j + 1 :] for number, row in enumerate(rows) if number != i]
