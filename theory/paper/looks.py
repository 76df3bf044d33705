r"""A display as symbols, operators and brackets: macros written out, and without what only changes the looks.

Spaces, sizes, alignment, numbers of equations, fonts of prose and the forms of a fraction do not count. A command that
is not known here makes the formula undecided. Source: statement 6 (arXiv 2010.00578).
"""

import re
from fractions import Fraction
from typing import NamedTuple

from theory.latex.names import MACROS
from theory.paper.algebra import UndecidedError
from theory.paper.commands import (
    ACCENTS,
    ALIKE,
    BARE,
    BETWEEN,
    BIG,
    BINARY,
    BOXES,
    CLOSING,
    DIMENSION,
    DOTS,
    DROPPED,
    EQUALS,
    FRACTIONS,
    HEADS,
    IGNORED,
    LAYOUT,
    LENGTH,
    LETTERS,
    MATH_FONTS,
    MATRICES,
    OPENING,
    OPTIONAL,
    OTHER,
    PLACES,
    PROSE,
    RELATIONS,
    ROOM,
    SHOWN,
    SPACES,
    STARRED,
    TRANSPOSE,
)
from theory.paper.expand import PREFIX, is_ours
from theory.paper.scan import DISPLAYS, WRAPPERS, written_out
from theory.paper.tokens import Tokens, joined, letters, tokens

NESTED = 40
"""At most so many brackets or braces inside of each other."""


class Token(NamedTuple):
    """A token of the grammar: its kind, what it stands for, and how a message shows it."""

    kind: str
    value: object
    text: str
    # Where it stands: how many brackets are around it.
    depth: int = 0


class Symbol(NamedTuple):
    """A letter or a name with its style, and its subscript."""

    base: tuple
    sub: tuple[str, ...] | None = None


class Macro(NamedTuple):
    """A macro of the paper's notation with its arguments."""

    name: str
    arguments: tuple[tuple[str, ...], ...]


class Lexer:
    """The tokens of a display for the grammar, from tokens whose macros are written out."""

    def __init__(self, words: Tokens) -> None:
        self.words = words
        self.tokens: list[Token] = []
        self.prose: list[str] = []
        self._match = self._braces()
        self._depth = 0
        self._limit = len(words)
        self._environments: list[str] = []

    def run(self) -> list[Token]:
        """All tokens."""
        self._part(0, len(self.words))
        if self._depth or self._environments:
            raise UndecidedError("a bracket or an environment is not closed")
        return self.tokens

    def _braces(self) -> dict[int, int]:
        """The closing brace of every opening one."""
        result: dict[int, int] = {}
        opened: list[int] = []
        for at, word in enumerate(self.words):
            if word == "{":
                opened.append(at)
                if len(opened) > NESTED:
                    raise UndecidedError("braces are nested too deeply")
            elif word == "}":
                if not opened:
                    raise UndecidedError("a brace closes nothing")
                result[opened.pop()] = at
        if opened:
            raise UndecidedError("a brace is not closed")
        return result

    # Places: an argument is where its content starts, where that ends, and the place behind it.

    def _argument(self, at: int) -> tuple[int, int, int]:
        at = self._skip(at)
        if at >= len(self.words) or self.words[at] == "}":
            raise UndecidedError("an argument is missing at the end of a group")
        if self.words[at] != "{":
            return at, at + 1, at + 1
        end = self._match[at]
        return at + 1, end, end + 1

    def _optional(self, at: int) -> int:
        """The place behind ``[...]``, if one starts here."""
        if at < len(self.words) and self.words[at] == "[":
            for end in range(at, min(at + 200, len(self.words))):
                if self.words[end] == "]":
                    return end + 1
        return at

    def _skip(self, at: int) -> int:
        """The place of the next token that is not a space."""
        while at < len(self.words) and self.words[at] in SPACES:
            at += 1
        return at

    def _behind(self, at: int) -> int:
        """The place of the next token of this part that is neither a space, an empty group nor the end of a group."""
        at = self._skip(at)
        while at < self._limit and self.words[at] in BETWEEN:
            at = self._skip(at + 1)
        while at < self._limit and (self.words[at] == "}" or self.words[at : at + 2] == ["{", "}"]):
            at = self._skip(at + 1 + (self.words[at] == "{"))
        return at

    def _text(self, start: int, end: int) -> str:
        return joined(self.words[start:end])

    # Tokens of the grammar.

    def _emit(self, kind: str, value: object, text: str) -> None:
        self.tokens.append(Token(kind, value, text, self._depth))

    def _enter(self, kind: str, value: object, text: str) -> None:
        self._emit(kind, value, text)
        self._depth += 1
        if self._depth > NESTED:
            raise UndecidedError("brackets are nested too deeply")

    def _leave(self, kind: str, value: object, text: str) -> None:
        self._depth -= 1
        if self._depth < 0:
            raise UndecidedError(f"{text} closes nothing")
        self._emit(kind, value, text)

    def _inner(self, start: int, end: int) -> None:
        """An argument, between braces."""
        self._enter("LB", None, "{")
        depth = self._depth
        self._part(start, end)
        if self._depth != depth:
            raise UndecidedError("a bracket is not closed inside of its group")
        self._leave("RB", None, "}")

    def _part(self, at: int, end: int) -> None:
        limit, self._limit = self._limit, end
        while at < end:
            at = self._one(at, end)
        self._limit = limit
        if at > end:
            raise UndecidedError("a command takes its argument from outside of its group")

    def _one(self, at: int, end: int) -> int:
        """Emit what starts at a place; return the place behind it."""
        word = self.words[at]
        if word in SPACES or word in IGNORED:
            return self._ignored(word, at)
        if word.isdecimal() and word.isascii():
            return self._number(at, end)
        if word in BINARY:
            self._emit(BINARY[word], None, word)
            return at + 1
        if word in OPENING or word in CLOSING:
            if word in OPENING:
                self._enter("OPEN", OPENING[word], word)
                return at + 1
            self._leave("CLOSE", CLOSING[word], word)
            return self._scripts(at + 1)
        if word[0] != "\\":
            return self._character(word, at)
        return self._command(word, at)

    def _ignored(self, word: str, at: int) -> int:
        if word in ("\\left", "\\right", "\\middle") or word.startswith(("\\big", "\\Big")):
            after = self._skip(at + 1)
            if self.words[after : after + 1] == ["."]:
                return after + 1
            if self.words[after : after + 1] == ["/"]:
                raise UndecidedError(f"{word}/ is not read")
        return at + 1

    def _character(self, word: str, at: int) -> int:
        kinds = {",": "COMMA", ";": "SEMI", ".": "DOT", "|": "BAR", "=": "REL", "&": "AMP"}
        if word in kinds:
            if word != "&" or self._environments:
                self._emit(kinds[word], word, word)
            return at + 1
        if word == ":":
            after = self._skip(at + 1)
            if self.words[after : after + 1] == ["="]:
                self._emit("REL", "=", ":=")
                return after + 1
        if word in "<>":
            self._emit("REL", word, word)
            return at + 1
        if word == "*":
            self._emit("OTHER", word, word)
            return at + 1
        if word in "_^":
            return self._scripts(at)
        if word.isalpha():
            return self._symbol((word,), at, at + 1)
        raise UndecidedError(f"it has {word!r:.20}, which is not read")

    def _number(self, at: int, end: int) -> int:
        start = at
        while at < end and self.words[at].isdecimal():
            at += 1
        if at + 1 < end and self.words[at] == "." and self.words[at + 1].isdecimal():
            at += 1
            while at < end and self.words[at].isdecimal():
                at += 1
        after = at
        while after < end and (self.words[after] in SPACES or self.words[after] in "{}"):
            after += 1
        if at - start > 40 or (after > at and after < end and self.words[after].isdecimal()):
            raise UndecidedError("it has digits with spaces or braces between them, or too many")
        text = self._text(start, at)
        self._emit("NUM", Fraction(text), text)
        return self._scripts(at)

    def _command(self, word: str, at: int) -> int:
        if word in LETTERS or word in MATH_FONTS or word in ACCENTS:
            return self._letter(at)
        if word in PROSE or word in BOXES:
            return self._box(word, at)
        if word in DROPPED or word in SHOWN:
            return self._looks(word, at)
        if word in DIMENSION:
            return self._dimension(at + 1)
        if word in ("\\begin", "\\end"):
            return self._environment(word, at)
        if word in ("\\\\", "\\cr", "\\newline"):
            return self._row(at + 1)
        if word in FRACTIONS or word == "\\sqrt":
            return self._fraction(word, at)
        if word in RELATIONS or word in EQUALS:
            self._emit("REL", "=" if word in EQUALS else word, word)
            return at + 1
        if word in ("\\mid", "\\vert"):
            self._emit("BAR", "|", word)
            return at + 1
        if word in OTHER:
            self._emit("OTHER", word, word)
            return at + 1
        if is_ours(word):
            return self._macro(word, at)
        if word in BIG:
            sub, sup, end = self._read_scripts(at + 1)
            scripts = tuple(place and self.look(*place) for place in (sub, sup))
            self._emit("BIG", (BIG[word], *scripts), self._text(at, end))
            return end
        if word in DOTS:
            return self._symbol(("\\dots",), at, at + 1)
        if word in ("\\underbrace", "\\overbrace"):
            return self._brace(at)
        if word in ("\\stackrel", "\\overset"):
            return self._over(word, at)
        raise UndecidedError(f"it has {word:.40}, which is not read")

    def _macro(self, word: str, at: int) -> int:
        name = word[len(PREFIX) :]
        arguments = []
        start, at = at, at + 1
        for _ in range(MACROS[name][0]):
            first, last, at = self._argument(at)
            arguments.append(self.look(first, last))
        self._emit("SYM", Macro(name, tuple(arguments)), self._text(start, at))
        return self._scripts(at)

    def _letter(self, at: int) -> int:
        """A letter with its font and its accents; a font of more than a letter or a name is left out."""
        base, behind = self._base(at)
        after = self._behind(behind)
        if base == ("\\Delta",) and after < self._limit:  # a difference, and its letter
            if self.words[after].isalpha():
                return self._symbol((*base, self.words[after]), at, after + 1)
            if self.words[after] in LETTERS or self.words[after] in MATH_FONTS or self.words[after] in ACCENTS:
                letter, end = self._base(after)
                if letter is not None:
                    return self._symbol((*base, letter), at, end)
        if base is None:
            first, last, behind = self._argument(at + 1)
            self._part(first, last)
            return behind
        return self._symbol(base, at, behind)

    def _base(self, at: int) -> tuple[tuple | None, int]:
        word = self.words[at]
        if word not in MATH_FONTS and word not in ACCENTS:
            return (word,), at + 1
        after = at + 2 if self.words[at + 1 : at + 2] == ["*"] else at + 1
        first, last, behind = self._argument(after)
        first = self._skip(first)
        content = [w for w in self.words[first:last] if w not in SPACES]
        if content and all(w.isalpha() for w in content):
            return (word, *content), behind
        if content and content[0] in MATH_FONTS | ACCENTS | LETTERS and self.words[first] == content[0]:
            base, end = self._base(first)
            if base is not None and self._skip(end) == last:
                return (word, base), behind
        if word in MATH_FONTS:
            return None, behind
        return (word, self.look(first, last)), behind

    def _symbol(self, base: tuple, start: int, at: int) -> int:
        """A symbol with its subscript, whichever of its scripts comes first."""
        if base[0] in ("\\operatorname", "\\mathrm", "\\text") and base[1:] == tuple("diag"):
            self._emit("FUN", "diag", self._text(start, at))
            return at
        sub, sup, end = self._read_scripts(at)
        symbol = Symbol(base, sub and self.look(*sub))
        text = self._text(start, at) + (f"_{{{self._text(*sub)}}}" if sub else "")
        self._emit("HEAD" if base[0] == "\\mathbb" else "SYM", symbol, text)
        self._superscript(sup)
        return end

    def _scripts(self, at: int) -> int:
        """Scripts of what is no symbol."""
        sub, sup, end = self._read_scripts(at)
        if sub:
            self._emit("SUB", self.look(*sub), "_" + self._text(*sub))
        self._superscript(sup)
        return end

    def _read_scripts(self, at: int) -> tuple[tuple[int, int] | None, tuple[int, int] | None, int]:
        scripts: dict[str, tuple[int, int]] = {}
        end = at
        while (after := self._behind(end)) < self._limit and self.words[after] in "_^'":
            mark = self.words[after]
            if mark == "'" or mark in scripts:
                raise UndecidedError("it has a prime" if mark == "'" else "a symbol has two scripts of one kind")
            first, last, end = self._argument(after + 1)
            scripts[mark] = (first, last)
        return scripts.get("_"), scripts.get("^"), end

    def _superscript(self, place: tuple[int, int] | None) -> None:
        if place is None:
            return
        plain = tuple(w for w in self.look(*place) if w not in MATH_FONTS and w not in PROSE and w not in "{}")
        if plain in TRANSPOSE:
            self._emit("TRANSPOSE", plain[0], f"^{self._text(*place)}")
        elif plain in (("*",), ("\\dagger",), ("\\ast",), ("H",), ("\\prime",), ("t",)):
            raise UndecidedError(f"it has the superscript {plain[0]}")
        else:
            self._emit("POWER", None, "^")
            start = len(self.tokens) + 1
            self._inner(*place)
            if self.tokens[start].kind == "OPEN":
                raise UndecidedError("it has a superscript in brackets")

    def _fraction(self, word: str, at: int) -> int:
        self._emit("SQRT" if word == "\\sqrt" else "FRAC", None, word)
        at = self._skip(at + 1)
        if word == "\\sqrt" and self.words[at : at + 1] == ["["]:
            raise UndecidedError("it has a root of higher order")
        if word == "\\cfrac":
            at = self._optional(at)
        for _ in range(1 if word == "\\sqrt" else 2):
            first, last, at = self._argument(at)
            self._inner(first, last)
        return self._scripts(at)

    # What changes the looks.

    def _looks(self, word: str, at: int) -> int:
        at += 1
        if word in STARRED and self.words[at : at + 1] == ["*"]:
            at += 1
        if word in OPTIONAL:
            at = self._optional(at)
        for _ in range(DROPPED.get(word, SHOWN.get(word, 0))):
            first, last, at = self._argument(at)
            if word in ("\\color", "\\textcolor") and "white" in self._text(first, last):
                raise UndecidedError("it has white symbols")
        return at

    def _dimension(self, at: int) -> int:
        match = LENGTH.match("".join(self.words[at : at + 12]))
        if not match:
            raise UndecidedError("a space has no length that is read")
        left = match.end()
        while left > 0:
            left -= len(self.words[at])
            at += 1
        return at

    def _row(self, at: int) -> int:
        if self.words[at : at + 1] == ["*"]:
            at += 1
        behind = self._optional(at)
        if behind > at and ROOM.fullmatch("".join(self.words[at + 1 : behind - 1])):
            at = behind
        if self._environments or not self._depth:
            self._emit("ROW", None, "\\\\")
        return at

    def _brace(self, at: int) -> int:
        """A brace over or under a part of the formula, with what stands there."""
        first, last, behind = self._argument(at + 1)
        self._part(first, last)
        after = self._behind(behind)
        if self.words[after : after + 1] and self.words[after] == {"u": "_", "o": "^"}[self.words[at][1]]:
            start, end, behind = self._argument(after + 1)
            self.prose.append(self._text(start, end))
        return behind

    def _over(self, word: str, at: int) -> int:
        """A relation sign with a word over it."""
        first, last, at = self._argument(at + 1)
        start, end, at = self._argument(at)
        above = re.sub(r"\\(text|mathrm|textrm)|[{}. ]|\\ ", "", self._text(first, last))
        if above not in ("def", "\\triangle", "\\Delta") or self.words[start:end] != ["="]:
            raise UndecidedError(f"it has {word}, which is not read")
        self._emit("REL", "=", word)
        return at

    def _box(self, word: str, at: int) -> int:
        """Text, or a box with text: words are prose, what stands between dollars is part of the formula."""
        start = at
        at += 1
        for _ in range(BOXES.get(word, 0)):
            at = self._optional(at)
            _, _, at = self._argument(at)
        at = self._optional(self._optional(at))
        first, last, at = self._argument(at)
        content = [w for w in self.words[first:last] if w not in "{}"]
        script = self._behind(at)
        scripted = self.words[script : script + 1] and self.words[script] in "_^"
        name = all(w.isalnum() for w in content) and content
        if name and word in PROSE and (scripted or "".join(content) == "diag" or not self._is_prose("".join(content))):
            return self._symbol((word, *content), start, at)
        self._mixed(first, last)
        return at

    @staticmethod
    def _is_prose(text: str) -> bool:
        return text.islower() and len(text) > 1

    def _mixed(self, first: int, last: int) -> None:
        """Words and, between dollars, formulas."""
        at = first
        while at < last:
            dollar = next((i for i in range(at, last) if self.words[i] == "$" or self.words[i] in ("\\(", "\\)")), last)
            text = re.sub(r"\s+", " ", self._text(at, dollar).replace("\\ ", " ").replace("~", " ")).strip("{} ")
            if text.strip(" ,.;:"):
                self._emit("TEXT", text, text)
            elif text:
                self._emit("COMMA", ",", text)
            at = dollar + 1
            if at < last:
                end = next(
                    (i for i in range(at, last) if self.words[i] == "$" or self.words[i] in ("\\(", "\\)")), last
                )
                self._part(at, end)
                at = end + 1

    def _environment(self, word: str, at: int) -> int:
        first, last, at = self._argument(at + 1)
        name = self._text(first, last)
        text = f"{word}{{{name}}}"
        begins = word == "\\begin"
        if name in MATRICES or (name in BARE and self._is_matrix(name, begins)):
            if not begins:
                if self._environments[-1:] != [name]:
                    raise UndecidedError(f"{text} closes nothing")
                self._environments.pop()
                self._leave("MCLOSE", None, text)
                return self._scripts(at)
            at = self._head(name, at)
            self._environments.append(name)
            self._enter("MOPEN", None, text)
            return at
        if name not in LAYOUT and name not in DISPLAYS and name not in WRAPPERS and name not in BARE:
            raise UndecidedError(f"it has {text:.60}, which is not read")
        if name not in LAYOUT and name not in BARE:
            self._emit("ROW", None, text)
        return self._head(name, at) if begins else at

    def _head(self, name: str, at: int) -> int:
        """The place behind the options and the arguments of an environment."""
        behind = self._optional(at) if name in LAYOUT or name in HEADS or name in MATRICES else at
        option = "".join(self.words[at + 1 : behind - 1])
        if behind > at and (option in PLACES or (name not in MATRICES and LENGTH.fullmatch(option))):
            at = behind
        if "alignat" in name or name == "array" or name.startswith("IEEE"):
            _, _, at = self._argument(at)
        return at

    def _is_matrix(self, name: str, begins: bool) -> bool:
        """Whether an array or a matrix without brackets stands in brackets, or ends one that does."""
        if begins:
            return bool(self.tokens) and self.tokens[-1].kind == "OPEN"
        return self._environments[-1:] == [name]

    def look(self, first: int, last: int) -> tuple[str, ...]:
        """Tokens of a subscript without spaces, single braces and the order of scripts."""
        result: list[str] = []
        at = first
        while at < last:
            word = self.words[at]
            if word in SPACES and word != "\\ ":
                at += 1
            elif word in "_^":
                scripts: dict[str, tuple[str, ...]] = {}
                while at < last and self.words[at] in "_^" and self.words[at] not in scripts:
                    mark = self.words[at]
                    start, end, at = self._argument(at + 1)
                    scripts[mark] = self.look(start, end)
                for mark in sorted(scripts):
                    result += [mark, "{", *scripts[mark], "}"]
                if not scripts:
                    raise UndecidedError("a subscript has two scripts of one kind")
            elif word == "{" and self._match[at] <= last:
                inner = self.look(at + 1, self._match[at])
                keeps = result and result[-1][0] == "\\" and len(inner) != 1
                result += ["{", *inner, "}"] if keeps else inner
                at = self._match[at] + 1
            elif word in DROPPED or word in SHOWN:
                at = self._looks(word, at)
            elif is_ours(word):
                meaning, at = self._written(word, at)
                result += meaning
            elif word == "\\substack":
                at += 1
            else:
                if word not in IGNORED and word != "\\\\":
                    result.append(ALIKE.get(word, word))
                at += 1
        return tuple(result)

    def _written(self, word: str, at: int) -> tuple[tuple[str, ...], int]:
        """What a macro of the paper's notation stands for inside of a subscript."""
        count, meaning = MACROS[word[len(PREFIX) :]]
        arguments = []
        at += 1
        for _ in range(count):
            first, last, at = self._argument(at)
            arguments.append(list(self.look(first, last)))
        if count == 0 and self.words[at : at + 2] == ["{", "}"]:
            at += 2
        inner = Lexer(letters(written_out(tokens(meaning), arguments)))
        return inner.look(0, len(inner.words)), at
