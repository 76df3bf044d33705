"""Patterns on a ring with translations as augmentations: objects whose augmentation means coincide.

The example of arXiv 2010.00578 for statement 5: the objects 11 and 101 on d positions. Over all d translations every
position carries each one of a pattern exactly once, so that patterns with equally many ones have one and the same
mean, ``(ones / d) (1, .., 1)``: linear neurons cannot tell them apart.
"""

from collections.abc import Sequence
from typing import Any

import torch

from hltm.base.errors import InputError
from numeric.towers.populations import FinitePopulation


def ring_population(
    positions: int,
    patterns: Sequence[Any] = ("11", "101"),
    *,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> FinitePopulation:
    """Objects on a ring of d positions; the augmentations of each are its d translations, all equally likely.

    Parameters
    ----------
    positions : int
        d, the size of the ring.
    patterns : sequence of str
        One object each, written in the digits 0 and 1; positions that are not written are 0.
    dtype, device
        Of the points.

    Returns
    -------
    FinitePopulation
        ``M = len(patterns)`` equally likely points with d augmentations of d entries each.

    Raises
    ------
    InputError
        No pattern, a pattern that is not written in 0 and 1 or does not fit on the ring, or two patterns that are
        translations of each other, which would be one object.

    Source
    ------
    Statement 5, the patterns 11 and 101.

    Examples
    --------
    >>> ring_population(4).points[1].int().tolist()
    [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    >>> ring_population(3)
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: patterns '11' and '101' on 3 positions: are translations of each other, must be two objects
    """
    if isinstance(positions, bool) or not hasattr(positions, "__index__") or positions < 1:
        raise InputError(f"positions={positions!r} of a ring: must be a positive integer")
    if isinstance(patterns, str) or not patterns:
        raise InputError(f"patterns={patterns!r} of a ring: must list at least one pattern such as '101'")
    size = int(positions)
    rings = [_ring(pattern, size) for pattern in patterns]
    orbits = [[ring[size - shift :] + ring[: size - shift] for shift in range(size)] for ring in rings]
    for second in range(len(rings)):
        for first in range(second):
            if rings[first] in orbits[second]:
                names = f"patterns {patterns[first]!r} and {patterns[second]!r} on {size} positions"
                raise InputError(f"{names}: are translations of each other, must be two objects")
    return FinitePopulation(torch.tensor(orbits, dtype=dtype, device=device))


def _ring(pattern: Any, size: int) -> list[float]:
    """One pattern laid on the ring, from position 0."""
    if not isinstance(pattern, str) or not pattern or set(pattern) - {"0", "1"}:
        raise InputError(f"pattern={pattern!r:.40} of a ring: must be text of the digits 0 and 1")
    if len(pattern) > size:
        raise InputError(f"pattern={pattern!r:.40} of a ring: has {len(pattern)} digits, at most {size} positions")
    return [float(digit) for digit in pattern] + [0.0] * (size - len(pattern))
