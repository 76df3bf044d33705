"""Correlations of latents with whole groups of neurons, summed over all configurations of the leaves."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hltm import HLTM, enumerate_leaves, leaf_distribution
from hltm.exact import leaf_configurations
from numeric.towers.checks import Real
from numeric.towers.network import slices
from numeric.trees.metrics import NUMBERS, member_trees, posterior_means
from numeric.trees.network import TreeNetwork
from numeric.trees.readout import NOISE, check_noise, multiple_correlation

LEAF_LIMIT = 2**16  # configurations


@torch.no_grad()
def group_correlations(
    network: TreeNetwork, trees: HLTM | Sequence[HLTM] | None = None, noise: Real = NOISE
) -> Float[Tensor, "E latents"]:
    """Correlation of every latent with the best linear combination of the neurons of its node, without sampling.

    Parameters
    ----------
    network : TreeNetwork
        E networks.
    trees : HLTM or sequence of HLTM, optional
        As in :func:`numeric.correlations`; at most 2^16 configurations of the leaves.
    noise : float
        As in :func:`numeric.multiple_correlation`; 0 for the canonical correlation.

    Returns
    -------
    Tensor
        float64, ``(E, latents)``, in the order of ``tree.latents``; 0 where ``z_mu`` is constant.

    Raises
    ------
    InputError
        A value that is not allowed, or a tree with too many leaves.

    Source
    ------
    Statement 7, emergence. Of a function of the leaves below mu it is the covariance with ``E[z_mu | leaves below mu]``
    that counts, over the variance of ``z_mu``.

    Examples
    --------
    >>> from hltm import star_tree
    >>> from numeric import ceilings
    >>> network = TreeNetwork(star_tree(2, polarity=0.5), width=8)  # as good as all functions of two leaves
    >>> round(group_correlations(network, noise=0).item(), 4), round(ceilings(network.tree, 100_000).item(), 2)
    (0.6325, 0.63)
    """
    sources, variance = member_trees(network, trees), check_noise(noise)
    tree = network.tree
    count = leaf_configurations(tree, "group_correlations", LEAF_LIMIT)
    leaves = torch.from_numpy(enumerate_leaves(tree)).to(network.device)
    table = np.stack([leaf_distribution(each).ravel() for each in sources])
    law = torch.from_numpy(table).to(network.device)
    means, prior = posterior_means(sources, leaves.mT.expand(len(sources), -1, -1))
    # A configuration of probability 0 has no posterior.
    means = torch.where(law.unsqueeze(1) > 0, means, 0.0).expand(network.ensemble, -1, -1)
    law, prior = law.expand(network.ensemble, -1), prior.expand(network.ensemble, -1)
    spread = (prior * (1 - prior)).unsqueeze(-1)
    known = ((means - prior.unsqueeze(-1)).square() * law.unsqueeze(1)).sum(-1, keepdim=True)
    limit = torch.where(spread > 0, known / torch.where(spread > 0, spread, 1.0), 0.0).squeeze(-1).sqrt()
    parts = []
    for members in slices(network.ensemble, NUMBERS // (3 * network.plan.neurons * count)):
        own = network.with_parameters([block[members] for block in network.parameters])
        activations = own.activations(leaves)
        result = [
            multiple_correlation(activations[node].mT, means[members, place], variance, law[members])
            for place, node in enumerate(tree.latents)
        ]
        parts.append(torch.stack(result, dim=-1))
    return torch.cat(parts) * limit
