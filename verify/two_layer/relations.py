"""The derived relations of statement 5 on instances, in rationals and in float64: the block and the decoupled form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from flint import fmpq

from verify.engine.evidence import Evidence, Measurement
from verify.engine.statement import Context
from verify.instances.instance import PopulationInstance
from verify.towers.population import simple_loss_gradient, weighted_sum
from verify.towers.relations import claim_of, evidence
from verify.towers.tower import Array
from verify.towers.values import MEASURES, differences
from verify.two_layer import samples
from verify.two_layer.formulas import Neurons, exact_neurons

ROLES = ("rate", "weights", "gated covariance", "covariance of gated means", "hidden covariance")
SLUG = "two-layer-dynamics"


def roles(neurons: Neurons, gradient: list[Array], j: int) -> dict[str, Callable[..., Any]]:
    """Values for neuron j; those of the neuron k of a sum are functions of it.

    Rates are half of the negative gradient by central differences. The covariance of f_1 is made of the activations,
    the gated one of the gated inputs.
    """
    rates = [side * fmpq(-1, 2) for side in gradient]

    def of(matrix: Array, at: Mapping[str, str], first: bool) -> Any:
        if "neuron" not in at:
            return matrix

        def column(number: int) -> Array:
            return matrix[number] if first else matrix[:, number]

        return column(j) if at["neuron"] == "j" else lambda where: column(where["k"])

    def blocks(at: Mapping[str, str]) -> Any:
        if at["other"] == "j":
            return neurons.blocks[j, :, j, :]
        return lambda where: neurons.blocks[j, :, where["k"], :]

    return {
        "rate": lambda at: of(rates[int(at["layer"]) - 1], at, at["layer"] == "1"),
        "weights": lambda at: of((neurons.first, neurons.second)[int(at["layer"]) - 1], at, at["layer"] == "1"),
        "gated covariance": blocks,
        "covariance of gated means": lambda _: lambda where: gated(neurons, j, where["k"]),
        "hidden covariance": lambda _: hidden_covariance(neurons),
    }


def gated(neurons: Neurons, j: int, k: int) -> Array:
    """``Cov_x[E_aug x~_j, E_aug x~_k]`` from its definition."""
    means = neurons.means()
    joint = weighted_sum([np.outer(mean[j], mean[k]) for mean in means], neurons.p)
    one, other = (weighted_sum([mean[n] for mean in means], neurons.p) for n in (j, k))
    return joint - np.outer(one, other)


def hidden_covariance(neurons: Neurons) -> Array:
    """``Cov_x[E_aug f_1]`` from the activations of every augmentation."""
    rows = [
        weighted_sum([gates * (neurons.first @ x) for gates, x in zip(ds, xs, strict=True)], q)
        for ds, xs, q in zip(neurons.gates, neurons.inputs, neurons.q, strict=True)
    ]
    mean = weighted_sum(rows, neurons.p)
    return weighted_sum([np.outer(row, row) for row in rows], neurons.p) - np.outer(mean, mean)


def measure(form: str, arithmetic: str, instance: PopulationInstance) -> Measurement:
    """Every neuron j; relations about a pair j, k for every k."""
    from theory.core.notation import SumOver

    gradient, _ = simple_loss_gradient(instance)
    neurons = exact_neurons(instance)
    _, claim = claim_of(SLUG, ROLES, claim=form)
    count = len(neurons.first)

    def parts() -> Iterator[tuple[Any, ...]]:
        for j in range(count):
            found = roles(neurons, gradient, j)
            for number, relation in enumerate(claim.relations, start=1):
                one = claim.replace(relations=(relation,))
                pair = any(
                    symbol.role == "covariance of gated means" for symbol in one.quantities if hasattr(symbol, "role")
                )
                for k in range(count if pair else 1):
                    values = found if not pair else {role: fixed(of, k) for role, of in found.items()}
                    for difference, _, *sides in differences(one, values, {SumOver: count}, arithmetic=arithmetic):
                        yield difference, f"relation {number} of neuron {j}", *sides

    return MEASURES[arithmetic](parts())


def fixed(of: Callable[..., Any], k: int) -> Callable[..., Any]:
    """Values with the neuron k chosen."""

    def value(at: dict[str, str]) -> Any:
        found = of(at)
        return found({"k": k}) if callable(found) else found

    return value


def block(arithmetic: str, context: Context) -> Evidence:
    """The block form on random rational populations with the simple loss."""
    count = context.pick(quick=4, thorough=80)
    drawn = samples.toys(context.seed + 7, count, ("simple",))
    found = [claim_of(SLUG, ROLES, claim="block")]
    return evidence(arithmetic, found, drawn, partial(measure, "block", arithmetic), count)


def decoupled(arithmetic: str, context: Context) -> Evidence:
    """The decoupled form on populations that decouple."""
    count = context.pick(quick=4, thorough=40)
    drawn = samples.decoupling(context.seed + 7, count)
    found = [claim_of(SLUG, ROLES, claim="decoupled")]
    return evidence(arithmetic, found, drawn, partial(measure, "decoupled", arithmetic), count)
