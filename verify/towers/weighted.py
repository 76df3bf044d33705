"""The right side of statement 4 in any arithmetic: pair weights, true and false, and the operator that they make.

`xi` is the derivative of a loss by r_+ at r_+ = 0. The functions take ``(loss, r_1 .. r_H, tau, margin, exp)`` and give
one weight for each negative, so that the same formula serves float64 and balls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from flint import fmpq

from verify.engine.statement import Variant
from verify.instances.instance import PopulationInstance
from verify.towers import balls
from verify.towers.autograd import matrices
from verify.towers.population import Ensemble, float_ensemble
from verify.towers.tower import Array

Exp = Callable[[Any], Any]
Weights = Callable[[str, Sequence[Any], Any, Any, Exp], list[Any]]


def stated_weights(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Exp) -> list[Any]:
    """xi_k at the distances r_1 .. r_H."""
    if loss == "simple":
        return [tau / tau]
    if loss == "triplet":
        pull = exp((margin - r[0]) / tau)
        return [pull / (1 + pull)]
    pulls = [exp(-distance / tau) for distance in r]
    total = sum(pulls, pulls[0] * 0 + 1)
    return [pull / total for pull in pulls]


def unweighted(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Exp) -> list[Any]:
    """xi = 1."""
    return [tau / tau for _ in r]


def wrong_sign(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Exp) -> list[Any]:
    """xi(-r): far pairs weighted most."""
    return stated_weights(loss, [-distance for distance in r], tau, margin, exp)


def doubled_distance(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Exp) -> list[Any]:
    """xi(2 r): the squared distance without its 1/2."""
    return stated_weights(loss, [distance * 2 for distance in r], tau, margin, exp)


def inverted_temperature(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Exp) -> list[Any]:
    """tau in place of 1/tau."""
    return stated_weights(loss, r, 1 / tau, margin, exp)


def without_margin(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Exp) -> list[Any]:
    """r_0 left out."""
    return stated_weights(loss, r, tau, margin * 0, exp)


def without_one(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Exp) -> list[Any]:
    """exp(-r/tau) without its denominator."""
    return [exp((margin - distance) / tau) for distance in r]


@dataclass(frozen=True)
class Claim:
    """A formula for -E[grad] (factor, weights) and, for populations with augmentation, the claimed order of theta."""

    weights: Weights = stated_weights
    factor: float = 1.0
    distances: str = "means"
    order: int = 2

    @property
    def about_order(self) -> bool:
        """Whether the claim changes what is said of theta, and not the formula."""
        return (self.distances, self.order) != ("means", 2)


STATED = Claim()

VARIANTS = (
    Variant("unweighted", "V in place of V^xi", Claim(unweighted)),
    Variant("xi-wrong-sign", "xi(-r) in place of xi(r)", Claim(wrong_sign)),
    Variant("xi-of-two-r", "xi(2r): r without its 1/2", Claim(doubled_distance)),
    Variant("tau-inverted", "r tau in place of r / tau", Claim(inverted_temperature)),
    Variant("xi-not-normalised", "exp(-r/tau) without 1 + exp(-r/tau)", Claim(without_one)),
    Variant("margin-dropped", "r_0 left out of xi", Claim(without_margin)),
    Variant("half-for-shared", "1/2 V^xi vec W for the shared gradient", Claim(factor=0.5)),
    Variant("doubled", "2 V^xi vec W for the shared gradient", Claim(factor=2.0)),
    Variant(
        "second-order-between-points",
        "theta of second order with r between unaugmented points",
        Claim(distances="points"),
    ),
    Variant("third-order", "theta of third order with r between augmentation means", Claim(order=3)),
)


def operator_update(
    means: Sequence[Array],
    outputs: Sequence[Array],
    p: Sequence[Any],
    w: Array,
    weights: Callable[[list[Any]], list[Any]],
    negatives: int,
) -> Array:
    """E over x and x'_1 .. x'_H of sum_k xi_k (Kbar - Kbar_k)(Kbar - Kbar_k)^T vec W, by enumeration.

    Parameters
    ----------
    means : list of M arrays (p, n_L)
        Kbar of every point.
    outputs : list of M arrays (n_L,)
        Between which r is measured.
    p : list of M
        Probabilities of the points.
    w : array (p,)
        vec W.
    """
    total = (means[0] @ (means[0].T @ w)) * 0
    distance = [[half_square(a - b) for b in outputs] for a in outputs]
    differences = {}
    for m, n in product(range(len(means)), repeat=2):
        gap = means[m] - means[n]
        differences[m, n] = gap @ (gap.T @ w)
    for m in range(len(means)):
        for chosen in product(range(len(means)), repeat=negatives):
            joint = p[m]
            for n in chosen:
                joint = joint * p[n]
            for n, xi in zip(chosen, weights([distance[m][n] for n in chosen]), strict=True):
                total = total + scaled(differences[m, n], joint * xi)
    return total


def scaled(vector: Array, factor: Any) -> Array:
    """Factor times vector; NumPy takes a power series for a list of its coefficients, so entry by entry."""
    if vector.dtype != object:
        return vector * factor
    found = np.empty(len(vector), dtype=object)
    found[:] = [entry * factor for entry in vector]
    return found


def half_square(difference: Array) -> Any:
    """1/2 ||difference||^2 in any arithmetic."""
    return (difference * difference).sum() / 2


def certified_right(
    claim: Claim, instance: PopulationInstance, ensemble: Ensemble, layer: int, outputs: Sequence[Array]
) -> Array:
    """The claimed -E[grad] of a layer, column-stacked, in balls or in power series over them.

    Parameters
    ----------
    ensemble : Ensemble
        Rational, or affine in the spread (`verify.towers.expansion`).
    outputs : list of M arrays (n_L,)
        Between which r is measured.
    """
    options = instance.options
    tau, margin = balls.to_ball(options.get("tau", 0.1)), balls.to_ball(options.get("margin", 0.0))

    def weights(r: list[Any]) -> list[Any]:
        return claim.weights(instance.loss, [in_balls(v) for v in r], tau, margin, lambda v: v.exp())

    means, w = ensemble.mean_connections(layer), ensemble.weights(layer)
    update = operator_update(means, outputs, ensemble.p, w, weights, instance.negatives)
    return update * balls.to_ball(claim.factor)


def in_balls(value: Any) -> Any:
    """An exact rational as a ball; balls and series as they are."""
    return balls.to_ball(value) if isinstance(value, fmpq) else value


def float_right(claim: Claim, instance: PopulationInstance, device: str) -> list[Array]:
    """The claimed -E[grad] of every layer in float64, by enumeration on the towers of `numeric`."""
    ensemble, options = float_ensemble(instance, device), instance.options
    tau, margin = options.get("tau", 0.1), options.get("margin", 0.0)
    columns = [
        operator_update(
            ensemble.mean_connections(layer),
            ensemble.mean_outputs,
            ensemble.p,
            ensemble.weights(layer),
            lambda r: claim.weights(instance.loss, r, tau, margin, np.exp),
            instance.negatives,
        )
        for layer in range(1, ensemble.depth + 1)
    ]
    return [claim.factor * update for update in matrices(instance, columns)]
