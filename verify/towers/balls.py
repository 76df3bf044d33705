"""Ball arithmetic (Arb): certified enclosures of losses, their derivatives, and expected gradients.

A derivative is the linear coefficient of a power series: the loss is evaluated literally at ``r + t`` (or a weight
``w + t``) in Arb's series arithmetic. No derivative is written by hand here. Every number is a ball that holds the
true value; the precision is raised until the largest radius is below `RADIUS`, or the check abstains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import product
from typing import Any

import numpy as np
from flint import arb, arb_series, ctx, fmpq

from verify.engine.evidence import Measurement
from verify.instances.instance import PopulationInstance
from verify.towers.population import probabilities, run
from verify.towers.tower import array, rational

RADIUS = 1e-30
# Terms of a literal sum that balls are spent on; a larger sum is left to floating point.
TERM_LIMIT = 20_000
PRECISIONS = (192, 512, 2048, 16384, 262144)

# Over power series, or over anything with their arithmetic.
Loss = Callable[[Any, Sequence[Any]], Any]


@contextmanager
def precision(bits: int, length: int = 2) -> Iterator[None]:
    """Arb's working precision inside the block, series of `length` coefficients; both restored afterwards."""
    before, cut = ctx.prec, ctx.cap
    ctx.prec, ctx.cap = bits, length
    try:
        yield
    finally:
        ctx.prec, ctx.cap = before, cut


def to_ball(value: float | fmpq) -> arb:
    """The number as a ball at the working precision."""
    return arb(value if isinstance(value, fmpq) else rational(float(value)))


def literal_loss(name: str, parameters: dict[str, float]) -> Loss:
    """The loss as section 2 of the mathematics writes it, on power series."""
    tau = to_ball(parameters.get("tau", 0.1))
    margin = to_ball(parameters.get("margin", 0.0))

    def simple(r_pos: Any, r_neg: Sequence[Any]) -> Any:
        return r_pos - r_neg[0]

    def triplet(r_pos: Any, r_neg: Sequence[Any]) -> Any:
        return (((r_pos - r_neg[0] + margin) / tau).exp() + 1).log() * tau

    def infonce(r_pos: Any, r_neg: Sequence[Any]) -> Any:
        attraction = (-r_pos / tau).exp()
        return (attraction / sum(((-r / tau).exp() for r in r_neg), attraction)).log() * (-tau)

    return {"simple": simple, "triplet": triplet, "infonce": infonce}[name]


def derivatives(loss: Loss, r_pos: float, r_neg: Sequence[float]) -> list[arb]:
    """Balls of dL/dr_+, dL/dr_1 .. dL/dr_H at the working precision."""
    point = [to_ball(r) for r in (r_pos, *r_neg)]
    result = []
    for moved in range(len(point)):
        series = [arb_series([r, 1 if index == moved else 0]) for index, r in enumerate(point)]
        result.append(arb_series(loss(series[0], series[1:]))[1])
    return result


def widest(balls: Sequence[arb]) -> float:
    """The largest radius as a float (infinite where a ball is not finite)."""
    return max(float(b.rad()) if b.is_finite() else float("inf") for b in balls)


def measure_zeros(balls: Iterable[tuple[arb, str]]) -> Measurement:
    """Balls that must hold zero, each with its place; not decided where one is wider than `RADIUS`."""
    worst = 0.0
    for ball, place in balls:
        if not ball.contains(0):
            return Measurement(max(float(abs(ball).mid()), 5e-324), 0.0, detail=place)
        worst = max(worst, widest([ball]))
    decided = worst < RADIUS
    return Measurement(worst, RADIUS, decided, "" if decided else "a ball is too wide")


@lru_cache(maxsize=256)
def expected_gradient(instance: PopulationInstance, bits: int) -> list[np.ndarray]:
    """Balls of grad E[L] by every weight, over the finite population; the gates come from exact rationals.

    Every term of the sum over (x, x_1, x_+, negatives) is a power series in one weight; its linear coefficient is the
    derivative. With fixed gates an output is affine in one weight, so its series is its value and its slope.
    """
    p, q = probabilities(instance)
    slope = rational(instance.slope)
    weights = [array(w, rational) for w in instance.weights]
    inputs = [array(x, rational) for point in instance.points for x in point]
    gates = [run(weights, x, slope, None)[1] for x in inputs]
    base = [run(weights, x, slope, g)[0] for x, g in zip(inputs, gates, strict=True)]
    gradient = [np.empty(w.shape, dtype=object) for w in weights]
    with precision(bits):
        terms = loss_terms(instance, p, q)
        for layer, matrix in enumerate(weights):
            for place in np.ndindex(*matrix.shape):
                moved = list(weights)
                moved[layer] = matrix.copy()
                moved[layer][place] += 1
                shifted = [run(moved, x, slope, g)[0] for x, g in zip(inputs, gates, strict=True)]
                outputs = [
                    [arb_series([to_ball(f), to_ball(g - f)]) for f, g in zip(b, s, strict=True)]
                    for b, s in zip(base, shifted, strict=True)
                ]
                gradient[layer][place] = expected_loss(instance, terms, outputs, arb_series([0, 0]))[1]
    return gradient


Term = tuple[arb, int, int, tuple[int, ...]]


def count_terms(instance: PopulationInstance) -> int:
    """Number of terms of the literal sum: M A^2 (M A)^H."""
    points, spread = len(instance.points), len(instance.points[0])
    return points * spread**2 * (points * spread) ** instance.negatives


def loss_terms(instance: PopulationInstance, p: list[fmpq], q: list[list[fmpq]]) -> list[Term]:
    """Every (probability, x_1, x_+, negatives) of the population, indices into the flat list of inputs."""
    spread = len(instance.points[0])
    negatives = instance.negatives
    flat = [(index, p[index // spread] * q[index // spread][index % spread]) for index in range(len(p) * spread)]
    terms: list[Term] = []
    for m, weight in enumerate(p):
        for a, b in product(range(spread), repeat=2):
            pair = weight * q[m][a] * q[m][b]
            for chosen in product(flat, repeat=negatives):
                joint = pair
                for _, probability in chosen:
                    joint *= probability
                indices = tuple(index for index, _ in chosen)
                terms.append((to_ball(joint), m * spread + a, m * spread + b, indices))
    return terms


def expected_loss(
    instance: PopulationInstance, terms: Sequence[Term], outputs: Sequence[Sequence[Any]], zero: Any
) -> Any:
    """E[L] in the arithmetic of the outputs."""
    loss = literal_loss(instance.loss, instance.options)

    @cache
    def distance(i: int, j: int) -> Any:
        if j < i:
            return distance(j, i)
        parts = [f - g for f, g in zip(outputs[i], outputs[j], strict=True)]
        return sum((d * d for d in parts), zero) / 2

    total = zero
    for probability, first, positive, negative in terms:
        total = total + loss(distance(first, positive), [distance(first, k) for k in negative]) * probability
    return total
