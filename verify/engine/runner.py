"""Run statements: their checks in order, their mutants and assumptions, and replays of saved instances.

Functions here compute and return; they print nothing and write nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError
from hltm.base.progress import SILENT, Progress
from verify.engine import assumptions as assumption
from verify.engine import html
from verify.engine.evidence import (
    NO_NUMBER,
    Evidence,
    Kind,
    Measurement,
    Verdict,
    counted,
    evidence_table,
    timed,
    verdict,
)
from verify.engine.processes import SEVERAL, helpers, map_in_processes
from verify.engine.rewrites import Rewrite
from verify.engine.statement import Check, Context, Statement, Variant
from verify.registry import PACKS, REGISTRY, Entry
from verify.registry import entry as known_entry

if TYPE_CHECKING:
    from theory import Derivation
    from theory.core.decide import Decision
    from verify.engine.disagreement import Disagreement

NOT_RUN: tuple[tuple[Kind, str], ...] = (
    ("kernel", "nothing that a proof assistant can check is claimed"),
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
    interrupted: bool = False

    @property
    def verdict(self) -> Verdict:
        """The verdict on the evidence; an interrupted run may refute, but not hold."""
        result = verdict(self.evidence)
        return "abstained" if self.interrupted and result == "holds" else result

    def _repr_html_(self) -> str:
        heading = escape(f"{self.statement.heading} [{self.statement.slug}] {self.verdict}")
        instances = "".join(html.instance(row.counterexample) for row in self.evidence)
        return f"<p><b>{heading}</b>: {escape(self.statement.title)}</p>{evidence_table(self.evidence)}{instances}"


@dataclass(frozen=True)
class Refutation:
    """The outcome for a mutant: the kinds that refuted it, and the counterexample (None: it survived)."""

    statement: Statement
    variant: Variant
    refuted_by: tuple[Kind, ...]
    instance: Any
    measurement: Measurement | None
    tried: int
    undecided: int = 0

    @property
    def survived(self) -> bool:
        """Whether a kind of evidence that must refute the variant did not."""
        return set(self.refuted_by) != set(self.variant.caught_by)

    @cached_property
    def derived(self) -> Decision | None:
        """What the derivation decides about the mutant; None where it is no rewrite of a claim."""
        rewrite = self.variant.rewrite
        return rewrite.decided(self.statement.slug)[1] if isinstance(rewrite, Rewrite) else None

    @property
    def apart(self) -> Disagreement | None:
        """Both sides on the counterexample, where there are two."""
        if self.measurement is None or self.measurement.apart is None:
            return None
        from verify.engine.disagreement import of_mutant

        return of_mutant(self.measurement.apart, self.instance)

    @property
    def open(self) -> bool:
        """Whether it survived only because no instance could be decided."""
        return self.survived and self.undecided == self.tried

    @property
    def status(self) -> Literal["refuted", "survived", "open"]:
        """The outcome in one word; `open` comes before `survived`. Neither refutes the statement."""
        return "open" if self.open else "survived" if self.survived else "refuted"

    def _repr_html_(self) -> str:
        outcome = f"refuted by {', '.join(self.refuted_by)}"
        outcome = {"open": "left open", "survived": "survives"}.get(self.status, outcome)
        row = (self.statement.slug, self.variant.name, self.variant.change, outcome, self.tried)
        titles = ("statement", "variant", "change", "outcome", "instances tried")
        return html.table([row], titles) + html.instance(self.instance)


def run(
    entries: Sequence[Entry], context: Context, progress: Progress = SILENT, only: Kind | None = None
) -> Iterator[Result]:
    """Run every check of every entry, yielding each statement's result as soon as it is complete.

    On Ctrl-C the current statement is yielded with the evidence it has, before KeyboardInterrupt is raised again.
    """
    progress.start(None, "loading the statements")
    statements = [entry.load() for entry in entries]
    chosen = [[check for check in all_checks(statement) if only in (None, check.kind)] for statement in statements]
    progress.start(sum(len(checks) for checks in chosen))
    with measured_aside(entries, chosen, context) as run_check:
        for statement, checks in zip(statements, chosen, strict=True):
            begun = time.perf_counter()
            evidence: list[Evidence] = []
            try:
                for check in checks:
                    progress.step(f"{statement.slug}: {check.kind} ({check.source})")
                    evidence.append(run_check(statement, check))
            except OutOfTimeError as error:
                evidence += cut(checks[len(evidence) :], str(error))
            except KeyboardInterrupt:
                yield interrupted(statement, evidence, time.perf_counter() - begun, only)
                raise
            evidence += not_run(statement, {row.kind for row in evidence}, only)
            yield Result(statement, tuple(evidence), time.perf_counter() - begun)


def cut(rest: Sequence[Check], reason: str) -> list[Evidence]:
    """Evidence rows where the code of a user's statement was cut: the check abstains, and further ones do not run."""
    rows = [Evidence(check.kind, "not-run", check.source, detail="a side was cut") for check in rest[1:]]
    return [Evidence(rest[0].kind, "abstained", rest[0].source, detail=reason), *rows]


ASIDE: tuple[Kind, ...] = ("exact", "float", "property", "trained")
"""Kinds whose evidence is numbers, which another process can send."""
RunCheck = Callable[[Statement, Check], Evidence]


@contextmanager
def measured_aside(entries: Sequence[Entry], chosen: Sequence[Sequence[Check]], context: Context) -> Iterator[RunCheck]:
    """Measure several packs in a second process while this one derives and refutes; the others run here.

    The seven statements have figures, which are drawn in a second process already.
    """
    if len(entries) < SEVERAL or (os.cpu_count() or 1) == 1 or not all(entry in PACKS for entry in entries):
        yield lambda _, check: run_timed(check, context)
        return
    with helpers(1) as send:
        running: dict[tuple[str, Check], Future[Evidence]] = {}
        with suppress(OSError, BrokenProcessPool):  # a machine that lets no further process start
            for entry, checks in zip(entries, chosen, strict=True):
                places = {check: number for number, check in enumerate(all_checks(entry.load()))}
                for check in checks:
                    if check.kind in ASIDE:
                        running[entry.slug, check] = send(run_registered, entry.slug, places[check], context)

        def run_check(statement: Statement, check: Check) -> Evidence:
            with suppress(KeyError, BrokenProcessPool):
                return running[statement.slug, check].result()
            return run_timed(check, context)

        yield run_check


def run_registered(slug: str, number: int, context: Context) -> Evidence:
    """Run one check of a registered statement, in another process."""
    return run_timed(all_checks(known_entry(slug).load())[number], context)


def run_timed(check: Check, context: Context) -> Evidence:
    """Run a check and note the seconds that it took."""
    started = time.perf_counter()
    result = check.run(context)
    return timed(result, time.perf_counter() - started)


def all_checks(statement: Statement) -> tuple[Check, ...]:
    """The checks of a statement, those of its mutants and assumptions last."""
    checks = [*statement.checks, Check("variants", "search", partial(variants_evidence, statement))]
    if statement.drops:
        checks.append(Check("assumptions", "instances", partial(assumption.evidence, statement.drops)))
    return tuple(checks)


def not_run(statement: Statement, ran: set[Kind], only: Kind | None) -> list[Evidence]:
    """Evidence rows for the kinds that did not run, each with the reason."""
    reasons = {kind: why for kind, why in NOT_RUN if only in (None, kind)}
    if only is not None:
        reasons |= {check.kind: f"only {only} was asked for" for check in all_checks(statement)}
    return [Evidence(kind, "not-run", detail=why) for kind, why in reasons.items() if kind not in ran]


def interrupted(
    statement: Statement, evidence: Sequence[Evidence], seconds: float = 0.0, only: Kind | None = None
) -> Result:
    """The result of a statement that was interrupted or not reached; rows of the missing checks say so."""
    rest = [check for check in all_checks(statement) if only in (None, check.kind)][len(evidence) :]
    rows = [*evidence, *(Evidence(check.kind, "not-run", check.source, detail="interrupted") for check in rest)]
    return Result(statement, (*rows, *not_run(statement, {row.kind for row in rows}, only)), seconds, interrupted=True)


def refute(
    statement: Statement, variant: Variant, context: Context, *, shrink: bool, examples: int = VARIANT_EXAMPLES
) -> Refutation:
    """Search for one instance that every kind of evidence named by the variant refutes.

    Without one, each kind is searched alone, to name those that the variant survives. InputError for a mutant that
    gives no number on any instance.
    """
    from verify.engine.search import deepening

    without_numbers = 0

    def together(kinds: Sequence[Kind]) -> Callable[[Any], Measurement]:
        def measure(instance: Any) -> Measurement:
            nonlocal without_numbers
            result = []
            for kind in kinds:
                result.append(statement.measures[kind](instance, variant.claim))
                # All must refute: after the first that does not, the dearer kinds need not run.
                if result[-1].status != "refuted":
                    without_numbers += result[-1].detail == NO_NUMBER
                    return result[-1]
            return min(result, key=lambda f: f.severity)

        return measure

    tried = undecided = 0
    for kinds in (variant.caught_by, *((kind,) for kind in variant.caught_by)):
        result = deepening(statement.stages, together(kinds), examples=examples, seed=context.seed, shrink=shrink)
        tried, undecided = tried + result.tried, undecided + result.undecided
        if result.instance is not None:
            measured = together(kinds)(result.instance)
            return Refutation(statement, variant, tuple(kinds), result.instance, measured, tried, undecided)
    if 0 < tried == without_numbers:
        raise InputError(
            f"variant {variant.name!r} of statement {statement.slug!r}: is NaN on all {counted(tried, 'instance')}, "
            "must be a false statement that numbers refute"
        )
    return Refutation(statement, variant, (), None, None, tried, undecided)


def variants_evidence(statement: Statement, context: Context) -> Evidence:
    """Refute every mutant, without shrinking; the first survivor ends the search."""
    result: list[Refutation] = []
    for variant in statement.variants:
        result.append(refute(statement, variant, context, shrink=False))
        if result[-1].survived:
            break
    return variants_summary(statement, tuple(result))


def variants_summary(statement: Statement, refutations: tuple[Refutation, ...]) -> Evidence:
    """The evidence of the searches for counterexamples to mutants."""
    survivor = next((row for row in refutations if row.survived), None)
    evidence = partial(Evidence, "variants", source="search", refutations=refutations)
    if survivor is not None:
        name = survivor.variant.name
        if survivor.open:
            detail = f"no instance could be decided for the mutant {name!r}"
            return evidence("abstained", abstained=survivor.undecided, variant=name, detail=detail)
        missing = ", ".join(sorted(set(survivor.variant.caught_by) - set(survivor.refuted_by)))
        tried = counted(survivor.tried, "instance")
        detail = f"check too weak: the mutant {name!r} survives {missing}; none of {tried} refutes it"
        return evidence("abstained", instances=len(statement.variants), variant=name, detail=detail)
    if not statement.variants:
        return evidence("abstained", detail="there is no mutant to refute")
    rewritten = [(row.variant.name, row.derived) for row in refutations if row.derived is not None]
    for name, decision in rewritten:
        if decision.value is True:
            detail = f"check unsound: the derivation proves the mutant {name!r}"
            return evidence("abstained", instances=len(statement.variants), variant=name, detail=detail)
    tried = counted(sum(row.tried for row in refutations), "instance")
    detail = f"{counted(len(statement.variants), 'mutant')} refuted, {tried} tried"
    if rewritten:
        number = sum(decision.value is False for _, decision in rewritten)
        detail += f"; of {len(rewritten)} rewrites of a derived claim the derivation refutes {number} and proves none"
    return evidence("holds", instances=len(statement.variants), detail=detail)


def variants_result(statement: Statement, refutations: Sequence[Refutation]) -> Result:
    """The result for the mutants of a statement, of all statements' refutations, complete or not."""
    rows = tuple(row for row in refutations if row.statement.slug == statement.slug)
    evidence = variants_summary(statement, rows)
    complete = len(rows) == len(statement.variants)
    if not complete and evidence.status == "holds":
        evidence = replace(evidence, status="not-run", detail="interrupted")
    return Result(statement, (evidence,), 0.0, interrupted=not complete)


def assumptions_result(statement: Statement, outcomes: Sequence[tuple[Statement, assumption.Outcome]]) -> Result:
    """The result of dropping the assumptions of a statement, of all statements' outcomes, complete or not."""
    rows = [outcome for owner, outcome in outcomes if owner.slug == statement.slug]
    evidence = assumption.summary(rows)
    complete = len(rows) == len(statement.drops)
    if not complete and evidence.status != "refuted":
        evidence = replace(evidence, status="not-run", detail="interrupted")
    return Result(statement, (evidence,), 0.0, interrupted=not complete)


def refutations(
    entries: Sequence[Entry], context: Context, progress: Progress = SILENT, workers: int = 1
) -> Iterator[Refutation]:
    """Refute and shrink every mutant of every entry, in order."""
    progress.start(None, "loading the statements")
    statements = [entry.load() for entry in entries]
    chosen = [(statement, variant) for statement in statements for variant in statement.variants]
    progress.start(len(chosen))
    if workers == 1 or not all(entry in (*REGISTRY, *PACKS) for entry in entries):
        for statement, variant in chosen:
            progress.step(f"{statement.slug}: {variant.name}")
            yield refute(statement, variant, context, shrink=True)
        return
    names = [(statement.slug, variant.name) for statement, variant in chosen]
    progress.at(0, f"{chosen[0][0].slug}: {chosen[0][1].name}" if chosen else "")
    results = map_in_processes(partial(refuted, context), names, workers)
    for number, ((statement, variant), result) in enumerate(zip(chosen, results, strict=True), start=1):
        yield Refutation(statement, variant, *result)
        following, its_variant = chosen[min(number, len(chosen) - 1)]
        progress.at(number, f"{following.slug}: {its_variant.name}")


def refuted(context: Context, name: tuple[str, str]) -> tuple[tuple[Kind, ...], Any, Measurement | None, int, int]:
    """Refute a variant in a worker; statements cannot be pickled, so slug and name go in and plain fields come out."""
    statement = known_entry(name[0]).load()
    result = refute(statement, statement.variant(name[1]), context, shrink=True)
    return result.refuted_by, result.instance, result.measurement, result.tried, result.undecided


def assumption_outcomes(
    entries: Sequence[Entry], context: Context, progress: Progress = SILENT
) -> Iterator[tuple[Statement, assumption.Outcome]]:
    """Drop every assumption of every entry in turn."""
    progress.start(None, "loading the statements")
    statements = [entry.load() for entry in entries]
    progress.start(sum(len(statement.drops) for statement in statements))
    for statement in statements:
        for dropped in statement.drops:
            progress.step(f"{statement.slug}: {dropped.name}")
            yield statement, assumption.drop(dropped, context)


def replay(statement: Statement, claim: Any, instance: Any, progress: Progress = SILENT) -> dict[Kind, Measurement]:
    """Measure one instance by every kind of evidence that the statement has for instances."""
    progress.start(len(statement.measures))
    result = {}
    for kind, measure in statement.measures.items():
        progress.step(f"{statement.slug}: {kind}")
        result[kind] = measure(instance, claim)
    return result


def proof_evidence(slug: str, options: Sequence[dict[str, Any]]) -> Evidence:
    """Symbolic evidence of a statement, derived with each set of options."""
    import theory

    if not options:
        raise ValueError(f"no derivation of {slug!r} was asked for")
    names = [", ".join(f"{key}={value}" for key, value in option.items()) or "as stated" for option in options]
    derivations = [theory.derive(slug, **option) for option in options]
    found = symbolic_evidence(zip(names, derivations, strict=True), len(options), "derivation")
    if found.status != "holds":
        return found
    # A method that also proves a false relation is unsound: one mutant is tried on each derivation, in rotation.
    for number, (name, derivation) in enumerate(zip(names, derivations, strict=True)):
        mutants = list(derivation.claim.mutants().items())
        change, mutant = mutants[number % len(mutants)]
        if derivation.decides(mutant).value is True:
            return replace(
                found, status="abstained", detail=f"check unsound: {name}: proves the false relation {change!r} too"
            )
    return replace(found, detail=f"{found.detail}; none proves a false relation that was tried on it")


def symbolic_evidence(derivations: Iterable[tuple[str, Derivation]], count: int, noun: str) -> Evidence:
    """Symbolic evidence of named derivations, `count` in all, up to the first that is not proved.

    A derivation whose claim, or a step of it, is decided false refutes; one with an undecided one abstains.
    """
    methods: list[str] = []
    result: list[Derivation] = []
    for name, derivation in derivations:
        result.append(derivation)
        decisions = [derivation.decision, *(step.decision for step in derivation.steps)]
        false = [decision for decision in decisions if decision.value is False]
        if not derivation.proved:
            reason = (false or [decision for decision in decisions if decision.value is None])[0]
            return Evidence(
                "symbolic", "refuted" if false else "abstained", "proof", count,
                detail=f"{name}: {reason.method}: {reason.detail}", derivations=tuple(result),
            )  # fmt: skip
        methods += [decision.method for decision in (*decisions[1:], decisions[0])]
    return Evidence(
        "symbolic", "holds", "proof", count, worst_residual=0.0, tolerance=0.0,
        detail=f"{counted(count, noun)} proved by {', '.join(dict.fromkeys(methods))}", derivations=tuple(result),
    )  # fmt: skip
