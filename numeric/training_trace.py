"""What a training run leaves behind: losses, measurements, networks, members that failed; and its stream of metrics."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.training.checkpoint import writing
from numeric.trees.network import TreeNetwork

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Failure:
    """A member whose training ended early.

    Attributes
    ----------
    member : int
        Its number.
    step : int
        The first step whose loss was not finite, or, where only weights were not finite, the last step before the
        record at which that was seen.
    last_good : int
        The record whose weights it kept.

    Examples
    --------
    >>> str(Failure(member=3, step=120, last_good=100))
    'member 3 diverged at step 120; its weights are those of step 100'
    """

    member: int
    step: int
    last_good: int

    def __str__(self) -> str:
        return f"member {self.member} diverged at step {self.step}; its weights are those of step {self.last_good}"


@dataclass(frozen=True, eq=False)
class TrainingTrace:
    """A finished run of E members with R records.

    Attributes
    ----------
    steps : tuple of int
        The number of steps before each record; the first is 0.
    losses : Tensor
        ``(R - 1, E)``, float64: mean minibatch loss between a record and the next; NaN once a member has failed.
    dead : Tensor
        ``(R, E)``: whether all outputs on a batch apart from training were zero.
    measured : dict of str to Tensor
        ``(R, E, ...)`` for each name that `measure` returned.
    parameters : tuple of Tensor
        ``(R, E, nodes, n_out, n_in)`` for each block of the plan, on the CPU; ``R = 1`` and only the last record where
        networks were not kept.
    network : TreeNetwork
        The trained networks.
    failures : tuple of Failure
        Members that diverged, in the order of their failing.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> from numeric.training.train import train
    >>> network = TreeNetwork(complete_tree(depth=1, branching=2, polarity=0.9), width=2, output="normalized")
    >>> trace = train(network, steps=4, batch=8, record_every=2)
    >>> trace.steps, trace.losses.shape, [step for step, _ in trace.networks()]
    ((0, 2, 4), torch.Size([2, 1]), [0, 2, 4])
    """

    steps: tuple[int, ...]
    losses: Float[Tensor, "intervals E"]
    dead: Bool[Tensor, "R E"]
    measured: Mapping[str, Tensor]
    parameters: tuple[Tensor, ...]
    network: TreeNetwork
    failures: tuple[Failure, ...] = ()

    def networks(self) -> Iterator[tuple[int, TreeNetwork]]:
        """Step and network of every record.

        Raises
        ------
        InputError
            Networks were not kept.
        """
        if len(self.parameters[0]) != len(self.steps):
            raise InputError("networks(): the run kept only the last one; train with keep_networks=True")
        for number, step in enumerate(self.steps):
            kept = [block[number].to(self.network.device) for block in self.parameters]
            yield step, self.network.with_parameters(kept)

    def member(self, number: int) -> "TrainingTrace":
        """The run of one member, E = 1.

        Raises
        ------
        InputError
            No such member.
        """
        if not 0 <= number < self.network.ensemble:
            raise InputError(f"member={number!r}: must lie in 0 .. {self.network.ensemble - 1}")
        one = slice(number, number + 1)
        return TrainingTrace(
            self.steps,
            self.losses[:, one],
            self.dead[:, one],
            {name: values[:, one] for name, values in self.measured.items()},
            tuple(block[:, one] for block in self.parameters),
            self.network.with_parameters([block[one] for block in self.network.parameters]),
            tuple(Failure(0, each.step, each.last_good) for each in self.failures if each.member == number),
        )

    def __repr__(self) -> str:
        ends = torch.nanmean(self.losses[-1]).item() if len(self.losses) else float("nan")
        sizes = f"members={self.network.ensemble}, steps={self.steps[-1]}, records={len(self.steps)}"
        return f"TrainingTrace({sizes}, last mean loss={ends:.6g}, failures={len(self.failures)})"


class Streams:
    """The file of metrics and, where it is installed, TensorBoard; nothing without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.board: Any = None

    def __enter__(self) -> "Streams":
        if self.folder is not None:
            with writing(self.folder):
                self.board = _board(self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        if self.board is not None and self.folder is not None:
            with writing(self.folder):
                self.board.close()

    def start(self, lines: list[dict[str, Any]]) -> None:
        """Write the file anew with the records so far: what followed the last checkpoint will come again."""
        if self.folder is None:
            return
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        with writing(self.folder):
            temporary = self.folder / (METRICS + ".part")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.folder / METRICS)

    def write(self, line: dict[str, Any]) -> None:
        """Add one record."""
        if self.folder is None:
            return
        with writing(self.folder):
            with (self.folder / METRICS).open("a", encoding="utf-8") as held:
                held.write(json.dumps(line, allow_nan=False) + "\n")
            if self.board is not None and line.get("loss"):
                for member, loss in enumerate(line["loss"]):
                    if loss is not None:
                        self.board.add_scalar(f"loss/{member}", loss, line["step"])


def _board(folder: Path) -> Any:
    """A writer of TensorBoard; None where it is not installed, or cannot be imported."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except (ImportError, AttributeError, TypeError):  # the latter two of releases that do not go together
        return None
    return SummaryWriter(str(folder))
