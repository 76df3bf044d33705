"""What a training run leaves behind: losses, measurements and networks at its records, and members that failed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hltm.errors import InputError
from numeric.tree_network import TreeNetwork


@dataclass(frozen=True)
class Failure:
    """A member whose training ended early.

    Attributes
    ----------
    member : int
        Its number.
    step : int
        The first step whose loss or weights were not finite.
    last_good : int
        The record whose weights it kept.
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
