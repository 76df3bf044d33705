"""Values of the symbols of pack byol-update on an instance: gradients by two oracles, everything else by recursion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flint import arb_series, fmpq, fmpq_mat
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector, freeze
from verify.packs.oracle import entries, exact_gradient, float_gradients
from verify.packs.part import Pack, Part, Place, UndecidedError
from verify.strategies import SLOPES, eighths, grid_matrices, simplices, towers, widths
from verify.tolerance.running import Bounded
from verify.towers import balls
from verify.towers.population import half_square, run, to_float, weighted_sum
from verify.towers.tower import Array, connection, exact_tower, rational, tensors, vec

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "byol-update"


@dataclass(frozen=True)
class ByolInstance(JsonInstance):
    """An online tower, a target tower, a predictor, and a finite population.

    `scale` is the c of a predictor c I, for the formulas that have one.

    Examples
    --------
    >>> one = (((1.0,),),)
    >>> ByolInstance(0.0, one, one, ((0.5,),), 0.5, (((1.0,), (2.0,)),), (1.0,), ((0.5, 0.5),)).checked().size
    (1, 1)
    """

    slope: float
    weights: tuple[Matrix, ...]
    target_weights: tuple[Matrix, ...]
    predictor: Matrix
    scale: float
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
        population = numeric.FinitePopulation(self.points, self.point_weights, self.augmentation_weights)
        towers = {"weights": self.weights, "target_weights": self.target_weights}
        shapes = [[tuple(w.shape) for w in numeric.check_weights(t, place=name)] for name, t in towers.items()]
        if shapes[0] != shapes[1]:
            raise InputError(f"target_weights has shapes {shapes[1]}: must be those of weights, {shapes[0]}")
        numeric.byol_gradient(self.weights, population, self.predictor, self.target_weights, self.slope)
        if not np.isfinite(self.scale):
            raise InputError(f"scale={self.scale!r}: must be finite")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Number of layers and the largest width."""
        return len(self.weights), max(max(np.asarray(w).shape) for w in self.weights)

    @property
    def scaled(self) -> ByolInstance:
        """The predictor c I, and the online weights in the target."""
        n = len(self.predictor)
        identity = tuple(tuple(self.scale * (i == j) for j in range(n)) for i in range(n))
        return replace(self, predictor=identity, target_weights=self.weights)

    @property
    def bare(self) -> ByolInstance:
        """No predictor, and the online weights in the target."""
        return replace(self, scale=1.0).scaled


# The literal loss, over rationals (power series at the gates of the instance) and by `numeric`.


@dataclass(frozen=True)
class Setting:
    """A form of the loss: what becomes of the means, squares of the input in the predictor, a gradient through both."""

    mean: str = "kept"
    squares: bool = False
    both: bool = False


SETTINGS = {
    "plain": Setting(),
    "optimal": Setting(),
    "damped": Setting(),
    "of means": Setting(),
    "both": Setting(both=True),
    "centred": Setting("subtracted"),
    "detached": Setting("detached"),
    "centred, any predictor": Setting("subtracted", squares=True),
    "detached, any predictor": Setting("detached", squares=True),
}


SOLVED = ("optimal", "damped", "of means")
"""Losses whose predictor is solved for."""


def laws(instance: ByolInstance) -> tuple[list[fmpq], list[list[fmpq]]]:
    """Probabilities of the points and of their augmentations."""
    return [rational(p) for p in instance.point_weights], [
        [rational(q) for q in row] for row in instance.augmentation_weights
    ]


def literal(
    instance: ByolInstance, setting: Setting, online: Sequence[Array], predictor: Array, held: Sequence[Array]
) -> Any:
    """Expected loss of the outputs of all inputs; `held` are those at which a detached mean was taken."""
    p, q = laws(instance)
    joint = [a * b for a, row in zip(p, q, strict=True) for b in row]
    target = online if setting.both else target_outputs(instance)
    if setting.mean != "kept":
        centre = weighted_sum(held if setting.mean == "detached" else online, joint)
        online = [f - centre for f in online]
        target_centre = weighted_sum(target, joint)
        target = [f - target_centre for f in target]
    seen = [predictor @ f + (f * f if setting.squares else 0) for f in online]
    spread = len(q[0])
    total: Any = fmpq(0)
    for m, (a, b) in product(range(len(p)), product(range(spread), repeat=2)):
        weight = p[m] * q[m][a] * q[m][b]
        total = total + weight * half_square(seen[m * spread + a] - target[m * spread + b])
    return total


@lru_cache(maxsize=256)
def target_outputs(instance: ByolInstance) -> list[Array]:
    """Outputs of the target at all inputs."""
    return [exact_tower(instance.target_weights, x, instance.slope).output for row in instance.points for x in row]


def predictor_of(instance: ByolInstance, loss: str) -> Array:
    """The predictor of the instance; or the one of least loss at its weights, 7/10 of it, or that of the means."""
    if loss not in SOLVED:
        return entries(instance.predictor, "rational")
    names = {"of means": "second moment of the mean outputs"}
    values = moments(instance)
    second = values[names.get(loss, "second moment of the outputs")]({})
    solved = fmpq_mat(second.tolist())
    if solved.det() == 0:
        raise UndecidedError("the second moment of the outputs, or of their means, is singular")
    factor = fmpq(7, 10) if loss == "damped" else fmpq(1)
    return values["cross moment of the means"]({}) @ np.array(solved.inv().tolist(), dtype=object) * factor


def outputs(instance: ByolInstance, weights: Any) -> list[list[Array]]:
    """Output columns of a tower, by point and augmentation."""
    return [[exact_tower(weights, x, instance.slope).output[:, None] for x in row] for row in instance.points]


@lru_cache(maxsize=1024)
def expected_gradient(instance: ByolInstance, loss: str) -> tuple[list[Array], Array]:
    """The gradient by every layer and by the predictor, exactly, at the gates of the instance."""
    weights = [entries(w, "rational") for w in instance.weights]
    predictor, slope = predictor_of(instance, loss), rational(instance.slope)
    inputs = [entries(x, "rational") for row in instance.points for x in row]
    base = [run(weights, x, slope, None) for x in inputs]
    held, setting = [output for output, _ in base], SETTINGS[loss]

    def by_layer(layer: int) -> Callable[[Array], Any]:
        def value(matrix: Array) -> Any:
            moved = [*weights[:layer], matrix, *weights[layer + 1 :]]
            online = [run(moved, x, slope, gates)[0] for x, (_, gates) in zip(inputs, base, strict=True)]
            return literal(instance, setting, online, predictor, held)

        return value

    layers = [exact_gradient(by_layer(layer), weights[layer], "rational") for layer in range(len(weights))]
    by_predictor = exact_gradient(lambda matrix: literal(instance, setting, held, matrix, held), predictor, "rational")
    return layers, by_predictor


@lru_cache(maxsize=1024)
def float_gradient(instance: ByolInstance, loss: str, device: str) -> tuple[list[Array], Array]:
    """The same by automatic differentiation of `numeric`'s loss in float64, with bounds."""
    setting, depth = SETTINGS[loss], len(instance.weights)
    arguments = (instance.points, instance.point_weights, instance.augmentation_weights)

    def value(leaves: Sequence[Tensor]) -> Tensor:
        population = numeric.FinitePopulation(*tensors(arguments, device, leaves[0].dtype))
        target = tensors(instance.target_weights, device, leaves[0].dtype)
        online, matrix = leaves[:depth], leaves[depth]
        points = population.flat_points
        seen: Any = (lambda f: f @ matrix.T + f * f) if setting.squares else matrix
        if setting.both:
            return both_branches(numeric.forward(online, points, instance.slope), population, matrix)
        return numeric.byol_loss(
            numeric.forward(online, points, instance.slope), numeric.forward(target, points, instance.slope),
            population, seen, setting.mean,
        )  # fmt: skip

    predictor = np.vectorize(to_float, otypes=[float])(predictor_of(instance, loss))
    *layers, by_predictor = float_gradients(value, [*instance.weights, predictor], device)
    if loss in SOLVED:  # the rounded predictor has another gradient, and by how much is known exactly
        at, by_it = expected_gradient(instance, loss)
        moved, by_rounded = expected_gradient(replace(instance, predictor=freeze(predictor)), "plain")
        wider = np.frompyfunc(lambda one, shift: Bounded(one.value, one.error + abs(to_float(shift))), 2, 1)
        layers = [wider(one, new - old) for one, new, old in zip(layers, moved, at, strict=True)]
        by_predictor = wider(by_predictor, by_rounded - by_it)
    return layers, by_predictor


def both_branches(outputs: Tensor, population: Any, predictor: Tensor) -> Tensor:
    """The literal loss of one tower with itself as target, differentiated through both."""
    shape = (population.size, population.augmentations, -1)
    seen, other = (outputs @ predictor.T).reshape(shape), outputs.reshape(shape)
    total = outputs.new_zeros(())
    for m, (a, b) in product(range(population.size), product(range(population.augmentations), repeat=2)):
        weight = population.point_weights[m] * population.augmentation_weights[m, a]
        gap = seen[m, a] - other[m, b]
        total = total + weight * population.augmentation_weights[m, b] * 0.5 * (gap @ gap)
    return total


def gradient(instance: ByolInstance, loss: str, arithmetic: str, device: str) -> tuple[list[Array], Array]:
    """The gradient by an oracle of that arithmetic."""
    if arithmetic == "float64":
        return float_gradient(instance, loss, device)
    return expected_gradient(instance, loss)


# Values of the symbols of the claims.


def tables(instance: ByolInstance, layer: int) -> dict[str, list[list[Array]]]:
    """Connections, outputs and activations of both towers, by point and augmentation."""
    result: dict[str, list[list[Array]]] = {}
    for mark, weights in (("", instance.weights), ("target ", instance.target_weights)):
        rows = [[exact_tower(weights, x, instance.slope) for x in row] for row in instance.points]
        result[f"{mark}connection"] = [[connection(one, layer) for one in row] for row in rows]
        result[f"{mark}output"] = [[one.output[:, None] for one in row] for row in rows]
        if not mark:
            result["activation below the top"] = [[one.activations[-1][:, None] for one in row] for row in rows]
    return result


def everywhere(table: list[list[Any]]) -> Callable[[dict[str, str]], Any]:
    """Values at the point, and its augmentation, that an expectation has chosen."""
    return lambda at: lambda chosen: table[chosen[at["point"]]][chosen[f"{at['point']} {at['copy']}"]]


def always(value: Any) -> Callable[[dict[str, str]], Any]:
    """One value wherever the symbol stands."""
    return lambda _: value


def on_points(values: Sequence[Any]) -> Callable[[dict[str, str]], Any]:
    """Values at the point that an expectation has chosen."""
    return lambda at: lambda chosen: values[chosen[at["point"]]]


def places(
    setting: str, instance: ByolInstance, arithmetic: str, device: str, top_only: bool = False
) -> Iterator[Place]:
    """Values at every layer; `setting` names the property of the instance that is used, or nothing."""
    from theory.core.notation import AugmentationCovariance, Expect, dimension

    one = getattr(instance, setting) if setting else instance
    p, q = laws(one)
    depth = len(one.weights)
    for layer in [depth] if top_only else range(1, depth + 1):
        values: dict[str, Any] = {}
        for role, table in tables(one, layer).items():
            values[role] = everywhere(table)
            means = [weighted_sum(row, w) for row, w in zip(table, q, strict=True)]
            values[f"mean {role}"] = on_points(means)
        weights = entries(one.weights[layer - 1], "rational")
        values |= {
            "weights": always(weights),
            "target weights": always(entries(one.target_weights[layer - 1], "rational")),
            "weights of the top layer": always(entries(one.weights[-1], "rational")),
            "predictor": always(entries(one.predictor, "rational")),
            "scale of the predictor": always(rational(one.scale)),
            "descent direction at the output": everywhere(directions(one)),
            **moments(one),
        }
        values |= gradients(one, layer, arithmetic, device)
        shape = dict(zip(("l", "l-1"), weights.shape, strict=True))
        sizes = {dimension(name): size for name, size in {**shape, "L": len(one.predictor)}.items()}
        further = {Expect: p, AugmentationCovariance: q, **sizes}
        yield Place(values, further, f" at layer {layer}")


def gradients(instance: ByolInstance, layer: int, arithmetic: str, device: str) -> dict[str, Any]:
    """Gradients, and their pairings with weights and predictor."""

    def of(loss: str) -> tuple[Array, Array]:
        layers, by_predictor = gradient(instance, loss, arithmetic, device)
        return layers[layer - 1], by_predictor

    def pairing(matrix: Any, slope: Array) -> Any:
        return (entries(matrix, "rational") * slope).sum()

    return {
        "expected gradient": lambda at: vec(of(at["loss"])[0]),
        "expected gradient by P": lambda at: of(at["loss"])[1],
        "expected gradient by W_{L}": lambda at: of(at["loss"])[0],
        "rate of the squared norm": lambda _: pairing(instance.weights[layer - 1], of("plain")[0]) * -2,
        "pairing with the gradient": lambda _: pairing(instance.weights[layer - 1], of("plain")[0]),
        "gradient at the optimal predictor": lambda _: of("optimal")[1],
        "gradient at the damped predictor": lambda _: of("damped")[1],
        "gradient at the predictor of the means": lambda _: of("of means")[1],
        "predictor of the means": lambda _: predictor_of(instance, "of means"),
        "pairing without stop-gradient": lambda _: pairing(instance.weights[layer - 1], of("both")[0]),
        "pairing at the optimal predictor": lambda _: pairing(instance.weights[layer - 1], of("optimal")[0]),
        "optimal predictor": lambda _: predictor_of(instance, "optimal"),
        "predictor pairing": lambda _: pairing(instance.predictor, of("plain")[1]),
    }


def moments(instance: ByolInstance) -> dict[str, Any]:
    """Second moment of the outputs, and the cross moment of both towers' means."""
    p, q = laws(instance)
    mine, theirs = outputs(instance, instance.weights), outputs(instance, instance.target_weights)
    squares = [weighted_sum([f @ f.T for f in row], w) for row, w in zip(mine, q, strict=True)]
    means = [[weighted_sum(row, w) for row, w in zip(table, q, strict=True)] for table in (theirs, mine)]
    named = {
        "second moment of the outputs": weighted_sum(squares, p),
        "second moment of the mean outputs": weighted_sum([b @ b.T for b in means[1]], p),
        "cross moment of the means": weighted_sum([a @ b.T for a, b in zip(*means, strict=True)], p),
    }
    return {name: always(value) for name, value in named.items()}


def directions(instance: ByolInstance) -> list[list[Array]]:
    """``-dr/df`` behind the predictor ``P z + z^2``, both towers centred, averaged over x_+ given x."""
    p, q = laws(instance)
    table = tables(instance, len(instance.weights))
    centre, other = (
        weighted_sum([weighted_sum(row, w) for row, w in zip(table[name], q, strict=True)], p)
        for name in ("output", "target output")
    )
    matrix = entries(instance.predictor, "rational")
    result = []
    for row, theirs, w in zip(table["output"], table["target output"], q, strict=True):
        target = weighted_sum(theirs, w) - other
        lines = []
        for f in row:
            z = f - centre
            slope = matrix.T + 2 * np.diag(z[:, 0])
            lines.append(slope @ (target - matrix @ z - z * z))
        result.append(lines)
    return result


def batch_places(instance: ByolInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """One batch: the pairs are the points, the first two augmentations the views, all of the same weight."""
    from theory.core.notation import Expect

    if len(instance.points[0]) < 2:
        raise UndecidedError("a pair needs two augmentations")
    count = len(instance.points)
    p = [fmpq(1, count)] * count
    for layer in range(1, len(instance.weights) + 1):
        mine = [connection(exact_tower(instance.weights, row[0], instance.slope), layer) for row in instance.points]
        theirs = [
            connection(exact_tower(instance.target_weights, row[1], instance.slope), layer) for row in instance.points
        ]
        values: dict[str, Any] = {
            "connection": on_points(mine),
            "target connection": on_points(theirs),
            "weights": always(entries(instance.weights[layer - 1], "rational")),
            "target weights": always(entries(instance.target_weights[layer - 1], "rational")),
            "predictor": always(entries(instance.predictor, "rational")),
            "expected gradient": always(vec(batch_gradient(instance, arithmetic, device)[layer - 1])),
        }
        yield Place(values, {Expect: p}, f" at layer {layer}")


@lru_cache(maxsize=512)
def batch_gradient(instance: ByolInstance, arithmetic: str, device: str) -> list[Array]:
    """The gradient of the mean over a batch of pairs, each view centred by its own mean."""
    count, matrix = len(instance.points), entries(instance.predictor, "rational")
    first = [row[0] for row in instance.points]
    other = [exact_tower(instance.target_weights, row[1], instance.slope).output for row in instance.points]
    if arithmetic == "float64":
        depth = len(instance.weights)

        def in_torch(leaves: Sequence[Tensor]) -> Tensor:
            dtype = leaves[0].dtype
            x, y, seen = tensors((first, [row[1] for row in instance.points], instance.predictor), device, dtype)
            f = numeric.forward(leaves[:depth], x, instance.slope)
            g = numeric.forward(tensors(instance.target_weights, device, dtype), y, instance.slope)
            return 0.5 * ((f - f.mean(0)) @ seen.T - (g - g.mean(0))).square().sum(-1).mean()

        return float_gradients(in_torch, instance.weights, device)
    weights, slope = [entries(w, "rational") for w in instance.weights], rational(instance.slope)
    inputs = [entries(x, "rational") for x in first]
    share = [fmpq(1, count)] * count
    gates = [run(weights, x, slope, None)[1] for x in inputs]
    centre = weighted_sum(other, share)

    def by_layer(layer: int) -> Callable[[Array], Any]:
        def value(moved: Array) -> Any:
            tower = [*weights[:layer], moved, *weights[layer + 1 :]]
            outputs = [run(tower, x, slope, g)[0] for x, g in zip(inputs, gates, strict=True)]
            mean = weighted_sum(outputs, share)
            return sum(
                (
                    fmpq(1, count) * half_square(matrix @ (f - mean) - (t - centre))
                    for f, t in zip(outputs, other, strict=True)
                ),
                fmpq(0),
            )

        return value

    return [exact_gradient(by_layer(layer), weights[layer], "rational") for layer in range(len(weights))]


def batch_norm_places(instance: ByolInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The first coordinates of the inputs as a batch of pre-activations, the last ones as what comes down.

    The constant that BatchNorm adds to the variance is 1/8, and 0 where there is a variance: only without it is the
    gradient along the pre-activations themselves 0.
    """
    rows = [row[0] for row in instance.points]
    values = [balls.to_ball(row[0]) for row in rows]
    weights = zip(rows, instance.point_weights, strict=True)
    down = [balls.to_ball(row[-1]) * weight + k for k, (row, weight) in enumerate(weights)]
    for added in (0.125, 0.0):
        if added or len({row[0] for row in rows}) > 1:
            yield from normalised_places(values, down, added, arithmetic)


def normalised_places(values: Sequence[Any], down: Sequence[Any], added: float, arithmetic: str) -> Iterator[Place]:
    """One batch, each member moved in turn."""
    from theory.core.notation import Expect

    count = len(values)
    normal = normalised(values, added)
    for moved in range(count):
        rates = [balls.to_ball(float(n == moved)) for n in range(count)]
        roles: dict[str, Any] = {
            "pre-activation": on_points(values),
            "normalised pre-activation": on_points(normal),
            "derivative of the pre-activation": on_points(rates),
            "gradient above the normalisation": on_points(down),
            "inverse deviation": always(1 / deviation(values, added)),
            "derivative of the normalised batch": always(batch_rate(values, rates, down, added, arithmetic)),
            "derivative of the normalised batch along itself": always(
                batch_rate(values, values, down, added, arithmetic)
            ),
        }
        where = f" at member {moved + 1}, variance + {added:g}"
        yield Place(roles, {Expect: [balls.to_ball(1.0) / count] * count}, where)


def deviation(values: Sequence[Any], added: float) -> Any:
    """Root of the variance of a batch plus a constant, over balls or power series."""
    mean = sum(values[1:], values[0]) / len(values)
    squares = [(v - mean) * (v - mean) for v in values]
    variance: Any = sum(squares[1:], squares[0]) / len(values) + balls.to_ball(added)
    return variance.sqrt()


def normalised(values: Sequence[Any], added: float) -> list[Any]:
    """The batch less its mean, over its deviation."""
    mean, below = sum(values[1:], values[0]) / len(values), deviation(values, added)
    return [(v - mean) / below for v in values]


def batch_rate(values: Sequence[Any], rates: Sequence[Any], down: Sequence[Any], added: float, arithmetic: str) -> Any:
    """``mean_i g_i dphat_i/dt`` where every pre-activation moves at its rate: a power series, or autograd."""
    if arithmetic == "float64":

        def loss(leaves: Sequence[Tensor]) -> Tensor:
            (t,) = leaves
            at, by, g = tensors([[float(v) for v in row] for row in (values, rates, down)], "cpu", t.dtype)
            p = at + t[0] * by
            return (g * (p - p.mean()) / (p.var(unbiased=False) + added).sqrt()).mean()

        return float_gradients(loss, [[0.0]])[0][0]
    moved = normalised([arb_series([v, r]) for v, r in zip(values, rates, strict=True)], added)
    terms = [g * v for g, v in zip(down, moved, strict=True)]
    return (sum(terms[1:], terms[0]) / len(values))[1]


PARTS = (
    Part("update", partial(places, "")),
    Part("general", partial(places, "")),
    Part("predictor", partial(places, "", top_only=True)),
    Part("without-predictor", partial(places, "bare")),
    Part("scaled-predictor", partial(places, "scaled")),
    Part("zero-mean", partial(places, "")),
    Part("zero-mean-term", partial(places, "")),
    Part("implicit-contrast", partial(places, "scaled")),
    Part("detached-mean", partial(places, "")),
    Part("batch", batch_places),
    Part("batch-norm", batch_norm_places, exact="ball"),
    Part("optimal-predictor", partial(places, "")),
    Part("stationary-predictor", partial(places, "")),
    Part("top-layer", partial(places, "", top_only=True)),
    Part("both-branches", partial(places, "")),
)
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, points: int = 3, layers: int = 2, width: int = 3) -> Iterator[ByolInstance]:
    """Random instances with dyadic entries."""
    rng = samples.generator(seed, "byol")
    for index in range(count):
        shape = samples.toy_widths(rng, layers, width)
        if index % 3:  # no bottleneck: otherwise the second moment of the outputs is singular
            shape = tuple(sorted(shape, reverse=True))
        size, spread = int(rng.integers(2, points, endpoint=True)), int(rng.integers(2, 3, endpoint=True))
        yield ByolInstance(
            slope=samples.SLOPES[index % 3],
            weights=samples.toy_weights(rng, shape),
            target_weights=samples.toy_weights(rng, shape),
            predictor=samples.eighths(rng, shape[-1], shape[-1]),
            scale=float(rng.integers(-8, 16)) / 8,
            points=samples.eighths(rng, size, spread, shape[0]),
            point_weights=samples.simplex(rng, size),
            augmentation_weights=tuple(samples.simplex(rng, spread) for _ in range(size)),
        )


@st.composite
def instances(draw: st.DrawFn, max_layers: int = 2, max_width: int = 2, max_points: int = 2) -> ByolInstance:
    """Instances that shrink to one linear layer of width 1 on one point."""
    shape = draw(widths(max_layers, max_width))
    points, spread = draw(st.integers(1, max_points)), draw(st.integers(1, 2))
    return ByolInstance(
        slope=draw(st.sampled_from(SLOPES)),
        weights=draw(towers(shape)),
        target_weights=draw(towers(shape)),
        predictor=draw(grid_matrices(shape[-1], shape[-1])),
        scale=draw(eighths(-8, 16)),
        points=draw(st.tuples(*[grid_matrices(spread, shape[0])] * points)),
        point_weights=draw(simplices(points)),
        augmentation_weights=draw(st.tuples(*[simplices(spread)] * points)),
    )


STAGES = tuple(
    partial(instances, max_layers=layers, max_width=width, max_points=min(width + 1, 3))
    for layers, width in samples.SIZES[:-2]
)
