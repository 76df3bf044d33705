"""Decide whether two sides are equal, by a method that is sound for what they are.

Commutative scalars go to the polynomial normal form of `theory.core.decide` and to case splitting; matrix
expressions and scalars made of them to index notation, or to their entries where the sizes are given;
non-commutative symbols are replaced by square matrices of one generic size. Both sides are kept until a method
compares them. What no method covers abstains, and names what was missing. A refutation shows its witness.
"""

from collections.abc import Mapping
from typing import TypeAlias

import sympy
from sympy import (
    Expr,
    Float,
    Identity,
    MatAdd,
    MatMul,
    MatPow,
    MatrixBase,
    MatrixExpr,
    MatrixSymbol,
    Symbol,
    ZeroMatrix,
)

from hltm.base.errors import InputError
from theory.core import decide
from theory.core.cases import decide_by_cases, has_pieces
from theory.core.decide import ABSTAINED, POINT, POLYNOMIAL, SIMPLIFY, Decision, combine
from theory.core.explicit import entries_agree
from theory.core.instances import NoInstanceError, instances, refuting_instance
from theory.core.matrix_form import MatrixForms, difference, has_matrices
from theory.core.networks import UndecidedError
from theory.core.normal import UNDEFINED, linear_sums
from theory.core.record import note_other

Side: TypeAlias = Expr | MatrixBase
OPERATION_LIMIT = 3000


def decide_equal(left: Side, right: Side) -> Decision:
    """Decide whether two scalars or two matrices are equal wherever both are defined.

    Parameters
    ----------
    left, right
        Scalars, explicit matrices, or matrix expressions of symbolic or given size: products, sums, transposes,
        traces, determinants, inverses, integer powers, Kronecker and Hadamard products, ``vec``. Non-commutative
        symbols stand for square matrices of one size, whatever it is. Shapes must agree; 0 is a zero matrix too.

    Returns
    -------
    Decision
        True by proof, False with a witness in its detail (a point, or small rational matrices and both values),
        None where nothing decides, with what was missing in its detail.

    Source
    ------
    The matrix identities of statement 1 of arXiv 2010.00578, and claims of users.

    Examples
    --------
    >>> n = sympy.Symbol("n", integer=True, positive=True)
    >>> A, B = MatrixSymbol("A", n, n), MatrixSymbol("B", n, n)
    >>> decide_equal((A * B).T, B.T * A.T).value
    True
    >>> decide_equal(sympy.trace(A * B), sympy.trace(B * A)).value
    True
    >>> decide_equal(A * A.T, A.T * A).detail
    'at n = 2, A = [[0, 0], [1, 0]]: left = [[0, 0], [0, 1]], right = [[1, 0], [0, 0]]'
    """
    first, second = _side(left), _side(right)
    try:
        return _decide(first, second)
    except UndecidedError as missing:
        return Decision(None, ABSTAINED, str(missing))
    except (AttributeError, TypeError, NotImplementedError) as error:  # an operation that no method here knows
        return Decision(None, ABSTAINED, f"{type(error).__name__}: {error!s:.60}")


def check_identity(left: Side, right: Side, definitions: Mapping[Expr, Expr] | None = None) -> Decision:
    """Decide an equality under definitions or hypotheses ``symbol = expression``, put in until none is left."""
    given = dict(definitions or {})
    for _ in range(len(given) + 1):
        left, right = left.xreplace(given), right.xreplace(given)
    return decide_equal(left, right)


def decide_zero(expr: Side) -> Decision:
    """Decide whether a scalar, or a matrix of symbolic or given size, is identically zero.

    Parameters
    ----------
    expr
        As in `decide_equal`. Floating-point numbers make the decision abstain: they are not exact.

    Returns
    -------
    Decision
        True by proof, False by a nonzero normal form in free symbols, an exact point or a witness, None otherwise.

    Source
    ------
    The residuals of statements 1 to 4 of arXiv 2010.00578.

    Examples
    --------
    >>> from sympy.abc import x, y
    >>> decide_zero((x + y)**2 - x**2 - 2*x*y - y**2)
    Decision(value=True, method='polynomial normal form', detail='0 in 2 generators')
    >>> A, B = MatrixSymbol("A", 2, 2), MatrixSymbol("B", 2, 2)
    >>> decide_zero(A * B - B * A).value
    False
    """
    side = _side(expr)
    entries = side.flat() if isinstance(side, MatrixBase) else [side]
    if all(entry.is_commutative and not has_matrices(entry) for entry in entries):
        return decide.decide_zero(side)
    return decide_equal(side, sympy.zeros(*side.shape) if isinstance(side, MatrixBase) else sympy.S.Zero)


def _side(value: Side) -> Side:
    try:
        side: Side = value.as_immutable() if isinstance(value, MatrixBase) else sympy.sympify(value, strict=True)
    except sympy.SympifyError:
        raise InputError(f"side={value!r:.60} of a decision: must be a SymPy expression or matrix") from None
    return side


def require_exact(*sides: Side) -> None:
    """Abstain on floating-point numbers and undefined values, which no method here is exact for."""
    for side in sides:
        if not isinstance(side, Expr | MatrixBase):
            raise UndecidedError(f"{side!s:.60} is neither a scalar nor a matrix")
        inexact = side.atoms(Float) | {value for value in UNDEFINED if side.has(value)}
        if inexact:
            raise UndecidedError(f"{min(inexact, key=str)} is not an exact number")


def _decide(left: Side, right: Side) -> Decision:
    require_exact(left, right)
    if sympy.count_ops(left) + sympy.count_ops(right) > OPERATION_LIMIT and (has_matrices(left) or has_matrices(right)):
        raise UndecidedError(f"more than {OPERATION_LIMIT} operations")
    if isinstance(left, MatrixBase) and isinstance(right, MatrixBase):
        return _decide_entries(left, right)
    if has_matrices(left) or has_matrices(right):
        note_other("an identity of matrices of symbolic size")
        return _decide_matrices(*_same_kind(left, right))
    if not (left.is_commutative and right.is_commutative):
        note_other("an identity of symbols that do not commute")
        return _decide_free(left, right)
    return _decide_scalars(left, right)


def _decide_entries(left: MatrixBase, right: MatrixBase) -> Decision:
    if left.shape != right.shape:
        shapes = [f"{m.shape[0]} x {m.shape[1]}" for m in (left, right)]
        return Decision(False, POINT, f"left is {shapes[0]}, right is {shapes[1]}")
    decisions = []
    for i in range(left.shape[0]):
        for j in range(left.shape[1]):
            decision = _decide(left[i, j], right[i, j])
            if not decision:
                decision = Decision(decision.value, decision.method, f"entry ({i}, {j}): {decision.detail}")
            if decision.value is False:
                return decision
            decisions.append(decision)
    return decisions[0] if len(decisions) == 1 else combine(decisions)


# Commutative scalars.


def _decide_scalars(left: Expr, right: Expr) -> Decision:
    if left == right:
        return Decision(True, POLYNOMIAL, "both sides are one expression")
    gap = left - right  # of numbers; symbols of both sides are kept apart
    if right.free_symbols:
        gap = sympy.Add(left, sympy.Mul(-1, right, evaluate=False), evaluate=False)
    decision = decide.decide_zero(gap, (left, right))
    if has_pieces(gap) and decision.value is not False and decision.method != POLYNOMIAL:
        decision = decide_by_cases(decide.vanishing_symbols(left - right))
    if decision.value is None and gap.has(sympy.Sum):
        by_terms = decide.decide_zero(linear_sums(left) - linear_sums(right))
        decision = by_terms if by_terms.value is True else decision
    divided = any(p.exp.is_negative and p.base.free_symbols for p in gap.atoms(sympy.Pow))
    if decision.value is True and divided and decision.method == POLYNOMIAL:
        return Decision(True, POLYNOMIAL, f"{decision.detail}, as rational functions")
    if decision.value is True and decision.method == SIMPLIFY:
        return Decision(True, SIMPLIFY, "simplify gives 0")
    return Decision(decision.value, decision.method, decision.detail.replace(" the value is ", ": left - right = "))


# Matrices.


def _same_kind(left: Side, right: Side) -> tuple[Side, Side]:
    """Both sides as matrices of one shape, or both as scalars; 0 as a zero matrix, a 1 x 1 matrix as a scalar."""
    matrix = [isinstance(side, MatrixExpr | MatrixBase) for side in (left, right)]
    if all(matrix) or not any(matrix):
        return left, right
    shape = (left if matrix[0] else right).shape
    sides = [
        side if is_matrix or side != 0 else ZeroMatrix(*shape)
        for side, is_matrix in zip((left, right), matrix, strict=True)
    ]
    if shape != (1, 1) and not all(isinstance(side, MatrixExpr | MatrixBase) for side in sides):
        raise UndecidedError("a matrix and a scalar are not compared")
    return sides[0], sides[1]


def _decide_matrices(left: Side, right: Side) -> Decision:
    mismatch = _shape_witness(left, right)
    if mismatch is not None:
        return mismatch
    witness, evaluated = refuting_instance(left, right)
    reason, proof = _prove(left, right, witness is not None)
    return _verdict(proof, reason, witness, evaluated, _inverts(left) or _inverts(right))


def _verdict(proof: bool, reason: str, witness: str | None, evaluated: int, inverts: bool) -> Decision:
    if proof and witness is not None:
        return Decision(None, ABSTAINED, f"a proof ({reason}) and an instance disagree: {witness}")
    if witness is not None:
        return Decision(False, POINT, witness)
    if proof and not evaluated and inverts:
        return Decision(None, ABSTAINED, "no instance at which the inverses of both sides exist")
    if proof:
        return Decision(True, POLYNOMIAL, f"{reason}; agrees at {evaluated} instances")
    return Decision(None, ABSTAINED, f"no proof ({reason}) and no refuting instance")


def _inverts(side: Side) -> bool:
    return bool(side.has(sympy.Inverse) or any(p.exp.is_negative for p in side.atoms(MatPow, sympy.Pow)))


def _shape_witness(left: Side, right: Side) -> Decision | None:
    shapes = [side.shape if isinstance(side, MatrixExpr | MatrixBase) else (1, 1) for side in (left, right)]
    gaps = [sympy.expand(a - b) for a, b in zip(*shapes, strict=True)]
    if gaps == [0, 0]:
        return None
    symbols = sorted({s for gap in gaps for s in gap.free_symbols}, key=str)
    for at in instances(symbols, set(symbols)):
        try:
            sizes = [tuple(at.size(d) for d in shape) for shape in shapes]
        except NoInstanceError:
            continue
        if sizes[0] != sizes[1]:
            where = "".join(f"{name} = {value}, " for name, value in at.scalars.items())[:-2]
            texts = [f"{rows} x {columns}" for rows, columns in sizes]
            return Decision(
                False, POINT, (f"at {where}: " if where else "") + f"left is {texts[0]}, right is {texts[1]}"
            )
    raise UndecidedError(f"shapes {shapes[0]} and {shapes[1]} are not known to agree")


def _prove(left: Side, right: Side, witnessed: bool) -> tuple[str, bool]:
    """Whether a method proves the equality, and what it found or missed; entries only where nothing refutes."""
    try:
        reason, proof = _by_index_notation(left, right)
    except UndecidedError as missing:
        reason, proof = str(missing), False
    if proof:
        return reason, True
    if witnessed:
        return reason, False
    try:
        entries = entries_agree(left, right)
    except UndecidedError as missing:
        return f"index notation: {reason}; entries: {missing}", False
    if entries is not None:
        return f"{entries} entries at the given sizes", True
    return f"index notation: {reason}; the entries at the given sizes differ", False


def _by_index_notation(left: Side, right: Side) -> tuple[str, bool]:
    forms = MatrixForms()
    if not isinstance(left, MatrixExpr) and not isinstance(right, MatrixExpr):
        if isinstance(left, MatrixBase) or isinstance(right, MatrixBase):
            raise UndecidedError("an explicit matrix has no index form")
        scalars = forms.scalar(left), forms.scalar(right)
        proof = _decide_scalars(*scalars).value is True
        return f"index notation, {len(forms.alphabet.scalars)} scalars" if proof else "the scalars differ", proof
    (axes, first), (others, second) = (_form(forms, side) for side in (left, right))
    if first and second and axes != others:
        raise UndecidedError("the index structures of both sides differ")
    rest = difference(first, second)
    proof = forms.vanishes(rest, axes if first else others)
    return f"index notation, {len(first)} monomials" if proof else "index forms differ", proof


def _form(forms: MatrixForms, side: Side) -> tuple:
    if isinstance(side, MatrixExpr):
        return forms.form(side)
    value = forms.scalar(side)
    return ((), ()), ({} if value == 0 else {(): value})


# Non-commutative symbols.


def _decide_free(left: Expr, right: Expr) -> Decision:
    size = sympy.Dummy("n", integer=True, positive=True)
    names: dict[Symbol, MatrixSymbol] = {}
    taken: set[str] = set()
    for symbol in sorted((s for s in left.free_symbols | right.free_symbols if not s.is_commutative), key=str):
        name = symbol.name
        while name in taken:
            name += "'"
        taken.add(name)
        names[symbol] = MatrixSymbol(name, size, size)
    left, right = (_as_matrix(side, names, size) for side in (left, right))
    witness, evaluated = refuting_instance(left, right, lambda text: text.replace("_n = ", "n = ", 1))
    reason, proof = _prove(left, right, witness is not None)
    return _verdict(
        proof, f"square matrices of any size in place of the symbols: {reason}", witness, evaluated,
        _inverts(left) or _inverts(right),
    )  # fmt: skip


def _as_matrix(expr: Expr, names: dict[Symbol, MatrixSymbol], size: Expr) -> MatrixExpr:
    if expr.is_commutative:
        return ZeroMatrix(size, size) if expr == 0 else MatMul(expr, Identity(size))
    if expr in names:
        return names[expr]
    if isinstance(expr, sympy.Add):
        return MatAdd(*(_as_matrix(part, names, size) for part in expr.args))
    if isinstance(expr, sympy.Mul):
        commuting, parts = expr.args_cnc()
        return MatMul(sympy.Mul(*commuting), *(_as_matrix(part, names, size) for part in parts))
    if isinstance(expr, sympy.Pow) and expr.exp.is_Integer:
        return MatPow(_as_matrix(expr.base, names, size), expr.exp)
    raise UndecidedError(f"{type(expr).__name__} of a non-commutative symbol")
