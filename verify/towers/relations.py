"""The derived relations of statements 1 to 4 on instances: in rationals, in balls, in float64.

Balls stand where there are exponentials. In float64 gradients come from automatic
differentiation, with their bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from typing import Any

import numpy as np

from verify.engine.evidence import Evidence, Kind, Measurement
from verify.engine.statement import Context
from verify.instances import samples
from verify.instances.instance import LossInstance, PairInstance, PopulationInstance
from verify.tolerance.running import Bounded
from verify.towers import autograd, balls
from verify.towers.population import (
    Ensemble,
    exact_ensemble,
    half_square,
    pair_gradient,
    simple_loss_gradient,
    weighted_sum,
)
from verify.towers.tower import Array, Tower, connection, exact_tower, vec
from verify.towers.values import MEASURES, claim_evidence, compared, differences
from verify.towers.weighted import stated_weights

BITS = 256
UNDERFLOWS = 600  # exp of less is not representable with all bits
WRITTEN = 3  # negatives that a derivation writes out one by one (`theory.losses.loss.FEW`)
PAIR_ROLES = ("gradient", "connection", "weights", "activation", "Jacobian", "output", "squared distance")
SIMPLE_ROLES = ("expected gradient", "covariance operator", "covariance", "weights")
LOSS_ROLES = ("loss", "slope of the loss")
WEIGHTED_ROLES = (
    "expected gradient", "residue", "pair weight", "mean connection", "mean output", "weights",
)  # fmt: skip


@cache
def claim_of(slug: str, roles: tuple[str, ...], **options: Any) -> tuple[Any, Any]:
    """The claim of a derivation, and what of it is compared."""
    import theory

    claim = theory.derive(slug, **options).claim
    return claim, compared(claim, roles)


def evidence(
    arithmetic: str,
    pairs: Sequence[tuple[Any, Any]],
    instances: Any,
    measure: Callable[[Any], Measurement],
    count: int,
) -> Evidence:
    """Evidence from pairs of a claim and what of it is compared, on at least `count` instances.

    In float64 half of them do: near a kink, and of a slope that is smaller than its error, nothing is decided.
    """
    kept = sum(len(pair[1].relations) for pair in pairs)
    kind: Kind = "float" if arithmetic == "float64" else "exact"
    at_least = -(-count // 2) if kind == "float" else count
    return claim_evidence(kind, [pair[0] for pair in pairs], kept, instances, measure, at_least)


def bounded_arrays(values: Sequence[Array], bounds: Sequence[Array]) -> list[Array]:
    """Arrays of float64 with entrywise bounds of their errors."""
    with_error = np.frompyfunc(lambda value, error: Bounded(float(value), float(error)), 2, 1)
    return [with_error(value, bound) for value, bound in zip(values, bounds, strict=True)]


NEAR_KINK = Measurement(0.0, math.inf, False, "a gate is near its kink")


# Statement 1.


def measure_pair(instance: PairInstance, arithmetic: str, device: str = "cpu") -> Measurement:
    """The gradient by central differences or automatic differentiation, connections and outputs by the recursion."""
    _, claim = claim_of("dual-gradient", PAIR_ROLES)
    if arithmetic == "float64":
        found, _, _, bounds, near = autograd.pair_sides(instance, device)
        if near:
            return NEAR_KINK
        shaped = [bound.reshape(side.shape, order="F") for side, bound in zip(found, bounds, strict=True)]
        gradient = bounded_arrays(found, shaped)
    else:
        gradient, _ = pair_gradient(instance)
    towers = {
        "1": exact_tower(instance.weights_1, instance.x_1, instance.slope),
        "2": exact_tower(instance.weights_2, instance.x_2, instance.slope),
    }

    def parts() -> Iterator[tuple[Any, ...]]:
        for layer in range(1, len(gradient) + 1):
            values = pair_roles(towers, gradient, layer)
            yield from differences(claim, values, {}, f" at layer {layer}", arithmetic)

    return MEASURES[arithmetic](parts())


def pair_roles(towers: dict[str, Tower], gradient: Sequence[Array], layer: int) -> dict[str, Callable[..., Any]]:
    """Values of a generic layer, which is this one."""
    return {
        "gradient": lambda _: gradient[layer - 1],
        "connection": lambda at: connection(towers[at["tower"]], layer),
        "weights": lambda at: towers[at["tower"]].weights[layer - 1],
        "activation": lambda at: towers[at["tower"]].activations[layer - 1],
        "Jacobian": lambda at: towers[at["tower"]].jacobians[layer - 1],
        "output": lambda at: towers[at["tower"]].output,
        "squared distance": lambda _: half_square(towers["1"].output - towers["2"].output),
    }


def pairs(arithmetic: str, context: Context) -> Evidence:
    """Statement 1 on random rational networks."""
    count = context.pick(quick=12, thorough=200)
    found = [claim_of("dual-gradient", PAIR_ROLES)]
    drawn = samples.toy_pairs(context.seed + 7, count)
    return evidence(
        arithmetic, found, drawn, partial(measure_pair, arithmetic=arithmetic, device=context.device), count
    )


# Statement 2.


def measure_loss(instance: LossInstance, arithmetic: str) -> Measurement:
    """Loss and slopes by power series over balls, against the loss and the relations of its slopes."""
    from sympy import Symbol

    _, claim = claim_of("contrastive-losses", LOSS_ROLES, loss=instance.loss, negatives=len(instance.r_neg))
    with balls.precision(BITS):
        loss = balls.literal_loss(instance.loss, instance.options)
        slopes = balls.derivatives(loss, instance.r_pos, instance.r_neg)
        names = ["r_+", *(f"r_{number}" for number in range(1, len(slopes)))]
        distances = [balls.to_ball(r) for r in (instance.r_pos, *instance.r_neg)]
        roles = {
            "loss": lambda _: loss(distances[0], distances[1:]),
            "slope of the loss": lambda at: dict(zip(names, slopes, strict=True))[at["distance"]],
        }
        further = {
            Symbol("tau", positive=True): balls.to_ball(instance.options.get("tau", 0.1)),
            Symbol("r_0", real=True): balls.to_ball(instance.options.get("margin", 0.0)),
            Symbol("r_p", nonnegative=True): distances[0],
            **{Symbol(name, nonnegative=True): r for name, r in zip(names[1:], distances[1:], strict=True)},
        }
        return MEASURES[arithmetic](differences(claim, roles, further, arithmetic=arithmetic))


def losses(arithmetic: str, context: Context) -> Evidence:
    """Statement 2 at random distances; in float64 at those where exp(-r/tau), of which losses are made, is above 0."""
    count = context.pick(quick=12, thorough=200)
    every = (one for one in samples.toy_losses(context.seed + 7, 8 * count) if len(one.r_neg) <= WRITTEN)
    if arithmetic == "float64":
        every = (one for one in every if max(one.r_pos, *one.r_neg) < UNDERFLOWS * one.options.get("tau", math.inf))
    drawn = list(islice(every, count))
    shapes = dict.fromkeys((instance.loss, len(instance.r_neg)) for instance in drawn)
    found = [claim_of("contrastive-losses", LOSS_ROLES, loss=loss, negatives=number) for loss, number in shapes]
    return evidence(arithmetic, found, drawn, partial(measure_loss, arithmetic=arithmetic), count)


# Statement 3.


def measure_simple(instance: PopulationInstance, arithmetic: str, device: str = "cpu") -> Measurement:
    """The gradient by central differences or automatic differentiation, operator and covariance by enumeration.

    The convention is the shared one.
    """
    ensemble = exact_ensemble(instance)
    if arithmetic == "float64":
        found = float_gradient(instance, device)
        if found is None:
            return NEAR_KINK
        gradient = found
    else:
        gradient, _ = simple_loss_gradient(instance)

    def parts() -> Iterator[tuple[Any, ...]]:
        for form in ("operator", "general"):
            _, claim = claim_of("covariance-operator", SIMPLE_ROLES, form=form)
            for layer in range(1, ensemble.depth + 1):
                values = simple_roles(ensemble, gradient, layer)
                yield from differences(claim, values, {}, f" ({form}) at layer {layer}", arithmetic)

    return MEASURES[arithmetic](parts())


def float_gradient(instance: PopulationInstance, device: str) -> list[Array] | None:
    """The expected gradient by automatic differentiation, with the bounds of its error; None near a kink."""
    update, bounds, near = autograd.autograd_update(instance, device)
    return None if near else bounded_arrays([-side for side in update], bounds)


def simple_roles(ensemble: Ensemble, gradient: Sequence[Array], layer: int) -> dict[str, Callable[..., Any]]:
    """Values of a generic layer, which is this one."""
    means, outputs, p = ensemble.mean_connections(layer), ensemble.mean_outputs, ensemble.p

    def covariance(left: Sequence[Array], right: Sequence[Array]) -> Array:
        products = [a @ b.T for a, b in zip(left, right, strict=True)]
        return weighted_sum(products, p) - weighted_sum(left, p) @ weighted_sum(right, p).T

    def crossed() -> Array:
        products = [a @ f for a, f in zip(means, outputs, strict=True)]
        return weighted_sum(products, p) - weighted_sum(means, p) @ weighted_sum(outputs, p)

    return {
        "expected gradient": lambda _: vec(gradient[layer - 1]),
        "covariance operator": lambda _: covariance(means, means),
        "covariance": lambda _: crossed(),
        "weights": lambda _: ensemble.towers[0][0].weights[layer - 1],
    }


def simple(arithmetic: str, context: Context) -> Evidence:
    """Statement 3 on random rational populations."""
    count = context.pick(quick=10, thorough=150)
    found = [claim_of("covariance-operator", SIMPLE_ROLES, form=form) for form in ("operator", "general")]
    drawn = samples.toy_populations(context.seed + 7, count)
    return evidence(
        arithmetic, found, drawn, partial(measure_simple, arithmetic=arithmetic, device=context.device), count
    )


# Statement 4.


def measure_weighted(instance: PopulationInstance, arithmetic: str, device: str = "cpu") -> Measurement:
    """Without augmentation theta is 0: the gradient against the derived leading term; and the derived weight.

    The weight by hand is a third reading of it. What theta is with augmentation is measured by the check of the orders.
    """
    from sympy import Symbol

    options = instance.options
    ensemble = exact_ensemble(instance)
    if arithmetic == "float64":
        found = float_gradient(instance, device)
        if found is None:
            return NEAR_KINK
        gradient = found
    else:
        gradient = balls.expected_gradient(instance, BITS)
    with balls.precision(BITS):
        tau, margin = balls.to_ball(options.get("tau", 0.1)), balls.to_ball(options.get("margin", 0.0))

        def xi(r: Any) -> Any:
            return stated_weights(instance.loss, [balls.to_ball(r)], tau, margin, lambda x: x.exp())[0]

        outputs = ensemble.mean_outputs
        distance = [[half_square(a - b) for b in outputs] for a in outputs]
        further = {Symbol("tau", positive=True): tau, Symbol("r_0", real=True): margin}

        def parts() -> Iterator[tuple[Any, ...]]:
            for form in ("operator", "general"):
                _, claim = claim_of(
                    "weighted-covariance-operator", WEIGHTED_ROLES, loss=instance.loss, negatives=1, form=form
                )
                lead, weight = (claim.replace(relations=(relation,)) for relation in claim.relations)
                for layer in range(1, ensemble.depth + 1):
                    roles = weighted_roles(ensemble, layer, lambda at: xi(distance[at["x"]][at["x_k"]]))
                    values = {**roles, "expected gradient": lambda _, of=layer: vec(gradient[of - 1])}
                    place = further | expectation(ensemble)
                    yield from differences(lead, values, place, f" ({form}) at layer {layer}", arithmetic)
                for r in {entry for row in distance for entry in row}:
                    values = {"pair weight": lambda _, r=r: xi(r)}
                    place = {**further, Symbol("r", nonnegative=True): balls.to_ball(r)}
                    yield from differences(weight, values, place, " (weight)", arithmetic)

        return MEASURES[arithmetic](parts())


def expectation(ensemble: Ensemble) -> dict[Any, Any]:
    """The probabilities of the points."""
    from theory.core.notation import Expect

    return {Expect: [balls.to_ball(p) for p in ensemble.p]}


def weighted_roles(ensemble: Ensemble, layer: int, xi: Callable[[Any], Any]) -> dict[str, Callable[..., Any]]:
    """Values at the points of an expectation."""
    means = [_balls(mean) for mean in ensemble.mean_connections(layer)]
    outputs = [_balls(output) for output in ensemble.mean_outputs]
    return {
        "residue": lambda _: np.vectorize(balls.to_ball, otypes=[object])(np.zeros((len(means[0]), 1))),
        "pair weight": lambda _: xi,
        "mean connection": lambda at: lambda points: means[points[at["point"]]],
        "mean output": lambda at: lambda points: outputs[points[at["point"]]],
        "weights": lambda _: _balls(ensemble.towers[0][0].weights[layer - 1]),
    }


def _balls(matrix: Array) -> Array:
    return np.vectorize(balls.to_ball, otypes=[object])(matrix)


def weighted(arithmetic: str, context: Context) -> Evidence:
    """Statement 4 on random populations without augmentation, all losses."""
    count = context.pick(quick=6, thorough=60)
    names = ("simple", "triplet", "infonce")
    found = [
        claim_of("weighted-covariance-operator", WEIGHTED_ROLES, loss=loss, negatives=1, form=form)
        for loss in names for form in ("operator", "general")
    ]  # fmt: skip
    drawn = samples.toy_populations(context.seed + 7, count, names, augmentations=1, layers=2)
    return evidence(
        arithmetic, found, drawn, partial(measure_weighted, arithmetic=arithmetic, device=context.device), count
    )
