"""Orders and limits as claims: ``f = O(s^n)``, ``lim f = L``, decided by expansions (`theory.core.series`).

A limit or an order is proved or refuted by the terms of an expansion, never by values at points; where values at points
can be had, a limit must agree with them, else the decision abstains.
"""

from collections.abc import Iterator
from math import lcm
from typing import Any

import sympy
from sympy import Basic, Expr, Integer, MatrixExpr, Rational, Symbol
from sympy.logic.boolalg import BooleanFunction

from hltm.base.errors import InputError
from theory.core.decide import POINT, Decision, admissible, combine, decide_zero, describe, exact_number
from theory.core.equality import decide_equal
from theory.core.networks import UndecidedError
from theory.core.series import EXACT, LOG, Expander, Series, inverted, matrix_series
from theory.core.signs import sign_of

EXPANSION = "expansion with a remainder"
DIGITS = (4, 7, 12, 18)
ROOT_LIMIT = 12
CHECKED = 60  # digits of the points that must agree
SAMPLES = tuple(Rational(*x) for x in ((3, 2), (2, 1), (1, 3), (1, 1), (-1, 2), (-2, 1), (3, 1), (0, 1)))


class OrderClaim(BooleanFunction):  # type: ignore[misc]
    """The claim that an expression is ``O(s^order)`` as a symbol s goes to a point; it is not evaluated.

    Parameters
    ----------
    expression
        A scalar, or a matrix of any size, that depends on the symbol.
    symbol
        The symbol, or its name. It goes to the point from every side that its assumptions allow.
    order
        A rational number. At infinity ``O(n^order)``, so -1 is the rate 1/n.
    at
        The point: a number, ``sympy.oo`` or ``-sympy.oo``.
    exactly
        Whether the claim is also that no higher order holds.

    Errors
    ------
    InputError
        A name of no symbol of the expression, an order that is no rational number, a point that is not real.

    Source
    ------
    Claims of users: orders of residues, rates.

    Examples
    --------
    >>> import theory
    >>> s, a = sympy.symbols("s a", positive=True)
    >>> theory.decide_relation(theory.OrderClaim(sympy.tanh(a * s) - a * s, "s", 3)).value
    True
    >>> theory.decide_relation(theory.OrderClaim(sympy.tanh(a * s) - a * s, "s", 4)).detail
    'at a = 3/2 the coefficient of s^3 is -9/8'
    >>> I, A = sympy.Identity(2), sympy.MatrixSymbol("A", 2, 2)
    >>> theory.decide_relation(theory.OrderClaim((I - s * A).inv() - I - s * A, s, 2)).value
    True
    """

    nargs = 5

    def __new__(
        cls, expression: Any, symbol: Any, order: Any, at: Any = 0, exactly: Any = False, **options: Any
    ) -> "OrderClaim":
        expr = sympy.sympify(expression, strict=True)
        if isinstance(symbol, str):
            named = [s for s in expr.free_symbols if isinstance(s, Symbol) and s.name == symbol]
            if len(named) != 1:
                names = ", ".join(sorted(str(s) for s in expr.free_symbols)) or "none"
                raise InputError(f"symbol={symbol!r:.40} of OrderClaim: must be the name of one symbol of {names}")
            (symbol,) = named
        if not isinstance(symbol, Symbol):
            raise InputError(f"symbol={symbol!r:.40} of OrderClaim: must be a symbol or its name")
        power = sympy.nsimplify(order) if isinstance(order, float) else sympy.sympify(order, strict=True)
        if not power.is_Rational:
            raise InputError(f"order={order!r:.40} of OrderClaim: must be a rational number")
        point = sympy.sympify(at, strict=True)
        if point is sympy.nan or point.is_extended_real is False:
            raise InputError(f"at={at!r:.40} of OrderClaim: must be a real number, sympy.oo or -sympy.oo")
        flag = sympy.true if exactly in (True, sympy.true) else sympy.false
        made: OrderClaim = super().__new__(cls, expr, symbol, power, point, flag, **options)
        return made

    def _latex(self, printer: Any) -> str:
        expr, symbol, order, at, exactly = self.args
        letter = r"\Theta" if exactly else "O"
        base = symbol if at == 0 or at.is_infinite else symbol - at
        shown = sympy.Pow(base, order, evaluate=False) if order != 1 else base
        to = "" if at == 0 else rf",\ {printer._print(symbol)} \to {printer._print(at)}"
        return rf"{printer._print(expr)} = {letter}\left({printer._print(shown)}\right){to}"


def approaches(symbol: Symbol, at: Expr, direction: str = "") -> Iterator[tuple[Symbol, dict[Symbol, Expr]]]:
    """A positive variable that goes to 0, and the symbol in terms of it, for every side from which it comes."""
    s = sympy.Dummy("s", positive=True)
    if at.is_infinite:
        yield s, {symbol: 1 / s if at is sympy.oo else -1 / s}
        return
    up = not symbol.is_nonpositive if at == 0 else True
    down = not symbol.is_nonnegative if at == 0 else True
    for sign, allowed in ((1, up), (-1, down)):
        if {"+": sign > 0, "-": sign < 0}.get(direction, allowed):
            yield s, {symbol: at + sign * s}


def roots_removed(expr: Basic, s: Symbol) -> tuple[Basic, int]:
    """The expression in ``u`` with ``s = u^q``, written as s again, such that powers of s alone are integers."""
    q = 1
    for power in expr.atoms(sympy.Pow):
        if power.exp.is_Rational and power.base.has(s) and not power.exp.is_Integer:
            q = lcm(q, int(power.exp.q))
    if q > ROOT_LIMIT:
        raise UndecidedError(f"a root of order {q}")
    return (expr.xreplace({s: s**q}), q) if q > 1 else (expr, 1)


# Limits.


def limit_of(node: sympy.Limit) -> Expr:
    """The limit, ``oo`` and ``-oo`` included; `UndecidedError` where no expansion gives it."""
    expr, symbol, at, direction = node.args
    results = []
    for s, put in approaches(symbol, at, "" if str(direction) == "+-" else str(direction)):
        written, _ = roots_removed(expr.xreplace(put), s)
        value = _limit(written, s)
        _check_points(written, s, value)
        results.append(value)
    if len(results) == 2 and results[0] != results[1] and not decide_equal(*results):
        raise UndecidedError(f"the limits from the two sides, {results[0]} and {results[1]}, are not known to be equal")
    return results[0]


def _limit(expr: Expr, s: Symbol) -> Expr:
    missing = UndecidedError("no expansion")
    for digits in DIGITS:
        try:
            expander = Expander(s, digits)
            expansion = expander.of(expr)
            if any(polar and _grows(polar) for polar in expansion):
                return expander.sign(expansion) * sympy.oo
            return _constant_term(expander.bounded(expansion))
        except UndecidedError as reason:
            missing = reason
    raise missing


def _grows(polar: tuple[tuple[int, Expr], ...]) -> bool:
    sign, _ = sign_of(polar[0][1])
    if not (sign.nonzero and (sign.up or sign.down)):
        raise UndecidedError(f"the sign of {polar[0][1]!s:.40} is not known")
    return sign.up


def _constant_term(one: Series) -> Expr:
    if one.order <= 0:
        raise UndecidedError("more terms are needed")
    if one.terms and one.low < 0:
        c = one.terms[one.low]
        sign, _ = sign_of(c)
        if c.has(LOG) or not sign.nonzero or not (sign.up or sign.down):
            raise UndecidedError("a limit that is not finite, of unknown sign")
        return sympy.oo if sign.up else -sympy.oo
    value = one.terms.get(0, Integer(0))
    if value.has(LOG):
        power = sympy.degree(value, LOG)
        sign, _ = sign_of(sympy.LC(value, LOG))
        if not sign.nonzero or not (sign.up or sign.down):
            raise UndecidedError("a limit that is not finite, of unknown sign")
        return sympy.oo if sign.up == (power % 2 == 0) else -sympy.oo
    return value


def sample(expr: Basic, apart: Symbol) -> dict[Expr, Rational]:
    """Values of the other symbols, as their assumptions allow."""
    point = {}
    for number, symbol in enumerate(sorted((x for x in expr.free_symbols if x != apart), key=str)):
        turned = SAMPLES[number % 3 :] + SAMPLES[: number % 3]
        point[symbol] = next((v for v in turned if admissible(symbol, v)), None)
    return {} if None in point.values() else point


def _check_points(expr: Expr, s: Symbol, value: Expr) -> None:
    """Abstain where values close to the point do not approach the limit."""
    point = sample(expr, s)
    gaps = []
    for power in (6, 12, 24):
        here = {key: sympy.Float(number, CHECKED) for key, number in {**point, s: Rational(1, 2**power)}.items()}
        try:
            number, at = (sympy.N(side.xreplace(here), 30) for side in (expr, value))
        except (OverflowError, ValueError):
            return
        if not (number.is_number and number.is_finite and at.is_number):
            return
        gaps.append(abs(number - at) if at.is_finite else (1 / number if number != 0 else sympy.oo))
    if value.is_infinite:
        turned = [g * (1 if value is sympy.oo else -1) for g in gaps]
        wrong = turned[-1] < 0 or abs(turned[-1]) > abs(turned[0])
    else:
        wrong = gaps[-1] > Rational(1, 1000) and gaps[-1] > gaps[0] / 2
    if wrong:
        raise UndecidedError(f"the expansion gives {value}, values at {describe(point)} do not approach it")


# Orders.


def order_claim(relation: sympy.Eq) -> OrderClaim:
    """An equation with an ``O(...)`` as an `OrderClaim`."""
    orders = relation.atoms(sympy.Order)
    if len(orders) != 1:
        raise UndecidedError("an equation with several orders")
    (order,) = orders
    parts = [
        [(1 if side is relation.lhs else -1) * term for term in sympy.Add.make_args(side) if not term.has(sympy.Order)]
        for side in relation.args
    ]
    if sum(len(sympy.Add.make_args(side)) for side in relation.args) != sum(map(len, parts)) + 1:
        raise UndecidedError("an order inside of a product")
    if len(order.variables) != 1:
        raise UndecidedError("an order in several symbols")
    (symbol,), (at,) = order.variables, order.point
    base = symbol if at == 0 or at.is_infinite else symbol - at
    power = order.expr.as_independent(symbol, as_Add=False)[1].as_base_exp()
    exponent = Integer(0) if not order.expr.has(symbol) else power[1] if power[0] == base else None
    if exponent is None or not exponent.is_Rational:
        raise UndecidedError(f"{order.expr} is no power of {base}")
    return OrderClaim(sympy.Add(*(term for side in parts for term in side)), symbol, exponent, at)


def decide_order_claim(claim: OrderClaim) -> Decision:
    """Decide an `OrderClaim`."""
    expr, symbol, order, at, exactly = claim.args
    decisions = []
    for s, put in approaches(symbol, at):
        wanted = -order if at.is_infinite else order
        written = expr.xreplace(put)
        if isinstance(expr, MatrixExpr):
            decisions.append(_matrix_order(written, s, symbol, wanted, bool(exactly)))
        else:
            plain, q = roots_removed(written, s)
            decisions.append(_scalar_order(plain, s, (symbol, -q if at.is_infinite else q), wanted * q, bool(exactly)))
    result = combine(decisions)
    return Decision(True, EXPANSION, decisions[0].detail) if result.value is True else result


def _scalar_order(expr: Expr, s: Symbol, shown: tuple[Symbol, int], wanted: Rational, exactly: bool) -> Decision:
    missing = UndecidedError("no expansion")
    for digits in DIGITS:
        try:
            expander = Expander(s, digits + max(0, int(sympy.ceiling(wanted))))
            expansion = expander.of(expr)
            if any(polar and _grows(polar) for polar in expansion):
                expander.sign(expansion)
                return Decision(False, POINT, "it grows like an exponential")
            one = expander.bounded(expansion)
            if one.order <= wanted:
                raise UndecidedError("more terms are needed")
            return _compared(one, shown, wanted, exactly)
        except UndecidedError as reason:
            missing = reason
    raise missing


def _compared(one: Series, shown: tuple[Symbol, int], wanted: Rational, exactly: bool) -> Decision:
    symbol, q = shown
    for power in sorted(one.terms):
        c = one.terms[power]
        if power > wanted or (power == wanted and not c.has(LOG)):
            break
        if power == wanted:
            c = sympy.Add(*(sympy.expand(c).coeff(LOG, n) * LOG**n for n in range(1, sympy.degree(c, LOG) + 1)))
        point = sample(c, LOG)
        number = exact_number(c.xreplace({**point, LOG: Integer(-7)}))
        if number is None or number == 0:
            zero = decide_zero(c)
            raise UndecidedError(f"the coefficient of {symbol}^{Rational(power, q)} is not decided: {zero.detail}")
        value = c.xreplace(point)
        term = f"{symbol}^{Rational(power, q)}".removesuffix("^1")
        where = f"at {describe(point)} " if point else ""
        return Decision(False, POINT, f"{where}the coefficient of {term} is {_short(value, symbol)}")
    if exactly:
        c = one.terms.get(int(wanted)) if wanted.is_Integer else None
        if c is None:
            return Decision(False, POINT, f"the coefficient of {symbol}^{wanted / q} is 0: the order is higher")
        if not sign_of(c)[0].nonzero:
            raise UndecidedError(f"the coefficient {c!s:.40} may be zero")
    remainder = "no remainder" if one.order == EXACT else f"remainder of order {Rational(one.order, abs(q))}"
    return Decision(True, EXPANSION, f"{len(one.terms)} terms, {remainder}")


def _short(value: Expr, symbol: Symbol) -> str:
    return str(value.xreplace({LOG: sympy.log(symbol)}))[:60]


def _matrix_order(expr: MatrixExpr, s: Symbol, symbol: Symbol, wanted: Rational, exactly: bool) -> Decision:
    if not wanted.is_Integer:
        raise UndecidedError("an order of a matrix that is no integer")
    digits = max(2, int(wanted) + 1)
    found = matrix_series(expr, s, digits, inverted(expr))
    if found.order <= wanted:  # what starts with the order itself may do so with log s
        found = matrix_series(expr, s, 2 * digits, inverted(expr))
    if found.order <= wanted:
        raise UndecidedError("more terms are needed")
    shape = expr.shape
    for power in sorted(found.terms):
        if power < wanted:
            decision = decide_equal(found.terms[power].doit(), sympy.ZeroMatrix(*shape))
            if decision.value is not True:
                where = f"the coefficient of {symbol}^{power}".removesuffix("^1")
                return Decision(decision.value, decision.method, f"{where}, {decision.detail}")
    if exactly:
        raise UndecidedError("that the order of a matrix is not higher")
    return Decision(True, EXPANSION, f"{len(found.terms)} terms")
