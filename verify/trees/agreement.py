"""The four ways to the moments of a tree network held against each other, pair by pair; the odd one out is named."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np

from verify.engine.evidence import Measurement
from verify.tolerance.statistics import allowed
from verify.towers.tower import Array
from verify.trees.forms import derived
from verify.trees.instance import TreeInstance
from verify.trees.ways import by_sampling, by_torch, enumerated, enumeration, floats, near_kink


def four_ways(
    instance: TreeInstance, *, seed: int, device: str, samples: int = 20_000, comparisons: int = 40
) -> Measurement:
    """All four ways on the activation covariance; all but sampling on operator and update. Names the odd one out.

    Parameters
    ----------
    comparisons : int
        How many instances of a run are compared.
    """
    exact_values = enumerated(instance)
    torch_values, rounding_error = by_torch(instance, device)
    if near_kink(instance):
        return Measurement(0.0, rounding_error, False, "a gate is near its kink")
    sampled = by_sampling(instance, seed, samples, allowed("four ways", comparisons))
    disagreements: dict[frozenset[str], float] = {}
    for form in derived(enumeration(instance)):
        key = form.quantity, form.node
        ways: dict[str, tuple[Array, Any]] = {
            "closed form": (floats(form.value), 0.0),
            "enumeration": (form.part(floats(exact_values[key])), 0.0),
            "torch": (form.part(torch_values[key]), rounding_error),
        }
        if form.quantity == "activation":
            ways["sampling"] = (form.part(sampled[form.node][0]), form.part(sampled[form.node][1]))
        compare_pairs(ways, rounding_error, disagreements)
    worst = max(disagreements.values(), default=0.0)
    return Measurement(worst, 1.0, detail=odd_one_out(disagreements) if worst > 1 else "")


def compare_pairs(ways: dict[str, tuple[Array, Any]], floor: float, disagreements: dict[frozenset[str], float]) -> None:
    """Record for each pair of ways the largest difference in units of what both may be off by together."""
    for (name_a, (a, error_a)), (name_b, (b, error_b)) in combinations(ways.items(), 2):
        # The smallest positive float keeps 0 / 0 from being asked where nothing may be off and nothing is.
        ratio = float(np.max(np.abs(a - b) / np.maximum(error_a + error_b + floor, 5e-324)))
        pair = frozenset((name_a, name_b))
        disagreements[pair] = max(disagreements.get(pair, 0.0), math.inf if math.isnan(ratio) else ratio)


def odd_one_out(disagreements: dict[frozenset[str], float]) -> str:
    """Which way disagrees while the others agree with each other; or that no single one does.

    Examples
    --------
    >>> pairs = {frozenset(("a", "b")): 0.1, frozenset(("a", "c")): 9.0, frozenset(("b", "c")): 8.0}
    >>> odd_one_out(pairs)
    'the odd one out is c'
    """
    names = sorted({name for pair in disagreements for name in pair})
    for name in names:
        involved = [value for pair, value in disagreements.items() if name in pair]
        rest = [value for pair, value in disagreements.items() if name not in pair]
        if rest and max(rest) <= 1 and max(involved) > 1:
            return f"the odd one out is {name}"
    pairs = [" and ".join(sorted(pair)) for pair, value in disagreements.items() if value > 1]
    return "disagreeing: " + "; ".join(sorted(pairs))
