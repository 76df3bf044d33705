"""What is decided while a tree file is read: rounded rows, foreign attributes, and the line that names each of them.

A row of a file may miss the sum one by as much as the rounding of its printed digits explains; it is divided by its
sum. The writer's precision is taken from the row itself: every entry is rounded to the decimals of the longest one,
or to the significant digits of the longest one, or to single precision. Two decimals are the least that counts as
rounded, and no rounding explains more than `ROUNDING_LIMIT`.

Files are read twice where that is needed: at first numbers are plain, which is fast, and only a row that does not sum
to one makes the reader keep the digits (`Printed`).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from fractions import Fraction
from typing import Any

import numpy as np

from hltm.base.checks import SUM_TOLERANCE, Node, Number, misspelled, show
from hltm.base.errors import InputError
from hltm.tables import EDGE_ATTRIBUTES, GRAPH_ATTRIBUTES, read_number

ROUNDING_LIMIT = 0.05  # of the sum of a row: more is no rounding, whatever the digits are
_LEAST_DECIMALS, _LEAST_DIGITS = 2, 3
_LEAST_FOR_A_PROPERTY = 4  # digits: a shorter number is not a rounded one but another one
_DIGITS_OF_A_SINGLE = 8  # a value of single precision that is written in full has at least so many
_NAMED = 8


class Printed(float):
    """A float that knows the text that it was read from."""

    __slots__ = ("text",)

    def __new__(cls, text: str) -> "Printed":
        """Read a decimal number."""
        value = super().__new__(cls, text)
        value.text = text
        return value

    text: str


@dataclass
class Reading:
    """The settings and the notes of one reading of a file."""

    strict: bool = False
    root: object = None
    closed: bool = False  # foreign attributes are refused
    printed: bool = False  # numbers are `Printed`, rounded rows are divided by their sums
    foreign: dict[str, dict[str, None]] = field(default_factory=dict)
    rows: int = 0
    change: float = 0.0
    changed: str = ""
    notes: list[str] = field(default_factory=list)
    line_of: Callable[[Node], int | None] = field(default=lambda _: None)

    @property
    def parse_float(self) -> Callable[[str], float]:
        """How to read a number with a decimal point or an exponent: `json.loads` takes it."""
        return Printed if self.printed else float

    def number(self, text: str) -> Number | str:
        """Read a number as `read_number` does, with its digits if they are wanted."""
        value = read_number(text)
        return Printed(text) if self.printed and isinstance(value, float) else value

    def own(self, values: Mapping[str, Any], allowed: Sequence[str], kind: str, owner: str) -> dict[str, Any]:
        """Return the attributes that a tree has, and note the foreign ones; refuse one that is probably misspelled."""
        if all(name in allowed for name in values):
            return dict(values)
        kept = {}
        for name, value in values.items():
            if name in allowed:
                kept[name] = value
                continue
            near = misspelled(name, allowed)
            # `status` is no misspelled `states`: only a list of two texts or more can be the names of states.
            listed = isinstance(value, (list, tuple)) and len(value) > 1 and all(isinstance(v, str) for v in value)
            listed = listed or (isinstance(value, str) and value.lstrip()[:1] == "[")
            given = values.keys() & ({near} if near not in EDGE_ATTRIBUTES else set(EDGE_ATTRIBUTES))
            wrong = near and not given and near not in GRAPH_ATTRIBUTES and (listed or near != "states")
            if wrong or self.closed:
                meant = f"; did you mean {show(near)}?" if wrong else ""
                raise InputError(f"attribute {show(name)} of {owner}: must be one of {', '.join(allowed)}{meant}")
            if value or not isinstance(value, (str, list, dict, type(None))):  # networkx writes ``"node_default": {}``
                self.foreign.setdefault(kind, {})[str(name)] = None
        return kept

    def fits(self, row: Sequence[Number]) -> bool:
        """Whether a row sums to one, up to the rounding of its digits."""
        return sums_to_one(row, explained(row) if self.printed and _is_law(row) else 0)

    def divided(self, row: Any, whole: str, find_line: Callable[[], int | None]) -> Any:
        """Return a row divided by its sum if rounding explains that it is not one; refuse another sum."""
        if not isinstance(row, (list, tuple)) or not _is_law(row):
            return row  # for the checks of the tree to refuse
        total: Any = _total(row)
        if total == 1 or (isinstance(total, float) and abs(total - 1) <= SUM_TOLERANCE):
            return row
        slack = explained(row)
        if abs(total - 1) > slack + SUM_TOLERANCE:
            line = find_line()
            fit = ", ".join(f"{float(value / total):.6g}" for value in row[:_NAMED]) if total else ""
            raise InputError(
                f"{whole}{f', line {line}' if line else ''}: must sum to one, sums to {_text(total)}; "
                + (f"its digits explain {1 - slack:.6g} to {1 + slack:.6g}" if slack else "fractions are not rounded")
                + (f"; divided by its sum it is {fit}{', ...' if len(row) > _NAMED else ''}" if fit else "")
            )
        result = [float(value) / float(total) for value in row]
        change = max(abs(new - float(old)) for new, old in zip(result, row, strict=True))
        self.rows += 1
        if change > self.change or not self.changed:
            self.change, self.changed = change, whole
        return result

    def lines(self) -> list[str]:
        """Return what was noted, a line for each kind."""
        lines = list(self.notes)
        if self.rows:
            rows = "1 row is" if self.rows == 1 else f"{self.rows:,} rows are"
            lines.append(
                f"{rows} rounded and divided by {'its sum' if self.rows == 1 else 'their sums'}, "
                f"largest change {self.change:.2g} ({self.changed})"
            )
        if self.foreign:
            names = "; ".join(f"{kind}: {_list(names)}" for kind, names in self.foreign.items())
            lines.append(f"attributes of other programs are ignored ({names})")
        return lines


def sums_to_one(row: Sequence[Number], slack: float = 0.0) -> bool:
    """Whether a row is a law, up to the rounding of doubles and some slack."""
    return _is_law(row) and abs(float(_total(row)) - 1) <= SUM_TOLERANCE + slack


def explained(row: Sequence[Number]) -> float:
    """Return how far the rounding of its printed digits can move the sum of a row from one."""
    places, digits = _precision(row)
    if not digits:
        return 0.0
    ways = [_by_places(row, max(places, _LEAST_DECIMALS)), _by_digits(row, max(digits, _LEAST_DIGITS))]
    ways += [_in_single(row)] if digits >= _DIGITS_OF_A_SINGLE else []
    return min(ROUNDING_LIMIT, max(map(sum, ways)))


def rounds_to(exact: Sequence[Number], row: Sequence[Number]) -> bool:
    """Whether printed numbers are exact ones rounded to four digits or more, or to single precision."""
    places, digits = _precision(row) if _is_law(row) else (0, 0)
    ways = [[0.0] * len(row)]
    ways += [_by_places(row, places)] if places >= _LEAST_FOR_A_PROPERTY else []
    ways += [_by_digits(row, digits)] if digits >= _LEAST_FOR_A_PROPERTY else []
    ways += [_in_single(row)] if digits >= _DIGITS_OF_A_SINGLE else []
    gaps = [abs(float(value) - float(printed)) for value, printed in zip(exact, row, strict=True)]
    slack = 1 + 2**-20  # both sides of a gap are rounded to doubles
    return any(all(gap <= unit * slack for gap, unit in zip(gaps, units, strict=True)) for units in ways)


def _precision(row: Sequence[Number]) -> tuple[int, int]:
    """Return the decimals and the significant digits of the longest entry; zeros if no digits are known."""
    printed = [_decimal(value).as_tuple() for value in row if isinstance(value, Printed)]
    places = max((-int(value.exponent) for value in printed), default=0)
    return max(places, 0), max((len(value.digits) for value in printed), default=0)


def _by_places(row: Sequence[Number], places: int) -> list[float]:
    return [0.0 if isinstance(value, Fraction) else 0.5 * 10.0**-places for value in row]


def _by_digits(row: Sequence[Number], digits: int) -> list[float]:
    exact = [isinstance(value, Fraction) or not value for value in row]
    places = [0 if zero else math.floor(math.log10(value)) + 1 - digits for value, zero in zip(row, exact, strict=True)]
    return [0.0 if zero else 0.5 * 10.0**place for place, zero in zip(places, exact, strict=True)]


def _in_single(row: Sequence[Number]) -> list[float]:
    """Return the spacing of single precision at each entry; zeros if some entry is not of single precision."""
    single = np.array([float(value) for value in row], dtype=np.float32)
    if any(float(near) != float(value) for near, value in zip(single, row, strict=True)):
        return [0.0] * len(row)
    return [float(space) for space in np.spacing(single)]


def _decimal(value: Printed) -> Decimal:
    try:
        return Decimal(value.text)
    except DecimalException:  # an exponent beyond every limit: the value is zero
        return Decimal(0)


def _is_law(row: Sequence[Any]) -> bool:
    """Whether a row has numbers from 0 to 2 alone; others are refused by the checks of the tree."""
    return bool(row) and all(
        isinstance(value, (int, float, Fraction)) and not isinstance(value, bool) and 0 <= value <= 2 for value in row
    )


def _total(row: Sequence[Number]) -> Number:
    return math.fsum(row) if any(isinstance(value, float) for value in row) else sum(row)


def _text(value: Number) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _list(names: Iterable[str]) -> str:
    plain = list(names)
    shown = ", ".join(
        name if name.isprintable() and name.strip() and len(name) <= 40 else show(name) for name in plain[:_NAMED]
    )
    return shown + (f", ... ({len(plain):,} in all)" if len(plain) > _NAMED else "")
