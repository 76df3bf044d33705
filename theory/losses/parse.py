"""Parse a loss from text with a grammar of its own (lark, LALR); nothing is evaluated as code.

Numbers, the symbols ``r_p``, ``r_1`` .. ``r_64``, ``r_p1`` .. ``r_p8`` (several positives), ``s_p``, ``s_1``, ...
(cosine similarities), ``tau``, ``r_0``, declared parameters, the operators ``+ - * / ** ^``, parentheses, and the
functions ``theory.losses.grammar.FUNCTIONS``. Length, nesting, exponents and the size of numbers are limited. The
parser and what it builds are iterative: no text can exhaust the stack.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from lark import Lark, Token
from lark.exceptions import UnexpectedInput
from sympy import Expr, Rational, Symbol

from theory.core.notation import r_0, r_p, tau
from theory.losses.grammar import (
    DISTANCE,
    FUNCTIONS,
    GRAMMAR,
    KNOWN,
    POSITIVES,
    check_length,
    is_distance,
    refused_at,
    unexpected,
)
from theory.losses.parameters import Parameter

_DEPTH, _POWER, _DEGREE, _DIGITS, _BITS, _ARGUMENTS = 40, 16, 64, 30, 2_000, 16
_EXPONENTIAL = ("exp", "tanh", "sigmoid", "softplus")
_MANY, _SUMS = ("max", "min"), ("sum_p", "mean_p")


def _tanh(x: Expr) -> Expr:
    return 1 - 2 / (sympy.exp(2 * x) + 1)


_FUNCTIONS: dict[str, Callable[..., Expr]] = {
    "exp": sympy.exp,
    "log": sympy.log,
    "log1p": lambda x: sympy.log(1 + x),
    "sqrt": sympy.sqrt,
    "abs": lambda x: sympy.Max(x, -x),  # so that every kink is that of a maximum
    "min": sympy.Min,
    "max": sympy.Max,
    "relu": lambda x: sympy.Max(sympy.S.Zero, x),
    "tanh": _tanh,
    "sigmoid": lambda x: 1 / (1 + sympy.exp(-x)),
    "softplus": lambda x: sympy.log(1 + sympy.exp(x)),
}


def positive(number: int) -> Symbol:
    """The squared distance ``r_p1``, ``r_p2``, ... of one of several positives."""
    return Symbol(f"r_p{number}", nonnegative=True)


def similarity(distance: Symbol) -> Symbol:
    """The cosine similarity ``s_p``, ``s_1``, ... of the pair whose distance is ``r_p``, ``r_1``, ..."""
    return Symbol("s" + str(distance)[1:], real=True)


def parameter_symbol(parameter: Parameter) -> Symbol:
    """The symbol of a declared parameter without a value, with what is declared of it."""
    if parameter.name == "tau":
        return tau
    if parameter.name == "r_0" and parameter.kind == "real":
        return r_0
    return Symbol(parameter.name, **{parameter.kind: True})


def parse_loss(
    text: str, parameters: Iterable[Parameter] = (), positives: int | None = None, similarities: bool = False
) -> Expr:
    """Parse a loss; refuse a text outside of the grammar or beyond its limits.

    `parameters` are declared names. `positives` is what ``sum_p`` runs over: by default the highest ``r_p1``, ``r_p2``,
    ... of the text, at least 2. A cosine similarity ``s_p`` is read as ``1 - r_p``, which it is for unit vectors; with
    `similarities` it is kept as a symbol of its own.
    """
    check_length(text)
    declared = tuple(parameters)
    try:
        count = _positives(text, positives)
        result: Expr = _grammar(declared, count, similarities).parse(text).value  # type: ignore[attr-defined]
        _check_positives(text, result)
    except _RefusedError as refused:
        raise refused_at(text, refused.what, refused.place, refused.rule) from None
    except UnexpectedInput as error:
        raise unexpected(text, error) from None
    except (MemoryError, RecursionError) as error:
        raise refused_at(text, text.strip()[:20], 0, f"too large to be read ({type(error).__name__})") from None
    if any(_bits(number) > _BITS for number in result.atoms(Rational)):
        raise refused_at(text, text.strip()[:20], 0, f"numbers of more than {_BITS} bits arise, which is too large")
    undefined = result.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.I)
    if undefined or any(part.is_real is False for part in result.atoms(sympy.log, sympy.Pow)):
        raise refused_at(text, text.strip()[:20], 0, "must be a finite real expression")
    return result


def _positives(text: str, given: int | None) -> int:
    """The number of positives that ``sum_p`` runs over."""
    written = [int(match[3]) for match in DISTANCE.finditer(text) if match[2] and match[3]]
    highest = max((number for number in written if number <= POSITIVES), default=0)
    if given is not None and not max(highest, 1) <= given <= POSITIVES:
        raise _RefusedError(f"positives={given}", 0, f"must be from {max(highest, 1)} to {POSITIVES}")
    return given or max(highest, 2)


def _check_positives(text: str, result: Expr) -> None:
    """Several positives are numbered from 1 without a gap, and no ``r_p`` stands beside them."""
    names = {str(s) for s in result.free_symbols if is_distance(str(s)) and str(s)[2:3] == "p"}
    numbered = sorted(int(name[3:]) for name in names if name[3:])
    plain = sorted(name for name in names if not name[3:])
    if numbered and plain:
        rule = "stands beside r_p1, r_p2, ...: number every positive"
        raise _RefusedError(plain[0], _place(text, "p"), rule)
    missing = sorted(set(range(1, max(numbered, default=0) + 1)) - set(numbered))
    if missing:
        last = f"p{numbered[-1]}"
        rule = f"positives are numbered from 1: r_p{missing[0]} is missing"
        raise _RefusedError(f"r_{last}", _place(text, last), rule)


def _place(text: str, label: str) -> int:
    match = re.search(rf"\b[rs]_{label}\b", text)
    return match.start() if match else 0


@lru_cache(maxsize=8)
def _grammar(parameters: tuple[Parameter, ...] = (), positives: int = 2, similarities: bool = False) -> Lark:
    builder = _Builder(parameters, positives, similarities)
    return Lark(GRAMMAR, parser="lalr", lexer="basic", transformer=builder, maybe_placeholders=False)


class _RefusedError(Exception):
    """A part that follows the grammar and is beyond its limits: what, where, and the rule."""

    def __init__(self, what: str, place: int, rule: str) -> None:
        super().__init__(what)
        self.what, self.place, self.rule = what, place, rule


@dataclass(frozen=True)
class _Part:
    """An expression, the character where it starts, how deep it is nested, and the product of nested exponents."""

    value: Expr
    place: int
    depth: int = 0
    degree: int = 1


class _Builder:
    """Build the part of every rule from its children; lark calls it bottom up while it parses."""

    def __init__(self, parameters: tuple[Parameter, ...], positives: int, similarities: bool) -> None:
        self._positives, self._similarities = positives, similarities
        self._symbols: dict[str, Expr] = {"tau": tau, "r_0": r_0}
        for parameter in parameters:
            value = parameter.value
            exact = None if value is None else Rational(value.numerator, value.denominator)
            self._symbols[parameter.name] = parameter_symbol(parameter) if exact is None else exact

    def start(self, children: list[_Part]) -> _Part:
        return children[0]

    def sum(self, children: list[Any]) -> _Part:
        first, pairs = _pairs(children)
        terms = [term.value if sign.type == "PLUS" else -term.value for sign, term in pairs]
        value = sympy.Add(first.value, *terms) if terms else first.value
        return _joined(value, first.place, [first, *(term for _, term in pairs)])

    def product(self, children: list[Any]) -> _Part:
        first, pairs = _pairs(children)
        factors = [first.value]
        for sign, part in pairs:
            if sign.type == "OVER" and part.value == 0:
                raise _RefusedError("/", part.place, "division by zero")
            factors.append(part.value if sign.type == "TIMES" else 1 / part.value)
        value = sympy.Mul(*factors) if pairs else first.value
        return _joined(value, first.place, [first, *(part for _, part in pairs)])

    def signed(self, children: list[Any]) -> _Part:
        part: _Part = children[-1]
        negated = sum(sign.type == "MINUS" for sign in children[:-1]) % 2
        return replace(part, value=-part.value) if negated else part

    def power(self, children: list[Any]) -> _Part:
        base: _Part = children[0]
        exponent: _Part = children[-1]
        if len(children) == 1:
            return base
        degree = _check_power(base, exponent)
        depth = _deeper([base, exponent], "^", exponent.place)
        return _sized(_Part(base.value**exponent.value, base.place, depth, degree))

    def number(self, children: list[Token]) -> _Part:
        text, place = str(children[0]), int(children[0].start_pos or 0)
        mantissa, _, exponent = text.lower().partition("e")
        if len(text) > _DIGITS or (exponent and abs(int(exponent)) > _DIGITS):
            raise _RefusedError(text, place, f"a number may have at most {_DIGITS} digits")
        exact = Fraction(mantissa) * Fraction(10) ** int(exponent or 0)
        return _Part(Rational(exact.numerator, exact.denominator), place)

    def symbol(self, children: list[Token]) -> _Part:
        name, place = str(children[0]), int(children[0].start_pos or 0)
        if is_distance(name):
            return _Part(self._distance(name), place)
        if name in FUNCTIONS:
            raise _RefusedError(name, place, "'(' is needed after a function")
        if name not in self._symbols:
            raise _RefusedError(name, place, KNOWN)
        return _Part(self._symbols[name], place)

    def _distance(self, name: str) -> Expr:
        """A distance, or a similarity as 1 minus the distance."""
        distance = r_p if name[2:] == "p" else Symbol("r" + name[1:], nonnegative=True)
        if name[0] == "r":
            return distance
        return similarity(distance) if self._similarities else 1 - distance

    def nested(self, children: list[Any]) -> _Part:
        inner: _Part = children[1]
        return replace(inner, depth=_deeper([inner], "(", inner.place))

    def call(self, children: list[Any]) -> _Part:
        token, parts = children[0], [part for part in children if isinstance(part, _Part)]
        name, place, values = str(token), int(token.start_pos or 0), [part.value for part in parts]
        if name not in FUNCTIONS:
            is_symbol = name in self._symbols or is_distance(name)
            raise _RefusedError(name, place, "is a symbol and takes no argument" if is_symbol else KNOWN)
        depth = _deeper(parts, name, place)
        if len(values) > (_ARGUMENTS if name in _MANY else 1):
            rule = f"takes at most {_ARGUMENTS} arguments" if name in _MANY else "takes one argument"
            raise _RefusedError(name, place, rule)
        degree = max(part.degree for part in parts)
        if name in _SUMS:
            return _sized(_Part(self._over_positives(name, values[0], place), place, depth, degree))
        argument = values[0] + 1 if name == "log1p" else values[0]
        if name in ("log", "log1p") and argument.is_zero:
            raise _RefusedError(name, place, "the logarithm of zero is not defined")
        if name in _EXPONENTIAL and values[0].has(sympy.exp):
            raise _RefusedError(name, place, "an exponential in the exponent is not supported")
        # SymPy writes exp(n log 2) as the integer 2**n, which can fill the memory.
        if name in _EXPONENTIAL and values[0].has(sympy.log):
            raise _RefusedError(name, place, "a logarithm in the exponent is not supported")
        try:
            value = _FUNCTIONS[name](*values)
        except ValueError:  # a maximum of numbers that are not real
            raise _RefusedError(name, place, "the arguments must be real") from None
        if isinstance(value, sympy.Max | sympy.Min) and len(value.args) > _ARGUMENTS:
            raise _RefusedError(name, place, f"takes at most {_ARGUMENTS} arguments")
        return _Part(value, place, depth, degree)

    def _over_positives(self, name: str, value: Expr, place: int) -> Expr:
        """The sum, or mean, of an expression in r_p over the positives."""
        if r_p not in value.free_symbols and similarity(r_p) not in value.free_symbols:
            raise _RefusedError(name, place, "needs r_p (or s_p) inside, which runs over the positives")
        numbers = range(1, self._positives + 1)
        copies = [value.xreplace({r_p: positive(k), similarity(r_p): similarity(positive(k))}) for k in numbers]
        return sympy.Add(*copies) / (self._positives if name == "mean_p" else 1)


def _pairs(children: list[Any]) -> tuple[_Part, list[tuple[Token, _Part]]]:
    """The first operand, and each operator with the operand that follows."""
    return children[0], list(zip(children[1::2], children[2::2], strict=True))


def _deeper(parts: list[_Part], what: str, place: int) -> int:
    depth = 1 + max(part.depth for part in parts)
    if depth > _DEPTH:
        raise _RefusedError(what, place, f"at most {_DEPTH} levels of nesting are allowed")
    return depth


def _joined(value: Expr, place: int, parts: list[_Part]) -> _Part:
    """A sum or product, as deep as the deepest of its operands."""
    return _sized(_Part(value, place, max(part.depth for part in parts), max(part.degree for part in parts)))


def _bits(number: Rational) -> int:
    return max(int(number.p).bit_length(), int(number.q).bit_length())


def _sized(part: _Part) -> _Part:
    """The part, unless its coefficient is a number that is too large."""
    if _bits(part.value.as_coeff_Mul(rational=True)[0]) > _BITS:
        raise _RefusedError("number", part.place, f"a number of more than {_BITS} bits is too large")
    return part


def _check_power(base: _Part, exponent: _Part) -> int:
    """The degree of a power that is allowed."""
    power, place = exponent.value, exponent.place
    if not power.is_Rational or abs(power) > _POWER or power.q > _POWER:
        shown = str(power) if not power.is_Rational or power.p.bit_length() < 99 else "exponent"
        raise _RefusedError(shown, place, f"an exponent must be a number of size at most {_POWER}")
    if base.value == 0 and power < 0:
        raise _RefusedError("0", place, "division by zero")
    if _bits(base.value.as_coeff_Mul(rational=True)[0]) * abs(power) > _BITS:
        raise _RefusedError(str(power), place, "the power is too large a number")
    if base.value.is_Rational:
        return 1
    degree = base.degree * max(1, -int(-abs(power) // 1))
    if degree > _DEGREE:
        raise _RefusedError(str(power), place, f"nested exponents may multiply to at most {_DEGREE}")
    return degree
