"""`TreeSampler`: the tables of a tree on a device, and leaves drawn from them level by level.

All samples of all nodes of one level with the same numbers of states are drawn at once, by inversion: a state is
the number of cumulative probabilities that a uniform number has reached. Only one level is held at a time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node, count, integer, show
from hltm.base.errors import InputError
from numeric.towers.checks import Real, check_device
from numeric.tree_checks import check_tree

SAMPLE_LIMIT = 2**31  # states of leaves in one call
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class _Draw:
    """Nodes of one level that are drawn together.

    Attributes
    ----------
    rows, above : Tensor
        Their rows in the level, those of their parents in the level above.
    steps : Tensor
        ``(states of the parent, states - 1, nodes, 1)``: cumulative probabilities without the last.
    """

    rows: Tensor
    above: Tensor
    steps: Tensor


@dataclass(frozen=True, init=False, eq=False, repr=False)
class TreeSampler:
    """Tables of a tree on a device, for many draws.

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
        column = {leaf: number for number, leaf in enumerate(check_tree(tree).leaves)}
        above = {tree.root: 0}
        levels = []
        for nodes in tree.levels[1:]:
            groups: dict[tuple[int, int], list[int]] = {}
            tables = [tree.transition(_parent(tree, node), node) for node in nodes]
            for row, table in enumerate(tables):
                groups.setdefault(table.shape, []).append(row)
            draws = tuple(
                _Draw(
                    torch.tensor(rows, device=place),
                    torch.tensor([above[_parent(tree, nodes[row])] for row in rows], device=place),
                    _steps(np.stack([tables[row] for row in rows], axis=1)).to(place),
                )
                for rows in groups.values()
            )
            observed = [row for row, node in enumerate(nodes) if node in column]
            columns = [column[nodes[row]] for row in observed]
            index = [torch.tensor(values, dtype=torch.int64, device=place) for values in (observed, columns)]
            levels.append((draws, index[0], index[1]))
            above = {node: row for row, node in enumerate(nodes)}
        prior = _steps(tree.prior[None, None, :]).to(place)
        states = max(tree.cardinality(node) for node in tree.nodes)
        found = {"tree": tree, "device": place, "_prior": prior, "_states": states, "_levels": tuple(levels)}
        for name, value in found.items():
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
        found = torch.empty(len(self.tree.leaves), n, dtype=dtype, device=self.device)
        small = torch.uint8 if self._states <= 256 else torch.int64
        states = self._root(n, generator, root_states)
        for draws, observed, columns in self._levels:
            rows = sum(len(group.rows) for group in draws)
            level = torch.empty(rows, n, dtype=small, device=self.device)
            for group in draws:
                level[group.rows] = _drawn(group.steps, states[group.above], generator).to(level.dtype)
            found[columns] = level[observed].to(dtype)
            states = level
        return found.mT

    def _root(self, n: int, generator: torch.Generator, given: Any) -> Tensor:
        """States of the root, ``(1, n)``."""
        if given is None:
            return _drawn(self._prior, torch.zeros(1, n, dtype=torch.int64, device=self.device), generator)
        states = torch.as_tensor(given, device=self.device)
        root, limit = show(self.tree.root), self.tree.cardinality(self.tree.root)
        if states.is_floating_point() or states.dtype == torch.bool or states.shape not in ((), (n,)):
            found = f"{states.dtype} of shape {tuple(states.shape)}"
            raise InputError(f"root_states: {found}: must be one integer or integers of shape ({n},)")
        bad = (states < 0) | (states >= limit)
        if bool(bad.any()):
            value = states[bad].flatten()[0].item()
            raise InputError(f"root_states: {value}: must lie in 0 .. {limit - 1}, the states of root {root}")
        return states.to(torch.int64).expand(1, n)


def _largest(dtype: torch.dtype) -> Real:
    """The largest number up to which a type holds every integer."""
    return 2 / torch.finfo(dtype).eps if dtype.is_floating_point else torch.iinfo(dtype).max


def _parent(tree: HLTM, node: Node) -> Node:
    above = tree.parent(node)
    if above is None:
        raise InputError(f"node {show(node)}: must have a parent")
    return above


def _steps(tables: np.ndarray) -> Tensor:
    """Cumulative probabilities without the last, ``(states of the parent, nodes, states)`` to `_Draw.steps`."""
    steps = tables.cumsum(axis=-1)
    # Divided by the last step, rows end in exact ones: a last state of probability zero is never drawn.
    steps = steps / steps[..., -1:]
    return torch.from_numpy(np.ascontiguousarray(steps[..., :-1].transpose(0, 2, 1)[..., None]))


def _drawn(steps: Tensor, above: Tensor, generator: torch.Generator) -> Tensor:
    """One state for every entry of `above`, the states of the parents ``(nodes, n)``."""
    uniform = torch.rand(above.shape, generator=generator, dtype=torch.float64, device=above.device)
    states = torch.zeros_like(above)
    for step in range(steps.shape[1]):
        limits = steps[0, step]
        for value in range(1, len(steps)):
            limits = torch.where(above == value, steps[value, step], limits)
        states += uniform >= limits
    return states
