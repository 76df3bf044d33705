"""Statement 2 (contrastive-losses): membership in the loss family, Theorem 2 of arXiv 2010.00578.

``dL/dr_+ > 0``, ``dL/dr_k < 0`` and ``dL/dr_+ + sum_k dL/dr_k = 0``, proved for symbolic H: the derivatives
are quotients of polynomials with positive coefficients in positive generators (or what `theory.losses.signs`
decides), and finite sums are compared by linearity. A loss that is not real and finite on the whole domain is no
member. Symmetry under an exchange of negatives is not asked for: nothing in statement 2 or 4 needs it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import sympy
from sympy import Expr, Sum, Symbol

from hltm.base.errors import InputError
from theory.core.claim import Claim, equation, reading
from theory.core.decide import (
    ABSTAINED,
    POINT,
    POLYNOMIAL,
    Decision,
    combine,
    decide_zero,
    describe,
    exact_points,
    value_at,
)
from theory.core.derivation import Derivation, Step
from theory.core.normal import linear_sums, quotient
from theory.core.notation import H, j, negative, pair_distance, r_p
from theory.core.order import decide_relation
from theory.core.quantity import quantity, within
from theory.losses.bounds import POINTS, Located, canonical, decide_zero_on, points, value_off_kinks
from theory.losses.loss import CANONICAL, FREE_NEGATIVE, Bounds, Loss, derivative, indexed_form, loss_of
from theory.losses.parameters import Parameter
from theory.losses.signs import NO_BOUNDS, domain_decision, located_signs, sign_decisions

ASSUMPTIONS = ("distances r_+, r_1, ..., r_H are not negative", "tau > 0, r_0 real", "H is a positive integer")
TEXT = "dL/dr_+ > 0, dL/dr_k < 0, dL/dr_+ + sum_k dL/dr_k = 0"
REAL = "L is real and finite"
"""The condition on the values themselves."""

_DIGITS = 30
_TINY = sympy.Float(10) ** -20
LOSS = quantity("loss", "L")
SLOPE_POSITIVE = quantity("slope of the loss", r"\frac{\partial L}{\partial r_{+}}", where={"distance": "r_+"})


def slope_symbol(label: str) -> Symbol:
    """The symbol that stands for ``dL/dr_label``."""
    name = rf"\frac{{\partial L}}{{\partial r_{{{label}}}}}"
    return quantity("slope of the loss", name, where={"distance": f"r_{label}"})


def derive_family(loss: object = "infonce", negatives: int | None = None) -> Derivation:
    """Statement 2 for a canonical loss, H symbolic (or explicit), or for a loss given as an expression."""
    return membership_of(loss_of(loss, negatives))


def family_membership(expression: object, negatives: int | None = None) -> Derivation:
    """Whether a loss belongs to the family of statement 2: two signs and a zero sum, on the whole domain.

    Parameters
    ----------
    expression
        A canonical name, or an expression in ``r_p``, ``r_1``, ..., ``tau``, ``r_0`` (see
        ``theory.losses.loss.loss_of``).
    negatives
        Explicit number of negatives, or None: what the expression says; symbolic H for a canonical name.

    Returns
    -------
    Derivation
        ``decision.value`` is True (member), False (with an exact refuting point in ``decision.detail``) or
        None.

    Source
    ------
    Statement 2; arXiv 2010.00578, Theorem 2.

    Examples
    --------
    >>> family_membership("triplet").proved
    True
    >>> family_membership(r_p + Symbol("r_1")**2).decision.value
    False
    """
    return membership_of(loss_of(expression, negatives))


def membership_of(loss: Loss) -> Derivation:
    """Derivatives, their signs, the zero sum; many negatives that enter by sums of like terms with symbolic H."""
    written = indexed_form(loss)
    if written is not None:
        general = _membership(written)
        if general.proved:
            return general
    return _membership(loss)


def _membership(loss: Loss) -> Derivation:
    count = len(loss.positives)
    labels = ["j"] if loss.negatives is None else [str(distance)[2:] for distance in loss.negatives]
    pulled = [SLOPE_POSITIVE] if count == 1 else [slope_symbol(str(distance)[2:]) for distance in loss.positives]
    shown = [*pulled, *map(slope_symbol, labels)]
    sum_shown, why = sympy.Add(*shown), "the slopes added, common denominator"
    if loss.symbolic:
        sum_shown = sympy.Add(*pulled) + Sum(slope_symbol("j"), (j, 1, H))
        why = "linearity of a finite sum, common denominator"
    slopes, simple, total = _slopes(loss)
    decision = _zero_sum(loss, total).decision
    signs = sign_decisions(loss, simple, decision)
    steps: list[Step] = []
    claimed, zero_sum = [], equation(sum_shown, sympy.S.Zero)
    for place, symbol in enumerate(shown):
        how = "differentiation"
        if place >= count and loss.symbolic:
            how = "differentiation of a finite sum: only the term k = j depends on r_j"
        exact = decide_zero(linear_sums(slopes[place]) - simple[place])
        steps.append(Step(equation(symbol, simple[place]), how, exact))
        sign = (sympy.Lt if place >= count else sympy.Gt)(symbol, 0, evaluate=False)
        steps.append(Step(sign, _how(signs[place]), signs[place]))
        claimed.append(sign)
    steps.append(Step(zero_sum, why, decision))
    domain = domain_decision(loss.expression, loss.bounds)
    if not domain:
        # That a sum of exponentials has a logarithm needs no line; that a loss is not one everywhere does.
        steps.insert(0, Step(sympy.Lt(sympy.Abs(LOSS), sympy.oo, evaluate=False), "real and finite", domain))
    residual = sympy.S.Zero if decision else quotient(total)
    text = f"{TEXT} for {loss.name}, {'symbolic H' if loss.symbolic else f'H = {len(labels)}'}"
    claim = Claim(text, (equation(LOSS, loss.expression), *claimed, zero_sum), assumptions_of(loss))
    meanings = {LOSS: loss.expression, **dict(zip(shown, slopes, strict=True))}
    known = dict(zip(claimed, signs, strict=True))

    def decide(relation: sympy.Basic) -> Decision:
        """A sign of a slope as it was decided for the loss; anything else with the slopes put in."""
        for sign, found in known.items():
            if relation == sign or (found and relation == _turned(sign)):
                return (
                    found if relation == sign else Decision(False, found.method, f"the opposite holds: {found.detail}")
                )
        written = relation.func(*(linear_sums(side.xreplace(meanings)) for side in relation.args), evaluate=False)
        return decide_relation(written)

    return Derivation("contrastive-losses", claim, tuple(steps), residual, reading(decide))


def assumptions_of(loss: Loss) -> tuple[str, ...]:
    """What is assumed of the distances and parameters of a loss."""
    first = "outputs are unit vectors, so that distances lie in [0, 2]" if loss.domain == "sphere" else ASSUMPTIONS[0]
    free = {str(symbol) for symbol in loss.expression.free_symbols}
    declared = tuple(p.text.replace("=", " is ", 1) for p in loss.parameters if p.value is None and p.name in free)
    return (first, *ASSUMPTIONS[1:], *declared)


def _turned(sign: sympy.Basic) -> sympy.Basic:
    """The opposite of a strict sign."""
    return (sympy.Gt if isinstance(sign, sympy.StrictLessThan) else sympy.Lt)(sign.lhs, sign.rhs, evaluate=False)


def _how(sign: Decision) -> str:
    if sign.detail.startswith(("coefficients", "is_positive of the expression")) or not sign:
        return "positive coefficients in positive quantities (exponentials, tau, sums of positive terms)"
    return sign.detail


def _slopes(loss: Loss) -> tuple[list[Expr], list[Expr], Expr]:
    """Derivatives by the positives and by the negatives, the same as cancelled quotients, and their sum."""
    distances = (FREE_NEGATIVE,) if loss.negatives is None else loss.negatives
    exact = [derivative(loss.expression, distance) for distance in (*loss.positives, *distances)]
    simple = [linear_sums(quotient(slope)) for slope in exact]
    if loss.negatives is None:
        return exact, simple, sympy.Add(*simple[:-1]) + linear_sums(Sum(quotient(exact[-1]), (j, 1, H)))
    return exact, simple, sympy.Add(*exact)


def pair_weight(loss: object, parameters: Iterable[str | Parameter] = (), domain: str | None = None) -> Expr:
    """Pair weight ``xi(r) = dL/dr_+`` at ``r_+ = 0``, ``r_- = r`` of a loss of the family with one negative.

    A loss that is weakly in the family (``dL/dr_+ >= 0`` off its kinks, as a hinge) has one too, ``xi >= 0``.

    Parameters
    ----------
    loss
        A canonical name ("simple", "triplet", "infonce"), a SymPy expression or text in ``r_p``, ``r_1``,
        ``tau``, ``r_0``.
    parameters
        Declared parameters of a text, as ``"beta=0.5"``, ``"m=positive"``, ``"lam=0..1"``.
    domain
        "euclidean" (distances are not negative) or "sphere" (at most 2).

    Returns
    -------
    Expr
        In the symbol ``r`` (``theory.core.notation.pair_distance``) and the parameters of the loss.

    Raises
    ------
    InputError
        Where the loss has more than one negative, is not proved to be in the family of statement 2, or is not
        one.

    Source
    ------
    Statement 4; arXiv 2010.00578, Theorem 4.

    Examples
    --------
    >>> pair_weight("infonce")
    1/(exp(r/tau) + 1)
    >>> pair_weight("relu(r_p - r_1 + 1)")
    Heaviside(1 - r)
    """
    single = 1 if isinstance(loss, str) and loss in CANONICAL else None
    described = loss_of(loss, single, parameters, domain=domain)
    if described.negatives is None or len(described.negatives) != 1 or len(described.positives) != 1:
        raise InputError(
            f"loss {described.name!r}: a pair weight xi(r) is that of one positive r_p and one negative r_1"
        )
    membership = membership_of(described)
    if not membership.proved and not membership_decision(weak_conditions(described)):
        reason = "is outside" if membership.decision.value is False else "could not be proved to be in"
        raise InputError(
            f"loss {described.name!r}: {reason} the family dL/dr_+ > 0, dL/dr_k < 0, zero sum: "
            f"{membership.decision.detail}"
        )
    return weight_at(described, derivative(described.expression, r_p)).xreplace({negative(1): pair_distance})


def pair_weights(loss: object, negatives: int) -> tuple[Expr, ...]:
    """Weights ``xi_k = -dL/dr_k`` at ``r_+ = 0`` of a loss with H negatives, in ``r_1, ..., r_H``.

    Examples
    --------
    >>> len(pair_weights("infonce", 3))
    3
    """
    described = loss_of(loss, negatives)
    distances = described.negatives or ()
    return tuple(weight_at(described, -derivative(described.expression, distance)) for distance in distances)


def weight_at(loss: Loss, slope: Expr) -> Expr:
    """A derivative of the loss at ``r_+ = 0``, as a cancelled quotient."""
    value = quotient(canonical(value_at(slope, dict.fromkeys(loss.positives, sympy.S.Zero)).doit()))
    if value.has(sympy.nan, sympy.zoo, sympy.oo):
        raise InputError(f"loss {loss.name!r}: its derivative does not exist at r_+ = 0")
    return value


# The conditions of the loss family one by one, each with its decision and a point where it fails.


@dataclass(frozen=True)
class Condition:
    """One condition of the family."""

    text: str
    quantity: str
    expression: Expr
    decision: Decision
    point: str | None = None
    value: str | None = None

    @property
    def counterexample(self) -> tuple[str, str]:
        """Two lines: the point, and the quantity that violates the condition there."""
        where = f"at {self.point}:" if self.point else f"in general ({self.decision.detail}):"
        result = self.value if self.value is not None else sympy.sstr(self.expression)
        return where, f"{self.quantity} = {result}, but the family needs {self.text}"


def family_conditions(loss: object, negatives: int | None = None) -> tuple[Condition, ...]:
    """Every condition of the family for a loss with an explicit number of negatives."""
    described = loss if isinstance(loss, Loss) else loss_of(loss, negatives)
    written = indexed_form(described)
    if written is not None:
        general = _conditions(written, len(described.negatives or ()))
        if membership_decision(general).value:
            return general
    return _conditions(described)


def weak_conditions(loss: Loss, strict: tuple[Condition, ...] | None = None) -> tuple[Condition, ...]:
    """The conditions with ``>=`` and ``<=``, off the kinks, and that the positives enter at all.

    `strict` are the conditions of the family of this loss, where they are at hand; the first that is refuted ends it.
    """
    known = strict or _conditions(loss)
    if loss.symbolic:
        return known
    *signs_of, zero, real = known
    slopes = [condition.expression for condition in signs_of]
    if zero.decision.value is False:
        return (zero,)
    found = located_signs(loss, slopes, zero.decision, strict=False, early=True)
    names = _names(loss)
    signs = []
    for place, (name, slope, one) in enumerate(zip(names, slopes, found, strict=False)):
        text, sign = (f"{name} >= 0", 1) if place < len(loss.positives) else (f"{name} <= 0", -1)
        signs.append(_condition(text, name, slope, one, sign))
    if any(one.decision.value is False for one in signs):
        return tuple(signs)
    label = " + ".join(names[: len(loss.positives)])
    pull = sympy.Add(*slopes[: len(loss.positives)])
    entering = Condition(f"{label} is not 0 everywhere", label, pull, _enters(pull, loss))
    return (*signs, zero, entering, real)


def _enters(slope: Expr, loss: Loss) -> Decision:
    """Whether a slope is not zero at some point."""
    for point in points(slope, loss.bounds, POINTS):
        value = value_off_kinks(slope, point)
        if value is not None and abs(value) > _TINY:
            return Decision(True, POINT, f"at {describe(point)} the value is {value.n(10)}")
    if decide_zero_on(slope, loss.bounds).decision:
        return Decision(False, POLYNOMIAL, "0 at every point")
    return Decision(None, ABSTAINED, "no point at which it is not 0, and no proof that there is none")


def _zero_sum(loss: Loss, total: Expr) -> Located:
    return Located(decide_zero(total)) if loss.symbolic else decide_zero_on(total, loss.bounds)


def _names(loss: Loss) -> list[str]:
    pulled = ["dL/dr_+"] if len(loss.positives) == 1 else [f"dL/d{distance}" for distance in loss.positives]
    return [*pulled, *(f"dL/d{distance}" for distance in loss.negatives or ())]


def _sum_name(loss: Loss) -> str:
    pulled = "dL/dr_+" if len(loss.positives) == 1 else "sum_i dL/dr_pi"
    return f"{pulled} + dL/dr_1" if len(loss.negatives or ()) == 1 else f"{pulled} + sum_k dL/dr_k"


def _conditions(loss: Loss, count: int | None = None) -> tuple[Condition, ...]:
    """The conditions of a loss; with symbolic H, those of its `count` negatives."""
    _, slopes, total = _slopes(loss)
    names = _names(loss) + ([] if loss.negatives else [f"dL/dr_k for each k = 1..{count}"])
    name = _sum_name(loss)
    zero = _condition(f"{name} = 0", name, total, _zero_sum(loss, total), 0, loss.bounds)
    signs = []
    for place, found in enumerate(located_signs(loss, slopes, zero.decision)):
        text, sign = (f"{names[place]} > 0", 1) if place < len(loss.positives) else (f"{names[place]} < 0", -1)
        signs.append(_condition(text, names[place], slopes[place], found, sign, loss.bounds))
    return (*signs, zero, Condition(REAL, "L", loss.expression, domain_decision(loss.expression, loss.bounds)))


def symmetric(loss: Loss) -> Decision:
    """Whether the loss is symmetric in its negatives; not a condition of the family."""
    first, *others = loss.negatives or (None,)
    swaps = (loss.expression.xreplace({first: other, other: first}) for other in others)
    return combine([decide_zero(loss.expression - swapped) for swapped in swaps])


def membership_decision(conditions: tuple[Condition, ...]) -> Decision:
    """All conditions together: refuted by one, proved by all, undecided else."""
    return combine([condition.decision for condition in conditions])


def _condition(
    text: str, quantity: str, expression: Expr, found: Located, sign: int, bounds: Bounds = NO_BOUNDS
) -> Condition:
    """A condition on the sign of a quantity, 0 for an equation; refuted with a point where it fails."""
    if found.decision.value is not False:
        return Condition(text, quantity, expression, found.decision)
    shown = expression if sign else quotient(expression)
    if found.point is not None and found.value is not None:
        value = -found.value if sign < 0 else found.value
        return Condition(text, quantity, shown, found.decision, found.point, _written(value))
    with within(bounds):
        return Condition(text, quantity, shown, found.decision, *_point(expression, sign))


def _point(expression: Expr, sign: int) -> tuple[str | None, str | None]:
    """A point where the expression has another sign, or (sign 0) is not zero, and its value there."""
    for point, value in exact_points(expression):
        number = sympy.N(value, _DIGITS)
        if not number.is_number or not number.is_real or not number.is_finite:
            continue
        wrong = sign * number < -_TINY or number == 0 if sign else abs(number) > _TINY
        if wrong:
            return describe(point), _written(value)
    return None, None


def _written(value: Expr) -> str:
    exact = value.is_Rational and len(sympy.sstr(value)) < _DIGITS
    return str(sympy.sstr(value if exact else value.n(10)))
