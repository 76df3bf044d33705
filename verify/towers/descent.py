"""Statements along training: gradient descent on the exact expected loss, and a measurement at every checkpoint.

The learning rate is drawn from the instance itself, so that a run covers a stated part of the time in which the
weights change by their own size: long enough to move gates, too short for the simple loss, whose flow leaves every
bound in finite time, to do so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.engine.evidence import Evidence, Measurement
from verify.instances.in_torch import arrays_of, population_of, weights_of
from verify.instances.instance import PopulationInstance, freeze
from verify.tolerance.statistics import allowed, judge_order, local_exponent, mean_interval, order_effect
from verify.towers.autograd import autograd_update

if TYPE_CHECKING:
    from numeric import DescentTrace

CHECKPOINTS = 24
HORIZON = 0.25
# Numbers of steps over one and the same time, the finest last: the learning rate falls by a factor of 3.
REFINEMENTS = (8, 12, 16, 24)
# The part of the horizon in which an order is fitted: the next order in lr is then a correction, and gates rarely move.
FITTED = 0.05
# One fit for each of three losses.
LEVEL = 1 - allowed("drift", 3)
MARGIN = 0.1
# A drift below this part of what it is a difference of is rounding, and says nothing about an order.
VANISHING = 1e-9


def horizon(instance: PopulationInstance, device: str = "cpu") -> float:
    """Time in which no layer changes by more than about `HORIZON` of its norm; 1 where nothing but rounding moves."""
    update, bounds, _ = autograd_update(instance, device)
    sizes = [float(np.linalg.norm(np.asarray(w))) for w in instance.weights]
    moved = [float(np.linalg.norm(np.where(np.abs(u) > b, u, 0.0))) for u, b in zip(update, bounds, strict=True)]
    fastest = max((m / size for m, size in zip(moved, sizes, strict=True) if size > 0), default=0.0)
    return HORIZON / fastest if 0 < fastest < float("inf") else 1.0


def descend(
    instance: PopulationInstance, time: float, steps: int, device: str = "cpu", *, every: int = 1
) -> DescentTrace:
    """Gradient descent from the instance's weights over that time."""
    import numeric

    return numeric.descend(
        weights_of(instance, device), population_of(instance, device), instance.loss, time / steps, steps,
        every=every, slope=instance.slope, **instance.options,
    )  # fmt: skip


def checkpoints(instance: PopulationInstance, trace: DescentTrace) -> Iterator[PopulationInstance]:
    """The instance with the weights of each record, from the first on."""
    for record in range(len(trace.steps)):
        yield checkpoint(instance, trace, record)


def checkpoint(instance: PopulationInstance, trace: DescentTrace, record: int) -> PopulationInstance:
    """The instance with the weights of one record."""
    return replace(instance, weights=tuple(freeze(w) for w in arrays_of(trace.at(record))))


Measure = Callable[[Any], Measurement]


def along(instance: PopulationInstance, measure: Measure, trace: DescentTrace) -> Measurement:
    """The worst measurement over the checkpoints of a run; undecided where fewer than half could be decided.

    The last checkpoint comes first, so that what is refuted is refuted of trained weights if it can be.

    Parameters
    ----------
    measure : callable
        Instance (of one checkpoint) to `Measurement`.
    trace : DescentTrace
        A run from the instance's weights; one that diverged decides nothing.
    """
    if trace.diverged_at is not None:
        return Measurement(0.0, 0.0, False, trace.report)
    worst, decided = Measurement(0.0, 0.0), 0
    for record in reversed(range(len(trace.steps))):
        found = measure(checkpoint(instance, trace, record))
        if found.status == "abstained":
            continue
        decided += 1
        if decided == 1 or found.severity > worst.severity:
            worst = replace(found, detail=f"step {trace.steps[record]}: {found.detail}")
        if found.status == "refuted":
            return worst
    enough = 2 * decided >= len(trace.steps)
    return worst if enough else replace(worst, decided=False, detail=f"only {decided} checkpoints could be decided")


def conserved(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """||w_in||^2 - ||w_out||^2 of every hidden neuron, one array per hidden layer.

    Examples
    --------
    >>> conserved([np.array([[3.0]]), np.array([[2.0]])])
    [array([5.])]
    """
    return [(a**2).sum(axis=1) - (b**2).sum(axis=0) for a, b in itertools.pairwise(weights)]


def gates_stay(instance: PopulationInstance, trace: DescentTrace) -> bool:
    """Whether no gate of any input changes over the records of a run.

    Where a gate flips, the flow has a kink, and what descent misses there is of first order too, but erratic in lr.
    """
    import torch

    import numeric

    points = population_of(instance, str(trace.losses.device)).flat_points
    start = numeric.trace(trace.at(0), points, instance.slope).gates
    return all(
        bool(torch.equal(a, b))
        for record in range(1, len(trace.steps))
        for a, b in zip(start, numeric.trace(trace.at(record), points, instance.slope).gates, strict=True)
    )


def drifts(instance: PopulationInstance, device: str = "cpu") -> tuple[np.ndarray, np.ndarray] | None:
    """Learning rates, and how far descent over one fixed time moves what the flow conserves.

    None where a run diverges, a gate flips, or nothing drifts.
    """
    time = FITTED * horizon(instance, device)
    finest = descend(instance, time, REFINEMENTS[-1], device)
    if finest.diverged_at is not None or not gates_stay(instance, finest):
        return None
    sizes = []
    for steps in REFINEMENTS:
        trace = finest if steps == REFINEMENTS[-1] else descend(instance, time, steps, device, every=steps)
        start, end = (arrays_of(trace.at(record)) for record in (0, -1))
        moved = [b - a for a, b in zip(conserved(start), conserved(end), strict=True)]
        size = float(np.sqrt(sum((m**2).sum() for m in moved)))
        if not size > VANISHING * sum(float((w**2).sum()) for w in end):
            return None
        sizes.append(size)
    return time / np.array(REFINEMENTS), np.array(sizes)


def drift_order(
    instances: Iterable[PopulationInstance], claimed: int, *, source: str, wanted: int, device: str
) -> Evidence:
    """Fit the exponent of the drift in the learning rate and judge the interval of its mean.

    Parameters
    ----------
    instances : iterable
        Candidates; those where nothing drifts, a gate flips or a run diverges are passed over and counted.
    claimed : int
        The order; 1 is what a step of size lr leaves, whose squares do not cancel.
    wanted : int
        How many runs to fit; fewer than that abstains.
    """
    exponents: list[float] = []
    passed = 0
    for instance in instances:
        if len(exponents) == wanted:
            break
        found = drifts(instance, device)
        if found is None:
            passed += 1
            continue
        rates, sizes = found
        exponents.append(local_exponent(rates / rates.max(), sizes))
    what = "order in lr of the drift of ||w_1j||^2 - ||w_2j||^2 over fixed time"
    if len(exponents) < wanted:
        detail = f"{what}: only {len(exponents)} of {wanted} runs could be fitted"
        return Evidence("trained", "abstained", source, len(exponents), passed, detail=detail)
    interval = mean_interval(exponents, LEVEL)
    effect = f"an order that is {order_effect(interval, MARGIN, wanted):.3f} off {claimed:g}"
    return Evidence(
        "trained", judge_order(interval, claimed, MARGIN), source, wanted, passed,
        worst_residual=max(abs(interval.low - claimed), abs(interval.high - claimed)), tolerance=MARGIN,
        detail=f"{what}: {interval}, claimed {claimed} +- {MARGIN}; "
        f"refutes {effect}", effect=effect,
    )  # fmt: skip
