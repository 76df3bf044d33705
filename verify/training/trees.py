"""Statement 6 at trained weights: closed forms at every checkpoint of tree networks that were trained on the leaves.

Up to 12 leaves everything is enumerated. On 32 and 64 leaves the left side is sampled, with a bound of the error, and
the closed form is exact all the same where the subtrees of the node's children can be enumerated: ``o_mu`` is a product
along the path, and the selectivities ``s`` of a child depend on the leaves below it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import hltm
import numeric
from hltm import HLTM
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.statement import Context
from verify.instances.samples import derived
from verify.tolerance import rounding
from verify.tolerance.statistics import allowed
from verify.towers.tower import Array
from verify.trees.agreement import bounded, tree_population_of, with_effect

if TYPE_CHECKING:
    from numeric import FinitePopulation, TreeNetwork

RELATIVE = 1e-10
RECORDS = 20


@dataclass(frozen=True)
class TrainedTree:
    """An ensemble of networks of one tree, at one record of its training."""

    network: TreeNetwork
    step: int
    loss: str


def selectivities(network: TreeNetwork, node: Any) -> Array:
    """``1/2 (E[f|z=1] - E[f|z=0])`` of every neuron of a node, ``(E, |N|)``, by enumerating the leaves below it."""
    import torch

    tree = network.tree
    if not tree.children(node):
        return np.full((network.ensemble, 1), 0.5)
    below = subtree(tree, node)
    part = numeric.TreeNetwork.from_weights(below, {v: network.matrix(v) for v in below.latents}, slope=network.slope)
    laws = [hltm.leaf_distribution(below, {node: state}).ravel() for state in (0, 1)]
    points = torch.from_numpy(hltm.enumerate_leaves(below)).to(network.device)
    top = part.forward(points).cpu().numpy()
    # The top of a network has no activation; this node is not the top of the whole.
    values = np.where(top > 0, top, network.slope * top)
    return np.einsum("c,ecn->en", 0.5 * (laws[1] - laws[0]), values)


def subtree(tree: HLTM, node: Any) -> HLTM:
    """The tree below a node, that node included; both of its states equally likely."""
    import networkx as nx

    graph = tree.graph.subgraph([node, *nx.descendants(tree.graph, node)])
    kept: nx.DiGraph[Any] = nx.DiGraph()
    kept.add_nodes_from(graph.nodes)
    kept.nodes[node]["prior"] = [0.5, 0.5]
    for above in (v for v in tree.nodes if v in graph):
        for child in tree.children(above):
            kept.add_edge(above, child, **tree.graph.edges[above, child])
    return HLTM(kept)


def closed_form(network: TreeNetwork, node: Any) -> Array:
    """``o_mu a_mu a_mu^T``, ``(E, n, n)``."""
    tree = network.tree
    parts = [tree.polarity(node, child) * selectivities(network, child) for child in tree.children(node)]
    a = np.concatenate(parts, axis=1)
    o = tree.polarity(tree.root, node) ** 2 * (1 - tree.root_polarity**2)
    return o * a[:, :, None] * a[:, None, :]


def measure_enumerated(trained: TrainedTree) -> Measurement:
    """Closed form against torch on the enumerated population, every node, relative to the largest entry."""
    network, population = trained.network, tree_population_of(trained.network)
    return measure_relative(
        (
            numeric.tree_activation_covariance(network, population, node).cpu().numpy(),
            closed_form(network, node),
            f"{trained.loss}, step {trained.step}, node {node!r}",
        )
        for node in network.tree.latents
    )


def measure_relative(sides: Iterable[tuple[Array, Array, str]]) -> Measurement:
    """The largest difference of two sides, relative to the largest entry of the first."""
    worst = Measurement(0.0, RELATIVE)
    for left, right, place in sides:
        scale = max(float(np.abs(left).max()), float(np.finfo(float).tiny))
        residual = float(np.abs(left - right).max()) / scale
        if not residual <= worst.residual:
            worst = Measurement(residual, RELATIVE, detail=place)
    return worst


def measure_operator(trained: TrainedTree) -> Measurement:
    """``(1 - rho_0^2)/4 DK DK^T`` and the update with its cross terms, against torch, relative to the largest entry."""
    network, population = trained.network, tree_population_of(trained.network)
    gradient = numeric.tree_population_gradient(network, population)
    spread = (1 - network.tree.root_polarity**2) / 4
    gap, top = connection_gap(network, population)

    def sides() -> Iterator[tuple[Array, Array, str]]:
        for node in network.tree.latents:
            place = f"step {trained.step}, node {node!r}"
            block = numeric.tree_covariance_operator(network, population, node).cpu().numpy()
            yield block, spread * gap[node] @ gap[node].transpose(0, 2, 1), f"operator, {place}"
            update = 2 * spread * np.einsum("epl,el->ep", gap[node], top)
            yield gradient[node].mT.flatten(1).cpu().numpy(), update, f"update, {place}"

    return measure_relative(sides())


def connection_gap(network: TreeNetwork, population: FinitePopulation) -> tuple[dict[Any, Array], Array]:
    """``DK`` of every node, ``(E, p, n_L)``, and ``Df_L``, ``(E, n_L)``."""
    weights = (population.augmentation_weights[1] - population.augmentation_weights[0]).cpu().numpy()
    points = population.points[0]
    gaps = {
        node: np.einsum("c,ecpl->epl", weights, connection.cpu().numpy())
        for node, connection in numeric.tree_connections(network, points).items()
    }
    return gaps, np.einsum("c,ecl->el", weights, network.forward(points).cpu().numpy())


def trained(
    tree: HLTM, loss: str, *, seed: int, steps: int, device: str, width: int = 3, slope: float = 0.0,
    output: str = "linear", **options: Any,
) -> Iterator[TrainedTree]:  # fmt: skip
    """Train an ensemble of two and yield its networks at every record; `options` are those of `numeric.train`."""
    network = numeric.TreeNetwork(tree, width, slope, output, seed=seed, ensemble=2, device=device, sigma_w=1.0)
    trace = numeric.train(network, tree, loss, steps=steps, seed=seed, record_every=max(1, steps // RECORDS), **options)
    for step, here in trace.networks():
        yield TrainedTree(here, step, loss)


def enumerable(context: Context) -> Iterator[TrainedTree]:
    """Trees of 4 to 12 leaves: the simple loss on the population, the other two where triples can be summed."""
    seed, device = derived(context.seed, "trained trees"), context.device
    some = partial(trained, seed=seed, device=device, steps=60, mode="exact")
    yield from some(hltm.complete_tree(2, 2, (0.6, 0.95), root_polarity=0.3, seed=seed), "infonce", tau=0.5, lr=0.5)
    yield from some(hltm.random_tree(leaves=6, seed=seed, symmetric=False), "triplet", tau=0.5, lr=0.3, slope=0.25)
    twelve = hltm.random_tree(leaves=12, seed=seed, symmetric=False)
    yield from some(twelve, "simple", lr=0.05, output="normalized")
    yield from trained(
        hltm.random_tree(leaves=12, seed=seed + 1), "infonce", seed=seed, device=device, steps=200, batch=64, lr=0.2,
        output="normalized",
    )  # fmt: skip


def along(context: Context) -> Evidence:
    """Closed forms of the activation covariance at every record of every run."""
    return tally(
        "trained", "tree, enumerated", enumerable(context), measure_enumerated,
        at_least=4 * RECORDS,
        detail=f"o_mu a_mu a_mu^T = torch at {RECORDS + 1} checkpoints of each run, 4 to 12 leaves",
    )  # fmt: skip


def operators_along(context: Context) -> Evidence:
    """Operators and updates of linear outputs at every record."""
    chosen = (result for result in enumerable(context) if result.network.output == "linear")
    return tally(
        "trained", "tree, operators", chosen, measure_operator,
        at_least=2 * RECORDS,
        detail=f"(1 - rho_0^2)/4 DK DK^T and the update with its cross terms at {RECORDS + 1} checkpoints of each run",
    )  # fmt: skip


def sampled(context: Context) -> Evidence:
    """32 and 64 leaves: trained by minibatches, the left side sampled with error bars."""
    runs, seed = [], derived(context.seed, "trained trees, sampled")
    for depth in (5, 6):
        tree = hltm.complete_tree(depth, 2, (0.7, 1.0), seed=seed + depth)
        options: dict[str, Any] = {"width": 4, "output": "normalized", "lr": 0.1, "batch": 64}
        steps = context.pick(quick=200, thorough=2000)
        result = list(trained(tree, "infonce", seed=seed, steps=steps, device=context.device, **options))
        runs += [result[0], result[len(result) // 2], result[-1]]
    evidence = tally(
        "trained", "tree, sampled", runs,
        partial(measure_sampled, context=context, comparisons=len(runs)),
        at_least=len(runs),
        detail="o_mu a_mu a_mu^T, exact on subtrees of 16 leaves, within sampling error on 32 and 64 leaves",
    )  # fmt: skip
    return with_effect(evidence)


def measure_sampled(trained: TrainedTree, *, context: Context, comparisons: int) -> Measurement:
    """Closed form against the sampled left side of one node, within a bound that holds for every law."""
    import torch

    network, tree = trained.network, trained.network.tree
    node = next(v for v in tree.nodes if len(subtree(tree, tree.children(v)[0]).leaves) <= 16)
    generator = torch.Generator(device=network.device).manual_seed(derived(context.seed, f"sampled {trained.step}"))
    samples = context.pick(quick=40_000, thorough=1_000_000)
    contrasts = numeric.sample_root_contrasts(network, tree, node, samples, generator)
    estimate, error = bounded(contrasts, allowed("sampled covariance, trained", comparisons))
    place = f"{len(tree.leaves)} leaves, step {trained.step}"
    start = Measurement(0.0, float(error.max()), detail=place)
    return rounding.worse(start, np.abs(estimate - closed_form(network, node)), error, place)
