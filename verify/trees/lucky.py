"""What statement 7 claims, as formulas that a false variant replaces one at a time.

A bound is written ``line - factor sqrt(radicand)``, so that it can be decided exactly by squaring, and evaluated on
tensors as well as on rationals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import lru_cache
from typing import Any

from verify.engine.evidence import Kind
from verify.engine.statement import Variant


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
    return leaky(m, positive(m.m_1) / 2 - m.m_0 / 4, m.m_0**2 + m.v_0)


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
    import theory

    value = theory.gap_law(sizes).survival(x)
    return Fraction(int(value.p), int(value.q))


def stated_existence(p: Fraction, neurons: int) -> Fraction:
    """1 - (1 - P)^m, as `theory` has it."""
    import theory

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


def no_variance(m: Moments) -> tuple[Any, Any, Any]:
    """V left out: sqrt(m_0^2)."""
    return leaky(m, positive(m.m_1) / 2 - m.m_0 / 4, m.m_0**2)


def other_variance(m: Moments) -> tuple[Any, Any, Any]:
    """Var(p|1) for Var(p|0)."""
    return leaky(m, positive(m.m_1) / 2 - m.m_0 / 4, m.m_0**2 + m.v_1)


def mean_for_root(m: Moments) -> tuple[Any, Any, Any]:
    """max(m_0, 0) in place of the square root."""
    return leaky(m, positive(m.m_1) / 2 - m.m_0 / 4 - positive(m.m_0) / 4, m.m_0 * 0, 0)


def doubled(m: Moments) -> tuple[Any, Any, Any]:
    """The outer 1/2 left out."""
    line, factor, radicand = stated_bound(m)
    return 2 * line, 2 * factor, radicand


def linear_for_relu(m: Moments) -> tuple[Any, Any, Any]:
    """Half the gap, as if the neuron were linear."""
    return (m.m_1 - m.m_0) / 2, m.m_0 * 0, m.m_0 * 0


ALL: tuple[Kind, ...] = ("exact", "float", "trained")
BOUND_VARIANTS = (
    Variant("variance-left-out", "sqrt(m_0^2) in place of sqrt(m_0^2 + v)", Claim(bound=no_variance), ALL),
    Variant("mean-for-root", "max(m_0, 0) in place of sqrt(m_0^2 + v)", Claim(bound=mean_for_root), ALL),
    Variant("bound-without-half", "the bound without its 1/2", Claim(bound=doubled), ALL),
    Variant("half-the-gap", "s_j >= g_j / 2, as for linear neurons", Claim(bound=linear_for_relu), ALL),
)
TRAINED_VARIANTS = (
    *BOUND_VARIANTS,
    Variant(
        "variance-of-the-other-state",
        "Var(p|z_mu = 1) for Var(p|z_mu = 0)",
        Claim(bound=other_variance),
        ("trained",),
        one_kind="instances are too rare among random small trees to be found by search; trained neurons refute it",
    ),
)
VARIANTS = (
    Variant("normal-law", "a normal law of the same variance, claimed exact", Claim(survival=normal_survival)),
    Variant("range-without-root-three", "b = sigma_w n^(-1/2)", Claim(bound_squared=lambda n: Fraction(1, n))),
    Variant("range-over-n", "b = sigma_w / n", Claim(bound_squared=lambda n: Fraction(1, n**2))),
    Variant("gap-without-two", "g_j = w_j^T a_mu", Claim(gap=lambda w, a: w @ a)),
    Variant("every-neuron-lucky", "P^m in place of 1 - (1 - P)^m", Claim(existence=lambda p, m: p**m)),
    *BOUND_VARIANTS,
)
