"""Ways in which a training ends badly: numbers that are not finite, and a memory that is too small.

What ran out of memory is let go of before anything else is tried: as long as its exception is handled, the frames of
the failed step hold its activations and its graph.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed

from hltm.base.errors import InputError, OneProcessError
from numeric.studies.images.processes import rank_and_size

# What allocators of torch, oneDNN, CUDA's libraries and C++ say, each in words of its own.
_WORDS = (
    "out of memory", "can't allocate memory", "not enough memory", "could not create a primitive", "alloc_failed",
    "bad_alloc", "storage size calculation overflowed",
)  # fmt: skip
_LOST = ("connection closed by peer", "connection reset by peer", "broken pipe")  # gloo's


class NotFiniteError(Exception):
    """Something of a training that is not finite: what, its value, and the step.

    Examples
    --------
    >>> raise NotFiniteError("loss", float("nan"), 3)
    Traceback (most recent call last):
        ...
    numeric.images.failures.NotFiniteError: loss is nan at step 3
    """

    def __init__(self, what: str, value: float, step: int) -> None:
        super().__init__(f"{what} is {value} at step {step}")


class MemoryTooSmallError(Exception):
    """The device's memory does not hold a batch of so many images."""

    def __init__(self, batch: int) -> None:
        super().__init__(f"batch={batch}: out of memory")
        self.batch = batch


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU.

    Examples
    --------
    >>> out_of_memory(RuntimeError("could not create a primitive")), out_of_memory(RuntimeError("sizes differ"))
    (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


def peer_lost(error: Exception) -> bool:
    """Whether an error says that another process of the run has gone."""
    if isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _LOST)


def let_go() -> None:
    """Give back what nothing holds any more; not to be called while the exception of the failure is handled."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def fitting_batch(attempt: Callable[[int], Any], batch: int, least: int = 2) -> int | None:
    """Largest of batch/2, batch/4, .. that an attempt gets through without running out of memory; None below ``least``.

    Examples
    --------
    >>> def attempt(batch):
    ...     if batch > 100:
    ...         raise torch.OutOfMemoryError("CUDA out of memory")
    >>> fitting_batch(attempt, 512)
    64
    """
    while (batch := batch // 2) >= least:
        let_go()
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
    """One line for a memory that is too small for something, and for a process of several that has gone.

    Parameters
    ----------
    what : str
        What is done inside, for the message.
    device : torch.device
        Whose memory it is.

    Raises
    ------
    OneProcessError
        Memory ran out in this process.
    InputError
        Another process has gone, so nothing can be shared any more.

    Examples
    --------
    >>> with guarded("the network", torch.device("cpu")):
    ...     raise MemoryError
    Traceback (most recent call last):
        ...
    hltm.base.errors.OneProcessError: the network: the memory of cpu is too small
    """
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
    """A device in words, with the number of the process if there are several.

    Examples
    --------
    >>> where(torch.device("cpu"))
    'cpu'
    """
    rank, size = rank_and_size()
    return f"{device}" if size == 1 else f"{device} (process {rank} of {size})"
