"""Statement 7: its formulas, mutants of them, and their check in exact rationals.

A bound is written ``line - factor sqrt(radicand)``, so that it can be decided exactly by squaring, and evaluated on
tensors as well as on rationals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from flint import fmpq, fmpq_poly

import theory
from verify.engine.evidence import Kind, Measurement
from verify.engine.rewrites import exchanged, right, times
from verify.engine.statement import Variant
from verify.instances.instance import TreeInstance
from verify.trees.agreement import enumeration
from verify.trees.claims import Node
from verify.trees.enumeration import Enumeration


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of the pre-activation in either state of z_mu, of one neuron or of a tensor of them."""

    m_0: Any
    m_1: Any
    v_0: Any
    v_1: Any
    slope: Any


def positive(value: Any) -> Any:
    """max(value, 0), for rationals and tensors."""
    return (value + abs(value)) / 2


Bound = Callable[[Moments], tuple[Any, Any, Any]]
Sizes = tuple[Fraction, ...]


def stated_bound(m: Moments) -> tuple[Any, Any, Any]:
    """a/2 (m_1 - m_0) + (1 - a)/2 (max(m_1, 0) - 1/2 (m_0 + sqrt(m_0^2 + v))), v the variance at z_mu = 0."""
    return with_variance(m, m.v_0)


def with_variance(m: Moments, variance: Any) -> tuple[Any, Any, Any]:
    """The bound with another variance v under the root."""
    return leaky(m, positive(m.m_1) / 2 - m.m_0 / 4, m.m_0**2 + variance)


def leaky(m: Moments, line: Any, radicand: Any, factor: Fraction | int = 1) -> tuple[Any, Any, Any]:
    """The bound of a slope from ``line - factor/4 sqrt(radicand)``, the one of ReLU."""
    rest = 1 - m.slope
    return m.slope * (m.m_1 - m.m_0) / 2 + rest * line, rest * factor / 4, radicand


def stated_gap(weights: Any, a: Any) -> Any:
    """2 w_j^T a_mu."""
    return 2 * (weights @ a)


@lru_cache(maxsize=4096)
def stated_survival(sizes: Sizes, x: Fraction) -> Fraction:
    """P(2 sum a_i u_i >= x) for u_i uniform on [-1, 1], as `theory` has it."""
    value = theory.gap_law(sizes).survival(x)
    return Fraction(int(value.p), int(value.q))


def stated_existence(p: Fraction, neurons: int) -> Fraction:
    """1 - (1 - P)^m, as `theory` has it."""
    value = theory.existence_probability(p, neurons)
    return Fraction(int(value.p), int(value.q))


def stated_bound_squared(inputs: int) -> Fraction:
    """b^2 = 3 sigma_w^2 / n with sigma_w = 1."""
    return Fraction(3, inputs)


@dataclass(frozen=True)
class Claim:
    """Formulas of the gap, the bound of the selectivity, the law of the gap, existence, the range of the weights."""

    gap: Callable[[Any, Any], Any] = stated_gap
    bound: Bound = stated_bound
    survival: Callable[[Sizes, Fraction], Fraction] = stated_survival
    existence: Callable[[Fraction, int], Fraction] = stated_existence
    bound_squared: Callable[[int], Fraction] = stated_bound_squared

    def says(self, *parts: str) -> bool:
        """Whether one of these formulas is to be measured: all of the statement's, of a variant what it changes."""
        changed = [name for name in PARTS if getattr(self, name) is not getattr(STATED, name)]
        return not changed or any(part in changed for part in parts)


STATED = Claim()
PARTS = tuple(field.name for field in fields(Claim))


def normal_survival(sizes: Sizes, x: Fraction) -> Fraction:
    """A normal law of the same variance, 4/3 sum a_i^2."""
    return Fraction(0.5 * math.erfc(float(x) / math.sqrt(2 * 4 / 3 * float(sum(size**2 for size in sizes)))))


def mean_for_root(m: Moments) -> tuple[Any, Any, Any]:
    """max(m_0, 0) in place of the square root."""
    return leaky(m, positive(m.m_1) / 2 - m.m_0 / 4 - positive(m.m_0) / 4, m.m_0 * 0, 0)


def doubled(m: Moments) -> tuple[Any, Any, Any]:
    """The outer 1/2 left out."""
    line, factor, radicand = stated_bound(m)
    return 2 * line, 2 * factor, radicand


# Mutants as rewrites of the claim.

THE_RANGE = "the range b of the weights is a symbol of the claim"


def root_to_mean(bound: Any) -> Any:
    """``max(m_0, 0)`` for ``sqrt(m_0^2 + v)``."""
    from sympy import Max, Pow, Rational

    def is_root(part: Any) -> bool:
        return isinstance(part, Pow) and part.exp == Rational(1, 2)

    m_0 = next(s for s in bound.free_symbols if dict(getattr(s, "place", ())).get("state") == "0")
    return bound.replace(is_root, lambda _: Max(0, m_0))


def half_the_gap(bound: Any) -> Any:
    """``(m_1 - m_0)/2``."""
    means = {dict(s.place)["state"]: s for s in bound.free_symbols if "state" in dict(getattr(s, "place", ()))}
    return (means["1"] - means["0"]) / 2


def normal_tail(tail: Any) -> Any:
    """``erfc(t/sqrt(2 V))/2`` with the variance of the gap, ``V = sum_i c_i^2/3``."""
    import sympy

    t = next(s for s in tail.free_symbols if s.name == "t")
    c, i, n = (
        next(s for s in tail.atoms(kind) if str(s) == name)
        for kind, name in ((sympy.Indexed, "c[i]"), (sympy.Symbol, "i"), (sympy.Symbol, "n"))
    )
    return sympy.erfc(t / sympy.sqrt(2 * sympy.Sum(c**2 / 3, (i, 1, n)))) / 2


def every_one(existence: Any) -> Any:
    """``P_t^m`` for ``1 - (1 - P_t)^m``."""
    from sympy import Pow

    (power,) = existence.atoms(Pow)
    return (1 - power.base) ** power.exp


ALL: tuple[Kind, ...] = ("exact", "float", "trained")
BOUND_VARIANTS = (
    Variant(
        "variance-left-out",
        "sqrt(m_0^2) in place of sqrt(m_0^2 + v)",
        Claim(bound=lambda m: with_variance(m, 0)),
        ALL,
        rewrite=exchanged(lambda _: {"v": 0}).of(claim="strength"),
    ),
    Variant(
        "mean-for-root",
        "max(m_0, 0) in place of sqrt(m_0^2 + v)",
        Claim(bound=mean_for_root),
        ALL,
        rewrite=right(root_to_mean).of(claim="strength"),
    ),
    Variant(
        "bound-without-half",
        "the bound without its 1/2",
        Claim(bound=doubled),
        ALL,
        rewrite=times(2).of(claim="strength"),
    ),
    Variant(
        "half-the-gap",
        "s_j >= g_j / 2, as for linear neurons",
        Claim(bound=lambda m: ((m.m_1 - m.m_0) / 2, m.m_0 * 0, m.m_0 * 0)),
        ALL,
        rewrite=right(half_the_gap).of(claim="strength"),
    ),
)
TRAINED_VARIANTS = (
    *BOUND_VARIANTS,
    Variant(
        "variance-of-the-other-state",
        "Var(p|z_mu = 1) for Var(p|z_mu = 0)",
        Claim(bound=lambda m: with_variance(m, m.v_1)),
        ("trained",),
        one_kind="instances are too rare among random small trees to be found by search; trained neurons refute it",
    ),
)
VARIANTS = (
    Variant(
        "normal-law",
        "a normal law of the same variance, claimed exact",
        Claim(survival=normal_survival),
        rewrite=right(normal_tail).of(claim="law"),
    ),
    Variant(
        "range-without-root-three",
        "b = sigma_w n^(-1/2)",
        Claim(bound_squared=lambda n: Fraction(1, n)),
        rewrite=THE_RANGE,
    ),
    Variant("range-over-n", "b = sigma_w / n", Claim(bound_squared=lambda n: Fraction(1, n**2)), rewrite=THE_RANGE),
    Variant(
        "gap-without-two",
        "g_j = w_j^T a_mu",
        Claim(gap=lambda w, a: w @ a),
        rewrite=times(Fraction(1, 2), 2).of(claim="gap"),
    ),
    Variant(
        "every-neuron-lucky",
        "P^m in place of 1 - (1 - P)^m",
        Claim(existence=lambda p, m: p**m),
        rewrite=right(every_one, 2).of(claim="existence"),
    ),
    *BOUND_VARIANTS,
)


# The check in exact rationals: the bound on every neuron, the gap, the law of the gap and existence.

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


def applies_to(tree: Any, node: Any) -> bool:
    """Whether the statement speaks of a node: it and its children have two states."""
    return all(tree.cardinality(name) == 2 for name in (node, *tree.children(node)))


def neurons(moments: Enumeration, node: Any) -> Iterator[Neuron]:
    """Every neuron of a node; the top node has no activation, which is slope 1."""
    weights = moments.weights[node]
    slope = fmpq(1) if node == moments.tree.root else moments.slope
    laws = [[(p, weights @ moments.run_below(node, c).inputs[node]) for c, p in law.items()]
            for law in moments.laws[node]]  # fmt: skip
    for index in range(len(weights)):
        (m_0, v_0, s_0), (m_1, v_1, s_1) = (summary([(p, values[index]) for p, values in law], slope) for law in laws)
        result = Moments(m_0, m_1, v_0, v_1, slope)
        yield Neuron(node, index, weights[index], result, m_1 - m_0, (s_1 - s_0) / 2)


def summary(rows: list[tuple[fmpq, fmpq]], slope: fmpq) -> tuple[fmpq, fmpq, fmpq]:
    """Mean and variance of the pre-activation, and mean of the activation."""
    mean = sum((p * value for p, value in rows), fmpq(0))
    variance = sum((p * (value - mean) ** 2 for p, value in rows), fmpq(0))
    return mean, variance, sum((p * (value if value > 0 else slope * value) for p, value in rows), fmpq(0))


def shortfall(selectivity: fmpq, bound: tuple[fmpq, fmpq, fmpq]) -> float:
    """The distance of a selectivity below ``line - factor sqrt(radicand)``; 0 exactly where it is not, by squaring."""
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
    result = [pieces[0].integral()]
    for knot, piece in zip(knots, pieces[1:], strict=True):
        raw = piece.integral()
        result.append(raw + (result[-1](knot) - raw(knot)))
    return result


def averaged_survival(sizes: Sizes, x: Fraction) -> Fraction:
    """P(2 sum a_i u_i >= x), by averaging."""
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


def measure_exact(instance: TreeInstance, claim: Claim | None = None) -> Measurement:
    """Gap, bound, law and existence at every node that the claim applies to, in rationals: any difference refutes."""
    claim, moments = claim or STATED, enumeration(instance)
    worst, built = Measurement(0.0, 0.0), False
    for node in instance.tree.latents:
        if not applies_to(instance.tree, node):
            continue
        a = Node(moments, node).a()
        built = True
        parts = [*neuron_parts(moments, node, a, claim)] if claim.says("gap", "bound") else []
        parts += law_parts(a, len(moments.weights[node]), claim) if claim.says(*LAW) else []
        for difference, what in parts:
            if difference > worst.residual:
                worst = Measurement(difference, 0.0, detail=f"{what} at {node!r}")
    return worst if built else Measurement(0.0, 0.0, False, "no node with two states whose children have two")


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
