"""Entries of matrix expressions whose sizes are given: symbols become matrices of scalar symbols."""

from functools import reduce

import sympy
from sympy import Dummy, Expr, ImmutableDenseMatrix, MatrixBase, MatrixExpr, MatrixSymbol
from sympy.matrices.expressions.matexpr import MatrixElement

from theory.core.matrix_form import has_matrices
from theory.core.networks import UndecidedError
from theory.core.notation import Vec

UNKNOWN_LIMIT = 24
ENTRY_LIMIT = 81
INVERSE_LIMIT, DETERMINANT_LIMIT = 3, 4
POWER_LIMIT = 6
Side = Expr | MatrixBase


def explicit_sides(left: Side, right: Side) -> tuple[Side, Side]:
    """Both sides written out; `UndecidedError` where a size is a symbol, or there is too much to write."""
    symbols = sorted(left.atoms(MatrixSymbol) | right.atoms(MatrixSymbol), key=str)
    if any(not d.is_Integer for symbol in symbols for d in symbol.shape):
        raise UndecidedError("the sizes are not given")
    if sum(int(s.shape[0]) * int(s.shape[1]) for s in symbols) > UNKNOWN_LIMIT:
        raise UndecidedError(f"more than {UNKNOWN_LIMIT} entries")
    entries = Entries({s: _unknown(s) for s in symbols})
    return entries.of(left), entries.of(right)


def _unknown(symbol: MatrixSymbol) -> ImmutableDenseMatrix:
    return ImmutableDenseMatrix(*symbol.shape, lambda i, j: Dummy(f"{symbol.name}_{i}{j}"))


class Entries:
    """Writes out expressions, given the entries of their symbols."""

    def __init__(self, symbols: dict[MatrixSymbol, ImmutableDenseMatrix]) -> None:
        self._symbols = symbols

    def of(self, expr: Side) -> Side:
        """The matrix or scalar written out."""
        if isinstance(expr, MatrixBase):
            return expr.applyfunc(self._scalar) if has_matrices(sympy.Tuple(*expr.flat())) else expr
        return self._matrix(expr) if isinstance(expr, MatrixExpr) else self._scalar(expr)

    def _scalar(self, expr: Expr) -> Expr:
        if not has_matrices(expr):
            return expr
        if isinstance(expr, sympy.Trace):
            return self._matrix(expr.arg).trace()
        if isinstance(expr, sympy.Determinant):
            return _determinant(self._matrix(expr.arg))
        if isinstance(expr, MatrixElement) and expr.i.is_Integer and expr.j.is_Integer:
            return self._matrix(expr.parent)[int(expr.i), int(expr.j)]
        if isinstance(expr, sympy.Add | sympy.Mul | sympy.Pow | sympy.Function):
            return expr.func(*(self._scalar(part) for part in expr.args))
        raise UndecidedError(f"{type(expr).__name__} of matrices")

    def _matrix(self, expr: MatrixExpr | MatrixBase) -> MatrixBase:
        if isinstance(expr, MatrixBase):
            return self.of(expr)
        if isinstance(expr, MatrixSymbol):
            return self._symbols[expr]
        if any(not d.is_Integer for d in expr.shape):
            raise UndecidedError("the sizes are not given")
        if int(expr.shape[0]) * int(expr.shape[1]) > ENTRY_LIMIT:
            raise UndecidedError(f"a matrix of more than {ENTRY_LIMIT} entries")
        if isinstance(expr, sympy.Identity | sympy.ZeroMatrix | sympy.OneMatrix):
            return expr.as_explicit()
        if isinstance(expr, sympy.MatPow | sympy.HadamardPower | sympy.Inverse):
            return self._power(expr)
        if isinstance(expr, sympy.MatMul):
            coefficient, parts = expr.as_coeff_matrices()
            scale = self._scalar(sympy.sympify(coefficient))
            return reduce(lambda a, b: a * b, map(self._matrix, parts)) * scale
        parts = [self._matrix(part) for part in expr.args if isinstance(part, MatrixExpr | MatrixBase)]
        if isinstance(expr, sympy.MatAdd):
            return reduce(lambda a, b: a + b, parts)
        if isinstance(expr, sympy.HadamardProduct):
            return reduce(lambda a, b: a.multiply_elementwise(b), parts)
        if isinstance(expr, sympy.KroneckerProduct):
            return sympy.kronecker_product(*parts)
        if isinstance(expr, sympy.Transpose):
            return parts[0].T
        if isinstance(expr, Vec):
            return parts[0].vec()
        if isinstance(expr, sympy.BlockMatrix):
            rows = [[self._matrix(block) for block in row] for row in expr.blocks.tolist()]
            return ImmutableDenseMatrix.vstack(*(ImmutableDenseMatrix.hstack(*row) for row in rows))
        raise UndecidedError(f"{type(expr).__name__} is not written out")

    def _power(self, expr: MatrixExpr) -> MatrixBase:
        exponent = sympy.Integer(-1) if isinstance(expr, sympy.Inverse) else expr.exp
        base = self._matrix(expr.arg if isinstance(expr, sympy.Inverse) else expr.base)
        if not exponent.is_Integer or abs(exponent) > POWER_LIMIT:
            raise UndecidedError(f"the power {exponent} of a matrix")
        if isinstance(expr, sympy.HadamardPower):
            return base.applyfunc(lambda x: x**exponent)
        if exponent < 0:
            if base.shape[0] > INVERSE_LIMIT:
                raise UndecidedError(f"an inverse of more than {INVERSE_LIMIT} rows")
            base = base.adjugate() / _determinant(base)
        return reduce(lambda a, b: a * b, [base] * abs(int(exponent)), sympy.eye(base.shape[0]).as_immutable())


def _determinant(matrix: MatrixBase) -> Expr:
    if matrix.shape[0] > DETERMINANT_LIMIT:
        raise UndecidedError(f"a determinant of more than {DETERMINANT_LIMIT} rows")
    return matrix.det(method="berkowitz")
