"""Signs of slopes on a domain, for statement 2 (arXiv 2010.00578) of losses with kinks, ranges and parameters.

Distances and parameters lie where their assumptions say, and in closed ranges (``0 <= r <= 2`` on the sphere). A slope
with kinks is split into cases, each with the constraints under which it holds; where a kink is met the loss has no
slope, and nothing is said there. A sign is proved by coefficients (of Bernstein's form in a range), real roots, Gram
matrices, linear elimination, or interval arithmetic; it is refuted by a point of the domain off every kink.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import add, mul
from random import Random
from typing import Any

import flint
import sympy
from sympy import Abs, Expr, Heaviside, Max, Min, Rational, Symbol, sign
from sympy.polys.rings import PolyElement

from theory.core.cases import Constraint, infeasible
from theory.core.decide import (
    ABSTAINED,
    ASSUMPTIONS,
    CASES,
    POINT,
    SIGNS,
    Decision,
    decide_zero,
    describe,
    exact_number,
    value_at,
)
from theory.core.normal import Normaliser, NotExactError
from theory.core.quantity import within
from theory.core.signs import Sign, known_sign, multiplied, polynomial_sign
from theory.losses.loss import Bounds

PIECES = (Max, Min, Abs, sign, Heaviside)
CASE_LIMIT, TERM_LIMIT, VERTEX_LIMIT = 200, 120, 256
POINTS, FEW_POINTS, LARGE = 150, 40, 200
PRECISION, DIGITS = 400, 40
_SMALL = 1e-30
_GRID = tuple(
    Rational(*x) for x in ((0, 1), (1, 1), (2, 1), (1, 2), (3, 1), (1, 4), (5, 1), (1, 10), (10, 1), (7, 3), (50, 1))
)
_TINY = sympy.Float(10) ** -20
UNKNOWN = Sign(False, False, False)
KINKS = "off the kinks"


@dataclass(frozen=True)
class Located:
    """A decision, and the point that refutes it with the value there."""

    decision: Decision
    point: str | None = None
    value: Expr | None = None


def has_pieces(expr: Expr) -> bool:
    """Whether an expression has a maximum, a minimum, a step or an absolute value."""
    return bool(expr.has(*PIECES))


def canonical(expr: Expr) -> Expr:
    """Steps of proportional arguments as one, ``H(-g) = 1 - H(g)``, which is so at 0 too; no Abs, no sign."""
    put = {node: Max(node.args[0], -node.args[0]) for node in expr.atoms(Abs)}
    expr = expr.xreplace(put)
    expr = expr.xreplace({node: 2 * Heaviside(node.args[0]) - 1 for node in expr.atoms(sign)})
    expr = expr.replace(lambda node: isinstance(node, sympy.Mul) and node.has(Max), _without_idle_steps)
    groups: dict[Expr, list[tuple[Expr, bool]]] = {}
    for node in sorted(expr.atoms(Heaviside), key=str):
        number, argument = sympy.expand(node.args[0]).as_content_primitive()
        if number != 0:
            turned = bool(argument.could_extract_minus_sign())
            groups.setdefault(sympy.expand(-argument if turned else argument), []).append((node, turned))
    steps: dict[Expr, Expr] = {}
    for argument, nodes in groups.items():
        if len(nodes) > 1:
            steps |= {node: 1 - Heaviside(argument) if turned else Heaviside(argument) for node, turned in nodes}
    return expr.xreplace(steps)


def _without_idle_steps(product_: Expr) -> Expr:
    """``H(g) max(0, g) = max(0, g)``, which is so at 0 too."""
    steps = [factor for factor in product_.args if isinstance(factor, Heaviside)]
    tops = [p.base if isinstance(p, sympy.Pow) else p for p in product_.args]
    gaps = [sympy.Add(*top.args) for top in tops if isinstance(top, Max) and len(top.args) == 2 and 0 in top.args]
    idle = [
        step
        for step in steps
        if any((ratio := sympy.cancel(step.args[0] / gap)).is_Rational and ratio > 0 for gap in gaps)
    ]
    return sympy.Mul(*(factor for factor in product_.args if factor not in idle)) if idle else product_


def decide_on(expr: Expr, strict: bool, bounds: Bounds) -> Located:
    """Decide ``expr > 0``, or ``>= 0``, on the domain of its symbols, off its kinks."""
    expr = canonical(expr)
    known = known_sign(expr)
    if known.up and (known.nonzero or not strict):
        return Located(Decision(True, ASSUMPTIONS, "the assumptions of the symbols"))
    found = _refuting(expr, strict, bounds)
    if found is not None:
        point, value = found
        detail = f"at {describe(point)} the value is {value if value.is_Rational else value.n(10)}"
        return Located(Decision(False, POINT, detail), describe(point), value)
    try:
        method, detail = _proved(expr, strict, bounds)
    except NotExactError as error:
        return Located(Decision(None, ABSTAINED, str(error)))
    if method:
        return Located(Decision(True, method, detail))
    return Located(Decision(None, ABSTAINED, "no proof of the sign and no refuting point"))


def decide_zero_on(expr: Expr, bounds: Bounds) -> Located:
    """Decide that an expression vanishes on its domain, off its kinks."""
    if not has_pieces(expr):
        with within(bounds):
            return Located(decide_zero(expr))
    expr = canonical(expr)
    leaves = list(cases(expr, bounds))
    if leaves and all(decide_zero(leaf) for _, leaf in leaves):
        return Located(Decision(True, CASES, f"0 in each of {len(leaves)} cases, {KINKS}"))
    for point in points(expr, bounds):
        number = value_off_kinks(expr, point)
        if number is not None and abs(number) > _TINY:
            detail = f"at {describe(point)} the value is {number if number.is_Rational else number.n(10)}"
            return Located(Decision(False, POINT, detail), describe(point), number)
    return Located(Decision(None, ABSTAINED, "no proof and no refuting point"))


# Points of the domain.


def points(expr: Expr, bounds: Bounds, count: int = POINTS) -> Iterator[dict[Expr, Expr]]:
    """Points of the domain, ends of ranges and ties among them; the same in every run."""
    symbols = sorted(expr.free_symbols, key=str)
    random = Random(20100578)  # noqa: S311 (points of a deterministic search, nothing secret)
    values = {s: _values(s, bounds) for s in symbols}
    for attempt in range(count):
        if attempt < len(_GRID):  # all symbols near one value
            yield {s: _nearest(values[s], _GRID[attempt]) for s in symbols}
        elif attempt % 3:
            yield {s: random.choice(values[s]) for s in symbols}
        else:
            yield {s: _drawn(s, bounds, random) for s in symbols}


def _nearest(values: list[Expr], wanted: Expr) -> Expr:
    return min(values, key=lambda value: abs(value - wanted))


def _values(symbol: Expr, bounds: Bounds) -> list[Expr]:
    if symbol in bounds:
        low, high = bounds[symbol]
        return [low, high, (low + high) / 2, low + (high - low) / 10, high - (high - low) / 7]
    if symbol.is_positive:
        return list(_GRID[1:])
    return list(_GRID) if symbol.is_nonnegative else [*_GRID, *(-v for v in _GRID[1:])]


def _drawn(symbol: Expr, bounds: Bounds, random: Random) -> Expr:
    share = Rational(random.randint(1, 999), 1000)
    if symbol in bounds:
        low, high = bounds[symbol]
        return low + (high - low) * share
    size = share * random.choice((1, 3, 10, 100))
    return size if symbol.is_nonnegative or random.random() < 0.5 else -size


def value_off_kinks(expr: Expr, point: dict[Expr, Expr]) -> Expr | None:
    """The value at a point as a certain number, or None: not known, not real, or on a kink.

    A ball that leaves out 0 is certain of the sign; what is 0 is evaluated exactly.
    """
    with flint.ctx.workprec(PRECISION):
        ball = _ball(expr, {symbol: _exact(value) for symbol, value in point.items()})
        if not ball.is_finite():
            return None
        if ball > 0 or ball < 0:
            digits = ball.mid().str(DIGITS, radius=False, more=True)
            shown = sympy.Float(digits, DIGITS)
            return shown if expr.has(sympy.exp, sympy.log) else _rational(expr, point, shown)
        if sympy.count_ops(expr) > LARGE or abs(ball).upper() > _SMALL:
            return None
    number = exact_number(value_at(expr, point))
    return number if number is not None and number.is_Rational else None


def _rational(expr: Expr, point: dict[Expr, Expr], shown: Expr) -> Expr:
    """The value as a rational number where it is one at sight."""
    if any(not power.exp.is_Integer for power in expr.atoms(sympy.Pow)) or sympy.count_ops(expr) > LARGE:
        return shown
    value = value_at(expr, point)
    return value if value.is_Rational else shown


def _refuting(expr: Expr, strict: bool, bounds: Bounds) -> tuple[dict[Expr, Expr], Expr] | None:
    for point in points(expr, bounds, POINTS if sympy.count_ops(expr) <= LARGE else FEW_POINTS):
        value = value_off_kinks(expr, point)
        if value is not None and (value < -_TINY or (strict and value.is_Rational and value == 0)):
            return point, value
    return None


# Cases.

Constraints = tuple[Constraint, ...]


def cases(expr: Expr, bounds: Bounds) -> Iterator[tuple[Constraints, Expr]]:
    """What an expression is without its pieces, with the constraints of each case; kinks may be left out."""
    pending: list[tuple[Constraints, Expr]] = [(_box(expr, bounds), expr)]
    steps = 0
    while pending:
        constraints, current = pending.pop()
        steps += 1
        if steps > CASE_LIMIT:
            raise NotExactError(f"more than {CASE_LIMIT} cases")
        if not has_pieces(current):
            yield constraints, current
            continue
        current = canonical(current)
        inner = [p for p in current.atoms(*PIECES) if not any(a.has(*PIECES) for a in p.args)]
        if not inner:
            yield constraints, current
            continue
        piece = min(inner, key=lambda p: (len(str(p)), str(p)))
        for gaps, value in _sides(piece):
            # An analytic gap that is not 0 everywhere is 0 only on a set that has no interior.
            kind = ">" if all(_is_somewhere_not_zero(gap, bounds) for gap in gaps) else ">="
            joint = (*constraints, *(Constraint(gap, kind) for gap in gaps))
            if not infeasible(joint):
                pending.append((joint, current.xreplace({piece: value})))


def settled(expr: Expr, bounds: Bounds) -> Expr:
    """The expression without the pieces that have one side only on the domain, as ``max(0, 3 - r)`` at r <= 2."""
    box = _box(expr, bounds)
    for _ in range(CASE_LIMIT):
        inner = [p for p in expr.atoms(*PIECES) if not any(a.has(*PIECES) for a in p.args)]
        put = {}
        for piece in sorted(inner, key=str):
            sides = [value for gaps, value in _sides(piece) if not _excluded(gaps, box, bounds)]
            if len(sides) == 1 and isinstance(piece, Max | Min):
                put[piece] = sides[0]
        if not put:
            return expr
        expr = expr.xreplace(put)
    return expr


def _excluded(gaps: list[Expr], box: Constraints, bounds: Bounds) -> bool:
    """Whether the gaps of a side are positive nowhere."""
    kind = ">" if all(_is_somewhere_not_zero(gap, bounds) for gap in gaps) else ">="
    return infeasible((*box, *(Constraint(gap, kind) for gap in gaps)))


def _sides(piece: Expr) -> list[tuple[list[Expr], Expr]]:
    if isinstance(piece, Max | Min):
        turn = 1 if isinstance(piece, Max) else -1
        return [([turn * (a - b) for b in piece.args if b is not a], a) for a in piece.args]
    return [([piece.args[0]], sympy.S.One), ([-piece.args[0]], sympy.S.Zero)]


def _box(expr: Expr, bounds: Bounds) -> Constraints:
    inside = [s for s in sorted(expr.free_symbols, key=str) if s in bounds]
    ends = [c for s in inside for c in (s - bounds[s][0], bounds[s][1] - s)]
    return tuple(Constraint(c, ">=") for c in ends)


def _is_somewhere_not_zero(gap: Expr, bounds: Bounds) -> bool:
    """Whether a gap of analytic parts is not zero at some point, so that it is zero almost nowhere."""
    if gap.has(sympy.log) or any(not p.exp.is_Integer for p in gap.atoms(sympy.Pow) if p.base != sympy.E):
        return False
    return any(value_off_kinks(gap, point) not in (None, 0) for point in points(gap, bounds, 12))


# Proofs.


def _proved(expr: Expr, strict: bool, bounds: Bounds) -> tuple[str, str]:
    if not has_pieces(expr):
        found, how = sign_on(expr, bounds, _box(expr, bounds))
        return (SIGNS, how) if found.up and (found.nonzero or not strict) else ("", "")
    count = 0
    for constraints, leaf in cases(expr, bounds):
        count += 1
        if has_pieces(leaf):
            return "", ""
        found, _ = sign_on(leaf, bounds, constraints)
        if not (found.up and (found.nonzero or not strict)):
            return "", ""
    return CASES, f"{count} cases, {KINKS}"


def sign_on(expr: Expr, bounds: Bounds, constraints: Constraints = ()) -> tuple[Sign, str]:
    """What is proved of the sign of an expression without pieces, under constraints, wherever it is defined."""
    known = known_sign(expr)
    if (known.up or known.down) and known.nonzero:
        return known, "the assumptions of the symbols"
    normaliser = Normaliser([expr])
    top, bottom = normaliser.cancelled(expr)
    if not top:
        return Sign(True, True, False), "0 as a rational function"
    values = [normaliser.value_of(key) for key in normaliser.keys]
    if any(value.is_extended_real is not True for value in values):
        return known, "the assumptions of the symbols"
    above = _sign_of(top, normaliser, bounds, constraints)
    below = _sign_of(bottom, normaliser, bounds, constraints)
    result = multiplied([above, Sign(below.up, below.down, True)])
    if result.up or result.down:
        return result, "signs of factors"
    return _by_intervals(expr, bounds), "interval arithmetic"


def _sign_of(poly: PolyElement, normaliser: Normaliser, bounds: Bounds, constraints: Constraints) -> Sign:
    if len(poly) > TERM_LIMIT:
        return UNKNOWN
    whole = _by_coefficients(poly, normaliser, bounds)
    if whole.up or whole.down:
        return whole
    scale, factors = poly.factor_list()
    signs = [Sign(scale > 0, scale < 0, True)]
    for factor, power in factors:
        one = _sign_of_factor(factor, normaliser, bounds, constraints)
        signs.append(Sign(True, False, one.nonzero) if power % 2 == 0 else one)
    return multiplied(signs)


def _sign_of_factor(factor: PolyElement, normaliser: Normaliser, bounds: Bounds, constraints: Constraints) -> Sign:
    found = _by_coefficients(factor, normaliser, bounds)
    if found.up or found.down:
        return found
    expression = normaliser.expression(factor)
    for turn in (1, -1):
        if infeasible((*constraints, Constraint(-turn * expression, ">="))):
            return Sign(turn > 0, turn < 0, True)
    for turn in (1, -1):
        if infeasible((*constraints, Constraint(-turn * expression, ">"))):
            return Sign(turn > 0, turn < 0, False)
    signs = [known_sign(normaliser.value_of(key)) for key in normaliser.keys]
    found, _ = polynomial_sign(factor, signs)
    if found.up or found.down:
        return found
    return _by_roots(factor, normaliser, bounds)


def _by_coefficients(poly: PolyElement, normaliser: Normaliser, bounds: Bounds) -> Sign:
    """Coefficients of one sign, in generators that are not negative: see `_range`."""
    ranges = [_range(normaliser.value_of(key), bounds) for key in normaliser.keys]
    used = [n for n in range(len(ranges)) if any(m[n] for m in poly)]
    if any(ranges[n] is None for n in used):
        return UNKNOWN
    plain = _moved(poly, used, [_POSITIVE if r is not None and r[2] else r for r in ranges])
    return plain if plain.up or plain.down else _moved(poly, used, ranges)


Ends = tuple[Expr, Expr | None, bool]
"""Low end, high end (None: no bound), and whether the low end is left out."""
_POSITIVE: Ends = (sympy.S.Zero, None, True)


def _range(value: Expr, bounds: Bounds) -> Ends | None:
    """A range of a generator with a rational low end, or None."""
    if value in bounds:
        low, high = bounds[value]
        return low, high, False
    if isinstance(value, sympy.exp) and value.args[0].is_real:
        exponent, _ = sign_on(value.args[0], bounds)
        if exponent.up:
            return sympy.S.One, None, False
        return (sympy.S.Zero, sympy.S.One, True) if exponent.down else _POSITIVE
    if value.is_positive:
        return _POSITIVE
    return (sympy.S.Zero, None, False) if value.is_nonnegative else None


def _moved(poly: PolyElement, used: list[int], ranges: Sequence[Ends | None]) -> Sign:
    """The sign by the coefficients in t >= 0: ``g = low + t``, or ``g = (low + high t)/(1 + t)`` cleared of 1 + t."""
    closed = [n for n in used if (ends := ranges[n]) is not None and ends[1] is not None]
    degrees = {n: max(m[n] for m in poly) for n in closed}
    if 2 ** len(closed) > VERTEX_LIMIT:
        return UNKNOWN
    terms: dict[tuple[int, ...], Expr] = {
        tuple(m): Rational(int(c.numerator), int(c.denominator)) for m, c in poly.items()
    }
    for n in used:
        ends = ranges[n]
        if ends is None:
            return UNKNOWN
        if ends[0] == 0 and ends[1] is None:
            continue
        terms = _substituted(terms, n, ends, degrees.get(n, 0))
        if len(terms) > 20 * TERM_LIMIT:
            return UNKNOWN
    signs = {value > 0 for value in terms.values() if value != 0}
    if len(signs) != 1:
        return UNKNOWN
    up = signs.pop()
    # Positive on the closed box: a term at every vertex whose other generators cannot vanish.
    open_low = {n for n in used if (ends := ranges[n]) is not None and ends[2]}

    def kept(vertex: tuple[int, ...], monomial: tuple[int, ...]) -> bool:
        at = dict(zip(closed, vertex, strict=True))
        return all(monomial[n] == at[n] if n in at else (monomial[n] == 0 or n in open_low) for n in used)

    corners = product(*((degrees[n],) if n in open_low else (0, degrees[n]) for n in closed))
    strict = all(any(value != 0 and kept(corner, monomial) for monomial, value in terms.items()) for corner in corners)
    return Sign(up, not up, strict)


def _substituted(terms: dict[tuple[int, ...], Expr], n: int, ends: Ends, degree: int) -> dict[tuple[int, ...], Expr]:
    """The polynomial with another variable for the generator n."""
    t = Symbol("t")
    low, high, _ = ends
    result: dict[tuple[int, ...], Expr] = {}
    for monomial, value in terms.items():
        power = monomial[n]
        one = (low + t) ** power if high is None else (low + high * t) ** power * (1 + t) ** (degree - power)
        for (exponent,), coefficient in sympy.Poly(one, t).terms():
            key = (*monomial[:n], int(exponent), *monomial[n + 1 :])
            result[key] = result.get(key, sympy.S.Zero) + value * coefficient
    return {key: value for key, value in result.items() if value != 0}


def _by_roots(poly: PolyElement, normaliser: Normaliser, bounds: Bounds) -> Sign:
    """The sign of a polynomial in one generator without a root in the range of the generator."""
    used = [n for n in range(len(normaliser.keys)) if any(m[n] for m in poly)]
    if len(used) != 1:
        return UNKNOWN
    value = normaliser.value_of(normaliser.keys[used[0]])
    low, high, is_open = _range(value, bounds) or (None, None, False)
    t = Symbol("t", real=True)
    terms = {(m[used[0]],): Rational(int(c.numerator), int(c.denominator)) for m, c in poly.items()}
    full = sympy.Poly(terms, t)
    if full.count_roots(low, high) > (1 if is_open and full.eval(low) == 0 else 0):
        return UNKNOWN
    inside = sympy.S.One if low is None else low + 1 if high is None else (low + high) / 2
    up = bool(full.eval(inside) > 0)
    return Sign(up, not up, True)


# Interval arithmetic.

BOXES, WIDTH = 3000, 3


def _by_intervals(expr: Expr, bounds: Bounds) -> Sign:
    """The sign of an expression whose symbols all lie in closed ranges, by halving boxes."""
    symbols = sorted(expr.free_symbols, key=str)
    if not symbols or len(symbols) > WIDTH or any(s not in bounds for s in symbols):
        return UNKNOWN
    boxes = [tuple((bounds[s][0], bounds[s][1]) for s in symbols)]
    up: bool | None = None
    for _ in range(BOXES):
        if not boxes:
            return UNKNOWN if up is None else Sign(up, not up, True)
        box = boxes.pop()
        value = _ball(expr, {s: _interval(ends) for s, ends in zip(symbols, box, strict=True)})
        positive, negative = bool(value > 0), bool(value < 0)
        if positive or negative:
            if up is not None and up is not positive:
                return UNKNOWN
            up = positive
            continue
        place = max(range(len(box)), key=lambda n: box[n][1] - box[n][0])
        low, high = box[place]
        middle = (low + high) / 2
        boxes += [(*box[:place], half, *box[place + 1 :]) for half in ((low, middle), (middle, high))]
    return UNKNOWN


def _exact(number: Expr) -> Any:
    return flint.arb(flint.fmpq(int(number.p), int(number.q)))


def _interval(ends: tuple[Expr, Expr]) -> Any:
    return _exact(ends[0]).union(_exact(ends[1]))


def _ball(expr: Expr, values: dict[Expr, Any]) -> Any:
    """An enclosure of the values of an expression; not a number where it has no value, or a step is on its kink."""
    if expr in values:
        return values[expr]
    if expr.is_Rational:
        return _exact(expr)
    parts = [_ball(part, values) for part in expr.args]
    if isinstance(expr, sympy.Add):
        return reduce(add, parts)
    if isinstance(expr, sympy.Mul):
        return reduce(mul, parts)
    if isinstance(expr, sympy.exp):
        return parts[0].exp()
    if isinstance(expr, sympy.log):
        return parts[0].log()
    if isinstance(expr, Max):
        return reduce(flint.arb.max, parts)
    if isinstance(expr, Min):
        return reduce(flint.arb.min, parts)
    if isinstance(expr, Heaviside):
        return flint.arb(1) if parts[0] > 0 else flint.arb(0) if parts[0] < 0 else flint.arb("nan")
    if isinstance(expr, sympy.Pow) and expr.exp.is_Rational:
        power = parts[0] ** abs(int(expr.exp.p))
        if expr.exp.q != 1:
            power = flint.arb("nan") if not parts[0] >= 0 else power.root(int(expr.exp.q))
        return power if expr.exp > 0 else 1 / power
    return flint.arb("nan")
