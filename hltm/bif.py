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

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NoReturn
from urllib.parse import quote, unquote

from hltm.base.checks import Node, Number, count, halves, number, polarity, show, suggestion
from hltm.base.errors import InputError
from hltm.nodelink import tree_from_json
from hltm.tables import GRAPH_ATTRIBUTES, Names, Row, numbered, read_number, state_names
from hltm.tree import HLTM

NAME = "hltm_name"
STATES = "hltm_states"
PROPERTIES = (NAME, STATES, "hltm_description", "polarity", "prior", "transition")
STATE_LIMIT = 2**16  # of one variable
WORDS_OF_A_NAME = 64
DEFAULT_LIMIT = 2**20  # table entries that `default` may fill in one file: a short text must not make a huge tree

# Possessive quantifiers never backtrack: the time stays linear on hostile text.
_SPACE = re.compile(r"(?:\s++|//[^\n]*+)*+")
_TOKEN = re.compile(r'"[^"\n]*+"|[{}()\[\],;|]|(?:[^\s{}()\[\],;|"/]|/(?![/*]))++')
_PROPERTY = re.compile(r'((?:"[^"\n]*+"|[^;"])*+);')


@dataclass
class Variable:
    """A variable of a BIF network: names of its states, properties, parent, rows of its table."""

    labels: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    parent: str | None = None
    rows: list[list[Number]] | None = None

    @property
    def states(self) -> int:
        return len(self.labels)


@dataclass
class Network:
    """The variables in the order of the file, and the properties of the network."""

    variables: dict[str, Variable] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)


class _Parser:
    """Reader of BIF text whose variables have at most one parent each."""

    def __init__(self, text: str) -> None:
        self.text, self.place, self.token_at = text, 0, 0
        self.network = Network()
        self.filled = 0

    def read(self) -> Network:
        blocks = {"network": self._network, "variable": self._variable, "probability": self._probability}
        while piece := self._next():
            if piece not in blocks:
                self._fail(piece, "must be 'network', 'variable' or 'probability'")
            blocks[piece]()
        if not self.network.variables:
            raise InputError("not BIF: no block 'variable'")
        return self.network

    def _network(self) -> None:
        self._words("{")
        while (piece := self._next()) != "}":
            if piece != "property":
                self._fail(piece, "must be 'property' or '}' in the block 'network'")
            self._property(self.network.properties, "the network")

    def _variable(self) -> None:
        name = " ".join(self._words("{"))
        if not name:
            self._fail("{", "must be the name of a variable")
        if name in self.network.variables:
            self._fail(name, "must not be declared twice")
        variable = Variable()
        while (piece := self._next()) != "}":
            if piece == "property":
                self._property(variable.properties, f"variable {show(name)}")
            elif piece == "type" and not variable.labels:
                variable.labels = self._states(name)
            else:
                self._fail(piece, f"must be one 'type', 'property' or '}}' in variable {show(name)}")
        if not variable.labels:
            self._fail("}", f"variable {show(name)} needs a 'type'")
        self.network.variables[name] = variable

    def _states(self, name: str) -> tuple[str, ...]:
        kind = self._next()
        if kind != "discrete":
            self._fail(kind, f"type of variable {show(name)}: must be 'discrete'")
        self._expect("[")
        declared = self._next()
        if not declared.isascii() or not declared.isdigit() or len(declared) > 9 or int(declared) > STATE_LIMIT:
            self._fail(declared, f"states of variable {show(name)}: must be a count of at most {count(STATE_LIMIT)}")
        self._expect("]")
        self._expect("{")
        groups = self._groups("}", int(declared))
        self._expect(";")
        labels = tuple(" ".join(group) for group in groups)
        if len(groups) == 1 and len(labels) < int(declared):
            labels = tuple(groups[0])  # commas are optional
        if len(labels) != int(declared):
            raise InputError(f"variable {show(name)}: declares {count(int(declared))} states, names {len(labels):,}")
        if len(set(labels)) < len(labels):
            raise InputError(f"variable {show(name)}: two states must not have the same name, got {show(labels)}")
        return labels

    def _probability(self) -> None:
        self._expect("(")
        name, parents = self._family()
        variable = self.network.variables[name]
        if variable.rows is not None:
            self._fail(name, "must not have two blocks 'probability'")
        if len(parents) > 1:
            names = ", ".join(map(show, parents[:8])) + (f", ... ({len(parents):,} in all)" if parents[8:] else "")
            raise InputError(f"node {show(name)} has parents {names}: a node of a tree has one parent")
        variable.parent = parents[0] if parents else None
        above = self.network.variables[variable.parent].labels if variable.parent is not None else ("",)
        self._expect("{")
        variable.rows = self._rows(name, variable, above)

    def _rows(self, name: str, variable: Variable, above: tuple[str, ...]) -> list[list[Number]]:
        """Read the body of a block: a whole table, or rows by the state of the parent."""
        width, place = variable.states, f"the table of {show(name)}"
        index = {label: i for i, label in enumerate(above)}
        rows: dict[int, list[Number]] = {}
        default: list[Number] | None = None
        while (piece := self._next()) != "}":
            if piece == "property":
                self._property(variable.properties, f"variable {show(name)}")
            elif piece == "table" and not rows:
                flat = self._numbers(width * len(above), place)
                rows = {i: flat[i :: len(above)] for i in range(len(above))}
            elif piece == "default" and default is None:
                default = self._numbers(width, place)
            elif piece == "(" and variable.parent is not None:
                state = " ".join(word for group in self._groups(")", 8) for word in group)
                if state not in index:
                    self._fail(state, f"must be a state of {show(variable.parent)}{suggestion(state, index)}")
                if index[state] in rows:
                    self._fail(state, f"must have one row in {place}")
                rows[index[state]] = self._numbers(width, place)
            else:
                self._fail(piece, f"must be a row, one 'table', 'property' or '}}' in {place}")
        return self._complete(rows, default, above, place, width)

    def _complete(
        self,
        rows: dict[int, list[Number]],
        default: list[Number] | None,
        above: tuple[str, ...],
        place: str,
        width: int,
    ) -> list[list[Number]]:
        missing = len(above) - len(rows)
        if missing and default is None:
            gap = next(i for i in range(len(above)) if i not in rows)
            raise InputError(
                f"{place}: has no row" + (f" for state {show(above[gap])} of the parent" if above[gap] else "")
            )
        self.filled += missing * width
        if missing and self.filled > DEFAULT_LIMIT:
            raise InputError(f"{place}: 'default' must fill at most {count(DEFAULT_LIMIT)} entries of a file")
        return [rows[i] if i in rows else list(default or ()) for i in range(len(above))]

    def _family(self) -> tuple[str, list[str]]:
        """Read ``child | parents )``; without a bar the first word is the child."""
        words: list[list[str]] = [[]]
        bar = 0
        while (piece := self._next()) != ")":
            if piece == "|" and not bar:
                bar = len(words)
                words.append([])
            elif piece == ",":
                words.append([])
            elif piece in "{}[];|(":  # the empty text too: the end of the file
                self._fail(piece, "must be a variable, ',', '|' or ')'")
            else:
                words[-1].append(_unquoted(piece))
            if len(words) > WORDS_OF_A_NAME or len(words[-1]) > WORDS_OF_A_NAME:
                child = (words[0] or [""])[0]
                raise InputError(f"node {show(child)} has too many parents: a node of a tree has one parent")
        groups = [name for group in words for name in self._known(group)]
        if not groups:
            self._fail(")", "needs a variable")
        if bar > 1 or (bar and len(self._known(words[0])) != 1):
            self._fail(piece, "must have one variable before '|'")
        return groups[0], groups[1:]

    def _known(self, words: list[str]) -> list[str]:
        """Return the variable that the words name together, or the variables that they name one by one."""
        names = [whole] if (whole := " ".join(words)) in self.network.variables else words
        for name in names:
            if name not in self.network.variables:
                near = suggestion(name, self.network.variables)
                self._fail(name, f"must be a variable that was declared before{near}")
        return names

    def _numbers(self, wanted: int, place: str) -> list[Number]:
        numbers: list[Number] = []
        while (piece := self._next()) != ";":
            if piece == ",":
                continue
            if len(numbers) == wanted:
                self._fail(piece, f"{place}: must have {count(wanted)} numbers here, has more")
            value = read_number(piece)
            if isinstance(value, str):
                self._fail(piece, f"{place}: must be a number")
            numbers.append(value)
        if len(numbers) < wanted:
            self._fail(";", f"{place}: must have {count(wanted)} numbers here, has {len(numbers):,}")
        return numbers

    def _property(self, into: dict[str, str], owner: str) -> None:
        match = _PROPERTY.match(self.text, self.place)
        if not match:
            self._fail("property", "must end with ';'")
        self.place = match.end()
        words = match[1].replace("=", " ", 1).split(None, 1)
        if len(words) == 2 and words[0] in PROPERTIES:
            if words[0] in into:
                raise InputError(f"property {words[0]} of {owner}: must not be given twice")
            into[words[0]] = words[1].strip()

    def _words(self, end: str) -> list[str]:
        """Return the words up to the token `end`."""
        words: list[str] = []
        while (piece := self._next()) != end:
            if not piece or piece in "{}()[],;|" or len(words) >= WORDS_OF_A_NAME:
                self._fail(piece, f"must be a name or '{end}'")
            words.append(_unquoted(piece))
        return words

    def _groups(self, end: str, limit: int) -> list[list[str]]:
        """Return the words up to the token `end`, grouped by commas; too many are refused before all are read."""
        groups: list[list[str]] = [[]]
        while (piece := self._next()) != end:
            if not piece or piece in "{}()[];|":
                self._fail(piece, f"must be a name, ',' or '{end}'")
            if piece == ",":
                groups.append([])
            else:
                groups[-1].append(_unquoted(piece))
            if len(groups) > limit + 1 or len(groups[-1]) > (
                max(limit, WORDS_OF_A_NAME) if len(groups) == 1 else WORDS_OF_A_NAME
            ):
                self._fail(piece, f"must be '{end}' after {count(limit)} names")
        return [group for group in groups if group]

    def _expect(self, wanted: str) -> None:
        if (piece := self._next()) != wanted:
            self._fail(piece, f"must be '{wanted}'")

    def _next(self) -> str:
        """Return the next token, the empty text at the end of the file."""
        text = self.text
        while True:
            self.place = self.token_at = _SPACE.match(text, self.place).end()  # type: ignore[union-attr]
            if not text.startswith("/*", self.place):
                break
            end = text.find("*/", self.place + 2)
            if end < 0:
                self._fail("/*", "must be closed by '*/'")
            self.place = end + 2
        match = _TOKEN.match(text, self.place)
        if match:
            self.place = match.end()
            return match[0]
        if self.place < len(text):
            self._fail('"', "must be closed by '\"' on the same line")
        return ""

    def _fail(self, piece: str, rule: str) -> NoReturn:
        line = self.text.count("\n", 0, self.token_at) + 1
        what = show(piece) if piece else "nothing" if self.place < len(self.text) else "the end of the file"
        raise InputError(f"line {line}: {what}: {rule}")


def _unquoted(piece: str) -> str:
    return piece[1:-1].strip() if piece.startswith('"') else piece


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


def from_bif(text: str) -> HLTM:
    """Build a tree from the text of a BIF file; one of another tool is read if its network is a tree."""
    return tree_of(_Parser(text).read())


def tree_of(network: Network) -> HLTM:
    """Build a tree from the variables of a Bayesian network."""
    _put_numbers_in_order(network)
    names = {name: _name(name, variable) for name, variable in network.variables.items()}
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    for name, variable in network.variables.items():
        if variable.rows is None:
            raise InputError(f"variable {show(name)}: has no block 'probability'")
        nodes.append({"id": names[name], "cardinality": variable.states, "states": list(_state_names(name, variable))})
        if variable.parent is None:
            nodes[-1]["prior"] = _exact_rows(name, variable, "prior", variable.rows)[0]
        else:
            ends = {"source": names[variable.parent], "target": names[name]}
            edges.append(ends | _edge_values(network, name))
    texts = {
        key: _decoded(network.properties[name], f"property {name} of the network")
        for key in GRAPH_ATTRIBUTES
        if (name := f"hltm_{key}") in network.properties
    }
    return tree_from_json({"graph": texts, "nodes": nodes, "edges": edges})


def _put_numbers_in_order(network: Network) -> None:
    """Sort states that are called 0, 1, ... in another order: state k is the one of this name."""
    orders = {}
    for name, variable in network.variables.items():
        numbers = numbered(variable.states)
        if variable.labels != numbers and set(variable.labels) == set(numbers):
            place = {label: i for i, label in enumerate(variable.labels)}
            orders[name] = [place[number] for number in numbers]
            variable.labels = numbers
    for name, variable in network.variables.items():
        rows = variable.rows
        if rows is not None and variable.parent in orders:
            rows = [rows[i] for i in orders[variable.parent]]
        if rows is not None and name in orders:
            rows = [[row[i] for i in orders[name]] for row in rows]
        variable.rows = rows


def _edge_values(network: Network, name: str) -> dict[str, Any]:
    """Return the table of the edge to a variable, or the polarity if a property has it."""
    variable = network.variables[name]
    rows = variable.rows or []
    if "polarity" not in variable.properties:
        return {"transition": _exact_rows(name, variable, "transition", rows)}
    (value,) = _numbers(variable.properties["polarity"], f"property polarity of {show(name)}", 1)
    low, high = halves(polarity(value, f"property polarity of {show(name)}"))
    _agree(name, "polarity", [(high, low), (low, high)], rows)
    return {"polarity": value}


def _exact_rows(name: str, variable: Variable, key: str, rows: list[list[Number]]) -> list[list[Number]]:
    """Return the rows of a property, which are exact, or those of the table if there is no property."""
    if key not in variable.properties:
        return rows
    place = f"property {key} of {show(name)}"
    parts = variable.properties[key].split(",", len(rows))
    exact = [_numbers(part, place, variable.states) for part in parts]
    _agree(name, key, exact, rows)
    return exact


def _agree(name: str, key: str, exact: Sequence[Sequence[Number]], rows: Sequence[Sequence[Number]]) -> None:
    """Refuse a property that does not agree with the table: only one of them was edited."""
    nearest = [[float(value) for value in row] for row in exact]
    if nearest != [[float(value) for value in row] for row in rows]:
        raise InputError(f"property {key} of {show(name)}: must agree with the table")


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
