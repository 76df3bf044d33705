"""Compare a torch function with the known losses, up to a factor.

The function is compared on random batches with every form of `verify.loss.matching`: values first, then the gradients
with respect to every output. A factor that is fitted on some batches has to explain fresh ones to rounding. Batches
differ in size, width and scale, so that a sum over the batch or a mean over dimensions is not mistaken for a factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

import numeric
from hltm.base.checks import integer
from hltm.base.errors import InputError
from verify.engine import html
from verify.loss.matching import (
    ARGUMENTS,
    SINGLE,
    TITLES,
    TOLERANCE,
    Batch,
    Form,
    LossFunction,
    Match,
    Observed,
    answers,
    in_single_precision,
    matches,
)

SHAPES = ((4, 3), (6, 5), (3, 7), (5, 4), (7, 3), (2, 6))  # (B, n); no n = 2, where 1/n is 1/2
SCALES = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Conformance:
    """The known loss that a function computes, and how it differs from it.

    Attributes
    ----------
    loss : str or None
        The known loss that it equals or is closest to in modifications ("infonce", ...); None where no form fits.
    factor : float or None
        The function is this factor times that form.
    differences : tuple of str
        Differences from the loss, those of gradients included; empty where the function equals it up to the factor
        and an additive constant.
    also : tuple of str
        Descriptions in terms of other known losses.
    counterexample : tuple of two str, or None
        Two batches and the values (or norms of gradients) there: where the function differs from the loss.
    tau, margin : float
        Temperature and ``r_0`` of the known losses.
    constant : float
        Constant that the function adds to the known loss.
    notes : tuple of str
        Differences that do not make it another loss: a constant, single precision.

    Examples
    --------
    >>> result = Conformance("infonce", 2.0, (), (), None, tau=0.1, margin=0.0)
    >>> result.equal
    True
    """

    loss: str | None
    factor: float | None
    differences: tuple[str, ...]
    also: tuple[str, ...]
    counterexample: tuple[str, str] | None
    tau: float
    margin: float
    constant: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether the function is a positive factor times a known loss, up to a constant, with the gradients of it."""
        return self.loss is not None and not self.differences

    def _repr_html_(self) -> str:
        return "".join(f"<div>{html.escaped(line)}</div>" for line in str(self).splitlines())

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
        lines += self.notes
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
        which gives a real scalar.
    tau, margin : float
        Temperature and ``r_0`` of the known losses. Where none of them fits, the temperature is fitted, and is one
        of the differences.
    negatives : int, optional
        H; without it ``f_minus`` has no axis of negatives.
    against : str
        Known loss to prefer where several fit equally well, and to give the counterexample where none does.
    seed : int
        Of the batches.

    Returns
    -------
    Conformance

    Raises
    ------
    InputError
        `loss_fn` is not callable, raises, or gives no finite real scalar; a parameter is not allowed.

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
    result, confirming = (answers(loss_fn, batches, negatives) for batches in (first, fresh))
    single = in_single_precision(loss_fn, first, negatives)
    tolerance = SINGLE if single else TOLERANCE
    seen = Observed(first, result, tau, margin, tolerance)
    ranked = matches(seen, Observed(fresh, confirming, tau, margin, tolerance))
    ranked.sort(key=lambda match: (len(match.differences), match.form.loss != against))
    if not ranked:
        return Conformance(None, None, (), (), _counterexample(seen, against), tau, margin)
    return _concluded(ranked[0], ranked[1:], seen, single)


def _concluded(match: Match, others: Sequence[Match], seen: Observed, single: bool) -> Conformance:
    """The match in words, with the differences of its gradients."""
    title = TITLES[match.form.loss]
    of_gradients = gradient_differences(match, seen, title)
    counterexample = None
    if match.differences:
        counterexample = _counterexample(seen, match.form.loss)
    elif of_gradients:
        counterexample = gradient_lines(match, seen, title)
    notes = []
    if match.constant:
        same = "" if of_gradients else "; gradients identical"
        notes.append(f"equal up to the constant {match.constant:.6g}{same}")
    if single:
        notes.append("agrees to single precision: the function rounds to float32")
    return Conformance(
        match.form.loss, match.factor, (*match.differences, *of_gradients), tuple(map(_described, others)),
        counterexample, seen.tau, seen.margin, match.constant, tuple(notes),
    )  # fmt: skip


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
    generator = torch.Generator().manual_seed((2 * seed + stream) % 2**64)
    result = []
    for index in range(count):
        size, width = SHAPES[(index + stream) % len(SHAPES)]
        spread = scale * SCALES[index % len(SCALES)]
        draw = [
            spread * torch.randn(*shape, generator=generator, dtype=torch.float64)
            for shape in ((size, width), (size, width), (size, negatives, width))
        ]
        result.append((draw[0], draw[1], draw[2]))
    return result


def _described(match: Match) -> str:
    ending = f" with {'; '.join(match.differences)}" if match.differences else ""
    return f"{TITLES[match.form.loss]} times {match.factor:.10g}{ending}"


def _counterexample(seen: Observed, loss: str) -> tuple[str, str]:
    """The two batches whose ratios differ most: no constant factor explains both."""
    result, known = seen.values, seen.known(Form(loss), seen.tau)
    ratios = [b / a if a else float("inf") for a, b in zip(known, result, strict=True)]
    low, high = min(range(len(ratios)), key=ratios.__getitem__), max(range(len(ratios)), key=ratios.__getitem__)
    if low == high:
        high = len(ratios) - 1

    def line(i: int) -> str:
        size = f"batch {i}, B = {len(seen.batches[i][0])}, n = {seen.batches[i][0].shape[1]}"
        return f"{size}: the function gives {result[i]:.10g}, {TITLES[loss]} {known[i]:.10g}, ratio {ratios[i]:.6g}"

    return line(low), line(high)


def gradient_differences(match: Match, seen: Observed, title: str) -> tuple[str, ...]:
    """What differs, in words; empty where the gradients are those of the match."""
    reason = next((answer.reason for answer in seen.answers if answer.gradients is None), None)
    prefix = "" if match.differences else "values equal, "
    if reason is not None:
        return (f"{prefix}no gradient: {reason}",)
    known = seen.gradients(match.form, match.tau)
    largest = abs(match.factor) * max(float(g.abs().max()) for each in known for g in each)
    result = []
    for place, name in enumerate(ARGUMENTS):
        ours = torch.cat([a.gradients[place].reshape(-1) for a in seen.answers if a.gradients is not None])
        theirs = match.factor * torch.cat([each[place].reshape(-1) for each in known])
        words = _compared(ours, theirs, 10 * seen.tolerance * largest, title)
        if words:
            result.append(f"{prefix}gradient with respect to {name} {words}")
    return tuple(result)


def _compared(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float, title: str) -> str:
    """How one gradient differs from another; empty where it does not."""
    if not bool(torch.isfinite(ours).all()):
        return "is not finite"
    gap = float((ours - theirs).abs().max())
    if gap <= tolerance:
        return ""
    if float(ours.abs().max()) == 0:
        return "is zero: stop-gradient"
    place = int(theirs.abs().argmax())
    if float(theirs[place]) == 0:
        return f"is not zero, that of {title} is"
    ratio = float(ours[place] / theirs[place])
    if float((ours - ratio * theirs).abs().max()) <= tolerance:
        return f"is {ratio:.6g} times that of {title}"
    return f"differs from that of {title} by up to {gap / float(theirs.abs().max()):.1%} of its size"


def gradient_lines(match: Match, seen: Observed, title: str) -> tuple[str, str]:
    """The norms of the gradients on the first two batches, the function's and the known loss's."""
    known = seen.gradients(match.form, match.tau)

    def line(i: int) -> str:
        gradients = seen.answers[i].gradients
        ours = "none" if gradients is None else ", ".join(f"{float(g.norm()):.6g}" for g in gradients)
        theirs = ", ".join(f"{abs(match.factor) * float(g.norm()):.6g}" for g in known[i])
        return f"batch {i}: norms of the gradients ({', '.join(ARGUMENTS)}): {ours}; {title}: {theirs}"

    return line(0), line(1)
