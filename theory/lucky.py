"""Statement 7: how many neurons a lucky one takes, and how selective a gap makes it.

The law of the gap is in `theory.trees.gap_law`, the derivations in `theory.trees.lucky`. The emergence along
training is measured, not derived (`verify.theorem7`).
"""

import math
from typing import Any

import sympy
from sympy import Expr, Integer, Piecewise, Rational

from hltm.base.errors import InputError
from theory.trees.gap_law import exact

DIGIT_LIMIT = 10**6


def existence_probability(P_t: Any, m: Any) -> Expr:
    """``1 - (1 - P_t)^m``: the probability that some of m independent neurons has a gap of at least t.

    Parameters
    ----------
    P_t
        ``P(g >= t)`` of one neuron, in [0, 1]: an exact number or a SymPy expression.
    m
        Number of neurons, at least 1, or a SymPy symbol.

    Raises
    ------
    InputError
        A probability outside [0, 1], a number of neurons that is not a whole number of at least 1, or a result of more
        than a million digits.

    Source
    ------
    Statement 7, existence.

    Examples
    --------
    >>> existence_probability(Rational(1, 4), 2)
    7/16
    """
    p = P_t if isinstance(P_t, Expr) else exact(P_t, "P_t")
    if p.is_number and not bool((p >= 0) & (p <= 1)):
        raise InputError(f"P_t={P_t!s:.60} of existence_probability: must lie in [0, 1]")
    if isinstance(m, Expr) and not m.is_number:
        return 1 - (1 - p) ** m
    if isinstance(m, bool) or not isinstance(m, int | Integer) or m < 1:
        raise InputError(f"m={m!r:.60} of existence_probability: must be a whole number of at least 1")
    if p.is_Rational and int(m) * math.log10(int(p.q)) > DIGIT_LIMIT:
        raise InputError(f"m={m!s:.60} of existence_probability: more than {DIGIT_LIMIT:,} digits; use neurons_needed")
    return 1 - (1 - p) ** int(m)


def neurons_needed(delta: Any, P_t: Any) -> int:
    """Smallest m with ``(1 - P_t)^m <= delta``: ``ceil(log delta / log(1 - P_t))``, never off by one.

    Parameters
    ----------
    delta
        Allowed failure probability, exact, in (0, 1).
    P_t
        ``P(g >= t)`` of one neuron, exact, in (0, 1].

    Raises
    ------
    InputError
        A number that is not exact or not in its range.

    Source
    ------
    Statement 7, existence.

    Examples
    --------
    >>> neurons_needed(Rational(1, 8), Rational(1, 2)), neurons_needed(Rational(1, 9), Rational(1, 2))
    (3, 4)
    >>> neurons_needed(Rational(1, 10**6), Rational(1, 10**9))
    13815510552
    """
    failure, p = exact(delta, "delta"), exact(P_t, "P_t")
    if not 0 < failure < 1:
        raise InputError(f"delta={delta!s:.60} of neurons_needed: must lie strictly between 0 and 1")
    if not 0 < p <= 1:
        raise InputError(f"P_t={P_t!s:.60} of neurons_needed: must be above 0 (else no number suffices) and at most 1")
    if p == 1:
        return 1
    ratio = sympy.log(failure) / sympy.log(1 - p)
    digits = 30
    while True:
        value = sympy.N(ratio, digits)
        whole = int(sympy.floor(value + Rational(1, 2)))
        if abs(value - whole) > sympy.Float(10, digits) ** (len(str(whole)) + 3 - digits):
            return whole if value < whole else whole + 1
        # Too close to tell: equality needs the denominator of delta to be a power with that exponent.
        if whole <= int(failure.q).bit_length() and (1 - p) ** whole == failure:
            return whole
        digits *= 2


def selectivity_bound(m_0: Any, m_1: Any, v: Any, slope: Any = 0) -> Expr:
    """Lower bound of ``s_j`` from the moments of its pre-activation; for ReLU, or a slope below zero in [0, 1].

    ``1/2 (max(m_1, 0) - 1/2 (m_0 + sqrt(m_0^2 + v)))`` for ReLU, ``B``; ``slope/2 (m_1 - m_0) + (1 - slope) B`` in
    general, an equation at slope 1.

    Parameters
    ----------
    m_0, m_1
        ``E[p_j | z_mu = 0]`` and ``E[p_j | z_mu = 1]``: exact numbers or SymPy expressions.
    v
        At least ``Var(p_j | z_mu = 0)``.
    slope
        Of the activation below zero.

    Raises
    ------
    InputError
        A number that is not exact, v below zero, a slope outside [0, 1].

    Source
    ------
    Statement 7, strength; leaky slopes go beyond the paper.

    Examples
    --------
    >>> selectivity_bound(0, 1, 1)
    1/4
    >>> selectivity_bound(0, 1, 1, slope=1)
    1/2
    """
    names = {"m_0": m_0, "m_1": m_1, "v": v, "slope": slope}
    low, high, spread, below = (x if isinstance(x, Expr) else exact(x, name) for name, x in names.items())
    if spread.is_negative:
        raise InputError(f"v={v!s:.60} of selectivity_bound: must not be negative")
    if below.is_number and not bool((below >= 0) & (below <= 1)):
        raise InputError(f"slope={slope!s:.60} of selectivity_bound: must lie in [0, 1]")
    positive = Piecewise((high, high > 0), (Integer(0), True))
    relu = (positive - (low + sympy.sqrt(low**2 + spread)) / 2) / 2
    return below * (high - low) / 2 + (1 - below) * relu
