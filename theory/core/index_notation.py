"""Decide a matrix identity for all sizes at once, in index notation.

Both sides are written component by component, as sums over dummy indices of products of matrix entries, and
the canonical forms are compared. The row of ``vec(A)`` is the double index (b, a) of A[b, a], and
``(P kron Q)[(b, a), (i, j)] = P[a, j] Q[b, i]``, so column stacking is part of the notation: a Kronecker
product in the wrong order, or stacked rows, does not pass. Every identity is also instantiated at small
sizes, which may refute it. Used for statement 1 in all sizes (arXiv 2010.00578).
"""

from collections.abc import Iterator, Mapping
from itertools import count, pairwise, permutations, product
from math import prod
from random import Random
from typing import NamedTuple

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

from theory.core.decide import ABSTAINED, POINT, POLYNOMIAL, Decision, decide_zero
from theory.core.notation import Vec, without_powers

_SIZES = (2, 3, 1)
INSTANCES = 4
"""Number of instances of every identity."""
DELTA = "delta"


class Index(NamedTuple):
    """An index: free or dummy, its number, and the dimension that it runs over."""

    free: bool
    number: int
    dimension: Expr


Factor = tuple[str, tuple[Index, ...]]
Term = tuple[Expr, list[Factor]]
Axes = tuple[tuple[Expr, ...], tuple[Expr, ...]]
Numbers = Iterator[int]
Key = tuple[tuple[str, tuple[tuple[bool, int], ...]], ...]


class ShapeError(Exception):
    """The index structure of two sides differs: they are not comparable for all sizes."""


class NoInstanceError(Exception):
    """The expression has a part that is not instantiated here, so nothing can be refuted."""


def check_identity(
    left: MatrixExpr, right: MatrixExpr, definitions: Mapping[MatrixExpr, MatrixExpr] | None = None
) -> Decision:
    """Decide a matrix identity for all sizes, under definitions or hypotheses ``symbol = expression``."""
    left, right = substitute(left, definitions or {}), substitute(right, definitions or {})
    try:
        first, second = normal_form(left), normal_form(right)
        equal = first[0] == second[0] and _same(first[1], second[1])
        reason = f"{len(first[1])} index monomials" if equal else "index forms differ"
    except ShapeError as error:
        equal, reason = False, str(error)
    point = refuting_instance(left, right)
    if equal and point is None:
        return Decision(True, POLYNOMIAL, f"index notation, {reason}; agrees at {INSTANCES} small sizes")
    if equal:
        return Decision(None, ABSTAINED, f"index notation and an instance disagree: {point}")
    if point is not None:
        return Decision(False, POINT, point)
    return Decision(None, ABSTAINED, reason)


def _same(first: Mapping[Key, Expr], second: Mapping[Key, Expr]) -> bool:
    return all(
        decide_zero(first.get(key, sympy.S.Zero) - second.get(key, sympy.S.Zero)).value is True
        for key in {**first, **second}
    )


def substitute(expr: MatrixExpr, definitions: Mapping[MatrixExpr, MatrixExpr]) -> MatrixExpr:
    """Replace symbols by their definitions until none is left (definitions do not refer to themselves)."""
    for _ in range(len(definitions) + 1):
        expr = expr.xreplace(dict(definitions))
    return expr


def normal_form(expr: MatrixExpr) -> tuple[Axes, dict[Key, Expr]]:
    """Index structure and canonical components of a matrix expression, the zero ones left out."""
    structure = axes(expr)
    sizes = structure[0] + structure[1]
    free = [Index(True, number, size) for number, size in enumerate(sizes)]
    cut = len(structure[0])
    collected: dict[Key, list[Expr]] = {}
    for coefficient, factors in _terms(expr, tuple(free[:cut]), tuple(free[cut:]), count()):
        total, left = _contract(coefficient, factors)
        collected.setdefault(_canonical(left), []).append(total)
    sums = {key: sympy.Add(*parts) for key, parts in collected.items()}
    return structure, {key: value for key, value in sums.items() if decide_zero(value).value is not True}


def axes(expr: MatrixExpr) -> Axes:
    """Elementary dimensions of rows and columns, fastest first; a dimension of 1 has no index."""
    expr = without_powers(expr)
    if isinstance(expr, Transpose):
        rows, columns = axes(expr.arg)
        return columns, rows
    if isinstance(expr, Vec):
        rows, columns = axes(expr.args[0])
        return rows + columns, ()
    if isinstance(expr, KroneckerProduct):
        parts = [axes(part) for part in reversed(expr.args)]
        return sum((p[0] for p in parts), ()), sum((p[1] for p in parts), ())
    if isinstance(expr, MatMul):
        return _axes_of_product([axes(part) for part in expr.as_coeff_matrices()[1]])
    if isinstance(expr, MatAdd):
        parts = [axes(part) for part in expr.args if not isinstance(part, ZeroMatrix)]
        if any(part != parts[0] for part in parts):
            raise ShapeError("summands have different index structures")
        return parts[0]
    if isinstance(expr, MatrixSymbol | Identity | ZeroMatrix):
        rows, columns = expr.shape
        return tuple(d for d in (rows,) if d != 1), tuple(d for d in (columns,) if d != 1)
    raise ShapeError(f"{type(expr).__name__} has no index form")


def _axes_of_product(parts: list[Axes]) -> Axes:
    for left, right in pairwise(parts):
        if left[1] != right[0]:
            raise ShapeError(f"factors do not chain: columns {left[1]}, rows {right[0]}")
    return parts[0][0], parts[-1][1]


def _terms(expr: MatrixExpr, rows: tuple[Index, ...], columns: tuple[Index, ...], dummies: Numbers) -> list[Term]:
    expr = without_powers(expr)
    if isinstance(expr, ZeroMatrix):
        return []
    if isinstance(expr, Identity):
        return [(sympy.S.One, [(DELTA, rows + columns)] if rows else [])]
    if isinstance(expr, MatrixSymbol):
        return [(sympy.S.One, [(expr.name, rows + columns)])]
    if isinstance(expr, Transpose):
        return _terms(expr.arg, columns, rows, dummies)
    if isinstance(expr, Vec):
        cut = len(axes(expr.args[0])[0])
        return _terms(expr.args[0], rows[:cut], rows[cut:], dummies)
    if isinstance(expr, MatAdd):
        return [term for part in expr.args for term in _terms(part, rows, columns, dummies)]
    if isinstance(expr, KroneckerProduct):
        return _kronecker_terms(expr, rows, columns, dummies)
    return _product_terms(expr, rows, columns, dummies)


def _kronecker_terms(
    expr: KroneckerProduct, rows: tuple[Index, ...], columns: tuple[Index, ...], dummies: Numbers
) -> list[Term]:
    factors = []
    for part in reversed(expr.args):
        up, across = (len(axis) for axis in axes(part))
        factors.append(_terms(part, rows[:up], columns[:across], dummies))
        rows, columns = rows[up:], columns[across:]
    return _multiply(sympy.S.One, factors)


def _product_terms(expr: MatMul, rows: tuple[Index, ...], columns: tuple[Index, ...], dummies: Numbers) -> list[Term]:
    coefficient, parts = expr.as_coeff_matrices()
    inner = [tuple(Index(False, next(dummies), size) for size in axes(part)[1]) for part in parts[:-1]]
    starts, ends = [rows, *inner], [*inner, columns]
    factors = [_terms(p, start, end, dummies) for p, start, end in zip(parts, starts, ends, strict=True)]
    return _multiply(coefficient, factors)


def _multiply(coefficient: Expr, sums: list[list[Term]]) -> list[Term]:
    return [
        (coefficient * prod((c for c, _ in choice), start=sympy.S.One), [f for _, fs in choice for f in fs])
        for choice in product(*sums)
    ]


def _contract(coefficient: Expr, factors: list[Factor]) -> Term:
    """Use up the Kronecker deltas that hold a dummy index."""
    pending = list(factors)
    while True:
        usable = next((f for f in pending if f[0] == DELTA and not all(i.free for i in f[1])), None)
        if usable is None:
            return coefficient, pending
        pending.remove(usable)
        keep, drop = sorted(usable[1], key=lambda i: not i.free)
        if keep == drop:
            used = any(drop in indices for _, indices in pending)
            coefficient = coefficient if used else coefficient * drop.dimension
            continue
        pending = [(n, tuple(keep if i == drop else i for i in indices)) for n, indices in pending]


def _canonical(factors: list[Factor]) -> Key:
    """The least form of a product over the orders of equal names, dummies numbered as they first appear."""
    groups: dict[str, list[Factor]] = {}
    for name, indices in factors:
        ordered = tuple(sorted(indices)) if name == DELTA else indices
        groups.setdefault(name, []).append((name, ordered))
    best: Key | None = None
    for choice in product(*(permutations(groups[name]) for name in sorted(groups))):
        numbers: dict[Index, int] = {}
        key = tuple(
            (name, tuple((i.free, i.number if i.free else numbers.setdefault(i, len(numbers))) for i in indices))
            for group in choice
            for name, indices in group
        )
        best = key if best is None else min(best, key)
    return best or ()


# Instances at small sizes: random integer entries may refute an identity, and never prove it.


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
