"""Gates and Jacobians of tree networks, written out by hand: what connections and operators are made of.

``J_0 = I`` for a linear output, ``J_0 = (I - f_L f_L^T) / ||u||`` for a normalised one (0 where ``u = 0``); from a node
to its child nu ``J_nu = J_mu W_mu[:, nu] D_nu``. Jacobians are kept transposed, rows by level as in the plan.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from hltm.base.checks import Node
from numeric.towers.populations import FinitePopulation
from numeric.trees.network import TreeNetwork
from numeric.trees.plan import own_rows, sweep

_NUMBERS = 2**24  # numbers held at a time while a population is gone through: 128 MB in double precision


@dataclass(frozen=True, eq=False)
class Run:
    """What a forward pass left behind.

    Attributes
    ----------
    levels : list of Tensor
        Activations ``(E, rows, batch)`` by level; the first is ``f_L``. A level of shared leaves has E = 1.
    norm : Tensor or None
        ``||u||``, shape ``(E, 1, batch)``, of a normalised output.
    """

    levels: list[Tensor]
    norm: Tensor | None


@dataclass(frozen=True, eq=False)
class Part:
    """Some augmentations of some points: ``leaves (m * a, d)``, their weights ``shares (m, a)``, which `points`."""

    leaves: Tensor
    shares: Tensor
    points: slice


def parts(population: FinitePopulation, numbers: int) -> Iterator[Part]:
    """Cut a population into parts, given how many numbers one sample needs."""
    samples = max(1, _NUMBERS // numbers)
    many = min(population.augmentations, samples)
    some = max(1, samples // many)
    for first in range(0, population.size, some):
        points = slice(first, min(first + some, population.size))
        for start in range(0, population.augmentations, many):
            here = slice(start, start + many)
            leaves = population.points[points, here].flatten(0, 1)
            yield Part(leaves, population.augmentation_weights[points, here], points)


def _gate(activation: Tensor, slope: float) -> Tensor:
    """1 where ``p > 0``, else the slope; ``f > 0`` exactly where ``p > 0``."""
    return torch.full_like(activation, slope).masked_fill_(activation > 0, 1.0)


def run(network: TreeNetwork, inputs: Tensor) -> Run:
    """Activations of every level with the gates written out; `inputs` as :meth:`TreeNetwork.inputs` gives them."""
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
    """One vector per output, the same for each sample: ``(E, n_L, n_L, batch)``."""
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
    """``J_mu^T v`` of all latents, level by level from the root.

    Parameters
    ----------
    network, done
        The network and its run.
    vectors : Tensor
        ``v``, shape ``(E, n_L, count, batch)``.

    Returns
    -------
    list of Tensor
        ``(E, rows, count, batch)`` for each level that has latents; the rows of its leaves mean nothing.
    """
    shape = vectors.shape[2:]
    found = [_top(done, vectors)]
    number = 0
    for depth, level in enumerate(network.plan.levels[:-2]):
        below = network.plan.levels[depth + 1]
        flat = found[-1].flatten(2)
        moved = flat.new_empty(len(flat), below.rows, flat.shape[-1])
        for offset, block in enumerate(level.blocks):
            part = torch.matmul(network.parameters[number + offset].mT, own_rows(block, flat)).flatten(1, 2)
            if block.reads is None:
                moved = part
            else:
                moved.index_copy_(1, block.reads, part)
        number += len(level.blocks)
        found.append(moved.unflatten(-1, shape) * _gate(done.levels[depth + 1], network.slope).unsqueeze(2))
    return found


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
