"""Losses that are no functions of one positive and its negatives: SupCon, VICReg and Barlow Twins.

Every function takes further leading axes. An option is a deviation from the published formula; `verify.loss.faults`
has its words. Sources: SupCon arXiv 2004.11362 (equations 2 and 3), VICReg 2105.04906, Barlow Twins 2103.03230.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from verify.loss.pairs import Setting, scores

Options = frozenset[str]


def supcon_out(z: Tensor, labels: Tensor, at: Setting, options: Options) -> Tensor:
    """The mean over the positives outside of the logarithm."""
    logits, positive, denominator = _contrasts(z, labels, at, options)
    each = torch.where(positive, denominator.unsqueeze(-1) - logits, logits.new_zeros(()))
    count = positive.sum(-1)
    total = each.sum(-1) if "positives summed" in options else each.sum(-1) / count.clamp_min(1)
    return _over_anchors(total, count, options)


def supcon_in(z: Tensor, labels: Tensor, at: Setting, options: Options) -> Tensor:
    """The mean over the positives inside of the logarithm."""
    logits, positive, denominator = _contrasts(z, labels, at, options)
    count = positive.sum(-1)
    near = torch.logsumexp(logits.masked_fill(~positive, -torch.inf), -1)
    if "positives summed" not in options:
        near = near - count.to(near).log()
    near = torch.where(count > 0, near, denominator)
    return _over_anchors(denominator - near, count, options)


def _contrasts(z: Tensor, labels: Tensor, at: Setting, options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (N, N), which pairs are positive, and the logarithm of the denominator of every anchor."""
    kind = next((option for option in options if option in ("inner", "half", "half-n", "root")), "cosine")
    size = z.shape[-2]
    keys = z.unsqueeze(-3).expand(*z.shape[:-2], size, size, z.shape[-1])
    own = torch.eye(size, dtype=torch.bool)
    # The score of an anchor with itself may be that of a root, whose slope at 0 is infinite.
    logits = scores(kind, (z, z, torch.where(own[..., None], keys.detach() + 1, keys) if kind == "root" else keys))[1]
    logits = logits / at.tau
    same = labels[:, None] == labels[None, :]
    positive = same & ~own
    if "self kept" in options:
        allowed = torch.ones_like(own)
    elif "positives left out" in options:
        allowed = ~same
    else:
        allowed = ~own
    return logits, positive, torch.logsumexp(logits.masked_fill(~allowed, -torch.inf), -1)


def _over_anchors(each: Tensor, count: Tensor, options: Options) -> Tensor:
    """Mean over the anchors that have a positive."""
    anchors = count > 0
    size = each.shape[-1]
    if "first anchors" in options:
        anchors = anchors & (torch.arange(size) < size // 2)
    total = torch.where(anchors, each, each.new_zeros(())).sum(-1)
    number = size if "all anchors counted" in options else int(anchors.sum())
    return total if "sum" in options else total / number


def vicreg_terms(first: Tensor, second: Tensor, options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """Invariance, variance and covariance term without their weights."""
    size, width = first.shape[-2:]
    invariance = (first - second).square().sum((-2, -1)) / size
    if "as published code" in options:
        invariance = invariance / width
    variance = covariance = first.new_zeros(())
    for f in (first, second):
        centred = f if "not centred" in options else f - f.mean(-2, keepdim=True)
        spread = centred.square().sum(-2) / (size if "biased variance" in options else size - 1)
        if "variance for deviation" not in options:
            spread = (spread + (0.0 if "no epsilon" in options else 1e-4)).sqrt()
        below = (1 - spread).clamp_min(0).mean(-1)
        variance = variance + (below / 2 if "as published code" in options else below)
        matrix = centred.mT @ centred / (size if "biased covariance" in options else size - 1)
        covariance = covariance + _off_diagonal(matrix) / (1 if "covariance not divided" in options else width)
    return invariance, variance, covariance


def barlow_terms(first: Tensor, second: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """The diagonal and the off-diagonal term, the latter without its weight."""
    size = first.shape[-2]
    views = []
    for f in (first, second):
        centred = f if "not centred" in options else f - f.mean(-2, keepdim=True)
        spread = centred.square().sum(-2, keepdim=True) / (size - 1 if "unbiased deviation" in options else size)
        if "epsilon 1e-5" in options:
            spread = spread + 1e-5
        views.append(centred if "not standardised" in options else centred / spread.sqrt())
    matrix = views[0].mT @ views[1] / (size - 1 if "divided by B - 1" in options else size)
    return (1 - matrix.diagonal(dim1=-2, dim2=-1)).square().sum(-1), _off_diagonal(matrix)


def _off_diagonal(matrix: Tensor) -> Tensor:
    return matrix.square().sum((-2, -1)) - matrix.diagonal(dim1=-2, dim2=-1).square().sum(-1)


def vicreg(first: Tensor, second: Tensor, at: Setting, options: Options) -> Tensor:
    weights = [at.parameters[name] for name in ("invariance", "variance", "covariance")]
    return sum(
        (w * term for w, term in zip(weights, vicreg_terms(first, second, options), strict=True)), torch.tensor(0.0)
    )


def barlow(first: Tensor, second: Tensor, at: Setting, options: Options) -> Tensor:
    near, far = barlow_terms(first, second, options)
    return near + at.parameters["off_diagonal"] * far


SUPCON: Mapping[str, Callable[[Tensor, Tensor, Setting, Options], Tensor]] = {
    "supcon-out": supcon_out, "supcon-in": supcon_in,
}  # fmt: skip
REDUNDANCY: Mapping[str, Callable[[Tensor, Tensor, Setting, Options], Tensor]] = {"vicreg": vicreg, "barlow": barlow}
OPTIONS: Mapping[str, tuple[Options, ...]] = {
    name: tuple(map(frozenset, sets))
    for name, sets in {
        "vicreg": (
            (), ("biased variance",), ("biased covariance",), ("biased variance", "biased covariance"),
            ("variance for deviation",), ("no epsilon",), ("covariance not divided",), ("not centred",),
        ),
        "barlow": (
            (), ("epsilon 1e-5",), ("unbiased deviation",), ("unbiased deviation", "divided by B - 1"),
            ("not centred",), ("not standardised",), ("not centred", "not standardised"), ("divided by B - 1",),
        ),
    }.items()
}  # fmt: skip
