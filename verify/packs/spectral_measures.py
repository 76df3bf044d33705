"""Values of the symbols of pack spectral-loss on an instance: literal sums, gradients, certified eigenvalues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flint import acb_mat, arb, fmpq
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector
from verify.packs.byol_measures import everywhere, on_points
from verify.packs.oracle import entries, exact_gradient, float_gradients, float_value, float_values
from verify.packs.part import BITS, Pack, Part, Place, UndecidedError
from verify.strategies import SLOPES, eighths, grid_matrices, simplices, towers, widths
from verify.tolerance.rounding import UNIT_ROUNDOFF
from verify.tolerance.running import Bounded
from verify.towers import balls
from verify.towers.population import run, weighted_sum
from verify.towers.tower import Array, connection, exact_tower, rational, tensors, vec
from verify.towers.values import in_float64

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "spectral-loss"


@dataclass(frozen=True)
class SpectralInstance(JsonInstance):
    """A tower, N nodes with an input each, and M points whose augmentations are the nodes: ``A(a|x)``.

    Examples
    --------
    >>> SpectralInstance(0.0, (((1.0,),),), ((1.0,), (2.0,)), (1.0,), ((0.5, 0.5),), 1.0).checked().size
    (1, 1)
    """

    slope: float
    weights: tuple[Matrix, ...]
    inputs: Matrix
    point_weights: Vector
    augmentation_weights: Matrix
    beta: float

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        numeric.check_slope(self.slope)
        weights = numeric.check_weights(self.weights, place="weights")
        population = numeric.FinitePopulation(
            [self.inputs] * len(self.point_weights), self.point_weights, self.augmentation_weights
        )
        if population.dimension != weights[0].shape[-1]:
            raise InputError(f"inputs have {population.dimension} columns: must have {weights[0].shape[-1]}")
        for node, chance in enumerate(marginals(self)):
            if not chance > 0:
                raise InputError(f"node {node} of augmentation_weights: must have a positive probability")
        if not np.isfinite(self.beta):
            raise InputError(f"beta={self.beta!r}: must be finite")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Number of layers and the largest width."""
        return len(self.weights), max(max(np.asarray(w).shape) for w in self.weights)


# The graph of the nodes, in rationals and balls, or in float64 with running bounds of the error.


def laws(instance: SpectralInstance, arithmetic: str = "rational") -> tuple[list[Any], list[list[Any]]]:
    """Probabilities of the points and of their augmentations."""

    def number(value: float) -> Any:
        return in_float64(value) if arithmetic == "float64" else rational(value)

    return [number(p) for p in instance.point_weights], [[number(q) for q in row] for row in
                                                         instance.augmentation_weights]  # fmt: skip


def marginals(instance: SpectralInstance, arithmetic: str = "rational") -> list[Any]:
    """``w_a``, the probability of each node."""
    p, q = laws(instance, arithmetic)
    return [sum(p[x] * q[x][a] for x in range(len(p))) for a in range(len(q[0]))]


def joint(instance: SpectralInstance, arithmetic: str = "rational") -> Array:
    """``w_ab``, the law of a positive pair."""
    p, q = laws(instance, arithmetic)
    pairs = [[sum(c * r[a] * r[b] for c, r in zip(p, q, strict=True)) for b in range(len(q[0]))]
             for a in range(len(q[0]))]  # fmt: skip
    return np.array(pairs, dtype=object)


def with_roots(values: Any, arithmetic: str) -> Array:
    """Numbers for which there are square roots: balls, or what they are in float64."""
    entries = np.array(values, dtype=object)
    return entries if arithmetic == "float64" else np.frompyfunc(balls.to_ball, 1, 1)(entries)


def roots(instance: SpectralInstance, arithmetic: str = "ball") -> Array:
    """``sqrt(w_a)``."""
    chances = with_roots(marginals(instance, arithmetic), arithmetic)
    return np.array([chance.sqrt() for chance in chances], dtype=object)


def adjacency(instance: SpectralInstance, arithmetic: str = "ball") -> Array:
    """``Abar = D^(-1/2) w D^(-1/2)``."""
    r = roots(instance, arithmetic)
    return with_roots(joint(instance, arithmetic), arithmetic) / r[:, None] / r[None, :]


def outputs(instance: SpectralInstance) -> Array:
    """``f(a)`` of every node, exactly, ``(N, k)``."""
    return np.array([exact_tower(instance.weights, x, instance.slope).output for x in instance.inputs], dtype=object)


def float_outputs(instance: SpectralInstance, device: str) -> Array:
    """The same by `numeric`, in float64."""
    at = [*instance.weights, instance.inputs]
    return float_values(lambda leaves: numeric.forward(leaves[:-1], leaves[-1], instance.slope), at, device)


def outputs_in(instance: SpectralInstance, arithmetic: str, device: str) -> Array:
    """``f(a)`` of every node in an arithmetic."""
    return float_outputs(instance, device) if arithmetic == "float64" else outputs(instance)


def scaled_outputs(instance: SpectralInstance, arithmetic: str = "ball", device: str = "cpu") -> Array:
    """F, with the rows ``sqrt(w_a) f(a)``."""
    f = with_roots(outputs_in(instance, arithmetic, device), arithmetic)
    return f * roots(instance, arithmetic)[:, None]


def eigenvalues(matrix: Array, count: int) -> list[arb]:
    """The largest eigenvalues of a symmetric matrix of balls, certified, with zeros where there are no more."""
    size = len(matrix)
    try:
        found = acb_mat(size, size, list(matrix.ravel())).eig(multiple=True)
    except ValueError as error:
        raise UndecidedError(f"the eigenvalues are not certified: {error}") from None
    values = sorted((value.real for value in found), key=lambda value: -float(value.mid()))
    return [*values, *[arb(0)] * count][:count]


def float_eigenvalues(matrix: Array, count: int) -> list[Bounded]:
    """The same by LAPACK in float64: errors of the entries move them by at most their norm (Weyl), so does rounding."""
    middle = np.vectorize(lambda entry: entry.value, otypes=[float])(matrix)
    errors = np.vectorize(lambda entry: entry.error, otypes=[float])(matrix)
    bound = float(np.linalg.norm(errors)) + 64 * len(matrix) ** 2 * UNIT_ROUNDOFF * float(np.linalg.norm(middle))
    found = np.linalg.eigvalsh(middle)[::-1]
    return [*(Bounded(float(value), bound) for value in found), *[Bounded(0.0)] * count][:count]


def eigenvalues_in(matrix: Array, count: int, arithmetic: str) -> Array:
    """A diagonal matrix of the largest eigenvalues in an arithmetic."""
    return diagonal((float_eigenvalues if arithmetic == "float64" else eigenvalues)(matrix, count))


@lru_cache(maxsize=256)
def eigenvectors(instance: SpectralInstance) -> tuple[list[arb], Array]:
    """Eigenvalues of Abar in order, and unit eigenvectors as columns; undecided where two eigenvalues meet."""
    size = len(instance.inputs)
    with balls.precision(BITS):
        try:
            values, vectors = acb_mat(size, size, list(adjacency(instance).ravel())).eig(right=True)
        except ValueError as error:
            raise UndecidedError(f"the eigenvectors are not certified: {error}") from None
        order = sorted(range(size), key=lambda n: -float(values[n].real.mid()))
        columns = []
        for number in order:
            column = [vectors[row, number] for row in range(size)]
            pivot = max(column, key=lambda entry: float(abs(entry).mid()))
            reals = np.array([(entry / pivot).real for entry in column], dtype=object)
            columns.append(reals / (reals * reals).sum().sqrt())
        return [values[n].real for n in order], np.array(columns, dtype=object).T


# Literal losses: of the outputs of all nodes, in any exact arithmetic, and by `numeric`.


def literal(instance: SpectralInstance, products: Array) -> Any:
    """``-2 E[f(a)^T f(a_+)] + E[(f(a)^T f(a'))^2]`` from the products ``f(a)^T f(b)`` of all nodes, term by term."""
    p, q = laws(instance)
    w = marginals(instance)
    nodes = range(len(w))
    total: Any = fmpq(0)
    for (x, chance), a, b in product(enumerate(p), nodes, nodes):
        total = total - products[a, b] * (2 * chance * q[x][a] * q[x][b])
    for a, b in product(nodes, nodes):
        total = total + products[a, b] * products[a, b] * (w[a] * w[b])
    return total


def literal_family(instance: SpectralInstance) -> fmpq:
    """``beta E||f(a) - f(a_+)||^2 + ||E[f f^T] - I||^2``, term by term."""
    p, q = laws(instance)
    f, beta = outputs(instance), rational(instance.beta)
    nodes, total = range(len(f)), fmpq(0)
    for (x, chance), a, b in product(enumerate(p), nodes, nodes):
        gap = f[a] - f[b]
        total += beta * chance * q[x][a] * q[x][b] * (gap @ gap)
    second = weighted_sum([np.outer(row, row) for row in f], marginals(instance))
    for i, j in np.ndindex(*second.shape):
        total += (second[i, j] - int(i == j)) ** 2
    return total


def population(instance: SpectralInstance, device: str, dtype: Any) -> Any:
    """The population of `numeric`: every node is an augmentation of every point."""
    points = [instance.inputs] * len(instance.point_weights)
    return numeric.FinitePopulation(
        *tensors((points, instance.point_weights, instance.augmentation_weights), device, dtype)
    )


def in_torch(instance: SpectralInstance, device: str, table: Tensor, beta: float | None = None) -> Tensor:
    """`numeric`'s loss of a table of outputs of the nodes."""
    graph = population(instance, device, table.dtype)
    rows = table.repeat(graph.size, 1)
    return numeric.spectral_loss(rows, graph) if beta is None else numeric.spectral_family_loss(rows, graph, beta)


def loss(instance: SpectralInstance, arithmetic: str, device: str, beta: float | None = None) -> Any:
    """The loss, or that of the family, of the outputs of the tower."""
    if arithmetic != "float64":
        f = outputs(instance)
        return literal(instance, f @ f.T) if beta is None else literal_family(instance)
    at = [*instance.weights, instance.inputs]
    return float_value(
        lambda leaves: in_torch(instance, device, numeric.forward(leaves[:-1], leaves[-1], instance.slope), beta),
        at, device,
    )  # fmt: skip


@lru_cache(maxsize=256)
def gradient_by_scaled(instance: SpectralInstance, arithmetic: str, device: str) -> Array:
    """``grad_F L``: the loss of ``f = D^(-1/2) F``."""
    f, r = scaled_outputs(instance), roots(instance)
    if arithmetic != "float64":
        return exact_gradient(lambda F: literal(instance, (F / r[:, None]) @ (F / r[:, None]).T), f, "ball")
    near = np.vectorize(float, otypes=[float])
    scale = near(r)[:, None]

    def value(leaves: Sequence[Tensor]) -> Tensor:
        return in_torch(instance, device, leaves[0] / tensors([scale], device, leaves[0].dtype)[0])

    return float_gradients(value, [near(f)], device)[0]


@lru_cache(maxsize=256)
def gradient_by_layers(instance: SpectralInstance, arithmetic: str, device: str) -> list[Array]:
    """The gradient by every layer, at the gates of the instance."""
    if arithmetic == "float64":

        def value(leaves: Sequence[Tensor]) -> Tensor:
            inputs = tensors([instance.inputs], device, leaves[0].dtype)[0]
            return in_torch(instance, device, numeric.forward(leaves, inputs, instance.slope))

        return float_gradients(value, instance.weights, device)
    weights, slope = [entries(w, "rational") for w in instance.weights], rational(instance.slope)
    inputs = [entries(x, "rational") for x in instance.inputs]
    gates = [run(weights, x, slope, None)[1] for x in inputs]

    def by_layer(layer: int) -> Callable[[Array], Any]:
        def value(moved: Array) -> Any:
            tower = [*weights[:layer], moved, *weights[layer + 1 :]]
            f = np.array([run(tower, x, slope, g)[0] for x, g in zip(inputs, gates, strict=True)], dtype=object)
            return literal(instance, f @ f.T)

        return value

    return [exact_gradient(by_layer(layer), weights[layer], "rational") for layer in range(len(weights))]


# Values of the symbols of the claims.


def constant(value: Any) -> Callable[[dict[str, str]], Any]:
    """The same value at every place."""
    return lambda _: value


def graph_values(instance: SpectralInstance, arithmetic: str, device: str) -> dict[str, Any]:
    """What the matrix forms are about."""
    r = roots(instance, arithmetic)
    return {
        "normalised adjacency": lambda _: adjacency(instance, arithmetic),
        "scaled outputs": lambda _: scaled_outputs(instance, arithmetic, device),
        "outputs": lambda _: outputs_in(instance, arithmetic, device),
        "square roots of the node probabilities": constant(r[:, None]),
        "root of D": constant(np.diag(r)),
        "weight of the invariance term": lambda _: rational(instance.beta),
        "loss": lambda _: loss(instance, arithmetic, device),
        "family loss": lambda _: loss(instance, arithmetic, device, instance.beta),
        "gradient by the scaled outputs": lambda _: gradient_by_scaled(instance, arithmetic, device),
    }


def sizes(instance: SpectralInstance) -> dict[Any, Any]:
    """The numbers of nodes and features."""
    from theory.packs.spectral import FEATURES, NODES

    return {NODES: len(instance.inputs), FEATURES: len(instance.weights[-1])}


def matrix_places(instance: SpectralInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """One place: the graph."""
    yield Place(graph_values(instance, arithmetic, device), sizes(instance))


def function_places(instance: SpectralInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The coordinates of the output as functions on the nodes."""
    from theory.core.notation import AugmentationCovariance, Expect

    p, q = laws(instance, arithmetic)
    for number, u in enumerate(outputs_in(instance, arithmetic, device).T, start=1):
        means = [sum(w * v for w, v in zip(row, u, strict=True)) for row in q]
        scaled = with_roots(u, arithmetic) * roots(instance, arithmetic)
        values = {
            **graph_values(instance, arithmetic, device),
            "function on the nodes": everywhere([list(u)] * len(p)),
            "mean function": on_points(means),
            "scaled function on the nodes": constant(scaled),
        }
        yield Place(values, {Expect: p, AugmentationCovariance: q, **sizes(instance)}, f" of coordinate {number}")


def diagonal(values: Sequence[Any]) -> Array:
    """A diagonal matrix of numbers of one arithmetic."""
    return np.array([[v if i == j else v * 0 for j in range(len(values))] for i, v in enumerate(values)], dtype=object)


def eigenvalue_places(instance: SpectralInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The k largest eigenvalues of Abar and of ``F F^T``."""
    f, features = scaled_outputs(instance, arithmetic, device), len(instance.weights[-1])
    values = {
        **graph_values(instance, arithmetic, device),
        "leading eigenvalues": lambda _: eigenvalues_in(adjacency(instance, arithmetic), features, arithmetic),
        "eigenvalues of the Gram matrix": lambda _: eigenvalues_in(f.T @ f, features, arithmetic),
    }
    yield Place(values, sizes(instance))


def minimiser_places(instance: SpectralInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The leading eigenvectors, and the loss of the outputs that they make."""
    features = len(instance.weights[-1])
    spectrum, vectors = eigenvectors(instance)
    padded = [*spectrum, *[arb(0)] * (features + 1)]
    chosen = vectors[:, :features]
    leading = (chosen * np.array(spectrum[:features], dtype=object)) @ chosen.T
    r = roots(instance)

    def least(_: dict[str, str]) -> Any:
        if arithmetic != "float64":
            return literal(instance, leading / r[:, None] / r[None, :])
        near = np.vectorize(float, otypes=[float])
        table = near(chosen / r[:, None]) * np.sqrt(np.maximum(near(spectrum[:features]), 0))
        return float_value(lambda leaves: in_torch(instance, device, leaves[0]), [table], device)

    values = {
        **graph_values(instance, arithmetic, device),
        "projector onto the leading eigenvectors": constant(chosen @ chosen.T),
        "leading part of the adjacency": constant(leading),
        "leading eigenvalues": constant(diagonal(padded[:features])),
        "next eigenvalue": constant(padded[features]),
        "loss of the leading part": least,
    }
    yield Place(values, sizes(instance))


def network_places(instance: SpectralInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Every layer: connections and outputs of the nodes."""
    from theory.core.notation import AugmentationCovariance, Expect

    p, q = laws(instance)
    nodes = [exact_tower(instance.weights, x, instance.slope) for x in instance.inputs]
    for layer, matrix in enumerate(instance.weights, start=1):
        tables = {
            "connection": [connection(node, layer) for node in nodes],
            "output": [n.output[:, None] for n in nodes],
        }
        values: dict[str, Any] = {
            "weights": constant(entries(matrix, "rational")),
            "expected gradient": lambda _, of=layer: vec(gradient_by_layers(instance, arithmetic, device)[of - 1]),
        }
        for role, row in tables.items():
            values[role] = everywhere([row] * len(p))
            values[f"mean {role}"] = on_points([weighted_sum(row, w) for w in q])
        yield Place(values, {Expect: p, AugmentationCovariance: q}, f" at layer {layer}")


PACK = Pack(
    SLUG,
    (
        Part("factorisation", matrix_places, exact="ball"),
        Part("gradient", matrix_places, exact="ball"),
        Part("spectrum", function_places, exact="ball"),
        Part("top", matrix_places, exact="ball"),
        Part("minimum", eigenvalue_places, exact="ball"),
        Part("minimiser", minimiser_places, exact="ball"),
        Part("network", network_places),
        Part("any-network", network_places),
        Part("family", matrix_places, exact="ball"),
    ),
)


# Instances.


def toy(seed: int, count: int, *, points: int = 3, layers: int = 2, width: int = 2) -> Iterator[SpectralInstance]:
    """Random instances with dyadic entries; the nodes outnumber the points by one at most, for a simple spectrum."""
    rng = samples.generator(seed, "spectral")
    for index in range(count):
        shape = samples.toy_widths(rng, layers, width)
        size = int(rng.integers(1, points, endpoint=True))
        nodes = int(rng.integers(2, max(2, min(3, size + 1)), endpoint=True))
        yield SpectralInstance(
            slope=samples.SLOPES[index % 3],
            weights=samples.toy_weights(rng, shape),
            inputs=samples.eighths(rng, nodes, shape[0]),
            point_weights=samples.simplex(rng, size),
            augmentation_weights=tuple(samples.simplex(rng, nodes) for _ in range(size)),
            beta=float(rng.integers(-4, 12)) / 8,
        )


@st.composite
def instances(draw: st.DrawFn, max_layers: int = 2, max_width: int = 2, max_points: int = 2) -> SpectralInstance:
    """Instances that shrink to one linear layer of width 1 on one node."""
    shape = draw(widths(max_layers, max_width))
    points, nodes = draw(st.integers(1, max_points)), draw(st.integers(1, max_points))
    return SpectralInstance(
        slope=draw(st.sampled_from(SLOPES)),
        weights=draw(towers(shape)),
        inputs=draw(grid_matrices(nodes, shape[0])),
        point_weights=draw(simplices(points)),
        augmentation_weights=draw(st.tuples(*[simplices(nodes)] * points)),
        beta=draw(eighths(-4, 12)),
    )


STAGES = tuple(
    partial(instances, max_layers=layers, max_width=width, max_points=points)
    for layers, width, points in ((1, 2, 2), (1, 2, 3), (2, 2, 3))
)
