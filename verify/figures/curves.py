"""Drawings of curves: pair weights, two objects on a ring, correlations and norms along training, any lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.figures.data import FigureData
from verify.figures.plots import GREY, WIDTH, mark_kinds, panel, plain, short, style, symbols

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCALES = ("linear", "log")


def lines(figure: Figure, data: FigureData) -> None:
    """Any lines: columns x, y and series if there are several; facts `x label`, `y label`, `x scale`, `y scale`.

    Labels are plain text.
    """
    figure.set_size_inches(WIDTH, 3.7)
    axes = figure.subplots()
    read: dict[str, tuple[float, ...]] = {}
    for name in ("x", "y"):
        scale = data.facts.get(f"{name} scale", "linear")
        if scale not in SCALES:
            raise ValueError(f"fact '{name} scale' of figure {data.name!r} is {scale!r:.40}: must be linear or log")
        read[name] = data.positive(name) if scale == "log" else data.numbers(name)
        axes.set(**{f"{name}scale": scale, f"{name}label": short(str(data.facts.get(f"{name} label", name)), 60)})
    names = data.texts("series") if "series" in data.columns else ("",) * data.rows
    for number, (name, part) in enumerate(grouped(names).items()):
        axes.plot(*(np.array(read[one])[part] for one in ("x", "y")), **style(number).plot, label=short(name, 40))
    if "series" in data.columns:
        mark_kinds(axes)


def grouped(names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Each name, in the order of its first appearance, to where it stands."""
    return {name: np.flatnonzero([one == name for one in names]) for name in dict.fromkeys(names)}


def pair_weights(figure: Figure, data: FigureData) -> None:
    """Pair weights against r: the closed form as a line, derivatives by automatic differentiation as markers."""
    figure.set_size_inches(WIDTH, 3.5)
    axes = figure.subplots()
    r, values = np.array(data.numbers("r")), np.array(data.numbers("value"))
    losses, quantities = data.texts("loss"), np.array(data.texts("quantity"))
    shown = {"dL/dr_+": ("none", 7.0), "-dL/dr_-": ("full", 2.6)}
    for number, (loss, part) in enumerate(grouped(losses).items()):
        look = style(number)
        here = part[quantities[part] == "xi"]
        axes.plot(r[here], values[here], color=look.colour, linestyle=look.line, label=rf"$\xi(r)$, {symbols(loss)}")
        for name, (fill, size) in shown.items():
            here = part[quantities[part] == name]
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
    """Distance of the mean outputs of 11 and 101 along descent, one panel for each loss, one line for each network."""
    figure.set_size_inches(WIDTH, 3.4)
    losses, neurons, runs = data.texts("loss"), data.texts("neurons"), data.numbers("run")
    time, gap = np.array(data.numbers("time")), np.array(data.numbers("distance"))
    floor, bound = data.fact("lowest distance drawn"), data.fact("rounding explains")
    panels = grouped(losses)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (loss, part) in zip(grid, panels.items(), strict=True):
        kinds = grouped(neurons)
        for number, (kind, there) in enumerate(kinds.items()):
            look = style(number)
            for run in dict.fromkeys(runs):
                here = [place for place in part if runs[place] == run and place in set(there.tolist())]
                axes.plot(
                    time[here], np.maximum(gap[here], floor), color=look.colour, linestyle=look.line, linewidth=1.1,
                    marker=look.marker, markevery=(0.03 + 0.02 * run, 0.17), markersize=3.6,
                    label=f"{plain(kind)} neurons" if run == min(runs) else None,
                )  # fmt: skip
        axes.axhspan(
            floor,
            bound,
            facecolor="0.93",
            edgecolor="0.75",
            hatch="//",
            linewidth=0,
            zorder=0,
            label="what rounding explains",
        )
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
    """Best correlation with the latent and operator norm along training, by level: median and quartiles."""
    figure.set_size_inches(WIDTH, 3.6)
    left, right = figure.subplots(1, 2)
    quantities, levels = np.array(data.texts("quantity")), data.numbers("level")
    steps = np.array(data.numbers("step", missing=True))
    middle, low, high = (np.array(data.numbers(name, missing=True)) for name in ("median", "lower", "upper"))
    top = max(levels)
    for axes, quantity in ((left, "correlation"), (right, "norm")):
        for number, level in enumerate(sorted(set(levels), reverse=True)):
            here = np.flatnonzero((quantities == quantity) & (np.array(levels) == level))
            look, where = (
                style(number),
                "root" if level == top else f"level {level:g}" + (" (above leaves)" if level == 1 else ""),
            )
            axes.fill_between(steps[here], low[here], high[here], **look.band)
            axes.plot(steps[here], middle[here], **look.plot, markevery=2, markersize=4, label=where)
            for place in np.flatnonzero((quantities == "ceiling") & (np.array(levels) == level) & (axes is left)):
                axes.axhline(middle[place], color=look.colour, linestyle=look.line, linewidth=0.8)
        axes.set_xlabel("step")
    panel(left, r"correlation of the best neuron with $z_\mu$")
    panel(right, r"norm $\|\mathbb{V}_x[\bar K_\mu]\|_F$ of the operator")
    right.set_yscale("log")
    left.plot([], [], color=GREY, linewidth=0.8, label="thin: ceiling of the level")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
