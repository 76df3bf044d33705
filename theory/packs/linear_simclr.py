"""Linear SimCLR: the gradient flow of InfoNCE as a matrix on the right of the weights (arXiv 2110.09348).

Batch of N points with views ``x_i`` and ``x_i'``, ``d_i = 1/2 ||f_i - f_i'||^2``, ``d_ij = 1/2 ||f_i - f_j||^2`` and
``L = sum_i d_i + log(e^(-d_i) + sum_(j != i) e^(-d_ij))``. A pair k = (i, j) has the weight
``alpha_k = e^(-d_ij) / (e^(-d_i) + sum_j e^(-d_ij))``; ``g_k = x_i - x_j`` and ``h_k = x_i - x_i'``.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import sympy
from sympy import Basic, MatAdd, MatMul, MatrixExpr, Transpose, ZeroMatrix

from theory.core.claim import Claim, Reading, equation, reading, undecided
from theory.core.decide import ABSTAINED, Decision
from theory.core.derivation import Derivation, Step, concluded, zero_step
from theory.core.equality import check_identity
from theory.core.notation import SumOver, Vec, dimension
from theory.core.quantity import quantity
from theory.core.reading import NotReadError
from theory.towers.dual_gradient import identity_step

SLUG = "linear-simclr"
LINEAR = "one linear layer, or two, without normalisation of the output"
NEGATIVES = "the negatives of x_i are the first views x_j, j != i, of the batch"
THROUGH = "the gradient flows through both members of every pair"
EIGEN = "v is an eigenvector of X = Sigma_0 - Sigma_1"
FROZEN = "X is held fixed, for the exponential of time"

N1, N2, N3 = dimension("1"), dimension("2"), dimension("3")
WEIGHT = quantity("weights", "W", N2, N1, where={"layer": 1})
TOP = quantity("weights", "W_{2}", N3, N2, where={"layer": 2})
RATE = quantity("rate of the weights", r"\dot{W}", N2, N1, where={"layers": 1})
FIRST_RATE = quantity("rate of the weights", r"\dot{W}_{1}", N2, N1, where={"layers": 2})
SECOND_RATE = quantity("rate of the top weights", r"\dot{W}_{2}", N3, N2)
SPREAD = quantity("weighted data covariance", r"\Sigma_{0}", N1, N1, where={"layers": 1})
AUGMENTED = quantity("weighted augmentation covariance", r"\Sigma_{1}", N1, N1, where={"layers": 1})
SPREAD_2 = quantity("weighted data covariance", r"\Sigma_{0}", N1, N1, where={"layers": 2})
AUGMENTED_2 = quantity("weighted augmentation covariance", r"\Sigma_{1}", N1, N1, where={"layers": 2})
PAIR_WEIGHT = quantity("pair weight", r"\alpha_{k}", positive=True)
PAIR = quantity("difference of a pair", "g_{k}", N1, 1)
VIEWS = quantity("difference of two views", "h_{k}", N1, 1)
NORM_RATE = quantity("rate of half the squared norm", r"\frac{1}{2}\frac{d}{dt}\|W\|_F^2", 1, 1)
VECTOR = quantity("eigenvector", "v", N1, 1)
VALUE = quantity("eigenvalue", r"\lambda")
COMPONENT_RATE = quantity("rate along an eigenvector", r"\dot{W} v", N2, 1)
LENGTH_RATE = quantity("rate of the squared length along an eigenvector", r"\frac{d}{dt}\|W v\|^2", 1, 1)
_OTHERS: Mapping[Any, Any] = {
    PAIR_WEIGHT: quantity("pair weight", r"\alpha_{k'}", positive=True),
    PAIR: -PAIR,
    VIEWS: quantity("difference of two views", "h_{k'}", N1, 1),
}
"""The pair (j, i) of a pair (i, j): its difference has the other sign."""


def square(column: MatrixExpr) -> MatrixExpr:
    """``a a^T``."""
    return MatMul(column, Transpose(column))


TERM = PAIR_WEIGHT * (square(PAIR) - square(VIEWS))
MEANINGS: Mapping[Any, Any] = {
    **{symbol: SumOver(PAIR_WEIGHT * square(PAIR)) for symbol in (SPREAD, SPREAD_2)},
    **{symbol: SumOver(PAIR_WEIGHT * square(VIEWS)) for symbol in (AUGMENTED, AUGMENTED_2)},
    RATE: SumOver(PAIR_WEIGHT * (WEIGHT * square(PAIR) - WEIGHT * square(VIEWS))),
    FIRST_RATE: SumOver(Transpose(TOP) * TOP * WEIGHT * TERM),
    SECOND_RATE: SumOver(TOP * WEIGHT * TERM * Transpose(WEIGHT)),
    NORM_RATE: Transpose(Vec(WEIGHT)) * SumOver(Vec(WEIGHT * TERM)),
}


def generic_term(expr: MatrixExpr) -> MatrixExpr:
    """The term of a pair: of an expression that is linear in sums over all pairs, without a constant."""
    if isinstance(expr, SumOver):
        if expr.args[0].has(SumOver):
            raise NotReadError("a sum over pairs inside of another")
        return expr.args[0]
    if isinstance(expr, MatAdd):
        return MatAdd(*(generic_term(part) for part in expr.args))
    if isinstance(expr, Transpose):
        return Transpose(generic_term(expr.arg))
    if isinstance(expr, ZeroMatrix):
        return expr
    if isinstance(expr, MatMul):
        number, factors = expr.as_coeff_matrices()
        places = [place for place, factor in enumerate(factors) if factor.has(SumOver)]
        if len(places) == 1 and not sympy.sympify(number, strict=True).has(SumOver):
            (place,) = places
            return MatMul(number, *factors[:place], generic_term(factors[place]), *factors[place + 1 :])
    raise NotReadError(f"no sum over pairs: {sympy.sstr(expr):.60}")


def decide_pairs(relation: Basic) -> Decision:
    """Decide an equation of sums over pairs by the term of a pair; two opposite pairs refute it."""
    if not isinstance(relation, sympy.Equality):
        return undecided(relation)
    try:
        left, right = (generic_term(side.xreplace(dict(MEANINGS))) for side in relation.args)
    except NotReadError as error:
        return Decision(None, ABSTAINED, str(error))
    decision = check_identity(left, right)
    if decision.value is not False:
        return decision
    both = [side + side.xreplace(dict(_OTHERS)) for side in (left, right)]
    decision = check_identity(*both)
    return decision if decision.value is False else Decision(None, ABSTAINED, "terms differ, their sums may not")


def distance_steps() -> list[Step]:
    """The differential of the loss: of InfoNCE by its distances, of a distance by the weights."""
    near, far, rest = (sympy.Symbol(name, positive=True) for name in ("d_i", "d_ij", "Z"))
    total = sympy.exp(-near) + sympy.exp(-far) + rest
    loss = near + sympy.log(total)
    weight = sympy.exp(-far) / total
    change, weights = quantity("change of the weights", "dW", N2, N1), WEIGHT
    return [
        zero_step(sympy.diff(loss, far), -weight, "derivative of InfoNCE by a negative distance: -alpha_ij"),
        zero_step(
            sympy.diff(loss, near), weight + rest / total,
            "by the positive distance: 1 - alpha_ii, the sum of alpha_ij over all negatives",
        ),
        identity_step(
            Transpose(weights * PAIR) * change * PAIR, Transpose(Vec(weights * square(PAIR))) * Vec(change),
            "differential of a distance, d = 1/2 ||W g||^2: <W g g^T, dW>",
        ),
    ]  # fmt: skip


def update_relations() -> tuple[Basic, ...]:
    """The rate of the weights and both covariances."""
    return (
        equation(RATE, WEIGHT * (SPREAD - AUGMENTED)),
        equation(SPREAD, SumOver(PAIR_WEIGHT * square(PAIR))),
        equation(AUGMENTED, SumOver(PAIR_WEIGHT * square(VIEWS))),
    )


def derive_update() -> Derivation:
    """The flow of the weights."""
    text = "dW = W X, X = Sigma_0 - Sigma_1 = sum_k alpha_k (g_k g_k^T - h_k h_k^T) over all pairs k = (i, j), j != i"
    return _finished(text, update_relations(), (LINEAR, NEGATIVES, THROUGH), distance_steps())


def derive_norm() -> Derivation:
    """The squared norm grows by the weighted distances of negatives minus those of views."""
    energy = Transpose(WEIGHT * PAIR) * (WEIGHT * PAIR) - Transpose(WEIGHT * VIEWS) * (WEIGHT * VIEWS)
    relation = equation(NORM_RATE, SumOver(PAIR_WEIGHT * energy))
    text = "1/2 d||W||^2/dt = sum_k alpha_k (||W g_k||^2 - ||W h_k||^2)"
    return _finished(text, (relation,), (LINEAR, NEGATIVES, THROUGH), distance_steps())


def derive_eigenvector() -> Derivation:
    """Along an eigenvector of X the weights grow or vanish on their own."""
    image = quantity("image of the eigenvector", "X v", N1, 1)
    meanings = {
        COMPONENT_RATE: WEIGHT * image,
        LENGTH_RATE: 2 * Transpose(WEIGHT * VECTOR) * (WEIGHT * image),
        image: VALUE * VECTOR,
    }

    def decide(relation: Basic) -> Decision:
        if not isinstance(relation, sympy.Equality):
            return undecided(relation)
        return check_identity(relation.lhs, relation.rhs, meanings)

    time, start = sympy.Symbol("t", real=True), sympy.Symbol("w_{0}", real=True)
    grown = start * sympy.exp(VALUE * time)
    steps = [
        zero_step(
            sympy.diff(grown, time), VALUE * grown, "at fixed X every entry of W v is w_0 e^(lambda t): X v = lambda v"
        ),
    ]
    relations = (
        equation(COMPONENT_RATE, VALUE * WEIGHT * VECTOR),
        equation(LENGTH_RATE, 2 * VALUE * Transpose(WEIGHT * VECTOR) * (WEIGHT * VECTOR)),
    )
    text = (
        "X v = lambda v: d(W v)/dt = lambda W v and d||W v||^2/dt = 2 lambda ||W v||^2: where augmentation outweighs "
        "the data (lambda < 0) the direction v collapses"
    )
    return _finished(text, relations, (LINEAR, NEGATIVES, THROUGH, EIGEN, FROZEN), steps, reading(decide))


def balance(weight: MatrixExpr = WEIGHT, top: MatrixExpr = TOP) -> MatrixExpr:
    """The rate of ``W_1 W_1^T - W_2^T W_2`` by the product rule."""
    first, second = FIRST_RATE, SECOND_RATE
    return first * Transpose(weight) + weight * Transpose(first) - Transpose(second) * top - Transpose(top) * second


def derive_two_layers() -> Derivation:
    """Two linear layers: their flow, and the balance that it conserves."""
    x = SPREAD_2 - AUGMENTED_2
    relations = (
        equation(FIRST_RATE, Transpose(TOP) * TOP * WEIGHT * x),
        equation(SECOND_RATE, TOP * WEIGHT * x * Transpose(WEIGHT)),
        equation(balance(), ZeroMatrix(N2, N2)),
    )
    changes = [quantity("change of the weights", f"dW_{{{n}}}", *shape) for n, shape in ((1, (N2, N1)), (2, (N3, N2)))]
    inner, outer = TOP * WEIGHT * square(PAIR), TOP * changes[0] + changes[1] * WEIGHT
    steps = [
        identity_step(
            Transpose(Vec(inner)) * Vec(outer),
            Transpose(Vec(Transpose(TOP) * inner)) * Vec(changes[0])
            + Transpose(Vec(inner * Transpose(WEIGHT))) * Vec(changes[1]),
            "chain rule, W = W_2 W_1: <G, dW> = <W_2^T G, dW_1> + <G W_1^T, dW_2>",
        )
    ]
    text = "f = W_2 W_1 x: dW_1 = W_2^T W_2 W_1 X, dW_2 = W_2 W_1 X W_1^T, and W_1 W_1^T - W_2^T W_2 is conserved"
    return _finished(text, relations, (LINEAR, NEGATIVES, THROUGH), steps)


def _finished(
    text: str,
    relations: tuple[Basic, ...],
    assumptions: tuple[str, ...],
    steps: list[Step],
    read: Reading | None = None,
) -> Derivation:
    read = reading(decide_pairs) if read is None else read
    return concluded(SLUG, Claim(text, relations, assumptions), steps, read)


_DERIVATIONS = {
    "update": derive_update,
    "norm": derive_norm,
    "eigenvector": derive_eigenvector,
    "two-layers": derive_two_layers,
}
PARTS: tuple[str, ...] = tuple(_DERIVATIONS)
"""The formulas."""


@cache
def derive(part: str = PARTS[0]) -> Derivation:
    """Derive one formula of the pack."""
    return _DERIVATIONS[part]()
