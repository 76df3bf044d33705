"""Shared by statements 3 and 4: letters with their shapes and their display.

The letters are K (connection), f (output), their means over augmentations, their zero-mean deviations, and
vec W (arXiv 2010.00578, sections of Theorems 3 and 4).
"""

from sympy import MatrixExpr, ZeroMatrix

from theory.core.alphabet import Alphabet, Kind
from theory.core.expectation import CONSTANT, Moment, letter
from theory.core.notation import Vec, dimension
from theory.core.quantity import quantity

SIZE = dimension("l") * dimension("l-1")
N_TOP = dimension("L")
_HERE = {"layer": "l"}
WEIGHT = Vec(quantity("weights", "W_{l}", dimension("l"), dimension("l-1"), where=_HERE))
GRADIENT = quantity("expected gradient", r"\mathbb{E}\left[\nabla_{W_{l}} L\right]", SIZE, 1, where=_HERE)
GRADIENT_SIMPLE = quantity(
    "expected gradient",
    r"\mathbb{E}\left[\nabla_{W_{l}} L_{\mathrm{simp}}\right]",
    SIZE,
    1,
    where={"loss": "simple", **_HERE},
)
V_PLAIN = quantity("covariance operator", r"\mathbb{V}_{x}\left[\bar{K}_{l}(x)\right]", SIZE, SIZE, where=_HERE)
COVARIANCE = quantity(
    "covariance", r"\operatorname{Cov}_{x}\left[\bar{K}_{l}(x), \bar{f}_{L}(x)\right]", SIZE, 1, where=_HERE
)


def connections(role: str, name: str) -> Kind:
    """A letter of the shape of a connection."""
    return Kind(role, name, (SIZE, N_TOP), {"layer": "l"})


def outputs(role: str, name: str) -> Kind:
    """A letter of the shape of an output."""
    return Kind(role, name, (N_TOP, 1), {"layer": "L"})


ALPHABET = Alphabet(
    {
        "K": connections("connection", "K_{l}"),
        "Kbar": connections("mean connection", r"\bar{K}_{l}"),
        "K0": connections("connection of the point itself", "K_{l}"),
        "kappa": connections("deviation of the connection", r"\kappa_{l}"),
        "f": outputs("output", "f_{L}"),
        "fbar": outputs("mean output", r"\bar{f}_{L}"),
        "f0": outputs("output of the point itself", "f_{L}"),
        "phi": outputs("deviation of the output", r"\varphi"),
        "b": outputs("bias of the augmentation", "b"),
        CONSTANT: Kind("weights", fixed=WEIGHT),
    },
    {dimension("l"): 2, dimension("l-1"): 1, N_TOP: 2},
)
"""The letters of statements 3 and 4."""
SHAPES = ALPHABET.shapes
factored, read_as, moment_step = ALPHABET.factored, ALPHABET.read_as, ALPHABET.step
letter_of = ALPHABET.meaning


def shown(moment: Moment) -> MatrixExpr:
    """The expectation of a moment as a SymPy matrix expression, a column of zeros of the empty one."""
    return ALPHABET.shown(moment) if moment.terms else ZeroMatrix(SIZE, 1)


def plain_pair(first: tuple[str, str], second: tuple[str, str], convention: str) -> Moment:
    """``(K_1 - K_2)(f_1 - f_2)``, or ``K_1 (f_1 - f_2)`` for one branch; copy "" is not augmented."""
    left, right = pair_factors(first, second, convention)
    return left * right


def pair_factors(first: tuple[str, str], second: tuple[str, str], convention: str) -> tuple[Moment, Moment]:
    """The two factors of ``plain_pair``."""
    sides = [(letter("K" if c else "K0", p, c), letter("f" if c else "f0", p, c)) for p, c in (first, second)]
    left = sides[0][0] - sides[1][0] if convention == "shared" else sides[0][0]
    return left, sides[0][1] - sides[1][1]


def with_homogeneity(moment: Moment) -> Moment:
    """Replace the output by ``K^T vec W``, augmented, averaged or not."""
    for output, connection in (("f", "K"), ("fbar", "Kbar"), ("f0", "K0"), ("phi", "kappa")):
        moment = moment.replaced(output, ((connection, True), (CONSTANT, False)))
    return moment
