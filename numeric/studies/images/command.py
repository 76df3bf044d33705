"""`python -m numeric experiment images`: options of the command line, and the run of the experiment."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hltm.base.command import Job
from hltm.base.errors import InputError
from hltm.base.interrupts import deferred_interrupt
from hltm.base.progress import shown

Own = typer.Option(help="The data set's own value without it.")


def images(
    dataset: Annotated[str, typer.Option(help="digits, cifar10 or stl10.")] = "digits",
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="The published binary files.")] = None,
    loss: Annotated[
        str,
        typer.Option(
            metavar="NAME,..",
            help="ntxent, infonce, simple, triplet, covariance, within; spectral, barlow, vicreg, byol.",
        ),
    ] = "ntxent,infonce,simple,triplet,covariance,within",
    seeds: Annotated[int, typer.Option(help="Networks of each loss.")] = 3,
    epochs: Annotated[int | None, Own] = None,
    batch: Annotated[int | None, typer.Option(help="Images of one step, over all processes.")] = None,
    every: Annotated[int | None, typer.Option(help="Epochs between evaluations, by default a quarter.")] = None,
    lr: Annotated[float | None, typer.Option(help="Largest learning rate of AdamW.")] = None,
    tau: Annotated[float, typer.Option(help="Temperature.")] = 0.5,
    margin: Annotated[float, typer.Option(help="r_0 of the triplet loss.")] = 0.0,
    beta: Annotated[float, typer.Option(help="Strength of the within-pair term, of either sign.")] = 0.5,
    ema: Annotated[float, typer.Option(help="Share of the old target that BYOL keeps at each step.")] = 0.99,
    negatives: Annotated[int, typer.Option(help="H of InfoNCE.")] = 16,
    encoder: Annotated[str | None, typer.Option(help="convnet or resnet18.")] = None,
    norm: Annotated[str | None, typer.Option(help="batch or none: normalisation in the encoder.")] = None,
    head_norm: Annotated[str, typer.Option(help="batch or none: normalisation in the head.")] = "none",
    width: Annotated[int | None, typer.Option(help="Channels of the first block.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Neurons of the head's hidden layer.")] = None,
    outputs: Annotated[int | None, typer.Option(help="Size of the head's output.")] = None,
    strength: Annotated[float, typer.Option(help="Factor of every magnitude of the augmentation.")] = 1.0,
    subset: Annotated[
        int | None, typer.Option(metavar="N", help="At most N images of each part; smaller files will do.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Every random choice derives from it.")] = 0,
    theory: Annotated[bool, typer.Option(help="Check statements 3 and 4 on the networks.")] = True,
    # Not `--run`, as in training: torchrun, which reads all options, takes that for one of its own.
    checkpoints: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An interrupted run resumes from there.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Tables, figures and manifest.")] = None,
    update: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A Markdown file whose section between marks is replaced.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> Job:
    """SimCLR on images: six losses at equal budget, linear evaluation, and the theory on the trained networks.

    Several GPUs: torchrun --nproc-per-node N -m numeric experiment images ...
    """
    settings: dict[str, Any] = {
        "dataset": dataset, "losses": tuple(part.strip() for part in loss.split(",")), "seeds": seeds,
        "epochs": epochs, "batch": batch, "every": every, "lr": lr, "tau": tau, "margin": margin, "beta": beta,
        "ema": ema, "negatives": negatives, "encoder": encoder, "norm": norm, "head_norm": head_norm, "width": width,
        "hidden": hidden, "out": outputs, "strength": strength, "seed": seed, "subset": subset, "device": device,
    }  # fmt: skip
    return partial(run_command, settings, data, theory, checkpoints, out, update, quiet)


def run_command(
    settings: dict[str, Any], data: Path | None, theory: bool, run: Path | None, out: Path | None, update: Path | None,
    quiet: bool,
) -> int:  # fmt: skip
    """Run the experiment, print its tables, write its files; exit code 1 where a prediction of the theory fails."""
    _need_kornia()
    from hltm.base.command import console
    from numeric.studies.images.report import (
        around_section,
        find,
        markdown,
        replace_section,
        table,
        theory_table,
        write_accuracies,
        write_results,
    )
    from numeric.studies.images.study import ImageStudy, run_images
    from numeric.studies.results import check_out

    study = ImageStudy(**settings)
    folder = None if out is None else check_out(out)
    if update is not None:
        around_section(update)
    first = os.environ.get("RANK", "0") == "0"
    with shown(quiet or not first) as progress:
        result = run_images(study, data, run, progress)
    if not first:
        return 0
    terminal = console(highlight=False)
    terminal.width = max(terminal.width, 150)
    terminal.print(table(result))
    if folder is not None:
        write_accuracies(folder, result)
    findings = None
    if theory:
        # After the tables: an error in the checks must not lose hours of training.
        with shown(quiet) as progress:
            findings = find(result, progress)
        terminal.print(theory_table(findings))
        for text in findings.left_out:
            terminal.print(f"Not checked: {text}.", markup=False, soft_wrap=True)
    if folder is not None:
        names = write_results(folder, result, findings)
        terminal.print(f"{len(names)} files in {folder}", markup=False, soft_wrap=True)
    if update is not None:
        replace_section(update, markdown(result, findings))
    return 0 if findings is None or findings.as_predicted else 1


def _need_kornia() -> None:
    try:
        with deferred_interrupt():
            import kornia  # noqa: F401  # loads torch
    except ImportError:
        raise InputError("the extra 'images' is not installed: must be there, pip install 'covop[images]'") from None
