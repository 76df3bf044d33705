"""Drawings of many single points: residuals in units of the tolerance, lucky neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.figures.curves import grouped
from verify.figures.data import FigureData
from verify.figures.plots import GREY, WIDTH, mark_kinds, panel, short, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME_LENGTH = 30


def separation(figure: Figure, data: FigureData) -> None:
    """Residual in units of the tolerance, a row for the statement and for each false variant."""
    claims, ratio = grouped(data.texts("claim")), np.array(data.numbers("ratio"))
    figure.set_size_inches(WIDTH, 0.9 + 0.27 * len(claims))
    axes = figure.subplots()
    floor = data.fact("lowest ratio drawn")
    for number, part in enumerate(claims.values()):
        look = style(min(number, 1))
        # Apart by a golden section, so that neighbours do not hide each other.
        height = -number + 0.5 * ((np.arange(len(part)) * 0.618) % 1 - 0.5)
        axes.plot(
            np.maximum(ratio[part], floor), height, linestyle="", color=look.colour, marker=look.marker,
            markersize=4 if number == 0 else 3.2, fillstyle="full" if number == 0 else "none", markeredgewidth=0.8,
        )  # fmt: skip
    axes.set_yticks(-np.arange(len(claims)), [short(claim, NAME_LENGTH) for claim in claims])
    axes.set_xscale("log")
    axes.axvline(1.0, color="black", linewidth=1.0, linestyle="--")
    axes.annotate(
        "tolerance", (1.0, 1.0), xycoords=("data", "axes fraction"), xytext=(4, -2), textcoords="offset points",
        fontsize=8, va="top",
    )  # fmt: skip
    axes.set_xlabel("largest residual of an instance / what rounding explains")


def lucky(figure: Figure, data: FigureData) -> None:
    """Selectivity and its growth against the initial gap, one point for each neuron."""
    figure.set_size_inches(WIDTH, 3.5)
    left, right = figure.subplots(1, 2)
    gap, start, end = (np.array(data.numbers(name)) for name in ("gap", "start", "end"))
    for number, (name, values) in enumerate((("after training", end), ("before training", start))):
        look = style(number)
        fill = "none" if number == 0 else "full"
        left.plot(
            gap, values, linestyle="", marker=look.marker, color=look.colour, markersize=3 - number, fillstyle=fill,
            markeredgewidth=0.7, label=name,
        )  # fmt: skip
    look = style(0)
    right.plot(
        gap, end - start, linestyle="", marker=look.marker, color=look.colour, markersize=3, fillstyle="none",
        markeredgewidth=0.7,
    )  # fmt: skip
    right.axhline(0.0, color=GREY, linewidth=0.8)
    panel(left, r"selectivity $s_j$")
    panel(right, r"growth of the selectivity $s_j$ in training")
    for axes, name in ((left, "final selectivity"), (right, "growth")):
        axes.axvline(0.0, color=GREY, linewidth=0.8, linestyle="--")
        axes.set_xlabel(r"initial gap $g_j = 2 w_j^{\top} a_\mu$")
        correlation_note(axes, data, name)
    mark_kinds(left, loc="lower right", markerscale=1.6)


def correlation_note(axes: Axes, data: FigureData, name: str) -> None:
    """The rank correlation with the initial gap and its interval, in the upper left."""
    found = [data.fact(f"rank correlation, {name}{what}") for what in ("", ", low", ", high")]
    axes.text(
        0.03, 0.96, "rank correlation {:.2f} [{:.2f}, {:.2f}]".format(*found), transform=axes.transAxes, fontsize=8,
        va="top", bbox={"facecolor": "white", "edgecolor": "0.8", "pad": 2.5, "linewidth": 0.6},
    )  # fmt: skip
