"""Correlations of latents with whole groups of neurons, summed over all configurations of the leaves."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hltm import HLTM, enumerate_leaves
from numeric.towers.checks import Real
from numeric.towers.network import slices
from numeric.trees.ceilings import exact_posteriors
from numeric.trees.metrics import NUMBERS, member_trees
from numeric.trees.network import TreeNetwork
from numeric.trees.readout import NOISE, canonical_correlations, check_noise, multiple_correlation


@torch.no_grad()
def group_correlations(
    network: TreeNetwork, trees: HLTM | Sequence[HLTM] | None = None, noise: Real = NOISE
) -> Float[Tensor, "E latents"]:
    """Correlation of every latent with the best linear combination of the neurons of its node, without sampling.

    With a latent of more states than two it is the first canonical correlation with the indicators of the states.

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
    law, found, prior = exact_posteriors(sources, "group_correlations", network.device)
    configurations = law.shape[1]
    leaves = torch.from_numpy(enumerate_leaves(tree)).to(network.device)
    law = law.expand(network.ensemble, -1)
    found = {node: own.expand(network.ensemble, -1, -1) for node, own in found.items()}
    limit = {node: _limit(found[node], own, law) for node, own in prior.items()}
    parts = []
    for members in slices(network.ensemble, NUMBERS // (3 * network.plan.neurons * configurations)):
        own = network.with_parameters([block[members] for block in network.parameters])
        activations = own.activations(leaves)
        result = [_group(activations[node].mT, found[node][members], variance, law[members]) for node in tree.latents]
        parts.append(torch.stack(result, dim=-1))
    return torch.cat(parts) * torch.stack([limit[node] for node in tree.latents], dim=-1)


def _limit(found: Tensor, prior: Tensor, law: Tensor) -> Tensor:
    """Share of a latent of two states that its posterior mean has: the correlation of both; 1 for other latents."""
    if found.shape[1] != 2:
        return law.new_ones(len(law))
    one = prior[:, 1].expand(len(law))
    spread = (one * (1 - one)).unsqueeze(-1)
    known = ((found[:, 1] - one.unsqueeze(-1)).square() * law).sum(-1, keepdim=True)
    return torch.where(spread > 0, known / torch.where(spread > 0, spread, 1.0), 0.0).squeeze(-1).sqrt()


def _group(values: Tensor, found: Tensor, noise: float, law: Tensor) -> Tensor:
    """Correlation of a group with the posterior mean of two states, or its first canonical one with more states."""
    if found.shape[1] == 2:
        return multiple_correlation(values, found[:, 1], noise, law)
    return canonical_correlations(values, found, noise, law)[:, 0]
