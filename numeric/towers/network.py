"""Dense towers without biases: random weights, forward pass, gates, and the column-stacking vec.

Section 0 of the notes: ``f_0 = x``, ``p_l = W_l f_{l-1}``, ``f_l = D_l p_l`` for ``l < L`` and ``f_L = p_L``.
The gate ``D_l`` is 1 where ``p_l > 0`` and the slope elsewhere, at exactly 0 too. ``forward`` is what
autograd differentiates; ``trace`` writes the gates out by hand, so that the two sides of a check share no
code.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hltm.base.errors import InputError
from numeric.towers.checks import (
    Real,
    Weights,
    check_finite,
    check_input,
    check_shapes,
    check_slope,
    check_weights,
    check_widths,
    is_integer,
)


def random_weights(
    widths: Sequence[Any],
    *,
    generator: torch.Generator,
    ensemble: int | None = None,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> list[Tensor]:
    """Normal weights of variance ``1 / n_{l-1}``.

    Parameters
    ----------
    widths : sequence of int
        ``n_0 .. n_L``.
    generator : torch.Generator
        Where the numbers come from; drawn on its device, then moved.
    ensemble : int, optional
        Number of networks; without it the tensors have no ensemble axis.

    Returns
    -------
    list of Tensor
        ``W_1 .. W_L``.

    Examples
    --------
    >>> weights = random_weights([3, 4, 2], generator=torch.Generator().manual_seed(0), ensemble=5)
    >>> [tuple(w.shape) for w in weights]
    [(5, 4, 3), (5, 2, 4)]
    """
    sizes = check_widths(widths)
    if ensemble is not None and not is_integer(ensemble, 1):
        raise InputError(f"ensemble={ensemble!r}: must be a positive integer")
    lead = () if ensemble is None else (ensemble,)
    return [
        (torch.randn(*lead, out, inp, generator=generator, dtype=dtype, device=generator.device) / math.sqrt(inp)).to(
            device
        )
        for inp, out in pairwise(sizes)
    ]


def forward(weights: Weights, x: Float[Tensor, "*batch d"], slope: Real = 0.0) -> Float[Tensor, "*outputs n_L"]:
    """Output ``f_L`` of a tower, by torch's own operations only.

    Parameters
    ----------
    weights : sequence of Tensor
        ``W_1 .. W_L``; shapes are checked, values are not, so that ``torch.func`` may go through.
    x : Tensor
        ``(batch, d)``, or ``(E, batch, d)`` for an ensemble. One sample ``(d,)`` is allowed for one network.
    slope : float
        Slope of the activation below zero, in [0, 1].

    Returns
    -------
    Tensor
        ``(batch, n_L)`` or ``(E, batch, n_L)``.

    Raises
    ------
    InputError
        Shapes that do not chain, or a slope outside [0, 1].

    Source
    ------
    Section 0 of the notes.

    Examples
    --------
    >>> forward([torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 2.0]])], torch.tensor([[3.0]]), slope=0.5)
    tensor([[0.]])
    """
    below = check_slope(slope)
    layers = check_shapes(weights)
    check_input(layers, x)
    for layer in layers[:-1]:
        x = functional.leaky_relu(torch.matmul(x, layer.mT), below)
    return torch.matmul(x, layers[-1].mT)


@dataclass(frozen=True, eq=False)
class Trace:
    """Forward pass of a tower: activations below each layer, pre-activations, gates.

    Attributes
    ----------
    activations : tuple of Tensor
        ``f_0 .. f_{L-1}``, each ``(..., batch, n_l)``.
    preactivations : tuple of Tensor
        ``p_1 .. p_L``; the last one is the output.
    gates : tuple of Tensor
        Diagonals of ``D_1 .. D_{L-1}``; the top layer has none.

    Examples
    --------
    >>> found = trace([torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 2.0]])], torch.tensor([[3.0]]))
    >>> found.gates[0].tolist(), found.preactivations[-1].tolist()
    ([[1.0, 0.0]], [[3.0]])
    """

    activations: tuple[Tensor, ...]
    preactivations: tuple[Tensor, ...]
    gates: tuple[Tensor, ...]


def trace(weights: Weights, x: Float[Tensor, "*ensemble batch d"], slope: Real = 0.0) -> Trace:
    """Activations, pre-activations and gates of every layer, the gates written out by hand.

    Parameters
    ----------
    weights, x, slope
        As in :func:`forward`; values are checked.

    Returns
    -------
    Trace

    Raises
    ------
    InputError
        Weights or inputs that are not allowed.

    Source
    ------
    Section 0 of the notes: the gate is 1 where ``p > 0`` and the slope elsewhere.

    Examples
    --------
    >>> trace([torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 2.0]])], torch.tensor([[3.0]]), 0.5).gates
    (tensor([[1.0000, 0.5000]]),)
    """
    below = check_slope(slope)
    layers = check_weights(weights)
    check_input(layers, x)
    check_finite(x, "x")
    activation = x.expand(*layers[0].shape[:-2], *x.shape[-2:])
    activations, preactivations, gates = [activation], [torch.matmul(x, layers[0].mT)], []
    for layer in layers[1:]:
        ahead = preactivations[-1]
        # torch.where of two Python numbers would round the slope to the default dtype.
        gate = torch.full_like(ahead, below).masked_fill_(ahead > 0, 1.0)
        gates.append(gate)
        activations.append(gate * preactivations[-1])
        preactivations.append(torch.matmul(activations[-1], layer.mT))
    return Trace(tuple(activations), tuple(preactivations), tuple(gates))


def slices(total: int, step: int) -> Iterator[slice]:
    """Cut ``range(total)`` into slices of at most `step` numbers, or of 1 if it is smaller."""
    step = max(1, step)
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))


def vec(matrix: Float[Tensor, "*batch n_out n_in"]) -> Float[Tensor, "*batch p"]:
    """Stack the columns: entry ``(b, a)`` goes to index ``a * n_out + b``.

    Examples
    --------
    >>> vec(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 3., 2., 4.])
    """
    return matrix.mT.flatten(-2)


def unvec(vector: Float[Tensor, "*batch p"], n_out: int) -> Float[Tensor, "*batch n_out n_in"]:
    """Undo :func:`vec` for matrices of ``n_out`` rows.

    Raises
    ------
    InputError
        A length that is no multiple of ``n_out``.

    Examples
    --------
    >>> unvec(torch.tensor([1.0, 3.0, 2.0, 4.0]), 2)
    tensor([[1., 2.],
            [3., 4.]])
    """
    if n_out < 1 or vector.shape[-1] % n_out:
        raise InputError(f"n_out={n_out} for a vector of {vector.shape[-1]} entries: must divide the length")
    columns: Tensor = vector.unflatten(-1, (-1, n_out))
    return columns.mT
