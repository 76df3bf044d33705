r"""Pack stepwise-barlow: Barlow Twins of one linear layer, and the duality of two criteria.

Statement
    ``L = ||C - I||^2`` of ``f = W x``: ``C = W Gamma W^T``, the flow, its closed form from an aligned start, mode by
    mode, the loss on the way, the time at which a mode rises. For a matrix of outputs: the squares off the diagonal of
    ``K K^T`` and of ``K^T K`` differ by fourth powers of norms.
Assumptions
    Independent augmentations; a linear layer; a start in eigenvectors of Gamma (any of them), t >= 0; for the time of
    the rise a start below the fixed point, lambda_j s_j(0)^2 < 1; unit columns.
Evidence
    Symbolic: matrix identities of all sizes, scalar calculus. Exact: the literal loss in rationals at rational
    orthogonal matrices; times by rigorous quadrature, and the value at the time of the rise by an interval Newton step.
    Float: `numeric.barlow_loss`, quadrature and Runge-Kutta steps.
    Trained: the flow integrated by automatic differentiation against the closed form.
Not covered
    Starts that are not aligned (small starts align first), deeper networks, the normalised loss of Barlow Twins.
Source
    Simon et al., arXiv 2303.15438; Garrido et al., arXiv 2206.02574.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from flint import acb, arb, fmpq

from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import relation, right, times
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.packs.oracle import exact_gradient
from verify.packs.part import mutant, pack_statement
from verify.packs.stepwise_measures import PACK, STAGES, StepwiseInstance, aligned, in_torch, near, toy, travelled
from verify.towers.population import to_float
from verify.towers.tower import Array, rational, tensors

# Mutants: rewrites of the claims.


def made(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A change of one side that knows the symbols of the claims."""

    def changed(side: Any) -> Any:
        import theory.packs.stepwise

        return change(side, theory.packs.stepwise)

    return changed


def not_averaged(_: Any, s: Any) -> Any:
    x = s.LETTERS.symbol("x", "x", "1")
    return s.WEIGHT * s.Expect(x * x.T) * s.WEIGHT.T


def centred(_: Any, s: Any) -> Any:
    from theory.core.notation import Covariance

    mean = s.LETTERS.symbol("xbar")
    return s.WEIGHT * Covariance(mean, mean) * s.WEIGHT.T


def other_order(_: Any, s: Any) -> Any:
    return -4 * s.WEIGHT * (s.WEIGHT.T * s.WEIGHT * s.GAMMA - s.Identity(s.IN))


def no_eigenvalues(side: Any, s: Any) -> Any:
    return side.xreplace({s.EIGENVALUES: s.UNIT_MATRIX})


def linear_loss(_: Any, s: Any) -> Any:
    return s.Trace(s.UNIT_MATRIX - s.SINGULAR * s.EIGENVALUES * s.SINGULAR)


def without_square(_: Any, s: Any) -> Any:
    inner = s.UNIT_MATRIX - s.SINGULAR * s.EIGENVALUES
    return s.Trace(inner * inner)


def closed_form(
    rate: int = 8, start: int = -2, saturated: Callable[[Any, Any], Any] | None = None
) -> Callable[[Any], Any]:
    """The closed form with another rate, start or saturation."""

    def of(_: Any, s: Any) -> Any:
        growth = s.exp(rate * s.LAMBDA * s.TIME)
        level = (growth - 1) * s.LAMBDA if saturated is None else saturated(growth, s)
        return growth / (s.START**start + level)

    return made(of)


def added(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Any:
    """The two criteria with other terms added to them."""

    def of(one: Any) -> Any:
        import theory.packs.stepwise as s

        rows, columns = s.CRITERIA["rows"], s.CRITERIA["columns"]
        return one.func(rows + first(s), columns + second(s), evaluate=False)

    return relation(of)


def trace_of(side: str) -> Callable[[Any], Any]:
    return lambda s: s.Trace(s.gram(side)[0])


VARIANTS = (
    mutant("not-averaged", "Gamma = E[x x^T]", "moment", right(made(not_averaged))),
    mutant("centred", "Gamma = V_x[xbar]", "moment", right(made(centred))),
    mutant("moment-doubled", "C without 1/2", "moment", times(2)),
    mutant("flow-factor-two", "factor 2 for 4", "flow", times("1/2")),
    mutant("flow-no-gamma", "Gamma left out at the end", "flow",
           right(made(lambda _, s: -4 * (s.WEIGHT * s.GAMMA * s.WEIGHT.T - s.UNIT_MATRIX) * s.WEIGHT))),
    mutant("flow-order", "-4 W (W^T W Gamma - I)", "flow", right(made(other_order))),
    mutant("flow-sign", "ascent", "flow", times(-1)),
    mutant("modes-no-eigenvalues", "ds/dt = 4 s (1 - s^2)", "modes", right(made(no_eigenvalues))),
    mutant("modes-factor-two", "ds/dt = 2 lambda s (1 - lambda s^2)", "modes", times("1/2")),
    mutant("modes-sign", "ds/dt = -4 lambda s (1 - lambda s^2)", "modes", times(-1)),
    mutant("loss-not-squared", "sum (1 - lambda s^2)", "loss", right(made(linear_loss))),
    mutant("loss-singular", "sum (1 - lambda s)^2", "loss", right(made(without_square))),
    mutant("loss-no-eigenvalues", "sum (1 - s^2)^2", "loss", right(made(no_eigenvalues))),
    mutant("rate-two", "e^(4 lambda t) for e^(8 lambda t)", "solution", right(closed_form(rate=4))),
    mutant("unsaturated", "s(0)^2 e^(8 lambda t)", "solution", right(closed_form(saturated=lambda _, s: 0 * s.LAMBDA))),
    mutant("saturates-at-one", "saturation at 1, not at lambda^(-1/2)", "solution",
           right(closed_form(saturated=lambda growth, _: growth - 1))),
    mutant("start-inverse", "s(0)^(-1) for s(0)^(-2)", "solution", right(closed_form(start=-1))),
    mutant("without-minus-one", "e^(8 lambda t) for e^(8 lambda t) - 1", "solution",
           right(closed_form(saturated=lambda growth, s: growth * s.LAMBDA))),
    mutant("mode-rate", "ds/dt = 2 lambda s (1 - lambda s^2)", "solution", times("1/2", 2)),
    mutant("rise-at-half", "lambda s^2 = 1/2 at t_j", "rise", right(made(lambda _, s: s.sympy.Rational(1, 2)), 2)),
    mutant("rise-time", "-ln(lambda s(0)^2)/(4 lambda)", "rise", times(2)),
    mutant("rise-without-eigenvalue", "-ln(s(0)^2)/(8 lambda)", "rise",
           right(made(lambda _, s: -s.log(s.START**2) / (8 * s.LAMBDA)))),
    mutant("equal", "L_nc = L_c", "duality", added(lambda _: 0, lambda _: 0)),
    mutant("norms-exchanged", "column norms beside L_nc, row norms beside L_c", "duality",
           added(lambda s: s.FOURTH["columns"], lambda s: s.FOURTH["rows"])),
    mutant("squares", "squares for fourth powers", "duality", added(trace_of("rows"), trace_of("columns"))),
    mutant("equal-for-unit-columns", "L_nc = L_c", "unit-columns", right(made(lambda _, s: 0 * s.SAMPLES))),
    mutant("samples-squared", "N^2 for N", "unit-columns",
           right(made(lambda side, s: side - s.SAMPLES + s.SAMPLES**2))),
    mutant("dimensions", "D for N", "unit-columns", right(made(lambda side, s: side - s.SAMPLES + s.DIMENSIONS))),
)  # fmt: skip


# Assumptions, dropped in turn: both sides from points and the literal loss.


Chances = tuple[tuple[float, tuple[tuple[int, ...], ...]], ...]
"""Points with their probabilities; their augmentations are equally likely."""
SPREAD: Chances = ((1.0, ((0,), (2,))),)
AXES: Chances = ((0.25, ((2, 0),)), (0.5, ((0, 2),)), (0.25, ((0, 0),)))
"""``Gamma = diag(1, 2)``."""
UNIT: Chances = ((1.0, ((1,),)),)


def output(weights: Array, x: tuple[int, ...]) -> Any:
    """``w x`` of one output."""
    return sum((w * v for w, v in zip(weights, x, strict=True)), fmpq(0))


def squared(weights: Array, x: tuple[int, ...]) -> Any:
    return output(weights, x) ** 2


def cross(points: Chances, weights: Array, f: Callable[[Array, tuple[int, ...]], Any] = output) -> Any:
    """``E[f(x_1) f(x_+)]`` of independent augmentations."""
    total: Any = fmpq(0)
    for chance, row in points:
        for a, b in product(row, repeat=2):
            total = total + f(weights, a) * f(weights, b) * (rational(chance) / len(row) ** 2)
    return total


def gamma(points: Chances) -> Array:
    """``E_x[xbar xbar^T]``."""
    means = [(rational(chance), np.array([fmpq(sum(xs), len(row)) for xs in zip(*row, strict=True)], dtype=object))
             for chance, row in points]  # fmt: skip
    return sum(chance * np.outer(mean, mean) for chance, mean in means)


def falls(points: Chances, *weights: fmpq) -> Array:
    """``-grad (E[f(x_1) f(x_+)] - 1)^2``."""
    at = np.array(weights, dtype=object)
    return -exact_gradient(lambda moved: (cross(points, moved) - 1) ** 2, at, "rational")


ONE = np.array([fmpq(1)], dtype=object)


def equal_views(_: Context) -> Iterator[Sides]:
    """One point with the augmentations 0 and 2, W = 1."""
    (chance, row), gram = SPREAD[0], gamma(SPREAD)
    same = sum((output(ONE, x) ** 2 * (rational(chance) / len(row)) for x in row), fmpq(0))
    yield Sides("x = 0, 2, x_+ = x_1, W = 1", "C, W Gamma W^T", same, ONE @ gram @ ONE)


def squared_layer(_: Context) -> Iterator[Sides]:
    """``f = (w x)^2`` at w = 1, augmentations 0 and 2."""
    left = cross(SPREAD, ONE, squared)
    yield Sides("f = (w x)^2, x = 0, 2, w = 1", "C, W Gamma W^T", left, ONE @ gamma(SPREAD) @ ONE)


def not_aligned(_: Context) -> Iterator[Sides]:
    """``Gamma = diag(1, 2)``, W = (1, 1): the direction of W turns."""
    first, second = falls(AXES, fmpq(1), fmpq(1))
    yield Sides("Gamma = diag(1, 2), W = (1, 1)", "dW_1 W_2 - dW_2 W_1, 0", first - second, fmpq(0))


def small_eigenvalue(_: Context) -> Iterator[Sides]:
    """``Gamma = diag(1, 2)``, W = (1/2, 0): the eigenvector of the smaller eigenvalue."""
    s = fmpq(1, 2)
    yield Sides("Gamma = diag(1, 2), W = (1/2, 0)", "ds/dt", falls(AXES, s, fmpq(0))[0], 4 * s * (1 - s * s))


def negative_start(_: Context) -> Iterator[Sides]:
    """``s = -1/2``, ``lambda = 1``: the rate of s^2, by the flow and by the closed form at t = 0."""
    s = fmpq(-1, 2)
    yield Sides("Gamma = 1, W = -1/2", "d(s^2)/dt", 2 * s * falls(UNIT, s)[0], 8 * s * s * (1 - s * s))


def before_the_start(_: Context) -> Iterator[Sides]:
    """``lambda = 1``, ``s(0) = 2``, t = -1/4: the closed form is negative, and a square is not."""
    growth, start = arb(-2).exp(), fmpq(1, 4)
    yield Sides("Gamma = 1, s(0) = 2, t = -1/4", "s(t)^2 by the closed form, 0", growth / (start + growth - 1), arb(0),
                relation=">=")  # fmt: skip


def high_start(_: Context) -> Iterator[Sides]:
    """``lambda = 1``, ``s(0) = 2``: t_j is before the time at which the flow comes from infinity."""
    first, second = (falls(UNIT, fmpq(s))[0] for s in (1, 2))
    cubic = (second - 2 * first) / 6
    rate = (first - cubic, cubic)
    rise = travelled((rate[0], fmpq(0)), arb(2), (arb(rate[0]) / arb(-rate[1])).sqrt())
    # From s to infinity in r = 1/s: ds/(a s + b s^3) = -r dr/(a r^2 + b).
    birth = acb.integral(lambda r, _: r / (acb(rate[0]) * r * r + acb(rate[1])), acb(0), acb(fmpq(1, 2))).real
    yield Sides("Gamma = 1, s(0) = 2", "t_j, the time at which s_j is infinite", rise, birth, relation=">")


def long_columns(_: Context) -> Iterator[Sides]:
    """K = 2: one column of norm 2, and no entries off the diagonal."""
    k = np.array([[fmpq(2)]], dtype=object)
    rows, columns = k @ k.T, k.T @ k
    off = [sum((g[i, j] ** 2 for i, j in np.ndindex(*g.shape) if i != j), fmpq(0)) for g in (rows, columns)]
    yield Sides("K = 2", "L_nc - L_c, N - sum_j ||K_j.||^4", off[0] - off[1], k.shape[1] - (rows.diagonal() ** 2).sum())


DROPS = (
    Assumption("x_1 and x_+ are independent augmentations of x", "x_+ = x_1", equal_views),
    Assumption("a linear layer, f = W x", "f = (w x)^2", squared_layer),
    Assumption("W starts in eigenvectors of Gamma", "W = (1, 1)", not_aligned),
    Assumption("the eigenvectors are those of the largest eigenvalues", "of the smallest one", small_eigenvalue, False),
    Assumption("s_j(0) > 0", "s_j(0) = -1/2", negative_start, False),
    Assumption("t >= 0, for the closed form", "t = -1/4", before_the_start),
    Assumption("lambda_j s_j(0)^2 < 1, for the time of the rise", "lambda_j s_j(0)^2 = 4", high_start),
    Assumption("unit columns, for the difference of the criteria", "a column of norm 2", long_columns),
)


# Trained: the flow integrated step by step.


def integrated(instance: StepwiseInstance, steps: int, device: str) -> Array:
    """``U^T W(1) V`` of the flow by Runge-Kutta steps, the rate by automatic differentiation."""
    import torch

    state = aligned(instance)
    (weights,) = tensors([near(state.weights([rational(v) for v in instance.start]))], device)

    def rate(at: Any) -> Any:
        leaf = at.detach().requires_grad_()
        return -torch.autograd.grad(in_torch(instance, leaf, device), leaf)[0]

    h = 1.0 / steps
    for _ in range(steps):
        first = rate(weights)
        second = rate(weights + h / 2 * first)
        third = rate(weights + h / 2 * second)
        weights = weights + h / 6 * (first + 2 * second + 2 * third + rate(weights + h * third))
    return near(state.left).T @ weights.cpu().numpy() @ near(state.right)


def measure_flow(instance: StepwiseInstance, device: str = "cpu") -> Measurement:
    """The integrated flow at t = 1 against the closed form; the difference to twice the step bounds its error."""
    coarse, fine = (integrated(instance, steps, device) for steps in (16, 32))
    eigenvalues = np.array([to_float(v) for v in aligned(instance).eigenvalues])
    start = np.array(instance.start)
    exact = np.exp(4 * eigenvalues) / np.sqrt(start**-2.0 + (np.exp(8 * eigenvalues) - 1) * eigenvalues)
    error = float(np.abs(coarse - fine).max()) + 1e-12
    return Measurement(float(np.abs(fine - np.diag(exact)).max()), error, detail=f"{len(start)} modes")


def training(context: Context) -> Evidence:
    """The flow from random aligned starts."""
    count = context.pick(quick=3, thorough=40)
    return tally(
        "trained", "flow", toy(context.seed + 2, count), partial(measure_flow, device=context.device), at_least=count,
        detail="W(1) by Runge-Kutta steps = U diag(s_j(1)) V^T",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="Barlow Twins: eigenvectors learned in steps",
    source="Simon et al., arXiv 2303.15438; duality: Garrido et al., arXiv 2206.02574",
    not_covered=(
        "starts that are not aligned",
        "deeper networks, and the normalised loss of Barlow Twins",
        "that the differential equation has one solution (Picard-Lindelof)",
    ),
    relation=PaperRelation(
        "own form",
        "any eigenvectors of Gamma, not only the leading ones; the height at t_j in closed form in place of 1/2",
        "notes on arXiv 2303.15438 and 2206.02574, not their text",
        "low",
    ),
    instance_type=StepwiseInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(Check("trained", "flow", training),),
)
