"""Readings of a claim: the relations as they stand, with what was derived for their symbols put in, then decided.

Three kinds: matrix identities of all sizes (index notation), explicit matrices (entry by entry), and expectations (the
moment algebra). What a reading cannot put a meaning to abstains.
"""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import sympy
from sympy import (
    Basic,
    Expr,
    ImmutableDenseMatrix,
    KroneckerProduct,
    MatAdd,
    MatMul,
    MatrixExpr,
    MatrixSymbol,
    Transpose,
    ZeroMatrix,
)

from theory.core.claim import Claim, Reading, equation, reading, undecided
from theory.core.decide import ABSTAINED, Decision, combine, decide_zero
from theory.core.equality import check_identity
from theory.core.expectation import FRESH, Law, Moment, Term, decide_moment, expect
from theory.core.notation import AugmentationCovariance, Covariance, Expect, Rate, SumOver, Vec, without_powers
from theory.core.order import decide_relation


class NotReadError(Exception):
    """A part of a claim that has no meaning in this reading."""


def with_meanings(relation: Basic, meanings: Mapping[Any, Any]) -> Basic:
    """The relation with meanings put in, not evaluated."""
    return relation.func(*(side.xreplace(dict(meanings)) for side in relation.args), evaluate=False)


def identity_reading(meanings: Mapping[Any, Any], rates: Mapping[Any, MatrixExpr] | None = None) -> Reading:
    """Matrix equations of all sizes, with meanings for symbols and rates for what moves under ``Rate``."""

    def decide(relation: Basic) -> Decision:
        if not isinstance(relation, sympy.Equality):
            return decide_relation(with_meanings(relation, meanings))
        if not any(isinstance(side, MatrixExpr) for side in relation.args):
            return decide_relation(with_meanings(relation, meanings))
        try:
            left, right = (_along(side, rates or {}) for side in relation.args)
        except NotReadError as error:
            return Decision(None, ABSTAINED, str(error))
        return check_identity(left, right, meanings)

    return reading(decide)


def _along(expr: MatrixExpr, rates: Mapping[Any, MatrixExpr]) -> MatrixExpr:
    """Derivatives by the time of the flow carried out, where the expression has any."""
    if isinstance(expr, Rate):
        return derivative_along(expr.args[0], rates)
    if isinstance(expr, MatAdd | MatMul):
        return expr.func(*(_along(part, rates) for part in expr.args))
    return expr


def derivative_along(expr: MatrixExpr, rates: Mapping[Any, MatrixExpr]) -> MatrixExpr:
    """The derivative of a matrix polynomial whose symbols all move at given rates: the product rule."""
    expr = without_powers(expr)
    if expr in rates:
        return rates[expr]
    if isinstance(expr, ZeroMatrix | sympy.Identity):
        return ZeroMatrix(*expr.shape)
    if isinstance(expr, MatAdd):
        return MatAdd(*(derivative_along(part, rates) for part in expr.args))
    if isinstance(expr, Transpose):
        return Transpose(derivative_along(expr.arg, rates))
    if isinstance(expr, MatMul):
        scalar, factors = expr.as_coeff_matrices()
        terms = [
            MatMul(
                *(() if scalar == 1 else (scalar,)),
                *factors[:place],
                derivative_along(factor, rates),
                *factors[place + 1 :],
            )
            for place, factor in enumerate(factors)
        ]
        kept = [term for term in terms if not term.has(ZeroMatrix)]
        return MatAdd(*kept) if kept else ZeroMatrix(*expr.shape)
    raise NotReadError(f"nothing is derived about the rate of {sympy.sstr(expr):.60}")


# Explicit matrices.


def defined_reading(target: Any, value: Any, meanings: Mapping[Any, Any], others: Reading | None = None) -> Reading:
    """One symbol, whose value was derived, by symbols that the claim itself defines: ``V = o a a^T, o = ..., a = ...``.

    A definition of a symbol with a meaning is decided like any equation. Another typed symbol is defined once, not by
    itself, and used; its definition is put in.
    """

    def decide(claim: Claim) -> Decision:
        defining = [
            relation
            for relation in claim.relations
            if isinstance(relation, sympy.Equality)
            and hasattr(relation.lhs, "role")
            and relation.lhs not in {target, *meanings}
        ]
        own = {relation.lhs: relation.rhs for relation in defining}
        if len(own) < len(defining):
            return Decision(None, ABSTAINED, "a symbol is defined twice")
        decisions = []
        for relation in claim.relations:
            if not isinstance(relation, sympy.Equality):
                decisions.append(undecided(relation) if others is None else others(Claim("", (relation,))))
                continue
            written = relation.rhs
            for _ in own:
                written = written.xreplace(own)
            atoms = written.atoms(sympy.Symbol, MatrixSymbol)
            loose = [s for s in atoms if hasattr(s, "role") and s not in {target, *meanings}]
            if loose:
                return Decision(None, ABSTAINED, f"{loose[0]} is not defined, or by itself")
            if relation.lhs in own:
                if not any(other.rhs.has(relation.lhs) for other in claim.relations if other is not relation):
                    decisions.append(undecided(relation))
                continue
            decisions.append(
                explicit_reading({**meanings, target: value})(Claim("", (equation(relation.lhs, written),)))
            )
        return combine(decisions) if decisions else Decision(None, ABSTAINED, "nothing is claimed")

    return decide


def explicit_reading(meanings: Mapping[Any, Any]) -> Reading:
    """Equations between explicit matrices or scalars, entry by entry; inequalities of scalars."""

    def decide(relation: Basic) -> Decision:
        if not isinstance(relation, sympy.Equality):
            return decide_relation(with_meanings(relation, meanings))
        try:
            left, right = (explicit(side, meanings) for side in relation.args)
        except NotReadError as error:
            return Decision(None, ABSTAINED, str(error))
        return same(left, right)

    return reading(decide)


def same(left: Any, right: Any) -> Decision:
    """Decide that two explicit matrices or scalars are equal; 0 stands for a matrix of zeros."""
    for side, other in ((left, right), (right, left)):
        if getattr(side, "shape", None) is None and side != 0 and hasattr(other, "shape"):
            return Decision(None, ABSTAINED, "a scalar and a matrix are compared")
    if hasattr(left, "shape") and hasattr(right, "shape"):
        if left.shape != right.shape:
            return Decision(False, "shapes", f"shapes {left.shape} and {right.shape}")
        return decide_zero(left - right, (left, right))
    return decide_zero(left if right == 0 else right if left == 0 else left - right, (left, right))


def explicit(expr: Any, meanings: Mapping[Any, Any]) -> Any:
    """A matrix expression written out, symbols replaced by explicit matrices."""
    if expr in meanings:
        return meanings[expr]
    if isinstance(expr, MatrixSymbol):
        raise NotReadError(f"nothing is derived about {expr.name}")
    if isinstance(expr, sympy.MatrixBase | sympy.Identity | ZeroMatrix):
        return ImmutableDenseMatrix(expr.as_explicit() if isinstance(expr, MatrixExpr) else expr)
    if not isinstance(expr, MatrixExpr):
        return expr.xreplace(dict(meanings))
    parts = [explicit(part, meanings) for part in without_powers(expr).args]
    if isinstance(expr, MatAdd):
        return reduce(lambda a, b: a + b, parts)
    if isinstance(without_powers(expr), MatMul):
        return reduce(lambda a, b: b * a if not hasattr(a, "shape") else a * b, parts)
    if isinstance(expr, Transpose):
        return parts[0].T
    if isinstance(expr, Vec):
        return ImmutableDenseMatrix(parts[0].vec())
    if isinstance(expr, KroneckerProduct):
        return sympy.kronecker_product(*parts)
    raise NotReadError(f"{type(expr).__name__} is not written out here")


# Expectations.


Meaning = tuple[Moment, bool]
"""A moment, and whether it is an expectation: then its points are its own, and no product with another one is read."""


def summed(relation: Basic, what: Basic) -> bool:
    """Whether one side is a multiple of `what`, and each term of the other one of a sum over k."""
    sides = sorted(relation.args, key=lambda side: core_of(side)[1] != what)
    terms = sides[1].args if isinstance(sides[1], MatAdd) else (sides[1],)
    sums = [core_of(part)[1] for part in terms]
    return core_of(sides[0])[1] == what and all(isinstance(s, SumOver) and not s.has(what) for s in sums)


def core_of(expr: MatrixExpr) -> tuple[Expr, MatrixExpr]:
    """A number and what it multiplies."""
    if not isinstance(expr, MatMul):
        return sympy.S.One, expr
    number, factors = expr.as_coeff_matrices()
    if len(factors) != 1:
        return number, MatMul(*factors)
    inner, core = core_of(factors[0])
    return number * inner, core


def moment_reading(
    meaning: Callable[[Basic], Meaning | None],
    law: Law,
    shapes: Mapping[str, tuple[int, int]],
    rule: Callable[[Moment], Moment] = Moment.itself,
) -> Reading:
    """Equations between expectations; `rule` is applied to both sides, before they are brought into normal form."""

    def decide(relation: Basic) -> Decision:
        if not isinstance(relation, sympy.Equality):
            return undecided(relation)
        try:
            sides = [_number(side, moment_of(side, meaning)) for side in relation.args]
            if not all(mean or not _is_random(moment) for moment, mean in sides):
                raise NotReadError("a side that is no expectation")
            bound = law.dependent_points or law.other_law
            if bound and any(FRESH in point for moment, _ in sides for point, _ in moment.labels):
                raise NotReadError("a product of expectations under this law of the points")
            left, right = (rule(moment) for moment, _ in sides)
        except NotReadError as error:
            return Decision(None, ABSTAINED, str(error))
        return decide_moment(left - right, expect(left - right, law), law, shapes)

    return reading(decide)


def moment_of(expr: Basic, meaning: Callable[[Basic], Meaning | None]) -> Meaning:
    """What a matrix expression over expectations stands for."""
    found = meaning(expr)
    if found is not None:
        return found
    if expr == 0 or isinstance(expr, ZeroMatrix):
        return Moment({}), False
    if getattr(expr, "is_Rational", False):
        return Moment({Term(()): expr}), False
    if isinstance(expr, Expect):
        return moment_of(expr.args[0], meaning)[0], True
    if isinstance(expr, Covariance | AugmentationCovariance):
        first, second = (moment_of(part, meaning)[0] for part in expr.args)
        second = second.transposed()
        over_points = isinstance(expr, Covariance)
        other = second.apart_from(first) if over_points else second.other_augmentation()
        return first * second - first * other, True
    if isinstance(expr, SumOver):
        if expr.args[0].has(SumOver):
            raise NotReadError("a sum over k inside of another")
        return moment_of(expr.args[0], meaning)
    if isinstance(expr, Transpose):
        moment, mean = moment_of(expr.arg, meaning)
        return moment.transposed(), mean
    if isinstance(expr, sympy.Pow) and expr.exp.is_Integer and expr.exp > 1:
        base = _number(expr.base, moment_of(expr.base, meaning))
        if base[1] or _is_random(base[0]):
            raise NotReadError("a power of what is random")
        return reduce(lambda a, b: a * b, [base[0]] * int(expr.exp)), False
    written = without_powers(expr)  # an inverse is a power too, and stays one
    if not isinstance(written, MatAdd | MatMul | sympy.Add | sympy.Mul):
        raise NotReadError(f"nothing is derived about {sympy.sstr(expr):.60}")
    parts = [_number(part, moment_of(part, meaning)) for part in written.args]
    means = [mean for _, mean in parts]
    if any(means) and any(_is_random(moment) and not mean for moment, mean in parts):
        raise NotReadError("an expectation beside what is random")
    if isinstance(written, MatAdd | sympy.Add):
        return reduce(lambda a, b: a + b, (moment for moment, _ in parts)), any(means)
    # Expectations have points of their own; the factors inside of one share theirs.
    times = (lambda a, b: a * b.apart_from(a)) if any(means) else Moment.__mul__
    return reduce(times, (moment for moment, _ in parts)), any(means)


def _is_random(moment: Moment) -> bool:
    """Whether a letter of a moment depends on a point."""
    words = (word for term in moment.terms for word in (term.word, *term.scalars))
    return any(item.labels for word in words for item in word)


def _number(expr: Basic, meaning: Meaning) -> Meaning:
    """A factor of shape (1, 1) is a number: it commutes."""
    if getattr(expr, "shape", None) == (1, 1):
        return meaning[0].as_scalar(), meaning[1]
    return meaning


def with_numbers(moment: Moment, columns: frozenset[str]) -> Moment:
    """Take the numbers ``u^T ... v`` out of the words, where u and v are columns."""
    pairs = []
    for term, coefficient in moment.terms.items():
        word, scalars = list(term.word), list(term.scalars)
        changed = True
        while changed:
            changed = False
            for start, item in enumerate(word):
                if item.name not in columns or not item.transposed:
                    continue
                ends = (n for n in range(start + 1, len(word)) if word[n].name in columns)
                stop = next(ends, None)
                if stop is not None and not word[stop].transposed and (start > 0 or stop < len(word) - 1):
                    scalars.append(tuple(word[start : stop + 1]))
                    del word[start : stop + 1]
                    changed = True
                    break
        pairs.append((Term(tuple(word), tuple(scalars)), coefficient))
    return Moment.collect(pairs)
