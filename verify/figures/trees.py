"""Drawings of statement 6: an operator derived beside measured with its spectrum, a tree coloured by correlation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.figures.data import FigureData
from verify.figures.plots import GREY, MAP, WIDTH, mark_kinds, panel, short, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDES = {"derived": "theory", "measured": "numeric"}
SIGNS_UP_TO = 16  # rows of a matrix
NAME_LENGTH = 7
NODES_UP_TO = 63


def operator(figure: Figure, data: FigureData) -> None:
    """Heat maps of both sides with signs in their cells, and eigenvalues of both on a logarithmic axis."""
    figure.set_size_inches(WIDTH, 3.1)
    sides = matrices(data)
    largest = max(float(np.abs(matrix).max()) for matrix in sides.values()) or 1.0
    grid = figure.subplots(1, 3, width_ratios=(1, 1, 1.05))
    for axes, (side, matrix) in zip(grid, sides.items(), strict=False):
        image = heat(axes, matrix, largest)
        panel(axes, f"{side} ({SIDES[side]})")
        axes.set_xlabel(r"entry of $\mathrm{vec}\,W_\mu$")
    grid[0].set_ylabel(r"entry of $\mathrm{vec}\,W_\mu$")
    bar = figure.colorbar(image, ax=list(grid[:2]), location="bottom", shrink=0.8, aspect=36, pad=0.02)
    bar.set_label(r"entry of $\mathrm{OP}_\mu = \mathbb{V}_x[\bar K_\mu]$")
    spectrum(grid[2], data)


def matrices(data: FigureData) -> dict[str, Any]:
    """The two square matrices; ValueError where entries are missing."""
    sides, quantity = data.texts("side"), data.texts("quantity")
    rows, columns = (data.numbers(name, missing=True) for name in ("row", "column"))
    values = data.numbers("value")
    found: dict[str, Any] = {}
    for side in SIDES:
        here = [n for n in range(data.rows) if sides[n] == side and quantity[n] == "entry"]
        size = round(len(here) ** 0.5)
        if not here or size * size != len(here):
            raise ValueError(f"figure {data.name!r}: {len(here)} entries of the {side} matrix, must be a square number")
        found[side] = np.full((size, size), np.nan)
        for n in here:
            place = rows[n], columns[n]
            if not (set(place) <= set(range(size)) and np.isnan(found[side][int(rows[n]), int(columns[n])])):
                where = f"entry ({rows[n]:g}, {columns[n]:g}) of the {side} matrix"
                raise ValueError(f"figure {data.name!r}: {where}: must lie within {size} rows and columns, once")
            found[side][int(rows[n]), int(columns[n])] = values[n]
    return found


def heat(axes: Axes, matrix: Any, largest: float) -> Any:
    """A matrix as colours between -largest and largest; signs are written, as lightness alone grows with the value."""
    size = len(matrix)
    image = axes.imshow(matrix, cmap=MAP, vmin=-largest, vmax=largest)
    axes.grid(visible=False)
    if size <= SIGNS_UP_TO:
        for marker, sign in (("+", 1), ("_", -1)):
            for colour, light in (("black", True), ("white", False)):
                chosen = (sign * matrix > 1e-12 * largest) & ((matrix >= 0.1 * largest) == light)
                rows, columns = np.nonzero(chosen)
                axes.plot(columns, rows, linestyle="", marker=marker, markersize=5, color=colour, markeredgewidth=0.9)
    ticks = np.arange(0, size, max(1, -(-size // 6)))
    axes.set_xticks(ticks, ticks + 1)
    axes.set_yticks(ticks, ticks + 1)
    return image


def spectrum(axes: Axes, data: FigureData) -> None:
    """Absolute eigenvalues by rank; where the rank must end, and what rounding explains."""
    from matplotlib.ticker import MaxNLocator

    sides, quantity, values = data.texts("side"), data.texts("quantity"), data.numbers("value")
    bound, floor, rank = (data.fact(name) for name in ("rounding explains", "lowest eigenvalue drawn", "rank at most"))
    for number, side in enumerate(SIDES):
        found = [values[n] for n in range(data.rows) if sides[n] == side and quantity[n] == "eigenvalue"]
        look = style(number)
        axes.plot(
            np.arange(1, len(found) + 1), np.maximum(np.abs(found), floor), linestyle="", color=look.colour,
            marker="o" if number == 0 else "x", fillstyle="none", markersize=7 if number == 0 else 5,
            markeredgewidth=1.3, label=side,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.axhspan(floor, bound, facecolor="0.93", edgecolor="0.75", hatch="//", linewidth=0, zorder=0, label="rounding")
    axes.axvline(rank + 0.5, color="black", linestyle="--", linewidth=0.9, label=rf"rank $\leq {rank:g}$")
    axes.set_xlabel(r"number $i$")
    panel(axes, r"spectrum $|\lambda_i|$")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    mark_kinds(axes, loc="upper right")


def tree(figure: Figure, data: FigureData) -> None:
    """The tree before and after training, latents coloured by what their best neuron knows of them."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    nodes, places = data.texts("node"), dict(zip(data.texts("node"), range(data.rows), strict=True))
    if len(places) < data.rows or data.rows > NODES_UP_TO:
        raise ValueError(f"column 'node' of figure {data.name!r}: must be different names, at most {NODES_UP_TO}")
    levels = data.numbers("depth")
    figure.set_size_inches(WIDTH, 1.2 + 0.85 * (1 + max(levels)))
    known = [v for name in ("before", "after") for v in data.numbers(name, missing=True) if v == v]
    norm = Normalize(min(known, default=0.0), 1.0)
    grid = figure.subplots(1, 2)
    for axes, name in zip(grid, ("before", "after"), strict=True):
        axes.set_axis_off()
        axes.set_aspect("auto")
        edges(axes, data, places)
        values = data.numbers(name, missing=True)
        for number in range(len(nodes)):
            dot(axes, data, number, values[number], norm)
        x = data.numbers("x")
        axes.set_xlim(min(x) - 0.6, max(x) + 0.6)
        axes.set_ylim(-max(levels) - 0.55, 0.55)
        panel(axes, f"{name} training")
    bar = figure.colorbar(
        ScalarMappable(norm, MAP), ax=list(grid), location="bottom", shrink=0.6, aspect=40, pad=0.01
    )  # fmt: skip
    bar.set_label(r"correlation of the best neuron of $\mathcal{N}_\mu$ with $z_\mu$")


def edges(axes: Axes, data: FigureData, places: dict[str, int]) -> None:
    """Edges as wide as their polarity is large, dashed where it is negative; the polarity beside them."""
    x, depth, polarity = data.numbers("x"), data.numbers("depth"), data.numbers("polarity", missing=True)
    for number, parent in enumerate(data.columns.get("parent", ())):
        if parent is None:
            continue
        if parent not in places:
            place = f"column 'parent', row {number + 1} of figure {data.name!r}"
            raise ValueError(f"{place} is {parent!r:.40}: must be one of the nodes")
        above, value = places[str(parent)], polarity[number]
        look = "-" if value >= 0 else (0, (3, 1.5))
        ends = (x[above], x[number]), (-depth[above], -depth[number])
        axes.plot(*ends, color=GREY, linewidth=0.4 + 2 * abs(value), linestyle=look, zorder=1)
        axes.text(
            x[above] + 0.56 * (x[number] - x[above]), -depth[above] - 0.56 * (depth[number] - depth[above]),
            f"{value:.2f}".replace("0.", ".", 1), fontsize=6.5, ha="center", va="center", zorder=2,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip


def dot(axes: Axes, data: FigureData, number: int, value: float, norm: Any) -> None:
    """A latent with its value in it and its name above it, or a leaf with its name."""
    import matplotlib

    x, y = data.numbers("x")[number], -data.numbers("depth")[number]
    name = short(data.texts("label")[number], NAME_LENGTH)
    if value != value:
        frame = {"boxstyle": "square,pad=0.25", "facecolor": "0.93", "edgecolor": "0.5", "linewidth": 0.7}
        axes.text(x, y, name, fontsize=6.5, ha="center", va="center", bbox=frame, zorder=3)
        return
    colour = matplotlib.colormaps[MAP](norm(value))
    text = "white" if norm(value) < 0.5 else "black"
    frame = {"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "black", "linewidth": 0.7}
    axes.text(x, y, f"{value:.2f}", color=text, fontsize=8, ha="center", va="center", bbox=frame, zorder=3)
    axes.annotate(
        name, (x, y), xytext=(15, 5), textcoords="offset points", fontsize=6.5, ha="left", va="bottom", zorder=4,
    )  # fmt: skip
