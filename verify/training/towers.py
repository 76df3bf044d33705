"""Statements 1, 3 and 4 along training: dense towers on finite populations, held at every checkpoint of a run.

A run is gradient descent on the exact expected loss (`numeric.descend`), which knows nothing of connections. At every
checkpoint the gradient, by automatic differentiation of the literal sum, is held against the formula, relative to the
largest entry of the update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.statement import Context
from verify.instances import samples
from verify.instances.in_torch import arrays_of, population_of, weights_of
from verify.instances.instance import PairInstance, PopulationInstance, freeze
from verify.towers import pair_form
from verify.towers.autograd import autograd_update
from verify.towers.descent import CHECKPOINTS, checkpoints, descend, horizon
from verify.towers.tower import Array

LOSSES = ("simple", "triplet", "infonce")
RELATIVE = 1e-10
# An update below this part of the weights is a fixed point, where relative to the update means nothing.
STILL = 1e-5
STEPS_BETWEEN = 2
# The flow of the simple loss leaves every bound in finite time, soon after the weights have changed by their own size.
HORIZONS = {"simple": 0.5, "triplet": 4.0, "infonce": 4.0}
HALVINGS = 6

Formula = Callable[[PopulationInstance, str], "list[Array]"]


@dataclass(frozen=True)
class Run:
    """An instance together with where descent took it: one instance for each checkpoint, the first is the start."""

    start: PopulationInstance
    points: tuple[PopulationInstance, ...]
    steps: tuple[int, ...]
    finished: bool


def runs(instances: Iterator[PopulationInstance], device: str) -> Iterator[Run]:
    """Train from every instance while the weights change by about their own size; less where that diverges."""
    for instance in instances:
        time = HORIZONS[instance.loss] * horizon(instance, device)
        for _ in range(HALVINGS):
            trace = descend(instance, time, CHECKPOINTS * STEPS_BETWEEN, device, every=STEPS_BETWEEN)
            if trace.diverged_at is None:
                break
            time /= 2
        yield Run(instance, tuple(checkpoints(instance, trace)), trace.steps, trace.diverged_at is None)


def towers(seed: int, count: int, losses: tuple[str, ...], *, augmented: bool) -> Iterator[PopulationInstance]:
    """Toys, and digits once for each loss, the losses in turn; without augmentation on request."""
    few, size = None if augmented else 1, len(losses)
    toys = samples.toy_populations(seed, count, losses, augmentations=few, points=4, layers=4, width=5)
    digits = samples.digit_populations(
        seed, size, losses, images=10, augmentations=3 if augmented else 1, widths=(64, 6, 4)
    )
    for instance in (*toys, *digits):
        yield replace(instance, weights=tuple(freeze(np.asarray(w) / 2) for w in instance.weights))


def predicted(instance: PopulationInstance, device: str) -> list[Array]:
    """``2 V[Kbar] vec W`` or ``V^xi vec W`` by the matrix-free operator of `numeric`."""
    import numeric

    weights, population = weights_of(instance, device), population_of(instance, device)
    return arrays_of(numeric.predicted_update(weights, population, instance.loss, instance.slope, **instance.options))


def in_pairs(instance: PopulationInstance, device: str) -> list[Array]:
    """The whole update of statement 4, theta included."""
    return list(pair_form.update(instance, device))


def measure_run(run: Run, formula: Formula, device: str) -> Measurement:
    """The worst relative residual over the checkpoints of a run; undecided if fewer than 20 could be decided."""
    worst, decided = Measurement(0.0, RELATIVE), 0
    for step, point in zip(run.steps, run.points, strict=True):
        update, _, near = autograd_update(point, device)
        scale = max(float(np.abs(layer).max()) for layer in update)
        if near or not scale > STILL * max(float(np.abs(np.asarray(w)).max()) for w in point.weights):
            continue
        decided += 1
        sides = zip(update, formula(point, device), strict=True)
        residual = max(float(np.abs(left - right).max()) for left, right in sides) / scale
        if not residual <= worst.residual:
            worst = replace(worst, residual=residual, detail=f"step {step}")
    enough = decided >= 20 and run.finished
    return worst if enough else replace(worst, decided=False, detail=f"only {decided} checkpoints could be decided")


def evidence(
    context: Context, formula: Formula, *, seed: int, augmented: bool, losses: tuple[str, ...], detail: str
) -> Evidence:
    """The formula at every checkpoint of runs with these losses."""
    count = context.pick(quick=6, thorough=90)
    chosen = towers(seed, count, losses, augmented=augmented)
    found = tally(
        "trained", "descent", list(runs(chosen, context.device)),
        lambda run: measure_run(run, formula, context.device),
        at_least=count - count // 3, detail=detail,
    )  # fmt: skip
    return replace(found, counterexample=None if found.counterexample is None else found.counterexample.start)


def shares_of_theta(context: Context, seed: int) -> str:
    """How large theta is beside the update, before and after training, in words: a size, not a claim."""
    before: list[float] = []
    after: list[float] = []
    for run in runs(towers(seed, 4, ("triplet", "infonce"), augmented=True), context.device):
        if run.finished:
            for kept, point in ((before, run.points[0]), (after, run.points[-1])):
                update, _, _ = autograd_update(point, context.device)
                sides = list(zip(update, predicted(point, context.device), strict=True))
                whole = sum(float((left**2).sum()) for left, _ in sides) ** 0.5
                rest = sum(float(((left - right) ** 2).sum()) for left, right in sides) ** 0.5
                if whole > 0:
                    kept.append(rest / whole)
    return f"||theta|| / ||update||, median: {np.median(before):.2g} before training, {np.median(after):.2g} after"


def simple(context: Context) -> Evidence:
    """Statement 3 along training."""
    return evidence(
        context, predicted, seed=context.seed + 11, augmented=True, losses=("simple",),
        detail=f"2 V[Kbar] vec W at {CHECKPOINTS + 1} checkpoints of each run, relative to the update",
    )  # fmt: skip


def weighted(context: Context) -> Evidence:
    """Statement 4 along training, without augmentation: V^xi is all."""
    return evidence(
        context, predicted, seed=context.seed + 12, augmented=False, losses=("triplet", "infonce"),
        detail=f"no augmentation: V^xi vec W at {CHECKPOINTS + 1} checkpoints of each run, relative to the update",
    )  # fmt: skip


def with_theta(context: Context) -> Evidence:
    """Statement 4 along training, with augmentation: V^xi and theta together, and how large theta is."""
    found = evidence(
        context, in_pairs, seed=context.seed + 13, augmented=True, losses=("triplet", "infonce"),
        detail=f"V^xi vec W + theta at {CHECKPOINTS + 1} checkpoints of each run, relative to the update",
    )  # fmt: skip
    return replace(found, detail=f"{found.detail}; {shares_of_theta(context, context.seed + 13)}")


def pairs_along(context: Context, measure: Callable[[PairInstance, str], Measurement]) -> Evidence:
    """Statement 1 along training: towers of two checkpoints of a run on two inputs of its population.

    Parameters
    ----------
    measure : callable
        Pair and device to `Measurement`.
    """
    count = context.pick(quick=6, thorough=90)
    rng = samples.generator(context.seed, "trained pairs")

    def pairs() -> Iterator[PairInstance]:
        for run in runs(towers(context.seed + 10, count, LOSSES, augmented=True), context.device):
            inputs = [x for point in run.start.points for x in point]
            for number, point in enumerate(run.points):
                # The same weights in both towers, as training has them, and those of another checkpoint.
                other = point if number % 2 else run.points[int(rng.integers(len(run.points)))]
                first, second = (inputs[int(rng.integers(len(inputs)))] for _ in range(2))
                yield PairInstance(run.start.slope, point.weights, other.weights, first, second)

    return tally(
        "trained", "descent", pairs(), lambda pair: measure(pair, context.device),
        at_least=20 * (count // 2),
        detail=f"autograd = K_1 (K_1^T w_1 - K_2^T w_2) at {CHECKPOINTS + 1} checkpoints of each run, all losses",
    )  # fmt: skip
