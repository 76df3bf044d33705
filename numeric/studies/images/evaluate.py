"""What a network is worth: linear and nearest-neighbour accuracy of its frozen features, in three settings.

``plain``: images as they come, all labels. ``few``: as they come, ten labels of each class. ``moved``: all labels, and
every training and test image augmented once, as in training. Digits are centred and scaled by hand, so that features of
random convolutions tell them apart as they come; there ``moved`` is the setting that counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from numeric.images.probe import Accuracy, linear_accuracy, neighbour_accuracy
from numeric.studies.images.augment import Recipe, apply, draw
from numeric.studies.images.data import ImageData, pixels
from numeric.studies.images.network import Network
from numeric.studies.images.training import EVALUATION, stream

SETTINGS = ("plain", "few", "moved")
HEADLINE = {"digits": "moved", "cifar10": "plain", "stl10": "plain"}
FEW = 10  # labels of each class
_CHUNK = 1024  # images whose features are computed at a time


@dataclass(frozen=True)
class Protocol:
    """How networks are evaluated.

    Attributes
    ----------
    recipe : Recipe
        Of the augmentation in the setting ``moved``.
    seed : int
        Of the augmentations and of the choice of labels, the same for trained and untrained networks.
    """

    recipe: Recipe
    seed: int


@torch.no_grad()
def encoded(
    network: Network, images: UInt8[Tensor, "n C H W"], recipe: Recipe | None, generator: torch.Generator
) -> Float[Tensor, "n d"]:
    """Features of images, augmented once each by a recipe if there is one."""
    network.eval()
    found = []
    for part in images.split(_CHUNK):
        seen = pixels(part.to(next(network.parameters()).device))
        if recipe is not None:
            seen = apply(recipe, seen, draw(recipe, seen.shape, generator))
        found.append(network.encoder(seen).float())
    return torch.cat(found)


def few_labels(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers of ten images of each class, in random order.

    Examples
    --------
    >>> few_labels(torch.arange(40) % 2, torch.Generator().manual_seed(0)).shape
    torch.Size([20])
    """
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    classes = range(int(labels.max()) + 1)
    chosen = torch.cat([order[labels[order] == each][:FEW] for each in classes])
    return chosen[torch.randperm(len(chosen), generator=generator).to(labels.device)]


def evaluate(network: Network, data: ImageData, protocol: Protocol, settings: tuple[str, ...]) -> dict[str, Accuracy]:
    """Accuracies by setting, and those of nearest neighbours as ``"<setting> knn"``.

    Parameters
    ----------
    network : Network
        On the device of the data; put into evaluation mode.
    data : ImageData
    protocol : Protocol
    settings : tuple of str
        Of :data:`SETTINGS`.

    Returns
    -------
    dict of str to Accuracy

    Examples
    --------
    >>> from numeric.studies.images.augment import RECIPES
    >>> from numeric.studies.images.data import load_images
    >>> from numeric.studies.images.network import Shape, make_network
    >>> digits, network = load_images("digits", subset=100), make_network(Shape(width=8), 0)
    >>> sorted(evaluate(network, digits, Protocol(RECIPES["digits"], 0), ("few",)))
    ['few', 'few knn']
    """
    found: dict[str, Accuracy] = {}
    plain: tuple[Tensor, Tensor] | None = None
    for number, setting in enumerate(settings):
        generator = stream(protocol.seed, EVALUATION, SETTINGS.index(setting))
        recipe = protocol.recipe if setting == "moved" else None
        if recipe is not None or plain is None:
            train = encoded(network, data.train, recipe, generator)
            test = encoded(network, data.test, recipe, generator)
            plain = (train, test) if recipe is None else plain
        else:
            train, test = plain
        known = data.train_labels
        if setting == "few":
            chosen = few_labels(known, generator)
            train, known = train[chosen], known[chosen]
        found[setting] = linear_accuracy(train, known, test, data.test_labels)
        if number == 0:
            found[f"{setting} knn"] = neighbour_accuracy(train, known, test, data.test_labels)
    return found


def as_row(accuracies: Mapping[str, Accuracy]) -> dict[str, dict[str, float]]:
    """The same as JSON data: value and interval."""
    return {name: {"value": a.value, "low": a.low, "high": a.high} for name, a in accuracies.items()}
