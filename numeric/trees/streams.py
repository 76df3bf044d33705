"""Draws of ``x_1, x_+, x_1-, .. x_H-`` for a stack of members, each from its own tree and its own random stream.

Statement 6: an augmentation keeps z_0 and resamples the rest. A word of :mod:`numeric.philox` decides each state: the
state is the number of cumulative probabilities, rounded to multiples of 2^-32, that the word has reached. What a member
draws at a step depends on its seed, the step and the sizes alone.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node, show
from hltm.base.errors import InputError
from numeric.philox import WORD, member_keys, philox
from numeric.tree_checks import check_tree

_WORDS_AT_A_TIME = 2**19  # of all members and some steps: small enough for the cache, large enough for a launch

_NUMBERS = (torch.uint8, torch.int16, torch.int32)  # of states: the smallest that holds them all


@dataclass(frozen=True, eq=False)
class _Level:
    """Nodes of one level.

    Attributes
    ----------
    rows : slice
        Of all nodes but the root, in the order of ``tree.nodes``.
    above : Tensor
        ``(n,)``: rows of the parents in the level above.
    steps : Tensor
        ``(states of the parent, states - 1, E, n, 1)``: words from which on the state is larger.
    columns, observed : Tensor
        Columns of the leaves of the level, and their rows in it.
    """

    rows: slice
    above: Tensor
    steps: Tensor
    columns: Tensor
    observed: Tensor


def same_shape(trees: Sequence[HLTM]) -> HLTM:
    """The first tree; the others must have its nodes, edges and numbers of states.

    Raises
    ------
    InputError
        No tree, something else than a tree, or a tree of another shape: its number is named.
    """
    if not trees:
        raise InputError("trees=[]: must hold one tree, or one for each member")
    first = check_tree(trees[0])
    for number, tree in enumerate(trees[1:], start=1):
        same = check_tree(tree).nodes == first.nodes and tree.edges == first.edges
        if not same or any(tree.cardinality(node) != first.cardinality(node) for node in first.nodes):
            raise InputError(f"tree {number}, {tree!r}: must have the nodes, edges and states of tree 0, {first!r}")
    return first


class TripleSampler:
    """Triples of a stack of members.

    Parameters
    ----------
    trees : sequence of HLTM
        One for each member, or one for all; all of one shape.
    seeds : sequence of int
        One for each member, all different.
    batch, negatives : int
        B and H. With H = 0 only ``x_1`` and ``x_+`` are drawn.
    device : torch.device
    dtype : torch.dtype
        Of the leaves.

    Raises
    ------
    InputError
        Trees of several shapes, numbers of trees and seeds that do not go together, a seed that is used twice.

    Source
    ------
    Statement 6.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> tree = complete_tree(depth=2, branching=2, polarity=1.0)
    >>> sampler = TripleSampler([tree], [5, 6], batch=3, negatives=1, device=torch.device("cpu"))
    >>> leaves = sampler.leaves(step=0, steps=2)
    >>> leaves.shape  # steps, members, leaves, towers times batch
    torch.Size([2, 2, 4, 9])
    >>> bool((leaves[..., :3] == leaves[..., 3:6]).all())  # polarity 1: x_1 and x_+ share every state with z_0
    True
    """

    def __init__(
        self,
        trees: Sequence[HLTM],
        seeds: Sequence[int],
        batch: int,
        negatives: int,
        device: torch.device,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        tree = same_shape(trees)
        if len(trees) not in (1, len(seeds)):
            raise InputError(f"{len(trees)} trees for {len(seeds)} members: must be one, or one for each member")
        self.tree, self.batch, self.towers, self.dtype = tree, batch, 2 + negatives, dtype
        self.keys = member_keys(seeds, device)
        self.members = len(seeds)
        self._roots = 1 + negatives
        states = max(tree.cardinality(node) for node in tree.nodes)
        self._numbers = next(kind for kind in _NUMBERS if states - 1 <= torch.iinfo(kind).max)
        self._prior = _limits([each.prior[None, None, :] for each in trees], device)
        self._levels = _levels(tree, trees, device)
        samples = self.towers * batch
        self.words_per_step = self._roots * batch + (len(tree) - 1) * samples

    def keep(self, members: Tensor) -> "TripleSampler":
        """The sampler of these members; they draw what they would have drawn."""
        found = copy.copy(self)
        found.keys, found.members = self.keys[:, members], len(members)
        own = self._prior.shape[2] > 1
        found._prior = self._prior[:, :, members] if own else self._prior
        if own:
            found._levels = tuple(replace(level, steps=level.steps[:, :, members]) for level in self._levels)
        return found

    @property
    def steps_at_a_time(self) -> int:
        """How many steps are best drawn together."""
        return max(1, _WORDS_AT_A_TIME // (self.members * self.words_per_step))

    def words(self, step: int | Tensor, steps: int, purpose: int = 0) -> Int[Tensor, "steps E words"]:
        """Words of some steps; `purpose` tells apart the draws of training (0) and others."""
        fourth = -(-self.words_per_step // 4)
        device = self.keys.device
        number = torch.arange(fourth, device=device)
        time = (step + torch.arange(steps, device=device)).view(-1, 1, 1)
        key = [half.view(1, -1, 1) for half in self.keys]
        found = philox((number, time % WORD, time // WORD, purpose), key, (steps, self.members, fourth))
        return found.permute(1, 2, 0, 3).flatten(2)

    def leaves(self, step: int | Tensor, steps: int = 1, purpose: int = 0) -> Float[Tensor, "steps E n_leaves samples"]:
        """Leaves of some steps: samples are those of ``x_1``, then of ``x_+``, then of each negative, B of each."""
        leaves, _ = self._run(step, steps, purpose, latents=False)
        return leaves

    def states(self, step: int, purpose: int) -> tuple[Tensor, Tensor]:
        """Leaves ``(E, n_leaves, samples)`` and, in the order of ``tree.nodes``, all states ``(E, nodes, samples)``."""
        leaves, states = self._run(step, 1, purpose, latents=True)
        return leaves[0], states[0]

    def _run(self, step: int | Tensor, steps: int, purpose: int, latents: bool) -> tuple[Tensor, Tensor]:
        words = self.words(step, steps, purpose)
        head = self._roots * self.batch
        shape = (steps, self.members, -1)
        own = _drawn(self._prior, None, words[..., :head].reshape(*shape[:2], self._roots, self.batch))
        # x_1 and x_+ share the state of the root, each negative has its own.
        states = torch.cat([own[:, :, :1], own], dim=2).flatten(2).unsqueeze(2)
        rest = words[..., head : self.words_per_step].unflatten(-1, (len(self.tree) - 1, -1))
        leaves = torch.empty(*shape[:2], len(self.tree.leaves), rest.shape[-1], dtype=self.dtype, device=words.device)
        kept = [states]
        for level in self._levels:
            states = _drawn(level.steps, states[:, :, level.above], rest[:, :, level.rows])
            leaves[:, :, level.columns] = states[:, :, level.observed].to(self.dtype)
            if latents:
                kept.append(states)
        return leaves, torch.cat([part.to(self._numbers) for part in kept], dim=2) if latents else states


def _levels(tree: HLTM, trees: Sequence[HLTM], device: torch.device) -> tuple[_Level, ...]:
    column = {leaf: number for number, leaf in enumerate(tree.leaves)}
    above, start, found = {tree.root: 0}, 0, []
    for nodes in tree.levels[1:]:
        parents = [above[_parent(tree, node)] for node in nodes]
        observed = [row for row, node in enumerate(nodes) if node in column]
        index = [parents, [column[nodes[row]] for row in observed], observed]
        rows = [torch.tensor(values, dtype=torch.int64, device=device) for values in index]
        tables = [_stacked([each.transition(_parent(each, node), node) for node in nodes]) for each in trees]
        found.append(_Level(slice(start, start + len(nodes)), rows[0], _limits(tables, device), rows[1], rows[2]))
        start += len(nodes)
        above = {node: row for row, node in enumerate(nodes)}
    return tuple(found)


def _parent(tree: HLTM, node: Node) -> Node:
    above = tree.parent(node)
    if above is None:
        raise InputError(f"node {show(node)}: must have a parent")
    return above


def _stacked(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Tables of the nodes of a level, padded with states of probability zero: ``(n, states above, states)``."""
    above, below = (max(table.shape[axis] for table in tables) for axis in (0, 1))
    found = np.zeros((len(tables), above, below))
    for row, table in zip(found, tables, strict=True):
        row[: table.shape[0], : table.shape[1]] = table
    return found


def _limits(tables: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Tables ``(n, states above, states)`` of E members as ``(states above, states - 1, E, n, 1)`` words."""
    steps = np.stack(tables).cumsum(axis=-1)
    # Divided by the last step, rows end in exact ones: a last state of probability zero is never drawn.
    steps = steps / np.where(steps[..., -1:] > 0, steps[..., -1:], 1)
    words = np.rint(steps[..., :-1] * WORD).astype(np.int64).transpose(2, 3, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(words[..., None])).to(device)


def _drawn(steps: Tensor, above: Tensor | None, words: Tensor) -> Tensor:
    """States, from the words ``(..., E, n, samples)`` and the states of the parents: bool where there are two."""
    if above is not None and steps.shape[:2] == (2, 1):
        low, high = words >= steps[0, 0], words >= steps[1, 0]
        return low ^ (above & (low ^ high))
    states = torch.zeros_like(words)
    for number in range(steps.shape[1]):
        limits = steps[0, number]
        if above is not None:
            for value in range(1, len(steps)):
                limits = torch.where(above == value, steps[value, number], limits)
        states += words >= limits
    return states.bool() if steps.shape[1] == 1 else states
