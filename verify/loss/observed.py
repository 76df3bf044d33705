"""The answers of a function on batches, and their comparison with one form of a loss, to the rounding of both sides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from verify.loss.batches import OF_TINY_NORM, SCREEN, SINGLETON, Batch, Layout, stacked
from verify.loss.calls import Answer, Noise, Precision
from verify.loss.catalogue import (
    CATALOGUE,
    TRIPLES,
    Data,
    Form,
    head_of,
    pair_scores,
    reduced,
    reductions,
    setting_of,
    value,
)
from verify.loss.formula import Formula
from verify.loss.pairs import Setting

# Rounding errors are at most this many units of the size of what is rounded.
UNITS = 64.0
# A tolerance that is larger than this share of the loss decides nothing.
HIDDEN = 1e-3
# What varies by less than this share fits anything that saturates.
VARIED = 1e-6
LOOSE = {"double": 1e-6, "single": 1e-3, "half": 0.1}
# Exponentials of single precision end at 88, those of double precision at 709; below, they lose digits.
EXPONENT = {"double": 300.0, "single": 60.0, "half": 60.0}
ROUND = 10  # digits of a factor that is taken for a round number


@dataclass(frozen=True)
class Reference:
    """A form on one batch: value, gradients, the largest logit, and how large an error of rounding may be."""

    value: float
    gradients: tuple[Tensor, ...]
    logit: float
    size: float
    slope: float

    @property
    def finite(self) -> bool:
        return math.isfinite(self.value)


@dataclass(frozen=True)
class Observed:
    """The answers of a function on batches."""

    layout: Layout
    batches: Sequence[Batch]
    answers: Sequence[Answer]
    precision: Precision
    at: Setting
    noise: Noise
    references: dict[tuple[Form, float, bool, tuple], list[Reference]] = field(default_factory=dict)
    scores: dict[tuple[str, str, str], tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def values(self) -> list[float]:
        return [answer.value for answer in self.answers]

    @cached_property
    def screen(self) -> Data:
        return stacked(self.batches[:SCREEN])

    def screen_scores(self, form: Form) -> tuple[Tensor, Tensor]:
        """Scores on the batches of one shape, computed once for each kind of pairs."""
        key = (form.pairing, form.kind, form.batch)
        if key not in self.scores:
            with torch.no_grad():
                self.scores[key] = pair_scores(form, self.screen)
        return self.scores[key]

    def references_of(self, form: Form, at: Setting) -> list[Reference]:
        """The references that are computed."""
        return self.references[form, at.tau, at.torch_softplus, tuple(at.parameters.items())]

    def reference(self, form: Form, at: Setting, count: int | None = None) -> list[Reference]:
        """The form on the first batches, or on all of them; each is computed once."""
        key = (form, at.tau, at.torch_softplus, tuple(at.parameters.items()))
        done = self.references.setdefault(key, [])
        wanted = len(self.batches) if count is None else count
        done += [reference_of(form, batch, at) for batch in self.batches[len(done) : wanted]]
        return done


def reference_of(form: Form, batch: Batch, at: Setting) -> Reference:
    with torch.inference_mode(False), torch.enable_grad():
        leaves = [f.clone().requires_grad_() for f in batch.leaves]
        data = batch.with_leaves(leaves)
        used = setting_of(form, at)
        if form.group:
            total, logit, steep = value(form, data, at), 1 / used.tau if form.group.startswith("supcon") else 1.0, 1.0
        else:
            sp, sn = pair_scores(form, data)
            logit = max((float(s.detach().abs().max()) for s in (sp, sn) if s.numel()), default=0.0) / used.tau
            steep = _steepness(form, batch, used)
            total = _total(form, sp, sn, used, logit)
        slopes: Sequence[Tensor | None] = [None] * len(leaves)
        if total.requires_grad:
            slopes = torch.autograd.grad(total, leaves, allow_unused=True)
    gradients = tuple(torch.zeros_like(f) if g is None else g.detach() for f, g in zip(leaves, slopes, strict=True))
    number, count = float(total.detach()), len(leaves[0]) if form.reduction == "mean" else 1
    moment = sum(float((g * f.detach()).abs().nan_to_num(0.0).sum()) for g, f in zip(gradients, leaves, strict=True))
    largest = max((float(g.abs().max()) for g in gradients), default=0.0)
    front = used.tau if form.head == "triplet" else 1.0
    size = abs(number) + front * (1 + logit) + moment
    return Reference(number, gradients, logit, size, (1 + logit) * (largest + front * steep / count))


def _total(form: Form, sp: Tensor, sn: Tensor, used: Setting, logit: float) -> Tensor:
    """The form of scores; a formula is computed in mpmath where floats may overflow or cancel."""
    head = head_of(form)
    each = head(sp, sn, used)
    if isinstance(head, Formula) and (logit > 30 or not bool(each.isfinite().all())):
        values, near, far = head.exact(sp.detach(), sn.detach(), used)
        linear = near * (sp - sp.detach()) + (far * (sn - sn.detach())).sum(-1)
        each = values + linear
    return reduced(form, each, sp, sn)


def _steepness(form: Form, batch: Batch, used: Setting) -> float:
    """How much a logit changes with the outputs, at most."""
    outputs = [f.detach().reshape(-1, f.shape[-1]).norm(dim=-1) for f in batch.leaves]
    smallest, largest = min(float(f.min()) for f in outputs), max(float(f.max()) for f in outputs)
    if form.kind == "cosine" or form.kind.endswith("-n"):
        return 2 / (max(smallest, 1e-300) * used.tau)
    return (1.0 if form.kind == "root" else 2 * largest) / used.tau


# Comparison with one form on all batches.

AGREES, DIFFERS, OVERFLOWS, RAISES = "agrees", "differs", "overflows", "raises"
UNDEFINED, ROUNDED, NORM, ALONE = "undefined", "rounded", "norm", "alone"


@dataclass(frozen=True)
class Match:
    """``factor * form + constant`` at a temperature, with what the comparison says on every batch."""

    form: Form
    loss: str
    factor: float
    constant: float
    at: Setting
    changed: tuple[str, ...]
    differences: tuple[str, ...]
    outcomes: tuple[str, ...]
    resolution: float = 0.0
    by_gradient: bool = False

    @property
    def agreeing(self) -> int:
        return self.outcomes.count(AGREES)

    @property
    def wrong(self) -> list[int]:
        """Numbers of the batches with another value."""
        return [i for i, outcome in enumerate(self.outcomes) if outcome == DIFFERS]


def tolerance(seen: Observed, number: int, reference: Reference, factor: float) -> float:
    """How far the values may be apart by rounding alone."""
    units = UNITS * seen.precision.epsilon
    return units * (abs(seen.values[number]) + abs(factor) * reference.size) + 8 * seen.precision.values[number]


def outcomes(
    seen: Observed, form: Form, references: Sequence[Reference], factor: float, constant: float, least: int = 1
) -> tuple[tuple[str, ...], float]:
    """The outcome on each batch, and the largest tolerance relative to the size of the loss."""
    result, resolution = [], 0.0
    limit = EXPONENT[seen.precision.name]
    for number, (batch, answer, known) in enumerate(zip(seen.batches, seen.answers, references, strict=False)):
        if not known.finite or batch.size < least:
            result.append(UNDEFINED)
        elif answer.error:
            result.append(RAISES)
        elif batch.note == SINGLETON and not abs(answer.value - constant - factor * known.value) <= 1e-6:
            result.append(ALONE)
        elif not math.isfinite(answer.value):
            result.append(OVERFLOWS if known.logit > limit else DIFFERS)
        else:
            allowed = tolerance(seen, number, known, factor)
            natural = abs(factor) * max(abs(known.value), 1e-2 * known.size)
            if seen.precision.name != "double" and known.logit > limit:
                result.append(ROUNDED)
            elif abs(answer.value - constant - factor * known.value) <= allowed:
                result.append(AGREES if allowed <= HIDDEN * natural else ROUNDED)
            else:
                result.append(NORM if batch.note == OF_TINY_NORM and of_cosines(form) else DIFFERS)
            if batch.generic and result[-1] == AGREES:
                resolution = max(resolution, allowed / natural)
    return tuple(result), resolution


def _unless_noisy(seen: Observed, form: Form, at: Setting, fit: tuple[float, float], number: int, outcome: str) -> str:
    """An outcome, but for a difference that the rounding of the function explains."""
    if outcome != DIFFERS:
        return outcome
    factor, constant = fit
    gap = abs(seen.values[number] - constant - factor * seen.references_of(form, at)[number].value)
    noise, lost = seen.noise.at(number)[0], cancellation(seen, form, number, at)
    hidden = noise == math.inf or gap <= 8 * noise or gap <= abs(factor) * lost or lost > 1
    return ROUNDED if hidden else DIFFERS


def cancellation(seen: Observed, form: Form, number: int, at: Setting) -> float:
    """Relative error of a denominator from which the anchor itself, exp(1/tau), is subtracted after the sum."""
    data, used = seen.batches[number].data, setting_of(form, at)
    if form.group.startswith("supcon"):
        z = data.f_1 if data.f_plus is None else torch.cat([data.f_1, data.f_plus])
        pairs = replace(form, group="", pairing="views", kind="cosine")
        sp, sn = pair_scores(pairs, Data(z[: (len(z) + 1) // 2], z[len(z) // 2 :]))
    elif form.kind == "cosine" and form.pairing in ("views", "anchors"):
        sp, sn = pair_scores(form, data)
    else:
        return 0.0
    smallest = float(torch.logsumexp(torch.cat([sp.unsqueeze(-1), sn], -1) / used.tau, -1).min())
    return UNITS * seen.precision.epsilon * math.exp(min(1 / used.tau - smallest, 600.0))


def of_cosines(form: Form) -> bool:
    """Whether the outputs are normalised."""
    return form.kind == "cosine" or form.kind.endswith("-n") or form.group.startswith("supcon")


def _least(form: Form) -> int:
    return CATALOGUE[form.group].least + 1 if form.group in CATALOGUE and CATALOGUE[form.group].least > 1 else 1


def fitted(
    seen: Observed, form: Form, at: Setting, with_constant: bool = False, changed: tuple[str, ...] = ()
) -> Match | None:
    """The form with the factor (and constant) that the generic batches fix; None where most do not agree."""
    at_least = _least(form)
    rough = _factor_and_constant(seen, form, at, seen.reference(form, at, SCREEN)[:SCREEN], with_constant)
    if rough is None:
        return None
    first, _ = outcomes(seen, form, seen.reference(form, at, SCREEN)[:SCREEN], *rough, at_least)
    first = tuple(map(partial(_unless_noisy, seen, form, at, rough), range(len(first)), first))
    if first.count(AGREES) + first.count(ROUNDED) < SCREEN // 2 or AGREES not in first:
        return None
    references = seen.reference(form, at)
    fit = _factor_and_constant(seen, form, at, references, with_constant)
    if fit is None:
        return None
    result, resolution = outcomes(seen, form, references, *fit, at_least)
    generic = [outcome for outcome, batch in zip(result, seen.batches, strict=True) if batch.generic]
    if generic.count(AGREES) < SCREEN:
        return None
    result = tuple(map(partial(_unless_noisy, seen, form, at, fit), range(len(result)), result))
    generic = [outcome for outcome, batch in zip(result, seen.batches, strict=True) if batch.generic]
    if generic.count(AGREES) < 0.5 * (len(generic) - generic.count(ROUNDED)):
        return None
    return Match(form, "", *fit, at, changed, (), result, resolution)


def _factor_and_constant(
    seen: Observed, form: Form, at: Setting, references: Sequence[Reference], with_constant: bool
) -> tuple[float, float] | None:
    """The factor that explains the most exact values, or with a constant the largest and the smallest."""
    at_least = _least(form)
    places = [
        i for i, (batch, reference) in enumerate(zip(seen.batches, references, strict=False))
        if batch.generic and reference.finite and math.isfinite(seen.values[i]) and batch.size >= at_least
    ]  # fmt: skip
    if len(places) < SCREEN // 2:
        return None
    known = [references[i].value for i in places]
    values = [seen.values[i] for i in places]
    low, high = min(range(len(known)), key=known.__getitem__), max(range(len(known)), key=known.__getitem__)
    if with_constant:
        if known[low] == known[high]:
            return None
        factor = (values[high] - values[low]) / (known[high] - known[low])
        constant = sorted(b - factor * a for a, b in zip(known, values, strict=True))[len(known) // 2]
        if abs(values[high] - values[low]) <= VARIED * abs(constant):  # nearly constant: fits anything times nearly 0
            return None
        constant = _better(values, constant)
    else:
        largest = max(map(abs, known))
        if known[high] - known[low] <= VARIED * largest:
            return None
        blurred = [
            (UNITS * seen.precision.epsilon * references[i].size + cancellation(seen, form, i, at)) / abs(k)
            + 8 * seen.precision.values[i] / max(abs(seen.values[i]), 1e-300)
            for i, k in zip(places, known, strict=True) if k
        ]  # fmt: skip
        ratios = [v / k for k, v in zip(known, values, strict=True) if k]
        sharp = sorted(zip(blurred, ratios, strict=True))[: max(3, len(ratios) // 3)]
        factor, constant = sorted(ratio for _, ratio in sharp)[len(sharp) // 2], 0.0
    if not factor or not math.isfinite(factor):
        return None
    return rounded_factor(factor), constant


def _better(values: Sequence[float], constant: float) -> float:
    """A constant that is round to rounding is that number."""
    size = max(map(abs, values))
    rounded = (round(constant, digits) for digits in (0, 3, 6, ROUND))
    return next((near for near in rounded if abs(near - constant) <= 1e-12 * size), constant)


def rounded_factor(factor: float) -> float:
    """A round number in place of a factor that is one to rounding."""
    near = float(f"{factor:.{ROUND}g}")
    return near if abs(near - factor) <= 4e-15 * abs(factor) else factor


def gradient_tolerance(seen: Observed, number: int, reference: Reference, factor: float) -> float:
    """How far entries of gradients may be apart by rounding alone."""
    return UNITS * seen.precision.epsilon * abs(factor) * reference.slope + 8 * seen.precision.gradients[number]


def screened(seen: Observed, forms: Sequence[Form], at: Setting) -> Iterator[tuple[Form, Tensor]]:
    """Every form with its values on the batches of one shape."""
    with torch.no_grad():
        for form in forms:
            if form.group:
                yield form, value(form, seen.screen, at)
                continue
            sp, sn = seen.screen_scores(form)
            yield form, reduced(form, head_of(form)(sp, sn, setting_of(form, at)), sp, sn)


def target(seen: Observed) -> Tensor:
    return torch.tensor(seen.values[:SCREEN], dtype=torch.float64)


def reduced_fits(
    seen: Observed, form: Form, at: Setting, with_constant: bool = False, changed: tuple[str, ...] = ()
) -> Iterator[Match]:
    for reduction, summed in reductions(form, seen.layout.kind == TRIPLES and (seen.layout.negatives or 1) == 1):
        each = replace(form, reduction=reduction, summed=summed)
        match = fitted(seen, each, at, with_constant, changed)
        if match is not None and match.wrong and seen.precision.name == "double":
            other = fitted(seen, each, replace(at, torch_softplus=True), with_constant, changed)
            if other is not None and len(other.wrong) < len(match.wrong):
                match = other
        elif match is None and seen.precision.name == "double":
            match = fitted(seen, each, replace(at, torch_softplus=True), with_constant, changed)
        if match is not None:
            yield match
