r"""Pack collapse-hessian: the second derivative of contrastive losses at collapse, one linear layer at W = 0.

Statement
    The Hessian of ``E[L + beta r_+]`` by vec W at W = 0 is ``-2 xi(0) V_x[xbar] kron I + 2 beta E_x V_aug[x] kron I``;
    the same by the connection; for any loss of distances; xi(0) of the three losses.
Assumptions
    One linear layer, at W = 0; independent augmentations; a loss that is smooth at distances 0 and whose derivatives
    add up to zero.
Evidence
    Symbolic: the algebra of expectations, and Taylor's formula. Exact: the literal loss as a power series in balls
    along every two entries of W. Float: second derivatives by automatic differentiation, and `numeric`'s formula.
Not covered
    Deeper networks, whose Hessian at W = 0 is 0 (an assumption dropped here); collapse to a point other than 0.
Source
    Ziyin et al. (2022) for losses at collapse; the within-pair term and finite augmentations are this project's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flint import arb, arb_series, fmpq
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import right, times
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector
from verify.packs.byol_measures import everywhere, on_points
from verify.packs.oracle import entries, float_gradients
from verify.packs.part import BITS, Pack, Part, Place, mutant, pack_statement
from verify.strategies import eighths, grid_matrices, simplices
from verify.tolerance import rounding
from verify.tolerance.running import Bounded
from verify.towers import balls
from verify.towers.population import half_square, weighted_sum
from verify.towers.tower import Array, rational, tensors

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "collapse-hessian"
LOSSES = ("simple", "triplet", "infonce")


@dataclass(frozen=True)
class CollapseInstance(JsonInstance):
    """A loss with its parameters, a strength beta, a number of outputs, and a finite population of inputs.

    Examples
    --------
    >>> one = CollapseInstance("infonce", 0.5, 0.0, 1, 0.25, 1, (((1.0,), (2.0,)),), (1.0,), ((0.5, 0.5),))
    >>> one.checked().size
    (1, 1)
    """

    loss: str
    tau: float
    margin: float
    negatives: int
    beta: float
    outputs: int
    points: tuple[Matrix, ...]
    point_weights: Vector
    augmentation_weights: Matrix

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        if self.loss not in LOSSES:
            raise InputError(f"loss={self.loss!r}: must be one of {', '.join(LOSSES)}")
        numeric.loss_spec("triplet", tau=self.tau, margin=self.margin)
        population = numeric.FinitePopulation(self.points, self.point_weights, self.augmentation_weights)
        numeric.collapse_hessian(population, self.outputs, self.loss, self.beta, **self.parameters(self.loss))
        if self.negatives not in (1, 2):
            raise InputError(f"negatives={self.negatives!r}: must be 1 or 2")
        return self

    def parameters(self, loss: str) -> dict[str, Any]:
        """The parameters of a loss."""
        taken = {"simple": (), "triplet": ("tau", "margin"), "infonce": ("tau", "negatives")}[loss]
        return {name: getattr(self, name) for name in taken}

    @property
    def size(self) -> tuple[int, int]:
        """One layer, and its largest width."""
        return 1, max(self.outputs, len(self.points[0][0]))

    @property
    def count(self) -> int:
        """Number of negatives of the loss."""
        return self.negatives if self.loss == "infonce" else 1


# The literal loss: power series along two entries of W, and torch.


def laws(instance: CollapseInstance) -> tuple[list[fmpq], list[list[fmpq]]]:
    """Probabilities of the points and of their augmentations."""
    inner = [[rational(q) for q in row] for row in instance.augmentation_weights]
    return [rational(p) for p in instance.point_weights], inner


def along(instance: CollapseInstance, direction: Array) -> arb:
    """The coefficient of t^2 of ``E[L + beta r_+]`` at ``W = t V``."""
    p, q = laws(instance)
    spread = len(q[0])
    flat = [direction @ entries(x, "rational") for row in instance.points for x in row]
    joint = [a * b for a, row in zip(p, q, strict=True) for b in row]
    loss = balls.literal_loss(instance.loss, {"tau": instance.tau, "margin": instance.margin})
    beta = balls.to_ball(instance.beta)

    @cache
    def r(i: int, j: int) -> arb_series:
        return arb_series([0, 0, balls.to_ball(half_square(flat[i] - flat[j]))])

    total = arb_series([0])
    for i, j in product(range(len(flat)), repeat=2):
        if i // spread != j // spread:
            continue
        pair = joint[i] * q[j // spread][j % spread]
        for chosen in product(range(len(flat)), repeat=instance.count):
            chance = pair
            for k in chosen:
                chance *= joint[k]
            total = total + loss(r(i, j), [r(i, k) for k in chosen]) * balls.to_ball(chance)
        total = total + r(i, j) * beta * balls.to_ball(pair)
    return arb_series(total)[2]


@lru_cache(maxsize=256)
def exact_hessian(instance: CollapseInstance) -> Array:
    """Second derivatives by vec W, from the coefficients along single entries and pairs of them."""
    shape = (instance.outputs, len(instance.points[0][0]))
    places = [(b, a) for a in range(shape[1]) for b in range(shape[0])]

    def unit(*chosen: tuple[int, int]) -> Array:
        direction = np.full(shape, fmpq(0), dtype=object)
        for place in chosen:
            direction[place] += 1
        return direction

    with balls.precision(BITS, 3):
        single = [along(instance, unit(place)) for place in places]
        result = np.empty((len(places), len(places)), dtype=object)
        for i, j in product(range(len(places)), repeat=2):
            if i == j:
                result[i, i] = 2 * single[i]
            elif i < j:
                result[i, j] = along(instance, unit(places[i], places[j])) - single[i] - single[j]
                result[j, i] = result[i, j]
    return result


@lru_cache(maxsize=256)
def float_hessian(instance: CollapseInstance, device: str) -> Array:
    """Second derivatives of `numeric`'s literal loss by automatic differentiation in float64, with a bound."""
    import torch

    arguments = (instance.points, instance.point_weights, instance.augmentation_weights)
    shape = (len(instance.points[0][0]), instance.outputs)

    def hessian(dtype: torch.dtype) -> Array:
        population = numeric.FinitePopulation(*tensors(arguments, device, dtype))

        def value(column: Tensor) -> Tensor:
            options = instance.parameters(instance.loss)
            return numeric.collapse_loss(column.reshape(shape).T, population, instance.loss, instance.beta, **options)

        zero = torch.zeros(shape[0] * shape[1], dtype=dtype, device=device)
        found: Tensor = torch.autograd.functional.hessian(value, zero)
        return found.cpu().numpy().astype(np.float64)

    double, single = hessian(torch.float64), hessian(torch.float32)
    # Where everything cancels single precision may show no error: a bound by the sizes of what is summed.
    largest = 4 * float(np.square(np.array(instance.points)).max()) * (2 + abs(instance.beta))
    error = max(rounding.measured_tolerance([double], [single]), rounding.gamma(512) * largest)
    return np.frompyfunc(lambda value: Bounded(float(value), error), 1, 1)(double)


def slopes(instance: CollapseInstance, loss: str, arithmetic: str, device: str) -> list[Any]:
    """Derivatives of a loss by its distances at 0."""
    count = instance.negatives if loss == "infonce" else 1
    options = instance.parameters(loss)
    if arithmetic != "float64":
        return balls.derivatives(balls.literal_loss(loss, options), 0.0, [0.0] * count)
    spec = numeric.loss_spec(loss, **options)
    found = float_gradients(lambda leaves: numeric.loss_value(spec, leaves[0], leaves[1]), [0.0, [0.0] * count], device)
    return [found[0].item(), *found[1]]


# Values of the symbols of the claims.


def places(instance: CollapseInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Values on the population."""
    from theory.core.notation import AugmentationCovariance, Expect, H, r_0, tau
    from theory.packs.collapse import OUTPUTS

    p, q = laws(instance)
    inputs = [[entries(x, "rational")[:, None] for x in row] for row in instance.points]
    identity = np.eye(instance.outputs, dtype=object) * fmpq(1)
    connections = [[np.kron(x, identity) for x in row] for row in inputs]
    values: dict[str, Any] = {}
    for role, table in (("input", inputs), ("connection", connections)):
        values[role] = everywhere(table)
        values[f"mean {role}"] = on_points([weighted_sum(row, w) for row, w in zip(table, q, strict=True)])

    def slope_of(at: dict[str, str]) -> list[Any]:
        return slopes(instance, at.get("loss", instance.loss), arithmetic, device)

    values |= {
        "pair weight at zero": lambda at: slope_of(at)[0],
        "derivative by the positive distance": lambda at: slope_of(at)[0],
        "sum of the derivatives by the negative distances": lambda at: sum(slope_of(at)[2:], slope_of(at)[1]),
        "within-pair strength": lambda _: rational(instance.beta),
        "Hessian at collapse": lambda _: (
            float_hessian(instance, device) if arithmetic == "float64" else exact_hessian(instance)
        ),
    }
    further = {
        Expect: p, AugmentationCovariance: q, OUTPUTS: instance.outputs, H: instance.negatives,
        tau: rational(instance.tau), r_0: rational(instance.margin),
    }  # fmt: skip
    yield Place(values, further)


PARTS = tuple(Part(name, places, exact="ball") for name in ("hessian", "connection", "any-loss", "weights-at-zero"))
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, width: int = 2, points: int = 3) -> Iterator[CollapseInstance]:
    """Random instances with dyadic entries; all losses in turn, beta of both signs."""
    rng = samples.generator(seed, "collapse")
    for index in range(count):
        loss = LOSSES[index % 3]
        negatives = 1 + (index // 3) % 2
        size = 2 if loss == "infonce" and negatives == 2 else int(rng.integers(2, points, endpoint=True))
        dimension = int(rng.integers(1, width, endpoint=True))
        yield CollapseInstance(
            loss=loss,
            tau=float(rng.choice([0.5, 1.0, 2.0])),
            margin=float(rng.integers(0, 8)) / 8,
            negatives=negatives,
            beta=float((-1) ** index * rng.integers(1, 12)) / 8,
            outputs=int(rng.integers(1, width, endpoint=True)),
            points=samples.eighths(rng, size, 2, dimension),
            point_weights=samples.simplex(rng, size),
            augmentation_weights=tuple(samples.simplex(rng, 2) for _ in range(size)),
        )


@st.composite
def instances(draw: st.DrawFn, max_width: int = 2, max_points: int = 2) -> CollapseInstance:
    """Instances that shrink to the simple loss of one input and one output on one point."""
    points, spread = draw(st.integers(1, max_points)), draw(st.integers(1, 2))
    dimension = draw(st.integers(1, max_width))
    return CollapseInstance(
        loss=draw(st.sampled_from(LOSSES)),
        tau=draw(st.sampled_from((1.0, 0.5, 2.0))),
        margin=draw(eighths(0, 8)),
        negatives=draw(st.integers(1, 2)),
        beta=draw(eighths(-16, 16)),
        outputs=draw(st.integers(1, max_width)),
        points=draw(st.tuples(*[grid_matrices(spread, dimension)] * points)),
        point_weights=draw(simplices(points)),
        augmentation_weights=draw(st.tuples(*[simplices(spread)] * points)),
    )


STAGES = tuple(partial(instances, max_width=width, max_points=2) for width in (1, 2))


# Mutants: rewrites of the claims.


def changed(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A change of an expression that is given the letters and nodes of the pack."""

    def made(side: Any) -> Any:
        import theory.packs.collapse as letters

        return change(side, letters)

    return made


def put(**names: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Functions of named symbols in their places."""
    return changed(
        lambda side, letters: side.xreplace({getattr(letters, n): f(getattr(letters, n)) for n, f in names.items()})
    )


def other_order(side: Any) -> Any:
    """``I kron A``: rows of W stacked."""
    from sympy import KroneckerProduct

    return side.replace(lambda part: isinstance(part, KroneckerProduct), lambda part: part.func(*part.args[::-1]))


def second_moment(side: Any, letters: Any) -> Any:
    """``E[xbar xbar^T]`` in place of the covariance over the points."""
    from theory.core.notation import Expect

    mean = letters.symbol("xbar")
    return side.xreplace({letters.VARIANCE: Expect(mean * mean.T)})


def variance_of_views(side: Any, letters: Any) -> Any:
    """The covariance of all views in place of that of their means."""
    return side.xreplace({letters.VARIANCE: letters.VARIANCE + letters.SPREAD})


def exchanged(side: Any, letters: Any) -> Any:
    """The two covariances exchanged."""
    return side.xreplace({letters.VARIANCE: letters.SPREAD, letters.SPREAD: letters.VARIANCE})


def views_of_the_connection(side: Any, letters: Any) -> Any:
    """``V[K]`` in place of ``V[Kbar]``."""
    return side.xreplace({letters.VARIANCE_K: letters.VARIANCE_K + letters.SPREAD_K})


VARIANTS = (
    mutant("sign-of-the-variance", "+2 xi(0) V_x[xbar]", "hessian", right(put(XI=lambda xi: -xi))),
    mutant("sign-of-beta", "-2 beta E V_aug[x]", "hessian", right(put(BETA=lambda beta: -beta))),
    mutant("half-of-beta", "beta in place of 2 beta", "hessian", right(put(BETA=lambda beta: beta / 2))),
    mutant("half-of-xi", "xi(0) in place of 2 xi(0): the one-branch operator", "hessian",
           right(put(XI=lambda xi: xi / 2))),
    mutant("within-left-out", "no within-pair term", "hessian", right(put(BETA=lambda beta: 0 * beta))),
    mutant("beta-weighted", "2 beta xi(0) E V_aug[x]: the within-pair term weighted by xi", "hessian",
           right(changed(lambda side, letters: side.xreplace({letters.BETA: letters.BETA * letters.XI})))),
    mutant("factor-two", "twice the Hessian", "hessian", times(2)),
    mutant("rows-stacked", "I kron A in place of A kron I", "hessian", right(other_order)),
    mutant("second-moment", "E[xbar xbar^T] in place of V_x[xbar]", "hessian", right(changed(second_moment))),
    mutant("variance-of-views", "V[x] in place of V_x[xbar]", "hessian", right(changed(variance_of_views))),
    mutant("covariances-exchanged", "V_x[xbar] and E V_aug[x] exchanged", "hessian", right(changed(exchanged))),
    mutant("variance-of-connections", "V[K] in place of V_x[Kbar]", "connection",
           right(changed(views_of_the_connection))),
    mutant("push-for-its-negative", "-2 L_- V_x[xbar]", "any-loss", right(put(PUSH=lambda push: -push))),
    mutant("pull-doubled", "2 L_+ in place of L_+", "any-loss", right(put(PULL=lambda pull: 2 * pull))),
    mutant("margin-sign", "1/(1 + exp(r_0/tau))", "weights-at-zero",
           right(lambda side: 1 - side, 2)),
    mutant("one-negative", "1/2 for every H", "weights-at-zero", right(lambda side: Fraction(1, 2) + 0 * side, 3)),
)  # fmt: skip


# Assumptions dropped: one weight, f = w x or f = w_2 w_1 x, worked out by hand.


ZERO = fmpq(0)
VIEWS = ((0, 2), (4, 6), (8, 14))
TEXT = "f = w x, points {0, 2}, {4, 6} and {8, 14}, simple loss, beta = 0"


def mean_of(function: Callable[[int, int, int], Any], scheme: str = "stated") -> Any:
    """Expectation over x_1, x_+ and x_- of the points, all equally likely."""
    total: Any = fmpq(0)
    count = len(VIEWS)
    for m, n in product(range(count), repeat=2):
        if scheme == "other law" and n != 0:
            continue
        chance = fmpq(1, 8 * count * (1 if scheme == "other law" else count))
        for a, b, c in product(VIEWS[m], VIEWS[m], VIEWS[n]):
            total = total + chance * function(a, a if scheme == "one augmentation" else b, c)
    return total


def covariances() -> tuple[fmpq, fmpq]:
    """V_x[xbar] and E_x V_aug[x]."""
    count = len(VIEWS)
    means = [fmpq(a + b, 2) for a, b in VIEWS]
    centre = sum(means, fmpq(0)) / count
    variance = sum(((m - centre) ** 2 for m in means), fmpq(0)) / count
    return variance, sum((fmpq((a - b) ** 2, 4) for a, b in VIEWS), fmpq(0)) / count


def by_formula(beta: fmpq = ZERO) -> fmpq:
    """The Hessian by the formula, with xi(0) = 1."""
    variance, spread = covariances()
    return 2 * beta * spread - 2 * variance


def hessian(scheme: str, push: int = 1) -> fmpq:
    """Second derivative of ``E[r_+ - push r_-]``, where r of w x and w y is ``w^2 (x - y)^2 / 2``."""
    value: fmpq = mean_of(lambda a, b, c: fmpq((a - b) ** 2 - push * (a - c) ** 2), scheme)
    return value


QUANTITY = "Hessian, -2 xi(0) V_x[xbar] + 2 beta E V_aug[x]"


def scheme(name: str, text: str, _: Context) -> Iterator[Sides]:
    """Other views."""
    yield Sides(f"{TEXT}, {text}", QUANTITY, hessian(name), by_formula())


def no_zero_sum(_: Context) -> Iterator[Sides]:
    """r_+ - 2 r_-, with xi(0) = dL/dr_+ = 1."""
    yield Sides(TEXT.replace("simple loss", "r_+ - 2 r_-"), QUANTITY, hessian("stated", 2), by_formula())


def kink(_: Context) -> Iterator[Sides]:
    """The hinge max(0, r_+ - r_-), whose one-sided derivative at 0 is 1."""
    value = mean_of(lambda a, b, c: fmpq(max(0, (a - b) ** 2 - (a - c) ** 2)))
    yield Sides(TEXT.replace("simple loss", "hinge"), QUANTITY, value, by_formula())


def two_layers(_: Context) -> Iterator[Sides]:
    """f = w_2 w_1 x: along (w_1, w_2) = t (1, 1) every distance is t^4, so the second derivative is 0."""
    series = mean_of(lambda a, b, c: arb_series([0, 0, 0, 0, fmpq((a - b) ** 2 - (a - c) ** 2, 2)]))
    yield Sides(
        TEXT.replace("f = w x", "f = w_2 w_1 x"), QUANTITY, 2 * arb(arb_series(series)[2]), arb(by_formula()),
        balls.RADIUS,
    )  # fmt: skip


def away_from_zero(_: Context) -> Iterator[Sides]:
    """InfoNCE, tau = 1, at w = 1."""
    loss = balls.literal_loss("infonce", {"tau": 1.0})

    def value(a: int, b: int, c: int) -> Any:
        square = arb_series([1, 2, 1])  # w^2 at w = 1 + t
        return loss(square * fmpq((a - b) ** 2, 2), [square * fmpq((a - c) ** 2, 2)])

    with balls.precision(BITS, 3):
        curvature = 2 * arb_series(mean_of(value))[2]
        yield Sides(
            TEXT.replace("simple loss", "InfoNCE, tau = 1") + ", at w = 1", QUANTITY, curvature, arb(by_formula() / 2),
            balls.RADIUS,
        )  # fmt: skip


def negative_strength(context: Context) -> Iterator[Sides]:
    """beta below 0."""
    for eighth in range(1, context.pick(quick=9, thorough=100)):
        beta = fmpq(-eighth, 4)
        left = hessian("stated") + beta * mean_of(lambda a, b, _: fmpq((a - b) ** 2))
        yield Sides(TEXT.replace("beta = 0", f"beta = {-eighth}/4"), QUANTITY, left, by_formula(beta))


DROPS = (
    Assumption("one linear layer", "two layers, whose Hessian is 0", two_layers),
    Assumption("W = 0", "W = 1", away_from_zero),
    Assumption("x_1 and x_+ are independent augmentations of x", "x_+ = x_1",
               partial(scheme, "one augmentation", "x_+ = x_1")),
    Assumption("x' has the law of x", "x' always the first point", partial(scheme, "other law", "x' always {0, 2}")),
    Assumption("the derivatives of L by its distances add up to zero", "r_+ - 2 r_-", no_zero_sum),
    Assumption("L is differentiable at 0", "the hinge max(0, r_+ - r_-)", kink),
    Assumption("beta >= 0", "beta < 0", negative_strength, False),
)  # fmt: skip


# Further evidence: the formula of `numeric`.


def measure_formula(instance: CollapseInstance, device: str = "cpu") -> Measurement:
    """Second derivatives by automatic differentiation against the formula of `numeric`."""
    arguments = (instance.points, instance.point_weights, instance.augmentation_weights)
    population = numeric.FinitePopulation(*tensors(arguments, device))
    options = instance.parameters(instance.loss)
    side = numeric.collapse_hessian(population, instance.outputs, instance.loss, instance.beta, **options)
    found = float_hessian(instance, device)
    value = np.vectorize(lambda entry: entry.value, otypes=[float])(found)
    bound = np.vectorize(lambda entry: 2 * entry.error, otypes=[float])(found)
    return rounding.worse(Measurement(0.0, 0.0), np.abs(value - side.cpu().numpy()), bound, "Hessian")


def formula(context: Context) -> Evidence:
    """`numeric`'s formula on random instances."""
    count = context.pick(quick=9, thorough=200)
    return tally(
        "float", "numeric", toy(context.seed + 1, count, points=4, width=3),
        partial(measure_formula, device=context.device), at_least=count // 2,
        detail="second derivatives by automatic differentiation = the formula of numeric",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="Hessian at collapse of a linear layer",
    source="losses at collapse: Ziyin et al. (2022); the operator is that of arXiv 2010.00578, Theorem 3",
    not_covered=("networks of several layers, whose Hessian at W = 0 is 0", "collapse to a point other than 0"),
    relation=PaperRelation(
        "own form",
        "minus the covariance operator of Theorem 3 at W = 0, scaled by xi(0), and a within-pair term of either sign",
        "the formula is proved here; the cited papers are not at hand",
        "low",
    ),
    instance_type=CollapseInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(Check("float", "numeric", formula),),
    examples=15,
)
