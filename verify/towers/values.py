"""The derived relation of a statement on instances: both sides worked out from values of its typed symbols.

In rationals or balls, and once more in float64, where every value carries a bound of its rounding error.

`theory` says what is related, and computes no value; values come from oracles (what a gradient is) and from the
recursions of `verify`. A relation of which an instance has no values (an order, a limit, a rank) is left out, and the
evidence says how many were compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, reduce
from typing import Any

import numpy as np
from flint import arb, fmpq

from verify.engine.evidence import Evidence, Kind, Measurement, tally
from verify.tolerance import rounding
from verify.tolerance.running import Bounded, bounded
from verify.towers import balls
from verify.towers.tower import Array, Parts, measure_differences, refuted_sides

SOURCE = "claim"
USELESS = 1e-6  # a bound that is larger, against the sides or 1, decides nothing
Roles = Mapping[str, Callable[[dict[str, str]], Any]]


def compared(claim: Any, roles: Iterable[str]) -> Any:
    """The claim with the relations whose typed symbols all have a role that is known; ValueError where none has."""
    known = set(roles)
    kept = tuple(relation for relation in claim.relations if _is_instant(relation) and _roles(relation) <= known)
    if not kept:
        raise ValueError(f"nothing of the claim {claim.text!r} can be put to numbers")
    return claim.replace(relations=kept)


def _is_instant(relation: Any) -> bool:
    """Whether a relation is about numbers of one instance."""
    import sympy

    from theory.core.notation import Rate
    from theory.core.semidefinite import PositiveSemidefinite

    about_all = sympy.Equivalent | sympy.Ne | PositiveSemidefinite
    return not relation.has(sympy.Order, sympy.Limit, Rate) and not isinstance(relation, about_all)


def _roles(relation: Any) -> set[str]:
    from sympy import MatrixSymbol, Symbol

    return {symbol.role for symbol in relation.atoms(Symbol, MatrixSymbol) if hasattr(symbol, "role")}


def differences(
    claim: Any, roles: Roles, further: Mapping[Any, Any], where: str = "", arithmetic: str = "rational"
) -> Iterator[tuple[Array, str, Array, Array]]:
    """Left side minus right side of every relation, its place, and both; of an inequality what it lacks, else 0."""
    import sympy

    from theory.core.notation import SumOver

    typed = {symbol: roles[symbol.role](dict(symbol.place)) for symbol in claim.quantities if hasattr(symbol, "role")}
    values = {**typed, **further}
    if arithmetic == "float64":
        values = {symbol: value if symbol is SumOver else in_float64(value) for symbol, value in values.items()}
    chosen = with_bounds() if arithmetic == "float64" else arithmetic
    for number, sides in enumerate(claim.evaluate(values, chosen), start=1):
        difference = sides.left - sides.right
        if not isinstance(sides.relation, sympy.Equality):
            signed = difference if sides.relation.gts == sides.relation.lhs else -difference
            difference = lacking(signed, strict=isinstance(sides.relation, sympy.Gt | sympy.Lt))
        elif arithmetic == "float64":
            difference = useful(difference, sides.left, sides.right)
        yield difference, f"relation {number}{where}", sides.left, sides.right


@cache
def with_bounds() -> Any:
    """Float64 with a bound of the error of every number."""
    import sympy

    from theory.core.evaluate import Arithmetic

    functions: dict[Any, Callable[..., Any]] = {
        sympy.Abs: abs, sympy.exp: Bounded.exp, sympy.log: Bounded.log, sympy.sqrt: Bounded.sqrt,
        sympy.Max: lambda *x: reduce(Bounded.max, x), sympy.Min: lambda *x: reduce(Bounded.min, x),
    }  # fmt: skip
    return Arithmetic("float64 with error bounds", in_float64, functions)


@rounding.quiet
def useful(difference: Array, left: Array, right: Array) -> Array:
    """Differences with an infinite bound in place of one that is not small against the sides, or against 1."""

    def kept(gap: Bounded, one: Bounded, other: Bounded) -> Bounded:
        size = max(1.0, abs(one.value), abs(other.value))
        return gap if gap.error <= USELESS * size else Bounded(gap.value, math.inf)

    return np.frompyfunc(kept, 3, 1)(difference, left, right)


def lacking(signed: Array, strict: bool) -> Array:
    """What a number lacks of being above zero, or of not being below: 0 where it is so."""
    number = signed[0, 0]
    if not isinstance(number, Bounded):
        holds = bool(number > 0) or (not strict and bool(number == 0))
        return signed * 0 if holds else signed + (signed == 0)
    # Within its error nothing is decided.
    if not abs(number.value) > number.error:
        return np.array([[Bounded(0.0, math.inf)]], dtype=object)
    return np.array([[Bounded(min(number.value, 0.0), 0.0)]], dtype=object)


def in_float64(value: Any) -> Any:
    """A value rounded to float64 with the bound of that rounding; of functions and lists what they hold."""
    if callable(value):
        return lambda at: in_float64(value(at))
    if isinstance(value, fmpq):
        exact = (value.p * value.q).bit_length() <= 53 and value.q & (value.q - 1) == 0
        number = int(value.p) / int(value.q)
        return Bounded(number) if exact else Bounded.rounded(number)
    if isinstance(value, arb):
        return Bounded.rounded(float(value.mid()), 2.0, float(value.rad()))
    if isinstance(value, Bounded | int | float | np.number):
        return bounded(value if isinstance(value, Bounded | int) else float(value))
    entries = np.asarray(value, dtype=object)
    return np.frompyfunc(in_float64, 1, 1)(entries)


SIDES = ("left side", "right side")
"""Names of the sides of a relation."""


def measure_rationals(parts: Parts) -> Measurement:
    """Differences in rationals: any refutes."""
    return measure_differences(((part * fmpq(1), *rest) for part, *rest in parts), SIDES)


def measure_balls(parts: Parts) -> Measurement:
    """Differences in balls, each of which must hold zero and be small."""
    last: list[Any] = []

    def entries() -> Iterator[tuple[Any, str]]:
        for part, where, *sides in parts:
            last[:] = [where, part, *sides]
            yield from ((entry, where) for entry in part.ravel())

    found = balls.measure_zeros(entries())
    if found.status != "refuted":
        return found
    # The first ball that does not hold zero ended the loop.
    wrong = np.frompyfunc(lambda ball: not ball.contains(0), 1, 1)(last[1]).astype(bool)
    return replace(found, apart=refuted_sides(*last, wrong=wrong, roles=SIDES))


def measure_floats(parts: Parts) -> Measurement:
    """Differences in float64, each within its own bound."""
    every = [
        (Measurement(abs(entry.value), entry.error, detail=where), (part, *both))
        for part, where, *both in parts
        for entry in map(bounded, part.flat)
    ]
    known = [row for row in every if row[0].status != "abstained"]
    nothing = (Measurement(0.0, 0.0, False, "no bound"), (None,))
    worst, (part, *both) = max(known, key=lambda row: (row[0].severity, row[0].tolerance), default=nothing)
    if worst.status == "refuted":
        wrong = np.frompyfunc(lambda entry: abs(bounded(entry).value) > bounded(entry).error, 1, 1)(part)
        return replace(worst, apart=refuted_sides(worst.detail, part, *both, wrong=wrong.astype(bool), roles=SIDES))
    if len(known) == len(every):
        return worst
    open_ = next(one for one, _ in every if one.status == "abstained")
    return Measurement(worst.residual, math.inf, False, f"the rounding error of {open_.detail} has no bound")


MEASURES: Mapping[str, Callable[[Parts], Measurement]] = {
    "rational": measure_rationals, "ball": measure_balls, "float64": measure_floats,
}  # fmt: skip


def claim_evidence(
    kind: Kind,
    claims: Iterable[Any],
    kept: int,
    instances: Iterable[Any],
    measure: Callable[[Any], Measurement],
    at_least: int,
) -> Evidence:
    """Evidence from the derived relations, `kept` of all of which are compared."""
    total = sum(len(claim.relations) for claim in claims)
    detail = f"the derived relation, both sides from values of its symbols; {kept} of {total} relations have values"
    return tally(kind, SOURCE, instances, measure, at_least=at_least, detail=detail)
