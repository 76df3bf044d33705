"""Connections, covariance operators and updates of tree networks.

``K_mu = f_{N_mu^ch} kron J_mu^T`` with ``J_mu = d f_L / d p_mu``. A node is not a layer (statement 6): ``f_L =
sum_mu K_mu^T vec W_mu`` over a cut of the tree, so the update of a node is ``2 Cov_x[Kbar_mu, fbar_L]``, with cross
terms between siblings; ``V_x[Kbar_mu]`` is its diagonal block. The covariance holds for normalised outputs too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from hltm.base.checks import Node
from numeric.towers.checks import check_finite
from numeric.towers.connection import ConnectionFactors
from numeric.towers.gradient import expected_loss_of_outputs
from numeric.towers.losses import LossSpec, loss_spec
from numeric.towers.network import slices
from numeric.towers.operator import Coupling, pair_laplacian
from numeric.towers.populations import FinitePopulation
from numeric.trees.network import TreeNetwork, check_tree_population
from numeric.trees.plan import gathered, own_rows, sweep

_NUMBERS = 2**24  # in memory at a time during a sum over a population: 128 MB in double precision


@dataclass(frozen=True, eq=False)
class Run:
    """Activations of every level, and the norm of a normalised output."""

    levels: list[Tensor]
    norm: Tensor | None


@dataclass(frozen=True, eq=False)
class Part:
    """Some augmentations of some points: ``leaves (m * a, d)`` with weights ``shares (m, a)``."""

    leaves: Tensor
    shares: Tensor
    points: slice


def parts(population: FinitePopulation, numbers: int) -> Iterator[Part]:
    """Cut a population into parts that fit into memory; one sample needs `numbers` numbers."""
    samples = max(1, _NUMBERS // numbers)
    many = min(population.augmentations, samples)
    for points, here in product(slices(population.size, samples // many), slices(population.augmentations, many)):
        leaves = population.points[points, here].flatten(0, 1)
        yield Part(leaves, population.augmentation_weights[points, here], points)


def _gate(activation: Tensor, slope: float) -> Tensor:
    """1 where ``p > 0``, else the slope; ``f > 0`` exactly where ``p > 0``."""
    return torch.full_like(activation, slope).masked_fill_(activation > 0, 1.0)


def run(network: TreeNetwork, inputs: Tensor) -> Run:
    """Activations of every level with the gates written out; `inputs` are those of :meth:`TreeNetwork.inputs`."""
    slope = network.slope
    levels = sweep(network.plan, network.parameters, inputs, lambda p: p * _gate(p, slope))
    if network.output == "linear":
        return Run(levels, None)
    norm = levels[0].square().sum(-2, keepdim=True).sqrt()
    # 0 / 0 is replaced: a zero output stays zero.
    return Run([(levels[0] / norm).masked_fill(norm == 0, 0.0), *levels[1:]], norm)


def inputs_of(network: TreeNetwork, done: Run, node: Node) -> Tensor:
    """``f_{N_mu^ch}``: ``(E or 1, |N_mu^ch|, batch)``, a view; children are neighbours in their level."""
    children, place = network.tree.children(node), network.plan.place
    depth, start, _ = place[children[0]]
    return done.levels[depth][:, start : place[children[-1]][2]]


def identity_at(done: Run) -> Tensor:
    """Identity matrix for every sample, expanded: ``(E, n_L, n_L, batch)``."""
    top = done.levels[0]
    identity = torch.eye(top.shape[1], dtype=top.dtype, device=top.device)
    return identity.unsqueeze(-1).expand(len(top), -1, -1, top.shape[-1])


def _top(done: Run, vectors: Tensor) -> Tensor:
    """``J_0^T v`` for the vectors ``v``, shape ``(E, n_L, count, batch)``."""
    if done.norm is None:
        return vectors
    output, norm = done.levels[0].unsqueeze(2), done.norm.unsqueeze(2)
    along = (output * vectors).sum(1, keepdim=True)
    return ((vectors - output * along) / norm).masked_fill(norm == 0, 0.0)


def pull_back(network: TreeNetwork, done: Run, vectors: Tensor) -> list[Tensor]:
    """``J_mu^T v`` of all latents, level by level from the root."""
    shape = vectors.shape[2:]
    result = [_top(done, vectors)]
    for depth, level in enumerate(network.plan.levels[:-2]):
        below = network.plan.levels[depth + 1]
        flat = result[-1].flatten(2)
        moved = flat.new_empty(len(flat), below.rows, flat.shape[-1])
        for block in level.blocks:
            part = torch.matmul(network.parameters[block.number].mT, own_rows(block, flat)).flatten(1, 2)
            if block.reads is None:
                moved = part
            else:
                moved.index_copy_(1, block.reads, part)
        result.append(moved.unflatten(-1, shape) * _gate(done.levels[depth + 1], network.slope).unsqueeze(2))
    return result


def node_pull_back(network: TreeNetwork, done: Run, node: Node) -> Tensor:
    """``J_mu^T`` of one latent, ``(E, |N_mu|, n_L, batch)``, along the path from the root only."""
    tree, place = network.tree, network.plan.place
    moved = _top(done, identity_at(done))
    for above, child in pairwise(tree.path(tree.root, node)):
        depth, start, stop = place[child]
        first = place[tree.children(above)[0]][1]
        matrix = network.matrix(above)[..., start - first : stop - first]
        flat = torch.matmul(matrix.mT, moved.flatten(2))
        gate = _gate(done.levels[depth][:, start:stop], network.slope)
        moved = flat.unflatten(-1, moved.shape[2:]) * gate.unsqueeze(2)
    return moved


def tree_factors(
    network: TreeNetwork, leaves: Num[Tensor, "*ensemble batch n_leaves"]
) -> dict[Node, ConnectionFactors]:
    """Connections ``K_mu`` of every latent as their two factors.

    Parameters
    ----------
    network : TreeNetwork
        E networks.
    leaves : Tensor
        ``(batch, n_leaves)`` or ``(E, batch, n_leaves)``.

    Returns
    -------
    dict of Node to ConnectionFactors
        ``f_{N_mu^ch}`` of shape ``(E, batch, |N_mu^ch|)`` and ``J_mu`` of shape ``(E, batch, n_L, |N_mu|)``.

    Raises
    ------
    InputError
        Leaves that the tree cannot read, or that are not finite.

    Source
    ------
    Section 0 and statement 6.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> network = TreeNetwork(complete_tree(depth=2, branching=2, polarity=0.8), width=3, slope=0.5)
    >>> x = torch.tensor([[0, 1, 1, 1]])
    >>> factors, weights = tree_factors(network, x), network.weights
    >>> cut = sum(factors[node].adjoint_apply(weights[node]) for node in (1, 2))
    >>> torch.allclose(cut, network.forward(x))
    True
    """
    inputs = network.inputs(leaves)
    check_finite(inputs, "leaves")
    done = run(network, inputs)
    backward = pull_back(network, done, identity_at(done))
    result = {}
    for node in network.tree.latents:
        depth, start, stop = network.plan.place[node]
        below = inputs_of(network, done, node).expand(network.ensemble, -1, -1)
        result[node] = ConnectionFactors(below.mT, backward[depth][:, start:stop].permute(0, 3, 2, 1))
    return result


def tree_connections(network: TreeNetwork, leaves: Num[Tensor, "*ensemble batch n_leaves"]) -> dict[Node, Tensor]:
    """Connections ``K_mu = f_{N_mu^ch} kron J_mu^T`` of every latent, written out.

    Parameters
    ----------
    network, leaves
        As in :func:`tree_factors`.

    Returns
    -------
    dict of Node to Tensor
        ``(E, batch, |N_mu| * |N_mu^ch|, n_L)``; rows follow ``vec``.

    Raises
    ------
    InputError
        As :func:`tree_factors`.

    Source
    ------
    Section 0 and statement 6.

    Examples
    --------
    >>> from hltm import star_tree
    >>> network = TreeNetwork.from_weights(star_tree(2, polarity=0.5), {0: [[1.0, -2.0]]})
    >>> tree_connections(network, torch.tensor([[1, 0]]))[0].flatten()
    tensor([1., 0.], dtype=torch.float64)
    """
    return {node: factors.dense() for node, factors in tree_factors(network, leaves).items()}


def _means(network: TreeNetwork, population: FinitePopulation, node: Node | None = None) -> Tensor:
    """Augmentation means of the inputs of a node, or of the output without a node: ``(E, M, n)``."""
    width = network.width(network.tree.root) if node is None else network.matrix(node).shape[-1]
    means = population.points.new_zeros(network.ensemble, population.size, width)
    for part in parts(population, network.ensemble * network.plan.neurons):
        done = run(network, network.inputs(part.leaves))
        values = done.levels[0] if node is None else inputs_of(network, done, node)
        means[:, part.points] += torch.einsum("eima,ma->emi", values.unflatten(-1, part.shares.shape), part.shares)
    return means


def _coupled(
    population: FinitePopulation, spec: LossSpec, outputs: Tensor, values: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Values ``(E, M, ...)``, or the outputs, centred; and the coupling of each member applied to them."""
    values = outputs if values is None else values
    simple = Coupling(population)
    centred = simple.centred(values.transpose(0, 1)).transpose(0, 1)
    if spec.name == "simple":
        return centred, simple.apply(centred.transpose(0, 1)).transpose(0, 1)
    moved = [
        Coupling(population, pair_laplacian(spec, population, own, own)).apply(member)
        for own, member in zip(outputs, centred, strict=True)
    ]
    return centred, torch.stack(moved)


@torch.no_grad()
def tree_covariance_operator(
    network: TreeNetwork,
    population: FinitePopulation,
    node: Node,
    loss: str | LossSpec = "simple",
    **loss_parameters: Any,
) -> Float[Tensor, "E p p"]:
    """Diagonal block of the covariance operator at a node, ``V_x[Kbar_mu]``, without the factor 2.

    Parameters
    ----------
    network : TreeNetwork
        E networks.
    population : FinitePopulation
        Points and augmentations of leaves; those of a tree come from ``hltm.leaf_population``.
    node : Node
        A latent.
    loss, **loss_parameters
        Other losses than the simple one give ``V^xi_{x,x'}[Kbar(x) - Kbar(x')]``, as
        :func:`numeric.covariance_operator` has it.

    Returns
    -------
    Tensor
        ``(E, p, p)``, ``p = |N_mu| |N_mu^ch|``, exactly symmetric; rows follow ``vec``. For the top node of a linear
        output it is the whole operator, elsewhere the update has cross terms (:func:`tree_update`).

    Raises
    ------
    InputError
        A leaf or an unknown node, or a population that the network cannot read.

    Source
    ------
    Statement 6, ``OP_mu``.

    Examples
    --------
    >>> from hltm import star_tree
    >>> network = TreeNetwork.from_weights(star_tree(1, polarity=0.5), {0: [[2.0]]})
    >>> tree_covariance_operator(network, FinitePopulation([[[0.0], [1.0]], [[1.0], [1.0]]]), 0)
    tensor([[[0.0625]]], dtype=torch.float64)
    """
    spec = loss_spec(loss, **loss_parameters)
    check_tree_population(network, population)
    n_out, n_in = network.matrix(node).shape[1:]
    n_top = network.width(network.tree.root)
    means = population.points.new_zeros(network.ensemble, population.size, n_top, n_in, n_out)
    for part in parts(population, network.ensemble * (network.plan.neurons + n_top * (n_in + n_out))):
        done = run(network, network.inputs(part.leaves))
        shape = part.shares.shape
        below = inputs_of(network, done, node).unflatten(-1, shape) * part.shares
        above = node_pull_back(network, done, node).unflatten(-1, shape)
        below = below.expand(network.ensemble, -1, -1, -1)
        means[:, part.points] += torch.einsum("eima,eolma->emlio", below, above)
    outputs = means.new_zeros(0) if spec.name == "simple" else _means(network, population)
    centred, moved = _coupled(population, spec, outputs, means.flatten(3))
    total = torch.matmul(centred.flatten(1, 2).mT, moved.flatten(1, 2))
    return total.triu() + total.triu(1).mT


@torch.no_grad()
def tree_update(
    network: TreeNetwork, population: FinitePopulation, loss: str | LossSpec = "simple", **loss_parameters: Any
) -> dict[Node, Tensor]:
    """Update of every node with all cross terms: ``2 Cov_x[Kbar_mu, fbar_L]`` (shared convention).

    Parameters
    ----------
    network, population
        As in :func:`tree_covariance_operator`.
    loss, **loss_parameters
        Other losses than the simple one give ``E[xi (Kbar - Kbar')(fbar - fbar')]``, which is the update up to
        ``theta`` (statement 4), ``r`` between augmentation means.

    Returns
    -------
    dict of Node to Tensor
        ``(E, |N_mu|, |N_mu^ch|)``, computed from products only.

    Raises
    ------
    InputError
        A population that the network cannot read.

    Source
    ------
    Statement 3, general form, and statement 6.

    Examples
    --------
    >>> from hltm import star_tree
    >>> network = TreeNetwork.from_weights(star_tree(1, polarity=0.5), {0: [[2.0]]})
    >>> tree_update(network, FinitePopulation([[[0.0], [1.0]], [[1.0], [1.0]]]))
    {0: tensor([[[0.2500]]], dtype=torch.float64)}
    """
    spec = loss_spec(loss, **loss_parameters)
    check_tree_population(network, population)
    _, moved = _coupled(population, spec, _means(network, population))
    if spec.name == "simple":
        moved = 2 * moved
    result = [torch.zeros_like(parameter) for parameter in network.parameters]
    for part in parts(population, 2 * network.ensemble * network.plan.neurons):
        done = run(network, network.inputs(part.leaves))
        vectors = torch.einsum("eml,ma->elma", moved[:, part.points], part.shares).flatten(-2).unsqueeze(2)
        _add_updates(network, done, pull_back(network, done, vectors), result)
    return network.with_parameters(result).weights


def _add_updates(network: TreeNetwork, done: Run, backward: list[Tensor], totals: list[Tensor]) -> None:
    """Add ``sum_samples (J^T u) f^T`` of every block to its tensor."""
    for depth, level in enumerate(network.plan.levels):
        for block in level.blocks:
            above = own_rows(block, backward[depth].squeeze(2))
            totals[block.number] += torch.matmul(above, gathered(block, done.levels[depth + 1]).mT)


@torch.no_grad()
def tree_activation_covariance(
    network: TreeNetwork, population: FinitePopulation, node: Node
) -> Float[Tensor, "E n_in n_in"]:
    """Covariance of the augmentation means of a node's inputs, ``V_{z_0}[E[f_{N_mu^ch} | z_0]]``.

    Parameters
    ----------
    network, population, node
        As in :func:`tree_covariance_operator`; point m of ``hltm.leaf_population`` is a state of the root.

    Returns
    -------
    Tensor
        ``(E, |N_mu^ch|, |N_mu^ch|)``, exactly symmetric.

    Raises
    ------
    InputError
        A leaf or an unknown node, or a population that the network cannot read.

    Source
    ------
    Left side of statement 6: ``o_mu a_mu a_mu^T`` for binary trees.

    Examples
    --------
    >>> import hltm
    >>> tree = hltm.star_tree(2, polarity=0.5)
    >>> leaves = hltm.leaf_population(tree)
    >>> population = FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)
    >>> tree_activation_covariance(TreeNetwork(tree), population, 0)
    tensor([[[0.0625, 0.0625],
             [0.0625, 0.0625]]], dtype=torch.float64)
    """
    check_tree_population(network, population)
    centred, moved = _coupled(population, loss_spec("simple"), _means(network, population, node))
    total = torch.matmul(centred.mT, moved)
    return total.triu() + total.triu(1).mT


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
    Left side of statements 3 and 4; no connection is used.

    Examples
    --------
    >>> from hltm import star_tree
    >>> network = TreeNetwork.from_weights(star_tree(1, polarity=0.5), {0: [[2.0]]})
    >>> tree_population_gradient(network, FinitePopulation([[[0.0], [1.0]], [[1.0], [1.0]]]))
    {0: tensor([[[0.2500]]], dtype=torch.float64)}
    """
    spec = loss_spec(loss, **loss_parameters)
    check_tree_population(network, population)
    with torch.enable_grad():
        moving = [parameter.detach().clone().requires_grad_() for parameter in network.parameters]
        outputs = network.with_parameters(moving).forward(population.flat_points)
        members = [expected_loss_of_outputs(member, population, spec, convention) for member in outputs]
        gradients = torch.autograd.grad(torch.stack(members).sum(), moving, materialize_grads=True)
    return network.with_parameters([-gradient for gradient in gradients]).weights
