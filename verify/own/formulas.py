"""The value of a SymPy expression on arrays: scalars entry by entry, matrices as a whole.

Arrays keep their kind: float64, rationals (`flint.fmpq`), or arrays that watch what is computed from them. An operation
that is not listed here has no value, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce, singledispatch
from typing import Any

import numpy as np
import sympy
from flint import fmpq
from sympy.core.relational import Relational
from sympy.matrices.expressions.matexpr import MatrixElement

from theory.core.notation import Vec

Values = Mapping[Any, Any]
TERM_LIMIT = 10_000  # of a sum or a power that is written out
ENTRY_LIMIT = 10**6  # of a constant matrix


class NoValueError(Exception):
    """An expression that has no value on arrays."""


class Place:
    """Values of the symbols, and whether numbers are rationals."""

    def __init__(self, values: Values, exact: bool = False) -> None:
        self.values, self.exact = values, exact

    def of(self, expr: Any) -> Any:
        """The value of an expression."""
        return value(expr, self)

    def size(self, expr: Any) -> int:
        """An integer: a dimension, an index, the end of a sum."""
        known = {
            symbol: sympy.Integer(int(np.asarray(self.values[symbol]).item()))
            for symbol in sympy.sympify(expr, strict=True).free_symbols
            if symbol in self.values and np.asarray(self.values[symbol]).size == 1
        }
        result = sympy.sympify(expr, strict=True).xreplace(known)
        if not result.is_Integer:
            raise NoValueError(f"{result} is not known")
        return int(result)

    def number(self, top: int, bottom: int = 1) -> Any:
        """A rational number."""
        return fmpq(top, bottom) if self.exact else top / bottom


def _erf(x: Any) -> Any:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(np.asarray(x, dtype=np.float64)), dtype=np.float64)


# Functions of scalars, entry by entry.
FUNCTIONS: Mapping[Any, Callable[..., Any]] = {
    sympy.exp: np.exp, sympy.log: np.log, sympy.sin: np.sin, sympy.cos: np.cos, sympy.tan: np.tan,
    sympy.sinh: np.sinh, sympy.cosh: np.cosh, sympy.tanh: np.tanh, sympy.asin: np.arcsin, sympy.acos: np.arccos,
    sympy.atan: np.arctan, sympy.asinh: np.arcsinh, sympy.acosh: np.arccosh, sympy.atanh: np.arctanh,
    sympy.floor: np.floor, sympy.ceiling: np.ceil, sympy.erf: _erf,
}  # fmt: skip
# Those that rationals have too.
RATIONAL: Mapping[Any, Callable[..., Any]] = {
    sympy.Abs: np.abs,
    sympy.Max: lambda *parts: reduce(np.maximum, parts),
    sympy.Min: lambda *parts: reduce(np.minimum, parts),
}


@singledispatch
def value(expr: Any, place: Place) -> Any:
    """The value of one kind of expression."""
    function = RATIONAL.get(expr.func) or (None if place.exact else FUNCTIONS.get(expr.func))
    if function is None:
        raise NoValueError(f"{type(expr).__name__} has no value on arrays")
    return function(*(place.of(part) for part in expr.args))


@value.register(sympy.Symbol)
@value.register(sympy.MatrixSymbol)
def _(expr: Any, place: Place) -> Any:
    if expr not in place.values:
        raise NoValueError(f"{expr} has no value")
    return place.values[expr]


@value.register(sympy.Rational)
def _(expr: sympy.Rational, place: Place) -> Any:
    return place.number(int(expr.p), int(expr.q))


@value.register(sympy.NumberSymbol)
def _(expr: sympy.NumberSymbol, place: Place) -> Any:
    if place.exact:
        raise NoValueError(f"{expr} is not rational")
    return float(expr)


@value.register(sympy.Indexed)
def _(expr: sympy.Indexed, place: Place) -> Any:
    base = expr.base.label
    found = place.values.get(expr.base, place.values.get(base))
    if found is None:
        raise NoValueError(f"{base} has no value")
    place_of_entry = tuple(place.size(index) - 1 for index in expr.indices)
    if any(not 0 <= i < n for i, n in zip(place_of_entry, np.shape(found), strict=False)):
        raise NoValueError(f"{expr}: the values of {base} have shape {np.shape(found)}, and are counted from 1")
    return found[place_of_entry]


@value.register(MatrixElement)
def _(expr: MatrixElement, place: Place) -> Any:
    return place.of(expr.parent)[place.size(expr.i), place.size(expr.j)]


@value.register(sympy.Add)
@value.register(sympy.MatAdd)
def _(expr: Any, place: Place) -> Any:
    return reduce(lambda a, b: a + b, (place.of(part) for part in expr.args))


@value.register(sympy.Mul)
@value.register(sympy.MatMul)
def _(expr: Any, place: Place) -> Any:
    scalars = [place.of(part) for part in expr.args if not getattr(part, "is_Matrix", False)]
    matrices = [place.of(part) for part in expr.args if getattr(part, "is_Matrix", False)]
    product = reduce(lambda a, b: a @ b, matrices) if matrices else None
    if not scalars:
        return product
    scalar = reduce(lambda a, b: a * b, scalars)
    return scalar if product is None else scalar * product


@value.register(sympy.Pow)
def _(expr: sympy.Pow, place: Place) -> Any:
    if expr.base is sympy.E and not place.exact:
        return np.exp(place.of(expr.exp))
    base, exponent = place.of(expr.base), expr.exp
    if exponent.is_Integer:
        power = base ** abs(int(exponent))
        return power if exponent >= 0 else place.number(1) / power
    if place.exact:
        raise NoValueError("a root or a power is not rational")
    return np.sqrt(base) if exponent == sympy.Rational(1, 2) else np.power(base, place.of(exponent))


@value.register(sympy.sign)
def _(expr: sympy.sign, place: Place) -> Any:
    x = place.of(expr.args[0])
    return (x > 0) * place.number(1) - (x < 0) * place.number(1)


@value.register(sympy.Heaviside)
def _(expr: sympy.Heaviside, place: Place) -> Any:
    x = place.of(expr.args[0])
    return (x > 0) * place.number(1) + np.equal(x, 0) * place.of(expr.args[1])


@value.register(sympy.Piecewise)
def _(expr: sympy.Piecewise, place: Place) -> Any:
    result: Any = math.nan
    for part, condition in reversed(expr.args):
        result = np.where(_holds(condition, place), place.of(part), result)
    return result


def _holds(condition: Any, place: Place) -> Any:
    if condition in (sympy.true, sympy.false):
        return bool(condition)
    if isinstance(condition, sympy.And | sympy.Or):
        parts = [_holds(part, place) for part in condition.args]
        return reduce(np.logical_and if isinstance(condition, sympy.And) else np.logical_or, parts)
    if isinstance(condition, sympy.Not):
        return np.logical_not(_holds(condition.args[0], place))
    if not isinstance(condition, Relational):
        raise NoValueError(f"the condition {condition} has no value on arrays")
    compare = {
        sympy.Gt: np.greater, sympy.Ge: np.greater_equal, sympy.Lt: np.less, sympy.Le: np.less_equal,
        sympy.Eq: np.equal, sympy.Ne: np.not_equal,
    }[condition.func]  # fmt: skip
    return compare(place.of(condition.lhs), place.of(condition.rhs))


@value.register(sympy.Sum)
@value.register(sympy.Product)
def _(expr: Any, place: Place) -> Any:
    if len(expr.limits) != 1:
        return place.of(expr.func(expr.func(expr.function, *expr.limits[:-1]), expr.limits[-1]))
    index, low, high = expr.limits[0]
    first, last = place.size(low), place.size(high)
    if last - first >= TERM_LIMIT:
        raise NoValueError(f"a sum of more than {TERM_LIMIT:,} terms")
    terms = [Place({**place.values, index: number}, place.exact).of(expr.function) for number in range(first, last + 1)]
    start = place.number(0 if isinstance(expr, sympy.Sum) else 1)
    return reduce((lambda a, b: a + b) if isinstance(expr, sympy.Sum) else (lambda a, b: a * b), terms, start)


# Matrices.


@value.register(sympy.MatPow)
def _(expr: sympy.MatPow, place: Place) -> Any:
    base, exponent = place.of(expr.base), place.size(expr.exp)
    if abs(exponent) > TERM_LIMIT:
        raise NoValueError(f"a matrix to the power {exponent}")
    if exponent < 0:
        base = _inverse(base, place)
    unit = base[..., :0] @ base[..., :0].T + _unit(len(base), place)
    return reduce(lambda a, b: a @ b, [base] * abs(exponent)) if exponent else unit


@value.register(sympy.Inverse)
def _(expr: sympy.Inverse, place: Place) -> Any:
    return _inverse(place.of(expr.arg), place)


def _inverse(matrix: Any, place: Place) -> Any:
    if place.exact:
        raise NoValueError("an inverse has no value in rationals here")
    return np.linalg.inv(matrix)


@value.register(sympy.Determinant)
def _(expr: sympy.Determinant, place: Place) -> Any:
    if place.exact:
        raise NoValueError("a determinant has no value in rationals here")
    return np.linalg.det(place.of(expr.arg))


@value.register(sympy.Transpose)
def _(expr: sympy.Transpose, place: Place) -> Any:
    return place.of(expr.arg).T


@value.register(sympy.Trace)
def _(expr: sympy.Trace, place: Place) -> Any:
    return np.trace(place.of(expr.arg))


@value.register(sympy.HadamardProduct)
def _(expr: Any, place: Place) -> Any:
    return reduce(lambda a, b: a * b, (place.of(part) for part in expr.args))


@value.register(sympy.KroneckerProduct)
def _(expr: sympy.KroneckerProduct, place: Place) -> Any:
    return reduce(np.kron, (place.of(part) for part in expr.args))


@value.register(Vec)
def _(expr: Vec, place: Place) -> Any:
    return place.of(expr.args[0]).reshape(-1, 1, order="F")


def _unit(size: int, place: Place) -> Any:
    _check_entries(size, size)
    return np.array([[place.number(int(i == j)) for j in range(size)] for i in range(size)])


def _check_entries(rows: int, columns: int) -> None:
    if rows * columns > ENTRY_LIMIT:
        raise NoValueError(f"a matrix of {rows} x {columns} entries")


@value.register(sympy.Identity)
def _(expr: sympy.Identity, place: Place) -> Any:
    return _unit(place.size(expr.shape[0]), place)


@value.register(sympy.ZeroMatrix)
@value.register(sympy.OneMatrix)
def _(expr: Any, place: Place) -> Any:
    rows, columns = (place.size(size) for size in expr.shape)
    _check_entries(rows, columns)
    return np.array([[place.number(int(isinstance(expr, sympy.OneMatrix)))] * columns] * rows)


@value.register(sympy.MatrixBase)
def _(expr: sympy.MatrixBase, place: Place) -> Any:
    return np.array([[np.asarray(place.of(entry)).item() for entry in row] for row in expr.tolist()])
