"""Figures of an image experiment: accuracy and operators along training, the residue against the augmentation."""

import io
from collections.abc import Sequence
from typing import Any

from numeric.images.findings import Findings
from numeric.studies.images.study import ImageResults, mean_and_spread


def figures(results: ImageResults, findings: Findings | None) -> dict[str, bytes]:
    """All figures, as the contents of PNG files by name."""
    drawn = {"accuracy": _accuracy(results)}
    if any(row.get("operators") for member in results.members for row in member.history):
        drawn["operators"] = _operators(results)
    if findings is not None and findings.residues:
        drawn["residue"] = _residue(findings)
    found = {}
    for name, figure in drawn.items():
        held = io.BytesIO()
        figure.savefig(held, format="png", dpi=150)
        found[f"{name}.png"] = held.getvalue()
    return found


def _panels(columns: int) -> tuple[Any, Sequence[Any]]:
    """A figure drawn by Agg, without pyplot and its state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.0 + 4.0 * columns, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _accuracy(results: ImageResults) -> Any:
    figure, (axis,) = _panels(1)
    main = results.study.headline
    for number, loss in enumerate(results.study.losses):
        members = [member for member in results.members if member.loss == loss]
        epochs = [row["epoch"] for row in members[0].history]
        by_epoch = [
            mean_and_spread([100 * member.history[place][main]["value"] for member in members])
            for place in range(len(epochs))
        ]
        means, spreads = zip(*by_epoch, strict=True)
        bars = None if len(members) == 1 else spreads
        axis.errorbar(epochs, means, bars, label=loss, color=f"C{number}", capsize=2)
    axis.set_xlabel("epoch")
    axis.set_ylabel(f"linear evaluation ({main}), top-1 in %")
    axis.legend(fontsize=7)
    return figure


def _operators(results: ImageResults) -> Any:
    figure, axes = _panels(2)
    for number, member in enumerate(m for m in results.members if any(row.get("operators") for row in m.history)):
        rows = [row for row in member.history if row.get("operators")]
        for layer, axis in enumerate(axes):
            values = [row["operators"][layer]["trace"] for row in rows]
            axis.plot([row["epoch"] for row in rows], values, "o-", color=f"C{number}", label=member.loss, markersize=3)
    for layer, axis in enumerate(axes, start=1):
        axis.set_title(f"head, layer {layer}", fontsize=9)
        axis.set_xlabel("epoch")
        axis.set_ylabel("trace of the covariance operator")
    axes[0].legend(fontsize=7)
    return figure


def _residue(findings: Findings) -> Any:
    keys = list(dict.fromkeys((network, each.part) for network, each in findings.residues))
    figure, (axis,) = _panels(1)
    for number, (network, part) in enumerate(keys):
        rows = [r for name, r in findings.residues if (name, r.part) == (network, part) and r.strength > 0]
        style = "o-" if part == "head" else "s--"
        axis.loglog(
            [r.spread for r in rows], [r.theta / r.gradient for r in rows], style, color=f"C{number // 2}",
            label=f"{network}, {part}", markersize=3,
        )  # fmt: skip
    axis.set_xlabel("spread of the output under augmentation, sigma")
    axis.set_ylabel("||theta|| / ||E grad||")
    axis.legend(fontsize=7)
    return figure
