"""The conditions of the loss family, one by one: what each says, what decided it, and where it fails.

Statement 2 (arXiv 2010.00578, Theorem 2): ``dL/dr_+ > 0``, ``dL/dr_k < 0``, ``dL/dr_+ + sum_k dL/dr_k = 0``; and,
since the negatives are independent draws of one law, symmetry under their exchange. A failing condition comes with a
point.
"""

from dataclasses import dataclass

import sympy
from sympy import Expr

from theory.losses import Loss, derivative, linear_sums, loss_of, quotient
from theory.notation import r_p
from theory.zero import Decision, combine, decide_positive, decide_zero, describe, exact_points

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
        Sign of ``dL/dr_+``, sign of each ``dL/dr_k``, zero sum, symmetry for each further negative.

    Raises
    ------
    InputError
        As ``theory.losses.loss_of``.

    Source
    ------
    Statement 2; arXiv 2010.00578, Theorem 2.

    Examples
    --------
    >>> [c.decision.value for c in family_conditions("r_p - r_1")]
    [True, True, True]
    >>> family_conditions("r_p + r_1")[1].counterexample
    ('at every point:', 'dL/dr_1 = 1, but the family needs dL/dr_1 < 0')
    """
    described = loss_of(loss, negatives)
    distances = described.negatives or ()
    slopes = [linear_sums(quotient(derivative(described.expression, d))) for d in (r_p, *distances)]
    signs = [_sign("dL/dr_+", slopes[0], 1)]
    signs += [_sign(f"dL/d{d}", slope, -1) for d, slope in zip(distances, slopes[1:], strict=True)]
    total = sympy.Add(*(derivative(described.expression, d) for d in (r_p, *distances)))
    name = "dL/dr_+ + sum_k dL/dr_k" if len(distances) > 1 else "dL/dr_+ + dL/dr_1"
    return (*signs, _zero(f"{name} = 0", name, total), *_symmetries(described))


def membership_decision(conditions: tuple[Condition, ...]) -> Decision:
    """All conditions together: refuted by one, proved by all, undecided else."""
    return combine([condition.decision for condition in conditions])


def _sign(quantity: str, slope: Expr, sign: int) -> Condition:
    text, decision = f"{quantity} {'>' if sign > 0 else '<'} 0", decide_positive(sign * slope)
    if decision.value is not False:
        return Condition(text, quantity, slope, decision)
    return Condition(text, quantity, slope, decision, *_point(slope, sign))


def _zero(text: str, quantity: str, expression: Expr) -> Condition:
    decision = decide_zero(expression)
    if decision.value is not False:
        return Condition(text, quantity, expression, decision)
    return Condition(text, quantity, quotient(expression), decision, *_point(expression, 0))


def _symmetries(loss: Loss) -> list[Condition]:
    """Exchange of the first negative with each other one; these exchanges make every permutation."""
    first, *others = loss.negatives or (None,)
    found = []
    for other in others:
        swapped = loss.expression.xreplace({first: other, other: first})
        quantity = f"L - L({first} <-> {other})"
        found.append(_zero(f"{quantity} = 0", quantity, loss.expression - swapped))
    return found


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
