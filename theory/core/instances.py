"""Instances of claims about matrices: exact values at small sizes, and the witnesses that refute.

Matrices are lists of rows of rationals and are multiplied, inverted and stacked here, without SymPy and without
the index notation, so that an instance is independent of a proof. Instances refute; they never prove.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from random import Random
from typing import Any

import sympy
from sympy import Expr, MatrixBase, MatrixExpr, MatrixSymbol, Rational, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from theory.core.decide import admissible, exact_number
from theory.core.notation import Vec
from theory.core.quantity import is_own_covariance, range_of

Rows = list[list[Any]]
ENTRY_LIMIT = 900
PRODUCT_LIMIT = 30000
ATTEMPTS = 14
SHOWN = 160
_SIZES = (2, 2, 3, 1)
_ENTRIES = (0, 1, 2, -1, 1, 3, -2)


class NoInstanceError(Exception):
    """The expression has a part that is not evaluated here, or no value at this instance."""


class Instance:
    """Values of the symbols of a claim, drawn where they are first needed."""

    def __init__(self, symbols: list[Symbol], sizes: set[Symbol], random: Random, attempt: int) -> None:
        self.scalars: dict[Expr, Expr] = {}
        self.matrices: dict[MatrixSymbol, Rows] = {}
        self._random = random
        for number, symbol in enumerate(symbols):
            if symbol in sizes:
                wanted = [_SIZES[(number + attempt) % 4], *random.sample((1, 2, 3, 4, 5, 6), 6)]
                candidates = [sympy.Integer(n) for n in (wanted if attempt else [2, 3, *wanted])]
            elif (ends := range_of(symbol)) is not None:
                candidates = [ends[0] + (ends[1] - ends[0]) * Rational(random.randint(1, 15), 16) for _ in range(12)]
            else:
                candidates = [Rational(random.randint(-4, 5), random.choice((1, 1, 2, 3))) for _ in range(12)]
            value = next((v for v in candidates if admissible(symbol, v) and (symbol in sizes or v != 0)), None)
            if value is None:
                raise NoInstanceError(f"no rational value of {symbol}")
            self.scalars[symbol] = value

    def matrix(self, symbol: MatrixSymbol) -> Rows:
        """The value of a matrix symbol."""
        if symbol not in self.matrices:
            rows, columns = (self.size(d) for d in symbol.shape)
            if rows * columns > ENTRY_LIMIT:
                raise NoInstanceError("a matrix that is too large")
            draw = self._random
            drawn = [[Fraction(draw.choice(_ENTRIES)) for _ in range(columns)] for _ in range(rows)]
            # A covariance of one vector with itself is positive semidefinite.
            self.matrices[symbol] = product(drawn, _transposed(drawn)) if is_own_covariance(symbol) else drawn
        return self.matrices[symbol]

    def size(self, dimension: Expr) -> int:
        """A dimension as a number."""
        value = sympy.sympify(dimension, strict=True).xreplace(self.scalars)
        if not value.is_Integer or value < 0:
            raise NoInstanceError(f"the dimension {dimension} has no value")
        return int(value)


def symbols_of(*claims: sympy.Basic) -> tuple[list[Symbol], set[Symbol]]:
    """The scalar symbols of claims in a fixed order, and those of them that are dimensions."""
    matrices = {node for claim in claims for node in claim.atoms(MatrixSymbol)}
    shaped = {node for claim in claims for node in claim.atoms(MatrixExpr) if hasattr(node, "shape")}
    sizes = {s for node in matrices | shaped for d in node.shape for s in sympy.sympify(d, strict=True).free_symbols}
    names = {s for claim in claims for s in claim.free_symbols if isinstance(s, Symbol)}
    return sorted(names | sizes, key=lambda s: (s.name, str(sorted(s.assumptions0.items())))), sizes


def instances(symbols: list[Symbol], sizes: set[Symbol], count: int = ATTEMPTS) -> Iterator[Instance]:
    """Instances of growing variety, the same in every run."""
    for attempt in range(count):
        random = Random(attempt)  # noqa: S311 (a seeded search for a counterexample)
        try:
            yield Instance(symbols, sizes, random, attempt)
        except NoInstanceError:
            continue


def value_of(expr: Any, at: Instance) -> Any:
    """The value of a scalar (a Fraction, or a SymPy number that is not rational) or of a matrix (rows)."""
    if isinstance(expr, MatrixBase):
        return [[value_of(entry, at) for entry in row] for row in expr.tolist()]
    if isinstance(expr, MatrixExpr):
        return _matrix(expr, at)
    return _scalar(expr, at)


def _scalar(expr: Expr, at: Instance) -> Any:
    if expr.is_Rational:
        return Fraction(int(expr.p), int(expr.q))
    if not expr.has(MatrixExpr, MatrixBase, MatrixElement, sympy.Trace, sympy.Determinant):
        return _plain(expr.xreplace(at.scalars))
    if isinstance(expr, sympy.Trace):
        rows = _matrix(expr.arg, at)
        return sum((rows[i][i] for i in range(len(rows))), Fraction(0))
    if isinstance(expr, sympy.Determinant):
        return determinant(_matrix(expr.arg, at))
    if isinstance(expr, MatrixElement):
        i, j = (_scalar(index, at) for index in (expr.i, expr.j))
        rows = value_of(expr.parent, at)
        if not (0 <= i < len(rows) and 0 <= j < len(rows[0])):
            raise NoInstanceError("an entry outside of its matrix")
        return rows[int(i)][int(j)]
    if isinstance(expr, sympy.Add | sympy.Mul | sympy.Pow | sympy.Function):
        parts = [_scalar(part, at) for part in expr.args]
        return _plain(expr.func(*(_sympy(part) for part in parts)))
    raise NoInstanceError(f"{type(expr).__name__} has no instance")


def _plain(value: Expr) -> Any:
    if value.is_Rational:
        return Fraction(int(value.p), int(value.q))
    if value.free_symbols or not value.is_number or value.is_finite is not True:
        raise NoInstanceError("a scalar without a value")
    return value


def _sympy(value: Any) -> Expr:
    return Rational(value.numerator, value.denominator) if isinstance(value, Fraction) else value


def _matrix(expr: MatrixExpr | MatrixBase, at: Instance) -> Rows:
    if isinstance(expr, MatrixBase):
        rows: Rows = value_of(expr, at)
        return rows
    if isinstance(expr, MatrixSymbol):
        return at.matrix(expr)
    height, width = (at.size(d) for d in expr.shape)
    if height * width > ENTRY_LIMIT:
        raise NoInstanceError("a matrix that is too large")
    handler = next((h for kind, h in _HANDLERS if isinstance(expr, kind)), None)
    if handler is None:
        raise NoInstanceError(f"{type(expr).__name__} has no instance")
    result: Rows = handler(expr, at)
    return result


def _sum(expr: MatrixExpr, at: Instance) -> Rows:
    parts = [_matrix(part, at) for part in expr.args]
    return [[sum(entries[1:], entries[0]) for entries in zip(*rows, strict=True)] for rows in zip(*parts, strict=True)]


def _hadamard(expr: MatrixExpr, at: Instance) -> Rows:
    parts = [_matrix(part, at) for part in expr.args]
    result = parts[0]
    for part in parts[1:]:
        result = [[a * b for a, b in zip(x, y, strict=True)] for x, y in zip(result, part, strict=True)]
    return result


def _hadamard_power(expr: MatrixExpr, at: Instance) -> Rows:
    if not expr.exp.is_Integer or not 0 < expr.exp < 20:
        raise NoInstanceError("an entrywise power")
    return [[x ** int(expr.exp) for x in row] for row in _matrix(expr.base, at)]


def product(left: Rows, right: Rows) -> Rows:
    """The matrix product."""
    if left and len(left[0]) != len(right):
        raise NoInstanceError("the shapes do not fit")
    if len(left) * len(right) * len(right[0]) > PRODUCT_LIMIT:
        raise NoInstanceError("a product that is too large")
    columns = list(zip(*right, strict=True))
    return [[sum((a * b for a, b in zip(row, c, strict=True) if a != 0), Fraction(0)) for c in columns] for row in left]


def _product(expr: MatrixExpr, at: Instance) -> Rows:
    coefficient, parts = expr.as_coeff_matrices()
    scale = _scalar(sympy.sympify(coefficient, strict=True), at)
    result = _matrix(parts[-1], at)
    for part in reversed(parts[:-1]):
        result = product(_matrix(part, at), result)
    return [[scale * x for x in row] for row in result]


def _kronecker(expr: MatrixExpr, at: Instance) -> Rows:
    result: Rows = [[Fraction(1)]]
    for part in expr.args:
        block = _matrix(part, at)
        result = [[a * b for a in row for b in inner] for row in result for inner in block]
    return result


def _power(expr: MatrixExpr, at: Instance) -> Rows:
    if not expr.exp.is_Integer or abs(int(expr.exp)) > 20:
        raise NoInstanceError("a power of a matrix")
    base = _matrix(expr.base, at)
    base = base if expr.exp >= 0 else inverse(base)
    result = _unit(len(base))
    for _ in range(abs(int(expr.exp))):
        result = product(result, base)
    return result


def _unit(size: int) -> Rows:
    return [[Fraction(int(i == j)) for j in range(size)] for i in range(size)]


def _eliminated(rows: Rows) -> tuple[Rows, Any]:
    """Gauss-Jordan on a square matrix beside the identity: the inverse, and the determinant (0 without one)."""
    size = len(rows)
    if any(not isinstance(x, Fraction) for row in rows for x in row):
        raise NoInstanceError("the inverse or determinant of a matrix that is not rational")
    if any(len(row) != size for row in rows):
        raise NoInstanceError("the shapes do not fit")
    work = [[*row, *unit] for row, unit in zip(rows, _unit(size), strict=True)]
    value = Fraction(1)
    for column in range(size):
        pivot = next((r for r in range(column, size) if work[r][column] != 0), None)
        if pivot is None:
            return [], Fraction(0)
        if pivot != column:
            work[column], work[pivot], value = work[pivot], work[column], -value
        lead = work[column][column]
        value *= lead
        work[column] = [x / lead for x in work[column]]
        for r in range(size):
            factor = work[r][column]
            if r != column and factor != 0:
                work[r] = [x - factor * y for x, y in zip(work[r], work[column], strict=True)]
    return [row[size:] for row in work], value


def inverse(rows: Rows) -> Rows:
    """The inverse; `NoInstanceError` where there is none."""
    result, value = _eliminated(rows)
    if value == 0:
        raise NoInstanceError("a matrix without an inverse")
    return result


def determinant(rows: Rows) -> Any:
    """The determinant."""
    return _eliminated(rows)[1]


def _transposed(rows: Rows) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


_HANDLERS: tuple[tuple[type, Callable[[MatrixExpr, Instance], Rows]], ...] = (
    (sympy.MatAdd, _sum),
    (sympy.MatMul, _product),
    (sympy.Transpose, lambda expr, at: _transposed(_matrix(expr.arg, at))),
    (sympy.Inverse, lambda expr, at: inverse(_matrix(expr.arg, at))),
    (sympy.MatPow, _power),
    (sympy.KroneckerProduct, _kronecker),
    (sympy.HadamardProduct, _hadamard),
    (sympy.HadamardPower, _hadamard_power),
    (sympy.Identity, lambda expr, at: _unit(at.size(expr.shape[0]))),
    (
        sympy.ZeroMatrix,
        lambda expr, at: [[Fraction(0)] * at.size(expr.shape[1]) for _ in range(at.size(expr.shape[0]))],
    ),
    (sympy.OneMatrix, lambda expr, at: [[Fraction(1)] * at.size(expr.shape[1]) for _ in range(at.size(expr.shape[0]))]),
    (Vec, lambda expr, at: [[x] for column in zip(*_matrix(expr.args[0], at), strict=True) for x in column]),
)


# Witnesses.


def as_rows(value: Any) -> Rows:
    """A matrix as it is, a scalar as a matrix of one entry."""
    return value if isinstance(value, list) else [[value]]


def differ(left: Any, right: Any) -> bool:
    """Whether two values certainly differ."""
    rows = [as_rows(left), as_rows(right)]
    if [len(r) for r in rows[0]] != [len(r) for r in rows[1]]:
        return True
    pairs = ((a, b) for x, y in zip(*rows, strict=True) for a, b in zip(x, y, strict=True))
    return any(_distinct(a, b) for a, b in pairs)


def _distinct(a: Any, b: Any) -> bool:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a != b
    number = exact_number(_sympy(a) - _sympy(b))
    return number is not None and bool(number != 0)


def refuting_instance(left: Any, right: Any, unwrap: Callable[[str], str] = str) -> tuple[str | None, int]:
    """A witness that the sides differ, in words, or None; and the number of instances that were evaluated."""
    symbols, sizes = symbols_of(left, right)
    evaluated = 0
    for at in instances(symbols, sizes):
        sides = _both(left, right, at)
        if sides is None:
            continue
        evaluated += 1
        if differ(*sides):
            shrink(at, lambda here: _refutes(left, right, here))
            sides = _both(left, right, at)
            return unwrap(describe_instance(at, sizes) + _describe_sides(*(sides or ("?", "?")))), evaluated
        if not at.matrices and not at.scalars:
            break
        if evaluated >= 8:
            break
    return None, evaluated


def _refutes(left: Any, right: Any, at: Instance) -> bool:
    sides = _both(left, right, at)
    return sides is not None and differ(*sides)


def _both(left: Any, right: Any, at: Instance) -> tuple[Any, Any] | None:
    try:
        return value_of(left, at), value_of(right, at)
    except (NoInstanceError, ZeroDivisionError, OverflowError):
        return None


def shrink(at: Instance, violates: Callable[[Instance], bool]) -> None:
    """Put zeros and ones into the matrices of an instance wherever it goes on to violate a claim."""
    places = [(rows, i, j) for rows in at.matrices.values() for i, row in enumerate(rows) for j in range(len(row))]
    if len(places) > 30:
        return
    for rows, i, j in places:
        kept = rows[i][j]
        for simple in (Fraction(0), Fraction(1)):
            if kept == simple:
                break
            rows[i][j] = simple
            if violates(at):
                break
            rows[i][j] = kept


def describe_instance(at: Instance, sizes: set[Symbol]) -> str:
    """The sizes and values of an instance: ``at n = 2, A = [[1, 2], [0, 1]]``."""
    ordered = sorted(at.scalars.items(), key=lambda item: (item[0] not in sizes, str(item[0])))
    parts = [f"{name} = {value}" for name, value in ordered]
    parts += [f"{name} = {show(rows)}" for name, rows in sorted(at.matrices.items(), key=lambda item: str(item[0]))]
    return f"at {', '.join(parts)}" if parts else "at every instance"


def show(value: Any) -> str:
    """A value as text: ``[[1, 2], [0, 1]]``, ``1/2``."""
    if isinstance(value, list):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if isinstance(value, Fraction):
        return str(value)
    number = exact_number(value)
    return str(value) if number is None or number.is_Rational else str(number.n(10))


def _describe_sides(left: Any, right: Any) -> str:
    texts = [show(left), show(right)]
    if max(map(len, texts)) <= SHOWN:
        return f": left = {texts[0]}, right = {texts[1]}"
    rows = [as_rows(left), as_rows(right)]
    if [len(r) for r in rows[0]] != [len(r) for r in rows[1]]:
        return f": left is {len(rows[0])} x {len(rows[0][0])}, right is {len(rows[1])} x {len(rows[1][0])}"
    i, j = next((i, j) for i, row in enumerate(rows[0]) for j, x in enumerate(row) if _distinct(x, rows[1][i][j]))
    return f": entry ({i}, {j}) left = {show(rows[0][i][j])}, right = {show(rows[1][i][j])}"
