"""Running statements: their checks in order, the false variants, and the replay of saved instances.

Functions here compute and return; they print nothing and write nothing.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

from verify import assumption
from verify.evidence import Evidence, Kind, Measurement, Verdict, timed, verdict
from verify.registry import REGISTRY, Entry
from verify.registry import entry as known_entry
from verify.statement import Context, Statement, Variant

NOT_RUN: tuple[tuple[Kind, str], ...] = (
    ("trained", "nothing that changes along training is claimed, or it is not covered"),
    ("assumptions", "no assumption is given with a way of dropping it"),
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
        if statement.drops:
            progress(f"{statement.slug}: assumptions")
            started = time.perf_counter()
            evidence.append(timed(assumption.evidence(statement.drops, context), time.perf_counter() - started))
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
    entries: Sequence[Entry], context: Context, progress: Progress = lambda _: None, workers: int = 1
) -> Iterator[Refutation]:
    """Refute and shrink every false variant of every entry, in order.

    Parameters
    ----------
    workers : int
        Processes among which the variants are shared. What is found does not depend on it, since every search starts
        from the seed; statements that are not in the registry are searched in this process.
    """
    statements = [entry.load() for entry in entries]
    chosen = [(statement, variant) for statement in statements for variant in statement.variants]
    if workers == 1 or not all(entry in REGISTRY for entry in entries):
        for statement, variant in chosen:
            progress(f"{statement.slug}: {variant.name}")
            yield refute(statement, variant, context, shrink=True)
        return
    names = [(statement.slug, variant.name) for statement, variant in chosen]
    # Torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        for (statement, variant), found in zip(chosen, pool.map(partial(refuted, context), names), strict=True):
            progress(f"{statement.slug}: {variant.name}")
            yield Refutation(statement, variant, *found)
    finally:
        pool.shutdown(cancel_futures=True)


def refuted(context: Context, name: tuple[str, str]) -> tuple[tuple[Kind, ...], Any, Measurement | None, int]:
    """What another process finds of a variant, given by slug and name, as data that can be sent."""
    statement = known_entry(name[0]).load()
    found = refute(statement, statement.variant(name[1]), context, shrink=True)
    return found.refuted_by, found.instance, found.measurement, found.tried


def assumption_outcomes(
    entries: Sequence[Entry], context: Context, progress: Progress = lambda _: None
) -> Iterator[tuple[Statement, assumption.Outcome]]:
    """Drop every assumption of every entry in turn."""
    for entry in entries:
        statement = entry.load()
        for dropped in statement.drops:
            progress(f"{statement.slug}: {dropped.name}")
            yield statement, assumption.drop(dropped, context)


def replay(statement: Statement, claim: Any, instance: Any) -> dict[Kind, Measurement]:
    """Measure one instance by every kind of evidence that the statement has for instances."""
    return {kind: measure(instance, claim) for kind, measure in statement.measures.items()}
