"""Losses of anchors, positives and negatives: which pairs a loss compares, their scores, and the loss of the scores.

Every function takes further leading axes, so that many batches of one shape, or many temperatures, are one call.
References, by the names below: InfoNCE arXiv 1807.03748, NT-Xent and NT-Logistic 2002.05709, CLIP 2103.00020, DCL
2110.06848, debiased 2007.00224, hard negatives 2010.04592, SigLIP 2303.15343, MINE 1801.04062, spectral 2106.04156,
circle 2002.10857, simple and soft triplet 2010.00578.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

PARAMETERS: Mapping[str, float] = {
    "margin": 0.0, "tau_plus": 0.1, "beta": 1.0, "bias": -10.0, "gamma": 80.0, "relaxation": 0.25,
    "invariance": 25.0, "variance": 25.0, "covariance": 1.0, "off_diagonal": 5e-3,
}  # fmt: skip
"""Parameters of the known losses, and the values that they have unless others are given."""

Rows = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Setting:
    """Temperature and parameters at which a loss is evaluated; `torch_softplus` is linear above 20, as torch's is."""

    tau: float
    parameters: Mapping[str, float]
    torch_softplus: bool = False

    def soft(self, x: Tensor) -> Tensor:
        """``log(1 + exp(x))``."""
        return softplus(x) if self.torch_softplus else torch.logaddexp(x, x.new_zeros(()))


# Pairs: anchors (R, n), positives (R, n) and negatives (R, K, n).


def given(f_1: Tensor, f_plus: Tensor, f_minus: Tensor) -> Rows:
    return f_1, f_plus, f_minus


def first_only(f_1: Tensor, f_plus: Tensor, f_minus: Tensor) -> Rows:
    return f_1, f_plus, f_minus[..., :1, :]


def first_row(f_1: Tensor, f_plus: Tensor, f_minus: Tensor) -> Rows:
    return f_1, f_plus, f_minus[..., :1, :, :].expand(f_minus.shape)


def pool(f_1: Tensor, f_plus: Tensor, f_minus: Tensor) -> Rows:
    shape = (*f_minus.shape[:-3], 1, f_minus.shape[-3] * f_minus.shape[-2], f_minus.shape[-1])
    return f_1, f_plus, f_minus.reshape(shape).expand(*shape[:-3], f_1.shape[-2], *shape[-2:])


def _chosen(keys: Tensor, allowed: Tensor) -> Tensor:
    """The keys of every row that a mask (R, keys) allows, as many for each row: (R, K, n)."""
    count = int(allowed[0].sum())
    places = torch.arange(allowed.shape[1]).expand(allowed.shape)[allowed].reshape(len(allowed), count)
    return keys[..., places, :]


def _across(anchors: Tensor, keys: Tensor) -> Rows:
    return anchors, keys, _chosen(keys, ~torch.eye(anchors.shape[-2], dtype=torch.bool))


def across(f_1: Tensor, f_plus: Tensor, f_minus: Tensor | None = None) -> Rows:
    return _across(f_1, f_plus)


def back(f_1: Tensor, f_plus: Tensor, f_minus: Tensor | None = None) -> Rows:
    return _across(f_plus, f_1)


def cross(f_1: Tensor, f_plus: Tensor, f_minus: Tensor | None = None) -> Rows:
    there, again = _across(f_1, f_plus), _across(f_plus, f_1)
    return (
        torch.cat([there[0], again[0]], -2), torch.cat([there[1], again[1]], -2), torch.cat([there[2], again[2]], -3)
    )  # fmt: skip


def _views(f_1: Tensor, f_plus: Tensor, own: bool) -> Rows:
    """Every view against all others; `own` leaves the anchor itself among the negatives."""
    both, size = torch.cat([f_1, f_plus], -2), f_1.shape[-2]
    same = torch.eye(2 * size, dtype=torch.bool)
    allowed = ~same.roll(size, 1) if own else ~(same | same.roll(size, 1))
    return both, both.roll(size, -2), _chosen(both, allowed)


def views(f_1: Tensor, f_plus: Tensor, f_minus: Tensor | None = None) -> Rows:
    return _views(f_1, f_plus, False)


def views_and_self(f_1: Tensor, f_plus: Tensor, f_minus: Tensor | None = None) -> Rows:
    return _views(f_1, f_plus, True)


def views_of_first(f_1: Tensor, f_plus: Tensor, f_minus: Tensor | None = None) -> Rows:
    size = f_1.shape[-2]
    anchors, positives, negatives = _views(f_1, f_plus, False)
    return anchors[..., :size, :], positives[..., :size, :], negatives[..., :size, :, :]


def within(f_1: Tensor, f_plus: Tensor, f_minus: Tensor | None = None) -> Rows:
    return f_1, f_plus, _across(f_1, f_1)[2]


PAIRINGS: Mapping[str, Callable[..., Rows]] = {
    "given": given, "first": first_only, "row": first_row, "pool": pool, "views": views, "anchors": views_of_first,
    "across": across, "back": back, "cross": cross, "self": views_and_self, "within": within,
}  # fmt: skip


# Scores of pairs: minus a distance, or a similarity.


def scores(kind: str, rows: Rows) -> tuple[Tensor, Tensor]:
    """Scores of the positives (R,) and of the negatives (R, K)."""
    if kind == "cosine" or kind.endswith("-n"):
        anchor, positive, negative = (normalize(f, dim=-1, eps=0.0) for f in rows)
    else:
        anchor, positive, negative = rows
    measure = _MEASURES[kind.removesuffix("-n")]
    return measure(anchor, positive), measure(anchor.unsqueeze(-2), negative)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().sum(-1)


_MEASURES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "half": lambda a, b: -0.5 * _squares(a, b),
    "sum": lambda a, b: -_squares(a, b),
    "mean": lambda a, b: -_squares(a, b) / a.shape[-1],
    "root": lambda a, b: -_squares(a, b).sqrt(),
    "cosine": lambda a, b: (a * b).sum(-1),
    "inner": lambda a, b: (a * b).sum(-1),
    "half+1e-6": lambda a, b: -0.5 * (a - b + 1e-6).square().sum(-1),
    "root+1e-6": lambda a, b: -(a - b + 1e-6).square().sum(-1).sqrt(),
}


# Losses of scores: of each row (R,), or one of the whole batch.

Head = Callable[[Tensor, Tensor, Setting], Tensor]


def _logits(sp: Tensor, sn: Tensor, at: Setting) -> tuple[Tensor, Tensor]:
    return sp / at.tau, sn / at.tau


def _gap(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    """``log sum_k exp(ln_k) - lp``."""
    return torch.logsumexp(sn / at.tau, -1) - sp / at.tau


def simple(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return sn.mean(-1) - sp


def triplet(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return at.tau * at.soft((sn - sp.unsqueeze(-1) + at.parameters["margin"]) / at.tau).mean(-1)


def hinge(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return (sn - sp.unsqueeze(-1) + at.parameters["margin"]).clamp_min(0).mean(-1)


def nce(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return at.soft(_gap(sp, sn, at))


def no_log(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return -torch.sigmoid(-_gap(sp, sn, at))


def decoupled(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return _gap(sp, sn, at)


def positive_twice(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    gap = _gap(sp, sn, at)
    return torch.logaddexp(gap, gap.new_full((), math.log(2)))


def negatives_averaged(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return at.soft(_gap(sp, sn, at) - math.log(max(sn.shape[-1], 1)))


def over_batch(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    """A softmax over the rows in place of the negatives."""
    lp = sp / at.tau
    return torch.logsumexp(lp, -1, keepdim=True) - lp


def shift_across(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    """The largest logit of row j is subtracted from column j."""
    lp, ln = _logits(sp, sn, at)
    if ln.shape[-1] == ln.shape[-2] - 1:
        ln = _with_positive(lp, ln)
    if ln.shape[-1] != ln.shape[-2]:
        return torch.full_like(lp, torch.nan)
    largest = ln.detach().amax(-1)
    return torch.logsumexp(ln - largest.unsqueeze(-2), -1) - (lp - largest)


def _with_positive(lp: Tensor, ln: Tensor) -> Tensor:
    """The square matrix of logits with the positives on its diagonal."""
    size = lp.shape[-1]
    places = torch.arange(size).expand(size, size)[~torch.eye(size, dtype=torch.bool)].reshape(size, size - 1)
    return torch.diag_embed(lp).scatter_add(-1, places.expand(ln.shape), ln)


def logistic(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    lp, ln = _logits(sp, sn, at)
    return at.soft(-lp) + at.soft(ln).mean(-1)


def siglip(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    lp, ln = _logits(sp, sn, at)
    bias = at.parameters["bias"]
    return at.soft(-lp - bias) + at.soft(ln + bias).sum(-1)


def mine(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    lp, ln = _logits(sp, sn, at)
    count = max(ln.shape[-1] * ln.shape[-2], 1)
    return torch.logsumexp(ln, (-2, -1)) - math.log(count) - lp.mean(-1)


def spectral(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return sn.square().mean(-1) - 2 * sp


def quadratic(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return (1 - sp).square() + sn.square().mean(-1)


def circle(sp: Tensor, sn: Tensor, at: Setting, through: bool = False) -> Tensor:
    gamma, m = at.parameters["gamma"], at.parameters["relaxation"]
    near, far = (1 + m - sp).clamp_min(0), (sn + m).clamp_min(0)
    if not through:
        near, far = near.detach(), far.detach()
    return at.soft(torch.logsumexp(gamma * far * (sn - m), -1) - gamma * near * (sp - 1 + m))


def circle_through(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return circle(sp, sn, at, through=True)


def debiased(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return _corrected(sp, sn, at, None)


def hard(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return _corrected(sp, sn, at, at.parameters["beta"] / at.tau)


def hard_of_scores(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
    return _corrected(sp, sn, at, at.parameters["beta"])


def _corrected(sp: Tensor, sn: Tensor, at: Setting, concentration: float | None) -> Tensor:
    """Negatives reweighted by ``exp(concentration * score)`` and corrected for false ones."""
    lp, ln = _logits(sp, sn, at)
    count, share = ln.shape[-1], at.parameters["tau_plus"]
    if count == 0:
        return torch.full_like(lp, torch.nan)
    lift = torch.maximum(lp, ln.amax(-1)).clamp_min(-1 / at.tau).detach()
    near, far = (lp - lift).exp(), (ln - lift.unsqueeze(-1)).exp()
    if concentration is not None:
        far = far * torch.softmax(concentration * sn, -1) * count
    total = (far.sum(-1) - share * count * near) / (1 - share)
    floor = count * (-1 / at.tau - lift).exp()
    return (near + torch.maximum(total, floor)).log() + lift - lp


HEADS: Mapping[str, Head] = {
    "simple": simple, "triplet": triplet, "hinge": hinge, "nce": nce, "no log": no_log, "decoupled": decoupled,
    "positive twice": positive_twice, "averaged": negatives_averaged, "over batch": over_batch,
    "shift": shift_across, "logistic": logistic, "siglip": siglip, "mine": mine, "spectral": spectral,
    "quadratic": quadratic, "circle": circle, "circle through": circle_through, "debiased": debiased, "hard": hard,
    "hard of scores": hard_of_scores,
}  # fmt: skip
WITHOUT_TAU = frozenset(("simple", "hinge", "spectral", "quadratic", "circle", "circle through"))
SUMMABLE = frozenset(("simple", "triplet", "hinge", "logistic", "spectral", "quadratic"))
"""Heads with a mean over the negatives, which a sum may replace."""
OF_BATCH = frozenset(("mine",))
"""Heads with one value for the whole batch."""
