"""The table of a study: means over the nodes of a level, mean and spread over seeds."""

import math
from collections.abc import Sequence
from itertools import product

import torch

from numeric.studies.paper.run import WidthResult


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
