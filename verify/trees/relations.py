"""The derived relations of statements 6 and 7 on trees, in rationals and in float64: values by enumeration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from flint import fmpq

from verify.engine.evidence import Evidence, Measurement
from verify.engine.statement import Context
from verify.instances.instance import TreeInstance
from verify.towers.relations import claim_of, evidence
from verify.towers.tower import Array
from verify.towers.values import MEASURES, compared, differences
from verify.trees import lucky, samples
from verify.trees.agreement import enumeration, selections
from verify.trees.enumeration import Enumeration

KINDS = ("symmetric", "general", "categorical", "extreme")
ACTIVATION_ROLES = (
    "activation covariance", "selectivity along edges", "strength", "polarity of a path", "means given a latent",
    "path table", "kernel",
)  # fmt: skip
GAP_ROLES = ("gap", "mean pre-activation", "weights", "selectivity along edges")


def measure_activation(arithmetic: str, instance: TreeInstance) -> Measurement:
    """The activation covariance at every latent node, one neuron of every child: first ones, then last ones."""
    import theory

    moments = enumeration(instance)
    tree = moments.tree
    symbols = theory.parameter_values(tree)

    def parts() -> Iterator[tuple[Any, ...]]:
        for node in tree.latents:
            claim = compared(theory.derive("activation-covariance", tree=tree, node=node).claim, ACTIVATION_ROLES)
            for neurons, selectivities in selections(moments, node):
                values = activation_roles(moments, node, neurons)
                further = {symbol: exact(value) for symbol, value in {**symbols, **selectivities}.items()}
                yield from differences(claim, values, further, f" at {node!r}", arithmetic)

    return MEASURES[arithmetic](parts())


def exact(value: Any) -> fmpq:
    """A SymPy rational as one of flint."""
    return fmpq(int(value.p), int(value.q))


def activation_roles(moments: Enumeration, node: Any, neurons: tuple[int, ...]) -> dict[str, Callable[..., Any]]:
    """Values at a node by enumeration: means of its inputs given a state, tables multiplied along the path."""
    chosen = list(neurons)
    given = moments.given_root(lambda found: found.inputs[node][:, None])
    covariance = moments.covariance(given, given)[np.ix_(chosen, chosen)]
    below = inputs_given(moments, node)[:, chosen]
    path = np.eye(len(moments.prior), dtype=object) * fmpq(1)
    for place in moments.tree.path(moments.tree.root, node)[1:]:
        path = path @ np.array(moments.tables[place], dtype=object)
    prior = np.array(moments.prior, dtype=object)
    return {
        "activation covariance": lambda _: covariance,
        "selectivity along edges": lambda _: (below[1] - below[0]) / 2,
        "polarity of a path": lambda _: path[1, 1] - path[0, 1],
        "strength": lambda _: (path[1, 1] - path[0, 1]) ** 2 * 4 * prior[0] * prior[1],
        "means given a latent": lambda _: below,
        "path table": lambda _: path,
        "kernel": lambda _: np.diag(prior) - np.outer(prior, prior),
    }


def inputs_given(moments: Enumeration, node: Any) -> Array:
    """``E[f of the children's neurons | state of the node]``, shape (states, neurons), by enumeration."""
    rows = []
    for law in moments.laws[node]:
        total = sum(
            (moments.run_below(node, leaves).inputs[node] * p for leaves, p in law.items()),
            start=np.zeros(moments.weights[node].shape[1], dtype=object) * fmpq(1),
        )
        rows.append(total)
    return np.array(rows, dtype=object)


def measure_gap(arithmetic: str, instance: TreeInstance) -> Measurement:
    """The gap of every neuron of every node with two states whose children have two."""
    moments = enumeration(instance)
    _, claim = claim_of("lucky-nodes", GAP_ROLES, claim="gap")

    def parts() -> Iterator[tuple[Any, ...]]:
        for node in moments.tree.latents:
            if not lucky.applies_to(moments.tree, node):
                continue
            below = inputs_given(moments, node)
            for neuron in lucky.neurons(moments, node):
                values: dict[str, Callable[..., Any]] = {
                    "gap": lambda _, n=neuron: n.gap,
                    "mean pre-activation": lambda at, n=neuron: n.moments.m_1 if at["state"] == "1" else n.moments.m_0,
                    "weights": lambda _, n=neuron: n.weights,
                    "selectivity along edges": lambda _, b=below: (b[1] - b[0]) / 2,
                }
                yield from differences(claim, values, {}, f" of neuron {neuron.index} at {node!r}")

    return MEASURES[arithmetic](parts())


def activations(arithmetic: str, context: Context) -> Evidence:
    """Statement 6 on trees of every kind."""
    import theory

    each = context.pick(quick=2, thorough=20)
    drawn = list(samples.of_kinds(context.seed + 7, each, KINDS))
    pairs = []
    for instance in drawn:
        for node in instance.tree.latents:
            claim = theory.derive("activation-covariance", tree=instance.tree, node=node).claim
            pairs.append((claim, compared(claim, ACTIVATION_ROLES)))
    return evidence(arithmetic, pairs, drawn, partial(measure_activation, arithmetic), len(drawn))


def gaps(arithmetic: str, context: Context) -> Evidence:
    """Statement 7, the gap, on trees of every kind."""
    each = context.pick(quick=3, thorough=30)
    drawn = samples.of_kinds(context.seed + 7, each, KINDS)
    found = [claim_of("lucky-nodes", GAP_ROLES, claim="gap")]
    return evidence(arithmetic, found, drawn, partial(measure_gap, arithmetic), each)
