"""What a loss function of the user's gives on a batch: its value, its gradients, and the precision it computes in.

The function is somebody else's code: it gets copies, and whatever goes wrong in it is reported as the input's fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from hltm.base.errors import InputError

Batch = tuple[Tensor, Tensor, Tensor]
LossFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
ARGUMENTS = ("f_1", "f_plus", "f_minus")
# Far above the rounding of float64, far below the spacing of float32.
MOVED = 1e-13


@dataclass(frozen=True)
class Answer:
    """What the function gives on one batch.

    Attributes
    ----------
    value : float
        The loss.
    gradients : tuple of three Tensor, or None
        With respect to ``f_1``, ``f_plus``, ``f_minus`` (zeros where the function does not depend on one).
    reason : str
        Why there are no gradients.
    """

    value: float
    gradients: tuple[Tensor, ...] | None
    reason: str = ""


def answers(loss_fn: LossFunction, batches: Sequence[Batch], negatives: int | None) -> list[Answer]:
    """The function and its gradients on each batch.

    Parameters
    ----------
    loss_fn : callable
        Of three tensors.
    batches : sequence of Batch
        ``(B, n)``, ``(B, n)``, ``(B, H, n)``.
    negatives : int or None
        None: the axis of the negatives is left out.

    Raises
    ------
    InputError
        The function fails, leaves the program, or gives no finite real scalar.

    Examples
    --------
    >>> ones = torch.ones(2, 3, dtype=torch.float64)
    >>> (found,) = answers(lambda a, b, c: (a * b).sum(), [(ones, 2 * ones, ones[:, None])], None)
    >>> found.value, float(found.gradients[0].max()), float(found.gradients[2].max())
    (12.0, 2.0, 0.0)
    """
    return [_answer(loss_fn, _given(batch, negatives)) for batch in batches]


def in_single_precision(loss_fn: LossFunction, batches: Sequence[Batch], negatives: int | None) -> bool:
    """Whether most values and gradients do not see a change of the inputs that float64 sees and float32 rounds away.

    A value alone may hide it in a large constant.
    """
    # Not the seed of the batches: a change along the outputs themselves is one of scale, which cosines do not see.
    generator = torch.Generator().manual_seed(20100578)
    same = 0
    for batch in batches:
        given = _given(batch, negatives)
        moved = [f + MOVED * f.std() * torch.randn(f.shape, generator=generator, dtype=f.dtype) for f in given]
        same += _same(_answer(loss_fn, given), _answer(loss_fn, moved))
    return 2 * same > len(batches)


def _same(first: Answer, second: Answer) -> bool:
    pairs = zip(first.gradients or (), second.gradients or (), strict=False)
    return first.value == second.value and all(torch.equal(a, b) for a, b in pairs)


def _given(batch: Batch, negatives: int | None) -> list[Tensor]:
    f_1, f_plus, f_minus = batch
    return [f_1, f_plus, f_minus[:, 0] if negatives is None else f_minus]


def _answer(loss_fn: LossFunction, given: Sequence[Tensor]) -> Answer:
    where = f"loss_fn on f_1 {tuple(given[0].shape)}, f_minus {tuple(given[2].shape)}"
    with torch.inference_mode(False), torch.enable_grad():
        leaves = [f.clone().requires_grad_() for f in given]
        reason = ""
        try:
            result: Any = loss_fn(*(leaf.clone() for leaf in leaves))
        except Exception as error:  # of the user's code; NumPy, for one, takes no tensor that has a gradient
            reason = f"it fails on outputs that require one ({type(error).__name__})"
            result = _plainly(loss_fn, given, where)
        except SystemExit as error:
            raise InputError(f"{where}: must give a scalar, raised SystemExit: {error}") from error
        number = _scalar(result, where)
        if not isinstance(result, Tensor):
            return Answer(number, None, reason or f"it gives a number of type {type(result).__name__}, not a tensor")
        if not result.requires_grad:
            return Answer(number, None, reason or "its result is detached from the outputs")
        try:
            slopes = torch.autograd.grad(result.sum(), leaves, allow_unused=True)
        except Exception as error:  # what the user's code wrote into, or differentiated itself
            raise InputError(f"{where}: its gradient raised {type(error).__name__}: {error}") from error
    return Answer(
        number, tuple(torch.zeros_like(f) if g is None else g.detach() for f, g in zip(leaves, slopes, strict=True))
    )


def _plainly(loss_fn: LossFunction, given: Sequence[Tensor], where: str) -> Any:
    """The function without anything to differentiate."""
    try:
        return loss_fn(*(f.clone() for f in given))
    except (Exception, SystemExit) as error:
        raise InputError(f"{where}: must give a scalar, raised {type(error).__name__}: {error}") from error


def _scalar(result: Any, where: str) -> float:
    """The result as a finite number; a text, a truth value or a complex number is none."""
    if isinstance(result, Tensor):
        if result.numel() != 1 or not result.is_floating_point():
            shown = f"a tensor of shape {tuple(result.shape)}, {result.dtype}"
            raise InputError(f"{where}: must give a scalar, real and in floating point, gives {shown}")
        number = float(result.detach())
    elif isinstance(result, Real) and not isinstance(result, bool):
        try:
            number = float(result)
        except OverflowError:
            number = float("inf")
    else:
        raise InputError(f"{where}: must give a scalar, a real tensor of one entry, gives {type(result).__name__}")
    if not abs(number) < float("inf"):
        raise InputError(f"{where}: gives {number}, must be finite")
    return number
