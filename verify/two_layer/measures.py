"""Statement 5 measured on one instance: in rationals, in balls, in float64, and along gradient descent."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from flint import fmpq

import numeric
from verify.engine.evidence import Measurement
from verify.instances.in_torch import arrays_of, population_of
from verify.instances.instance import PopulationInstance
from verify.tolerance import rounding
from verify.towers import balls
from verify.towers.autograd import autograd_update, compare
from verify.towers.population import simple_loss_gradient, weighted_sum
from verify.towers.tower import Array, array, gate, largest, measure_differences, rational
from verify.training import towers
from verify.two_layer.formulas import STATED, Claim, decoupled, exact_neurons, float_neurons

BITS = 256
# What is asked of the block form along training, in units of the update.
RELATIVE = 1e-10
UNDECIDED = "nothing is claimed of this instance"


def euler(weights: list[Array], updates: list[Array]) -> tuple[Array, Array]:
    """w_1j . d w_1j and w_2j . d w_2j of every neuron, shape (n_1,) each."""
    return (weights[0] * updates[0]).sum(axis=1), (weights[1] * updates[1]).sum(axis=0)


def measure_exact(instance: PopulationInstance, claim: Claim | None = None) -> Measurement:
    """Central differences of the expected loss against the block form and the conservation law, in rationals.

    With another loss than the simple one the conservation law alone is claimed, and enclosed in balls.
    """
    claim = claim or STATED
    if claim.separates:
        return measure_separation(instance)
    weights = [array(w, rational) for w in instance.weights]
    if instance.loss != "simple":
        return measure_conserved_in_balls(instance, weights, claim)
    gradient, kinked = simple_loss_gradient(instance)
    neurons = exact_neurons(instance)
    where = " on a kink" if kinked else ""
    updates = enumerate(zip(gradient, claim.update(neurons), strict=True), start=1)
    differences = [(g + 2 * side * fmpq(1), f"d W_{layer}{where}") for layer, (g, side) in updates]
    own, out = euler(weights, gradient)
    differences.append((own + claim.sign * out, f"conservation{where}"))
    differences.append((step_change(weights, gradient, claim), f"drift of a step of learning rate 1{where}"))
    return measure_differences(differences)


def step_change(weights: list[Array], gradient: list[Array], claim: Claim) -> Array:
    """The change of ||w_1j||^2 - ||w_2j||^2 in a step of learning rate 1, less the claimed drift."""
    before, after = (towers.conserved(w)[0] for w in (weights, [a - g for a, g in zip(weights, gradient, strict=True)]))
    return after - before - claim.drift * towers.conserved(gradient)[0]


def measure_conserved_in_balls(instance: PopulationInstance, weights: list[Array], claim: Claim) -> Measurement:
    """w_1j . d w_1j + sign w_2j . d w_2j of the literal loss, in a ball around zero."""
    if balls.count_terms(instance) > balls.TERM_LIMIT:
        return Measurement(0.0, 0.0, False, f"{balls.count_terms(instance)} terms are left to floating point")
    gradient = balls.expected_gradient(instance, BITS)
    with balls.precision(BITS):
        exact = [np.vectorize(balls.to_ball, otypes=[object])(w) for w in weights]
        own, out = euler(exact, gradient)
        sums = enumerate(own + claim.sign * out, start=1)
        return balls.measure_zeros((entry, f"conservation, neuron {j}") for j, entry in sums)


def coinciding_means(instance: PopulationInstance) -> bool:
    """Linear neurons that are not all zero, and at least two objects whose augmentation means are exactly equal."""
    neurons = exact_neurons(instance)
    means = [weighted_sum(xs, weights) for xs, weights in zip(neurons.inputs, neurons.q, strict=True)]
    alive = largest(neurons.second @ neurons.first) > 0 and any(largest(x) > 0 for row in neurons.inputs for x in row)
    return instance.slope == 1.0 and alive and len(means) > 1 and all(largest(m - means[0]) == 0 for m in means)


def measure_separation(instance: PopulationInstance) -> Measurement:
    """The false claim that linear neurons separate objects of one mean: refuted where an exact step leaves them there.

    The step is one of gradient descent with learning rate 1, in rationals; a gap of the mean outputs of exactly zero
    is a shortfall of 1.
    """
    if instance.loss != "simple" or not coinciding_means(instance):
        return Measurement(0.0, 0.0, False, UNDECIDED)
    gradient, _ = simple_loss_gradient(instance)
    neurons = exact_neurons(instance)
    first, second = neurons.first - gradient[0], neurons.second - gradient[1]
    outputs = [second @ (first @ weighted_sum(xs, q)) for xs, q in zip(neurons.inputs, neurons.q, strict=True)]
    apart = max(largest(output - outputs[0]) for output in outputs)
    return Measurement(float(apart == 0), 0.0, detail="the mean outputs coincide after the step")


@rounding.quiet
def measure_float(instance: PopulationInstance, claim: Claim | None = None, device: str = "cpu") -> Measurement:
    """`numeric`'s automatic differentiation of the literal loss against the formulas, in float64.

    The conservation law is claimed of every loss, the block form of the simple one.
    """
    claim = claim or STATED
    if claim.separates:
        trace = towers.descend(instance, towers.horizon(instance, device), 1, device)
        return measure_gap(instance, trace, device)
    worst = measure_conserved(instance, claim, device)
    if instance.loss == "simple" and worst.status != "refuted":
        sides = claim.update(float_neurons(instance, device))
        result = compare(instance, {"block form": [2 * side for side in sides]}, device)
        worst = max(worst, result, key=lambda m: (m.decided, m.severity))
    return worst


def measure_relative(instance: PopulationInstance, device: str = "cpu") -> Measurement:
    """The block form against automatic differentiation, over the largest entry of the update; simple loss.

    Undecided where rounding alone could explain more than the tolerance, or where nothing moves.
    """
    update, bounds, near = autograd_update(instance, device)
    scale = max(float(np.abs(u).max()) for u in update)
    sides = STATED.update(float_neurons(instance, device))
    residual = max(float(np.abs(u - 2 * s).max()) for u, s in zip(update, sides, strict=True))
    decided = not near and scale > 0 and max(float(b.max()) for b in bounds) <= RELATIVE * scale
    return Measurement(residual / scale if scale else 0.0, RELATIVE, decided, "relative to the update")


def measure_still(instance: PopulationInstance) -> Measurement:
    """Linear neurons on objects of one mean, in rationals: no update of any weight."""
    case = replace(instance, slope=1.0)
    if not coinciding_means(case):
        return Measurement(0.0, 0.0, False, UNDECIDED)
    gradient, _ = simple_loss_gradient(case)
    return measure_differences((g, "linear neurons move") for g in gradient)


def measure_detector(instance: PopulationInstance) -> Measurement:
    """ReLU neurons in rationals: the gap of the mean outputs of two objects, and more of it after a step of rate 1.

    A gap of exactly zero, or one that does not grow, is a residual of 1.
    """
    gradient, _ = simple_loss_gradient(instance)
    start = [array(w, rational) for w in instance.weights]
    gaps = [mean_gap(instance, w) for w in (start, [w - g for w, g in zip(start, gradient, strict=True)])]
    return Measurement(float(not 0 < gaps[0] < gaps[1]), 0.0, detail=f"gaps {gaps[0]}, {gaps[1]}")


def mean_gap(instance: PopulationInstance, weights: list[Array]) -> fmpq:
    """Squared distance of the mean outputs of the first two objects, for other weights, in rationals."""
    slope, outputs = rational(instance.slope), []
    neurons = exact_neurons(instance)
    for xs, q in zip(neurons.inputs, neurons.q, strict=True):
        hidden = [weights[0] @ x for x in xs]
        outputs.append(weighted_sum([weights[1] @ (gate(h, slope, fmpq(1)) * h) for h in hidden], q))
    gap = outputs[0] - outputs[1]
    return gap @ gap


def measure_decoupled(instance: PopulationInstance, device: str = "cpu") -> Measurement:
    """`numeric`'s automatic differentiation against the decoupled form, in float64."""
    sides = decoupled(float_neurons(instance, device))
    return compare(instance, {"decoupled form": [2 * side for side in sides]}, device)


def measure_decoupled_exact(instance: PopulationInstance) -> Measurement:
    """A_jk = 0 for j != k, A_jj acts on what neuron j reads alone, and the decoupled form; in rationals."""
    gradient, _ = simple_loss_gradient(instance)
    neurons = exact_neurons(instance)
    updates = enumerate(zip(gradient, decoupled(neurons), strict=True), start=1)
    differences = [(g + 2 * side * fmpq(1), f"d W_{layer}") for layer, (g, side) in updates]
    hidden = range(len(neurons.first))
    differences += [(neurons.blocks[j, :, k, :], f"A_{j + 1}{k + 1}") for j in hidden for k in hidden if j != k]
    for j, row in enumerate(neurons.first):
        off = [index for index, entry in enumerate(row) if entry == 0]
        differences.append((neurons.blocks[j, off, j, :], f"A_{j + 1}{j + 1} outside what neuron {j + 1} reads"))
    return measure_differences(differences)


def measure_conserved(instance: PopulationInstance, claim: Claim, device: str) -> Measurement:
    """w_1j . d w_1j + sign w_2j . d w_2j = 0, within what the updates' bounds and the two sums can explain."""
    update, bounds, near = autograd_update(instance, device)
    weights = [np.asarray(w) for w in instance.weights]
    own, out = euler(weights, update)
    sizes = [np.abs(w) for w in weights]
    spread = np.add(*euler(sizes, bounds))
    terms = np.add(*euler(sizes, [np.abs(u) for u in update]))
    tolerance = spread + rounding.gamma(max(weights[0].shape[1], weights[1].shape[0]) + 3) * terms
    result = rounding.worse(Measurement(0.0, float(tolerance.max())), np.abs(own + claim.sign * out), tolerance, "flow")
    detail = "a gate is near its kink" if near else "conservation"
    return Measurement(result.residual, result.tolerance, not near, detail)


@rounding.quiet
def measure_trained(instance: PopulationInstance, claim: Claim | None = None, device: str = "cpu") -> Measurement:
    """The statement at every checkpoint of gradient descent from the instance's weights, and the drift of each step."""
    claim = claim or STATED
    if claim.separates and (instance.loss != "simple" or not coinciding_means(instance)):
        return Measurement(0.0, 0.0, False, UNDECIDED)
    trace = towers.descend(instance, towers.horizon(instance, device), towers.CHECKPOINTS, device)
    if trace.diverged_at is not None:
        return Measurement(0.0, 0.0, False, trace.report)
    if claim.separates:
        return measure_gap(instance, trace, device)
    if claim.drift != STATED.drift:
        return measure_steps(instance, trace, claim, device)
    result = towers.along(instance, partial(measure_float, claim=claim, device=device), trace)
    if result.status == "refuted":
        return result
    steps = measure_steps(instance, trace, claim, device)
    return steps if steps.status == "refuted" else result


def measure_steps(instance: PopulationInstance, trace: Any, claim: Claim, device: str) -> Measurement:
    """Each step changes ||w_1j||^2 - ||w_2j||^2 by drift lr^2 (||d w_1j||^2 - ||d w_2j||^2), and by nothing else.

    A step is W' = W + lr u + e with u within its bound b of the true update, for which W.u cancels, and e the two
    roundings of the step: what is left is at most 2 |W| (2 lr b + e) + 4 lr^2 |u| b + 2 |W'| e and the rounding of the
    sums.
    """
    lr = trace.lr
    worst, decided = Measurement(0.0, 0.0), 0
    points = towers.checkpoints(instance, trace)
    for step, (point, after) in enumerate(itertools.pairwise(points), start=1):
        update, bounds, near = autograd_update(point, device)
        if near:
            continue
        w, v = ([np.asarray(m) for m in i.weights] for i in (point, after))
        change = towers.conserved(v)[0] - towers.conserved(w)[0]
        squares = towers.conserved([lr * u for u in update])[0]
        slack = [
            2 * np.abs(a) * (2 * lr * bound + e) + 2 * np.abs(b) * e + 4 * lr**2 * np.abs(u) * bound
            + rounding.gamma(max(a.shape) + 4) * (a**2 + b**2 + (lr * u) ** 2)
            for a, b, u, bound in zip(w, v, update, bounds, strict=True)
            for e in [rounding.gamma(3) * (np.abs(b) + lr * np.abs(u))]
        ]  # fmt: skip
        tolerance = slack[0].sum(axis=1) + slack[1].sum(axis=0)
        worst = rounding.worse(worst, np.abs(change - claim.drift * squares), tolerance, f"step {step}: drift")
        decided += 1
    return worst if decided else replace(worst, decided=False, detail="every step was near a kink")


def mean_gaps(instance: PopulationInstance, trace: Any) -> np.ndarray:
    """Largest distance between the augmentation means of the outputs of two objects, at every record."""
    population = population_of(instance, str(trace.losses.device))
    gaps = []
    for record in range(len(trace.steps)):
        outputs = population.mean(numeric.forward(trace.at(record), population.flat_points, instance.slope))
        gaps.append(float((outputs[:, None] - outputs[None]).norm(dim=2).max()))
    return np.array(gaps)


def gap_bound(instance: PopulationInstance, weights: list[Array]) -> float:
    """Rounding-error bound of the distance between two mean outputs that coincide."""
    points = np.asarray(instance.points)
    size = rounding.magnitudes(weights, points.reshape(-1, points.shape[2]), instance.slope)
    roundings = 2 * size.roundings + 2 * points.shape[1] + 8
    return 4 * rounding.gamma(roundings) * float(np.sqrt((size.output**2).sum(axis=1)).max())


def measure_gap(instance: PopulationInstance, trace: Any, device: str) -> Measurement:
    """The false claim that linear neurons separate objects of one mean: by how much the gap falls short of rounding."""
    if instance.loss != "simple" or not coinciding_means(instance) or trace.diverged_at is not None:
        return Measurement(0.0, 0.0, False, UNDECIDED)
    bound = gap_bound(instance, arrays_of(trace.at(-1)))
    gap = float(mean_gaps(instance, trace)[-1])
    return Measurement(max(bound - gap, 0.0), 0.0, bound > 0, f"gap of the mean outputs {gap:.1e} after descent")


# Two objects whose augmentation means coincide, along gradient descent: linear neurons stay, ReLU neurons separate.

# Separated means: the distance of the mean outputs is this many times what it was, and what rounding explains.
GROWTH = 10.0
# In units of the time in which the ReLU network's weights change by their own size.
LENGTH = 4


def ring_time(instance: PopulationInstance, device: str) -> float:
    """Training time of both kinds of neurons: a multiple of the horizon of the ReLU network."""
    return LENGTH * towers.horizon(replace(instance, slope=0.0), device)


@rounding.quiet
def measure_linear(instance: PopulationInstance, device: str = "cpu") -> Measurement:
    """Linear neurons along descent: weights within rounding of the start (simple loss), mean outputs of each other.

    With the simple loss the update of every weight is 0, at any weights: after t steps they are off by at most the sum
    of the learning rate times the bounds of the updates, and of the steps' own rounding. With the other losses the
    weights move, since the augmentation's own spread enters (theta of statement 4), but the mean outputs stay together.
    """
    case = replace(instance, slope=1.0)
    steps = LENGTH * towers.CHECKPOINTS
    # The bound of where the weights may be is a sum over steps; the other losses need some records only.
    every = 1 if case.loss == "simple" else 8
    trace = towers.descend(case, ring_time(instance, device), steps, device, every=every)
    gaps = mean_gaps(case, trace)
    worst = Measurement(0.0, 0.0)
    start = [np.asarray(w) for w in case.weights]
    slack = [np.zeros_like(w) for w in start]
    for record, point in enumerate(towers.checkpoints(case, trace)):
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
    trace = towers.descend(case, time, LENGTH * towers.CHECKPOINTS, device)
    gaps = mean_gaps(case, trace)
    least = GROWTH * max(float(gaps[0]), gap_bound(case, arrays_of(trace.at(0))))
    reached = np.flatnonzero(gaps >= least)
    last = int(reached[0]) if len(reached) else len(gaps) - 1
    if last and not (np.diff(gaps[: last + 1]) > 0).all():
        return Measurement(float("inf"), 1.0, detail="the distance of the mean outputs shrinks in a step")
    reach = float(gaps[last])
    detail = f"distance of the mean outputs {gaps[0]:.2e} -> {reach:.2e} in {trace.steps[last]} steps"
    return Measurement(least / reach if reach > 0 else float("inf"), 1.0, detail=detail)
