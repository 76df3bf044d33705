"""Reading a loss that is given as text: a small grammar of its own, nothing is evaluated as code.

Numbers, the symbols ``r_p``, ``r_1``, ``r_2``, ..., ``tau``, ``r_0``, the operators ``+ - * / ** ^``,
parentheses, and the functions exp, log, sqrt and max. Length, nesting and exponents are limited.
"""

import re
from fractions import Fraction

import sympy
from sympy import Expr, Rational

from hltm.errors import InputError
from theory.notation import negative, r_0, r_p, tau

_LENGTH, _DEPTH, _POWER, _DIGITS, _NEGATIVES, _BITS = 2_000, 40, 16, 30, 64, 2_000
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d{1,3})?)|([A-Za-z_]\w*)|(\*\*|[-+*/^(),]))", re.ASCII)
_FUNCTIONS = {"exp": sympy.exp, "log": sympy.log, "sqrt": sympy.sqrt}
_SYMBOLS = {"r_p": r_p, "tau": tau, "r_0": r_0}


def parse_loss(text: str) -> Expr:
    """A loss from text.

    Parameters
    ----------
    text
        For instance ``tau*log(1 + exp((r_p - r_1)/tau))``; decimal numbers are read as exact rationals.

    Raises
    ------
    InputError
        Where the text does not follow the grammar, or is beyond its limits; the message names the place.

    Examples
    --------
    >>> parse_loss("r_p - r_1^2/2")
    -r_1**2/2 + r_p
    """
    return _Parser(text).whole()


class _Parser:
    """Recursive descent; the state is the list of tokens and a position in it."""

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) > _LENGTH:
            raise InputError(f"loss of {len(text)} characters: must have at most {_LENGTH}")
        self._tokens: list[tuple[str, str, int]] = []
        at = 0
        end = len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._error(text[at:].strip()[0], at, "is not part of the grammar of a loss")
            kind = ("number", "name", "sign")[(match.lastindex or 1) - 1]
            self._tokens.append((kind, match.group(match.lastindex or 1), match.start(match.lastindex or 1)))
            at = match.end()
        self._tokens.append(("end", "end of text", end))
        self._next = 0
        self._depth = 0

    def _error(self, what: str, at: int, rule: str) -> InputError:
        shown = self._text if len(self._text) <= 60 else self._text[:57] + "..."
        return InputError(f"{what!r} at character {at + 1} of loss {shown!r}: {rule}")

    def _take(self) -> tuple[str, str, int]:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _accept(self, *signs: str) -> str | None:
        kind, value, _ = self._tokens[self._next]
        if kind == "sign" and value in signs:
            self._next += 1
            return value
        return None

    def _expect(self, sign: str) -> None:
        _, value, at = self._tokens[self._next]
        if self._accept(sign) is None:
            raise self._error(value, at, f"{sign!r} is needed here")

    def whole(self) -> Expr:
        result = self._sum()
        kind, value, at = self._take()
        if kind != "end":
            raise self._error(value, at, "the expression should end here")
        if result.has(sympy.nan, sympy.zoo, sympy.oo, sympy.I):
            raise self._error(self._text.strip()[:20], 0, "must be a finite real expression")
        return result

    def _sum(self) -> Expr:
        self._depth += 1
        if self._depth > _DEPTH:
            raise self._error("(", self._tokens[self._next][2], f"at most {_DEPTH} levels of nesting are allowed")
        terms = [self._product()]
        while sign := self._accept("+", "-"):
            term = self._product()
            terms.append(term if sign == "+" else -term)
        self._depth -= 1
        return sympy.Add(*terms)

    def _product(self) -> Expr:
        result = self._signed()
        while sign := self._accept("*", "/"):
            at = self._tokens[self._next][2]
            factor = self._signed()
            if sign == "/" and factor == 0:
                raise self._error("/", at, "division by zero")
            result = result * factor if sign == "*" else result / factor
        return result

    def _signed(self) -> Expr:
        negated = False
        while sign := self._accept("+", "-"):
            negated ^= sign == "-"
        value = self._power()
        return -value if negated else value

    def _power(self) -> Expr:
        base = self._atom()
        if self._accept("**", "^") is None:
            return base
        at = self._tokens[self._next][2]
        self._depth += 1
        if self._depth > _DEPTH:
            raise self._error("^", at, f"at most {_DEPTH} levels of nesting are allowed")
        exponent = self._signed()
        self._depth -= 1
        if not exponent.is_Rational or abs(exponent) > _POWER or exponent.q > _POWER:
            raise self._error(str(exponent), at, f"an exponent must be a number of size at most {_POWER}")
        if base == 0 and exponent < 0:
            raise self._error("0", at, "division by zero")
        if base.is_Rational and max(base.p.bit_length(), base.q.bit_length()) * abs(exponent) > _BITS:
            raise self._error(str(exponent), at, "the power is too large a number")
        return base**exponent

    def _atom(self) -> Expr:
        kind, value, at = self._take()
        if kind == "number":
            return self._number(value, at)
        if kind == "name":
            return self._name(value, at)
        if value == "(":
            result = self._sum()
            self._expect(")")
            return result
        raise self._error(value, at, "a number, a symbol, a function or '(' is needed here")

    def _number(self, value: str, at: int) -> Expr:
        exponent = re.search(r"[eE]([+-]?\d+)", value)
        if len(value) > _DIGITS or (exponent and abs(int(exponent.group(1))) > _DIGITS):
            raise self._error(value, at, f"a number may have at most {_DIGITS} digits")
        exact = Fraction(value)
        return Rational(exact.numerator, exact.denominator)

    def _name(self, value: str, at: int) -> Expr:
        if value in _SYMBOLS:
            return _SYMBOLS[value]
        number = re.fullmatch(r"r_([1-9]\d?)", value)
        if number and int(number.group(1)) <= _NEGATIVES:
            return negative(int(number.group(1)))
        if value not in _FUNCTIONS and value != "max":
            raise self._error(value, at, "known are r_p, r_1 .. r_64, tau, r_0, exp, log, sqrt, max")
        self._expect("(")
        arguments = [self._sum()]
        while self._accept(","):
            arguments.append(self._sum())
        self._expect(")")
        if value == "max":
            return sympy.Max(*arguments)
        if len(arguments) != 1:
            raise self._error(value, at, "takes one argument")
        if value == "log" and arguments[0].is_zero:
            raise self._error(value, at, "the logarithm of zero is not defined")
        if value == "exp" and arguments[0].has(sympy.exp):
            raise self._error(value, at, "an exponential in the exponent is not supported")
        return _FUNCTIONS[value](arguments[0])
