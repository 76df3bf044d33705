"""The flow of the outputs: gradient flow of the simple and of the covariance loss in function space.

With all parameters ``theta`` moving by ``-E[grad L]``, an output moves by the tangent kernel ``Theta(z, x) = K(z)^T
K(x)``, ``K = (df/dtheta)^T``: ``df(z)/dt = 2 Cov_x[Thetabar(z, x), fbar(x)]`` for the simple loss, shared convention.
It holds for every differentiable network, and is decided by the moment algebra.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sympy import Basic, MatAdd, MatMul, MatrixExpr, Symbol, Transpose

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation
from theory.core.derivation import Derivation, Step, concluded
from theory.core.expectation import Law, Moment
from theory.core.notation import Covariance, Expect
from theory.core.quantity import quantity
from theory.core.reading import Meaning, moment_reading
from theory.packs.covariance_loss import BETA, XI, minus, weight, weight_symbol
from theory.towers.moment_steps import N_TOP

FLOW = "all parameters follow the gradient flow of the expected loss"
INDEPENDENT = "x_1 and x_+ are independent augmentations of x, and x_- is one of an independent x' of the same law"
DIFFERENTIABLE = "the network is differentiable in its parameters"
HELD = "symmetric pair weights of the two points, held fixed while differentiating"

PARAMETERS = Symbol(r"n_{\theta}", integer=True, positive=True)
AT_Z = quantity("connection of all parameters at z", r"K_{\theta}(z)", PARAMETERS, N_TOP)
LETTERS = Alphabet(
    {
        "K": Kind("connection of all parameters", r"K_{\theta}", (PARAMETERS, N_TOP)),
        "Kbar": Kind("mean connection of all parameters", r"\bar{K}_{\theta}", (PARAMETERS, N_TOP)),
        "f": Kind("output", "f", (N_TOP, 1)),
        "fbar": Kind("mean output", r"\bar{f}", (N_TOP, 1)),
        "Kz": Kind("connection of all parameters at z", fixed=AT_Z),
        "beta": Kind("within-pair strength", fixed=BETA),
    },
    {PARAMETERS: 2, N_TOP: 2},
)
LAW = Law(means={"K": "Kbar", "f": "fbar"}, symmetric={XI: 1})
L = LETTERS.moment
OUTPUT_RATE = quantity("rate of the output at z", r"\frac{d}{dt} f(z)", N_TOP, 1, where={"loss": "simple"})
WEIGHTED_RATE = quantity("rate of the output at z", r"\frac{d}{dt} f(z)", N_TOP, 1, where={"loss": "covariance"})
LOSS_RATE = quantity("rate of the expected loss", r"\frac{d}{dt} \mathbb{E}\left[L\right]", 1, 1)


def kernel(name: str, point: str = "x", copy: str = "") -> Any:
    """The tangent kernel of z and a view, or its mean over the augmentations of a point."""
    where = {"point": point, "copy": copy}
    role, printed = ("mean tangent kernel", r"\bar{\Theta}") if name == "Kbar" else ("tangent kernel", r"\Theta")
    place = {"": point, "1": f"{point}_{{1}}"}[copy]
    return quantity(role, f"{printed}(z, {place})", N_TOP, N_TOP, where=where)


_VIEWS = (("K", ("x", "1")), ("Kbar", ("x", "")), ("Kbar", ("x'", "")))
KERNELS = {kernel(name, *at): (name, at) for name, at in _VIEWS}


def symbol(name: str, point: str = "x", copy: str = "") -> Any:
    """The typed symbol of a letter."""
    return LETTERS.symbol(name, point, copy)


def gap(name: str, first: tuple[str, str], second: tuple[str, str]) -> Moment:
    """The difference of a letter at two views."""
    return L(name, *first) - L(name, *second)


ONE, PLUS, MINUS = ("x", "1"), ("x", "2"), ("x'", "1")
NEAR = gap("K", ONE, PLUS) * gap("f", ONE, PLUS)
FAR = gap("K", ONE, MINUS) * gap("f", ONE, MINUS)
FALLS = FAR - NEAR
"""``-grad (r_+ - r_-)`` by all parameters."""
WEIGHTED_FALLS = weight() * (FAR - (Moment.of() + L("beta")) * NEAR)
THROUGH = L("Kz").transposed()


def covariance() -> Moment:
    """``Cov_x[Kbar, fbar]`` by independent points."""
    return L("Kbar") * (L("fbar") - L("fbar", "y"))


@dataclass(frozen=True)
class Part:
    """One formula: relations, what its symbols stand for, what is assumed, and its steps."""

    text: str
    relations: tuple[Basic, ...]
    meanings: Mapping[Any, Moment]
    assumptions: tuple[str, ...]
    steps: Callable[[], list[Step]]

    def read(self) -> Reading:
        """The reading of its claims; a kernel is ``K(z)^T K(x)``."""

        def meaning(expr: Any) -> Meaning | None:
            if expr in self.meanings:
                return self.meanings[expr], True
            if expr == weight_symbol():
                return weight(), False
            if expr in KERNELS:
                name, at = KERNELS[expr]
                return THROUGH * L(name, *at), False
            return LETTERS.meaning(expr)

        return moment_reading(meaning, LAW, LETTERS.shapes)


def update_steps() -> list[Step]:
    """The general form of statement 3, for all parameters at once."""
    why = "statement 3 in its general form, all parameters in one column: -E[grad] = 2 Cov_x[Kbar, fbar]"
    chain = "chain rule: df(z)/dt = K(z)^T dtheta/dt"
    return [
        LETTERS.step(FALLS, covariance().scaled(2), LAW, why),
        LETTERS.step(THROUGH * FALLS, (THROUGH * covariance()).scaled(2), LAW, chain),
    ]


def weighted_steps() -> list[Step]:
    """The general form of the covariance loss."""
    spread = weight() * (L("K", *ONE) - L("Kbar")) * (L("f", *ONE) - L("fbar"))
    means = weight() * (L("Kbar") - L("Kbar", "x'")) * (L("fbar") - L("fbar", "x'"))
    why = "the covariance loss in its general form, all parameters in one column"
    return [LETTERS.step(WEIGHTED_FALLS, means - L("beta") * spread.scaled(2), LAW, why)]


def _parts() -> Mapping[str, Part]:
    between = minus(kernel("Kbar"), kernel("Kbar", "x'"))
    apart = minus(symbol("fbar"), symbol("fbar", "x'"))
    within = minus(kernel("K", "x", "1"), kernel("Kbar"))
    deviation = minus(symbol("f", "x", "1"), symbol("fbar"))
    drift: MatrixExpr = Covariance(symbol("Kbar"), Transpose(symbol("fbar")))
    fall = covariance().scaled(2)
    simple = (FLOW, INDEPENDENT, DIFFERENTIABLE)
    return {
        "flow": Part(
            "df(z)/dt = 2 Cov_x[Thetabar(z, x), fbar(x)]: outputs move by the kernel's covariance with the outputs",
            (equation(OUTPUT_RATE, MatMul(2, Covariance(kernel("Kbar"), Transpose(symbol("fbar"))))),),
            {OUTPUT_RATE: THROUGH * FALLS}, simple, update_steps,
        ),
        "descent": Part(
            "dE[L]/dt = -4 ||Cov_x[Kbar, fbar]||^2: the loss stands still where no parameter's effect varies with fbar",
            (equation(LOSS_RATE, MatMul(-4, Transpose(drift), drift)),),
            # -||E[grad]||^2, each factor by the first step, at points of its own.
            {LOSS_RATE: (fall.transposed() * fall.apart_from(fall)).scaled(-1)}, simple, update_steps,
        ),
        "weighted": Part(
            "covariance loss: E[xi (Thetabar(z,x) - Thetabar(z,x'))(fbar - fbar')] - 2 beta E[xi Cov_aug[Theta, f]]",
            (
                equation(
                    WEIGHTED_RATE,
                    MatAdd(
                        Expect(MatMul(weight_symbol(), between, apart)),
                        MatMul(-2 * BETA, Expect(MatMul(weight_symbol(), within, deviation))),
                    ),
                ),
            ),
            {WEIGHTED_RATE: THROUGH * WEIGHTED_FALLS}, (*simple, HELD), weighted_steps,
        ),
    }  # fmt: skip


PARTS: tuple[str, ...] = ("flow", "descent", "weighted")
"""The formulas."""


@cache
def derive(part: str = "flow") -> Derivation:
    """Derive one formula of the pack."""
    chosen = _parts()[part]
    read = chosen.read()
    claim = Claim(chosen.text, chosen.relations, chosen.assumptions)
    return concluded("function-space", claim, chosen.steps(), read)
