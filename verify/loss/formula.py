"""A user's formula as a loss of scores: fast in torch, and exact in mpmath where floats overflow or cancel.

The text goes through the parser of `theory.losses` and is never evaluated as code.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import reduce
from typing import TYPE_CHECKING, Any

import mpmath
import torch
from torch import Tensor

from hltm.base.errors import InputError
from verify.loss.measure import NoTorchFormError, evaluate
from verify.loss.pairs import PARAMETERS, Setting

if TYPE_CHECKING:
    import sympy

DIGITS = 40


class Formula:
    """A loss of scores, one value for each row."""

    def __init__(self, text: str, parameters: Mapping[str, float]) -> None:
        from theory.losses.grammar import has_similarities
        from theory.losses.parameters import Parameter
        from theory.losses.parse import parse_loss

        extra = {name: number for name, number in parameters.items() if name not in PARAMETERS or name in text}
        declared = [
            Parameter(name, value=Fraction(str(number))) for name, number in sorted(extra.items()) if name != "margin"
        ]
        self.text = text
        self.expression: sympy.Expr = parse_loss(text, declared)
        self.kind = "half"
        if has_similarities(text):
            self.expression, self.kind = parse_loss(text, declared, similarities=True), "cosine"
        names = {str(symbol) for symbol in self.expression.free_symbols}
        numbers = [int(name[2:]) for name in names if name[2:].isdecimal() and name != "r_0"]
        self.negatives = max(numbers, default=1)
        several = sorted(name for name in names if name[:3] in ("r_p", "s_p") and name[3:])
        if several:
            raise InputError(f"{several[0]} in against={text[:60]!r}: conformance takes one positive, r_p or s_p")
        self._slopes: dict[str, sympy.Expr] | None = None

    def __call__(self, sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
        values = {symbol: self._plain(str(symbol), sp, sn, at) for symbol in self.expression.free_symbols}
        try:
            result = evaluate(self.expression, values) if values else sp.new_tensor(float(self.expression))
        except NoTorchFormError as error:
            raise InputError(f"against={self.text[:60]!r}: {error}") from error
        return result + 0 * sp

    def _plain(self, name: str, sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
        if name == "tau":
            return sp.new_tensor(at.tau)
        if name == "r_0":
            return sp.new_tensor(at.parameters["margin"])
        score = sp if name[2:] == "p" else sn[..., int(name[2:]) - 1]
        if name[0] == "s":
            return score
        return 1 - score if self.kind == "cosine" else -score

    def exact(self, sp: Tensor, sn: Tensor, at: Setting) -> tuple[Tensor, Tensor, Tensor]:
        """Values of the rows, and their derivatives with respect to the scores, rounded once."""
        values, near, far = torch.zeros_like(sp), torch.zeros_like(sp), torch.zeros_like(sn)
        slopes = self._derivatives()
        with mpmath.workdps(DIGITS):
            for row in range(len(sp)):
                numbers = {name: mpmath.mpf(float(self._plain(name, sp[row], sn[row], at))) for name in self._names()}
                done: dict[Any, Any] = {}
                values[row] = float(_in_mpmath(self.expression, numbers, done))
                for name, slope in slopes.items():
                    sign = 1 if name[0] == "s" else -1
                    number = sign * float(_in_mpmath(slope, numbers, done))
                    if name[2:] == "p":
                        near[row] += number
                    else:
                        far[row, int(name[2:]) - 1] += number
        return values, near, far

    def _names(self) -> list[str]:
        return sorted(str(symbol) for symbol in self.expression.free_symbols)

    def _derivatives(self) -> dict[str, sympy.Expr]:
        """Derivatives with respect to the distances and similarities."""
        if self._slopes is None:
            by_name = {str(symbol): symbol for symbol in self.expression.free_symbols}
            self._slopes = {
                name: self.expression.diff(symbol) for name, symbol in by_name.items() if name not in ("tau", "r_0")
            }
        return self._slopes


def _in_mpmath(expression: sympy.Expr, numbers: Mapping[str, Any], done: dict[Any, Any]) -> Any:
    """The value of an expression by a walk over its tree."""
    stack = [expression]
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
        elif node.is_Symbol:
            done[stack.pop()] = numbers[str(node)]
        elif node.is_Rational:
            done[stack.pop()] = mpmath.mpf(int(node.p)) / int(node.q)
        elif not node.args:
            done[stack.pop()] = node._to_mpmath(mpmath.mp.prec)
        elif missing := [a for a in node.args if a not in done]:
            stack += missing
        else:
            done[stack.pop()] = _applied(node, [done[a] for a in node.args])
    return done[expression]


def _applied(node: sympy.Expr, values: list[Any]) -> Any:
    name = type(node).__name__
    if name == "Pow":
        return mpmath.power(*values)
    if name in ("Add", "Mul"):
        return reduce(lambda a, b: a + b if name == "Add" else a * b, values)
    if name == "Heaviside":
        return mpmath.mpf((values[0] > 0) + 0.5 * (values[0] == 0))
    if name == "sign":
        return mpmath.sign(values[0])
    table = {
        "exp": mpmath.exp, "log": mpmath.log, "tanh": mpmath.tanh, "Abs": abs, "Max": max, "Min": min,
        "sinh": mpmath.sinh, "cosh": mpmath.cosh,
    }  # fmt: skip
    if name not in table:
        raise InputError(f"{name} in a formula has no number in mpmath")
    return table[name](*values)
