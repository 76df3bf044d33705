r"""Theorem 4 [weighted-covariance-operator]: soft triplet and InfoNCE.

Statement
    ``-E[grad] = V^xi_{x,x'}[Kbar_l(x) - Kbar_l(x')] vec W_l + theta`` (shared) with ``xi(r) = sigmoid((r_0 - r)/tau)`` for the
    soft triplet and ``exp(-r/tau) / (1 + exp(-r/tau))`` for InfoNCE with H = 1. theta vanishes with the augmentation: it is
    of second order in the spread when r is measured between augmentation means, of first order in general when it is
    measured between unaugmented points.
Assumptions
    As Theorem 3; gates that do not flip within the augmentations of a point; tau > 0.
Evidence
    Symbolic: expansion in the spread. Exact: without augmentation theta is 0, enclosed in balls; with it, the local
    order of theta is enclosed. Float: automatic differentiation; exponents fitted with confidence intervals.
Not covered
    Gates that flip within the augmentations of a point; the size of theta at large spread.
Source
    arXiv 2010.00578, Theorem 4; the second order goes beyond the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np

from verify import balls, rounding, sources
from verify.ensembles import exact_ensemble, float_ensemble
from verify.evidence import Evidence, Measurement, tally
from verify.general import weighted_general_evidence
from verify.instance import PopulationInstance
from verify.proofs import proof_evidence
from verify.residue import certified_order, exact_distances, fitted_order, judge_certified
from verify.search import property_evidence
from verify.statement import Check, Context, Statement, Variant
from verify.tensors import arrays_of, population_of, weights_of
from verify.towers import Array, largest, vec

SLUG = "weighted-covariance-operator"
LOSSES = ("triplet", "infonce")
BITS = 192

Weights = Callable[[str, Sequence[Any], Any, Any, Callable[[Any], Any]], list[Any]]


def stated_weights(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Callable[[Any], Any]) -> list[Any]:
    """xi_k at the distances r_1 .. r_H: the derivative of the loss by r_+ at r_+ = 0."""
    if loss == "simple":
        return [tau / tau]
    if loss == "triplet":
        pull = exp((margin - r[0]) / tau)
        return [pull / (1 + pull)]
    pulls = [exp(-distance / tau) for distance in r]
    total = sum(pulls, pulls[0] * 0 + 1)
    return [pull / total for pull in pulls]


@dataclass(frozen=True)
class Claim:
    """A formula for -E[grad] (factor, weights) and, for populations with augmentation, the claimed order of theta."""

    weights: Weights = stated_weights
    factor: float = 1.0
    distances: str = "means"
    order: int = 2


STATED = Claim()


def unweighted(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Callable[[Any], Any]) -> list[Any]:
    """xi = 1."""
    return [tau / tau for _ in r]


def wrong_sign(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Callable[[Any], Any]) -> list[Any]:
    """xi(-r): far pairs weighted most."""
    return stated_weights(loss, [-distance for distance in r], tau, margin, exp)


def doubled_distance(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Callable[[Any], Any]) -> list[Any]:
    """xi(2 r): the squared distance without its 1/2."""
    return stated_weights(loss, [distance * 2 for distance in r], tau, margin, exp)


def inverted_temperature(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Callable[[Any], Any]) -> list[Any]:
    """tau in place of 1/tau."""
    return stated_weights(loss, r, 1 / tau, margin, exp)


def without_margin(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Callable[[Any], Any]) -> list[Any]:
    """r_0 left out."""
    return stated_weights(loss, r, tau, margin * 0, exp)


def without_one(loss: str, r: Sequence[Any], tau: Any, margin: Any, exp: Callable[[Any], Any]) -> list[Any]:
    """exp(-r/tau) without its denominator."""
    return [exp((margin - distance) / tau) for distance in r]


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
        "second-order-between-points", "theta of second order with r between unaugmented points",
        Claim(distances="points"), ("exact",),
    ),
    Variant("third-order", "theta of third order with r between augmentation means", Claim(order=3), ("exact",)),
)  # fmt: skip


def operator_update(
    means: Sequence[Array], outputs: Sequence[Array], p: Sequence[Any], w: Array, weights: Callable[[list[Any]], list[Any]], h: int
) -> Array:
    """E over x and x'_1 .. x'_H of sum_k xi_k (Kbar - Kbar_k)(Kbar - Kbar_k)^T vec W, for any H, by enumeration."""
    total = (means[0] @ (means[0].T @ w)) * 0
    distance = [[half_square(a - b) for b in outputs] for a in outputs]
    differences = {}
    for m, n in product(range(len(means)), repeat=2):
        gap = means[m] - means[n]
        differences[m, n] = gap @ (gap.T @ w)
    for m in range(len(means)):
        for chosen in product(range(len(means)), repeat=h):
            joint = p[m]
            for n in chosen:
                joint = joint * p[n]
            for n, xi in zip(chosen, weights([distance[m][n] for n in chosen]), strict=True):
                total = total + differences[m, n] * (joint * xi)
    return total


def half_square(difference: Array) -> Any:
    """1/2 ||difference||^2 in any arithmetic."""
    return (difference * difference).sum() / 2


def negatives(instance: PopulationInstance) -> int:
    """H."""
    return int(dict(instance.parameters).get("negatives", 1))


def certified_right(claim: Claim, instance: PopulationInstance, layer: int, distances: str) -> Array:
    """Balls of the claimed -E[grad] of a layer; probabilities and connections are exact rationals."""
    ensemble = exact_ensemble(instance)
    parameters = dict(instance.parameters)
    tau, margin = (balls.to_ball(parameters.get(k, d)) for k, d in (("tau", 0.1), ("margin", 0.0)))

    def weights(r: list[Any]) -> list[Any]:
        return claim.weights(instance.loss, [balls.to_ball(v) for v in r], tau, margin, lambda v: v.exp())

    outputs = exact_distances(instance, distances)
    means = ensemble.mean_connections(layer)
    return operator_update(
        means, outputs, ensemble.p, ensemble.weights(layer), weights, negatives(instance)
    ) * balls.to_ball(claim.factor)


def measure_exact(instance: PopulationInstance, claim: Claim | None = None) -> Measurement:
    """Certified: theta = 0 without augmentation; the local order of theta with it.

    A claim that changes the formula is measured without augmentation, one that changes the order with it.
    """
    claim = claim or STATED
    augmented = len(instance.points[0]) > 1
    about_order = (claim.distances, claim.order) != (STATED.distances, STATED.order)
    if claim is not STATED and augmented != about_order:
        return Measurement(0.0, 0.0, False, "the claim is not about this population")
    if augmented:
        found = certified_order(instance, partial(certified_right, claim), claim.distances)
        return judge_certified(found, claim.order)
    gradient = balls.expected_gradient(instance, BITS)
    worst = Measurement(0.0, balls.RADIUS)
    with balls.precision(BITS):
        for layer, left in enumerate(gradient, start=1):
            for entry in vec(left) + certified_right(claim, instance, layer, "means"):
                if not entry.contains(0):
                    return Measurement(largest_ball(entry), 0.0, detail=f"layer {layer}")
                radius = balls.widest([entry])
                if not radius < balls.RADIUS:
                    return Measurement(radius, balls.RADIUS, False, "a ball is too wide")
                worst = max(worst, Measurement(radius, balls.RADIUS), key=lambda found: found.residual)
    return worst


def largest_ball(entry: Any) -> float:
    """Size of a ball that excludes zero; never zero as a float."""
    return max(float(abs(entry).mid()), 5e-324)


@lru_cache(maxsize=512)
def left_side(instance: PopulationInstance, device: str) -> tuple[list[Array], list[Array], bool]:
    """-E[grad] by automatic differentiation, the bounds per layer, and whether a gate is near its kink."""
    import numeric

    population = population_of(instance, device)
    update = numeric.population_gradient(
        weights_of(instance, device), population, instance.loss, instance.slope, **dict(instance.parameters)
    )
    lipschitz = 0.0 if instance.loss == "simple" else 1.0 / dict(instance.parameters).get("tau", 0.1)
    bounds, near = rounding.population_bounds(
        [np.asarray(w) for w in instance.weights],
        np.asarray(instance.points),
        population.point_weights.cpu().numpy(),
        population.augmentation_weights.cpu().numpy(),
        instance.slope,
        lipschitz=lipschitz * negatives(instance),
    )
    return arrays_of(update), [bound * negatives(instance) for bound in bounds], near


def right_side(instance: PopulationInstance, claim: Claim, device: str) -> list[Array]:
    """The claimed -E[grad]: by `numeric` for the statement itself, by enumeration for a variant."""
    import numeric

    if claim is STATED:
        return arrays_of(
            numeric.predicted_update(
                weights_of(instance, device), population_of(instance, device), instance.loss, instance.slope,
                **dict(instance.parameters),
            )
        )  # fmt: skip
    ensemble = float_ensemble(instance, device)
    parameters = dict(instance.parameters)
    tau, margin = parameters.get("tau", 0.1), parameters.get("margin", 0.0)
    found = []
    for layer in range(1, ensemble.depth + 1):
        update = operator_update(
            ensemble.mean_connections(layer), ensemble.mean_outputs, ensemble.p, ensemble.weights(layer),
            lambda r: claim.weights(instance.loss, r, tau, margin, np.exp), negatives(instance),
        )  # fmt: skip
        rows, columns = np.asarray(instance.weights[layer - 1]).shape
        found.append(claim.factor * update.reshape(columns, rows).T)
    return found


def measure_float(instance: PopulationInstance, claim: Claim | None = None, device: str = "cpu") -> Measurement:
    """Automatic differentiation against the operator in float64, on populations without augmentation (theta = 0)."""
    claim = claim or STATED
    if len(instance.points[0]) > 1:
        return Measurement(0.0, 0.0, False, "theta does not vanish: see the fitted order")
    update, bounds, near = left_side(instance, device)
    worst = Measurement(0.0, float(max(b.max() for b in bounds)))
    for layer, (left, right, bound) in enumerate(zip(update, right_side(instance, claim, device), bounds, strict=True), 1):
        worst = rounding.worse(worst, np.abs(left - right), bound, f"layer {layer}")
    return worst if not near else Measurement(worst.residual, worst.tolerance, False, "a gate is near its kink")


def symbolic(context: Context) -> Evidence:
    """Both losses, both ways of measuring r."""
    return proof_evidence(
        SLUG, [{"loss": loss, "distances": distances} for loss in LOSSES for distances in ("means", "points")]
    )


def exact(context: Context) -> Evidence:
    """Without augmentation: theta enclosed in balls around zero, several negatives included."""
    count = context.pick(quick=24, thorough=300)
    instances = sources.toy_populations(
        context.seed, count, LOSSES, augmentations=1, layers=2, max_negatives=3
    )  # fmt: skip
    return tally(
        "exact", "toy", instances, measure_exact,
        at_least=count, detail="no augmentation: -E[grad] - V^xi vec W enclosed in balls around 0, radius below 1e-30",
    )  # fmt: skip


def certified_orders(context: Context) -> Evidence:
    """With augmentation: the local order of theta, enclosed."""
    count = context.pick(quick=16, thorough=120)
    instances = sources.toy_populations(context.seed + 3, count, LOSSES, augmentations=2, layers=2, points=2)
    return tally(
        "exact", "toy", instances, measure_exact,
        at_least=count // 3, detail="enclosed local order of theta at spread factor 2^-20, r between means: above 3/2",
    )  # fmt: skip


def floats(source: str, context: Context) -> Evidence:
    """Automatic differentiation in float64 on toys, tree leaves and digits, without augmentation."""
    count = {"toy": context.pick(quick=30, thorough=400), "tree": 6, "digits": 4}[source]
    instances = {
        "toy": lambda: sources.toy_populations(
            context.seed + 1, count, LOSSES, points=5, augmentations=1, layers=4, width=6, max_negatives=3
        ),
        "tree": lambda: (flattened(i) for i in sources.tree_populations(context.seed, count, LOSSES)),
        "digits": lambda: sources.digit_populations(context.seed, count, LOSSES, images=64, augmentations=1),
    }[source]()
    return tally(
        "float", source, instances, lambda i: measure_float(i, device=context.device),
        at_least=-(-count // 2), detail="no augmentation: autograd of the literal sum = V^xi vec W",
    )  # fmt: skip


def flattened(instance: PopulationInstance) -> PopulationInstance:
    """Every augmented point as a point of its own, without augmentation, the likeliest sixteen, weights renormalised."""
    p, q = instance.point_weights or (), instance.augmentation_weights or ()
    rows = [(pm * w, x) for pm, row, point in zip(p, q, instance.points, strict=True) for w, x in zip(row, point, strict=True)]
    rows = sorted(rows, reverse=True)[:16]
    total = sum(weight for weight, _ in rows)
    return replace(
        instance,
        points=tuple((x,) for _, x in rows),
        point_weights=tuple(weight / total for weight, _ in rows),
        augmentation_weights=tuple((1.0,) for _ in rows),
    )


def orders(distances: str, claimed: int, source: str, context: Context) -> Evidence:
    """Fitted exponents of theta on toys or digits."""
    wanted = {"toy": context.pick(quick=24, thorough=60), "digits": context.pick(quick=12, thorough=24)}[source]
    instances = {
        "toy": lambda: sources.smooth_populations(context.seed + 5, 20 * wanted, LOSSES),
        "digits": lambda: sources.digit_populations(
            context.seed + 5, 20 * wanted, LOSSES, images=10, augmentations=4, widths=(64, 6, 4)
        ),
    }[source]()
    return fitted_order(instances, distances, claimed, source=source, wanted=wanted, device=context.device)


def instances(layers: int, width: int, negatives: int) -> Any:
    """Hypothesis strategy of networks, populations and losses up to that size; half of them without augmentation."""
    from hypothesis import strategies as st

    from verify.strategies import population_instances

    size: dict[str, Any] = {"max_layers": layers, "max_width": width}
    return st.one_of(
        population_instances(LOSSES, max_augmentations=1, max_negatives=negatives, **size),
        population_instances(LOSSES, max_points=2, max_augmentations=2, **size),
    )


STAGES = tuple(partial(instances, *size, 1 + (size[1] > 2)) for size in sources.SIZES[:-1])


def properties(context: Context) -> Evidence:
    """Hypothesis search for a counterexample, certified and in floating point."""
    return property_evidence(
        {"exact": measure_exact, "float": lambda i: measure_float(i, device=context.device)},
        STAGES,
        examples=context.pick(quick=80, thorough=1500),
        seed=context.seed,
        detail="no counterexample among shrinking networks, populations and losses",
    )


STATEMENT = Statement(
    slug=SLUG,
    theorem=4,
    title="soft triplet and InfoNCE: the weighted covariance operator",
    claim=r"-\mathbb{E}\,\nabla_{W_l} L = \mathbb{V}^{\xi}_{x,x'}\bigl[\bar K_l(x) - \bar K_l(x')\bigr]\,\mathrm{vec}\,W_l"
    r" + \theta,\quad \|\theta\| = O(\sigma^2)",
    assumptions=(
        "x_1, x_+ independent augmentations of x; negatives augmentations of independent points",
        "homogeneous network",
        "no gate flips within the augmentations of a point",
        "r between augmentation means for the second order",
    ),
    not_covered=("gates that flip within the augmentations of a point", "the size of theta at large spread"),
    source="arXiv 2010.00578, Theorem 4",
    checks=(
        Check("symbolic", "proof", symbolic),
        Check("exact", "toy", exact),
        Check("exact", "toy, order", certified_orders),
        Check("float", "toy", partial(floats, "toy")),
        Check("float", "tree", partial(floats, "tree")),
        Check("float", "digits", partial(floats, "digits")),
        Check("float", "toy, order 2", partial(orders, "means", 2, "toy")),
        Check("float", "toy, order 1", partial(orders, "points", 1, "toy")),
        Check("float", "digits, order 2", partial(orders, "means", 2, "digits")),
        Check("float", "digits, order 1", partial(orders, "points", 1, "digits")),
        Check("float", "toy, tree, digits, general", weighted_general_evidence),
        Check("property", "search", properties),
    ),
    stages=STAGES,
    measures={"exact": measure_exact, "float": measure_float},
    instance_type=PopulationInstance,
    variants=VARIANTS,
)

if __name__ == "__main__":
    from verify.cli import run_statement

    run_statement(SLUG)
