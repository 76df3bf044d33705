"""Sources of instances: seeded random networks, a tree model, and handwritten digits.

Every function is a deterministic function of its seed. Toy entries are multiples of 1/8, so that they can be measured
in exact rationals; trees and digits serve the float checks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from verify.instances.instance import LossInstance, PairInstance, Parameters, PopulationInstance, freeze

SLOPES = (0.0, 0.25, 1.0)
# (layers, width) of the stages of a search for counterexamples.
SIZES = ((1, 1), (1, 2), (2, 2), (2, 3), (3, 3))


def generator(seed: int, stream: str) -> np.random.Generator:
    """An independent random stream for each use: the name is part of the seed."""
    return np.random.default_rng([seed, *stream.encode()])


def derived(seed: int, stream: str) -> int:
    """A seed below 2^62 for each use, for generators that take a number."""
    return int(generator(seed, stream).integers(2**62))


def eighths(rng: np.random.Generator, *shape: int, spread: int = 16) -> Any:
    """Nested tuples of multiples of 1/8 in [-spread/8, spread/8]."""
    return freeze(rng.integers(-spread, spread, size=shape, endpoint=True) / 8)


def simplex(rng: np.random.Generator, size: int) -> tuple[float, ...]:
    """Positive parts of 1/64 that sum to one exactly."""
    cuts = np.sort(rng.choice(np.arange(1, 64), size=size - 1, replace=False))
    return freeze(np.diff([0, *cuts, 64]) / 64)


def toy_weights(rng: np.random.Generator, widths: tuple[int, ...]) -> Any:
    """Weights of the widths n_0 .. n_L."""
    return tuple(eighths(rng, n_out, n_in) for n_in, n_out in itertools.pairwise(widths))


def normal_weights(rng: np.random.Generator, widths: tuple[int, ...]) -> Any:
    """Gaussian weights of variance 2 / n_{l-1}, so that activations keep their size with depth."""
    return tuple(
        freeze(rng.standard_normal((n_out, n_in)) * np.sqrt(2 / n_in)) for n_in, n_out in itertools.pairwise(widths)
    )


def toy_widths(rng: np.random.Generator, layers: int, width: int) -> tuple[int, ...]:
    """Random widths n_0 .. n_L, L between 1 and `layers`, each between 1 and `width`."""
    return tuple(int(n) for n in rng.integers(1, width, size=rng.integers(2, layers + 1, endpoint=True), endpoint=True))


def toy_pairs(seed: int, count: int, *, layers: int = 4, width: int = 5) -> Iterator[PairInstance]:
    """Random pairs of towers and inputs, dyadic entries."""
    rng = generator(seed, "toy pairs")
    for index in range(count):
        widths = toy_widths(rng, layers, width)
        yield PairInstance(
            slope=SLOPES[index % 3],
            weights_1=toy_weights(rng, widths),
            weights_2=toy_weights(rng, widths),
            x_1=eighths(rng, widths[0]),
            x_2=eighths(rng, widths[0]),
        )


def toy_losses(seed: int, count: int) -> Iterator[LossInstance]:
    """Random distances; temperatures from 1e-4 to 10, up to six negatives."""
    rng = generator(seed, "toy losses")
    for index in range(count):
        name = ("simple", "triplet", "infonce")[index % 3]
        tau = float(np.round(10.0 ** rng.uniform(-4, 1), 6))
        negatives = int(rng.integers(1, 6, endpoint=True)) if name == "infonce" else 1
        parameters = loss_parameters(name, tau, float(rng.integers(0, 8) / 8), negatives)
        # Distances within a few tau of each other, so that no derivative is trivially 0 or 1.
        base = float(rng.integers(0, 32) / 8)
        near = base + tau * rng.uniform(0, 6, size=negatives + 1)
        yield LossInstance(name, parameters, float(near[0]), freeze(near[1:]))


def loss_parameters(name: str, tau: float, margin: float, negatives: int) -> Parameters:
    triplet, infonce = (("margin", margin), ("tau", tau)), (("negatives", negatives), ("tau", tau))
    return {"simple": (), "triplet": triplet, "infonce": infonce}[name]


def toy_loss(rng: np.random.Generator, name: str, *, negatives: int = 1) -> Parameters:
    """Parameters for the named loss with temperatures that make the weights vary."""
    tau = float(rng.choice([0.25, 0.5, 1.0, 2.0]))
    margin = float(rng.integers(0, 8) / 8) if name == "triplet" else 0.0
    return loss_parameters(name, tau, margin, negatives)


def toy_populations(
    seed: int,
    count: int,
    losses: tuple[str, ...] = ("simple",),
    *,
    points: int = 3,
    augmentations: int | None = None,
    layers: int = 3,
    width: int = 3,
    max_negatives: int = 1,
) -> Iterator[PopulationInstance]:
    """Random finite populations with dyadic points and probabilities; `augmentations` None varies 1 to 3."""
    rng = generator(seed, f"toy populations {losses} {augmentations}")
    for index in range(count):
        widths = toy_widths(rng, layers, width)
        size = int(rng.integers(2, points, endpoint=True))
        spread = augmentations or int(rng.integers(1, 3, endpoint=True))
        name = losses[index % len(losses)]
        yield PopulationInstance(
            slope=SLOPES[(index // len(losses)) % 3],
            weights=toy_weights(rng, widths),
            points=eighths(rng, size, spread, widths[0]),
            point_weights=simplex(rng, size),
            augmentation_weights=tuple(simplex(rng, spread) for _ in range(size)),
            loss=name,
            parameters=toy_loss(rng, name, negatives=1 + index % max_negatives),
        )


def smooth_populations(
    seed: int,
    count: int,
    losses: tuple[str, ...],
    *,
    points: int = 4,
    augmentations: int = 4,
    normalized: bool = False,
    negatives: int = 1,
) -> Iterator[PopulationInstance]:
    """Gaussian points with Gaussian augmentations around the first one, for fitting orders in the spread.

    With `normalized`, temperatures suit distances of unit vectors.
    """
    rng = generator(seed, f"smooth populations {losses}")
    for index in range(count):
        widths = (4, 5, 3)
        base = rng.standard_normal((points, 1, widths[0]))
        noise = rng.standard_normal((points, augmentations, widths[0]))
        noise[:, 0] = 0.0
        name, slope = losses[index % len(losses)], SLOPES[index % 3]
        weights = normal_weights(rng, widths)
        # Where tau is far below the distances, xi and with it the leading coefficient of theta are exponentially small,
        # and the order could only be seen at spreads below rounding.
        tau = float(rng.uniform(0.5, 2.0)) * (1.0 if normalized else mean_distance(weights, base[:, 0], slope))
        yield PopulationInstance(
            slope=slope,
            weights=weights,
            points=freeze(base + noise),
            loss=name,
            parameters=loss_parameters(name, tau, 0.5 * tau, negatives),
        )


def mean_distance(weights: Any, points: np.ndarray, slope: float) -> float:
    """Mean squared half-distance of the outputs of different points, at least 1e-3."""
    value = points
    for layer, matrix in enumerate(weights):
        value = value @ np.asarray(matrix).T
        value = value if layer == len(weights) - 1 else np.where(value > 0, value, slope * value)
    distances = 0.5 * ((value[:, None] - value[None]) ** 2).sum(axis=2)
    return max(float(distances.sum() / (len(points) * (len(points) - 1))), 1e-3)


@lru_cache(maxsize=8)
def tree_arrays(seed: int, leaves: int) -> tuple[Any, Any, Any]:
    """The leaf population of a general random tree with two or three states a node."""
    import hltm

    population = hltm.leaf_population(hltm.random_tree(leaves=leaves, seed=seed, symmetric=False, cardinality=(2, 3)))
    return (freeze(population.points), freeze(population.point_weights), freeze(population.augmentation_weights))


def tree_populations(
    seed: int, count: int, losses: tuple[str, ...] = ("simple",), *, leaves: int = 5
) -> Iterator[PopulationInstance]:
    """Populations of the leaves of a latent tree: an augmentation keeps the root and resamples the rest."""
    rng = generator(seed, f"tree populations {losses}")
    for index in range(count):
        points, point_weights, augmentation_weights = tree_arrays(seed + index % 2, leaves)
        name = losses[index % len(losses)]
        yield PopulationInstance(
            slope=SLOPES[index % 3],
            weights=normal_weights(rng, (len(points[0][0]), 6, 4, 3)),
            points=points,
            point_weights=point_weights,
            augmentation_weights=augmentation_weights,
            loss=name,
            parameters=toy_loss(rng, name),
        )


@lru_cache(maxsize=4)
def digit_points(images: int, augmentations: int, seed: int) -> Any:
    """Handwritten digits with a fixed list of augmentations each, nested (images, augmentations, 64)."""
    import numeric

    return freeze(numeric.digit_population(images=images, augmentations=augmentations, seed=seed).points)


def digit_populations(
    seed: int,
    count: int,
    losses: tuple[str, ...] = ("simple",),
    *,
    images: int = 48,
    augmentations: int = 6,
    widths: tuple[int, ...] = (64, 16, 8),
) -> Iterator[PopulationInstance]:
    """Populations of real images under shift, rotation and noise."""
    rng = generator(seed, f"digit populations {losses}")
    for index in range(count):
        name = losses[index % len(losses)]
        yield PopulationInstance(
            slope=SLOPES[index % 3],
            weights=normal_weights(rng, widths),
            points=digit_points(images, augmentations, seed),
            loss=name,
            parameters=toy_loss(rng, name),
        )


def pairs_of(populations: Iterator[PopulationInstance], seed: int, each: int) -> Iterator[PairInstance]:
    """Pairs of inputs drawn from populations, each with two independent towers of the population's shape."""
    rng = generator(seed, "pairs of populations")
    for population in populations:
        widths = (len(population.weights[0][0]), *(len(w) for w in population.weights))
        for _ in range(each):
            first, second = (rng.integers(len(population.points)) for _ in range(2))
            yield PairInstance(
                slope=population.slope,
                weights_1=population.weights,
                weights_2=normal_weights(rng, widths),
                x_1=population.points[first][int(rng.integers(len(population.points[first])))],
                x_2=population.points[second][int(rng.integers(len(population.points[second])))],
            )
