"""A loss with many negatives as a loss with any number of them: sums of like terms become a sum over k = 1..H.

``log(1 + exp(r_p - r_1) + ... + exp(r_p - r_64))`` is ``log(1 + Sum(exp(r_p - r[k]), (k, 1, H)))`` at H = 64: what is
proved with symbolic H (statements 2 and 4 of arXiv 2010.00578) holds for it, and takes no 64 generators.
"""

import sympy
from sympy import Expr, Sum, Symbol

from theory.core.notation import H, k, r
from theory.losses.loss import Loss

FEW = 4
"""Up to this many negatives everything is written out."""
_DUMMY = Symbol("r_k", nonnegative=True)


def indexed_form(loss: Loss) -> Loss | None:
    """The loss with symbolic H, or None where its negatives do not enter by sums of like terms.

    Parameters
    ----------
    loss
        With more than ``FEW`` explicit negatives; for fewer nothing is gained.

    Source
    ------
    Statement 2; arXiv 2010.00578, Theorem 2.

    Examples
    --------
    >>> from theory.losses.loss import loss_of
    >>> text = "log(1" + "".join(f" + exp(r_p - r_{number})" for number in range(1, 9)) + ")"
    >>> indexed_form(loss_of(text)).expression
    log(Sum(exp(r_p - r[k]), (k, 1, H)) + 1)
    """
    if loss.negatives is None or len(loss.negatives) <= FEW:
        return None
    found = _indexed(loss.expression, frozenset(loss.negatives))
    return None if found is None else Loss(found, None, loss.name)


def at_number(expression: Expr, negatives: tuple[Symbol, ...], free: Expr | None = None, chosen: int = 1) -> Expr:
    """An expression with symbolic H written out for explicit negatives; the free one becomes the chosen one.

    Examples
    --------
    >>> a, b = sympy.symbols("r_1 r_2", nonnegative=True)
    >>> at_number(Sum(r[k], (k, 1, H)), (a, b))
    r_1 + r_2
    """
    if free is not None:
        expression = expression.xreplace({free: negatives[chosen - 1]})
    written = {
        node: sympy.Add(*(node.function.xreplace({r[node.limits[0][0]]: symbol}) for symbol in negatives))
        for node in expression.atoms(Sum)
    }
    return expression.xreplace(written).xreplace({H: sympy.Integer(len(negatives))})


def _indexed(node: Expr, negatives: frozenset[Symbol]) -> Expr | None:
    if not node.free_symbols & negatives:
        return node
    if not node.args:
        return None
    if isinstance(node, sympy.Add):
        return _indexed_sum(node, negatives)
    parts = [_indexed(argument, negatives) for argument in node.args]
    return None if any(part is None for part in parts) else node.func(*parts)


def _indexed_sum(node: sympy.Add, negatives: frozenset[Symbol]) -> Expr | None:
    """Terms that differ in their negative only, one for each negative, as one sum."""
    kept: list[Expr] = []
    groups: dict[Expr, set[Symbol]] = {}
    for term in node.args:
        inside = term.free_symbols & negatives
        if len(inside) == 1:
            (symbol,) = inside
            groups.setdefault(term.xreplace({symbol: _DUMMY}), set()).add(symbol)
        else:
            part = _indexed(term, negatives)
            if part is None:
                return None
            kept.append(part)
    if any(symbols != negatives for symbols in groups.values()):
        return None
    return sympy.Add(*kept, *(Sum(template.xreplace({_DUMMY: r[k]}), (k, 1, H)) for template in groups))
