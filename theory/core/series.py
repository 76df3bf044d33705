"""Expansions of scalar functions as a positive variable goes to zero: orders and limits with a proved remainder.

An expansion is a finite sum of ``e^G S`` with G a polynomial in 1/s without constant term and S a truncated Laurent
series whose coefficients are polynomials in log s. Sums, products and quotients of such expansions, and analytic
functions of those that stay bounded, have expansions: nothing is taken from ``sympy.limit`` or ``sympy.series``. What a
power of s divides must not vanish, which is decided by signs; where that is open, or an operation has no rule here, the
expansion is undecided.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import sympy
from sympy import Basic, Expr, Integer, MatrixExpr, Rational, Symbol

from theory.core.decide import decide_zero, exact_number
from theory.core.equality import decide_equal
from theory.core.networks import UndecidedError
from theory.core.normal import quotient
from theory.core.signs import Sign, sign_of

TERM_LIMIT = 40
EXACT = 10**6
"""The order of a series without remainder."""
LOG = sympy.Dummy("log_s", real=True)
"""log s, as it stands in coefficients."""
_ENTIRE = (sympy.sin, sympy.cos, sympy.sinh, sympy.cosh, sympy.erf)
_ON_THE_LINE = (sympy.tanh, sympy.atan, sympy.asinh)
Powers = dict[int, Expr]


@dataclass(frozen=True)
class Series:
    """``sum c_k s^k + O(s^order)`` up to powers of log s; without remainder where the order is `EXACT`."""

    terms: Mapping[int, Expr]
    order: int

    @property
    def low(self) -> int:
        """The smallest power."""
        return min(self.terms, default=self.order)


Polar: TypeAlias = tuple[tuple[int, Expr], ...]
Expansion: TypeAlias = dict[Polar, Series]
"""Series by the polar part of their exponential factor: pairs of a power and its coefficient."""


def coefficient(expr: Expr) -> Expr:
    """A coefficient in a form in which zeros are seen."""
    written = sympy.expand(expr)
    if written.is_Rational or written == 0:
        return written
    if written.has(sympy.Trace):
        return sympy.S.Zero if decide_equal(written, sympy.S.Zero).value is True else written
    written = quotient(written) if not written.has(LOG) else written
    return sympy.S.Zero if written == 0 or decide_zero(written).value is True else written


def series(terms: Mapping[int, Expr], order: int) -> Series:
    """A series without terms that are zero or beyond the order."""
    kept = {power: coefficient(c) for power, c in terms.items() if power < order}
    result = {power: c for power, c in kept.items() if c != 0}
    if len(result) > TERM_LIMIT:
        raise UndecidedError(f"a series of more than {TERM_LIMIT} terms")
    return Series(result, order)


def added(a: Series, b: Series) -> Series:
    """The sum."""
    powers = {*a.terms, *b.terms}
    return series({p: a.terms.get(p, Integer(0)) + b.terms.get(p, Integer(0)) for p in powers}, min(a.order, b.order))


def multiplied(a: Series, b: Series) -> Series:
    """The product."""
    if (not a.terms and a.order == EXACT) or (not b.terms and b.order == EXACT):
        return Series({}, EXACT)
    order = min([EXACT, *(x.order + y.low for x, y in ((a, b), (b, a)) if x.order != EXACT)])
    terms: Powers = {}
    for p, c in a.terms.items():
        for q, d in b.terms.items():
            terms[p + q] = terms.get(p + q, Integer(0)) + c * d
    return series(terms, order)


def leading(a: Series) -> tuple[int, Expr]:
    """The first term that is not zero, for all values of the symbols."""
    if not a.terms:
        raise UndecidedError("no term of an expansion is known not to vanish")
    power = a.low
    c = a.terms[power]
    if c.has(LOG):
        raise UndecidedError("log s leads a divisor, a root or a logarithm")
    if not sign_of(c)[0].nonzero and not (exact_number(c) or 0) != 0:
        raise UndecidedError(f"{c!s:.40} may be zero")
    return power, c


class Expander:
    """Expansions in a positive symbol s, with relative precision `digits` where an expansion is infinite."""

    def __init__(self, s: Symbol, digits: int) -> None:
        self.s, self.digits = s, digits
        self.known: dict[Expr, Expansion] = {}

    def of(self, expr: Expr) -> Expansion:
        """The expansion of an expression."""
        if expr not in self.known:
            self.known[expr] = self._build(expr)
        return self.known[expr]

    def _build(self, expr: Expr) -> Expansion:
        if not expr.has(self.s):
            if expr.has(sympy.oo, -sympy.oo, sympy.zoo, sympy.nan, sympy.Float):
                raise UndecidedError(f"{expr!s:.40} is not an exact number")
            return {(): series({0: expr}, EXACT)}
        if expr == self.s:
            return {(): Series({1: Integer(1)}, EXACT)}
        if isinstance(expr, sympy.Add):
            return reduce(self._add, (self.of(part) for part in expr.args))
        if isinstance(expr, sympy.Mul):
            return reduce(self._times, (self.of(part) for part in expr.args))
        if isinstance(expr, sympy.exp):
            return self._exp(self.of(expr.args[0]))
        if isinstance(expr, sympy.Pow):
            return self._pow(expr)
        if isinstance(expr, sympy.log) and len(expr.args) == 1:
            return self._log(self.of(expr.args[0]))
        if isinstance(expr, sympy.Abs):
            if not _is_real(expr.args[0]):
                raise UndecidedError(f"{expr.args[0]!s:.40} is not known to be real")
            sign = self.sign(self.of(expr.args[0]))
            return self.of(expr.args[0] if sign > 0 else -expr.args[0])
        if isinstance(expr, sympy.Max | sympy.Min):
            return self._extreme(expr)
        if isinstance(expr, sympy.tanh | sympy.sinh | sympy.cosh | sympy.coth) and self._grows(expr.args[0]):
            return self.of(expr.rewrite(sympy.exp))
        if isinstance(expr, _ENTIRE + _ON_THE_LINE):
            return self._analytic(expr.func, self.bounded(self.of(expr.args[0])), isinstance(expr, _ON_THE_LINE))
        if isinstance(expr, sympy.Trace):
            return {(): matrix_series(expr.arg, self.s, self.digits, inverted(expr)).traced()}
        if isinstance(expr, sympy.tan | sympy.coth | sympy.sech | sympy.csch):
            return self.of(expr.rewrite(sympy.cos if isinstance(expr, sympy.tan) else sympy.exp))
        raise UndecidedError(f"{type(expr).__name__} has no expansion here")

    # Operations.

    def _add(self, a: Expansion, b: Expansion) -> Expansion:
        result = dict(a)
        for polar, one in b.items():
            result[polar] = added(result[polar], one) if polar in result else one
        return {polar: one for polar, one in result.items() if one.terms or one.order != EXACT} or {
            (): Series({}, EXACT)
        }

    def _times(self, a: Expansion, b: Expansion) -> Expansion:
        result: Expansion = {(): Series({}, EXACT)}
        for polar, one in a.items():
            for other, two in b.items():
                result = self._add(result, {_joined(polar, other): multiplied(one, two)})
        return result

    def dominant(self, a: Expansion) -> tuple[Polar, Series]:
        """The part that grows fastest, with the others inside of its remainder."""
        polar = next(iter(a))
        for other in list(a)[1:]:
            growth = _growth(polar, other)
            if growth == 0:
                raise UndecidedError("two exponentials that are equal and not written alike")
            polar = polar if growth > 0 else other
        main = a[polar]
        rest = [other for other in a if other != polar]
        if rest:  # smaller than every power of s, against the main part
            main = series(main.terms, min(main.order, main.low + self.digits if main.terms else self.digits))
        return polar, main

    def positive_lead(self, a: Expansion, what: str) -> tuple[Polar, Series, int, Expr]:
        """The dominant part of what is real and positive for small s, with the power and coefficient that lead it."""
        polar, main = self.dominant(a)
        power, c = leading(main)
        if not sign_of(c)[0].up or not all(d.is_extended_real for _, d in polar):
            raise UndecidedError(f"{what} of {c!s:.40}, which is not known to be positive")
        return polar, main, power, c

    def _inverse(self, a: Expansion) -> Expansion:
        polar, main = self.dominant(a)
        power, c = leading(main)
        rest = series({p - power: d / c for p, d in main.terms.items() if p != power}, _less(main.order, power))
        inverse = self._composed(lambda k: Integer((-1) ** k), rest)
        shifted = series({p - power: d / c for p, d in inverse.terms.items()}, _less(inverse.order, power))
        return {tuple((p, -d) for p, d in polar): shifted}

    def _composed(self, taylor: Callable[[int], Expr], rest: Series) -> Series:
        """``sum taylor(k) rest^k`` for a rest that vanishes at zero."""
        if rest.terms and rest.low <= 0:
            raise UndecidedError("an expansion that does not vanish")
        if not rest.terms and rest.order == EXACT:
            return series({0: taylor(0)}, EXACT)
        cut = Series(dict(rest.terms), min(rest.order, self.digits))
        total = Series({}, EXACT)
        power = Series({0: Integer(1)}, EXACT)
        for number in range(self.digits + 1):
            total = added(total, multiplied(power, series({0: taylor(number)}, EXACT)))
            power = multiplied(power, cut)
            if not power.terms and power.order == EXACT:
                return total
            if power.low >= self.digits:
                break
        return series(total.terms, min(total.order, self.digits, cut.order))

    def bounded(self, a: Expansion) -> Series:
        """An expansion without exponential growth, as one series."""
        parts = []
        for polar, one in a.items():
            if not polar:
                parts.append(one)
            elif _growth(polar, ()) >= 0:
                if not one.terms and one.order == EXACT:
                    continue
                raise UndecidedError("a function of what grows like an exponential")
            else:
                parts.append(Series({}, self.digits))
        return reduce(added, parts, Series({}, EXACT))

    def _exp(self, a: Expansion) -> Expansion:
        inner = self.bounded(a)
        if inner.order <= 0:
            raise UndecidedError("more terms are needed")
        polar = {p: c for p, c in inner.terms.items() if p < 0}
        if any(c.has(LOG) for c in polar.values()):
            raise UndecidedError("an exponent with log s that grows")
        constant = inner.terms.get(0, Integer(0))
        slope = sympy.expand(constant).coeff(LOG, 1)
        constant = coefficient(constant - slope * LOG)
        if constant.has(LOG) or not slope.is_Integer:
            raise UndecidedError("a power of s that is no integer")
        rest = Series({p: c for p, c in inner.terms.items() if p > 0}, inner.order)
        grown = self._composed(lambda k: 1 / sympy.factorial(k), rest)
        scaled = series(
            {p + int(slope): sympy.exp(constant) * c for p, c in grown.terms.items()}, _less(grown.order, -int(slope))
        )
        return {tuple(sorted(polar.items())): scaled}

    def _log(self, a: Expansion) -> Expansion:
        polar, main, power, c = self.positive_lead(a, "the logarithm")
        rest = series({p - power: d / c for p, d in main.terms.items() if p != power}, _less(main.order, power))
        inner = self._composed(lambda k: Rational((-1) ** (k + 1), k) if k else Integer(0), rest)
        outer: Powers = dict(polar)
        outer[0] = sympy.log(c) + power * LOG
        return {(): added(series(outer, EXACT), inner)}

    def _pow(self, expr: sympy.Pow) -> Expansion:
        base, exponent = expr.args
        if base is sympy.E:
            return self._exp(self.of(exponent))
        if exponent.is_Integer:
            a = self.of(base) if exponent > 0 else self._inverse(self.of(base))
            if abs(int(exponent)) > TERM_LIMIT:
                raise UndecidedError(f"the power {exponent}")
            return reduce(self._times, [a] * abs(int(exponent)))
        if not exponent.has(self.s):
            polar, main, power, c = self.positive_lead(self.of(base), "a power")
            moved = power * exponent
            if not moved.is_Integer:
                raise UndecidedError("a power of s that is no integer")
            rest = series({p - power: d / c for p, d in main.terms.items() if p != power}, _less(main.order, power))
            grown = self._composed(lambda k: sympy.binomial(exponent, k).expand(func=True), rest)
            step = int(moved)
            scaled = series({p + step: c**exponent * d for p, d in grown.terms.items()}, _less(grown.order, -step))
            return {_joined((), tuple((p, exponent * d) for p, d in polar)): scaled}
        return self._exp(self._times(self.of(exponent), self._log(self.of(base))))

    def _analytic(self, function: Callable[[Expr], Expr], inner: Series, real_only: bool) -> Expansion:
        """A function that is analytic at every number, or at every real one, of a bounded argument."""
        if inner.terms and inner.low < 0:
            raise UndecidedError(f"{function} of what grows")
        if inner.order <= 0:
            raise UndecidedError("more terms are needed")
        constant = inner.terms.get(0, Integer(0))
        if constant.has(LOG) or (real_only and constant.is_extended_real is not True):
            raise UndecidedError(f"{function} at {constant!s:.40}")
        z = sympy.Dummy("z")
        derivatives = [function(z)]
        for _ in range(self.digits):
            derivatives.append(sympy.diff(derivatives[-1], z))
        rest = Series({p: c for p, c in inner.terms.items() if p > 0}, inner.order)
        return {(): self._composed(lambda k: derivatives[k].subs(z, constant) / sympy.factorial(k), rest)}

    def _grows(self, argument: Expr) -> bool:
        return any(one.low < 0 for one in self.of(argument).values())

    def _extreme(self, expr: Expr) -> Expansion:
        best = expr.args[0]
        turn = 1 if isinstance(expr, sympy.Max) else -1
        for other in expr.args[1:]:
            gap = self.of(other - best)
            if all(not one.terms and one.order == EXACT for one in gap.values()):
                continue
            if turn * self.sign(gap) > 0:
                best = other
        return self.of(best)

    def sign(self, a: Expansion) -> int:
        """The sign of an expansion for small s."""
        _, main = self.dominant(a)
        _, c = leading(main)
        known: Sign = sign_of(c)[0]
        if not (known.up or known.down):
            raise UndecidedError(f"the sign of {c!s:.40} is not known")
        return 1 if known.up else -1


def _is_real(expr: Expr) -> bool:
    """Whether an expression is real where logarithms and roots in it are."""
    symbols = (s for s in expr.free_symbols if isinstance(s, Symbol))
    return bool(expr.is_extended_real) or (not expr.has(sympy.I) and all(s.is_extended_real for s in symbols))


def _joined(a: Polar, b: Polar) -> Polar:
    total: Powers = dict(a)
    for power, c in b:
        total[power] = coefficient(total.get(power, Integer(0)) + c)
    return tuple(sorted((p, c) for p, c in total.items() if c != 0))


def _growth(a: Polar, b: Polar) -> int:
    """1 where ``e^a`` grows faster than ``e^b``, -1 where it is the other way round."""
    gap = _joined(a, tuple((p, -c) for p, c in b))
    if not gap:
        return 0
    sign, _ = sign_of(gap[0][1])
    if not sign.nonzero or not (sign.up or sign.down):
        raise UndecidedError(f"the sign of {gap[0][1]!s:.40} is not known")
    return 1 if sign.up else -1


def _less(order: int, power: int) -> int:
    return order if order == EXACT else order - power


# Matrices whose entries are functions of s: expansions with coefficients of any size.


@dataclass(frozen=True)
class MatrixSeries:
    """``sum C_k s^k + O(s^order)`` with matrices C_k."""

    terms: Mapping[int, MatrixExpr]
    order: int

    def traced(self) -> Series:
        """The expansion of the trace."""
        return series({power: sympy.Trace(c) for power, c in self.terms.items()}, self.order)


def matrix_series(expr: MatrixExpr, s: Symbol, digits: int, invertible: frozenset[MatrixExpr]) -> MatrixSeries:
    """The expansion of sums, products, transposes, powers, and inverses of what is known to be invertible at 0."""
    if not expr.has(s):
        return MatrixSeries({0: expr}, EXACT)
    if isinstance(expr, sympy.MatAdd):
        return reduce(_matrix_sum, (matrix_series(part, s, digits, invertible) for part in expr.args))
    if isinstance(expr, sympy.MatMul):
        scalar, factors = expr.as_coeff_matrices()
        product = reduce(_matrix_product, (matrix_series(part, s, digits, invertible) for part in factors))
        if scalar == 1:
            return product
        number = Expander(s, digits)
        one = number.bounded(number.of(scalar))
        terms: dict[int, MatrixExpr] = {}
        for p, c in one.terms.items():
            if c.has(LOG):
                raise UndecidedError("log s before a matrix")
            for q, matrix in product.terms.items():
                _put(terms, p + q, sympy.MatMul(c, matrix))
        low = min(product.terms, default=product.order)
        orders = [EXACT]
        orders += [one.order + low] if one.order != EXACT else []
        orders += [product.order + one.low] if product.order != EXACT else []
        return _cut(terms, min(orders))
    if isinstance(expr, sympy.Transpose):
        inner = matrix_series(expr.arg, s, digits, invertible)
        return MatrixSeries({p: sympy.Transpose(c) for p, c in inner.terms.items()}, inner.order)
    if isinstance(expr, sympy.Inverse):
        return _matrix_inverse(matrix_series(expr.arg, s, digits, invertible), digits, invertible)
    if isinstance(expr, sympy.MatPow) and expr.exp.is_Integer and 0 < expr.exp <= TERM_LIMIT:
        return reduce(_matrix_product, [matrix_series(expr.base, s, digits, invertible)] * int(expr.exp))
    raise UndecidedError(f"{type(expr).__name__} has no expansion here")


def _put(terms: dict[int, MatrixExpr], power: int, matrix: MatrixExpr) -> None:
    terms[power] = sympy.MatAdd(terms[power], matrix) if power in terms else matrix


def _cut(terms: Mapping[int, MatrixExpr], order: int) -> MatrixSeries:
    if len(terms) > TERM_LIMIT:
        raise UndecidedError(f"a series of more than {TERM_LIMIT} terms")
    return MatrixSeries({p: c for p, c in terms.items() if p < order}, order)


def _matrix_sum(a: MatrixSeries, b: MatrixSeries) -> MatrixSeries:
    terms = dict(a.terms)
    for power, matrix in b.terms.items():
        _put(terms, power, matrix)
    return _cut(terms, min(a.order, b.order))


def _matrix_product(a: MatrixSeries, b: MatrixSeries) -> MatrixSeries:
    terms: dict[int, MatrixExpr] = {}
    for p, c in a.terms.items():
        for q, d in b.terms.items():
            _put(terms, p + q, sympy.MatMul(c, d))
    lows = [min(x.terms, default=x.order) for x in (a, b)]
    orders = [x.order + low for x, low in ((a, lows[1]), (b, lows[0])) if x.order != EXACT]
    return _cut(terms, min([EXACT, *orders]))


def inverted(expr: Basic) -> frozenset[MatrixExpr]:
    """Matrices whose inverses a claim has: it is made where they are invertible."""
    return frozenset(node.arg for node in expr.atoms(sympy.Inverse))


def _matrix_inverse(a: MatrixSeries, digits: int, invertible: frozenset[MatrixExpr]) -> MatrixSeries:
    """The series of an inverse whose matrix at 0 has one."""
    if min(a.terms, default=1) != 0:
        raise UndecidedError("the inverse of a matrix that is singular or grows at 0")
    first = a.terms[0]
    unit = isinstance(first, sympy.Identity)
    if not unit and first not in invertible:
        raise UndecidedError(f"{first!s:.40} is not known to be invertible (its inverse is no part of the claim)")
    result: dict[int, MatrixExpr] = {0: first if unit else sympy.Inverse(first)}
    for power in range(1, min(digits, a.order)):
        parts = [sympy.MatMul(a.terms[p], result[power - p]) for p in a.terms if 0 < p <= power and power - p in result]
        if parts:
            total = sympy.MatAdd(*parts) if len(parts) > 1 else parts[0]
            result[power] = sympy.MatMul(-1, *([] if unit else [result[0]]), total)
    return MatrixSeries(result, min(digits, a.order))
