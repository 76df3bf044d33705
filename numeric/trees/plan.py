"""Evaluation plan of a tree of neuron groups: level by level, nodes of one shape as one batched product.

Neurons of one level (nodes at one distance from the root, in the order of ``tree.levels``) are the rows of
one tensor, samples its last axis. In this order the neurons that a node reads are neighbours in the level
below, so a product over all nodes of one shape is a reshape and one batched matrix product, and its adjoint
writes to the same rows. Section 6 of the notes: a group N_mu sits at every latent mu and reads the groups of
its children; a leaf is one neuron, its state number, or one for each state, the indicators of its states.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node
from hltm.leaves import leaf_neurons

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Block:
    """Latents of one level whose matrices have one shape; `number` is the place of their parameters."""

    number: int
    nodes: tuple[Node, ...]
    shape: tuple[int, int]
    reads: Tensor | None
    writes: Tensor | None


@dataclass(frozen=True, eq=False)
class Level:
    """One level of the tree; `columns` are the leaves of its leaf rows, `states` what each indicates if one-hot."""

    columns: Tensor | None
    states: Tensor | None
    leaves: int
    blocks: tuple[Block, ...]
    order: Tensor | None
    rows: int


@dataclass(frozen=True, eq=False)
class Plan:
    """Levels from the root down, and the place of each node in them."""

    levels: tuple[Level, ...]
    place: dict[Node, tuple[int, int, int]]
    slot: dict[Node, tuple[int, int]]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, those of the root's level first."""
        return tuple(block for level in self.levels for block in level.blocks)

    @property
    def neurons(self) -> int:
        """Number of all neurons, leaves included."""
        return sum(level.rows for level in self.levels)


def _index(values: list[int], size: int, device: torch.device) -> Tensor | None:
    """The values as an index tensor; None if they are ``0 .. size - 1``."""
    if len(values) == size and values == list(range(size)):
        return None
    return torch.tensor(values, dtype=torch.int64, device=device)


def make_plan(tree: HLTM, widths: Mapping[Node, int], device: torch.device, leaves: str = "state") -> Plan:
    widths = {leaf: leaf_neurons(tree, leaf, leaves) for leaf in tree.leaves} | dict(widths)
    place: dict[Node, tuple[int, int, int]] = {}
    for depth, nodes in enumerate(tree.levels):
        start = 0
        for node in nodes:
            place[node] = (depth, start, start + widths[node])
            start = place[node][2]
    sizes = [place[nodes[-1]][2] for nodes in tree.levels]
    column = {leaf: number for number, leaf in enumerate(tree.leaves)}

    def rows(nodes: Iterable[Node]) -> list[int]:
        return [row for node in nodes for row in range(*place[node][1:])]

    levels: list[Level] = []
    slot: dict[Node, tuple[int, int]] = {}
    count = 0
    for depth, nodes in enumerate(tree.levels):
        own = [node for node in nodes if node in column]
        groups: dict[tuple[int, int], list[Node]] = {}
        for node in nodes:
            if children := tree.children(node):
                fan_in = sum(widths[child] for child in children)
                groups.setdefault((widths[node], fan_in), []).append(node)
        blocks = []
        for shape, members in groups.items():
            slot.update({node: (count, index) for index, node in enumerate(members)})
            reads = rows(child for node in members for child in tree.children(node))
            index = _index(reads, sizes[depth + 1], device), _index(rows(members), sizes[depth], device)
            blocks.append(Block(count, tuple(members), shape, *index))
            count += 1
        # Rows as they are computed, leaves first and then block by block; `order` sorts them into the level.
        computed = rows([*own, *(node for members in groups.values() for node in members)])
        order = _index(sorted(range(sizes[depth]), key=computed.__getitem__), sizes[depth], device)
        columns = _index([column[leaf] for leaf in own for _ in range(widths[leaf])], len(column), device)
        states = None
        if leaves == "one-hot":
            numbers = [state for leaf in own for state in range(widths[leaf])]
            states = torch.tensor(numbers, dtype=torch.int64, device=device).unsqueeze(-1)
        levels.append(Level(columns, states, len(own), tuple(blocks), order, sizes[depth]))
    return Plan(tuple(levels), place, slot)


def own_rows(block: Block, level: Tensor) -> Tensor:
    """Rows of the nodes of a block: ``(..., rows, batch)`` to ``(..., nodes, |N_mu|, batch)``."""
    rows = level if block.writes is None else level.index_select(-2, block.writes)
    result: Tensor = rows.unflatten(-2, (len(block.nodes), block.shape[0]))
    return result


def gathered(block: Block, below: Tensor) -> Tensor:
    """Inputs of the nodes of a block: ``(..., rows, batch)`` to ``(..., nodes, fan-in, batch)``."""
    rows = below if block.reads is None else below.index_select(-2, block.reads)
    result: Tensor = rows.unflatten(-2, (len(block.nodes), block.shape[1]))
    return result


def leaf_rows(level: Level, leaves: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Activations of the leaves of a level, ``(..., rows, batch)``, from the states of all leaves."""
    rows = leaves if level.columns is None else leaves.index_select(-2, level.columns)
    return (rows if level.states is None else rows == level.states).to(dtype or leaves.dtype)


def sweep(plan: Plan, parameters: Sequence[Tensor], leaves: Tensor, activation: Activation) -> list[Tensor]:
    """Activations of all levels, from the root down."""
    return list(upwards(plan, parameters, leaves, activation))[::-1]


def upwards(
    plan: Plan, parameters: Sequence[Tensor], leaves: Tensor, activation: Activation, dtype: torch.dtype | None = None
) -> Iterator[Tensor]:
    """Activations of one level after the other, from the leaves up; only the last one is kept."""
    ensemble, below = len(parameters[0]), leaves
    for depth in range(len(plan.levels) - 1, -1, -1):
        level = plan.levels[depth]
        pieces = []
        if level.leaves:
            rows = leaf_rows(level, leaves, dtype)
            pieces.append(rows.expand(ensemble, -1, -1) if level.blocks else rows)
        for block in level.blocks:
            before = _product(parameters[block.number], gathered(block, below))
            pieces.append(activation(before) if depth else before)
        joined = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)
        below = joined if level.order is None else joined.index_select(-2, level.order)
        yield below


def _product(matrices: Tensor, inputs: Tensor) -> Tensor:
    """One batched product of a block, ``(E, nodes * n_out, batch)``; shared inputs are not copied E times."""
    if len(inputs) == 1 and len(matrices) > 1:
        return torch.einsum("egoi,gib->egob", matrices, inputs[0]).flatten(1, 2)
    return torch.matmul(matrices, inputs).flatten(1, 2)
