"""Reader of BIF text: variables and tables of a Bayesian network, in one pass from left to right without recursion.

A block ``probability`` may come before the variables that it names; it is then read at the end. Variables have at most
one parent each. A table without states of the parent is kept as it is: in which order it stands is decided for the
whole file, in `settle_tables`.
"""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from hltm.base.checks import LARGEST, Number, count, show, suggestion
from hltm.base.errors import InputError
from hltm.reading import Reading, sums_to_one
from hltm.tables import SumError, read_number

NAME = "hltm_name"
STATES = "hltm_states"
PROPERTIES = (NAME, STATES, "hltm_description", "polarity", "prior", "transition")
STATE_LIMIT = 2**16  # of one variable
WORDS_OF_A_NAME = 64
DEFAULT_LIMIT = 2**20  # table entries that `default` may fill in one file: a short text must not make a huge tree

# Possessive quantifiers never backtrack: the time stays linear on hostile text.
_TOKEN = re.compile(
    r"(?:\s++|//[^\n]*+)*+"
    r'("[^"\n]*+"|[{}()\[\],;|]|(?:[^\s{}()\[\],;|"/]++|/(?![/*]))++)?+'
)
# The same by whole lists where no quote and no comment is in the way, which is faster.
_PLAIN = r'[^{}()\[\];|"/]*+'
_NAME = re.compile(r"\s++([\w.-]++)\s*+\{")
_FAMILY = re.compile(r"\s*+\(\s*+([\w.-]++)(?:\s*+\|\s*+([\w.-]++))?+\s*+\)")
_TYPE = re.compile(rf"\s*+discrete\s*+\[\s*+([0-9]{{1,9}})\s*+\]\s*+\{{({_PLAIN})\}}\s*+;")
_ROW = re.compile(rf'([^{{}}()\[\];|"/,]*+)\)({_PLAIN});')
_NUMBERS = re.compile(rf"({_PLAIN});")
_PROPERTY = re.compile(r'((?:"[^"\n]*+"|[^;"])*+);')


@dataclass
class Variable:
    """A variable of a BIF network: names of its states, properties, parent, rows of its table."""

    labels: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    parent: str | None = None
    rows: list[list[Number]] | None = None
    flat: list[Number] | None = None  # a table without states of the parent, of which `settle_tables` makes rows
    places: list[int] = field(default_factory=list)  # of the rows in the text, or of the table

    @property
    def states(self) -> int:
        return len(self.labels)


@dataclass
class Network:
    """The variables in the order of the file, and the properties of the network."""

    variables: dict[str, Variable] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    text: str = ""

    def line(self, variable: Variable, row: int) -> int | None:
        """Return the line of a row of a variable's table."""
        if not variable.places:
            return None
        return self.text.count("\n", 0, variable.places[min(row, len(variable.places) - 1)]) + 1


class _UndeclaredError(Exception):
    """A variable that is not declared yet."""


class Parser:
    """Reader of BIF text whose variables have at most one parent each."""

    def __init__(self, text: str, reading: Reading) -> None:
        self.text, self.place, self.token_at = text, 0, 0
        self.reading = reading
        self.network = Network(text=text)
        self.later: list[int] | None = []
        self.filled = 0

    def read(self) -> Network:
        blocks = {"network": self._network, "variable": self._variable, "probability": self._probability}
        while piece := self._next():
            if piece not in blocks:
                self._fail(piece, "must be 'network', 'variable' or 'probability'")
            blocks[piece]()
        if not self.network.variables:
            raise InputError("not BIF: no block 'variable'")
        later, self.later = self.later or [], None
        for self.place in later:
            self._table_block()
        settle_tables(self.network, self.reading)
        return self.network

    def _network(self) -> None:
        self._words("{")
        while (piece := self._next()) != "}":
            if piece != "property":
                self._fail(piece, "must be 'property' or '}' in the block 'network'")
            self._property(self.network.properties, "the network")

    def _variable(self) -> None:
        if match := _NAME.match(self.text, self.place):
            name = match[1]
            self.place = match.end()
        else:
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
        match = _TYPE.match(self.text, self.place)
        if match and match[2].count(",") < (wanted := int(match[1])) <= STATE_LIMIT:
            parts = match[2].split(",") if "," in match[2] else match[2].split(None, wanted)
            labels = tuple(" ".join(part.split()) for part in parts)
            if len(set(labels)) == len(labels) == wanted and all(labels):
                self.place = match.end()
                return labels
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
        start = self.place
        try:
            self._table_block()
        except _UndeclaredError:
            self.later.append(start)  # type: ignore[union-attr]
            self.place = start
            while (piece := self._next()) != "}":
                if not piece:
                    self._fail("", "must be '}'")
                if piece == "property":
                    self._property({}, "")

    def _table_block(self) -> None:
        match = _FAMILY.match(self.text, self.place)
        if match and all(name in self.network.variables for name in match.groups() if name):
            name, parents = match[1], [match[2]] if match[2] else []
            self.place = match.end()
        else:
            self._expect("(")
            name, parents = self._family()
        variable = self.network.variables[name]
        if variable.rows is not None or variable.flat is not None:
            self._fail(name, "must not have two blocks 'probability'")
        if len(parents) > 1:
            names = ", ".join(map(show, parents[:8])) + (f", ... ({len(parents):,} in all)" if parents[8:] else "")
            raise InputError(f"node {show(name)} has parents {names}: a node of a tree has one parent")
        variable.parent = parents[0] if parents else None
        above = self.network.variables[variable.parent].labels if variable.parent is not None else ("",)
        self._expect("{")
        self._rows(name, variable, above)

    def _rows(self, name: str, variable: Variable, above: tuple[str, ...]) -> None:
        """Read the body of a block: a whole table, or rows by the state of the parent."""
        width, place = variable.states, f"the table of {show(name)}"
        index = {label: i for i, label in enumerate(above)}
        rows: dict[int, list[Number]] = {}
        places: dict[int, int] = {}
        default: list[Number] | None = None
        while (piece := self._next()) != "}":
            if piece == "property":
                self._property(variable.properties, f"variable {show(name)}")
            elif piece == "table" and not rows and variable.flat is None:
                variable.places = [self.token_at]
                variable.flat = self._numbers(width * len(above), place)
            elif piece == "default" and default is None and variable.flat is None:
                variable.places = [self.token_at]
                default = self._numbers(width, place)
            elif piece == "(" and variable.parent is not None and variable.flat is None:
                at = self.token_at
                if match := _ROW.match(self.text, self.place):
                    i = index.get(" ".join(match[1].split()), -1)
                    numbers = self._plain_numbers(match[2], width)
                    if numbers and i >= 0 and i not in rows:
                        rows[i], places[i] = numbers, at
                        self.place = match.end()
                        continue
                state = " ".join(word for group in self._groups(")", 8) for word in group)
                if state not in index:
                    self._fail(state, f"must be a state of {show(variable.parent)}{suggestion(state, index)}")
                if index[state] in rows:
                    self._fail(state, f"must have one row in {place}")
                places[index[state]] = at
                rows[index[state]] = self._numbers(width, place)
            else:
                self._fail(piece, f"must be a row, one 'table', 'property' or '}}' in {place}")
        if variable.flat is None:
            variable.rows = self._complete(rows, default, above, place, width)
            variable.places = [places.get(i, variable.places[0] if variable.places else 0) for i in range(len(above))]

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
                if self.later is not None:  # it may be declared later
                    raise _UndeclaredError
                near = suggestion(name, self.network.variables)
                self._fail(name, f"must be a variable of the file{near}")
        return names

    def _plain_numbers(self, text: str, wanted: int) -> list[Number] | None:
        """Return the numbers of a text, or `None` if they need a closer look."""
        words = text.replace(",", " ").split()
        read = self.reading.number if self.reading.printed else read_number
        numbers = list(map(read, words)) if len(words) == wanted else []
        if not numbers or any(isinstance(value, str) or not -LARGEST <= value <= LARGEST for value in numbers):
            return None
        return numbers  # type: ignore[return-value]

    def _numbers(self, wanted: int, place: str) -> list[Number]:
        if match := _NUMBERS.match(self.text, self.place):
            plain = self._plain_numbers(match[1], wanted)
            if plain:
                self.place = match.end()
                return plain
        numbers: list[Number] = []
        while (piece := self._next()) != ";":
            if piece == ",":
                continue
            if len(numbers) == wanted:
                self._fail(piece, f"{place}: must have {count(wanted)} numbers here, has more")
            value = self.reading.number(piece)
            if isinstance(value, str):
                self._fail(piece, f"{place}: must be a number")
            if isinstance(value, int) and abs(value) > LARGEST:
                self._fail(piece, f"{place}: must be finite in double precision")
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
            match = _TOKEN.match(text, self.place)
            if piece := match[1]:  # type: ignore[index]
                self.place = match.end()  # type: ignore[union-attr]
                self.token_at = self.place - len(piece)
                return piece
            self.place = self.token_at = match.end()  # type: ignore[union-attr]
            if self.place == len(text):
                return ""
            if not text.startswith("/*", self.place):
                self._fail('"', "must be closed by '\"' on the same line")
            end = text.find("*/", self.place + 2)
            if end < 0:
                self._fail("/*", "must be closed by '*/'")
            self.place = end + 2

    def _fail(self, piece: str, rule: str) -> NoReturn:
        line = self.text.count("\n", 0, self.token_at) + 1
        what = show(piece) if piece else "nothing" if self.place < len(self.text) else "the end of the file"
        raise InputError(f"line {line}: {what}: {rule}")


def settle_tables(network: Network, reading: Reading) -> None:
    """Make rows of the tables that stand without states of the parent.

    BIF has the state of the child slowest. Some programs write the state of the parent slowest: a table is read so if
    its rows sum to one in that order alone, where rows that are not rounded come before rounded ones. A file that has
    such a table does not follow BIF, so a table that fits both orders is refused there, unless both are equal.
    """
    other, both = [], []
    for name, variable in network.variables.items():
        flat, width = variable.flat, variable.states
        if flat is None:
            continue
        above = len(flat) // width
        by_child = [flat[i::above] for i in range(above)]
        by_parent = [flat[i : i + width] for i in range(0, len(flat), width)]
        variable.rows = by_child
        if by_child == by_parent:
            continue
        exact = [all(map(sums_to_one, rows)) for rows in (by_child, by_parent)]
        if not any(exact) and not reading.printed and not reading.strict:
            raise SumError(f"the table of {show(name)} does not sum to one")  # read once more, with digits
        fits = [all(map(reading.fits, rows)) for rows in (by_child, by_parent)]
        if exact == [False, True] or fits == [False, True]:
            variable.rows = by_parent
            other.append(name)
        elif all(fits):
            both.append((name, variable))
    if other and both:
        name, variable = both[0]
        raise InputError(
            f"the table of {show(name)}, line {network.line(variable, 0)}: its rows sum to one in both orders, and the "
            f"table of {show(other[0])} has the parent's state slowest, against BIF; write rows '( state ) numbers'"
        )
    if other:
        more = f" and {len(other) - 1:,} more" if len(other) > 1 else ""
        reading.notes.append(
            f"the table of {show(other[0])}{more} has the parent's state slowest, since its rows sum to one only so"
        )


def _unquoted(piece: str) -> str:
    return piece[1:-1].strip() if piece.startswith('"') else piece
