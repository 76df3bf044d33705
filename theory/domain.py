"""Where a loss is a real, finite number: on all of ``r_p, r_k >= 0``, ``tau > 0``, real ``r_0``, or only on a part.

Derivatives do not see it: ``r_p - r_1 + log(tau - 5)`` has those of the simple loss. Logarithms, roots and quotients
are proved to be defined one by one; where a proof fails for the text and succeeds for its cancelled form, the gap can
be removed. Belongs to statement 2 (arXiv 2010.00578, Theorem 2), which speaks of losses on the whole domain.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import sympy
from sympy import Expr
from sympy.core.function import AppliedUndef

from theory.core.decide import ABSTAINED, ASSUMPTIONS, Decision, decide_positive, describe, exact_points, value_at
from theory.core.normal import quotient
from theory.losses.signs import decide_slope

_DIGITS = 30
_STEPS = 200
_CLOSE = (60, 90, 120)


@dataclass(frozen=True)
class Need:
    """What a logarithm, root or quotient needs: ``argument`` > 0, >= 0 or != 0."""

    argument: Expr
    relation: str

    @property
    def text(self) -> str:
        """The need in the shortest words: ``tau > 5`` for ``tau - 5 > 0``.

        Examples
        --------
        >>> Need(2 * sympy.Symbol("tau") - 10, ">").text
        'tau > 5'
        """
        symbols = self.argument.free_symbols
        if len(symbols) == 1:
            (symbol,) = symbols
            slope = self.argument.diff(symbol)
            if slope.is_Rational and slope:
                bound = -self.argument.xreplace({symbol: sympy.S.Zero}) / slope
                turned = {">": "<", ">=": "<=", "!=": "!="}
                return f"{symbol} {self.relation if slope > 0 else turned[self.relation]} {sympy.sstr(bound)}"
        return f"{sympy.sstr(self.argument)} {self.relation} 0"

    @property
    def proved(self) -> bool:
        """Whether it is met wherever the assumptions of the symbols hold."""
        argument = self.argument
        if self.relation == "!=":
            return bool(argument.is_nonzero) or _positive(argument) or _positive(-argument)
        known = argument.is_nonnegative if self.relation == ">=" else argument.is_positive
        return bool(known) or _positive(argument)


def _positive(argument: Expr) -> bool:
    return bool(decide_positive(argument)) or bool(decide_slope(argument))


def needs(expression: Expr) -> Iterator[Need]:
    """What every part of an expression needs to be real and finite, each once.

    Examples
    --------
    >>> x = sympy.Symbol("x", real=True)
    >>> sorted(need.text for need in needs(sympy.log(x - 1) + 1 / (x + 2) + sympy.sqrt(x)))
    ['x != -2', 'x > 1', 'x >= 0']
    """
    found: dict[Need, None] = {}
    for part in sympy.preorder_traversal(expression):
        if isinstance(part, sympy.log):
            found[Need(part.args[0], ">")] = None
        elif isinstance(part, sympy.Pow) and part.exp.is_Rational:
            if not part.exp.is_Integer:
                found[Need(part.base, ">" if part.exp < 0 else ">=")] = None
            elif part.exp < 0:
                found[Need(part.base, "!=")] = None
    yield from found


def domain_decision(expression: Expr) -> Decision:
    """Whether a loss is real and finite everywhere.

    Returns
    -------
    Decision
        True by proof, for the expression or for what continues it; else None, and ``detail`` says where the loss is
        defined, and gives a point where it is not, as far as these are known.

    Examples
    --------
    >>> from theory.losses.parse import parse_loss
    >>> domain_decision(parse_loss("tau*log(1 + exp((r_p - r_1)/tau))")).value
    True
    >>> domain_decision(parse_loss("r_p - r_1 + log(r_0)")).detail
    'only where r_0 > 0; at r_0 = -4, r_1 = 3/2, r_p = 8/5 the loss is not real'
    """
    return continued(expression)[1]


def continued(expression: Expr) -> tuple[Expr, Decision]:
    """The expression, or its cancelled form where only that is defined everywhere, and the decision."""
    unknown = sorted(expression.atoms(AppliedUndef), key=str)
    if unknown:
        return expression, Decision(None, ABSTAINED, f"{unknown[0]} is not known to be real and finite")
    open_needs = [need for need in needs(expression) if not need.proved]
    if not open_needs:
        return expression, Decision(True, ASSUMPTIONS, "every logarithm, root and quotient is defined")
    cancelled = quotient(expression)
    if all(need.proved for need in needs(cancelled)):
        return cancelled, Decision(True, ASSUMPTIONS, "every logarithm, root and quotient is defined once cancelled")
    place = _bad_point(cancelled) or _pole(cancelled)
    if place is None:
        parts = ", ".join(need.text for need in open_needs)
        return expression, Decision(None, ABSTAINED, f"not decided whether always {parts}")
    parts = " and ".join(need.text for need in needs(cancelled) if not need.proved)
    return expression, Decision(None, ABSTAINED, f"only where {parts}; {place}")


def _bad_point(expression: Expr) -> str | None:
    """A point where the value is not real, or infinite; 0/0 is neither."""
    points = [point for point, _ in exact_points(expression)]
    points += [{**point, symbol: sympy.S.Zero} for point in points[-2:-1] for symbol in point if not symbol.is_positive]
    for point in points:
        value = value_at(expression, point)
        if value is sympy.nan:
            continue
        kind = _kind(value)
        if kind:
            return f"at {describe(point)} the loss is {kind}"
    return None


def _kind(value: Expr) -> str:
    """What is wrong with a value, or nothing."""
    if value.has(sympy.zoo, sympy.oo, -sympy.oo):
        return "not finite"
    number = sympy.N(value, _DIGITS)
    if number.is_number and number.is_finite and abs(sympy.im(number)) > sympy.Float(10) ** -20:
        return "not real"
    return ""


def _pole(expression: Expr) -> str | None:
    """Where a denominator changes its sign and the loss grows without bound towards that place."""
    points = [point for point, _ in exact_points(expression)]
    for need in needs(expression):
        if need.proved or need.relation != "!=":
            continue
        signs = [(point, sympy.N(value_at(need.argument, point), _DIGITS)) for point in points]
        below = next((point for point, sign in signs if sign.is_real and sign < 0), None)
        above = next((point for point, sign in signs if sign.is_real and sign > 0), None)
        if below is None or above is None:
            continue
        place = _crossing(need.argument, below, above)
        sizes = []
        for digits in _CLOSE:
            moved = {s: v + (above[s] - below[s]) / sympy.Integer(10) ** (digits // 3) for s, v in place.items()}
            sizes.append(abs(sympy.N(value_at(expression, moved), digits)))
        if all(size.is_real for size in sizes) and sizes[0] > 10**6 and sizes[2] > 10**3 * sizes[1] > 10**6 * sizes[0]:
            shown = ", ".join(f"{s} = {float(v):.6g}" for s, v in sorted(place.items(), key=str))
            return f"towards {shown} the loss is not finite"
    return None


def _crossing(argument: Expr, below: dict[Expr, Expr], above: dict[Expr, Expr]) -> dict[Expr, Expr]:
    """The place on the segment between two points where the argument changes its sign, by bisection in rationals."""

    def at(share: Expr) -> dict[Expr, Expr]:
        return {s: below[s] + share * (above[s] - below[s]) for s in below}

    low, high = sympy.S.Zero, sympy.S.One
    for _ in range(_STEPS):
        middle = (low + high) / 2
        value = sympy.N(value_at(argument, at(middle)), 2 * _CLOSE[-1])
        if value.is_real and value < 0:
            low = middle
        else:
            high = middle
    return at(high)
