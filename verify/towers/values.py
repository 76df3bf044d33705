"""The derived relation of a statement on instances: both sides worked out from values of its typed symbols.

`theory` says what is related, and computes no value; values come from oracles (what a gradient is) and from the
recursions of `verify`. A relation of which an instance has no values (an order, a limit, a rank) is left out, and the
evidence says how many were compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flint import fmpq

from verify.engine.evidence import Evidence, Measurement, tally
from verify.towers import balls
from verify.towers.tower import Array, measure_differences

SOURCE = "claim"
Roles = Mapping[str, Callable[[dict[str, str]], Any]]
Parts = Iterable[tuple[Array, str]]


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

    return not relation.has(sympy.Order, sympy.Limit, Rate) and not isinstance(relation, sympy.Equivalent)


def _roles(relation: Any) -> set[str]:
    from sympy import MatrixSymbol, Symbol

    return {symbol.role for symbol in relation.atoms(Symbol, MatrixSymbol) if hasattr(symbol, "role")}


def differences(
    claim: Any, roles: Roles, further: Mapping[Any, Any], where: str = "", arithmetic: str = "rational"
) -> Iterator[tuple[Array, str]]:
    """Left side minus right side of every relation; of a strict inequality 0 where it holds, else what it lacks."""
    import sympy

    typed = {symbol: roles[symbol.role](dict(symbol.place)) for symbol in claim.quantities if hasattr(symbol, "role")}
    for number, sides in enumerate(claim.evaluate({**typed, **further}, arithmetic), start=1):
        difference = sides.left - sides.right
        if not isinstance(sides.relation, sympy.Equality):
            signed = difference if sides.relation.gts == sides.relation.lhs else -difference
            difference = signed * 0 if bool(signed[0, 0] > 0) else signed + (signed == 0)
        yield difference, f"relation {number}{where}"


def measure_rationals(parts: Parts) -> Measurement:
    """Differences in rationals: any refutes."""
    return measure_differences((part * fmpq(1), where) for part, where in parts)


def measure_balls(parts: Parts) -> Measurement:
    """Differences in balls, each of which must hold zero and be small."""
    return balls.measure_zeros((entry, where) for part, where in parts for entry in part.ravel())


def claim_evidence(
    claims: Iterable[Any], kept: int, instances: Iterable[Any], measure: Callable[[Any], Measurement], at_least: int
) -> Evidence:
    """Evidence from the derived relations, `kept` of all of which are compared."""
    total = sum(len(claim.relations) for claim in claims)
    detail = f"the derived relation, both sides from values of its symbols; {kept} of {total} relations have values"
    return tally("exact", SOURCE, instances, measure, at_least=at_least, detail=detail)
