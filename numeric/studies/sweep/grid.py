"""The TOML file of a sweep, its tables and their validation.

A parameter is a value, a list of values, or ``{ range = { start, stop, num } }``; lists and ranges span the grid. A
table that stands several times (``[[train]]``) is a union of grids. Errors are one line: place, value, rule. Nothing
here loads torch.
"""

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from hltm.base.checks import show, suggestion
from hltm.base.errors import InputError

POINTS = 10**6  # of one range
SEEDS = 10**7
T = TypeVar("T")


class Table(BaseModel):
    """A table of the file: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Range(Table):
    """Evenly spaced values, both ends included."""

    start: float
    stop: float
    num: int = Field(ge=1, le=POINTS)
    scale: Literal["linear", "log"] = "linear"

    def values(self) -> list[float]:
        """The values, in order; the ends are exact."""
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


def axis_values(value: Any) -> Any:
    """A value, a list or a range as a tuple of values; whole numbers of a range are integers."""
    if isinstance(value, Mapping) and set(value) == {"range"}:
        values = Range.model_validate(value["range"]).values()
        return tuple(int(one) if one.is_integer() else one for one in values)
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def distinct(values: Any) -> Any:
    """Refuse an axis without values, or with the same value twice."""
    if not values:
        raise ValueError("must hold at least one value")
    if not isinstance(values, range) and len(set(values)) < len(values):
        raise ValueError("must hold each value once")
    return values


Axis = Annotated[tuple[T, ...], BeforeValidator(axis_values), AfterValidator(distinct)]


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
    """``seeds = { from = 0, to = 9 }``, both ends included."""

    first: int = Field(alias="from", ge=0)
    last: int = Field(alias="to", lt=2**62)

    @model_validator(mode="after")
    def _ordered(self) -> "Seeds":
        if self.last < self.first:
            raise ValueError("to must not be below from")
        return self


def seeds_of(value: Any) -> Any:
    """A number of seeds, a list or two ends as a sequence of integers."""
    if isinstance(value, Mapping):
        ends = Seeds.model_validate(value)
        return _seed_range(ends.first, ends.last + 1)
    if type(value) is int:
        return _seed_range(0, value)
    if isinstance(value, range) and value.step == 1 and value.start >= 0:
        return _seed_range(value.start, value.stop)
    if not isinstance(value, list | tuple) or not all(type(one) is int and 0 <= one < 2**62 for one in value):
        raise ValueError("must be a number of seeds, a list of integers that are not negative, or { from, to }")
    return tuple(value)


def _seed_range(first: int, stop: int) -> range:
    # Checked before anything of that length is made.
    if not 1 <= stop - first <= SEEDS:
        raise ValueError(f"must be at least one seed, and must be at most {SEEDS:,}")
    return range(first, stop)


GRID_BYTES = 2**20
# What an optimiser of torch takes beside its learning rate, which is an axis of its own.
_ADAM = ("betas", "eps", "weight_decay", "amsgrad")
OPTIONS: dict[str, tuple[str, ...]] = {
    "sgd": ("momentum", "dampening", "weight_decay", "nesterov"),
    "adam": _ADAM,
    "adamax": _ADAM[:3],
    "adamw": _ADAM,
    "nadam": (*_ADAM[:3], "momentum_decay", "decoupled_weight_decay"),
    "radam": (*_ADAM[:3], "decoupled_weight_decay"),
    "rmsprop": ("alpha", "eps", "weight_decay", "momentum", "centered"),
}


class TreeTable(Table):
    """``[tree]``: a complete, star or caterpillar tree, or one from a file."""

    kind: Literal["complete", "star", "caterpillar", "file"] = "complete"
    depth: Axis[Whole] | None = None
    branching: Axis[Whole] | None = None
    leaves: Axis[Whole] | None = None
    polarity: Axis[Polarity] | None = None
    root_polarity: Axis[Annotated[float, Field(ge=-1, le=1)]] | None = None
    file: Axis[str] | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> "TreeTable":
        needed = {"complete": {"depth", "polarity"}, "file": {"file"}}.get(self.kind, {"leaves", "polarity"})
        allowed = needed | {"complete": {"branching", "root_polarity"}, "file": set()}.get(self.kind, {"root_polarity"})
        fields = self.model_fields_set - {"kind"}
        for name in sorted(needed - fields):
            raise ValueError(f"a tree of kind {self.kind!r} needs {name}")
        for name in sorted(fields - allowed):
            raise ValueError(f"a tree of kind {self.kind!r} takes no {name}")
        return self


class NetworkTable(Table):
    """``[network]``: arguments of :class:`numeric.TreeNetwork`."""

    width: Axis[Whole] = (10,)
    slope: Axis[Annotated[float, Field(ge=0, le=1)]] = (0.0,)
    output: Axis[Literal["linear", "normalized"]] = ("normalized",)
    sigma_w: Axis[Positive] = (1.0,)
    dtype: Axis[Literal["float32", "float64"]] = ("float64",)
    leaves: Axis[Literal["state", "one-hot"]] = ("state",)


class TrainTable(Table):
    """``[train]``: arguments of :func:`numeric.train`, and how much is measured."""

    loss: Axis[Literal["simple", "triplet", "infonce", "ntxent"]] = ("infonce",)
    tau: Axis[Positive] = (0.1,)
    margin: Axis[Annotated[float, Field(ge=0)]] = (0.0,)
    negatives: Axis[Whole] = (1,)
    lr: Axis[Annotated[float, Field(ge=0)]] = (0.1,)
    batch: Axis[Whole] = (128,)
    steps: Axis[Whole] = (1000,)
    mode: Axis[Literal["sampled", "exact"]] = ("sampled",)
    optimizer: Axis[Literal["sgd", "adam", "adamax", "adamw", "nadam", "radam", "rmsprop"]] = ("sgd",)
    optimizer_options: dict[str, float | bool | list[float]] = Field(default_factory=dict)
    records: int = Field(default=10, ge=1, le=10_000)
    samples: int = Field(default=2000, ge=0, le=10**7)

    @model_validator(mode="after")
    def _goes_together(self) -> "TrainTable":
        for name in self.optimizer:
            for option in self.optimizer_options:
                if option not in OPTIONS[name]:
                    rule = f"must be one of {', '.join(OPTIONS[name])}{suggestion(option, OPTIONS[name])}"
                    raise ValueError(f"optimizer_options.{option} of {name!r}: {rule}")
        return self


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


class Grid(Table):
    """A whole file."""

    seeds: Annotated[Any, BeforeValidator(seeds_of), AfterValidator(distinct)] = range(1)
    tree: Annotated[tuple[TreeTable, ...], BeforeValidator(_listed), Field(min_length=1)]
    network: Annotated[tuple[NetworkTable, ...], BeforeValidator(_listed), Field(min_length=1)] = (NetworkTable(),)
    train: Annotated[tuple[TrainTable, ...], BeforeValidator(_listed), Field(min_length=1)] = (TrainTable(),)


def read_grid(path: str | Path) -> Grid:
    """Read the TOML file of a sweep."""
    place = Path(path)
    try:
        with place.open("rb") as file:
            data = file.read(GRID_BYTES + 1)
        if len(data) > GRID_BYTES:
            raise InputError(f"{place}: must have at most 1 MiB")
    except OSError as error:
        raise InputError(f"{place}: cannot be read: {error.strerror or error}") from None
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or an integer that Python does not read
        raise InputError(f"{place}: {error}: must be TOML") from None
    try:
        return make_grid(tables)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def make_grid(tables: Mapping[str, Any]) -> Grid:
    """Check the tables of a sweep."""
    try:
        return Grid.model_validate(dict(tables))
    except ValidationError as error:
        raise InputError(_line(error)) from None


def _line(error: ValidationError) -> str:
    """The first error of pydantic on one line: place, value, rule."""
    # An unknown key explains the others best: what is missing may be what was misspelt.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    where, place = first["loc"], ""
    for part in where:
        if part not in ("number", "random"):
            place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    for name in _TABLES:
        place = place.replace(f"{name}[0]", name, 1)
    shown = "" if isinstance(first["input"], Mapping | Table) else f"={show(first['input'])}"
    if first["type"] == "extra_forbidden":
        names = _keys_at(where)
        return f"{place}{shown}: no such key; the keys are {', '.join(names)}{suggestion(where[-1], names)}"
    rule = str(first["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{place or 'grid'}{shown}: {'is missing' if first['type'] == 'missing' else rule}"


def _keys_at(where: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed where an unknown one stands."""
    if len(where) == 1:
        return list(Grid.model_fields)
    if where[0] == "seeds":
        return ["from", "to"]
    inner = RandomPolarity if "random" in where else Range
    return list((_TABLES[str(where[0])] if len(where) == 3 else inner).model_fields)


_TABLES: dict[str, type[Table]] = {"tree": TreeTable, "network": NetworkTable, "train": TrainTable}
