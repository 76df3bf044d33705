"""Connections ``K_l = f_{l-1} kron J_l^T`` of dense towers, factored and dense.

Sections 0 and 1 of the notes: ``J_L = I``, ``J_l = J_{l+1} W_{l+1} D_l``, and the key identity ``K_l^T vec
W_l = f_L``. The factors are the connection, exactly: every product with K needs only them, so K itself is
formed only by ``dense``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, Weights, check_weights
from numeric.towers.network import Trace, trace


@dataclass(frozen=True, eq=False)
class ConnectionFactors:
    """One layer's connections ``K = f kron J^T`` of a batch, as their two factors.

    Attributes
    ----------
    activation : Tensor
        ``f_{l-1}``, shape ``(..., batch, n_{l-1})``.
    jacobian : Tensor
        ``J_l``, shape ``(..., batch, n_L, n_l)``.

    Source
    ------
    Section 0 of the notes.

    Examples
    --------
    >>> ConnectionFactors(torch.ones(4, 3), torch.ones(4, 2, 5))
    ConnectionFactors(batch=(4,), f of 3, J of 2 x 5, float32 on cpu)
    """

    activation: Float[Tensor, "*batch n_in"]
    jacobian: Float[Tensor, "*batch n_L n_out"]

    def __repr__(self) -> str:
        kind = f"{str(self.jacobian.dtype).removeprefix('torch.')} on {self.jacobian.device}"
        batch, n_in = tuple(self.activation.shape[:-1]), self.activation.shape[-1]
        n_top, n_out = self.jacobian.shape[-2:]
        return f"ConnectionFactors(batch={batch}, f of {n_in}, J of {n_top} x {n_out}, {kind})"

    def dense(self, out: Float[Tensor, "*batch p n_L"] | None = None) -> Float[Tensor, "*batch p n_L"]:
        """Form the connections, ``(..., batch, n_l * n_{l-1}, n_L)``: row ``a * n_l + b`` is ``f_a J[:, b]``.

        Parameters
        ----------
        out : Tensor, optional
            Contiguous memory to write to. The first touch of fresh memory costs far more than the arithmetic.

        Returns
        -------
        Tensor
            The connections, in ``out`` if that is not None.

        Examples
        --------
        >>> ConnectionFactors(torch.tensor([[2.0, 3.0]]), torch.tensor([[[1.0, 5.0]]])).dense()[0, :, 0]
        tensor([ 2., 10.,  3., 15.])
        """
        n_top, n_out = self.jacobian.shape[-2:]
        # One contiguous row of n_l * n_L numbers per input, scaled by f_a: written once, in order.
        row = self.jacobian.mT.reshape(*self.jacobian.shape[:-2], 1, n_out * n_top)
        shape = (*self.activation.shape, n_out * n_top)
        result = torch.mul(self.activation.unsqueeze(-1), row, out=None if out is None else out.view(shape))
        return result.reshape(*self.activation.shape[:-1], -1, n_top)

    def adjoint_apply(self, matrix: Float[Tensor, "*ensemble n_out n_in"]) -> Float[Tensor, "*batch n_L"]:
        """``K^T vec(matrix) = J matrix f`` for every sample, shape ``(..., batch, n_L)``.

        Examples
        --------
        >>> factors = ConnectionFactors(torch.tensor([[2.0, 3.0]]), torch.tensor([[[1.0, 5.0]]]))
        >>> factors.adjoint_apply(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor([[17.]])
        """
        moved = torch.matmul(self.activation, matrix.mT)
        return torch.matmul(self.jacobian, moved.unsqueeze(-1)).squeeze(-1)

    def apply(
        self, vectors: Float[Tensor, "*batch n_L"], weights: Float[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*ensemble n_out n_in"]:
        """Sum over the batch of ``weight * K u``, each as the matrix ``(J^T u) f^T`` shaped as ``W_l``.

        Parameters
        ----------
        vectors : Tensor
            ``u``, shape ``(..., batch, n_L)``.
        weights : Tensor, optional
            One number per sample, shape ``(..., batch)``; without it every sample counts once.

        Examples
        --------
        >>> factors = ConnectionFactors(torch.tensor([[2.0, 3.0]]), torch.tensor([[[1.0, 5.0]]]))
        >>> factors.apply(torch.tensor([[1.0]]))
        tensor([[ 2.,  3.],
                [10., 15.]])
        """
        if weights is not None:
            vectors = vectors * weights.unsqueeze(-1)
        back = torch.matmul(vectors.unsqueeze(-2), self.jacobian).squeeze(-2)
        return torch.matmul(back.mT, self.activation)


def jacobians(layers: Sequence[Tensor], run: Trace) -> list[Tensor]:
    """``J_1 .. J_L`` of every sample, each ``(..., batch, n_L, n_l)``; ``J_L`` is an expanded identity."""
    top = run.preactivations[-1]
    lead, batch, n_top = top.shape[:-2], top.shape[-2], top.shape[-1]
    identity = torch.eye(n_top, dtype=top.dtype, device=top.device).expand(*lead, batch, n_top, n_top)
    result = [identity]
    for layer, gate in zip(reversed(layers[1:]), reversed(run.gates), strict=True):
        if len(result) == 1:
            moved = layer.unsqueeze(-3)  # I W_L, the same for the whole batch
        else:
            rows = result[-1].reshape(*lead, batch * n_top, layer.shape[-2])
            moved = torch.matmul(rows, layer).reshape(*lead, batch, n_top, layer.shape[-1])
        result.append(moved * gate.unsqueeze(-2))
    return result[::-1]


def connection_factors(
    weights: Weights, x: Float[Tensor, "*ensemble batch d"], slope: Real = 0.0
) -> list[ConnectionFactors]:
    """Factored connections ``K_1 .. K_L`` of every sample.

    Parameters
    ----------
    weights : sequence of arrays
        ``W_1 .. W_L``, each ``(n_l, n_{l-1})`` or ``(E, n_l, n_{l-1})``.
    x : Tensor
        ``(batch, d)``, or ``(E, batch, d)`` for an ensemble.
    slope : float
        Slope of the activation below zero, in [0, 1].

    Returns
    -------
    list of ConnectionFactors
        Entry 0 is layer 1.

    Raises
    ------
    InputError
        Weights, inputs or a slope that are not allowed.

    Source
    ------
    Section 0 of the notes; ``K_l^T vec W_l = f_L``.

    Examples
    --------
    >>> weights = [torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 2.0]])]
    >>> factors = connection_factors(weights, torch.tensor([[3.0]]), slope=0.5)
    >>> [f.adjoint_apply(w).item() for f, w in zip(factors, weights)]
    [0.0, 0.0]
    """
    layers = check_weights(weights)
    if x.ndim < 2:
        raise InputError(f"x: shape {tuple(x.shape)}: must be (batch, d), or (ensemble, batch, d) for an ensemble")
    run = trace(layers, x, slope)
    return [ConnectionFactors(f, j) for f, j in zip(run.activations, jacobians(layers, run), strict=True)]


def connections(weights: Weights, x: Float[Tensor, "*ensemble batch d"], slope: Real = 0.0) -> list[Tensor]:
    """Connections ``K_1 .. K_L`` of every sample, written out.

    Parameters
    ----------
    weights, x, slope
        As in :func:`connection_factors`.

    Returns
    -------
    list of Tensor
        Entry ``l - 1`` has shape ``(..., batch, n_l * n_{l-1}, n_L)``.

    Raises
    ------
    InputError
        Weights, inputs or a slope that are not allowed.

    Source
    ------
    Section 0 of the notes: ``K_l(x) = f_{l-1}(x) kron J_l(x)^T``.

    Examples
    --------
    >>> weights = [torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 2.0]])]
    >>> [tuple(k.shape) for k in connections(weights, torch.tensor([[3.0], [1.0]]))]
    [(2, 2, 1), (2, 2, 1)]
    """
    return [factors.dense() for factors in connection_factors(weights, x, slope)]


def normalized_connections(
    weights: Weights, x: Float[Tensor, "*ensemble batch d"], slope: Real = 0.0
) -> list[tuple[ConnectionFactors, ConnectionFactors]]:
    """Forward and backward connections of the tower with normalised output ``f_L = u / ||u||``.

    Parameters
    ----------
    weights, x, slope
        As in :func:`connection_factors`.

    Returns
    -------
    list of (ConnectionFactors, ConnectionFactors)
        Per layer the forward one with ``J / ||u||`` and the backward one with ``P J / ||u||``, ``P = I - f_L
        f_L^T``.

    Raises
    ------
    InputError
        A sample whose output is zero, or what :func:`connection_factors` refuses.

    Source
    ------
    Statement 1, reversible extension: ``dr/dW_1 = K^b_1 (K^{f T}_1 vec W_1 - K^{f T}_2 vec W_2)``.

    Examples
    --------
    >>> pairs = normalized_connections([torch.tensor([[3.0], [4.0]])], torch.tensor([[1.0]]))
    >>> pairs[0][1].jacobian[0]
    tensor([[ 0.1280, -0.0960],
            [-0.0960,  0.0720]])
    """
    layers = check_weights(weights)
    run = trace(layers, x, slope)
    output = run.preactivations[-1]
    norm = torch.linalg.vector_norm(output, dim=-1, keepdim=True)
    if bool((norm == 0).any()):
        where = (norm.squeeze(-1) == 0).nonzero()[0].tolist()
        raise InputError(
            f"output of sample {where[-1] if len(where) == 1 else tuple(where)} is zero: cannot be normalised"
        )
    direction = output / norm
    pairs = []
    for activation, jacobian in zip(run.activations, jacobians(layers, run), strict=True):
        forward = jacobian / norm.unsqueeze(-1)
        along = torch.matmul(direction.unsqueeze(-2), forward)
        backward = forward - direction.unsqueeze(-1) * along
        pairs.append((ConnectionFactors(activation, forward), ConnectionFactors(activation, backward)))
    return pairs
