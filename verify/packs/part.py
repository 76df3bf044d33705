"""A pack: a statement whose formulas are the claims of a derivation, put to numbers on instances.

Each `Part` names one derivation, ``theory.derive(slug, part=name)``, and gives the values of its symbols on an
instance: gradients from an oracle that differentiates the literal loss (power series over rationals or balls, automatic
differentiation), everything else from the instance. The relations of the claim are then worked out on both sides. A
mutant is a rewrite of a claim: the derivation must not prove it, and the numbers must refute it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from verify.engine import kernel
from verify.engine.assumptions import names
from verify.engine.claims import Claimed
from verify.engine.evidence import Evidence, Kind, Measurement, counted, joined, tally
from verify.engine.rewrites import Rewrite, derivation_of
from verify.engine.runner import proof_evidence
from verify.engine.search import searched
from verify.engine.statement import Assumption, Check, Context, PaperRelation, Statement, Variant
from verify.towers import balls
from verify.towers.values import MEASURES, compared, differences

BITS = 256
Values = Mapping[str, Callable[[dict[str, str]], Any]]


class UndecidedError(Exception):
    """An instance on which nothing can be decided, with the reason: a gate near its kink, a singular matrix."""


@dataclass(frozen=True)
class Place:
    """Values of the symbols of a claim at one place of an instance, a layer for example.

    Attributes
    ----------
    values
        Role of a typed symbol to a function of its place (``{"point": "x", "copy": "1", ...}``), which gives a number,
        an array, or a function of the chosen points (see ``theory.core.evaluate``).
    further
        Values of other symbols: sizes, scalars, and the laws of ``Expect`` and ``AugmentationCovariance``.
    where
        The place in words.
    """

    values: Values
    further: Mapping[Any, Any] = field(default_factory=dict)
    where: str = ""


@dataclass(frozen=True)
class Part:
    """One formula of a pack.

    Attributes
    ----------
    name
        The option ``part`` of the derivation.
    values
        ``(instance, arithmetic, device) -> places``; arithmetic is "rational", "ball" or "float64". It may raise
        `UndecidedError`.
    exact
        The arithmetic of exact evidence: "ball" where there are exponentials, roots or eigenvalues.
    options
        Further options of the derivation.
    """

    name: str
    values: Callable[[Any, str, str], Iterable[Place]]
    exact: str = "rational"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mutant:
    """A false claim: a rewrite of the claim of one part."""

    part: str
    change: Callable[[Any], Any] = field(compare=False)


def mutant(name: str, change: str, part: str, rewrite: Rewrite, **options: Any) -> Variant:
    """A mutant of one part: exact and float evidence must refute it, and the derivation must not prove it."""
    return Variant(name, change, Mutant(part, rewrite.change), rewrite=rewrite.of(part=part), **options)


@dataclass(frozen=True)
class Pack:
    """The parts of a pack, and how an instance is measured."""

    slug: str
    parts: tuple[Part, ...]

    def measure(
        self, instance: Any, claim: Mutant | None = None, *, floating: bool = False, device: str = "cpu"
    ) -> Measurement:
        """The derived relations, or a false one in place of one of them, on an instance."""
        chosen = [part for part in self.parts if claim is None or part.name == claim.part]
        results = [self.measure_part(part, instance, claim, floating, device) for part in chosen]
        decided = [result for result in results if result.status != "abstained"]
        if not decided:
            return results[0]
        worst = max(decided, key=lambda result: result.severity)
        left = [part.name for part, result in zip(chosen, results, strict=True) if result.status == "abstained"]
        return replace(worst, detail=joined(worst.detail, f"not decided: {', '.join(left)}" if left else ""))

    def measure_part(self, part: Part, instance: Any, claim: Mutant | None, floating: bool, device: str) -> Measurement:
        """One formula on an instance; where it has no values there, nothing is decided."""
        relations = self.relations(part, None if claim is None else claim.change)
        arithmetic = "float64" if floating else part.exact
        try:
            with balls.precision(BITS):
                return MEASURES[arithmetic](self.numbers(part, relations, instance, arithmetic, device))
        except UndecidedError as reason:
            return Measurement(0.0, math.inf, False, f"{part.name}: {reason}")

    def numbers(
        self, part: Part, relations: Any, instance: Any, arithmetic: str, device: str
    ) -> Iterator[tuple[Any, ...]]:
        """Differences of both sides at every place of an instance."""
        for place in part.values(instance, arithmetic, device):
            at = f" of {part.name}{place.where}"
            yield from differences(relations, place.values, place.further, at, arithmetic)

    def relations(self, part: Part, change: Callable[[Any], Any] | None = None) -> Any:
        """The relations of a part that have numbers, rewritten or as they are."""
        return _relations(self.slug, part.name, tuple(sorted(part.options.items())), change)

    def evidence(self, floating: bool, drawn: Callable[[int, int], Iterable[Any]], context: Context) -> Evidence:
        """Every part on random instances, each decided on a quarter of them at least."""
        count = context.pick(quick=8, thorough=200)
        instances = list(drawn(context.seed, count))
        kind: Kind = "float" if floating else "exact"
        rows = []
        for part in self.parts:
            alone = partial(self.measure_part, part, claim=None, floating=floating, device=context.device)
            row = tally(kind, "toy", instances, alone, at_least=-(-count // 4), detail=part.name)
            if row.status != "holds":
                return row
            rows.append(row)
        worst = max(rows, key=lambda row: Measurement(row.worst_residual or 0.0, row.tolerance or 0.0).severity)
        relations = sum(len(self.relations(part).relations) for part in self.parts)
        least = min(row.instances for row in rows)
        detail = (
            f"{relations} derived relations of {counted(len(rows), 'formula')}, both sides from values of their "
            f"symbols; each formula decided on {least} of {count} instances or more"
        )
        return replace(worst, instances=len(instances), abstained=0, detail=detail)


@cache
def _relations(slug: str, name: str, options: tuple[Any, ...], change: Callable[[Any], Any] | None) -> Any:
    claim = derivation_of(slug, part=name, **dict(options)).claim
    return _with_numbers(claim if change is None else change(claim))


def _with_numbers(claim: Any) -> Any:
    """The claim with its relations about numbers: all but orders, limits and rates."""
    from sympy import MatrixSymbol, Symbol

    roles = {
        symbol.role
        for relation in claim.relations
        for symbol in relation.atoms(Symbol, MatrixSymbol)
        if hasattr(symbol, "role")
    }
    return compared(claim, roles)


def pack_statement(
    pack: Pack,
    *,
    title: str,
    source: str,
    not_covered: tuple[str, ...],
    relation: PaperRelation,
    instance_type: type,
    drawn: Callable[[int, int], Iterable[Any]],
    stages: Sequence[Callable[[], Any]],
    variants: tuple[Variant, ...],
    drops: tuple[Assumption, ...] = (),
    assumptions: tuple[str, ...] = (),
    checks: tuple[Check, ...] = (),
    figures: Any = None,
    examples: int = 16,
) -> Statement:
    """The statement of a pack: proof, exact and float evidence, a search, and further checks of its own.

    `drawn` gives random instances for a seed and a number, `stages` Hypothesis strategies, the smallest first.
    """
    options = [{"part": part.name, **part.options} for part in pack.parts]
    exact, floating = pack.measure, partial(pack.measure, floating=True)
    return Statement(
        slug=pack.slug,
        theorem=None,
        title=title,
        stated=Claimed(pack.slug, lambda: options, named="part"),
        assumptions=(*names(drops), *assumptions),
        not_covered=not_covered,
        source=source,
        relation_to_paper=relation,
        checks=(
            Check("symbolic", "proof", lambda _: proof_evidence(pack.slug, options)),
            Check("kernel", "theorem", partial(kernel.theorems, pack.slug)),
            Check("kernel", "identities", partial(kernel.identities, pack.slug)),
            Check("exact", "toy", partial(pack.evidence, False, drawn)),
            Check("float", "toy", partial(pack.evidence, True, drawn)),
            Check(
                "property", "search",
                searched(exact, floating, stages, quick=examples, thorough=20 * examples, among="shrinking instances"),
            ),
            *checks,
        ),
        stages=tuple(stages),
        measures={"exact": exact, "float": floating},
        instance_type=instance_type,
        variants=variants,
        drops=drops,
        figures=figures,
    )  # fmt: skip


def once(variant: Variant, kind: Any, reason: str) -> Variant:
    """A mutant that one kind of evidence alone can refute, with the reason."""
    return replace(variant, caught_by=(kind,), one_kind=reason)
