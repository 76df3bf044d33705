"""Instances as the torch objects that `numeric` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.instances.instance import PopulationInstance

if TYPE_CHECKING:
    from torch import Tensor

    from numeric import FinitePopulation


def weights_of(instance: PopulationInstance, device: str = "cpu") -> list[Tensor]:
    import torch

    return [torch.as_tensor(np.asarray(w), dtype=torch.float64, device=device) for w in instance.weights]


def population_of(instance: PopulationInstance, device: str = "cpu") -> FinitePopulation:
    """The finite population, float64."""
    import torch

    import numeric

    def tensor(value: Any) -> Any:
        return None if value is None else torch.as_tensor(np.asarray(value), dtype=torch.float64, device=device)

    return numeric.FinitePopulation(
        tensor(instance.points), tensor(instance.point_weights), tensor(instance.augmentation_weights)
    )


def arrays_of(tensors: Any) -> list[np.ndarray]:
    return [tensor.detach().cpu().numpy() for tensor in tensors]
