"""False definitions that more than one statement must tell apart from the true ones."""

from __future__ import annotations

import numpy as np

from verify.towers.tower import Array, Tower, connection


def swapped(tower: Tower, layer: int) -> Array:
    """J^T kron f in place of f kron J^T."""
    return np.kron(tower.jacobians[layer - 1].T, tower.activations[layer - 1][:, None])


def after_gate(tower: Tower, layer: int) -> Array:
    """d f_L / d f_l in place of d f_L / d p_l: the gate of layer l left out."""
    if layer == tower.depth:
        return connection(tower, layer)
    jacobian = tower.jacobians[layer] @ tower.weights[layer]
    return np.kron(tower.activations[layer - 1][:, None], jacobian.T)


def gate_on_top(tower: Tower, layer: int) -> Array:
    """The gate of the top layer applied, which the network does not have."""
    jacobian = tower.gates[-1][:, None] * tower.jacobians[layer - 1]
    return np.kron(tower.activations[layer - 1][:, None], jacobian.T)


def row_stacked(tower: Tower, layer: int) -> Array:
    """vec of the weights by rows."""
    return tower.weights[layer - 1].reshape(-1)
