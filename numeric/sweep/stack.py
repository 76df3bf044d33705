"""A stack of configurations: their trees and networks, their training, what is measured."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from hltm.base.errors import InputError

if TYPE_CHECKING:
    from hltm import HLTM
    from numeric.trees.network import TreeNetwork

_LOCK_SECONDS = 20.0  # for which a worker of a dead driver may still hold the folder of its run


def stream_seed(key: str) -> int:
    """Seed of a member's draws, from its key: what it is, not what it is stacked with.

    Parameters
    ----------
    key : str
        In hexadecimal.

    Examples
    --------
    >>> stream_seed("00000000000001" + "f" * 50)
    1
    """
    return int(key[:14], 16)


def tree_of(part: Mapping[str, Any], seed: int, files: Mapping[str, Any]) -> "HLTM":
    """The tree of a configuration; polarities of a range are drawn from its seed.

    Examples
    --------
    >>> drawn = {"low": 0.5, "high": 1.0, "signs": False}
    >>> part = {"kind": "star", "leaves": 2, "polarity": drawn, "root_polarity": 0.0}
    >>> tree_of(part, 3, {}) == tree_of(part, 3, {}), tree_of(part, 3, {}) == tree_of(part, 4, {})
    (True, False)
    """
    import numpy as np

    import hltm
    from hltm.nodelink import tree_from_json

    if part["kind"] == "file":
        return tree_from_json(files[part["sha256"]])
    polarity: Any = part["polarity"]
    if isinstance(polarity, Mapping):
        low, high, signs = polarity["low"], polarity["high"], polarity["signs"]
        rng = np.random.default_rng(seed)

        def polarity(_above: int, _child: int) -> float:
            size, sign = rng.uniform(), 1 if not signs or rng.integers(2) else -1
            return float(sign * (low + (high - low) * size))

    if part["kind"] == "complete":
        return hltm.complete_tree(part["depth"], part["branching"], polarity, part["root_polarity"])
    build = hltm.star_tree if part["kind"] == "star" else hltm.caterpillar_tree
    return build(part["leaves"], polarity, part["root_polarity"])


def run_stack(
    members: Sequence[Mapping[str, Any]], files: Mapping[str, Any], device: str, folder: str | None
) -> list[dict[str, Any]]:
    """Train and measure configurations that share what a stack shares; one result for each.

    Parameters
    ----------
    members : sequence of mapping
        ``key``, ``seed``, ``tree``, ``network``, ``train`` of each.
    files : mapping
        SHA-256 to node-link form of trees from files.
    device : str
    folder : str, optional
        Of the checkpoint.

    Returns
    -------
    list of dict
        ``steps`` and ``loss`` (mean over the steps between two records; null after divergence), ``dead``, ``diverged``
        (a step, or null), and by level of the tree ``before`` and ``after``: mean best absolute correlation of a neuron
        with its latent (null for latents that are not binary, and for levels whose outputs overflow).
    """
    from numeric.training.contrast import training_loss
    from numeric.training.train import train
    from numeric.trees.metrics import correlations

    made: dict[tuple[str, int], HLTM] = {}
    trees = [_cached_tree(made, each, files) for each in members]
    network = _network(members, trees, device)
    options, streams = members[0]["train"], [stream_seed(each["key"]) for each in members]
    specs = [
        training_loss(own["loss"], **{k: own[k] for k in ("tau", "margin", "negatives") if own[k] is not None})
        for own in (each["train"] for each in members)
    ]
    binary = all(trees[0].cardinality(node) == 2 for node in trees[0].latents)
    samples = options["samples"] if binary else 0

    def levels(here: "TreeNetwork") -> list[Any]:
        if samples < 2:
            return [None] * len(members)
        return [_finite(own) for own in correlations(here, trees, samples, streams).by_level.tolist()]

    def run(place: str | None) -> Any:
        return train(
            network, trees, specs, lr=[each["train"]["lr"] for each in members], batch=options["batch"] or 1,
            steps=options["steps"], seed=streams, checkpoint_dir=place, mode=options["mode"],
            optimizer=options["optimizer"], optimizer_options=options["optimizer_options"],
            record_every=-(-options["steps"] // options["records"]), keep_networks=False,
        )  # fmt: skip

    before = levels(network)
    trace = _checkpointed(run, folder)
    after = levels(trace.network)
    diverged = {each.member: each.step for each in trace.failures}
    losses = trace.losses.T.tolist()
    return [
        {
            "steps": list(trace.steps[1:]), "loss": _finite(losses[number]),
            "dead": bool(trace.dead[-1, number]), "diverged": diverged.get(number),
            "before": before[number], "after": after[number],
        }
        for number in range(len(members))
    ]  # fmt: skip


def _finite(values: list[float]) -> list[float | None]:
    """Numbers that are not finite become null."""
    return [value if abs(value) < float("inf") else None for value in values]


def _cached_tree(made: dict[tuple[str, int], "HLTM"], member: Mapping[str, Any], files: Mapping[str, Any]) -> "HLTM":
    part = member["tree"]
    # Only a range of polarities depends on the seed.
    drawn = member["seed"] if isinstance(part.get("polarity"), Mapping) else 0
    key = (json.dumps(part, sort_keys=True), drawn)
    if key not in made:
        made[key] = tree_of(part, drawn, files)
    return made[key]


def _network(members: Sequence[Mapping[str, Any]], trees: Sequence["HLTM"], device: str) -> "TreeNetwork":
    """The networks of all members, each of its own seed."""
    import torch

    from numeric.trees.network import TreeNetwork

    options, made = members[0]["network"], {}
    for each in members:
        if each["seed"] not in made:
            made[each["seed"]] = TreeNetwork(
                trees[0], options["width"], options["slope"], options["output"], each["seed"],
                dtype=getattr(torch, options["dtype"]), device=device, sigma_w=options["sigma_w"],
            )  # fmt: skip
    parts = zip(*(made[each["seed"]].parameters for each in members), strict=True)
    return made[members[0]["seed"]].with_parameters([torch.cat(some) for some in parts])


def _checkpointed(run: Any, folder: str | None) -> Any:
    """Run with checkpoints; without, where the folder cannot be used: a full disk must not cost a result."""
    if folder is None:
        return run(None)
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        # The worker of a driver that was killed ends within a second or so, and until then holds its folder.
        with FileLock(place / "lock").acquire(timeout=_LOCK_SECONDS):
            pass
    except (OSError, Timeout):
        return run(None)
    try:
        return run(folder)
    except InputError as error:
        if str(place) not in str(error):
            raise
        return run(None)
