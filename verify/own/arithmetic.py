"""The numbers that a side of a user's statement computes with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hltm.base.errors import InputError
from verify.own.noise import Noise, noisy, plain
from verify.towers.tower import array, rational

if TYPE_CHECKING:
    from torch import Tensor

    from numeric import FinitePopulation
    from verify.instances.instance import PopulationInstance


@dataclass(frozen=True)
class Arithmetic:
    """The numbers that a side computes with.

    Parameters
    ----------
    kind : {"double", "exact"}
        float64, or rationals (`flint.fmpq`, NumPy only).
    device : str
        Torch device of `tensor`, `weights` and `population`.
    noise : Noise, optional
        Moves inputs and results of float64, to see how rounding acts.

    Examples
    --------
    >>> Arithmetic().array([0.5, 1.0])
    array([0.5, 1. ])
    >>> Arithmetic("exact").array([0.5, 1.0]) * 2
    array([1, 2], dtype=object)
    """

    kind: Literal["double", "exact"] = "double"
    device: str = "cpu"
    noise: Noise | None = field(default=None, repr=False)

    @property
    def exact(self) -> bool:
        """Whether entries are exact rationals."""
        return self.kind == "exact"

    def array(self, value: Any) -> np.ndarray:
        """Nested tuples of numbers as a NumPy array of these numbers."""
        double = np.asarray(value, dtype=np.float64)
        if self.exact:
            return array(double, rational)
        return double if self.noise is None else noisy(self.noise.moved_input(plain(double)), self.noise)

    def tensor(self, value: Any) -> Tensor:
        """Nested tuples of numbers as a torch tensor; refused where `at.exact` holds (InputError)."""
        import torch

        if self.exact:
            raise InputError("at.tensor: torch has no exact rationals, must be at.array where at.exact holds")
        return torch.as_tensor(plain(self.array(value)), device=self.device)

    def weights(self, instance: PopulationInstance) -> list[Tensor]:
        """The weights of a `PopulationInstance` as tensors, one matrix (n_l, n_{l-1}) for each layer."""
        return [self.tensor(matrix) for matrix in instance.weights]

    def population(self, instance: PopulationInstance) -> FinitePopulation:
        """The population of a `PopulationInstance`, as `numeric` takes it; its probabilities are not moved."""
        from torch.utils._python_dispatch import _disable_current_modes

        from verify.instances.in_torch import population_of

        moved = replace(instance, points=tuple(map(_nested, plain(self.array(instance.points)))))
        # The checks of a population allow no noise: its probabilities sum to one.
        with _disable_current_modes():
            return population_of(moved, self.device)


def _nested(value: np.ndarray) -> Any:
    return tuple(_nested(item) for item in value) if value.ndim else float(value)


@contextmanager
def noisy_torch(noise: Noise) -> Iterator[None]:
    """Move every result of torch inside the block; do nothing where torch is not loaded."""
    if "torch" not in sys.modules:
        yield
        return
    from verify.own.torch_noise import NoisyTorch

    with NoisyTorch(noise):
        yield
