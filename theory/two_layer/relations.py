"""Statement 5 (arXiv 2010.00578, two-layer networks): its symbols, and the relations that its derivations claim.

Columns ``w_1j`` (n_0), ``w_2j`` (n_2), a dot for their change under the flow; ``A_jk`` (n_0, n_0); a generic neuron j,
and k that is summed over.
"""

from typing import Any

from sympy import Basic, Expr, MatMul, MatrixExpr, Symbol, Transpose, ZeroMatrix

from theory.core.derivation import equation
from theory.core.notation import dimension, matrix

SLUG = "two-layer-dynamics"
ASSUMPTIONS = (
    "one hidden layer, no biases, gates fixed: one independent symbol per neuron and input",
    "x_1, x_+ independent augmentations of x, the negative an augmentation of an independent point of the same law",
    "the simple loss; one-branch update, half of the shared one",
)

N0, N1, N2 = dimension("0"), dimension("1"), dimension("2")
FIRST, SECOND = matrix("W_{1}", N1, N0), matrix("W_{2}", N2, N1)
OWN, OUT = matrix("w_{1j}", N0, 1), matrix("w_{2j}", N2, 1)
OTHER_OWN, OTHER_OUT = matrix("w_{1k}", N0, 1), matrix("w_{2k}", N2, 1)
OWN_RATE, OUT_RATE = matrix(r"\dot{w}_{1j}", N0, 1), matrix(r"\dot{w}_{2j}", N2, 1)
GATED = matrix(r"\tilde{x}_{j}", N0, 1)
A_JJ, A_JK = matrix("A_{jj}", N0, N0), matrix("A_{jk}", N0, N0)
LINEAR = r"A_{jk}|_{\psi(p)=p}"
"""``A_jk`` of linear neurons."""


class Rate(MatrixExpr):  # type: ignore[misc]
    """The derivative of a matrix by the time of the flow; prints as d/dt (...)."""

    @property
    def shape(self) -> tuple[Expr, Expr]:
        rows, columns = self.args[0].shape
        return rows, columns

    def _latex(self, printer: Any) -> str:
        return rf"\frac{{d}}{{dt}}\left({printer._print(self.args[0])}\right)"


def block_relations() -> tuple[Basic, ...]:
    """``d w_1j = sum_k (w_2j^T w_2k) A_jk w_1k``, ``d W_2 = W_2 Cov_x[E_aug f_1]``, and what A_jk is."""
    coupling = Symbol(r"\sum_{k} (w_{2j}^{\top} w_{2k})", real=True)
    mean = r"\mathbb{E}_{\mathrm{aug}}"
    hidden = matrix(rf"\operatorname{{Cov}}_{{x}}\left[{mean} f_{{1}}\right]", N1, N1)
    gated = rf"\operatorname{{Cov}}_{{x}}\left[{mean} \tilde{{x}}_{{j}}, {mean} \tilde{{x}}_{{k}}\right]"
    return (
        equation(OWN_RATE, MatMul(coupling, A_JK, OTHER_OWN)),
        equation(matrix(r"\dot{W}_{2}", N2, N1), SECOND * hidden),
        equation(A_JK, matrix(gated, N0, N0)),
    )


def decoupled_relations() -> tuple[Basic, ...]:
    """``d w_1j = ||w_2j||^2 A_jj w_1j``, ``d w_2j = (w_1j^T A_jj w_1j) w_2j``."""
    return (
        equation(OWN_RATE, A_JJ * OWN * (Transpose(OUT) * OUT)),
        equation(OUT_RATE, OUT * (Transpose(OWN) * A_JJ * OWN)),
    )


def conserved_relation() -> Basic:
    """``d/dt (||w_1j||^2 - ||w_2j||^2) = 0``."""
    return equation(Rate(Transpose(OWN) * OWN - Transpose(OUT) * OUT), ZeroMatrix(1, 1))
