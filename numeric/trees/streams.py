"""Random streams of a stack of networks: draws of ``x_1, x_+, x_1-, .. x_H-``, each member from its own tree.

Statement 6: an augmentation keeps z_0 and resamples the rest. Philox4x32-10, a counter-based generator, gives one
word per state: the state is the number of cumulative probabilities, rounded to multiples of 2^-32, that the word has
reached. The draws of a member at a step depend on its seed, the step and the sizes alone.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node
from hltm.base.checks import seed as check_seed
from hltm.base.errors import InputError
from numeric.trees.network import check_tree

WORD = 2**32
_MASK = WORD - 1
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_BUMPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def member_keys(seeds: Sequence[int], device: torch.device) -> Tensor:
    """Keys of the streams of E members, ``(2, E)`` words: the low and the high half of each seed."""
    checked = [check_seed(value) for value in seeds]
    owner: dict[int, int] = {}
    for number, value in enumerate(checked):
        if value >= WORD**2:
            raise InputError(f"seed={value} of member {number}: must be below 2^64")
        if (first := owner.setdefault(value, number)) < number:
            rule = f"must not be that of member {first}, both would draw the same numbers"
            raise InputError(f"seed={value} of member {number}: {rule}")
    halves = [[value & _MASK for value in checked], [value >> 32 for value in checked]]
    return torch.tensor(halves, dtype=torch.int64, device=device)


def philox(counter: Sequence[Tensor | int], key: Sequence[Tensor | int], shape: Sequence[int]) -> Tensor:
    """Return four words for every counter."""
    places = [part.device for part in (*counter, *key) if isinstance(part, Tensor)]
    words = torch.empty((4, *shape), dtype=torch.int64, device=places[0] if places else None)
    for word, part in zip(words, counter, strict=True):
        word.copy_(part) if isinstance(part, Tensor) else word.fill_(part)
    keys = [part if isinstance(part, Tensor) else words.new_tensor(part) for part in key]
    x0, x1, x2, x3 = words.unbind(0)
    spare, other = torch.empty_like(x0), torch.empty_like(x0)
    for number in range(_ROUNDS):
        if number:
            keys = [(part + bump) & _MASK for part, bump in zip(keys, _BUMPS, strict=True)]
        # Products wrap modulo 2^64; the mask after the shift removes the copies of the sign.
        torch.mul(x0, _MULTIPLIERS[0], out=spare)
        torch.mul(x2, _MULTIPLIERS[1], out=other)
        _high(other, x1, keys[0], out=x0)
        _high(spare, x3, keys[1], out=x2)
        torch.bitwise_and(other, _MASK, out=x1)
        torch.bitwise_and(spare, _MASK, out=x3)
    return words


def _high(product: Tensor, beside: Tensor, key: Tensor, *, out: Tensor) -> None:
    """``hi(product) ^ beside ^ key``."""
    torch.bitwise_right_shift(product, 32, out=out)
    out.bitwise_xor_(beside).bitwise_xor_(key).bitwise_and_(_MASK)


_WORDS_AT_A_TIME = 2**19  # of all members and some steps: small enough for the cache, large enough for a launch
_WORDS_AT_ONCE = 2**24  # of one step: 128 MiB; more are made for some nodes at a time, at four times the work

_NUMBERS = (torch.uint8, torch.int16, torch.int32)  # of states: the smallest that holds them all


@dataclass(frozen=True, eq=False)
class _Level:
    """Nodes of one level."""

    rows: slice
    above: Tensor
    steps: Tensor
    columns: Tensor
    observed: Tensor


def same_shape(trees: Sequence[HLTM]) -> HLTM:
    """The first tree; the others must have its nodes, edges and numbers of states."""
    if not trees:
        raise InputError("trees=[]: must hold one tree, or one for each member")
    first = check_tree(trees[0])
    for number, tree in enumerate(trees[1:], start=1):
        same = check_tree(tree).nodes == first.nodes and tree.edges == first.edges
        if not same or any(tree.cardinality(node) != first.cardinality(node) for node in first.nodes):
            raise InputError(f"tree {number}, {tree!r}: must have the nodes, edges and states of tree 0, {first!r}")
    return first


class TripleSampler:
    """Sampler of ``x_1``, ``x_+`` and negatives for a stack of members."""

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
        """Return the sampler of these members; their draws stay the same."""
        result = copy.copy(self)
        result.keys, result.members = self.keys[:, members], len(members)
        own = self._prior.shape[2] > 1
        result._prior = self._prior[:, :, members] if own else self._prior
        if own:
            result._levels = tuple(replace(level, steps=level.steps[:, :, members]) for level in self._levels)
        return result

    @property
    def steps_at_a_time(self) -> int:
        """Number of steps to draw together."""
        return max(1, _WORDS_AT_A_TIME // (self.members * self.words_per_step))

    def words(self, step: int | Tensor, steps: int, purpose: int = 0) -> Int[Tensor, "steps E words"]:
        """Words of some steps; `purpose` separates the draws of training (0) from others."""
        fourth = -(-self.words_per_step // 4)
        device = self.keys.device
        number = torch.arange(fourth, device=device)
        time = (step + torch.arange(steps, device=device)).view(-1, 1, 1)
        key = [half.view(1, -1, 1) for half in self.keys]
        result = philox((number, time % WORD, time // WORD, purpose), key, (steps, self.members, fourth))
        return result.permute(1, 2, 0, 3).flatten(2)

    def leaves(self, step: int | Tensor, steps: int = 1, purpose: int = 0) -> Float[Tensor, "steps E n_leaves samples"]:
        """Leaves of some steps: samples are those of ``x_1``, then of ``x_+``, then of each negative, B of each."""
        leaves, _ = self._run(step, steps, purpose, latents=False)
        return leaves

    def states(self, step: int, purpose: int) -> tuple[Tensor, Tensor]:
        """Leaves ``(E, n_leaves, samples)`` and, in the order of ``tree.nodes``, all states ``(E, nodes, samples)``."""
        leaves, states = self._run(step, 1, purpose, latents=True)
        return leaves[0], states[0]

    def independent(self, step: int, purpose: int) -> Integer[Tensor, "E nodes samples"]:
        """All states of ``x_1`` and the negatives, ``(E, nodes, (1 + H) B)``, in the order of ``tree.nodes``.

        They are those of :meth:`states` without ``x_+``, which shares its root with ``x_1``.
        """
        if self.members * self.words_per_step <= _WORDS_AT_ONCE:
            _, states = self.states(step, purpose)
            return torch.cat([states[..., : self.batch], states[..., 2 * self.batch :]], dim=-1)
        head, samples = self._roots * self.batch, self.towers * self.batch
        device = self.keys.device
        result = torch.empty(self.members, len(self.tree), head, dtype=self._numbers, device=device)
        draws = self._some_words(step, purpose, 0, head).reshape(1, self.members, self._roots, self.batch)
        result[:, 0] = choose(self._prior, None, draws)[0].flatten(1)
        some, first_above = max(1, _WORDS_AT_A_TIME // (self.members * samples)), 0
        for level in self._levels:
            for start in range(level.rows.start, level.rows.stop, some):
                stop = min(start + some, level.rows.stop)
                part = slice(start - level.rows.start, stop - level.rows.start)
                words = self._some_words(step, purpose, head + start * samples, head + stop * samples)
                draws = words.unflatten(-1, (stop - start, samples))
                draws = torch.cat([draws[..., : self.batch], draws[..., 2 * self.batch :]], dim=-1)
                above = result[:, first_above + level.above[part]]
                above = above.bool() if level.steps.shape[:2] == (2, 1) else above
                result[:, 1 + start : 1 + stop] = choose(level.steps[:, :, :, part], above, draws)
            first_above = 1 + level.rows.start
        return result

    def _some_words(self, step: int, purpose: int, start: int, stop: int) -> Int[Tensor, "E words"]:
        """Words ``start .. stop - 1`` of a step."""
        fourth, parts = -(-self.words_per_step // 4), []
        key = [half.unsqueeze(-1) for half in self.keys]
        while start < stop:
            lane, first = divmod(start, fourth)
            count = min(stop - start, fourth - first)
            number = torch.arange(first, first + count, device=self.keys.device)
            counter = (number, step % WORD, step // WORD, purpose)
            parts.append(philox(counter, key, (self.members, count))[lane])
            start += count
        return torch.cat(parts, dim=-1)

    def _run(self, step: int | Tensor, steps: int, purpose: int, latents: bool) -> tuple[Tensor, Tensor]:
        words = self.words(step, steps, purpose)
        head = self._roots * self.batch
        shape = (steps, self.members, -1)
        own = choose(self._prior, None, words[..., :head].reshape(*shape[:2], self._roots, self.batch))
        # x_1 and x_+ share the state of the root, each negative has its own.
        states = torch.cat([own[:, :, :1], own], dim=2).flatten(2).unsqueeze(2)
        rest = words[..., head : self.words_per_step].unflatten(-1, (len(self.tree) - 1, -1))
        leaves = torch.empty(*shape[:2], len(self.tree.leaves), rest.shape[-1], dtype=self.dtype, device=words.device)
        kept = [states]
        for level in self._levels:
            states = choose(level.steps, states[:, :, level.above], rest[:, :, level.rows])
            leaves[:, :, level.columns] = states[:, :, level.observed].to(self.dtype)
            if latents:
                kept.append(states)
        return leaves, torch.cat([part.to(self._numbers) for part in kept], dim=2) if latents else states


def levels_below(
    tree: HLTM, device: torch.device
) -> Iterator[tuple[list[tuple[Node, Node]], list[int], Tensor, Tensor]]:
    """Edges into each level, rows of their parents in the level above, rows of the leaves and their columns."""
    column = {leaf: number for number, leaf in enumerate(tree.leaves)}
    for above, nodes in pairwise(tree.levels):
        edges = [(parent, child) for parent in above for child in tree.children(parent)]
        row = {parent: number for number, parent in enumerate(above)}
        observed = [number for number, node in enumerate(nodes) if node in column]
        columns = torch.tensor([column[nodes[number]] for number in observed], dtype=torch.int64, device=device)
        leaves = torch.tensor(observed, dtype=torch.int64, device=device)
        yield edges, [row[parent] for parent, _ in edges], leaves, columns


def _levels(tree: HLTM, trees: Sequence[HLTM], device: torch.device) -> tuple[_Level, ...]:
    start, result = 0, []
    for edges, parents, observed, columns in levels_below(tree, device):
        tables = [_stacked([each.transition(*edge) for edge in edges]) for each in trees]
        above = torch.tensor(parents, device=device)
        rows = slice(start, start + len(edges))
        result.append(_Level(rows, above, _limits(tables, device), columns, observed))
        start = rows.stop
    return tuple(result)


def _stacked(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Tables of the nodes of a level, padded with states of probability zero: ``(n, states above, states)``."""
    above, below = (max(table.shape[axis] for table in tables) for axis in (0, 1))
    result = np.zeros((len(tables), above, below))
    for row, table in zip(result, tables, strict=True):
        row[: table.shape[0], : table.shape[1]] = table
    return result


def _limits(tables: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Tables ``(n, states above, states)`` of E members as ``(states above, states - 1, E, n, 1)`` words."""
    steps = np.stack(tables).cumsum(axis=-1)
    # Divided by the last step, rows end in exact ones: a last state of probability zero is never drawn.
    steps = steps / np.where(steps[..., -1:] > 0, steps[..., -1:], 1)
    words = np.rint(steps[..., :-1] * WORD).astype(np.int64).transpose(2, 3, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(words[..., None])).to(device)


def choose(steps: Tensor, above: Tensor | None, draws: Tensor) -> Tensor:
    """Sample states by inversion: the number of limits that each draw has reached; bool if there is one limit."""
    if above is not None and steps.shape[:2] == (2, 1):
        low, high = draws >= steps[0, 0], draws >= steps[1, 0]
        return low ^ (above & (low ^ high))
    states = torch.zeros_like(draws, dtype=torch.int64)
    for number in range(steps.shape[1]):
        limits = steps[0, number]
        if above is not None:
            for value in range(1, len(steps)):
                limits = torch.where(above == value, steps[value, number], limits)
        states += draws >= limits
    return states.bool() if steps.shape[1] == 1 else states
