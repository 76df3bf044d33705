"""How large the numbers become on the way to a result: what sums may lose that its own size does not show.

A difference of large numbers carries the rounding of the large ones, and a float32 probe may miss it by chance or
because both sides cancel there exactly. A side is computed once more with every intermediate result watched; the
largest of them, times the unit roundoff, is what rounding may have left.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

PRODUCTS = ("matmul", "einsum", "dot", "vdot", "inner", "tensordot", "outer", "kron")
TORCH_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "mv", "dot", "vdot")


class Largest:
    """The largest finite absolute value that was seen, whether anything was, and whether in less than float64."""

    def __init__(self) -> None:
        self.value = 0.0
        self.asked = False
        self.narrow = False

    def see(self, *values: Any) -> None:
        """Take note of arrays; what is no array of floats is passed over."""
        for value in values:
            if isinstance(value, np.ndarray | np.floating) and np.asarray(value).dtype.kind == "f":
                plain = np.abs(np.asarray(value))
                # Whole numbers, such as masks and constants, are exact in any precision.
                self.narrow |= plain.dtype.itemsize < 8 and not np.array_equal(plain, np.rint(plain), equal_nan=True)
                self.value = max(self.value, float(np.max(plain[np.isfinite(plain)], initial=0.0)))

    def see_product(self, *factors: Any) -> None:
        """Take note of the terms of a sum of products, which are never held."""
        tops = [float(np.max(np.abs(np.asarray(f)), initial=0.0)) for f in factors if isinstance(f, np.ndarray)]
        self.see(np.float64(np.prod(tops)) if tops else np.float64(0.0))


class Watched(np.ndarray):
    """A NumPy array that reports every result computed from it.

    Examples
    --------
    >>> largest = Largest()
    >>> x = watched(np.array([1e8, 1.0]), largest)
    >>> float((x * x).sum() - x[0] ** 2), largest.value >= 1e16
    (0.0, True)
    """

    largest: Largest | None

    def __array_finalize__(self, made_from: Any) -> None:
        self.largest = getattr(made_from, "largest", None)

    def __getitem__(self, key: Any) -> Any:
        """A single entry stays watched too."""
        return _seen(super().__getitem__(key), self.largest or Largest())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute on plain arrays, take note of the result, and watch it in turn."""
        largest = _of(inputs, self)
        if "out" in options:
            options["out"] = tuple(plain(item) for item in options["out"])
        given = [plain(item) for item in inputs]
        result = getattr(ufunc, method)(*given, **options)
        if ufunc.__name__ in PRODUCTS:
            largest.see_product(*given)
        return _seen(result, largest)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """As for plain arrays; the factors of sums of products are taken note of."""
        largest = _of(args, self)
        if func.__name__ in PRODUCTS:
            largest.see_product(*(item for item in args if isinstance(item, np.ndarray)))
        return _seen(super().__array_function__(func, types, args, kwargs), largest)


def watched(array: np.ndarray, largest: Largest) -> Watched:
    """The array, watched."""
    found = np.asarray(array).view(Watched)
    found.largest = largest
    largest.asked = True
    largest.see(array)
    return found


def plain(value: Any) -> Any:
    """A watched array as a plain one; anything else as it is."""
    return value.view(np.ndarray) if isinstance(value, Watched) else value


def _of(values: Any, otherwise: Watched) -> Largest:
    for value in values:
        if isinstance(value, Watched) and value.largest is not None:
            return value.largest
    return otherwise.largest or Largest()


def _seen(result: Any, largest: Largest) -> Any:
    if isinstance(result, tuple):
        return tuple(_seen(item, largest) for item in result)
    if isinstance(result, np.ndarray | np.floating) and np.asarray(result).dtype.kind == "f":
        largest.see(result)
        return watched(plain(np.asarray(result)), largest)
    return result


@contextmanager
def watched_torch(largest: Largest) -> Iterator[None]:
    """Take note of every result of torch inside the block; does nothing where torch is not loaded."""
    if "torch" not in sys.modules:
        yield
        return
    import torch
    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode

    def top(value: Any) -> float:
        return float(value.detach().abs().nan_to_num(0.0, 0.0, 0.0).max()) if value.numel() else 0.0

    def floats(values: Any) -> list[Any]:
        return [item for item in values if isinstance(item, Tensor) and item.is_floating_point()]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for item in floats(result if isinstance(result, tuple | list) else (result,)):
                largest.see(np.float64(top(item)))
                if item.dtype in (torch.float32, torch.float16, torch.bfloat16):
                    largest.see(item.detach().cpu().float().numpy())
            if func.__name__.split(".")[0] in TORCH_PRODUCTS:
                largest.see(np.float64(np.prod([top(item) for item in floats(args)[-2:]])))
            return result

    with Watch():
        yield
