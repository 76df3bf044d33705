"""Settings, trees and seeds of the paper's numerical study on hierarchical latent trees.

Complete trees with polarities uniform on ``[low, 1]`` and random signs, several losses, widths and seeds. Networks of
one seed have the same tree (up to the range of its polarities) and the same initial weights for every loss, so that
columns of the table can be compared.
"""

import hashlib
from dataclasses import dataclass
from itertools import product

import networkx as nx
import numpy as np

from hltm import HLTM, complete_tree
from hltm.base.checks import integer
from hltm.base.checks import seed as check_seed
from hltm.base.errors import InputError
from hltm.leaves import check_leaves
from numeric.training.contrast import training_loss

STUDY_LOSSES = ("infonce", "simple", "triplet")
STATE_LIMIT = 64
AS_PUBLISHED = {"infonce": "nce", "simple": "subtract"}  # names in the published code


@dataclass(frozen=True)
class Study:
    """Settings of a study; a value that is not allowed is an `InputError`.

    Attributes
    ----------
    depth, children : int
        Of the complete tree.
    widths : tuple of int
    lows : tuple of float
        Smallest absolute polarities.
    losses : tuple of str
    seeds : int
        Trees and initial weights for each combination: ``seed .. seed + seeds - 1``.
    steps, batch, tau, lr
        Of the training.
    seed : int
    samples : int
        For correlations and ceilings.
    records : int
        Times that operator norms are measured after the start.
    device : str
    as_published : bool
        Networks and losses as the published code has them (:mod:`numeric.studies.paper.published`).
    states : int
        Of every node; with more than two the tables are symmetric channels with permuted states.
    leaves : str
        ``"state"`` or ``"one-hot"``, as in :class:`numeric.TreeNetwork`.

    Examples
    --------
    >>> Study(lows=(1.5,))
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: lows: 1.5: must lie in [0, 1]
    """

    depth: int = 5
    children: int = 2
    widths: tuple[int, ...] = (2, 5, 10, 20)
    lows: tuple[float, ...] = (0.7, 0.8, 0.9)
    losses: tuple[str, ...] = ("infonce", "simple")
    seeds: int = 10
    steps: int = 1500
    batch: int = 128
    tau: float = 0.1
    lr: float = 0.1
    seed: int = 0
    samples: int = 12_800
    records: int = 10
    device: str = "auto"
    as_published: bool = False
    states: int = 2
    leaves: str = "state"

    def __post_init__(self) -> None:
        for name in ("depth", "children", "seeds", "steps", "batch", "records"):
            integer(getattr(self, name), name, 1)
        integer(self.samples, "samples", 2)
        check_leaves(self.leaves)
        if integer(self.states, "states", 2) > STATE_LIMIT:
            raise InputError(f"states={self.states}: must be at most {STATE_LIMIT}")
        if self.as_published and (self.states, self.leaves) != (2, "state"):
            rule = "must be 2 and 'state' for networks as published, which read states 0 and 1"
            raise InputError(f"states={self.states}, leaves={self.leaves!r}: {rule}")
        check_seed(check_seed(self.seed) + self.seeds)
        for name in ("widths", "lows", "losses"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f"{name}={list(values)!r:.80}: must hold at least one value, each once")
        for width in self.widths:
            integer(width, "widths", 1)
        for low in self.lows:
            if not 0 <= low <= 1:
                raise InputError(f"lows: {low!r}: must lie in [0, 1]")
        for loss in self.losses:
            allowed = tuple(AS_PUBLISHED) if self.as_published else STUDY_LOSSES
            if loss not in allowed:
                raise InputError(f"losses: {loss!r:.40}: must be one of {', '.join(allowed)}")
        training_loss("triplet", tau=self.tau)
        if not 0 <= self.lr < float("inf"):
            raise InputError(f"lr={self.lr!r}: must be a finite number, not negative")

    @property
    def record_every(self) -> int:
        """Steps between measurements of the operator norms."""
        return max(1, -(-self.steps // self.records))

    def operator_samples(self, width: int) -> int:
        """Samples for one measurement: fewer for wide networks, whose operators are expensive."""
        return max(100, min(1_000, 2_000 // width))


@dataclass(frozen=True)
class Member:
    """One network: its smallest polarity, loss and seed."""

    low: float
    loss: str
    seed: int


def study_tree(depth: int, children: int, low: float, seed: int, states: int = 2) -> HLTM:
    """A complete tree whose polarities have random signs and absolute values uniform on ``[low, 1]``.

    With m > 2 states an edge keeps the state with a share uniform on ``[low, 1]`` and draws it anew, uniformly, with
    the rest; the states of its end are permuted at random in place of a sign: ``lambda P + (1 - lambda) / m``. One seed
    and several `low` give tables that differ in the range of the shares alone.

    Examples
    --------
    >>> tree, other = (study_tree(1, 2, low, seed=3) for low in (0.0, 0.5))
    >>> [abs(other.polarity(0, v)) == 0.5 + 0.5 * abs(tree.polarity(0, v)) for v in (1, 2)]
    [True, True]
    """
    if states > 2:
        return _channels(depth, children, low, np.random.default_rng([seed, depth, children, states]), states)
    rng = np.random.default_rng([seed, depth, children])

    def polarity(_above: int, _child: int) -> float:
        size, sign = rng.uniform(), 1 if rng.integers(2) else -1
        return float(sign * (low + (1 - low) * size))

    return complete_tree(depth, children, polarity)


def _channels(depth: int, children: int, low: float, rng: np.random.Generator, states: int) -> HLTM:
    """A complete tree of symmetric channels with permuted states, and a uniform prior."""
    shape = complete_tree(depth, children, 0.0)
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(shape.nodes, cardinality=states)
    graph.nodes[shape.root]["prior"] = [1 / states] * states
    for above, node in shape.edges:
        share = low + (1 - low) * rng.uniform()
        table = share * np.eye(states)[rng.permutation(states)] + (1 - share) / states
        graph.add_edge(above, node, transition=table.tolist())
    return HLTM(graph)


def members_of(study: Study) -> tuple[Member, ...]:
    numbers = range(study.seed, study.seed + study.seeds)
    return tuple(Member(*each) for each in product(study.lows, study.losses, numbers))


def data_seed(study: Study, width: int, member: Member) -> int:
    """Seed of a member's draws: a digest of its own settings, not of the stack."""
    text = f"{study.depth} {study.children} {width} {member.low!r} {member.loss} {member.seed}"
    if study.states > 2:
        text += f" {study.states} states"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
