"""The tangent of the logarithm as checked steps, and readings of claims that hold for every instance."""

from collections.abc import Callable, Sequence

import sympy
from sympy import Basic

from theory.core.claim import Reading, equation, reading
from theory.core.decide import POINT, Decision, exact_number
from theory.core.derivation import Step, zero_step
from theory.core.order import decide_relation

RATIO = sympy.Symbol("y", positive=True)
_ROUNDING = sympy.Float(10) ** -18
_BETWEEN, _SHARE = sympy.Symbol("s", positive=True), sympy.Symbol("r", nonnegative=True)


def logarithm_steps() -> list[Step]:
    """``log y <= y - 1`` for every y > 0, as an integral between 1 and y of one sign."""
    y, s, r = RATIO, _BETWEEN, _SHARE
    primitive = s - sympy.log(s)
    ends = primitive.subs(s, y) - primitive.subs(s, 1)
    inner = (r + y) / (1 + r)
    sign = sympy.Ge(sympy.factor((inner - 1) * (y - 1) / inner), 0, evaluate=False)
    return [
        zero_step(sympy.diff(primitive, s), (s - 1) / s, "derivative of s - log s"),
        zero_step(y - 1 - sympy.log(y), ends, "y - 1 - log y is the integral of (s - 1)/s from 1 to y"),
        Step(sign, "between the ends, s = (r + y)/(1 + r), the integrand has the sign of y - 1", decide_relation(sign)),
    ]


def refuted_by_examples(
    prove: Callable[[Basic], Decision], examples: Sequence[tuple[str, Callable[[Basic], Basic]]]
) -> Reading:
    """Read relations about every instance: an example that violates one refutes it, `prove` decides the others.

    An example is its name and what it puts for the symbols, numbers throughout.
    """

    def decide(relation: Basic) -> Decision:
        for name, put in examples:
            found = violation(put(relation))
            if found:
                return Decision(False, POINT, f"{name}: {found}")
        return prove(relation)

    return reading(decide)


def violation(relation: Basic) -> str:
    """Both sides of a relation between numbers that does not hold by more than rounding; nothing where it may hold."""
    left, right = (exact_number(side) for side in relation.args)
    if left is None or right is None:
        return ""
    gap = left - right
    lacks = {
        sympy.Equality: abs(gap), sympy.GreaterThan: -gap, sympy.StrictGreaterThan: -gap, sympy.LessThan: gap,
        sympy.StrictLessThan: gap,
    }.get(relation.func)  # fmt: skip
    return f"left = {left.n(10)}, right = {right.n(10)}" if lacks is not None and lacks > _ROUNDING else ""


def put_into(relation: Basic, change: Callable[[Basic], Basic]) -> Basic:
    """A relation with both sides changed, not evaluated."""
    if isinstance(relation, sympy.Equality):
        return equation(*(change(side) for side in relation.args))
    return relation.func(*(change(side) for side in relation.args), evaluate=False)
