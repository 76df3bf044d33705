"""Size of the covariance operators of the head, by the Gram matrix of their columns: nothing of size p x p.

``V_x[Kbar_l]`` acts on ``p = n_l n_{l-1}`` weights, 262,144 in a head of 512-512-128. On a finite population it is
``C C^T`` with ``M n_L`` columns ``sqrt(p(x)) (Kbar(x) - E Kbar)``, so that ``C^T C`` has its trace, its norm and its
eigenvalues but for zeros. The columns themselves are not formed either: ``K = f kron J^T`` gives their products as
``K^T K' = (f . f') J J'^T``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import eigsh
from torch import Tensor

from numeric.studies.images.network import Network
from numeric.towers.connection import ConnectionFactors, connection_factors
from numeric.towers.populations import FinitePopulation


@dataclass(frozen=True)
class OperatorSize:
    """The covariance operator ``V_x[Kbar_l]`` of a layer of the head.

    Attributes
    ----------
    layer : int
    trace, top : float
        ``top`` is the largest eigenvalue.
    rank : float
        The effective one, ``tr(OP)^2 / ||OP||_F^2``; 0 for an operator that is zero.
    """

    layer: int
    trace: float
    top: float
    rank: float


def gram_matrix(factors: ConnectionFactors, population: FinitePopulation) -> Float[Tensor, "q q"]:
    """``C^T C``, ``q = M n_L``: it has the eigenvalues of ``V_x[Kbar_l]``, but for zeros.

    Parameters
    ----------
    factors : ConnectionFactors
        Of one layer, at all augmented points.
    population : FinitePopulation

    Returns
    -------
    Tensor
        Symmetric to rounding; the outputs of one point are neighbours.

    Source
    ------
    Statement 3; ``K_l = f_{l-1} kron J_l^T``.
    """
    size, count = population.size, population.augmentations
    top, above = factors.jacobian.shape[-2:]
    mean = factors.jacobian.reshape(size, count, top, above) * population.augmentation_weights.reshape(
        size, count, 1, 1
    )
    below = factors.activation.reshape(size, count, -1)
    right = mean.permute(0, 1, 3, 2).reshape(size, count * above, top)
    found = mean.new_zeros(size, top, size, top)
    for x in range(size):
        # Products of x with itself and all later points; the earlier ones are there already.
        inner = torch.einsum("ai,ybi->yba", below[x], below[x:])
        left = (inner.reshape(-1, count) @ mean[x].reshape(count, -1)).reshape(-1, count, top, above)
        block = left.transpose(1, 2).reshape(size - x, top, count * above) @ right[x:]
        found[x, :, x:] = block.transpose(0, 1)
        found[x:, :, x] = block.transpose(1, 2)
    for axis in (0, 2):
        found = found - torch.tensordot(found, population.point_weights, dims=([axis], [0])).unsqueeze(axis)
    root = population.point_weights.sqrt()
    return (found * root.reshape(-1, 1, 1, 1) * root.reshape(-1, 1)).reshape(size * top, size * top)


def _largest(matrix: Tensor) -> float:
    """Largest eigenvalue of a symmetric matrix, by Lanczos: all of them take minutes at 4,096 rows."""
    start = np.random.default_rng(0).standard_normal(len(matrix))
    return float(eigsh(matrix.cpu().numpy(), k=1, which="LA", v0=start, return_eigenvectors=False)[0])


def operator_sizes(network: Network, population: FinitePopulation) -> list[OperatorSize]:
    """Size of ``V_x[Kbar_l]`` of both layers of the head.

    Parameters
    ----------
    network : Network
        The two matrices of its head are used, in float64; a batch normalisation between them is left out.
    population : FinitePopulation
        Of features.

    Returns
    -------
    list of OperatorSize
    """
    weights = [network.head.first.weight.detach().double(), network.head.second.weight.detach().double()]
    found = []
    for layer, factors in enumerate(connection_factors(weights, population.flat_points), start=1):
        gram = gram_matrix(factors, population)
        trace, square = float(gram.trace()), float(gram.square().sum())
        zero = square == 0
        rank = 0.0 if zero else trace**2 / square
        found.append(OperatorSize(layer, trace, 0.0 if zero else _largest(gram), rank))
    return found
