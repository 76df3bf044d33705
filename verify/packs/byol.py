r"""Pack byol-update: BYOL in versions 1 to 3 of arXiv 2010.00578.

Statement
    ``L = E 1/2 ||P f(x_1; W) - sg f(x_+; W')||^2``: the update as an operator, with and without predictor and zero
    mean; the implicit contrastive term c(1-c) V_x[Kbar]; what detaching the mean changes; one batch; BatchNorm; no
    norm moves at the optimal predictor.
Assumptions
    Independent augmentations; a stopped gradient; a linear predictor; a homogeneous tower for the operator form.
Evidence
    Symbolic: the algebra of expectations. Exact: the literal loss as a power series in each weight over rationals.
    Float: automatic differentiation of the literal sum, and `numeric`'s operator. Trained: descent with an EMA target.
Not covered
    Minibatches beyond one batch of pairs, nonlinear predictors but for the detached mean, convergence.
Source
    arXiv 2010.00578 versions 1 to 3; the optimal predictor after Tang et al. (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from flint import fmpq

import numeric
from hltm.base.errors import InputError
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import right, times
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.packs.byol_measures import PACK, STAGES, ByolInstance, float_gradient, toy
from verify.packs.oracle import abstaining, worse_than_side
from verify.packs.part import mutant, pack_statement
from verify.tolerance import rounding
from verify.towers.tower import tensors

SLUG = "byol-update"


# Mutants: rewrites of the claims.


def changed(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A change of an expression that is given the letters and nodes of the pack."""

    def made(side: Any) -> Any:
        import theory.packs.byol as letters

        return change(side, letters)

    return made


def without(name: str) -> Callable[[Any], Any]:
    """Leave out the term with a node of this name."""

    def change(side: Any, letters: Any) -> Any:
        node = getattr(letters, name)
        return side.func(*(term for term in side.args if not term.has(node)))

    return changed(change)


def swapped(first: str, second: str) -> Callable[[Any], Any]:
    """One named expression in place of another."""
    return changed(lambda side, letters: side.xreplace({getattr(letters, first): getattr(letters, second)}))


def predictor_left_out(side: Any, letters: Any) -> Any:
    from sympy import Transpose

    return side.replace(
        lambda part: part.is_MatMul, lambda part: part.func(*(one for one in part.args if one not in {
            letters.PREDICTOR, Transpose(letters.PREDICTOR)
        }))
    )  # fmt: skip


def predictor_transposed(side: Any, letters: Any) -> Any:
    from sympy import Dummy, MatrixSymbol, Transpose

    mark = MatrixSymbol(Dummy().name, letters.N_TOP, letters.N_TOP)
    straight = side.xreplace({Transpose(letters.PREDICTOR): mark})
    return straight.xreplace({letters.PREDICTOR: Transpose(letters.PREDICTOR), mark: letters.PREDICTOR})


def second_moments(side: Any, letters: Any) -> Any:
    """``E_x[A B^T]`` in place of ``Cov_x[A, B]``."""
    from sympy import MatMul, Transpose

    def mean(node: Any) -> Any:
        return letters.Expect(MatMul(node.args[0], Transpose(node.args[1])))

    return side.replace(lambda part: isinstance(part, letters.Covariance), mean)


def means_of_the_outputs(side: Any, letters: Any) -> Any:
    return side.xreplace({letters.symbol("f", "1"): letters.symbol("fbar")})


def cross_transposed(side: Any, letters: Any) -> Any:
    from sympy import Transpose

    online, target = letters.symbol("fbar"), letters.symbol("fbar'")
    cross = letters.Expect(target * Transpose(online))
    return side.xreplace({cross: letters.Expect(online * Transpose(target))})


def factors(contrast: Callable[[Any], Any], pull: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Other factors of the two operators behind the predictor c I."""

    def change(side: Any, letters: Any) -> Any:
        c = letters.SCALE
        return side.xreplace({c * (1 - c): contrast(c), c**2: pull(c)})

    return changed(change)


def intra_added(side: Any, letters: Any) -> Any:
    return side.func(*(-term if term.has(letters.INTRA) else term for term in side.args))


def variance_left_out(side: Any, letters: Any) -> Any:
    return letters.INVERSE * letters.Covariance(letters.symbol("d"), letters.symbol("e"))


def zero(side: Any) -> Any:
    import sympy

    return sympy.ZeroMatrix(*side.shape)


def other_order(side: Any) -> Any:
    first, second = side.args
    return second * first


def not_transposed(side: Any) -> Any:
    first, second = side.args
    return first.T * second


VARIANTS = (
    mutant("intra-term-left-out", "no E_x V_aug[K P^T]", "update", right(without("INTRA"))),
    mutant("intra-term-added", "+E_x V_aug in place of -E_x V_aug", "update", right(changed(intra_added))),
    mutant("online-for-target", "W in place of W'", "update", right(swapped("TARGET_WEIGHT", "WEIGHT"))),
    mutant("predictor-left-out", "K in place of K P^T", "update", right(changed(predictor_left_out))),
    mutant("predictor-transposed", "P^T in place of P", "update", right(changed(predictor_transposed))),
    mutant("factor-two", "twice the update: the gradient of both branches", "update", times(2)),
    mutant("covariance-for-second-moment", "V_x[Kbar P^T] without zero mean", "update",
           right(swapped("SECOND", "VARIANCE"))),
    mutant("mean-outputs", "E[fbar fbar^T] in place of E[f f^T]", "predictor", right(changed(means_of_the_outputs))),
    mutant("cross-moment-transposed", "E[fbar fbar'^T] in place of E[fbar' fbar^T]", "predictor",
           right(changed(cross_transposed))),
    mutant("norm-factor-two", "d||W||^2/dt = -2 E||f(x_1) - f(x_+)||^2", "without-predictor", times(2, 2)),
    mutant("norm-conserved", "no norm moves without a predictor", "without-predictor", right(zero, 2)),
    mutant("second-moment-for-covariance", "E_x[Kbar P^T P Kbar^T] with zero mean", "zero-mean",
           right(changed(second_moments))),
    mutant("zero-mean-online-for-target", "W in place of W' with zero mean", "zero-mean",
           right(swapped("TARGET_WEIGHT", "WEIGHT"))),
    mutant("zero-mean-intra-left-out", "no E_x V_aug[K P^T] with zero mean", "zero-mean", right(without("INTRA"))),
    mutant("zero-mean-adds-nothing", "zero mean leaves the update as it is", "zero-mean-term", right(zero)),
    mutant("contrast-c", "c V_x - c^2 E V_aug", "implicit-contrast", right(factors(lambda c: c, lambda c: c**2))),
    mutant("contrast-normalised", "(1-c) V_x - E V_aug", "implicit-contrast",
           right(factors(lambda c: 1 - c, lambda c: 1 + 0 * c))),
    mutant("contrast-sign", "-c(1-c) V_x", "implicit-contrast",
           right(factors(lambda c: -c * (1 - c), lambda c: c**2))),
    mutant("contrast-doubled", "2c(1-c) V_x", "implicit-contrast",
           right(factors(lambda c: 2 * c * (1 - c), lambda c: c**2))),
    mutant("pull-c", "c E V_aug in place of c^2 E V_aug", "implicit-contrast",
           right(factors(lambda c: c * (1 - c), lambda c: c))),
    mutant("scaled-second-moment", "c E_x[Kbar Kbar^T] in place of c(1-c)", "scaled-predictor",
           right(factors(lambda c: c, lambda c: c**2))),
    mutant("equal-behind-any-predictor", "detaching the mean changes nothing behind z -> P z + z^2", "detached-mean",
           right(zero, 2)),
    mutant("batch-factor-two", "twice the update of a batch", "batch", times(2)),
    mutant("variance-part-left-out", "(g - mean g)/sigma below BatchNorm", "batch-norm",
           right(changed(variance_left_out))),
    mutant("conserved-at-any-predictor", "<W, grad> = 0 at every predictor", "optimal-predictor", right(zero)),
    mutant("damped-optimum", "7/10 P_* is stationary too", "stationary-predictor", right(zero, 4)),
    mutant("optimum-of-the-means", "P_m, optimal for the means, is stationary", "stationary-predictor",
           right(zero, 6)),
    mutant("both-branches-conserved", "no norm moves without stop-gradient either", "both-branches", right(zero)),
    mutant("both-branches-halved", "<W, grad> = E[L] without stop-gradient", "both-branches", times(Fraction(1, 2))),
    mutant("zero-mean-intra-added", "+E_x V_aug in place of -E_x V_aug with zero mean", "zero-mean",
           right(changed(intra_added))),
    mutant("zero-mean-predictor-left-out", "K in place of K P^T with zero mean", "zero-mean",
           right(changed(predictor_left_out))),
    mutant("zero-mean-predictor-transposed", "P^T in place of P with zero mean", "zero-mean",
           right(changed(predictor_transposed))),
    mutant("zero-mean-factor-two", "twice the update with zero mean", "zero-mean", times(2)),
    mutant("order-on-top", "E[grad_P] P^T in place of P^T E[grad_P]", "top-layer", right(other_order)),
    mutant("predictor-for-its-transpose", "P E[grad_P] in place of P^T E[grad_P]", "top-layer", right(not_transposed)),
)  # fmt: skip


# Assumptions dropped: one linear neuron f = w x and predictor P, worked out by hand.


@dataclass(frozen=True)
class Neuron:
    """``f = w x`` with w = 1 on points whose augmentations are equally likely; target weight and predictor."""

    points: tuple[tuple[int, ...], ...]
    target: int = 1
    predictor: int = 1

    @property
    def pairs(self) -> list[tuple[fmpq, int, int]]:
        """Probability, x_1 and x_+ of independent augmentations."""
        return [
            (fmpq(1, len(self.points) * len(row) ** 2), a, b) for row in self.points for a, b in product(row, repeat=2)
        ]

    @property
    def operator(self) -> fmpq:
        """The update by the formula."""
        c, total = fmpq(self.predictor), fmpq(0)
        for row in self.points:
            mean = fmpq(sum(row), len(row))
            variance = fmpq(sum(x * x for x in row), len(row)) - mean * mean
            total += -c * c * variance - c * c * mean * mean + c * mean * mean * self.target
        return total / len(self.points)


TEXT = "f = w x, w = 1, one point with augmentations 0 and 2, P = 1, W' = W"


def dependent(_: Context) -> Iterator[Sides]:
    """``x_+ = x_1``: the two outputs agree and nothing moves."""
    one = Neuron(((0, 2),))
    update = sum((fmpq(1, 2) * (x - x) * x for x in (0, 2)), fmpq(0))
    yield Sides(TEXT, "-E[grad]", update, one.operator)


def not_stopped(_: Context) -> Iterator[Sides]:
    """The gradient through both towers."""
    one = Neuron(((0, 2),))
    update = sum((p * (b - a) * (a - b) for p, a, b in one.pairs), fmpq(0))
    yield Sides(TEXT, "-E[grad]", update, one.operator)


def other_target(_: Context) -> Iterator[Sides]:
    """``W' = 2 W`` in the form for W' = W."""
    one = Neuron(((0, 2),), target=2)
    update = sum((p * (2 * b - a) * a for p, a, b in one.pairs), fmpq(0))
    yield Sides(TEXT.replace("W' = W", "W' = 2W"), "-E[grad]", update, Neuron(((0, 2),)).operator)


def target_not_centred(_: Context) -> Iterator[Sides]:
    """Only the online tower is centred: then the mean error is not 0, and the gradient through the mean counts."""
    mean, pairs = fmpq(1), Neuron(((0, 2),)).pairs
    held = sum((p * (b - (a - mean)) * a for p, a, b in pairs), fmpq(0))
    through = sum((p * (b - (a - mean)) * (a - mean) for p, a, b in pairs), fmpq(0))
    yield Sides(f"{TEXT}, f minus its mean, f' as it is", "-E[grad], mean detached or not", held, through)


def squared_predictor(_: Context) -> Iterator[Sides]:
    """Both towers centred behind ``z -> z^2``."""
    mean, pairs = fmpq(1), Neuron(((0, 0, 3),)).pairs

    def fall(a: int, b: int) -> fmpq:
        return ((b - mean) - (a - mean) ** 2) * 2 * (a - mean)

    held = sum((p * fall(a, b) * a for p, a, b in pairs), fmpq(0))
    through = sum((p * fall(a, b) * (a - mean) for p, a, b in pairs), fmpq(0))
    text = TEXT.replace("0 and 2", "0, 0 and 3")
    yield Sides(f"{text}, centred, q(z) = z^2", "-E[grad], mean detached or not", held, through)


def squared_network(form: str, _: Context) -> Iterator[Sides]:
    """``f = (w x)^2`` at w = 1, with K = 2 x^2: the operator form takes K w for f; the general form does not."""
    pairs = Neuron(((0, 2),)).pairs
    update = sum((p * (b * b - a * a) * 2 * a * a for p, a, b in pairs), fmpq(0))
    k = [2 * x * x for x in (0, 2)]
    mean = fmpq(sum(k), 2)
    operator = -(fmpq(sum(v * v for v in k), 2) - mean * mean)
    f = [x * x for x in (0, 2)]
    general = mean * fmpq(sum(f), 2) - fmpq(sum(a * b for a, b in zip(k, f, strict=True)), 2)
    text = TEXT.replace("f = w x", "f = (w x)^2")
    yield Sides(text, f"-E[grad], {form} form", update, operator if form == "operator" else general)


DROPS = (
    Assumption("x_1 and x_+ are independent augmentations of x", "x_+ = x_1", dependent),
    Assumption("no gradient flows through the target", "a gradient through both towers", not_stopped),
    Assumption("W' = W, where the formula has one set of weights", "W' = 2W", other_target),
    Assumption("both towers are centred, for the detached mean", "f centred, f' not", target_not_centred),
    Assumption("a linear predictor, for the detached mean", "q(z) = z^2", squared_predictor),
    Assumption("a homogeneous network, for the operator form", "f = (w x)^2", partial(squared_network, "operator")),
    Assumption(
        "a homogeneous network, for the general form", "f = (w x)^2", partial(squared_network, "general"), False
    ),
)


# Further evidence: the operator of `numeric`, and training.


@abstaining
def measure_operator(instance: ByolInstance, device: str = "cpu") -> Measurement:
    """Automatic differentiation against the operator of `numeric`, with and without zero mean."""
    arguments = (instance.points, instance.point_weights, instance.augmentation_weights)
    population = numeric.FinitePopulation(*tensors(arguments, device))
    weights, target = (tensors(tower, device) for tower in (instance.weights, instance.target_weights))
    predictor = tensors([instance.predictor], device)[0]
    worst = Measurement(0.0, 0.0)
    for loss, mean in (("plain", "kept"), ("centred", "subtracted")):
        found, _ = float_gradient(instance, loss, device)
        sides = numeric.byol_update(weights, population, predictor, target, instance.slope, mean)
        for layer, (gradient, side) in enumerate(zip(found, sides, strict=True), start=1):
            worst = worse_than_side(worst, gradient, side.cpu().numpy(), f"layer {layer}, mean {mean}")
    return worst


def operator(context: Context) -> Evidence:
    """`numeric`'s operator on random instances."""
    count = context.pick(quick=12, thorough=200)
    return tally(
        "float", "numeric", toy(context.seed + 1, count, points=4, layers=3, width=4),
        partial(measure_operator, device=context.device), at_least=count // 2,
        detail="autograd of the literal sum = the operator of numeric, mean kept and subtracted",
    )  # fmt: skip


STEPS = 40
ROUNDINGS = 1024
"""More than the longest path of roundings in a step of these networks (Higham's gamma_n bounds the error of sums)."""


def measure_descent(instance: ByolInstance, device: str = "cpu") -> Measurement:
    """Along descent: a step is that of the operator, and norms move as the formulas say.

    A step of size h changes ``||W||^2`` by ``2 h <W, -grad> + h^2 ||grad||^2``. Less the square of the step that is
    0 at the optimal predictor, and ``-h E||f(x_1) - f(x_+)||^2`` without one, from the outputs themselves.
    """
    population = numeric.FinitePopulation(
        *tensors((instance.points, instance.point_weights, instance.augmentation_weights), device)
    )
    weights, h = tensors(instance.weights, device), 2.0**-8
    options: dict[str, dict[str, Any]] = {
        "EMA, predictor": {"predictor": instance.predictor, "predictor_lr": h, "ema": 0.9},
        "no predictor": {},
        "optimal predictor": {"optimal": True, "ema": 0.9},
    }
    worst = Measurement(0.0, 0.0)
    for name, chosen in options.items():
        try:
            trace = numeric.descend_byol(weights, population, h, STEPS, slope=instance.slope, **chosen)
        except InputError as error:  # no single optimum
            return Measurement(0.0, 0.0, False, str(error))
        for record in range(0, len(trace.steps) - 1, 8):
            worst = measure_step(name, trace, record, h, instance, population, worst)
    return worst


def measure_step(
    name: str, trace: Any, record: int, h: float, instance: ByolInstance, population: Any, worst: Measurement
) -> Measurement:
    """One step of a run against the operator, and the change of its norms."""
    online, target = ([layer[record] for layer in tower] for tower in (trace.weights, trace.target))
    update = numeric.byol_update(online, population, trace.predictor[record], target, instance.slope)
    for layer, (before, change) in enumerate(zip(online, update, strict=True)):
        after, largest = trace.weights[layer][record + 1], float(change.abs().max()) + float(before.abs().max())
        step = np.abs((after - before - h * change).cpu().numpy())
        allowed = np.array(rounding.gamma(ROUNDINGS) * (1 + largest) ** 2)
        worst = rounding.worse(worst, step, allowed, f"{name}, step {record}, layer {layer + 1}")
        moved = float(trace.norms[record + 1, layer] - trace.norms[record, layer] - (after - before).square().sum())
        expected = {"no predictor": -h * spread(online, instance, population), "optimal predictor": 0.0}.get(name)
        if expected is not None:
            size = 1 + float(trace.norms[record, layer]) + abs(expected)
            bound = np.array(rounding.gamma(ROUNDINGS) * size * (1 + largest))
            worst = rounding.worse(worst, np.array([abs(moved - expected)]), bound, f"{name}, norm of {layer + 1}")
    return worst


def spread(online: Sequence[Any], instance: ByolInstance, population: Any) -> float:
    """``E||f(x_1) - f(x_+)||^2`` of the outputs, as the literal sum."""
    outputs = numeric.forward(online, population.flat_points, instance.slope)
    rows = outputs.reshape(population.size, population.augmentations, -1).cpu().numpy()
    total = 0.0
    for p, q, row in zip(instance.point_weights, instance.augmentation_weights, rows, strict=True):
        for a, b in product(range(len(q)), repeat=2):
            total += p * q[a] * q[b] * float(((row[a] - row[b]) ** 2).sum())
    return total


def descent(context: Context) -> Evidence:
    """Descent from random starts."""
    count = context.pick(quick=4, thorough=40)
    drawn = toy(context.seed + 2, 3 * count, points=3, layers=2, width=3)
    return tally(
        "trained", "EMA", drawn, partial(measure_descent, device=context.device), at_least=count,
        detail=f"{STEPS} steps: update = operator; norms fall by h E||f - f_+||^2 without predictor, stay at the best",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="BYOL: predictor, target and zero mean",
    source="arXiv 2010.00578, versions 1 to 3; optimal predictor: Tang et al. (2022)",
    not_covered=(
        "minibatches beyond one batch of pairs",
        "nonlinear predictors but for the detached mean",
        "convergence of training",
    ),
    relation=PaperRelation(
        "own form",
        "the update with any target and predictor, and an algebraic form of what zero mean adds; versions 1 to 3 of "
        "the paper state the case of BatchNorm",
        "the project's notes on versions 1 to 3; the formulas are proved here, the printed wording is not at hand",
        "low",
    ),
    instance_type=ByolInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(Check("float", "numeric", operator), Check("trained", "EMA", descent)),
)
