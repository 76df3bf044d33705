"""Statement 7 in exact rationals: the bound on every neuron, the gap, the law of the gap and existence.

The oracles share no formula with the claims: moments come from the enumeration of the leaves, the law of the gap from
piecewise polynomials that are averaged over one uniform after another, existence from the binomial law.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from flint import fmpq, fmpq_poly

from verify.engine.evidence import Measurement
from verify.trees.claims import Node
from verify.trees.enumeration import Enumeration
from verify.trees.instance import TreeInstance
from verify.trees.lucky import STATED, Claim, Moments, Sizes
from verify.trees.ways import enumeration

# Thresholds in units of the largest gap.
PLACES = tuple(Fraction(n, 12) for n in (-9, -4, 0, 3, 6, 8, 11))
LAW = ("survival", "existence", "bound_squared")
# Averaging piecewise polynomials costs 2^n pieces.
AVERAGED = 5


def fraction(value: fmpq) -> Fraction:
    """A rational of python-flint as a Fraction."""
    return Fraction(int(value.p), int(value.q))


def rational(value: Fraction) -> fmpq:
    """A Fraction as a rational of python-flint."""
    return fmpq(value.numerator, value.denominator)


@dataclass(frozen=True, eq=False)
class Neuron:
    """One neuron by enumeration: its weights, the moments of its pre-activation, its gap and its selectivity."""

    node: Any
    index: int
    weights: Any
    moments: Moments
    gap: fmpq
    selectivity: fmpq


def speaks_of(tree: Any, node: Any) -> bool:
    """Whether the statement speaks of a node: it and its children have two states."""
    return all(tree.cardinality(name) == 2 for name in (node, *tree.children(node)))


def neurons(moments: Enumeration, node: Any) -> Iterator[Neuron]:
    """Every neuron of a node; the top node has no activation, which is slope 1."""
    leaves = moments.below(moments.tree.root)
    place = [leaves.index(leaf) for leaf in moments.below(node)]
    weights = moments.weights[node]
    slope = fmpq(1) if node == moments.tree.root else moments.slope
    given = []
    for law in moments.laws[node]:
        rows = []
        for part, p in law.items():
            whole = [0] * len(leaves)
            for position, state in zip(place, part, strict=True):
                whole[position] = state
            rows.append((p, weights @ moments.run(tuple(whole)).inputs[node]))
        given.append(rows)
    for index in range(len(weights)):
        low, high = ([(p, values[index]) for p, values in rows] for rows in given)
        (m_0, v_0, s_0), (m_1, v_1, s_1) = (summary(rows, slope) for rows in (low, high))
        found = Moments(m_0, m_1, v_0, v_1, slope)
        yield Neuron(node, index, weights[index], found, m_1 - m_0, (s_1 - s_0) / 2)


def summary(rows: list[tuple[fmpq, fmpq]], slope: fmpq) -> tuple[fmpq, fmpq, fmpq]:
    """Mean and variance of the pre-activation, and mean of the activation."""
    mean = sum((p * value for p, value in rows), fmpq(0))
    variance = sum((p * (value - mean) ** 2 for p, value in rows), fmpq(0))
    return mean, variance, sum((p * (value if value > 0 else slope * value) for p, value in rows), fmpq(0))


def shortfall(selectivity: fmpq, bound: tuple[fmpq, fmpq, fmpq]) -> float:
    """How far a selectivity is below ``line - factor sqrt(radicand)``; 0 exactly where it is not, by squaring."""
    line, factor, radicand = bound
    if factor < 0 or radicand < 0:
        raise ValueError("a bound needs a factor and a radicand that are not negative")
    lacking = line - selectivity
    if lacking <= 0 or factor**2 * radicand >= lacking**2:
        return 0.0
    gap = float(fraction(lacking)) - math.sqrt(float(fraction(factor**2 * radicand)))
    # Decided above; a difference too small for float64 must not read as zero.
    return max(gap, 5e-324)


Pieces = tuple[tuple[fmpq, ...], tuple[fmpq_poly, ...]]


@lru_cache(maxsize=1024)
def averaged(sizes: Sizes) -> Pieces:
    """P(2 sum a_i u_i >= x) as knots and polynomials between them, averaged over one uniform after another."""
    knots: tuple[fmpq, ...] = (fmpq(0),)
    pieces: tuple[fmpq_poly, ...] = (fmpq_poly([1]), fmpq_poly([0]))
    for size in sizes:
        reach = 2 * rational(size)
        whole = primitive(knots, pieces)
        moved = tuple(sorted({knot + side * reach for knot in knots for side in (-1, 1)}))
        middles = [moved[0] - 1, *((a + b) / 2 for a, b in pairwise(moved)), moved[-1] + 1]
        averages = []
        for middle in middles:
            up, down = (whole[sum(knot <= middle + side * reach for knot in knots)] for side in (1, -1))
            averages.append((up(fmpq_poly([reach, 1])) - down(fmpq_poly([-reach, 1]))) / (2 * reach))
        knots, pieces = moved, tuple(averages)
    return knots, pieces


def primitive(knots: tuple[fmpq, ...], pieces: tuple[fmpq_poly, ...]) -> list[fmpq_poly]:
    """A continuous antiderivative, piece by piece."""
    found = [pieces[0].integral()]
    for knot, piece in zip(knots, pieces[1:], strict=True):
        raw = piece.integral()
        found.append(raw + (found[-1](knot) - raw(knot)))
    return found


def averaged_survival(sizes: Sizes, x: Fraction) -> Fraction:
    """P(2 sum a_i u_i >= x), by averaging.

    Examples
    --------
    >>> averaged_survival((Fraction(1, 2), Fraction(1, 4)), Fraction(1))
    Fraction(1, 16)
    """
    knots, pieces = averaged(sizes)
    return fraction(pieces[sum(knot <= rational(x) for knot in knots)](rational(x)))


def binomial_existence(p: Fraction, count: int) -> Fraction:
    """P(at least one of m independent events), summed over how many there are."""
    return sum((math.comb(count, k) * p**k * (1 - p) ** (count - k) for k in range(1, count + 1)), Fraction(0))


def uniform_variance(bound_squared: Fraction) -> Fraction:
    """Variance of a uniform weight on [-b, b]: the integral of x^2/(2b), with x = b u."""
    square = fmpq_poly([0, 0, fmpq(1, 2)]).integral()
    return bound_squared * fraction(square(1) - square(-1))


def distance(difference: Fraction | float) -> float:
    """Absolute value as a float; an exact difference too small for float64 does not read as zero."""
    return max(abs(float(difference)), 5e-324) if difference != 0 else 0.0


def sizes_of(a: Any) -> Sizes:
    """|a_mu| without zeros, in order, as Fractions."""
    return tuple(sorted(fraction(abs(entry)) for entry in a if entry != 0))


def measure(instance: TreeInstance, claim: Claim | None = None) -> Measurement:
    """Every part of the claim at every node that it speaks of, in rationals: any difference refutes."""
    claim, moments = claim or STATED, enumeration(instance)
    worst, made = Measurement(0.0, 0.0), False
    for node in instance.tree.latents:
        if not speaks_of(instance.tree, node):
            continue
        a = Node(moments, node).a()
        made = True
        parts = [*neuron_parts(moments, node, a, claim)] if claim.says("gap", "bound") else []
        parts += law_parts(a, len(moments.weights[node]), claim) if claim.says(*LAW) else []
        for difference, what in parts:
            if difference > worst.residual:
                worst = Measurement(difference, 0.0, detail=f"{what} at {node!r}")
    return worst if made else Measurement(0.0, 0.0, False, "no node with two states whose children have two")


def neuron_parts(moments: Enumeration, node: Any, a: Any, claim: Claim) -> Iterator[tuple[float, str]]:
    """Gap and bound of every neuron: how far each is off, and its name."""
    claimed = np.atleast_1d(claim.gap(moments.weights[node], a))
    for neuron, value in zip(neurons(moments, node), claimed, strict=True):
        yield distance(fraction(value - neuron.gap)), f"gap of neuron {neuron.index}"
        yield shortfall(neuron.selectivity, claim.bound(neuron.moments)), f"bound of neuron {neuron.index}"


def law_parts(a: Any, count: int, claim: Claim) -> Iterator[tuple[float, str]]:
    """Law of the gap, existence among the node's neurons, variance of the weights."""
    inputs = len(a)
    yield distance(uniform_variance(claim.bound_squared(inputs)) - Fraction(1, inputs)), "variance of the weights"
    sizes = sizes_of(a)
    if not 0 < len(sizes) <= AVERAGED:
        return
    for place in PLACES:
        x = place * 2 * sum(sizes)
        p = averaged_survival(sizes, x)
        yield distance(claim.survival(sizes, x) - p), f"law of the gap, P(g >= {float(place):.3g} of the largest)"
        yield distance(claim.existence(p, count) - binomial_existence(p, count)), f"existence among {count} neurons"
