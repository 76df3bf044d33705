"""The right side of statement 4 in any arithmetic, and its residue as a power series in the augmentation's spread.

`xi` is the derivative of a loss by r_+ at r_+ = 0. The functions take ``(loss, r_1 .. r_H, tau, margin, exp)`` and give
one weight for each negative, so that the same formula serves float64 and balls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from flint import arb, arb_series, fmpq

from verify.engine.evidence import Measurement
from verify.engine.rewrites import exchanged, right
from verify.engine.statement import Variant
from verify.instances.instance import PopulationInstance
from verify.towers import balls
from verify.towers.autograd import matrices
from verify.towers.population import Ensemble, float_ensemble, probabilities, run
from verify.towers.tower import Array, Tower, array, connection, rational, tower, vec

Exp = Callable[[Any], Any]
Weights = Callable[[str, Sequence[Any], Any, Any, Exp], list[Any]]


def stated_weights(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Exp) -> list[Any]:
    """xi_k at the distances r_1 .. r_H."""
    if loss == "simple":
        return [tau / tau]
    if loss == "triplet":
        pull = exp((margin - r[0]) / tau)
        return [pull / (1 + pull)]
    pulls = [exp(-distance / tau) for distance in r]
    total = sum(pulls, pulls[0] * 0 + 1)
    return [pull / total for pull in pulls]


@dataclass(frozen=True)
class Claim:
    """A formula for -E[grad] (factor, weights) and, for populations with augmentation, the claimed order of theta."""

    weights: Weights = stated_weights
    factor: float = 1.0
    distances: str = "means"
    order: int = 2

    @property
    def about_order(self) -> bool:
        """Whether the claim changes what is said of theta, and not the formula."""
        return (self.distances, self.order) != ("means", 2)


STATED = Claim()


def leading(side: Any, factor: Any) -> Any:
    """Another factor of the first term; theta as it is."""
    from sympy import MatAdd, MatMul, Rational

    first, *others = sorted(side.args, key=lambda term: not isinstance(term, MatMul))
    return MatAdd(MatMul(Rational(factor), first), *others)


def next_order(order: Any) -> Any:
    """``O(s^{n+1})`` for ``O(s^n)``."""
    return order.func(order.expr * order.variables[0], *order.args[1:])


VARIANTS = (
    Variant("unweighted", "V in place of V^xi", Claim(lambda _, r, tau, *_rest: [tau / tau for _ in r]),
            rewrite=right(lambda xi: xi**0, 2).of(loss="infonce")),
    Variant("xi-wrong-sign", "xi(-r) in place of xi(r)",
            Claim(lambda loss, r, *rest: stated_weights(loss, [-distance for distance in r], *rest)),
            rewrite=exchanged(lambda s: {"r": -s["r"]}, 2).of(loss="infonce")),
    Variant("xi-of-two-r", "xi(2r): r without its 1/2",
            Claim(lambda loss, r, *rest: stated_weights(loss, [distance * 2 for distance in r], *rest)),
            rewrite=exchanged(lambda s: {"r": 2 * s["r"]}, 2).of(loss="infonce")),
    Variant("tau-inverted", "r tau in place of r / tau",
            Claim(lambda loss, r, tau, *rest: stated_weights(loss, r, 1 / tau, *rest)),
            rewrite=exchanged(lambda s: {"tau": 1 / s["tau"]}, 2).of(loss="infonce")),
    Variant("xi-not-normalised", "exp(-r/tau) without 1 + exp(-r/tau)",
            Claim(lambda _, r, tau, margin, exp: [exp((margin - distance) / tau) for distance in r]),
            rewrite=right(lambda xi: 1 / (1 / xi - 1), 2).of(loss="infonce")),
    Variant("margin-dropped", "r_0 left out of xi",
            Claim(lambda loss, r, tau, margin, exp: stated_weights(loss, r, tau, margin * 0, exp)),
            rewrite=exchanged(lambda _: {"r_0": 0}, 2).of(loss="triplet")),
    Variant("half-for-shared", "1/2 V^xi vec W for the shared gradient", Claim(factor=0.5),
            rewrite=right(lambda side: leading(side, Fraction(1, 2))).of(loss="infonce")),
    Variant("doubled", "2 V^xi vec W for the shared gradient", Claim(factor=2.0),
            rewrite=right(lambda side: leading(side, 2)).of(loss="infonce")),
    Variant("second-order-between-points",
            "theta of second order with r between unaugmented points, for every augmentation",
            Claim(distances="points"),
            rewrite=right(next_order, 3).of(loss="triplet", distances="points")),
    Variant("third-order", "theta of third order with r between augmentation means", Claim(order=3),
            rewrite=right(next_order, 3).of(loss="infonce")),
)  # fmt: skip


def operator_update(
    means: Sequence[Array],
    outputs: Sequence[Array],
    p: Sequence[Any],
    w: Array,
    weights: Callable[[list[Any]], list[Any]],
    negatives: int,
) -> Array:
    """E over x and x'_1 .. x'_H of sum_k xi_k (Kbar - Kbar_k)(Kbar - Kbar_k)^T vec W, by enumeration."""
    total = (means[0] @ (means[0].T @ w)) * 0
    distance = [[half_square(a - b) for b in outputs] for a in outputs]
    differences = {}
    for m, n in product(range(len(means)), repeat=2):
        gap = means[m] - means[n]
        differences[m, n] = gap @ (gap.T @ w)
    for m in range(len(means)):
        for chosen in product(range(len(means)), repeat=negatives):
            joint = p[m]
            for n in chosen:
                joint = joint * p[n]
            for n, xi in zip(chosen, weights([distance[m][n] for n in chosen]), strict=True):
                total = total + scaled(differences[m, n], joint * xi)
    return total


def scaled(vector: Array, factor: Any) -> Array:
    """Factor times vector; NumPy takes a power series for a list of its coefficients, so entry by entry."""
    return np.frompyfunc(lambda entry: entry * factor, 1, 1)(vector) if vector.dtype == object else vector * factor


def half_square(difference: Array) -> Any:
    """1/2 ||difference||^2 in any arithmetic."""
    return (difference * difference).sum() / 2


def certified_right(
    claim: Claim, instance: PopulationInstance, ensemble: Ensemble, layer: int, outputs: Sequence[Array]
) -> Array:
    """The claimed -E[grad] of a layer, column-stacked, in balls or in power series over them."""
    options = instance.options
    tau, margin = balls.to_ball(options.get("tau", 0.1)), balls.to_ball(options.get("margin", 0.0))

    def weights(r: list[Any]) -> list[Any]:
        return claim.weights(instance.loss, [in_balls(v) for v in r], tau, margin, lambda v: v.exp())

    means, w = ensemble.mean_connections(layer), ensemble.weights(layer)
    update = operator_update(means, outputs, ensemble.p, w, weights, instance.negatives)
    return update * balls.to_ball(claim.factor)


def in_balls(value: Any) -> Any:
    """An exact rational as a ball; balls and series as they are."""
    return balls.to_ball(value) if isinstance(value, fmpq) else value


def float_right(claim: Claim, instance: PopulationInstance, device: str) -> list[Array]:
    """The claimed -E[grad] of every layer in float64, by enumeration on the towers of `numeric`."""
    ensemble, options = float_ensemble(instance, device), instance.options
    tau, margin = options.get("tau", 0.1), options.get("margin", 0.0)
    columns = [
        operator_update(
            ensemble.mean_connections(layer),
            ensemble.mean_outputs,
            ensemble.p,
            ensemble.weights(layer),
            lambda r: claim.weights(instance.loss, r, tau, margin, np.exp),
            instance.negatives,
        )
        for layer in range(1, ensemble.depth + 1)
    ]
    return [claim.factor * update for update in matrices(instance, columns)]


# The residue as a power series, every coefficient enclosed in a ball.

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
        result = self.value.exp()
        return Dual(result, result * self.derivative)

    def log(self) -> Dual:
        return Dual(self.value.log(), self.derivative / self.value)


def dual(value: Any) -> Dual:
    """A number, a series or a dual number as a dual number."""
    if isinstance(value, Dual):
        return value
    return Dual(value if isinstance(value, arb_series) else arb_series([value]), arb_series([0]))


def line(start: fmpq, end: fmpq) -> arb_series:
    """start + s (end - start)."""
    return arb_series([balls.to_ball(start), balls.to_ball(end - start)])


def lines(start: Array, end: Array) -> Array:
    """`line` entry by entry."""
    entries: Array = np.frompyfunc(line, 2, 1)(start, end)
    return entries


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
    result = []
    for point in instance.points:
        start = tower(weights, array(point[0], rational), slope, fmpq(1))
        result.append([(start, tower(weights, array(x, rational), slope, fmpq(1), start.gates)) for x in point])
    return result


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
            gradient[layer][place] = balls.expected_loss(instance, terms, outputs, dual(0)).derivative
    return gradient


def second_order(instance: PopulationInstance, ensemble: Ensemble, layer: int) -> Array:
    """The coefficient of s^2 of theta with one negative, r between means, as pack residue-order-two derives it.

    ``E[2 xi' <phi, Delta> (kappa Delta + dK phi) + xi'' <phi, Delta>^2 dK Delta]``, at the gates of the first
    augmentation.
    """
    tau, margin = (balls.to_ball(instance.options.get(name, 0.0)) for name in ("tau", "margin"))
    start, slope = (np.frompyfunc(lambda entry, k=k: arb(entry[k]), 1, 1) for k in (0, 1))
    means = list(zip(ensemble.mean_connections(layer), ensemble.mean_outputs, strict=True))
    deviations = [
        [(slope(connection(one, layer) - k), slope(one.output - f)) for one in row]
        for row, (k, f) in zip(ensemble.towers, means, strict=True)
    ]
    means = [(start(k), start(f)) for k, f in means]
    total = means[0][0][:, 0] * 0
    for m, n in product(range(len(means)), repeat=2):
        gap, moved = means[m][1] - means[n][1], means[m][0] - means[n][0]
        path = [arb_series([half_square(gap), 1])]
        xi = stated_weights(instance.loss, path, tau, margin, lambda v: v.exp())[0]
        for (kappa, phi), weight in zip(deviations[m], ensemble.q[m], strict=True):
            along, chance = phi @ gap, weight * ensemble.p[m] * ensemble.p[n]
            linear = kappa @ gap + moved @ phi
            total = total + (linear * xi[1] + moved @ gap * (along * xi[2])) * (2 * along * chance)
    return total


Right = Callable[[PopulationInstance, Ensemble, int, Sequence[Array]], Array]


def judge_order(
    instance: PopulationInstance, right: Right, distances: str, order: int, leading: bool = False
) -> Measurement:
    """Whether theta = O(s^order): every coefficient below s^order is enclosed in a ball around zero.

    With `leading`, that of s^2 less the derived one too (one negative, r between means).
    """
    if on_a_kink(instance):
        return Measurement(0.0, 0.0, False, "a pre-activation is zero at an unaugmented point")
    with balls.precision(BITS, LENGTH):
        ensemble = series_ensemble(instance)
        outputs: Sequence[Array] = ensemble.mean_outputs
        if distances == "points":
            first = [row[0][0].output for row in region_towers(instance)]
            outputs = [lines(f, f) for f in first]

        def entries() -> Iterator[tuple[arb, str]]:
            for layer, gradient in enumerate(gradient_series(instance), start=1):
                theta = [
                    -(a + b) for a, b in zip(vec(gradient), right(instance, ensemble, layer, outputs), strict=True)
                ]
                for entry, power in product(theta, range(order)):
                    yield arb(entry[power]), f"layer {layer}: coefficient of s^{power} is not zero"
                if leading:
                    for entry, derived in zip(theta, second_order(instance, ensemble, layer), strict=True):
                        yield arb(entry[2]) - derived, f"layer {layer}: coefficient of s^2 is another one"

        return balls.measure_zeros(entries())
