"""The Hessian at collapse: one linear layer ``f = W x`` at W = 0, every loss of distances, and a within-pair term.

``E[L] + beta E[r_+]`` has at W = 0 the Hessian ``-2 xi(0) V_x[xbar] kron I + 2 beta E_x V_aug[x] kron I`` by
``vec W``, where ``xi(0)`` is dL/dr_+ at distances 0, for every loss whose derivatives add up to zero; the general form
needs no such sum. There the connection ``K = x kron I`` does not depend on W. Moments are decided by their algebra.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy
from sympy import Basic, Expr, Identity, KroneckerProduct, MatAdd, MatMul, MatrixExpr, Symbol, Transpose

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation
from theory.core.claim import reading as read_relations
from theory.core.derivation import Derivation, Step, concluded, zero_step
from theory.core.expectation import Law, Moment
from theory.core.notation import AugmentationCovariance, Covariance, H, Vec, dimension, negative, r, r_0, r_p, tau
from theory.core.order import decide_relation
from theory.core.quantity import quantity
from theory.core.reading import Meaning, NotReadError, moment_of, moment_reading, with_meanings
from theory.losses.loss import derivative, loss_of
from theory.towers.dual_gradient import identity_step

LINEAR = "one linear layer f = W x, at W = 0"
INDEPENDENT = "x_1 and x_+ are independent augmentations of x, and x_- is one of an independent x' of the same law"
SMOOTH = "L is a function of the distances, twice continuously differentiable at 0"
ZERO_SUM = "the derivatives of L by its distances add up to zero (statement 2)"

INPUTS, OUTPUTS = dimension("0"), dimension("1")
SIZE = INPUTS * OUTPUTS
XI = quantity("pair weight at zero", r"\xi(0)")
PULL = quantity("derivative by the positive distance", r"L_{+}")
PUSH = quantity("sum of the derivatives by the negative distances", r"L_{-}")
BETA = quantity("within-pair strength", r"\beta")
LETTERS = Alphabet(
    {
        "x": Kind("input", "x", (INPUTS, 1), {"layer": "0"}),
        "xbar": Kind("mean input", r"\bar{x}", (INPUTS, 1), {"layer": "0"}),
        "K": Kind("connection", "K_{1}", (SIZE, OUTPUTS), {"layer": "1"}),
        "Kbar": Kind("mean connection", r"\bar{K}_{1}", (SIZE, OUTPUTS), {"layer": "1"}),
        "xi": Kind("pair weight at zero", fixed=XI),
        "pull": Kind("derivative by the positive distance", fixed=PULL),
        "push": Kind("sum of the derivatives by the negative distances", fixed=PUSH),
        "beta": Kind("within-pair strength", fixed=BETA),
    },
    {INPUTS: 2, OUTPUTS: 2},
)
LAW = Law(means={"x": "xbar", "K": "Kbar"})
L = LETTERS.moment
HESSIAN = quantity(
    "Hessian at collapse",
    r"\nabla^2_{\operatorname{vec} W} \, \mathbb{E}\left[L + \beta r_{+}\right]\big|_{W=0}",
    SIZE,
    SIZE,
)


def squared(first: tuple[str, str], second: tuple[str, str]) -> Moment:
    """``(K_1 - K_2)(K_1 - K_2)^T``, the Hessian of ``1/2 ||(K_1 - K_2)^T vec W||^2``."""
    gap = L("K", *first) - L("K", *second)
    return gap * gap.transposed()


NEAR, FAR = squared(("x", "1"), ("x", "2")), squared(("x", "1"), ("x'", "1"))
GENERAL = (L("pull") + L("beta")) * NEAR + L("push") * FAR
FAMILY = (L("xi") + L("beta")) * NEAR - L("xi") * FAR


def symbol(name: str, point: str = "x", copy: str = "") -> Any:
    """The typed symbol of a letter."""
    return LETTERS.symbol(name, point, copy)


SPREAD = AugmentationCovariance(symbol("x", "x", "1"), symbol("x", "x", "1"))
VARIANCE = Covariance(symbol("xbar"), symbol("xbar"))
SPREAD_K = AugmentationCovariance(symbol("K", "x", "1"), symbol("K", "x", "1"))
VARIANCE_K = Covariance(symbol("Kbar"), symbol("Kbar"))


def by_outputs(matrix: MatrixExpr) -> MatrixExpr:
    """``A kron I``, the same for each output."""
    return KroneckerProduct(matrix, Identity(OUTPUTS))


def two_terms(first: Any, variance: MatrixExpr, second: Any, spread: MatrixExpr) -> MatrixExpr:
    """``a V + b S`` in this order."""
    return MatAdd(MatMul(first, variance), MatMul(second, spread))


def meaning(expr: Any, hessian: Moment) -> Meaning | None:
    """What a symbol stands for; ``E[A] kron I`` is the same expectation with ``K = x kron I`` in place of x."""
    if expr == HESSIAN:
        return hessian, True
    if isinstance(expr, KroneckerProduct) and len(expr.args) == 2 and expr.args[1] == Identity(OUTPUTS):
        inner, mean = moment_of(expr.args[0], LETTERS.meaning)
        if any(item.labels for term in inner.terms for word in term.scalars for item in word):
            raise NotReadError("a number made of inputs beside a Kronecker product")
        for name, connection in (("x", "K"), ("xbar", "Kbar")):
            inner = inner.replaced(name, ((connection, False),))
        return inner, mean
    return LETTERS.meaning(expr)


def of_moments(hessian: Moment) -> Reading:
    """The reading of a claim about the Hessian."""
    return moment_reading(lambda expr: meaning(expr, hessian), LAW, LETTERS.shapes)


# Steps.


def kronecker_steps() -> list[Step]:
    """``K = x kron I`` and the mixed product rule, which turns moments of K into moments of x."""
    x, y = symbol("x", "x", "1"), symbol("x", "x", "2")
    weights = quantity("weights", "W", OUTPUTS, INPUTS)
    one = Identity(OUTPUTS)
    return [
        identity_step(
            Transpose(KroneckerProduct(x, one)) * Vec(weights),
            weights * x,
            "vec(I W x) = (x^T kron I) vec W: the connection of a linear layer is K = x kron I, whatever W is",
        ),
        identity_step(
            KroneckerProduct(x, one) * Transpose(KroneckerProduct(y, one)),
            KroneckerProduct(x * Transpose(y), one),
            "mixed product rule: (x kron I)(y kron I)^T = x y^T kron I",
        ),
    ]


def taylor_step() -> Step:
    """Distances are quadratic in W, so only the first derivatives of the loss count."""
    t = Symbol("t", real=True)
    near, far = Symbol("q_{+}", nonnegative=True), Symbol("q_{-}", nonnegative=True)
    start, *second = sympy.symbols("L_0 L_{++} L_{+-} L_{--}", real=True)
    plus, minus = t**2 * near, t**2 * far
    value = start + PULL * plus + PUSH * minus
    value += second[0] * plus**2 / 2 + second[1] * plus * minus + second[2] * minus**2 / 2
    curvature = sympy.diff(value, t, 2).xreplace({t: sympy.S.Zero})
    return zero_step(
        curvature,
        2 * (PULL * near + PUSH * far),
        "along W = t V every distance is t^2 q: second derivatives of the loss enter at order t^4",
    )


def moment_steps() -> list[Step]:
    """The two mean squares."""
    spread = L("K", "x", "1") * L("K", "x", "1").transposed() - L("Kbar") * L("Kbar").transposed()
    variance = L("Kbar") * (L("Kbar") - L("Kbar", "y")).transposed()
    return [
        LETTERS.step(NEAR, spread.scaled(2), LAW, "positive pair: twice the covariance over augmentations"),
        LETTERS.step(FAR, (spread + variance).scaled(2), LAW, "negative pair: twice the covariance of all views"),
    ]


def steps() -> list[Step]:
    return [taylor_step(), *kronecker_steps(), *moment_steps()]


# The weight at zero, of each loss.


def weight_of(name: str) -> Any:
    """xi(0) of a named loss."""
    return quantity("pair weight at zero", rf"\xi_{{\mathrm{{{name}}}}}(0)", where={"loss": name})


def weight_values() -> dict[Any, Expr]:
    """dL/dr_+ at distances 0, from the losses themselves."""
    values = {}
    for name in ("simple", "triplet", "infonce"):
        described = loss_of(name, None if name == "infonce" else 1)
        slope = derivative(described.expression, r_p)
        zeros = {atom: sympy.S.Zero for atom in slope.atoms(Symbol, sympy.Indexed) if _is_distance(atom)}
        values[weight_of(name)] = sympy.simplify(slope.xreplace(zeros).doit())
    return values


def _is_distance(atom: Basic) -> bool:
    return atom in (r_p, negative(1)) or (isinstance(atom, sympy.Indexed) and atom.base == r)


def of_weights() -> Reading:
    """The reading of a claim about weights at zero."""
    values = weight_values()
    return read_relations(lambda relation: decide_relation(with_meanings(relation, values)))


@dataclass(frozen=True)
class Part:
    """One formula: relations, what is assumed, its reading, and its steps."""

    text: str
    relations: tuple[Basic, ...]
    assumptions: tuple[str, ...]
    read: Callable[[], Reading]
    steps: Callable[[], list[Step]] = steps


def no_steps() -> list[Step]:
    return []


def _parts() -> Mapping[str, Part]:
    family = (LINEAR, INDEPENDENT, SMOOTH, ZERO_SUM)
    return {
        "hessian": Part(
            "Hessian of E[L + beta r_+] at W = 0: -2 xi(0) V_x[xbar] kron I + 2 beta E_x V_aug[x] kron I",
            (equation(HESSIAN, two_terms(-2 * XI, by_outputs(VARIANCE), 2 * BETA, by_outputs(SPREAD))),),
            family, lambda: of_moments(FAMILY),
        ),
        "connection": Part(
            "the same by the connection: minus the covariance operator, -2 xi(0) V_x[Kbar] + 2 beta E_x V_aug[K]",
            (equation(HESSIAN, two_terms(-2 * XI, VARIANCE_K, 2 * BETA, SPREAD_K)),),
            family, lambda: of_moments(FAMILY),
        ),
        "any-loss": Part(
            "any loss of distances: 2 L_- V_x[xbar] kron I + 2 (L_+ + L_- + beta) E_x V_aug[x] kron I",
            (
                equation(
                    HESSIAN, two_terms(2 * PUSH, by_outputs(VARIANCE), 2 * (PULL + PUSH + BETA), by_outputs(SPREAD))
                ),
            ),
            (LINEAR, INDEPENDENT, SMOOTH), lambda: of_moments(GENERAL),
        ),
        "weights-at-zero": Part(
            "xi(0) is 1 (simple), 1/(1 + exp(-r_0/tau)) (soft triplet), H/(1 + H) (InfoNCE)",
            (
                equation(weight_of("simple"), sympy.S.One),
                equation(weight_of("triplet"), 1 / (1 + sympy.exp(-r_0 / tau))),
                equation(weight_of("infonce"), H / (1 + H)),
            ),
            (SMOOTH,), of_weights, no_steps,
        ),
    }  # fmt: skip


PARTS: tuple[str, ...] = ("hessian", "connection", "any-loss", "weights-at-zero")
"""The formulas."""


@cache
def derive(part: str = "hessian") -> Derivation:
    """Derive one formula of the pack."""
    chosen = _parts()[part]
    read = chosen.read()
    claim = Claim(chosen.text, chosen.relations, chosen.assumptions)
    return concluded("collapse-hessian", claim, chosen.steps(), read)
