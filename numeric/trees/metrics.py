"""Metrics of tree networks: correlations of neurons with latents, their ceilings, norms of covariance operators.

Correlations are per neuron, of the best neuron of a node, of its whole group, and their mean over a level. Variances
are two-pass in double precision: a one-pass variance in single precision cancels for a nearly constant neuron. A neuron
that is constant up to rounding has correlation 0 and is counted. A ceiling is the best correlation that a function of
the leaves below a node can have. All are estimates from samples, drawn apart from those of training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node, integer, show
from hltm.base.errors import InputError
from numeric.towers.checks import check_device
from numeric.towers.network import slices
from numeric.trees.network import TreeNetwork
from numeric.trees.operator import identity_at, pull_back, run
from numeric.trees.plan import Block, gathered, own_rows
from numeric.trees.readout import multiple_correlation
from numeric.trees.streams import TripleSampler, same_shape

PURPOSE = 2  # of the draws: apart from those of training
NUMBERS = 2**22  # in memory at a time
_TOWERS = 10  # independent samples of one draw: x_1 and nine negatives


@dataclass(frozen=True, eq=False)
class Correlations:
    """Correlations of E networks on samples of their trees.

    Attributes
    ----------
    nodes : tuple of Node
        The latents, in the order of ``tree.latents``.
    neurons : dict of Node to Tensor
        ``(E, |N_mu|)``: absolute correlation of every neuron with ``z_mu``; 0 for a constant one.
    best : Tensor
        ``(E, latents)``: that of the best neuron of each node.
    group : Tensor
        ``(E, latents)``: that of the best linear combination of all neurons of each node, read with noise of 0.1 of
        their mean variance (:func:`numeric.multiple_correlation`).
    constant : Tensor
        ``(E, latents)``: how many neurons were constant.
    heights : tuple of int
        Level of each latent: 1 above leaves only, the largest at the root.
    samples : int
        For each network.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> network = TreeNetwork(complete_tree(depth=2, branching=2, polarity=1), width=2, slope=1.0)
    >>> found = correlations(network, samples=100)
    >>> found.nodes, found.heights, tuple(found.by_level.shape)
    ((0, 1, 2), (2, 1, 1), (1, 2))
    """

    nodes: tuple[Node, ...]
    neurons: dict[Node, Tensor]
    best: Float[Tensor, "E latents"]
    group: Float[Tensor, "E latents"]
    constant: Int[Tensor, "E latents"]
    heights: tuple[int, ...]
    samples: int

    def __repr__(self) -> str:
        sizes = f"members={len(self.best)}, latents={len(self.nodes)}, samples={self.samples}"
        return f"Correlations({sizes}, mean of the best={float(self.best.mean()):.4g})"

    @property
    def by_level(self) -> Float[Tensor, "E levels"]:
        """Mean of the best over the nodes of each level, level 1 first."""
        return level_means(self.best, self.heights)

    @property
    def group_by_level(self) -> Float[Tensor, "E levels"]:
        """Mean of the groups over the nodes of each level, level 1 first."""
        return level_means(self.group, self.heights)


def level_means(values: Float[Tensor, "*lead latents"], heights: Sequence[int]) -> Float[Tensor, "*lead levels"]:
    """Mean over the latents of each level, level 1 (parents of leaves) first.

    Examples
    --------
    >>> level_means(torch.tensor([3.0, 1.0, 2.0]), (2, 1, 1))
    tensor([1.5000, 3.0000])
    """
    levels = torch.tensor(heights, device=values.device)
    return torch.stack([values[..., levels == level].mean(-1) for level in range(1, max(heights) + 1)], dim=-1)


def latent_heights(tree: HLTM) -> tuple[int, ...]:
    """Height of each latent, 1 above leaves only, in the order of ``tree.latents``.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> latent_heights(complete_tree(depth=2, branching=2, polarity=0.5))
    (2, 1, 1)
    """
    height: dict[Node, int] = {}
    for node in reversed(tree.nodes):
        height[node] = max((height[child] + 1 for child in tree.children(node)), default=0)
    return tuple(height[node] for node in tree.latents)


def absolute_correlation(
    values: Num[Tensor, "*lead neurons samples"], latent: Num[Tensor, "*lead samples"]
) -> Float[Tensor, "*lead neurons"]:
    """Absolute correlation of each row with a latent; 0 where either is constant up to rounding.

    Parameters
    ----------
    values : Tensor
        ``(..., neurons, samples)`` of any type.
    latent : Tensor
        ``(..., samples)``.

    Returns
    -------
    Tensor
        float64, in [0, 1].

    Source
    ------
    Statement 7, emergence. Two passes in double precision: the mean first, then the centred moments.

    Examples
    --------
    >>> values = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    >>> absolute_correlation(values, torch.tensor([0, 1, 2]))
    tensor([1., 0.], dtype=torch.float64)
    """
    result, _ = _correlation(values, latent)
    return result


def _correlation(values: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Correlations, and whether each row is constant."""
    kind = values.dtype if values.is_floating_point() else torch.float64
    largest = torch.maximum(values.amax(-1).abs(), values.amin(-1).abs()).double()
    rows = values.to(torch.float64, copy=True)
    rows -= rows.mean(-1, keepdim=True)
    states = latent.double()
    states = states - states.mean(-1, keepdim=True)
    samples = rows.shape[-1]
    spread = torch.linalg.vector_norm(rows, dim=-1).square()
    # Equal activations may differ in their last bits: they are sums in an order that products choose.
    constant = spread <= samples * (8 * torch.finfo(kind).eps * largest).square()
    own = states.square().sum(-1, keepdim=True)
    product = torch.matmul(rows, states.unsqueeze(-1)).squeeze(-1)
    dull = constant | (own <= 0)
    scale = torch.where(dull, 1.0, (spread * own).sqrt())
    return torch.where(dull, 0.0, product.abs() / scale).clamp(max=1.0), constant


def member_trees(network: TreeNetwork, trees: HLTM | Sequence[HLTM] | None) -> list[HLTM]:
    """One tree for all members, or one for each, of the network's shape and with binary latents."""
    if trees is None or isinstance(trees, HLTM):
        sources = [trees or network.tree]
    else:
        sources = list(trees)
        if len(sources) != network.ensemble:
            raise InputError(f"{len(sources)} trees for {network.ensemble} members: must be one tree, or one for each")
    tree = same_shape([network.tree, *sources])
    for node in tree.latents:
        if tree.cardinality(node) != 2:
            states = f"{tree.cardinality(node)} states of latent {show(node)}"
            raise InputError(f"{states}: must be 2: a correlation is with a binary latent")
    return sources


def member_seeds(network: TreeNetwork, seeds: int | Sequence[int]) -> list[int]:
    """``seeds + m``, or the m-th of a sequence, for member m."""
    if isinstance(seeds, int):
        return [seeds + number for number in range(network.ensemble)]
    if len(seeds) != network.ensemble:
        raise InputError(f"{len(seeds)} seeds for {network.ensemble} members: must be one, or one for each")
    return list(seeds)


@dataclass(frozen=True, eq=False)
class Fresh:
    """Samples of some members with their networks: leaves ``(E, n_leaves, n)``, states ``(E, nodes, n)``."""

    members: slice
    network: TreeNetwork
    leaves: Tensor
    states: Tensor


def fresh_samples(
    network: TreeNetwork, trees: Sequence[HLTM], seeds: Sequence[int], samples: int, numbers: int, step: int = 0
) -> Iterator[Fresh]:
    """Independent samples for some members at a time; one sample of one member needs `numbers` numbers in memory.

    At least `samples`, a multiple of ten; those of a member do not depend on how many are taken together.
    """
    sampler = _sampler(trees, seeds, samples, network.device, network.dtype)
    for members in slices(network.ensemble, NUMBERS // (numbers * sampler.batch * _TOWERS)):
        own = network.with_parameters([block[members] for block in network.parameters])
        yield Fresh(members, own, *_states(sampler, members, step))


def _sampler(
    trees: Sequence[HLTM], seeds: Sequence[int], samples: int, device: torch.device, dtype: torch.dtype = torch.float64
) -> TripleSampler:
    return TripleSampler(trees, seeds, -(-samples // _TOWERS), _TOWERS - 1, device, dtype)


def _states(sampler: TripleSampler, members: slice, step: int = 0) -> tuple[Tensor, Tensor]:
    """Leaves and all states of some members; x_+ is left out, since it shares its root with x_1."""
    part = sampler.keep(torch.arange(members.start, members.stop, device=sampler.keys.device))
    first, second = sampler.batch, 2 * sampler.batch
    leaves, states = (torch.cat([v[..., :first], v[..., second:]], dim=-1) for v in part.states(step, PURPOSE))
    return leaves, states


@torch.no_grad()
def correlations(
    network: TreeNetwork,
    trees: HLTM | Sequence[HLTM] | None = None,
    samples: int = 12_800,
    seeds: int | Sequence[int] = 0,
    *,
    step: int = 0,
) -> Correlations:
    """Measure the correlation of every neuron, and of every group, with the latent of its node, on fresh samples.

    Parameters
    ----------
    network : TreeNetwork
        E networks.
    trees : HLTM or sequence of HLTM, optional
        Where the samples come from: one tree for all, or one of the same shape for each member; by default that of
        the network. Binary latents.
    samples : int
        For each member, rounded up to a multiple of 10; at least 2.
    seeds : int or sequence of int
        Of the draws: member m has ``seeds + m``, or the m-th. Apart from the draws of training with the same seed.
    step : int
        Other steps draw other samples.

    Returns
    -------
    Correlations

    Raises
    ------
    InputError
        A value that is not allowed.

    Source
    ------
    Statement 7, emergence. The standard error of a correlation r is about ``(1 - r^2) / samples^(1/2)``.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> tree = complete_tree(depth=2, branching=2, polarity=0.9)
    >>> found = correlations(TreeNetwork(tree, width=4, ensemble=3), tree, samples=1000)
    >>> found.best.shape, found.by_level.shape
    (torch.Size([3, 3]), torch.Size([3, 2]))
    """
    sources, streams = member_trees(network, trees), member_seeds(network, seeds)
    tree, count = network.tree, integer(samples, "samples", 2)
    number = {node: index for index, node in enumerate(tree.nodes)}
    values: dict[Node, list[Tensor]] = {node: [] for node in tree.latents}
    flags: dict[Node, list[Tensor]] = {node: [] for node in tree.latents}
    groups: dict[Node, list[Tensor]] = {node: [] for node in tree.latents}
    for fresh in fresh_samples(network, sources, streams, count, 3 * network.plan.neurons):
        levels = fresh.network.levels(fresh.leaves.mT)
        for level, activations in zip(network.plan.levels, levels, strict=True):
            for block in level.blocks:
                latent = fresh.states[:, [number[node] for node in block.nodes]]
                rows = own_rows(block, activations)
                result, dull = _correlation(rows, latent)
                whole = multiple_correlation(rows, latent)
                for place, node in enumerate(block.nodes):
                    values[node].append(result[:, place])
                    flags[node].append(dull[:, place])
                    groups[node].append(whole[:, place])
    neurons = {node: torch.cat(parts) for node, parts in values.items()}
    best = torch.stack([each.amax(-1) for each in neurons.values()], dim=-1)
    constant = torch.stack([torch.cat(parts).sum(-1) for parts in flags.values()], dim=-1)
    group = torch.stack([torch.cat(parts) for parts in groups.values()], dim=-1)
    heights, drawn = latent_heights(tree), -(-count // _TOWERS) * _TOWERS
    return Correlations(tree.latents, neurons, best, group, constant, heights, drawn)


# Ceilings of correlations


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
    tables: dict[Node, Tensor] = {}
    prior = {tree.root: torch.from_numpy(np.stack([each.prior for each in trees])).to(leaves.device)}
    for node in tree.latents:
        for child in tree.children(node):
            table = np.stack([each.transition(node, child) for each in trees])
            tables[child] = torch.from_numpy(table).to(leaves.device)
            prior[child] = torch.einsum("ts,tsu->tu", prior[node], tables[child])
    below: dict[Node, Tensor] = {}
    result: dict[Node, Tensor] = {}
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
        result[node] = joint[:, 1] / joint.sum(1)
    means = torch.stack([result[node] for node in tree.latents], dim=1)
    return means, torch.stack([prior[node][:, 1] for node in tree.latents], dim=1)


@torch.no_grad()
def ceilings(
    trees: HLTM | Sequence[HLTM],
    samples: int = 12_800,
    seeds: int | Sequence[int] = 0,
    device: str | torch.device = "cpu",
) -> Float[Tensor, "T latents"]:
    """Estimate the best correlation with ``z_mu`` of a function of the leaves below mu, for every latent.

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
    sources = [trees] if isinstance(trees, HLTM) else list(trees)
    place = check_device(device) if isinstance(device, str) else device
    tree, count = same_shape(sources), integer(samples, "samples", 1)
    streams = [seeds + number for number in range(len(sources))] if isinstance(seeds, int) else list(seeds)
    sampler = _sampler(sources, streams, count, place)
    result = []
    for members in slices(len(sources), NUMBERS // (4 * len(tree) * sampler.towers * sampler.batch)):
        leaves, _ = _states(sampler, members)
        means, prior = posterior_means(sources[members], leaves)
        spread = prior * (1 - prior)
        share = (means - prior.unsqueeze(-1)).square().mean(-1) / torch.where(spread > 0, spread, 1.0)
        result.append(torch.where(spread > 0, share.sqrt(), 0.0))
    return torch.cat(result)


def share_of_ceiling(best: Float[Tensor, "*lead"], ceiling: Float[Tensor, "*lead"]) -> Float[Tensor, "*lead"]:
    """Divide correlations by their ceilings; 0 where the ceiling is 0.

    Both are estimates: a share may exceed 1 by a standard error or two.

    Examples
    --------
    >>> share_of_ceiling(torch.tensor([0.4, 0.0]), torch.tensor([0.8, 0.0]))
    tensor([0.5000, 0.0000])
    """
    return torch.where(ceiling > 0, best / torch.where(ceiling > 0, ceiling, 1.0), 0.0)


# Frobenius norms of covariance operators

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
    sources, streams = member_trees(network, trees), member_seeds(network, seeds)
    count = -(-integer(samples, "samples", 8) // 20) * 20
    n_top, tree = network.width(network.tree.root), network.tree
    numbers = 2 * network.plan.neurons * (n_top + 1) + -(-_largest(network) * n_top * _QUARTERS // count)
    polarity = torch.tensor([float(each.prior[1] - each.prior[0]) for each in sources], dtype=torch.float64)
    parts = []
    for fresh in fresh_samples(network, sources, streams, count, numbers, step):
        result = _squares(fresh)
        parts.append(torch.stack([result[node] for node in tree.latents], dim=-1))
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
    result: dict[Node, Tensor] = {}
    for depth, level in enumerate(network.plan.levels):
        for block in level.blocks:
            below, above = gathered(block, done.levels[depth + 1]), backward[depth]
            values = _block_squares(block, below, above, weights)
            result.update({node: values[:, place] for place, node in enumerate(block.nodes)})
    return result


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
    quarters = gaps.unflatten(0, (*below.shape[:2], _QUARTERS))
    joined = quarters.transpose(2, 3).transpose(3, 4).flatten(3)  # (E, nodes, p, n_L * quarters)
    grams = torch.matmul(joined.mT, joined).double().unflatten(-1, (n_top, -1)).unflatten(-3, (n_top, -1))

    def gram(first: int, second: int) -> Tensor:
        one: Tensor = grams[:, :, :, first, :, second]
        return (one + one.mT) / 2

    products = [(gram(a, b) * gram(c, d)).sum((-1, -2)) for a, b, c, d in _PAIRINGS]
    return torch.stack(products).mean(0)
