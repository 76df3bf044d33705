"""What a figure shows, as plain data: columns of numbers with names, and the facts that are written beside them.

The data of a figure is computed where the evidence is (it may need torch); drawing it needs matplotlib only. The CSV
file beside every figure holds all of it: what is said of the figure in leading comment lines, each a key and a JSON
value, then exactly these columns. `from_csv` reads it back, so that a figure can be drawn again without a run.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real

Value = float | int | str | None
Column = tuple[Value, ...]

_NAME = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
_TEXTS = ("name", "kind", "title", "caption", "alt", "command")


@dataclass(frozen=True)
class FigureData:
    """One figure as data."""

    name: str
    kind: str
    title: str
    caption: str
    columns: Mapping[str, Column]
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
    command: str = ""
    alt: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name={self.name!r:.80} of a figure: must be letters and digits, joined by single hyphens"
            )
        lengths = [len(column) for column in self.columns.values()]
        if len(set(lengths)) > 1:
            counts = ", ".join(map(str, lengths))
            raise ValueError(f"columns of figure {self.name!r}: have {counts} rows, must have equally many")

    @property
    def rows(self) -> int:
        """Number of rows of the table."""
        return len(next(iter(self.columns.values()), ()))

    @property
    def description(self) -> str:
        """What is said instead of the figure to those who do not see it."""
        return self.alt or ". ".join(text.rstrip(".") for text in (self.title, self.caption) if text)

    def texts(self, column: str) -> tuple[str, ...]:
        """A column of texts, each at least one letter long; ValueError if it is not there or holds something else."""
        values = self._column(column)
        for row, value in enumerate(values):
            if not isinstance(value, str) or not value:
                raise ValueError(f"{self._place(column, row)} is {value!r:.40}: must be text")
        return tuple(str(value) for value in values)

    def numbers(self, column: str, *, missing: bool = False) -> tuple[float, ...]:
        """A column of finite numbers; NaN stands for None where `missing` allows it. ValueError for anything else."""
        result = []
        for row, value in enumerate(self._column(column)):
            if value is None and missing:
                result.append(math.nan)
                continue
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise ValueError(f"{self._place(column, row)} is {value!r:.40}: must be a finite number")
            result.append(float(value))
        return tuple(result)

    def positive(self, column: str, *, missing: bool = False) -> tuple[float, ...]:
        """A column of numbers above zero, for a logarithmic axis."""
        result = self.numbers(column, missing=missing)
        for row, value in enumerate(result):
            if value <= 0:
                raise ValueError(f"{self._place(column, row)} is {value!r}: must be above 0, its axis is logarithmic")
        return result

    def fact(self, name: str) -> float:
        """A finite number of the facts; ValueError if it is not there or something else."""
        if name not in self.facts:
            raise ValueError(f"fact {name!r} of figure {self.name!r}: is missing, there are {_listed(self.facts)}")
        value = self.facts[name]
        if isinstance(value, bool | str) or not math.isfinite(value):
            raise ValueError(f"fact {name!r} of figure {self.name!r} is {value!r:.40}: must be a finite number")
        return float(value)

    def _column(self, column: str) -> Column:
        if column not in self.columns:
            raise ValueError(
                f"column {column!r} of figure {self.name!r}: is missing, there are {_listed(self.columns)}"
            )
        if not self.rows:
            raise ValueError(f"column {column!r} of figure {self.name!r}: has no rows, must have at least one")
        return self.columns[column]

    def _place(self, column: str, row: int) -> str:
        return f"column {column!r}, row {row + 1} of figure {self.name!r}"


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(map(repr, names)) or "none"


def table(names: Sequence[str], rows: Iterable[Sequence[Value]]) -> dict[str, Column]:
    """Rows as columns."""
    held = list(rows)
    return {name: tuple(row[place] for row in held) for place, name in enumerate(names)}


def csv_text(data: FigureData) -> str:
    r"""Everything of a figure as CSV with leading comment lines; `from_csv` reads it back.

    Numbers are written so that they are read back bit for bit. Columns hold numbers or texts, not both; an empty
    cell is None.
    """
    texts = [name for name in data.columns if _is_text(data, name)]
    held = {key: getattr(data, key) for key in _TEXTS if getattr(data, key)}
    lines = [f"# {key}: {json.dumps(value)}" for key, value in {**held, "facts": _facts(data), "text": texts}.items()]
    cells = [[_quoted(_cell(value)) for value in column] for column in data.columns.values()]
    rows = [data.columns, *zip(*cells, strict=True)]
    return "\n".join([*lines, *(",".join(row) for row in rows)]) + "\n"


def _quoted(cell: str) -> str:
    """A cell that is read back as it is; `csv.writer` leaves a carriage return without quotes."""
    return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\r\n') else cell


def _is_text(data: FigureData, name: str) -> bool:
    """Whether a column holds texts; ValueError where it cannot be written."""
    if not name.isidentifier():
        raise ValueError(f"column {name!r:.40} of figure {data.name!r}: its name must be an identifier")
    kinds = set()
    for row, value in enumerate(data.columns[name]):
        place = f"column {name!r}, row {row + 1} of figure {data.name!r}"
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | Real)):
            raise ValueError(f"{place} is of type {type(value).__name__}: must be a number, text or None")
        if isinstance(value, str) and "\x00" in value:
            raise ValueError(f"{place} has a NUL character: CSV has no place for it")
        if value == "":
            raise ValueError(f"{place} is an empty text: must have a letter, or be None")
        kinds |= set() if value is None else {isinstance(value, str)}
    if len(kinds) > 1:
        raise ValueError(f"column {name!r} of figure {data.name!r}: has numbers and texts, must have one of them")
    return kinds == {True}


def _facts(data: FigureData) -> dict[str, Value]:
    return {
        name: value if isinstance(value, str) else int(value) if isinstance(value, Integral) else float(value)
        for name, value in data.facts.items()
    }


def _cell(value: Value) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return repr(int(value)) if isinstance(value, Integral) else repr(float(value))


def from_csv(text: str) -> FigureData:
    """Read what `csv_text` wrote."""
    head, lines = {}, io.StringIO(text, newline="")
    start = 0
    for number, line in enumerate(lines, start=1):
        if not line.startswith("# "):
            break
        key, _, value = line[2:].partition(": ")
        try:
            head[key] = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number} of the figure's CSV: must be '# key: JSON value' ({error})") from None
        start += len(line)
    known = {one.name for one in fields(FigureData)} - {"columns"}
    for key in ("name", "kind", "title"):
        head.setdefault(key, "")
    texts = head.pop("text", [])
    for key, value in head.items():
        place = f"key {key!r:.40} of the figure's CSV"
        if key not in known:
            raise ValueError(f"{place}: must be one of {', '.join(sorted(known))}, text")
        if not isinstance(value, dict if key == "facts" else str):
            raise ValueError(f"{place}: must be {'an object' if key == 'facts' else 'text'}")
    rows = list(csv.reader(io.StringIO(text[start:], newline="")))
    if not rows:
        raise ValueError("the figure's CSV: has no columns, must have a line of their names")
    for name in rows[0]:
        if rows[0].count(name) > 1:
            raise ValueError(f"column {name!r} of the figure's CSV: must be there once")
    columns = {name: tuple(_read(rows, place, name in texts)) for place, name in enumerate(rows[0])}
    return FigureData(**{"caption": "", **head, "columns": columns})


def _read(rows: list[list[str]], place: int, text: bool) -> list[Value]:
    result: list[Value] = []
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(rows[0]) and not (len(rows[0]) == 1 and not row):
            raise ValueError(f"row {number} of the figure's CSV: has {len(row)} cells, must have {len(rows[0])}")
        cell = row[place] if row else ""
        if not cell:
            result.append(None)
            continue
        try:
            result.append(cell if text else _number(cell))
        except ValueError:
            name = rows[0][place]
            raise ValueError(
                f"column {name!r}, row {number} of the figure's CSV is {cell!r:.40}: must be a number"
            ) from None
    return result


def _number(cell: str) -> float | int:
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)
