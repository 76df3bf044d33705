"""One step of plain descent as a CUDA graph: draws, gradient and update are launched at once, nothing is asked back.

The number of the step is a tensor on the device that the graph itself counts up, so that every replay draws anew.
Optimisers of torch run step by step instead: not all of them keep their state on the device.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from numeric.training.minibatch import Sampled
from numeric.training.optimizers import Descent

_WARM_UP = 3


@dataclass(frozen=True, eq=False)
class StepOnDevice:
    """One step as a function of tensors that stay where they are.

    Attributes
    ----------
    source : Sampled
    optimizer : Descent
        Its parameters are changed in place.
    number : Tensor
        int64, shape ``()``: the step to be taken.
    """

    source: Sampled
    optimizer: Descent
    number: Tensor

    def __call__(self) -> Tensor:
        """Take the step; losses ``(E,)``."""
        leaves = self.source.sampler.leaves(self.number)[0]
        losses, gradients = self.source.gradient(self.optimizer.parameters, leaves)
        self.optimizer.step(gradients)
        self.number.add_(1)
        return losses


class Captured:
    """A step captured as a graph.

    Parameters
    ----------
    source : Sampled
        On a CUDA device.
    optimizer : Descent
        The tensors of its parameters must stay the same for as long as this is used.
    """

    def __init__(self, source: Sampled, optimizer: Descent) -> None:
        device = source.sampler.keys.device
        self.parameters, self.source = optimizer.parameters, source
        self._step = StepOnDevice(source, optimizer, torch.zeros((), dtype=torch.int64, device=device))
        kept = [block.clone() for block in optimizer.parameters]
        # Libraries set themselves up at their first call, which must not be captured.
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._step()
        torch.cuda.current_stream(device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._losses = self._step()
        for block, before in zip(optimizer.parameters, kept, strict=True):
            block.copy_(before)

    def fits(self, source: Sampled, optimizer: Descent) -> bool:
        """Whether it was captured for this source and these parameters."""
        return self.source is source and self.parameters is optimizer.parameters

    def losses(self, start: int, stop: int) -> Tensor:
        """Take steps; losses ``(steps, E)``."""
        self._step.number.fill_(start)
        found = self._losses.new_empty(stop - start, *self._losses.shape)
        for row in found:
            self._graph.replay()
            row.copy_(self._losses)
        return found


class Capture:
    """Captures the step of a run, again whenever members have left it."""

    def __init__(self) -> None:
        self._held: Captured | None = None

    def __call__(self, source: object, optimizer: object) -> Callable[[int, int], Tensor] | None:
        """A function that takes steps; None but for minibatches and plain descent on a CUDA device."""
        if not isinstance(source, Sampled) or not isinstance(optimizer, Descent) or not source.sampler.keys.is_cuda:
            return None
        if self._held is None or not self._held.fits(source, optimizer):
            self._held = None  # its memory is given back before the next takes its own
            self._held = Captured(source, optimizer)
        return self._held.losses
