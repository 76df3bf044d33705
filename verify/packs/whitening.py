r"""Pack whitening: invariance under a whitening constraint, VICReg and CCA of a linear layer.

Statement
    ``min E||f(x_1) - f(x_+)||^2`` over ``f = W x`` with ``Cov[f] = I`` is ``2 sum_j (1 - mu_j)``: the d largest
    canonical correlations of two views.
Assumptions
    Independent augmentations, an invertible covariance of the inputs; Ky Fan's theorem, which is cited, for the bound.
Evidence
    Symbolic: the algebra of expectations, matrix identities of all sizes. Exact: the literal sum in rationals and
    balls, certified eigenvectors. Float: `numeric.vicreg_loss`, and the literal sum with a running bound of its error.
    Trained: descent to the minimum.
Not covered
    That the minimiser is unique up to rotations; networks that are not linear; penalties in place of the constraint.
Source
    Balestriero and LeCun, arXiv 2205.11508; VICReg: Bardes et al., arXiv 2105.04906.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flint import acb_mat, arb, fmpq, fmpq_mat
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import left, right, times
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector
from verify.packs.byol_measures import everywhere, on_points
from verify.packs.oracle import entries, float_value
from verify.packs.part import BITS, Pack, Part, Place, UndecidedError, mutant, once, pack_statement
from verify.packs.spectral_measures import constant, diagonal
from verify.strategies import grid_matrices, simplices
from verify.towers import balls
from verify.towers.population import weighted_sum
from verify.towers.tower import Array, rational, tensors
from verify.towers.values import in_float64

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "whitening"


@dataclass(frozen=True)
class WhiteningInstance(JsonInstance):
    """Free weights of a linear layer, and a finite population.

    Examples
    --------
    >>> WhiteningInstance(((1.0,),), (((1.0,), (2.0,)),), (1.0,), ((0.5, 0.5),)).checked().size
    (1, 1)
    """

    weights: Matrix
    points: tuple[Matrix, ...]
    point_weights: Vector
    augmentation_weights: Matrix

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        (weights,) = numeric.check_weights([self.weights])
        population = numeric.FinitePopulation(self.points, self.point_weights, self.augmentation_weights)
        if population.dimension != weights.shape[-1]:
            raise InputError(f"points have dimension {population.dimension}: must be {weights.shape[-1]}")
        if len(weights) > population.dimension:
            raise InputError(f"weights have {len(weights)} rows: must have at most {population.dimension}")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """One layer and its largest width."""
        return 1, max(np.asarray(self.weights).shape)


# The population in rationals, and its canonical correlations in balls.


@dataclass(frozen=True, eq=False)
class Moments:
    """Inputs by point and augmentation, their means, the laws, and both covariances."""

    inputs: list[list[Array]]
    means: list[Array]
    p: list[fmpq]
    q: list[list[fmpq]]
    sigma: Array
    between: Array


@lru_cache(maxsize=512)
def moments(instance: WhiteningInstance) -> Moments:
    """The exact population of an instance."""
    p = [rational(v) for v in instance.point_weights]
    q = [[rational(v) for v in row] for row in instance.augmentation_weights]
    inputs = [[entries(x, "rational") for x in row] for row in instance.points]
    means = [weighted_sum(row, w) for row, w in zip(inputs, q, strict=True)]
    centre = weighted_sum(means, p)
    joint = [a * b for a, row in zip(p, q, strict=True) for b in row]
    gaps = [x - centre for row in inputs for x in row]
    sigma = weighted_sum([np.outer(gap, gap) for gap in gaps], joint)
    between = weighted_sum([np.outer(mean - centre, mean - centre) for mean in means], p)
    return Moments(inputs, means, p, q, sigma, between)


@lru_cache(maxsize=512)
def canonical(instance: WhiteningInstance) -> tuple[list[arb], Array]:
    """Canonical correlations in order, and eigenvectors of ``B v = mu Sigma v`` with ``v^T Sigma v = 1`` as rows."""
    state = moments(instance)
    size = len(state.sigma)
    with balls.precision(BITS):
        try:
            matrix = fmpq_mat(state.sigma.tolist()).inv() * fmpq_mat(state.between.tolist())
            values, vectors = acb_mat(matrix).eig(right=True)
        except (ValueError, ZeroDivisionError) as error:
            raise UndecidedError(f"no certified canonical correlations: {error}") from None
        rows = []
        for number in sorted(range(size), key=lambda n: -float(values[n].real.mid())):
            column = [vectors[row, number] for row in range(size)]
            pivot = max(column, key=lambda entry: float(abs(entry).mid()))
            reals = np.array([(entry / pivot).real for entry in column], dtype=object)
            rows.append((values[number].real, reals / (reals @ state.sigma @ reals).sqrt()))
        return [value for value, _ in rows], np.array([row for _, row in rows], dtype=object)


def whitened(instance: WhiteningInstance) -> Array:
    """The weights with rows made orthonormal in the scalar product Sigma (Gram-Schmidt), in balls."""
    sigma = moments(instance).sigma
    rows: list[Array] = []
    for row in entries(instance.weights, "ball"):
        rest = row
        for known in rows:
            rest = rest - known * (known @ sigma @ row)
        square = rest @ sigma @ rest
        if not square > 0:
            raise UndecidedError("the weights have no full rank on the inputs")
        rows.append(rest / square.sqrt())
    return np.array(rows, dtype=object)


# The literal objective.


def gaps(instance: WhiteningInstance, weights: Array, number: Callable[[Any], Any] = np.asarray) -> Array:
    """``E[(f(x_1) - f(x_+)) (f(x_1) - f(x_+))^T]``, term by term, values brought into an arithmetic by `number`."""
    state, size = moments(instance), len(weights)
    total = number(np.full((size, size), fmpq(0), dtype=object))
    for chance, row, w in zip(state.p, state.inputs, state.q, strict=True):
        points, shares, likely = number(np.array(row)), number(np.array(w)), number(chance)
        for a, b in product(range(len(row)), repeat=2):
            gap = weights @ (points[a] - points[b])
            total = total + np.outer(gap, gap) * (likely * shares[a] * shares[b])
    return total


def in_torch(instance: WhiteningInstance, weights: Tensor, device: str) -> Tensor:
    """The invariance term of `numeric`'s VICReg loss."""
    arguments = (instance.points, instance.point_weights, instance.augmentation_weights)
    population = numeric.FinitePopulation(*tensors(arguments, device, weights.dtype))
    return numeric.vicreg_loss(population.flat_points @ weights.T, population, 1.0, 0.0, 0.0)


def invariance(instance: WhiteningInstance, weights: Array, arithmetic: str, device: str) -> Any:
    """``E||f(x_1) - f(x_+)||^2``."""
    if arithmetic != "float64":
        return np.trace(gaps(instance, weights))
    near = np.vectorize(float, otypes=[float])(weights)
    return float_value(lambda leaves: in_torch(instance, leaves[0], device), [near], device)


# Values of the symbols of the claims.


def difference_places(instance: WhiteningInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Any weights."""
    del device
    from theory.core.notation import AugmentationCovariance, Expect

    state, weights = moments(instance), entries(instance.weights, "rational")

    def spread(_: dict[str, str]) -> Array:
        # In float64 the same sum with a running bound of its error.
        return gaps(instance, in_float64(weights), in_float64) if arithmetic == "float64" else gaps(instance, weights)

    values = {
        "input": everywhere([[x[:, None] for x in row] for row in state.inputs]),
        "mean input": on_points([x[:, None] for x in state.means]),
        "weights": constant(weights),
        "second moment of the difference of two views": spread,
    }
    yield Place(values, {Expect: state.p, AugmentationCovariance: state.q})


def white_places(instance: WhiteningInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Whitened weights, and whitened eigenvectors."""
    from theory.packs.whitening import IN, OUT

    state, outputs = moments(instance), len(instance.weights)
    correlations, vectors = canonical(instance)
    weights, best = whitened(instance), vectors[:outputs]
    values = {
        "covariance of the inputs": constant(state.sigma),
        "covariance of the mean inputs": constant(state.between),
        "largest canonical correlations": constant(diagonal(correlations[:outputs])),
        "next canonical correlation": constant([*correlations, arb(0)][outputs]),
        "weights": constant(weights),
        "whitened eigenvectors": constant(best),
        "invariance": lambda _: invariance(instance, weights, arithmetic, device),
        "invariance of the eigenvectors": lambda _: invariance(instance, best, arithmetic, device),
    }
    yield Place(values, {OUT: outputs, IN: len(state.sigma)})


PACK = Pack(
    SLUG,
    (
        Part("difference", difference_places),
        Part("bound", white_places, exact="ball"),
        Part("minimum", white_places, exact="ball"),
    ),
)


# Instances.


def toy(seed: int, count: int, *, width: int = 3) -> Iterator[WhiteningInstance]:
    """Random instances with dyadic entries and more inputs than dimensions."""
    rng = samples.generator(seed, "whitening")
    for _ in range(count):
        inputs = int(rng.integers(2, width, endpoint=True))
        yield WhiteningInstance(
            weights=samples.eighths(rng, int(rng.integers(1, min(2, inputs), endpoint=True)), inputs),
            points=samples.eighths(rng, inputs + 1, 2, inputs),
            point_weights=samples.simplex(rng, inputs + 1),
            augmentation_weights=tuple(samples.simplex(rng, 2) for _ in range(inputs + 1)),
        )


@st.composite
def instances(draw: st.DrawFn, max_width: int = 2) -> WhiteningInstance:
    """Instances that shrink to one input on two points."""
    inputs = draw(st.integers(1, max_width))
    size = inputs + 1
    return WhiteningInstance(
        weights=draw(grid_matrices(draw(st.integers(1, inputs)), inputs)),
        points=draw(st.tuples(*[grid_matrices(2, inputs)] * size)),
        point_weights=draw(simplices(size)),
        augmentation_weights=draw(st.tuples(*[simplices(2)] * size)),
    )


STAGES = tuple(partial(instances, max_width=width) for width in (2, 3))


# Mutants: rewrites of the claims.


def made(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A change of one side that knows the symbols of the claims."""

    def changed(side: Any) -> Any:
        import theory.packs.whitening

        return change(side, theory.packs.whitening)

    return changed


def views(of: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """``2 W (...) W^T`` from both covariances."""

    def change(_: Any, s: Any) -> Any:
        x, mean = s.LETTERS.symbol("x", "x", "1"), s.LETTERS.symbol("xbar")
        return 2 * s.WEIGHT * of(s.Covariance(x, x), s.Covariance(mean, mean)) * s.WEIGHT.T

    return made(change)


def least(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """``2 tr(...)`` of an expression of I and M."""
    return made(lambda _, s: 2 * s.Trace(change(s.Identity(s.OUT), s.CORRELATIONS)))


ENCLOSED = "eigenvectors are certified in balls; in float64 they are the same, rounded"
VARIANTS = (
    mutant("difference-once", "without the factor 2", "difference", times("1/2")),
    mutant("difference-total", "Cov[x] for Cov[x] - V_x[xbar]", "difference", right(views(lambda total, _: total))),
    mutant("difference-between", "V_x[xbar] for Cov[x] - V_x[xbar]", "difference", right(views(lambda _, b: b))),
    mutant("difference-sum", "Cov[x] + V_x[xbar]", "difference", right(views(lambda total, b: total + b))),
    mutant("excess-once", "the gap in Ky Fan's theorem once", "bound",
           right(made(lambda side, s: (side + 2 * s.OUT - 2 * s.Trace(s.CORRELATIONS)) / 2))),
    mutant("excess-plus", "sum (1 + mu_j)", "bound", right(made(lambda side, s: side + 4 * s.Trace(s.CORRELATIONS)))),
    mutant("excess-between", "tr(W Sigma W^T) for tr(W B W^T)", "bound",
           right(made(lambda side, s: side.xreplace({s.BETWEEN: s.SIGMA})))),
    mutant("minimum-once", "sum (1 - mu_j)", "minimum", times("1/2")),
    mutant("minimum-squares", "2 sum (1 - mu_j^2)", "minimum", right(least(lambda one, m: one - m * m))),
    mutant("minimum-sum", "2 sum mu_j", "minimum", right(least(lambda _, m: m))),
    mutant("minimum-one-more", "d + 1 correlations", "minimum",
           right(made(lambda side, s: side + 2 * (1 - s.NEXT)))),
    once(mutant("eigenvectors-of-between", "B W^T = W^T M, Sigma left out", "minimum",
                right(made(lambda _, s: s.BEST.T * s.CORRELATIONS), 2)), "exact", ENCLOSED),
    once(mutant("eigenvectors-of-within", "(Sigma - B) W^T = Sigma W^T M", "minimum",
                left(made(lambda _, s: (s.SIGMA - s.BETWEEN) * s.BEST.T), 2)), "exact", ENCLOSED),
)  # fmt: skip


# Assumptions, dropped in turn: both sides from points, all equally likely, with equally likely augmentations.


Points = tuple[tuple[tuple[int, ...], ...], ...]
LINE: Points = (((0,), (2,)),)
SQUARE: Points = (((-1, -1), (-1, 1)), ((1, -1), (1, 1)))
"""The first coordinate is the point, the second the augmentation: Sigma = I, B = diag(1, 0)."""


def apart(points: Points, weights: Array, *, same: bool = False) -> fmpq:
    """``E (f(x_1) - f(x_+))^2`` of one output, with independent augmentations or with one that is the other."""
    total = fmpq(0)
    for row in points:
        pairs = [(x, x) for x in row] if same else list(product(row, repeat=2))
        for a, b in pairs:
            gap = sum((w * (v - u) for w, v, u in zip(weights, a, b, strict=True)), fmpq(0))
            total += gap * gap / (len(pairs) * len(points))
    return total


def covariances(points: Points) -> tuple[Array, Array]:
    """Sigma and B."""

    def mean(arrays: list[Array]) -> Array:
        return weighted_sum(arrays, [fmpq(1, len(arrays))] * len(arrays))

    def covariance(vectors: list[Array]) -> Array:
        return mean([np.outer(vector - mean(vectors), vector - mean(vectors)) for vector in vectors])

    rows = [[np.array([fmpq(v) for v in x], dtype=object) for x in row] for row in points]
    return covariance([x for row in rows for x in row]), covariance([mean(row) for row in rows])


def weights_of(*row: fmpq | int) -> Array:
    return np.array([fmpq(entry) for entry in row], dtype=object)


def least_of(points: Points) -> fmpq:
    """``2 (1 - mu_1)`` where both covariances are diagonal."""
    sigma, between = covariances(points)
    return 2 * (1 - max(between.diagonal() / sigma.diagonal()))


def equal_views(_: Context) -> Iterator[Sides]:
    """One point with the augmentations 0 and 2, W = 1."""
    weights, (sigma, between) = weights_of(1), covariances(LINE)
    formula = 2 * (weights @ (sigma - between) @ weights)
    left_side = apart(LINE, weights, same=True)
    yield Sides("x = 0, 2, x_+ = x_1, W = 1", "E (f - f_+)^2, 2 W (Cov[x] - V_x[xbar]) W^T", left_side, formula)


def not_white(_: Context) -> Iterator[Sides]:
    """The same point, W = 1/2: below the minimum."""
    value = apart(LINE, weights_of(fmpq(1, 2)))
    yield Sides("x = 0, 2, W = 1/2", "J, 2 (1 - mu)", value, least_of(LINE), relation=">=")


def other_rows(_: Context) -> Iterator[Sides]:
    """Sigma = I, B = diag(1, 0), W = (0, 1): the eigenvector of the other correlation."""
    value = apart(SQUARE, weights_of(0, 1))
    yield Sides("Sigma = I, B = diag(1, 0), W = (0, 1)", "J, 2 (1 - mu_1)", value, least_of(SQUARE))


DROPS = (
    Assumption("x_1 and x_+ are independent augmentations of x", "x_+ = x_1", equal_views),
    Assumption("Cov[f] = I", "Cov[f] = 1/4", not_white),
    Assumption("the rows of W are the leading eigenvectors, for the minimum", "another eigenvector", other_rows),
)


# Trained: descent under the constraint.


def measure_descent(instance: WhiteningInstance, device: str = "cpu") -> Measurement:
    """The lowest invariance that LBFGS finds, the weights whitened in the objective, against ``2 sum (1 - mu_j)``."""
    import torch

    outputs = len(instance.weights)
    aim = 2 * sum(1 - float(value) for value in canonical(instance)[0][:outputs])
    sigma = tensors([np.vectorize(float, otypes=[float])(moments(instance).sigma)], device)[0]
    generator = torch.Generator().manual_seed(outputs)
    reached = []
    for _ in range(3):
        free = torch.randn(outputs, len(sigma), generator=generator, dtype=torch.float64).to(device).requires_grad_()
        descent = torch.optim.LBFGS([free], max_iter=200, tolerance_grad=1e-13, line_search_fn="strong_wolfe")

        def value(free: Tensor = free) -> Tensor:
            root = torch.linalg.cholesky(free @ sigma @ free.T)
            return in_torch(instance, torch.linalg.solve_triangular(root, free, upper=False), device)

        def closure(descent: Any = descent, value: Callable[[], Tensor] = value) -> Any:
            descent.zero_grad()
            result = value()
            result.backward()
            return result

        descent.step(closure)
        reached.append(float(value().detach()))
    return Measurement(abs(min(reached) - aim), 1e-9 * max(1.0, aim), detail=f"{outputs} outputs")


def descent(context: Context) -> Evidence:
    """Descent from random weights."""
    count = context.pick(quick=2, thorough=40)
    return tally(
        "trained", "descent", toy(context.seed + 2, count), partial(measure_descent, device=context.device),
        at_least=count, detail="the invariance that descent reaches = 2 sum (1 - mu_j)",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="whitened invariance: canonical correlations of two views",
    source="Balestriero and LeCun, arXiv 2205.11508; VICReg: Bardes et al., arXiv 2105.04906",
    not_covered=(
        "uniqueness of the minimiser up to rotations",
        "networks that are not linear",
        "penalties for Cov[f] = I",
    ),
    relation=PaperRelation(
        "own form",
        "the constrained problem that VICReg relaxes, with the excess over the minimum as an identity",
        "notes on arXiv 2205.11508 and 2105.04906, not their text",
        "low",
    ),
    instance_type=WhiteningInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    assumptions=("Ky Fan's theorem (1949), for the lower bound",),
    checks=(Check("trained", "descent", descent),),
)
