"""The command line `python -m numeric sweep`: run a grid, or ask its store for status, a table or a figure.

Exit codes: 0 every configuration is done, 1 some have failed, 2 wrong input or usage, 130 interrupted. Nothing heavy is
imported before a command runs.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hltm.base.cluster import RayEngine
from hltm.base.command import Job
from hltm.base.errors import InputError
from hltm.base.workers import Engine, LocalEngine
from numeric.studies.sweep import report
from numeric.studies.sweep.store import Store


class FileFirst(TyperGroup):
    """A group whose first word may be a file instead of a command: `run` is implied."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Insert `run` before a word that is no command."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=FileFirst, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

StorePath = Annotated[Path, typer.Option("--store", metavar="FILE", help="The SQLite file of the sweep.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
_STORE = Path("sweep.db")


@app.callback()
def sweep() -> None:
    """Sweep a grid: `sweep GRID.toml` runs or resumes it; status, export and plot show its results."""


@app.command()
def run(
    grid: Annotated[Path, typer.Argument(metavar="GRID.toml", help="Lists and ranges of parameters, and seeds.")],
    store: StorePath = _STORE,
    workers: Annotated[int | None, typer.Option(min=1, help="Local worker processes; one for each core.")] = None,
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on this Ray cluster (host:port).")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run again what has failed.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    stack: Annotated[int, typer.Option(min=1, help="Most configurations that are computed together.")] = 64,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds of a task.")] = 3600.0,
    task_seconds: Annotated[
        float, typer.Option(min=0.0, help="Seconds that no stack is predicted to exceed; a GPU counts as 50 cores.")
    ] = 300.0,
    memory_limit: Annotated[
        int | None, typer.Option(min=1, metavar="MIB", help="Memory of a task besides that of an idle worker.")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="Tries after the death of a worker.")] = 3,
    checkpoints: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --ray: a folder that all nodes share.")
    ] = None,
    checkpoint_after: Annotated[
        float, typer.Option(min=0.0, help="Tasks predicted to take longer write checkpoints; seconds.")
    ] = 20.0,
    lock_wait: Annotated[float, typer.Option(min=0.0, help="Seconds that a locked store is waited for.")] = 60.0,
    quiet: Quiet = False,
) -> Job:
    """Run a grid, or resume one that was cut short: what is done is not run again."""
    if ray is not None and workers is not None:
        raise InputError("--workers and --ray: only one of them at a time")
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device={device!r:.40}: must be cpu or cuda")
    options = {
        "device": device, "stack": stack, "time_limit": time_limit, "retries": retries, "checkpoints": checkpoints,
        "memory_limit": None if memory_limit is None else memory_limit * 2**20, "checkpoint_after": checkpoint_after,
        "task_seconds": task_seconds,
    }  # fmt: skip
    return partial(run_sweep, grid, store, lock_wait, workers, ray, retry_failed, options, quiet)


@app.command()
def status(
    store: StorePath = _STORE, json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False
) -> Job:
    """Say how many configurations are done, and why others have failed."""
    return partial(run_status, store, json)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(metavar="OUT.csv|.parquet", help="One row for each configuration.")],
    store: StorePath = _STORE,
) -> Job:
    """Write all configurations and results as a table."""
    return partial(run_export, store, out)


@app.command()
def plot(
    out: Annotated[Path, typer.Argument(metavar="OUT.png|.pdf|.svg", help="The figure.")],
    store: StorePath = _STORE,
    y: Annotated[str, typer.Option(help="loss, final_loss, or before or after: correlation, mean of all levels.")] = "",
    x: Annotated[str, typer.Option(help="steps, or a parameter such as train.lr.")] = "steps",
    by: Annotated[str | None, typer.Option(metavar="NAME,..", help="Parameters, a line each; all that vary.")] = None,
    level: Annotated[int | None, typer.Option(min=1, help="Level of the tree of a correlation.")] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Of the band around the mean.")] = 0.95,
) -> Job:
    """Draw means over seeds with confidence bands."""
    names = None if by is None else tuple(part.strip() for part in by.split(",") if part.strip())
    y = y or ("loss" if x == "steps" else "final_loss")
    return partial(run_plot, store, out, report.Wanted(x, y, names, level, confidence))


def run_sweep(
    file: Path, place: Path, patience: float, workers: int | None, address: str | None, retry: bool,
    options: dict[str, Any], quiet: bool,
) -> int:  # fmt: skip
    """Run a grid and print its status."""
    from hltm.base.progress import shown
    from numeric.studies.sweep.driver import Driver, Options, tidy, work_folder
    from numeric.studies.sweep.expansion import expand
    from numeric.studies.sweep.grid import read_grid

    expansion = expand(read_grid(file))
    with Store(place, patience) as store:
        store.add(expansion)
        if retry:
            store.retry_failed()
        counts = store.counts()
        total = sum(counts.values())
        if (others := total - len(expansion)) > 0:
            sys.stderr.write(f"the store has {others:,} configurations that are not in {file}; they run too\n")
        if options["checkpoints"] is None and address is None:
            options["checkpoints"] = work_folder(store).absolute()
        if counts["pending"] or counts["running"]:
            with shown(quiet) as bar:
                bar.start(total, "starting workers")
                engine = _engine(workers, address, options)
                try:
                    Driver(store, engine, Options(**options), partial(_progress, bar), _note).run()
                finally:
                    engine.close()
        else:
            tidy(store)
        result = report.status_of(store)
    sys.stdout.write("".join(f"{line}\n" for line in report.status_lines(result)))
    return 1 if result["failed"] else 0


def _engine(workers: int | None, address: str | None, options: dict[str, Any]) -> Engine:
    from numeric.studies.sweep.task import Worker

    if address is not None:
        return RayEngine(address, Worker, gpus=1 if options["device"] == "cuda" else 0)
    if options["device"] != "cpu":
        from numeric.towers.checks import check_device

        check_device(options["device"])
    return LocalEngine(workers or cores(), Worker)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _progress(bar: Any, counts: dict[str, int]) -> None:
    failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
    bar.at(counts["done"] + counts["failed"], f"{counts['running']:,} running{failed}")


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def run_status(place: Path, as_json: bool) -> int:
    """Print the status of a store."""
    with Store(place, create=False) as store:
        result = report.status_of(store)
    text = json.dumps(result, indent=1, allow_nan=False) if as_json else "\n".join(report.status_lines(result))
    sys.stdout.write(text + "\n")
    return 0


def run_export(place: Path, out: Path) -> int:
    """Write the table of a store."""
    target = report.check_out(out, (".csv", ".parquet"), place)
    with Store(place, create=False) as store:
        number = report.export(store, target)
    sys.stdout.write(f"{number:,} configurations in {out}\n")
    return 0


def run_plot(place: Path, out: Path, wanted: report.Wanted) -> int:
    """Draw the figure of a store."""
    target = report.check_out(out, (".png", ".pdf", ".svg"), place)
    with Store(place, create=False) as store:
        lines = report.draw(store, target, wanted)
    sys.stdout.write(f"{lines} line{'' if lines == 1 else 's'} in {out}\n")
    return 0
