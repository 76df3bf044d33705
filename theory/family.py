"""Statement 2 (contrastive-losses): membership in the loss family, Theorem 2 of arXiv 2010.00578.

``dL/dr_+ > 0``, ``dL/dr_k < 0`` and ``dL/dr_+ + sum_k dL/dr_k = 0``, proved for symbolic H: the derivatives
are quotients of polynomials with positive coefficients in positive generators, and finite sums are compared
by linearity.
"""

import sympy
from sympy import Expr, Sum, Symbol

from theory.derivation import Derivation, Statement, Step, equation, sign_step, verdict
from theory.losses import FREE_NEGATIVE, Loss, derivative, linear_sums, loss_of, quotient
from theory.notation import H, j, r_p
from theory.zero import decide_zero

ASSUMPTIONS = (
    "distances r_+, r_1, ..., r_H are not negative",
    "tau > 0, r_0 real",
    "H is a positive integer",
)
TEXT = "dL/dr_+ > 0, dL/dr_k < 0, dL/dr_+ + sum_k dL/dr_k = 0"
SLOPE_POSITIVE = Symbol(r"\frac{\partial L}{\partial r_{+}}", real=True)


def slope_symbol(label: str) -> Symbol:
    """The symbol that stands for ``dL/dr_label``."""
    return Symbol(rf"\frac{{\partial L}}{{\partial r_{{{label}}}}}", real=True)


def derive_family(loss: object = "infonce", negatives: int | None = None) -> Derivation:
    """Statement 2 for a canonical loss, H symbolic (or explicit), or for a loss given as an expression."""
    return membership_of(loss_of(loss, negatives))


def family_membership(expression: object, negatives: int | None = None) -> Derivation:
    """Whether a loss belongs to the family of statement 2: two signs and a zero sum.

    Parameters
    ----------
    expression
        A canonical name, or an expression in ``r_p``, ``r_1``, ..., ``tau``, ``r_0`` (see
        ``theory.losses.loss_of``).
    negatives
        Explicit number of negatives, or None: what the expression says; symbolic H for a canonical name.

    Returns
    -------
    Derivation
        ``decision.value`` is True (member), False (with an exact refuting point in ``decision.detail``) or
        None.

    Source
    ------
    Statement 2; arXiv 2010.00578, Theorem 2.

    Examples
    --------
    >>> family_membership("triplet").proved
    True
    >>> family_membership(r_p + Symbol("r_1")**2).decision.value
    False
    """
    return membership_of(loss_of(expression, negatives))


def membership_of(loss: Loss) -> Derivation:
    """The five kinds of steps: two derivatives, two signs, the zero sum."""
    steps = _slope_steps(loss.expression, r_p, SLOPE_POSITIVE, positive=True)
    distances = [(FREE_NEGATIVE, "j")] if loss.negatives is None else [(n, str(n)[2:]) for n in loss.negatives]
    for distance, label in distances:
        steps += _slope_steps(loss.expression, distance, slope_symbol(label), positive=False)
    total, shown, why = _zero_sum(loss)
    decision = decide_zero(total)
    steps.append(Step(equation(shown, sympy.S.Zero), why, decision))
    residual = sympy.S.Zero if decision else quotient(total)
    text = f"{TEXT} for {loss.name}, {'symbolic H' if loss.symbolic else f'H = {len(distances)}'}"
    statement = Statement(text, equation(Symbol("L"), loss.expression))
    return Derivation("contrastive-losses", statement, ASSUMPTIONS, tuple(steps), residual, verdict(steps, decision))


def _slope_steps(loss: Expr, distance: Expr, shown: Symbol, positive: bool) -> list[Step]:
    slope = derivative(loss, distance)
    simple = linear_sums(quotient(slope))
    how = "differentiation"
    if distance == FREE_NEGATIVE:
        how = "differentiation of a finite sum: only the term k = j depends on r_j"
    sign = "positive coefficients in positive quantities (exponentials, tau, sums of positive terms)"
    return [
        Step(equation(shown, simple), how, decide_zero(linear_sums(slope) - simple)),
        sign_step(simple, shown, positive, sign),
    ]


def _zero_sum(loss: Loss) -> tuple[Expr, Expr, str]:
    positive = derivative(loss.expression, r_p)
    if loss.negatives is not None:
        slopes = [derivative(loss.expression, distance) for distance in loss.negatives]
        shown = sympy.Add(SLOPE_POSITIVE, *(slope_symbol(str(n)[2:]) for n in loss.negatives))
        return sympy.Add(positive, *slopes), shown, "the slopes added, common denominator"
    slope = quotient(derivative(loss.expression, FREE_NEGATIVE))
    total = linear_sums(quotient(positive)) + linear_sums(Sum(slope, (j, 1, H)))
    shown = SLOPE_POSITIVE + Sum(slope_symbol("j"), (j, 1, H))
    return total, shown, "linearity of a finite sum, common denominator"
