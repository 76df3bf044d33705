"""Finite populations: expected gradients by central differences, and ensembles of towers with their means.

The gradients are exact oracles. The ensembles feed the formulas of statements 3 and 4 and their mutants, in
exact rationals or in float64 on the numbers of `numeric`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from flint import fmpq

from verify.instances.instance import PairInstance, PopulationInstance
from verify.towers.tower import Array, Tower, array, connection, exact_tower, float_towers, gate, rational, vec

HALVINGS = 40
Gates = list[Array]
Scheme = str
Connection = Callable[[Tower, int], Array]


def run(weights: Sequence[Array], x: Array, slope: fmpq, frozen: Gates | None) -> tuple[Array, Gates]:
    """Output and gates of one input; with `frozen` gates the network is that of the linear region."""
    gates: Gates = []
    value = x
    for layer, matrix in enumerate(weights[:-1]):
        p = matrix @ value
        gates.append(gate(p, slope, fmpq(1)) if frozen is None else frozen[layer])
        value = gates[-1] * p
    return weights[-1] @ value, gates


def same(first: Gates, second: Gates) -> bool:
    """Whether two lists of gates are equal."""
    return all(bool((a == b).all()) for a, b in zip(first, second, strict=True))


def central_differences(
    weights: Sequence[Array], inputs: Sequence[Array], slope: fmpq, value: Callable[[list[Array]], fmpq]
) -> tuple[list[Array], bool]:
    """Derivative of ``value(outputs of all inputs)`` by every weight, and whether a kink froze the gates."""
    base = [run(weights, x, slope, None)[1] for x in inputs]
    kinked = False
    gradient = [np.empty(w.shape, dtype=object) for w in weights]

    def shifted(layer: int, place: tuple[int, ...], step: fmpq, frozen: bool) -> list[Array] | None:
        moved = list(weights)
        moved[layer] = weights[layer].copy()
        moved[layer][place] += step
        outputs = []
        for x, gates in zip(inputs, base, strict=True):
            output, result = run(moved, x, slope, gates if frozen else None)
            if not frozen and not same(result, gates):
                return None
            outputs.append(output)
        return outputs

    for layer, matrix in enumerate(weights):
        for place in np.ndindex(*matrix.shape):
            step, halvings = fmpq(1, 64), 0
            while True:
                frozen = halvings > HALVINGS or kinked
                up, down = (shifted(layer, place, s, frozen) for s in (step, -step))
                if up is not None and down is not None:
                    break
                step, halvings = step / 64, halvings + 6
            kinked = kinked or frozen
            gradient[layer][place] = (value(up) - value(down)) / (2 * step)
    return gradient, kinked


def half_square(difference: Array) -> fmpq:
    """r = 1/2 ||difference||^2."""
    return fmpq(1, 2) * sum((entry * entry for entry in difference), fmpq(0))


@lru_cache(maxsize=512)
def pair_gradient(instance: PairInstance) -> tuple[list[Array], bool]:
    """dr/dW_{1,l} of a pair for every layer, exactly, and whether a kink froze the gates."""
    slope = rational(instance.slope)
    second = [array(w, rational) for w in instance.weights_2]
    target, _ = run(second, array(instance.x_2, rational), slope, None)
    first = [array(w, rational) for w in instance.weights_1]
    return central_differences(
        first, [array(instance.x_1, rational)], slope, lambda outputs: half_square(outputs[0] - target)
    )


def probabilities(instance: PopulationInstance) -> tuple[list[fmpq], list[list[fmpq]]]:
    """Point and augmentation weights as exact rationals, made to sum to exactly one."""
    points = len(instance.points)
    spread = len(instance.points[0])
    outer = instance.point_weights or (1.0,) * points
    inner = instance.augmentation_weights or ((1.0,) * spread,) * points
    return _normalised(outer), [_normalised(row) for row in inner]


def _normalised(weights: Sequence[float]) -> list[fmpq]:
    exact = [rational(weight) for weight in weights]
    total = sum(exact, fmpq(0))
    return [weight / total for weight in exact]


@lru_cache(maxsize=512)
def simple_loss_gradient(instance: PopulationInstance, scheme: Scheme = "stated") -> tuple[list[Array], bool]:
    """grad E[r_+ - r_-] by every weight, exactly, under a sampling scheme.

    Schemes: `stated` draws x_1, x_+ independently; `dependent-augmentations` uses one augmentation for both towers
    and the negative's independently; `x1-not-augmented` shows the first augmentation of the list as x_1.
    """
    p, q = probabilities(instance)
    sizes = (len(instance.points), len(instance.points[0]))
    inputs = [array(x, rational) for point in instance.points for x in point]

    def expected(outputs: list[Array]) -> fmpq:
        rows = [outputs[m * sizes[1] : (m + 1) * sizes[1]] for m in range(sizes[0])]
        total = fmpq(0)
        for m in range(sizes[0]):
            first = [fmpq(int(a == 0)) for a in range(sizes[1])] if scheme == "x1-not-augmented" else q[m]
            for a, first_weight in enumerate(first):
                if first_weight == 0:
                    continue
                for b in range(sizes[1]):
                    joint = first_weight * q[m][b]
                    if scheme == "dependent-augmentations":
                        joint = first_weight if a == b else fmpq(0)
                    total += p[m] * joint * half_square(rows[m][a] - rows[m][b])
                for n in range(sizes[0]):
                    for b in range(sizes[1]):
                        weight = p[m] * first_weight * p[n] * q[n][b]
                        total -= weight * half_square(rows[m][a] - rows[n][b])
        return total

    weights = [array(w, rational) for w in instance.weights]
    return central_differences(weights, inputs, rational(instance.slope), expected)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Towers of M points with A augmentations each, and their probabilities."""

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
