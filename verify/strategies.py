"""Hypothesis strategies of networks, populations and losses, made to shrink towards small, plain instances.

Entries are multiples of 1/8, which float64 holds exactly: the same instance can be measured in exact rationals and in
floating point. Everything shrinks: fewer layers, smaller widths, linear neurons, zeros, one point less.
"""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from verify.instance import LossInstance, PairInstance, PopulationInstance

SLOPES = (1.0, 0.0, 0.25, 0.5)


def eighths(low: int = -24, high: int = 24) -> SearchStrategy[float]:
    """Multiples of 1/8 in [low/8, high/8]; shrinks to 0, prefers whole numbers."""
    whole = st.integers(-(-low // 8), high // 8).map(float)
    return st.one_of(whole, st.integers(low, high).map(lambda n: n / 8))


def vectors(length: int) -> SearchStrategy[tuple[float, ...]]:
    """Vectors of that length."""
    return st.tuples(*[eighths()] * length)


def matrices(rows: int, columns: int) -> SearchStrategy[Any]:
    """Matrices as nested tuples."""
    return st.tuples(*[vectors(columns)] * rows)


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


@st.composite
def simplices(draw: st.DrawFn, size: int) -> tuple[float, ...]:
    """Positive weights that sum to one exactly: parts of 16 that float64 holds exactly; size at most 16."""
    cuts = sorted(draw(st.sets(st.integers(1, 15), min_size=size - 1, max_size=size - 1)))
    return tuple((high - low) / 16 for low, high in zip([0, *cuts], [*cuts, 16], strict=True))


@st.composite
def losses(draw: st.DrawFn, names: tuple[str, ...] = ("simple", "triplet", "infonce"), max_negatives: int = 3) -> Any:
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
        loss=name,
        parameters=parameters,
        r_pos=draw(eighths(0, 40)),
        r_neg=draw(st.tuples(*[eighths(0, 40)] * count)),
    )
