"""Minibatch gradients of a stack, members taken in tiles whose activations fit the caches of the cores in use.

The samples of a member do not depend on its tile. A GPU takes all members in one tile. One step is written out by
hand: outputs, loss and gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.checks import show
from hltm.base.errors import InputError
from numeric.towers.losses import LossSpec
from numeric.training.contrast import WHOLE_BATCH, Contrast
from numeric.training.loop import Gradient
from numeric.trees.plan import Plan, gathered, leaf_rows, own_rows
from numeric.trees.streams import TripleSampler

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Stack:
    """Plan, slope and kind of output of a stack of networks; computes outputs and gradients."""

    plan: Plan
    slope: float
    normalized: bool

    def outputs(
        self, parameters: Sequence[Tensor], leaves: Float[Tensor, "#E n_leaves samples"]
    ) -> Float[Tensor, "E n_L samples"]:
        top = self._forward(parameters, leaves)[0]
        return _normalised(top)[0] if self.normalized else top

    def gradient(
        self, parameters: Sequence[Tensor], leaves: Float[Tensor, "#E n_leaves samples"], contrast: Objective
    ) -> tuple[Float[Tensor, " E"], list[Tensor]]:
        """Loss of each member and its derivative in every block of parameters."""
        levels = self._forward(parameters, leaves)
        if not self.normalized:
            loss, pulled = contrast(levels[0])
            return loss, self._backward(parameters, levels, pulled)
        output, norm, dead = _normalised(levels[0])
        loss, pulled = contrast(output)
        along = (output * pulled).sum(1, keepdim=True)
        pulled = pulled.sub_(output.mul_(along)).div_(norm).masked_fill_(dead, 0.0)
        return loss, self._backward(parameters, levels, pulled)

    def _forward(self, parameters: Sequence[Tensor], leaves: Tensor) -> list[Tensor]:
        plan, number = self.plan, len(parameters)
        result: list[Tensor] = []
        for depth in range(len(plan.levels) - 1, -1, -1):
            level = plan.levels[depth]
            pieces = []
            if level.leaves:
                rows = leaf_rows(level, leaves)
                pieces.append(rows.expand(len(parameters[0]), -1, -1) if level.blocks else rows)
            number -= len(level.blocks)
            for offset, block in enumerate(level.blocks):
                before = _multiply(parameters[number + offset], gathered(block, result[-1]))
                pieces.append(self._activate(before).flatten(1, 2) if depth else before.flatten(1, 2))
            joined = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
            result.append(joined if level.order is None else joined.index_select(1, level.order))
        return result[::-1]

    def _activate(self, before: Tensor) -> Tensor:
        return before.clamp_(min=0) if self.slope == 0 else torch.nn.functional.leaky_relu_(before, self.slope)

    def _gated(self, pulled: Tensor, activations: Tensor) -> Tensor:
        """Times the gates, in place: 1 where ``f > 0``, else the slope."""
        kernels = torch.ops.aten
        if self.slope == 0:
            kernels.threshold_backward.grad_input(pulled, activations, 0, grad_input=pulled)
        else:
            kernels.leaky_relu_backward.grad_input(pulled, activations, self.slope, True, grad_input=pulled)
        return pulled

    def _backward(self, parameters: Sequence[Tensor], levels: list[Tensor], pulled: Tensor) -> list[Tensor]:
        gradients, number = [], 0
        for depth, level in enumerate(self.plan.levels):
            if not level.blocks:
                break
            below, last = levels[depth + 1], not self.plan.levels[depth + 1].blocks
            moved = torch.zeros_like(below) if not last and level.blocks[0].reads is not None else below
            for offset, block in enumerate(level.blocks):
                own = own_rows(block, pulled)
                gradients.append(_multiply(own, gathered(block, below).mT))
                if last:
                    continue
                part = _multiply(parameters[number + offset].mT, own).flatten(1, 2)
                moved = part if block.reads is None else moved.index_copy_(1, block.reads, part)
            number += len(level.blocks)
            if not last:
                pulled = self._gated(moved, below)
        return gradients


def _normalised(top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``u / ||u||``, ``||u||`` and where it is 0: a zero output stays zero, with derivative 0."""
    # Scaled by the largest entry, the sum of squares neither overflows nor vanishes.
    largest = top.abs().amax(1, keepdim=True)
    dead = largest == 0
    scaled = top / largest.masked_fill(dead, 1.0)
    length = scaled.square().sum(1, keepdim=True).sqrt_()
    return (scaled / length).masked_fill_(dead, 0.0), length.mul_(largest), dead


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    """``(E, nodes, a, b)`` times ``(E, nodes, b, c)`` as one batched product."""
    if len(right) == 1 < len(left):
        return torch.matmul(left, right)
    result: Tensor = torch.bmm(left.flatten(0, 1), right.flatten(0, 1)).unflatten(0, left.shape[:2])
    return result


_TILE_BYTES = 2**22  # activations of a tile for each thread; depth 5, width 10, batch 128, float32: 7 members

NUMBER_LIMIT = 2**33  # of a step: 64 GiB in double precision


def check_batch(stack: Stack, specs: Sequence[LossSpec], batch: int) -> None:
    """Refuse a batch without negatives, or one whose samples and activations exceed `NUMBER_LIMIT`."""
    spec, members = max(specs, key=lambda each: each.negatives), len(specs)
    whole = spec.name == WHOLE_BATCH
    if whole and batch < 2:
        raise InputError(f"batch={batch} of loss {WHOLE_BATCH!r}: must be at least 2, the rest of it are the negatives")
    samples = batch * (2 if whole else 2 + spec.negatives)
    numbers = members * samples * (stack.plan.neurons + (samples if whole else 0))
    if numbers > NUMBER_LIMIT:
        sizes = f"batch={show(batch)} of loss {spec.name!r}" + ("" if whole else f", negatives={show(spec.negatives)}")
        rule = f"a step must take at most {NUMBER_LIMIT:,} numbers; use fewer samples"
        raise InputError(f"{sizes}, on {members} members of {stack.plan.neurons} neurons: {rule}")


@dataclass(frozen=True, eq=False)
class Sampled:
    """Minibatches: draws of the sampler, some steps at a time."""

    stack: Stack
    contrast: Contrast
    sampler: TripleSampler

    def steps(self, start: int, stop: int) -> Iterator[Gradient]:
        tiles = self._tiles()
        some = min(tile.sampler.steps_at_a_time for _, tile in tiles)
        for first in range(start, stop, some):
            count = min(some, stop - first)
            drawn = [tile.sampler.leaves(first, count) for _, tile in tiles]
            for number in range(count):
                yield partial(_gradient, tiles=tiles, leaves=[part[number] for part in drawn])

    def _tiles(self) -> list[tuple[slice, "Sampled"]]:
        """Members and source of each tile; tiles differ by one member at most."""
        sampler, device = self.sampler, self.sampler.keys.device
        members = torch.arange(sampler.members, device=device)
        samples = sampler.towers * sampler.batch
        size = self.stack.plan.neurons * samples * sampler.dtype.itemsize
        room = max(1, _TILE_BYTES * torch.get_num_threads() // size)
        if device.type != "cpu" or sampler.members <= room:
            return [(slice(None), self)]
        parts = torch.tensor_split(members, -(-sampler.members // room))
        return [(slice(int(part[0]), int(part[-1]) + 1), self.keep(part)) for part in parts]

    def gradient(self, parameters: Sequence[Tensor], leaves: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Loss and gradient of all members on given leaves ``(E, n_leaves, samples)``."""
        return self.stack.gradient(parameters, leaves, self.contrast)

    def outputs(self, parameters: Sequence[Tensor]) -> Tensor:
        """Outputs on a batch of a stream apart from training."""
        return self.stack.outputs(parameters, self.sampler.leaves(0, 1, purpose=1)[0])

    def keep(self, members: Tensor) -> "Sampled":
        """The source of these members alone."""
        return Sampled(self.stack, self.contrast.keep(members), self.sampler.keep(members))


def _gradient(
    parameters: Sequence[Tensor], tiles: Sequence[tuple[slice, Sampled]], leaves: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradient of all members, tile by tile."""
    result = [
        tile.gradient([block[members] for block in parameters], rows)
        for (members, tile), rows in zip(tiles, leaves, strict=True)
    ]
    if len(result) == 1:
        return result[0]
    blocks = zip(*(gradients for _, gradients in result), strict=True)
    return torch.cat([loss for loss, _ in result]), [torch.cat(parts) for parts in blocks]
