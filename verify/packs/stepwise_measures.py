"""Values of the symbols of pack stepwise-barlow: literal losses in rationals, and the time between two singular values.

Orthogonal matrices are Cayley transforms of rational antisymmetric ones, so that an aligned start is exact. The time in
which a mode goes from one value to another is the integral of 1/rate by rigorous quadrature (Arb); the rate is the
cubic polynomial through two derivatives of the literal loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations, product
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
from verify.strategies import eighths, matrices, simplices, vectors
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
        for name, width in (("noise", inputs), ("weights", inputs), ("outputs", len(self.outputs[0]))):
            if any(len(row) != width for row in getattr(self, name)):
                raise InputError(f"{name}: every row must have {width} entries")
        points = [[[0.0] * inputs] * 2] * inputs
        numeric.FinitePopulation(points, self.point_weights)
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


def cross_moment(instance: StepwiseInstance, weights: Array) -> Array:
    """``1/2 E[f(x_1) f(x_+)^T + f(x_+) f(x_1)^T]``, term by term."""
    state, size = aligned(instance), len(weights)
    total = np.full((size, size), fmpq(0), dtype=object)
    for chance, row in zip(state.p, state.inputs, strict=True):
        f = [weights @ x for x in row]
        for a, b in product(range(2), repeat=2):
            both = np.outer(f[a], f[b]) + np.outer(f[b], f[a])
            total = total + both * (chance * SHARES[a] * SHARES[b] / 2)
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
def passage(instance: StepwiseInstance, mode: int, start: fmpq, end: fmpq | None = None) -> arb:
    """The time in which one mode goes from a value to another, or to its `height`: the integral of 1/rate."""
    linear, cubic = mode_rate(instance, mode)
    ends = [arb(start), height(instance, mode) if end is None else arb(end)]
    speeds = [v * (arb(linear) + arb(cubic) * v * v) for v in ends]
    if not all(ball > 0 for ball in speeds) and not all(ball < 0 for ball in speeds):
        raise UndecidedError("the mode rests, or its fixed point lies between start and end")
    value = acb.integral(lambda s, _: 1 / (s * (acb(linear) + acb(cubic) * s * s)), acb(ends[0]), acb(ends[1]))
    if not value.is_finite():
        raise UndecidedError("no enclosure of the time")
    return value.real


def height(instance: StepwiseInstance, mode: int) -> arb:
    """``s`` with ``lambda s^2 = 1/(2 - lambda s(0)^2)``."""
    eigenvalue, start = aligned(instance).eigenvalues[mode], rational(instance.start[mode])
    room = eigenvalue * (2 - eigenvalue * start**2)
    if not room > 0:
        raise UndecidedError(f"mode {mode + 1} starts too high")
    return 1 / arb(room).sqrt()


def time_of(instance: StepwiseInstance, mode: int, end: fmpq | None, _: dict[str, str]) -> arb:
    """The passage of a mode from its start, as the value of a symbol."""
    return passage(instance, mode, rational(instance.start[mode]), end)


# Values of the symbols of the claims.


def moment_places(instance: StepwiseInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Any weights."""
    del arithmetic, device
    from theory.core.notation import AugmentationCovariance, Expect

    state, weights = aligned(instance), entries(instance.weights, "rational")
    values = {
        "input": everywhere([[x[:, None] for x in row] for row in state.inputs]),
        "mean input": on_points([x[:, None] for x in state.means]),
        "weights": constant(weights),
        "cross-moment": lambda _: cross_moment(instance, weights),
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

        start = rational(instance.start[mode])
        values: dict[str, Any] = {
            "eigenvalue": constant(arb(state.eigenvalues[mode])),
            "singular value at the start": constant(arb(start)),
            "singular value": constant(arb(end[mode])),
            "rate of the singular value": rate,
            "time": partial(time_of, instance, mode, end[mode]),
        }
        yield Place(values, {}, f" of mode {mode + 1}")


def rise_places(instance: StepwiseInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The time to the height ``lambda s^2 = 1/(2 - lambda s(0)^2)`` of every mode."""
    del arithmetic, device
    state = aligned(instance)
    for mode, eigenvalue in enumerate(state.eigenvalues):
        start = rational(instance.start[mode])
        values: dict[str, Any] = {
            "eigenvalue": constant(arb(eigenvalue)),
            "singular value at the start": constant(arb(start)),
            "singular value at the time of the rise": constant(height(instance, mode)),
            "time of the rise": partial(time_of, instance, mode, None),
        }
        yield Place(values, {}, f" of mode {mode + 1}")


def criteria_places(unit: bool, instance: StepwiseInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """A matrix of outputs, or one with unit columns, and the two criteria of it entry by entry."""
    del arithmetic, device
    k = entries(instance.outputs, "rational")
    if unit:
        # The point of the sphere above each column (stereographic projection), one dimension more.
        squares = (k * k).sum(axis=0)
        k = np.vstack([2 * k, squares - 1]) / (squares + 1)
    values: dict[str, Any] = {"matrix of outputs": constant(k)}
    for matrix, rows, kind in ((k, "row", "dimension"), (k.T, "column", "sample")):
        size = len(matrix)
        pairs = [(matrix[i] @ matrix[j]) ** 2 for i, j in product(range(size), repeat=2) if i != j]
        values[f"{kind}-contrastive criterion"] = constant(sum(pairs, fmpq(0)))
        fourth = sum(((row @ row) ** 2 for row in matrix), fmpq(0))
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
    """Random instances with dyadic entries, starts and ends below the fixed points."""
    rng = samples.generator(seed, "stepwise")
    for _ in range(count):
        inputs = int(rng.integers(2, width, endpoint=True))
        modes = int(rng.integers(1, min(inputs, 2), endpoint=True))
        weights, radii = samples.simplex(rng, inputs), tuple(rng.integers(4, 16, size=inputs) / 8)
        ends = tuple(tuple(float(v) for v in rng.integers(1, 5, size=modes) / 8) for _ in range(2))
        yield StepwiseInstance(
            turn_in=samples.eighths(rng, inputs * (inputs - 1) // 2, spread=8),
            turn_out=samples.eighths(rng, modes * (modes - 1) // 2, spread=8),
            point_weights=weights,
            radii=tuple(float(v) for v in radii),
            noise=samples.eighths(rng, inputs, inputs, spread=8),
            start=ends[0],
            end=ends[1],
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

    return StepwiseInstance(
        turn_in=turn(inputs),
        turn_out=turn(modes),
        point_weights=draw(simplices(inputs)),
        radii=positive(inputs, 8),
        noise=draw(st.tuples(*[vectors(inputs)] * inputs)),
        start=positive(modes, 7),
        end=positive(modes, 7),
        weights=draw(matrices(modes, inputs)),
        outputs=draw(matrices(rows, columns)),
    )


STAGES = tuple(partial(instances, max_width=width) for width in (2, 3))
