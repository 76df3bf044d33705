r"""Pack eigenvector-growth: a linear layer on the sphere, and a decoupled neuron, find the top eigenvector.

Statement
    With the simple loss a linear layer moves by ``2 W A``, ``A = V_x[xbar]``. On the sphere the energy never falls,
    the ratio of two components moves as ``e^(2 (lambda_k - lambda_1) t)``, and the share of the top eigenvector is a
    logistic curve. A decoupled two-layer neuron does the same at the speed of its squared output weights.
Assumptions
    The simple loss; independent augmentations; one linear layer, or gates that are fixed; the projected flow.
Evidence
    Symbolic: the algebra of expectations, matrix identities of all sizes, scalar calculus. Exact: the literal loss as a
    power series over rationals on populations with rational eigenvectors; the exponential of A in balls. Float:
    automatic differentiation and Runge-Kutta. Trained: descent with normalised steps.
Not covered
    Gates that flip, coupled neurons, repeated eigenvalues (the limit is then in their eigenspace), minibatches.
Source
    arXiv 2010.00578: the covariance operator and the two-layer section; the flow on the sphere is that of Oja (1982).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from flint import fmpq

import numeric
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import times, turned
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.packs import changes
from verify.packs.eigenvector_growth_measures import (
    PACK,
    STAGES,
    GrowthInstance,
    covariance,
    descent,
    inputs,
    literal,
    projected,
    toy,
)
from verify.packs.linear_byol_measures import as_float
from verify.packs.oracle import entries, exact_gradient
from verify.packs.part import mutant, pack_statement
from verify.tolerance import rounding
from verify.towers.tower import tensors

SLUG = "eigenvector-growth"
SYMBOLS = "theory.packs.eigenvector_growth"
side, replaced, exchanged, whole = (
    partial(change, SYMBOLS) for change in (changes.side, changes.replaced, changes.exchanged, changes.whole)
)


# Mutants.


def second_moment(t: Any) -> Any:
    """``E_x[xbar xbar^T]`` is the covariance here (mean 0): the inputs are shifted by the last of them instead."""
    return 2 * t.WEIGHT * t.Covariance(t.MEAN, t.MEAN) - t.WEIGHT


def energy_side(t: Any, energy: Any) -> Any:
    gap = t.IMAGE - t.ENERGY * t.WEIGHT
    return 4 * t.pairing(gap, gap) + energy


def logistic(t: Any, rate: Any, start: Any = None) -> Any:
    import sympy

    y = t.START if start is None else start
    return y / (y + (1 - y) * sympy.exp(-rate * t.GAP * t.TIME))


def unconstrained(t: Any) -> Any:
    import sympy

    return t.START * sympy.exp(4 * t.GAP * t.TIME)


def other_balance(t: Any, factor: int = 1) -> Any:
    return t.equation(t.OWN.T * t.OWN_RATE + factor * t.OUT.T * t.OUT_RATE, t.ZeroMatrix(1, 1))


VARIANTS = (
    mutant("one-branch", "W A: half of the update", "layer", times("1/2")),
    mutant("sign", "-2 W A", "layer", times(-1)),
    mutant("identity-added", "2 W A - W: weight decay", "layer", replaced(second_moment)),
    mutant("norm-grows", "d||W||^2 = 4 E", "sphere", replaced(lambda t: 4 * t.ENERGY)),
    mutant("component-doubled", "d(W v) = 4 (lambda - E) W v", "sphere", times(2, 2)),
    mutant("component-unconstrained", "d(W v) = 2 lambda W v", "sphere",
           replaced(lambda t: 2 * t.VALUE * t.WEIGHT * t.VECTOR, 2)),
    mutant("component-sign", "d(W v) = 2 (E - lambda) W v", "sphere", times(-1, 2)),
    mutant("energy-falls", "dE = -4 ||W A - E W||^2 on the sphere", "sphere", times(-1, 3)),
    mutant("energy-norm-left-out", "dE = 4 ||W A - E W||^2 off the sphere", "sphere",
           replaced(lambda t: energy_side(t, 0), 3)),
    mutant("ratio-rate-halved", "(lambda_k - lambda_1) c_k/c_1", "ratio", times("1/2")),
    mutant("ratio-sum", "2 (lambda_k + lambda_1) c_k/c_1", "ratio",
           exchanged(lambda t: {t.FIRST_VALUE: -t.FIRST_VALUE})),
    mutant("ratio-turned", "2 (lambda_1 - lambda_k) c_k/c_1", "ratio", times(-1)),
    mutant("share-rate-halved", "dy = 2 delta y (1 - y)", "basin", times("1/2")),
    mutant("share-exponential", "dy = 4 delta y", "basin", replaced(lambda t: 4 * t.GAP * t.SHARE)),
    mutant("share-falls", "y falls", "basin", turned(2)),
    mutant("time-halved", "e^(-2 delta t)", "time", replaced(lambda t: logistic(t, 2))),
    mutant("time-turned", "e^(4 delta t)", "time", replaced(lambda t: logistic(t, -4))),
    mutant("time-exponential", "y_0 e^(4 delta t)", "time", replaced(unconstrained)),
    mutant("neuron-speed-left-out", "d(v^T w_1j) = lambda v^T w_1j", "neuron",
           replaced(lambda t: t.VALUE * t.OWN_VECTOR.T * t.OWN)),
    mutant("neuron-component-doubled", "2 lambda ||w_2j||^2 v^T w_1j: both branches", "neuron", times(2)),
    mutant("neuron-ratio-doubled", "2 ||w_2j||^2 (lambda_k - lambda_1) c_k/c_1", "neuron", times(2, 2)),
    mutant("neuron-share-doubled", "4 ||w_2j||^2 delta y (1 - y)", "neuron", times(2, 3)),
    mutant("neuron-balance-plus", "||w_1j||^2 + ||w_2j||^2 is conserved", "neuron", whole(other_balance, 4)),
    mutant("neuron-balance-doubled", "||w_1j||^2 - 2 ||w_2j||^2 is conserved", "neuron",
           whole(lambda t: other_balance(t, -2), 4)),
)  # fmt: skip


# Assumptions dropped: f = w x, or two inputs with covariance A = diag(1, 1/4) and the literal loss.


def dependent(_: Context) -> Iterator[Sides]:
    """``x_+ = x_1``: the pull vanishes. Points -1 and 1, each moved by -1 or 1; w = 1."""
    points = [(-2, 0), (0, 2)]
    update = fmpq(0)
    for row in points:
        for a in row:
            for b in (x for other in points for x in other):
                update += fmpq((a - b) ** 2, 16)
    yield Sides("f = w x, w = 1, x_1 = x_+ in {-2, 0}, {0, 2}", "-dE[L]/dw, 2 A w", update, fmpq(2))


def weighted(_: Context) -> Iterator[Sides]:
    """The soft triplet loss weighs pairs: with xi = 1/2 at every pair of points -1, 1 without augmentation."""
    update = sum((fmpq(1, 4) * fmpq(1, 2) * (a - b) ** 2 for a in (-1, 1) for b in (-1, 1)), fmpq(0))
    yield Sides("f = w x, w = 1, points -1 and 1, pair weight 1/2", "-dE[L]/dw, 2 A w", update, fmpq(2))


def rectified(_: Context) -> Iterator[Sides]:
    """f = max(w x, 0) on the points -1 and 1."""
    values = {-1: (0, 0), 1: (1, 1)}
    update = fmpq(0)
    for a in values:
        for b in values:
            update += fmpq((values[a][0] - values[b][0]) * (values[a][1] - values[b][1]), 4)
    yield Sides("f = max(w x, 0), w = 1, points -1 and 1", "-dE[L]/dw, 2 A w", update, fmpq(2))


def quarter(weights: Any) -> GrowthInstance:
    """A layer of given weights, with A = diag(1, 1/4)."""
    return GrowthInstance(weights, (1.0,), (1.0, 0.5), 0.0, 0.25, 0.5)


def energy(instance: GrowthInstance) -> Any:
    """``<W, W A>``, A from the points."""
    weight = entries(instance.weights, "rational")
    return (weight * (weight @ covariance(instance))).sum()


def not_projected(_: Context) -> Iterator[Sides]:
    """Without the constraint: minus the gradient of the literal loss."""
    one = quarter(((1.0, 0.0),))
    (force,) = descent(one, False, "rational", "cpu")
    yield Sides("W = (1, 0), A = diag(1, 1/4), v = e_1, no constraint", "d(W v)", force[0, 0],
                2 * (one.values[0] - energy(one)))  # fmt: skip


def ratio_without_projection(context: Context) -> Iterator[Sides]:
    """The ratio moves alike without the constraint: rows of random layers."""
    for number, one in enumerate(toy(context.seed, 6)):
        (force,) = descent(one, False, "rational", "cpu")
        rows = zip(entries(one.weights, "rational") @ one.vectors, force @ one.vectors, strict=True)
        for row, (c, moved) in enumerate(rows, start=1):
            if c[0] != 0:
                left = (moved[1] * c[0] - moved[0] * c[1]) / (c[0] * c[0])
                right = 2 * (one.values[1] - one.values[0]) * c[1] / c[0]
                yield Sides(f"random layer {number}, row {row}, no constraint", "d(c_2/c_1)", left, right)


def no_eigenvector(_: Context) -> Iterator[Sides]:
    """v = (1, 1), with lambda = v^T A v/|v|^2."""
    one, v = quarter(((1.0, 0.0),)), np.array([fmpq(1), fmpq(1)], dtype=object)
    weight, _force, rate = projected(one, "rational", "cpu")
    value = v @ covariance(one) @ v / (v @ v)
    yield Sides("W = (1, 0), A = diag(1, 1/4), v = (1, 1)", "d(W v)", (rate @ v)[0],
                2 * (value - energy(one)) * (weight @ v)[0])  # fmt: skip


def orthogonal_start(_: Context) -> Iterator[Sides]:
    """The rate of the share of a start without a top component, by the quotient rule."""
    weight, _force, rate = projected(quarter(((0.0, 1.0),)), "rational", "cpu")
    (first, other), (up, down) = weight[0], 2 * weight[0] * rate[0]
    whole = first * first + other * other
    moved = (up * whole - (up + down) * first * first) / (whole * whole)
    yield Sides("W = (0, 1), A = diag(1, 1/4), y = 0", "dy, zero", moved, fmpq(0), relation=">")


def coupled(_: Context) -> Iterator[Sides]:
    """Two equal linear neurons beside each other, points -1 and 1: half of the gradient of the literal loss by w_1."""
    points = [np.array([fmpq(x)], dtype=object) for x in (-1, 1)]
    start, out = entries(((1,), (1,)), "rational"), entries(((1, 1),), "rational")
    force = -exact_gradient(
        lambda w: literal([(fmpq(1, 2), [out @ (w @ x)] * 2) for x in points]), start, "rational"
    )  # fmt: skip
    value = sum((x[0] * x[0] for x in points), fmpq(0)) / 2
    yield Sides("f = w_1 x + w_1' x, w_1 = w_1' = 1, x = -1, 1", "d(v^T w_1)", force[0, 0] / 2,
                value * start[0, 0] * out[0, 0] ** 2)  # fmt: skip


DROPS = (
    Assumption("x_1 and x_+ are independent augmentations of x", "x_+ = x_1", dependent),
    Assumption("the simple loss", "every pair weighs 1/2", weighted),
    Assumption("one linear layer", "f = max(w x, 0)", rectified),
    Assumption("the flow is projected to the sphere, for the components", "no constraint", not_projected),
    Assumption("the flow is projected, for the ratio of components", "no constraint", ratio_without_projection, False),
    Assumption("v is an eigenvector of A", "v = (1, 1), A = diag(1, 1/4)", no_eigenvector),
    Assumption("the start is not orthogonal to the top eigenvector", "W = (0, 1)", orthogonal_start),
    Assumption("decoupled neurons, A_jk = 0 for j != k", "two equal linear neurons", coupled),
)


# Trained: steps of the literal loss, divided by the norm.

STEPS, RATE = 240, 2.0**-4


def measure_descent(instance: GrowthInstance, device: str = "cpu") -> Measurement:
    """Descent with normalised steps: the energy never falls, the ratio of components moves geometrically.

    A step of size h multiplies the component along v_k by ``1 + 2 h lambda_k`` and divides by the norm, so that the
    ratio after n steps is ``((1 + 2 h lambda_2)/(1 + 2 h lambda_1))^n`` times its start: the exponential as h falls.
    """
    points = [[[as_float(v) for v in x] for x in row] for _, row in inputs(instance)]
    chances = [as_float(p) for p, _ in inputs(instance)]
    population = numeric.FinitePopulation(*tensors((points, chances), device))
    vectors = tensors([np.vectorize(as_float)(instance.vectors)], device)[0]
    operator = tensors([np.vectorize(as_float)(covariance(instance))], device)[0]
    low, high = (as_float(v) for v in reversed(instance.values))
    weight = tensors([instance.weights], device)[0]
    weight = weight + 0.125 * vectors.sum(1)
    weight = weight / weight.norm()
    start, worst, energy = weight @ vectors, Measurement(0.0, 0.0), -1.0
    for step in range(STEPS + 1):
        (force,) = numeric.population_gradient([weight], population, "simple", 1.0)
        now = float((weight * force).sum())
        worst = rounding.worse(worst, np.array(max(energy - now, 0.0)), np.array(1e-12), f"energy, step {step}")
        if step % 20 == 0:
            rate = numeric.sphere_rates(weight, operator) - (force - now * weight)
            worst = rounding.worse(worst, np.array(float(rate.abs().max())), np.array(1e-12), f"rate, step {step}")
            here = weight @ vectors
            factor = ((1 + 2 * RATE * low) / (1 + 2 * RATE * high)) ** step
            # c_2/c_1 = r_0 factor, multiplied out; rows share the norm.
            gap = (here[:, 1:] * start[:, :1] - factor * start[:, 1:] * here[:, :1]).abs().max()
            worst = rounding.worse(worst, np.array(float(gap)), np.array(1e-10), f"ratio, step {step}")
        energy, weight = now, weight + RATE * force
        weight = weight / weight.norm()
    return worst


def normalised_descent(context: Context) -> Evidence:
    """Descent from random starts."""
    count = context.pick(quick=2, thorough=40)
    return tally(
        "trained", "descent", toy(context.seed + 1, count), partial(measure_descent, device=context.device),
        at_least=count, detail=f"{STEPS} steps: rate on the sphere, rising energy, geometric c_2/c_1",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="growth along the top eigenvector",
    source="arXiv 2010.00578: the covariance operator, and the two-layer section",
    not_covered=(
        "gates that flip, and coupled neurons",
        "repeated top eigenvalues, where the limit depends on the start",
        "minibatches",
        "the share of the top eigenvector is written out for two eigenvectors; ratios are for any two of them",
    ),
    relation=PaperRelation(
        "own form",
        "rates, basin and the logistic curve are ours; the paper has the growth of decoupled neurons",
        "the derivation itself, from statements 3 and 5",
        "low",
    ),
    instance_type=GrowthInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(Check("trained", "descent", normalised_descent),),
    examples=15,
)
