"""Several processes on one batch: what they share, with gradients, and how `torchrun` starts them.

The loss of each process is the mean over its own anchors against the outputs of all; averaged over the processes, its
gradient is that of one process on the joint batch.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

# Its functions have the group of all processes as a default argument. Where optimisers load it after the group is made,
# it keeps the group and its threads until the interpreter ends, and a thread that frees a tensor then aborts.
import torch.distributed.nn
from torch import Tensor, distributed

from hltm.base.errors import InputError, OneProcessError


def rank_and_size() -> tuple[int, int]:
    """Number of this process and how many there are; ``(0, 1)`` for one.

    Examples
    --------
    >>> rank_and_size()
    (0, 1)
    """
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Join the group that `torchrun` started, if it did, and leave it at the end; the device of this process.

    NCCL on GPUs, gloo on CPUs. Where a group is there already, or none was started, nothing is changed. A process that
    fails does not take leave, which would wait for the others, who wait for what it has not sent; it ends, and
    `torchrun` ends them.

    Raises
    ------
    InputError
        More processes than GPUs on this machine, or a part of what `torchrun` sets is not there.
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
    """Which of the images of a joint batch are this process's.

    Raises
    ------
    InputError
        The batch cannot be shared out evenly.
    """
    rank, size = rank_and_size()
    if count % size:
        raise InputError(f"batch={count} over {size} processes: must be a multiple of their number")
    share = count // size
    return slice(rank * share, (rank + 1) * share)


class _Gathered(torch.autograd.Function):
    """All parts in the order of the processes; the gradient of a part is the sum of what all processes found."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, part: Tensor) -> Tensor:  # noqa: ARG004
        found = [torch.empty_like(part) for _ in range(distributed.get_world_size())]
        distributed.all_gather(found, part.contiguous())
        return torch.cat(found)

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
