"""SimCLR training: two augmented views of every image, one loss, evaluation after every k epochs, resumable.

What a step draws depends on the seed and the number of the step alone, so weights, optimiser state and step are all
that a run goes on from: on the CPU it gives the same numbers as one that was never cut short. Several processes draw
the same numbers for the joint batch, and each takes its own part.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hltm.base.checks import integer
from hltm.base.checks import seed as check_seed
from hltm.base.errors import InputError
from numeric.images.failures import MemoryTooSmallError, NotFiniteError, guarded, out_of_memory
from numeric.images.state import not_finite, restore, saved
from numeric.studies.images.augment import Draws, Recipe, apply, draw
from numeric.studies.images.data import ImageData, pixels
from numeric.studies.images.losses import ImageLoss, batch_loss
from numeric.studies.images.network import Network, Shape, make_network, statistics_kept
from numeric.studies.images.processes import average_gradients, own_part, rank_and_size

# Streams of random numbers; what is evaluated draws from streams of its own.
_ORDER, VIEWS, EVALUATION, THEORY, _FURTHER = range(5)
_WARMUP = 0.05  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Training:
    """Settings of one training; a value that is not allowed is an `InputError`.

    Attributes
    ----------
    loss : ImageLoss
    epochs : int
    batch : int
        Images of one step, over all processes; the last images of an epoch that fill no batch are left out.
    lr : float
        Largest learning rate of AdamW: a linear rise over a twentieth of the steps, then half a cosine down.
    weight_decay : float
    every : int
        Epochs between evaluations.
    seed : int

    Examples
    --------
    >>> Training(ImageLoss("ntxent"), batch=1)
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: batch=1: must be at least 2
    """

    loss: ImageLoss
    epochs: int = 120
    batch: int = 256
    lr: float = 3e-3
    weight_decay: float = 1e-4
    every: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        integer(self.batch, "batch", 2)
        if self.batch < self.loss.least_batch:
            raise InputError(f"negatives={self.loss.negatives} in a batch of {self.batch} images: must be less than it")
        integer(self.epochs, "epochs", 0)
        integer(self.every, "every", 1)
        check_seed(self.seed)
        for name in ("lr", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name}={getattr(self, name)!r}: must be a finite number, not negative")

    def steps_per_epoch(self, images: int) -> int:
        """Whole batches of an epoch.

        Raises
        ------
        InputError
            The batch is larger than the data.
        """
        if self.batch > images:
            raise InputError(f"batch={self.batch}: must be at most {images}, the number of training images")
        own_part(self.batch)
        return images // self.batch


def stream(seed: int, kind: int, number: int = 0) -> torch.Generator:
    """A generator on the CPU for one purpose, independent of all others.

    Examples
    --------
    >>> torch.rand(1, generator=stream(0, 1)) == torch.rand(1, generator=stream(0, 1))
    tensor([True])
    """
    state = int(np.random.SeedSequence([seed, kind, number]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state % 2**63)


def views(recipe: Recipe, images: Tensor, draws: tuple[Draws, Draws]) -> Tensor:
    """Both augmented views of a batch, the first ones before the second, ``(2 B, C, H, W)``."""
    joined = Draws(
        torch.cat([each.uniform for each in draws]),
        None if draws[0].normal is None else torch.cat([each.normal for each in draws if each.normal is not None]),
    )
    return apply(recipe, images.repeat(2, 1, 1, 1), joined)


class Trainer:
    """A network, its optimiser and its data; every step is the same in whatever process and after whatever break.

    Parameters
    ----------
    settings : Training
    shape : Shape
        Of the network, whose weights come from the seed.
    recipe : Recipe
        Of the augmentation.
    data : ImageData
        On the device.

    Raises
    ------
    InputError
        A batch that the data or the processes do not allow; a memory that is too small for the network.
    """

    def __init__(self, settings: Training, shape: Shape, recipe: Recipe, data: ImageData) -> None:
        self.settings, self.recipe, self.data = settings, recipe, data
        self.device = data.train.device
        self.per_epoch = settings.steps_per_epoch(len(data.pool))
        self.step = 0
        self.mixed = self.device.type == "cuda"  # the network computes in bfloat16
        with guarded(f"network of width={shape.width}", self.device):
            self.network: Network = make_network(shape, settings.seed).to(self.device)
            if self.device.type == "cuda":
                self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.optimizer = torch.optim.AdamW(
                self.network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
            )
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.per_epoch * self.settings.epochs

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rise = max(1, round(_WARMUP * self.steps))
        if step < rise:
            return self.settings.lr * (step + 1) / rise
        share = (step - rise) / max(1, self.steps - rise)
        return self.settings.lr * 0.5 * (1 + math.cos(math.pi * share))

    def indices(self, step: int) -> Tensor:
        """Numbers of the images of a step, over all processes."""
        epoch, place = divmod(step, self.per_epoch)
        if self._order[0] != epoch:
            order = torch.randperm(len(self.data.pool), generator=stream(self.settings.seed, _ORDER, epoch))
            self._order = (epoch, order)
        return self._order[1][place * self.settings.batch : (place + 1) * self.settings.batch]

    def loss(self, step: int, batch: int | None = None) -> Tensor:
        """Loss of this process's part of a step, differentiable; of fewer images on request."""
        index = self.indices(step)[:batch]
        own = own_part(len(index))
        chosen = pixels(self.data.pool[index[own].to(self.device)])
        shape = [len(index), *self.data.pool.shape[1:]]
        further = self._further(step, chosen, shape, own) if self.settings.loss.weighted else None
        generator = stream(self.settings.seed, VIEWS, step)
        first, second = self._outputs(chosen, shape, own, generator)
        return batch_loss(self.settings.loss, first, second, generator, further)

    @torch.no_grad()
    def _further(self, step: int, chosen: Tensor, shape: list[int], own: slice) -> tuple[Tensor, Tensor]:
        """Outputs of two more views of each image, by draws of their own; for pair weights that are held fixed.

        Batch normalisation takes the statistics of these views, and its running ones see only those of the gradient.
        """
        with statistics_kept(self.network):
            return self._outputs(chosen, shape, own, stream(self.settings.seed, _FURTHER, step))

    def _outputs(
        self, chosen: Tensor, shape: list[int], own: slice, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Outputs, of unit length, of two views of this process's images; the draws are those of the joint batch."""
        pair = (draw(self.recipe, shape, generator)[own], draw(self.recipe, shape, generator)[own])
        seen = views(self.recipe, chosen, pair)
        if self.device.type == "cuda":
            seen = seen.contiguous(memory_format=torch.channels_last)
        # One region for each pass: casts of the weights that one without gradients made are not taken up by the next.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            outputs = self.network(seen)
        first, second = functional.normalize(outputs.float(), dim=-1).chunk(2)
        return first, second

    def take_step(self) -> float:
        """One step of gradient descent; the loss of the joint batch before it.

        Raises
        ------
        NotFiniteError
            The loss or a gradient is not finite; nothing was changed.
        MemoryTooSmallError
            The device's memory is too small.
        """
        self.network.train()
        value = self._descended()
        if value is None:  # only here, where no exception holds what the failed step held
            self.optimizer.zero_grad(set_to_none=True)
            raise MemoryTooSmallError(self.settings.batch)
        self.step += 1
        return value

    def _descended(self) -> float | None:
        """Loss of a step that was taken; None where memory ran out."""
        try:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.step)
            loss.backward()
            average_gradients(self.network.parameters())
            value = joint_mean(loss)
            if not math.isfinite(value):
                raise NotFiniteError("loss", value, self.step)
            gradients = [each.grad for each in self.network.parameters() if each.grad is not None]
            largest = float(torch.nn.utils.get_total_norm(gradients, math.inf))
            if not math.isfinite(largest):
                raise NotFiniteError("largest gradient", largest, self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(self.step)
            self.optimizer.step()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return None
        return value

    def trial(self, batch: int) -> None:
        """A step of fewer images, to see whether memory holds it; what it makes of the weights is not to be used."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.step, batch).backward()
        self.optimizer.step()

    @torch.no_grad()
    def check(self) -> None:
        """Look at what the steps so far have made, before it is evaluated or saved.

        Weights may be finite and yet too large for an output, so that of the first images of a batch is looked at too.

        Raises
        ------
        NotFiniteError
            Weights, statistics, moments or outputs that are not finite.
        """
        found = not_finite(self.network, self.optimizer)
        if found is not None:
            raise NotFiniteError(*found, self.step)
        self.network.eval()
        largest = float(self.network(pixels(self.data.pool[: self.settings.batch])).abs().max())
        if not math.isfinite(largest):
            raise NotFiniteError("an output", largest, self.step)

    def tensors(self) -> dict[str, Tensor]:
        """What the training goes on from, by name."""
        return saved(self.network, self.optimizer)

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Go on from what :meth:`tensors` gave.

        Raises
        ------
        InputError
            They are not those of such a network.
        """
        restore(self.network, self.optimizer, tensors)
        self.step = step


def joint_mean(loss: Tensor) -> float:
    """Mean of a loss over the processes."""
    value = loss.detach().clone()
    if rank_and_size()[1] > 1:
        torch.distributed.all_reduce(value)
        value /= rank_and_size()[1]
    return float(value)


def evaluations(settings: Training) -> Iterator[int]:
    """Epochs after which the network is evaluated; the last one always."""
    yield from range(settings.every, settings.epochs, settings.every)
    yield settings.epochs
