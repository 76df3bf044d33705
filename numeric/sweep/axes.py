"""Axes of a grid: a value, a list, a range, polarities that are drawn, and seeds. Nothing here loads torch."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

POINTS = 10**6  # of one range
SEEDS = 10**7
T = TypeVar("T")


class Table(BaseModel):
    """A table of the file: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Range(Table):
    """Evenly spaced values, both ends among them."""

    start: float
    stop: float
    num: int = Field(ge=1, le=POINTS)
    scale: Literal["linear", "log"] = "linear"

    def values(self) -> list[float]:
        """The values.

        Examples
        --------
        >>> Range(start=1, stop=100, num=3, scale="log").values()
        [1.0, 10.0, 100.0]
        """
        if self.num == 1:
            return [self.start]
        if self.scale == "log":
            low, high = math.log10(self.start), math.log10(self.stop)
            inner = [10 ** (low + k * (high - low) / (self.num - 1)) for k in range(1, self.num - 1)]
        else:
            inner = [self.start + k * (self.stop - self.start) / (self.num - 1) for k in range(1, self.num - 1)]
        return [self.start, *inner, self.stop]

    @model_validator(mode="after")
    def _positive(self) -> "Range":
        if self.scale == "log" and min(self.start, self.stop) <= 0:
            raise ValueError("start and stop of a range of scale 'log' must be positive")
        if self.num == 1 and self.start != self.stop:
            raise ValueError("a range with num = 1 must have start = stop")
        return self


def spread(value: Any) -> Any:
    """A value, a list or a range as a tuple of values; whole numbers of a range are integers."""
    if isinstance(value, Mapping) and set(value) == {"range"}:
        values = Range.model_validate(value["range"]).values()
        return tuple(int(one) if one.is_integer() else one for one in values)
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def once(values: Sequence[Any]) -> None:
    """Refuse no values, and values that stand twice.

    Raises
    ------
    ValueError
    """
    if not values:
        raise ValueError("must hold at least one value")
    if not isinstance(values, range) and len(set(values)) < len(values):
        raise ValueError("must hold each value once")


Axis = Annotated[tuple[T, ...], Field(min_length=1), BeforeValidator(spread)]


class RandomPolarity(Table):
    """Polarities drawn for each seed: absolute values uniform on ``[low, high]``, with random signs if asked for."""

    low: float = Field(ge=0, le=1)
    high: float = Field(default=1.0, ge=0, le=1)
    signs: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "RandomPolarity":
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


def _kind_of_polarity(value: Any) -> str:
    return "random" if isinstance(value, Mapping | RandomPolarity) else "number"


Polarity = Annotated[
    Annotated[Annotated[float, Field(ge=-1, le=1)], Tag("number")] | Annotated[RandomPolarity, Tag("random")],
    Discriminator(_kind_of_polarity),
]
Whole = Annotated[int, Field(ge=1, lt=2**31)]
Positive = Annotated[float, Field(gt=0)]


class Seeds(Table):
    """``seeds = { from = 0, to = 9 }``, both among them."""

    first: int = Field(alias="from", ge=0)
    last: int = Field(alias="to", lt=2**62)

    @model_validator(mode="after")
    def _ordered(self) -> "Seeds":
        if self.last < self.first:
            raise ValueError("to must not be below from")
        return self


def seeds_of(value: Any) -> Any:
    """Seeds as they may be given, as a sequence of integers.

    Examples
    --------
    >>> seeds_of(3), seeds_of({"from": 5, "to": 6}), seeds_of([7, 9])
    (range(0, 3), range(5, 7), (7, 9))

    Raises
    ------
    ValueError
    """
    if isinstance(value, Mapping):
        held = Seeds.model_validate(value)
        return _counted(held.first, held.last + 1)
    if type(value) is int:
        return _counted(0, value)
    if isinstance(value, range) and value.step == 1 and value.start >= 0:
        return _counted(value.start, value.stop)
    good = isinstance(value, list | tuple) and all(type(one) is int and 0 <= one < 2**62 for one in value)
    if not good:
        raise ValueError("must be a number of seeds, a list of integers that are not negative, or { from, to }")
    return tuple(value)


def _counted(first: int, stop: int) -> range:
    """A range of seeds; its length is looked at before anything is made of it."""
    if not 1 <= stop - first <= SEEDS:
        raise ValueError(f"must be at least one seed, and must be at most {SEEDS:,}")
    return range(first, stop)
