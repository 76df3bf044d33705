"""Statement 3 and minibatches: how fast sampling error falls, and what the flow of the operator predicts of training.

An update from B triples is the operator's in expectation, and its error falls as ``B^(-1/2)``. The selectivities at the
end of the operator's flow ``dW/dt = 2 Cov_x[Kbar, fbar]`` are those of descent up to an error of first order in the
learning rate; of SGD too, where the batch grows as the rate falls, so that the noise falls with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import hltm
from verify.engine.evidence import Evidence, Status
from verify.engine.statement import Context
from verify.instances.samples import derived
from verify.tolerance.statistics import allowed, judge_order, local_exponent, mean_interval, order_effect
from verify.training.trees import population_of, selectivities

if TYPE_CHECKING:
    from torch import Tensor

    from hltm import HLTM
    from numeric import TreeNetwork

# Minibatches, descent, SGD.
LEVEL = 1 - allowed("rates", 3)
MARGIN = 0.1
MEMBERS = 64
BATCHES = (16, 64, 256, 1024)
# Samples held at once: small enough for the cache.
CHUNK = 2048
# Steps over one and the same time, the finest last; noise needs a wider range to fit.
REFINEMENTS = (8, 12, 16, 24)
NOISY_REFINEMENTS = (4, 16, 64)
NOISY_MEMBERS = 1024
TIME = 0.1
FLOW_STEPS = 60


def judged(source: str, what: str, exponents: list[float], claimed: float) -> Evidence:
    """The interval of the mean exponent against the claimed one."""
    interval = mean_interval(exponents, LEVEL)
    status: Status = judge_order(interval, claimed, MARGIN)
    effect = f"a rate that is {order_effect(interval, MARGIN, len(exponents)):.3f} off {claimed:g}"
    return Evidence(
        "trained", status, source, len(exponents),
        worst_residual=max(abs(interval.low - claimed), abs(interval.high - claimed)), tolerance=MARGIN,
        detail=f"{what}: exponent {interval}, claimed {claimed} +- {MARGIN}; "
        f"refutes {effect}", effect=effect,
    )  # fmt: skip


def operator_update(network: TreeNetwork, samples: int, generator: Any) -> list[Tensor]:
    """``2 Cov_x[Kbar_mu, fbar_L] = (1 - rho_0^2)/2 DK Df_L`` of every node of a binary tree, D over z_0, by sampling.

    ``DK`` and ``Df_L`` come from samples apart, so that their product has the right expectation.
    """
    import numeric

    tree, found = network.tree, [block.new_zeros(block.shape) for block in network.parameters]
    top: Any = 0.0
    for state in (1, 0):
        leaves = numeric.sample_leaves(tree, samples, generator=generator, root_states=state, device=network.device)
        top = top + (2 * state - 1) * network.forward(leaves).mean(1)
    share, weights = 0.5 * (1 - tree.root_polarity**2) / samples, network.with_parameters(found).weights
    for state in (1, 0):
        for _ in range(samples // CHUNK):
            leaves = numeric.sample_leaves(tree, CHUNK, generator=generator, root_states=state, device=network.device)
            for node, factors in numeric.tree_factors(network, leaves).items():
                backward = (factors.jacobian * top[:, None, :, None]).sum(2)
                weights[node] += (2 * state - 1) * share * (backward.mT @ factors.activation)
    return found


def minibatch_errors(network: TreeNetwork, truth: list[Tensor], batch: int, seed: int) -> np.ndarray:
    """Distance of the updates of `MEMBERS` minibatches of the simple loss from the truth, ``(MEMBERS,)``."""
    import numeric

    copies = network.with_parameters([block.expand(MEMBERS, *block.shape[1:]).clone() for block in network.parameters])
    # One step with learning rate 1: what it moves is the update.
    trace = numeric.train(copies, network.tree, "simple", lr=1.0, batch=batch, steps=1, seed=seed, keep_networks=False)
    moved = [after - before for after, before in zip(trace.network.parameters, copies.parameters, strict=True)]
    gaps = [(step - right).flatten(1).square().sum(1) for step, right in zip(moved, truth, strict=True)]
    return np.sqrt(sum(gaps[1:], gaps[0]).cpu().numpy())


def minibatches(context: Context) -> Evidence:
    """The error of a minibatch update on 32 leaves against the operator, before and after training."""
    import torch

    import numeric

    seed = derived(context.seed, "32 leaves")
    tree = hltm.complete_tree(5, 2, (0.7, 1.0), seed=seed)
    start = numeric.TreeNetwork(tree, 4, 0.0, "linear", seed, device=context.device)
    steps = context.pick(quick=100, thorough=1000)
    trace = numeric.train(start, tree, "triplet", tau=0.5, lr=0.05, batch=64, steps=steps, seed=seed)
    generator = torch.Generator(device=start.device).manual_seed(derived(context.seed, "operator"))
    exponents: list[float] = []
    for kind, network in (("start", start), ("trained", trace.network)):
        # Its own error is about that of a batch 32 times the largest, which adds 2 % to the smallest error fitted.
        truth = operator_update(network, 16 * BATCHES[-1], generator)
        sizes = [
            minibatch_errors(network, truth, batch, derived(context.seed, f"minibatches {kind} {batch}"))
            for batch in BATCHES
        ]
        design = np.column_stack([np.ones(len(BATCHES)), np.log(BATCHES)])
        slopes, *_ = np.linalg.lstsq(design, np.log(np.stack(sizes)), rcond=None)
        exponents += slopes[1].tolist()
    return judged("tree, minibatches", "error of a minibatch update against the operator, 32 leaves", exponents, -0.5)


def flow(network: TreeNetwork, time: float) -> TreeNetwork:
    """Follow ``dW/dt = 2 Cov_x[Kbar, fbar]`` by the Runge-Kutta method of order 4, the operator at every stage."""
    import numeric

    population, step = population_of(network), time / FLOW_STEPS

    def slope(at: list[Tensor]) -> list[Tensor]:
        held = network.with_parameters(at)
        update = numeric.tree_update(held, population)
        found = [block.new_empty(block.shape) for block in at]
        for node, target in network.with_parameters(found).weights.items():
            target.copy_(update[node])
        return found

    def moved(at: list[Tensor], by: list[Tensor], share: float) -> list[Tensor]:
        return [block + share * part for block, part in zip(at, by, strict=True)]

    here = list(network.parameters)
    for _ in range(FLOW_STEPS):
        first = slope(here)
        second = slope(moved(here, first, step / 2))
        third = slope(moved(here, second, step / 2))
        fourth = slope(moved(here, third, step))
        for part, share in ((first, 1), (second, 2), (third, 2), (fourth, 1)):
            here = moved(here, part, step * share / 6)
    return network.with_parameters(here)


def all_selectivities(network: TreeNetwork) -> np.ndarray:
    """Selectivities of all neurons of all latents, ``(E, neurons)``; the top counts without activation."""
    tree = network.tree
    return np.concatenate([selectivities(network, node) for node in tree.latents[1:]], axis=1)


Training = Callable[["TreeNetwork", int], "TreeNetwork"]


def distances(tree: HLTM, seed: int, device: str, train: Training, refinements: Sequence[int]) -> np.ndarray:
    """How far selectivities after so many steps are from those of the flow, ``(refinements, E)``."""
    import numeric

    network = numeric.TreeNetwork(tree, 3, 0.25, "linear", seed, device=device)
    target = all_selectivities(flow(network, TIME))
    return np.stack([np.linalg.norm(all_selectivities(train(network, n)) - target, axis=1) for n in refinements])


def trajectories(context: Context) -> Evidence:
    """Descent on the population against the flow of the operator: first order in the learning rate."""
    import numeric

    def descend(network: TreeNetwork, steps: int) -> TreeNetwork:
        return numeric.train(network, None, "simple", lr=TIME / steps, steps=steps, mode="exact").network

    rates = TIME / np.array(REFINEMENTS)
    exponents = [
        local_exponent(rates / rates.max(), distances(tree, seed, context.device, descend, REFINEMENTS)[:, 0])
        for seed, tree in small_trees(context)
    ]
    return judged("tree, trajectory", "selectivities, descent against the operator's flow, in the rate", exponents, 1.0)


def noisy_trajectories(context: Context) -> Evidence:
    """SGD with batches that grow as the rate falls, against the flow of the operator: first order in the rate."""
    import numeric

    def sgd(network: TreeNetwork, steps: int) -> TreeNetwork:
        copies = [block.expand(NOISY_MEMBERS, *block.shape[1:]).clone() for block in network.parameters]
        return numeric.train(
            network.with_parameters(copies), None, "simple", lr=TIME / steps, batch=steps // 2, steps=steps,
            seed=derived(context.seed, f"SGD {steps}"), keep_networks=False,
        ).network  # fmt: skip

    rates, exponents = np.log(TIME / np.array(NOISY_REFINEMENTS)), []
    for seed, tree in itertools.islice(small_trees(context), context.pick(quick=1, thorough=4)):
        sizes = np.log(distances(tree, seed, context.device, sgd, NOISY_REFINEMENTS))
        design = np.column_stack([np.ones(len(rates)), rates])
        slopes, *_ = np.linalg.lstsq(design, sizes, rcond=None)
        exponents += slopes[1].tolist()
    what = "selectivities, SGD with B ~ 1/rate against the operator's flow, in the rate"
    return judged("tree, SGD trajectory", what, exponents, 1.0)


def small_trees(context: Context) -> Iterator[tuple[int, HLTM]]:
    """Seeds and trees of two levels of latents, up to 6 leaves."""
    found, wanted = 0, context.pick(quick=6, thorough=30)
    for seed in itertools.count(derived(context.seed, "small trees")):
        tree = hltm.random_tree(leaves=3 + seed % 4, seed=seed)
        if len(tree.latents) > 1:
            yield seed, tree
            found += 1
        if found == wanted:
            return
