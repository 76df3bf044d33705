r"""Lines of a display that fit the text of a page: items packed by the width that they have when they are set.

Widths are estimates from the sizes of Computer Modern at 10 pt, on the safe side; a symbol with two names of more
than about 35 letters is wider than a line, and stands in one alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from theory.macros import expanded
from theory.tex_tokens import argument, tokens

LINE = 335.0
"""Width of a line in pt: the 345 pt of the plain article class, less what an estimate may be short of."""
_INDENT = 20.0
# A left side that is wider than this has a line of its own: it would push all right sides to the right.
_WIDE_LEFT = 110.0
_SCALE = (1.0, 0.78, 0.68)  # in text, subscripts, subscripts of subscripts
_CLASSES = {"il,.':;|!`": 3.0, "frtsjI()[]-/": 4.2, "mw": 8.6, "MW": 10.3, "+=<>": 14.0}
_SIZES = {c: size for letters, size in _CLASSES.items() for c in letters}
_COMMANDS = {"\\quad": 10.0, "\\otimes": 12.5, "\\mid": 8.4, "\\top": 7.8, "\\ ": 3.5} | dict.fromkeys(
    ("\\mathrm", "\\mathbb", "\\mathcal", "\\text", "\\bigl", "\\bigr", "\\operatorname", "\\ensuremath"), 0.0
)
Item = str | tuple[str, ...]
"""What a line is packed from: a piece that stays whole, or factors that may be parted where one line is too short."""


@dataclass(frozen=True)
class Row:
    """An equation of a display.

    Attributes
    ----------
    left
        The left side.
    items
        The right side, pieces with the signs and commas behind them.
    """

    left: str
    items: Sequence[Item]


def width(text: str) -> float:
    r"""About how wide LaTeX sets a formula, in pt; macros are written out first.

    Examples
    --------
    >>> width(r"\covoppolarity{a}{b}") == width(r"\rho_{a,b}") < width(r"\rho_{ab,cd}")
    True
    """
    return _width(tokens(expanded(text)), 0)


def _width(found: Sequence[str], level: int) -> float:
    total, at = 0.0, 0
    scale = _SCALE[min(level, 2)]
    while at < len(found):
        word = found[at]
        at += 1
        if word in "_^":
            script, at = argument(found, at)
            total += _width(script, level + 1)
        elif word in ("\\tfrac", "\\frac"):
            upper, at = argument(found, at)
            lower, at = argument(found, at)
            inner = level + (word == "\\tfrac")
            total += 3 + max(_width(upper, inner), _width(lower, inner))
        elif word not in "{}":
            total += scale * _size(word)
    return total


def _size(token: str) -> float:
    if token in _COMMANDS:
        return _COMMANDS[token]
    if len(token) > 1:
        return 6.5 if token[1].isalpha() else 5.5
    return _SIZES.get(token, 8.0 if token.isupper() else 5.6)


def matrix_width(rows: Sequence[Sequence[str]]) -> float:
    """About how wide a matrix with brackets is."""
    return 12 + sum(10 + max(map(width, column)) for column in zip(*rows, strict=True))


def laid_out(rows: Sequence[Row]) -> list[str]:
    r"""Lines of an ``aligned`` display, one ``&`` each.

    Examples
    --------
    >>> laid_out([Row("a", ["b,"]), Row("c", ["d"])])
    ['a &= b,', 'c &= d']
    """
    lefts = [width(row.left) for row in rows]
    column = max((left for left in lefts if left <= _WIDE_LEFT), default=0.0)
    lines = []
    for row, left in zip(rows, lefts, strict=True):
        parts = packed(row.items, LINE - column - _INDENT - 10)
        if left <= _WIDE_LEFT:
            lines += [f"{row.left} &= {parts[0]}", *(rf"&\quad {part}" for part in parts[1:])]
        else:
            lines += [f"&{row.left}", rf"&\quad = {parts[0]}", *(rf"&\qquad {part}" for part in parts[1:])]
    return lines


def packed(items: Sequence[Item], limit: float) -> list[str]:
    """Items in as few lines as fit; factors are parted only where they do not fit in a line together."""
    lines: list[list[str]] = [[]]
    room = limit
    for item in items:
        factors = (item,) if isinstance(item, str) else item
        whole = (" ".join(factors),)
        for piece in whole if width(whole[0]) <= limit else factors:
            size = width(piece) + 2
            if size > room and lines[-1]:
                lines.append([])
                room = limit
            lines[-1].append(piece)
            room -= size
    return [" ".join(line) for line in lines]
