"""Assumptions of statement 5, dropped, on networks of one or two hidden neurons, in rationals and balls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from flint import arb, fmpq, fmpq_poly

from verify.engine.assumptions import Sides
from verify.engine.statement import Assumption, Context
from verify.instances import samples
from verify.towers import balls
from verify.towers.population import simple_loss_gradient, to_float
from verify.towers.tower import Array, array, rational, vec
from verify.training.towers import conserved
from verify.two_layer.formulas import decoupled, exact_neurons, stated
from verify.two_layer.measures import euler
from verify.two_layer.samples import TwoLayerInstance, detectors, toys

BITS = 192
Points = tuple[tuple[tuple[float, ...], ...], ...]


def network(points: Points, neurons: int = 1, slope: float = 1.0, **other: Any) -> TwoLayerInstance:
    """Weights 1 everywhere: one input, so many neurons, one output."""
    weights = (((1.0,),) * neurons, ((1.0,) * neurons,))
    return TwoLayerInstance(slope, weights, points, **other)


def line(*rows: Sequence[float]) -> Points:
    """Points on a line, one row of augmented inputs each."""
    return tuple(tuple((float(x),) for x in row) for row in rows)


def worst(text: str, quantity: str, left: Sequence[Array], right: Sequence[Array]) -> Sides:
    """The entry of all layers in which two updates differ most."""
    rows = [pair for a, b in zip(left, right, strict=True) for pair in zip(vec(a), vec(b), strict=True)]
    one, other = max(rows, key=lambda pair: size(pair[0] - pair[1]))
    return Sides(text, quantity, one, other, balls.RADIUS if isinstance(one - other, arb) else 0.0)


def size(value: Any) -> float:
    """Absolute value of a rational or a ball."""
    return float(abs(value).mid()) if isinstance(value, arb) else to_float(abs(value))


def shared(form: tuple[Array, Array]) -> list[Array]:
    """The shared update of a one-branch form."""
    return [2 * side * fmpq(1) for side in form]


def descent_of(instance: TwoLayerInstance, scheme: str = "stated") -> list[Array]:
    """-E[grad] of the simple loss, by central differences."""
    return [-g for g in simple_loss_gradient(instance, scheme)[0]]


def coupled(context: Context) -> Iterator[Sides]:
    """The decoupled form on two neurons that read the same input."""
    case = network(line([0], [2]), neurons=2)
    yield worst("two neurons and all weights 1, points 0 and 2", "-dE[L]/dw, decoupled form",
                descent_of(case), shared(decoupled(exact_neurons(case))))  # fmt: skip


def schemes(scheme: str, context: Context) -> Iterator[Sides]:
    """The block form under another sampling scheme."""
    case = network(line([0, 2], [4, 10]))
    yield worst("one neuron and all weights 1, points {0, 2} and {4, 10}", "-dE[L]/dw, block form",
                descent_of(case, scheme), shared(stated(exact_neurons(case))))  # fmt: skip


def other_loss(context: Context) -> Iterator[Sides]:
    """The block form where the loss is InfoNCE."""
    case = network(line([0], [1]), loss="infonce", parameters=(("tau", 1.0),))
    left = [-g for g in balls.expected_gradient(case, BITS)]
    with balls.precision(BITS):
        right = [np.vectorize(balls.to_ball, otypes=[object])(side) for side in shared(stated(exact_neurons(case)))]
        yield worst(
            "InfoNCE, tau = 1, one neuron and all weights 1, points 0 and 1", "-dE[L]/dw, block form", left, right
        )


def moves(instance: TwoLayerInstance, text: str, context: Context) -> Iterator[Sides]:
    """The update of neurons that are claimed to stay where they are."""
    simple = instance.loss == "simple"
    left = descent_of(instance) if simple else [-g for g in balls.expected_gradient(instance, BITS)]
    with balls.precision(BITS):
        yield worst(text, "-dE[L]/dw, zero", left, [0 * g for g in left])


def products(text: str, first: list[int], second: list[int], decay: int, context: Context) -> Iterator[Sides]:
    """w_1 dL/dw_1 against w_2 dL/dw_2 at w_1 = w_2 = x = 1, for L = f^2/2 + decay w_1^2/2.

    f is given by its coefficients as a polynomial in either weight, the other being 1.
    """
    f_1, f_2, w = fmpq_poly(first), fmpq_poly(second), fmpq_poly([0, 1])
    left, right = (f_1 * f_1 + decay * w * w) / 2, f_2 * f_2 / 2
    yield Sides(text, "w_1 dL/dw_1, w_2 dL/dw_2", left.derivative()(1), right.derivative()(1))


def finite_step(context: Context) -> Iterator[Sides]:
    """One step of gradient descent with learning rate 1."""
    case = replace(network(line([0], [1])), weights=(((1.0,),), ((2.0,),)))
    start = [array(w, rational) for w in case.weights]
    end = [w + u for w, u in zip(start, descent_of(case), strict=True)]
    before, after = (conserved(w)[0][0] for w in (start, end))
    yield Sides("w_1 = 1, w_2 = 2, points 0 and 1, a step of learning rate 1",
                "||w_1||^2 - ||w_2||^2 after, before", after, before)  # fmt: skip


def conservation(scheme: str, deep: bool, context: Context) -> Iterator[Sides]:
    """w_in . d w_in = w_out . d w_out of every hidden neuron, under a sampling scheme, in networks of any depth."""
    count = context.pick(quick=6, thorough=200)
    drawn = (
        samples.toy_populations(context.seed + 21, 8 * count, layers=4, points=2)
        if deep
        else toys(context.seed + 21, count, ("simple",), points=2)
    )
    kept = [i for i in drawn if i.loss == "simple" and (len(i.weights) > 2) == deep][:count]
    for instance in kept:
        weights, gradient = [array(w, rational) for w in instance.weights], simple_loss_gradient(instance, scheme)[0]
        for layer, (w, g) in enumerate(zip(pairwise(weights), pairwise(gradient), strict=True), start=1):
            own, out = euler(list(w), list(g))
            text = f"{len(weights)} layers, {len(instance.points)} points, neurons of layer {layer}"
            for a, b in zip(own, out, strict=True):
                yield Sides(text, "w_in . dL/dw_in, w_out . dL/dw_out", a, b)


def derived(name: str, dropped: str, option: str, tries: Any) -> Assumption:
    """An assumption that the derivation refutes too."""
    return Assumption(name, dropped, tries, derivation=("two-layer-dynamics", {"drop": option}))


def detector(context: Context) -> Iterator[Sides]:
    """The ReLU neuron e_1 - e_2 on 11 and 101, a ring of 4."""
    instance = next(detectors((4,)))
    yield from moves(instance, "11 and 101 on a ring of 4, ReLU neuron e_1 - e_2, one output", context)


CENTRED = line([1, -1], [2, -2])
CENTRED_TEXT = "f = w_2 w_1 x, weights 1, points {1, -1} and {2, -2}"
ASSUMPTIONS = (
    Assumption(
        "x_1, x_+ independent augmentations of x", "x_+ = x_1", partial(schemes, "dependent-augmentations")
    ),
    Assumption("x_1 augmented", "x_1 shown as it is", partial(schemes, "x1-not-augmented")),
    derived("A_jk = 0 for j != k for the decoupled form", "two neurons that read one input", "decoupling", coupled),
    Assumption("simple loss for the block form", "InfoNCE", other_loss),
    derived(
        "homogeneous neurons", "the square as activation", "homogeneity",
        partial(products, "L = f^2/2, f = w_2 (w_1 x)^2, weights and x 1", [0, 0, 1], [0, 1], 0),
    ),
    Assumption(
        "no biases", "a bias of 1",
        partial(products, "L = f^2/2, f = w_2 (w_1 x + 1), weights and x 1", [1, 1], [0, 2], 0),
    ),
    Assumption(
        "the loss is a function of the outputs, for conservation", "weight decay on w_1",
        partial(products, "L = f^2/2 + w_1^2/2, f = w_2 w_1 x, weights and x 1", [0, 1], [0, 1], 1),
    ),
    Assumption("gradient flow, for conservation", "a step of learning rate 1", finite_step),
    Assumption(
        "one hidden layer, for conservation", "two hidden layers and more", partial(conservation, "stated", True), False
    ),
    Assumption(
        "independent augmentations, for conservation", "x_+ = x_1",
        partial(conservation, "dependent-augmentations", False), False,
    ),
    derived(
        "means that coincide, for linear neurons that stay", "points 0 and 2", "coinciding-means",
        partial(moves, network(line([0], [2])), "f = w_2 w_1 x, weights 1, points 0 and 2"),
    ),
    Assumption(
        "simple loss, for linear neurons that stay", "InfoNCE",
        partial(
            moves, network(CENTRED, loss="infonce", parameters=(("tau", 1.0),)), f"InfoNCE, tau = 1, {CENTRED_TEXT}"
        ),
    ),
    Assumption("linear neurons, for neurons that stay", "ReLU", detector),
)  # fmt: skip
