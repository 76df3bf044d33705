"""Parameters of a tree from data, by expectation-maximisation with exact message passing.

Nodes without a column are latent, single values may be missing. Rows are counted by distinct values; messages of all of
them pass at once, in double precision, rescaled against underflow. The log-likelihood never decreases (with smoothing:
its sum with the log-density of the prior). Data say nothing of the labels of latent states: they are ordered by a rule.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from hltm.base.checks import SUM_TOLERANCE, Node, integer, number, show
from hltm.base.checks import seed as check_seed
from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress
from hltm.records import MISSING, Records, check_records
from hltm.tree import HLTM

STARTS, ITERATIONS, TOLERANCE = 5, 1000, 1e-9
_NUMBERS = 2**22  # messages in memory at a time
WORK_LIMIT = 2**33  # distinct rows times states of all nodes

Tables = dict[Node, np.ndarray]  # the law of the root as one row, the table of every other node


@dataclass(frozen=True)
class Fit:
    """Parameters that were fitted to data.

    Attributes
    ----------
    tree : HLTM
        The tree with the fitted prior and tables, floats.
    log_likelihood : float
        Natural logarithm of the probability of all observations (of what is not missing of them).
    history : tuple of float
        What is maximised before each iteration and at the end: the log-likelihood, with smoothing plus
        ``smoothing * sum log p`` over all entries; it never decreases but for rounding.
    converged : bool
        Whether the last iteration changed it by less than the tolerance for each observation.
    starts : tuple of float
        The last value of every start; the best of them was taken.
    observations, distinct : int
        Number of rows, and of distinct rows.
    latent : tuple of Node
        Nodes without an observation, whose states are identified up to their labels.

    Examples
    --------
    >>> from hltm import fit_parameters, star_tree
    >>> fit_parameters(star_tree(2, polarity=0.5), {0: [0, 0, 1, 1], 1: [0, 1, 1, 1], 2: [0, 1, 0, 1]})
    Fit(log_likelihood=-6.93147, iterations=2, converged=True, observations=4, starts=1)
    """

    tree: HLTM
    log_likelihood: float
    history: tuple[float, ...]
    converged: bool
    starts: tuple[float, ...]
    observations: int
    distinct: int
    latent: tuple[Node, ...] = ()

    @property
    def iterations(self) -> int:
        """Number of iterations of the best start."""
        return len(self.history) - 1

    def __repr__(self) -> str:
        sizes = f"observations={self.observations}, starts={len(self.starts)}"
        ends = f"iterations={self.iterations}, converged={self.converged}"
        return f"Fit(log_likelihood={self.log_likelihood:.6g}, {ends}, {sizes})"


def fit_parameters(
    tree: HLTM,
    data: Mapping[Node, ArrayLike] | Records,
    *,
    smoothing: float = 0.0,
    starts: int = STARTS,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Fit:
    """Fit the prior and the tables of a tree to observations of its nodes, by maximum likelihood (EM).

    Parameters
    ----------
    tree : HLTM
        Shape and states are kept. Its own tables are the first start.
    data : mapping of Node to array of shape (n,)
        Observed states, integers with -1 where missing, or names of states (``""``, ``"NA"``, ``"?"`` and None where
        missing). Every leaf needs a column; nodes without one are latent.
    smoothing : float
        Added to every expected count, from 0 on: the mode under Dirichlet priors of ``1 + smoothing``.
    starts : int
        Number of starts: the tables of the tree, then random ones. One is enough where nothing is hidden.
    iterations : int
        At most so many of each start.
    tolerance : float
        Iterations end where what is maximised grows by less than this for each observation, in nats.
    seed : int
        Of the random starts.
    progress : Progress
        Told of every start.

    Returns
    -------
    Fit
        The best start. A latent is identified up to the labels of its states alone. States that have names are matched
        to those of `tree`, by the tables of the children. Others, and those whose tables in `tree` do not tell them
        apart, which lose their names, are ordered from the leaves up by the mean state number of the first child given
        each state: with two states its polarity to the first child is not negative.

    Raises
    ------
    InputError
        A leaf without data, an unknown node or state, data of probability zero under every start, sizes that are too
        large, or a value that is not allowed.

    Source
    ------
    Dempster, Laird and Rubin (1977); expected counts by the sum-product algorithm on the tree of statement 6.

    Examples
    --------
    >>> from hltm import sample, star_tree
    >>> states = sample(star_tree(3, polarity=0.8), 20_000, seed=1)
    >>> fit = fit_parameters(star_tree(3, polarity=0.5), {leaf: states[leaf] for leaf in (1, 2, 3)}, seed=2)
    >>> fit.converged, round(abs(fit.tree.polarity(0, 2)), 1)
    (True, 0.8)
    """
    records = data if isinstance(data, Records) else check_records(tree, data)
    _check_leaves(tree, records)
    strength, many = _from_zero(smoothing, "smoothing"), integer(starts, "starts", 1)
    most, close = integer(iterations, "iterations", 1), _from_zero(tolerance, "tolerance")
    rng = np.random.default_rng(check_seed(seed))
    problem = _Problem(tree, records, strength)
    many = 1 if problem.complete else many
    runs = []
    progress.start(many, "fitting")
    for start in range(many):
        tables = problem.first() if start == 0 else _random_tables(tree, rng)
        runs.append(problem.climb(tables, most, close))
        progress.at(start + 1, f"fitting, start {start + 1} of {many}")
    tables, history, converged = max(runs, key=lambda run: run[1][-1])
    ends = tuple(run[1][-1] for run in runs)
    value = history[-1] - problem.log_prior(tables)
    fitted = _tree_of(tree, *_ordered(tree, tables, problem.observed))
    latent = tuple(node for node in tree.nodes if node not in problem.observed)
    return Fit(fitted, value, tuple(history), converged, ends, records.observations, len(records.counts), latent)


def _check_leaves(tree: HLTM, records: Records) -> None:
    """Refuse leaves without data, which would keep their tables."""
    column = {node: number for number, node in enumerate(records.nodes)}
    for leaf in tree.leaves:
        if leaf not in column or (records.states[:, column[leaf]] == MISSING).all():
            raise InputError(f"data: no observation of leaf {show(leaf)}; every leaf of the tree needs some")
    work = len(records.counts) * sum(tree.cardinality(node) for node in tree)
    if work > WORK_LIMIT:
        rule = f"must be at most {WORK_LIMIT:,}, are {work:,}"
        raise InputError(
            f"data of {len(records.counts):,} distinct rows times the states of {len(tree):,} nodes: {rule}"
        )


def _from_zero(value: object, name: str) -> float:
    plain = float(number(value, name))
    if plain < 0:
        raise InputError(f"{name}={show(value)}: must not be negative")
    return plain


def _random_tables(tree: HLTM, rng: np.random.Generator) -> Tables:
    """Rows drawn uniformly from all laws."""
    sizes = {tree.root: (1, tree.cardinality(tree.root))}
    sizes |= {child: (tree.cardinality(above), tree.cardinality(child)) for above, child in tree.edges}
    return {node: rng.dirichlet(np.ones(states), rows) for node, (rows, states) in sizes.items()}


class _Problem:
    """Expected counts of some observations, and the steps from tables to better ones."""

    def __init__(self, tree: HLTM, records: Records, smoothing: float) -> None:
        self.tree, self.counts, self.smoothing = tree, records.counts, smoothing
        seen = (records.states != MISSING).any(axis=0)
        self.column = {node: records.states[:, k] for k, node in enumerate(records.nodes) if seen[k]}
        self.observed = set(self.column)
        self.complete = len(self.column) == len(tree) and not (records.states == MISSING).any()
        states = sum(tree.cardinality(node) for node in tree)
        self.some = max(1, _NUMBERS // (4 * states))

    def first(self) -> Tables:
        """The tables of the tree, mixed with uniform ones where they exclude what is observed."""
        tree = self.tree
        tables = {tree.root: tree.prior[None]} | {edge[1]: tree.transition(*edge) for edge in tree.edges}
        if self.complete or not math.isfinite(self.expectation(tables)[1] + self.log_prior(tables)):
            tables = {node: 0.99 * table + 0.01 / table.shape[1] for node, table in tables.items()}
        return tables

    def climb(self, tables: Tables, iterations: int, tolerance: float) -> tuple[Tables, list[float], bool]:
        """Take steps until they gain little; gives the tables, what each had, and whether the last gain was small."""
        history: list[float] = []
        least = tolerance * self.counts.sum()
        for _ in range(iterations + 1):
            expected, value = self.expectation(tables)
            history.append(value + self.log_prior(tables))
            if len(history) > 1 and history[-1] - history[-2] <= least:
                return tables, history, True
            if len(history) <= iterations:
                tables = {node: self._row_laws(table, tables[node]) for node, table in expected.items()}
        return tables, history, False

    def _row_laws(self, expected: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Most likely rows given expected counts; a row without any keeps its law."""
        counts = expected + self.smoothing
        total = counts.sum(axis=1, keepdims=True)
        return np.where(total > 0, counts / np.where(total > 0, total, 1.0), before)

    def log_prior(self, tables: Tables) -> float:
        if self.smoothing == 0:
            return 0.0
        with np.errstate(divide="ignore"):
            return self.smoothing * float(sum(np.log(table).sum() for table in tables.values()))

    def expectation(self, tables: Tables) -> tuple[Tables, float]:
        """Expected counts of the states of the root and of both ends of every edge, and the log-likelihood."""
        total = {node: np.zeros_like(table) for node, table in tables.items()}
        value = 0.0
        for start in range(0, len(self.counts), self.some):
            rows = slice(start, start + self.some)
            below, messages, logs = self._upwards(tables, rows)
            root = below[self.tree.root] * tables[self.tree.root]
            mass = root.sum(axis=1)
            with np.errstate(divide="ignore"):
                value += float(self.counts[rows] @ (logs + np.log(mass)))
            if not math.isfinite(value):
                return total, -math.inf
            total[self.tree.root] += (self.counts[rows] / mass) @ root
            self._downwards(tables, rows, below, messages, total)
        return total, value

    def _indicator(self, node: Node, rows: slice) -> np.ndarray:
        """``(rows, states)``: 1 for states that agree with what is observed."""
        states = np.arange(self.tree.cardinality(node))
        column = self.column.get(node)
        if column is None:
            return np.ones((len(self.counts[rows]), len(states)))
        own = column[rows, None]
        result: np.ndarray = ((own == states) | (own == MISSING)).astype(np.float64)
        return result

    def _upwards(self, tables: Tables, rows: slice) -> tuple[Tables, Tables, np.ndarray]:
        """Likelihoods at and below each node, messages to parents, and the logarithms of what they were divided by."""
        below: Tables = {}
        messages: Tables = {}
        logs = np.zeros(len(self.counts[rows]))
        for node in reversed(self.tree.nodes):
            own = self._indicator(node, rows)
            for child in self.tree.children(node):
                own = own * messages[child]
            scale = _largest(own)
            logs += np.log(scale[:, 0])
            below[node] = own / scale
            if node != self.tree.root:
                messages[node] = below[node] @ tables[node].T
        return below, messages, logs

    def _downwards(self, tables: Tables, rows: slice, below: Tables, messages: Tables, total: Tables) -> None:
        """Add the expected counts of both ends of every edge."""
        tree = self.tree
        above = {tree.root: np.broadcast_to(tables[tree.root], below[tree.root].shape)}
        for node in tree.latents:
            children = tree.children(node)
            after = [above.pop(node) * self._indicator(node, rows)]
            for child in reversed(children[1:]):
                product = after[-1] * messages[child]
                after.append(product / _largest(product))
            before = np.ones(1)
            for child in children:
                context = before * after.pop()
                mass = (context * messages[child]).sum(axis=1, keepdims=True)
                context = context / np.where(mass > 0, mass, 1.0)
                total[child] += tables[child] * ((context * self.counts[rows, None]).T @ below[child])
                if tree.children(child):
                    product = context @ tables[child]
                    above[child] = product / _largest(product)
                product = before * messages[child]
                before = product / _largest(product)


def _largest(rows: np.ndarray) -> np.ndarray:
    """Largest entry of each row as a column, 1 where all are 0."""
    largest = rows.max(axis=1, keepdims=True)
    return np.where(largest > 0, largest, 1.0)


def _ordered(tree: HLTM, tables: Tables, observed: set[Node]) -> tuple[Tables, set[Node]]:
    """Order the states of latents, from the leaves up; gives the latents whose names tell nothing any more, too."""
    result = dict(tables)
    nameless: set[Node] = set()

    def named(node: Node) -> bool:
        return "states" in tree.graph.nodes[node]

    for node in reversed(tree.latents):
        if node in observed:
            continue
        children = tree.children(node)
        order = None
        if named(node) and not nameless.intersection(children):
            before = np.concatenate([tree.transition(node, child) for child in children], axis=1)
            order = _matched(before, np.concatenate([result[child] for child in children], axis=1))
        if order is None:
            nameless |= {node} if named(node) else set()
            means = result[children[0]] @ np.arange(tree.cardinality(children[0]))
            order = np.argsort(means, kind="stable")
        result |= {child: result[child][order] for child in children}
        result[node] = result[node][:, order]
    return result, nameless


def _matched(before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    """The order in which rows are closest to those before, all together; None where those do not differ."""
    apart = np.abs(before[:, None] - before[None]).max(axis=-1)
    if (apart + np.eye(len(before)) <= SUM_TOLERANCE).any():
        return None
    cost = np.square(before[:, None] - after[None]).sum(axis=-1)
    return np.asarray(linear_sum_assignment(cost)[1])


def _tree_of(tree: HLTM, tables: Tables, nameless: set[Node]) -> HLTM:
    """The tree with other numbers, and without the names of some states."""
    graph: nx.DiGraph = nx.DiGraph(tree.graph)
    for node in nameless:
        graph.nodes[node]["cardinality"] = tree.cardinality(node)
        del graph.nodes[node]["states"]
    graph.nodes[tree.root]["prior"] = tables[tree.root][0].tolist()
    for above, child in tree.edges:
        attributes = graph.edges[above, child]
        attributes.pop("polarity", None)
        attributes["transition"] = tables[child].tolist()
    return HLTM(graph)
