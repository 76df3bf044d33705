"""A-priori rounding-error bounds for sums of products in float64.

Every side of statements 1, 3 and 4 is a polynomial in weights, inputs and probabilities once the gates are fixed.
A polynomial that is evaluated by sums and products in any order differs from its exact value by at most
``gamma_n * magnitude``, where `magnitude` is the same polynomial at absolute values, n the number of roundings
on the longest path, and ``gamma_n = n u / (1 - n u)`` with u = 2^-53 (Higham, Accuracy and Stability of Numerical
Algorithms, chapter 3). A tolerance made so is neither guessed nor tuned. A gate that is within its own bound of the
kink can differ between the two sides; such an instance is left undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from verify.engine.evidence import Measurement

UNIT_ROUNDOFF = 2.0**-53


def gamma(roundings: int) -> float:
    """Higham's gamma_n for float64."""
    product = roundings * UNIT_ROUNDOFF
    return product / (1.0 - product)


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """The tower at absolute values, for N inputs."""

    activations: Sequence[np.ndarray]
    jacobians: Sequence[np.ndarray]
    gates: Sequence[np.ndarray]
    output: np.ndarray
    roundings: int
    near_kink: np.ndarray

    def contract(self, layer: int, u: np.ndarray) -> np.ndarray:
        """|K_l| u for every input, u of shape (N, n_L), summed over inputs: the matrix (n_l, n_{l-1})."""
        backward = np.einsum("nib,ni->nb", self.jacobians[layer - 1], u)
        return np.einsum("nb,na->ba", backward, self.activations[layer - 1])


# Numbers near the end of float64's range overflow in a bound; a bound that is not finite makes the check abstain.
quiet = np.errstate(over="ignore", invalid="ignore")


@quiet
def magnitudes(weights: Sequence[np.ndarray], points: np.ndarray, slope: float) -> Magnitudes:
    """Run the tower at absolute values with the gates of the true one."""
    value, bound = points, np.abs(points)
    activations, gates = [bound], []
    near = np.zeros(len(points), dtype=bool)
    roundings = 0
    for layer, matrix in enumerate(weights, start=1):
        value, bound = value @ matrix.T, bound @ np.abs(matrix).T
        roundings += matrix.shape[1] + 1
        if layer == len(weights):
            break
        doubtful = (np.abs(value) <= gamma(roundings) * bound) & (bound > 0)
        near |= doubtful.any(axis=1)
        gates.append(np.where(value > 0, 1.0, slope))
        value, bound = gates[-1] * value, gates[-1] * bound
        activations.append(bound)
    n_out = weights[-1].shape[0]
    jacobians = [np.broadcast_to(np.eye(n_out), (len(points), n_out, n_out))]
    for layer in range(len(weights) - 1, 0, -1):
        jacobians.append((jacobians[-1] @ np.abs(weights[layer])) * gates[layer - 1][:, None, :])
        roundings += weights[layer].shape[0] + 1
    return Magnitudes(activations, jacobians[::-1], gates, bound, roundings, near)


@quiet
def population_bounds(
    weights: Sequence[np.ndarray],
    points: np.ndarray,
    p: np.ndarray,
    q: np.ndarray,
    slope: float,
    lipschitz: float = 0.0,
) -> tuple[list[np.ndarray], bool]:
    """Rounding-error bounds of -E[grad L] and of the formula for it together, per layer.

    Both sides are sums over pairs (i, j) of inputs of ``omega_ij (K_i - K_j)(f_i - f_j)`` with weights omega that are
    the pair probabilities times a derivative of the loss, which is at most 1 and has the Lipschitz constant
    `lipschitz` (1/tau; 0 for the simple loss) in the distances. An error dr of a distance therefore adds
    ``lipschitz * dr``, with dr at most gamma_n times the distance at absolute values.
    """
    n_points, n_augmentations, dimension = points.shape
    bound = magnitudes(weights, points.reshape(-1, dimension), slope)
    joint = (p[:, None] * q).reshape(-1)
    owner = np.repeat(np.arange(n_points), n_augmentations)
    positive = np.where(owner[:, None] == owner[None, :], joint[:, None] * q.reshape(-1)[None, :], 0.0)
    negative = joint[:, None] * joint[None, :]
    # Pairwise sums in the libraries are no worse than recursive ones: one rounding for each summand.
    roundings = 4 * bound.roundings + len(joint) * (n_augmentations + 2) + 16
    f = bound.output
    distance = 0.5 * ((f[:, None, :] + f[None, :, :]) ** 2).sum(axis=2)
    sensitivity = gamma(roundings) * (1.0 + 2 * lipschitz * distance)
    # The weight of a pair reacts to both of its distances; the larger sensitivity of the row covers the other one.
    sensitivity = np.maximum(sensitivity, sensitivity.max(axis=1, keepdims=True))
    omega = (positive + negative) * sensitivity
    omega = omega + omega.T
    u = omega.sum(axis=1)[:, None] * f + omega @ f
    return [2 * bound.contract(layer, u) for layer in range(1, len(weights) + 1)], bool(bound.near_kink.any())


# The error of one evaluation in single precision is a sample, not a bound; that its largest entry is smaller than the
# typical one by this factor would take a cancellation in every entry at once.
SAFETY = 64.0
# Below it a result has fewer than 53 bits, and no bound relative to its size holds.
UNDERFLOW = 2.0**-1022


def measured_tolerance(double: Sequence[np.ndarray], single: Sequence[np.ndarray]) -> float:
    """Estimate the rounding error in float64 from the difference between float32 and float64.

    For networks whose error has no short a-priori bound (smooth activations, normalised outputs). To first order the
    rounding error of a computation is proportional to the unit roundoff, so the largest difference between the same
    computation in float32 and float64, times 2^-53 / 2^-24, is its size in float64.
    """
    scale = max(float(np.max(np.abs(d), initial=0.0)) for d in double)
    error = max(float(np.max(np.abs(d - s), initial=0.0)) for d, s in zip(double, single, strict=True))
    return SAFETY * max(error * 2.0**-29, UNIT_ROUNDOFF * scale, UNDERFLOW)


def measure_precisions(
    double: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    single: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    what: str,
) -> Measurement:
    """Two sides in float64, array by array, within the tolerance that the same in float32 shows of each."""
    bound = measured_tolerance(double[0], single[0]) + measured_tolerance(double[1], single[1])
    worst = Measurement(0.0, bound)
    for number, (left, right) in enumerate(zip(*double, strict=True), start=1):
        worst = worse_of(worst, left, right, np.array(bound), f"{what} {number}")
    return worst


def worse_of(worst: Measurement, theory: np.ndarray, other: np.ndarray, bound: np.ndarray, place: str) -> Measurement:
    """The worse of a measurement and two sides with entrywise bounds; where these refute, with both sides."""
    difference = np.abs(theory - other)
    result = worse(worst, difference, bound, place)
    if result is worst or result.status != "refuted":
        return result
    from verify.engine.disagreement import disagreement

    bounds = np.broadcast_to(bound, difference.shape)
    wrong = ~(difference <= bounds)
    return replace(
        result, apart=disagreement({place: theory}, {place: other}, {place: wrong}, None, bounds={place: bounds})
    )


def worse(worst: Measurement, difference: np.ndarray, bound: np.ndarray, place: str) -> Measurement:
    """The worse of a measurement and the worst of absolute differences with entrywise bounds."""
    residual, tolerance = difference.ravel(), np.broadcast_to(bound, difference.shape).ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        severity = np.where(residual <= tolerance, residual / np.maximum(tolerance, 5e-324), np.inf)
        excess = np.where(np.isnan(residual), np.inf, residual)
    index = int(np.lexsort((excess, severity))[-1])
    result = Measurement(float(residual[index]), float(tolerance[index]), detail=place)
    return result if (result.severity, result.residual) > (worst.severity, worst.residual) else worst
