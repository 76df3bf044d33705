"""The claim of a statement in LaTeX, from the derivations that prove it.

The relations are those of `theory.Claim`, set by `theory.latex.render`. A relation of all derivations is shown
once; one of a single derivation carries its name (the loss), one about an update its convention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sympy

    from theory import Derivation

# Roles of symbols for a change of weights.
UPDATES = ("expected gradient", "rate")


@dataclass(frozen=True)
class Claimed:
    """The claim of a statement; `options` are those of its derivations, `named` the option that names them."""

    slug: str
    options: Callable[[], Sequence[Mapping[str, Any]]]
    named: str = ""

    def derivations(self) -> list[Derivation]:
        import theory

        return [theory.derive(self.slug, **option) for option in self.options()]

    def rows(self) -> list[tuple[sympy.Basic, str]]:
        """The relations in order, each with the words beside it."""
        options = self.options()
        statements = [derivation.claim for derivation in self.derivations()]
        every = [statement.relations for statement in statements]
        pairs = [(place, number) for number, relations in enumerate(every) for place in range(len(relations))]
        shown: dict[Any, str] = {}
        # Derivations that differ in a named option state the same of different objects: place by place.
        for place, number in sorted(pairs) if self.named else pairs:
            option, relation = options[number], every[number][place]
            common = len(every) > 1 and all(relation in relations for relations in every)
            name = str(option[self.named]) if self.named in option and not common else ""
            convention = statements[number].convention if is_update(relation) else ""
            shown.setdefault(relation, ", ".join(dict.fromkeys(word for word in (name, convention) if word)))
        return list(shown.items())

    def __call__(self) -> str:
        """The claim as one display with a row for every relation."""
        return display(self)


@lru_cache
def display(claimed: Claimed) -> str:
    """The display of a claim, cached."""
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

    return any(getattr(symbol, "role", "") in UPDATES for symbol in relation.atoms(sympy.Symbol, sympy.MatrixSymbol))
