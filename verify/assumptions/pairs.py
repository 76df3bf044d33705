"""Networks on which Theorem 1 must fail: biases with ReLU, smooth activations, batch normalisation.

Two inputs go through one network (shared weights, both towers), for which the statement reads
``vec(dr/dW_l) = (K_1 - K_2)(K_1 - K_2)^T vec W_l`` with ``K_l = f_{l-1} kron (d f_L / d p_l)^T``. Every Jacobian is
taken by automatic differentiation with respect to an addition to p_l, so that the connection is defined for any
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.engine.evidence import Measurement
from verify.instances import samples
from verify.instances.instance import PairInstance
from verify.tolerance import rounding

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PairNetwork:
    """A network by its activation, with or without biases and batch normalisation over the two inputs."""

    name: str
    activation: str
    biases: bool = False
    batch_norm: bool = False

    def run(self, weights: Sequence[Tensor], x: Tensor, added: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Outputs (2, n_L) and the activations f_0 .. f_{L-1}, with `added` (2, n_l) on every pre-activation."""
        import torch

        act = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "linear": lambda p: p}
        activations, value = [], x
        for layer, (w, extra) in enumerate(zip(weights, added, strict=True), start=1):
            activations.append(value)
            value = value @ w.T + extra
            if self.biases:
                # Any biases that do not depend on the weights by differentiation will do.
                value = value + (0.75 * w[:, 0] + 0.25).detach()
            if layer == len(weights):
                break
            if self.batch_norm:
                centred = value - value.mean(0)
                value = centred / (centred.square().mean(0) + 1e-5).sqrt()
            value = act[self.activation](value)
        return value, activations


BROKEN = (
    PairNetwork("biases with ReLU", "relu", biases=True),
    PairNetwork("tanh", "tanh"),
    PairNetwork("GELU", "gelu"),
    PairNetwork("batch normalisation", "relu", batch_norm=True),
)
SOUND = (PairNetwork("ReLU", "relu"), PairNetwork("linear with biases, which cancel", "linear", biases=True))


def sides(
    network: PairNetwork, instance: PairInstance, dtype: str, device: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """dr/dW_l by automatic differentiation, and (K_1 - K_2)(K_1 - K_2)^T vec W_l, both as matrices."""
    import torch

    kind = getattr(torch, dtype)
    weights = [torch.as_tensor(np.asarray(w), dtype=kind, device=device) for w in instance.weights_1]
    x = torch.as_tensor(np.array([instance.x_1, instance.x_2]), dtype=kind, device=device)
    for w in weights:
        w.requires_grad_()
    added = [torch.zeros(2, len(w), dtype=kind, device=device, requires_grad=True) for w in weights]
    output, activations = network.run(weights, x, added)
    r = 0.5 * (output[0] - output[1]).square().sum()
    left = torch.autograd.grad(r, weights, retain_graph=True)
    right = []
    for w, extra, f in zip(weights, added, activations, strict=True):
        rows = []
        for i in range(output.shape[1]):
            own = [torch.autograd.grad(output[n, i], extra, retain_graph=True)[0][n] for n in range(2)]
            # Row i of (K_1 - K_2)^T as a matrix shaped like W.
            rows.append(own[0][:, None] * f[0] - own[1][:, None] * f[1])
        gaps = torch.stack(rows)
        right.append(torch.einsum("ibc,i->bc", gaps, (gaps * w).sum(dim=(1, 2))))
    return [g.detach().cpu().numpy() for g in left], [g.detach().cpu().numpy() for g in right]


def measure(network: PairNetwork, instance: PairInstance, device: str) -> Measurement:
    """The statement on one network and one pair."""
    left, right = sides(network, instance, "float64", device)
    left_32, right_32 = sides(network, instance, "float32", device)
    bound = rounding.measured_tolerance(left, left_32) + rounding.measured_tolerance(right, right_32)
    worst = Measurement(0.0, bound)
    for layer, (a, b) in enumerate(zip(left, right, strict=True), start=1):
        worst = rounding.worse(worst, np.abs(a - b), np.array(bound), f"{network.name}, layer {layer}")
    return worst


def pairs(seed: int, count: int) -> list[PairInstance]:
    """Gaussian inputs through two layers."""
    rng = samples.generator(seed, "pairs for assumptions")
    found = []
    for _ in range(count):
        weights = samples.normal_weights(rng, (4, 5, 3))
        x_1, x_2 = (tuple(float(v) for v in rng.standard_normal(4)) for _ in range(2))
        found.append(PairInstance(0.0, weights, weights, x_1, x_2))
    return found
