"""A loss of `theory` in torch: a walk over the SymPy tree that knows a handful of functions and evaluates no text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sympy
    from torch import Tensor


class NoTorchFormError(Exception):
    """The expression holds a function that the walk does not know."""


def evaluate(expression: sympy.Expr, values: Mapping[sympy.Symbol, Tensor]) -> Tensor:
    """The value of an expression, differentiable, at tensors that broadcast.

    Parameters
    ----------
    expression : sympy.Expr
        Of numbers, symbols, sums, products, powers, exp, log, Max, Heaviside.
    values : mapping
        A tensor for each symbol.

    Raises
    ------
    NoTorchFormError
        Another function, a symbol without a value, or a number beyond the range of floats.

    Examples
    --------
    >>> import sympy, torch
    >>> x = sympy.Symbol("x")
    >>> evaluate(sympy.exp(x) + sympy.Rational(1, 2), {x: torch.zeros(1)})
    tensor([1.5000])
    """
    (found,) = evaluate_all([expression], values)
    return found


def evaluate_all(expressions: Sequence[sympy.Expr], values: Mapping[sympy.Symbol, Tensor]) -> list[Tensor]:
    """The values of several expressions; what they have in common is computed once."""
    done: dict[Any, Tensor] = {}
    stack = [*expressions]
    like = next(iter(values.values()))
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
        elif node in values:
            done[stack.pop()] = values[node]
        elif node.is_Rational or (node.is_number and not node.args):
            done[stack.pop()] = like.new_tensor(_number(node))
        elif not node.args:
            raise NoTorchFormError(f"{node} has no value")
        elif missing := [argument for argument in node.args if argument not in done]:
            stack += missing
        else:
            done[stack.pop()] = _applied(node, [done[argument] for argument in node.args])
    return [done[expression] for expression in expressions]


def _number(node: sympy.Expr) -> float:
    try:
        number = float(node)
    except (OverflowError, TypeError, ValueError):
        number = math.inf
    if not math.isfinite(number):
        raise NoTorchFormError("a number is beyond the range of floats")
    return number


def _applied(node: sympy.Expr, arguments: list[Tensor]) -> Tensor:
    """One operation on values."""
    import sympy
    import torch

    if isinstance(node, sympy.Pow):
        return _power(node, arguments)
    if isinstance(node, sympy.Heaviside):
        # Its second argument is the value at 0.
        return torch.heaviside(arguments[0].detach(), arguments[1].to(arguments[0]))
    table: dict[Any, Callable[[list[Tensor]], Tensor]] = {
        sympy.Add: lambda a: reduce(torch.add, a),
        sympy.Mul: lambda a: reduce(torch.mul, a),
        sympy.exp: lambda a: a[0].exp(),
        sympy.log: lambda a: a[0].log(),
        sympy.Max: lambda a: reduce(torch.maximum, a),
        sympy.Min: lambda a: reduce(torch.minimum, a),
    }
    for kind, apply in table.items():
        if isinstance(node, kind):
            return apply(arguments)
    raise NoTorchFormError(f"{type(node).__name__} has no form in torch")


def _power(node: sympy.Pow, arguments: list[Tensor]) -> Tensor:
    import sympy

    base, exponent = node.args
    if base is sympy.E:
        return arguments[1].exp()
    if exponent == sympy.Rational(1, 2):
        return arguments[0].sqrt()
    if exponent.is_Integer:
        return arguments[0] ** int(exponent)
    return arguments[0] ** arguments[1]
