"""Observations of nodes: read from CSV, written as CSV, checked, and counted by distinct rows.

A file has a header of node names and one observation a line. Values are names of states, else their numbers; an empty
field, ``NA`` and ``?`` are missing values (where the node has no state of that name).
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from hltm.base.atomic import reason
from hltm.base.checks import Node, count, show
from hltm.base.errors import InputError
from hltm.states import find_state, has_numbers_as_names
from hltm.tables import numbered
from hltm.tree import HLTM, find_node

FILE_LIMIT = 64 * 2**20  # bytes of a file
ENTRY_LIMIT = 2**26  # observations times nodes
MISSING = -1
MISSING_TEXTS = ("", "NA", "?")
_ROWS_AT_A_TIME = 4096


@dataclass(frozen=True, eq=False)
class Records:
    """Distinct rows of states ``(rows, nodes)``, -1 where missing, and how often each occurs."""

    nodes: tuple[Node, ...]
    states: np.ndarray
    counts: np.ndarray

    @property
    def observations(self) -> int:
        """Number of all rows."""
        return int(self.counts.sum())


def check_records(tree: HLTM, data: object) -> Records:
    """Validate observations of nodes of a tree: a mapping of nodes to states, or to names of states."""
    if not isinstance(data, Mapping) or not data:
        raise InputError(f"data={show(data)}: must be a mapping of nodes to states, with one node at least")
    columns = {node: _column(tree, node, value) for node, value in data.items()}
    first = next(iter(columns))
    for node, column in columns.items():
        if len(column) != len(columns[first]):
            lengths = f"got {len(columns[first]):,} and {len(column):,}"
            raise InputError(f"data of nodes {show(first)} and {show(node)}: must have the same length, {lengths}")
    return counted(tuple(columns), np.stack(list(columns.values()), axis=1))


def counted(nodes: tuple[Node, ...], states: np.ndarray) -> Records:
    """Count the distinct rows."""
    if not len(states):
        raise InputError("data: must have at least one observation")
    if states.size > ENTRY_LIMIT:
        raise InputError(
            f"data of {len(nodes):,} nodes and {len(states):,} observations: must have at most {count(ENTRY_LIMIT)} "
            f"entries, has {count(states.size)}"
        )
    distinct, counts = np.unique(states, axis=0, return_counts=True)
    return Records(nodes, distinct, counts.astype(np.float64))


def _column(tree: HLTM, node: Node, values: Any) -> np.ndarray:
    """States of one node as int64; -1 is a missing value, and so are None and the texts for it."""
    states, where = tree.cardinality(node), f"data of node {show(node)}"
    array = np.asarray(values) if not isinstance(values, np.ndarray) else values
    if array.ndim != 1:
        raise InputError(f"{where}: must have shape (n,), got {array.shape}")
    if array.dtype.kind in "OUS":
        reader = Reader(tree, node)
        return np.array([reader.state(value, where) for value in array.tolist()], dtype=np.int64)
    if array.dtype.kind not in "iu":
        raise InputError(f"{where}: must be integers or names of states, got {array.dtype}")
    bad = (array < MISSING) | (array >= states)
    if bad.any():
        rule = f"must be in 0 ... {states - 1}, or -1 where missing"
        raise InputError(f"{where}: {rule}, got {array[bad][0]} in row {int(np.flatnonzero(bad)[0])}")
    return array.astype(np.int64)


class Reader:
    """States of a node by their texts; every text is looked up once."""

    def __init__(self, tree: HLTM, node: Node) -> None:
        self.tree, self.node = tree, node
        names = tree.states(node)
        self.known: dict[Any, int] = dict.fromkeys((None, *MISSING_TEXTS), MISSING)
        self.known |= {name: number for number, name in enumerate(names)}

    def state(self, text: Any, where: str) -> int:
        """Return the number of a state, or -1 for a missing value."""
        try:
            return self.known[text]
        except (KeyError, TypeError):
            pass
        try:
            number = find_state(self.tree, self.node, text)
        except InputError as error:
            raise InputError(f"{where}: {error}; a missing value is empty, NA or ?") from None
        self.known[text] = number
        return number


# Files


def read_rows(path: Path) -> Iterator[list[str]]:
    """Rows of a CSV file, the header first; every row is as long as the header."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
        if len(content) > FILE_LIMIT:
            raise InputError(f"{path}: must have at most {count(FILE_LIMIT)} bytes (64 MiB)")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: must be UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    reader, width = csv.reader(io.StringIO(text, newline="")), -1
    try:
        for row in reader:
            if not row:  # an empty line
                continue
            width = len(row) if width < 0 else width
            if len(row) != width:
                raise InputError(
                    f"{path}: line {reader.line_num}: must have {width} fields as the header, has {len(row)}"
                )
            yield row
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: is no CSV: {error}") from None


def read_records(path: Path, tree: HLTM) -> Records:
    """Read observations of nodes of a tree."""
    rows = read_rows(path)
    header = next(rows, None)
    if header is None:
        raise InputError(f"{path}: must have a header of node names and one observation a line")
    nodes = _header(path, tree, header)
    readers = [Reader(tree, node) for node in nodes]
    states = [
        [reader.state(text, f"{path}: row {number}") for reader, text in zip(readers, row, strict=True)]
        for number, row in enumerate(rows, start=1)
    ]
    return counted(nodes, np.array(states, dtype=np.int64).reshape(len(states), len(nodes)))


def _header(path: Path, tree: HLTM, header: Sequence[str]) -> tuple[Node, ...]:
    nodes: dict[Node, None] = {}
    for text in header:
        try:
            node = find_node(tree, text)
        except InputError as error:
            raise InputError(f"{path}: header: {error}") from None
        if node in nodes:
            raise InputError(f"{path}: header: node {show(node)} has two columns, must have one")
        nodes[node] = None
    return tuple(nodes)


def read_columns(path: Path) -> dict[str, list[str]]:
    """Columns of a CSV file by name, as texts."""
    rows = read_rows(path)
    header = next(rows, None)
    if header is None:
        raise InputError(f"{path}: must have a header of names and one observation a line")
    for name, times in Counter(header).items():
        if times > 1:
            raise InputError(f"{path}: header: {show(name)} has {times} columns, must have one")
    columns = list(zip(*rows, strict=True))
    if not columns:
        raise InputError(f"{path}: must have at least one observation below its header")
    return dict(zip(header, map(list, columns), strict=True))


def write_samples(file: IO[str], tree: HLTM, samples: Mapping[Node, np.ndarray], names: bool = True) -> None:
    """Write samples as CSV: node names, then names (or numbers) of states."""
    for node in () if names else samples:
        own = tree.states(node)
        if has_numbers_as_names(own) and own != numbered(len(own)):
            raise InputError(f"--numbers: states of node {show(node)} are called {show(list(own))}, read as names")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(column_names(tree, samples))
    columns = list(samples.values())
    texts = [np.array(tree.states(node) if names else range(tree.cardinality(node)), dtype=object) for node in samples]
    for start in range(0, len(columns[0]), _ROWS_AT_A_TIME):
        part = [each[column[start : start + _ROWS_AT_A_TIME]] for each, column in zip(texts, columns, strict=True)]
        writer.writerows(zip(*part, strict=True))


def column_names(tree: HLTM, nodes: Iterable[Node]) -> list[str]:
    """Texts that name nodes, as :func:`find_node` reads them."""
    names = []
    for node in nodes:
        text = node if isinstance(node, str) else json.dumps(node)
        if find_node(tree, text) != node:
            raise InputError(f"node {show(node)}: cannot head a column, since {show(text)} names another node")
        names.append(text)
    return names
