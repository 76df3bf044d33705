"""Networks and losses as the paper's published code has them, for comparison with its measured results.

What it does differently from the paper: layers have biases; weights and biases start uniform on ``[-1, 1] /
fan_in^(1/2)``; distances are mean squares over batch *and* dimensions; the loss called nce is minus a softmax of those
batch means, without logarithm; the output is ``u / (||u|| + 1e-4)``. Written from these facts alone, with torch's own
differentiation. Complete trees only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import integer
from hltm.base.errors import InputError
from numeric.trees.metrics import PURPOSE, absolute_correlation
from numeric.trees.plan import Plan, make_plan
from numeric.trees.streams import TripleSampler, same_shape

GUARD = 1e-4  # added to the norm of the output
PUBLISHED_LOSSES = ("nce", "subtract")
_TOWERS = 10


@dataclass(frozen=True, eq=False)
class PublishedNetwork:
    """E networks with biases on a complete tree.

    Attributes
    ----------
    tree : HLTM
        Its shape.
    parameters : tuple of Tensor
        For each level of latents, the root's first: weights ``(E, nodes, width, fan_in)``, then biases ``(E, nodes,
        width, 1)``.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> network = published_network(complete_tree(depth=2, branching=2, polarity=0.5), 3, [0, 1])
    >>> network.ensemble, tuple(network.forward(torch.ones(2, 4, 5)).shape)
    (2, (2, 3, 5))
    """

    tree: HLTM
    parameters: tuple[Tensor, ...]

    @property
    def ensemble(self) -> int:
        """E."""
        return len(self.parameters[0])

    def levels(self, leaves: Float[Tensor, "E n_leaves samples"]) -> list[Tensor]:
        """Activations ``(E, nodes, width, samples)`` of each level of latents; the root's first, not normalised."""
        below, found = leaves, []
        for number in range(len(self.parameters) - 2, -1, -2):
            weight, bias = self.parameters[number], self.parameters[number + 1]
            inputs = below.reshape(weight.shape[0] * weight.shape[1], weight.shape[3], leaves.shape[-1])
            before = torch.baddbmm(bias.flatten(0, 1), weight.flatten(0, 1), inputs)
            here = before.relu() if number else before
            found.append(here.unflatten(0, weight.shape[:2]))
            below = here
        return found[::-1]

    def forward(self, leaves: Float[Tensor, "E n_leaves samples"]) -> Float[Tensor, "E n_L samples"]:
        """``u / (||u|| + 1e-4)``."""
        top = self.levels(leaves)[0].squeeze(1)
        found: Tensor = top / (torch.linalg.vector_norm(top, dim=1, keepdim=True) + GUARD)
        return found


def complete_plan(tree: HLTM, width: int) -> Plan:
    """The plan of a complete tree; other shapes are refused.

    Raises
    ------
    InputError
        Leaves at several depths, or latents with several numbers of children.
    """
    plan = make_plan(tree, dict.fromkeys(tree.latents, width), torch.device("cpu"))
    for depth, level in enumerate(plan.levels[:-1]):
        if level.leaves or len(level.blocks) != 1 or level.order is not None:
            raise InputError(f"tree {tree!r}: must be complete for a network as published, level {depth} is not")
    return plan


def published_network(tree: HLTM, width: int, seeds: Sequence[int]) -> PublishedNetwork:
    """Initial networks, one for each seed: PyTorch's default for linear layers, in single precision.

    Parameters
    ----------
    tree : HLTM
        A complete tree.
    width : int
        Neurons of each latent.
    seeds : sequence of int
        Member m depends on the m-th alone.

    Returns
    -------
    PublishedNetwork

    Raises
    ------
    InputError
        A tree that is not complete, a width below 1.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> network = published_network(complete_tree(depth=2, branching=2, polarity=0.5), 3, [0, 1])
    >>> [tuple(each.shape) for each in network.parameters]
    [(2, 1, 3, 6), (2, 1, 3, 1), (2, 2, 3, 2), (2, 2, 3, 1)]
    """
    plan = complete_plan(tree, integer(width, "width", 1))
    members = []
    for seed in seeds:
        generator, own = torch.Generator().manual_seed(seed), []
        for block in plan.blocks:
            bound = block.shape[1] ** -0.5
            for columns in (block.shape[1], 1):
                uniform = torch.rand(len(block.nodes), block.shape[0], columns, generator=generator)
                own.append(uniform.mul_(2 * bound).sub_(bound))
        members.append(own)
    return PublishedNetwork(tree, tuple(torch.stack(parts) for parts in zip(*members, strict=True)))


def published_loss(
    outputs: Float[Tensor, "E n_L samples"], loss: str | Sequence[str], tau: float
) -> Float[Tensor, " E"]:
    """Loss of each member from outputs of ``x_1``, ``x_+`` and ``x_-``, one third of the samples each.

    Parameters
    ----------
    outputs : Tensor
        ``(E, n_L, 3 B)``.
    loss : str, or one for each member
        ``"subtract"``: ``r_+ - r_-``; ``"nce"``: ``-e^(-r_+/tau) / (e^(-r_+/tau) + e^(-r_-/tau))``; r the mean square
        over batch and dimensions.
    tau : float
        Temperature.

    Raises
    ------
    InputError
        Another loss.

    Examples
    --------
    >>> published_loss(torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]]), "subtract", 0.1)  # (2^2 + 0) / 2
    tensor([-2.])
    """
    names = [loss] * len(outputs) if isinstance(loss, str) else list(loss)
    for name in names:
        if name not in PUBLISHED_LOSSES:
            raise InputError(f"loss={name!r}: must be one of {', '.join(PUBLISHED_LOSSES)}")
    first, positive, negative = outputs.unflatten(-1, (3, -1)).unbind(2)
    gap = (first - positive).square().mean((1, 2)) - (first - negative).square().mean((1, 2))
    if len(set(names)) == 1:
        return gap if names[0] == "subtract" else -torch.sigmoid(-gap / tau)
    plain = torch.tensor([name == "subtract" for name in names], device=outputs.device)
    return torch.where(plain, gap, -torch.sigmoid(-gap / tau))


def train_published(
    network: PublishedNetwork,
    trees: HLTM | Sequence[HLTM],
    loss: str | Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 1500,
    batch: int = 128,
    tau: float = 0.1,
    lr: float = 0.1,
    record: Callable[[PublishedNetwork, int], None] | None = None,
    record_every: int | None = None,
) -> PublishedNetwork:
    """Stochastic gradient descent with torch's own differentiation.

    Parameters
    ----------
    network : PublishedNetwork
        Not changed.
    trees : HLTM or sequence of HLTM
        One for all members, or one for each.
    loss, tau
        As in :func:`published_loss`.
    seeds : sequence of int
        Of the draws of each member, all different.
    steps, batch, lr
        Of the descent.
    record : callable, optional
        Called at the start, every `record_every` steps and at the end.

    Returns
    -------
    PublishedNetwork

    Raises
    ------
    InputError
        Trees that do not fit, or a number that is not allowed.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> tree = complete_tree(depth=2, branching=2, polarity=0.9)
    >>> before = published_network(tree, 4, [0, 1])
    >>> after = train_published(before, tree, "nce", [0, 1], steps=5)
    >>> bool((after.parameters[0] != before.parameters[0]).any())
    True
    """
    held = [trees] if isinstance(trees, HLTM) else list(trees)
    same_shape([network.tree, *held])
    total = integer(steps, "steps", 1)
    every = total if record_every is None else integer(record_every, "record_every", 1)
    working = [each.detach().clone().requires_grad_() for each in network.parameters]
    now = PublishedNetwork(network.tree, tuple(working))
    place, kind = working[0].device, working[0].dtype
    sampler = TripleSampler(held, seeds, integer(batch, "batch", 1), 1, place, kind)
    some = sampler.steps_at_a_time
    for step in range(total):
        if record is not None and step % every == 0:
            record(now, step)
        if step % some == 0:
            drawn = sampler.leaves(step, min(some, total - step))
        value = published_loss(now.forward(drawn[step % some]), loss, tau).sum()
        gradients = torch.autograd.grad(value, working)
        with torch.no_grad():
            torch._foreach_add_(working, gradients, alpha=-lr)
    if record is not None:
        record(now, total)
    return PublishedNetwork(network.tree, tuple(each.detach() for each in working))


@torch.no_grad()
def published_correlations(
    network: PublishedNetwork, trees: HLTM | Sequence[HLTM], seeds: Sequence[int], samples: int = 12_800
) -> Float[Tensor, "E latents"]:
    """Best absolute correlation of each node, in the order of ``tree.latents``, on fresh samples; two-pass, float64.

    The root's neurons are taken before the output is normalised.

    Parameters
    ----------
    network, trees, seeds
        As in :func:`train_published`; draws are apart from those of training with the same seeds.
    samples : int
        Rounded up to a multiple of 10.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> tree = complete_tree(depth=2, branching=2, polarity=0.9)
    >>> published_correlations(published_network(tree, 4, [0, 1]), tree, [0, 1], samples=100).shape
    torch.Size([2, 3])
    """
    held = [trees] if isinstance(trees, HLTM) else list(trees)
    batch = -(-samples // _TOWERS)
    kind = network.parameters[0].dtype
    sampler = TripleSampler(held, seeds, batch, _TOWERS - 1, network.parameters[0].device, kind)
    number = {node: index for index, node in enumerate(network.tree.nodes)}
    parts = []
    for first in range(network.ensemble):
        here = torch.tensor([first])
        leaves, states = (
            torch.cat([v[..., :batch], v[..., 2 * batch :]], -1) for v in sampler.keep(here).states(0, PURPOSE)
        )
        own = PublishedNetwork(network.tree, tuple(each[here] for each in network.parameters))
        found = []
        for nodes, values in zip(network.tree.levels, own.levels(leaves), strict=False):
            found.append(absolute_correlation(values, states[:, [number[node] for node in nodes]]).amax(-1))
        parts.append(torch.cat(found, dim=1))
    return torch.cat(parts)
