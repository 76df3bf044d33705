"""Sides of mutants, which messages name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from verify.engine.statement import Variant


@dataclass(frozen=True)
class MutantSide:
    """A theory side that knows the name of its mutant."""

    name: str
    side: Callable[[Any, Any], Any]

    def __call__(self, instance: Any, at: Any) -> Any:
        return self.side(instance, at)


def mutant_sides(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """The mutants with sides that know their names."""
    return tuple(replace(variant, claim=MutantSide(variant.name, variant.claim)) for variant in variants)
