"""The general form of statements 3 and 4, for every differentiable network.

``-E[grad L_simp] = 2 Cov_x[Kbar, fbar]`` and ``-E[grad] = E[xi (Kbar - Kbar')(fbar - fbar')] + theta`` need
no homogeneity: biases, smooth activations, normalised outputs and convolutions are allowed. A network is a
function of its parameters and a batch; its connections are the transposed Jacobians of the output in each
parameter: by ``torch.func``, or by products with them for large networks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacrev, vmap

from hltm.base.errors import InputError
from numeric.towers.checks import check_finite
from numeric.towers.gradient import expected_loss_of_outputs
from numeric.towers.losses import LossSpec, loss_spec, pair_weight
from numeric.towers.network import slices
from numeric.towers.operator import coupling
from numeric.towers.populations import FinitePopulation

NetworkFunction = Callable[[list[Tensor], Tensor], Tensor]

_NUMBERS = 2**24  # numbers of the Jacobian in memory at a time: 128 MB in double precision


def _check_parameters(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Finite floating tensors, detached."""
    if not parameters:
        raise InputError("parameters=[]: must hold at least one tensor")
    for number, parameter in enumerate(parameters):
        if not parameter.dtype.is_floating_point:
            raise InputError(f"parameters[{number}]: dtype {parameter.dtype} must be a floating type")
        check_finite(parameter, f"parameters[{number}]")
    return [parameter.detach() for parameter in parameters]


def _outputs(function: NetworkFunction, parameters: list[Tensor], population: FinitePopulation) -> Tensor:
    """Outputs of all augmented points, their shape checked."""
    outputs = function(parameters, population.flat_points)
    count = population.size * population.augmentations
    if outputs.ndim != 2 or outputs.shape[0] != count:
        raise InputError(f"output of the function: shape {tuple(outputs.shape)}: must be ({count}, n_L)")
    return outputs


def output_jacobians(
    function: NetworkFunction, parameters: Sequence[Tensor], x: Float[Tensor, "batch d"]
) -> list[Tensor]:
    """Jacobian of the output of every sample in every parameter."""

    def single(inner: list[Tensor], sample: Tensor) -> Tensor:
        return function(inner, sample.unsqueeze(0)).squeeze(0)

    jacobians: list[Tensor] = vmap(jacrev(single), in_dims=(None, 0))(list(parameters), x)
    return jacobians


def general_update(
    function: NetworkFunction,
    parameters: Sequence[Tensor],
    population: FinitePopulation,
    loss: str | LossSpec = "simple",
    *,
    distances_from: Float[Tensor, "M n_L"] | None = None,
    **loss_parameters: Any,
) -> list[Tensor]:
    """``2 Cov_x[Kbar, fbar]`` (simple) or ``E[xi (Kbar - Kbar')(fbar - fbar')]``, shared convention.

    Parameters
    ----------
    function, parameters
        As in :func:`output_jacobians`.
    population : FinitePopulation
        Points and augmentations.
    loss : str
        ``"simple"``, ``"triplet"`` or ``"infonce"``.
    distances_from : Tensor, optional
        ``(M, n_L)``, the outputs between which ``r`` is measured; the augmentation means without it.
    **loss_parameters
        ``tau``, ``margin``, ``negatives``.

    Returns
    -------
    list of Tensor
        One update per parameter, shaped as it.

    Raises
    ------
    InputError
        Inputs that are not allowed, or a function whose output is not ``(batch, n_L)``.

    Source
    ------
    General forms of statements 3 and 4.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> general_update(lambda p, x: (x * p[0]).tanh(), [torch.zeros(1).double()], population)
    [tensor([0.], dtype=torch.float64)]
    """
    spec = loss_spec(loss, **loss_parameters)
    checked = _check_parameters(parameters)
    outputs = _outputs(function, checked, population).detach()
    acting = coupling(population, spec, outputs, distances_from)
    vectors = population.mean_adjoint(acting.update(population.mean(outputs)))
    updates = [torch.zeros_like(parameter) for parameter in checked]
    numbers = outputs.shape[1] * sum(parameter.numel() for parameter in checked)
    for part in slices(len(outputs), _NUMBERS // numbers):
        jacobians = output_jacobians(function, checked, population.flat_points[part])
        for update, jacobian in zip(updates, jacobians, strict=True):
            update += torch.tensordot(vectors[part], jacobian, dims=2)
    return updates


def function_population_gradient(
    function: NetworkFunction,
    parameters: Sequence[Tensor],
    population: FinitePopulation,
    loss: str | LossSpec,
    *,
    convention: str = "shared",
    **loss_parameters: Any,
) -> list[Tensor]:
    """Exact ``-E[grad]`` in every parameter, by autograd of the literal sum.

    Parameters
    ----------
    function, parameters
        As in :func:`output_jacobians`; here the function may mix the samples of a batch.
    population : FinitePopulation
        Points and augmentations.
    loss : str
        ``"simple"``, ``"triplet"`` or ``"infonce"``.
    convention : str
        ``"shared"`` or ``"one-branch"``.
    **loss_parameters
        ``tau``, ``margin``, ``negatives``.

    Returns
    -------
    list of Tensor
        One gradient per parameter, shaped as it; zero where the output does not depend on it.

    Raises
    ------
    InputError
        Inputs that are not allowed, or a sum of more terms than the limit.

    Source
    ------
    Left side of statements 3 and 4.

    Examples
    --------
    >>> population = FinitePopulation([[[-1.0], [1.0]], [[3.0], [3.0]]])
    >>> function_population_gradient(lambda p, x: x * p[0], [torch.ones(1).double()], population, "simple")
    [tensor([4.5000], dtype=torch.float64)]
    """
    spec = loss_spec(loss, **loss_parameters)
    with torch.enable_grad():
        moving = [parameter.requires_grad_() for parameter in _check_parameters(parameters)]
        value = expected_loss_of_outputs(_outputs(function, moving, population), population, spec, convention)
        gradients = torch.autograd.grad(value, moving, materialize_grads=True)
    return [-gradient for gradient in gradients]


# Products with the Jacobian only, for networks whose Jacobian does not fit into memory

_SAMPLES = 16  # samples whose activations are in memory at a time


def exact_form_gradient(
    function: NetworkFunction, parameters: Sequence[Tensor], population: FinitePopulation, spec: LossSpec
) -> list[Tensor]:
    """``-grad E[xi (r_+ - r_-)]`` with pair weights held fixed, by autograd of the literal sum.

    ``xi`` depends on the two points only, through the distance of their augmentation means, so the gradient is
    ``V^xi vec W`` with no residue. The loss ``covariance`` does the same in expectation, with the mean over two
    further views of each point in place of the mean over all augmentations.
    """
    with torch.enable_grad():
        moving = [parameter.detach().requires_grad_() for parameter in parameters]
        outputs = function(moving, population.flat_points)
        means = population.mean(outputs).detach()
        between = 0.5 * (means.unsqueeze(1) - means).square().sum(-1)
        xi = pair_weight(spec, between.unsqueeze(-1)).squeeze(-1)
        xi = xi * population.point_weights.unsqueeze(1) * population.point_weights
        apart = 0.5 * (outputs.unsqueeze(1) - outputs).square().sum(-1)
        size, count = population.size, population.augmentations
        blocks = apart.reshape(size, count, size, count)
        u = population.augmentation_weights
        means_of_r = torch.einsum("xa,yb,xayb->xy", u, u, blocks)
        value = (xi * (means_of_r.diagonal().unsqueeze(1) - means_of_r)).sum()
        return [-gradient for gradient in torch.autograd.grad(value, moving, materialize_grads=True)]


def _outputs_in_parts(function: NetworkFunction, parameters: list[Tensor], population: FinitePopulation) -> Tensor:
    with torch.no_grad():
        return torch.cat([function(parameters, part) for part in population.flat_points.split(_SAMPLES)])


def _along(function: NetworkFunction, parameters: list[Tensor], place: int, population: FinitePopulation) -> Tensor:
    """``K_l^T vec W_l`` of every sample, ``(M A, n_L)``: the derivative of the output along the parameter itself.

    ``K u`` is linear in ``u``, so its own gradient is ``K^T``. Forward-mode differentiation gives the same, but loads
    torch's compiler, which takes seconds.
    """
    result = []
    with torch.enable_grad():
        moving = parameters[place].detach().requires_grad_()
        inner = [*parameters[:place], moving, *parameters[place + 1 :]]
        for part in population.flat_points.split(_SAMPLES):
            outputs = function(inner, part)
            vectors = torch.zeros_like(outputs, requires_grad=True)
            (back,) = torch.autograd.grad(outputs, moving, vectors, create_graph=True)
            result.append(torch.autograd.grad((back * moving.detach()).sum(), vectors)[0])
    return torch.cat(result)


def _summed(
    function: NetworkFunction, parameters: list[Tensor], wanted: Sequence[int], population: FinitePopulation,
    vectors: Tensor,
) -> list[Tensor]:  # fmt: skip
    """``sum_x Kbar_l(x) u(x)`` for some layers, shaped as their parameters; one ``u`` per point, ``(M, n_L)``."""
    spread = population.mean_adjoint(vectors)
    with torch.enable_grad():
        inner = [each.detach().requires_grad_(place in wanted) for place, each in enumerate(parameters)]
        chosen = [inner[place] for place in wanted]
        result = [torch.zeros_like(each) for each in chosen]
        for part, back in zip(population.flat_points.split(_SAMPLES), spread.split(_SAMPLES), strict=True):
            outputs = function(inner, part)
            gradients = torch.autograd.grad(outputs, chosen, back, materialize_grads=True)
            for total, gradient in zip(result, gradients, strict=True):
                total += gradient
    return result


def operator_form(
    function: NetworkFunction, parameters: Sequence[Tensor], population: FinitePopulation, spec: LossSpec
) -> list[Tensor]:
    """``2 V_x[Kbar_l] vec W_l`` or ``V^xi vec W_l`` of every matrix, for any function of a sample."""
    detached = [parameter.detach() for parameter in parameters]
    acting = coupling(population, spec, _outputs_in_parts(function, detached, population), None)
    result = []
    for place in range(len(detached)):
        means = population.mean(_along(function, detached, place, population))
        result += _summed(function, detached, [place], population, acting.update(means))
    return result


def general_form(
    function: NetworkFunction, parameters: Sequence[Tensor], population: FinitePopulation, spec: LossSpec
) -> list[Tensor]:
    """``2 Cov_x[Kbar_l, fbar_L]`` or ``E[xi (Kbar - Kbar')(fbar - fbar')]`` of every parameter.

    The same as :func:`general_update`, which forms the Jacobians of all samples.
    """
    detached = [parameter.detach() for parameter in parameters]
    outputs = _outputs_in_parts(function, detached, population)
    acting = coupling(population, spec, outputs, None)
    return _summed(function, detached, range(len(detached)), population, acting.update(population.mean(outputs)))


def relative(left: Sequence[Tensor], right: Sequence[Tensor]) -> list[float]:
    """Largest difference of each layer, relative to the largest entry of the first side."""
    return [
        float((a - b).abs().max() / a.abs().max().clamp(min=torch.finfo(a.dtype).tiny))
        for a, b in zip(left, right, strict=True)
    ]
