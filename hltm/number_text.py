"""Numbers as text, in tree files and on the command line: integers, decimals, rational numbers such as ``1/3``."""

import re
from fractions import Fraction

from hltm.base.checks import Number

# Python refuses to read longer integers.
_RATIONAL = re.compile(r"[+-]?[0-9]{1,4000}/[0-9]{1,4000}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")
_DECIMAL = re.compile(r"[+-]?([0-9]++\.?[0-9]*+|\.[0-9]++)([eE][+-]?[0-9]++)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def read_number(text: str) -> Number | str:
    """Read a number, also one that is not finite; return text that is none as it is, for the checks to refuse.

    Examples
    --------
    >>> read_number("3"), read_number("0.5"), read_number("-1/3"), read_number("1/0"), read_number("x")
    (3, 0.5, Fraction(-1, 3), '1/0', 'x')
    """
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _RATIONAL.fullmatch(text):
        top, bottom = (int(part) for part in text.split("/"))
        return Fraction(top, bottom) if bottom else text
    return text
