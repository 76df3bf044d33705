"""The quantities of one tower at one input, in any arithmetic, for the formulas of statements 1, 3 and 4.

A `Tower` holds NumPy arrays whose entries are float64, exact rationals (`flint.fmpq`) or balls (`flint.arb`); the
formulas use only `+`, `*`, `@` and `numpy.kron`, so that one formula serves every arithmetic. In float64 the
quantities come from `numeric`, in exact arithmetic from the recursions below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb, fmpq

import numeric
from verify.engine.evidence import Measurement

if TYPE_CHECKING:
    import torch

    from verify.engine.disagreement import Disagreement

Array = np.ndarray
Number = Callable[[float], Any]


@dataclass(frozen=True, eq=False)
class Tower:
    """One tower at one input."""

    weights: Sequence[Array]
    activations: Sequence[Array]
    jacobians: Sequence[Array]
    gates: Sequence[Array]
    output: Array

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return len(self.weights)


def rational(value: float) -> fmpq:
    """The float as the exact rational that it is."""
    return fmpq(*value.as_integer_ratio())


def ball(value: float) -> arb:
    """The float as a ball of radius zero."""
    return arb(rational(value))


def array(value: Any, number: Number) -> Array:
    """Nested tuples of floats as an array whose entries are made by `number`; float64 stays float64."""
    plain = np.asarray(value, dtype=np.float64)
    return plain if number is float else np.vectorize(number, otypes=[object])(plain)


def gate(preactivations: Array, slope: Any, one: Any) -> Array:
    """Diagonal of D: one where p > 0, else the slope, at exactly zero too (section 0)."""
    return np.array([one if bool(p > 0) else slope for p in preactivations], dtype=preactivations.dtype)


def forward(
    weights: Sequence[Array], x: Array, slope: Any, one: Any, frozen: Sequence[Array] | None = None
) -> tuple[list[Array], list[Array], Array]:
    """Activations f_0 .. f_{L-1}, gates D_1 .. D_L and the output f_L of one input; gates are given or its own."""
    activations, gates = [x], []
    p = x
    for layer, matrix in enumerate(weights, start=1):
        p = matrix @ activations[-1]
        gates.append(gate(p, slope, one) if frozen is None else frozen[layer - 1])
        if layer < len(weights):
            activations.append(gates[-1] * p)
    return activations, gates, p


def tower(weights: Sequence[Array], x: Array, slope: Any, one: Any, frozen: Sequence[Array] | None = None) -> Tower:
    """All quantities of one input, by the recursion J_l = J_{l+1} W_{l+1} D_l from J_L = I (section 0).

    With `frozen` gates the tower is that of the linear region they belong to.
    """
    activations, gates, output = forward(weights, x, slope, one, frozen)
    jacobians = [np.eye(len(output), dtype=output.dtype) * one]
    for layer in range(len(weights) - 1, 0, -1):
        jacobians.append((jacobians[-1] @ weights[layer]) * gates[layer - 1])
    return Tower(weights, activations, jacobians[::-1], gates, output)


@lru_cache(maxsize=4096)
def exact_tower(weights: tuple, x: tuple, slope: float) -> Tower:
    """The tower of nested tuples of floats, in exact rationals."""
    return tower([array(w, rational) for w in weights], array(x, rational), rational(slope), fmpq(1))


def tensors(weights: Iterable[Any], device: str, dtype: torch.dtype | None = None) -> list[torch.Tensor]:
    """Matrices as tensors, float64 by default."""
    import torch

    return [torch.as_tensor(np.asarray(w), dtype=dtype or torch.float64, device=device) for w in weights]


def float_towers(weights: Any, points: Any, slope: float, device: str = "cpu") -> list[Tower]:
    """The towers of many inputs (N, d) in float64, computed by `numeric` on the device."""
    matrices, (x,) = tensors(weights, device), tensors([points], device)
    trace = numeric.trace(matrices, x, slope)
    factors = numeric.connection_factors(matrices, x, slope)
    arrays = [w.cpu().numpy() for w in matrices]
    activations = [f.activation.cpu().numpy() for f in factors]
    jacobians = [f.jacobian.cpu().numpy() for f in factors]
    preactivations = [p.cpu().numpy() for p in trace.preactivations]
    return [
        Tower(
            arrays,
            [f[n] for f in activations],
            [j[n] for j in jacobians],
            [gate(p[n], slope, 1.0) for p in preactivations],
            preactivations[-1][n],
        )
        for n in range(len(x))
    ]


def connection(one: Tower, layer: int) -> Array:
    """K_l = f_{l-1} kron J_l^T, shape (n_l n_{l-1}, n_L)."""
    return np.kron(one.activations[layer - 1][:, None], one.jacobians[layer - 1].T)


def vec(matrix: Array) -> Array:
    """Column stacking: entry (b, a) of a matrix with n rows at index a n + b."""
    return matrix.T.reshape(-1)


def largest(difference: Array) -> float:
    """Largest absolute entry as a float, rounded up where the entries are exact; an empty array is an error."""
    if difference.size == 0:
        raise ValueError("nothing to compare: the arrays are empty")
    if difference.dtype != object:
        return float(np.max(np.abs(difference))) if not np.isnan(difference).any() else float("nan")
    entries = [abs(entry) for entry in difference.ravel()]
    worst = max(entries)
    try:
        # Integers are divided as they are: either may be beyond float64 where the quotient is not.
        value = int(worst.p) / int(worst.q) if isinstance(worst, fmpq) else float(worst)
    except OverflowError:
        return math.inf
    # An exact difference too small for float64 must not read as zero.
    return value if value > 0 or worst == 0 else 5e-324


Parts = Iterable[tuple[Any, ...]]
"""Arrays of differences, each with its place and, where there are two, the sides that it is the difference of."""


def measure_differences(differences: Parts, roles: tuple[str, str] = ("theory", "exact")) -> Measurement:
    """Exact differences that must be zero, each with its place; not decided where there is none."""
    worst, place, count = 0.0, "", 0
    apart: tuple[Any, ...] = ()
    for difference, where, *sides in differences:
        count, size = count + 1, largest(difference * fmpq(1))
        if size > worst:
            worst, place, apart = size, where, (difference, *sides)
    return Measurement(worst, 0.0, count > 0, place, refuted_sides(place, *apart, roles=roles))


def refuted_sides(
    place: str,
    difference: Any = None,
    left: Any = None,
    right: Any = None,
    *,
    wrong: Any = None,
    roles: tuple[str, str] = ("theory", "exact"),
) -> Disagreement | None:
    """Both sides of an array of differences that refutes; None where they are not known."""
    if left is None:
        return None
    from verify.engine.disagreement import disagreement

    if wrong is None:
        wrong = np.frompyfunc(lambda entry: bool(entry != 0), 1, 1)(difference).astype(bool)
    one, other = (np.broadcast_to(np.asarray(side), np.shape(difference)) for side in (left, right))
    return disagreement({place: one}, {place: other}, {place: np.asarray(wrong)}, None, roles=roles)


# False definitions, used by the variants of more than one statement.


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
