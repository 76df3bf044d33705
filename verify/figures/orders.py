"""Drawings of fitted orders: the residue of statement 4 against the spread, minibatch errors against B."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.figures.data import FigureData
from verify.figures.plots import GREY, Style, mark_kinds, plain, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST = 2  # different places, for an order to be seen


def residue(figure: Figure, data: FigureData) -> None:
    r"""Norm of theta against the spread: thin lines are populations, thick ones their geometric mean."""
    axes = one_panel(figure, 3.9)
    for number, (name, table) in enumerate(tables(data, "series", "spread", "theta").items()):
        look = style(number)
        for member in table:
            axes.plot(*member, color=look.colour, linestyle=look.line, linewidth=0.6, alpha=0.45, marker="")
        x, y = (np.exp(np.log(values).mean(axis=0)) for values in table.transpose(1, 0, 2))
        fitted(axes, data, look, name, x, y)
    axes.set_xlabel(r"augmentation spread $\sigma = (\mathbb{E}\,\mathrm{tr}\,\mathbb{V}_{\mathrm{aug}}[f_L])^{1/2}$")
    axes.set_ylabel(r"residue $\|\theta\|$")
    mark_kinds(axes, loc="lower right")


def minibatch(figure: Figure, data: FigureData) -> None:
    """Error of minibatch updates against B: every minibatch, and the geometric mean at each B."""
    axes = one_panel(figure, 3.7)
    found = tables(data, "series", "batch", "error")
    for number, (name, table) in enumerate(found.items()):
        look, apart = style(number), 1.12 ** (number - (len(found) - 1) / 2)
        x, y = (np.exp(np.log(values).mean(axis=0)) for values in table.transpose(1, 0, 2))
        axes.plot(
            (table[:, 0] * apart).ravel(), table[:, 1].ravel(), color=look.colour, linestyle="", marker=look.marker,
            markersize=2.2, alpha=0.35, markeredgewidth=0, rasterized=True,
        )  # fmt: skip
        fitted(axes, data, look, name, x * apart, y)
    ticks = sorted({float(value) for table in found.values() for value in table[0, 0]})
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    axes.minorticks_off()
    axes.set_xlabel(r"triples in a minibatch $B$")
    axes.set_ylabel(r"$\|\Delta W - 2\,\mathrm{Cov}_x[\bar K, \bar f_L]\|$")
    mark_kinds(axes, loc="lower left")


def one_panel(figure: Figure, height: float) -> Axes:
    """One panel with two logarithmic axes."""
    from verify.figures.plots import WIDTH

    figure.set_size_inches(WIDTH, height)
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    return axes


def tables(data: FigureData, series: str, x: str, y: str) -> dict[str, Any]:
    """Series to an array (members, 2, places): x and y of every member, which must have equally many places."""
    names, members = data.texts(series), data.numbers("member")
    rows: dict[str, dict[float, list[tuple[float, float]]]] = {}
    for name, member, *point in zip(names, members, data.positive(x), data.positive(y), strict=True):
        rows.setdefault(name, {}).setdefault(member, []).append((point[0], point[1]))
    for name, held in rows.items():
        counts = {len(points) for points in held.values()}
        if len(counts) > 1 or min(counts) < LEAST:
            place = f"column {x!r} of figure {data.name!r}: members of {name!r}"
            listed = ", ".join(map(str, sorted(counts)))
            raise ValueError(f"{place} have {listed} rows, must have equally many, at least {LEAST}")
    return {name: np.array(list(held.values())).transpose(0, 2, 1) for name, held in rows.items()}


def fitted(axes: Axes, data: FigureData, look: Style, name: str, x: Any, y: Any) -> None:
    """The mean of a series, the fitted order in the legend, and a line of the stated order through its middle."""
    order, low, high = (data.fact(f"order, {name}{what}") for what in ("", ", low", ", high"))
    stated = data.fact(f"order, {name}, stated")
    label = f"{plain(name)}: order {order:.4f} [{low:.4f}, {high:.4f}]"
    axes.plot(x, y, **look.plot, label=label, markeredgecolor="white", markeredgewidth=0.6, zorder=3)
    middle = len(x) // 2
    ends = x[[0, -1]]
    # Beside the series, where it can be seen: half as high.
    guide = 0.5 * y[middle] * (ends / x[middle]) ** stated
    text = f"slope {stated:g}"
    known = {line.get_label() for line in axes.get_lines()}
    axes.plot(ends, guide, color=GREY, linewidth=1.0, linestyle=":", label=None if text in known else text)
