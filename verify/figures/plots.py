"""Drawings of every kind of figure, and their colours, line styles, markers and fonts.

Series differ in colour (Okabe and Ito's palette, which colour-blind readers tell apart) and in line style and marker,
so that a figure reads as well in black and white. Maps are cividis, whose lightness grows all along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.figures.data import FigureData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


WIDTH = 7.0  # inches: 672 pixels on a page
DPI = 130
MAP = "cividis"
GREY = "0.45"
# The area that rounding explains.
ROUNDING: Mapping[str, Any] = MappingProxyType(
    {"facecolor": "0.93", "edgecolor": "0.75", "hatch": "//", "linewidth": 0, "zorder": 0}
)

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
    """The style of the series of that number; styles repeat after seven."""
    return STYLES[number % len(STYLES)]


def plain(text: str) -> str:
    """Escape dollar signs for matplotlib; unprintable characters become boxes."""
    shown = "".join(letter if letter.isprintable() else "□" for letter in text)
    # Where no unescaped dollar is left matplotlib writes "\$" as "$" and everything else as it stands.
    return shown.replace("$", r"\$")


def symbols(text: str) -> str:
    r"""Text with the names of parameters as symbols."""
    return re.sub(r"\b(tau|r_0|H)\b", lambda match: _SYMBOLS[match[1]], plain(text))


def short(text: str, length: int) -> str:
    """Text as it stands, cut to that many letters."""
    return plain(text if len(text) <= length else f"{text[: length - 1]}…")


def panel(axes: Axes, text: str) -> None:
    """Title a panel at its left edge."""
    axes.set_title(text, loc="left")


def mark_kinds(axes: Axes, **options: Any) -> None:
    axes.legend(**{"borderaxespad": 0.4, "labelspacing": 0.35, **options})


SCALES = ("linear", "log")


def lines(figure: Figure, data: FigureData) -> None:
    """Lines of columns x, y, series; facts `x label`, `x scale`, the same for y."""
    figure.set_size_inches(WIDTH, 3.7)
    axes = figure.subplots()
    read = {}
    for name in ("x", "y"):
        scale = data.facts.get(f"{name} scale", "linear")
        if scale not in SCALES:
            raise ValueError(f"fact '{name} scale' of figure {data.name!r} is {scale!r:.40}: must be linear or log")
        read[name] = data.positive(name) if scale == "log" else data.numbers(name)
        axes.set(**{f"{name}scale": scale, f"{name}label": short(str(data.facts.get(f"{name} label", name)), 60)})
    names = data.texts("series") if "series" in data.columns else np.array([""] * data.rows)
    for number, name in enumerate(dict.fromkeys(names)):
        here = names == name
        axes.plot(read["x"][here], read["y"][here], **style(number).plot, label=short(name, 40))
    if "series" in data.columns:
        mark_kinds(axes)


def pair_weights(figure: Figure, data: FigureData) -> None:
    """Pair weights against r: closed form as lines, autograd as markers."""
    figure.set_size_inches(WIDTH, 3.5)
    axes = figure.subplots()
    r, values = data.numbers("r"), data.numbers("value")
    losses, quantities = data.texts("loss"), data.texts("quantity")
    shown = {"dL/dr_+": ("none", 7.0), "-dL/dr_-": ("full", 2.6)}
    for number, loss in enumerate(dict.fromkeys(losses)):
        look = style(number)
        here = (losses == loss) & (quantities == "xi")
        axes.plot(r[here], values[here], color=look.colour, linestyle=look.line, label=rf"$\xi(r)$, {symbols(loss)}")
        for name, (fill, size) in shown.items():
            here = (losses == loss) & (quantities == name)
            axes.plot(
                r[here], values[here], linestyle="", marker=look.marker, color=look.colour, fillstyle=fill,
                markersize=size,
            )  # fmt: skip
    for name, (fill, size) in shown.items():
        text = name.replace("dL/dr", r"\partial L/\partial r")
        axes.plot([], [], linestyle="", marker="o", color=GREY, fillstyle=fill, markersize=size, label=rf"${text}$")
    axes.set_xlabel(r"distance of the negative pair $r = r_-$, at $r_+ = 0$")
    axes.set_ylabel(r"pair weight $\xi(r)$")
    axes.set_ylim(-0.04, 1.08)
    mark_kinds(axes, loc="center right")


def ring(figure: Figure, data: FigureData) -> None:
    """Distance of the mean outputs of 11 and 101 along descent, a panel for each loss."""
    figure.set_size_inches(WIDTH, 3.4)
    losses, neurons, runs = data.texts("loss"), data.texts("neurons"), data.numbers("run")
    time, gap = data.numbers("time"), data.numbers("distance")
    floor, bound = data.fact("lowest distance drawn"), data.fact("rounding explains")
    panels = dict.fromkeys(losses)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, loss in zip(grid, panels, strict=True):
        for number, kind in enumerate(dict.fromkeys(neurons)):
            look = style(number)
            for run in dict.fromkeys(runs):
                here = (losses == loss) & (neurons == kind) & (runs == run)
                axes.plot(
                    time[here], np.maximum(gap[here], floor), color=look.colour, linestyle=look.line, linewidth=1.1,
                    marker=look.marker, markevery=(0.03 + 0.02 * run, 0.17), markersize=3.6,
                    label=f"{plain(kind)} neurons" if run == min(runs) else None,
                )  # fmt: skip
        axes.axhspan(floor, bound, **ROUNDING, label="what rounding explains")
        axes.set_yscale("log")
        axes.set_xlabel("time (steps times learning rate)")
        panel(axes, symbols(loss))
    grid[0].set_ylabel(r"$\|\bar f_L(11) - \bar f_L(101)\|$")
    patterns(grid[-1], int(data.fact("positions")))
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)


def patterns(axes: Axes, positions: int) -> None:
    """The two objects on their ring: filled positions are 1."""
    for number, (name, ones) in enumerate((("11", (0, 1)), ("101", (0, 2)))):
        inset = axes.inset_axes((0.5 + 0.25 * number, 0.4, 0.22, 0.32))
        inset.set_axis_off()
        inset.set_aspect("equal")
        turn = 2 * np.pi * np.arange(positions) / positions
        faces = ["black" if place in ones else "white" for place in range(positions)]
        inset.plot(np.sin(np.linspace(0, 7, 99)), np.cos(np.linspace(0, 7, 99)), color=GREY, linewidth=0.8, zorder=0)
        inset.scatter(np.sin(turn), np.cos(turn), s=22, c=faces, edgecolors="black", linewidths=0.8)
        inset.text(0, 0, name, ha="center", va="center", fontsize=8)
        inset.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))


def training(figure: Figure, data: FigureData) -> None:
    """Best correlation and operator norm along training by level, with quartiles."""
    figure.set_size_inches(WIDTH, 3.6)
    left, right = figure.subplots(1, 2)
    quantities, levels = data.texts("quantity"), data.numbers("level")
    steps, middle, low, high = (data.numbers(name, missing=True) for name in ("step", "median", "lower", "upper"))
    top = max(levels)
    for axes, quantity in ((left, "correlation"), (right, "norm")):
        for number, level in enumerate(sorted(set(levels), reverse=True)):
            here = (quantities == quantity) & (levels == level)
            look = style(number)
            where = "root" if level == top else f"level {level:g}" + (" (above leaves)" if level == 1 else "")
            axes.fill_between(steps[here], low[here], high[here], **look.band)
            axes.plot(steps[here], middle[here], **look.plot, markevery=2, markersize=4, label=where)
            for ceiling in middle[(quantities == "ceiling") & (levels == level) & (axes is left)]:
                axes.axhline(ceiling, color=look.colour, linestyle=look.line, linewidth=0.8)
        axes.set_xlabel("step")
    panel(left, r"correlation of the best neuron with $z_\mu$")
    panel(right, r"norm $\|\mathbb{V}_x[\bar K_\mu]\|_F$ of the operator")
    right.set_yscale("log")
    left.plot([], [], color=GREY, linewidth=0.8, label="thin: ceiling of the level")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


# Different places that a fitted order needs.
LEAST = 2


def residue(figure: Figure, data: FigureData) -> None:
    r"""Norm of theta against the spread, by population and in the geometric mean."""
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
    """Error of minibatch updates against B, and the geometric mean at each B."""
    axes = one_panel(figure, 3.7)
    result = tables(data, "series", "batch", "error")
    for number, (name, table) in enumerate(result.items()):
        look, apart = style(number), 1.12 ** (number - (len(result) - 1) / 2)
        x, y = (np.exp(np.log(values).mean(axis=0)) for values in table.transpose(1, 0, 2))
        axes.plot(
            (table[:, 0] * apart).ravel(), table[:, 1].ravel(), color=look.colour, linestyle="", marker=look.marker,
            markersize=2.2, alpha=0.35, markeredgewidth=0, rasterized=True,
        )  # fmt: skip
        fitted(axes, data, look, name, x * apart, y)
    ticks = sorted({float(value) for table in result.values() for value in table[0, 0]})
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    axes.minorticks_off()
    axes.set_xlabel(r"triples in a minibatch $B$")
    axes.set_ylabel(r"$\|\Delta W - 2\,\mathrm{Cov}_x[\bar K, \bar f_L]\|$")
    mark_kinds(axes, loc="lower left")


def one_panel(figure: Figure, height: float) -> Axes:
    """One panel with two logarithmic axes."""
    figure.set_size_inches(WIDTH, height)
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    return axes


def tables(data: FigureData, series: str, x: str, y: str) -> dict[str, Any]:
    """Arrays (members, 2, places) of x and y by series."""
    names, members = data.texts(series), data.numbers("member")
    rows: dict[str, dict[float, list[tuple[float, float]]]] = {}
    for name, member, *point in zip(names, members, data.positive(x), data.positive(y), strict=True):
        rows.setdefault(name, {}).setdefault(member, []).append((point[0], point[1]))
    for name, points_of in rows.items():
        counts = {len(points) for points in points_of.values()}
        if len(counts) > 1 or min(counts) < LEAST:
            place = f"column {x!r} of figure {data.name!r}: members of {name!r}"
            listed = ", ".join(map(str, sorted(counts)))
            raise ValueError(f"{place} have {listed} rows, must have equally many, at least {LEAST}")
    return {name: np.array(list(points_of.values())).transpose(0, 2, 1) for name, points_of in rows.items()}


def fitted(axes: Axes, data: FigureData, look: Style, name: str, x: Any, y: Any) -> None:
    """Draw the mean of a series, with its fitted and its stated order."""
    order, low, high = (data.fact(f"order, {name}{what}") for what in ("", ", low", ", high"))
    stated = data.fact(f"order, {name}, stated")
    label = f"{plain(name)}: order {order:.4f} [{low:.4f}, {high:.4f}]"
    axes.plot(x, y, **look.plot, label=label, markeredgecolor="white", markeredgewidth=0.6, zorder=3)
    middle = len(x) // 2
    ends = x[[0, -1]]
    # Half as high as the series, so that it can be seen.
    guide = 0.5 * y[middle] * (ends / x[middle]) ** stated
    text = f"slope {stated:g}"
    known = {line.get_label() for line in axes.get_lines()}
    axes.plot(ends, guide, color=GREY, linewidth=1.0, linestyle=":", label=None if text in known else text)


ROW_NAME_LENGTH = 30


def separation(figure: Figure, data: FigureData) -> None:
    """Residual over tolerance, a row for the statement and each mutant."""
    names, ratio = data.texts("claim"), data.numbers("ratio")
    claims = list(dict.fromkeys(names))
    figure.set_size_inches(WIDTH, 0.9 + 0.27 * len(claims))
    axes = figure.subplots()
    floor = data.fact("lowest ratio drawn")
    for number, claim in enumerate(claims):
        look = style(min(number, 1))
        here = ratio[names == claim]
        # Apart by a golden section, so that neighbours do not hide each other.
        height = -number + 0.5 * ((np.arange(len(here)) * 0.618) % 1 - 0.5)
        axes.plot(
            np.maximum(here, floor), height, linestyle="", color=look.colour, marker=look.marker,
            markersize=4 if number == 0 else 3.2, fillstyle="full" if number == 0 else "none", markeredgewidth=0.8,
        )  # fmt: skip
    axes.set_yticks(-np.arange(len(claims)), [short(claim, ROW_NAME_LENGTH) for claim in claims])
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
    gap, start, end = (data.numbers(name) for name in ("gap", "start", "end"))
    for number, (name, values) in enumerate((("after training", end), ("before training", start))):
        look = style(number)
        fill = "none" if number == 0 else "full"
        left.plot(
            gap, values, linestyle="", marker=look.marker, color=look.colour, markersize=3 - number, fillstyle=fill,
            markeredgewidth=0.7, label=name, rasterized=True,
        )  # fmt: skip
    look = style(0)
    right.plot(
        gap, end - start, linestyle="", marker=look.marker, color=look.colour, markersize=3, fillstyle="none",
        markeredgewidth=0.7, rasterized=True,
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
    """Write the rank correlation with the initial gap and its interval in the upper left."""
    estimates = [data.fact(f"rank correlation, {name}{what}") for what in ("", ", low", ", high")]
    axes.text(
        0.03, 0.96, "rank correlation {:.2f} [{:.2f}, {:.2f}]".format(*estimates), transform=axes.transAxes, fontsize=8,
        va="top", bbox={"facecolor": "white", "edgecolor": "0.8", "pad": 2.5, "linewidth": 0.6},
    )  # fmt: skip


# Sides of an operator and the package that computes each.
SIDES = {"derived": "theory", "measured": "numeric"}
SIGNS_UP_TO = 16  # rows of a matrix
NODE_NAME_LENGTH = 7
NODES_UP_TO = 63


def operator(figure: Figure, data: FigureData) -> None:
    """Heat maps and eigenvalues of an operator, derived and measured."""
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
    result: dict[str, Any] = {}
    for side in SIDES:
        here = np.flatnonzero((sides == side) & (quantity == "entry"))
        size = round(len(here) ** 0.5)
        if not size or size * size != len(here):
            raise ValueError(f"figure {data.name!r}: {len(here)} entries of the {side} matrix, must be a square number")
        result[side] = np.full((size, size), np.nan)
        for n in here:
            place = rows[n], columns[n]
            if not (set(place) <= set(range(size)) and np.isnan(result[side][int(rows[n]), int(columns[n])])):
                where = f"entry ({rows[n]:g}, {columns[n]:g}) of the {side} matrix"
                raise ValueError(f"figure {data.name!r}: {where}: must lie within {size} rows and columns, once")
            result[side][int(rows[n]), int(columns[n])] = values[n]
    return result


def heat(axes: Axes, matrix: Any, largest: float) -> Any:
    """A heat map with signs, since lightness does not show them."""
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
    """Absolute eigenvalues by rank, the bound on the rank, and the size of rounding errors."""
    from matplotlib.ticker import MaxNLocator

    sides, quantity, values = data.texts("side"), data.texts("quantity"), data.numbers("value")
    bound, floor, rank = (data.fact(name) for name in ("rounding explains", "lowest eigenvalue drawn", "rank at most"))
    for number, side in enumerate(SIDES):
        eigenvalues = values[(sides == side) & (quantity == "eigenvalue")]
        look = style(number)
        axes.plot(
            np.arange(1, len(eigenvalues) + 1), np.maximum(np.abs(eigenvalues), floor), linestyle="", color=look.colour,
            marker="o" if number == 0 else "x", fillstyle="none", markersize=7 if number == 0 else 5,
            markeredgewidth=1.3, label=side,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.axhspan(floor, bound, **ROUNDING, label="rounding")
    axes.axvline(rank + 0.5, color="black", linestyle="--", linewidth=0.9, label=rf"rank $\leq {rank:g}$")
    axes.set_xlabel(r"number $i$")
    panel(axes, r"spectrum $|\lambda_i|$")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    mark_kinds(axes, loc="upper right")


def tree(figure: Figure, data: FigureData) -> None:
    """The tree before and after training, coloured by the best correlation."""
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
    """Edges as wide as their polarity is large, dashed where it is negative."""
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
    name = short(data.texts("label")[number], NODE_NAME_LENGTH)
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
