"""Instances of a matrix identity at small sizes: random integer entries may refute it, and never prove it.

Shares no code with the index notation of ``theory.core.index_notation``: SymPy's explicit ``kronecker_product`` and
``Matrix.vec``.
"""

from collections.abc import Mapping
from math import prod
from random import Random

import sympy
from sympy import (
    Expr,
    Identity,
    KroneckerProduct,
    MatAdd,
    MatMul,
    Matrix,
    MatrixExpr,
    MatrixSymbol,
    Symbol,
    Transpose,
    ZeroMatrix,
)

from theory.core.notation import Vec, without_powers

_SIZES = (2, 3, 1)
INSTANCES = 4
"""Number of instances of every identity."""


class NoInstanceError(Exception):
    """The expression has a part that is not instantiated here, so nothing can be refuted."""


def refuting_instance(left: MatrixExpr, right: MatrixExpr) -> str | None:
    """Sizes at which random integer matrices tell the two sides apart, or None."""
    symbols = sorted(left.atoms(Symbol) | right.atoms(Symbol), key=str)
    for attempt in range(INSTANCES):
        random = Random(attempt)  # noqa: S311 (a seeded search for a counterexample)
        sizes = [s for s in symbols if s.is_integer]
        values: dict[Expr, Expr] = {}
        for number, size in enumerate(sizes):
            values[size] = sympy.Integer(_SIZES[number % 3] if attempt == 0 else random.choice(_SIZES))
        for symbol in symbols:
            if not symbol.is_integer:
                values[symbol] = sympy.Rational(random.randint(1, 5), random.randint(1, 3))
        entries: dict[MatrixSymbol, Matrix] = {}
        try:
            sides = [_evaluate(side, values, entries, random) for side in (left, right)]
        except sympy.matrices.exceptions.ShapeError:
            return f"the shapes do not fit at {_show(values)}"
        except NoInstanceError:
            return None
        if sides[0] != sides[1]:
            return f"at {_show(values)} and random integer entries (seed {attempt}) the sides differ"
    return None


def _show(values: Mapping[Expr, Expr]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def _evaluate(
    expr: MatrixExpr, values: Mapping[Expr, Expr], entries: dict[MatrixSymbol, Matrix], random: Random
) -> Matrix:
    """An instance of an expression: SymPy's own explicit ``kronecker_product`` and ``Matrix.vec``."""
    expr = without_powers(expr)
    if isinstance(expr, MatrixSymbol):
        rows, columns = (int(sympy.sympify(d, strict=True).xreplace(dict(values))) for d in expr.shape)
        return entries.setdefault(expr, Matrix(rows, columns, lambda *_: random.randint(-3, 3)))
    if isinstance(expr, Identity | ZeroMatrix):
        return expr.xreplace(dict(values)).as_explicit().as_mutable()
    parts = [_evaluate(p, values, entries, random) for p in expr.args if isinstance(p, MatrixExpr)]
    if isinstance(expr, Transpose):
        return parts[0].T
    if isinstance(expr, Vec):
        return parts[0].vec()
    if isinstance(expr, KroneckerProduct):
        return sympy.kronecker_product(*parts)
    if isinstance(expr, MatAdd):
        return sum(parts[1:], start=parts[0])
    if not isinstance(expr, MatMul):
        raise NoInstanceError
    coefficient = sympy.sympify(expr.as_coeff_matrices()[0], strict=True).xreplace(dict(values))
    return prod(parts[1:], start=coefficient * parts[0])
