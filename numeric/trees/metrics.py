"""Metrics of tree networks: correlations of neurons with latents, norms of covariance operators.

Correlations are per neuron, of the best neuron of a node, of its whole group, and their mean over a level. With a
latent of more than two states they are with the best number for each state: correlation ratios, canonical correlations.
Variances are two-pass in double precision: a one-pass variance in single precision cancels for a nearly constant
neuron. A neuron that is constant up to rounding has correlation 0 and is counted. All are estimates from samples,
drawn apart from those of training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node, integer, show
from hltm.base.errors import InputError
from numeric.towers.network import slices
from numeric.trees.network import TreeNetwork
from numeric.trees.operator import identity_at, pull_back, run
from numeric.trees.plan import Block, gathered, own_rows
from numeric.trees.readout import canonical_correlations, indicators, multiple_correlation, ratio_and_constant
from numeric.trees.streamed import groups_upwards
from numeric.trees.streams import TripleSampler, same_shape

PURPOSE = 2  # of the draws: apart from those of training
NUMBERS = 2**22  # in memory at a time
STATE_LIMIT = 2**32  # of all nodes of one member, a byte each
_TOWERS = 10  # independent samples of one draw: x_1 and nine negatives


@dataclass(frozen=True, eq=False)
class Correlations:
    """Correlations of E networks on samples of their trees.

    Attributes
    ----------
    nodes : tuple of Node
        The latents, in the order of ``tree.latents``.
    neurons : dict of Node to Tensor
        ``(E, |N_mu|)``: absolute correlation of every neuron with ``z_mu``, 0 for a constant one; the correlation ratio
        (:func:`numeric.correlation_ratio`) where ``z_mu`` has more states than two.
    best : Tensor
        ``(E, latents)``: that of the best neuron of each node.
    group : Tensor
        ``(E, latents)``: that of the best linear combination of all neurons of each node, read with noise of 0.1 of
        their mean variance (:func:`numeric.multiple_correlation`); where ``z_mu`` has more states than two, the first
        of its canonical correlations.
    constant : Tensor
        ``(E, latents)``: how many neurons were constant.
    heights : tuple of int
        Level of each latent: 1 above leaves only, the largest at the root.
    samples : int
        For each network.
    canonical : dict of Node to Tensor
        ``(E, m - 1)``: all canonical correlations of the groups of latents of ``m > 2`` states, read with the same
        noise (:func:`numeric.canonical_correlations`).

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
    canonical: dict[Node, Tensor] = field(default_factory=dict)

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
    places: list[list[int]] = [[] for _ in range(max(heights))]
    for place, level in enumerate(heights):
        places[level - 1].append(place)
    means = [values[..., torch.tensor(own, device=values.device)].mean(-1) for own in places]
    return torch.stack(means, dim=-1)


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
    """One tree for all members, or one for each, of the network's shape."""
    if trees is None or isinstance(trees, HLTM):
        sources = [trees or network.tree]
    else:
        sources = list(trees)
        if len(sources) != network.ensemble:
            raise InputError(f"{len(sources)} trees for {network.ensemble} members: must be one tree, or one for each")
    same_shape([network.tree, *sources])
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
    sampler, leaf = latent_sampler(trees, seeds, samples, network.device, network.dtype), leaf_places(network.tree)
    for members in slices(network.ensemble, NUMBERS // (numbers * sampler.batch * _TOWERS)):
        own = network.with_parameters([block[members] for block in network.parameters])
        states = latent_states(sampler, members, step)
        yield Fresh(members, own, states[:, leaf].to(network.dtype), states)


def leaf_places(tree: HLTM) -> list[int]:
    """Places of the leaves among all nodes."""
    number = {node: index for index, node in enumerate(tree.nodes)}
    return [number[leaf] for leaf in tree.leaves]


def check_samples(tree: HLTM, samples: int) -> None:
    """Refuse samples whose states, a byte each, do not fit."""
    if (states := samples * len(tree)) > STATE_LIMIT:
        rule = f"must be at most {STATE_LIMIT:,} states, are {states:,}; use fewer samples"
        raise InputError(f"samples={samples:,} of {len(tree):,} nodes: {rule}")


def latent_sampler(
    trees: Sequence[HLTM], seeds: Sequence[int], samples: int, device: torch.device, dtype: torch.dtype = torch.float64
) -> TripleSampler:
    """Sampler of `samples` independent states of each tree, apart from those of training."""
    return TripleSampler(trees, seeds, -(-samples // _TOWERS), _TOWERS - 1, device, dtype)


def latent_states(sampler: TripleSampler, members: slice, step: int = 0) -> Tensor:
    """All states of some members, ``(E, nodes, n)``; x_+ is left out, since it shares its root with x_1."""
    part = sampler.keep(torch.arange(members.start, members.stop, device=sampler.keys.device))
    return part.independent(step, PURPOSE)


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
        the network.
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
    return all_correlations([network], trees, samples, seeds, step)[0]


def all_correlations(
    networks: Sequence[TreeNetwork],
    trees: HLTM | Sequence[HLTM] | None,
    samples: int,
    seeds: int | Sequence[int],
    step: int = 0,
) -> list[Correlations]:
    """Correlations of networks of one plan on the same samples, drawn once."""
    network = networks[0]
    sources, streams = member_trees(network, trees), member_seeds(network, seeds)
    tree, count = network.tree, integer(samples, "samples", 2)
    check_samples(tree, count)
    wide = sum(tree.cardinality(node) for node in tree.latents if tree.cardinality(node) > 2)
    numbers = 3 * network.plan.neurons + 3 * wide
    sampler = latent_sampler(sources, streams, count, network.device, network.dtype)
    leaf = leaf_places(tree)
    found: list[dict[Node, list[tuple[Tensor, ...]]]] = [{node: [] for node in tree.latents} for _ in networks]
    for members in slices(network.ensemble, NUMBERS // (numbers * sampler.batch * _TOWERS)):
        states = latent_states(sampler, members, step)
        leaves = states[:, leaf]
        for own, result in zip(networks, found, strict=True):
            _measure(own.with_parameters([block[members] for block in own.parameters]), states, leaves, result)
    return [_joined(tree, result, -(-count // _TOWERS) * _TOWERS) for result in found]


def _measure(network: TreeNetwork, states: Tensor, leaves: Tensor, found: dict[Node, list[tuple[Tensor, ...]]]) -> None:
    """Measure every latent and append the result to its list."""
    tree = network.tree
    number = {node: index for index, node in enumerate(tree.nodes)}
    for nodes, whole in groups_upwards(network, leaves):
        for count, places in _by_states(tree, nodes):
            rows = whole if len(places) == len(nodes) else whole[:, places]
            latent = states[:, [number[nodes[place]] for place in places]]
            measured = _measured(rows, latent, count)
            for own, place in enumerate(places):
                found[nodes[place]].append(tuple(part[:, own] for part in measured))


def _joined(tree: HLTM, found: dict[Node, list[tuple[Tensor, ...]]], drawn: int) -> Correlations:
    joined = {node: [torch.cat(each) for each in zip(*parts, strict=True)] for node, parts in found.items()}
    neurons = {node: parts[0] for node, parts in joined.items()}
    best = torch.stack([each.amax(-1) for each in neurons.values()], dim=-1)
    constant = torch.stack([parts[1].sum(-1) for parts in joined.values()], dim=-1)
    group = torch.stack([parts[2][:, 0] for parts in joined.values()], dim=-1)
    canonical = {node: parts[2] for node, parts in joined.items() if tree.cardinality(node) > 2}
    return Correlations(tree.latents, neurons, best, group, constant, latent_heights(tree), drawn, canonical)


def _by_states(tree: HLTM, nodes: Sequence[Node]) -> list[tuple[int, list[int]]]:
    """Numbers of states of some latents, each with the places of those that have as many."""
    places: dict[int, list[int]] = {}
    for place, node in enumerate(nodes):
        places.setdefault(tree.cardinality(node), []).append(place)
    return list(places.items())


def _measured(rows: Tensor, latent: Tensor, states: int) -> tuple[Tensor, Tensor, Tensor]:
    """Correlations of neurons, which are constant, and canonical correlations of the group, the largest first."""
    if states == 2:
        return *_correlation(rows, latent), multiple_correlation(rows, latent).unsqueeze(-1)
    probabilities = indicators(latent, states)
    return *ratio_and_constant(rows, probabilities), canonical_correlations(rows, probabilities)


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
        As in :func:`numeric.correlations`.
    samples : int
        For each member, rounded up to a multiple of 20; each quarter must meet every state of the root.

    Returns
    -------
    Tensor
        float64, ``(E, latents)``, in the order of ``tree.latents``.

    Raises
    ------
    InputError
        A value that is not allowed, or too few samples to meet every state of the root.

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
    prior = torch.stack([torch.from_numpy(each.prior) for each in sources]).to(network.device)
    own = prior.expand(network.ensemble, -1)
    parts = []
    for fresh in fresh_samples(network, sources, streams, count, numbers * _contrasts(tree), step):
        result = _squares(fresh, own[fresh.members])
        parts.append(torch.stack([result[node] for node in tree.latents], dim=-1))
    norms = torch.cat(parts).clamp(min=0).sqrt()
    if prior.shape[1] > 2:
        return norms
    scale = (1 - (prior[:, 1] - prior[:, 0]).square()) / 4
    return norms * scale.unsqueeze(-1)


def _contrasts(tree: HLTM) -> int:
    """Number of contrasts of the states of the root."""
    states = tree.cardinality(tree.root)
    return states if states > 2 else 1


def _largest(network: TreeNetwork) -> int:
    return max(len(block.nodes) * block.shape[0] * block.shape[1] for block in network.plan.blocks)


def _squares(fresh: Fresh, prior: Tensor) -> dict[Node, Tensor]:
    """Unbiased ``||sum_k D_k D_k^T||_F^2`` of every latent, ``(E,)``, D_k the contrasts of the mean connections."""
    network = fresh.network
    # The samples of one tower are neighbours; quarters of the whole are as independent.
    weights = _weights(fresh.states[:, 0].unflatten(-1, (_QUARTERS, -1)), prior, network, fresh.members)
    done = run(network, fresh.leaves)
    backward = pull_back(network, done, identity_at(done))
    result: dict[Node, Tensor] = {}
    for depth, level in enumerate(network.plan.levels):
        for block in level.blocks:
            below, above = gathered(block, done.levels[depth + 1]), backward[depth]
            values = _block_squares(block, below, above, weights)
            result.update({node: values[:, place] for place, node in enumerate(block.nodes)})
    return result


def _weights(root: Tensor, prior: Tensor, network: TreeNetwork, members: slice) -> Tensor:
    """Weights of samples ``(E, contrasts, quarters, samples)`` by the state of the root ``(E, quarters, samples)``.

    Two states: ``1 / n_1``, ``-1 / n_0``, the difference of two means. More: ``pi_k^(1/2) (1_{z = k} - pi_z) / n_z``,
    k = 0 .. m - 1, since ``diag pi - pi pi^T = sum_k pi_k (e_k - pi) (e_k - pi)^T``.
    """
    seen = [root == state for state in range(prior.shape[1])]
    counts = [own.sum(-1, keepdim=True) for own in seen]
    # A difference of two means needs both; a contrast of more does without a state of probability zero.
    needed = (prior > 0) | (len(seen) == 2)
    missing = [(many == 0).any(-1).any(-1) & needed[:, state] for state, many in enumerate(counts)]
    if bool(torch.stack(missing).any()):
        place = f"root {show(network.tree.root)} in members {members.start} .. {members.stop - 1}"
        states = "both states" if len(seen) == 2 else "every state"
        raise InputError(f"samples={_QUARTERS * root.shape[-1]}: must be enough to meet {states} of {place}")
    if len(seen) == 2:
        return torch.where(seen[1], 1.0 / counts[1], -1.0 / counts[0]).to(network.dtype).unsqueeze(1)
    shares = sum(own / many.clamp(min=1) * prior[:, state, None, None]
                 for state, (own, many) in enumerate(zip(seen, counts, strict=True)))  # fmt: skip
    contrasts = [
        prior[:, state, None, None].sqrt() * (own / many.clamp(min=1) - shares)
        for state, (own, many) in enumerate(zip(seen, counts, strict=True))
    ]
    return torch.stack(contrasts, dim=1).to(network.dtype)


def _block_squares(block: Block, below: Tensor, above: Tensor, weights: Tensor) -> Tensor:
    """``(E, nodes)``, from inputs ``(E, nodes, n_in, samples)`` and Jacobians ``(E, rows, n_L, samples)``."""
    n_top, sizes = above.shape[2], weights.shape[2:]
    inputs = below.unflatten(-1, sizes)
    pulled = own_rows(block, above.flatten(2)).unflatten(-1, (n_top, *sizes))
    right = pulled.permute(0, 1, 4, 2, 3, 5).flatten(3, 4).flatten(0, 2)
    gaps = []
    for weight in weights.unbind(1):
        left = (inputs * weight[:, None, None]).permute(0, 1, 3, 2, 4).flatten(0, 2)
        gaps.append(torch.bmm(left, right.mT).unflatten(-1, (-1, n_top)).flatten(1, 2))
    quarters = torch.cat(gaps, dim=-1).unflatten(0, (*below.shape[:2], _QUARTERS))
    joined = quarters.transpose(2, 3).transpose(3, 4).flatten(3)  # (E, nodes, p, n_L * quarters)
    grams = torch.matmul(joined.mT, joined).double()
    grams = grams.unflatten(-1, (n_top * len(gaps), -1)).unflatten(-3, (n_top * len(gaps), -1))

    def gram(first: int, second: int) -> Tensor:
        one: Tensor = grams[:, :, :, first, :, second]
        return (one + one.mT) / 2

    products = [(gram(a, b) * gram(c, d)).sum((-1, -2)) for a, b, c, d in _PAIRINGS]
    return torch.stack(products).mean(0)
