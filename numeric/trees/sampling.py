"""Leaves of a tree sampled on a device, and statement 6 by sampling: estimates with errors, contrasts with bounds.

`TreeSampler` draws all samples of all nodes of one level with the same numbers of states at once, by inversion: a
state is the number of cumulative probabilities that a uniform number has reached. One level is in memory at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node, count, integer, show
from hltm.base.errors import InputError
from numeric.towers.checks import Real, check_device
from numeric.towers.network import slices
from numeric.trees.network import TreeNetwork, check_tree
from numeric.trees.operator import inputs_of, run
from numeric.trees.streams import choose, levels_below

SAMPLE_LIMIT = 2**31  # states of leaves in one call
_NUMBERS = 2**24  # in memory at a time while activations are drawn: 128 MB in double precision
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class _Draw:
    """Nodes of one level that are drawn together."""

    rows: Tensor
    above: Tensor
    limits: Tensor


@dataclass(frozen=True, init=False, eq=False, repr=False)
class TreeSampler:
    """Tables of a tree on a device, for many activations.

    Parameters
    ----------
    tree : HLTM
        The tree.
    device : str or torch.device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or a ``torch.device``.

    Source
    ------
    Statement 6.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> sampler = TreeSampler(complete_tree(depth=2, branching=2, polarity=1.0), "cpu")
    >>> leaves = sampler.draw(3, torch.Generator().manual_seed(0), root_states=torch.tensor([0, 1, 1]))
    >>> leaves.tolist()
    [[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    """

    tree: HLTM
    device: torch.device
    _prior: Tensor
    _states: int
    _levels: tuple[tuple[tuple[_Draw, ...], Tensor, Tensor], ...]

    def __init__(self, tree: HLTM, device: str | torch.device) -> None:
        place = check_device(device) if isinstance(device, str) else device
        levels = []
        for edges, parents, observed, columns in levels_below(check_tree(tree), place):
            groups: dict[tuple[int, int], list[int]] = {}
            tables = [tree.transition(*edge) for edge in edges]
            for row, table in enumerate(tables):
                groups.setdefault(table.shape, []).append(row)
            draws = tuple(
                _Draw(
                    torch.tensor(rows, device=place),
                    torch.tensor([parents[row] for row in rows], device=place),
                    _limits(np.stack([tables[row] for row in rows], axis=1)).to(place),
                )
                for rows in groups.values()
            )
            levels.append((draws, observed, columns))
        prior = _limits(tree.prior[None, None, :]).to(place)
        states = max(tree.cardinality(node) for node in tree.nodes)
        values = {"tree": tree, "device": place, "_prior": prior, "_states": states, "_levels": tuple(levels)}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def draw(
        self, n: int, generator: torch.Generator, root_states: Any = None, dtype: torch.dtype = torch.int64
    ) -> Shaped[Tensor, "n n_leaves"]:
        """Draw leaves; parameters and result are those of :func:`numeric.sample_leaves`."""
        n = integer(n, "n", 1)
        size = n * len(self.tree.leaves)
        if size > SAMPLE_LIMIT:
            raise InputError(
                f"n={n:,} of {len(self.tree.leaves):,} leaves: must be at most {count(SAMPLE_LIMIT)} states"
            )
        if generator.device.type != self.device.type:
            raise InputError(f"generator on {generator.device}: must be on the device of the samples, {self.device}")
        if not (dtype.is_floating_point or dtype in _WHOLE) or self._states - 1 > _largest(dtype):
            raise InputError(f"dtype={dtype} of samples: must hold the states 0 .. {self._states - 1}")
        result = torch.empty(len(self.tree.leaves), n, dtype=dtype, device=self.device)
        small = torch.uint8 if self._states <= 256 else torch.int64
        states = self._root(n, generator, root_states)
        for draws, observed, columns in self._levels:
            rows = sum(len(group.rows) for group in draws)
            level = torch.empty(rows, n, dtype=small, device=self.device)
            for group in draws:
                uniform = torch.rand((len(group.rows), n), generator=generator, dtype=torch.float64, device=self.device)
                level[group.rows] = choose(group.limits, states[group.above], uniform).to(level.dtype)
            result[columns] = level[observed].to(dtype)
            states = level
        return result.mT

    def _root(self, n: int, generator: torch.Generator, root_states: Any) -> Tensor:
        """States of the root, ``(1, n)``."""
        if root_states is None:
            uniform = torch.rand((1, n), generator=generator, dtype=torch.float64, device=self.device)
            return choose(self._prior, None, uniform)
        states = torch.as_tensor(root_states, device=self.device)
        root, limit = show(self.tree.root), self.tree.cardinality(self.tree.root)
        if states.is_floating_point() or states.dtype == torch.bool or states.shape not in ((), (n,)):
            kind = f"{states.dtype} of shape {tuple(states.shape)}"
            raise InputError(f"root_states: {kind}: must be one integer or integers of shape ({n},)")
        bad = (states < 0) | (states >= limit)
        if bool(bad.any()):
            value = states[bad].flatten()[0].item()
            raise InputError(f"root_states: {value}: must lie in 0 .. {limit - 1}, the states of root {root}")
        return states.to(torch.int64).expand(1, n)


def _largest(dtype: torch.dtype) -> Real:
    """The largest number up to which a type holds every integer."""
    return 2 / torch.finfo(dtype).eps if dtype.is_floating_point else torch.iinfo(dtype).max


def _limits(tables: np.ndarray) -> Tensor:
    """Cumulative probabilities without the last, from tables ``(states of the parent, nodes, states)``."""
    steps = tables.cumsum(axis=-1)
    # Divided by the last step, rows end in exact ones: a last state of probability zero is never drawn.
    steps = steps / steps[..., -1:]
    return torch.from_numpy(np.ascontiguousarray(steps[..., :-1].transpose(0, 2, 1)[..., None]))


def sample_leaves(
    tree: HLTM,
    n: int,
    *,
    generator: torch.Generator,
    device: str | torch.device = "cpu",
    root_states: Any = None,
    dtype: torch.dtype = torch.int64,
) -> Shaped[Tensor, "n n_leaves"]:
    """Draw the leaves of independent samples, on a device.

    Parameters
    ----------
    tree : HLTM
        The tree.
    n : int
        Number of samples; n times the number of leaves at most 2^31.
    generator : torch.Generator
        On the same device.
    device : str or torch.device
        Where to draw: ``"auto"``, ``"cpu"``, ``"cuda"`` or a ``torch.device``.
    root_states : int or integers of shape (n,), optional
        z_0 of each sample: what an augmentation keeps. Without it z_0 is drawn from the prior.
    dtype : torch.dtype
        Of the result; ``torch.uint8`` saves memory.

    Returns
    -------
    Tensor
        States, ``(n, n_leaves)``, columns in the order of ``tree.leaves``.

    Raises
    ------
    InputError
        A size, state or device that is not allowed.

    Source
    ------
    Statement 6: x ~ p, or x' ~ p_aug(. | z_0).

    Examples
    --------
    >>> from hltm import star_tree
    >>> tree, generator = star_tree(3, polarity=-1.0), torch.Generator().manual_seed(0)
    >>> sample_leaves(tree, 2, generator=generator, root_states=1).tolist()
    [[0, 0, 0], [0, 0, 0]]
    """
    return TreeSampler(tree, device).draw(n, generator, root_states, dtype)


@torch.no_grad()
def estimate_activation_covariance(
    network: TreeNetwork, tree: HLTM, node: Node, samples: int, generator: torch.Generator, *, batches: int = 100
) -> tuple[Float[Tensor, "E n_in n_in"], Float[Tensor, "E n_in n_in"]]:
    """Estimate ``V_{z_0}[E[f_{N_mu^ch} | z_0]]`` by sampling, with its standard error.

    For each state z of the root, of prior ``pi_z > 0``, `samples` leaves are drawn given z and cut into B batches of n.
    With means ``m_z``, unbiased covariances ``S_z`` and ``G = diag pi - pi pi^T`` of a batch,
    ``V_b = sum_{z,z'} G_zz' m_z m_z'^T - sum_z pi_z (1 - pi_z) S_z / n`` has exactly the expectation V, also where V =
    0. The estimate is the mean of the V_b, its standard error ``(sum_b (V_b - mean)^2 / (B (B - 1)))^(1/2)``, entry by
    entry: error over standard error follows Student's t with B - 1 degrees of freedom, up to the skewness of V_b. Near
    V = 0, where V_b is a square, the far tail of that ratio is much heavier than Student's; bounds that hold for every
    law are made of `sample_root_contrasts`.

    Parameters
    ----------
    network : TreeNetwork
        E networks; all see the same samples.
    tree : HLTM
        Where the samples come from: the tree of the network, or one of the same shape with other tables.
    node : Node
        A latent.
    samples : int
        Per state of the root, at least 2 * batches; what exceeds a multiple of `batches` is not drawn.
    generator : torch.Generator
        On the device of the network.
    batches : int
        B, at least 2.

    Returns
    -------
    (Tensor, Tensor)
        Estimate and standard error, ``(E, |N_mu^ch|, |N_mu^ch|)`` each. The standard error is 0 where an activation
        is a function of z_0; only rounding separates estimate and truth there.

    Raises
    ------
    InputError
        A tree of another shape, a leaf or an unknown node, numbers that are not allowed.

    Source
    ------
    Left side of statement 6. The bias: ``E[m_z m_z^T]`` exceeds the product of the means by ``Cov(f | z) / n``.

    Examples
    --------
    >>> from hltm import star_tree
    >>> tree, generator = star_tree(1, polarity=0.5), torch.Generator().manual_seed(0)
    >>> network = TreeNetwork(tree, width=1)
    >>> estimate, error = estimate_activation_covariance(network, tree, 0, 20_000, generator)
    >>> abs(estimate.item() - 0.0625) < 4 * error.item() < 0.02
    True
    """
    activations = _ActivationSampler(network, tree, [node])
    parts = integer(batches, "batches", 2)
    size = integer(samples, "samples", 2 * parts) // parts
    width = network.matrix(node).shape[-1]
    means = torch.empty(
        len(activations.states), network.ensemble, parts, width, dtype=network.dtype, device=network.device
    )
    result = means.new_zeros(network.ensemble, parts, width, width)
    step = _NUMBERS // (size * network.ensemble * network.plan.neurons)
    for number, (state, share) in enumerate(zip(activations.states, activations.prior, strict=True)):
        for part in slices(parts, step):
            (below,) = activations.draw(state, size * (part.stop - part.start), generator)
            below = below.unflatten(-1, (-1, size)).transpose(1, 2)
            mean = below.mean(-1, keepdim=True)
            centred = below - mean
            covariance = torch.matmul(centred, centred.mT) / (size - 1)
            means[number, :, part] = mean.squeeze(-1)
            result[:, part] -= float(share * (1 - share)) / size * covariance
    weights = activations.prior.to(network.device, network.dtype)
    centred = means - torch.tensordot(weights, means, dims=1)
    result += torch.einsum("zebi,zebj,z->ebij", centred, centred, weights)
    estimate = result.mean(1)
    error = (result - estimate.unsqueeze(1)).square().sum(1).sqrt() / math.sqrt(parts * (parts - 1))
    return estimate, error


class _ActivationSampler:
    """Sampler of the inputs of some nodes given a root state of positive probability."""

    def __init__(self, network: TreeNetwork, tree: HLTM, nodes: Sequence[Node]) -> None:
        own = network.tree
        if check_tree(tree).nodes != own.nodes or any(tree.children(v) != own.children(v) for v in own.nodes):
            raise InputError(f"tree {tree!r}: must have the nodes and edges of the network's tree {own!r}")
        self._network, self._nodes, self._sampler = network, nodes, TreeSampler(tree, network.device)
        self.states = np.flatnonzero(tree.prior > 0).tolist()
        self.prior = torch.from_numpy(tree.prior[self.states])

    def draw(self, state: int, n: int, generator: torch.Generator) -> list[Float[Tensor, "E n_in n"]]:
        leaves = self._sampler.draw(n, generator, state, self._network.dtype)
        done = run(self._network, self._network.inputs(leaves))
        members = self._network.ensemble
        return [inputs_of(self._network, done, node).expand(members, -1, -1) for node in self._nodes]


@dataclass(frozen=True, eq=False)
class RootContrasts:
    """Sampled contrasts ``E[f | z_0] - E[f]`` of the children of a node, with what bounds their error.

    Attributes
    ----------
    prior : Tensor
        ``(Z,)``: probabilities of the root states of positive probability.
    means, variances : Tensor
        ``(Z, E, n_in)``: means and unbiased variances of ``f(x_z) - sum_z' pi_z' f(x_z')``, where ``x_z`` are drawn
        given ``z_0 = z``, independently of each other.
    spans : Tensor
        ``(Z, E, n_in)``: width of an interval that holds every draw.
    samples : int
        Number of activations.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> tree = complete_tree(depth=2, branching=2, polarity=0.8)
    >>> found = sample_root_contrasts(TreeNetwork(tree, width=3), tree, 0, 100, torch.Generator().manual_seed(0))
    >>> tuple(found.means.shape), tuple(found.covariance.shape)
    ((2, 1, 6), (1, 6, 6))
    """

    prior: Float[Tensor, "Z"]
    means: Float[Tensor, "Z E n_in"]
    variances: Float[Tensor, "Z E n_in"]
    spans: Float[Tensor, "Z E n_in"]
    samples: int

    @property
    def covariance(self) -> Float[Tensor, "E n_in n_in"]:
        """``sum_z pi_z c_z c_z^T``; its bias is of order 1 / samples."""
        return torch.einsum("zei,zej,z->eij", self.means, self.means, self.prior)


def activation_bounds(network: TreeNetwork, node: Node) -> tuple[Float[Tensor, "E n_in"], Float[Tensor, "E n_in"]]:
    """Bounds of the activations of a node's children, by interval arithmetic.

    Parameters
    ----------
    network : TreeNetwork
    node : Node
        A latent.

    Returns
    -------
    (Tensor, Tensor)
        ``(E, |N_mu^ch|)`` each; up to the rounding of sums.

    Examples
    --------
    >>> from hltm import star_tree
    >>> network = TreeNetwork.from_weights(star_tree(2, 0.5), {0: [[1.0, -2.0]]})
    >>> [bound.tolist() for bound in activation_bounds(network, 0)]
    [[[0.0, 0.0]], [[1.0, 1.0]]]
    """
    tree, matrix = network.tree, network.matrix(node)
    bounds: dict[Node, tuple[Tensor, Tensor]] = {}
    below: list[Node] = [node]
    for above in below:
        below.extend(tree.children(above))
    for child in reversed(below[1:]):
        if tree.children(child):
            bounds[child] = _through(network, child, *_joined(tree, child, bounds))
        else:
            low = matrix.new_zeros(network.ensemble, network.width(child))
            bounds[child] = low, low + (1 if network.leaves == "one-hot" else tree.cardinality(child) - 1)
    return _joined(tree, node, bounds)


def _joined(tree: HLTM, node: Node, bounds: dict[Node, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The bounds of a node's children side by side."""
    lows, highs = zip(*(bounds.pop(child) for child in tree.children(node)), strict=True)
    return torch.cat(lows, -1), torch.cat(highs, -1)


def _through(network: TreeNetwork, node: Node, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of a node's activations from those of its inputs."""
    weights = network.matrix(node)
    up, down = weights.clamp(min=0), weights.clamp(max=0)
    least = torch.einsum("eij,ej->ei", up, low) + torch.einsum("eij,ej->ei", down, high)
    most = torch.einsum("eij,ej->ei", up, high) + torch.einsum("eij,ej->ei", down, low)
    ends = torch.stack([torch.where(p > 0, p, network.slope * p) for p in (least, most, torch.zeros_like(least))])
    # The kink is inside where the ends differ in sign; a negative slope makes it the least value.
    ends[2] = torch.where((least < 0) & (most > 0), ends[2], ends[0])
    return ends.amin(0), ends.amax(0)


@torch.no_grad()
def sample_root_contrasts(
    network: TreeNetwork, tree: HLTM, node: Node, samples: int, generator: torch.Generator
) -> RootContrasts:
    """Sample the contrasts of the children of a node.

    Parameters
    ----------
    network : TreeNetwork
        E networks; all see the same samples.
    tree : HLTM
        Where the samples come from: the tree of the network, or one of the same shape with other tables.
    node : Node
        A latent.
    samples : int
        Per state of the root, at least 2.
    generator : torch.Generator
        On the device of the network.

    Raises
    ------
    InputError
        A tree of another shape, a leaf or an unknown node, numbers that are not allowed.

    Source
    ------
    Left side of statement 6.

    Examples
    --------
    >>> from hltm import star_tree
    >>> tree, generator = star_tree(1, polarity=1.0), torch.Generator().manual_seed(0)
    >>> found = sample_root_contrasts(TreeNetwork(tree, width=1), tree, 0, 10, generator)
    >>> found.means.flatten().tolist(), found.covariance.item()
    ([-0.5, 0.5], 0.25)
    """
    return sample_contrasts_of(network, tree, [node], samples, generator)[0]


@torch.no_grad()
def sample_contrasts_of(
    network: TreeNetwork, tree: HLTM, nodes: Sequence[Node], samples: int, generator: torch.Generator
) -> list[RootContrasts]:
    """Contrasts of the children of several nodes, as `sample_root_contrasts` has them, from the same samples."""
    activations = _ActivationSampler(network, tree, nodes)
    total = integer(samples, "samples", 2)
    prior = activations.prior.to(network.device, network.dtype)
    bounds = [activation_bounds(network, node) for node in nodes]
    shapes = [(len(prior), network.ensemble, low.shape[-1]) for low, _ in bounds]
    firsts, seconds = ([prior.new_zeros(shape) for shape in shapes] for _ in range(2))
    for part in slices(total, _NUMBERS // (len(prior) * network.ensemble * network.plan.neurons)):
        start, size = part.start, part.stop - part.start
        drawn = [activations.draw(state, size, generator) for state in activations.states]
        for below, first, second in zip(zip(*drawn, strict=True), firsts, seconds, strict=True):
            stacked = torch.stack(below)
            contrasts = stacked - torch.tensordot(prior, stacked, dims=1)
            mean = contrasts.mean(-1)
            # Chan's update: sums of squares about the mean of all draws so far.
            apart = mean - first
            second += (contrasts - mean.unsqueeze(-1)).square().sum(-1) + apart.square() * (
                start * size / (start + size)
            )
            first += apart * (size / (start + size))
    # f(x_z) counts with 1 - pi_z, the others with their pi: together 2 (1 - pi_z) widths.
    width = 2 * (1 - prior).reshape(-1, 1, 1)
    return [
        RootContrasts(prior, first, second / (total - 1), width * (high - low), total)
        for first, second, (low, high) in zip(firsts, seconds, bounds, strict=True)
    ]
