"""The command line: `python -m numeric train|experiment|sweep`.

Exit codes: 0 done, 1 an experiment refutes a prediction or configurations of a sweep failed, 2 wrong input or usage
with one line on stderr, 130 interrupted. Results go to stdout, progress to stderr; with `--json -` stdout gets the
document alone. Nothing heavy is imported before a command runs.
"""

import enum
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hltm.base.command import Job, finish
from hltm.base.errors import InputError
from hltm.base.interrupts import deferred_interrupt
from hltm.base.progress import Progress, shown
from numeric.studies.images.command import images
from numeric.studies.sweep.cli import app as sweep_app


class DeviceName(enum.StrEnum):
    """Where networks train."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Device = Annotated[DeviceName, typer.Option(help="Where networks train; auto takes a GPU if there is one.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Every random choice derives from it.")]
Steps = Annotated[int, typer.Option(help="Steps of gradient descent.")]
Batch = Annotated[int, typer.Option(help="Triples of one step.")]
Leaves = Annotated[str, typer.Option(help="state: a leaf is its state number; one-hot: the indicators of its states.")]
Tau = Annotated[float, typer.Option(help="Temperature.")]
Rate = Annotated[float, typer.Option(help="Learning rate.")]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.add_typer(sweep_app, name="sweep")
studies = typer.Typer(add_completion=False, rich_markup_mode=None, subcommand_metavar="STUDY [OPTIONS]")
app.add_typer(studies, name="experiment")


@app.callback()
def numeric() -> None:
    """Train networks on hierarchical latent trees, and reproduce the numerical studies."""


@app.command()
def train(
    tree: Annotated[Path, typer.Option(metavar="FILE", help="A tree: .json, .graphml or .bif.")],
    width: Annotated[int, typer.Option(help="Neurons of each latent.")] = 10,
    loss: Annotated[str, typer.Option(help="simple, triplet, infonce or ntxent.")] = "infonce",
    tau: Tau = 0.1,
    lr: Rate = 0.1,
    batch: Batch = 128,
    steps: Steps = 1000,
    seed: Seed = 0,
    leaves: Leaves = "state",
    ensemble: Annotated[int, typer.Option(help="Networks that train together.")] = 1,
    negatives: Annotated[int, typer.Option(help="Negatives of infonce.")] = 1,
    output: Annotated[str, typer.Option(help="linear or normalized.")] = "normalized",
    mode: Annotated[str, typer.Option(help="sampled, or exact for at most 12 leaves.")] = "sampled",
    optimizer: Annotated[str, typer.Option(help="adam, adamax, adamw, nadam, radam, rmsprop or sgd.")] = "sgd",
    samples: Annotated[int, typer.Option(help="For correlations.")] = 12_800,
    run: Annotated[Path | None, typer.Option(metavar="DIR", help="Checkpoints; an interrupted run resumes.")] = None,
    device: Device = DeviceName.auto,
    json: Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write one JSON document.")] = None,
    quiet: Quiet = False,
) -> Job:
    """Train on a tree; print losses and the best correlation of a neuron with its latent, level by level."""
    network = {"width": width, "output": output, "seed": seed, "ensemble": ensemble, "leaves": leaves}
    training = {
        "loss": loss, "tau": tau, "lr": lr, "batch": batch, "steps": steps, "seed": seed, "negatives": negatives,
        "mode": mode, "optimizer": optimizer,
    }  # fmt: skip
    return partial(run_train, tree, network, training, samples, run, str(device), json, quiet)


@studies.callback()
def experiment() -> None:
    """Run a study: hltm (hierarchical latent trees) or images (SimCLR)."""


@studies.command("hltm")
def trees(
    depth: Annotated[int, typer.Option(help="Edges from the root to each leaf.")] = 5,
    children: Annotated[int, typer.Option(help="Children of each latent.")] = 2,
    widths: Annotated[str, typer.Option(metavar="N,N,..", help="Neurons of each latent.")] = "2,5,10,20",
    lows: Annotated[str, typer.Option(metavar="X,X,..", help="Smallest absolute polarities.")] = "0.7,0.8,0.9",
    states: Annotated[int, typer.Option(help="States of every node.")] = 2,
    leaves: Leaves = "state",
    losses: Annotated[str, typer.Option(metavar="NAME,..", help="infonce, simple, triplet.")] = "infonce,simple",
    seeds: Annotated[int, typer.Option(help="Trees and initial weights for each combination.")] = 10,
    steps: Steps = 1500,
    batch: Batch = 128,
    tau: Tau = 0.1,
    lr: Rate = 0.1,
    seed: Seed = 0,
    samples: Annotated[int, typer.Option(help="For correlations and ceilings.")] = 12_800,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Tables, figures and manifest.")] = None,
    device: Device = DeviceName.auto,
    as_published: Annotated[bool, typer.Option("--as-published", help="As the published code has it.")] = False,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --as-published: test against measured results.")
    ] = None,
    quiet: Quiet = False,
) -> Job:
    """Run the paper's numerical study on trees: table, figures and manifest."""
    if against is not None and not as_published:
        raise InputError("--against: must go with --as-published")
    settings: dict[str, Any] = {
        "depth": depth, "children": children, "widths": _list(widths, int, "widths"),
        "lows": _list(lows, float, "lows"), "losses": _list(losses, str, "losses"), "seeds": seeds, "steps": steps,
        "batch": batch, "tau": tau, "lr": lr, "seed": seed, "samples": samples, "device": str(device),
        "as_published": as_published, "states": states, "leaves": leaves,
    }  # fmt: skip
    return partial(run_experiment, settings, out, against, quiet)


studies.command()(images)


def _list(text: str, kind: Callable[[str], Any], name: str) -> tuple[Any, ...]:
    """Values between commas."""
    result = []
    for part in text.split(","):
        try:
            result.append(kind(part.strip()))
        except ValueError:
            raise InputError(f"--{name}: {part.strip()!r:.40}: must be of type {kind.__name__}") from None
    return tuple(result)


def run_train(
    file: Path, network: dict[str, Any], training: dict[str, Any], samples: int, folder: Path | None, device: str,
    json: str | None, quiet: bool,
) -> int:  # fmt: skip
    """Train on the tree of a file and print or write the results."""
    from numeric.training.report import check_json, train_and_measure, write_report

    target = check_json(json)
    with shown(quiet) as progress:
        load_torch(progress)
        began = _last_step(folder)
        try:
            report = train_and_measure(file, network, training, samples, folder, device, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(*_resume_hint(folder)) from None
    if began is not None and not quiet:
        sys.stderr.write(f"resumed from step {began}, the last checkpoint in {folder}\n")
    write_report(report, target, quiet)
    return 0


def load_torch(progress: Progress) -> None:
    """Import torch, which takes seconds, under a progress line."""
    progress.start(None, "loading torch")
    with deferred_interrupt():
        import torch  # noqa: F401


def _last_step(folder: Path | None) -> int | None:
    """Step of the last checkpoint of a folder; None if there is none."""
    from numeric.training.checkpoint import Checkpoints

    state = None if folder is None else Checkpoints(folder).read()
    return None if state is None else state.get("step")


def _resume_hint(folder: Path | None) -> list[str]:
    """One line on how to resume an interrupted run; none without a checkpoint."""
    from numeric.training.checkpoint import STATE

    if folder is None or not (folder / STATE).exists():
        return []
    return [f"the same command resumes from the last checkpoint in {folder}"]


def run_experiment(settings: dict[str, Any], out: Path | None, against: Path | None, quiet: bool) -> int:
    """Run the study, print its table, write its files."""
    with shown(quiet) as progress:
        load_torch(progress)
    from hltm.base.command import console
    from numeric.studies.paper.report import study_table, write_study
    from numeric.studies.paper.run import run_study
    from numeric.studies.paper.settings import Study
    from numeric.studies.results import check_out

    study = Study(**settings)
    if against is not None:
        return run_agreement(study, against, out, quiet)
    folder = None if out is None else check_out(out)
    with shown(quiet) as progress:
        results = run_study(study, progress)
    terminal = console(highlight=False)
    terminal.width = max(terminal.width, 150)
    terminal.print(study_table(results, study.states))
    for result in results:
        for failure in result.failures:
            sys.stderr.write(f"width {result.width}: {failure}\n")
    if folder is not None:
        names = write_study(folder, study, results)
        terminal.print(f"{len(names) + 1} files in {folder}", markup=False, soft_wrap=True)
    return 0


def run_agreement(study: Any, against: Path, out: Path | None, quiet: bool) -> int:
    """Compare networks as published with measured results; exit code 1 where they do not agree."""
    from hltm.base.atomic import write
    from hltm.base.command import console
    from numeric.studies.paper.published import ALPHA, agreement, read_published
    from numeric.studies.paper.report import agreement_rows, agreement_table
    from numeric.studies.results import check_out, csv_text

    published = read_published(against)
    folder = None if out is None else check_out(out)
    with shown(quiet) as progress:
        ranks, result = agreement(published, study.widths, study.seeds, study.steps, study.seed, progress)
    terminal = console(highlight=False)
    terminal.print(agreement_table(ranks, result))
    if folder is not None:
        write(folder / "agreement.csv", csv_text(agreement_rows(ranks)).encode())
    holds = result["p_value"] > ALPHA
    terminal.print(f"{'agreement' if holds else 'no agreement'} at a false-alarm rate of {ALPHA}", markup=False)
    return 0 if holds else 1


def main() -> None:
    """Entry point of `python -m numeric`."""
    # Waiting threads leave their core to others; OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    finish(app, "python -m numeric")
