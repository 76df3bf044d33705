"""Reading the text of BIF files: one pass from left to right, no recursion, time linear in the length.

The grammar is that of F. Cozman's Interchange Format 0.15, as pgmpy, pyAgrum and bnlearn write it: blocks ``network``,
``variable`` and ``probability``; comments ``//`` and ``/* */``; commas between numbers are optional; names are words,
several words (pgmpy) or quoted. In a ``table`` of a conditional law the state of the child runs slowest.
"""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from hltm.base.checks import Number, count, show, suggestion
from hltm.base.errors import InputError
from hltm.number_text import read_number

PROPERTIES = ("hltm_name", "hltm_description", "polarity", "prior", "transition")
STATE_LIMIT = 2**16  # of one variable
WORDS_OF_A_NAME = 64
DEFAULT_LIMIT = 2**20  # table entries that `default` may fill in one file: a short text must not make a huge tree

# Possessive quantifiers never backtrack, so hostile text costs no more than its length.
_SPACE = re.compile(r"(?:\s++|//[^\n]*+)*+")
_TOKEN = re.compile(r'"[^"\n]*+"|[{}()\[\],;|]|(?:[^\s{}()\[\],;|"/]|/(?![/*]))++')
_PROPERTY = re.compile(r'((?:"[^"\n]*+"|[^;"])*+);')


@dataclass
class Variable:
    """One variable: names of its states, properties, its parent if it has one, rows of its table."""

    labels: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    parent: str | None = None
    rows: list[list[Number]] | None = None

    @property
    def states(self) -> int:
        """The number of states."""
        return len(self.labels)


@dataclass
class Network:
    """All variables in the order of the file, and the properties of the network."""

    variables: dict[str, Variable] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)


def parse(text: str) -> Network:
    """Read the text of a BIF file whose variables have at most one parent each.

    Raises
    ------
    InputError
        One line that names the place in the file and the rule.
    """
    return _Parser(text).network()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.place, self.token_at = text, 0, 0
        self.found = Network()
        self.filled = 0

    def network(self) -> Network:
        blocks = {"network": self._network, "variable": self._variable, "probability": self._probability}
        while piece := self._next():
            if piece not in blocks:
                self._fail(piece, "must be 'network', 'variable' or 'probability'")
            blocks[piece]()
        if not self.found.variables:
            raise InputError("not BIF: no block 'variable'")
        return self.found

    def _network(self) -> None:
        self._words("{")
        while (piece := self._next()) != "}":
            if piece != "property":
                self._fail(piece, "must be 'property' or '}' in the block 'network'")
            self._property(self.found.properties, "the network")

    def _variable(self) -> None:
        name = " ".join(self._words("{"))
        if not name:
            self._fail("{", "must be the name of a variable")
        if name in self.found.variables:
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
        self.found.variables[name] = variable

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
        numbers = [str(i) for i in range(len(labels))]
        if set(labels) == set(numbers) and list(labels) != numbers:
            raise InputError(f"variable {show(name)}: states {show(labels)} that are numbers must be in order")
        return labels

    def _probability(self) -> None:
        self._expect("(")
        name, parents = self._family()
        variable = self.found.variables[name]
        if variable.rows is not None:
            self._fail(name, "must not have two blocks 'probability'")
        if len(parents) > 1:
            given = ", ".join(map(show, parents[:8])) + (f", ... ({len(parents):,} in all)" if len(parents) > 8 else "")
            raise InputError(f"node {show(name)} has parents {given}: a node of a tree has one parent")
        variable.parent = parents[0] if parents else None
        above = self.found.variables[variable.parent].labels if variable.parent is not None else ("",)
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
        names = [whole] if (whole := " ".join(words)) in self.found.variables else words
        for name in names:
            if name not in self.found.variables:
                near = suggestion(name, self.found.variables)
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
