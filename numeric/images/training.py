"""SimCLR training: two augmented views of every image, one loss, evaluation after every k epochs, resumable.

What a step draws depends on the seed and the number of the step alone, so weights, optimiser state and step are all
that a run goes on from: on the CPU it gives the same numbers as one that was never cut short. Several processes draw
the same numbers for the joint batch, and each takes its own part.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hltm.checks import integer
from hltm.checks import seed as check_seed
from hltm.errors import InputError
from numeric.images.augment import Draws, Recipe, apply, draw
from numeric.images.data import ImageData, pixels
from numeric.images.losses import ImageLoss, batch_loss
from numeric.images.network import Network, Shape, make_network
from numeric.images.parallel import average_gradients, own_part, rank_and_size

# Streams of random numbers; what is evaluated draws from streams of its own.
_ORDER, _VIEWS, EVALUATION, THEORY = range(4)
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
    hltm.errors.InputError: batch=1: must be at least 2
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
    """

    def __init__(self, settings: Training, shape: Shape, recipe: Recipe, data: ImageData) -> None:
        self.settings, self.recipe, self.data = settings, recipe, data
        self.device = data.train.device
        self.per_epoch = settings.steps_per_epoch(len(data.pool))
        self.step = 0
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
        generator = stream(self.settings.seed, _VIEWS, step)
        shape = [len(index), *self.data.pool.shape[1:]]
        own = own_part(len(index))
        pair = (draw(self.recipe, shape, generator)[own], draw(self.recipe, shape, generator)[own])
        chosen = pixels(self.data.pool[index[own].to(self.device)])
        seen = views(self.recipe, chosen, pair)
        if self.device.type == "cuda":
            seen = seen.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            outputs = self.network(seen)
        first, second = functional.normalize(outputs.float(), dim=-1).chunk(2)
        return batch_loss(self.settings.loss, first, second, generator)

    def take_step(self) -> float:
        """One step of gradient descent; the loss of the joint batch before it.

        Raises
        ------
        NotFiniteError
            The loss is not finite; nothing was changed.
        MemoryTooSmallError
            The device's memory is too small.
        """
        self.network.train()
        try:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.step)
            loss.backward()
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise MemoryTooSmallError(self.settings.batch) from error
        average_gradients(self.network.parameters())
        value = joint_mean(loss)
        if not math.isfinite(value):
            raise NotFiniteError(self.step, value)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        self.optimizer.step()
        self.step += 1
        return value

    def tensors(self) -> dict[str, Tensor]:
        """What the training goes on from, by name: weights, statistics, moments."""
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for number, held in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in held.items()}
        return {name: value.detach().cpu() for name, value in found.items()}

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Go on from what :meth:`tensors` gave.

        Raises
        ------
        InputError
            They are not those of such a network.
        """
        held: dict[int, dict[str, Tensor]] = {}
        weights: dict[str, Tensor] = {}
        for name, value in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "network":
                weights[rest] = value
            else:
                number, entry = rest.split(".", 1)
                held.setdefault(int(number), {})[entry] = value
        try:
            self.network.load_state_dict(weights)
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": held, "param_groups": groups})
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"checkpoint: {error}: must be that of such a network") from None
        self.step = step


class NotFiniteError(Exception):
    """A loss that is not finite: the step, and its value."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(f"loss {value} at step {step}")
        self.step, self.value = step, value


class MemoryTooSmallError(Exception):
    """The device's memory does not hold a batch of so many images."""

    def __init__(self, batch: int) -> None:
        super().__init__(f"batch={batch}: out of memory")
        self.batch = batch


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def joint_mean(loss: Tensor) -> float:
    """Mean of a loss over the processes."""
    value = loss.detach().clone()
    if rank_and_size()[1] > 1:
        torch.distributed.all_reduce(value)
        value /= rank_and_size()[1]
    return float(value)


def fitting_batch(attempt: Callable[[int], Any], batch: int) -> int | None:
    """Largest of batch/2, batch/4, .. that an attempt gets through without running out of memory.

    Examples
    --------
    >>> def attempt(batch):
    ...     if batch > 100:
    ...         raise torch.OutOfMemoryError("CUDA out of memory")
    >>> fitting_batch(attempt, 512)
    64
    """
    while batch >= 4:
        batch //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(batch)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        else:
            return batch
    return None


def describe(settings: Training, shape: Shape, recipe: Recipe, data: ImageData) -> dict[str, Any]:
    """What makes a run the same run, as JSON data."""
    import json

    found: dict[str, Any] = json.loads(
        json.dumps(
            {
                "training": asdict(settings), "network": asdict(shape), "recipe": asdict(recipe),
                "data": [data.name, len(data.pool), len(data.train), len(data.test)],
            }
        )
    )  # fmt: skip
    return found


def evaluations(settings: Training) -> Iterator[int]:
    """Epochs after which the network is evaluated; the last one always."""
    yield from range(settings.every, settings.epochs, settings.every)
    yield settings.epochs
