r"""Losses of a batch of pairs of views.

``f`` and ``f'`` are the outputs of the two views of B images, ``r = 1/2 ||a - b||^2`` as everywhere. With ``r_+`` the
distance of the two views of an image:

* ``ntxent``: InfoNCE with the other 2B - 2 views of the batch as negatives;
* ``infonce``: H negatives, the other views of H other images;
* ``simple``, ``triplet``: every other image is the one negative in turn, and the mean is taken;
* ``covariance``: the exact form of statement 4. ``V^xi[Kbar - Kbar'] vec W``, without the residue theta, descends
  ``E[xi (r_+ - r_-)]`` with pair weights ``xi`` that are symmetric and held fixed; averaged over the four pairs of
  views of two images that is ``-E[xi rbar]``, in which the augmentation's spread cancels;
* ``within``: the same and ``beta E[xi r_+]``, a further pull on the two views of an image; with beta < 0 a push.

The weights ``xi`` of the last two are those of InfoNCE with one negative, at the distance of the means of two *further*
views of each image. Views that are independent of those that are differentiated make the expected gradient a product:
that of a step is ``V^xi vec W`` with ``xi`` replaced by its mean over the views, symmetric and a function of the two
images only, with no residue. Weights from the same views would vary together with ``K`` and ``f``.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.checks import integer, show
from hltm.base.errors import InputError
from numeric.studies.images.noncontrastive import NONCONTRASTIVE_LOSSES, redundancy_loss
from numeric.studies.images.processes import gathered, own_part
from numeric.towers.losses import LossSpec, loss_value, pair_weight
from numeric.training.contrast import training_loss

_LOGIT = 1e-5  # rounding of a logit that the expanded form of a distance may bring
_DIFFERENCES = 2**27  # numbers of all differences of two batches of outputs

IMAGE_LOSSES = ("ntxent", "infonce", "simple", "triplet", "covariance", "within")
"""Losses with negatives, which an experiment compares unless others are named."""


@dataclass(frozen=True)
class ImageLoss:
    """A loss of pairs of views; a value that is not allowed is an `InputError`."""

    name: str
    tau: float = 0.5
    margin: float = 0.0
    negatives: int = 16
    beta: float = 0.5
    ema: float = 0.99

    def __post_init__(self) -> None:
        known = (*IMAGE_LOSSES, *NONCONTRASTIVE_LOSSES)
        if self.name not in known:
            raise InputError(f"loss={show(self.name)}: must be one of {', '.join(known)}")
        if not 0 <= self.ema <= 1:
            raise InputError(f"ema={self.ema!r}: must lie in [0, 1]")
        training_loss("triplet", tau=self.tau, margin=self.margin)
        integer(self.negatives, "negatives", 1)
        if not math.isfinite(self.beta):
            raise InputError(f"beta={self.beta!r}: must be a finite number, of either sign")

    @property
    def weighted(self) -> bool:
        """Whether its pair weights are held fixed, and need two further views of every image."""
        return self.name in ("covariance", "within")

    @property
    def least_batch(self) -> int:
        """Images that a batch must hold at least: each needs its negatives among the others."""
        return 1 + (self.negatives if self.name == "infonce" else 1)

    def taken(self) -> dict[str, str | float | int]:
        """Name and the parameters that this loss depends on."""
        takes = {
            "simple": (), "triplet": ("tau", "margin"), "infonce": ("tau", "negatives"), "within": ("tau", "beta"),
            "spectral": (), "barlow": (), "vicreg": (), "byol": ("ema",),
        }  # fmt: skip
        return {"name": self.name} | {name: getattr(self, name) for name in takes.get(self.name, ("tau",))}

    def spec(self) -> LossSpec:
        """The loss of one tuple of distances."""
        if self.name in ("simple", "triplet"):
            return LossSpec(self.name, self.tau, self.margin if self.name == "triplet" else 0.0)
        return LossSpec("infonce", self.tau, negatives=self.negatives if self.name == "infonce" else 1)


def half_squares(
    left: Float[Tensor, "n d"], right: Float[Tensor, "m d"], tau: float = math.inf
) -> Float[Tensor, "n m"]:
    """``r`` of all pairs of outputs of about unit length, accurate enough to be divided by ``tau``.

    The expanded form ``(||a||^2 + ||b||^2)/2 - a.b`` is off by a few machine epsilons, so a logit by a few epsilons
    over ``tau``: 1e-6 in single precision at the usual temperatures, but a hundredth at 1e-4. Where that is more than
    1e-5 the differences are squared instead, whose relative error is of the size of epsilon; unless they are more
    numbers than 2^27 (half a gigabyte), as in batches of thousands.
    """
    coarse = torch.finfo(left.dtype).eps > _LOGIT * tau
    if coarse and len(left) * len(right) * left.shape[1] <= _DIFFERENCES:
        return 0.5 * (left.unsqueeze(1) - right).square().sum(-1)
    squares = left.square().sum(-1, keepdim=True) + right.square().sum(-1)
    return torch.addmm(0.5 * squares, left, right.mT, alpha=-1.0).clamp(min=0)


def batch_loss(
    loss: ImageLoss, first: Float[Tensor, "B d"], second: Float[Tensor, "B d"], generator: torch.Generator,
    further: tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]] | None = None,
) -> Float[Tensor, ""]:  # fmt: skip
    """Loss of the two views of a batch, differentiable in both (shared convention)."""
    one, two = gathered(first), gathered(second)
    count = len(one)
    if count < 2:
        raise InputError(f"batch of {count} image: must hold at least 2, or there is no negative")
    own = own_part(count)
    if loss.name in NONCONTRASTIVE_LOSSES:
        return redundancy_loss(loss.name, one, two)
    if loss.name == "ntxent":
        return _whole_batch(loss, (first, second), (one, two), own)
    if loss.weighted:
        if further is None:
            raise InputError(f"loss {loss.name!r}: must have two further views of every image for its weights")
        means = ((first + second) / 2, (one + two) / 2)
        xi = _weights(loss, (further[0].detach() + further[1].detach()) / 2)
        return _covariance(loss, *means, 0.5 * (first - second).square().sum(-1), xi, own)
    values = _tuples(loss, first, second, two, own, generator), _tuples(loss, second, first, one, own, generator)
    return (values[0] + values[1]) / 2


def _others(rows: int, count: int, own: slice, device: torch.device) -> Tensor:
    """Which of all images are others than the row's own, ``(rows, count)``."""
    return torch.arange(own.start, own.start + rows, device=device).unsqueeze(1) != torch.arange(count, device=device)


def _whole_batch(loss: ImageLoss, own_views: tuple[Tensor, Tensor], views: tuple[Tensor, Tensor], own: slice) -> Tensor:
    """``-tau log(exp(-r_+/tau) / sum_k exp(-r_k/tau))`` over all views but the anchor itself."""
    logits = half_squares(torch.cat(own_views), torch.cat(views), loss.tau) / -loss.tau
    rows, count = len(own_views[0]), len(views[0])
    number = torch.arange(own.start, own.stop, device=logits.device)
    mine = torch.cat([number, number + count])
    partner = torch.cat([number + count, number])
    line = torch.arange(2 * rows, device=logits.device)
    positive = logits[line, partner]
    blocked = torch.zeros_like(logits, dtype=torch.bool)
    blocked[line, mine] = True
    return loss.tau * (torch.logsumexp(logits.masked_fill(blocked, -torch.inf), -1) - positive).mean()


def _tuples(
    loss: ImageLoss, anchors: Tensor, partners: Tensor, others: Tensor, own: slice, generator: torch.Generator
) -> Tensor:
    """Mean loss of the anchors: one negative each (all in turn), or H of InfoNCE."""
    spec, count = loss.spec(), len(others)
    r_pos = 0.5 * (anchors - partners).square().sum(-1)
    r_all = half_squares(anchors, others, loss.tau if loss.name != "simple" else math.inf)
    if loss.name != "infonce":
        kept = _others(len(anchors), count, own, r_all.device)
        r_neg = r_all[kept].unflatten(0, (len(anchors), count - 1))
        return loss_value(spec, r_pos.unsqueeze(1).expand_as(r_neg), r_neg.unsqueeze(-1)).mean()
    if spec.negatives >= count:
        raise InputError(f"negatives={spec.negatives} in a batch of {count} images: must be less than it")
    # The same shifts for all anchors: negative k of image i is image i + s_k, uniform over the others, none twice.
    shifts = 1 + torch.randperm(count - 1, generator=generator)[: spec.negatives]
    index = (torch.arange(own.start, own.stop).unsqueeze(1) + shifts) % count
    return loss_value(spec, r_pos, r_all.gather(1, index.to(r_all.device))).mean()


@torch.no_grad()
def _weights(loss: ImageLoss, own_means: Tensor) -> Tensor:
    """``xi`` of this process's images and all others, from the means of their further views."""
    return pair_weight(loss.spec(), half_squares(own_means, gathered(own_means), loss.tau).unsqueeze(-1)).squeeze(-1)


def _covariance(
    loss: ImageLoss, own_means: Tensor, means: Tensor, r_pos: Tensor, weights: Tensor, own: slice
) -> Tensor:
    """``E[xi (r_+ - r_-)] + beta E[xi r_+]``, the mean over the four pairs of views of each two images.

    Beta may have either sign; at -1/2 the distance of the two views leaves the loss of a batch. For views ``m +- d/2``
    that mean of ``r_-`` is ``rbar + (||d||^2 + ||d'||^2)/8``, ``rbar = 1/2 ||m - m'||^2``, so ``xi (r_+ - r_-)`` adds
    up to ``xi ((||d||^2 + ||d'||^2)/8 - rbar)``, and ``||d||^2 = 2 r_+``.
    """
    between = half_squares(own_means, means, loss.tau)
    kept = _others(len(own_means), len(means), own, between.device)
    xi = weights * kept
    beta = loss.beta if loss.name == "within" else 0.0
    rows = xi.sum(-1)
    pull: Tensor = ((0.5 + beta) * rows * r_pos).sum() - (xi * between).sum()
    return pull / kept.sum()
