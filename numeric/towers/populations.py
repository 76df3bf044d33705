"""Finite populations: points, augmentations and both weights, so that an expectation is a finite sum.

Section 0 of the notes: ``x ~ p`` and ``x' ~ p_aug(.|x)``. A check on such a population has no sampling error. Two
are ready made: handwritten digits, and patterns on a ring whose augmentation means coincide.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hltm.base.errors import InputError
from numeric.towers.checks import Real, Weights, as_floating, check_finite, check_single, is_integer
from numeric.towers.network import forward

# A sum of n weights that was normalised in floating point misses 1 by rounding, n units in the last place at
# most; weights that users typed have fewer digits.
_SUM_TOLERANCE = 1e-12


def _check_distribution(weights: Tensor, place: str) -> None:
    """Refuse weights along the last axis that are no distribution."""
    check_finite(weights, place)
    if bool((weights < 0).any()):
        where = tuple(int(i) for i in (weights < 0).nonzero()[0])
        raise InputError(f"{place}: entry {where} is {weights[where].item()!r}: must not be negative")
    total = weights.sum(-1)
    rounding = max(_SUM_TOLERANCE, torch.finfo(weights.dtype).eps) * weights.shape[-1]
    wrong = (total - 1).abs() > rounding
    if bool(wrong.any()):
        where = tuple(int(i) for i in wrong.nonzero()[0])
        point = f" of point {where[0]}" if where else ""
        raise InputError(f"{place}{point}: sum {total[where].item()!r}: must be 1")


@dataclass(frozen=True, init=False, eq=False)
class FinitePopulation:
    """Points with a list of augmentations each; both lists carry weights that sum to one.

    Parameters
    ----------
    points : array
        Augmented points, shape ``(M, A, d)``: A augmentations of each of M points.
    point_weights : array, optional
        ``p(x)``, shape ``(M,)``; uniform without it.
    augmentation_weights : array, optional
        ``p_aug(.|x)``, shape ``(M, A)``, every row a distribution; uniform without it.

    Raises
    ------
    InputError
        Empty or not finite points, or weights that are negative or do not sum to one.

    Source
    ------
    Section 0 of the notes.

    Examples
    --------
    >>> population = FinitePopulation([[[0.0], [1.0]], [[2.0], [4.0]]], point_weights=[0.25, 0.75])
    >>> population
    FinitePopulation(points=2, augmentations=2, d=1, float64 on cpu)
    >>> population.flat_weights
    tensor([0.1250, 0.1250, 0.3750, 0.3750], dtype=torch.float64)
    """

    points: Float[Tensor, "M A d"]
    point_weights: Float[Tensor, " M"]
    augmentation_weights: Float[Tensor, "M A"]

    def __init__(self, points: Any, point_weights: Any = None, augmentation_weights: Any = None) -> None:
        points = as_floating(points, "points of the population").detach()
        if points.ndim != 3 or 0 in points.shape:
            raise InputError(f"points of the population: shape {tuple(points.shape)}: must be (M, A, d), none empty")
        check_finite(points, "points of the population")
        size, augmentations, _ = points.shape
        object.__setattr__(self, "points", points)
        for name, value, shape in (
            ("point_weights", point_weights, (size,)),
            ("augmentation_weights", augmentation_weights, (size, augmentations)),
        ):
            if value is None:
                weights = points.new_full(shape, 1.0 / shape[-1])
            else:
                weights = as_floating(value, name).detach()
                if weights.shape != shape:
                    raise InputError(f"{name}: shape {tuple(weights.shape)}: must be {shape}, as the points have it")
                _check_distribution(weights, name)
                weights = weights.to(points.device, points.dtype)
            object.__setattr__(self, name, weights)

    def __repr__(self) -> str:
        kind = f"{str(self.points.dtype).removeprefix('torch.')} on {self.points.device}"
        return f"FinitePopulation(points={self.size}, augmentations={self.augmentations}, d={self.dimension}, {kind})"

    @property
    def size(self) -> int:
        """M, the number of points."""
        return self.points.shape[0]

    @property
    def augmentations(self) -> int:
        """A, the number of augmentations of each point."""
        return self.points.shape[1]

    @property
    def dimension(self) -> int:
        """d, the length of one input."""
        return self.points.shape[2]

    @property
    def flat_points(self) -> Float[Tensor, "MA d"]:
        """All augmented points, ``(M * A, d)``; those of one point are neighbours."""
        return self.points.flatten(0, 1)

    @property
    def flat_weights(self) -> Float[Tensor, " MA"]:
        """Probability of each augmented point, ``(M * A,)``."""
        return (self.point_weights.unsqueeze(1) * self.augmentation_weights).flatten()

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> "FinitePopulation":
        """Return the same population on another device, in another floating type.

        Weights are not checked again: rounding to fewer digits is allowed to move their sum.

        Examples
        --------
        >>> FinitePopulation([[[0.0], [1.0]]]).to("cpu", torch.float32).points.dtype
        torch.float32
        """
        moved = object.__new__(FinitePopulation)
        for name in ("points", "point_weights", "augmentation_weights"):
            object.__setattr__(moved, name, getattr(self, name).to(device, dtype or self.points.dtype))
        return moved

    def mean(self, values: Float[Tensor, "MA *rest"]) -> Float[Tensor, "M *rest"]:
        """Mean over the augmentations of each point.

        Parameters
        ----------
        values : Tensor
            One value per augmented point, ``(M * A, ...)``, in the order of ``flat_points``.

        Returns
        -------
        Tensor
            ``(M, ...)``.

        Raises
        ------
        InputError
            Another number of values.

        Examples
        --------
        >>> population = FinitePopulation([[[0.0], [1.0]], [[2.0], [4.0]]])
        >>> population.mean(population.flat_points).flatten()
        tensor([0.5000, 3.0000], dtype=torch.float64)
        """
        count = self.size * self.augmentations
        if values.shape[0] != count:
            raise InputError(f"values of shape {tuple(values.shape)}: must have {count} rows, one per augmented point")
        grouped = values.reshape(self.size, self.augmentations, -1)
        return (self.augmentation_weights.unsqueeze(1) @ grouped).reshape(self.size, *values.shape[1:])

    def mean_adjoint(self, vectors: Float[Tensor, "M n"]) -> Float[Tensor, "MA n"]:
        """Adjoint of :meth:`mean`: every augmented point gets the vector of its point times ``p_aug(.|x)``.

        Examples
        --------
        >>> FinitePopulation([[[0.0], [1.0]]]).mean_adjoint(torch.tensor([[3.0]], dtype=torch.float64)).flatten()
        tensor([1.5000, 1.5000], dtype=torch.float64)
        """
        return vectors.repeat_interleave(self.augmentations, dim=0) * self.augmentation_weights.reshape(-1, 1)


def output_spread(weights: Weights, population: FinitePopulation, slope: Real = 0.0) -> float:
    """Spread of the output under augmentation, ``sigma = (E tr V_aug[f_L])^(1/2)``.

    Parameters
    ----------
    weights : sequence of arrays
        ``W_1 .. W_L`` of one network.
    population : FinitePopulation
        With at least two augmentations.
    slope : float
        Slope of the activation below zero, in [0, 1].

    Returns
    -------
    float
        In units of the output.

    Raises
    ------
    InputError
        One augmentation only, or weights that are not allowed.

    Source
    ------
    Statement 4.

    Examples
    --------
    >>> output_spread([[[1.0]]], FinitePopulation([[[-1.0], [1.0]]]))
    1.0
    """
    if population.augmentations == 1:
        raise InputError(f"population of {population.size} points with 1 augmentation each: a spread needs at least 2")
    output = forward(check_single(weights), population.flat_points, slope)
    mean = population.mean(output).repeat_interleave(population.augmentations, dim=0)
    squares = (output - mean).square().sum(-1)
    return float((population.flat_weights * squares).sum().sqrt())


# Handwritten digits

_SIDE = 8
_IMAGES = 1797
_SHIFT = 1.0  # pixels, each direction
_ANGLE = math.radians(15.0)
_NOISE = 0.05  # standard deviation; pixels lie in [0, 1]


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
    if not is_integer(images, 1, _IMAGES):
        raise InputError(f"images={images!r} of the digits: must be an integer in 1 .. {_IMAGES}")
    for name, value, least in (("augmentations", augmentations, 1), ("seed", seed, 0)):
        if not is_integer(value, least):
            raise InputError(f"{name}={value!r} of the digits: must be an integer >= {least}")
    # Imported here: scikit-learn takes longer to load than everything else that this package needs.
    from sklearn.datasets import load_digits

    pixels = torch.from_numpy(load_digits().data[:images] / 16.0)
    points = [
        _augment(pixel, augmentations, torch.Generator().manual_seed((seed * _IMAGES + number) % 2**63))
        for number, pixel in enumerate(pixels)
    ]
    return FinitePopulation(torch.stack(points).to(dtype))


# Patterns on a ring; augmentations are translations


def ring_population(
    positions: int,
    patterns: Sequence[Any] = ("11", "101"),
    *,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> FinitePopulation:
    """Objects on a ring of d positions; the augmentations of each are its d translations, all equally likely.

    Parameters
    ----------
    positions : int
        d, the size of the ring.
    patterns : sequence of str
        One object each, written in the digits 0 and 1; positions that are not written are 0.
    dtype, device
        Of the points.

    Returns
    -------
    FinitePopulation
        ``M = len(patterns)`` equally likely points with d augmentations of d entries each.

    Raises
    ------
    InputError
        No pattern, a pattern that is not written in 0 and 1 or does not fit on the ring, or two patterns that are
        translations of each other, which would be one object.

    Source
    ------
    Statement 5, the patterns 11 and 101.

    Examples
    --------
    >>> ring_population(4).points[1].int().tolist()
    [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    >>> ring_population(2, ["101"])
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: pattern='101' of a ring: has 3 digits, at most 2 positions
    """
    if not is_integer(positions, 1):
        raise InputError(f"positions={positions!r} of a ring: must be a positive integer")
    if isinstance(patterns, str) or not patterns:
        raise InputError(f"patterns={patterns!r} of a ring: must list at least one pattern such as '101'")
    size = int(positions)
    rings = [_ring(pattern, size) for pattern in patterns]
    orbits = [[ring[size - shift :] + ring[: size - shift] for shift in range(size)] for ring in rings]
    for second in range(len(rings)):
        for first in range(second):
            if rings[first] in orbits[second]:
                names = f"patterns {patterns[first]!r} and {patterns[second]!r} on {size} positions"
                raise InputError(f"{names}: are translations of each other, must be two objects")
    return FinitePopulation(torch.tensor(orbits, dtype=dtype, device=device))


def _ring(pattern: Any, size: int) -> list[float]:
    """One pattern laid on the ring, from position 0."""
    if not isinstance(pattern, str) or not pattern or set(pattern) - {"0", "1"}:
        raise InputError(f"pattern={pattern!r:.40} of a ring: must be text of the digits 0 and 1")
    if len(pattern) > size:
        raise InputError(f"pattern={pattern!r:.40} of a ring: has {len(pattern)} digits, at most {size} positions")
    return [float(digit) for digit in pattern] + [0.0] * (size - len(pattern))
