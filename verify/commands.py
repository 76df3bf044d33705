"""Run statements, their mutants or their assumptions, and write the results.

Results are printed even if a file cannot be written. Ctrl-C ends a run with the results that are complete: they are
printed and written as usual, with `--report` or `--bundle` as a partial report; then the exit code is 130.
"""

from __future__ import annotations

import json as json_module
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hltm.base.command import complain
from hltm.base.errors import InputError
from hltm.base.interrupts import deferred_interrupt, recorded_interrupt
from hltm.base.progress import Progress, shown
from verify.engine.statement import Context
from verify.registry import Entry

if TYPE_CHECKING:
    from rich.console import Console

    from verify.engine.evidence import Kind
    from verify.engine.runner import Result
    from verify.own.files import Broken
    from verify.report.build import Drawn, Report
    from verify.report.view import Attached, Request

EXIT = {"holds": 0, "refuted": 1, "abstained": 3}
# Processes that look for counterexamples to mutants.
WORKERS = 2
COUNTEREXAMPLES = "counterexamples"

Item = TypeVar("Item")


@dataclass(frozen=True)
class Output:
    """Targets of results: terminal, JSON file or stdout (`-`), report, zip file."""

    json: str | None
    report: Path | None
    quiet: bool
    bundle: Path | None = None

    @property
    def reports(self) -> bool:
        """Whether a report was asked for, as a folder or as a zip file."""
        return self.report is not None or self.bundle is not None

    def check(self, slugs: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        """Raise InputError for targets that cannot be written."""
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
        """The console for tables: stdout, or stderr if the JSON document goes to stdout."""
        from hltm.base.command import console

        return console(stderr=self.json == "-", highlight=False)

    def document(self, document: dict[str, Any]) -> None:
        """Write the JSON document, if one was asked for."""
        from verify.engine.saved import write_json

        if self.json == "-":
            sys.stdout.write(json_module.dumps(document, indent=1, allow_nan=False) + "\n")
        elif self.json is not None:
            write_json(Path(self.json), document)

    def publish(self, report: Report) -> list[str]:
        """Write a report to its folder and its zip file, and return a line about each."""
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


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Parameters
    ----------
    profile, device, seed
        As in `Context`; the device may be `auto`.
    variants, assumptions : bool
        Refute the mutants, or drop the assumptions, in place of a run of everything.
    only : kind of evidence, optional
        Run this kind and no other.
    own, ray : optional
        The file of a user's own statements; the address of a Ray cluster.
    single : bool
        Whether the command of one statement was called.
    program : str
        What was called, after ``python -m``, where it is not one statement.
    images : mapping, optional
        The report's section on images (`verify.report.build`).
    line, about : str
        A command that is no run of statements, after ``python -m verify``, and the subject of its report.
    """

    profile: str = "quick"
    device: str = "cpu"
    seed: int = 0
    variants: bool = False
    assumptions: bool = False
    only: Kind | None = None
    own: Path | None = None
    single: bool = False
    program: str = "verify"
    ray: str | None = None
    images: Mapping[str, Any] | None = None
    line: str = ""
    about: str = ""

    @property
    def mode(self) -> str:
        """The option that was given in place of a run of everything."""
        return "variants" if self.variants else "assumptions" if self.assumptions else ""


@dataclass(frozen=True)
class Run:
    """A run, complete or interrupted, and how its results are written and printed."""

    results: Sequence[Result]
    document: Callable[[Attached], dict[str, Any]]
    show: Callable[[Attached], None]
    statuses: Sequence[str]
    interrupted: bool
    drawings: Drawn | None = None
    failed: Sequence[Broken] = ()


# Linux shows a GPU that torch can use as one of these.
GPUS = ("nvidiactl", "nvhost-ctrl", "nvhost-gpu", "nvmap", "kfd", "dxg")


def make_context(profile: str, device: str, seed: int, *, lazy: bool = False) -> Context:
    """The context of a run; an absent device is an InputError. `lazy`: without torch where it is not needed to know."""
    without = sys.platform == "linux" and not any(Path("/dev", name).exists() for name in GPUS)
    if lazy and (device == "cpu" or (device == "auto" and without)):
        return Context(seed=seed, profile=profile, device="cpu")  # type: ignore[arg-type]
    with deferred_interrupt():
        import numeric

        result = str(numeric.check_device(device))  # loads torch
    return Context(seed=seed, profile=profile, device=result)  # type: ignore[arg-type]


def execute(entries: Sequence[Entry], output: Output, options: Options) -> int:
    """Run statements, write the results, and return the exit code."""
    values = {
        "variants": options.variants,
        "assumptions": options.assumptions,
        "only": options.only,
        "ray": options.ray,
    }
    exclusive = [f"--{name}" for name, value in values.items() if value]
    if options.mode and len(exclusive) > 1:
        raise InputError(f"{exclusive[0]} and {exclusive[1]}: only one of them at a time")
    failed: list[Broken] = []
    if options.own is not None:
        entries = list(each(lambda some: iter([one for one in some if one.load()]), entries, options, failed))
        if not entries:
            return complain_of(failed)
    with shown(output.quiet) as progress:
        progress.start(None, "loading libraries")
        context = make_context(options.profile, options.device, options.seed, lazy=options.own is not None)
        # mpmath, while it is loaded, drops Ctrl-C; and of half of SymPy no partial report can be made.
        if options.own is None or output.reports or any(derives(entry) for entry in entries):
            with deferred_interrupt():
                import sympy  # noqa: F401
    output.check([entry.slug for entry in entries], list(copied_files(options)[0]))
    modes = {"": run_statements, "variants": run_variants, "assumptions": run_assumptions}
    run = replace(modes[options.mode](entries, output, context, options, failed), failed=failed)
    if failed and not run.statuses and not run.interrupted:
        return complain_of(failed)
    return finish(run, output, context, options)


def derives(entry: Entry) -> bool:
    """Whether a statement makes symbolic claims."""
    return any(check.kind in ("symbolic", "kernel") for check in entry.load().checks)


def complain_of(failed: Sequence[Broken]) -> int:
    """Write a line on every statement that has no verdict, and return the exit code of invalid input."""
    for one in failed:
        code = complain(one.error)
    return code


def each(
    run: Callable[[Sequence[Entry]], Iterator[Item]], entries: Sequence[Entry], options: Options, failed: list[Broken]
) -> Iterator[Item]:
    """The items of a run of all statements; those of a user's own are run one by one, and may fail one by one."""
    if options.own is None:
        return run(entries)
    from verify.own.files import each_alone

    return each_alone(run, entries, failed)


def run_statements(
    entries: Sequence[Entry], output: Output, context: Context, options: Options, failed: list[Broken]
) -> Run:
    """Run every check of the statements, and draw their figures for a report."""
    from verify.engine.cluster import runner_of
    from verify.engine.runner import interrupted
    from verify.report.documents import print_results, results_json

    results: list[Result] = []
    drawings, stopped = None, False
    draw = output.reports and options.only is None
    try:
        with shown(output.quiet) as progress, drawing(context, entries if draw else ()) as figures:
            # An interruption leaves in the list what came before it.
            run = runner_of(options.ray)
            results.extend(each(lambda some: run(some, context, progress, only=options.only), entries, options, failed))
            if draw:
                drawings = figures([result.statement for result in results], progress)
        reason = "" if draw else f"only {options.only} was asked for"
    except KeyboardInterrupt:
        if not results and not output.reports and output.json is None:
            raise
        known = {result.statement.slug for result in results} | {one.slug for one in failed}
        results += [interrupted(e.load(), [], only=options.only) for e in entries if e.load().slug not in known]
        reason, stopped = "the run was interrupted", True
    broken = {one.slug for one in failed}
    results = [result for result in results if result.statement.slug not in broken]

    def show(attached: Attached) -> None:
        # A statement that was cut short has no verdict, unless it is refuted already.
        known = [result for result in results if not result.interrupted or result.verdict == "refuted"]
        if known:
            own = None if options.own is None else str(options.own)
            print_results(output.console(), known, attached.counterexamples, output.quiet, own)

    return Run(
        results,
        lambda attached: results_json(context, results, attached.counterexamples),
        show,
        [result.verdict for result in results],
        stopped,
        without_figures(results, reason) if reason and output.reports else drawings,
    )


def drawing(context: Context, entries: Sequence[Entry]) -> AbstractContextManager[Any]:
    """What draws the figures of the entries, in the background perhaps; nothing is loaded for none."""
    if not entries:
        return nullcontext()
    from verify.report.build import draw_in_background

    return draw_in_background(context, entries)


def without_figures(results: Sequence[Result], reason: str) -> Drawn:
    """Why no figure was drawn, for the report."""
    from verify.report.build import not_drawn

    return not_drawn([result.statement for result in results], reason)


def until_interrupted(run: Callable[[Progress], Iterator[Item]], output: Output) -> tuple[list[Item], bool]:
    """The items that a run yields, and whether Ctrl-C ended it."""
    items: list[Item] = []
    try:
        with shown(output.quiet) as progress:
            items.extend(run(progress))
    except KeyboardInterrupt:
        return items, True
    return items, False


def without(entries: Sequence[Entry], failed: Sequence[Broken]) -> list[Entry]:
    """The entries that did not fail."""
    return [entry for entry in entries if entry.slug not in {one.slug for one in failed}]


def run_variants(
    entries: Sequence[Entry], output: Output, context: Context, options: Options, failed: list[Broken]
) -> Run:
    """Refute every mutant and shrink the counterexamples."""
    from verify.engine.runner import refutations, variants_result
    from verify.engine.saved import check_folder
    from verify.report.documents import print_variants, variants_json

    folder = (output.report or Path()) / COUNTEREXAMPLES
    if output.report is None:
        check_folder(folder)
    workers = min(WORKERS, os.cpu_count() or 1)
    rows, interrupted = until_interrupted(
        lambda progress: each(lambda some: refutations(some, context, progress, workers), entries, options, failed),
        output,
    )
    entries, broken = without(entries, failed), {one.slug for one in failed}
    rows = [row for row in rows if row.statement.slug not in broken]
    # A statement without a mutant has nothing that could have failed.
    bare = [entry.slug for entry in entries if not entry.load().variants]

    def show(attached: Attached) -> None:
        if rows or not interrupted:
            print_variants(output.console(), rows, str(folder), output.quiet)
        for slug in bare:
            output.console().print(f"{slug}: there is no mutant to refute", soft_wrap=True, markup=False)

    verdicts = {"refuted": "holds", "survived": "abstained", "open": "abstained"}
    return Run(
        [variants_result(entry.load(), rows) for entry in entries],
        lambda attached: variants_json(context, rows, attached.variants),
        show,
        [*(verdicts[row.status] for row in rows), *("abstained" for _ in bare)],
        interrupted,
    )


def run_assumptions(
    entries: Sequence[Entry], output: Output, context: Context, options: Options, failed: list[Broken]
) -> Run:
    """Drop every assumption in turn; an unexpected counterexample refutes, a lost one leaves the result open."""
    from verify.engine.runner import assumption_outcomes, assumptions_result
    from verify.report.documents import assumptions_json, print_assumptions

    outcomes, interrupted = until_interrupted(
        lambda progress: each(lambda some: assumption_outcomes(some, context, progress), entries, options, failed),
        output,
    )
    entries, broken = without(entries, failed), {one.slug for one in failed}
    outcomes = [row for row in outcomes if row[0].slug not in broken]

    def show(attached: Attached) -> None:
        if outcomes or not interrupted:
            print_assumptions(output.console(), outcomes, output.quiet)

    return Run(
        [assumptions_result(entry.load(), outcomes) for entry in entries],
        lambda _: assumptions_json(context, outcomes),
        show,
        [outcome.status for _, outcome in outcomes],
        interrupted,
    )


def finish(run: Run, output: Output, context: Context, options: Options) -> int:
    """Write and print the results of a run; report write errors once, at the end."""
    from verify.report.build import counterexamples
    from verify.report.view import Attached, Request, overall

    own = None if options.own is None else copy_name(options.own)
    request = Request(context, own, options.mode, options.single, options.only or "", options.images, options.program)
    broken = tuple(one.slug or "a statement without a name" for one in run.failed)
    request = replace(request, broken=broken, line=options.line, about=options.about)
    lines: list[str] = []
    failures: list[str] = []
    with recorded_interrupt() as pressed:
        attached, files = counterexamples(request, run.results)
        placed = attached.inside(output.report)
        if output.reports:
            try:
                lines = write_report(run, request, attached, files, output, options, pressed)
            except InputError as error:
                failures.append(str(error))
                placed = Attached()
        if output.report is None:  # what lies in a zip file only cannot be replayed
            placed = save(attached, files, options)
        try:
            output.document(documented(run, placed))
        except InputError as error:
            failures.append(str(error))
        run.show(placed)
        if run.interrupted or pressed.is_set():
            sys.stdout.flush()
            for line in [f"error: {failures[0]}"] if failures else lines:
                sys.stderr.write(line + "\n")
            raise KeyboardInterrupt
        if failures:
            sys.stdout.flush()
            return complain(failures[0])
        verdict = overall(run.statuses)
        if not output.quiet:
            for line in lines:
                output.console().print(line, markup=False, soft_wrap=True)
        if run.failed:
            sys.stdout.flush()
            wrong = complain_of(run.failed)
            return EXIT[verdict] if verdict == "refuted" else wrong
        return EXIT[verdict]


def documented(run: Run, attached: Attached) -> dict[str, Any]:
    """The JSON document of a run; it names the statements that have no verdict."""
    broken = {"broken": [one.as_json() for one in run.failed]} if run.failed else {}
    return {**run.document(attached), **broken}


def write_report(
    run: Run, request: Request, attached: Attached, files: Mapping[str, bytes], output: Output, options: Options,
    pressed: threading.Event,
) -> list[str]:  # fmt: skip
    """Build the report, write it, and return a line about each place."""
    from verify.report.build import build

    with shown(output.quiet) as progress:
        progress.start(None, "writing the report")
        copied, note = copied_files(options)
        document = documented(run, attached.inside(output.report))
        report = build(
            request, run.results, document, attached, {**files, **copied}, name=f"{options.mode or 'report'}.json",
            drawings=run.drawings, shrunk=options.variants, with_pdf=not run.interrupted, stop=pressed,
        )  # fmt: skip
        partial = "partial " if run.interrupted or pressed.is_set() else ""
        return [partial + line + (f" ({note})" if note else "") for line in output.publish(report)]


def save(attached: Attached, files: Mapping[str, bytes], options: Options) -> Attached:
    """Write counterexamples to the working folder and return those that could be written."""
    from hltm.base.atomic import write
    from verify.engine.saved import check_folder

    def written(name: str) -> bool:
        try:
            check_folder(Path(name).parent)
            write(Path(name), files[name])
        except InputError as error:
            sys.stderr.write(f"the counterexample could not be saved: {error}\n")
            return False
        return True

    # In a run of everything the counterexamples to mutants are not shrunk, and not saved.
    variants = attached.variants if options.variants else {}
    return replace(
        attached,
        counterexamples={key: name for key, name in attached.counterexamples.items() if written(name)},
        variants={key: name for key, name in variants.items() if written(name)},
    )


def copied_files(options: Options) -> tuple[dict[str, bytes], str]:
    """A report's copies of a user's statements and of the modules beside them; and what is missing, in words."""
    if options.own is None:
        return {}, ""
    from verify.own.files import copies

    return copies(options.own, copy_name(options.own))


def copy_name(file: Path) -> str:
    """The name of a report's copy of a user's statements."""
    return "statements/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", file.name).strip(".-") or "own.py")
