"""Running statements: their checks in order, the false variants, and the replay of saved instances.

Functions here compute and return; they print nothing and write nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import Any, Literal

from hltm.base.progress import SILENT, Progress
from verify.engine import assumptions as assumption
from verify.engine.evidence import (
    COLUMNS,
    Evidence,
    Kind,
    Measurement,
    Verdict,
    _instance,
    counted,
    evidence_row,
    table,
    timed,
    verdict,
)
from verify.engine.processes import map_in_processes
from verify.engine.statement import Check, Context, Statement, Variant
from verify.registry import REGISTRY, Entry
from verify.registry import entry as known_entry

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
    interrupted: bool = False

    @property
    def verdict(self) -> Verdict:
        """Drawn from the evidence; a run that was cut short may refute, but leaves open what it did not."""
        result = verdict(self.evidence)
        return "abstained" if self.interrupted and result == "holds" else result

    def _repr_html_(self) -> str:
        """The verdict and its evidence for a notebook."""
        pass  # HOUSE

        return result_html(self)


@dataclass(frozen=True)
class Refutation:
    """What became of a false variant: the kinds that refuted it, and the shrunk counterexample (None: it survived)."""

    statement: Statement
    variant: Variant
    refuted_by: tuple[Kind, ...]
    instance: Any
    measurement: Measurement | None
    tried: int
    undecided: int = 0

    @property
    def survived(self) -> bool:
        """Whether some kind of evidence that must refute the variant did not."""
        return set(self.refuted_by) != set(self.variant.caught_by)

    @property
    def open(self) -> bool:
        """Whether it survived only because no instance could be decided."""
        return self.survived and self.undecided == self.tried

    @property
    def status(self) -> Literal["refuted", "survived", "open"]:
        """What became of it in one word; one that is open was not found to survive."""
        return "open" if self.open else "survived" if self.survived else "refuted"

    def _repr_html_(self) -> str:
        """The refutation for a notebook."""
        pass  # HOUSE

        return refutation_html(self)


def run(
    entries: Sequence[Entry], context: Context, progress: Progress = SILENT, only: Kind | None = None
) -> Iterator[Result]:
    """Run every check of every entry; a statement's result is given as soon as it is complete.

    Cut short by Ctrl-C, the statement at hand is given with what it has before KeyboardInterrupt goes on.
    """
    progress.start(None, "loading the statements")
    statements = [entry.load() for entry in entries]
    chosen = [[check for check in all_checks(statement) if only in (None, check.kind)] for statement in statements]
    progress.start(sum(len(checks) for checks in chosen))
    for statement, checks in zip(statements, chosen, strict=True):
        begun = time.perf_counter()
        evidence: list[Evidence] = []
        try:
            for check in checks:
                progress.step(f"{statement.slug}: {check.kind} ({check.source})")
                started = time.perf_counter()
                result = check.run(context)
                evidence.append(timed(result, time.perf_counter() - started))
        except KeyboardInterrupt:
            yield interrupted(statement, evidence, time.perf_counter() - begun, only)
            raise
        evidence += not_run(statement, {row.kind for row in evidence}, only)
        yield Result(statement, tuple(evidence), time.perf_counter() - begun)


def all_checks(statement: Statement) -> tuple[Check, ...]:
    """The checks of a statement, its false variants and its assumptions among them."""
    checks = [*statement.checks, Check("variants", "search", partial(variants_evidence, statement))]
    if statement.drops:
        checks.append(Check("assumptions", "instances", partial(assumption.evidence, statement.drops)))
    return tuple(checks)


def not_run(statement: Statement, ran: set[Kind], only: Kind | None) -> list[Evidence]:
    """Kinds of evidence that there is none of, each with its reason."""
    reasons = {kind: why for kind, why in NOT_RUN if only in (None, kind)}
    if only is not None:
        reasons |= {check.kind: f"only {only} was asked for" for check in all_checks(statement)}
    return [Evidence(kind, "not-run", detail=why) for kind, why in reasons.items() if kind not in ran]


def interrupted(
    statement: Statement, evidence: Sequence[Evidence], seconds: float = 0.0, only: Kind | None = None
) -> Result:
    """The result of a statement that was cut short, or not reached: the checks that did not run say so."""
    rest = [check for check in all_checks(statement) if only in (None, check.kind)][len(evidence) :]
    rows = [*evidence, *(Evidence(check.kind, "not-run", check.source, detail="interrupted") for check in rest)]
    return Result(statement, (*rows, *not_run(statement, {row.kind for row in rows}, only)), seconds, interrupted=True)


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
    from verify.engine.search import deepening

    def together(kinds: Sequence[Kind]) -> Callable[[Any], Measurement]:
        def measure(instance: Any) -> Measurement:
            result = []
            for kind in kinds:
                result.append(statement.measures[kind](instance, variant.claim))
                # All must refute: after the first that does not, the dearer kinds need not run.
                if result[-1].status != "refuted":
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
    return Refutation(statement, variant, (), None, None, tried, undecided)


def variants_evidence(statement: Statement, context: Context) -> Evidence:
    """Every false variant must be refuted by every kind of evidence that it names; the first survivor ends the search.

    The refutations are kept as they are found, not shrunk.
    """
    result: list[Refutation] = []
    for variant in statement.variants:
        result.append(refute(statement, variant, context, shrink=False))
        if result[-1].survived:
            break
    return replace(variants_summary(statement, result), refutations=tuple(result))


def variants_summary(statement: Statement, found: Sequence[Refutation]) -> Evidence:
    """The evidence that searches for false variants amount to."""
    for row in found:
        if row.survived:
            missing = sorted(set(row.variant.caught_by) - set(row.refuted_by))
            if row.open:
                return Evidence(
                    "variants", "abstained", "search", 0, row.undecided, variant=row.variant.name,
                    detail=f"no instance could be decided for the false variant {row.variant.name!r}",
                )  # fmt: skip
            return Evidence(
                "variants", "refuted", "search", len(statement.variants), variant=row.variant.name,
                detail=f"the false variant {row.variant.name!r} survives {', '.join(missing)}",
            )  # fmt: skip
    if not statement.variants:
        return Evidence("variants", "abstained", "search", detail="there is no false variant to refute")
    return Evidence(
        "variants", "holds", "search", len(statement.variants),
        detail=f"{counted(len(statement.variants), 'false variant')} refuted, "
        f"{counted(sum(row.tried for row in found), 'instance')} tried",
    )  # fmt: skip


def variants_result(statement: Statement, found: Sequence[Refutation]) -> Result:
    """The result of a search for the false variants of a statement, complete or not."""
    rows = tuple(row for row in found if row.statement.slug == statement.slug)
    evidence = replace(variants_summary(statement, rows), refutations=rows)
    complete = len(rows) == len(statement.variants)
    if not complete and evidence.status == "holds":
        evidence = replace(evidence, status="not-run", detail="interrupted")
    return Result(statement, (evidence,), 0.0, interrupted=not complete)


def assumptions_result(statement: Statement, found: Sequence[tuple[Statement, assumption.Outcome]]) -> Result:
    """The result of dropping the assumptions of a statement, complete or not."""
    outcomes = tuple(outcome for owner, outcome in found if owner.slug == statement.slug)
    evidence = replace(assumption.summary(outcomes), outcomes=outcomes)
    complete = len(outcomes) == len(statement.drops)
    if not complete and evidence.status != "refuted":
        evidence = replace(evidence, status="not-run", detail="interrupted")
    return Result(statement, (evidence,), 0.0, interrupted=not complete)


def refutations(
    entries: Sequence[Entry], context: Context, progress: Progress = SILENT, workers: int = 1
) -> Iterator[Refutation]:
    """Refute and shrink every false variant of every entry, in order."""
    progress.start(None, "loading the statements")
    statements = [entry.load() for entry in entries]
    chosen = [(statement, variant) for statement in statements for variant in statement.variants]
    progress.start(len(chosen))
    if workers == 1 or not all(entry in REGISTRY for entry in entries):
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
    """What another process finds of a variant, given by slug and name, as data that can be sent."""
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


def result_html(result: Result) -> str:
    """A statement with its verdict and all its evidence."""
    statement = result.statement
    head = (
        f"<p><b>{escape(f'{statement.heading} [{statement.slug}] {result.verdict}')}</b>: {escape(statement.title)}</p>"
    )
    refuting = "".join(_instance(row.counterexample) for row in result.evidence if row.counterexample is not None)
    return head + table(map(evidence_row, result.evidence), COLUMNS) + refuting


def refutation_html(found: Refutation) -> str:
    """A false variant, the kinds of evidence that refuted it, and the shrunk instance."""
    outcome = {"open": "left open", "survived": "survives"}.get(
        found.status
    ) or f"refuted by {', '.join(found.refuted_by)}"
    head = table(
        [(found.statement.slug, found.variant.name, found.variant.change, outcome, found.tried)],
        ("statement", "variant", "change", "outcome", "instances tried"),
    )
    return head if found.instance is None else head + _instance(found.instance)


# Symbolic evidence: derivations of `theory`, each proved, refuted or abstained on.


def proof_evidence(slug: str, options: Sequence[dict[str, Any]]) -> Evidence:
    """Derive the statement with each set of options; all must be proved.

    A derivation with a step that is decided false refutes; one that could not be decided abstains.
    """
    import theory

    if not options:
        raise ValueError(f"no derivation of {slug!r} was asked for")
    decided_by: list[str] = []
    result = []
    for option in options:
        derivation = theory.derive(slug, **option)
        result.append(derivation)
        named = ", ".join(f"{key}={value}" for key, value in option.items()) or "as stated"
        if not derivation.proved:
            values = [step.decision.value for step in derivation.steps] + [derivation.decision.value]
            status = "refuted" if False in values else "abstained"
            return Evidence(
                "symbolic", "refuted" if status == "refuted" else "abstained", "proof", len(options),
                detail=f"{named}: {derivation.decision.method}: {derivation.decision.detail}",
                derivations=tuple(result),
            )  # fmt: skip
        decided_by += [step.decision.method for step in derivation.steps] + [derivation.decision.method]
    return Evidence(
        "symbolic", "holds", "proof", len(options), worst_residual=0.0, tolerance=0.0,
        detail=f"{counted(len(options), 'derivation')} proved by {', '.join(dict.fromkeys(decided_by))}",
        derivations=tuple(result),
    )  # fmt: skip
