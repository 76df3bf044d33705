"""Values of functions of tensors in float64, with a bound of their rounding error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.packs.part import UndecidedError
from verify.tolerance import rounding
from verify.tolerance.running import Bounded
from verify.towers.tower import Array, tensors

if TYPE_CHECKING:
    from torch import Tensor


def float_values(function: Callable[[Sequence[Tensor]], Tensor], at: Sequence[Any], device: str = "cpu") -> Array:
    """A table of values; the bound is the scaled difference to the same in float32 (see `measured_tolerance`)."""
    import torch

    double, single = (
        function(tensors(at, device, dtype)).detach().cpu().numpy().astype(np.float64)
        for dtype in (torch.float64, torch.float32)
    )
    if not (np.isfinite(double).all() and np.isfinite(single).all()):
        raise UndecidedError("a value is not finite in float32 or float64")
    error = rounding.measured_tolerance([double], [single])
    return np.asarray(np.frompyfunc(lambda value: Bounded(float(value), error), 1, 1)(double))
