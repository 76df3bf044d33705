"""Pack alpha-trace: instances, the literal losses, and the values of the symbols of its claims."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from flint import arb, arb_series, fmpq
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector, freeze
from verify.packs.byol_measures import everywhere, on_points
from verify.packs.oracle import entries, exact_gradient, float_gradients, float_values
from verify.packs.part import Pack, Part, Place
from verify.strategies import SLOPES, eighths, simplices, widths
from verify.towers import balls
from verify.towers.population import half_square, run, weighted_sum
from verify.towers.tower import Array, connection, exact_tower, rational, tensors, vec

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "alpha-trace"
LOSSES = ("infonce", "infonce-decoupled", "triplet", "square", "log-square")


@dataclass(frozen=True)
class AlphaInstance(JsonInstance):
    """A tower, points with augmentations, a loss, and weights.

    The first two augmentations of every point are the two views of a member of the batch. `feasible` has a row of the
    simplex for every member: the weight of the slack, then those of the others. `pair_weights` is symmetric.
    """

    slope: float
    weights: tuple[Matrix, ...]
    points: tuple[Matrix, ...]
    point_weights: Vector
    augmentation_weights: Matrix
    loss: str
    tau: float
    margin: float
    feasible: Matrix
    pair_weights: Matrix

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        numeric.check_slope(self.slope)
        layers = numeric.check_weights(self.weights, place="weights")
        population = numeric.FinitePopulation(self.points, self.point_weights, self.augmentation_weights)
        numeric.alpha_functions(self.loss, self.tau, self.margin)
        if population.dimension != layers[0].shape[-1]:
            raise InputError(f"points have dimension {population.dimension}: must be {layers[0].shape[-1]}")
        if population.size < 2 or population.augmentations < 2:
            raise InputError("points: must be at least 2, with 2 augmentations or more")
        for name, rows in (("feasible", self.feasible), ("pair_weights", self.pair_weights)):
            table = np.asarray(rows, dtype=float)
            if table.shape != (population.size, population.size):
                raise InputError(f"{name} has shape {table.shape}: must be {(population.size, population.size)}")
        if not (np.asarray(self.feasible) > 0).all() or not (np.asarray(self.feasible).sum(1) == 1).all():
            raise InputError("feasible: rows must be positive and sum to 1")
        if not (np.asarray(self.pair_weights) == np.asarray(self.pair_weights).T).all():
            raise InputError("pair_weights: must be symmetric")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Number of layers and the largest width."""
        return len(self.weights), max(max(np.asarray(w).shape) for w in self.weights)


class Functions(NamedTuple):
    """phi and psi on balls and power series, and their derivatives by hand."""

    phi: Callable[[Any], Any]
    psi: Callable[[Any], Any]
    phi_slope: Callable[[Any], Any]
    psi_slope: Callable[[Any], Any]


def functions(loss: str, tau: float, margin: float) -> Functions:
    """The functions of a named loss."""
    t, r = balls.to_ball(tau), balls.to_ball(margin)

    def power(u: Any) -> Any:
        return (u / t).exp()

    def soft(u: Any) -> Any:
        return (((u + r) / t).exp() + 1).log() * t

    def grow(u: Any) -> Any:
        return u.exp()

    return {
        "infonce": Functions(lambda x: (x + 1).log() * t, power, lambda x: t / (x + 1), lambda u: power(u) / t),
        "infonce-decoupled": Functions(lambda x: x.log() * t, power, lambda x: t / x, lambda u: power(u) / t),
        "triplet": Functions(lambda x: x, soft, lambda x: x * 0 + 1, lambda u: 1 / ((-(u + r) / t).exp() + 1)),
        "square": Functions(lambda x: x * x, grow, lambda x: x * 2, grow),
        "log-square": Functions(lambda x: x.log() ** 2, grow, lambda x: x.log() / x * 2, grow),
    }[loss]


# A batch: outputs, gaps d_i - d_ij, and literal functions of them.


def views(instance: AlphaInstance, which: int) -> list[Any]:
    """The towers at one view of every member, in rationals."""
    return [exact_tower(instance.weights, row[which], instance.slope) for row in instance.points]


def gaps(first: Sequence[Array], second: Sequence[Array]) -> list[list[Any]]:
    """``d_i - d_ij`` for every i, over the others j in order."""
    near = [half_square(f - g) for f, g in zip(first, second, strict=True)]
    return [[near[i] - half_square(f - other) for j, other in enumerate(first) if j != i] for i, f in enumerate(first)]


def own_gaps(instance: AlphaInstance) -> list[list[arb]]:
    """The gaps of the batch as balls."""
    outputs = [[tower.output for tower in views(instance, which)] for which in (0, 1)]
    return [[balls.to_ball(u) for u in row] for row in gaps(*outputs)]


@lru_cache(maxsize=256)
def slopes(instance: AlphaInstance) -> tuple[list[arb], list[list[arb]]]:
    """``phi'(xi_i)``, and the table of ``psi'(d_i - d_ij)`` with zeros on the diagonal."""
    of = functions(instance.loss, instance.tau, instance.margin)
    rows = own_gaps(instance)
    outer = [of.phi_slope(sum(map(of.psi, row[1:]), of.psi(row[0]))) for row in rows]
    inner = [[of.psi_slope(u) for u in row] for row in rows]
    return outer, [[*row[:i], arb(0), *row[i:]] for i, row in enumerate(inner)]


def literal(instance: AlphaInstance, of: str, rows: list[list[Any]]) -> Any:
    """The loss, or the trace with weights held or moving, of gaps that are balls or power series."""
    own = functions(instance.loss, instance.tau, instance.margin)
    if of == "loss":
        return sum((own.phi(sum(map(own.psi, row[1:]), own.psi(row[0]))) for row in rows), arb(0))
    outer, inner = slopes(instance)
    total: Any = arb(0)
    for i, row in enumerate(rows):
        if of == "moving trace":
            scale = own.phi_slope(sum(map(own.psi, row[1:]), own.psi(row[0])))
            weights = [scale * own.psi_slope(u) for u in row]
        else:
            weights = [outer[i] * a for j, a in enumerate(inner[i]) if j != i]
        total = total + sum((a * u for a, u in zip(weights, row, strict=True)), arb(0)) * -2
    return total


@lru_cache(maxsize=512)
def exact_batch_gradient(instance: AlphaInstance, of: str) -> list[Array]:
    """Gradient of a function of the batch by every layer, by power series in balls."""
    weights, slope = [entries(w, "ball") for w in instance.weights], balls.to_ball(instance.slope)
    inputs = [[entries(row[which], "ball") for row in instance.points] for which in (0, 1)]
    gates = [[run(weights, x, slope, None)[1] for x in side] for side in inputs]  # type: ignore[arg-type]

    def by_layer(layer: int) -> Callable[[Array], Any]:
        def value(moved: Array) -> Any:
            tower = [*weights[:layer], moved, *weights[layer + 1 :]]
            outputs = [
                [run(tower, x, slope, g)[0] for x, g in zip(side, own, strict=True)]  # type: ignore[arg-type]
                for side, own in zip(inputs, gates, strict=True)
            ]
            rows = [[arb_series(u) if isinstance(u, arb) else u for u in row] for row in gaps(*outputs)]
            return literal(instance, of, rows)

        return value

    return [exact_gradient(by_layer(layer), weights[layer], "ball") for layer in range(len(weights))]


@lru_cache(maxsize=512)
def float_batch_gradient(instance: AlphaInstance, of: str, device: str) -> list[Array]:
    """The same by automatic differentiation of `numeric`'s functions."""
    options = (instance.loss, instance.tau, instance.margin)

    def value(leaves: Sequence[Tensor]) -> Tensor:
        dtype = leaves[0].dtype
        sides = tensors([[row[which] for row in instance.points] for which in (0, 1)], device, dtype)
        f, g = (numeric.forward(leaves, x, instance.slope) for x in sides)
        if of == "loss":
            return numeric.alpha_loss(f, g, *options)
        return numeric.alpha_trace(f, g, numeric.alpha_weights(f, g, *options, held=of == "trace"))

    return float_gradients(value, instance.weights, device)


def batch_gradient(instance: AlphaInstance, of: str, arithmetic: str, device: str) -> list[Array]:
    """The gradient by an oracle of that arithmetic."""
    if arithmetic == "float64":
        return float_batch_gradient(instance, of, device)
    return exact_batch_gradient(instance, of)


def on_pairs(table: Any) -> Callable[[dict[str, str]], Any]:
    """Values at the pair of points that an expectation has chosen, in the order of the symbol."""

    def value(at: dict[str, str]) -> Any:
        first, second = at["point"].split()
        return lambda chosen: table[chosen[first]][chosen[second]]

    return value


def in_balls(columns: Sequence[Array]) -> list[Array]:
    """Arrays of fractions as arrays of balls."""
    return [np.asarray(np.frompyfunc(balls.to_ball, 1, 1)(one)) for one in columns]


def batch_places(instance: AlphaInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Values of the batch at every layer; the double sum is an expectation over two members."""
    from theory.core.notation import Expect

    first, second = views(instance, 0), views(instance, 1)
    count = len(first)
    outer, inner = slopes(instance)
    f, g = ([tower.output[:, None] for tower in side] for side in (first, second))
    near = [balls.to_ball(half_square((a - b)[:, 0])) for a, b in zip(f, g, strict=True)]
    far = [[balls.to_ball(half_square((a - b)[:, 0])) for b in f] for a in f]
    mean = sum(outer[i] * a for i, row in enumerate(inner) for a in row) / (count * (count - 1))
    trace = sum(
        outer[i] * inner[i][j] * 2 * (far[i][j] - near[i]) for i, j in product(range(count), repeat=2) if i != j
    )
    for layer in range(1, len(instance.weights) + 1):
        values: dict[str, Any] = {
            "slope of phi": on_points(outer),
            "slope of psi": on_pairs(inner),
            "distance": on_pairs(far),
            "distance of the views": on_points(near),
            "output": on_points(in_balls(f)),
            "output of the view": on_points(in_balls(g)),
            "connection": on_points(in_balls([connection(tower, layer) for tower in first])),
            "connection of the view": on_points(in_balls([connection(tower, layer) for tower in second])),
            "batch size": lambda _: arb(count),
            "mean pair weight": lambda _: mean,
            "weights": lambda _, of=layer: entries(instance.weights[of - 1], "ball"),
            "trace": lambda _: trace,
            "gradient": lambda at, of=layer: vec(batch_gradient(instance, at["of"], arithmetic, device)[of - 1]),
        }
        yield Place(values, {Expect: [arb(1) / count] * count}, f" at layer {layer}")


def trace_places(instance: AlphaInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The trace, entry by entry of the outer products."""
    place = next(batch_places(instance, arithmetic, device))
    first, second = (in_balls([tower.output for tower in views(instance, which)]) for which in (0, 1))
    outer, inner = slopes(instance)
    size = len(first[0])
    cover: Any = np.full((size, size), arb(0), dtype=object)
    for i, j in product(range(len(first)), repeat=2):
        far, near = first[i] - first[j], first[i] - second[i]
        cover = cover + (np.outer(far, far) - np.outer(near, near)) * (outer[i] * inner[i][j])
    yield Place({**place.values, "trace": lambda _: np.trace(cover)}, place.further)


# The weights of a pair for every named loss, by differentiation of the loss of an anchor.


@lru_cache(maxsize=1024)
def pair_weights(
    gaps_of: tuple[Any, ...], loss: str, tau: float, margin: float, arithmetic: str, device: str
) -> tuple[Any, ...]:
    """``dl_i/du_j`` for every other j."""
    if arithmetic == "float64":
        own = numeric.alpha_functions(loss, tau, margin)
        row = [float(u.mid()) for u in gaps_of]
        return tuple(float_gradients(lambda leaves: own.phi(own.psi(leaves[0]).sum()), [row], device)[0])
    of = functions(loss, tau, margin)

    def value(moved: Array) -> Any:
        terms = [of.psi(u) for u in moved]
        return of.phi(sum(terms[1:], terms[0]))

    return tuple(exact_gradient(value, np.array(gaps_of, dtype=object), "ball"))


def weight_places(instance: AlphaInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The pairs of the first anchor, with the weights of every named loss."""
    from theory.core.notation import H, r_0, tau
    from theory.packs.alpha_trace import GAPS

    options = (instance.tau, instance.margin)
    row = tuple(own_gaps(instance)[0])
    further: dict[Any, Any] = {H: fmpq(len(row)), tau: balls.to_ball(instance.tau), r_0: balls.to_ball(instance.margin)}
    further |= {GAPS[n]: u for n, u in enumerate(row, start=1)}
    for j, gap in enumerate(row):
        values = {
            "gap": lambda _, u=gap: u,
            "pair weight": lambda at, j=j: pair_weights(row, at["loss"], *options, arithmetic, device)[j],
        }
        yield Place(values, further, f" at anchor 1, other {j + 2}")


def minimum_places(slack: bool, instance: AlphaInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Every anchor: costs, the weights of the gradient, feasible weights, and the loss."""
    from theory.core.notation import H, tau
    from theory.packs.alpha_trace import COSTS, FEASIBLE, WEIGHTS

    name, t = ("infonce" if slack else "infonce-decoupled"), balls.to_ball(instance.tau)
    for i, row in enumerate(own_gaps(instance)):
        own = pair_weights(tuple(row), name, instance.tau, 0.0, arithmetic, device)
        rest, *others = map(balls.to_ball, instance.feasible[i])
        others = others if slack else [a / (1 - rest) for a in others]
        further: dict[Any, Any] = {H: fmpq(len(row)), tau: t}
        for n, (u, a, b) in enumerate(zip(row, own, others, strict=True), start=1):
            further |= {COSTS[n]: -u, WEIGHTS[n]: a, FEASIBLE[n]: b}
        share = 1 / (1 + sum(((u / t).exp() for u in row), arb(0)))
        values = {
            "loss of an anchor": lambda _, u=row: anchor_loss(u, name, instance.tau, arithmetic, device),
            "slack weight": lambda _, of=share: of,
            "feasible slack weight": lambda _, of=rest: of,
        }
        yield Place(values, further, f" at anchor {i + 1}")


def anchor_loss(row: Sequence[arb], name: str, tau: float, arithmetic: str, device: str) -> Any:
    """The loss of one anchor."""
    if arithmetic == "float64":
        own = numeric.alpha_functions(name, tau)
        at = [[float(u.mid()) for u in row]]
        return float_values(lambda leaves: own.phi(own.psi(leaves[0]).sum())[None], at, device)[0]
    of = functions(name, tau, 0.0)
    return of.phi(sum(map(of.psi, row[1:]), of.psi(row[0])))


# The population.


def laws(instance: AlphaInstance) -> tuple[list[fmpq], list[list[fmpq]]]:
    """Probabilities of the points and of their augmentations."""
    return [rational(p) for p in instance.point_weights], [
        [rational(q) for q in row] for row in instance.augmentation_weights
    ]


@lru_cache(maxsize=512)
def population_gradient(instance: AlphaInstance, arithmetic: str, device: str) -> list[Array]:
    """Gradient of ``E[alpha(x, x') (r(x_1, x_+) - r(x_1, x'_1))]`` by every layer, alpha held."""
    if arithmetic == "float64":
        return _float_population_gradient(instance, device)
    p, q = laws(instance)
    spread = len(q[0])
    alpha = entries(instance.pair_weights, "rational")
    weights, slope = [entries(w, "rational") for w in instance.weights], rational(instance.slope)
    inputs = [entries(x, "rational") for row in instance.points for x in row]
    gates = [run(weights, x, slope, None)[1] for x in inputs]

    def by_layer(layer: int) -> Callable[[Array], Any]:
        def value(moved: Array) -> Any:
            tower = [*weights[:layer], moved, *weights[layer + 1 :]]
            flat = [run(tower, x, slope, g)[0] for x, g in zip(inputs, gates, strict=True)]
            rows = [flat[m * spread : (m + 1) * spread] for m in range(len(p))]
            total: Any = fmpq(0)
            for m, a, b in product(range(len(p)), range(spread), range(spread)):
                reach = weighted_sum(list(alpha[m]), p)
                total = total + p[m] * q[m][a] * q[m][b] * reach * half_square(rows[m][a] - rows[m][b])
                for n in range(len(p)):
                    chance = p[m] * p[n] * q[m][a] * q[n][b] * alpha[m, n]
                    total = total - chance * half_square(rows[m][a] - rows[n][b])
            return total

        return value

    return [exact_gradient(by_layer(layer), weights[layer], "rational") for layer in range(len(weights))]


def _float_population_gradient(instance: AlphaInstance, device: str) -> list[Array]:
    import torch

    arguments = (instance.points, instance.point_weights, instance.augmentation_weights, instance.pair_weights)

    def value(leaves: Sequence[Tensor]) -> Tensor:
        x, p, q, alpha = tensors(arguments, device, leaves[0].dtype)
        f = numeric.forward(leaves, x.flatten(0, 1), instance.slope).reshape(*x.shape[:2], -1)
        near = 0.5 * (f[:, :, None] - f[:, None]).square().sum(-1)
        far = 0.5 * (f[:, :, None, None] - f).square().sum(-1)
        pull = torch.einsum("m,n,mn,ma,mb,mab->", p, p, alpha, q, q, near)
        return pull - torch.einsum("m,n,mn,ma,nb,manb->", p, p, alpha, q, q, far)

    return float_gradients(value, instance.weights, device)


def population_places(instance: AlphaInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Connections and outputs, their means, and the gradient at every layer."""
    from theory.core.notation import AugmentationCovariance, Expect

    p, q = laws(instance)
    towers = [[exact_tower(instance.weights, x, instance.slope) for x in row] for row in instance.points]
    table = entries(instance.pair_weights, "rational")
    f = [[one.output[:, None] for one in row] for row in towers]
    for layer in range(1, len(instance.weights) + 1):
        k = [[connection(one, layer) for one in row] for row in towers]
        values: Mapping[str, Any] = {
            "connection": everywhere(k),
            "output": everywhere(f),
            "mean connection": on_points([weighted_sum(row, w) for row, w in zip(k, q, strict=True)]),
            "mean output": on_points([weighted_sum(row, w) for row, w in zip(f, q, strict=True)]),
            "symmetric pair weight": on_pairs(table),
            "weights": lambda _, of=layer: entries(instance.weights[of - 1], "rational"),
            "gradient": lambda _, of=layer: vec(population_gradient(instance, arithmetic, device)[of - 1]),
        }
        yield Place(values, {Expect: p, AugmentationCovariance: q}, f" at layer {layer}")


PARTS = (
    Part("gradient", batch_places, exact="ball"),
    Part("operator", batch_places, exact="ball"),
    Part("trace", trace_places, exact="ball"),
    Part("weights", weight_places, exact="ball"),
    Part("minimum", partial(minimum_places, False), exact="ball"),
    Part("slack", partial(minimum_places, True), exact="ball"),
    Part("population", population_places),
)
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, members: int = 3, layers: int = 2, width: int = 2) -> Iterator[AlphaInstance]:
    """Random instances with dyadic entries of size at most 1, so that no exponential leaves float32."""
    rng = samples.generator(seed, "alpha-trace")
    for index in range(count):
        shape = samples.toy_widths(rng, layers, width)
        size = 2 if index % 4 == 3 else members
        table = rng.integers(1, 16, size=(size, size))
        yield AlphaInstance(
            slope=samples.SLOPES[index % 3],
            weights=tuple(samples.eighths(rng, n_out, n_in, spread=8) for n_in, n_out in pairwise(shape)),
            points=samples.eighths(rng, size, 2, shape[0], spread=8),
            point_weights=samples.simplex(rng, size),
            augmentation_weights=tuple(samples.simplex(rng, 2) for _ in range(size)),
            loss=LOSSES[index % len(LOSSES)],
            tau=float(rng.choice([0.5, 1.0, 2.0])),
            margin=float(rng.integers(0, 8)) / 8,
            feasible=tuple(samples.simplex(rng, size) for _ in range(size)),
            pair_weights=freeze((table + table.T) / 8),
        )


_SMALL = eighths(-8, 8)


@st.composite
def instances(draw: st.DrawFn, max_layers: int = 1, max_width: int = 1, max_members: int = 2) -> AlphaInstance:
    """Instances that shrink to one linear layer of width 1 on two members."""
    shape = draw(widths(max_layers, max_width))
    size = draw(st.integers(2, max_members))

    def table(rows: int, columns: int) -> Any:
        return st.tuples(*[st.tuples(*[_SMALL] * columns)] * rows)

    half = {(i, j): draw(eighths(0, 16)) for i in range(size) for j in range(i + 1)}
    return AlphaInstance(
        slope=draw(st.sampled_from(SLOPES)),
        weights=tuple(draw(table(n_out, n_in)) for n_in, n_out in pairwise(shape)),
        points=draw(st.tuples(*[table(2, shape[0])] * size)),
        point_weights=draw(simplices(size)),
        augmentation_weights=draw(st.tuples(*[simplices(2)] * size)),
        loss=draw(st.sampled_from(LOSSES)),
        tau=draw(st.sampled_from((1.0, 2.0, 0.5))),
        margin=draw(eighths(0, 8)),
        feasible=draw(st.tuples(*[simplices(size)] * size)),
        pair_weights=tuple(tuple(half[max(i, j), min(i, j)] for j in range(size)) for i in range(size)),
    )


STAGES = tuple(
    partial(instances, max_layers=layers, max_width=width, max_members=members)
    for layers, width, members in ((1, 1, 3), (2, 2, 3))
)
