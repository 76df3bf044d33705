r"""Compare the display with a label in a paper with the derived formula: a change of meaning, or only of looks.

Both are read as equations between normal forms (`theory.paper.algebra`). Source: statement 6 (arXiv 2010.00578).
"""

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hltm.base.errors import InputError
from theory.paper.algebra import Key, UndecidedError, key_of
from theory.paper.doubt import doubt, hazards
from theory.paper.expand import Expander, is_ours
from theory.paper.grammar import Reader
from theory.paper.looks import Lexer, Macro, Token
from theory.paper.notation import ChangedError, Notation, quoted, symbols_of
from theory.paper.scan import Display, Label, Paper
from theory.paper.tokens import argument, joined, letters, words

# Tokens of the derived formula in the report of a change.
_SHOWN = 12
_SPACING = {"\\notag", "\\nonumber", "\\quad", "\\qquad", "\\,", "\\;", "\\:", "\\>", "\\!", "\\allowbreak"}
_WITHIN = {"aligned", "split", "equation", "align"}
# Text between equations, and text that starts a sentence about their symbols.
_JOINING = {
    "and",
    "with",
    "where",
    "here",
    "for",
    "while",
    "so",
    "that",
    "thus",
    "hence",
    "then",
    "all",
    "every",
    "each",
}
_EXPLAINING = {"where", "here", "with", "in"}
_LIMITING = {
    "if", "unless", "except", "only", "instead", "not", "no", "minus", "plus", "times", "twice", "half", "inverse",
    "negative", "opposite", "squared", "square", "but", "when", "approximately", "wrong", "sign", "without",
    "transpose", "transposed", "doubled", "halved", "factor", "prefactor", "units", "scaled", "multiplied", "divided",
    "side", "sides", "left-hand", "right-hand", "up",
}  # fmt: skip
_BETWEEN = {"COMMA", "AMP", "ROW", "REL"}
_STARTS = {"PLUS", "MINUS", "TIMES", "SLASH", "KRON", "OTHER", "REL", "POWER", "TRANSPOSE", "SUB", "CLOSE"}


class Status(enum.StrEnum):
    """What has become of a formula in a paper."""

    unchanged = "unchanged"
    looks = "look changed"
    changed = "meaning changed"
    missing = "missing"
    undecided = "not decided"


@dataclass(frozen=True)
class Outcome:
    """The status of a formula and, where it did not stay as it is, why, as one line."""

    status: Status
    why: str = ""

    def line(self, tag: str) -> str:
        """What has become of the formula with a label."""
        if self.status is Status.changed:
            return f"{tag} has drifted: {self.why}"
        if self.status is Status.undecided:
            return f"it is not decided whether {tag} has drifted: {self.why}"
        return f"{tag}: {self.status}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class _Statement:
    """An equation, or what else stands between commas: its sides, what stands between them, its condition."""

    sides: tuple[Key, ...]
    between: tuple[str, ...]
    tokens: tuple[Token, ...]
    conditions: frozenset = frozenset()

    @property
    def meaning(self) -> object:
        """What equal statements share: the sides of an equation may stand in any order."""
        sides = frozenset(self.sides) if set(self.between) <= {"="} else self.sides
        return sides, tuple(b for b in self.between if b != "="), self.conditions


def compare(paper: Paper, tag: str, derived: str) -> Outcome:
    """Compare the display of a label with the derived one."""
    if paper.exhausted:
        return Outcome(Status.undecided, "the macros of the paper stand for too many tokens, or for themselves")
    found = paper.by_tag.get(tag, [])
    displays = _displays(found[0]) if len(found) == 1 else []
    if not displays:
        missing = "" if found else "is not in the paper, "
        where = f"in {found[0].environment!r:.40}" if len(found) == 1 else f"{len(found)} times"
        raise InputError(f"label {tag!r}: {missing}must stand once in a display of equations, stands {where}")
    ours = Paper(words(derived))
    mine = [_content(ours, display) for display in _displays(next(iter(ours.by_tag.values()))[0])[0]]
    outcomes = []
    for candidate in displays:
        if any(display.end is None for display in candidate):
            return Outcome(Status.undecided, "its display is not closed")
        outcome = _compared(paper, candidate, [word for part in mine for word in part])
        if outcome.status in (Status.unchanged, Status.looks):
            shown = letters([word for display in candidate for word in _content(paper, display)])
            why = doubt(paper, hazards(paper), candidate, shown)
            outcome = outcome if why is None else Outcome(Status.undecided, why)
        outcomes.append(outcome)
    agreed = (outcome for outcome in outcomes if outcome.status in (Status.unchanged, Status.looks))
    return next(agreed, outcomes[0])


def _displays(label: Label) -> list[list[Display]]:
    """The displays that a label may be of: its own, and all of the group that it is in."""
    group = [label.wrapper.inner] if label.wrapper and label.wrapper.inner else []
    return [[label.display], *group] if label.display else group


def _content(paper: Paper, display: Display) -> list[str]:
    """The tokens of a display, with its environment."""
    end = len(paper.out) if display.end is None else display.end
    return ["\\begin", "{", display.name, "}", *paper.out[display.start : end], "\\end", "{", display.name, "}"]


def _compared(paper: Paper, displays: Sequence[Display], mine: Sequence[str]) -> Outcome:
    try:
        return _decided(paper, displays, mine)
    except ChangedError as error:
        return Outcome(Status.changed, f"the paper {error}")
    except UndecidedError as error:
        return Outcome(Status.undecided, str(error))


def _decided(paper: Paper, displays: Sequence[Display], mine: Sequence[str]) -> Outcome:
    raw = [word for display in displays for word in _content(paper, display)]
    start, end = displays[0].start, displays[-1].end or 0
    notation = Notation(paper, start, end)
    plain = letters(raw)
    mine = letters(mine)
    notation.check(_macros(plain) | _macros(mine))
    commands = {word for word in plain if word[0] == "\\" and not is_ours(word)}
    own = any(paper.meaning(word, start) or paper.changes(word, start, end) for word in commands)
    if not own and not notation.restyled and _core(plain) == _core(mine):
        return Outcome(Status.unchanged)
    theirs: list[Token] = []
    for display in displays:
        expander = Expander(_content(paper, display), paper.meaning, display.start - 4)
        theirs += Lexer(expander.run()).run()
    ours = Lexer(mine).run()
    known = symbols_of(ours)
    by_hand = any(not isinstance(symbol, Macro) for symbol in symbols_of(theirs))
    table = notation.table(known if by_hand or notation.restyled else ())
    prose: list[str] = []
    reader = Reader(table)
    left, right = list(_statements(theirs, reader, prose)), list(_statements(ours, Reader(), []))
    table.check()
    difference = _difference(left, right, reader)
    if difference is not None and _has_others(raw):
        raise UndecidedError("its display has labels of other formulas too; give each a display of its own")
    if difference is not None:
        return Outcome(Status.changed, f"the paper {difference}")
    says = f"; its text is not read: {quoted(' '.join(prose))}" if prose else ""
    return Outcome(Status.looks, _looks(notation) + says)


def _has_others(raw: Sequence[str]) -> bool:
    """Whether a display has the labels of several exported formulas."""
    tags = ("".join(argument(raw, at + 1).words) for at, word in enumerate(raw) if word == "\\label")
    return sum("covop:" in tag for tag in tags) > 1


def _looks(notation: Notation) -> str:
    names = ", ".join(f"\\covop{name}" for name in sorted(notation.restyled))
    return (
        f"the paper defines {names} with another look" if names else "the paper writes the same equations differently"
    )


def _macros(plain: Iterable[str]) -> set[str]:
    """Names of the macros of the paper's notation, and of those in their meanings."""
    from theory.latex.names import MACROS, used_macros

    found = {word[6:] for word in plain if word.startswith("\\covop") and word[6:] in MACROS}
    return found.union(*(used_macros(MACROS[name][1]) for name in found))


def _core(plain: Sequence[str]) -> list[str]:
    """The tokens of a display without alignment, spacing, labels and punctuation at the end."""
    result: list[str] = []
    at = matrices = 0
    while at < len(plain):
        word, start = plain[at], at
        at += 1
        if word in ("\\begin", "\\end"):
            name, at = argument(plain, at)
            if "".join(name) in _WITHIN:
                at += 3 if plain[at : at + 1] == ["["] and plain[at + 2 : at + 3] == ["]"] else 0
            else:
                matrices += 1 if word == "\\begin" else -1
                result += plain[start:at]
        elif word == "\\label":
            _, at = argument(plain, at)
        elif word not in _SPACING and (word not in ("&", "\\\\") or matrices):
            result.append(word)
    while result and result[-1] in (",", ".", ";"):
        result.pop()
    return _unbraced(result)


def _unbraced(plain: Sequence[str]) -> list[str]:
    """Without empty groups, and braces around single tokens: ``x^{2}`` is ``x^2``."""
    result: list[str] = []
    for word in plain:
        if word == "}" and result[-1:] == ["{"]:
            result.pop()
        elif word == "}" and result[-2:-1] == ["{"] and result[-1] != "}":
            del result[-2]
        else:
            result.append(word)
    return result


# Equations of a display.


def _statements(lexed: Sequence[Token], reader: Reader, prose: list[str]) -> Iterator[_Statement]:
    """The equations of a display, each with the condition behind it; sentences about symbols go to `prose`."""
    last: _Statement | None = None
    for part in _parts(lexed, prose):
        statement = _statement(part, reader)
        if last is not None and statement.between == ("\\in",):
            last = _Statement(last.sides, last.between, last.tokens, last.conditions | {statement.sides})
            continue
        if last is not None:
            yield last
        last = statement
    if last is not None:
        yield last


def _statement(part: Sequence[Token], reader: Reader) -> _Statement:
    sides: list[list[Token]] = [[]]
    between: list[str] = []
    for token in part:
        if token.kind == "REL" and token.depth == 0:
            between.append(str(token.value))
            sides.append([])
        else:
            sides[-1].append(token)
    return _Statement(tuple(key_of(reader.read(side)) for side in sides), tuple(between), tuple(part))


def _parts(lexed: Sequence[Token], prose: list[str]) -> Iterator[list[Token]]:
    """What stands between commas, text and, where a comma is left out, the rows of a display."""
    explains = False
    part: list[Token] = []
    for token in _separated(lexed):
        if token.depth or token.kind not in ("COMMA", "SEMI", "DOT", "TEXT"):
            part.append(token)
            continue
        if part and _is_named(part, explains):
            prose.append(joined([t.text for t in part]))
        elif part:
            explains = False
            yield part
        part = []
        if token.kind == "TEXT":
            explains = _explains(token.text, explains)
            if explains:
                prose.append(token.text)
    if part and _is_named(part, explains):
        prose.append(joined([t.text for t in part]))
    elif part:
        yield part


def _is_named(part: Sequence[Token], explains: bool) -> bool:
    """Whether a part of a sentence names a symbol; more than a symbol, which is no equation, is not decided."""
    if not explains or any(token.kind == "REL" for token in part):
        return False
    if any(token.kind not in ("SYM", "HEAD", "NUM") for token in part):
        raise UndecidedError(f"it has {quoted(joined([token.text for token in part])[:60])} in a sentence")
    return True


def _explains(text: str, explains: bool) -> bool:
    """Whether what follows a text is about symbols; text that may limit what is said is not decided."""
    said = [word.strip(".,;:()").lower() for word in text.replace("\\", " ").split()]
    if _LIMITING.intersection(said) or any(c in text for c in "0123456789=<>^_"):
        raise UndecidedError(f"it has the text {quoted(text[:60])}")
    if said and said[0] in _EXPLAINING:
        return True
    if not explains and not set(said) <= _JOINING:
        raise UndecidedError(f"it has the text {quoted(text[:60])}")
    return explains


def _separated(lexed: Sequence[Token]) -> Iterator[Token]:
    """The tokens without line breaks; one between equations becomes a comma, as does what stands before a condition."""
    rows: list[list[Token]] = [[]]
    for token in lexed:
        if token.kind == "ROW" and token.depth == 0:
            rows.append([])
        else:
            rows[-1].append(token)
    relations = 0
    comma = Token("COMMA", ",", ",")
    rows = [row for row in rows if row]
    for number, row in enumerate(rows):
        following = rows[number + 1] if number + 1 < len(rows) else []
        place = _relation(row)
        begins = place > 0 or (place < 0 and _relation(following) == 0 and not _ends(row))
        if begins and relations and row[0].kind not in _STARTS and row[0].depth == 0:
            relations = 0
            yield comma
        for at, token in enumerate(row):
            condition = at + 1 < len(row) and row[at + 1].kind == "REL" and row[at + 1].value == "\\in"
            if condition and token.depth == 0 and relations and token.kind == "SYM":
                yield comma
            yield token
            if token.depth == 0:
                relations += token.kind == "REL"
                relations = 0 if token.kind in ("COMMA", "SEMI", "DOT", "TEXT") else relations


def _relation(row: Sequence[Token]) -> int:
    """The place of the first relation sign of a row in front of its first comma, or -1."""
    for at, token in enumerate(row):
        if token.depth == 0 and token.kind in ("REL", "COMMA", "SEMI", "DOT", "TEXT"):
            return at if token.kind == "REL" else -1
    return -1


def _ends(row: Sequence[Token]) -> bool:
    """Whether a row has a comma between equations."""
    return any(token.depth == 0 and token.kind in ("COMMA", "SEMI", "DOT", "TEXT") for token in row)


# How two displays differ.


def _difference(theirs: Sequence[_Statement], ours: Sequence[_Statement], reader: Reader) -> str | None:
    """The first derived equation that a paper does not have, or one that it has beyond them."""
    left = {statement.meaning for statement in theirs}
    right = {statement.meaning for statement in ours}
    if left == right:
        return None
    wrong = next((statement for statement in ours if statement.meaning not in left), None)
    more = [statement for statement in theirs if statement.meaning not in right]
    if wrong is None:
        return f"has {_text(more[0].tokens, 0)} where nothing is derived, behind what is derived"
    chained = any(
        set(one.between) == {"="} and set(one.sides) > set(wrong.sides) and one.conditions == wrong.conditions
        for one in more
    )
    if chained and set(wrong.between) == {"="}:
        raise UndecidedError("it has an equation with more sides than are derived")
    same_head = (one for one in more if one.sides[0] == wrong.sides[0])
    place = ours.index(wrong)
    found = next(same_head, theirs[place] if place < len(theirs) and theirs[place] in more else None)
    return _first_difference(found.tokens if found else (), wrong.tokens, reader)


def _first_difference(theirs: Sequence[Token], ours: Sequence[Token], reader: Reader) -> str:
    """Where two equations start to differ; entries that are equal and look different are passed over."""
    left, right = _entries(theirs), _entries(ours)
    start = behind = 0
    if _separators(theirs) == _separators(ours):
        for a, b in zip(left, right, strict=True):
            if not _equal(a, b, reader):
                break
            start, behind = start + len(a) + 1, behind + len(b) + 1
    pairs = zip(theirs[start:], ours[behind:], strict=False)
    differs = (i for i, (a, b) in enumerate(pairs) if (a.kind, a.value) != (b.kind, b.value))
    at = next(differs, min(len(theirs) - start, len(ours) - behind))
    end = behind + at
    around = quoted(joined([token.text for token in ours[max(0, end - _SHOWN) : end + 1]]))
    return f"has {_text(theirs, start + at)} where {_text(ours, end)} is derived, at the end of {around}"


def _separators(side: Sequence[Token]) -> list[object]:
    return [token.value for token in side if token.kind in _BETWEEN]


def _entries(side: Sequence[Token]) -> list[list[Token]]:
    """Tokens between commas, cells, rows and relation signs."""
    result: list[list[Token]] = [[]]
    for token in side:
        if token.kind in _BETWEEN:
            result.append([])
        else:
            result[-1].append(token)
    return result


def _equal(left: Sequence[Token], right: Sequence[Token], reader: Reader) -> bool:
    """Whether two entries are equal, as far as that can be read from them alone."""
    outside = {"OPEN", "CLOSE", "MOPEN", "MCLOSE", "TRANSPOSE"}
    shapes = [[token.kind for token in side if token.kind in outside] for side in (left, right)]
    try:
        forms = [reader.read([token for token in side if token.kind not in outside]) for side in (left, right)]
    except UndecidedError:
        forms = []
    plain = [[(token.kind, token.value) for token in side] for side in (left, right)]
    return plain[0] == plain[1] or (shapes[0] == shapes[1] and len(forms) == 2 and forms[0] == forms[1])


def _text(side: Sequence[Token], at: int) -> str:
    return quoted(side[at].text) if at < len(side) else "nothing"
