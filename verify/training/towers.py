"""Statements 1, 3 and 4 along training: dense towers on finite populations, measured at every checkpoint of a run.

A run is gradient descent on the exact expected loss (`numeric.descend`), which does not use connections. At every
checkpoint the gradient, by automatic differentiation of the literal sum, is compared with the formula, relative to the
largest entry of the update.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import hltm
import numeric
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.statement import Context
from verify.instances import samples
from verify.instances.in_torch import arrays_of, population_of, weights_of
from verify.instances.instance import PairInstance, PopulationInstance, freeze
from verify.instances.samples import derived
from verify.tolerance.statistics import allowed, local_exponent, order_evidence
from verify.towers import autograd
from verify.towers.autograd import autograd_update, predicted
from verify.towers.tower import Array
from verify.training.trees import selectivities
from verify.trees.agreement import tree_population_of

if TYPE_CHECKING:
    from torch import Tensor

    from hltm import HLTM
    from numeric import DescentTrace, TreeNetwork


CHECKPOINTS = 24
HORIZON = 0.25
# Numbers of steps over one and the same time, the finest last: the learning rate falls by a factor of 3.
REFINEMENTS = (8, 12, 16, 24)
# The part of the horizon in which an order is fitted: the next order in lr is then a correction, and gates rarely move.
FITTED = 0.05
# One fit for each of three losses.
DRIFT_LEVEL = 1 - allowed("drift", 3)
# A drift below this part of what it is a difference of is rounding, and says nothing about an order.
VANISHING = 1e-9


def horizon(instance: PopulationInstance, device: str = "cpu") -> float:
    """Time in which no layer changes by more than about `HORIZON` of its norm; 1 where nothing but rounding moves."""
    update, bounds, _ = autograd_update(instance, device)
    sizes = [float(np.linalg.norm(np.asarray(w))) for w in instance.weights]
    moved = [float(np.linalg.norm(np.where(np.abs(u) > b, u, 0.0))) for u, b in zip(update, bounds, strict=True)]
    fastest = max((m / size for m, size in zip(moved, sizes, strict=True) if size > 0), default=0.0)
    return HORIZON / fastest if 0 < fastest < float("inf") else 1.0


def descend(
    instance: PopulationInstance, time: float, steps: int, device: str = "cpu", *, every: int = 1
) -> DescentTrace:
    """Gradient descent from the instance's weights over that time."""
    return numeric.descend(
        weights_of(instance, device), population_of(instance, device), instance.loss, time / steps, steps,
        every=every, slope=instance.slope, **instance.options,
    )  # fmt: skip


def checkpoints(instance: PopulationInstance, trace: DescentTrace) -> Iterator[PopulationInstance]:
    """The instance with the weights of each record, from the first on."""
    for record in range(len(trace.steps)):
        yield checkpoint(instance, trace, record)


def checkpoint(instance: PopulationInstance, trace: DescentTrace, record: int) -> PopulationInstance:
    return replace(instance, weights=tuple(freeze(w) for w in arrays_of(trace.at(record))))


Measure = Callable[[Any], Measurement]


def along(instance: PopulationInstance, measure: Measure, trace: DescentTrace) -> Measurement:
    """The worst measurement over the checkpoints of a run; undecided where fewer than half could be decided.

    The last checkpoint comes first, so that what is refuted is refuted of trained weights if it can be.
    """
    if trace.diverged_at is not None:
        return Measurement(0.0, 0.0, False, trace.report)
    worst, decided = Measurement(0.0, 0.0), 0
    for record in reversed(range(len(trace.steps))):
        result = measure(checkpoint(instance, trace, record))
        if result.status == "abstained":
            continue
        decided += 1
        if decided == 1 or result.severity > worst.severity:
            worst = replace(result, detail=f"step {trace.steps[record]}: {result.detail}")
        if result.status == "refuted":
            return worst
    enough = 2 * decided >= len(trace.steps)
    return worst if enough else replace(worst, decided=False, detail=f"only {decided} checkpoints could be decided")


def conserved(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """||w_in||^2 - ||w_out||^2 of every hidden neuron, one array per hidden layer."""
    return [(a**2).sum(axis=1) - (b**2).sum(axis=0) for a, b in itertools.pairwise(weights)]


def gates_stay(instance: PopulationInstance, trace: DescentTrace) -> bool:
    """Whether no gate of any input changes over the records of a run.

    Where a gate flips, the flow has a kink, and what descent misses there is of first order too, but erratic in lr.
    """
    import torch

    points = population_of(instance, str(trace.losses.device)).flat_points
    start = numeric.trace(trace.at(0), points, instance.slope).gates
    return all(
        bool(torch.equal(a, b))
        for record in range(1, len(trace.steps))
        for a, b in zip(start, numeric.trace(trace.at(record), points, instance.slope).gates, strict=True)
    )


def drifts(instance: PopulationInstance, device: str = "cpu") -> tuple[np.ndarray, np.ndarray] | None:
    """Learning rates, and how far descent over one fixed time moves what the flow conserves.

    None where a run diverges, a gate flips, or nothing drifts.
    """
    time = FITTED * horizon(instance, device)
    finest = descend(instance, time, REFINEMENTS[-1], device)
    if finest.diverged_at is not None or not gates_stay(instance, finest):
        return None
    sizes = []
    for steps in REFINEMENTS:
        trace = finest if steps == REFINEMENTS[-1] else descend(instance, time, steps, device, every=steps)
        start, end = (arrays_of(trace.at(record)) for record in (0, -1))
        moved = [b - a for a, b in zip(conserved(start), conserved(end), strict=True)]
        size = float(np.sqrt(sum((m**2).sum() for m in moved)))
        if not size > VANISHING * sum(float((w**2).sum()) for w in end):
            return None
        sizes.append(size)
    return time / np.array(REFINEMENTS), np.array(sizes)


def drift_order(
    instances: Iterable[PopulationInstance], claimed: int, *, source: str, wanted: int, device: str
) -> Evidence:
    """Fit the exponent of the drift in the learning rate and judge the interval of its mean."""
    exponents: list[float] = []
    skipped = 0
    for instance in instances:
        if len(exponents) == wanted:
            break
        result = drifts(instance, device)
        if result is None:
            skipped += 1
            continue
        rates, sizes = result
        exponents.append(local_exponent(rates / rates.max(), sizes))
    what = "order in lr of the drift of ||w_1j||^2 - ||w_2j||^2 over fixed time"
    if len(exponents) < wanted:
        detail = f"{what}: only {len(exponents)} of {wanted} runs could be fitted"
        return Evidence("trained", "abstained", source, len(exponents), skipped, detail=detail)
    return order_evidence("trained", source, f"{what}:", exponents, claimed, DRIFT_LEVEL, skipped)


LOSSES = ("simple", "triplet", "infonce")
RELATIVE = 1e-10
# An update below this part of the weights is a fixed point, where relative to the update means nothing.
STILL = 1e-5
STEPS_BETWEEN = 2
# The flow of the simple loss leaves every bound in finite time, soon after the weights have changed by their own size.
HORIZONS = {"simple": 0.5, "triplet": 4.0, "infonce": 4.0}
HALVINGS = 6

Formula = Callable[[PopulationInstance, str], "list[Array]"]


@dataclass(frozen=True)
class Run:
    """An instance and its copies with the weights of every checkpoint of a run, the first with its own."""

    start: PopulationInstance
    points: tuple[PopulationInstance, ...]
    steps: tuple[int, ...]
    finished: bool


def runs(instances: Iterator[PopulationInstance], device: str) -> Iterator[Run]:
    """Train from every instance while the weights change by about their own size; less where that diverges."""
    for instance in instances:
        time = HORIZONS[instance.loss] * horizon(instance, device)
        for _ in range(HALVINGS):
            trace = descend(instance, time, CHECKPOINTS * STEPS_BETWEEN, device, every=STEPS_BETWEEN)
            if trace.diverged_at is None:
                break
            time /= 2
        yield Run(instance, tuple(checkpoints(instance, trace)), trace.steps, trace.diverged_at is None)


def towers(seed: int, count: int, losses: tuple[str, ...], *, augmented: bool) -> Iterator[PopulationInstance]:
    """Toys, and digits once for each loss, the losses in turn; without augmentation on request."""
    few, size = None if augmented else 1, len(losses)
    toys = samples.toy_populations(seed, count, losses, augmentations=few, points=4, layers=4, width=5)
    digits = samples.digit_populations(
        seed, size, losses, images=10, augmentations=3 if augmented else 1, widths=(64, 6, 4)
    )
    for instance in (*toys, *digits):
        yield replace(instance, weights=tuple(freeze(np.asarray(w) / 2) for w in instance.weights))


def in_pairs(instance: PopulationInstance, device: str) -> list[Array]:
    """The whole update of statement 4, theta included."""
    return list(autograd.update(instance, device))


def measure_run(run: Run, formula: Formula, device: str) -> Measurement:
    """The worst relative residual over the checkpoints of a run; undecided if fewer than 20 could be decided."""
    worst, decided = Measurement(0.0, RELATIVE), 0
    for step, point in zip(run.steps, run.points, strict=True):
        update, _, near = autograd_update(point, device)
        scale = max(float(np.abs(layer).max()) for layer in update)
        if near or not scale > STILL * max(float(np.abs(np.asarray(w)).max()) for w in point.weights):
            continue
        decided += 1
        sides = zip(update, formula(point, device), strict=True)
        residual = max(float(np.abs(left - right).max()) for left, right in sides) / scale
        if not residual <= worst.residual:
            worst = replace(worst, residual=residual, detail=f"step {step}")
    enough = decided >= 20 and run.finished
    return worst if enough else replace(worst, decided=False, detail=f"only {decided} checkpoints could be decided")


def evidence(
    context: Context, formula: Formula, *, seed: int, augmented: bool, losses: tuple[str, ...], detail: str
) -> Evidence:
    """The formula at every checkpoint of runs with these losses."""
    count = context.pick(quick=6, thorough=90)
    chosen = towers(seed, count, losses, augmented=augmented)
    result = tally(
        "trained", "descent", list(runs(chosen, context.device)),
        lambda run: measure_run(run, formula, context.device),
        at_least=count - count // 3, detail=detail,
    )  # fmt: skip
    return replace(result, counterexample=None if result.counterexample is None else result.counterexample.start)


def shares_of_theta(context: Context, seed: int) -> str:
    """Size of theta relative to the update, before and after training, in words: a measurement, not a claim."""
    before: list[float] = []
    after: list[float] = []
    for run in runs(towers(seed, 4, ("triplet", "infonce"), augmented=True), context.device):
        if run.finished:
            for kept, point in ((before, run.points[0]), (after, run.points[-1])):
                update, _, _ = autograd_update(point, context.device)
                sides = list(zip(update, predicted(point, context.device), strict=True))
                whole = sum(float((left**2).sum()) for left, _ in sides) ** 0.5
                rest = sum(float(((left - right) ** 2).sum()) for left, right in sides) ** 0.5
                if whole > 0:
                    kept.append(rest / whole)
    return f"||theta|| / ||update||, median: {np.median(before):.2g} before training, {np.median(after):.2g} after"


def simple(context: Context) -> Evidence:
    """Statement 3 along training."""
    return evidence(
        context, predicted, seed=context.seed + 11, augmented=True, losses=("simple",),
        detail=f"2 V[Kbar] vec W at {CHECKPOINTS + 1} checkpoints of each run, relative to the update",
    )  # fmt: skip


def weighted(context: Context) -> Evidence:
    """Statement 4 along training, without augmentation: V^xi is all."""
    return evidence(
        context, predicted, seed=context.seed + 12, augmented=False, losses=("triplet", "infonce"),
        detail=f"no augmentation: V^xi vec W at {CHECKPOINTS + 1} checkpoints of each run, relative to the update",
    )  # fmt: skip


def with_theta(context: Context) -> Evidence:
    """Statement 4 along training, with augmentation: V^xi and theta together, and how large theta is."""
    result = evidence(
        context, in_pairs, seed=context.seed + 13, augmented=True, losses=("triplet", "infonce"),
        detail=f"V^xi vec W + theta at {CHECKPOINTS + 1} checkpoints of each run, relative to the update",
    )  # fmt: skip
    return replace(result, detail=f"{result.detail}; {shares_of_theta(context, context.seed + 13)}")


def pairs_along(context: Context, measure: Callable[[PairInstance, str], Measurement]) -> Evidence:
    """Statement 1 along training: towers of two checkpoints of a run on two inputs of its population."""
    count = context.pick(quick=6, thorough=90)
    rng = samples.generator(context.seed, "trained pairs")

    def pairs() -> Iterator[PairInstance]:
        for run in runs(towers(context.seed + 10, count, LOSSES, augmented=True), context.device):
            inputs = [x for point in run.start.points for x in point]
            for number, point in enumerate(run.points):
                # The same weights in both towers, as training has them, and those of another checkpoint.
                other = point if number % 2 else run.points[int(rng.integers(len(run.points)))]
                first, second = (inputs[int(rng.integers(len(inputs)))] for _ in range(2))
                yield PairInstance(run.start.slope, point.weights, other.weights, first, second)

    return tally(
        "trained", "descent", pairs(), lambda pair: measure(pair, context.device),
        at_least=20 * (count // 2),
        detail=f"autograd = K_1 (K_1^T w_1 - K_2^T w_2) at {CHECKPOINTS + 1} checkpoints of each run, all losses",
    )  # fmt: skip


# Statement 3 with minibatches: the rate of the sampling error, and trajectories against the flow of the operator.

# Minibatches, descent, SGD.
RATE_LEVEL = 1 - allowed("rates", 3)
MEMBERS = 64
BATCHES = (16, 64, 256, 1024)
# Samples in memory together: small enough for the cache.
CHUNK = 2048
# Steps over one and the same time, the finest last; noise needs a wider range to fit.
NOISY_REFINEMENTS = (4, 16, 64)
NOISY_MEMBERS = 1024
TIME = 0.1
FLOW_STEPS = 60


def judged(source: str, what: str, exponents: list[float], claimed: float) -> Evidence:
    """The interval of the mean exponent against the claimed one."""
    return order_evidence("trained", source, f"{what}: exponent", exponents, claimed, RATE_LEVEL, noun="a rate")


def slopes(x: Any, y: np.ndarray) -> list[float]:
    """Exponents of ``y ~ x^k``, one for each column of y, by least squares in logarithms."""
    design = np.column_stack([np.ones(len(x)), np.log(x)])
    solution, *_ = np.linalg.lstsq(design, np.log(y), rcond=None)
    return list(solution[1].tolist())


def operator_update(network: TreeNetwork, samples: int, generator: Any) -> list[Tensor]:
    """``2 Cov_x[Kbar_mu, fbar_L] = (1 - rho_0^2)/2 DK Df_L`` of every node of a binary tree, D over z_0, by sampling.

    ``DK`` and ``Df_L`` come from samples apart, so that their product has the right expectation.
    """
    tree, result = network.tree, [block.new_zeros(block.shape) for block in network.parameters]
    top: Any = 0.0
    for state in (1, 0):
        leaves = numeric.sample_leaves(tree, samples, generator=generator, root_states=state, device=network.device)
        top = top + (2 * state - 1) * network.forward(leaves).mean(1)
    share, weights = 0.5 * (1 - tree.root_polarity**2) / samples, network.with_parameters(result).weights
    for state in (1, 0):
        for _ in range(samples // CHUNK):
            leaves = numeric.sample_leaves(tree, CHUNK, generator=generator, root_states=state, device=network.device)
            for node, factors in numeric.tree_factors(network, leaves).items():
                backward = (factors.jacobian * top[:, None, :, None]).sum(2)
                weights[node] += (2 * state - 1) * share * (backward.mT @ factors.activation)
    return result


def minibatch_errors(network: TreeNetwork, truth: list[Tensor], batch: int, seed: int) -> np.ndarray:
    """Distance of the updates of `MEMBERS` minibatches of the simple loss from the truth, ``(MEMBERS,)``."""
    copies = network.with_parameters([block.expand(MEMBERS, *block.shape[1:]).clone() for block in network.parameters])
    # One step with learning rate 1: what it moves is the update.
    trace = numeric.train(copies, network.tree, "simple", lr=1.0, batch=batch, steps=1, seed=seed, keep_networks=False)
    moved = [after - before for after, before in zip(trace.network.parameters, copies.parameters, strict=True)]
    gaps = [(step - right).flatten(1).square().sum(1) for step, right in zip(moved, truth, strict=True)]
    return np.sqrt(sum(gaps[1:], gaps[0]).cpu().numpy())


def minibatches(context: Context) -> Evidence:
    """The error of a minibatch update on 32 leaves against the operator, before and after training."""
    import torch

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
        exponents += slopes(BATCHES, np.stack(sizes))
    return judged("tree, minibatches", "error of a minibatch update against the operator, 32 leaves", exponents, -0.5)


def flow(network: TreeNetwork, time: float) -> TreeNetwork:
    """Follow ``dW/dt = 2 Cov_x[Kbar, fbar]`` by the Runge-Kutta method of order 4, the operator at every stage."""
    population, step = tree_population_of(network), time / FLOW_STEPS

    def slope(at: list[Tensor]) -> list[Tensor]:
        update = numeric.tree_update(network.with_parameters(at), population)
        result = [block.new_empty(block.shape) for block in at]
        for node, target in network.with_parameters(result).weights.items():
            target.copy_(update[node])
        return result

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
    """Distances of the selectivities after these numbers of steps from those of the flow, ``(refinements, E)``."""
    network = numeric.TreeNetwork(tree, 3, 0.25, "linear", seed, device=device)
    target = all_selectivities(flow(network, TIME))
    return np.stack([np.linalg.norm(all_selectivities(train(network, n)) - target, axis=1) for n in refinements])


def trajectories(context: Context) -> Evidence:
    """Descent on the population against the flow of the operator: first order in the learning rate."""

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

    def sgd(network: TreeNetwork, steps: int) -> TreeNetwork:
        copies = [block.expand(NOISY_MEMBERS, *block.shape[1:]).clone() for block in network.parameters]
        return numeric.train(
            network.with_parameters(copies), None, "simple", lr=TIME / steps, batch=steps // 2, steps=steps,
            seed=derived(context.seed, f"SGD {steps}"), keep_networks=False,
        ).network  # fmt: skip

    rates, exponents = TIME / np.array(NOISY_REFINEMENTS), []
    for seed, tree in itertools.islice(small_trees(context), context.pick(quick=1, thorough=4)):
        exponents += slopes(rates, distances(tree, seed, context.device, sgd, NOISY_REFINEMENTS))
    what = "selectivities, SGD with B ~ 1/rate against the operator's flow, in the rate"
    return judged("tree, SGD trajectory", what, exponents, 1.0)


def small_trees(context: Context) -> Iterator[tuple[int, HLTM]]:
    """Seeds and trees of two levels of latents, up to 6 leaves."""
    result, wanted = 0, context.pick(quick=6, thorough=30)
    for seed in itertools.count(derived(context.seed, "small trees")):
        tree = hltm.random_tree(leaves=3 + seed % 4, seed=seed)
        if len(tree.latents) > 1:
            yield seed, tree
            result += 1
        if result == wanted:
            return
