"""Handwritten digits as a finite population: a fixed list of augmentations of each image.

The images are the 8 x 8 digits that scikit-learn ships. Because the list of augmentations is drawn once from
a seed, the population is finite and every expectation over it is exact.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hltm.base.errors import InputError
from numeric.towers.populations import FinitePopulation

_SIDE = 8
_IMAGES = 1797
_SHIFT = 1.0  # pixels, each direction
_ANGLE = math.radians(15.0)
_NOISE = 0.05  # standard deviation; pixels lie in [0, 1]


def _check_count(name: str, value: Any, low: int, high: int | None = None) -> int:
    """An integer of a range."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        rule = f"must be an integer >= {low}" if high is None else f"must be an integer in {low} .. {high}"
        raise InputError(f"{name}={value!r} of the digits: {rule}")
    return value


def _augment(image: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` copies of one image, shifted, rotated, and with noise: ``(count, 64)``, in [0, 1]."""
    angle = (2 * torch.rand(count, generator=generator, dtype=image.dtype) - 1) * _ANGLE
    # grid_sample measures positions in half sides of the image.
    shift = (2 * torch.rand(count, 2, generator=generator, dtype=image.dtype) - 1) * (2 * _SHIFT / _SIDE)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=-1).reshape(count, 2, 2)
    grid = functional.affine_grid(
        torch.cat([turn, shift.unsqueeze(-1)], dim=-1), [count, 1, _SIDE, _SIDE], align_corners=False
    )
    copies = image.reshape(1, 1, _SIDE, _SIDE).expand(count, -1, -1, -1)
    moved = functional.grid_sample(copies, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    noise = _NOISE * torch.randn(count, _SIDE * _SIDE, generator=generator, dtype=image.dtype)
    return (moved.flatten(1) + noise).clamp(0, 1)


def digit_population(
    images: int = 64, augmentations: int = 8, seed: int = 0, *, dtype: torch.dtype = torch.float64
) -> FinitePopulation:
    """Population of handwritten digits with shifts, rotations and noise.

    Parameters
    ----------
    images : int
        Number of images, the first ones of the set, 1 .. 1797.
    augmentations : int
        Augmented copies of each image.
    seed : int
        Seed of the augmentations; those of an image depend on it and on the image's number only.
    dtype : torch.dtype
        Floating type of the points; the numbers are drawn in double precision.

    Returns
    -------
    FinitePopulation
        ``d = 64``, pixels in [0, 1], uniform weights: shifts of up to one pixel each way, rotations within 15
        degrees, normal noise of standard deviation 0.05, cut off at 0 and 1.

    Raises
    ------
    InputError
        A number outside its range.

    Source
    ------
    ``sklearn.datasets.load_digits`` (UCI optical recognition of handwritten digits).

    Examples
    --------
    >>> population = digit_population(images=3, augmentations=2)
    >>> population.size, population.augmentations, population.dimension
    (3, 2, 64)
    """
    _check_count("images", images, 1, _IMAGES)
    _check_count("augmentations", augmentations, 1)
    _check_count("seed", seed, 0)
    # Imported here: scikit-learn takes longer to load than everything else that this package needs.
    from sklearn.datasets import load_digits

    pixels = torch.from_numpy(load_digits().data[:images] / 16.0)
    points = [
        _augment(pixel, augmentations, torch.Generator().manual_seed((seed * _IMAGES + number) % 2**63))
        for number, pixel in enumerate(pixels)
    ]
    return FinitePopulation(torch.stack(points).to(dtype))
