r"""Macros of a paper written out, but for those of the paper's notation. Source: statement 6 (arXiv 2010.00578)."""

from collections.abc import Callable

from theory.latex.names import MACROS
from theory.paper.algebra import UndecidedError
from theory.paper.scan import Builtin, Definition, written_out
from theory.paper.tokens import Tokens, letters

LENGTH = 60_000
"""At most so many tokens in a display with its macros written out."""
PREFIX = "\\covop"
Meaning = Callable[[str, int], Definition | None]


def is_ours(word: str) -> bool:
    """Whether a command is a macro of the paper's notation."""
    return word.startswith(PREFIX) and word[len(PREFIX) :] in MACROS


class Expander:
    """Writes macros out by the definitions in force; `used` has the names of the macros."""

    def __init__(self, words: Tokens, meaning: Meaning, start: int = 0, keep: bool = True) -> None:
        self.used: set[str] = set()
        self._words, self._meaning, self._start, self._keep = words, meaning, start, keep
        self._at = 0
        self._stack: list[str] = []

    def run(self) -> list[str]:
        """The tokens that TeX would set."""
        result: list[str] = []
        left = LENGTH
        while (word := self._pop()) is not None:
            meaning = None
            if word[0] == "\\" and not isinstance(word, Builtin) and not (self._keep and is_ours(word)):
                meaning = self._meaning(word, self._start + self._at)
            if meaning is None:
                result.append(word)
                left -= 1
            else:
                if meaning.count is None or meaning.doubtful:
                    raise UndecidedError(f"the definition of {word} is of a form that is not read")
                self.used.add(word)
                body = letters(written_out(meaning.meaning, self._arguments(meaning)))
                left -= len(body) + 1
                self._stack.extend(reversed(body))
            if left < 0:
                named = f", or {word} stands for itself" if self.used else ""
                raise UndecidedError(f"the display has more than {LENGTH:,} tokens{named}")
        return result

    def _pop(self) -> str | None:
        if self._stack:
            return self._stack.pop()
        while self._at < len(self._words):
            self._at += 1
            pieces = letters([self._words[self._at - 1]])
            self._stack.extend(reversed(pieces[1:]))
            if pieces:
                return pieces[0]
        return None

    def _arguments(self, of: Definition) -> list[list[str]]:
        result = []
        if of.default is not None:
            result.append(self._option(of.default))
        while len(result) < (of.count or 0):
            word = self._pop()
            result.append(self._until("}") if word == "{" else [] if word is None else [word])
        return result

    def _option(self, default: Tokens) -> list[str]:
        word = self._pop()
        if word == "[":
            return self._until("]")
        if word is not None:
            self._stack.append(word)
        return list(default)

    def _until(self, closing: str) -> list[str]:
        result: list[str] = []
        depth = 0
        while (word := self._pop()) is not None and (word != closing or depth):
            depth += (word == "{") - (word == "}")
            result.append(word)
        return result
