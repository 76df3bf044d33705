"""Instances of the pack covariance-loss, its literal loss in balls and in torch, and the values of its symbols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flint import arb, fmpq
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector
from verify.packs.byol_measures import everywhere, on_points
from verify.packs.oracle import entries, exact_gradient, float_gradients
from verify.packs.part import Pack, Part, Place, UndecidedError
from verify.strategies import SLOPES, eighths, grid_matrices, simplices, towers, widths
from verify.tolerance import rounding
from verify.tolerance.running import Bounded
from verify.towers import balls
from verify.towers.population import half_square, run, weighted_sum
from verify.towers.tower import Array, connection, exact_tower, rational, tensors, vec

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "covariance-loss"


@dataclass(frozen=True)
class CovarianceInstance(JsonInstance):
    """A tower, a strength beta, the pair weight ``xi(r) = 1/(1 + exp((r - margin)/tau))``, and a finite population.

    Examples
    --------
    >>> CovarianceInstance(0.0, (((1.0,),),), -0.5, 1.0, 0.0, (((1.0,), (2.0,)),), (1.0,), ((0.5, 0.5),)).checked().size
    (1, 1)
    """

    slope: float
    weights: tuple[Matrix, ...]
    beta: float
    tau: float
    margin: float
    points: tuple[Matrix, ...]
    point_weights: Vector
    augmentation_weights: Matrix

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        numeric.check_slope(self.slope)
        numeric.loss_spec("triplet", tau=self.tau, margin=self.margin)
        population = numeric.FinitePopulation(self.points, self.point_weights, self.augmentation_weights)
        flat = np.ones((population.size, population.size))
        numeric.covariance_loss_update(self.weights, population, flat, self.beta, self.slope)
        if not self.tau >= 2**-6:
            raise InputError(f"tau={self.tau!r}: must be 1/64 at least")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Number of layers and the largest width."""
        return len(self.weights), max(max(np.asarray(w).shape) for w in self.weights)

    @property
    def spread(self) -> int:
        """Augmentations of each point."""
        return len(self.points[0])


# The literal loss, in balls (power series at the gates of the instance) and in torch.


def laws(instance: CovarianceInstance) -> tuple[list[fmpq], list[list[fmpq]]]:
    """Probabilities of the points and of their augmentations."""
    inner = [[rational(q) for q in row] for row in instance.augmentation_weights]
    return [rational(p) for p in instance.point_weights], inner


def pair_weight(instance: CovarianceInstance, r: Any) -> Any:
    """xi of a distance, a ball or a power series."""
    scaled = (r - balls.to_ball(instance.margin)) * (1 / balls.to_ball(instance.tau))
    return 1 / (scaled.exp() + 1)


Weights = Callable[..., Any]


def weights_of(instance: CovarianceInstance, loss: str, outputs: Sequence[Array]) -> Weights:
    """The pair weight by points m and n, by the views x_1 and x_- of the loss, and by further views."""
    spread, (_, q) = instance.spread, laws(instance)
    rows = [outputs[m * spread : (m + 1) * spread] for m in range(len(instance.points))]
    means = [weighted_sum(row, list(map(balls.to_ball, w))) for row, w in zip(rows, q, strict=True)]

    @cache
    def between(m: int, n: int, a: int, c: int) -> Any:
        return pair_weight(instance, half_square(rows[m][a] - rows[n][c]))

    @cache
    def of_means(m: int, n: int) -> Any:
        return pair_weight(instance, half_square(means[m] - means[n]))

    if loss == "simple":
        return lambda *_: arb(1)
    if loss == "further views":
        return lambda m, n, _one, _minus, *further: between(m, n, *further)
    if loss == "own views":
        return lambda m, n, *views: between(m, n, *views[:2])
    return lambda m, n, *_: of_means(m, n)


def literal(instance: CovarianceInstance, loss: str, moving: Sequence[Array], held: Sequence[Array]) -> Any:
    """Expected loss of outputs; pair weights of the held ones, but where the gradient flows through them too."""
    p, q = laws(instance)
    spread, count = instance.spread, len(p)
    xi = weights_of(instance, loss, moving if loss == "attached" else held)
    strength = balls.to_ball(instance.beta) + 1

    @cache
    def r(i: int, j: int) -> Any:
        return half_square(moving[i] - moving[j])

    if loss == "batch":
        return batch_loss(count, spread, r, xi, strength)
    total: Any = arb(0)
    views = range(spread)
    further = list(product(views, repeat=2)) if loss == "further views" else [(0, 0)]
    for m, n in product(range(count), repeat=2):
        for a, b, c in product(views, repeat=3):
            chance = p[m] * p[n] * q[m][a] * q[m][b] * q[n][c]
            value = strength * r(m * spread + a, m * spread + b) - r(m * spread + a, n * spread + c)
            for d, e in further:
                share = chance * q[m][d] * q[n][e] if loss == "further views" else chance
                total = total + xi(m, n, a, c, d, e) * value * balls.to_ball(share)
    return total


def batch_loss(count: int, spread: int, r: Callable[[int, int], Any], xi: Weights, strength: Any) -> Any:
    """The mean over all pairs of images of a batch, whose views are the first two augmentations of each point."""
    total: Any = arb(0)
    for m, n in product(range(count), repeat=2):
        first, other = m * spread, n * spread
        far = sum((r(first + a, other + b) for a, b in product((0, 1), repeat=2)), arb(0))
        total = total + xi(m, n, 0, 0, 0, 0) * (strength * r(first, first + 1) - far / 4)
    return total / count**2


@lru_cache(maxsize=1024)
def expected(instance: CovarianceInstance, loss: str) -> tuple[list[Array], Any]:
    """The gradient by every layer, and the value, in balls at the gates of the instance."""
    plain = [entries(w, "rational") for w in instance.weights]
    inputs = [entries(x, "rational") for row in instance.points for x in row]
    gates = [[to_balls(g) for g in run(plain, x, rational(instance.slope), None)[1]] for x in inputs]
    weights, seen = [to_balls(w) for w in plain], [to_balls(x) for x in inputs]
    slope = rational(instance.slope)
    held = [run(weights, x, slope, g)[0] for x, g in zip(seen, gates, strict=True)]

    def by_layer(layer: int) -> Callable[[Array], Any]:
        def value(matrix: Array) -> Any:
            moved = [*weights[:layer], matrix, *weights[layer + 1 :]]
            return literal(instance, loss, [run(moved, x, slope, g)[0] for x, g in zip(seen, gates, strict=True)], held)

        return value

    gradients = [exact_gradient(by_layer(layer), weights[layer], "ball") for layer in range(len(weights))]
    return gradients, literal(instance, loss, held, held)


def to_balls(values: Array) -> Array:
    """An array of fractions as one of balls."""
    return np.frompyfunc(balls.to_ball, 1, 1)(values) if values.size else values


def torch_loss(instance: CovarianceInstance, loss: str, leaves: Sequence[Tensor], device: str) -> Tensor:
    """The same in torch, the plain form by `numeric`."""
    import torch

    arguments = (instance.points, instance.point_weights, instance.augmentation_weights)
    population = numeric.FinitePopulation(*tensors(arguments, device, leaves[0].dtype))
    spec = numeric.loss_spec("triplet", tau=instance.tau, margin=instance.margin)
    f = numeric.forward(leaves, population.flat_points, instance.slope)
    source = f if loss == "attached" else f.detach()
    means = population.mean(source)

    def weight(first: Tensor, second: Tensor) -> Tensor:
        return numeric.pair_weight(spec, (0.5 * (first - second).square().sum(-1)).unsqueeze(-1)).squeeze(-1)

    xi = weight(means[:, None], means)
    if loss == "simple":
        return numeric.expected_loss(leaves, population, "simple", instance.slope)
    if loss == "covariance":
        return numeric.covariance_loss(f, population, xi, instance.beta)
    p, q = population.point_weights, population.augmentation_weights
    table = f.unflatten(0, (population.size, -1))
    far = 0.5 * (table[:, :, None, None] - table).square().sum(-1)
    near = torch.einsum("mamb->mab", far)
    if loss == "batch":
        pairs = (1 + instance.beta) * near[:, 0, 1][:, None] - far[:, :2, :, :2].mean((1, 3))
        return (xi * pairs).mean()
    views = table.detach()
    xi_views = weight(views[:, :, None, None], views)
    if loss == "further views":
        return _sum_of_views("m,n,ma,mb,nc,md,ne,mdne", p, q, xi_views, near, far, instance.beta)
    if loss == "own views":
        return _sum_of_views("m,n,ma,mb,nc,manc", p, q, xi_views, near, far, instance.beta)
    return _sum_of_views("m,n,ma,mb,nc,mn", p, q, xi, near, far, instance.beta)


def _sum_of_views(letters: str, p: Tensor, q: Tensor, xi: Tensor, near: Tensor, far: Tensor, beta: float) -> Tensor:
    """``E[xi ((1 + beta) r_+ - r_-)]`` by the letters of its factors."""
    import torch

    factors = [p, p, *[q] * (letters.count(",") - 2), xi]
    pull = torch.einsum(f"{letters},mab->", *factors, near)
    push = torch.einsum(f"{letters},manc->", *factors, far)
    return (1 + beta) * pull - push


@lru_cache(maxsize=1024)
def float_expected(instance: CovarianceInstance, loss: str, device: str) -> tuple[list[Array], Any]:
    """Gradients by automatic differentiation in float64, and the value as the derivative of a multiple, with bounds."""
    import torch

    one = torch_loss_of(instance, loss, device)
    gradients = float_gradients(one, instance.weights, device)

    def scaled(leaves: Sequence[torch.Tensor]) -> torch.Tensor:
        (factor,) = leaves
        return factor[0] * one(tensors(instance.weights, device, factor.dtype))

    value = float_gradients(scaled, [[1.0]], device)[0][0]
    layers, of_value = roundings(instance, loss)
    return [at_least(g, bound) for g, bound in zip(gradients, layers, strict=True)], at_least(value, of_value)


def roundings(instance: CovarianceInstance, loss: str) -> tuple[list[Array], Array]:
    """A-priori rounding bounds of gradients and value: where all terms cancel, single precision may show no error."""
    points, p, q = (np.array(each) for each in (instance.points, instance.point_weights, instance.augmentation_weights))
    if loss == "batch":
        points, p, q = points[:, :2], np.full(len(p), 1 / len(p)), np.full((len(p), 2), 0.5)
    weights = [np.array(w) for w in instance.weights]
    bounds, near_kink = rounding.population_bounds(weights, points, p, q, instance.slope, 1 / instance.tau)
    if near_kink:
        raise UndecidedError("a gate is within rounding of its kink")
    size = rounding.magnitudes(weights, points.reshape(-1, points.shape[-1]), instance.slope)
    distance = 2 * (size.output**2).sum(-1).max()
    factor = 2 + abs(instance.beta)
    value = factor * rounding.gamma(4 * size.roundings + 64) * distance * (1 + 2 * distance / instance.tau)
    return [factor * bound for bound in bounds], np.array(value)


def at_least(values: Any, bounds: Array) -> Any:
    """Values whose error bounds are those or larger."""
    raised = np.frompyfunc(lambda value, bound: Bounded(value.value, max(value.error, float(bound))), 2, 1)
    return raised(values, bounds)


def torch_loss_of(instance: CovarianceInstance, loss: str, device: str) -> Callable[[Sequence[Tensor]], Tensor]:
    """The loss as a function of the layers."""
    return lambda leaves: torch_loss(instance, loss, leaves, device)


def oracle(instance: CovarianceInstance, loss: str, arithmetic: str, device: str) -> tuple[list[Array], Any]:
    """Gradients and value in an arithmetic."""
    return float_expected(instance, loss, device) if arithmetic == "float64" else expected(instance, loss)


# Values of the symbols of the claims.


def pair_weight_values(instance: CovarianceInstance) -> Callable[[dict[str, str]], Any]:
    """xi of the chosen points: between the means of their outputs, or between a further view of each."""
    outputs = [
        to_balls(exact_tower(instance.weights, x, instance.slope).output) for row in instance.points for x in row
    ]
    of_means, of_views = (weights_of(instance, loss, outputs) for loss in ("covariance", "further views"))

    def value(at: dict[str, str]) -> Any:
        if at["copy"]:
            return lambda chosen: of_views(chosen["x"], chosen["x'"], 0, 0, chosen["x 3"], chosen["x' 3"])
        return lambda chosen: of_means(chosen["x"], chosen["x'"], 0, 0, 0, 0)

    return value


def places(instance: CovarianceInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Values at every layer."""
    from theory.core.notation import AugmentationCovariance, Expect

    p, q = laws(instance)
    rows = [[exact_tower(instance.weights, x, instance.slope) for x in row] for row in instance.points]
    xi = pair_weight_values(instance)
    for layer in range(1, len(instance.weights) + 1):
        values: dict[str, Any] = {}
        for role, table in {
            "connection": [[connection(one, layer) for one in row] for row in rows],
            "output": [[one.output[:, None] for one in row] for row in rows],
        }.items():
            values[role] = everywhere(table)
            means = [weighted_sum(row, w) for row, w in zip(table, q, strict=True)]
            values[f"mean {role}"] = on_points(means)
        values |= common(instance, layer, arithmetic, device) | {"pair weight": xi}
        yield Place(values, {Expect: p, AugmentationCovariance: q}, f" at layer {layer}")


def common(instance: CovarianceInstance, layer: int, arithmetic: str, device: str) -> dict[str, Any]:
    """Weights, strength, and what the oracle gives."""
    matrix = entries(instance.weights[layer - 1], "rational")

    def of(loss: str) -> Array:
        return oracle(instance, loss, arithmetic, device)[0][layer - 1]

    return {
        "weights": lambda _: matrix,
        "within-pair strength": lambda _: rational(instance.beta),
        "expected gradient": lambda at: vec(of(at["loss"])),
        "expected loss": lambda at: oracle(instance, at["loss"], arithmetic, device)[1],
        "rate of the squared norm": lambda _: (matrix * of("covariance")).sum() * -2,
    }


def growth_places(instance: CovarianceInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Values where nothing pulls the views of a point together."""
    if instance.beta > 0:
        raise UndecidedError("beta is above 0")
    yield from places(instance, arithmetic, device)


def batch_places(instance: CovarianceInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """One batch: its images are the points, of the same weight, and the first two augmentations are the views."""
    from theory.core.notation import Expect

    if instance.spread < 2:
        raise UndecidedError("a pair needs two augmentations")
    count = len(instance.points)
    rows = [[exact_tower(instance.weights, x, instance.slope) for x in row[:2]] for row in instance.points]
    xi = pair_weight_values(instance)
    for layer in range(1, len(instance.weights) + 1):
        values = common(instance, layer, arithmetic, device) | {"pair weight": xi}
        for view, name in enumerate(("first", "second")):
            values[f"connection of the {name} view"] = on_points([connection(row[view], layer) for row in rows])
        yield Place(values, {Expect: [fmpq(1, count)] * count}, f" at layer {layer}")


PLACES = {"growth": growth_places, "batch": batch_places}
PARTS = tuple(
    Part(name, PLACES.get(name, places), exact="ball")
    for name in ("update", "general", "value", "norm", "growth", "further-views", "batch")
)
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, points: int = 3, layers: int = 2, width: int = 2) -> Iterator[CovarianceInstance]:
    """Random instances with dyadic entries; beta runs through both signs."""
    rng = samples.generator(seed, "covariance loss")
    for index in range(count):
        shape = samples.toy_widths(rng, layers, width)
        size = int(rng.integers(2, points, endpoint=True))
        yield CovarianceInstance(
            slope=samples.SLOPES[index % 3],
            weights=samples.toy_weights(rng, shape),
            beta=float((-1) ** index * rng.integers(1, 12)) / 8,
            tau=float(rng.choice([0.5, 1.0, 2.0])),
            margin=float(rng.integers(0, 8)) / 8,
            points=samples.eighths(rng, size, 2, shape[0]),
            point_weights=samples.simplex(rng, size),
            augmentation_weights=tuple(samples.simplex(rng, 2) for _ in range(size)),
        )


@st.composite
def instances(draw: st.DrawFn, max_layers: int = 2, max_width: int = 2, max_points: int = 2) -> CovarianceInstance:
    """Instances that shrink to one linear layer of width 1 on one point."""
    shape = draw(widths(max_layers, max_width))
    points, spread = draw(st.integers(1, max_points)), draw(st.integers(1, 2))
    return CovarianceInstance(
        slope=draw(st.sampled_from(SLOPES)),
        weights=draw(towers(shape)),
        beta=draw(eighths(-16, 16)),
        tau=draw(st.sampled_from((1.0, 0.5, 2.0))),
        margin=draw(eighths(0, 8)),
        points=draw(st.tuples(*[grid_matrices(spread, shape[0])] * points)),
        point_weights=draw(simplices(points)),
        augmentation_weights=draw(st.tuples(*[simplices(spread)] * points)),
    )


STAGES = tuple(
    partial(instances, max_layers=layers, max_width=width, max_points=min(width + 1, 3))
    for layers, width in samples.SIZES[:-2]
)
