"""Networks along training, for statement 7: bound and ceiling all along, amplification, emergence of the latents.

The loss sees leaves only. Training is `numeric.train` on the enumerated leaves, descent on the exact expected InfoNCE
loss, so that a network is a function of its seed and its step, with no sampling error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

import numeric
from verify.engine.evidence import Evidence, Measurement, Status
from verify.instances.samples import generator
from verify.tolerance.rounding import gamma, worse
from verify.tolerance.statistics import (
    POWER,
    Interval,
    allowed,
    fewest_rises,
    judge_signs,
    mean_interval,
    order_effect,
    sign_effect,
)
from verify.trees.agreement import network_of
from verify.trees.lucky import STATED, TRAINED_VARIANTS, Claim, Sizes, applies_to
from verify.trees.lucky_floats import array, leaf_laws, neurons_at, prior, selectivity_bound_measure
from verify.trees.samples import tree_of

if TYPE_CHECKING:
    from hltm import HLTM
    from numeric import TreeNetwork
    from verify.instances.instance import TreeInstance


# Final selectivity and its growth: two intervals.
LEVEL = 1 - allowed("amplification", 2)
# A ceiling is a sum of positive terms over at most a few thousand configurations, less P(z_mu = 1)^2.
CEILING_ERROR = gamma(2**14)
# A group's correlation that changes by less does not rise: far above the rounding error of a read-out with noise (its
# condition number is at most 1 + n/0.1), far below what training does.
STILL = 2.0**-30
GROUP_NOISE = 0.1


@dataclass(frozen=True, eq=False)
class Training:
    """An ensemble along training: recorded steps, and the networks there."""

    steps: tuple[int, ...]
    networks: tuple[TreeNetwork, ...]


@dataclass(frozen=True)
class Plan:
    """Sizes and options of a training."""

    width: int = 10
    ensemble: int = 24
    steps: int = 200
    record_every: int = 10
    lr: float = 0.5
    tau: float = 0.5
    sigma_w: float = 0.3
    slope: float = 0.0
    seed: int = 0


@lru_cache(maxsize=4)
def trained_networks(tree: HLTM, plan: Plan, device: str = "cpu") -> Training:
    """Train an ensemble by descent on the exact expected InfoNCE loss, H = 1, and keep it along the way."""
    network = numeric.TreeNetwork(
        tree, plan.width, plan.slope, seed=plan.seed, ensemble=plan.ensemble, device=device, sigma_w=plan.sigma_w
    )
    return train(network, plan)


def train(network: TreeNetwork, plan: Plan) -> Training:
    """Train given networks; their tree is where the leaves come from."""
    trace = numeric.train(
        network, loss="infonce", tau=plan.tau, lr=plan.lr, steps=plan.steps, seed=plan.seed,
        record_every=plan.record_every, mode="exact",
    )  # fmt: skip
    kept = list(trace.networks())
    return Training(tuple(step for step, _ in kept), tuple(one for _, one in kept))


# Steps are short: weights of instances are as large as 3, their outputs larger.
SHORT = Plan(steps=5, record_every=5, lr=0.01)
LEAF_LIMIT = 5


def measure_trained(instance: TreeInstance, claim: Claim | None = None, device: str = "cpu") -> Measurement:
    """The bound on the network of an instance after some steps of training; not decided where no weight has moved."""
    claim = claim or STATED
    if not claim.says("bound") or len(instance.tree.leaves) > LEAF_LIMIT:
        return Measurement(0.0, 0.0, False, "no bound is claimed, or too many leaves for a short training")
    network = network_of(instance, device)
    last = train(network, SHORT).networks[-1]
    moved = [bool((last.matrix(node) != network.matrix(node)).any()) for node in hidden(instance.tree)]
    if not any(moved):
        return Measurement(0.0, 0.0, False, "training moved no neuron below the top")
    return selectivity_bound_measure(last, claim=claim)


def amplification(initial_gap: Any, final_selectivity: Any, level: float = LEVEL) -> Interval:
    """Spearman rank correlation between initial gap and final selectivity, with an interval over the members.

    Neurons of one network depend on each other, networks of an ensemble do not: the correlation is taken within each
    member, and the Student interval is that of their mean. A member without any variation counts as 0.
    """
    from scipy.stats import rankdata

    first, last = (np.asarray(value, dtype=np.float64) for value in (initial_gap, final_selectivity))
    if first.shape != last.shape or first.ndim != 2 or first.shape[1] < 3:
        raise ValueError(f"shapes {first.shape} and {last.shape}: must be the same, (E, n) with n at least 3")
    ranks = [rankdata(value, axis=1) for value in (first, last)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return mean_interval(list(np.where(scale > 0, (a * b).sum(axis=1) / np.where(scale > 0, scale, 1.0), 0.0)), level)


def hidden(tree: HLTM) -> list[Any]:
    """Latents below the top that the statement applies to: their neurons have an activation."""
    return [node for node in tree.latents if node != tree.root and applies_to(tree, node)]


def ceiling(tree: HLTM, node: Any) -> float:
    """Correlation of ``E[z_mu | leaves below mu]`` with z_mu: no function of these leaves can have a larger one."""
    _, law, _ = leaf_laws(tree, node)
    share = prior(tree, node)
    joint = np.array([1 - share, share])[:, None] * law
    total = joint.sum(axis=0)
    seen = total > 0
    spread = float((joint[1, seen] ** 2 / total[seen]).sum()) - share**2
    return float((spread / (share * (1 - share))) ** 0.5)


def best_correlation(network: TreeNetwork, node: Any) -> float:
    """Best absolute correlation of a neuron of N_mu with z_mu, the mean over members."""
    return float(np.abs(array(neurons_at(network, node).correlation)).max(axis=1).mean())


def gaps(network: TreeNetwork, nodes: Sequence[Any]) -> np.ndarray:
    """Gaps of all neurons of these nodes, (E, neurons)."""
    return np.concatenate([array(neurons_at(network, node).gap) for node in nodes], axis=1)


def selectivities(network: TreeNetwork, nodes: Sequence[Any]) -> np.ndarray:
    """Selectivities of all neurons of these nodes, (E, neurons)."""
    return np.concatenate([array(neurons_at(network, node).selectivity) for node in nodes], axis=1)


def bound_along_training(training: Training, source: str, at_least: int = 21) -> Evidence:
    """The bound on every neuron at every recorded step; and each false bound falls on some trained neuron.

    A bound that trained neurons are too far from to refute what is false of it would be no evidence.
    """
    worst, count = Measurement(0.0, 0.0), 0
    for step, network in zip(training.steps, training.networks, strict=True):
        result = selectivity_bound_measure(network)
        count += result.decided
        worst = result if result.severity >= worst.severity else worst
        if result.status == "refuted":
            detail = f"step {step}: {result.detail}"
            return Evidence("trained", "refuted", source, count, 0, result.residual, result.tolerance, detail)
    kept = [variant.name for variant in TRAINED_VARIANTS if not falls(training.networks[1:], variant.claim)]
    status: Status = "holds" if count >= at_least and not kept else "abstained"
    detail = (
        f"bound on every neuron at {count} recorded steps; {len(TRAINED_VARIANTS) - len(kept)} false bounds fall there"
    )
    if kept:
        detail += f", not {', '.join(kept)}"
    return Evidence("trained", status, source, count, 0, worst.residual, worst.tolerance, detail)


def falls(networks: Sequence[TreeNetwork], claim: Claim) -> bool:
    """Whether a false bound is violated by some neuron of some network."""
    return any(selectivity_bound_measure(network, claim=claim).status == "refuted" for network in networks)


def amplified(training: Training, source: str) -> Evidence:
    """Final selectivity, and its growth, follow the initial gap: an interval that does not lie above 0 refutes.

    The growth is what training does; the selectivity follows the gap at initialisation already.
    """
    first, last = training.networks[0], training.networks[-1]
    nodes = hidden(first.tree)
    start, end = selectivities(first, nodes), selectivities(last, nodes)
    gap = gaps(first, nodes)
    result, growth = amplification(gap, end), amplification(gap, end - start)
    status: Status = "holds" if result.low > 0 and growth.low > 0 else "refuted"
    least = max(order_effect(one, 0.0, len(gap)) for one in (result, growth))
    detail = (
        f"rank correlation with the initial gap: final selectivity {result}, growth of the selectivity {growth}; "
        f"both above 0; detects {least:.2f} with probability {POWER}"
    )
    return Evidence("trained", status, source, len(gap), detail=detail, effect=f"a rank correlation of {least:.2f}")


def below_ceiling(trainings: dict[int, Training], source: str) -> Evidence:
    """No neuron's correlation with its latent exceeds the ceiling, at any step; how near they come is measured.

    True of every function of the leaves below, trained or not: this decides on the two computations, not on training.
    The numbers, start to end by width, are measurements and no claim. By rounding a correlation is off by at most
    8 times what a mean is off by, in standard deviations.
    """
    worst, count, outcome = Measurement(0.0, CEILING_ERROR), 0, []
    tree = next(iter(trainings.values())).networks[0].tree
    for node in tree.latents:
        limit = ceiling(tree, node)
        parts = []
        for width, training in trainings.items():
            for network in training.networks:
                result = neurons_at(network, node)
                spread = array(result.spread)
                tolerance = 8 * array(result.error) / np.where(spread > 0, spread, 1.0) + CEILING_ERROR
                excess = np.maximum(np.abs(array(result.correlation)) - limit, 0.0)
                worst = worse(worst, excess, tolerance, f"ceiling at {node!r}, width {width}")
                count += 1
            start, end = (best_correlation(training.networks[k], node) for k in (0, -1))
            parts.append(f"width {width}: {start:.3f} to {end:.3f}")
        outcome.append(f"{node!r} {', '.join(parts)} of at most {limit:.3f}")
    detail = f"no correlation with a latent exceeds its ceiling; best of a group, start to end: {'; '.join(outcome)}"
    if worst.status != "holds":
        detail = worst.detail
    return Evidence("trained", worst.status, source, count, 0, worst.residual, worst.tolerance, detail)


def group_levels(network: TreeNetwork, noise: float = GROUP_NOISE) -> np.ndarray:
    """Correlation of each latent with its whole group, mean over the nodes of a level, (E, levels)."""
    tree = network.tree
    return array(numeric.level_means(numeric.group_correlations(network, noise=noise), numeric.latent_heights(tree)))


def emergence(trainings: dict[int, Training], source: str) -> Evidence:
    """A group's correlation with its latent rises in most networks: a sign test for each level and width.

    Refuted where significantly fewer than half rise, undecided in between. Predicted for linear outputs, InfoNCE,
    symmetric trees and small initial weights: the expected update lies mostly along the gap (statement 6: the operator
    of the top node has rank one), so that this direction gathers the variance of the group.
    """
    levels = max(numeric.latent_heights(next(iter(trainings.values())).networks[0].tree))
    rate = allowed("emergence", levels * len(trainings))
    statuses, outcome, effects, count = [], [], [], 0
    for width, training in trainings.items():
        first, last = training.networks[0], training.networks[-1]
        start, end = group_levels(first), group_levels(last)
        bare = [group_levels(network, 0).mean(axis=0) for network in (first, last)]
        trials, count = len(start), count + len(start)
        effects.append(sign_effect(trials, rate))
        for level in reversed(range(levels)):
            rises = int((end[:, level] > start[:, level] + STILL).sum())
            statuses.append(judge_signs(rises, trials, rate))
            outcome.append(
                f"width {width}, level {level + 1}: {rises} of {trials} rise, {start[:, level].mean():.3f} to "
                f"{end[:, level].mean():.3f} (without noise {bare[0][level]:.3f} to {bare[1][level]:.3f})"
            )
    status: Status = "holds"
    for worse_one in ("abstained", "refuted"):
        status = worse_one if worse_one in statuses else status
    needed = sorted({fewest_rises(len(one.networks[0].parameters[0]), rate) for one in trainings.values()})
    effect = f"a group that rises in {min(effects):.1%} of the networks or fewer"
    detail = (
        f"correlation of a group, read with noise of {GROUP_NOISE:g} of its mean variance, start to end of training: "
        f"{'; '.join(outcome)}; {' or '.join(map(str, needed))} rises are enough; refutes {effect}, probability {POWER}"
    )
    return Evidence("trained", status, source, count, detail=detail, effect=effect)


# Trees on which networks are trained, and coefficients of the gap's law.


def training_trees() -> dict[str, HLTM]:
    """Trees with uneven tables, so that trained neurons come near the bound in every way in which it can fail."""
    first, even, falling, rising = (0.125, 0.875), (0.125, 0.875), (0.9375, 0.5), (0.5, 0.9375)
    return {
        "two groups": tree_of({
            "a": ("r", first), "b": ("r", first),
            "a0": ("a", even), "a1": ("a", falling), "b0": ("b", (0.5, 0.0625)), "b1": ("b", rising),
        }),
        "two levels": tree_of({
            "a": ("r", first), "r0": ("r", even),
            "b": ("a", first), "a0": ("a", falling), "b0": ("b", (0.5, 0.0625)), "b1": ("b", rising),
        }),
    }  # fmt: skip


def coefficient_lists(seed: int, count: int, most: int) -> Iterator[Sizes]:
    """Positive coefficients a_i, some equal, one to `most` of them."""
    rng = generator(seed, "gap law")
    for index in range(count):
        size = 1 + index % most
        yield tuple(sorted(Fraction(int(n), 16) for n in rng.integers(1, 16, size=size, endpoint=True)))
