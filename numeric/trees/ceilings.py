"""Ceilings of correlations: the best correlation with a latent that a function of the leaves below it can have.

It is the maximal correlation of the latent with the leaves (Hirschfeld, Gebelein, Renyi), a singular value of their
joint law; for a latent of two states the standard deviation of its posterior mean in units of its own.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from hltm import HLTM, enumerate_leaves, leaf_distribution
from hltm.base.checks import Node, integer, show
from hltm.base.errors import InputError
from hltm.exact import leaf_configurations
from numeric.towers.checks import check_device
from numeric.towers.network import slices
from numeric.trees.metrics import NUMBERS, check_samples, latent_sampler, latent_states, leaf_places
from numeric.trees.streamed import postorder
from numeric.trees.streams import same_shape

LEAF_LIMIT = 2**16  # configurations


def posteriors(
    trees: Sequence[HLTM], leaves: Num[Tensor, "T n_leaves samples"]
) -> tuple[dict[Node, Tensor], dict[Node, Tensor]]:
    """Posterior probabilities of the states of every latent given the leaves below it, and their prior.

    Parameters
    ----------
    trees : sequence of HLTM
        T trees of one shape.
    leaves : Tensor
        States, ``(T, n_leaves, samples)``, rows in the order of ``tree.leaves``.

    Returns
    -------
    (dict of Node to Tensor, dict of Node to Tensor)
        float64, ``(T, m, samples)`` and ``(T, m)`` for each latent of m states, in the order of ``tree.latents``.
        Leaves of probability 0 have no posterior: NaN.

    Source
    ------
    Section 7, the ceiling. By messages from the leaves up, in time linear in the tree.

    Examples
    --------
    >>> from hltm import star_tree
    >>> found, prior = posteriors([star_tree(2, polarity=0.5)], torch.tensor([[[1, 0], [1, 1]]]))
    >>> found[0], prior[0]
    (tensor([[[0.1000, 0.5000],
             [0.9000, 0.5000]]], dtype=torch.float64), tensor([[0.5000, 0.5000]], dtype=torch.float64))
    """
    found = {node: (own, prior) for node, own, prior in _posteriors_upwards(trees, leaves)}
    order = same_shape(trees).latents
    return {node: found[node][0] for node in order}, {node: found[node][1] for node in order}


def _posteriors_upwards(trees: Sequence[HLTM], leaves: Tensor) -> Iterator[tuple[Node, Tensor, Tensor]]:
    """Every latent with its posteriors and its prior, children before parents; few of them in memory at a time."""
    tree = same_shape(trees)
    column = {leaf: number for number, leaf in enumerate(tree.leaves)}
    tables: dict[Node, Tensor] = {}
    prior = {tree.root: torch.from_numpy(np.stack([each.prior for each in trees])).to(leaves.device)}
    for node in tree.latents:
        for child in tree.children(node):
            table = np.stack([each.transition(node, child) for each in trees])
            tables[child] = torch.from_numpy(table).to(leaves.device)
            prior[child] = torch.einsum("ts,tsu->tu", prior[node], tables[child])
    below: dict[Node, Tensor] = {}
    for node in postorder(tree):
        likelihood = torch.ones(())
        for child in tree.children(node):
            if child in column:
                state = leaves[:, column[child]]
                own = torch.stack([state == number for number in range(tree.cardinality(child))], dim=1).double()
            else:
                own = below.pop(child)
            likelihood = likelihood * torch.matmul(tables[child], own)
        # Scaled by the largest entry: products over many leaves would vanish.
        below[node] = likelihood / likelihood.amax(1, keepdim=True)
        joint = below[node] * prior[node].unsqueeze(-1)
        yield node, joint / joint.sum(1, keepdim=True), prior[node]


def posterior_means(
    trees: Sequence[HLTM], leaves: Num[Tensor, "T n_leaves samples"]
) -> tuple[Float[Tensor, "T latents samples"], Float[Tensor, "T latents"]]:
    """Posterior probability of state 1 of every latent given the leaves below it, and its prior probability.

    Parameters
    ----------
    trees : sequence of HLTM
        T trees of one shape with latents of two states; :func:`numeric.posteriors` takes any.
    leaves : Tensor
        States, ``(T, n_leaves, samples)``, rows in the order of ``tree.leaves``.

    Returns
    -------
    (Tensor, Tensor)
        float64, ``(T, latents, samples)`` and ``(T, latents)``, in the order of ``tree.latents``.

    Raises
    ------
    InputError
        A latent of more states than two.

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
    for node in tree.latents:
        if tree.cardinality(node) != 2:
            states = f"{tree.cardinality(node)} states of latent {show(node)}"
            raise InputError(f"{states}: must be 2: state 1 has a mean; use numeric.posteriors")
    found, prior = posteriors(trees, leaves)
    means = torch.stack([found[node][:, 1] for node in tree.latents], dim=1)
    return means, torch.stack([prior[node][:, 1] for node in tree.latents], dim=1)


def maximal_correlations(
    probabilities: Float[Tensor, "*lead states samples"],
    law: Float[Tensor, "*lead samples"] | None = None,
    prior: Float[Tensor, "*lead states"] | None = None,
) -> Float[Tensor, "*lead ranks"]:
    r"""Maximal correlations of a latent with what its posterior is given, the largest first.

    With posteriors p and ``D = diag pi`` they are the square roots of the eigenvalues of
    ``D^(-1/2) E[(p - pi) (p - pi)^T] D^(-1/2)``. The k-th is the most that the k-th of the canonical correlations of
    any group of functions can be; the first is the most that the correlation ratio of any function can be.

    Parameters
    ----------
    probabilities : Tensor
        Posterior probability of each state, ``(..., m, samples)``.
    law : Tensor, optional
        Probability of each sample, ``(..., samples)``; by default all are equal.
    prior : Tensor, optional
        Probability of each state, ``(..., m)``; by default the mean posterior.

    Returns
    -------
    Tensor
        float64, ``(..., m - 1)``, decreasing, in [0, 1].

    Source
    ------
    Section 7, the ceiling, beyond two states.

    Examples
    --------
    >>> maximal_correlations(torch.eye(3, dtype=torch.float64))  # each sample tells the state
    tensor([1., 1.], dtype=torch.float64)
    """
    weighted = probabilities if law is None else probabilities * law.unsqueeze(-2)
    own = (weighted.mean(-1) if law is None else weighted.sum(-1)) if prior is None else prior
    centred = probabilities - own.unsqueeze(-1)
    shares = law.unsqueeze(-2) if law is not None else 1 / probabilities.shape[-1]
    scaled = centred * torch.where(own > 0, own, torch.inf).rsqrt().unsqueeze(-1)
    ranks = probabilities.shape[-2] - 1
    values = torch.linalg.eigvalsh(torch.matmul(scaled * shares, scaled.mT)).flip(-1)[..., :ranks]
    # The last eigenvalue is 0; others below rounding are too.
    limit = 8 * probabilities.shape[-2] * torch.finfo(torch.float64).eps
    return torch.where(values > limit, values, 0.0).sqrt().clamp(max=1.0)


def _ceiling(found: Tensor, prior: Tensor, law: Tensor | None = None) -> Tensor:
    """The first maximal correlation of a latent, ``(T,)``, from its posteriors and its exact prior."""
    if found.shape[1] != 2:
        return maximal_correlations(found, law, prior)[:, 0]
    one = prior[:, 1]
    spread = one * (1 - one)
    squares = (found[:, 1] - one.unsqueeze(-1)).square()
    known = squares.mean(-1) if law is None else (squares * law).sum(-1)
    return torch.where(spread > 0, (known / torch.where(spread > 0, spread, 1.0)).sqrt(), 0.0)


@torch.no_grad()
def ceilings(
    trees: HLTM | Sequence[HLTM],
    samples: int = 12_800,
    seeds: int | Sequence[int] = 0,
    device: str | torch.device = "cpu",
) -> Float[Tensor, "T latents"]:
    """Estimate the best correlation with ``z_mu`` of a function of the leaves below mu, for every latent.

    With more states than two it is the best over functions of the leaves and numbers of the states, the ceiling of
    correlation ratios and of canonical correlations alike.

    Parameters
    ----------
    trees : HLTM or sequence of HLTM
        T trees of one shape.
    samples : int
        For each tree.
    seeds : int or sequence of int
        Of the draws: tree t has ``seeds + t``, or the t-th.
    device : str or torch.device

    Returns
    -------
    Tensor
        float64, ``(T, latents)``; 0 where z_mu is constant. Squared, each is an unbiased estimate for two states, and
        for more too large by a multiple of 1 / samples where it is not well above the second maximal correlation.

    Raises
    ------
    InputError
        Trees of several shapes, or a value that is not allowed.

    Source
    ------
    Section 7: ``E[(m - E z)^2] / Var(z)``, with the exact ``E z``; beyond two states
    :func:`numeric.maximal_correlations`.

    Examples
    --------
    >>> from hltm import star_tree
    >>> round(ceilings(star_tree(1, polarity=0.5), samples=10_000).item(), 6)  # |rho|: a leaf is all there is
    0.5
    """
    sources = [trees] if isinstance(trees, HLTM) else list(trees)
    place = check_device(device) if isinstance(device, str) else device
    tree, count = same_shape(sources), integer(samples, "samples", 1)
    streams = [seeds + number for number in range(len(sources))] if isinstance(seeds, int) else list(seeds)
    check_samples(tree, count)
    sampler, leaf = latent_sampler(sources, streams, count, place), leaf_places(tree)
    result = []
    states = max(tree.cardinality(node) for node in tree.nodes)
    for members in slices(len(sources), NUMBERS // (2 * states * len(tree) * sampler.towers * sampler.batch)):
        leaves = latent_states(sampler, members)[:, leaf]
        upwards = _posteriors_upwards(sources[members], leaves)
        found = {node: _ceiling(own, prior) for node, own, prior in upwards}
        result.append(torch.stack([found[node] for node in tree.latents], dim=-1))
    return torch.cat(result)


@torch.no_grad()
def exact_ceilings(trees: HLTM | Sequence[HLTM]) -> Float[Tensor, "T latents"]:
    """The ceilings that :func:`numeric.ceilings` estimates, summed over all configurations of the leaves.

    Parameters
    ----------
    trees : HLTM or sequence of HLTM
        T trees of one shape with at most 2^16 configurations of the leaves.

    Returns
    -------
    Tensor
        float64, ``(T, latents)``; 0 where z_mu is constant.

    Raises
    ------
    InputError
        Trees of several shapes, or with too many leaves.

    Source
    ------
    Section 7, the ceiling.

    Examples
    --------
    >>> from hltm import star_tree
    >>> round(exact_ceilings(star_tree(2, polarity=0.5)).item(), 6)
    0.632456
    """
    sources = [trees] if isinstance(trees, HLTM) else list(trees)
    law, found, prior = exact_posteriors(sources, "exact_ceilings")
    each = [_ceiling(own, prior[node], law) for node, own in found.items()]
    return torch.stack(each, dim=-1)


def exact_posteriors(
    trees: Sequence[HLTM], name: str, device: torch.device | None = None
) -> tuple[Tensor, dict[Node, Tensor], dict[Node, Tensor]]:
    """Law of all configurations of the leaves ``(T, C)``, the posteriors given each, and the prior."""
    tree = same_shape(trees)
    leaf_configurations(tree, name, LEAF_LIMIT)
    leaves = torch.from_numpy(enumerate_leaves(tree)).to(device)
    law = torch.from_numpy(np.stack([leaf_distribution(each).ravel() for each in trees])).to(device)
    found, prior = posteriors(trees, leaves.mT.expand(len(trees), -1, -1))
    # A configuration of probability 0 has no posterior.
    possible = law.unsqueeze(1) > 0
    return law, {node: torch.where(possible, own, 0.0) for node, own in found.items()}, prior


def share_of_ceiling(best: Float[Tensor, "*lead"], ceiling: Float[Tensor, "*lead"]) -> Float[Tensor, "*lead"]:
    """Divide correlations by their ceilings; 0 where the ceiling is 0.

    Both are estimates: a share may exceed 1 by a standard error or two.

    Examples
    --------
    >>> share_of_ceiling(torch.tensor([0.4, 0.0]), torch.tensor([0.8, 0.0]))
    tensor([0.5000, 0.0000])
    """
    return torch.where(ceiling > 0, best / torch.where(ceiling > 0, ceiling, 1.0), 0.0)
