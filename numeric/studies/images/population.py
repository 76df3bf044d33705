"""Finite populations of real images, and the covariance operators of a head on them, in float64.

Some images with a list of augmentations each: an expectation is a finite sum, without sampling error. The operators are
measured by the Gram matrix of their columns: no matrix of size p x p is formed.
"""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import eigsh
from torch import Tensor

from numeric.studies.images.augment import Recipe, apply, draw
from numeric.studies.images.data import ImageData, pixels
from numeric.studies.images.network import BatchNorm, Network
from numeric.studies.images.training import THEORY, stream
from numeric.towers.connection import ConnectionFactors, connection_factors
from numeric.towers.populations import FinitePopulation


def image_population(
    data: ImageData, recipe: Recipe, images: int, augmentations: int, *, seed: int = 0, strength: float = 1.0
) -> FinitePopulation:
    """The first test images with a list of augmentations each, float64, flat: ``d = C H W``."""
    chosen = pixels(data.test[:images]).double().repeat_interleave(augmentations, 0)
    # Drawn at full strength, applied at this one: a path from the image to its augmentation.
    draws = draw(recipe, chosen.shape, stream(seed, THEORY), torch.float64)
    moved = apply(recipe.scaled(strength), chosen, draws) if strength > 0 else chosen
    return FinitePopulation(moved.reshape(len(chosen) // augmentations, augmentations, -1))


def in_double(network: Network) -> Network:
    """A copy in float64, in evaluation mode, without gradients."""
    result: Network = deepcopy(network).double().eval().requires_grad_(False)
    return result


def features(network: Network, population: FinitePopulation) -> FinitePopulation:
    """The population of the head: features of the encoder."""
    shape = network.shape
    with torch.no_grad():
        points = network.encoder(population.flat_points.reshape(-1, shape.channels, shape.side, shape.side))
    return FinitePopulation(points.unflatten(0, (population.size, -1)))


def typical_distance(outputs: Tensor, population: FinitePopulation) -> float:
    """Mean of ``r`` between augmentation means: as temperature it gives pair weights of order one."""
    means = population.mean(outputs)
    centred = means - population.point_weights @ means
    return float(population.point_weights @ centred.square().sum(-1))


def has_batch_norm(network: Network) -> bool:
    return any(isinstance(module, BatchNorm) for module in network.modules())


@dataclass(frozen=True)
class OperatorSize:
    """Trace, largest eigenvalue and effective rank of ``V_x[Kbar_l]`` of a layer of the head."""

    layer: int
    trace: float
    top: float
    rank: float


def gram_matrix(factors: ConnectionFactors, population: FinitePopulation) -> Float[Tensor, "q q"]:
    """``C^T C``, ``q = M n_L``: its eigenvalues are those of ``V_x[Kbar_l]``, except for zeros."""
    size, count = population.size, population.augmentations
    top, above = factors.jacobian.shape[-2:]
    mean = factors.jacobian.reshape(size, count, top, above) * population.augmentation_weights.reshape(
        size, count, 1, 1
    )
    below = factors.activation.reshape(size, count, -1)
    right = mean.permute(0, 1, 3, 2).reshape(size, count * above, top)
    result = mean.new_zeros(size, top, size, top)
    for x in range(size):
        # Products of x with itself and all later points; the rest follows by symmetry.
        inner = torch.einsum("ai,ybi->yba", below[x], below[x:])
        left = (inner.reshape(-1, count) @ mean[x].reshape(count, -1)).reshape(-1, count, top, above)
        block = left.transpose(1, 2).reshape(size - x, top, count * above) @ right[x:]
        result[x, :, x:] = block.transpose(0, 1)
        result[x:, :, x] = block.transpose(1, 2)
    for axis in (0, 2):
        result = result - torch.tensordot(result, population.point_weights, dims=([axis], [0])).unsqueeze(axis)
    root = population.point_weights.sqrt()
    return (result * root.reshape(-1, 1, 1, 1) * root.reshape(-1, 1)).reshape(size * top, size * top)


def _largest(matrix: Tensor) -> float:
    """Largest eigenvalue of a symmetric matrix, by Lanczos: all of them take minutes at 4,096 rows."""
    start = np.random.default_rng(0).standard_normal(len(matrix))
    return float(eigsh(matrix.cpu().numpy(), k=1, which="LA", v0=start, return_eigenvectors=False)[0])


def operator_sizes(network: Network, population: FinitePopulation) -> list[OperatorSize]:
    """Size of ``V_x[Kbar_l]`` of both layers of the head."""
    weights = [network.head.first.weight.detach().double(), network.head.second.weight.detach().double()]
    result = []
    for layer, factors in enumerate(connection_factors(weights, population.flat_points), start=1):
        gram = gram_matrix(factors, population)
        trace, square = float(gram.trace()), float(gram.square().sum())
        zero = square == 0
        rank = 0.0 if zero else trace**2 / square
        result.append(OperatorSize(layer, trace, 0.0 if zero else _largest(gram), rank))
    return result
