"""Input validation: widths, slopes, devices, weights that chain, single networks, layers.

An invalid argument raises :class:`hltm.base.errors.InputError` with one line that names value, place and rule.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hltm.base.errors import InputError

Real = float | int
Weights = Sequence[Any]


class Layers(tuple[Tensor, ...]):
    """Weights ``W_1 .. W_L`` that passed :func:`check_weights`; no function checks them again."""

    __slots__ = ()


def is_integer(value: Any, low: int, high: Real = math.inf) -> bool:
    """Whether a value is an integer in ``low .. high``; a bool is none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and low <= int(value) <= high


def as_number(value: Any) -> float:
    """A value as a float; NaN for a bool, a string and anything that is no finite number."""
    try:
        number = math.nan if isinstance(value, str | bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def check_output(output: str) -> str:
    """Refuse an output that is neither linear nor normalised."""
    if output not in ("linear", "normalized"):
        raise InputError(f"output={output!r}: must be 'linear' or 'normalized'")
    return output


def check_widths(widths: Sequence[Any]) -> tuple[int, ...]:
    """Widths of a tower as a tuple of positive integers.

    Parameters
    ----------
    widths : sequence
        ``n_0 .. n_L``: input width first, so at least two entries.

    Returns
    -------
    tuple of int

    Raises
    ------
    InputError
        Fewer than two entries, or one that is not a positive integer.

    Examples
    --------
    >>> check_widths([3, 2])
    (3, 2)
    >>> check_widths([3, 0])
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: widths[1]=0: must be a positive integer
    """
    if len(widths) < 2:
        raise InputError(f"widths={list(widths)}: must list the input width and at least one layer")
    for place, width in enumerate(widths):
        if not is_integer(width, 1):
            raise InputError(f"widths[{place}]={width!r}: must be a positive integer")
    return tuple(int(width) for width in widths)


def check_slope(slope: Real) -> float:
    """Slope of the activation below zero: 0 is ReLU, 1 is linear.

    Raises
    ------
    InputError
        A slope outside [0, 1], or NaN.

    Examples
    --------
    >>> check_slope(1)
    1.0
    """
    if not 0 <= slope <= 1:
        raise InputError(f"slope={slope!r} of the activation: must lie in [0, 1]")
    return float(slope)


def check_device(name: str) -> torch.device:
    """Return the device of a name; ``"auto"`` takes CUDA if the machine has it.

    Parameters
    ----------
    name : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    InputError
        Another name, or CUDA on a machine without it.

    Examples
    --------
    >>> check_device("cpu")
    device(type='cpu')
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device={name!r}: must be 'auto', 'cpu' or 'cuda'")
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise InputError("device='cuda': this machine has no CUDA device; use 'auto' or 'cpu'")
    return torch.device("cuda" if present and name != "cpu" else "cpu")


def as_floating(value: Any, place: str) -> Tensor:
    """A floating tensor; other values go through NumPy, so that lists become double precision."""
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
            if array.dtype != np.float32:
                array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"{place}: must be a rectangular array of numbers") from error
        value = torch.from_numpy(array.copy())
    result: Tensor = value
    if not result.dtype.is_floating_point:
        raise InputError(f"{place}: dtype {result.dtype} must be a floating type")
    return result


def check_finite(value: Tensor, place: str) -> None:
    """Refuse NaN and infinity, naming the first entry that has one."""
    finite = torch.isfinite(value)
    if not bool(finite.all()):
        where = tuple(int(i) for i in (~finite).nonzero()[0])
        raise InputError(f"{place}: entry {where} is {value[where].item()}: must be finite")


def check_shapes(weights: Weights, place: str = "weights") -> Sequence[Tensor]:
    """Weights as floating tensors of one kind that chain; their values are not looked at."""
    if isinstance(weights, Layers):
        return weights
    layers = [as_floating(value, f"{place} of layer {number}") for number, value in enumerate(weights, start=1)]
    if not layers:
        raise InputError(f"{place}=[]: must hold at least one layer")
    for number, layer in enumerate(layers, start=1):
        if layer.ndim not in (2, 3) or 0 in layer.shape:
            rule = "must be (n_out, n_in) or (ensemble, n_out, n_in) with positive sizes"
            raise InputError(f"{place} of layer {number}: shape {tuple(layer.shape)} {rule}")
    for number, (below, above) in enumerate(pairwise(layers), start=1):
        first, second = tuple(below.shape), tuple(above.shape)
        names = f"layer {number + 1} of shape {second} after layer {number} of shape {first}"
        if above.shape[-1] != below.shape[-2]:
            raise InputError(f"{place}: {names}: columns {above.shape[-1]} must equal rows {below.shape[-2]}")
        if above.shape[:-2] != below.shape[:-2]:
            raise InputError(f"{place}: {names}: all layers must have the same ensemble axis")
        if above.dtype != below.dtype or above.device != below.device:
            kinds = f"{above.dtype} on {above.device} after {below.dtype} on {below.device}"
            raise InputError(f"{place}: {names}: {kinds}: all layers must share dtype and device")
    return layers


def check_weights(weights: Weights, place: str = "weights") -> Layers:
    """Validate the weights of a tower: finite floating tensors that chain.

    Parameters
    ----------
    weights : sequence of arrays
        ``W_1 .. W_L``, each ``(n_l, n_{l-1})`` or, for an ensemble, ``(E, n_l, n_{l-1})``. Tensors keep
        dtype, device and graph; lists and arrays other than float32 become float64.
    place : str
        What to call them in a message.

    Returns
    -------
    tuple of Tensor

    Raises
    ------
    InputError
        No layer, wrong number of axes, NaN or infinity, or layers that do not chain (both are named).

    Examples
    --------
    >>> check_weights([[[1.0, float("nan")]]])
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: weights of layer 1: entry (0, 1) is nan: must be finite
    """
    if isinstance(weights, Layers):
        return weights
    layers = check_shapes(weights, place)
    for number, layer in enumerate(layers, start=1):
        check_finite(layer, f"{place} of layer {number}")
    return Layers(layers)


def check_single(weights: Weights, place: str = "weights") -> Layers:
    """Weights of one tower; an ensemble is refused."""
    layers = check_weights(weights, place)
    if layers[0].ndim != 2:
        raise InputError(f"{place}: ensemble of {layers[0].shape[0]} networks: must be one network; take one member")
    return layers


def check_layer(layer: int, depth: int) -> int:
    """The paper's layer number l, between 1 and L."""
    if not is_integer(layer, 1, depth):
        raise InputError(f"layer={layer!r}: must lie in 1 .. {depth}")
    return layer


def check_input(layers: Sequence[Tensor], x: Tensor) -> None:
    """Refuse inputs that the first layer cannot read."""
    if x.shape[-1] != layers[0].shape[-1]:
        shapes = f"shape {tuple(x.shape)} before layer 1 of shape {tuple(layers[0].shape)}"
        raise InputError(f"x: {shapes}: last axis {x.shape[-1]} must equal columns {layers[0].shape[-1]}")
    if x.dtype != layers[0].dtype or x.device != layers[0].device:
        kinds = f"{x.dtype} on {x.device} before weights of {layers[0].dtype} on {layers[0].device}"
        raise InputError(f"x: {kinds}: must share dtype and device")
    if x.ndim > layers[0].ndim or (x.ndim == 3 and x.shape[0] != layers[0].shape[0]):
        shapes = f"shape {tuple(x.shape)} for weights of shape {tuple(layers[0].shape)}"
        raise InputError(f"x: {shapes}: must be (batch, d), or (ensemble, batch, d) for an ensemble")
