"""Compare the two sides of a user's statement on one instance.

In float64 the tolerance is measured: how far probes with inputs moved by a rounding, and the largest number on the way,
can move a result. In rationals it is zero. An exception of a side becomes one line with statement, side and instance.
"""

from __future__ import annotations

import itertools
import json
import math
import numbers
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from flint import fmpq

from hltm.base.errors import InputError
from verify.engine.evidence import Measurement, joined
from verify.tolerance import rounding
from verify.towers.tower import array, largest, rational

if TYPE_CHECKING:
    from torch import Tensor

    from numeric import FinitePopulation
    from verify.instances.instance import PopulationInstance

# Watched arrays: a sum of large numbers loses more than the size of its result shows.

PRODUCTS = ("matmul", "einsum", "dot", "vdot", "inner", "tensordot", "outer", "kron")
TORCH_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "mv", "dot", "vdot")


class Largest:
    """The largest finite absolute value of a computation, and whether it went below float64."""

    def __init__(self) -> None:
        self.value = 0.0
        self.asked = False
        self.narrow = False

    def see(self, *values: Any) -> None:
        """Record arrays of floats; ignore everything else."""
        for value in values:
            if isinstance(value, np.ndarray | np.floating) and np.asarray(value).dtype.kind == "f":
                plain = np.abs(np.asarray(value))
                # Whole numbers, such as masks and constants, are exact in any precision.
                self.narrow |= plain.dtype.itemsize < 8 and not np.array_equal(plain, np.rint(plain), equal_nan=True)
                self.value = max(self.value, float(np.max(plain[np.isfinite(plain)], initial=0.0)))

    def see_product(self, *factors: Any) -> None:
        """Record the terms of a sum of products, which no array holds."""
        tops = [float(np.max(np.abs(np.asarray(f)), initial=0.0)) for f in factors if isinstance(f, np.ndarray)]
        self.see(np.float64(np.prod(tops)) if tops else np.float64(0.0))


class Watched(np.ndarray):
    """A NumPy array that reports every result computed from it."""

    largest: Largest | None

    def __array_finalize__(self, made_from: Any) -> None:
        self.largest = getattr(made_from, "largest", None)

    def __getitem__(self, key: Any) -> Any:
        """Index, keeping a single entry watched too."""
        return _seen(super().__getitem__(key), self.largest or Largest())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute on plain arrays; record the result and watch it in turn."""
        largest = _of(inputs, self)
        if "out" in options:
            options["out"] = tuple(plain(item) for item in options["out"])
        argument = [plain(item) for item in inputs]
        result = getattr(ufunc, method)(*argument, **options)
        if ufunc.__name__ in PRODUCTS:
            largest.see_product(*argument)
        return _seen(result, largest)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """As for plain arrays; record the factors of sums of products."""
        largest = _of(args, self)
        if func.__name__ in PRODUCTS:
            largest.see_product(*(item for item in args if isinstance(item, np.ndarray)))
        return _seen(super().__array_function__(func, types, args, kwargs), largest)


def watched(array: np.ndarray, largest: Largest) -> Watched:
    result = np.asarray(array).view(Watched)
    result.largest = largest
    largest.asked = True
    largest.see(array)
    return result


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
    """Record every torch result inside the block; do nothing where torch is not loaded."""
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


# Arithmetics: the largest relative change of an input by a probe.
ROUNDOFF = MappingProxyType({"single": 2.0**-24, "moved": 2.0**-52})


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
        Records the largest number of the computation.

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
        result = double if self.kind == "double" else self._moved(double)
        return result if self.largest is None else watched(result, self.largest)

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

    def _moved(self, plain: np.ndarray) -> np.ndarray:
        # Equal arrays are moved alike, and stay equal.
        rng = np.random.default_rng([self.probe, zlib.crc32(plain.tobytes())])
        with np.errstate(over="ignore"):
            moved = plain * (1 + ROUNDOFF[self.kind] * rng.uniform(-1, 1, plain.shape))
            return moved.astype(np.float32 if self.kind == "single" else np.float64)


def _nested(value: np.ndarray) -> Any:
    return tuple(_nested(item) for item in value) if value.ndim else float(value)


Side = Callable[[Any, Arithmetic], Any]
Arrays = dict[str, np.ndarray]

PROBES = 4
LONGEST_TEXT = 300
NOT_APPLICABLE = Measurement(0.0, 0.0, False, "a side does not apply to this instance")


@dataclass(frozen=True)
class UserSides:
    """The slug and the sides of a user's statement, and its tolerance (None: it is measured)."""

    slug: str
    theory: Side
    numeric: Side
    exact: Side | None
    tolerance: float | Callable[[Any], float] | None

    @rounding.quiet
    def measure_float(self, instance: Any, claim: Side | None = None, device: str = "cpu") -> Measurement:
        """Both sides in float64; `claim` replaces the theory side."""
        at = Arithmetic(device=device)
        sides = [("theory", claim or self.theory), ("numeric", self.numeric)]
        result = [self.ask(name, side, instance, at) for name, side in sides]
        left, right = result
        if left is None or right is None:
            return NOT_APPLICABLE
        self.check_shapes(left, right, instance)
        apart = self.not_finite(left, right)
        if apart is not None:
            return apart
        bounds = self.own_tolerance(left, instance) if self.tolerance is not None else least(left, right)
        notes: list[str] = []
        if self.tolerance is None and beyond(left, right, bounds):
            for (name, side), double in zip(sides, (left, right), strict=True):
                notes += self.widen(bounds, name, side, double, instance, device)
            if beyond(left, right, bounds) and not beyond(
                left, right, self.shaken(bounds, sides, result, instance, device)
            ):
                return Measurement(math.nan, math.inf, False, "a rounding of the input moves a side as far")
        if not all(math.isfinite(bound) for bound in bounds.values()):
            return Measurement(math.nan, math.inf, False, "rounding cannot be bounded")
        worst = Measurement(0.0, max(bounds.values()))
        for key in left:
            if left[key].size:
                worst = rounding.worse(worst, np.abs(left[key] - right[key]), np.asarray(bounds[key]), key)
        return replace(worst, detail=joined(worst.detail, *notes)) if worst.status == "refuted" else worst

    @staticmethod
    def not_finite(left: Arrays, right: Arrays) -> Measurement | None:
        """The measurement where a side is not finite: refuted if the other one is, abstained if not; else None."""
        pairs = [(np.isfinite(left[key]), np.isfinite(right[key])) for key in left]
        if all(a.all() and b.all() for a, b in pairs):
            return None
        if any((a != b).any() for a, b in pairs):
            return Measurement(math.nan, 0.0, detail="one side is finite where the other is not")
        return Measurement(math.nan, 0.0, False, "neither side is finite")

    def widen(
        self, bounds: dict[str, float], name: str, side: Side, double: Arrays, instance: Any, device: str
    ) -> list[str]:
        """Add to every bound what rounding of one side explains: its reaction to probes, and its largest numbers.

        Return notes on the side for the reader of a refutation.
        """
        place = f"statement {self.slug!r}, {name} side at instance {as_text(instance)}"
        again = self.ask(name, side, instance, Arithmetic(device=device)) or {}
        if any(key not in again or again[key].shape != double[key].shape for key in double) or beyond(
            double, again, bounds
        ):
            raise InputError(f"{place}: gives another result when it is asked again, must be a function of its input")
        for probe in range(PROBES):
            single = self.ask(name, side, instance, Arithmetic("single", device, probe))
            for key in double:
                bounds[key] += reaction(double[key], (single or {}).get(key))
        largest = Largest()
        try:
            with watched_torch(largest):
                self.ask(name, side, instance, Arithmetic(device=device, largest=largest))
        except InputError:
            # A side that insists on plain arrays is judged by its probes alone.
            return []
        # What is rounded to float32 must not be taken for a refutation.
        if largest.narrow:
            raise InputError(
                f"{place}: computes in less than float64, must keep to the numbers of at.array or at.tensor"
            )
        for key in double:
            bounds[key] += rounding.SAFETY * rounding.UNIT_ROUNDOFF * largest.value
        whole = all(np.array_equal(array, np.rint(array)) for array in double.values())
        return (
            [] if largest.asked or whole else [f"the {name} side uses no at.array or at.tensor: rounding not measured"]
        )

    def shaken(
        self,
        bounds: Mapping[str, float],
        sides: list[tuple[str, Side]],
        outcomes: list[Arrays | None],
        instance: Any,
        device: str,
    ) -> dict[str, float]:
        """The bounds, widened by how far a rounding of the inputs moves float64, as at a kink.

        Differences between the two are undecided.
        """
        wide = dict(bounds)
        for ((name, side), double), probe in itertools.product(zip(sides, outcomes, strict=True), range(PROBES)):
            moved = self.ask(name, side, instance, Arithmetic("moved", device, probe)) or {}
            for key, values in (double or {}).items():
                same = key in moved and moved[key].shape == values.shape
                wide[key] += (
                    rounding.SAFETY * float(np.max(np.abs(values - moved[key]), initial=0.0)) if same else math.inf
                )
        return wide

    def measure_exact(self, instance: Any, claim: Side | None = None) -> Measurement:
        """Both sides in rationals: any difference refutes."""
        at = Arithmetic("exact")
        right = None if self.exact is None else self.ask("exact", self.exact, instance, at)
        left = None if right is None else self.ask("theory", claim or self.theory, instance, at)
        if left is None or right is None:
            return NOT_APPLICABLE
        self.check_shapes(left, right, instance)
        worst, place = 0.0, ""
        for key in left:
            gap = largest(np.atleast_1d(left[key] - right[key])) if left[key].size else 0.0
            if gap > worst:
                worst, place = gap, key
        return Measurement(worst, 0.0, detail=place)

    def ask(self, name: str, side: Side, instance: Any, at: Arithmetic) -> Arrays | None:
        """The arrays of a side; its output goes to stderr, its exceptions become InputError."""
        try:
            with redirect_stdout(sys.stderr):
                result = arrays(side(instance, at), at.exact, at.largest)
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            what = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            raise InputError(f"statement {self.slug!r}, {name} side at instance {as_text(instance)}: {what}") from error
        return result

    def check_shapes(self, left: Arrays, right: Arrays, instance: Any) -> None:
        """Refuse sides whose arrays differ in name or shape, or are empty."""
        place = f"statement {self.slug!r} at instance {as_text(instance)}"
        shapes = [{key: array.shape for key, array in side.items()} for side in (left, right)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{place}: the theory side gives {described(shapes[0])}, the other {described(shapes[1])}: "
                "must be the same arrays"
            )
        if not sum(array.size for array in left.values()):
            raise InputError(
                f"statement {self.slug!r} at instance {as_text(instance)}: the sides are empty, None says nothing"
            )

    def own_tolerance(self, left: Arrays, instance: Any) -> dict[str, float]:
        """The user's own tolerance for every array."""
        value = self.tolerance(instance) if callable(self.tolerance) else self.tolerance
        if not isinstance(value, int | float) or not value >= 0:
            raise InputError(f"statement {self.slug!r}: tolerance={value!r:.40}: must be a number that is not negative")
        return dict.fromkeys(left, float(value))


def least(left: Arrays, right: Arrays) -> dict[str, float]:
    """The tolerance that rounding of the results alone explains, as where float32 shows no error."""
    return {key: rounding.measured_tolerance([left[key], right[key]], [left[key], right[key]]) for key in left}


def beyond(left: Arrays, right: Arrays, bounds: Mapping[str, float]) -> bool:
    """Whether the sides differ by more than a bound somewhere."""
    return any((np.abs(left[key] - right[key]) > bounds[key]).any() for key in left)


def reaction(double: np.ndarray, single: np.ndarray | None) -> float:
    """Tolerance from the reaction of a result to a probe; infinite if the probe has another shape."""
    if single is None or single.shape != double.shape:
        return math.inf
    return rounding.measured_tolerance([double], [single])


def arrays(value: Any, exact: bool, largest: Largest | None = None) -> Arrays | None:
    """The result of a side as named arrays: None, one array, a list of arrays, or a mapping from names to arrays."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {str(key): one(item, exact, largest) for key, item in value.items()}
    if isinstance(value, list | tuple) and not all(isinstance(item, numbers.Number | fmpq) for item in value):
        return {f"array {index}": one(item, exact, largest) for index, item in enumerate(value, start=1)}
    return {"": one(value, exact, largest)}


def one(value: Any, exact: bool, largest: Largest | None = None) -> np.ndarray:
    """One array: a torch tensor, a NumPy array, nested lists or a number; float64, or rationals where `exact`."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    plain = np.asarray(value)
    if largest is not None:
        largest.see(plain)
    if exact:
        entries = np.empty(plain.shape, dtype=object)
        entries.ravel()[:] = [as_rational(entry) for entry in plain.ravel()]
        return entries
    if plain.dtype.kind not in "fiubO":
        raise InputError(f"an array of {plain.dtype}: must be of real numbers")
    return plain.astype(np.float64)


def as_rational(entry: Any) -> fmpq:
    """An int, Fraction, SymPy rational or fmpq as fmpq; a float is refused, since it may have been rounded."""
    if isinstance(entry, fmpq):
        return entry
    if isinstance(entry, numbers.Rational):
        return fmpq(int(entry.numerator), int(entry.denominator))
    raise InputError(f"entry {entry!r:.40} of type {type(entry).__name__}: must be rational where at.exact holds")


def as_text(instance: Any) -> str:
    """An instance in one line: its JSON, cut where it is long."""
    try:
        text = json.dumps(instance.as_json())
    except Exception:  # only for a message about another error
        text = repr(instance)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def described(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name or 'an array'} {shape}" for name, shape in shapes.items()) or "nothing"
