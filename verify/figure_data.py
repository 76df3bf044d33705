"""What a figure shows, as plain data: columns of numbers with names, and the facts that are written beside them.

The data of a figure is computed where the evidence is (it may need torch); drawing it needs matplotlib only. The CSV
file beside every figure holds exactly these columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Column = tuple[float | int | str | None, ...]


@dataclass(frozen=True)
class FigureData:
    """One figure as data.

    Parameters
    ----------
    name : str
        Stem of its files, hyphenated, unique within a run.
    kind : str
        Which drawing it takes (a key of ``verify.figures.DRAWINGS``).
    title, caption : str
        Plain text, without markup; the caption says what is seen, how many instances, seeds and what the bars are.
    columns : mapping of str to tuple
        A table in long form: every column has one entry a row.
    facts : mapping of str to number or str
        Numbers that the drawing states (fitted orders with their intervals, counts).
    command : str
        The command that computes the same data again.

    Examples
    --------
    >>> FigureData("line", "lines", "A line", "Two points.", {"x": (0.0, 1.0), "y": (0.0, 2.0)}).rows
    2
    >>> FigureData("line", "lines", "A line", "", {"x": (0.0, 1.0), "y": ()})
    Traceback (most recent call last):
    ValueError: columns of figure 'line': have 2, 0 rows, must have equally many
    """

    name: str
    kind: str
    title: str
    caption: str
    columns: Mapping[str, Column]
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self) -> None:
        lengths = [len(column) for column in self.columns.values()]
        if len(set(lengths)) > 1:
            counts = ", ".join(map(str, lengths))
            raise ValueError(f"columns of figure {self.name!r}: have {counts} rows, must have equally many")

    @property
    def rows(self) -> int:
        """Number of rows of the table."""
        return len(next(iter(self.columns.values()), ()))
