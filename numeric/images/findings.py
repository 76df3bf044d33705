"""The theory on the networks of an experiment: which checks are run on them, and what was found."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hltm.base.progress import SILENT, Progress
from numeric.images.failures import let_go, out_of_memory
from numeric.studies.images.network import Network
from numeric.studies.images.population import features, has_batch_norm, image_population, in_double
from numeric.studies.images.study import ImageResults
from numeric.studies.images.theory import (
    Check,
    Residue,
    head_checks,
    head_residues,
    network_checks,
    network_residues,
    whole,
)
from numeric.towers.populations import FinitePopulation

STRENGTHS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_FITTED = (0.01, 0.2)  # range of the strengths that an exponent is fitted to
_HEAD = (12, 4)  # images and augmentations
_WHOLE = (8, 3)
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Findings:
    """What the theory says and the networks do.

    Attributes
    ----------
    checks : tuple of (str, Check)
        By the network: ``"untrained"`` or its loss.
    residues : tuple of (str, Residue)
    left_out : tuple of str
        What could not be checked or measured, and why.
    """

    checks: tuple[tuple[str, Check], ...]
    residues: tuple[tuple[str, Residue], ...]
    left_out: tuple[str, ...]

    @property
    def as_told(self) -> bool:
        """Whether every statement holds where it must and fails where it must."""
        return all(check.as_told for _, check in self.checks)


@dataclass(frozen=True)
class _Draft:
    """Findings while they are gathered."""

    checks: list[tuple[str, Check]] = field(default_factory=list)
    residues: list[tuple[str, Residue]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def within_memory(self, what: str, compute: Callable[[], Sequence[_Row]]) -> Sequence[_Row]:
        """What is computed; nothing, and a line on what is left out, where memory does not suffice."""
        try:
            return compute()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        # Outside of the handler, whose exception holds all that was computed.
        let_go()
        self.left_out.append(f"{what}: the memory of the device is too small")
        return []


def examined(results: ImageResults) -> list[str]:
    """The untrained network, and two trained ones: by NT-Xent and by the exact covariance form where they are there."""
    losses = results.study.losses
    chosen = [loss for loss in losses if loss in ("ntxent", "covariance")]
    return ["untrained", *(chosen or losses[:1])]


def find(results: ImageResults, progress: Progress = SILENT) -> Findings:
    """Run all checks on the networks of the first seed.

    Parameters
    ----------
    results : ImageResults
    progress : Progress
        Told of every part of every network.

    Returns
    -------
    Findings
        What memory does not suffice for is named there, and the rest is done.
    """
    found, names = _Draft(), examined(results)
    progress.start(4 * len(names), "the theory on the networks")
    for name in names:
        network = in_double(results.networks[name])
        _examine(found, name, network, results, progress)
        found.left_out.extend(f"{name}: {text}" for text in _no_functions(network))
    found.left_out.extend(_not_measured(results))
    return Findings(tuple(found.checks), tuple(found.residues), tuple(found.left_out))


def _examine(found: _Draft, name: str, network: Network, results: ImageResults, progress: Progress) -> None:
    """All checks and residues of one network."""
    study = results.study

    def population(strength: float = 1.0, sizes: tuple[int, int] = _WHOLE) -> FinitePopulation:
        return image_population(results.data, study.recipe, *sizes, strength=strength)

    def on_head() -> list[Check]:
        return head_checks(network.head, features(network, population(sizes=_HEAD)))

    checks: dict[str, Callable[[], list[Check]]] = {
        "statements 3 and 4 on the head": on_head,
        f"statements 3 and 4 on {whole(network)}": lambda: network_checks(network, population(), study.tau),
    }
    residues: dict[str, Callable[[], list[Residue]]] = {
        "residue of the head": lambda: head_residues(network, population, STRENGTHS),
        f"residue of {whole(network)}": lambda: network_residues(network, population, STRENGTHS, study.tau),
    }
    for what, compute in checks.items():
        progress.step(f"{name}: {what}")
        found.checks.extend((name, each) for each in found.within_memory(f"{name}: {what}", compute))
    for what, measure in residues.items():
        progress.step(f"{name}: {what}")
        found.residues.extend((name, each) for each in found.within_memory(f"{name}: {what}", measure))


def _no_functions(network: Network) -> list[str]:
    """Parts of which the theory does not speak, and why."""
    if not has_batch_norm(network):
        return []
    said = [f"{network.shape.encoder} with the live statistics of its training: an output is then no function of one "
            "image and K has no meaning; --norm none --head-norm none trains without"]  # fmt: skip
    if network.shape.head_norm == "batch":
        said.append("the head's own statistics: its operators, its residue and part 'head' take its two matrices alone")
    return said


def _not_measured(results: ImageResults) -> list[str]:
    """Networks along whose training an operator was not measured."""
    counts = {
        member.loss: sum("operators" not in row for row in member.history)
        for member in results.members
        if member.seed == results.study.seed
    }
    return [
        f"{loss}: covariance operators of the head at {count} evaluations: the memory of the device was too small"
        for loss, count in counts.items()
        if count
    ]


def exponent(rows: Sequence[Residue]) -> float:
    """Slope of ``log ||theta||`` over ``log sigma`` for small augmentations; NaN where theta vanishes.

    Examples
    --------
    >>> rows = [Residue("head", s, s, 3 * s**2, 1.0) for s in STRENGTHS]
    >>> round(exponent(rows), 6)
    2.0
    """
    low, high = _FITTED
    kept = [row for row in rows if low <= row.strength <= high and row.theta > 0 and row.spread > 0]
    if len(kept) < 2:
        return math.nan
    return float(np.polyfit(np.log([row.spread for row in kept]), np.log([row.theta for row in kept]), 1)[0])
