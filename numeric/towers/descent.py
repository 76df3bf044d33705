"""Plain gradient descent on the exact expected loss of a finite population: training without sampling error.

``W <- W - lr E[grad L]``, the Euler steps of the flow of statements 3 to 5 of arXiv 2010.00578, for dense
towers of any depth and every loss. The gradient is that of :func:`numeric.population_gradient`, by autograd of the
literal sum; no connection or operator is used.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Layers, Real, Weights, as_number, check_single, check_slope, is_integer
from numeric.towers.gradient import TableLoss, expected_loss, population_gradient
from numeric.towers.losses import LossSpec, loss_spec
from numeric.towers.populations import FinitePopulation


@dataclass(frozen=True, eq=False)
class DescentTrace:
    """What a run of gradient descent recorded, R records; record 0 is the start.

    Attributes
    ----------
    steps : tuple of int
        How many steps had been taken at each record.
    weights : tuple of Tensor
        One float64 tensor per layer, ``(R, n_l, n_{l-1})``.
    losses : Tensor
        Expected loss at each record, ``(R,)``.
    lr : float
        The learning rate; time is ``lr * steps``.
    diverged_at : int or None
        The first step after which a weight or the loss was not finite. The run stopped there and the records end
        before it; None where all steps were taken.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> trace = descend([[[1.0]]], population, "simple", lr=0.1, steps=2)
    >>> trace.steps, trace.at(-1)[0].shape
    ((0, 1, 2), torch.Size([1, 1]))
    """

    steps: tuple[int, ...]
    weights: tuple[Float[Tensor, "R _ _"], ...]
    losses: Float[Tensor, " R"]
    lr: float
    diverged_at: int | None = None

    def __repr__(self) -> str:
        shapes = ", ".join(str(tuple(layer.shape[1:])) for layer in self.weights)
        return f"DescentTrace(weights={shapes}, records={len(self.steps)}, {self.report})"

    def at(self, record: int) -> list[Tensor]:
        """Weights of one record, ``W_1 .. W_L``; negative numbers count from the last record."""
        return [layer[record] for layer in self.weights]

    @property
    def report(self) -> str:
        """One line on how the run ended."""
        last = f"step {self.steps[-1]}, loss {float(self.losses[-1]):.6g}"
        if self.diverged_at is None:
            return f"finished at {last}"
        return f"diverged at step {self.diverged_at} with lr={self.lr:g}; the last finite record is {last}"


def descend(
    weights: Weights,
    population: FinitePopulation,
    loss: str | LossSpec | TableLoss,
    lr: Real,
    steps: int,
    *,
    every: int = 1,
    slope: Real = 0.0,
    convention: str = "shared",
    **loss_parameters: Any,
) -> DescentTrace:
    """Gradient descent on the expected loss of a finite population, in float64.

    Parameters
    ----------
    weights : sequence of arrays
        ``W_1 .. W_L`` of one network at the start; they are not changed.
    population : FinitePopulation
        On the device of the weights; it is taken to float64.
    loss : str, LossSpec or callable
        ``"simple"``, ``"triplet"`` or ``"infonce"``; or a function of outputs and population, as in
        :func:`numeric.expected_loss`.
    lr : float
        Learning rate, positive.
    steps : int
        Number of steps, at least 0.
    every : int
        A record is kept at the start, after every so many steps, and at the end.
    slope : float
        Slope of the activation below zero, in [0, 1].
    convention : str
        ``"shared"``: the gradient through all towers; ``"one-branch"``: through that of ``x_1`` only.
    **loss_parameters
        ``tau``, ``margin``, ``negatives``.

    Returns
    -------
    DescentTrace
        Steps, weights and losses of the records. A run stops where a weight or the loss is not finite: see
        ``diverged_at`` and ``report``.

    Raises
    ------
    InputError
        Invalid inputs, as in :func:`numeric.population_gradient`; or a loss that is not finite at the start.

    Source
    ------
    The dynamics of statement 5; sections 0 and 2 of the notes.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> trace = descend([[[1.0]]], population, "simple", lr=0.1, steps=2)
    >>> trace.steps, [round(float(w), 6) for w in trace.weights[0].flatten()]
    ((0, 1, 2), [1.0, 1.45, 2.1025])
    >>> descend([[[1.0]]], population, "simple", lr=1e150, steps=9).report
    'diverged at step 2 with lr=1e+150; the last finite record is step 1, loss -4.55625e+301'
    """
    rate = as_number(lr)
    if not rate > 0:
        raise InputError(f"lr={lr!r:.40} of gradient descent: must be positive and finite")
    for name, number, least in (("steps", steps, 0), ("every", every, 1)):
        if not is_integer(number, least):
            raise InputError(f"{name}={number!r:.40} of gradient descent: must be an integer >= {least}")
    below = check_slope(slope)
    spec = partial(loss, **loss_parameters) if callable(loss) else loss_spec(loss, **loss_parameters)
    layers = Layers(layer.detach().to(torch.float64) for layer in check_single(weights))
    exact = population.to(population.points.device, torch.float64)
    with torch.no_grad():
        losses = [expected_loss(layers, exact, spec, below, convention=convention)]
    if not math.isfinite(float(losses[0])):
        name = f"loss {spec.name!r}" if isinstance(spec, LossSpec) else "loss"
        raise InputError(f"{name} of the starting weights: is {float(losses[0])}, must be finite")
    taken, records, diverged = [0], [layers], None
    for step in range(1, steps + 1):
        update = population_gradient(layers, exact, spec, below, convention=convention)
        layers = Layers(layer + rate * change for layer, change in zip(layers, update, strict=True))
        finite = all(bool(torch.isfinite(layer).all()) for layer in layers)
        if finite and (step % every == 0 or step == steps):
            with torch.no_grad():
                value = expected_loss(layers, exact, spec, below)
            finite = math.isfinite(float(value))
            if finite:
                taken.append(step)
                records.append(layers)
                losses.append(value)
        if not finite:
            diverged = step
            break
    stacked = tuple(torch.stack(layer) for layer in zip(*records, strict=True))
    return DescentTrace(tuple(taken), stacked, torch.stack(losses), rate, diverged)
