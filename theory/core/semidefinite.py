"""Decide whether a matrix is positive semidefinite: symmetric, with ``x^T M x >= 0`` for every real x.

Explicit matrices are decided by exact elimination or principal minors. Matrix expressions of any size are proved
as sums of ``c X X^T`` with ``c >= 0``, by closure (congruence, Kronecker and Hadamard products, inverses), or by a
Gram matrix over words; they are refuted by a small rational matrix and a vector.
"""

from fractions import Fraction
from itertools import combinations
from typing import Any

import sympy
from sympy import Expr, MatrixBase, MatrixExpr, Symbol
from sympy.logic.boolalg import BooleanFunction

from theory.core.decide import ABSTAINED, POINT, SIGNS, Decision
from theory.core.equality import decide_equal, require_exact
from theory.core.inequality import decide_sign
from theory.core.instances import (
    Instance,
    NoInstanceError,
    describe_instance,
    instances,
    show,
    shrink,
    symbols_of,
    value_of,
)
from theory.core.matrix_form import MatrixForms, has_matrices
from theory.core.networks import UndecidedError, Word, reversed_word, word_of
from theory.core.signs import negative_direction, sign_of

MINOR_LIMIT = 4
SIZE_LIMIT = 40
_INSTANCES = 8


class PositiveSemidefinite(BooleanFunction):  # type: ignore[misc]
    """The claim that a matrix is positive semidefinite; it is not evaluated, `decide_order` decides it.

    Parameters
    ----------
    matrix
        Explicit matrix or matrix expression with real entries, of shape (n, n).

    Source
    ------
    Covariance operators of arXiv 2010.00578 are of this kind.

    Examples
    --------
    >>> import theory
    >>> A = sympy.MatrixSymbol("A", 2, 3)
    >>> theory.decide_order(theory.PositiveSemidefinite(A * A.T)).value
    True
    >>> theory.decide_order(theory.PositiveSemidefinite(sympy.Matrix([[1, 2], [2, 1]]))).detail
    'x = [-2, 1]: x^T M x = -3'
    """

    nargs = 1

    def _latex(self, printer: Any) -> str:
        return rf"{printer._print(self.args[0])} \succeq 0"


def decide_semidefinite(matrix: MatrixExpr | MatrixBase) -> Decision:
    """Decide whether a matrix is positive semidefinite."""
    require_exact(matrix)
    if not isinstance(matrix, MatrixBase | MatrixExpr):
        raise UndecidedError(f"{matrix!s:.60} is not a matrix")
    gap = sympy.expand(matrix.shape[0] - matrix.shape[1])
    if gap != 0:
        if gap.is_zero is False:
            return Decision(False, POINT, f"the matrix is {matrix.shape[0]} x {matrix.shape[1]}, not square")
        raise UndecidedError("the matrix is not known to be square")
    if isinstance(matrix, MatrixBase) and not has_matrices(sympy.Tuple(*matrix.flat())):
        return _decide_explicit(matrix)
    return _decide_expression(matrix)


def _decide_explicit(matrix: MatrixBase) -> Decision:
    if matrix.shape[0] > SIZE_LIMIT:
        raise UndecidedError(f"a matrix of more than {SIZE_LIMIT} rows")
    for entry in matrix.flat():
        if entry.has(sympy.I) or any(isinstance(s, Symbol) and not s.is_real for s in entry.free_symbols):
            raise UndecidedError(f"entry {entry!s:.40} is not known to be real (real=True)")
    symmetric = decide_equal(matrix, matrix.T)
    if symmetric.value is not True:
        detail = f"the matrix is {'not' if symmetric.value is False else 'not known to be'} symmetric: "
        return Decision(symmetric.value, symmetric.method, detail + symmetric.detail)
    if all(entry.is_Rational for entry in matrix.flat()):
        rows = [[Fraction(int(x.p), int(x.q)) for x in row] for row in matrix.tolist()]
        vector, rank = negative_direction(rows)
        if vector is None:
            return Decision(True, SIGNS, f"exact elimination, rank {rank}")
        return Decision(False, POINT, _vector_text(rows, vector))
    return _decide_minors(matrix)


def _decide_minors(matrix: MatrixBase) -> Decision:
    size = matrix.shape[0]
    if size > MINOR_LIMIT:
        raise UndecidedError(f"a matrix with symbols of more than {MINOR_LIMIT} rows")
    count, missing = 0, ""
    for order in range(1, size + 1):
        for chosen in combinations(range(size), order):
            minor = sympy.factor(matrix.extract(list(chosen), list(chosen)).det(method="berkowitz"))
            decision = decide_sign(minor, sympy.S.Zero, strict=False)
            if decision.value is False:
                return Decision(
                    False, POINT, f"the principal minor of rows {list(chosen)} is negative {decision.detail}"
                )
            if decision.value is None:
                missing = missing or f"the principal minor of rows {list(chosen)}: {decision.detail}"
            count += 1
    if missing:
        return Decision(None, ABSTAINED, missing)
    return Decision(True, SIGNS, f"{count} principal minors that are nonnegative")


def _decide_expression(matrix: MatrixExpr | MatrixBase) -> Decision:
    witness, evaluated = _refute(matrix)
    if witness is not None:
        return Decision(False, POINT, witness)
    if not evaluated:
        raise UndecidedError("no instance of the matrix could be evaluated")
    reason = _prove(matrix)
    if reason is not None:
        return Decision(True, SIGNS, f"{reason}; agrees at {evaluated} instances")
    return Decision(None, ABSTAINED, "no form as a sum of c X X^T with c >= 0, and no refuting instance")


# Refutation.


def _vector_text(rows: list[list[Any]], vector: list[Fraction]) -> str:
    value = sum(x * a * y for x, row in zip(vector, rows, strict=True) for a, y in zip(row, vector, strict=True))
    return f"x = {show(list(vector))}: x^T M x = {show(Fraction(value))}"


def _refute(matrix: MatrixExpr | MatrixBase) -> tuple[str | None, int]:
    symbols, sizes = symbols_of(matrix)
    evaluated = 0
    for at in instances(symbols, sizes):
        text = _violation(matrix, at)
        if text is None:
            continue
        evaluated += 1
        if text:
            shrink(at, lambda here: bool(_violation(matrix, here)))
            return f"{describe_instance(at, sizes)}: {_violation(matrix, at)}", evaluated
        if evaluated >= _INSTANCES:
            break
    return None, evaluated


def _violation(matrix: MatrixExpr | MatrixBase, at: Instance) -> str | None:
    """How an instance violates the claim, "" if it does not, None if it has no value."""
    try:
        rows = value_of(matrix, at)
    except (NoInstanceError, ZeroDivisionError, OverflowError):
        return None
    if any(not isinstance(x, Fraction) for row in rows for x in row):
        return None
    for i, row in enumerate(rows):
        for j in range(i):
            if row[j] != rows[j][i]:
                return f"M = {show(rows)} is not symmetric"
    vector, _ = negative_direction(rows)
    return "" if vector is None else f"M = {show(rows)}, {_vector_text(rows, vector)}"


# Proof.


def _prove(matrix: MatrixExpr | MatrixBase) -> str | None:
    try:
        if isinstance(matrix, MatrixExpr) and is_semidefinite(matrix):
            return "a sum of c X X^T with c >= 0"
        return "a positive semidefinite Gram matrix over products" if _by_gram(matrix) else None
    except UndecidedError:
        return None


def is_semidefinite(expr: MatrixExpr) -> bool:
    """Whether the structure of an expression makes it positive semidefinite for all sizes and real entries."""
    if isinstance(expr, sympy.Identity | sympy.ZeroMatrix | sympy.OneMatrix):
        return True
    if isinstance(expr, sympy.Transpose | sympy.Inverse):
        return is_semidefinite(expr.arg)
    if isinstance(expr, sympy.MatPow):
        return bool(expr.exp.is_Integer) and is_semidefinite(expr.base)
    if isinstance(expr, sympy.KroneckerProduct | sympy.HadamardProduct):
        return all(part.shape[0] == part.shape[1] and is_semidefinite(part) for part in expr.args)
    if isinstance(expr, sympy.MatAdd):
        return all(is_semidefinite(part) for part in expr.args) or _by_gram(expr)
    if isinstance(expr, sympy.MatMul):
        coefficient, parts = expr.as_coeff_matrices()
        if has_matrices(coefficient) or not sign_of(coefficient)[0].up or not _is_real(coefficient):
            return False
        while len(parts) > 1 and parts[0].T.doit() == parts[-1].doit():
            parts = parts[1:-1]
        return not parts or (len(parts) == 1 and is_semidefinite(parts[0])) or _by_gram(expr)
    return False


def _is_real(expr: Expr) -> bool:
    return expr.is_extended_real is True or all(s.is_extended_real for s in expr.free_symbols)


def _by_gram(matrix: MatrixExpr | MatrixBase) -> bool:
    """Whether M is a sum of ``G_uv u v^T`` over words u, v with a positive semidefinite matrix G."""
    if not isinstance(matrix, MatrixExpr):
        return False
    try:
        forms = MatrixForms()
        _, form = forms.form(matrix)
    except UndecidedError:
        return False
    words: dict[Word, Fraction] = {}
    for key, coefficient in form.items():
        word = word_of(key)
        if word is None or not coefficient.is_Rational:
            return False
        words[word] = Fraction(int(coefficient.p), int(coefficient.q))
    halves = [w[: len(w) // 2] for w in words if len(w) % 2 == 0 and w == reversed_word(w)]
    gram = [[Fraction(0)] * len(halves) for _ in halves]
    for word, coefficient in words.items():
        pairs = [
            (i, j)
            for i, u in enumerate(halves)
            for j, v in enumerate(halves)
            if u + reversed_word(v) == word and (i == j or word != reversed_word(word))
        ]
        if not pairs:
            return False
        for i, j in pairs:
            gram[i][j] += coefficient / len(pairs)
    if any(gram[i][j] != gram[j][i] for i in range(len(gram)) for j in range(i)):
        return False
    return negative_direction(gram)[0] is None
