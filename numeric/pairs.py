"""How points act on each other in the operators of statements 3 and 4: pair weights and graph Laplacian.

With symmetric pair weights ``Xi`` (point weights included), ``V^xi[Kbar(x) - Kbar(x')] = 2 G (L kron I) G^T``
with the columns ``G`` of all Kbar and ``L = diag(row sums of Xi) - Xi``. The simple loss has ``Xi = w w^T``,
so ``L = diag(w) - w w^T``.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.losses import LossSpec, pair_weight
from numeric.towers.populations import FinitePopulation

TERM_LIMIT = 10**9
_CHUNK = 2**20  # numbers held at a time while pair weights of several negatives are summed


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
        step = max(1, _CHUNK // len(own))
        for start in range(0, len(others), step):
            total = 1 + own.unsqueeze(1) + others[start : start + step]
            row += (own.unsqueeze(1) / total) @ weights[start : start + step]
        rows.append(spec.negatives * row)
    return torch.stack(rows)


def pair_laplacian(
    spec: LossSpec,
    population: FinitePopulation,
    outputs: Float[Tensor, "MA n_L"],
    distances_from: Float[Tensor, "M n_L"] | None = None,
) -> Float[Tensor, "M M"]:
    """``L = diag(row sums of Xi) - Xi``, positive semidefinite, rows summing to zero.

    Parameters
    ----------
    spec : LossSpec
        The loss.
    population : FinitePopulation
        Points and weights.
    outputs : Tensor
        ``f_L`` of all augmented points.
    distances_from : Tensor, optional
        Outputs between which ``r`` is measured; augmentation means of ``outputs`` without it.

    Raises
    ------
    InputError
        ``distances_from`` without one row per point.
    """
    base = population.mean(outputs) if distances_from is None else distances_from
    if base.ndim != 2 or base.shape[0] != population.size:
        raise InputError(
            f"distances_from of shape {tuple(base.shape)}: must have {population.size} rows, one per point"
        )
    weights = pair_matrix(spec, base, population.point_weights)
    return torch.diag(weights.sum(1)) - weights


class Coupling:
    """How points act on each other: ``y -> 2 L y`` over the points; nothing M x M for the simple loss.

    For the simple loss it is half of that, ``y -> w (y - E y)``: the operator is then ``V_x[Kbar]``.

    Parameters
    ----------
    population : FinitePopulation
        Points and weights.
    laplacian : Tensor, optional
        ``L``; without it the coupling is that of the simple loss.
    """

    def __init__(self, population: FinitePopulation, laplacian: Float[Tensor, "M M"] | None = None) -> None:
        self.weights = population.point_weights
        self.laplacian = laplacian

    def centred(self, values: Float[Tensor, "M *rest"]) -> Float[Tensor, "M *rest"]:
        """Values minus their mean, which changes no result and keeps digits."""
        flat = values.flatten(1)
        return (flat - self.weights @ flat).reshape(values.shape)

    def apply(self, values: Float[Tensor, "M *rest"]) -> Float[Tensor, "M *rest"]:
        """Apply the coupling to centred values."""
        flat = values.flatten(1)
        moved = self.weights.unsqueeze(1) * flat if self.laplacian is None else 2 * (self.laplacian @ flat)
        return moved.reshape(values.shape)


def coupling(
    population: FinitePopulation,
    spec: LossSpec,
    outputs: Float[Tensor, "MA n_L"],
    distances_from: Float[Tensor, "M n_L"] | None = None,
) -> Coupling:
    """Build the coupling of a loss: see :class:`Coupling` and :func:`pair_laplacian`."""
    if spec.name == "simple":
        return Coupling(population)
    return Coupling(population, pair_laplacian(spec, population, outputs, distances_from))
