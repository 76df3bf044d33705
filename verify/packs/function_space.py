r"""Pack function-space: the gradient flow of the simple and of the covariance loss as a flow of outputs.

Statement
    ``df(z)/dt = 2 Cov_x[Thetabar(z, x), fbar(x)]`` with the tangent kernel Theta of all layers; the rate of the loss;
    the same for the covariance loss, with pair weights and a within-pair term of either sign.
Assumptions
    Gradient flow of the expected loss, shared convention; independent augmentations. No homogeneity.
Evidence
    Symbolic: the algebra of expectations. Exact: outputs and loss along the literal gradient, as power series in balls.
    Float: the same by automatic differentiation, and `numeric`'s kernel.
Not covered
    Steps of finite size; that the kernel moves along the flow is no part of the statement.
Source
    The general form of arXiv 2010.00578, Theorem 3, carried to outputs as in the tangent kernel of Jacot et al. (2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb_series, fmpq
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import right, times
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.instances import samples
from verify.instances.instance import Vector
from verify.packs import covariance_measures as base
from verify.packs.byol_measures import everywhere, on_points
from verify.packs.covariance_loss import Neuron
from verify.packs.covariance_measures import CovarianceInstance
from verify.packs.oracle import entries, float_gradients
from verify.packs.part import Pack, Part, Place, UndecidedError, mutant, pack_statement
from verify.strategies import grid_vectors
from verify.tolerance import rounding
from verify.tolerance.running import Bounded
from verify.towers.population import run, weighted_sum
from verify.towers.tower import Array, Tower, connection, exact_tower, rational, tensors

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "function-space"


@dataclass(frozen=True)
class FlowInstance(CovarianceInstance):
    """A tower, pair weights and a population as in the pack covariance-loss, and an input z whose output moves.

    Examples
    --------
    >>> one = FlowInstance(0.0, (((1.0,),),), 0.5, 1.0, 0.0, (((1.0,), (2.0,)),), (1.0,), ((0.5, 0.5),), (3.0,))
    >>> one.checked().z
    (3.0,)
    """

    z: Vector = ()

    def checked(self) -> FlowInstance:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        super().checked()
        if len(self.z) != len(self.points[0][0]) or not np.isfinite(self.z).all():
            raise InputError(f"z={self.z!r}: must be {len(self.points[0][0])} finite numbers, as each input is")
        return self


# Rates along the literal gradient.


@lru_cache(maxsize=512)
def exact_rates(instance: FlowInstance, loss: str) -> tuple[Array, Any]:
    """``df(z)/dt`` and ``dE[L]/dt`` at ``W - t E[grad L]``, from power series in t, at the gates of the instance."""
    gradients, _ = base.expected(instance, loss)
    plain = [entries(w, "rational") for w in instance.weights]
    slope = rational(instance.slope)
    series = np.frompyfunc(lambda w, g: arb_series([w, -g]), 2, 1)
    moved = [series(base.to_balls(w), g) for w, g in zip(plain, gradients, strict=True)]

    def at(x: Sequence[float]) -> tuple[Array, Array]:
        point = entries(x, "rational")
        held, gates = run(plain, point, slope, None)
        return run(moved, base.to_balls(point), slope, [base.to_balls(g) for g in gates])[0], base.to_balls(held)

    outputs = [at(x) for row in instance.points for x in row]
    value = base.literal(instance, loss, [f for f, _ in outputs], [held for _, held in outputs])
    return np.array([arb_series(f)[1] for f in at(instance.z)[0]], dtype=object), arb_series(value)[1]


@lru_cache(maxsize=512)
def float_rates(instance: FlowInstance, loss: str, device: str) -> tuple[Array, Any]:
    """The same by automatic differentiation in float64; the error of the gradient is carried through ``K(z)``."""
    gradients, _ = base.float_expected(instance, loss, device)
    values = [np.vectorize(lambda g: g.value, otypes=[float])(g) for g in gradients]
    errors = [np.vectorize(lambda g: g.error, otypes=[float])(g) for g in gradients]
    of_loss = base.torch_loss_of(instance, loss, device)

    def moved(leaves: Sequence[Tensor]) -> list[Tensor]:
        (t,) = leaves
        return [
            w - t[0] * g
            for w, g in zip(*(tensors(part, device, t.dtype) for part in (instance.weights, values)), strict=True)
        ]

    def output(number: int) -> Callable[[Sequence[Tensor]], Tensor]:
        def value(leaves: Sequence[Tensor]) -> Tensor:
            z = tensors([[instance.z]], device, leaves[0].dtype)[0]
            return numeric.forward(moved(leaves), z, instance.slope)[0, number]

        return value

    size = len(instance.weights[-1])
    rates = [float_gradients(output(number), [[0.0]], device)[0][0] for number in range(size)]
    k = np.abs(all_layers(exact_tower(instance.weights, instance.z, instance.slope)).astype(float))
    flat = np.concatenate([np.abs(v).T.ravel() for v in values])
    lost = np.concatenate([e.T.ravel() for e in errors])
    carried = k.T @ (lost + rounding.gamma(64) * flat)
    loss_rate = float_gradients(lambda leaves: of_loss(moved(leaves)), [[0.0]], device)[0][0]
    # The loss falls by the square of the gradient, each factor with its error.
    slack = np.array(2 * flat @ lost + rounding.gamma(256) * flat @ flat)
    return base.at_least(np.array(rates, dtype=object), carried), base.at_least(loss_rate, slack)


def all_layers(one: Tower) -> Array:
    """``(df/dtheta)^T``, the connections of all layers below each other."""
    return np.concatenate([connection(one, layer) for layer in range(1, one.depth + 1)])


def simple(instance: FlowInstance) -> FlowInstance:
    """The instance without a within-pair term, for the simple loss."""
    return replace(instance, beta=0.0)


def rates(instance: FlowInstance, loss: str, arithmetic: str, device: str) -> tuple[Array, Any]:
    """Both rates in an arithmetic."""
    one = simple(instance) if loss == "simple" else instance
    return float_rates(one, loss, device) if arithmetic == "float64" else exact_rates(one, loss)


# Values of the symbols of the claims.


def places(instance: FlowInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Values on the population, and at z."""
    from theory.core.notation import AugmentationCovariance, Expect

    p, q = base.laws(instance)
    rows = [[exact_tower(instance.weights, x, instance.slope) for x in row] for row in instance.points]
    k = all_layers(exact_tower(instance.weights, instance.z, instance.slope))
    connections = [[all_layers(one) for one in row] for row in rows]
    values: dict[str, Any] = {}
    for role, table in {
        "connection of all parameters": connections,
        "output": [[one.output[:, None] for one in row] for row in rows],
        "tangent kernel": [[k.T @ each for each in row] for row in connections],
    }.items():
        values[role] = everywhere(table)
        values[f"mean {role}"] = on_points([weighted_sum(row, w) for row, w in zip(table, q, strict=True)])
    values |= {
        "within-pair strength": lambda _: rational(instance.beta),
        "pair weight": base.pair_weight_values(instance),
        "rate of the output at z": lambda at: rates(instance, at["loss"], arithmetic, device)[0],
        "rate of the expected loss": lambda _: rates(instance, "simple", arithmetic, device)[1],
    }
    yield Place(values, {Expect: p, AugmentationCovariance: q})


PARTS = tuple(Part(name, places, exact="ball") for name in ("flow", "descent", "weighted"))
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, points: int = 3, layers: int = 2, width: int = 2) -> Iterator[FlowInstance]:
    """Random instances with dyadic entries; beta runs through both signs."""
    rng = samples.generator(seed, "function space")
    for one in base.toy(seed + 7, count, points=points, layers=layers, width=width):
        fields = {name: getattr(one, name) for name in one.__dataclass_fields__}
        yield FlowInstance(**fields, z=samples.eighths(rng, len(one.points[0][0])))


@st.composite
def instances(draw: st.DrawFn, max_layers: int = 2, max_width: int = 2, max_points: int = 2) -> FlowInstance:
    """Instances that shrink to one linear layer of width 1 on one point, and z = 0."""
    one = draw(base.instances(max_layers=max_layers, max_width=max_width, max_points=max_points))
    fields = {name: getattr(one, name) for name in one.__dataclass_fields__}
    return FlowInstance(**fields, z=draw(grid_vectors(len(one.points[0][0]))))


STAGES = tuple(
    partial(instances, max_layers=layers, max_width=width, max_points=min(width + 1, 3))
    for layers, width in samples.SIZES[:-2]
)


# Mutants: rewrites of the claims.


def changed(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A change of an expression that is given the letters and nodes of the pack."""

    def made(side: Any) -> Any:
        import theory.packs.function_space as letters

        return change(side, letters)

    return made


def second_moments(side: Any, letters: Any) -> Any:
    """``E_x[A B^T]`` in place of ``Cov_x[A, B]``."""
    from sympy import MatMul, Transpose

    def mean(node: Any) -> Any:
        return letters.Expect(MatMul(node.args[0], Transpose(node.args[1])))

    return side.replace(lambda part: isinstance(part, letters.Covariance), mean)


def covariance_of_views(side: Any, letters: Any) -> Any:
    """``Cov[Theta(z, x_1), f(x_1)]`` in place of that of the means."""
    names = {
        letters.kernel("Kbar"): letters.kernel("K", "x", "1"),
        letters.symbol("fbar"): letters.symbol("f", "x", "1"),
    }
    return side.xreplace(names)


def spread_only(side: Any, letters: Any) -> Any:
    """``E_x Cov_aug`` in place of ``Cov_x``."""
    node = letters.Covariance(letters.kernel("Kbar"), letters.symbol("fbar").T)
    views = letters.kernel("K", "x", "1"), letters.symbol("f", "x", "1").T
    from theory.core.notation import AugmentationCovariance

    return side.xreplace({node: AugmentationCovariance(*views)})


def strength(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of beta in its place."""
    return changed(lambda side, letters: side.xreplace({letters.BETA: function(letters.BETA)}))


def no_weights(side: Any, letters: Any) -> Any:
    from sympy import Integer

    return side.xreplace({letters.weight_symbol(): Integer(1)})


VARIANTS = (
    mutant("one-branch", "Cov_x in place of 2 Cov_x", "flow", times(Fraction(1, 2))),
    mutant("sign", "-2 Cov_x", "flow", times(-1)),
    mutant("second-moment", "2 E_x[Thetabar fbar], not centred", "flow", right(changed(second_moments))),
    mutant("covariance-of-views", "2 Cov[Theta(z, x_1), f(x_1)]: views in place of means", "flow",
           right(changed(covariance_of_views))),
    mutant("spread-for-variance", "2 E_x Cov_aug in place of 2 Cov_x", "flow", right(changed(spread_only))),
    mutant("descent-half", "-2 in place of -4", "descent", times(Fraction(1, 2))),
    mutant("descent-sign", "the loss rises", "descent", times(-1)),
    mutant("descent-second-moment", "-4 ||E[Kbar fbar]||^2", "descent", right(changed(second_moments))),
    mutant("sign-of-beta", "+2 beta", "weighted", right(strength(lambda beta: -beta))),
    mutant("half-of-beta", "beta in place of 2 beta", "weighted", right(strength(lambda beta: beta / 2))),
    mutant("within-left-out", "no within-pair term", "weighted", right(strength(lambda beta: 0 * beta))),
    mutant("unweighted", "pair weights left out", "weighted", right(changed(no_weights))),
)  # fmt: skip


# Assumptions dropped: one neuron, worked out by hand; K(z) = df(z)/dw.


TEXT = "f = w x, w = 1, points {0, 2} and {4, 10}, simple loss, z = 3"
QUANTITY = "df(z)/dt, 2 Cov_x[Thetabar(z, x), fbar(x)]"


def one_weight(_m: int, _n: int) -> fmpq:
    return fmpq(1)


def sides(text: str, one: Neuron, scheme: str = "stated", factor: int = 1) -> Sides:
    """The output at z = 3 along the update, and by the kernel."""
    k = one.rate(3)
    left, formula = factor * k * one.step(scheme, one_weight), k * one.formula("general", one_weight)
    return Sides(text, QUANTITY, left, formula)


PLAIN = Neuron(beta=fmpq(0))


def views(scheme: str, text: str, _: Context) -> Iterator[Sides]:
    """Other views."""
    yield sides(f"{TEXT}, {text}", PLAIN, scheme)


def one_branch(_: Context) -> Iterator[Sides]:
    """The gradient through x_1 only, which is half of the shared one in expectation."""
    k = PLAIN.rate(3)
    yield Sides(f"{TEXT}, gradient through x_1 only", QUANTITY, k * PLAIN.step(xi=one_weight) / 2,
                k * PLAIN.formula("general", one_weight))  # fmt: skip


def finite_step(_: Context) -> Iterator[Sides]:
    """f = (w x)^2, one step of size 1: the change of f(z) is not its rate."""
    one = replace(PLAIN, power=2, points=((0, 1), (2, 3)))
    step = one.step(xi=one_weight)
    yield Sides("f = (w x)^2, w = 1, points {0, 1} and {2, 3}, z = 3, one step of size 1",
                "f(z) after the step minus before, 2 Cov_x[Thetabar(z, x), fbar(x)]",
                ((1 + step) ** 2 - 1) * 9, one.rate(3) * one.formula("general", one_weight))  # fmt: skip


def not_homogeneous(context: Context) -> Iterator[Sides]:
    """f = (w x)^2."""
    for shift in range(context.pick(quick=8, thorough=100)):
        one = replace(PLAIN, power=2, points=((0, 1), (2, 3 + shift)))
        yield sides(f"f = (w x)^2, w = 1, points {{0, 1}} and {{2, {3 + shift}}}, z = 3", one)


DROPS = (
    Assumption("x_1 and x_+ are independent augmentations of x", "x_+ = x_1",
               partial(views, "one augmentation", "x_+ = x_1")),
    Assumption("x' has the law of x", "x' always the first point", partial(views, "other law", "x' always {0, 2}")),
    Assumption("the gradient flows through every tower", "through x_1 only", one_branch),
    Assumption("gradient flow", "one step of size 1", finite_step),
    Assumption("a homogeneous network", "f = (w x)^2", not_homogeneous, False),
)  # fmt: skip


# Further evidence: the kernel of `numeric`.


def measure_kernel(instance: FlowInstance, device: str = "cpu") -> Measurement:
    """The rate of the output by automatic differentiation against the kernel of `numeric`."""
    arguments = (instance.points, instance.point_weights, instance.augmentation_weights)
    population = numeric.FinitePopulation(*tensors(arguments, device))
    weights, z = tensors(instance.weights, device), tensors([[instance.z]], device)[0]
    side = numeric.output_flow(weights, population, z, instance.slope)[0].cpu().numpy()
    try:
        found = float_rates(simple(instance), "simple", device)[0]
    except UndecidedError as reason:
        return Measurement(0.0, math.inf, False, str(reason))
    value, bound = (np.array([get(entry) for entry in found]) for get in (_value, _twice_the_error))
    return rounding.worse(Measurement(0.0, 0.0), np.abs(value - side), bound, "output")


def _value(entry: Bounded) -> float:
    return entry.value


def _twice_the_error(entry: Bounded) -> float:
    return 2 * entry.error


def kernel(context: Context) -> Evidence:
    """`numeric`'s kernel on random instances."""
    count = context.pick(quick=12, thorough=200)
    return tally(
        "float", "numeric", toy(context.seed + 1, count, points=4, layers=3, width=4),
        partial(measure_kernel, device=context.device), at_least=count // 2,
        detail="the output along the literal gradient = the kernel of numeric",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="flow of the outputs by the tangent kernel",
    source="arXiv 2010.00578, Theorem 3 in its general form; tangent kernel: Jacot et al. (2018)",
    not_covered=("steps of finite size", "how the kernel itself moves along the flow", "smooth activations in numbers"),
    relation=PaperRelation(
        "own form",
        "the general form of Theorem 3 for all parameters at once, at the outputs; the paper stays with the weights",
        "the formula is proved here; the printed wording is not at hand",
        "low",
    ),
    instance_type=FlowInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(Check("float", "numeric", kernel),),
    examples=8,
)
