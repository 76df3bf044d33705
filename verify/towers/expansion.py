"""The residue of statement 4 as a power series in the augmentation's spread, every coefficient enclosed in a ball.

Augmentations are ``b + s (a - b)`` around the first one, b, of each point. With the gates of b, which hold for all
small s when no pre-activation of b is zero, outputs and connections are affine in s, and theta(s) is analytic. Its
coefficients are computed in Arb's power series: -E[grad] by dual numbers over series, from the loss as it is written;
V^xi vec W from the connections. A coefficient whose ball excludes zero is not zero: that decides a claim on the order,
at any scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb, arb_series, fmpq

from verify.engine.evidence import Measurement
from verify.instances.instance import PopulationInstance
from verify.towers import balls
from verify.towers.differences import probabilities, run
from verify.towers.population import Ensemble
from verify.towers.tower import Array, Tower, array, rational, tower

BITS = 320
# Coefficients of s^0 .. s^3: claims up to the third order, and one beyond.
LENGTH = 4


@dataclass(frozen=True)
class Dual:
    """value + derivative t, t^2 = 0, over power series in s: differentiates a loss exactly as it is written."""

    value: arb_series
    derivative: arb_series

    def __add__(self, other: Any) -> Dual:
        other = dual(other)
        return Dual(self.value + other.value, self.derivative + other.derivative)

    __radd__ = __add__

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.derivative)

    def __sub__(self, other: Any) -> Dual:
        return self + (-dual(other))

    def __mul__(self, other: Any) -> Dual:
        other = dual(other)
        return Dual(self.value * other.value, self.value * other.derivative + self.derivative * other.value)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Dual:
        other = dual(other)
        quotient = self.value / other.value
        return Dual(quotient, (self.derivative - quotient * other.derivative) / other.value)

    def exp(self) -> Dual:
        """The exponential."""
        found = self.value.exp()
        return Dual(found, found * self.derivative)

    def log(self) -> Dual:
        """The natural logarithm."""
        return Dual(self.value.log(), self.derivative / self.value)


def dual(value: Any) -> Dual:
    """A number, a series or a dual number as a dual number."""
    if isinstance(value, Dual):
        return value
    return Dual(value if isinstance(value, arb_series) else arb_series([value]), arb_series([0]))


def line(start: fmpq, end: fmpq) -> arb_series:
    """start + s (end - start)."""
    return arb_series([balls.to_ball(start), balls.to_ball(end - start)])


def lines(start: Any, end: Any) -> Array:
    """`line` entry by entry."""
    found = np.empty(start.shape, dtype=object)
    for place in np.ndindex(*start.shape):
        found[place] = line(start[place], end[place])
    return found


def on_a_kink(instance: PopulationInstance) -> bool:
    """Whether some pre-activation at a first augmentation is zero, so that no gates hold for all small s."""
    if instance.slope == 1.0:
        return False
    weights, slope = [array(w, rational) for w in instance.weights], rational(instance.slope)
    for point in instance.points:
        value = array(point[0], rational)
        for matrix in weights[:-1]:
            p = matrix @ value
            if any(entry == 0 for entry in p):
                return True
            value = np.array([entry if entry > 0 else slope * entry for entry in p], dtype=object)
    return False


def region_towers(instance: PopulationInstance) -> list[list[tuple[Tower, Tower]]]:
    """For each augmentation the towers at the first one and at its own place, both with the gates of the first."""
    weights, slope = [array(w, rational) for w in instance.weights], rational(instance.slope)
    found = []
    for point in instance.points:
        start = tower(weights, array(point[0], rational), slope, fmpq(1))
        found.append([(start, tower(weights, array(x, rational), slope, fmpq(1), start.gates)) for x in point])
    return found


def series_ensemble(instance: PopulationInstance) -> Ensemble:
    """The population's quantities as series in s: weights and Jacobians constant, activations and outputs affine."""
    p, q = probabilities(instance)
    towers = [
        [
            Tower(
                start.weights,
                [lines(f, g) for f, g in zip(start.activations, end.activations, strict=True)],
                start.jacobians,
                start.gates,
                lines(start.output, end.output),
            )
            for start, end in row
        ]
        for row in region_towers(instance)
    ]
    return Ensemble(towers, [balls.to_ball(w) for w in p], [[balls.to_ball(w) for w in row] for row in q])


def gradient_series(instance: PopulationInstance) -> list[Array]:
    """Grad E[L] by every weight, as series in s, from the loss as it is written; at the working precision."""
    p, q = probabilities(instance)
    weights, slope = [array(w, rational) for w in instance.weights], rational(instance.slope)
    spread = len(instance.points[0])
    ends = [array(x, rational) for point in instance.points for x in point]
    starts = [ends[index - index % spread] for index in range(len(ends))]
    gates = [run(weights, x, slope, None)[1] for x in starts]
    terms = balls.loss_terms(instance, p, q)
    base = [[run(weights, x, slope, g)[0] for x, g in zip(xs, gates, strict=True)] for xs in (starts, ends)]
    gradient = [np.empty(w.shape, dtype=object) for w in weights]
    for layer, matrix in enumerate(weights):
        for place in np.ndindex(*matrix.shape):
            moved = list(weights)
            moved[layer] = matrix.copy()
            moved[layer][place] += 1
            shifted = [[run(moved, x, slope, g)[0] for x, g in zip(xs, gates, strict=True)] for xs in (starts, ends)]
            outputs = [
                [
                    Dual(line(b0, b1), line(c0 - b0, c1 - b1))
                    for b0, b1, c0, c1 in zip(base[0][i], base[1][i], shifted[0][i], shifted[1][i], strict=True)
                ]
                for i in range(len(ends))
            ]
            gradient[layer][place] = expected(instance, terms, outputs).derivative
    return gradient


def expected(instance: PopulationInstance, terms: Sequence[Any], outputs: Sequence[Sequence[Dual]]) -> Dual:
    """E[L] as a dual number."""
    loss = balls.literal_loss(instance.loss, instance.options)
    distances: dict[tuple[int, int], Dual] = {}

    def distance(i: int, j: int) -> Dual:
        key = (min(i, j), max(i, j))
        if key not in distances:
            total = dual(0)
            for f, g in zip(outputs[key[0]], outputs[key[1]], strict=True):
                total = total + (f - g) * (f - g)
            distances[key] = total / 2
        return distances[key]

    total = dual(0)
    for probability, first, positive, negative in terms:
        total = total + dual(loss(distance(first, positive), [distance(first, k) for k in negative])) * probability
    return total


Right = Callable[[PopulationInstance, Ensemble, int, Sequence[Array]], Array]


def judge_order(instance: PopulationInstance, right: Right, distances: str, order: int) -> Measurement:
    """Whether theta = O(s^order): the coefficients below s^order are held by balls around zero, or one is not zero.

    Parameters
    ----------
    right : callable
        ``(instance, ensemble, layer, outputs) -> V^xi vec W`` over series, r measured between `outputs`.
    distances : {"means", "points"}
        Between what r is measured.
    order : int
        The claim, at most LENGTH.
    """
    if on_a_kink(instance):
        return Measurement(0.0, 0.0, False, "a pre-activation is zero at an unaugmented point")
    with balls.precision(BITS, LENGTH):
        ensemble = series_ensemble(instance)
        outputs: Sequence[Array] = ensemble.mean_outputs
        if distances == "points":
            first = [row[0][0].output for row in region_towers(instance)]
            outputs = [lines(f, f) for f in first]
        widest = 0.0
        for layer, gradient in enumerate(gradient_series(instance), start=1):
            claimed = right(instance, ensemble, layer, outputs)
            for left, other in zip(gradient.T.reshape(-1), claimed, strict=True):
                theta = -(left + other)
                for power in range(order):
                    coefficient = arb(theta[power])
                    if not coefficient.contains(0):
                        size = max(float(abs(coefficient).mid()), 5e-324)
                        return Measurement(size, 0.0, detail=f"layer {layer}: coefficient of s^{power} is not zero")
                    widest = max(widest, balls.widest([coefficient]))
    decided = widest < balls.RADIUS
    return Measurement(widest, balls.RADIUS, decided, "" if decided else "a ball is too wide")
