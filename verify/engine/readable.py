"""Instances as text for readers: short matrices laid out, long ones cut. Files of instances have all digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DIGITS = 6
# Longer vectors, matrices and lists are cut to the first few.
ENTRIES, ROWS, ITEMS = 8, 8, 4
LINES = 24
TEXT = 60
WIDTH = 96


def lines(instance: Any) -> list[str]:
    """An instance as lines of text, at most `LINES`; without ``as_json`` its repr, cut.

    Examples
    --------
    >>> from verify.instances.instance import PairInstance
    >>> for line in lines(PairInstance(0.0, (((1.0, -0.5), (0.25, 3.0)),), (((2.0, 1.0),),), (1.0, 0.5), (3.0, 0.0))):
    ...     print(line)
    slope         0
    weights_1[0]  [   1  -0.5]
                  [0.25     3]
    weights_2[0]  [[2, 1]]
    x_1           [1, 0.5]
    x_2           [3, 0]
    """
    try:
        data = instance.as_json()
    except Exception:  # only for the words of a refutation
        data = None
    if not isinstance(data, Mapping):
        return [cut(" ".join(repr(instance if data is None else data).split()), WIDTH)]
    rows = [(cut(name, TEXT), block) for key, value in data.items() for name, block in blocks(str(key), value)]
    margin = max((len(name) for name, _ in rows), default=0)
    result = [
        f"{name if number == 0 else '':{margin}}  {line}".rstrip()
        for name, block in rows
        for number, line in enumerate(block)
    ]
    if len(result) > LINES:
        result = [*result[: LINES - 1], f"… {len(result) - LINES + 1} more lines"]
    return result


def blocks(name: str, value: Any) -> Iterator[tuple[str, list[str]]]:
    """The value of a field as named blocks of lines."""
    if isinstance(value, Mapping):
        if not value:
            yield name, ["{}"]
        if {"nodes", "edges"} <= set(value):  # a graph: what networkx says of its type is of no interest
            value = {key: value[key] for key in ("nodes", "edges")}
        for key, item in list(value.items())[:LINES]:
            yield from blocks(f"{name}.{key}", item)
    elif not is_list(value) or not value or all(map(is_scalar, value)):
        yield name, [vector(value)]
    elif all(is_list(row) and all(map(is_scalar, row)) for row in value):
        yield name, matrix(value)
    elif any(isinstance(item, Mapping) for item in value):
        shown = [cut(inline(item), WIDTH) for item in value[:ROWS]]
        yield name, [*shown, *more(len(value) - ROWS)]
    else:
        for place, item in enumerate(value[:ITEMS]):
            yield from blocks(f"{name}[{place}]", item)
        if len(value) > ITEMS:
            yield f"{name}[{ITEMS}]", [f"… {len(value)} in all"]


def matrix(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows of numbers, their columns aligned."""
    if len(rows) == 1:
        return [f"[{vector(rows[0])}]"]
    cells = [[*map(number, row[:ENTRIES]), *(["…"] if len(row) > ENTRIES else [])] for row in rows[:ROWS]]
    if len({len(row) for row in cells}) > 1:
        return [*(f"[{', '.join(row)}]" for row in cells), *more(len(rows) - ROWS)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    aligned = ["  ".join(cell.rjust(wide) for cell, wide in zip(row, widths, strict=True)) for row in cells]
    long = max(len(row) for row in rows)
    note = [f"… {len(rows)} rows, {long} columns"] if len(rows) > ROWS or long > ENTRIES else []
    return [*(f"[{row}]" for row in aligned), *note]


def vector(value: Any) -> str:
    """A number, a text, or a list of them in one line."""
    if not is_list(value):
        return number(value)
    more_of_them = f", … {len(value)} in all" if len(value) > ENTRIES else ""
    return f"[{', '.join(map(number, value[:ENTRIES]))}{more_of_them}]"


def inline(item: Any) -> str:
    if isinstance(item, Mapping):
        return ", ".join(f"{key} {inline(value)}" for key, value in item.items())
    if is_list(item):
        return f"[{', '.join(map(inline, item[:ENTRIES]))}{', …' if len(item) > ENTRIES else ''}]"
    return number(item)


def more(count: int) -> list[str]:
    return [f"… {count} more"] if count > 0 else []


def number(value: Any) -> str:
    """A number to a few digits; anything else as JSON would name it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    return cut(str(value) if isinstance(value, int) else repr(value), TEXT)


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def is_scalar(value: Any) -> bool:
    return not isinstance(value, list | tuple | Mapping)
