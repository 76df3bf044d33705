"""Input validation.

Each check returns the value in plain form (Python numbers, never NumPy's) or raises `InputError` with one line that
names value, place and rule. Rational numbers stay rational: exact input gives exact results.
"""

import difflib
import itertools
import math
import numbers
import reprlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from hltm.base.errors import InputError

Node: TypeAlias = str | int | tuple[str | int, ...]
Number: TypeAlias = int | float | Fraction

SUM_TOLERANCE = 1e-12  # a row of decimals that was rounded to doubles sums to one much closer than this
LARGEST = int(np.finfo(np.float64).max)
_NAMES_COMPARED = 10_000  # for a suggestion; comparing all names of a huge tree would take too long

_MISSPELLED = 0.8  # difflib's ratio of an attribute to one of ours: "polarty" has 0.93, "priority" 0.77

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


def show(value: object) -> str:
    """Return a short `repr` of a value for a message; long strings and tables are cut in the middle."""
    if type(value) is tuple and len(value) == 2 and {*map(type, value)} <= {str, int}:  # an edge; reprlib is slow
        return f"({show(value[0])}, {show(value[1])})"
    if type(value) in (str, int) and value.__sizeof__() < 80 and len(text := repr(value)) <= _short.maxlong:
        return text
    try:
        return _short.repr(value)
    except ValueError:  # Python refuses to write integers of more than 4,300 digits
        return f"<{type(value).__name__}>"


def suggestion(name: object, allowed: Iterable[object]) -> str:
    """Return ``; did you mean 'x'?`` for the allowed name nearest to `name`, or an empty string if none is near."""
    by_text = {
        item if isinstance(item, str) else show(item): item for item in itertools.islice(allowed, _NAMES_COMPARED)
    }
    text = name[:200] if isinstance(name, str) else show(name)
    nearest = difflib.get_close_matches(text, by_text, n=1)
    return f"; did you mean {show(by_text[nearest[0]])}?" if nearest else ""


def misspelled(name: object, allowed: Sequence[str]) -> str | None:
    """Return the allowed name that `name` is probably meant to be: equal but for case, or for a letter or two."""
    text = str(name)[:200].lower()
    nearest = difflib.get_close_matches(text, allowed, n=1, cutoff=_MISSPELLED)
    return nearest[0] if nearest else None


def count(value: int) -> str:
    """Return a count with thousands separators; above 24 digits a power of ten."""
    digits = value.bit_length() * math.log10(2)
    return f"{value:,}" if digits < 24 else f"about 10^{int(digits)}"


def integer(value: object, name: str, low: int, place: str = "") -> int:
    """Return `value` as an `int` of at least `low`; refuse `bool` and floats."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InputError(f"{name}={show(value)}{place}: must be an integer, got {type(value).__name__}")
    if value < low:
        raise InputError(f"{name}={show(value)}{place}: must be at least {low}")
    return int(value)


def number(value: object, name: str, place: str = "") -> Number:
    """Return a finite number in plain form: `int` or `Fraction` for a rational, else `float`."""
    if type(value) is float and math.isfinite(value):  # of most numbers, before a message is prepared
        return value
    where = f"{name}={show(value)}{place}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise InputError(f"{where}: must be a number, got {type(value).__name__}")
    if isinstance(value, numbers.Rational):
        exact = Fraction(int(value.numerator), int(value.denominator))
        if abs(exact) > LARGEST:
            raise InputError(f"{where}: must be finite in double precision")
        return int(exact) if exact.denominator == 1 else exact
    plain = float(value)
    if not math.isfinite(plain):
        raise InputError(f"{where}: must be finite")
    return plain


def polarity(value: object, name: str, place: str = "") -> Number:
    """Return a number in [-1, 1]."""
    if type(value) is float and -1 <= value <= 1:
        return value
    plain = number(value, name, place)
    if not -1 <= plain <= 1:
        raise InputError(f"{name}={show(value)}{place}: must lie in [-1, 1]")
    return plain


def seed(value: object) -> int:
    """Return a non-negative integer."""
    return integer(value, "seed", 0)


def halves(rho: Number) -> tuple[Number, Number]:
    """Return ``(1 - rho)/2, (1 + rho)/2``: exact if `rho` is rational."""
    if isinstance(rho, float):
        return (1 - rho) / 2, (1 + rho) / 2
    low, high = Fraction(1 - rho) / 2, Fraction(1 + rho) / 2
    return (int(low), int(high)) if low.denominator == 1 else (low, high)


def node_name(name: object) -> Node:
    """Return a node name in plain form: `str`, `int` or a tuple of these (what a tree file can hold)."""
    if type(name) is str or type(name) is int:
        return name
    if isinstance(name, tuple):
        if name and all(_is_simple(part) for part in name):
            return tuple(_simple(part) for part in name)
    elif _is_simple(name):
        return _simple(name)
    raise InputError(f"node {show(name)}: a node name must be a str, an int or a tuple of these")


def _is_simple(name: object) -> bool:
    return isinstance(name, (str, numbers.Integral)) and not isinstance(name, bool)


def _simple(name: object) -> str | int:
    return str(name) if isinstance(name, str) else int(name)  # type: ignore[call-overload]


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; refuse a repeated key, which would silently replace the first."""
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InputError(f"key {show(twice)}: must not be given twice in one JSON object")
    return result
