"""The key identity ``K_l^T vec W_l = f_L`` of section 0 on one instance, in rationals and in float64.

Statements 1, 3 and 4 stand on it: a homogeneous network is linear in every one of its layers.
"""

from __future__ import annotations

import numpy as np
from flint import fmpq

from verify.engine.evidence import Measurement
from verify.instances.instance import PairInstance
from verify.tolerance import rounding
from verify.towers.tower import Tower, connection, exact_tower, float_towers, largest, vec


def difference(tower: Tower, layer: int) -> np.ndarray:
    """``K_l^T vec W_l - f_L`` of one layer (counted from 1), shape (n_L,), in the arithmetic of the tower."""
    return connection(tower, layer).T @ vec(tower.weights[layer - 1]) - tower.output


def measure_exact(instance: PairInstance) -> Measurement:
    """Both towers of an instance, every layer, in rationals: any difference refutes.

    Examples
    --------
    >>> from verify.instances.samples import toy_pairs
    >>> measure_exact(next(toy_pairs(0, 1))).residual
    0.0
    """
    worst, place = 0.0, ""
    for name, weights, x in _towers(instance):
        one = exact_tower(weights, x, instance.slope)
        for layer in range(1, one.depth + 1):
            found = largest(difference(one, layer) * fmpq(1))
            if found > worst:
                worst, place = found, f"{name}, layer {layer}"
    return Measurement(worst, 0.0, detail=place)


def measure_float(instance: PairInstance, device: str = "cpu") -> Measurement:
    """The same with activations, Jacobians and outputs of `numeric` in float64, within what rounding can explain.

    Both sides are sums over the same paths through the network; each is within Higham's bound of the value, which is
    at most the output of the tower at absolute values. A gate near its kink decides nothing.

    Examples
    --------
    >>> from verify.instances.samples import toy_pairs
    >>> measure_float(next(toy_pairs(0, 1))).status
    'holds'
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
    return [
        ("first tower", instance.weights_1, instance.x_1),
        ("second tower", instance.weights_2, instance.x_2),
    ]
