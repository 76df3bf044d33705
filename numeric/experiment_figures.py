"""Figures of a study: correlations level by level before and after, operator norms of all nodes along training."""

import io
from collections.abc import Sequence
from typing import Any

import torch

from numeric.experiment_summary import summary
from numeric.studies.paper.run import WidthResult


def figures(results: Sequence[WidthResult]) -> dict[str, bytes]:
    """All figures, as the contents of PNG and PDF files by name."""
    drawn = {"correlation": _correlation(results)}
    for result in results:
        if len(result.norms):
            drawn[f"operator_norm_width_{result.width}"] = _norms(result)
    return {f"{name}.{kind}": _content(figure, kind) for name, figure in drawn.items() for kind in ("png", "pdf")}


def _content(figure: Any, kind: str) -> bytes:
    held = io.BytesIO()
    # Without a date the same study gives the same bytes.
    figure.savefig(held, format=kind, dpi=150, metadata={"CreationDate": None} if kind == "pdf" else {})
    return held.getvalue()


def _grid(rows: int, columns: int) -> tuple[Any, Any]:
    """A figure drawn by Agg, without pyplot and its state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.0 + 3.2 * columns, 0.6 + 2.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)


def _panels(results: Sequence[WidthResult]) -> tuple[list[str], list[float]]:
    members = [member for result in results for member in result.members]
    return sorted({member.loss for member in members}), sorted({member.low for member in members})


def _correlation(results: Sequence[WidthResult]) -> Any:
    losses, lows = _panels(results)
    figure, axes = _grid(len(losses), len(lows))
    rows = summary(results)
    for i, loss in enumerate(losses):
        for j, low in enumerate(lows):
            axis = axes[i][j]
            for number, result in enumerate(results):
                cells = [row for row in rows if (row["width"], row["loss"], row["low"]) == (result.width, loss, low)]
                levels = [int(row["level"]) for row in cells]
                color = f"C{number}"
                axis.plot(levels, [row["before"] for row in cells], ":", color=color)
                spread = [row["after_sd"] for row in cells]
                axis.errorbar(
                    levels,
                    [row["after"] for row in cells],
                    spread,
                    color=color,
                    capsize=2,
                    label=f"width {result.width}",
                )
            axis.plot(levels, [row["ceiling"] for row in cells], "k--", linewidth=1, label="ceiling")
            axis.set_title(f"{loss}, |rho| from {low}", fontsize=9)
            axis.set_xticks(levels)
    for axis in axes[-1]:
        axis.set_xlabel("level (1: parents of leaves)")
    for line in axes:
        line[0].set_ylabel("best |correlation|")
    axes[0][0].legend(fontsize=7, title="dotted: before", title_fontsize=7)
    return figure


def _norms(result: WidthResult) -> Any:
    losses, lows = _panels([result])
    figure, axes = _grid(len(losses), len(lows))
    top = max(result.heights)
    for i, loss in enumerate(losses):
        for j, low in enumerate(lows):
            mine = torch.tensor([(member.loss, member.low) == (loss, low) for member in result.members])
            means = result.norms[:, mine].mean(1)
            # A logarithmic axis has no place for 0: what is not measurably positive is left out.
            shown = torch.where(means > 0, means, torch.nan)
            axis, named = axes[i][j], set()
            for number, height in enumerate(result.heights):
                label = None if height in named else f"level {height}"
                named.add(height)
                color = f"C{top - height}"
                axis.plot(result.steps, shown[:, number].tolist(), color=color, linewidth=0.8, alpha=0.7, label=label)
            axis.set_yscale("log")
            axis.set_title(f"width {result.width}, {loss}, |rho| from {low}", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    for line in axes:
        line[0].set_ylabel("operator norm of a node")
    axes[0][0].legend(fontsize=7)
    return figure
