r"""Tokens of a paper's LaTeX: the display with a label and the definitions of macros, without their layout.

Nothing is expanded, and no file that the paper reads is followed. Source: statement 6 (arXiv 2010.00578).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hltm.base.errors import InputError

Tokens = Sequence[str]

_TOKEN = re.compile(
    r"(?P<opaque>\\begin\{(?P<kind>comment|verbatim\*?|lstlisting)\}.*?(?:\\end\{(?P=kind)\}|\Z))"
    r"|(?P<verb>\\verb\*?(?P<mark>[^A-Za-z\s*])[^\n]*?(?P=mark))"
    r"|(?P<token>\\(?:[A-Za-z]+|[\s\S])|[^%\s])|%[^\n]*|\s+",
    re.DOTALL,
)
_DISPLAYS = ("equation", "align")
_INNER = ("aligned", "split")
_SPACING = {"\\notag", "\\nonumber", "\\quad", "\\qquad", "\\,", "\\;", "\\:", "\\>", "\\!", "\\allowbreak"}
_COMMANDS = {"\\newcommand", "\\renewcommand", "\\providecommand", "\\DeclareRobustCommand"}
_DOCUMENT_COMMANDS = {f"\\{start}DocumentCommand" for start in ("New", "Renew", "Provide", "Declare")}
_DEFS = {"\\def", "\\gdef", "\\edef", "\\xdef"}
_DEFINING = _COMMANDS | _DOCUMENT_COMMANDS | _DEFS | {"\\let", "\\DeclareMathOperator"}


@dataclass(frozen=True)
class Definition:
    r"""A macro of a paper: its number of arguments (None for an unusual form) and its meaning."""

    name: str
    count: int | None
    meaning: tuple[str, ...]

    def __str__(self) -> str:
        return joined(self.meaning)


def tokens(text: str) -> list[str]:
    r"""The tokens of a text, without comments, verbatim, ``\iffalse`` and what follows the document."""
    result = [match["token"] for match in _TOKEN.finditer(text) if match["token"]]
    return _visible([r"\ " if len(t) == 2 and t[1].isspace() else t for t in result])


def display(paper: Tokens, tag: str) -> list[str]:
    r"""The content of the one equation or align that has a label."""
    result = []
    opened: list[tuple[str, int]] = []
    for at, word in enumerate(paper):
        if word == "\\begin":
            name, behind = argument(paper, at + 1)
            opened.append(("".join(name), behind))
        elif word == "\\end":
            closed = "".join(argument(paper, at + 1)[0])
            last = max((i for i, (kind, _) in enumerate(opened) if kind == closed), default=len(opened))
            del opened[last:]
        elif word == "\\label" and "".join(argument(paper, at + 1)[0]) == tag:
            result.append(next(((name, start) for name, start in reversed(opened) if name not in _INNER), ("", 0)))
    if len(result) != 1 or result[0][0] not in _DISPLAYS:
        where = f", stands in {result[0][0]!r:.40}" if len(result) == 1 else f", stands {len(result)} times"
        missing = r"is not in the paper (what it takes in by \input is not read), " if not result else ""
        raise InputError(f"label {tag!r}: {missing}must stand once in an equation or align{where}")
    kind, start = result[0]
    closing = ["\\end", "{", *kind, "}"]
    ends = (i for i in range(start, len(paper)) if list(paper[i : i + len(closing)]) == closing)
    return list(paper[start : next(ends, len(paper))])


def content(words: Tokens) -> list[str]:
    r"""The tokens of a display without alignment, spacing, labels and punctuation at the end."""
    result: list[str] = []
    at = matrices = 0
    while at < len(words):
        word, start = words[at], at
        at += 1
        if word in ("\\begin", "\\end"):
            name, at = argument(words, at)
            if "".join(name) in _INNER:
                _, at = option(words, at)
            else:
                matrices += 1 if word == "\\begin" else -1
                result += words[start:at]
        elif word == "\\label":
            _, at = argument(words, at)
        elif word == "\\\\" and not matrices:
            _, at = option(words, at + (words[at : at + 1] == ["*"]))
        elif word not in _SPACING and (word != "&" or matrices):
            result.append(word)
    while result and result[-1] in (",", ".", ";"):
        result.pop()
    return _plain(result)


def definition_of(name: str, count: int, meaning: str) -> Definition:
    """The definition of a macro in plain form, to compare with those of a paper."""
    return Definition(name, count, tuple(_plain(tokens(meaning))))


def definitions(paper: Tokens, prefix: str) -> list[Definition]:
    r"""Definitions of the macros whose names start with a prefix."""
    result = []
    for at, word in enumerate(paper):
        if word in _DEFINING:
            star = at + 1 < len(paper) and paper[at + 1] == "*"
            name, behind = argument(paper, at + 1 + star)
            if len(name) == 1 and name[0].startswith(prefix):
                count, behind = _arguments(paper, word, behind)
                result.append(Definition(name[0], count, tuple(_plain(argument(paper, behind)[0]))))
    return result


def _arguments(paper: Tokens, command: str, at: int) -> tuple[int | None, int]:
    """How many arguments a definition declares, and where its meaning starts."""
    if command in _COMMANDS:
        count, at = option(paper, at)
        default, at = option(paper, at)
        plain = default is None and (count is None or (len(count) == 1 and count[0].isdecimal()))
        return (int(count[0]) if count else 0) if plain else None, at
    if command in _DOCUMENT_COMMANDS:
        kinds, at = argument(paper, at)
        return len(kinds) if set(kinds) <= {"m"} else None, at
    if command in _DEFS:
        start = at
        while at < len(paper) and paper[at] != "{":
            at += 1
        pattern = list(paper[start:at])
        usual = [word for i in range(1, len(pattern) // 2 + 1) for word in ("#", str(i))]
        return len(pattern) // 2 if pattern == usual else None, at
    return None, at + (at < len(paper) and paper[at] == "=")


def _plain(words: Tokens) -> list[str]:
    """Without empty groups, and braces around single tokens: ``x^{2}`` is ``x^2``."""
    result: list[str] = []
    for word in words:
        if word == "}" and result[-1:] == ["{"]:
            result.pop()
        elif word == "}" and result[-2:-1] == ["{"] and result[-1] != "}":
            del result[-2]
        else:
            result.append(word)
    return result


def _visible(words: list[str]) -> list[str]:
    r"""Without ``\iffalse ... \fi``, conditionals inside it included, and without what follows the document."""
    end = ["\\end", *"{document}"]
    visible: list[str] = []
    hidden = 0
    for word in words:
        if hidden:
            hidden += (word.startswith("\\if") and word != "\\iff") - (word == "\\fi")
            if hidden == 1 and word == "\\else":
                hidden = 0
        elif word == "\\iffalse":
            hidden = 1
        else:
            visible.append(word)
            if word == "}" and visible[-len(end) :] == end:
                break
    return visible


def argument(words: Tokens, at: int) -> tuple[list[str], int]:
    """The argument that starts at a place, a group without its braces or one token, and the place behind it.

    A group that is not closed ends with the text.
    """
    if at >= len(words) or words[at] != "{":
        return list(words[at : at + 1]), at + 1
    depth = 0
    for end in range(at, len(words)):
        depth += (words[end] == "{") - (words[end] == "}")
        if depth == 0:
            return list(words[at + 1 : end]), end + 1
    return list(words[at + 1 :]), len(words)


def option(words: Tokens, at: int) -> tuple[list[str] | None, int]:
    """The content of ``[...]`` at a place, or None, and the place behind it."""
    if at >= len(words) or words[at] != "[":
        return None, at
    end = next((i for i in range(at, len(words)) if words[i] == "]"), len(words))
    return list(words[at + 1 : end]), end + 1


def joined(words: Tokens) -> str:
    r"""The tokens as LaTeX again, spaced only where a command would swallow a letter."""
    text = ""
    for word in words:
        text += (" " if word[0].isalpha() and re.search(r"\\[A-Za-z]+\Z", text) else "") + word
    return text
