"""Data of the figure of statement 7: the initial gap of a neuron against its selectivity after training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.engine.statement import Context, command
from verify.figures.data import FigureData
from verify.training.lucky import amplification, gaps, hidden, selectivities

if TYPE_CHECKING:
    from verify.training.lucky import Plan, Training

LEVEL = 0.95


def lucky(training: Training, plan: Plan, context: Context) -> tuple[FigureData, ...]:
    """Gap at initialisation, selectivity before and after, for every neuron below the top of every network."""
    first, last = training.networks[0], training.networks[-1]
    nodes = hidden(first.tree)
    gap, start, end = gaps(first, nodes), selectivities(first, nodes), selectivities(last, nodes)
    members, count = gap.shape
    names = [str(node) for node in nodes for _ in range(first.matrix(node).shape[-2])]
    columns: dict[str, tuple[Any, ...]] = {
        "network": tuple(member for member in range(members) for _ in range(count)),
        "node": tuple(names * members),
        "gap": tuple(np.ravel(gap).tolist()),
        "start": tuple(np.ravel(start).tolist()),
        "end": tuple(np.ravel(end).tolist()),
    }
    facts: dict[str, float | int | str] = {"networks": members, "neurons of a network": count, "level": LEVEL}
    for name, values in (("final selectivity", end), ("growth", end - start)):
        found = amplification(gap, values, LEVEL)
        keys = ("", ", low", ", high")
        numbers = (found.estimate, found.low, found.high)
        facts |= {f"rank correlation, {name}{key}": one for key, one in zip(keys, numbers, strict=True)}
    caption = (
        f"{members * count} neurons of {members} networks ({count} each, {plan.width} a latent) on a tree of two "
        f"groups, trained {training.steps[-1]} steps on the exact expected InfoNCE loss (tau = {plan.tau}, rate "
        f"{plan.lr}, sigma_w = {plan.sigma_w}, ReLU; seed {plan.seed}). Left: selectivity before and after; "
        "right: what training adds. In the boxes: Spearman's rank correlation with the initial gap, of the selectivity "
        "after training and of its growth, mean over the networks, with its Student interval "
        f"({LEVEL:.0%}). The selectivity follows the gap before any training already; its growth is what training does."
    )
    title = "Lucky neurons: the initial gap against the final selectivity"
    alt = (
        "Two clouds of points against the initial gap: the selectivity, rank correlation "
        f"{facts['rank correlation, final selectivity']:.2f}, and its growth, {facts['rank correlation, growth']:.2f}."
    )
    return (FigureData("lucky-neurons", "lucky", title, caption, columns, facts, command(7, context), alt),)
