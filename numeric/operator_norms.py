"""Frobenius norms of the covariance operators ``OP_mu`` of all nodes, by sampling, for networks on trees of their own.

With a binary root ``OP_mu = (1 - rho_0^2)/4 DK DK^T``, ``DK = E[K_mu | z_0 = 1] - E[K_mu | z_0 = 0]`` of shape
``(|N_mu| |N_mu^ch|, n_L)``, and ``||DK DK^T||_F = ||DK^T DK||_F``, a matrix of size n_L. ``J`` is that of the output in
use, normalised or not. Four independent quarters of the samples give ``DK_1 .. DK_4``; with ``G_ab = (DK_a^T DK_b +
DK_b^T DK_a) / 2`` the mean of ``<G_12, G_34>, <G_13, G_24>, <G_14, G_23>`` has exactly the expectation
``||DK^T DK||_F^2``: no factor is used twice. Its root is taken where it is positive, else the norm is 0.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node, integer, show
from hltm.base.errors import InputError
from numeric.tree_run import identity_at, pull_back, run
from numeric.trees.metrics import Fresh, fresh_samples, member_seeds, member_trees
from numeric.trees.network import TreeNetwork
from numeric.trees.plan import Block, gathered, own_rows

_QUARTERS = 4
_PAIRINGS = ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2))


@torch.no_grad()
def operator_norms(
    network: TreeNetwork,
    trees: HLTM | Sequence[HLTM] | None = None,
    samples: int = 1_000,
    seeds: int | Sequence[int] = 0,
    *,
    step: int = 0,
) -> Float[Tensor, "E latents"]:
    """Estimate ``||OP_mu||_F`` of every latent.

    Parameters
    ----------
    network, trees, seeds, step
        As in :func:`numeric.correlations`; the root must be binary, other latents too.
    samples : int
        For each member, rounded up to a multiple of 20; each quarter must meet both states of the root.

    Returns
    -------
    Tensor
        float64, ``(E, latents)``, in the order of ``tree.latents``.

    Raises
    ------
    InputError
        A value that is not allowed, or too few samples to meet both states of the root.

    Source
    ------
    Statement 6, diagonal block.

    Examples
    --------
    >>> from hltm import star_tree
    >>> network = TreeNetwork.from_weights(star_tree(1, polarity=0.5), {0: [[2.0]]})
    >>> abs(operator_norms(network, samples=40_000).item() - 0.0625) < 0.01  # (1 - 0) / 4 * 0.5^2
    True
    """
    held, streams = member_trees(network, trees), member_seeds(network, seeds)
    count = -(-integer(samples, "samples", 8) // 20) * 20
    n_top, tree = network.width(network.tree.root), network.tree
    numbers = 2 * network.plan.neurons * (n_top + 1) + -(-_largest(network) * n_top * _QUARTERS // count)
    polarity = torch.tensor([float(each.prior[1] - each.prior[0]) for each in held], dtype=torch.float64)
    parts = []
    for fresh in fresh_samples(network, held, streams, count, numbers, step):
        found = _squares(fresh)
        parts.append(torch.stack([found[node] for node in tree.latents], dim=-1))
    scale = ((1 - polarity.square()) / 4).to(network.device)
    return torch.cat(parts).clamp(min=0).sqrt() * scale.unsqueeze(-1)


def _largest(network: TreeNetwork) -> int:
    return max(len(block.nodes) * block.shape[0] * block.shape[1] for block in network.plan.blocks)


def _squares(fresh: Fresh) -> dict[Node, Tensor]:
    """Unbiased ``||DK^T DK||_F^2`` of every latent, ``(E,)``."""
    network = fresh.network
    # The samples of one tower are neighbours; quarters of the whole are as independent.
    root = fresh.states[:, 0].bool()
    weights = _weights(root.unflatten(-1, (_QUARTERS, -1)), network, fresh.members)
    done = run(network, fresh.leaves)
    backward = pull_back(network, done, identity_at(done))
    found: dict[Node, Tensor] = {}
    for depth, level in enumerate(network.plan.levels):
        for block in level.blocks:
            below, above = gathered(block, done.levels[depth + 1]), backward[depth]
            values = _block_squares(block, below, above, weights)
            found.update({node: values[:, place] for place, node in enumerate(block.nodes)})
    return found


def _weights(ones: Tensor, network: TreeNetwork, members: slice) -> Tensor:
    """``1 / n_1`` for samples of root state 1, ``-1 / n_0`` for the others: ``(E, quarters, samples)``."""
    many = ones.sum(-1, keepdim=True)
    few = ones.shape[-1] - many
    if bool((many == 0).any() | (few == 0).any()):
        place = f"root {show(network.tree.root)} in members {members.start} .. {members.stop - 1}"
        raise InputError(f"samples={4 * ones.shape[-1]}: must be enough to meet both states of {place}")
    return torch.where(ones, 1.0 / many, -1.0 / few).to(network.dtype)


def _block_squares(block: Block, below: Tensor, above: Tensor, weights: Tensor) -> Tensor:
    """``(E, nodes)``, from inputs ``(E, nodes, n_in, samples)`` and Jacobians ``(E, rows, n_L, samples)``."""
    n_top = above.shape[2]
    weighted = below.unflatten(-1, weights.shape[1:]) * weights[:, None, None]
    pulled = own_rows(block, above.flatten(2)).unflatten(-1, (n_top, *weights.shape[1:]))
    left = weighted.permute(0, 1, 3, 2, 4).flatten(0, 2)
    right = pulled.permute(0, 1, 4, 2, 3, 5).flatten(3, 4).flatten(0, 2)
    gaps = torch.bmm(left, right.mT).unflatten(-1, (-1, n_top)).flatten(1, 2)
    held = gaps.unflatten(0, (*below.shape[:2], _QUARTERS))
    joined = held.transpose(2, 3).transpose(3, 4).flatten(3)  # (E, nodes, p, n_L * quarters)
    grams = torch.matmul(joined.mT, joined).double().unflatten(-1, (n_top, -1)).unflatten(-3, (n_top, -1))

    def gram(first: int, second: int) -> Tensor:
        one: Tensor = grams[:, :, :, first, :, second]
        return (one + one.mT) / 2

    products = [(gram(a, b) * gram(c, d)).sum((-1, -2)) for a, b, c, d in _PAIRINGS]
    return torch.stack(products).mean(0)
