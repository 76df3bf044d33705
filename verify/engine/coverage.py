"""What the decided instances of a check span, in words: sizes, values, numbers on a grid or generic, zeros and ties."""

from __future__ import annotations

import dataclasses
import itertools
import math
import numbers
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

Place = Literal["whole", "grid", "fine", "generic"]
# The coarsest set that holds all numbers of an instance; float64 with a full mantissa is in none of the first three.
GRIDS: tuple[tuple[Place, int], ...] = (("whole", 1), ("grid", 8), ("fine", 2**20))
WORDS: Mapping[Place, str] = {
    "whole": "whole", "grid": "on a grid of 1/8", "fine": "on a grid of 2^-20", "generic": "generic floats",
}  # fmt: skip
FEW = 4  # values that are listed; more are a range
LONGEST = 24  # characters of a text value
LARGE = 512  # numbers of a table beyond which ties are not looked for
AXIS = " axis "  # between a name and the number of an axis
FEATURES = 16  # parts of the summary
# Sizes with words of their own, in the order in which they are said: (feature, one, several).
SIZES = (
    ("layers", "{} layer", "{} layers"),
    ("widths", "width {}", "widths {}"),
    ("points", "{} point", "{} points"),
    ("augmentations", "{} augmentation", "{} augmentations"),
    ("nodes", "{} node", "{} nodes"),
    ("leaves", "{} leaf", "{} leaves"),
    ("states", "{} state", "{} states"),
)
# Probabilities are numbers of another kind, and `checked` by their instances.
PROBABILITIES = ("point_weights", "augmentation_weights")
# Numbers that say which function is meant.
KINDS = ("slope",)
NAMES = {"negatives": "H"}


class Coverage:
    """A summary of instances of any kind, added one at a time.

    Examples
    --------
    >>> from verify import LossInstance
    >>> seen = Coverage()
    >>> seen.add(LossInstance("simple", (), 0.0, (1.125,)))
    >>> seen.add(LossInstance("simple", (), 0.5, (2.5,)))
    >>> seen.text()
    '2 instances: r_neg of 1 entry, loss simple, r_pos 0 and 0.5, numbers in [1.12, 2.5] on a grid of 1/8, zeros in 1'
    """

    def __init__(self) -> None:
        self.count = 0
        self.sizes: dict[str, tuple[int, int]] = {}
        self.values: dict[str, Any] = {}
        self.ends: tuple[float, float] | None = None
        self.places: Counter[str] = Counter()
        self.with_zero = self.with_ties = 0
        self._last: dict[str, tuple[Any, Any]] = {}

    def add(self, instance: Any) -> None:
        """Count an instance; what it consists of is summarised as far as it is known."""
        self.count += 1
        tables: list[Any] = []
        scalars: list[tuple[Place, bool]] = []
        for name, value in fields_of(instance):
            if is_nested(value):
                if name == "parameters" and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
                    for key, number in value:
                        self._value(NAMES.get(key, str(key)), number)
                elif name not in PROBABILITIES:
                    tables.append(self._table(name, value))
            elif hasattr(value, "latents") and hasattr(value, "leaves"):
                self._tree(value)
            elif isinstance(value, str | numbers.Real):
                self._value(name, value)
                if isinstance(value, float) and name not in KINDS and is_finite(value):
                    scalars.append((place_of([value]), value == 0))
        if "nodes" in self.sizes:
            self.sizes.pop("layers", None)  # the weights of a tree are one matrix for each latent node
        self._numbers([table for table in tables if table is not None], scalars)

    def _size(self, name: str, low: int, high: int) -> None:
        before = self.sizes.get(name, (low, high))
        self.sizes[name] = min(low, before[0]), max(high, before[1])

    def _value(self, name: str, value: Any) -> None:
        """Keep the values while they are few, then the range of numbers."""
        if not isinstance(value, str | numbers.Real) or value != value:  # NaN has no place in a range
            return
        known = self.values.setdefault(name, set())
        if isinstance(known, set):
            known.add(value if not isinstance(value, str) or len(value) <= LONGEST else value[:LONGEST] + "...")
            if len(known) > FEW and all(is_number(item) for item in known):
                self.values[name] = (min(known), max(known))
        elif is_number(value):
            self.values[name] = (min(known[0], value), max(known[1], value))

    def _table(self, name: str, value: Any) -> tuple[Any, ...] | None:
        """Sizes of nested tuples, and their numbers: (least, largest, place, whether there is a zero, a tie)."""
        last = self._last.get(name)
        if last is None or last[0] is not value:  # many instances share the same points
            last = self._last[name] = value, described(name, value)
        if last[1] is None:
            return None
        sizes, table = last[1]
        for feature, low, high in sizes:
            self._size(feature, low, high)
        return table

    def _tree(self, tree: Any) -> None:
        states = [tree.cardinality(node) for node in tree.nodes]
        for name, count in (("nodes", len(tree.nodes)), ("leaves", len(tree.leaves))):
            self._size(name, count, count)
        self._size("states", min(states), max(states))

    def _numbers(self, tables: list[tuple[Any, ...]], scalars: list[tuple[Place, bool]]) -> None:
        places = [*(table[2] for table in tables), *(place for place, _ in scalars)]
        if not places:
            return
        self.places[max(places, key=list(WORDS).index)] += 1
        self.with_zero += any(table[3] for table in tables) or any(zero for _, zero in scalars)
        self.with_ties += any(table[4] for table in tables)
        if tables:
            ends = [(table[0], table[1]) for table in tables] + ([] if self.ends is None else [self.ends])
            self.ends = min(low for low, _ in ends), max(high for _, high in ends)

    def merged(self, other: Coverage) -> Self:
        """Self, with the instances of another summary added."""
        self.count += other.count
        for name, (low, high) in other.sizes.items():
            self._size(name, low, high)
        for name, known in other.values.items():
            for value in sorted(known, key=str):
                self._value(name, value)
            if isinstance(known, tuple):  # a range stays one
                self.values[name] = as_range(self.values[name])
        if other.ends is not None:
            ends = self.ends or other.ends
            self.ends = min(ends[0], other.ends[0]), max(ends[1], other.ends[1])
        self.places += other.places
        self.with_zero += other.with_zero
        self.with_ties += other.with_ties
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without the instance that was seen last."""
        return {**self.__dict__, "_last": {}}

    def text(self) -> str:
        """The summary as one line; empty without instances."""
        if not self.count:
            return ""
        parts = []
        for name, one, several in SIZES:
            if name in self.sizes:
                low, high = self.sizes[name]
                parts.append((one if low == high == 1 else several).format(span(low, high)))
        if "widths" in self.sizes and self.sizes["widths"][0] == self.sizes["widths"][1]:
            parts = [part.replace("widths", "width") for part in parts]
        parts += shapes(self.sizes)
        parts += [f"{name} {listed(known)}" for name, known in self.values.items()]
        parts = parts[:FEATURES] + ["..."] * (len(parts) > FEATURES)
        if self.places:
            parts.append("numbers" + (f" in [{shown(self.ends[0])}, {shown(self.ends[1])}]" if self.ends else ""))
            total = sum(self.places.values())
            places = [(place, self.places[place]) for place in WORDS if self.places[place]]
            words = [WORDS[place] + ("" if count == total else f" in {count}") for place, count in places]
            parts[-1] += f" {words[0]}" if len(words) == 1 else f": {', '.join(words)}"
            parts += [f"zeros in {self.with_zero}"] * (self.with_zero > 0)
            parts += [f"ties in {self.with_ties}"] * (self.with_ties > 0)
        noun = "instance" if self.count == 1 else "instances"
        return f"{self.count:,} {noun}" + (f": {', '.join(parts)}" if parts else "")


def is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_finite(number: Any) -> bool:
    """Whether a number is finite, an integer beyond float64 too."""
    return bool(number - number == 0)


def is_nested(value: Any) -> bool:
    """Whether the value is a tuple, a list or an array of one axis and more."""
    return isinstance(value, tuple | list) or (hasattr(value, "tolist") and getattr(value, "ndim", 0) > 0)


def as_range(known: Any) -> Any:
    """Values as a range, where they are numbers."""
    if isinstance(known, tuple) or not known or not all(is_number(value) for value in known):
        return known
    return (min(known), max(known))


def fields_of(instance: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of a dataclass, or of any object's attributes; a tree is a field of its own."""
    if hasattr(instance, "latents") and hasattr(instance, "leaves"):
        yield "tree", instance
    elif dataclasses.is_dataclass(instance):
        for field in dataclasses.fields(instance):
            yield field.name, getattr(instance, field.name, None)
    else:
        yield from getattr(instance, "__dict__", {}).items()


def described(name: str, value: Any) -> tuple[list[tuple[str, int, int]], Any] | None:
    """Sizes and numbers of nested tuples; None where they hold anything but numbers."""
    levels: list[list[int]] = []
    row = [value]
    rows: list[Any] = []
    while row and all(is_nested(item) for item in row):
        levels.append([len(item) for item in row])
        rows, row = row, list(itertools.chain.from_iterable(row))
    if not levels or not all(is_number(item) for item in row):
        return None
    finite = [number for number in row if is_finite(number)]
    table = None
    if finite:
        zeros = finite.count(0)
        tie = len(row) <= LARGE and any(len({*entries} - {0}) < len(entries) - [*entries].count(0) for entries in rows)
        table = (min(finite), max(finite), place_of(finite), zeros > 0, tie)
    return sizes_of(name, levels), table


def place_of(finite: Sequence[float]) -> Place:
    """The coarsest grid that holds all of the numbers."""
    for place, scale in GRIDS:
        if all(number * scale % 1 == 0 for number in finite):
            return place
    return "generic"


def sizes_of(name: str, levels: list[list[int]]) -> list[tuple[str, int, int]]:
    """Sizes of nested tuples by level, with the names of networks and populations where the nesting is theirs."""
    ends = [(min(level), max(level)) for level in levels]
    if len(levels) == 3 and (name.endswith("weights") or name.startswith("weights")):
        widths = [*levels[1], *levels[2]]
        return [("layers", *ends[0]), ("widths", min(widths), max(widths))]
    if name == "points" and len(levels) == 3:
        return [("points", *ends[0]), ("augmentations", *ends[1])]
    return [(f"{name}{AXIS}{depth}", *level) for depth, level in enumerate(ends)]


def shapes(sizes: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Vectors with their number of entries, matrices and larger tables with all of their sizes."""
    axes: dict[str, list[tuple[int, int]]] = {}
    for name, ends in sizes.items():
        if AXIS in name:
            axes.setdefault(name.partition(AXIS)[0], []).append(ends)
    for name, spans in axes.items():
        if len(spans) == 1:
            yield f"{name} of {span(*spans[0])} {'entry' if spans[0] == (1, 1) else 'entries'}"
        else:
            yield f"{name} {' x '.join(span(*ends) for ends in spans)}"


def span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def listed(known: Any) -> str:
    """A set of values as a list, or a pair as a range."""
    whole = isinstance(known, set) and len(known) > 2 and all(type(value) is int for value in known)
    known = as_range(known) if whole else known
    if isinstance(known, tuple):
        return f"{shown(known[0])} to {shown(known[1])}"
    ordered = sorted(known, key=lambda value: (isinstance(value, str), value if is_number(value) else str(value)))
    *start, last = [shown(value) for value in ordered[: FEW + 1]]
    more = ", ..." if len(known) > FEW + 1 else ""
    return (f"{', '.join(start)} and {last}" if start else last) + more


def shown(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, float):
        return f"{float(value):.3g}"
    if isinstance(value, int) and abs(value) >= 10**9:
        return f"about 10^{math.floor(value.bit_length() * math.log10(2))}"
    return str(value)
