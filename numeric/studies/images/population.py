"""Finite populations of real images, and what a head sees of them, in float64.

Some images with a list of augmentations each: an expectation is a finite sum, so nothing on them has a sampling error.
"""

from copy import deepcopy

import torch
from torch import Tensor

from numeric.studies.images.augment import Recipe, apply, draw
from numeric.studies.images.data import ImageData, pixels
from numeric.studies.images.network import BatchNorm, Network
from numeric.studies.images.training import THEORY, stream
from numeric.towers.populations import FinitePopulation


def image_population(
    data: ImageData, recipe: Recipe, images: int, augmentations: int, *, seed: int = 0, strength: float = 1.0
) -> FinitePopulation:
    """The first test images with a list of augmentations each, float64, flat: ``d = C H W``.

    Parameters
    ----------
    data : ImageData
    recipe : Recipe
    images, augmentations : int
    seed : int
        Of the draws, which are the same for every strength.
    strength : float
        Factor of every magnitude; at 0 all augmentations of an image are the image.

    Examples
    --------
    >>> from numeric.studies.images.augment import RECIPES
    >>> from numeric.studies.images.data import load_images
    >>> image_population(load_images("digits", subset=5), RECIPES["digits"], 3, 2)
    FinitePopulation(points=3, augmentations=2, d=64, float64 on cpu)
    """
    chosen = pixels(data.test[:images]).double().repeat_interleave(augmentations, 0)
    # Drawn by the recipe at full strength, applied at this one: a path from the image to its augmentation.
    draws = draw(recipe, chosen.shape, stream(seed, THEORY), torch.float64)
    moved = apply(recipe.scaled(strength), chosen, draws) if strength > 0 else chosen
    return FinitePopulation(moved.reshape(len(chosen) // augmentations, augmentations, -1))


def in_double(network: Network) -> Network:
    """A copy in float64 that is in evaluation mode and asks for no gradients."""
    found: Network = deepcopy(network).double().eval().requires_grad_(False)
    return found


def features(network: Network, population: FinitePopulation) -> FinitePopulation:
    """The same population as the head sees it: features of the encoder."""
    shape = network.shape
    with torch.no_grad():
        seen = network.encoder(population.flat_points.reshape(-1, shape.channels, shape.side, shape.side))
    return FinitePopulation(seen.unflatten(0, (population.size, -1)))


def typical_distance(outputs: Tensor, population: FinitePopulation) -> float:
    """Mean of ``r`` between augmentation means: as temperature it gives pair weights of order one."""
    means = population.mean(outputs)
    centred = means - population.point_weights @ means
    return float(population.point_weights @ centred.square().sum(-1))


def has_batch_norm(network: Network) -> bool:
    """Whether any part of it normalises by the batch."""
    return any(isinstance(module, BatchNorm) for module in network.modules())
