"""Statement 5 (arXiv 2010.00578, two-layer networks): its symbols, and the relations that its derivations claim.

Columns ``w_1j`` (n_0), ``w_2j`` (n_2), a dot for their change under the flow; ``A_jk`` (n_0, n_0); a generic neuron j,
and k that is summed over.
"""

from sympy import Basic, Transpose, ZeroMatrix

from theory.core.claim import equation
from theory.core.notation import Rate, SumOver, dimension
from theory.core.quantity import quantity

SLUG = "two-layer-dynamics"
ASSUMPTIONS = (
    "one hidden layer, no biases, gates fixed: one independent symbol per neuron and input",
    "x_1, x_+ independent augmentations of x, the negative an augmentation of an independent point of the same law",
    "the simple loss; one-branch update, half of the shared one",
)

N0, N1, N2 = dimension("0"), dimension("1"), dimension("2")
FIRST, SECOND = (
    quantity("weights", f"W_{{{layer}}}", *shape, where={"layer": layer})
    for layer, shape in ((1, (N1, N0)), (2, (N2, N1)))
)
OWN, OUT = (quantity("weights", f"w_{{{i}j}}", n, 1, where={"layer": i, "neuron": "j"}) for i, n in ((1, N0), (2, N2)))
OTHER_OWN, OTHER_OUT = (
    quantity("weights", f"w_{{{i}k}}", n, 1, where={"layer": i, "neuron": "k"}) for i, n in ((1, N0), (2, N2))
)
OWN_RATE, OUT_RATE = (
    quantity("rate", rf"\dot{{w}}_{{{i}j}}", n, 1, where={"layer": i, "neuron": "j"}) for i, n in ((1, N0), (2, N2))
)
SECOND_RATE = quantity("rate", r"\dot{W}_{2}", N2, N1, where={"layer": 2})
GATED = quantity("gated input", r"\tilde{x}_{j}", N0, 1, where={"neuron": "j"})
A_JJ, A_JK = (
    quantity("gated covariance", f"A_{{j{k}}}", N0, N0, where={"neuron": "j", "other": k}) for k in ("j", "k")
)
_MEAN = r"\mathbb{E}_{\mathrm{aug}}"
HIDDEN = quantity("hidden covariance", rf"\operatorname{{Cov}}_{{x}}\left[{_MEAN} f_{{1}}\right]", N1, N1)
COVARIANCE = quantity(
    "covariance of gated means",
    rf"\operatorname{{Cov}}_{{x}}\left[{_MEAN} \tilde{{x}}_{{j}}, {_MEAN} \tilde{{x}}_{{k}}\right]",
    N0, N0, where={"neuron": "j", "other": "k"},
)  # fmt: skip


def linear_covariance(size: object) -> object:
    """``A_jk`` of linear neurons."""
    return quantity("gated covariance", r"A_{jk}|_{\psi(p)=p}", size, size, where={"activation": "linear"})


def block_relations() -> tuple[Basic, ...]:
    """``d w_1j = sum_k A_jk w_1k (w_2j^T w_2k)``, ``d W_2 = W_2 Cov_x[E_aug f_1]``, and what A_jk is."""
    return (
        equation(OWN_RATE, SumOver(A_JK * OTHER_OWN * (Transpose(OUT) * OTHER_OUT))),
        equation(SECOND_RATE, SECOND * HIDDEN),
        equation(A_JK, COVARIANCE),
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
