"""The quantities of a population, in any arithmetic: towers of every augmented point, and their means.

What `verify.towers.tower` is for one input, this is for a finite population: the formulas of statements 3 and 4 and
their false variants read it, once in exact rationals and once in float64 on the numbers of `numeric`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from verify.instances.instance import PopulationInstance
from verify.towers.differences import probabilities
from verify.towers.tower import Array, Tower, connection, exact_tower, float_towers, vec

Connection = Callable[[Tower, int], Array]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Towers of M points with A augmentations each, and their probabilities.

    Parameters
    ----------
    towers : list of M lists of A towers
    p : list of M
        Probabilities of the points.
    q : list of M lists of A
        Probabilities of the augmentations, each list summing to one.
    """

    towers: Sequence[Sequence[Tower]]
    p: Sequence[Any]
    q: Sequence[Sequence[Any]]

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return self.towers[0][0].depth

    def weights(self, layer: int) -> Array:
        """vec W_l."""
        return vec(self.towers[0][0].weights[layer - 1])

    def mean_connections(self, layer: int, k: Connection = connection) -> list[Array]:
        """Kbar_l(x) of every point, shape (n_l n_{l-1}, n_L)."""
        return [
            weighted_sum([k(tower, layer) for tower in row], weights)
            for row, weights in zip(self.towers, self.q, strict=True)
        ]

    @cached_property
    def mean_outputs(self) -> list[Array]:
        """fbar_L(x) of every point, shape (n_L,)."""
        return [
            weighted_sum([tower.output for tower in row], weights)
            for row, weights in zip(self.towers, self.q, strict=True)
        ]


def weighted_sum(values: Sequence[Array], weights: Sequence[Any]) -> Array:
    """sum_i weights_i values_i."""
    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total = total + value * weight
    return total


@lru_cache(maxsize=512)
def exact_ensemble(instance: PopulationInstance) -> Ensemble:
    """The population's quantities in exact rationals."""
    p, q = probabilities(instance)
    towers = [[exact_tower(instance.weights, x, instance.slope) for x in point] for point in instance.points]
    return Ensemble(towers, p, q)


@lru_cache(maxsize=64)
def float_ensemble(instance: PopulationInstance, device: str = "cpu") -> Ensemble:
    """The population's quantities in float64, towers by `numeric`."""
    p, q = probabilities(instance)
    flat = float_towers(instance.weights, [x for point in instance.points for x in point], instance.slope, device)
    spread = len(instance.points[0])
    towers = [flat[start : start + spread] for start in range(0, len(flat), spread)]
    return Ensemble(towers, [float(w) for w in map(to_float, p)], [[to_float(w) for w in row] for row in q])


def to_float(value: Any) -> float:
    """A rational as the nearest float."""
    return int(value.p) / int(value.q)
