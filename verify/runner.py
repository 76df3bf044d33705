"""Running statements: their checks in order, the false variants, and the replay of saved instances.

Functions here compute and return; they print nothing and write nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from verify.evidence import Evidence, Kind, Measurement, Verdict, timed, verdict
from verify.registry import Entry
from verify.statement import Context, Statement, Variant

NOT_RUN: tuple[tuple[Kind, str], ...] = (
    ("trained", "nothing that changes along training is claimed, or it is not covered"),
    ("assumptions", "dropping the assumptions of this statement in turn is not covered yet"),
)
VARIANT_EXAMPLES = 200


@dataclass(frozen=True)
class Result:
    """A statement with all its evidence and the verdict."""

    statement: Statement
    evidence: tuple[Evidence, ...]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """Drawn from the evidence."""
        return verdict(self.evidence)


@dataclass(frozen=True)
class Refutation:
    """What became of a false variant: the kinds that refuted it, and the shrunk counterexample (None: it survived)."""

    statement: Statement
    variant: Variant
    refuted_by: tuple[Kind, ...]
    instance: Any
    measurement: Measurement | None
    tried: int

    @property
    def survived(self) -> bool:
        """Whether some kind of evidence that must refute the variant did not."""
        return set(self.refuted_by) != set(self.variant.caught_by)


Progress = Callable[[str], None]


def run(entries: Sequence[Entry], context: Context, progress: Progress = lambda _: None) -> Iterator[Result]:
    """Run every check of every entry; a statement's result is given as soon as it is complete.

    Parameters
    ----------
    entries : sequence of Entry
    context : Context
    progress : callable
        Told in words what is about to run.
    """
    for entry in entries:
        progress(f"{entry.slug}: loading")
        statement = entry.load()
        begun = time.perf_counter()
        evidence = []
        for check in statement.checks:
            progress(f"{statement.slug}: {check.kind} ({check.source})")
            started = time.perf_counter()
            found = check.run(context)
            evidence.append(timed(found, time.perf_counter() - started))
        progress(f"{statement.slug}: variants")
        started = time.perf_counter()
        evidence.append(timed(variants_evidence(statement, context), time.perf_counter() - started))
        ran = {row.kind for row in evidence}
        evidence += [Evidence(kind, "not-run", detail=why) for kind, why in NOT_RUN if kind not in ran]
        yield Result(statement, tuple(evidence), time.perf_counter() - begun)


def refute(
    statement: Statement,
    variant: Variant,
    context: Context,
    *,
    shrink: bool,
    examples: int = VARIANT_EXAMPLES,
) -> Refutation:
    """Search for one instance that every kind of evidence named by the variant refutes.

    Where none is found, the kinds are searched one by one, so that the survivor is known by name.
    """
    from verify.search import deepening

    def together(kinds: Sequence[Kind]) -> Callable[[Any], Measurement]:
        def measure(instance: Any) -> Measurement:
            found = []
            for kind in kinds:
                found.append(statement.measures[kind](instance, variant.claim))
                # All must refute: after the first that does not, the dearer kinds need not run.
                if found[-1].status != "refuted":
                    return found[-1]
            return min(found, key=lambda f: f.severity)

        return measure

    tried = 0
    for kinds in (variant.caught_by, *((kind,) for kind in variant.caught_by)):
        found = deepening(statement.stages, together(kinds), examples=examples, seed=context.seed, shrink=shrink)
        tried += found.tried
        if found.instance is not None:
            measured = together(kinds)(found.instance)
            return Refutation(statement, variant, tuple(kinds), found.instance, measured, tried)
    return Refutation(statement, variant, (), None, None, tried)


def variants_evidence(statement: Statement, context: Context) -> Evidence:
    """Every false variant must be refuted by every kind of evidence that it names."""
    tried = 0
    for variant in statement.variants:
        found = refute(statement, variant, context, shrink=False)
        tried += found.tried
        if found.survived:
            missing = sorted(set(variant.caught_by) - set(found.refuted_by))
            return Evidence(
                "variants", "refuted", "search", len(statement.variants), variant=variant.name,
                detail=f"the false variant {variant.name!r} survives {', '.join(missing)}",
            )  # fmt: skip
    if not statement.variants:
        return Evidence("variants", "abstained", "search", detail="there is no false variant to refute")
    return Evidence(
        "variants", "holds", "search", len(statement.variants),
        detail=f"{len(statement.variants)} false variants refuted, {tried} instances tried",
    )  # fmt: skip


def refutations(
    entries: Sequence[Entry], context: Context, progress: Progress = lambda _: None
) -> Iterator[Refutation]:
    """Refute and shrink every false variant of every entry."""
    for entry in entries:
        statement = entry.load()
        for variant in statement.variants:
            progress(f"{statement.slug}: {variant.name}")
            yield refute(statement, variant, context, shrink=True)


def replay(statement: Statement, claim: Any, instance: Any) -> dict[Kind, Measurement]:
    """Measure one instance by every kind of evidence that the statement has for instances."""
    return {kind: measure(instance, claim) for kind, measure in statement.measures.items()}
