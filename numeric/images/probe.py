"""Evaluation of frozen features: a linear classifier with an interval for its accuracy, and nearest neighbours.

The classifier is multinomial logistic regression on standardised features, by L-BFGS. Its penalty is chosen by one
fixed rule for every network, trained or not: the best of a fixed grid on every fifth training image, then fitted on
all of them.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from hltm.base.errors import InputError

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LEVEL = 0.95
NEIGHBOURS = 20
_ITERATIONS = 200
_ROWS = 4096  # test images whose similarities are held at a time


@dataclass(frozen=True)
class Accuracy:
    """Share of test images classified rightly.

    Attributes
    ----------
    value : float
        In [0, 1].
    low, high : float
        Wilson's interval of level 0.95, over the draw of the test images.
    penalty : float
        What the rule chose; NaN for nearest neighbours.
    """

    value: float
    low: float
    high: float
    penalty: float = math.nan


def wilson(right: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a share.

    Examples
    --------
    >>> tuple(round(end, 3) for end in wilson(90, 100))
    (0.826, 0.945)
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = right / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def _accuracy(guesses: Tensor, labels: Tensor, penalty: float = math.nan) -> Accuracy:
    right, total = int((guesses == labels).sum()), len(labels)
    return Accuracy(right / total, *wilson(right, total), penalty)


def _fit(features: Tensor, labels: Tensor, classes: int, penalty: float) -> Tensor:
    """Weights and bias ``(d + 1, classes)`` that minimise the mean cross entropy and ``penalty/2 ||W||^2``."""
    weights = features.new_zeros(features.shape[1] + 1, classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=_ITERATIONS, tolerance_grad=1e-5, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(features @ weights[:-1] + weights[-1], labels)
        value = value + penalty / 2 * weights[:-1].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(objective)
    return weights.detach()


def _classified(features: Tensor, weights: Tensor) -> Tensor:
    return (features @ weights[:-1] + weights[-1]).argmax(-1)


def linear_accuracy(
    train: Float[Tensor, "n d"], train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"], test_labels: Int[Tensor, " m"],
) -> Accuracy:  # fmt: skip
    """Top-1 accuracy of a linear classifier on frozen features.

    Parameters
    ----------
    train, test : Tensor
        Features, one row per image.
    train_labels, test_labels : Tensor
        Integers from 0.

    Returns
    -------
    Accuracy

    Raises
    ------
    InputError
        Fewer than five training images, or features that are not finite.

    Examples
    --------
    >>> features = torch.arange(20.0).reshape(-1, 1)
    >>> labels = (features[:, 0] > 9).long()
    >>> linear_accuracy(features, labels, features, labels).value
    1.0
    """
    if len(train) < 5:
        raise InputError(f"linear evaluation on {len(train)} training images: must be at least 5")
    if not bool(torch.isfinite(train).all() and torch.isfinite(test).all()):
        raise InputError("features of the linear evaluation: must be finite")
    mean, scale = train.mean(0), train.std(0).clamp(min=1e-8)
    known, asked = (train - mean) / scale, (test - mean) / scale
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    held = torch.arange(len(known), device=known.device) % 5 == 4
    scores = []
    for penalty in PENALTIES:
        weights = _fit(known[~held], train_labels[~held], classes, penalty)
        scores.append(int((_classified(known[held], weights) == train_labels[held]).sum()))
    # Of several that are best, the strongest penalty.
    penalty = max(zip(scores, PENALTIES, strict=True))[1]
    weights = _fit(known, train_labels, classes, penalty)
    return _accuracy(_classified(asked, weights), test_labels, penalty)


def neighbour_accuracy(
    train: Float[Tensor, "n d"], train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"], test_labels: Int[Tensor, " m"],
) -> Accuracy:  # fmt: skip
    """Top-1 accuracy of the vote of the 20 nearest training images by cosine, each weighing ``exp(cos/0.1)``.

    Examples
    --------
    >>> features = torch.eye(3).repeat(8, 1)
    >>> labels = torch.arange(3).repeat(8)
    >>> neighbour_accuracy(features, labels, features, labels).value
    1.0
    """
    known, asked = functional.normalize(train, dim=-1), functional.normalize(test, dim=-1)
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    count = min(NEIGHBOURS, len(known))
    guesses = []
    for part in asked.split(_ROWS):
        near, index = (part @ known.mT).topk(count, dim=-1)
        votes = known.new_zeros(len(part), classes)
        votes.scatter_add_(1, train_labels[index], (near / 0.1).exp())
        guesses.append(votes.argmax(-1))
    return _accuracy(torch.cat(guesses), test_labels)
