"""Several processes on one batch: what they share, with gradients, and how `torchrun` starts them.

The loss of each process is the mean over its own anchors against the outputs of all; averaged over the processes, its
gradient is that of one process on the joint batch.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed.nn
from torch import Tensor, distributed

from hltm.base.errors import InputError, OneProcessError


def rank_and_size() -> tuple[int, int]:
    """Number of this process and how many there are; ``(0, 1)`` for one."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Join the group that `torchrun` started, if it did, and leave it at the end; the device of this process.

    NCCL on GPUs, gloo on CPUs. Where a group is there already, or none was started, nothing is changed. A process that
    fails does not take leave, which would wait for the others, who wait for what it has not sent; it ends, and
    `torchrun` ends them.
    """
    if "WORLD_SIZE" not in os.environ or rank_and_size()[1] > 1:
        yield device
        return
    if device.type == "cuda":
        place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if place >= count:
            raise OneProcessError(f"process {place} of this machine (from 0): must have a GPU of its own of {count}")
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except ValueError as error:  # of variables, before any process is asked
        size = os.environ["WORLD_SIZE"]
        raise InputError(f"WORLD_SIZE={size!r} in the environment: {error}: must be set by torchrun") from None
    yield device
    distributed.destroy_process_group()


def own_part(count: int) -> slice:
    """Which of the images of a joint batch are this process's."""
    rank, size = rank_and_size()
    if count % size:
        raise InputError(f"batch={count} over {size} processes: must be a multiple of their number")
    share = count // size
    return slice(rank * share, (rank + 1) * share)


class _Gathered(torch.autograd.Function):
    """All parts in the order of the processes; the gradient of a part is the sum of what all processes found."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, part: Tensor) -> Tensor:  # noqa: ARG004
        result = [torch.empty_like(part) for _ in range(distributed.get_world_size())]
        distributed.all_gather(result, part.contiguous())
        return torch.cat(result)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *outer: Tensor) -> Tensor:  # noqa: ARG004
        total = outer[0].contiguous().clone()
        distributed.all_reduce(total)
        return total[own_part(len(total))]


class _Mean(torch.autograd.Function):
    """Mean over the processes; its gradient is the mean of theirs."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, value: Tensor) -> Tensor:  # noqa: ARG004
        total = value.clone()
        distributed.all_reduce(total)
        return total / distributed.get_world_size()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *outer: Tensor) -> Tensor:  # noqa: ARG004
        total = outer[0].contiguous().clone()
        distributed.all_reduce(total)
        return total / distributed.get_world_size()


def gathered(part: Tensor) -> Tensor:
    """Outputs of all processes, first axis joined; differentiable."""
    if rank_and_size()[1] == 1:
        return part
    whole: Tensor = _Gathered.apply(part)
    return whole


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean over the processes; differentiable."""
    if rank_and_size()[1] == 1:
        return value
    mean: Tensor = _Mean.apply(value)
    return mean


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    size = rank_and_size()[1]
    if size == 1:
        return
    held = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in held])
    distributed.all_reduce(flat)
    flat /= size
    for gradient, part in zip(held, flat.split([gradient.numel() for gradient in held]), strict=True):
        gradient.copy_(part.view_as(gradient))


# Ways in which a training ends badly: numbers that are not finite, and a memory that is too small.

# What allocators of torch, oneDNN, CUDA's libraries and C++ say, each in words of its own.
_WORDS = (
    "out of memory", "can't allocate memory", "not enough memory", "could not create a primitive", "alloc_failed",
    "bad_alloc", "storage size calculation overflowed",
)  # fmt: skip
_LOST = ("connection closed by peer", "connection reset by peer", "broken pipe")  # gloo's


class NotFiniteError(Exception):
    """Something of a training that is not finite: what, its value, and the step."""

    def __init__(self, what: str, value: float, step: int) -> None:
        super().__init__(f"{what} is {value} at step {step}")


class MemoryTooSmallError(Exception):
    """The device's memory does not hold a batch of so many images."""

    def __init__(self, batch: int) -> None:
        super().__init__(f"batch={batch}: out of memory")
        self.batch = batch


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


def peer_lost(error: Exception) -> bool:
    """Whether an error says that another process of the run has gone."""
    if isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _LOST)


def release_memory() -> None:
    """Give back what nothing holds any more; not to be called while the exception of the failure is handled."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def fitting_batch(attempt: Callable[[int], Any], batch: int, least: int = 2) -> int | None:
    """Largest of batch/2, batch/4, ... that fits into memory; None below ``least``."""
    while (batch := batch // 2) >= least:
        release_memory()
        try:
            attempt(batch)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        else:
            return batch
    return None


@contextmanager
def guarded(what: str, device: torch.device) -> Iterator[None]:
    """One line for a memory that is too small for something, and for a process of several that has gone."""
    words = ""
    lost = False
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        lost = peer_lost(error)
        if not lost and not out_of_memory(error):
            raise
        words = where(device)
    if lost:
        raise InputError(f"{what}: another process of the run has ended, which says why itself; must go on together")
    if words:
        raise OneProcessError(f"{what}: the memory of {words} is too small")


def where(device: torch.device) -> str:
    """A device in words, with the number of the process if there are several."""
    rank, size = rank_and_size()
    return f"{device}" if size == 1 else f"{device} (process {rank} of {size})"
