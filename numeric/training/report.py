"""`python -m numeric train`: a run on the tree of a file, its losses and correlations as a table or as JSON."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hltm import HLTM, load
from hltm.base.atomic import write
from hltm.base.checks import show
from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress

if TYPE_CHECKING:
    from numeric.training.loop import TrainingTrace
    from numeric.trees.network import TreeNetwork

SCHEMA = 1


def check_json(target: str | None) -> str | None:
    """Refuse a JSON file that cannot be written, before anything runs."""
    if target in (None, "-"):
        return target
    path = Path(str(target))
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"json={show(target)}: must be a file in a folder that exists, or -")
    return target


def train_and_measure(
    file: Path, network: Mapping[str, Any], training: Mapping[str, Any], samples: int, folder: Path | None,
    device: str, progress: Progress = SILENT,
) -> dict[str, Any]:  # fmt: skip
    """Train, or resume the interrupted run of a folder; gives all results as JSON data."""
    from numeric.training.loop import plain
    from numeric.training.train import train
    from numeric.trees.metrics import check_samples
    from numeric.trees.network import TreeNetwork

    tree = load(file)
    check_samples(tree, samples)
    before = TreeNetwork(tree, device=device, **network)
    progress.start(training["steps"], "training")

    def recorded(step: int, loss: float) -> None:
        progress.at(step, f"training, mean loss {loss:.6g}" if step else "training")

    # The report needs the first and last networks only; a run folder keeps those of every record.
    kept = folder is not None
    trace = train(before, tree, checkpoint_dir=folder, progress=recorded, keep_networks=kept, **training)
    progress.start(None, "correlations and ceilings")
    records: list[dict[str, Any]] = [{"step": trace.steps[0], "loss": None, "dead": int(trace.dead[0].sum())}]
    for step, losses, dead in zip(trace.steps[1:], trace.losses, trace.dead[1:], strict=True):
        records.append({"step": step, "loss": plain(losses), "dead": int(dead.sum())})
    return {
        "schema": SCHEMA, "tree": str(file), "network": {**network, "device": str(before.device)},
        "training": dict(training), "records": records,
        "failures": [{**asdict(each), "text": str(each)} for each in trace.failures],
        "latent_states": max(tree.cardinality(node) for node in tree.latents),
        "levels": _levels(before, trace, tree, samples, int(training["seed"])),
    }  # fmt: skip


def _levels(before: "TreeNetwork", trace: "TrainingTrace", tree: HLTM, samples: int, seed: int) -> list[dict[str, Any]]:
    """Correlations of neurons and groups, shares of the ceiling, by level."""
    from numeric.trees.ceilings import ceilings, share_of_ceiling
    from numeric.trees.metrics import all_correlations, level_means

    first, last = all_correlations([before, trace.network], tree, samples, seed)
    # A seed that no member has.
    ceiling = ceilings(tree, samples, seed + before.ensemble, before.device)
    share = level_means(share_of_ceiling(last.best, ceiling.expand_as(last.best)), last.heights)
    top = level_means(ceiling, last.heights)[0]
    columns = {
        "before": first.by_level, "after": last.by_level, "ceiling": top, "share": share,
        "group_before": first.group_by_level, "group_after": last.group_by_level,
    }  # fmt: skip
    lists = {name: values.movedim(-1, 0).tolist() for name, values in columns.items()}
    return [
        {"level": level + 1, **{name: rows[level] for name, rows in lists.items()}}
        for level in range(max(last.heights))
    ]


def write_report(report: Mapping[str, Any], target: str | None, quiet: bool) -> None:
    """Write the document to its target; tables go to stdout, or to stderr if the document goes to stdout."""
    from hltm.base.command import console

    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
    elif target is not None:
        write(Path(target), text.encode())
    for failure in report["failures"]:
        sys.stderr.write(failure["text"] + "\n")
    if quiet and target is not None:
        return
    shown = console(stderr=target == "-", highlight=False)
    for table in _tables(report):
        shown.print(table)


def _tables(report: Mapping[str, Any]) -> list[Any]:
    from rich.table import Table

    losses = Table(
        "step", "mean loss", "lowest", "highest", "dead networks", title=f"{report['training']['loss']} loss"
    )
    for record in report["records"]:
        finite = [value for value in record["loss"] or [] if value is not None]
        values = (sum(finite) / len(finite), min(finite), max(finite)) if finite else ()
        cells = [f"{value:.6g}" for value in values] or [""] * 3
        losses.add_row(str(record["step"]), *cells, str(record["dead"]))
    latent = "the latent" if report["latent_states"] == 2 else "the states of the latent"
    title = f"correlation with {latent}: best neuron (before, after, share of the ceiling) and whole group"
    levels = Table(
        "level", "before", "after", "ceiling", "share", "group before", "group after",
        title=f"{title}; mean over nodes and networks, level 1 is next to the leaves",
    )  # fmt: skip
    for row in report["levels"]:
        names = ("before", "after", "share", "group_before", "group_after")
        means = [sum(row[name]) / len(row[name]) for name in names]
        numbers = [f"{value:.4f}" for value in (*means[:2], row["ceiling"])]
        levels.add_row(str(row["level"]), *numbers, f"{means[2]:.1%}", *(f"{value:.4f}" for value in means[3:]))
    return [losses, levels]
