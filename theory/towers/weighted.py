"""Statement 4 (weighted-covariance-operator): Theorem 4 of arXiv 2010.00578 by expansion in the spread s.

``K(x;a) = Kbar(x) + s kappa(x;a)`` and ``f(x;a) = fbar(x) + s phi(x;a)`` with zero-mean kappa, phi. The
coefficient of ``s^0`` of ``-E[grad L]`` is the weighted operator; that of ``s^1`` is linear in zero-mean
noise and vanishes if r is measured between augmentation means (second order), while between unaugmented
points ``f(x) = fbar(x) + s b(x)`` it keeps a term in b (first order). Only inner products enter, so the
derivation holds in all dimensions.
"""

import sympy
from sympy import Expr, Indexed, Rational, Symbol, ZeroMatrix

from theory.core.decide import ABSTAINED, Decision, decide_zero
from theory.core.derivation import Derivation, Statement, Step, equation, together, verdict
from theory.core.expectation import Law, Moment, expect, letter
from theory.core.normal import linear_sums, quotient
from theory.core.notation import r_p
from theory.dual_gradient_sizes import gradient_steps, shared_step, side
from theory.losses.family import membership_of
from theory.losses.loss import FREE_NEGATIVE, Loss, derivative, loss_of
from theory.towers.moment_steps import GRADIENT, SIZE, checked, shown, with_homogeneity
from theory.weighted_examples import antisymmetric_example, first_order_example
from theory.weighted_terms import (
    ANCHOR,
    EVEN,
    NEGATIVE,
    ODD,
    SPREAD,
    law_of,
    leading,
    leading_shown,
    negative_pair,
    order_part,
    order_shown,
    positive_pair,
    scalar,
    shift_of_points,
    weight_shown,
)

ASSUMPTIONS = (
    "x_1, x_+ independent given x, negatives from independent points of the same law",
    "K(x;a) = Kbar(x) + s kappa(x;a), f(x;a) = fbar(x) + s phi(x;a), E_aug kappa = E_aug phi = 0",
    "the loss belongs to the family of statement 2 and is twice continuously differentiable",
)


def derive_weighted(
    loss: object = "infonce",
    distances: str = "means",
    negatives: int | None = 1,
    convention: str = "shared",
    form: str = "operator",
    order: int | None = None,
) -> Derivation:
    """Statement 4: leading term and the order of the residue theta.

    Parameters
    ----------
    loss
        Canonical name or expression (``theory.losses.loss.loss_of``).
    distances
        "means" (r between augmentation means) or "points" (r between unaugmented points).
    negatives
        1, another number, or None for symbolic H.
    convention
        "shared" or "one-branch".
    form
        "operator" (``V^xi vec W``) or "general".
    order
        Order of theta in s that is claimed; None claims 2 for means and 1 for points (2 where xi does not
        depend on r).
    """
    described = loss_of(loss, negatives)
    single = described.negatives is not None and len(described.negatives) == 1
    law = law_of(single)
    expansion, constant = expansion_steps(described)
    claimed = order or (2 if distances == "means" or constant else 1)
    steps = [shared_step() if convention == "shared" else gradient_steps(side("1"), side("2"))[-1]]
    steps += [_membership(described), *expansion, *order_zero(law, convention, single, form)]
    first, steps_first = order_one(law, convention, single, distances, constant)
    steps += steps_first
    if not single:
        steps += symmetry_steps(law, convention, described.name == "infonce")
    last = _vanishing(first, law, distances, described) if claimed == 2 else first_order_example(described)
    steps.append(last)
    residual = ZeroMatrix(SIZE, 1) if last.proved else shown(expect(first, law))
    statement = _statement(described, distances, convention, form, claimed, single, expansion)
    return Derivation(
        "weighted-covariance-operator",
        statement,
        ASSUMPTIONS,
        tuple(steps),
        residual,
        verdict(steps, last.decision),
    )


def _membership(loss: Loss) -> Step:
    """The loss belongs to the family, so that the pair weight is positive: the zero sum of statement 2."""
    membership = membership_of(loss)
    return Step(membership.steps[-1].expression, "zero sum and signs of statement 2", membership.decision)


def _statement(
    loss: Loss, distances: str, convention: str, form: str, order: int, single: bool, expansion: list[Step]
) -> Statement:
    """The claim: the update, what its weights are for this loss, and the order of the residue."""
    lead = leading_shown(convention, single, form)
    total = lead if single else sympy.MatMul(Symbol(r"\sum_{k=1}^{H}"), lead)
    remainder = sympy.MatrixSymbol(r"\theta", SIZE, 1)
    where = "augmentation means" if distances == "means" else "unaugmented points"
    left = "(Kbar(x) - Kbar(x'_k))" if convention == "shared" or single else "Kbar(x)"
    half = "1/2 " if convention == "one-branch" and single else ""
    right = "(fbar(x) - fbar(x'_k))]" if form == "general" else "(Kbar(x) - Kbar(x'_k))^T] vec W"
    text = (
        f"-E[grad L] = {half}sum_k E[xi_k {left} {right} + theta, "
        f"theta = O(s^{order}), for {loss.name}, r between {where} ({convention}, {form})"
    )
    weights = [weight_shown(step.expression, single) for step in expansion[::2]]
    claimed = together([equation(-GRADIENT, total + remainder), *weights, order_shown(order)])
    return Statement(text, claimed, convention)


def expansion_steps(loss: Loss) -> tuple[list[Step], bool]:
    """Weights of the loss along ``r_+ = s^2 q_+``, ``r_k = rho_k + s a_k + s^2 q_k``, from the loss itself.

    Two steps for every negative, or for a free one where H is symbolic. The flag says whether no weight depends on
    the distances (the simple loss).
    """
    targets = [(FREE_NEGATIVE, "j")] if loss.negatives is None else [(n, str(n)[2:]) for n in loss.negatives]
    pairs = [_expansion(loss, target, label) for target, label in targets]
    return [step for steps, _ in pairs for step in steps], all(constant for _, constant in pairs)


def _path(distance: Expr) -> Expr:
    """``rho_k + s a_k + s^2 q_k`` for the distance of the negative k."""
    names = (r"\rho", "a", "q")
    if isinstance(distance, Indexed):
        parts = [sympy.IndexedBase(name, real=True)[distance.indices[0]] for name in names]
    else:
        parts = [Symbol(f"{name}_{{{str(distance)[2:]}}}", real=True) for name in names]
    return parts[0] + SPREAD * parts[1] + SPREAD**2 * parts[2]


def _expansion(loss: Loss, target: Expr, label: str) -> tuple[list[Step], bool]:
    """Order 0 and 1 in s of the weight ``-dL/dr_k`` of one negative."""
    quadratic, rest = Symbol("q_{+}", nonnegative=True), {SPREAD: sympy.S.Zero}
    weight = -derivative(loss.expression, target)
    paths = {d: _path(d) for d in weight.atoms(Indexed) | set(loss.negatives or ())}
    curve = weight.xreplace({**paths, r_p: SPREAD**2 * quadratic})
    start = linear_sums(quotient(curve.xreplace(rest).doit()))
    slope = linear_sums(quotient(sympy.diff(curve, SPREAD).xreplace(rest).doit()))
    at_rest = {d: path.xreplace(rest) for d, path in paths.items()} | {r_p: sympy.S.Zero}
    why, other = "weight at s = 0: xi = -dL/dr_k at r_+ = 0, r_k = rho_k", weight.xreplace(at_rest)
    if loss.negatives is not None and len(loss.negatives) == 1:
        why = "pair weight at s = 0: -dL/dr_- = dL/dr_+ = xi(rho) at r_+ = 0 (zero sum of statement 2)"
        other = derivative(loss.expression, r_p).xreplace(at_rest)
    slopes = {sympy.diff(path, SPREAD).xreplace(rest) for path in paths.values()}
    steps = [
        Step(
            equation(Symbol(rf"\xi_{{{label}}}", real=True), start),
            why,
            decide_zero(linear_sums(start - linear_sums(quotient(other)))),
        ),
        Step(
            equation(Symbol(rf"\frac{{d w_{{{label}}}}}{{d s}}", real=True), slope),
            "chain rule at s = 0: linear in a_k = <Delta_k, phi_1 - phi_k>; r_+ = s^2 q_+ does not enter",
            _linear_in(slope, slopes, quadratic),
        ),
    ]
    return steps, slope == 0


def _linear_in(expression: Expr, slopes: set[Expr], absent: Symbol) -> Decision:
    """Homogeneous of degree one in the slopes (an indexed family as a whole), and free of ``absent``."""
    if expression.has(absent):
        return Decision(None, ABSTAINED, f"{absent} enters")
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
        checked(
            term,
            leading(convention, single, "general"),
            law,
            why,
            (None, leading_shown(convention, single, "general")),
        ),
        checked(
            order_part(positive_pair(convention), 0),
            zero,
            law,
            "positive pair at s^0: both deviations are missing",
        ),
    ]
    if form == "operator":
        general, operator = leading(convention, single, "general"), leading(convention, single, "operator")
        decision = checked(with_homogeneity(general), operator, law, "").decision
        steps.append(
            Step(
                equation(
                    leading_shown(convention, single, "general"),
                    leading_shown(convention, single, "operator"),
                ),
                "homogeneity (statement 1): fbar = Kbar^T vec W; E[xi dKbar dKbar^T] is V^xi",
                decision,
            )
        )
    return steps


def order_one(law: Law, convention: str, single: bool, distances: str, constant: bool) -> tuple[Moment, list[Step]]:
    """Coefficient of s^1 of theta, and the steps that give it."""
    zero = Moment({})
    noise = order_part(negative_pair(convention, single), 1)
    positive = order_part(positive_pair(convention), 1)
    why = "coefficient of s^1: every term has exactly one zero-mean deviation (tower rule)"
    steps = [
        checked(noise, zero, law, why + ("" if single else "; weights of k and of every other negative j")),
        checked(positive, zero, law, "positive pair at s^1: one zero-mean deviation"),
    ]
    total = noise - positive
    if distances == "points" and not constant:
        left = letter("Kbar", ANCHOR)
        if convention == "shared" or single:
            left = left - letter("Kbar", NEGATIVE)
        pair = left * (letter("fbar", ANCHOR) - letter("fbar", NEGATIVE))
        half = Rational(1, 2) if convention == "one-branch" and single else Rational(1)
        shift = (shift_of_points(single) * pair).scaled(half)
        total = total + shift
        text = "r of points is r of means + s <Delta, b - b'> + O(s^2), b = (f - fbar)/s is not zero-mean"
        steps.append(checked(total, shift, law, text))
    return total, steps


def _vanishing(first: Moment, law: Law, distances: str, loss: Loss) -> Step:
    """``s^1`` coefficient of theta is zero; for points it is refuted by an exact example of the loss."""
    step = checked(first, Moment({}), law, "the coefficient of s^1 of theta vanishes: theta is of second order")
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
        return [checked(odd * apart * difference, Moment({}), law, why)]
    anchor, half = letter("Kbar", ANCHOR), Rational(1, 2)
    exchange = "exchange of x and x'_k"
    return [
        checked(
            even * anchor * difference,
            (even * apart * difference).scaled(half),
            law,
            f"{exchange}: the symmetric part of xi_k gives half of the shared form",
        ),
        checked(
            odd * anchor * difference,
            (odd * together * difference).scaled(half),
            law,
            f"{exchange}: the antisymmetric part of xi_k survives in the one-branch form, at order 0",
        ),
        *([antisymmetric_example()] if example else []),
    ]
