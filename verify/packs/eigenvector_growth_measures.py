"""Instances of pack eigenvector-growth and the values of its symbols: a population with known eigenvectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flint import arb_mat, fmpq
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector
from verify.packs.linear_byol_measures import as_float, turn
from verify.packs.oracle import entries, exact_gradient, float_gradients
from verify.packs.part import BITS, Pack, Part, Place, UndecidedError
from verify.strategies import eighths, grid_matrices
from verify.tolerance.running import Bounded
from verify.towers import balls
from verify.towers.population import half_square
from verify.towers.tower import Array, rational, tensors

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "eigenvector-growth"


@dataclass(frozen=True)
class GrowthInstance(JsonInstance):
    """A linear layer, a neuron, and a covariance with eigenvalues `deviations` squared, turned by `angle`.

    `spread` is the augmentation, which averages out; `angle` is a half-angle tangent; `output` are the weights above
    the neuron, whose own weights are the first row of `weights`.

    Examples
    --------
    >>> GrowthInstance(((1.0, 0.5),), (1.0,), (1.0, 0.5), 0.0, 0.25, 0.5).checked().size
    (1, 2)
    """

    weights: Matrix
    output: Vector
    deviations: Vector
    angle: float
    spread: float
    time: float

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        numeric.sphere_rates(self.weights, np.eye(2))
        if len(self.deviations) != 2 or not self.deviations[0] > self.deviations[1] >= 0:
            raise InputError(f"deviations={self.deviations!r}: must be two numbers, the first larger, none negative")
        if not self.output:
            raise InputError("output: must have at least one entry")
        for name in ("angle", "spread", "time"):
            if not np.isfinite(getattr(self, name)):
                raise InputError(f"{name}={getattr(self, name)!r}: must be finite")
        if self.time < 0:
            raise InputError(f"time={self.time!r}: must not be negative")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Rows of the layer and number of inputs."""
        return len(self.weights), 2

    @property
    def values(self) -> tuple[fmpq, fmpq]:
        """Eigenvalues, the larger one first."""
        first, second = (rational(d) ** 2 for d in self.deviations)
        return first, second

    @property
    def vectors(self) -> Array:
        """Eigenvectors as columns, rational."""
        return turn(self.angle, 2)


# The population: means +-2 l_j u_j with probability 1/8 each, and 0; two augmentations around each mean.


@lru_cache(maxsize=256)
def inputs(instance: GrowthInstance) -> tuple[tuple[fmpq, tuple[Array, Array]], ...]:
    """Probability and both augmentations of every point."""
    vectors, move = instance.vectors, rational(instance.spread)
    noise = np.array([move, -move], dtype=object)
    means = [vectors[:, 0] * 0]
    for j in range(2):
        step = vectors[:, j] * (2 * rational(instance.deviations[j]))
        means += [step, -step]
    chances = [fmpq(1, 2), *[fmpq(1, 8)] * 4]
    return tuple((p, (mean + noise, mean - noise)) for p, mean in zip(chances, means, strict=True))


def literal(outputs: Sequence[tuple[fmpq, Sequence[Array]]]) -> Any:
    """``E[r_+ - r_-]`` of the outputs of all points."""
    total: Any = fmpq(0)
    for p, row in outputs:
        for one, other in product(row, repeat=2):
            total = total + p / 4 * half_square(one - other)
    flat = [(p / 2, f) for p, row in outputs for f in row]
    for (p, one), (q, other) in product(flat, repeat=2):
        total = total - p * q * half_square(one - other)
    return total


@lru_cache(maxsize=256)
def exact_descent(instance: GrowthInstance, neuron: bool) -> tuple[Array, ...]:
    """``-grad E[r_+ - r_-]`` by the layer, or by both layers of the neuron, over fractions."""
    if not neuron:
        weight = entries(instance.weights, "rational")
        return (
            -exact_gradient(
                lambda w: literal([(p, [w @ x for x in row]) for p, row in inputs(instance)]), weight, "rational"
            ),
        )
    own, out = entries(instance.weights[:1], "rational"), entries(instance.output, "rational")[:, None]

    def value(first: Array, second: Array) -> Any:
        return literal([(p, [second @ (first @ x) for x in row]) for p, row in inputs(instance)])

    return (
        -exact_gradient(lambda moved: value(moved, out), own, "rational"),
        -exact_gradient(lambda moved: value(own, moved), out, "rational"),
    )


@lru_cache(maxsize=256)
def float_descent(instance: GrowthInstance, neuron: bool, device: str) -> tuple[Array, ...]:
    """The same by automatic differentiation of `numeric`'s expected loss in float64, with bounds."""
    points = [[[as_float(v) for v in x] for x in row] for _, row in inputs(instance)]
    chances = [as_float(p) for p, _ in inputs(instance)]

    def value(leaves: Sequence[Tensor]) -> Tensor:
        population = numeric.FinitePopulation(*tensors((points, chances), device, leaves[0].dtype))
        return numeric.expected_loss(list(leaves), population, "simple", 1.0)

    at = (instance.weights[:1], [[w] for w in instance.output]) if neuron else (instance.weights,)
    return tuple(-g for g in float_gradients(value, at, device))


def descent(instance: GrowthInstance, neuron: bool, arithmetic: str, device: str) -> tuple[Array, ...]:
    """``-grad`` by the oracle of an arithmetic."""
    return float_descent(instance, neuron, device) if arithmetic == "float64" else exact_descent(instance, neuron)


# Values of the symbols.


def constant(value: Any) -> Any:
    return lambda _: value


def projected(instance: GrowthInstance, arithmetic: str, device: str) -> tuple[Array, Array, Array]:
    """W, the force ``-grad``, and the force without its part along W, ``G - <W, G> W``."""
    weight = entries(instance.weights, "rational")
    (force,) = descent(instance, False, arithmetic, device)
    return weight, force, force - weight * (weight * force).sum()


def covariance(instance: GrowthInstance) -> Array:
    """``V_x[xbar]``, from the points."""
    means = [(p, (row[0] + row[1]) / 2) for p, row in inputs(instance)]
    centre = sum((p * m for p, m in means), np.array([fmpq(0)] * 2, dtype=object))
    return sum((p * np.outer(m - centre, m - centre) for p, m in means), np.full((2, 2), fmpq(0), dtype=object))


def sizes(instance: GrowthInstance) -> dict[Any, int]:
    import theory.packs.eigenvector_growth as letters

    return {letters.N1: 2, letters.N2: len(instance.weights)}


def layer_places(instance: GrowthInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The update of the layer, and the mean inputs."""
    from theory.core.notation import Expect

    weight, force, _ = projected(instance, arithmetic, device)
    means = [((row[0] + row[1]) / 2)[:, None] for _, row in inputs(instance)]
    values = {
        "weights of the layer": constant(weight),
        "rate of the weights": constant(force),
        "mean input": lambda at: lambda chosen: means[chosen[at["point"]]],
    }
    yield Place(values, {Expect: [p for p, _ in inputs(instance)], **sizes(instance)})


def sphere_places(instance: GrowthInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The projected flow, along each eigenvector."""
    weight, _, rate = projected(instance, arithmetic, device)
    operator = covariance(instance)
    image = weight @ operator
    for k, value in enumerate(instance.values):
        vector = instance.vectors[:, [k]]
        values = {
            "weights of the layer": weight,
            "covariance operator": operator,
            "energy": (weight * image).sum(),
            "eigenvector": vector,
            "eigenvalue": value,
            "rate of the squared norm": (weight * rate).sum() * 2,
            "rate along an eigenvector": rate @ vector,
            "rate of the energy": (image * rate).sum() * 2,
        }
        yield Place({role: constant(v) for role, v in values.items()}, sizes(instance), f" at eigenvector {k + 1}")


def nonzero(value: Any, what: str) -> Any:
    if value == 0:
        raise UndecidedError(f"{what} is 0")
    return value


def numbered(first: Any, other: Any) -> Any:
    """A value for the top eigenvector, and one for any other."""
    return lambda at: first if at["number"] == "1" else other


def ratio_places(instance: GrowthInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Components of every row."""
    weight, _, rate = projected(instance, arithmetic, device)
    components, moved = weight @ instance.vectors, rate @ instance.vectors
    for row in range(len(weight)):
        first, other = nonzero(components[row, 0], "the top component"), components[row, 1]
        values = {
            "component": numbered(first, other),
            "eigenvalue": numbered(*instance.values),
            "rate of a ratio of components": constant(
                (moved[row, 1] * first - moved[row, 0] * other) / (first * first)
            ),
        }
        yield Place(values, where=f" in row {row + 1}")


def share(components: Array, moved: Array) -> tuple[Any, Any]:
    """``|c_1|^2/(|c_1|^2 + |c_2|^2)`` of the columns, and its rate by the quotient rule."""
    first, other = ((components[:, k] * components[:, k]).sum() for k in (0, 1))
    nonzero(first, "the top component")
    nonzero(other, "the other component")
    up, down = ((components[:, k] * moved[:, k]).sum() * 2 for k in (0, 1))
    whole = first + other
    return first / whole, (up * whole - (up + down) * first) / (whole * whole)


def basin_places(instance: GrowthInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The share of the top eigenvector."""
    weight, _, rate = projected(instance, arithmetic, device)
    here, moved = share(weight @ instance.vectors, rate @ instance.vectors)
    values = {
        "share of the top eigenvector": here,
        "gap of the eigenvalues": instance.values[0] - instance.values[1],
        "rate of the share": moved,
    }
    yield Place({role: constant(value) for role, value in values.items()})


def time_places(instance: GrowthInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The share after a time: by the exponential of the covariance, or by the Runge-Kutta method."""
    weight = entries(instance.weights, "rational")
    start, _ = share(weight @ instance.vectors, weight @ instance.vectors)
    values = {
        "share at the start": start,
        "gap of the eigenvalues": instance.values[0] - instance.values[1],
        "time": rational(instance.time),
    }
    made = values if arithmetic == "float64" else {role: balls.to_ball(value) for role, value in values.items()}
    later = shares_in_float(instance, device) if arithmetic == "float64" else share_in_balls(instance)
    yield Place({role: constant(value) for role, value in {**made, "share after a time": later}.items()})


def share_in_balls(instance: GrowthInstance) -> Any:
    """``W e^(2 A t)`` up to a factor is the flow on the sphere: the share of its top component."""
    with balls.precision(BITS):
        operator = covariance(instance) * (2 * rational(instance.time))
        grown = arb_mat([[balls.to_ball(v) for v in row] for row in operator]).exp()
        matrix = np.array([[grown[i, j] for j in range(2)] for i in range(2)], dtype=object)
        turned = np.vectorize(balls.to_ball, otypes=[object])(instance.vectors)
        components = entries(instance.weights, "ball") @ matrix @ turned
        first, other = ((components[:, k] * components[:, k]).sum() for k in (0, 1))
        return first / (first + other)


STEPS = (48, 96)


def shares_in_float(instance: GrowthInstance, device: str) -> Bounded:
    """The projected flow by the Runge-Kutta method of `numeric`; the bound is the change under halved steps."""
    as_floats = np.vectorize(as_float, otypes=[float])
    weight, operator, vectors = tensors(
        [np.asarray(instance.weights), as_floats(covariance(instance)), as_floats(instance.vectors)], device
    )
    weight = weight / weight.norm()
    found = []
    for steps in STEPS:
        (end,) = numeric.runge_kutta(
            lambda y: [numeric.sphere_rates(y[0], operator)], [weight], instance.time / steps, steps
        )
        squares = (end @ vectors).square().sum(0)
        found.append(float(squares[0] / squares.sum()))
    return Bounded(found[1], abs(found[1] - found[0]) + 2.0**-36)


def neuron_places(instance: GrowthInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """One neuron; the one-branch update is half of the gradient through both towers."""
    import theory.two_layer.relations as letters

    own, out = entries(instance.weights[0], "rational")[:, None], entries(instance.output, "rational")[:, None]
    by_own, by_out = descent(instance, True, arithmetic, device)
    rates = [by_own.T * fmpq(1, 2), by_out * fmpq(1, 2)]
    components, moved = (own.T @ instance.vectors), (rates[0].T @ instance.vectors)
    first, other = nonzero(components[0, 0], "the top component"), components[0, 1]
    here, share_rate = share(components, moved)
    dimensions = {letters.N0: 2, letters.OUT.shape[0]: len(out)}
    for k, value in enumerate(instance.values):
        values: dict[str, Any] = {
            "weights": lambda at: own if at["layer"] == "1" else out,
            "rate": lambda at: rates[0] if at["layer"] == "1" else rates[1],
            "eigenvector": constant(instance.vectors[:, [k]]),
            "eigenvalue": lambda at, of=value: (
                instance.values[0 if at["number"] == "1" else 1] if "number" in at else of
            ),
            "component": lambda at: first if at["number"] == "1" else other,
            "squared norm of the output weights": constant((out * out).sum()),
            "rate of a component of a neuron": constant(moved[0, k]),
            "rate of a ratio of components of a neuron": constant(
                (moved[0, 1] * first - moved[0, 0] * other) / (first * first)
            ),
            "share of the top eigenvector": constant(here),
            "gap of the eigenvalues": constant(instance.values[0] - instance.values[1]),
            "rate of the share of a neuron": constant(share_rate),
        }
        yield Place(values, dimensions, f" at eigenvector {k + 1}")


PARTS = (
    Part("layer", layer_places),
    Part("sphere", sphere_places),
    Part("ratio", ratio_places),
    Part("basin", basin_places),
    Part("time", time_places, exact="ball"),
    Part("neuron", neuron_places),
)
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, rows: int = 2) -> Iterator[GrowthInstance]:
    """Random instances with dyadic entries."""
    rng = samples.generator(seed, SLUG)
    for _ in range(count):
        low = int(rng.integers(0, 8))
        yield GrowthInstance(
            weights=samples.eighths(rng, int(rng.integers(1, rows, endpoint=True)), 2),
            output=samples.eighths(rng, int(rng.integers(1, 2, endpoint=True))),
            deviations=(low / 8 + int(rng.integers(1, 8)) / 8, low / 8),
            angle=float(rng.integers(-8, 8)) / 8,
            spread=float(rng.integers(-8, 8)) / 8,
            time=float(rng.integers(1, 8)) / 8,
        )


@st.composite
def instances(draw: st.DrawFn, rows: int = 1) -> GrowthInstance:
    """Instances that shrink to one row in the basis of the eigenvectors."""
    return GrowthInstance(
        weights=draw(grid_matrices(draw(st.integers(1, rows)), 2)),
        output=draw(st.sampled_from(((1.0,), (2.0,), (1.0, 0.5), (-0.5, 2.0)))),
        deviations=draw(st.sampled_from(((1.0, 0.0), (1.0, 0.5), (1.5, 0.25), (1.25, 1.0)))),
        angle=draw(eighths(-8, 8)),
        spread=draw(eighths(-8, 8)),
        time=draw(st.sampled_from((0.5, 0.25, 1.0))),
    )


def stage(rows: int) -> Any:
    """A stage of a search."""
    return lambda: instances(rows)


STAGES = (stage(1), stage(2))
