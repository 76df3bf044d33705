"""Contrastive losses of a batch as ``sum_i phi(sum_j psi(d_i - d_ij))``, their pair weights, and the weighted trace.

``d_i = 1/2 ||f_i - f'_i||^2`` is the distance of two views, ``d_ij = 1/2 ||f_i - f_j||^2`` that to another member.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, as_floating, as_number, check_finite, is_integer

Scalar = Callable[[Tensor], Tensor]


class AlphaLoss(NamedTuple):
    """The two functions of a loss, applied entry by entry.

    Attributes
    ----------
    phi, psi : callable
        Differentiable functions of a tensor.

    Examples
    --------
    >>> float(AlphaLoss(torch.square, torch.exp).psi(torch.tensor(0.0)))
    1.0
    """

    phi: Scalar
    psi: Scalar


def _named(tau: float, margin: float) -> dict[str, AlphaLoss]:
    def power(u: Tensor) -> Tensor:
        return torch.exp(u / tau)

    return {
        "infonce": AlphaLoss(lambda x: tau * torch.log1p(x), power),
        "infonce-decoupled": AlphaLoss(lambda x: tau * torch.log(x), power),
        "triplet": AlphaLoss(lambda x: x, lambda u: tau * torch.nn.functional.softplus((u + margin) / tau)),
        "square": AlphaLoss(torch.square, torch.exp),
        "log-square": AlphaLoss(lambda x: torch.log(x).square(), torch.exp),
    }


NAMES = ("infonce", "infonce-decoupled", "triplet", "square", "log-square")


def alpha_functions(loss: "str | tuple[Scalar, ...]" = "infonce", tau: Real = 1.0, margin: Real = 0.0) -> AlphaLoss:
    """phi and psi of a loss.

    Parameters
    ----------
    loss : str or pair of callables
        "infonce" (``tau log(1 + x)``, ``e^(u/tau)``), "infonce-decoupled" (``tau log x``), "triplet" (``x``,
        ``tau log(1 + e^((u + margin)/tau))``), "square" (``x^2``, ``e^u``), "log-square" (``log^2 x``, ``e^u``), or phi
        and psi themselves, differentiable functions of a tensor.
    tau : float
        Temperature, positive.
    margin : float
        Margin of the soft triplet.

    Returns
    -------
    AlphaLoss
        The functions ``phi`` and ``psi``.

    Raises
    ------
    InputError
        An unknown name, a temperature that is not positive and finite, a margin that is no finite number.

    Source
    ------
    arXiv 2201.12680; pack alpha-trace.

    Examples
    --------
    >>> float(alpha_functions("square").phi(torch.tensor(3.0)))
    9.0
    """
    if not isinstance(loss, str):
        if not isinstance(loss, tuple | list) or len(loss) != 2 or not all(callable(function) for function in loss):
            raise InputError(f"loss={loss!r:.60}: must be a name or the two functions phi and psi")
        return AlphaLoss(*loss)
    scale, offset = as_number(tau), as_number(margin)
    if not scale > 0:
        raise InputError(f"tau={tau!r:.60}: must be positive and finite")
    if math.isnan(offset):
        raise InputError(f"margin={margin!r:.60}: must be a finite number")
    named = _named(scale, offset)
    if loss not in named:
        raise InputError(f"loss={loss!r}: must be one of {', '.join(NAMES)}, or phi and psi")
    return named[loss]


def alpha_loss(
    outputs: Float[Tensor, "N n_L"],
    views: Float[Tensor, "rows columns"],
    loss: "str | tuple[Scalar, ...]" = "infonce",
    tau: Real = 1.0,
    margin: Real = 0.0,
) -> Float[Tensor, ""]:
    """``sum_i phi(sum_{j != i} psi(d_i - d_ij))`` of a batch.

    Parameters
    ----------
    outputs, views : Tensor
        Outputs of the first and the second view of N >= 2 members, ``(N, n_L)``.
    loss, tau, margin
        As in :func:`alpha_functions`.

    Returns
    -------
    Tensor
        A scalar, differentiable in both views.

    Raises
    ------
    InputError
        Shapes that differ, fewer than two members, entries that are not finite, an unknown loss.

    Source
    ------
    arXiv 2201.12680; pack alpha-trace.

    Examples
    --------
    >>> outputs = torch.tensor([[0.0], [2.0]])
    >>> round(float(alpha_loss(outputs, outputs)), 6)  # 2 log(1 + e^-2)
    0.253856
    """
    functions = alpha_functions(loss, tau, margin)
    gaps, others = _gaps(outputs, views)
    return functions.phi(torch.where(others, functions.psi(gaps), 0.0).sum(1)).sum()


def alpha_weights(
    outputs: Float[Tensor, "N n_L"],
    views: Float[Tensor, "rows columns"],
    loss: "str | tuple[Scalar, ...]" = "infonce",
    tau: Real = 1.0,
    margin: Real = 0.0,
    held: bool = True,
) -> Float[Tensor, "N N"]:
    """Pair weights ``alpha_ij = phi'(xi_i) psi'(d_i - d_ij)``, zero on the diagonal.

    Parameters
    ----------
    outputs, views, loss, tau, margin
        As in :func:`alpha_loss`.
    held : bool
        Detach the weights; otherwise they are differentiable in the outputs.

    Returns
    -------
    Tensor
        ``(N, N)``.

    Raises
    ------
    InputError
        As in :func:`alpha_loss`.

    Source
    ------
    arXiv 2201.12680; pack alpha-trace.

    Examples
    --------
    >>> outputs = torch.tensor([[0.0], [2.0]])
    >>> alpha_weights(outputs, outputs, "infonce-decoupled")
    tensor([[0., 1.],
            [1., 0.]])
    """
    functions = alpha_functions(loss, tau, margin)
    gaps, others = _gaps(outputs, views)
    if held or not gaps.requires_grad:
        gaps = gaps.detach().requires_grad_()
    with torch.enable_grad():
        terms = torch.where(others, functions.psi(gaps), 0.0)
        (slope,) = torch.autograd.grad(functions.phi(terms.sum(1)).sum(), gaps, create_graph=not held)
    return torch.where(others, slope, 0.0)


def alpha_trace(
    outputs: Float[Tensor, "N n_L"], views: Float[Tensor, "rows columns"], alpha: Float[Tensor, "first second"]
) -> Float[Tensor, ""]:
    """``tr C_alpha``, the sum over pairs of ``alpha_ij (||f_i - f_j||^2 - ||f_i - f'_i||^2)``.

    With :func:`alpha_weights`, minus half of its gradient is the gradient of :func:`alpha_loss`.

    Parameters
    ----------
    outputs, views : Tensor
        As in :func:`alpha_loss`.
    alpha : Tensor
        Pair weights, ``(N, N)``, zero on the diagonal.

    Returns
    -------
    Tensor
        A scalar, differentiable in the outputs.

    Raises
    ------
    InputError
        A matrix of another shape, or with weight on the diagonal.

    Source
    ------
    arXiv 2201.12680; pack alpha-trace.

    Examples
    --------
    >>> outputs = torch.tensor([[0.0], [2.0]])
    >>> float(alpha_trace(outputs, outputs, torch.tensor([[0.0, 1.0], [1.0, 0.0]])))
    8.0
    """
    gaps, others = _gaps(outputs, views)
    if alpha.shape != gaps.shape:
        raise InputError(f"alpha has shape {tuple(alpha.shape)}: must be {tuple(gaps.shape)}")
    if bool((alpha[~others] != 0).any()):
        raise InputError("alpha has weight on the diagonal: must be zero there")
    return -2 * (alpha * gaps).sum()


def _gaps(outputs: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
    """``d_i - d_ij``, and where j is not i."""
    if outputs.ndim != 2 or outputs.shape[0] < 2:
        raise InputError(f"outputs has shape {tuple(outputs.shape)}: must be (N, n_L) with N >= 2")
    if views.shape != outputs.shape:
        raise InputError(f"views has shape {tuple(views.shape)}: must be that of outputs, {tuple(outputs.shape)}")
    for place, table in (("outputs", outputs), ("views", views)):
        check_finite(table, place)
    near = 0.5 * (outputs - views).square().sum(-1)
    far = 0.5 * (outputs[:, None] - outputs).square().sum(-1)
    others = ~torch.eye(len(outputs), dtype=torch.bool, device=outputs.device)
    return near[:, None] - far, others


def ascend_trace(
    matrix: Any, weights: Sequence[Any], steps: int = 2000, rate: Real = 0.05
) -> tuple[list[Tensor], Tensor]:
    """Ascend ``1/2 tr(W C W^T)``, ``W = W_L .. W_1`` with every ``||W_l||_F = 1``, by projected gradient steps.

    Parameters
    ----------
    matrix : array
        C, symmetric, ``(d, d)``.
    weights : sequence of arrays
        Start of the layers from the first on, ``(n_l, n_{l-1})`` each with ``n_0 = d``; they are normalised here.
    steps : int
        Number of steps, 0 or more.
    rate : float
        Step size, positive.

    Returns
    -------
    weights, value : list of Tensor, Tensor
        The layers at the end, and the value there.

    Raises
    ------
    InputError
        A matrix that is not symmetric, no layer, a layer of zeros, shapes that do not fit, a number of steps that is no
        integer, a step size that is not positive and finite.

    Source
    ------
    arXiv 2201.12680, deep linear networks; pack alpha-trace.

    Examples
    --------
    >>> layers, value = ascend_trace([[2.0, 0.0], [0.0, 1.0]], [[[0.6, 0.8]]])
    >>> round(float(value), 6)
    1.0
    """
    if not is_integer(steps, 0):
        raise InputError(f"steps={steps!r:.60}: must be an integer of at least 0")
    size = as_number(rate)
    if not size > 0:
        raise InputError(f"rate={rate!r:.60}: must be positive and finite")
    cover, layers = _ascent_start(matrix, weights)
    layers = [layer / layer.norm() for layer in layers]

    def value(chain: Sequence[Tensor]) -> Tensor:
        product = chain[0]
        for layer in chain[1:]:
            product = layer @ product
        return 0.5 * (product @ cover * product).sum()

    for _ in range(int(steps)):
        leaves = [layer.requires_grad_() for layer in layers]
        slopes = torch.autograd.grad(value(leaves), leaves)
        moved = [layer.detach() + size * slope for layer, slope in zip(layers, slopes, strict=True)]
        layers = [layer / layer.norm() for layer in moved]
    return layers, value(layers)


def _ascent_start(matrix: Any, weights: Sequence[Any]) -> tuple[Tensor, list[Tensor]]:
    """The matrix and the layers in double precision, refused where they do not fit."""
    cover = as_floating(matrix, "matrix").double()
    if isinstance(weights, str) or not isinstance(weights, Iterable):
        raise InputError(f"weights={weights!r:.60}: must be a sequence of layers")
    layers = [as_floating(w, f"weights[{place}]").double() for place, w in enumerate(weights)]
    check_finite(cover, "matrix")
    if cover.ndim != 2 or cover.shape[0] != cover.shape[1] or not torch.equal(cover, cover.T):
        raise InputError(f"matrix has shape {tuple(cover.shape)}: must be square and symmetric")
    if not layers:
        raise InputError("weights=[]: must hold at least one layer")
    width = cover.shape[0]
    for place, layer in enumerate(layers):
        check_finite(layer, f"weights[{place}]")
        if layer.ndim != 2 or layer.shape[1] != width:
            raise InputError(f"weights[{place}] has shape {tuple(layer.shape)}: must have {width} columns")
        if not bool((layer != 0).any()):
            raise InputError(f"weights[{place}]: must not be zero")
        width = layer.shape[0]
    return cover, layers
