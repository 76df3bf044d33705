"""Call a user's function on batches: values, gradients, conduct (random, stateful, writes), precision."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hltm.base.errors import InputError
from verify.loss.batches import Batch

LossFunction = Callable[..., Any]
EPSILON = {"double": 2.0**-53, "single": 2.0**-24, "half": 2.0**-8}
# Above the rounding of float64 and below that of float32; and above that of float32 and below that of half precision.
MOVED = {"single": 1e-14, "half": 3e-6}
REPEATED = 1e-12
TIMES = 8


@dataclass(frozen=True)
class Answer:
    """The value and the gradients on one batch; `reason` says why there are none, `error` what was raised."""

    value: float
    gradients: tuple[Tensor, ...] | None = None
    reason: str = ""
    error: str = ""
    written: tuple[str, ...] = ()


def answers(loss_fn: LossFunction, batches: Sequence[Batch]) -> list[Answer]:
    """The function on each batch; the first one that fails where most do is refused."""
    result = [answer(loss_fn, batch) for batch in batches]
    generic = [a for a, b in zip(result, batches, strict=True) if b.generic]
    failed = [a for a in generic if a.error]
    if 2 * len(failed) > len(generic):
        raise InputError(failed[0].error)
    unfinite = [
        (a, b) for a, b in zip(result, batches, strict=True) if b.generic and not a.error and not math.isfinite(a.value)
    ]
    if 2 * len(unfinite) > len(generic):
        raise InputError(f"{_where(unfinite[0][1])}: gives {unfinite[0][0].value}, must be finite")
    return result


def _where(batch: Batch) -> str:
    shapes = ", ".join(
        f"{name} {tuple(leaf.shape)}" for name, leaf in zip(batch.layout.names, batch.leaves, strict=True)
    )
    return f"loss_fn on {shapes}{'' if batch.data.labels is None else ', labels'}"


def answer(loss_fn: LossFunction, batch: Batch, leaves: Sequence[Tensor] | None = None) -> Answer:
    """The function and its gradients on one batch, or on other outputs of its shape."""
    where, outputs = _where(batch), batch.leaves if leaves is None else leaves
    with torch.inference_mode(False), torch.enable_grad():
        free = [f.detach().clone().requires_grad_() for f in outputs]
        taken = [leaf.clone() for leaf in free]
        reason = ""
        try:
            result = loss_fn(*taken, *_labels(batch))
        except Exception as error:  # of the user's code; NumPy, for one, takes no tensor that has a gradient
            reason = f"it fails on outputs that require one ({type(error).__name__})"
            try:
                result = loss_fn(*(f.detach().clone() for f in outputs), *_labels(batch))
            except Exception as again:
                return Answer(math.nan, error=f"{where}: must give a scalar, raised {_one_line(again)}")
        except SystemExit as error:
            raise InputError(f"{where}: must give a scalar, raised SystemExit: {error}") from error
        number = _scalar(result, where)
        written = tuple(
            name
            for name, new, old in zip(batch.layout.names, taken, outputs, strict=True)
            if not torch.equal(new.detach().nan_to_num(), old.detach().nan_to_num())
        )
        if not isinstance(result, Tensor):
            return Answer(
                number, None, reason or f"it gives a number of type {type(result).__name__}, not a tensor", "", written
            )
        if not result.requires_grad:
            return Answer(number, None, reason or "its result is detached from the outputs", "", written)
        try:
            slopes = torch.autograd.grad(result.sum(), free, allow_unused=True)
        except Exception as error:  # what the user's code wrote into, or differentiated itself
            raise InputError(f"{where}: its gradient raised {_one_line(error)}") from error
    gradients = tuple(torch.zeros_like(f) if g is None else g.detach() for f, g in zip(free, slopes, strict=True))
    return Answer(number, gradients, "", "", written)


def _labels(batch: Batch) -> tuple[Tensor, ...]:
    return () if batch.data.labels is None else (batch.data.labels.clone(),)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _scalar(result: Any, where: str) -> float:
    """The result as a real number; InputError if it is anything else."""
    if isinstance(result, Tensor):
        if result.numel() != 1 or not result.is_floating_point():
            shown = f"a tensor of shape {tuple(result.shape)}, {result.dtype}"
            raise InputError(f"{where}: must give a scalar, real and in floating point, gives {shown}")
        return float(result.detach())
    if isinstance(result, Real) and not isinstance(result, bool):
        try:
            return float(result)
        except OverflowError:
            return math.inf
    raise InputError(f"{where}: must give a scalar, a real tensor of one entry, gives {type(result).__name__}")


# Conduct.


def conduct(loss_fn: LossFunction, batches: Sequence[Batch], first: Sequence[Answer]) -> str:
    """Why the function is none: other values for the same input; empty where it is one."""
    order = [i for i, a in enumerate(first) if math.isfinite(a.value)]
    if not order:
        return ""
    for i in (order[0], order[0], *reversed(order), *order, order[0]):
        again = _value(loss_fn, batches[i])
        scale = abs(first[i].value)
        if not abs(again - first[i].value) <= REPEATED * scale and again != first[i].value:
            return (
                f"not a function of its arguments: two calls on the same batch ({batches[i].shape}) give "
                f"{first[i].value:.10g} and {again:.10g}; it is random or keeps a state"
            )
    return ""


def _value(loss_fn: LossFunction, batch: Batch) -> float:
    try:
        result = loss_fn(*(f.detach().clone() for f in batch.leaves), *_labels(batch))
        return _scalar(result, _where(batch))
    except Exception:
        return math.nan


class _Writes(TorchDispatchMode):
    """Records which storages are written into."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for place, argument in zip(args, func._schema.arguments, strict=False):
            if isinstance(place, Tensor) and argument.alias_info is not None and argument.alias_info.is_write:
                self.storages.add(place.untyped_storage().data_ptr())
        return func(*args, **(kwargs or {}))


def written_into(loss_fn: LossFunction, batch: Batch) -> tuple[str, ...]:
    """Names of the arguments that the function writes into, with other numbers or the same."""
    leaves = [f.clone() for f in batch.leaves]
    mode = _Writes()
    try:
        with mode:
            loss_fn(*leaves, *_labels(batch))
    except Exception:
        return ()
    names = zip(batch.layout.names, leaves, strict=True)
    return tuple(name for name, leaf in names if leaf.untyped_storage().data_ptr() in mode.storages)


def parameters_of(loss_fn: LossFunction) -> int | None:
    """How many positional arguments a function needs; None where its signature does not say."""
    target = loss_fn.forward if isinstance(loss_fn, torch.nn.Module) else loss_fn
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return None
    kinds = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        return None
    return sum(p.default is p.empty for p in kinds)


# Precision: how the answers change where the outputs change by less than the next precision resolves.


@dataclass(frozen=True)
class Precision:
    """The precision in which a function computes, and the changes of its answers to a change that is nearly none."""

    name: str
    values: tuple[float, ...]
    gradients: tuple[float, ...]

    @property
    def epsilon(self) -> float:
        return EPSILON[self.name]


def precision(loss_fn: LossFunction, batches: Sequence[Batch], first: Sequence[Answer]) -> Precision:
    """Compare the answers with those of moved outputs."""
    name, moved = "double", _moved(loss_fn, batches, MOVED["single"])
    if _blind(first, moved, batches):
        name, moved = "single", _moved(loss_fn, batches, MOVED["half"])
        if _blind(first, moved, batches):
            name, moved = "half", _moved(loss_fn, batches, 0.01)
    values, gradients = [], []
    for a, (b, leaves), batch in zip(first, moved, batches, strict=True):
        values.append(_noise(a, b, batch, leaves))
        pairs = zip(a.gradients or (), b.gradients or (), strict=False)
        gradients.append(max((_largest(p - q) for p, q in pairs), default=0.0))
    return Precision(name, tuple(values), tuple(gradients))


def _largest(gap: Tensor) -> float:
    return float(gap.abs().max()) if gap.numel() else 0.0


def _nudged(batch: Batch, step: float, generator: torch.Generator) -> list[Tensor]:
    return [f + step * f.abs() * torch.randn(f.shape, generator=generator, dtype=f.dtype) for f in batch.leaves]


def _moved(loss_fn: LossFunction, batches: Sequence[Batch], step: float) -> list[tuple[Answer, list[Tensor]]]:
    # Not the seed of the batches: a change along the outputs themselves is one of scale, which cosines do not see.
    generator = torch.Generator().manual_seed(20100578)
    result = []
    for batch in batches:
        leaves = _nudged(batch, step, generator)
        result.append((answer(loss_fn, batch, leaves), leaves))
    return result


def _blind(first: Sequence[Answer], moved: Sequence[tuple[Answer, Any]], batches: Sequence[Batch]) -> bool:
    """Whether most generic values and gradients do not change at all. A large constant may hide that of values."""
    if len({a.value for a in first}) == 1:  # a constant
        return False
    same = [_same(a, b) for a, (b, _), batch in zip(first, moved, batches, strict=True) if batch.generic]
    return 2 * sum(same) > len(same)


def _same(first: Answer, second: Answer) -> bool:
    pairs = zip(first.gradients or (), second.gradients or (), strict=False)
    return first.value == second.value and all(torch.equal(a, b) for a, b in pairs)


def _noise(first: Answer, moved: Answer, batch: Batch, leaves: Sequence[Tensor]) -> float:
    """Change of the value beyond the first order."""
    change = moved.value - first.value
    if first.gradients is None or not math.isfinite(change):
        return 0.0
    expected = sum(
        float((g * (new - old)).sum()) for g, new, old in zip(first.gradients, leaves, batch.leaves, strict=True)
    )
    return abs(change - expected) if math.isfinite(expected) else 0.0


class Noise:
    """Rounding of a function on single batches, from several changes that are nearly none; measured where needed."""

    def __init__(self, loss_fn: LossFunction, batches: Sequence[Batch], first: Sequence[Answer], name: str) -> None:
        self.loss_fn, self.batches, self.first = loss_fn, batches, first
        self.step = MOVED["single" if name == "double" else "half"]
        self.done: dict[int, tuple[float, float]] = {}

    def at(self, number: int) -> tuple[float, float]:
        """Largest changes of value and gradients on a batch; infinite where some are finite and others are not."""
        if number not in self.done:
            generator = torch.Generator().manual_seed(20100578 + number)
            values, slopes = [0.0], [0.0]
            for _ in range(TIMES):
                batch, first = self.batches[number], self.first[number]
                leaves = _nudged(batch, self.step, generator)
                moved = answer(self.loss_fn, batch, leaves)
                if math.isfinite(moved.value) != math.isfinite(first.value):
                    values.append(math.inf)
                    continue
                values.append(_noise(first, moved, batch, leaves))
                pairs = zip(first.gradients or (), moved.gradients or (), strict=False)
                slopes += [_largest(a - b) for a, b in pairs]
            self.done[number] = max(values), max(slopes)
        return self.done[number]
