"""Case splitting over the signs inside Max, Min, Abs, sign, Heaviside and Piecewise.

Each branch replaces these functions by what they are under its constraints. An identity is proved if the
difference vanishes identically in every branch that is not infeasible; infeasibility is decided by linear
elimination over the monomials, which may miss it but never claims it wrongly. Nothing is refuted here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import sympy
from sympy import Abs, Basic, Expr, Heaviside, Max, Min, Piecewise, Symbol, sign
from sympy.core.relational import Relational

from theory.core.decide import ABSTAINED, CASES, SIMPLIFY, Decision, decide_zero
from theory.core.networks import UndecidedError

PIECES = (Max, Min, Abs, sign, Heaviside, Piecewise)
BRANCH_LIMIT = 150
ROW_LIMIT = 300
_CONTINUOUS = (Max, Min, Abs, sympy.exp, sympy.sin, sympy.cos, sympy.tanh)


@dataclass(frozen=True)
class Constraint:
    """``expression > 0``, ``>= 0`` or ``= 0``."""

    expression: Expr
    kind: str

    def __str__(self) -> str:
        return f"{self.expression} {self.kind} 0"


Constraints = tuple[Constraint, ...]
Row = tuple[dict[tuple, Fraction], bool]
"""A linear form in monomials that is positive (True) or nonnegative (False)."""


def has_pieces(expr: Basic) -> bool:
    """Whether an expression has a function that is split into cases."""
    return bool(expr.has(*PIECES))


def decide_by_cases(difference: Expr) -> Decision:
    """Decide that a difference is zero in every case; abstain otherwise."""
    dense = is_continuous(difference)
    count = 0
    for constraints, leaf in branches(difference, dense):
        count += 1
        decision = decide_zero(leaf)
        if not decision or decision.method == SIMPLIFY:
            where = ", ".join(map(str, constraints)) or "everywhere"
            return Decision(None, ABSTAINED, f"not proved in the case {where}")
    return Decision(True, CASES, f"0 in each of {count} cases")


def is_continuous(expr: Expr) -> bool:
    """Whether an expression is certainly continuous in real symbols: degenerate cases then follow from the others."""
    functions = expr.atoms(sympy.Function)
    powers = [p for p in expr.atoms(sympy.Pow) if p.base.free_symbols]
    return (
        all(isinstance(f, _CONTINUOUS) for f in functions)
        and all(p.exp.is_Integer and p.exp > 0 for p in powers)
        and all(s.is_real and not s.is_integer for s in expr.free_symbols)
        and all(a.is_polynomial(*a.free_symbols) for f in expr.atoms(*PIECES) for a in f.args if not has_pieces(a))
        and not expr.has(sympy.Sum, sympy.Integral, sympy.Product, sympy.Derivative)
    )


def branches(expr: Expr, dense: bool = False) -> Iterator[tuple[Constraints, Expr]]:
    """The feasible cases of an expression with what it is there; `dense` leaves degenerate cases out."""
    pending: list[tuple[Constraints, Expr]] = [((), expr)]
    steps = 0
    while pending:
        constraints, current = pending.pop()
        steps += 1
        if steps > BRANCH_LIMIT:
            raise UndecidedError(f"more than {BRANCH_LIMIT} cases")
        if not has_pieces(current):
            yield constraints, current
            continue
        for added, replacements in _split(current):
            joint, following = (*constraints, *added), current.xreplace(replacements)
            for constraint in added:
                if constraint.kind == "=":
                    joint, following = _eliminated(constraint.expression, joint, following)
            if not infeasible(joint, dense):
                pending.append((joint, following))


def _split(expr: Expr) -> list[tuple[Constraints, dict[Basic, Basic]]]:
    """The cases of an innermost piece, each with its replacement."""
    inner = [p for p in expr.atoms(*PIECES) if not any(a.has(*PIECES) for a in p.args)]
    if not inner:
        raise UndecidedError("nested conditions that are not split into cases")
    piece = min(inner, key=lambda p: (len(str(p)), str(p)))
    if isinstance(piece, Piecewise):
        return _split_condition(piece)
    args = piece.args[:1] if isinstance(piece, Heaviside) else piece.args
    for argument in args:
        require_real(argument)
    if isinstance(piece, Max | Min):
        turn = 1 if isinstance(piece, Max) else -1
        return [
            (tuple(Constraint(turn * (a - b), ">=") for b in piece.args if b is not a), {piece: a}) for a in piece.args
        ]
    e = piece.args[0]
    if isinstance(piece, Abs):
        return [((Constraint(e, ">="),), {piece: e}), ((Constraint(-e, ">="),), {piece: -e})]
    values = (1, 0, -1) if isinstance(piece, sign) else (1, piece.args[1], 0)
    return [(c, {piece: sympy.sympify(v, strict=True)}) for c, v in zip(_three(e), values, strict=True)]


def _split_condition(piece: Piecewise) -> list[tuple[Constraints, dict[Basic, Basic]]]:
    relations = sorted((r for _, c in piece.args for r in c.atoms(Relational)), key=str)
    if not relations:
        raise UndecidedError("a Piecewise whose conditions are not relations")
    relation = relations[0]
    e = relation.lhs - relation.rhs
    require_real(e)
    result = []
    for constraints, point in zip(_three(e), (1, 0, -1), strict=True):
        truth = relation.func(sympy.Integer(point), sympy.Integer(0))
        result.append((constraints, {piece: piece.xreplace({relation: truth})}))
    return result


def _three(e: Expr) -> tuple[Constraints, Constraints, Constraints]:
    return (Constraint(e, ">"),), (Constraint(e, "="),), (Constraint(-e, ">"),)


def require_real(expr: Expr) -> None:
    """Abstain where an expression is not known to be real."""
    if expr.is_extended_real is not True:
        missing = sorted(str(s) for s in expr.free_symbols if isinstance(s, Symbol) and s.is_extended_real is not True)
        raise UndecidedError(f"{', '.join(missing) or expr}: must be declared real (real=True)")


def _eliminated(e: Expr, constraints: Constraints, expr: Expr) -> tuple[Constraints, Expr]:
    """Use up ``e = 0`` where it gives a symbol in terms of others."""
    for symbol in sorted(e.free_symbols, key=str):
        slope = sympy.diff(e, symbol)
        if slope.is_Rational and slope != 0 and not expr.has(sympy.Sum, sympy.Derivative, sympy.Integral):
            put = {symbol: sympy.expand(symbol - e / slope)}
            kept = tuple(Constraint(c.expression.xreplace(put), c.kind) for c in constraints)
            signs = [(symbol.is_positive, 1, ">"), (symbol.is_negative, -1, ">")]
            signs += [(symbol.is_nonnegative, 1, ">="), (symbol.is_nonpositive, -1, ">=")]
            kept += tuple(Constraint(turn * put[symbol], kind) for known, turn, kind in signs if known)
            return kept, expr.xreplace(put)
    return constraints, expr


# Linear elimination.


def infeasible(constraints: Constraints, strictly: bool = False) -> bool:
    """Whether constraints contradict each other, monomials being taken as independent."""
    rows: list[Row] = []
    for constraint in constraints:
        form = linear_form(constraint.expression)
        if form is None:
            continue
        if not form and constraint.kind != ">":
            continue  # 0 >= 0 leaves nothing out
        strict = constraint.kind == ">" or (strictly and constraint.kind == ">=")
        rows.append((form, strict))
        if constraint.kind == "=":
            rows.append(({m: -c for m, c in form.items()}, False))
    monomials = {m for form, _ in rows for m in form if m}
    rows += [row for monomial in sorted(monomials, key=str) for row in _sign_rows(monomial)]
    for monomial in sorted(monomials, key=str):
        rows = _without(monomial, rows)
        if len(rows) > ROW_LIMIT:
            return False
    return any(form.get((), Fraction(0)) < 0 or (strict and form.get((), Fraction(0)) == 0) for form, strict in rows)


def linear_form(expr: Expr) -> dict[tuple, Fraction] | None:
    """Rational coefficients of the monomials of a polynomial, () for the constant; None for anything else."""
    expanded = sympy.expand(expr)
    form: dict[tuple, Fraction] = {}
    for term in sympy.Add.make_args(expanded):
        coefficient, rest = term.as_coeff_Mul(rational=True)
        if rest.has(sympy.Float, sympy.I, sympy.nan, sympy.oo, sympy.zoo):
            return None
        powers = rest.as_powers_dict()
        monomial = () if rest == 1 else tuple(sorted(powers.items(), key=str))
        form[monomial] = form.get(monomial, Fraction(0)) + Fraction(int(coefficient.p), int(coefficient.q))
    return {m: c for m, c in form.items() if c}


def _sign_rows(monomial: tuple) -> list[Row]:
    value = sympy.Mul(*(b**e for b, e in monomial))
    if value.is_positive:
        return [({monomial: Fraction(1)}, True)]
    if value.is_nonnegative:
        return [({monomial: Fraction(1)}, False)]
    if value.is_negative:
        return [({monomial: Fraction(-1)}, True)]
    if value.is_nonpositive:
        return [({monomial: Fraction(-1)}, False)]
    return []


def _without(monomial: tuple, rows: list[Row]) -> list[Row]:
    """Fourier-Motzkin: what the rows say about the other monomials."""
    up = [(f, s) for f, s in rows if f.get(monomial, 0) > 0]
    down = [(f, s) for f, s in rows if f.get(monomial, 0) < 0]
    rest = {(tuple(sorted(f.items(), key=str)), s) for f, s in rows if f.get(monomial, 0) == 0}
    for first, strict in up:
        for second, also in down:
            a, b = first[monomial], -second[monomial]
            form = {m: first.get(m, Fraction(0)) * b + second.get(m, Fraction(0)) * a for m in {**first, **second}}
            rest.add((tuple(sorted(((m, c) for m, c in form.items() if c), key=str)), strict or also))
        if len(rest) > ROW_LIMIT:
            break
    return [(dict(form), strict) for form, strict in rest]
