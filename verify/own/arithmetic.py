"""In which numbers the two sides of a user's statement are computed: float64, exact rationals, or rounded probes.

A side is a function ``(instance, at)`` that makes its arrays by ``at.array`` (NumPy) or ``at.tensor`` (torch). Asked
again in probes, with inputs moved by one rounding, in float32 and in float64, the same function shows how it reacts to
rounding; that gives the tolerance of the float64 comparison, so that nobody has to choose one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hltm.base.errors import InputError
from verify.own.magnitude import Largest, plain, watched
from verify.towers.tower import array, rational

if TYPE_CHECKING:
    from torch import Tensor

    from numeric import FinitePopulation
    from verify.instances.instance import PopulationInstance

Probe = Literal["single", "moved"]
ROUNDOFF: Mapping[Probe, float] = MappingProxyType({"single": 2.0**-24, "moved": 2.0**-52})
"""By which part of itself a probe moves an input, at most."""


@dataclass(frozen=True)
class Arithmetic:
    """The numbers that a side computes with.

    Parameters
    ----------
    kind : {"double", "single", "moved", "exact"}
        float64; float32 or float64 with inputs moved by one rounding (probes); or rationals (`flint.fmpq`, NumPy only).
    device : str
        Torch device of `tensor`, `weights` and `population`.
    probe : int
        Which probe: each moves the inputs in its own way.
    largest : Largest, optional
        Takes note of how large the numbers become on the way.

    Examples
    --------
    >>> Arithmetic().array([0.5, 1.0])
    array([0.5, 1. ])
    >>> Arithmetic("exact").array([0.5, 1.0]) * 2
    array([1, 2], dtype=object)
    >>> float(abs(Arithmetic("single", probe=1).array(0.5) - 0.5)) <= 2.0**-24
    True
    """

    kind: Literal["double", "single", "moved", "exact"] = "double"
    device: str = "cpu"
    probe: int = 0
    largest: Largest | None = field(default=None, compare=False, repr=False)

    @property
    def exact(self) -> bool:
        """Whether entries are exact rationals."""
        return self.kind == "exact"

    def array(self, value: Any) -> np.ndarray:
        """Nested tuples of numbers as a NumPy array of these numbers."""
        double = np.asarray(value, dtype=np.float64)
        if self.exact:
            return array(double, rational)
        found = double if self.kind == "double" else self._moved(double, "single" if self.kind == "single" else "moved")
        return found if self.largest is None else watched(found, self.largest)

    def tensor(self, value: Any) -> Tensor:
        """Nested tuples of numbers as a torch tensor; torch knows no exact rationals (InputError)."""
        import torch

        if self.exact:
            raise InputError("at.tensor: torch has no exact rationals, must be at.array where at.exact holds")
        return torch.as_tensor(plain(self.array(value)), device=self.device)

    def weights(self, instance: PopulationInstance) -> list[Tensor]:
        """The weights of a `PopulationInstance` as tensors, one matrix (n_l, n_{l-1}) for each layer."""
        return [self.tensor(matrix) for matrix in instance.weights]

    def population(self, instance: PopulationInstance) -> FinitePopulation:
        """The population of a `PopulationInstance`, as `numeric` takes it; its probabilities are not moved."""
        from verify.instances.in_torch import population_of

        moved = replace(instance, points=tuple(map(_nested, plain(self.array(instance.points)))))
        return population_of(moved, self.device).to(self.device, self.tensor(0.0).dtype)

    def _moved(self, plain: np.ndarray, kind: Probe) -> np.ndarray:
        """Each entry moved by at most one rounding of the kind; equal arrays are moved alike, and stay equal."""
        rng = np.random.default_rng([self.probe, zlib.crc32(plain.tobytes())])
        with np.errstate(over="ignore"):
            moved = plain * (1 + ROUNDOFF[kind] * rng.uniform(-1, 1, plain.shape))
            return moved.astype(np.float32 if kind == "single" else np.float64)


def _nested(value: np.ndarray) -> Any:
    return tuple(_nested(item) for item in value) if value.ndim else float(value)
