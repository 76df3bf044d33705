"""The theory on the networks of an experiment: which checks are run on them, and what was found."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numeric.images.network import Network
from numeric.images.study import ImageResults
from numeric.images.theory import (
    Check,
    Residue,
    features,
    has_batch_norm,
    head_checks,
    image_population,
    in_double,
    network_checks,
    residues,
)

STRENGTHS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_FITTED = (0.01, 0.2)  # range of the strengths that an exponent is fitted to
_HEAD = (12, 4)  # images and augmentations
_WHOLE = (8, 3)
_NUMBERS = 2**25  # of the Jacobian of one sample: 256 MB


@dataclass(frozen=True)
class Findings:
    """What the theory says and the networks do.

    Attributes
    ----------
    checks : tuple of (str, Check)
        By the network: ``"untrained"`` or its loss.
    residues : tuple of (str, Residue)
    left_out : tuple of str
        What could not be checked, and why.
    """

    checks: tuple[tuple[str, Check], ...]
    residues: tuple[tuple[str, Residue], ...]
    left_out: tuple[str, ...]

    @property
    def as_told(self) -> bool:
        """Whether every statement holds where it must and fails where it must."""
        return all(check.as_told for _, check in self.checks)


def examined(results: ImageResults) -> list[str]:
    """The untrained network, and two trained ones: by NT-Xent and by the exact covariance form where they are there."""
    losses = results.study.losses
    chosen = [loss for loss in losses if loss in ("ntxent", "covariance")]
    return ["untrained", *(chosen or losses[:1])]


def find(results: ImageResults) -> Findings:
    """Run all checks on the networks of the first seed.

    Parameters
    ----------
    results : ImageResults

    Returns
    -------
    Findings
    """
    checks: list[tuple[str, Check]] = []
    found: list[tuple[str, Residue]] = []
    left_out: list[str] = []
    for name in examined(results):
        network = in_double(results.networks[name])
        population = image_population(results.data, results.study.recipe, *_HEAD)
        checks += [(name, check) for check in head_checks(network.head, features(network, population))]
        reason = _too_much(network)
        if reason:
            left_out.append(f"{name}: every layer of the encoder: {reason}")
            continue
        small = image_population(results.data, results.study.recipe, *_WHOLE)
        checks += [(name, check) for check in network_checks(network, small, results.study.tau)]
        found += [(name, each) for each in _residues(network, results)]
    return Findings(tuple(checks), tuple(found), tuple(left_out))


def _too_much(network: Network) -> str:
    numbers = sum(parameter.numel() for parameter in network.parameters()) * network.shape.out
    if has_batch_norm(network):
        return "it has batch normalisation, so its outputs are no functions of one image; --norm none leaves it out"
    return f"{numbers:,} derivatives of one image are too many" if numbers > _NUMBERS else ""


def _residues(network: Network, results: ImageResults) -> list[Residue]:
    return residues(
        network,
        lambda strength: image_population(results.data, results.study.recipe, *_WHOLE, strength=strength),
        STRENGTHS,
        results.study.tau,
    )


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
