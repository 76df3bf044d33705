r"""Pack jepa-mae: latent prediction against reconstruction in deep linear diagonal networks.

Statement
    Rates of layers and decoder, the balance that keeps equal factors equal, the flow of the encoder for JEPA
    (``e^(3-1/L)``) and for MAE (``e^(2-1/L)``), where both end, and the times in closed form.
Assumptions
    Diagonal weights and moments; a stopped gradient through the target of JEPA; equal factors at the start.
Evidence
    Symbolic: scalar calculus. Exact: the literal losses as power series over rationals, ball integrals for the times.
    Float: automatic differentiation. Trained: the flow of the literal loss by Runge-Kutta.
Not covered
    Moments that are not diagonal, unequal starts along training, times of MAE with more than one layer.
Source
    Littwin et al. (2024), on JEPA as deep linear self distillation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
from flint import fmpq

import numeric
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import times, turned
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.packs import changes
from verify.packs.jepa_mae_measures import KINDS, PACK, STAGES, JepaInstance, toy
from verify.packs.linear_byol_measures import as_float
from verify.packs.oracle import entries, exact_gradient
from verify.packs.part import mutant, pack_statement
from verify.tolerance import rounding
from verify.towers.population import half_square
from verify.towers.tower import rational, tensors

SLUG = "jepa-mae"
SYMBOLS = "theory.packs.jepa_mae"
side, replaced, exchanged, whole = (
    partial(change, SYMBOLS) for change in (changes.side, changes.replaced, changes.exchanged, changes.whole)
)


# Mutants.


def layer_rate(t: Any, pull: Any) -> Any:
    """``(pull - s v^2 e) e/w``."""
    return (pull - t.VARIANCE * t.DECODER**2 * t.ENCODER) * t.ENCODER / t.LAYER


def encoder_rate(t: Any, power: Any) -> Any:
    """``L (lambda e^power - s e^3)`` in e and w."""
    return t.DEPTH * (t.COVARIANCE * power - t.VARIANCE * t.ENCODER**3)


def without_terms(t: Any, depth: int) -> Any:
    """The time of JEPA without its powers of w."""
    import sympy

    power = 2 * depth - 1
    w, start, rho = t.LAYER, t.START, t.QUOTIENT
    return sympy.log(w * (rho - start) / (start * (rho - w))) / rho**power / t.COVARIANCE


def plus_balance(t: Any, number: int) -> Any:
    return t.equation(t.LAYER * t.LAYER_RATES[number] + t.DECODER * t.DECODER_RATES[number], 0 * t.LAYER)


def linear_balance(t: Any) -> Any:
    """``w_l - v`` in place of the squares."""
    return t.equation(t.LAYER_RATES[0] - t.DECODER_RATES[0], 0 * t.LAYER)


VARIANTS = (
    mutant("target-not-encoded", "JEPA with the rate of MAE: lambda v", "gradients",
           replaced(lambda t: layer_rate(t, t.COVARIANCE * t.DECODER))),
    mutant("no-stop-gradient", "2 lambda v e: the gradient through the target too", "gradients",
           replaced(lambda t: layer_rate(t, 2 * t.COVARIANCE * t.DECODER * t.ENCODER))),
    mutant("decoder-sees-e", "dv = lambda e - s v e^2 for JEPA", "gradients",
           replaced(lambda t: t.COVARIANCE * t.ENCODER - t.VARIANCE * t.DECODER * t.ENCODER**2, 2)),
    mutant("mae-layer-doubled", "twice the rate of MAE", "gradients", times(2, 4)),
    mutant("balance-plus", "w_l^2 + v^2 is conserved by JEPA", "balance", whole(lambda t: plus_balance(t, 0))),
    mutant("balance-plus-mae", "w_l^2 + v^2 is conserved by MAE", "balance", whole(lambda t: plus_balance(t, 1), 2)),
    mutant("balance-linear", "w_l - v is conserved", "balance", whole(linear_balance)),
    mutant("jepa-power-of-mae", "e^(2-1/L) for JEPA", "jepa",
           replaced(lambda t: encoder_rate(t, t.ENCODER**2 / t.LAYER), 2)),
    mutant("jepa-power-three", "e^3 in place of e^(3-1/L)", "jepa",
           replaced(lambda t: encoder_rate(t, t.ENCODER**3), 2)),
    mutant("jepa-depth-left-out", "de without L", "jepa",
           side(lambda one, t: one / t.DEPTH, 2)),
    mutant("mae-power-of-jepa", "e^(3-1/L) for MAE", "mae",
           replaced(lambda t: encoder_rate(t, t.ENCODER**3 / t.LAYER), 2)),
    mutant("mae-power-two", "e^2 in place of e^(2-1/L)", "mae", replaced(lambda t: encoder_rate(t, t.ENCODER**2), 2)),
    mutant("mae-depth-left-out", "de without L", "mae", side(lambda one, t: one / t.DEPTH, 2)),
    mutant("jepa-ends-at-root", "JEPA ends at w^(L+1) = rho", "targets",
           replaced(lambda t: t.VARIANCE * t.ENCODER**2 * (t.QUOTIENT - t.LAYER * t.ENCODER))),
    mutant("mae-ends-at-rho", "MAE ends at w = rho", "targets",
           replaced(lambda t: t.VARIANCE * t.ENCODER * (t.QUOTIENT - t.LAYER), 2)),
    mutant("jepa-falls-below", "w falls below rho", "targets", turned(3)),
    mutant("mae-rises-above", "w rises above the fixed point", "targets", turned(6)),
    mutant("time-logarithm-only", "the time of JEPA without powers of w, L = 2", "time",
           replaced(lambda t: without_terms(t, 2), 2)),
    mutant("time-of-other-depth", "the time of L = 1 for L = 2", "time", replaced(lambda t: t.jepa_time(1), 2)),
    mutant("time-of-jepa", "the time of JEPA for MAE", "time", replaced(lambda t: t.jepa_time(1), 4)),
    mutant("time-halved", "half the time of MAE", "time", times("1/2", 4)),
)  # fmt: skip


# Assumptions dropped: the literal losses over rationals, formulas by hand.

Rows = tuple[tuple[int | float, ...], ...]


def fall(layers: Sequence[Rows], decoder: Rows, pairs: list[tuple[Any, Any]], number: int, **options: Any) -> Any:
    """``-grad`` of the mean of ``1/2 ||V E x - T y||^2`` by a factor, the decoder last; options of `loss`."""
    stack = [entries(rows, "rational") for rows in (*layers, decoder)]
    held = chain(stack[:-1])

    def loss(moved: Any, kind: str = "jepa", shared: bool = False) -> Any:
        now = [*stack[:number], moved, *stack[number + 1 :]]
        total: Any = fmpq(0)
        for x, y in pairs:
            seen = (chain(now[:-1]) if shared else held) @ entries(y, "rational")
            seen = entries(y, "rational") if kind == "mae" else seen
            total = total + half_square(chain(now) @ entries(x, "rational") - seen) / len(pairs)
        return total

    return -exact_gradient(partial(loss, **options), stack[number], "rational")


def chain(stack: Any) -> Any:
    """The product of factors, the last one on the left."""
    return reduce(lambda below, above: above @ below, stack)


def of_layer(lam: Any, s: Any, v: Any, e: Any, w: Any) -> Any:
    """The formula of JEPA."""
    return fmpq((lam - s * v) * v * e * e, w)


ONE: list[tuple[Any, Any]] = [((1,), (1,))]
IDENTITY = ((1, 0), (0, 1))


def not_stopped(_: Context) -> Iterator[Sides]:
    """Through the target too."""
    left = fall([((1,),)], ((2,),), ONE, 0, shared=True)[0, 0]
    yield Sides("L = 1, v = 2, w = 1, x = 1, y = 1", "dw", left, of_layer(1, 1, 2, 1, 1))


def not_diagonal(_: Context) -> Iterator[Sides]:
    """One pair whose moments have entries off the diagonal."""
    left = fall([IDENTITY], IDENTITY, [((1, 1), (2, 0))], 0)[0, 1]
    yield Sides("V = E = I, x = (1, 1), y = (2, 0)", "(dE)_12, zero", left, fmpq(0))


def unequal(_: Context) -> Iterator[Sides]:
    """The formula of equal factors, ``e^2 (lambda - s w)`` with e = w = 1, beside v = 2."""
    left = fall([((1,),)], ((2,),), ONE, 0)[0, 0]
    yield Sides("L = 1, w = 1, v = 2, x = y = 1", "dw", left, of_layer(1, 1, 1, 1, 1))


def unequal_balance(_: Context) -> Iterator[Sides]:
    """The balance at unequal factors, of one layer and of two."""
    for kind in KINDS:
        for factors in ((1, 2), (3, 0.5), (0.5, 2, 3), (2, 0.25, 1)):
            *layers, decoder = [((w,),) for w in factors]
            pairs: list[tuple[Any, Any]] = [((1,), (2,)), ((0.5,), (-1,))]
            top = fall(layers, decoder, pairs, len(layers), kind=kind)[0, 0] * rational(factors[-1])
            for number in range(len(layers)):
                left = fall(layers, decoder, pairs, number, kind=kind)[0, 0] * rational(factors[number])
                yield Sides(f"{kind}, factors {factors}", f"w dw of layer {number + 1}, v dv", left, top)


def negative_start(_: Context) -> Iterator[Sides]:
    """MAE from w = v = -1/2, below the fixed point rho = 1: it falls, to -1."""
    left = fall([((-0.5,),)], ((-0.5,),), ONE, 0, kind="mae")[0, 0]
    yield Sides("MAE, L = 1, w = v = -1/2, x = y = 1", "dw, zero", left, fmpq(0), relation=">")


DROPS = (
    Assumption("no gradient flows through the target of JEPA", "through both", not_stopped),
    Assumption("diagonal moments", "x = (1, 1), y = (2, 0)", not_diagonal),
    Assumption("equal factors, for the flow of the encoder", "v = 2 w", unequal),
    Assumption("equal factors, for the balance", "v = 2 w", unequal_balance, False),
    Assumption("a positive start, for the fixed points", "w = v = -1/2", negative_start),
)


# Trained: the flow of the literal losses.

TIME, STEPS = 2.0, 40


def measure_flow(instance: JepaInstance, device: str = "cpu") -> Measurement:
    """The flow of all matrices from equal factors against that of one number per coordinate; and where it goes."""
    import torch

    x, y = tensors([np.diag(instance.inputs), np.diag(instance.targets)], device)
    moments = [[as_float(v) for v in instance.moments(k)] for k in range(2)]
    lam, s = tensors(list(zip(*moments, strict=True)), device)
    depth, (start,) = len(instance.layers), tensors([instance.layers[0]], device)
    worst = Measurement(0.0, 0.0)
    for kind in KINDS:

        def full(state: list[Any], kind: str = kind) -> list[Any]:
            leaves = [m.detach().requires_grad_() for m in state]
            value = numeric.predictive_loss(leaves[:-1], leaves[-1], x, y, kind)
            return [-g for g in torch.autograd.grad(value, leaves)]

        def reduced(state: list[Any], kind: str = kind) -> list[Any]:
            return [numeric.predictive_rates(state[0], lam, s, depth, kind)]

        ends = numeric.runge_kutta(full, [start.diag()] * (depth + 1), TIME / STEPS, STEPS)
        coarse, fine = (numeric.runge_kutta(reduced, [start], TIME / n, n)[0] for n in (STEPS, 2 * STEPS))
        gap = max(float((m - coarse.diag()).abs().max()) for m in ends)
        worst = rounding.worse(worst, np.array(gap), np.array(1e-11), f"{kind}, the matrix flow")
        step = float((coarse - fine).abs().max())
        worst = rounding.worse(worst, np.array(step), np.array(1e-3), f"{kind}, step of the flow")
        rest = [numeric.predictive_fixed_point(a / b, depth, kind) ** (1 / depth) for a, b in moments]
        (target,) = tensors([rest], device)
        away = ((fine - target).abs() - (start - target).abs()).max()
        worst = rounding.worse(worst, np.array(max(float(away), 0.0)), np.array(1e-12), f"{kind}, towards its end")
    return worst


def flow(context: Context) -> Evidence:
    """The flow from random equal starts."""
    count = context.pick(quick=2, thorough=40)
    return tally(
        "trained", "flow", toy(context.seed + 1, count), partial(measure_flow, device=context.device), at_least=count,
        detail=f"matrices to t = {TIME} = one number per coordinate, which moves towards its fixed point",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="JEPA and MAE in deep linear networks",
    source="Littwin et al. (2024), deep linear self distillation",
    not_covered=(
        "moments that are not diagonal, and starts with unequal factors along training",
        "times of MAE with more than one layer, and of JEPA with more than three",
        "noise in inputs or targets beyond their second moments",
    ),
    relation=PaperRelation(
        "own form",
        "the conserved balance, the fixed points and the times for one to three layers are written out here",
        "notes on the paper, checked by independent code; the printed wording is not at hand",
        "low",
    ),
    instance_type=JepaInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(Check("trained", "flow", flow),),
    examples=15,
)
