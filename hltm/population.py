"""A tree with its augmentation "keep z_0, resample the rest" as a finite population (statement 6)."""

from dataclasses import dataclass

import numpy as np

from hltm.base.checks import count
from hltm.base.errors import InputError
from hltm.exact import enumerate_leaves, leaf_configurations, leaf_table
from hltm.tree import HLTM

POPULATION_LIMIT = 2**25  # coordinates: 256 MiB of float64


@dataclass(frozen=True, eq=False)
class LeafPopulation:
    """M points with A augmentations each, in d dimensions; every expectation over it is a finite sum.

    Attributes
    ----------
    points : numpy.ndarray
        float64, shape (M, A, d): ``points[m, a]`` is augmentation a of point m.
    point_weights : numpy.ndarray
        float64, shape (M,): the law of the points, sums to one.
    augmentation_weights : numpy.ndarray
        float64, shape (M, A): for each point the law of its augmentations, rows sum to one.

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> population = leaf_population(star_tree(2, polarity=0.5))
    >>> population.points.shape, population.point_weights.tolist()  # 2 states of the root, 4 states of the leaves
    ((2, 4, 2), [0.5, 0.5])
    >>> population.augmentation_weights[0].tolist()
    [0.5625, 0.1875, 0.1875, 0.0625]
    """

    points: np.ndarray
    point_weights: np.ndarray
    augmentation_weights: np.ndarray


def leaf_population(tree: HLTM, drop_zero: bool = True) -> LeafPopulation:
    """List a tree and its augmentation "keep z_0, resample the rest" as a finite population.

    Parameters
    ----------
    tree : HLTM
        At most 2^25 coordinates M * A * d.
    drop_zero : bool
        Leave out the states of the root of prior zero.

    Returns
    -------
    LeafPopulation
        M: the states of the root (those of positive prior, in order); A: all leaf configurations, in the
        order of `enumerate_leaves`, the same for every point; d: the leaves, in the order of
        ``tree.leaves``. Coordinates are state numbers. Weights are P(z_0) and P(leaves | z_0); their sums
        are one within rounding.

    Raises
    ------
    InputError
        A tree that is too large.

    Source
    ------
    Statement 6 (augmentation) and section 0 (finite population).

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> population = leaf_population(star_tree(2, polarity=0.5))
    >>> population.points.shape, population.points[0].tolist()
    ((2, 4, 2), [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> population.augmentation_weights[1].tolist()
    [0.0625, 0.1875, 0.1875, 0.5625]
    """
    prior = tree.prior
    chosen = np.flatnonzero(prior > 0) if drop_zero else np.arange(len(prior))
    size = leaf_configurations(tree, "leaf_population") * len(chosen) * len(tree.leaves)
    if size > POPULATION_LIMIT:
        raise InputError(
            f"leaf_population of a tree with {len(tree.leaves)} leaves: must have at most "
            f"{count(POPULATION_LIMIT)} coordinates, has {count(size)}; use hltm.sample and hltm.resample"
        )
    leaves = enumerate_leaves(tree).astype(np.float64)
    return LeafPopulation(
        points=np.repeat(leaves[None], len(chosen), axis=0),
        point_weights=prior[chosen],
        augmentation_weights=leaf_table(tree)[chosen],
    )
