"""Statement 4 at any spread: the whole update as a sum over pairs, theta included.

Theorem 1 gives the gradient of a distance, Theorem 2 the weights of the distances. Together,

``-E[grad_{W_l} L] = E[ w_- (K_1 - K_-)(f_1 - f_-) - w_+ (K_1 - K_+)(f_1 - f_+) ]``

with ``w_+ = dL/dr_+``, ``w_- = -dL/dr_-`` and H = 1. The leading term of statement 4 is this sum at augmentation means,
and theta is what is left.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from verify.engine.evidence import Measurement
from verify.instances.in_torch import population_of, weights_of
from verify.instances.instance import PopulationInstance
from verify.towers.autograd import compare

# The weights of the pairs are summed over triples (x_1, x_+, x_-) held at once for one point.
TRIPLE_LIMIT = 2**22


def pair_weights(instance: PopulationInstance, outputs: np.ndarray, device: str) -> np.ndarray:
    """S, (N, N) and symmetric: total weight of ``(K_i - K_j)(f_i - f_j)``, repulsion positive."""
    import torch

    import numeric

    spec = numeric.loss_spec(instance.loss, **instance.options)
    population = population_of(instance, device)
    spread, joint = population.augmentations, population.flat_weights
    if spread**2 * len(outputs) > TRIPLE_LIMIT:
        raise ValueError(f"{spread**2 * len(outputs)} triples of one point are more than {TRIPLE_LIMIT}")
    f = torch.as_tensor(outputs, device=device)
    r = torch.stack([0.5 * (f - row).square().sum(-1) for row in f])
    omega = torch.zeros_like(r)
    for m in range(population.size):
        own = slice(m * spread, (m + 1) * spread)
        pull, push = numeric.loss_derivatives(
            spec,
            r[own, own][:, :, None].expand(spread, spread, len(f)).contiguous(),
            r[own][:, None, :].expand(spread, spread, len(f))[..., None].contiguous(),
        )
        pairs = joint[own][:, None] * population.augmentation_weights[m][None, :]
        omega[own, own] -= pairs * (pull @ joint)
        omega[own] -= torch.einsum("ab,abk->ak", pairs, push[..., 0]) * joint
    return (omega + omega.T).cpu().numpy()


@lru_cache(maxsize=64)
def update(instance: PopulationInstance, device: str) -> tuple[np.ndarray, ...]:
    """-E[grad] of every layer by the pair form, on `numeric`'s connections."""
    import numeric

    weights, population = weights_of(instance, device), population_of(instance, device)
    factors = numeric.connection_factors(weights, population.flat_points, instance.slope)
    outputs = numeric.trace(weights, population.flat_points, instance.slope).preactivations[-1].cpu().numpy()
    s = pair_weights(instance, outputs, device)
    u = s.sum(axis=1)[:, None] * outputs - s @ outputs
    found = []
    for factor in factors:
        backward = np.einsum("nib,ni->nb", factor.jacobian.cpu().numpy(), u)
        found.append(backward.T @ factor.activation.cpu().numpy())
    return tuple(found)


def measure(instance: PopulationInstance, device: str = "cpu") -> Measurement:
    """Automatic differentiation of the literal sum against the pair form, with augmentation."""
    return compare(instance, {"pair form": update(instance, device)}, device)
