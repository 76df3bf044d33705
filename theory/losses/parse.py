"""Parse a loss from text with a grammar of its own (lark, LALR); nothing is evaluated as code.

Numbers, the symbols ``r_p``, ``r_1`` .. ``r_64``, ``tau``, ``r_0``, the operators ``+ - * / ** ^``, parentheses, and
the functions exp, log, sqrt and max. Length, nesting, exponents and the size of numbers are limited. The parser and
what it builds are iterative: no text can exhaust the stack.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from lark import Lark, Token
from lark.exceptions import UnexpectedInput
from sympy import Expr, Rational

from theory.core.notation import negative, r_0, r_p, tau
from theory.losses.grammar import GRAMMAR, KNOWN, NEGATIVES, check_length, refused_at, unexpected

_DEPTH, _POWER, _DEGREE, _DIGITS, _BITS, _ARGUMENTS = 40, 16, 64, 30, 2_000, 16
_FUNCTIONS = {"exp": sympy.exp, "log": sympy.log, "sqrt": sympy.sqrt, "max": sympy.Max}
_SYMBOLS = {"r_p": r_p, "tau": tau, "r_0": r_0}


def parse_loss(text: str) -> Expr:
    """Parse a loss; refuse a text outside of the grammar or beyond its limits."""
    check_length(text)
    try:
        result: Expr = _grammar().parse(text).value  # type: ignore[attr-defined]
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


@lru_cache(maxsize=1)
def _grammar() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="basic", transformer=_Builder(), maybe_placeholders=False)


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
        number = re.fullmatch(r"r_([1-9][0-9]?)", name)
        if number and int(number.group(1)) <= NEGATIVES:
            return _Part(negative(int(number.group(1))), place)
        if name in _FUNCTIONS:
            raise _RefusedError(name, place, "'(' is needed after a function")
        if name not in _SYMBOLS:
            raise _RefusedError(name, place, KNOWN)
        return _Part(_SYMBOLS[name], place)

    def nested(self, children: list[Any]) -> _Part:
        inner: _Part = children[1]
        return replace(inner, depth=_deeper([inner], "(", inner.place))

    def call(self, children: list[Any]) -> _Part:
        token, parts = children[0], [part for part in children if isinstance(part, _Part)]
        name, place, values = str(token), int(token.start_pos or 0), [part.value for part in parts]
        if name not in _FUNCTIONS:
            raise _RefusedError(name, place, KNOWN if name not in _SYMBOLS else "is a symbol and takes no argument")
        depth = _deeper(parts, name, place)
        if len(values) > (_ARGUMENTS if name == "max" else 1):
            rule = f"takes at most {_ARGUMENTS} arguments" if name == "max" else "takes one argument"
            raise _RefusedError(name, place, rule)
        if name == "log" and values[0].is_zero:
            raise _RefusedError(name, place, "the logarithm of zero is not defined")
        if name == "exp" and values[0].has(sympy.exp):
            raise _RefusedError(name, place, "an exponential in the exponent is not supported")
        # SymPy writes exp(n log 2) as the integer 2**n, which can fill the memory.
        if name == "exp" and values[0].has(sympy.log):
            raise _RefusedError(name, place, "a logarithm in the exponent is not supported")
        try:
            value = _FUNCTIONS[name](*values)
        except ValueError:  # a maximum of numbers that are not real
            raise _RefusedError(name, place, "the arguments must be real") from None
        if isinstance(value, sympy.Max) and len(value.args) > _ARGUMENTS:
            raise _RefusedError(name, place, f"takes at most {_ARGUMENTS} arguments")
        return _Part(value, place, depth, max(part.degree for part in parts))


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
