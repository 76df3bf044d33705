"""Values of the symbols of pack stepwise-barlow: literal losses in rationals, and the time between two singular values.

Orthogonal matrices are Cayley transforms of rational antisymmetric ones, so that an aligned start is exact. The rate of
a mode is the cubic polynomial through two derivatives of the literal loss. The time in which a mode goes from one value
to another is the integral of 1/rate, in balls by rigorous quadrature (Arb), in float64 by Gauss-Legendre rules; the
value at a time is enclosed by an interval Newton step, or reached by Runge-Kutta steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import combinations, pairwise, product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flint import acb, arb, arb_series, fmpq, fmpq_mat, fmpq_series
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector
from verify.packs.byol_measures import everywhere, on_points
from verify.packs.oracle import entries, exact_gradient, float_gradients, float_value
from verify.packs.part import Pack, Part, Place, UndecidedError
from verify.packs.spectral_measures import constant
from verify.strategies import eighths, grid_matrices, grid_vectors, simplices
from verify.tolerance.running import Bounded
from verify.towers.population import to_float, weighted_sum
from verify.towers.tower import Array, rational, tensors
from verify.towers.values import in_float64

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "stepwise-barlow"
SHARES = (fmpq(1, 4), fmpq(3, 4))
"""Probabilities of the two augmentations of a point."""


@dataclass(frozen=True)
class StepwiseInstance(JsonInstance):
    """A population whose mean inputs are orthogonal, an aligned start, a point on its way, and free matrices.

    `turn_in` and `turn_out` are the entries above the diagonal of antisymmetric matrices; their Cayley transforms are
    the eigenvectors of Gamma and U. Point j has the mean input ``radii[j]`` times eigenvector j, and two augmentations
    3 noise and -1 noise away from it, of probability 1/4 and 3/4. `start` and `end` are singular values.

    Examples
    --------
    >>> StepwiseInstance((), (), (1.0,), (0.5,), ((0.5,),), (0.5,), (0.75,), ((1.0,),), ((2.0,),)).checked().size
    (1, 1)
    """

    turn_in: Vector
    turn_out: Vector
    point_weights: Vector
    radii: Vector
    noise: Matrix
    start: Vector
    end: Vector
    weights: Matrix
    outputs: Matrix

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after a check of shapes and signs (InputError if not)."""
        inputs, modes = len(self.point_weights), len(self.start)
        if not 1 <= modes <= inputs:
            raise InputError(f"start has {modes} entries: must have 1 .. {inputs}, one for each mode")
        for name, length in (
            ("turn_in", inputs * (inputs - 1) // 2), ("turn_out", modes * (modes - 1) // 2), ("radii", inputs),
            ("noise", inputs), ("end", modes), ("weights", modes),
        ):  # fmt: skip
            if len(getattr(self, name)) != length:
                raise InputError(f"{name} has {len(getattr(self, name))} entries: must have {length}")
        for name in ("radii", "start", "end"):
            if not all(np.isfinite(v) and v > 0 for v in getattr(self, name)):
                raise InputError(f"{name}={getattr(self, name)!r}: must be finite and positive")
        if any(late < early for early, late in zip(self.start, self.end, strict=True)):
            raise InputError(f"end={self.end!r}: must be at least start, {self.start!r}")
        for name, width in (("noise", inputs), ("weights", inputs), ("outputs", len(self.outputs[0]))):
            if any(len(row) != width for row in getattr(self, name)):
                raise InputError(f"{name}: every row must have {width} entries")
        points = [[[0.0] * inputs] * 2] * inputs
        numeric.FinitePopulation(points, self.point_weights)
        for mode, (start, chance, radius) in enumerate(zip(self.start, self.point_weights, self.radii, strict=False)):
            if not rational(chance) * (rational(radius) * rational(start)) ** 2 < 1:
                raise InputError(f"start of mode {mode}: eigenvalue times its square must be below 1")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """One layer and its width."""
        return 1, len(self.point_weights)


# The aligned state, in rationals.


def orthogonal(above: Vector, size: int) -> Array:
    """The Cayley transform ``(I - A)(I + A)^(-1)``; A is antisymmetric, with these entries above its diagonal."""
    skew = np.full((size, size), fmpq(0), dtype=object)
    for value, (i, j) in zip(above, combinations(range(size), 2), strict=True):
        skew[i, j], skew[j, i] = rational(value), -rational(value)
    one = np.array([[fmpq(int(i == j)) for j in range(size)] for i in range(size)], dtype=object)
    turned = fmpq_mat((one - skew).tolist()) * fmpq_mat((one + skew).tolist()).inv()
    return np.array([[turned[i, j] for j in range(size)] for i in range(size)], dtype=object)


@dataclass(frozen=True, eq=False)
class Aligned:
    """The exact quantities of an instance."""

    left: Array
    right: Array
    eigenvalues: list[fmpq]
    inputs: list[list[Array]]
    means: list[Array]
    p: list[fmpq]

    @property
    def gamma(self) -> Array:
        """``Gamma = E_x[xbar xbar^T]``."""
        return weighted_sum([np.outer(x, x) for x in self.means], self.p)

    def weights(self, values: Sequence[Any]) -> Array:
        """``U diag(values) V^T``."""
        return (self.left * np.array(values, dtype=object)) @ self.right.T


@lru_cache(maxsize=512)
def aligned(instance: StepwiseInstance) -> Aligned:
    """The population and the singular vectors of an instance."""
    size, modes = len(instance.point_weights), len(instance.start)
    vectors_of = orthogonal(instance.turn_in, size)
    p, radii = ([rational(v) for v in row] for row in (instance.point_weights, instance.radii))
    means = [vectors_of[:, j] * radii[j] for j in range(size)]
    noise = entries(instance.noise, "rational")
    inputs = [[mean + 3 * shift, mean - shift] for mean, shift in zip(means, noise, strict=True)]
    eigenvalues = [p[j] * radii[j] ** 2 for j in range(modes)]
    return Aligned(orthogonal(instance.turn_out, modes), vectors_of[:, :modes], eigenvalues, inputs, means, p)


# The literal loss.


def exactly(value: Any) -> Any:
    """A value as it is."""
    return value


def arithmetic_of(arithmetic: str) -> Callable[[Any], Any]:
    """How values are brought into an arithmetic: float64 with the bound of its rounding, or as they are."""
    return in_float64 if arithmetic == "float64" else exactly


def cross_moment(instance: StepwiseInstance, weights: Array, number: Callable[[Any], Any] = exactly) -> Array:
    """``1/2 E[f(x_1) f(x_+)^T + f(x_+) f(x_1)^T]``, term by term, with the numbers of the population as given."""
    state, size = aligned(instance), len(weights)
    total = np.full((size, size), fmpq(0), dtype=object) if number is exactly else number(np.zeros((size, size)))
    for chance, row in zip(state.p, state.inputs, strict=True):
        f = [weights @ number(x) for x in row]
        for a, b in product(range(2), repeat=2):
            both = np.outer(f[a], f[b]) + np.outer(f[b], f[a])
            total = total + both * (number(chance) * number(SHARES[a]) * number(SHARES[b]) / 2)
    return total


def literal(instance: StepwiseInstance, weights: Array) -> Any:
    """``||C - I||^2``."""
    cross = cross_moment(instance, weights)
    return sum((cross[i, j] - int(i == j)) ** 2 for i, j in np.ndindex(*cross.shape))


def in_torch(instance: StepwiseInstance, weights: Tensor, device: str) -> Tensor:
    """`numeric`'s loss of a linear layer."""
    state = aligned(instance)
    points = np.array([[[to_float(v) for v in x] for x in row] for row in state.inputs])
    shares = [[to_float(q) for q in SHARES]] * len(state.p)
    population = numeric.FinitePopulation(*tensors((points, instance.point_weights, shares), device, weights.dtype))
    return numeric.barlow_loss(population.flat_points @ weights.T, population)


def near(weights: Array) -> Array:
    """The nearest float64 of fractions or balls."""
    return np.vectorize(lambda v: to_float(v) if isinstance(v, fmpq) else float(v), otypes=[float])(weights)


def update(instance: StepwiseInstance, weights: Array, arithmetic: str, device: str) -> Array:
    """``-grad L`` at given weights."""
    if arithmetic == "float64":
        return -float_gradients(lambda leaves: in_torch(instance, leaves[0], device), [near(weights)], device)[0]
    return -exact_gradient(lambda moved: literal(instance, moved), weights, "rational")


@lru_cache(maxsize=512)
def mode_rate(instance: StepwiseInstance, mode: int) -> tuple[fmpq, fmpq]:
    """Coefficients of s and s^3 in ``u_j^T (-grad L) v_j`` at ``W = s u_j v_j^T``: L is even and of degree 4 in W."""
    direction = np.outer(aligned(instance).left[:, mode], aligned(instance).right[:, mode])
    first, second = (-directional(instance, direction * fmpq(s), direction) for s in (1, 2))
    cubic = (second - 2 * first) / 6
    return first - cubic, cubic


def directional(instance: StepwiseInstance, weights: Array, direction: Array) -> Any:
    """The derivative of the literal loss along a direction: the coefficient of t."""
    exact = isinstance(weights.flat[0], fmpq)
    series: Any = fmpq_series if exact else arb_series
    moved = np.frompyfunc(lambda at, by: series([at, by]), 2, 1)(weights, direction)
    return literal(instance, moved)[1]


@lru_cache(maxsize=2048)
def passage(instance: StepwiseInstance, mode: int, start: fmpq, end: fmpq) -> arb:
    """The time in which one mode goes from a value to another: the integral of 1/rate."""
    return travelled(mode_rate(instance, mode), arb(start), arb(end))


def travelled(rate: tuple[fmpq, fmpq], start: arb, end: arb) -> arb:
    """The integral of ``1/(a s + b s^3)``, the rate (a, b) without a zero in between."""
    linear, cubic = rate
    speeds = [speed(rate, v) for v in (start, end)]
    if not all(ball > 0 for ball in speeds) and not all(ball < 0 for ball in speeds):
        raise UndecidedError("the mode rests, or its fixed point lies between start and end")
    value = acb.integral(lambda s, _: 1 / (s * (acb(linear) + acb(cubic) * s * s)), acb(start), acb(end))
    if not value.is_finite():
        raise UndecidedError("no enclosure of the time")
    return value.real


def speed(rate: tuple[Any, Any], s: Any) -> Any:
    """``a s + b s^3``."""
    return s * (rate[0] + rate[1] * s * s)


@lru_cache(maxsize=512)
def risen(instance: StepwiseInstance, mode: int) -> tuple[arb, arb]:
    """The time in which growth without the cubic term fills the mode, and the value of the mode at that time."""
    rate, start = mode_rate(instance, mode), arb(rational(instance.start[mode]))
    roughly = (to_float(rate[0]), to_float(rate[1]))
    if not (rate[0] > 0 > rate[1]):
        raise UndecidedError("the mode does not grow to a fixed point")
    time = travelled((rate[0], fmpq(0)), start, (arb(rate[0]) / arb(-rate[1])).sqrt())
    # Newton's iteration for "the passage takes this time" from a rough value, then one step that encloses the root.
    value = arb(stepped(roughly, float(start.mid()), float(time.mid()), 64))
    for _ in range(4):
        value = (value - (travelled(rate, start, value) - time) * speed(rate, value)).mid()
    box = arb(value, arb(2) ** -180)
    enclosed = value - (travelled(rate, start, value) - time) * speed(rate, box)
    if not (speed(rate, box) > 0 and box.contains_interior(enclosed)):
        raise UndecidedError("no enclosure of the value at the time of the rise")
    return time, enclosed


# The same in float64.


@lru_cache(maxsize=512)
def float_rate(instance: StepwiseInstance, mode: int, device: str) -> tuple[Bounded, Bounded]:
    """`mode_rate` by automatic differentiation."""
    state = aligned(instance)
    u, v = state.left[:, mode], state.right[:, mode]
    rates = [update(instance, np.outer(u, v) * fmpq(s), "float64", device) for s in (1, 2)]
    first, second = (in_float64(u) @ rate @ in_float64(v) for rate in rates)
    cubic = (second - 2 * first) / 6
    return first - cubic, cubic


@cache
def legendre(count: int) -> list[tuple[Bounded, Bounded]]:
    """Nodes and weights of a Gauss-Legendre rule on [-1, 1]."""
    rule = np.polynomial.legendre.leggauss(count)
    return [
        (Bounded.rounded(float(node), 8), Bounded.rounded(float(weight), 8)) for node, weight in zip(*rule, strict=True)
    ]


def float_travelled(rate: tuple[Bounded, Bounded], start: Bounded, end: Bounded) -> Bounded:
    """The integral of 1/rate by Gauss-Legendre rules of 12 nodes; those of 8 estimate the error.

    The rules are put on eight parts of which each is as many times as long as the one before.
    """
    speeds = [speed(rate, at) for at in (start, end)]
    if not all(at.value > at.error for at in speeds) and not all(at.value < -at.error for at in speeds):
        raise UndecidedError("the mode rests, or its fixed point lies between start and end")
    inner = [Bounded(float(at)) for at in np.geomspace(start.value, end.value, 9)[1:-1]]
    coarse, fine = Bounded(0.0), Bounded(0.0)
    for low, high in pairwise([start, *inner, end]):
        middle, half = (low + high) / 2, (high - low) / 2
        coarse, fine = (
            total + half * sum((weight / speed(rate, middle + half * node) for node, weight in legendre(count)), 0)
            for total, count in ((coarse, 8), (fine, 12))
        )
    return Bounded(fine.value, fine.error + abs(fine.value - coarse.value))


def stepped(rate: tuple[float, float], start: float, time: float, steps: int) -> float:
    """A mode after a time, by Runge-Kutta steps."""
    h, s = time / steps, start
    for _ in range(steps):
        first = speed(rate, s)
        second = speed(rate, s + h / 2 * first)
        third = speed(rate, s + h / 2 * second)
        s += h / 6 * (first + 2 * second + 2 * third + speed(rate, s + h * third))
    return s


def float_risen(instance: StepwiseInstance, mode: int, device: str) -> tuple[Bounded, Bounded]:
    """`risen` in float64; the difference to twice the step estimates the error of the Runge-Kutta steps."""
    linear, cubic = float_rate(instance, mode, device)
    if not (linear.value > linear.error and cubic.value < -cubic.error):
        raise UndecidedError("the mode does not grow to a fixed point")
    start = in_float64(rational(instance.start[mode]))
    top = (linear / -cubic).sqrt()
    time = float_travelled((linear, Bounded(0.0)), start, top)
    values = (linear.value, cubic.value)
    coarse, fine = (stepped(values, start.value, time.value, steps) for steps in (256, 512))
    # An error of the rate grows at most like e^(a t); the rate itself is at most a times the fixed point.
    wrong = time.value * speed((linear.error, cubic.error), top.value) + linear.value * top.value * time.error
    error = abs(fine - coarse) + 2.0**-40 + wrong * float(np.exp(linear.value * time.value))
    return time, Bounded(fine, error)


# Values of the symbols of the claims.


def moment_places(instance: StepwiseInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Any weights."""
    del device
    from theory.core.notation import AugmentationCovariance, Expect

    number = arithmetic_of(arithmetic)
    state, weights = aligned(instance), entries(instance.weights, "rational")
    values = {
        "input": everywhere([[x[:, None] for x in row] for row in state.inputs]),
        "mean input": on_points([x[:, None] for x in state.means]),
        "weights": constant(weights),
        "cross-moment": lambda _: cross_moment(instance, number(weights), number),
    }
    yield Place(values, {Expect: state.p, AugmentationCovariance: [list(SHARES)] * len(state.p), **sizes(instance)})


def sizes(instance: StepwiseInstance) -> dict[Any, Any]:
    """The numbers of outputs, inputs, dimensions and samples."""
    from theory.packs.stepwise import DIMENSIONS, IN, OUT, SAMPLES

    return {
        OUT: len(instance.start), IN: len(instance.point_weights),
        DIMENSIONS: len(instance.outputs), SAMPLES: len(instance.outputs[0]),
    }  # fmt: skip


def flow_places(instance: StepwiseInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Any weights."""
    weights = entries(instance.weights, "rational")
    values = {
        "weights": constant(weights),
        "second moment of the mean inputs": lambda _: aligned(instance).gamma,
        "update": lambda _: update(instance, weights, arithmetic, device),
    }
    yield Place(values, sizes(instance))


def aligned_places(instance: StepwiseInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The aligned state at the start."""
    state = aligned(instance)
    start = [rational(v) for v in instance.start]
    weights = state.weights(start)

    def loss(_: dict[str, str]) -> Any:
        if arithmetic != "float64":
            return literal(instance, weights)
        return float_value(lambda leaves: in_torch(instance, leaves[0], device), [near(weights)], device)

    values = {
        "left singular vectors": constant(state.left),
        "right singular vectors": constant(state.right),
        "singular values": constant(diagonal(start)),
        "eigenvalues": constant(diagonal(state.eigenvalues)),
        "update": lambda _: update(instance, weights, arithmetic, device),
        "loss": loss,
    }
    yield Place(values, sizes(instance))


def diagonal(values: Sequence[fmpq]) -> Array:
    """A diagonal matrix of fractions."""
    result = np.full((len(values), len(values)), fmpq(0), dtype=object)
    for place, value in enumerate(values):
        result[place, place] = value
    return result


def mode_places(instance: StepwiseInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Every mode on its way from start to end."""
    state = aligned(instance)
    end = [rational(v) for v in instance.end]
    weights = state.weights(end)
    for mode, (u, v) in enumerate(zip(state.left.T, state.right.T, strict=True)):

        def rate(_: dict[str, str], u: Array = u, v: Array = v) -> Any:
            if arithmetic != "float64":
                return -directional(instance, weights, np.outer(u, v))
            descent = update(instance, weights, arithmetic, device)
            return in_float64(u) @ descent @ in_float64(v)

        def time(_: dict[str, str], mode: int = mode) -> Any:
            ends = rational(instance.start[mode]), end[mode]
            if arithmetic != "float64":
                return passage(instance, mode, *ends)
            return float_travelled(float_rate(instance, mode, device), *map(in_float64, ends))

        values: dict[str, Any] = {
            "eigenvalue": constant(arb(state.eigenvalues[mode])),
            "singular value at the start": constant(arb(rational(instance.start[mode]))),
            "singular value": constant(arb(end[mode])),
            "rate of the singular value": rate,
            "time": time,
        }
        yield Place(values, {}, f" of mode {mode + 1}")


def rise_places(instance: StepwiseInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The time in which growth without saturation fills every mode, and the mode at that time."""
    floating = arithmetic == "float64"
    for mode, eigenvalue in enumerate(aligned(instance).eigenvalues):
        start = rational(instance.start[mode])
        time, value = float_risen(instance, mode, device) if floating else risen(instance, mode)
        values: dict[str, Any] = {
            "eigenvalue": constant(arb(eigenvalue)),
            "singular value at the start": constant(arb(start)),
            "singular value at the time of the rise": constant(value),
            "time of the rise": constant(time),
        }
        yield Place(values, {}, f" of mode {mode + 1}")


def criteria_places(unit: bool, instance: StepwiseInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """A matrix of outputs, or one with unit columns, and the two criteria of it entry by entry."""
    del device
    number = arithmetic_of(arithmetic)
    k = number(entries(instance.outputs, "rational"))
    if unit:
        # The point of the sphere above each column (stereographic projection), one dimension more.
        squares = (k * k).sum(axis=0)
        k = np.vstack([2 * k, squares - 1]) / (squares + 1)
    values: dict[str, Any] = {"matrix of outputs": constant(k)}
    for matrix, rows, kind in ((k, "row", "dimension"), (k.T, "column", "sample")):
        size = len(matrix)
        pairs = [(matrix[i] @ matrix[j]) ** 2 for i, j in product(range(size), repeat=2) if i != j]
        values[f"{kind}-contrastive criterion"] = constant(sum(pairs, number(fmpq(0))))
        fourth = sum(((row @ row) ** 2 for row in matrix), number(fmpq(0)))
        values[f"sum of the fourth powers of the {rows} norms"] = constant(fourth)
    further = sizes(instance)
    if unit:
        from theory.packs.stepwise import DIMENSIONS

        further[DIMENSIONS] += 1
    yield Place(values, further)


PACK = Pack(
    SLUG,
    (
        Part("moment", moment_places),
        Part("flow", flow_places),
        Part("modes", aligned_places),
        Part("loss", aligned_places),
        Part("solution", mode_places, exact="ball"),
        Part("rise", rise_places, exact="ball"),
        Part("duality", partial(criteria_places, False)),
        Part("unit-columns", partial(criteria_places, True)),
    ),
)


# Instances.


def toy(seed: int, count: int, *, width: int = 3) -> Iterator[StepwiseInstance]:
    """Random instances with dyadic entries, start below end below the fixed point."""
    rng = samples.generator(seed, "stepwise")
    for _ in range(count):
        inputs = int(rng.integers(2, width, endpoint=True))
        modes = int(rng.integers(1, min(inputs, 2), endpoint=True))
        weights, radii = samples.simplex(rng, inputs), tuple(rng.integers(4, 16, size=inputs) / 8)
        ends = np.sort(rng.integers(1, 5, size=(2, modes)) / 8, axis=0)
        yield StepwiseInstance(
            turn_in=samples.eighths(rng, inputs * (inputs - 1) // 2, spread=8),
            turn_out=samples.eighths(rng, modes * (modes - 1) // 2, spread=8),
            point_weights=weights,
            radii=tuple(float(v) for v in radii),
            noise=samples.eighths(rng, inputs, inputs, spread=8),
            start=tuple(map(float, ends[0])),
            end=tuple(map(float, ends[1])),
            weights=samples.eighths(rng, modes, inputs),
            outputs=samples.eighths(rng, int(rng.integers(1, 3)), int(rng.integers(1, 4))),
        )


@st.composite
def instances(draw: st.DrawFn, max_width: int = 2) -> StepwiseInstance:
    """Instances that shrink to one input and one mode."""
    inputs = draw(st.integers(1, max_width))
    modes = draw(st.integers(1, min(inputs, 2)))
    rows, columns = draw(st.integers(1, max_width)), draw(st.integers(1, max_width))

    def positive(count: int, high: int) -> Any:
        return draw(st.tuples(*[st.integers(1, high).map(lambda n: n / 8)] * count))

    def turn(size: int) -> Any:
        return draw(st.tuples(*[eighths(-8, 8)] * (size * (size - 1) // 2)))

    early, late = positive(modes, 7), positive(modes, 7)
    return StepwiseInstance(
        turn_in=turn(inputs),
        turn_out=turn(modes),
        point_weights=draw(simplices(inputs)),
        radii=positive(inputs, 8),
        noise=draw(st.tuples(*[grid_vectors(inputs)] * inputs)),
        start=tuple(map(min, early, late)),
        end=tuple(map(max, early, late)),
        weights=draw(grid_matrices(modes, inputs)),
        outputs=draw(grid_matrices(rows, columns)),
    )


STAGES = tuple(partial(instances, max_width=width) for width in (2, 3))
