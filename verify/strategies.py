"""Hypothesis strategies of trees, networks, populations and losses that shrink to small, plain instances.

Entries are multiples of 1/8, which float64 holds exactly: the same instance can be measured in exact rationals and in
floating point. Everything shrinks in its structure first: fewer layers, smaller widths, fewer nodes, points, states and
negatives, then linear neurons, even probabilities, zeros.

Importing this module registers the strategies by type, so that ``hypothesis.strategies.from_type(hltm.HLTM)`` works,
and with it ``@given(...)`` on annotated tests; `import verify` alone does not.

| type | strategy | shrinks to |
|---|---|---|
| `hltm.HLTM` | `trees` | an edge of polarity 0 with even prior |
| `TreeInstance` | `tree_instances` | that edge, one linear neuron of weight 0 |
| `PairInstance` | `pair_instances` | one linear layer of width 1, all zeros |
| `PopulationInstance` | `population_instances` | the same on one point without augmentation, simple loss |
| `LossInstance` | `loss_instances` | the simple loss at distances 0 |
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import networkx as nx
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from hltm import HLTM
from verify.instances.instance import LossInstance, PairInstance, PopulationInstance, TreeInstance

SLOPES = (1.0, 0.0, 0.25, 0.5)
LOSSES = ("simple", "triplet", "infonce")
NAMES = "rabcdefghijklmnopqstuvwxyz"
# Cuts of [0, 16] by bisection: the first ones, to which a set of cuts shrinks, part it evenly.
CUTS = (8, 4, 12, 2, 6, 10, 14, 1, 3, 5, 7, 9, 11, 13, 15)


@lru_cache(maxsize=8)
def eighths(low: int = -24, high: int = 24) -> SearchStrategy[float]:
    """Multiples of 1/8 in [low/8, high/8], half of them whole numbers; shrinks to 0, then to 1, -1, 2, ..."""
    values = sorted((n / 8 for n in range(low, high + 1)), key=lambda x: (abs(x), x < 0))
    whole, parts = [x for x in values if x % 1 == 0], [x for x in values if x % 1]
    # One choice for each entry, and not first one between whole and part: instances shrink several times faster so.
    return st.sampled_from(whole * max(1, len(parts) // max(1, len(whole))) + parts)


def vectors(length: int) -> SearchStrategy[tuple[float, ...]]:
    """Vectors of that length, as tuples."""
    return st.tuples(*[eighths()] * length)


def matrices(rows: int, columns: int) -> SearchStrategy[Any]:
    """Matrices as nested tuples."""
    return st.tuples(*[vectors(columns)] * rows)


def polarities(extreme: bool = True) -> SearchStrategy[float]:
    """Polarities: multiples of 1/8 in [-1, 1], without -1 and 1 if not `extreme`; shrinks to 0, prefers positive ones.

    Examples
    --------
    >>> from hypothesis import find, settings
    >>> alone = settings(database=None)
    >>> find(polarities(), lambda rho: rho != 0, settings=alone)
    0.125
    """
    return st.integers(-8, 8).map(lambda n: n / 8) if extreme else st.integers(-7, 7).map(lambda n: n / 8)


def widths(max_layers: int = 3, max_width: int = 3) -> SearchStrategy[tuple[int, ...]]:
    """Widths n_0 .. n_L with 1 <= L <= max_layers."""
    return st.lists(st.integers(1, max_width), min_size=2, max_size=max_layers + 1).map(tuple)


def towers(shape: tuple[int, ...]) -> SearchStrategy[Any]:
    """Weights of the widths n_0 .. n_L."""
    return st.tuples(*[matrices(n_out, n_in) for n_in, n_out in itertools.pairwise(shape)])


@st.composite
def pair_instances(draw: st.DrawFn, max_layers: int = 3, max_width: int = 3) -> PairInstance:
    """Two towers of one shape and two inputs (statement 1)."""
    shape = draw(widths(max_layers, max_width))
    return PairInstance(
        slope=draw(st.sampled_from(SLOPES)),
        weights_1=draw(towers(shape)),
        weights_2=draw(towers(shape)),
        x_1=draw(vectors(shape[0])),
        x_2=draw(vectors(shape[0])),
    )


@lru_cache(maxsize=16)
def simplices(size: int) -> SearchStrategy[tuple[float, ...]]:
    """Positive weights that sum to one exactly: parts of 16 that float64 holds exactly; size at most 16."""
    if size == 1:
        return st.just((1.0,))
    if size == 2:
        return st.sampled_from(CUTS).map(lambda cut: (cut / 16, 1 - cut / 16))
    return st.sets(st.sampled_from(CUTS), min_size=size - 1, max_size=size - 1).map(_parts)


def _parts(cuts: set[int]) -> tuple[float, ...]:
    return tuple((high - low) / 16 for low, high in itertools.pairwise([0, *sorted(cuts), 16]))


@st.composite
def losses(draw: st.DrawFn, names: tuple[str, ...] = LOSSES, max_negatives: int = 3) -> Any:
    """A loss with its parameters, as (name, parameters)."""
    name = draw(st.sampled_from(names))
    if name == "simple":
        return name, ()
    tau = draw(st.sampled_from((1.0, 0.5, 2.0, 0.25, 4.0)))
    if name == "triplet":
        return name, (("margin", draw(eighths(0, 16))), ("tau", tau))
    return name, (("negatives", draw(st.integers(1, max_negatives))), ("tau", tau))


@st.composite
def population_instances(
    draw: st.DrawFn,
    loss: tuple[str, ...] = ("simple",),
    max_layers: int = 2,
    max_width: int = 3,
    max_points: int = 3,
    max_augmentations: int = 3,
    max_negatives: int = 1,
) -> PopulationInstance:
    """A network, a finite population and a loss (statements 3 and 4)."""
    shape = draw(widths(max_layers, max_width))
    points = draw(st.integers(1, max_points))
    augmentations = draw(st.integers(1, max_augmentations))
    name, parameters = draw(losses(loss, max_negatives))
    return PopulationInstance(
        slope=draw(st.sampled_from(SLOPES)),
        weights=draw(towers(shape)),
        points=draw(st.tuples(*[matrices(augmentations, shape[0])] * points)),
        point_weights=draw(simplices(points)),
        augmentation_weights=draw(st.tuples(*[simplices(augmentations)] * points)),
        loss=name,
        parameters=parameters,
    )


@st.composite
def loss_instances(draw: st.DrawFn, max_negatives: int = 4) -> LossInstance:
    """Distances and a loss of the family (statement 2); the simple loss has one negative."""
    name, parameters = draw(losses(max_negatives=max_negatives))
    count = int(dict(parameters).get("negatives", 1))
    return LossInstance(
        loss=name, parameters=parameters, r_pos=draw(eighths(0, 40)), r_neg=draw(st.tuples(*[eighths(0, 40)] * count))
    )


@st.composite
def trees(draw: st.DrawFn, max_nodes: int = 6, symmetric: bool | None = None, categorical: bool | None = None) -> HLTM:
    """Latent trees with 2 to `max_nodes` nodes named r, a, b, ...; shrinks to an edge of polarity 0 with even prior."""
    counts = st.sampled_from((2, 2, 2, 3) if categorical is None else (2, 3) if categorical else (2,))
    # A list of nodes with all that belongs to each (place, polarity, tilt, states), so that one can be left out in one
    # step; what only some trees need is drawn last, so that nothing else changes its place.
    node = st.tuples(st.integers(0, max_nodes - 2), polarities(), st.integers(-8, 8), counts)
    below = draw(st.lists(node, min_size=1, max_size=max_nodes - 1))
    states = [draw(counts), *(count for *_, count in below)]
    tables = draw(st.booleans()) if symmetric is None else not symmetric
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_node(NAMES[0], cardinality=states[0], prior=list(draw(simplices(states[0]))))
    for child, (place, polarity, tilt, count) in enumerate(below, start=1):
        parent = place % child
        graph.add_node(NAMES[child], cardinality=count)
        if (states[parent], count) != (2, 2):
            edge: dict[str, Any] = {"transition": [list(draw(simplices(count))) for _ in range(states[parent])]}
        else:
            edge = {"transition": _tilted(polarity, tilt)} if tables else {"polarity": polarity}
        graph.add_edge(NAMES[parent], NAMES[child], **edge)
    return HLTM(graph)


def _tilted(polarity: float, tilt: int) -> list[list[float]]:
    """The table of that polarity whose rows are moved by `tilt` 16ths, as far as they stay probabilities."""
    room = 8 - abs(int(8 * polarity))
    move = max(-room, min(room, tilt)) / 16
    low, high = 0.5 - polarity / 2 + move, 0.5 + polarity / 2 + move
    return [[1 - low, low], [1 - high, high]]


@st.composite
def tree_instances(
    draw: st.DrawFn, max_nodes: int = 6, symmetric: bool | None = None, categorical: bool | None = None
) -> TreeInstance:
    """Trees with one or two neurons at every latent node (statements 6 and 7); parameters as in `trees`."""
    tree = draw(trees(max_nodes, symmetric, categorical))
    sizes = {node: draw(st.integers(1, 2)) for node in tree.latents}
    weights = [
        draw(matrices(sizes[node], sum(sizes.get(child, 1) for child in tree.children(node)))) for node in tree.latents
    ]
    return TreeInstance(tree, tuple(weights), draw(st.sampled_from(SLOPES)))


st.register_type_strategy(HLTM, trees())
st.register_type_strategy(TreeInstance, tree_instances())
st.register_type_strategy(PairInstance, pair_instances())
st.register_type_strategy(PopulationInstance, population_instances(LOSSES))
st.register_type_strategy(LossInstance, loss_instances())
