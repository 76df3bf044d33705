r"""The residue of statement 4 at second order in the spread, for one negative; many negatives without augmentation.

``f(x;a) = fbar(x) + s phi(x;a)``, ``K(x;a) = Kbar(x) + s kappa(x;a)`` with zero-mean phi, kappa. A loss of the family
with one negative is a function of ``r_- - r_+`` alone; ``xi(r)`` is its weight at ``(r_+, r_-) = (0, r)``,
continued to all reals. theta = -E[grad L] - E[xi(rho) dK Delta] with ``Delta = fbar(x) - fbar(x')``,
``dK = Kbar(x) - Kbar(x')`` and ``rho = 1/2 ||Delta||^2``; theta_2 is its coefficient of s^2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sympy
from sympy import Basic, Expr, MatMul, MatrixExpr, Rational, Symbol, Transpose

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation, reading
from theory.core.decide import POLYNOMIAL, Decision, decide_zero
from theory.core.derivation import Derivation, Step, concluded, zero_step
from theory.core.expectation import Law, Letter, Moment, Term, expect
from theory.core.normal import linear_sums, quotient
from theory.core.notation import Expect, H, negative, pair_distance, r_0, r_p, tau
from theory.core.order import decide_relation
from theory.core.quantity import quantity, slack_symbol
from theory.core.reading import Meaning, moment_of, moment_reading, with_meanings, with_numbers
from theory.losses.family import SLOPE_POSITIVE, slope_symbol
from theory.losses.loss import derivative, loss_of
from theory.towers.moment_steps import N_TOP, SIZE, connections, outputs
from theory.towers.weighted import order_part

ONE = "one negative (H = 1), whose loss is a function of r_- - r_+ alone"
FREE = "x_1, x_+, x_- are augmentations drawn independently, x' is independent of x and of the same law"
SHARED = "the gradient flows through all three towers"
PATH = "f = fbar + s phi, K = Kbar + s kappa with E_aug phi = E_aug kappa = 0; xi has two continuous derivatives"
MEANS = "r of the leading term is measured between augmentation means"
UNBIASED = "the augmentation is unbiased to first order: f(x) = fbar(x) + s^2 b(x) at the point itself"
UNAUGMENTED = "no augmentation, InfoNCE with H >= 1 negatives, drawn independently"
FLOOR = "the similarities e^{-r/tau} to the anchor are at least e_min > 0"

NEG = "x_k"
XI, XI1, XI2, FULL = "xi", "xi1", "xi2", "omega"
_PAIR = {"point": f"x {NEG}"}
_PRINTS = {XI: r"\xi(\rho)", XI1: r"\xi'(\rho)", XI2: r"\xi''(\rho)", FULL: r"\omega"}
_ROLES = {
    XI: "pair weight", XI1: "slope of the pair weight", XI2: "curvature of the pair weight", FULL: "weight of the draw",
}  # fmt: skip
WEIGHTS = {
    name: quantity(role, _PRINTS[name], where=_PAIR | ({"copy": "1"} if name == FULL else {}))
    for name, role in _ROLES.items()
}
"""Weights at a pair of points: xi, xi', xi'' at rho, and xi at ``r_- - r_+`` of the augmented draw."""
AT = {name: quantity(f"{_ROLES[name]} at r", _PRINTS[name].replace(r"\rho", "r")) for name in (XI, XI1, XI2)}
BETA = 1 / tau

LETTERS = Alphabet(
    {
        "Kbar": connections("mean connection", r"\bar{K}_{l}"),
        "kappa": connections("deviation of the connection", r"\kappa_{l}"),
        "fbar": outputs("mean output", r"\bar{f}_{L}"),
        "phi": outputs("deviation of the output", r"\varphi"),
        "dK": connections("difference of the mean connections", r"\Delta K_{l}"),
        "Delta": outputs("difference of the mean outputs", r"\Delta"),
        "b": outputs("bias of the augmentation", "b"),
        "beta": Kind("inverse temperature", fixed=BETA),
    },
    {SIZE.args[0]: 2, SIZE.args[1]: 1, N_TOP: 2},
)
LAW = Law(means={"kappa": None, "phi": None}, symmetric={XI: 1, XI1: 1, XI2: 1, "dK": -1, "Delta": -1})
"""Weights are symmetric in the two points, the differences of their means antisymmetric."""
COLUMNS = frozenset({"Delta", "phi", "b"})
L = LETTERS.moment


def term_of(shown: str, role: str, **where: str) -> Any:
    """A column of the size of a layer's weights."""
    return quantity(role, shown, SIZE, 1, where={"layer": "l", **where})


THETA = term_of(r"\theta_{2}", "second-order coefficient")
THETA_LOSS = {name: term_of(rf"\theta_{{2}}^{{\mathrm{{{name}}}}}", "second-order coefficient", loss=name)
              for name in ("infonce", "triplet", "simple")}  # fmt: skip
THETA_POINTS = term_of(r"\theta_{2}^{\mathrm{points}}", "second-order coefficient between points")
ATTRACTION = term_of(r"A_{2}", "second-order coefficient of the positive pair")
REPULSION = term_of(r"R_{2}", "second-order coefficient of the negative pair")
SIMPLE = {
    "A": term_of(r"A_{2}^{\mathrm{simple}}", "second-order coefficient of the positive pair", loss="simple"),
    "R": term_of(r"R_{2}^{\mathrm{simple}}", "second-order coefficient of the negative pair", loss="simple"),
}
GRADIENT = term_of(r"\mathbb{E}\left[\nabla_{W_{l}} L\right]", "expected gradient")

# Letters of the moments, and the same as typed symbols.


def scalar(name: str, *labels: tuple[str, str]) -> Moment:
    """A weight; by default at the two points."""
    return Moment.of(Letter(name, labels or (("x", ""), (NEG, "")))).as_scalar()


def inner(left: Moment, right: Moment) -> Moment:
    return (left.transposed() * right).as_scalar()


DELTA, DK = (Moment.of(Letter(name, (("x", ""), (NEG, "")))) for name in ("Delta", "dK"))
PHI, KAPPA = L("phi", "x", "1"), L("kappa", "x", "1")
NEAR_F, NEAR_K = PHI - L("phi", "x", "2"), KAPPA - L("kappa", "x", "2")
FAR_F, FAR_K = PHI - L("phi", NEG, "1"), KAPPA - L("kappa", NEG, "1")
HALF, UNIT = Rational(1, 2), Moment({Term(()): sympy.S.One})
FIRST = inner(DELTA, FAR_F)
"""Order 1 of ``r_- - r_+``; `SECOND` is order 2."""
SECOND = (inner(FAR_F, FAR_F) - inner(NEAR_F, NEAR_F)).scaled(HALF)
WEIGHT = scalar(XI) + scalar(XI1) * (FIRST + SECOND) + (scalar(XI2) * FIRST * FIRST).scaled(HALF)
"""The weight of a draw up to order 2."""
PUSHED = WEIGHT * (DK + FAR_K) * (DELTA + FAR_F)
PULLED = WEIGHT * NEAR_K * NEAR_F
REPULSION_TWO, ATTRACTION_TWO = order_part(PUSHED, 2), order_part(PULLED, 2)
THETA_TWO = REPULSION_TWO - ATTRACTION_TWO


@cache
def normal(which: str) -> Moment:
    """The normal form of a coefficient, which the claims are compared with."""
    both = {"theta": THETA_TWO, "attraction": ATTRACTION_TWO.scaled(-1), "repulsion": REPULSION_TWO}
    return expect(both[which], LAW)


def _at(name: str, point: str = "x", copy: str = "") -> Any:
    return LETTERS.symbol(name, point, copy)


GAP, GAP_K = (
    quantity(LETTERS.kinds[name].role, LETTERS.kinds[name].name, *LETTERS.kinds[name].shape, where=_PAIR)
    for name in ("Delta", "dK")
)
DIFFERENCES = {GAP: L("fbar") - L("fbar", NEG), GAP_K: L("Kbar") - L("Kbar", NEG)}
DEVIATION, DEVIATION_K = _at("phi", "x", "1"), _at("kappa", "x", "1")
_NEAR_F, _NEAR_K = DEVIATION - _at("phi", "x", "2"), DEVIATION_K - _at("kappa", "x", "2")
_FAR_F, _FAR_K = DEVIATION - _at("phi", NEG, "1"), DEVIATION_K - _at("kappa", NEG, "1")
ALONG = Transpose(DEVIATION) * GAP
_SQUARES = Transpose(_FAR_F) * _FAR_F - Transpose(_NEAR_F) * _NEAR_F
_INTRA = Expect(MatMul(WEIGHTS[XI], DEVIATION_K, DEVIATION))


LEADING = Expect(MatMul(WEIGHTS[XI], GAP_K, GAP))


def leading(slope: Any = None, curvature: Any = None) -> tuple[MatrixExpr, ...]:
    """The three terms of theta_2 by one deviation, on weights xi' and xi''."""
    slope, curvature = slope or WEIGHTS[XI1], curvature or WEIGHTS[XI2]
    return (
        MatMul(2 * slope, DEVIATION_K, GAP, ALONG),
        MatMul(2 * slope, GAP_K, DEVIATION, ALONG),
        MatMul(curvature, GAP_K, GAP, ALONG, ALONG),
    )


def by_one_deviation(*terms: MatrixExpr) -> MatrixExpr:
    return Expect(sympy.MatAdd(*(terms or leading())))


def by_two_deviations() -> MatrixExpr:
    """theta_2 by ``delta = phi(x_1) - phi(x_-)``, of which each draw has one."""
    along = Transpose(_FAR_F) * GAP
    return Expect(
        sympy.MatAdd(
            MatMul(WEIGHTS[XI1], _FAR_K * GAP + GAP_K * _FAR_F, along),
            MatMul(HALF * WEIGHTS[XI2], GAP_K, GAP, along, along),
        )
    )


# The reading: columns are paired to numbers, weights of a loss are put in.


def numbers(moment: Moment) -> Moment:
    return with_numbers(moment, COLUMNS)


def of_logistic(moment: Moment) -> Moment:
    """Put in ``xi' = -xi (1 - xi)/tau`` and ``xi'' = xi (1 - xi)(1 - 2 xi)/tau^2``."""
    one, beta = UNIT, L("beta")

    def slope(xi: Moment) -> Moment:
        return (beta * xi * (one - xi)).scaled(-1)

    return put_in(moment, {XI1: slope, XI2: lambda xi: slope(xi) * beta * (xi.scaled(2) - one)})


def of_constant(moment: Moment) -> Moment:
    """Put in the weight 1 of the simple loss, whose derivatives are 0."""
    return put_in(moment, {XI: lambda _: UNIT, XI1: lambda _: Moment({}), XI2: lambda _: Moment({})})


def put_in(moment: Moment, forms: Mapping[str, Callable[[Moment], Moment]]) -> Moment:
    """Other forms for weights, as functions of xi at the same pair of points."""
    total = Moment({})
    for term, coefficient in numbers(moment).terms.items():
        product = UNIT.scaled(coefficient)
        for word in term.scalars:
            form = forms.get(word[0].name)
            product = product * (Moment.of(*word).as_scalar() if form is None else form(scalar(XI, *word[0].labels)))
        total = total + product * Moment.of(*term.word)
    return total


def read_as(meanings: Mapping[Any, Moment], rule: Callable[[Moment], Moment] = numbers) -> Reading:
    """Expectations of these letters, with meanings for the symbols of the claim."""
    of_pairs = {WEIGHTS[name]: scalar(name) for name in (XI, XI1, XI2)}
    of_pairs |= {WEIGHTS[FULL]: OMEGA, GAP: DELTA, GAP_K: DK}

    def meaning(expr: Basic) -> Meaning | None:
        if expr in meanings:
            return meanings[expr], True
        return (of_pairs[expr], False) if expr in of_pairs else LETTERS.meaning(expr)

    def in_normal_form(moment: Moment) -> Moment:
        return expect(rule(moment), LAW)

    of_moments = moment_reading(meaning, LAW, LETTERS.shapes, in_normal_form)

    def decide(relation: Basic) -> Decision:
        if not isinstance(relation, sympy.Equality) or relation.lhs not in DIFFERENCES:
            return of_moments(Claim("", (relation,)))
        rest = DIFFERENCES[relation.lhs] - moment_of(relation.rhs, LETTERS.meaning)[0]
        return Decision(not rest.terms, POLYNOMIAL, "letters at two points, which may have any values")

    return reading(decide)


OMEGA = scalar(FULL, ("x", "1"), ("x", "2"), (NEG, "1"))
UPDATE = OMEGA * (DK + FAR_K) * (DELTA + FAR_F) - OMEGA * NEAR_K * NEAR_F
"""``-grad L`` of a draw, at any spread."""


def moments(left: Moment, right: Moment, why: str, display: Any = (None, None), rule: Any = numbers) -> Step:
    """A step of the moment algebra."""
    return LETTERS.step(left, right, LAW, why, display, rule)


# Steps.

_S = Symbol("s", positive=True)
_A, _FAR, _NEAR = (Symbol(name, real=True) for name in ("a", "q_{-}", "q_{+}"))
_SECOND = Symbol(r"\frac{1}{2} \frac{d^2 w}{d s^2}\Big|_{s=0}", real=True)
ZERO = sympy.ZeroMatrix(SIZE, 1)


def taylor_step() -> Step:
    """The weight of a draw up to the second order."""
    gap = _S * _A + _S**2 * (_FAR - _NEAR)
    weight = WEIGHTS[XI] + WEIGHTS[XI1] * gap + WEIGHTS[XI2] * gap**2 / 2
    why = (
        "Taylor's formula at rho for the gap r_- - r_+ = rho + s a + s^2 (q_- - q_+), a = <Delta, delta>: "
        "coefficient of s^2 of the weight"
    )
    return second_order(sympy.expand(weight).coeff(_S, 2), (WEIGHTS[XI1], WEIGHTS[XI2]), why)


def second_order(value: Expr, weights: tuple[Expr, Expr], why: str) -> Step:
    """A step for the coefficient of s^2 of the weight, in the slope and the curvature at rho."""
    shown = WEIGHTS[XI1] * (_FAR - _NEAR) + WEIGHTS[XI2] * _A**2 / 2
    target = linear_sums(weights[0] * (_FAR - _NEAR) + weights[1] * _A**2 / 2)
    return Step(equation(_SECOND, shown), why, decide_zero(value - target))


@cache
def pair_steps() -> tuple[Step, ...]:
    """The two pairs at second order, and what cancels between them."""
    intra = (scalar(XI) * KAPPA * PHI).scaled(2)
    traces = scalar(XI1) * SECOND * DK * DELTA
    return (
        taylor_step(),
        moments(order_part(PUSHED, 1), Moment({}), "coefficient of s: one zero-mean deviation in every term",
                (Expect(MatMul(WEIGHTS[XI], GAP_K * _FAR_F + _FAR_K * GAP)
                        + MatMul(WEIGHTS[XI1], GAP_K, GAP, Transpose(_FAR_F) * GAP)), ZERO)),
        moments(ATTRACTION_TWO, intra, "positive pair: two deviations of one point, weight xi(rho)",
                (Expect(MatMul(WEIGHTS[XI], _NEAR_K, _NEAR_F)), MatMul(2, _INTRA))),
        moments(scalar(XI) * FAR_K * FAR_F, intra, "negative pair: the same covariance, so that it cancels",
                (Expect(MatMul(WEIGHTS[XI], _FAR_K, _FAR_F)), MatMul(2, _INTRA))),
        moments(traces, Moment({}),
                "exchange of x and x': the traces cancel, of phi_1 - phi_- and of phi_1 - phi_+",
                (Expect(MatMul(HALF * WEIGHTS[XI1], GAP_K, GAP, _SQUARES)), ZERO)),
    )  # fmt: skip


def exchange_steps() -> list[Step]:
    """The form by one deviation."""
    two = scalar(XI1) * FIRST * (FAR_K * DELTA + DK * FAR_F) + (scalar(XI2) * FIRST * FIRST * DK * DELTA).scaled(HALF)
    along = inner(PHI, DELTA)
    one = (scalar(XI1) * along * (KAPPA * DELTA + DK * PHI)).scaled(2) + scalar(XI2) * along * along * DK * DELTA
    return [
        *pair_steps(),
        moments(THETA_TWO, two, "what is left of the two pairs", (THETA, by_two_deviations())),
        moments(two, one, "phi(x_1) and phi(x_-) are independent with mean 0; exchange of x and x'",
                (by_two_deviations(), by_one_deviation())),
    ]  # fmt: skip


@cache
def weights_of(name: str) -> tuple[Expr, Expr, Expr]:
    """xi, xi', xi'' of a loss, by differentiation at ``(r_+, r_-) = (0, r)``."""
    xi = derivative(loss_of(name, 1).expression, r_p).xreplace({r_p: sympy.S.Zero, negative(1): pair_distance})
    chain = [quotient(xi.doit())]
    for _ in range(2):
        chain.append(quotient(sympy.diff(chain[-1], pair_distance)))
    return chain[0], chain[1], chain[2]


def loss_steps(name: str) -> list[Step]:
    """From the loss itself: a function of the gap, whose weight along the path is the one used."""
    expression = loss_of(name, 1).expression
    attraction, repulsion = (derivative(expression, d) for d in (r_p, negative(1)))
    curve = quotient(-repulsion).xreplace({r_p: _S**2 * _NEAR, negative(1): pair_distance + _S * _A + _S**2 * _FAR})
    second = linear_sums(quotient((sympy.diff(curve, _S, 2) / 2).xreplace({_S: sympy.S.Zero}).doit()))
    zero_sum = decide_zero(linear_sums(quotient(attraction + repulsion)))
    return [
        Step(equation(SLOPE_POSITIVE + slope_symbol("-"), sympy.S.Zero),
             f"zero sum of statement 2, {name}: a function of r_- - r_+ alone", zero_sum),
        second_order(second, weights_of(name)[1:],
                     f"{name}: the weight -dL/dr_- along r_+ = s^2 q_+, r_- = rho + s a + s^2 q_-"),
    ]  # fmt: skip


def remainder(full: Any = None, pulled: bool = True) -> MatrixExpr:
    """theta at any spread by deviations, on the weight of a draw; without `pulled` no positive pair."""
    full, xi = full or WEIGHTS[FULL], WEIGHTS[XI]
    gap = Transpose(_FAR_F) * GAP + MatMul(HALF, _SQUARES)
    terms = [MatMul(-WEIGHTS[XI1], GAP_K, GAP, gap), MatMul(full, _FAR_K, _FAR_F)]
    if full != xi:
        terms += [MatMul(full - xi, GAP_K, GAP), MatMul(full - xi, GAP_K * _FAR_F + _FAR_K * GAP)]
    if pulled:
        terms.append(MatMul(-full, _NEAR_K, _NEAR_F))
    return Expect(sympy.MatAdd(*terms))


def remainder_steps() -> list[Step]:
    """The terms that have mean zero, and the bounds of the logistic weight."""
    xi, u = Symbol(r"\xi", real=True), Symbol("u", real=True)
    linear = scalar(XI) * (DK * FAR_F + FAR_K * DELTA)
    gap = Transpose(_FAR_F) * GAP + MatMul(HALF, _SQUARES)
    return [
        moments(linear, Moment({}), "terms of one deviation with the weight xi(rho) have mean 0",
                (Expect(MatMul(WEIGHTS[XI], GAP_K * _FAR_F + _FAR_K * GAP)), ZERO)),
        moments(scalar(XI1) * (FIRST + SECOND) * DK * DELTA, Moment({}), "the traces of both pairs cancel here too",
                (Expect(MatMul(WEIGHTS[XI1], GAP_K, GAP, gap)), ZERO)),
        zero_step(Rational(1, 4) - xi * (1 - xi), (xi - HALF) ** 2, "tau |xi'| = xi (1 - xi) is at most 1/4"),
        zero_step(
            Rational(4, 27) - u * (1 - u) ** 2, (Rational(4, 3) - u) * (u - Rational(1, 3)) ** 2,
            "with u = (1 - 2 xi)^2 <= 1: (tau^2 xi'')^2 = u (1 - u)^2/16 is at most 1/108",
        ),
    ]  # fmt: skip


def points_steps() -> list[Step]:
    """The distance between points that are unbiased to first order."""
    names = (r"\langle \Delta, b - b' \rangle", r"\|b - b'\|^2")
    along, square = (Symbol(name, real=True) for name in names)
    gap = _S**2 * along + _S**4 * square / 2
    weight = WEIGHTS[XI] + WEIGHTS[XI1] * gap + WEIGHTS[XI2] * gap**2 / 2
    why = "weight between points: r = 1/2 ||Delta + s^2 (b - b')||^2, Taylor's formula up to s^2"
    value = sympy.expand(weight).coeff(_S, 2)
    first = Step(equation(_SECOND, WEIGHTS[XI1] * along), why, decide_zero(value - WEIGHTS[XI1] * along))
    far = Transpose(_at("b") - _at("b", NEG)) * GAP
    display = tuple(
        Expect(MatMul(number * WEIGHTS[XI1], GAP_K, GAP, inside))
        for number, inside in ((1, far), (2, Transpose(_at("b")) * GAP))
    )
    two = (scalar(XI1) * inner(L("b"), DELTA) * DK * DELTA).scaled(2)
    return [first, moments(SHIFT, two, "exchange of x and x'", display)]


SHIFT = scalar(XI1) * inner(DELTA, L("b") - L("b", NEG)) * DK * DELTA

# Many negatives: the mean of ``H a/D``, ``D = 1 + a + e_2 + ... + e_H``, for independent similarities e_j.

_ANCHORED = {"point": "anchor"}
SIMILARITY = quantity("similarity", "a", where=_ANCHORED, positive=True)
MEAN = quantity("mean similarity", "m", where=_ANCHORED, positive=True)
VARIANCE = quantity("variance of the similarity", "v", where=_ANCHORED, nonnegative=True)
LEAST = quantity("least similarity", r"e_{\min}", where=_ANCHORED, positive=True)
MEAN_WEIGHT = quantity("mean weight of a negative", r"\Omega_{H}", where=_ANCHORED, positive=True)
NOISE = quantity("noise of the normaliser", "Q", where=_ANCHORED, nonnegative=True)
_INVERSE = Symbol(r"\mathbb{E}[D^{-1}]", positive=True)
CENTRE = 1 + SIMILARITY + (H - 1) * MEAN
FLOOR_D = 1 + SIMILARITY + (H - 1) * LEAST
_SLACK, _OTHERS = slack_symbol(r"\varepsilon"), Symbol("h", nonnegative=True)


def many_relations() -> tuple[Basic, ...]:
    """The weight of many negatives against its limit, and the size of the difference."""
    limit = SIMILARITY / MEAN
    off = (MEAN - 1 - SIMILARITY) / CENTRE + H * MEAN * NOISE / CENTRE**2
    return (
        equation(MEAN_WEIGHT - limit, limit * off),
        sympy.Le(NOISE, (H - 1) * VARIANCE / FLOOR_D, evaluate=False),
    )


def many_steps() -> list[Step]:
    d, centre, least = (Symbol(name, positive=True) for name in ("D", "M", r"D_{\min}"))
    return [
        zero_step((d - centre) ** 2 / d, d - 2 * centre + centre**2 / d,
                  "expanded; D = 1 + a + e_2 + ... + e_H has the mean M, so that Q = E[(D - M)^2/D] = M^2 E[1/D] - M"),
        zero_step((d - centre) ** 2 / least - (d - centre) ** 2 / d, (d - centre) ** 2 * (d - least) / (d * least),
                  "not negative, as D is at least its value where every similarity is the least one"),
        *spread_steps(), *size_steps(),
    ]  # fmt: skip


def spread_steps() -> list[Step]:
    """``E (D - M)^2 = (H - 1) v``: the mean over all ordered pairs of the H - 1 random negatives."""
    e = SIMILARITIES.moment
    own, other, again = e("e", "y") - e("e", "u"), e("e", "y'") - e("e", "v"), e("e", "y") - e("e", "v")
    spread, apart = (Symbol(name, real=True) for name in (r"\mathbb{E}[(D - M)^2]", r"\operatorname{Cov}[e_j, e_k]"))
    value, pairs = Symbol(r"\operatorname{Var}[e_j]", nonnegative=True), (H - 1) * (H - 2)
    summed = (H - 1) * value + pairs * apart
    return [
        SIMILARITIES.step(own * again, e("e", "y") * e("e", "y") - e("e", "u") * e("e", "v"), Law(),
                          "one negative: v = E[(e_j - m)^2] = E[e_j^2] - m^2", (value, None)),
        SIMILARITIES.step(own * other, Moment({}), Law(),
                          "two different negatives are independent: E[(e_j - m)(e_k - m)] = 0", (apart, sympy.S.Zero)),
        zero_step((H - 1) ** 2, (H - 1) + pairs,
                  "(D - M)^2 is the sum over (H - 1)^2 ordered pairs: H - 1 of one negative, the rest of two"),
        Step(equation(spread, (H - 1) * value), "the sum over all pairs, those of two negatives with mean 0",
             decide_zero(summed.xreplace({apart: sympy.S.Zero}) - (H - 1) * value)),
    ]  # fmt: skip


def size_steps() -> list[Step]:
    """Both terms of the difference are at most of the order 1/H, from two negatives on."""
    first = 2 / MEAN - H / CENTRE
    second = 4 * VARIANCE / (LEAST * MEAN) - H**2 * MEAN * (H - 1) * VARIANCE / (FLOOR_D * CENTRE**2)
    why = ("H >= 2: H/M is at most 2/m", "and H times H m Q/M^2 at most 4 v/(e_min m), by the bound of Q")
    steps = []
    for lacks, text in zip((first, second), why, strict=True):
        put = lacks.xreplace({H: 2 + _OTHERS})
        steps.append(Step(sympy.Ge(lacks, 0, evaluate=False), text, decide_relation(sympy.Ge(put, 0, evaluate=False))))
    return steps


SIMILARITIES = Alphabet({"e": Kind("similarity to the anchor", "e")}, {})


def many_reading() -> Reading:
    """Linearity of the mean in the equation; in the bound, what is lacking is not negative."""
    known = {MEAN_WEIGHT: H * SIMILARITY * _INVERSE, NOISE: CENTRE**2 * _INVERSE - CENTRE}
    others = {H: 1 + _OTHERS}
    bounded = {NOISE: (((H - 1) * VARIANCE - _SLACK) / FLOOR_D).xreplace(others), **others}

    def decide(relation: Basic) -> Decision:
        if isinstance(relation, sympy.Equality):
            return decide_relation(with_meanings(relation, known))
        return decide_relation(with_meanings(relation, bounded))

    return reading(decide)


# Parts.


@dataclass(frozen=True)
class Part:
    """One formula: relations, what is assumed, steps, and how it is read."""

    text: str
    relations: tuple[Basic, ...]
    assumptions: tuple[str, ...]
    steps: Callable[[], Sequence[Step]]
    read: Reading = field(compare=False)


BASE = (ONE, FREE, SHARED, PATH, MEANS)


def _loss_part(name: str) -> Part:
    """xi, xi', xi'' of a loss, and theta_2 by them."""
    margin = r_0 if name == "triplet" else sympy.S.Zero
    pull = sympy.exp((margin - pair_distance) / tau)
    xi = AT[XI]
    weight = WEIGHTS[XI]
    inside = weight * (1 - weight)
    terms = (
        MatMul(2 * inside, DEVIATION_K, GAP, ALONG),
        MatMul(2 * inside, GAP_K, DEVIATION, ALONG),
        MatMul(-BETA * inside * (1 - 2 * weight), GAP_K, GAP, ALONG, ALONG),
    )
    relations = (
        equation(xi, pull / (1 + pull)),
        equation(AT[XI1], -xi * (1 - xi) / tau),
        equation(AT[XI2], xi * (1 - xi) * (1 - 2 * xi) / tau**2),
        equation(THETA_LOSS[name], MatMul(-BETA, by_one_deviation(*terms))),
    )
    weights = dict(zip(AT.values(), weights_of(name), strict=True))
    of_moments = read_as({THETA_LOSS[name]: normal("theta")}, of_logistic)

    def decide(relation: Basic) -> Decision:
        if relation.has(MatrixExpr):
            return of_moments(Claim("", (relation,)))
        return decide_relation(with_meanings(relation, weights))

    return Part(
        f"{name}: theta_2 is of size (spread)^2/tau, with the weights of the loss",
        relations, BASE[1:], lambda: [*loss_steps(name), *pair_steps()], reading(decide),
    )  # fmt: skip


def _parts() -> dict[str, Callable[[], Part]]:
    shift = Expect(MatMul(-2 * WEIGHTS[XI1], GAP_K, GAP, Transpose(_at("b")), GAP))
    return {
        "coefficient": lambda: Part(
            "theta_2 = E[2 xi' <phi, Delta> (kappa Delta + dK phi) + xi'' <phi, Delta>^2 dK Delta]",
            (
                equation(THETA, by_one_deviation()),
                equation(GAP, _at("fbar") - _at("fbar", NEG)),
                equation(GAP_K, _at("Kbar") - _at("Kbar", NEG)),
            ),
            BASE, exchange_steps, read_as({THETA: normal("theta")}),
        ),
        "pairs": lambda: Part(
            "attraction gives -2 E[xi kappa phi] at s^2, repulsion 2 E[xi kappa phi] + theta_2: covariances cancel",
            (
                equation(ATTRACTION, MatMul(-2, _INTRA)),
                equation(REPULSION, MatMul(2, _INTRA) + by_one_deviation()),
            ),
            BASE, pair_steps, read_as({ATTRACTION: normal("attraction"), REPULSION: normal("repulsion")}),
        ),
        "infonce": lambda: _loss_part("infonce"),
        "triplet": lambda: _loss_part("triplet"),
        "simple": lambda: Part(
            "simple loss: repulsion and attraction cancel at second order, theta_2 = 0",
            (equation(SIMPLE["R"] + SIMPLE["A"], sympy.ZeroMatrix(SIZE, 1)),),
            BASE[1:], lambda: [*loss_steps("simple"), *pair_steps()],
            read_as({SIMPLE["A"]: normal("attraction"), SIMPLE["R"]: normal("repulsion")}, of_constant),
        ),
        "exact": lambda: Part(
            "any spread, any gates: -E[grad] = E[xi dK Delta] + theta, theta by products of two deviations",
            (equation(-GRADIENT, LEADING + remainder()),),
            (ONE, FREE, SHARED, "E_aug phi = E_aug kappa = 0"), remainder_steps,
            read_as({GRADIENT: UPDATE.scaled(-1)}),
        ),
        "points": lambda: Part(
            "r between unaugmented points, unbiased to first order: theta_2 - 2 E[xi' <b, Delta> dK Delta]",
            (equation(THETA_POINTS - THETA, shift),),
            (*BASE[:-1], UNBIASED), points_steps,
            read_as({THETA_POINTS: normal("theta") - SHIFT, THETA: normal("theta")}),
        ),
        "many-negatives": lambda: Part(
            "H negatives: the mean weight differs from a/m by (a/m) ((m - 1 - a)/M + H m Q/M^2) = O(1/H)",
            many_relations(), (UNAUGMENTED, FLOOR), many_steps, many_reading(),
        ),
    }  # fmt: skip


PARTS: tuple[str, ...] = (
    "coefficient", "pairs", "infonce", "triplet", "simple", "exact", "points", "many-negatives",
)  # fmt: skip
"""The formulas."""


@cache
def derive(part: str = "coefficient") -> Derivation:
    """Derive one formula of the pack."""
    chosen = _parts()[part]()
    claim = Claim(chosen.text, chosen.relations, chosen.assumptions)
    return concluded("residue-order-two", claim, chosen.steps(), chosen.read)
