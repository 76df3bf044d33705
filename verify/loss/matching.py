"""Which form of `verify.loss.forms` has the values of a function: up to a factor, a constant, another temperature.

What is fitted on the first batches has to explain fresh ones. A fit without a constant, at the given temperature, comes
before one with a constant, and that before another temperature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from verify.loss.called import Answer, Batch
from verify.loss.forms import NAMES, Form, forms, tensor_value, value

TOLERANCE, SINGLE = 1e-9, 2e-5
# The temperatures that are looked through, relative to the given one.
GRID = tuple(10 ** (step / 12) for step in range(-30, 31))
_HALVINGS = 60


@dataclass(frozen=True)
class Match:
    """``factor * form + constant`` at a temperature.

    Attributes
    ----------
    form : Form
        The known loss with its modifications.
    factor, constant : float
        What it is multiplied by, and what is added.
    tau : float
        The temperature at which it agrees.
    tau_given : float
        The one that was asked for.
    by_gradient : bool
        Only the gradients agree; the values do not.
    """

    form: Form
    factor: float
    constant: float
    tau: float
    tau_given: float
    by_gradient: bool = False

    @property
    def differences(self) -> tuple[str, ...]:
        """What it does differently from the known loss, in words."""
        found = list(self.form.modifications)
        if self.tau != self.tau_given:
            found.append(f"tau = {self.tau:.6g}, not {self.tau_given:g}")
        if self.factor < 0:
            found.append(NAMES["sign", "reversed"])
        if self.by_gradient:
            found.append("gradients equal, the values are not, and do not differ by one constant")
        return tuple(found)


@dataclass(frozen=True)
class Observed:
    """The batches, what the function gives on them, and what the known losses are taken with."""

    batches: Sequence[Batch]
    found: Sequence[Answer]
    tau: float
    margin: float
    tolerance: float

    @property
    def values(self) -> list[float]:
        """Of the function."""
        return [answer.value for answer in self.found]

    def known(self, form: Form, tau: float) -> list[float]:
        """Of a form."""
        return [value(form, *batch, tau, self.margin) for batch in self.batches]

    def gradients(self, form: Form, tau: float) -> list[list[Tensor]]:
        """Of a form, by batch and argument, each in the shape of the function's."""
        return [_gradients(form, batch, tau, self.margin) for batch in self.batches]


def matches(first: Observed, fresh: Observed) -> list[Match]:
    """The simplest form of each known loss that has the values of the function.

    Parameters
    ----------
    first, fresh : Observed
        Where factors are fitted, and where they are confirmed.
    """
    for stage in (_at_given, _with_constant, _at_other_temperature, _by_gradient):
        best: dict[str, Match] = {}
        for match in stage(first, fresh):
            kept = best.get(match.form.loss)
            if kept is None or len(match.differences) < len(kept.differences):
                best[match.form.loss] = match
        if best:
            return list(best.values())
    return []


def _at_given(first: Observed, fresh: Observed) -> Iterator[Match]:
    for form in forms():
        factor = _factor(first.known(form, first.tau), first.values)
        if factor is not None and _holds(form, first.tau, factor, 0.0, first, fresh):
            yield Match(form, factor, 0.0, first.tau, first.tau)


def _with_constant(first: Observed, fresh: Observed) -> Iterator[Match]:
    for form in forms():
        known, found = first.known(form, first.tau), first.values
        low, high = min(range(len(known)), key=known.__getitem__), max(range(len(known)), key=known.__getitem__)
        if known[low] == known[high]:
            continue
        factor = (found[high] - found[low]) / (known[high] - known[low])
        constant = sum(b - factor * a for a, b in zip(known, found, strict=True)) / len(known)
        # What is nearly constant fits anything times a tiny factor.
        varies = abs(found[high] - found[low]) > 1e-6 * abs(constant)
        if varies and _holds(form, first.tau, factor, constant, first, fresh):
            yield Match(form, factor, constant, first.tau, first.tau)


def _at_other_temperature(first: Observed, fresh: Observed) -> Iterator[Match]:
    if len(set(first.values)) == 1:  # as a known loss is at no temperature, though rounding makes it look so at many
        return
    for form in forms():
        if form.loss == "simple" or form.tau or len(form.modifications) > 2:
            continue
        for tau in _temperatures(form, first):
            factor = _factor(first.known(form, tau), first.values)
            if factor is not None and _holds(form, tau, factor, 0.0, first, fresh):
                yield Match(form, factor, 0.0, tau, first.tau)
                break


def _by_gradient(first: Observed, fresh: Observed) -> Iterator[Match]:
    """Surrogates with the gradient of a known loss, such as constants that depend on the size of the batch."""
    if any(answer.gradients is None for answer in (*first.found, *fresh.found)):
        return
    for form in forms():
        if len(form.modifications) > 1:
            continue
        known, found = _flat(first.gradients(form, first.tau)), _flat([a.gradients or () for a in first.found])
        place = int(known.abs().argmax())
        factor = float(found[place] / known[place]) if known[place] != 0 else 0.0
        if factor == 0 or not _near(found, factor * known, first.tolerance):
            continue
        again = _flat(fresh.gradients(form, first.tau)), _flat([a.gradients or () for a in fresh.found])
        if _near(again[1], factor * again[0], fresh.tolerance):
            yield Match(form, factor, 0.0, first.tau, first.tau, by_gradient=True)


def _temperatures(form: Form, seen: Observed) -> Iterator[float]:
    """Where the ratio of the values on two batches is that of the function."""
    found = seen.values
    high = max(range(len(found)), key=lambda i: abs(found[i]))
    low = min(range(len(found)), key=lambda i: abs(found[i]))
    if found[high] == 0:
        return
    pair, wanted = replace(seen, batches=(seen.batches[high], seen.batches[low])), found[low] / found[high]

    def off(tau: float) -> float:
        top, bottom = pair.known(form, tau)
        return bottom / top - wanted if top else float("nan")

    left, at_left = seen.tau * GRID[0], off(seen.tau * GRID[0])
    for relative in GRID[1:]:
        right = seen.tau * relative
        at_right = off(right)
        if at_left * at_right <= 0:
            root = _root(off, left, right, at_left)
            rounded = float(f"{root:.5g}")
            yield from (rounded, root) if abs(rounded - root) <= 1e3 * seen.tolerance * root else (root,)
        left, at_left = right, at_right


def _root(off: object, left: float, right: float, at_left: float) -> float:
    assert callable(off)  # noqa: S101
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        at_middle = off(middle)
        if at_left * at_middle <= 0:
            right = middle
        else:
            left, at_left = middle, at_middle
    return (left + right) / 2


def _factor(known: Sequence[float], found: Sequence[float]) -> float | None:
    """The one factor that explains the batch where the known loss is largest."""
    largest = max(range(len(known)), key=lambda i: abs(known[i]))
    return found[largest] / known[largest] if known[largest] and found[largest] else None


def _holds(form: Form, tau: float, factor: float, constant: float, *seen: Observed) -> bool:
    """Equality to rounding on all batches, relative to the size of what varies."""
    for part in seen:
        varying = [b - constant for b in part.values]
        size, tolerance = max(map(abs, varying)), part.tolerance
        floor = 1e-3 * size + 1e-3 * abs(constant) * (tolerance == SINGLE)
        for batch, b in zip(part.batches, varying, strict=True):
            a = factor * value(form, *batch, tau, part.margin)
            if not abs(b - a) <= tolerance * (abs(b) + floor):
                return False
    return True


def _gradients(form: Form, batch: Batch, tau: float, margin: float) -> list[Tensor]:
    with torch.inference_mode(False), torch.enable_grad():
        leaves = [f.clone().requires_grad_() for f in batch]
        result = tensor_value(form, leaves[0], leaves[1], leaves[2], tau, margin)
        slopes = torch.autograd.grad(result, leaves, allow_unused=True)
    return [torch.zeros_like(f) if g is None else g.detach() for f, g in zip(leaves, slopes, strict=True)]


def _flat(gradients: Sequence[Sequence[Tensor]]) -> Tensor:
    return torch.cat([g.reshape(-1) for each in gradients for g in each])


def _near(found: Tensor, known: Tensor, tolerance: float) -> bool:
    return bool((found - known).abs().max() <= 10 * tolerance * known.abs().max())
