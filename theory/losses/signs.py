"""Signs of a loss's derivatives, and its domain, for statement 2 (arXiv 2010.00578, Theorem 2).

Where the slopes add up to zero, the loss depends on the gaps ``u_k = r_p - r_k`` only, real numbers without a bound.
A slope in the gaps is split into factors; a factor in one generator is decided by its real roots. A maximum is
decided on either side of its kink.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import sympy
from sympy import Expr, Symbol
from sympy.core.function import AppliedUndef
from sympy.polys.rings import PolyElement

from theory.core.decide import (
    ABSTAINED,
    ASSUMPTIONS,
    POLYNOMIAL,
    Decision,
    decide_positive,
    decide_zero,
    describe,
    exact_points,
    value_at,
)
from theory.core.normal import Normaliser, NotExactError, quotient
from theory.core.notation import r_p
from theory.core.quantity import range_of, within
from theory.losses.bounds import LARGE, Located, decide_on, has_pieces
from theory.losses.loss import Bounds, Loss

NO_BOUNDS: Bounds = MappingProxyType({})
ABSTAIN = Decision(None, ABSTAINED)
_TERMS, _KINKS = 60, 3
_DIGITS = 30
_STEPS = 200
_CLOSE = (60, 90, 120)


def sign_decisions(loss: Loss, slopes: Sequence[Expr], zero_sum: Decision) -> list[Decision]:
    """``dL/dr_+ > 0`` of every positive, and each ``dL/dr_k < 0``."""
    return [found.decision for found in located_signs(loss, slopes, zero_sum)]


def located_signs(
    loss: Loss, slopes: Sequence[Expr], zero_sum: Decision, strict: bool = True, early: bool = False
) -> list[Located]:
    """The signs of the slopes, with the points that refute; `early` stops at the first that is refuted."""
    count = len(loss.positives)
    signed = [slope if place < count else -slope for place, slope in enumerate(slopes)]
    smooth = strict and (loss.symbolic or not (loss.bounds or any(has_pieces(slope) for slope in slopes)))
    result: list[Located] = []
    for slope in signed:
        result.append(Located(decide_positive(slope)) if smooth else _on_domain(slope, strict, loss.bounds))
        if early and result[-1].decision.value is False:
            return result
    if zero_sum and count == 1:
        if loss.negatives is not None and any(found.decision.value is None for found in result[1:]):
            result[1:] = _by_gaps(loss, result[1:], strict)
        if result[0].decision.value is None and all(found.decision for found in result[1:]):
            detail = "minus the sum of the other slopes, each " + ("negative" if strict else "not positive")
            result[0] = Located(Decision(True, POLYNOMIAL, detail))
    if smooth and not loss.symbolic:
        return [_again(found, slope) for found, slope in zip(result, signed, strict=True)]
    return result


def _again(found: Located, slope: Expr) -> Located:
    """The sign of a small slope without kinks that is left open, by more points and proofs."""
    if found.decision.value is not None or sympy.count_ops(slope) > LARGE:
        return found
    other = _on_domain(slope, True, NO_BOUNDS)
    return found if other.decision.value is None else other


def _on_domain(slope: Expr, strict: bool, bounds: Bounds) -> Located:
    """The sign of a slope; a strict one is that of a slope which is finite off its kinks."""
    found = decide_on(slope, strict, bounds)
    if strict and found.decision and not all(_is_met(need, bounds) for need in needs(slope)):
        return Located(Decision(None, ABSTAINED, f"{found.decision.detail}, where the slope is finite"))
    return found


def _by_gaps(loss: Loss, found: list[Located], strict: bool) -> list[Located]:
    """The slopes of the negatives as functions of the gaps, where they are not decided; True or as they were."""
    gaps = [Symbol(f"u_{place}", real=True) for place in range(1, len(found) + 1)]
    moved = in_gaps(loss, gaps)
    if moved is None:
        return found
    ranged = dict(loss.bounds)
    if loss.domain == "sphere":
        ranged |= {gap: (sympy.Integer(-2), sympy.Integer(2)) for gap in gaps}
    result = []
    for gap, one in zip(gaps, found, strict=True):
        if one.decision.value is None:
            slope = sympy.diff(moved, gap)
            better = decide_slope(quotient(slope)) if strict else ABSTAIN
            if not better:
                better = decide_on(slope, strict, ranged).decision
            result.append(Located(better) if better else one)
        else:
            result.append(one)
    return result


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
    """Whether an expression is positive; True or None, since points are looked for elsewhere."""
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


# The domain of a loss: real and finite on all of ``r_p, r_k >= 0``, ``tau > 0``, real ``r_0``, or only on a part.


@dataclass(frozen=True)
class Need:
    """A condition of a logarithm, root or quotient: ``argument`` > 0, >= 0 or != 0."""

    argument: Expr
    relation: str

    @property
    def text(self) -> str:
        """The condition in its shortest form: ``tau > 5`` for ``tau - 5 > 0``."""
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
        """Whether it holds wherever the assumptions of the symbols do."""
        argument = self.argument
        if self.relation == "!=":
            return bool(argument.is_nonzero) or _positive(argument) or _positive(-argument)
        known = argument.is_nonnegative if self.relation == ">=" else argument.is_positive
        return bool(known) or _positive(argument)


def _positive(argument: Expr) -> bool:
    return bool(decide_positive(argument)) or bool(decide_slope(argument))


def _is_met(need: Need, bounds: Bounds) -> bool:
    """Whether a condition holds on the domain; at kinks too, since its argument is continuous there."""
    if need.proved:
        return True
    if has_pieces(need.argument):
        return need.relation == ">=" and bool(decide_on(need.argument, False, bounds).decision)
    if not bounds:
        return False
    turns = (1, -1) if need.relation == "!=" else (1,)
    return any(decide_on(turn * need.argument, need.relation != ">=", bounds).decision for turn in turns)


def needs(expression: Expr) -> Iterator[Need]:
    """Conditions under which all parts of an expression are real and finite, each once."""
    result: dict[Need, None] = {}
    for part in sympy.preorder_traversal(expression):
        if isinstance(part, sympy.log):
            result[Need(part.args[0], ">")] = None
        elif isinstance(part, sympy.Pow) and part.exp.is_Rational:
            if not part.exp.is_Integer:
                result[Need(part.base, ">" if part.exp < 0 else ">=")] = None
            elif part.exp < 0:
                result[Need(part.base, "!=")] = None
    yield from result


def domain_decision(expression: Expr, bounds: Bounds = NO_BOUNDS) -> Decision:
    """Whether a loss is real and finite everywhere."""
    return continued(expression, bounds)[1]


def continued(expression: Expr, bounds: Bounds = NO_BOUNDS) -> tuple[Expr, Decision]:
    """The expression, or its cancelled form where only that is defined everywhere, and the decision."""
    unknown = sorted(expression.atoms(AppliedUndef), key=str)
    if unknown:
        return expression, Decision(None, ABSTAINED, f"{unknown[0]} is not known to be real and finite")
    open_needs = [need for need in needs(expression) if not _is_met(need, bounds)]
    if not open_needs:
        return expression, Decision(True, ASSUMPTIONS, "every logarithm, root and quotient is defined")
    cancelled = quotient(expression)
    if all(_is_met(need, bounds) for need in needs(cancelled)):
        return cancelled, Decision(True, ASSUMPTIONS, "every logarithm, root and quotient is defined once cancelled")
    with within(bounds):
        place = _bad_point(cancelled) or _pole(cancelled)
    if place is None:
        parts = ", ".join(need.text for need in open_needs)
        return expression, Decision(None, ABSTAINED, f"not decided whether always {parts}")
    parts = " and ".join(need.text for need in needs(cancelled) if not _is_met(need, bounds))
    return expression, Decision(None, ABSTAINED, f"only where {parts}; {place}")


def _bad_point(expression: Expr) -> str | None:
    """A point where the value is not real, or infinite; 0/0 is neither."""
    points = [point for point, _ in exact_points(expression)]
    zeros = [
        symbol for point in points[-2:-1] for symbol in point if not symbol.is_positive and range_of(symbol) is None
    ]
    points += [{**point, symbol: sympy.S.Zero} for point in points[-2:-1] for symbol in zeros]
    for point in points:
        value = value_at(expression, point)
        if value is sympy.nan:
            continue
        kind = _kind(value)
        if kind:
            return f"at {describe(point)} the loss is {kind}"
    return None


def _kind(value: Expr) -> str:
    """Why a value is not admissible ("not finite", "not real"), or an empty text."""
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
