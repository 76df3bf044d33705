"""The command line: `python -m verify`, `python -m verify.theoremN`, and `covop`.

Exit codes: 0 all that was asked for holds, 1 refuted, 2 wrong input or usage, 3 abstained, 130 interrupted. Results go
to stdout, progress and errors to stderr; with `--json -` the document is all that stdout gets. Nothing heavy is
imported before a command runs.
"""

from __future__ import annotations

import enum
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hltm.command import Job, guarded
from hltm.errors import InputError
from verify.output import Output
from verify.registry import Entry, covered, entry
from verify.statement import Context

if TYPE_CHECKING:
    from verify.runner import Result

EXIT = {"holds": 0, "refuted": 1, "abstained": 3}
# Processes that look for counterexamples to false variants.
WORKERS = 2


class ProfileName(enum.StrEnum):
    """How much is tried."""

    quick = "quick"
    thorough = "thorough"


class DeviceName(enum.StrEnum):
    """Where the float checks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Profile = Annotated[ProfileName, typer.Option(help="How much is tried.")]
Device = Annotated[DeviceName, typer.Option(help="Where float checks run; auto takes a GPU if there is one.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Every random choice derives from it.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write one JSON document.")]
Report = Annotated[Path | None, typer.Option(metavar="DIR", help="Write report.json and counterexamples there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only what does not hold; no progress.")]
Variants = Annotated[bool, typer.Option("--variants", help="Refute and shrink every false variant instead.")]
Assumptions = Annotated[bool, typer.Option("--assumptions", help="Drop every assumption in turn instead.")]

app = typer.Typer(add_completion=False, no_args_is_help=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def verify(
    context: typer.Context,
    profile: Profile = ProfileName.quick,
    device: Device = DeviceName.auto,
    seed: Seed = 0,
    json: Json = None,
    report: Report = None,
    quiet: Quiet = False,
    variants: Variants = False,
    assumptions: Assumptions = False,
) -> Job | None:
    """Check the statements of arXiv 2010.00578: symbolic, exact, floating point, property search, false variants."""
    if context.invoked_subcommand is not None:
        return None
    output = Output(json, report, quiet)
    return partial(execute, covered(), output, str(profile), str(device), seed, variants, assumptions)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A saved counterexample or instance.")],
    statements: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The Python file of the user's own statement that was saved; it is run."),
    ] = None,
    device: Device = DeviceName.auto,
    json: Json = None,
    quiet: Quiet = False,
) -> Job:
    """Measure one saved counterexample or instance again."""
    return partial(run_replay, file, str(device), Output(json, None, quiet), statements)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="Python file that defines statements (verify.user_statement).")],
    profile: Profile = ProfileName.quick,
    device: Device = DeviceName.auto,
    seed: Seed = 0,
    json: Json = None,
    report: Report = None,
    quiet: Quiet = False,
    variants: Variants = False,
    assumptions: Assumptions = False,
) -> Job:
    """Check statements of your own. FILE is Python and is run as such: name only files that you trust."""
    return partial(run_own, file, Output(json, report, quiet), str(profile), str(device), seed, variants, assumptions)


def run_own(
    file: Path, output: Output, profile: str, device: str, seed: int, variants: bool, assumptions: bool = False
) -> int:
    """Run the statements of a user's file, their false variants or assumptions, and give the exit code."""
    from verify.own_file import blaming, load_statements

    with blaming(file):
        return execute(load_statements(file), output, profile, device, seed, variants, assumptions)


# An expression may begin with a minus, as InfoNCE does: what is no option is passed on.
@app.command(context_settings={"ignore_unknown_options": True})
def loss(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="In r_p, r_1 .. r_64, tau, r_0; see the README.")],
    json: Json = None,
    quiet: Quiet = False,
) -> Job:
    """Decide on a loss of yours: its family (statement 2), its pair weight, and statement 4 for it."""
    return partial(run_loss, expression, Output(json, None, quiet))


def run_loss(expression: str, output: Output) -> int:
    """Decide on one loss that is given as text, and give the exit code."""
    from verify.loss_check import check_loss
    from verify.loss_report import loss_json, loss_lines

    output.check()
    report = check_loss(expression)
    output.document(loss_json(make_context("quick", "cpu", 0), report))
    console = output.console()
    if not output.quiet:
        for line in loss_lines(report):
            console.print(line, markup=False, soft_wrap=True)
    elif report.counterexample is not None:
        console.print("\n".join(report.counterexample), markup=False, soft_wrap=True)
    if not output.quiet or report.verdict != "holds":
        console.print(f"loss: {report.verdict}", markup=False, soft_wrap=True)
    return EXIT[report.verdict]


def run_replay(file: Path, device: str, output: Output, statements: Path | None = None) -> int:
    """Measure one saved instance by every kind of evidence, and give the exit code."""
    from verify.files import read_instance
    from verify.own_file import load_statements
    from verify.report import replay_json
    from verify.runner import replay as measure

    context = make_context("quick", device, 0)
    output.check()
    own = None if statements is None else {found.slug: found.load() for found in load_statements(statements)}
    statement, variant, instance = read_instance(file, own)
    claim = None if variant is None else statement.variant(variant).claim
    found = measure(statement, claim, instance)
    decided = [m.status for m in found.values() if m.decided]
    verdict = "abstained" if not decided else "refuted" if "refuted" in decided else "holds"
    output.document(replay_json(context, statement.slug, variant, found, verdict))
    console = output.console()
    if not output.quiet:
        for kind, m in found.items():
            line = f"{kind}: {m.status}, residual {m.residual:.3e}, tolerance {m.tolerance:.3e} {m.detail}"
            console.print(line, markup=False, soft_wrap=True)
    name = f"{statement.slug}, variant {variant}" if variant else statement.slug
    if not output.quiet or verdict != "holds":
        console.print(f"{name}: {verdict}", markup=False, soft_wrap=True)
    return EXIT[verdict]


def make_context(profile: str, device: str, seed: int) -> Context:
    """The context of a run; an absent device is an InputError."""
    import numeric

    return Context(seed=seed, profile=profile, device=str(numeric.check_device(device)))  # type: ignore[arg-type]


def execute(
    entries: Sequence[Entry],
    output: Output,
    profile: str,
    device: str,
    seed: int,
    variants: bool,
    assumptions: bool = False,
) -> int:
    """Run statements, or their false variants, or drop their assumptions, and give the exit code."""
    if variants and assumptions:
        raise InputError("--variants and --assumptions: only one of them at a time")
    context = make_context(profile, device, seed)
    output.check()
    if assumptions:
        return run_assumptions(entries, output, context)
    return run_variants(entries, output, context) if variants else run_statements(entries, output, context)


def run_statements(entries: Sequence[Entry], output: Output, context: Context) -> int:
    """Run statements; save counterexamples, write documents, print tables."""
    from verify.report import print_results, results_json
    from verify.runner import run

    with output.progress() as progress:
        results = list(run(entries, context, progress))
    files = save_counterexamples(results, output, context)
    output.document(results_json(context, results, files))
    print_results(output.console(), results, files, output.quiet)
    verdicts = {result.verdict for result in results}
    return EXIT["refuted" if "refuted" in verdicts else "abstained" if "abstained" in verdicts else "holds"]


def save_counterexamples(results: Sequence[Result], output: Output, context: Context) -> dict[tuple[str, int], str]:
    """Save what refuted; a place that cannot be written costs the file, never the verdict."""
    from verify.files import save_instance

    files: dict[tuple[str, int], str] = {}
    for result in results:
        for index, row in enumerate(result.evidence):
            if not hasattr(row.counterexample, "as_json"):
                continue
            name = f"{row.kind}-{row.source}".replace(", ", "-").replace(" ", "-")
            found = {"residual": str(row.worst_residual), "tolerance": str(row.tolerance), "detail": row.detail}
            try:
                path = save_instance(
                    output.counterexamples(), result.statement, row.counterexample,
                    name=name, variant=None, seed=context.seed, found=found,
                )  # fmt: skip
            except InputError as error:
                sys.stderr.write(f"the counterexample could not be saved: {error}\n")
                continue
            files[result.statement.slug, index] = str(path)
    return files


def run_variants(entries: Sequence[Entry], output: Output, context: Context) -> int:
    """Refute every false variant, save the shrunk counterexamples; a survivor is exit code 1."""
    from verify.files import save_instance
    from verify.report import print_variants, variants_json
    from verify.runner import refutations

    folder = output.counterexamples()
    with output.progress() as progress:
        found = list(refutations(entries, context, progress, workers=min(WORKERS, os.cpu_count() or 1)))
    files: list[str | None] = []
    for row in found:
        if row.instance is None or row.measurement is None:
            files.append(None)
            continue
        kept = {"refuted_by": list(row.refuted_by), "residual": str(row.measurement.residual)}
        path = save_instance(
            folder, row.statement, row.instance,
            name=row.variant.name, variant=row.variant.name, seed=context.seed, found=kept,
        )  # fmt: skip
        files.append(str(path))
    output.document(variants_json(context, found, files), "variants.json")
    print_variants(output.console(), found, str(folder), output.quiet)
    return 1 if any(row.survived for row in found) else 0


def run_assumptions(entries: Sequence[Entry], output: Output, context: Context) -> int:
    """Drop every assumption in turn; one that is not found to be what is expected of it is exit code 1."""
    from verify.assumption_report import assumptions_json, print_assumptions
    from verify.runner import assumption_outcomes

    with output.progress() as progress:
        found = list(assumption_outcomes(entries, context, progress))
    output.document(assumptions_json(context, found), "assumptions.json")
    print_assumptions(output.console(), found, output.quiet)
    statuses = {outcome.status for _, outcome in found}
    return EXIT["refuted" if "refuted" in statuses else "holds" if statuses == {"holds"} else "abstained"]


def run_statement(slug: str) -> None:
    """Entry point of `python -m verify.theoremN`: the same options, one statement."""
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    chosen = entry(slug)

    def one(
        profile: Profile = ProfileName.quick,
        device: Device = DeviceName.auto,
        seed: Seed = 0,
        json: Json = None,
        report: Report = None,
        quiet: Quiet = False,
        variants: Variants = False,
        assumptions: Assumptions = False,
    ) -> Job:
        output = Output(json, report, quiet)
        return partial(execute, (chosen,), output, str(profile), str(device), seed, variants, assumptions)

    one.__doc__ = f"Check Theorem {chosen.theorem}, {chosen.title}."
    single.command()(one)
    leave(single, f"python -m verify.theorem{chosen.theorem}")


def leave(application: typer.Typer, name: str) -> None:
    """Run an application and leave with its exit code."""
    # The tensors of the checks are small: threads would wait for each other longer than they work. Read by torch.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Hypothesis caches what it reads of the source; a run leaves nothing where it was not told to write.
    with tempfile.TemporaryDirectory(prefix="covop-") as scratch:
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", scratch)
        code = guarded(application, name)
    sys.exit(code)


def main() -> None:
    """Entry point of `python -m verify` and `covop`."""
    leave(app, "python -m verify")
