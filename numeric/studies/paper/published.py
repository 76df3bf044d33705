"""Networks and losses of the paper's published code, and a rank test of its measured results among ours.

The code differs from the paper: layers have biases; weights and biases start uniform on ``[-1, 1] / fan_in^(1/2)``;
distances are mean squares over batch *and* dimensions; the loss called nce is minus a softmax of those batch means,
without logarithm; the output is ``u / (||u|| + 1e-4)``. Written from these facts alone, with torch's own
differentiation. Complete trees only.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import integer, show
from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress
from numeric.trees.metrics import PURPOSE, absolute_correlation, latent_heights, level_means
from numeric.trees.plan import Plan, make_plan
from numeric.trees.streams import TripleSampler, same_shape

GUARD = 1e-4  # added to the norm of the output
PUBLISHED_LOSSES = ("nce", "subtract")
_TOWERS = 10


@dataclass(frozen=True, eq=False)
class PublishedNetwork:
    """E networks with biases on a complete tree.

    Attributes
    ----------
    tree : HLTM
        Its shape.
    parameters : tuple of Tensor
        For each level of latents, the root's first: weights ``(E, nodes, width, fan_in)``, then biases ``(E, nodes,
        width, 1)``.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> network = published_network(complete_tree(depth=2, branching=2, polarity=0.5), 3, [0, 1])
    >>> network.ensemble, tuple(network.forward(torch.ones(2, 4, 5)).shape)
    (2, (2, 3, 5))
    """

    tree: HLTM
    parameters: tuple[Tensor, ...]

    @property
    def ensemble(self) -> int:
        """E."""
        return len(self.parameters[0])

    def levels(self, leaves: Float[Tensor, "E n_leaves samples"]) -> list[Tensor]:
        """Activations ``(E, nodes, width, samples)`` of each level of latents; the root's first, not normalised."""
        below, result = leaves, []
        for number in range(len(self.parameters) - 2, -1, -2):
            weight, bias = self.parameters[number], self.parameters[number + 1]
            inputs = below.reshape(weight.shape[0] * weight.shape[1], weight.shape[3], leaves.shape[-1])
            before = torch.baddbmm(bias.flatten(0, 1), weight.flatten(0, 1), inputs)
            here = before.relu() if number else before
            result.append(here.unflatten(0, weight.shape[:2]))
            below = here
        return result[::-1]

    def forward(self, leaves: Float[Tensor, "E n_leaves samples"]) -> Float[Tensor, "E n_L samples"]:
        """``u / (||u|| + 1e-4)``."""
        top = self.levels(leaves)[0].squeeze(1)
        result: Tensor = top / (torch.linalg.vector_norm(top, dim=1, keepdim=True) + GUARD)
        return result


def complete_plan(tree: HLTM, width: int) -> Plan:
    """Plan of a complete tree of two states; others are refused."""
    wide = next((node for node in tree.nodes if tree.cardinality(node) != 2), None)
    if wide is not None:
        states = f"{tree.cardinality(wide)} states of node {show(wide)}"
        raise InputError(f"{states}: must be 2 for a network as published, which reads states 0 and 1")
    plan = make_plan(tree, dict.fromkeys(tree.latents, width), torch.device("cpu"))
    for depth, level in enumerate(plan.levels[:-1]):
        if level.leaves or len(level.blocks) != 1 or level.order is not None:
            raise InputError(f"tree {tree!r}: must be complete for a network as published, level {depth} is not")
    return plan


def published_network(tree: HLTM, width: int, seeds: Sequence[int]) -> PublishedNetwork:
    """Initial networks, one for each seed: PyTorch's default for linear layers, in single precision.

    Parameters
    ----------
    tree : HLTM
        A complete tree.
    width : int
        Neurons of each latent.
    seeds : sequence of int
        Member m depends on the m-th alone.

    Returns
    -------
    PublishedNetwork

    Raises
    ------
    InputError
        A tree that is not complete, a node of more states than two, a width below 1.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> network = published_network(complete_tree(depth=2, branching=2, polarity=0.5), 3, [0, 1])
    >>> [tuple(each.shape) for each in network.parameters]
    [(2, 1, 3, 6), (2, 1, 3, 1), (2, 2, 3, 2), (2, 2, 3, 1)]
    """
    plan = complete_plan(tree, integer(width, "width", 1))
    members = []
    for seed in seeds:
        generator, own = torch.Generator().manual_seed(seed), []
        for block in plan.blocks:
            bound = block.shape[1] ** -0.5
            for columns in (block.shape[1], 1):
                uniform = torch.rand(len(block.nodes), block.shape[0], columns, generator=generator)
                own.append(uniform.mul_(2 * bound).sub_(bound))
        members.append(own)
    return PublishedNetwork(tree, tuple(torch.stack(parts) for parts in zip(*members, strict=True)))


def published_loss(
    outputs: Float[Tensor, "E n_L samples"], loss: str | Sequence[str], tau: float
) -> Float[Tensor, " E"]:
    """Loss of each member from outputs of ``x_1``, ``x_+`` and ``x_-``, one third of the samples each.

    Parameters
    ----------
    outputs : Tensor
        ``(E, n_L, 3 B)``.
    loss : str, or one for each member
        ``"subtract"``: ``r_+ - r_-``; ``"nce"``: ``-e^(-r_+/tau) / (e^(-r_+/tau) + e^(-r_-/tau))``; r the mean square
        over batch and dimensions.
    tau : float
        Temperature.

    Raises
    ------
    InputError
        Another loss.

    Examples
    --------
    >>> published_loss(torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]]), "subtract", 0.1)  # (2^2 + 0) / 2
    tensor([-2.])
    """
    names = [loss] * len(outputs) if isinstance(loss, str) else list(loss)
    for name in names:
        if name not in PUBLISHED_LOSSES:
            raise InputError(f"loss={name!r}: must be one of {', '.join(PUBLISHED_LOSSES)}")
    first, positive, negative = outputs.unflatten(-1, (3, -1)).unbind(2)
    gap = (first - positive).square().mean((1, 2)) - (first - negative).square().mean((1, 2))
    if len(set(names)) == 1:
        return gap if names[0] == "subtract" else -torch.sigmoid(-gap / tau)
    plain = torch.tensor([name == "subtract" for name in names], device=outputs.device)
    return torch.where(plain, gap, -torch.sigmoid(-gap / tau))


def train_published(
    network: PublishedNetwork,
    trees: HLTM | Sequence[HLTM],
    loss: str | Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 1500,
    batch: int = 128,
    tau: float = 0.1,
    lr: float = 0.1,
    record: Callable[[PublishedNetwork, int], None] | None = None,
    record_every: int | None = None,
) -> PublishedNetwork:
    """Stochastic gradient descent with torch's own differentiation.

    Parameters
    ----------
    network : PublishedNetwork
        Not changed.
    trees : HLTM or sequence of HLTM
        One for all members, or one for each.
    loss, tau
        As in :func:`published_loss`.
    seeds : sequence of int
        Of the draws of each member, all different.
    steps, batch, lr
        Of the descent.
    record : callable, optional
        Called at the start, every `record_every` steps and at the end.

    Returns
    -------
    PublishedNetwork

    Raises
    ------
    InputError
        Trees that do not fit, or a number that is not allowed.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> tree = complete_tree(depth=2, branching=2, polarity=0.9)
    >>> before = published_network(tree, 4, [0, 1])
    >>> after = train_published(before, tree, "nce", [0, 1], steps=5)
    >>> bool((after.parameters[0] != before.parameters[0]).any())
    True
    """
    each_tree = [trees] if isinstance(trees, HLTM) else list(trees)
    same_shape([network.tree, *each_tree])
    total = integer(steps, "steps", 1)
    every = total if record_every is None else integer(record_every, "record_every", 1)
    working = [each.detach().clone().requires_grad_() for each in network.parameters]
    now = PublishedNetwork(network.tree, tuple(working))
    place, kind = working[0].device, working[0].dtype
    sampler = TripleSampler(each_tree, seeds, integer(batch, "batch", 1), 1, place, kind)
    some = sampler.steps_at_a_time
    for step in range(total):
        if record is not None and step % every == 0:
            record(now, step)
        if step % some == 0:
            drawn = sampler.leaves(step, min(some, total - step))
        value = published_loss(now.forward(drawn[step % some]), loss, tau).sum()
        gradients = torch.autograd.grad(value, working)
        with torch.no_grad():
            torch._foreach_add_(working, gradients, alpha=-lr)
    if record is not None:
        record(now, total)
    return PublishedNetwork(network.tree, tuple(each.detach() for each in working))


@torch.no_grad()
def published_correlations(
    network: PublishedNetwork, trees: HLTM | Sequence[HLTM], seeds: Sequence[int], samples: int = 12_800
) -> Float[Tensor, "E latents"]:
    """Best absolute correlation of each node, in the order of ``tree.latents``, on fresh samples; two-pass, float64.

    The root's neurons are taken before the output is normalised.

    Parameters
    ----------
    network, trees, seeds
        As in :func:`train_published`; draws are apart from those of training with the same seeds.
    samples : int
        Rounded up to a multiple of 10.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> tree = complete_tree(depth=2, branching=2, polarity=0.9)
    >>> published_correlations(published_network(tree, 4, [0, 1]), tree, [0, 1], samples=100).shape
    torch.Size([2, 3])
    """
    each_tree = [trees] if isinstance(trees, HLTM) else list(trees)
    batch = -(-samples // _TOWERS)
    kind = network.parameters[0].dtype
    sampler = TripleSampler(each_tree, seeds, batch, _TOWERS - 1, network.parameters[0].device, kind)
    number = {node: index for index, node in enumerate(network.tree.nodes)}
    parts = []
    for first in range(network.ensemble):
        here = torch.tensor([first])
        leaves, states = (
            torch.cat([v[..., :batch], v[..., 2 * batch :]], -1) for v in sampler.keep(here).states(0, PURPOSE)
        )
        own = PublishedNetwork(network.tree, tuple(each[here] for each in network.parameters))
        result = []
        for nodes, values in zip(network.tree.levels, own.levels(leaves), strict=False):
            result.append(absolute_correlation(values, states[:, [number[node] for node in nodes]]).amax(-1))
        parts.append(torch.cat(result, dim=1))
    return torch.cat(parts)


ALPHA = 0.01  # false alarms of the combined test
_LIMIT = 2**26


@dataclass(frozen=True)
class PublishedRun:
    """One run of the published code: correlations by level, level 1 first."""

    tree: str
    width: int
    loss: str
    steps: int
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Published:
    """Measured results of the published code: trees by name, ``seedS_lowX``, and the runs on them."""

    trees: Mapping[str, HLTM]
    runs: tuple[PublishedRun, ...]

    def values(self, seed: str, width: int, steps: int, moment: str) -> tuple[list[tuple[str, str]], np.ndarray]:
        """Pairs of tree and loss, and correlations ``(pairs, levels)``, of one seed and width."""
        runs = [run for run in self.runs if run.tree.split("_")[0] == seed and (run.width, run.steps) == (width, steps)]
        runs.sort(key=lambda run: (run.tree, run.loss))
        return [(run.tree, run.loss) for run in runs], np.array([getattr(run, moment) for run in runs])


@dataclass(frozen=True)
class Rank:
    """One seed and width: p-value, and z-scores of the published values ``(pairs, levels)`` against ours."""

    seed: str
    width: int
    inits: int
    p_value: float
    scores: tuple[tuple[float, ...], ...]


def read_published(path: Path) -> Published:
    """Read measured results of the published code."""
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
        if len(content) > _LIMIT:
            raise InputError(f"path={show(str(path))}: must have at most {_LIMIT} bytes")
        data = json.loads(content)
        trees = {name: published_tree(edges) for name, edges in data["trees"].items()}
        runs = tuple(_run(each) for each in data["runs"])
    except OSError as error:
        raise InputError(f"path={show(str(path))}: cannot be read: {error.strerror or error}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        rule = "must hold trees and runs of the published code"
        raise InputError(f"path={show(str(path))}: {type(error).__name__} {error}: {rule}") from None
    return Published(trees, runs)


def published_tree(edges: Mapping[str, float]) -> HLTM:
    """Tree from polarities by edge: the root is ``s``, child i of a node is its name followed by i."""
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_node("s", prior=(0.5, 0.5))
    named = {edge.split("->")[1]: (edge.split("->")[0], rho) for edge, rho in edges.items()}
    for child in sorted(named, key=lambda name: (len(name), name)):
        graph.add_edge(named[child][0], child, polarity=named[child][1])
    return HLTM(graph)


def _run(data: Mapping[str, Any]) -> PublishedRun:
    moments = [data[f"best_abs_correlation_by_level_{moment}"] for moment in ("before", "after")]
    before, after = (tuple(float(each[str(level)]) for level in range(1, len(each) + 1)) for each in moments)
    loss = "nce" if data["loss"].startswith("nce") else "subtract"
    return PublishedRun(data["tree"], int(data["width"]), loss, int(data["steps"]), before, after)


def our_values(
    published: Published, pairs: Sequence[tuple[str, str]], width: int, inits: Sequence[int], steps: int,
    progress: Progress = SILENT,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Correlations by level before and after training of networks as published, ``(N, pairs, levels)`` each.

    One of the `inits` has the same initial weights and random numbers for every pair of tree and loss.
    """
    before: list[np.ndarray] = []
    after: list[np.ndarray] = []
    for name, loss in pairs:
        tree = published.trees[name]
        heights, network = latent_heights(tree), published_network(tree, width, inits)
        progress.step(f"width {width}, {name}, {loss}: {len(inits)} networks")
        trained = train_published(network, tree, loss, inits, steps=steps)
        for values, each in ((before, network), (after, trained)):
            values.append(level_means(published_correlations(each, tree, inits), heights).numpy())
    return np.stack(before, axis=1), np.stack(after, axis=1)


def rank_test(published: np.ndarray, ours: np.ndarray) -> tuple[float, np.ndarray]:
    """p-value of one vector among others, and its z-scores against the others."""
    pooled = np.concatenate([published[None], ours])
    spread = pooled.std(0)
    scores = (pooled - pooled.mean(0)) / np.where(spread > 0, spread, 1.0)
    statistic = (scores.mean(1) ** 2).sum(-1)
    # A tie up to rounding counts against the published vector, as exchangeability needs.
    p_value = float((statistic >= statistic[0] * (1 - 1e-12)).mean())
    own = ours.std(0, ddof=1)
    return p_value, (published - ours.mean(0)) / np.where(own > 0, own, 1.0)


def combined(p_values: Sequence[float]) -> float:
    """Fisher's combination of independent p-values, by the closed form of chi-square with an even number of degrees."""
    half = -sum(math.log(p) for p in p_values)
    return math.exp(-half) * sum(half**k / math.factorial(k) for k in range(len(p_values)))


def power(groups: Sequence[np.ndarray], shift: float, trials: int = 400, seed: int = 0) -> float:
    """Power of the combined test at `ALPHA` against a shift of all levels, in standard deviations.

    In each trial one of our own vectors of each group, shifted, takes the place of the published one.
    """
    rng = np.random.default_rng(seed)
    p_values = [
        [rank_test(ours[k] + shift * ours.std(0, ddof=1), np.delete(ours, k, axis=0))[0] for k in range(len(ours))]
        for ours in groups
    ]
    result = [combined([own[rng.integers(len(own))] for own in p_values]) <= ALPHA for _ in range(trials)]
    return float(np.mean(result))


def agreement(
    published: Published, widths: Sequence[int], inits: int, steps: int, seed: int = 0,
    progress: Progress = SILENT,
) -> tuple[list[Rank], dict[str, float]]:  # fmt: skip
    """Train networks as published on the published trees and rank the measured results among them."""
    if inits < 19:
        raise InputError(f"seeds={inits}: must be at least 19 for ranks to tell anything")
    ranks, groups = [], []
    progress.start(sum((run.width, run.steps) == (width, steps) for width in widths for run in published.runs))
    for width in widths:
        if width < 5:
            raise InputError(f"widths: {width}: must be at least 5: published correlations of width 2 are clamped to 1")
        for name in sorted({tree.split("_")[0] for tree in published.trees}):
            pairs, values = published.values(name, width, steps, "after")
            if not pairs:
                raise InputError(f"widths: {width} with steps={steps}: must be those of a published run")
            _, ours = our_values(published, pairs, width, range(seed, seed + inits), steps, progress)
            p_value, scores = rank_test(values, ours)
            ranks.append(Rank(name, width, inits, p_value, tuple(map(tuple, scores.tolist()))))
            groups.append(ours)
    result = {"p_value": combined([rank.p_value for rank in ranks])}
    return ranks, result | {f"power_{shift:g}": power(groups, shift) for shift in (0.5, 1.0, 1.5, 2.0)}
