"""Minibatch gradients of a stack, members taken in tiles whose activations fit the caches of the cores in use.

What a member draws does not depend on its tile. On a GPU there is one tile: there a large batch is what is fast.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from hltm.base.checks import show
from hltm.base.errors import InputError
from numeric.step import Stack
from numeric.towers.losses import LossSpec
from numeric.training.contrast import WHOLE_BATCH, Contrast
from numeric.training.loop import Gradient
from numeric.trees.streams import TripleSampler

_TILE_BYTES = 2**22  # activations of a tile for each thread; depth 5, width 10, batch 128, float32: 7 members

NUMBER_LIMIT = 2**33  # of a step: 64 GiB in double precision


def check_batch(stack: Stack, specs: Sequence[LossSpec], batch: int) -> None:
    """Refuse a batch that has no negatives, or whose samples and activations no memory holds.

    Raises
    ------
    InputError
        NT-Xent on one pair, or more than 2^33 numbers a step.
    """
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
        """Minibatch gradients."""
        tiles = self._tiles()
        some = min(tile.sampler.steps_at_a_time for _, tile in tiles)
        for first in range(start, stop, some):
            count = min(some, stop - first)
            drawn = [tile.sampler.leaves(first, count) for _, tile in tiles]
            for number in range(count):
                yield partial(_gradient, tiles=tiles, leaves=[part[number] for part in drawn])

    def _tiles(self) -> list[tuple[slice, "Sampled"]]:
        """Members of each tile and the source of these alone; tiles differ by one member at most."""
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
        """Outputs on a batch of another stream."""
        return self.stack.outputs(parameters, self.sampler.leaves(0, 1, purpose=1)[0])

    def keep(self, members: Tensor) -> "Sampled":
        """The same without the other members."""
        return Sampled(self.stack, self.contrast.keep(members), self.sampler.keep(members))


def _gradient(
    parameters: Sequence[Tensor], tiles: Sequence[tuple[slice, Sampled]], leaves: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradient of all members, tile by tile."""
    found = [
        tile.gradient([block[members] for block in parameters], rows)
        for (members, tile), rows in zip(tiles, leaves, strict=True)
    ]
    if len(found) == 1:
        return found[0]
    blocks = zip(*(gradients for _, gradients in found), strict=True)
    return torch.cat([loss for loss, _ in found]), [torch.cat(parts) for parts in blocks]
