r"""Pack linear-simclr: the flow of InfoNCE in linear networks, and dimensional collapse (arXiv 2110.09348).

Statement
    One linear layer: ``dW = W X``, ``X = Sigma_0 - Sigma_1``, a weighted covariance of the data minus one of the
    augmentation; the norm; the directions that collapse. Two layers: their flow, and the balance that is conserved.
Assumptions
    Linear layers without normalisation; negatives are the first views; the gradient flows through all members of pairs.
Evidence
    Symbolic: sums over pairs by their term, in matrix symbols of all sizes. Exact: the literal loss as a power series
    over balls. Float: automatic differentiation. Trained: descent under an augmentation that outweighs the data.
Not covered
    Normalised outputs, nonlinear networks, the singular vectors of two layers along training.
Source
    arXiv 2110.09348.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from flint import arb, arb_series

import numeric
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import times
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.instances import samples
from verify.instances.instance import freeze
from verify.packs import changes
from verify.packs.linear_simclr_measures import PACK, STAGES, LinearSimclrInstance, exact_descent, pairs, toy
from verify.packs.part import mutant, pack_statement
from verify.tolerance import rounding
from verify.towers.tower import tensors

SLUG = "linear-simclr"
SYMBOLS = "theory.packs.linear_simclr"
side, replaced, exchanged, whole = (
    partial(change, SYMBOLS) for change in (changes.side, changes.replaced, changes.exchanged, changes.whole)
)


# Mutants.


def pair_sum(t: Any, weight: Any, column: Any) -> Any:
    return t.SumOver(weight * t.square(column))


def energy(t: Any, weight: Any, sign: int = -1) -> Any:
    parts = [t.Transpose(t.WEIGHT * one) * (t.WEIGHT * one) for one in (t.PAIR, t.VIEWS)]
    return t.SumOver(weight * (parts[0] + sign * parts[1]))


def zero_like(one: Any, _: Any) -> Any:
    from sympy import ZeroMatrix

    return ZeroMatrix(*one.shape)


def other_balance(t: Any) -> Any:
    """``W_1 W_1^T + W_2^T W_2``."""
    first, second, weight, top = t.FIRST_RATE, t.SECOND_RATE, t.WEIGHT, t.TOP
    moved = first * weight.T + weight * first.T + second.T * top + top.T * second
    return t.equation(moved, t.ZeroMatrix(t.N2, t.N2))


def doubled_balance(t: Any) -> Any:
    """``W_1 W_1^T - 2 W_2^T W_2``."""
    second, top = t.SECOND_RATE, t.TOP
    return t.equation(t.balance() - second.T * top - top.T * second, t.ZeroMatrix(t.N2, t.N2))


VARIANTS = (
    mutant("augmentation-left-out", "X = Sigma_0", "update", replaced(lambda t: t.WEIGHT * t.SPREAD)),
    mutant("augmentation-added", "X = Sigma_0 + Sigma_1", "update",
           replaced(lambda t: t.WEIGHT * (t.SPREAD + t.AUGMENTED))),
    mutant("sign", "dW = -W X", "update", times(-1)),
    mutant("half", "dW = W X/2: the gradient of one branch", "update", times("1/2")),
    mutant("uniform-weights", "alpha_k = 1 in Sigma_0", "update", replaced(lambda t: pair_sum(t, 1, t.PAIR), 2)),
    mutant("squared-weights", "alpha_k^2 in Sigma_0", "update",
           replaced(lambda t: pair_sum(t, t.PAIR_WEIGHT**2, t.PAIR), 2)),
    mutant("views-in-data-covariance", "x_i - x_i' in Sigma_0", "update",
           replaced(lambda t: pair_sum(t, t.PAIR_WEIGHT, t.VIEWS), 2)),
    mutant("unweighted-augmentation", "weight 1 in Sigma_1", "update", replaced(lambda t: pair_sum(t, 1, t.VIEWS), 3)),
    mutant("norm-views-added", "||W g||^2 + ||W h||^2", "norm", replaced(lambda t: energy(t, t.PAIR_WEIGHT, 1))),
    mutant("norm-unweighted", "alpha_k = 1", "norm", replaced(lambda t: energy(t, 1))),
    mutant("norm-doubled", "d||W||^2/dt without the factor 2", "norm", times(2)),
    mutant("norm-conserved", "the norm is conserved", "norm", side(zero_like)),
    mutant("eigenvalue-squared", "d(W v)/dt = lambda^2 W v", "eigenvector",
           side(lambda one, t: one.xreplace({t.VALUE: t.VALUE**2}))),
    mutant("eigenvalue-sign", "d(W v)/dt = -lambda W v", "eigenvector", times(-1)),
    mutant("length-rate-once", "d||W v||^2/dt = lambda ||W v||^2", "eigenvector", times("1/2", 2)),
    mutant("length-conserved", "||W v|| is conserved", "eigenvector", side(zero_like, 2)),
    mutant("top-left-out", "dW_1 = W_1 X", "two-layers", replaced(lambda t: t.WEIGHT * (t.SPREAD_2 - t.AUGMENTED_2))),
    mutant("layers-exchanged", "dW_2 = W_2 W_1 X W_1^T with a minus", "two-layers", times(-1, 2)),
    mutant("augmentation-left-out-above", "dW_2 = W_2 W_1 Sigma_0 W_1^T", "two-layers",
           replaced(lambda t: t.TOP * t.WEIGHT * t.SPREAD_2 * t.WEIGHT.T, 2)),
    mutant("balance-plus", "W_1 W_1^T + W_2^T W_2 is conserved", "two-layers", whole(other_balance, 3)),
    mutant("balance-doubled", "W_1 W_1^T - 2 W_2^T W_2 is conserved", "two-layers", whole(doubled_balance, 3)),
)  # fmt: skip


# Assumptions dropped: one neuron on two points, the loss as a power series over balls.


def neuron(x: tuple[int, int], views: tuple[int, int], kind: str = "stated") -> tuple[arb, arb]:
    """``-dL/dw`` at w = 1 of f = psi(w x), and the formula ``w (Sigma_0 - Sigma_1)``.

    Kinds: `stated`; `relu`; `normalised` (f/|f|); `anchor` (negatives held); `second views` (also among the
    negatives); `not in the denominator` (the positive).
    """
    moving_weight, held = arb_series([1, 1]), arb_series([1])
    shapes = {"relu": lambda v, w: w * max(v, 0), "normalised": lambda v, _: held * ((v > 0) - (v < 0))}
    output = shapes.get(kind, lambda v, w: w * v)
    loss, formula = arb_series([0]), arb(0)
    for i in (0, 1):
        here = output(x[i], moving_weight)
        gap = here - output(views[i], moving_weight)
        near = gap * gap / 2
        others = [x[1 - i], views[1 - i]] if kind == "second views" else [x[1 - i]]
        far = [(here - output(y, held if kind == "anchor" else moving_weight)) for y in others]
        chances = [(-(d * d) / 2).exp() for d in far]
        total = sum(chances, arb_series([0]) if kind == "not in the denominator" else (-near).exp())
        loss = loss + near + total.log()
        alpha = [chance[0] / total[0] for chance in chances]
        formula += alpha[0] * (x[i] - x[1 - i]) ** 2 - sum(alpha, arb(0)) * (x[i] - views[i]) ** 2
    return -loss[1], formula


BATCHES = (((-1, 2), (0, 1)), ((1, 3), (2, 0)), ((-2, 1), (1, 1)), ((0, 1), (-1, 2)))
"""Both points and both views of a batch."""


def of_neuron(kind: str, text: str, _: Context) -> Iterator[Sides]:
    """One neuron on batches of two points."""
    for x, views in BATCHES:
        left, right = neuron(x, views, kind)
        yield Sides(f"f = {text}, w = 1, x = {x}, x' = {views}", "dw", left, right, 1e-12)


def moving(_: Context) -> Iterator[Sides]:
    """``X = dw/w`` at two weights of one neuron, from the literal loss."""
    x = ((-1.0,), (2.0,))
    rates = [exact_descent(LinearSimclrInstance(((w,),), ((1.0,),), x, x), 1)[0][0, 0] / w for w in (1, 2)]
    yield Sides("f = w x, x = x' = (-1, 2), w = 1 and w = 2", "dw/w", rates[0], rates[1], 1e-12)


def off_eigenvector(_: Context) -> Iterator[Sides]:
    """v = e_1 with ``lambda = v^T X v``, where X is not diagonal."""
    one = LinearSimclrInstance(
        ((1.0, 0.0), (1.0, 1.0)), ((1.0, 0.0),), ((1.0, 0.5), (-0.5, 1.0)), ((0.5, 0.5), (0.0, 1.0))
    )
    (rate,), found = exact_descent(one, 1), pairs(one, 1)
    value = found.spread[0, 0] - found.augmented[0, 0]
    shown = "W = [[1, 0], [1, 1]], x = (1, 1/2), (-1/2, 1), x' = (1/2, 1/2), (0, 1), v = e_1"
    yield Sides(shown, "d(W v)_2, lambda (W v)_2", rate[1, 0], value, 1e-12)


DROPS = (
    Assumption("linear layers", "f = max(w x, 0)", partial(of_neuron, "relu", "max(w x, 0)")),
    Assumption("outputs are not normalised", "f = w x/|w x|", partial(of_neuron, "normalised", "w x/|w x|")),
    Assumption("the gradient flows through both members of a pair", "negatives held",
               partial(of_neuron, "anchor", "w x, negatives held")),
    Assumption("negatives are the first views", "second views too",
               partial(of_neuron, "second views", "w x, four negatives")),
    Assumption("the positive is in the denominator", "it is not",
               partial(of_neuron, "not in the denominator", "w x"), False),
    Assumption("v is an eigenvector of X", "v = e_1, X not diagonal", off_eigenvector),
    Assumption("X is held fixed, for the exponential of time", "X moves with W", moving),
)  # fmt: skip


# Trained: an augmentation that outweighs the data along one axis.

STEPS, RATE = 200, 2.0**-6


def strong(seed: int, count: int) -> Iterator[LinearSimclrInstance]:
    """Batches whose first axis carries the points and whose second one the augmentation."""
    rng = samples.generator(seed, "strong augmentation")
    for _ in range(count):
        points = np.stack([rng.uniform(-1, 1, 6), rng.uniform(-0.1, 0.1, 6)], axis=1)
        views = points + np.stack([rng.uniform(-0.05, 0.05, 6), np.sign(rng.standard_normal(6))], axis=1)
        weights, top = np.eye(2) / 2 + rng.uniform(-0.1, 0.1, (2, 2)), np.eye(2)
        yield LinearSimclrInstance(*(freeze(m) for m in (weights, top, points, views)))


def measure_descent(instance: LinearSimclrInstance, device: str = "cpu") -> Measurement:
    """Descent: every step is that of the formula; one singular value vanishes, the other one grows."""
    import torch

    weight, points, views = tensors((instance.weights, instance.points, instance.views), device)
    start, worst = weight.clone(), Measurement(0.0, 0.0)
    for step in range(STEPS):
        leaf = weight.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(numeric.simclr_loss(points @ leaf.T, views @ leaf.T), leaf)
        if step % 20 == 0:
            spread, augmented = numeric.simclr_matrices(weight, points, views)
            gap = (gradient + weight @ (spread - augmented)).abs().max()
            bound = np.array(2.0**-40 * (1 + float(weight.abs().max())) * (1 + float((spread + augmented).abs().max())))
            worst = rounding.worse(worst, np.array(float(gap)), bound, f"step {step}")
        weight = weight - RATE * gradient
    share = torch.linalg.svdvals(weight) / torch.linalg.svdvals(start)
    collapsed = np.array([float(share[1]), 1.0 / float(share[0])])
    return rounding.worse(worst, collapsed, np.array([0.05, 1.0]), "singular values against the start")


def descent(context: Context) -> Evidence:
    """Dimensional collapse under strong augmentation."""
    count = context.pick(quick=3, thorough=40)
    return tally(
        "trained", "strong augmentation", strong(context.seed, count), partial(measure_descent, device=context.device),
        at_least=count,
        detail=f"{STEPS} steps: update = W X; the smaller singular value falls below 5 %, the larger one grows",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="linear SimCLR: the flow W X and dimensional collapse",
    source="arXiv 2110.09348",
    not_covered=(
        "normalised outputs and nonlinear networks",
        "the alignment of the singular vectors of two layers along training",
        "X along training: the exponential of time is for a fixed X",
    ),
    relation=PaperRelation(
        "own form",
        "the weights of the augmentation are the sum of the pair weights, so that one sum over pairs gives X",
        "notes on the paper, checked by independent code; the printed wording is not at hand",
        "low",
    ),
    instance_type=LinearSimclrInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(Check("trained", "strong augmentation", descent),),
    examples=15,
)
