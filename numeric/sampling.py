"""Leaves of a tree sampled on a device, and statement 6 by sampling, with standard errors."""

import math
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node, integer
from hltm.base.errors import InputError
from numeric.tree_checks import check_tree
from numeric.tree_run import inputs_of, run
from numeric.trees.network import TreeNetwork
from numeric.trees.sampling import TreeSampler

_NUMBERS = 2**24  # numbers held at a time while a covariance is estimated: 128 MB in double precision


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
    check_shape(network, tree)
    parts = integer(batches, "batches", 2)
    size = integer(samples, "samples", 2 * parts) // parts
    sampler = TreeSampler(tree, network.device)
    width = network.matrix(node).shape[-1]
    prior = torch.from_numpy(tree.prior)
    kept = torch.nonzero(prior > 0).flatten().tolist()
    means = torch.empty(len(kept), network.ensemble, parts, width, dtype=network.dtype, device=network.device)
    found = means.new_zeros(network.ensemble, parts, width, width)
    step = max(1, _NUMBERS // (size * network.ensemble * network.plan.neurons))
    for number, state in enumerate(kept):
        for first in range(0, parts, step):
            part = slice(first, min(first + step, parts))
            leaves = sampler.draw(size * (part.stop - first), generator, state, network.dtype)
            below = inputs_of(network, run(network, network.inputs(leaves)), node).unflatten(-1, (-1, size))
            below = below.expand(network.ensemble, -1, -1, -1).transpose(1, 2)
            mean = below.mean(-1, keepdim=True)
            centred = below - mean
            covariance = torch.matmul(centred, centred.mT) / (size - 1)
            means[number, :, part] = mean.squeeze(-1)
            found[:, part] -= float(prior[state] * (1 - prior[state])) / size * covariance
    weights = prior[kept].to(network.device, network.dtype)
    centred = means - torch.tensordot(weights, means, dims=1)
    found += torch.einsum("zebi,zebj,z->ebij", centred, centred, weights)
    estimate = found.mean(1)
    error = (found - estimate.unsqueeze(1)).square().sum(1).sqrt() / math.sqrt(parts * (parts - 1))
    return estimate, error


def check_shape(network: TreeNetwork, tree: HLTM) -> None:
    """Refuse a tree that the network does not read."""
    own = network.tree
    check_tree(tree)
    if tree is not own and (tree.nodes != own.nodes or any(tree.children(v) != own.children(v) for v in own.nodes)):
        raise InputError(f"tree {tree!r}: must have the nodes and edges of the network's tree {own!r}")
