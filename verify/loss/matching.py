"""Match a torch function with the known losses and their common modifications.

A match is up to a factor, a constant or another temperature, which are fitted on some batches and have to explain fresh
ones. A fit without a constant at the given temperature is preferred to one with a constant, and that to one at another
temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

import numeric
from hltm.base.errors import InputError

Batch = tuple[Tensor, Tensor, Tensor]
LossFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
ARGUMENTS = ("f_1", "f_plus", "f_minus")
# Far above the rounding of float64, far below the spacing of float32.
MOVED = 1e-13
TOLERANCE, SINGLE = 1e-9, 2e-5
# The temperatures that are tried, relative to the given one.
GRID = tuple(10 ** (step / 12) for step in range(-30, 31))
HALVINGS = 60


@dataclass(frozen=True)
class Answer:
    """The value and the gradients of a function on one batch; `reason` says why there are none."""

    value: float
    gradients: tuple[Tensor, ...] | None
    reason: str = ""


def answers(loss_fn: LossFunction, batches: Sequence[Batch], negatives: int | None) -> list[Answer]:
    """The function and its gradients on each batch."""
    return [_answer(loss_fn, _arguments(batch, negatives)) for batch in batches]


def in_single_precision(loss_fn: LossFunction, batches: Sequence[Batch], negatives: int | None) -> bool:
    """Whether most values and gradients ignore a change of the inputs that float32 rounds away and float64 does not.

    Values alone are not enough: a large constant may hide the change.
    """
    # Not the seed of the batches: a change along the outputs themselves is one of scale, which cosines do not see.
    generator = torch.Generator().manual_seed(20100578)
    same = 0
    for batch in batches:
        argument = _arguments(batch, negatives)
        moved = [f + MOVED * f.std() * torch.randn(f.shape, generator=generator, dtype=f.dtype) for f in argument]
        same += _same(_answer(loss_fn, argument), _answer(loss_fn, moved))
    return 2 * same > len(batches)


def _same(first: Answer, second: Answer) -> bool:
    pairs = zip(first.gradients or (), second.gradients or (), strict=False)
    return first.value == second.value and all(torch.equal(a, b) for a, b in pairs)


def _arguments(batch: Batch, negatives: int | None) -> list[Tensor]:
    f_1, f_plus, f_minus = batch
    return [f_1, f_plus, f_minus[:, 0] if negatives is None else f_minus]


def _answer(loss_fn: LossFunction, arguments: Sequence[Tensor]) -> Answer:
    where = f"loss_fn on f_1 {tuple(arguments[0].shape)}, f_minus {tuple(arguments[2].shape)}"
    with torch.inference_mode(False), torch.enable_grad():
        leaves = [f.clone().requires_grad_() for f in arguments]
        reason = ""
        try:
            result: Any = loss_fn(*(leaf.clone() for leaf in leaves))
        except Exception as error:  # of the user's code; NumPy, for one, takes no tensor that has a gradient
            reason = f"it fails on outputs that require one ({type(error).__name__})"
            result = _plainly(loss_fn, arguments, where)
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


def _plainly(loss_fn: LossFunction, arguments: Sequence[Tensor], where: str) -> Any:
    """The function on tensors without gradients."""
    try:
        return loss_fn(*(f.clone() for f in arguments))
    except (Exception, SystemExit) as error:
        raise InputError(f"{where}: must give a scalar, raised {type(error).__name__}: {error}") from error


def _scalar(result: Any, where: str) -> float:
    """The result as a finite real number; InputError if it is anything else."""
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


# Known losses, and their common modifications.

TITLES = {
    "simple": "the simple loss",
    "triplet": "the soft triplet loss",
    "infonce": "InfoNCE",
    "ntxent": "NT-Xent over the batch",
    "ntxent-given": "NT-Xent over the given negatives",
}
NAMES = {
    ("log", "none"): "no logarithm: minus the softmax itself",
    ("log", "hinge"): "the maximum with 0 in place of the logarithm (hinge)",
    ("batch", "means"): "batch-mean distances: the loss of the mean distances, not the mean of the losses",
    ("distance", "mean"): "average over dimensions in place of 1/2: r = mean of squares",
    ("distance", "sum"): "1/2 is missing: r = sum of squares",
    ("tau", "missing"): "tau is missing",
    ("tau", "inverted"): "tau is inverted: r tau in place of r / tau",
    ("reduction", "sum"): "sum over the batch in place of the mean",
    ("outputs", "normalised"): "normalised outputs",
    ("outputs", "raw"): "outputs are not normalised: inner products in place of cosines",
    ("outputs", "distances"): "distances of outputs as they are in place of cosines",
    ("views", "anchors"): "one direction: only f_1 are anchors (negatives from both views)",
    ("views", "across"): "one direction: f_1 against f_plus of the whole batch (B - 1 negatives)",
    ("views", "both"): "f_1 against f_plus of the whole batch and back: no negatives of the same view",
    ("sign", "reversed"): "the sign is reversed",
}
CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "simple": {"distance": ("half", "sum", "mean"), "outputs": ("", "normalised"), "reduction": ("mean", "sum")},
    "triplet": {
        "log": ("", "hinge"), "batch": ("samples", "means"), "distance": ("half", "sum", "mean"),
        "tau": ("", "missing", "inverted"), "outputs": ("", "normalised"), "reduction": ("mean", "sum"),
    },
    "infonce": {
        "log": ("", "none"), "batch": ("samples", "means"), "distance": ("half", "sum", "mean"),
        "tau": ("", "missing", "inverted"), "outputs": ("", "normalised"), "reduction": ("mean", "sum"),
    },
    "ntxent": {
        "log": ("", "none"), "tau": ("", "missing", "inverted"), "outputs": ("", "raw", "distances"),
        "views": ("", "anchors", "across", "both"), "reduction": ("mean", "sum"),
    },
    "ntxent-given": {
        "log": ("", "none"), "tau": ("", "missing", "inverted"), "outputs": ("", "raw"), "reduction": ("mean", "sum"),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """One loss with modifications; the defaults are the loss itself."""

    loss: str
    log: str = ""
    batch: str = "samples"
    distance: str = "half"
    tau: str = ""
    outputs: str = ""
    views: str = ""
    reduction: str = "mean"

    @property
    def modifications(self) -> tuple[str, ...]:
        result = ((f.name, getattr(self, f.name)) for f in fields(self))
        return tuple(NAMES[pair] for pair in result if pair in NAMES)


def forms() -> Iterator[Form]:
    """Every loss with every combination of modifications, each form once."""
    for loss, choices in CHOICES.items():
        for values in product(*choices.values()):
            form = Form(loss, **dict(zip(choices, values, strict=True)))
            if not (form.batch == "means" and form.reduction == "sum"):
                yield form


def value(form: Form, f_1: Tensor, f_plus: Tensor, f_minus: Tensor, tau: float, margin: float) -> float:
    """The form at one batch, as a number; arguments as in `tensor_value`."""
    return float(tensor_value(form, f_1, f_plus, f_minus, tau, margin))


def tensor_value(form: Form, f_1: Tensor, f_plus: Tensor, f_minus: Tensor, tau: float, margin: float) -> Tensor:
    """The form at one batch, differentiable."""
    used = {"": tau, "missing": 1.0, "inverted": 1 / tau}[form.tau]
    if form.loss in ("ntxent", "ntxent-given"):
        each = _cosines(form, f_1, f_plus, f_minus, used)
    else:
        each = _distances(form, f_1, f_plus, f_minus, used, margin)
    return each.mean() * (len(f_1) if form.reduction == "sum" else 1)


def _distances(form: Form, f_1: Tensor, f_plus: Tensor, f_minus: Tensor, tau: float, margin: float) -> Tensor:
    """Losses of distances, one for each sample (or one, of the batch means)."""
    if form.outputs == "normalised":
        f_1, f_plus, f_minus = (normalize(f, dim=-1) for f in (f_1, f_plus, f_minus))
    scale = {"half": 0.5, "sum": 1.0, "mean": 1.0 / f_1.shape[-1]}[form.distance]
    near = scale * (f_1 - f_plus).square().sum(-1)
    far = scale * (f_1[:, None] - f_minus).square().sum(-1)
    if form.batch == "means":
        near, far = near.mean(0, keepdim=True), far.mean(0, keepdim=True)
    if form.loss == "simple":
        return near - far.mean(-1)
    if form.loss == "triplet":
        excess = near[:, None] - far + margin
        soft = tau * torch.logaddexp(excess / tau, excess.new_zeros(()))
        return (excess.clamp_min(0) if form.log == "hinge" else soft).mean(-1)
    if form.log == "none":
        return -torch.softmax(-torch.cat([near[:, None], far], -1) / tau, -1)[:, 0]
    spec = numeric.loss_spec("infonce", tau=tau, negatives=far.shape[-1])
    return numeric.loss_value(spec, near, far)


def _cosines(form: Form, f_1: Tensor, f_plus: Tensor, f_minus: Tensor, tau: float) -> Tensor:
    """Cross entropies of similarities."""
    if not form.outputs:
        f_1, f_plus, f_minus = (normalize(f, dim=-1) for f in (f_1, f_plus, f_minus))
    if form.loss == "ntxent-given":
        near = (f_1 * f_plus).sum(-1, keepdim=True)
        logits = torch.cat([near, (f_1[:, None] * f_minus).sum(-1)], -1) / tau
        target = torch.zeros(len(f_1), dtype=torch.long)
    else:
        logits, target = _in_batch(form, f_1, f_plus, tau)
    chosen = torch.log_softmax(logits, -1).gather(-1, target[:, None])[:, 0]
    return -chosen.exp() if form.log == "none" else -chosen


def _in_batch(form: Form, f_1: Tensor, f_plus: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """A row of logits for each anchor, and which of them belongs to the positive."""
    count = len(f_1)
    both = torch.cat([f_1, f_plus])
    distances = 0.5 * (both[:, None] - both[None, :]).square().sum(-1)
    similarity = (-distances if form.outputs == "distances" else both @ both.T) / tau
    if form.views in ("across", "both"):
        across = similarity[:count, count:]
        logits = across if form.views == "across" else torch.cat([across, across.T])
        return logits, torch.arange(len(logits)) % count
    logits = similarity.masked_fill(torch.eye(2 * count, dtype=torch.bool), -torch.inf)
    target = torch.arange(2 * count).roll(count)
    return (logits[:count], target[:count]) if form.views == "anchors" else (logits, target)


@dataclass(frozen=True)
class Match:
    """``factor * form + constant`` at a temperature."""

    form: Form
    factor: float
    constant: float
    tau: float
    tau_given: float
    by_gradient: bool = False

    @property
    def differences(self) -> tuple[str, ...]:
        """Differences from the known loss in words."""
        result = list(self.form.modifications)
        if self.tau != self.tau_given:
            result.append(f"tau = {self.tau:.6g}, not {self.tau_given:g}")
        if self.factor < 0:
            result.append(NAMES["sign", "reversed"])
        if self.by_gradient:
            result.append("gradients equal, the values are not, and do not differ by one constant")
        return tuple(result)


@dataclass(frozen=True)
class Observed:
    """The answers of the function on batches, and the parameters of the known losses."""

    batches: Sequence[Batch]
    answers: Sequence[Answer]
    tau: float
    margin: float
    tolerance: float

    @property
    def values(self) -> list[float]:
        return [answer.value for answer in self.answers]

    def known(self, form: Form, tau: float) -> list[float]:
        return [value(form, *batch, tau, self.margin) for batch in self.batches]

    def gradients(self, form: Form, tau: float) -> list[list[Tensor]]:
        return [_gradients(form, batch, tau, self.margin) for batch in self.batches]


def matches(first: Observed, fresh: Observed) -> list[Match]:
    """The simplest form of each known loss that has the values of the function."""
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
        known, result = first.known(form, first.tau), first.values
        low, high = min(range(len(known)), key=known.__getitem__), max(range(len(known)), key=known.__getitem__)
        if known[low] == known[high]:
            continue
        factor = (result[high] - result[low]) / (known[high] - known[low])
        constant = sum(b - factor * a for a, b in zip(known, result, strict=True)) / len(known)
        # What is nearly constant fits anything times a tiny factor.
        varies = abs(result[high] - result[low]) > 1e-6 * abs(constant)
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
    if any(answer.gradients is None for answer in (*first.answers, *fresh.answers)):
        return
    for form in forms():
        if len(form.modifications) > 1:
            continue
        known, result = _flat(first.gradients(form, first.tau)), _flat([a.gradients or () for a in first.answers])
        place = int(known.abs().argmax())
        factor = float(result[place] / known[place]) if known[place] != 0 else 0.0
        if factor == 0 or not _near(result, factor * known, first.tolerance):
            continue
        again = _flat(fresh.gradients(form, first.tau)), _flat([a.gradients or () for a in fresh.answers])
        if _near(again[1], factor * again[0], fresh.tolerance):
            yield Match(form, factor, 0.0, first.tau, first.tau, by_gradient=True)


def _temperatures(form: Form, seen: Observed) -> Iterator[float]:
    """Temperatures at which the form has the function's ratio of values on two batches."""
    result = seen.values
    high = max(range(len(result)), key=lambda i: abs(result[i]))
    low = min(range(len(result)), key=lambda i: abs(result[i]))
    if result[high] == 0:
        return
    pair, wanted = replace(seen, batches=(seen.batches[high], seen.batches[low])), result[low] / result[high]

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


def _root(off: Callable[[float], float], left: float, right: float, at_left: float) -> float:
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        at_middle = off(middle)
        if at_left * at_middle <= 0:
            right = middle
        else:
            left, at_left = middle, at_middle
    return (left + right) / 2


def _factor(known: Sequence[float], values: Sequence[float]) -> float | None:
    """The one factor that explains the batch where the known loss is largest."""
    largest = max(range(len(known)), key=lambda i: abs(known[i]))
    return values[largest] / known[largest] if known[largest] and values[largest] else None


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


def _near(values: Tensor, known: Tensor, tolerance: float) -> bool:
    return bool((values - known).abs().max() <= 10 * tolerance * known.abs().max())
