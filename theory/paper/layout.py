r"""Lines of a display that fit a column, by an estimate from above of the width of what LaTeX sets.

The estimate has the widths of Computer Modern at 10 pt, upright or italic, whichever is wider.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hltm.base.errors import InputError
from theory.latex.names import STACKED, expanded, used_macros

WIDTHS = {"article": 345.0, "twocolumn": 246.0, "beamer": 276.0}
"""Widths in pt by name: an article's text, columns of 246 and 252 pt, and a slide, whose 307 pt have type of 11 pt."""
_NARROWEST, _WIDEST = 120.0, 2000.0
_UNITS = {"pt": 1.0, "in": 72.27, "cm": 28.4528, "mm": 2.84528}
_SPARE = 10.0
_INDENT = 20.0
# Declarations of a size of type, and what letters of text, subscripts and their subscripts have of 10 pt at most.
_SIZES = {
    "": (1.0, 0.82, 0.74),
    r"\small": (0.92, 0.77, 0.74),
    r"\footnotesize": (0.86, 0.77, 0.74),
    r"\scriptsize": (0.82, 0.74, 0.74),
}
# What is taller than this, on a slide or on a page, may have to go on on the next one.
_TALL_ON_A_SLIDE, _TALL = 150.0, 300.0
_LINE_HEIGHT, _ROW_HEIGHT = 18.0, 12.0

Item = str | tuple[str, ...]
"""Part of a line: a piece that stays whole, or factors that may be parted where one line is too short."""


@dataclass(frozen=True)
class Row:
    """An equation of a display."""

    left: str
    items: Sequence[Item]


@dataclass(frozen=True)
class Layout:
    """Lines of a display, and the declarations that hold for it alone."""

    lines: list[str]
    declarations: str
    is_tall: bool
    """Whether the display may be taller than what is left of a page."""


def read_width(text: str) -> float:
    """The width in pt that a user gives: a name of `WIDTHS`, or a length with its unit."""
    if text in WIDTHS:
        return WIDTHS[text]
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(pt|in|cm|mm)", text)
    width = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not _NARROWEST <= width <= _WIDEST:
        names = ", ".join(WIDTHS)
        raise InputError(
            f"width={text[:40]!r} of a formula: must be {names}, or a length from {_NARROWEST:g}pt to {_WIDEST:g}pt "
            "in pt, mm, cm or in, as 246pt"
        )
    return width


def arranged(rows: Sequence[Row], line: float) -> Layout:
    r"""The rows in lines of a column; long names are stacked, and the type is smaller, where nothing else fits."""
    room = line - _SPARE
    for ruler in (Ruler(), *(Ruler(size, stacked=True) for size in _SIZES)):
        for flush in (False, True):
            lines, fits = _lines(rows, room, ruler, flush)
            if fits:
                break
        else:
            continue
        break
    used = used_macros(" ".join(lines)) if ruler.stacked else set()
    stack = "".join(rf"\let\covop{name}\covop{other}" for name, other in STACKED.items() if name in used)
    tall = _TALL_ON_A_SLIDE if line == WIDTHS["beamer"] else _TALL
    return Layout(lines, ruler.size + stack, _height(lines) > tall)


def _height(lines: Sequence[str]) -> float:
    cells = sum(line.count(r"\\") for line in lines if r"\end{pmatrix}" in line)
    return len(lines) * _LINE_HEIGHT + cells * _ROW_HEIGHT


def _lines(rows: Sequence[Row], room: float, ruler: "Ruler", flush: bool) -> tuple[list[str], bool]:
    """Lines, one ``&`` each, at the relation sign or, ``flush``, at the start; whether all of them fit."""
    lefts = [ruler.width(row.left) for row in rows]
    # A left side that is wider than this has a line of its own: it would push all right sides to the right.
    narrow = 0.0 if flush else room / 3
    column = max((left for left in lefts if left <= narrow), default=0.0)
    lines: list[str] = []
    fits = True
    for row, left in zip(rows, lefts, strict=True):
        pieces = ruler.pieces(row.items, room - column - _INDENT)
        if left <= narrow:
            first, *rest = ruler.packed(pieces, room - column - _INDENT)
            lines += [f"{row.left} &= {first}", *(rf"&\quad {part}" for part in rest)]
            widest = column + _INDENT
        elif left + _SIGN + sum(size + 2 for _, size in pieces) <= room - column:
            lines.append(f"&{row.left} = {' '.join(piece for piece, _ in pieces)}")
            widest = column
        elif flush and left + _SIGN + pieces[0][1] <= room:
            first, *rest = ruler.packed(pieces, room - _INDENT, room - left - _SIGN)
            lines += [f"&{row.left} = {first}", *(rf"&\qquad {part}" for part in rest)]
            widest = _INDENT
        else:
            first, *rest = ruler.packed(pieces, room - column - _INDENT - 3)
            lines += [f"&{row.left}", rf"&\quad = {first}", *(rf"&\qquad {part}" for part in rest)]
            widest = column + _INDENT + 3
            fits = fits and column + left <= room
        fits = fits and all(widest + size <= room for _, size in pieces)
    return lines, fits


Piece = tuple[str, float]


@dataclass(frozen=True)
class Ruler:
    """Estimated widths in pt at a size of type; ``stacked``: with the ends of an edge below each other."""

    size: str = ""
    stacked: bool = False

    def width(self, text: str) -> float:
        """Width of a formula, macros written out."""
        return self._width(_TOKEN.findall(expanded(text, stacked=self.stacked)), 0)

    def pieces(self, items: Sequence[Item], limit: float) -> list[Piece]:
        """What stays whole, with its width: an item where a line has room for it, else its factors."""
        result = []
        for item in items:
            factors = (item,) if isinstance(item, str) else item
            whole = " ".join(factors)
            size = self.width(whole)
            result += [(whole, size)] if size <= limit else [(factor, self.width(factor)) for factor in factors]
        return result

    @staticmethod
    def packed(pieces: Sequence[Piece], limit: float, first: float | None = None) -> list[str]:
        """Pieces in as few lines as fit; the first line may have less room."""
        lines: list[list[str]] = [[]]
        room = limit if first is None else first
        for piece, size in pieces:
            if size > room and lines[-1]:
                lines.append([])
                room = limit
            lines[-1].append(piece)
            room -= size + 2
        return [" ".join(line) for line in lines]

    def matrix_width(self, cells: Sequence[Sequence[str]]) -> float:
        """Width of a matrix with brackets."""
        return 14 + sum(10 + max(map(self.width, column)) for column in zip(*cells, strict=True))

    def _width(self, words: Sequence[str], level: int, upright: bool = False) -> float:
        total, at = 0.0, 0
        scale = _SIZES[self.size][min(level, 2)]
        while at < len(words):
            word = words[at]
            at += 1
            if word in ("_", "^") and not upright:
                script, at = _argument(words, at)
                total += self._width(script, level + 1) + 0.5
            elif word in ("\\tfrac", "\\frac"):
                upper, at = _argument(words, at)
                lower, at = _argument(words, at)
                inner = level + (word == "\\tfrac")
                total += 3 + max(self._width(upper, inner), self._width(lower, inner))
            elif word in ("\\text", "\\mathrm", "\\operatorname"):
                inside, at = _argument(words, at)
                total += self._width(inside, level, upright=True) + (4 if word == "\\operatorname" else 0)
            elif word == "\\substack":
                inside, at = _argument(words, at)
                total += max(self._width(line, level) for line in _split(inside, "\\\\"))
            elif word == "\\begin":
                end = _matrix_end(words, at)
                rows = [_split(line, "&") for line in _split(words[at + len("{pmatrix}") : end], "\\\\")]
                columns = [[row[i] for row in rows if i < len(row)] for i in range(max(map(len, rows)))]
                total += 14 + sum(10 + max(self._width(cell, level) for cell in column) for column in columns)
                at = end + len("\\end{pmatrix}") - 3
            elif word not in ("{", "}") and (upright or not word.isspace()):
                total += scale * _size(word, upright)
        return total


def _matrix_end(words: Sequence[str], at: int) -> int:
    return next(i for i in range(at, len(words)) if words[i] == "\\end")


def _split(words: Sequence[str], mark: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == mark:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _argument(words: Sequence[str], at: int) -> tuple[list[str], int]:
    """The group, or token, at a place, and the place behind it."""
    while at < len(words) and words[at].isspace():
        at += 1
    depth = 0
    for end in range(at, len(words)):
        depth += (words[end] == "{") - (words[end] == "}")
        if depth == 0:
            return list(words[at + (end > at) : end + (end == at)]), end + 1
    return list(words[at:]), len(words)


_TOKEN = re.compile(r"\\(?:[A-Za-z]+|[\s\S])|\s+|\S")
_SIGN = 14.0  # a relation sign with the space around it
# Letters and digits in tenths of a point, the wider of cmr10 and cmmi10 with its italic correction.
_LETTERS = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            *(53, 56, 45, 56, 47, 60, 51, 58, 34, 47, 55, 32, 88, 60, 50, 56, 53, 48, 47, 39, 57, 53, 74, 57, 53, 51),
            *(75, 81, 79, 86, 80, 78, 79, 91, 52, 65, 92, 68, 108, 91, 79, 78, 79, 77, 67, 72, 79, 81, 108, 91, 80, 75),
        ),
        strict=True,
    )
)
_SPACED = dict.fromkeys("+-=<>", 13.5) | {
    "\\otimes": 12.5,
    "\\in": 12.5,
    "\\to": 15.7,
    "\\mid": 8.4,
    ",": 4.6,
    ";": 4.6,
}
_SIGNS = {"(": 4.7, ")": 4.7, "[": 4.8, "]": 4.8, "|": 3.0, ".": 2.9, "'": 3.0, "/": 5.1, "!": 2.9, ":": 8.4}
_UPRIGHT = {
    "-": 3.4,
    "_": 5.1,
    ",": 2.9,
    ";": 2.9,
    ":": 2.9,
    "=": 7.9,
    "+": 7.9,
    "<": 7.9,
    ">": 7.9,
    "%": 8.4,
    "@": 7.9,
}
_COMMANDS = {"\\quad": 10.0, "\\qquad": 20.0, "\\top": 7.9, "\\ ": 3.4, "\\,": 1.7, "\\dots": 15.5, "\\cdots": 15.5}
_COMMANDS |= {"\\sum": 16.5, "\\prod": 15.0, "\\Delta": 8.4, "\\&": 7.9, "\\#": 8.4, "\\%": 8.4, "\\$": 5.1, "\\_": 5.1}
_COMMANDS |= dict.fromkeys(
    ("\\mathbb", "\\mathcal", "\\bigl", "\\bigr", "\\ensuremath", "\\bar", "\\displaystyle"), 0.0
)


def _size(token: str, upright: bool) -> float:
    """Width of a character or a command."""
    if token in _LETTERS:
        return _LETTERS[token] / 10
    if token.isdigit():
        return 5.1
    if token.isspace():
        return 3.4
    if upright and token in _UPRIGHT:
        return _UPRIGHT[token]
    for table in (_COMMANDS, _SPACED, _SIGNS):
        if token in table:
            return table[token]
    if len(token) > 1:
        # Greek letters; accents have the width of the letter that follows.
        return (9.2 if token[1].isupper() else 7.0) if token[1:].isalpha() and len(token) > 2 else 5.5
    return 8.4
