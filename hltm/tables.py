"""The numbers of a tree, read from graph attributes: cardinalities, the prior of the root, a table for each edge.

Node attributes are ``prior`` (root only), ``cardinality`` (default 2) and ``states``, the names of the states in the
order of their numbers (default ``"0"``, ``"1"``, ...); an edge carries ``transition``
(row s is the law of the child given state s of the parent) or ``polarity`` rho, short for the symmetric
binary table ``[[(1+rho)/2, (1-rho)/2], [(1-rho)/2, (1+rho)/2]]`` (statement 6).
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from hltm.base.checks import SUM_TOLERANCE, Node, Number, halves, integer, number, polarity, show, suggestion
from hltm.base.errors import InputError
from hltm.structure import Structure

NODE_ATTRIBUTES = ("prior", "cardinality", "states")
EDGE_ATTRIBUTES = ("polarity", "transition")
GRAPH_ATTRIBUTES = ("name", "description")


class SumError(InputError):
    """A row that does not sum to one; in a file its digits may explain it."""


Row = tuple[Number, ...]
Names = tuple[str, ...]


@dataclass(frozen=True)
class EdgeTable:
    """The table of an edge: a polarity, or the rows of a transition table, with rational numbers kept."""

    rho: Number | None
    rows: tuple[Row, ...] | None

    def exact_rows(self) -> tuple[Row, ...]:
        """Return the rows of the table; rational numbers stay rational."""
        if self.rows is not None:
            return self.rows
        low, high = halves(self.rho)  # type: ignore[arg-type]
        return ((high, low), (low, high))

    def array(self) -> np.ndarray:
        """Return the table as float64, shape (states of the parent, states of the child)."""
        return np.array(self.exact_rows(), dtype=np.float64)

    def polarity(self) -> float:
        """Return rho = P(child=1 | parent=1) - P(child=1 | parent=0) of a binary table."""
        return float(self.rho) if self.rows is None else float(self.rows[1][1] - self.rows[0][1])  # type: ignore[arg-type]

    def is_symmetric(self) -> bool:
        """Whether swapping the two states leaves a binary table unchanged, compared exactly."""
        return self.rows is None or self.rows == tuple(row[::-1] for row in self.rows[::-1])

    def attribute(self) -> dict[str, Any]:
        """Return the edge attribute of the table, in plain form."""
        return {"polarity": self.rho} if self.rows is None else {"transition": self.rows}


def cardinalities_of(
    shape: Structure, attributes: Mapping[Any, Mapping[Any, Any]]
) -> tuple[dict[Node, int], dict[Node, Names]]:
    """Read the cardinality of every node and the state names of those that have them; refuse unknown attributes."""
    states, names = {}, {}
    for node in shape.order:
        values = attributes[node]
        count = 2
        if values and not (len(values) == 1 and "prior" in values and node == shape.root):
            place = f" of node {show(node)}"
            known_attributes(values, NODE_ATTRIBUTES, place[4:])
            if "states" in values:
                names[node] = state_names(values["states"], place)
                count = len(names[node])
            count = integer(values.get("cardinality", count), "cardinality", 2, place)
            if node in names and len(names[node]) != count:
                rule = f"must have {count} names, one a state, got {len(names[node])}"
                raise InputError(f"states={show(list(names[node]))}{place}: {rule}")
            if node in names and names[node] == numbered(count):
                del names[node]
            if "prior" in values and node != shape.root:
                prior = f"prior={show(values['prior'])} on node {show(node)}"
                raise InputError(f"{prior}: only the root {show(shape.root)} has a prior")
        states[node] = count
    return states, names


@lru_cache(8)
def numbered(count: int) -> Names:
    """Return the names of states that have none: ``"0"``, ``"1"``, ..."""
    return tuple(map(str, range(count)))


def state_names(value: object, place: str) -> Names:
    """Check the names of the states of a node: distinct non-empty texts, and numbers of states in order."""
    names = tuple(_sequence(value, f"states{place}", "a list of names, one a state"))
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"states[{i}]={show(name)}{place}: must be a non-empty str")
    plain = tuple(map(str, names))
    if len(set(plain)) < len(plain):
        seen: set[str] = set()
        twice = next(name for name in plain if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"states={show(list(plain))}{place}: the name {show(twice)} must not be given twice")
    if plain != (numbers := numbered(len(plain))) and set(plain) == set(numbers):
        raise InputError(f"states={show(list(plain))}{place}: names that are the state numbers must be in order")
    return plain


def prior_of(root: Node, attributes: Mapping[Any, Any], states: int) -> Row:
    """Read the prior of the root: one probability for each state."""
    if "prior" not in attributes:
        raise InputError(f"root {show(root)} has no attribute 'prior': the root needs the list of its probabilities")
    place = f" of root {show(root)}"
    values = _sequence(attributes["prior"], f"prior{place}", "a list of probabilities")
    if len(values) != states:
        raise InputError(
            f"prior={show(list(values))}{place}: must have {states} entries, one a state, got {len(values)}"
        )
    return _law(values, "prior", place, f"prior={show(list(values))}{place}")


def edge_table(edge: tuple[Node, Node], attributes: Mapping[Any, Any], states: tuple[int, int]) -> EdgeTable:
    """Read the table of an edge; `states` are those of the parent and of the child."""
    if (
        len(attributes) == 1
        and states == (2, 2)
        and type(rho := attributes.get("polarity")) is float
        and -1 <= rho <= 1
    ):
        return EdgeTable(rho, None)
    place = f" on edge {show(edge)}"
    known_attributes(attributes, EDGE_ATTRIBUTES, f"edge {show(edge)}")
    if len(attributes) != 1:
        names = "both 'polarity' and 'transition'" if attributes else "neither 'polarity' nor 'transition'"
        raise InputError(f"edge {show(edge)} has {names}: an edge needs exactly one of them")
    if "transition" in attributes:
        return EdgeTable(None, _transition(attributes["transition"], place, states))
    if states != (2, 2):
        raise InputError(
            f"polarity={show(attributes['polarity'])}{place}: a polarity needs binary nodes, "
            f"the cardinalities are {states[0]} and {states[1]}; give 'transition'"
        )
    return EdgeTable(polarity(attributes["polarity"], "polarity", place), None)


def known_attributes(attributes: Iterable[object], allowed: Sequence[str], owner: str) -> None:
    """Refuse an attribute that is not in `allowed`; the error suggests the nearest name."""
    for name in attributes:
        if name not in allowed:
            near = suggestion(name, allowed)
            raise InputError(f"attribute {show(name)} of {owner}: must be one of {', '.join(allowed)}{near}")


def graph_texts(attributes: Mapping[Any, Any]) -> dict[str, str]:
    """Return the attributes of the graph: a name and a description, both text, both optional."""
    known_attributes(attributes, GRAPH_ATTRIBUTES, "the graph")
    for name, value in attributes.items():
        if not isinstance(value, str):
            raise InputError(f"{name}={show(value)} of the graph: must be a str, got {type(value).__name__}")
    return {name: str(value) for name, value in attributes.items()}


def normalized(row: Row) -> tuple[Fraction, ...]:
    """Return a row as exact fractions that sum to one: a row of floats does so only within rounding."""
    exact = [Fraction(value) for value in row]
    total = sum(exact)
    return tuple(value / total for value in exact)


def _transition(value: object, place: str, states: tuple[int, int]) -> tuple[Row, ...]:
    rule = f"must have shape {states}, the cardinalities of parent and child"
    rows = [
        _sequence(row, f"row of transition{place}", "a list of numbers; the table is a list of rows")
        for row in _sequence(value, f"transition{place}", "a list of rows")
    ]
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise InputError(f"transition{place}: {rule}, got rows of lengths {show([len(row) for row in rows])}")
    got = (len(rows), *widths) if rows else (0, 0)
    if got != states:
        raise InputError(f"transition{place}: {rule}, got {got}")
    return tuple(
        tuple(row) if _is_plain_law(row) else _law(row, f"transition[{i}]", place, f"row {i} of transition{place}")  # type: ignore[arg-type]
        for i, row in enumerate(rows)
    )


def _is_plain_law(row: Sequence[object]) -> bool:
    """Whether a row has floats alone and is a law: most rows, which need no message."""
    return all(type(value) is float and 0 <= value <= 1 for value in row) and abs(math.fsum(row) - 1) <= SUM_TOLERANCE  # type: ignore[arg-type]


def _law(values: Sequence[object], name: str, place: str, whole: str) -> Row:
    """Check a probability vector: finite entries, none negative, sum one (exactly if all are rational)."""
    row: Row = tuple(number(value, f"{name}[{i}]", place) for i, value in enumerate(values))
    for i, value in enumerate(row):
        if value < 0:
            raise InputError(f"{name}[{i}]={show(value)}{place}: must not be negative")
    if any(isinstance(value, float) for value in row):
        # fsum refuses sums beyond the largest float.
        total: Number = math.fsum(row) if all(value <= 2 for value in row) else sum(row)
        if abs(float(total) - 1) > SUM_TOLERANCE:
            raise SumError(f"{whole}: must sum to one within {SUM_TOLERANCE}, sums to {total!r}")
    elif sum(row) != 1:
        raise SumError(f"{whole}: must sum to one, sums to {sum(row)}")
    return row


def _sequence(value: object, name: str, rule: str) -> Sequence[object]:
    if isinstance(value, np.ndarray) and value.ndim > 0:
        return list(value)
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{name}={show(value)}: must be {rule}, got {type(value).__name__}")
    return value


# Numbers in tree files and on the command line; Python refuses to read longer integers.
_RATIONAL = re.compile(r"[+-]?[0-9]{1,4300}/[0-9]{1,4300}")
_POINT = re.compile(r"[0-9]++\.[0-9]++")
_INTEGER = re.compile(r"[+-]?[0-9]{1,4300}")
_DECIMAL = re.compile(r"[+-]?([0-9]++\.?[0-9]*+|\.[0-9]++)([eE][+-]?[0-9]++)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def read_number(text: str) -> Number | str:
    """Read an integer, a decimal or a rational number such as ``1/3``; return other text for the checks to refuse."""
    if _POINT.fullmatch(text):  # most numbers
        return float(text)
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _RATIONAL.fullmatch(text):
        top, bottom = (int(part) for part in text.split("/"))
        return Fraction(top, bottom) if bottom else text
    return text
