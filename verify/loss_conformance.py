"""Which known loss a torch function computes, up to which factor, or what it does differently.

The function is compared on random batches with every form of `verify.loss_forms`: a constant factor is fitted by
ratio on some batches, and has to explain fresh ones to rounding. Batches differ in size, width and scale, so that a
sum over the batch, or a mean over dimensions, is not taken for a factor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import numeric
from hltm.checks import integer
from hltm.errors import InputError
from verify.loss_forms import NAMES, TITLES, Form, forms, value

SHAPES = ((4, 3), (6, 5), (3, 7), (5, 4), (7, 3), (2, 6))  # (B, n); no n = 2, where 1/n is 1/2
SCALES = (0.5, 1.0, 2.0)
TOLERANCE = 1e-9
Batch = tuple[Tensor, Tensor, Tensor]
LossFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Conformance:
    """What a function was found to be.

    Attributes
    ----------
    loss : str or None
        The known loss that it equals or is closest to in modifications ("infonce", ...); None where no form fits.
    factor : float or None
        The function is this factor times that form.
    differences : tuple of str
        What it does differently from the loss; empty where it equals it up to the factor.
    also : tuple of str
        Descriptions in terms of other known losses.
    counterexample : tuple of two str, or None
        Two batches and the values there: where the function differs from the loss.
    tau, margin : float
        What the known losses were taken with.
    """

    loss: str | None
    factor: float | None
    differences: tuple[str, ...]
    also: tuple[str, ...]
    counterexample: tuple[str, str] | None
    tau: float
    margin: float

    @property
    def equal(self) -> bool:
        """Whether the function is a positive factor times a known loss."""
        return self.loss is not None and not self.differences

    def __str__(self) -> str:
        setting = f"tau = {self.tau:g}, r_0 = {self.margin:g}"
        if self.loss is None:
            lines = [f"no known loss, with none of the modifications that are tried ({setting})"]
        elif self.equal:
            lines = [f"{TITLES[self.loss]} times {self.factor:.10g} ({setting})"]
        else:
            lines = [f"differs from {TITLES[self.loss]} ({setting}), factor {self.factor:.10g}:"]
            lines += [f"  - {difference}" for difference in self.differences]
        lines += [f"the same function is {other}" for other in self.also]
        return "\n".join([*lines, *(self.counterexample or ())])


def conformance(
    loss_fn: LossFunction,
    *,
    tau: float = 0.1,
    margin: float = 0.0,
    negatives: int | None = None,
    against: str = "infonce",
    seed: int = 0,
) -> Conformance:
    """Compare a loss function with the known losses.

    Parameters
    ----------
    loss_fn : callable
        ``loss_fn(f_1, f_plus, f_minus)`` of float64 tensors ``(B, n)``, ``(B, n)`` and ``(B, n)`` (or ``(B, H, n)``),
        which gives a scalar.
    tau, margin : float
        Temperature and ``r_0`` that the known losses are taken with; they are not estimated.
    negatives : int, optional
        H; without it ``f_minus`` has no axis of negatives.
    against : str
        Known loss of the counterexample where no form fits.
    seed : int
        Of the batches.

    Returns
    -------
    Conformance

    Raises
    ------
    InputError
        A function that fails, gives no finite scalar, or is none; a parameter that is not allowed.

    Source
    ------
    Statement 2; arXiv 2010.00578, Theorem 2.

    Examples
    --------
    >>> def twice(f_1, f_plus, f_minus):
    ...     return ((f_1 - f_plus) ** 2).sum(-1).mean() - ((f_1 - f_minus) ** 2).sum(-1).mean()
    >>> print(conformance(twice))
    the simple loss times 2 (tau = 0.1, r_0 = 0)
    """
    setting = _checked(loss_fn, tau, margin, negatives, against, seed)
    first, fresh = _batches(*setting, len(SHAPES), 0), _batches(*setting, 2 * len(SHAPES), 1)
    found, confirming = (_called(loss_fn, batches, negatives) for batches in (first, fresh))
    best: dict[str, tuple[Form, float]] = {}
    for form in forms():
        factor = _factor(_values(form, first, tau, margin), found)
        if factor is None or not _agree(_values(form, fresh, tau, margin), confirming, factor):
            continue
        kept = best.get(form.loss)
        if kept is None or _count(form, factor) < _count(*kept):
            best[form.loss] = (form, factor)
    ranked = sorted(best.values(), key=lambda pair: _count(*pair))
    chosen, factor = ranked[0] if ranked else (None, None)
    base = Form(chosen.loss if chosen else against)
    differences = _differences(chosen, factor) if chosen and factor else ()
    known = _values(base, first, tau, margin)
    differs = chosen is None or differences
    counterexample = _counterexample(first, found, known, base.loss) if differs else None
    also = tuple(_described(*pair) for pair in ranked[1:])
    return Conformance(chosen.loss if chosen else None, factor, differences, also, counterexample, tau, margin)


def _checked(
    loss_fn: Any, tau: float, margin: float, negatives: int | None, against: str, seed: int
) -> tuple[int, int, float]:
    """Seed, H and the scale of outputs at which r / tau is of order one."""
    if not callable(loss_fn):
        raise InputError(f"loss_fn={loss_fn!r:.60} of conformance: must be callable")
    if against not in TITLES:
        raise InputError(f"against={against!r} of conformance: must be one of {', '.join(TITLES)}")
    spec = numeric.loss_spec("triplet", tau=tau, margin=margin)
    count = 1 if negatives is None else integer(negatives, "negatives", 1)
    return integer(seed, "seed", 0), count, spec.tau**0.5


def _batches(seed: int, negatives: int, scale: float, count: int, stream: int) -> list[Batch]:
    """Random outputs of several sizes, widths and scales."""
    generator = torch.Generator().manual_seed(2 * seed + stream)
    found = []
    for index in range(count):
        size, width = SHAPES[(index + stream) % len(SHAPES)]
        spread = scale * SCALES[index % len(SCALES)]
        draw = [
            spread * torch.randn(*shape, generator=generator, dtype=torch.float64)
            for shape in ((size, width), (size, width), (size, negatives, width))
        ]
        found.append((draw[0], draw[1], draw[2]))
    return found


def _called(loss_fn: LossFunction, batches: Sequence[Batch], negatives: int | None) -> list[float]:
    """The function on each batch; whatever goes wrong there is the input's fault."""
    found = []
    for f_1, f_plus, f_minus in batches:
        given = f_minus[:, 0] if negatives is None else f_minus
        where = f"loss_fn on f_1 {tuple(f_1.shape)}, f_minus {tuple(given.shape)}"
        try:
            result = loss_fn(f_1.clone(), f_plus.clone(), given.clone())
            number = float(result)
        except Exception as error:  # a function of the user's may raise anything
            raise InputError(f"{where}: must give a scalar, raised {type(error).__name__}: {error}") from error
        if not abs(number) < float("inf"):
            raise InputError(f"{where}: gives {number}, must be finite")
        found.append(number)
    return found


def _values(form: Form, batches: Sequence[Batch], tau: float, margin: float) -> list[float]:
    return [value(form, *batch, tau, margin) for batch in batches]


def _factor(known: Sequence[float], found: Sequence[float]) -> float | None:
    """The one factor with ``found = factor * known``, or None."""
    largest = max(range(len(known)), key=lambda i: abs(known[i]))
    if known[largest] == 0:
        return None
    factor = found[largest] / known[largest]
    return factor if factor != 0 and _agree(known, found, factor) else None


def _agree(known: Sequence[float], found: Sequence[float], factor: float) -> bool:
    """Equality to rounding, relative to the size of the values."""
    size = max(map(abs, found))
    return all(abs(b - factor * a) <= TOLERANCE * (abs(b) + 1e-3 * size) for a, b in zip(known, found, strict=True))


def _differences(form: Form, factor: float) -> tuple[str, ...]:
    return form.modifications + ((NAMES["sign", "reversed"],) if factor < 0 else ())


def _count(form: Form, factor: float) -> int:
    return len(_differences(form, factor))


def _described(form: Form, factor: float) -> str:
    differences = _differences(form, factor)
    ending = f" with {'; '.join(differences)}" if differences else ""
    return f"{TITLES[form.loss]} times {factor:.10g}{ending}"


def _counterexample(
    batches: Sequence[Batch], found: Sequence[float], known: Sequence[float], loss: str
) -> tuple[str, str]:
    """The two batches whose ratios differ most: no positive constant can mend both."""
    ratios = [b / a if a else float("inf") for a, b in zip(known, found, strict=True)]
    low, high = min(range(len(ratios)), key=ratios.__getitem__), max(range(len(ratios)), key=ratios.__getitem__)
    if low == high:
        high = len(ratios) - 1

    def line(i: int) -> str:
        size = f"batch {i}, B = {len(batches[i][0])}, n = {batches[i][0].shape[1]}"
        return f"{size}: the function gives {found[i]:.10g}, {TITLES[loss]} {known[i]:.10g}, ratio {ratios[i]:.6g}"

    return line(low), line(high)
