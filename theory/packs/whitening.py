r"""Whitened invariance: VICReg, Barlow Twins and CCA of a linear layer (Balestriero and LeCun, arXiv 2205.11508).

``f = W x`` minimises ``J = E||f(x_1) - f(x_+)||^2`` under ``Cov[f] = I``. With the covariance ``Sigma`` of the inputs
and ``B = V_x[xbar]`` of their means over augmentations, ``min J = 2 sum_j (1 - mu_j)``, where mu_j are the largest
eigenvalues of ``B v = mu Sigma v``: the canonical correlations of two views.
"""

from collections.abc import Callable

import sympy
from sympy import Basic, Identity, Inverse, Symbol, Trace, Transpose

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation, reading
from theory.core.decide import Decision
from theory.core.derivation import Derivation, Step, concluded
from theory.core.expectation import Law
from theory.core.notation import Covariance
from theory.core.order import decide_relation
from theory.core.quantity import quantity, slack_symbol
from theory.core.reading import identity_reading, with_meanings
from theory.towers.dual_gradient import identity_step

INDEPENDENT = "x_1 and x_+ are independent augmentations of x"
WHITE = "Cov[f] = W Sigma W^T = I, and Sigma is invertible"
KY_FAN = "Ky Fan's theorem (1949): tr(Y A Y^T) is at most the sum of the d largest eigenvalues of A where Y Y^T = I"
CANONICAL = "the rows of W are eigenvectors of B v = mu Sigma v with W Sigma W^T = I"

OUT, IN = (Symbol(name, integer=True, positive=True) for name in ("d", "m"))
WEIGHT = quantity("weights", "W", OUT, IN)
GAPS = quantity("second moment of the difference of two views", "D", OUT, OUT)
LETTERS = Alphabet(
    {
        "x": Kind("input", "x", (IN, 1)),
        "xbar": Kind("mean input", r"\bar{x}", (IN, 1)),
        "W": Kind("weights", fixed=WEIGHT),
    },
    {IN: 2, OUT: 2},
)
LAW = Law(means={"x": "xbar"})


def difference() -> Derivation:
    """``E[(f(x_1) - f(x_+)) (f(x_1) - f(x_+))^T] = 2 W (Cov[x] - V_x[xbar]) W^T``."""
    one, other = (LETTERS.moment("x", "x", copy) for copy in ("1", "2"))
    gap = LETTERS.moment("W") * (one - other)
    x, mean = LETTERS.symbol("x", "x", "1"), LETTERS.symbol("xbar")
    right = 2 * WEIGHT * (Covariance(x, x) - Covariance(mean, mean)) * WEIGHT.T
    average = LETTERS.moment("xbar")
    why = "tower rule: x_1 and x_+ are independent given x"
    step = LETTERS.step(one * other.transposed(), average * average.transposed(), LAW, why)
    read = LETTERS.read_as({GAPS: gap * gap.transposed()}, LAW)
    text = "E[(f - f_+)(f - f_+)^T] = 2 W (Cov[x] - V_x[xbar]) W^T"
    return derived(text, (equation(GAPS, right),), [step], read)


SIGMA = quantity("covariance of the inputs", r"\Sigma", IN, IN)
BETWEEN = quantity("covariance of the mean inputs", "B", IN, IN)
CORRELATIONS = quantity("largest canonical correlations", "M", OUT, OUT)
NEXT = quantity("next canonical correlation", r"\mu_{d+1}", nonnegative=True)
OBJECTIVE = quantity("invariance", "J")


def objective(weight: Basic = WEIGHT, turned: Basic | None = None, between: Basic = BETWEEN) -> Basic:
    """``tr E[(f - f_+)(f - f_+)^T] = 2 tr(W (Sigma - B) W^T)``."""
    return 2 * Trace(weight * (SIGMA - between) * (Transpose(weight) if turned is None else turned))


def bound() -> Derivation:
    """``J >= 2 sum_j (1 - mu_j)`` for every W with ``W Sigma W^T = I``; M is diagonal with the d largest mu_j."""
    kept = Trace(WEIGHT * BETWEEN * WEIGHT.T)
    least = 2 * OUT - 2 * Trace(CORRELATIONS)
    relations = (
        equation(OBJECTIVE, least + 2 * (Trace(CORRELATIONS) - kept)),
        sympy.Ge(OBJECTIVE, least, evaluate=False),
    )
    white = quantity("covariance of the outputs", "C", OUT, OUT)
    steps = [
        identity_step(
            objective(),
            2 * Trace(white) - 2 * kept,
            "the trace of the second moment",
            {white: WEIGHT * SIGMA * WEIGHT.T},
        ),
        identity_step(2 * Trace(white) - 2 * kept, 2 * OUT - 2 * kept, "Cov[f] = I", {white: Identity(OUT)}),
    ]
    by_matrices = identity_reading({OBJECTIVE: 2 * OUT - 2 * kept})
    # Ky Fan with Y = W Sigma^(1/2): sum_j mu_j - tr(W B W^T) is not negative.
    bounded = {OBJECTIVE: least + 2 * slack_symbol("s")}

    def decide(relation: Basic) -> Decision:
        if isinstance(relation, sympy.Equality):
            return by_matrices(Claim("", (relation,)))
        return decide_relation(with_meanings(relation, bounded))

    text = "J = 2 sum (1 - mu_j) + 2 (sum mu_j - tr(W B W^T)) >= 2 sum (1 - mu_j)"
    return derived(text, relations, steps, reading(decide), (WHITE, KY_FAN))


BEST = quantity("whitened eigenvectors", r"W_{\star}", OUT, IN)
LEAST = quantity("invariance of the eigenvectors", r"J_{\star}")


def minimum() -> Derivation:
    """``J = 2 tr(I - M)`` where the rows of W are whitened eigenvectors, ``B W^T = Sigma W^T M``."""
    relations = (
        equation(LEAST, 2 * Trace(Identity(OUT) - CORRELATIONS)),
        equation(BETWEEN * BEST.T, SIGMA * BEST.T * CORRELATIONS),
    )
    # W^T is a basis Z, and W its dual in the scalar product Sigma; they are transposes where Z^T Sigma Z = I.
    basis, rest = quantity("basis", "Z", IN, OUT), quantity("any matrix", "R", IN, IN)
    dual = Inverse(basis.T * SIGMA * basis) * basis.T
    beside, across = Identity(IN) - SIGMA * basis * dual, Identity(IN) - basis * dual * SIGMA
    between = SIGMA * basis * CORRELATIONS * dual * SIGMA + beside * rest * across
    meanings = {Transpose(BEST): basis, BEST: dual, BETWEEN: between}
    step = identity_step(dual * SIGMA * basis, Identity(OUT), "W Sigma W^T = I")
    read = identity_reading({LEAST: objective(dual, basis, between), **meanings})
    text = "B W^T = Sigma W^T M, W Sigma W^T = I: J = 2 sum (1 - mu_j)"
    return derived(text, relations, [step], read, (WHITE, CANONICAL))


def derived(
    text: str, relations: tuple[Basic, ...], steps: list[Step], read: Reading, further: tuple[str, ...] = ()
) -> Derivation:
    """A derivation of this pack: the claim is its last step."""
    return concluded("whitening", Claim(text, relations, (INDEPENDENT, *further)), steps, read)


_DERIVED: dict[str, Callable[[], Derivation]] = {"difference": difference, "bound": bound, "minimum": minimum}
PARTS: tuple[str, ...] = tuple(_DERIVED)
"""The formulas."""


def derive(part: str = PARTS[0]) -> Derivation:
    """Derive one formula of the pack."""
    return _DERIVED[part]()
