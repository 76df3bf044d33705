"""Decide ``>=``, ``>``, ``<=``, ``<`` and ``!=`` of scalars, and positive semidefiniteness of matrices.

Scalars without matrices go to `theory.core.inequality`, sums of traces and matrices to
`theory.core.semidefinite`. Anything else abstains.
"""

from fractions import Fraction

import sympy
from sympy import Eq, Expr, Ge, Gt, Le, Lt, Ne

from theory.core.decide import ABSTAINED, ASSUMPTIONS, POINT, SIGNS, Decision
from theory.core.equality import decide_equal, require_exact
from theory.core.inequality import decide_sign, decide_unequal
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
from theory.core.matrix_form import has_matrices
from theory.core.networks import UndecidedError
from theory.core.semidefinite import PositiveSemidefinite, decide_semidefinite
from theory.core.signs import sign_of


def decide_order(relation: sympy.Basic) -> Decision:
    """Decide an inequality of scalars, or that a matrix is positive semidefinite.

    Parameters
    ----------
    relation
        ``Ge``, ``Gt``, ``Le``, ``Lt`` or ``Ne`` of real scalars, or a `PositiveSemidefinite`. ``Eq`` goes to
        `decide_equal`.

    Returns
    -------
    Decision
        True if the relation holds wherever both sides are defined, False with a point, a vector or matrices at which
        it does not, None where nothing decides.

    Source
    ------
    Claims of users; bounds such as the one of statement 7 (arXiv 2010.00578).

    Examples
    --------
    >>> x, y = sympy.symbols("x y", real=True)
    >>> decide_order(sympy.Ge(x**2 + y**2, 2 * x * y)).value
    True
    >>> decide_order(sympy.Gt(x**2 + y**2, 2 * x * y)).detail
    'at x = 0, y = 0: left = 0, right = 0'
    """
    claim = sympy.sympify(relation, strict=True)
    try:
        return _decide(claim)
    except UndecidedError as missing:
        return Decision(None, ABSTAINED, str(missing))


def _decide(claim: sympy.Basic) -> Decision:
    if claim in (sympy.true, sympy.false):
        return Decision(bool(claim), ASSUMPTIONS, "SymPy's evaluation of the relation")
    if isinstance(claim, PositiveSemidefinite):
        return decide_semidefinite(claim.args[0])
    if isinstance(claim, Eq):
        return decide_equal(claim.lhs, claim.rhs)
    if not isinstance(claim, Ge | Gt | Le | Lt | Ne):
        raise UndecidedError(f"{type(claim).__name__} is not an order")
    require_exact(claim.lhs, claim.rhs)
    if isinstance(claim, Ne):
        return decide_unequal(claim.lhs, claim.rhs)
    strict = isinstance(claim, Gt | Lt)
    if isinstance(claim, Ge | Gt):
        return _decide_sign(claim.lhs, claim.rhs, strict, ("left", "right"))
    return _decide_sign(claim.rhs, claim.lhs, strict, ("right", "left"))


def _decide_sign(high: Expr, low: Expr, strict: bool, names: tuple[str, str]) -> Decision:
    decided_by = _decide_traces if has_matrices(high) or has_matrices(low) else decide_sign
    return decided_by(high, low, strict, names)


# Traces.


def _decide_traces(high: Expr, low: Expr, strict: bool, names: tuple[str, str]) -> Decision:
    """Scalars of matrices: a nonnegative sum of traces of semidefinite matrices, or small rational matrices."""
    symbols, sizes = symbols_of(high, low)
    for at in instances(symbols, sizes):
        if not _violates(high, low, strict, at):
            continue
        shrink(at, lambda here: _violates(high, low, strict, here))
        values = [show(value_of(side, at)) for side in (high, low)]
        shown = sorted(f"{name} = {value}" for name, value in zip(names, values, strict=True))
        return Decision(False, POINT, f"{describe_instance(at, sizes)}: {', '.join(shown)}")
    rest, matrices = [], []
    for term in sympy.Add.make_args(sympy.expand(high - low)):
        traces = [part for part in sympy.Mul.make_args(term) if isinstance(part, sympy.Trace)]
        if len(traces) == 1 and not has_matrices(term / traces[0]):
            matrices.append((term / traces[0], traces[0].arg))
        elif has_matrices(term):
            raise UndecidedError("an order of matrix scalars other than a sum of traces")
        else:
            rest.append(term)
    constant, _ = sign_of(sympy.Add(*rest))
    if not constant.up or (strict and not constant.nonzero):
        raise UndecidedError("no proof of the sign of a sum of traces")
    groups: dict[tuple, list] = {}
    for coefficient, matrix in matrices:
        groups.setdefault(matrix.shape, []).append(sympy.MatMul(coefficient, matrix))
    for parts in groups.values():
        decision = decide_semidefinite(sympy.MatAdd(*parts) if len(parts) > 1 else parts[0])
        if decision.value is not True:
            raise UndecidedError("no proof that the matrix under a trace is positive semidefinite")
    return Decision(True, SIGNS, "traces of positive semidefinite matrices")


def _violates(high: Expr, low: Expr, strict: bool, at: Instance) -> bool:
    try:
        values = [value_of(side, at) for side in (high, low)]
    except (NoInstanceError, ZeroDivisionError, OverflowError):
        return False
    if not all(isinstance(value, Fraction) for value in values):
        return False
    return bool(values[0] < values[1] or (strict and values[0] == values[1]))


def decide_relation(relation: sympy.Basic) -> Decision:
    """Decide a relation of any kind on its own; what SymPy has evaluated already is taken at its word."""
    if relation in (sympy.true, sympy.false):
        return Decision(bool(relation), "SymPy's evaluation of the relation")
    if isinstance(relation, Eq):
        return decide_equal(relation.lhs, relation.rhs)
    if isinstance(relation, Ge | Gt | Le | Lt | Ne | PositiveSemidefinite):
        return decide_order(relation)
    return Decision(None, ABSTAINED, f"{type(relation).__name__} is not decided here")
