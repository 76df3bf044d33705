"""The general form of statements 3 and 4, for every differentiable network.

``-E[grad L_simp] = 2 Cov_x[Kbar, fbar]`` and ``-E[grad] = E[xi (Kbar - Kbar')(fbar - fbar')] + theta`` need
no homogeneity: biases, smooth activations, normalised outputs and convolutions are allowed. A network is a
function of its parameters and a batch; its connections are the transposed Jacobians of the output in each
parameter, by ``torch.func``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacrev, vmap

from hltm.base.errors import InputError
from numeric.expectation import check_convention, expected_loss_of_outputs
from numeric.pairs import coupling
from numeric.towers.checks import check_finite
from numeric.towers.losses import LossSpec, loss_spec
from numeric.towers.populations import FinitePopulation

NetworkFunction = Callable[[list[Tensor], Tensor], Tensor]

_NUMBERS = 2**24  # numbers of Jacobian held at a time: 128 MB in double precision


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
    """Jacobian of the output of every sample in every parameter.

    Parameters
    ----------
    function : callable
        ``function(parameters, x)`` gives ``(batch, n_L)`` for ``x`` of shape ``(batch, d)``, each sample by
        itself, in operations that ``torch.func`` can differentiate.
    parameters : sequence of Tensor
        What to differentiate in.
    x : Tensor
        ``(batch, d)``.

    Returns
    -------
    list of Tensor
        ``(batch, n_L, *shape)`` for each parameter: the transposed connection, its last axes shaped as the
        parameter.

    Source
    ------
    Statement 3, general form.

    Examples
    --------
    >>> parameters = [torch.ones(2, 3), torch.zeros(2)]
    >>> found = output_jacobians(lambda p, x: x @ p[0].T + p[1], parameters, torch.ones(5, 3))
    >>> [tuple(j.shape) for j in found]
    [(5, 2, 2, 3), (5, 2, 2)]
    """

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
    held = _check_parameters(parameters)
    outputs = _outputs(function, held, population).detach()
    acting = coupling(population, spec, outputs, distances_from)
    moved = acting.apply(acting.centred(population.mean(outputs)))
    vectors = moved.repeat_interleave(population.augmentations, dim=0) * population.augmentation_weights.reshape(-1, 1)
    if acting.laplacian is None:
        vectors = 2 * vectors
    updates = [torch.zeros_like(parameter) for parameter in held]
    step = max(1, _NUMBERS // (outputs.shape[1] * sum(parameter.numel() for parameter in held)))
    for start in range(0, len(outputs), step):
        part = slice(start, start + step)
        for update, jacobian in zip(
            updates, output_jacobians(function, held, population.flat_points[part]), strict=True
        ):
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
    check_convention(convention)
    with torch.enable_grad():
        held = [parameter.requires_grad_() for parameter in _check_parameters(parameters)]
        outputs = _outputs(function, held, population)
        others = outputs if convention == "shared" else outputs.detach()
        value = expected_loss_of_outputs(outputs, others, population, spec)
        gradients = torch.autograd.grad(value, held, materialize_grads=True)
    return [-gradient for gradient in gradients]
