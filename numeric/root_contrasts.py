"""What a root state does to the activations: sampled contrasts ``E[f | z_0] - E[f]``, with what bounds their error.

The left side of statement 6 is ``sum_z pi_z c_z c_z^T`` of these contrasts. Every draw lies in a known interval, so
that a bound of their error needs no law (empirical Bernstein); those of `estimate_activation_covariance` need one.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node, integer
from numeric.sampling import check_shape
from numeric.tree_run import inputs_of, run
from numeric.trees.network import TreeNetwork
from numeric.trees.sampling import TreeSampler

_NUMBERS = 2**24  # numbers held at a time: 128 MB in double precision


@dataclass(frozen=True, eq=False)
class RootContrasts:
    """Sampled contrasts of the children of a node.

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
        Number of draws.

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
    """Least and largest value that the activations of a node's children can take, by interval arithmetic.

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
    tree = network.tree
    found: list[tuple[Tensor, Tensor]] = []
    matrix = network.matrix(node)
    for child in tree.children(node):
        if not tree.children(child):
            low = matrix.new_zeros(network.ensemble, 1)
            found.append((low, low + tree.cardinality(child) - 1))
            continue
        low, high = activation_bounds(network, child)
        weights = network.matrix(child)
        up, down = weights.clamp(min=0), weights.clamp(max=0)
        least = torch.einsum("eij,ej->ei", up, low) + torch.einsum("eij,ej->ei", down, high)
        most = torch.einsum("eij,ej->ei", up, high) + torch.einsum("eij,ej->ei", down, low)
        ends = torch.stack([torch.where(p > 0, p, network.slope * p) for p in (least, most, torch.zeros_like(least))])
        # The kink is inside where the ends differ in sign; a negative slope makes it the least value.
        ends[2] = torch.where((least < 0) & (most > 0), ends[2], ends[0])
        found.append((ends.amin(0), ends.amax(0)))
    return torch.cat([low for low, _ in found], -1), torch.cat([high for _, high in found], -1)


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
    check_shape(network, tree)
    total = integer(samples, "samples", 2)
    sampler = TreeSampler(tree, network.device)
    table = torch.from_numpy(tree.prior)
    kept = torch.nonzero(table > 0).flatten().tolist()
    prior = table[kept].to(network.device, network.dtype)
    low, high = activation_bounds(network, node)
    shape = (len(kept), network.ensemble, low.shape[-1])
    first, second = low.new_zeros(shape), low.new_zeros(shape)
    step = max(1, _NUMBERS // (len(kept) * network.ensemble * network.plan.neurons))
    for start in range(0, total, step):
        size = min(step, total - start)
        below = torch.stack([
            inputs_of(network, run(network, network.inputs(leaves)), node).expand(network.ensemble, -1, -1)
            for leaves in (sampler.draw(size, generator, state, network.dtype) for state in kept)
        ])  # fmt: skip
        contrasts = below - torch.tensordot(prior, below, dims=1)
        mean = contrasts.mean(-1)
        # Chan's update: sums of squares about the mean of all draws so far.
        apart = mean - first
        second += (contrasts - mean.unsqueeze(-1)).square().sum(-1) + apart.square() * (start * size / (start + size))
        first += apart * (size / (start + size))
    # f(x_z) counts with 1 - pi_z, the others with their pi: together 2 (1 - pi_z) widths.
    spans = 2 * (1 - prior).reshape(-1, 1, 1) * (high - low)
    return RootContrasts(prior, first, second / (total - 1), spans, total)
