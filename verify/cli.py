"""The command line: `python -m verify`, `python -m verify.theoremN`, and `covop`.

Exit codes: 0 everything asked for holds, 1 refuted, 2 wrong input or usage, 3 abstained or a check too weak, 130
interrupted. Results go to stdout, progress and errors to stderr; with `--json -` stdout gets the JSON document only.
Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import enum
import inspect
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hltm.base.command import Job, guarded, refuse_options_before_command
from hltm.base.errors import InputError
from hltm.base.interrupts import deferred_interrupt, ignore_interrupts
from hltm.base.progress import shown
from hltm.base.userfile import MODULE
from verify.commands import EXIT, Options, Output, execute, make_context
from verify.registry import PACKS, REGISTRY, Entry, entry


class ProfileName(enum.StrEnum):
    """How much is tried."""

    quick = "quick"
    thorough = "thorough"


class KindName(enum.StrEnum):
    """A kind of evidence."""

    symbolic = "symbolic"
    kernel = "kernel"
    exact = "exact"
    float_ = "float"
    property_ = "property"
    trained = "trained"
    variants = "variants"
    assumptions = "assumptions"


class DeviceName(enum.StrEnum):
    """Where the float checks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Profile = Annotated[ProfileName, typer.Option(help="How much is tried.")]
Device = Annotated[DeviceName, typer.Option(help="Where float checks run; auto takes a GPU if there is one.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Every random choice derives from it.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write one JSON document.")]
Report = Annotated[Path | None, typer.Option(metavar="DIR", help="Write a report: index.html, JSON, LaTeX, PDF.")]
Bundle = Annotated[Path | None, typer.Option(metavar="FILE.zip", help="Write the report as one zip file with sums.")]
Only = Annotated[KindName | None, typer.Option(help="Run this kind of evidence and no other.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only what does not hold; no progress.")]
Ray = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Spread searches and training over a Ray cluster.")]
Images = Annotated[Path | None, typer.Option(metavar="DIR", help="Results of an image experiment for the report.")]
Variants = Annotated[bool, typer.Option("--variants", help="Refute and shrink every mutant instead.")]
Assumptions = Annotated[bool, typer.Option("--assumptions", help="Drop every assumption in turn instead.")]

OWN_RUNS_HERE = "must be left out; only the statements of the paper go to a cluster, whose nodes have no file of yours"

app = typer.Typer(add_completion=False, no_args_is_help=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def with_run_options(command: Callable[..., Job | None]) -> Callable[..., Job | None]:
    """Give a command the options of every run, parsed as `Output` and `Options`."""

    def parsed(
        profile: Profile = ProfileName.quick,
        device: Device = DeviceName.auto,
        seed: Seed = 0,
        json: Json = None,
        report: Report = None,
        bundle: Bundle = None,
        quiet: Quiet = False,
        only: Only = None,
        variants: Variants = False,
        assumptions: Assumptions = False,
        **own: Any,
    ) -> Job | None:
        kind = None if only is None else only.value
        options = Options(profile.value, device.value, seed, variants, assumptions, kind)  # type: ignore[arg-type]
        return command(Output(json, report, quiet, bundle), options, **own)

    # Typer reads the options from the signature.
    _, _, *extra = inspect.signature(command, eval_str=True).parameters.values()
    *shared, _ = inspect.signature(parsed, eval_str=True).parameters.values()
    parameters = [each.replace(kind=each.KEYWORD_ONLY) for each in (*shared, *extra)]
    parsed.__name__, parsed.__doc__ = command.__name__, command.__doc__
    parsed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    parsed.__annotations__ = {each.name: each.annotation for each in parameters}
    return parsed


@app.callback(invoke_without_command=True)
@with_run_options
def verify(
    output: Output, options: Options, context: typer.Context, ray: Ray = None, images: Images = None
) -> Job | None:
    """Check the statements of arXiv 2010.00578: symbolic, exact, floating point, property search, mutants.

    One statement: python -m verify.theorem1 to python -m verify.theorem7, with the same options but --ray and --images.
    Statements of other papers: python -m verify.packs, or one of them by its name, python -m verify byol-update.
    """
    if context.invoked_subcommand is not None:
        if ray is not None:
            raise InputError(f"--ray with {context.invoked_subcommand}: {OWN_RUNS_HERE}")
        refuse_options_before_command(context)
        return None
    section = None
    if images is not None:
        from verify.report.build import images_section

        if not output.reports:
            raise InputError("--images: must go with --report or --bundle")
        section = images_section(images)
    return partial(execute, REGISTRY, output, replace(options, ray=ray, images=section))


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
@with_run_options
def run(
    output: Output,
    options: Options,
    file: Annotated[Path, typer.Argument(help="Python file that defines statements (verify.user_statement).")],
    ray: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> Job:
    """Check statements of your own. FILE is Python and is run as such: name only files that you trust."""
    if ray is not None:
        raise InputError(f"--ray with run: {OWN_RUNS_HERE}")
    return partial(run_own, file, output, replace(options, own=file))


def run_own(file: Path, output: Output, options: Options) -> int:
    """Run the statements of a user's file and return the exit code."""
    from verify.own.files import load_statements
    from verify.own.guard import as_input_error

    with as_input_error(lambda: f"file {str(file)!r}", besides=(OSError, KeyboardInterrupt)):
        return execute(load_statements(file), output, options)


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="Python file to write; it must not exist.")], quiet: Quiet = False
) -> Job:
    """Write a commented file with a statement that runs, for you to replace by your own."""
    return partial(run_new, file, Output(None, None, quiet))


def run_new(file: Path, output: Output) -> int:
    """Write the skeleton of a statements file."""
    from verify.own.skeleton import write_new

    write_new(file)
    if not output.quiet:
        output.console().print(f"{file}: run it with  covop run {file}", markup=False, soft_wrap=True)
    return 0


@app.command("check-bundle")
def check_bundle_command(
    file: Annotated[Path, typer.Argument(help="A zip file that --bundle wrote.")], quiet: Quiet = False
) -> Job:
    """Compare the SHA-256 sums of a bundle with its manifest; nothing is unpacked."""
    return partial(run_check_bundle, file, Output(None, None, quiet))


def run_check_bundle(file: Path, output: Output) -> int:
    """Compare the sums of a bundle; one that is not as listed is an InputError."""
    from verify.report.folder import check_bundle

    result = check_bundle(file)
    if not output.quiet:
        line = f"{len(result['files'])} files, all sums agree; verdict {result.get('verdict')}: {result.get('subject')}"
        output.console().print(line, markup=False, soft_wrap=True)
    return 0


# An expression may begin with a minus, as InfoNCE does: what is no option is passed on.
@app.command(context_settings={"ignore_unknown_options": True})
def loss(
    expression: Annotated[
        str,
        typer.Argument(
            metavar="EXPR",
            help="In r_p (or r_p1, r_p2, ...), r_1 .. r_64, similarities s_p, s_1, ..., tau, r_0; with + - * / **, "
            "exp, log, log1p, sqrt, abs, min, max, relu, tanh, sigmoid, softplus, sum_p, mean_p.",
        ),
    ],
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=...",
            help="A parameter of yours: NAME=VALUE, NAME=positive, NAME=nonnegative, NAME=real or NAME=LOW..HIGH.",
        ),
    ] = None,
    domain: Annotated[
        str | None, typer.Option(metavar="euclidean|sphere", help="Distances r >= 0, or r <= 2 of unit outputs.")
    ] = None,
    positives: Annotated[int | None, typer.Option(help="Number of positives that sum_p and mean_p run over.")] = None,
    json: Json = None,
    quiet: Quiet = False,
) -> Job:
    """Decide on a loss of yours: its family (statement 2), its weights, and statement 4 or its update.

    Exit code 0: in the family, or weakly in it (a hinge: xi >= 0); 1: outside of it, with the point that shows it and
    the update with two weights; 2: wrong input; 3: undecided.
    """
    return partial(run_loss, expression, Output(json, None, quiet), param or (), domain, positives)


@app.command()
def tree(
    file: Annotated[Path, typer.Argument(help="A tree of your own: .json, .graphml or .bif.")],
    node: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Check this inner node; again for more.")
    ] = None,
    all_nodes: Annotated[
        bool, typer.Option("--all-nodes", help="Every inner node; else a large tree has some of each level.")
    ] = False,
    slope: Annotated[
        list[str] | None, typer.Option(metavar="X", help="Slope of the activation, such as 1/4; by default 0, 1, 1/4.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON object, inner node to matrix; by default random weights.")
    ] = None,
    trained: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Weights of a run folder of python -m numeric train --run.")
    ] = None,
    profile: Profile = ProfileName.quick,
    quick: Annotated[bool, typer.Option("--quick", help="As --profile quick.")] = False,
    device: Device = DeviceName.auto,
    seed: Seed = 0,
    json: Json = None,
    report: Report = None,
    bundle: Bundle = None,
    quiet: Quiet = False,
) -> Job:
    """Check statement 6 on a tree of your own in four ways: closed form, enumeration, torch, sampling.

    Exit code 0: all agree; 1: the odd one out is named, with both numbers; 3: a way was left out, too expensive.
    """
    from verify.tree import run_tree

    options = Options("quick" if quick else profile.value, device.value, seed)
    return partial(
        run_tree, file, Output(json, report, quiet, bundle), options, nodes=node or (), slopes=slope or (),
        weights=weights, trained=trained, all_nodes=all_nodes,
    )  # fmt: skip


def run_loss(
    expression: str,
    output: Output,
    parameters: Sequence[str] = (),
    domain: str | None = None,
    positives: int | None = None,
) -> int:
    """Decide on one loss that is given as text, and give the exit code."""
    from verify.loss.check import check_loss, loss_json, loss_lines

    output.check()
    with shown(output.quiet) as progress:
        with deferred_interrupt():  # mpmath, while it is loaded, drops Ctrl-C
            import sympy  # noqa: F401
        report = check_loss(expression, progress=progress, parameters=parameters, domain=domain, positives=positives)
    output.document(loss_json(make_context("quick", "cpu", 0), report))
    lines = (report.counterexample or ()) if output.quiet else loss_lines(report)
    return conclude(output, lines, "loss", report.verdict)


def run_replay(file: Path, device: str, output: Output, statements: Path | None = None) -> int:
    """Measure one saved instance by every kind of evidence, and give the exit code."""
    from verify.engine.runner import replay as measure
    from verify.engine.saved import read_instance
    from verify.own.files import Loaded, alone, load_statements
    from verify.report.documents import replay_json, replay_lines

    output.check()
    with shown(output.quiet) as progress:
        progress.start(None, "loading the statement")
        context = make_context("quick", device, 0)
        own = None if statements is None else Loaded((one.slug, one) for one in load_statements(statements))
        with nullcontext() if own is None else alone(f"file {str(statements)!r}"):
            statement, variant, instance = read_instance(file, own)
            claim = None if variant is None else statement.variant(variant).claim
            result = measure(statement, claim, instance, progress)
    decided = [m.status for m in result.values() if m.status != "abstained"]
    verdict = "abstained" if not decided else "refuted" if "refuted" in decided else "holds"
    output.document(replay_json(context, statement.slug, variant, result, verdict, instance))
    lines = replay_lines(result, instance, variant is not None)
    name = f"{statement.slug}, variant {variant}" if variant else statement.slug
    return conclude(output, () if output.quiet else lines, name, verdict)


def conclude(output: Output, lines: Sequence[str], name: str, verdict: str) -> int:
    """Print lines and the verdict, and return the exit code."""
    if not output.quiet or verdict != "holds":
        lines = [*lines, f"{name}: {verdict}"]
    for line in lines:
        output.console().print(line, markup=False, soft_wrap=True)
    return EXIT[verdict]


def of_entries(
    entries: Sequence[Entry], help_text: str, name: str, program: str = "verify"
) -> Callable[..., Job | None]:
    """The command that checks some statements."""

    def command(output: Output, options: Options) -> Job:
        return partial(execute, entries, output, replace(options, single=len(entries) == 1, program=program))

    command.__name__, command.__doc__ = name.replace("-", "_"), help_text
    return with_run_options(command)


for known in (*REGISTRY, *PACKS):
    app.command(known.slug, short_help=known.title)(of_entries((known,), f"Check {known.title}.", known.slug))


@app.command("verify")
@with_run_options
def verify_command(
    output: Output,
    options: Options,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SLUG|N ...]", help="Slugs or numbers; without one, all seven.")
    ] = None,
) -> Job:
    """Check some statements, by slug or number."""
    entries = REGISTRY if not names else tuple(dict.fromkeys(entry(name) for name in names))
    program = " ".join(["verify", "verify", *(one.slug for one in entries)]) if names else "verify"
    return partial(execute, entries, output, replace(options, single=len(entries) == 1, program=program))


def run_statement(slug: str) -> None:
    """Entry point of `python -m verify.theoremN`: the same options, one statement."""
    chosen = entry(slug)
    run_entries((chosen,), f"Check {chosen.heading}, {chosen.title}.", f"python -m verify.theorem{chosen.theorem}")


def run_packs() -> None:
    """Entry point of `python -m verify.packs`: the statements of other papers."""
    run_entries(PACKS, "Check the statements of other papers.", "python -m verify.packs", "verify.packs")


def run_entries(entries: Sequence[Entry], help_text: str, name: str, program: str = "verify") -> None:
    """Run a command that checks these statements."""
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command()(of_entries(entries, help_text, "check", program))
    leave(single, name)


def leave(application: typer.Typer, name: str) -> None:
    """Run an application and leave with its exit code."""
    # The tensors of the checks are small: threads would wait for each other longer than they work. Read by torch.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with scratch_folder() as scratch:
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", scratch)
        code = guarded(application, name)
        ignore_interrupts()
    end_with_threads(code)
    sys.exit(code)


def end_with_threads(code: int) -> None:
    """End the process where a user's file started threads that still run: Python would wait for them."""
    threads = [thread for thread in threading.enumerate() if not thread.daemon]
    if len(threads) > 1 and MODULE in sys.modules:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


@contextmanager
def scratch_folder() -> Iterator[str]:
    """A temporary folder for Hypothesis, which would write to the working folder.

    If none can be made it is a path that cannot be written; Hypothesis then runs without a cache.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="covop-", ignore_cleanup_errors=True)
    except OSError:
        yield os.path.join(os.devnull, "covop")  # noqa: PTH118
        return
    with folder as scratch:
        yield scratch


def main() -> None:
    """Entry point of `python -m verify` and `covop`."""
    leave(app, "python -m verify")
