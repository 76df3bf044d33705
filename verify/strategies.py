"""Hypothesis strategies of trees, networks, populations and losses that shrink to small, plain instances.

Half of the instances have entries that are multiples of 1/8, with many zeros, whole numbers and ties. In the others the
entries are generic floats, with full mantissas; float64 numbers are rationals too, so that each instance can be
measured exactly and in floating point. Most instances are small and some are large in one size or several.

Everything shrinks in its structure first: fewer layers, smaller widths, fewer nodes, points, states and negatives, then
multiples of 1/8, linear neurons, even probabilities, zeros.

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
import math
import random
from collections.abc import Callable
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
# A noise below this leaves the numbers on the grid; the others, 64 in half of the instances, say how they leave it.
ON_GRID = 64
TERM_LIMIT = 20_000  # of an expected loss over tuples of negatives


@lru_cache(maxsize=8)
def eighths(low: int = -24, high: int = 24) -> SearchStrategy[float]:
    """Multiples of 1/8 in [low/8, high/8], half of them whole numbers; shrinks to 0, then to 1, -1, 2, ..."""
    values = sorted((n / 8 for n in range(low, high + 1)), key=lambda x: (abs(x), x < 0))
    whole, parts = [x for x in values if x % 1 == 0], [x for x in values if x % 1]
    # One choice for each entry, and not first one between whole and part: instances shrink several times faster so.
    return st.sampled_from(whole * max(1, len(parts) // max(1, len(whole))) + parts)


@lru_cache(maxsize=8)
def noises(share: int = 2) -> SearchStrategy[int]:
    """How numbers leave the grid, a number for `generic`: one in `share` leaves it; shrinks to those that stay."""
    return st.integers(0, share * ON_GRID // (share - 1) - 1)


def generic(noise: int) -> Callable[[Any], Any]:
    """A function that moves the numbers of nested tuples off the grid, towards 0 by less than 1/8.

    Zeros stay, and the order of different numbers of one sign. A third of the noises move each number by itself, a
    third move equal numbers alike, so that ties stay ties, and a third leave some numbers on the grid.
    """
    if noise < ON_GRID:
        return _itself
    draw = random.Random(noise).random  # noqa: S311
    alike: dict[float, float] = {}

    def move(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(move, value))
        share = draw()
        if noise % 3 == 1:
            share = alike.setdefault(abs(value), share)
        elif noise % 3 == 2 and draw() < 0.5:
            return value
        return value - math.copysign(share / 8, value) if value else value

    return move


def _itself(value: Any) -> Any:
    return value


def numbers(low: float = -3, high: float = 3) -> SearchStrategy[float]:
    """Numbers in [low, high]: half of them multiples of 1/8, the others generic floats; shrinks as `eighths`.

    Examples
    --------
    >>> from hypothesis import find, settings
    >>> alone = settings(database=None)
    >>> find(numbers(), lambda x: x > 1, settings=alone)
    2.0
    """
    grid = eighths(math.ceil(8 * low), math.floor(8 * high))
    return st.builds(lambda value, noise: min(max(generic(noise)(value), low), high), grid, noises())


# What the entries of a vector or matrix are multiplied by: one in eight is large, up to 24.
LARGE = st.sampled_from((1,) * 7 + (8,))


def vectors(length: int) -> SearchStrategy[tuple[float, ...]]:
    """Vectors of that length, as tuples; one in four has generic entries, one in eight is large."""
    return st.builds(moved, grid_vectors(length), noises(4), LARGE)


def matrices(rows: int, columns: int) -> SearchStrategy[Any]:
    """Matrices as nested tuples; one in four has generic entries, one in eight is large."""
    return st.builds(moved, grid_matrices(rows, columns), noises(4), LARGE)


def moved(value: Any, noise: int, factor: int) -> Any:
    """Nested tuples off the grid, as the noise says, times a factor."""
    return times(generic(noise)(value), factor) if factor > 1 else generic(noise)(value)


def times(value: Any, factor: int) -> Any:
    """Nested tuples of numbers times a factor."""
    return tuple(times(item, factor) for item in value) if isinstance(value, tuple) else factor * value


@lru_cache(maxsize=64)
def grid_vectors(length: int) -> SearchStrategy[tuple[float, ...]]:
    """Vectors of multiples of 1/8."""
    return st.tuples(*[eighths()] * length)


@lru_cache(maxsize=64)
def grid_matrices(rows: int, columns: int) -> SearchStrategy[Any]:
    """Matrices of multiples of 1/8; made once, since making the strategy costs more than drawing from it."""
    return st.tuples(*[grid_vectors(columns)] * rows)


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


@lru_cache(maxsize=16)
def sizes(most: int) -> SearchStrategy[int]:
    """1 to `most`, five in six of them at most 3."""
    return st.sampled_from(
        [1, 2, 3] * math.ceil(5 * (most - 3) / 3) + [*range(4, most + 1)] if most > 3 else range(1, most + 1)
    )


def widths(max_layers: int = 4, max_width: int = 6) -> SearchStrategy[tuple[int, ...]]:
    """Widths n_0 .. n_L with 1 <= L <= max_layers."""
    return st.lists(sizes(max_width), min_size=2, max_size=max_layers + 1).map(tuple)


def towers(shape: tuple[int, ...]) -> SearchStrategy[Any]:
    """Weights of the widths n_0 .. n_L."""
    return st.tuples(*[grid_matrices(n_out, n_in) for n_in, n_out in itertools.pairwise(shape)])


@st.composite
def pair_instances(draw: st.DrawFn, max_layers: int = 4, max_width: int = 6) -> PairInstance:
    """Two towers of one shape and two inputs (statement 1)."""
    shape = draw(widths(max_layers, max_width))
    slope = draw(st.sampled_from(SLOPES))
    numbers = draw(st.tuples(towers(shape), towers(shape), grid_vectors(shape[0]), grid_vectors(shape[0])))
    move = generic(draw(noises()))
    return PairInstance(moved_slope(slope, move), *move(numbers))


def moved_slope(slope: float, move: Callable[[Any], Any]) -> float:
    """The slope moved off the grid; linear neurons and ReLU stay."""
    return move(slope) if 0 < slope < 1 else slope


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


def generic_parts(noise: int) -> Callable[[tuple[float, ...]], tuple[float, ...]]:
    """A function that moves the cuts between the parts of a simplex; the parts still sum to one exactly.

    Where equal numbers move alike, even parts stay even.
    """
    if noise < ON_GRID or noise % 3 == 1:
        return _itself
    draw = random.Random(noise + 1).random  # noqa: S311

    def move(parts: tuple[float, ...]) -> tuple[float, ...]:
        # Multiples of 2^-44 below 1, whose differences float64 holds exactly.
        cuts = [cut + int(draw() * 2**40) / 2**44 for cut in itertools.accumulate(parts[:-1])]
        return tuple(high - low for low, high in itertools.pairwise([0.0, *cuts, 1.0]))

    return move


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
    max_layers: int = 4,
    max_width: int = 6,
    max_points: int = 5,
    max_augmentations: int = 4,
    max_negatives: int = 4,
) -> PopulationInstance:
    """A network, a finite population and a loss (statements 3 and 4).

    Large populations have fewer negatives, so that an expected loss has at most `TERM_LIMIT` terms.
    """
    shape = draw(widths(max_layers, max_width))
    points = draw(sizes(max_points))
    augmentations = draw(sizes(max_augmentations))
    terms, fitting = points * augmentations**2, 0
    while fitting < max_negatives and terms * (points * augmentations) ** (fitting + 1) <= TERM_LIMIT:
        fitting += 1
    name, parameters = draw(losses(loss, max(1, fitting)))
    slope = draw(st.sampled_from(SLOPES))
    weights = draw(towers(shape))
    table = draw(st.tuples(*[grid_matrices(augmentations, shape[0])] * points))
    outer, inner = draw(simplices(points)), draw(st.tuples(*[simplices(augmentations)] * points))
    noise = draw(noises())
    move, shift = generic(noise), generic_parts(noise)
    return PopulationInstance(
        slope=moved_slope(slope, move),
        weights=move(weights),
        points=move(table),
        point_weights=shift(outer),
        augmentation_weights=tuple(map(shift, inner)),
        loss=name,
        parameters=moved_parameters(parameters, move),
    )


def moved_parameters(parameters: Any, move: Callable[[Any], Any]) -> Any:
    """The parameters of a loss with margin and temperature moved off the grid."""
    return tuple((name, value if name == "negatives" else move(value)) for name, value in parameters)


@st.composite
def loss_instances(draw: st.DrawFn, max_negatives: int = 4) -> LossInstance:
    """Distances and a loss of the family (statement 2); the simple loss has one negative."""
    name, parameters = draw(losses(max_negatives=max_negatives))
    count = int(dict(parameters).get("negatives", 1))
    r_pos, r_neg = draw(eighths(0, 40)), draw(st.tuples(*[eighths(0, 40)] * count))
    move = generic(draw(noises()))
    return LossInstance(loss=name, parameters=moved_parameters(parameters, move), r_pos=move(r_pos), r_neg=move(r_neg))


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
    prior = draw(simplices(states[0]))
    parents = [place % child for child, (place, *_) in enumerate(below, start=1)]
    rows = [
        [draw(simplices(count)) for _ in range(states[parent])] if (states[parent], count) != (2, 2) else []
        for parent, (*_, count) in zip(parents, below, strict=True)
    ]
    noise = draw(noises())
    move, shift = generic(noise), generic_parts(noise)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_node(NAMES[0], cardinality=states[0], prior=list(shift(prior)))
    for child, (parent, (_, rho, tilt, count), table) in enumerate(zip(parents, below, rows, strict=True), start=1):
        polarity = round(move(rho) * 2**45) / 2**45  # so that 1 - p is exact for every probability p of the table
        graph.add_node(NAMES[child], cardinality=count)
        edge: dict[str, Any] = {"transition": _tilted(polarity, tilt)} if tables else {"polarity": polarity}
        graph.add_edge(
            NAMES[parent], NAMES[child], **{"transition": [list(shift(row)) for row in table]} if table else edge
        )
    return HLTM(graph)


def _tilted(polarity: float, tilt: int) -> list[list[float]]:
    """The table of that polarity whose rows are moved by `tilt` 16ths, as far as they stay probabilities."""
    room = 8 - math.ceil(abs(8 * polarity))
    move = max(-room, min(room, tilt)) / 16
    low, high = 0.5 - polarity / 2 + move, 0.5 + polarity / 2 + move
    return [[1 - low, low], [1 - high, high]]


@st.composite
def tree_instances(
    draw: st.DrawFn, max_nodes: int = 6, symmetric: bool | None = None, categorical: bool | None = None
) -> TreeInstance:
    """Trees with one or two neurons at every latent node (statements 6 and 7); parameters as in `trees`."""
    tree = draw(trees(max_nodes, symmetric, categorical))
    neurons = {node: draw(st.integers(1, 2)) for node in tree.latents}
    weights = [
        draw(grid_matrices(neurons[node], sum(neurons.get(child, 1) for child in tree.children(node))))
        for node in tree.latents
    ]
    slope = draw(st.sampled_from(SLOPES))
    move = generic(draw(noises()))
    return TreeInstance(tree, tuple(map(move, weights)), moved_slope(slope, move))


st.register_type_strategy(HLTM, trees())
st.register_type_strategy(TreeInstance, tree_instances())
st.register_type_strategy(PairInstance, pair_instances())
st.register_type_strategy(PopulationInstance, population_instances(LOSSES))
st.register_type_strategy(LossInstance, loss_instances())
