"""What the command line runs: statements, their false variants, their assumptions, and the report of any of them.

Results are printed whatever becomes of the files (`verify.commands`). Ctrl-C ends a run with what it has: what is
finished is printed and written as without it, with `--report` or `--bundle` as a partial report; then exit code 130.
"""

from __future__ import annotations

import contextlib
import json as json_module
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hltm.base.command import complain
from hltm.base.errors import InputError
from hltm.base.interrupts import deferred_interrupt, recorded_interrupt
from hltm.base.progress import Progress, shown
from verify.engine.statement import Context
from verify.registry import Entry

if TYPE_CHECKING:
    from rich.console import Console

    from verify.engine.evidence import Kind
    from verify.engine.runner import Refutation, Result
    from verify.report.build import Drawn, Report
    from verify.report.view import Attached, Request


# Where the results of a run go: the terminal, a JSON document, a report folder, and progress on stderr.


class Output:
    """Where results go: the terminal, a JSON file or stdout, a report folder, a report in one zip file."""

    def __init__(self, json: str | None, report: Path | None, quiet: bool, bundle: Path | None = None) -> None:
        self.json, self.report, self.quiet, self.bundle = json, report, quiet, bundle

    @property
    def reports(self) -> bool:
        """Whether a report was asked for, as a folder or as a zip file."""
        return self.report is not None or self.bundle is not None

    def check(self, slugs: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        """Refuse targets that cannot be written, or that hold what is not ours, before anything runs."""
        from verify.engine.saved import check_folder, check_target

        if self.json not in (None, "-"):
            check_target(Path(str(self.json)))
        if self.bundle is not None:
            from verify.report.folder import check_bundle_target

            check_bundle_target(self.bundle)
        if self.report is not None:
            from verify.report.folder import check_free

            check_free(self.report, slugs, names)
            check_folder(self.report)

    def console(self) -> Console:
        """Tables go to stdout, unless the document does."""
        from hltm.base.command import console

        return console(stderr=self.json == "-", highlight=False)

    def document(self, document: dict[str, Any]) -> None:
        """Write the JSON document where it was asked for."""
        from verify.engine.saved import write_json

        if self.json == "-":
            sys.stdout.write(json_module.dumps(document, indent=1, allow_nan=False) + "\n")
        elif self.json is not None:
            write_json(Path(self.json), document)

    def publish(self, report: Report) -> list[str]:
        """Write a report to its folder and its zip file; gives a line for each."""
        from verify.report.folder import publish, write_bundle

        lines = []
        if self.report is not None:
            publish(self.report, report.files, report.about)
            reason = f" (no report.pdf: {report.pdf_reason})" if report.pdf_reason else ""
            lines.append(f"report: {self.report / 'index.html'}{reason}")
        if self.bundle is not None:
            write_bundle(self.bundle, report.files, report.about)
            lines.append(f"bundle: {self.bundle}")
        return lines

    def counterexamples(self) -> Path:
        """The folder for counterexamples, made when the first one is saved."""
        from verify.engine.saved import check_folder

        return check_folder((self.report or Path()) / "counterexamples")

    def progress(self) -> AbstractContextManager[Progress]:
        """Show on stderr how far a run is, if somebody is looking."""
        return shown(self.quiet)


# The end of a run: the report is put together and written, counterexamples are saved, what went wrong is said last.


class Told:
    """What is written and said at the end of a run; what could not be written is said once, after the results.

    Within `with`, Ctrl-C is kept in mind and told by `exit`, since what was found must not be lost any more. A second
    one ends everything.

    Parameters
    ----------
    output : Output
    own : Path, optional
        The file of a user's own statements, which the report has a copy of.
    stopped : bool
        Whether Ctrl-C came before the end of the run.
    """

    def __init__(self, output: Output, own: Path | None, stopped: bool = False) -> None:
        self.output, self.stopped = output, stopped
        self.pressed = threading.Event()
        self._recording = recorded_interrupt(self.pressed)
        self.extra: dict[str, bytes] = {}
        if output.reports and own is not None:
            with contextlib.suppress(OSError):  # a file that was taken away while it ran
                self.extra[copy_name(own)] = own.read_bytes()
        self.failed = ""
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        """Keep Ctrl-C in mind, where it would be an exception otherwise."""
        self._recording.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Ctrl-C is again what it was."""
        self._recording.__exit__(None, None, None)

    def report(
        self, request: Request, results: Sequence[Result], make: Callable[[Attached], dict[str, Any]], **options: Any
    ) -> Attached:
        """Put the report together and write it where it was asked for; gives the places of the counterexamples.

        `make` gives the JSON document from these places.
        """
        from verify.report.build import build, counterexamples

        with self.output.progress() as progress:
            progress.start(None, "writing the report")
            attached, files = counterexamples(request, results)
            files |= self.extra
            placed = attached.inside(self.output.report)
            report = build(
                request, results, make(placed), attached, files, with_pdf=not self.stopped, stop=self.pressed, **options
            )
            partial = "partial " if self.stopped or self.pressed.is_set() else ""
            try:
                self.lines = [partial + line for line in self.output.publish(report)]
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

    def exit(self, code: int) -> int:
        """Name the report, or say what could not be written; gives the exit code, or leaves as Ctrl-C does."""
        if self.stopped or self.pressed.is_set():
            sys.stdout.flush()
            for line in [f"error: {self.failed}"] if self.failed else self.lines:
                sys.stderr.write(line + "\n")
            raise KeyboardInterrupt
        if self.failed:
            sys.stdout.flush()
            return complain(self.failed)
        if not self.output.quiet:
            for line in self.lines:
                self.output.console().print(line, markup=False, soft_wrap=True)
        return code


def copy_name(file: Path) -> str:
    """Where a report has its copy of a user's statements, so that its commands run in its folder.

    Examples
    --------
    >>> copy_name(Path("../my file.py"))
    'statements/my-file.py'
    """
    return "statements/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", file.name).strip(".-") or "own.py")


def save_counterexamples(results: Sequence[Result], output: Output, context: Context) -> dict[tuple[str, int], str]:
    """Save what refuted; a place that cannot be written costs the file, never the verdict."""
    from verify.engine.saved import evidence_name, save_instance

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


def save_variants(found: Sequence[Refutation], folder: Path, context: Context) -> dict[tuple[str, str], str]:
    """Save the counterexamples of false variants; gives their files by statement and variant."""
    from verify.engine.saved import save_instance

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
        The report's section on images (`verify.report.build`).
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
    with deferred_interrupt():
        import numeric

        result = str(numeric.check_device(device))  # loads torch
    return Context(seed=seed, profile=profile, device=result)  # type: ignore[arg-type]


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
        with deferred_interrupt():
            import sympy  # noqa: F401
    output.check([entry.slug for entry in entries], [] if asked.own is None else [copy_name(asked.own)])
    job = {"": run_statements, "variants": run_variants, "assumptions": run_assumptions}[asked.mode]
    return job(entries, output, context, asked)


def run_statements(entries: Sequence[Entry], output: Output, context: Context, asked: Asked) -> int:
    """Run statements; save counterexamples, write the report and documents, print tables."""
    from verify.report.documents import print_results, results_json

    results, drawings, stopped = collected(entries, output, context, asked)
    with Told(output, asked.own, stopped) as outcome:
        if output.reports:
            request = request_of(context, asked)
            files = outcome.report(
                request, results, lambda files: results_json(context, results, files.counterexamples), drawings=drawings
            ).counterexamples
        if output.report is None:  # what lies in a zip file only cannot be replayed
            files = save_counterexamples(results, output, context)
        outcome.document(results_json(context, results, files))
        # A statement that was cut short has no verdict, unless it is refuted already.
        known = [result for result in results if not result.interrupted or result.verdict == "refuted"]
        if known:
            own = None if asked.own is None else str(asked.own)
            print_results(output.console(), known, files, output.quiet, own)
        verdicts = {result.verdict for result in results}
        return outcome.exit(
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
    from verify.report.build import beside, not_drawn

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
    result: list[Refutation] = []
    stopped = False
    try:
        with output.progress() as progress:
            result.extend(refutations(entries, context, progress, workers=min(WORKERS, os.cpu_count() or 1)))
    except KeyboardInterrupt:
        stopped = True

    def document(files: Mapping[tuple[str, str], str]) -> dict[str, Any]:
        return variants_json(context, result, [files.get((row.statement.slug, row.variant.name)) for row in result])

    with Told(output, asked.own, stopped) as outcome:
        if output.reports:
            results = [variants_result(entry.load(), result) for entry in entries]
            files = outcome.report(
                request_of(context, asked), results, lambda attached: document(attached.variants),
                shrunk=True, name="variants.json",
            ).variants  # fmt: skip
        if output.report is None:
            files = save_variants(result, folder, context)
        outcome.document(document(files))
        if result or not stopped:
            print_variants(output.console(), result, str(folder), output.quiet)
        # A statement without a false variant has nothing that could have failed.
        bare = [entry.slug for entry in entries if not entry.load().variants]
        for slug in bare:
            output.console().print(f"{slug}: there is no false variant to refute", soft_wrap=True, markup=False)
        survivors = [row.open for row in result if row.survived] + [True] * len(bare)
        return outcome.exit(0 if not survivors else EXIT["abstained"] if all(survivors) else EXIT["refuted"])


def run_assumptions(entries: Sequence[Entry], output: Output, context: Context, asked: Asked) -> int:
    """Drop every assumption in turn; one that is not found to be what is expected of it is exit code 1."""
    from verify.engine.assumptions import Outcome
    from verify.engine.runner import assumption_outcomes, assumptions_result
    from verify.engine.statement import Statement
    from verify.report.documents import assumptions_json, print_assumptions

    result: list[tuple[Statement, Outcome]] = []
    stopped = False
    try:
        with output.progress() as progress:
            result.extend(assumption_outcomes(entries, context, progress))
    except KeyboardInterrupt:
        stopped = True
    with Told(output, asked.own, stopped) as told:
        document = assumptions_json(context, result)
        if output.reports:
            results = [assumptions_result(entry.load(), result) for entry in entries]
            told.report(request_of(context, asked), results, lambda _: document, name="assumptions.json")
        told.document(document)
        if result or not stopped:
            print_assumptions(output.console(), result, output.quiet)
        statuses = {outcome.status for _, outcome in result}
        return told.exit(
            EXIT["refuted" if "refuted" in statuses else "holds" if statuses == {"holds"} else "abstained"]
        )
