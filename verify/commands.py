"""What the command line runs: statements, their false variants, their assumptions, and the report of any of them.

Results are printed whatever becomes of the files (`verify.report.told`). Ctrl-C ends a run with what it has: what is
finished is printed and written as without it, with `--report` or `--bundle` as a partial report; then exit code 130.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hltm.base.command import heard
from hltm.base.errors import InputError
from verify.engine.statement import Context
from verify.registry import Entry
from verify.report.output import Output
from verify.report.told import Told, copy_name, save_counterexamples, save_variants

if TYPE_CHECKING:
    from verify.engine.evidence import Kind
    from verify.engine.runner import Refutation, Result
    from verify.report.figures import Drawn
    from verify.report.view import Request

EXIT = {"holds": 0, "refuted": 1, "abstained": 3}
INPUT_ERROR = 2
# Processes that look for counterexamples to false variants.
WORKERS = 2


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line.

    Parameters
    ----------
    profile, device, seed
        As in `Context`; the device may be `auto`.
    variants, assumptions : bool
        Refute the false variants, or drop the assumptions, in place of a run of everything.
    only : kind of evidence, optional
        Run this kind and no other.
    own, ray : optional
        The file of a user's own statements; the address of a Ray cluster.
    single : bool
        Whether the command of one statement was called.
    images : mapping, optional
        The report's section on images (`verify.report.images`).
    """

    profile: str = "quick"
    device: str = "cpu"
    seed: int = 0
    variants: bool = False
    assumptions: bool = False
    only: Kind | None = None
    own: Path | None = None
    single: bool = False
    ray: str | None = None
    images: Mapping[str, Any] | None = None

    @property
    def mode(self) -> str:
        """The option that was given in place of a run of everything."""
        return "variants" if self.variants else "assumptions" if self.assumptions else ""


def make_context(profile: str, device: str, seed: int) -> Context:
    """The context of a run; an absent device is an InputError."""
    with heard():
        import numeric

        found = str(numeric.check_device(device))  # loads torch
    return Context(seed=seed, profile=profile, device=found)  # type: ignore[arg-type]


def execute(entries: Sequence[Entry], output: Output, asked: Asked) -> int:
    """Run statements, or their false variants, or drop their assumptions, and give the exit code."""
    if asked.variants and asked.assumptions:
        raise InputError("--variants and --assumptions: only one of them at a time")
    if asked.mode and asked.only is not None:
        raise InputError(f"--{asked.mode} and --only: only one of them at a time")
    if asked.mode and asked.ray is not None:
        raise InputError(f"--{asked.mode} and --ray: only one of them at a time")
    with output.progress() as progress:
        progress.start(None, "loading torch")
        context = make_context(asked.profile, asked.device, asked.seed)
        # mpmath, while it is loaded, drops Ctrl-C; and of half of SymPy no partial report can be made.
        with heard():
            import sympy  # noqa: F401
    output.check([entry.slug for entry in entries], [] if asked.own is None else [copy_name(asked.own)])
    job = {"": run_statements, "variants": run_variants, "assumptions": run_assumptions}[asked.mode]
    return job(entries, output, context, asked)


def run_statements(entries: Sequence[Entry], output: Output, context: Context, asked: Asked) -> int:
    """Run statements; save counterexamples, write the report and documents, print tables."""
    from verify.report.documents import print_results, results_json

    results, drawings, stopped = collected(entries, output, context, asked)
    with Told(output, asked.own, stopped) as told:
        if output.reports:
            request = request_of(context, asked)
            files = told.report(
                request, results, lambda files: results_json(context, results, files.counterexamples), drawings=drawings
            ).counterexamples
        if output.report is None:  # what lies in a zip file only cannot be replayed
            files = save_counterexamples(results, output, context)
        told.document(results_json(context, results, files))
        # A statement that was cut short has no verdict, unless it is refuted already.
        known = [result for result in results if not result.interrupted or result.verdict == "refuted"]
        if known:
            own = None if asked.own is None else str(asked.own)
            print_results(output.console(), known, files, output.quiet, own)
        verdicts = {result.verdict for result in results}
        return told.exit(
            EXIT["refuted" if "refuted" in verdicts else "abstained" if "abstained" in verdicts else "holds"]
        )


def collected(
    entries: Sequence[Entry], output: Output, context: Context, asked: Asked
) -> tuple[list[Result], Drawn | None, bool]:
    """The results, the figures if there is a report, and whether Ctrl-C came."""
    from verify.engine.cluster import runner_of
    from verify.engine.runner import interrupted

    results: list[Result] = []
    run = partial(runner_of(asked.ray), entries, context, only=asked.only)
    from verify.report.figures import beside, not_drawn

    try:
        with output.progress() as progress:
            if not output.reports:
                results.extend(run(progress))
                return results, None, False
            if asked.only is not None:
                results.extend(run(progress))
                reason = f"only {asked.only} was asked for"
                return results, not_drawn([result.statement for result in results], reason), False
            with beside(context, entries) as figures:
                # An interruption leaves in the list what came before it.
                results.extend(run(progress))
                return results, figures([result.statement for result in results], progress), False
    except KeyboardInterrupt:
        if not results and not output.reports and output.json is None:
            raise
        results += [interrupted(entry.load(), [], only=asked.only) for entry in entries[len(results) :]]
        return results, not_drawn([result.statement for result in results], "the run was interrupted"), True


def request_of(context: Context, asked: Asked) -> Request:
    """What the commands of a report are made from."""
    from verify.report.view import Request

    own = None if asked.own is None else copy_name(asked.own)
    return Request(context, own, asked.mode, asked.single, asked.only or "", asked.images)


def run_variants(entries: Sequence[Entry], output: Output, context: Context, asked: Asked) -> int:
    """Refute every false variant, save the shrunk counterexamples; a survivor is exit code 1."""
    from verify.engine.runner import refutations, variants_result
    from verify.report.documents import print_variants, variants_json

    folder = Path("counterexamples") if output.report is None else output.report / "counterexamples"
    if output.report is None:
        output.counterexamples()
    found: list[Refutation] = []
    stopped = False
    try:
        with output.progress() as progress:
            found.extend(refutations(entries, context, progress, workers=min(WORKERS, os.cpu_count() or 1)))
    except KeyboardInterrupt:
        stopped = True

    def document(files: Mapping[tuple[str, str], str]) -> dict[str, Any]:
        return variants_json(context, found, [files.get((row.statement.slug, row.variant.name)) for row in found])

    with Told(output, asked.own, stopped) as told:
        if output.reports:
            results = [variants_result(entry.load(), found) for entry in entries]
            files = told.report(
                request_of(context, asked), results, lambda attached: document(attached.variants),
                shrunk=True, name="variants.json",
            ).variants  # fmt: skip
        if output.report is None:
            files = save_variants(found, folder, context)
        told.document(document(files))
        if found or not stopped:
            print_variants(output.console(), found, str(folder), output.quiet)
        # A statement without a false variant has nothing that could have failed.
        bare = [entry.slug for entry in entries if not entry.load().variants]
        for slug in bare:
            output.console().print(f"{slug}: there is no false variant to refute", soft_wrap=True, markup=False)
        survivors = [row.open for row in found if row.survived] + [True] * len(bare)
        return told.exit(0 if not survivors else EXIT["abstained"] if all(survivors) else EXIT["refuted"])


def run_assumptions(entries: Sequence[Entry], output: Output, context: Context, asked: Asked) -> int:
    """Drop every assumption in turn; one that is not found to be what is expected of it is exit code 1."""
    from verify.assumptions.report import assumptions_json, print_assumptions
    from verify.engine.assumptions import Outcome
    from verify.engine.runner import assumption_outcomes, assumptions_result
    from verify.engine.statement import Statement

    found: list[tuple[Statement, Outcome]] = []
    stopped = False
    try:
        with output.progress() as progress:
            found.extend(assumption_outcomes(entries, context, progress))
    except KeyboardInterrupt:
        stopped = True
    with Told(output, asked.own, stopped) as told:
        document = assumptions_json(context, found)
        if output.reports:
            results = [assumptions_result(entry.load(), found) for entry in entries]
            told.report(request_of(context, asked), results, lambda _: document, name="assumptions.json")
        told.document(document)
        if found or not stopped:
            print_assumptions(output.console(), found, output.quiet)
        statuses = {outcome.status for _, outcome in found}
        return told.exit(
            EXIT["refuted" if "refuted" in statuses else "holds" if statuses == {"holds"} else "abstained"]
        )
