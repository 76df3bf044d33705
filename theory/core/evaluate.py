"""Numbers for the relations of a claim: both sides in fractions, in balls, or in float64.

Symbols are looked up, never computed: what a symbol is worth comes from outside of `theory`, so that the agreement of
the two sides says something. One formula serves the three arithmetics.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce, singledispatch
from itertools import product
from typing import Any

import numpy as np
import sympy
from flint import arb, fmpq
from sympy import Basic, Integer, MatrixSymbol, Rational, Symbol

from hltm.base.errors import InputError
from theory.core.notation import AugmentationCovariance, Covariance, Expect, SumOver, Vec
from theory.core.quantity import MatrixQuantity, ScalarQuantity

Array = Any
"""A NumPy array of two axes, of fractions, balls or float64."""


@dataclass(frozen=True)
class Sides:
    """A relation with the values of its two sides, arrays of shape (rows, columns)."""

    relation: Basic
    left: Array
    right: Array


@dataclass(frozen=True)
class Arithmetic:
    """How numbers are made, and the functions that the arithmetic has."""

    name: str
    number: Callable[[fmpq], Any]
    functions: Mapping[Any, Callable[..., Any]]
    kind: type = object


_COMMON: dict[Any, Callable[..., Any]] = {sympy.Abs: abs}
ARITHMETICS = {
    "rational": Arithmetic("rational", lambda value: value, _COMMON | {sympy.Max: max, sympy.Min: min}),
    "ball": Arithmetic(
        "ball",
        arb,
        _COMMON
        | {
            sympy.exp: lambda x: x.exp(), sympy.log: lambda x: x.log(), sympy.sqrt: lambda x: x.sqrt(),
            sympy.Max: lambda *x: reduce(arb.max, x), sympy.Min: lambda *x: reduce(arb.min, x),
        },
    ),
    "float64": Arithmetic(
        "float64",
        lambda value: int(value.p) / int(value.q),
        _COMMON
        | {sympy.exp: math.exp, sympy.log: math.log, sympy.sqrt: math.sqrt, sympy.Max: max, sympy.Min: min},
        kind=float,
    ),
}  # fmt: skip


def _rational(value: Any) -> fmpq:
    return value if isinstance(value, fmpq) else fmpq(value.numerator, value.denominator)


def evaluate(
    relations: tuple[Basic, ...], values: Mapping[Basic, Any], arithmetic: "str | Arithmetic" = "float64"
) -> tuple[Sides, ...]:
    """Both sides of every relation; see ``Claim.evaluate``."""
    chosen = arithmetic if isinstance(arithmetic, Arithmetic) else ARITHMETICS.get(arithmetic)
    if chosen is None:
        raise InputError(f"arithmetic={arithmetic!r:.40} of evaluate: must be one of {', '.join(ARITHMETICS)}")
    place = Place(values, chosen)
    return tuple(Sides(relation, *(place.of(side) for side in relation.args)) for relation in relations)


class Place:
    """Values of symbols, and the arithmetic in which expressions are worked out.

    A value may be a function of a dictionary: of the points of an expectation, by their names, and of the neuron k of a
    sum. The probabilities of the points are the value of `Expect`, the number of neurons that of `SumOver`.
    """

    def __init__(self, values: Mapping[Any, Any], arithmetic: Arithmetic, at: Mapping[str, int] | None = None) -> None:
        self.values, self.arithmetic, self.at = values, arithmetic, at or {}

    def where(self, **at: int) -> "Place":
        """The same with further points, or a neuron, chosen."""
        return Place(self.values, self.arithmetic, {**self.at, **at})

    def of(self, expr: Basic) -> Array:
        """The value of an expression, an array of two axes."""
        return self.array(value(expr, self))

    def size(self, expr: Basic) -> int:
        """A dimension as an integer."""
        sizes = {symbol: Integer(int(self.values[symbol])) for symbol in expr.free_symbols if symbol in self.values}
        return int(expr.xreplace(sizes))

    def symbol(self, symbol: Basic) -> Array:
        """The value that was given for a symbol."""
        if symbol not in self.values:
            raise InputError(f"values of evaluate: {sympy.sstr(symbol)} has none")
        found = self.values[symbol]
        return self.array(found(self.at) if callable(found) else found)

    def array(self, entries: Any) -> Array:
        """An array of two axes; a number has shape (1, 1), a list is a column."""
        result: Array = np.asarray(entries, dtype=self.arithmetic.kind)
        if self.arithmetic.name == "rational":
            result = np.asarray(np.frompyfunc(_rational, 1, 1)(result), dtype=object)
        return (
            result.reshape(len(result), -1) if result.ndim == 1 else result.reshape(1, 1) if not result.ndim else result
        )

    def each(self, function: Callable[..., Any], *parts: Array) -> Array:
        """A function of scalars."""
        return self.array(function(*(part[0, 0] for part in parts)))


@singledispatch
def value(expr: Basic, place: Place) -> Array:
    """The value of one kind of expression; more kinds are registered with ``value.register``."""
    function = place.arithmetic.functions.get(expr.func)
    if function is None:
        raise InputError(
            f"{type(expr).__name__} of evaluate: the {place.arithmetic.name} arithmetic has no such operation"
        )
    return place.each(function, *(place.of(part) for part in expr.args))


@value.register(Symbol)
@value.register(MatrixSymbol)
@value.register(sympy.Indexed)
def _(expr: Basic, place: Place) -> Array:
    found = place.symbol(expr)
    if isinstance(expr, MatrixSymbol) and all(size in place.values or size.is_number for size in expr.shape):
        shape = tuple(place.size(size) for size in expr.shape)
        if found.shape != shape:
            raise InputError(f"values of evaluate: {expr.name} has shape {found.shape}, must have {shape}")
    return found


@value.register(Rational)
def _(expr: Rational, place: Place) -> Array:
    return place.array(place.arithmetic.number(fmpq(int(expr.p), int(expr.q))))


@value.register(sympy.Add)
@value.register(sympy.MatAdd)
def _(expr: Basic, place: Place) -> Array:
    return reduce(lambda a, b: a + b, (place.of(part) for part in expr.args))


@value.register(sympy.Mul)
@value.register(sympy.MatMul)
def _(expr: Basic, place: Place) -> Array:
    scalar, product = None, None
    for part in expr.args:
        factor = place.of(part)
        if not getattr(part, "is_Matrix", False):
            scalar = factor[0, 0] if scalar is None else scalar * factor[0, 0]
        else:
            product = factor if product is None else product @ factor
    if product is None:
        return place.array(scalar)
    return product if scalar is None else product * scalar


@value.register(sympy.Pow)
def _(expr: sympy.Pow, place: Place) -> Array:
    base, exponent = place.of(expr.base), expr.exp
    if expr.base is sympy.E:
        return value(sympy.exp(exponent, evaluate=False), place)
    if isinstance(exponent, Integer):
        return place.each(lambda x: x ** int(exponent), base)
    root = place.arithmetic.functions.get(sympy.sqrt)
    if exponent == Rational(1, 2) and root is not None:
        return place.each(root, base)
    power = place.of(exponent)[0, 0]
    if place.arithmetic.name == "rational":
        if power.q != 1:
            raise InputError("Pow of evaluate: the rational arithmetic has no roots")
        power = int(power.p)
    return place.each(lambda x: x**power, base)


@value.register(sympy.MatPow)
def _(expr: sympy.MatPow, place: Place) -> Array:
    if not (expr.exp.is_Integer and expr.exp > 0):
        raise InputError(f"MatPow of evaluate: the exponent {expr.exp} must be a positive integer")
    return reduce(lambda a, b: a @ b, [place.of(expr.base)] * int(expr.exp))


@value.register(sympy.Transpose)
def _(expr: sympy.Transpose, place: Place) -> Array:
    return place.of(expr.arg).T


@value.register(sympy.Trace)
def _(expr: sympy.Trace, place: Place) -> Array:
    return place.array(np.trace(place.of(expr.arg)))


@value.register(sympy.KroneckerProduct)
def _(expr: sympy.KroneckerProduct, place: Place) -> Array:
    return reduce(np.kron, (place.of(part) for part in expr.args))


@value.register(Vec)
def _(expr: Vec, place: Place) -> Array:
    return place.of(expr.args[0]).reshape(-1, 1, order="F")


@value.register(sympy.Identity)
@value.register(sympy.ZeroMatrix)
def _(expr: Basic, place: Place) -> Array:
    rows, columns = (place.size(size) for size in expr.shape)
    one = int(isinstance(expr, sympy.Identity))
    entries = [[place.arithmetic.number(fmpq(one * (i == j))) for j in range(columns)] for i in range(rows)]
    return place.array(entries)


@value.register(sympy.MatrixBase)
def _(expr: sympy.MatrixBase, place: Place) -> Array:
    return place.array([[place.of(entry)[0, 0] for entry in row] for row in expr.tolist()])


@value.register(Expect)
def _(expr: Expect, place: Place) -> Array:
    return _mean(expr.args[0], place, _copies(expr))


@value.register(Covariance)
def _(expr: Covariance, place: Place) -> Array:
    first, second = expr.args
    copies = _copies(expr)
    together = _mean(sympy.MatMul(first, sympy.Transpose(second)), place, copies)
    return together - _mean(first, place, copies) @ _mean(second, place, copies).T


@value.register(AugmentationCovariance)
def _(expr: AugmentationCovariance, place: Place) -> Array:
    first, second = expr.args
    copies = _copies(expr)
    points = sorted({point for point, _ in copies})
    total = None
    for chance, at in _everywhere(points, place):
        here = place.where(**at)
        a, b = (_mean(part, here, copies, given=True) for part in (first, second))
        part = (_mean(sympy.MatMul(first, sympy.Transpose(second)), here, copies, given=True) - a @ b.T) * chance
        total = part if total is None else total + part
    return total


def _copies(expr: Basic) -> list[tuple[str, str]]:
    """The points of an expression, each with a copy of its augmentation or without."""
    typed = [dict(symbol.place) for symbol in expr.atoms(MatrixQuantity, ScalarQuantity)]
    return sorted({(point, at.get("copy", "")) for at in typed for point in at.get("point", "").split()})


def _everywhere(points: list[str], place: Place) -> Iterator[tuple[Any, dict[str, int]]]:
    """Every assignment of points, with its probability."""
    law = place.values[Expect]
    for chosen in product(range(len(law)), repeat=len(points)):
        yield reduce(lambda a, b: a * b, (law[point] for point in chosen), 1), dict(zip(points, chosen, strict=True))


def _mean(expr: Basic, place: Place, copies: list[tuple[str, str]], given: bool = False) -> Array:
    """The mean over points and augmentations, or over augmentations alone where the points are given."""
    points = sorted({point for point, _ in copies})
    drawn = [(point, copy) for point, copy in copies if copy]
    total = None
    for chance, at in [(1, {})] if given else _everywhere(points, place):
        here = place.where(**at)
        rows = [place.values[AugmentationCovariance][here.at[point]] for point, _ in drawn]
        for chosen in product(*(range(len(row)) for row in rows)):
            weight = reduce(lambda a, b: a * b, (row[n] for row, n in zip(rows, chosen, strict=True)), chance)
            names = {f"{point} {copy}": n for (point, copy), n in zip(drawn, chosen, strict=True)}
            part = here.where(**names).of(expr) * weight
            total = part if total is None else total + part
    return total


@value.register(SumOver)
def _(expr: SumOver, place: Place) -> Array:
    return reduce(lambda a, b: a + b, (place.where(k=k).of(expr.args[0]) for k in range(place.values[SumOver])))


@value.register(sympy.Sum)
@value.register(sympy.Product)
def _(expr: Basic, place: Place) -> Array:
    sizes = {
        bound: Integer(place.size(bound)) for _, *ends in expr.limits for end in ends for bound in end.free_symbols
    }
    return place.of(_written_out(expr.xreplace(sizes)))


@lru_cache(maxsize=256)
def _written_out(expr: Basic) -> Basic:
    """A sum or product of known length, term by term; once for all values."""
    return expr.doit()
