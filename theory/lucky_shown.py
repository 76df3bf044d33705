"""Statement 7 (arXiv 2010.00578, over-parametrisation): the law of a gap as it is shown.

The gap is ``sum_i c_i u_i`` with ``u_i`` iid uniform on [-1, 1]; its survival function is a sum over all signs.
"""

from typing import Any

import sympy
from sympy import Basic, Expr, IndexedBase, Product, Sum, Symbol

from theory.core.derivation import equation

NEURONS = Symbol("n", integer=True, positive=True)
"""Number of neurons that a neuron reads."""
_I = Symbol("i", integer=True, positive=True)
_RANGE = (_I, 1, NEURONS)
SIGN, SIZE = IndexedBase(r"\epsilon", real=True), IndexedBase("c", positive=True)


class OverSigns(Expr):  # type: ignore[misc]
    """The sum of an expression over all signs ``epsilon_i = -1, 1`` of n terms."""

    def _latex(self, printer: Any) -> str:
        return rf"\sum_{{\epsilon \in \{{-1, 1\}}^{{n}}}} \left[{printer._print(self.args[0])}\right]"

    def doit(self, **hints: Any) -> Expr:
        """The terms written out, for an explicit number of them."""
        inner = self.args[0].doit(**hints)
        signs = sorted((a for a in inner.atoms(sympy.Indexed) if a.base == SIGN), key=str)
        for sign in signs:
            inner = inner.xreplace({sign: sympy.Integer(1)}) + inner.xreplace({sign: sympy.Integer(-1)})
        return inner


def law_relations() -> tuple[Basic, ...]:
    """``P(g_j >= t)`` as a sum over signs of truncated powers, and the sizes c_i = 2 b |a_i| of its terms."""
    t, b, entry = sympy.symbols(r"t b a_{i}", real=True)
    reach = Sum(SIGN[_I] * SIZE[_I], _RANGE) - t
    signed = OverSigns(Product(SIGN[_I], _RANGE) * sympy.Max(reach, 0) ** NEURONS)
    scale = 2**NEURONS * sympy.factorial(NEURONS) * Product(SIZE[_I], _RANGE)
    return (
        equation(Symbol(r"\mathbb{P}[g_{j} \ge t]", real=True), signed / scale),
        equation(SIZE[_I], 2 * b * sympy.Abs(entry)),
    )
