"""Trained evidence of a user's statement: its sides at checkpoints of training, and laws of a quantity in training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hltm.base.checks import integer, number, show
from hltm.base.errors import InputError
from verify.engine.evidence import Evidence, Measurement, counted, joined
from verify.engine.statement import Check, Context, Variant
from verify.own import orders
from verify.own.guard import as_input_error, called
from verify.own.sides import UserSides
from verify.tolerance import rounding

if TYPE_CHECKING:
    import torch

# Relative change of the weights below which nothing was trained.
MOVED = 0.01
# Learning rates of a law: each half of the one before.
RATES = orders.POINTS
# A law that is off by this part of the quantity's size must be refuted.
VISIBLE = 0.01
LONGEST_RUN = 10**6


@dataclass(frozen=True)
class AlongTraining:
    """What `along_training` was given, validated."""

    network: Any
    loss: Any
    data: Any
    steps: int
    lr: float
    runs: int
    checkpoints: tuple[int, ...]
    instance: Callable[..., Any] | None
    optimizer: Callable[..., Any] | None
    slope: float
    quantity: Callable[..., Any] | None
    course: Callable[..., Any] | None
    options: Mapping[str, Any] = field(default_factory=dict)


def trained_checks(trained: Any, sides: UserSides, variants: Sequence[Variant], kind: type) -> list[Check]:
    """The checks of what `user_statement` was given as `trained`."""
    result = []
    for one in trained if isinstance(trained, list | tuple) else [trained]:
        if not isinstance(one, AlongTraining):
            raise InputError(f"trained={show(one)} of statement {sides.slug!r}: must be a verify.along_training")
        if one.quantity is not None:
            result.append(Check("trained", "law", partial(law_evidence, one, sides.slug)))
            continue
        instance_of(one, sides.slug, kind)
        result.append(Check("trained", "training", partial(evidence, one, sides, variants, kind)))
    return result


def along_training(
    *,
    network: Any,
    loss: Any,
    data: Any = None,
    steps: int = 100,
    lr: float = 0.05,
    runs: int = 3,
    checkpoints: int | Sequence[int] = 6,
    instance: Callable[..., Any] | None = None,
    optimizer: Callable[..., Any] | None = None,
    slope: float = 0.0,
    quantity: Callable[..., Any] | None = None,
    course: Callable[..., Any] | None = None,
    **loss_parameters: Any,
) -> AlongTraining:
    """Trained evidence for `user_statement`: its sides at checkpoints of gradient descent, or a law of a quantity.

    Parameters
    ----------
    network : sequence of int, torch.nn.Module, or callable
        Widths ``n_0 .. n_L`` of a tower without biases; or a module; or a function without arguments that makes one,
        with torch's random numbers. Each run trains a copy in float64. A module itself is the start of the first run;
        further ones call ``reset_parameters`` of its parts.
    loss : str or callable ``(network, data) -> scalar``
        ``"simple"``, ``"triplet"`` or ``"infonce"``, the expected loss over a `numeric.FinitePopulation`; or a function
        of the network (of widths: a module with its matrices in ``weights``).
    data : object or callable ``(generator) -> object``, optional
        What loss and instance are given; a function draws it anew for each run from a `torch.Generator`. Without it,
        widths get a population of 4 normal points with 2 augmentations.
    steps, lr, runs : int, float, int
        Steps of full-batch gradient descent, learning rate, and runs; the thorough profile makes five times the runs.
    checkpoints : int or list of int
        How many, evenly spread from the start to the last step, or the steps themselves.
    instance : callable ``(network, step, data) -> instance``, optional
        The instance of the statement that a state of training is. Without it, for widths and `PopulationInstance`,
        that of the weights, the population and the loss.
    optimizer : callable ``(network, lr) -> torch.optim.Optimizer``, optional
        By default ``torch.optim.SGD(network.parameters(), lr)``.
    slope : float
        Slope of the activation of the tower below zero, in [0, 1].
    quantity : callable ``(network, data) -> tensor``, optional
        Check a law instead of the sides: over the time ``lr * steps`` the quantity follows `course` up to an error of
        first order in the learning rate, which is halved five times for that.
    course : callable ``(start, time) -> tensor``, optional
        The quantity at that time under gradient flow, from its start; by default it is conserved.
    **loss_parameters
        ``tau``, ``margin``, ``negatives`` of a loss that is named.

    Returns
    -------
    AlongTraining
        For ``user_statement(..., trained=...)``. The evidence abstains where fewer than half of the checkpoints decide,
        where training diverges or moves the weights by less than 1 %, where instances do not depend on training, and
        where no mutant of the statement is refuted after the start.

    Errors
    ------
    InputError
        A value of another kind than above, or a loss parameter that the loss does not take.

    Examples
    --------
    >>> trained = along_training(network=(3, 4, 2), loss="infonce", tau=0.5, steps=40)
    >>> trained.checkpoints
    (0, 8, 16, 24, 32, 40)
    """
    place = "of along_training"
    total = integer(steps, "steps", 1, f" {place}")
    if total > LONGEST_RUN:
        raise InputError(f"steps={steps} {place}: must be at most {LONGEST_RUN}")
    rate = float(number(lr, "lr", f" {place}"))
    if not rate > 0:
        raise InputError(f"lr={lr!r:.40} {place}: must be positive")
    functions = {"instance": instance, "optimizer": optimizer, "quantity": quantity, "course": course}
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise InputError(f"{name}={show(function)} {place}: must be a function")
    if course is not None and quantity is None:
        raise InputError(f"course {place}: must go with a quantity")
    if quantity is not None and instance is not None:
        raise InputError(f"instance {place}: must be left out with a quantity, which is a check of its own")
    if not callable(loss):
        import numeric

        numeric.loss_spec(loss, **loss_parameters)
    elif loss_parameters:
        raise InputError(f"{sorted(loss_parameters)[0]} {place}: must be left out with a loss that is a function")
    if callable(network):
        if data is None:
            raise InputError(f"data {place}: must be given with a network of your own")
    else:
        import numeric

        numeric.check_slope(slope)
        network = tuple(numeric.check_widths(network))
    return AlongTraining(
        network, loss, data, total, rate, integer(runs, "runs", 1, f" {place}"), _steps(checkpoints, total, place),
        instance, optimizer, float(slope), quantity, course, dict(loss_parameters),
    )  # fmt: skip


def _steps(checkpoints: Any, steps: int, place: str) -> tuple[int, ...]:
    if isinstance(checkpoints, Sequence) and not isinstance(checkpoints, str):
        chosen = sorted({integer(step, "checkpoints", 0, f" {place}") for step in checkpoints})
        if not chosen or chosen[-1] > steps or chosen[-1] == 0:
            raise InputError(
                f"checkpoints={show(checkpoints)} {place}: must be steps up to {steps}, one after the start"
            )
        return tuple(chosen)
    count = min(integer(checkpoints, "checkpoints", 2, f" {place}"), steps + 1)
    return tuple(sorted({round(k * steps / (count - 1)) for k in range(count)}))


def _users(slug: str, role: str) -> AbstractContextManager[None]:
    """Attribute what a user's function raises."""
    return as_input_error(lambda: f"statement {slug!r}, {role} of along_training")


def start(training: AlongTraining, slug: str, seed: int, run: int) -> tuple[torch.nn.Module, Any]:
    """The network of a run in float64, and its data."""
    import torch

    with torch.random.fork_rng(devices=[]), _users(slug, "network"):
        torch.manual_seed(1_000_003 * (seed + 1) + run)
        if isinstance(training.network, tuple):
            module: Any = tower_of(training.network, training.slope)
        elif isinstance(training.network, torch.nn.Module):
            module = copy.deepcopy(training.network)
            if run:
                _reset(module, slug)
        else:
            build: Callable[[], Any] = training.network
            module = copy.deepcopy(build())
        if not isinstance(module, torch.nn.Module) or not any(p.requires_grad for p in module.parameters()):
            raise InputError(f"statement {slug!r}: network={show(module)}: must be a torch module with parameters")
        module = module.to(torch.float64)
    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + run)
    if training.data is None:
        import numeric

        points = torch.randn(4, 2, training.network[0], generator=generator, dtype=torch.float64)
        return module, numeric.FinitePopulation(points)
    if callable(training.data) and not isinstance(training.data, torch.nn.Module):
        with _users(slug, "data"):
            draw: Callable[[Any], Any] = training.data
            return module, draw(generator)
    return module, training.data


def _reset(module: torch.nn.Module, slug: str) -> None:
    """Draw the weights of a module anew, as its parts do it."""
    renewed: set[int] = set()
    for part in module.modules():
        reset: Any = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
            renewed |= {id(parameter) for parameter in part.parameters(recurse=False)}
    if any(id(parameter) not in renewed for parameter in module.parameters()):
        raise InputError(
            f"statement {slug!r}: network {type(module).__name__} has parameters without reset_parameters: "
            "must be a function that makes a network, or runs must be 1"
        )


def tower_of(widths: tuple[int, ...], slope: float) -> torch.nn.Module:
    """A dense tower without biases as a module with its matrices in `weights`."""
    import torch

    import numeric

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
            drawn = numeric.random_weights(widths, generator=generator)
            self.weights = torch.nn.ParameterList([torch.nn.Parameter(matrix) for matrix in drawn])
            self.slope = slope

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return numeric.forward(list(self.weights), x, self.slope)

    return Tower()


def loss_of(training: AlongTraining, slug: str) -> Callable[[Any, Any], Any]:
    """The loss as a function of network and data."""
    import numeric
    from numeric.towers.gradient import expected_loss_of_outputs

    if callable(training.loss):
        return training.loss
    spec = numeric.loss_spec(training.loss, **training.options)

    def loss(network: Any, data: Any) -> Any:
        if not isinstance(data, numeric.FinitePopulation):
            raise InputError(
                f"statement {slug!r}: data={show(data)} with loss {spec.name!r}: must be a numeric.FinitePopulation"
            )
        return expected_loss_of_outputs(network(data.flat_points), data, spec, "shared")

    return loss


@dataclass(frozen=True)
class Run:
    """A run of training: how far it moved the weights, its first and last loss, and what `visit` returned at steps."""

    moved: float
    losses: tuple[float, float]
    visited: tuple[tuple[int, Any], ...]
    diverged_at: int | None = None


def trained(
    training: AlongTraining,
    slug: str,
    seed: int,
    run: int,
    steps: int,
    at: Sequence[int],
    visit: Callable[[Any, int, Any], Any],
) -> Run:
    """One run over the time ``lr * steps`` of what was asked for, within ten time limits."""
    lr = training.lr * training.steps / steps

    def whole() -> Run:
        return train(training, slug, *start(training, slug, seed, run), lr, steps, at, visit)

    return called(lambda: f"statement {slug!r}, run {run + 1} of along_training", whole, times=10)


def train(
    training: AlongTraining,
    slug: str,
    module: torch.nn.Module,
    data: Any,
    lr: float,
    steps: int,
    at: Sequence[int],
    visit: Callable[[Any, int, Any], Any],
) -> Run:
    """Full-batch descent; `visit` sees network, step and data at some steps, without gradients."""
    import torch

    loss_function = loss_of(training, slug)
    with _users(slug, "optimizer"):
        optimizer = (
            torch.optim.SGD(module.parameters(), lr=lr)
            if training.optimizer is None
            else training.optimizer(module, lr)
        )
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(f"statement {slug!r}: optimizer={show(optimizer)}: must be a torch.optim.Optimizer")
    first = [parameter.detach().clone() for parameter in module.parameters()]
    losses: list[float] = []
    visited: list[tuple[int, Any]] = []
    for step in range(steps + 1):
        if step in at:
            with torch.no_grad():
                visited.append((step, visit(module, step, data)))
        with _users(slug, "loss"), torch.enable_grad():
            optimizer.zero_grad()
            value = loss_function(module, data)
            if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
                rule = "must be a tensor of one number that depends on the network"
                raise InputError(f"statement {slug!r}: loss={show(value)}: {rule}")
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                return Run(_moved(module, first), (losses[0], losses[-1]), tuple(visited), step)
            if step < steps:
                value.reshape(()).backward()
                optimizer.step()
    return Run(_moved(module, first), (losses[0], losses[-1]), tuple(visited))


def _moved(module: torch.nn.Module, first: Sequence[Any]) -> float:
    """How far the weights are from where they were, relative to their size then; infinite from all zeros."""
    change = math.sqrt(
        sum(float((p.detach() - f).square().sum()) for p, f in zip(module.parameters(), first, strict=True))
    )
    size = math.sqrt(sum(float(f.square().sum()) for f in first))
    return change / size if size else math.inf if change else 0.0


def instance_of(training: AlongTraining, slug: str, kind: type) -> Callable[[Any, int, Any], Any]:
    """The function that makes an instance of a state of training."""
    from verify.instances.in_torch import arrays_of
    from verify.instances.instance import PopulationInstance, freeze

    if training.instance is not None:
        given = training.instance

        def own(network: Any, step: int, data: Any) -> Any:
            with _users(slug, "instance"):
                result = given(network, step, data)
            if not isinstance(result, kind):
                raise InputError(
                    f"statement {slug!r}: instance of along_training gives {show(result)}: must be {kind.__name__}"
                )
            return result

        return own
    if not (
        isinstance(training.network, tuple) and issubclass(kind, PopulationInstance) and isinstance(training.loss, str)
    ):
        raise InputError(
            f"statement {slug!r}: instance of along_training: must be given, as a function of network, step and data, "
            f"that makes a {kind.__name__}; only widths, a loss by its name and PopulationInstance go without"
        )
    parameters = tuple(sorted(training.options.items()))

    def tower(network: Any, step: int, data: Any) -> Any:
        points, p, q = arrays_of((data.points, data.point_weights, data.augmentation_weights))
        weights = tuple(freeze(matrix) for matrix in arrays_of(network.weights))
        return kind(training.slope, weights, freeze(points), freeze(p), freeze(q), training.loss, parameters)

    return tower


def evidence(
    training: AlongTraining, sides: UserSides, variants: Sequence[Variant], kind: type, context: Context
) -> Evidence:
    """Both sides at the checkpoints of every run, the last checkpoint of a run first."""
    runs = training.runs * context.pick(quick=1, thorough=5)
    make = instance_of(training, sides.slug, kind)
    moved: list[float] = []
    losses: list[tuple[float, float]] = []
    later: list[Any] = []
    distinct: list[int] = []
    measured: list[Measurement] = []
    reasons: list[str] = []
    for run in range(runs):
        result = trained(training, sides.slug, context.seed, run, training.steps, training.checkpoints, make)
        if result.diverged_at is not None:
            reasons.append(f"run {run + 1} diverged at step {result.diverged_at}")
            continue
        moved.append(result.moved)
        losses.append(result.losses)
        distinct.append(len({repr(instance.as_json()) for _, instance in result.visited}))
        later += [instance for step, instance in result.visited if step > 0]
        for step, instance in reversed(result.visited):
            measurement = sides.measure_float(instance, None, context.device)
            measured.append(measurement)
            if measurement.status == "refuted":
                where = f"step {step} of run {run + 1}, lr {training.lr:g}"
                return _refuted(measurement, instance, measured, where)
    what = (
        f"both sides at {counted(len(training.checkpoints), 'checkpoint')} of {counted(len(moved), 'run')} of "
        f"{counted(training.steps, 'step')}, lr {training.lr:g}"
    )
    decided = [one for one in measured if one.status != "abstained"]
    if moved:
        what += f"; weights moved by {100 * min(moved):.2g} to {100 * max(moved):.2g} %"
        what += f", loss {losses[-1][0]:.3g} to {losses[-1][1]:.3g} in the last run"
        if min(moved) < MOVED:
            reasons.append(f"a run moved the weights by {100 * min(moved):.2g} %, at least 1 % is training")
        if min(distinct) < len(training.checkpoints):
            reasons.append("instances do not change with training")
    if 2 * len(decided) < max(1, runs * len(training.checkpoints)):
        reasons.append(f"only {len(decided)} of {runs * len(training.checkpoints)} instances could be decided")
    if not reasons and variants:
        fallen = [v.name for v in variants if _falls(sides, v, later, context.device)]
        what += f"; {len(fallen)} of {counted(len(variants), 'mutant')} refuted there"
        if not fallen:
            reasons.append("the check is too weak: no mutant is refuted on trained weights")
    worst = max(decided, key=lambda one: one.severity, default=None)
    return Evidence(
        "trained", "abstained" if reasons else "holds", "training", len(decided), len(measured) - len(decided),
        worst.residual if worst else None, worst.tolerance if worst else None, detail=joined(what, *reasons),
    )  # fmt: skip


def _refuted(measurement: Measurement, instance: Any, measured: Sequence[Measurement], where: str) -> Evidence:
    decided = sum(one.status != "abstained" for one in measured)
    return Evidence(
        "trained", "refuted", "training", decided, len(measured) - decided, measurement.residual,
        measurement.tolerance, detail=joined(where, measurement.detail), counterexample=instance,
    )  # fmt: skip


def _falls(sides: UserSides, variant: Variant, instances: Sequence[Any], device: str) -> bool:
    """Whether a mutant is refuted on one of the instances, the last ones first."""
    return any(
        sides.measure_float(instance, variant.claim, device).status == "refuted" for instance in reversed(instances)
    )


def law_evidence(training: AlongTraining, slug: str, context: Context) -> Evidence:
    """Whether a quantity follows its course, by the order in the learning rate of what it misses."""
    what = (
        f"the quantity follows its course over time {training.lr * training.steps:.3g} up to an error of order 1 in lr"
    )
    measured: list[Measurement] = []
    moved: list[float] = []
    for run in range(training.runs * context.pick(quick=1, thorough=5)):
        result = law(training, slug, context.seed, run)
        if isinstance(result, str):
            return Evidence(
                "trained", "abstained", "law", len(measured), 1, detail=joined(what, f"run {run + 1}: {result}")
            )
        measurement, share = result
        measured.append(measurement)
        moved.append(share)
        if measurement.status == "refuted":
            return Evidence(
                "trained", "refuted", "law", len(measured), 0, measurement.residual, measurement.tolerance,
                detail=joined(what, f"run {run + 1}: {measurement.detail}"),
            )  # fmt: skip
    decided = [one for one in measured if one.status == "holds"]
    worst = max(decided, key=lambda one: one.severity, default=measured[0])
    seen = f"weights moved by {100 * min(moved):.2g} to {100 * max(moved):.2g} %"
    seen += f"; a law that is off by {VISIBLE:.0%} would not hold"
    open_ = next((one.detail for one in measured if one.status == "abstained"), "")
    return Evidence(
        "trained", "holds" if len(decided) == len(measured) else "abstained", "law", len(decided),
        len(measured) - len(decided), worst.residual, worst.tolerance,
        detail=joined(what, seen, open_ or f"run {measured.index(worst) + 1}: {worst.detail}"),
    )  # fmt: skip


def law(training: AlongTraining, slug: str, seed: int, run: int) -> tuple[Measurement, float] | str:
    """What a run says of a law, and how far it moved the weights; or why it is undecided."""
    course = training.course or _constant
    time = training.lr * training.steps
    rates, rows, bounds, moved = [], [], [], math.inf
    first = last = np.zeros(0)
    for k in range(RATES):
        steps = training.steps * 2**k
        result = trained(training, slug, seed, run, steps, (0, steps), partial(_quantity, training, slug))
        if result.diverged_at is not None:
            return f"training diverged at step {result.diverged_at} with lr {time / steps:.3g}"
        first, last = (value for _, value in result.visited)
        with _users(slug, "course"):
            import torch

            expected = np.atleast_1d(
                np.asarray(torch.as_tensor(course(torch.as_tensor(first), time)).detach(), dtype=float)
            )
        if expected.shape != last.shape:
            raise InputError(f"statement {slug!r}: course gives shape {expected.shape}: must be {last.shape}")
        rates.append(time / steps)
        rows.append(np.abs(last - expected).ravel())
        # Rounding adds up over the steps.
        scale = max(float(np.abs(first).max()), float(np.abs(last).max()))
        bounds.append(np.full(last.size, rounding.SAFETY * rounding.UNIT_ROUNDOFF * steps * scale))
        moved = min(moved, result.moved)
    if moved < MOVED:
        return f"the weights moved by {100 * moved:.2g} %, at least 1 % is training"
    change = reaction(training, slug, *start(training, slug, seed, run))
    if not change > 1e-9:
        return "the quantity does not depend on the weights"
    scales, sizes, tolerances = np.array(rates), np.array(rows), np.array(bounds)
    natural = np.full(last.size, max(float(np.abs(first).max()), float(np.abs(last).max()), change))
    off = np.sqrt((sizes**2).sum(axis=1) + (VISIBLE * float(np.linalg.norm(natural)) / math.sqrt(last.size)) ** 2)
    seen = orders.fit(scales, off, np.sqrt((tolerances**2).sum(axis=1)))
    if not isinstance(seen, str) and seen.judge(1.0) == "holds":
        return f"the learning rates are too large: a law that is off by {VISIBLE:.0%} would hold; take a smaller lr"
    return orders.measure(1.0, "lr", scales, sizes, tolerances, natural), moved


def _constant(start: Any, time: float) -> Any:
    return start


def _quantity(training: AlongTraining, slug: str, network: Any, _: int, data: Any) -> np.ndarray:
    import torch

    with _users(slug, "quantity"):
        value = training.quantity(network, data)  # type: ignore[misc]
        result = np.atleast_1d(np.asarray(torch.as_tensor(value).detach(), dtype=float)).copy()
    if not result.size or not np.isfinite(result).all():
        raise InputError(f"statement {slug!r}: quantity={show(value)}: must be finite numbers")
    return result


def reaction(training: AlongTraining, slug: str, module: Any, data: Any) -> float:
    """How far a quantity moves with the weights, when each moves by a tenth of their size."""
    import torch

    before = _quantity(training, slug, module, 0, data)
    with torch.no_grad():
        for number_, parameter in enumerate(module.parameters()):
            generator = torch.Generator().manual_seed(number_)
            size = float(parameter.square().mean().sqrt()) or 1.0
            parameter += 0.1 * size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return float(np.abs(_quantity(training, slug, module, 0, data) - before).max())
