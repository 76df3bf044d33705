"""Statement 7 in floating point: every neuron of an ensemble of torch networks, and the weights they start from.

Moments are finite sums over the leaves below a node, whose law is built from the tables. The tolerances are a-priori
rounding bounds (`verify.tolerance.rounding`) or distances with a stated false-alarm rate
(`verify.tolerance.statistics`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

import hltm
import numeric
import theory
from verify.engine.evidence import Measurement
from verify.instances.instance import TreeInstance
from verify.tolerance.rounding import gamma, worse
from verify.tolerance.statistics import allowed, dkw_bound, proportion_interval
from verify.trees.agreement import enumeration, network_of
from verify.trees.claims import Node
from verify.trees.lucky import LAW, PLACES, STATED, Claim, Moments, Sizes, applies_to, sizes_of

if TYPE_CHECKING:
    from torch import Tensor

    from hltm import HLTM
    from numeric import TreeNetwork


MEMBERS = 10_000
# Comparisons with drawn weights in a run, at most: a thousand trees of the thorough search, five nodes, 14 comparisons.
COMPARISONS = 100_000


@dataclass(frozen=True, eq=False)
class Neurons:
    """The neurons of one node for E networks, tensors (E, n): moments, selectivity, correlation with z_mu.

    `spread` is the standard deviation of the activation; `error` bounds the rounding error of any mean of the
    pre-activation or the activation.
    """

    moments: Moments
    selectivity: Tensor
    correlation: Tensor
    spread: Tensor
    error: Tensor

    @property
    def gap(self) -> Tensor:
        """g_j = m_1 - m_0."""
        gap: Tensor = self.moments.m_1 - self.moments.m_0
        return gap


@lru_cache(maxsize=64)
def leaf_laws(tree: HLTM, node: Any) -> tuple[np.ndarray, np.ndarray, tuple[Any, ...]]:
    """Configurations (N, leaves below), their law for every state of the node (states, N), and these leaves."""
    children = tree.children(node)
    states = tree.cardinality(node)
    if not children:
        return np.arange(states)[:, None], np.eye(states), (node,)
    parts = [leaf_laws(tree, child) for child in children]
    below = tuple(leaf for _, _, leaves in parts for leaf in leaves)
    law = np.ones((states, 1))
    for child, (_, argument, _) in zip(children, parts, strict=True):
        table = np.array(tree.exact_table(child), dtype=np.float64)
        law = (law[:, :, None] * (table @ argument)[:, None, :]).reshape(states, -1)
    rows = [np.concatenate(chosen) for chosen in product(*(configurations for configurations, _, _ in parts))]
    return np.array(rows), law, below


def neurons_at(network: TreeNetwork, node: Any) -> Neurons:
    """Moments, selectivity and correlation of every neuron of a node with two states."""
    import torch
    from torch.nn.functional import leaky_relu

    tree = network.tree
    rows, law, below = leaf_laws(tree, node)
    leaves = torch.zeros(len(rows), len(tree.leaves), dtype=network.dtype, device=network.device)
    for column, leaf in enumerate(below):
        leaves[:, tree.leaves.index(leaf)] = torch.as_tensor(rows[:, column], dtype=network.dtype)
    weights, slope = network.matrix(node), 1.0 if node == tree.root else network.slope
    p = torch.matmul(read(network, node, leaves), weights.mT)
    argument = torch.as_tensor(law, dtype=network.dtype, device=network.device)
    mean = torch.einsum("zc,ecn->zen", argument, p)
    spread = torch.einsum("zc,zecn->zen", argument, (p - mean[:, :, None]).square())
    active = leaky_relu(p, slope)
    first = torch.einsum("zc,ecn->zen", argument, active)
    second = torch.einsum("zc,zecn->zen", argument, (active - first[:, :, None]).square())
    moments = Moments(mean[0], mean[1], spread[0], spread[1], slope)
    correlated, whole = correlation(prior(tree, node), first, second)
    return Neurons(moments, (first[1] - first[0]) / 2, correlated, whole, errors(network, node, len(rows)))


def read(network: TreeNetwork, node: Any, leaves: Tensor) -> Tensor:
    """f of the children's neurons, (E, N, n_in)."""
    import torch

    activations = network.activations(leaves)
    return torch.cat([activations[child] for child in network.tree.children(node)], dim=-1)


def correlation(share: float, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Correlation with a state that is 1 with probability `share`, and standard deviation; 0 for what is constant.

    Means and variances are those in either state.
    """
    import torch

    between = (mean[1] - mean[0]) * (share * (1 - share)) ** 0.5
    whole = (variance[0] * (1 - share) + variance[1] * share + between.square()).sqrt()
    return torch.where(whole > 0, between / torch.where(whole > 0, whole, 1.0), 0.0), whole


def prior(tree: HLTM, node: Any) -> float:
    """P(z_mu = 1)."""
    return float(hltm.marginals(tree)[node][1])


def errors(network: TreeNetwork, node: Any, configurations: int) -> Tensor:
    """Rounding-error bounds of a mean over the leaves: gamma_n times the pre-activation at absolute values.

    Weights at absolute values are increasing in the leaves, so that their largest states give the largest value.
    """
    import torch

    tree = network.tree
    largest = torch.tensor([[tree.cardinality(leaf) - 1 for leaf in tree.leaves]], device=network.device)
    absolute = network.with_parameters([w.abs() for w in network.parameters])
    size = torch.matmul(read(absolute, node, largest), absolute.matrix(node).mT).squeeze(1)
    inputs = sum(network.matrix(latent).shape[-1] + 2 for latent in tree.latents)
    tables = sum(tree.cardinality(name) + 2 for name in tree.nodes)
    unit = gamma(inputs + tables + configurations + 8) * 2.0**53 * torch.finfo(network.dtype).eps / 2
    return size * unit


def selectivity_bound_measure(network: TreeNetwork, claim: Claim = STATED) -> Measurement:
    """The bound on every neuron of an ensemble: the worst shortfall, over the enumerated leaves.

    The bound and the selectivity change by at most 4 times the change of a mean: 1 for s_j, 1 for the gap or 1/2 for
    max(m_1, 0), 1/4 for m_0, and 3/4 for the root, the norm of (m_0, standard deviation).
    """
    import torch

    worst, built, largest = Measurement(0.0, 0.0), False, 0.0
    for node in network.tree.latents:
        if not applies_to(network.tree, node):
            continue
        built, result = True, neurons_at(network, node)
        largest = max(largest, 4 * float(result.error.max()))
        line, factor, radicand = claim.bound(result.moments)
        root = torch.as_tensor(radicand, dtype=network.dtype).clamp(min=0).sqrt()
        lacking = (line - factor * root - result.selectivity).clamp(min=0)
        worst = worse(worst, array(lacking), array(4 * result.error), f"bound at {node!r}")
    if built and worst.residual == 0:
        return Measurement(0.0, largest)
    return worst if built else Measurement(0.0, 0.0, False, "no node with two states whose children have two")


def array(tensor: Tensor) -> np.ndarray:
    """A tensor as a float64 array on the host."""
    values: np.ndarray = tensor.detach().cpu().double().numpy()
    return values


def gap_measure(network: TreeNetwork, claim: Claim = STATED) -> Measurement:
    """Gap of every neuron, a difference of two means, against the claim in weights and children's selectivities."""
    import torch

    tree, worst, built = network.tree, Measurement(0.0, 0.0), False
    for node in tree.latents:
        if not applies_to(tree, node):
            continue
        built, result, parts = True, neurons_at(network, node), []
        for child in tree.children(node):
            table = tree.exact_table(child)
            rho = float(table[1][1]) - float(table[0][1])
            half = torch.full((network.ensemble, 1), 0.5, dtype=network.dtype, device=network.device)
            parts.append(rho * (neurons_at(network, child).selectivity if tree.children(child) else half))
        claimed = claim.gap(network.matrix(node), torch.cat(parts, dim=-1).unsqueeze(-1)).squeeze(-1)
        # Each side is made of two means, either of them in error by no more than `error`.
        worst = worse(worst, array((claimed - result.gap).abs()), array(4 * result.error), f"gap at {node!r}")
    return worst if built else Measurement(0.0, 0.0, False, "no node with two states whose children have two")


@lru_cache(maxsize=4096)
def claimed_probability(survival: Any, sizes: Sizes, place: Fraction) -> Fraction:
    """P(g >= place of the largest gap) by a claim."""
    result: Fraction = survival(sizes, place * 2 * sum(sizes))
    return result


def law_measure(instance: TreeInstance, claim: Claim, seed: int, device: str, members: int = MEMBERS) -> Measurement:
    """Law of the gap and existence against freshly drawn weights, a_mu those of the instance.

    The largest distance of the empirical distribution from the claimed one on a grid of thresholds, and of a
    frequency from a probability, both within the bound of Dvoretzky, Kiefer, Wolfowitz and Massart.
    """
    tree, moments = instance.tree, enumeration(instance)
    width = {node: len(matrix) for node, matrix in instance.by_node.items()}
    network = numeric.TreeNetwork(tree, width, ensemble=members, seed=seed, device=device)
    worst, built = Measurement(0.0, 0.0), False
    for node in tree.latents:
        if not applies_to(tree, node):
            continue
        a = Node(moments, node).a()
        sizes = sizes_of(a)
        if not sizes:
            continue
        built = True
        bound = float(claim.bound_squared(len(a))) ** 0.5
        gaps = 2 * array(network.matrix(node)) / bound @ np.array([float(e.p) / float(e.q) for e in a])
        worst = grid_distance(worst, gaps, sizes, claim, node)
    return worst if built else Measurement(0.0, 0.0, False, "no gap that can differ from zero")


def grid_distance(worst: Measurement, gaps: np.ndarray, sizes: Sizes, claim: Claim, node: Any) -> Measurement:
    """Distances on the grid for gaps (E, m) in units of b."""
    members, count = gaps.shape
    for place in PLACES:
        threshold = float(place * 2 * sum(sizes))
        p = claimed_probability(claim.survival, sizes, place)
        q = claim.existence(p, count)
        pairs = (
            (float(np.mean(gaps >= threshold)) - float(p), members * count, "law of the gap"),
            (float(np.mean((gaps >= threshold).any(axis=1))) - float(q), members, "existence"),
        )
        for difference, trials, what in pairs:
            limit = np.array([dkw_bound(trials, allowed("drawn weights", COMPARISONS))])
            worst = worse(worst, np.array([abs(difference)]), limit, f"{what} at {node!r}")
    return worst


def measure_float(
    instance: TreeInstance, claim: Claim | None = None, device: str = "cpu", seed: int = 0
) -> Measurement:
    """Bound and gap by torch on the instance's weights, law and existence on 10,000 drawn networks."""
    claim, network = claim or STATED, network_of(instance, device)
    result = []
    if claim.says("bound"):
        result.append(selectivity_bound_measure(network, claim=claim))
    if claim.says("gap"):
        result.append(gap_measure(network, claim))
    if claim.says(*LAW):
        result.append(law_measure(instance, claim, seed, device))
    decided = [one for one in result if one.decided]
    return max(decided, key=lambda one: one.severity) if decided else result[0]


# Statement 7 on new networks: law of the gap, existence and numbers of neurons against 10,000 initialisations.

START_PLACES = tuple(Fraction(n, 8) for n in (-6, -3, 0, 2, 4, 6))
# Numbers of neurons at each place, at most, and the law itself.
AT_A_PLACE = 5
FAILURE = Fraction(1, 5)

Start = tuple[int, Fraction, Fraction]


def starts() -> list[Start]:
    """(leaves, polarity, sigma_w) of stars; b is irrational for most."""
    return [(n, Fraction(3, 4), Fraction(1)) for n in (1, 2, 4)] + [(3, Fraction(-1, 2), Fraction(3, 10))]


def measure_start(start: Start, seed: int, device: str) -> Measurement:
    """Gaps of new networks, as differences of means over the leaves, against law, existence and numbers needed.

    The law is compared on a grid within the distance of Dvoretzky, Kiefer, Wolfowitz and Massart; frequencies must have
    the claimed probability in their Clopper-Pearson interval. All comparisons of a run share the false-alarm rate.
    """
    import sympy

    leaves, polarity, sigma = start
    tree, width = hltm.star_tree(leaves, float(polarity)), 8
    network = numeric.TreeNetwork(tree, width, seed=seed, ensemble=MEMBERS, device=device, sigma_w=float(sigma))
    gaps = array(neurons_at(network, tree.root).gap)
    bound = sympy.Rational(sigma.numerator, sigma.denominator) * sympy.sqrt(sympy.Rational(3, leaves))
    law = theory.gap_law([polarity / 2] * leaves, bound)
    worst, rate = Measurement(0.0, 0.0), false_alarm()
    for place in START_PLACES:
        t = place * Fraction(float(law.largest)).limit_denominator(1000)
        p = law.survival(t)
        distance = abs(float(np.mean(gaps >= float(t))) - float(p))
        worst = worse(worst, np.array([distance]), np.array([dkw_bound(gaps.size, rate)]), f"law of the gap at {t}")
        enough = needed(p)
        if not smallest(enough, p):
            return Measurement(1.0, 0.0, detail=f"neurons_needed({FAILURE}, {p}) = {enough} is not the smallest")
        for count in sorted({1, 3, min(enough, width), width}):
            hits = int((gaps[:, :count] >= float(t)).any(axis=1).sum())
            wanted = float(sympy.N(1 - (1 - p) ** count, 30))
            result = proportion_interval(hits, MEMBERS, 1 - rate)
            reach = result.estimate - result.low if wanted < result.estimate else result.high - result.estimate
            apart = np.array([abs(wanted - result.estimate)])
            worst = worse(worst, apart, np.array([reach]), f"existence among {count} neurons at {t}")
    return worst


def false_alarm() -> float:
    """Of one comparison; all of a run share that of the check."""
    return allowed("initialisation", AT_A_PLACE * len(START_PLACES) * len(starts()))


def needed(p: Any) -> int:
    """Number of neurons that suffices for 1 - 1/5, where `theory` can say so exactly; 1 elsewhere."""
    return theory.neurons_needed(FAILURE, p) if p.is_Rational and 0 < p < 1 else 1


def smallest(count: int, p: Any) -> bool:
    """Whether that number suffices and one less does not; one is always the least."""
    return count == 1 or bool((1 - p) ** count <= FAILURE < (1 - p) ** (count - 1))
