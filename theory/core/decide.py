"""Decide whether an expression is zero or positive, and record the method.

The order is: SymPy's assumptions, the polynomial normal form (with ``exp`` of monomials and roots as
generators), ``simplify``, exact rational points. Points may refute; they never prove. Where nothing decides,
the decision abstains. Every residual of statements 1 to 4 (arXiv 2010.00578) goes through here. This module
decides commutative scalars, and explicit matrices of them; `theory.core.equality` decides the rest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction as Exact
from random import Random
from typing import Any

import sympy
from sympy import Expr, Indexed, Integer, MatrixBase, MatrixExpr, Rational, Symbol
from sympy.core.function import AppliedUndef

from theory.core.normal import Normaliser, NotExactError
from theory.core.quantity import range_of
from theory.core.record import note_identity, note_other

POLYNOMIAL, SIMPLIFY, ASSUMPTIONS = "polynomial normal form", "simplify", "assumptions"
POINT, ABSTAINED = "numeric point", "abstained"
CASES, SIGNS = "case splitting", "exact signs"
_SIMPLIFY_LIMIT = 300
_POINTS = 12
_CORNERS = (Integer(1), Integer(0))
_DIGITS = 40
_PRINTED_BITS = 256
_THRESHOLD = sympy.Float(10) ** -20
_BITS = 67  # a result of evalf with fewer correct bits than 20 digits is cancellation
_WITHOUT_VALUE = (
    sympy.nan, sympy.zoo, sympy.oo, AppliedUndef, sympy.Derivative, sympy.Subs, sympy.Integral, sympy.Limit, sympy.Sum,
    sympy.Product, MatrixExpr,
)  # fmt: skip
_NOT_CARRIED_OUT = (sympy.Integral, sympy.Limit, sympy.Order)


@dataclass(frozen=True)
class Decision:
    """Whether a claim holds, and what decided it.

    Attributes
    ----------
    value
        True (proved), False (refuted) or None (abstained).
    method
        "polynomial normal form", "simplify", "assumptions", "case splitting", "exact signs", "numeric point" or
        "abstained". A numeric point never comes with True.
    detail
        The number of generators, the refuting point or instance, or what was missing.

    Examples
    --------
    >>> Decision(True, "simplify").value
    True
    """

    value: bool | None
    method: str
    detail: str = ""

    def __bool__(self) -> bool:
        """True only where the claim is proved."""
        return self.value is True


def combine(decisions: Iterable[Decision]) -> Decision:
    """Conjunction: refuted by the first refutation, proved only if every part is proved."""
    parts = list(decisions)
    for wanted in (False, None):
        for part in parts:
            if part.value is wanted:
                return part
    order = (SIMPLIFY, CASES, SIGNS, POLYNOMIAL, ASSUMPTIONS)
    method = next((m for m in order if any(p.method == m for p in parts)), POLYNOMIAL)
    return Decision(True, method, f"{len(parts)} parts, each proved")


def exact_points(expr: Expr, count: int = _POINTS) -> Iterator[tuple[dict[Expr, Rational], Expr]]:
    """Yield rational points that respect the assumptions of the symbols, with the value there.

    A symbolic upper limit of a sum is given a small number first and the sum written out; a free index is 1.
    The generator is seeded, so the points are the same in every run. The last points are all ones and all
    zeros, where strict inequalities fail first.
    """
    random = Random(20100578)  # noqa: S311 (points of a deterministic search, nothing secret)
    for attempt in range(count + len(_CORNERS)):
        corner = _CORNERS[attempt - count] if attempt >= count else None
        chosen: dict[Expr, Rational] = {}
        indices = {s for node in expr.atoms(Indexed) for i in node.indices for s in i.free_symbols}
        for symbol in sorted(expr.free_symbols, key=str):
            if symbol in indices:
                chosen[symbol] = Integer(1)
            elif getattr(symbol, "is_integer", None):
                chosen[symbol] = _allowed(symbol, Integer(random.randint(1, 3)))
        value = written_out(expr.xreplace(chosen))
        labels = {node.base.label for node in value.atoms(Indexed)}
        atoms = (value.atoms(Indexed) | value.free_symbols) - labels
        for atom in sorted(atoms - {a for a in atoms if not isinstance(a, Symbol | Indexed)}, key=str):
            inside = corner is not None and (corner != 0 or not (atom.is_positive or atom.is_negative))
            inside = inside and not atom.is_nonpositive and admissible(atom, corner)
            chosen[atom] = corner if inside else _allowed(atom, _random_value(atom, random))
        if None not in chosen.values():
            yield chosen, value_at(value, chosen)


def written_out(expr: Expr) -> Expr:
    """The expression with its sums carried out; ``nan`` where one ends below its start, for which SymPy has a sign."""
    sums = expr.atoms(sympy.Sum, sympy.Product)
    ends = [limit[1:] for node in sums for limit in node.limits if len(limit) == 3]
    if any(low.is_Integer and high.is_Integer and high < low - 1 for low, high in ends):
        return sympy.nan
    return expr.doit() if sums else expr


def admissible(symbol: Expr, value: Expr) -> bool:
    """Whether a value has every property that is assumed of a symbol, and lies in its range."""
    ends = range_of(symbol)
    if ends is not None and not (value.is_Rational and ends[0] < value < ends[1]):
        return False
    facts = symbol.assumptions0 if isinstance(symbol, Symbol) else {}
    return all(getattr(value, f"is_{fact}", None) is wanted for fact, wanted in facts.items())


def _allowed(symbol: Expr, value: Rational) -> Rational | None:
    """The value if the symbol may take it, else the first other one that it may take, or None."""
    if admissible(symbol, value):
        return value
    others = (-value, *(sign * Integer(n) for n in (2, 3, 4, 1, 5, 0) for sign in (1, -1)))
    return next((other for other in others if admissible(symbol, other)), None)


def value_at(expr: Expr, point: dict[Expr, Rational]) -> Expr:
    """The expression at a point; ``nan`` where a maximum of what is not finite or not real has no value."""
    try:
        return expr.xreplace(point)
    except ValueError:  # SymPy compares what cannot be compared
        return sympy.nan


def _random_value(symbol: Expr, random: Random) -> Rational:
    ends = range_of(symbol)
    if ends is not None:
        return ends[0] + (ends[1] - ends[0]) * Rational(random.randint(1, 15), 16)
    size = Exact(random.randint(1, 9), random.randint(1, 5))
    if symbol.is_integer:
        size = Exact(random.randint(1, 5))
    negative = symbol.is_nonpositive or not (symbol.is_nonnegative or random.random() < 0.5)
    return Rational(size.numerator, size.denominator) * (-1 if negative else 1)


def exact_number(value: Expr) -> Expr | None:
    """The value as a number that is certainly the stated one to 20 digits, or None."""
    if value.is_Rational:
        return value
    if value.free_symbols or value.has(*_WITHOUT_VALUE):
        return None
    number = sympy.N(value, _DIGITS)
    if not (number.is_number and number.is_finite):
        return None
    return number if all(part.is_Rational or part._prec >= _BITS for part in number.atoms(sympy.Number)) else None


def describe(point: dict[Expr, Rational]) -> str:
    """A point in one line: ``a = 1/2, b = 3``."""
    if not point:
        return "every point"
    return ", ".join(f"{name} = {value}" for name, value in sorted(point.items(), key=lambda item: str(item[0])))


def _refuting_point(expr: Expr) -> str | None:
    for point, value in exact_points(expr):
        number = exact_number(value)
        if number is not None and (number != 0 if number.is_Rational else abs(number) > _THRESHOLD):
            short = number.is_Rational and max(int(number.p).bit_length(), int(number.q).bit_length()) <= _PRINTED_BITS
            return f"at {describe(point)} the value is {number if short else number.n(10)}"
    return None


def decide_zero(expr: Expr | MatrixBase, sides: tuple[Any, Any] | None = None) -> Decision:
    """Decide a commutative scalar or explicit matrix by its normal form; `theory.core.equality` is the public entry.

    `sides` are the two that the expression is the difference of, for who records what is decided.
    """
    entries = expr.flat() if isinstance(expr, MatrixBase) else [sympy.sympify(expr, strict=True)]
    decision = _decide_entries(list(dict.fromkeys(entries)))
    left, right = (_entries(side, len(entries)) for side in sides or (expr, Integer(0)))
    for one, other in zip(left, right, strict=True):
        if one != other:
            note_identity(one, other, decision.value is True, decision.method)
    return decision


def _entries(side: Any, count: int) -> list[Expr]:
    """Entries of a matrix; a scalar, of which 0 stands for a matrix of zeros."""
    return list(side.flat()) if isinstance(side, MatrixBase) else [sympy.sympify(side, strict=True)] * count


def vanishing_symbols(expr: Expr) -> Expr:
    """The expression with 0 for every symbol that is assumed to be zero."""
    zeros = {s: sympy.S.Zero for s in expr.free_symbols if s.is_zero}
    return expr.xreplace(zeros) if zeros else expr


def _decide_entries(entries: list[Expr]) -> Decision:
    pending = [e for e in (vanishing_symbols(e) for e in entries) if e != 0]
    if not pending:
        return Decision(True, POLYNOMIAL, "0")
    for expr in pending:
        if not expr.is_commutative or isinstance(expr, MatrixExpr):
            return Decision(None, ABSTAINED, f"{expr} does not commute: it has no polynomial normal form")
    try:
        normaliser = Normaliser(pending)
        numerators = [normaliser.normal(e)[0] for e in pending]
    except NotExactError as error:
        return Decision(None, ABSTAINED, str(error))
    count = len(normaliser.keys)
    left = [(e, n) for e, n in zip(pending, numerators, strict=True) if n]
    if not left:
        return Decision(True, POLYNOMIAL, f"0 in {count} generators")
    return combine(_decide_rest(e, normaliser.free, len(n)) for e, n in left)


def _decide_rest(expr: Expr, free: bool, terms: int) -> Decision:
    point = _refuting_point(expr)
    # Assumptions may leave a symbol few values (an even prime is 2): there a nonzero form needs a point.
    if free and (point or not any(symbol.is_prime or symbol.is_zero for symbol in expr.free_symbols)):
        return Decision(False, POLYNOMIAL, f"{terms} terms remain" + (f"; {point}" if point else ""))
    if point:
        return Decision(False, POINT, point)
    if expr.has(*_NOT_CARRIED_OUT):  # SymPy would carry them out, and may be wrong about where they exist
        missing = min((type(node).__name__ for node in expr.atoms(*_NOT_CARRIED_OUT)), default="a function")
        return Decision(None, ABSTAINED, f"no proof and no refuting point; {missing} is not carried out")
    if expr.is_zero is not None:
        return Decision(bool(expr.is_zero), ASSUMPTIONS, "is_zero of the expression")
    if sympy.count_ops(expr) <= _SIMPLIFY_LIMIT and sympy.simplify(expr) == 0:
        return Decision(True, SIMPLIFY, "simplify gives 0")
    return Decision(None, ABSTAINED, "no proof and no refuting point")


def decide_positive(expr: Expr) -> Decision:
    """Decide whether an expression is greater than zero wherever its symbols' assumptions hold.

    Proved by SymPy's assumptions, or by a normal form whose numerator and denominator have coefficients of
    one sign in positive generators. Exact points may refute.

    Examples
    --------
    >>> t = Symbol("t", positive=True)
    >>> decide_positive(1 + t / (1 + t)).value
    True
    >>> decide_positive(t - 1).value
    False
    """
    note_other("a sign")
    if not expr.is_commutative or isinstance(expr, MatrixExpr):
        return Decision(None, ABSTAINED, f"{expr} is not a commutative scalar: it has no sign")
    if expr.is_positive:
        return Decision(True, ASSUMPTIONS, "is_positive of the expression")
    try:
        normaliser = Normaliser([expr])
        numerator, denominator = normaliser.cancelled(expr)
    except NotExactError as error:
        return Decision(None, ABSTAINED, str(error))
    positive = all(_is_positive(normaliser.value_of(key)) for key in normaliser.keys)
    signs = {c > 0 for p in (numerator, denominator) for c in p.values()}
    if positive and numerator and len(signs) == 1:
        return Decision(True, POLYNOMIAL, f"coefficients of one sign in {len(normaliser.keys)} positive generators")
    for point, value in exact_points(expr):
        number = exact_number(value)
        if number is None or not number.is_real:
            continue
        if number == 0 or number < -_THRESHOLD:
            return Decision(False, POINT, f"at {describe(point)} the value is {number}")
    return Decision(None, ABSTAINED, "no proof of the sign and no refuting point")


def _is_positive(expr: Expr) -> bool:
    """Positivity by assumptions; a sum over k = 1..H, H >= 1, is positive if each of its terms is."""
    if isinstance(expr, sympy.Sum) and len(expr.limits) == 1:
        _, low, high = expr.limits[0]
        return bool(expr.function.is_positive and (high - low).is_nonnegative)
    return bool(expr.is_positive)
