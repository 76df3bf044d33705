"""How figures look: colours, line styles, markers, fonts; what keeps their bytes the same; text that is no formula.

Series differ in colour (Okabe and Ito's palette, which colour-blind readers tell apart) and in line style and marker,
so that a figure reads as well in black and white. Maps are cividis, whose lightness grows all along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 7.0  # inches: 672 pixels on a page
DPI = 130
MAP = "cividis"
GREY = "0.45"

_SYMBOLS: Mapping[str, str] = MappingProxyType({"tau": r"$\tau$", "r_0": "$r_0$", "H": "$H$"})


@dataclass(frozen=True)
class Style:
    """Colour, line style, marker and hatch of one series."""

    colour: str
    line: Any
    marker: str
    hatch: str

    @property
    def plot(self) -> dict[str, Any]:
        """Keywords of a line with markers."""
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker}

    @property
    def band(self) -> dict[str, Any]:
        """Keywords of an area, through which others can be seen."""
        from matplotlib.colors import to_rgba

        shade, lines = to_rgba(self.colour, 0.15), to_rgba(self.colour, 0.35)
        return {"facecolor": shade, "edgecolor": lines, "hatch": self.hatch, "linewidth": 0.0}


STYLES = (
    Style("#0072B2", "-", "o", "///"),
    Style("#D55E00", (0, (5, 2)), "s", "\\\\\\"),
    Style("#009E73", (0, (1, 1.2)), "^", "|||"),
    Style("#000000", (0, (6, 2, 1, 2)), "D", "xxx"),
    Style("#CC79A7", (0, (3, 1, 1, 1, 1, 1)), "v", "+++"),
    Style("#E69F00", (0, (8, 3)), "P", "ooo"),
    Style("#56B4E9", (0, (2, 2)), "X", "---"),
)

RC: Mapping[str, Any] = MappingProxyType(
    {
        "font.family": "DejaVu Sans",  # comes with matplotlib
        "font.size": 9.0,
        "axes.titlesize": 9.0,
        "axes.labelsize": 9.0,
        "xtick.labelsize": 8.0,
        "ytick.labelsize": 8.0,
        "legend.fontsize": 8.0,
        "legend.framealpha": 0.9,
        "legend.handlelength": 3.2,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "0.88",
        "grid.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 1.6,
        "lines.markersize": 5.0,
        "hatch.linewidth": 0.5,
        "pdf.fonttype": 42,  # fonts stay fonts: text can be searched and edited
        "svg.fonttype": "path",  # letters look the same where the font is not installed
        "svg.image_inline": True,
    }
)


def style(number: int) -> Style:
    """The style of the series of that number; after seven they begin again."""
    return STYLES[number % len(STYLES)]


def plain(text: str) -> str:
    r"""Text as matplotlib shows it letter by letter: a dollar sign opens no formula; what cannot be printed is a box.

    Examples
    --------
    >>> plain("cost $x_1$ of a_b")
    'cost \\$x_1\\$ of a_b'
    """
    shown = "".join(letter if letter.isprintable() else "□" for letter in text)
    # Where no unescaped dollar is left matplotlib writes "\$" as "$" and everything else as it stands.
    return shown.replace("$", r"\$")


def symbols(text: str) -> str:
    r"""Text with the names of parameters as symbols.

    Examples
    --------
    >>> symbols("InfoNCE, tau = 0.5")
    'InfoNCE, $\\tau$ = 0.5'
    """
    return re.sub(r"\b(tau|r_0|H)\b", lambda found: _SYMBOLS[found[1]], plain(text))


def short(text: str, length: int) -> str:
    """Text as it stands, cut to that many letters.

    Examples
    --------
    >>> short("a long name", 6)
    'a lon…'
    """
    return plain(text if len(text) <= length else f"{text[: length - 1]}…")


def panel(axes: Axes, text: str) -> None:
    """Write what a panel shows above it, from its left edge."""
    axes.set_title(text, loc="left")


def mark_kinds(axes: Axes, **options: Any) -> None:
    """Write the legend."""
    axes.legend(**{"borderaxespad": 0.4, "labelspacing": 0.35, **options})
