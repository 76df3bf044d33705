r"""Structure of a paper: its definitions with their scopes, its displays, and its labels of exported formulas.

Macros are written out here only where they open or close environments or hold labels. Source: statement 6
(arXiv 2010.00578).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from theory.paper.tokens import Tokens, letters

_COMMANDS = {"\\newcommand", "\\renewcommand", "\\providecommand", "\\DeclareRobustCommand"}
_DOCUMENT_COMMANDS = {f"\\{start}DocumentCommand" for start in ("New", "Renew", "Provide", "Declare")}
_DEFS = {"\\def", "\\gdef", "\\edef", "\\xdef"}
_ENVIRONMENTS = {"\\newenvironment", "\\renewenvironment"}
_OPERATORS = {"\\DeclareMathOperator"}
DEFINING = _COMMANDS | _DOCUMENT_COMMANDS | _DEFS | _ENVIRONMENTS | _OPERATORS | {"\\let"}
_STRUCTURE = {"\\begin", "\\end", "\\label", "\\[", "\\]"}
DISPLAYS = {
    name + star
    for name in (
        "equation", "align", "gather", "multline", "flalign", "alignat", "xalignat", "xxalignat", "eqnarray",
        "IEEEeqnarray", "dmath", "displaymath", "math",
    )
    for star in ("", "*")
}  # fmt: skip
WRAPPERS = {"subequations", "dgroup", "dgroup*"}
_REFERENCES = {"\\ref", "\\eqref", "\\cref", "\\Cref", "\\autoref", "\\cpageref", "\\pageref", "\\labelcref", "\\vref"}
# Tokens that macros may be written out to, in a whole paper.
BUDGET = 200_000


class Builtin(str):
    r"""A command that ``\let`` saved: it has the meaning of TeX, whatever the paper defines later."""

    __slots__ = ()


@dataclass(frozen=True)
class Definition:
    r"""A macro of a paper: its number of arguments (None for a form that is not read) and its meaning."""

    count: int | None
    meaning: tuple[str, ...]
    default: tuple[str, ...] | None = None
    doubtful: bool = False  # inside of a condition that is not known, or of an argument
    end: tuple[str, ...] = ()  # of an environment


@dataclass
class Display:
    r"""An environment of the paper, from behind its ``\\begin`` to before its ``\\end``."""

    name: str
    start: int
    end: int | None = None
    inner: list["Display"] = field(default_factory=list)
    hidden: bool = False  # in an argument of a macro of the paper


@dataclass(frozen=True)
class Label:
    """A label of an exported formula, with the display around it, if any, and the group of displays around that."""

    tag: str
    display: Display | None
    wrapper: Display | None
    environment: str


class Stream:
    """Tokens that are read one by one; what a macro stands for is put back in front."""

    def __init__(self, words: Iterable[str]) -> None:
        self.left = list(words)[::-1]

    def push(self, words: Tokens) -> None:
        self.left.extend(reversed(words))

    def group(self) -> list[str]:
        """The next argument, without its braces; one that is not closed ends with the text."""
        if not self.left:
            return []
        word = self.left.pop()
        if word != "{":
            return [word]
        result: list[str] = []
        depth = 1
        while self.left:
            word = self.left.pop()
            depth += (word == "{") - (word == "}")
            if depth == 0:
                break
            result.append(word)
        return result

    def option(self) -> list[str] | None:
        """The content of ``[...]``, or None."""
        if not self.left or self.left[-1] != "[":
            return None
        self.left.pop()
        result: list[str] = []
        depth = 0
        while self.left:
            word = self.left.pop()
            depth += (word == "{") - (word == "}")
            if word == "]" and depth <= 0:
                break
            result.append(word)
        return result

    def arguments(self, of: Definition) -> list[list[str]]:
        """The arguments of a macro."""
        result = []
        if of.default is not None:
            given = self.option()
            result.append(list(of.default) if given is None else given)
        while len(result) < (of.count or 0):
            result.append(self.group())
        return result


def written_out(meaning: Tokens, arguments: list[list[str]]) -> list[str]:
    """The meaning of a macro with its arguments."""
    result: list[str] = []
    at = 0
    while at < len(meaning):
        word = meaning[at]
        at += 1
        if word == "#" and at < len(meaning) and meaning[at].isdecimal():
            number = int(meaning[at][:1])
            if 0 < number <= len(arguments):
                result += arguments[number - 1]
            at += 1
        else:
            result.append(word)
    return result


def _doubtful(value: Definition, before: Definition | None) -> Definition:
    """A definition that may be in force or not; beside another one before it, neither is known to be."""
    return replace(value, doubtful=True, count=value.count if before is None else None)


class Paper:
    """A paper, token by token: `out` with the macros of its structure written out, labels, references, definitions."""

    def __init__(self, words: Iterable[str]) -> None:
        self.out: list[str] = []
        self.by_tag: dict[str, list[Label]] = {}
        self.references: set[str] = set()
        self._stream = Stream(words)
        self._now: dict[str, Definition] = {}
        self._events: dict[str, tuple[list[int], list[Definition | None]]] = {}
        self._undo: list[tuple[str, Definition | None]] = []
        self._groups: list[tuple[int, bool]] = []
        self._hiding: list[bool] = []  # for each group, whether it is an argument of a macro of the paper
        self._dollars = 0
        self._envs: list[Display] = []
        self._places: dict[str, list[int]] = {}
        self._displays: list[Display] = []
        self._wrappers: list[Display] = []
        self._structural: set[str] = set()
        self._conditions = 0
        self._budget = BUDGET
        self._scan()

    def meaning(self, name: str, at: int) -> Definition | None:
        """The definition of a macro that is in force at a place of `out`; of an environment: ``{name``."""
        places, values = self._events.get(name, ((), ()))
        found = bisect_right(places, at)
        return values[found - 1] if found else None

    def changes(self, name: str, start: int, end: int) -> bool:
        """Whether a macro is defined, or gets another definition, between two places of `out`."""
        places, _ = self._events.get(name, ((), ()))
        return bisect_right(places, end) > bisect_right(places, start)

    @property
    def defined(self) -> Iterable[str]:
        """Names of all macros that the paper defines somewhere."""
        return self._events.keys()

    @property
    def bodies(self) -> Iterator[tuple[str, ...]]:
        """What all definitions of the paper stand for."""
        for _, values in self._events.values():
            for value in values:
                if value is not None:
                    yield value.meaning
                    yield value.end

    @property
    def exhausted(self) -> bool:
        """Whether macros of its structure stand for more tokens than the limit, such as one that uses itself."""
        return self._budget <= 0

    def _scan(self) -> None:
        stream, out, now = self._stream, self.out, self._now
        steps = {
            "{": self._open, "}": self._close, "\\begingroup": self._open, "\\endgroup": self._close,
            "\\bgroup": self._open, "\\egroup": self._close, "$": self._dollar,
            "\\begin": self._begin, "\\end": self._end, "\\label": self._label,
            "\\[": lambda: self._enter("displaymath"), "\\]": lambda: self._leave("displaymath"),
            **dict.fromkeys(DEFINING, None), **dict.fromkeys(_REFERENCES, self._reference),
        }  # fmt: skip
        left = stream.left
        while left:
            word = left.pop()
            if word in now and word in self._structural and not isinstance(word, Builtin):
                meaning = now[word]
                body = written_out(meaning.meaning, stream.arguments(meaning))
                self._push(body)
                continue
            if word in DEFINING:
                self._define(word)
                continue
            out.append(word)
            if step := steps.get(word):
                step()
            elif word[:3] == "\\if" or word == "\\fi":
                self._conditions = max(0, self._conditions + (1 if word != "\\fi" else -1))

    def _push(self, body: list[str]) -> None:
        """Read what a macro stands for, as long as all macros together stay within the limit."""
        self._budget -= len(body) + 1
        if self._budget > 0:
            self._stream.push(body)

    def _open(self) -> None:
        is_argument = self.out[-1:] == ["{"] and self._is_argument()
        self._groups.append((len(self._undo), is_argument))
        hiding = is_argument and self.out[-2] in self._now
        self._hiding.append(hiding or self._hiding[-1:] == [True])

    def _dollar(self) -> None:
        self._dollars += 1

    def _is_argument(self) -> bool:
        """Whether the group that starts here is an argument, which a command such as a hook may run elsewhere."""
        before = self.out[-2] if len(self.out) > 1 else ""
        if before == "}" and "\\end" in self.out[-7:-2]:
            at = len(self.out) - 3 - self.out[-7:-2][::-1].index("\\end")
            if "}" not in self.out[at:-2]:  # behind an environment, where no command waits for an argument
                return False
        return before in ("}", "]") or (before[:1] == "\\" and before[1:].isalpha())

    def _close(self) -> None:
        """End a group with its definitions; those of an argument may hold on, and are in doubt."""
        if not self._groups:
            return
        size, is_argument = self._groups.pop()
        self._hiding.pop()
        while len(self._undo) > size:
            name, previous = self._undo.pop()
            now = self._now.get(name)
            if is_argument and now is not None and now != previous:
                previous = _doubtful(now, previous)
            self._set(name, previous)

    def _set(self, name: str, value: Definition | None) -> None:
        if value is None:
            self._now.pop(name, None)
            self._structural.discard(name)
        else:
            self._now[name] = value
            if _STRUCTURE.intersection(value.meaning) or self._structural.intersection(value.meaning):
                self._structural.add(name)
            else:
                self._structural.discard(name)
        places, values = self._events.setdefault(name, ([], []))
        places.append(len(self.out))
        values.append(value)

    def _name(self) -> str:
        r"""The argument of ``\\begin``, ``\\end`` or ``\\label``; it stays in `out`."""
        words = self._stream.group()
        self.out += ["{", *words, "}"]
        return "".join(words) if len(words) < 1000 else ""

    def _begin(self) -> None:
        place = len(self.out)
        name = self._name()
        own = self._now.get("{" + name)
        if own is None:
            self._enter(name)
            return
        del self.out[place - 1 :]
        self._open()
        self._push(written_out(own.meaning, self._stream.arguments(own)))

    def _end(self) -> None:
        place = len(self.out)
        name = self._name()
        own = self._now.get("{" + name)
        if own is None:
            self._leave(name, place - 1)
            return
        del self.out[place - 1 :]
        self._push([*own.end, "\\endgroup"])

    def _enter(self, name: str) -> None:
        display = Display(name, len(self.out), hidden=self._hiding[-1:] == [True])
        self._places.setdefault(name, []).append(len(self._envs))
        self._envs.append(display)
        self._open()
        if name in DISPLAYS:
            self._displays.append(display)
            if self._wrappers:
                self._wrappers[-1].inner.append(display)
        elif name in WRAPPERS:
            self._wrappers.append(display)

    def _leave(self, name: str, end: int | None = None) -> None:
        """Close an environment, and those inside of it that the paper left open."""
        if not self._places.get(name):
            return
        place = self._places[name][-1]
        while len(self._envs) > place:
            display = self._envs.pop()
            self._places[display.name].pop()
            self._close()
            for opened in (self._displays, self._wrappers):
                if opened and opened[-1] is display:
                    opened.pop()
        display.end = len(self.out) - 1 if end is None else end

    def _label(self) -> None:
        tag = self._name()
        if ":covop:" in tag or tag.startswith("covop:"):
            display = self._displays[-1] if self._displays else None
            wrapper = self._wrappers[-1] if self._wrappers else None
            environment = self._envs[-1].name if self._envs else ""
            self.by_tag.setdefault(tag, []).append(Label(tag, display, wrapper, environment))

    def _reference(self) -> None:
        tags = self._name()
        self.references.update(tag for tag in tags.split(",") if ":covop:" in tag)

    def _define(self, command: str) -> None:
        stream = self._stream
        if stream.left and stream.left[-1] == "*":
            stream.left.pop()
        name = stream.group()
        if name == ["\\csname"]:
            name = ["\\" + "".join(self._until("\\endcsname"))]
        if len(name) != 1 and command not in _ENVIRONMENTS:
            return
        value: Definition | None
        key = "{" + "".join(name) if command in _ENVIRONMENTS else name[0]
        if command == "\\let":
            value = self._let()
        elif command in _OPERATORS:
            value = Definition(0, ("\\operatorname", "{", *letters(stream.group()), "}"))
        elif command in _DEFS:
            value = self._def(command)
        elif command in _DOCUMENT_COMMANDS:
            kinds = "".join(stream.group())
            value = Definition(len(kinds) if set(kinds) <= {"m"} else None, tuple(letters(stream.group())))
        else:
            count, default = stream.option(), stream.option()
            plain = count is None or (len(count) == 1 and count[0].isdecimal() and len(count[0]) == 1)
            number = (int(count[0]) if count else 0) if plain else None
            value = Definition(number, tuple(letters(stream.group())), None if default is None else tuple(default))
            if command in _ENVIRONMENTS:
                end = tuple(letters(stream.group()))
                value = Definition(value.count, value.meaning, value.default, end=end)
        if (command == "\\providecommand" and key in self._now) or value == self._now.get(key):
            return
        twice = command == "\\newcommand" and key in self._now  # an error, after which TeX keeps the first one
        if (self._conditions or self._dollars % 2 or twice) and value is not None:
            value = _doubtful(value, self._now.get(key))
        everywhere = command in ("\\gdef", "\\xdef") or self.out[-1:] == ["\\global"]
        if self._groups and not everywhere:
            self._undo.append((key, self._now.get(key)))
        self._set(key, value)

    def _until(self, end: str) -> list[str]:
        left, result = self._stream.left, []
        while left and (word := left.pop()) != end:
            result.append(word)
        return result

    def _let(self) -> Definition | None:
        left = self._stream.left
        if left and left[-1] == "=":
            left.pop()
        target = left.pop() if left else "\\relax"
        return self._now.get(target) or Definition(0, (Builtin(target),))

    def _def(self, command: str) -> Definition:
        r"""``\\def`` with its pattern; what ``\\edef`` makes depends on more than its text."""
        left = self._stream.left
        pattern: list[str] = []
        while left and left[-1] != "{":
            pattern.append(left.pop())
        usual = [word for i in range(1, len(pattern) // 2 + 1) for word in ("#", str(i))]
        read = pattern == usual and command in ("\\def", "\\gdef")
        return Definition(len(pattern) // 2 if read else None, tuple(letters(self._stream.group())))
