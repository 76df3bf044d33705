r"""What the macros of the paper's notation look like in a paper, and which symbol of a paper is which of them.

A paper may give a macro another letter, font or accent, as long as its indices stay, in their order, and no two macros
look alike. Source: statement 6 (arXiv 2010.00578).
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from functools import cache

from theory.latex.names import MACROS
from theory.paper.algebra import UndecidedError, single
from theory.paper.commands import FONTS
from theory.paper.expand import PREFIX, Expander
from theory.paper.grammar import Reader
from theory.paper.looks import Lexer, Macro, Symbol, Token
from theory.paper.scan import Definition, Paper
from theory.paper.tokens import joined, letters, tokens

_ENDS = {"edge", "stackededge", "way", "stackedway"}
# What may stand between indices.
_SEPARATORS = {",", ";", ":", "(", ")", "[", "]", "\\mid", "\\to", "\\mapsto", "\\rightarrow", "{", "}", "\\,", "."}
_ITALICS = {"\\mathnormal", "\\mathit", "\\textit", "{", "}"}
_QUOTED = 200


class ChangedError(Exception):
    """A macro of the paper does not mean what it is derived to mean: how, in one line."""


@cache
def _standard(name: str) -> Definition:
    count, meaning = MACROS[name]
    return Definition(count, tuple(letters(tokens(meaning))))


class Notation:
    """The macros as they are defined in a part of a paper."""

    def __init__(self, paper: Paper, at: int, end: int) -> None:
        self._paper, self._at, self._end = paper, at, end
        self.restyled: dict[str, Definition] = {}

    def check(self, names: Iterable[str]) -> None:
        """Raise where a macro does not have its meaning; keep those that only look different."""
        for name in sorted(names):
            theirs = self._definition(name)
            if self._paper.changes(PREFIX + name, self._at, self._end):
                raise UndecidedError(f"it defines {PREFIX}{name} inside of the display")
            theirs = theirs and replace(theirs, doubtful=theirs.doubtful and theirs.meaning != _standard(name).meaning)
            if theirs is not None and theirs != _standard(name) and self._differs(name, theirs):
                self.restyled[name] = theirs
        if self.restyled:
            self._apart()

    def _definition(self, name: str) -> Definition | None:
        """The definition of the paper; one that is a copy of another macro's standard one is written out."""
        found = self._paper.meaning(PREFIX + name, self._at)
        if found is not None and len(found.meaning) == 1 and found.meaning[0].startswith(PREFIX):
            other = found.meaning[0][len(PREFIX) :]
            if other in MACROS and not found.count:
                return _standard(other)
        return found

    def _meaning(self, name: str, _: int) -> Definition | None:
        """The definition that is in force."""
        own = name[len(PREFIX) :] if name.startswith(PREFIX) else ""
        if own in MACROS:
            return self.restyled.get(own) or _standard(own)
        return self._paper.meaning(name, self._at)

    def _standard_meaning(self, name: str, _: int) -> Definition | None:
        own = name[len(PREFIX) :] if name.startswith(PREFIX) else ""
        return _standard(own) if own in MACROS else self._paper.meaning(name, self._at)

    def _differs(self, name: str, theirs: Definition) -> bool:
        """Whether a macro only looks different; raise where its meaning is another one, or cannot be known."""
        count, meaning = MACROS[name]
        says = f"defines {PREFIX}{name} as {quoted(joined(theirs.meaning))}"
        needed = f"{quoted(meaning)} with {count} argument{'s' * (count != 1)}"
        if theirs.doubtful or theirs.count is None:
            raise UndecidedError(f"its definition of {PREFIX}{name} is of a form that is not read")
        if theirs.count != count or theirs.default is not None:
            raise ChangedError(f"{says}, it is {needed}")
        words = self._with_places(theirs)
        look, ours = _look(words), _look(self._with_places(_standard(name)))
        if look == ours:
            return False
        if [word for word in look if word[0] == "#"] != [f"#{i}" for i in range(1, count + 1)]:
            raise ChangedError(f"{says}, which does not have each index in its place; it is {needed}")
        between = [word for word in look if word[0] != "#"]
        if name in _ENDS:
            if not set(between) <= _SEPARATORS or look.index("#2") == look.index("#1") + 1:
                raise UndecidedError(f"its definition of {PREFIX}{name} has more than separators, or none")
            return True
        if [w for w in look if w not in FONTS | {"{", "}"}] == [w for w in ours if w not in FONTS | {"{", "}"}]:
            return True
        symbol = self._symbol(words)
        if not isinstance(symbol, Symbol):
            raise ChangedError(f"{says}, which is no symbol; it is {needed}")
        digits = {w for w in symbol.sub or () if w.isdecimal()} - {w for w in ours if w.isdecimal()}
        other = {w for w in symbol.sub or () if not w.isalnum() and w[0] not in "\\#"} - _SEPARATORS
        if digits or other:
            raise ChangedError(f"{says}, which has another index; it is {needed}")
        own = self._symbol(self._with_places(_standard(name)))
        if isinstance(own, Symbol) and _indices(symbol) != _indices(own):
            raise UndecidedError(f"its definition of {PREFIX}{name} has more than the index in its index")
        return True

    def _with_places(self, definition: Definition) -> list[str]:
        """The meaning of a macro, with ``#1`` for its first argument, and the paper's macros written out."""
        words = [piece for i, word in enumerate(definition.meaning) for piece in _place(definition.meaning, i, word)]
        return Expander(words, self._meaning, keep=True).run()

    @staticmethod
    def _symbol(words: Sequence[str]) -> Hashable | None:
        """The symbol that some tokens are, if they are one."""
        lexed = Lexer(words).run()
        if len(lexed) == 1 and lexed[0].kind in ("SYM", "HEAD"):
            return lexed[0].value
        return single(Reader().read(lexed))

    def _apart(self) -> None:
        """Raise where a macro that looks different looks like another one."""
        seen: dict[tuple[str, ...], str] = {}
        for name in sorted(MACROS.keys() - _ENDS, key=lambda n: n in self.restyled):
            look = self._upright(name)
            if look in seen and name in self.restyled:
                raise ChangedError(f"defines {PREFIX}{name} as {PREFIX}{seen[look]} is")
            seen[look] = name
        if self.restyled.keys() & _ENDS and self._upright("edge") == self._upright("way"):
            raise UndecidedError(f"{PREFIX}edge and {PREFIX}way look alike")

    def _upright(self, name: str) -> tuple[str, ...]:
        """The look of a macro in a formula, where letters are in italics."""
        look = _look(self._with_places(self._definition(name) or _standard(name)))
        return tuple(word for word in look if word not in _ITALICS)

    def table(self, symbols: Iterable[object]) -> "Symbols":
        """What the symbols of a paper are, by those of the derived formula."""
        macros = [symbol for symbol in symbols if isinstance(symbol, Macro)]
        exact: dict[object, object] = {s: s for s in symbols if not isinstance(s, Macro)}
        for macro in macros:
            look = self._written(macro, self._meaning)
            if look is None or exact.setdefault(look, macro) == macro:
                continue
            if macro.name in self.restyled:
                raise ChangedError(f"has two symbols that look alike, one of them {PREFIX}{macro.name}")
            exact[look] = None
        for macro in macros if self.restyled else ():
            look = self._written(macro, self._standard_meaning)
            if look is not None:
                exact.setdefault(look, macro)
        return Symbols(exact)

    def _written(self, macro: Macro, meaning: object) -> Hashable | None:
        call = [PREFIX + macro.name, *(word for argument in macro.arguments for word in ("{", *argument, "}"))]
        return self._symbol(Expander(call, meaning, keep=False).run())  # type: ignore[arg-type]


def _place(meaning: Sequence[str], at: int, word: str) -> Sequence[str]:
    if word == "#" and at + 1 < len(meaning):
        return (f"#{meaning[at + 1]}",)
    return () if at and meaning[at - 1] == "#" else (word,)


def _indices(symbol: Symbol) -> list[str]:
    return [word for word in symbol.sub or () if word not in _SEPARATORS | FONTS]


def _look(words: Sequence[str]) -> tuple[str, ...]:
    return Lexer(words).look(0, len(words))


class Symbols:
    """Which symbol of the derived formula a symbol of a paper is; a font in one place does not make another one."""

    def __init__(self, exact: dict[object, object]) -> None:
        self._exact = exact
        self._plain: dict[object, object] = {}
        for look, symbol in exact.items():
            plain = _without_fonts(look)
            self._plain[plain] = symbol if self._plain.get(plain, symbol) == symbol else None
        self._by_look: set[object] = set()
        self._by_plain: set[object] = set()

    def get(self, symbol: object, default: object = None) -> object:
        """The symbol, None where there are two, or the default where there is none."""
        if isinstance(symbol, Macro):
            self._by_look.add(symbol)
            return symbol
        found = self._exact.get(symbol, self)
        if found is not self:
            self._by_look.add(found)
            return found
        plain = _without_fonts(symbol)
        if plain not in self._plain:
            return default
        self._by_plain.add(self._plain[plain])
        return self._plain[plain]

    def check(self) -> None:
        """Raise where a symbol stands once in another font, and once not."""
        if self._by_look & self._by_plain:
            raise UndecidedError("it has a symbol in two fonts")


def _without_fonts(look: object) -> object:
    if not isinstance(look, Symbol):
        return look
    base = look.base
    while len(base) == 2 and base[0] in FONTS:
        base = base[1] if isinstance(base[1], tuple) else (base[1],)
    base = ("", *base[1:]) if base[0] in FONTS else base
    return Symbol(base, look.sub and tuple(w for w in look.sub if w not in FONTS and w not in "{}"))


def symbols_of(lexed: Iterable[Token]) -> list[object]:
    """The symbols and macros of some tokens, each once."""
    return list(dict.fromkeys(token.value for token in lexed if token.kind in ("SYM", "HEAD")))


def quoted(text: str) -> str:
    """A quotation in a message: escaped, but for the backslashes of commands, and cut."""
    return repr(text[:_QUOTED]).replace("\\\\", "\\")
