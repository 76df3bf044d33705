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
from verify.packs.jepa_mae_measures import KINDS, PACK, STAGES, JepaInstance, toy
from verify.packs.linear_byol_measures import as_float
from verify.packs.part import mutant, pack_statement
from verify.tolerance import rounding
from verify.towers.tower import tensors

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


# Assumptions dropped, one coordinate by hand.


def not_stopped(_: Context) -> Iterator[Sides]:
    """Through the target too: w = v = 1, x = y = 1: -dL/dw of 1/2 (v w x - w y)^2 at v = 2."""
    yield Sides("L = 1, v = 2, w = 1, x = 1, y = 1", "dw", -fmpq(2 - 1) * (2 - 1), fmpq(1 - 2) * 2)


def not_diagonal(_: Context) -> Iterator[Sides]:
    """``E[x x^T] = [[1, 1], [1, 1]]``: V = E = I, the rate of the entry (1, 2) is lambda_12 - s_12 with lambda = 0."""
    yield Sides("V = E = I, E[x x^T] of ones, E[x y^T] = I", "(dE)_12, zero", fmpq(-1), fmpq(0))


def unequal(_: Context) -> Iterator[Sides]:
    """L = 1, w = 1, v = 2, lambda = s = 1: JEPA has dw = (1 - 2) 2, the formula of equal factors 0."""
    yield Sides("L = 1, w = 1, v = 2, lambda = s = 1", "dw", fmpq(-2), fmpq(0))


def unequal_balance(_: Context) -> Iterator[Sides]:
    """The balance at unequal factors: w = 1, v = 2: w dw = -2, v dv = 2 (1 - 2)."""
    yield Sides("L = 1, w = 1, v = 2, lambda = s = 1", "w dw, v dv", fmpq(-2), fmpq(2 * (1 - 2)))


def negative_start(_: Context) -> Iterator[Sides]:
    """w = -1, L = 1, lambda = s = 1: MAE has dw = e (lambda - s w e) = 0: it rests at -1, not at rho = 1."""
    w = fmpq(-1)
    yield Sides("MAE, L = 1, w = -1, lambda = s = 1", "the point of rest, sqrt(rho)", w, fmpq(1))


DROPS = (
    Assumption("no gradient flows through the target of JEPA", "through both", not_stopped),
    Assumption("diagonal moments", "E[x x^T] of ones", not_diagonal),
    Assumption("equal factors, for the flow of the encoder", "v = 2 w", unequal),
    Assumption("equal factors, for the balance", "v = 2 w", unequal_balance, False),
    Assumption("a positive start, for the fixed points", "w = -1", negative_start),
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
