"""Expected losses of tree networks over a finite population, differentiated by autograd.

This is the side that the operators of statement 6 are held against: it runs the network forward, writes the
expectation as a literal finite sum and differentiates; it never uses a connection.
"""

from typing import Any

import torch
from torch import Tensor

from hltm.base.checks import Node
from numeric.expectation import check_convention, expected_loss_of_outputs
from numeric.towers.losses import LossSpec, loss_spec
from numeric.towers.populations import FinitePopulation
from numeric.tree_checks import check_tree_population
from numeric.trees.network import TreeNetwork


def tree_population_gradient(
    network: TreeNetwork,
    population: FinitePopulation,
    loss: str | LossSpec = "simple",
    *,
    convention: str = "shared",
    **loss_parameters: Any,
) -> dict[Node, Tensor]:
    """Exact ``-E[grad]`` of the loss in every node's weights, by autograd of the literal sum.

    Parameters
    ----------
    network, population
        As in :func:`tree_covariance_operator`.
    loss, convention, **loss_parameters
        As in :func:`numeric.population_gradient`.

    Returns
    -------
    dict of Node to Tensor
        ``(E, |N_mu|, |N_mu^ch|)``.

    Raises
    ------
    InputError
        A population that the network cannot read, a loss that is not allowed, a sum of too many terms.

    Source
    ------
    Left side of statements 3 and 4; nothing here knows of connections.

    Examples
    --------
    >>> from hltm import star_tree
    >>> network = TreeNetwork.from_weights(star_tree(1, polarity=0.5), {0: [[2.0]]})
    >>> tree_population_gradient(network, FinitePopulation([[[0.0], [1.0]], [[1.0], [1.0]]]))
    {0: tensor([[[0.2500]]], dtype=torch.float64)}
    """
    spec = loss_spec(loss, **loss_parameters)
    check_convention(convention)
    check_tree_population(network.tree, population, network.dtype, network.device)
    with torch.enable_grad():
        held = [parameter.detach().clone().requires_grad_() for parameter in network.parameters]
        outputs = network.with_parameters(held).forward(population.flat_points)
        others = outputs if convention == "shared" else outputs.detach()
        members = [expected_loss_of_outputs(*pair, population, spec) for pair in zip(outputs, others, strict=True)]
        gradients = torch.autograd.grad(torch.stack(members).sum(), held, materialize_grads=True)
    return network.with_parameters([-gradient for gradient in gradients]).weights
