"""Losses of statement 2 (arXiv 2010.00578): canonical ones, a user's, derivatives, pair weights.

A loss is an expression in ``r_+`` (or ``r_p1, r_p2, ...`` for several positives) and the distances of the negatives:
``r[k]``, k = 1..H with symbolic H, or ``r_1, r_2, ...``. Its domain is ``r >= 0``, or ``0 <= r <= 2`` for unit outputs.
With several negatives the simple and the triplet loss are the mean over them; H = 1 gives the paper's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fractions import Fraction
from math import comb, prod
from types import MappingProxyType

import sympy
from sympy import Expr, Indexed, Rational, Sum, Symbol, exp, log
from sympy.concrete.delta import deltasummation

from hltm.base.errors import InputError
from theory.core.notation import H, j, k, negative, r, r_0, r_p, tau
from theory.core.record import differentiated
from theory.losses.parameters import Parameter, read_parameters

_RANGE = (k, 1, H)
CANONICAL: Mapping[str, Expr] = MappingProxyType(
    {
        "simple": Sum(r_p - r[k], _RANGE) / H,
        "triplet": Sum(tau * log(1 + exp((r_p - r[k] + r_0) / tau)), _RANGE) / H,
        "infonce": -tau * log(exp(-r_p / tau) / (exp(-r_p / tau) + Sum(exp(-r[k] / tau), _RANGE))),
    }
)
"""The three losses of the paper with symbolic H."""

FREE_NEGATIVE = r[j]
"""The distance of the j-th negative, 1 <= j <= H, j free."""
FEW = 4
"""Up to this many negatives everything is written out."""
_DUMMY = Symbol("r_k", nonnegative=True)
_SIZE_LIMIT = 400
_ALLOWED = "r_p, r_1, r_2, ..., tau, r_0, declared parameters, or r[k] summed over k = 1..H"


DOMAINS = ("euclidean", "sphere")
"""Where distances lie: ``r >= 0``, or ``0 <= r <= 2``, which is that of unit vectors."""
Bounds = Mapping[Expr, tuple[Expr, Expr]]


@dataclass(frozen=True)
class Loss:
    """A loss as an expression, with the symbols of its negatives (None for symbolic H) and of its positives."""

    expression: Expr
    negatives: tuple[Symbol, ...] | None
    name: str
    positives: tuple[Symbol, ...] = (r_p,)
    parameters: tuple[Parameter, ...] = ()
    domain: str = "euclidean"

    @property
    def symbolic(self) -> bool:
        """Whether the number of negatives is the symbol H."""
        return self.negatives is None

    @property
    def distances(self) -> tuple[Symbol, ...]:
        """The distances of positives and (explicit) negatives."""
        return (*self.positives, *(self.negatives or ()))

    @property
    def bounds(self) -> Bounds:
        """Closed ranges of the distances and parameters that have them."""
        from theory.losses.parse import parameter_symbol

        result: dict[Expr, tuple[Expr, Expr]] = {}
        for parameter in self.parameters:
            if parameter.low is not None and parameter.high is not None:
                ends = _rational(parameter.low), _rational(parameter.high)
                result[parameter_symbol(parameter)] = ends
        if self.domain == "sphere":
            result |= {distance: (sympy.S.Zero, sympy.Integer(2)) for distance in self.distances}
        return result


def loss_of(
    loss: object,
    negatives: int | None = None,
    parameters: Iterable[str | Parameter] = (),
    positives: int | None = None,
    domain: str | None = None,
) -> Loss:
    """A loss from its canonical name or from an expression.

    A text with cosine similarities is one of unit vectors: its domain is the sphere.
    """
    for name, value in (("negatives", negatives), ("positives", positives)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name}={value!r} of loss {loss!r}: must be a positive integer or None")
    if domain is not None and domain not in DOMAINS:
        raise InputError(f"domain={domain!r}: must be one of {', '.join(DOMAINS)}")
    declared = _declared(parameters)
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        if loss in CANONICAL:
            found = _explicit(CANONICAL[loss], loss, negatives)
            return (
                _declaring(found, declared) if domain is None else _declaring(replace(found, domain=domain), declared)
            )
        return _resolved(_parsed(loss, declared, positives), loss, negatives, declared, _domain_of(loss, domain))
    if isinstance(loss, Expr):
        return _resolved(loss, str(loss), negatives, declared, domain or DOMAINS[0])
    raise InputError(f"loss={loss!r}: must be a name ({', '.join(CANONICAL)}) or an expression in {_ALLOWED}")


def _declaring(loss: Loss, parameters: tuple[Parameter, ...]) -> Loss:
    """A canonical loss with its own parameters as they are declared."""
    from theory.losses.parse import parameter_symbol

    known = {str(symbol): symbol for symbol in loss.expression.free_symbols & {tau, r_0}}
    put = {}
    for parameter in parameters:
        if parameter.name not in known:
            raise InputError(f"parameter {parameter.name!r}: does not occur in the loss {loss.name!r}")
        value = parameter.value
        put[known[parameter.name]] = parameter_symbol(parameter) if value is None else _rational(value)
    return replace(loss, expression=loss.expression.xreplace(put), parameters=parameters) if put else loss


def _declared(parameters: Iterable[str | Parameter]) -> tuple[Parameter, ...]:
    given = tuple(parameters)
    texts = read_parameters(text for text in given if isinstance(text, str))
    return (*texts, *(parameter for parameter in given if isinstance(parameter, Parameter)))


def _domain_of(text: str, domain: str | None) -> str:
    from theory.losses.grammar import has_similarities

    if not has_similarities(text):
        return domain or DOMAINS[0]
    if domain == "euclidean":
        raise InputError(f"domain={domain!r}: s_p, s_1, ... are cosine similarities, of unit vectors: must be 'sphere'")
    return "sphere"


def _rational(number: Fraction) -> Rational:
    return Rational(number.numerator, number.denominator)


def _parsed(text: str, parameters: tuple[Parameter, ...], positives: int | None) -> Expr:
    from theory.losses.grammar import LENGTH, is_distance
    from theory.losses.parse import parse_loss

    known = is_distance(text) or text in ("tau", "r_0") or any(text == p.name for p in parameters)
    if text.isidentifier() and len(text) <= LENGTH and not known:
        near = get_close_matches(text, CANONICAL, 1, 0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise InputError(f"loss={shown!r}: must be one of {', '.join(CANONICAL)} or an expression in {_ALLOWED}{hint}")
    return parse_loss(text, parameters, positives)


def _explicit(expression: Expr, name: str, negatives: int | None) -> Loss:
    if negatives is None:
        return Loss(expression, None, name)
    symbols = tuple(negative(number) for number in range(1, negatives + 1))
    written = expression.xreplace({H: sympy.Integer(negatives)}).doit()
    return Loss(written.xreplace({r[number + 1]: s for number, s in enumerate(symbols)}), symbols, name)


def _resolved(
    expression: Expr,
    name: str,
    negatives: int | None,
    parameters: tuple[Parameter, ...] = (),
    domain: str = DOMAINS[0],
) -> Loss:
    """Match the symbols of a user's expression by name."""
    decimals = {number: Rational(str(number)) for number in expression.atoms(sympy.Float)}
    expression = expression.xreplace(decimals)
    if expanded_size(expression) > _SIZE_LIMIT:
        raise InputError(f"loss {name[:60]!r}: expands to more than {_SIZE_LIMIT} terms, too many to be decided")
    if expression.has(Indexed):
        return _indexed(expression, name, negatives)
    known, highest, count = _matched(expression, name, parameters)
    number = max(highest, negatives or 1)
    if number > 64:
        raise InputError(f"{number} negatives of loss {name!r}: at most 64 are written out")
    replaced = expression.xreplace({s: known[str(s)] for s in expression.free_symbols})
    pulled = tuple(known[f"r_p{k}"] for k in range(1, count + 1)) or (r_p,)
    symbols = tuple(negative(number) for number in range(1, number + 1))
    return Loss(replaced, symbols, name, pulled, parameters, domain)


def _matched(expression: Expr, name: str, parameters: tuple[Parameter, ...]) -> tuple[dict[str, Symbol], int, int]:
    """The symbols by name, the highest number of a negative, and the number of numbered positives."""
    from theory.losses.grammar import POSITIVES
    from theory.losses.parse import parameter_symbol, positive

    known: dict[str, Symbol] = {"r_p": r_p, "tau": tau, "r_0": r_0}
    known |= {parameter.name: parameter_symbol(parameter) for parameter in parameters}
    highest, numbered = 0, set()
    for symbol in sorted(expression.free_symbols, key=str):
        label = str(symbol)
        if label.startswith("r_") and label[2:].isdecimal() and int(label[2:]) > 0:
            highest = max(highest, int(label[2:]))
            known[label] = negative(int(label[2:]))
        elif label.startswith("r_p") and label[3:].isdecimal() and 0 < int(label[3:]) <= POSITIVES:
            numbered.add(int(label[3:]))
            known[label] = positive(int(label[3:]))
        elif label not in known:
            raise InputError(f"symbol {label!r} of loss {name!r}: must be one of {_ALLOWED}")
    if numbered and (len(numbered) < max(numbered) or r_p in expression.free_symbols):
        raise InputError(f"positives of loss {name[:60]!r}: must be r_p alone, or r_p1, r_p2, ... without a gap")
    return known, highest, len(numbered)


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
    result = differentiated(expression, distance)
    if not isinstance(distance, Indexed):
        return result
    deltas = [node for node in result.atoms(Sum) if node.has(sympy.KroneckerDelta)]
    summed = {node: deltasummation(node.function, node.limits[0], no_piecewise=True) for node in deltas}
    return result.xreplace(summed).doit(deep=False)


# Losses with many negatives in the form with symbolic H: sums of like terms become a sum over k = 1..H.


def indexed_form(loss: Loss) -> Loss | None:
    """The loss with symbolic H, or None where its negatives do not enter by sums of like terms.

    Its domain is without ends: what is proved there holds between them.
    """
    if loss.negatives is None or len(loss.negatives) <= FEW:
        return None
    result = _indexed_part(loss.expression, frozenset(loss.negatives))
    if result is None:
        return None
    open_ended = tuple(replace(p, low=None, high=None) for p in loss.parameters)
    return replace(loss, expression=result, negatives=None, parameters=open_ended, domain=DOMAINS[0])


def at_number(expression: Expr, negatives: tuple[Symbol, ...], free: Expr | None = None, chosen: int = 1) -> Expr:
    """An expression with symbolic H written out for explicit negatives; the free one becomes the chosen one."""
    if free is not None:
        expression = expression.xreplace({free: negatives[chosen - 1]})
    written = {
        node: sympy.Add(*(node.function.xreplace({r[node.limits[0][0]]: symbol}) for symbol in negatives))
        for node in expression.atoms(Sum)
    }
    return expression.xreplace(written).xreplace({H: sympy.Integer(len(negatives))})


def _indexed_part(node: Expr, negatives: frozenset[Symbol]) -> Expr | None:
    if not node.free_symbols & negatives:
        return node
    if not node.args:
        return None
    if isinstance(node, sympy.Add):
        return _indexed_sum(node, negatives)
    parts = [_indexed_part(argument, negatives) for argument in node.args]
    return None if any(part is None for part in parts) else node.func(*parts)


def _indexed_sum(node: sympy.Add, negatives: frozenset[Symbol]) -> Expr | None:
    """Terms that differ in their negative only, one for each negative, as one sum."""
    kept: list[Expr] = []
    groups: dict[Expr, set[Symbol]] = {}
    for term in node.args:
        inside = term.free_symbols & negatives
        if len(inside) == 1:
            (symbol,) = inside
            groups.setdefault(term.xreplace({symbol: _DUMMY}), set()).add(symbol)
        else:
            part = _indexed_part(term, negatives)
            if part is None:
                return None
            kept.append(part)
    if any(symbols != negatives for symbols in groups.values()):
        return None
    return sympy.Add(*kept, *(Sum(template.xreplace({_DUMMY: r[k]}), (k, 1, H)) for template in groups))
