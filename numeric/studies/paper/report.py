"""Results of the paper's study: tables for the terminal, CSV and LaTeX, figures, and the manifest."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from numeric.studies.paper.run import WidthResult
from numeric.studies.paper.settings import Study, data_seed
from numeric.studies.results import csv_text, environment, image, panels, write_files

if TYPE_CHECKING:
    from rich.table import Table

    from numeric.studies.paper.published import Rank

Row = Mapping[str, float | int | str]


def summary(results: Sequence[WidthResult]) -> list[dict[str, float | int | str]]:
    """One row for each width, range of polarities, loss and level: means over nodes, mean and spread over seeds.

    The spread of a single seed is NaN.

    Examples
    --------
    >>> from numeric import Study, run_study
    >>> small = Study(1, 2, widths=(3,), lows=(0.9,), losses=("simple",), seeds=2, steps=2, samples=100, device="cpu")
    >>> [(row["width"], row["low"], row["loss"], row["level"]) for row in summary(run_study(small))]
    [(3, 0.9, 'simple', 1)]
    """
    rows: list[dict[str, float | int | str]] = []
    for result in results:
        combinations = sorted({(member.low, member.loss) for member in result.members})
        for (low, loss), level in product(combinations, range(1, max(result.heights) + 1)):
            mine = torch.tensor([(member.low, member.loss) == (low, loss) for member in result.members])
            here = torch.tensor([height == level for height in result.heights])
            row: dict[str, float | int | str] = {"width": result.width, "low": low, "loss": loss, "level": level}
            row["seeds"] = int(mine.sum())
            for name in ("before", "after", "ceiling", "share"):
                values = getattr(result, name)[mine][:, here].mean(-1).double()
                row[name] = values.mean().item()
                row[f"{name}_sd"] = values.std().item() if len(values) > 1 else math.nan
            row["constant_neurons"] = int(result.constant[mine][:, here].sum())
            rows.append(row)
    return rows


def study_table(results: Sequence[WidthResult], states: int = 2) -> "Table":
    """Correlations before and after training, and share of the ceiling, level by level, for the terminal."""
    from rich.table import Table

    rows = summary(results)
    levels = sorted({int(row["level"]) for row in rows})
    what = "|correlation|" if states == 2 else "correlation ratio"
    table = Table(title=f"best {what} with the latent: before>after±spread over seeds, share of the ceiling")
    for name in ("width", "rho", "loss"):
        table.add_column(name, no_wrap=True)
    for level in levels:
        end = " (root)" if level == levels[-1] else ""
        table.add_column(f"{level}{end}" if end else f"level {level}", justify="right", no_wrap=True)
    for key, cells in _grouped(rows).items():
        entries = [
            f"{row['before']:.2f}>{row['after']:.3f}{_spread(row, '±')} {100 * float(row['share']):.0f}%"
            for row in cells
        ]
        table.add_row(*(str(part) for part in key), *entries)
    return table


def _grouped(rows: Sequence[Row]) -> dict[tuple[Any, ...], list[Row]]:
    result: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        result.setdefault((row["width"], row["low"], row["loss"]), []).append(row)
    return result


def _spread(row: Row, sign: str) -> str:
    """Sign and spread over seeds; empty for a single seed."""
    spread = float(row["after_sd"])
    return "" if math.isnan(spread) else f"{sign}{spread:.3f}"


def latex_text(rows: Sequence[Row]) -> str:
    """The table as a LaTeX tabular (package booktabs): after training, spread over seeds, share of the ceiling."""
    levels, sign = sorted({int(row["level"]) for row in rows}), r"\pm"
    head = " & ".join(["width", "$\\rho\\ge$", "loss", *(f"level {level}" for level in levels)])
    lines = [r"\begin{tabular}{rrl" + "c" * len(levels) + "}", r"\toprule", head + r" \\", r"\midrule"]
    for (width, low, loss), cells in _grouped(rows).items():
        entries = [f"${row['after']:.3f}{_spread(row, sign)}$ ({100 * float(row['share']):.0f}\\%)" for row in cells]
        lines.append(" & ".join([str(width), str(low), str(loss), *entries]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def member_rows(results: Sequence[WidthResult]) -> list[dict[str, Any]]:
    """One row for each network and node."""
    return [
        {
            "width": result.width, **asdict(member), "node": node, "level": height,
            "before": result.before[k, j].item(), "after": result.after[k, j].item(),
            "ceiling": result.ceiling[k, j].item(), "share": result.share[k, j].item(),
            "constant_neurons": int(result.constant[k, j]),
        }
        for result in results
        for k, member in enumerate(result.members)
        for j, (node, height) in enumerate(zip(result.nodes, result.heights, strict=True))
    ]  # fmt: skip


def norm_rows(results: Sequence[WidthResult]) -> list[dict[str, Any]]:
    """One row for each network, measurement and node."""
    return [
        {"width": result.width, **asdict(member), "step": step, "node": node, "level": height, "operator_norm": norm}
        for result in results
        for step, by_member in zip(result.steps, result.norms.tolist(), strict=True)
        for member, by_node in zip(result.members, by_member, strict=True)
        for node, height, norm in zip(result.nodes, result.heights, by_node, strict=True)
    ]


def write_study(folder: Path, study: Study, results: Sequence[WidthResult]) -> dict[str, str]:
    """Write all files of a study; gives the digest of each by name."""
    rows = summary(results)
    contents: dict[str, bytes] = {
        "table.csv": csv_text(rows).encode(),
        "table.tex": latex_text(rows).encode(),
        "nodes.csv": csv_text(member_rows(results)).encode(),
    }
    if any(len(result.norms) for result in results):
        contents["operator_norms.csv"] = csv_text(norm_rows(results)).encode()
    document = {
        "study": asdict(study),
        "output": "u / (||u|| + 1e-4)" if study.as_published else "u / ||u||",
        "level": "1 = parents of leaves, the largest = root",
        "environment": environment(),
        "widths": [
            {
                "width": result.width,
                "seconds": result.seconds,
                "operator_samples": study.operator_samples(result.width) if len(result.norms) else 0,
                "failures": [str(each) for each in result.failures],
                "members": [
                    {**asdict(each), "data_seed": data_seed(study, result.width, each)} for each in result.members
                ],
            }
            for result in results
        ],
    }
    return write_files(folder, contents | figures(results), document)


def agreement_table(ranks: Sequence["Rank"], result: Mapping[str, float]) -> "Table":
    """Ranks of the published results among ours, and the combined test."""
    from rich.table import Table

    table = Table("published", "width", "networks", "mean z by level", "p", title="published results among ours")
    for rank in ranks:
        means = [sum(column) / len(column) for column in zip(*rank.scores, strict=True)]
        scores = " ".join(f"{mean:+.2f}" for mean in means)
        table.add_row(rank.seed, str(rank.width), str(rank.inits), scores, f"{rank.p_value:.3f}")
    powers = ", ".join(f"{v:.0%} for {k.removeprefix('power_')} sd" for k, v in result.items() if k != "p_value")
    table.caption = f"combined p = {result['p_value']:.3f}; a shift of all levels is found: {powers}"
    return table


def agreement_rows(ranks: Sequence["Rank"]) -> list[dict[str, Any]]:
    """One row for each seed, width, pair of tree and loss, and level."""
    return [
        {"seed": rank.seed, "width": rank.width, "networks": rank.inits, "p_value": rank.p_value, "pair": pair,
         "level": level, "z": z}
        for rank in ranks
        for pair, scores in enumerate(rank.scores)
        for level, z in enumerate(scores, start=1)
    ]  # fmt: skip


def figures(results: Sequence[WidthResult]) -> dict[str, bytes]:
    """All figures as PNG and PDF files by name: correlations by level, operator norms along training."""
    drawn = {"correlation": _correlation(results)}
    for result in results:
        if len(result.norms):
            drawn[f"operator_norm_width_{result.width}"] = _norms(result)
    return {f"{name}.{kind}": image(figure, kind) for name, figure in drawn.items() for kind in ("png", "pdf")}


class _Panels:
    """One panel for each loss (rows) and range of polarities (columns)."""

    def __init__(self, results: Sequence[WidthResult]) -> None:
        members = [member for result in results for member in result.members]
        self.losses = sorted({member.loss for member in members})
        self.lows = sorted({member.low for member in members})
        rows, columns = len(self.losses), len(self.lows)
        self.figure, self.axes = panels(rows, columns, (1.0 + 3.2 * columns, 0.6 + 2.6 * rows), shared=True)

    def __iter__(self) -> Iterator[tuple[str, float, Any]]:
        for (i, loss), (j, low) in product(enumerate(self.losses), enumerate(self.lows)):
            yield loss, low, self.axes[i][j]

    def labelled(self, x: str, y: str, **legend: Any) -> Any:
        """The figure with labels at its edges and one legend."""
        for axis in self.axes[-1]:
            axis.set_xlabel(x)
        for line in self.axes:
            line[0].set_ylabel(y)
        self.axes[0][0].legend(fontsize=7, **legend)
        return self.figure


def _correlation(results: Sequence[WidthResult]) -> Any:
    grid, rows = _Panels(results), summary(results)
    for loss, low, axis in grid:
        for number, result in enumerate(results):
            cells = [row for row in rows if (row["width"], row["loss"], row["low"]) == (result.width, loss, low)]
            levels, color = [int(row["level"]) for row in cells], f"C{number}"
            axis.plot(levels, [row["before"] for row in cells], ":", color=color)
            after, spread = [row["after"] for row in cells], [row["after_sd"] for row in cells]
            axis.errorbar(levels, after, spread, color=color, capsize=2, label=f"width {result.width}")
        axis.plot(levels, [row["ceiling"] for row in cells], "k--", linewidth=1, label="ceiling")
        axis.set_title(f"{loss}, |rho| from {low}", fontsize=9)
        axis.set_xticks(levels)
    words = {"title": "dotted: before", "title_fontsize": 7}
    return grid.labelled("level (1: parents of leaves)", "best |correlation|", **words)


def _norms(result: WidthResult) -> Any:
    grid, top = _Panels([result]), max(result.heights)
    for loss, low, axis in grid:
        mine = torch.tensor([(member.loss, member.low) == (loss, low) for member in result.members])
        means = result.norms[:, mine].mean(1)
        # A logarithmic axis has no place for 0.
        shown, named = torch.where(means > 0, means, torch.nan), set()
        for number, height in enumerate(result.heights):
            label = None if height in named else f"level {height}"
            named.add(height)
            color = f"C{top - height}"
            axis.plot(result.steps, shown[:, number].tolist(), color=color, linewidth=0.8, alpha=0.7, label=label)
        axis.set_yscale("log")
        axis.set_title(f"width {result.width}, {loss}, |rho| from {low}", fontsize=9)
    return grid.labelled("step", "operator norm of a node")
