"""Names of a ratio, and reorderings of entries, that two sides may differ by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

# How far an entry may be from a multiple of the other side: of itself, and of the largest entry of its array.
RELATIVE, OF_LARGEST = 1e-9, 1e-13
# More readings of one ratio are left out, as are lengths beyond the first of a list.
READINGS, LISTED = 3, 5


def recognised(
    ratio: float, instance: Any, shape: Sequence[int] = (), slack: float = RELATIVE, *, plain: bool = False
) -> str:
    """The names of a ratio, the simplest first: "2", "tau", "1/len(x)", joined by "or"; empty where it has none.

    `plain`: no expressions, which a single entry may be by chance.
    """
    if ratio == 0:
        return "0"
    if not math.isfinite(ratio) or abs(ratio - 1) <= slack:
        return ""
    scalars, lengths, entries = numbers_of(instance)
    own = [(name, float(size)) for name, size in zip(("rows", "columns"), shape, strict=False) if len(shape) == 2]
    for candidates in (
        lambda: [*_small(), *_simple(scalars), *_simple(lengths)],
        lambda: [*_simple(own), *_fractions(), *_forms(scalars), *_forms(lengths), *_constants()],
        lambda: _simple(entries),
    )[: 1 if plain else None]:
        names: dict[str, float] = {}
        for name, value in candidates():
            if abs(value - ratio) <= slack * abs(ratio) and value not in (0.0, 1.0):
                names.setdefault(name, value)
        if names:
            return " or ".join(list(names)[:READINGS])
    return ""


def _small() -> Iterator[tuple[str, float]]:
    yield "-1", -1.0
    for number in range(2, 13):
        yield from ((f"{number}", number), (f"1/{number}", 1 / number))
        yield from ((f"-{number}", -number), (f"-1/{number}", -1 / number))


def _fractions() -> Iterator[tuple[str, float]]:
    for q in range(2, 13):
        for p in range(2, 13):
            if math.gcd(p, q) == 1:
                yield from ((f"{p}/{q}", p / q), (f"-{p}/{q}", -p / q))


def _constants() -> Iterator[tuple[str, float]]:
    roots = [(f"sqrt({number})", math.sqrt(number)) for number in (2, 3, 5)]
    named = [
        ("pi", math.pi),
        ("2 pi", 2 * math.pi),
        ("sqrt(pi)", math.sqrt(math.pi)),
        ("e", math.e),
        ("log(2)", math.log(2)),
    ]
    for name, value in [*roots, *named]:
        below = name if " " not in name else f"({name})"
        yield from ((name, value), (f"1/{below}", 1 / value), (f"-{name}", -value), (f"-1/{below}", -1 / value))


def _simple(named: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    for name, value in named:
        if value != 0 and abs(value) != 1:
            yield from ((name, value), (f"1/{name}", 1 / value), (f"-{name}", -value), (f"-1/{name}", -1 / value))


def _forms(named: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Short expressions in one number."""
    for name, v in named:
        for shown, formula in FORMS:
            try:
                value = formula(v)
            except (ZeroDivisionError, ValueError, OverflowError):
                continue
            if math.isfinite(value):
                yield shown.format(name), value
                yield f"-{shown.format(name)}" if shown[0] != "(" else f"-({shown.format(name)})", -value


FORMS: tuple[tuple[str, Callable[[float], float]], ...] = (
    ("2 {0}", lambda v: 2 * v),
    ("{0}/2", lambda v: v / 2),
    ("2/{0}", lambda v: 2 / v),
    ("1/(2 {0})", lambda v: 0.5 / v),
    ("{0}^2", lambda v: v * v),
    ("1/{0}^2", lambda v: 1 / (v * v)),
    ("sqrt({0})", math.sqrt),
    ("1/sqrt({0})", lambda v: 1 / math.sqrt(v)),
    ("(1 - {0})", lambda v: 1 - v),
    ("1/(1 - {0})", lambda v: 1 / (1 - v)),
    ("(1 + {0})", lambda v: 1 + v),
    ("1/(1 + {0})", lambda v: 1 / (1 + v)),
    ("{0}/(1 + {0})", lambda v: v / (1 + v)),
    ("(1 + {0})/{0}", lambda v: (1 + v) / v),
    ("{0}/({0} - 1)", lambda v: v / (v - 1)),
    ("({0} - 1)/{0}", lambda v: (v - 1) / v),
    ("exp({0})", math.exp),
    ("exp(-{0})", lambda v: math.exp(-v)),
)


Named = list[tuple[str, float]]


def numbers_of(instance: Any) -> tuple[Named, Named, Named]:
    """The named numbers of an instance: scalars, lengths, and entries and norms of short vectors."""
    try:
        data = instance.as_json()
    except Exception:  # only for the words of a refutation
        return [], [], []
    rows: tuple[Named, Named, Named] = ([], [], [])
    for name, value in data.items() if isinstance(data, Mapping) else ():
        _walk(str(name), value, rows)
    return rows


def _walk(name: str, value: Any, rows: tuple[Named, Named, Named]) -> None:
    scalars, lengths, entries = rows
    if _is_number(value):
        scalars.append((name, float(value)))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _walk(str(key), item, rows)
    elif isinstance(value, list | tuple) and value:
        if all(isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str) for item in value):
            for key, item in value:  # parameters: pairs of a name and a number
                _walk(key, item, rows)
            return
        lengths.append((f"len({name})", len(value)))
        if all(map(_is_number, value)):
            if len(value) <= 8:
                entries += [(f"{name}[{place}]", float(item)) for place, item in enumerate(value)]
            norm = math.hypot(*value)
            entries += [(f"|{name}|", norm), (f"|{name}|^2", norm * norm)]
        elif all(isinstance(item, list | tuple) for item in value):
            same = len({len(item) for item in value}) == 1
            for place, item in enumerate(value[: 1 if same else LISTED]):
                _walk(f"{name}[{place}]", item, rows)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


# Arrays whose entries are those of the other side in another order.

REORDERED = ("transposed", "in reverse order", "stacked by rows", "with its entries in another order")


def reordered(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray], wrong: Mapping[str, np.ndarray]) -> str:
    keys = [key for key in left if wrong[key].any()]
    if not all(np.isfinite(left[key]).all() and np.isfinite(right[key]).all() for key in keys):
        return ""
    for words, moves in (
        ("transposed", _transposed),
        ("in reverse order", _reversed),
        ("stacked by rows in place of columns", _restacked),
        ("with its entries in another order", _sorted),
    ):
        factors = {_factor(moves, left[key], right[key]) for key in keys}
        if len(factors) == 1 and (factor := factors.pop()) is not None:
            return words if factor == 1 else f"{words}, times {factor:g}"
    return ""


def _transposed(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if a.ndim == 2 and a.shape[0] == a.shape[1] > 1:
        yield a.T, b


def _reversed(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if a.ndim == 1 and len(a) > 1:
        yield a[::-1], b


def _restacked(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if a.ndim == 1:
        for rows in range(2, len(a) // 2 + 1):
            if len(a) % rows == 0:
                yield a.reshape(rows, -1).T.ravel(), b
    elif a.ndim == 2 and min(a.shape) > 1:
        yield a.ravel(order="F").reshape(a.shape), b
        yield a.reshape(a.shape[::-1]).T, b


def _sorted(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if a.size > 2 and len(np.unique(a)) == a.size:
        yield np.sort(a, axis=None), np.sort(b, axis=None)


def _factor(moves: Callable[..., Any], left: np.ndarray, right: np.ndarray) -> float | None:
    """By which of a few factors the right side is the moved left one; None for none."""
    top = float(max(np.abs(left).max(initial=0.0), np.abs(right).max(initial=0.0)))
    for moved, other in moves(left, right):
        for factor in (1.0, -1.0, 2.0, 0.5):
            if (np.abs(other - factor * moved) <= RELATIVE * np.abs(other) + OF_LARGEST * top).all():
                return factor
    return None
