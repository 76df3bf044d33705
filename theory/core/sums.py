"""Finite sums and products up to a symbolic bound: decided by induction, or by a closed form that is verified.

A closed form C of ``sum f(k), k = a..n`` comes from the claim or from SymPy; it counts only where ``C(a) = f(a)`` and
``C(n + 1) - C(n) = f(n + 1)`` are both proved. An inequality is proved from its first cases and from a difference that
is proved to be nonnegative. The upper end must not lie below the lower one by more than one; an empty sum is 0.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import sympy
from sympy import Basic, Dummy, Eq, Expr, Integer, Symbol

from theory.core.decide import ABSTAINED, SIMPLIFY, Decision
from theory.core.equality import decide_equal
from theory.core.networks import UndecidedError
from theory.core.order import decide_order
from theory.core.signs import sign_of

INDUCTION, CLOSED = "induction", "closed form verified by its difference"
STARTS = 3
STEP_LIMIT = 6
Node: TypeAlias = Any
"""A sum or a product."""


def flat(expr: Expr) -> Expr:
    """Powers and factorials of shifted arguments by those of the arguments themselves."""
    expr = expr.replace(sympy.binomial, lambda n, k: sympy.factorial(n) / sympy.factorial(k) / sympy.factorial(n - k))
    expr = expr.replace(sympy.factorial, _factorial)
    return sympy.expand(sympy.expand_func(sympy.expand_power_exp(expr)), power_base=False, log=False)


def _factorial(argument: Expr) -> Expr:
    shift, rest = argument.as_coeff_Add()
    if not shift.is_Integer or rest == 0 or abs(int(shift)) > STEP_LIMIT:
        return sympy.factorial(argument)
    product = sympy.factorial(rest)
    for number in range(1, int(shift) + 1):
        product *= rest + number
    for number in range(int(shift) + 1, 1):
        product /= rest + number
    return product


def same(left: Expr, right: Expr) -> bool:
    """Whether an identity in the bound is proved."""
    return left == right or decide_equal(flat(left), flat(right)).value is True


def single(node: Node) -> tuple[Expr, Symbol, Expr, Expr]:
    """Summand, index and ends of a sum over one index."""
    if len(node.limits) != 1 or len(node.limits[0]) != 3:
        raise UndecidedError("a sum over several indices or without ends")
    index, low, high = node.limits[0]
    return node.function, index, low, high


def is_symbolic(relation: Basic) -> bool:
    """Whether a relation has a sum or product whose ends are not numbers."""
    return any(
        not all(end.is_number for _, *ends in node.limits for end in ends)
        for node in relation.atoms(sympy.Sum, sympy.Product)
    )


# Closed forms.


def closed_form(node: Node) -> Expr:
    """The value of a sum whose closed form is verified; `UndecidedError` where there is none."""
    if len(node.limits) > 1:
        index, low, _ = node.limits[1]
        sign = {"positive": True} if low.is_positive else {"nonnegative": True} if low.is_nonnegative else {}
        known = Dummy(index.name, integer=True, **sign)  # the other index, where it runs
        inner = closed_form(node.func(node.function, node.limits[0]).xreplace({index: known}))
        return closed_form(node.func(inner.xreplace({known: index}), *node.limits[1:]))
    function, index, low, high = single(node)
    if low.is_Integer and high.is_Integer:
        if not -1 <= high - low <= 200:
            raise UndecidedError(f"a sum from {low} to {high}")
        return node.doit()
    infinite = high is sympy.oo
    if not infinite and (high - low + 1).is_nonnegative is not True:
        raise UndecidedError(f"{high} may lie below {low}: the sum is not known to have terms")
    last = Dummy("N", integer=True, positive=True)
    for candidate in _candidates(node, function, index, low, last):
        following = function.xreplace({index: last + 1})
        grown = candidate + following if isinstance(node, sympy.Sum) else candidate * following
        start = candidate.xreplace({last: low})
        if same(candidate.xreplace({last: last + 1}), grown) and same(start, function.xreplace({index: low})):
            if not infinite:
                return candidate.xreplace({last: high})
            from theory.core.asymptotics import limit_of

            return limit_of(sympy.Limit(flat(candidate), last, sympy.oo))
    raise UndecidedError(f"no closed form of {node!s:.60} that is verified")


def _candidates(node: Node, function: Expr, index: Symbol, low: Expr, last: Symbol) -> Iterator[Expr]:
    """What SymPy gives for a sum, without its degenerate cases."""
    try:
        found = node.func(function, (index, low, last)).doit()
    except (NotImplementedError, ValueError, TypeError, AttributeError, RecursionError, sympy.PolynomialError):
        return
    for piece in found.atoms(sympy.Piecewise):
        found = found.xreplace({piece: piece.args[-1][0]})
    if not found.has(sympy.Sum, sympy.Product, sympy.Integral, sympy.nan, sympy.oo, sympy.zoo):
        yield sympy.factor_terms(found)
        yield found


# Induction.


def decide_sums(relation: Basic) -> Decision:
    """Decide a relation with sums up to a symbolic bound: refuted by small bounds, proved by induction."""
    plain = decide_order(relation)
    if plain.value is False or (plain.value is True and plain.method != SIMPLIFY):
        return plain
    reason = plain.detail
    nodes = sorted(relation.atoms(sympy.Sum, sympy.Product), key=str)
    for n in sorted(
        {s for node in nodes for _, *ends in node.limits for end in ends for s in end.free_symbols}, key=str
    ):
        first = 1 if n.is_positive else 0 if n.is_nonnegative else None
        if not n.is_integer or first is None:
            reason = f"{n} is not known to be a positive or nonnegative integer"
            continue
        try:
            how = _by_induction(relation, nodes, n, first)
        except UndecidedError as missing:
            reason = str(missing)
            continue
        if how:
            return Decision(True, INDUCTION, how)
        reason = "neither the step of an induction nor a refuting point"
    return Decision(None, ABSTAINED, reason)


def extended(node: Node, n: Symbol, value: Expr) -> Expr:
    """The sum at n + 1, of its value at n."""
    function, index, low, high = single(node)
    if function.has(n):
        raise UndecidedError(f"a term of the sum that depends on {n}")
    steps = [sympy.expand(end.xreplace({n: n + 1}) - end) for end in (low, high)]
    if not all(step.is_Integer and 0 <= step <= STEP_LIMIT for step in steps):
        raise UndecidedError(f"the ends of a sum do not grow by whole steps of {n}")
    if steps[0] > steps[1]:
        raise UndecidedError(f"a sum that has fewer terms the larger {n} is")
    added = [function.xreplace({index: high + number}) for number in range(1, int(steps[1]) + 1)]
    dropped = [function.xreplace({index: low + number}) for number in range(int(steps[0]))]
    if isinstance(node, sympy.Product):
        return value * sympy.Mul(*added) / sympy.Mul(*dropped)
    return value + sympy.Add(*added) - sympy.Add(*dropped)


def at_number(expr: Basic, n: Symbol, number: int) -> Basic:
    """An expression at a bound, its sums written out."""
    written = expr.xreplace({n: Integer(number)})
    for node in written.atoms(sympy.Sum, sympy.Product):
        _, _, low, high = single(node)
        if not (low.is_Integer and high.is_Integer and high >= low - 1):
            raise UndecidedError(f"a sum from {low} to {high} where {n} = {number}")
    return written.doit()


def _by_induction(relation: Basic, nodes: list[Node], n: Symbol, first: int) -> str:
    if isinstance(relation, Eq):
        return _equal(relation, nodes, n, first)
    if isinstance(relation, sympy.Ge | sympy.Gt | sympy.Le | sympy.Lt):
        return _ordered(relation, nodes, n, first)
    return ""


def _equal(relation: Eq, nodes: list[Node], n: Symbol, first: int) -> str:
    names = {node: Dummy(f"T{number}") for number, node in enumerate(nodes)}
    gap = sympy.expand((relation.lhs - relation.rhs).xreplace(names))
    if len(nodes) == 1:
        (name,) = names.values()
        slope = gap.coeff(name, 1)
        rest = sympy.expand(gap - slope * name)
        if not rest.has(name) and not slope.has(name) and sign_of(slope)[0].nonzero:
            value = -rest / slope
            base = at_number(nodes[0], n, first)
            if same(value.xreplace({n: Integer(first)}), base) and same(
                value.xreplace({n: n + 1}), extended(nodes[0], n, value)
            ):
                return f"{n} = {first}, and the step from {n} to {n} + 1"
        return ""
    following = {name: extended(node, n, name) for node, name in names.items()}
    step = gap.xreplace({n: n + 1}).xreplace(following)
    if same(step, gap) and same(at_number(relation.lhs, n, first), at_number(relation.rhs, n, first)):
        return f"{n} = {first}, and the difference of both sides does not change from {n} to {n} + 1"
    return ""


def _ordered(relation: Basic, nodes: list[Node], n: Symbol, first: int) -> str:
    names = {node: Dummy(f"T{number}", real=True) for number, node in enumerate(nodes)}
    high, low = (relation.gts, relation.lts)
    strict = isinstance(relation, sympy.Gt | sympy.Lt)
    gap = sympy.expand((high - low).xreplace(names))
    following = {name: extended(node, n, name) for node, name in names.items()}
    growth = sympy.expand(gap.xreplace({n: n + 1}).xreplace(following) - gap)
    if growth.has(*names.values()):
        raise UndecidedError("the sum does not leave the difference of two steps")
    m = Dummy("m", integer=True, nonnegative=True)
    compare = sympy.Gt if strict else sympy.Ge
    for start in range(first, first + STARTS):
        value = at_number(high, n, start) - at_number(low, n, start)
        if decide_order(compare(value, 0, evaluate=False)).value is not True:
            return ""
        # Beyond the start the difference of both sides only grows.
        step = sympy.together(flat(growth.xreplace({n: m + start})))
        if decide_order(sympy.Ge(step, 0, evaluate=False)).value is True:
            cases = f"{n} = {first}" + (f", ..., {start}" if start > first else "")
            return f"{cases}, and the difference of both sides grows from there"
    return ""
