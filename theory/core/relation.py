"""Decide a relation of any kind: what a user's statement claims.

Orders, limits, finite sums, expectations and integrals are replaced by what a sound method gives for them; what is left
is decided as an equation or an inequality. A node for which no method is sound stays, and the decision abstains with
its name.
"""

import sys
from collections.abc import Callable
from typing import Any

import sympy
from sympy import Basic, Eq, Expr

from theory.core.asymptotics import EXPANSION, OrderClaim, decide_order_claim, limit_of, order_claim
from theory.core.decide import ABSTAINED, POINT, Decision, combine
from theory.core.gaussian import GAUSSIAN, GaussianMean, gaussian_value
from theory.core.networks import UndecidedError
from theory.core.order import decide_order
from theory.core.order import decide_relation as decide_plain
from theory.core.sums import CLOSED, closed_form, decide_sums, is_symbolic

REPLACED: tuple[tuple[type[Basic], str, Callable[[Basic], Expr]], ...] = (
    (sympy.Limit, EXPANSION, limit_of),
    (sympy.Sum, CLOSED, closed_form),
    (sympy.Product, CLOSED, closed_form),
    (GaussianMean, GAUSSIAN, gaussian_value),
)
"""Nodes that have a value by a sound method: their kind, the method, and what gives the value."""


def decide_relation(relation: Basic) -> Decision:
    """Decide an equation, an inequality, or any other relation that a statement claims.

    Parameters
    ----------
    relation
        ``Eq`` of scalars, matrices or tuples (with ``sympy.Order`` on one side, ``sympy.Limit`` anywhere), ``Ge``,
        ``Gt``, ``Le``, ``Lt``, ``Ne`` of real scalars, a `PositiveSemidefinite` or an `OrderClaim`.

    Returns
    -------
    Decision
        True by proof, False with a witness in its detail, None where no sound method decides.

    Source
    ------
    Claims of users.

    Examples
    --------
    >>> x = sympy.Symbol("x", real=True)
    >>> decide_relation(sympy.Eq(sympy.Tuple(1, x), sympy.Tuple(1, 2 * x), evaluate=False)).detail
    'part 2: 1 terms remain; at x = 3: left - right = -3'
    """
    try:
        return _decide(relation)
    except UndecidedError as missing:
        return Decision(None, ABSTAINED, str(missing))


def _decide(relation: Basic) -> Decision:
    if isinstance(relation, Eq) and all(isinstance(side, sympy.Tuple) for side in relation.args):
        return _decide_tuples(*relation.args)
    if isinstance(relation, OrderClaim):
        return decide_order_claim(relation)
    if isinstance(relation, Eq) and relation.has(sympy.Order):
        return decide_order_claim(order_claim(relation))
    if isinstance(relation, sympy.Rel):
        if relation.has(sympy.Integral) and relation.has(sympy.Sum, sympy.Product):
            raise UndecidedError("an integral beside a sum: it is not carried out")
        if is_symbolic(relation) and not relation.has(sympy.Limit, sympy.oo):
            decision = decide_sums(relation)
            if decision.value is not None:
                return decision
        written, methods = carried_out(relation)
        if methods:
            return _decide_written(written, methods)
        return decide_order(relation)
    return decide_plain(relation)


def carried_out(relation: Basic) -> tuple[Basic, list[str]]:
    """The relation with the values of its limits, sums, expectations and integrals, and the methods that gave them."""
    methods: list[str] = []
    relation = without_random_symbols(relation)
    for _ in range(len(list(sympy.preorder_traversal(relation)))):
        nodes = [(node, row) for row in REPLACED for node in relation.atoms(row[0])]
        inner = [(node, row) for node, row in nodes if not any(node.has(other) for other, _ in nodes if other != node)]
        if not inner:
            break
        node, (_, method, value) = min(inner, key=lambda pair: str(pair[0]))
        put = {node: value(node)}
        relation = relation.func(*(side.xreplace(put) for side in relation.args), evaluate=False)
        methods.append(method)
    return relation, list(dict.fromkeys(methods))


def without_means(relation: Basic) -> Basic:
    """The relation with closed forms for its expectations, where they have one; for values on an instance."""
    try:
        relation = without_random_symbols(relation)
        for _ in range(len(relation.atoms(GaussianMean))):
            inner = [node for node in relation.atoms(GaussianMean) if not node.args[0].has(GaussianMean)]
            put = {node: gaussian_value(node) for node in inner}
            relation = relation.func(*(side.xreplace(put) for side in relation.args), evaluate=False)
    except UndecidedError:
        pass
    return relation


def without_random_symbols(relation: Basic) -> Basic:
    """Expectations of `sympy.stats` over independent normal variables as `GaussianMean`."""
    stats = sys.modules.get("sympy.stats")
    if stats is None:
        return relation
    means = {}
    for node in relation.atoms(stats.symbolic_probability.Expectation):
        expr = node.args[0]
        for variable in sorted(expr.atoms(stats.rv.RandomSymbol), key=str):
            law: Any = getattr(variable.pspace, "distribution", None)
            alone = isinstance(variable.pspace, stats.rv.SinglePSpace)
            if len(node.args) > 1 or not alone or type(law).__name__ != "NormalDistribution":
                raise UndecidedError(f"the law of {variable} is not normal, or has a condition")
            x = sympy.Dummy(variable.symbol.name, real=True)
            expr = GaussianMean(expr.xreplace({variable: x}), x, law.mean, law.std)
        means[node] = expr
    if not means:
        return relation
    return relation.func(*(side.xreplace(means) for side in relation.args), evaluate=False)


def _decide_written(relation: Basic, methods: list[str]) -> Decision:
    infinite = [side.is_infinite for side in relation.args]
    if isinstance(relation, Eq) and any(infinite):
        same = relation.lhs == relation.rhs
        if not same and not all(side.is_infinite or side.is_finite for side in relation.args):
            raise UndecidedError("whether a side is finite is not known")
        decision = Decision(same, methods[0], "" if same else f"left = {relation.lhs}, right = {relation.rhs}")
    else:
        decision = decide_plain(relation)
    if decision.value is True:
        return Decision(True, ", ".join(dict.fromkeys([*methods, decision.method])), decision.detail)
    if decision.value is False:
        shown = ", ".join(f"{name} = {side!s:.60}" for name, side in zip(("left", "right"), relation.args, strict=True))
        detail = decision.detail if "left" in decision.detail else f"{decision.detail}, {shown}"
        return Decision(False, POINT, f"by {', '.join(methods)}: {detail}")
    return decision


def _decide_tuples(left: sympy.Tuple, right: sympy.Tuple) -> Decision:
    """Tuples are equal if they have as many parts, each equal to its partner."""
    if len(left) != len(right):
        return Decision(False, "shapes", f"left has {len(left)} parts, right has {len(right)}")
    decisions = []
    for number, sides in enumerate(zip(left, right, strict=True), start=1):
        decision = decide_relation(Eq(*sides, evaluate=False))
        if not decision:
            decision = Decision(decision.value, decision.method, f"part {number}: {decision.detail}")
        decisions.append(decision)
    return combine(decisions) if decisions else Decision(None, ABSTAINED, "two empty tuples are compared")
