"""Two objects whose augmentation means coincide, along gradient descent: linear neurons stay, ReLU neurons separate.

Both run from the same weights, at the same learning rate and for as many steps; only the slope differs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from verify.engine.evidence import Measurement
from verify.instances.in_torch import arrays_of
from verify.instances.instance import PopulationInstance
from verify.tolerance import rounding
from verify.towers import descent
from verify.towers.autograd import autograd_update
from verify.two_layer.measures import gap_bound, mean_gaps

# Separated means: the distance of the mean outputs is this many times what it was, and what rounding explains.
GROWTH = 10.0
# In units of the time in which the ReLU network's weights change by their own size.
LENGTH = 4


def ring_time(instance: PopulationInstance, device: str) -> float:
    """How long both kinds of neurons are trained: a multiple of the horizon of the ReLU network."""
    return LENGTH * descent.horizon(replace(instance, slope=0.0), device)


@rounding.quiet
def measure_linear(instance: PopulationInstance, device: str = "cpu") -> Measurement:
    """Linear neurons along descent: weights within rounding of the start (simple loss), mean outputs of each other.

    With the simple loss the update of every weight is 0, at any weights: after t steps they are off by at most the sum
    of the learning rate times the bounds of the updates, and of the steps' own rounding. With the other losses the
    weights move, since the augmentation's own spread enters (theta of statement 4), but the mean outputs stay together.
    """
    case = replace(instance, slope=1.0)
    steps = LENGTH * descent.CHECKPOINTS
    # The bound of where the weights may be is a sum over steps; the other losses need some records only.
    every = 1 if case.loss == "simple" else 8
    trace = descent.descend(case, ring_time(instance, device), steps, device, every=every)
    gaps = mean_gaps(case, trace)
    worst = Measurement(0.0, 0.0)
    start = [np.asarray(w) for w in case.weights]
    slack = [np.zeros_like(w) for w in start]
    for record, point in enumerate(descent.checkpoints(case, trace)):
        weights = [np.asarray(w) for w in point.weights]
        where = f"step {trace.steps[record]}"
        bound = np.array([gap_bound(point, weights)])
        worst = rounding.worse(worst, gaps[record : record + 1], bound, f"{where}: mean outputs")
        if case.loss != "simple":
            continue
        for layer, (w, begun, allowed) in enumerate(zip(weights, start, slack, strict=True), start=1):
            worst = rounding.worse(worst, np.abs(w - begun), allowed, f"{where}: W_{layer}")
        _, bounds, _ = autograd_update(point, device)
        slack = [s + trace.lr * b + rounding.gamma(3) * (np.abs(w) + trace.lr * b)
                 for s, b, w in zip(slack, bounds, weights, strict=True)]  # fmt: skip
    if trace.diverged_at is not None and worst.status == "holds":
        return Measurement(0.0, 0.0, False, trace.report)
    return worst


@rounding.quiet
def measure_relu(instance: PopulationInstance, device: str = "cpu") -> Measurement:
    """ReLU neurons along descent on the simple loss: the gap of the mean outputs grows tenfold, at every record.

    ``E L_simp = -1/4 ||fbar(x) - fbar(x')||^2`` for two equally likely objects, so that a descent that shrinks the
    distance anywhere refutes too. The residual is ten times the larger of the first distance and of what rounding
    explains, over the distance reached; above 1 it refutes.
    """
    return growth(replace(instance, slope=0.0), ring_time(instance, device), device)


def growth(case: PopulationInstance, time: float, device: str) -> Measurement:
    """The growth of the gap of a network, with its own slope."""
    trace = descent.descend(case, time, LENGTH * descent.CHECKPOINTS, device)
    gaps = mean_gaps(case, trace)
    least = GROWTH * max(float(gaps[0]), gap_bound(case, arrays_of(trace.at(0))))
    reached = np.flatnonzero(gaps >= least)
    last = int(reached[0]) if len(reached) else len(gaps) - 1
    if last and not (np.diff(gaps[: last + 1]) > 0).all():
        return Measurement(float("inf"), 1.0, detail="the distance of the mean outputs shrinks in a step")
    reach = float(gaps[last])
    detail = f"distance of the mean outputs {gaps[0]:.2e} -> {reach:.2e} in {trace.steps[last]} steps"
    return Measurement(least / reach if reach > 0 else float("inf"), 1.0, detail=detail)
