"""The covariance loss: its expected gradient step is exactly ``V^xi[Kbar - Kbar'] vec W`` (arXiv 2010.00578).

``L = xi ((1 + beta) r_+ - r_-)`` with pair weights ``xi(x, x')`` that are symmetric, depend on the two points only (or
on further views of them), and are held fixed while differentiating. The spread of the augmentation cancels at beta = 0;
at any beta, of either sign, ``beta E[xi r_+]`` adds the weighted covariance over augmentations. The moment algebra
decides it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sympy import Basic, Equality, Ge, MatAdd, MatMul, MatrixExpr, Rational, Symbol, Transpose

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation, reading
from theory.core.decide import Decision
from theory.core.derivation import Derivation, Step, concluded, stated
from theory.core.expectation import Law, Letter, Moment
from theory.core.notation import Expect, dimension
from theory.core.order import decide_relation
from theory.core.quantity import quantity
from theory.core.reading import Meaning, moment_reading, with_meanings
from theory.towers.dual_gradient import homogeneity_steps, side
from theory.towers.moment_steps import N_TOP, SIZE, WEIGHT, connections, outputs

FIXED = "the pair weights xi are held fixed while differentiating"
SYMMETRIC = "xi(x, x') = xi(x', x)"
POINTS = "xi depends on the points x and x' only"
FURTHER = "xi depends on further views of x and x', independent of the differentiated ones"
INDEPENDENT = "x_1 and x_+ are independent augmentations of x, and x_- is one of an independent x' of the same law"
NONNEGATIVE = "xi(x, x') >= 0"
NO_PULL = "beta <= 0"
HOMOGENEOUS = "f_L = K_l^T vec W_l (no biases, piecewise-linear homogeneous activation)"
SHARED = "shared"

XI = r"\xi"
BETA = quantity("within-pair strength", r"\beta")
LETTERS = Alphabet(
    {
        "K": connections("connection", "K_{l}"),
        "Kbar": connections("mean connection", r"\bar{K}_{l}"),
        "f": outputs("output", "f_{L}"),
        "fbar": outputs("mean output", r"\bar{f}_{L}"),
        "w": Kind("weights", fixed=WEIGHT),
        "beta": Kind("within-pair strength", fixed=BETA),
        # One batch: the two views of an image are not averaged, so each is a function of the image.
        "K1": connections("connection of the first view", "K_{l,1}"),
        "K2": connections("connection of the second view", "K_{l,2}"),
        "f1": outputs("output of the first view", "f_{L,1}"),
        "f2": outputs("output of the second view", "f_{L,2}"),
    },
    {dimension("l"): 2, dimension("l-1"): 1, N_TOP: 2},
)
LAW = Law(means={"K": "Kbar", "f": "fbar"}, symmetric={XI: 1})
BATCH_LAW = Law(symmetric={XI: 1})
CONSTANTS = ("w", "beta")
L = LETTERS.moment


def weight_symbol(copy: str = "") -> Any:
    """The pair weight of two points, or of a further view of each."""
    where = {"point": "x x'", "copy": copy}
    return quantity("pair weight", r"\xi(x_{3}, x'_{3})" if copy else r"\xi(x, x')", where=where)


def weight(copy: str = "") -> Moment:
    """The same as a moment."""
    return Moment.of(Letter(XI, (("x", copy), ("x'", copy)))).as_scalar()


def homogeneous(moment: Moment) -> Moment:
    """Replace outputs by connection and weights."""
    for output, connection in (("f", "K"), ("fbar", "Kbar"), ("f1", "K1"), ("f2", "K2")):
        moment = moment.replaced(output, ((connection, True), ("w", False)), CONSTANTS)
    return moment


def gap(name: str, first: tuple[str, str], second: tuple[str, str]) -> Moment:
    """The difference of a letter at two views."""
    return L(name, *first) - L(name, *second)


ONE, PLUS, MINUS = ("x", "1"), ("x", "2"), ("x'", "1")
NEAR = gap("K", ONE, PLUS) * gap("f", ONE, PLUS)
FAR = gap("K", ONE, MINUS) * gap("f", ONE, MINUS)
STRENGTH = Moment.of() + L("beta")
"""``1 + beta``."""


def distance(first: tuple[str, str], second: tuple[str, str]) -> Moment:
    """``r = 1/2 ||f_1 - f_2||^2``."""
    difference = gap("f", first, second)
    return (difference.transposed() * difference).scaled(Rational(1, 2))


def falls(copy: str = "") -> Moment:
    """``-grad L`` of one draw: statement 1 for both pairs, the weights held fixed."""
    return weight(copy) * (FAR - STRENGTH * NEAR)


def mean_of_views(name: str, point: str) -> Moment:
    """The mean of the two views of an image of a batch."""
    return (L(f"{name}1", point) + L(f"{name}2", point)).scaled(Rational(1, 2))


def batch_falls() -> Moment:
    """``-grad L`` of one pair of images: ``r_-`` is the mean over the four pairs of views."""
    far = Moment({})
    for a in "12":
        for b in "12":
            far = far + (L(f"K{a}") - L(f"K{b}", "x'")) * (L(f"f{a}") - L(f"f{b}", "x'"))
    near = (L("K1") - L("K2")) * (L("f1") - L("f2"))
    return weight() * (far.scaled(Rational(1, 4)) - STRENGTH * near)


def symbol(name: str, point: str = "x", copy: str = "") -> Any:
    """The typed symbol of a letter."""
    return LETTERS.symbol(name, point, copy)


def loss_quantity(role: str, name: str, *shape: Any, loss: str = "covariance") -> Any:
    """A quantity of a form of the loss."""
    return quantity(role, name, *shape, where={"loss": loss})


def gradient(loss: str = "covariance", shown: str = "L") -> Any:
    """The expected gradient of a form of the loss."""
    return loss_quantity(
        "expected gradient", rf"\mathbb{{E}}\left[\nabla_{{W_{{l}}}} {shown}\right]", SIZE, 1, loss=loss
    )


GRADIENT = gradient()
FURTHER_GRADIENT = gradient("further views", r"L_{\mathrm{further}}")
BATCH_GRADIENT = gradient("batch", r"L_{\mathrm{batch}}")
ATTACHED = gradient("attached", r"L_{\mathrm{attached}}")
"""The gradient that flows through the weights too; nothing is derived about it."""
OWN_VIEWS = gradient("own views", r"L_{\mathrm{own}}")
"""The gradient with weights of the differentiated views; nothing is derived about it."""
VALUE = loss_quantity("expected loss", r"\mathbb{E}\left[L\right]", 1, 1)
_RATE = "rate of the squared norm", r"\frac{d}{dt} \|W_{l}\|_F^2"
NORM_RATE, GROWTH = quantity(*_RATE, 1, 1), quantity(*_RATE)
"""The same rate as a matrix of one entry, in equations, and as a number, in inequalities."""
_APART, _SPREAD, _PUSH = (
    Symbol(name, nonnegative=True)
    for name in (
        r"\mathbb{E}[\xi \|\bar{f} - \bar{f}'\|^2]", r"\mathbb{E}[\xi \|f - \bar{f}\|^2]", r"|\beta|",
    )
)  # fmt: skip


def minus(first: MatrixExpr, second: MatrixExpr) -> MatrixExpr:
    """``A - B`` in this order."""
    return MatAdd(first, MatMul(-1, second))


def between(name: str) -> MatrixExpr:
    """``Kbar(x) - Kbar(x')``."""
    return minus(symbol(name), symbol(name, "x'"))


def within(name: str) -> MatrixExpr:
    """``K(x_1) - Kbar(x)``."""
    return minus(symbol(name, "x", "1"), symbol(f"{name}bar"))


def weighted(first: MatrixExpr, second: MatrixExpr, copy: str = "") -> MatrixExpr:
    """``E[xi A B]``."""
    return Expect(MatMul(weight_symbol(copy), first, second))


def own_square(expr: MatrixExpr, copy: str = "") -> MatrixExpr:
    """``E[xi A A^T]``."""
    return weighted(expr, Transpose(expr), copy)


def square(expr: MatrixExpr) -> MatrixExpr:
    """``E[xi ||a||^2]``."""
    return weighted(Transpose(expr), expr)


def apart(first: MatrixExpr, number: Any, second: MatrixExpr) -> MatrixExpr:
    """``A - c B``, left as it is written."""
    return MatAdd(first, MatMul(-number, second))


def operator(first: MatrixExpr, number: Any, second: MatrixExpr) -> MatrixExpr:
    """``A vec W - c B vec W``."""
    return MatAdd(MatMul(first, WEIGHT), MatMul(-number, second, WEIGHT))


@dataclass(frozen=True)
class Part:
    """One formula: relations, what its symbols stand for, what is assumed, and its steps."""

    text: str
    relations: tuple[Basic, ...]
    meanings: Mapping[Any, Moment]
    assumptions: tuple[str, ...]
    steps: Callable[[], list[Step]]
    rule: Callable[[Moment], Moment] = Moment.itself
    law: Law = LAW
    values: Mapping[Any, Any] = field(default_factory=dict)

    def read(self) -> Reading:
        """Expectations in equations; in inequalities what was derived for their symbols."""

        def meaning(expr: Any) -> Meaning | None:
            if expr in self.meanings:
                return self.meanings[expr], True
            for copy in ("", "3"):
                if expr == weight_symbol(copy):
                    return weight(copy), False
            return LETTERS.meaning(expr)

        of_moments = moment_reading(meaning, self.law, LETTERS.shapes, self.rule)

        def decide(relation: Basic) -> Decision:
            if isinstance(relation, Equality):
                return of_moments(Claim("", (relation,)))
            return decide_relation(with_meanings(relation, self.values))

        return reading(decide)


def pair_steps() -> list[Step]:
    """The two pairs, averaged over their views."""
    xi = weight()
    spread = xi * (L("K", *ONE) - L("Kbar")) * (L("f", *ONE) - L("fbar"))
    means = xi * (L("Kbar") - L("Kbar", "x'")) * (L("fbar") - L("fbar", "x'"))
    tower = "positive pair: x_1 and x_+ are independent given x (tower rule)"
    both = "negative pair: both views spread about their means; xi is symmetric, x and x' can be exchanged"
    return [
        LETTERS.step(xi * NEAR, spread.scaled(2), LAW, tower),
        LETTERS.step(xi * FAR, means + spread.scaled(2), LAW, both),
        LETTERS.step(
            falls(), means - L("beta") * spread.scaled(2), LAW, "the spread of the views cancels but for beta"
        ),
    ]


def further_steps() -> list[Step]:
    """The positive pair beside a weight that is independent of its views."""
    near = weight("3") * NEAR
    spread = weight("3") * (L("K", *ONE) - L("Kbar")) * (L("f", *ONE) - L("fbar"))
    why = "further views are independent of x_1, x_+ and x_-: the tower rule holds beside their weight"
    return [LETTERS.step(near, spread.scaled(2), LAW, why)]


def value_steps() -> list[Step]:
    """The mean distances of both pairs."""
    both = L("f", *ONE) - L("fbar"), L("fbar") - L("fbar", "x'")
    spread, means = (part.transposed() * part for part in both)
    near, far = weight() * distance(ONE, PLUS), weight() * distance(ONE, MINUS)
    return [
        LETTERS.step(near, weight() * spread, LAW, "E 1/2 ||f(x_1) - f(x_+)||^2 is the variance over augmentations"),
        LETTERS.step(
            far,
            weight() * (spread + means.scaled(Rational(1, 2))),
            LAW,
            "a negative pair: the distance of the means, and the variances of both points, alike by symmetry",
        ),
    ]


def homogeneity() -> list[Step]:
    """``f = K^T vec W``."""
    return homogeneity_steps(side("1"))


def norm_relation() -> Basic:
    """The rate of the squared norm."""
    return equation(NORM_RATE, apart(MatMul(2, square(between("fbar"))), 4 * BETA, square(within("f"))))


def growth_steps() -> list[Step]:
    """The rate itself, and the sign of what each of its two terms averages."""
    weight, entries = Symbol(r"\xi", nonnegative=True), [Symbol(f"a_{{{n}}}", real=True) for n in (1, 2)]
    draw = Ge(weight * (entries[0] ** 2 + entries[1] ** 2), 0, evaluate=False)
    total = Ge(2 * _APART + 4 * _PUSH * _SPREAD, 0, evaluate=False)
    return [
        *pair_steps(), *homogeneity(),
        stated(norm_relation(), "the rate of the squared norm", _parts()["norm"].read()),
        Step(draw, "xi >= 0: no draw of xi ||a||^2 is negative, entry by entry of a, nor is its mean",
             decide_relation(draw)),
        Step(total, "beta = -|beta|: a sum of two means that are not negative", decide_relation(total)),
    ]  # fmt: skip


def batch_steps() -> list[Step]:
    """Views ``m + d/2`` and ``m - d/2``."""
    spread = (L("K1") - L("K2")) * (L("f1") - L("f2"))
    means = (mean_of_views("K", "x") - mean_of_views("K", "x'")) * (mean_of_views("f", "x") - mean_of_views("f", "x'"))
    left = batch_falls() + weight() * STRENGTH * spread
    right = weight() * (means + spread.scaled(Rational(1, 2)))
    why = "the mean over the four pairs of views: means apart, and a quarter of both spreads"
    return [LETTERS.step(left, right, BATCH_LAW, why)]


def _parts() -> dict[str, Part]:
    update = (FIXED, SYMMETRIC, POINTS, INDEPENDENT)
    further = (FIXED, SYMMETRIC, FURTHER, INDEPENDENT, HOMOGENEOUS)
    plain = {GRADIENT: falls().scaled(-1)}
    value = weight() * (STRENGTH * distance(ONE, PLUS) - distance(ONE, MINUS))
    sums = [MatAdd(symbol("K1", point), symbol("K2", point)) for point in ("x", "x'")]
    means = MatAdd(MatMul(Rational(1, 2), sums[0]), MatMul(Rational(-1, 2), sums[1]))
    views = minus(symbol("K1"), symbol("K2"))
    return {
        "update": Part(
            "-E[grad L] = V^xi[Kbar - Kbar'] vec W - 2 beta E[xi (K - Kbar)(K - Kbar)^T] vec W, beta of either sign",
            (equation(-GRADIENT, operator(own_square(between("Kbar")), 2 * BETA, own_square(within("K")))),),
            plain, (*update, HOMOGENEOUS), lambda: [*pair_steps(), *homogeneity()], homogeneous,
        ),
        "general": Part(
            "any network: -E[grad L] = E[xi (Kbar - Kbar')(fbar - fbar')] - 2 beta E[xi (K - Kbar)(f - fbar)]",
            (
                equation(
                    -GRADIENT,
                    apart(weighted(between("Kbar"), between("fbar")), 2 * BETA, weighted(within("K"), within("f"))),
                ),
            ),
            plain, update, pair_steps,
        ),
        "value": Part(
            "E[L] = beta E[xi ||f - fbar||^2] - 1/2 E[xi ||fbar - fbar'||^2]: at beta = 0 the spread does not enter",
            (equation(VALUE, apart(MatMul(BETA, square(within("f"))), Rational(1, 2), square(between("fbar")))),),
            {VALUE: value}, (SYMMETRIC, POINTS, INDEPENDENT), value_steps,
        ),
        "norm": Part(
            "d||W||^2/dt = 2 E[xi ||fbar - fbar'||^2] - 4 beta E[xi ||f - fbar||^2], for every layer",
            (norm_relation(),),
            {NORM_RATE: (L("w").transposed() * falls()).scaled(2)},
            (*update, HOMOGENEOUS), lambda: [*pair_steps(), *homogeneity()], homogeneous,
        ),
        "growth": Part(
            "no layer's norm falls where xi >= 0 and beta <= 0",
            (Ge(GROWTH, 0, evaluate=False),), {}, (*update, HOMOGENEOUS, NONNEGATIVE, NO_PULL), growth_steps,
            values={GROWTH: 2 * _APART + 4 * _PUSH * _SPREAD},
        ),
        "further-views": Part(
            "weights of further views: the same with xi(x_3, x'_3); its mean over them is the weight of the points",
            (
                equation(
                    -FURTHER_GRADIENT,
                    operator(own_square(between("Kbar"), "3"), 2 * BETA, own_square(within("K"), "3")),
                ),
            ),
            {FURTHER_GRADIENT: falls("3").scaled(-1)}, further, lambda: [*further_steps(), *homogeneity()], homogeneous,
        ),
        "batch": Part(
            "one batch, r_- the mean of four pairs of views: V^xi of the means of views, 1/2 + beta of their spread",
            (equation(-BATCH_GRADIENT, operator(own_square(means), Rational(1, 2) + BETA, own_square(views))),),
            {BATCH_GRADIENT: batch_falls().scaled(-1)},
            (FIXED, SYMMETRIC, HOMOGENEOUS), lambda: [*batch_steps(), *homogeneity()], homogeneous, BATCH_LAW,
        ),
    }  # fmt: skip


PARTS: tuple[str, ...] = ("update", "general", "value", "norm", "growth", "further-views", "batch")
"""The formulas."""


@cache
def derive(part: str = "update") -> Derivation:
    """Derive one formula of the pack."""
    chosen = _parts()[part]
    read = chosen.read()
    claim = Claim(chosen.text, chosen.relations, chosen.assumptions)
    return concluded("covariance-loss", claim, chosen.steps(), read)
