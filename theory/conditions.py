"""The conditions of the loss family, one by one: what each says, what decided it, and where it fails.

Statement 2 (arXiv 2010.00578, Theorem 2): ``dL/dr_+ > 0``, ``dL/dr_k < 0``, ``dL/dr_+ + sum_k dL/dr_k = 0``, for a loss
that is a real, finite number on the whole domain. A failing condition comes with a point. Symmetry under an exchange
of negatives is no condition: a loss may weigh them differently, and every negative then has its own ``xi_k``.
"""

from dataclasses import dataclass

import sympy
from sympy import Expr, Sum

from theory.core.decide import Decision, combine, decide_zero, describe, exact_points
from theory.core.normal import linear_sums, quotient
from theory.core.notation import H, j, r_p
from theory.domain import domain_decision
from theory.exchangeable import indexed_form
from theory.losses.loss import FREE_NEGATIVE, Loss, derivative, loss_of
from theory.losses.signs import sign_decisions

REAL = "L is real and finite"
"""The condition on the values themselves."""

_DIGITS = 30
_TINY = sympy.Float(10) ** -20


@dataclass(frozen=True)
class Condition:
    """One condition of the family.

    Attributes
    ----------
    text
        What it says, for instance ``dL/dr_+ > 0``.
    quantity
        What the condition is about: ``dL/dr_+``, ``dL/dr_2``, or a difference.
    expression
        That quantity for the loss at hand.
    decision
        What decided the condition.
    point, value
        Where it fails and the value there, where a point was found; else None.
    """

    text: str
    quantity: str
    expression: Expr
    decision: Decision
    point: str | None = None
    value: str | None = None

    @property
    def counterexample(self) -> tuple[str, str]:
        """Two lines: the point, and the quantity that violates the condition there."""
        where = f"at {self.point}:" if self.point else f"in general ({self.decision.detail}):"
        found = self.value if self.value is not None else sympy.sstr(self.expression)
        return where, f"{self.quantity} = {found}, but the family needs {self.text}"


def family_conditions(loss: object, negatives: int | None = None) -> tuple[Condition, ...]:
    """Every condition of the family for a loss with an explicit number of negatives.

    Parameters
    ----------
    loss
        As in ``theory.family_membership``; a canonical name with explicit `negatives`.
    negatives
        Explicit H, or None: what the expression says.

    Returns
    -------
    tuple of Condition
        Sign of ``dL/dr_+``, sign of each ``dL/dr_k`` (one condition for all of them where they are many and alike),
        zero sum, and that the loss is real and finite: proved, or not decided with the place where it is.

    Raises
    ------
    InputError
        As ``theory.losses.loss.loss_of``.

    Source
    ------
    Statement 2; arXiv 2010.00578, Theorem 2.

    Examples
    --------
    >>> [c.decision.value for c in family_conditions("r_p - r_1")]
    [True, True, True, True]
    >>> family_conditions("r_p + r_1")[1].counterexample
    ('at every point:', 'dL/dr_1 = 1, but the family needs dL/dr_1 < 0')
    """
    described = loss_of(loss, negatives)
    written = indexed_form(described)
    if written is not None:
        general = _conditions(written, len(described.negatives or ()))
        if membership_decision(general).value:
            return general
    return _conditions(described)


def _conditions(loss: Loss, count: int | None = None) -> tuple[Condition, ...]:
    """The conditions; those of a loss with symbolic H speak of its `count` negatives."""
    distances = (FREE_NEGATIVE,) if loss.negatives is None else loss.negatives
    found = [derivative(loss.expression, d) for d in (r_p, *distances)]
    slopes = [linear_sums(quotient(slope)) for slope in found]
    if loss.negatives is None:
        total = slopes[0] + linear_sums(Sum(quotient(found[1]), (j, 1, H)))
        names = [f"dL/dr_k for each k = 1..{count}"]
    else:
        total, names = sympy.Add(*found), [f"dL/d{d}" for d in distances]
    name = "dL/dr_+ + dL/dr_1" if count is None and len(distances) == 1 else "dL/dr_+ + sum_k dL/dr_k"
    zero = _zero(f"{name} = 0", name, total)
    decisions = sign_decisions(loss, slopes, zero.decision)
    signs = [_sign("dL/dr_+", slopes[0], 1, decisions[0])]
    signs += [_sign(*row) for row in zip(names, slopes[1:], [-1] * len(names), decisions[1:], strict=True)]
    return (*signs, zero, Condition(REAL, "L", loss.expression, domain_decision(loss.expression)))


def symmetric(loss: Loss) -> Decision:
    """Whether the loss stays what it is when negatives are exchanged; no condition of the family.

    Examples
    --------
    >>> symmetric(loss_of("r_p - r_1/3 - 2*r_2/3")).value
    False
    """
    first, *others = loss.negatives or (None,)
    swaps = (loss.expression.xreplace({first: other, other: first}) for other in others)
    return combine([decide_zero(loss.expression - swapped) for swapped in swaps])


def membership_decision(conditions: tuple[Condition, ...]) -> Decision:
    """All conditions together: refuted by one, proved by all, undecided else."""
    return combine([condition.decision for condition in conditions])


def _sign(quantity: str, slope: Expr, sign: int, decision: Decision) -> Condition:
    text = f"{quantity} {'>' if sign > 0 else '<'} 0"
    if decision.value is not False:
        return Condition(text, quantity, slope, decision)
    return Condition(text, quantity, slope, decision, *_point(slope, sign))


def _zero(text: str, quantity: str, expression: Expr) -> Condition:
    decision = decide_zero(expression)
    if decision.value is not False:
        return Condition(text, quantity, expression, decision)
    return Condition(text, quantity, quotient(expression), decision, *_point(expression, 0))


def _point(expression: Expr, sign: int) -> tuple[str | None, str | None]:
    """A point where the expression has not the sign, or (sign 0) is not zero, and its value."""
    for point, value in exact_points(expression):
        number = sympy.N(value, _DIGITS)
        if not number.is_number or not number.is_real or not number.is_finite:
            continue
        wrong = sign * number < -_TINY or number == 0 if sign else abs(number) > _TINY
        if wrong:
            exact = value.is_Rational and len(sympy.sstr(value)) < _DIGITS
            return describe(point), sympy.sstr(value if exact else number.n(10))
    return None, None
