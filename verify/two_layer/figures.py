"""Data of the figure of statement 5: two objects on a ring along descent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from verify.engine.statement import Context, command
from verify.figures.data import FigureData, table
from verify.instances.in_torch import arrays_of
from verify.training import towers
from verify.two_layer import measures as two_layer_rings
from verify.two_layer import samples as two_layer_sources
from verify.two_layer.measures import gap_bound, mean_gaps
from verify.two_layer.samples import TwoLayerInstance

POSITIONS = 5
NEURONS = {"ReLU": 0.0, "linear": 1.0}
# Name, parameters and number of steps. At rates far above this one InfoNCE overshoots, and neurons die. The simple loss
# has no lower bound, its flow leaves every bound in finite time; it is left at the farthest distance.
LOSSES: dict[str, tuple[str, tuple[tuple[str, float], ...], int]] = {
    "simple": ("simple loss", (), 140),
    "infonce": ("InfoNCE, tau = 1, H = 1", (("negatives", 1), ("tau", 1.0)), 300),
}
RATE, EVERY = 1.5, 10
FARTHEST = 10.0
LOWEST = 1e-19


def rings(context: Context) -> tuple[FigureData, ...]:
    """Distance of the mean outputs of 11 and 101 along descent, for ReLU and linear neurons."""
    networks = context.pick(quick=3, thorough=12)
    rows: list[tuple[Any, ...]] = []
    ends: dict[str, list[tuple[float, float]]] = {neurons: [] for neurons in NEURONS}
    explained = 0.0
    for loss, (label, parameters, steps) in LOSSES.items():
        # Both losses start from the same weights.
        drawn = two_layer_sources.rings(context.seed + 6, (POSITIONS,) * networks, 0.0)
        for run, case in enumerate(drawn):
            for neurons, slope in NEURONS.items():
                one = replace(case, slope=slope, loss=loss, parameters=parameters)
                at, gaps, bound = along(one, steps, context.device)
                rows += [(label, neurons, run, *point) for point in zip(at, gaps, strict=True)]
                ends[neurons].append((gaps[0], gaps[-1]))
                explained = max(explained, bound) if neurons == "linear" else explained
    apart = sum(end > two_layer_rings.GROWTH * start for start, end in ends["ReLU"])
    farthest = max(row[-1] for row in rows if row[1] == "linear")
    facts: dict[str, float | int | str] = {
        "positions": POSITIONS, "networks for each loss": networks, "ReLU runs": len(ends["ReLU"]),
        "ReLU runs that grow tenfold": apart, "largest distance of linear neurons": farthest,
        "rounding explains": explained, "lowest distance drawn": LOWEST,
    }  # fmt: skip
    title = "Two objects with one mean: ReLU neurons and linear ones"
    columns = table(("loss", "neurons", "run", "time", "distance"), rows)
    reached = sorted(end for _, end in ends["ReLU"])
    alt = (
        f"Distances along training: ReLU networks end at {reached[0]:.2g} to {reached[-1]:.2g}, linear ones stay at or "
        f"below {farthest:.1e}."
    )
    return (FigureData("ring", "ring", title, caption(facts), columns, facts, command(5, context), alt),)


def along(case: TwoLayerInstance, steps: int, device: str) -> tuple[list[float], list[float], float]:
    """Times, distances of the mean outputs until they are far, and what rounding explains."""
    trace = towers.descend(case, RATE * steps, steps, device, every=EVERY)
    gaps = mean_gaps(case, trace)
    far = np.flatnonzero(~(gaps <= FARTHEST))
    kept = int(far[0]) if len(far) else len(gaps)
    at = [RATE * step for step in trace.steps[:kept]]
    bound = max(gap_bound(case, arrays_of(trace.at(record))) for record in (0, kept - 1))
    return at, [float(gap) for gap in gaps[:kept]], bound


def caption(facts: Mapping[str, float | int | str]) -> str:
    grown, runs = facts["ReLU runs that grow tenfold"], facts["ReLU runs"]
    return (
        f"Distance of the mean outputs of the patterns 11 and 101 on a ring of {facts['positions']} positions, "
        "augmented by all translations, along gradient descent on the exact expected loss: "
        f"{facts['networks for each loss']} networks of 6 hidden neurons for each loss, each run with ReLU and with "
        f"linear neurons from the same small weights (learning rate {RATE}). "
        f"{grown} of {runs} ReLU runs grow tenfold; linear ones are at most "
        f"{facts['largest distance of linear neurons']:.1e} apart, where rounding explains "
        f"{facts['rounding explains']:.1e} (hatched; zeros are drawn at {LOWEST:g}). The simple loss has "
        f"no lower bound: its ReLU runs are left at distance {FARTHEST:g}. No error bars: every line is one run."
    )
