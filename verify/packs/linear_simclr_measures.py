"""Instances of pack linear-simclr and the values of its symbols: the literal loss of a batch, differentiated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix
from verify.packs.oracle import entries, exact_gradient, float_gradients
from verify.packs.part import BITS, Pack, Part, Place, UndecidedError
from verify.strategies import grid_matrices
from verify.tolerance.running import Bounded
from verify.towers import balls
from verify.towers.population import half_square
from verify.towers.tower import Array, tensors
from verify.towers.values import in_float64

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "linear-simclr"


@dataclass(frozen=True)
class LinearSimclrInstance(JsonInstance):
    """A batch with two views of each point, a linear layer, and a layer above it for the two-layer formulas.

    Examples
    --------
    >>> LinearSimclrInstance(((1.0,),), ((1.0,),), ((0.0,), (1.0,)), ((0.5,), (1.0,))).checked().size
    (2, 1)
    """

    weights: Matrix
    top: Matrix
    points: Matrix
    views: Matrix

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        numeric.simclr_matrices(self.weights, self.points, self.views)
        top = np.asarray(self.top)
        if top.ndim != 2 or top.shape[1] != len(self.weights):
            raise InputError(f"top has shape {top.shape}: must have {len(self.weights)} columns, the rows of weights")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Batch size and the largest width."""
        return len(self.points), max(np.asarray(self.weights).shape)


# The literal loss.


def literal(outputs: Sequence[Array], views: Sequence[Array]) -> Any:
    """``sum_i d_i + log(e^(-d_i) + sum_(j != i) e^(-d_ij))``, over balls or power series."""
    total: Any = 0
    for i, (f, other) in enumerate(zip(outputs, views, strict=True)):
        near: Any = half_square(f - other)
        far: list[Any] = [half_square(f - g) for j, g in enumerate(outputs) if j != i]
        chances: Any = sum(((-d).exp() for d in far), (-near).exp())
        total = total + near + chances.log()
    return total


@lru_cache(maxsize=256)
def exact_descent(instance: LinearSimclrInstance, layers: int) -> tuple[Array, ...]:
    """``-grad L`` by every layer, in balls."""
    with balls.precision(BITS):
        stack = [entries(m, "ball") for m in (instance.weights, instance.top)[:layers]]
        points, views = (list(entries(rows, "ball")) for rows in (instance.points, instance.views))

        def by_layer(layer: int) -> Array:
            def value(moved: Array) -> Any:
                matrix = reduce(lambda below, above: above @ below, [*stack[:layer], moved, *stack[layer + 1 :]])
                return literal([matrix @ x for x in points], [matrix @ x for x in views])

            return -exact_gradient(value, stack[layer], "ball")

        return tuple(by_layer(layer) for layer in range(layers))


@lru_cache(maxsize=256)
def float_descent(instance: LinearSimclrInstance, layers: int, device: str) -> tuple[Array, ...]:
    """The same by automatic differentiation of `numeric`'s loss in float64, with bounds."""

    def value(leaves: Sequence[Tensor]) -> Tensor:
        batch = tensors((instance.points, instance.views), device, leaves[0].dtype)
        first, second = (reduce(lambda x, matrix: x @ matrix.T, leaves, rows) for rows in batch)
        return numeric.simclr_loss(first, second)

    floor = rounding_floor(instance, layers)
    widened = np.frompyfunc(lambda entry: Bounded(entry.value, entry.error + floor), 1, 1)
    return tuple(-widened(g) for g in float_gradients(value, (instance.weights, instance.top)[:layers], device))


def rounding_floor(instance: LinearSimclrInstance, layers: int) -> float:
    """What rounding leaves of terms that cancel in both precisions, which the probes of `float_gradients` do not see.

    Every pair adds terms of size ``|W g| |g|``, with weights whose exponents are distances.
    """
    stack = [np.abs(np.asarray(m)) for m in (instance.weights, instance.top)[:layers]]
    matrix = reduce(lambda below, above: above @ below, stack)
    span = np.abs(np.concatenate([np.asarray(instance.points), np.asarray(instance.views)])).max(0) * 2
    outputs = matrix @ span
    terms = len(instance.points) ** 2 * float(outputs.sum() * span.sum()) * max(float(m.sum()) for m in stack)
    return 2.0**-50 * terms * (1 + float(outputs @ outputs))


def descent(instance: LinearSimclrInstance, layers: int, arithmetic: str, device: str) -> tuple[Array, ...]:
    """``-grad L`` by the oracle of an arithmetic."""
    return float_descent(instance, layers, device) if arithmetic == "float64" else exact_descent(instance, layers)


# Values of the symbols.


@dataclass(frozen=True)
class Pairs:
    """Weights of all pairs (i, j), j != i, with both differences; and the two covariances, summed over points."""

    weights: list[Any]
    gaps: list[Array]
    moves: list[Array]
    spread: Array
    augmented: Array


def chance(gap: Array) -> Any:
    """``e^(-d)`` of a distance, in balls."""
    distance: Any = half_square(gap)
    return (-distance).exp()


@lru_cache(maxsize=256)
def pairs(instance: LinearSimclrInstance, layers: int) -> Pairs:
    """The softmax weights at the weights of the instance, in balls."""
    stack = [entries(m, "ball") for m in (instance.weights, instance.top)[:layers]]
    matrix = reduce(lambda below, above: above @ below, stack)
    points, views = (list(entries(rows, "ball")) for rows in (instance.points, instance.views))
    weights, gaps, moves = [], [], []
    size = len(points[0])
    spread = augmented = np.full((size, size), balls.to_ball(0.0), dtype=object)
    for i, (x, other) in enumerate(zip(points, views, strict=True)):
        near = chance(matrix @ (x - other))
        far = {j: chance(matrix @ (x - y)) for j, y in enumerate(points) if j != i}
        total = sum(far.values(), near)
        move = (x - other)[:, None]
        augmented = augmented + move @ move.T * (1 - near / total)
        for j, value in far.items():
            gap = (x - points[j])[:, None]
            weights.append(value / total)
            gaps.append(gap)
            moves.append(move)
            spread = spread + gap @ gap.T * (value / total)
    return Pairs(weights, gaps, moves, spread, augmented)


def constant(value: Any) -> Any:
    return lambda _: value


def places(layers: int, instance: LinearSimclrInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The batch: rates by the oracle, pair weights by their definition."""
    import theory.packs.linear_simclr as letters
    from theory.core.notation import SumOver

    found, rates = pairs(instance, layers), descent(instance, layers, arithmetic, device)
    weight = entries(instance.weights, "ball")
    values: dict[str, Any] = {
        "weights": lambda at: entries(instance.weights if at["layer"] == "1" else instance.top, "ball"),
        "rate of the weights": constant(rates[0]),
        "rate of the top weights": constant(rates[-1]),
        "weighted data covariance": constant(found.spread),
        "weighted augmentation covariance": constant(found.augmented),
        "pair weight": constant(lambda at: found.weights[at["k"]]),
        "difference of a pair": constant(lambda at: found.gaps[at["k"]]),
        "difference of two views": constant(lambda at: found.moves[at["k"]]),
        "rate of half the squared norm": constant((rates[0] * weight).sum()),
    }
    rows, columns = weight.shape
    sizes = {letters.N1: columns, letters.N2: rows, letters.N3: len(instance.top)}
    yield Place(values, {SumOver: len(found.weights), **sizes})


def one_layer(instance: LinearSimclrInstance, arithmetic: str, device: str) -> Iterator[Place]:
    yield from places(1, instance, arithmetic, device)


def two_layers(instance: LinearSimclrInstance, arithmetic: str, device: str) -> Iterator[Place]:
    yield from places(2, instance, arithmetic, device)


SMALLEST = 2.0**-100


def eigenvectors(matrix: Array) -> list[tuple[Any, Array]]:
    """Eigenvalues and eigenvectors of a symmetric matrix of balls with one or two rows."""
    if len(matrix) == 1:
        return [(matrix[0, 0], np.array([[balls.to_ball(1.0)]], dtype=object))]
    if len(matrix) > 2:
        raise UndecidedError("eigenvectors are written out for two input dimensions")
    a, b, c = matrix[0, 0], matrix[0, 1], matrix[1, 1]
    if not abs(b) > SMALLEST:
        raise UndecidedError("a matrix that may be diagonal")
    half = (a - c) / 2
    root = (half * half + b * b).sqrt()  # a power of a ball around 0 is not a number
    return [(value, np.array([[b], [value - a]], dtype=object)) for value in ((a + c) / 2 + root, (a + c) / 2 - root)]


def eigen_places(instance: LinearSimclrInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Every eigenvector of X."""
    import theory.packs.linear_simclr as letters

    found = pairs(instance, 1)
    (rate,) = descent(instance, 1, arithmetic, device)
    weight = entries(instance.weights, "ball")
    if arithmetic == "float64":
        weight = in_float64(weight)
    sizes = {letters.N1: weight.shape[1], letters.N2: weight.shape[0]}
    for number, (value, vector) in enumerate(eigenvectors(found.spread - found.augmented), start=1):
        if arithmetic == "float64":
            vector = in_float64(vector)
        along, image = rate @ vector, weight @ vector
        values = {
            "weights": weight,
            "eigenvector": vector,
            "eigenvalue": value,
            "rate along an eigenvector": along,
            "rate of the squared length along an eigenvector": (along * image).sum() * 2,
        }
        yield Place({role: constant(v) for role, v in values.items()}, sizes, f" at eigenvector {number}")


PARTS = (
    Part("update", one_layer, exact="ball"),
    Part("norm", one_layer, exact="ball"),
    Part("eigenvector", eigen_places, exact="ball"),
    Part("two-layers", two_layers, exact="ball"),
)
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, batch: int = 4, width: int = 2) -> Iterator[LinearSimclrInstance]:
    """Random batches with dyadic entries."""
    rng = samples.generator(seed, SLUG)
    for _ in range(count):
        inputs, hidden, outputs = (int(n) for n in rng.integers(1, width, size=3, endpoint=True))
        size = int(rng.integers(2, batch, endpoint=True))
        yield LinearSimclrInstance(
            weights=samples.eighths(rng, hidden, inputs, spread=8),
            top=samples.eighths(rng, outputs, hidden, spread=8),
            points=samples.eighths(rng, size, inputs),
            views=samples.eighths(rng, size, inputs),
        )


@st.composite
def instances(draw: st.DrawFn, width: int = 2, batch: int = 2) -> LinearSimclrInstance:
    """Instances that shrink to one neuron on two points."""
    inputs, hidden = draw(st.integers(1, width)), draw(st.integers(1, width))
    size = draw(st.integers(2, batch))
    return LinearSimclrInstance(
        weights=draw(grid_matrices(hidden, inputs)),
        top=draw(grid_matrices(1, hidden)),
        points=draw(grid_matrices(size, inputs)),
        views=draw(grid_matrices(size, inputs)),
    )


def stage(width: int, batch: int) -> Any:
    """A stage of a search."""
    return lambda: instances(width, batch)


STAGES = (stage(2, 2), stage(2, 3))
