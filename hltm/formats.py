"""Trees from the Bayesian network files of other programs: XMLBIF, GeNIe's XDSL, Hugin's NET, UAI.

These formats are read and not written. Variables stand in the order of the file, state k is the k-th in the list of a
variable, except that states named 0, 1, ... are in the order of these numbers. UAI has no names: its nodes are called
0, 1, ... Positions, labels, colours and properties are skipped.

The readers are our own, since those of pgmpy 1.1 and pyAgrum 3.3 read some files as another law, with no warning: pgmpy
mixes up the entries of a UAI table, and pyAgrum those of tables that are not in the order of the variables; both leave
out the nodes of an XDSL file that have no plain table; pyAgrum sorts the states of its own XMLBIF files if they are
integers, drops surplus rows of NET, keeps its numbers in single precision, and ends the process on deep nesting. They
read the files that the libraries write, and the tests hold them against each other. Each makes one pass, without
recursion, in time linear in the length of the text.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from hltm.base.checks import Number, count, show, suggestion
from hltm.base.errors import InputError
from hltm.base.xml import DEPTH, XMLReader
from hltm.bif import tree_of
from hltm.bif_reader import DEFAULT_LIMIT, STATE_LIMIT, Network, Variable
from hltm.graphml import from_graphml
from hltm.reading import Reading
from hltm.tables import numbered
from hltm.tree import HLTM

NODES = 64  # of one table: a longer list is refused before it is read

_ELEMENT = re.compile(r"<!--(?:(?!-->).)*+|<(?:[\w.-]++:)?([A-Za-z]\w*+)", re.DOTALL)  # or a comment


def from_xml(text: str, reading: Reading) -> HLTM:
    """Build a tree from XML: GraphML or XMLBIF, which the first element tells."""
    first = next((match[1] for match in _ELEMENT.finditer(text) if match[1]), "")
    return from_graphml(text, reading) if first == "graphml" else from_xmlbif(text, reading)


def from_xmlbif(text: str, reading: Reading) -> HLTM:
    """Build a tree from the XML of XMLBIF (JavaBayes, Weka, SamIam, pgmpy, pyAgrum)."""
    document = _XMLBIF(reading)
    document.parse(text)
    return document.tables.tree()


def from_xdsl(text: str, reading: Reading) -> HLTM:
    """Build a tree from the XML of GeNIe and SMILE."""
    document = _XDSL(reading)
    document.parse(text)
    return document.tables.tree()


def from_net(text: str, reading: Reading) -> HLTM:
    """Build a tree from the text of a Hugin network."""
    return _NET(text, reading).read().tree()


def from_uai(text: str, reading: Reading) -> HLTM:
    """Build a tree from a Bayesian network in the format of the UAI competitions."""
    return _uai(text, reading).tree()


def from_newick(text: str, reading: Reading) -> HLTM:
    """Refuse a tree that has lengths and no tables."""
    raise InputError(
        "Newick has the shape of a tree and lengths, but no prior and no tables: read it with Bio.Phylo "
        "(Phylo.to_networkx), give edges 'polarity' or 'transition' and the root a 'prior', and make an hltm.HLTM"
    )


class _Network(Network):
    """A network whose variables know the lines of their tables."""

    def line(self, variable: Variable, _: int) -> int | None:
        return variable.places[0] or None


@dataclass
class _Tables:
    """The variables and tables of a file in any order."""

    reading: Reading
    states: dict[Any, tuple[str, ...]] = field(default_factory=dict)
    tables: dict[Any, tuple[list[Any], list[Number]]] = field(default_factory=dict)
    lines: dict[Any, int] = field(default_factory=dict)

    def add_variable(self, name: Any, states: Sequence[str]) -> None:
        if name in self.states:
            raise InputError(f"node {show(name)}: must not be declared twice")
        self.states[name] = tuple(states)

    def add_table(self, name: Any, parents: list[Any], values: list[Number], line: int | None = None) -> None:
        if name in self.tables:
            raise InputError(f"node {show(name)}{_at(line)}: must not have two tables")
        self.tables[name] = parents, values
        if line is not None:
            self.lines[name] = line

    def number(self, word: str, name: Any) -> Number:
        value = self.reading.number(word)
        if isinstance(value, str):
            raise InputError(f"table of {show(name)}: {show(word)} must be a number")
        return value

    def tree(self) -> HLTM:
        """Build the tree; the first state of the child varies fastest in a table."""
        network = _Network()
        for name in self.tables:
            self._known(name, "a table")
        for name, states in self.states.items():
            if name not in self.tables:
                raise InputError(f"node {show(name)}: has no table")
            parents, values = self.tables[name]
            if len(parents) > 1:
                raise InputError(_two_parents(name, parents))
            above = parents[0] if parents else None
            rows = 1 if above is None else len(self.states[self._known(above, f"a parent of {show(name)}")])
            if len(values) != rows * len(states):
                wanted = f"must have {count(rows * len(states))} numbers, has {len(values):,}"
                raise InputError(f"table of {show(name)}{_at(self.lines.get(name))}: {wanted}")
            width = len(states)
            table = [values[i * width : (i + 1) * width] for i in range(rows)]
            network.variables[name] = Variable(states, {}, above, table, places=[self.lines.get(name, 0)])
        if not network.variables:
            raise InputError("no variables: a tree has at least two")
        return tree_of(network, self.reading)

    def _known(self, name: Any, what: str) -> Any:
        if name not in self.states:
            near = suggestion(name, self.states)
            raise InputError(f"{show(name)}, {what}: must be a variable of the file{near}")
        return name


def _at(line: int | None) -> str:
    return f", line {line}" if line else ""


def _two_parents(name: Any, parents: Sequence[Any]) -> str:
    more = f", ... ({len(parents):,} in all)" if parents[8:] else ""
    return f"node {show(name)} has parents {', '.join(map(show, parents[:8]))}{more}: a node of a tree has one parent"


_INSIDE = {
    "BIF": "",
    "NETWORK": "BIF",
    "VARIABLE": "NETWORK",
    "OUTCOME": "VARIABLE",
    "DEFINITION": "NETWORK",
    "FOR": "DEFINITION",
    "GIVEN": "DEFINITION",
    "TABLE": "DEFINITION",
}


class _XMLBIF(XMLReader):
    """The elements of one document of XMLBIF."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(separator=None)
        self.tables = _Tables(reading)
        self._clear()

    def _clear(self) -> None:
        self.names: list[str] = []
        self.parents: list[str] = []
        self.states: list[str] = []
        self.text: str | None = None

    def doctype(self, name: str, *_: object) -> None:
        """Allow the declaration of the elements that the format prescribes; entities are refused."""

    def start(self, tag: str, attributes: dict[str, str]) -> bool:
        above = self.open[-1] if self.open else ""
        if not self.open and tag != "BIF":
            raise InputError(f"element {show(tag)} at the top, line {self.line}: not XMLBIF, must be 'BIF'")
        if tag == "VARIABLE" and attributes.get("TYPE", "nature") != "nature":
            raise InputError(f"TYPE={show(attributes['TYPE'])} of a variable, line {self.line}: must be 'nature'")
        if tag in ("VARIABLE", "DEFINITION"):
            self._clear()
        return (tag == "NAME" and above == "VARIABLE") or _INSIDE.get(tag) == above

    def end(self, tag: str, text: str) -> None:
        if tag in ("NAME", "FOR"):
            self.names.append(text.strip())
        elif tag == "GIVEN":
            self.parents.append(text.strip())
        elif tag == "OUTCOME":
            self.states.append(text.strip())
        elif tag == "TABLE":
            if self.text is not None:
                raise InputError(f"element 'TABLE', line {self.line}: must be one in a definition")
            self.text = text
        elif tag in ("VARIABLE", "DEFINITION"):
            if len(self.names) != 1 or not self.names[0]:
                wanted = "NAME" if tag == "VARIABLE" else "FOR"
                raise InputError(f"element '{tag}', line {self.line}: must have one '{wanted}'")
            if tag == "VARIABLE":
                self.tables.add_variable(self.names[0], self.states)
            elif self.text is None:
                raise InputError(f"table of {show(self.names[0])}, line {self.line}: needs an element 'TABLE'")
            else:
                values = [self.tables.number(word, self.names[0]) for word in self.text.split()]
                self.tables.add_table(self.names[0], self.parents, values, self.line)


_KINDS = ("cpt", "deterministic")
_PARTS = ("state", "parents", "probabilities", "resultingstates")


class _XDSL(XMLReader):
    """The elements of one document of GeNIe."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(separator=None)
        self.tables = _Tables(reading)
        self.name = ""
        self.states: list[str] = []
        self.texts: dict[str, str] = {}
        self.filled = 0

    def start(self, tag: str, attributes: dict[str, str]) -> bool:
        if not self.open:
            if tag != "smile":
                raise InputError(f"element {show(tag)} at the top, line {self.line}: not XDSL, must be 'smile'")
            return True
        above = self.open[-1]
        if above == "smile":
            if tag == "dynamic":
                raise InputError(
                    f"element 'dynamic', line {self.line}: a network over time is no tree; GeNIe unrolls it"
                )
            return tag == "nodes"
        if above == "nodes":
            self.name = attributes.get("id", "")
            if tag not in _KINDS:
                kind = f"{show(tag)} of node {show(self.name)}, line {self.line}"
                raise InputError(f"{kind}: must be 'cpt', a chance node with a table; GeNIe changes the type of a node")
            if not self.name:
                raise InputError(f"element {show(tag)}, line {self.line}: needs the attribute 'id'")
            self.states, self.texts = [], {}
            return True
        if tag == "state":
            if "id" not in attributes:
                raise InputError(
                    f"element 'state' of node {show(self.name)}, line {self.line}: needs the attribute 'id'"
                )
            self.states.append(attributes["id"])
        return above in _KINDS and tag in _PARTS

    def end(self, tag: str, text: str) -> None:
        if tag in _PARTS:
            if tag in self.texts and tag != "state":
                raise InputError(f"element '{tag}' of node {show(self.name)}, line {self.line}: must be one")
            self.texts[tag] = text
        elif tag in _KINDS:
            self.tables.add_variable(self.name, self.states)
            parents = self.texts.get("parents", "").split()
            if tag == "cpt":
                values = [self.tables.number(word, self.name) for word in self.texts.get("probabilities", "").split()]
            else:
                values = self._one_hot(self.texts.get("resultingstates", "").split())
            self.tables.add_table(self.name, parents, values, self.line)

    def _one_hot(self, chosen: list[str]) -> list[Number]:
        """Return the table of a deterministic node: the state that is certain for each state of its parent."""
        index = {state: i for i, state in enumerate(self.states)}
        self.filled += len(chosen) * len(index)
        if self.filled > DEFAULT_LIMIT:
            raise InputError(f"deterministic nodes must fill at most {count(DEFAULT_LIMIT)} entries of a file")
        values: list[Number] = []
        for state in chosen:
            if state not in index:
                raise InputError(f"{show(state)}, line {self.line}: must be a state of {show(self.name)}")
            values += [int(i == index[state]) for i in range(len(index))]
        return values


# Possessive quantifiers never backtrack: the time stays linear on hostile text.
_NET_TOKEN = re.compile(r'(?:%[^\n]*+\s*+)++|"(?:[^"\\]|\\.)*+"|[{}()=;|,]|[^\s{}()=;|,"%]++|"', re.DOTALL)


class _NET:
    """Reader of the text of a Hugin network."""

    def __init__(self, text: str, reading: Reading) -> None:
        self.text = text
        self.tokens = _NET_TOKEN.finditer(text)
        self.place = 0
        self.line_at = (0, 1)  # a place in the text and its line
        self.tables = _Tables(reading)

    def read(self) -> _Tables:
        depth = 0  # of the block of a class, around all others
        while piece := self._next():
            if piece == "class" and not depth:
                self._next()
                self._expect("{")
                depth = 1
            elif piece == "}" and depth:
                depth = 0
            elif piece == "net":
                self._expect("{")
                self._attributes()
            elif piece in ("node", "discrete"):
                self._node(piece)
            elif piece == "potential":
                self._potential()
            elif depth and re.fullmatch(r"\w+", piece):  # inputs and outputs of a class
                self._expect("=")
                self._skip_value()
            else:
                self._fail(piece, "must be 'net', 'node' or 'potential', of discrete nodes")
        return self.tables

    def _node(self, piece: str) -> None:
        if piece == "discrete":
            self._expect("node")
        name = _unquoted(self._next())
        self._expect("{")
        states = self._attributes().get("states")
        if states is None:
            self._fail(name, "a node needs 'states'")
        self.tables.add_variable(name, [_unquoted(state) for state in states])

    def _potential(self) -> None:
        self._expect("(")
        words: list[list[str]] = [[]]
        while (piece := self._next()) != ")":
            if piece == "|" and len(words) == 1:
                words.append([])
            elif piece in ("", "{", "}", "(", "=", ";", "|"):
                self._fail(piece, "must be a node, '|' or ')'")
            elif piece != ",":
                words[-1].append(_unquoted(piece))
            if len(words[-1]) > NODES:
                self._fail(piece, "too many nodes: a node of a tree has one parent")
        if len(words[0]) != 1:
            self._fail(piece, "must have one node before '|'")
        name, line = words[0][0], self._line()
        self._expect("{")
        nodes = list(itertools.chain(*words))
        known = [len(self.tables.states[node]) for node in nodes if node in self.tables.states]
        limit = math.prod(known) if len(known) == len(nodes) else DEFAULT_LIMIT
        data = self._attributes(limit).get("data")
        if data is None:
            self._fail(name, "a potential needs 'data'")
        values = [self.tables.number(word, name) for word in data]
        self.tables.add_table(name, words[1] if words[1:] else [], values, line)

    def _attributes(self, limit: int = STATE_LIMIT) -> dict[str, list[str]]:
        """Read ``name = value ;`` up to the end of the block; the values of `states` and `data` are kept."""
        kept: dict[str, list[str]] = {}
        while (piece := self._next()) != "}":
            if piece in ("", "{", "(", ")", "=", ";", "|"):
                self._fail(piece, "must be the name of an attribute or '}'")
            self._expect("=")
            if piece not in ("states", "data"):
                self._skip_value()
            elif piece in kept:
                self._fail(piece, "must not be given twice")
            else:
                kept[piece] = self._list(piece, limit)
        return kept

    def _list(self, name: str, limit: int) -> list[str]:
        """Read a list in brackets, without its inner brackets."""
        words: list[str] = []
        self._expect("(")
        depth = 1
        while depth:
            piece = self._next()
            if piece in "()":
                depth += (piece == "(") - (piece == ")")
                if not piece:
                    self._fail(piece, f"'{name}' must end with ')'")
                if depth > DEPTH:
                    self._fail(piece, f"'{name}' is nested too deeply, in more than {DEPTH} brackets")
            elif piece in ("{", "}", "=", ";", "|"):
                self._fail(piece, f"'{name}' must be a list in brackets")
            elif piece != ",":
                words.append(piece)
                if len(words) > limit:
                    self._fail(piece, f"'{name}' must have at most {count(limit)} entries here")
        self._expect(";")
        return words

    def _skip_value(self) -> None:
        while (piece := self._next()) != ";":
            if piece in ("", "{", "}"):
                self._fail(piece, "must be ';'")

    def _expect(self, wanted: str) -> None:
        if (piece := self._next()) != wanted:
            self._fail(piece, f"must be '{wanted}'")

    def _next(self) -> str:
        """Return the next token, the empty text at the end of the file."""
        for match in self.tokens:
            self.place = match.start()
            if match[0] == '"':
                self._fail('"', "must be closed by '\"'")
            if not match[0].startswith("%"):
                return match[0]
        self.place = len(self.text)
        return ""

    def _line(self) -> int:
        place, line = self.line_at
        self.line_at = self.place, line + self.text.count("\n", place, self.place)
        return self.line_at[1]

    def _fail(self, piece: str, rule: str) -> NoReturn:
        raise InputError(f"line {self._line()}: {show(piece) if piece else 'the end of the file'}: {rule}")


def _unquoted(piece: str) -> str:
    return piece[1:-1].strip() if piece.startswith('"') else piece


def _uai(text: str, reading: Reading) -> _Tables:
    """Read the variables, then the scope of each table with the child last, then the tables."""
    words = (match[0] for match in re.finditer(r"[^\s#]++|(?:#[^\n]*+\s*+)++", text) if match[0][0] != "#")
    kind = next(words, "")
    if kind != "BAYES":
        raise InputError(f"{show(kind) if kind else 'the end of the file'}: must be 'BAYES', a Bayesian network")
    limit = len(text)
    nodes = _integer(words, "the number of variables", limit)
    sizes = [_integer(words, f"the number of states of variable {i}", STATE_LIMIT) for i in range(nodes)]
    if _integer(words, "the number of tables", limit) != nodes:
        raise InputError(f"the number of tables must be {nodes:,}, one for each variable")
    tables = _Tables(reading)
    scopes = []
    for i in range(nodes):
        length = _integer(words, f"the number of variables in table {i}", nodes)
        *parents, child = [_integer(words, f"a variable in table {i}", nodes - 1) for _ in range(max(length, 1))]
        scopes.append((child, parents))
    for i, (child, parents) in enumerate(scopes):
        if len(parents) > 1:
            raise InputError(_two_parents(child, parents))
        wanted = sizes[child] * (sizes[parents[0]] if parents else 1)
        if (entries := _integer(words, f"the number of entries of table {i}", limit)) != wanted:
            raise InputError(f"table {i}, of node {child}: must have {count(wanted)} entries, has {count(entries)}")
        values = [tables.number(word, child) for _, word in zip(range(entries), words, strict=False)]
        if len(values) < entries:
            raise InputError(f"table {i}, of node {child}: must have {count(entries)} numbers, has {len(values):,}")
        tables.add_table(child, parents, values)
    for i, size in enumerate(sizes):
        tables.add_variable(i, numbered(size))
    if (word := next(words, None)) is not None:
        raise InputError(f"{show(word)}: must be the end of the file")
    return tables


def _integer(words: Iterator[str], what: str, limit: int) -> int:
    word = next(words, "")
    if not re.fullmatch("[0-9]{1,9}", word) or int(word) > limit:
        shown = show(word) if word else "the end of the file"
        raise InputError(f"{what}: must be an integer of at most {count(limit)}, got {shown}")
    return int(word)
