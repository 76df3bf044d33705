"""Instances of statement 5: networks of one hidden layer on toys, trees, digits, rings, and what decouples them.

Every function is a deterministic function of its seed; toy entries are multiples of 1/8 (`verify.instances.samples`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import PopulationInstance, freeze
from verify.strategies import (
    LOSSES,
    SLOPES,
    generic,
    generic_parts,
    grid_matrices,
    losses,
    moved_parameters,
    moved_slope,
    noises,
    simplices,
    sizes,
)

if TYPE_CHECKING:
    import numpy as np


class TwoLayerInstance(PopulationInstance):
    """A population and a network of one hidden layer, with any loss of the family."""

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        if len(self.weights) != 2:
            raise InputError(f"weights with {len(self.weights)} layers: must have 2; statement 5 has one hidden layer")
        return super().checked()

    @classmethod
    def of(cls, other: PopulationInstance) -> Self:
        """The same numbers as an instance of statement 5."""
        return cls(**{name: getattr(other, name) for name in cls.__dataclass_fields__}).checked()


def toys(
    seed: int, count: int, losses: tuple[str, ...] = LOSSES, *, points: int = 3, width: int = 3
) -> Iterator[TwoLayerInstance]:
    """Random populations, dyadic entries; all slopes, 1 to 3 augmentations."""
    rng = samples.generator(seed, "two-layer toys")
    drawn = samples.toy_populations(seed, count, losses, points=points, layers=1, width=width)
    for population in drawn:
        hidden, out = (int(n) for n in rng.integers(1, width, size=2, endpoint=True))
        widths = (len(population.points[0][0]), hidden, out)
        yield TwoLayerInstance.of(replace(population, weights=samples.toy_weights(rng, widths)))


def smooth(seed: int, count: int, losses: tuple[str, ...] = LOSSES) -> Iterator[TwoLayerInstance]:
    """Gaussian populations and networks of widths (3, 3, 2) for runs of gradient descent; all slopes."""
    rng = samples.generator(seed, "two-layer descent")
    for index in range(count):
        name, slope = losses[index % len(losses)], samples.SLOPES[(index // len(losses)) % 3]
        weights = samples.normal_weights(rng, (3, 3, 2))
        base, noise = rng.standard_normal((3, 1, 3)), rng.standard_normal((3, 2, 3))
        tau = float(rng.uniform(0.5, 2.0)) * samples.mean_distance(weights, base[:, 0], slope)
        parameters = samples.loss_parameters(name, tau, 0.5 * tau, 1)
        yield TwoLayerInstance(slope, weights, freeze(base + 0.5 * noise), loss=name, parameters=parameters)


def populations(source: str, seed: int, count: int, *, leaves: int = 3) -> Iterator[TwoLayerInstance]:
    """Gaussian networks of one hidden layer on the points of a tree or on digits, all losses in turn."""
    rng = samples.generator(seed, f"two-layer {source}")
    if source == "tree":
        drawn = samples.tree_populations(seed, count, LOSSES, leaves=leaves)
    else:
        drawn = samples.digit_populations(seed, count, LOSSES, images=8, augmentations=2)
    for population in drawn:
        widths = (len(population.points[0][0]), 5, 3)
        yield TwoLayerInstance.of(replace(population, weights=samples.normal_weights(rng, widths)))


def decoupling(seed: int, count: int, *, neurons: int = 2, block: int = 2) -> Iterator[TwoLayerInstance]:
    """Populations on which A_jk = 0 for j != k, and goes on being 0 along training (simple loss).

    The input is a list of blocks, one for each neuron, and neuron j reads block j alone. An object is a choice of one
    of two vectors for each block, independent between blocks; its augmentations multiply every block by a sign,
    independently. Whatever neuron j does not read has then mean zero given the object and the gate of j, so that
    E_aug x~_j lives on block j and depends on block j of the object alone. Hence A_jk = 0, and A_jj w_1j lives on
    block j: the neuron goes on reading its block alone. (With linear neurons A is 0 altogether.) Mean zero suffices;
    a gated mean that does not vary with the object would do.
    """
    rng = samples.generator(seed, "two-layer decoupling")
    signs = list(itertools.product((1, -1), repeat=neurons))
    for index in range(count):
        vectors = rng.integers(1, 16, size=(neurons, 2, block), endpoint=True) / 8
        vectors *= rng.choice((-1, 1), size=vectors.shape)
        points = [
            [[s * v for j, s in enumerate(sign) for v in vectors[j, choice[j]]] for sign in signs]
            for choice in itertools.product((0, 1), repeat=neurons)
        ]
        first = [[0.0] * (neurons * block) for _ in range(neurons)]
        for j, row in enumerate(first):
            row[j * block : (j + 1) * block] = (rng.integers(1, 8, size=block, endpoint=True) / 8).tolist()
        yield TwoLayerInstance(
            slope=(0.0, 0.25)[index % 2],
            weights=(freeze(first), samples.eighths(rng, 2, neurons, spread=8)),
            points=freeze(points),
            point_weights=product_law(rng, neurons),
        )


def product_law(rng: np.random.Generator, neurons: int) -> tuple[float, ...]:
    """Probabilities of independent choices between two vectors for each block, each a multiple of 1/8."""
    shares = rng.integers(2, 6, size=neurons, endpoint=True) / 8
    law = []
    for choice in itertools.product((0, 1), repeat=neurons):
        chance = 1.0
        for share, picked in zip(shares, choice, strict=True):
            chance *= float(1 - share if picked else share)
        law.append(chance)
    return tuple(law)


def rings(
    seed: int, sizes: tuple[int, ...], slope: float, losses: tuple[str, ...] = ("simple",), *, hidden: int = 6
) -> Iterator[TwoLayerInstance]:
    """The objects 11 and 101 on rings of the given sizes, small Gaussian weights of a network with two outputs."""
    rng = samples.generator(seed, "two-layer rings")
    for size, name in itertools.product(sizes, losses):
        weights = (rng.standard_normal((hidden, size)) / 4, rng.standard_normal((2, hidden)) / 4)
        case = ring(size, slope, tuple(freeze(w) for w in weights))
        yield replace(case, loss=name, parameters=samples.toy_loss(rng, name))


def detectors(sizes: tuple[int, ...]) -> Iterator[TwoLayerInstance]:
    """The objects on rings of the given sizes, one ReLU neuron e_1 - e_2 and one output."""
    for size in sizes:
        yield ring(size, 0.0, (((1.0, -1.0) + (0.0,) * (size - 2),), ((1.0,),)))


def ring(size: int, slope: float, weights: Any) -> TwoLayerInstance:
    """The two objects on a ring with a network and the simple loss."""
    return TwoLayerInstance(slope, weights, freeze(numeric.ring_population(size).points))


def instances(widths: tuple[int, int, int], negatives: int) -> SearchStrategy[TwoLayerInstance]:
    """Hypothesis strategy of networks up to widths (n_0, n_1, n_2); half of them with objects that have one mean."""
    return st.one_of(drawn_instances(widths, negatives, False), drawn_instances(widths, negatives, True))


@st.composite
def drawn_instances(draw: st.DrawFn, widths: tuple[int, int, int], negatives: int, centred: bool) -> TwoLayerInstance:
    """Instances whose objects have one mean, or any."""
    shape = [draw(sizes(width)) for width in widths]
    points = draw(st.integers(2, 3) if centred else sizes(max(3, max(widths) - 1)))
    name, parameters = ("simple", ()) if draw(st.booleans()) else draw(losses(LOSSES, max_negatives=negatives))
    spread = 2 if centred else draw(st.integers(1, 2))
    table = draw(st.tuples(*[grid_matrices(1 if centred else spread, shape[0])] * points))
    slope = draw(st.sampled_from(SLOPES))
    weights = draw(grid_matrices(shape[1], shape[0])), draw(grid_matrices(shape[2], shape[1]))
    outer = draw(simplices(points))
    inner = ((0.5, 0.5),) * points if centred else draw(st.tuples(*[simplices(spread)] * points))
    noise = draw(noises())
    move, shift = generic(noise), generic_parts(noise)
    table = move(table)
    if centred:
        table = tuple((row, tuple(0.0 - entry for entry in row)) for (row,) in table)
    return TwoLayerInstance(
        slope=moved_slope(slope, move),
        weights=move(weights),
        points=table,
        point_weights=shift(outer),
        augmentation_weights=inner if centred else tuple(map(shift, inner)),
        loss=name,
        parameters=moved_parameters(parameters, move),
    )
