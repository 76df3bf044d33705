"""Trees as BIF, the Interchange Format for Bayesian Networks that pgmpy, pyAgrum and bnlearn read.

BIF has decimal numbers, plain names, and no order of children:

* variables stand in the order of ``tree.nodes``, from which the order of children is restored;
* state k is the k-th in the list of a variable, except that states named 0, 1, ... are in the order of these numbers;
  a name that is not a plain word is written as one, and the names as percent-encoded JSON in ``property hltm_states``;
* tables hold the nearest double of each number. A polarity, and rows with rational numbers, are repeated in a
  ``property`` of the variable: ``property polarity = 1/3 ;``, ``property prior = 2/7 5/7 ;``,
  ``property transition = 1/3 2/3 , 1/2 1/2 ;``. They must agree with the table;
* a node whose name is not a plain word, or differs from another one only in case, gets a generated name, and its own
  as percent-encoded JSON in ``property hltm_name``; so do the name and the description of the tree.

Other properties are ignored. pyAgrum reads the numbers of BIF in single precision. Files are read in one pass from left
to right without recursion, in time linear in their length.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any
from urllib.parse import quote, unquote

from hltm.base.checks import Node, Number, count, halves, number, polarity, show
from hltm.base.errors import InputError
from hltm.bif_reader import NAME, STATE_LIMIT, STATES, Parser
from hltm.bif_reader import Network as Network
from hltm.bif_reader import Variable as Variable
from hltm.nodelink import tree_from_form
from hltm.reading import Reading, rounds_to
from hltm.tables import GRAPH_ATTRIBUTES, Names, Row, SumError, numbered, read_number, state_names
from hltm.tree import HLTM

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}|[0-9]{1,9}")
_BLOCKS = re.compile("variable|probability")  # pgmpy searches for them everywhere
_RESERVED = {"network", "variable", "probability", "property", "type", "discrete", "table", "default"}


def to_bif(tree: HLTM) -> str:
    words = _unique_words(tree.nodes)
    labels: dict[Node, tuple[str, ...]] = {}
    lines = ["network hltm_tree {"]
    lines += [f"  property hltm_{key} = {_encoded(text)} ;" for key, text in tree.graph.graph.items()]
    lines.append("}")
    for node in tree.nodes:
        states = tree.cardinality(node)
        if states > STATE_LIMIT:
            raise InputError(
                f"cardinality={count(states)} of node {show(node)}: must be at most {count(STATE_LIMIT)} in BIF"
            )
        lines.append(f"variable {words[node]} {{")
        labels[node] = _labels(tree.states(node))
        lines.append(f"  type discrete [ {states} ] {{ {', '.join(labels[node])} }};")
        lines += [f"  property {key} = {text} ;" for key, text in _properties(tree, node, words[node])]
        lines.append("}")
    lines += [f"probability ( {words[tree.root]} ) {{", f"  table {_row(tree.exact_prior())} ;", "}"]
    for above, node in tree.edges:
        lines.append(f"probability ( {words[node]} | {words[above]} ) {{")
        rows = zip(labels[above], tree.exact_table(node), strict=True)
        lines += [f"  ( {state} ) {_row(row)} ;" for state, row in rows]
        lines.append("}")
    return "\n".join([*lines, ""])


def from_bif(text: str, reading: Reading | None = None) -> HLTM:
    """Build a tree from the text of a BIF file; one of another tool is read if its network is a tree."""
    reading = reading or Reading()
    return tree_of(Parser(text, reading).read(), reading)


def tree_of(network: Network, reading: Reading | None = None) -> HLTM:
    """Build a tree from the variables of a Bayesian network."""
    reading = reading or Reading()
    _put_numbers_in_order(network)
    names = {name: _name(name, variable) for name, variable in network.variables.items()}
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    for name, variable in network.variables.items():
        if variable.rows is None:
            raise InputError(f"variable {show(name)}: has no block 'probability'")
        nodes.append({"id": names[name]})
        if variable.states != 2:
            nodes[-1]["cardinality"] = variable.states
        if (labels := _state_names(name, variable)) != numbered(variable.states):
            nodes[-1]["states"] = list(labels)
        if variable.parent is None:
            rows = _exact_rows(name, variable, "prior", variable.rows, reading)
            if reading.printed:
                rows = _divided(network, variable, rows, f"prior={show(rows[0])} of root {show(names[name])}", reading)
            nodes[-1]["prior"] = rows[0]
        else:
            ends = {"source": names[variable.parent], "target": names[name]}
            values = _edge_values(name, variable, reading)
            if reading.printed and "transition" in values:
                whole = f"transition on edge {show((names[variable.parent], names[name]))}"
                values["transition"] = _divided(network, variable, values["transition"], whole, reading)
            edges.append(ends | values)
    texts = {
        key: _decoded(network.properties[name], f"property {name} of the network")
        for key in GRAPH_ATTRIBUTES
        if (name := f"hltm_{key}") in network.properties
    }
    return tree_from_form({"graph": texts, "nodes": nodes, "edges": edges}, reading)


def _divided(
    network: Network, variable: Variable, rows: list[list[Number]], whole: str, reading: Reading
) -> list[list[Number]]:
    """Divide rows by their sums where rounding explains these."""
    name = "" if variable.parent is None else "row {} of "
    return [
        reading.divided(row, name.format(i) + whole, functools.partial(network.line, variable, i))
        for i, row in enumerate(rows)
    ]


def _put_numbers_in_order(network: Network) -> None:
    """Sort states that are called 0, 1, ... in another order: state k is the one of this name."""
    orders = {}
    for name, variable in network.variables.items():
        numbers = numbered(variable.states)
        if variable.labels != numbers and set(variable.labels) == set(numbers):
            place = {label: i for i, label in enumerate(variable.labels)}
            orders[name] = [place[number] for number in numbers]
            variable.labels = numbers
    for name, variable in network.variables.items() if orders else ():
        rows = variable.rows
        if rows is not None and variable.parent in orders:
            rows = [rows[i] for i in orders[variable.parent]]
            if len(variable.places) == len(rows):
                variable.places = [variable.places[i] for i in orders[variable.parent]]
        if rows is not None and name in orders:
            rows = [[row[i] for i in orders[name]] for row in rows]
        variable.rows = rows


def _edge_values(name: str, variable: Variable, reading: Reading) -> dict[str, Any]:
    """Return the table of the edge to a variable, or the polarity if a property has it."""
    rows = variable.rows or []
    if "polarity" not in variable.properties:
        return {"transition": _exact_rows(name, variable, "transition", rows, reading)}
    value = read_number(variable.properties["polarity"])
    if type(value) is not float or not -1 <= value <= 1:
        place = f"property polarity of {show(name)}"
        (value,) = _numbers(variable.properties["polarity"], place, 1)
        value = polarity(value, place)
    low, high = halves(value)
    if rows != [[high, low], [low, high]]:
        _agree(name, "polarity", [(high, low), (low, high)], rows, reading)
    return {"polarity": value}


def _exact_rows(
    name: str, variable: Variable, key: str, rows: list[list[Number]], reading: Reading
) -> list[list[Number]]:
    """Return the rows of a property, which are exact, or those of the table if there is no property."""
    if key not in variable.properties:
        return rows
    place = f"property {key} of {show(name)}"
    parts = variable.properties[key].split(",", len(rows))
    exact = [_numbers(part, place, variable.states) for part in parts]
    _agree(name, key, exact, rows, reading)
    return exact


def _agree(
    name: str, key: str, exact: Sequence[Sequence[Number]], rows: Sequence[Sequence[Number]], reading: Reading
) -> None:
    """Refuse a property that does not agree with the table, which may be rounded: only one of them was edited."""
    nearest = [[float(value) for value in row] for row in exact]
    if nearest == [[float(value) for value in row] for row in rows]:
        return
    error = f"property {key} of {show(name)}: must agree with the table"
    if not reading.printed and not reading.strict:
        raise SumError(error)  # read once more, with the digits
    if list(map(len, exact)) != list(map(len, rows)) or not all(map(rounds_to, exact, rows)):
        raise InputError(error)


def _numbers(text: str, place: str, wanted: int) -> list[Number]:
    words = text.split(None, wanted)
    if len(words) != wanted:
        raise InputError(f"{place}={show(text)}: must have {wanted} numbers in a row")
    return [number(read_number(word), place) for word in words]


def _properties(tree: HLTM, node: Node, word: str) -> Iterator[tuple[str, str]]:
    """Yield the properties of a variable: its own name, and exact numbers."""
    if word != node:
        yield NAME, _encoded(list(node) if isinstance(node, tuple) else node)
    if _labels(names := tree.states(node)) != names:
        yield STATES, _encoded(list(names))
    above = tree.parent(node)
    rho = None if above is None else tree.graph.edges[above, node].get("polarity")
    if rho is not None:
        yield "polarity", _text(rho)
        return
    rows = (tree.exact_prior(),) if above is None else tree.exact_table(node)
    if any(isinstance(value, Fraction) for row in rows for value in row):
        yield "prior" if above is None else "transition", " , ".join(" ".join(map(_text, row)) for row in rows)


def _name(name: str, variable: Variable) -> object:
    text = variable.properties.get(NAME)
    return name if text is None else _decoded(text, f"property {NAME} of variable {show(name)}")


def _state_names(name: str, variable: Variable) -> Names:
    """Return the names of a variable's states: those of the property, which must agree with its words, else these."""
    text = variable.properties.get(STATES)
    if text is None:
        return variable.labels
    place = f"property {STATES} of variable {show(name)}"
    names = state_names(_decoded(text, place), f" in {place}")
    if _labels(names) != variable.labels:
        raise InputError(f"{place}: must agree with the states in the block of the variable")
    return names


@functools.lru_cache(16)
def _labels(names: Names) -> Names:
    """Return a different word for every state: its name if that is a plain word or number."""
    if all(map(_is_label, names)):
        return names
    labels: dict[str, str] = {name: name for name in names if _is_label(name)}
    taken = set(labels)
    for i, name in enumerate(names):
        if name not in labels:
            word = re.sub("[^A-Za-z0-9]+", "_", name)[:40].strip("_")
            word = word if _is_label(word) else f"s{i}"
            word = word if word not in taken else f"{word}_{i}"
            while word in taken:
                word += "_"
            labels[name] = word
            taken.add(word)
    return tuple(labels[name] for name in names)


def _is_label(name: str) -> bool:
    return _LABEL.fullmatch(name) is not None and not _BLOCKS.search(name) and name not in _RESERVED


def _unique_words(nodes: Iterable[Node]) -> dict[Node, str]:
    """Return a different word for every node; some readers ignore case."""
    words: dict[Node, str] = {}
    taken = set(_RESERVED)
    for node in nodes:
        if isinstance(node, str) and _WORD.fullmatch(node) and node.lower() not in taken:
            words[node] = node
            taken.add(node.lower())
    for i, node in enumerate(nodes):
        if node not in words:
            number = node if isinstance(node, int) and 0 <= node < 10**18 else i
            word = f"z{number}"
            while word in taken:
                word += "_"
            words[node] = word
            taken.add(word)
    return words


def _encoded(value: object) -> str:
    """Return percent-encoded JSON; block names are encoded too, since pgmpy searches for them inside properties."""
    text = quote(json.dumps(value), safe="")
    return _BLOCKS.sub(lambda match: f"%{ord(match[0][0]):02X}{match[0][1:]}", text)


def _decoded(text: str, place: str) -> object:
    try:
        return json.loads(unquote(text, errors="strict"))
    except (ValueError, RecursionError):
        raise InputError(f"{place}={show(text)}: must be percent-encoded JSON") from None


def _row(row: Row) -> str:
    return ", ".join(_text(float(value) if isinstance(value, Fraction) else value) for value in row)


def _text(value: Number) -> str:
    return str(value) if isinstance(value, Fraction) else repr(value)
