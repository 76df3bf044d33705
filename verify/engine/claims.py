"""The claim of a statement in LaTeX, made of the derivations whose proof is its evidence.

Nothing is typed here but words: relations are those of `theory.Statement`, set by `theory.latex.render`. A relation
of all derivations stands once; one of a single derivation carries its name (the loss), one about an update its
convention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sympy

    from theory import Derivation

# What the name of a symbol has in it that stands for a change of weights.
UPDATES = (r"\nabla", r"\dot")


@dataclass(frozen=True)
class Claimed:
    """What is claimed, derived when it is asked for."""

    slug: str
    options: Callable[[], Sequence[Mapping[str, Any]]]
    named: str = ""

    def derivations(self) -> list[Derivation]:
        """The derivations of which the claim is made."""
        import theory

        return [theory.derive(self.slug, **options) for options in self.options()]

    def rows(self) -> list[tuple[sympy.Basic, str]]:
        """The relations and what stands beside each, in the order in which they are shown."""
        result = list(zip(self.options(), self.derivations(), strict=True))
        every = [derivation.statement.relations for _, derivation in result]
        shown: dict[Any, str] = {}
        for place, number in self._order(every):
            (option, derivation), relation = result[number], every[number][place]
            common = len(result) > 1 and all(relation in relations for relations in every)
            name = str(option[self.named]) if self.named in option and not common else ""
            convention = derivation.statement.convention if is_update(relation) else ""
            shown.setdefault(relation, ", ".join(dict.fromkeys(word for word in (name, convention) if word)))
        return list(shown.items())

    def _order(self, every: Sequence[Sequence[object]]) -> list[tuple[int, int]]:
        """Place and derivation of each relation: place by place where derivations say the same of different objects."""
        pairs = [(place, number) for number, relations in enumerate(every) for place in range(len(relations))]
        return sorted(pairs) if self.named else pairs

    def __call__(self) -> str:
        """The claim: one display with a row for every relation."""
        return display(self)


@lru_cache
def display(claimed: Claimed) -> str:
    """The display of a claim, derived once."""
    from theory.latex.render import rows

    lines: list[str] = []
    parts = claimed.rows()
    for number, (relation, words) in enumerate(parts):
        *start, last = rows(relation)
        beside = rf" \quad \text{{({words})}}" if words else ""
        lines += [*start, f"{last}{',' if number < len(parts) - 1 else ''}{beside}"]
    body = " \\\\\n".join(lines)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def is_update(relation: sympy.Basic) -> bool:
    """Whether a relation says how weights change."""
    import sympy

    names = [symbol.name for symbol in relation.atoms(sympy.Symbol, sympy.MatrixSymbol)]
    return any(mark in name for mark in UPDATES for name in names)
