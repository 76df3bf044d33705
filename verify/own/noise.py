"""Float64 with random moves of every result of an operation, to see what rounding does to each entry of a result.

Monte Carlo arithmetic (Parker 1997; CESTAC of Vignes): an operation that rounds gives its result and a random part of
the size of a rounding, made larger by a known factor. Sums and products of arrays move by what their terms, not their
results, are made of. How far an entry of the final result moves, divided by the factor, is the natural scale on which
float64 rounds it, whatever stands beside it. Inputs move too, so that code that leaves NumPy and torch is seen by its
reaction to them. What is exact (a mask, a maximum, a change of sign or shape) is not moved.

It takes an exact difference for a rounded one, and sees no rounding of Python's own numbers, nor of arrays that a side
makes anew (`np.asarray` drops the noise): `verify.own.directed` sees those.
"""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def named(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Operations of NumPy whose results need no rounding.
EXACT = named(
    """negative positive absolute fabs sign maximum minimum fmax fmin floor ceil rint trunc copysign conjugate heaviside
    ldexp frexp modf fmod remainder floor_divide spacing nextafter clip"""
)
SUMS = named("add subtract")
LOGARITHMS = named("logaddexp logaddexp2")
BILINEAR = named("dot inner outer vdot einsum tensordot kron convolve correlate trace matmul vecdot matvec vecmat")
# Functions that move entries, compare them or count them.
STRUCTURAL = named(
    """where concatenate stack vstack hstack dstack column_stack row_stack block split array_split hsplit vsplit dsplit
    unstack reshape ravel transpose matrix_transpose permute_dims swapaxes moveaxis rollaxis expand_dims squeeze
    broadcast_to broadcast_arrays atleast_1d atleast_2d atleast_3d diag diagonal diagflat tril triu flip fliplr flipud
    rot90 roll repeat tile resize sort sort_complex argsort lexsort partition argpartition argmax argmin max min amax
    amin nanmax nanmin nanargmax nanargmin nonzero flatnonzero argwhere take take_along_axis put put_along_axis choose
    select piecewise compress extract delete insert append unique copy full_like zeros_like ones_like empty_like real
    imag real_if_close shape size ndim isclose allclose array_equal array_equiv searchsorted digitize count_nonzero pad
    meshgrid ix_ round around fix nan_to_num copyto place putmask fill_diagonal clip any all array_repr array_str
    array2string result_type can_cast may_share_memory shares_memory iscomplexobj isrealobj matrix_rank"""
)
# Modules whose functions round relative to the largest entry of a matrix, but for those that go entry by entry.
NORMWISE = ("linalg", "fft")
ENTRYWISE = named(
    "norm vector_norm cross outer matmul vecdot tensordot trace diagonal matrix_transpose multi_dot matrix_power"
)


@dataclass(eq=False)
class Noise:
    """Where and how far numbers are moved, and what was seen on the way.

    `level` is the relative move of a result, `inputs` that of an input; `shift` moves an input additively, by a part of
    the larger of its size and one, so that zeros and ties are left. Operations outside of `window` stay as they are,
    and `only` names the one input that is shifted. Equal arrays move alike. With a `direction` nothing is moved, and
    all results are rounded that way. `largest` is the largest input, and `overflow` says of a noise that is asked to
    `watch` whether finite numbers gave one beyond float64.
    """

    seed: int
    level: float = 0.0
    inputs: float = 0.0
    shift: float = 0.0
    window: tuple[float, float] = (0, math.inf)
    only: tuple[int, int] | None = None
    direction: int = 0
    watch: bool = False
    operations: list[Operation] | None = None
    count: int = 0
    asked: dict[tuple[int, int], float] = field(default_factory=dict)
    narrow: bool = False
    overflow: bool = False
    largest: float = 0.0
    generators: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng([self.seed, 1])

    def moved_input(self, double: np.ndarray) -> np.ndarray:
        """An input of the instance, moved; a function of its numbers."""
        content = zlib.crc32(double.tobytes())
        self.largest = max(self.largest, top([double]))
        if self.only is None:
            self.asked.update(((content, place), float(value)) for place, value in enumerate(double.ravel()[:64]))
        direction = away_from_zero(np.random.default_rng([self.seed, content]), double.shape)
        step = self.inputs * np.abs(double) + self.shift * np.maximum(np.abs(double), 1.0)
        if self.only is not None:
            here = np.arange(double.size).reshape(double.shape) == (self.only[1] if self.only[0] == content else -1)
            step = np.where(here, step, 0.0)
        return double + direction * np.where(np.isfinite(step), step, 0.0)

    def active(self, name: str, top: Callable[[], float]) -> bool:
        """Count an operation; whether it is moved."""
        number, self.count = self.count, self.count + 1
        if self.operations is not None:
            self.operations.append(Operation(name, top(), line_of_user()))
        return self.level > 0 and self.window[0] <= number < self.window[1]

    def see(self, result: np.ndarray) -> None:
        """Note floats below float64, but for whole numbers such as masks and constants, which are exact in any."""
        if not self.narrow and result.dtype.char in "efF":
            self.narrow = not np.array_equal(result, np.rint(result), equal_nan=True)

    def overflowed(self, *_: Any) -> None:
        """What NumPy calls where a result is beyond float64."""
        self.overflow = True

    def move(self, result: np.ndarray, magnitude: np.ndarray) -> None:
        """Move a result in place by the level times a magnitude."""
        with np.errstate(all="ignore"):
            drawn = away_from_zero(self.random, result.shape)
            if result.dtype.kind == "c":
                drawn = drawn + 1j * away_from_zero(self.random, result.shape)
            step = self.level * drawn * magnitude
            result += np.where(np.isfinite(step), step, 0.0).astype(result.dtype)

    def move_torch(self, result: Tensor, magnitude: Tensor) -> None:
        """The same of a tensor."""
        result.add_(self._drawn(result) * (self.level * magnitude).nan_to_num(0.0, 0.0, 0.0))

    def near(self, value: Tensor, normwise: bool) -> Tensor:
        """A tensor whose entries are moved, relative to themselves or to the largest of their matrix."""
        magnitude = value.detach().abs()
        if normwise and value.dim() >= 2:
            magnitude = magnitude.amax((-2, -1), keepdim=True)
        return value + self._drawn(value) * (self.level * magnitude).nan_to_num(0.0, 0.0, 0.0)

    def _drawn(self, like: Tensor) -> Tensor:
        import torch

        device = str(like.device)
        if device not in self.generators:
            self.generators[device] = torch.Generator(like.device).manual_seed(self.seed)
        parts = (2, *like.shape) if like.is_complex() else like.shape
        drawn = torch.rand(parts, generator=self.generators[device], device=like.device, dtype=torch.float64)
        drawn = drawn.mul_(2).sub_(1)
        drawn = (drawn + drawn.sign()).mul_(0.5)
        return (torch.complex(*drawn) if like.is_complex() else drawn).to(like.dtype)


@dataclass(frozen=True)
class Operation:
    """An operation on the way: its name, the largest number that it saw, and the user's line."""

    name: str
    top: float
    line: int | None

    def __str__(self) -> str:
        line = "" if self.line is None else f"line {self.line}: "
        return f"{line}{self.name} of numbers up to {self.top:.3g}"


def away_from_zero(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of either sign between a half and one."""
    drawn = random.uniform(-1, 1, shape)
    return 0.5 * (drawn + np.sign(drawn))


def line_of_user() -> int | None:
    """The line of the innermost frame that is neither ours nor a library's."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith("<") and "site-packages" not in name and "/verify/own/" not in name.replace("\\", "/"):
            return frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None


def terms(count: int) -> float:
    """How much more a sum of so many terms rounds than one operation: errors add up like a random walk."""
    return math.sqrt(max(1.0, count / 8))


def top(values: Sequence[Any]) -> float:
    """The largest finite absolute value of some arrays."""
    tops = [0.0]
    for value in values:
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size:
            size = np.abs(value[np.isfinite(value)]) if value.dtype.kind == "f" else np.abs(value)
            tops.append(float(np.max(size, initial=0)))
    return max(tops)


# NumPy.


class Noisy(np.ndarray):
    """A NumPy array whose results are moved, and are such arrays again."""

    noise: Noise | None

    def __array_finalize__(self, made_from: Any) -> None:
        self.noise = getattr(made_from, "noise", None)

    def __getitem__(self, key: Any) -> Any:
        """Index, keeping a single entry noisy too."""
        return wrapped(super().__getitem__(key), self.noise)

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute on plain arrays and move the result."""
        return moved_ufunc(self.noise, ufunc, method, inputs, options)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """As for plain arrays; what does not come down to operations of single entries is moved."""
        implemented = super().__array_function__
        return moved_function(self.noise, func, lambda: implemented(func, types, args, kwargs), args, kwargs)

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """Convert, noting floats below float64."""
        result = super().astype(dtype, *args, **kwargs)
        if self.noise is not None and result.dtype.kind in "fc":
            self.noise.see(plain(result))
        return result

    def dot(self, *args: Any, **kwargs: Any) -> Any:
        """As the function: the method does not ask for overrides."""
        return np.dot(self, *args, **kwargs)

    def trace(self, *args: Any, **kwargs: Any) -> Any:
        """As the function."""
        return np.trace(self, *args, **kwargs)


class NoisyScalar:
    """A number whose results are moved; like NumPy's numbers it is a float, has a hash, and never changes."""

    noise: Noise | None = None


# NumPy looks for the type of a number in its first base.
class NoisyFloat(np.float64, NoisyScalar):  # type: ignore[misc]
    """A noisy number of float64."""


class NoisyComplex(np.complex128, NoisyScalar):
    """A noisy complex number."""


def of_ufunc(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """`__array_ufunc__` of noisy numbers."""
    return moved_ufunc(self.noise, ufunc, method, inputs, options)


def of_function(self: Any, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """`__array_function__` of noisy numbers."""
    return moved_function(self.noise, func, lambda: func(*deep(args, plain), **deep(kwargs, plain)), args, kwargs)


def operator(ufunc: np.ufunc, swapped: bool = False) -> Callable[..., Any]:
    """An operator of noisy numbers."""

    def operate(self: Any, *others: Any) -> Any:
        if others and getattr(others[0], "__array_priority__", 0.0) > 0 and not isinstance(others[0], np.generic):
            return NotImplemented  # a tensor
        return ufunc(*others, self) if swapped else ufunc(self, *others)

    return operate


OPERATORS: dict[str, Any] = {"neg": np.negative, "pos": np.positive, "abs": np.absolute}
OPERATORS |= {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "pow": np.power}
HOOKS = {"__array_ufunc__": of_ufunc, "__array_function__": of_function}
OPERATORS |= {"floordiv": np.floor_divide, "mod": np.remainder}
for made in (NoisyFloat, NoisyComplex):
    for word, hook in HOOKS.items():
        setattr(made, word, hook)
    for word, computed in OPERATORS.items():
        setattr(made, f"__{word}__", operator(computed))
        if computed.nin == 2:
            setattr(made, f"__r{word}__", operator(computed, swapped=True))


def moved_ufunc(own: Noise | None, ufunc: np.ufunc, method: str, inputs: Any, options: dict[str, Any]) -> Any:
    """A ufunc of plain arrays, its result moved."""
    noise = noise_of((*inputs, *options.get("out", ()))) or own
    if "out" in options:
        options["out"] = tuple(plain(item) for item in options["out"])
    if "where" in options:
        options["where"] = plain(options["where"])
    argument = [plain(item) for item in inputs]
    name = ufunc.__name__
    moves = noise is not None and name not in EXACT and noise.active(name, lambda: top(argument))
    magnitude = magnitude_of(ufunc, method, argument, options) if moves else None
    result = getattr(ufunc, method)(*argument, **options)
    if moves and noise is not None:
        if method == "at":
            moved_result(noise, argument[0], None)
        elif isinstance(result, tuple):
            result = tuple(moved_result(noise, item, None) for item in result)
        else:
            result = moved_result(noise, result, magnitude)
    return wrapped(result, noise)


def moved_result(noise: Noise, item: Any, magnitude: np.ndarray | None) -> Any:
    """A result moved by a magnitude, or by its own size where that does not fit: an array in place, a number anew."""
    if not isinstance(item, np.ndarray | np.floating | np.complexfloating) or item.dtype.kind not in "fc":
        return item
    changed = np.asarray(item)
    fitting = magnitude is not None and magnitude.shape == changed.shape
    noise.move(changed, magnitude if fitting else np.abs(changed))  # type: ignore[arg-type]
    return item if isinstance(item, np.ndarray) else changed[()]


def moved_function(own: Noise | None, func: Any, implemented: Callable[[], Any], args: Any, kwargs: Any) -> Any:
    """A function of NumPy, as it is implemented, or moved here if that does not come down to noisy operations."""
    noise = noise_of(args) or noise_of(kwargs.values()) or own
    module = getattr(func, "__module__", "") or ""
    normwise = any(part in module for part in NORMWISE) and func.__name__ not in ENTRYWISE
    if noise is None or func.__name__ in STRUCTURAL:
        return wrapped(implemented(), noise)
    if not normwise and func.__name__ not in BILINEAR:
        before = noise.count
        with suppress(TypeError):  # of NumPy's own code, that expects plain arrays: percentile
            result = implemented()
            if noise.count > before:  # it came down to operations of noisy arrays
                return wrapped(result, noise)
    args, kwargs = deep(args, plain), deep(kwargs, plain)
    given = [item for item in flat((*args, *kwargs.values())) if isinstance(item, np.ndarray)]
    if not noise.active(func.__name__, lambda: top(given)):
        return wrapped(func(*args, **kwargs), noise)
    magnitude = None
    if func.__name__ in BILINEAR and not normwise:
        magnitude = func(*deep(args, sizes), **kwargs)
    else:
        args, kwargs = (deep(item, lambda value: moved_near(noise, value, normwise)) for item in (args, kwargs))
    result = func(*args, **kwargs)
    if magnitude is not None and "out" not in kwargs:
        count = max((item.shape[-1] for item in given if item.ndim), default=1)
        changed = np.array(result)
        if changed.dtype.kind in "fc":
            noise.move(changed, terms(count) * np.asarray(magnitude))
            result = changed[()]
    return wrapped(result, noise)


def magnitude_of(ufunc: np.ufunc, method: str, argument: list[Any], options: dict[str, Any]) -> np.ndarray | None:
    """What the rounding of a ufunc is relative to, where that is not its result; before anything is overwritten."""
    name = ufunc.__name__
    options = {key: value for key, value in options.items() if key != "out"}
    with np.errstate(all="ignore"):
        if name in BILINEAR:
            size = [np.abs(item) for item in argument]
            return terms(np.shape(argument[0])[-1]) * np.asarray(ufunc(*size))
        if name in LOGARITHMS and method != "at":  # of the largest term, whatever the others are
            return 1 + np.abs(np.asarray(getattr(np.maximum, method)(*argument, **options)))
        if name not in SUMS or method == "at":
            return None
        if method in ("reduce", "accumulate", "reduceat"):
            size = np.abs(argument[0])
            if isinstance(options.get("initial"), int | float):
                options["initial"] = abs(options["initial"])
            result = np.asarray(getattr(np.add, method)(size, *argument[1:], **options))
            return terms(size.size / max(1, result.size)) * result
        return np.asarray(getattr(np.add, method)(*(np.abs(item) for item in argument), **options))


def moved_near(noise: Noise, item: Any, normwise: bool) -> Any:
    """An array moved relative to its entries, or to the largest of each matrix; anything else as it is."""
    if not isinstance(item, np.ndarray) or item.dtype.kind not in "fc":
        return item
    size = np.abs(item)
    if normwise:
        axes = tuple(range(max(0, item.ndim - 2), item.ndim))
        size = np.broadcast_to(size.max(axis=axes, keepdims=True, initial=0.0), item.shape)
    changed = item.copy()
    noise.move(changed, size)
    return changed


def sizes(item: Any) -> Any:
    """The absolute values of an array; anything else as it is."""
    return np.abs(item) if isinstance(item, np.ndarray) else item


def deep(value: Any, change: Callable[[Any], Any]) -> Any:
    """Arguments with every array in them changed."""
    if isinstance(value, dict):
        return {key: deep(item, change) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(deep(item, change) for item in value)
    return change(value)


def flat(value: Any) -> Iterator[Any]:
    """Every item of nested arguments."""
    if type(value) in (tuple, list):
        for item in value:
            yield from flat(item)
    else:
        yield value


def noisy(array: np.ndarray, noise: Noise) -> Noisy:
    result = np.asarray(array).view(Noisy)
    result.noise = noise
    return result


def plain(value: Any) -> Any:
    """A noisy array or number as a plain one; anything else as it is."""
    if isinstance(value, Noisy):
        return value.view(np.ndarray)
    if isinstance(value, NoisyScalar):
        return np.float64(value) if isinstance(value, np.float64) else np.complex128(value)  # type: ignore[call-overload]
    return value


def noise_of(values: Any) -> Noise | None:
    """The noise of the first noisy array among some arguments."""
    found = (v.noise for v in flat(tuple(values)) if isinstance(v, Noisy | NoisyScalar))
    return next((noise for noise in found if noise is not None), None)


def wrapped(result: Any, noise: Noise | None) -> Any:
    """A result as a noisy array where it is one of floats."""
    if noise is None:
        return result
    if type(result) in (tuple, list):
        return type(result)(wrapped(item, noise) for item in result)
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*(wrapped(item, noise) for item in result))
    if isinstance(result, NoisyScalar):
        return result
    if isinstance(result, np.float64 | np.complex128):
        number = (NoisyFloat if isinstance(result, np.float64) else NoisyComplex)(result)
        number.noise = noise
        return number
    if isinstance(result, np.ndarray | np.floating | np.complexfloating) and result.dtype.kind in "fc":
        noise.see(np.asarray(result))
        return noisy(plain(np.asarray(result)), noise)
    return result
