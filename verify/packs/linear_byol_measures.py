"""Instances of pack linear-byol and the values of its symbols: literal losses differentiated, flows as power series."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flint import acb, arb, fmpq
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector
from verify.packs.oracle import entries, exact_gradient, float_gradients
from verify.packs.part import Pack, Part, Place
from verify.strategies import eighths, grid_matrices, simplices
from verify.tolerance.running import Bounded
from verify.towers import balls
from verify.towers.population import half_square, weighted_sum
from verify.towers.tower import Array, rational, tensors

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "linear-byol"


@dataclass(frozen=True)
class LinearByolInstance(JsonInstance):
    """A linear layer, its predictor and target on a finite population, and an aligned start.

    `rates` are alpha, beta and eta; `spread` is sigma and `ratio` tau of the isotropic population; a row of `modes` is
    (w, p, tau) in the bases turned by `angles` (half-angle tangents); `root` is d, and `share` a place between two
    fixed points, both in (0, 1).

    Examples
    --------
    >>> LinearByolInstance(
    ...     ((1.0,),), ((0.5,),), ((1.0,),), (((1.0,), (2.0,)),), (1.0,), ((0.5, 0.5),), (1.0, 0.5, 0.25), 0.5, 1.0,
    ...     ((1.0, 0.5, 1.0),), (0.0, 0.0), 0.5, 0.5,
    ... ).checked().size
    (1, 1)
    """

    weights: Matrix
    predictor: Matrix
    target_weights: Matrix
    points: tuple[Matrix, ...]
    point_weights: Vector
    augmentation_weights: Matrix
    rates: Vector
    spread: float
    ratio: float
    modes: Matrix
    angles: Vector
    root: float
    share: float

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        population = numeric.FinitePopulation(self.points, self.point_weights, self.augmentation_weights)
        numeric.linear_byol_rates(self.weights, self.predictor, self.target_weights, population, *self.rates)
        for place, ends, values in (
            ("root", (0, 1), (self.root,)),
            ("share", (0, 1), (self.share,)),
            ("w of modes", (0, math.inf), [row[0] for row in self.modes]),
        ):
            for value in values:
                if not ends[0] < value < ends[1]:
                    raise InputError(f"{place}={value!r}: must lie strictly between {ends[0]} and {ends[1]}")
        if not 1 <= len(self.modes) <= 2 or any(len(row) != 3 for row in self.modes):
            raise InputError("modes: must be one or two rows (w, p, tau)")
        if len(self.angles) != 2 or len(self.rates) != 3:
            raise InputError("angles must have 2 entries, and rates 3")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Number of modes and the largest width."""
        return len(self.modes), max(np.asarray(self.weights).shape)

    @property
    def constants(self) -> dict[str, fmpq]:
        """The numbers of the flow, by the roles of their symbols."""
        alpha, beta, eta = map(rational, self.rates)
        return {
            "rate of the predictor's flow": alpha,
            "rate of the target": beta,
            "weight decay": eta,
            "variance of the augmentation": rational(self.spread) ** 2,
            "ratio of target to weights": rational(self.ratio),
        }


# Populations: points, augmentations and both laws, of fractions.


@dataclass(frozen=True)
class Population:
    """Augmented points (M, A, n) with their laws; entries are multiples of 1/64, or of a spread."""

    points: tuple[Matrix, ...]
    point_weights: Vector
    augmentation_weights: Matrix

    @property
    def pairs(self) -> Iterator[tuple[fmpq, Array, Array]]:
        """Probability, x_1 and x_+ of independent augmentations."""
        for row, p, law in zip(self.points, self.point_weights, self.augmentation_weights, strict=True):
            columns = [entries(x, "rational") for x in row]
            for a, b in product(range(len(row)), repeat=2):
                chance = rational(p) * rational(law[a]) * rational(law[b])
                if chance:
                    yield chance, columns[a], columns[b]


def given(instance: LinearByolInstance) -> Population:
    """The population of the instance."""
    return Population(instance.points, instance.point_weights, instance.augmentation_weights)


@lru_cache(maxsize=64)
def isotropic(size: int, spread: float) -> Population:
    """``E[xbar xbar^T] = I`` and ``E V_aug[x] = spread^2 I`` exactly, in one, two or three dimensions.

    Means 2 e_i with probability 1/4 each, and 0; around each ``+-2 spread e_j`` with probability 1/8 each, and 0.
    """
    unit = np.eye(size)
    means = [*(2 * unit), 0 * unit[0]]
    moves = [*(2 * spread * unit), *(-2 * spread * unit), 0 * unit[0]]
    law = (*[0.125] * (2 * size), 1 - 0.25 * size)
    points = tuple(tuple(tuple(map(float, mean + move)) for move in moves) for mean in means)
    return Population(points, (*[0.25] * size, 1 - 0.25 * size), (law,) * len(means))


# Gradients of the literal loss.


def literal(population: Population, weight: Array, predictor: Array, target: Array) -> Any:
    """``E 1/2 ||P W x_1 - W_a x_+||^2``."""
    total: Any = fmpq(0)
    for chance, first, other in population.pairs:
        total = total + chance * half_square(predictor @ (weight @ first) - target @ other)
    return total


@lru_cache(maxsize=512)
def exact_descent(population: Population, at: Any, shared: bool) -> tuple[Array, Array]:
    """``-grad J`` by W and by P, over fractions; `shared`: the weights are the target too, and carry gradient."""
    weight, predictor, target = (np.array(rows, dtype=object) for rows in at)
    by_weight = exact_gradient(
        lambda moved: literal(population, moved, predictor, moved if shared else target), weight, "rational"
    )
    by_predictor = exact_gradient(lambda moved: literal(population, weight, moved, target), predictor, "rational")
    return -by_weight, -by_predictor


@lru_cache(maxsize=512)
def float_descent(population: Population, at: Any, shared: bool, device: str) -> tuple[Array, Array]:
    """The same by automatic differentiation in float64, with bounds."""

    def value(leaves: Sequence[Tensor]) -> Tensor:
        weight, predictor, target = leaves
        laws = (population.points, population.point_weights, population.augmentation_weights)
        finite = numeric.FinitePopulation(*tensors(laws, device, weight.dtype))
        inputs = finite.flat_points
        if not shared:
            return numeric.byol_loss(inputs @ weight.T, inputs @ target.T, finite, predictor)
        f = (inputs @ weight.T).reshape(finite.size, finite.augmentations, -1)
        gaps = (f @ predictor.T)[:, :, None] - f[:, None]
        law = finite.augmentation_weights
        chances = finite.point_weights[:, None, None] * law[:, :, None] * law[:, None, :]
        return 0.5 * (chances[..., None] * gaps.square()).sum()

    start = [np.vectorize(as_float, otypes=[float])(np.array(rows, dtype=object)) for rows in at]
    by_weight, by_predictor, _ = float_gradients(value, start, device)
    return -by_weight, -by_predictor


def as_float(value: fmpq) -> float:
    return int(value.p) / int(value.q)


def descent(
    population: Population, at: Sequence[Array], arithmetic: str, device: str, shared: bool = False
) -> tuple[Array, Array]:
    """``-grad J`` at W, P, W_a by the oracle of an arithmetic."""
    key = tuple(tuple(map(tuple, matrix)) for matrix in at)
    if arithmetic == "float64":
        return float_descent(population, key, shared, device)
    return exact_descent(population, key, shared)


def flow(
    population: Population, at: Sequence[Array], rates: Sequence[Any], arithmetic: str, device: str
) -> tuple[Array, Array, Array]:
    """Rates of W, P and W_a."""
    alpha, beta, eta = rates
    by_weight, by_predictor = descent(population, at, arithmetic, device)
    weight, predictor, target = at
    return by_weight - weight * eta, by_predictor * alpha - predictor * eta, (weight - target) * beta


# Values of the symbols.


def start(instance: LinearByolInstance) -> list[Array]:
    """W, P and W_a of the instance, in fractions."""
    return [entries(m, "rational") for m in (instance.weights, instance.predictor, instance.target_weights)]


def constant(value: Any) -> Any:
    return lambda _: value


def symbols(instance: LinearByolInstance, **values: Any) -> dict[str, Any]:
    """The constants of the instance and further values, by role."""
    return {role: constant(value) for role, value in (instance.constants | values).items()}


def general_places(instance: LinearByolInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The population of the instance: rates, moments, and the inputs for expectations."""
    from theory.core.notation import AugmentationCovariance, Expect

    population, at = given(instance), start(instance)
    p = [rational(v) for v in instance.point_weights]
    q = [[rational(v) for v in row] for row in instance.augmentation_weights]
    inputs = [[entries(x, "rational")[:, None] for x in row] for row in instance.points]
    means = [weighted_sum(row, law) for row, law in zip(inputs, q, strict=True)]
    weight_rate, predictor_rate, _ = flow(population, at, list(map(rational, instance.rates)), arithmetic, device)
    shared, _ = descent(population, [at[0], at[1], at[0]], arithmetic, device, shared=True)
    second = weighted_sum([m @ m.T for m in means], p)
    all_seconds = weighted_sum(
        [weighted_sum([x @ x.T for x in row], law) for row, law in zip(inputs, q, strict=True)], p
    )
    values = symbols(
        instance,
        **{
            "weights": at[0],
            "predictor": at[1],
            "target weights": at[2],
            "rate of the weights": weight_rate,
            "rate of the predictor": predictor_rate,
            "rate without stop-gradient": shared - at[0] * rational(instance.rates[2]),
            "loss with the weights as target": literal(population, at[0], at[1], at[0]),
            "second moment of the means": second,
            "augmentation covariance": all_seconds - second,
        },
    )
    values["input"] = lambda here: (
        lambda chosen: inputs[chosen[here["point"]]][chosen[f"{here['point']} {here['copy']}"]]
    )
    values["mean input"] = lambda here: lambda chosen: means[chosen[here["point"]]]
    rows, columns = at[0].shape
    sizes = dict(zip(dimensions(), (columns, rows), strict=True))
    yield Place(values, {Expect: p, AugmentationCovariance: q, **sizes})


def dimensions() -> tuple[Any, Any]:
    import theory.packs.linear_byol as letters

    return letters.N1, letters.N2


def isotropic_places(instance: LinearByolInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The isotropic population: a symmetric predictor, the target tau W; rates of F, P and their commutator."""
    weight, predictor, _ = start(instance)
    predictor = (predictor + predictor.T) / 2
    population = isotropic(weight.shape[1], instance.spread)
    at = [weight, predictor, weight * rational(instance.ratio)]
    weight_rate, predictor_rate, _ = flow(population, at, list(map(rational, instance.rates)), arithmetic, device)
    symmetric = (predictor_rate + predictor_rate.T) * fmpq(1, 2)
    gram = weight @ weight.T
    gram_rate = weight_rate @ weight.T + weight @ weight_rate.T
    values = symbols(
        instance,
        **{
            "predictor": predictor,
            "Gram matrix of the weights": gram,
            "rate of the predictor": symmetric,
            "rate of the Gram matrix": gram_rate,
            "rate of the commutator": gram_rate @ predictor
            + gram @ symmetric
            - symmetric @ gram
            - predictor @ gram_rate,
        },
    )
    yield Place(values, {dimensions()[0]: weight.shape[1], dimensions()[1]: weight.shape[0]})


def turn(tangent: float, size: int) -> Array:
    """An orthogonal matrix with rational entries."""
    t, one = rational(tangent), fmpq(1)
    if size == 1:
        return np.array([[one]], dtype=object)
    c, s = (one - t * t) / (one + t * t), 2 * t / (one + t * t)
    return np.array([[c, -s], [s, c]], dtype=object)


def aligned(instance: LinearByolInstance) -> tuple[Array, Array, list[Array]]:
    """U, V, and the matrices ``U diag(w) V^T``, ``U diag(p) U^T``, ``U diag(tau w) V^T``."""
    w, p, tau = (np.array([rational(row[k]) for row in instance.modes], dtype=object) for k in range(3))
    u, v = (turn(angle, len(w)) for angle in instance.angles)
    return u, v, [(u * w) @ v.T, (u * p) @ u.T, (u * (tau * w)) @ v.T]


def mode_places(instance: LinearByolInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Every mode of the aligned start: the matrices of the flow in the turned bases."""
    u, v, at = aligned(instance)
    size = len(instance.modes)
    population = isotropic(size, instance.spread)
    moved = flow(population, at, list(map(rational, instance.rates)), arithmetic, device)
    weight_rate, predictor_rate, target_rate = u.T @ moved[0] @ v, u.T @ moved[1] @ u, u.T @ moved[2] @ v
    for j, row in enumerate(instance.modes):
        w, p, tau = map(rational, row)
        rate = weight_rate[j, j]
        values = symbols(
            instance,
            **{
                "mode of F": w * w,
                "mode of P": p,
                "mode of the target": tau,
                "rate of the mode of F": rate * w * 2,
                "rate of the mode of P": predictor_rate[j, j],
                "rate of the mode of the target": (target_rate[j, j] - rate * tau) / w,
                "coupling of two modes": weight_rate[j, 1 - j] if size > 1 else fmpq(0),
            },
        )
        yield Place(values, where=f" in mode {j + 1}")


def balanced_rate(instance: LinearByolInstance, p: fmpq, eta: fmpq, arithmetic: str, device: str) -> Any:
    """Rate of the predictor of one neuron with W = W_a = P = p, alpha = 1."""
    one = np.array([[p]], dtype=object)
    return flow(isotropic(1, instance.spread), [one] * 3, (fmpq(1), fmpq(0), eta), arithmetic, device)[1][0, 0]


def collapse_places(instance: LinearByolInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """One neuron: a place in each interval between the fixed points."""
    a, d, share = 1 + rational(instance.spread) ** 2, rational(instance.root), rational(instance.share)
    low, high = (1 - d) / (2 * a), (1 + d) / (2 * a)
    weak, strong = (1 - d * d) / (4 * a), (1 + d) / (4 * a)
    p = abs(rational(instance.modes[0][1])) + fmpq(1, 8)

    def rate(at: fmpq, eta: fmpq = weak) -> Any:
        return balanced_rate(instance, at, eta, arithmetic, device)

    signs = {"below": low * share, "between": low + share * (high - low), "above": high / share}
    strongly = rate(p, strong) / p
    values = {
        "one plus the variance of the augmentation": constant(a),
        "root of the discriminant": constant(d),
        "mode of P": constant(p),
        "rate of the balanced mode": lambda here: rate(signs[here["start"]] if "start" in here else p),
        "relative rate at strong decay": constant(strongly),
    }
    yield Place(values)


NODES = (24, 32)


def elapsed(a: Any, begin: Any, end: Any, arithmetic: str) -> Any:
    """The time from one value of p to another, the integral of ``dp/(p^2 (1 - a p))``: Arb's, or Gauss-Legendre."""
    if arithmetic != "float64":
        ball = acb(balls.to_ball(a))
        return acb.integral(lambda p, _: 1 / (p * p * (1 - ball * p)), balls.to_ball(begin), balls.to_ball(end)).real
    found = []
    low, high, factor = as_float(begin), as_float(end), as_float(a)
    for count in NODES:
        nodes, weights = np.polynomial.legendre.leggauss(count)
        p = low + (high - low) * (nodes + 1) / 2
        found.append(float((weights / (p * p * (1 - factor * p))).sum() * (high - low) / 2))
    return Bounded(found[1], 4 * abs(found[1] - found[0]) + 2.0**-40 * abs(found[1]))


def time_places(instance: LinearByolInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """From share/(2a) to (1 + share)/(2a), on one side of the fixed point 1/a."""
    a, share = 1 + rational(instance.spread) ** 2, rational(instance.share)
    begin, end = share / (2 * a), (1 + share) / (2 * a)
    values = {
        "one plus the variance of the augmentation": a,
        "start of the mode": begin,
        "mode of P": end,
        "time from one value of the mode to another": elapsed(a, begin, end, arithmetic),
    }
    yield Place({role: constant(value if arithmetic == "float64" else arb(value)) for role, value in values.items()})


PARTS = (
    Part("flow", general_places),
    Part("balance", general_places),
    Part("no-stop-gradient", general_places),
    Part("isotropic", isotropic_places),
    Part("commutator", isotropic_places),
    Part("modes", mode_places),
    Part("invariant", mode_places),
    Part("collapse", collapse_places),
    Part("time", time_places, exact="ball"),
)
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, points: int = 2, width: int = 3) -> Iterator[LinearByolInstance]:
    """Random instances with dyadic entries."""
    rng = samples.generator(seed, SLUG)
    for _ in range(count):
        rows, columns = int(rng.integers(1, 2, endpoint=True)), int(rng.integers(1, width, endpoint=True))
        size, spread = int(rng.integers(1, points, endpoint=True)), 2
        modes = int(rng.integers(1, 2, endpoint=True))
        eighth = lambda low, high: float(rng.integers(low, high)) / 8  # noqa: E731
        yield LinearByolInstance(
            weights=samples.eighths(rng, rows, columns),
            predictor=samples.eighths(rng, rows, rows),
            target_weights=samples.eighths(rng, rows, columns),
            points=samples.eighths(rng, size, spread, columns),
            point_weights=samples.simplex(rng, size),
            augmentation_weights=tuple(samples.simplex(rng, spread) for _ in range(size)),
            rates=(eighth(1, 16), eighth(1, 16), eighth(1, 16)),
            spread=eighth(1, 12),
            ratio=eighth(-8, 12),
            modes=tuple((eighth(1, 16), eighth(-16, 16), eighth(-8, 16)) for _ in range(modes)),
            angles=(eighth(-8, 8), eighth(-8, 8)),
            root=eighth(1, 8),
            share=eighth(1, 8),
        )


# Few choices for each instance: what an instance costs in a search is mostly its drawing.
RATES = tuple((alpha, beta, eta) for alpha in (1.0, 0.5, 2.0) for beta in (1.0, 0.5) for eta in (0.0, 1.0, 0.25))
SCALES = ((0.0, 1.0), (1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (0.5, -0.5), (1.5, 0.25))
PLACES = ((0.5, 0.5), (0.25, 0.5), (0.75, 0.25), (0.125, 0.875))
ANGLES = ((0.0, 0.0), (1.0, 0.0), (0.5, -0.5), (0.25, 2.0))
LAWS = (((1.0,),), ((0.5, 0.5),), ((0.25, 0.75),))


@st.composite
def instances(draw: st.DrawFn, modes: int = 1, width: int = 1, points: int = 1) -> LinearByolInstance:
    """Instances that shrink to one neuron on one point."""
    rows, columns, size = (draw(st.integers(1, most)) for most in (modes, width, points))
    (law,) = draw(st.sampled_from(LAWS))
    scales, places = draw(st.sampled_from(SCALES)), draw(st.sampled_from(PLACES))
    return LinearByolInstance(
        weights=draw(grid_matrices(rows, columns)),
        predictor=draw(grid_matrices(rows, rows)),
        target_weights=draw(grid_matrices(rows, columns)),
        points=draw(st.tuples(*[grid_matrices(len(law), columns)] * size)),
        point_weights=draw(simplices(size)),
        augmentation_weights=(law,) * size,
        rates=draw(st.sampled_from(RATES)),
        spread=scales[0],
        ratio=scales[1],
        modes=draw(st.tuples(*[st.tuples(eighths(1, 16), eighths(-16, 16), eighths(-8, 16))] * rows)),
        angles=draw(st.sampled_from(ANGLES)),
        root=places[0],
        share=places[1],
    )


def stage(modes: int, width: int, points: int) -> Any:
    """A stage of a search."""
    return lambda: instances(modes, width, points)


STAGES = (stage(2, 2, 1), stage(2, 2, 2))
