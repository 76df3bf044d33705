"""Decide inequalities of commutative scalars.

Signs are proved by assumptions, coefficients, factors, real roots and Gram matrices, case by case where the sides
hold Max, Min or Abs; they are refuted by an exact point. Anything else abstains.
"""

from collections.abc import Iterator
from itertools import product

import sympy
from sympy import Expr, Rational, Symbol

from theory.core.cases import Constraint, branches, has_pieces, infeasible, is_continuous, require_real
from theory.core.convex import prove_sign
from theory.core.decide import (
    ABSTAINED,
    ASSUMPTIONS,
    CASES,
    POINT,
    SIGNS,
    Decision,
    admissible,
    describe,
    exact_number,
    exact_points,
    value_at,
    written_out,
)
from theory.core.matrix_form import has_matrices
from theory.core.networks import UndecidedError
from theory.core.signs import quadratic_directions, root_neighbours, sign_of

GRID = tuple(Rational(*x) for x in ((0, 1), (1, 1), (-1, 1), (1, 2), (-1, 2), (2, 1), (-2, 1), (10, 1), (-10, 1)))
GRID_LIMIT = 400
POINTS = 30
OPERATION_LIMIT = 600
DERIVATIVES = "monotonicity and convexity"
_TINY = sympy.Float(10) ** -20


def decide_sign(high: Expr, low: Expr, strict: bool, names: tuple[str, str] = ("left", "right")) -> Decision:
    """Decide ``high >= low``, or ``high > low``, of commutative scalars; a refutation calls them by `names`."""
    if not (high.is_commutative and low.is_commutative):
        raise UndecidedError("non-commutative symbols have no order")
    gap = high - low
    if sympy.count_ops(gap) > OPERATION_LIMIT:
        raise UndecidedError(f"more than {OPERATION_LIMIT} operations")
    _require_real(gap)
    point = _refuting_point(high, low, strict, names)
    if point is not None:
        return Decision(False, POINT, point)
    method, reason = _prove(gap, strict)
    if method is not None:
        return Decision(True, method, reason)
    how = prove_sign(gap, strict)
    if how is not None:
        return Decision(True, DERIVATIVES, how)
    return Decision(None, ABSTAINED, "no proof of the sign and no refuting point")


def _require_real(gap: Expr) -> None:
    for symbol in sorted(gap.free_symbols, key=str):
        require_real(symbol)
    rational = all(p.exp.is_Integer for p in gap.atoms(sympy.Pow)) and not gap.atoms(sympy.Function) - gap.atoms(
        sympy.Abs, sympy.Max, sympy.Min, sympy.sign, sympy.Heaviside, sympy.Piecewise
    )
    if not rational and gap.is_extended_real is not True:
        raise UndecidedError(f"{gap!s:.60} is not known to be real")


def _prove(gap: Expr, strict: bool) -> tuple[str | None, str]:
    if has_pieces(gap):
        return _prove_by_cases(gap, strict)
    sign, how = sign_of(gap)
    if sign.up and (sign.nonzero or not strict):
        return (ASSUMPTIONS if how.startswith("the assumptions") else SIGNS), how
    return None, ""


def _prove_by_cases(gap: Expr, strict: bool) -> tuple[str | None, str]:
    count = 0
    for constraints, leaf in branches(gap, dense=not strict and is_continuous(gap)):
        count += 1
        sign, _ = sign_of(leaf)
        if sign.up and (sign.nonzero or not strict):
            continue
        if not infeasible((*constraints, Constraint(-leaf, ">=" if strict else ">"))):
            return None, ""
    return CASES, f"{count} cases"


# Points.


def _candidates(left: Expr, right: Expr) -> Iterator[dict[Expr, Expr]]:
    """Points that may refute, with a value for every symbol of either side."""
    gap = left - right
    cancelled = sorted((left.free_symbols | right.free_symbols) - gap.free_symbols, key=str)
    filled = {s: next((v for v in GRID if admissible(s, v)), sympy.S.Zero) for s in cancelled}
    for point in _points(gap):
        yield {**filled, **point}


def _points(gap: Expr) -> Iterator[dict[Expr, Expr]]:
    symbols = sorted(gap.free_symbols, key=str)
    if len(GRID) ** len(symbols) <= GRID_LIMIT:
        points = sorted(product(GRID, repeat=len(symbols)), key=lambda p: sum(GRID.index(x) for x in p))
        for values in points:
            yield dict(zip(symbols, values, strict=True))
    if not has_pieces(gap):
        top = sympy.together(gap)
        yield from quadratic_directions(sympy.expand(top), symbols)
        if len(symbols) == 1:
            yield from root_neighbours(sympy.numer(top), symbols[0])
    for point, _ in exact_points(gap, POINTS):
        yield dict(point)


def _refuting_point(high: Expr, low: Expr, strict: bool, names: tuple[str, str]) -> str | None:
    gap = high - low
    for point in _candidates(high, low):
        if not all(admissible(symbol, value) for symbol, value in point.items() if isinstance(symbol, Symbol)):
            continue
        value = _value(gap, point)
        if value is None or not value.is_real:
            continue
        if value < -_TINY or (value.is_Rational and (value < 0 or (strict and value == 0))):
            sides = [side for side in (_value(high, point), _value(low, point)) if side is not None]
            if len(sides) == 2:
                texts = [str(side) if side.is_Rational else str(side.n(10)) for side in sides]
                shown = sorted(f"{name} = {text}" for name, text in zip(names, texts, strict=True))
                return f"at {describe(point)}: {', '.join(shown)}"
    return None


def _value(expr: Expr, point: dict[Expr, Expr]) -> Expr | None:
    return exact_number(written_out(value_at(expr, point)))


# Inequality of two values.


def decide_unequal(left: Expr, right: Expr) -> Decision:
    """Decide ``left != right`` of commutative scalars."""
    if has_matrices(left) or has_matrices(right) or not (left.is_commutative and right.is_commutative):
        raise UndecidedError("!= is decided for commutative scalars only")
    gap = left - right
    if gap.is_zero is False:
        return Decision(True, ASSUMPTIONS, "is_zero of the difference")
    if gap.is_zero:
        return Decision(False, ASSUMPTIONS, "at every point both sides are equal")
    for point in (*_candidates(left, right), *_zeros(gap)):
        allowed = all(admissible(s, v) for s, v in point.items() if isinstance(s, Symbol))
        if allowed and _value(gap, point) == 0 and _value(left, point) is not None:
            return Decision(False, POINT, f"at {describe(point)}: left = right = {_value(left, point)}")
    if all(s.is_extended_real for s in gap.free_symbols):
        for turn in (gap, -gap):
            method, reason = _prove(turn, strict=True)
            if method is not None:
                return Decision(True, method, reason)
    return Decision(None, ABSTAINED, "no proof that the sides differ and no point at which they are equal")


def _zeros(gap: Expr) -> Iterator[dict[Expr, Expr]]:
    """Rational zeros of a numerator that is linear in a symbol."""
    top = sympy.numer(sympy.together(gap))
    for point, _ in exact_points(gap, 6):
        for symbol in sorted(top.free_symbols, key=str):
            rest = {s: v for s, v in point.items() if s != symbol}
            line = sympy.expand(top.xreplace(rest))
            slope = sympy.diff(line, symbol)
            if slope.is_Rational and slope != 0:
                yield {**rest, symbol: sympy.expand(symbol - line / slope)}
