"""Finite populations: points, augmentations and both weights, so that an expectation is a finite sum.

Section 0 of the notes: ``x ~ p`` and ``x' ~ p_aug(.|x)``. A check on such a population has no sampling error.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, Weights, as_floating, check_finite, check_single
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
        given = (
            ("point_weights", point_weights, (size,)),
            ("augmentation_weights", augmentation_weights, (size, augmentations)),
        )
        object.__setattr__(self, "points", points)
        for name, value, shape in given:
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

    def require_spread(self) -> None:
        """Refuse a population that has one augmentation of each point, where a spread is needed.

        Raises
        ------
        InputError
            ``A == 1``.
        """
        if self.augmentations == 1:
            raise InputError(f"population of {self.size} points with 1 augmentation each: a spread needs at least 2")


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
    population.require_spread()
    output = forward(check_single(weights), population.flat_points, slope)
    mean = population.mean(output).repeat_interleave(population.augmentations, dim=0)
    squares = (output - mean).square().sum(-1)
    return float((population.flat_weights * squares).sum().sqrt())
