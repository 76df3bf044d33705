"""Measured results of the published code against networks as published, trained on the same trees.

The test: for one width and one of its seeds the published run is a vector, best absolute correlation by level after
training for every range of polarities and both losses (initial weights shared among them). Ours are N such vectors,
which differ in initial weights and draws. If ours do what the published code does, the N + 1 vectors are exchangeable.
Each coordinate is standardised over all N + 1; the statistic of a vector is the sum over levels of the squared mean of
its z-scores; the rank of the published one gives a p-value that is exact for every N and every dependence between
coordinates. Seeds and widths are independent: their p-values are combined by Fisher's method.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from hltm import HLTM
from hltm.base.checks import show
from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress
from numeric.studies.paper.published import published_correlations, published_network, train_published
from numeric.trees.metrics import latent_heights, level_means

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
    """Trees by name, ``seedS_lowX``, and the runs on them."""

    trees: Mapping[str, HLTM]
    runs: tuple[PublishedRun, ...]

    def values(self, seed: str, width: int, steps: int, moment: str) -> tuple[list[tuple[str, str]], np.ndarray]:
        """Pairs of tree and loss, and correlations ``(pairs, levels)``, of one seed and width."""
        mine = [run for run in self.runs if run.tree.split("_")[0] == seed and (run.width, run.steps) == (width, steps)]
        mine.sort(key=lambda run: (run.tree, run.loss))
        return [(run.tree, run.loss) for run in mine], np.array([getattr(run, moment) for run in mine])


@dataclass(frozen=True)
class Rank:
    """One seed and width: p-value, and z-scores of the published values ``(pairs, levels)`` against ours."""

    seed: str
    width: int
    inits: int
    p_value: float
    scores: tuple[tuple[float, ...], ...]


def read_published(path: Path) -> Published:
    """Read measured results of the published code.

    Raises
    ------
    InputError
        A file that cannot be read, or that holds something else.
    """
    try:
        with path.open("rb") as held:
            content = held.read(_LIMIT + 1)
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
    """Tree from polarities by edge: the root is ``s``, child i of a node is its name followed by i.

    Examples
    --------
    >>> published_tree({"s->s0": 0.5, "s->s1": -0.5}).leaves
    ('s0', 's1')
    """
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

    A number of `inits` means the same initial weights and random numbers for every pair of tree and loss.
    """
    before: list[np.ndarray] = []
    after: list[np.ndarray] = []
    for name, loss in pairs:
        tree = published.trees[name]
        heights, network = latent_heights(tree), published_network(tree, width, inits)
        progress.step(f"width {width}, {name}, {loss}: {len(inits)} networks")
        trained = train_published(network, tree, loss, inits, steps=steps)
        for held, each in ((before, network), (after, trained)):
            held.append(level_means(published_correlations(each, tree, inits), heights).numpy())
    return np.stack(before, axis=1), np.stack(after, axis=1)


def rank_test(published: np.ndarray, ours: np.ndarray) -> tuple[float, np.ndarray]:
    """p-value of one vector among others, and its z-scores against the others.

    Parameters
    ----------
    published : numpy.ndarray
        ``(pairs, levels)``.
    ours : numpy.ndarray
        ``(N, pairs, levels)``.

    Returns
    -------
    (float, numpy.ndarray)
        ``(1 + number of ours at least as far out) / (N + 1)``, and ``(pairs, levels)``.

    Examples
    --------
    >>> ours = np.arange(-19.0, 20.0).reshape(-1, 1, 1)
    >>> rank_test(np.array([[100.0]]), ours)[0], rank_test(np.array([[0.5]]), ours)[0]
    (0.025, 0.975)
    """
    pooled = np.concatenate([published[None], ours])
    spread = pooled.std(0)
    scores = (pooled - pooled.mean(0)) / np.where(spread > 0, spread, 1.0)
    statistic = (scores.mean(1) ** 2).sum(-1)
    # A tie up to rounding counts against the published vector, as exchangeability needs.
    p_value = float((statistic >= statistic[0] * (1 - 1e-12)).mean())
    own = ours.std(0, ddof=1)
    return p_value, (published - ours.mean(0)) / np.where(own > 0, own, 1.0)


def combined(p_values: Sequence[float]) -> float:
    """Fisher's combination of independent p-values, by the closed form of chi-square with an even number of degrees.

    Examples
    --------
    >>> round(combined([0.05, 0.05]), 4)
    0.0175
    """
    half = -sum(math.log(p) for p in p_values)
    return math.exp(-half) * sum(half**k / math.factorial(k) for k in range(len(p_values)))


def power(groups: Sequence[np.ndarray], shift: float, trials: int = 400, seed: int = 0) -> float:
    """How often the combined test at `ALPHA` finds a shift of all levels by so many standard deviations.

    One of our own vectors of each group, shifted, stands for the published one.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> groups = [rng.normal(size=(39, 6, 5)) for _ in range(4)]
    >>> power(groups, 0.0) < 0.05, power(groups, 3.0) > 0.95
    (True, True)
    """
    rng = np.random.default_rng(seed)
    p_values = [
        [rank_test(ours[k] + shift * ours.std(0, ddof=1), np.delete(ours, k, axis=0))[0] for k in range(len(ours))]
        for ours in groups
    ]
    found = [combined([own[rng.integers(len(own))] for own in p_values]) <= ALPHA for _ in range(trials)]
    return float(np.mean(found))


def agreement(
    published: Published, widths: Sequence[int], inits: int, steps: int, seed: int = 0,
    progress: Progress = SILENT,
) -> tuple[list[Rank], dict[str, float]]:  # fmt: skip
    """Train networks as published on the published trees and rank the measured results among them.

    Parameters
    ----------
    published : Published
    widths : sequence of int
        Of those that the published runs have. Width 2 is refused: a clamped variance spoils its correlations.
    inits : int
        N, at least 19.
    steps, seed
        Of the training; the published runs have 1500 steps.
    progress : Progress
        Told what is about to be trained.

    Returns
    -------
    (list of Rank, dict)
        One for each seed and width; ``p_value`` combined, and ``power_S`` at shifts of S standard deviations.

    Raises
    ------
    InputError
        A width or number of steps that was not published.
    """
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
    found = {"p_value": combined([rank.p_value for rank in ranks])}
    return ranks, found | {f"power_{shift:g}": power(groups, shift) for shift in (0.5, 1.0, 1.5, 2.0)}
