"""The TOML of a sweep: what it may hold, and its one-line complaints.

A parameter is a value, a list of values, or ``{ range = { start, stop, num } }``; lists and ranges span the grid. A
table that stands several times (``[[train]]``) is a union of grids. Nothing here loads torch.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from hltm.base.checks import show, suggestion
from hltm.base.errors import InputError
from numeric.sweep.axes import Axis, Polarity, Positive, RandomPolarity, Range, Table, Whole, once, seeds_of

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
        given = self.model_fields_set - {"kind"}
        for name in sorted(needed - given):
            raise ValueError(f"a tree of kind {self.kind!r} needs {name}")
        for name in sorted(given - allowed):
            raise ValueError(f"a tree of kind {self.kind!r} takes no {name}")
        return self


class NetworkTable(Table):
    """``[network]``: arguments of :class:`numeric.TreeNetwork`."""

    width: Axis[Whole] = (10,)
    slope: Axis[Annotated[float, Field(ge=0, le=1)]] = (0.0,)
    output: Axis[Literal["linear", "normalized"]] = ("normalized",)
    sigma_w: Axis[Positive] = (1.0,)
    dtype: Axis[Literal["float32", "float64"]] = ("float64",)


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
                    known = f"must be one of {', '.join(OPTIONS[name])}"
                    found = f"optimizer_options.{option} of {name!r}"
                    raise ValueError(f"{found}: {known}{suggestion(option, OPTIONS[name])}")
        return self


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


class Grid(Table):
    """A whole file.

    Attributes
    ----------
    seeds : sequence of int
        Every configuration is run with each.
    tree, network, train
        Tables, each a grid of its own; the sweep is the product of the three unions with the seeds.
    """

    seeds: Annotated[Any, BeforeValidator(seeds_of)] = range(1)
    tree: Annotated[tuple[TreeTable, ...], BeforeValidator(_listed), Field(min_length=1)]
    network: Annotated[tuple[NetworkTable, ...], BeforeValidator(_listed), Field(min_length=1)] = (NetworkTable(),)
    train: Annotated[tuple[TrainTable, ...], BeforeValidator(_listed), Field(min_length=1)] = (TrainTable(),)

    @model_validator(mode="after")
    def _each_once(self) -> "Grid":
        try:
            once(self.seeds)
        except ValueError as error:
            raise ValueError(f"seeds: {error}") from None
        for table in (*self.tree, *self.network, *self.train):
            for name in type(table).model_fields:
                values = getattr(table, name)
                if isinstance(values, tuple):
                    try:
                        once(values)
                    except ValueError as error:
                        raise ValueError(f"{name}: {error}") from None
        return self


def read_grid(path: str | Path) -> Grid:
    """Read the TOML file of a sweep.

    Parameters
    ----------
    path : path
        At most 1 MiB, UTF-8.

    Returns
    -------
    Grid

    Raises
    ------
    InputError
        A file that cannot be read, is no TOML, or holds a key or a value that is not allowed: its place is named.
    """
    place = Path(path)
    try:
        with place.open("rb") as held:
            data = held.read(GRID_BYTES + 1)
        if len(data) > GRID_BYTES:
            raise InputError(f"{place}: must have at most 1 MiB")
    except OSError as error:
        raise InputError(f"{place}: cannot be read: {error.strerror or error}") from None
    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or an integer that Python does not read
        raise InputError(f"{place}: {error}: must be TOML") from None
    try:
        return make_grid(found)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def make_grid(tables: Mapping[str, Any]) -> Grid:
    """Check the tables of a sweep.

    Raises
    ------
    InputError
        The first key or value that is not allowed, with its place.

    Examples
    --------
    >>> grid = make_grid({"tree": {"depth": 2, "polarity": [0.8, 0.9]}, "train": {"lr": 0.1}, "seeds": 3})
    >>> grid.tree[0].polarity, list(grid.seeds)
    ((0.8, 0.9), [0, 1, 2])
    >>> make_grid({"tree": {"depth": 2, "polarity": 0.8}, "train": {"lerning_rate": 0.1}})
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: train.lerning_rate=0.1: no such key; the keys are loss, tau, margin, negatives, lr, batch, \
steps, mode, optimizer, optimizer_options, records, samples
    """
    try:
        return Grid.model_validate(dict(tables))
    except ValidationError as error:
        raise InputError(_line(error)) from None


def _line(error: ValidationError) -> str:
    """The first complaint of pydantic: place, value, rule."""
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
