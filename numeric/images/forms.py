"""Both sides of statements 3 and 4 for any network, by products with its Jacobian: the Jacobian is never held.

``K u`` is the gradient of ``u . f``, one pass back, and ``K^T v`` the gradient of ``v . K u`` in ``u``, one more. So a
head of 512-512-128, whose connections of 48 images fill 16 GB, and ResNet-18, whose derivatives of a single image fill
12 GB, need no more memory than a step of their training.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from numeric.pairs import Coupling, coupling
from numeric.towers.general import NetworkFunction
from numeric.towers.losses import LossSpec, pair_weight
from numeric.towers.populations import FinitePopulation

_SAMPLES = 16  # samples whose activations are held at a time


def exact_form_gradient(
    function: NetworkFunction, parameters: Sequence[Tensor], population: FinitePopulation, spec: LossSpec
) -> list[Tensor]:
    """``-grad E[xi (r_+ - r_-)]`` with pair weights held fixed, by autograd of the literal sum.

    ``xi`` depends on the two points only, through the distance of their augmentation means; the theorem says that it
    is ``V^xi vec W`` with no residue. The loss ``covariance`` does the same in expectation, with other such ``xi``:
    their mean over two further views of each point in the place of all augmentations.

    Parameters
    ----------
    function, parameters
        As in :func:`numeric.towers.general.output_jacobians`.
    population : FinitePopulation
    spec : LossSpec
        With one negative.

    Returns
    -------
    list of Tensor

    Source
    ------
    Statement 4.
    """
    with torch.enable_grad():
        held = [parameter.detach().requires_grad_() for parameter in parameters]
        outputs = function(held, population.flat_points)
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
        return [-gradient for gradient in torch.autograd.grad(value, held, materialize_grads=True)]


def _outputs(function: NetworkFunction, parameters: list[Tensor], population: FinitePopulation) -> Tensor:
    with torch.no_grad():
        return torch.cat([function(parameters, part) for part in population.flat_points.split(_SAMPLES)])


def _along(function: NetworkFunction, parameters: list[Tensor], place: int, population: FinitePopulation) -> Tensor:
    """``K_l^T vec W_l`` of every sample, ``(M A, n_L)``: the derivative of the output along the parameter itself.

    ``K u`` is linear in ``u``, so its own gradient is ``K^T``. Forward-mode differentiation gives the same, but loads
    torch's compiler, which takes seconds.
    """
    found = []
    with torch.enable_grad():
        moving = parameters[place].detach().requires_grad_()
        held = [*parameters[:place], moving, *parameters[place + 1 :]]
        for part in population.flat_points.split(_SAMPLES):
            outputs = function(held, part)
            vectors = torch.zeros_like(outputs, requires_grad=True)
            (back,) = torch.autograd.grad(outputs, moving, vectors, create_graph=True)
            found.append(torch.autograd.grad((back * moving.detach()).sum(), vectors)[0])
    return torch.cat(found)


def _summed(
    function: NetworkFunction, parameters: list[Tensor], wanted: Sequence[int], population: FinitePopulation,
    vectors: Tensor,
) -> list[Tensor]:  # fmt: skip
    """``sum_x Kbar_l(x) u(x)`` for some layers, shaped as their parameters; one ``u`` per point, ``(M, n_L)``."""
    spread = vectors.repeat_interleave(population.augmentations, dim=0) * population.augmentation_weights.reshape(-1, 1)
    with torch.enable_grad():
        held = [each.detach().requires_grad_(place in wanted) for place, each in enumerate(parameters)]
        chosen = [held[place] for place in wanted]
        found = [torch.zeros_like(each) for each in chosen]
        for part, back in zip(population.flat_points.split(_SAMPLES), spread.split(_SAMPLES), strict=True):
            outputs = function(held, part)
            gradients = torch.autograd.grad(outputs, chosen, back, materialize_grads=True)
            for total, gradient in zip(found, gradients, strict=True):
                total += gradient
    return found


def _acted(acting: Coupling, values: Tensor) -> Tensor:
    """The coupling on one value per point, with the factor 2 of the simple loss."""
    moved = acting.apply(acting.centred(values))
    return 2 * moved if acting.laplacian is None else moved


def operator_form(
    function: NetworkFunction, parameters: Sequence[Tensor], population: FinitePopulation, spec: LossSpec
) -> list[Tensor]:
    """``2 V_x[Kbar_l] vec W_l`` or ``V^xi vec W_l`` of every matrix, for any function of a sample.

    Parameters
    ----------
    function, parameters
        As in :func:`numeric.towers.general.output_jacobians`.
    population : FinitePopulation
    spec : LossSpec

    Returns
    -------
    list of Tensor
        Shaped as the parameters.

    Source
    ------
    Statements 3 and 4.
    """
    held = [parameter.detach() for parameter in parameters]
    acting = coupling(population, spec, _outputs(function, held, population), None)
    found = []
    for place in range(len(held)):
        seen = population.mean(_along(function, held, place, population))
        found += _summed(function, held, [place], population, _acted(acting, seen))
    return found


def general_form(
    function: NetworkFunction, parameters: Sequence[Tensor], population: FinitePopulation, spec: LossSpec
) -> list[Tensor]:
    """``2 Cov_x[Kbar_l, fbar_L]`` or ``E[xi (Kbar - Kbar')(fbar - fbar')]`` of every parameter.

    What :func:`numeric.towers.general.general_update` makes of the Jacobians of all samples.

    Parameters
    ----------
    function, parameters, population, spec
        As in :func:`operator_form`.

    Returns
    -------
    list of Tensor
        Shaped as the parameters.

    Source
    ------
    Statements 3 and 4, general form.
    """
    held = [parameter.detach() for parameter in parameters]
    outputs = _outputs(function, held, population)
    acting = coupling(population, spec, outputs, None)
    return _summed(function, held, range(len(held)), population, _acted(acting, population.mean(outputs)))


def relative(left: Sequence[Tensor], right: Sequence[Tensor]) -> list[float]:
    """Largest difference of each layer, relative to the largest entry of the first side."""
    return [
        float((a - b).abs().max() / a.abs().max().clamp(min=torch.finfo(a.dtype).tiny))
        for a, b in zip(left, right, strict=True)
    ]
