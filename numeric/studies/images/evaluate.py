"""Linear and nearest-neighbour accuracy of the frozen features of a network, in three settings.

``plain``: images as they come, all labels. ``few``: as they come, ten labels of each class. ``moved``: all labels, and
every training and test image augmented once, as in training. Digits are centred and scaled by hand, and features of
random convolutions separate them as they come; there ``moved`` is the headline.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from hltm.base.errors import InputError
from numeric.studies.images.augment import Recipe, apply, draw
from numeric.studies.images.data import ImageData, pixels
from numeric.studies.images.network import Network
from numeric.studies.images.training import EVALUATION, stream

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LEVEL = 0.95
NEIGHBOURS = 20
_ITERATIONS = 200
_ROWS = 4096  # test images whose similarities are held at a time


@dataclass(frozen=True)
class Accuracy:
    """Share of test images classified correctly, with Wilson's interval and the penalty of the classifier."""

    value: float
    low: float
    high: float
    penalty: float = math.nan


def wilson(right: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a share."""
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
    """Top-1 accuracy of a linear classifier on frozen features."""
    if len(train) < 5:
        raise InputError(f"linear evaluation on {len(train)} training images: must be at least 5")
    if not bool(torch.isfinite(train).all() and torch.isfinite(test).all()):
        raise InputError("features of the linear evaluation: must be finite")
    mean, scale = train.mean(0), train.std(0).clamp(min=1e-8)
    known, asked = (train - mean) / scale, (test - mean) / scale
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    fifth = torch.arange(len(known), device=known.device) % 5 == 4
    scores = []
    for penalty in PENALTIES:
        weights = _fit(known[~fifth], train_labels[~fifth], classes, penalty)
        scores.append(int((_classified(known[fifth], weights) == train_labels[fifth]).sum()))
    # The strongest of several best penalties.
    penalty = max(zip(scores, PENALTIES, strict=True))[1]
    weights = _fit(known, train_labels, classes, penalty)
    return _accuracy(_classified(asked, weights), test_labels, penalty)


def neighbour_accuracy(
    train: Float[Tensor, "n d"], train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"], test_labels: Int[Tensor, " m"],
) -> Accuracy:  # fmt: skip
    """Top-1 accuracy of the vote of the 20 nearest training images by cosine, each weighing ``exp(cos/0.1)``."""
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


SETTINGS = ("plain", "few", "moved")
HEADLINE = {"digits": "moved", "cifar10": "plain", "stl10": "plain"}
FEW = 10  # labels of each class
_CHUNK = 1024  # images whose features are computed at a time


@torch.no_grad()
def encoded(
    network: Network, images: UInt8[Tensor, "n C H W"], recipe: Recipe | None, generator: torch.Generator
) -> Float[Tensor, "n d"]:
    """Features of images, augmented once each by a recipe if there is one."""
    network.eval()
    result = []
    for part in images.split(_CHUNK):
        seen = pixels(part.to(next(network.parameters()).device))
        if recipe is not None:
            seen = apply(recipe, seen, draw(recipe, seen.shape, generator))
        result.append(network.encoder(seen).float())
    return torch.cat(result)


def few_labels(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers of ten images of each class, in random order."""
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    classes = range(int(labels.max()) + 1)
    chosen = torch.cat([order[labels[order] == each][:FEW] for each in classes])
    return chosen[torch.randperm(len(chosen), generator=generator).to(labels.device)]


def evaluate(
    network: Network, data: ImageData, recipe: Recipe, seed: int, settings: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Accuracies by setting, and of nearest neighbours in the first one as ``"<setting> knn"``; value and interval."""
    accuracies: dict[str, Accuracy] = {}
    features: dict[bool, tuple[Tensor, Tensor]] = {}
    for number, setting in enumerate(settings):
        generator, moved = stream(seed, EVALUATION, SETTINGS.index(setting)), setting == "moved"
        if moved not in features:
            pair = [encoded(network, part, recipe if moved else None, generator) for part in (data.train, data.test)]
            features[moved] = (pair[0], pair[1])
        (train, test), known = features[moved], data.train_labels
        if setting == "few":
            chosen = few_labels(known, generator)
            train, known = train[chosen], known[chosen]
        accuracies[setting] = linear_accuracy(train, known, test, data.test_labels)
        if number == 0:
            accuracies[f"{setting} knn"] = neighbour_accuracy(train, known, test, data.test_labels)
    return {name: {"value": a.value, "low": a.low, "high": a.high} for name, a in accuracies.items()}
