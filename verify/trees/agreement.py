"""Statement 6 in four independent ways: closed form, enumeration, torch and sampling.

They are compared pair by pair, and the one that disagrees with all others is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import fmpq

import hltm
import numeric
import theory
from numeric.trees.sampling import sample_contrasts_of
from verify.engine.evidence import Evidence, Measurement
from verify.instances.instance import TreeInstance
from verify.tolerance import rounding
from verify.tolerance.statistics import allowed, bernstein_bound
from verify.towers.population import to_float
from verify.towers.tower import Array, measure_differences, vec
from verify.trees.claims import STATED, Claim, Node
from verify.trees.enumeration import Enumeration

if TYPE_CHECKING:
    import torch

    from numeric import FinitePopulation, RootContrasts, TreeNetwork
    from verify.trees.moments import BranchMoments


# The closed forms that `theory` derives, evaluated in exact rationals.

# Of its largest term: a sum below this is within rounding of zero, after a few layers too.
NEAR = fmpq(1, 2**36)
# A tree with more parameters is derived with its exact numbers in place of symbols: polynomials in all of them explode.
SYMBOLS = 12
# The Walsh form has a monomial for every odd set of leaves, in every entry of the connection.
WALSH_LEAVES = 5


@dataclass(frozen=True, eq=False)
class Form:
    """One closed form of `theory` at a latent node."""

    quantity: str
    node: Any
    name: str
    value: Array
    neurons: tuple[int, ...] | None = None

    @property
    def place(self) -> str:
        """Quantity, node and form, for messages."""
        return f"{self.quantity} at {self.node!r}: {self.name}"

    def part(self, whole: Array) -> Array:
        """Of a quantity (or its standard errors) what this form speaks of."""
        return whole if self.neurons is None else whole[np.ix_(self.neurons, self.neurons)]


def sympy_number(value: float) -> Any:
    """The float as the exact SymPy rational that it is."""
    import sympy

    return sympy.Rational(*float(value).as_integer_ratio())


def exact_weights(instance: TreeInstance) -> dict[Any, Any]:
    """Weights as SymPy matrices of rationals."""
    import sympy

    return {node: sympy.Matrix([[sympy_number(e) for e in row] for row in w]) for node, w in instance.by_node.items()}


def as_exact(matrix: Any, values: Any) -> Array:
    """A SymPy matrix with the parameters put in, as exact rationals."""
    result = np.empty(matrix.shape, dtype=object)
    for place in np.ndindex(*matrix.shape):
        value = matrix[place].xreplace(values)
        if not value.is_Rational:
            raise ValueError(f"entry {place} is {value}, which still has symbols")
        result[place] = fmpq(int(value.p), int(value.q))
    return result


@dataclass(frozen=True, eq=False)
class ClosedForms:
    """What `theory` needs for the closed forms of an instance, node by node."""

    moments: Enumeration | BranchMoments
    values: dict[Any, Any]
    numbers: bool
    weights: dict[Any, Any]
    slope: Any
    every: Any

    @classmethod
    def of(cls, moments: Enumeration | BranchMoments) -> ClosedForms:
        """Those of an instance whose means given a node are known; a tree of many parameters in numbers."""
        tree, instance = moments.tree, moments.instance
        values = theory.parameter_values(tree)
        numbers = len(values) > SYMBOLS
        every = theory.activation_covariances(tree) if tree.is_binary else None
        if every is not None:
            # Parents come first, so that each product along a path is a number when the next one needs it.
            for symbol, product in every.definitions.items():
                values[symbol] = product.xreplace(values)
        return cls(moments, values, numbers, exact_weights(instance), sympy_number(instance.slope), every)

    def activation(self, node: Any) -> Iterator[Form]:
        """The activation covariance: of the network, and of one neuron a child without weights."""
        tree = self.moments.tree
        network = theory.activation_covariance(tree, node, weights=self.weights, slope=self.slope, numbers=self.numbers)
        yield Form("activation", node, "theory, with weights", as_exact(network, self.values))
        plain = {"selectivities put in": theory.activation_covariance(tree, node, numbers=self.numbers)}
        if self.every is not None:
            plain["shared products"] = self.every[node].matrix()
        for neurons, selectivities in selections(self.moments, node):
            known = {**self.values, **selectivities}
            for name, matrix in plain.items():
                yield Form("activation", node, f"theory, {name}", as_exact(matrix, known), neurons)

    def operator(self, node: Any) -> Iterator[Form]:
        """The covariance operator, and its Walsh form on small symmetric trees."""
        tree, network = self.moments.tree, (self.weights, self.slope)
        operator = theory.covariance_operator(tree, node, *network, numbers=self.numbers)
        yield Form("operator", node, "theory", as_exact(operator, self.values))
        if tree.is_binary and tree.is_symmetric and len(tree.leaves) <= WALSH_LEAVES:
            walsh = theory.walsh_operator(tree, node, *network)
            yield Form("operator", node, "theory, Walsh form", as_exact(walsh.matrix(), self.values))

    def update(self, node: Any) -> Iterator[Form]:
        """The update with its cross terms."""
        update = theory.node_update(self.moments.tree, node, self.weights, self.slope, numbers=self.numbers)
        yield Form("update", node, "theory", vec(as_exact(update, self.values)))


def activation_forms(moments: Enumeration) -> Iterator[Form]:
    """The activation covariance of every latent node."""
    forms = ClosedForms.of(moments)
    for node in moments.tree.latents:
        yield from forms.activation(node)


def selections(moments: Enumeration | BranchMoments, node: Any) -> Iterator[tuple[tuple[int, ...], dict[Any, Any]]]:
    """One neuron of every child, the first and then the last: their places, and the values of the symbols of `theory`.

    The weightless forms give each child one neuron: ``s_nu``, or ``e_{nu;i}`` where there are more than two states.
    """
    from sympy import Rational, Symbol

    from theory.trees.symbols import tree_symbols

    texts = tree_symbols(moments.tree).texts
    seen = set()
    for last in (False, True):
        places, values, start = [], {}, 0
        for child in moments.tree.children(node):
            argument = [np.atleast_1d(mean) for mean in moments.given_node(child)]
            index = len(argument[0]) - 1 if last else 0
            places.append(start + index)
            start += len(argument[0])
            means = [Rational(int(mean[index].p), int(mean[index].q)) for mean in argument]
            values[Symbol(f"s_{{{texts[child]}}}", real=True)] = (means[1] - means[0]) / 2
            for state, mean in enumerate(means):
                values[Symbol(f"e_{{{texts[child]};{state}}}", real=True)] = mean
        if tuple(places) not in seen:
            seen.add(tuple(places))
            yield tuple(places), values


def derived(moments: Enumeration) -> Iterator[Form]:
    """Every closed form of `theory` at every latent node."""
    forms = ClosedForms.of(moments)
    for part in (forms.activation, forms.operator, forms.update):
        for node in moments.tree.latents:
            yield from part(node)


# Sampling: the left side, and a bound of its error that holds for every law.


def bounded(contrasts: RootContrasts, false_alarm: float) -> tuple[Array, Array]:
    """Estimate of ``sum_z pi_z c_z c_z^T`` and the largest error of every entry, for all entries together.

    With ``|c_z - mean| <= e_z``, each entry is off by at most ``sum_z pi_z (|m_i| e_j + |m_j| e_i + e_i e_j)``.
    """
    means, prior = contrasts.means.cpu().numpy(), contrasts.prior.cpu().numpy()
    each = false_alarm / means.size
    error = bernstein_bound(contrasts.variances.cpu().numpy(), contrasts.spans.cpu().numpy(), contrasts.samples, each)
    # Sums of float64 numbers of at most that size.
    error = error + 64 * rounding.UNIT_ROUNDOFF * (np.abs(means) + contrasts.spans.cpu().numpy())
    cross = np.einsum("zei,zej,z->eij", np.abs(means), error, prior)
    allowed = cross + cross.swapaxes(-1, -2) + np.einsum("zei,zej,z->eij", error, error, prior)
    estimate = contrasts.covariance.cpu().numpy()
    return estimate, allowed + 64 * rounding.UNIT_ROUNDOFF * np.abs(estimate)


def with_effect(found: Evidence) -> Evidence:
    """The evidence with the smallest effect that is detected: a claim that is off by more than twice the bound.

    The estimate is within the bound of the truth, so that the claim is then further from it than the bound.
    """
    if found.tolerance is None:
        return found
    effect = f"an entry of the covariance that is {2 * found.tolerance:.2g} off"
    note = f"tolerance {found.tolerance:.2g}, for every law; refutes {effect}"
    return replace(found, detail=f"{found.detail}; {note}", effect=effect)


# The comparisons.

QUANTITIES = ("activation", "operator", "update")


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
    return np.vectorize(to_float, otypes=[float])(value) if value.dtype == object else value


def claimed_values(instance: TreeInstance, claim: Claim) -> Iterator[tuple[str, Any, str, Array]]:
    """Quantity, node, formula and value of all that is claimed of the latent nodes."""
    moments = enumeration(instance)
    for node in instance.tree.latents:
        for quantity, name, formula in claim.formulas:
            value = formula(Node(moments, node))
            if value is not None:
                yield quantity, node, name, value


def measure_exact(instance: TreeInstance, claim: Claim | None = None) -> Measurement:
    """The closed forms against enumeration, in rationals: any difference refutes."""
    truth = enumerated(instance)
    return measure_differences(
        (value - truth[quantity, node], f"{quantity} at {node!r}: {name}", value, truth[quantity, node])
        for quantity, node, name, value in claimed_values(instance, claim or STATED)
    )


@lru_cache(maxsize=128)
def by_torch(instance: TreeInstance, device: str) -> tuple[dict[tuple[str, Any], Array], float]:
    """(quantity, node) to its value by torch on the enumerated population, and what rounding can explain."""
    import torch

    double, single = (torch_moments(*torch_sides(instance, device, dtype)) for dtype in (torch.float64, torch.float32))
    tolerance = rounding.measured_tolerance(list(double.values()), list(single.values()))
    return double, max(tolerance, cancelled(instance))


def cancelled(instance: TreeInstance) -> float:
    """What rounding can explain of moments that cancel: float32 sums may happen to be exact where float64 sums are not.

    A covariance is a difference of products of two activations or of two connections, an update one times weights.
    """
    moments = enumeration(instance)
    passes = [moments.run(c) for c in {c for law in moments.laws[instance.tree.root] for c in law}]
    scale = 0.0
    for node, matrix in instance.by_node.items():
        activation, inputs, jacobian = (
            max(top(getattr(one, name)[node]) for one in passes) for name in ("activations", "inputs", "jacobians")
        )
        weight = sum(abs(entry) for row in matrix for entry in row)
        scale = max(scale, activation**2, (inputs * jacobian) ** 2 * max(1.0, weight))
    return rounding.SAFETY * rounding.UNIT_ROUNDOFF * scale


def top(values: Array) -> float:
    """The largest absolute entry."""
    return max((abs(float(entry)) for entry in values.flat), default=0.0)


def network_of(instance: TreeInstance, device: str, dtype: torch.dtype | None = None) -> TreeNetwork:
    """The torch network of an instance, in float64 by default."""
    import torch

    kind = dtype or torch.float64
    weights = {node: torch.tensor(w, dtype=kind, device=device) for node, w in instance.by_node.items()}
    return numeric.TreeNetwork.from_weights(instance.tree, weights, slope=instance.slope)


def tree_population_of(network: TreeNetwork) -> FinitePopulation:
    """The enumerated leaves of a network's tree."""
    leaves = hltm.leaf_population(network.tree)
    population = numeric.FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)
    return population.to(network.device, network.dtype)


def torch_sides(instance: TreeInstance, device: str, dtype: torch.dtype) -> tuple[TreeNetwork, FinitePopulation]:
    """The torch network and the finite population of the tree's leaves."""
    network = network_of(instance, device, dtype)
    return network, tree_population_of(network)


def torch_moments(network: TreeNetwork, population: FinitePopulation) -> dict[tuple[str, Any], Array]:
    """Activation covariance, operator and gradient of every latent node by torch."""
    result: dict[tuple[str, Any], Array] = {}
    gradient = numeric.tree_population_gradient(network, population)
    for node in network.tree.latents:
        activation = numeric.tree_activation_covariance(network, population, node)[0]
        operator = numeric.tree_covariance_operator(network, population, node)[0]
        result["activation", node] = activation.detach().cpu().numpy()
        result["operator", node] = operator.detach().cpu().numpy()
        result["update", node] = vec(gradient[node][0].detach().cpu().numpy())
    return result


def measure_float(instance: TreeInstance, claim: Claim | None = None, device: str = "cpu") -> Measurement:
    """The closed forms against torch on the enumerated population, in float64."""
    truth, tolerance = by_torch(instance, device)
    if near_kink(instance):
        return Measurement(0.0, tolerance, False, "a gate is near its kink")
    worst, values = Measurement(0.0, tolerance), list(claimed_values(instance, claim or STATED))
    for quantity, node, name, value in values:
        place = f"{quantity} at {node!r}: {name}"
        worst = rounding.worse_of(worst, floats(value), truth[quantity, node], np.array(tolerance), place)
    return worst if values else Measurement(0.0, tolerance, False, "nothing is claimed of this tree")


def near_kink(instance: TreeInstance) -> bool:
    """Whether some pre-activation is within rounding of zero without being zero term by term."""
    moments = enumeration(instance)
    if instance.slope == 1.0:
        return False
    for law in moments.laws[instance.tree.root]:
        for configuration in law:
            result = moments.run(configuration)
            for node in instance.tree.latents:
                terms = moments.weights[node] * result.inputs[node][None, :]
                for row in terms:
                    largest = max(map(abs, row))
                    if largest and abs(sum(row, fmpq(0))) <= largest * NEAR:
                        return True
    return False


def measure_theory(instance: TreeInstance) -> Measurement:
    """The closed forms of `theory` against enumeration, in rationals."""
    truth = enumerated(instance)
    return measure_differences(
        (form.value - form.part(truth[form.quantity, form.node]), form.place) for form in derived(enumeration(instance))
    )


def measure_large(instance: TreeInstance, device: str = "cpu", nodes: int = 3) -> Measurement:
    """Operators of a tree beyond enumeration in Python rationals: what `theory` derives against torch.

    On symmetric binary trees the Walsh form is evaluated at the tree's polarities; on others the exact numbers are put
    in before the sums. The top node and the last latent nodes, at the largest depth, are compared.
    """
    import torch

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
        worst = rounding.worse_of(worst, closed, double, np.array(tolerance), f"operator at {node!r}")
    return worst


def by_sampling(
    instance: TreeInstance, seed: int, samples: int, false_alarm: float, nodes: Sequence[Any] | None = None
) -> dict[Any, tuple[Array, Array]]:
    """Latent node to the sampled activation covariance and the largest error of its entries, for all nodes together."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    network = network_of(instance, "cpu")
    chosen = instance.tree.latents if nodes is None else nodes
    result = {}
    # Each node has its part of the false-alarm rate, so that they may share their samples.
    for node, contrasts in zip(
        chosen, sample_contrasts_of(network, instance.tree, chosen, samples, generator), strict=True
    ):
        estimate, error = bounded(contrasts, false_alarm / len(chosen))
        result[node] = (estimate[0], error[0])
    return result


def measure_sampling(instance: TreeInstance, *, seed: int, samples: int, comparisons: int) -> Measurement:
    """The closed forms of the activation covariance that `theory` derives against sampling."""
    sampled = by_sampling(instance, seed, samples, allowed("sampled covariance", comparisons))
    worst = Measurement(0.0, max(float(error.max()) for _, error in sampled.values()))
    forms = list(activation_forms(enumeration(instance)))
    for form in forms:
        estimate, error = (form.part(array) for array in sampled[form.node])
        worst = rounding.worse_of(worst, floats(form.value), estimate, error, f"{form.place}, sampled")
    return worst if forms else Measurement(0.0, worst.tolerance, False, "nothing is claimed of this tree")


def four_ways(
    instance: TreeInstance, *, seed: int, device: str, samples: int = 20_000, comparisons: int = 40
) -> Measurement:
    """All four ways on the activation covariance; all but sampling on operator and update. Names the odd one out."""
    exact_values = enumerated(instance)
    torch_values, rounding_error = by_torch(instance, device)
    if near_kink(instance):
        return Measurement(0.0, rounding_error, False, "a gate is near its kink")
    sampled = by_sampling(instance, seed, samples, allowed("four ways", comparisons))
    disagreements: dict[frozenset[str], float] = {}
    for form in derived(enumeration(instance)):
        key = form.quantity, form.node
        ways: dict[str, tuple[Array, Any]] = {
            "closed form": (form.value, 0.0),
            "enumeration": (form.part(exact_values[key]), 0.0),
            "torch": (form.part(torch_values[key]), rounding_error),
        }
        if form.quantity == "activation":
            ways["sampling"] = (form.part(sampled[form.node][0]), form.part(sampled[form.node][1]))
        compare_pairs(ways, rounding_error, disagreements)
    worst = max(disagreements.values(), default=0.0)
    return Measurement(worst, 1.0, detail=odd_one_out(disagreements) if worst > 1 else "")


def compare_pairs(ways: dict[str, tuple[Array, Any]], floor: float, disagreements: dict[frozenset[str], float]) -> None:
    """Record for each pair of ways the largest difference in units of what both may be off by together."""
    for (name_a, side_a), (name_b, side_b) in combinations(ways.items(), 2):
        _, _, ratio = pair_difference(side_a, side_b, floor)
        pair = frozenset((name_a, name_b))
        disagreements[pair] = max(disagreements.get(pair, 0.0), ratio)


def pair_difference(left: tuple[Array, Any], right: tuple[Array, Any], floor: Any) -> tuple[float, float, float]:
    """The difference of two sides with errors where it is largest in units of what is allowed; that; the ratio.

    Rationals may not differ at all.
    """
    (a, error_a), (b, error_b) = left, right
    if a.dtype == object and b.dtype == object:
        difference = floats(abs(a - b))
        worst = float(difference.max()) if bool((a == b).all()) else max(float(difference.max()), 5e-324)
        return worst, 0.0, math.inf if worst else 0.0
    # The smallest positive float keeps 0 / 0 from being asked where nothing may be off and nothing is.
    allowed = np.maximum(np.broadcast_to(error_a + error_b + floor, a.shape), 5e-324)
    difference = np.abs(floats(a) - floats(b))
    ratios = np.where(np.isnan(difference), math.inf, difference / allowed)
    place = np.unravel_index(int(np.argmax(ratios)), ratios.shape)
    return float(difference[place]), float(allowed[place]), float(ratios[place])


def odd_one_out(disagreements: dict[frozenset[str], float]) -> str:
    """Which way disagrees while the others agree with each other; or that no single one does."""
    names = sorted({name for pair in disagreements for name in pair})
    for name in names:
        involved = [value for pair, value in disagreements.items() if name in pair]
        rest = [value for pair, value in disagreements.items() if name not in pair]
        if rest and max(rest) <= 1 and max(involved) > 1:
            return f"the odd one out is {name}"
    pairs = [" and ".join(sorted(pair)) for pair, value in disagreements.items() if value > 1]
    return "disagreeing: " + "; ".join(sorted(pairs))
