"""The Hessian of a loss at collapse, one linear layer ``f = W x`` at W = 0, and the loss as a literal sum.

``-2 xi(0) V_x[xbar] kron I + 2 beta E_x V_aug[x] kron I`` by vec W, with xi(0) the pull dL/dr_+ at distances 0.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, as_number, is_integer
from numeric.towers.gradient import count_terms
from numeric.towers.losses import LossSpec, loss_derivatives, loss_spec, loss_value
from numeric.towers.populations import FinitePopulation


def collapse_loss(
    weight: Float[Tensor, "n_1 n_0"],
    population: FinitePopulation,
    loss: str | LossSpec,
    beta: Real = 0.0,
    **loss_parameters: Any,
) -> Float[Tensor, ""]:
    """Expected ``L + beta r_+`` of a linear layer, a literal sum that can be differentiated twice.

    Parameters
    ----------
    weight : Tensor
        W, ``(n_1, n_0)``.
    population : FinitePopulation
        Points and augmentations with their weights.
    loss : str
        ``"simple"``, ``"triplet"`` or ``"infonce"``.
    beta : float
        Strength of the within-pair term, of either sign.
    **loss_parameters
        ``tau``, ``margin``, ``negatives``.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    InputError
        Inputs that are not allowed, or a sum of more terms than the limit.

    Source
    ------
    Pack collapse-hessian.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> float(collapse_loss(torch.ones(1, 1), population, "simple"))
    -2.25
    """
    spec, strength = loss_spec(loss, **loss_parameters), _strength(beta)
    if weight.ndim != 2 or weight.shape[1] != population.dimension:
        raise InputError(f"weight of shape {tuple(weight.shape)}: must have {population.dimension} columns")
    count_terms(population, spec)
    population = population.to(weight.device, weight.dtype)
    outputs = population.flat_points @ weight.T
    far = 0.5 * (outputs.unsqueeze(1) - outputs).square().sum(-1)
    size, spread = population.size, population.augmentations
    near = torch.einsum("mamb->mab", far.reshape(size, spread, size, spread)).flatten(0, 1)
    # Every tuple of negatives of an anchor, with its probability.
    number = torch.arange(len(far) ** spec.negatives, device=far.device)
    chosen = torch.stack([(number // len(far) ** k) % len(far) for k in range(spec.negatives)], dim=-1)
    chance = population.flat_weights[chosen].prod(-1)
    shape = (*near.shape, len(number))
    tuples = far[:, chosen].unsqueeze(1).expand(*shape, spec.negatives)
    values = loss_value(spec, near.unsqueeze(-1).expand(shape), tuples) @ chance
    inner = population.augmentation_weights.repeat_interleave(spread, 0)
    return torch.einsum("a,ab,ab->", population.flat_weights, inner, values + strength * near)


def collapse_hessian(
    population: FinitePopulation,
    outputs: int,
    loss: str | LossSpec,
    beta: Real = 0.0,
    **loss_parameters: Any,
) -> Float[Tensor, "p p"]:
    """Hessian of ``E[L] + beta E[r_+]`` by vec W of a linear layer at W = 0, in closed form.

    Parameters
    ----------
    population : FinitePopulation
        Points and augmentations with their weights.
    outputs : int
        n_1, the number of outputs.
    loss, beta, **loss_parameters
        As in :func:`collapse_loss`.

    Returns
    -------
    Tensor
        ``(n_1 n_0, n_1 n_0)``, columns of W stacked. Positive definite: collapse is a strict minimum; with a negative
        eigenvalue it is none.

    Raises
    ------
    InputError
        Inputs that are not allowed.

    Source
    ------
    Pack collapse-hessian; Ziyin et al. (2022) for one layer without a within-pair term.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> collapse_hessian(population, 1, "simple", beta=-0.5)
    tensor([[-5.]], dtype=torch.float64)
    """
    spec, strength = loss_spec(loss, **loss_parameters), _strength(beta)
    if not is_integer(outputs, 1):
        raise InputError(f"outputs={outputs!r}: must be an integer >= 1")
    points, p = population.points, population.point_weights
    means = population.mean(population.flat_points)
    centred = means - p @ means
    variance = torch.einsum("m,mi,mj->ij", p, centred, centred)
    deviation = points - means.unsqueeze(1)
    spread = torch.einsum("m,ma,mai,maj->ij", p, population.augmentation_weights, deviation, deviation)
    zero = points.new_zeros(())
    pull, _ = loss_derivatives(spec, zero, points.new_zeros(spec.negatives))
    identity = torch.eye(outputs, dtype=points.dtype, device=points.device)
    return torch.kron((2 * strength * spread - 2 * pull * variance).contiguous(), identity)


def _strength(beta: Real) -> float:
    """A finite number of either sign."""
    strength = as_number(beta)
    if math.isnan(strength):
        raise InputError(f"beta={beta!r}: must be a finite number, of either sign")
    return strength
