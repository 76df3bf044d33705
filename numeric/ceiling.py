"""The ceiling of a correlation: what any function of the leaves below a node can reach, and the share reached.

The best function of the leaves below mu is the posterior mean ``m = E[z_mu | leaves below mu]``, and its correlation
with z_mu is ``sd(m) / sd(z_mu)``, since ``Cov(m, z_mu) = Var(m)``. Posteriors are exact, by one pass of messages from
the leaves up, for all nodes and trees at once; the variance is over samples.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node, integer
from numeric.towers.checks import check_device
from numeric.trees.metrics import NUMBERS, PURPOSE
from numeric.trees.streams import TripleSampler, same_shape


def posterior_means(
    trees: Sequence[HLTM], leaves: Num[Tensor, "T n_leaves samples"]
) -> tuple[Float[Tensor, "T latents samples"], Float[Tensor, "T latents"]]:
    """Posterior probability of state 1 of every latent given the leaves below it, and its prior probability.

    Parameters
    ----------
    trees : sequence of HLTM
        T binary trees of one shape.
    leaves : Tensor
        States, ``(T, n_leaves, samples)``, rows in the order of ``tree.leaves``.

    Returns
    -------
    (Tensor, Tensor)
        float64, ``(T, latents, samples)`` and ``(T, latents)``, in the order of ``tree.latents``.

    Source
    ------
    Section 7, the ceiling.

    Examples
    --------
    >>> from hltm import star_tree
    >>> found, prior = posterior_means([star_tree(2, polarity=0.5)], torch.tensor([[[1, 0], [1, 1]]]))
    >>> found, prior
    (tensor([[[0.9000, 0.5000]]], dtype=torch.float64), tensor([[0.5000]], dtype=torch.float64))
    """
    tree = same_shape(trees)
    column = {leaf: number for number, leaf in enumerate(tree.leaves)}
    tables = _tables(trees, tree, leaves.device)
    prior = _priors(trees, tree, leaves.device)
    below: dict[Node, Tensor] = {}
    found: dict[Node, Tensor] = {}
    for node in reversed(tree.nodes):
        if node in column:
            state = leaves[:, column[node]]
            below[node] = torch.stack([state == 0, state == 1], dim=1).double()
            continue
        likelihood = torch.ones(())
        for child in tree.children(node):
            likelihood = likelihood * torch.matmul(tables[child], below.pop(child))
        # Scaled by the largest entry: products over many leaves would vanish.
        below[node] = likelihood / likelihood.amax(1, keepdim=True)
        joint = below[node] * prior[node].unsqueeze(-1)
        found[node] = joint[:, 1] / joint.sum(1)
    means = torch.stack([found[node] for node in tree.latents], dim=1)
    return means, torch.stack([prior[node][:, 1] for node in tree.latents], dim=1)


def _tables(trees: Sequence[HLTM], tree: HLTM, device: torch.device) -> dict[Node, Tensor]:
    """``(T, 2, 2)`` of every node but the root: rows are states of its parent."""
    return {
        child: torch.from_numpy(np.stack([each.transition(node, child) for each in trees])).to(device)
        for node in tree.latents
        for child in tree.children(node)
    }


def _priors(trees: Sequence[HLTM], tree: HLTM, device: torch.device) -> dict[Node, Tensor]:
    """``(T, 2)`` of every latent."""
    found = {tree.root: torch.from_numpy(np.stack([each.prior for each in trees])).to(device)}
    tables = _tables(trees, tree, device)
    for node in tree.nodes:
        for child in tree.children(node):
            found[child] = torch.einsum("ts,tsu->tu", found[node], tables[child])
    return found


@torch.no_grad()
def ceilings(
    trees: HLTM | Sequence[HLTM],
    samples: int = 12_800,
    seeds: int | Sequence[int] = 0,
    device: str | torch.device = "cpu",
) -> Float[Tensor, "T latents"]:
    """Best correlation with ``z_mu`` that any function of the leaves below mu can have, for every latent.

    Parameters
    ----------
    trees : HLTM or sequence of HLTM
        T binary trees of one shape.
    samples : int
        For each tree.
    seeds : int or sequence of int
        Of the draws: tree t has ``seeds + t``, or the t-th.
    device : str or torch.device

    Returns
    -------
    Tensor
        float64, ``(T, latents)``; 0 where z_mu is constant. Squared, each is an unbiased estimate.

    Raises
    ------
    InputError
        Trees of several shapes, or a value that is not allowed.

    Source
    ------
    Section 7: ``E[(m - E z)^2] / Var(z)``, with the exact ``E z``.

    Examples
    --------
    >>> from hltm import star_tree
    >>> round(ceilings(star_tree(1, polarity=0.5), samples=10_000).item(), 6)  # |rho|: a leaf is all there is
    0.5
    """
    held = [trees] if isinstance(trees, HLTM) else list(trees)
    place = check_device(device) if isinstance(device, str) else device
    tree, count = same_shape(held), integer(samples, "samples", 1)
    streams = [seeds + number for number in range(len(held))] if isinstance(seeds, int) else list(seeds)
    batch = -(-count // 10)
    sampler = TripleSampler(held, streams, batch, 9, place)
    many = max(1, NUMBERS // (4 * len(tree) * 11 * batch))
    found = []
    for first in range(0, len(held), many):
        here = list(range(first, min(first + many, len(held))))
        leaves, _ = sampler.keep(torch.tensor(here, device=place)).states(0, PURPOSE)
        # x_+ shares its root with x_1: left out, the samples are independent.
        fresh = torch.cat([leaves[..., :batch], leaves[..., 2 * batch :]], dim=-1)
        means, prior = posterior_means([held[number] for number in here], fresh)
        spread = prior * (1 - prior)
        share = (means - prior.unsqueeze(-1)).square().mean(-1) / torch.where(spread > 0, spread, 1.0)
        found.append(torch.where(spread > 0, share.sqrt(), 0.0))
    return torch.cat(found)


def share_of_ceiling(best: Float[Tensor, "*lead"], ceiling: Float[Tensor, "*lead"]) -> Float[Tensor, "*lead"]:
    """Correlation over its ceiling; 0 where the ceiling is 0. By sampling it may exceed 1 by a standard error or two.

    Examples
    --------
    >>> share_of_ceiling(torch.tensor([0.4, 0.0]), torch.tensor([0.8, 0.0]))
    tensor([0.5000, 0.0000])
    """
    return torch.where(ceiling > 0, best / torch.where(ceiling > 0, ceiling, 1.0), 0.0)
