"""Read the networks of a run folder, without a training of one's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hltm import HLTM
from hltm.base.errors import InputError
from numeric.training.checkpoint import STATE, Checkpoints, run_folder, run_state, tree_digest
from numeric.trees.network import TreeNetwork

_RULE = "must be one that `python -m numeric train --run DIR` or numeric.train(checkpoint_dir=...) wrote"


@dataclass(frozen=True, eq=False)
class SavedRun:
    """The networks of the last checkpoint of a run.

    Attributes
    ----------
    network : TreeNetwork
        All members.
    step, steps : int
        Steps that were taken, and that the run has in all.
    failed : tuple of int
        Members that diverged; their weights are the last good ones.

    Examples
    --------
    >>> import hltm
    >>> SavedRun(TreeNetwork(hltm.star_tree(2, polarity=0.5), width=3), step=4, steps=10).step
    4
    """

    network: TreeNetwork
    step: int
    steps: int
    failed: tuple[int, ...] = ()


def load_run(folder: str | Path, tree: HLTM) -> SavedRun:
    """Networks of the last checkpoint of a run folder, which stays as it is.

    Parameters
    ----------
    folder : path
        A run folder, or one of its files.
    tree : HLTM
        The tree of the run.

    Returns
    -------
    SavedRun

    Raises
    ------
    InputError
        A folder without a checkpoint, a damaged one, or a run on another tree.

    Examples
    --------
    >>> import tempfile, hltm, numeric
    >>> tree = hltm.star_tree(2, polarity=0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trace = numeric.train(numeric.TreeNetwork(tree, width=3), tree, steps=4, checkpoint_dir=folder)
    ...     run = load_run(folder, tree)
    >>> run.step, bool((run.network.matrix(0) == trace.network.matrix(0)).all())
    (4, True)
    """
    path = run_folder(folder)
    path = path.parent if path.is_file() else path
    if not path.is_dir():
        raise InputError(f"run folder {path}: is no folder; {_RULE}")
    store = Checkpoints(path)
    state = store.read()
    if state is None:
        raise InputError(f"run folder {path}: has no checkpoint ({STATE}); {_RULE}")
    settings = state.get("settings")
    try:
        members, total = int(settings["shapes"][0][0]), int(settings["steps"])  # type: ignore[index]
        like = _network(tree, settings)  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"run folder {path}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path / STATE}: settings: {type(error).__name__}: {_RULE}") from None
    if like is None:
        raise InputError(f"run folder {path}: its neurons differ in number from node to node; give the weights instead")
    _, active, *failures = run_state(path, state, members, total)
    tensors = store.tensors(state)
    try:
        blocks = [_whole(tensors, number, active, members) for number in range(len(like.parameters))]
        network = like.with_parameters(blocks)
    except (KeyError, RuntimeError, IndexError) as error:
        raise InputError(f"run folder {path}: {type(error).__name__} in its checkpoint: {_RULE}") from None
    if not all(bool(torch.isfinite(block).all()) for block in blocks):
        raise InputError(f"run folder {path}: weights that are not finite: {_RULE}")
    return SavedRun(network, state["step"], total, tuple(each[0] for each in failures))


def _network(tree: HLTM, settings: Mapping[str, Any]) -> TreeNetwork | None:
    """A network of the sizes of a run; None where no single width gives them."""
    shapes, members = settings["shapes"], len(settings["seeds"])
    if settings["trees"] not in (tree_digest([tree]), tree_digest([tree] * members)):
        raise InputError(
            f"trained on another tree than {tree!r}: nodes, tables or names differ; must be the tree of the run"
        )
    kind = {f"torch.{name}": getattr(torch, name) for name in ("float32", "float64")}.get(settings["dtype"])
    if kind is None:
        raise InputError(f"dtype {settings['dtype']!r:.40} of the run: must be torch.float32 or torch.float64")
    widths = {int(shape[2]) for shape in shapes}
    network = TreeNetwork(
        tree, min(widths), settings["slope"], settings["output"], dtype=kind, leaves=settings.get("leaves", "state")
    )
    sizes = [[members, *block.shape[1:]] for block in network.parameters]
    return network if sizes == [list(shape) for shape in shapes] else None


def _whole(tensors: Mapping[str, Tensor], number: int, active: list[int], members: int) -> Tensor:
    """A block of parameters of all members; those that diverged are kept apart."""
    failed = [member for member in range(members) if member not in active]
    parts = {member: tensors[f"failed.{member}.{number}"] for member in failed}
    if active:
        parts |= dict(zip(active, tensors[f"now.{number}"], strict=True))
    return torch.stack([parts[member] for member in range(members)])
