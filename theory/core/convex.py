"""Signs of functions with exponentials and logarithms, proved by monotonicity, convexity and bounds of functions.

Each rule needs a function that is twice differentiable on the domain of one of its symbols, an interval: the line, or
the positive half line. A derivative of one sign proves the sign of the function from its value at an end or its limit
there; a second derivative that is nonnegative proves it from the point where the first one vanishes. Both sides may be
exponentiated, and sine, cosine, tanh and erf lie between -1 and 1. Nothing is refuted here.
"""

from collections.abc import Iterator
from math import lcm

import sympy
from sympy import Expr, Integer, Rational, Symbol

from theory.core.asymptotics import limit_of, sample
from theory.core.cases import has_pieces
from theory.core.equality import decide_equal
from theory.core.networks import UndecidedError
from theory.core.signs import sign_of

DEPTH = 3
POWER_LIMIT = 12
STEP_LIMIT = 40
SOLVED = 25  # operations of a derivative whose zeros are looked for
OPERATION_LIMIT = 150
_SMOOTH = (
    sympy.exp, sympy.log, sympy.sin, sympy.cos, sympy.sinh, sympy.cosh, sympy.tanh, sympy.atan, sympy.asinh, sympy.erf,
)  # fmt: skip
_BETWEEN = (sympy.sin, sympy.cos, sympy.tanh, sympy.erf)


class Proof:
    """A search for proofs of signs; what was tried is not tried again."""

    def __init__(self) -> None:
        self.tried: dict[tuple[Expr, bool, int], str | None] = {}
        self.steps = 0

    def nonnegative(self, gap: Expr, strict: bool, depth: int = DEPTH) -> str | None:
        """Why a real expression is nonnegative, or positive, wherever its symbols are; None without a proof."""
        gap = sympy.expand_log(gap) if gap.has(sympy.log) else gap
        key = (gap, strict, depth)
        if key not in self.tried:
            self.tried[key] = None  # a proof does not use itself
            self.tried[key] = self._search(gap, strict, depth)
        return self.tried[key]

    def _search(self, gap: Expr, strict: bool, depth: int) -> str | None:
        sign, how = sign_of(gap)
        if sign.up and (sign.nonzero or not strict):
            return how
        self.steps += 1
        if (
            self.steps > STEP_LIMIT
            or depth == 0
            or has_pieces(gap)
            or not gap.free_symbols
            or sympy.count_ops(gap) > OPERATION_LIMIT
        ):
            return None
        for rule in (self._exponentiated, self._between, self._by_derivatives):
            try:
                reason = rule(gap, strict, depth)
            except (UndecidedError, NotImplementedError, sympy.PolynomialError, RecursionError, TypeError, ValueError):
                continue
            if reason is not None:
                return reason
        return None

    # ``gap >= 0`` where ``e^(c gap) >= 1``.

    def _exponentiated(self, gap: Expr, strict: bool, depth: int) -> str | None:
        two = self._quotient(gap, strict, depth)
        if two is not None or not gap.has(sympy.log):
            return two
        scale, inner = sympy.factor_terms(gap, sign=False).as_coeff_Mul()
        outside = [f for f in sympy.Mul.make_args(inner) if not isinstance(f, sympy.Add) and not f.has(sympy.log)]
        if any(f.is_positive is not True for f in outside) or scale <= 0:
            return None
        whole = sympy.expand(scale * inner / sympy.Mul(*outside))
        terms = sympy.Add.make_args(_divided(whole))
        up: list[tuple[Expr, Expr]] = []
        down: list[tuple[Expr, Expr]] = []
        rest, common = [], 1
        for term in terms:
            coefficient, body = term.as_coeff_Mul(rational=True)
            if isinstance(body, sympy.log):
                common = lcm(common, int(coefficient.q))
                (up if coefficient > 0 else down).append((body.args[0], abs(coefficient)))
            elif term.has(sympy.log):
                return None
            else:
                rest.append(term)
        if any(common * c > POWER_LIMIT for _, c in (*up, *down)):
            return None
        if any(
            argument.is_positive is not True and not self.nonnegative(argument, True, 1) for argument, _ in (*up, *down)
        ):
            return None
        above = sympy.Mul(*(argument ** (common * c) for argument, c in up))
        below = sympy.Mul(*(argument ** (common * c) for argument, c in down))
        moved = sympy.Add(*rest) * common
        inside = sympy.expand(above * sympy.exp(moved) - below)
        reason = self.nonnegative(inside, strict, depth - 1)
        return None if reason is None else f"both sides exponentiated: {reason}"

    def _quotient(self, gap: Expr, strict: bool, depth: int) -> str | None:
        """A difference of two positive products: its sign is that of the difference of their logarithms."""
        parts = sympy.Add.make_args(gap)
        if len(parts) != 2 or not gap.has(sympy.exp):
            return None
        signs = [sign_of(part)[0] for part in parts]
        if not all(s.nonzero and (s.up or s.down) for s in signs) or signs[0].up == signs[1].up:
            return None
        high, low = (parts[0], -parts[1]) if signs[0].up else (parts[1], -parts[0])
        logs = [sympy.expand_log(sympy.log(side), force=False) for side in (high, low)]
        logs = [sympy.expand(part.replace(_is_log_of_exp, lambda node: node.args[0].exp)) for part in logs]
        difference = sympy.expand(logs[0] - logs[1])
        if sympy.count_ops(difference) >= sympy.count_ops(gap) + 4:
            return None
        reason = self.nonnegative(difference, strict, depth - 1)
        return None if reason is None else f"logarithms of both sides: {reason}"

    # Functions between -1 and 1.

    def _between(self, gap: Expr, strict: bool, depth: int) -> str | None:
        for node in sorted(gap.atoms(*_BETWEEN), key=str):
            if node.args[0].is_extended_real is not True:
                continue
            name = sympy.Dummy("f", real=True)
            written = sympy.expand(gap.xreplace({node: name}))
            slope = written.coeff(name, 1)
            rest = sympy.expand(written - slope * name)
            if slope.has(name) or rest.has(name):
                continue
            # tanh and erf do not reach their ends.
            inside = isinstance(node, sympy.tanh | sympy.erf) and sign_of(slope)[0].nonzero
            ends = [self.nonnegative(rest + turn * slope, strict and not inside, depth - 1) for turn in (1, -1)]
            if all(ends):
                return f"{node.func} lies between -1 and 1: {ends[0]}"
        return None

    # Derivatives.

    def _by_derivatives(self, gap: Expr, strict: bool, depth: int) -> str | None:
        for v in sorted(gap.free_symbols, key=lambda s: (not gap.diff(s, 2).has(s), str(s))):
            if not self._is_smooth(gap, v):
                continue
            first = _tidy(sympy.diff(gap, v))
            reason = self._monotone(gap, first, v, strict, 1) if depth > 1 else None
            reason = reason or self._convex(gap, first, v, strict, depth)
            reason = reason or self._monotone(gap, first, v, strict, depth)
            if reason is not None:
                return reason
        return None

    def _convex(self, gap: Expr, first: Expr, v: Symbol, strict: bool, depth: int) -> str | None:
        candidates = [c for c in _stationary(first, v) if _inside(c, v) and _vanishes(first.subs(v, c))]
        if not candidates or not self.nonnegative(_tidy(sympy.diff(first, v)), False, depth - 1):
            return None
        for candidate in candidates:
            least = sympy.expand_log(gap.subs(v, candidate))
            reason = self.nonnegative(sympy.expand(least), strict, depth - 1)
            if reason is not None:
                return f"convex in {v}, with its minimum at {candidate}"
        return None

    def _monotone(self, gap: Expr, first: Expr, v: Symbol, strict: bool, depth: int) -> str | None:
        for rising in (True, False):
            slope = self.nonnegative(first if rising else -first, False, depth - 1)
            if slope is None:
                continue
            word = "rises" if rising else "falls"
            end = _end(v, rising)
            if end.is_finite:
                closed = sympy.Dummy(v.name, nonnegative=True) if rising else sympy.Dummy(v.name, nonpositive=True)
                if self._is_smooth(gap.xreplace({v: closed}), closed):
                    value = gap.subs(v, end)
                else:
                    value = limit_of(sympy.Limit(gap, v, end, "+" if rising else "-"))
            else:
                value = limit_of(sympy.Limit(gap, v, end))
            if not (value.is_finite and _is_defined(value)):
                continue
            reached = end.is_finite and _admits(v, end)
            only = strict and (reached or not self.nonnegative(first if rising else -first, True, depth - 1))
            if self.nonnegative(sympy.expand(value), only, depth - 1) is not None:
                return f"{word} in {v} from {value} at {end}"
        return None

    def _is_smooth(self, gap: Expr, v: Symbol) -> bool:
        """Whether a function is twice differentiable on the whole domain of a symbol."""
        if not v.is_extended_real or v.is_integer or not (v.is_nonnegative or v.is_nonpositive or _is_free(v)):
            return False
        functions = {f for f in gap.atoms(sympy.Function) if f.has(v)}
        if not all(isinstance(f, _SMOOTH) for f in functions) or gap.has(sympy.Sum, sympy.Derivative, sympy.Integral):
            return False
        if not all(self._is_positive(f.args[0]) for f in functions if isinstance(f, sympy.log)):
            return False
        for power in (p for p in gap.atoms(sympy.Pow) if p.has(v) and p.base is not sympy.E):
            whole = power.exp.is_Integer
            if whole and power.exp > 0:
                continue
            if not self._is_positive(power.base) and not (whole and self._is_positive(-power.base)):
                return False
        return not gap.has(sympy.I) and all(s.is_extended_real for s in gap.free_symbols)

    def _is_positive(self, expr: Expr) -> bool:
        sign, _ = sign_of(expr)
        return expr.is_positive is True or (sign.up and sign.nonzero and not _divides(expr))


def prove_sign(gap: Expr, strict: bool) -> str | None:
    """Why a real expression is nonnegative, or positive; a whole number of one or more is any number of that size."""
    put: dict[Symbol, Expr] = {}
    for symbol in gap.free_symbols:
        if symbol.is_integer and symbol.is_nonnegative:
            put[symbol] = sympy.Dummy(symbol.name, nonnegative=True) + (1 if symbol.is_positive else 0)
    return Proof().nonnegative(gap.xreplace(put), strict)


def _divided(gap: Expr) -> Expr:
    """A sum divided by the positive factor of its logarithms, where they all have the same one."""
    factors = set()
    for term in sympy.Add.make_args(gap):
        logs = [f for f in sympy.Mul.make_args(term) if isinstance(f, sympy.log)]
        if len(logs) == 1:
            factors.add((term / logs[0]).as_coeff_Mul(rational=True)[1])
    if len(factors) != 1:
        return gap
    (factor,) = factors
    return sympy.expand(gap / factor) if factor != 1 and factor.is_positive else gap


def _divides(expr: Expr) -> bool:
    """Whether an expression has a denominator that may vanish: a sign is that where it is defined."""
    return any(
        p.exp.is_negative and p.base.is_nonzero is not True for p in expr.atoms(sympy.Pow) if p.base.free_symbols
    )


def _is_log_of_exp(node: Expr) -> bool:
    return isinstance(node, sympy.log) and isinstance(node.args[0], sympy.exp) and node.args[0].exp.is_extended_real


def _tidy(expr: Expr) -> Expr:
    return sympy.factor_terms(sympy.together(expr)) if expr.has(sympy.log) else sympy.cancel(sympy.together(expr))


def _is_free(v: Symbol) -> bool:
    return v.is_nonnegative is None and v.is_nonpositive is None and v.is_zero is None


def _end(v: Symbol, rising: bool) -> Expr:
    """The lower end of the domain of a symbol, or its upper end."""
    if rising:
        return Integer(0) if v.is_nonnegative else -sympy.oo
    return Integer(0) if v.is_nonpositive else sympy.oo


def _admits(v: Symbol, end: Expr) -> bool:
    return end == 0 and not (v.is_positive or v.is_negative)


def _is_defined(value: Expr) -> bool:
    return not value.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo)


def _vanishes(slope: Expr) -> bool:
    """Whether a derivative is zero; a value at one point tells most that are not."""
    point = {key: sympy.Float(value, 30) for key, value in sample(slope, sympy.Dummy()).items()}
    number = slope.xreplace(point)
    if number.is_number and number.is_comparable and abs(sympy.N(number, 20)) > Rational(1, 10**9):
        return False
    return decide_equal(slope, 0).value is True


def _inside(candidate: Expr, v: Symbol) -> bool:
    """Whether a point certainly lies in the domain of a symbol."""
    if candidate.is_extended_real is not True or not _is_defined(candidate):
        return False
    wanted = {"positive", "negative", "nonnegative", "nonpositive"} & {f for f, w in v.assumptions0.items() if w}
    sign, _ = sign_of(candidate)
    known = {"positive": sign.up and sign.nonzero, "negative": sign.down and sign.nonzero, "nonnegative": sign.up}
    known["nonpositive"] = sign.down
    return all(known[fact] for fact in wanted)


def _stationary(first: Expr, v: Symbol) -> Iterator[Expr]:
    """Where a derivative may vanish: simple numbers, other symbols, and what SymPy solves."""
    yield from (Integer(0), Integer(1), Integer(-1))
    yield from sorted((s for s in first.free_symbols if s != v), key=str)
    if sympy.count_ops(first) <= SOLVED:
        try:
            found = sympy.solve(first, v)
        except (NotImplementedError, ValueError, TypeError, sympy.PolynomialError):
            return
        yield from (f for f in found if isinstance(f, Expr) and not f.has(sympy.Piecewise, sympy.LambertW))
