"""Exact examples for statement 4 (arXiv 2010.00578): small populations, written out by enumeration.

They show that a coefficient is *not* zero, which a normal form in general symbols cannot: a linear tower of
width one on two points of the line. The moment algebra is not used.
"""

from itertools import product

import sympy
from sympy import Expr, Rational, Symbol

from theory.core.decide import ABSTAINED, POLYNOMIAL, Decision, decide_positive
from theory.core.derivation import Step
from theory.core.normal import quotient
from theory.core.notation import negative, r_p
from theory.losses.loss import CANONICAL, Loss, derivative, loss_of

SPREAD = Symbol("s", real=True)
HALF = Rational(1, 2)


def half_square(value: Expr) -> Expr:
    """``1/2 value^2``."""
    return HALF * value**2


def theta_on_the_line(loss: Loss, distances: str) -> Expr:
    """Residue theta(s) of statement 4 (shared) for ``f = K = x`` on the points -1 and 1, one negative.

    The augmentations of x are x and (1 - 2 s) x with equal weights, so the mean is (1 - s) x and the
    deviation s x.

    Parameters
    ----------
    loss
        With one negative ``r_1``.
    distances
        "means" or "points": where r of the pair weight is measured.
    """
    points = (sympy.Integer(-1), sympy.Integer(1))
    slopes = [derivative(loss.expression, distance) for distance in (r_p, negative(1))]

    def at(slope: Expr, positive: Expr, other: Expr) -> Expr:
        return slope.xreplace({r_p: half_square(positive), negative(1): half_square(other)})

    update: list[Expr] = []
    for x, y in product(points, repeat=2):
        draws = product((x, (1 - 2 * SPREAD) * x), (x, (1 - 2 * SPREAD) * x), (y, (1 - 2 * SPREAD) * y))
        for first, second, other in draws:
            near, far = sympy.expand(first - second), sympy.expand(first - other)
            value = -at(slopes[0], near, far) * near**2 - at(slopes[1], near, far) * far**2
            update.append(Rational(1, 32) * value)
    lead: list[Expr] = []
    for x, y in product(points, repeat=2):
        between = (1 - SPREAD) * (x - y) if distances == "means" else x - y
        weight = at(slopes[0], sympy.S.Zero, between)
        lead.append(Rational(1, 4) * weight * ((1 - SPREAD) * (x - y)) ** 2)
    return sympy.Add(*update) - sympy.Add(*lead)


def first_order_example(loss: Loss) -> Step:
    """``d theta / d s`` at 0 is not zero with r between unaugmented points, on the line."""
    single = loss if loss.negatives == (negative(1),) else None
    if loss.name in CANONICAL:
        single = loss_of(loss.name, 1)
    if single is None:
        undecided = Decision(None, ABSTAINED, "no exact example is at hand for this loss with several negatives")
        return Step(sympy.Ne(Symbol(r"\frac{d\theta}{ds}"), 0, evaluate=False), "exact example", undecided)
    theta = theta_on_the_line(single, "points")
    value = quotient(sympy.diff(theta, SPREAD).xreplace({SPREAD: sympy.S.Zero}))
    why = (
        "d theta/ds at s = 0 in an exact example: f = K = x on the points -1 and 1, augmentations x and "
        "(1 - 2 s) x, one negative"
    )
    return _nonzero(value, why)


def _nonzero(value: Expr, why: str) -> Step:
    """A step ``value != 0``, proved by the sign of the value."""
    relation = sympy.Ne(value, 0, evaluate=False)
    if value == 0:
        return Step(relation, why, Decision(False, POLYNOMIAL, "the value is 0"))
    signs = [decide_positive(value), decide_positive(-value)]
    proof = next((d for d in signs if d.value), Decision(None, ABSTAINED, "the sign was not decided"))
    return Step(relation, f"{why}: {'positive' if signs[0].value else 'negative'}, so it does not vanish", proof)


def antisymmetric_example() -> Step:
    """InfoNCE with two negatives, one-branch: the antisymmetric part of xi_1 contributes at order 0.

    Points 1 and 2 with ``f = K = x`` and weights 1/3, 2/3, no augmentation. With ``e^{-r(1,2)/tau} = 1/(1 +
    v)``, v > 0, the one-branch value minus half of the shared one is a quotient of polynomials in v.
    """
    gap = Symbol("v", positive=True)
    points, weights = (1, 2), (Rational(1, 3), Rational(2, 3))

    def similarity(x: int, y: int) -> Expr:
        return sympy.S.One if x == y else 1 / (1 + gap)

    one_branch, shared = [], []
    for (x, a), (y, b), (z, c) in product(zip(points, weights, strict=True), repeat=3):
        weight = similarity(x, y) / (1 + similarity(x, y) + similarity(x, z))
        one_branch.append(a * b * c * weight * x * (x - y))
        shared.append(a * b * c * weight * (x - y) ** 2)
    value = quotient(sympy.Add(*one_branch) - sympy.Add(*shared) / 2)
    why = (
        "exact example: InfoNCE, H = 2, f = K = x on the points 1 and 2 with weights 1/3 and 2/3, v = e^(1/(2 tau)) - 1"
    )
    return _nonzero(value, why)
