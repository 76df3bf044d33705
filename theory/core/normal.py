"""Normal form of an expression as a quotient of polynomials, in ``sympy.polys.rings``.

Generators are symbols, indexed symbols, ``exp`` of a monomial, roots (with their relation ``g**q = base``)
and any other function taken as it stands. The equality of two normal forms proves an identity; their
difference refutes it only where every generator is a free symbol. Used for the residuals of statements 1, 2
and 4 (arXiv 2010.00578).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from math import lcm
from typing import Any

import sympy
from sympy import Add, Expr, Indexed, Mul, Pow, Rational, Sum, Symbol
from sympy.polys.rings import PolyElement, PolyRing

from theory.core.notation import k

GCD_LIMIT = 200
POWER_LIMIT = 512
PRODUCT_LIMIT = 10**6  # products of terms in one multiplication; the statements need less than 10**4
UNDEFINED = (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo)


class NotExactError(Exception):
    """The expression holds a floating-point number or an undefined value: no normal form is exact."""


@dataclass(frozen=True)
class Fraction:
    """``numerator`` over a product of ring elements: pairs (factor, exponent)."""

    numerator: PolyElement
    factors: tuple[tuple[PolyElement, int], ...] = ()


def exponent_parts(argument: Expr) -> list[tuple[Expr, Rational]]:
    """Split an exponent into rational multiples of monomials, so that exp(a + b) = exp(a) exp(b)."""
    terms = Add.make_args(sympy.expand(argument))
    return [(rest, coefficient) for coefficient, rest in (term.as_coeff_Mul(rational=True) for term in terms)]


def canonical_sum(node: sympy.Sum) -> sympy.Sum:
    """Rename the dummy of a finite sum, so that sums that differ only there are one generator."""
    if len(node.limits) != 1 or len(node.limits[0]) != 3:
        return node
    index, low, high = node.limits[0]
    dummy = Symbol("k_", integer=True)
    # The name must not stand inside, free or bound; and the index must run over integers.
    if dummy in node.atoms(Symbol) or not (low.is_integer and high.is_integer):
        return node
    return sympy.Sum(node.function.xreplace({index: dummy}), (dummy, low, high))


def is_exponential(expr: Expr) -> bool:
    """Whether the expression is ``exp`` of something (``E**x`` included)."""
    return isinstance(expr, sympy.exp) or (isinstance(expr, Pow) and expr.base is sympy.E)


class Normaliser:
    """One ring for a collection of expressions, and the normal form of each of them."""

    def __init__(self, expressions: Iterable[Expr], follow_signs: bool = True) -> None:
        self._follow_signs = follow_signs
        self._keys: dict[Any, None] = {}
        self._scales: dict[Expr, int] = {}
        self._seen: set[Expr] = set()
        for expr in expressions:
            self._collect(expr)
        self._keys = dict.fromkeys(sorted(self._keys, key=str))
        names = [f"g{i}" for i in range(len(self._keys))] or ["unit"]
        self.ring = PolyRing(names, sympy.QQ, sympy.polys.orderings.lex)
        self.generators: dict[Any, PolyElement] = dict(zip(self._keys, self.ring.gens, strict=False))
        self._memo: dict[Expr, Fraction] = {}
        self._relations: list[tuple[int, int, PolyElement]] = []
        for position, key in enumerate(self._keys):
            if isinstance(key, tuple) and key[0] == "root":
                base = self._convert(key[1])
                if not base.factors:
                    self._relations.append((position, key[2], base.numerator))

    @property
    def keys(self) -> tuple[Any, ...]:
        """The meaning of the generators: expressions, ("exp", monomial) or ("root", base, order)."""
        return tuple(self._keys)

    @property
    def free(self) -> bool:
        """Whether all generators are free symbols, so that a nonzero normal form is a nonzero function."""
        return all(isinstance(key, Symbol | Indexed) for key in self._keys)

    def value_of(self, key: Any) -> Expr:
        """The expression that a generator stands for."""
        if isinstance(key, tuple):
            if key[0] == "exp":
                return sympy.exp(key[1] / self._scales[key[1]])
            return Pow(key[1], Rational(1, key[2]))
        return key

    def _collect(self, expr: Expr) -> None:
        if expr in self._seen:
            return
        self._seen.add(expr)
        if expr.is_Float or expr in UNDEFINED:
            raise NotExactError(f"{expr} is not an exact number")
        if expr.is_Rational:
            return
        if isinstance(expr, Add | Mul):
            for argument in expr.args:
                self._collect(argument)
        elif is_exponential(expr):
            self._collect_exponential(expr)
        elif isinstance(expr, Pow) and expr.exp.is_Rational:
            self._collect(expr.base)
            if not expr.exp.is_Integer:
                self._keys.setdefault(("root", expr.base, int(expr.exp.q)))
        else:
            self._collect_opaque(expr)

    def _collect_exponential(self, expr: Expr) -> None:
        for rest, coefficient in exponent_parts(expr.as_base_exp()[1] if isinstance(expr, Pow) else expr.args[0]):
            known = self._scales.get(rest, -1)
            sign = -1 if self._follow_signs and known < 0 and coefficient < 0 else 1
            self._scales[rest] = sign * lcm(abs(known), int(coefficient.q))
            self._keys.setdefault(("exp", rest))

    def _collect_opaque(self, expr: Expr) -> None:
        if not isinstance(expr, Symbol | Indexed) and expr.has(sympy.Float, *UNDEFINED):
            raise NotExactError(f"{expr} holds a number that is not exact")
        self._keys.setdefault(canonical_sum(expr) if isinstance(expr, sympy.Sum) else expr)

    def normal(self, expr: Expr) -> tuple[PolyElement, PolyElement]:
        """Numerator and denominator of the expression, both reduced by the relations of the roots."""
        fraction = self._convert(expr)
        denominator = self._expand(fraction.factors)
        if not denominator:
            raise NotExactError("a denominator is identically zero")
        return self.reduced(fraction.numerator), denominator

    def cancelled(self, expr: Expr) -> tuple[PolyElement, PolyElement]:
        """Numerator and denominator without the common factors that were found; the latter is monic.

        The factors of the denominator are tried by exact division; a general greatest common divisor is taken
        only of small polynomials in few generators, where it is cheap.
        """
        fraction = self._convert(expr)
        numerator, left = self.reduced(fraction.numerator), self.ring.one
        for factor, exponent in fraction.factors:
            for _ in range(exponent):
                quotient, rest = numerator.div(factor)
                numerator, left = (numerator, self._times(left, factor)) if rest else (quotient, left)
        if not left:
            raise NotExactError("a denominator is identically zero")
        if numerator and len(left) > 1 and len(self._keys) * (len(numerator) + len(left)) <= GCD_LIMIT:
            numerator, left = numerator.cancel(left)
        return numerator / left.LC, left / left.LC

    def _convert(self, expr: Expr) -> Fraction:
        result = self._memo.get(expr)
        if result is None:
            result = self._memo[expr] = self._build(expr)
        return result

    def _build(self, expr: Expr) -> Fraction:
        if expr.is_Rational:
            return Fraction(self.ring.one * sympy.QQ(int(expr.p), int(expr.q)))
        if isinstance(expr, Add):
            return self._sum([self._convert(argument) for argument in expr.args])
        if isinstance(expr, Mul):
            return reduce(self._product, (self._convert(argument) for argument in expr.args))
        if is_exponential(expr):
            argument = expr.args[-1]
            powers = [
                self._power(Fraction(self.generators[("exp", rest)]), int(coefficient * self._scales[rest]))
                for rest, coefficient in exponent_parts(argument)
            ]
            return reduce(self._product, powers)
        if isinstance(expr, Pow) and expr.exp.is_Integer:
            return self._power(self._convert(expr.base), int(expr.exp))
        if isinstance(expr, Pow) and expr.exp.is_Rational:
            root = Fraction(self.generators[("root", expr.base, int(expr.exp.q))])
            return self._power(root, int(expr.exp.p))
        key = canonical_sum(expr) if isinstance(expr, sympy.Sum) else expr
        return Fraction(self.generators[key])

    def _sum(self, terms: list[Fraction]) -> Fraction:
        common: dict[PolyElement, int] = {}
        for term in terms:
            for factor, exponent in term.factors:
                common[factor] = max(common.get(factor, 0), exponent)
        total = self.ring.zero
        for term in terms:
            have = dict(term.factors)
            missing = tuple((f, e - have.get(f, 0)) for f, e in common.items() if e > have.get(f, 0))
            total = total + (self._times(term.numerator, self._expand(missing)) if missing else term.numerator)
        return Fraction(total, tuple(common.items()))

    def _product(self, left: Fraction, right: Fraction) -> Fraction:
        factors = dict(left.factors)
        for factor, exponent in right.factors:
            factors[factor] = factors.get(factor, 0) + exponent
        return Fraction(self._times(left.numerator, right.numerator), tuple(factors.items()))

    def _power(self, base: Fraction, exponent: int) -> Fraction:
        if abs(exponent) > POWER_LIMIT:
            raise NotExactError(f"the power {exponent} is too large for a normal form")
        if exponent < 0:
            if not base.numerator:
                raise NotExactError("a denominator is identically zero")
            base = Fraction(self._expand(base.factors), ((base.numerator, 1),))
        numerator = self.ring.one
        for _ in range(abs(exponent)):
            numerator = self._times(numerator, base.numerator)
        return Fraction(numerator, tuple((f, e * abs(exponent)) for f, e in base.factors))

    def _expand(self, factors: tuple[tuple[PolyElement, int], ...]) -> PolyElement:
        product = self.ring.one
        for factor, exponent in factors:
            for _ in range(exponent):
                product = self._times(product, factor)
        return product

    def _times(self, left: PolyElement, right: PolyElement) -> PolyElement:
        if len(left) * len(right) > PRODUCT_LIMIT:
            raise NotExactError(f"a product of {len(left)} and {len(right)} terms is too large for a normal form")
        return self.reduced(left * right)

    def reduced(self, poly: PolyElement) -> PolyElement:
        """Replace ``g**q`` by its base for every root g of order q, until no such power is left."""
        changed = True
        while changed:
            changed = False
            for position, order, base in reversed(self._relations):
                if any(monomial[position] >= order for monomial in poly):
                    poly, changed = self._lowered(poly, position, order, base), True
        return poly

    def _lowered(self, poly: PolyElement, position: int, order: int, base: PolyElement) -> PolyElement:
        groups: dict[int, PolyElement] = {}
        for monomial, coefficient in poly.items():
            quotient, rest = divmod(monomial[position], order)
            lowered = (*monomial[:position], rest, *monomial[position + 1 :])
            group = groups.setdefault(quotient, self.ring.zero.copy())
            group[lowered] = group.get(lowered, sympy.QQ(0)) + coefficient
        total = self.ring.zero
        for quotient, group in groups.items():
            group.strip_zero()
            total = total + group * base**quotient
        return total

    def expression(self, poly: PolyElement) -> Expr:
        """A ring element as a SymPy expression in what the generators stand for."""
        return poly.as_expr(*[self.value_of(key) for key in self._keys]) if self._keys else poly.as_expr()


def quotient(expression: Expr) -> Expr:
    """The expression as a cancelled quotient of polynomials in its generators, or as it stands."""
    try:
        normaliser = Normaliser([expression])
        top, bottom = normaliser.cancelled(expression)
    except NotExactError:
        return expression
    if not top:
        return sympy.S.Zero
    if len(top) == 1:
        inverse = sympy.expand(normaliser.expression(bottom) / normaliser.expression(top))
        return 1 / sympy.powsimp(inverse)
    return normaliser.expression(top) / normaliser.expression(bottom)


def linear_sums(expression: Expr) -> Expr:
    """Write finite sums by linearity: factors free of the index leave them, summands are cancelled."""
    nodes = [node for node in expression.atoms(Sum) if len(node.limits) == 1]
    return expression.xreplace({node: _linear_sum(node) for node in nodes})


def _linear_sum(node: Sum) -> Expr:
    index, low, high = node.limits[0]
    if k in node.free_symbols or not (low - 1).is_nonnegative:  # k is positive, and must not be captured
        return node
    summand = node.function.xreplace({index: k})
    try:
        normaliser = Normaliser([summand], follow_signs=False)
        numerator, denominator = normaliser.cancelled(summand)
    except NotExactError:
        return node
    if not numerator:
        return sympy.S.Zero
    bottom = sympy.factor_terms(normaliser.expression(denominator))
    outer_bottom, inner_bottom = bottom.as_independent(k, as_Add=False)
    terms = []
    for monomial in numerator.terms():
        term = normaliser.expression(normaliser.ring.from_dict(dict([monomial])))
        outer, inner = term.as_independent(k, as_Add=False)
        terms.append(outer / outer_bottom * _sum(inner / inner_bottom, low, high))
    return sympy.Add(*terms)


def _sum(summand: Expr, low: Expr, high: Expr) -> Expr:
    return (high - low + 1) * summand if not summand.has(k) else Sum(summand, (k, low, high))
