"""Assumptions of statements 1 and 2, dropped: towers that are not homogeneous, losses that are no members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from flint import arb, fmpq

from verify.assumptions import pairs as pair_assumptions
from verify.engine.assumptions import Sides
from verify.engine.statement import Assumption, Context
from verify.instances.instance import PairInstance
from verify.tolerance import rounding
from verify.towers import balls

# One hidden neuron, f = w_2 psi(w_1 x), on the inputs 1 and -3 (a gate is on at one of them, with a bias of 1 too).
SMALL = PairInstance(0.0, (((1.0,),), ((1.0,),)), (((1.0,),), ((1.0,),)), (1.0,), (-3.0,))
BITS = 256


def on_networks(network: pair_assumptions.PairNetwork, context: Context) -> Iterator[Sides]:
    """The entry that is furthest off on a network: one hidden neuron first, then Gaussian towers."""
    for instance in (SMALL, *pair_assumptions.pairs(context.seed, context.pick(quick=6, thorough=60))):
        measured = pair_assumptions.measure(network, instance, context.device)
        left, right = pair_assumptions.sides(network, instance, "float64", context.device)
        layer = int(np.argmax([np.abs(a - b).max() for a, b in zip(left, right, strict=True)]))
        place = np.unravel_index(np.argmax(np.abs(left[layer] - right[layer])), left[layer].shape)
        name = "one hidden neuron of weights 1, x_1 = 1, x_2 = -3" if instance is SMALL else "Gaussian towers, 4-5-3"
        yield Sides(
            f"{network.name}: {name}", f"dr/dW_{layer + 1}, formula", float(left[layer][place]),
            float(right[layer][place]), measured.tolerance, decided=measured.decided,
        )  # fmt: skip


def slope_at(value: Callable[[fmpq], fmpq], w: int) -> fmpq:
    """Derivative of a function that is quadratic near w, by a central difference that leaves no remainder."""
    step = fmpq(1, 8)
    return (value(w + step) - value(w - step)) / (2 * step)


def top_activation(context: Context) -> Iterator[Sides]:
    """f = max(w x, 0) for f = w x, with K = x: x_1 = 1, x_2 = 0, w = -1."""
    left = slope_at(lambda w: max(w, fmpq(0)) ** 2 / 2, -1)
    yield Sides("f = max(w x, 0), w = -1, x_1 = 1, x_2 = 0", "dr/dw, K_1 (K_1 w - K_2 w)", left, fmpq(1) * fmpq(-1))


def both_towers(context: Context) -> Iterator[Sides]:
    """Shared weights, the gradient through both towers: f = w x, w = 1, x_1 = 2, x_2 = 1."""
    left = slope_at(lambda w: (2 * w - w) ** 2 / 2, 1)
    yield Sides("f = w x, w = 1, x_1 = 2, x_2 = 1", "dr/dw through both towers, x_1 (x_1 w - x_2 w)", left, fmpq(2))


def one_connection(context: Context) -> Iterator[Sides]:
    """A normalised output with its forward connection on either side: u = (3, 4) and (1, 0)."""
    import torch

    import numeric

    first, second = ([torch.tensor(w, dtype=torch.float64)] for w in ([[3.0], [4.0]], [[1.0], [0.0]]))
    one = torch.ones(1, dtype=torch.float64)
    left = numeric.pair_gradient(first, second, one, one, 0.0, output="normalized")[0]
    (k_1, _), (k_2, _) = (numeric.normalized_connections(w, one[None], 0.0)[0] for w in (first, second))
    a, b = k_1.dense()[0], k_2.dense()[0]
    right = a @ (a.T @ numeric.vec(first[0]) - b.T @ numeric.vec(second[0]))
    # A dozen roundings of numbers of size at most 5.
    tolerance = 5 * rounding.gamma(64)
    yield Sides(
        "u = (3, 4) and (1, 0), outputs u / ||u||", "dr/dW, entry 1, formula with K^f in front",
        float(left[0, 0]), float(right[0]), tolerance,
    )  # fmt: skip


BIASED, TANH, GELU, NORMED = pair_assumptions.BROKEN
TOWERS = (
    Assumption("no biases", "biases, with ReLU", partial(on_networks, BIASED)),
    Assumption(
        "no biases", "biases, in linear towers that share them", partial(on_networks, pair_assumptions.SOUND[1]), False
    ),
    Assumption("piecewise-linear homogeneous activation", "tanh", partial(on_networks, TANH)),
    Assumption("piecewise-linear homogeneous activation", "GELU", partial(on_networks, GELU)),
    Assumption("one input at a time", "batch normalisation", partial(on_networks, NORMED)),
    Assumption("no activation on the top layer", "ReLU on the top layer", top_activation),
    Assumption("the gradient by the weights of one tower", "through both towers of shared weights", both_towers),
    Assumption(
        "output linear, or l2-normalised with forward and backward connections",
        "l2-normalised, the forward connection in front too",
        one_connection,
    ),
)


def derivatives_of(loss: balls.Loss, r: Sequence[float]) -> list[arb]:
    """dL/dr_+, dL/dr_1 .. at distances, in balls."""
    with balls.precision(BITS):
        return balls.derivatives(loss, r[0], r[1:])


def pull(loss: balls.Loss, r: Sequence[float], context: Context) -> Iterator[Sides]:
    """dL/dr_+ > 0."""
    yield Sides(at(r), "dL/dr_+, zero", derivatives_of(loss, r)[0], 0, relation=">")


def total(loss: balls.Loss, r: Sequence[float], context: Context) -> Iterator[Sides]:
    """dL/dr_+ + sum_k dL/dr_k = 0."""
    found = derivatives_of(loss, r)
    yield Sides(at(r), "sum of the derivatives, zero", sum(found[1:], found[0]), 0)


def at(r: Sequence[float]) -> str:
    """Distances in words."""
    return ", ".join(f"r_{'+' if k == 0 else k} = {value:g}" for k, value in enumerate(r))


def hinge(r_pos: Any, r_neg: Sequence[Any]) -> Any:
    """max(0, r_+ - r_1)."""
    gap = r_pos - r_neg[0]
    return gap if gap[0] > 0 else gap * 0


def alignment(context: Context) -> Iterator[Sides]:
    """The loss -f_1 . f_+ at two pairs of scalars of one distance."""
    one, two = (-fmpq(a) * b for a, b in ((1, 1), (2, 2)))
    yield Sides("L = -f_1 f_+ at f_1 = f_+ = 1 and at f_1 = f_+ = 2, r_+ = 0 both times", "L, L", one, two)


def negative_temperature(context: Context) -> Iterator[Sides]:
    """InfoNCE and soft triplet with tau < 0: signs and sum."""
    for name in ("infonce", "triplet"):
        for tau in (-1.0, -0.5, -3.0):
            with balls.precision(BITS):
                loss = balls.literal_loss(name, {"tau": tau})
            for r in ((1.0, 1.0), (0.5, 2.0), (3.0, 0.25)):
                found = derivatives_of(loss, r)
                yield Sides(f"{name}, tau = {tau:g}, {at(r)}", "dL/dr_+, zero", found[0], 0, relation=">")
                yield Sides(f"{name}, tau = {tau:g}, {at(r)}", "-dL/dr_1, zero", -found[1], 0, relation=">")
                # Two balls around numbers below 1, at 256 bits.
                sum_of_both = sum(found[1:], found[0])
                yield Sides(f"{name}, tau = {tau:g}, {at(r)}", "sum, zero", sum_of_both, 0, balls.RADIUS)


def no_negative(context: Context) -> Iterator[Sides]:
    """InfoNCE with H = 0, where dL/dr_+ is one minus the share of the attraction among all of H + 1 terms."""
    attraction, repulsion = fmpq(1, 2), fmpq(0)
    yield Sides("H = 0, exp(-r_+/tau) = 1/2", "dL/dr_+, zero", 1 - attraction / (attraction + repulsion), fmpq(0),
                relation=">")  # fmt: skip


def family(name: str, dropped: str, tries: Any, loss: str) -> Assumption:
    """An assumption on the loss that the derivation refutes too."""
    return Assumption(name, dropped, tries, derivation=("contrastive-losses", {"loss": loss}))


TEMPERATURE = "tau > 0"
MEMBERS = "L is the simple loss, the soft triplet (any r_0) or InfoNCE"
LOSSES = (
    Assumption(MEMBERS, "L = -f_1 . f_+, no function of the distances", alignment),
    family(
        MEMBERS, "the hinge max(0, r_+ - r_1 + r_0): no attraction where it is flat", partial(pull, hinge, (1.0, 2.0)),
        "max(0, r_p - r_1 + r_0)",
    ),
    family(
        MEMBERS, "r_+ + r_1^2: attraction and repulsion do not cancel",
        partial(total, lambda p, n: p + n[0] * n[0], (1.0, 1.0)), "r_p + r_1**2",
    ),
    family(
        MEMBERS, "r_+ - 2 r_1: repulsion twice as strong as attraction",
        partial(total, lambda p, n: p - n[0] * 2, (1.0, 1.0)), "r_p - 2*r_1",
    ),
    Assumption("any number H >= 1 of negatives", "InfoNCE with H = 0", no_negative),
    Assumption(TEMPERATURE, "tau < 0, at 0 the loss is not defined", negative_temperature, False),
)  # fmt: skip
