"""Growth of a linear layer along the eigenvectors of its covariance, under the constraint of a fixed norm."""

import math
from typing import Any

import torch
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, as_floating, as_number, check_finite


def sphere_rates(weights: Any, covariance: Any) -> Tensor:
    """Rate of a linear layer with the simple loss, projected to the sphere ``||W||_F = 1``.

    ``dW = 2 (W A - E W)`` with ``E = <W, W A>``, where A is the covariance over points of the mean input.

    Parameters
    ----------
    weights : array
        W, ``(n_2, n_1)``.
    covariance : array
        A, symmetric, ``(n_1, n_1)``.

    Returns
    -------
    Tensor
        Shaped as the weights.

    Raises
    ------
    InputError
        For shapes that do not fit, and a matrix that is not symmetric.

    Source
    ------
    arXiv 2010.00578, the covariance operator with one linear layer; pack eigenvector-growth.

    Examples
    --------
    >>> sphere_rates([[1.0, 1.0]], [[2.0, 0.0], [0.0, 0.5]]).tolist()  # off the sphere: E = 2.5
    [[-1.0, -4.0]]
    """
    w, a = as_floating(weights, "weights"), as_floating(covariance, "covariance")
    check_finite(w, "weights")
    check_finite(a, "covariance")
    if w.ndim != 2:
        raise InputError(f"weights has shape {tuple(w.shape)}: must be a matrix (n_2, n_1)")
    if tuple(a.shape) != (w.shape[1], w.shape[1]):
        raise InputError(f"covariance has shape {tuple(a.shape)}: must be {(w.shape[1], w.shape[1])}")
    a = a.to(w)
    if not bool(torch.allclose(a, a.T)):
        raise InputError("covariance: must be symmetric")
    image = w @ a
    return 2 * (image - (w * image).sum() * w)


def top_share(start: Real, gap: Real, time: Real) -> float:
    """Share of the top eigenvector after a time, ``|c_1|^2/(|c_1|^2 + |c_2|^2)``, from its start.

    It follows the logistic curve ``y_0/(y_0 + (1 - y_0) e^(-4 gap t))`` under the flow of :func:`sphere_rates`.

    Parameters
    ----------
    start : float
        Share at time 0, in [0, 1].
    gap : float
        Difference of the two eigenvalues, not negative.
    time : float
        Time of the flow, not negative.

    Returns
    -------
    float
        In [0, 1]; 0 stays 0.

    Raises
    ------
    InputError
        For arguments out of range.

    Source
    ------
    Pack eigenvector-growth.

    Examples
    --------
    >>> top_share(0.5, 1.0, 0.0), round(top_share(0.01, 0.5, 3.0), 4), top_share(0.0, 1.0, 9.0)
    (0.5, 0.803, 0.0)
    """
    if not 0 <= as_number(start) <= 1:
        raise InputError(f"start={start!r}: must lie in [0, 1]")
    for name, value in (("gap", gap), ("time", time)):
        if not as_number(value) >= 0:
            raise InputError(f"{name}={value!r}: must be a finite number that is not negative")
    below = (1 - start) * math.exp(-4 * gap * time)
    return float(start / (start + below)) if start else 0.0
