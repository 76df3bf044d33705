"""Several processes on one batch, started by `torchrun`: collectives with gradients, out-of-memory errors, lost peers.

The loss of each process is the mean over its own anchors against the outputs of all; averaged over the processes, its
gradient is that of one process on the joint batch.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

# Imported before a group exists: its default arguments would keep a group alive, and its threads.
import torch.distributed.nn
from torch import Tensor, distributed

from hltm.base.errors import InputError, OneProcessError


def rank_and_size() -> tuple[int, int]:
    """Rank of this process and number of processes; ``(0, 1)`` for one."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Join the process group that `torchrun` started, if any, and leave it at the end; gives this process's device.

    NCCL on GPUs, gloo on CPUs. A process that fails does not leave the group: leaving waits for the others, which wait
    for its part of a collective. It exits, and `torchrun` ends the others.
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
    except ValueError as error:  # environment variables are read before any process is contacted
        size = os.environ["WORLD_SIZE"]
        raise InputError(f"WORLD_SIZE={size!r} in the environment: {error}: must be set by torchrun") from None
    yield device
    distributed.destroy_process_group()


def own_part(count: int) -> slice:
    """Slice of a joint batch that this process computes."""
    rank, size = rank_and_size()
    if count % size:
        raise InputError(f"batch={count} over {size} processes: must be a multiple of their number")
    share = count // size
    return slice(rank * share, (rank + 1) * share)


class _AllReduce(torch.autograd.Function):
    """Sum over the processes divided by a number; the gradient is the same sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, divisor: int) -> Tensor:
        ctx.divisor = divisor
        total = value.contiguous().clone()
        distributed.all_reduce(total)
        return total / divisor

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        return _AllReduce.forward(ctx, outer[0], ctx.divisor), None


def gathered(part: Tensor) -> Tensor:
    """Concatenate the outputs of all processes in their order; differentiable."""
    rank, size = rank_and_size()
    if size == 1:
        return part
    whole: Tensor = _AllReduce.apply(torch.cat([part if k == rank else torch.zeros_like(part) for k in range(size)]), 1)
    return whole


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean over the processes; differentiable."""
    size = rank_and_size()[1]
    if size == 1:
        return value
    mean: Tensor = _AllReduce.apply(value, size)
    return mean


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    size = rank_and_size()[1]
    if size == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= size
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


# Messages of the allocators of torch, oneDNN, CUDA's libraries and C++.
_OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "could not create a primitive", "alloc_failed",
    "bad_alloc", "storage size calculation overflowed",
)  # fmt: skip
_PEER_LOST = ("connection closed by peer", "connection reset by peer", "broken pipe")  # gloo's


class NotFiniteError(Exception):
    """A loss, gradient, weight or output that is not finite, with its value and step."""

    def __init__(self, what: str, value: float, step: int) -> None:
        super().__init__(f"{what} is {value} at step {step}")


def _says(error: Exception, phrases: Sequence[str]) -> bool:
    return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in phrases)


def out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or _says(error, _OUT_OF_MEMORY)


def release_memory() -> None:
    """Free unreferenced memory; while an exception is handled, its frames keep theirs."""
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
    """Turn out-of-memory errors, and the loss of another process, into one line."""
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        lost = isinstance(error, distributed.DistError) or _says(error, _PEER_LOST)
        if not lost and not out_of_memory(error):
            raise
    if lost:
        raise InputError(f"{what}: another process of the run has ended; its own message names the reason")
    raise OneProcessError(f"{what}: the memory of {where(device)} is too small")


def where(device: torch.device) -> str:
    """Name a device, with the number of the process if there are several."""
    rank, size = rank_and_size()
    return f"{device}" if size == 1 else f"{device} (process {rank} of {size})"
