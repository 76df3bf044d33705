"""The data of a figure: named columns of numbers or texts, and facts.

It is computed with the evidence (it may need torch); drawing it needs matplotlib only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

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
        return len(next(iter(self.columns.values()), ()))

    def texts(self, column: str) -> np.ndarray:
        """A column of texts that are not empty; ValueError otherwise."""
        import numpy as np

        values = self._column(column)
        for row, value in enumerate(values):
            if not isinstance(value, str) or not value:
                raise ValueError(f"{self._place(column, row)} is {value!r:.40}: must be text")
        return np.array(values, dtype=object)

    def numbers(self, column: str, *, missing: bool = False) -> np.ndarray:
        """A column of finite numbers, NaN for None if `missing`; ValueError otherwise."""
        import numpy as np

        result = []
        for row, value in enumerate(self._column(column)):
            if value is None and missing:
                result.append(math.nan)
                continue
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise ValueError(f"{self._place(column, row)} is {value!r:.40}: must be a finite number")
            result.append(float(value))
        return np.array(result)

    def positive(self, column: str) -> np.ndarray:
        """A column of numbers above zero, for a logarithmic axis."""
        result = self.numbers(column)
        for row, value in enumerate(result.tolist()):
            if value <= 0:
                raise ValueError(f"{self._place(column, row)} is {value!r}: must be above 0, its axis is logarithmic")
        return result

    def fact(self, name: str) -> float:
        """A fact that is a finite number; ValueError if it is missing or anything else."""
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
    rows = list(rows)
    return {name: tuple(row[place] for row in rows) for place, name in enumerate(names)}


def csv_text(data: FigureData) -> str:
    """Write a figure as CSV.

    Its texts and facts are comment lines `# key: JSON value` before the columns. Numbers are written in full, so that
    reading them gives the same bits; an empty cell is None.
    """
    head: dict[str, object] = {key: getattr(data, key) for key in _TEXTS if getattr(data, key)}
    head["facts"] = dict(data.facts)
    # Texts may look like numbers.
    head["text"] = [name for name, column in data.columns.items() if any(isinstance(cell, str) for cell in column)]
    lines = [f"# {key}: {json.dumps(value, default=lambda number: number.item())}" for key, value in head.items()]
    rows = zip(*(map(_cell, column) for column in data.columns.values()), strict=True)
    return "\n".join([*lines, *map(",".join, [tuple(data.columns), *rows])]) + "\n"


def _cell(value: Value) -> str:
    # `csv.writer` leaves a carriage return without quotes.
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
