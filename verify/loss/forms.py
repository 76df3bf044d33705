"""The known losses of a batch of outputs, and what people do differently: a small lattice of named modifications.

Outputs ``f_1``, ``f_plus`` (B, n) and ``f_minus`` (B, H, n). The unmodified losses are those of statement 2, averaged
over the batch, with ``r = 1/2 ||f - f'||^2``; NT-Xent is the cross entropy of cosines, over the negatives of the
batch (both directions, ``f_minus`` not used) or over the given ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import normalize

import numeric

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
        """What differs from the loss itself, in words.

        Examples
        --------
        >>> Form("infonce", log="none").modifications
        ('no logarithm: minus the softmax itself',)
        """
        found = ((f.name, getattr(self, f.name)) for f in fields(self))
        return tuple(NAMES[pair] for pair in found if pair in NAMES)


def forms() -> Iterator[Form]:
    """Every loss with every combination of modifications, each form once."""
    for loss, choices in CHOICES.items():
        for values in product(*choices.values()):
            form = Form(loss, **dict(zip(choices, values, strict=True)))
            if not (form.batch == "means" and form.reduction == "sum"):
                yield form


def value(form: Form, f_1: Tensor, f_plus: Tensor, f_minus: Tensor, tau: float, margin: float) -> float:
    """The form at one batch, as a number; arguments as in `tensor_value`.

    Examples
    --------
    >>> zero = torch.zeros(2, 3, dtype=torch.float64)
    >>> round(value(Form("infonce"), zero, zero, zero[:, None], 1.0, 0.0), 6)  # log 2
    0.693147
    """
    return float(tensor_value(form, f_1, f_plus, f_minus, tau, margin))


def tensor_value(form: Form, f_1: Tensor, f_plus: Tensor, f_minus: Tensor, tau: float, margin: float) -> Tensor:
    """The form at one batch, differentiable.

    Parameters
    ----------
    f_1, f_plus : Tensor
        ``(B, n)``, float64.
    f_minus : Tensor
        ``(B, H, n)``.
    tau, margin : float
        Temperature and ``r_0``.

    Examples
    --------
    >>> unit = torch.eye(3, dtype=torch.float64, requires_grad=True)
    >>> far = torch.zeros(3, 1, 3, dtype=torch.float64)
    >>> bool(tensor_value(Form("infonce"), unit, unit.detach(), far, 1.0, 0.0).requires_grad)
    True
    """
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
