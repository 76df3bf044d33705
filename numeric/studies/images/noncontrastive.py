"""Losses without negatives for a batch of pairs of views, and the learner of BYOL.

* ``spectral``: ``-2 E[f . f_+] + E[(f . f')^2]`` over other images, outputs of unit length (arXiv 2106.04156);
* ``barlow``: the cross-correlation of the standardised outputs of both views towards the identity (2103.03230);
* ``vicreg``: invariance, a hinge on the deviations, covariances off the diagonal (2105.04906); outputs of unit length
  are scaled by the root of their size, so that a deviation of 1 is within reach;
* ``byol``: ``1/2 ||P f(x_1)/|P f(x_1)| - sg f'(x_+)||^2`` with a linear predictor P and an average of the weights as
  target, the mean over both orders of the views (2006.07733).
"""

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

NONCONTRASTIVE_LOSSES = ("spectral", "barlow", "vicreg", "byol")
_OFF_DIAGONAL = 5e-3  # of Barlow Twins, as published
_VICREG = (25.0, 25.0, 1.0)
_EPSILON = 1e-4


def redundancy_loss(name: str, first: Float[Tensor, "B d"], second: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
    """The spectral, Barlow or VICReg loss of the two views of a joint batch."""
    return {"spectral": _spectral, "barlow": _barlow, "vicreg": _vicreg}[name](first, second)


def _spectral(first: Tensor, second: Tensor) -> Tensor:
    products = first @ second.mT
    others = products.square().sum() - products.diagonal().square().sum()
    count = len(first)
    return -2 * products.diagonal().mean() + others / (count * (count - 1))


def _off_diagonal(matrix: Tensor) -> Tensor:
    """Sum of the squares off the diagonal."""
    return matrix.square().sum() - matrix.diagonal().square().sum()


def _barlow(first: Tensor, second: Tensor) -> Tensor:
    views = [(f - f.mean(0)) / (f.var(0, unbiased=False) + _EPSILON**2).sqrt() for f in (first, second)]
    correlation = views[0].mT @ views[1] / len(first)
    return (1 - correlation.diagonal()).square().sum() + _OFF_DIAGONAL * _off_diagonal(correlation)


def _vicreg(first: Tensor, second: Tensor) -> Tensor:
    size = first.shape[1]
    views = [math.sqrt(size) * f for f in (first, second)]
    invariance, variance, covariance = _VICREG
    total = invariance * (views[0] - views[1]).square().mean()
    for f in views:
        centred = f - f.mean(0)
        below = functional.relu(1 - (centred.square().mean(0) + _EPSILON).sqrt())
        total = total + variance * below.mean() / 2
        total = total + covariance * _off_diagonal(centred.mT @ centred / (len(f) - 1)) / size
    return total


class Byol(nn.Module):
    """The online network, its linear predictor, and the target network that no gradient reaches."""

    def __init__(self, online: nn.Module, out: int, ema: float) -> None:
        super().__init__()
        self.online, self.ema = online, ema
        self.predictor = nn.Linear(out, out, bias=False)
        with torch.no_grad():  # the identity: nothing is drawn, and the first step is that without a predictor
            self.predictor.weight.copy_(torch.eye(out))
        self.target = copy.deepcopy(online).requires_grad_(False)

    def loss(self, outputs: Float[Tensor, "n d"], targets: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        """Loss of both orders of the views; outputs are not normalised, the first views before the second."""
        predicted = functional.normalize(self.predictor(outputs), dim=-1)
        goal = functional.normalize(targets.detach(), dim=-1)
        first, second = goal.chunk(2)
        return 0.5 * (predicted - torch.cat([second, first])).square().sum(-1).mean()

    @torch.no_grad()
    def follow(self) -> None:
        """Move the target towards the online network; statistics of batch normalisation too."""
        mine, theirs = self.online.state_dict(), self.target.state_dict()
        for name, value in theirs.items():
            if value.is_floating_point():
                value.lerp_(mine[name], 1 - self.ema)
            else:
                value.copy_(mine[name])
