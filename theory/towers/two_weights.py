"""The update of any loss of distances: a weight alpha for positive pairs, and beta_k for negatives.

``alpha_i = dL/dr_pi`` and ``beta_k = -dL/dr_k``, at the distances of a tuple. The chain rule and statement 1 give
``-E[grad L] = sum_k E[beta_k (K_1 - K_k)(K_1 - K_k)^T] vec W - sum_i E[alpha_i (K_1 - K_i)(K_1 - K_i)^T] vec W``, the
update of both towers, exactly and with any augmentation. No zero sum is needed; where a kink is met the loss has no
slope, and nothing is said. Beyond arXiv 2010.00578, whose Theorem 4 is the case of one weight.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import sympy
from sympy import Basic, Expr, MatrixExpr, Symbol

from theory.core.claim import Claim, equation, undecided
from theory.core.decide import ABSTAINED, Decision, combine, decide_zero
from theory.core.derivation import Derivation, Step
from theory.core.expectation import Law, Letter, Moment, decide_moment, expect
from theory.core.normal import linear_sums, quotient
from theory.core.quantity import quantity
from theory.core.reading import Meaning, NotReadError, core_of, moment_of
from theory.losses.bounds import canonical
from theory.losses.loss import CANONICAL, FREE_NEGATIVE, Loss, derivative, loss_of
from theory.losses.parameters import Parameter
from theory.towers.dual_gradient import convention_step
from theory.towers.moment_steps import (
    GRADIENT,
    SHAPES,
    WEIGHT,
    factored,
    letter_of,
    moment_step,
    pair_factors,
    with_homogeneity,
)

ANCHOR, PULLED, PUSHED = ("x", "1"), ("x", "2"), ("x_k", "1")
LAW = Law()
ASSUMPTIONS = (
    "the loss has a derivative at the distances of almost every tuple",
    "both towers have one tensor of weights (shared), and every tower has a gradient",
)
ALL_POSITIVES = quantity("sum over the positives", r"\sum_{i=1}^{P}")
ALL_NEGATIVES = quantity("sum over the negatives", r"\sum_{k=1}^{H}")


@dataclass(frozen=True)
class TwoWeights:
    """Weights of the update of a loss: ``alphas`` of the positives, ``betas`` of the negatives, in the distances.

    Examples
    --------
    >>> found = two_weights("r_p + exp(-r_1)")
    >>> found.alphas, found.betas
    ((1,), (exp(-r_1),))
    """

    alphas: tuple[Expr, ...]
    betas: tuple[Expr, ...]


def two_weights(loss: object, parameters: Iterable[str | Parameter] = (), domain: str | None = None) -> TwoWeights:
    """Weights ``alpha_i = dL/dr_pi`` and ``beta_k = -dL/dr_k`` of any loss of distances.

    Parameters
    ----------
    loss
        A canonical name (with one negative), a SymPy expression or text in ``r_p`` (or ``r_p1``, ``r_p2``, ...),
        ``r_1``, ..., ``tau``, ``r_0``.
    parameters
        Declared parameters of a text, as ``"beta=0.5"``, ``"m=positive"``, ``"lam=0..1"``.
    domain
        "euclidean" or "sphere".

    Returns
    -------
    TwoWeights
        In the distances and the parameters of the loss; a derivative where there is a kink is that of either side.

    Raises
    ------
    InputError
        As ``theory.pair_weight``; membership in the family is not needed.

    Source
    ------
    The chain rule and statement 1 (arXiv 2010.00578, Theorem 1).

    Examples
    --------
    >>> two_weights("r_p + exp(-r_1)").betas
    (exp(-r_1),)
    """
    single = 1 if isinstance(loss, str) and loss in CANONICAL else None
    return weights_of(loss_of(loss, single, parameters, domain=domain))


def weights_of(loss: Loss) -> TwoWeights:
    """The weights of a loss with an explicit number of negatives, or of the free one."""
    negatives = (FREE_NEGATIVE,) if loss.negatives is None else loss.negatives
    alphas = tuple(_shown(derivative(loss.expression, distance)) for distance in loss.positives)
    return TwoWeights(alphas, tuple(_shown(-derivative(loss.expression, distance)) for distance in negatives))


def named_weights(loss: Loss) -> list[tuple[str, Expr]]:
    """Every weight with its name: ``alpha`` or ``alpha_i`` of the positives, then ``beta`` or ``beta_k``."""
    weights = weights_of(loss)
    names = [symbol.name.removeprefix("\\").translate(_PLAIN) for symbol, _ in _named(loss)]
    return list(zip(names, (*weights.alphas, *weights.betas), strict=True))


_PLAIN = str.maketrans("", "", "{}")


def _shown(slope: Expr) -> Expr:
    return linear_sums(quotient(canonical(slope)))


def derive_two_weights(loss: Loss, form: str = "operator") -> Derivation:
    """The update of a loss with its weights; "general" has the outputs in place of ``K^T vec W``."""
    weights = weights_of(loss)
    steps = [convention_step("shared")]
    relations: list[Basic] = []
    for (symbol, distance), weight in zip(_named(loss), (*weights.alphas, *weights.betas), strict=True):
        turn = -1 if distance not in loss.positives else 1
        exact = turn * derivative(loss.expression, distance)
        why = "weight of a positive pair: dL/dr" if turn == 1 else "weight of a negative: -dL/dr"
        relations.append(equation(symbol, weight))
        steps.append(Step(relations[-1], why, decide_zero(linear_sums(canonical(exact)) - weight)))
    reader = _Reader(loss, dict(zip((s for s, _ in _named(loss)), relations, strict=True)), form)
    general = _pairs(loss, "general")
    why = "chain rule, and statement 1 for each pair: grad L = sum_i alpha_i grad r_pi - sum_k beta_k grad r_k"
    steps.append(Step(equation(-GRADIENT, general), why, reader.update(equation(-GRADIENT, general))))
    claimed = equation(-GRADIENT, _pairs(loss, form))
    if form == "operator":
        steps += [_homogeneous(PUSHED, BETA), _homogeneous(PULLED, ALPHA)]
    claim = Claim(_text(loss, form), (claimed, *relations), ASSUMPTIONS, "shared")
    return Derivation("two-weight-update", claim, tuple(steps), None, reader.read)


ALPHA = Moment.of(Letter(r"\alpha", (ANCHOR, PULLED, PUSHED))).as_scalar()
BETA = Moment.of(Letter(r"\beta", (ANCHOR, PULLED, PUSHED))).as_scalar()


def _weight_symbol(name: str, label: str) -> Symbol:
    role = "weight of a positive pair" if name == r"\alpha" else "weight of a negative"
    return quantity(role, name + (f"_{{{label}}}" if label else ""), where={"pair": label})


def _alpha_here(loss: Loss) -> Symbol:
    return _weight_symbol(r"\alpha", "" if len(loss.positives) == 1 else "i")


def _beta_here(loss: Loss) -> Symbol:
    return _weight_symbol(r"\beta", "" if _is_single(loss) else "k")


def _is_single(loss: Loss) -> bool:
    return loss.negatives is not None and len(loss.negatives) == 1


def _named(loss: Loss) -> list[tuple[Symbol, Expr]]:
    """The symbol of the weight of every distance."""
    one = len(loss.positives) == 1
    pulled = [(_weight_symbol(r"\alpha", "" if one else str(d)[3:]), d) for d in loss.positives]
    if loss.negatives is None:
        return [*pulled, (_weight_symbol(r"\beta", "j"), FREE_NEGATIVE)]
    single = len(loss.negatives) == 1
    return [*pulled, *((_weight_symbol(r"\beta", "" if single else str(d)[2:]), d) for d in loss.negatives)]


def _pairs(loss: Loss, form: str) -> MatrixExpr:
    """The negatives minus the positives, as displayed."""
    pushed = _pair_shown(_beta_here(loss), PUSHED, form)
    pulled = _pair_shown(_alpha_here(loss), PULLED, form)
    if not _is_single(loss):
        pushed = sympy.MatMul(ALL_NEGATIVES, pushed)
    if len(loss.positives) > 1:
        pulled = sympy.MatMul(ALL_POSITIVES, pulled)
    return pushed + sympy.MatMul(-1, pulled)


def _pair_shown(weight: Symbol, other: tuple[str, str], form: str) -> MatrixExpr:
    left, right = pair_factors(ANCHOR, other, "shared")
    if form == "general":
        return factored(weight, left, right)
    return sympy.MatMul(factored(weight, left, left.transposed()), WEIGHT)


def _pair(weight: Moment, other: tuple[str, str]) -> Moment:
    left, right = pair_factors(ANCHOR, other, "shared")
    return weight * left * right


def _homogeneous(other: tuple[str, str], weight: Moment) -> Step:
    general = _pair(weight, other)
    name = _weight_symbol(r"\alpha" if weight is ALPHA else r"\beta", "" if weight is ALPHA else "k")
    display = (_pair_shown(name, other, "general"), _pair_shown(name, other, "operator"))
    why = "homogeneity (statement 1): f_L = K_l^T vec W_l on both sides of the pair"
    return moment_step(with_homogeneity(general), with_homogeneity(general), LAW, why, display)


def _text(loss: Loss, form: str) -> str:
    gap = "(K_1 - K_k)^T] vec W" if form == "operator" else "(f_1 - f_k)]"
    near = gap.replace("_k", "_+")
    shown = loss.name if len(loss.name) <= 60 else loss.name[:57] + "..."
    return f"-E[grad L] = sum_k E[beta_k (K_1 - K_k){gap} - sum_i E[alpha_i (K_1 - K_+){near}, for {shown} (shared)"


class _Reader:
    """What the symbols of the claim stand for; a sum over pairs that are alike is read term by term."""

    def __init__(self, loss: Loss, weights: dict[Symbol, Basic], form: str) -> None:
        self.loss, self.weights = loss, weights
        self.rule = with_homogeneity if form == "operator" else Moment.itself

    def read(self, claim: Claim) -> Decision:
        """Every relation of a claim: the update, and the weights of this loss."""
        if not any(relation.has(GRADIENT) for relation in claim.relations):
            return Decision(None, ABSTAINED, "no update is claimed")
        return combine([self._decide(relation) for relation in claim.relations])

    def _decide(self, relation: Basic) -> Decision:
        if not isinstance(relation, sympy.Equality):
            return undecided(relation)
        if relation.has(GRADIENT):
            return self.update(relation)
        if relation.lhs in self.weights:
            return decide_zero(linear_sums(self.weights[relation.lhs].rhs) - linear_sums(relation.rhs))
        return undecided(relation)

    def update(self, relation: Basic) -> Decision:
        """An equation of moments, the expected gradient being what the chain rule says."""
        try:
            sides = [self._moment(side) for side in relation.args]
        except NotReadError as error:
            return Decision(None, ABSTAINED, str(error))
        difference = self.rule(sides[0] - sides[1])
        return decide_moment(difference, expect(difference, LAW), LAW, SHAPES)

    def _moment(self, side: MatrixExpr) -> Moment:
        factor, rest = core_of(side)
        total = Moment({})
        for term in rest.args if isinstance(rest, sympy.MatAdd) else (rest,):
            number, core = core_of(sympy.MatMul(factor, term))
            for name, weight, many in (
                (_alpha_here(self.loss), ALL_POSITIVES, len(self.loss.positives) > 1),
                (_beta_here(self.loss), ALL_NEGATIVES, not _is_single(self.loss)),
            ):
                if many and core.has(name):
                    number = number / weight
            if number.has(ALL_POSITIVES, ALL_NEGATIVES) or core.has(ALL_POSITIVES, ALL_NEGATIVES):
                raise NotReadError("a term that is not summed once over its pairs")
            total = total + moment_of(sympy.MatMul(number, core), self._meaning)[0]
        return total

    def _meaning(self, expr: Basic) -> Meaning | None:
        if expr == GRADIENT:
            return (_pair(ALPHA, PULLED) - _pair(BETA, PUSHED)), True
        if expr == _alpha_here(self.loss):
            return ALPHA, False
        if expr == _beta_here(self.loss):
            return BETA, False
        return letter_of(expr)
