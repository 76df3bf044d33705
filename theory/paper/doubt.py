r"""What can change a formula of a paper without being followed: a formula that it may change is not decided.

Definitions of the usual forms are followed (`theory.paper.scan`). Here are those by other commands, those that a macro
makes when it is used, hooks of environments, and what changes single characters. Source: statement 6
(arXiv 2010.00578).
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from theory.paper.expand import is_ours
from theory.paper.scan import DEFINING, Display, Paper
from theory.paper.tokens import argument

# Commands that define or change the one behind them, beside those that are followed.
_DEFINER = re.compile(
    r"\\[A-Za-z]*(?:cmd|commandx?|CommandCopy|DocumentCommand|[lL]et|LtxMacro|chardef|MathSymbol|def)"
)
_DELIMITERS = re.compile(r"\\(?:DeclareMath(?:Accent|Delimiter|Radical)|DeclarePairedDelimiterX?)")
_EVERYWHERE = {"\\mathcode", "\\delcode", "\\everydisplay", "\\everymath", "\\excludecomment", "\\lccode", "\\uccode"}
_HOOKS = {
    "\\AtBeginEnvironment", "\\AtEndEnvironment", "\\BeforeBeginEnvironment", "\\AfterEndEnvironment", "\\AddToHook",
}  # fmt: skip
_NAME = 40  # tokens of the argument of a hook
_READS = {"\\input", "\\include", "\\InputIfFileExists"}


class Hazards:
    """What a whole paper does by ways that are not followed."""

    def __init__(self, paper: Paper) -> None:
        self.everywhere: str | None = None
        self.hooks: list[tuple[str, str]] = []
        self.targets: set[str] = set()
        for words in _texts(paper):
            for at, word in enumerate(words):
                if word in _EVERYWHERE or (word == "\\catcode" and list(words[at + 1 : at + 3]) != ["`", "\\@"]):
                    self.everywhere = self.everywhere or word
                elif word in _HOOKS:
                    self.hooks.append((word, "".join(argument(words[at + 1 : at + 1 + _NAME], 0).words)))
                elif word[0] == "\\" and _is_target(words, at):
                    self.targets.add(word)
                elif word.startswith("covop") and is_ours("\\" + word):
                    self.targets.add("\\" + word)


@lru_cache(maxsize=4)
def hazards(paper: Paper) -> Hazards:
    """The hazards of a paper, found once for all of its labels."""
    return Hazards(paper)


def doubt(paper: Paper, found: Hazards, displays: Sequence[Display], shown: Sequence[str]) -> str | None:
    """Why the tokens of some displays may not be what they seem, in a few words; None where nothing is in the way."""
    if any(display.hidden for display in displays):
        return "its display stands in the argument of a macro"
    environments = {"".join(argument(shown, at + 1).words) for at, word in enumerate(shown) if word == "\\begin"}
    start = displays[0].start
    for word in (*set(shown), *(f"\\{name}" for name in environments)):
        defined = paper.meaning(word, start)
        if defined is not None and (word[0] != "\\" or word[1:] in environments):
            return f"the paper defines {word}"
    if found.everywhere:
        return f"the paper uses {found.everywhere}"
    for hook, name in found.hooks:
        if any(environment in name for environment in environments):
            return f"the paper changes an environment by {hook}"
    # Macros of the notation may stand for others of it that no display shows.
    for word in sorted(found.targets):
        if word in shown or is_ours(word):
            return f"the paper may change {word} in a way that is not followed"
    return None


def _texts(paper: Paper) -> Iterator[Sequence[str]]:
    """The paper, and the meanings of its macros that define something or read a file."""
    yield paper.out
    for words in paper.bodies:
        if any(word in DEFINING or _DEFINER.fullmatch(word) or word in _READS for word in words):
            yield words


def _is_target(words: Sequence[str], at: int) -> bool:
    """Whether a macro stands where a command defines it."""
    alone = words[max(0, at - 1)] == "{" and list(words[at + 1 : at + 2]) == ["}"]
    before = [word for word in words[max(0, at - 3) : at - alone if at else 0] if word != "*"]
    command = before[-1] if before else ""
    if list(words[max(0, at - 5) : max(0, at - 3)]) == ["\\cs", "_"]:  # of LaTeX3
        return True
    return command in DEFINING or bool(_DEFINER.fullmatch(command) or _DELIMITERS.fullmatch(command))
