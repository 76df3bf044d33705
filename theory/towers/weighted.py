"""Statement 4 (weighted-covariance-operator): Theorem 4 of arXiv 2010.00578 by expansion in the spread s.

``K(x;a) = Kbar(x) + s kappa(x;a)`` and ``f(x;a) = fbar(x) + s phi(x;a)`` with zero-mean kappa, phi. The
coefficient of ``s^0`` of ``-E[grad L]`` is the weighted operator; that of ``s^1`` is linear in zero-mean
noise and vanishes if r is measured between augmentation means (second order), while between unaugmented
points ``f(x) = fbar(x) + s b(x)`` it keeps a term in b: first order if the augmentation is biased to first
order, second where ``b = O(s)``, as with zero-mean noise. Only inner products enter, so the derivation holds
in all dimensions.
"""

from collections.abc import Callable
from itertools import product

import sympy
from sympy import Basic, Expr, Indexed, IndexedBase, MatrixExpr, Rational, Symbol, ZeroMatrix

from theory.core.claim import Claim, equation, undecided
from theory.core.decide import ABSTAINED, POINT, POLYNOMIAL, Decision, combine, decide_positive, decide_zero
from theory.core.derivation import Derivation, Step
from theory.core.expectation import Law, Letter, Moment, Term, decide_moment, expect, letter
from theory.core.normal import linear_sums, quotient
from theory.core.notation import negative, pair_distance, r, r_p
from theory.core.quantity import quantity
from theory.core.reading import Meaning, NotReadError, core_of, moment_of
from theory.losses.family import membership_decision, membership_of, weak_conditions
from theory.losses.loss import CANONICAL, FREE_NEGATIVE, Loss, derivative, loss_of
from theory.towers.dual_gradient import convention_step
from theory.towers.moment_steps import (
    GRADIENT,
    SHAPES,
    SIZE,
    WEIGHT,
    factored,
    letter_of,
    moment_step,
    shown,
    with_homogeneity,
)

ASSUMPTIONS = (
    "x_1, x_+ independent given x, negatives from independent points of the same law",
    "K(x;a) = Kbar(x) + s kappa(x;a), f(x;a) = fbar(x) + s phi(x;a), E_aug kappa = E_aug phi = 0",
    "the loss belongs to the family of statement 2 and is twice continuously differentiable",
)

SPREAD = Symbol("s", positive=True)
XI, SLOPE, SLOPE_OTHER = r"\xi", r"\xi'", r"\xi'_{kj}"
EVEN, ODD, POSITIVE = r"\xi^{s}", r"\xi^{a}", r"w_{+}"

ANCHOR, NEGATIVE, OTHER = "x", "x_k", "x_j"
NOISE = ("kappa", "phi", "b")
EXAMPLE_SPREAD = Symbol("s", real=True)
RESIDUE = quantity("residue", r"\theta", SIZE, 1)
RESIDUE_SIZE = quantity("norm of the residue", r"\|\theta\|", nonnegative=True)
ALL_NEGATIVES = quantity("sum over the negatives", r"\sum_{k=1}^{H}")
EXPANDED = 2
"""Orders of s that are expanded: 0 and 1."""


def derive_weighted(
    loss: object = "infonce",
    distances: str = "means",
    negatives: int | None = 1,
    convention: str = "shared",
    form: str = "operator",
    order: int | None = None,
) -> Derivation:
    """Statement 4: leading term and the order of the residue theta."""
    described = loss_of(loss, negatives)
    single = described.negatives is not None and len(described.negatives) == 1
    law = law_of(single)
    expansion, constant, weights = expansion_steps(described)
    claimed = order or (2 if distances == "means" or constant else 1)
    steps = [convention_step(convention)]
    steps += [_membership(described), *expansion, *order_zero(law, convention, single, form)]
    first, steps_first = order_one(law, convention, single, distances, constant)
    steps += steps_first
    if not single:
        steps += symmetry_steps(law, convention, described.name == "infonce")
    last = _vanishing(first, law, distances, described) if claimed == 2 else first_order_example(described)
    steps.append(last)
    residual = ZeroMatrix(SIZE, 1) if last.proved else shown(expect(first, law))
    claim = _claim(described, distances, convention, form, claimed, single, weights)
    between = "points" if distances == "points" and not constant else "means"
    series = Series(described, law, convention, single, between, form == "operator")
    return Derivation("weighted-covariance-operator", claim, tuple(steps), residual, series.read)


class Series:
    """What the symbols of the claim stand for, graded by the powers of the spread s."""

    def __init__(self, loss: Loss, law: Law, convention: str, single: bool, distances: str, homogeneous: bool) -> None:
        self.loss, self.law, self.single = loss, law, single
        self.update = negative_pair(convention, single) - positive_pair(convention)
        self.rule = with_homogeneity if homogeneous else Moment.itself
        self.weight = scalar(XI, ANCHOR, NEGATIVE)
        if distances == "points":  # the weight of the points is that of the means and a part of order 1
            self.weight = self.weight - shift_of_points(single)

    def read(self, claim: Claim) -> Decision:
        """Every relation of a claim; the order of the residue says how far the update is compared."""
        orders = [part.rhs.expr for part in claim.relations if isinstance(part.rhs, sympy.Order)]
        known = orders[0].is_polynomial(SPREAD) if len(orders) == 1 else False
        power = int(sympy.degree(orders[0], SPREAD)) if known else 0
        decisions = []
        for relation in claim.relations:
            if not isinstance(relation, sympy.Equality) or (relation.has(RESIDUE) and not relation.has(GRADIENT)):
                decisions.append(undecided(relation))
            elif relation.has(RESIDUE):
                decisions += [self._decide_update(relation, order) for order in range(min(power, EXPANDED))]
            elif isinstance(relation.rhs, sympy.Order):
                decisions.append(self._decide_order(relation, power))
            else:
                decisions.append(self._decide_weight(relation))
        if not any(relation.has(RESIDUE) for relation in claim.relations) or power < 1:
            return Decision(None, ABSTAINED, "a residue theta and its order must both be claimed")
        return combine(decisions)

    def _decide_order(self, relation: Basic, power: int) -> Decision:
        if relation.lhs != RESIDUE_SIZE or relation.rhs.expr != SPREAD**power:
            return undecided(relation)
        if power <= EXPANDED:
            return Decision(True, POLYNOMIAL, f"the coefficients of theta below s^{power} are those of the update")
        example = self.loss if self.loss.distances == (r_p, negative(1)) else None
        curve = sympy.S.Zero if example is None else theta_on_the_line(example, "means")
        value = quotient(sympy.diff(curve, EXAMPLE_SPREAD, EXPANDED).xreplace({EXAMPLE_SPREAD: sympy.S.Zero}).doit())
        if decide_positive(value) or decide_positive(-value):
            where = "f = K = x on the points -1 and 1, augmentations x and (1 - 2 s) x"
            return Decision(False, POINT, f"{where}: the coefficient of s^{EXPANDED} is half of {value}")
        return Decision(None, ABSTAINED, f"coefficients from s^{EXPANDED} on are not derived")

    def _decide_update(self, relation: Basic, order: int) -> Decision:
        """The coefficient of ``s^order`` in ``-E[grad L] = lead + theta`` with theta left out."""
        try:
            sides = [self._moment(side) for side in relation.args]
        except NotReadError as error:
            return Decision(None, ABSTAINED, str(error))
        difference = self.rule(order_part(sides[0] - sides[1], order))
        return decide_moment(difference, expect(difference, self.law), self.law, SHAPES)

    def _moment(self, side: MatrixExpr) -> Moment:
        """One side, theta put to 0; all negatives are alike, so that their sum is read term by term."""
        total = Moment({})
        for part in _terms(side):
            number, core = core_of(part)
            if not self.single and not core.has(GRADIENT):
                number = number / ALL_NEGATIVES
            if number.has(ALL_NEGATIVES) or core.has(ALL_NEGATIVES):
                raise NotReadError("a term that is not summed once over the negatives")
            total = total + moment_of(sympy.MatMul(number, core), self._meaning)[0]
        return total

    def _meaning(self, expr: Basic) -> Meaning | None:
        if expr == GRADIENT:
            return self.update.scaled(-1), True
        if expr == weight_symbol("" if self.single else "k"):
            return self.weight, False
        if expr == RESIDUE:
            raise NotReadError("theta stands elsewhere than as a term of its own")
        return letter_of(expr)

    def _decide_weight(self, relation: Basic) -> Decision:
        """The weight of a negative at s = 0: ``-dL/dr_k`` at ``r_+ = 0``."""
        for target, label in targets_of(self.loss):
            if relation.lhs == weight_symbol("" if self.single else label):
                weight = -derivative(self.loss.expression, target).xreplace(at_rest(self.loss))
                if self.single:
                    weight = weight.xreplace({target: pair_distance})
                return decide_zero(linear_sums(quotient(weight.doit())) - linear_sums(relation.rhs))
        return undecided(relation)


def _membership(loss: Loss) -> Step:
    """The loss belongs to the family, so that the pair weight is positive: the zero sum of statement 2.

    A loss that belongs to it weakly has a pair weight that is not negative.
    """
    membership = membership_of(loss)
    if membership.decision.value is False:
        weakly = membership_decision(weak_conditions(loss))
        if weakly:
            return Step(membership.steps[-1].expression, "zero sum of statement 2, and its signs as >= 0", weakly)
    return Step(membership.steps[-1].expression, "zero sum and signs of statement 2", membership.decision)


def _terms(side: MatrixExpr) -> list[MatrixExpr]:
    """The terms of a side without those that are a number times theta, whose order is that of theta."""
    factor, rest = core_of(side)
    terms = [sympy.MatMul(factor, term) for term in (rest.args if isinstance(rest, sympy.MatAdd) else (rest,))]
    return [term for term in terms if core_of(term)[1] != RESIDUE or not core_of(term)[0].is_Rational]


def _claim(
    loss: Loss, distances: str, convention: str, form: str, order: int, single: bool, weights: list[Basic]
) -> Claim:
    """The update, what its weights are for this loss, and the order of the residue."""
    lead = leading_shown(convention, single, form)
    total = lead if single else sympy.MatMul(ALL_NEGATIVES, lead)
    where = "augmentation means" if distances == "means" else "unaugmented points"
    left = "(Kbar(x) - Kbar(x'_k))" if convention == "shared" or single else "Kbar(x)"
    half = "1/2 " if convention == "one-branch" and single else ""
    right = "(fbar(x) - fbar(x'_k))]" if form == "general" else "(Kbar(x) - Kbar(x'_k))^T] vec W"
    text = (
        f"-E[grad L] = {half}sum_k E[xi_k {left} {right} + theta, "
        f"theta = O(s^{order}), for {loss.name}, r between {where} ({convention}, {form})"
    )
    relations = (equation(-GRADIENT, total + RESIDUE), *weights, order_shown(order))
    return Claim(text, relations, ASSUMPTIONS, convention)


def weight_symbol(label: str) -> Symbol:
    """``xi``, or the weight of a named negative."""
    where = {"negative": label, "point": f"{ANCHOR} {NEGATIVE}"}
    return quantity("pair weight", XI + (f"_{{{label}}}" if label else ""), where=where)


def targets_of(loss: Loss) -> list[tuple[Expr, str]]:
    """The negatives with their labels; a free one where H is symbolic."""
    return [(FREE_NEGATIVE, "j")] if loss.negatives is None else [(n, str(n)[2:]) for n in loss.negatives]


def expansion_steps(loss: Loss) -> tuple[list[Step], bool, list[Basic]]:
    """Weights of the loss along ``r_+ = s^2 q_+``, ``r_k = rho_k + s a_k + s^2 q_k``, from the loss itself.

    Two steps for every negative, or for a free one where H is symbolic. The flag says whether no weight depends on
    the distances (the simple loss). The relations are the weights at s = 0, as functions of the distances r.
    """
    parts = [_expansion(loss, target, label) for target, label in targets_of(loss)]
    steps = [step for steps, _, _ in parts for step in steps]
    return steps, all(constant for _, constant, _ in parts), [relation for _, _, relation in parts]


_CENTRES = IndexedBase(r"\rho", real=True)


def _path(distance: Expr) -> Expr:
    """``rho_k + s a_k + s^2 q_k`` for the distance of the negative k."""
    names = (r"\rho", "a", "q")
    if isinstance(distance, Indexed):
        parts = [IndexedBase(name, real=True)[distance.indices[0]] for name in names]
    else:
        parts = [Symbol(f"{name}_{{{str(distance)[2:]}}}", real=True) for name in names]
    return parts[0] + SPREAD * parts[1] + SPREAD**2 * parts[2]


def _expansion(loss: Loss, target: Expr, label: str) -> tuple[list[Step], bool, Basic]:
    """Order 0 and 1 in s of the weight ``-dL/dr_k`` of one negative."""
    near = {d: Symbol(f"q_{{{'+' if d == r_p else str(d)[2:]}}}", nonnegative=True) for d in loss.positives}
    rest = {SPREAD: sympy.S.Zero}
    weight = -derivative(loss.expression, target)
    paths = {d: _path(d) for d in weight.atoms(Indexed) | set(loss.negatives or ())}
    curve = weight.xreplace({**paths, **{d: SPREAD**2 * q for d, q in near.items()}})
    start = linear_sums(quotient(curve.xreplace(rest).doit()))
    slope = linear_sums(quotient(sympy.diff(curve, SPREAD).xreplace(rest).doit()))
    centred = {d: path.xreplace(rest) for d, path in paths.items()} | at_rest(loss)
    why, other = "weight at s = 0: xi = -dL/dr_k at r_+ = 0, r_k = rho_k", weight.xreplace(centred)
    if loss.negatives is not None and len(loss.negatives) == 1:
        why = "pair weight at s = 0: -dL/dr_- = dL/dr_+ = xi(rho) at r_+ = 0 (zero sum of statement 2)"
        other = sympy.Add(*(derivative(loss.expression, d) for d in loss.positives)).xreplace(centred)
    slopes = {sympy.diff(path, SPREAD).xreplace(rest) for path in paths.values()}
    steps = [
        Step(
            equation(weight_symbol(label), start),
            why,
            decide_zero(linear_sums(start - linear_sums(quotient(other)))),
        ),
        Step(
            equation(Symbol(rf"\frac{{d w_{{{label}}}}}{{d s}}", real=True), slope),
            "chain rule at s = 0: linear in a_k = <Delta_k, phi_1 - phi_k>; r_+ = s^2 q_+ does not enter",
            _linear_in(slope, slopes, *near.values()),
        ),
    ]
    single = loss.negatives is not None and len(loss.negatives) == 1
    back = {path: pair_distance if single else d for d, path in centred.items() if isinstance(path, Symbol)}
    shown_weight = equation(weight_symbol("" if single else label), start.xreplace(back | {_CENTRES: r}))
    return steps, slope == 0, shown_weight


def at_rest(loss: Loss) -> dict[Expr, Expr]:
    """The distances of the positives at s = 0."""
    return dict.fromkeys(loss.positives, sympy.S.Zero)


def _linear_in(expression: Expr, slopes: set[Expr], *absent: Symbol) -> Decision:
    """Homogeneous of degree one in the slopes (an indexed family as a whole), and free of what is absent."""
    if expression.has(*absent):
        return Decision(None, ABSTAINED, f"{next(s for s in absent if expression.has(s))} enters")
    factor = Symbol("c", positive=True)
    scaled: dict[Expr, Expr] = {}
    names = {str(getattr(slope, "base", slope)) for slope in slopes}
    for atom in expression.atoms(Indexed, Symbol):
        if atom in slopes or (isinstance(atom, Indexed) and str(atom.base) in names):
            scaled[atom] = factor * atom
    return decide_zero(linear_sums(expression.xreplace(scaled)) - factor * linear_sums(expression))


def order_zero(law: Law, convention: str, single: bool, form: str) -> list[Step]:
    """Coefficient of s^0: the weighted operator; the positive pair has none."""
    zero = Moment({})
    term = order_part(negative_pair(convention, single), 0)
    why = "coefficient of s^0, every negative alike"
    if convention == "one-branch" and single:
        why += "; xi is symmetric, x and x' can be exchanged"
    steps = [
        moment_step(
            term, leading(convention, single, "general"), law, why, (None, leading_shown(convention, single, "general"))
        ),
        moment_step(
            order_part(positive_pair(convention), 0), zero, law, "positive pair at s^0: both deviations are missing"
        ),
    ]
    if form == "operator":
        left, right = (with_homogeneity(leading(convention, single, "general")), leading(convention, single, form))
        display = leading_shown(convention, single, "general"), leading_shown(convention, single, form)
        why = "homogeneity (statement 1): fbar = Kbar^T vec W; E[xi dKbar dKbar^T] is V^xi"
        steps.append(moment_step(left, right, law, why, display))
    return steps


def order_one(law: Law, convention: str, single: bool, distances: str, constant: bool) -> tuple[Moment, list[Step]]:
    """Coefficient of s^1 of theta, and the steps that give it."""
    zero = Moment({})
    noise = order_part(negative_pair(convention, single), 1)
    positive = order_part(positive_pair(convention), 1)
    why = "coefficient of s^1: every term has exactly one zero-mean deviation (tower rule)"
    steps = [
        moment_step(noise, zero, law, why + ("" if single else "; weights of k and of every other negative j")),
        moment_step(positive, zero, law, "positive pair at s^1: one zero-mean deviation"),
    ]
    total = noise - positive
    if distances == "points" and not constant:
        number, left, difference = _mean_factors(convention, single)
        shift = (shift_of_points(single) * (left * difference)).scaled(number)
        total = total + shift
        text = "r of points is r of means + s <Delta, b - b'> + O(s^2), b = (f - fbar)/s the bias of the augmentation"
        steps.append(moment_step(total, shift, law, text))
    return total, steps


def _vanishing(first: Moment, law: Law, distances: str, loss: Loss) -> Step:
    """``s^1`` coefficient of theta is zero; for points it is refuted by an exact example of the loss."""
    step = moment_step(first, Moment({}), law, "the coefficient of s^1 of theta vanishes: theta is of second order")
    if step.decision.value is False and distances == "points":
        example = first_order_example(loss)
        detail = f"{step.decision.detail}; two points on a line: {sympy.sstr(example.expression)}"
        return Step(step.expression, step.justification, Decision(False, step.decision.method, detail))
    return step


def symmetry_steps(law: Law, convention: str, example: bool) -> list[Step]:
    """Several negatives: what the even and the odd part of xi_k under exchange of x and x'_k leave."""
    difference = letter("fbar", ANCHOR) - letter("fbar", NEGATIVE)
    apart = letter("Kbar", ANCHOR) - letter("Kbar", NEGATIVE)
    together = letter("Kbar", ANCHOR) + letter("Kbar", NEGATIVE)
    even, odd = scalar(EVEN, ANCHOR, NEGATIVE), scalar(ODD, ANCHOR, NEGATIVE)
    if convention == "shared":
        why = "exchange of x and x'_k: the antisymmetric part of xi_k does not act in the shared form"
        return [moment_step(odd * apart * difference, Moment({}), law, why)]
    anchor, half = letter("Kbar", ANCHOR), Rational(1, 2)
    exchange = "exchange of x and x'_k"
    return [
        moment_step(
            even * anchor * difference,
            (even * apart * difference).scaled(half),
            law,
            f"{exchange}: the symmetric part of xi_k gives half of the shared form",
        ),
        moment_step(
            odd * anchor * difference,
            (odd * together * difference).scaled(half),
            law,
            f"{exchange}: the antisymmetric part of xi_k survives in the one-branch form, at order 0",
        ),
        *([antisymmetric_example()] if example else []),
    ]


# The two pairs of the gradient as moments, graded by the spread s.


def law_of(single: bool) -> Law:
    """Zero-mean deviations; with one negative xi is symmetric in its two points."""
    parities = {EVEN: 1, ODD: -1} | ({XI: 1, SLOPE: 1} if single else {})
    return Law(means={"kappa": None, "phi": None}, symmetric=parities)


def scalar(name: str, *points: str) -> Moment:
    """A scalar letter that depends on points only."""
    return Moment.of(Letter(name, tuple((p, "") for p in points))).as_scalar()


def augmented(mean: str, noise: str, point: str, copy: str) -> Moment:
    """``mean(point) + s noise(point; copy)``; the power of s is the number of noise letters."""
    return letter(mean, point) + letter(noise, point, copy)


def order_part(moment: Moment, order: int) -> Moment:
    """The coefficient of ``s^order``: the terms with that many deviations."""

    def count(term: Term) -> int:
        return sum(item.name in NOISE for word in (term.word, *term.scalars) for item in word)

    return Moment({term: c for term, c in moment.terms.items() if count(term) == order})


def inner(point: str, toward: Moment) -> Moment:
    """``<Delta, toward>`` with ``Delta = fbar(x) - fbar(point)``."""
    delta = letter("fbar", ANCHOR) - letter("fbar", point)
    return (delta.transposed() * toward).as_scalar()


def weight_slope(single: bool, deviation: Callable[[str], Moment]) -> Moment:
    """``sum_j xi'_kj <Delta_j, d(x) - d(x_j)>``: order 1 of the weight w_k for deviations d of the outputs."""
    total = scalar(SLOPE, ANCHOR, NEGATIVE) * inner(NEGATIVE, deviation(ANCHOR) - deviation(NEGATIVE))
    if not single:
        far = inner(OTHER, deviation(ANCHOR) - deviation(OTHER))
        total = total + scalar(SLOPE_OTHER, ANCHOR, NEGATIVE, OTHER) * far
    return total


def negative_pair(convention: str, single: bool) -> Moment:
    """``w_k (K_1 - K_k)(f_1 - f_k)`` with ``w_k = xi_k + s sum_j xi'_kj <Delta_j, phi_1 - phi_j>``."""
    weight = scalar(XI, ANCHOR, NEGATIVE) + weight_slope(single, lambda point: letter("phi", point, "1"))
    return _weighted_pair(weight, (NEGATIVE, "1"), convention)


def positive_pair(convention: str) -> Moment:
    """``w_+ (K_1 - K_+)(f_1 - f_+)`` with w_+ at order 0; its change is of second order."""
    return _weighted_pair(scalar(POSITIVE, ANCHOR, NEGATIVE), (ANCHOR, "2"), convention)


def _weighted_pair(weight: Moment, second: tuple[str, str], convention: str) -> Moment:
    first = (ANCHOR, "1")
    left = augmented("Kbar", "kappa", *first)
    if convention == "shared":
        left = left - augmented("Kbar", "kappa", *second)
    return weight * left * (augmented("fbar", "phi", *first) - augmented("fbar", "phi", *second))


def _mean_factors(convention: str, single: bool) -> tuple[Rational, Moment, Moment]:
    """The number, ``Kbar(x) - Kbar(x')`` (or ``Kbar(x)`` alone) and ``fbar(x) - fbar(x')``."""
    left = letter("Kbar", ANCHOR)
    if convention == "shared" or single:
        left = left - letter("Kbar", NEGATIVE)
    number = Rational(1, 2) if convention == "one-branch" and single else Rational(1)
    return number, left, letter("fbar", ANCHOR) - letter("fbar", NEGATIVE)


def leading(convention: str, single: bool, form: str) -> Moment:
    """Claimed leading term of one negative: ``xi (Kbar(x) - Kbar(x'))(fbar(x) - fbar(x'))``."""
    number, left, difference = _mean_factors(convention, single)
    claim = (scalar(XI, ANCHOR, NEGATIVE) * left * difference).scaled(number)
    return with_homogeneity(claim) if form == "operator" else claim


def leading_shown(convention: str, single: bool, form: str) -> MatrixExpr:
    """The leading term of one negative as it is displayed, factors not multiplied out."""
    number, left, difference = _mean_factors(convention, single)
    weight = number * weight_symbol("" if single else "k")
    if form == "general":
        return factored(weight, left, difference)
    gaps = (letter("Kbar", ANCHOR) - letter("Kbar", NEGATIVE)).transposed()
    return sympy.MatMul(factored(weight, left, gaps), WEIGHT)


def order_shown(order: int) -> Basic:
    """``||theta|| = O(s^order)``."""
    return equation(RESIDUE_SIZE, sympy.Order(SPREAD**order))


def shift_of_points(single: bool) -> Moment:
    """Order 1 of xi_k at r between means minus that between points: ``-sum_j xi'_kj <Delta_j, b - b_j>``."""
    return weight_slope(single, lambda point: letter("b", point)).scaled(-1)


# Exact examples: small populations, written out by enumeration.


def theta_on_the_line(loss: Loss, distances: str) -> Expr:
    """Residue theta(s) of statement 4 (shared) for ``f = K = x`` on the points -1 and 1, one negative.

    The augmentations of x are x and (1 - 2 s) x with equal weights, so the mean is (1 - s) x and the
    deviation s x.
    """
    points = (sympy.Integer(-1), sympy.Integer(1))
    slopes = [derivative(loss.expression, distance) for distance in (r_p, negative(1))]

    def at(slope: Expr, positive: Expr, other: Expr) -> Expr:
        return slope.xreplace({r_p: positive**2 / 2, negative(1): other**2 / 2})

    def copies(x: Expr) -> tuple[Expr, Expr]:
        return x, (1 - 2 * EXAMPLE_SPREAD) * x

    update: list[Expr] = []
    for x, y in product(points, repeat=2):
        for first, second, other in product(copies(x), copies(x), copies(y)):
            near, far = sympy.expand(first - second), sympy.expand(first - other)
            value = -at(slopes[0], near, far) * near**2 - at(slopes[1], near, far) * far**2
            update.append(Rational(1, 32) * value)
    lead: list[Expr] = []
    for x, y in product(points, repeat=2):
        between = (1 - EXAMPLE_SPREAD) * (x - y) if distances == "means" else x - y
        weight = at(slopes[0], sympy.S.Zero, between)
        lead.append(Rational(1, 4) * weight * ((1 - EXAMPLE_SPREAD) * (x - y)) ** 2)
    return sympy.Add(*update) - sympy.Add(*lead)


def first_order_example(loss: Loss) -> Step:
    """``d theta / d s`` at 0 is not zero with r between unaugmented points, on the line."""
    single = loss if loss.distances == (r_p, negative(1)) else None
    if loss.name in CANONICAL:
        single = loss_of(loss.name, 1)
    if single is None:
        undecided = Decision(None, ABSTAINED, "no exact example is at hand for this loss with several negatives")
        return Step(sympy.Ne(Symbol(r"\frac{d\theta}{ds}"), 0, evaluate=False), "exact example", undecided)
    theta = theta_on_the_line(single, "points")
    value = quotient(sympy.diff(theta, EXAMPLE_SPREAD).xreplace({EXAMPLE_SPREAD: sympy.S.Zero}))
    why = (
        "d theta/ds at s = 0 in an exact example: f = K = x on the points -1 and 1, augmentations x and "
        "(1 - 2 s) x, one negative"
    )
    return _nonzero(value, why)


def _nonzero(value: Expr, why: str) -> Step:
    """A step ``value != 0``, proved by the sign of the value."""
    relation = sympy.Ne(value, 0, evaluate=False)
    if value == 0:
        return Step(relation, why, Decision(False, POLYNOMIAL, "the value is 0"))
    signs = [decide_positive(value), decide_positive(-value)]
    proof = next((d for d in signs if d.value), Decision(None, ABSTAINED, "the sign was not decided"))
    return Step(relation, f"{why}: {'positive' if signs[0].value else 'negative'}, so it does not vanish", proof)


def antisymmetric_example() -> Step:
    """InfoNCE with two negatives, one-branch: the antisymmetric part of xi_1 contributes at order 0.

    Points 1 and 2 with ``f = K = x`` and weights 1/3, 2/3, no augmentation. With ``e^{-r(1,2)/tau} = 1/(1 +
    v)``, v > 0, the one-branch value minus half of the shared one is a quotient of polynomials in v.
    """
    gap = Symbol("v", positive=True)
    points, weights = (1, 2), (Rational(1, 3), Rational(2, 3))

    def similarity(x: int, y: int) -> Expr:
        return sympy.S.One if x == y else 1 / (1 + gap)

    one_branch, shared = [], []
    for (x, a), (y, b), (z, c) in product(zip(points, weights, strict=True), repeat=3):
        weight = similarity(x, y) / (1 + similarity(x, y) + similarity(x, z))
        one_branch.append(a * b * c * weight * x * (x - y))
        shared.append(a * b * c * weight * (x - y) ** 2)
    value = quotient(sympy.Add(*one_branch) - sympy.Add(*shared) / 2)
    why = (
        "exact example: InfoNCE, H = 2, f = K = x on the points 1 and 2 with weights 1/3 and 2/3, v = e^(1/(2 tau)) - 1"
    )
    return _nonzero(value, why)
