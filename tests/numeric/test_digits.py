"""The population of handwritten digits: shape, range, repeatability, and statement 3 on it."""

import re

import pytest
import torch

from hltm.base.errors import InputError
from numeric.towers.gradient import population_gradient
from numeric.towers.network import random_weights
from numeric.towers.operator import predicted_update
from numeric.towers.populations import digit_population, output_spread


def test_shape_and_range():
    population = digit_population(images=5, augmentations=3)
    assert population.points.shape == (5, 3, 64)
    assert population.points.dtype == torch.float64
    assert population.points.min() >= 0
    assert population.points.max() <= 1
    assert digit_population(images=1, augmentations=1, dtype=torch.float32).points.dtype == torch.float32


def test_the_list_is_fixed_by_the_seed_and_the_number_of_the_image():
    few, many = digit_population(images=2, augmentations=4), digit_population(images=6, augmentations=4)
    assert torch.equal(few.points, many.points[:2])
    assert torch.equal(many.points, digit_population(images=6, augmentations=4).points)
    assert not torch.equal(many.points, digit_population(images=6, augmentations=4, seed=1).points)
    copies = many.points.flatten(0, 1)
    assert len(torch.unique(copies, dim=0)) == len(copies)
    # The corner of these images is empty: what is there is noise, and every image has its own.
    corners = many.points[:, :, 0]
    assert len(torch.unique(corners, dim=0)) == len(corners)


def test_augmented_images_stay_near_their_image():
    from sklearn.datasets import load_digits

    # The first ten images are the ten digits.
    pixels = torch.from_numpy(load_digits().data[:10] / 16)
    means = digit_population(images=10, augmentations=32).points.mean(1)
    # The mean over shifts and rotations is a blurred copy: closer to its own image than to any other one.
    assert torch.equal(torch.cdist(means, pixels).argmin(1), torch.arange(10))


def test_statement_3_on_digits():
    population = digit_population(images=6, augmentations=3)
    weights = random_weights([64, 10, 4], generator=torch.Generator().manual_seed(0))
    assert output_spread(weights, population) > 0.01
    gradients = population_gradient(weights, population, "simple")
    for gradient, update in zip(gradients, predicted_update(weights, population), strict=True):
        # 18 * 3 + 18^2 terms, layers of at most 64 inputs, all numbers below 4.
        bound = 378 * 64 * torch.finfo(torch.float64).eps
        assert (gradient - update).abs().max() <= bound
        assert gradient.abs().max() > 1e6 * bound


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": 0}, "images=0 of the digits: must be an integer in 1 .. 1797"),
        ({"images": 1798}, "images=1798 of the digits: must be an integer in 1 .. 1797"),
        ({"augmentations": 0}, "augmentations=0 of the digits: must be an integer >= 1"),
        ({"seed": -1}, "seed=-1 of the digits: must be an integer >= 0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        digit_population(**arguments)
