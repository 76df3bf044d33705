"""What the command line runs: statements, their false variants, their assumptions, and the report of any of them.

Results are printed whatever becomes of the files: a report that cannot be written is one line on stderr and exit code
2, after the table of verdicts. Ctrl-C ends a run with what it has: with `--report` or `--bundle` a partial report,
then exit code 130.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hltm.command import complain, heard
from hltm.errors import InputError
from verify.output import Output
from verify.registry import Entry
from verify.statement import Context

if TYPE_CHECKING:
    from verify.evidence import Kind
    from verify.report_figures import Drawn
    from verify.report_view import Attached, Request
    from verify.runner import Refutation, Result

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
        The report's section on images (`verify.images`).
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
    output.check([entry.slug for entry in entries], [] if asked.own is None else [copy_name(asked.own)])
    job = {"": run_statements, "variants": run_variants, "assumptions": run_assumptions}[asked.mode]
    return job(entries, output, context, asked)


def run_statements(entries: Sequence[Entry], output: Output, context: Context, asked: Asked) -> int:
    """Run statements; save counterexamples, write the report and documents, print tables."""
    from verify.report import print_results, results_json

    results, drawings, stopped = collected(entries, output, context, asked)
    told = Told(output, asked)
    if output.reports:
        files = told.report(
            request_of(context, asked), results, lambda files: results_json(context, results, files.counterexamples),
            drawings=drawings, with_pdf=not stopped,
        ).counterexamples  # fmt: skip
    else:
        files = save_counterexamples(results, output, context)
    if stopped:
        told.partial()
    told.document(results_json(context, results, files))
    print_results(output.console(), results, files, output.quiet)
    verdicts = {result.verdict for result in results}
    return told.exit(EXIT["refuted" if "refuted" in verdicts else "abstained" if "abstained" in verdicts else "holds"])


def collected(
    entries: Sequence[Entry], output: Output, context: Context, asked: Asked
) -> tuple[list[Result], Drawn | None, bool]:
    """The results, the figures if there is a report, and whether Ctrl-C came; without a report that goes on."""
    from verify.cluster import runner_of
    from verify.runner import interrupted

    results: list[Result] = []
    try:
        with output.progress() as progress:
            # An interruption leaves in the list what came before it.
            results.extend(runner_of(asked.ray)(entries, context, progress, asked.only))
            if not output.reports:
                return results, None, False
            from verify.report_figures import figures, not_drawn

            statements = [result.statement for result in results]
            if asked.only is not None:
                return results, not_drawn(statements, f"only {asked.only} was asked for"), False
            return results, figures(context, statements, progress), False
    except KeyboardInterrupt:
        if not output.reports:
            raise
        from verify.report_figures import not_drawn

        results += [interrupted(entry.load(), [], only=asked.only) for entry in entries[len(results) :]]
        return results, not_drawn([result.statement for result in results], "the run was interrupted"), True


def request_of(context: Context, asked: Asked) -> Request:
    """What the commands of a report are made from."""
    from verify.report_view import Request

    own = None if asked.own is None else copy_name(asked.own)
    return Request(context, own, asked.mode, asked.single, asked.only or "", asked.images)


def copy_name(file: Path) -> str:
    """Where a report has its copy of a user's statements, so that its commands run in its folder.

    Examples
    --------
    >>> copy_name(Path("../my file.py"))
    'statements/my-file.py'
    """
    return "statements/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", file.name).strip(".-") or "own.py")


class Told:
    """What is written and said at the end of a run; what could not be written is said once, after the results."""

    def __init__(self, output: Output, asked: Asked) -> None:
        self.output = output
        self.extra: dict[str, bytes] = {}
        if output.reports and asked.own is not None:
            with contextlib.suppress(OSError):  # a file that was taken away while it ran
                self.extra[copy_name(asked.own)] = asked.own.read_bytes()
        self.failed = ""
        self.lines: list[str] = []

    def report(
        self, request: Request, results: Sequence[Result], make: Callable[[Attached], dict[str, Any]], **options: Any
    ) -> Attached:
        """Put the report together and write it where it was asked for; gives the places of the counterexamples.

        `make` gives the JSON document from these places.
        """
        from verify.report_build import build, counterexamples

        with self.output.progress() as progress:
            progress.start(None, "writing the report")
            attached, files = counterexamples(request, results)
            files |= self.extra
            placed = attached.inside(self.output.report)
            report = build(request, results, make(placed), attached, files, **options)
            try:
                self.lines = self.output.publish(report)
            except InputError as error:
                self.failed = str(error)
                return type(attached)()
        return placed

    def document(self, document: dict[str, Any]) -> None:
        """Write the JSON document."""
        try:
            self.output.document(document)
        except InputError as error:
            self.failed = self.failed or str(error)

    def partial(self) -> None:
        """Say where the partial report is, or why there is none, and leave as Ctrl-C does."""
        for line in [f"error: {self.failed}"] if self.failed else [f"partial {line}" for line in self.lines]:
            sys.stderr.write(line + "\n")
        raise KeyboardInterrupt

    def exit(self, code: int) -> int:
        """Name the report, or say what could not be written; gives the exit code."""
        if self.failed:
            sys.stdout.flush()
            return complain(self.failed)
        if not self.output.quiet:
            for line in self.lines:
                self.output.console().print(line, markup=False, soft_wrap=True)
        return code


def save_counterexamples(results: Sequence[Result], output: Output, context: Context) -> dict[tuple[str, int], str]:
    """Save what refuted; a place that cannot be written costs the file, never the verdict."""
    from verify.files import evidence_name, save_instance

    files: dict[tuple[str, int], str] = {}
    for result in results:
        for index, row in enumerate(result.evidence):
            if not hasattr(row.counterexample, "as_json"):
                continue
            found = {"residual": str(row.worst_residual), "tolerance": str(row.tolerance), "detail": row.detail}
            try:
                path = save_instance(
                    output.counterexamples(), result.statement, row.counterexample,
                    name=evidence_name(row), variant=None, seed=context.seed, found=found,
                )  # fmt: skip
            except InputError as error:
                sys.stderr.write(f"the counterexample could not be saved: {error}\n")
                continue
            files[result.statement.slug, index] = str(path)
    return files


def run_variants(entries: Sequence[Entry], output: Output, context: Context, asked: Asked) -> int:
    """Refute every false variant, save the shrunk counterexamples; a survivor is exit code 1."""
    from verify.report import print_variants, variants_json
    from verify.runner import refutations, variants_result

    folder = Path("counterexamples") if output.report is None else output.report / "counterexamples"
    if not output.reports:
        output.counterexamples()
    found: list[Refutation] = []
    stopped = False
    try:
        with output.progress() as progress:
            found.extend(refutations(entries, context, progress, workers=min(WORKERS, os.cpu_count() or 1)))
    except KeyboardInterrupt:
        if not output.reports:
            raise
        stopped = True
    told = Told(output, asked)

    def document(files: Mapping[tuple[str, str], str]) -> dict[str, Any]:
        return variants_json(context, found, [files.get((row.statement.slug, row.variant.name)) for row in found])

    if output.reports:
        results = [variants_result(entry.load(), found) for entry in entries]
        files = told.report(
            request_of(context, asked), results, lambda attached: document(attached.variants),
            shrunk=True, with_pdf=not stopped, name="variants.json",
        ).variants  # fmt: skip
    else:
        files = save_variants(found, folder, context)
    if stopped:
        told.partial()
    told.document(document(files))
    print_variants(output.console(), found, str(folder), output.quiet)
    survivors = [row.open for row in found if row.survived]
    return told.exit(0 if not survivors else EXIT["abstained"] if all(survivors) else EXIT["refuted"])


def save_variants(found: Sequence[Refutation], folder: Path, context: Context) -> dict[tuple[str, str], str]:
    """Save the counterexamples of false variants; gives their files by statement and variant."""
    from verify.files import save_instance

    files = {}
    for row in found:
        if row.instance is None or row.measurement is None:
            continue
        kept = {"refuted_by": list(row.refuted_by), "residual": str(row.measurement.residual)}
        path = save_instance(
            folder, row.statement, row.instance,
            name=row.variant.name, variant=row.variant.name, seed=context.seed, found=kept,
        )  # fmt: skip
        files[row.statement.slug, row.variant.name] = str(path)
    return files


def run_assumptions(entries: Sequence[Entry], output: Output, context: Context, asked: Asked) -> int:
    """Drop every assumption in turn; one that is not found to be what is expected of it is exit code 1."""
    from verify.assumption import Outcome
    from verify.assumption_report import assumptions_json, print_assumptions
    from verify.runner import assumption_outcomes, assumptions_result
    from verify.statement import Statement

    found: list[tuple[Statement, Outcome]] = []
    stopped = False
    try:
        with output.progress() as progress:
            found.extend(assumption_outcomes(entries, context, progress))
    except KeyboardInterrupt:
        if not output.reports:
            raise
        stopped = True
    told = Told(output, asked)
    document = assumptions_json(context, found)
    if output.reports:
        results = [assumptions_result(entry.load(), found) for entry in entries]
        request = request_of(context, asked)
        told.report(request, results, lambda _: document, with_pdf=not stopped, name="assumptions.json")
    if stopped:
        told.partial()
    told.document(document)
    print_assumptions(output.console(), found, output.quiet)
    statuses = {outcome.status for _, outcome in found}
    return told.exit(EXIT["refuted" if "refuted" in statuses else "holds" if statuses == {"holds"} else "abstained"])
