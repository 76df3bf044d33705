"""Decide a relation of any kind: what a user's statement claims.

Orders, limits, finite sums, expectations and integrals are replaced by what a sound method gives for them; what is left
is decided as an equation or an inequality. A node for which no method is sound stays, and the decision abstains with
its name.
"""

import sympy
from sympy import Basic, Eq

from theory.core.decide import ABSTAINED, Decision, combine
from theory.core.order import decide_order
from theory.core.order import decide_relation as decide_plain


def decide_relation(relation: Basic) -> Decision:
    """Decide an equation, an inequality, or any other relation that a statement claims.

    Parameters
    ----------
    relation
        ``Eq`` of scalars, matrices or tuples, ``Ge``, ``Gt``, ``Le``, ``Lt``, ``Ne`` of real scalars, or a
        `PositiveSemidefinite`.

    Returns
    -------
    Decision
        True by proof, False with a witness in its detail, None where no sound method decides.

    Source
    ------
    Claims of users.

    Examples
    --------
    >>> x = sympy.Symbol("x", real=True)
    >>> decide_relation(sympy.Eq(sympy.Tuple(1, x), sympy.Tuple(1, 2 * x), evaluate=False)).detail
    'part 2: 1 terms remain; at x = 3: left - right = -3'
    """
    if isinstance(relation, Eq) and all(isinstance(side, sympy.Tuple) for side in relation.args):
        return _decide_tuples(*relation.args)
    if isinstance(relation, sympy.Rel):
        return decide_order(relation)
    return decide_plain(relation)


def _decide_tuples(left: sympy.Tuple, right: sympy.Tuple) -> Decision:
    """Tuples are equal if they have as many parts, each equal to its partner."""
    if len(left) != len(right):
        return Decision(False, "shapes", f"left has {len(left)} parts, right has {len(right)}")
    decisions = []
    for number, sides in enumerate(zip(left, right, strict=True), start=1):
        decision = decide_relation(Eq(*sides, evaluate=False))
        if not decision:
            decision = Decision(decision.value, decision.method, f"part {number}: {decision.detail}")
        decisions.append(decision)
    return combine(decisions) if decisions else Decision(None, ABSTAINED, "two empty tuples are compared")
