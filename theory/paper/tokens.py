r"""Tokens of a paper's LaTeX: what TeX would set, without comments, verbatim, and branches that are switched off.

Every function takes time linear in the length of its text. Source: statement 6 (arXiv 2010.00578).
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

Tokens = Sequence[str]

_OPAQUE = (
    r"(?P<opaque>\\begin\s*\{(?P<kind>comment|(?:[BL]?[vV]erbatim|lstlisting|minted|filecontents)\*?)\}"
    r".*?(?:\\end\s*\{(?P=kind)\}|\Z))"
    r"|(?P<verb>\\verb\*?(?P<mark>[^A-Za-z\s*])[^\n]{0,1000}?(?P=mark))"
)
_FILES = r"input|include|subfile|subfileinclude|import|subimport"


def _words(command: str) -> re.Pattern[str]:
    return re.compile(
        _OPAQUE
        + rf"|\\(?P<reads>{_FILES})\s*\{{(?P<file>[^{{}}\\\n]*)\}}|\\input\s+(?P<bare>[^\s{{}}\\%$#&]+)"
        + r"|(?P<text>\\(?:text|mbox|textrm|textup|textnormal|textit|textbf|textsf|intertext|shortintertext)\s*\{"
        + r"(?:[^{}%$\\]|\\.)*\})"
        + rf"|(?P<token>\\(?:{command}+|[\s\S])|[A-Za-z]+|[0-9]+|[^%\s])|%[^\n]*|\s+",
        re.DOTALL,
    )


_PAPER, _PACKAGE = _words("[A-Za-z]"), _words("[A-Za-z@]")
_INNER = re.compile(r"\\(?:[A-Za-z]+|[\s\S])|[A-Za-z]+|[0-9]+|\s+|\S")
_AT = re.compile(r"\\makeat(letter|other)(?![A-Za-z])")
# Commands of packages that take both branches as arguments, and no \\fi.
_NO_FI = {
    "\\iff", "\\ifthenelse", "\\ifdef", "\\ifundef", "\\ifcsdef", "\\ifcsundef", "\\ifbool", "\\iftoggle", "\\ifblank",
    "\\ifstrequal", "\\ifstrempty", "\\ifdefempty", "\\ifnumcomp", "\\ifboolexpr",
}  # fmt: skip
_KNOWN = {"\\iffalse": False, "\\iftrue": True}
_END = ("\\end", "{", "document", "}")


def tokens(text: str) -> list[str]:
    r"""The tokens of a text, letter by letter, without comments, verbatim and ``\iffalse``."""
    visible = Visible().visible
    return letters([word for word in words(text) if visible(word)])


def words(text: str, package: bool = False) -> Iterator[str]:
    r"""The tokens of a paper: runs of letters and of digits are one token, ``\ `` is a space of a text.

    The name of a file that is read is one token between braces.
    """
    at, pattern = 0, _PACKAGE if package else _PAPER
    for switch in [*_AT.finditer(text), None]:
        yield from _matched(pattern, text, at, switch.start() if switch else len(text))
        if switch:
            at, pattern = switch.end(), _PACKAGE if switch[1] == "letter" or package else _PAPER


def _matched(pattern: re.Pattern[str], text: str, start: int, end: int) -> Iterator[str]:
    for match in pattern.finditer(text, start, end):
        if token := match["token"]:
            yield r"\ " if len(token) == 2 and token[1].isspace() else token
        elif match["text"]:
            yield from (r"\ " if t[-1].isspace() else t for t in _INNER.findall(match["text"]))
        elif match["bare"] or match["reads"]:
            name = match["bare"] or match["file"].strip()
            yield from (f"\\{match['reads'] or 'input'}", "{", *([name] if name else []), "}")


class Visible:
    r"""Says which tokens are set: not those behind ``\iffalse``, ``\if0``, a false switch of ``\newif``, the document.

    A condition that is not known keeps both of its branches, and its own tokens.
    """

    def __init__(self) -> None:
        self.ended = False
        self._switches: dict[str, bool | None] = {}
        # Of each open condition: whether its branch is set; None where that is not known.
        self._open: list[bool | None] = []
        self._hidden = 0  # conditions that were opened inside of a branch that is not set
        self._before = ""
        self._ending = 0
        self._depth = 0
        self._compared = False  # the next token is compared with a 0
        self._let: list[str] | None = None  # what stands behind a \let

    def visible(self, word: str) -> bool:
        """Whether the next token is set."""
        before, self._before = self._before, word
        if self.ended:
            return False
        self._depth += (word in ("{", "\\begingroup", "\\bgroup")) - (word in ("}", "\\endgroup", "\\egroup"))
        if self._compared:  # a command stands for what is not known here
            self._compared = False
            self._open[-1] = None if word[0] == "\\" else word[0] == "0"
            if self._open[-1] is not False:
                return True
        hides = bool(self._open) and self._open[-1] is False
        if self._let is not None and not hides:
            self._assign(word)
            return True
        if word == "\\let" and not hides:
            self._let = []
        if before == "\\if" and self._open and not hides:
            self._open[-1] = None
            self._compared = word == "0"
            return False
        if word[0] == "\\":
            return self._command(word, before, hides)
        if self._ending:
            self._ending = self._ending + 1 if word == _END[self._ending] else 0
            self.ended = self._ending == len(_END)
        return not hides

    def _assign(self, word: str) -> None:
        r"""A token behind ``\let``: the name, perhaps an equals sign, and what it is from now on."""
        if self._let and word == "=":
            return
        if not self._let:
            self._let = [word]
            return
        name, self._let = self._let[0], None
        if name.startswith("\\if"):
            truth = _KNOWN.get(word, self._switches.get(word))
            self._switches[name] = None if self._depth else truth

    def _command(self, word: str, before: str, hides: bool) -> bool:
        self._ending = int(word == "\\end" and not hides)
        opens = word.startswith("\\if") and word not in _NO_FI and before != "\\newif"
        if hides:
            self._skip(word, opens)
            return False
        if opens:
            known = _KNOWN.get(word, self._switches.get(word))
            self._open.append(known)
            return known is None and word != "\\if"
        if before == "\\newif":
            self._switches[word] = False
        elif word.endswith(("true", "false")):
            truth = word.endswith("true")
            switch = "\\if" + word[1 : -4 if truth else -5]
            if switch in self._switches:  # in a group or a definition it may hold or not
                self._switches[switch] = None if self._depth else truth
        elif word in ("\\else", "\\fi") and self._open:
            branch = self._open[-1]
            if word == "\\fi":
                self._open.pop()
            elif branch is not None:
                self._open[-1] = not branch
            return branch is None
        return True

    def _skip(self, word: str, opens: bool) -> None:
        """A command inside of a branch that is not set."""
        if opens:
            self._hidden += 1
        elif word == "\\fi" and self._hidden:
            self._hidden -= 1
        elif word == "\\fi":
            self._open.pop()
        elif word == "\\else" and not self._hidden:
            self._open[-1] = True


class Argument(NamedTuple):
    """The tokens of an argument, and the place behind it."""

    words: list[str]
    behind: int


def argument(words: Tokens, at: int) -> Argument:
    """The argument that starts at a place, a group without its braces or one token, and the place behind it.

    A group that is not closed ends with the text.
    """
    if at >= len(words) or words[at] != "{":
        return Argument(list(words[at : at + 1]), at + 1)
    depth = 0
    for end in range(at, len(words)):
        depth += (words[end] == "{") - (words[end] == "}")
        if depth == 0:
            return Argument(list(words[at + 1 : end]), end + 1)
    return Argument(list(words[at + 1 :]), len(words))


def letters(words: Tokens) -> list[str]:
    """Tokens with one letter or digit each, as TeX reads them in formulas."""
    return [piece for word in words for piece in (word if word.isalnum() and len(word) > 1 else (word,))]


def joined(words: Tokens) -> str:
    r"""The tokens as LaTeX again, spaced only where a command would swallow a letter."""
    pieces: list[str] = []
    for word in words:
        swallows = pieces and re.fullmatch(r"\\[A-Za-z]+", pieces[-1][-40:])
        pieces.append((" " if word[:1].isalpha() and swallows else "") + word)
    return "".join(pieces)
