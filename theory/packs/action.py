"""What a matrix expression of any size does to a vector on which its factors act by known numbers."""

from collections.abc import Mapping

import sympy
from sympy import Expr, Identity, MatAdd, MatMul, MatrixExpr

from theory.core.derivation import Step, zero_step
from theory.core.notation import without_powers

Rules = Mapping[tuple[MatrixExpr, MatrixExpr], tuple[Expr, MatrixExpr]]
"""``M v = c u`` for pairs of a matrix M, a symbol or its transpose, and a vector v."""


def acted(expr: MatrixExpr, vector: MatrixExpr, rules: Rules) -> tuple[Expr, MatrixExpr]:
    """``(c, u)`` with ``expr vector = c u``, by linearity and the rules; KeyError where they do not reach."""
    if isinstance(expr, Identity):
        return sympy.S.One, vector
    if isinstance(expr, MatAdd):
        parts = [acted(part, vector, rules) for part in expr.args]
        if len({target for _, target in parts}) != 1:
            raise KeyError(f"terms lead to different vectors: {expr}")
        return sympy.Add(*(number for number, _ in parts)), parts[0][1]
    expr = without_powers(expr)
    if isinstance(expr, MatMul):
        number, factors = expr.as_coeff_matrices()
        for factor in reversed(factors):
            value, vector = acted(factor, vector, rules)
            number = number * value
        return number, vector
    return rules[expr, vector]


def action_step(expr: MatrixExpr, vector: MatrixExpr, rules: Rules, wanted: Expr, why: str) -> Step:
    """A step: ``expr`` takes the vector to ``wanted`` times another one, for matrices of every size."""
    return zero_step(acted(expr, vector, rules)[0], wanted, why)
