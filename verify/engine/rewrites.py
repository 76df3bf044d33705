"""Mutants as rewrites of the claim that a derivation decides: the derivation must not prove any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theory import Claim
    from theory.core.decide import Decision

Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Rewrite:
    """A change of the claim of ``theory.derive(slug, **options)``.

    Examples
    --------
    >>> wrong, decision = times(7).decided("covariance-operator")
    >>> str(wrong.relations[0].rhs)[:3], decision.value
    ('7*(', False)
    """

    change: Callable[[Claim], Claim]
    options: Callable[[], Mapping[str, Any]] = dict

    def of(self, **options: Any) -> Rewrite:
        """The same change of the claim of another derivation."""
        return Rewrite(self.change, lambda: options)

    def decided(self, slug: str) -> tuple[Claim, Decision]:
        """The false claim, and what the derivation decides about it."""
        derivation = derivation_of(slug, **self.options())
        wrong = self.change(derivation.claim)
        if wrong == derivation.claim:
            raise ValueError(f"a rewrite of {slug} with {dict(self.options())} changes nothing")
        return wrong, derivation.decides(wrong)


@lru_cache(maxsize=32)
def derivation_of(slug: str, **options: Any) -> Any:
    """A derivation, once for the mutants that follow each other."""
    import theory

    return theory.derive(slug, **options)


def relation(change: Change, number: int = 1) -> Rewrite:
    """Change one relation of the claim, counted from 1."""

    def changed(claim: Any) -> Any:
        relations = list(claim.relations)
        relations[number - 1] = change(relations[number - 1])
        return claim.replace(relations=tuple(relations))

    return Rewrite(changed)


def left(change: Change, number: int = 1) -> Rewrite:
    """Change the left side of a relation."""
    return relation(lambda one: one.func(change(one.lhs), one.rhs, evaluate=False), number)


def right(change: Change, number: int = 1) -> Rewrite:
    """Change the right side of a relation."""
    return relation(lambda one: one.func(one.lhs, change(one.rhs), evaluate=False), number)


def times(factor: Any, number: int = 1) -> Rewrite:
    """Multiply the right side of a relation."""
    return right(lambda side: scaled(side, factor), number)


def scaled(side: Any, factor: Any) -> Any:
    """A number times an expression, matrix or scalar."""
    import sympy

    number = sympy.Rational(factor)
    return sympy.MatMul(number, side) if side.is_Matrix else number * side


def turned(number: int) -> Rewrite:
    """Turn a strict inequality round."""

    def other(one: Any) -> Any:
        import sympy

        kind = sympy.Lt if one.func == sympy.Gt else sympy.Gt
        return kind(one.lhs, one.rhs, evaluate=False)

    return relation(other, number)


def exchanged(change: Callable[[Mapping[str, Any]], Mapping[str, Any]], number: int = 1) -> Rewrite:
    """Put other expressions for symbols of the right side, by their names: a function of the symbols."""

    def put(side: Any) -> Any:
        symbols = {symbol.name: symbol for symbol in side.free_symbols}
        return side.xreplace({symbols[name]: value for name, value in change(symbols).items()})

    return right(put, number)


def rows_stacked(side: Any) -> Any:
    """vec by rows: of the transposed matrix."""
    from sympy import Transpose

    from theory.core.notation import Vec

    return side.replace(lambda part: isinstance(part, Vec), lambda part: Vec(Transpose(part.args[0])))


def without_assumption(text: str) -> Rewrite:
    """Claim the same without an assumption."""
    return Rewrite(lambda claim: claim.replace(assumptions=tuple(one for one in claim.assumptions if one != text)))


def in_convention(name: str) -> Rewrite:
    """Claim the same of the update of another convention."""
    return Rewrite(lambda claim: claim.replace(convention=name))
