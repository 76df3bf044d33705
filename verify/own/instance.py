"""Instances of a user's own: a frozen dataclass of numbers, texts and nested tuples, with its form in JSON."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, fields
from typing import Any, Self

from hltm.base.errors import InputError
from verify.instances.instance import thaw


@dataclass(frozen=True)
class JsonInstance:
    """Base class of instances that are saved and replayed: fields are numbers, texts, booleans, None, nested tuples.

    A subclass is a frozen dataclass with annotated fields. Its `__post_init__` may refuse values with a ValueError.

    Errors
    ------
    InputError
        `from_json` of data with a missing or unknown key, a value of another type than its annotation, or values that
        `__post_init__` refuses.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Pair(JsonInstance):
    ...     x: tuple[float, ...]
    ...     scale: float = 1.0
    >>> Pair((1.0, 2.0)).as_json()
    {'x': [1.0, 2.0], 'scale': 1.0}
    >>> Pair.from_json({"x": [1.0, 2.0], "scale": 1.0}) == Pair((1.0, 2.0))
    True
    """

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        if not isinstance(data, dict):
            raise InputError(f"instance={data!r:.40}: must be an object")
        names = [f.name for f in fields(cls)]
        for key in data:
            if key not in names:
                raise InputError(f"key {key!r:.40} of instance: is unknown, known are {', '.join(names)}")
        for key in names:
            if key not in data:
                raise InputError(f"key {key!r} of instance: is missing")
        hints = typing.get_type_hints(cls)
        values = {key: _read(data[key], hints[key], key) for key in names}
        try:
            return cls(**values)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise InputError(f"instance of {cls.__name__}: {error}") from None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data that `from_json` reads back to an equal instance."""
        return {f.name: thaw(getattr(self, f.name)) for f in fields(self)}


def _read(value: Any, hint: Any, place: str) -> Any:
    """A JSON value as its annotation says; lists become tuples."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return _frozen(value)
    if origin in (types.UnionType, typing.Union):
        for option in arguments:
            try:
                return _read(value, option, place)
            except InputError:
                continue
        raise InputError(f"{place}={value!r:.40}: must be {hint}")
    if hint is tuple or origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{place}={value!r:.40}: must be a list")
        if not arguments or arguments[-1] is Ellipsis:
            inner = [arguments[0] if arguments else Any] * len(value)
        else:
            inner = list(arguments)
        if len(inner) != len(value):
            raise InputError(f"{place} has {len(value)} entries: must have {len(inner)}")
        return tuple(_read(v, h, f"{place}[{k}]") for k, (v, h) in enumerate(zip(value, inner, strict=True)))
    return _scalar(value, hint, place)


def _scalar(value: Any, hint: Any, place: str) -> Any:
    if hint is None or hint is type(None):
        allowed = value is None
    elif hint is float:
        allowed = isinstance(value, int | float) and not isinstance(value, bool)
    elif hint is int:
        allowed = isinstance(value, int) and not isinstance(value, bool)
    elif hint in (str, bool):
        allowed = isinstance(value, hint)
    else:
        raise InputError(f"{place}: annotation {hint} cannot be read from JSON, must be of numbers, texts and tuples")
    if not allowed:
        raise InputError(f"{place}={value!r:.40}: must be {getattr(hint, '__name__', hint)}")
    try:
        return float(value) if hint is float else value
    except OverflowError:
        raise InputError(f"{place}: an integer of {value.bit_length()} bits is beyond float64") from None


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
