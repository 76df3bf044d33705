"""Statements 1, 3 and 4 in floating point: automatic differentiation against formulas, within rounding-error bounds.

Besides the update of a population and the candidates for it: the pair of towers of statement 1, and its l2-normalised
outputs; the pair form of statement 4, which holds at any spread; the key identity ``K_l^T vec W_l = f_L``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

import numeric
from verify.engine.evidence import Measurement
from verify.instances.in_torch import arrays_of, population_of, weights_of
from verify.instances.instance import PairInstance, PopulationInstance
from verify.tolerance import rounding
from verify.towers.tower import Array, Tower, connection, exact_tower, float_towers, measure_differences, tensors, vec

# Entries of a weight matrix, up to which its operator is also built as a dense matrix.
DENSE_LIMIT = 1024
# The weights of the pairs are summed over triples (x_1, x_+, x_-) in memory together for one point.
TRIPLE_LIMIT = 2**22


@lru_cache(maxsize=512)
def autograd_update(instance: PopulationInstance, device: str) -> tuple[list[Array], list[Array], bool]:
    """-E[grad] per layer, entrywise bounds of the rounding error, and whether a gate is near its kink."""
    population, options = population_of(instance, device), instance.options
    update = numeric.population_gradient(
        weights_of(instance, device), population, instance.loss, instance.slope, **options
    )
    negatives = instance.negatives
    bounds, near = rounding.population_bounds(
        [np.asarray(w) for w in instance.weights],
        np.asarray(instance.points),
        population.point_weights.cpu().numpy(),
        population.augmentation_weights.cpu().numpy(),
        instance.slope,
        lipschitz=0.0 if instance.loss == "simple" else negatives / options.get("tau", 0.1),
    )
    # Each of H negatives adds a pair of its own to the sum.
    return arrays_of(update), [bound * negatives for bound in bounds], near


def compare(instance: PopulationInstance, sides: Mapping[str, Sequence[Array]], device: str) -> Measurement:
    """Automatic differentiation against candidates for -E[grad], each a list of matrices, one for each layer."""
    update, bounds, near = autograd_update(instance, device)
    worst = Measurement(0.0, float(max(b.max() for b in bounds)))
    for name, side in sides.items():
        for layer, (left, right, bound) in enumerate(zip(update, side, bounds, strict=True), start=1):
            worst = rounding.worse_of(worst, right, left, bound, f"layer {layer}, {name}")
    return worst if not near else Measurement(worst.residual, worst.tolerance, False, "a gate is near its kink")


def predicted(instance: PopulationInstance, device: str) -> list[Array]:
    """``2 V[Kbar] vec W`` or ``V^xi vec W`` by the matrix-free operator of `numeric`."""
    weights, population = weights_of(instance, device), population_of(instance, device)
    return arrays_of(numeric.predicted_update(weights, population, instance.loss, instance.slope, **instance.options))


def operator_updates(instance: PopulationInstance, device: str) -> dict[str, list[Array]]:
    """`predicted`, and the same by dense operators where these are small enough."""
    sides = {"matrix-free": predicted(instance, device)}
    weights, population = weights_of(instance, device), population_of(instance, device)
    if max(w.numel() for w in weights) <= DENSE_LIMIT:
        factor, dense = 2 if instance.loss == "simple" else 1, []
        for layer, w in enumerate(weights, start=1):
            operator = numeric.covariance_operator(
                weights, population, layer, instance.loss, instance.slope, **instance.options
            )
            dense.append(numeric.unvec(factor * operator @ numeric.vec(w), w.shape[0]))
        sides["dense"] = arrays_of(dense)
    return sides


def scheme_update(instance: PopulationInstance, scheme: str, device: str, dtype: Any) -> list[Array]:
    """-E[grad] of the simple loss by automatic differentiation, under a sampling scheme that statement 3 excludes.

    Schemes: `dependent-augmentations` (x_+ = x_1), `x1-not-augmented` (x_1 is the first augmentation of the list).
    """
    import torch

    weights = [w.to(dtype).requires_grad_() for w in weights_of(instance, device)]
    population = population_of(instance, device).to(device, dtype)
    spread, q = population.augmentations, population.augmentation_weights
    first = torch.zeros_like(q)
    first[:, 0] = 1
    first = first if scheme == "x1-not-augmented" else q
    f = numeric.forward(weights, population.flat_points, instance.slope)
    r = 0.5 * (f[:, None] - f[None]).square().sum(-1)
    far = ((population.point_weights[:, None] * first).reshape(-1) @ r) @ population.flat_weights
    near = torch.zeros_like(far)
    if scheme == "x1-not-augmented":
        blocks = torch.stack([r[m : m + spread, m : m + spread] for m in range(0, len(r), spread)])
        near = torch.einsum("m,ma,mb,mab->", population.point_weights, first, q, blocks)
    gradient = torch.autograd.grad(far - near, weights)
    return arrays_of(gradient)


def compare_scheme(instance: PopulationInstance, scheme: str, side: Sequence[Array], device: str) -> Measurement:
    """Automatic differentiation under a sampling scheme against a candidate for -E[grad]."""
    import torch

    double, single = (scheme_update(instance, scheme, device, dtype) for dtype in (torch.float64, torch.float32))
    # The candidate is made of the same outputs and Jacobians, so both sides may be off by as much.
    tolerance = 2 * rounding.measured_tolerance(double, single) + rounding.measured_tolerance(side, side)
    worst = Measurement(0.0, tolerance)
    for layer, (left, right) in enumerate(zip(double, side, strict=True), start=1):
        worst = rounding.worse_of(worst, right, left, np.array(tolerance), f"layer {layer}, {scheme}")
    return worst


def matrices(instance: PopulationInstance, columns: Sequence[Array]) -> list[Array]:
    """Column-stacked vectors of all layers as matrices shaped as the weights."""
    shapes = [np.asarray(w).shape for w in instance.weights]
    return [c.reshape(shape[1], shape[0]).T for c, shape in zip(columns, shapes, strict=True)]


# Statement 4 at any spread: the whole update as a sum over pairs, theta included.


def pair_weights(instance: PopulationInstance, outputs: np.ndarray, device: str) -> np.ndarray:
    """S, (N, N) and symmetric: total weight of ``(K_i - K_j)(f_i - f_j)``, repulsion positive."""
    import torch

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
    weights, population = weights_of(instance, device), population_of(instance, device)
    factors = numeric.connection_factors(weights, population.flat_points, instance.slope)
    outputs = numeric.trace(weights, population.flat_points, instance.slope).preactivations[-1].cpu().numpy()
    s = pair_weights(instance, outputs, device)
    u = s.sum(axis=1)[:, None] * outputs - s @ outputs
    result = []
    for factor in factors:
        backward = np.einsum("nib,ni->nb", factor.jacobian.cpu().numpy(), u)
        result.append(backward.T @ factor.activation.cpu().numpy())
    return tuple(result)


def measure(instance: PopulationInstance, device: str = "cpu") -> Measurement:
    """Automatic differentiation of the literal sum against the pair form, with augmentation."""
    return compare(instance, {"pair form": update(instance, device)}, device)


# Statement 1: a pair of towers.


@lru_cache(maxsize=512)
def pair_sides(instance: PairInstance, device: str) -> tuple[list[Array], Tower, Tower, list[Array], bool]:
    """Autograd gradients, both towers from `numeric`, tolerances per layer, and whether a gate is near its kink."""
    import torch

    x_1, x_2 = (torch.tensor(x, dtype=torch.float64, device=device) for x in (instance.x_1, instance.x_2))
    first, second = (tensors(weights, device) for weights in (instance.weights_1, instance.weights_2))
    gradient = [g.cpu().numpy() for g in numeric.pair_gradient(first, second, x_1, x_2, instance.slope)]
    one = float_towers(instance.weights_1, [instance.x_1], instance.slope, device)[0]
    two = float_towers(instance.weights_2, [instance.x_2], instance.slope, device)[0]
    bounds, near = pair_bounds(instance, one, two)
    return gradient, one, two, bounds, near


def pair_bounds(instance: PairInstance, one: Tower, two: Tower) -> tuple[list[Array], bool]:
    """Rounding-error bounds of both sides together, per layer and entry."""
    b_1 = rounding.magnitudes(one.weights, np.array([instance.x_1]), instance.slope)
    b_2 = rounding.magnitudes(two.weights, np.array([instance.x_2]), instance.slope)
    # Either side is J_1^T (f_1 - f_2) f_{1,l-1}^T, whether f is summed directly or as K^T vec W.
    roundings = 2 * (b_1.roundings + b_2.roundings) + 8
    u = b_1.output + b_2.output
    bounds = [2 * rounding.gamma(roundings) * vec(b_1.contract(layer, u)) for layer in range(1, one.depth + 1)]
    return bounds, bool(b_1.near_kink.any() or b_2.near_kink.any())


# The reversible extension of statement 1, l2-normalised outputs: forward connection J/||u||, backward P J/||u||.


def normalized_sides(instance: PairInstance, device: str, dtype: Any) -> tuple[list[Array], list[Array]]:
    """Autograd and formula for l2-normalised outputs, in the given precision."""
    import torch

    first, second = (tensors(weights, device, dtype) for weights in (instance.weights_1, instance.weights_2))
    x_1, x_2 = (torch.tensor([x], dtype=dtype, device=device) for x in (instance.x_1, instance.x_2))
    gradient = numeric.pair_gradient(first, second, x_1[0], x_2[0], instance.slope, output="normalized")
    factors_1 = numeric.normalized_connections(first, x_1, instance.slope)
    factors_2 = numeric.normalized_connections(second, x_2, instance.slope)
    right = []
    for w_1, w_2, (forward_1, backward_1), (forward_2, _) in zip(first, second, factors_1, factors_2, strict=True):
        k_f1, k_f2, k_b1 = (k.dense()[0] for k in (forward_1, forward_2, backward_1))
        right.append(k_b1 @ (k_f1.T @ numeric.vec(w_1) - k_f2.T @ numeric.vec(w_2)))
    return [vec(g.cpu().numpy()) for g in gradient], [side.cpu().numpy() for side in right]


def measure_normalized(instance: PairInstance, device: str = "cpu") -> Measurement:
    """The reversible extension: l2-normalised outputs, forward and backward connections."""
    import torch

    towers = (
        exact_tower(instance.weights_1, instance.x_1, instance.slope),
        exact_tower(instance.weights_2, instance.x_2, instance.slope),
    )
    if not all(any(entry != 0 for entry in tower.output) for tower in towers):
        return Measurement(0.0, 0.0, False, "an output is zero and has no direction")
    double, single = (normalized_sides(instance, device, dtype) for dtype in (torch.float64, torch.float32))
    return rounding.measure_precisions(double, single, "normalised output, layer")


# The key identity ``K_l^T vec W_l = f_L`` of section 0 on one instance, in rationals and in float64.


def difference(tower: Tower, layer: int) -> np.ndarray:
    """``K_l^T vec W_l - f_L`` of one layer (counted from 1), shape (n_L,), in the arithmetic of the tower."""
    return connection(tower, layer).T @ vec(tower.weights[layer - 1]) - tower.output


def measure_exact(instance: PairInstance) -> Measurement:
    """Both towers of an instance, every layer, in rationals: any difference refutes."""
    towers = [(name, exact_tower(weights, x, instance.slope)) for name, weights, x in _towers(instance)]
    return measure_differences(
        (difference(one, layer), f"{name}, layer {layer}") for name, one in towers for layer in range(1, one.depth + 1)
    )


def measure_float(instance: PairInstance, device: str = "cpu") -> Measurement:
    """The same with activations, Jacobians and outputs of `numeric` in float64, within what rounding can explain.

    Both sides are sums over the same paths through the network; each is within Higham's bound of the value, which is
    at most the output of the tower at absolute values. A gate near its kink decides nothing.
    """
    worst, near = Measurement(0.0, 0.0), False
    for name, weights, x in _towers(instance):
        one = float_towers(weights, [x], instance.slope, device)[0]
        bounds = rounding.magnitudes(one.weights, np.array([x]), instance.slope)
        near |= bool(bounds.near_kink.any())
        for layer in range(1, one.depth + 1):
            size = one.weights[layer - 1].size
            allowed = 2 * rounding.gamma(bounds.roundings + size + 2) * bounds.output[0]
            worst = rounding.worse(worst, np.abs(difference(one, layer)), allowed, f"{name}, layer {layer}")
    return worst if not near else Measurement(worst.residual, worst.tolerance, False, "a gate is near its kink")


def _towers(instance: PairInstance) -> list[tuple[str, tuple, tuple]]:
    return [("first tower", instance.weights_1, instance.x_1), ("second tower", instance.weights_2, instance.x_2)]
