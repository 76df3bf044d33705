"""Activations of a network on many samples, a part of the tree in memory at a time.

Levels are taken from the leaves up, each with the products of :func:`numeric.trees.plan.sweep`, bit for bit. Where two
levels do not fit, nodes are taken one by one, children before parents and the largest branch first: then the products
with as many nodes as the logarithm of the tree are in memory, and results differ from the others by roundings.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from hltm import HLTM
from hltm.base.checks import Node
from numeric.trees.network import TreeNetwork, normalized_top
from numeric.trees.plan import own_rows, upwards

LEVELS_AT_ONCE = 2**25  # numbers of two levels: 256 MiB in double precision
_LEAVES_AT_ONCE = 2**22

Group = tuple[Sequence[Node], Tensor]


def groups_upwards(network: TreeNetwork, leaves: Tensor) -> Iterator[Group]:
    """All latents with their activations ``(E, nodes, |N_mu|, samples)``, children before parents.

    `leaves` are states ``(E, n_leaves, samples)`` of any integer type.
    """
    rows = [level.rows for level in network.plan.levels]
    two = max(above + below for above, below in pairwise(rows))
    if two * leaves.shape[0] * leaves.shape[-1] > LEVELS_AT_ONCE:
        yield from _one_by_one(network, leaves)
    else:
        yield from _by_levels(network, leaves)


def _by_levels(network: TreeNetwork, leaves: Tensor) -> Iterator[Group]:
    plan, slope = network.plan, network.slope
    levels = upwards(plan, network.parameters, leaves, lambda p: functional.leaky_relu(p, slope), network.dtype)
    for level, activations in zip(reversed(plan.levels), levels, strict=True):
        top = level is plan.levels[0]
        done = normalized_top(activations) if top and network.output == "normalized" else activations
        for block in level.blocks:
            yield block.nodes, own_rows(block, done)


def _one_by_one(network: TreeNetwork, leaves: Tensor) -> Iterator[Group]:
    tree, place = network.tree, network.plan.place
    sums: dict[Node, Tensor] = {}
    first = dict(_first_columns(network))
    number = {leaf: column for column, leaf in enumerate(tree.leaves)}
    for node in postorder(tree):
        before = sums.pop(node) if node in sums else _zeros(network, node, leaves)
        if own := [(first[leaf], number[leaf], network.width(leaf)) for leaf in tree.children(node) if leaf in number]:
            _add_leaves(network, node, own, leaves, before)
        if node != tree.root:
            before = functional.leaky_relu(before, network.slope)
        elif network.output == "normalized":
            before = normalized_top(before)
        yield [node], before.unsqueeze(1)
        parent = tree.parent(node)
        if parent is not None:
            _, start, stop = place[node]
            if parent not in sums:
                sums[parent] = _zeros(network, parent, leaves)
            columns = network.matrix(parent)[..., first[node] : first[node] + stop - start]
            sums[parent].baddbmm_(columns, before)


def _zeros(network: TreeNetwork, node: Node, leaves: Tensor) -> Tensor:
    return leaves.new_zeros(leaves.shape[0], network.width(node), leaves.shape[-1], dtype=network.dtype)


def _first_columns(network: TreeNetwork) -> Iterator[tuple[Node, int]]:
    """The first column of each node in the matrix of its parent."""
    for node in network.tree.latents:
        column = 0
        for child in network.tree.children(node):
            yield child, column
            _, start, stop = network.plan.place[child]
            column += stop - start


def _add_leaves(
    network: TreeNetwork, node: Node, own: Sequence[tuple[int, int, int]], leaves: Tensor, before: Tensor
) -> None:
    """Add what its leaves (first column, number, neurons) give to the inputs of a node, ``(E, |N_mu|, samples)``."""
    every = [(first + k, number, k) for first, number, neurons in own for k in range(neurons)]
    columns, rows, states = torch.tensor(every, device=leaves.device).unbind(-1)
    some = max(1, _LEAVES_AT_ONCE // (leaves.shape[0] * leaves.shape[-1]))
    for start in range(0, len(columns), some):
        part = slice(start, start + some)
        read = leaves[:, rows[part]]
        if network.leaves == "one-hot":
            read = read == states[part].unsqueeze(-1)
        before.baddbmm_(network.matrix(node)[..., columns[part]], read.to(network.dtype))


def postorder(tree: HLTM) -> Iterator[Node]:
    """All latents, children before parents, of several children the one with the most nodes below it first."""
    size: dict[Node, int] = {}
    for node in reversed(tree.nodes):
        size[node] = 1 + sum(size[child] for child in tree.children(node))
    stack = [(tree.root, False)]
    while stack:
        node, seen = stack.pop()
        if seen:
            yield node
            continue
        stack.append((node, True))
        below = [child for child in tree.children(node) if tree.children(child)]
        stack.extend((child, False) for child in sorted(below, key=size.__getitem__))
