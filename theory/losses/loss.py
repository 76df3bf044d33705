"""Losses of statement 2 (arXiv 2010.00578): canonical ones, a user's, derivatives, pair weights.

A loss is an expression in ``r_+`` and the distances of the negatives: ``r[k]``, k = 1..H with symbolic H, or
``r_1, r_2, ...``. With several negatives the simple and the triplet loss are the mean over them; H = 1 gives
the paper's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import comb, prod
from types import MappingProxyType

import sympy
from sympy import Expr, Indexed, Rational, Sum, Symbol, exp, log
from sympy.concrete.delta import deltasummation

from hltm.base.errors import InputError
from theory.core.decide import value_at
from theory.core.normal import Normaliser, NotExactError
from theory.core.notation import H, j, k, negative, pair_distance, r, r_0, r_p, tau

_RANGE = (k, 1, H)
CANONICAL: Mapping[str, Expr] = MappingProxyType(
    {
        "simple": Sum(r_p - r[k], _RANGE) / H,
        "triplet": Sum(tau * log(1 + exp((r_p - r[k] + r_0) / tau)), _RANGE) / H,
        "infonce": -tau * log(exp(-r_p / tau) / (exp(-r_p / tau) + Sum(exp(-r[k] / tau), _RANGE))),
    }
)
"""The three losses of the paper with symbolic H."""

_SIZE_LIMIT = 400
_ALLOWED = "r_p, r_1, r_2, ..., tau, r_0, or r[k] summed over k = 1..H"


@dataclass(frozen=True)
class Loss:
    """A loss and its distances.

    Attributes
    ----------
    expression
        In ``r_p``, ``tau``, ``r_0`` and the distances of the negatives.
    negatives
        ``(r_1, ..., r_H)`` for an explicit number, None where H is symbolic.
    name
        What to call it in a message.
    """

    expression: Expr
    negatives: tuple[Symbol, ...] | None
    name: str

    @property
    def symbolic(self) -> bool:
        """Whether the number of negatives is the symbol H."""
        return self.negatives is None


def loss_of(loss: object, negatives: int | None = None) -> Loss:
    """A loss from its canonical name or from an expression.

    Parameters
    ----------
    loss
        "simple", "triplet", "infonce", a SymPy expression in ``r_p``, ``r_1``, ..., ``tau``, ``r_0`` (found
        by name), or text in the same symbols (numbers, ``+ - * / **``, parentheses, exp, log, sqrt, max). A
        floating-point number is read as the decimal number that it prints as.
    negatives
        Explicit H, or None: symbolic for a canonical name.

    Raises
    ------
    InputError
        Where the name or a symbol is not known, or H < 1.
    """
    if negatives is not None and (isinstance(negatives, bool) or not isinstance(negatives, int) or negatives < 1):
        raise InputError(f"negatives={negatives!r} of loss {loss!r}: must be a positive integer or None")
    if isinstance(loss, str):
        if loss in CANONICAL:
            return _explicit(CANONICAL[loss], loss, negatives)
        return _resolved(_parsed(loss), loss, negatives)
    if isinstance(loss, Expr):
        return _resolved(loss, str(loss), negatives)
    raise InputError(f"loss={loss!r}: must be a name ({', '.join(CANONICAL)}) or an expression in {_ALLOWED}")


def _parsed(text: str) -> Expr:
    from theory.losses.parse import parse_loss
    from theory.syntax import LENGTH

    if text.isidentifier() and len(text) <= LENGTH and text not in ("r_p", "r_1", "tau", "r_0"):
        near = get_close_matches(text, CANONICAL, 1, 0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise InputError(f"loss={shown!r}: must be one of {', '.join(CANONICAL)} or an expression in {_ALLOWED}{hint}")
    return parse_loss(text)


def _explicit(expression: Expr, name: str, negatives: int | None) -> Loss:
    if negatives is None:
        return Loss(expression, None, name)
    symbols = tuple(negative(number) for number in range(1, negatives + 1))
    written = expression.xreplace({H: sympy.Integer(negatives)}).doit()
    return Loss(written.xreplace({r[number + 1]: s for number, s in enumerate(symbols)}), symbols, name)


def _resolved(expression: Expr, name: str, negatives: int | None) -> Loss:
    """Match the symbols of a user's expression by name."""
    decimals = {number: Rational(str(number)) for number in expression.atoms(sympy.Float)}
    expression = expression.xreplace(decimals)
    if expanded_size(expression) > _SIZE_LIMIT:
        raise InputError(f"loss {name[:60]!r}: expands to more than {_SIZE_LIMIT} terms, too many to be decided")
    if expression.has(Indexed):
        return _indexed(expression, name, negatives)
    known: dict[str, Symbol] = {"r_p": r_p, "tau": tau, "r_0": r_0}
    highest = 0
    for symbol in sorted(expression.free_symbols, key=str):
        label = str(symbol)
        if label.startswith("r_") and label[2:].isdecimal() and int(label[2:]) > 0:
            highest = max(highest, int(label[2:]))
            known[label] = negative(int(label[2:]))
        elif label not in known:
            raise InputError(f"symbol {label!r} of loss {name!r}: must be one of {_ALLOWED}")
    count = max(highest, negatives or 1)
    if count > 64:
        raise InputError(f"{count} negatives of loss {name!r}: at most 64 are written out")
    replaced = expression.xreplace({s: known[str(s)] for s in expression.free_symbols})
    return Loss(replaced, tuple(negative(number) for number in range(1, count + 1)), name)


def expanded_size(expression: Expr) -> int:
    """A bound on the number of terms of the expression multiplied out."""
    if isinstance(expression, sympy.Add):
        return sum(expanded_size(part) for part in expression.args)
    if isinstance(expression, sympy.Pow) and expression.exp.is_Integer:
        size, power = expanded_size(expression.base), min(abs(int(expression.exp)), _SIZE_LIMIT)
        return comb(size + power - 1, power)
    sizes = [expanded_size(part) for part in expression.args if isinstance(part, Expr)]
    return prod(sizes) if isinstance(expression, sympy.Mul) else max(sizes, default=1)


def _indexed(expression: Expr, name: str, negatives: int | None) -> Loss:
    allowed = {r_p, tau, r_0, H, r.label, r}
    strange = sorted(str(s) for s in expression.free_symbols - allowed if not isinstance(s, Indexed))
    if strange:
        raise InputError(f"symbol {strange[0]!r} of loss {name!r}: must be one of {_ALLOWED}")
    return _explicit(expression, name, negatives)


def derivative(expression: Expr, distance: Expr) -> Expr:
    """Derivative of a loss with respect to a distance.

    For ``r[j]`` with a free index j, 1 <= j <= H, only the term k = j of a sum over the negatives stays:
    SymPy's derivative of an indexed symbol is a Kronecker delta, which is summed out.
    """
    result = sympy.diff(expression, distance)
    if not isinstance(distance, Indexed):
        return result
    deltas = [node for node in result.atoms(Sum) if node.has(sympy.KroneckerDelta)]
    summed = {node: deltasummation(node.function, node.limits[0], no_piecewise=True) for node in deltas}
    return result.xreplace(summed).doit(deep=False)


def quotient(expression: Expr) -> Expr:
    """The expression as a cancelled quotient of polynomials in its generators, or as it stands."""
    try:
        normaliser = Normaliser([expression])
        top, bottom = normaliser.cancelled(expression)
    except NotExactError:
        return expression
    if not top:
        return sympy.S.Zero
    if len(top) == 1:
        inverse = sympy.expand(normaliser.expression(bottom) / normaliser.expression(top))
        return 1 / sympy.powsimp(inverse)
    return normaliser.expression(top) / normaliser.expression(bottom)


def linear_sums(expression: Expr) -> Expr:
    """Write finite sums by linearity: factors free of the index leave them, summands are cancelled."""
    nodes = [node for node in expression.atoms(Sum) if len(node.limits) == 1]
    return expression.xreplace({node: _linear_sum(node) for node in nodes})


def _linear_sum(node: Sum) -> Expr:
    index, low, high = node.limits[0]
    summand = node.function.xreplace({index: k})
    try:
        normaliser = Normaliser([summand], follow_signs=False)
        numerator, denominator = normaliser.cancelled(summand)
    except NotExactError:
        return node
    if not numerator:
        return sympy.S.Zero
    bottom = sympy.factor_terms(normaliser.expression(denominator))
    outer_bottom, inner_bottom = bottom.as_independent(k, as_Add=False)
    terms = []
    for monomial in numerator.terms():
        term = normaliser.expression(normaliser.ring.from_dict(dict([monomial])))
        outer, inner = term.as_independent(k, as_Add=False)
        terms.append(outer / outer_bottom * _sum(inner / inner_bottom, low, high))
    return sympy.Add(*terms)


def _sum(summand: Expr, low: Expr, high: Expr) -> Expr:
    return (high - low + 1) * summand if not summand.has(k) else Sum(summand, (k, low, high))


def pair_weight(loss: object) -> Expr:
    """Pair weight ``xi(r) = dL/dr_+`` at ``r_+ = 0``, ``r_- = r`` of a loss of the family with one negative.

    Parameters
    ----------
    loss
        A canonical name ("simple", "triplet", "infonce"), a SymPy expression or text in ``r_p``, ``r_1``,
        ``tau``, ``r_0``.

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
    """
    from theory.losses.family import family_membership

    described = loss_of(loss, 1 if isinstance(loss, str) and loss in CANONICAL else None)
    if described.negatives is None or len(described.negatives) != 1:
        raise InputError(f"loss {described.name!r}: a pair weight xi(r) is that of one negative, r_1")
    membership = family_membership(described.expression)
    if not membership.proved:
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
    value = quotient(value_at(slope, {r_p: sympy.S.Zero}).doit())
    if value.has(sympy.nan, sympy.zoo, sympy.oo):
        raise InputError(f"loss {loss.name!r}: its derivative does not exist at r_+ = 0")
    return value


FREE_NEGATIVE = r[j]
"""The distance of the j-th negative, 1 <= j <= H, j free."""
