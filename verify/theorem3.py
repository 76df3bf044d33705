r"""Theorem 3 [covariance-operator]: the simple loss.

Statement
    ``-E[grad_{W_l} L_simp] = 2 V_x[Kbar_l(x)] vec W_l`` when the gradient flows through every tower (shared), and half
    of it when it flows through x_1 only (one-branch), exactly on every finite population. For every differentiable
    network, ``-E[grad] = 2 Cov_x[Kbar_l(x), fbar_L(x)]``; the operator form needs f_L = K_l^T vec W_l.
Assumptions
    x_1 and x_+ are independent augmentations of the same point, the negative an augmentation of an independent point;
    the network is homogeneous (no biases, piecewise linear) for the operator form.
Evidence
    Symbolic: an algebra of expectations over independent copies. Exact: the expected loss in rationals, differentiated
    by central differences, residual 0. Float: automatic differentiation of the literal sum against `numeric`. Trained:
    every checkpoint of descent; the error of a minibatch update falls as B^(-1/2); descent and SGD follow the flow of
    the operator up to first order in the learning rate.
Not covered
    The law of a minibatch update beyond its mean and the rate of its error.
Source
    arXiv 2010.00578, Theorem 3; the general form goes beyond the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numeric
from verify.engine import kernel
from verify.engine.assumptions import names
from verify.engine.claims import Claimed
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import right, rows_stacked, times, without_assumption
from verify.engine.runner import proof_evidence
from verify.engine.search import searched
from verify.engine.statement import Check, Context, PaperRelation, Statement, Variant
from verify.instances import samples
from verify.instances.in_torch import arrays_of, population_of, weights_of
from verify.instances.instance import PopulationInstance, SimplePopulationInstance
from verify.strategies import population_instances
from verify.tolerance import rounding
from verify.towers import relations, tower
from verify.towers.assumptions import SIMPLE
from verify.towers.autograd import compare, compare_scheme, matrices, operator_updates
from verify.towers.population import (
    Connection,
    Ensemble,
    exact_ensemble,
    float_ensemble,
    simple_loss_gradient,
    weighted_sum,
)
from verify.towers.residue import general_evidence
from verify.towers.tower import Array, connection, measure_differences, vec
from verify.training import figures, towers

SLUG = "covariance-operator"


@dataclass(frozen=True)
class Claim:
    """A formula for -E[grad] of one layer, and the sampling scheme under which it is claimed."""

    formula: Callable[[Ensemble, int], Array]
    scheme: str = "stated"


def covariance(values: list[Array], p: Any, v: Array) -> Array:
    """(E[A A^T] - E[A] E[A]^T) v for matrices A with probabilities p."""
    mean = weighted_sum(values, p)
    return weighted_sum([a @ (a.T @ v) for a in values], p) - mean @ (mean.T @ v)


def stated(ensemble: Ensemble, layer: int) -> Array:
    """2 V_x[Kbar_l] vec W_l."""
    return covariance(ensemble.mean_connections(layer), ensemble.p, ensemble.weights(layer)) * 2


def with_connection(k: Connection) -> Callable[[Ensemble, int], Array]:
    """The formula with another definition of the connection."""
    return lambda ensemble, layer: (
        covariance(ensemble.mean_connections(layer, k), ensemble.p, ensemble.weights(layer)) * 2
    )


def scaled(factor: int, divisor: int = 1) -> Callable[[Ensemble, int], Array]:
    """The formula with another factor in place of 2."""
    return lambda ensemble, layer: stated(ensemble, layer) * factor / (2 * divisor)


def not_averaged(ensemble: Ensemble, layer: int) -> Array:
    """2 V[K] vec W: the variance over augmented inputs, without averaging over augmentations."""
    towers = [one for row in ensemble.towers for one in row]
    joint = [w * v for w, row in zip(ensemble.p, ensemble.q, strict=True) for v in row]
    return covariance([connection(t, layer) for t in towers], joint, ensemble.weights(layer)) * 2


def second_moment(ensemble: Ensemble, layer: int) -> Array:
    """2 E[Kbar Kbar^T] vec W: the product of the means left out."""
    values = ensemble.mean_connections(layer)
    return weighted_sum([a @ (a.T @ ensemble.weights(layer)) for a in values], ensemble.p) * 2


def uniform_points(ensemble: Ensemble, layer: int) -> Array:
    """Every point weighted alike."""
    values = ensemble.mean_connections(layer)
    share = [(p * 0 + 1) / len(values) for p in ensemble.p]
    return covariance(values, share, ensemble.weights(layer)) * 2


def row_stacked(ensemble: Ensemble, layer: int) -> Array:
    """vec by rows with the connection of the columns."""
    values = ensemble.mean_connections(layer)
    return covariance(values, ensemble.p, tower.row_stacked(ensemble.towers[0][0], layer)) * 2


ONE_SYMBOL = "what the operator is made of changes, which the claim has one symbol for"

VARIANTS = (
    Variant("not-averaged", "V[K] in place of V[Kbar]", Claim(not_averaged), rewrite=ONE_SYMBOL),
    Variant("second-moment", "E[Kbar Kbar^T] in place of the covariance", Claim(second_moment), rewrite=ONE_SYMBOL),
    Variant("factor-two-missing", "V vec W for the shared gradient", Claim(scaled(1)), rewrite=times(Fraction(1, 2))),
    Variant("factor-two-doubled", "4 V vec W for the shared gradient", Claim(scaled(4)), rewrite=times(2)),
    Variant("sign", "-2 V vec W: descent taken for ascent", Claim(scaled(-2)), rewrite=times(-1)),
    Variant("uniform-points", "point weights left out of the covariance", Claim(uniform_points), rewrite=ONE_SYMBOL),
    Variant(
        "kronecker-order",
        "K = J^T kron f in place of f kron J^T",
        Claim(with_connection(tower.swapped)),
        rewrite=ONE_SYMBOL,
    ),
    Variant("row-stacking", "vec by rows in place of columns", Claim(row_stacked), rewrite=right(rows_stacked)),
    Variant(
        "dependent-augmentations",
        "x_1 and x_+ share one augmentation",
        Claim(stated, "dependent-augmentations"),
        rewrite=without_assumption("x_1 and x_+ are independent given x"),
    ),
    Variant(
        "x1-not-augmented",
        "x_1 is shown without augmentation",
        Claim(stated, "x1-not-augmented"),
        rewrite=without_assumption("x_1 is an augmentation of x, of the same law as x_+"),
    ),
)


def measure_exact(instance: PopulationInstance, claim: Claim | None = None) -> Measurement:
    """Central differences of the expected simple loss against the formula, in rationals."""
    claim = claim or Claim(stated)
    gradient, kinked = simple_loss_gradient(instance, claim.scheme)
    ensemble = exact_ensemble(instance)
    sides = ((layer, claim.formula(ensemble, layer), -vec(left)) for layer, left in enumerate(gradient, start=1))
    return measure_differences(
        (right - left, f"layer {layer}{' on a kink' if kinked else ''}", left, right) for layer, left, right in sides
    )


def right_sides(instance: PopulationInstance, claim: Claim | None, device: str) -> dict[str, list[Array]]:
    """Matrices that should equal -E[grad]: by `numeric` for the statement itself, by the formula for a variant."""
    if claim is not None:
        ensemble = float_ensemble(instance, device)
        columns = [claim.formula(ensemble, layer) for layer in range(1, ensemble.depth + 1)]
        return {"formula": matrices(instance, columns)}
    return operator_updates(instance, device)


@rounding.quiet
def measure_float(instance: PopulationInstance, claim: Claim | None = None, device: str = "cpu") -> Measurement:
    """Automatic differentiation of the literal expected loss against the operator, in float64."""
    if claim is not None and claim.scheme != "stated":
        return compare_scheme(instance, claim.scheme, right_sides(instance, claim, device)["formula"], device)
    return compare(instance, right_sides(instance, claim, device), device)


def symbolic(context: Context) -> Evidence:
    """Both conventions, and the general form."""
    options = [
        {"convention": convention, "form": form}
        for convention in ("shared", "one-branch")
        for form in ("operator", "general")
    ]
    return proof_evidence(SLUG, options)


def exact(context: Context) -> Evidence:
    """Random rational populations: residual exactly zero."""
    count = context.pick(quick=40, thorough=500)
    return tally(
        "exact", "toy", samples.toy_populations(context.seed, count), measure_exact,
        at_least=count, detail="central differences of E[r_+ - r_-] in rationals = -2 V_x[Kbar] vec W",
    )  # fmt: skip


def floats(source: str, context: Context) -> Evidence:
    """Automatic differentiation in float64 on toys, tree populations or digits."""
    count = {"toy": context.pick(quick=40, thorough=600), "tree": 6, "digits": 3}[source]
    instances = {
        "toy": lambda: samples.toy_populations(context.seed + 1, count, points=5, layers=4, width=6),
        "tree": lambda: samples.tree_populations(context.seed, count),
        "digits": lambda: samples.digit_populations(context.seed, count),
    }[source]()
    return tally(
        "float", source, instances, lambda i: measure_float(i, device=context.device),
        at_least=-(-count // 2), detail="autograd of the literal sum = 2 V_x[Kbar] vec W",
    )  # fmt: skip


def one_branch(context: Context) -> Evidence:
    """The one-branch update, through x_1 only, is half of the shared one (simple loss)."""
    count = context.pick(quick=20, thorough=200)
    return tally(
        "float", "toy, one-branch", samples.toy_populations(context.seed + 6, count, points=4, layers=3, width=4),
        lambda i: measure_one_branch(i, context.device),
        at_least=count // 2, detail="autograd through x_1 alone = V_x[Kbar] vec W",
    )  # fmt: skip


def measure_one_branch(instance: PopulationInstance, device: str = "cpu") -> Measurement:
    """Twice the gradient through x_1 alone against the shared update."""
    weights, population = weights_of(instance, device), population_of(instance, device)
    half = numeric.population_gradient(weights, population, "simple", instance.slope, convention="one-branch")
    return compare(instance, {"twice the one-branch update": [2 * side for side in arrays_of(half)]}, device)


STAGES: tuple[Callable[[], Any], ...] = (
    *(
        partial(population_instances, max_layers=layers, max_width=width, max_points=min(width + 1, 3))
        for layers, width in samples.SIZES[:-1]
    ),
    population_instances,
)
properties = searched(
    measure_exact, measure_float, STAGES, quick=80, thorough=2000, among="shrinking networks and populations"
)


CLAIMED = Claimed(
    SLUG, lambda: [{"convention": name, "form": "operator"} for name in ("shared", "one-branch")], named="convention"
)
STATEMENT = Statement(
    slug=SLUG,
    theorem=3,
    title="simple loss: the covariance operator",
    stated=CLAIMED,
    assumptions=names(SIMPLE),
    not_covered=("the law of a minibatch update beyond its mean and the rate of its error",),
    source="arXiv 2010.00578, Theorem 3",
    relation_to_paper=PaperRelation(
        "sharpened",
        "the printed operator is the one-branch update, the shared one is twice it; the general form is added",
        "public abstract: each update is by a covariance operator; number, factor and formula from the project's notes",
        "medium",
    ),
    checks=(
        Check("symbolic", "proof", symbolic),
        Check("kernel", "theorem", partial(kernel.theorems, SLUG)),
        Check("kernel", "identities", partial(kernel.identities, SLUG)),
        Check("exact", "toy", exact),
        Check("exact", "claim", partial(relations.simple, "rational")),
        Check("float", "claim", partial(relations.simple, "float64")),
        *(Check("float", source, partial(floats, source)) for source in ("toy", "tree", "digits")),
        Check("float", "toy, one-branch", one_branch),
        Check("float", "toy, general", general_evidence),
        Check("property", "search", properties),
        Check("trained", "descent", towers.simple),
        Check("trained", "tree, minibatches", towers.minibatches),
        Check("trained", "tree, trajectory", towers.trajectories),
        Check("trained", "tree, SGD trajectory", towers.noisy_trajectories),
    ),
    stages=STAGES,
    measures={"exact": measure_exact, "float": measure_float},
    instance_type=SimplePopulationInstance,
    variants=VARIANTS,
    drops=SIMPLE,
    figures=figures.minibatches,
)

if __name__ == "__main__":
    from verify.cli import run_statement

    run_statement(SLUG)
