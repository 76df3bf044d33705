"""`TreeNetwork`: groups of neurons on a hierarchical latent tree, an ensemble of networks at a time.

Statement 6: a group N_mu sits at every latent mu and reads the groups of its children, ``f_mu = psi(W_mu
f_{N_mu^ch})``; the top node has no activation, and its group is the output. A leaf is one neuron whose
activation is its state number, or (one-hot) one neuron for each state, its indicators. Columns of ``W_mu`` run
over ``tree.children(mu)`` in order, all neurons of one child before the next. Random weights follow statement 7.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional

from hltm import HLTM
from hltm.base.checks import Node, count, integer, show, suggestion
from hltm.base.checks import seed as check_seed
from hltm.base.errors import InputError
from hltm.leaves import check_leaves, leaf_neurons
from numeric.towers.checks import Real, as_floating, check_device, check_finite, check_output, check_slope
from numeric.towers.populations import FinitePopulation
from numeric.trees.plan import Plan, make_plan, sweep

NEURON_LIMIT = 2**24  # of all latents together: every one has its place in an index
WEIGHT_LIMIT = 2**32  # of all members: 32 GiB in double precision
_NAMES_SHOWN = 6


def check_tree(tree: object) -> HLTM:
    """Refuse anything but a tree."""
    if not isinstance(tree, HLTM):
        raise InputError(f"tree of type {type(tree).__name__}: must be an hltm.HLTM")
    return tree


def check_width(tree: HLTM, width: int | Mapping[Any, int]) -> dict[Node, int]:
    if not isinstance(width, Mapping):
        result = dict.fromkeys(tree.latents, integer(width, "width", 1))
    else:
        _check_nodes(tree, width, "width")
        result = {node: integer(width[node], "width", 1, f" of node {show(node)}") for node in tree.latents}
    if (neurons := sum(result.values())) > NEURON_LIMIT:
        raise InputError(f"width: {count(neurons)} neurons in all latents together, must be at most {NEURON_LIMIT:,}")
    return result


def _check_nodes(tree: HLTM, mapping: Mapping[Any, Any], what: str) -> None:
    """Refuse a mapping whose keys are not the latents of the tree."""
    for node in mapping:
        if node not in tree:
            raise InputError(f"{what} of node {show(node)}: not a node of the tree{suggestion(node, tree.latents)}")
        if not tree.children(node):
            raise InputError(f"{what} of node {show(node)}: it is a leaf; only latents have neurons to choose")
    for node in tree.latents:
        if node not in mapping:
            raise InputError(f"{what} of node {show(node)}: missing; every latent of the tree needs one")


def check_tree_weights(tree: HLTM, weights: Mapping[Any, Any], leaves: str = "state") -> dict[Node, Tensor]:
    """Weights of every latent as ``(E, n_out, n_in)``, fitting the tree and each other."""
    if not isinstance(weights, Mapping):
        raise InputError(f"weights of type {type(weights).__name__}: must be a mapping of latents to matrices")
    _check_nodes(tree, weights, "weights")
    matrices: dict[Node, Tensor] = {}
    for node in tree.latents:
        place = f"weights of node {show(node)}"
        matrix = as_floating(weights[node], place).detach().clone()
        if matrix.ndim not in (2, 3) or 0 in matrix.shape:
            rule = "must be (n_out, n_in) or (ensemble, n_out, n_in) with positive sizes"
            raise InputError(f"{place}: shape {tuple(matrix.shape)}: {rule}")
        check_finite(matrix, place)
        matrices[node] = matrix
    top = matrices[tree.root]
    for node, matrix in matrices.items():
        place, shape = f"weights of node {show(node)}: shape {tuple(matrix.shape)}", top.shape[:-2]
        widths = {
            child: matrices[child].shape[-2] if child in matrices else leaf_neurons(tree, child, leaves)
            for child in tree.children(node)
        }
        if matrix.shape[-1] != sum(widths.values()):
            parts = [f"{show(child)} ({width})" for child, width in list(widths.items())[:_NAMES_SHOWN]]
            named = ", ".join(parts) + (", ..." if len(widths) > _NAMES_SHOWN else "")
            raise InputError(f"{place}: must have {sum(widths.values())} columns, the neurons of its children {named}")
        if matrix.shape[:-2] != shape:
            raise InputError(f"{place}: must have the ensemble axis of node {show(tree.root)}: {tuple(top.shape)}")
        if matrix.dtype != top.dtype or matrix.device != top.device:
            kinds = f"{matrix.dtype} on {matrix.device} beside {top.dtype} on {top.device} of node {show(tree.root)}"
            raise InputError(f"{place}: {kinds}: all weights must share dtype and device")
    return {node: matrix if matrix.ndim == 3 else matrix.unsqueeze(0) for node, matrix in matrices.items()}


def check_tree_population(network: "TreeNetwork", population: FinitePopulation) -> None:
    """Refuse a population whose points the network cannot read."""
    leaves, points = len(network.tree.leaves), population.points
    if population.dimension != leaves:
        raise InputError(f"population of dimension {population.dimension}: must be {leaves}, one for each leaf")
    if points.dtype != network.dtype or points.device != network.device:
        kinds = f"{points.dtype} on {points.device} before weights of {network.dtype} on {network.device}"
        raise InputError(f"population: {kinds}: must share dtype and device; use population.to")


def normalized_top(top: Tensor) -> Tensor:
    """``u / ||u||`` of columns, 0 where ``u = 0``."""
    norm = torch.linalg.vector_norm(top, dim=-2, keepdim=True)
    # Both branches of `where` must stay finite, or the gradient of the unused one is NaN.
    safe = torch.where(norm > 0, norm, 1.0)
    return torch.where(norm > 0, top / safe, 0.0)


@dataclass(frozen=True, init=False, eq=False, repr=False)
class TreeNetwork:
    """An ensemble of networks whose neuron groups sit at the latents of a tree; no recursion, any depth.

    Parameters
    ----------
    tree : HLTM
        The tree.
    width : int or mapping
        ``|N_mu|``: the same for all latents, or one number for each.
    slope : float
        Slope of the activation below zero, in [0, 1].
    output : str
        ``"linear"``, or ``"normalized"`` for ``f_L = u / ||u||``. Leaves that are all zero give ``u = 0``
        (there are no biases): there ``f_L = 0``, with derivative 0.
    seed : int
        Of the weights: iid uniform on ``[-b, b]`` with ``b = sigma_w (3 / |N_mu^ch|)^(1/2)``. They are drawn in
        double precision on the CPU, so that a seed means the same numbers everywhere.
    ensemble : int
        E, the number of networks.
    dtype, device
        Of the weights. A device is ``"auto"``, ``"cpu"``, ``"cuda"`` or a ``torch.device``.
    sigma_w : float
        Scale of the weights, positive.
    leaves : str
        ``"state"``: a leaf is one neuron, its state number. ``"one-hot"``: a leaf of m states is m neurons, the
        indicators of its states, so that no result depends on the order of the states.

    Attributes
    ----------
    tree, slope, output, leaves
        As given.
    plan : Plan
        How it is evaluated.
    parameters : tuple of Tensor
        The weights as they are stored, ``(E, nodes, |N_mu|, |N_mu^ch|)`` for each block of the plan.

    Raises
    ------
    InputError
        A value that is not allowed.

    Source
    ------
    Statements 6 and 7.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> network = TreeNetwork(complete_tree(depth=2, branching=2, polarity=0.8), width=3, ensemble=5)
    >>> network
    TreeNetwork(nodes=7, leaves=4, neurons=13, slope=0.0, output='linear', ensemble=5, float64 on cpu)
    >>> network.forward(torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1]])).shape
    torch.Size([5, 2, 3])
    >>> {node: tuple(matrix.shape) for node, matrix in network.weights.items()}
    {0: (5, 3, 6), 1: (5, 3, 2), 2: (5, 3, 2)}
    """

    tree: HLTM
    slope: float
    output: str
    plan: Plan
    parameters: tuple[Tensor, ...]
    leaves: str

    def __init__(
        self,
        tree: HLTM,
        width: int | Mapping[Any, int] = 10,
        slope: Real = 0.0,
        output: str = "linear",
        seed: int = 0,
        ensemble: int = 1,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
        *,
        sigma_w: Real = 1.0,
        leaves: str = "state",
    ) -> None:
        place = check_device(device) if isinstance(device, str) else device
        members, start = integer(ensemble, "ensemble", 1), check_seed(seed)
        if not dtype.is_floating_point:
            raise InputError(f"dtype={dtype}: must be a floating type")
        if not 0 < sigma_w < math.inf:
            raise InputError(f"sigma_w={sigma_w!r} of the weights: must be positive and finite")
        kind = check_leaves(leaves)
        plan = make_plan(check_tree(tree), check_width(tree, width), place, kind)
        weights = members * sum(len(block.nodes) * block.shape[0] * block.shape[1] for block in plan.blocks)
        if weights > WEIGHT_LIMIT:
            raise InputError(f"width={show(width)}, ensemble={members:,}: must give at most {WEIGHT_LIMIT:,} weights, "
                             f"give {count(weights)}")  # fmt: skip
        generator = torch.Generator().manual_seed(start)
        parameters = []
        for block in plan.blocks:
            shape = (members, len(block.nodes), *block.shape)
            bound = float(sigma_w) * math.sqrt(3.0 / block.shape[1])
            uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
            parameters.append(uniform.mul_(2 * bound).sub_(bound).to(place, dtype))
        self._fill(tree, check_slope(slope), check_output(output), kind, plan, tuple(parameters))

    def _fill(
        self, tree: HLTM, slope: float, output: str, leaves: str, plan: Plan, parameters: tuple[Tensor, ...]
    ) -> None:
        values = {"tree": tree, "slope": slope, "output": output, "leaves": leaves, "plan": plan}
        for name, value in (values | {"parameters": parameters}).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_weights(
        cls,
        tree: HLTM,
        weights: Mapping[Any, Any],
        slope: Real = 0.0,
        output: str = "linear",
        *,
        leaves: str = "state",
    ) -> "TreeNetwork":
        """Build a network of given weights.

        Parameters
        ----------
        tree : HLTM
            The tree.
        weights : mapping of Node to array
            ``W_mu`` for every latent, ``(|N_mu|, |N_mu^ch|)``, or ``(E, |N_mu|, |N_mu^ch|)`` for an ensemble.
            Tensors keep dtype and device; other arrays but float32 become float64. Copied, without graph.
        slope, output, leaves
            As in :class:`TreeNetwork`.

        Returns
        -------
        TreeNetwork
            With E = 1 for matrices.

        Raises
        ------
        InputError
            A latent without weights, weights of another node, a shape that does not fit the tree, numbers that
            are not finite: one line that names the node and the shapes.

        Examples
        --------
        >>> from hltm import star_tree
        >>> TreeNetwork.from_weights(star_tree(1, polarity=0.5), {0: [[1.0]], 1: [[1.0]]})
        Traceback (most recent call last):
            ...
        hltm.base.errors.InputError: weights of node 1: it is a leaf; only latents have neurons to choose
        """
        kind = check_leaves(leaves)
        matrices = check_tree_weights(check_tree(tree), weights, kind)
        device = matrices[tree.root].device
        plan = make_plan(tree, {node: matrix.shape[1] for node, matrix in matrices.items()}, device, kind)
        stacked = (torch.stack([matrices[node] for node in block.nodes], dim=1) for block in plan.blocks)
        network = object.__new__(cls)
        network._fill(tree, check_slope(slope), check_output(output), kind, plan, tuple(stacked))
        return network

    def with_parameters(self, parameters: Sequence[Tensor]) -> "TreeNetwork":
        """Return the network with other weights, stored as `parameters` are; what a training step makes.

        Raises
        ------
        InputError
            Another number of tensors, or other shapes but for the ensemble axis.
        """
        shapes = [tuple(argument.shape[1:]) for argument in parameters]
        wanted = [tuple(own.shape[1:]) for own in self.parameters]
        if shapes != wanted or len({len(argument) for argument in parameters}) != 1:
            raise InputError(f"parameters of shapes {shapes}: must be (E, ...) with {wanted}, as the tree has them")
        network = object.__new__(TreeNetwork)
        network._fill(self.tree, self.slope, self.output, self.leaves, self.plan, tuple(parameters))
        return network

    @property
    def weights(self) -> dict[Node, Tensor]:
        """``W_mu`` of every latent, ``(E, |N_mu|, |N_mu^ch|)``, in the order of ``tree.latents``; views."""
        return {node: self.matrix(node) for node in self.tree.latents}

    def matrix(self, node: Node) -> Float[Tensor, "E n_out n_in"]:
        """``W_mu`` of one latent, a view.

        Raises
        ------
        InputError
            An unknown node, or a leaf.
        """
        if not self.tree.children(node):
            raise InputError(f"node {show(node)}: must be a latent; it is a leaf, which has no weights")
        block, index = self.plan.slot[node]
        return self.parameters[block][:, index]

    def width(self, node: Node) -> int:
        """Number of neurons of a node; of a leaf 1, or its number of states with one-hot leaves."""
        self.tree.children(node)  # refuses an unknown node
        _, start, stop = self.plan.place[node]
        return stop - start

    @property
    def ensemble(self) -> int:
        """E, the number of networks."""
        return len(self.parameters[0])

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the weights."""
        return self.parameters[0].dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.parameters[0].device

    def inputs(self, leaves: Num[Tensor, "*ensemble batch n_leaves"]) -> Float[Tensor, "lead n_leaves batch"]:
        """Checked leaves as the plan reads them: integers become floating, samples go to the last axis.

        Raises
        ------
        InputError
            Another shape than ``(batch, n_leaves)`` or ``(E, batch, n_leaves)``, another floating type or device; with
            one-hot leaves a number that is no state of its leaf.
        """
        count, shape = len(self.tree.leaves), tuple(leaves.shape)
        if leaves.ndim not in (2, 3) or shape[-1] != count or (leaves.ndim == 3 and shape[0] != self.ensemble):
            rule = f"must be (batch, {count}) or ({self.ensemble}, batch, {count}), one column per leaf of the tree"
            raise InputError(f"leaves: shape {shape}: {rule}")
        if leaves.device != self.device or (leaves.is_floating_point() and leaves.dtype != self.dtype):
            kinds = f"{leaves.dtype} on {leaves.device} before weights of {self.dtype} on {self.device}"
            raise InputError(f"leaves: {kinds}: must share dtype and device")
        columns = leaves.mT.to(self.dtype)
        if self.leaves == "one-hot":
            self._check_states(leaves)
        return columns if columns.ndim == 3 else columns.unsqueeze(0)

    def _check_states(self, leaves: Tensor) -> None:
        """Refuse numbers that are no states of their leaves."""
        counts = torch.tensor([self.tree.cardinality(leaf) for leaf in self.tree.leaves], device=leaves.device)
        bad = ~((leaves >= 0) & (leaves < counts) & (leaves == leaves.long()))
        if bool(bad.any()):
            place = tuple(bad.nonzero()[0].tolist())
            leaf = self.tree.leaves[place[-1]]
            rule = f"must be a state, 0 .. {self.tree.cardinality(leaf) - 1}, of one-hot leaf {show(leaf)}"
            raise InputError(f"leaves: {leaves[place].item():g}: {rule}")

    def levels(self, leaves: Num[Tensor, "*ensemble batch n_leaves"]) -> list[Tensor]:
        """Activations of every level from the root down, ``(E, neurons, batch)``; rows as the plan orders them."""
        below = self.slope
        levels = sweep(self.plan, self.parameters, self.inputs(leaves), lambda p: functional.leaky_relu(p, below))
        if self.output == "normalized":
            levels[0] = normalized_top(levels[0])
        return levels

    def forward(self, leaves: Num[Tensor, "*ensemble batch n_leaves"]) -> Float[Tensor, "E batch n_L"]:
        """Output ``f_L``, by torch's own operations only: this is what autograd differentiates.

        Parameters
        ----------
        leaves : Tensor
            States or numbers, ``(batch, n_leaves)``, columns in the order of ``tree.leaves``; or ``(E, batch,
            n_leaves)``, one batch for each member.

        Returns
        -------
        Tensor
            ``(E, batch, n_L)``, n_L the width of the top node.

        Raises
        ------
        InputError
            Leaves that the tree cannot read.

        Examples
        --------
        >>> from hltm import star_tree
        >>> network = TreeNetwork.from_weights(star_tree(2, polarity=0.5), {0: [[1.0, -2.0]]})
        >>> network.forward(torch.tensor([[1, 1], [1, 0]]))
        tensor([[[-1.],
                 [ 1.]]], dtype=torch.float64)
        """
        return self.levels(leaves)[0].mT

    def activations(self, leaves: Num[Tensor, "*ensemble batch n_leaves"]) -> dict[Node, Tensor]:
        """Activations ``f_mu`` of every node, leaves included, each ``(E, batch, |N_mu|)``; the root's is the output.

        Parameters, errors as in :meth:`forward`.

        Examples
        --------
        >>> from hltm import star_tree
        >>> network = TreeNetwork.from_weights(star_tree(2, polarity=0.5), {0: [[1.0, -2.0]]})
        >>> {node: f.flatten().tolist() for node, f in network.activations(torch.tensor([[1, 1]])).items()}
        {0: [-1.0], 1: [1.0], 2: [1.0]}
        """
        levels = [level.expand(self.ensemble, -1, -1) for level in self.levels(leaves)]
        place = self.plan.place
        return {node: levels[place[node][0]][:, place[node][1] : place[node][2]].mT for node in self.tree.nodes}

    def __repr__(self) -> str:
        sizes = f"nodes={len(self.tree)}, leaves={len(self.tree.leaves)}, neurons={self.plan.neurons}"
        read = "" if self.leaves == "state" else f", leaves={self.leaves!r}"
        kind = f"slope={self.slope}, output={self.output!r}{read}, ensemble={self.ensemble}"
        return f"TreeNetwork({sizes}, {kind}, {str(self.dtype).removeprefix('torch.')} on {self.device})"
