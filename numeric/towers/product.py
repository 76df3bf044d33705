"""Covariance operators as products only: a SciPy linear operator, nothing p x p, no connection formed.

With ``V = unvec(v)`` one product is two sweeps through the part of the tower above the layer. Down-up: ``K^T
v = J V f_{l-1}``, the tangent of ``V`` carried through the gates. Then the coupling of the points (statement
3: weights and centring; statement 4: the graph Laplacian of the pair weights). Back: ``K u = vec((J^T u)
f_{l-1}^T)``, as in backpropagation.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, Weights, check_input, check_layer, check_single, check_slope
from numeric.towers.losses import LossSpec, loss_spec
from numeric.towers.network import slices, unvec, vec
from numeric.towers.operator import Coupling, coupling
from numeric.towers.populations import FinitePopulation

_NUMBERS = 2**22  # numbers per temporary: 32 MB in double precision


class CovarianceProduct(LinearOperator):
    """Covariance operator of one layer as products with vectors; symmetric and positive semidefinite.

    It is a ``scipy.sparse.linalg.LinearOperator`` of shape ``(p, p)`` in double precision, so SciPy's
    eigensolvers take it.

    Parameters
    ----------
    activation : Tensor
        ``f_{l-1}`` of all augmented points, ``(M * A, n_{l-1})``.
    above : list of Tensor
        Weights above the layer, ``W_{l+1} .. W_L``.
    gates : list of Tensor
        Whether neurons of ``p_l .. p_{L-1}`` are active, boolean, one table per layer above.
    slope : float
        Gate of the inactive neurons.
    population : FinitePopulation
        Points and weights.
    acting : Coupling
        Coupling of the points.
    rows : int
        ``n_l``.

    Source
    ------
    Statements 3 and 4.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> operator = covariance_operator_product([[[1.0]]], population, 1)
    >>> operator.shape, (operator @ np.eye(1)).tolist()
    ((1, 1), [[2.25]])
    """

    def __init__(
        self,
        activation: Tensor,
        above: list[Tensor],
        gates: list[Tensor],
        slope: float,
        population: FinitePopulation,
        acting: Coupling,
        rows: int,
    ) -> None:
        size = rows * activation.shape[1]
        # The stubs leave this constructor out, since mypy would let it shadow __new__.
        super().__init__(np.dtype(np.float64), (size, size))  # type: ignore[call-arg]
        self._activation = activation
        self._above = above
        self._gates = gates
        self._slope = slope
        self._population = population
        self._acting = acting
        self._rows = rows
        widest = max([rows, activation.shape[1], *(layer.shape[0] for layer in above)])
        self._step = _NUMBERS // widest

    def _parts(self) -> Iterator[slice]:
        """Samples that go through the tower together."""
        return slices(len(self._activation), self._step)

    def _gate(self, values: Tensor, number: int, part: slice) -> Tensor:
        """Apply one layer's gates in place."""
        closed = ~self._gates[number][part]
        if self._slope == 0:
            return values.masked_fill_(closed, 0)
        return values.mul_(torch.where(closed, values.new_tensor(self._slope), values.new_ones(())))

    def _tangent(self, matrix: Tensor) -> Tensor:
        """``K^T vec(matrix)`` of all augmented points."""
        result = []
        for part in self._parts():
            values = self._activation[part] @ matrix.T
            for number, layer in enumerate(self._above):
                values = self._gate(values, number, part) @ layer.T
            result.append(values)
        return torch.cat(result)

    def _cotangent(self, vectors: Tensor) -> Tensor:
        """``sum K u`` over all augmented points as a matrix."""
        total = vectors.new_zeros(self._rows, self._activation.shape[1])
        for part in self._parts():
            values = vectors[part]
            for number, layer in reversed(list(enumerate(self._above))):
                values = self._gate(values @ layer, number, part)
            total.addmm_(values.T, self._activation[part])
        return total

    def _one(self, vector: Tensor) -> Tensor:
        """Apply the operator to one vector."""
        population = self._population
        means = population.mean(self._tangent(unvec(vector, self._rows)))
        moved = self._acting.apply(self._acting.centred(means))
        return vec(self._cotangent(population.mean_adjoint(moved)))

    def product(self, vectors: Float[Tensor, "p *columns"]) -> Float[Tensor, "p *columns"]:
        """Product with one vector ``(p,)`` or with columns ``(p, k)``, in torch.

        Raises
        ------
        InputError
            Another length than p.

        Examples
        --------
        >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
        >>> covariance_operator_product([[[1.0]]], population, 1).product(torch.ones(1))
        tensor([2.2500])
        """
        if vectors.ndim not in (1, 2) or vectors.shape[0] != self.shape[0]:
            raise InputError(
                f"vectors of shape {tuple(vectors.shape)}: must be ({self.shape[0]},) or ({self.shape[0]}, k)"
            )
        argument = vectors.to(self._activation.device, torch.float64)
        result = self._one(argument) if argument.ndim == 1 else torch.stack([self._one(v) for v in argument.T], dim=-1)
        return result.to(vectors.device, vectors.dtype)

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        return self.product(torch.from_numpy(np.array(X, dtype=np.float64))).numpy()

    def _adjoint(self) -> "CovarianceProduct":
        return self


def covariance_operator_product(
    weights: Weights,
    population: FinitePopulation,
    layer: int,
    loss: str | LossSpec = "simple",
    slope: Real = 0.0,
    *,
    distances_from: Float[Tensor, "M n_L"] | None = None,
    **loss_parameters: Any,
) -> CovarianceProduct:
    """Build the covariance operator of a layer as products: the same operator as ``covariance_operator``.

    Parameters
    ----------
    weights, population, layer, loss, slope, distances_from, **loss_parameters
        As in :func:`numeric.towers.operator.covariance_operator`; computed in double precision.

    Returns
    -------
    CovarianceProduct
        A SciPy linear operator ``(p, p)``; ``.product`` takes tensors.

    Raises
    ------
    InputError
        Inputs that are not allowed.

    Source
    ------
    Statements 3 and 4.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> covariance_operator_product([[[1.0]]], population, 1) @ np.ones(1)
    array([2.25])
    """
    spec, below = loss_spec(loss, **loss_parameters), check_slope(slope)
    layers = [value.detach().double() for value in check_single(weights)]
    check_layer(layer, len(layers))
    population = population.to(layers[0].device, torch.float64)
    values = population.flat_points
    check_input(layers, values)
    gates, activation = [], values
    for number, matrix in enumerate(layers, start=1):
        if number == layer:
            activation = values
        values = values @ matrix.T
        if number == len(layers):
            break
        opened = values > 0
        if number >= layer:
            gates.append(opened)
        values = torch.where(opened, values, below * values)
    acting = coupling(population, spec, values, distances_from)
    return CovarianceProduct(activation, layers[layer:], gates, below, population, acting, layers[layer - 1].shape[0])
