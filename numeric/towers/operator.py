"""Covariance operators of statements 3 and 4: dense, and the updates that they predict, matrix-free.

Simple loss: ``V_x[Kbar] = E[Kbar Kbar^T] - E[Kbar] E[Kbar]^T``. Other losses: ``V^xi_{x,x'}[Kbar(x) -
Kbar(x')]``, which is a graph Laplacian form, ``2 G (L kron I) G^T`` with the columns ``G`` of all Kbar and
``L = diag(row sums of Xi) - Xi``. The simple one is the same form with ``Xi = w w^T``, up to the factor 2:
there ``L = diag(w) - w w^T``. Only ``covariance_operator`` forms a matrix of size p x p.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, Weights, check_layer, check_single
from numeric.towers.connection import ConnectionFactors, connection_factors
from numeric.towers.losses import LossSpec, loss_spec, pair_weight
from numeric.towers.network import slices
from numeric.towers.populations import FinitePopulation

TERM_LIMIT = 10**9
_CHUNK = 2**20  # numbers in memory at a time while pair weights of several negatives are summed


def pair_matrix(
    spec: LossSpec, outputs: Float[Tensor, "M n_L"], point_weights: Float[Tensor, " M"]
) -> Float[Tensor, "M M"]:
    """Symmetric weights ``Xi`` of all pairs of points, point weights included.

    For H > 1 the weight of ``(x, x')`` is ``sum_k E[xi_k | x, x'_k = x']`` over the other negatives, made
    symmetric, since only the symmetric part acts on the operator.

    Parameters
    ----------
    spec : LossSpec
        The loss.
    outputs : Tensor
        Between which ``r`` is measured, one row per point.
    point_weights : Tensor
        ``p(x)``.

    Returns
    -------
    Tensor
        ``(M, M)``, entries ``p(x) p(x') xi(x, x')``.

    Raises
    ------
    InputError
        More than :data:`TERM_LIMIT` terms.

    Source
    ------
    Statement 4.

    Examples
    --------
    >>> from numeric.towers.losses import loss_spec
    >>> half = torch.tensor([0.5, 0.5])
    >>> pair_matrix(loss_spec("triplet", tau=1.0), torch.tensor([[0.0], [0.0]]), half)
    tensor([[0.1250, 0.1250],
            [0.1250, 0.1250]])
    """
    size = len(outputs)
    if spec.negatives > 1 and size ** (spec.negatives + 1) > TERM_LIMIT:
        terms = size ** (spec.negatives + 1)
        raise InputError(f"negatives={spec.negatives} over {size} points: {terms} terms: must be at most {TERM_LIMIT}")
    distances = torch.stack([0.5 * (outputs - row).square().sum(-1) for row in outputs])
    if spec.negatives == 1:
        strength = pair_weight(spec, distances.unsqueeze(-1)).squeeze(-1)
    else:
        strength = _several_negatives(spec, distances, point_weights)
    weighted = point_weights.unsqueeze(1) * strength * point_weights
    return 0.5 * (weighted + weighted.T)


def _several_negatives(spec: LossSpec, distances: Tensor, point_weights: Tensor) -> Tensor:
    """``H E[xi_1 | x, x'_1 = x']``, the others drawn from the population: the negatives are exchangeable."""
    decay = torch.exp(-distances / spec.tau)
    rows = []
    for own in decay:
        others, weights = own, point_weights
        for _ in range(spec.negatives - 2):
            others = (others.unsqueeze(1) + own).flatten()
            weights = (weights.unsqueeze(1) * point_weights).flatten()
        row = torch.zeros_like(own)
        for part in slices(len(others), _CHUNK // len(own)):
            row += (own.unsqueeze(1) / (1 + own.unsqueeze(1) + others[part])) @ weights[part]
        rows.append(spec.negatives * row)
    return torch.stack(rows)


def pair_laplacian(
    spec: LossSpec,
    population: FinitePopulation,
    outputs: Float[Tensor, "MA n_L"],
    distances_from: Float[Tensor, "M n_L"] | None = None,
) -> Float[Tensor, "M M"]:
    """``L = diag(row sums of Xi) - Xi``, positive semidefinite, rows summing to zero."""
    base = population.mean(outputs) if distances_from is None else distances_from
    if base.ndim != 2 or base.shape[0] != population.size:
        raise InputError(
            f"distances_from of shape {tuple(base.shape)}: must have {population.size} rows, one per point"
        )
    weights = pair_matrix(spec, base, population.point_weights)
    return torch.diag(weights.sum(1)) - weights


class Coupling:
    """Coupling of the points in an operator: ``y -> 2 L y``, or ``y -> w (y - E y)`` for the simple loss.

    The operator of the simple loss is then ``V_x[Kbar]``, half of the update, and nothing M x M is formed.
    """

    def __init__(self, population: FinitePopulation, laplacian: Float[Tensor, "M M"] | None = None) -> None:
        self.weights = population.point_weights
        self.laplacian = laplacian

    def centred(self, values: Float[Tensor, "M *rest"]) -> Float[Tensor, "M *rest"]:
        """Values minus their mean, which leaves the result unchanged and avoids cancellation."""
        flat = values.flatten(1)
        return (flat - self.weights @ flat).reshape(values.shape)

    def apply(self, values: Float[Tensor, "M *rest"]) -> Float[Tensor, "M *rest"]:
        flat = values.flatten(1)
        moved = self.weights.unsqueeze(1) * flat if self.laplacian is None else 2 * (self.laplacian @ flat)
        return moved.reshape(values.shape)

    def update(self, values: Float[Tensor, "M *rest"]) -> Float[Tensor, "M *rest"]:
        """Apply the coupling to one value per point, with the factor 2 of the update of the simple loss."""
        moved = self.apply(self.centred(values))
        return 2 * moved if self.laplacian is None else moved


def coupling(
    population: FinitePopulation,
    spec: LossSpec,
    outputs: Float[Tensor, "MA n_L"],
    distances_from: Float[Tensor, "M n_L"] | None = None,
) -> Coupling:
    """Build the coupling of a loss; distances are those of the augmentation means without `distances_from`."""
    if spec.name == "simple":
        return Coupling(population)
    return Coupling(population, pair_laplacian(spec, population, outputs, distances_from))


_COLUMNS = 2**23  # numbers of G in memory at a time: 64 MB in double precision
_BLOCK = 512  # rows of the operator per product; only the upper triangle of blocks is computed


def _mean_columns(factors: ConnectionFactors, population: FinitePopulation, part: slice) -> Tensor:
    """``Kbar`` of every point for some outputs, ``(M, outputs, n_in * n_out)``; no single K is formed."""
    size, count = population.size, population.augmentations
    below = factors.activation.reshape(size, 1, count, -1)
    above = factors.jacobian[:, part].reshape(size, count, -1, factors.jacobian.shape[-1]).transpose(1, 2)
    weighted = below * population.augmentation_weights.reshape(size, 1, count, 1)
    return torch.matmul(weighted.mT, above).flatten(-2)


def _add_gram(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left^T right`` on the upper triangle of blocks."""
    for rows in slices(len(total), _BLOCK):
        total[rows, rows.start :].addmm_(left[:, rows].T, right[:, rows.start :])


@torch.no_grad()
def covariance_operator(
    weights: Weights,
    population: FinitePopulation,
    layer: int,
    loss: str | LossSpec = "simple",
    slope: Real = 0.0,
    *,
    distances_from: Float[Tensor, "M n_L"] | None = None,
    **loss_parameters: Any,
) -> Float[Tensor, "p p"]:
    """Covariance operator of a layer, dense, without the factor 1/2 of the paper's one-branch form.

    Parameters
    ----------
    weights : sequence of arrays
        ``W_1 .. W_L`` of one network.
    population : FinitePopulation
        Points and augmentations.
    layer : int
        The paper's l, 1 .. L.
    loss : str
        ``"simple"``, ``"triplet"`` or ``"infonce"``.
    slope : float
        Slope of the activation below zero, in [0, 1].
    distances_from : Tensor, optional
        ``(M, n_L)``, the outputs between which ``r`` is measured (those of unaugmented points, say); the
        augmentation means of ``f_L`` without it. The simple loss does not look at it.
    **loss_parameters
        ``tau``, ``margin``, ``negatives``.

    Returns
    -------
    Tensor
        ``(p, p)`` with ``p = n_l n_{l-1}``, exactly symmetric: ``V_x[Kbar_l]`` for the simple loss, else
        ``V^xi_{x,x'}[Kbar_l(x) - Kbar_l(x')]``. Rows follow ``vec``.

    Raises
    ------
    InputError
        Inputs that are not allowed.

    Source
    ------
    Statements 3 and 4.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> covariance_operator([[[1.0]]], population, 1)
    tensor([[2.2500]], dtype=torch.float64)
    """
    spec = loss_spec(loss, **loss_parameters)
    layers = check_single(weights)
    factors = connection_factors(layers, population.flat_points, slope)[check_layer(layer, len(layers)) - 1]
    outputs = factors.adjoint_apply(layers[layer - 1])
    acting = coupling(population, spec, outputs, distances_from)
    size, top = layers[layer - 1].numel(), layers[-1].shape[0]
    total = outputs.new_zeros(size, size)
    for part in slices(top, _COLUMNS // (population.size * size)):
        columns = acting.centred(_mean_columns(factors, population, part))
        moved = acting.apply(columns)
        _add_gram(total, columns.flatten(0, 1), moved.flatten(0, 1))
    return total.triu_() + total.triu(1).T


@torch.no_grad()
def predicted_update(
    weights: Weights,
    population: FinitePopulation,
    loss: str | LossSpec = "simple",
    slope: Real = 0.0,
    *,
    distances_from: Float[Tensor, "M n_L"] | None = None,
    **loss_parameters: Any,
) -> list[Tensor]:
    """Predicted update of every layer (shared convention): ``2 V[Kbar] vec W`` (simple), else ``V^xi vec W``.

    Parameters
    ----------
    weights, population, loss, slope, distances_from, **loss_parameters
        As in :func:`covariance_operator`.

    Returns
    -------
    list of Tensor
        One matrix per layer, shaped as the weights; computed from products only.

    Raises
    ------
    InputError
        Inputs that are not allowed.

    Source
    ------
    Right side of statements 3 and 4, without ``theta``.

    Examples
    --------
    >>> predicted_update([[[1.0]]], FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]]))
    [tensor([[4.5000]], dtype=torch.float64)]
    """
    spec = loss_spec(loss, **loss_parameters)
    layers = check_single(weights)
    factors = connection_factors(layers, population.flat_points, slope)
    acting = coupling(population, spec, factors[-1].adjoint_apply(layers[-1]), distances_from)
    return [
        factor.apply(population.mean_adjoint(acting.update(population.mean(factor.adjoint_apply(layer)))))
        for factor, layer in zip(factors, layers, strict=True)
    ]
