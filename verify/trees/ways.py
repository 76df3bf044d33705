"""Four independent ways to the moments of a tree network: closed form, enumeration, torch, sampling.

They share the tree and nothing else: `theory` derives in symbols, selectivities included (`verify.trees.forms` puts the
numbers in), `verify.trees.enumeration` enumerates in rationals, `numeric` runs torch on the enumerated population and
samples. Forms of `theory` that leave selectivities as symbols are compared as well, with those alone taken from the
enumeration. The formulas of `verify.trees.claims` state the theorem in enumerated selectivities; they are none of the
four ways.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import fmpq

from verify.engine.evidence import Measurement
from verify.tolerance import rounding
from verify.tolerance.statistics import allowed
from verify.towers.population import to_float
from verify.towers.tower import Array, largest, vec
from verify.trees.claims import Claim, Node
from verify.trees.enumeration import Enumeration
from verify.trees.forms import activation_forms, as_exact, derived, exact_weights, sympy_number
from verify.trees.instance import TreeInstance
from verify.trees.sampled_covariance import bounded

if TYPE_CHECKING:
    from numeric import TreeNetwork

QUANTITIES = ("activation", "operator", "update")
# Batches of samples, from which standard errors are estimated.


@lru_cache(maxsize=256)
def enumeration(instance: TreeInstance) -> Enumeration:
    """The enumerated moments, kept while an instance is measured in several ways."""
    return Enumeration(instance)


def enumerated(instance: TreeInstance) -> dict[tuple[str, Any], Array]:
    """(quantity, node) to its exact value by enumeration."""
    moments = enumeration(instance)
    ways: dict[str, Callable[[Any], Array]] = {
        "activation": moments.activation_covariance,
        "operator": moments.operator,
        "update": moments.update,
    }
    return {(quantity, node): ways[quantity](node) for quantity in QUANTITIES for node in instance.tree.latents}


def floats(value: Array) -> Array:
    """An exact array as float64."""
    return np.vectorize(to_float, otypes=[float])(value) if value.dtype == object else value


def measure_claim(instance: TreeInstance, claim: Claim) -> Measurement:
    """Every formula of a claim at every latent node against enumeration, in rationals."""
    truth, moments = enumerated(instance), enumeration(instance)
    worst, place, made = 0.0, "", 0
    for node in instance.tree.latents:
        for quantity, name, formula in claim.formulas:
            value = formula(Node(moments, node))
            if value is None:
                continue
            made += 1
            difference = largest((value - truth[quantity, node]) * fmpq(1))
            if difference > worst:
                worst, place = difference, f"{quantity} at {node!r}: {name}"
    return Measurement(worst, 0.0, made > 0, place)


@lru_cache(maxsize=128)
def by_torch(instance: TreeInstance, device: str) -> tuple[dict[tuple[str, Any], Array], float]:
    """(quantity, node) to its value by torch on the enumerated population, and what rounding can explain.

    Update and its automatic derivative are both taken; the second is what the closed form is held against.
    """
    import torch

    found: dict[Any, dict[tuple[str, Any], Array]] = {}
    for dtype in (torch.float64, torch.float32):
        network, population = torch_sides(instance, device, dtype)
        found[dtype] = torch_moments(instance, network, population)
    keys = list(found[torch.float64])
    double, single = ([found[dtype][key] for key in keys] for dtype in (torch.float64, torch.float32))
    return found[torch.float64], rounding.measured_tolerance(double, single)


def torch_sides(instance: TreeInstance, device: str, dtype: Any) -> tuple[TreeNetwork, Any]:
    """The torch network and the finite population of the tree's leaves."""
    import torch

    import hltm
    import numeric

    leaves = hltm.leaf_population(instance.tree)
    population = numeric.FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)
    weights = {node: torch.tensor(w, dtype=dtype, device=device) for node, w in instance.by_node.items()}
    network = numeric.TreeNetwork.from_weights(instance.tree, weights, slope=instance.slope)
    return network, population.to(device, dtype)


def torch_moments(instance: TreeInstance, network: Any, population: Any) -> dict[tuple[str, Any], Array]:
    """Activation covariance, operator and gradient of every latent node by torch."""
    import numeric

    found: dict[tuple[str, Any], Array] = {}
    gradient = numeric.tree_population_gradient(network, population)
    for node in instance.tree.latents:
        activation = numeric.tree_activation_covariance(network, population, node)[0]
        operator = numeric.tree_covariance_operator(network, population, node)[0]
        found["activation", node] = activation.detach().cpu().numpy()
        found["operator", node] = operator.detach().cpu().numpy()
        found["update", node] = vec(gradient[node][0].detach().cpu().numpy())
    return found


def measure_torch(instance: TreeInstance, claim: Claim, device: str) -> Measurement:
    """Every formula of a claim at every latent node against torch, in float64."""
    truth, tolerance = by_torch(instance, device)
    moments = enumeration(instance)
    if near_kink(instance):
        return Measurement(0.0, tolerance, False, "a gate is near its kink")
    worst, made = Measurement(0.0, tolerance), 0
    for node in instance.tree.latents:
        for quantity, name, formula in claim.formulas:
            value = formula(Node(moments, node))
            if value is None:
                continue
            made += 1
            difference = np.abs(floats(value) - truth[quantity, node])
            worst = rounding.worse(worst, difference, np.array(tolerance), f"{quantity} at {node!r}: {name}")
    return worst if made else Measurement(0.0, tolerance, False, "nothing is claimed of this tree")


def near_kink(instance: TreeInstance) -> bool:
    """Whether some pre-activation is zero without being zero term by term: float sums may then fall on either side.

    Entries are multiples of 1/8 of moderate size, so other pre-activations are far from zero in float64.
    """
    moments = enumeration(instance)
    if instance.slope == 1.0:
        return False
    for law in moments.laws[instance.tree.root]:
        for configuration in law:
            found = moments.run(configuration)
            for node in instance.tree.latents:
                terms = moments.weights[node] * found.inputs[node][None, :]
                for row in terms:
                    if sum(row, fmpq(0)) == 0 and any(term != 0 for term in row):
                        return True
    return False


def measure_theory(instance: TreeInstance) -> Measurement:
    """What `theory` derives against enumeration, in rationals."""
    truth = enumerated(instance)
    worst, place = 0.0, ""
    for form in derived(enumeration(instance)):
        difference = largest((form.value - form.part(truth[form.quantity, form.node])) * fmpq(1))
        if difference > worst:
            worst, place = difference, form.place
    return Measurement(worst, 0.0, detail=place)


def measure_large(instance: TreeInstance, device: str = "cpu", nodes: int = 3) -> Measurement:
    """Operators of a tree beyond enumeration in Python rationals: what `theory` derives against torch.

    On symmetric binary trees the Walsh form is evaluated at the tree's polarities; on others the exact numbers are put
    in before the sums. The top node and the last latent nodes, at the largest depth, are compared.
    """
    import torch

    import numeric
    import theory

    weights, slope = exact_weights(instance), sympy_number(instance.slope)
    tree = instance.tree
    chosen = list(dict.fromkeys([tree.root, *tree.latents[-(nodes - 1) :]]))
    sides = [torch_sides(instance, device, dtype) for dtype in (torch.float64, torch.float32)]
    worst = Measurement(0.0, 0.0)
    for node in chosen:
        if tree.is_binary and tree.is_symmetric:
            walsh = theory.walsh_operator(tree, node, weights, slope)
            rho = [tree.polarity(*tree.path(tree.root, child)[-2:]) for child in walsh.edges]
            closed = walsh.evaluate(np.array([rho]), np.array([tree.root_polarity]))[0]
        else:
            closed = floats(as_exact(theory.covariance_operator(tree, node, weights, slope, numbers=True), {}))
        double, single = (numeric.tree_covariance_operator(n, p, node)[0].cpu().numpy() for n, p in sides)
        # The Walsh sums are made in float64 as well, so both sides may be off by as much.
        tolerance = 2 * rounding.measured_tolerance([double], [single])
        difference = np.abs(closed - double)
        worst = rounding.worse(worst, difference, np.array(tolerance), f"operator at {node!r}")
    return worst


def by_sampling(instance: TreeInstance, seed: int, samples: int, false_alarm: float) -> dict[Any, tuple[Array, Array]]:
    """Latent node to the sampled activation covariance and the largest error of its entries.

    Parameters
    ----------
    false_alarm : float
        Probability that some entry of some node is off by more.
    """
    import torch

    import numeric

    generator = torch.Generator().manual_seed(seed)
    network = numeric.TreeNetwork.from_weights(instance.tree, instance.by_node, slope=instance.slope)
    found = {}
    for node in instance.tree.latents:
        contrasts = numeric.sample_root_contrasts(network, instance.tree, node, samples, generator)
        estimate, error = bounded(contrasts, false_alarm / len(instance.tree.latents))
        found[node] = (estimate[0], error[0])
    return found


def measure_sampling(instance: TreeInstance, *, seed: int, samples: int, comparisons: int) -> Measurement:
    """The closed forms of the activation covariance that `theory` derives against sampling.

    Parameters
    ----------
    comparisons : int
        How many instances of a run are compared.
    """
    sampled = by_sampling(instance, seed, samples, allowed("sampled covariance", comparisons))
    worst = Measurement(0.0, max(float(error.max()) for _, error in sampled.values()))
    forms = list(activation_forms(enumeration(instance)))
    for form in forms:
        estimate, error = (form.part(array) for array in sampled[form.node])
        worst = rounding.worse(worst, np.abs(floats(form.value) - estimate), error, f"{form.place}, sampled")
    return worst if forms else Measurement(0.0, worst.tolerance, False, "nothing is claimed of this tree")
