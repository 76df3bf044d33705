"""Signs of polynomials and rational functions, and of quadratic forms, decided in rationals.

A sign is proved by the signs of coefficients, by factors and even powers, by the real roots of a polynomial in one
variable (Sturm), or by a Gram matrix that an exact elimination shows to be positive semidefinite.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, pairwise, product
from math import lcm, prod
from typing import NamedTuple

import sympy
from sympy import Expr, Poly, Symbol
from sympy.polys.rings import PolyElement

from theory.core.normal import Normaliser, NotExactError

TERM_LIMIT = 120
BASIS_LIMIT = 20
DEGREE_LIMIT = 16
MEANS_LIMIT = 8  # terms among which a mean is looked for
POWER_LIMIT = 60
FACTOR_LIMIT = (40, 5)  # terms and generators that are factorised


class Sign(NamedTuple):
    """What is proved of a value: nonnegative, nonpositive, not zero."""

    up: bool
    down: bool
    nonzero: bool


UNKNOWN = Sign(False, False, False)
Exponents = tuple[int, ...]
Coefficients = Mapping[Exponents, Fraction]


def known_sign(expr: Expr) -> Sign:
    """The sign of an expression by SymPy's assumptions."""
    return Sign(expr.is_extended_nonnegative is True, expr.is_extended_nonpositive is True, expr.is_zero is False)


def negated(sign: Sign) -> Sign:
    """The sign of the negative."""
    return Sign(sign.down, sign.up, sign.nonzero)


def multiplied(signs: Sequence[Sign]) -> Sign:
    """The sign of a product."""
    result = Sign(True, False, True)
    for sign in signs:
        up = (result.up and sign.up) or (result.down and sign.down)
        down = (result.up and sign.down) or (result.down and sign.up)
        result = Sign(up, down, result.nonzero and sign.nonzero)
    return result


def sign_of(expr: Expr) -> tuple[Sign, str]:
    """The sign of a rational function of real generators wherever it is defined, and what decided it."""
    known = known_sign(expr)
    if (known.up or known.down) and known.nonzero:
        return known, "the assumptions of the symbols"
    expr = _without_roots(expr)
    try:
        normaliser = Normaliser([expr])
        top, bottom = normaliser.cancelled(expr)
    except NotExactError:
        return known, "the assumptions of the symbols"
    if not top:
        return Sign(True, True, False), "0 as a rational function"
    values = [normaliser.value_of(key) for key in normaliser.keys]
    if any(value.is_extended_real is not True for value in values) or max(len(top), len(bottom)) > TERM_LIMIT:
        return known, "the assumptions of the symbols"
    generators = [known_sign(value) for value in values]
    above, how = polynomial_sign(top, generators)
    below, _ = polynomial_sign(bottom, generators)
    below = Sign(below.up, below.down, True)  # where the quotient is defined
    result = multiplied([above, below])
    if (known.up and not result.up) or (known.down and not result.down):
        return known, "the assumptions of the symbols"
    return result, how


def _without_roots(expr: Expr) -> Expr:
    """Nonnegative symbols under a root as powers of new symbols, so that the roots are polynomials."""
    orders: dict[Symbol, int] = {}
    for power in expr.atoms(sympy.Pow):
        if power.base.is_Symbol and power.base.is_nonnegative and power.exp.is_Rational and not power.exp.is_Integer:
            orders[power.base] = lcm(orders.get(power.base, 1), int(power.exp.q))
    put = {s: sympy.Dummy(s.name, nonnegative=True, zero=s.is_zero) ** q for s, q in orders.items()}
    return expr.xreplace(put) if put else expr


def polynomial_sign(poly: PolyElement, generators: Sequence[Sign]) -> tuple[Sign, str]:
    """The sign of a polynomial in real generators of known signs."""
    direct = _by_coefficients(_coefficients(poly), generators)
    if direct.up or direct.down:
        return direct, "coefficients of one sign"
    if len(poly) > FACTOR_LIMIT[0] or sum(any(m[i] for m in poly) for i in range(len(generators))) > FACTOR_LIMIT[1]:
        return _irreducible(_coefficients(poly), generators)
    scale, factors = poly.factor_list()
    signs = [Sign(scale > 0, scale < 0, True)]
    reasons = []
    for factor, power in factors:
        sign, how = _irreducible(_coefficients(factor), generators)
        if power % 2 == 0:
            signs.append(Sign(True, False, sign.nonzero))
            reasons.append("an even power")
        else:
            signs.append(sign)
            reasons.append(how)
    return multiplied(signs), ", ".join(dict.fromkeys(reasons))


def _coefficients(poly: PolyElement) -> dict[Exponents, Fraction]:
    return {tuple(m): Fraction(int(c.numerator), int(c.denominator)) for m, c in poly.items()}


def _by_coefficients(poly: Coefficients, generators: Sequence[Sign]) -> Sign:
    """A sum of terms of one sign; not zero if one of them is not."""
    signs = []
    for exponents, coefficient in poly.items():
        powers = [_power(generators[i], e) for i, e in enumerate(exponents) if e]
        signs.append(multiplied([Sign(coefficient > 0, coefficient < 0, True), *powers]))
    up, down = all(s.up for s in signs), all(s.down for s in signs)
    return Sign(up, down, (up or down) and any(s.nonzero for s in signs))


def _power(sign: Sign, exponent: int) -> Sign:
    return Sign(True, False, sign.nonzero) if exponent % 2 == 0 else sign


def _irreducible(poly: Coefficients, generators: Sequence[Sign]) -> tuple[Sign, str]:
    direct = _by_coefficients(poly, generators)
    if direct.up or direct.down:
        return direct, "coefficients of one sign"
    used = [i for i in range(len(generators)) if any(m[i] for m in poly)]
    if len(used) == 1:
        return _univariate({m[used[0]]: c for m, c in poly.items()}, generators[used[0]]), "real roots of a polynomial"
    for turn in (1, -1):
        strict = is_sum_of_squares({m: turn * c for m, c in poly.items()}, generators)
        if strict is not None:
            sign = Sign(True, False, strict)
            return (sign if turn > 0 else negated(sign)), "a positive semidefinite Gram matrix"
    for turn in (1, -1):
        strict = by_means({m: turn * c for m, c in poly.items()}, generators)
        if strict is not None:
            sign = Sign(True, False, strict)
            return (sign if turn > 0 else negated(sign)), "the inequality of the means"
    return UNKNOWN, "no proof of the sign"


def _univariate(poly: Mapping[int, Fraction], generator: Sign) -> Sign:
    """The sign of a polynomial without real roots in the range of its variable."""
    x = Symbol("x")
    full = Poly.from_dict({(e,): sympy.Rational(c.numerator, c.denominator) for e, c in poly.items()}, x)
    if full.degree() > DEGREE_LIMIT:
        return UNKNOWN
    low, high = (0 if generator.up else None), (0 if generator.down else None)
    if full.count_roots(low, high):
        return UNKNOWN
    value = full.eval(-1 if generator.down else 1)
    return Sign(bool(value > 0), bool(value < 0), True)


def is_sum_of_squares(poly: Coefficients, generators: Sequence[Sign]) -> bool | None:
    """Whether a Gram matrix proves the polynomial nonnegative: None if not, else whether positive."""
    result = _by_gram(poly)
    if result is not None or not any(sign.up or sign.down for sign in generators):
        return result
    doubled: dict[Exponents, Fraction] = {}
    for exponents, coefficient in poly.items():  # a generator of known sign is plus or minus a square
        turned = [i for i, e in enumerate(exponents) if generators[i].down and not generators[i].up and e % 2]
        key = tuple(2 * e if generators[i].up or generators[i].down else e for i, e in enumerate(exponents))
        doubled[key] = coefficient * (-1) ** len(turned)
    return _by_gram(doubled)


def _by_gram(poly: Coefficients) -> bool | None:
    basis = _half_basis(poly)
    if not basis or len(basis) > BASIS_LIMIT:
        return None
    places: dict[Exponents, list[tuple[int, int]]] = {}
    for i, first in enumerate(basis):
        for j, second in enumerate(basis):
            places.setdefault(tuple(a + b for a, b in zip(first, second, strict=True)), []).append((i, j))
    if any(key not in places for key in poly):
        return None
    gram = [[Fraction(0)] * len(basis) for _ in basis]
    for key, coefficient in poly.items():
        square = [(i, j) for i, j in places[key] if i == j]
        mixed = [(i, j) for i, j in places[key] if i != j]
        chosen = (square or mixed) if coefficient > 0 else (mixed or square)
        for i, j in chosen:
            gram[i][j] += coefficient / len(chosen)
    direction, rank = negative_direction(gram)
    if direction is not None:
        return None
    return rank == len(basis) and tuple([0] * len(basis[0])) in basis


def by_means(poly: Coefficients, generators: Sequence[Sign]) -> bool | None:
    """Whether the weighted inequality of the means proves a polynomial nonnegative: None if not, else if positive.

    One term may be negative; the others are nonnegative, and its exponents are a mean of some of theirs.
    """
    up = [m for m, c in poly.items() if c > 0 and all(e % 2 == 0 or generators[i].up for i, e in enumerate(m))]
    rest = [m for m in poly if m not in up]
    if len(rest) != 1 or not 2 <= len(up) <= MEANS_LIMIT:
        return None
    (below,) = rest
    for size in range(2, min(len(up), len(below) + 1) + 1):
        for chosen in combinations(up, size):
            weights = _barycentric(chosen, below)
            if weights is None:
                continue
            common = lcm(*(w.denominator for w in weights))
            if common > POWER_LIMIT:
                continue
            mean = prod((poly[m] / w) ** int(common * w) for m, w in zip(chosen, weights, strict=True))
            least = abs(poly[below]) ** common
            if mean >= least:
                constant = tuple([0] * len(below))
                # A constant that is left over keeps the sum away from zero.
                return constant in up and (constant not in chosen or mean > least)
    return None


def _barycentric(points: Sequence[Exponents], inner: Exponents) -> list[Fraction] | None:
    """Positive weights with which the points have a mean, where they are unique."""
    rows = [[*(Fraction(p[i]) for p in points), Fraction(inner[i])] for i in range(len(inner))]
    rows.append([Fraction(1)] * (len(points) + 1))
    rank = 0
    for column in range(len(points)):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column] != 0), None)
        if pivot is None:
            return None
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        lead = rows[rank][column]
        rows[rank] = [x / lead for x in rows[rank]]
        for r in range(len(rows)):
            if r != rank and rows[r][column] != 0:
                rows[r] = [x - rows[r][column] * y for x, y in zip(rows[r], rows[rank], strict=True)]
        rank += 1
    if any(row[-1] != 0 for row in rows[rank:]):
        return None
    weights = [rows[i][-1] for i in range(rank)]
    return weights if all(w > 0 for w in weights) else None


def _half_basis(poly: Coefficients) -> list[Exponents]:
    """Monomials whose products may sum to the polynomial."""
    count = len(next(iter(poly)))
    degrees = [sum(m) for m in poly]
    tops = [max(m[i] for m in poly) // 2 for i in range(count)]
    if prod(top + 1 for top in tops) > 400:
        return []
    low, high = min(degrees), max(degrees)
    basis = [m for m in product(*(range(top + 1) for top in tops)) if low <= 2 * sum(m) <= high]
    while True:
        sums = {tuple(a + b for a, b in zip(m, o, strict=True)) for m in basis for o in basis if m != o}
        kept = [m for m in basis if tuple(2 * e for e in m) in poly or tuple(2 * e for e in m) in sums]
        if len(kept) == len(basis) or len(basis) > 60:
            return kept
        basis = kept


def negative_direction(rows: Sequence[Sequence[Fraction]]) -> tuple[list[Fraction] | None, int]:
    """A vector x with ``x^T M x < 0`` of a symmetric rational matrix, or None if it is positive semidefinite; the rank.

    Symmetric elimination: a zero on the diagonal beside a nonzero entry, or a negative one, gives the vector.
    """
    size = len(rows)
    zero = Fraction(0)
    if not size:
        return None, 0
    pivot = rows[0][0]
    if pivot < 0:
        return [Fraction(1), *[zero] * (size - 1)], 0
    if pivot == 0:
        for j in range(1, size):
            if rows[0][j] != 0:
                vector = [zero] * size
                vector[j] = Fraction(1)
                vector[0] = -(rows[j][j] + 1) / (2 * rows[0][j])
                return vector, 0
        rest, rank = negative_direction([row[1:] for row in rows[1:]])
        return (None if rest is None else [zero, *rest]), rank
    schur = [[rows[i][j] - rows[i][0] * rows[0][j] / pivot for j in range(1, size)] for i in range(1, size)]
    rest, rank = negative_direction(schur)
    if rest is None:
        return None, rank + 1
    first = -sum((rows[0][j + 1] * x for j, x in enumerate(rest)), zero) / pivot
    return [first, *rest], rank + 1


def quadratic_directions(expr: Expr, symbols: Sequence[Symbol]) -> Iterator[dict[Expr, Expr]]:
    """Points at which a polynomial of degree 2 is negative, or grows to be."""
    if not symbols:
        return
    try:
        poly = Poly(expr, *symbols)
        if poly.total_degree() > 2 or not (poly.domain.is_QQ or poly.domain.is_ZZ):
            return
    except sympy.PolynomialError:
        return
    names = [*symbols, None]
    rows = [[_half(poly, a, b) for b in names] for a in names]
    vector, _ = negative_direction(rows)
    if vector is None:
        return
    scale = vector[-1] if vector[-1] != 0 else Fraction(1)
    for size in (1, 10, 1000, 10**6):
        point = [x / scale * (1 if vector[-1] != 0 else size) for x in vector[:-1]]
        yield {s: sympy.Rational(x.numerator, x.denominator) for s, x in zip(symbols, point, strict=True)}


def _half(poly: Poly, a: Symbol | None, b: Symbol | None) -> Fraction:
    monomial = sympy.Mul(*(s for s in (a, b) if s is not None))
    value = poly.coeff_monomial(monomial) / (1 if a == b else 2)
    return Fraction(int(value.p), int(value.q))


def root_neighbours(expr: Expr, symbol: Symbol) -> Iterator[dict[Expr, Expr]]:
    """Rational points on every side of the real roots of a polynomial in one symbol."""
    try:
        poly = Poly(expr, symbol)
        if poly.degree() > DEGREE_LIMIT or poly.is_zero or poly.degree() == 0:
            return
        ends = [sympy.Rational(x) for (low, high), _ in poly.intervals(eps=sympy.Rational(1, 64)) for x in (low, high)]
    except (sympy.PolynomialError, NotImplementedError, sympy.polys.polyerrors.DomainError):
        return
    marks = sorted({*ends, *([min(ends) - 1, max(ends) + 1] if ends else [0])})
    for mark in [*marks, *((a + b) / 2 for a, b in pairwise(marks))]:
        yield {symbol: sympy.sympify(mark, strict=True)}
