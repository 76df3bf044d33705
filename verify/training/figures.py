"""Data of the figures of statements 3 and 4: errors of minibatch updates against B, the residue against the spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import hltm
from verify.engine.statement import Context, command
from verify.figures.data import FigureData, table
from verify.instances import samples
from verify.tolerance.statistics import Interval, local_exponent, mean_interval
from verify.towers import rates as trained_rates
from verify.towers import residue
from verify.training.trees import population_of

if TYPE_CHECKING:
    from torch import Tensor

    from numeric import TreeNetwork

LEVEL = 0.95
BATCHES = (4, 16, 64, 256, 1024)
WIDTH, STEPS = 4, 100
DISTANCES = {"means": ("r between augmentation means", 2), "points": ("r between unaugmented points", 1)}


def order_facts(name: str, found: Interval, stated: float) -> dict[str, float]:
    """A fitted order with its interval, and the stated one."""
    keys = ("", ", low", ", high", ", stated")
    return {
        f"order, {name}{key}": value
        for key, value in zip(keys, (found.estimate, found.low, found.high, stated), strict=True)
    }


def residues(context: Context) -> tuple[FigureData, ...]:
    """Theta against the augmentation's spread on Gaussian populations, r between means and between points."""
    wanted = context.pick(quick=9, thorough=48)
    rows: list[tuple[Any, ...]] = []
    exponents: dict[str, list[float]] = {name: [] for name, _ in DISTANCES.values()}
    member = 0
    for instance in samples.smooth_populations(context.seed + 5, 20 * wanted, ("triplet", "infonce")):
        ways = [residue.residues(instance, way, context.device, residue.operator_sides) for way in DISTANCES]
        found = [one for one in ways if one is not None and one[1].min() >= residue.VANISHING]
        if len(found) < len(ways):
            continue
        for (name, _), one in zip(DISTANCES.values(), found, strict=True):
            exponents[name].append(local_exponent(*one))
            rows += [(name, member, instance.loss, *map(float, point)) for point in zip(*one, strict=True)]
        member += 1
        if member == wanted:
            break
    facts: dict[str, float | int | str] = {"populations": member, "level": LEVEL}
    for name, stated in DISTANCES.values():
        facts |= order_facts(name, mean_interval(exponents[name], LEVEL), stated)
    caption = (
        f"theta = -E[grad] - V^xi vec W on {member} Gaussian populations (soft triplet and InfoNCE; ReLU, leaky ReLU "
        "and linear), augmentations pulled towards their point. Thin lines: one population each; thick: their mean. "
        "Orders are fitted population by population with a first-order correction; in brackets the Student interval "
        f"({LEVEL:.0%}) of their mean. Every value is a finite sum, without sampling error; dotted: the stated slopes."
    )
    columns = table(("series", "member", "loss", "spread", "theta"), rows)
    title = "The residue of Theorem 4 against the augmentation's spread"
    orders = {name: facts[f"order, {name}"] for name, _ in DISTANCES.values()}
    alt = "Straight lines on logarithmic axes: " + ", ".join(f"slope {k:.3f} with {name}" for name, k in orders.items())
    return (FigureData("residue-orders", "residue", title, caption, columns, facts, command(4, context), f"{alt}."),)


def minibatches(context: Context) -> tuple[FigureData, ...]:
    """Errors of minibatch updates of the simple loss against the operator, which is enumerated on 8 leaves."""
    import numeric

    seed = samples.derived(context.seed, "figure, minibatches")
    tree = hltm.complete_tree(3, 2, (0.7, 1.0), seed=seed)
    start = numeric.TreeNetwork(tree, WIDTH, 0.0, "linear", seed, device=context.device)
    trace = numeric.train(start, tree, "triplet", tau=0.5, lr=0.05, batch=64, steps=STEPS, seed=seed)
    rows: list[tuple[Any, ...]] = []
    facts: dict[str, float | int | str] = {"minibatches at each B": trained_rates.MEMBERS, "level": LEVEL}
    for name, network in (("initial weights", start), ("trained weights", trace.network)):
        truth = exact_update(network)
        draws = [samples.derived(context.seed, f"figure, {name} {batch}") for batch in BATCHES]
        sizes = [trained_rates.minibatch_errors(network, truth, *one) for one in zip(BATCHES, draws, strict=True)]
        slopes = np.polyfit(np.log(BATCHES), np.log(np.stack(sizes)), 1)[0]
        facts |= order_facts(name, mean_interval(slopes.tolist(), LEVEL), -0.5)
        for batch, errors in zip(BATCHES, sizes, strict=True):
            rows += [(name, member, batch, float(error)) for member, error in enumerate(errors)]
    caption = (
        f"Distance of the update of a minibatch (simple loss, one step of SGD) from 2 Cov_x[Kbar, fbar], enumerated on "
        f"a tree of 8 leaves, at the initial weights and after {STEPS} steps of training (seed {context.seed}). Small "
        f"markers: {trained_rates.MEMBERS} minibatches at each B; large: their geometric mean. Order: mean slope of "
        f"{trained_rates.MEMBERS} independent fits, in brackets its Student interval ({LEVEL:.0%}); dotted: B^(-1/2). "
        "The two series are drawn slightly apart."
    )
    columns = table(("series", "member", "batch", "error"), rows)
    title = "The error of a minibatch update falls as B^(-1/2)"
    orders = {name: facts[f"order, {name}"] for name in ("initial weights", "trained weights")}
    alt = "Falling lines on logarithmic axes: " + ", ".join(f"slope {k:.3f} at {name}" for name, k in orders.items())
    return (FigureData("minibatch-error", "minibatch", title, caption, columns, facts, command(3, context), f"{alt}."),)


def exact_update(network: TreeNetwork) -> list[Tensor]:
    """``2 Cov_x[Kbar_mu, fbar_L]`` over the enumerated leaves, in the blocks of the network's parameters."""
    import numeric

    update = numeric.tree_update(network, population_of(network))
    found = [block.new_empty(block.shape) for block in network.parameters]
    for node, target in network.with_parameters(found).weights.items():
        target.copy_(update[node])
    return found
