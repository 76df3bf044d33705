"""Where statement 7 is tried: the trees on which networks are trained, lists of coefficients of the gap's law."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from verify.instances.samples import generator
from verify.trees.lucky import Sizes
from verify.trees.samples import tree_of

if TYPE_CHECKING:
    from hltm import HLTM


def training_trees() -> dict[str, HLTM]:
    """Trees with uneven tables, so that trained neurons come near the bound in every way in which it can fail."""
    first, even, falling, rising = (0.125, 0.875), (0.125, 0.875), (0.9375, 0.5), (0.5, 0.9375)
    return {
        "two groups": tree_of({
            "a": ("r", first), "b": ("r", first),
            "a0": ("a", even), "a1": ("a", falling), "b0": ("b", (0.5, 0.0625)), "b1": ("b", rising),
        }),
        "two levels": tree_of({
            "a": ("r", first), "r0": ("r", even),
            "b": ("a", first), "a0": ("a", falling), "b0": ("b", (0.5, 0.0625)), "b1": ("b", rising),
        }),
    }  # fmt: skip


def coefficient_lists(seed: int, count: int, most: int) -> Iterator[Sizes]:
    """Positive coefficients a_i, some equal, one to `most` of them."""
    rng = generator(seed, "gap law")
    for index in range(count):
        size = 1 + index % most
        yield tuple(sorted(Fraction(int(n), 16) for n in rng.integers(1, 16, size=size, endpoint=True)))
