"""The training loop: from record to record; members that diverge leave the stack, the others go on.

Nothing between two records waits for the device: losses are kept there and looked at when the record is made. Draws
depend on seed and step alone, so parameters, optimiser state and step number are all that a run goes on from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from numeric.training.optimizers import Optimizer
from numeric.training_trace import Failure

Gradient = Callable[[Sequence[Tensor]], tuple[Tensor, list[Tensor]]]


@runtime_checkable
class Source(Protocol):
    """Where the gradients of a stack come from."""

    def steps(self, start: int, stop: int) -> Iterator[Gradient]:
        """One function for each step: parameters to losses ``(E,)`` and gradients."""

    def outputs(self, parameters: Sequence[Tensor]) -> Tensor:
        """Outputs on a batch apart from training, ``(E, n_L, samples)``."""

    def keep(self, members: Tensor) -> "Source":
        """The same without the other members."""


@dataclass(eq=False)
class Progress:
    """The state of a run, changed in place.

    Attributes
    ----------
    source : Source
    optimizer : Optimizer
        It owns the parameters of the members that go on.
    active : list of int
        Their numbers.
    members : int
        E, those that failed included.
    step : int
        Steps taken.
    failures : list of Failure
    kept : dict
        Member that failed to its parameters, those of its last record.
    capture : callable, optional
        Source and optimizer to a function that takes steps ``start .. stop`` at once, or to None.
    """

    source: Source
    optimizer: Optimizer
    active: list[int]
    members: int
    step: int = 0
    failures: list[Failure] = field(default_factory=list)
    kept: dict[int, list[Tensor]] = field(default_factory=dict)
    capture: Callable[[Source, Optimizer], Callable[[int, int], Tensor] | None] | None = None

    def parameters(self) -> list[Tensor]:
        """Copies of the parameters of all members."""
        found = []
        for number, block in enumerate(self.optimizer.parameters):
            full = block.new_empty(self.members, *block.shape[1:])
            full[self.active] = block
            for member, parts in self.kept.items():
                full[member] = parts[number]
            found.append(full)
        return found

    def advance(self, stop: int) -> Tensor:
        """Train until a step; members whose losses or weights are not finite fall back to where this call began.

        Returns
        -------
        Tensor
            Mean loss of each member over these steps, ``(E,)`` in float64, NaN for members that have failed.
        """
        means = torch.full((self.members,), torch.nan, dtype=torch.float64)
        start, self.step = self.step, stop
        if not self.active or start == stop:
            return means
        before = [block.clone() for block in self.optimizer.parameters]
        losses = self._losses(start, stop).double()
        finite = torch.isfinite(losses).all(0)
        for block in self.optimizer.parameters:
            finite &= torch.isfinite(block).flatten(1).all(1)
        means[self.active] = losses.mean(0).masked_fill(~finite, torch.nan).cpu()
        if not bool(finite.all()):
            self._drop(before, losses, finite, start)
        return means

    def _losses(self, start: int, stop: int) -> Tensor:
        """Take steps; losses ``(steps, members that go on)``."""
        if self.capture is not None and (steps := self.capture(self.source, self.optimizer)) is not None:
            return steps(start, stop)
        found = []
        for gradient in self.source.steps(start, stop):
            loss, gradients = gradient(self.optimizer.parameters)
            self.optimizer.step(gradients)
            found.append(loss)
        return torch.stack(found)

    def _drop(self, before: list[Tensor], losses: Tensor, finite: Tensor, start: int) -> None:
        """Keep the last record of members that failed and take them out of the stack."""
        for place in torch.nonzero(~finite).flatten().tolist():
            bad = torch.nonzero(~torch.isfinite(losses[:, place])).flatten()
            step = start + (int(bad[0]) if len(bad) else len(losses) - 1)
            self.failures.append(Failure(self.active[place], step, start))
            self.kept[self.active[place]] = [block[place].clone() for block in before]
        places = torch.nonzero(finite).flatten()
        self.active = [self.active[place] for place in places.tolist()]
        self.optimizer.keep(places)
        self.source = self.source.keep(places)
