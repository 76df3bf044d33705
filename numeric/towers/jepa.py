"""Deep linear networks that predict latents (JEPA) or targets (MAE): the literal losses and the reduced flow."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, as_floating, as_number, check_finite, is_integer

KINDS = ("jepa", "mae")


def predictive_loss(layers: Sequence[Any], decoder: Any, inputs: Any, targets: Any, kind: str = "jepa") -> Tensor:
    """Mean squared error of a linear prediction of the target's latent, or of the target itself.

    JEPA: ``E 1/2 ||V E x - sg(E y)||^2``; MAE: ``E 1/2 ||V E x - y||^2``, with ``E = W_L .. W_1``.

    Parameters
    ----------
    layers : sequence of arrays
        ``W_1 .. W_L``, ``(n, n)`` each.
    decoder : array
        V, ``(n, n)``.
    inputs, targets : array
        x and y of all pairs, ``(N, n)`` each, equally likely.
    kind : str
        "jepa": no gradient flows through the latent of the target; "mae".

    Returns
    -------
    Tensor
        A scalar, differentiable in layers and decoder.

    Raises
    ------
    InputError
        For an unknown kind, and tables or matrices of other shapes.

    Source
    ------
    Littwin et al. (2024), deep linear JEPA; pack jepa-mae.

    Examples
    --------
    >>> float(predictive_loss([[[2.0]]], [[1.0]], [[1.0]], [[3.0]])), float(
    ...     predictive_loss([[[2.0]]], [[1.0]], [[1.0]], [[3.0]], "mae"))
    (8.0, 0.5)
    """
    if kind not in KINDS:
        raise InputError(f"kind={kind!r}: must be one of {', '.join(KINDS)}")
    x, y = as_floating(inputs, "inputs"), as_floating(targets, "targets")
    if x.ndim != 2 or 0 in x.shape:
        raise InputError(f"inputs has shape {tuple(x.shape)}: must be (N, n), not empty")
    if y.shape != x.shape:
        raise InputError(f"targets has shape {tuple(y.shape)}: must be {tuple(x.shape)}, that of inputs")
    if not layers:
        raise InputError("layers: must have at least one matrix")
    names = [f"layers[{number}]" for number in range(len(layers))] + ["decoder"]
    matrices = [as_floating(m, name).to(x) for m, name in zip([*layers, decoder], names, strict=True)]
    for matrix, name in zip(matrices, names, strict=True):
        if tuple(matrix.shape) != (x.shape[1], x.shape[1]):
            raise InputError(f"{name} has shape {tuple(matrix.shape)}: must be {(x.shape[1], x.shape[1])}")
        check_finite(matrix, name)
    latent, other = x, y
    for matrix in matrices[:-1]:
        latent = latent @ matrix.T
        other = other @ matrix.T if kind == "jepa" else other
    return 0.5 * (latent @ matrices[-1].T - other.detach()).square().sum(1).mean()


def predictive_rates(layer: Any, covariance: Any, variance: Any, depth: int, kind: str = "jepa") -> Tensor:
    """Rate of every layer of a diagonal network whose layers and decoder are equal.

    ``dw = e^2 (lambda - s w)`` for JEPA and ``dw = e (lambda - s w e)`` for MAE, ``e = w^L``, coordinate by coordinate.

    Parameters
    ----------
    layer : array
        w, ``(n,)``.
    covariance, variance : array
        ``lambda = E[x y]`` and ``s = E[x^2]``, ``(n,)`` each.
    depth : int
        L, the number of layers of the encoder.
    kind : str
        "jepa" or "mae".

    Returns
    -------
    Tensor
        ``(n,)``.

    Raises
    ------
    InputError
        For an unknown kind, a depth below 1, and arrays of unequal shapes.

    Source
    ------
    Littwin et al. (2024), deep linear JEPA; pack jepa-mae.

    Examples
    --------
    >>> predictive_rates([0.5], [1.0], [1.0], 1).tolist(), predictive_rates([0.5], [1.0], [1.0], 1, "mae").tolist()
    ([0.125], [0.375])
    """
    if kind not in KINDS:
        raise InputError(f"kind={kind!r}: must be one of {', '.join(KINDS)}")
    if not is_integer(depth, 1):
        raise InputError(f"depth={depth!r}: must be an integer of at least 1")
    w, lam, s = (
        as_floating(value, name)
        for value, name in ((layer, "layer"), (covariance, "covariance"), (variance, "variance"))
    )
    for value, name in ((w, "layer"), (lam, "covariance"), (s, "variance")):
        if value.ndim != 1 or value.shape != w.shape:
            fits = "must be (n,)" if w.ndim != 1 else f"must be {tuple(w.shape)}, that of layer"
            raise InputError(f"{name} has shape {tuple(value.shape)}: {fits}")
        check_finite(value, name)
    e = w**depth
    return e**2 * (lam - s * w) if kind == "jepa" else e * (lam - s * w * e)


def predictive_fixed_point(quotient: Real, depth: int, kind: str = "jepa") -> float:
    """Encoder at which a coordinate ends from a positive start: ``rho^L`` for JEPA, ``rho^(L/(L+1))`` for MAE.

    Parameters
    ----------
    quotient : float
        ``rho = lambda/s``, positive.
    depth : int
        L, the number of layers of the encoder.
    kind : str
        "jepa" or "mae".

    Returns
    -------
    float
        The stable fixed point.

    Raises
    ------
    InputError
        For arguments out of range.

    Source
    ------
    Littwin et al. (2024), deep linear JEPA; pack jepa-mae.

    Examples
    --------
    >>> predictive_fixed_point(0.25, 2), predictive_fixed_point(0.125, 2, "mae")
    (0.0625, 0.25)
    """
    if kind not in KINDS:
        raise InputError(f"kind={kind!r}: must be one of {', '.join(KINDS)}")
    if not is_integer(depth, 1):
        raise InputError(f"depth={depth!r}: must be an integer of at least 1")
    if not as_number(quotient) > 0:
        raise InputError(f"quotient={quotient!r}: must be a finite positive number")
    return float(quotient) ** (depth if kind == "jepa" else depth / (depth + 1))
