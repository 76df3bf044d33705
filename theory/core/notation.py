"""Symbols and LaTeX, one notation for every derivation (section 0 of the conventions; arXiv 2010.00578).

Plain amsmath: the derivations need no macro of their own.
"""

import re
from typing import Any

import sympy
from sympy import Expr, IndexedBase, MatMul, MatPow, MatrixExpr, MatrixSymbol, Symbol

H = Symbol("H", integer=True, positive=True)
"""Number of negatives."""
k = Symbol("k", integer=True, positive=True)
"""Index of a negative, summed over."""
j = Symbol("j", integer=True, positive=True)
"""Index of a negative, free: 1 <= j <= H."""
tau = Symbol("tau", positive=True)
"""Temperature."""
r_0 = Symbol("r_0", real=True)
"""Margin of the soft triplet loss."""
r_p = Symbol("r_p", nonnegative=True)
"""Squared distance of the positive pair, r_+; prints as r_{+}."""
r = IndexedBase("r", nonnegative=True)
"""Squared distances of the H negatives: ``r[k]``."""
pair_distance = Symbol("r", nonnegative=True)
"""Argument of a pair weight xi(r)."""

PREAMBLE = r"""\documentclass{article}
\usepackage{amsmath,amssymb}
\setlength{\oddsidemargin}{-1cm}\setlength{\textwidth}{18cm}
\allowdisplaybreaks
\begin{document}
"""
"""Start of a standalone document."""
END = "\\end{document}\n"
"""End of a standalone document."""

SYMBOL_NAMES = {r_p: "r_{+}"}
"""How symbols print that are not printed by their name."""


def negative(number: int) -> Symbol:
    """The squared distance ``r_1``, ``r_2``, ... of one negative, for an explicit number of them."""
    return Symbol(f"r_{number}", nonnegative=True)


def real(name: str) -> Symbol:
    """A real symbol whose name is LaTeX."""
    return Symbol(name, real=True)


def reals(names: str) -> list[Symbol]:
    """Real symbols, their names separated by spaces."""
    return [real(name) for name in names.split()]


def dimension(layer: str) -> Symbol:
    """The symbolic width ``n_{layer}``, a positive integer."""
    return Symbol(f"n_{{{layer}}}", integer=True, positive=True)


def matrix(name: str, rows: sympy.Expr | int, columns: sympy.Expr | int) -> MatrixSymbol:
    """A matrix symbol whose name is LaTeX."""
    return MatrixSymbol(name, rows, columns)


class Vec(MatrixExpr):  # type: ignore[misc]
    """``vec`` of a matrix expression: its columns stacked, entry (b, a) at index ``a * rows + b``."""

    @property
    def shape(self) -> tuple[sympy.Expr, sympy.Expr]:
        """Rows times columns, and 1."""
        rows, columns = self.args[0].shape
        return rows * columns, sympy.Integer(1)

    def _entry(self, i: sympy.Expr, _j: sympy.Expr, **_: object) -> sympy.Expr:
        rows = self.args[0].shape[0]
        return self.args[0][sympy.Mod(i, rows), sympy.floor(i / rows)]

    def _latex(self, printer: Any) -> str:
        return rf"\operatorname{{vec}}\left({printer._print(self.args[0])}\right)"


def without_powers(expr: MatrixExpr) -> MatrixExpr:
    """``A^3`` as the product ``A A A``; other expressions as they stand."""
    if isinstance(expr, MatPow) and expr.exp.is_Integer and expr.exp > 1:
        return MatMul(*[expr.base] * int(expr.exp))
    return expr


def plain(text: str) -> str:
    r"""Text that LaTeX sets as it stands."""
    special = {
        "\\": r"\textbackslash{}",
        "^": r"\^{}",
        "~": r"\~{}",
        "<": r"\ensuremath{<}",
        ">": r"\ensuremath{>}",
        "|": r"\ensuremath{|}",
        **{c: "\\" + c for c in "&%$#_{}"},
    }
    return re.sub(r"[\\^~<>|&%$#_{}]", lambda match: special[match.group()], text)


class Expect(MatrixExpr):  # type: ignore[misc]
    """The expectation of a random matrix; prints as E[...]."""

    @property
    def shape(self) -> tuple[Expr, Expr]:
        rows, columns = self.args[0].shape
        return rows, columns

    def _latex(self, printer: Any) -> str:
        return rf"\mathbb{{E}}\left[{printer._print(self.args[0])}\right]"


class Rate(MatrixExpr):  # type: ignore[misc]
    """The derivative of a matrix by the time of the flow; prints as d/dt (...)."""

    @property
    def shape(self) -> tuple[Expr, Expr]:
        rows, columns = self.args[0].shape
        return rows, columns

    def _latex(self, printer: Any) -> str:
        return rf"\frac{{d}}{{dt}}\left({printer._print(self.args[0])}\right)"


class SumOver(MatrixExpr):  # type: ignore[misc]
    """The sum of a matrix expression over a neuron k that is written generically; prints as sum_k."""

    @property
    def shape(self) -> tuple[Expr, Expr]:
        rows, columns = self.args[0].shape
        return rows, columns

    def _latex(self, printer: Any) -> str:
        return rf"\sum_{{k}} {printer._print(self.args[0])}"


class Covariance(MatrixExpr):  # type: ignore[misc]
    """``Cov_x[A, B] = E_x[A B^T] - E_x[A] E_x[B]^T`` over the points; prints as V_x[A] where A is B."""

    @property
    def shape(self) -> tuple[Expr, Expr]:
        first, second = self.args
        return first.shape[0], second.shape[0]

    def _latex(self, printer: Any) -> str:
        return _covariance_latex(self, printer, r"\mathbb{V}_{x}", r"\operatorname{Cov}_{x}")


class AugmentationCovariance(MatrixExpr):  # type: ignore[misc]
    """``E_x Cov_aug[A, B] = E[A B^T] - E[A (B')^T]``, B' at an independent augmentation of the same point."""

    @property
    def shape(self) -> tuple[Expr, Expr]:
        first, second = self.args
        return first.shape[0], second.shape[0]

    def _latex(self, printer: Any) -> str:
        names = r"\mathbb{V}_{\mathrm{aug}}", r"\operatorname{Cov}_{\mathrm{aug}}"
        return r"\mathbb{E}_{x}" + _covariance_latex(self, printer, *names)


def _covariance_latex(expr: MatrixExpr, printer: Any, own: str, name: str) -> str:
    first, second = expr.args
    if first == second:
        return rf"{own}\left[{printer._print(first)}\right]"
    return rf"{name}\left[{printer._print(first)}, {printer._print(second)}\right]"
