"""The signs of a loss's derivatives, for statement 2 (arXiv 2010.00578, Theorem 2): what assumptions alone do not show.

Where the slopes add up to zero, the loss depends on the gaps ``u_k = r_p - r_k`` only, real numbers without a bound.
A slope in the gaps is split into factors; a factor in one generator is decided by its real roots. A maximum is
decided on either side of its kink.
"""

from collections.abc import Sequence
from itertools import product

import sympy
from sympy import Expr, Symbol
from sympy.core.function import AppliedUndef
from sympy.polys.rings import PolyElement

from theory.core.decide import POLYNOMIAL, Decision, decide_positive, decide_zero, value_at
from theory.core.normal import Normaliser, NotExactError, quotient
from theory.core.notation import r_p
from theory.losses.loss import Loss

_TERMS, _KINKS = 60, 3


def sign_decisions(loss: Loss, slopes: Sequence[Expr], zero_sum: Decision) -> list[Decision]:
    """``dL/dr_+ > 0`` and each ``dL/dr_k < 0``.

    Parameters
    ----------
    loss
        The loss.
    slopes
        ``dL/dr_+`` and the slope of each negative (one, of a free negative, where H is symbolic).
    zero_sum
        What was decided on the sum of all slopes.

    Examples
    --------
    >>> from theory.losses.loss import derivative, loss_of
    >>> given = loss_of("exp(2*r_p - 2*r_1) - exp(r_p - r_1) + r_p - r_1")
    >>> slopes = [derivative(given.expression, d) for d in (r_p, *given.negatives)]
    >>> [decision.value for decision in sign_decisions(given, slopes, decide_zero(sum(slopes)))]
    [True, True]
    """
    found = [decide_positive(slope if place == 0 else -slope) for place, slope in enumerate(slopes)]
    if not zero_sum or all(d.value is not None for d in found):
        return found
    if loss.negatives is not None and any(d.value is None for d in found[1:]):
        gaps = [Symbol(f"u_{place}", real=True) for place in range(len(loss.negatives))]
        moved = in_gaps(loss, gaps)
        for place, gap in enumerate(gaps, start=1):
            if moved is not None and found[place].value is None:
                better = decide_slope(quotient(sympy.diff(moved, gap)))
                found[place] = better if better else found[place]
    if found[0].value is None and all(found[1:]):
        detail = "minus the sum of the other slopes, each negative"
        found[0] = Decision(True, POLYNOMIAL, detail)
    return found


def in_gaps(loss: Loss, gaps: Sequence[Symbol]) -> Expr | None:
    """The loss as a function of ``u_k = r_p - r_k``, or None where it is not shown to be one."""
    if loss.expression.has(AppliedUndef):
        return None
    moved = loss.expression.xreplace({r: r_p - u for r, u in zip(loss.negatives or (), gaps, strict=True)})
    moved = moved.replace(lambda part: isinstance(part, sympy.exp), lambda part: sympy.exp(sympy.expand(part.args[0])))
    if not moved.has(r_p):
        return moved
    if not decide_zero(sympy.diff(moved, r_p)):
        return None
    start = value_at(moved, {r_p: sympy.S.Zero})
    return None if start.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo) else start


def decide_slope(slope: Expr) -> Decision:
    """Whether an expression is positive; True or None, since points are looked for elsewhere.

    Examples
    --------
    >>> u = Symbol("u", real=True)
    >>> decide_slope(1 + u + u**2).value, decide_slope(1 + 2 * u + u**2).value
    (True, None)
    """
    kinks = sorted(slope.atoms(sympy.Heaviside), key=str)
    if kinks and len(kinks) <= _KINKS:
        # SymPy's value at the kink itself is 1/2; there the slopes of either side are what counts.
        sides = [
            slope.xreplace(dict(zip(kinks, map(sympy.Rational, values), strict=True)))
            for values in product((0, 1, "1/2"), repeat=len(kinks))
        ]
        decided = all(decide_slope(side) for side in sides)
        return Decision(True if decided else None, POLYNOMIAL, "positive on either side of every kink")
    if slope.is_positive:
        return Decision(True, POLYNOMIAL, "is_positive of the slope in r_p - r_k")
    try:
        normaliser = Normaliser([slope])
        parts = normaliser.cancelled(slope)
    except NotExactError as error:
        return Decision(None, POLYNOMIAL, str(error))
    signs = [_sign(part, normaliser) for part in parts]
    positive = signs[0] is not None and signs[0] == signs[1]
    return Decision(True if positive else None, POLYNOMIAL, "factors without a real root, in r_p - r_k")


def _sign(poly: PolyElement, normaliser: Normaliser) -> int | None:
    """The sign of a polynomial in the generators, if it has one everywhere."""
    if not poly or len(poly) > _TERMS:
        return None
    coefficient, factors = poly.factor_list()
    sign = 1 if coefficient > 0 else -1
    for factor, exponent in factors:
        of_factor = _sign_of_factor(factor, normaliser)
        if of_factor is None:
            return None
        sign *= of_factor**exponent
    return sign


def _sign_of_factor(factor: PolyElement, normaliser: Normaliser) -> int | None:
    expression = normaliser.expression(factor)
    if decide_positive(expression):
        return 1
    if decide_positive(-expression):
        return -1
    used = [place for place in range(len(normaliser.keys)) if any(monomial[place] for monomial in factor)]
    if len(used) != 1:
        return None
    value, t = normaliser.value_of(normaliser.keys[used[0]]), Symbol("t", real=True)
    interval = _range_of(value)
    poly = sympy.Poly(
        {(monomial[used[0]],): sympy.Rational(int(c.numerator), int(c.denominator)) for monomial, c in factor.items()},
        t,
    )
    if interval is None or any(root in interval for root in poly.real_roots()):
        return None
    inside = interval.inf + 1 if interval.sup.is_infinite and interval.inf.is_finite else sympy.Rational(1, 2)
    return 1 if poly.eval(inside) > 0 else -1


def _range_of(value: Expr) -> sympy.Interval | None:
    """The values of a generator: all that its assumptions allow."""
    zero, one, end = sympy.S.Zero, sympy.S.One, sympy.oo
    if isinstance(value, Symbol) and value.is_real:
        if value.is_positive:
            return sympy.Interval.open(zero, end)
        return sympy.Interval(zero, end) if value.is_nonnegative else sympy.Interval(-end, end)
    if isinstance(value, sympy.exp) and value.args[0].is_real:
        exponent = value.args[0]
        if exponent.is_positive:
            return sympy.Interval.open(one, end)
        return sympy.Interval.open(zero, one) if exponent.is_negative else sympy.Interval.open(zero, end)
    return None
